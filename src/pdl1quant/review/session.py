"""The review of one image: edits go to the disk first, then into the counts; no viewer in it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.errors import ReviewError
from pdl1quant.model import CellClass, Counts, ResultFlag
from pdl1quant.outputs.scores_table import as_written
from pdl1quant.review.brown import reviewed_brown
from pdl1quant.review.edits import (
    CHANGES,
    MAKING,
    Edit,
    EditKind,
    MadeCell,
    RoiRule,
    Standing,
    active_ids,
    standing,
    wrong_with,
)
from pdl1quant.review.ledger import EditLedger, ledger_path
from pdl1quant.review.made import merged_cell
from pdl1quant.review.opened_cells import OpenedCells
from pdl1quant.review.recount import BlockCounts, score_blocks
from pdl1quant.review.results import ImageResult, Results, head_of, load_cells
from pdl1quant.review.state import CellState
from pdl1quant.review.uncertain import left_of, unsure_rows
from pdl1quant.whole_slides.regions import cut_regions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from pdl1quant.model import BrownArea, IntpArray, Score
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.whole_slides.regions import Region

_TUMOUR_UNCONFIRMED = str(ResultFlag.TUMOUR_UNCONFIRMED)
_NO_NESTS = str(ResultFlag.NO_NESTS)
_ASKED_AT_ONCE = 4096
"""So many uncertain cells are asked at a time whether they are still open: few of the first are."""


class Review:
    """One image under review, up to date with its ledger.

    Parameters
    ----------
    results
        From `open_results`.
    image
        One of its images.

    Raises
    ------
    ReviewError
        The image was not scored, or its ledger is for other results.
    OutputError
        Cells or ledger cannot be read.
    """

    def __init__(self, results: Results, image: ImageResult) -> None:
        self.opened = OpenedCells(results, image)
        loaded = load_cells(results, image)
        self.results, self.image = results, image
        self.cells: pd.DataFrame = loaded.cells
        self.mpp = loaded.mpp
        self.sides_um = loaded.sides_um
        self.rois = loaded.rois
        """What was drawn for the run, and the cores of a microarray; none where the results do not say it."""
        self._tumour_area_um2 = loaded.tumour_area_um2
        self.ledger = EditLedger(ledger_path(results.out, image.stem), head_of(results, image, loaded.cells))
        self.state = CellState(
            self.cells,
            image_id=image.sha256,
            config=results.config,
            pack=results.pack,
            sides_um=self.sides_um,
            grounds=() if self.has_tumour_roi else loaded.grounds,
        )
        self._counts = BlockCounts(self.state, **self.sides_um, config=results.config, pack=results.pack)
        self.automated_blocks = self._with_area(self._counts.blocks)
        self.automated_counts = sum(self.automated_blocks, Counts())
        self.automated = self._score(self.automated_blocks, is_reviewed=False)
        self._counted: Counts | None = None
        self._scored: Score | None = None
        self._changed: list[IntpArray] = []
        self._take_in()

    # --- what it is now ---
    @property
    def blocks(self) -> tuple[Counts, ...]:
        """Counts of the blocks, as reviewed."""
        blocks = self._counts.blocks
        return blocks if self.regions_changed else self._with_area(blocks)

    @property
    def counts(self) -> Counts:
        """Their sum."""
        if self._counted is None:
            self._counted = sum(self.blocks, Counts())
        return self._counted

    @property
    def score(self) -> Score:
        """The reviewed score of the image; without edits the automated one, exactly."""
        if self._scored is None:
            self._scored = self._score(self.blocks, is_reviewed=True)
        return self._scored

    @property
    def standing(self) -> Standing:
        """Who reviewed, signed, locked."""
        return standing(self.ledger.edits)

    @property
    def regions(self) -> tuple[tuple[RoiRule, dict[str, Any]], ...]:
        """What each region of the review does, and its GeoJSON; those that hold, in the order of drawing."""
        return tuple(self.state.regions().values())

    @cached_property
    def drawn(self) -> dict[tuple[str, str], Region]:
        """What was drawn for the run and has a score of its own, and the cores, cut as the run did; by level and name.

        None where the results do not say it.
        """
        return {(each.level, as_written(each.name)): each for each in cut_regions(self.rois)}

    @property
    def regions_changed(self) -> bool:
        """Whether a reviewer's region holds: the area of the tumour region drawn for the run is then not known."""
        return bool(self.regions)

    @property
    def has_nests(self) -> bool | None:
        """Whether tumour was drawn for the run, or there is a nest of tumour cells now.

        None where the run did not write down what it takes to look for one.
        """
        return True if self.has_tumour_roi else self.state.has_nests

    @property
    def calls_back(self) -> bool:
        """Whether a reviewer's region that holds cells says that the immune ones count, far from any nest or not."""
        return self.state.calls_back()

    @property
    def brown(self) -> BrownArea | None:
        """Brown area as reviewed; None where the run did not write it down, or a region of the review changes it."""
        found = self.image.brown
        return None if found is None or self.regions_changed else reviewed_brown(found, self.state)

    @property
    def has_tumour_roi(self) -> bool:
        """Whether tumour was drawn for the run."""
        return _TUMOUR_UNCONFIRMED not in self.image.row.flags

    @property
    def is_confirmed(self) -> bool:
        """Whether a person confirmed what is tumour: drew it for the run, or signed this review."""
        return self.has_tumour_roi or bool(self.standing.signed_by)

    def reviewed_cells(self) -> pd.DataFrame:
        """The cells table with the columns of the review beside those of the run."""
        return self.state.reviewed()

    # --- edits ---
    def edit(
        self,
        kind: EditKind,
        *,
        reviewer: str,
        cells: Sequence[str] = (),
        to: Any = None,
        made: Sequence[MadeCell] = (),
        geometry: Mapping[str, Any] | None = None,
        reason: str = "",
        uncertain_first: bool = False,
    ) -> Edit:
        """Write one edit to the ledger and count again.

        Parameters
        ----------
        kind
            What it does.
        reviewer
            Who says it.
        cells
            Ids of the cells it is about; many cells are one edit and one undo. A merge takes two or more and needs no
            ``made``; a split takes one. What was said of them (positive, negative) is said of what is made of them.
        to
            Class name, true or false (positive as the score counts it), `RoiRule`, ``{"tps": 40, "blind": true}``.
        made
            New cells of add, split and merge.
        geometry
            Outline of a region, GeoJSON; a redraw without one takes the region away that ``to`` names.
        reason
            Needed to amend a locked case.
        uncertain_first
            The cells were offered because the machine was unsure of them.

        Returns
        -------
        Edit
            As written.

        Raises
        ------
        ReviewError
            The case is locked, a cell is not there, the edit says what cannot be, or it signs or locks what another
            reviewer changed since this review last took in their edits; nothing is written.
        OutputError
            It cannot be written, or the results were moved, deleted or scored anew since they were opened.
        """
        if not reviewer.strip():
            raise ReviewError(f"{self.image.name}: an edit needs the name of its reviewer")
        self.opened.check(self.ledger.head)
        with self.ledger.writing() as write:
            unseen = self._take_in()
            if kind in {EditKind.SPLIT, EditKind.MERGE}:
                made = self._made_of(cells, made)
            edit = Edit(
                kind=kind,
                reviewer=reviewer.strip(),
                cells=tuple(dict.fromkeys(cells)),
                before=self._before(kind, cells),
                to=str(to) if isinstance(to, (CellClass, str)) else to,
                made=tuple(made),
                geometry=None if geometry is None else dict(geometry),
                reason=reason,
                uncertain_first=uncertain_first,
            )
            self._check(edit)
            if kind in {EditKind.SIGN, EditKind.LOCK}:
                self._check_seen(unseen)
            write(edit)
        self._take_in()
        return edit

    def undo(self, *, reviewer: str) -> Edit | None:
        """Undo the reviewer's last change that holds; None where there is none."""
        self.look_again()
        mine = [each for each in self.ledger.edits if each.reviewer == reviewer and each.kind in CHANGES]
        last = next((each for each in reversed(mine) if self.state.holds(each.id)), None)
        return None if last is None else self.edit(EditKind.UNDO, reviewer=reviewer, to=last.id)

    def redo(self, *, reviewer: str) -> Edit | None:
        """Undo the reviewer's last undo, if they changed nothing since; None where there is none."""
        self.look_again()
        kind_of = {each.id: each.kind for each in self.ledger.edits}
        for each in reversed(self.ledger.edits):
            if each.reviewer != reviewer or not self.state.holds(each.id):
                continue
            if each.kind in CHANGES:
                return None
            if each.kind is EditKind.UNDO and kind_of.get(each.to) in CHANGES:
                return self.edit(EditKind.UNDO, reviewer=reviewer, to=each.id)
        return None

    def uncertain_rows(self) -> Iterator[int]:
        """The rows of `next_uncertain`, one by one; the first costs little, however many cells there are."""
        for start in range(0, self._unsure.size, _ASKED_AT_ONCE):
            yield from left_of(self._unsure[start : start + _ASKED_AT_ONCE], self.state).tolist()

    @cached_property
    def _unsure(self) -> IntpArray:
        return unsure_rows(self.cells, config=self.results.config, pack=self.results.pack)

    def look_again(self) -> None:
        """Take in what others wrote since.

        Raises
        ------
        OutputError
            The ledger cannot be locked, or became shorter since it was read.
        """
        if self.ledger.path.exists():
            with self.ledger.writing():
                pass
        self._take_in()

    def ids(self, rows: IntpArray | Sequence[int]) -> tuple[str, ...]:
        """Ids of cells by their rows in `reviewed_cells`."""
        return self.state.ids_of(np.asarray(rows, dtype=np.intp))

    def changed_rows(self) -> IntpArray:
        """Rows of the table that edits, of this or another reviewer, touched since this was last asked."""
        self._changed, changed = [], self._changed
        return np.unique(np.concatenate(changed)) if changed else np.zeros(0, dtype=np.intp)

    # --- checks ---
    def _check(self, edit: Edit) -> None:
        name = self.image.name
        if message := wrong_with(edit):
            raise ReviewError(f"{name}: {message}; nothing was written")
        locked_by = self.standing.locked_by
        if locked_by and edit.kind is not EditKind.AMEND:
            raise ReviewError(f"{name}: its case {self.image.case!r} was locked by {locked_by}; amend it first")
        if not locked_by and edit.kind is EditKind.AMEND:
            raise ReviewError(f"{name}: its case {self.image.case!r} is not locked; there is nothing to amend")
        if edit.kind in {EditKind.CLASS, EditKind.POSITIVE, EditKind.DELETE} and not edit.cells:
            raise ReviewError(f"{name}: the edit names no cell; nothing was written")
        known = set(self.state.made_ids)
        if edit.kind in MAKING and (known.intersection(each.id for each in edit.made)):
            raise ReviewError(f"{name}: a cell of that id was made already; nothing was written")
        if edit.kind is EditKind.REDRAW and edit.to not in self.state.regions():
            raise ReviewError(f"{name}: no region {edit.to!r} in it (now); nothing was written")
        if edit.kind is EditKind.UNDO:
            self._check_undo(edit)

    def _check_seen(self, unseen: Sequence[Edit]) -> None:
        """Nobody stands by what another changed behind their back."""
        who = dict.fromkeys(each.reviewer for each in unseen if each.kind in CHANGES or each.kind is EditKind.UNDO)
        if who:
            raise ReviewError(
                f"{self.image.name}: {', '.join(who)} changed it since you looked at it; look again, then repeat this"
            )

    def _check_undo(self, undo: Edit) -> None:
        """Cells that an undo unmakes must not be part of others, and what a redo takes has to be there."""
        named = {each.id: each for each in self.ledger.edits}
        target = named.get(undo.to)
        if target is None or (target.kind not in CHANGES and target.kind is not EditKind.UNDO):
            raise ReviewError(f"{self.image.name}: no change {undo.to!r} that could be undone")
        active = active_ids([*self.ledger.edits, undo])
        for each in self.ledger.edits:
            holds, held = each.id in active, self.state.holds(each.id)
            if each.kind not in MAKING or holds == held:
                continue
            if not held and not self.state.present[self.state.rows_of(each.cells)].all():
                raise ReviewError(f"{self.image.name}: a cell of that {each.kind} is gone; it cannot be redone")
            ids = {cell.id for cell in each.made}
            later = [other for other in self.ledger.edits if other.kind in MAKING and ids.intersection(other.cells)]
            if held and any(other.id in active for other in later):
                raise ReviewError(f"{self.image.name}: cells of that {each.kind} were split or merged; undo that first")

    def _present_rows(self, cells: Sequence[str]) -> IntpArray:
        rows = self.state.rows_of(cells)
        gone = (rows < 0) | ~self.state.present[rows]
        if gone.any():
            which = cells[int(np.flatnonzero(gone)[0])]
            raise ReviewError(f"{self.image.name}: no cell {which} in it (now); nothing was written")
        return rows

    def _made_of(self, cells: Sequence[str], made: Sequence[MadeCell]) -> tuple[MadeCell, ...]:
        """The cells of a split or merge with what reviewers said of those that they are made of."""
        rows = self._present_rows(cells) if cells else np.zeros(0, dtype=np.intp)
        if not made and rows.size:
            made = (merged_cell(self.state.taken(rows)),)
        word = self.state.word_on(rows)
        return tuple(replace(each, positive=word) if each.positive is None else each for each in made)

    def _before(self, kind: EditKind, cells: Sequence[str]) -> tuple[Any, ...]:
        if not cells:
            return ()
        now = self.state.now(self._present_rows(tuple(dict.fromkeys(cells))))
        values = now["positive" if kind is EditKind.POSITIVE else "cell_class"].tolist()
        return tuple(values)

    # --- counts ---
    def _take_in(self) -> Sequence[Edit]:
        """Count what is in the ledger and not yet in the counts; those edits."""
        new = self.ledger.edits[len(self.state.edits) :]
        if new:
            self._counted = self._scored = None
            rows = self.state.take(new)
            self._counts.update(rows)
            self._changed.append(rows)
        return new

    def _with_area(self, blocks: tuple[Counts, ...]) -> tuple[Counts, ...]:
        return blocks if self._tumour_area_um2 is None else (*blocks, Counts(tumour_area_um2=self._tumour_area_um2))

    def _score(self, blocks: tuple[Counts, ...], *, is_reviewed: bool) -> Score:
        return score_blocks(
            blocks,
            config=self.results.config,
            pack=self.results.pack,
            indication=self.results.indication,
            level="image",
            flags=self.image.row.flags,
            has_tumour_roi=self._tumour_area_um2 is not None and not (is_reviewed and self.regions_changed),
            tumour_confirmed=self.is_confirmed if is_reviewed else self.has_tumour_roi,
            has_nests=has_nests_now([self.has_nests], self.image.row) or (is_reviewed and self.calls_back),
            is_partial=self.image.is_damaged,
            brown=self.brown if is_reviewed else self.image.brown,
        )


def has_nests_now(found: Iterable[bool | None], row: ScoreRow) -> bool:
    """Whether one of several has nests; where it is not known of all, what the run said in their ``row``."""
    told = list(found)
    return _NO_NESTS not in row.flags if None in told else any(told)
