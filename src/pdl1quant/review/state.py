"""The cells of one image under a review: what the run said, and what the edits that hold make of it.

Kept so that one edit costs what it touches. Automated columns are never written to.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pdl1quant.model import CellClass, Flag
from pdl1quant.outputs.geojson import cell_id
from pdl1quant.outputs.palette import counts_as_positive
from pdl1quant.review.edits import CHANGES, MAKING, REMOVING, Edit, EditKind, RoiRule, active_ids
from pdl1quant.review.made import made_rows
from pdl1quant.review.regions import region
from pdl1quant.review.words import spoken
from pdl1quant.slides.roi import Roi, RoiKind, points_in_rois

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pdl1quant.config import Config
    from pdl1quant.model import BoolArray, IntpArray, RulePack

    Int8Array = NDArray[np.int8]

UNSAID = -1
_OUT, _IN, _CALLED_BACK = 0, 1, 2
"""On which side of the regions of a review a cell lies; called back is what a region to include says counts again."""
_CLASSES = [str(each) for each in CellClass]
_CODE = {name: code for code, name in enumerate(_CLASSES)}
_IMMUNE = (_CODE[CellClass.LYMPHOCYTE], _CODE[CellClass.MACROPHAGE])

REVIEW_COLUMNS = (
    "cell_id",
    "reviewed_present",
    "reviewed_class",
    "reviewed_positive",
    "reviewed_membrane_positive",
    "reviewed_cytoplasm_positive",
    "reviewed_cell_positive",
    "reviewed_dab_grade",
    "reviewed_flags",
    "made_by_review",
)
"""What a reviewed cells table has beside ``CELL_COLUMNS``, which stay as the run wrote them."""
_SPOKEN = ("membrane_positive", "cytoplasm_positive", "cell_positive", "dab_grade")


class CellState:
    """Cells and edits of one image.

    ``table`` has ``CELL_COLUMNS``: the rows of the run, then a row for each cell that an edit made, undone or not.

    Parameters
    ----------
    cells
        Cells table of the run; not changed.
    image_id
        Hash of the image, for the ids of its cells.
    config, pack
        Settings and rules of the run.
    """

    def __init__(self, cells: pd.DataFrame, *, image_id: str, config: Config, pack: RulePack) -> None:
        self.table = cells
        self.n_automated = len(cells)
        self.edits: list[Edit] = []
        self._image_id = image_id
        self._config, self._pack = config, pack
        self._row_of: dict[str, int] = {}
        self._knows_all_ids = False
        self.made_ids: list[str] = []
        self._active: set[str] = set()
        self._rows: dict[str, IntpArray] = {}
        self._made: dict[str, IntpArray] = {}
        self._regions: dict[str, Roi] = {}
        n = len(cells)
        self._class = np.full(n, UNSAID, dtype=np.int8)
        self._positive = np.full(n, UNSAID, dtype=np.int8)
        self._positive_at_first = self._positive.copy()
        self._inside = np.full(n, UNSAID, dtype=np.int8)
        self._n_touches = np.zeros(n, dtype=np.int32)
        self._n_removed = np.zeros(n, dtype=np.int32)
        self._exists = np.ones(n, dtype=bool)
        self._run_found_far = bool((cells["flags"].to_numpy(np.int32) & int(Flag.FAR_FROM_TUMOUR)).any())

    # --- which cells ---
    def ids_of(self, rows: IntpArray) -> tuple[str, ...]:
        """Ids of rows of `table`."""
        labels, chosen = self.table["label"].to_numpy(), np.asarray(rows).tolist()
        names = tuple(
            cell_id(self._image_id, int(labels[row]))
            if row < self.n_automated
            else self.made_ids[row - self.n_automated]
            for row in chosen
        )
        self._row_of.update(zip(names, chosen, strict=True))
        return names

    def rows_of(self, ids: Sequence[str]) -> IntpArray:
        """Rows of cells by id; -1 for those that are not of this image."""
        # A cell that was clicked on has been named already; the ids of a million others would cost seconds.
        if not self._knows_all_ids and any(name not in self._row_of for name in ids):
            self.ids_of(np.arange(self.n_automated))
            self._knows_all_ids = True
        return np.array([self._row_of.get(name, -1) for name in ids], dtype=np.intp)

    @property
    def present(self) -> BoolArray:
        """(n,) bool: rows that are cells now, neither removed nor unmade."""
        return np.asarray(self._exists & (self._n_removed == 0))

    @property
    def is_said(self) -> BoolArray:
        """(n,) bool: rows of which an edit that holds says something."""
        return self._n_touches > 0

    def taken(self, rows: IntpArray) -> pd.DataFrame:
        """Rows of `table` as measured, with the class that each cell has now."""
        classes = pd.Categorical(self.now(rows)["cell_class"], categories=_CLASSES)
        return self.table.take(rows).assign(cell_class=classes)

    def word_on(self, rows: IntpArray) -> bool | None:
        """What reviewers said of cells that are to be one: positive if of any, negative if of all, else None."""
        words = self._positive[rows]
        if (words == 1).any():
            return True
        return False if words.size and (words == 0).all() else None

    def holds(self, edit_id: str) -> bool:
        """Whether the edit of that id is in force."""
        return edit_id in self._active

    # --- edits ---
    def take(self, edits: Sequence[Edit]) -> IntpArray:
        """Add edits in their order; the rows that may count differently now."""
        known = {edit.id for edit in self.edits}
        self.edits += edits
        self._make(edits)
        active = active_ids(self.edits)
        turned = [edit for edit in self.edits if edit.id in known and (edit.id in active) != (edit.id in self._active)]
        new = [edit for edit in edits if edit.id in active]
        self._active = active
        touched = [self._set_standing(edit, holds=edit.id in active) for edit in turned]
        if touched:
            self._speak_again(np.unique(np.concatenate(touched)))
        for edit in new:
            touched.append(self._set_standing(edit, holds=True))
            self._speak(edit, self._rows[edit.id])
        if any(edit.kind is EditKind.ROI for edit in (*turned, *new)):
            touched.append(self._draw_regions())
        elif self._regions and any(edit.made for edit in (*turned, *new)):
            self._draw_regions()
        return np.unique(np.concatenate(touched)) if touched else np.zeros(0, dtype=np.intp)

    def _make(self, edits: Sequence[Edit]) -> None:
        """Rows for the cells that edits make, and where each edit finds its cells; an undone edit keeps its rows."""
        waiting: list[Edit] = []
        pending: set[str] = set()
        for edit in edits:
            if edit.kind in MAKING:
                if pending.intersection(edit.cells):  # only what is made of made cells needs their rows
                    self._append(waiting)
                    pending.clear()
                waiting.append(edit)
                pending.update(cell.id for cell in edit.made)
        self._append(waiting)
        for edit in edits:
            rows = self.rows_of(edit.cells) if edit.cells else np.zeros(0, dtype=np.intp)
            self._rows[edit.id] = rows[rows >= 0]
            if edit.kind is EditKind.ROI:
                self._regions[edit.id] = Roi(kind=RoiKind.INCLUDE, name=str(edit.to), geometry=region(edit.geometry))

    def _append(self, edits: list[Edit]) -> None:
        if not edits:
            return
        parents = [rows[rows >= 0] for rows in (self.rows_of(edit.cells) for edit in edits)]
        made = made_rows(edits, self.table, parents, n_automated=self.n_automated, config=self._config, pack=self._pack)
        first = len(self.table)
        self.table = pd.concat([self.table, made], ignore_index=True)
        ids = [cell.id for edit in edits for cell in edit.made]
        self._row_of.update((name, row) for row, name in enumerate(ids, start=first))
        self.made_ids += ids
        for edit in edits:
            self._made[edit.id] = np.arange(first, first + len(edit.made))
            first += len(edit.made)
        n = len(made)
        self._class = np.append(self._class, np.full(n, UNSAID, dtype=np.int8))
        words = [UNSAID if cell.positive is None else int(cell.positive) for edit in edits for cell in edit.made]
        self._positive = np.append(self._positive, np.array(words, dtype=np.int8))
        self._positive_at_first = np.append(self._positive_at_first, np.array(words, dtype=np.int8))
        self._inside = np.append(self._inside, np.full(n, UNSAID, dtype=np.int8))
        self._n_touches = np.append(self._n_touches, np.ones(n, dtype=np.int32))
        self._n_removed = np.append(self._n_removed, np.zeros(n, dtype=np.int32))
        self._exists = np.append(self._exists, np.zeros(n, dtype=bool))
        edits.clear()

    def _set_standing(self, edit: Edit, *, holds: bool) -> IntpArray:
        """Put an edit in force or out of it, without its words; the rows that it touches."""
        if edit.kind not in CHANGES:
            return np.zeros(0, dtype=np.intp)
        step = 1 if holds else -1
        rows = self._rows[edit.id]
        np.add.at(self._n_touches, rows, step)
        if edit.kind in REMOVING:
            np.add.at(self._n_removed, rows, step)
        made = self._made.get(edit.id, np.zeros(0, dtype=np.intp))
        self._exists[made] = holds
        return np.concatenate([rows, made])

    def _speak(self, edit: Edit, rows: IntpArray) -> None:
        if edit.kind is EditKind.CLASS:
            self._class[rows] = _CODE[edit.to]
        elif edit.kind is EditKind.POSITIVE:
            self._positive[rows] = int(edit.to)

    def _speak_again(self, rows: IntpArray) -> None:
        """What the edits that hold say of ``rows``, from the first to the last."""
        self._class[rows] = UNSAID
        self._positive[rows] = self._positive_at_first[rows]
        is_asked = np.zeros(len(self.table), dtype=bool)
        is_asked[rows] = True
        for edit in self.edits:
            if edit.id in self._active and edit.kind in {EditKind.CLASS, EditKind.POSITIVE}:
                of_edit = self._rows[edit.id]
                self._speak(edit, of_edit[is_asked[of_edit]])

    def _draw_regions(self) -> IntpArray:
        """Paint the regions that hold over each other; the rows whose side changed."""
        before = self._inside
        inside = np.full(len(self.table), UNSAID, dtype=np.int8)
        x, y = (self.table[name].to_numpy(np.float64) for name in ("x_px", "y_px"))
        for edit in self.edits:
            if edit.kind is EditKind.ROI and edit.id in self._active:
                is_in = points_in_rois([self._regions[edit.id]], x, y)
                if edit.to == RoiRule.ONLY:
                    inside = np.where(is_in, np.maximum(inside, _IN), _OUT).astype(np.int8)
                else:
                    inside[is_in] = _CALLED_BACK if edit.to == RoiRule.INCLUDE else _OUT
        self._inside = inside
        return np.flatnonzero(inside != before)

    # --- what it makes of the cells ---
    def counted(self, rows: IntpArray | None = None) -> pd.DataFrame:
        """Cells table of the present cells among ``rows`` (all by default), as the stages of the score count them.

        Where a reviewer said positive or negative the densities are NaN, so that no other threshold turns the cell.
        """
        rows = np.flatnonzero(self.present) if rows is None else rows[self.present[rows]]
        return spoken(
            self.table.take(rows),
            classes=self._class[rows],
            positive=self._positive[rows],
            flags=self._flags(rows),
            compartment=self._pack.compartment,
        )

    def reviewed(self) -> pd.DataFrame:
        """The cells table with ``REVIEW_COLUMNS`` beside it; all rows, the removed ones too."""
        rows = np.arange(len(self.table))
        said = spoken(
            self.table,
            classes=self._class,
            positive=self._positive,
            flags=self._flags(rows),
            compartment=self._pack.compartment,
        )
        columns: dict[str, Any] = {
            "cell_id": list(self.ids_of(rows)),
            "reviewed_present": self.present,
            "reviewed_class": said["cell_class"],
            "reviewed_positive": counts_as_positive(said, self._pack.compartment),
            **{f"reviewed_{name}": said[name] for name in _SPOKEN},
            "reviewed_flags": said["flags"],
            "made_by_review": rows >= self.n_automated,
        }
        return self.table.assign(**{name: columns[name] for name in REVIEW_COLUMNS})

    def now(self, rows: IntpArray) -> pd.DataFrame:
        """``cell_class`` and ``positive`` (as the score counts it) of some rows, as they are now."""
        said = spoken(
            self.table.take(rows),
            classes=self._class[rows],
            positive=self._positive[rows],
            flags=self._flags(rows),
            compartment=self._pack.compartment,
        )
        positive = counts_as_positive(said, self._pack.compartment)
        return pd.DataFrame({"cell_class": said["cell_class"].astype(str).to_numpy(), "positive": positive})

    def _flags(self, rows: IntpArray) -> NDArray[np.int32]:
        flags = self.table["flags"].to_numpy(np.int32)[rows]
        side = self._inside[rows]
        outside, far = np.int32(Flag.OUTSIDE_ROI), np.int32(Flag.FAR_FROM_TUMOUR)
        # Beside the drawn tumour, and far from what was found, it is the class, which a reviewer may change, that says
        # whether a cell counts.
        codes = np.asarray(self.table["cell_class"].cat.codes.to_numpy()[rows], dtype=np.int8)
        immune = np.isin(np.where(self._class[rows] != UNSAID, self._class[rows], codes), _IMMUNE)
        beside = (flags & int(Flag.BESIDE_TUMOUR)) != 0
        flags = np.where(beside, np.where(immune, flags & ~outside, flags | outside), flags)
        flags = np.where(self._is_far(rows, immune, codes), flags | far, flags & ~far)
        flags = np.where(side >= _IN, flags & ~outside, np.where(side == _OUT, flags | outside, flags))
        flags = np.where(side == _CALLED_BACK, flags & ~far, flags)
        judged = (self._class[rows] != UNSAID) | (self._positive[rows] != UNSAID)
        flags = np.where(judged, flags & ~np.int32(Flag.OVERLAID), flags)
        is_edited = (self._n_touches[rows] > 0) | (flags != self.table["flags"].to_numpy(np.int32)[rows])
        return np.asarray(np.where(is_edited, flags | np.int32(Flag.EDITED), flags), dtype=np.int32)

    def _is_far(self, rows: IntpArray, immune: BoolArray, codes: Int8Array) -> BoolArray:
        """Whether rows that are ``immune`` now lie far from the nests that the run found.

        ``codes`` are their classes in `table`. Of a cell that the run did not take for an immune cell the nearest one
        that it did says so.
        """
        is_far = np.zeros(len(rows), dtype=bool)
        if not self._run_found_far:
            return is_far
        told = (rows < self.n_automated) & np.isin(codes, _IMMUNE)
        flags = self.table["flags"].to_numpy(np.int32)
        asked = rows.copy()
        new = np.flatnonzero(immune & ~told)
        if new.size:
            asked[new] = self._nearest_immune(rows[new])
        is_far[immune] = (flags[asked[immune]] & int(Flag.FAR_FROM_TUMOUR)) != 0
        return is_far

    def _nearest_immune(self, rows: IntpArray) -> IntpArray:
        """The row of the nearest immune cell of the run, of each of ``rows``."""
        of_run, tree = self._immune_of_run
        _, nearest = tree.query(self.table[["x_px", "y_px"]].to_numpy(np.float64)[rows])
        return np.asarray(of_run[nearest], dtype=np.intp)

    @cached_property
    def _immune_of_run(self) -> tuple[IntpArray, Any]:
        """Rows of the cells that the run took for immune cells, and a tree of their places."""
        from scipy.spatial import cKDTree  # noqa: PLC0415  slow to import, and few reviews ask for it

        automated = self.table.iloc[: self.n_automated]
        rows = np.flatnonzero(np.isin(automated["cell_class"].cat.codes.to_numpy(), _IMMUNE))
        return rows, cKDTree(automated[["x_px", "y_px"]].to_numpy(np.float64)[rows])
