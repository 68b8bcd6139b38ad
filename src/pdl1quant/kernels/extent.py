"""How far labels reach: the nearest one of each pixel, and the band along their edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, Int32Array, UInt8Array

STEP_PX = np.float32(1 / (1 << 16))
"""Unit in which the steps are counted: whole numbers, exact in float32 up to 256 px."""
STRAIGHT, DIAGONAL, KNIGHT = np.float32(65536), np.float32(91750), np.float32(143976)
"""Steps of the 5 x 5 chamfer distance (1, 1.4, 2.1969; Borgefors 1986), 2 % from Euclid's."""
FAR = np.float32(1e30)


@compiled
def nearest_label(labels: Int32Array) -> tuple[Float32Array, Int32Array]:
    """Chamfer distance (px) of each pixel to the nearest one with a label, and that label; two (H, W) images.

    Equal distances are decided as in OpenCV's ``distanceTransformWithLabels``.
    """
    height, width = labels.shape
    steps = np.empty((height + 4, width + 4), np.float32)
    for y in range(height + 4):
        for x in range(width + 4):
            steps[y, x] = FAR
    label = np.zeros((height + 4, width + 4), np.int32)
    for y in range(height):
        _take_over(steps, label, y, -1)
        to, whose, own = steps[y + 2, 2 : width + 2], label[y + 2, 2 : width + 2], labels[y]
        for x in range(width):
            to[x] = np.float32(0) if own[x] > 0 else to[x]
            whose[x] = own[x] if own[x] > 0 else whose[x]
        before, theirs = FAR, np.int32(0)
        for x in range(width):
            way = before + STRAIGHT
            theirs = theirs if way < to[x] else whose[x]
            before = min(way, to[x])
            to[x], whose[x] = before, theirs
    distance, nearest = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
    for y in range(height - 1, -1, -1):
        _take_over(steps, label, y, 1)
        to, whose = steps[y + 2, 2 : width + 2], label[y + 2, 2 : width + 2]
        before, theirs = FAR, np.int32(0)
        for x in range(width - 1, -1, -1):
            way = before + STRAIGHT
            theirs = theirs if way < to[x] else whose[x]
            before = min(way, to[x])
            to[x], whose[x] = before, theirs
        for x in range(width):
            distance[y, x] = to[x] * STEP_PX
            nearest[y, x] = whose[x]
    return distance, nearest


@compiled
def _take_over(steps: Float32Array, label: Int32Array, y: int, side: int) -> None:
    """Let a row take the way by the two rows above (side -1) or below (1) where it is shorter."""
    width = steps.shape[1] - 4
    to, whose = steps[y + 2, 2 : width + 2], label[y + 2, 2 : width + 2]
    near, far = steps[y + 2 + side], steps[y + 2 + 2 * side]
    near_label, far_label = label[y + 2 + side], label[y + 2 + 2 * side]
    for x in range(width):
        here = x + 2
        least, owner = to[x], whose[x]
        way = far[here + side] + KNIGHT
        owner, least = far_label[here + side] if way < least else owner, min(way, least)
        way = far[here - side] + KNIGHT
        owner, least = far_label[here - side] if way < least else owner, min(way, least)
        way = near[here + 2 * side] + KNIGHT
        owner, least = near_label[here + 2 * side] if way < least else owner, min(way, least)
        way = near[here + side] + DIAGONAL
        owner, least = near_label[here + side] if way < least else owner, min(way, least)
        way = near[here] + STRAIGHT
        owner, least = near_label[here] if way < least else owner, min(way, least)
        way = near[here - side] + DIAGONAL
        owner, least = near_label[here - side] if way < least else owner, min(way, least)
        way = near[here - 2 * side] + KNIGHT
        owner, least = near_label[here - 2 * side] if way < least else owner, min(way, least)
        to[x], whose[x] = least, owner


@compiled
def widen(labels: Int32Array, around: UInt8Array) -> Int32Array:
    """Labels grown over the background: the highest that is seen in ``around`` (odd, odd), a mask of where to look."""
    height, width = labels.shape
    reach_y, reach_x = around.shape[0] // 2, around.shape[1] // 2
    wide = np.zeros((height + 2 * reach_y, width + 2 * reach_x), np.int32)
    for y in range(height):
        for x in range(width):
            wide[y + reach_y, x + reach_x] = labels[y, x]
    grown = np.empty_like(labels)
    for y in range(height):
        own, into = labels[y], grown[y]
        for x in range(width):
            into[x] = 0
        for row in range(around.shape[0]):
            for column in range(around.shape[1]):
                if around[row, column] > 0:
                    seen = wide[y + row, column : column + width]
                    for x in range(width):
                        into[x] = max(into[x], seen[x])
        for x in range(width):
            into[x] = own[x] if own[x] > 0 else into[x]
    return grown


