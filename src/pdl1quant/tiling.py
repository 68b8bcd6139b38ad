"""Cutting a slide into tiles: half-open cores that share out the work, with a halo of what lies around each.

Pure geometry on the grid of the slide's working pixels. The work is a set of square blocks (those that hold tissue);
each core is the bounding box of the blocks within a rectangle of up to ``tile_px``, into which stretches of work are
cut evenly: a sliver would cost as much of a halo as a whole tile. Blocks belong to one core, a cell to the block that
holds its centroid: so no cell is lost or counted twice, and which blocks are work does not depend on the size of the
tiles. Tiles begin at multiples of a step, so that whatever strides over pixels in them strides alike. The windows of a
network are cut from the same work without regard to tiles, so that each is run once, and says the same to tiles of any
size.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import Rect

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float64Array

BLOCK_PX = 256
"""Side of a block; sides of tiles are multiples of it."""
JOINED_BLOCKS = 2
"""A tile reaches over so many blocks that are no work: their pixels cost less than another tile's halo."""
TIES_PX = 48
"""Coarse grids of 4 px, ties broken in 3 x 3 px, and the 16 px that OpenCV computes at a time (those that are left at
the end of a row are rounded otherwise) lie alike in tiles, and in what is cut out of them, that begin at multiples of
this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """What is read around a core.

    Objects on which a cell of the core depends reach ``objects_px`` beyond it; to find them takes another ``looks_px``
    (0: the segmenter does not tell the two apart). Tiles begin at multiples of ``step_px``, a multiple of `TIES_PX`.
    """

    looks_px: int
    objects_px: int
    step_px: int = TIES_PX


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePlace:
    """Where a tile lies, in pixels of the slide's grid: ``rect`` is read, ``inner`` has objects, ``core`` is owned."""

    rect: Rect
    inner: Rect
    core: Rect


