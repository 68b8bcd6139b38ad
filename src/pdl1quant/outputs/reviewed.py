"""``scores_reviewed.csv``: what the run said and what the review makes of it, side by side."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant import __version__
from pdl1quant.errors import OutputError
from pdl1quant.model import Status
from pdl1quant.outputs.columns_page import columns_table
from pdl1quant.outputs.scores_table import ScoreColumn, ScoreRow, cell_text, cell_value, write_csv
from pdl1quant.outputs.tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

REVIEWED_COLUMNS: tuple[ScoreColumn, ...] = (
    ScoreColumn(
        "level", "text", "", "image, roi (a drawn region), core or case; array: all cores of microarrays, no case"
    ),
    ScoreColumn("image", "text", "", "path of the image as in scores.csv; empty for a case"),
    ScoreColumn("case", "text", "", "its case"),
    ScoreColumn("status", "text", "", "as in scores.csv; failed where the edits cannot be applied"),
    ScoreColumn("error", "text", "", "why there is no score, or what of the ledger was not applied"),
    ScoreColumn("region", "text", "", "name of the drawn region or core; else empty"),
    ScoreColumn("tps", "float", "%", "automated, as in scores.csv"),
    ScoreColumn("tps_low", "float", "%", "lower end of its interval"),
    ScoreColumn("tps_high", "float", "%", "upper end of its interval"),
    ScoreColumn("n_tumour", "int", "", "its denominator"),
    ScoreColumn("n_tumour_positive", "int", "", "its numerator"),
    ScoreColumn("reviewed_tps", "float", "%", "TPS after all edits that hold"),
    ScoreColumn("reviewed_tps_low", "float", "%", "lower end of its interval"),
    ScoreColumn("reviewed_tps_high", "float", "%", "upper end of its interval"),
    ScoreColumn("reviewed_n_tumour", "int", "", "its denominator"),
    ScoreColumn("reviewed_n_tumour_positive", "int", "", "its numerator"),
    ScoreColumn("n", "int", "", "cells counted after the review"),
    ScoreColumn("cps", "float", "", "automated"),
    ScoreColumn("cps_low", "float", "", "lower end of its interval"),
    ScoreColumn("cps_high", "float", "", "upper end of its interval"),
    ScoreColumn("n_immune", "int", "", "immune cells that it looks at, as in scores.csv"),
    ScoreColumn("n_immune_positive", "int", "", "the positive ones of them"),
    ScoreColumn("reviewed_cps", "float", "", "after all edits that hold"),
    ScoreColumn("reviewed_cps_low", "float", "", "lower end of its interval"),
    ScoreColumn("reviewed_cps_high", "float", "", "upper end of its interval"),
    ScoreColumn("reviewed_n_immune", "int", "", "immune cells that it looks at"),
    ScoreColumn("reviewed_n_immune_positive", "int", "", "the positive ones of them"),
    ScoreColumn("h_score", "float", "", "automated"),
    ScoreColumn("n_grade_1", "int", "", "tumour cells of grade 1 in it, as in scores.csv"),
    ScoreColumn("n_grade_2", "int", "", "of grade 2"),
    ScoreColumn("n_grade_3", "int", "", "of grade 3"),
    ScoreColumn("reviewed_h_score", "float", "", "after all edits that hold"),
    ScoreColumn("reviewed_n_grade_1", "int", "", "tumour cells of grade 1 in it"),
    ScoreColumn("reviewed_n_grade_2", "int", "", "of grade 2"),
    ScoreColumn("reviewed_n_grade_3", "int", "", "of grade 3"),
    ScoreColumn("tumour_cells_mm2", "float", "1/mm2", "automated: viable tumour cells per mm2 of the tissue"),
    ScoreColumn(
        "reviewed_tumour_cells_mm2",
        "float",
        "1/mm2",
        "after all edits that hold, of the tissue of the run; empty with a region of the review",
    ),
    ScoreColumn("dab_area_pct", "float", "%", "automated: stained share of the tissue, a research measure and no TPS"),
    ScoreColumn(
        "reviewed_dab_area_pct",
        "float",
        "%",
        "edits of cells do not move it; empty with a region of the review, for its pixels are not looked at again",
    ),
    ScoreColumn(
        "tumour_dab_area_pct", "float", "%", "automated: stained share of viable tumour cells, at the t1 of the run"
    ),
    ScoreColumn(
        "reviewed_tumour_dab_area_pct",
        "float",
        "%",
        "after all edits that hold, by what was measured of each cell at the t1 of the run; a moved t1 does not show",
    ),
    ScoreColumn("brown_without_cells_pct", "float", "%", "automated: share of an image's brown area in no cell"),
    ScoreColumn(
        "reviewed_brown_without_cells_pct",
        "float",
        "%",
        "after the cells that were added in the viewer; empty with a region of the review, or where the run is older",
    ),
    ScoreColumn("reviewed_evaluable", "bool", "", "whether the reviewed case has enough viable tumour cells"),
    ScoreColumn("calls", "list", "", "automated"),
    ScoreColumn("reviewed_calls", "list", "", "of the reviewed case; none where a threshold was moved on it"),
    ScoreColumn("reviewed_flags", "list", "", "what a reader of the reviewed score has to know"),
    ScoreColumn("n_edits", "int", "", "changes that hold, of a region or core its own; one may concern many cells"),
    ScoreColumn("reviewers", "list", "", "who wrote to the ledger"),
    ScoreColumn(
        "own_scores", "list", "", "TPS of an image that reviewers gave by eye; blind: before they saw the machine's"
    ),
    ScoreColumn("signed", "list", "", "who signed it as it is now; a change takes signatures away"),
    ScoreColumn("locked", "bool", "", "whether edits are refused until the case is amended"),
    ScoreColumn("edits_sha256", "text", "", "hash of the ledger of the image that was counted; empty without edits"),
    ScoreColumn("schema", "int", "", "number of this set of columns"),
    ScoreColumn("version", "text", "", "version of pdl1quant that recounted"),
    ScoreColumn("config_digest", "text", "", "as in scores.csv"),
)
"""Columns of ``scores_reviewed.csv`` in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedRow:
    """One row of ``scores_reviewed.csv``; its fields are ``REVIEWED_COLUMNS``, None where there is nothing to say."""

    level: str
    image: str
    case: str
    status: Status
    error: str = ""
    region: str = ""
    tps: float | None = None
    tps_low: float | None = None
    tps_high: float | None = None
    n_tumour: int | None = None
    n_tumour_positive: int | None = None
    reviewed_tps: float | None = None
    reviewed_tps_low: float | None = None
    reviewed_tps_high: float | None = None
    reviewed_n_tumour: int | None = None
    reviewed_n_tumour_positive: int | None = None
    n: int | None = None
    cps: float | None = None
    cps_low: float | None = None
    cps_high: float | None = None
    n_immune: int | None = None
    n_immune_positive: int | None = None
    reviewed_cps: float | None = None
    reviewed_cps_low: float | None = None
    reviewed_cps_high: float | None = None
    reviewed_n_immune: int | None = None
    reviewed_n_immune_positive: int | None = None
    h_score: float | None = None
    n_grade_1: int | None = None
    n_grade_2: int | None = None
    n_grade_3: int | None = None
    reviewed_h_score: float | None = None
    reviewed_n_grade_1: int | None = None
    reviewed_n_grade_2: int | None = None
    reviewed_n_grade_3: int | None = None
    tumour_cells_mm2: float | None = None
    reviewed_tumour_cells_mm2: float | None = None
    dab_area_pct: float | None = None
    reviewed_dab_area_pct: float | None = None
    tumour_dab_area_pct: float | None = None
    reviewed_tumour_dab_area_pct: float | None = None
    brown_without_cells_pct: float | None = None
    reviewed_brown_without_cells_pct: float | None = None
    reviewed_evaluable: bool | None = None
    calls: tuple[str, ...] = ()
    reviewed_calls: tuple[str, ...] = ()
    reviewed_flags: tuple[str, ...] = ()
    n_edits: int | None = None
    reviewers: tuple[str, ...] = ()
    own_scores: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()
    locked: bool | None = None
    edits_sha256: str = ""
    schema: int = SCHEMA
    version: str = __version__
    config_digest: str = ""


