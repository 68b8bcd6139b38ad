"""Bands wait until the tissue around them is known: whether an immune cell counts hangs on the tumour that is near.

Where no tumour was drawn, the nests that were found decide (`stages.nests`). They are looked for in squares of the
whole slide, which know nothing of bands and tiles. Held are the bands that end within the reach above the last one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.stages import nests, quality

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pdl1quant.model import Slide, SlideGrid
    from pdl1quant.whole_slides.judging import Band


def flag_far_cells(bands: Iterable[Band], *, slide: Slide, grid: SlideGrid) -> Iterator[Band]:
    """Flag the immune cells that are far from any nest found.

    Parameters
    ----------
    bands
        From the top of the slide to its end, with all other flags.
    slide
        Whose they are.
    grid
        Its working grid.

    Yields
    ------
    Band
        The same bands, in their order.
    """
    squares = nests.Squares(width=slide.width, height=slide.height, mpp_x=slide.mpp_x, mpp_y=slide.mpp_y)
    around = nests.n_rows_around(squares, reach_um=quality.STROMA_REACH_UM)
    waiting: deque[Band] = deque()
    counts = None
    for band in bands:
        found = nests.count_squares(band.cells, squares)
        counts = found if counts is None else counts + found
        waiting.append(band)
        known = _first_open_row(band.y1, squares, grid)
        del band, found  # not to be kept while the next tiles are measured
        while waiting and _last_row(waiting[0], squares) + around < known:
            yield _flagged(waiting.popleft(), counts, squares)
    while waiting:
        assert counts is not None
        yield _flagged(waiting.popleft(), counts, squares)


def _last_row(band: Band, squares: nests.Squares) -> int:
    return int(squares.rows(band.cells["y_px"].to_numpy()[-1:])[0])


def _first_open_row(y1: int, squares: nests.Squares, grid: SlideGrid) -> int:
    """The first row of squares in which cells may lie that come after a band which ends at row ``y1`` of the grid.

    By the arithmetic that moves cells to level 0 (`judging`), so that rounding puts none of them above.
    """
    y_px = (np.array([y1 - 0.5]) + 0.5) * grid.downsample_y - 0.5
    return int(squares.rows(y_px)[0]) if y1 < grid.height else squares.shape[0]


def _flagged(band: Band, counts: nests.SquareCounts, squares: nests.Squares) -> Band:
    """A band with its far cells flagged, by the counts of all rows on which they depend."""
    reach_um = quality.STROMA_REACH_UM
    around = nests.n_rows_around(squares, reach_um=reach_um)
    first = int(squares.rows(band.cells["y_px"].to_numpy()[:1])[0])
    top, end = max(0, first - around), min(squares.shape[0], _last_row(band, squares) + 1 + around)
    near = np.zeros(squares.shape, bool)
    near[top:end] = nests.near_nests(counts.between(top, end), squares, reach_um=reach_um)
    return replace(band, cells=nests.flag_far(band.cells, near, squares))
