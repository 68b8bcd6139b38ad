"""Which scores of a run are held against readers: as the program scored, or as a review made them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from pdl1quant.agreement.matching import row_name
from pdl1quant.agreement.reader_scores import PROGRAM, REVIEWED_PROGRAM
from pdl1quant.errors import UsageError
from pdl1quant.model import Status
from pdl1quant.outputs.captions import plural
from pdl1quant.outputs.files import REVIEWED_NAME, SCORES_NAME
from pdl1quant.report.gather import edited_since

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdl1quant.agreement.measures import KindAgreement
    from pdl1quant.agreement.reader_scores import ScoreKind
    from pdl1quant.outputs.reviewed import ReviewedRow
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.report.gather import ReportRun

SCORED: Final = (Status.OK, Status.PARTIAL)


class Source(StrEnum):
    """Where the scores of a run come from."""

    AUTOMATED = "automated"
    REVIEWED = "reviewed"

    @property
    def program(self) -> str:
        """What the run is called beside the readers."""
        return PROGRAM if self is Source.AUTOMATED else REVIEWED_PROGRAM


CHOICES: Final[Mapping[str, tuple[Source, ...]]] = {
    **{str(each): (each,) for each in Source},
    "both": tuple(Source),
}
"""What may be asked for, and whose scores are then compared."""
_KINDS: Final = ("tps", "cps", "h_score")
"""Scores that a review counts anew, by their name in either table."""
_NOT_COUNTED: Final = "no review counts such scores anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedRows:
    """What reviews make of the rows of a run; ``of`` is by the ``id`` of a row."""

    of: Mapping[int, ReviewedRow]
    compartment: str
    """Where the TPS looks for brown: the rate there is the TPS."""

    def has(self, kind: ScoreKind) -> bool:
        """Whether a review counts this score anew."""
        return kind.name in (*_KINDS, f"tps_{self.compartment}")

    def is_reviewed(self, row: ScoreRow) -> bool:
        """Whether a person edited or signed it."""
        found = self.of.get(id(row))
        return found is not None and bool(found.n_edits or found.signed)

    def why_uncounted(self, row: ScoreRow, source: Source) -> str:
        """Why a review could not count a row anew that the program scored; empty where it did."""
        found = self.of.get(id(row))
        is_uncounted = found is not None and found.status in SCORED and found.reviewed_n_tumour is None
        return found.error if found is not None and is_uncounted and source is Source.REVIEWED else ""

    def row(self, row: ScoreRow, source: Source) -> ScoreRow:
        """The row with what the review makes of it in the place of what the program said, where that is asked for."""
        found = self.of.get(id(row))
        if source is Source.AUTOMATED or found is None:
            return row
        changed: dict[str, Any] = {
            "tps": found.reviewed_tps,
            f"tps_{self.compartment}": found.reviewed_tps,
            "tps_low": found.reviewed_tps_low,
            "tps_high": found.reviewed_tps_high,
            "cps": found.reviewed_cps,
            "cps_low": found.reviewed_cps_low,
            "cps_high": found.reviewed_cps_high,
            "h_score": found.reviewed_h_score,
            "evaluable": found.reviewed_evaluable,
            "flags": found.reviewed_flags,
        }
        if found.status is Status.FAILED:
            changed |= {"status": found.status, "error": found.error}
        return replace(row, **changed)


def reviewed_rows(run: ReportRun) -> ReviewedRows:
    """What ``scores_reviewed.csv`` says of the rows of a run, as far as it was counted from them."""
    pairs = [
        *((row, run.reviewed.get(row.case)) for row in run.case_rows),
        *zip(run.image_rows, run.reviewed_images, strict=True),
        *zip(run.region_rows, run.reviewed_regions, strict=True),
    ]
    of = {id(row): each for row, each in pairs if each is not None}
    return ReviewedRows(of=of, compartment=str(run.results.pack.compartment))


def refuse_uncounted(run: ReportRun, rows: Sequence[ScoreRow], reviewed: ReviewedRows) -> None:
    """Refuse reviewed scores of these rows that are not those of the edits as they are now.

    Raises
    ------
    UsageError
        There are none, they are of other scores than those of ``scores.csv``, or edits came after them.
    """
    out = run.results.out
    again = f"run pdl1quant rescore {out} first"
    if not (out / REVIEWED_NAME).is_file():
        raise UsageError(f"{out}: has no {REVIEWED_NAME}, so nothing is known of a review; {again}")
    missing = [row for row in rows if row.status in SCORED and id(row) not in reviewed.of]
    if missing:
        raise UsageError(f"{REVIEWED_NAME}: not of {row_name(missing[0])} as {SCORES_NAME} has it now; {again}")
    if since := edited_since(run):
        raise UsageError(f"{since[0]}: was edited after {REVIEWED_NAME} was written; {again}")


def review_notes(
    run: ReportRun, agreements: Sequence[KindAgreement], noun: str, *, reviewed: ReviewedRows
) -> list[str]:
    """What a person has to know of reviews, whichever scores are compared."""
    of_review = next((each for each in agreements if each.is_of_review), None)
    main = of_review or max(agreements, key=lambda each: len(each.cases))
    n = main.n_reviewed
    told = f"{n} of {plural(len(main.cases), noun)} {'was' if n == 1 else 'were'}"
    if of_review is None:
        if n:
            is_counted = any(reviewed.has(each.kind) for each in agreements)
            more = "--scores reviewed or both compares what the review made of it" if is_counted else _NOT_COUNTED
            return [f"{told} edited or signed in a review: compared is what the program scored; {more}."]
        return ["There are edits of a review that are not counted, nor compared."] if edited_since(run) else []
    notes = [f"Reviewed scores: {told} edited or signed in a review; the rest is as the program scored it."]
    for reader in of_review.readers:
        own = sum(_folded(reader) in map(_folded, case.reviewers) for case in of_review.cases)
        if own:
            notes.append(f"{reader} reviewed {own} of them, and is held there against corrections of their own.")
    return notes


def _folded(name: str) -> str:
    return "".join(name.casefold().split())
