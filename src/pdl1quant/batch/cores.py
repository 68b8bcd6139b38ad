"""Cores of microarrays -> the cases to which a map says that they belong, pooled as the images of a case are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.batch.rows import UNSCORED, CaseReport, core_case_result, named
from pdl1quant.model import RegionScore, ResultFlag, Score, StainEstimate, Status
from pdl1quant.outputs.captions import plural
from pdl1quant.pipeline import CaseMember, estimate_flags, score_case
from pdl1quant.slides.core_map import CoreKind, MappedCore
from pdl1quant.stages.tma import grid_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdl1quant.batch.work import Image, Outcome, Plan
    from pdl1quant.model import BlankLimit
    from pdl1quant.outputs.scores_table import ScoreRow

CORE_FLAGS = (ResultFlag.SELECTED_FIELDS,)
"""Somebody chose where a core was punched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """One core that the map names, with its slide; ``region`` is its score, None where it is not on the slide."""

    image: Image
    outcome: Outcome
    mapped: MappedCore
    region: RegionScore | None

    @property
    def is_wanted(self) -> bool:
        """Whether it counts for its case, if it is there."""
        return self.mapped.kind is CoreKind.TISSUE


def cores_by_case(arrays: Sequence[tuple[Image, Outcome]]) -> dict[str, tuple[Core, ...]]:
    """The cores of each case that maps name, in their order; controls are of none, a slide that is there twice is one.

    Parameters
    ----------
    arrays
        The slides whose cores a map names, in the order of the rows.
    """
    cases: dict[str, dict[tuple[str, str], Core]] = {}
    for image, outcome in arrays:
        found = cores_on(outcome)
        for mapped in image.cores:
            if mapped.kind is not CoreKind.CONTROL and mapped.case:
                core = Core(image=image, outcome=outcome, mapped=mapped, region=found.get(mapped.name))
                cases.setdefault(mapped.case, {}).setdefault((image.sha256 or image.stem, mapped.name), core)
    return {name: tuple(cores.values()) for name, cores in cases.items()}


def score_cores(
    cores: Sequence[Core], *, estimates: Mapping[str, StainEstimate], plan: Plan, blank: BlankLimit | None = None
) -> Score | None:
    """Pool the cores of a case, as its images are: cell minimum, interval, flags and calls follow the same rules.

    One on a slide that could not be scored, or that is damaged, makes the case partial; one that is not on its slide
    does not. With a slide whose cores are not where the map has them there is no call.

    Parameters
    ----------
    cores
        All of the case (`cores_by_case`).
    estimates
        Staining, by the case of the slide.
    plan
        How it is scored.
    blank
        What the negative controls say.

    Returns
    -------
    Score or None
        None where none of them is on a slide that was scored.
    """
    scored = _scored(cores)
    if not scored:
        return None
    staining = [estimates[case] for case in dict.fromkeys(core.image.case for core in scored)]
    flags = {*CORE_FLAGS, *(flag for estimate in staining for flag in estimate_flags(estimate))}
    if any(core.is_wanted and core.outcome.status in UNSCORED for core in cores):
        flags.add(ResultFlag.PARTIAL)
    if any(is_unlike_map(core.image, core.outcome) for core in scored):
        flags.add(ResultFlag.CORES_UNLIKE_MAP)
    members = [
        CaseMember(
            blocks=core.region.blocks,
            flags=core.outcome.flags,
            has_tumour_roi=core.outcome.has_tumour_roi,
            has_nests=core.region.has_nests,
            brown=core.region.brown,
            has_tissue=core.outcome.status is not Status.NO_TISSUE,
            is_damaged=core.region.is_damaged,
        )
        for core in scored
        if core.region is not None
    ]
    return score_case(
        members,
        estimate=staining[0],
        config=plan.config,
        pack=plan.pack,
        indication=plan.indication,
        flags=flags,
        blank=blank,
    )


