"""One edit: a line of the ledger, and what it may say.

``x_px`` and ``y_px`` count from the centre of the first pixel, as in the cells table; geometries are GeoJSON and count
from its corner, as QuPath does.
"""

from __future__ import annotations

import json
import secrets
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from pdl1quant.model import CELL_COLUMNS, CellClass, Flag
from pdl1quant.review.regions import region

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class EditKind(StrEnum):
    """What an edit does."""

    CLASS = "class"
    POSITIVE = "positive"
    DELETE = "delete"
    ADD = "add"
    SPLIT = "split"
    MERGE = "merge"
    ROI = "roi"
    REDRAW = "redraw"
    """Gives the region drawn by the edit in ``to`` another outline, or takes it away where it holds none."""
    THRESHOLD = "threshold"
    """Another DAB cut-off was looked at and accepted for the next run: the calls of this case are withdrawn."""
    UNDO = "undo"
    """Undoes the edit named in ``to``; the undo of an undo is a redo."""
    OWN_SCORE = "own_score"
    SIGN = "sign"
    LOCK = "lock"
    AMEND = "amend"
    """Opens a locked case again; its reason says why."""


CHANGES = (
    EditKind.CLASS,
    EditKind.POSITIVE,
    EditKind.DELETE,
    EditKind.ADD,
    EditKind.SPLIT,
    EditKind.MERGE,
    EditKind.ROI,
    EditKind.REDRAW,
    EditKind.THRESHOLD,
)
"""What changes a result, takes a signature away, and can be undone."""
REMOVING = (EditKind.DELETE, EditKind.SPLIT, EditKind.MERGE)
MAKING = (EditKind.ADD, EditKind.SPLIT, EditKind.MERGE)

_ALL_FLAGS = sum(Flag)
_MEASURED = {column.name for column in CELL_COLUMNS if column.dtype.startswith("float")} - {"x_px", "y_px"}


class RoiRule(StrEnum):
    """What a drawn region does, in the order of drawing: later ones paint over earlier ones."""

    INCLUDE = "include"
    """Cells inside count again."""
    EXCLUDE = "exclude"
    """Cells inside do not count."""
    ONLY = "only"
    """Cells outside do not count, those inside do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCell:
    """A cell that a reviewer made by add, split or merge.

    ``positive`` is None where nobody said it. ``measurements`` are columns of the cells table; what is missing comes
    from the cells that it was made of.
    """

    x_px: float
    y_px: float
    cell_class: CellClass
    positive: bool | None = None
    geometry: dict[str, Any] | None = None
    measurements: dict[str, float] = field(default_factory=dict)
    flags: int = 0
    """What is doubtful where it was added, bits of `Flag`; those of split and merged cells are their parents'."""
    bare_brown_um2: float = 0.0
    """Brown area inside an added cell that lay in no cell before."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One line of the ledger. ``before`` is called ``from`` there: what each of ``cells`` was."""

    kind: EditKind
    reviewer: str
    cells: tuple[str, ...] = ()
    before: tuple[Any, ...] = ()
    to: Any = None
    made: tuple[MadeCell, ...] = ()
    geometry: dict[str, Any] | None = None
    reason: str = ""
    uncertain_first: bool = False
    """The cell was offered because the machine was unsure: such edits never estimate accuracy."""
    time: str = field(default_factory=lambda: datetime.now(tz=UTC).isoformat(timespec="milliseconds"))
    id: str = field(default_factory=lambda: secrets.token_hex(8))


_EDIT = TypeAdapter(Edit)


def encode_edit(edit: Edit) -> bytes:
    """The line of an edit, with its end; what is empty is left out."""
    values = {name: value for name, value in asdict(edit).items() if value not in (None, "", (), False) or name == "to"}
    values = {"from" if name == "before" else name: value for name, value in values.items()}
    first = {name: values[name] for name in ("time", "reviewer", "kind")}
    return (json.dumps({**first, **values}, allow_nan=False) + "\n").encode()


def decode_edit(line: bytes) -> Edit:
    """Read the line of an edit.

    Raises
    ------
    ValueError
        It is none; the message says why in a few words.
    """
    try:
        values = json.loads(line)
    except ValueError as error:
        raise ValueError("not JSON") from error
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  the file is wrong, not the caller
    values["before"] = values.pop("from", ())
    try:
        edit = _EDIT.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from error
    if message := wrong_with(edit):
        raise ValueError(message)
    return edit


def wrong_with(edit: Edit) -> str:
    """What an edit says that cannot be, whatever it is for; empty where it is well formed."""
    unknown = {name for cell in edit.made for name in cell.measurements} - _MEASURED
    if unknown:
        return f"{min(unknown)!r} is no measurement of the cells table"
    for cell in edit.made:
        if message := _wrong_with_made(cell):
            return message
    return _wrong_word(edit) or _wrong_number(edit)


