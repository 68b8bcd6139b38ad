"""Numbers of a review in words, for whoever shows them: automated and reviewed side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import EXCLUDING_FLAGS, Flag
from pdl1quant.outputs.captions import called_cps
from pdl1quant.outputs.flag_words import CELL_FLAG_TEXTS, sorted_flags
from pdl1quant.review.edits import EditKind
from pdl1quant.review.region_scores import review_regions, score_region
from pdl1quant.stages.score import format_interval, format_tps

if TYPE_CHECKING:
    from pdl1quant.model import Counts, Score
    from pdl1quant.review.cases import CaseReview
    from pdl1quant.review.edits import Edit
    from pdl1quant.review.session import Review


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One number by name, as the run had it and as it is now."""

    name: str
    automated: str
    reviewed: str


def compare(review: Review) -> tuple[Comparison, ...]:
    """The numbers of an image."""
    before, now = review.automated, review.score
    counts = (review.automated_counts, review.counts)
    return (
        Comparison(name=f"{now.score_name}, %", automated=format_tps(before.tps), reviewed=format_tps(now.tps)),
        Comparison(name="Interval, %", automated=interval_text(before), reviewed=interval_text(now)),
        Comparison(
            name="Positive / tumour cells", automated=_cells(counts[0], before), reviewed=_cells(counts[1], now)
        ),
        Comparison(name="All cells", automated=f"{counts[0].n_cells:,}", reviewed=f"{counts[1].n_cells:,}"),
        Comparison(name="CPS", automated=_cps_text(before), reviewed=_cps_text(now)),
        Comparison(name="H-score", automated=_number(before.h_score), reviewed=_number(now.h_score)),
    )


def compare_region(review: Review, key: tuple[str, str]) -> tuple[Comparison, ...]:
    """The numbers of a drawn region or a core, by its level and name in ``scores.csv``; those of the run as written.

    The reviewed ones are empty where the results do not say what a recount takes.
    """
    row = next(each.row for each in review.image.regions if each.key == key)
    found = review_regions(review, only=key)
    case = score_region(review.results, found[0]) if found else None
    now = None if case is None else case.score
    automated = {
        "Interval, %": format_interval(row.tps_low, row.tps_high) or "undefined",
        "Positive / tumour cells": f"{row.n_tumour_positive or 0:,} / {row.n_tumour or 0:,}",
        "All cells": f"{row.n_cells or 0:,}",
    }
    reviewed = dict.fromkeys(automated, "")
    if case is not None and now is not None:
        told = (interval_text(now), _cells(case.counts, now), f"{case.counts.n_cells:,}")
        reviewed = dict(zip(automated, told, strict=True))
    name = f"{review.score.score_name}, %"
    tps = Comparison(name=name, automated=format_tps(row.tps), reviewed="" if now is None else format_tps(now.tps))
    return (
        tps,
        *(Comparison(name=each, automated=text, reviewed=reviewed[each]) for each, text in automated.items()),
    )


def case_text(case: CaseReview) -> str:
    """How a case stands: ``TPS (cytoplasm) 44 % (37-52), TPS >= 1 % (US); 12 edits; signed by A; locked``.

    The CPS stands behind the TPS where a call is made on it.
    """
    score = case.score
    why = f" ({', '.join(case.no_call)})" if case.no_call else ""
    calls = ", ".join(str(call) for call in score.calls) or f"no call{why}"
    tps = f"{score.score_name} {tps_text(score.tps, score.tps_low, score.tps_high)}"
    parts = [", ".join(filter(None, [tps, called_cps(score), calls]))]
    parts.append("1 edit" if case.n_edits == 1 else f"{case.n_edits:,} edits")
    parts += [f"signed by {', '.join(case.signed_by)}"] if case.signed_by else []
    parts += ["locked"] if case.locked else []
    return "; ".join(parts)


def flags_text(review: Review) -> str:
    """What is to be known of the reviewed score, in a line: in the words of reports, the weightier first."""
    return ", ".join(each.short for each in sorted_flags(tuple(map(str, review.score.flags))))


