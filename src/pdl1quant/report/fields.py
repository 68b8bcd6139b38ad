"""Squares of tissue: how the score lies over them, and of which the program was most and least sure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.outputs.overview import MIN_CELLS, STEPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pdl1quant.model import BoolArray, Float64Array, IntpArray

IMAGE_FIELD_UM = 128.0
"""Side of a field of a plain image: about a quarter of a 512 x 512 image at x200."""
SLIDE_FIELD_UM = 250.0
"""Side of a field of a whole slide: the square of its heat map."""
MIN_FIELD_CELLS = 10
"""Viable tumour cells below which a field is not ranked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One square: its corner and sides in input pixels, what was counted in it, and how unsure its cells were, 0-1."""

    x_px: float
    y_px: float
    width_px: float
    height_px: float
    n_tumour: int
    n_positive: int
    unsure: float

    @property
    def tps(self) -> float:
        """Per cent."""
        return 100.0 * self.n_positive / self.n_tumour

    @property
    def step(self) -> int:
        """Index into the heat map's ``STEPS``."""
        return next(number for number, (end, _, _) in enumerate(STEPS) if self.tps < end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Squares:
    """What was counted in the squares that hold cells, row by row: places, three counts of cells, and summed doubt.

    ``places`` (n, 2) are row and column; ``counts`` (3, n) viable tumour cells, positive ones, viable cells.
    """

    places: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    counts: IntpArray = field(default_factory=lambda: np.zeros((3, 0), np.intp))
    doubt: Float64Array = field(default_factory=lambda: np.zeros(0))

    def with_cells(
        self,
        row: NDArray[np.int64],
        column: NDArray[np.int64],
        *,
        masks: tuple[BoolArray, BoolArray, BoolArray],
        doubt: Float64Array,
    ) -> Squares:
        """The same with more cells: in which square each lies, in which of the counts, and how unsure it is."""
        n = len(self.places)
        rows, columns = np.append(self.places[:, 0], row), np.append(self.places[:, 1], column)
        left, right = columns.min(initial=0), columns.max(initial=0)
        width = right - left + 1
        number, group = np.unique(rows * width + columns - left, return_inverse=True)
        counts = np.stack([np.bincount(group[n:][mask], minlength=len(number)) for mask in masks])
        counts[:, group[:n]] += self.counts
        total = np.bincount(group, weights=np.append(self.doubt, doubt), minlength=len(number))
        return Squares(
            places=np.stack([number // width, number % width + left], axis=1),
            counts=counts,
            doubt=np.asarray(total, np.float64),
        )


def fields_of(squares: Squares, *, width_px: float, height_px: float) -> list[Field]:
    """The squares that hold viable tumour cells, row by row; their sides are in input pixels."""
    return [
        Field(
            x_px=column * width_px,
            y_px=row * height_px,
            width_px=width_px,
            height_px=height_px,
            n_tumour=n,
            n_positive=positive,
            unsure=float(doubt / max(1, viable)),
        )
        for (row, column), (n, positive, viable), doubt in zip(
            squares.places.tolist(), squares.counts.T.tolist(), squares.doubt.tolist(), strict=True
        )
        if n
    ]


def heat(fields: list[Field]) -> list[Field]:
    """Those with enough cells to be coloured."""
    return [field for field in fields if field.n_tumour >= MIN_CELLS]
