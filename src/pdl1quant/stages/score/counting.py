"""From the cells table to ``Counts``: which cells are brown, at t1 and beside it, and how many per block of tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pdl1quant.model import (
    EXCLUDING_FLAGS,
    BoolArray,
    CellClass,
    Compartment,
    Counts,
    Flag,
    Float32Array,
    Float64Array,
    PositiveCounts,
    RulePack,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pdl1quant.config import Config, PositivityConfig
    from pdl1quant.model import IntpArray


# --- which cells are brown -------------------------------------------------------------------------------------------
COUNTED_COLUMNS = (
    "x_px",
    "y_px",
    "cell_class",
    "flags",
    "cell_area_um2",
    "dab_area_um2",
    "pigment_share",
    "membrane_dab_od_run",
    "cytoplasm_dab_od_mean",
    "cell_dab_od_mean",
    "membrane_positive",
    "cytoplasm_positive",
    "cell_positive",
    "dab_grade",
)
"""What of the cells table is read to count cells by block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositiveCells:
    """Which cells are brown at one threshold, each (n,) bool in the order of the table."""

    membrane: BoolArray
    cytoplasm: BoolArray
    cell: BoolArray

    def within(self, compartment: Compartment) -> BoolArray:
        """(n,) bool: brown as ``compartment`` asks for it; ``cytoplasm`` means cytoplasm or membrane."""
        match compartment:
            case Compartment.MEMBRANE:
                return self.membrane
            case Compartment.CYTOPLASM:
                return self.cytoplasm | self.membrane
            case Compartment.CYTOPLASM_ONLY:
                return self.cytoplasm & ~self.membrane
            case _:
                return self.cell


