"""The two tables of a comparison as CSV: a row per case and reader, and a row per measure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pdl1quant.agreement.measures import FEW_CASES, Compared
from pdl1quant.outputs.claims import PAIRS_HEADER, STATISTICS_HEADER
from pdl1quant.outputs.scores_table import safe_text, write_csv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pdl1quant.agreement.measures import AllReaders, KindAgreement, Pair, ScoredCase
    from pdl1quant.agreement.run import LeftOut
    from pdl1quant.validation.agreement import Estimate

PAIRS_COLUMNS: Final = (
    *PAIRS_HEADER.split(","),
    "score_low",
    "score_high",
    "reader_score",
    "as_typed",
    "difference",
    "readers_median",
    "n_readers",
    "marks",
    "flags",
    "left_out",
    "scores",
    "reviewed",
)
STATISTICS_COLUMNS: Final = (
    *STATISTICS_HEADER.split(","),
    "cut_off",
    "estimate",
    "low",
    "high",
    "n",
    "note",
    "scores",
    "n_reviewed",
)
ALL_READERS: Final = "all readers"
_DECIMALS: Final = 4


def write_pairs(agreements: Iterable[KindAgreement], left_out: Iterable[LeftOut], path: Path) -> None:
    """Write a row for each case and reader, those that are left out at the end with the reason."""
    lines = [list(PAIRS_COLUMNS)]
    for agreement in agreements:
        lines += [line for case in agreement.cases for line in _case_lines(agreement, case)]
    lines += [line for each in left_out for line in _left_out_lines(each)]
    write_csv([lines[0], *([safe_text(cell) for cell in line] for line in lines[1:])], path)


def write_statistics(agreements: Iterable[KindAgreement], path: Path) -> None:
    """Write a row for each measure of each two who are compared, and of all readers together."""
    lines = [list(STATISTICS_COLUMNS)]
    for agreement in agreements:
        found = [line for pair in agreement.pairs for line in _pair_lines(pair)]
        if agreement.all_readers is not None:
            found += _all_lines(agreement.all_readers)
        source = [_source(is_of_review=agreement.is_of_review), str(agreement.n_reviewed)]
        lines += [[agreement.kind.name, *line, *source] for line in found]
    write_csv([lines[0], *([safe_text(cell) for cell in line] for line in lines[1:])], path)


def _case_lines(agreement: KindAgreement, case: ScoredCase) -> Iterator[list[str]]:
    row = case.row
    low, high = agreement.kind.interval_of(row)
    for reader, value, text in zip(agreement.readers, case.readers, case.texts, strict=True):
        yield [
            *(agreement.kind.name, row.level, row.image, row.case, row.region, reader, _number(case.score)),
            *(_number(low), _number(high), _number(value), text, _number(case.score - value)),
            *(_number(case.median), str(case.n_read), ";".join(case.marks), ";".join(row.flags), ""),
            *(_source(is_of_review=agreement.is_of_review), _said(is_true=case.is_reviewed)),
        ]


def _left_out_lines(each: LeftOut) -> Iterator[list[str]]:
    row = each.row
    for reader, value, text in each.readers:
        yield [
            *(each.kind.name, row.level, row.image, row.case, row.region, reader, _number(each.score), "", ""),
            *(_number(value), text, "", "", "", "", ";".join(row.flags), each.why),
            *(_source(is_of_review=each.is_of_review), _said(is_true=each.is_reviewed)),
        ]


def _source(*, is_of_review: bool) -> str:
    return "reviewed" if is_of_review else "automated"


def _said(*, is_true: bool) -> str:
    return "true" if is_true else "false"


def _pair_lines(pair: Pair) -> Iterator[list[str]]:
    who = [str(pair.compared), pair.first, pair.second]
    for name, estimate in (
        ("icc_2_1", pair.icc),
        ("ccc", pair.ccc),
        ("mean_difference", pair.limits.mean),
        ("lower_limit_of_agreement", pair.limits.lower),
        ("upper_limit_of_agreement", pair.limits.upper),
        ("spearman", pair.spearman),
    ):
        yield [*who, name, "", *_cells(estimate)]
    for at in pair.at:
        cut_off = f"{at.cut_off:g}"
        for name, estimate in (
            ("overall_agreement_pct", at.overall),
            ("positive_agreement_pct", at.positive),
            ("negative_agreement_pct", at.negative),
            ("cohen_kappa", at.kappa),
        ):
            yield [*who, name, cut_off, *_cells(estimate)]
        for name in ("both", "first_only", "second_only", "neither"):
            count = getattr(at.table, name)
            yield [*who, f"n_at_least_{name}", cut_off, str(count), "", "", str(at.table.n), ""]


def _all_lines(everyone: AllReaders) -> Iterator[list[str]]:
    who = [str(Compared.READERS), ALL_READERS, ALL_READERS]
    yield [*who, "icc_2_1", "", *_cells(everyone.icc)]
    for cut_off, kappa in everyone.kappas:
        yield [*who, "fleiss_kappa", f"{cut_off:g}", *_cells(kappa)]


def _cells(estimate: Estimate) -> Sequence[str]:
    few = f"fewer than {FEW_CASES}: says little" if estimate.n < FEW_CASES else ""
    note = "; ".join(filter(None, [estimate.why, few]))
    return _number(estimate.value), _number(estimate.low), _number(estimate.high), str(estimate.n), note


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{_DECIMALS}f}"
