"""From the cells of tiles to judged cells of the slide, in bands of fixed height, sorted by y, then x.

A band is judged when all tiles around it are measured, with the cells up to ``MARGIN_UM`` above and below it (more with
a classifier), so that every cell knows its neighbours in whatever tile they lie. Bands know nothing of tiles: the same
cells, in the same order, to the last bit, for tiles of any size, measured in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pdl1quant import naming, pipeline
from pdl1quant.kernels.places import nearest_of
from pdl1quant.model import MembraneProfile
from pdl1quant.stages import features, measure, positivity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import Float32Array, Float64Array, Int32Array, IntpArray, RulePack, SlideGrid, StainEstimate
    from pdl1quant.tiling import TilePlace
    from pdl1quant.whole_slides.measuring import TileCells

BAND_PX = 2048
"""Height of a band, in working pixels ..."""
WIDE_PX, WIDE_BAND_PX = 32768, 1024
"""... and on a slide wider than this, where a band of that height holds too many cells at a time for memory."""
MARGIN_UM = 250.0
"""How far a cell looks at others at most: the brown cells all around (200 um, `stages.classify`), and neighbours that
share a membrane. A nearest neighbour farther than this is none."""
CLASSIFIER_MARGIN_UM = MARGIN_UM + features.REACH_UM
"""With a learned classifier: what those cells are hangs on what it reads of their own surroundings."""
SAME_CENTRE_PX = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Judged cells of one band: the rows of the slide's table, places in level-0 pixels, and their outlines.

    ``tiles`` and ``tile_labels``, each (n,), say which tile owns each cell, and under which label; the band ends at row
    ``y1`` of the working grid.
    """

    cells: pd.DataFrame
    outlines: tuple[tuple[str, str], ...]
    tiles: IntpArray
    tile_labels: Int32Array
    y1: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gathered:
    """Cells of several tiles, sorted by y, then x; ``tiles`` says whose they are."""

    cells: pd.DataFrame
    tiles: IntpArray
    membrane: MembraneProfile
    class_scores: Float32Array | None
    outlines: tuple[tuple[str, str], ...]


def margin_um(config: Config) -> float:
    """How far a cell looks at others at most."""
    return CLASSIFIER_MARGIN_UM if config.cells.classifier else MARGIN_UM


def judge_bands(
    measured: Iterable[tuple[int, TileCells]],
    places: Sequence[TilePlace],
    *,
    grid: SlideGrid,
    estimate: StainEstimate,
    config: Config,
    pack: RulePack,
) -> Iterator[Band]:
    """Judge the cells of a slide as its tiles come in.

    Parameters
    ----------
    measured
        Each tile once, with its place in ``places``; in any order, but the later the order the more is kept.
    places
        All tiles, row by row.
    grid
        The working grid of the slide.
    estimate, config, pack
        Staining, settings, rules.

    Yields
    ------
    Band
        From the top of the slide to its end; bands without cells are left out. ``label`` counts from 1 on.
    """
    margin_px = int(np.ceil(margin_um(config) / grid.mpp))
    band_px = BAND_PX if grid.width <= WIDE_PX else WIDE_BAND_PX
    waiting = set(range(len(places)))
    held: dict[int, TileCells] = {}
    top, n_before = 0, 0
    arriving = iter(measured)
    while top < grid.height:
        low, high = top - margin_px, top + band_px + margin_px
        while any(places[index].core.y0 < high for index in waiting):
            index, tile = next(arriving)
            waiting.discard(index)
            held[index] = tile
        near = {
            index: held[index]
            for index in sorted(held)
            if places[index].core.y0 < high and places[index].core.y1 > low and len(held[index].cells)
        }
        gathered = _gather(near, low=low, high=high)
        del near
        if gathered is not None:
            rows, first = (top, top + band_px), n_before + 1
            band = _judge(gathered, rows, first=first, grid=grid, estimate=estimate, config=config, pack=pack)
            n_before += len(band.cells)
            if len(band.cells):
                yield band
            del band  # not to be kept while the next tiles are measured
        del gathered
        top += band_px
        held = {index: tile for index, tile in held.items() if places[index].core.y1 > top - margin_px}
    for _ in arriving:  # what comes last may not be asked for: nothing is left but its end
        pass


def _gather(near: Mapping[int, TileCells], *, low: float, high: float) -> _Gathered | None:
    """The cells of tiles between two rows, each with its neighbours' rows; None without any."""
    tiles = list(near.values())
    if not tiles:
        return None
    cells = pd.concat([tile.cells for tile in tiles], ignore_index=True)
    x, y = cells["x_px"].to_numpy(), cells["y_px"].to_numpy()
    chosen = np.flatnonzero((y >= low - 0.5) & (y < high - 0.5))
    if not chosen.size:
        return None
    chosen = chosen[np.lexsort((x[chosen], y[chosen]))]
    neighbour = np.concatenate(_neighbours(tiles, np.stack([x, y], axis=1)))
    place = np.full(len(cells) + 1, -1, np.int32)
    place[chosen] = np.arange(len(chosen))
    scores = [tile.class_scores for tile in tiles if tile.class_scores is not None]
    outlines = [outline for tile in tiles for outline in tile.outlines]
    return _Gathered(
        cells=cells.iloc[chosen].reset_index(drop=True),
        tiles=np.repeat(list(near), [len(tile.cells) for tile in tiles])[chosen],
        membrane=MembraneProfile(
            dab_od=np.concatenate([tile.membrane.dab_od for tile in tiles])[chosen],
            weight=np.concatenate([tile.membrane.weight for tile in tiles])[chosen],
            neighbour=place[neighbour[chosen]],
        ),
        class_scores=np.concatenate(scores)[chosen] if scores else None,
        outlines=tuple(outlines[index] for index in chosen.tolist()) if outlines else (),
    )


