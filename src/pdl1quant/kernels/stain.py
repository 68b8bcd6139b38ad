"""From RGB to stain densities: look up, add, take out black."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, UInt8Array


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
