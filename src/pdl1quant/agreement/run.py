"""A finished run and a table of readers -> how far they agree: two tables, a page, and a few lines."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdl1quant.agreement.compared import CHOICES, SCORED, Source, refuse_uncounted, review_notes, reviewed_rows
from pdl1quant.agreement.matching import LEVELS, match_names
from pdl1quant.agreement.measures import KindAgreement, ScoredCase, measure_agreement
from pdl1quant.agreement.page import agreement_page
from pdl1quant.agreement.reader_scores import KINDS, find_kind, read_reader_scores
from pdl1quant.agreement.tables import write_pairs, write_statistics
from pdl1quant.agreement.wording import summary_lines
from pdl1quant.errors import UsageError
from pdl1quant.model import ResultFlag, Status
from pdl1quant.outputs.claims import refuse_foreign
from pdl1quant.outputs.compared_scores import AGREEMENT_PAGE_NAME, scores_mark
from pdl1quant.outputs.files import AGREEMENT_NAME, SCORES_NAME, replace_atomically, replace_together
from pdl1quant.outputs.flag_words import FLAG_TEXTS
from pdl1quant.report.gather import open_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pdl1quant.agreement.compared import ReviewedRows
    from pdl1quant.agreement.matching import Matched
    from pdl1quant.agreement.reader_scores import ReaderScore, ReaderTable, ScoreKind
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.report.gather import ReportRun
    from pdl1quant.review import Results

PAIRS_NAME = "pairs.csv"
STATISTICS_NAME = "statistics.csv"
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
    scores: str = "automated"
    """One of `compared.CHOICES`: as the program scored, as a review made them, or both on the same cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One row that readers scored and that is not compared, and why."""

    kind: ScoreKind
    row: ScoreRow
    score: float | None
    readers: tuple[tuple[str, float | None, str], ...]
    """Reader, score and what was typed."""
    why: str
    program: str
    """As of a `KindAgreement`."""
    is_reviewed: bool

    @property
    def is_of_review(self) -> bool:
        """Whether it is left out of the scores of a review."""
        return self.program == Source.REVIEWED.program


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a run and readers agree, and what was written."""

    level: str
    file: str
    """Name of the table of readers."""
    agreements: tuple[KindAgreement, ...]
    """One for each score that was read, of those that were asked for: automated, then reviewed."""
    left_out: tuple[LeftOut, ...]
    unmatched: tuple[str, ...]
    """Names in the table that the run does not have."""
    unread: tuple[ScoreRow, ...]
    """Rows that no reader scored."""
    notes: tuple[str, ...]
    mark: str = ""
    """The tables of scores that were compared, by their hash."""
    paths: tuple[Path, ...] = ()

    def left_out_of(self, agreement: KindAgreement) -> tuple[LeftOut, ...]:
        """What is left out of one of ``agreements``."""
        of = agreement.kind.name, agreement.program
        return tuple(each for each in self.left_out if (each.kind.name, each.program) == of)


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
        No folder of results, a table that cannot be read or whose names are not of this run, nothing to compare, or
        reviewed scores that are not counted, or not from the edits as they are now.
    OutputError
        A result is damaged, or a file cannot be written.
    """
    if job.level is not None and job.level not in LEVELS:
        raise UsageError(f"no level {job.level!r}; choose from {', '.join(LEVELS)}")
    if job.scores not in CHOICES:
        raise UsageError(f"no scores {job.scores!r}; choose from {', '.join(CHOICES)}")
    run = open_run(job.out)
    table = read_reader_scores(job.readers, kind=KINDS["tps"] if job.column is None else find_kind(job.column))
    rows = [row for row in run.case_rows if row.level == "case"]
    matched = match_names(table, [*rows, *run.image_rows, *run.region_rows], level=job.level)
    reviewed, sources = reviewed_rows(run), CHOICES[job.scores]
    if Source.REVIEWED in sources:
        refuse_uncounted(run, [row for _, row in matched.scores], reviewed)
    agreements, left_out = _measure(matched, table, _Scores(run=run, reviewed=reviewed, sources=sources), job.cut_offs)
    found = Agreement(
        level=matched.level,
        file=table.file,
        agreements=agreements,
        left_out=left_out,
        unmatched=matched.unmatched,
        unread=matched.unread,
        notes=(*review_notes(run, agreements, matched.level, reviewed=reviewed), *_notes(table)),
        mark=scores_mark(job.out, with_reviewed=Source.REVIEWED in sources),
    )
    found = replace(found, paths=_write(run, found, job.folder or job.out / AGREEMENT_NAME))
    for line in (*summary_lines(found), *map(str, found.paths)):
        say(line)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scores:
    """Whose scores of a run are compared."""

    run: ReportRun
    reviewed: ReviewedRows
    sources: tuple[Source, ...]

    def sources_of(self, kind: ScoreKind) -> tuple[Source, ...]:
        """Those that have a score; which a review does not count anew is compared as the program scored it."""
        return self.sources if self.reviewed.has(kind) else (Source.AUTOMATED,)

    def refuse(self, kinds: Sequence[ScoreKind]) -> None:
        """Refuse scores that were read and that a review does not count, where nothing else is asked for."""
        rest = [kind.name for kind in kinds if not self.reviewed.has(kind)]
        if rest and Source.AUTOMATED not in self.sources:
            raise UsageError(f"no review counts {rest[0]} anew; compare it with --scores automated")


def _measure(
    matched: Matched, table: ReaderTable, scores: _Scores, given: Sequence[float]
) -> tuple[tuple[KindAgreement, ...], tuple[LeftOut, ...]]:
    """Each score that was read: readers who said nothing of it, or only of what is left out, are not in it."""
    scores.refuse(table.kinds)
    agreements: list[KindAgreement] = []
    left_out: list[LeftOut] = []
    for kind in table.kinds:
        for source in scores.sources_of(kind):
            cases, rest = _cases_of(kind, matched, table.readers, scores=scores, source=source)
            left_out += rest
            columns = [number for number in range(len(table.readers)) if any(_has(case, number) for case in cases)]
            if columns:
                agreements.append(
                    measure_agreement(
                        [_of_readers(case, columns) for case in cases],
                        kind=_called(kind, scores.run.results),
                        readers=[table.readers[number] for number in columns],
                        cut_offs=cut_offs_of(kind, scores.run.results, given=given),
                        program=source.program,
                    )
                )
    if not agreements:
        raise UsageError(f"{table.file}: {_why_nothing(left_out)}; look at {SCORES_NAME} for what was scored")
    return tuple(agreements), tuple(left_out)


def _write(run: ReportRun, found: Agreement, folder: Path) -> tuple[Path, ...]:
    names = (AGREEMENT_PAGE_NAME, PAIRS_NAME, STATISTICS_NAME)
    page, pairs, statistics = paths = tuple(folder / name for name in names)
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


def _cases_of(
    kind: ScoreKind, matched: Matched, readers: Sequence[str], *, scores: _Scores, source: Source
) -> tuple[list[ScoredCase], list[LeftOut]]:
    """What is compared and what is not; of several sources the same cases, for they stand side by side."""
    by_row: dict[int, tuple[ScoreRow, dict[str, ReaderScore]]] = {}
    for score, row in matched.scores:
        if score.kind is kind:
            by_row.setdefault(id(row), (row, {}))[1][score.reader] = score
    cases, left_out = [], []
    for scored, said in by_row.values():
        row = scores.reviewed.row(scored, source)
        value, is_reviewed = kind.of(row), scores.reviewed.is_reviewed(scored)
        why = _why_out(scored, kind, scores)
        if not why and all(score.value is None for score in said.values()):
            why = "no reader scored it"
        if why or value is None:
            read = tuple((score.reader, score.value, score.text) for score in said.values())
            left_out.append(
                LeftOut(
                    kind=kind,
                    row=row,
                    score=value,
                    readers=read,
                    why=why,
                    program=source.program,
                    is_reviewed=is_reviewed,
                )
            )
            continue
        numbers = (said[name].value if name in said else None for name in readers)
        cases.append(
            ScoredCase(
                row=row,
                score=value,
                readers=tuple(math.nan if number is None else number for number in numbers),
                texts=tuple(said[name].text if name in said else "" for name in readers),
                marks=_marks(row),
                is_reviewed=is_reviewed,
                reviewers=scores.reviewed.of[id(scored)].reviewers if is_reviewed else (),
            )
        )
    return cases, left_out


def _why_out(scored: ScoreRow, kind: ScoreKind, scores: _Scores) -> str:
    """Why a row is in none of the comparisons, automated or reviewed; empty where it is in all."""
    for source in scores.sources_of(kind):
        row = scores.reviewed.row(scored, source)
        if why := scores.reviewed.why_uncounted(scored, source) or why_left_out(row, kind.of(row)):
            return why if source is Source.AUTOMATED else f"after the review: {why}"
    return ""


def why_left_out(row: ScoreRow, value: float | None) -> str:
    """Why a row is not compared, in a few words; empty where it is."""
    if row.status not in SCORED:
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
