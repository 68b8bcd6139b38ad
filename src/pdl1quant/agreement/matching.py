"""From the names in a table of readers to the rows of ``scores.csv`` that they are of."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from pdl1quant.errors import UsageError
from pdl1quant.slides.cases import folded_case, plain_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pdl1quant.agreement.reader_scores import ReaderScore, ReaderTable
    from pdl1quant.outputs.scores_table import ScoreRow

LEVELS: Final = ("case", "image", "core", "roi")
"""What names may be of, as the column ``level`` of ``scores.csv`` says it; of two that fit as well the first holds."""
_LEVEL_OF_COLUMN: Final = {"case": "case", "image": "image", "core": "core"}
_SHOWN_NAMES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Which row each score is of; ``unmatched`` are the names that no row has, in the order of the table."""

    level: str
    scores: tuple[tuple[ReaderScore, ScoreRow], ...]
    unmatched: tuple[str, ...]
    unread: tuple[ScoreRow, ...]
    """Rows of that level of which no reader said anything."""


def match_names(table: ReaderTable, rows: Sequence[ScoreRow], *, level: str | None = None) -> Matched:
    """Find the row of each score.

    A case is called as in ``scores.csv``, whatever its capitals and spaces; an image by its path below the folder
    given, else by its file name, else by either without the ending; a core or a drawn region by its name, on the slide
    in the column ``image`` where there is one.

    Parameters
    ----------
    table
        What readers said.
    rows
        All rows of the run.
    level
        One of `LEVELS`; None: what the column of the names says, else the one that most names are of.

    Raises
    ------
    UsageError
        No name is of the run, one is of several rows, or a reader scored a row twice. The message tells the line.
    """
    names = {(score.name, score.image): score.where for score in table.scores}
    level = level or _LEVEL_OF_COLUMN.get(table.named_by) or _likeliest(names, rows)
    of_level = [row for row in rows if row.level == level]
    find = _finder(level, of_level)
    found = {key: find(*key) for key in names}
    for key, where in names.items():
        if len(found[key]) > 1:
            raise UsageError(f"{where}: {_told(*key)} is the name of {len(found[key])} {level}s; {_HOW_TO_TELL[level]}")
    if not any(found.values()):
        raise UsageError(_nothing_found(table, of_level, level))
    matched = [(score, each[0]) for score in table.scores if (each := found[score.name, score.image])]
    _refuse_twice(table, found)
    seen = {id(row) for _, row in matched}
    return Matched(
        level=level,
        scores=tuple(matched),
        unmatched=tuple(_told(*key) for key in names if not found[key]),
        unread=tuple(row for row in of_level if id(row) not in seen),
    )


def row_name(row: ScoreRow) -> str:
    """What a row is called in print."""
    if row.level in ("core", "roi"):
        return f"{row.image}: {row.region}"
    return row.image or row.case


_HOW_TO_TELL: Final = {
    "case": "score them apart, or rename one",
    "image": "give its path below the folder",
    "core": "add a column image that names the slide",
    "roi": "add a column image that names the image",
}


def _likeliest(names: Iterable[tuple[str, str]], rows: Sequence[ScoreRow]) -> str:
    """The level that most names are of; of all as few, the first."""
    finders = {level: _finder(level, [row for row in rows if row.level == level]) for level in LEVELS}
    names = list(names)
    return max(LEVELS, key=lambda level: sum(bool(finders[level](*key)) for key in names))


def _finder(level: str, rows: Sequence[ScoreRow]) -> Callable[[str, str], list[ScoreRow]]:
    if level == "case":
        cases = _Index((folded_case(row.case), row) for row in rows)
        return lambda name, _: cases.get(folded_case(name))
    images = _ImageIndex(rows)
    if level == "image":
        return lambda name, _: images.get(name)
    regions = _Index((row.region.casefold(), row) for row in rows)

    def find(name: str, image: str) -> list[ScoreRow]:
        found = regions.get(name.strip().casefold())
        if not image:
            return found
        on_image = {id(row) for row in images.get(image)}
        return [row for row in found if id(row) in on_image]

    return find


class _Index:
    """Rows by a key of theirs."""

    def __init__(self, pairs: Iterable[tuple[str, ScoreRow]]) -> None:
        self._rows: dict[str, list[ScoreRow]] = {}
        for key, row in pairs:
            self._rows.setdefault(key, []).append(row)

    def get(self, key: str) -> list[ScoreRow]:
        return self._rows.get(key, [])


class _ImageIndex:
    """Rows by their image: its path, its file name, and either without the ending, the first that fits."""

    def __init__(self, rows: Sequence[ScoreRow]) -> None:
        paths = [(PurePosixPath(plain_path(row.image)), row) for row in rows]
        self._by = (
            _Index((path.as_posix(), row) for path, row in paths),
            _Index((path.name, row) for path, row in paths),
            _Index((path.with_suffix("").as_posix(), row) for path, row in paths if path.name),
            _Index((path.stem, row) for path, row in paths),
        )

    def get(self, name: str) -> list[ScoreRow]:
        key = plain_path(name.strip())
        return next((found for index in self._by if (found := index.get(key))), [])


def _refuse_twice(table: ReaderTable, found: dict[tuple[str, str], list[ScoreRow]]) -> None:
    """A row that a reader scored twice, under whichever name; the same of names that are of no row."""
    first: dict[tuple[object, ...], ReaderScore] = {}
    for score in table.scores:
        rows = found[score.name, score.image]
        whose: object = id(rows[0]) if rows else (folded_case(score.name), score.image)
        earlier = first.setdefault((whose, score.reader, score.kind.name), score)
        if earlier is not score:
            called = "" if earlier.name == score.name else f", called {earlier.name!r} there"
            raise UsageError(
                f"{score.where}: {score.reader} scored {_told(score.name, score.image)} in "
                f"{earlier.where.rpartition(', ')[2]} already{called}; keep one of them"
            )


def _nothing_found(table: ReaderTable, rows: Sequence[ScoreRow], level: str) -> str:
    names = list(dict.fromkeys(score.name for score in table.scores))
    some = ", ".join([*names[:_SHOWN_NAMES], *(["..."] if len(names) > _SHOWN_NAMES else [])])
    known = list(dict.fromkeys(row.region or row.image or row.case for row in rows))
    near = next((hit[0] for name in names if (hit := difflib.get_close_matches(name, known, n=1))), "")
    held = (
        f"the nearest is {near}" if near else f"those are {', '.join(known[:_SHOWN_NAMES])}" if known else "it has none"
    )
    return f"{table.file}: no name in it ({some}) is among the {level}s of this run; {held}; mend them, or say --level"


def _told(name: str, image: str) -> str:
    return f"{name} on {image}" if image else name
