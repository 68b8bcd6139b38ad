"""How likely nucleus a pixel is, and how deep in one it lies, by what a network says of it and of those around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, UInt8Array

_DARK = 8
"""Added to levels before they are compared: noise in black is no colour."""


@compiled
def fill_heights(
    nucleus: Float32Array, depth: Float32Array, share: np.float32, likely: Float32Array, sure: Float32Array
) -> None:
    """Fill two planes from probability and depth of each pixel, all (h, w) and 0-1.

    ``likely`` gets depth times probability, ``sure`` ``share`` of depth times the eighth power of the probability.
    """
    for row in range(nucleus.shape[0]):
        for column in range(nucleus.shape[1]):
            p, d = nucleus[row, column], depth[row, column]
            p2 = p * p
            p4 = p2 * p2
            likely[row, column] = d * p
            sure[row, column] = share * d * (p4 * p4)


@compiled
def raise_hills(
    hills: Float32Array, others: Float32Array, nucleus: Float32Array, least: np.float32, lowest: np.float32
) -> None:
    """Raise ``hills`` to ``others`` and to ``lowest``, and set them to 0 where the probability is below ``least``."""
    for row in range(hills.shape[0]):
        for column in range(hills.shape[1]):
            height = max(hills[row, column], others[row, column], lowest)
            hills[row, column] = height if nucleus[row, column] >= least else np.float32(0)


@compiled
def fill_blocks(
    rgb: UInt8Array, nucleus: Float32Array, side: int, top: int, left: int, brown: Float32Array, mean: Float32Array
) -> None:
    """Fill two planes from square blocks of an image (h, w, 3) and of a probability (h, w).

    The first pixel lies ``top`` rows and ``left`` columns into the first block; blocks at the border may be cut.
    ``brown`` gets how many times as much red as blue a block sends, ``mean`` its mean probability.
    """
    height, width = nucleus.shape
    for row in range(brown.shape[0]):
        for column in range(brown.shape[1]):
            red, blue, total, n = 0, 0, 0.0, 0
            for y in range(max(row * side - top, 0), min((row + 1) * side - top, height)):
                for x in range(max(column * side - left, 0), min((column + 1) * side - left, width)):
                    red += rgb[y, x, 0]
                    blue += rgb[y, x, 2]
                    total += nucleus[y, x]
                    n += 1
            brown[row, column] = (red + _DARK * n) / (blue + _DARK * n)
            mean[row, column] = total / n


@compiled
def fill_around(plane: Float32Array, around: Float32Array) -> None:
    """Fill ``around`` with the mean of each place of ``plane``, (h, w), and of its eight neighbours; edges repeat."""
    height, width = plane.shape
    for row in range(height):
        for column in range(width):
            total = 0.0
            for y in range(row - 1, row + 2):
                for x in range(column - 1, column + 2):
                    total += plane[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
            around[row, column] = total / 9


@compiled
def sharpen(nucleus: Float32Array, side: int, top: int, left: int, share: Float32Array, mean: Float32Array) -> None:
    """Move each probability (h, w) away from the mean around it by ``share`` times its distance; in place, kept in 0-1.

    ``share`` and ``mean`` hold for the centres of the blocks of `fill_blocks`, between them is interpolated.
    """
    last_row, last_column = share.shape[0] - 1, share.shape[1] - 1
    for y in range(nucleus.shape[0]):
        down = (y + top + 0.5) / side - 0.5
        above = int(np.floor(down))
        down -= above
        upper, lower = max(above, 0), min(above + 1, last_row)
        for x in range(nucleus.shape[1]):
            across = (x + left + 0.5) / side - 0.5
            before = int(np.floor(across))
            first, last = max(before, 0), min(before + 1, last_column)
            if share[upper, first] + share[upper, last] + share[lower, first] + share[lower, last] == 0:
                continue
            across -= before
            weight = _between(share, upper, lower, first, last, down, across)
            level = _between(mean, upper, lower, first, last, down, across)
            moved = nucleus[y, x] + weight * (nucleus[y, x] - level)
            nucleus[y, x] = min(max(moved, 0.0), 1.0)


@compiled
def _between(plane: Float32Array, upper: int, lower: int, left: int, right: int, down: float, across: float) -> float:
    """Bilinear."""
    above = plane[upper, left] + across * (plane[upper, right] - plane[upper, left])
    below = plane[lower, left] + across * (plane[lower, right] - plane[lower, left])
    return float(above + down * (below - above))
