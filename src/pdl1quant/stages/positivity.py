"""From DAB densities to positive cells: membrane by its best run, cytoplasm and cell by their mean, grade, flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import BoolArray, CellClass, Compartment, Flag, Float32Array, MembraneProfile

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.config import PositivityConfig

IMMUNE = (CellClass.LYMPHOCYTE, CellClass.MACROPHAGE)


def call_positive(
    cells: pd.DataFrame, membrane: MembraneProfile, *, compartment: Compartment, config: PositivityConfig
) -> pd.DataFrame:
    """Fill the membrane run and completeness, the positives, the grade and the flags that follow from them.

    A stretch of membrane shared with a positive immune neighbour does not count for a cell that is not immune itself.

    Parameters
    ----------
    cells
        Cells table with densities and classes.
    membrane
        Its membrane profile, row by row.
    compartment
        What ``dab_grade`` bins: membrane (its run), cytoplasm (the larger of run and mean) or cell.
    config
        Section ``positivity`` of the settings.

    Returns
    -------
    DataFrame
        A new table; the one given is left as it is.
    """
    cells = cells.copy()
    immune = cells["cell_class"].isin(list(IMMUNE)).to_numpy()
    run = best_run(membrane.dab_od, membrane.weight, min_share=config.min_run)
    positive_immune = immune & _is_positive(cells, run, config)
    neighbour = membrane.neighbour
    shared = (neighbour >= 0) & positive_immune[np.maximum(neighbour, 0)] & ~immune[:, None]
    own = np.where(shared, np.float32(0), membrane.dab_od)
    touched = shared.any(axis=1)
    if touched.any():
        run[touched] = best_run(own[touched], membrane.weight[touched], min_share=config.min_run)
    threshold = np.float32(config.dab_od)
    perimeter = np.maximum(membrane.weight.sum(axis=1), 1)
    cells["membrane_dab_od_run"] = run
    cells["membrane_completeness"] = (membrane.weight * (own >= threshold)).sum(axis=1) / perimeter
    cytoplasm = cells["cytoplasm_dab_od_mean"].to_numpy()
    cells["membrane_positive"] = _membrane_positive(cells, run, config)
    cells["cytoplasm_positive"] = cytoplasm >= threshold
    cells["cell_positive"] = cells["cell_dab_od_mean"].to_numpy() >= threshold
    cells["positive"] = cells["membrane_positive"] | cells["cytoplasm_positive"]
    cells["dab_grade"] = _grade(cells, compartment, config)
    counted_before = touched & (membrane.dab_od >= threshold).any(axis=1) & ~cells["membrane_positive"].to_numpy()
    flags = np.where(counted_before, int(Flag.SHARED_MEMBRANE), 0)
    flags |= np.where(cells["cytoplasm_area_um2"].to_numpy() == 0, int(Flag.NO_CYTOPLASM), 0)
    cells["flags"] = (cells["flags"].to_numpy() | flags).astype(np.int32)
    return cells


def best_run(dab_od: Float32Array, weight: Float32Array, *, min_share: float) -> Float32Array:
    """(n,) highest OD at or above which one contiguous run of sectors covers ``min_share`` of the perimeter.

    ``dab_od`` and ``weight`` are (n, sectors), around the cell; a sector without weight neither helps nor breaks a run.
    """
    n, n_sectors = dab_od.shape
    needed = min_share * weight.sum(axis=1, keepdims=True)
    od = np.where(weight > 0, dab_od, np.inf).astype(np.float32)
    round_od, round_weight = np.tile(od, 2), np.tile(weight, 2)
    lowest, covered = np.full_like(od, np.inf), np.zeros_like(od)
    best = np.zeros(n, np.float32)
    for length in range(n_sectors):
        lowest = np.minimum(lowest, round_od[:, length : length + n_sectors])
        covered += round_weight[:, length : length + n_sectors]
        enough = covered >= needed
        best = np.maximum(best, np.where(enough & np.isfinite(lowest), lowest, 0).max(axis=1, initial=0))
        if enough.all():
            break
    return best


def _is_positive(cells: pd.DataFrame, run: Float32Array, config: PositivityConfig) -> BoolArray:
    cytoplasm = cells["cytoplasm_dab_od_mean"].to_numpy() >= np.float32(config.dab_od)
    return np.asarray(cytoplasm | _membrane_positive(cells, run, config))


def _membrane_positive(cells: pd.DataFrame, run: Float32Array, config: PositivityConfig) -> BoolArray:
    cytoplasm = cells["cytoplasm_dab_od_mean"].to_numpy()
    threshold = np.float32(config.dab_od)
    stands_out = run - cytoplasm >= np.float32(config.min_membrane_contrast_od)
    return np.asarray((run >= threshold) & (stands_out | (cytoplasm >= threshold)))


def _grade(cells: pd.DataFrame, compartment: Compartment, config: PositivityConfig) -> np.ndarray:
    run, cytoplasm = cells["membrane_dab_od_run"].to_numpy(), cells["cytoplasm_dab_od_mean"].to_numpy()
    match compartment:
        case Compartment.MEMBRANE:
            od, positive = run, cells["membrane_positive"]
        case Compartment.CYTOPLASM:
            od = np.maximum(np.where(cells["membrane_positive"], run, 0), cytoplasm)
            positive = cells["positive"]
        case Compartment.CYTOPLASM_ONLY:
            od, positive = cytoplasm, cells["cytoplasm_positive"] & ~cells["membrane_positive"]
        case _:
            od, positive = cells["cell_dab_od_mean"].to_numpy(), cells["cell_positive"]
    bins = np.array([config.grade_2_od, config.grade_3_od], np.float32)
    return np.where(positive.to_numpy(), 1 + np.digitize(od, bins), 0).astype(np.int8)
