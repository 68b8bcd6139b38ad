"""Once per slide, at low resolution: the staining, where tissue is, and which blocks are therefore work."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from pdl1quant import pipeline
from pdl1quant.model import Rect, ResultFlag, StainEstimate, Tile
from pdl1quant.networks.card import load_model, model_folder
from pdl1quant.networks.maps import gives_maps, window_sides
from pdl1quant.stages import nuclei, quality, stains, tissue
from pdl1quant.tiling import (
    TIES_PX,
    Margins,
    TilePlace,
    WindowPlace,
    place_tiles,
    place_windows,
)
from pdl1quant.whole_slides.agreement import check_levels
from pdl1quant.whole_slides.arrays import array_cores
from pdl1quant.whole_slides.blocks import blocks_in, blocks_of
from pdl1quant.whole_slides.disagreement import read_measured
from pdl1quant.whole_slides.judging import margin_um
from pdl1quant.whole_slides.masking import find_ink, mask_artefacts
from pdl1quant.whole_slides.reading import OVERVIEW_MPP, damaged_mask, read_mended

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import (
        ArtefactKind,
        ArtefactMap,
        BoolArray,
        Float32Array,
        Slide,
        SlideDamage,
        SlideGrid,
        UInt8Array,
    )
    from pdl1quant.slides.roi import Roi
    from pdl1quant.stages.stains import StainSample

WINDOW_PX = 512
MAX_WINDOWS = 16
"""Windows in which the stains of a slide are sampled, spread evenly over its tissue."""
MIN_TISSUE_SHARE = 0.5
"""Share of a window that is tissue, for its stains to be sampled; where none holds so much, the fullest is taken."""
SIZE_WINDOWS = 6
"""In so many of them nuclei are found, to hold their size against the pixel size."""
BLANK_PX = 3
"""What was not scanned is pure white over at least twice so many pixels of the overview, and one."""
RIM_PX = 4
"""So far `stains.sample_stains` smooths."""
OBJECTS_UM = 48.0
"""How far the objects reach of which a cell depends: its nucleus, that of a neighbour, how far both grow, and all of
that neighbour, whose mean DAB says which brown is its own. On dense brown 28 um were not enough."""
RULES_UM = 46.0
"""How far the rules look: a hole in the brown (20 um) against its background (24 um), on a grid of 2 um."""
TILE_PX = {"watershed": 2048, "network": 2048}
"""Side of a tile with which one process stays below 1 GB, measured."""
OTHER_TILE_PX = 1024
"""The same for segmenters that were not measured."""
LIBRARIES_UM = 32.0
"""The same of models in other libraries, which do not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The slide at low resolution: (H, W, 3) uint8 on ``grid``, and what no level of it holds."""

    rgb: UInt8Array
    grid: SlideGrid
    damage: tuple[SlideDamage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What there is to do on a slide.

    ``blocks`` (rows, columns) bool says which blocks of the working ``grid`` are work; ``tissue`` is a mask over the
    slide, coarser than the overview. ``artefacts`` is None where nobody looked for them (`look_for_artefacts`),
    ``spoilt`` holds their shares of the tissue. ``rois`` are the drawn regions and the cores of a microarray.
    """

    grid: SlideGrid
    blocks: BoolArray
    packed_tissue: UInt8Array
    tissue_shape: tuple[int, int]
    tissue_area_um2: float
    overview_grid: SlideGrid
    overview_damage: tuple[SlideDamage, ...]
    artefacts: ArtefactMap | None = None
    spoilt: Mapping[ArtefactKind, float] | None = None
    rois: tuple[Roi, ...] = ()

    @property
    def tissue(self) -> BoolArray:
        """The mask, kept in an eighth of its memory."""
        height, width = self.tissue_shape
        bits = np.unpackbits(self.packed_tissue, count=height * width)
        return bits.view(np.bool_).reshape(height, width)

    def places(self, config: Config) -> tuple[TilePlace, ...]:
        """The tiles, row by row."""
        return place_tiles(
            self.blocks,
            width=self.grid.width,
            height=self.grid.height,
            tile_px=tile_side_px(config),
            margins=_margins(config, self.grid.mpp),
        )

    def windows(self, config: Config) -> tuple[WindowPlace, ...]:
        """The windows that a network looks at, row by row; none where it looks at the tiles, or nothing does."""
        if not looks_by_windows(config, self.grid.mpp):
            return ()
        card = load_model(model_folder(config.nuclei)).card
        return place_windows(
            self.blocks,
            width=self.grid.width,
            height=self.grid.height,
            sides=window_sides(card),
            objects_px=math.ceil(OBJECTS_UM / self.grid.mpp),
            step_px=card.multiple_px,
        )


