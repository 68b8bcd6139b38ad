"""Images of one case together: counts, score, and what is said of the case as a whole."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pdl1quant.errors import ReviewError
from pdl1quant.model import BrownArea, Counts, ResultFlag, Score, Status
from pdl1quant.outputs.files import SCORES_NAME
from pdl1quant.pipeline import holds_cells
from pdl1quant.review.edits import EditKind
from pdl1quant.review.recount import score_blocks
from pdl1quant.review.session import Review, has_nests_now
from pdl1quant.stages.score import blank_of_case, why_no_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.review.edits import Standing
    from pdl1quant.review.results import Results

OF_CASES = (EditKind.SIGN, EditKind.LOCK, EditKind.AMEND)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseReview:
    """A case under review: counts and score as reviewed, and how the review stands.

    ``signed_by`` are those who signed all of its images since the last change; ``locked`` is true where all are.
    """

    counts: Counts
    score: Score
    brown: BrownArea | None
    n_edits: int
    reviewers: tuple[str, ...]
    signed_by: tuple[str, ...]
    locked: bool
    own_scores: tuple[str, ...]
    no_call: tuple[str, ...] = ()
    """Every reason why there is no call; empty where there is one."""


def open_case(results: Results, case: str, *, opened: Sequence[Review] = ()) -> tuple[Review, ...]:
    """Open all images of a case that count; those among ``opened`` are taken from there.

    Raises
    ------
    ReviewError
        There is no such case, or none of its images was scored.
    """
    images = results.of_case(case)
    if not images and any(row.case == case and row.n_tumour is not None for row in results.case_rows):
        slides = {core.stem for core in results.core_map if core.case == case}
        arrays = ", ".join(dict.fromkeys(image.case for image in results.images if image.stem in slides))
        raise ReviewError(f"{case}: is pooled from cores of a microarray, which is reviewed as a whole; give {arrays}")
    if not images:
        near = difflib.get_close_matches(case, [row.case for row in results.case_rows], n=1)
        hint = f"the nearest is {near[0]!r}" if near and near[0] != case else f"see {SCORES_NAME}"
        raise ReviewError(f"{results.out}: no scored image of a case {case!r}; {hint}")
    there = {each.image.stem: each for each in opened}
    return tuple(there.get(image.stem) or Review(results, image) for image in images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What one image, or one core of a slide, adds to its case as reviewed.

    ``has_nests`` is None where nobody looked for any; ``calls_back`` is true where a region to include says which
    immune cells count. ``brown`` is None where it is not known.
    """

    blocks: tuple[Counts, ...]
    has_nests: bool | None
    calls_back: bool
    brown: BrownArea | None
    is_damaged: bool
    is_confirmed: bool
    regions_changed: bool
    standing: Standing

    @classmethod
    def of(cls, review: Review) -> Member:
        """An image as a whole."""
        return cls(
            blocks=review.blocks,
            has_nests=review.has_nests,
            calls_back=review.calls_back,
            brown=review.brown,
            is_damaged=review.image.is_damaged,
            is_confirmed=review.is_confirmed,
            regions_changed=review.regions_changed,
            standing=review.standing,
        )


def review_case(reviews: Sequence[Review], row: ScoreRow) -> CaseReview:
    """Pool the images of a case into its reviewed score.

    A case counts as confirmed to be tumour when each of its images had tumour drawn for the run or is signed; those
    without any tumour or immune cell are not asked. An accepted change of the threshold on any image withdraws the
    calls; all cores of a microarray together, which are of several cases, have none.

    Parameters
    ----------
    reviews
        All images of the case that count (`open_case`).
    row
        Row of the case in ``scores.csv``.
    """
    return pool(
        [Member.of(each) for each in reviews],
        row,
        results=reviews[0].results,
        level="image" if row.level == "array" else "case",
        is_partial=row.status is Status.PARTIAL and bool(row.error),
        n_edits=sum(each.standing.n_edits for each in reviews),
    )


def pool(
    members: Sequence[Member],
    row: ScoreRow,
    *,
    results: Results,
    level: Literal["image", "case"],
    n_edits: int,
    is_partial: bool = False,
) -> CaseReview:
    """The reviewed score of images, or cores, together.

    Parameters
    ----------
    members
        At least one.
    row
        What the run said of them together.
    results
        The run.
    level
        ``image`` for what is no case: no call is made, and whether there are enough cells is not asked.
    n_edits
        Changes that hold in them.
    is_partial
        Whether others are missing.
    """
    stands = [each.standing for each in members]
    blocks = [block for each in members for block in each.blocks]
    asked = [each for each in members if holds_cells(each.blocks)] or members
    regions_changed = any(each.regions_changed for each in members)
    brown = _summed([each.brown for each in members])
    moved = any(each.threshold_moved for each in stands)
    score = score_blocks(
        blocks,
        config=results.config,
        pack=results.pack,
        indication=None if moved or level == "image" else results.indication,
        level=level,
        flags=row.flags,
        has_tumour_roi=not regions_changed and str(ResultFlag.NO_TUMOUR_ROI) not in row.flags,
        tumour_confirmed=all(each.is_confirmed for each in asked),
        has_nests=has_nests_now([each.has_nests for each in members], row) or any(each.calls_back for each in members),
        is_partial=is_partial or any(each.is_damaged for each in members),
        brown=brown,
        blank=None if moved else blank_of_case(results.limits, row.case),  # it is that of the run's own threshold
    )
    no_call = why_no_call(score.flags, pack=results.pack, indication=results.indication, evaluable=score.evaluable)
    signed = [set(each.signed_by) for each in stands]
    return CaseReview(
        counts=sum(blocks, Counts()),
        score=score,
        brown=brown,
        n_edits=n_edits,
        reviewers=tuple(dict.fromkeys(name for each in stands for name in each.reviewers)),
        signed_by=tuple(sorted(set.intersection(*signed))),
        locked=all(each.locked_by for each in stands),
        own_scores=tuple(dict.fromkeys(text for each in stands for text in each.own_scores)),
        no_call=() if score.calls else (*no_call, *(("the threshold was moved on it",) if moved else ())),
    )


def _summed(areas: Sequence[BrownArea | None]) -> BrownArea | None:
    """Together; not known where one is not."""
    known = [each for each in areas if each is not None]
    return sum(known, BrownArea()) if len(known) == len(areas) else None


def say_of_case(
    reviews: Sequence[Review], kind: EditKind, *, reviewer: str, reason: str = "", to: dict[str, Any] | None = None
) -> None:
    """Sign, lock or amend a case: the edit is written to the ledger of each of its images.

    Images that were locked, or amended, already are passed over, so that an interrupted call can be repeated.

    Raises
    ------
    ReviewError
        ``kind`` is about cells; an image is locked; or amending lacks a reason, or a case that is locked.
    OutputError
        It cannot be written, or the results of an image were moved, deleted or scored anew since they were opened.
    """
    if kind not in OF_CASES:
        raise ReviewError(f"{kind}: is said of an image, not of a case; a case takes {', '.join(OF_CASES)}")
    if kind is EditKind.AMEND and not any(each.standing.locked_by for each in reviews):
        raise ReviewError(f"{reviews[0].image.case}: the case is not locked; there is nothing to amend")
    for each in reviews:  # before any is written: the case is not to be signed in part
        each.opened.check(each.ledger.head)
    for each in reviews:
        is_locked = bool(each.standing.locked_by)
        if (kind is EditKind.LOCK and is_locked) or (kind is EditKind.AMEND and not is_locked):
            continue
        each.edit(kind, reviewer=reviewer, reason=reason, to=to)