def core_result(name: str, cores: Sequence[Core], *, score: Score | None, plan: Plan) -> tuple[CaseReport, ScoreRow]:
    """The report and the row of a case of cores.

    Parameters
    ----------
    name
        Its name.
    cores
        All of the case (`cores_by_case`).
    score
        As `score_cores` pooled them.
    plan
        How it is scored.
    """
    scored = _scored(cores)
    unscored = {core.image.stem: core.outcome for core in cores if core.is_wanted and core.outcome.status in UNSCORED}
    return core_case_result(
        name,
        [*(core.region for core in scored if core.region is not None), *unscored.values()],
        error=_error(cores),
        score=score,
        mpps=[core.outcome.mpp for core in scored],
        extras=[(*core.image.extra, *core.mapped.extra) for core in cores],
        n_cores=sum(core.is_wanted for core in cores),
        plan=plan,
    )


def _scored(cores: Sequence[Core]) -> list[Core]:
    return [core for core in cores if core.is_wanted and core.region is not None]


def map_warnings(image: Image, outcome: Outcome) -> list[str]:
    """What a person has to know of a slide whose cores are not those of its map, a line each."""
    if not image.cores or not outcome.is_scored:
        return []
    found, mapped = cores_on(outcome), {core.name: core for core in image.cores}
    lost = [name for name, core in mapped.items() if name not in found and core.kind is not CoreKind.MISSING]
    there = [name for name, core in mapped.items() if name in found and core.kind is CoreKind.MISSING]
    unnamed = [name for name in found if name not in mapped]
    warnings = []
    if is_unlike_map(image, outcome):
        expected, seen = _grids(image, outcome)
        grids = "" if expected == seen else f" (the map: {expected or 'none'}; the slide: {seen or 'none'})"
        warnings.append(
            f"{image.name}: its cores are not where the map has them{grids}, so names may be shifted and no call is "
            "made: compare its overlay with the plan; say tma.first, or which cores are missing"
        )
    if lost:
        warnings.append(f"{image.name}: {plural(len(lost), 'core')} of the map not on the slide: {', '.join(lost)}")
    if there:
        warnings.append(f"{image.name}: on the slide though missing in the map, not counted: {', '.join(there)}")
    if unnamed:
        warnings.append(f"{image.name}: on the slide and not in the map, of no case: {', '.join(unnamed)}")
    return warnings


def is_unlike_map(image: Image, outcome: Outcome) -> bool:
    """Whether the names of its cores may be shifted: another grid than the map's, or a core that is missing there."""
    if not image.cores or not outcome.is_scored:
        return False
    expected, seen = _grids(image, outcome)
    missing = {core.name for core in image.cores if core.kind is CoreKind.MISSING}
    return expected != seen or bool(missing & cores_on(outcome).keys())


def _grids(image: Image, outcome: Outcome) -> tuple[str, str]:
    """The grid of the cores that should be there, and that of those that are."""
    expected = [core.name for core in image.cores if core.kind is not CoreKind.MISSING]
    return grid_of(expected), grid_of(cores_on(outcome))


def cores_on(outcome: Outcome) -> dict[str, RegionScore]:
    """The cores that were found on a slide, by name; none of one that is no microarray."""
    return {region.name: region for region in outcome.regions if region.level == "core"}


def _error(cores: Sequence[Core]) -> str:
    """Which cores of the case are not in its score, and why."""
    wanted = [core for core in cores if core.is_wanted]
    unscored = [core for core in wanted if core.outcome.status in UNSCORED]
    lost = [core for core in wanted if core.region is None and core.outcome.status not in UNSCORED]
    of = f"of {plural(len(wanted), 'core')}"
    if not wanted:
        return f"{_named(cores, cores)} missing, as the map says"
    said = []
    if unscored:
        said.append(f"{len(unscored)} {of} not scored, see the row of the slide: {_named(unscored, cores)}")
    if lost:
        said.append(f"{len(lost)} {of} not on the slide: {_named(lost, cores)}")
    return "; ".join(said)


def _named(some: Iterable[Core], cores: Sequence[Core]) -> str:
    """Names of some of the cores, with their slides where there are several."""
    has_slides = len({core.image.stem for core in cores}) > 1
    return named([f"{core.image.name} {core.mapped.name}" if has_slides else core.mapped.name for core in some])
