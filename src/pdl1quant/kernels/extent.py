"""How far labels reach: the nearest one of each pixel, and the band along their edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled
from pdl1quant.planes import like

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, Int32Array, Int64Array, UInt8Array

STEP_PX = np.float32(1 / (1 << 16))
"""Unit in which the steps are counted."""
_STEPS = 32
"""A way is one whole number: its steps above these bits, the label where it ends below. The least is the nearest."""
STRAIGHT, DIAGONAL, KNIGHT = np.int64(65536 << _STEPS), np.int64(91750 << _STEPS), np.int64(143976 << _STEPS)
"""Steps of the 5 x 5 chamfer distance (1, 1.4, 2.1969; Borgefors 1986), 2 % from Euclid's."""
FAR = np.int64(1 << 62)
"""16,384 px: there is no label."""
SPAN_PX = 8192
"""Columns that are gone through together: that many steps more or less than `FAR` are still a number of 64 bits."""


def nearest_label(labels: Int32Array) -> tuple[Float32Array, Int32Array]:
    """Chamfer distance (px) of each pixel to the nearest one with a label, and that label; two (H, W) images.

    Distances are those of OpenCV's ``distanceTransformWithLabels``; between equals the lower label wins.
    """
    distance, nearest = like(labels, np.float32), like(labels)
    _down_and_up(labels, distance, nearest)
    return distance, nearest


@compiled
def _down_and_up(labels: Int32Array, distance: Float32Array, nearest: Int32Array) -> None:
    """Fill distance and nearest label: down with what lies above, then up; the steps wait in the distance's place."""
    height, width = labels.shape
    steps = distance.view(np.int32)
    above2, above, here = _far(width + 4), _far(width + 4), _far(width + 4)
    for y in range(height):
        own, to = labels[y], here[2 : width + 2]
        _step_over(to, above, above2)
        for x in range(width):
            to[x] = np.int64(own[x]) if own[x] > 0 else to[x]
        _step_right(to)
        far, whose = steps[y], nearest[y]
        for x in range(width):
            far[x], whose[x] = np.int32(to[x] >> _STEPS), np.int32(to[x] & 0x7FFFFFFF)
        above2, above, here = above, here, above2
    below2, below, here = _far(width + 4), _far(width + 4), _far(width + 4)
    for y in range(height - 1, -1, -1):
        far, whose, to = steps[y], nearest[y], here[2 : width + 2]
        _step_over(to, below, below2)
        for x in range(width):
            to[x] = min(to[x], (np.int64(far[x]) << _STEPS) | np.int64(whose[x]))
        _step_left(to)
        row = distance[y]
        for x in range(width):
            row[x], whose[x] = np.float32(to[x] >> _STEPS) * STEP_PX, np.int32(to[x] & 0x7FFFFFFF)
        below2, below, here = below, here, below2


@compiled
def _step_right(to: Int64Array) -> None:
    """Let each way of a row go by the pixel left of it where that is shorter, in place.

    Without the steps along the row, all that waits on the neighbour is one comparison.
    """
    before = FAR
    for first in range(0, len(to), SPAN_PX):
        part = to[first : first + SPAN_PX]
        for x in range(len(part)):
            part[x] -= x * STRAIGHT
        for x in range(len(part)):
            before = min(before, part[x])
            part[x] = before
        for x in range(len(part)):
            part[x] += x * STRAIGHT
        before = min(part[-1] + STRAIGHT, FAR)


@compiled
def _step_left(to: Int64Array) -> None:
    """The same by the pixel right of it."""
    before = FAR
    for end in range(len(to), 0, -SPAN_PX):
        part = to[max(0, end - SPAN_PX) : end]
        last = len(part) - 1
        for x in range(len(part)):
            part[x] -= (last - x) * STRAIGHT
        for x in range(last, -1, -1):
            before = min(before, part[x])
            part[x] = before
        for x in range(len(part)):
            part[x] += (last - x) * STRAIGHT
        before = min(part[0] + STRAIGHT, FAR)