def _neighbours(tiles: Sequence[TileCells], centres: Float64Array) -> list[Int32Array]:
    """Rows, among the cells of all tiles, of each cell's neighbours; -1 for those that no tile owns."""
    foreign = np.concatenate([tile.foreign for tile in tiles])
    rows = nearest_of(centres, foreign, SAME_CENTRE_PX)
    found, first, first_foreign = [], 0, 0
    for tile in tiles:
        n, n_foreign = len(tile.cells), len(tile.foreign)
        own = np.arange(first, first + n)
        number = np.concatenate([own, rows[first_foreign : first_foreign + n_foreign], [-1]])
        found.append(number[tile.membrane.neighbour].astype(np.int32))
        first, first_foreign = first + n, first_foreign + n_foreign
    return found


def _judge(
    gathered: _Gathered,
    rows: tuple[int, int],
    *,
    first: int,
    grid: SlideGrid,
    estimate: StainEstimate,
    config: Config,
    pack: RulePack,
) -> Band:
    cells, y = gathered.cells, gathered.cells["y_px"].to_numpy()
    distance, around = measure.neighbourhood(cells[["x_px", "y_px"]].to_numpy(np.float64) * grid.mpp)
    cells = cells.assign(
        neighbour_distance_um=np.where(distance <= MARGIN_UM, distance, np.inf).astype(np.float32),
        neighbours_25um=around.astype(np.int32),
    )
    inside = slice(*np.searchsorted(y, [rows[0] - 0.5, rows[1] - 0.5]).tolist())
    seen = slice(0, len(cells))
    if gathered.class_scores is None:  # else brown cells all around count
        reaches_px = positivity.COMPANY_UM / grid.mpp, naming.reach_um(config) / grid.mpp
        seen = _seen(gathered, inside, reaches_px=reaches_px)
    cells = pipeline.judge_cells(
        measure.Measured(cells=cells.iloc[seen].reset_index(drop=True), membrane=_part(gathered.membrane, seen)),
        gathered.class_scores,
        mpp=grid.mpp,
        estimate=estimate,
        config=config,
        pack=pack,
    )
    cells = cells.iloc[inside.start - seen.start : inside.stop - seen.start].reset_index(drop=True)
    tile_labels = cells["label"].to_numpy(np.int32, copy=True)
    cells["label"] = np.arange(first, first + len(cells), dtype=np.int32)
    cells["x_px"] = (cells["x_px"] + 0.5) * grid.downsample_x - 0.5
    cells["y_px"] = (cells["y_px"] + 0.5) * grid.downsample_y - 0.5
    return Band(
        cells=cells,
        outlines=gathered.outlines[inside],
        tiles=gathered.tiles[inside],
        tile_labels=tile_labels,
        y1=rows[1],
    )


def _seen(gathered: _Gathered, inside: slice, *, reaches_px: tuple[float, float]) -> slice:
    """The rows on which what is said of those inside depends.

    A membrane is judged by what its neighbours are, and by their own membranes, which others share; a line that it lost
    also by the cells around, within the first reach, and these, too, by whether their neighbours are positive. The
    second reach is that of names.
    """
    y, neighbour = gathered.cells["y_px"].to_numpy(), gathered.membrane.neighbour
    (company, reach_px), here = reaches_px, y[inside]
    rows = np.flatnonzero((y >= here[0] - company) & (y <= here[-1] + company)) if len(here) else np.arange(0)
    for _ in range(3):
        met = np.zeros(len(y) + 1, bool)  # the last one is nobody: -1
        met[rows], met[neighbour[rows]] = True, True
        rows = np.flatnonzero(met[:-1])
    if not rows.size:
        return inside
    low, high = y[rows[0]] - reach_px, y[rows[-1]] + reach_px
    return slice(int(np.searchsorted(y, low, "left")), int(np.searchsorted(y, high, "right")))


def _part(membrane: MembraneProfile, rows: slice) -> MembraneProfile:
    """The membranes of some rows; neighbours beyond them are none."""
    neighbour = membrane.neighbour[rows] - rows.start
    is_known = (neighbour >= 0) & (neighbour < rows.stop - rows.start)
    return MembraneProfile(
        dab_od=membrane.dab_od[rows],
        weight=membrane.weight[rows],
        neighbour=np.where(is_known, neighbour, -1).astype(np.int32),
    )