def place_tiles(blocks: BoolArray, *, width: int, height: int, tile_px: int, margins: Margins) -> tuple[TilePlace, ...]:
    """The tiles that cover all blocks of work, row by row.

    Parameters
    ----------
    blocks
        (rows, columns) bool: which blocks of ``BLOCK_PX`` are work.
    width, height
        Size of the grid in pixels; nothing reaches beyond it.
    tile_px
        Longest side of what is worked on at a time, a multiple of ``BLOCK_PX``.
    margins
        How much is read around each core, at least.
    """
    halo_px, step_px = margins.looks_px + margins.objects_px, margins.step_px
    per_tile = tile_px // BLOCK_PX
    assert per_tile * BLOCK_PX == tile_px
    places = []
    for top, bottom in _stretches(np.asarray(blocks.any(axis=1)), at_most=per_tile):
        band = np.asarray(blocks[top:bottom].any(axis=0))
        for left, right in _stretches(band, at_most=per_tile):
            rows, columns = np.nonzero(blocks[top:bottom, left:right])
            if rows.size == 0:
                continue
            core = Rect(
                x0=(left + int(columns.min())) * BLOCK_PX,
                y0=(top + int(rows.min())) * BLOCK_PX,
                x1=min((left + int(columns.max()) + 1) * BLOCK_PX, width),
                y1=min((top + int(rows.max()) + 1) * BLOCK_PX, height),
            )
            rect = Rect(
                x0=max(0, core.x0 - halo_px) // step_px * step_px,
                y0=max(0, core.y0 - halo_px) // step_px * step_px,
                x1=min(core.x1 + halo_px, width),
                y1=min(core.y1 + halo_px, height),
            )
            inner = Rect(
                x0=max(rect.x0, (core.x0 - margins.objects_px) // TIES_PX * TIES_PX),
                y0=max(rect.y0, (core.y0 - margins.objects_px) // TIES_PX * TIES_PX),
                x1=min(core.x1 + margins.objects_px, width),
                y1=min(core.y1 + margins.objects_px, height),
            )
            places.append(TilePlace(rect=rect, inner=inner if margins.looks_px else rect, core=core))
    return tuple(places)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPlace:
    """A window of a network, in pixels of the slide's grid: ``rect`` is read, of ``core`` it says something."""

    rect: Rect
    core: Rect


def place_windows(
    blocks: BoolArray, *, width: int, height: int, sides: tuple[int, int], objects_px: int, step_px: int
) -> tuple[WindowPlace, ...]:
    """The windows that cover what tiles look at, row by row; they know nothing of the tiles.

    Parameters
    ----------
    blocks, width, height
        As for `place_tiles`.
    sides
        The longest side of a window, and how much more it reads on each side; multiples of ``step_px``. Windows are cut
        evenly from stretches of work, as tiles are, and cut down to the work in them.
    objects_px
        How far around blocks of work tiles look.
    step_px
        What is read begins at multiples of this.
    """
    (side_px, context_px), around_px = sides, objects_px + TIES_PX
    how = {"side_px": side_px, "around_px": around_px, "step_px": step_px}
    places = []
    for top, bottom in _lengths(np.asarray(blocks.any(axis=1)), at_most=height, **how):
        row, row_end = _blocks_about(top, bottom, around_px)
        for left, right in _lengths(np.asarray(blocks[row:row_end].any(axis=0)), at_most=width, **how):
            column, column_end = _blocks_about(left, right, around_px)
            rows, columns = np.nonzero(blocks[row:row_end, column:column_end])
            if rows.size == 0:
                continue
            core = Rect(
                x0=max(left, ((column + int(columns.min())) * BLOCK_PX - around_px) // step_px * step_px),
                y0=max(top, ((row + int(rows.min())) * BLOCK_PX - around_px) // step_px * step_px),
                x1=min(-(-((column + int(columns.max()) + 1) * BLOCK_PX + around_px) // step_px) * step_px, right),
                y1=min(-(-((row + int(rows.max()) + 1) * BLOCK_PX + around_px) // step_px) * step_px, bottom),
            )
            rect = Rect(
                x0=max(0, core.x0 - context_px),
                y0=max(0, core.y0 - context_px),
                x1=min(core.x1 + context_px, width),
                y1=min(core.y1 + context_px, height),
            )
            places.append(WindowPlace(rect=rect, core=core))
    return tuple(places)


def _lengths(work: BoolArray, *, at_most: int, side_px: int, around_px: int, step_px: int) -> list[tuple[int, int]]:
    """First and last + 1 px of what lies around blocks of work along a side of ``at_most`` px, cut evenly.

    No length is longer than ``side_px``; they begin at multiples of ``step_px``, and do not overlap.
    """
    at = np.flatnonzero(work)
    joined = max(JOINED_BLOCKS, 2 * (around_px + step_px) // BLOCK_PX)
    found = []
    for stretch in np.split(at, np.flatnonzero(np.diff(at) > joined + 1) + 1):
        if stretch.size:
            first = max(0, int(stretch[0]) * BLOCK_PX - around_px) // step_px * step_px
            n_steps = -(-((int(stretch[-1]) + 1) * BLOCK_PX + around_px - first) // step_px)
            n_steps = min(n_steps, -(-(at_most - first) // step_px))
            n = -(-n_steps * step_px // side_px)
            cuts = [min(first + n_steps * k // n * step_px, at_most) for k in range(n + 1)]
            found += list(pairwise(cuts))
    return found


def _blocks_about(first_px: int, end_px: int, around_px: int) -> tuple[int, int]:
    """First and last + 1 of the blocks that lie so close to some pixels."""
    return max(0, first_px - around_px) // BLOCK_PX, (end_px + around_px - 1) // BLOCK_PX + 1


def _stretches(work: BoolArray, *, at_most: int) -> list[tuple[int, int]]:
    """First and last + 1 of stretches of work, gaps up to ``JOINED_BLOCKS`` included, cut evenly where too long."""
    at = np.flatnonzero(work)
    found = []
    for stretch in np.split(at, np.flatnonzero(np.diff(at) > JOINED_BLOCKS + 1) + 1):
        if stretch.size:
            first, length = int(stretch[0]), int(stretch[-1]) + 1 - int(stretch[0])
            n = -(-length // at_most)
            found += [(first + length * k // n, first + length * (k + 1) // n) for k in range(n)]
    return found


def owned(x_px: Float64Array, y_px: Float64Array, core: Rect, blocks: BoolArray) -> BoolArray:
    """Which points, (n,) pixels of the grid with the centre of the first pixel at 0, belong to a core.

    A point belongs to the pixel that it lies in, so to one core; points of blocks that are no work belong to none.
    """
    column, row = np.floor(x_px + 0.5).astype(np.int64), np.floor(y_px + 0.5).astype(np.int64)
    inside = (column >= core.x0) & (column < core.x1) & (row >= core.y0) & (row < core.y1)
    found = np.zeros(len(column), bool)
    found[inside] = blocks[row[inside] // BLOCK_PX, column[inside] // BLOCK_PX]
    return found


def shape_in_blocks(width: int, height: int) -> tuple[int, int]:
    """Rows and columns of blocks over a grid."""
    return -(-height // BLOCK_PX), -(-width // BLOCK_PX)
