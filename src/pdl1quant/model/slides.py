"""What is said of a whole slide: its levels, grids of pixels over it, and what of it is damaged.

Level 0 is the finest. Grids share the corner of the slide: pixel (0, 0) of every level and grid covers the slide's
first corner, and pixel ``j`` of a grid covers level-0 columns ``j * downsample_x`` to ``(j + 1) * downsample_x``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pdl1quant.model.pixels import Rect, UInt8Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One stored resolution: its size in pixels, and how many level-0 pixels one of its pixels spans, each way."""

    width: int
    height: int
    downsample_x: float
    downsample_y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideGrid:
    """Pixels of one size over a whole slide: what windows are read from, so that windows agree where they overlap.

    ``mpp`` is the side of its square pixels in um, ``width`` and ``height`` its size in pixels, ``level`` the stored
    level it is made of. ``downsample_x`` and ``downsample_y`` are level-0 pixels per pixel of the grid; they differ
    where the slide's own pixels are not square.
    """

    mpp: float
    width: int
    height: int
    downsample_x: float
    downsample_y: float
    level: int

    def to_level0(self, rect: Rect) -> Rect:
        """The whole level-0 pixels that a rectangle of the grid touches; not clipped to the slide."""
        return _scaled(rect, self.downsample_x, self.downsample_y)

    def covering(self, level0: Rect) -> Rect:
        """The pixels of the grid that a rectangle of level-0 pixels touches; not clipped to the slide."""
        return _scaled(level0, 1 / self.downsample_x, 1 / self.downsample_y)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideDamage:
    """Pixels that the file should hold and does not: a box in level-0 pixels, the level they are missing at, why."""

    rect: Rect
    level: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A window of a slide: (H, W, 3) uint8, and the damage met in it; damaged pixels are white and mean nothing."""

    rgb: UInt8Array
    damage: tuple[SlideDamage, ...] = ()


_NEARLY = 1e-6
"""A pixel touched by less than this is not touched: divisions round."""


def _scaled(rect: Rect, scale_x: float, scale_y: float) -> Rect:
    return type(rect)(
        x0=math.floor(rect.x0 * scale_x + _NEARLY),
        y0=math.floor(rect.y0 * scale_y + _NEARLY),
        x1=math.ceil(rect.x1 * scale_x - _NEARLY),
        y1=math.ceil(rect.y1 * scale_y - _NEARLY),
    )
