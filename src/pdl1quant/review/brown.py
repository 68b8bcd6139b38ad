"""Brown area in no cell, after a review that added cells to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import BrownArea, Flag
from pdl1quant.review.edits import EditKind

if TYPE_CHECKING:
    from pdl1quant.review.state import CellState

_NOT_LOOKED_AT = int(Flag.OUTSIDE_ROI | Flag.BESIDE_TUMOUR | Flag.ARTEFACT)
"""Where the run counts no brown."""


def reviewed_brown(found: BrownArea, state: CellState) -> BrownArea:
    """The brown area that a run ``found``, less of it in no cell by what lies in added cells.

    Only what was measured as a cell was added is known (``bare_brown_um2`` in the ledger). A cell of the run that was
    deleted leaves its brown where a person looked: that misses no cell.
    """
    held = [edit for edit in state.edits if state.holds(edit.id)]
    deleted = {name for edit in held if edit.kind is EditKind.DELETE for name in edit.cells}
    added = [cell for edit in held if edit.kind is EditKind.ADD for cell in edit.made if cell.bare_brown_um2]
    added = [cell for cell in added if cell.id not in deleted]
    if not added:
        return found
    rows = state.rows_of([cell.id for cell in added]) - state.n_automated
    is_counted = (state.made["flags"].to_numpy(np.int32)[rows] & _NOT_LOOKED_AT) == 0
    covered = float(np.array([cell.bare_brown_um2 for cell in added])[is_counted].sum())
    return BrownArea(area_um2=found.area_um2, without_cell_um2=max(0.0, found.without_cell_um2 - covered))
