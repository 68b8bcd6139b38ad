"""What readers said, as a table that a person wrote: a line per score, or a line per case with a column per reader."""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pdl1quant.errors import UsageError
from pdl1quant.slides.tables import UserTable, read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.slides.tables import TableRow

PROGRAM = "pdl1quant"
REVIEWED_PROGRAM = "pdl1quant, reviewed"
"""What the scores of a run are called where a review counted them anew."""
MEDIAN = "median of the readers"
OTHERS = "median of the other readers"
LONG_COLUMNS = ("reader", "score")
NAME_COLUMNS = ("name", "core", "image", "case")
"""Columns that may hold the names, the first one found; ``image`` beside ``name`` or ``core`` says on which slide."""
_COLUMN = "column"
_PARQUET = b"PAR1"
_INDEX = re.compile(r"__index_level_\d+__")
"""Columns in which pandas keeps the numbers of the rows."""

_NOT_READ = frozenset({"", "-", "na", "n/a", "n.a.", "nan", "none", "null", "ne", "n.e.", "not evaluable"})
_SCORE = re.compile(r"(<)?\s*([+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d+)?)\s*%?")
_DASHES = str.maketrans("\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}", "---")
MAX_BOUND = 1.0
"""``< 1`` is a reading of its own, taken as half of it. ``< 5`` might be 4 or 0: it is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreKind:
    """One score that people read: its name, and where ``scores.csv`` has it with its interval, if it has one."""

    name: str
    title: str
    attribute: str
    low: str = ""
    high: str = ""
    top: float = 100.0
    """The highest value that it can have; the lowest is 0."""
    unit: str = "%"

    def of(self, row: ScoreRow) -> float | None:
        """The program's score in a row; None where it has none."""
        value: float | None = getattr(row, self.attribute)
        return value

    def interval_of(self, row: ScoreRow) -> tuple[float | None, float | None]:
        """Ends of its interval; None where there is none."""
        return (getattr(row, self.low), getattr(row, self.high)) if self.low else (None, None)


