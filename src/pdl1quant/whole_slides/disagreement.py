"""Pixels to be measured, without those of which a smaller level of the slide shows something else.

Damage inside a tile that still decodes, and levels of another picture, stand in no index of a file. Each place is
held against the overview, which is read for the search of tissue anyway: where means over 64 um lie far apart, or
nothing is where the overview shows structure, the box is listed as damaged. Which of the two levels is wrong is not
known. Means are compared over shifts of 32 um, and the finer the structure, the farther they may lie apart: pyramids
are made in many ways, by leaving out pixels, too. What is said of a place does not depend on the window it is read in.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.model import Rect, Region, SlideDamage
from pdl1quant.slides.mosaic import DAMAGED_LEVEL, boxes_of_tiles, intersection
from pdl1quant.slides.source import LevelSize
from pdl1quant.whole_slides.reading import OVERVIEW_MPP, damaged_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdl1quant.model import BoolArray, Float32Array, IntpArray, Slide, SlideGrid, UInt8Array

BLOCK_PX = 8
"""Side of the blocks whose means are compared, in pixels of the overview."""
SHIFT_PX = 4
"""So far levels may be shifted against each other."""
MIN_APART = 60.0
"""Grey levels that means lie farther apart than structure explains: glass of a level that is 20 % darker, and more."""
EMPTY_PX = 14
"""Side of a square that is empty, in pixels of the overview."""
MIDDLE_PX = 5
"""Side of its middle, in which the overview shows structure: at any shift it lies in the square."""
MIN_STRUCTURE = 20.0
"""Standard deviation (grey levels) in the middle, from which there is structure: JPEG leaves less beside an edge."""
MAX_EMPTY = 0.25
"""Share of that in the whole square, up to which it is empty: to make a level smaller takes structure away, and even
sharpened it is less than twice of what there was."""
BLACK, BRIGHT = 8, 200
"""Up to the one and from the other (grey levels) what was not scanned is black or white; levels differ in that."""
MAX_GRAIN = 3.0
"""Standard deviation (grey levels) of glass in the overview, at most."""
FILL_PX = 2
"""So far around a pixel all others are filled, where nothing was scanned."""
_CELL_PX = 4
_AROUND_PX = BLOCK_PX // 2 + SHIFT_PX
"""What is listed reaches so far beyond a place that disagrees, and to the end of a cell."""
_LOOKS_PX = BLOCK_PX + 3 * FILL_PX
"""What is said of a place depends on pixels so far around it, at most."""
_REACH_PX = _AROUND_PX + _CELL_PX + _LOOKS_PX


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The same places as both levels show them, (h, w, 3) float32 in pixels of the overview."""

    fine: Float32Array
    coarse: Float32Array
    squares: Callable[[], Float32Array]
    """Gives means of the squares of the fine pixels, which are seldom asked for."""


def read_measured(slide: Slide, rect: Rect, grid: SlideGrid, *, compare: bool) -> Region:
    """``slide.read``; where it is to ``compare``, places that disagree with the overview are white, and damage."""
    if not compare:
        return slide.read(rect, grid)
    overview = slide.grid(OVERVIEW_MPP)
    wide = _widened(rect, grid, overview)
    inside = _inside(wide, grid, overview)
    if overview.level == grid.level or inside is None:
        return slide.read(rect, grid)
    region = slide.read(wide, grid)
    coarse = slide.read(inside, overview)
    places = partial(_same_places, region.rgb, wide, grid, inside=inside, overview=overview)
    pair = _Pair(fine=places(), coarse=coarse.rgb.astype(np.float32), squares=partial(places, squared=True))
    damaged = damaged_mask((*region.damage, *coarse.damage), inside, overview)
    apart = _apart(pair, _grown(damaged, BLOCK_PX))
    rgb = np.ascontiguousarray(rect.moved(-wide.x0, -wide.y0).of(region.rgb))
    known = tuple(each for each in region.damage if intersection(grid.covering(each.rect), rect) is not None)
    if not apart.any():
        return Region(rgb=rgb, damage=known)
    reason = f"levels {grid.level} and {overview.level} show different pictures there"
    found = []
    cells = _cells(apart, inside, overview, wanted=overview.covering(grid.to_level0(rect)))
    for each in _boxes(cells, overview, level=grid.level, reason=reason, slide=slide):
        box = intersection(grid.covering(each.rect), rect)
        if box is not None:
            box.moved(-rect.x0, -rect.y0).of(rgb)[...] = DAMAGED_LEVEL
            found.append(each)
    return Region(rgb=rgb, damage=(*known, *found))


