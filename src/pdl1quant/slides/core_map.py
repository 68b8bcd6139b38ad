"""From a map of a microarray (CSV: core, case, and if wanted image, kind and others) to what each core is."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pdl1quant.errors import UsageError
from pdl1quant.slides.cases import NamedImages, check_spelling, folded_case
from pdl1quant.slides.tables import read_table
from pdl1quant.stages.tma import is_core_name, nearest_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from pdl1quant.slides.discover import Found
    from pdl1quant.slides.tables import TableRow

KIND = "kind"


class CoreKind(StrEnum):
    """What a core is to the case that it belongs to."""

    TISSUE = "tissue"
    """Counts for its case."""
    CONTROL = "control"
    """Has a row, and counts for no case."""
    MISSING = "missing"
    """Is known not to be on the slide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedCore:
    """What the map says of one core: its name, its case (empty for some that count for none), the other columns."""

    name: str
    case: str
    kind: CoreKind
    extra: tuple[tuple[str, str], ...] = ()


def read_core_map(
    csv_path: Path, found: Sequence[Found], *, slides: Collection[Path], cases: Mapping[str, str]
) -> dict[Path, tuple[MappedCore, ...]]:
    """Read which core belongs to which case.

    ``core`` (``A-1``) and ``case`` are required (`read_table`). ``kind`` is empty or ``tissue``, ``control`` (counts
    for no case) or ``missing`` (not on the slide); the last two need no case. ``image`` names the slide of each core as
    a table of cases does, and has to be there where the run has more than one slide.

    Parameters
    ----------
    csv_path
        The map.
    found
        The images of this run.
    slides
        Paths of those of them that are whole slides.
    cases
        Names that cases of images have, each with an image of it: a core's case has to be another, and not only by
        capitals or spaces.

    Returns
    -------
    dict
        By the slide's path, the cores in the order of the table. Slides without a line are not in it.

    Raises
    ------
    UsageError
        The map cannot be read, lacks a column, or has a line that names no core, no case, no slide of the run, a core
        that was named already, or a case that images have or that is spelt otherwise above. The message tells the line.
    """
    table = read_table(csv_path, required=("core", "case"), optional=("image", KIND))
    if not slides:
        raise UsageError(f"{table.name}: there is no whole slide in this run that could have cores")
    if "image" not in table.columns and len(slides) > 1:
        raise UsageError(f"{table.name}: one map for {len(slides)} slides; add a column image that names the slide")
    named = NamedImages(found)
    answer: dict[Path, list[MappedCore]] = {}
    first_lines: dict[tuple[Path, str], int] = {}
    spellings: dict[str, str] = {}
    of_images = {folded_case(case): case for case in cases}
    for row in table.rows():
        core = _core(row)
        path = _slide(row, named, slides)
        line = first_lines.setdefault((path, core.name), row.line)
        if line != row.line:
            raise UsageError(f"{row.where}: {core.name} is in line {line} already; keep one of them")
        taken = of_images.get(folded_case(core.case))
        if taken is not None:
            spelt = "" if taken == core.case else f" (spelt {taken!r})"
            raise UsageError(
                f"{row.where}: case {core.case!r} is what the images of {cases[taken]} are called{spelt}; call one "
                "otherwise (--cases names those of images)"
            )
        check_spelling(core.case, spellings, where=row.where)
        answer.setdefault(path, []).append(core)
    if not answer:
        raise UsageError(f"{table.name}: names no core; it needs a line for each")
    return {path: tuple(cores) for path, cores in answer.items()}


def kind_of(columns: Mapping[str, str]) -> CoreKind | None:
    """What a core is by the free columns of its row; None where it says what is no kind."""
    text = columns.get(KIND, "").strip().lower() or CoreKind.TISSUE
    return CoreKind(text) if text in list(CoreKind) else None


def _slide(row: TableRow, named: NamedImages, slides: Collection[Path]) -> Path:
    if "image" not in row.cells:
        return next(iter(slides))
    image = row.cells["image"].strip()
    if not image:
        raise UsageError(f"{row.where}: no image; name the slide that the core is on")
    path = named.path(image, where=row.where)
    if path not in slides:
        raise UsageError(f"{row.where}: {image} is no whole slide, so it has no cores; mend the line")
    return path


def _core(row: TableRow) -> MappedCore:
    extra = {name: text for name, text in row.cells.items() if name != "image"}
    text, case = extra.pop("core").strip(), extra.pop("case").strip()
    if not text:
        raise UsageError(f"{row.where}: no core; fill it in or remove the line")
    name = text.lower() if text.lower().startswith("off-grid") else text.upper()
    if not is_core_name(name):
        near = nearest_name(text)
        hint = f"the nearest is {near}" if near else "a core is called by its row and column, as A-1"
        raise UsageError(f"{row.where}: no core can be called {text}; {hint}")
    kind = kind_of(extra)
    if kind is None:
        text = extra[KIND].strip()
        near_kind = difflib.get_close_matches(text.lower(), list(CoreKind), n=1)
        hint = f"the nearest is {near_kind[0]}" if near_kind else f"it may be {', '.join(CoreKind)}"
        raise UsageError(f"{row.where}: unknown kind {text!r} of {name}; {hint}")
    if not case and kind is CoreKind.TISSUE:
        raise UsageError(f"{row.where}: no case for {name}; fill it in, or say control or missing in column {KIND}")
    return MappedCore(name=name, case=case, kind=kind, extra=tuple(extra.items()))
