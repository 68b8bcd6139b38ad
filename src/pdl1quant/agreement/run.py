"""A finished run and a table of readers -> how far they agree: two tables, a page, and a few lines."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdl1quant.agreement.matching import LEVELS, match_names
from pdl1quant.agreement.measures import KindAgreement, ScoredCase, measure_agreement
from pdl1quant.agreement.page import agreement_page
from pdl1quant.agreement.reader_scores import KINDS, find_kind, read_reader_scores
from pdl1quant.agreement.tables import write_pairs, write_statistics
from pdl1quant.agreement.wording import summary_lines
from pdl1quant.errors import UsageError
from pdl1quant.model import ResultFlag, Status
from pdl1quant.outputs.claims import refuse_foreign
from pdl1quant.outputs.files import AGREEMENT_NAME, SCORES_NAME, replace_atomically, replace_together
from pdl1quant.report.gather import open_run
from pdl1quant.report.words import FLAG_TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pdl1quant.agreement.matching import Matched
    from pdl1quant.agreement.reader_scores import ReaderScore, ReaderTable, ScoreKind
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.report.gather import ReportRun
    from pdl1quant.review import Results

PAIRS_NAME = "pairs.csv"
STATISTICS_NAME = "statistics.csv"
PAGE_NAME = "agreement.html"
_SCORED = (Status.OK, Status.PARTIAL)
_MIN_SHARES = 5
"""So many scores of a reader that are all between 0 and 1, and not all 0 or 1, look like shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementJob:
    """What is asked for: the results in ``out`` against the scores in the table ``readers``."""

    out: Path
    readers: Path
    folder: Path | None = None
    """Where the files go; None: ``agreement`` in the results."""
    level: str | None = None
    """One of `matching.LEVELS`; None: the one whose names the table has."""
    column: str | None = None
    """Column of ``scores.csv`` that was read, where the table does not say; None: ``tps``."""
    cut_offs: Sequence[float] = ()
    """In the unit of the scores; none: those of the rule pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One row that readers scored and that is not compared, and why."""

    kind: ScoreKind
    row: ScoreRow
    score: float | None
    readers: tuple[tuple[str, float | None, str], ...]
    """Reader, score and what was typed."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a run and readers agree, and what was written."""

    level: str
    file: str
    """Name of the table of readers."""
    agreements: tuple[KindAgreement, ...]
    """One for each score that was read."""
    left_out: tuple[LeftOut, ...]
    unmatched: tuple[str, ...]
    """Names in the table that the run does not have."""
    unread: tuple[ScoreRow, ...]
    """Rows that no reader scored."""
    notes: tuple[str, ...]
    paths: tuple[Path, ...] = ()


def compare_readers(job: AgreementJob, *, say: Callable[[str], None] = lambda _: None) -> Agreement:
    """Measure how far the scores of a run agree with those of readers, and the readers with one another.

    Writes ``pairs.csv``, ``statistics.csv`` and ``agreement.html``, all or none; the same input gives the same bytes.
    It measures agreement on these cases and is no clinical validation.

    Parameters
    ----------
    job
        What is asked for.
    say
        Is told the result in a few lines.

    Returns
    -------
    Agreement
        All that was measured.

    Raises
    ------
    UsageError
        No folder of results, a table that cannot be read or whose names are not of this run, or nothing to compare.
    OutputError
        A result is damaged, or a file cannot be written.
    """
    if job.level is not None and job.level not in LEVELS:
        raise UsageError(f"no level {job.level!r}; choose from {', '.join(LEVELS)}")
    run = open_run(job.out)
    table = read_reader_scores(job.readers, kind=KINDS["tps"] if job.column is None else find_kind(job.column))
    rows = [row for row in run.case_rows if row.level == "case"]
    matched = match_names(table, [*rows, *run.image_rows, *run.region_rows], level=job.level)
    agreements, left_out = _measure(matched, table, run.results, given=job.cut_offs)
    found = Agreement(
        level=matched.level,
        file=table.file,
        agreements=agreements,
        left_out=left_out,
        unmatched=matched.unmatched,
        unread=matched.unread,
        notes=tuple(_notes(table)),
    )
    found = replace(found, paths=_write(run, found, job.folder or job.out / AGREEMENT_NAME))
    for line in (*summary_lines(found), *map(str, found.paths)):
        say(line)
    return found


def _measure(
    matched: Matched, table: ReaderTable, results: Results, *, given: Sequence[float]
) -> tuple[tuple[KindAgreement, ...], tuple[LeftOut, ...]]:
    """Each score that was read: readers who said nothing of it, or only of what is left out, are not in it."""
    agreements: list[KindAgreement] = []
    left_out: list[LeftOut] = []
    for kind in table.kinds:
        cases, rest = _cases_of(kind, matched, table.readers)
        left_out += rest
        columns = [number for number in range(len(table.readers)) if any(_has(case, number) for case in cases)]
        if columns:
            agreements.append(
                measure_agreement(
                    [_of_readers(case, columns) for case in cases],
                    kind=_called(kind, results),
                    readers=[table.readers[number] for number in columns],
                    cut_offs=cut_offs_of(kind, results, given=given),
                )
            )
    if not agreements:
        raise UsageError(f"{table.file}: {_why_nothing(left_out)}; look at {SCORES_NAME} for what was scored")
    return tuple(agreements), tuple(left_out)


