"""From a table of cases (CSV: image, case, and any other columns) to a case for each image."""

from __future__ import annotations

import csv
import difflib
import io
import unicodedata
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from pdl1quant.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pdl1quant.slides.discover import Found

_REQUIRED: Final = ("image", "case")
_DELIMITERS: Final = (",", ";", "\t")
_MAX_HEADER: Final = 100_000
"""Characters; ``csv`` refuses fields that are longer than 131,072."""

_Line: TypeAlias = tuple[int, list[str]]
"""Number of a line of the file, and its cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """What the table says about one image: its case, and the other columns as text, unchanged."""

    case: str
    extra: Mapping[str, str]


def read_cases(csv_path: Path, found: Sequence[Found]) -> dict[Path, CaseRow]:
    """Read which image belongs to which case.

    UTF-8 with or without byte-order mark, or UTF-16 with one; columns separated by ``,``, ``;`` or tabs; ``image`` and
    ``case`` are required and found whatever their capitals; columns without name and content are passed over. An image
    is named by its path below the folder given, else by its file name. Images that the table leaves out are not in the
    answer.

    Parameters
    ----------
    csv_path
        The table.
    found
        The images of this run.

    Returns
    -------
    dict
        By the image's path.

    Raises
    ------
    UsageError
        The table cannot be read, lacks a column, names no case, or names an image that is unknown, ambiguous or
        already taken. The message tells the line.
    """
    name = csv_path.name
    columns, rows = _parse(name, _read_text(csv_path))
    by_relative = _index((_plain(str(item.relative)), item.path) for item in found)
    by_name = _index((_plain(item.path.name), item.path) for item in found)
    answer: dict[Path, CaseRow] = {}
    first_lines: dict[Path, int] = {}
    for line, cells in rows:
        if len(cells) != len(columns):
            raise UsageError(
                f"{name}, line {line}: {len(cells)} columns, the header has {len(columns)}; quote the text"
            )
        row = dict(zip(columns, cells, strict=True))
        image, case = row.pop("image").strip(), row.pop("case").strip()
        if not image or not case:
            raise UsageError(f"{name}, line {line}: no {'case' if image else 'image'}; fill it in or remove the line")
        path = _match(f"{name}, line {line}", image, by_relative, by_name)
        if path in answer:
            raise UsageError(f"{name}, line {line}: {image} is in line {first_lines[path]} already; keep one of them")
        answer[path] = CaseRow(case=case, extra=row)
        first_lines[path] = line
    return answer


def _read_text(csv_path: Path) -> str:
    try:
        content = csv_path.read_bytes()
        text = content.decode("utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except OSError as error:
        raise UsageError(f"{csv_path.name}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{csv_path.name}: not UTF-8 text; save it as CSV UTF-8") from error
    said, _, rest = text.partition("\n")
    return f"\n{rest}" if said.lower().startswith("sep=") else text  # a line that Excel writes and reads


def _parse(name: str, text: str) -> tuple[list[str], list[_Line]]:
    """Names of the columns, and each row that is not empty with its line number."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: not CSV ({error}); save it as CSV UTF-8") from error
    if not lines:
        raise UsageError(f"{name}: empty; it needs the columns image and case")
    columns = [_column(cell) for cell in lines[0][1]]
    for required in _REQUIRED:
        if required not in columns:
            raise UsageError(f"{name}, line {lines[0][0]}: no column {required!r}; it needs the columns image and case")
    lines = _without_empty_columns(columns, lines)
    columns = [column for column in columns if column]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise UsageError(f"{name}, line {lines[0][0]}: two columns {twice[0]!r}; rename one of them")
    return columns, lines[1:]


def _delimiter(text: str) -> str:
    """The one of which the header has the columns that are needed; spreadsheets write any of three."""
    header = text.lstrip()[:_MAX_HEADER].splitlines()[:1]
    for delimiter in _DELIMITERS:
        columns = {_column(cell) for cells in csv.reader(header, delimiter=delimiter) for cell in cells}
        if columns.issuperset(_REQUIRED):
            return delimiter
    return _DELIMITERS[0]


def _without_empty_columns(columns: Sequence[str], lines: Sequence[_Line]) -> list[_Line]:
    """Rows without the columns that have no name and hold nothing: spreadsheets leave such behind."""
    kept = [
        at
        for at in range(max(len(cells) for _, cells in lines))
        if any(columns[at : at + 1]) or any(cell.strip() for _, cells in lines for cell in cells[at : at + 1])
    ]
    return [(line, [cells[at] for at in kept if at < len(cells)]) for line, cells in lines]


def _column(cell: str) -> str:
    cell = cell.strip()
    return cell.lower() if cell.lower() in _REQUIRED else cell


def _index(pairs: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    index: dict[str, list[Path]] = {}
    for key, path in pairs:
        index.setdefault(key, []).append(path)
    return index


def _match(where: str, image: str, by_relative: Mapping[str, list[Path]], by_name: Mapping[str, list[Path]]) -> Path:
    key = _plain(image)
    paths = by_relative.get(key) or by_name.get(key) or []
    if len(paths) > 1:
        raise UsageError(f"{where}: {image} is the name of {len(paths)} images; give its path below the folder")
    if not paths:
        near = difflib.get_close_matches(key, [*by_relative, *by_name], n=1)
        hint = f"the nearest is {near[0]}" if near else "remove the line or add the image"
        raise UsageError(f"{where}: no image {image} in this run; {hint}")
    return paths[0]


def _plain(image: str) -> str:
    """One spelling for a path: forward slashes, no leading ``./``, composed letters."""
    return unicodedata.normalize("NFC", image.replace("\\", "/")).removeprefix("./")
