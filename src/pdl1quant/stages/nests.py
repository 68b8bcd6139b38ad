"""From a cells table to the squares of tissue that hold nests of tumour cells, and to the immune cells far from them.

CPS counts the immune cells of tumour nests and of the stroma beside them (28-8 CPS: those in the same field at x20).
Where nobody drew the tumour, the nests are those of the tumour cells that were found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.model import EXCLUDING_FLAGS, CellClass, Flag

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.model import BoolArray, Float64Array, Int32Array, IntpArray

SQUARE_UM = 50.0
"""Side of a square: some five cells, a tenth of the reach."""
FIELD_UM = 600.0
"""Longest side of an image that is one field of x20 ("about 0.5 mm"), as a tile of 1024 px of 0.5 um is."""
MIN_OF_SMALL = 2
"""A single cell that is called tumour is no nest, however small an image is."""
MIN_TUMOUR_CELLS = 5
"""Tumour cells that a square and the eight around it (150 um) hold at least where it is of a nest. ..."""
MIN_TUMOUR_PCT = 20
"""... and their share of the cells there, per cent. Both are working values, not from the literature: of the
cells of stroma 2 % are called tumour falsely, and of lymphoid tissue up to 5 %, and neither a few of these among many
others nor a single one among few may be a nest, for one false nest brings in half a millimetre around it. Where such
calls lie by chance, 10 % would leave a tenth of stroma (1,500 cells per mm2) and four fifths of lymphoid tissue (6,000
per mm2) within reach of one, 20 % leave 1 % and none (simulated). In regions drawn by eye on real fields 7 of 155
squares of lymphoid tissue were nests at 10 % and 1 at 20 %, and all 93 of glands and solid tumour at both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Squares:
    """The squares of ``SQUARE_UM`` of an image, or of a box in it, in rows and columns from its corner.

    ``width`` and ``height`` are pixels of the input, ``mpp_x`` and ``mpp_y`` their sides in um, ``left`` and ``top``
    where a box begins.
    """

    width: int
    height: int
    mpp_x: float
    mpp_y: float
    left: int = 0
    top: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return math.ceil(self.height * self.mpp_y / SQUARE_UM), math.ceil(self.width * self.mpp_x / SQUARE_UM)

    def rows(self, y_px: Float64Array) -> IntpArray:
        """(n,) the row of each centre; as those of the blocks that are counted."""
        return _places(y_px - self.top, self.mpp_y, self.shape[0])

    def columns(self, x_px: Float64Array) -> IntpArray:
        """(n,) the column of each centre."""
        return _places(x_px - self.left, self.mpp_x, self.shape[1])

    def places(self, x_px: Float64Array, y_px: Float64Array) -> IntpArray:
        """(n,) the number of the square of each centre, counted row by row."""
        return np.asarray(self.rows(y_px) * self.shape[1] + self.columns(x_px), np.intp)

    @property
    def is_one_field(self) -> bool:
        """Whether the whole image is one field."""
        return max(self.width * self.mpp_x, self.height * self.mpp_y) <= FIELD_UM

    @property
    def min_tumour_cells(self) -> int:
        """How many tumour cells make a nest: of an image smaller than three squares as many as are as dense."""
        sides_um = (self.width * self.mpp_x, self.height * self.mpp_y)
        seen = math.prod(min(side, 3 * SQUARE_UM) / (3 * SQUARE_UM) for side in sides_um)
        return max(MIN_OF_SMALL, math.ceil(MIN_TUMOUR_CELLS * seen))


def _places(centre_px: Float64Array, mpp: float, n: int) -> IntpArray:
    found = np.floor(centre_px * mpp / SQUARE_UM).astype(np.intp)
    return np.clip(found, 0, n - 1)  # of a pixel that is enlarged, centres lie up to half of it outside


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareCounts:
    """Tumour cells and cells of all classes, each (rows, columns) int32."""

    tumour: Int32Array
    cells: Int32Array

    def __add__(self, other: SquareCounts) -> SquareCounts:
        return SquareCounts(tumour=self.tumour + other.tumour, cells=self.cells + other.cells)

    def between(self, first: int, end: int) -> SquareCounts:
        """Those of some rows."""
        return SquareCounts(tumour=self.tumour[first:end], cells=self.cells[first:end])


