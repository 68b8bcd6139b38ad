"""From DAB densities to positive cells: membrane by its best run, cytoplasm and cell by their mean, grade, flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.membrane import best_runs, own_membranes
from pdl1quant.model import BoolArray, CellClass, Compartment, Flag, Float32Array, IntpArray, MembraneProfile
from pdl1quant.neighbours import SQUARE_UM, sums_around

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.config import PositivityConfig

RINGED = 0.6
"""Completeness from which a cell is taken to own the membrane that it shares ..."""
OPEN_RING = 0.58
"""... with a cell of less than this completeness."""
FLUSH = 0.6
"""A line whose OD the neighbour's cytoplasm reaches to this share is the edge of that cytoplasm."""
MIN_ALONE = 0.25
"""Share of the perimeter that faces no ringed neighbour from which that part alone decides."""
UNSTAINED = 0.5
"""A tumour cell with brown cytoplasm whose own membrane stays below this share of the threshold is brown by another."""
COMPANY_SQUARES = 2
"""What lies around a cell that lost its line: so many squares on each side of its own ..."""
COMPANY_UM = (COMPANY_SQUARES + 1) * SQUARE_UM
"""... nearer than this, ..."""
KEPT = ((0.25, 0.4, 0.55, 0.8), (1.0, 0.96, 0.92, 0.88))
"""... and the share of those alike (tumour cells without brown cytoplasm) that has to be positive for the line to be
its own after all, by how much of its perimeter is brown: on average 0.61 of the 479 positive cells and 0.34 of the
2,492 negative ones that had lost theirs in 70 rendered fields."""
IMMUNE = (CellClass.LYMPHOCYTE, CellClass.MACROPHAGE)


def call_positive(
    cells: pd.DataFrame, membrane: MembraneProfile, *, compartment: Compartment, config: PositivityConfig
) -> pd.DataFrame:
    """Fill the membrane run and completeness, the positives, the grade and the flags that follow from them.

    A stretch of membrane does not count where a neighbour explains its brown: a positive immune cell, for a cell that
    is not immune itself; or, for one without brown cytoplasm, a cell that is brown in its cytoplasm or around. That
    tumour cells get such a line back where nearly all are positive is left to `keep_shared_lines`.

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
    threshold = np.float32(config.dab_od)
    run, own = _own_membrane(cells, membrane, config)
    cytoplasm = cells["cytoplasm_dab_od_mean"].to_numpy()
    cells["membrane_dab_od_run"] = run
    cells["membrane_completeness"] = _share(membrane.weight, own >= threshold)
    cells["membrane_positive"] = _membrane_positive(cells, run, config)
    cells["cytoplasm_positive"] = cytoplasm >= threshold
    cells["cell_positive"] = cells["cell_dab_od_mean"].to_numpy() >= threshold
    cells["positive"] = cells["membrane_positive"] | cells["cytoplasm_positive"]
    cells["dab_grade"] = grade_cells(cells, compartment, config)
    lost = (own < membrane.dab_od) & (membrane.dab_od >= threshold)
    counted_before = lost.any(axis=1) & ~cells["membrane_positive"].to_numpy()
    flags = np.where(counted_before, int(Flag.SHARED_MEMBRANE), 0)
    seen = _share(membrane.weight, own >= membrane.dab_od) >= np.float32(MIN_ALONE)
    flags |= np.where(seen & _is_overlaid(cells, membrane, threshold), int(Flag.OVERLAID), 0)
    flags |= np.where(cells["cytoplasm_area_um2"].to_numpy() == 0, int(Flag.NO_CYTOPLASM), 0)
    cells["flags"] = (cells["flags"].to_numpy() | flags).astype(np.int32)
    return cells


def keep_shared_lines(
    cells: pd.DataFrame,
    membrane: MembraneProfile,
    *,
    around: pd.DataFrame,
    mpp: float,
    compartment: Compartment,
    config: PositivityConfig,
) -> pd.DataFrame:
    """Give a shared line back to the tumour cell that lost it, where nearly all tumour cells around are positive.

    A line that a neighbour explains may be the cell's own as well, and nothing in it tells. Where cells of both kinds
    lie around, most that lose their line are negative; where all are positive, hardly any is. So a tumour cell that is
    negative by its neighbours' lines alone is judged by its whole band if so many of the others are positive as
    ``KEPT`` asks for. Of the others those tell that have no brown cytoplasm either: where all positive cells have, one
    without is negative. What a positive immune neighbour explains stays lost.

    Parameters
    ----------
    cells
        Cells table as `call_positive` leaves it.
    membrane
        Its membrane profile, row by row.
    around
        The same rows: whose classes and positives tell what lies around. Cells without a line say nothing there.
    mpp
        um per pixel of ``x_px``, ``y_px``.
    compartment, config
        As in `call_positive`.

    Returns
    -------
    DataFrame
        A new table, or the one given where no line is given back.
    """
    rows, run, completeness = _without_line(cells, membrane, config)
    if not len(rows):
        return cells
    alike = (around["cell_class"] == CellClass.TUMOUR).to_numpy() & ~around["cytoplasm_positive"].to_numpy()
    alike[_without_line(around, membrane, config)[0]] = False
    of_each = np.stack([alike, alike & around["positive"].to_numpy()], axis=1).astype(np.float64)
    centres_um = cells[["x_px", "y_px"]].to_numpy(dtype=np.float64) * mpp
    n, n_positive = sums_around(centres_um, of_each, rows=rows, squares=COMPANY_SQUARES).T
    kept = n_positive >= np.interp(completeness, *KEPT) * (n + 1)
    if not kept.any():
        return cells
    given = cells.iloc[rows[kept]].assign(
        membrane_dab_od_run=run[kept], membrane_completeness=completeness[kept], membrane_positive=True, positive=True
    )
    given = given.assign(
        dab_grade=grade_cells(given, compartment, config), flags=given["flags"] & ~int(Flag.SHARED_MEMBRANE)
    )
    cells = cells.copy()
    for name in ("membrane_dab_od_run", "membrane_completeness", "membrane_positive", "positive", "dab_grade", "flags"):
        values = cells[name].to_numpy(copy=True)
        values[rows[kept]] = given[name].to_numpy()
        cells[name] = values
    return cells


def _without_line(
    cells: pd.DataFrame, membrane: MembraneProfile, config: PositivityConfig
) -> tuple[IntpArray, Float32Array, Float32Array]:
    """Tumour cells, (m,) rows, that are negative by neighbours' lines alone; run and completeness with those lines."""
    threshold = np.float32(config.dab_od)
    shared = (cells["flags"].to_numpy() & int(Flag.SHARED_MEMBRANE)) != 0
    rows = np.flatnonzero(shared & (cells["cell_class"] == CellClass.TUMOUR).to_numpy() & ~cells["positive"].to_numpy())
    brown_immune = cells["cell_class"].isin(list(IMMUNE)).to_numpy() & cells["positive"].to_numpy()
    of_immune = np.append(brown_immune, False)[membrane.neighbour[rows]]  # -1 is nobody
    of_immune |= np.roll(of_immune, 1, axis=1) | np.roll(of_immune, -1, axis=1)
    weight = membrane.weight[rows]
    own = np.where(of_immune, np.float32(0), membrane.dab_od[rows])
    run = best_runs(own, weight, config.min_run * weight.sum(axis=1))
    lost = _membrane_positive(cells.iloc[rows], run, config)
    return rows[lost], run[lost], _share(weight[lost], own[lost] >= threshold)