def _widened(rect: Rect, grid: SlideGrid, overview: SlideGrid) -> Rect:
    """A rectangle with all around it that decides what is listed in it, as far as the grid reaches."""
    across, down = overview.downsample_x / grid.downsample_x, overview.downsample_y / grid.downsample_y
    by_x, by_y = math.ceil((_REACH_PX + 1) * across), math.ceil((_REACH_PX + 1) * down)
    return Rect(
        x0=min(rect.x0, max(0, rect.x0 - by_x)),
        y0=min(rect.y0, max(0, rect.y0 - by_y)),
        x1=max(rect.x1, min(grid.width, rect.x1 + by_x)),
        y1=max(rect.y1, min(grid.height, rect.y1 + by_y)),
    )


def _inside(rect: Rect, grid: SlideGrid, overview: SlideGrid) -> Rect | None:
    """The pixels of the overview that lie in a rectangle of a grid; None where it holds no block of them."""
    across, down = overview.downsample_x / grid.downsample_x, overview.downsample_y / grid.downsample_y
    if min(across, down) < 1:
        return None
    x0, y0 = math.ceil(max(0, rect.x0) / across), math.ceil(max(0, rect.y0) / down)
    x1, y1 = int(min(rect.x1, grid.width) / across), int(min(rect.y1, grid.height) / down)
    x1, y1 = min(x1, overview.width), min(y1, overview.height)
    if min(x1 - x0, y1 - y0) < BLOCK_PX:
        return None
    return Rect(x0=x0, y0=y0, x1=x1, y1=y1)


def _same_places(
    rgb: UInt8Array, rect: Rect, grid: SlideGrid, *, inside: Rect, overview: SlideGrid, squared: bool = False
) -> Float32Array:
    """Means of what a window shows, or of its squares, in each pixel of a rectangle of the overview."""
    rows = _edges(inside.y0, inside.y1, overview.downsample_y / grid.downsample_y) - rect.y0
    columns = _edges(inside.x0, inside.x1, overview.downsample_x / grid.downsample_x) - rect.x0
    places = np.empty((inside.height, inside.width, 3), np.float32)
    widths = np.diff(columns)[:, None]
    for row, (top, bottom) in enumerate(itertools.pairwise(rows.tolist())):
        lines = rgb[top:bottom].reshape(bottom - top, -1)
        if squared:
            sums = np.square(lines, dtype=np.uint16).sum(axis=0, dtype=np.int32)
        else:
            sums = np.asarray(cv2.reduce(lines, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S), np.int32)
        sums = sums.reshape(-1, 3)[: columns[-1]]
        places[row] = np.add.reduceat(sums, columns[:-1], axis=0) / (widths * (bottom - top))
    return places


def _edges(first: int, last: int, scale: float) -> IntpArray:
    """Where pixels of the overview begin and end in a finer grid."""
    return np.asarray(np.rint(np.arange(first, last + 1) * scale), np.intp)


