"""One tile of a slide: the cells that it owns, measured and not yet judged. Done in a worker; small values out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant import pipeline
from pdl1quant.kernels.labels import renumber
from pdl1quant.model import Flag, MembraneProfile, Tile
from pdl1quant.stages import quality, stains
from pdl1quant.tiling import BLOCK_PX, owned
from pdl1quant.whole_slides.disagreement import read_measured

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.config import Config
    from pdl1quant.model import (
        BoolArray,
        Compartments,
        Float32Array,
        Float64Array,
        Int32Array,
        Rect,
        Slide,
        SlideDamage,
        SlideGrid,
        StainEstimate,
        StainOD,
        TissueGround,
    )
    from pdl1quant.tiling import TilePlace
    from pdl1quant.whole_slides.ground import PackedGround
    from pdl1quant.whole_slides.windows import View


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCells:
    """The cells that a tile owns; places in pixels of the slide's working grid.

    ``membrane.neighbour`` counts rows of ``cells`` first and then those of ``foreign`` (m, 2: x, y), the centres of
    neighbours that other tiles own. ``outlines`` are (n,) pairs of GeoJSON geometries of cell and nucleus, if asked
    for; ``painted`` the same for their pixels, packed (`painting`). ``brown`` (k, 6) int32 are the squares of brown and
    tissue of its blocks of work (`quality.find_brown`), in rows and columns of the slide.
    """

    cells: pd.DataFrame
    membrane: MembraneProfile
    class_scores: Float32Array | None
    foreign: Float64Array
    damage: tuple[SlideDamage, ...]
    brown: Int32Array
    outlines: tuple[tuple[str, str], ...] = ()
    painted: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTile:
    """What a tile owns, and the label images of all that was found in its ``inner`` part, labels as in the table."""

    owned: TileCells
    parts: Compartments

    def owned_parts(self) -> Compartments:
        """The label images without the cells of others: fewer to outline."""
        number = np.zeros(self.parts.n_cells + 1, np.int32)
        labels = self.owned.cells["label"].to_numpy(np.int32)
        number[labels] = labels
        return replace(self.parts, cell=renumber(self.parts.cell, number), nucleus=renumber(self.parts.nucleus, number))


def measure_tile(
    slide: Slide,
    grid: SlideGrid,
    place: TilePlace,
    *,
    blocks: BoolArray,
    ground: PackedGround,
    estimate: StainEstimate,
    config: Config,
    view: View | None = None,
) -> MeasuredTile:
    """Read a tile, find its cells, keep those whose centre lies in its core.

    Parameters
    ----------
    slide, grid
        The slide and its working grid.
    place
        What to read, and what is owned of it.
    blocks
        (rows, columns) bool: blocks that are work; cells elsewhere are nobody's.
    ground
        The tissue of what is owned.
    estimate, config
        Staining of the case, and settings.
    view
        What was seen of the tile before (`windows`); None where it is to be read, and the segmenter to look at it.
    """
    if view is None:
        region, maps = read_measured(slide, place.rect, grid, compare=config.tiling.compare_levels), None
    else:
        region, maps = view.region, view.maps
    x0, y0 = place.rect.x0, place.rect.y0
    tile = Tile(
        rgb=region.rgb,
        mpp=grid.mpp,
        core=place.core.moved(-x0, -y0),
        inner=None if place.inner == place.rect else place.inner.moved(-x0, -y0),
        x_px=float(x0),
        y_px=float(y0),
    )
    od = stains.deconvolve(region.rgb, estimate)
    found = pipeline.find_cells(tile, od, estimate=estimate, config=config, with_neighbours=False, maps=maps)
    cells, membrane = found.measured.cells, found.measured.membrane
    if len(cells):
        cells["flags"] = quality.flag_cells(cells, found.parts, config=config.quality)
        cells["flags"] |= _cut_by_damage(found.parts, region.damage, grid, place.inner)
    mine = owned(cells["x_px"].to_numpy(), cells["y_px"].to_numpy(), place.core, blocks)
    membrane, foreign = _own_membranes(membrane, mine)
    scores = None if found.class_scores is None else found.class_scores[mine]
    own = TileCells(
        cells=cells[mine].reset_index(drop=True),
        membrane=membrane,
        class_scores=scores,
        foreign=cells.loc[foreign, ["x_px", "y_px"]].to_numpy(np.float64),
        damage=tuple(each for each in region.damage if _touches(grid.covering(each.rect), place.core)),
        brown=_brown_squares(
            place,
            od,
            found.parts,
            blocks=blocks,
            ground=ground.unpacked(place.core, grid, damage=region.damage),
            t1=config.positivity.dab_od,
            pigment_residual_od=stains.pigment_residual_od(estimate, config.quality.pigment_od),
        ),
    )
    return MeasuredTile(owned=own, parts=found.parts)


def _brown_squares(
    place: TilePlace,
    od: StainOD,
    parts: Compartments,
    *,
    blocks: BoolArray,
    ground: TissueGround,
    t1: float,
    pigment_residual_od: float,
) -> Int32Array:
    """`TileCells.brown`; a core begins at the corner of a block, and so of a square."""
    core, rect, inner = place.core, place.rect, place.inner
    in_rect, in_inner = ((core.y0 - other.y0, core.x0 - other.x0) for other in (rect, inner))
    places = in_rect, in_inner, (core.height, core.width)
    squares = quality.find_brown(
        od, parts.cell, ground=ground, t1=t1, pigment_residual_od=pigment_residual_od, places=places
    )
    squares[:, :2] += np.array([core.y0, core.x0], np.int32) // quality.BROWN_PX
    row, column = (squares[:, :2] * quality.BROWN_PX // BLOCK_PX).T
    return np.asarray(squares[blocks[row, column]])


def _own_membranes(membrane: MembraneProfile, mine: BoolArray) -> tuple[MembraneProfile, Int32Array]:
    """Membranes of the owned rows, their neighbours counted anew, and the rows of neighbours that are others'."""
    neighbour = membrane.neighbour[mine]
    met = np.unique(neighbour[neighbour >= 0])
    foreign = met[~mine[met]].astype(np.int32)
    number = np.full(len(mine) + 1, -1, np.int32)  # the last one is nobody's: -1
    number[:-1][mine] = np.arange(mine.sum())
    number[foreign] = mine.sum() + np.arange(len(foreign))
    return (
        replace(membrane, dab_od=membrane.dab_od[mine], weight=membrane.weight[mine], neighbour=number[neighbour]),
        foreign,
    )


def _cut_by_damage(parts: Compartments, damage: tuple[SlideDamage, ...], grid: SlideGrid, rect: Rect) -> Int32Array:
    """(n,) bits of `Flag`: cells that reach into damaged pixels or touch them are cut, as by the border."""
    flags = np.zeros(parts.n_cells, np.int32)
    for each in damage:
        box = grid.covering(each.rect)
        rows = slice(max(0, box.y0 - rect.y0 - 1), max(0, box.y1 - rect.y0 + 1))
        columns = slice(max(0, box.x0 - rect.x0 - 1), max(0, box.x1 - rect.x0 + 1))
        labels = np.unique(parts.cell[rows, columns])
        flags[labels[labels > 0] - 1] |= int(Flag.TOUCHES_EDGE)
    return flags


def _touches(one: Rect, other: Rect) -> bool:
    return one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1
