"""Whether the levels of a slide show one picture: where to look is decided on a coarse one, measured is a fine one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.errors import UnreadableError
from pdl1quant.model import Rect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdl1quant.model import Float32Array, Slide, SlideGrid, UInt8Array

WINDOW_PX = 512
N_WINDOWS = 5
"""Windows each way, evenly over the slide: what a broken overview does not show has to be met, too."""
BLUR_PX = 1.5
"""Places of the overview over which both are smoothed: levels are made in several ways."""
MIN_SPREAD = 4.0
"""Standard deviation (grey levels) from which there is something to compare; noise of glass stays below 1."""
MIN_LIKENESS = 0.5
"""Correlation of two levels of one picture; on rendered slides it is above 0.95."""


def check_levels(slide: Slide, grid: SlideGrid, overview: SlideGrid, rgb: UInt8Array) -> None:
    """Hold the overview against the level that is measured, at places all over the slide.

    Parameters
    ----------
    slide
        Read in up to ``N_WINDOWS`` x ``N_WINDOWS`` windows, without those that are damaged.
    grid
        What is measured.
    overview, rgb
        The grid of the overview, and its pixels (H, W, 3) uint8.

    Raises
    ------
    UnreadableError
        They show different pictures.
    """
    if overview.level == grid.level:
        return
    pairs = list(_pairs(slide, grid, overview, rgb))
    if not pairs:
        return
    fine, coarse = (np.concatenate(each) for each in zip(*pairs, strict=True))
    if max(fine.std(), coarse.std()) < MIN_SPREAD:
        return
    alike = 0.0 if min(fine.std(), coarse.std()) == 0 else float(np.corrcoef(fine, coarse)[0, 1])
    if alike < MIN_LIKENESS:
        raise UnreadableError(
            f"{slide.path.name}: levels {grid.level} and {overview.level} of the pyramid show different pictures; "
            "export the slide again"
        )


def _pairs(
    slide: Slide, grid: SlideGrid, overview: SlideGrid, rgb: UInt8Array
) -> Iterator[tuple[Float32Array, Float32Array]]:
    """The same places as the measured level and as the overview show them, as grey levels."""
    for rect in _spread(grid):
        region = slide.read(rect, grid)
        if region.damage:
            continue
        cover = overview.covering(grid.to_level0(rect))
        rows = slice(cover.y0, min(cover.y1, rgb.shape[0]))
        columns = slice(cover.x0, min(cover.x1, rgb.shape[1]))
        there = _grey(rgb[rows, columns])
        if there.size == 0:
            continue
        size = (there.shape[1], there.shape[0])
        here = cv2.resize(_grey(region.rgb), size, interpolation=cv2.INTER_AREA)
        smooth = (np.asarray(cv2.GaussianBlur(each, (0, 0), BLUR_PX), np.float32).ravel() for each in (here, there))
        yield next(smooth), next(smooth)


def _grey(rgb: UInt8Array) -> Float32Array:
    """(H, W) means of the three channels: plane by plane, which is ten times as fast as a mean along the last axis."""
    total = rgb[..., 0].astype(np.float32)
    total += rgb[..., 1]
    total += rgb[..., 2]
    return np.asarray(total / np.float32(3))


def _spread(grid: SlideGrid) -> Iterator[Rect]:
    """Windows evenly over the whole slide."""
    lefts, tops = (
        np.unique(np.linspace(0, max(0, side - WINDOW_PX), N_WINDOWS).round().astype(int)).tolist()
        for side in (grid.width, grid.height)
    )
    for y0 in tops:
        for x0 in lefts:
            yield Rect(x0=x0, y0=y0, x1=min(x0 + WINDOW_PX, grid.width), y1=min(y0 + WINDOW_PX, grid.height))
