"""Reviewed cells -> counts per block of tissue -> score, by the stages that scored the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from pdl1quant.model import Counts, Indication, ResultFlag, Score
from pdl1quant.review.state import CellState
from pdl1quant.stages import score as scoring
from pdl1quant.stages.quality import check_brown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from pdl1quant.config import Config
    from pdl1quant.model import BlankLimit, BrownArea, IntpArray, RulePack
    from pdl1quant.review.edits import Edit

_FOUND_ANEW = {
    str(flag)
    for flag in (
        ResultFlag.TUMOUR_UNCONFIRMED,
        ResultFlag.FEW_BLOCKS,
        ResultFlag.NO_TUMOUR_CELLS,
        ResultFlag.TOO_FEW_CELLS,
        ResultFlag.NO_MACROPHAGE_CLASS,
        ResultFlag.NO_NESTS,
        ResultFlag.NO_TUMOUR_ROI,
        ResultFlag.UNCALIBRATED,
        ResultFlag.PARTIAL,
        ResultFlag.BELOW_BLANK,
    )
}
"""Flags that follow from the counts; the others are of the image and stay."""
_ROWS_OF_BLOCKS = 1 << 31


def review_cells(
    cells: pd.DataFrame,
    edits: Sequence[Edit],
    *,
    image_id: str,
    mpp_x: float,
    mpp_y: float,
    config: Config,
    pack: RulePack,
) -> pd.DataFrame:
    """The cells table with the columns that a review adds (``REVIEW_COLUMNS``); those of the run stay as they are.

    Rows of cells that a review made come after those of the run, in the order of the edits; removed cells, and made
    ones that were undone, keep their row with ``reviewed_present`` false. Nests of tumour cells are not looked for anew
    in what may be a part of an image: `Review.reviewed_cells` does.

    Parameters
    ----------
    cells
        Cells table of the run, or a part of it.
    edits
        All edits of the image, in the order of the ledger.
    image_id
        Hash of the image.
    mpp_x, mpp_y
        Sides of a pixel, um.
    config, pack
        Settings and rules of the run.
    """
    sides_um = {"mpp_x": mpp_x, "mpp_y": mpp_y}
    state = CellState(cells, image_id=image_id, sides_um=sides_um, config=config, pack=pack)
    state.take(edits)
    return state.reviewed()


class BlockCounts:
    """Counts of the blocks of one image; after an edit only the blocks that it touches are counted again.

    A block is always counted as a whole, so that the sums are those of a full count to the last bit.
    """

    def __init__(self, state: CellState, *, mpp_x: float, mpp_y: float, config: Config, pack: RulePack) -> None:
        self._state, self._config, self._pack = state, config, pack
        self._how = {"block_um": config.score.block_um, "mpp_x": mpp_x, "mpp_y": mpp_y}
        self._place: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._counts: dict[int, Counts] = {}
        self._count(None)

    @property
    def blocks(self) -> tuple[Counts, ...]:
        """The blocks that hold a cell, row by row."""
        return tuple(self._counts[place] for place in sorted(self._counts))

    def update(self, rows: IntpArray) -> None:
        """Count the blocks again that hold ``rows`` of the table."""
        if rows.size:
            self._locate()
            self._count(np.unique(self._place[rows]))

    def _count(self, places: NDArray[np.int64] | None) -> None:
        self._locate()
        if places is None:
            rows = np.arange(len(self._place))
        else:
            rows = np.flatnonzero(np.isin(self._place, places))
            for place in places.tolist():
                self._counts.pop(place, None)
        rows = rows[self._state.present[rows]]
        counted = scoring.count_blocks(self._state.counted(rows), **self._how, config=self._config, pack=self._pack)
        self._counts.update(zip(np.unique(self._place[rows]).tolist(), counted, strict=True))

    def _locate(self) -> None:
        """Number the blocks row by row; cells that a review made come behind the others and do not move those."""
        n = len(self._place)
        new = self._state.measured(np.arange(n, len(self._state)), ("x_px", "y_px"))
        row, column = scoring.block_places(new, **self._how)
        self._place = np.concatenate([self._place, row * _ROWS_OF_BLOCKS + column])


def score_blocks(
    blocks: Iterable[Counts],
    *,
    config: Config,
    pack: RulePack,
    indication: Indication | None,
    level: Literal["image", "case"],
    flags: Sequence[str],
    has_tumour_roi: bool,
    tumour_confirmed: bool,
    has_nests: bool = True,
    is_partial: bool = False,
    brown: BrownArea | None = None,
    blank: BlankLimit | None = None,
) -> Score:
    """The score of an image or case from its blocks.

    Parameters
    ----------
    blocks
        Counts of its blocks; the area of a drawn tumour region among them.
    config, pack, indication
        As the run had them; None for an indication withdraws the calls.
    level
        ``image`` or ``case``.
    flags
        Those of its row in ``scores.csv``; the ones that follow from the counts are found anew.
    has_tumour_roi
        Whether the area of a drawn tumour region is known and still holds.
    tumour_confirmed
        Whether a person confirmed that the tumour cells are tumour: drawn for the run, or signed.
    has_nests
        Whether there is a nest of tumour cells, or tumour was drawn, or a reviewer said which immune cells count.
    is_partial
        Whether images of the case, or parts of them, are missing.
    brown
        Brown area as reviewed, and that of the tissue; where it is not known, what the run said of brown in no cell
        stays.
    blank
        What the negative controls of the run say.
    """
    blocks = tuple(blocks)
    gone = set(_FOUND_ANEW)
    if any(getattr(each.positive, pack.compartment) for each in blocks):
        gone.add(str(ResultFlag.NO_DAB_SEEN))  # a reviewer saw some
    kept = [ResultFlag(flag) for flag in flags if flag not in gone]
    if brown is not None:
        kept = [flag for flag in kept if flag is not ResultFlag.BROWN_WITHOUT_CELLS]
        kept += check_brown(brown, n_tumour=sum(block.n_tumour for block in blocks))
    return scoring.score(
        blocks,
        pack=pack,
        config=config.score,
        indication=indication,
        level=level,
        has_macrophage_class=str(ResultFlag.NO_MACROPHAGE_CLASS) not in flags,
        has_tumour_roi=has_tumour_roi,
        tumour_confirmed=tumour_confirmed,
        has_nests=has_nests,
        flags=[*kept, *((ResultFlag.PARTIAL,) if is_partial else ())],
        blank=blank,
        brown=brown,
    )