def positive_at(cells: pd.DataFrame, dab_od: float, config: PositivityConfig) -> PositiveCells:
    """Apply the rule of positivity at the DAB threshold ``dab_od`` (log10 OD).

    Cytoplasm and cell: mean OD at or above the threshold. Membrane: the best run at or above it, and either
    ``min_membrane_contrast_od`` above the cell's own cytoplasm or the cytoplasm itself positive. All comparisons are
    made in float32, the columns' own type. An OD that is not a number is not positive. ``config.dab_od`` is not read.

    Parameters
    ----------
    cells
        Cells table; read are ``membrane_dab_od_run``, ``cytoplasm_dab_od_mean`` and ``cell_dab_od_mean``.
    dab_od
        Threshold, log10 OD.
    config
        Read is ``min_membrane_contrast_od``.
    """
    limits = _limits(cells, config)
    threshold = np.float32(dab_od)
    return PositiveCells(
        membrane=limits.membrane >= threshold,
        cytoplasm=limits.cytoplasm >= threshold,
        cell=limits.cell >= threshold,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """The highest threshold at which each cell is still positive, each (n,) float32; -inf: at none."""

    membrane: Float32Array
    cytoplasm: Float32Array
    cell: Float32Array


def _limits(cells: pd.DataFrame, config: PositivityConfig) -> _Limits:
    run = _od(cells, "membrane_dab_od_run")
    cytoplasm = _od(cells, "cytoplasm_dab_od_mean")
    stands_out = np.subtract(run, cytoplasm, where=np.isfinite(cytoplasm), out=np.full_like(run, -np.inf))
    # A membrane that does not stand out is positive only as long as the cytoplasm is.
    membrane = np.where(stands_out >= np.float32(config.min_membrane_contrast_od), run, np.minimum(run, cytoplasm))
    return _Limits(membrane=membrane, cytoplasm=cytoplasm, cell=_od(cells, "cell_dab_od_mean"))


def _od(cells: pd.DataFrame, column: str) -> Float32Array:
    values = cells[column].to_numpy(dtype=np.float32)
    return np.where(np.isnan(values), np.float32(-np.inf), values)


def od_above_threshold(cells: pd.DataFrame, config: PositivityConfig, *, compartment: Compartment) -> Float32Array:
    """(n,) log10 OD by which each cell lies above t1 (below: negative): so far t1 has to move for the cell to turn.

    As `positive_at` reads ``compartment``; of a cell that is positive between two thresholds the nearer one counts.
    -inf where the table has no OD.
    """
    limits = _limits(cells, config)
    t1 = np.float32(config.dab_od)
    match compartment:
        case Compartment.MEMBRANE:
            return np.asarray(limits.membrane - t1)
        case Compartment.CYTOPLASM:
            return np.asarray(np.maximum(limits.membrane, limits.cytoplasm) - t1)
        case Compartment.CYTOPLASM_ONLY:
            return np.asarray(np.minimum(limits.cytoplasm - t1, t1 - limits.membrane))
        case _:
            return np.asarray(limits.cell - t1)


def highest_positive_od(cells: pd.DataFrame, config: PositivityConfig, *, compartment: Compartment) -> Float32Array:
    """(n,) the highest DAB threshold (log10 OD) at which each cell is positive, as `positive_at` reads ``compartment``.

    At or above t1 it is for the cells that are positive at t1, and for no other: of ``cytoplasm_only`` those whose
    membrane is brown at t1 have none, though they would have one above it. -inf: at none.
    """
    limits = _limits(cells, config)
    match compartment:
        case Compartment.MEMBRANE:
            return limits.membrane
        case Compartment.CYTOPLASM:
            return np.asarray(np.maximum(limits.membrane, limits.cytoplasm))
        case Compartment.CYTOPLASM_ONLY:
            has_one = (limits.membrane < np.float32(config.dab_od)) & (limits.membrane < limits.cytoplasm)
            return np.where(has_one, limits.cytoplasm, np.float32(-np.inf))
        case _:
            return limits.cell


def _recorded(cells: pd.DataFrame) -> PositiveCells:
    return PositiveCells(
        membrane=cells["membrane_positive"].to_numpy(dtype=bool),
        cytoplasm=cells["cytoplasm_positive"].to_numpy(dtype=bool),
        cell=cells["cell_positive"].to_numpy(dtype=bool),
    )


def _shifted(cells: pd.DataFrame, recorded: PositiveCells, shift_od: float, config: PositivityConfig) -> PositiveCells:
    """Positives at t1 + ``shift_od``; where the table says other than the rule does at t1, a reviewer's word stays."""
    at_t1 = positive_at(cells, config.dab_od, config)
    shifted = positive_at(cells, config.dab_od + shift_od, config)
    return PositiveCells(
        membrane=np.where(recorded.membrane == at_t1.membrane, shifted.membrane, recorded.membrane),
        cytoplasm=np.where(recorded.cytoplasm == at_t1.cytoplasm, shifted.cytoplasm, recorded.cytoplasm),
        cell=np.where(recorded.cell == at_t1.cell, shifted.cell, recorded.cell),
    )


# --- counts ----------------------------------------------------------------------------------------------------------
def count_cells(cells: pd.DataFrame, *, config: Config, pack: RulePack, tumour_area_um2: float = 0.0) -> Counts:
    """Count the cells of one region.

    Viable is a cell without any of ``EXCLUDING_FLAGS``; only viable cells are counted, in ``n_cells`` all rows are.
    ``n_excluded_tumour`` leaves out the cells outside the ROI, which nobody asked for, and those cut by the border of
    the image, which are lost whatever their stain (a 512 x 512 field cuts about 15 %). Positives at t1 are the
    table's boolean columns, those at t1 plus and minus ``score.threshold_margin_od`` follow `positive_at`. Immune
    positive: a lymphocyte or macrophage with brown membrane or cytoplasm, unless it is flagged
    ``Flag.FAR_FROM_TUMOUR``; beside a drawn tumour region it is counted, and its area, which would be held against that
    of the region, is not. Grades are the column ``dab_grade``.

    Parameters
    ----------
    cells
        Cells table of ``CELL_COLUMNS``; may be empty.
    config
        Read are ``positivity`` and ``score.threshold_margin_od``.
    pack
        Its compartment decides which tumour cells' area counts as positive.
    tumour_area_um2
        Area of the tumour region that a person drew; 0 without one.
    """
    group = np.zeros(len(cells), dtype=np.intp)
    (counts,) = _tally(cells, group, 1, config=config, pack=pack)
    return counts + Counts(tumour_area_um2=tumour_area_um2)


def count_blocks(
    cells: pd.DataFrame, *, block_um: float, mpp_x: float, mpp_y: float, config: Config, pack: RulePack
) -> tuple[Counts, ...]:
    """Count the cells per square block of tissue; the blocks' sum is `count_cells` of the whole table.

    Parameters
    ----------
    cells
        Cells table of ``CELL_COLUMNS``.
    block_um
        Side of a block, um.
    mpp_x, mpp_y
        Sides of a pixel of the input image (of ``x_px`` and ``y_px``), um.
    config, pack
        As in `count_cells`.

    Returns
    -------
    tuple of Counts
        Blocks that hold a cell, row by row. They know no tumour area: add ``Counts(tumour_area_um2=...)`` to the
        sequence; a block without cells does not enter the bootstrap.
    """
    counted = count_by_block(cells, block_um=block_um, mpp_x=mpp_x, mpp_y=mpp_y, config=config, pack=pack)
    return tuple(counted.values())


def count_by_block(
    cells: pd.DataFrame, *, block_um: float, mpp_x: float, mpp_y: float, config: Config, pack: RulePack
) -> dict[tuple[int, int], Counts]:
    """The counts of `count_blocks` by row and column of the block, row by row."""
    how = {"block_um": block_um, "mpp_x": mpp_x, "mpp_y": mpp_y}
    return count_regions(cells, np.zeros(len(cells), dtype=np.intp), **how, config=config, pack=pack).get(0, {})


def count_regions(
    cells: pd.DataFrame,
    region: IntpArray,
    *,
    block_um: float,
    mpp_x: float,
    mpp_y: float,
    config: Config,
    pack: RulePack,
) -> dict[int, dict[tuple[int, int], Counts]]:
    """The counts of `count_by_block` of each of many regions that hold a cell, all in one go, in their order.

    Parameters
    ----------
    cells
        Read are ``COUNTED_COLUMNS``. A cell that lies in several regions has a row for each; of one region, rows come
        in the order of the table, in which areas are added.
    region
        (n,) the number of the region, from 0, for which each row counts.
    block_um, mpp_x, mpp_y, config, pack
        As in `count_blocks`.
    """
    counted: dict[int, dict[tuple[int, int], Counts]] = {}
    if cells.empty:
        return counted
    row, column = block_places(cells, block_um=block_um, mpp_x=mpp_x, mpp_y=mpp_y)
    # One number per block, region by region and row by row: sorting numbers is many times faster than sorting triples.
    top, left, height, width = row.min(), column.min(), np.ptp(row) + 1, np.ptp(column) + 1
    places, group = np.unique((region * height + (row - top)) * width + (column - left), return_inverse=True)
    numbers, rows = np.divmod(places // width, height)
    blocks = zip(numbers.tolist(), (rows + top).tolist(), (places % width + left).tolist(), strict=True)
    counts = _tally(cells, group, len(places), config=config, pack=pack)
    for (number, down, across), each in zip(blocks, counts, strict=True):
        counted.setdefault(number, {})[down, across] = each
    return counted


def block_places(
    cells: pd.DataFrame, *, block_um: float, mpp_x: float, mpp_y: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column, each (n,) int64, of the block of `count_blocks` that holds each cell."""
    column = np.floor(cells["x_px"].to_numpy(dtype=np.float64) * mpp_x / block_um).astype(np.int64)
    row = np.floor(cells["y_px"].to_numpy(dtype=np.float64) * mpp_y / block_um).astype(np.int64)
    return row, column


def _tally(
    cells: pd.DataFrame, group: NDArray[np.intp], n_groups: int, *, config: Config, pack: RulePack
) -> tuple[Counts, ...]:
    flags = cells["flags"].to_numpy(dtype=np.int64)
    viable = (flags & int(EXCLUDING_FLAGS)) == 0
    missing = (flags & int(Flag.OUTSIDE_ROI | Flag.TOUCHES_EDGE)) == 0
    is_tumour, is_lymphocyte, is_macrophage = (
        (cells["cell_class"] == each.value).to_numpy(dtype=bool)
        for each in (CellClass.TUMOUR, CellClass.LYMPHOCYTE, CellClass.MACROPHAGE)
    )
    tumour = is_tumour & viable
    immune = (is_lymphocyte | is_macrophage) & viable & ((flags & int(Flag.FAR_FROM_TUMOUR)) == 0)
    grade = cells["dab_grade"].to_numpy()
    recorded = _recorded(cells)
    margin = config.score.threshold_margin_od

    def number(mask: BoolArray) -> list[int]:
        return [int(n) for n in np.bincount(group[mask], minlength=n_groups)]

    def summed(area: Float64Array, mask: BoolArray) -> list[float]:
        return [float(a) for a in np.bincount(group[mask], weights=area[mask], minlength=n_groups)]

    def area_um2(mask: BoolArray) -> list[float]:
        return summed(np.nan_to_num(cells["cell_area_um2"].to_numpy(dtype=np.float64)), mask)

    def positives(at: PositiveCells) -> list[PositiveCounts]:
        table = {each.value: number(tumour & at.within(each)) for each in Compartment}
        table["immune"] = number(immune & at.within(Compartment.CYTOPLASM))
        return [PositiveCounts(**dict(zip(table, values, strict=True))) for values in zip(*table.values(), strict=True)]

    integers = {
        "n_cells": number(np.ones(len(cells), dtype=bool)),
        "n_tumour": number(tumour),
        "n_excluded_tumour": number(is_tumour & ~viable & missing),
        "n_lymphocyte": number(is_lymphocyte & viable),
        "n_macrophage": number(is_macrophage & viable),
        "n_immune": number(immune),
        "grade_1": number(tumour & (grade == 1)),
        "grade_2": number(tumour & (grade == 2)),
        "grade_3": number(tumour & (grade == 3)),
    }
    positive = positives(recorded)
    strict = positives(_shifted(cells, recorded, margin, config.positivity))
    lenient = positives(_shifted(cells, recorded, -margin, config.positivity))
    tumour_area = area_um2(tumour & recorded.within(pack.compartment))
    within = (flags & int(Flag.BESIDE_TUMOUR)) == 0
    immune_area = area_um2(immune & within & recorded.within(Compartment.CYTOPLASM))
    clear_area, dab_area = _stained_areas(cells)
    whole_area, stained_area = summed(clear_area, tumour), summed(dab_area, tumour)
    return tuple(
        Counts(
            **{name: values[i] for name, values in integers.items()},
            positive=positive[i],
            positive_strict=strict[i],
            positive_lenient=lenient[i],
            tumour_positive_area_um2=tumour_area[i],
            immune_positive_area_um2=immune_area[i],
            tumour_cells_area_um2=whole_area[i],
            tumour_cells_dab_area_um2=stained_area[i],
        )
        for i in range(n_groups)
    )


_STEPS_PER_UM2 = 1024.0
"""Areas are rounded to such parts of a um2: sums of them are exact, and so the same in any order."""


def _stained_areas(cells: pd.DataFrame) -> tuple[Float64Array, Float64Array]:
    """(n,) um2 of each cell that no pigment covers, and what of that is at or above t1; 0 where either is not known."""
    whole, pigment, stained = (
        cells[name].to_numpy(dtype=np.float64) for name in ("cell_area_um2", "pigment_share", "dab_area_um2")
    )
    clear = np.rint(whole * (1 - pigment) * _STEPS_PER_UM2) / _STEPS_PER_UM2
    stained = np.minimum(np.rint(stained * _STEPS_PER_UM2) / _STEPS_PER_UM2, clear)
    is_known = np.isfinite(clear) & np.isfinite(stained)
    return np.where(is_known, clear, 0.0), np.where(is_known, stained, 0.0)


def threshold_curve(cells: pd.DataFrame, thresholds: Sequence[float], *, config: PositivityConfig) -> pd.DataFrame:
    """TPS of each compartment against the DAB threshold: how much the score hangs on t1.

    Computed from the ODs by the rule of `positive_at`; a reviewer's edits of single cells do not show in it.

    Returns
    -------
    DataFrame
        A row per threshold with ``dab_od``, ``tps_membrane``, ``tps_cytoplasm``, ``tps_cytoplasm_only`` and
        ``tps_cell`` (per cent of the viable tumour cells); no rows without viable tumour cells.
    """
    viable = (cells["flags"].to_numpy(dtype=np.int64) & int(EXCLUDING_FLAGS)) == 0
    tumour = cells[viable & (cells["cell_class"] == CellClass.TUMOUR.value).to_numpy(dtype=bool)]
    wanted = thresholds if len(tumour) else []
    reaching = count_reaching(tumour, wanted, config=config)
    membrane, either, cell = (
        100.0 * reaching[each] / max(len(tumour), 1)
        for each in (Compartment.MEMBRANE, Compartment.CYTOPLASM, Compartment.CELL)
    )
    return pd.DataFrame(
        {
            "dab_od": np.asarray(wanted, dtype=np.float64),
            "tps_membrane": membrane,
            "tps_cytoplasm": either,
            "tps_cytoplasm_only": either - membrane,
            "tps_cell": cell,
        }
    )


def count_reaching(
    cells: pd.DataFrame, thresholds: Sequence[float], *, config: PositivityConfig
) -> dict[Compartment, IntpArray]:
    """How many cells are positive at each DAB threshold: in the membrane, in cytoplasm or membrane, as a whole."""
    limits, wanted = _limits(cells, config), np.asarray(thresholds, dtype=np.float32)
    highest = {
        Compartment.MEMBRANE: limits.membrane,
        Compartment.CYTOPLASM: np.maximum(limits.membrane, limits.cytoplasm),
        Compartment.CELL: limits.cell,
    }
    return {name: limit.size - np.searchsorted(np.sort(limit), wanted, side="left") for name, limit in highest.items()}