@compiled
def _far(n: int) -> Int64Array:
    """A row of ways to nowhere."""
    ways = np.empty(n, np.int64)
    for x in range(n):
        ways[x] = FAR
    return ways


@compiled
def _step_over(to: Int64Array, near: Int64Array, far: Int64Array) -> None:
    """The shortest way of each pixel of a row by the next row and the one after (two wider on each side)."""
    for x in range(len(to)):
        knight = min(far[x + 1], far[x + 3], near[x], near[x + 4])
        diagonal = min(near[x + 1], near[x + 3])
        to[x] = min(knight + KNIGHT, diagonal + DIAGONAL, near[x + 2] + STRAIGHT, FAR)


def widen(labels: Int32Array, around: UInt8Array) -> Int32Array:
    """Labels grown over the background: the highest that is seen in ``around`` (odd, odd), a mask of where to look."""
    grown = like(labels)
    _widen(labels, around, grown)
    return grown


@compiled
def _widen(labels: Int32Array, around: UInt8Array, grown: Int32Array) -> None:
    height, width = labels.shape
    reach_y, reach_x = around.shape[0] // 2, around.shape[1] // 2
    for y in range(height):
        own, into = labels[y], grown[y]
        for x in range(width):
            into[x] = 0
        for row in range(max(0, reach_y - y), min(around.shape[0], height + reach_y - y)):
            seen = labels[y + row - reach_y]
            for column in range(around.shape[1]):
                if around[row, column] > 0:
                    _raise_to(into, seen, column - reach_x)
        for x in range(width):
            into[x] = own[x] if own[x] > 0 else into[x]


@compiled
def _raise_to(into: Int32Array, seen: Int32Array, right: int) -> None:
    """Raise each pixel of a row to the one so far right of it in another, where there is one."""
    first, last = max(0, -right), max(0, min(len(into), len(into) - right))
    above, lower = seen[first + right : last + right], into[first:last]
    for x in range(len(lower)):
        lower[x] = max(lower[x], above[x])


def take_nearest(
    labels: Int32Array,
    near: tuple[Float32Array, Int32Array],
    reach_px: Float32Array,
    likely: UInt8Array,
) -> Int32Array:
    """Labels where there are any; else the nearest (distance, label) within its own reach (n + 1,) where ``likely``."""
    taken = like(labels)
    _take_nearest(labels, near, reach_px, likely, taken)
    return taken


@compiled
def _take_nearest(
    labels: Int32Array,
    near: tuple[Float32Array, Int32Array],
    reach_px: Float32Array,
    likely: UInt8Array,
    taken: Int32Array,
) -> None:
    distance, nearest = near
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            reached = distance[y, x] <= reach_px[nearest[y, x]] and likely[y, x] > 0
            taken[y, x] = labels[y, x] if labels[y, x] > 0 else (nearest[y, x] if reached else 0)


def slopes(
    labels: Int32Array,
    near: tuple[Float32Array, Int32Array],
    reach_px: Float32Array,
    wall: Float32Array,
    scale: tuple[np.float32, np.float32, np.float32, np.float32],
) -> Float32Array:
    """Height map that falls off from the labels, with trenches along walls.

    ``scale``: height of a label, fall per px of distance, wall that counts as full, fall per unit of wall. The map is
    0 beyond the reach (n + 1,) of the nearest label.
    """
    landscape = like(wall)
    _slopes((labels, near[0], near[1]), reach_px, wall, scale, landscape)
    return landscape


@compiled
def _slopes(
    seen: tuple[Int32Array, Float32Array, Int32Array],
    reach_px: Float32Array,
    wall: Float32Array,
    scale: tuple[np.float32, np.float32, np.float32, np.float32],
    landscape: Float32Array,
) -> None:
    labels, distance, nearest = seen
    for y in range(labels.shape[0]):
        _slope_row((labels[y], distance[y], nearest[y]), reach_px, wall[y], scale, landscape[y])


