"""From RGB to stain densities, and from these to the signal of nuclei."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled
from pdl1quant.planes import like, plane

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, UInt8Array


def unmix(
    rgb: UInt8Array, amounts: Float32Array, black: Float32Array
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Haematoxylin, DAB and residual, each (H, W).

    ``amounts`` (3, 256, 3) is what each level of each channel adds to each of the three. ``black`` holds the residual
    from which a pixel is somewhat, and surely, black, and what such a residual adds to haematoxylin and DAB, which is
    taken out; nothing is with an infinite first.
    """
    shape = rgb.shape[0], rgb.shape[1]
    od = plane(shape, np.float32), plane(shape, np.float32), plane(shape, np.float32)
    _unmix(rgb, amounts, black, od)
    return od


@compiled
def _unmix(
    rgb: UInt8Array, amounts: Float32Array, black: Float32Array, od: tuple[Float32Array, Float32Array, Float32Array]
) -> None:
    haematoxylin, dab, residual = od
    height, width = rgb.shape[:2]
    somewhat, range_od, in_haematoxylin, in_dab = black[0], black[1] - black[0], black[2], black[3]
    for y in range(height):
        for x in range(width):
            red, green, blue = amounts[0, rgb[y, x, 0]], amounts[1, rgb[y, x, 1]], amounts[2, rgb[y, x, 2]]
            h, d, r = red[0] + green[0] + blue[0], red[1] + green[1] + blue[1], red[2] + green[2] + blue[2]
            if r > somewhat:
                is_black = r * min((r - somewhat) / range_od, np.float32(1))
                h -= is_black * in_haematoxylin
                d -= is_black * in_dab
            haematoxylin[y, x], dab[y, x], residual[y, x] = h, d, r


def raise_in_holes(
    od: tuple[Float32Array, Float32Array],
    around: Float32Array,
    levels: tuple[np.float32, np.float32, np.float32, np.float32],
) -> Float32Array:
    """Haematoxylin, 0 to a cap: more where it fills a hole in the DAB ``around`` it, less what DAB leaks into it.

    ``levels``: the cap, the DAB that a hole needs around it, the DAB from which on it leaks, the share that leaks.
    """
    signal = like(around)
    _raise_in_holes(od, around, levels, signal)
    return signal


@compiled
def _raise_in_holes(
    od: tuple[Float32Array, Float32Array],
    around: Float32Array,
    levels: tuple[np.float32, np.float32, np.float32, np.float32],
    signal: Float32Array,
) -> None:
    haematoxylin, dab = od
    cap, floor, leaks_from, leak = levels
    nothing, one = np.float32(0), np.float32(1)
    for y in range(signal.shape[0]):
        for x in range(signal.shape[1]):
            blue, brown, about = min(max(haematoxylin[y, x], nothing), cap), dab[y, x], around[y, x]
            hole = min(max((about - brown) / (max(about, nothing) + floor), nothing), one)
            signal[y, x] = min(max(blue * (one + hole) - leak * max(brown - leaks_from, nothing), nothing), cap)


def height_map(
    depth: Float32Array,
    signal: tuple[Float32Array, Float32Array],
    place: tuple[int, int],
    foreground: BoolArray,
    scale: tuple[np.float32, np.float32, np.float32, np.float32],
) -> Float32Array:
    """Weighted sum of the depth and of the signal above its background, at least a little in the foreground, 0 outside.

    ``scale``: weight of the depth, of the contrast, the most that contrast adds, the least height. The background may
    be larger than all else, which then begins at ``place`` (row, column) of it.
    """
    height = like(depth)
    _height_map((depth, *signal), place, foreground, scale, height)
    return height


@compiled
def _height_map(
    planes: tuple[Float32Array, Float32Array, Float32Array],
    place: tuple[int, int],
    foreground: BoolArray,
    scale: tuple[np.float32, np.float32, np.float32, np.float32],
    height: Float32Array,
) -> None:
    depth, smooth, background = planes
    per_depth, per_contrast, most, least = scale
    for y in range(height.shape[0]):
        around = background[place[0] + y, place[1] :]
        for x in range(height.shape[1]):
            contrast = min((smooth[y, x] - around[x]) * per_contrast, most)
            level = max(depth[y, x] * per_depth + contrast, least)
            height[y, x] = level if foreground[y, x] else np.float32(0)


def stands_out(
    smooth: Float32Array,
    background: Float32Array,
    place: tuple[int, int],
    *,
    contrast: np.float32,
    least: np.float32,
) -> UInt8Array:
    """Where a signal lies above its background by a contrast, and above the least; (H, W), 0 or 1.

    ``place`` as in `height_map`.
    """
    found = like(smooth, np.uint8)
    _stands_out(smooth, background, place, (contrast, least), found)
    return found


@compiled
def _stands_out(
    smooth: Float32Array,
    background: Float32Array,
    place: tuple[int, int],
    needed: tuple[np.float32, np.float32],
    found: UInt8Array,
) -> None:
    contrast, least = needed
    for y in range(smooth.shape[0]):
        around = background[place[0] + y, place[1] :]
        for x in range(smooth.shape[1]):
            found[y, x] = smooth[y, x] > max(around[x] + contrast, least)


@compiled
def block_variance(levels: UInt8Array, side_px: int) -> Float32Array:
    """(rows, columns) variance of the levels in each square block, at least one; no block holds what is left over."""
    height, width = min(side_px, levels.shape[0]), min(side_px, levels.shape[1])
    rows, columns = levels.shape[0] // height, levels.shape[1] // width
    variance = np.empty((rows, columns), np.float32)
    per_px = np.float32(1) / np.float32(height * width)
    for row in range(rows):
        for column in range(columns):
            total, squares = np.int32(0), np.int32(0)
            for y in range(row * height, (row + 1) * height):
                part = levels[y, column * width : (column + 1) * width]
                for x in range(width):
                    level = np.int32(part[x])
                    total += level
                    squares += level * level
            mean = np.float32(total) * per_px
            variance[row, column] = np.float32(squares) * per_px - mean * mean
    return variance
