"""Recount all images and cases of a run from their ledgers: ``scores_reviewed.csv``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pdl1quant.errors import OutputError, ReviewError
from pdl1quant.model import BrownArea, Counts, ResultFlag, Score, Status
from pdl1quant.outputs.files import REVIEWED_NAME
from pdl1quant.outputs.reviewed import ReviewedRow, write_reviewed
from pdl1quant.outputs.scores_table import DECIMALS, ScoreRow
from pdl1quant.review.cases import CaseReview, review_case
from pdl1quant.review.ledger import ledger_digest, ledger_path
from pdl1quant.review.results import ImageResult, Results, open_results
from pdl1quant.review.session import Review
from pdl1quant.review.wording import tps_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


OF_CORES = "pooled from cores of a microarray and not recounted: edits are counted in the rows of its slide"
"""What is said of a case that has no image of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """The rows of ``scores_reviewed.csv``, lines about what could not be applied, images that could not be counted."""

    rows: tuple[ReviewedRow, ...]
    problems: tuple[str, ...]
    n_failed: int


def rescore(out: Path, *, say: Callable[[str], None] = lambda _: None) -> Rescored:
    """Recount a run from its cells and its ledgers of edits, and write ``scores_reviewed.csv`` into it.

    An image whose edits cannot be applied gets a row that says so, and its case is not scored; the others are. The
    same results and ledgers give the same bytes.

    Parameters
    ----------
    out
        Folder of the run.
    say
        Is told of each case in a line.

    Raises
    ------
    UsageError
        ``out`` is no folder of results, or made by a version whose settings this one does not read.
    OutputError
        The file cannot be written.
    """
    results = open_results(out)
    rows: list[ReviewedRow] = []
    problems: list[str] = []
    n_failed = 0
    for case_row in results.case_rows:
        of_case = _rescored_case(results, case_row)
        rows += of_case.rows
        problems += of_case.problems
        n_failed += of_case.n_failed
        say(case_line(of_case.rows[-1]))
    write_reviewed(rows, out / REVIEWED_NAME)
    return Rescored(rows=tuple(rows), problems=tuple(problems), n_failed=n_failed)


def case_line(row: ReviewedRow) -> str:
    """``case  TPS 42 % (35-50), reviewed 44 % (37-52)  12 edits by A, B  signed by A  locked``."""
    if row.status in {Status.FAILED, Status.REFUSED}:
        return f"{row.case or '.'}  not scored ({row.error or row.status})"
    automated = tps_text(row.tps, row.tps_low, row.tps_high)
    if row.reviewed_n_tumour is None:
        return f"{row.case or '.'}  TPS {automated}, {row.error}"
    reviewed = tps_text(row.reviewed_tps, row.reviewed_tps_low, row.reviewed_tps_high)
    n = row.n_edits or 0
    parts = [row.case or ".", f"TPS {automated}, reviewed {reviewed}", "1 edit" if n == 1 else f"{n:,} edits"]
    if row.reviewers:
        parts[-1] += f" by {', '.join(row.reviewers)}"
    parts += [f"signed by {', '.join(row.signed)}"] if row.signed else []
    parts += ["locked"] if row.locked else []
    return "  ".join(parts)


def _rescored_case(results: Results, case_row: ScoreRow) -> Rescored:
    images = [image for image in results.images if image.case == case_row.case]
    reviews: dict[str, Review] = {}
    rows: list[ReviewedRow] = []
    problems: list[str] = []
    n_failed = 0
    for image in images:
        row = _automated(image.row)
        if image.has_cells:
            try:
                digest = ledger_digest(ledger_path(results.out, image.stem))  # first: what comes later is not in it
                review = _opened(results, image)
            except (ReviewError, OutputError) as error:
                n_failed += 1
                problems.append(str(error))
                rows.append(replace(row, status=Status.FAILED, error=str(error)))
                continue
            problems += review.ledger.problems
            reviews[image.sha256] = review
            row = replace(row, **_of_image(review), edits_sha256=digest)
        rows.append(row)
    for place, image in enumerate(images):  # what they repeat may stand below them
        if image.is_duplicate and image.sha256 in reviews:
            row = replace(rows[place], **_of_image(reviews[image.sha256]))
            rows[place] = replace(row, reviewed_flags=(*row.reviewed_flags, str(ResultFlag.DUPLICATE)))
    case = _automated(case_row)
    if not images:
        case = replace(case, error="; ".join(filter(None, (case.error, OF_CORES))))
    elif n_failed:
        which = "1 image" if n_failed == 1 else f"{n_failed} images"
        case = replace(case, status=Status.FAILED, error=f"{which} could not be recounted; see above")
    elif reviews:
        case = replace(case, **_of_case(review_case(list(reviews.values()), case_row)))
    return Rescored(rows=(*rows, case), problems=tuple(problems), n_failed=n_failed)


def _opened(results: Results, image: ImageResult) -> Review:
    """The review of an image whose cells give the scores that the run wrote."""
    review = Review(results, image)
    row, counts = image.row, review.automated_counts
    tps = review.automated.tps
    agrees = (tps is None) == (row.tps is None) and (
        tps is None or row.tps is None or round(tps, DECIMALS) == round(row.tps, DECIMALS)
    )
    if not agrees or counts.n_cells != row.n_cells or counts.n_tumour != row.n_tumour:
        raise ReviewError(
            f"{image.name}: its cells do not give the TPS that scores.csv has ({tps} instead of {row.tps}); "
            f"score again, or use pdl1quant {row.version}"
        )
    return review


def _automated(row: ScoreRow) -> ReviewedRow:
    same = set(ReviewedRow.__dataclass_fields__) & set(ScoreRow.__dataclass_fields__) - {"schema", "version"}
    return ReviewedRow(**{name: getattr(row, name) for name in same})


def _of_image(review: Review) -> dict[str, Any]:
    stands = review.standing
    return {
        **_scores(review.counts, review.score, review.brown),
        "error": "; ".join(review.ledger.problems) or review.image.row.error,
        "n_edits": stands.n_edits,
        "reviewers": stands.reviewers,
        "own_scores": stands.own_scores,
        "signed": stands.signed_by,
        "locked": bool(stands.locked_by),
    }


def _of_case(case: CaseReview) -> dict[str, Any]:
    return {
        **_scores(case.counts, case.score, case.brown),
        "n_edits": case.n_edits,
        "reviewers": case.reviewers,
        "own_scores": case.own_scores,
        "signed": case.signed_by,
        "locked": case.locked,
    }


def _scores(counts: Counts, score: Score, brown: BrownArea | None) -> dict[str, Any]:
    bare = None if brown is None else brown.share_without_cell
    return {
        "reviewed_brown_without_cells_pct": None if bare is None else 100 * bare,
        "reviewed_tps": score.tps,
        "reviewed_tps_low": score.tps_low,
        "reviewed_tps_high": score.tps_high,
        "reviewed_n_tumour": counts.n_tumour,
        "reviewed_n_tumour_positive": getattr(counts.positive, score.score_compartment),
        "n": counts.n_cells,
        "reviewed_cps": score.cps,
        "reviewed_cps_low": score.cps_low,
        "reviewed_cps_high": score.cps_high,
        "reviewed_h_score": score.h_score,
        "reviewed_evaluable": score.evaluable,
        "reviewed_calls": tuple(str(call) for call in score.calls),
        "reviewed_flags": tuple(str(flag) for flag in score.flags),
    }