@compiled
def _slope_row(
    seen: tuple[Int32Array, Float32Array, Int32Array],
    reach_px: Float32Array,
    wall: Float32Array,
    scale: tuple[np.float32, np.float32, np.float32, np.float32],
    landscape: Float32Array,
) -> None:
    labels, distance, nearest = seen
    top, per_px, full, per_wall = scale
    for x in range(len(landscape)):
        barrier = min(max(wall[x], np.float32(0)), full)
        height = top - (distance[x] * per_px + barrier * per_wall)
        reached = distance[x] <= reach_px[np.uint32(nearest[x])]
        outside = height if reached else np.float32(0)
        landscape[x] = top if labels[x] > 0 else outside


def split_cells(cell: Int32Array, nucleus: Int32Array, around: UInt8Array) -> tuple[Int32Array, Int32Array]:
    """Membrane and cytoplasm labels: what of a cell, its nucleus apart, lies at its edge, and the rest.

    A pixel lies at the edge where another label, or none, is seen in ``around`` (odd, odd), a mask of where to look
    that narrows from its middle row and column outwards; the border of the image is no edge.
    """
    membrane, cytoplasm = like(cell), like(cell)
    _split_cells((cell, nucleus), _half_widths(around), membrane, cytoplasm)
    return membrane, cytoplasm


@compiled
def _half_widths(around: UInt8Array) -> Int32Array:
    """How far each row of a mask reaches to either side."""
    reach = np.zeros(around.shape[0], np.int32)
    for row in range(around.shape[0]):
        for column in range(around.shape[1]):
            if around[row, column] > 0:
                reach[row] = max(reach[row], column - around.shape[1] // 2)
    return reach


@compiled
def _split_cells(
    parts: tuple[Int32Array, Int32Array], reach: Int32Array, membrane: Int32Array, cytoplasm: Int32Array
) -> None:
    """Another label is seen in a mask that hangs together where two neighbours differ within it."""
    cell, nucleus = parts
    height, width = cell.shape
    n_rows, half, pad = len(reach), len(reach) // 2, max(reach)
    across, down = np.zeros((n_rows, width + 2 * pad), np.uint8), np.zeros((n_rows, width + 2 * pad), np.uint8)
    edge = np.empty(width, np.uint8)
    for y in range(-half, height):
        coming = y + half
        if coming < height:
            _differ(cell, coming, across[coming % n_rows, pad:], down[coming % n_rows, pad:])
        if y < 0:
            continue
        for x in range(width):
            edge[x] = 0
        for row in range(max(0, half - y), min(n_rows, height - y + half)):
            there = (y + row - half) % n_rows
            for column in range(pad - reach[row], pad + reach[row]):
                _or_into(edge, across[there, column : column + width])
            if row > half - y and row > 0:  # ``down`` tells a row from the one above it
                both = min(reach[row], reach[row - 1])
                for column in range(pad - both, pad + both + 1):
                    _or_into(edge, down[there, column : column + width])
        for x in range(width):
            label = cell[y, x] if nucleus[y, x] == 0 else 0
            membrane[y, x] = label if edge[x] > 0 else 0
            cytoplasm[y, x] = 0 if edge[x] > 0 else label


@compiled
def _differ(cell: Int32Array, y: int, across: UInt8Array, down: UInt8Array) -> None:
    """Where a row differs from its next column, and from the row above; 0 or 1."""
    own, above = cell[y], cell[max(y - 1, 0)]
    for x in range(len(own) - 1):
        across[x] = own[x] != own[x + 1]
    for x in range(len(own)):
        down[x] = own[x] != above[x]


@compiled
def _or_into(edge: UInt8Array, seen: UInt8Array) -> None:
    for x in range(len(edge)):
        edge[x] |= seen[x]
