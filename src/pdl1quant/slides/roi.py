"""Regions that a person drew -> polygons, masks, and which points lie inside; `roi_file` reads them.

Files count input pixels from the corner of the first one, arrays count from its centre: a point (x, y) of the
cells table is at (x + 0.5, y + 0.5) of the file. The shift is made here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdl1quant.model import BoolArray, Float64Array

CENTRE = 0.5
"""Where the centre of the first pixel lies, counted from its corner."""


class RoiKind(StrEnum):
    """What a drawn region is for."""

    INCLUDE = "include"
    EXCLUDE = "exclude"
    TUMOUR = "tumour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Roi:
    """One drawn region: a valid Polygon or MultiPolygon in input pixels, counted from the corner of the first one."""

    kind: RoiKind
    name: str
    geometry: shapely.Polygon | shapely.MultiPolygon
    title: str = ""
    """What the person called this one; ``name`` is its class."""
    is_core: bool = False
    """Whether it is a core of a microarray, found and not drawn."""


def of_kind(rois: Iterable[Roi], kind: RoiKind) -> tuple[Roi, ...]:
    """The regions of one kind."""
    return tuple(roi for roi in rois if roi.kind is kind)


def points_in_rois(rois: Iterable[Roi], x_px: Float64Array, y_px: Float64Array) -> BoolArray:
    """Whether points lie in the drawn region: include or tumour, and not exclude.

    With neither an include nor a tumour region that is everything that is not excluded. Cores of a microarray cut it:
    what lies outside of all of them is not in it.

    Parameters
    ----------
    rois
        Regions in any order; none means that every point is inside.
    x_px, y_px
        (n,) positions in input pixels, the centre of the first pixel at 0, as in the cells table.

    Returns
    -------
    ndarray of bool
        (n,), True inside.
    """
    return DrawnRegion.of(rois).holds(x_px, y_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRegion:
    """What `points_in_rois` asks, put together once for points that come bit by bit: hundreds of regions take a while.

    ``wanted`` is None where that is everything.
    """

    wanted: Any
    unwanted: Any

    @classmethod
    def of(cls, rois: Iterable[Roi]) -> DrawnRegion:
        """That of some regions."""
        wanted, unwanted = _regions(rois)
        return cls(wanted=wanted, unwanted=unwanted)

    def holds(self, x_px: Float64Array, y_px: Float64Array) -> BoolArray:
        """(n,) bool: points inside; as `points_in_rois` takes them."""
        x, y = np.asarray(x_px, np.float64) + CENTRE, np.asarray(y_px, np.float64) + CENTRE
        inside = np.ones(x.shape, bool) if self.wanted is None else _covers(self.wanted, x, y)
        return inside & ~_covers(self.unwanted, x, y)


def tumour_rois(rois: Iterable[Roi]) -> tuple[Roi, ...]:
    """Those of which `points_in_rois` makes the drawn tumour; for files in which there is some."""
    return tuple(roi for roi in rois if roi.kind is not RoiKind.INCLUDE or roi.is_core)


def limiting_rois(rois: Iterable[Roi]) -> tuple[Roi, ...]:
    """Those of which `points_in_rois` makes the region outside of which nothing counts, be it beside the tumour.

    With a region to include that are all of them. Without one a tumour region limits nothing here: it says where
    tumour cells count, and near what immune cells do (`near_tumour`). Of a microarray only cores with drawn tumour are
    left, where there is some: tumour of one core has no stroma in another.
    """
    rois = tuple(rois)
    tumour = shapely.union_all([roi.geometry for roi in of_kind(rois, RoiKind.TUMOUR)])
    if tumour.is_empty:
        return rois
    has_include = any(roi.kind is RoiKind.INCLUDE and not roi.is_core for roi in rois)
    kept = [roi for roi in rois if has_include or roi.kind is not RoiKind.TUMOUR]
    return tuple(roi for roi in kept if not roi.is_core or shapely.intersects(roi.geometry, tumour))


def near_tumour(
    rois: Iterable[Roi], x_px: Float64Array, y_px: Float64Array, *, reach_um: float, mpp_x: float, mpp_y: float
) -> BoolArray:
    """(n,) bool: points (as in `points_in_rois`) at most ``reach_um`` from the drawn tumour, of a core from its own."""
    return DrawnTumour.of(rois).is_near(x_px, y_px, reach_um=reach_um, mpp_x=mpp_x, mpp_y=mpp_y)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnTumour:
    """What `near_tumour` asks, put together once for points that come bit by bit: thousands of regions take seconds."""

    geometry: Any
    cores: tuple[Any, ...]

    @classmethod
    def of(cls, rois: Iterable[Roi]) -> DrawnTumour:
        """That of some regions, of which at least one is tumour or a core."""
        rois = tuple(rois)
        tumour, unwanted = _regions(tumour_rois(rois))
        return cls(
            geometry=shapely.difference(tumour, unwanted), cores=tuple(roi.geometry for roi in rois if roi.is_core)
        )

    def is_near(
        self, x_px: Float64Array, y_px: Float64Array, *, reach_um: float, mpp_x: float, mpp_y: float
    ) -> BoolArray:
        """(n,) bool: see `near_tumour`."""
        x, y = np.asarray(x_px) + CENTRE, np.asarray(y_px) + CENTRE
        return near_in_core(self.geometry, self.cores, x, y, reach_um=reach_um, mpp_x=mpp_x, mpp_y=mpp_y)


def near_in_core(
    region: Any, cores: Iterable[Any], x: Float64Array, y: Float64Array, *, reach_um: float, mpp_x: float, mpp_y: float
) -> BoolArray:
    """(n,) bool: points at most ``reach_um`` from a region; where there are cores, from what lies in the same one.

    Points, region and cores are in pixels from the corner. Cores without points are passed over: of hundreds, a band of
    a slide meets a few.
    """
    how = {"reach_um": reach_um, "mpp_x": mpp_x, "mpp_y": mpp_y}
    cores = tuple(cores)
    if not cores:
        near = _surely_near(region, x, y, **how)
        left = np.flatnonzero(~near)
        near[left] = within_reach(region, shapely.points(x[left] * mpp_x, y[left] * mpp_y), **how)
        return near
    near = np.zeros(x.shape, bool)
    parts = shapely.get_parts(region)
    for core in cores:
        left, top, right, bottom = core.bounds
        inside = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
        inside = inside[_covers(core, x[inside], y[inside])]
        if not inside.size:
            continue
        own = areas_in(shapely.intersection(parts[shapely.intersects(core, parts)], core))
        if not own.is_empty:
            near[inside] |= within_reach(own, shapely.points(x[inside] * mpp_x, y[inside] * mpp_y), **how)
    return near


def _surely_near(
    region: Any, x: Float64Array, y: Float64Array, *, reach_um: float, mpp_x: float, mpp_y: float
) -> BoolArray:
    """(n,) bool: points that lie within reach of one place inside a region, which is soon told; some that do not."""
    inside = shapely.point_on_surface(region)
    if inside.is_empty:
        return np.zeros(x.shape, bool)
    away_um2 = ((x - inside.x) * mpp_x) ** 2 + ((y - inside.y) * mpp_y) ** 2
    return np.asarray(away_um2 < (reach_um * (1 - _ROUNDING)) ** 2)


_ROUNDING = 1e-6
"""What is nearer than the reach by this share of it is within reach, however it is computed."""


def within_reach(region: Any, places_um: Any, *, reach_um: float, mpp_x: float, mpp_y: float) -> BoolArray:
    """(n,) bool: geometries in um at most ``reach_um`` from a region in pixels from the corner."""
    region_um = shapely.transform(region, lambda points: points * (mpp_x, mpp_y))
    shapely.prepare(region_um)
    return np.asarray(shapely.dwithin(region_um, places_um, reach_um), dtype=bool)


def scored_region(rois: Iterable[Roi], whole: shapely.Polygon) -> Any:
    """What of ``whole`` (in the file's coordinates) is drawn, as `points_in_rois` says: one geometry."""
    wanted, unwanted = _regions(rois)
    return shapely.difference(whole if wanted is None else shapely.intersection(wanted, whole), unwanted)


def why_nothing(rois: Sequence[Roi], whole: shapely.Polygon, *, what: str) -> str:
    """What a file of regions does that nothing of ``whole``, all of a slide or image (``what``), is to be scored."""
    left_out = [roi for roi in rois if roi.kind is RoiKind.EXCLUDE]
    others = [roi for roi in rois if roi.kind is not RoiKind.EXCLUDE]
    if not others:
        return f"excludes the whole {what}; leave the {what} out of the run"
    if left_out and not scored_region(others, whole).is_empty:
        return "excludes all that it has to be scored; mend its regions"
    return f"no region to be scored lies inside the {what}; draw it on this {what}"


def share_outside(rois: Iterable[Roi], *, width: int, height: int) -> float:
    """Share (0-1) of the area of the wanted regions that lies outside an image of that size; 0 where none is wanted."""
    wanted, _ = _regions(rois)
    if wanted is None:
        return 0.0
    return 1 - float(shapely.intersection(wanted, shapely.box(0, 0, width, height)).area / wanted.area)


def roi_mask(
    rois: Iterable[Roi],
    shape: tuple[int, int],
    *,
    x_px: float = 0.0,
    y_px: float = 0.0,
    downsample_x: float = 1.0,
    downsample_y: float = 1.0,
) -> BoolArray:
    """Mask of the region that `points_in_rois` describes: the pixels whose centre lies inside.

    Parameters
    ----------
    rois
        Regions in any order.
    shape
        (height, width) of the mask, in working pixels.
    x_px, y_px
        Input pixel whose upper left corner is that of the mask's first pixel (``Tile.x_px``, ``Tile.y_px``).
    downsample_x, downsample_y
        Input pixels per working pixel.

    Returns
    -------
    ndarray of bool
        (height, width).
    """
    wanted, unwanted = _regions(rois)
    to_mask = [1 / downsample_x, 0.0, 0.0, 1 / downsample_y, -x_px / downsample_x, -y_px / downsample_y]
    inside = np.ones(shape, bool) if wanted is None else fill_region(_moved(wanted, to_mask), shape)
    inside &= ~fill_region(_moved(unwanted, to_mask), shape)
    return inside


def areas_in(geometry: Any) -> Any:
    """What of a geometry has an area: a Polygon or MultiPolygon, or something empty."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.union_all([part for part in parts if part.geom_type == "Polygon" and part.area > 0])


def _regions(rois: Iterable[Roi]) -> tuple[Any, Any]:
    """What is wanted (None: everything) and what is not, each as one geometry; cores cut what a person drew."""
    rois = tuple(rois)
    drawn = [roi.geometry for roi in rois if roi.kind is not RoiKind.EXCLUDE and not roi.is_core]
    cores = [roi.geometry for roi in rois if roi.is_core]
    united = [shapely.union_all(each) for each in (drawn, cores) if each]
    unwanted = shapely.union_all([roi.geometry for roi in of_kind(rois, RoiKind.EXCLUDE)])
    return (shapely.intersection_all(united) if united else None), unwanted


def _covers(region: Any, x: Float64Array, y: Float64Array) -> BoolArray:
    shapely.prepare(region)
    inside: BoolArray = shapely.contains_xy(region, x, y)
    return inside


def _moved(region: Any, matrix: list[float]) -> Any:
    scale_x, _, _, scale_y, shift_x, shift_y = matrix
    return shapely.transform(region, lambda points: points * (scale_x, scale_y) + (shift_x, shift_y))


def fill_region(region: Any, shape: tuple[int, int]) -> BoolArray:
    """(H, W) bool: pixels whose centre lies inside a (multi-)polygon in pixels from the corner.

    Even-odd: each side of the polygons toggles the rest of the rows that it crosses, right of the crossing.
    """
    height, width = shape
    rings = shapely.get_rings(shapely.get_parts(region))
    points, ring_of = shapely.get_coordinates(rings, return_index=True)
    is_side = np.diff(ring_of) == 0
    x0, y0 = points[:-1][is_side].T
    x1, y1 = points[1:][is_side].T
    # Rows whose centre y satisfies min <= y < max, so that a shared corner counts once.
    first = np.ceil(np.minimum(y0, y1) - CENTRE).clip(0, height).astype(np.int64)
    end = np.ceil(np.maximum(y0, y1) - CENTRE).clip(0, height).astype(np.int64)
    n_rows = end - first
    side = np.repeat(np.arange(n_rows.size), n_rows)
    row = np.arange(side.size) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first[side]
    slope = (x1[side] - x0[side]) / (y1[side] - y0[side])
    crossing = x0[side] + (row + CENTRE - y0[side]) * slope
    column = np.ceil(crossing - CENTRE).clip(0, width).astype(np.int64)
    seen = column < width
    places, counts = np.unique(row[seen] * width + column[seen], return_counts=True)
    filled = np.zeros(shape, bool)
    filled.reshape(-1)[places[counts % 2 == 1]] = True
    np.logical_xor.accumulate(filled, axis=1, out=filled)  # one byte a pixel: fields have 64 million
    return filled
