"""Squares of tissue: how the score lies over them, and of which the program was most and least sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import CellClass
from pdl1quant.outputs.overview import MIN_CELLS, STEPS
from pdl1quant.outputs.palette import counts_as_positive, is_left_out
from pdl1quant.review.uncertain import uncertainty
from pdl1quant.stages.score import block_places

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.config import Config
    from pdl1quant.model import RulePack

IMAGE_FIELD_UM = 128.0
"""Side of a field of a plain image: about a quarter of a 512 x 512 image at x200."""
SLIDE_FIELD_UM = 250.0
"""Side of a field of a whole slide: the square of its heat map."""
MIN_FIELD_CELLS = 10
"""Viable tumour cells below which a field is not ranked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One square: its corner and side in input pixels, what was counted in it, and how unsure its cells were, 0-1."""

    x_px: float
    y_px: float
    side_px: float
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


def fields_of(cells: pd.DataFrame, *, side_um: float, mpp: float, config: Config, pack: RulePack) -> list[Field]:
    """The squares that hold viable tumour cells, row by row.

    Parameters
    ----------
    cells
        Cells table of one image.
    side_um
        Side of a square, um.
    mpp
        um per pixel of the image.
    config, pack
        Settings and rules of the run.
    """
    viable = ~is_left_out(cells)
    tumour = viable & (cells["cell_class"] == CellClass.TUMOUR.value).to_numpy(bool)
    if not tumour.any():
        return []
    row, column = block_places(cells, block_um=side_um, mpp=mpp)
    width = int(column.max()) + 1
    places, group = np.unique(row * width + column, return_inverse=True)
    positive = tumour & counts_as_positive(cells, pack.compartment)
    n_tumour, n_positive, n_viable = (
        np.bincount(group[mask], minlength=len(places)) for mask in (tumour, positive, viable)
    )
    doubt = np.bincount(group, weights=uncertainty(cells, config=config, pack=pack), minlength=len(places))
    side_px = side_um / mpp
    return [
        Field(
            x_px=place % width * side_px,
            y_px=place // width * side_px,
            side_px=side_px,
            n_tumour=int(n),
            n_positive=int(brown),
            unsure=float(sum_of / max(1, seen)),
        )
        for place, n, brown, seen, sum_of in zip(
            places.tolist(), n_tumour, n_positive, n_viable, doubt.tolist(), strict=True
        )
        if n
    ]


def heat(fields: list[Field]) -> list[Field]:
    """Those with enough cells to be coloured."""
    return [field for field in fields if field.n_tumour >= MIN_CELLS]


def tumour_and_others(cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Viable tumour cells, and the other cells that were judged."""
    viable = cells[~is_left_out(cells)]
    is_tumour = (viable["cell_class"] == CellClass.TUMOUR.value).to_numpy(bool)
    return viable[is_tumour], viable[~is_tumour]
