"""The work on one image, done in a worker: small values in, files written, small values out.

Nothing that goes wrong with one image leaves this module as an exception: it becomes an `Outcome` that says so. A full
disk does, for there is no room for the results of the others either.
"""

from __future__ import annotations

import math
import time
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import shapely

from pdl1quant.batch.traces import trace_path
from pdl1quant.errors import FullDiskError, InputError, OutputError, RefusedError, UnreadableError
from pdl1quant.model import (
    BrownArea,
    Counts,
    Indication,
    RegionScore,
    ResultFlag,
    RoiMasks,
    RulePack,
    Score,
    StainEstimate,
    Status,
)
from pdl1quant.outputs.captions import Caption, score_text
from pdl1quant.outputs.files import replace_together, result_path
from pdl1quant.outputs.geojson import write_geojson
from pdl1quant.outputs.labels import write_labels
from pdl1quant.outputs.overlays import write_overlay
from pdl1quant.outputs.regions import write_regions
from pdl1quant.outputs.tables import write_cells
from pdl1quant.pipeline import CaseMember, StainSample, analyse_image, sample_image
from pdl1quant.slides.images import PlainImage, read_image
from pdl1quant.slides.raster import Note
from pdl1quant.slides.roi import Roi, RoiKind, limiting_rois, roi_mask, share_outside, tumour_rois, why_nothing
from pdl1quant.slides.roi_file import read_geojson_rois
from pdl1quant.stages import quality
from pdl1quant.whole_slides.kept_regions import regions_text
from pdl1quant.whole_slides.region_tally import RegionTally
from pdl1quant.whole_slides.regions import Ground, outlined_regions, regions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import SlideResult, UInt8Array
    from pdl1quant.slides.core_map import MappedCore


_FLAGS_OF_NOTES: dict[str, ResultFlag] = {
    Note.MPP_OVERRIDDEN: ResultFlag.MPP_OVERRIDDEN,
    Note.FIRST_IMAGE_ONLY: ResultFlag.FIRST_IMAGE_ONLY,
}