KINDS: dict[str, ScoreKind] = {
    each.name: each
    for each in (
        ScoreKind(name="tps", title="TPS", attribute="tps", low="tps_low", high="tps_high"),
        ScoreKind(name="tps_membrane", title="TPS, membrane", attribute="tps_membrane"),
        ScoreKind(name="tps_cytoplasm", title="TPS, cytoplasm or membrane", attribute="tps_cytoplasm"),
        ScoreKind(name="tps_cell", title="TPS, whole cell", attribute="tps_cell"),
        ScoreKind(name="cps", title="CPS", attribute="cps", low="cps_low", high="cps_high", unit=""),
        ScoreKind(name="ic_area_pct", title="IC area", attribute="ic_area_pct"),
        ScoreKind(name="tap_area_pct", title="TAP area", attribute="tap_area_pct"),
        ScoreKind(name="h_score", title="H-score", attribute="h_score", top=300.0, unit=""),
    )
}
"""Scores that can be compared, by the name of their column in ``scores.csv``."""
_OTHER_NAMES = {"ic": "ic_area_pct", "tap": "tap_area_pct", "h": "h_score", "h-score": "h_score"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderScore:
    """One score of one reader: ``where`` begins the message of an error, ``value`` is None where nothing was read."""

    where: str
    name: str
    image: str
    reader: str
    kind: ScoreKind
    value: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderTable:
    """All scores of a table in their order; ``named_by`` is the column that holds the names."""

    file: str
    named_by: str
    scores: tuple[ReaderScore, ...]

    @property
    def readers(self) -> tuple[str, ...]:
        """The readers in the order of the table."""
        return tuple(dict.fromkeys(score.reader for score in self.scores))

    @property
    def kinds(self) -> tuple[ScoreKind, ...]:
        """The scores that were read, in the order of `KINDS`."""
        found = {score.kind.name for score in self.scores}
        return tuple(kind for name, kind in KINDS.items() if name in found)


def find_kind(name: str) -> ScoreKind:
    """The score called so in ``scores.csv``, or in short (``ic``, ``tap``, ``h``).

    Raises
    ------
    UsageError
        There is none; the message names the nearest.
    """
    wanted = name.strip().lower().replace(" ", "_")
    kind = KINDS.get(_OTHER_NAMES.get(wanted, wanted))
    if kind is None:
        near = difflib.get_close_matches(wanted, [*KINDS, *_OTHER_NAMES], n=1)
        hint = f"the nearest is {near[0]!r}" if near else f"choose from {', '.join(KINDS)}"
        raise UsageError(f"no score {name!r} to compare; {hint}")
    return kind


def read_reader_scores(path: Path, *, kind: ScoreKind | None = None) -> ReaderTable:
    """Read the scores of readers.

    The names stand in a column ``name`` (or ``case``, ``image``, ``core``). With columns ``reader`` and ``score`` each
    line is one score; else each other column is a reader. ``column`` may say in either which score it is, ``image``
    beside names of cores or regions on which slide they lie.

    Parameters
    ----------
    path
        CSV as spreadsheets write it (`slides.tables.read_table`), or Parquet.
    kind
        Which score it is where no column ``column`` says so; None: the TPS.

    Raises
    ------
    UsageError
        The table cannot be read, lacks a column, or has a line without a name or a reader, or with what is no score or
        none that can be. The message tells the line.
    """
    table = _read(path)
    named_by = next((name for name in NAME_COLUMNS if name in table.columns), "")
    is_long = [name in table.columns for name in LONG_COLUMNS]
    if any(is_long) and not all(is_long):
        there, missing = sorted(LONG_COLUMNS, key=lambda name: name not in table.columns)
        raise UsageError(f"{table.name}: a column {there!r} and none {missing!r}; it needs both, or neither")
    kind = kind or KINDS["tps"]
    scores = tuple(_long_scores(table, named_by, kind) if all(is_long) else _wide_scores(table, named_by, kind))
    if not any(score.value is not None for score in scores):
        raise UsageError(f"{table.name}: holds no score; it needs a line for each case, with what readers said")
    _check_readers(table.name, scores)
    return ReaderTable(file=table.name, named_by=named_by, scores=scores)


def read_score(text: str, kind: ScoreKind, *, where: str) -> float | None:
    """A score as a pathologist types it: ``12``, ``12,5``, ``12 %``, ``<1`` (taken as 0.5); None where it is empty.

    Raises
    ------
    UsageError
        It is none, or lies outside of what the score can be; ``where`` begins the message.
    """
    plain = _plain(text)
    if plain in _NOT_READ:
        return None
    match = _SCORE.fullmatch(plain)
    if match is None:
        raise UsageError(f"{where}: {text!r} is no score; write one number, < 1, or nothing where it was not read")
    value = float(match[2].replace(",", "."))
    if not 0 <= value <= kind.top:
        raise UsageError(f"{where}: {text!r} is no {kind.title}, which lies between 0 and {kind.top:g}; mend it")
    if not match[1]:
        return value
    if not 0 < value <= MAX_BOUND:
        raise UsageError(f"{where}: {text!r} may be any of many scores (only < 1 is read); write one number")
    return value / 2


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).lower().translate(_DASHES).split())


def _read(path: Path) -> UserTable:
    try:
        with path.open("rb") as file:
            is_parquet = file.read(len(_PARQUET)) == _PARQUET
    except OSError as error:
        raise UsageError(f"{path.name}: cannot be read ({error.strerror}); check the path") from error
    if is_parquet:
        return _read_parquet(path)
    return read_table(path, one_of=NAME_COLUMNS, optional=(*LONG_COLUMNS, _COLUMN))


