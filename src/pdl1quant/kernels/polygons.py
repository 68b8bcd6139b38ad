"""Polygons -> labels: the pixels whose centre lies inside each, in one pass over the polygons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import Float64Array, Int32Array, IntpArray


@compiled
def paint_polygons(
    labels: Int32Array,
    corners: tuple[Float64Array, Float64Array],
    starts: IntpArray,
    chosen: tuple[IntpArray, Int32Array],
    frame: tuple[float, float, float, float],
) -> None:
    """Write a value into the pixels of ``labels`` (H, W) whose centre lies inside each chosen polygon, by even-odd.

    ``corners`` are x and y of all polygons, polygon ``i`` from ``starts[i]`` to ``starts[i + 1]``; ``chosen`` are the
    numbers of those to paint, in their order, and their values; ``frame`` is x and y of the corner of the first pixel
    and the width and height of a pixel, in the unit of the corners.
    """
    xs, ys = corners
    numbers, values = chosen
    left, top, pixel_x, pixel_y = frame
    height, width = labels.shape
    crossings = np.empty(64)
    for k in range(numbers.size):
        first, end = starts[numbers[k]], starts[numbers[k] + 1]
        n = end - first
        if n < 3:
            continue
        if n > crossings.size:
            crossings = np.empty(2 * n)
        low, high = ys[first:end].min(), ys[first:end].max()
        row = max(0, int(np.ceil((low - top) / pixel_y - 0.5)))
        last = min(height, int(np.ceil((high - top) / pixel_y - 0.5)))
        while row < last:
            y = top + (row + 0.5) * pixel_y
            found = 0
            before = end - 1
            for at in range(first, end):
                if (ys[at] <= y) != (ys[before] <= y):
                    x = xs[before] + (y - ys[before]) * (xs[at] - xs[before]) / (ys[at] - ys[before])
                    place = found
                    while place > 0 and crossings[place - 1] > x:
                        crossings[place] = crossings[place - 1]
                        place -= 1
                    crossings[place] = x
                    found += 1
                before = at
            for pair in range(0, found - 1, 2):
                begin = max(0, int(np.ceil((crossings[pair] - left) / pixel_x - 0.5)))
                stop = min(width, int(np.ceil((crossings[pair + 1] - left) / pixel_x - 0.5)))
                for column in range(begin, stop):
                    labels[row, column] = values[k]
            row += 1
