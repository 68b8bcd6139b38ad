"""From outcomes to the rows of ``scores.csv`` and the score of a case."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pdl1quant.model import BrownArea, Counts, RegionScore, ResultFlag, Score, Status
from pdl1quant.outputs.captions import plural
from pdl1quant.outputs.scores_table import ScoreRow, score_values
from pdl1quant.pipeline import repeated_members
from pdl1quant.slides.core_map import CoreKind
from pdl1quant.stages.score import why_no_call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdl1quant.batch.work import Image, Outcome, Plan
    from pdl1quant.slides.core_map import MappedCore

UNSCORED = (Status.REFUSED, Status.FAILED)

_NAMED = 3
"""Images named in a line that is about many."""


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
    noun: str = "image"
    """What it is pooled from, and ``n_images`` counts: images, or the cores of a microarray."""
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
    """The rows of its regions; they have the case's name and no share in it. Those of a duplicate are duplicates.

    A core has the case that a map says, and none without.
    """
    duplicate = tuple(flag for flag in outcome.flags if flag is ResultFlag.DUPLICATE)
    return [
        ScoreRow(
            level=each.level,
            image=image.name,
            case=_case_of(each, image),
            status=each.status,
            region=each.name,
            brown_without_cells_pct=_bare_pct(each.brown),
            mpp=outcome.mpp,
            extra=dict((*image.extra, *_extra_of(each, image))),
            **_values(each.counts, each.score, flags=duplicate),
            **_same_for_all(plan),
        )
        for each in outcome.regions
    ]


def _case_of(region: RegionScore, image: Image) -> str:
    """The case of a region is that of its image; of a core what the map says, empty where it is of none or none is."""
    if region.level != "core":
        return image.case
    core = _mapped(region, image)
    return "" if core is None or core.kind is CoreKind.MISSING else core.case


def _extra_of(region: RegionScore, image: Image) -> tuple[tuple[str, str], ...]:
    core = _mapped(region, image)
    return () if core is None else core.extra


def _mapped(region: RegionScore, image: Image) -> MappedCore | None:
    """What the map says of a region that is a core."""
    return next((core for core in image.cores if (region.level, region.name) == ("core", core.name)), None)


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


def named(names: Sequence[str]) -> str:
    """``a.tif, b.tif, c.tif and 5 others``."""
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {plural(rest, 'other')}" if rest > 0 else "")


def outdated_warnings(names: Sequence[str]) -> tuple[str, ...]:
    """Which images of a resumed run are scored again though nothing changed, in one line."""
    if not names:
        return ()
    reason = "scored anew, as the build that scored before did not count all that is counted now"
    return (_complaint(names, reason),)


def repeat_warnings(members: Iterable[tuple[Image, Outcome]], *, of_controls: bool = False) -> tuple[str, ...]:
    """Which images of a case, or of negative controls, are one field, told by all that was counted, in one line.

    Files with the same bytes count once (`as_duplicate`) and are not to be among ``members``. The same pixels in other
    bytes, as of a second export, are counted again: the interval is then too narrow. Images of cases whose names differ
    in their endings only were asked about before (`inputs.twin_warnings`).
    """
    scored = [(image, outcome.member) for image, outcome in members if outcome.is_scored]
    alike = [[scored[index][0] for index in group] for group in repeated_members([member for _, member in scored])]
    if not of_controls:
        alike = [images for images in alike if len({image.without_ending for image in images}) > 1]
    repeats = [" = ".join(image.name for image in images) for images in alike]
    if not repeats:
        return ()
    harm = "the limit of blank is of fewer fields than it says" if of_controls else "the interval is too narrow"
    advice = f"each was counted, so {harm}: take all but one away and pass --overwrite"
    return (f"images that show the same field, by all that was measured: {named(repeats)}; {advice}",)


def as_duplicate(original: Outcome) -> Outcome:
    """The outcome of an image whose content is that of ``original``: the same numbers, counted once."""
    return replace(original, flags=tuple(dict.fromkeys((*original.flags, ResultFlag.DUPLICATE))))


def has_arrays(images: Iterable[Image], plan: Plan) -> bool:
    """Whether one of the images is a microarray: what is pooled from them is then no case, with a map or without."""
    return plan.is_array and any(image.is_slide for image in images)


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
    is_array = has_arrays([image for image, _ in members], plan)
    unique = [(image, outcome) for image, outcome in members if image.stem not in duplicates]
    scored = [outcome for _, outcome in unique if outcome.is_scored]
    n_unscored = len(unique) - len(scored)
    counts, pooled = _pooled(scored, score=score, plan=plan)
    row = ScoreRow(
        level="array" if is_array else "case",
        image="",
        case=case,
        status=_case_status([outcome for _, outcome in unique], score),
        error=_case_error(n_unscored, len(unique)),
        mpp=_common([outcome.mpp for outcome in scored]),
        extra=_common_extra([image.extra for image, _ in members]),
        **pooled,
    )
    report = CaseReport(
        case=f"{case} (all cores)" if is_array else case,
        status=row.status,
        score=score,
        n_tumour=counts.n_tumour,
        n_images=len(members),
        n_scored=len(members) - sum(outcome.status in UNSCORED for _, outcome in members),
        no_call="" if score is None or any(image.cores for image, _ in members) else _no_call(score, plan),
        images_by_flag=Counter(flag for _, outcome in members for flag in outcome.flags),
        regions_by_flag=Counter(
            (each.level, flag) for _, outcome in unique for each in outcome.regions for flag in each.score.flags
        ),
    )
    return report, row


def core_case_result(
    case: str,
    parts: Sequence[Outcome | RegionScore],
    *,
    error: str,
    score: Score | None,
    mpps: Sequence[float | None],
    extras: Sequence[tuple[tuple[str, str], ...]],
    n_cores: int,
    plan: Plan,
) -> tuple[CaseReport, ScoreRow]:
    """The report and the row of a case that is pooled from cores of microarrays.

    Parameters
    ----------
    case
        Its name.
    parts
        Its cores that are on their slides, and slides with some of it that could not be scored.
    error
        Which of its cores are not in the score, and why.
    score
        None where no core could be measured.
    mpps
        Pixel sizes (um) of its slides.
    extras
        Free columns of each core.
    n_cores
        How many it has by the map.
    plan
        How it is scored.
    """
    scored = [part for part in parts if part.status not in UNSCORED]
    counts, pooled = _pooled(scored, score=score, plan=plan)
    row = ScoreRow(
        level="case",
        image="",
        case=case,
        status=_case_status(parts, score) if parts else Status.NO_TISSUE,
        error=error,
        mpp=_common(mpps),
        extra=_common_extra(extras),
        **pooled,
    )
    report = CaseReport(
        case=case,
        status=row.status,
        score=score,
        n_tumour=counts.n_tumour,
        n_images=n_cores,
        n_scored=len(scored),
        no_call="" if score is None else _no_call(score, plan),
        noun="core",
        regions_by_flag=Counter(
            (part.level, flag) for part in scored if isinstance(part, RegionScore) for flag in part.score.flags
        ),
    )
    return report, row


def _pooled(
    scored: Sequence[Outcome | RegionScore], *, score: Score | None, plan: Plan
) -> tuple[Counts, dict[str, Any]]:
    """The counts of the parts of a case together, and what its row says of them."""
    counts = sum((part.counts for part in scored if part.counts is not None), Counts())
    bare_pct = _bare_pct(sum((part.brown for part in scored), BrownArea()))
    values = _values(counts if scored else None, score)
    return counts, {"brown_without_cells_pct": bare_pct, **values, **_same_for_all(plan)}


def _bare_pct(brown: BrownArea) -> float | None:
    share = brown.share_without_cell
    return None if share is None else 100 * share


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


def _case_status(outcomes: Sequence[Outcome | RegionScore], score: Score | None) -> Status:
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


def _common_extra(extras: Sequence[tuple[tuple[str, str], ...]]) -> dict[str, str]:
    """Free columns in which all images, or cores, of the case agree."""
    names = dict.fromkeys(name for extra in extras for name, _ in extra)
    values = {name: {dict(extra).get(name, "") for extra in extras} for name in names}
    return {name: seen.pop() if len(seen) == 1 else "" for name, seen in values.items()}
