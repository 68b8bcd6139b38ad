"""Regions drawn over a picture: a line for each kind, the same in overlays, overviews and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import shapely
from shapely.geometry.polygon import orient

from pdl1quant.outputs.captions import LegendEntry
from pdl1quant.outputs.regions import STYLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdl1quant.model import Float64Array, UInt8Array
    from pdl1quant.outputs.regions import OutlinedRegion

TOLERANCE_PX = 0.5
"""So far a simplified outline may lie from the drawn one, in pixels of the picture."""
_CASING = (255, 255, 255)
_TICK_PX = (6.0, 7.0)
"""Length of ticks, and their distance along the line."""
_SUBPIXEL_BITS = 4
_MARGIN_PX = 32
"""Outlines are cut so far outside of the picture: the cut is not seen."""


def region_legend(kinds: Iterable[str]) -> list[LegendEntry]:
    """An entry for each of the kinds that occur, with how many there are."""
    found = list(kinds)
    return [
        LegendEntry(name=style.name, rgb=style.rgb, n_cells=found.count(kind), line=style)
        for kind, style in STYLES.items()
    ]


def outline_regions(
    picture: UInt8Array, regions: Sequence[OutlinedRegion], *, thickness: float = 1.0
) -> list[tuple[str, float, float]]:
    """Draw the outlines of regions into a picture, which is changed.

    Parameters
    ----------
    picture
        (H, W, 3) uint8.
    regions
        In pixels of the picture from its corner.
    thickness
        Of the lines, 1: as `STYLES` has them.

    Returns
    -------
    list of (str, float, float)
        The name of each region that lies in the picture, and the middle of its upper end, x and y.
    """
    names = []
    height, width = picture.shape[:2]
    inner = shapely.box(0, 0, width, height)
    outer = shapely.box(-_MARGIN_PX, -_MARGIN_PX, width + _MARGIN_PX, height + _MARGIN_PX)
    order = list(STYLES)
    for region in sorted(regions, key=lambda each: -order.index(each.kind)):
        if not shapely.intersects(region.geometry, inner):
            continue
        _draw_region(picture, seen_outline(region.geometry, outer), kind=region.kind, thickness=thickness)
        left, top, right, _ = shapely.intersection(region.geometry, inner).bounds
        names.append((region.name, (left + right) / 2, top))
    return names


def seen_outline(geometry: Any, outer: Any, tolerance_px: float = TOLERANCE_PX) -> shapely.MultiPolygon:
    """A region cut to ``outer`` and simplified, without parts and holes too small to be seen; its largest part first.

    That is kept, however small.
    """
    simple = shapely.simplify(geometry, tolerance_px)
    if not shapely.covered_by(simple, outer):
        simple = shapely.intersection(shapely.make_valid(simple), outer)
    parts = [each for each in shapely.get_parts(shapely.get_parts(simple)) if each.geom_type == "Polygon"]
    parts.sort(key=shapely.area, reverse=True)
    least = tolerance_px**2
    return shapely.MultiPolygon(
        [
            shapely.Polygon(part.exterior, [ring for ring in part.interiors if shapely.Polygon(ring).area >= least])
            for number, part in enumerate(parts)
            if number == 0 or part.area >= least
        ]
    )


def _draw_region(picture: UInt8Array, geometry: Any, *, kind: str, thickness: float) -> None:
    style = STYLES[kind]
    width = max(1, round(style.width_px * thickness))
    parts = [orient(part) for part in shapely.get_parts(geometry)]
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(parts)]
    lines = [line for ring in rings for line in _dashes(ring, [each * thickness for each in style.dash_px])]
    ticks = [tick for ring in rings for tick in _ticks(ring, thickness)] if style.has_ticks else []
    _draw_lines(picture, rings, _CASING, width + max(2, round(2 * thickness)))
    _draw_lines(picture, [*lines, *ticks], style.rgb, width)


def _draw_lines(picture: UInt8Array, lines: Sequence[Float64Array], rgb: tuple[int, int, int], width: int) -> None:
    if not lines:
        return
    points = [np.rint((line - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32) for line in lines]
    cv2.polylines(picture, points, False, rgb, width, cv2.LINE_AA, _SUBPIXEL_BITS)


def _dashes(ring: Float64Array, dash: Sequence[float]) -> list[Float64Array]:
    """A closed line (n, 2) cut into dashes (on, off); the whole of it without any."""
    if not dash:
        return [ring]
    at, along = _along(ring)
    on, off = dash
    starts = np.arange(0, at[-1], on + off)
    ends = np.minimum(starts + on, at[-1])
    return [
        np.vstack([along(start), ring[(at > start) & (at < end)], along(end)])
        for start, end in zip(starts, ends, strict=True)
    ]


def _ticks(ring: Float64Array, thickness: float) -> list[Float64Array]:
    """Short strokes from a closed line to its inside, which lies on the left of its way."""
    at, along = _along(ring)
    length, step = (each * thickness for each in _TICK_PX)
    places = np.arange(step / 2, at[-1], step)
    starts, way = along(places), along(places + 0.01) - along(places - 0.01)
    way /= np.maximum(np.hypot(*way.T)[:, None], 1e-9)
    inwards = np.column_stack([-way[:, 1], way[:, 0]])
    return list(np.stack([starts, starts + length * inwards], axis=1))


def _along(ring: Float64Array) -> tuple[Float64Array, Any]:
    """How far along a line (n, 2) its corners lie, and a function that gives the places (m, 2) at such distances."""
    at = np.append(0, np.cumsum(np.hypot(*np.diff(ring, axis=0).T)))

    def along(distance: Any) -> Float64Array:
        return np.column_stack([np.interp(distance, at, each) for each in ring.T])

    return at, along
