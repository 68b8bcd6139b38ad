"""Windows of a slide at low resolution; what is damaged in a small level is made from a finer one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import Region
from pdl1quant.slides.mosaic import intersection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdl1quant.model import BoolArray, Rect, Slide, SlideDamage, SlideGrid

OVERVIEW_MPP = 8.0
"""Pixel size of the overview: two nuclei."""


def read_mended(slide: Slide, rect: Rect, grid: SlideGrid) -> Region:
    """Like ``slide.read``; boxes that are damaged in the level of the grid are read from the next finer levels.

    Parameters
    ----------
    slide
        From `open_slide`.
    rect, grid
        As for ``Slide.read``.

    Returns
    -------
    Region
        Its damage is what no finer level holds either.
    """
    region = slide.read(rect, grid)
    rgb, damage = region.rgb, region.damage
    for level in reversed(range(grid.level)):
        if not damage:
            break
        finer = replace(grid, level=level)
        left: dict[SlideDamage, None] = {}
        rgb = rgb.copy()
        for box in _within(damage, rect, grid):
            again = slide.read(box, finer)
            box.moved(-rect.x0, -rect.y0).of(rgb)[...] = again.rgb
            left |= dict.fromkeys(again.damage)
        damage = tuple(left)
    return Region(rgb=rgb, damage=damage)


def damaged_mask(damage: Iterable[SlideDamage], rect: Rect, grid: SlideGrid) -> BoolArray:
    """(H, W) bool: the pixels ``rect`` of a grid that damage touches."""
    mask = np.zeros((rect.height, rect.width), bool)
    for box in _within(damage, rect, grid):
        box.moved(-rect.x0, -rect.y0).of(mask)[...] = True
    return mask


def _within(damage: Iterable[SlideDamage], rect: Rect, grid: SlideGrid) -> list[Rect]:
    """Damaged boxes in pixels of a grid, cut to ``rect``."""
    boxes = (intersection(grid.covering(each.rect), rect) for each in damage)
    return [box for box in boxes if box is not None]