def _write(run: ReportRun, found: Agreement, folder: Path) -> tuple[Path, ...]:
    page, pairs, statistics = paths = tuple(folder / name for name in (PAGE_NAME, PAIRS_NAME, STATISTICS_NAME))
    for path in paths:
        refuse_foreign(path)
    with replace_together():
        with replace_atomically(page) as partial:
            partial.write_bytes(agreement_page(run, found).encode("utf-8", errors="backslashreplace"))
        write_pairs(found.agreements, found.left_out, pairs)
        write_statistics(found.agreements, statistics)
    return paths


def cut_offs_of(kind: ScoreKind, results: Results, *, given: Sequence[float] = ()) -> tuple[float, ...]:
    """Cut-offs at which a score is compared: those given, else what the rule pack has for it.

    Of a TPS its reference lines and the indication's cut-offs; of a CPS those of the indication, without one of all
    that the pack knows; of any other score none.

    Raises
    ------
    UsageError
        One that is given lies outside of what the score can be.
    """
    for value in given:
        if not 0 < value <= kind.top:
            raise UsageError(f"cut-off {value:g}: a {kind.title} lies between 0 and {kind.top:g}; give one in there")
    if given:
        return tuple(sorted(set(given)))
    pack = results.pack
    indications = pack.indications if results.indication is None else (results.indication,)
    name = "tps" if kind.name.startswith("tps") else kind.name
    if name == "tps" and results.indication is None:
        indications = ()
    read = {cut_off.value for each in indications for cut_off in each.cut_offs if cut_off.score == name}
    return tuple(sorted(read.union(pack.reference_lines_pct if name == "tps" else ())))


def _called(kind: ScoreKind, results: Results) -> ScoreKind:
    """The score by the name that it may have in print."""
    return replace(kind, title=results.pack.score_name) if kind.name == "tps" else kind


def _cases_of(kind: ScoreKind, matched: Matched, readers: Sequence[str]) -> tuple[list[ScoredCase], list[LeftOut]]:
    by_row: dict[int, tuple[ScoreRow, dict[str, ReaderScore]]] = {}
    for score, row in matched.scores:
        if score.kind is kind:
            by_row.setdefault(id(row), (row, {}))[1][score.reader] = score
    cases, left_out = [], []
    for row, said in by_row.values():
        value = kind.of(row)
        why = why_left_out(row, value)
        if not why and all(score.value is None for score in said.values()):
            why = "no reader scored it"
        if why or value is None:
            read = tuple((score.reader, score.value, score.text) for score in said.values())
            left_out.append(LeftOut(kind=kind, row=row, score=value, readers=read, why=why))
            continue
        numbers = (said[name].value if name in said else None for name in readers)
        cases.append(
            ScoredCase(
                row=row,
                score=value,
                readers=tuple(math.nan if number is None else number for number in numbers),
                texts=tuple(said[name].text if name in said else "" for name in readers),
                marks=_marks(row),
            )
        )
    return cases, left_out


def why_left_out(row: ScoreRow, value: float | None) -> str:
    """Why a row is not compared, in a few words; empty where it is."""
    if row.status not in _SCORED:
        return f"not scored: {row.error or str(row.status).replace('_', ' ')}"
    if row.level != "case" and ResultFlag.DUPLICATE in row.flags:
        return "the same image as another of its case, which counts: give the readers' scores under that name"
    if row.evaluable is False:
        return "not evaluable: fewer viable tumour cells than the assay asks for"
    if value is None:
        return "the run has no such score of it"
    return ""


def _marks(row: ScoreRow) -> tuple[str, ...]:
    flags = row.flags if row.status is not Status.PARTIAL else (*row.flags, str(ResultFlag.PARTIAL))
    known = (name for name in FLAG_TEXTS if name in flags)
    return tuple(name for name in known if FLAG_TEXTS[name].weight == "doubt")


def _has(case: ScoredCase, number: int) -> bool:
    return not math.isnan(case.readers[number])


def _of_readers(case: ScoredCase, columns: Sequence[int]) -> ScoredCase:
    return replace(
        case,
        readers=tuple(case.readers[each] for each in columns),
        texts=tuple(case.texts[each] for each in columns),
    )


def _why_nothing(left_out: Sequence[LeftOut]) -> str:
    reasons = list(dict.fromkeys(each.why for each in left_out))
    return f"nothing to compare, all {len(left_out)} are left out ({'; '.join(reasons[:2])})"


def _notes(table: ReaderTable) -> list[str]:
    """What a person should look at before believing the numbers."""
    notes = []
    for reader in table.readers:
        read = [score for score in table.scores if score.reader == reader and score.kind.unit == "%"]
        values = [score.value for score in read if score.value is not None and not score.text.startswith("<")]
        if len(values) >= _MIN_SHARES and max(values) <= 1 and any(0 < value < 1 for value in values):
            notes.append(f"All scores of {reader} lie between 0 and 1: if these are shares, write them in per cent.")
    n_below = sum(score.text.startswith("<") for score in table.scores)
    if n_below:
        counts = "score written as < 1 (or less) counts" if n_below == 1 else "scores written as < 1 (or less) count"
        notes.append(f"{n_below} {counts} as half of the bound, < 1 as 0.5.")
    n_empty = sum(score.value is None for score in table.scores)
    if n_empty:
        notes.append(f"{n_empty} place{' was' if n_empty == 1 else 's were'} left empty: not read, and in no measure.")
    return notes