def looks_by_windows(config: Config, mpp: float) -> bool:
    """Whether a network looks at a slide with ``mpp`` um per working pixel apart from its tiles."""
    nuclei = config.nuclei
    return nuclei.segmenter == "network" and gives_maps(load_model(model_folder(nuclei)).card, mpp)


def sample_slide(slide: Slide, *, config: Config) -> StainSample:
    """What a slide tells of its staining: white from all of its glass, stains from windows of tissue.

    Raises
    ------
    NotHdabError
        Another stain, or no bright-field image.
    UnreadableError
        Its levels show different pictures.
    """
    overview = read_overview(slide)
    whole = _sample_scanned(overview)
    grid = slide.grid(config.working_mpp)
    check_levels(slide, grid, overview.grid, overview.rgb)
    white = stains.white_level([whole], config=config.stains)
    assumed = only_white(white, config)
    found = tissue.find_tissue(_tile(overview), assumed, config=config.tissue)
    ink = find_ink(overview.rgb, found.shape, estimate=assumed, config=config)
    windows = _windows(slide, grid, found & ~ink, config=config, n=MAX_WINDOWS, ink=ink)
    samples = [stains.sample_stains(rgb) for rgb in windows]
    pixels = np.concatenate([sample.pixels for sample in samples]) if samples else whole.pixels
    stride = len(pixels) // (5 * stains.MAX_SAMPLES) + 1
    sample = replace(whole, pixels=np.ascontiguousarray(pixels[::stride]))
    quality.check_hdab(sample.pixels, white)
    return sample


def plan_work(
    slide: Slide, *, estimate: StainEstimate, config: Config, rois: Sequence[Roi] = (), is_array: bool = False
) -> Work:
    """Find the tissue, and the blocks that hold some of it and of what is to be scored.

    Artefacts are looked for in a microarray (``is_array``) alone, whose cores are found without ink.

    Raises
    ------
    RefusedError
        Nothing of the slide is to be scored, or a microarray (``is_array``) has no cores.
    """
    overview = read_overview(slide)
    tile = _tile(overview)
    found = tissue.find_tissue(tile, estimate, config=config.tissue)
    grid = slide.grid(config.working_mpp)
    work = Work(
        grid=grid,
        blocks=blocks_of(found, grid),
        packed_tissue=np.packbits(found),
        tissue_shape=(found.shape[0], found.shape[1]),
        tissue_area_um2=tissue.tissue_area_um2(found, tile),
        overview_grid=overview.grid,
        overview_damage=overview.damage,
    )
    if is_array:
        work = look_for_artefacts(slide, work, estimate=estimate, config=config)
        rois = (*rois, *array_cores(slide, found, work.artefacts, config=config))
    drawn = blocks_in(rois, slide, grid, margin_um=margin_um(config))
    return replace(work, blocks=work.blocks & drawn, rois=tuple(rois))


def look_for_artefacts(slide: Slide, work: Work, *, estimate: StainEstimate, config: Config) -> Work:
    """The same work with the artefacts of the slide, where they are to be found and nobody looked for them yet."""
    if work.artefacts is not None or not config.artefacts.find:
        return work
    masked, ground = mask_artefacts(slide, work.tissue, estimate=estimate, config=config)
    return replace(work, artefacts=masked, spoilt=masked.shares(ground))


