"""The cells of an image as a report needs them: summed up part by part, for those of a slide do not fit into memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import CLASS_PROBABILITIES, CellClass, Compartment, Flag
from pdl1quant.outputs.palette import counts_as_positive, is_left_out
from pdl1quant.report import plots
from pdl1quant.report.fields import Squares, fields_of
from pdl1quant.review.results import pixel_sides
from pdl1quant.review.uncertain import uncertainty
from pdl1quant.stages.score import block_places, count_reaching, od_above_threshold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from pdl1quant.config import Config
    from pdl1quant.model import Float32Array, Float64Array, IntpArray, RulePack
    from pdl1quant.outputs.cells_in_parts import CellsFile
    from pdl1quant.report.fields import Field

_OD = ("membrane_dab_od_run", "cytoplasm_dab_od_mean", "cell_dab_od_mean")
_POSITIVES = ("positive", "membrane_positive", "cytoplasm_positive", "cell_positive")
_OF_A_DIGEST = ("cell_class", "flags", *_OD, "nucleus_sharpness_od", "cell_residual_od_mean")
_OF_SQUARES = ("x_px", "y_px", "cell_class", "flags", *_POSITIVES, *_OD, *CLASS_PROBABILITIES)
HELD_CELLS = 50_000
"""A table of up to so many cells is read once, and kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What is said of all cells of some images together; ``sum_of`` adds up.

    ``flags`` counts cells by `Flag`, ``reaching`` viable tumour cells that are positive at each threshold of
    ``plots.CURVE_OD``, by compartment, ``tumour_bins`` and ``other_bins`` those of each bin of ``plots.bins``.
    ``sharpness_od`` and ``residual_od`` are those of all cells, for their medians.
    """

    n_cells: int
    n_tumour: int
    n_others: int
    flags: dict[Flag, int]
    reaching: dict[Compartment, IntpArray]
    tumour_bins: IntpArray
    other_bins: IntpArray
    sharpness_od: Float32Array
    residual_od: Float32Array


def sum_of(digests: Iterable[Digest]) -> Digest:
    """The digest of all cells together; of at least one."""
    found = tuple(digests)
    return Digest(
        n_cells=sum(each.n_cells for each in found),
        n_tumour=sum(each.n_tumour for each in found),
        n_others=sum(each.n_others for each in found),
        flags={flag: sum(each.flags[flag] for each in found) for flag in Flag},
        reaching={which: reduce(np.add, [each.reaching[which] for each in found]) for which in found[0].reaching},
        tumour_bins=reduce(np.add, [each.tumour_bins for each in found]),
        other_bins=reduce(np.add, [each.other_bins for each in found]),
        sharpness_od=np.concatenate([each.sharpness_od for each in found]),
        residual_od=np.concatenate([each.residual_od for each in found]),
    )


@dataclass(kw_only=True)
class ReportCells:
    """The cells of one image, read from their file when something of them is asked for."""

    file: CellsFile
    mpp: float
    config: Config
    pack: RulePack
    _squares: dict[float, list[Field]] = field(default_factory=dict)
    _last: tuple[IntpArray, pd.DataFrame] | None = None
    """The rows that were last read from the file, and these cells."""

    @property
    def n_cells(self) -> int:
        """All cells found."""
        return self.file.n_cells

    @property
    def sides_um(self) -> dict[str, float]:
        """``mpp_x`` and ``mpp_y``: the sides of a pixel of the input."""
        return pixel_sides(self.file.said)

    @cached_property
    def places_px(self) -> tuple[Float64Array, Float64Array]:
        """Where all cells lie, x and y, each (n,), in pixels of the input."""
        parts = [part[["x_px", "y_px"]].to_numpy(np.float64) for part in self._parts(("x_px", "y_px"))]
        x, y = np.concatenate([np.zeros((0, 2)), *parts]).T
        return np.ascontiguousarray(x), np.ascontiguousarray(y)

    @cached_property
    def digest(self) -> Digest:
        """What is said of all cells."""
        return sum_of(self._digest(part) for part in self._parts(_OF_A_DIGEST))

    def rows(self, wanted: IntpArray) -> pd.DataFrame:
        """The cells of some rows, ascending, with all columns."""
        if self.n_cells <= HELD_CELLS:
            return self._held.iloc[wanted]
        if len(wanted) > HELD_CELLS:
            return self.file.rows(wanted)
        if self._last is None or not np.isin(wanted, self._last[0]).all():
            self._last = wanted, self.file.rows(wanted)
        known, cells = self._last
        return cells.iloc[np.searchsorted(known, wanted)].reset_index(drop=True)

    def fields(self, side_um: float) -> list[Field]:
        """Squares of tissue of this side; see `fields_of`."""
        if side_um not in self._squares:
            squares, sides = Squares(), self.sides_um
            for part in self._parts(_OF_SQUARES):
                row, column = block_places(part, block_um=side_um, **sides)
                viable = ~is_left_out(part)
                tumour = viable & (part["cell_class"] == CellClass.TUMOUR.value).to_numpy(bool)
                positive = tumour & counts_as_positive(part, self.pack.compartment)
                doubt = uncertainty(part, config=self.config, pack=self.pack)
                squares = squares.with_cells(row, column, masks=(tumour, positive, viable), doubt=doubt)
            self._squares[side_um] = fields_of(
                squares, width_px=side_um / sides["mpp_x"], height_px=side_um / sides["mpp_y"]
            )
        return self._squares[side_um]

    @cached_property
    def _held(self) -> pd.DataFrame:
        return self.file.rows(np.arange(self.n_cells))

    def _parts(self, columns: Sequence[str]) -> Iterable[pd.DataFrame]:
        return (self._held,) if self.n_cells <= HELD_CELLS else self.file.parts(columns)

    def _digest(self, cells: pd.DataFrame) -> Digest:
        flags = cells["flags"].to_numpy(np.int64)
        viable = cells[~is_left_out(cells)]
        is_tumour = (viable["cell_class"] == CellClass.TUMOUR.value).to_numpy(bool)
        tumour, others = viable[is_tumour], viable[~is_tumour]
        reaching = count_reaching(tumour, plots.CURVE_OD, config=self.config.positivity)
        return Digest(
            n_cells=len(cells),
            n_tumour=len(tumour),
            n_others=len(others),
            flags={flag: int(np.count_nonzero(flags & int(flag))) for flag in Flag},
            reaching=reaching,
            tumour_bins=plots.bins(self._od(tumour)),
            other_bins=plots.bins(self._od(others)),
            sharpness_od=cells["nucleus_sharpness_od"].to_numpy(np.float32),
            residual_od=cells["cell_residual_od_mean"].to_numpy(np.float32),
        )

    def _od(self, cells: pd.DataFrame) -> Float64Array:
        """The best run of a membrane, or the mean of the cytoplasm: what the scored compartment is judged by."""
        positivity = self.config.positivity
        above = od_above_threshold(cells, positivity, compartment=self.pack.compartment)
        return above.astype(np.float64) + positivity.dab_od
