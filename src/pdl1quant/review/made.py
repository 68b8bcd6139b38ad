"""Rows of the cells table for cells that a reviewer added, or made by splitting and merging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pdl1quant.model import CELL_CLASS_DTYPE, CELL_COLUMNS, CellClass, Flag
from pdl1quant.review.edits import Edit, EditKind, MadeCell
from pdl1quant.stages.positivity import grade_cells
from pdl1quant.stages.score import positive_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import Float64Array, Int32Array, RulePack

_CLASSES = [str(each) for each in CellClass]
_FLOATS = tuple(c.name for c in CELL_COLUMNS if c.dtype.startswith("float") and c.name not in {"x_px", "y_px"})
_AREAS = tuple(name for name in _FLOATS if name.endswith("_area_um2"))
_MEANS = tuple(name for name in _FLOATS if name not in _AREAS)
_OF_NUCLEUS = int(Flag.PYKNOTIC | Flag.OVERLAID)
"""A dense fragment of an intact nucleus, or a part that an immune cell covers, does not make the merged cell so."""


def made_rows(
    edits: Sequence[Edit],
    parents: Sequence[pd.DataFrame],
    automated: pd.DataFrame,
    *,
    sides_um: Mapping[str, float],
    config: Config,
    pack: RulePack,
) -> pd.DataFrame:
    """A row of ``CELL_COLUMNS`` for each cell that ``edits`` make, in their order.

    What an edit does not measure comes from the cells it was made of: areas are their sum (split: an equal share of
    it), all else their mean by cell area, the membrane's run the highest of them; parents of which something was never
    measured do not enter that. An added cell has none, so what was not measured is NaN. Flags are those of any parent;
    pyknotic and overlaid, which say what a nucleus is and not where, those of all. Positives and grades follow from the
    densities by the rules. An added cell has the flags that were found for it; it lies
    outside the scored region if the nearest cell of the run does.

    Parameters
    ----------
    edits
        Adds, splits and merges.
    parents
        What each edit removes, as measured.
    automated
        Cells of the run.
    sides_um
        ``mpp_x`` and ``mpp_y`` of a pixel: where it is no square, the nearest in pixels is another cell.
    config, pack
        Settings and rules of the run.
    """
    rows = []
    for edit, origin in zip(edits, parents, strict=True):
        shared = _inherited(origin, n_parts=len(edit.made) if edit.kind is EditKind.SPLIT else 1)
        flags = _shared_flags(origin["flags"].to_numpy(np.int32))
        for cell in edit.made:
            outside = 0 if len(origin) else _outside(automated, cell, sides_um)
            values: dict[str, Any] = {**shared, **cell.measurements}
            values |= {"x_px": cell.x_px, "y_px": cell.y_px, "cell_class": str(cell.cell_class)}
            rows.append(values | {"flags": flags | outside | cell.flags})
    made = _typed(rows)
    at_t1 = positive_at(made, config.positivity.dab_od, config.positivity)
    made = made.assign(
        membrane_positive=at_t1.membrane,
        cytoplasm_positive=at_t1.cytoplasm,
        cell_positive=at_t1.cell,
        positive=at_t1.membrane | at_t1.cytoplasm,
    )
    return made.assign(dab_grade=grade_cells(made, pack.compartment, config.positivity))


def shared_brown(edits: Sequence[Edit], of_parents: Sequence[float], made: pd.DataFrame) -> Float64Array:
    """(n,) um2 of brown in made cells that lay in no cell of the run: measured of added ones, else their parents'.

    Parameters
    ----------
    edits
        Adds, splits and merges.
    of_parents
        That of the parents of each, together; its parts share it by their area, or equally where one is not known.
    made
        `made_rows` of the edits.
    """
    bare: list[float] = []
    for edit, whole_um2 in zip(edits, of_parents, strict=True):
        if edit.kind is EditKind.ADD:
            bare += [cell.bare_brown_um2 for cell in edit.made]
            continue
        areas = made["cell_area_um2"].to_numpy(np.float64)[len(bare) : len(bare) + len(edit.made)]
        share = areas if (areas > 0).all() else np.ones(len(areas))
        bare += (whole_um2 * share / share.sum()).tolist()
    return np.array(bare, dtype=np.float64)


def merged_cell(parents: pd.DataFrame) -> MadeCell:
    """The cell that parents become: at their centre by nucleus area, of the class of the largest.

    Parameters
    ----------
    parents
        At least two rows of ``CELL_COLUMNS``, of the classes that they have now.
    """
    weight = np.nan_to_num(parents["nucleus_area_um2"].to_numpy(np.float64)) + 1e-9
    x, y = (float(np.average(parents[name].to_numpy(np.float64), weights=weight)) for name in ("x_px", "y_px"))
    largest = int(np.argmax(np.nan_to_num(parents["cell_area_um2"].to_numpy(np.float64))))
    return MadeCell(x_px=x, y_px=y, cell_class=CellClass(str(parents["cell_class"].iloc[largest])))


def _inherited(parents: pd.DataFrame, *, n_parts: int) -> dict[str, float]:
    if parents.empty:
        return dict.fromkeys(_FLOATS, np.nan)
    areas = {name: float(parents[name].astype(np.float64).sum(min_count=1)) / n_parts for name in _AREAS}
    weight = np.nan_to_num(parents["cell_area_um2"].to_numpy(np.float64)) + 1e-9
    means = {name: _known_mean(parents[name].to_numpy(np.float64), weight) for name in _MEANS}
    return {**areas, **means, "membrane_dab_od_run": float(parents["membrane_dab_od_run"].max())}


def _known_mean(values: Float64Array, weight: Float64Array) -> float:
    is_known = np.isfinite(values)
    return float(np.average(values[is_known], weights=weight[is_known])) if is_known.any() else np.nan


def _shared_flags(flags: Int32Array) -> int:
    of_any = int(np.bitwise_or.reduce(flags, initial=0))
    of_all = int(np.bitwise_and.reduce(flags)) if flags.size else 0
    return (of_any & ~_OF_NUCLEUS) | (of_all & _OF_NUCLEUS)


def _outside(automated: pd.DataFrame, cell: MadeCell, sides_um: Mapping[str, float]) -> int:
    if automated.empty:
        return 0
    x, y = (automated[name].to_numpy(np.float64) for name in ("x_px", "y_px"))
    dx_um, dy_um = (x - cell.x_px) * sides_um["mpp_x"], (y - cell.y_px) * sides_um["mpp_y"]
    nearest = int(np.argmin(dx_um**2 + dy_um**2))
    return int(automated["flags"].to_numpy(np.int32)[nearest]) & int(Flag.OUTSIDE_ROI | Flag.BESIDE_TUMOUR)


def _typed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table: dict[str, Any] = {}
    for name, dtype, *_ in CELL_COLUMNS:
        values = [row.get(name, 0) for row in rows]
        if dtype == CELL_CLASS_DTYPE:
            table[name] = pd.Categorical(values, categories=_CLASSES)
        else:
            table[name] = np.array(values, dtype=dtype)
    return pd.DataFrame(table)
