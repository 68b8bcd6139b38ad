"""A few cases at a time: sample their staining, estimate it, measure their images, score them."""

from __future__ import annotations

import hashlib
import time
import traceback
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pdl1quant.batch.case import Case
from pdl1quant.batch.controls import control_row
from pdl1quant.batch.cores import core_result, cores_by_case, is_unlike_map, map_warnings, score_cores
from pdl1quant.batch.rows import (
    as_duplicate,
    case_result,
    complaints,
    has_arrays,
    image_row,
    region_rows,
    repeat_warnings,
)
from pdl1quant.batch.slide_work import analyse_slide, take_slide_sample
from pdl1quant.batch.traces import trace_path, write_trace
from pdl1quant.batch.work import (
    Done,
    Image,
    Outcome,
    Task,
    analyse,
    lost,
    outcome_of,
    result_paths,
    take_sample,
    unexpected,
)
from pdl1quant.errors import FullDiskError, NotHdabError, RefusedError, UnreadableError
from pdl1quant.model import BlankLimit, BrownArea, RegionScore, ResultFlag, Score, StainEstimate, Status
from pdl1quant.outputs.files import SCORES_NAME, case_file_name, result_path
from pdl1quant.outputs.scores_table import ScoreRow, write_scores
from pdl1quant.pipeline import estimate_case, score_case
from pdl1quant.slides.hashing import hash_input
from pdl1quant.stages.score import blank_of_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pdl1quant.batch.job import Job, Listener
    from pdl1quant.batch.ledger import Ledger
    from pdl1quant.batch.rows import CaseReport
    from pdl1quant.batch.workers import Workers

_OF_NOTHING = hashlib.sha256(b"").hexdigest()
_SCORES_SHARE = 20
"""The time between two writings of ``scores.csv`` is so many times what the last one took."""