def _apart(pair: _Pair, left_out: BoolArray) -> BoolArray:
    """(h, w) bool: middles of blocks in which the levels disagree."""
    means, around = _mean(pair.fine, BLOCK_PX), _mean(pair.coarse, BLOCK_PX)
    shifts = np.ones((2 * SHIFT_PX + 1,) * 2, np.uint8)
    beyond = np.maximum(cv2.erode(around, shifts) - means, means - cv2.dilate(around, shifts)).max(axis=2) - MIN_APART
    left_out = left_out | _filled(pair)
    far = (beyond > _spread(pair.coarse, BLOCK_PX + 2 * SHIFT_PX + 1)) & ~left_out
    structure = _spread(pair.coarse, MIDDLE_PX)
    empty = (structure >= MIN_STRUCTURE) & (_spread(pair.fine, EMPTY_PX) <= MAX_EMPTY * structure) & ~left_out
    if not (far | empty).any():
        return np.asarray(far, np.bool_)
    squares = pair.squares()  # what seems so in pixels of the overview is looked at in those that are measured
    far &= beyond > _spread(pair.fine, BLOCK_PX, squares=squares)
    empty &= _spread(pair.fine, EMPTY_PX, squares=squares) <= MAX_EMPTY * structure
    return np.asarray(far | empty)


def _filled(pair: _Pair) -> BoolArray:
    """(h, w) bool: in reach of what was not scanned, and is black in one level and white in the other."""
    is_black = (pair.coarse.max(axis=2) <= BLACK) & (pair.fine.min(axis=2) >= BRIGHT)
    is_white = (pair.coarse.min(axis=2) >= BRIGHT) & (pair.fine.max(axis=2) <= BLACK)
    is_white &= _spread(pair.coarse, 2 * FILL_PX + 1) <= MAX_GRAIN  # pale tissue is not as even as glass
    whole = cv2.erode((is_black | is_white).view(np.uint8), np.ones((2 * FILL_PX + 1,) * 2, np.uint8)) > 0
    return _grown(np.asarray(whole), FILL_PX + BLOCK_PX)


def _mean(image: Float32Array, side: int) -> Float32Array:
    return np.asarray(cv2.blur(image, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _spread(image: Float32Array, side: int, *, squares: Float32Array | None = None) -> Float32Array:
    """(h, w) standard deviation over squares, of the liveliest colour; ``squares`` are those of finer pixels."""
    mean, squares = _mean(image, side), image * image if squares is None else squares
    return np.asarray(np.sqrt(np.maximum(_mean(squares, side) - mean * mean, 0)).max(axis=2), np.float32)


def _grown(mask: BoolArray, by_px: int) -> BoolArray:
    if not mask.any():
        return mask
    return np.asarray(cv2.dilate(mask.view(np.uint8), np.ones((2 * by_px + 1,) * 2, np.uint8)) > 0)


def _cells(apart: BoolArray, inside: Rect, overview: SlideGrid, *, wanted: Rect) -> BoolArray:
    """(rows, columns) bool: of a lattice over the slide the cells around blocks that touch what is wanted."""
    rows, columns = np.nonzero(_grown(apart, _AROUND_PX))
    cells = np.zeros((-(-overview.height // _CELL_PX), -(-overview.width // _CELL_PX)), bool)
    cells[(rows + inside.y0) // _CELL_PX, (columns + inside.x0) // _CELL_PX] = True
    touched = (
        slice(max(0, wanted.y0) // _CELL_PX, -(-wanted.y1 // _CELL_PX)),
        slice(max(0, wanted.x0) // _CELL_PX, -(-wanted.x1 // _CELL_PX)),
    )
    kept = np.zeros_like(cells)
    kept[touched] = cells[touched]
    return kept


def _boxes(cells: BoolArray, overview: SlideGrid, *, level: int, reason: str, slide: Slide) -> list[SlideDamage]:
    """Boxes in level-0 pixels around cells."""
    tile = LevelSize(width=_CELL_PX, height=_CELL_PX)
    size = LevelSize(width=overview.width, height=overview.height)
    whole = Rect(x0=0, y0=0, x1=slide.width, y1=slide.height)
    boxes = (
        intersection(overview.to_level0(each.rect), whole)
        for each in boxes_of_tiles(cells, level=level, tile=tile, size=size, reason=reason)
    )
    return [SlideDamage(rect=box, level=level, reason=reason) for box in boxes if box is not None]