_AS_RECOUNTED = ("status", "error", "schema", "version")
"""What a reviewed row says of the recount, though the row of the run has columns of these names."""
AUTOMATED_FIELDS = tuple(
    column.name
    for column in REVIEWED_COLUMNS
    if column.name in ScoreRow.__dataclass_fields__ and column.name not in _AS_RECOUNTED
)
"""What a reviewed row repeats of the row of the run that was reviewed."""


def write_reviewed(rows: Iterable[ReviewedRow], path: Path) -> None:
    """Write ``scores_reviewed.csv``, atomically; the conventions are those of ``scores.csv``.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    lines = [[column.name for column in REVIEWED_COLUMNS]]
    lines += [[cell_text(getattr(row, column.name), column) for column in REVIEWED_COLUMNS] for row in rows]
    write_csv(lines, path)


def read_reviewed(path: Path) -> tuple[ReviewedRow, ...]:
    """Read what `write_reviewed` wrote.

    Raises
    ------
    OutputError
        The file is missing, cut off, or not a ``scores_reviewed.csv`` of this schema.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns = [next(column for column in REVIEWED_COLUMNS if column.name == name) for name in header]
        rows = [
            {column.name: cell_value(cell, column) for column, cell in zip(columns, line, strict=True)}
            for line in lines
        ]
        return tuple(ReviewedRow(**{**row, "status": Status(row["status"])}) for row in rows)
    except (OSError, ValueError, KeyError, TypeError, StopIteration, csv.Error) as error:
        raise OutputError(f"{path}: no readable reviewed scores ({error}); run pdl1quant rescore again") from error


def reviewed_markdown() -> str:
    """Text of ``docs/columns_reviewed.md``."""
    head = [
        "# Columns of `scores_reviewed.csv`",
        "",
        "Written by `pdl1quant.outputs.reviewed.reviewed_markdown`; change the schema, not this page.",
        "",
        "A row per image, drawn region and core, then per case: what the run said and what the [review](review.md)",
        "makes of it, side by side. Written by `pdl1quant rescore`; conventions as in [`scores.csv`](columns.md).",
    ]
    return "\n".join([*head, "", *columns_table(REVIEWED_COLUMNS), ""])
