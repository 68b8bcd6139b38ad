"""Score many images, case by case: nothing that goes wrong with one image stops the others, and a run can go on.

Each case is worked on in two passes: the first samples the staining of all its images, the second measures them with
the one estimate that these samples make. Results do not depend on the number of workers or on who finished first.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from pdl1quant.assays import find_indication, load_pack
from pdl1quant.batch.case_work import CaseWork
from pdl1quant.batch.controls import (
    assigned,
    control_entry,
    control_warnings,
    gather_controls,
    limit_lines,
    limits_of,
    remove_results,
    without_own,
)
from pdl1quant.batch.inputs import (
    CONTROL_FOLDER,
    array_warnings,
    by_case,
    gather,
    region_warnings,
    shared_warnings,
    skipped_warnings,
    spelling_warnings,
    table_warnings,
    turned_warnings,
    twin_warnings,
)
from pdl1quant.batch.job import Job, Listener, Summary
from pdl1quant.batch.ledger import Ledger
from pdl1quant.batch.record import record_of, settings_of
from pdl1quant.batch.rows import UNSCORED, complaints, outdated_warnings, problem_row
from pdl1quant.batch.slide_work import prepare
from pdl1quant.batch.traces import clear_traces, write_trace
from pdl1quant.batch.workers import Workers
from pdl1quant.errors import FullDiskError, OutputError, Pdl1QuantError, UsageError
from pdl1quant.naming import with_classifier_hash
from pdl1quant.networks.chosen import pin_model
from pdl1quant.networks.session import close_models
from pdl1quant.outputs.claims import claim_output
from pdl1quant.outputs.files import REPORT_NAME, RUN_RECORD_NAME, SCORES_NAME, scratch_folder
from pdl1quant.outputs.run_record import write_run_record
from pdl1quant.outputs.scores_table import write_scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pdl1quant.batch.work import Image
    from pdl1quant.model import BlankLimit, Indication, RulePack
    from pdl1quant.slides.discover import Problem

_IMAGES_AHEAD_PER_WORKER = 4
"""Small cases are worked on together, so that no worker waits for the end of a case."""


def find_rules(assay: str, indication: str | None) -> tuple[RulePack, Indication | None]:
    """The rule pack and the indication of these names.

    Raises
    ------
    AssayError
        There is none.
    """
    pack = load_pack(assay)
    return pack, None if indication is None else find_indication(pack, indication)


def run(job: Job, *, listener: Listener) -> Summary:
    """Score all images and cases of a job and write the results.

    An image that cannot be scored gets a row that says so, and the others are scored. What is written is whole at any
    time; a run that is stopped can be resumed and then writes what it would have written without the stop.

    Raises
    ------
    UsageError
        Nothing was read or written: the inputs, the output folder, or the settings of a resumed run do not fit.
    FullDiskError
        The disk of the results is full; no further image was tried.
    OutputError
        The results as a whole cannot be written.
    """
    if job.core_map is not None and not job.is_array:
        raise UsageError(f"{job.core_map.name}: names cores, which are looked for with --tma only; pass that, too")
    job = replace(job, config=with_classifier_hash(job.config))
    job = replace(job, config=pin_model(job.config))
    controls = gather_controls(job)
    images, problems = gather(
        job.paths,
        output=job.output,
        cases=job.cases,
        core_map=job.core_map,
        roi=job.roi,
        mpp=job.mpp,
        working_mpp=job.config.working_mpp,
        controls=controls,
    )
    controls, astray = assigned(controls, images, job)
    given = [
        path for path in (*job.paths, *job.negative_controls, job.roi, job.cases, job.core_map) if path is not None
    ]
    names = [image.stem for image in (*images, *controls)]
    with claim_output(job.output, overwrite=job.overwrite, resume=job.resume, inputs=given, names=names):
        try:
            return _run(job, images, problems, controls, astray=astray, listener=listener)
        except FullDiskError as error:
            how = "with --resume in place of --overwrite" if job.overwrite else "with --resume"
            raise FullDiskError(
                f"{job.output}: its disk or your quota is full, so the run has stopped; what is written is whole: make "
                f"room, then run the same command {how} to go on"
            ) from error


def _run(
    job: Job,
    images: Sequence[Image],
    problems: Sequence[Problem],
    controls: Sequence[Image],
    *,
    astray: Sequence[str],
    listener: Listener,
) -> Summary:
    """The run itself, in a folder that is its own; ``astray`` says what `assigned` does of controls."""
    everything = [image.stem for image in (*images, *controls)]
    ledger = Ledger(job.output, settings_of(job))
    if job.resume:
        ledger.resume(everything)
        remove_results(job.output, ledger.controls_but(everything))
    else:
        ledger.begin()
    clear_traces(job.output)
    started = datetime.now(tz=UTC)
    listener.begin(len(everything))
    rows = [problem_row(*_named(problem), plan=job.plan) for problem in problems]
    for message in (
        *outdated_warnings(ledger.outdated(everything)),
        *complaints((row.image, row.error) for row in rows),
        *skipped_warnings(job.paths, output=job.output),
        *control_warnings(job, controls),
        *astray,
        *table_warnings(images, job.cases),
        *spelling_warnings(images),
        *twin_warnings(images),
        *region_warnings(images, job.roi),
    ):
        listener.complain(message)
    has_slides = any(image.is_slide for image in (*images, *controls))
    n_workers = job.workers if has_slides else min(job.workers, max(1, len(images), len(controls)))
    for message in array_warnings(images, job.core_map) if job.is_array else ():
        listener.complain(message)
    try:
        with scratch_folder(job.output) as scratch, Workers(n_workers) as workers:
            if not ledger.knows(everything):  # processes take a second or two to start
                workers.begin(prepare, job.config)
            worker = partial(CaseWork, ledger=ledger, workers=workers, scratch=scratch, listener=listener, rows=rows)
            n_ahead = job.workers * _IMAGES_AHEAD_PER_WORKER if job.workers > 1 else 1
            control = worker(job=replace(job, is_array=False), of_controls=True)
            limits = _score_controls(control, controls, n_images=n_ahead)
            for message in without_own(images, limits):
                listener.complain(message)
            work = worker(job=job, limits=limits)
            for wave in _waves(by_case(images), n_images=n_ahead):
                work.score(wave)
            work.pool()
    except BaseException:  # stopped, or a full disk: the rows of the cases that are done are not to be lost
        if rows:
            with suppress(OutputError):
                write_scores(rows, job.output / SCORES_NAME)
        raise
    close_models()  # the report needs the memory: it reads all cells of a case
    write_scores(rows, job.output / SCORES_NAME)
    ledger.finish()
    write_run_record(
        job.output / RUN_RECORD_NAME,
        record_of(
            job,
            work.images,
            estimates=work.estimates,
            started=started,
            seconds=control.seconds | work.seconds,
            artefacts=work.artefacts,
            brown=work.brown,
            regions=work.regions,
            arrays=work.arrays,
            notes=work.notes,
            controls=_control_entry(limits, control) if controls else None,
        ),
    )
    counted = [replace(image, case=CONTROL_FOLDER) for image in control.counted]  # of each content one counts
    for message in (*shared_warnings([*work.counted, *counted]), *turned_warnings(images, work.notes)):
        listener.complain(message)
    has_report = _write_report(job.output, listener)
    n_unscored = sum(row.level in ("image", "control") and row.status in UNSCORED for row in rows)
    summary = Summary(output=job.output, rows=tuple(rows), n_unscored=n_unscored, has_report=has_report)
    listener.end(summary)
    return summary


def _control_entry(limits: Mapping[str, BlankLimit], work: CaseWork) -> dict[str, Any]:
    return control_entry(
        limits, work.images, estimates=work.estimates, artefacts=work.artefacts, brown=work.brown, notes=work.notes
    )


def _score_controls(work: CaseWork, controls: Sequence[Image], *, n_images: int) -> dict[str, BlankLimit]:
    """The limits of blank (`limits_of`), before any case: all calls depend on them."""
    for wave in _waves(by_case(controls), n_images=n_images):
        work.score(wave)
    limits = limits_of(work.controls, work.job.plan)
    for case, blank in limits.items():
        work.listener.control_done(limit_lines(case, blank, pack=work.job.pack, config=work.job.config))
    return limits


def _write_report(out: Path, listener: Listener) -> bool:
    """Whether it was written: the scores are by now, and whatever goes wrong here must not look as if they were not."""
    listener.doing("writing", REPORT_NAME)
    from pdl1quant.report import write_report  # noqa: PLC0415  slow to import, and no worker needs it

    try:
        if outdated := write_report(out).outdated:
            listener.complain(outdated)
    except Exception as error:  # noqa: BLE001  a picture of the results is no result
        reason = " ".join(str(error).split())
        if not isinstance(error, Pdl1QuantError):  # nobody expected it
            write_trace(out, REPORT_NAME, traceback.format_exc())
            reason = f"{type(error).__name__}: {reason}"
        earlier = ", the one there is of an earlier run" if (out / REPORT_NAME).exists() else ""
        listener.complain(
            f"{REPORT_NAME}: not written ({reason}){earlier}; the scores are whole: run pdl1quant report {out}"
        )
        return False
    return True


def _named(problem: Problem) -> tuple[str, str, str]:
    """Name, case and message of what is no image; the message without the name or path that it begins with."""
    path = problem.path
    message = problem.message.removeprefix(f"{path}: ").removeprefix(f"{path.name}: ")
    return path.name, path.parent.name, message


def _waves(cases: Mapping[str, tuple[Image, ...]], *, n_images: int) -> Iterator[list[tuple[str, tuple[Image, ...]]]]:
    """Consecutive cases that together have at least ``n_images``."""
    wave: list[tuple[str, tuple[Image, ...]]] = []
    for name, images in cases.items():
        wave.append((name, images))
        if sum(len(members) for _, members in wave) >= n_images:
            yield wave
            wave = []
    if wave:
        yield wave
