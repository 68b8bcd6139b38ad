"""The steps of a slide that workers take: a window that the network looks at, or a tile that is measured."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdl1quant.errors import UnreadableError
from pdl1quant.networks.segmenter import give_back_maps
from pdl1quant.outputs.geojson import outline_cells
from pdl1quant.planes import give_back
from pdl1quant.slides.opening import open_slide
from pdl1quant.whole_slides.measuring import TileCells, measure_tile
from pdl1quant.whole_slides.painting import pack_parts
from pdl1quant.whole_slides.windows import WindowStore, look_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pdl1quant.config import Config
    from pdl1quant.model import BoolArray, Slide, SlideGrid, StainEstimate
    from pdl1quant.tiling import TilePlace, WindowPlace
    from pdl1quant.whole_slides.ground import PackedGround


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A slide as a worker reads it: open files are not sent; ``store`` is where windows wait for their tiles."""

    path: Path
    mpp: float | None
    grid: SlideGrid
    config: Config
    store: WindowStore


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTask:
    """One window at which the network is to look; ``turns``: the worker then goes on with tiles (`Agenda`)."""

    source: Source
    window: WindowPlace
    turns: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TileTask:
    """One tile to measure, and the windows that it needs; ``turns``: the worker then goes on with windows."""

    source: Source
    place: TilePlace
    windows: tuple[WindowPlace, ...]
    blocks: BoolArray
    ground: PackedGround
    estimate: StainEstimate
    keep_labels: bool
    turns: bool


def take_step(task: TileTask | WindowTask) -> TileCells | None:
    """Measure one tile, or let the network look at one window; called in a worker."""
    source, done = task.source, None
    slide = _opened(source.path, source.mpp)
    if isinstance(task, TileTask):
        done = _measure(slide, task)
    elif not source.store.has(task.window):  # it is there if a worker died after it
        source.store.put(task.window, look_at(slide, source.grid, task.window, config=source.config))
    if isinstance(task, WindowTask) and task.turns:
        give_back_maps(config=source.config.nuclei)
    if isinstance(task, WindowTask) or task.turns:  # what it held would come on top of what the next step needs
        give_back()
    return done


def _measure(slide: Slide, task: TileTask) -> TileCells:
    source, grid, inner = task.source, task.source.grid, task.place.inner
    found = measure_tile(
        slide,
        grid,
        task.place,
        blocks=task.blocks,
        ground=task.ground,
        estimate=task.estimate,
        config=source.config,
        view=source.store.get(task.windows, inner),
    )
    owned, labels = found.owned, found.owned.cells["label"].to_numpy("int32")
    if task.keep_labels:
        owned = replace(owned, painted=pack_parts(found.parts, labels))
    if not source.config.tiling.outlines:
        return owned
    outlines = outline_cells(
        found.owned_parts(),
        labels,
        x_px=inner.x0 * grid.downsample_x,
        y_px=inner.y0 * grid.downsample_y,
        downsample_x=grid.downsample_x,
        downsample_y=grid.downsample_y,
        simplified=True,
    )
    return replace(owned, outlines=outlines)


_open_slides: dict[tuple[Path, float | None], Slide] = {}
"""The slide that this process works on: opened once, not for each tile."""


def _opened(path: Path, mpp: float | None) -> Slide:
    if (path, mpp) not in _open_slides:
        _close_slides()
        _open_slides[path, mpp] = open_slide(path, mpp=mpp)
    return _open_slides[path, mpp]


@contextmanager
def shared(path: Path, mpp: float | None) -> Iterator[Slide]:
    """The slide, opened once for the survey and the tiles that this process measures itself: what it keeps is large."""
    try:
        yield _opened(path, mpp)
    finally:
        _close_slides()


def _close_slides() -> None:
    for slide in _open_slides.values():
        slide.close()
    _open_slides.clear()


def lost_step(task: TileTask | WindowTask) -> TileCells:
    """A step whose worker died: an error instead of a tile."""
    raise UnreadableError(
        f"{task.source.path.name}: a worker process died, likely for want of memory; "
        "use fewer --workers or --set tiling.tile_px=1024"
    )
