"""Negative controls of a run: which images they are, and what is said of the limit of blank that they make."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from pdl1quant.batch.inputs import CONTROL_FOLDER, controls_beside
from pdl1quant.batch.record import image_entry
from pdl1quant.batch.rows import UNSCORED, image_row, named
from pdl1quant.batch.work import Image
from pdl1quant.errors import UsageError
from pdl1quant.model import BlankLimit, ResultFlag, StainEstimate
from pdl1quant.outputs.captions import plural
from pdl1quant.outputs.claims import is_result
from pdl1quant.outputs.files import COMPRESSED, SUFFIXES, result_path
from pdl1quant.pipeline import ControlMember, blank_limit
from pdl1quant.slides.cases import folded_case, read_cases
from pdl1quant.slides.core_map import CoreKind
from pdl1quant.slides.discover import discover, output_names
from pdl1quant.slides.opening import is_whole_slide
from pdl1quant.stages.score import MIN_FIELDS, highest_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pdl1quant.batch.job import Job
    from pdl1quant.batch.work import Outcome, Plan
    from pdl1quant.config import Config
    from pdl1quant.model import BrownArea, RulePack
    from pdl1quant.outputs.scores_table import ScoreRow

_LIMITS = TypeAdapter(dict[str, BlankLimit])
_ESTIMATES = TypeAdapter(dict[str, StainEstimate])


def gather_controls(job: Job) -> tuple[Image, ...]:
    """The images of the negative controls of a job; those of one folder share their stain estimate, as a case does.

    Raises
    ------
    UsageError
        A path is none, or holds no image.
    """
    if not job.negative_controls:
        return ()
    found, problems = discover(job.negative_controls, exclude=job.output)
    if problems:  # what was meant as a control and is none is not to be passed over
        raise UsageError(f"--negative-control {problems[0].message}")
    stems = output_names(found)
    n_of_name = Counter(str(item.relative) for item in found)
    return tuple(
        Image(
            path=item.path,
            name=str(item.relative if n_of_name[str(item.relative)] == 1 else stems[item.path]),
            stem=f"{CONTROL_FOLDER}/{stems[item.path]}",
            case=f"{CONTROL_FOLDER}/{item.case}",
            is_slide=is_whole_slide(item.path, mpp=job.mpp, working_mpp=job.config.working_mpp),
        )
        for item in found
    )


def control_warnings(job: Job, controls: Sequence[Image]) -> tuple[str, ...]:
    """Which images in the folders of a job are in no case, as they are controls, in one line."""
    real = {os.path.realpath(image.path) for image in controls}
    found = discover(job.paths, exclude=job.output)[0] if real else []
    taken = [str(item.relative) for item in found if os.path.realpath(item.path) in real]
    if not taken:
        return ()
    which = "1 image is a negative control" if len(taken) == 1 else f"{len(taken)} images are negative controls"
    return (f"{which} and in no case: {named(taken)}",)


def assigned(controls: Sequence[Image], images: Sequence[Image], job: Job) -> tuple[tuple[Image, ...], tuple[str, ...]]:
    """The controls, each with the case whose own it is: that of the table of cases, else whose name its folder has.

    Also which the table gives to a case that has no image in the run, in one line: they count for all cases.
    """
    in_table = _in_table(job, controls) if controls else {}
    names = [name for image in images for name in (image.case, *(core.case for core in image.cores)) if name]
    cases = {folded_case(name): name for name in reversed(names)}
    found, astray = [], []
    for image in controls:
        given = in_table.get(os.path.realpath(image.path))
        name = image.path.parent.absolute().name if given is None else given
        found.append(replace(image, control_of=cases.get(folded_case(name), "")))
        if given is not None and not found[-1].control_of:
            astray.append(f"{image.name} ({given})")
    if job.cases is None or not astray:
        return tuple(found), ()
    of_whom = (
        "a case without an image in this run, so it counts"
        if len(astray) == 1
        else ("cases without an image in this run, so they count")
    )
    which = plural(len(astray), "negative control")
    return tuple(found), (f"{job.cases.name}: gives {which} to {of_whom} for all cases: {named(astray)}",)


def _in_table(job: Job, controls: Sequence[Image]) -> dict[str, str]:
    """The case of each image that the table names, by where it lies."""
    if job.cases is None:
        return {}
    found, _ = discover(job.paths, exclude=job.output)
    table = read_cases(job.cases, found, controls=controls_beside(found, controls))
    return {os.path.realpath(path): row.case for path, row in table.items()}


def limits_of(controls: Sequence[tuple[Image, Outcome]], plan: Plan) -> dict[str, BlankLimit]:
    """The limits of blank of scored controls, each content once: by the case whose own they are, empty for all."""
    members: dict[str, list[ControlMember]] = {}
    seen: set[tuple[str, str]] = set()
    for image, outcome in controls:
        content = (image.control_of, image.sha256)
        if image.sha256 and content in seen:
            continue
        seen.add(content)
        members.setdefault(image.control_of, []).append(
            ControlMember(
                name=image.name,
                fields=() if outcome.counts is None else outcome.blocks if image.is_slide else (outcome.counts,),
                flags=outcome.flags if outcome.score is None else (*outcome.flags, *outcome.score.flags),
                error=outcome.error if outcome.status in UNSCORED else "",
            )
        )
    return {case: blank_limit(of_case, pack=plan.pack, indication=plan.indication) for case, of_case in members.items()}


def without_own(images: Sequence[Image], limits: Mapping[str, BlankLimit]) -> tuple[str, ...]:
    """Which cases have no negative control though others do, in one line."""
    bare = [case for image in images for case in _cases_on(image) if case not in limits]
    if not limits or "" in limits or not bare:
        return ()
    return (f"no negative control of {named(list(dict.fromkeys(bare)))}: all that were given are of other cases",)


def _cases_on(image: Image) -> list[str]:
    """Its case; of a microarray with a map those of its cores of tissue."""
    return [core.case for core in image.cores if core.kind is CoreKind.TISSUE] if image.cores else [image.case]


def control_row(image: Image, outcome: Outcome, *, plan: Plan) -> ScoreRow:
    """The row of a control: level ``control``, in no case; ``case`` is the one whose own it is, empty for all."""
    return replace(image_row(image, outcome, plan=plan), level="control", case=image.control_of)


def limit_lines(case: str, blank: BlankLimit, *, pack: RulePack, config: Config) -> list[str]:
    """What the terminal says of the limit of blank of a case, or of all."""
    n = len(blank.fields)
    parts = [] if blank.limit_pct is None else [f"limit of blank {blank.limit_pct:.2f} % ({pack.score_name})"]
    parts.append(f"{_how(n)} of at least {blank.min_cells} viable tumour cells" if n else "no limit of blank")
    if blank.n_too_few:
        fewer = "with fewer" if n else f"of fewer than {blank.min_cells} viable tumour cells"
        parts.append(f"{plural(blank.n_too_few, 'field')} {fewer} passed over")
    lines = ["  ".join([f"negative control of {case}" if case else "negative control", *parts])]
    typed = config.score.limit_of_blank_pct
    if typed is not None and highest_limit(config.score, blank) == typed:
        lines.append(f"    score.limit_of_blank_pct = {typed:g} is not below it, and holds")
    lines += [f"    it does not hold: {problem}" for problem in blank.problems]
    if ResultFlag.CONTROL_STAINED in blank.flags:
        lines.append("    it is brown: its limit is above the lowest cut-off; is it the right reagent, is it pigment?")
    return lines


def _how(n: int) -> str:
    if n < MIN_FIELDS:
        return f"highest of {plural(n, 'field')}"
    return f"95th percentile of {plural(n, 'field')}"


def remove_results(out: Path, stems: Iterable[str]) -> None:
    """Take away the files of controls that are given no more, and none of others."""
    for stem in stems:
        for kind in SUFFIXES:
            for compression in COMPRESSED if kind == "geojson" else ("none",):
                path = result_path(out, kind, stem, compression=compression)
                if is_result(path):
                    path.unlink()


def control_entry(
    limits: Mapping[str, BlankLimit],
    images: Iterable[Image],
    *,
    estimates: Mapping[str, StainEstimate],
    artefacts: Mapping[str, Mapping[str, float]],
    brown: Mapping[str, BrownArea],
    notes: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """What ``run.json`` says of the controls: limits by case (empty: of all), images, and their staining by folder.

    The other arguments are those of `pdl1quant.batch.record.record_of`; an image's case is the one whose own it is.
    """
    return {
        "limits": _LIMITS.dump_python(dict(limits), mode="json"),
        "images": [
            {
                **image_entry(image, artefacts.get(image.stem), brown.get(image.stem), notes.get(image.stem, ())),
                "case": image.control_of,
            }
            for image in images
        ],
        "estimates": _ESTIMATES.dump_python(dict(estimates), mode="json"),
    }