def cell_text(review: Review, row: int) -> str:
    """A cell in a line or two: what it counts as, its densities, what the run was unsure of."""
    now = review.state.now(np.array([row]))
    cell = review.state.measured(np.array([row])).iloc[0]
    positive = "positive" if bool(now["positive"].iloc[0]) else "negative"
    flags = Flag(int(review.state.flags_of(np.array([row]))[0]))
    out = ", ".join(_words(flags & EXCLUDING_FLAGS))
    parts = [
        f"{str(now['cell_class'].iloc[0]).capitalize()}, {positive}",
        densities_text(review, row),
        f"tumour with probability {cell['tumour_probability']:.2f}"
        if row < len(review.cells)
        else "made in the review",
        *([f"left out of the score: {out}"] if out else []),
        *_words(flags & ~EXCLUDING_FLAGS),
    ]
    return "; ".join(parts)


def densities_text(review: Review, row: int) -> str:
    """The DAB of a cell: ``membrane 0.31, cytoplasm 0.12 OD``."""
    cell = review.state.measured(np.array([row])).iloc[0]
    return f"membrane {_od(cell['membrane_dab_od_run'])}, cytoplasm {_od(cell['cytoplasm_dab_od_mean'])} OD"


def excluding_text(review: Review, row: int) -> str:
    """Why a cell leaves the score, ``pigment, artefact``; empty where it counts. Rows count from the end below 0."""
    (flags,) = review.state.flags_of(np.array([row % len(review.state)]))
    return ", ".join(_words(Flag(int(flags)) & EXCLUDING_FLAGS))


def undone_text(review: Review, undo: Edit) -> str:
    """What an undo or a redo did: ``taken back: stroma for 3 cells, of 2026-03-02 09:14 UTC``."""
    named = {each.id: each for each in review.ledger.edits}
    edit, did = named[undo.to], "taken back"
    if edit.kind is EditKind.UNDO:
        edit, did = named[edit.to], "done again"
    n = "1 cell" if len(edit.cells) == 1 else f"{len(edit.cells):,} cells"
    match edit.kind:
        case EditKind.CLASS:
            what = f"{edit.to} for {n}"
        case EditKind.POSITIVE:
            what = f"{'positive' if edit.to else 'negative'} for {n}"
        case EditKind.ROI:
            what = f"a region to {edit.to}"
        case EditKind.ADD:
            what = "an added cell" if len(edit.made) == 1 else f"{len(edit.made):,} added cells"
        case EditKind.REDRAW:
            what = "a region moved or taken away"
        case EditKind.THRESHOLD:
            what = "the accepted threshold"
        case _:
            what = f"{edit.kind} of {n}"
    return f"{did}: {what}, of {edit.time[:16].replace('T', ' ')} UTC"


def has_own_score(review: Review, reviewer: str) -> bool:
    """Whether a reviewer gave a TPS by eye."""
    name = reviewer.strip()
    return any(each.kind is EditKind.OWN_SCORE and each.reviewer == name for each in review.ledger.edits)


def _words(flags: Flag) -> list[str]:
    return [text for flag, text in CELL_FLAG_TEXTS.items() if flag in flags]


def tps_text(tps: float | None, low: float | None, high: float | None) -> str:
    """``44 % (37-52)``; integers, as a TPS is reported."""
    interval = format_interval(low, high)
    return f"{format_tps(tps)} % ({interval})" if tps is not None and interval else format_tps(tps)


def interval_text(score: Score) -> str:
    """``37-52``."""
    return format_interval(score.tps_low, score.tps_high) or "undefined"


def _cps_text(score: Score) -> str:
    interval = format_interval(score.cps_low, score.cps_high)
    return f"{format_tps(score.cps)} ({interval})" if interval else "undefined"


def _cells(counts: Counts, score: Score) -> str:
    return f"{getattr(counts.positive, score.score_compartment):,} / {counts.n_tumour:,}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1f}"


def _od(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "not measured"
