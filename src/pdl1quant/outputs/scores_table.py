"""The scores of images and cases as CSV: one row each."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from pdl1quant import __version__
from pdl1quant.errors import OutputError
from pdl1quant.model import Status
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.outputs.tables import SCHEMA, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pdl1quant.model import Counts, ResultFlag, Score

DECIMALS = 4
"""Scores are written with this many decimals: finer than one cell in a million of tumour cells can move them."""


class ScoreColumn(NamedTuple):
    """One column of ``scores.csv``; ``dtype`` is text, int, float, bool or list (of texts, joined by ``;``)."""

    name: str
    dtype: str
    unit: str
    description: str


SCORE_COLUMNS: tuple[ScoreColumn, ...] = (
    ScoreColumn(
        "level",
        "text",
        "",
        "what the row is about: `image`, `roi` (a drawn region of it), `core`, `case`; `array`: all cores together of "
        "microarrays, which are no case; or `control`: a negative control (`--negative-control`), in no case",
    ),
    ScoreColumn("image", "text", "", "path of the image relative to the folder given; empty for a case"),
    ScoreColumn(
        "case",
        "text",
        "",
        "the folder of the images, or what the cases table says; of a core what its map says, else empty",
    ),
    ScoreColumn("status", "text", "", "`ok`, `partial`, `no_tissue`, `refused` (a score would be a guess) or `failed`"),
    ScoreColumn("error", "text", "", "why there is no score, or not of all, and what to do"),
    ScoreColumn("region", "text", "", "name of the drawn region or core; empty for images and cases"),
    ScoreColumn(
        "n_cells",
        "int",
        "",
        "all cells found, of any class, those that leave the score too; of a region those in it, without what is drawn "
        "to be left out, and of drawn tumour the immune cells beside it, too",
    ),
    ScoreColumn("n_tumour", "int", "", "viable tumour cells: the denominator of all rates below"),
    ScoreColumn(
        "n_tumour_positive", "int", "", "viable tumour cells positive in score_compartment: the numerator of tps"
    ),
    ScoreColumn("tps", "float", "%", "100 * n_tumour_positive / n_tumour; empty without viable tumour cells"),
    ScoreColumn("score_compartment", "text", "", "where tps looks for brown: which of the four rates below it repeats"),
    ScoreColumn("tps_low", "float", "%", "lower end of the 95 % interval of tps: widest of Wilson, blocks, threshold"),
    ScoreColumn("tps_high", "float", "%", "upper end of that interval"),
    ScoreColumn("tps_membrane", "float", "%", "share of viable tumour cells with a brown membrane"),
    ScoreColumn("tps_cytoplasm", "float", "%", "share with a brown cytoplasm or membrane"),
    ScoreColumn("tps_cytoplasm_only", "float", "%", "share with a brown cytoplasm and no brown membrane"),
    ScoreColumn("tps_cell", "float", "%", "share that is brown on the average of the whole cell"),
    ScoreColumn(
        "cps", "float", "", "positive tumour and immune cells per 100 tumour cells, at most 100; a number, no %"
    ),
    ScoreColumn("cps_low", "float", "", "lower end of the interval of cps that calls are made on; empty without a cps"),
    ScoreColumn("cps_high", "float", "", "upper end of that interval"),
    ScoreColumn(
        "n_immune",
        "int",
        "",
        "viable lymphocytes and macrophages that cps looks at: in tumour or near it; empty without a cps",
    ),
    ScoreColumn(
        "n_immune_positive",
        "int",
        "",
        "those of them that are positive (cytoplasm or membrane, whatever score_compartment is): cps is the smaller of "
        "100 and 100 * (n_tumour_positive + n_immune_positive) / n_tumour",
    ),
    ScoreColumn(
        "ic_area_pct",
        "float",
        "%",
        "positive immune cells in the drawn tumour region: their area per that of its tissue",
    ),
    ScoreColumn("tap_area_pct", "float", "%", "the same of positive tumour and immune cells"),
    ScoreColumn(
        "tissue_mm2",
        "float",
        "mm2",
        "analysed tissue of what is scored, of which dab_area_pct is a share: without glass, pen, folds and other "
        "artefacts of a slide, black pigment and what could not be read; empty without any",
    ),
    ScoreColumn(
        "tumour_cells_mm2",
        "float",
        "1/mm2",
        "n_tumour per tissue_mm2. Cells that leave the score, as those cut by the border, are not in it, their tissue "
        "is; empty without tissue_mm2",
    ),
    ScoreColumn(
        "dab_area_pct",
        "float",
        "%",
        "stained area: share of that tissue, cells or not, whose DAB OD is at or above the threshold t1 of the score. "
        "A research measure of apparent OD, and no TPS; after a change of t1 score again, as only the pixels tell it",
    ),
    ScoreColumn(
        "tumour_dab_area_pct",
        "float",
        "%",
        "the same within viable tumour cells: share of their area that is stained, wherever in the cell, without black "
        "pigment. A research measure, and no TPS; empty without such cells",
    ),
    ScoreColumn(
        "h_score",
        "float",
        "",
        "sum of grade times per cent of tumour cells, 0-300, of the OD in score_compartment; bins, not 1+/2+/3+",
    ),
    ScoreColumn(
        "n_grade_1",
        "int",
        "",
        "viable tumour cells of dab_grade 1 in score_compartment: h_score is 100 * (n_grade_1 + 2 * n_grade_2 + 3 * "
        "n_grade_3) / n_tumour; empty without an h_score",
    ),
    ScoreColumn("n_grade_2", "int", "", "those of grade 2"),
    ScoreColumn("n_grade_3", "int", "", "those of grade 3"),
    ScoreColumn("evaluable", "bool", "", "whether the case has enough viable tumour cells; empty for an image"),
    ScoreColumn(
        "calls", "list", "", "the interval against each cut-off: `TPS >= 1 % (US)`, `CPS indeterminate at 5 (EU)`"
    ),
    ScoreColumn("flags", "list", "", "what a reader of the score has to know, a word each"),
    ScoreColumn("artefact_pct", "float", "%", "spoilt tissue of a slide, left out; empty where nobody looked for it"),
    ScoreColumn(
        "brown_without_cells_pct",
        "float",
        "%",
        "share of the row's brown area that lies in no cell; from 25 on cells were missed",
    ),
    ScoreColumn("mpp", "float", "um", "side of a pixel of the image; empty for a case whose images differ"),
    ScoreColumn("assay", "text", "", "name of the rule pack: how the stain was read"),
    ScoreColumn("schema", "int", "", "number of this set of columns"),
    ScoreColumn("version", "text", "", "version of pdl1quant"),
    ScoreColumn(
        "config_digest", "text", "", "changes with any setting: compare rows of the same one and the same assay only"
    ),
)
"""Columns of ``scores.csv`` in their order; the free columns of the cases table follow."""

_LIST_SEPARATOR = ";"
HOW_TO_RENEW = "a spreadsheet may have changed it: move it away, and score again with --resume, which writes it anew"
"""What to do about a ``scores.csv`` that is not as a run left it."""

_TRUTH = {"": None, "true": True, "false": False}
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # what a spreadsheet would run
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One row of ``scores.csv``; its fields are ``SCORE_COLUMNS``, None where there is nothing to say."""

    level: str
    image: str
    case: str
    status: Status
    error: str = ""
    region: str = ""
    n_cells: int | None = None
    n_tumour: int | None = None
    n_tumour_positive: int | None = None
    tps: float | None = None
    score_compartment: str = ""
    tps_low: float | None = None
    tps_high: float | None = None
    tps_membrane: float | None = None
    tps_cytoplasm: float | None = None
    tps_cytoplasm_only: float | None = None
    tps_cell: float | None = None
    cps: float | None = None
    cps_low: float | None = None
    cps_high: float | None = None
    n_immune: int | None = None
    n_immune_positive: int | None = None
    ic_area_pct: float | None = None
    tap_area_pct: float | None = None
    tissue_mm2: float | None = None
    tumour_cells_mm2: float | None = None
    dab_area_pct: float | None = None
    tumour_dab_area_pct: float | None = None
    h_score: float | None = None
    n_grade_1: int | None = None
    n_grade_2: int | None = None
    n_grade_3: int | None = None
    evaluable: bool | None = None
    calls: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    artefact_pct: float | None = None
    brown_without_cells_pct: float | None = None
    mpp: float | None = None
    assay: str = ""
    schema: int = SCHEMA
    version: str = __version__
    config_digest: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Free columns of the cases table, by name."""


def score_values(counts: Counts, score: Score, *, flags: Iterable[ResultFlag] = ()) -> dict[str, Any]:
    """What counts and a score put into a `ScoreRow`, by field name; ``flags`` come before those of the score."""
    same = [item.name for item in fields(ScoreRow) if item.name in score.__dataclass_fields__]
    return {name: getattr(score, name) for name in same} | {
        "n_cells": counts.n_cells,
        "n_tumour": counts.n_tumour,
        "n_tumour_positive": getattr(counts.positive, score.score_compartment),
        "score_compartment": str(score.score_compartment),
        "calls": tuple(str(call) for call in score.calls),
        "flags": tuple(dict.fromkeys(str(flag) for flag in (*flags, *score.flags))),
    }


def write_scores(rows: Iterable[ScoreRow], path: Path) -> None:
    r"""Write ``scores.csv``: UTF-8, lines end with ``\n``, one header line, the rows in the order given.

    Scores have `DECIMALS` decimals, None is an empty cell, lists are joined by ``;``, truth is ``true`` or ``false``.
    A text that a spreadsheet would run as a formula gets a leading apostrophe; `read_scores` takes it off again.

    Raises
    ------
    OutputError
        A free column has the name of a score column, or the file cannot be written.
    """
    rows = tuple(rows)
    free = tuple(dict.fromkeys(name for row in rows for name in row.extra))
    if taken := sorted({column.name for column in SCORE_COLUMNS}.intersection(free)):
        raise OutputError(f"{path}: a column of the cases table may not be called {taken[0]}; rename it")
    lines = [[column.name for column in SCORE_COLUMNS] + [safe_text(name) for name in free]]
    lines += [
        [cell_text(getattr(row, column.name), column) for column in SCORE_COLUMNS]
        + [safe_text(row.extra.get(name, "")) for name in free]
        for row in rows
    ]
    write_csv(lines, path)


def as_written(text: str) -> str:
    """A text as `write_csv` leaves it: bytes of a file's name that are no UTF-8 become an escape of their value."""
    return text.encode("utf-8", errors="backslashreplace").decode()


