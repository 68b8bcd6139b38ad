"""From a table of cases (CSV: image, case, and any other columns) to a case for each image."""

from __future__ import annotations

import difflib
import posixpath
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.errors import UsageError
from pdl1quant.slides.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pdl1quant.slides.discover import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """What the table says about one image: its case, and the other columns as text, unchanged."""

    case: str
    extra: Mapping[str, str]


def read_cases(csv_path: Path, found: Sequence[Found], *, controls: Sequence[Found] = ()) -> dict[Path, CaseRow]:
    """Read which image belongs to which case.

    ``image`` and ``case`` are required (`read_table`). An image is named by its path below the folder given, else by
    its file name, or its whole path. Images that the table leaves out are not in the answer.

    Parameters
    ----------
    csv_path
        The table.
    found
        The images of this run.
    controls
        Negative controls that are not among them; one may be named with its folder, too.

    Returns
    -------
    dict
        By the image's path.

    Raises
    ------
    UsageError
        The table cannot be read, lacks a column, names no case or spells one in two ways, or names an image that is
        unknown, ambiguous or already taken. The message tells the line.
    """
    table = read_table(csv_path, required=("image", "case"))
    named = NamedImages(found, controls)
    answer: dict[Path, CaseRow] = {}
    first_lines: dict[Path, int] = {}
    spellings: dict[str, str] = {}
    for row in table.rows():
        extra = dict(row.cells)
        image, case = extra.pop("image").strip(), extra.pop("case").strip()
        if not image or not case:
            raise UsageError(f"{row.where}: no {'case' if image else 'image'}; fill it in or remove the line")
        path = named.path(image, where=row.where)
        if path in answer:
            raise UsageError(f"{row.where}: {image} is in line {first_lines[path]} already; keep one of them")
        check_spelling(case, spellings, where=row.where)
        answer[path] = CaseRow(case=case, extra=extra)
        first_lines[path] = row.line
    return answer


def check_spelling(case: str, spellings: dict[str, str], *, where: str) -> None:
    """Refuse a case that is spelt otherwise above, for its images would be those of two; ``where`` begins the message.

    ``spellings``, by `folded_case`, are those so far; it is added.

    Raises
    ------
    UsageError
        It is.
    """
    spelling = spellings.setdefault(folded_case(case), case)
    if spelling != case:
        raise UsageError(f"{where}: case {case!r} is spelt {spelling!r} above; spell it in one way")


def folded_case(case: str) -> str:
    """What spellings of a case have in common that a person takes for the same: capitals and spaces do not matter."""
    return "".join(unicodedata.normalize("NFKC", case).casefold().split())


class NamedImages:
    """The images of a run as a table names them: by the path below the folder, by the name of the file, or all of it.

    What names no image may name a control, by the same, and by its folder and name.
    """

    def __init__(self, found: Sequence[Found], controls: Sequence[Found] = ()) -> None:
        self._ways = (
            _index((plain_path(str(item.relative)), item.path) for item in found),
            _index((plain_path(item.path.name), item.path) for item in found),
            _index((plain_path(str(item.path.absolute())), item.path) for item in found),
            _index((plain_path(str(item.relative)), item.path) for item in controls),
            _index((plain_path(f"{item.path.parent.name}/{item.path.name}"), item.path) for item in controls),
            _index((plain_path(item.path.name), item.path) for item in controls),
        )

    def path(self, image: str, *, where: str) -> Path:
        """The image that is called so; ``where`` begins the message of an error.

        Raises
        ------
        UsageError
            There is none, or more than one.
        """
        key = plain_path(image)
        paths = next((way[key] for way in self._ways if key in way), [])
        if len(paths) > 1:
            raise UsageError(f"{where}: {image} is the name of {len(paths)} images; give its path below the folder")
        if not paths:
            names = [name for way in self._ways for name in way]
            alike = [name for name in names if {_bare(name), name.casefold()} & {_bare(key), key.casefold()}]
            near = difflib.get_close_matches(key, alike or names, n=1, cutoff=0 if alike else 0.6)
            hint = f"the nearest is {near[0]}" if near else "remove the line or add the image"
            raise UsageError(f"{where}: no image {image} in this run; {hint}")
        return paths[0]


def _index(pairs: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    index: dict[str, list[Path]] = {}
    for key, path in pairs:
        index.setdefault(key, []).append(path)
    return index


def _bare(image: str) -> str:
    """A name without its ending, capitals alike."""
    return posixpath.splitext(image.casefold())[0]


def plain_path(image: str) -> str:
    """One spelling for the path of an image: forward slashes, no leading ``./``, composed letters."""
    return unicodedata.normalize("NFC", image.replace("\\", "/")).removeprefix("./")