@compiled
def take_nearest(
    labels: Int32Array,
    near: tuple[Float32Array, Int32Array],
    reach_px: Float32Array,
    chance: Float32Array,
    min_chance: np.float32,
) -> Int32Array:
    """Labels where there are any; else the nearest (distance, label) within its own reach (n + 1,) where likely."""
    distance, nearest = near
    taken = np.empty_like(labels)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            reached = distance[y, x] <= reach_px[nearest[y, x]] and chance[y, x] >= min_chance
            taken[y, x] = labels[y, x] if labels[y, x] > 0 else (nearest[y, x] if reached else 0)
    return taken


@compiled
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
    distance, nearest = near
    top, per_px, full, per_wall = scale
    landscape = np.empty_like(distance)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            barrier = max(wall[y, x], np.float32(0))
            height = np.float32(0)
            if distance[y, x] <= reach_px[nearest[y, x]]:
                height = top - (distance[y, x] * per_px + min(barrier, full) * per_wall)
            landscape[y, x] = top if labels[y, x] > 0 else height
    return landscape


@compiled
def within_own_reach(labels: Int32Array, nuclei: Int32Array, limit_px: float) -> Int32Array:
    """Labels (H, W) without what is farther than ``limit_px`` from their own nucleus, going inside of the label.

    Steps are 1 px and its diagonal. Two rounds over the image: around more than that many corners nothing is reached.
    """
    height, width = labels.shape
    diagonal = np.float32(np.sqrt(2))
    steps = np.where(nuclei > 0, np.float32(0), np.float32(np.inf)).astype(np.float32)
    for sweep in range(4):
        back = sweep % 2 == 1
        side = -1 if back else 1
        for row in range(height):
            y = height - 1 - row if back else row
            for column in range(width):
                x = width - 1 - column if back else column
                own = labels[y, x]
                if own == 0 or nuclei[y, x] > 0:
                    continue
                least = steps[y, x]
                if 0 <= x - side < width and labels[y, x - side] == own:
                    least = min(least, steps[y, x - side] + 1)
                if 0 <= y - side < height:
                    for other in range(max(0, x - 1), min(width, x + 2)):
                        if labels[y - side, other] == own:
                            least = min(least, steps[y - side, other] + (1 if other == x else diagonal))
                steps[y, x] = least
    return np.where(steps <= limit_px, labels, 0).astype(np.int32)


@compiled
def split_cells(cell: Int32Array, nucleus: Int32Array, around: UInt8Array) -> tuple[Int32Array, Int32Array]:
    """Membrane and cytoplasm labels: what of a cell, its nucleus apart, lies at its edge, and the rest.

    A pixel lies at the edge where another label, or none, is seen in ``around`` (odd, odd), a mask of where to look;
    the border of the image is no edge.
    """
    height, width = cell.shape
    reach_y, reach_x = around.shape[0] // 2, around.shape[1] // 2
    membrane, cytoplasm = np.empty_like(cell), np.empty_like(cell)
    wide = np.empty(width + 2 * reach_x, np.int32)
    edge = np.empty(width, np.bool_)
    for y in range(height):
        own = cell[y]
        for x in range(width):
            edge[x] = False
        for row in range(around.shape[0]):
            there = cell[min(max(y + row - reach_y, 0), height - 1)]
            for x in range(width):
                wide[x + reach_x] = there[x]
            for x in range(reach_x):
                wide[x], wide[width + reach_x + x] = there[0], there[width - 1]
            for column in range(around.shape[1]):
                if around[row, column] > 0:
                    seen = wide[column : column + width]
                    for x in range(width):
                        edge[x] |= seen[x] != own[x]
        for x in range(width):
            label = own[x] if nucleus[y, x] == 0 else 0
            membrane[y, x] = label if edge[x] else 0
            cytoplasm[y, x] = 0 if edge[x] else label
    return membrane, cytoplasm