def _read_parquet(path: Path) -> UserTable:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(f"{path.name}: no readable Parquet ({str(error).splitlines()[0]}); write it anew") from error
    table = table.drop_columns([name for name in table.column_names if _INDEX.fullmatch(name)])
    known = (*NAME_COLUMNS, *LONG_COLUMNS, _COLUMN)
    columns = [name.lower() if name.lower() in known else name for name in map(str.strip, table.column_names)]
    if not set(columns).intersection(NAME_COLUMNS):
        raise UsageError(f"{path.name}: no column {' or '.join(NAME_COLUMNS)}; it needs one that names the cases")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UsageError(f"{path.name}: two columns {twice[0]!r}; rename one of them")
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    lines = tuple((number, [_as_text(value) for value in row]) for number, row in enumerate(rows, start=1))
    return UserTable(name=path.name, columns=tuple(columns), lines=lines)


def _as_text(value: object) -> str:
    return "" if value is None else str(value)


def _long_scores(table: UserTable, named_by: str, kind: ScoreKind) -> Iterator[ReaderScore]:
    for row in table.rows():
        name, reader = row.cells[named_by].strip(), _plain_name(row.cells["reader"])
        if not name or not reader:
            raise UsageError(f"{row.where}: no {'reader' if name else named_by}; fill it in or remove the line")
        found = _kind_of(row, kind)
        yield _score(row, named_by, name=name, reader=reader, kind=found, text=row.cells["score"])


def _wide_scores(table: UserTable, named_by: str, kind: ScoreKind) -> Iterator[ReaderScore]:
    readers = [name for name in table.columns if name not in (*NAME_COLUMNS, *LONG_COLUMNS, _COLUMN)]
    if not readers:
        raise UsageError(f"{table.name}: no column of a reader beside {named_by!r}; add one for each")
    _check_columns(table, readers)
    for row in table.rows():
        name = row.cells[named_by].strip()
        if not name:
            raise UsageError(f"{row.where}: no {named_by}; fill it in or remove the line")
        found = _kind_of(row, kind)
        for reader in readers:
            text = row.cells[reader]
            where = f"{row.where}, column {reader!r}"
            yield _score(row, named_by, name=name, reader=_plain_name(reader), kind=found, text=text, where=where)


def _check_columns(table: UserTable, readers: Sequence[str]) -> None:
    """Refuse a column of words, such as remarks: it is no reader's."""
    for reader in readers:
        said = [(row.where, row.cells[reader].strip()) for row in table.rows() if row.cells[reader].strip()]
        if said and not any(_plain(text) in _NOT_READ or _SCORE.fullmatch(_plain(text)) for _, text in said):
            where, text = said[0]
            raise UsageError(
                f"{where}, column {reader!r}: {text!r} is no score, nor is anything else in it; take the column out, "
                "each beside the names is a reader's"
            )


def _kind_of(row: TableRow, kind: ScoreKind) -> ScoreKind:
    """The score that a line names, else ``kind``."""
    said = row.cells.get(_COLUMN, "").strip()
    try:
        return find_kind(said) if said else kind
    except UsageError as error:
        raise UsageError(f"{row.where}: {error}") from None


def _score(
    row: TableRow, named_by: str, *, name: str, reader: str, kind: ScoreKind, text: str, where: str = ""
) -> ReaderScore:
    value = read_score(text, kind, where=where or row.where)
    image = row.cells.get("image", "").strip() if named_by != "image" else ""
    return ReaderScore(
        where=row.where, name=name, image=image, reader=reader, kind=kind, value=value, text=text.strip()
    )


def _plain_name(reader: str) -> str:
    return " ".join(unicodedata.normalize("NFC", reader).split())


def _check_readers(file: str, scores: tuple[ReaderScore, ...]) -> None:
    spellings: dict[str, str] = {}
    for score in scores:
        spelling = spellings.setdefault("".join(score.reader.casefold().split()), score.reader)
        if spelling != score.reader:
            raise UsageError(f"{score.where}: reader {score.reader!r} is spelt {spelling!r} above; spell it in one way")
        if score.reader in (PROGRAM, REVIEWED_PROGRAM, MEDIAN, OTHERS):
            raise UsageError(
                f"{file}: a reader cannot be called {score.reader!r}, as a row of the results is; rename it"
            )
