"""What a reviewer draws -> outlines for the ledger, and the cells that they make.

Points are x and y in input pixels from the centre of the first one, as in the cells table; outlines count from its
corner, as GeoJSON does.
"""

from __future__ import annotations

import json
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant.errors import ReviewError
from pdl1quant.review.edits import MadeCell
from pdl1quant.review.made import merged_cell
from pdl1quant.review.regions import region
from pdl1quant.slides.roi import CENTRE, areas_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from pdl1quant.model import CellClass, Float64Array

ELLIPSE_POINTS = 128
"""The polygon through them lacks 0.04 % of the area of the ellipse."""


def drawn_region(points_px: Float64Array) -> dict[str, Any]:
    """GeoJSON of the region inside a drawn ring of points (n, 2): all that its line encircles.

    Raises
    ------
    ReviewError
        It has no area.
    """
    points = np.asarray(points_px, np.float64)
    found = None
    if len(points) >= 3:
        # A hand that draws a loop crosses its own line, and means all that lies within.
        line = shapely.node(shapely.LinearRing(points + CENTRE))
        found = shapely.union_all(shapely.get_parts(shapely.polygonize([line])))
    if found is None or not found.area > 0:
        raise ReviewError("the drawn region has no area; draw at least three corners")
    return geometry_of(found)


def moved_region(rings_px: Sequence[Float64Array]) -> dict[str, Any]:
    """GeoJSON of a region from all of its rings (each n, 2), parts and holes: a ring within another is a hole.

    Raises
    ------
    ReviewError
        It has no area.
    """
    parts = [shapely.make_valid(shapely.Polygon(np.asarray(ring) + CENTRE)) for ring in rings_px if len(ring) >= 3]
    found = areas_in(reduce(shapely.symmetric_difference, parts)) if parts else None
    if found is None or not found.area > 0:
        raise ReviewError("the region would have no area; take it away with Delete instead")
    return geometry_of(found)


def rings_of(geometry: Mapping[str, Any]) -> list[Float64Array]:
    """The rings (n, 2) of a region, parts and holes, from the centre of the first pixel; `moved_region` takes them."""
    parts = shapely.get_parts(region(geometry))
    rings = [ring for part in parts for ring in (part.exterior, *part.interiors)]
    return [shapely.get_coordinates(ring)[:-1] - CENTRE for ring in rings]


def geometry_of(outline: Any) -> dict[str, Any]:
    """An outline as the ledger holds it, to a hundredth of a pixel."""
    found: dict[str, Any] = json.loads(shapely.to_geojson(shapely.set_precision(outline, 0.01)))
    return found


def ellipse_ring(corners: Float64Array) -> Float64Array:
    """Points (n, 2) on the ellipse that touches the sides of a box with these corners (4, 2), in their order."""
    box = np.asarray(corners, np.float64)
    one, other = (box[1] - box[0]) / 2, (box[3] - box[0]) / 2
    turn = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)[:, None]
    return np.asarray(box.mean(axis=0) + np.cos(turn) * one + np.sin(turn) * other)


def split_cells(
    outline: shapely.Polygon | None, centres_px: Float64Array, *, cell_class: CellClass, sides_um: Mapping[str, float]
) -> tuple[MadeCell, MadeCell]:
    """The two cells that one becomes: cut halfway between their centres, across the line between them, as in tissue.

    Parameters
    ----------
    outline
        Of the cell, in input pixels from the corner of the first; None where it is not known.
    centres_px
        (2, 2) x and y of the new nuclei.
    cell_class
        Class of both.
    sides_um
        ``mpp_x`` and ``mpp_y`` of a pixel: where it is no square, halfway in pixels is another place.

    Raises
    ------
    ReviewError
        The centres are the same, or one of them lies outside the outline.
    """
    one, other = np.asarray(centres_px, np.float64)
    if np.allclose(one, other):
        raise ReviewError("a split needs two places, one in each new cell")
    if outline is None:
        parts: list[Any] = [None, None]
    else:
        sides = np.array([sides_um["mpp_x"], sides_um["mpp_y"]])
        parts = [_nearer(outline, to + CENTRE, than + CENTRE, sides) for to, than in ((one, other), (other, one))]
        points = [shapely.Point(*(each + CENTRE)) for each in (one, other)]
        if any(part is None or not part.covers(point) for part, point in zip(parts, points, strict=True)):
            raise ReviewError("a split needs two places inside the cell")
    made = [
        MadeCell(
            x_px=float(x),
            y_px=float(y),
            cell_class=cell_class,
            geometry=None if part is None else geometry_of(part),
        )
        for (x, y), part in zip((one, other), parts, strict=True)
    ]
    return made[0], made[1]


def joined_cell(parents: pd.DataFrame, outlines: Sequence[shapely.Polygon | None]) -> MadeCell:
    """The cell that parents become (`merged_cell`), with an outline around theirs.

    Parameters
    ----------
    parents
        At least two rows of ``CELL_COLUMNS``.
    outlines
        Of each, in input pixels from the corner of the first.

    Raises
    ------
    ReviewError
        There are fewer than two parents.
    """
    if len(parents) < 2:
        raise ReviewError("a merge needs at least two cells; select them with Shift")
    made = merged_cell(parents)
    known = [each for each in outlines if each is not None]
    if not known:
        return made
    whole = shapely.union_all(known)
    if whole.geom_type != "Polygon":  # apart from each other: what lies between belongs to the cell
        whole = whole.convex_hull
    return MadeCell(x_px=made.x_px, y_px=made.y_px, cell_class=made.cell_class, geometry=geometry_of(whole))


def _nearer(outline: shapely.Polygon, to: Float64Array, than: Float64Array, sides_um: Float64Array) -> Any:
    """The part of an outline nearer in um to one point than to another; the piece of it that holds the one."""
    middle, along = (to + than) / 2 * sides_um, (to - than) * sides_um
    along /= np.hypot(*along)
    across = np.array([-along[1], along[0]])
    reach = 2 * float(np.hypot(*(np.ptp(np.array(outline.exterior.coords), axis=0) * sides_um))) + 1
    corners = [middle - reach * across, middle + reach * across]
    half = shapely.Polygon(np.array([*corners, corners[1] + reach * along, corners[0] + reach * along]) / sides_um)
    parts = [each for each in shapely.get_parts(outline.intersection(half)) if each.geom_type == "Polygon"]
    point = shapely.Point(*to)
    return next((each for each in parts if each.covers(point)), None)