@dataclass(slots=True, kw_only=True)
class CaseWork:
    """The steps of a run over a few cases at a time."""

    job: Job
    ledger: Ledger
    workers: Workers
    scratch: Path
    listener: Listener
    rows: list[ScoreRow]
    images: list[Image] = field(default_factory=list)
    estimates: dict[str, StainEstimate] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    artefacts: dict[str, dict[str, float]] = field(default_factory=dict)
    brown: dict[str, BrownArea] = field(default_factory=dict)
    regions: dict[str, tuple[RegionScore, ...]] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What was done to, or ignored in, each image on reading it, by its stem."""
    counted: list[Image] = field(default_factory=list)
    """Those that take part in the score of a case."""
    arrays: list[tuple[Image, Outcome]] = field(default_factory=list)
    """Slides whose cores a map names: these are pooled when all are there."""
    unscored: list[tuple[str, str]] = field(default_factory=list)
    """Name and error of images of which nothing was said yet."""
    of_controls: bool = False
    """Whether the images are negative controls, of no case."""
    controls: list[tuple[Image, Outcome]] = field(default_factory=list)
    """Negative controls, each content once."""
    limits: Mapping[str, BlankLimit] = field(default_factory=dict)
    """What the controls said, by the case whose own they are; empty for all."""
    next_scores: float = 0.0
    """When ``scores.csv`` may be written again (`time.monotonic`)."""

    def score(self, wave: Sequence[tuple[str, tuple[Image, ...]]]) -> None:
        """Go through all steps with a few cases, and add their rows.

        Parameters
        ----------
        wave
            Name and images of each case; at least one. Their steps are taken together, so that the images of small
            cases keep all workers busy.

        Raises
        ------
        OutputError
            Results cannot be written. What is wrong with an image or a case ends in its row, and is told to the
            listener.
        """
        cases = [self._opened(name, images) for name, images in wave]
        self.listener.doing("reading", wave[0][0])
        self._sample(cases)
        for case in cases:
            self._estimate(case)
        self._complain()
        self.listener.doing("scoring", wave[0][0])
        try:
            self._analyse(cases)
        except FullDiskError:  # those that are done have their rows all the same
            self._complain()
            for case in cases:
                if not case.open_images:
                    self._close(case)
            raise
        self._complain()
        for case in cases:
            self._close(case)
        self._write_scores()

    def pool(self) -> None:
        """Add the rows of the cases that the cores of microarrays are of; after all waves."""
        plan = self.job.plan
        for name, cores in cores_by_case(self.arrays).items():
            score, error = self._scored(
                name,
                partial(
                    score_cores, cores, estimates=self.estimates, plan=plan, blank=blank_of_case(self.limits, name)
                ),
            )
            report, row = core_result(name, cores, score=score, plan=plan)
            self._add_case(report, row, error=error)

    def _write_scores(self) -> None:
        """What there is so far; not after each of many small cases, for it is all that there is."""
        began = time.monotonic()
        if began >= self.next_scores:
            write_scores(self.rows, self.job.output / SCORES_NAME)
            self.next_scores = began + _SCORES_SHARE * (time.monotonic() - began)

    def _opened(self, name: str, images: Sequence[Image]) -> Case:
        """Hash the images and find those that are there twice."""
        hashed = []
        same: dict[str, list[Image]] = {}
        case = Case(name=name, images=())
        for image in images:
            path = image.path
            try:
                sha256, roi_sha256 = hash_input(path), ""
                if image.roi is not None:
                    path = image.roi
                    roi_sha256 = hash_input(path)
                hashed.append(replace(image, sha256=sha256, roi_sha256=roi_sha256))
            except OSError as error:
                hashed.append(image)
                reason = f"cannot be read ({error.strerror or error}); check the file and its permissions"
                self._ended(case, image, Done(outcome=outcome_of(UnreadableError(f"{path.name}: {reason}"), image)))
                continue
            if hashed[-1].sha256 != _OF_NOTHING:  # an empty file is the copy of none
                same.setdefault(hashed[-1].sha256, []).append(hashed[-1])
        for copies in same.values():
            self._count_once(case, copies)
        case.images = tuple(hashed)
        self.images += hashed
        earlier = self.ledger.earlier_estimate(name)
        if earlier is not None and earlier[0] <= set(same):
            case.earlier = earlier
        return case

    def _count_once(self, case: Case, copies: Sequence[Image]) -> None:
        """Of images with the same content take the first on which somebody drew; there is no telling between two."""
        original = next((image for image in copies if image.roi is not None), copies[0])
        for image in copies:
            if image.roi_sha256 not in {"", original.roi_sha256}:
                reason = f"the same image as {original.name}, with other regions; leave one of the two out"
                self._ended(case, image, Done(outcome=outcome_of(RefusedError(f"{image.name}: {reason}"), image)))
            elif image is not original:
                case.originals[image.stem] = original.stem

    def _sample(self, cases: Sequence[Case]) -> None:
        """Sample what an earlier estimate does not cover; where that adds to it, the rest as well."""
        self._take_samples(
            [(case, image) for case in cases for image in case.open_images if not case.is_covered(image)]
        )
        stale = [case for case in cases if case.samples and case.earlier is not None]
        self._take_samples([(case, image) for case in stale for image in case.open_images if case.is_covered(image)])
        for case in stale:
            case.earlier = None

    def _take_samples(self, wanted: Sequence[tuple[Case, Image]]) -> None:
        tasks = [Task(image=image, plan=self.job.plan) for _, image in wanted]
        if len(tasks) == 1 and tasks[0].image.is_slide:  # done before a worker has started, and needed here anyway
            samples = iter([(0, take_slide_sample(tasks[0]))])
        else:
            samples = self.workers.run(_take_sample, tasks, crashed=lost)
        for n_done, (index, done) in enumerate(samples, start=1):
            case, image = wanted[index]
            self.listener.doing(f"reading {n_done}/{len(wanted)}", case.name)
            if done.sample is not None:
                case.samples[image.stem] = done.sample
                self._took(image, done)
            else:
                self._ended(case, image, done)

    def _estimate(self, case: Case) -> None:
        """One stain estimate for the case: the earlier run's if nothing was added, else from the samples."""
        if case.earlier is not None:
            case.hashes, case.estimate = case.earlier
        elif case.samples:
            sampled = [image for image in case.images if image.stem in case.samples]
            case.hashes = frozenset(image.sha256 for image in sampled)
            try:
                case.estimate = estimate_case(
                    [case.samples[image.stem] for image in sampled], config=self.job.config, white=self.job.white
                )
            except NotHdabError as error:
                for image in sampled:
                    self._ended(case, image, Done(outcome=outcome_of(error, image)))
            except Exception as error:  # noqa: BLE001  one case must not stop the others
                for image in sampled:
                    self._ended(case, image, unexpected(error, image))
        case.samples.clear()
        if case.estimate is not None:
            self.estimates[case.name] = case.estimate
            self.ledger.add_estimate(case.name, case.hashes, case.estimate)

    def _analyse(self, cases: Sequence[Case]) -> None:
        wanted: list[tuple[Case, Image]] = []
        for case in cases:
            for image in case.open_images:
                earlier = self.ledger.earlier_outcome(image.stem, key=case.key_of(image))
                if earlier is not None and all(path.exists() for path in self._results(image)):
                    self._ended(case, image, Done(outcome=earlier))
                else:
                    wanted.append((case, image))
        images = [(case, image) for case, image in wanted if not image.is_slide]
        tasks = [Task(image=image, plan=self.job.plan, estimate=case.estimate) for case, image in images]
        for index, done in self.workers.run(analyse, tasks, crashed=lost):
            self._ended(*images[index], done)
        for case, image in wanted:
            if image.is_slide:
                self._ended(case, image, self._analyse_slide(case, image))

    def _analyse_slide(self, case: Case, image: Image) -> Done:
        """One slide at a time: its tiles are what the workers share."""

        def progress(n_done: int, n: int) -> None:
            self.listener.doing(f"tile {n_done}/{n}", case.name)

        task = Task(image=image, plan=self.job.plan, estimate=case.estimate)
        return analyse_slide(task, workers=self.workers, scratch=self.scratch, progress=progress)

    def _ended(self, case: Case, image: Image, done: Done) -> None:
        """An image is scored, or will not be."""
        assert done.outcome is not None
        case.outcomes[image.stem] = done.outcome
        self._took(image, done)
        if done.trace:
            write_trace(self.job.output, image.stem, done.trace)
        if done.outcome.artefacts is not None:
            self.artefacts[image.stem] = done.outcome.artefacts
        self.notes[image.stem] = done.outcome.notes
        if done.outcome.is_scored:
            key = case.key_of(image)
            self.ledger.add_outcome(image.stem, key=key, outcome=done.outcome, is_control=self.of_controls)
            self._remove_results(image, but=self._results(image))
        else:
            self.unscored.append((image.name, done.outcome.error))
            self._remove_results(image)
        self.listener.advance()

    def _complain(self) -> None:
        for message in complaints(sorted(self.unscored)):  # workers end in any order
            self.listener.complain(message)
        self.unscored.clear()

    def _took(self, image: Image, done: Done) -> None:
        self.seconds[image.stem] = self.seconds.get(image.stem, 0.0) + done.seconds

    def _results(self, image: Image) -> Iterable[Path]:
        return result_paths(image, self.job.plan).values()

    def _remove_results(self, image: Image, *, but: Iterable[Path] = ()) -> None:
        """A resumed run must not leave the results of what is no result any more, nor regions that are gone."""
        regions = result_path(self.job.output, "regions", image.stem)
        for path in {*self._results(image), regions} - set(but):
            path.unlink(missing_ok=True)

    def _close(self, case: Case) -> None:
        """Score the case from its images and write down their rows."""
        for stem, original in case.originals.items():
            case.outcomes[stem] = as_duplicate(case.outcomes[original])
            self.notes[stem] = case.outcomes[stem].notes
        for image in case.images:
            if image.stem in case.originals:
                self._remove_results(image)
                self.listener.advance()
        members = [(image, case.outcomes[image.stem]) for image in case.images]
        self.counted += [image for image, outcome in members if outcome.is_scored]
        self.brown |= {image.stem: each.brown for image, each in members if each.is_scored}
        self.regions |= {image.stem: each.regions for image, each in members if each.regions}
        own = [member for member in members if member[0].stem not in case.originals]
        for message in repeat_warnings(own, of_controls=self.of_controls):
            self.listener.complain(message)
        plan = self.job.plan
        if self.of_controls:
            self.controls += own
            self.rows += [control_row(*member, plan=plan) for member in members]
            return
        score, error = self._case_score(case)
        report, row = case_result(case.name, members, duplicates=set(case.originals), score=score, plan=plan)
        for image, outcome in members:
            self.rows += [image_row(image, outcome, plan=plan), *region_rows(image, outcome, plan=plan)]
            if image.cores:
                self.arrays.append((image, outcome))
            for message in map_warnings(image, outcome):
                self.listener.complain(message)
        self._add_case(report, row, error=error)

    def _add_case(self, report: CaseReport, row: ScoreRow, *, error: str) -> None:
        """Write down a case, or, with an ``error``, that its score failed."""
        if error:
            row = replace(row, status=Status.FAILED, error=error)
            report = replace(report, status=Status.FAILED)
        self.rows.append(row)
        self.listener.case_done(report)

    def _case_score(self, case: Case) -> tuple[Score | None, str]:
        """The score of the case if one of its images was measured, or why there is none."""
        outcomes = [case.outcomes[image.stem] for image in case.images if image.stem not in case.originals]
        members = [outcome.member for outcome in outcomes if outcome.is_scored]
        if not members or case.estimate is None:
            return None, ""
        plan = self.job.plan
        flags = (ResultFlag.PARTIAL,) if len(members) < len(outcomes) else ()
        is_array = has_arrays(case.images, plan)
        if is_array and not all(image.cores for image in case.images if image.is_slide):
            flags = (*flags, ResultFlag.NO_CORE_MAP)
        if any(is_unlike_map(image, case.outcomes[image.stem]) for image in case.images):
            flags = (*flags, ResultFlag.CORES_UNLIKE_MAP)
        pooled = partial(
            score_case,
            members,
            estimate=case.estimate,
            config=plan.config,
            pack=plan.pack,
            indication=None if is_array else plan.indication,
            flags=flags,
            level="image" if is_array else "case",
            blank=blank_of_case(self.limits, case.name),
        )
        return self._scored(case.name, pooled)

    def _scored(self, name: str, pooled: Callable[[], Score | None]) -> tuple[Score | None, str]:
        """The score of a case, or why there is none."""
        try:
            return pooled(), ""
        except Exception as error:  # noqa: BLE001  one case must not stop the others
            message = f"{type(error).__name__}: {' '.join(str(error).split())}"
            stem = case_file_name(name)
            write_trace(self.job.output, stem, traceback.format_exc())
            message = f"{message}; see {trace_path(Path(), stem).as_posix()}"
            self.listener.complain(f"{name}: {message}")
            return None, message


def _take_sample(task: Task) -> Done:
    return take_slide_sample(task) if task.image.is_slide else take_sample(task)
