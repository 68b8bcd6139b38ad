"""A comparison with readers as a page: one file in the look of the report, without scripts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.agreement import wording
from pdl1quant.agreement.matching import row_name
from pdl1quant.agreement.measures import FEW_CASES, Compared
from pdl1quant.agreement.plots import Point, differences, measure_bar, scatter
from pdl1quant.outputs.flag_words import FlagText, flag_text, sorted_flags
from pdl1quant.report.page import rendered_page
from pdl1quant.stages.score import format_interval, format_tps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from pdl1quant.agreement.measures import AtCutOff, KindAgreement, Pair, ScoredCase
    from pdl1quant.agreement.reader_scores import ScoreKind
    from pdl1quant.agreement.run import Agreement
    from pdl1quant.report.gather import ReportRun
    from pdl1quant.validation.agreement import Estimate

_MAX_DRAWN = 12
"""With more readers only the drawing of all together is shown: their numbers are in the tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLine:
    """Two who are compared, as a line of a table; ``few`` says that these are few cases."""

    name: str
    n: int
    few: bool
    bar: Markup
    icc: str
    ccc: str
    mean: str
    limits: str
    spearman: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOffLine:
    """Two who are compared at one cut-off."""

    name: str
    n: int
    counts: tuple[int, int, int, int]
    overall: str
    positive: str
    negative: str
    kappa: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLines:
    """One cut-off: the main pair as a table of four, all pairs as lines, and all readers together."""

    cut_off: str
    main: AtCutOff
    groups: tuple[tuple[str, tuple[CutOffLine, ...]], ...]
    readers_kappa: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLine:
    """One case, what all say of it, and what has to be known of the score."""

    name: str
    score: str
    interval: str
    readers: tuple[str, ...]
    median: str
    difference: str
    marks: tuple[FlagText, ...]
    is_reviewed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One score: drawings and tables."""

    agreement: KindAgreement
    title: str
    icc: str
    readers_icc: str
    scatter: Markup
    differences: Markup
    of_readers: tuple[tuple[str, Markup], ...]
    groups: tuple[tuple[str, tuple[PairLine, ...]], ...]
    all_readers: PairLine | None
    at: tuple[AtLines, ...]
    shared: tuple[FlagText, ...]
    """Marks of every case."""
    cases: tuple[CaseLine, ...]
    left_out: tuple[tuple[str, str], ...]


def agreement_page(run: ReportRun, found: Agreement) -> str:
    """The whole page; every text of a user is escaped."""
    return rendered_page(
        "agreement.html",
        run,
        title="PD-L1 scores and readers",
        found=found,
        sections=[_section(each, found) for each in found.agreements],
        no_validation=wording.IS_NO_VALIDATION,
        explained=wording.METHOD,
        few=FEW_CASES,
        unread=[row_name(row) for row in found.unread],
    )


def _section(agreement: KindAgreement, found: Agreement) -> Section:
    kind, names = agreement.kind, (agreement.program, agreement.reference)
    medians = _points(agreement, [case.median for case in agreement.cases])
    read = [[case.readers[number] for case in agreement.cases] for number in range(len(agreement.readers))]
    is_drawn = 1 < len(agreement.readers) <= _MAX_DRAWN
    shared = agreement.shared_marks
    marked = "further flags" if shared else "flagged"
    everyone = agreement.all_readers
    return Section(
        agreement=agreement,
        title=wording.title_of(agreement, found),
        icc=wording.coefficient(agreement.main.icc),
        readers_icc="" if everyone is None else wording.coefficient(everyone.icc),
        scatter=scatter(medians, kind=kind, names=names, cut_offs=agreement.cut_offs, marked=marked),
        differences=differences(medians, agreement.main.limits, kind=kind, names=names, marked=marked),
        of_readers=tuple(
            (
                name,
                scatter(
                    _points(agreement, scores),
                    kind=kind,
                    names=(agreement.program, name),
                    cut_offs=agreement.cut_offs,
                    marked=marked,
                ),
            )
            for name, scores in zip(agreement.readers, read, strict=True)
            if is_drawn
        ),
        groups=tuple((title, tuple(map(_pair_line, pairs))) for title, pairs in _grouped(agreement.pairs)),
        all_readers=None if everyone is None else _all_line(everyone.icc),
        at=tuple(_at_lines(agreement, number) for number in range(len(agreement.cut_offs))),
        shared=tuple(sorted_flags(tuple(shared))),
        cases=tuple(_case_line(case, kind, shared) for case in sorted(agreement.cases, key=_how_far, reverse=True)),
        left_out=tuple((row_name(each.row), each.why) for each in found.left_out_of(agreement)),
    )


def _points(agreement: KindAgreement, reference: Sequence[float]) -> list[Point]:
    points = []
    for case, value in zip(agreement.cases, reference, strict=True):
        if not math.isnan(value):
            low, high = agreement.kind.interval_of(case.row)
            name, marked = row_name(case.row), not agreement.shared_marks.issuperset(case.marks)
            points.append(Point(name=name, reference=value, score=case.score, low=low, high=high, is_marked=marked))
    return points


def _grouped(pairs: Sequence[Pair]) -> list[tuple[str, list[Pair]]]:
    groups = [(title, [pair for pair in pairs if pair.compared is each]) for each, title in _TITLES]
    return [(title, found) for title, found in groups if found]


_TITLES: tuple[tuple[Compared, str], ...] = tuple(wording.COMPARED_TITLES.items())


def _pair_line(pair: Pair) -> PairLine:
    estimates = (pair.icc, pair.ccc, pair.limits.mean, pair.spearman)
    return PairLine(
        name=wording.pair_name(pair),
        n=pair.n,
        few=pair.n < FEW_CASES,
        bar=measure_bar(pair.icc),
        icc=wording.coefficient(pair.icc),
        ccc=wording.coefficient(pair.ccc),
        mean=wording.difference(pair.limits.mean),
        limits=wording.limits_text(pair.limits),
        spearman=wording.coefficient(pair.spearman),
        why=_reasons(estimates),
    )


def _all_line(icc: Estimate) -> PairLine:
    return PairLine(
        name="All readers at once",
        n=icc.n,
        few=icc.n < FEW_CASES,
        bar=measure_bar(icc),
        icc=wording.coefficient(icc),
        ccc="",
        mean="",
        limits="",
        spearman="",
        why=_reasons((icc,)),
    )


def _at_lines(agreement: KindAgreement, number: int) -> AtLines:
    everyone = agreement.all_readers
    return AtLines(
        cut_off=f"{agreement.cut_offs[number]:g}{f' {agreement.kind.unit}' if agreement.kind.unit else ''}",
        main=agreement.main.at[number],
        groups=tuple(
            (title, tuple(_cut_off_line(pair, pair.at[number]) for pair in pairs))
            for title, pairs in _grouped(agreement.pairs)
        ),
        readers_kappa="" if everyone is None else wording.coefficient(everyone.kappas[number][1]),
    )


def _cut_off_line(pair: Pair, at: AtCutOff) -> CutOffLine:
    table = at.table
    return CutOffLine(
        name=wording.pair_name(pair),
        n=pair.n,
        counts=(table.both, table.first_only, table.second_only, table.neither),
        overall=wording.percentage(at.overall),
        positive=wording.percentage(at.positive),
        negative=wording.percentage(at.negative),
        kappa=wording.coefficient(at.kappa),
        why=_reasons((at.overall, at.positive, at.negative, at.kappa)),
    )


def _reasons(estimates: Sequence[Estimate]) -> str:
    return "; ".join(dict.fromkeys(each.why for each in estimates if each.why))


def _case_line(case: ScoredCase, kind: ScoreKind, shared: frozenset[str]) -> CaseLine:
    away = case.score - case.median
    low, high = kind.interval_of(case.row)
    return CaseLine(
        name=row_name(case.row),
        score=format_tps(case.score),
        interval=format_interval(low, high, dash="\N{EN DASH}"),
        readers=tuple(
            "\N{EN DASH}" if math.isnan(value) else text for value, text in zip(case.readers, case.texts, strict=True)
        ),
        median="\N{EN DASH}" if math.isnan(case.median) else format_tps(case.median),
        difference="\N{EN DASH}" if math.isnan(away) else wording.signed(away),
        marks=tuple(flag_text(name) for name in case.marks if name not in shared),
        is_reviewed=case.is_reviewed,
    )


def _how_far(case: ScoredCase) -> float:
    away = abs(case.score - case.median)
    return -1.0 if math.isnan(away) else away