def check_scale(slide: Slide, work: Work, *, estimate: StainEstimate, config: Config) -> tuple[ResultFlag, ...]:
    """Hold the nuclei of a few windows against the pixel size, before hours are spent.

    Raises
    ------
    PixelSizeError
        They contradict it by more than a factor of 2.
    """
    tables, widths, grains = [], [], []
    for rgb in _windows(slide, work.grid, work.tissue, config=config, n=SIZE_WINDOWS):
        tile = Tile.whole(rgb, work.grid.mpp)
        od = stains.deconvolve(rgb, estimate)
        found = pipeline.find_cells(tile, od, estimate=estimate, config=config, with_neighbours=False)
        tables.append(found.measured.cells)
        widths.append(nuclei.stained_width_um(od, estimate=estimate, mpp=tile.mpp))
        grains.append(quality.blue_grain_um(od, mpp=tile.mpp))
    if not tables:
        return ()
    return quality.check_nucleus_size(
        pd.concat(tables, ignore_index=True),
        config=config.quality,
        stained_um=_median(widths),
        grain_um=_median(grains),
    )


def _median(values: Sequence[float | None]) -> float | None:
    """Of those that there are."""
    known = [each for each in values if each is not None]
    return float(np.median(known)) if known else None


def read_overview(slide: Slide, *, mpp: float = OVERVIEW_MPP) -> Overview:
    """The whole slide at ``mpp``."""
    grid = slide.grid(mpp)
    region = read_mended(slide, Rect(x0=0, y0=0, x1=grid.width, y1=grid.height), grid)
    return Overview(rgb=region.rgb, grid=grid, damage=region.damage)


def tile_side_px(config: Config) -> int:
    """Side of the squares that are worked on at a time, in working px."""
    return config.tiling.tile_px or TILE_PX.get(config.nuclei.segmenter, OTHER_TILE_PX)


def _margins(config: Config, mpp: float) -> Margins:
    objects_px = math.ceil(OBJECTS_UM / mpp)
    if config.nuclei.segmenter == "watershed":
        return Margins(looks_px=math.ceil(RULES_UM / mpp), objects_px=objects_px)
    if looks_by_windows(config, mpp):
        return Margins(looks_px=0, objects_px=objects_px)
    if config.nuclei.segmenter != "network":
        return Margins(looks_px=0, objects_px=math.ceil(LIBRARIES_UM / mpp) + objects_px)
    card = load_model(model_folder(config.nuclei)).card
    reach_px, step_px = math.ceil(card.reach_px * card.mpp / mpp), math.lcm(TIES_PX, card.multiple_px)
    if card.nuclei_gives != "depth":
        return Margins(looks_px=0, objects_px=reach_px + objects_px, step_px=step_px)
    return Margins(looks_px=reach_px, objects_px=objects_px, step_px=step_px)


def _tile(overview: Overview) -> Tile:
    return Tile.whole(overview.rgb, overview.grid.mpp)


