"""What a slide is, how it is stained and what scoring it would take: a first look, before any score.

Files are opened, one overview is read, and a few windows of tissue: seconds, whatever the size of the slide. White
level and stain vectors are those of its score; of a slide without small levels those of a few windows.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant import pipeline
from pdl1quant.assays import load_pack
from pdl1quant.errors import RefusedError
from pdl1quant.model import Rect, StainEstimate, Tile
from pdl1quant.slides.opening import is_whole_slide, open_slide
from pdl1quant.stages import quality, stains, tissue
from pdl1quant.stages.artefacts import DETAIL_MPP
from pdl1quant.stages.stains import StainSample
from pdl1quant.whole_slides.masking import mask_artefacts
from pdl1quant.whole_slides.survey import WINDOW_PX, only_white, sample_slide, tissue_windows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.config import Config
    from pdl1quant.model import BoolArray, Level, Slide, SlideDamage, SlideGrid, UInt8Array

SMALL_PX = 8_000_000
"""Images of at most so many pixels at the working resolution are looked at as a whole."""
MAX_OVERVIEW_PX = 16_000_000
"""Pixels of the overview of a slide, at ``STEP_UM`` of the tissue mask or coarser."""
MAX_DECODED_PX = 400_000_000
"""Stored pixels that are decoded for it at most, a few seconds; a slide without small levels may need more."""
TILE_PX = {"network": 2048, "watershed": 2424}
"""Side of the part of a slide that a worker holds at a time: about a window of the network with its context, or tile
and margins; measured peaks of a worker were 764 to 874 and 716 to 724 MB."""
OTHER_TILE_PX = 1184
"""The same for segmenters that were not measured."""
MEMORY_MB = {"network": (350.0, 105.0), "watershed": (320.0, 50.0)}
"""Of a worker: MB without an image, and MB for each million pixels at the working resolution; peaks measured on
phantoms of 0.3 to 9.4 Mpx."""
OTHER_MEMORY_MB = (350.0, 150.0)
"""The same for segmenters that were not measured."""
SLIDE_SHARE = 1.7
"""Time of a slide for each pixel of its tissue, over that of a window: margins, classes, files and report. Measured
processor time on slides of 7 and 37 Mpx of tissue, network and rules alike: 1.7."""
SLIDE_START_S = 5.0
"""What each slide takes besides, on the same machine: to start, to survey, to report."""
READER_MB = 100.0
"""Decoded tiles that a reader keeps, and the stored pixels of one window."""
SWATCH_OD = 0.6
"""OD at which the stains are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staining:
    """How the sampled tissue is stained, and each stain as RGB at an OD of ``SWATCH_OD``."""

    estimate: StainEstimate
    haematoxylin_rgb: tuple[int, int, int]
    dab_rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Estimates of what scoring takes: seconds of one worker on this machine as busy as it is now, MB of one worker."""

    seconds: float
    memory_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found; ``staining``, ``tissue_share`` and ``effort`` are None where ``remarks`` say why."""

    path: Path
    vendor: str
    width: int
    height: int
    levels: tuple[Level, ...]
    mpp_x: float
    mpp_y: float
    mpp_source: str
    objective: float | None
    icc: str | None
    notes: tuple[str, ...]
    damage: tuple[SlideDamage, ...]
    staining: Staining | None = None
    tissue_share: float | None = None
    tissue_mm2: float | None = None
    artefacts: dict[str, float] | None = None
    """Share (0-1) of the tissue that each kind covers."""
    effort: Effort | None = None
    remarks: tuple[str, ...] = ()
    damage_means: str = ""
    """What the damage does to the score; empty without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What was read of a slide: windows at the working resolution, and the tissue share and glass of the whole."""

    windows: tuple[UInt8Array, ...]
    overview: StainSample | None
    tissue_share: float | None
    found: BoolArray | None = None


def inspect_slide(path: Path, *, config: Config, mpp: float | None = None) -> Inspection:
    """Look at one slide or image.

    Parameters
    ----------
    path
        As for `open_slide`.
    config
        Settings that scoring would use.
    mpp
        Pixel size of level 0 in um; wins over the file's own.

    Raises
    ------
    InputError
        It cannot be read, or tells no pixel size.
    """
    with open_slide(path, mpp=mpp) as slide:
        grid = slide.grid(config.working_mpp)
        is_tiled = is_whole_slide(path, mpp=mpp, working_mpp=config.working_mpp)
        remarks: list[str] = []
        look = _look_at(slide, grid, config=config, remarks=remarks)
        staining, effort, artefacts = None, None, None
        if not look.windows:
            remarks.append("no tissue found")
        else:
            try:
                has_overview = is_tiled and look.found is not None
                samples = [sample_slide(slide, config=config)] if has_overview else _samples(look, config=config)
                staining = _staining(samples, config=config)
                artefacts = _artefacts(slide, look, staining.estimate, config=config)
                effort = _effort(look, grid, staining.estimate, config=config, is_tiled=is_tiled)
            except RefusedError as error:
                remarks.append(str(error))
        mm2 = slide.width * slide.mpp_x * slide.height * slide.mpp_y / 1e6
        return Inspection(
            path=path,
            vendor=slide.vendor,
            width=slide.width,
            height=slide.height,
            levels=slide.levels,
            mpp_x=slide.mpp_x,
            mpp_y=slide.mpp_y,
            mpp_source=slide.mpp_source,
            objective=slide.objective,
            icc=slide.icc,
            notes=slide.notes,
            damage=slide.damage,
            staining=staining,
            tissue_share=look.tissue_share,
            tissue_mm2=None if look.tissue_share is None else look.tissue_share * mm2,
            artefacts=artefacts,
            effort=effort,
            remarks=tuple(remarks),
            damage_means=_damage_means(slide, grid, is_tiled=is_tiled),
        )


