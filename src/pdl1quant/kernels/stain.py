"""From RGB to stain densities, and from these to the signal of nuclei."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, UInt8Array


@compiled
def unmix(
    rgb: UInt8Array, amounts: Float32Array, black: Float32Array
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Haematoxylin, DAB and residual, each (H, W).

    ``amounts`` (3, 256, 3) is what each level of each channel adds to each of the three. ``black`` holds the residual
    from which a pixel is somewhat, and surely, black, and what such a residual adds to haematoxylin and DAB, which is
    taken out; nothing is with an infinite first.
    """
    height, width = rgb.shape[:2]
    haematoxylin, dab = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    residual = np.empty((height, width), np.float32)
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
    return haematoxylin, dab, residual


@compiled
def raise_in_holes(
    od: tuple[Float32Array, Float32Array],
    around: Float32Array,
    levels: tuple[np.float32, np.float32, np.float32, np.float32],
) -> Float32Array:
    """Haematoxylin, 0 to a cap: more where it fills a hole in the DAB ``around`` it, less what DAB leaks into it.

    ``levels``: the cap, the DAB that a hole needs around it, the DAB from which on it leaks, the share that leaks.
    """
    haematoxylin, dab = od
    cap, floor, leaks_from, leak = levels
    nothing, one = np.float32(0), np.float32(1)
    signal = np.empty_like(haematoxylin)
    for y in range(signal.shape[0]):
        for x in range(signal.shape[1]):
            blue, brown, about = min(max(haematoxylin[y, x], nothing), cap), dab[y, x], around[y, x]
            hole = min(max((about - brown) / (max(about, nothing) + floor), nothing), one)
            signal[y, x] = min(max(blue * (one + hole) - leak * max(brown - leaks_from, nothing), nothing), cap)
    return signal


@compiled
def height_map(
    depth: Float32Array,
    signal: tuple[Float32Array, Float32Array],
    foreground: BoolArray,
    scale: tuple[np.float32, np.float32, np.float32, np.float32],
) -> Float32Array:
    """Weighted sum of the depth and of the signal above its background, at least a little in the foreground, 0 outside.

    ``scale``: weight of the depth, of the contrast, the most that contrast adds, the least height.
    """
    smooth, background = signal
    per_depth, per_contrast, most, least = scale
    height = np.empty_like(depth)
    for y in range(height.shape[0]):
        for x in range(height.shape[1]):
            contrast = min((smooth[y, x] - background[y, x]) * per_contrast, most)
            level = max(depth[y, x] * per_depth + contrast, least)
            height[y, x] = level if foreground[y, x] else np.float32(0)
    return height
