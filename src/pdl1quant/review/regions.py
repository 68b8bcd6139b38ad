"""Outlines in the ledger: GeoJSON geometries, counted from the corner of the first pixel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant.slides.roi import areas_in

if TYPE_CHECKING:
    from collections.abc import Mapping


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