def _damage_means(slide: Slide, grid: SlideGrid, *, is_tiled: bool) -> str:
    if not slide.damage:
        return ""
    if not is_tiled:
        return "it will not be scored"  # images are scored whole, or not at all
    matters = any(each.level >= grid.level for each in slide.damage)
    return "the score will be partial" if matters else "not needed for the score"


def _look_at(slide: Slide, grid: SlideGrid, *, config: Config, remarks: list[str]) -> _Look:
    if grid.width * grid.height <= SMALL_PX:
        rgb = slide.read(Rect(x0=0, y0=0, x1=grid.width, y1=grid.height), grid).rgb
        found = _find_tissue(rgb, grid.mpp, stains.sample_stains(rgb), config=config)
        return _Look(windows=(rgb,), overview=None, tissue_share=float(found.mean()), found=found)
    area_um2 = slide.width * slide.mpp_x * slide.height * slide.mpp_y
    coarse = slide.grid(max(tissue.STEP_UM, math.sqrt(area_um2 / MAX_OVERVIEW_PX)))
    stored = slide.levels[coarse.level]
    if stored.width * stored.height > MAX_DECODED_PX:
        remarks.append("no level of low resolution: tissue share and time are not estimated")
        return _Look(windows=_windows(slide, grid, np.ones((1, 1), bool)), overview=None, tissue_share=None)
    overview = slide.read(Rect(x0=0, y0=0, x1=coarse.width, y1=coarse.height), coarse).rgb
    sample = stains.sample_stains(overview)
    found = _find_tissue(overview, coarse.mpp, sample, config=config)
    windows = _windows(slide, grid, found)
    return _Look(windows=windows, overview=sample, tissue_share=float(found.mean()), found=found)


def _find_tissue(rgb: UInt8Array, mpp: float, sample: StainSample, *, config: Config) -> BoolArray:
    white = stains.white_level([sample], config=config.stains)
    return tissue.find_tissue(Tile.whole(rgb, mpp), only_white(white, config), config=config.tissue)


def _windows(slide: Slide, grid: SlideGrid, found: BoolArray) -> tuple[UInt8Array, ...]:
    """The windows of tissue that are not damaged."""
    regions = [slide.read(rect, grid) for rect in tissue_windows(grid, found)]
    return tuple(region.rgb for region in regions if not region.damage)


def _samples(look: _Look, *, config: Config) -> list[StainSample]:
    samples = [stains.sample_stains(window) for window in look.windows]
    pixels = np.concatenate([sample.pixels for sample in samples])
    if look.overview is not None:  # glass of the whole slide, stains of the windows: coarse pixels mix both
        whole = StainSample(pixels=pixels[:0], glass=look.overview.glass, n_blocks=look.overview.n_blocks)
        samples = [replace(sample, glass=pixels[:0], n_blocks=0) for sample in samples] + [whole]
    quality.check_hdab(pixels, stains.white_level(samples, config=config.stains))
    return samples


def _staining(samples: Sequence[StainSample], *, config: Config) -> Staining:
    estimate = pipeline.estimate_case(samples, config=config)
    return Staining(
        estimate=estimate,
        haematoxylin_rgb=_colour(estimate.white, estimate.haematoxylin),
        dab_rgb=_colour(estimate.white, estimate.dab),
    )


def _colour(white: Sequence[float], vector: Sequence[float]) -> tuple[int, int, int]:
    red, green, blue = np.clip(np.rint(np.asarray(white) * 10 ** (-SWATCH_OD * np.asarray(vector))), 0, 255).tolist()
    return int(red), int(green), int(blue)


def _artefacts(slide: Slide, look: _Look, estimate: StainEstimate, *, config: Config) -> dict[str, float] | None:
    """Shares of the tissue; None where nobody looked, as on slides of which all would have to be decoded."""
    stored = slide.levels[slide.grid(DETAIL_MPP).level]
    if look.found is None or not config.artefacts.find or stored.width * stored.height > MAX_DECODED_PX:
        return None
    found, ground = mask_artefacts(slide, look.found, estimate=estimate, config=config)
    return {str(kind): share for kind, share in found.shares(ground).items()}


def _effort(look: _Look, grid: SlideGrid, estimate: StainEstimate, *, config: Config, is_tiled: bool) -> Effort | None:
    """From the time that one window takes now, and the memory that was measured."""
    if look.tissue_share is None:
        return None
    window = np.ascontiguousarray(look.windows[len(look.windows) // 2][:WINDOW_PX, :WINDOW_PX])
    tile = Tile.whole(window, grid.mpp)
    pack = load_pack("28-8-cytoplasm")
    seconds = math.inf
    for _ in range(2):  # the first run loads the network
        start = time.perf_counter()
        od = stains.deconvolve(window, estimate)
        pipeline.analyse_tile(tile, od, estimate=estimate, config=config, pack=pack)
        seconds = min(seconds, time.perf_counter() - start)
    n_px = grid.width * grid.height
    window_s = seconds / (window.shape[0] * window.shape[1])
    side_px = TILE_PX.get(config.nuclei.segmenter, OTHER_TILE_PX)
    held_mpx = (min(side_px**2, n_px) if is_tiled else n_px) / 1e6
    base, each = MEMORY_MB.get(config.nuclei.segmenter, OTHER_MEMORY_MB)
    return Effort(
        seconds=SLIDE_START_S + SLIDE_SHARE * window_s * n_px * look.tissue_share if is_tiled else window_s * n_px,
        memory_mb=base + READER_MB + each * held_mpx,
    )
