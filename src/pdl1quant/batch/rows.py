"""From outcomes to the rows of ``scores.csv`` and the score of a case."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pdl1quant.model import BrownArea, Counts, ResultFlag, Score, Status
from pdl1quant.outputs.scores_table import ScoreRow, score_values
from pdl1quant.stages.score import why_no_call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdl1quant.batch.work import Image, Outcome, Plan

UNSCORED = (Status.REFUSED, Status.FAILED)

_NAMED = 3
"""Images named in a line that is about many."""

CASE_FLAGS = (ResultFlag.SELECTED_FIELDS,)
"""Plain images are fields that somebody chose; whole slides are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseReport:
    """How the work on one case ended; ``n_images`` counts all of them, ``n_scored`` those in the score."""

    case: str
    status: Status
    score: Score | None
    n_tumour: int
    n_images: int
    n_scored: int
    no_call: str = ""
    """Why a pack that makes calls made none; empty where it made one or never does."""
    images_by_flag: Mapping[ResultFlag, int] = field(default_factory=dict)
    """How many of its images carry each flag."""
    regions_by_flag: Mapping[tuple[str, ResultFlag], int] = field(default_factory=dict)
    """How many of their regions do, by level (``roi``, ``core``); those of duplicates are not counted."""


def image_row(image: Image, outcome: Outcome, *, plan: Plan) -> ScoreRow:
    """The row of one image."""
    return ScoreRow(
        level="image",
        image=image.name,
        case=image.case,
        status=outcome.status,
        error=outcome.error,
        artefact_pct=None if outcome.artefacts is None else 100 * sum(outcome.artefacts.values()),
        brown_without_cells_pct=_bare_pct(outcome.brown),
        mpp=outcome.mpp,
        extra=dict(image.extra),
        **_values(outcome.counts, outcome.score, flags=outcome.flags),
        **_same_for_all(plan),
    )


def region_rows(image: Image, outcome: Outcome, *, plan: Plan) -> list[ScoreRow]:
    """The rows of its regions; they have the case's name and no share in it. Those of a duplicate are duplicates."""
    duplicate = tuple(flag for flag in outcome.flags if flag is ResultFlag.DUPLICATE)
    return [
        ScoreRow(
            level=each.level,
            image=image.name,
            case=image.case,
            status=each.status,
            region=each.name,
            brown_without_cells_pct=_bare_pct(each.brown),
            mpp=outcome.mpp,
            extra=dict(image.extra),
            **_values(each.counts, each.score, flags=duplicate),
            **_same_for_all(plan),
        )
        for each in outcome.regions
    ]


def problem_row(name: str, case: str, message: str, *, plan: Plan) -> ScoreRow:
    """The row of something that was named and is no image; ``message`` does not repeat ``name``."""
    return ScoreRow(level="image", image=name, case=case, status=Status.FAILED, error=message, **_same_for_all(plan))