def _wrong_word(edit: Edit) -> str:
    wrong = {
        EditKind.CLASS: (edit.to not in list(CellClass), f"class {edit.to!r} is none of {', '.join(CellClass)}"),
        EditKind.POSITIVE: (not isinstance(edit.to, bool), f"positive {edit.to!r} is neither true nor false"),
        EditKind.UNDO: (not isinstance(edit.to, str), "an undo names no edit"),
        EditKind.OWN_SCORE: (not _is_own_score(edit.to), "an own score is a TPS between 0 and 100"),
        EditKind.AMEND: (not edit.reason.strip(), "amending a case needs a reason"),
        EditKind.REDRAW: (not isinstance(edit.to, str), "a redraw names no region"),
        EditKind.ROI: (edit.to not in list(RoiRule), f"region {edit.to!r} is none of {', '.join(RoiRule)}"),
    }
    is_wrong, message = wrong.get(edit.kind, (False, ""))
    if is_wrong:
        return message
    has_region = edit.kind is EditKind.ROI or (edit.kind is EditKind.REDRAW and edit.geometry is not None)
    return _wrong_with_region(edit) if has_region else ""


def _wrong_with_made(cell: MadeCell) -> str:
    numbers = (cell.x_px, cell.y_px, cell.bare_brown_um2, *cell.measurements.values())
    if not np.isfinite(numbers).all():
        return f"a number of the made cell {cell.id} is not finite"
    if cell.flags & ~_ALL_FLAGS or cell.bare_brown_um2 < 0:
        return f"the made cell {cell.id} has flags or an area that cannot be"
    if cell.geometry is None:
        return ""
    try:
        region(cell.geometry)
    except ValueError:
        return f"the outline of the made cell {cell.id} is no closed outline with an area"
    return ""


def _wrong_number(edit: Edit) -> str:
    n_cells, n_made = len(set(edit.cells)), len(edit.made)
    wrong = {
        EditKind.ADD: (n_made < 1 or n_cells > 0, "an add makes cells and takes none"),
        EditKind.SPLIT: (n_made < 2 or n_cells != 1, "a split takes one cell and makes at least two"),
        EditKind.MERGE: (n_made != 1 or n_cells < 2, "a merge takes at least two cells and makes one"),
    }
    is_wrong, message = wrong.get(edit.kind, (n_made > 0, f"an edit of kind {edit.kind} makes no cells"))
    return message if is_wrong else ""


def _wrong_with_region(edit: Edit) -> str:
    try:
        region(edit.geometry)
    except ValueError as error:
        return str(error)
    return ""


def _is_own_score(value: Any) -> bool:
    tps = value.get("tps") if isinstance(value, dict) else None
    return isinstance(tps, (int, float)) and not isinstance(tps, bool) and 0 <= tps <= 100


# --- what holds ------------------------------------------------------------------------------------------------------
def active_ids(edits: Sequence[Edit]) -> set[str]:
    """Ids of the edits that hold: not undone by an undo that itself holds."""
    undone: set[str] = set()
    active: set[str] = set()
    for edit in reversed(edits):
        if edit.id in undone:
            continue
        active.add(edit.id)
        if edit.kind is EditKind.UNDO:
            undone.add(edit.to)
    return active


def outlines_of_regions(edits: Sequence[Edit], active: set[str]) -> dict[str, tuple[RoiRule, Edit]]:
    """What each region does that holds, and the edit that has its outline now; by the id of the edit that drew it.

    In the order of drawing, which another outline does not change.
    """
    found: dict[str, tuple[RoiRule, Edit]] = {}
    for edit in edits:
        if edit.id in active and edit.kind is EditKind.ROI:
            found[edit.id] = (RoiRule(edit.to), edit)
        elif edit.id in active and edit.kind is EditKind.REDRAW and edit.to in found:
            found[edit.to] = (found[edit.to][0], edit)
    return {name: (rule, edit) for name, (rule, edit) in found.items() if edit.geometry is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the review of an image stands: who signed what it is now, who locked it, scores of their own."""

    reviewers: tuple[str, ...] = ()
    n_edits: int = 0
    signed_by: tuple[str, ...] = ()
    locked_by: str = ""
    own_scores: tuple[str, ...] = ()
    threshold_moved: bool = False


def standing(edits: Sequence[Edit]) -> Standing:
    """How the review stands after ``edits``; a change takes earlier signatures away, an undo does too."""
    active = active_ids(edits)
    changes = [edit for edit in edits if edit.kind in CHANGES and edit.id in active]
    signed: dict[str, None] = {}
    locked_by = ""
    for edit in edits:
        match edit.kind:
            case EditKind.SIGN:
                signed[edit.reviewer] = None
            case EditKind.LOCK:
                locked_by = edit.reviewer
            case EditKind.AMEND:
                locked_by = ""
                signed.clear()
            case EditKind.OWN_SCORE:
                pass
            case _:
                signed.clear()
    return Standing(
        reviewers=_once(edit.reviewer for edit in edits),
        n_edits=len(changes),
        signed_by=tuple(signed),
        locked_by=locked_by,
        own_scores=tuple(_own_score_text(edit) for edit in edits if edit.kind is EditKind.OWN_SCORE),
        threshold_moved=any(edit.kind is EditKind.THRESHOLD for edit in changes),
    )


def _own_score_text(edit: Edit) -> str:
    return f"{edit.reviewer}: {edit.to['tps']:g}{' (blind)' if edit.to.get('blind') else ''}"


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
