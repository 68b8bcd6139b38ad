"""A run's folder -> what a report says of it: cases with their rows, images, cells, and where the pixels are now."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from pdl1quant.errors import ReviewError
from pdl1quant.model import StainEstimate, Status
from pdl1quant.outputs.compared_scores import outdated_agreement
from pdl1quant.outputs.files import REVIEWED_NAME, RUN_RECORD_NAME, SCORES_NAME
from pdl1quant.outputs.reviewed import AUTOMATED_FIELDS, ReviewedRow, read_reviewed
from pdl1quant.outputs.run_record import TIMINGS, read_run_record
from pdl1quant.outputs.scores_table import read_scores
from pdl1quant.report.digest import Digest, ReportCells, sum_of
from pdl1quant.report.regions import ImageRegions, read_regions
from pdl1quant.review.cores import slides_of_cores
from pdl1quant.review.ledger import ledger_digest, ledger_path
from pdl1quant.review.places import find_image
from pdl1quant.review.results import ImageResult, Results, find_cells, open_results

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pdl1quant.outputs.scores_table import ScoreRow

_ESTIMATES = TypeAdapter(dict[str, StainEstimate])

_COMPANION = re.compile(r"[ _-]?(image|section|slide|file)$", re.IGNORECASE)
_COMPANION_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".svs", ".ndpi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """Another section of the case, as a free column of the cases table names it; not measured."""

    title: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportImage:
    """One image: its row, its cells (none where it was not scored, or repeats another one), its file if still there."""

    row: ScoreRow
    result: ImageResult | None = None
    cells: ReportCells | None = None
    path: Path | None = None
    artefacts: Mapping[str, float] | None = None
    """Share of the tissue (0-1) that each kind of artefact covers; None where nobody looked."""
    notes: tuple[str, ...] = ()
    """What was done to it, or ignored in it, on reading."""
    regions: ImageRegions = field(default_factory=ImageRegions)
    """What was drawn on it, for the run and in a review, and its cores."""
    reviewed: ReviewedRow | None = None
    is_edited_since: bool = False
    """Whether its ledger holds more, or other edits than ``reviewed`` counts."""

    @property
    def is_counted(self) -> bool:
        """Whether its cells are in the score of the case."""
        return self.cells is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRegion:
    """A drawn region or a core: its row, and what a review makes of it; as of a `ReportImage`."""

    row: ScoreRow
    reviewed: ReviewedRow | None
    is_edited_since: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCase:
    """One case with all that the report shows of it."""

    row: ScoreRow
    images: tuple[ReportImage, ...]
    regions: tuple[ReportRegion, ...]
    """Drawn regions and cores, in the order of the table."""
    estimate: StainEstimate | None
    reviewed: ReviewedRow | None
    is_edited_since: bool = False
    """Whether its ledgers hold more, or other edits than ``reviewed`` counts."""
    companions: tuple[Companion, ...]

    @property
    def is_array(self) -> bool:
        """Whether it is a microarray, whose cores may be of several cases, and no case itself."""
        return self.row.level == "array"

    @property
    def is_of_cores(self) -> bool:
        """Whether it is pooled from cores of a microarray, and has no image of its own."""
        return not self.images and any(each.row.level == "core" for each in self.regions)

    @property
    def digest(self) -> Digest | None:
        """What is said of the cells that are in the score; None without any image that was scored."""
        found = [image.cells.digest for image in self.images if image.is_counted and image.cells is not None]
        return sum_of(found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRun:
    """A run as a whole; cases are loaded one by one (`load_case`), for a cohort does not fit into memory."""

    results: Results
    record: Mapping[str, Any]
    case_rows: tuple[ScoreRow, ...]
    image_rows: tuple[ScoreRow, ...]
    region_rows: tuple[ScoreRow, ...]
    control_rows: tuple[ScoreRow, ...]
    """Negative controls, which are of no case."""
    reviewed: Mapping[str, ReviewedRow]
    reviewed_images: tuple[ReviewedRow | None, ...]
    """For each of ``image_rows``."""
    reviewed_regions: tuple[ReviewedRow | None, ...]
    """For each of ``region_rows``."""
    region_images: tuple[ImageResult | None, ...]
    """The image on which each of ``region_rows`` lies: others may have its name."""
    outdated: str
    """What to say of a comparison with readers in the folder that is of other scores; empty without one."""
    counted_edits: Mapping[str, str]
    """Hashes of the ledgers that ``reviewed`` counts, by the place of the results of their images."""
    estimates: Mapping[str, StainEstimate]
    images_folder: Path | None = None
    roots: tuple[Path, ...] = field(default=())
    """Folders below which companions may lie."""


def open_run(out: Path, *, images: Path | None = None) -> ReportRun:
    """Open the folder of a finished run.

    Parameters
    ----------
    out
        The folder after ``score -o``; it may have been moved.
    images
        Where the images are now, if they moved.

    Raises
    ------
    UsageError
        It is no folder of results.
    ReviewError
        Another version of pdl1quant made it.
    OutputError
        A file in it is damaged.
    """
    results = open_results(out)
    rows = read_scores(out / SCORES_NAME)
    record = read_run_record(out / RUN_RECORD_NAME)
    reviewed = read_reviewed(out / REVIEWED_NAME) if (out / REVIEWED_NAME).is_file() else ()
    case_rows = [row for row in rows if row.level in ("case", "array")]
    image_rows = tuple(row for row in rows if row.level == "image")
    region_rows = tuple(row for row in rows if row.level in ("roi", "core"))
    known = {row.case for row in case_rows}
    alone = {row.case: row for row in image_rows if row.case not in known}  # named, and no image: a row of its own
    given = [Path(path) for path in record.get(TIMINGS, {}).get("cases", ())]
    return ReportRun(
        results=results,
        record=record,
        case_rows=(*case_rows, *alone.values()),
        image_rows=image_rows,
        region_rows=region_rows,
        reviewed_images=_reviewed_of(image_rows, reviewed),
        reviewed_regions=_reviewed_of(region_rows, reviewed),
        region_images=_images_of(region_rows, results.images),
        control_rows=tuple(row for row in rows if row.level == "control"),
        reviewed=_reviewed_cases(case_rows, reviewed),
        outdated=outdated_agreement(out),
        counted_edits=_counted_edits(results, reviewed),
        estimates=_ESTIMATES.validate_python(record.get("estimates", {})),
        images_folder=images,
        roots=tuple(path.parent for path in given),
    )


def load_case(run: ReportRun, row: ScoreRow) -> ReportCase:
    """A case with the cells of its images, which stay in their files.

    Raises
    ------
    OutputError
        A cells table is missing or damaged.
    ReviewError
        A cells table is of another image or of other settings than the record says.
    """
    left = [image for image in run.results.images if image.case == row.case]
    images = []
    for image_row, reviewed in zip(run.image_rows, run.reviewed_images, strict=True):
        if image_row.case != row.case:
            continue
        result = next((each for each in left if each.row is image_row or each.row == image_row), None)
        if result is not None:
            left.remove(result)
        images.append(_load_image(run, image_row, result, reviewed))
    extra = dict(row.extra)
    for image_row in run.image_rows:
        if image_row.case == row.case:
            extra = {**image_row.extra, **{name: text for name, text in extra.items() if text}}
    return ReportCase(
        row=row,
        images=tuple(images),
        regions=_regions(run, row),
        estimate=run.estimates.get(row.case),
        reviewed=run.reviewed.get(row.case),
        is_edited_since=_is_edited_since(run, row.case),
        companions=_companions(extra, run.roots),
    )


def _counted_edits(results: Results, reviewed: Iterable[ReviewedRow]) -> dict[str, str]:
    rows = _reviewed_of([image.row for image in results.images], reviewed)
    pairs = zip(results.images, rows, strict=True)
    return {image.stem: row.edits_sha256 for image, row in pairs if row is not None and row.edits_sha256}


def _reviewed_of(rows: Iterable[ScoreRow], reviewed: Iterable[ReviewedRow]) -> tuple[ReviewedRow | None, ...]:
    """What a review makes of each row; of those that are named alike the first has the first.

    None where the run was scored again since, and says something else now than what was reviewed.
    """
    waiting: dict[tuple[str, ...], deque[ReviewedRow]] = {}
    for each in reviewed:
        waiting.setdefault(_name(each), deque()).append(each)
    found = [(row, waiting.get(_name(row))) for row in rows]
    pairs = ((row, each.popleft() if each else None) for row, each in found)
    return tuple(None if each is None or _is_of_others(each, row) else each for row, each in pairs)


def _is_of_others(reviewed: ReviewedRow, row: ScoreRow) -> bool:
    """Whether anything that a reviewed row repeats of the run is said otherwise now, its calls and settings, too."""
    if reviewed.status not in (row.status, Status.FAILED):
        return True
    return any(getattr(reviewed, name) != getattr(row, name) for name in AUTOMATED_FIELDS)


def _reviewed_cases(rows: Iterable[ScoreRow], reviewed: Iterable[ReviewedRow]) -> dict[str, ReviewedRow]:
    rows = list(rows)
    pairs = zip(rows, _reviewed_of(rows, reviewed), strict=True)
    return {row.case: each for row, each in pairs if each is not None}


def edited_since(run: ReportRun) -> tuple[str, ...]:
    """Images whose ledger holds more, or other edits than were counted; not those whose edits cannot be applied."""
    pairs = zip(run.image_rows, run.reviewed_images, strict=True)
    failed = {(row.case, row.image) for row, each in pairs if each is not None and each.status is Status.FAILED}
    images = (each for each in run.results.images if (each.case, each.name) not in failed)
    return tuple(each.name for each in images if _differ(run, [each]))


def _is_edited_since(run: ReportRun, case: str) -> bool:
    """Whether a ledger of its images, or of the slides that its cores are on, is another than was counted."""
    images = run.results.of_case(case) or slides_of_cores(run.results, case)
    was_reviewed = any(run.counted_edits.get(run.results.original_of(image).stem) for image in images)
    return _differ(run, images) or (was_reviewed and case not in run.reviewed)


def _differ(run: ReportRun, images: Iterable[ImageResult]) -> bool:
    """Whether a ledger of some images is another than was counted."""
    stems = {run.results.original_of(image).stem for image in images}  # a duplicate has none of its own
    return any(run.counted_edits.get(stem, "") != ledger_digest(ledger_path(run.results.out, stem)) for stem in stems)


def _images_of(rows: Iterable[ScoreRow], images: Iterable[ImageResult]) -> tuple[ImageResult | None, ...]:
    """The image on which each region lies; of those that are named alike the first has the first."""
    waiting: dict[tuple[str, ...], deque[ImageResult]] = {}
    for image in images:
        for each in image.regions:
            waiting.setdefault(_name(each.row), deque()).append(image)
    found = (waiting.get(_name(row)) for row in rows)
    return tuple(each.popleft() if each else None for each in found)


def _name(row: ScoreRow | ReviewedRow) -> tuple[str, ...]:
    return row.level, row.image, row.case, row.region


def _regions(run: ReportRun, row: ScoreRow) -> tuple[ReportRegion, ...]:
    """Those of the case; of a microarray all that are on its slides, whosever they are."""
    found = list(zip(run.region_rows, run.reviewed_regions, run.region_images, strict=True))
    if row.level == "array":
        found = [each for each in found if each[2] is not None and each[2].case == row.case]
    else:
        found = [each for each in found if each[0].case == row.case]
    edited = {id(image): _differ(run, [] if image is None else [image]) for *_, image in found}
    return tuple(
        ReportRegion(row=each, reviewed=reviewed, is_edited_since=edited[id(image)]) for each, reviewed, image in found
    )


def _load_image(run: ReportRun, row: ScoreRow, result: ImageResult | None, reviewed: ReviewedRow | None) -> ReportImage:
    is_edited_since = _differ(run, [] if result is None else [result])
    if result is None or not result.has_cells:
        return ReportImage(row=row, result=result, reviewed=reviewed, is_edited_since=is_edited_since)
    file = find_cells(run.results, result)
    try:
        path = find_image(run.results, result, folder=run.images_folder)
    except (ReviewError, OSError):  # moved: the report shows what was drawn when it was scored
        path = None
    entry: dict[str, Any] = next((each for each in run.record["images"] if each["results"] == result.stem), {})
    return ReportImage(
        row=row,
        result=result,
        cells=ReportCells(file=file, mpp=float(file.said["mpp"]), config=run.results.config, pack=run.results.pack),
        path=path,
        artefacts=entry.get("artefacts"),
        notes=tuple(entry.get("notes", ())),
        regions=read_regions(run.results, result, _regions_on(run, result, is_edited_since=is_edited_since)),
        reviewed=reviewed,
        is_edited_since=is_edited_since,
    )


def _regions_on(run: ReportRun, image: ImageResult, *, is_edited_since: bool) -> list[ReportRegion]:
    """The regions and cores of an image; a map gives its cores to other cases."""
    found = zip(run.region_rows, run.reviewed_regions, run.region_images, strict=True)
    return [
        ReportRegion(row=row, reviewed=reviewed, is_edited_since=is_edited_since)
        for row, reviewed, owner in found
        if owner is image
    ]


def _companions(extra: Mapping[str, str], roots: tuple[Path, ...]) -> tuple[Companion, ...]:
    """Free columns whose value names an image beside, or below the folder of, the cases table."""
    found = []
    for name, value in extra.items():
        if not value.lower().endswith(_COMPANION_SUFFIXES):
            continue
        for root in roots:
            path = (root / value).resolve()
            # a table from elsewhere must not pull other files of this computer into a report
            if path.is_relative_to(root.resolve()) and path.is_file():
                title = _COMPANION.sub("", name).replace("_", " ").strip() or name
                found.append(Companion(title=title, path=path))
                break
    return tuple(found)