_MAX_SHARE_OUTSIDE = 0.1
"""Of regions that were drawn on this image: a hand that slips over its border stays below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One input: ``name`` is its path below the folder given, ``stem`` the (unique) place of its results."""

    path: Path
    name: str
    stem: str
    case: str
    extra: tuple[tuple[str, str], ...] = ()
    is_in_table: bool = False
    """Whether a table of cases named its case."""
    sha256: str = ""
    roi: Path | None = None
    roi_sha256: str = ""
    is_slide: bool = False
    """Whether it is read in tiles: a pyramid, or too large for one piece."""
    control_of: str = ""
    """Of a negative control the case whose own it is; empty where it is of all."""
    cores: tuple[MappedCore, ...] = ()
    """What the map of a microarray says of its cores; none where no map names any."""

    @property
    def without_ending(self) -> tuple[Path, str]:
        """Its folder and its name, the same for two files of one field in two formats."""
        return self.path.parent, self.path.stem.casefold().removesuffix(".ome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is the same for all images of a run."""

    output: Path
    config: Config
    pack: RulePack
    indication: Indication | None = None
    mpp: float | None = None
    keep_labels: bool = False
    is_array: bool = False
    """Whether whole slides are microarrays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the work on one image ended; what its row and its case need."""

    status: Status
    error: str = ""
    counts: Counts | None = None
    score: Score | None = None
    flags: tuple[ResultFlag, ...] = ()
    mpp: float | None = None
    blocks: tuple[Counts, ...] = ()
    has_tumour_roi: bool = False
    artefacts: dict[str, float] | None = None
    """Share (0-1) of the tissue that each kind covers; None where nobody looked for them."""
    brown: BrownArea = field(default_factory=BrownArea)
    has_nests: bool = True
    """Whether tumour was drawn or a nest of tumour cells found."""
    regions: tuple[RegionScore, ...] = ()
    notes: tuple[str, ...] = ()
    """What was done to, or ignored in, the image on reading it."""

    @property
    def is_scored(self) -> bool:
        """Whether the image took part in the score of its case."""
        return self.counts is not None

    @property
    def member(self) -> CaseMember:
        """What it adds to its case."""
        return CaseMember(
            blocks=self.blocks,
            flags=self.flags,
            has_tumour_roi=self.has_tumour_roi,
            has_nests=self.has_nests,
            brown=self.brown,
            has_tissue=self.status is not Status.NO_TISSUE,
            is_damaged=bool(self.error),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An outcome, or the sample of a first pass; ``trace`` is that of an error nobody expected."""

    outcome: Outcome | None = None
    sample: StainSample | None = None
    trace: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An image to sample or, with an ``estimate``, to analyse."""

    image: Image
    plan: Plan
    estimate: StainEstimate | None = None


def take_sample(task: Task) -> Done:
    """The first pass over an image: what it tells of the staining of its case."""
    return guarded(task, _take_sample)


def analyse(task: Task) -> Done:
    """The second pass over an image: measure it and write its results."""
    return guarded(task, _analyse)


def lost(_: Task) -> Done:
    """What is said of an image whose worker died."""
    error = "its worker process died, likely for want of memory; crop the image or leave it out"
    return Done(outcome=Outcome(status=Status.FAILED, error=error))


def unexpected(error: Exception, image: Image) -> Done:
    """What is said of an image whose work raised what nobody expected; call it where the error is caught."""
    outcome = outcome_of(error, image)
    where = trace_path(Path(), image.stem).as_posix()
    return Done(outcome=replace(outcome, error=f"{outcome.error}; see {where}"), trace=traceback.format_exc())


def outcome_of(error: Exception, image: Image) -> Outcome:
    """The outcome that an error makes: its message in one line, without the image's name, which stands beside it."""
    status = Status.REFUSED if isinstance(error, RefusedError) else Status.FAILED
    message = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        message = "MemoryError: the image does not fit into memory; crop it, or use fewer --workers"
    elif not isinstance(error, (InputError, OutputError)):
        message = f"{type(error).__name__}: {message}"
    for name in (image.name, image.path.name):
        message = message.removeprefix(f"{name}: ")
    return Outcome(status=status, error=message)


def result_paths(image: Image, plan: Plan) -> dict[str, Path]:
    """Where the results of an image lie, by kind."""
    has_outlines = plan.config.tiling.outlines or not image.is_slide
    paths = {kind: result_path(plan.output, kind, image.stem) for kind in ("cells", "overlays")}
    if has_outlines:
        compression = plan.config.tiling.outlines_compression if image.is_slide else "none"
        paths["geojson"] = result_path(plan.output, "geojson", image.stem, compression=compression)
    if plan.keep_labels:
        paths["labels"] = result_path(plan.output, "labels", image.stem)
    if image.is_slide:
        paths["maps"] = result_path(plan.output, "maps", image.stem)
    if image.is_slide and plan.config.artefacts.find:
        paths["artefacts"] = result_path(plan.output, "artefacts", image.stem)
    if image.roi is not None or (image.is_slide and plan.is_array):
        paths["regions"] = result_path(plan.output, "regions", image.stem)
    return paths


def guarded(task: Task, work: Callable[[Task], Done]) -> Done:
    """Do the work; what goes wrong becomes its outcome, but for a full disk (`FullDiskError`)."""
    began = time.perf_counter()
    try:
        done = work(task)
    except FullDiskError:
        raise
    except (InputError, OutputError) as error:
        done = Done(outcome=outcome_of(error, task.image))
    except Exception as error:  # noqa: BLE001  one image must not stop the others
        done = unexpected(error, task.image)
    return replace(done, seconds=time.perf_counter() - began)


def _take_sample(task: Task) -> Done:
    read = _read(task)
    return Done(sample=sample_image(read.rgb, mpp=read.mpp, config=task.plan.config))


def _analyse(task: Task) -> Done:
    assert task.estimate is not None
    image, plan = task.image, task.plan
    read = _read(task)
    rois = () if image.roi is None else read_geojson_rois(image.roi)
    height, width = read.rgb.shape[:2]
    flags = (*flags_of_notes(read.notes), *flags_of_rois(rois, width=width, height=height))
    roi = _roi_masks(image, rois, (height, width))
    result = analyse_image(
        read.rgb,
        mpp=read.mpp,
        estimate=task.estimate,
        config=plan.config,
        pack=plan.pack,
        indication=plan.indication,
        roi=roi,
        keep_labels=True,
        flags=flags,
    )
    with replace_together():
        _write(result, read.rgb, image, plan, rois)
    regions = RegionTally(
        regions=regions_of(rois, Ground(tissue=result.tissue, width=width, height=height)),
        mpp_x=read.mpp,
        mpp_y=read.mpp,
        config=plan.config,
        pack=plan.pack,
    )
    regions.add(result.cells)
    assert result.compartments is not None
    assert result.brown_squares is not None
    rows, columns = result.compartments.cell.shape
    x, y = quality.brown_middles(result.brown_squares, width=columns, height=rows)
    regions.add_brown(result.brown_squares, x * (width / columns), y * (height / rows))
    has_tumour_roi = roi is not None and roi.tumour is not None
    outcome = Outcome(
        status=result.status,
        counts=result.counts,
        score=result.score,
        flags=result.flags,
        mpp=result.mpp,
        notes=tuple(map(str, read.notes)),
        blocks=result.blocks,
        brown=result.brown,
        has_tumour_roi=has_tumour_roi,
        has_nests=result.has_nests,
        regions=regions.scores(flags=result.flags, has_tumour_roi=has_tumour_roi, px_um2=result.working_mpp**2),
    )
    return Done(outcome=outcome)


def flags_of_notes(notes: Iterable[str]) -> tuple[ResultFlag, ...]:
    """What of the reading of a file the reader of its score has to know."""
    return tuple(_FLAGS_OF_NOTES[note] for note in notes if note in _FLAGS_OF_NOTES)


def flags_of_rois(rois: Iterable[Roi], *, width: int, height: int) -> tuple[ResultFlag, ...]:
    """Whether regions look as if they were drawn on another image than one of that size."""
    is_outside = share_outside(rois, width=width, height=height) > _MAX_SHARE_OUTSIDE
    return (ResultFlag.REGION_OUTSIDE,) if is_outside else ()


def result_metadata(
    image: Image,
    plan: Plan,
    *,
    width: int,
    height: int,
    mpp_x: float,
    mpp_y: float,
    working_mpp: float,
    rois: Iterable[Roi] = (),
) -> dict[str, str]:
    """What a cells table says of itself; with its drawn regions, and the cores of a microarray."""
    return {
        "image_sha256": image.sha256,
        "config_digest": plan.config.digest,
        "assay": plan.pack.name,
        "mpp": repr(math.sqrt(mpp_x * mpp_y)),
        "mpp_x": repr(float(mpp_x)),  # whole: which block a cell is in depends on it
        "mpp_y": repr(float(mpp_y)),
        "working_mpp": f"{working_mpp:.6g}",
        "width_px": str(width),
        "height_px": str(height),
        **regions_text(rois),
    }


def _roi_masks(image: Image, rois: tuple[Roi, ...], shape: tuple[int, int]) -> RoiMasks | None:
    """What a person drew, in pixels of the image; without a tumour region nobody has said where tumour is."""
    if image.roi is None:
        return None
    drawn = roi_mask(rois, shape)
    if not drawn.any():
        reason = why_nothing(rois, shapely.box(0, 0, shape[1], shape[0]), what="image")
        raise RefusedError(f"{image.name}: {image.roi.name}: {reason}")
    has_tumour = any(roi.kind is RoiKind.TUMOUR for roi in rois)
    if not has_tumour:
        return RoiMasks(scored=drawn)
    return RoiMasks(scored=roi_mask(limiting_rois(rois), shape), tumour=roi_mask(tumour_rois(rois), shape))


def _write(result: SlideResult, rgb: UInt8Array, image: Image, plan: Plan, rois: Sequence[Roi]) -> None:
    assert result.compartments is not None
    regions = outlined_regions(rois)
    paths = result_paths(image, plan)
    metadata = result_metadata(
        image,
        plan,
        width=result.shape_px[1],
        height=result.shape_px[0],
        mpp_x=result.mpp,
        mpp_y=result.mpp,
        working_mpp=result.working_mpp,
        rois=rois,
    )
    if result.counts.tumour_area_um2:
        metadata["tumour_area_um2"] = repr(float(result.counts.tumour_area_um2))
    height, width = result.compartments.cell.shape
    write_cells(result.cells, paths["cells"], metadata=metadata)
    write_geojson(
        result.cells,
        result.compartments,
        paths["geojson"],
        image_id=image.sha256,
        compartment=result.score.score_compartment,
        downsample_x=result.shape_px[1] / width,
        downsample_y=result.shape_px[0] / height,
    )
    caption = Caption(
        title=image.name,
        score=score_text(result.score),
        rules=f"{plan.pack.title} ({plan.pack.name})",
        remarks=tuple(str(flag).replace("_", " ") for flag in result.score.flags),
    )
    write_overlay(
        rgb,
        result.compartments,
        result.cells,
        paths["overlays"],
        caption=caption,
        mpp=result.mpp,
        compartment=result.score.score_compartment,
        regions=regions,
    )
    if regions:
        write_regions(regions, paths["regions"], image_id=image.sha256)
    if plan.keep_labels:
        write_labels(result.compartments, paths["labels"], mpp=result.working_mpp)


def _read(task: Task) -> PlainImage:
    read = read_image(task.image.path, mpp=task.plan.mpp)
    if read.sha256 != task.image.sha256:
        raise UnreadableError(f"{task.image.name}: changed while it was being read; run again with --resume")
    return read
