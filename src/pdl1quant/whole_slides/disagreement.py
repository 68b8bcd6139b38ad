"""Pixels to be measured, without those of which a smaller level of the slide shows something else.

Damage inside a tile that still decodes, and levels of another picture, stand in no index of a file. Each place is
held against the overview, which is read for the search of tissue anyway: where means over 64 um lie far apart, or
nothing is where the overview shows structure, the box is listed as damaged. Which of the two levels is wrong is not
known. Means are compared over shifts of 16 um, and the finer the structure, the farther they may lie apart: pyramids
are made in many ways, by leaving out pixels, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.model import Rect, Region, SlideDamage
from pdl1quant.slides.mosaic import DAMAGED_LEVEL, boxes_of_tiles, intersection
from pdl1quant.slides.source import LevelSize
from pdl1quant.whole_slides.reading import OVERVIEW_MPP, damaged_mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdl1quant.model import BoolArray, Float32Array, Slide, SlideGrid, UInt8Array

BLOCK_PX = 8
"""Side of the blocks whose means are compared, in pixels of the overview."""
SHIFT_PX = 2
"""So far levels may be shifted against each other."""
MIN_APART = 40.0
"""Grey levels that means lie farther apart than structure explains. Means of sound slides lie up to 21 apart, at a
brightness of 8 % less in the overview; by other ways to make it, structure explains all."""
EMPTY_PX = 12
"""Side of a square that is empty, in pixels of the overview."""
MIDDLE_PX = 5
"""Side of its middle, in which the overview shows structure: at any shift it lies in the square."""
MIN_STRUCTURE = 20.0
"""Standard deviation (grey levels) in the middle, from which there is structure: JPEG leaves less beside an edge."""
MAX_EMPTY = 0.25
"""Share of that in the whole square, up to which it is empty: to make a level smaller takes structure away, and even
sharpened it is less than twice of what there was."""
_CELL_PX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The same places as both levels show them, (h, w, 3) float32 in pixels of the overview, and the fine pixels."""

    fine: Float32Array
    coarse: Float32Array
    pixels: UInt8Array

    def spread_at(self, row: int, column: int, side: int) -> float:
        """Standard deviation of the fine pixels in a square about a place; that of the liveliest colour."""
        height, width = self.fine.shape[:2]
        scale_y, scale_x = self.pixels.shape[0] / height, self.pixels.shape[1] / width
        rows = slice(round(max(0, row - side // 2) * scale_y), round(min(height, row + side - side // 2) * scale_y))
        columns = slice(
            round(max(0, column - side // 2) * scale_x), round(min(width, column + side - side // 2) * scale_x)
        )
        return float(self.pixels[rows, columns].std(axis=(0, 1), dtype=np.float64).max())


def read_measured(slide: Slide, rect: Rect, grid: SlideGrid) -> Region:
    """``slide.read``, with places that disagree with the overview painted white and listed as damage."""
    region = slide.read(rect, grid)
    overview = slide.grid(OVERVIEW_MPP)
    inside = _inside(rect, grid, overview)
    if overview.level == grid.level or inside is None:
        return region
    coarse = slide.read(inside, overview)
    pixels = _same_places(region.rgb, rect, grid, inside=inside, overview=overview)
    size = (inside.width, inside.height)
    fine = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)
    pair = _Pair(fine=fine, coarse=coarse.rgb.astype(np.float32), pixels=pixels)
    left_out = _grown(damaged_mask((*region.damage, *coarse.damage), inside, overview), BLOCK_PX)
    apart = _apart(pair, left_out)
    if not apart.any():
        return region
    reason = f"levels {grid.level} and {overview.level} show different pictures there"
    damage = _boxes(apart, inside, overview, level=grid.level, reason=reason, slide=slide)
    rgb = region.rgb.copy()
    for each in damage:
        box = intersection(grid.covering(each.rect), rect)
        if box is not None:
            box.moved(-rect.x0, -rect.y0).of(rgb)[...] = DAMAGED_LEVEL
    return Region(rgb=rgb, damage=(*region.damage, *damage))


def _inside(rect: Rect, grid: SlideGrid, overview: SlideGrid) -> Rect | None:
    """The pixels of the overview that lie in a rectangle of a grid; None where it holds no block of them."""
    level0 = grid.to_level0(rect)
    x0, y0 = -(-level0.x0 // overview.downsample_x), -(-level0.y0 // overview.downsample_y)
    x1, y1 = level0.x1 // overview.downsample_x, level0.y1 // overview.downsample_y
    inside = Rect(x0=int(x0), y0=int(y0), x1=min(int(x1), overview.width), y1=min(int(y1), overview.height))
    return inside if min(inside.width, inside.height) >= BLOCK_PX else None


def _same_places(rgb: UInt8Array, rect: Rect, grid: SlideGrid, *, inside: Rect, overview: SlideGrid) -> UInt8Array:
    """What a window shows of a rectangle of the overview."""
    across, down = overview.downsample_x / grid.downsample_x, overview.downsample_y / grid.downsample_y
    rows = slice(round(inside.y0 * down) - rect.y0, round(inside.y1 * down) - rect.y0)
    columns = slice(round(inside.x0 * across) - rect.x0, round(inside.x1 * across) - rect.x0)
    return rgb[max(0, rows.start) : rows.stop, max(0, columns.start) : columns.stop]


def _apart(pair: _Pair, left_out: BoolArray) -> BoolArray:
    """(h, w) bool: middles of blocks in which the levels disagree."""
    means, around = _mean(pair.fine, BLOCK_PX), _mean(pair.coarse, BLOCK_PX)
    shifts = np.ones((2 * SHIFT_PX + 1,) * 2, np.uint8)
    beyond = np.maximum(cv2.erode(around, shifts) - means, means - cv2.dilate(around, shifts)).max(axis=2)
    excess = beyond - _spread(pair.coarse, BLOCK_PX + 2 * SHIFT_PX + 1) - MIN_APART
    structure = _spread(pair.coarse, MIDDLE_PX)
    empty = (structure >= MIN_STRUCTURE) & (_spread(pair.fine, EMPTY_PX) <= MAX_EMPTY * structure)
    far = (excess > 0) & ~left_out
    empty &= ~left_out
    # what seems so in pixels of the overview is looked at in those that are measured, at one place of each cell
    for at, cell in _highest(excess, far):
        far[cell] &= beyond[at] - MIN_APART > pair.spread_at(*at, BLOCK_PX)
    for at, cell in _highest(structure, empty):
        empty[cell] &= pair.spread_at(*at, EMPTY_PX) <= MAX_EMPTY * structure[at]
    return np.asarray(far | empty)


def _highest(values: Float32Array, where: BoolArray) -> Iterator[tuple[tuple[int, int], tuple[slice, slice]]]:
    """The place of the highest value in each cell of ``BLOCK_PX`` that has some, and the cell."""
    rows, columns = np.nonzero(where)
    for row, column in sorted({*zip((rows // BLOCK_PX).tolist(), (columns // BLOCK_PX).tolist(), strict=True)}):
        top, left = row * BLOCK_PX, column * BLOCK_PX
        cell = slice(top, top + BLOCK_PX), slice(left, left + BLOCK_PX)
        inside = np.where(where[cell], values[cell], -np.inf)
        down, right = divmod(int(inside.argmax()), inside.shape[1])
        yield (top + down, left + right), cell


def _mean(image: Float32Array, side: int) -> Float32Array:
    return np.asarray(cv2.blur(image, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _spread(image: Float32Array, side: int) -> Float32Array:
    """(h, w) standard deviation over squares, of the liveliest colour."""
    mean = _mean(image, side)
    return np.asarray(np.sqrt(np.maximum(_mean(image * image, side) - mean * mean, 0)).max(axis=2), np.float32)


def _grown(mask: BoolArray, by_px: int) -> BoolArray:
    if not mask.any():
        return mask
    return np.asarray(cv2.dilate(mask.view(np.uint8), np.ones((2 * by_px + 1,) * 2, np.uint8)) > 0)


def _boxes(
    apart: BoolArray, inside: Rect, overview: SlideGrid, *, level: int, reason: str, slide: Slide
) -> list[SlideDamage]:
    """Boxes in level-0 pixels around blocks, a little wider, on one lattice over the slide."""
    rows, columns = np.nonzero(_grown(apart, BLOCK_PX // 2 + SHIFT_PX))
    cells = np.zeros((-(-overview.height // _CELL_PX), -(-overview.width // _CELL_PX)), bool)
    cells[(rows + inside.y0) // _CELL_PX, (columns + inside.x0) // _CELL_PX] = True
    tile = LevelSize(width=_CELL_PX, height=_CELL_PX)
    size = LevelSize(width=overview.width, height=overview.height)
    whole = Rect(x0=0, y0=0, x1=slide.width, y1=slide.height)
    boxes = (
        intersection(overview.to_level0(each.rect), whole)
        for each in boxes_of_tiles(cells, level=level, tile=tile, size=size, reason=reason)
    )
    return [SlideDamage(rect=box, level=level, reason=reason) for box in boxes if box is not None]