def write_csv(lines: Iterable[Sequence[str]], path: Path) -> None:
    """Write texts (`cell_text`) as CSV: UTF-8, atomically."""
    text = "".join(",".join(_quoted(cell) for cell in line) + "\n" for line in lines)
    with replace_atomically(path) as partial:
        partial.write_bytes(text.encode("utf-8", errors="backslashreplace"))


def read_scores(path: Path) -> tuple[ScoreRow, ...]:
    """Read what `write_scores` wrote.

    Raises
    ------
    OutputError
        The file is missing, cut off, or not a ``scores.csv`` of this schema.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OutputError(f"{path}: no readable scores ({first_line(error)}); {HOW_TO_RENEW}") from error
    n_known = len(SCORE_COLUMNS)
    if not lines or lines[0][:n_known] != [column.name for column in SCORE_COLUMNS]:
        raise OutputError(f"{path}: its columns are not those of scores.csv; {HOW_TO_RENEW}")
    free = [_bare(name) for name in lines[0][n_known:]]
    try:
        return tuple(_as_row(line, free) for line in lines[1:])
    except (ValueError, KeyError) as error:
        raise OutputError(f"{path}: damaged ({first_line(error)}); {HOW_TO_RENEW}") from error


def _as_row(line: Sequence[str], free: Sequence[str]) -> ScoreRow:
    if len(line) != len(SCORE_COLUMNS) + len(free):
        raise ValueError(f"a row of {len(line)} cells")
    values = {column.name: cell_value(cell, column) for column, cell in zip(SCORE_COLUMNS, line, strict=False)}
    if values["schema"] != SCHEMA:
        raise ValueError(f"schema {values['schema']} instead of {SCHEMA}")
    values["status"] = Status(values["status"])
    extra = {name: _bare(cell) for name, cell in zip(free, line[len(SCORE_COLUMNS) :], strict=True)}
    return ScoreRow(**values, extra=extra)


def cell_text(value: Any, column: ScoreColumn) -> str:
    """The value as ``scores.csv`` has it."""
    if value is None:
        return ""
    match column.dtype:
        case "float":
            return f"{value:.6g}" if column.name == "mpp" else f"{value:.{DECIMALS}f}"
        case "bool":
            return "true" if value else "false"
        case "int":
            return str(int(value))
        case "list":
            return safe_text(_LIST_SEPARATOR.join(value))
        case _:
            return safe_text(str(value))


def cell_value(cell: str, column: ScoreColumn) -> Any:
    """What `cell_text` wrote; ValueError or KeyError for what it did not."""
    match column.dtype:
        case "text":
            return _bare(cell)
        case "list":
            return tuple(_bare(cell).split(_LIST_SEPARATOR)) if cell else ()
        case "bool":
            return _TRUTH[cell]
        case "int":
            return int(cell) if cell else None
        case _:
            return float(cell) if cell else None


def safe_text(text: str) -> str:
    """The text, with a leading apostrophe where a spreadsheet would run it as a formula; numbers stay as they are."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _bare(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell
