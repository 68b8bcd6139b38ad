"""The cells of a review as a pyramid of labels, and which of them lies where somebody points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from pdl1quant.kernels.polygons import paint_polygons
from pdl1quant.outputs.palette import KINDS, kinds_of
from pdl1quant.review.regions import region
from pdl1quant.review.state import LOOKED_AT
from pdl1quant.review.uncertain import at_cut_off
from pdl1quant.slides.roi import CENTRE
from pdl1quant.views.levels import LevelArray
from pdl1quant.views.outlines import no_outlines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdl1quant.model import BoolArray, Float64Array, Int32Array, IntpArray, Rect, SlideGrid
    from pdl1quant.review import Review
    from pdl1quant.views.outlines import Outlines

NOT_DRAWN = -1
"""Kind of what is no cell any more."""
NEAR_UM = 8.0
"""A cell without an outline is met within this of its centre: about its radius."""
DRAWN_RADIUS_UM = 6.0
"""A cell that a reviewer added by a click is drawn as a circle of this radius, about that of a tumour cell."""


def drawn_circle(x_px: float, y_px: float, *, sides_um: Mapping[str, float]) -> shapely.Polygon:
    """Outline of a cell about a place of the table, round in um, in input pixels from the corner of the first."""
    round_um = shapely.Point(0, 0).buffer(DRAWN_RADIUS_UM, quad_segs=8)
    px = (sides_um["mpp_x"], sides_um["mpp_y"])
    return shapely.transform(round_um, lambda points: points / px + (x_px + CENTRE, y_px + CENTRE))


class CellView:
    """Labels of one image, painted where they are looked at.

    A label is ``row * len(KINDS) + kind + 1``: unique for each cell; its colour is that of its kind, whose index in
    ``KINDS`` is ``(label - 1) % len(KINDS)``.

    Parameters
    ----------
    review
        The image under review.
    outlines
        Of the cells of the run, in the order of its table.
    grids
        Those of the slide's levels.
    """

    def __init__(self, review: Review, outlines: Outlines, grids: Sequence[SlideGrid]) -> None:
        self._review = review
        self._outlines = outlines
        self._made_outlines = no_outlines(0)
        self._boxes = np.stack(outlines.boxes_px)
        self.kinds: Int32Array = np.full(len(review.cells), NOT_DRAWN, np.int32)
        """(n,) index into `KINDS` of each row, `NOT_DRAWN` for removed cells; rows as in ``review.state.table``."""
        self.levels = [self._level(grid) for grid in grids]
        self._dab_od = review.results.config.positivity.dab_od
        self.update(np.arange(len(review.state)))

    @property
    def has_outlines(self) -> bool:
        """Whether the outline of any cell is known."""
        return self._outlines.x_px.size > 0 or self._made_outlines.x_px.size > 0

    @property
    def knows_cover(self) -> bool:
        """Whether it is known what lies in cells of the run: it has none, or they have outlines."""
        return self._outlines.x_px.size > 0 or len(self._review.cells) == 0

    @property
    def centres_px(self) -> Float64Array:
        """(n, 2) x and y of the rows, in input pixels, the centre of the first at 0."""
        return self._review.state.places_px

    def update(self, rows: IntpArray) -> None:
        """Take in that ``rows`` may be other cells, or cells of another kind, than before."""
        state = self._review.state
        n_new = len(state) - len(self.kinds)
        if n_new:
            self._append(n_new)
        present = rows[state.present[rows]]
        self.kinds[rows] = NOT_DRAWN
        results = self._review.results
        cells = state.counted(present, LOOKED_AT)
        if self._dab_od != results.config.positivity.dab_od:
            cells = at_cut_off(cells, self._dab_od, config=results.config, pack=results.pack)
        self.kinds[present] = kinds_of(cells, results.pack.compartment)

    def look_at(self, dab_od: float) -> bool:
        """Give the cells the kinds that they would have at another DAB cut-off; whether that is another than before.

        For looking only: nothing that is counted changes.
        """
        if dab_od == self._dab_od:
            return False
        low, high = (np.float32(pick(dab_od, self._dab_od)) for pick in (min, max))
        self._dab_od = dab_od
        # The rule of positivity compares densities with the cut-off: only those between the two can turn a cell.
        turns = np.zeros(len(self.kinds), bool)
        for od in self._review.state.densities():
            turns |= (low <= od) & (od <= high)
        self.update(np.flatnonzero(turns))
        return True

    def _append(self, n_new: int) -> None:
        made = {cell.id: cell for edit in self._review.ledger.edits for cell in edit.made}
        cells = [made[name] for name in self._review.state.made_ids[-n_new:]]
        polygons = [
            drawn_circle(each.x_px, each.y_px, sides_um=self._review.sides_um)
            if each.geometry is None
            else max(shapely.get_parts(region(each.geometry)), key=lambda part: part.area)
            for each in cells
        ]
        self._made_outlines = self._made_outlines.with_polygons(polygons)  # those of the run are too many to copy
        boxes = np.stack(no_outlines(0).with_polygons(polygons).boxes_px)
        self._boxes = np.concatenate([self._boxes, boxes], axis=1)
        self.kinds = np.concatenate([self.kinds, np.full(n_new, NOT_DRAWN, np.int32)])

    # --- where is what ---
    def row_at(self, x_px: float, y_px: float) -> int | None:
        """Row of the cell at a point (as ``x_px``, ``y_px`` of the table); the smallest, where several lie there."""
        x, y = x_px + CENTRE, y_px + CENTRE
        left, top, right, bottom = self._boxes
        near = np.flatnonzero((left <= x) & (x <= right) & (top <= y) & (y <= bottom) & (self.kinds != NOT_DRAWN))
        point = shapely.Point(x, y)
        met = [
            (each.area, row) for row in near.tolist() if (each := self.outline(row)) is not None and each.covers(point)
        ]
        return min(met)[1] if met else self._bare_row_at(x_px, y_px)

    def _bare_row_at(self, x_px: float, y_px: float) -> int | None:
        bare = np.flatnonzero(np.isnan(self._boxes[0]) & (self.kinds != NOT_DRAWN))
        if not bare.size:
            return None
        sides = self._review.sides_um
        away = np.hypot(*((self.centres_px[bare] - (x_px, y_px)) * (sides["mpp_x"], sides["mpp_y"])).T)
        nearest = int(np.argmin(away))
        return int(bare[nearest]) if away[nearest] <= NEAR_UM else None

    def rows_within(self, points_px: Float64Array) -> IntpArray:
        """Rows of the cells whose centre lies in the polygon through ``points_px`` (n, 2: x, y)."""
        if len(points_px) < 3:
            return np.zeros(0, np.intp)
        area = shapely.make_valid(shapely.Polygon(points_px))
        shapely.prepare(area)
        x, y = self.centres_px.T
        inside = shapely.contains_xy(area, x, y) & (self.kinds != NOT_DRAWN)
        return np.flatnonzero(inside).astype(np.intp)

    def outline(self, row: int) -> shapely.Polygon | None:
        """Outline of a cell, in input pixels from the corner of the first; None where it is not known."""
        n = len(self._review.cells)
        return self._outlines.polygon(row) if row < n else self._made_outlines.polygon(row - n)

    # --- painting ---
    def covered(self, rect: Rect, grid: SlideGrid) -> BoolArray:
        """Pixels of a grid that lie in a cell: one of the run, removed or not, or one that a reviewer made."""
        n = len(self._review.cells)
        rows = self._seen(rect, grid)
        return self._labels(rect, grid, rows[(rows < n) | (self.kinds[rows] != NOT_DRAWN)]) > 0

    def _level(self, grid: SlideGrid) -> LevelArray:
        def paint(rect: Rect) -> Int32Array:
            return self._painted(rect, grid)

        return LevelArray((grid.height, grid.width), np.int32, paint, is_kept=False)

    def _painted(self, rect: Rect, grid: SlideGrid) -> Int32Array:
        rows = self._seen(rect, grid)
        return self._labels(rect, grid, rows[self.kinds[rows] != NOT_DRAWN])

    def _seen(self, rect: Rect, grid: SlideGrid) -> IntpArray:
        """Rows whose outline may reach into a window."""
        left, top, right, bottom = self._boxes
        x0, y0 = rect.x0 * grid.downsample_x, rect.y0 * grid.downsample_y
        x1, y1 = rect.x1 * grid.downsample_x, rect.y1 * grid.downsample_y
        return np.flatnonzero((left < x1) & (right > x0) & (top < y1) & (bottom > y0)).astype(np.intp)

    def _labels(self, rect: Rect, grid: SlideGrid, rows: IntpArray) -> Int32Array:
        labels = np.zeros((rect.height, rect.width), np.int32)
        n = len(self._review.cells)
        corner = (float(rect.x0 * grid.downsample_x), float(rect.y0 * grid.downsample_y))
        for outlines, first, of in (
            (self._outlines, 0, rows[rows < n]),
            (self._made_outlines, n, rows[rows >= n]),
        ):
            paint_polygons(
                labels,
                (outlines.x_px, outlines.y_px),
                outlines.starts,
                (of - first, (of * len(KINDS) + np.maximum(self.kinds[of], 0) + 1).astype(np.int32)),
                (*corner, grid.downsample_x, grid.downsample_y),
            )
        return labels
