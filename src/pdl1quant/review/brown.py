"""Brown area in no cell, after a review that added cells to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import Flag

if TYPE_CHECKING:
    from pdl1quant.model import BrownArea, IntpArray
    from pdl1quant.review.state import CellState

_NOT_LOOKED_AT = int(Flag.OUTSIDE_ROI | Flag.BESIDE_TUMOUR | Flag.ARTEFACT)
"""Where the run counts no brown."""


def reviewed_brown(found: BrownArea, state: CellState, rows: IntpArray | None = None) -> BrownArea:
    """The brown area that a run ``found``, less of it in no cell by what lies in added cells.

    Only what was measured as a cell was added is known (``bare_brown_um2`` in the ledger). What is split or merged
    later holds it, by area; what is deleted gives it back. A cell of the run that was deleted leaves its brown where a
    person looked: that misses no cell. ``rows`` limits the cells that are asked to those of a place.
    """
    bare = state.bare_brown_um2
    if not bare.any():
        return found
    is_counted = state.present[state.n_automated :] & ((state.made["flags"].to_numpy(np.int32) & _NOT_LOOKED_AT) == 0)
    if rows is not None:
        is_there = np.zeros(len(state), bool)
        is_there[rows] = True
        is_counted &= is_there[state.n_automated :]
    covered = float(bare[is_counted].sum())
    return replace(found, without_cell_um2=max(0.0, found.without_cell_um2 - covered))
