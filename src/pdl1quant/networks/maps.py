"""What a network says of pixels, as far as nuclei and cells are made of it (`segmenter`).

Of each pixel it says how likely it is nucleus and how deep in one it lies; of each second one, how likely it is cell,
how deep in one, and of what class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.kernels.heights import fill_around, fill_blocks, fill_heights, raise_hills, sharpen
from pdl1quant.model import Rect
from pdl1quant.networks.session import run_model
from pdl1quant.planes import like
from pdl1quant.planes import plane as fresh

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pdl1quant.model import Float32Array, IntpArray, Tile, UInt8Array
    from pdl1quant.networks.card import Model, ModelCard

MIN_NUCLEUS = 0.25
"""A pixel is nucleus from this probability on; faint and blurred nuclei get less than crisp ones."""
BLOCK_UM = 4.0
"""Side of the blocks (at most; a power of 2 in pixels) in which it is looked for brown, each with those around it."""
BROWN, ALL_BROWN = np.float32(1.4), np.float32(2.2)
"""Red over blue from which a place is brown, and where it wholly is. There the network doubts every nucleus, ..."""
BROWN_CONTRAST = np.float32(2.0)
"""... so the distance of a probability from the mean around it counts so many times more."""
MIN_CELL = 0.5
"""A pixel is cell from this probability on."""
LOWEST = np.float32(1e-3)
"""Height of a pixel of nucleus at least; 0 is none."""
CORE_DEPTH = 0.35
"""From this relative depth on a pixel is the inside of a cell: what hangs together there is one cell."""
SMOOTHING_UM = 0.8
"""Standard deviation of the smoothing before the split: chromatin must not make two nuclei of one. ..."""
CRISP_SMOOTHING_UM = 0.5
"""... That flattens small nuclei away, so where the network is sure, less smoothed hills count, too, ..."""
CRISP_SHARE = 0.9
"""... lowered to this share; sure is what the eighth power of the probability leaves standing."""
SMOOTHED_AT_ONCE_PX = 16
"""OpenCV smooths so many pixels of a row at a time; those that are left at its end are rounded otherwise."""
WINDOW_PX = 1792
"""Side of what a window of the network gives at most; it reads the card's ``context_px`` more on each side."""
MAX_SIDE_PX = 2560
"""Larger images are run in windows, for memory."""
SAME_MPP = 0.05
"""Relative difference of pixel sizes up to which the tile is not resampled for the network."""
CELL, INSIDE = 1, 2
"""What `Maps.cells` holds: a cell, deep inside one; 0 is neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """Class scores (classes, h, w), of any scale, on a grid of their own, coarser than the tile's.

    ``rows`` (h,) and ``columns`` (w,) say where on the tile they lie.
    """

    planes: NDArray[np.floating] | NDArray[np.unsignedinteger]
    rows: IntpArray
    columns: IntpArray

    def within(self, width: int, height: int) -> ClassScores:
        """Those that lie in a tile of this size; rows and columns ascend."""
        down, across = (slice(*np.searchsorted(at, (0, n))) for at, n in ((self.rows, height), (self.columns, width)))
        return ClassScores(planes=self.planes[:, down, across], rows=self.rows[down], columns=self.columns[across])


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """What the network says of a tile, (H, W) on its grid; of its ``inner`` part if it has one.

    ``hills`` float32, 0-1: how deep in a nucleus a pixel lies, smoothed; 0 where no nucleus is. ``cells`` uint8: 0,
    `CELL` or `INSIDE`; None of a model without them. ``scores``: its class scores, part by part; empty without any.
    """

    hills: Float32Array
    cells: UInt8Array | None
    scores: tuple[ClassScores, ...]


def gives_maps(card: ModelCard, mpp: float) -> bool:
    """Whether a model says so much of pixels of ``mpp`` um, on their own grid, that what it says can be kept."""
    return card.nuclei_gives == "depth" and abs(mpp / card.mpp - 1) <= SAME_MPP


def window_sides(card: ModelCard) -> tuple[int, int]:
    """Side of what a window gives, and how much more it reads on each side, px: multiples of the model's strides."""
    step, context_px = card.multiple_px, card.reach_px if card.context_px is None else card.context_px
    return max(step, WINDOW_PX // step * step), -(-context_px // step) * step


def predict(model: Model, tile: Tile) -> Maps:
    """Run the network over one tile.

    Its strides lie on the grid of the slide, not of the tile: a pixel farther than the card's ``reach_px`` from the
    tile's edge gets the same value in whatever tile it lies.
    """
    card = model.card
    height, width = tile.rgb.shape[:2]
    ratio = tile.mpp / card.mpp
    if abs(ratio - 1) <= SAME_MPP:
        ratio, rgb = 1.0, tile.rgb
    else:
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        rgb = np.asarray(cv2.resize(tile.rgb, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC))
    step = card.multiple_px
    y_px, x_px = round(tile.y_px / tile.downsample_y * ratio), round(tile.x_px / tile.downsample_x * ratio)
    top, left = y_px % step, x_px % step
    bottom, right = -(top + rgb.shape[0]) % step, -(left + rgb.shape[1]) % step
    if max(top, left, bottom, right) > 0:
        padded = np.asarray(cv2.copyMakeBorder(rgb, top, bottom, left, right, cv2.BORDER_REFLECT), dtype=np.uint8)
    else:
        padded = rgb
    nuclei, cells = _run(model, padded)
    _tell_apart_in_brown(nuclei[0], padded, mpp=card.mpp, at_px=(y_px - top, x_px - left))
    whole = (rgb.shape[1] + left + right, rgb.shape[0] + top + bottom)
    inner = tile.inner or Rect(x0=0, y0=0, x1=width, y1=height)

    def on_tile(plane: Float32Array) -> Float32Array:
        inside = _resized(plane, whole)[top : top + rgb.shape[0], left : left + rgb.shape[1]]
        return _resized(inside, (width, height))

    scores: tuple[ClassScores, ...] = ()
    if cells is not None and card.classes:
        rows = _tile_index(cells.shape[1], whole[1], top, rgb.shape[0], height) - inner.y0
        columns = _tile_index(cells.shape[2], whole[0], left, rgb.shape[1], width) - inner.x0
        scores = (ClassScores(planes=cells[2:], rows=rows, columns=columns).within(inner.width, inner.height),)
    about = _about(inner, width=width, height=height, mpp=tile.mpp)
    hills = _hills(*(about.of(on_tile(plane)) for plane in nuclei), mpp=tile.mpp)
    hills = np.ascontiguousarray(inner.moved(-about.x0, -about.y0).of(hills))
    del nuclei  # large: 8 bytes a pixel
    return Maps(
        hills=hills,
        cells=None if cells is None else _cells(*(inner.of(on_tile(plane)) for plane in cells[:2])),
        scores=scores,
    )


def _about(inner: Rect, *, width: int, height: int, mpp: float) -> Rect:
    """A part of a tile with all that its smoothed hills depend on."""
    margin_px = math.ceil((4 * SMOOTHING_UM / mpp + 1) / SMOOTHED_AT_ONCE_PX) * SMOOTHED_AT_ONCE_PX
    return Rect(
        x0=max(0, inner.x0 - margin_px),
        y0=max(0, inner.y0 - margin_px),
        x1=min(inner.x1 + margin_px, width),
        y1=min(inner.y1 + margin_px, height),
    )


def _tell_apart_in_brown(nucleus: Float32Array, rgb: UInt8Array, *, mpp: float, at_px: tuple[int, int]) -> None:
    """Sharpen the probability of nuclei (H, W) where the image is densely brown, in place.

    The blocks lie on the grid of the slide, on which the first pixel lies at ``at_px`` (row, column). A pixel depends
    on what lies up to five halves of a block beside it.
    """
    side = 1 << max(0, math.floor(math.log2(BLOCK_UM / mpp)))
    top, left = (at % side for at in at_px)
    brown, mean = np.empty((2, -(-(top + rgb.shape[0]) // side), -(-(left + rgb.shape[1]) // side)), np.float32)
    fill_blocks(rgb, nucleus, side, top, left, brown, mean)
    if brown.max(initial=0) <= BROWN:
        return
    share, level = np.empty_like(brown), np.empty_like(mean)
    fill_around(brown, share)
    fill_around(mean, level)
    share = BROWN_CONTRAST * np.clip((share - BROWN) / (ALL_BROWN - BROWN), np.float32(0), np.float32(1))
    sharpen(nucleus, side, top, left, share, level)


def _hills(nucleus: Float32Array, depth: Float32Array, *, mpp: float) -> Float32Array:
    """Depth times probability, smoothed, less so where a nucleus is sure; 0 where none is likely."""
    likely, sure = like(nucleus), like(nucleus)
    fill_heights(nucleus, depth, np.float32(CRISP_SHARE), likely, sure)
    smooth = cv2.GaussianBlur(likely, (0, 0), SMOOTHING_UM / mpp, dst=like(nucleus))
    hills = np.asarray(smooth, dtype=np.float32)
    crisp = np.asarray(cv2.GaussianBlur(sure, (0, 0), CRISP_SMOOTHING_UM / mpp, dst=likely), dtype=np.float32)
    raise_hills(hills, crisp, nucleus, np.float32(MIN_NUCLEUS), LOWEST)
    return hills


def _cells(cell: Float32Array, depth: Float32Array) -> UInt8Array:
    """Where a cell is likely, and where its inside."""
    likely = np.greater_equal(cell, np.float32(MIN_CELL), out=like(cell, bool)).view(np.uint8)
    deep = np.greater_equal(depth, np.float32(CORE_DEPTH), out=like(cell, bool)).view(np.uint8)
    return np.asarray(np.multiply(np.add(deep, CELL, out=deep), likely, out=deep), dtype=np.uint8)


def _tile_index(n_coarse: int, n_fine: int, before: int, inside: int, n_tile: int) -> IntpArray:
    """Where each coarse row (or column) lies on the tile's; beyond either end of it where that is padding."""
    fine = (np.arange(n_coarse) + 0.5) * n_fine / n_coarse - before
    return np.floor(fine * n_tile / inside).astype(np.intp)


def _resized(plane: Float32Array, size: tuple[int, int]) -> Float32Array:
    """``plane`` with ``size`` (columns, rows)."""
    if plane.shape == size[::-1]:
        return plane
    resized = cv2.resize(plane, size, dst=fresh(size[::-1], np.float32), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


def _run(model: Model, rgb: UInt8Array) -> tuple[Float32Array, Float32Array | None]:
    """`run_model`, in windows with context where the image is large."""
    height, width = rgb.shape[:2]
    if max(height, width) <= MAX_SIDE_PX:
        return run_model(model, rgb)
    core, margin = window_sides(model.card)
    nuclei, cells = np.empty((2, height, width), np.float32), None
    for y in range(0, height, core):
        for x in range(0, width, core):
            y0, x0 = max(0, y - margin), max(0, x - margin)
            fine, coarse = run_model(model, np.ascontiguousarray(rgb[y0 : y + core + margin, x0 : x + core + margin]))
            y1, x1 = min(y + core, height), min(x + core, width)
            nuclei[:, y:y1, x:x1] = fine[:, y - y0 : y1 - y0, x - x0 : x1 - x0]
            if coarse is None:
                continue
            k = fine.shape[1] // coarse.shape[1]
            if cells is None:
                cells = np.empty((len(coarse), height // k, width // k), np.float32)
            part = coarse[:, (y - y0) // k : (y1 - y0) // k, (x - x0) // k : (x1 - x0) // k]
            cells[:, y // k : y1 // k, x // k : x1 // k] = part
    return nuclei, cells
