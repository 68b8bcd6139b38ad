"""What a reviewer's words make of measured cells: class, positive or negative, flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pdl1quant.model import CellClass, Compartment
from pdl1quant.outputs.palette import counts_as_positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLASSES = [str(each) for each in CellClass]
_OD = ("membrane_dab_od_run", "cytoplasm_dab_od_mean", "cell_dab_od_mean")


def spoken(
    cells: pd.DataFrame,
    *,
    classes: NDArray[np.int8],
    positive: NDArray[np.int8],
    flags: NDArray[np.int32],
    compartment: Compartment,
) -> pd.DataFrame:
    """A cells table in which a reviewer's words stand in the place of the measurement.

    ``negative`` means: no brown that counts, in no compartment. ``positive`` means: positive as the score counts the
    class that the cell has now; what was measured so stays, else the scored compartment (of other cells than tumour:
    the cytoplasm) becomes positive. The grade of a positive cell is at least 1. Densities are NaN where a reviewer
    spoke: the word then holds at any threshold.

    Parameters
    ----------
    cells
        Rows of ``CELL_COLUMNS``; not changed.
    classes
        (n,) index into `CellClass`, -1 where nobody said it.
    positive
        (n,) 1, 0, or -1 where nobody said it.
    flags
        (n,) flags that the cells have now.
    compartment
        The scored one.
    """
    measured = cells["cell_class"].cat.codes.to_numpy()
    codes = np.asarray(np.where(classes >= 0, classes, measured), dtype=np.int8)
    told = cells.assign(cell_class=pd.Categorical.from_codes(codes, categories=pd.Index(_CLASSES)), flags=flags)
    is_told = positive >= 0
    if not is_told.any():
        return told
    columns = {name: told[name].to_numpy(copy=True) for name in ("membrane_positive", "cytoplasm_positive")}
    membrane, cytoplasm = columns.values()
    cell = told["cell_positive"].to_numpy(copy=True)
    for each in (membrane, cytoplasm, cell):
        each[positive == 0] = False
    missing = (positive == 1) & ~counts_as_positive(told, compartment)
    scored = missing & (codes == _CLASSES.index(CellClass.TUMOUR))
    match compartment:
        case Compartment.MEMBRANE:
            membrane[scored] = True
        case Compartment.CELL:
            cell[scored] = True
        case Compartment.CYTOPLASM_ONLY:
            membrane[scored] = False
            cytoplasm[scored] = True
        case _:
            cytoplasm[scored] = True
    cytoplasm[missing & ~scored] = True
    grade = told["dab_grade"].to_numpy(copy=True)
    grade[positive == 0] = 0
    grade[positive == 1] = np.maximum(grade[positive == 1], 1)
    ods = {name: np.where(is_told, np.float32(np.nan), told[name].to_numpy(np.float32)) for name in _OD}
    return told.assign(
        membrane_positive=membrane,
        cytoplasm_positive=cytoplasm,
        cell_positive=cell,
        positive=membrane | cytoplasm,
        dab_grade=grade,
        **ods,
    )
