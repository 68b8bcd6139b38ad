"""Which blocks of a slide are work: those that hold tissue, and some of what a person drew to be scored."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
import shapely

from pdl1quant.errors import RefusedError
from pdl1quant.slides.roi import RoiKind, limiting_rois, of_kind, scored_region, why_nothing, within_reach
from pdl1quant.stages import quality
from pdl1quant.tiling import BLOCK_PX, shape_in_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import BoolArray, IntpArray, Slide, SlideGrid, UInt8Array
    from pdl1quant.slides.roi import Roi

MARGIN_UM = 64.0
"""So far around tissue cells are looked for: its outline is smoothed, and drawn on a coarse grid."""


def blocks_of(found: BoolArray, grid: SlideGrid) -> BoolArray:
    """The blocks that hold tissue, or lie within ``MARGIN_UM`` of it."""
    height, width = found.shape
    around = [math.ceil(MARGIN_UM / (side * grid.mpp / n)) for side, n in ((grid.height, height), (grid.width, width))]
    kernel = np.ones((2 * around[0] + 1, 2 * around[1] + 1), np.uint8)
    near = np.asarray(cv2.dilate(found.view(np.uint8), kernel), np.uint8)
    rows, columns = shape_in_blocks(grid.width, grid.height)
    # both corners of each place: a place is smaller than a block
    by_row, by_block = np.zeros((rows, width), np.uint8), np.zeros((rows, columns), np.uint8)
    for down in (0, 1):
        _raise(by_row, _block_of(np.arange(height) + down, grid.height, height), near)
    for right in (0, 1):
        _raise(by_block.T, _block_of(np.arange(width) + right, grid.width, width), by_row.T)
    return by_block > 0


def _block_of(edge: IntpArray, side_px: int, n: int) -> IntpArray:
    """The block in which the edge of each of ``n`` places along a side of the grid lies."""
    px = np.minimum(edge * side_px / n, side_px - 1)
    return np.asarray(px // BLOCK_PX, np.intp)


def _raise(into: UInt8Array, index: IntpArray, lines: UInt8Array) -> None:
    """Raise row ``index[k]`` (ascending) of ``into`` to row k of ``lines``, for all k."""
    blocks, first = np.unique(index, return_index=True)
    into[blocks] = np.maximum(into[blocks], np.maximum.reduceat(lines, first, axis=0))


def blocks_in(rois: Sequence[Roi], slide: Slide, grid: SlideGrid, *, margin_um: float) -> BoolArray:
    """The blocks within ``margin_um`` of what is to be scored or of the stroma beside it; all of them without regions.

    The margin holds the cells at which those that count look. Of a microarray the cores are measured as a whole, drawn
    on or not, for each has a row.

    Raises
    ------
    RefusedError
        Nothing of the slide is to be scored.
    """
    rows, columns = shape_in_blocks(grid.width, grid.height)
    if not rois:
        return np.ones((rows, columns), bool)
    y, x = (each.ravel() for each in np.mgrid[:rows, :columns] * BLOCK_PX)
    boxes = shapely.box(
        x * grid.downsample_x,
        y * grid.downsample_y,
        np.minimum(x + BLOCK_PX, grid.width) * grid.downsample_x,
        np.minimum(y + BLOCK_PX, grid.height) * grid.downsample_y,
    )
    whole = shapely.box(0, 0, grid.width * grid.downsample_x, grid.height * grid.downsample_y)
    region = scored_region(rois, whole)
    if region.is_empty:
        raise RefusedError(why_nothing(rois, whole, what="slide"))
    cores = [roi for roi in rois if roi.is_core]
    counts = scored_region((*cores, *of_kind(rois, RoiKind.EXCLUDE)) if cores else limiting_rois(rois), whole)
    sides = {"mpp_x": slide.mpp_x, "mpp_y": slide.mpp_y}
    boxes_um = shapely.transform(boxes, lambda points: points * (slide.mpp_x, slide.mpp_y))
    found = within_reach(counts, boxes_um, reach_um=margin_um, **sides)
    if of_kind(rois, RoiKind.TUMOUR) and not cores:
        found &= within_reach(region, boxes_um, reach_um=quality.STROMA_REACH_UM + margin_um, **sides)
    return found.reshape(rows, columns)
