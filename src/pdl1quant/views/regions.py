"""What was drawn for a run, and the cores that it found, as a pyramid of labels that is painted where one looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from pdl1quant.kernels.polygons import paint_polygons
from pdl1quant.outputs.regions import STYLES
from pdl1quant.outputs.scores_table import as_written
from pdl1quant.slides.roi import CENTRE
from pdl1quant.views.levels import LevelArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import Float64Array, Int32Array, Rect, SlideGrid
    from pdl1quant.outputs.regions import OutlinedRegion

KINDS = tuple(STYLES)


class RegionView:
    """Labels of the regions of one image.

    A label is ``place * len(KINDS) + kind + 1``, with the place of the region among all from the largest to the
    smallest and the index of its kind in ``KINDS``. Where several lie, the smallest is seen; napari draws the line
    between two in the colour of the higher label, which is that of the smaller region.

    Parameters
    ----------
    regions
        In input pixels from the corner.
    grids
        Those of the slide's levels.
    """

    def __init__(self, regions: Sequence[OutlinedRegion], grids: Sequence[SlideGrid]) -> None:
        self.regions = tuple(regions)
        geometries = np.array([each.geometry for each in regions], dtype=object)
        self._boxes = shapely.bounds(geometries).reshape(-1, 4).T
        self._order = np.argsort(-shapely.area(geometries), kind="stable")
        kinds = np.array([KINDS.index(each.kind) for each in self.regions], np.int32)
        self.labels: Int32Array = np.empty(len(kinds), np.int32)
        """(n,) that of each region."""
        self.labels[self._order] = np.arange(len(kinds), dtype=np.int32) * len(KINDS) + kinds[self._order] + 1
        chains = [_chain(each) for each in geometries]
        points = np.concatenate([np.zeros((0, 2)), *chains])
        self._corners = (np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1]))
        self._starts = np.concatenate([[0], np.cumsum([len(each) for each in chains])]).astype(np.intp)
        self.levels = [self._level(grid) for grid in grids]

    def key(self, number: int) -> tuple[str, str] | None:
        """Level and name that a region has in ``scores.csv``; None for one that was left out of the score."""
        region = self.regions[number]
        if region.kind == "exclude":
            return None
        return "core" if region.kind == "core" else "roi", as_written(region.name)

    def geometry(self, key: tuple[str, str]) -> shapely.Polygon | shapely.MultiPolygon:
        """Its outline, in input pixels from the corner."""
        return next(each.geometry for number, each in enumerate(self.regions) if self.key(number) == key)

    def key_at(self, x_px: float, y_px: float) -> tuple[str, str] | None:
        """That of the smallest region at a place (as in the cells table); None where there is none with a score."""
        x, y = x_px + CENTRE, y_px + CENTRE
        left, top, right, bottom = self._boxes
        near = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
        met = [number for number in self._order.tolist() if near[number]]
        point = shapely.Point(x, y)
        covering = (number for number in reversed(met) if self.regions[number].geometry.covers(point))
        return next((key for key in map(self.key, covering) if key is not None), None)

    def _level(self, grid: SlideGrid) -> LevelArray:
        def paint(rect: Rect) -> Int32Array:
            return self._painted(rect, grid)

        return LevelArray((grid.height, grid.width), np.int32, paint)

    def _painted(self, rect: Rect, grid: SlideGrid) -> Int32Array:
        labels = np.zeros((rect.height, rect.width), np.int32)
        left, top, right, bottom = self._boxes
        x0, y0 = float(rect.x0 * grid.downsample_x), float(rect.y0 * grid.downsample_y)
        x1, y1 = rect.x1 * grid.downsample_x, rect.y1 * grid.downsample_y
        is_seen = (left < x1) & (right > x0) & (top < y1) & (bottom > y0)
        rows = self._order[is_seen[self._order]].astype(np.intp)
        frame = (x0, y0, grid.downsample_x, grid.downsample_y)
        paint_polygons(labels, self._corners, self._starts, (rows, self.labels[rows]), frame)
        return labels


def _chain(geometry: shapely.Polygon | shapely.MultiPolygon) -> Float64Array:
    """All rings of a region as one line, which by even-odd holds the same: it goes back to its start after each."""
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(shapely.get_parts(geometry))]
    start = rings[0][:1]
    return np.concatenate([rings[0], *(part for ring in rings[1:] for part in (ring, start))])