def _sample_scanned(overview: Overview) -> StainSample:
    """The colours of what was scanned: not of damage, nor of what is pure white where other glass is seen, too.

    What is left out is painted black with a rim, so that no block of glass is a mean with its white.
    """
    rgb = overview.rgb
    lost = _grown(damaged_mask(overview.damage, Rect(x0=0, y0=0, x1=rgb.shape[1], y1=rgb.shape[0]), overview.grid))
    blank = _grown(cv2.erode((rgb.min(axis=2) == 255).view(np.uint8), _square(BLANK_PX)) > 0, BLANK_PX)
    left_out = lost | blank
    sample = stains.sample_stains(_blackened(rgb, left_out))
    if not len(sample.glass):
        left_out = lost
        sample = stains.sample_stains(_blackened(rgb, lost))
    seen = sample.pixels.any(axis=1)
    return replace(
        sample,
        pixels=sample.pixels[seen] if seen.any() else np.full_like(sample.pixels, 255),
        n_blocks=max(1, sample.n_blocks - int(left_out.sum()) // stains.BLOCK_PX**2),
    )


def _blackened(rgb: UInt8Array, mask: BoolArray) -> UInt8Array:
    return np.where(mask[:, :, None], np.uint8(0), rgb) if mask.any() else rgb


def _grown(mask: BoolArray, by_px: int = 0) -> BoolArray:
    """Wider by ``by_px`` and by what the sampling smooths over."""
    return np.asarray(cv2.dilate(mask.view(np.uint8), _square(by_px + RIM_PX)) > 0)


def _square(reach_px: int) -> UInt8Array:
    return np.ones((2 * reach_px + 1,) * 2, np.uint8)


def only_white(white: tuple[float, float, float], config: Config) -> StainEstimate:
    """What `tissue.find_tissue` has to know."""
    return StainEstimate(
        white=white,
        haematoxylin=config.stains.haematoxylin,
        dab=config.stains.dab,
        nucleus_od=stains.NUCLEUS_OD_RANGE[0],
        white_source="glass",
        vectors_source="fixed",
    )


def _windows(
    slide: Slide, grid: SlideGrid, found: BoolArray, *, config: Config, n: int, ink: BoolArray | None = None
) -> Iterable[UInt8Array]:
    """The undamaged ones of `tissue_windows`; ``ink`` is painted over with white."""
    for rect in tissue_windows(grid, found, n=n):
        region = read_measured(slide, rect, grid, compare=config.tiling.compare_levels)
        if region.damage:
            continue
        yield region.rgb if ink is None else _without(ink, region.rgb, rect, grid)


def tissue_windows(grid: SlideGrid, found: BoolArray, *, n: int = MAX_WINDOWS) -> list[Rect]:
    """Up to ``n`` windows of ``WINDOW_PX`` that hold tissue, evenly from all that do.

    Together the windows cover the grid up to its rims, where they overlap; each holds the part of the grid whose share
    of tissue chooses it. ``found`` is a mask over the slide, of any size.
    """
    if not found.any():
        return []
    rows, columns = -(-grid.height // WINDOW_PX), -(-grid.width // WINDOW_PX)
    share = _mean_of(found, rows, columns)
    held = np.argwhere(share >= min(MIN_TISSUE_SHARE, float(share.max())))
    chosen = np.unique(np.linspace(0, len(held) - 1, min(n, len(held))).round().astype(int))
    tops, lefts = (
        np.linspace(0, max(0, side - WINDOW_PX), k).round().astype(int).tolist()
        for side, k in ((grid.height, rows), (grid.width, columns))
    )
    return [
        Rect(
            x0=lefts[column],
            y0=tops[row],
            x1=min(lefts[column] + WINDOW_PX, grid.width),
            y1=min(tops[row] + WINDOW_PX, grid.height),
        )
        for row, column in held[chosen].tolist()
    ]


def _mean_of(mask: BoolArray, rows: int, columns: int) -> Float32Array:
    """(rows, columns) shares of a mask; in strips, for as float32 the mask of a large slide takes 200 MB."""
    step = tissue.STRIP_PX
    strips = (mask[top : top + step].astype(np.float32) for top in range(0, len(mask), step))
    across = [cv2.resize(each, (columns, len(each)), interpolation=cv2.INTER_AREA) for each in strips]
    return np.asarray(cv2.resize(np.concatenate(across), (columns, rows), interpolation=cv2.INTER_AREA), np.float32)


def _without(ink: BoolArray, rgb: UInt8Array, rect: Rect, grid: SlideGrid) -> UInt8Array:
    """A window without what lies below a mask over the slide."""
    if not ink.any():
        return rgb
    height, width = ink.shape
    row = (np.arange(rect.y0, rect.y1) * height // grid.height).clip(max=height - 1)
    column = (np.arange(rect.x0, rect.x1) * width // grid.width).clip(max=width - 1)
    return np.where(ink[np.ix_(row, column)][:, :, None], np.uint8(255), rgb)
