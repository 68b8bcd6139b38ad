"""Regions in the ledger: GeoJSON outlines, counted from the corner of the first pixel, painted over each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant.slides.roi import Roi, areas_in, points_in_rois

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from pdl1quant.model import Float64Array
    from pdl1quant.review.edits import RoiRule

UNSAID, OUT, IN, CALLED_BACK = -1, 0, 1, 2
"""On which side of the regions of a review a cell lies; called back is what a region to include says counts again."""


def region(geometry: Mapping[str, Any] | None) -> Any:
    """The area of a GeoJSON geometry as a valid polygon or several; lines that a crossing outline leaves are dropped.

    Raises
    ------
    ValueError
        It is no closed outline with an area.
    """
    try:
        found = areas_in(shapely.make_valid(shapely.from_geojson(json.dumps(geometry))))
    except (TypeError, ValueError, shapely.errors.ShapelyError):
        found = None
    if found is None or not np.isfinite(shapely.get_coordinates(found)).all() or not found.area > 0:
        raise ValueError("its region is no closed outline with an area")
    return found


def painted(places_px: Float64Array, regions: Iterable[tuple[RoiRule, Roi]]) -> NDArray[np.int8]:
    """(n,) side of each place (n, 2: x, y); later regions paint over earlier ones."""
    sides = np.full(len(places_px), UNSAID, dtype=np.int8)
    x, y = places_px.T
    for rule, roi in regions:
        is_in = points_in_rois([roi], x, y)
        if rule == "only":
            sides = np.where(is_in, np.maximum(sides, IN), OUT).astype(np.int8)
        else:
            sides[is_in] = CALLED_BACK if rule == "include" else OUT
    return sides
