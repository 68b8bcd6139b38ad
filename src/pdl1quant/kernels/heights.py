"""How deep in a nucleus a pixel lies, by what a network says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array


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