def count_squares(cells: pd.DataFrame, squares: Squares) -> SquareCounts:
    """Count the cells of each square; the counts of parts of a table add up to those of the whole.

    Parameters
    ----------
    cells
        Cells table with all flags but `Flag.FAR_FROM_TUMOUR`; may be empty. Counted are those that `may_make_nests`.
    squares
        Those of the image.
    """
    may = may_make_nests(cells["flags"].to_numpy())
    rows, columns = squares.shape
    place = squares.places(cells["x_px"].to_numpy(), cells["y_px"].to_numpy())
    tumour = may & (cells["cell_class"] == CellClass.TUMOUR).to_numpy(bool)

    def number(chosen: BoolArray) -> Int32Array:
        return np.bincount(place[chosen], minlength=rows * columns).reshape(rows, columns).astype(np.int32)

    return SquareCounts(tumour=number(tumour), cells=number(may))


def may_make_nests(flags: Int32Array) -> BoolArray:
    """(n,) bool: cells that are counted in looking for nests, by their flags.

    These are viable cells, and those that the border cuts, of which the stain cannot be judged but the class: in a
    small field they are many. What lies outside a region to be scored, or in an artefact, makes no nest.
    """
    return np.asarray((flags & int(EXCLUDING_FLAGS & ~Flag.TOUCHES_EDGE)) == 0)


def find_nests(counts: SquareCounts, *, min_tumour_cells: int = MIN_TUMOUR_CELLS) -> BoolArray:
    """(rows, columns) bool: squares of nests.

    With the eight around them they hold at least ``min_tumour_cells`` (`Squares.min_tumour_cells`), and these are at
    least ``MIN_TUMOUR_PCT`` of the cells.
    """
    tumour, cells = _with_neighbours(counts.tumour), _with_neighbours(counts.cells)
    return (tumour >= min_tumour_cells) & (100 * tumour >= MIN_TUMOUR_PCT * cells)


def _with_neighbours(values: Int32Array) -> Int32Array:
    rows, columns = values.shape
    wide = np.pad(values, 1)
    high = wide[:rows] + wide[1 : rows + 1] + wide[2:]
    return np.asarray(high[:, :columns] + high[:, 1 : columns + 1] + high[:, 2:], np.int32)


def near_nests(counts: SquareCounts, squares: Squares, *, reach_um: float) -> BoolArray:
    """Where immune cells are those of a nest or of the stroma beside it.

    Parameters
    ----------
    counts
        Of the whole image, or of some rows of squares: then the ``n_rows_around`` first and last of what is returned
        are right only where the image ends there, too.
    squares
        Those of the image. Of one that is one field (`Squares.is_one_field`) all are near where it holds a nest, and
        none where it holds none; ``counts`` are then those of the whole.
    reach_um
        How far the centre of a square may lie from that of a square of a nest.

    Returns
    -------
    (rows, columns) bool
    """
    found = find_nests(counts, min_tumour_cells=squares.min_tumour_cells)
    if squares.is_one_field:
        return np.full(found.shape, found.any())
    reach = reach_um / SQUARE_UM
    offsets = np.arange(-int(reach), int(reach) + 1)
    disc = (offsets[:, None] ** 2 + offsets**2 <= reach**2).astype(np.uint8)
    return np.asarray(cv2.dilate(found.view(np.uint8), disc) > 0)


def n_rows_around(squares: Squares, *, reach_um: float) -> int:
    """On how many rows of squares above and below a row depends what is near a nest in it."""
    return squares.shape[0] if squares.is_one_field else int(reach_um / SQUARE_UM) + 1


def cells_near(cells: pd.DataFrame, near: BoolArray, squares: Squares) -> BoolArray:
    """(n,) bool: cells whose square is ``near``, (rows, columns) bool."""
    return np.asarray(near[squares.rows(cells["y_px"].to_numpy()), squares.columns(cells["x_px"].to_numpy())])


def flag_far(cells: pd.DataFrame, near: BoolArray) -> pd.DataFrame:
    """Flag the immune cells that are not ``near``, (n,) bool, as `Flag.FAR_FROM_TUMOUR`."""
    immune = cells["cell_class"].isin([CellClass.LYMPHOCYTE, CellClass.MACROPHAGE]).to_numpy(bool)
    far = np.where(immune & ~near, int(Flag.FAR_FROM_TUMOUR), 0)
    return cells.assign(flags=(cells["flags"].to_numpy() | far).astype(np.int32))
