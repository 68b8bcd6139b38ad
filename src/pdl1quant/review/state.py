"""The cells of one image under a review: what the run said, and what the edits that hold make of it.

Kept so that one edit costs what it touches. Automated columns are never written to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pdl1quant.model import CellClass, Flag
from pdl1quant.outputs.palette import counts_as_positive
from pdl1quant.review.cell_ids import CellIds
from pdl1quant.review.edits import CHANGES, MAKING, REMOVING, Edit, EditKind, active_ids
from pdl1quant.review.made import made_rows, shared_brown
from pdl1quant.review.nests import NestsNow
from pdl1quant.review.regions import CALLED_BACK, IN, OUT, UNSAID
from pdl1quant.review.regions_now import OF_REGIONS, RegionsNow
from pdl1quant.review.words import spoken
from pdl1quant.stages.nests import may_make_nests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pdl1quant.config import Config
    from pdl1quant.model import BoolArray, Float32Array, Float64Array, IntpArray, RulePack
    from pdl1quant.review.edits import RoiRule
    from pdl1quant.whole_slides.waiting import NestGround

    Int8Array = NDArray[np.int8]

_CLASSES = [str(each) for each in CellClass]
_CODE = {name: code for code, name in enumerate(_CLASSES)}
_TUMOUR = _CODE[CellClass.TUMOUR]
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
_DENSITIES = ("membrane_dab_od_run", "cytoplasm_dab_od_mean", "cell_dab_od_mean")
LOOKED_AT = ("cell_class", "positive", *_SPOKEN, "flags", *_DENSITIES)
"""What of a cell says how it counts, at any DAB cut-off."""


class CellState:
    """Cells and edits of one image.

    Its rows are those of the run, then one for each cell that an edit made, undone or not.

    Parameters
    ----------
    cells
        Cells table of the run; not changed.
    image_id
        Hash of the image, for the ids of its cells.
    config, pack
        Settings and rules of the run.
    sides_um
        ``mpp_x`` and ``mpp_y`` of a pixel.
    grounds
        Where nests of tumour cells are looked for; nowhere where tumour was drawn. Without any the run's word stays on
        which immune cells are far from tumour.
    """

    def __init__(
        self,
        cells: pd.DataFrame,
        *,
        image_id: str,
        config: Config,
        pack: RulePack,
        sides_um: Mapping[str, float],
        grounds: Sequence[NestGround] = (),
    ) -> None:
        self.automated = cells
        """Rows of the run, ``CELL_COLUMNS``."""
        self.made = cells.iloc[:0]
        """The rows behind them, of the same columns."""
        self.places_px: Float64Array = cells[["x_px", "y_px"]].to_numpy(np.float64)
        """(n, 2) x and y of all rows, in input pixels, the centre of the first at 0."""
        self.bare_brown_um2: Float64Array = np.zeros(0)
        """(made,) brown in each of those that lay in no cell of the run: what is made of an added cell shares its."""
        self.n_automated = len(cells)
        self.edits: list[Edit] = []
        self._config, self._pack, self._sides_um = config, pack, sides_um
        self._ids = CellIds(image_id, cells["label"].to_numpy())
        self._active: set[str] = set()
        self._rows: dict[str, IntpArray] = {}
        self._made: dict[str, IntpArray] = {}
        self._regions = RegionsNow()
        self._regions.append(self.places_px)
        n = len(cells)
        self._class = np.full(n, UNSAID, dtype=np.int8)
        self._positive = np.full(n, UNSAID, dtype=np.int8)
        self._positive_at_first = self._positive.copy()
        self._n_touches = np.zeros(n, dtype=np.int32)
        self._n_removed = np.zeros(n, dtype=np.int32)
        self._exists = np.ones(n, dtype=bool)
        self._nests = NestsNow(grounds) if grounds else None
        if self._nests is not None:
            self._nests.append(self.places_px)
            self._follow_nests(np.arange(n))

    # --- which cells ---
    def __len__(self) -> int:
        return self.n_automated + len(self.made)

    @property
    def table(self) -> pd.DataFrame:
        """All rows, ``CELL_COLUMNS``; a copy of the whole where edits made cells: for one look, not for each edit."""
        return pd.concat([self.automated, self.made], ignore_index=True) if len(self.made) else self.automated

    def measured(self, rows: IntpArray, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Some rows as measured, without what was said of them; all ``CELL_COLUMNS`` unless some are named."""
        is_made = rows >= self.n_automated
        if not is_made.any():
            return _taken(self.automated, rows, columns)
        made = _taken(self.made, rows[is_made] - self.n_automated, columns)
        if is_made.all():
            return made
        found = pd.concat([_taken(self.automated, rows[~is_made], columns), made])
        return found.take(np.argsort(np.argsort(is_made, kind="stable"), kind="stable"))

    def densities(self) -> tuple[Float32Array, ...]:
        """(n,) DAB OD of all rows, as measured: what is held against a cut-off."""
        tables = (self.automated, self.made)
        return tuple(np.concatenate([each[name].to_numpy(np.float32) for each in tables]) for name in _DENSITIES)

    @property
    def made_ids(self) -> Sequence[str]:
        """Ids of the cells that edits made."""
        return self._ids.made

    def ids_of(self, rows: IntpArray) -> tuple[str, ...]:
        """Ids of rows."""
        return self._ids.of(rows)

    def rows_of(self, ids: Sequence[str]) -> IntpArray:
        """Rows of cells by id; -1 for those that are not of this image."""
        return self._ids.rows(ids)

    @property
    def present(self) -> BoolArray:
        """(n,) bool: rows that are cells now, neither removed nor unmade."""
        return np.asarray(self._exists & (self._n_removed == 0))

    @property
    def is_said(self) -> BoolArray:
        """(n,) bool: rows of which an edit that holds says something."""
        return self._n_touches > 0

    def taken(self, rows: IntpArray) -> pd.DataFrame:
        """Rows as measured, with the class that each cell has now."""
        classes = pd.Categorical(self.now(rows)["cell_class"], categories=_CLASSES)
        return self.measured(rows).assign(cell_class=classes)

    def word_on(self, rows: IntpArray) -> bool | None:
        """What reviewers said of cells that are to be one: positive if of any, negative if of all, else None."""
        words = self._positive[rows]
        if (words == 1).any():
            return True
        return False if words.size and (words == 0).all() else None

    def holds(self, edit_id: str) -> bool:
        """Whether the edit of that id is in force."""
        return edit_id in self._active

    def calls_back(self, rows: IntpArray | None = None) -> bool:
        """Whether one of ``rows`` (all by default) is a cell in a region to include that no later one paints over."""
        side = self._regions.sides if rows is None else self._regions.sides[rows]
        present = self.present if rows is None else self._exists[rows] & (self._n_removed[rows] == 0)
        return bool((present & (side == CALLED_BACK)).any())

    def touched_rows(self) -> tuple[IntpArray, IntpArray]:
        """Places in ``edits`` of the changes that hold, and the rows that each of them touches or made: (m,) each."""
        held = [(k, edit.id) for k, edit in enumerate(self.edits) if edit.kind in CHANGES and edit.id in self._active]
        none = np.zeros(0, dtype=np.intp)
        rows = [np.append(self._rows[name], self._made.get(name, none)) for _, name in held]
        numbers = np.repeat(np.array([k for k, _ in held], dtype=np.intp), [len(each) for each in rows])
        return numbers, np.concatenate([none, *rows])

    def regions_over(self, area: Any, *, within_px: float = 0.0) -> frozenset[str]:
        """Ids of the edits whose region holds and meets an area; see `RegionsNow.over`."""
        return self._regions.over(area, within_px=within_px)

    @property
    def has_nests(self) -> bool | None:
        """Whether there is a nest of tumour cells now; None where nobody looks for any."""
        return None if self._nests is None else self._nests.has_nest

    def holds_nest(self, number: int) -> bool:
        """Whether there is one in the ground of that number."""
        assert self._nests is not None
        return self._nests.holds_nest(number)

    def regions(self) -> dict[str, tuple[RoiRule, dict[str, Any]]]:
        """What each region that holds does, and its outline now, GeoJSON; by the id of the edit that drew it."""
        return self._regions.outlines()

    # --- edits ---
    def take(self, edits: Sequence[Edit]) -> IntpArray:
        """Add edits in their order; the rows that are new or may count differently now."""
        known, n_before = {edit.id for edit in self.edits}, len(self)
        self.edits += edits
        self._make(edits)
        active = active_ids(self.edits)
        turned = [edit for edit in self.edits if edit.id in known and (edit.id in active) != (edit.id in self._active)]
        new = [edit for edit in edits if edit.id in active]
        self._active = active
        touched = [self._set_standing(edit, holds=edit.id in active) for edit in turned]
        if touched:
            self._speak_again(np.unique(np.concatenate(touched)))
        touched.append(np.arange(n_before, len(self)))  # also those of what is undone already
        for edit in new:
            touched.append(self._set_standing(edit, holds=True))
            self._speak(edit, self._rows[edit.id])
        if any(edit.kind in OF_REGIONS for edit in (*turned, *new)):
            touched.append(self._regions.hold(self.edits, active, self.places_px))
        if self._nests is not None:
            touched.append(self._follow_nests(np.unique(np.concatenate(touched)).astype(np.intp)))
        return np.unique(np.concatenate(touched)).astype(np.intp)

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
            self._regions.draw(edit)

    def _append(self, edits: list[Edit]) -> None:
        if not edits:
            return
        of_parents = [rows[rows >= 0] for rows in (self.rows_of(edit.cells) for edit in edits)]
        parents = [self.measured(rows) for rows in of_parents]
        made = made_rows(edits, parents, self.automated, sides_um=self._sides_um, config=self._config, pack=self._pack)
        before = np.concatenate([np.zeros(self.n_automated), self.bare_brown_um2])
        bare = shared_brown(edits, [float(before[rows].sum()) for rows in of_parents], made)
        self.bare_brown_um2 = np.append(self.bare_brown_um2, bare)
        first = len(self)
        self.made = pd.concat([self.made, made], ignore_index=True) if len(self.made) else made
        places = made[["x_px", "y_px"]].to_numpy(np.float64)
        self.places_px = np.concatenate([self.places_px, places])
        self._ids.append([cell.id for edit in edits for cell in edit.made])
        for edit in edits:
            self._made[edit.id] = np.arange(first, first + len(edit.made))
            first += len(edit.made)
        n = len(made)
        self._class = np.append(self._class, np.full(n, UNSAID, dtype=np.int8))
        words = [UNSAID if cell.positive is None else int(cell.positive) for edit in edits for cell in edit.made]
        self._positive = np.append(self._positive, np.array(words, dtype=np.int8))
        self._positive_at_first = np.append(self._positive_at_first, np.array(words, dtype=np.int8))
        self._regions.append(places)
        self._n_touches = np.append(self._n_touches, np.ones(n, dtype=np.int32))
        self._n_removed = np.append(self._n_removed, np.zeros(n, dtype=np.int32))
        self._exists = np.append(self._exists, np.zeros(n, dtype=bool))
        if self._nests is not None:
            self._nests.append(places)
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
        is_asked = np.zeros(len(self), dtype=bool)
        is_asked[rows] = True
        for edit in self.edits:
            if edit.id in self._active and edit.kind in {EditKind.CLASS, EditKind.POSITIVE}:
                of_edit = self._rows[edit.id]
                self._speak(edit, of_edit[is_asked[of_edit]])

    # --- what it makes of the cells ---
    def counted(self, rows: IntpArray | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Cells table of the present cells among ``rows`` (all by default), as the stages of the score count them.

        ``columns`` may limit it to some; they have to hold those of ``LOOKED_AT``.

        Where a reviewer said positive or negative the densities are NaN, so that no other threshold turns the cell.
        """
        rows = np.flatnonzero(self.present) if rows is None else rows[self.present[rows]]
        return self._spoken(rows, columns)

    def reviewed(self) -> pd.DataFrame:
        """The cells table with ``REVIEW_COLUMNS`` beside it; all rows, the removed ones too."""
        rows = np.arange(len(self))
        said = self._spoken(rows, LOOKED_AT)
        columns: dict[str, Any] = {
            "cell_id": list(self.ids_of(rows)),
            "reviewed_present": self.present,
            "reviewed_class": said["cell_class"].array,
            "reviewed_positive": counts_as_positive(said, self._pack.compartment),
            **{f"reviewed_{name}": said[name].to_numpy() for name in _SPOKEN},
            "reviewed_flags": said["flags"].to_numpy(),
            "made_by_review": rows >= self.n_automated,
        }
        return self.table.assign(**{name: columns[name] for name in REVIEW_COLUMNS})

    def now(self, rows: IntpArray) -> pd.DataFrame:
        """``cell_class`` and ``positive`` (as the score counts it) of some rows, as they are now."""
        said = self._spoken(rows, LOOKED_AT)
        positive = counts_as_positive(said, self._pack.compartment)
        return pd.DataFrame({"cell_class": said["cell_class"].astype(str).to_numpy(), "positive": positive})

    def flags_of(self, rows: IntpArray) -> NDArray[np.int32]:
        """Flags that some rows have now."""
        return self._flags(rows, self.measured(rows, ("flags", "cell_class")))

    def _spoken(self, rows: IntpArray, columns: Sequence[str] | None) -> pd.DataFrame:
        measured = self.measured(rows, columns)
        return spoken(
            measured,
            classes=self._class[rows],
            positive=self._positive[rows],
            flags=self._flags(rows, measured),
            compartment=self._pack.compartment,
        )

    def _flags(self, rows: IntpArray, measured: pd.DataFrame) -> NDArray[np.int32]:
        at_first, far = measured["flags"].to_numpy(np.int32), np.int32(Flag.FAR_FROM_TUMOUR)
        codes = self._classes(rows, measured)
        flags = self._placed(rows, at_first, codes)
        is_far = (at_first & far) != 0 if self._nests is None else self._nests.is_far[rows]
        is_far &= np.isin(codes, _IMMUNE) & (self._regions.sides[rows] != CALLED_BACK)
        flags = np.where(is_far, flags | far, flags & ~far)
        is_edited = (self._n_touches[rows] > 0) | (flags != at_first)
        return np.asarray(np.where(is_edited, flags | np.int32(Flag.EDITED), flags), dtype=np.int32)

    def _placed(self, rows: IntpArray, at_first: NDArray[np.int32], codes: Int8Array) -> NDArray[np.int32]:
        """Flags that follow from the regions and from what was said: all but those that others make (nests)."""
        flags, side, outside = at_first, self._regions.sides[rows], np.int32(Flag.OUTSIDE_ROI)
        # Beside the drawn tumour it is the class, which a reviewer may change, that says whether a cell counts.
        beside = (flags & int(Flag.BESIDE_TUMOUR)) != 0
        flags = np.where(beside, np.where(np.isin(codes, _IMMUNE), flags & ~outside, flags | outside), flags)
        flags = np.where(side >= IN, flags & ~outside, np.where(side == OUT, flags | outside, flags))
        judged = (self._class[rows] != UNSAID) | (self._positive[rows] != UNSAID)
        return np.asarray(np.where(judged, flags & ~np.int32(Flag.OVERLAID), flags), dtype=np.int32)

    def _classes(self, rows: IntpArray, measured: pd.DataFrame) -> Int8Array:
        """Codes of the classes that some rows have now."""
        codes = np.asarray(measured["cell_class"].cat.codes.to_numpy(), dtype=np.int8)
        return np.where(self._class[rows] != UNSAID, self._class[rows], codes)

    def _follow_nests(self, rows: IntpArray) -> IntpArray:
        """Look for nests anew after some rows changed; the rows that are far from any, or near one, only now."""
        assert self._nests is not None
        measured = self.measured(rows, ("flags", "cell_class"))
        codes = self._classes(rows, measured)
        flags = self._placed(rows, measured["flags"].to_numpy(np.int32), codes)
        is_cell = self.present[rows] & may_make_nests(flags)
        return self._nests.update(rows, is_tumour=is_cell & (codes == _TUMOUR), is_cell=is_cell)


def _taken(cells: pd.DataFrame, rows: IntpArray, columns: Sequence[str] | None) -> pd.DataFrame:
    """Some rows of some columns; a choice of columns first would copy all rows of them."""
    if columns is None:
        return cells.take(rows)
    return pd.DataFrame({name: cells[name].array.take(rows) for name in columns})
