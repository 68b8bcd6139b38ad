"""Tables that a person wrote, as spreadsheets save them: text of a CSV, line by line, with its columns checked."""

from __future__ import annotations

import csv
import io
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from pdl1quant.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

_DELIMITERS: Final = (",", ";", "\t")
_MAX_HEADER: Final = 100_000
"""Characters; ``csv`` refuses fields that are longer than 131,072."""
_WORKBOOK: Final = b"PK\3\4"
"""First bytes of what spreadsheets save when nobody asks for CSV."""

_Line: TypeAlias = tuple[int, list[str]]
"""Number of a line of the file, and its cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One line that is not empty: ``where`` names file and line for errors; ``cells`` are by column, unchanged."""

    where: str
    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTable:
    """A table: its columns, of which those asked for are in small letters, and its lines."""

    name: str
    columns: tuple[str, ...]
    lines: tuple[_Line, ...]

    def rows(self) -> Iterator[TableRow]:
        """The lines in their order.

        Raises
        ------
        UsageError
            A line has more or fewer columns than the header.
        """
        for line, cells in self.lines:
            where = f"{self.name}, line {line}"
            if len(cells) != len(self.columns):
                raise UsageError(f"{where}: {len(cells)} columns, the header has {len(self.columns)}; quote the text")
            yield TableRow(where=where, line=line, cells=dict(zip(self.columns, cells, strict=True)))


def read_table(
    csv_path: Path, *, required: Sequence[str] = (), one_of: Sequence[str] = (), optional: Sequence[str] = ()
) -> UserTable:
    """Read a table: UTF-8 with or without byte-order mark, or UTF-16 with one; separated by ``,``, ``;`` or tabs.

    Columns without a name are passed over: empty ones, and the first one, whatever it holds.

    Parameters
    ----------
    csv_path
        The table.
    required, one_of, optional
        Columns that are found whatever their capitals; the first ones have to be there, and one of the second.

    Raises
    ------
    UsageError
        It cannot be read, is no CSV, lacks a column, has one twice or one without a name that holds something. The
        message tells the line.
    """
    name = csv_path.name
    text = _text(csv_path)
    needs = f"it needs the columns {' and '.join(required)}" if required else f"it needs a column {' or '.join(one_of)}"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, required, one_of), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: not CSV ({error}); save it as CSV UTF-8") from error
    if not lines:
        raise UsageError(f"{name}: empty; {needs}")
    where = f"{name}, line {lines[0][0]}"
    columns = [_column(cell, {*required, *one_of, *optional}) for cell in lines[0][1]]
    for column in required:
        if column not in columns:
            raise UsageError(f"{where}: no column {column!r}; {needs}")
    if one_of and not set(columns).intersection(one_of):
        raise UsageError(f"{where}: no column {' or '.join(one_of)}; call the one with the names so")
    lines = _without_nameless_columns(name, columns, lines)
    columns = [column for column in columns if column]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise UsageError(f"{where}: two columns {twice[0]!r}; rename one of them")
    return UserTable(name=name, columns=tuple(columns), lines=tuple(lines[1:]))


def _text(csv_path: Path) -> str:
    name = csv_path.name
    try:
        content = csv_path.read_bytes()
        if content.startswith(_WORKBOOK):
            raise UsageError(f"{name}: a workbook or an archive; save it as CSV UTF-8")
        text = content.decode("utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except OSError as error:
        raise UsageError(f"{name}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not UTF-8 text; save it as CSV UTF-8") from error
    said, _, rest = text.partition("\n")
    return f"\n{rest}" if said.lower().startswith("sep=") else text  # a line that Excel writes and reads


def _delimiter(text: str, required: Sequence[str], one_of: Sequence[str]) -> str:
    """The one of which the header has the columns that are needed; spreadsheets write any of three."""
    header = text.lstrip()[:_MAX_HEADER].splitlines()[:1]
    known = (*required, *one_of)
    for delimiter in _DELIMITERS:
        columns = {_column(cell, known) for cells in csv.reader(header, delimiter=delimiter) for cell in cells}
        if columns.issuperset(required) and (not one_of or columns.intersection(one_of)):
            return delimiter
    return _DELIMITERS[0]


def _without_nameless_columns(name: str, columns: Sequence[str], lines: Sequence[_Line]) -> list[_Line]:
    """Rows without the columns that have no name: empty ones, and the first, in which R and pandas number the rows.

    Beyond the header there are no columns; that a row has more than the header is told later.
    """
    kept = []
    for at in range(max(len(cells) for _, cells in lines)):
        holding = next((line for line, cells in lines if "".join(cells[at : at + 1]).strip()), None)
        if any(columns[at : at + 1]) or (holding is not None and at >= len(columns)):
            kept.append(at)
        elif at and holding is not None:
            raise UsageError(f"{name}, line {holding}: column {at + 1} has no name in the header; name it or empty it")
    return [(line, [cells[at] for at in kept if at < len(cells)]) for line, cells in lines]


def _column(cell: str, known: Collection[str]) -> str:
    cell = cell.strip()
    return cell.lower() if cell.lower() in known else cell
