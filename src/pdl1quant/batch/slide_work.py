"""The work on one whole slide: its tiles in the workers, its bands and files here.

As with images, nothing that goes wrong with one slide, but a full disk, leaves this module as an exception. What is
kept at a time is a few rows of tiles; the files grow band by band, and appear when the slide is done.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import shapely

from pdl1quant.batch.slide_pictures import write_pictures
from pdl1quant.batch.slide_steps import Source, TileTask, WindowTask, lost_step, shared, take_step
from pdl1quant.batch.work import (
    Done,
    Outcome,
    Task,
    flags_of_notes,
    flags_of_rois,
    guarded,
    result_metadata,
    result_paths,
)
from pdl1quant.errors import RefusedError
from pdl1quant.networks.chosen import pin_model
from pdl1quant.outputs.artefacts import write_artefacts
from pdl1quant.outputs.files import scratch_folder
from pdl1quant.outputs.geojson import geojson_writer
from pdl1quant.outputs.label_pyramid import label_writer
from pdl1quant.outputs.regions import write_regions
from pdl1quant.outputs.tables import cells_writer
from pdl1quant.planes import give_back
from pdl1quant.slides.opening import open_slide
from pdl1quant.slides.roi import RoiKind, of_kind
from pdl1quant.slides.roi_file import read_geojson_rois
from pdl1quant.tiling import WindowPlace
from pdl1quant.whole_slides.ground import PackedGround
from pdl1quant.whole_slides.judging import judge_bands
from pdl1quant.whole_slides.painting import Painter
from pdl1quant.whole_slides.regions import outlined_regions
from pdl1quant.whole_slides.scoring import Tally, finish, known_damage
from pdl1quant.whole_slides.survey import check_scale, look_for_artefacts, plan_work, sample_slide
from pdl1quant.whole_slides.waiting import flag_far_cells
from pdl1quant.whole_slides.windows import WindowStore, make_agenda, swept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pdl1quant.batch.work import Image, Plan
    from pdl1quant.batch.workers import Workers
    from pdl1quant.config import Config
    from pdl1quant.model import Slide, SlideDamage, SlideGrid, StainEstimate
    from pdl1quant.slides.roi import Roi
    from pdl1quant.tiling import TilePlace
    from pdl1quant.whole_slides.judging import Band
    from pdl1quant.whole_slides.measuring import TileCells
    from pdl1quant.whole_slides.survey import Work
    from pdl1quant.whole_slides.windows import Agenda


def prepare(config: Config) -> None:
    """What a worker needs some time for before its first image: to import all this, and to load a model."""
    pin_model(config)


def take_slide_sample(task: Task) -> Done:
    """The first pass over a slide: what it tells of the staining of its case."""
    return guarded(task, _take_sample)


def analyse_slide(task: Task, *, workers: Workers, scratch: Path, progress: Callable[[int, int], None]) -> Done:
    """The second pass: measure a slide and write its results.

    Parameters
    ----------
    task
        The slide, with the estimate of its case.
    workers
        Do the tiles.
    scratch
        Folder for what the network says until the tiles are done; nothing is left in it.
    progress
        Is told how many tiles are done, and how many there are.
    """
    return guarded(task, lambda each: _analyse(each, workers=workers, scratch=scratch, progress=progress))


def _take_sample(task: Task) -> Done:
    with open_slide(task.image.path, mpp=task.plan.mpp) as slide:
        return Done(sample=sample_slide(slide, config=task.plan.config))


def _analyse(task: Task, *, workers: Workers, scratch: Path, progress: Callable[[int, int], None]) -> Done:
    assert task.estimate is not None
    image, plan, estimate = task.image, task.plan, task.estimate
    rois = () if image.roi is None else read_geojson_rois(image.roi)
    with shared(image.path, plan.mpp) as slide, scratch_folder(scratch) as folder:
        work = _planned(slide, image, plan, estimate, rois)
        places = work.places(plan.config)
        agenda = make_agenda(places, work.windows(plan.config), ahead=workers.n)
        source = Source(
            path=image.path, mpp=plan.mpp, grid=work.grid, config=plan.config, store=WindowStore(folder=folder)
        )
        tasks = _tasks(agenda, places, work=work, task=task, source=source)
        # the workers begin, and this process looks at the whole
        tiles = workers.run(take_step, tasks, crashed=lost_step)
        flags = {*check_scale(slide, work, estimate=estimate, config=plan.config)}
        flags |= {*flags_of_notes(slide.notes), *flags_of_rois(rois, width=slide.width, height=slide.height)}
        work = look_for_artefacts(slide, work, estimate=estimate, config=plan.config)
        tally = Tally(
            slide=slide,
            config=plan.config,
            pack=plan.pack,
            rois=work.rois,
            artefacts=work.artefacts,
            tissue=work.tissue if work.rois else None,
        )
        tally.damage |= dict.fromkeys(known_damage(slide, work))
        give_back()
        counted = _counted(tiles, agenda, tally=tally, grid=work.grid, progress=progress)
        measured = swept(counted, agenda, source.store)
        _write_cells(measured, places, tally=tally, work=work, task=task)
        result = finish(tally, work, estimate=estimate, indication=plan.indication, flags=flags)
        paths = result_paths(image, plan)
        write_pictures(result, tally, work, image, plan)
        if work.artefacts is not None:
            size = {"width": slide.width, "height": slide.height}
            write_artefacts(work.artefacts, paths["artefacts"], image_id=image.sha256, **size)
        if work.rois:
            write_regions(outlined_regions(work.rois), paths["regions"], image_id=image.sha256)
        damage, notes = _damage_text(tally.damage, work.grid), slide.notes
    return Done(
        outcome=Outcome(
            status=result.status,
            error=damage,
            counts=result.counts,
            score=result.score,
            flags=result.flags,
            mpp=result.mpp,
            notes=tuple(map(str, notes)),
            blocks=result.blocks,
            regions=result.regions,
            brown=result.brown,
            has_nests=result.has_nests,
            artefacts=None
            if result.artefacts is None
            else {str(kind): share for kind, share in result.artefacts.items()},
            has_tumour_roi=bool(of_kind(rois, RoiKind.TUMOUR)),
        )
    )


def _planned(slide: Slide, image: Image, plan: Plan, estimate: StainEstimate, rois: tuple[Roi, ...]) -> Work:
    try:
        return plan_work(slide, estimate=estimate, config=plan.config, rois=rois, is_array=plan.is_array)
    except RefusedError as error:
        where = "" if image.roi is None else f"{image.roi.name}: "
        raise RefusedError(f"{image.name}: {where}{error}") from error


def _tasks(
    agenda: Agenda, places: tuple[TilePlace, ...], *, work: Work, task: Task, source: Source
) -> list[TileTask | WindowTask]:
    """The steps of an agenda as they are sent to workers."""
    assert task.estimate is not None
    tissue = work.tissue
    return [
        WindowTask(source=source, window=step, turns=turns)
        if isinstance(step, WindowPlace)
        else TileTask(
            source=source,
            place=places[step],
            windows=agenda.needs[step],
            blocks=work.blocks,
            ground=PackedGround.cut(tissue, places[step].core, work.grid),
            estimate=task.estimate,
            keep_labels=task.plan.keep_labels,
            turns=turns,
        )
        for step, turns in zip(agenda.steps, agenda.turns, strict=True)
    ]


def _counted(
    done: Iterable[tuple[int, TileCells | None]],
    agenda: Agenda,
    *,
    tally: Tally,
    grid: SlideGrid,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[int, TileCells]]:
    """The tiles of the steps that are done, with their numbers; their damage is noted, and progress told."""
    n_done = 0
    for index, tile in done:
        step = agenda.steps[index]
        if tile is None or isinstance(step, WindowPlace):
            continue
        n_done += 1
        tally.damage.update(dict.fromkeys(tile.damage))
        tally.add_brown(tile.brown, grid)
        progress(n_done, len(agenda.needs))
        yield step, tile


def _write_cells(
    measured: Iterator[tuple[int, TileCells]],
    places: tuple[TilePlace, ...],
    *,
    tally: Tally,
    work: Work,
    task: Task,
) -> None:
    """Judge the cells of the tiles band by band, count them, and write them to all files as they come."""
    assert task.estimate is not None
    plan, image = task.plan, task.image
    paths = result_paths(image, plan)
    slide = tally.slide
    metadata = result_metadata(
        image,
        plan,
        width=slide.width,
        height=slide.height,
        mpp_x=slide.mpp_x,
        mpp_y=slide.mpp_y,
        working_mpp=work.grid.mpp,
        rois=tally.rois,
    )
    if tally.tumour_area_um2:
        metadata["tumour_area_um2"] = repr(tally.tumour_area_um2)
    with ExitStack() as files:
        write_table = files.enter_context(cells_writer(paths["cells"], metadata=metadata))
        write_json, painter = None, None
        if plan.config.tiling.outlines:
            json_file = geojson_writer(paths["geojson"], image_id=image.sha256, compartment=plan.pack.compartment)
            write_json = files.enter_context(json_file)
        if plan.keep_labels:
            grid = work.grid
            pyramid = label_writer(paths["labels"], width=grid.width, height=grid.height, mpp=grid.mpp)
            painter = Painter(places, emit=files.enter_context(pyramid))
            measured = _held(measured, painter)
        for band in _flagged_bands(measured, places, tally=tally, work=work, task=task, painter=painter):
            tally.add(band)
            write_table(band.cells)
            if write_json is not None:
                write_json(band.cells, band.outlines)
            del band  # not to be kept while the next tiles are measured
            give_back()
        if painter is not None:
            painter.finish()


def _flagged_bands(
    measured: Iterator[tuple[int, TileCells]],
    places: tuple[TilePlace, ...],
    *,
    tally: Tally,
    work: Work,
    task: Task,
    painter: Painter | None,
) -> Iterator[Band]:
    """The judged bands of the slide with all flags; the painter has their numbers before they wait for the last one."""
    assert task.estimate is not None
    plan = task.plan
    judged = judge_bands(measured, places, grid=work.grid, estimate=task.estimate, config=plan.config, pack=plan.pack)
    numbered = judged if painter is None else map(painter.number, judged)
    bands = map(tally.flagged, numbered)
    return bands if tally.has_tumour_roi else flag_far_cells(bands, grounds=tally.grounds, grid=work.grid)


def _held(measured: Iterator[tuple[int, TileCells]], painter: Painter) -> Iterator[tuple[int, TileCells]]:
    """The same tiles, without their pixels, which the painter keeps."""
    for index, tile in measured:
        painter.hold(index, tile)
        yield index, replace(tile, painted=b"")


def _damage_text(damage: Iterable[SlideDamage], grid: SlideGrid) -> str:
    boxes = sorted(damage, key=lambda each: (each.level > grid.level, each.rect.y0, each.rect.x0, each.level))
    if not boxes:
        return ""
    first = boxes[0]
    if first.level > grid.level:
        return (
            f"level {first.level} is damaged ({first.reason}) and was made from a finer one; copy or export the slide "
            "again"
        )
    boxes = [each for each in boxes if each.level <= grid.level]
    areas = [shapely.box(each.rect.x0, each.rect.y0, each.rect.x1, each.rect.y1) for each in boxes]
    # tiles and what the index says of them overlap; how a region is cut into boxes depends on the tiles
    regions = sorted(shapely.get_parts(shapely.union_all(areas)), key=lambda each: (each.bounds[1], each.bounds[0]))
    which = "a region is" if len(regions) == 1 else f"{len(regions)} regions are"
    x0, y0, x1, y1 = map(int, regions[0].bounds)
    place = f"{x0}, {y0} to {x1}, {y1}"
    begin = "from" if len(regions) == 1 else "the first from"
    return f"{which} damaged and not scored ({begin} {place}: {first.reason}); copy or export the slide again"