def _is_overlaid(cells: pd.DataFrame, membrane: MembraneProfile, threshold: np.float32) -> BoolArray:
    """(n,) tumour cells of brown cytoplasm in an unstained membrane, beside an immune cell of brown cytoplasm.

    Brown cytoplasm reaches its edge; what ends before it is the part of another cell that lies over this one. Where
    neighbours explain nearly all of the membrane, its run is 0 and says nothing of that.
    """
    cytoplasm_positive = cells["cytoplasm_positive"].to_numpy()
    brown_immune = cells["cell_class"].isin(list(IMMUNE)).to_numpy() & cytoplasm_positive
    beside = (np.append(brown_immune, False)[membrane.neighbour] & (membrane.weight > 0)).any(axis=1)  # -1 is nobody
    unstained = cells["membrane_dab_od_run"].to_numpy() < np.float32(UNSTAINED) * threshold
    return np.asarray((cells["cell_class"] == CellClass.TUMOUR).to_numpy() & cytoplasm_positive & unstained & beside)


def grade_cells(cells: pd.DataFrame, compartment: Compartment, config: PositivityConfig) -> np.ndarray:
    """Grade 0-3 of each row, (n,) int8, from its positives and densities; ``compartment`` as in `call_positive`."""
    run, cytoplasm = cells["membrane_dab_od_run"].to_numpy(), cells["cytoplasm_dab_od_mean"].to_numpy()
    match compartment:
        case Compartment.MEMBRANE:
            od, positive = run, cells["membrane_positive"]
        case Compartment.CYTOPLASM:
            od = np.fmax(np.where(cells["membrane_positive"], run, 0), cytoplasm)  # a review's cell may lack one
            positive = cells["positive"]
        case Compartment.CYTOPLASM_ONLY:
            od, positive = cytoplasm, cells["cytoplasm_positive"] & ~cells["membrane_positive"]
        case _:
            od, positive = cells["cell_dab_od_mean"].to_numpy(), cells["cell_positive"]
    bins = np.array([config.grade_2_od, config.grade_3_od], np.float32)
    return np.where(positive.to_numpy(), 1 + np.digitize(od, bins), 0).astype(np.int8)


def _own_membrane(
    cells: pd.DataFrame, membrane: MembraneProfile, config: PositivityConfig
) -> tuple[Float32Array, Float32Array]:
    """(n,) best run of each cell's own membrane and (n, sectors) its OD, 0 where a neighbour explains the brown.

    Two cells share one brown line. A neighbour explains it when it is brown itself: a positive immune cell; or, for a
    cell without brown cytoplasm, a neighbour with brown cytoplasm or brown on most of its perimeter. What faces no such
    neighbour then decides, if it is a quarter of the perimeter or more; else the line counts, unless it is no line but
    the edge of the neighbour's brown cytoplasm. A first round finds who is brown around of itself, the second uses
    it.
    """
    rule = (config.dab_od, config.min_membrane_contrast_od, RINGED, OPEN_RING, FLUSH, MIN_ALONE)
    return own_membranes(
        (membrane.dab_od, membrane.weight, membrane.neighbour),
        (cells["cytoplasm_dab_od_mean"].to_numpy(), cells["cell_class"].isin(list(IMMUNE)).to_numpy()),
        config.min_run * membrane.weight.sum(axis=1),
        tuple(np.float32(level) for level in rule),
    )


def _membrane_positive(cells: pd.DataFrame, run: Float32Array, config: PositivityConfig) -> BoolArray:
    cytoplasm = cells["cytoplasm_dab_od_mean"].to_numpy()
    threshold = np.float32(config.dab_od)
    stands_out = run - cytoplasm >= np.float32(config.min_membrane_contrast_od)
    return np.asarray((run >= threshold) & (stands_out | (cytoplasm >= threshold)))


def _share(weight: Float32Array, chosen: BoolArray) -> Float32Array:
    return np.asarray((weight * chosen).sum(axis=1) / np.maximum(weight.sum(axis=1), 1), dtype=np.float32)
