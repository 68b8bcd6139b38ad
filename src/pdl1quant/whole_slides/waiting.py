"""Bands wait until the tissue around them is known: whether an immune cell counts hangs on the tumour that is near.

Where no tumour was drawn, the nests that were found decide (`stages.nests`). They are looked for in squares of the
whole slide, or of each core of a microarray, for cores are of patients of their own; the squares know nothing of bands
and tiles.

Held are the bands that end within the reach of the rule above the last one, however high the slide is: of 2048 rows at
0.5 um per pixel one or two. Of a cell that waits there are the row of its table and its outline, packed. Its pixels do
not wait: they only want its number, which it has when it is judged (`painting`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import shapely

from pdl1quant.slides.roi import CENTRE
from pdl1quant.stages import nests, quality

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

    from pdl1quant.model import BoolArray, IntpArray, SlideGrid
    from pdl1quant.slides.roi import Roi
    from pdl1quant.whole_slides.judging import Band

CELLS_AT_ONCE = 1000
"""Outlines are packed by so many: no text of a whole band stands beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A band whose far cells are not known yet: ``band`` is without its outlines, which ``packed`` holds."""

    band: Band
    packed: tuple[bytes, ...]

    @classmethod
    def of(cls, band: Band) -> Waiting:
        """The same in a fifth of the memory."""
        parts = (band.outlines[at : at + CELLS_AT_ONCE] for at in range(0, len(band.outlines), CELLS_AT_ONCE))
        texts = ("\n".join(chain.from_iterable(part)).encode() for part in parts)  # JSON breaks no line
        packed = tuple(bytes(imagecodecs.zstd_encode(text, level=1)) for text in texts)
        return cls(band=replace(band, outlines=()), packed=packed)

    def whole(self) -> Band:
        """The band as it came."""
        texts = [text for part in self.packed for text in imagecodecs.zstd_decode(part).decode().split("\n")]
        return replace(self.band, outlines=tuple(zip(texts[::2], texts[1::2], strict=True)))


@dataclass(slots=True, kw_only=True)
class NestGround:
    """A slide, or a core of it, in which nests are looked for: its squares, and what was counted in them so far.

    ``core`` is the outline of a core in level-0 pixels from the corner; None for a slide, which holds all cells.
    """

    squares: nests.Squares
    core: Any = None
    counts: nests.SquareCounts = field(init=False)

    def __post_init__(self) -> None:
        none = np.zeros(self.squares.shape, np.int32)
        self.counts = nests.SquareCounts(tumour=none, cells=none)

    @property
    def has_nest(self) -> bool:
        """Whether there is a nest in what was counted."""
        return bool(nests.find_nests(self.counts, min_tumour_cells=self.squares.min_tumour_cells).any())

    @property
    def n_rows_around(self) -> int:
        """On how many rows of squares above and below a row it depends what is near."""
        return nests.n_rows_around(self.squares, reach_um=quality.STROMA_REACH_UM)

    def may_hold(self, band: Band) -> bool:
        """Whether cells of a band may lie in it."""
        y = band.cells["y_px"].to_numpy()
        return self.core is None or bool(
            y[-1] >= self.squares.top - 1 and y[0] <= self.squares.top + self.squares.height
        )

    def rows(self, cells: pd.DataFrame) -> IntpArray:
        """The rows of a table that lie in it."""
        if self.core is None:
            return np.arange(len(cells))
        x, y = cells["x_px"].to_numpy() + CENTRE, cells["y_px"].to_numpy() + CENTRE
        left, top, right, bottom = self.core.bounds
        inside = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
        return np.asarray(inside[shapely.contains_xy(self.core, x[inside], y[inside])], np.intp)

    def add(self, band: Band) -> None:
        """Count the cells of a band that lie in it."""
        if self.may_hold(band):
            self.counts += nests.count_squares(_taken(band.cells, self.rows(band.cells)), self.squares)

    def knows_around(self, band: Band, open_y_px: float) -> bool:
        """Whether all is counted on which the cells of a band depend, where none above ``open_y_px`` is to come."""
        if not self.may_hold(band) or open_y_px > self.squares.top + self.squares.height:
            return True
        last, first_open = self.squares.rows(np.array([band.cells["y_px"].to_numpy()[-1], open_y_px])).tolist()
        return bool(last + self.n_rows_around < first_open)

    def near(self, cells: pd.DataFrame) -> BoolArray:
        """(n,) bool: which cells, of some rows of squares that are known, are near a nest; at least one."""
        squares, around = self.squares, self.n_rows_around
        rows = squares.rows(cells["y_px"].to_numpy()[[0, -1]])
        top, end = max(0, int(rows[0]) - around), min(squares.shape[0], int(rows[1]) + 1 + around)
        near = np.zeros(squares.shape, bool)
        near[top:end] = nests.near_nests(self.counts.between(top, end), squares, reach_um=quality.STROMA_REACH_UM)
        return nests.cells_near(cells, near, squares)


def nest_grounds(whole: nests.Squares, rois: Iterable[Roi]) -> tuple[NestGround, ...]:
    """The cores among regions, each for itself and in their order; without any the whole slide."""
    cores = [roi.geometry for roi in rois if roi.is_core]
    if not cores:
        return (NestGround(squares=whole),)
    return tuple(NestGround(squares=_squares_around(core, whole), core=core) for core in cores)


def _squares_around(core: Any, whole: nests.Squares) -> nests.Squares:
    left, top = (math.floor(side) for side in core.bounds[:2])
    right, bottom = (math.ceil(side) for side in core.bounds[2:])
    return replace(whole, width=right - left, height=bottom - top, left=left, top=top)


def flag_far_cells(bands: Iterable[Band], *, grounds: Sequence[NestGround], grid: SlideGrid) -> Iterator[Band]:
    """Flag the immune cells that are far from any nest found: of a core from those in it.

    Parameters
    ----------
    bands
        From the top of the slide to its end, with all other flags.
    grounds
        From `nest_grounds`, with nothing counted yet; afterwards they know whether they hold a nest. Cells in none of
        them, as between cores, are not flagged: they do not count anyway.
    grid
        Working grid of the slide.

    Yields
    ------
    Band
        The same bands, in their order.
    """
    waiting: deque[Waiting] = deque()
    for band in bands:
        for ground in grounds:
            ground.add(band)
        waiting.append(Waiting.of(band))
        open_y_px = _open_y_px(band.y1, grid)
        del band  # not to be kept while the next tiles are measured
        while waiting and all(ground.knows_around(waiting[0].band, open_y_px) for ground in grounds):
            yield _flagged(waiting.popleft().whole(), grounds)
    while waiting:
        yield _flagged(waiting.popleft().whole(), grounds)


def _open_y_px(y1: int, grid: SlideGrid) -> float:
    """Above which no cells lie that come after a band which ends at row ``y1`` of the grid.

    By the arithmetic that moves cells to level 0 (`judging`), so that rounding puts none of them above.
    """
    return (y1 - 0.5 + 0.5) * grid.downsample_y - 0.5 if y1 < grid.height else math.inf


def _flagged(band: Band, grounds: Sequence[NestGround]) -> Band:
    """A band with its far cells flagged, by the counts of all rows on which they depend."""
    n = len(band.cells)
    lies_in_one, is_near = np.zeros(n, bool), np.zeros(n, bool)
    for ground in grounds:
        rows = ground.rows(band.cells) if ground.may_hold(band) else np.zeros(0, np.intp)
        if rows.size:
            lies_in_one[rows] = True
            is_near[rows] |= ground.near(_taken(band.cells, rows))
    return replace(band, cells=nests.flag_far(band.cells, is_near | ~lies_in_one))


def _taken(cells: pd.DataFrame, rows: IntpArray) -> pd.DataFrame:
    """Some rows of a table; all of them are no copy."""
    return cells if len(rows) == len(cells) else cells.iloc[rows]