def complaints(unscored: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each way in which images cannot be scored.

    Parameters
    ----------
    unscored
        Name and error of each image. Those with the same error share a line, in the order of the first of them.
    """
    names: dict[str, list[str]] = {}
    for name, error in unscored:
        names.setdefault(error, []).append(name)
    return [_complaint(images, error) for error, images in names.items()]


def _complaint(images: Sequence[str], error: str) -> str:
    if len(images) == 1:
        return f"{images[0]}: {error}"
    return f"{plural(len(images), 'image')} ({named(images)}): {error}"


def named(images: Sequence[str]) -> str:
    """``a.tif, b.tif, c.tif and 5 others``."""
    rest = len(images) - _NAMED
    return ", ".join(images[:_NAMED]) + (f" and {plural(rest, 'other')}" if rest > 0 else "")


def as_duplicate(original: Outcome) -> Outcome:
    """The outcome of an image whose content is that of ``original``: the same numbers, counted once."""
    return replace(original, flags=tuple(dict.fromkeys((*original.flags, ResultFlag.DUPLICATE))))


def case_result(
    case: str,
    members: Sequence[tuple[Image, Outcome]],
    *,
    duplicates: set[str],
    score: Score | None,
    plan: Plan,
) -> tuple[CaseReport, ScoreRow]:
    """The report and the row of a case.

    Parameters
    ----------
    case
        Its name.
    members
        Its images with their outcomes, in the order of the rows.
    duplicates
        Stems of those that were counted already.
    score
        None where no image could be measured.
    plan
        How it is scored.
    """
    unique = [(image, outcome) for image, outcome in members if image.stem not in duplicates]
    scored = [outcome for _, outcome in unique if outcome.is_scored]
    n_unscored = len(unique) - len(scored)
    counts = sum((outcome.counts for outcome in scored if outcome.counts is not None), Counts())
    status = _case_status([outcome for _, outcome in unique], score)
    row = ScoreRow(
        level="case",
        image="",
        case=case,
        status=status,
        error=_case_error(n_unscored, len(unique)),
        brown_without_cells_pct=_bare_pct(sum((outcome.brown for outcome in scored), BrownArea())),
        mpp=_common([outcome.mpp for outcome in scored]),
        extra=_common_extra([image for image, _ in members]),
        **_values(counts if scored else None, score),
        **_same_for_all(plan),
    )
    report = CaseReport(
        case=case,
        status=status,
        score=score,
        n_tumour=counts.n_tumour,
        n_images=len(members),
        n_scored=len(members) - sum(outcome.status in UNSCORED for _, outcome in members),
        no_call="" if score is None else _no_call(score, plan),
        images_by_flag=Counter(flag for _, outcome in members for flag in outcome.flags),
        regions_by_flag=Counter(
            (each.level, flag) for _, outcome in unique for each in outcome.regions for flag in each.score.flags
        ),
    )
    return report, row


def _bare_pct(brown: BrownArea) -> float | None:
    share = brown.share_without_cell
    return None if share is None else 100 * share


def plural(n: int, noun: str) -> str:
    """``1 image``, ``1,234 images``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _case_error(n_unscored: int, n_images: int) -> str:
    if not n_unscored:
        return ""
    if n_unscored < n_images:
        rows = "its row" if n_unscored == 1 else "their rows"
        return f"{n_unscored} of {plural(n_images, 'image')} could not be scored; see {rows}"
    if n_images == 1:
        return "its image could not be scored; see its row"
    return f"none of its {n_images} images could be scored; see their rows"


def _no_call(score: Score, plan: Plan) -> str:
    if score.calls or not plan.pack.makes_calls:
        return ""
    reasons = why_no_call(score.flags, pack=plan.pack, indication=plan.indication, evaluable=score.evaluable)
    return f"no call is made: {'; '.join(reasons)}"


def _values(counts: Counts | None, score: Score | None, *, flags: Sequence[ResultFlag] = ()) -> dict[str, Any]:
    if counts is None or score is None:
        return {"flags": tuple(str(flag) for flag in flags)}
    return score_values(counts, score, flags=flags)


def _same_for_all(plan: Plan) -> dict[str, Any]:
    return {"assay": plan.pack.name, "config_digest": plan.config.digest}


def _case_status(outcomes: Sequence[Outcome], score: Score | None) -> Status:
    found = {outcome.status for outcome in outcomes}
    if found <= {Status.REFUSED, Status.FAILED}:
        return Status.FAILED if Status.FAILED in found else Status.REFUSED
    if found & {Status.REFUSED, Status.FAILED}:
        return Status.PARTIAL
    if found == {Status.NO_TISSUE}:
        return Status.NO_TISSUE
    return Status.PARTIAL if score is not None and ResultFlag.PARTIAL in score.flags else Status.OK


def _common(values: Sequence[float | None]) -> float | None:
    return values[0] if len(set(values)) == 1 else None


def _common_extra(images: Sequence[Image]) -> dict[str, str]:
    """Free columns in which all images of the case agree."""
    names = dict.fromkeys(name for image in images for name, _ in image.extra)
    values = {name: {dict(image.extra).get(name, "") for image in images} for name in names}
    return {name: seen.pop() if len(seen) == 1 else "" for name, seen in values.items()}
