"""Which cells to look at first, and how the score hangs on the cut-off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pdl1quant.model import CLASS_PROBABILITIES, EXCLUDING_FLAGS, CellClass, Float64Array
from pdl1quant.review.state import LOOKED_AT
from pdl1quant.stages.positivity import grade_cells
from pdl1quant.stages.score import od_above_threshold, positive_at, threshold_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import IntpArray, RulePack
    from pdl1quant.review.state import CellState

_TUMOUR_PROBABILITY = f"{CellClass.TUMOUR}_probability"


def uncertainty(cells: pd.DataFrame, *, config: Config, pack: RulePack) -> Float64Array:
    """How unsure the machine was of what each cell adds to the TPS, (n,) from 0 to 1.

    The larger of two: how near the probability of tumour is to one half (1 at 0.5, 0 at 0 and 1), and how near the
    cell is to t1 (1 at t1, 0 at ``score.threshold_margin_od`` or further), the latter times the probability of
    tumour. Cells that leave the score have 0. Without probabilities (rules name the cells) only the second is known.

    Parameters
    ----------
    cells
        Rows of ``CELL_COLUMNS``.
    config, pack
        Settings and rules of the run.
    """
    is_out = (cells["flags"].to_numpy(np.int64) & int(EXCLUDING_FLAGS)) != 0
    return np.where(is_out, 0.0, _unsure(cells, config=config, pack=pack))


def _unsure(cells: pd.DataFrame, *, config: Config, pack: RulePack) -> Float64Array:
    """The same of cells that leave the score, too."""
    probabilities = cells[list(CLASS_PROBABILITIES)].to_numpy(np.float64)
    is_known = probabilities.sum(axis=1) > 0
    is_tumour = (cells["cell_class"] == CellClass.TUMOUR.value).to_numpy(bool)
    tumour = np.where(is_known, cells[_TUMOUR_PROBABILITY].to_numpy(np.float64), is_tumour)
    of_class = 1 - np.abs(2 * tumour - 1)
    away = np.abs(od_above_threshold(cells, config.positivity, compartment=pack.compartment)).astype(np.float64)
    margin = max(config.score.threshold_margin_od, 1e-6)
    of_threshold = np.clip(1 - away / margin, 0, 1) * tumour
    return np.asarray(np.maximum(of_class, of_threshold), dtype=np.float64)


def next_uncertain(state: CellState, *, config: Config, pack: RulePack) -> IntpArray:
    """Rows of the cells to ask a reviewer about, the most uncertain first; equal ones in the order of the table.

    Left out are cells that an edit speaks of, that a review made or removed, that leave the score, and of which the
    machine was sure. Edits made in this order are to be marked ``uncertain_first``: they say how hard cells were
    read, not how many of all cells are right.
    """
    return left_of(unsure_rows(state.automated, config=config, pack=pack), state)


def unsure_rows(cells: pd.DataFrame, *, config: Config, pack: RulePack) -> IntpArray:
    """Rows of a run's cells of which the machine was unsure, the most uncertain first, whatever flags they have."""
    unsure = _unsure(cells, config=config, pack=pack)
    order = np.argsort(-unsure, kind="stable")
    return np.asarray(order[unsure[order] > 0], dtype=np.intp)


def left_of(rows: IntpArray, state: CellState) -> IntpArray:
    """Those of some rows of the run, in their order, of which no edit speaks, and that count now."""
    open_rows = rows[(state.present & ~state.is_said)[rows]]
    is_out = (state.flags_of(open_rows) & int(EXCLUDING_FLAGS)) != 0
    return np.asarray(open_rows[~is_out], dtype=np.intp)


def reviewed_curve(state: CellState, thresholds: Sequence[float], *, config: Config, pack: RulePack) -> pd.DataFrame:
    """TPS in the scored compartment against the DAB cut-off, automated and reviewed.

    Of the densities in the cells table: mean OD of cytoplasm and cell, and the best run of the membrane. Which stretch
    of a shared membrane belongs to a cell was decided at the run's t1 and is not decided anew: the curve is exact at
    t1, and above it tends to be higher than new runs (``docs/review.md`` says how much). In the reviewed curve a cell
    keeps what a reviewer said of it at every cut-off.

    Parameters
    ----------
    state
        Cells and edits of an image.
    thresholds
        Cut-offs, log10 OD.
    config, pack
        Settings and rules of the run.

    Returns
    -------
    DataFrame
        A row per cut-off: ``dab_od``, ``tps_automated``, ``tps_reviewed`` (per cent, NaN without viable tumour cells).
    """
    automated = state.automated
    counted = state.counted(columns=LOOKED_AT)
    return pd.DataFrame(
        {
            "dab_od": np.asarray(thresholds, dtype=np.float64),
            "tps_automated": _tps(automated, thresholds, config=config, pack=pack),
            "tps_reviewed": _tps(counted, thresholds, config=config, pack=pack),
        }
    )


def at_cut_off(cells: pd.DataFrame, dab_od: float, *, config: Config, pack: RulePack) -> pd.DataFrame:
    """Cells with the positives and grades that they would have at another t1; those a reviewer spoke of keep theirs.

    Parameters
    ----------
    cells
        From `CellState.counted`.
    dab_od
        The other t1, log10 OD.
    config, pack
        Settings and rules of the run.
    """
    measured = positive_at(cells, dab_od, config.positivity)
    is_told = cells["cell_dab_od_mean"].isna().to_numpy()
    names = ("membrane_positive", "cytoplasm_positive", "cell_positive")
    values = (measured.membrane, measured.cytoplasm, measured.cell)
    columns = {
        name: np.where(is_told, cells[name].to_numpy(bool), value) for name, value in zip(names, values, strict=True)
    }
    moved = cells.assign(**columns, positive=columns["membrane_positive"] | columns["cytoplasm_positive"])
    grade = grade_cells(moved, pack.compartment, config.positivity)
    return moved.assign(dab_grade=np.where(is_told, cells["dab_grade"].to_numpy(), grade).astype(np.int8))


def _tps(cells: pd.DataFrame, thresholds: Sequence[float], *, config: Config, pack: RulePack) -> Float64Array:
    viable = (cells["flags"].to_numpy(np.int64) & int(EXCLUDING_FLAGS)) == 0
    tumour = cells[viable & (cells["cell_class"] == CellClass.TUMOUR.value).to_numpy(bool)]
    if tumour.empty:
        return np.full(len(thresholds), np.nan)
    # Where a reviewer spoke there is no density (`words.spoken`): the word holds at every cut-off.
    column = f"tps_{pack.compartment}"
    measured = threshold_curve(tumour, thresholds, config=config.positivity)[column].to_numpy(np.float64)
    is_told = tumour["cell_dab_od_mean"].isna().to_numpy()
    told = tumour[is_told]
    membrane, cytoplasm = (told[name].to_numpy(bool) for name in ("membrane_positive", "cytoplasm_positive"))
    within = {
        "membrane": membrane,
        "cytoplasm": membrane | cytoplasm,
        "cytoplasm_only": cytoplasm & ~membrane,
        "cell": told["cell_positive"].to_numpy(bool),
    }
    n_told = int(within[str(pack.compartment)].sum())
    return np.asarray(measured + 100.0 * n_told / len(tumour), dtype=np.float64)
