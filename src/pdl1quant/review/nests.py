"""The nests of tumour cells in what a review made of the cells, and which cells lie far from them.

By the rule of the run (`stages.nests`), kept so that one edit costs what it touches: the squares in which cells changed
are counted again, and looked at is what their nests reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pdl1quant.stages import nests, quality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import BoolArray, Float64Array, IntpArray
    from pdl1quant.whole_slides.waiting import NestGround

_REACH = {"reach_um": quality.STROMA_REACH_UM}


class NestsNow:
    """What lies far from any nest, kept up with the edits of a review.

    Parameters
    ----------
    grounds
        Where nests are looked for: the image, or each core of a microarray for itself. What was counted in them so far
        is not read.
    """

    def __init__(self, grounds: Sequence[NestGround]) -> None:
        self._grounds = tuple(grounds)
        sizes = [rows * columns for rows, columns in (each.squares.shape for each in self._grounds)]
        self._first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)  # the squares of all grounds in a row
        self._tumour, self._cells = (np.zeros(self._first[-1], np.int32) for _ in range(2))
        self._near = np.zeros(self._first[-1], bool)
        self._row_of, self._square_of = (np.zeros(0, np.intp) for _ in range(2))
        self._is_tumour, self._is_cell = (np.zeros(0, bool) for _ in range(2))
        self.is_far: BoolArray = np.zeros(0, bool)
        """(n,) bool: rows that lie in a ground and near none of its nests, whatever their class."""

    @property
    def has_nest(self) -> bool:
        """Whether there is a nest anywhere."""
        return bool(self._near.any())

    def holds_nest(self, number: int) -> bool:
        """Whether there is one in the ground of that number."""
        return bool(self._near[self._first[number] : self._first[number + 1]].any())

    def append(self, places_px: Float64Array) -> None:
        """Add rows at some places (n, 2: x, y), which are no cells until `update` says so."""
        table = pd.DataFrame(places_px, columns=["x_px", "y_px"])
        n = len(self.is_far)
        found = [
            (rows + n, first + ground.squares.places(*places_px[rows].T))
            for ground, first in zip(self._grounds, self._first[:-1].tolist(), strict=True)
            if (rows := ground.rows(table)).size
        ]
        self._row_of = np.concatenate([self._row_of, *(rows for rows, _ in found)])
        self._square_of = np.concatenate([self._square_of, *(squares for _, squares in found)])
        none = np.zeros(len(table), bool)
        self._is_tumour, self._is_cell = np.append(self._is_tumour, none), np.append(self._is_cell, none)
        self.is_far = self._looked_up(n + len(table))

    def update(self, rows: IntpArray, *, is_tumour: BoolArray, is_cell: BoolArray) -> IntpArray:
        """Say anew of some rows whether they count in looking for nests; the rows that are far, or near, only now.

        Parameters
        ----------
        rows
            Each once.
        is_tumour, is_cell
            (rows,) tumour cells, and cells of all classes, that `nests.may_make_nests`.
        """
        change = np.zeros((2, len(self.is_far)), np.int32)
        change[0, rows] = is_tumour.astype(np.int32) - self._is_tumour[rows]
        change[1, rows] = is_cell.astype(np.int32) - self._is_cell[rows]
        self._is_tumour[rows], self._is_cell[rows] = is_tumour, is_cell
        is_changed = (change[0] | change[1]) != 0
        at = np.flatnonzero(is_changed[self._row_of])
        squares = self._square_of[at]
        np.add.at(self._tumour, squares, change[0, self._row_of[at]])
        np.add.at(self._cells, squares, change[1, self._row_of[at]])
        before = self._near.copy()
        for number in np.unique(np.searchsorted(self._first, squares, side="right") - 1).tolist():
            self._look(number, squares)
        if (before == self._near).all():
            return np.zeros(0, np.intp)
        was_far, self.is_far = self.is_far, self._looked_up(len(self.is_far))
        return np.flatnonzero(was_far != self.is_far)

    def _look(self, number: int, changed: IntpArray) -> None:
        """Find what is near the nests of one ground, around those of its squares that changed."""
        squares = self._grounds[number].squares
        first, end = self._first[number : number + 2].tolist()
        n_rows, n_columns = squares.shape
        tumour, cells, near = (
            each[first:end].reshape(n_rows, n_columns) for each in (self._tumour, self._cells, self._near)
        )
        rows = (changed[(changed >= first) & (changed < end)] - first) // n_columns
        around = nests.n_rows_around(squares, **_REACH)
        low, high = max(0, int(rows.min()) - around), min(n_rows, int(rows.max()) + 1 + around)
        top, bottom = max(0, low - around), min(n_rows, high + around)
        counts = nests.SquareCounts(tumour=tumour[top:bottom], cells=cells[top:bottom])
        near[low:high] = nests.near_nests(counts, squares, **_REACH)[low - top : high - top]

    def _looked_up(self, n: int) -> BoolArray:
        is_in, is_near = np.zeros(n, bool), np.zeros(n, bool)
        is_in[self._row_of] = True
        is_near[self._row_of[self._near[self._square_of]]] = True
        return is_in & ~is_near
