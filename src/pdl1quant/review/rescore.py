"""Recount all images and cases of a run from their ledgers: ``scores_reviewed.csv``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pdl1quant.errors import OutputError, ReviewError
from pdl1quant.model import BrownArea, Counts, ResultFlag, Score, Status
from pdl1quant.outputs.claims import refuse_foreign
from pdl1quant.outputs.compared_scores import outdated_agreement
from pdl1quant.outputs.files import REVIEWED_NAME
from pdl1quant.outputs.reviewed import AUTOMATED_FIELDS, ReviewedRow, write_reviewed
from pdl1quant.outputs.scores_table import DECIMALS, ScoreRow
from pdl1quant.review.cases import CaseReview, review_case
from pdl1quant.review.cores import review_core_case, slides_of_cores
from pdl1quant.review.ledger import ledger_digest, ledger_path
from pdl1quant.review.region_scores import RegionReview, review_regions, score_region
from pdl1quant.review.results import ImageResult, Results, open_results
from pdl1quant.review.session import Review
from pdl1quant.review.wording import tps_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


OF_CORES = "its cores are not recounted: results of an earlier version do not say where they lie; score again"
"""What is said of a case of cores then."""
OF_REGIONS = "is not recounted: results of an earlier version do not say where it lies; score again"
"""What is said of a drawn region, or a core, then."""
OF_CORNERS = "is not recounted: the regions of its image have too many corners to be kept; simplify them, score again"
OF_NESTS = (
    "nests of tumour cells were not looked for anew, and the CPS is by those of the run: results of an earlier version "
    "do not say how large the image is; score again"
)
"""What is said of an edited image, and of its case, then."""


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
        The file cannot be written, or pdl1quant did not write the one that is there.
    """
    results = open_results(out)
    refuse_foreign(out / REVIEWED_NAME)
    done: dict[str, _OfCase] = {}

    def of_case(case_row: ScoreRow) -> _OfCase:
        if case_row.case not in done:
            done[case_row.case] = _rescored_case(results, case_row)
        return done[case_row.case]

    rows: list[ReviewedRow] = []
    for case_row in results.case_rows:
        if any(image.case == case_row.case for image in results.images):
            rows += of_case(case_row).rows
        else:
            slides = slides_of_cores(results, case_row.case)
            rows.append(_rescored_cores(results, case_row, [of_case(results.case_row(each.case)) for each in slides]))
        say(case_line(rows[-1]))
    write_reviewed(rows, out / REVIEWED_NAME)
    problems = [problem for each in done.values() for problem in each.problems]
    problems += filter(None, [outdated_agreement(out)])
    return Rescored(
        rows=tuple(rows), problems=tuple(problems), n_failed=sum(len(each.failed) for each in done.values())
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfCase:
    """Rows of the images of a case, of their regions and cores, and of the case; and these regions as reviewed.

    ``regions`` and ``failed``, the images whose edits cannot be applied, are by the place of their results.
    """

    rows: tuple[ReviewedRow, ...]
    problems: tuple[str, ...]
    regions: Mapping[str, tuple[RegionReview, ...]]
    failed: frozenset[str]


def _rescored_case(results: Results, case_row: ScoreRow) -> _OfCase:
    images = [image for image in results.images if image.case == case_row.case]
    reviews: dict[str, Review] = {}
    digests: dict[str, str] = {}
    errors: dict[str, str] = {}
    problems: list[str] = []
    for image in images:
        if not image.has_cells:
            continue
        try:  # the hash first: what comes later is not in it
            digests[image.stem] = ledger_digest(ledger_path(results.out, image.stem))
            reviews[image.stem] = _opened(results, image)
            problems += reviews[image.stem].ledger.problems
        except (ReviewError, OutputError) as error:
            errors[image.stem] = str(error)
            problems.append(str(error))
    if any(_keeps_nests(review) for review in reviews.values()):
        problems.append(f"{case_row.case or '.'}: {OF_NESTS}")
    regions = {stem: review_regions(review) for stem, review in reviews.items()}
    rows: list[ReviewedRow] = []
    for image in images:
        stem = results.original_of(image).stem  # what a duplicate repeats may stand below it
        of_image = _rows_of_image(results, image, reviews.get(stem), regions.get(stem, ()))
        if image.stem in errors:
            told = f"{image.name} could not be recounted; see its row"
            of_image = [replace(row, status=Status.FAILED, error=told) for row in of_image]
            of_image[0] = replace(of_image[0], error=errors[image.stem])
        of_image[0] = replace(of_image[0], edits_sha256=digests[image.stem] if image.stem in reviews else "")
        rows += of_image
    case = _automated(case_row)
    if errors:
        which = "1 image" if len(errors) == 1 else f"{len(errors)} images"
        case = replace(case, status=Status.FAILED, error=f"{which} could not be recounted; see above")
    elif reviews:
        case = replace(case, **_of_case(review_case(list(reviews.values()), case_row)))
    return _OfCase(rows=(*rows, case), problems=tuple(problems), regions=regions, failed=frozenset(errors))


def _keeps_nests(review: Review) -> bool:
    """Whether there are edits after which nobody can look for nests, and a CPS for which these matter."""
    has_cps = str(ResultFlag.NO_MACROPHAGE_CLASS) not in review.image.row.flags
    return has_cps and review.has_nests is None and review.standing.n_edits > 0


def _rows_of_image(
    results: Results, image: ImageResult, review: Review | None, regions: Sequence[RegionReview]
) -> list[ReviewedRow]:
    """The row of an image, then those of its regions and cores; without a review as the run wrote them."""
    row, of_regions = _automated(image.row), {each.key: _automated(each.row) for each in image.regions}
    if review is not None:
        row = replace(row, **_of_image(review))
        counted = {each.result.key: each for each in regions}
        for each in image.regions:
            reviewed = _of_region(results, counted.get(each.key), is_known=each.brown is not None)
            of_regions[each.key] = replace(of_regions[each.key], **reviewed)
    rows = [row, *of_regions.values()]
    if review is not None and image.is_duplicate:
        duplicate = str(ResultFlag.DUPLICATE)
        rows = [replace(each, reviewed_flags=(*each.reviewed_flags, duplicate)) for each in rows]
    return rows


def _of_region(results: Results, region: RegionReview | None, *, is_known: bool) -> dict[str, Any]:
    """What the review makes of a region, or why nothing; ``is_known``: the run wrote down what that takes."""
    if region is None:
        return {"error": OF_CORNERS if is_known else OF_REGIONS}
    return _of_case(score_region(results, region))


def _rescored_cores(results: Results, case_row: ScoreRow, of_slides: Sequence[_OfCase]) -> ReviewedRow:
    """The row of a case that has no image of its own, but cores on slides; ``of_slides`` are the cases of those."""
    case = _automated(case_row)
    regions = {stem: found for each in of_slides for stem, found in each.regions.items()}
    failed = {stem for each in of_slides for stem in each.failed}
    of_failed = [image.name for image in slides_of_cores(results, case_row.case) if image.stem in failed]
    if of_failed:
        return replace(case, status=Status.FAILED, error=f"{of_failed[0]} could not be recounted; see its row")
    reviewed = review_core_case(results, case_row, regions)
    if reviewed is not None:
        return replace(case, **_of_case(reviewed))
    told = OF_CORES if case.n_tumour is not None else ""
    return replace(case, error="; ".join(filter(None, (case.error, told))))


def _opened(results: Results, image: ImageResult) -> Review:
    """The review of an image whose cells give the scores that the run wrote."""
    review = Review(results, image)
    row, counts = image.row, review.automated_counts
    told = {
        "TPS": (review.automated.tps, row.tps),
        "CPS": (review.automated.cps, row.cps),
        "number of cells": (counts.n_cells, row.n_cells),
        "number of tumour cells": (counts.n_tumour, row.n_tumour),
    }
    for name, (found, written) in told.items():
        if not _is_same(found, written):
            raise ReviewError(
                f"{image.name}: its cells do not give the {name} that scores.csv has ({found} instead of {written}); "
                f"score again, or use pdl1quant {row.version}"
            )
    return review


def _is_same(one: float | None, other: float | None) -> bool:
    """Whether two numbers are written alike."""
    return one == other if one is None or other is None else round(one, DECIMALS) == round(other, DECIMALS)


def _automated(row: ScoreRow) -> ReviewedRow:
    return ReviewedRow(**{name: getattr(row, name) for name in ("status", "error", *AUTOMATED_FIELDS)})


def _of_image(review: Review) -> dict[str, Any]:
    stands = review.standing
    said = (*review.ledger.problems, *((OF_NESTS,) if _keeps_nests(review) else ()))
    return {
        **_scores(review.counts, review.score, review.brown),
        "error": "; ".join(said) or review.image.row.error,
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
        "reviewed_n_immune": score.n_immune,
        "reviewed_n_immune_positive": score.n_immune_positive,
        "reviewed_h_score": score.h_score,
        "reviewed_n_grade_1": score.n_grade_1,
        "reviewed_n_grade_2": score.n_grade_2,
        "reviewed_n_grade_3": score.n_grade_3,
        "reviewed_tumour_cells_mm2": score.tumour_cells_mm2,
        "reviewed_dab_area_pct": score.dab_area_pct,
        "reviewed_tumour_dab_area_pct": score.tumour_dab_area_pct,
        "reviewed_evaluable": score.evaluable,
        "reviewed_calls": tuple(str(call) for call in score.calls),
        "reviewed_flags": tuple(str(flag) for flag in score.flags),
    }
