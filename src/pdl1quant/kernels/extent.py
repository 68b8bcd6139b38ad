"""How far labels reach: the nearest one of each pixel, and the band along their edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

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
STEP, CORNER = np.float32(1), np.float32(np.sqrt(2))
"""Steps within a cell."""


@compiled
def nearest_label(labels: Int32Array) -> tuple[Float32Array, Int32Array]:
    """Chamfer distance (px) of each pixel to the nearest one with a label, and that label; two (H, W) images.

    Distances are those of OpenCV's ``distanceTransformWithLabels``; between equals the lower label wins.
    """
    height, width = labels.shape
    ways = np.empty((height + 4, width + 4), np.int64)
    for y in range(-2, height + 2):
        row = ways[y + 2]
        for x in range(width + 4):
            row[x] = FAR
        if y < 0 or y >= height:
            continue
        to, own = row[2 : width + 2], labels[y]
        _take_over(to, ways[y + 1], ways[y], -1)
        for x in range(width):
            to[x] = np.int64(own[x]) if own[x] > 0 else to[x]
        before = FAR
        for x in range(width):
            before = min(before + STRAIGHT, to[x])
            to[x] = before
    distance, nearest = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
    for y in range(height - 1, -1, -1):
        to = ways[y + 2, 2 : width + 2]
        _take_over(to, ways[y + 3], ways[y + 4], 1)
        before = FAR
        for x in range(width - 1, -1, -1):
            before = min(before + STRAIGHT, to[x])
            to[x] = before
        far, whose = distance[y], nearest[y]
        for x in range(width):
            far[x] = np.float32(to[x] >> _STEPS) * STEP_PX
            whose[x] = np.int32(to[x] & 0x7FFFFFFF)
    return distance, nearest


@compiled
def _take_over(to: Int64Array, near: Int64Array, far: Int64Array, side: int) -> None:
    """Let a row take the way by the next row and the one after (two wider on each side) where that is shorter."""
    for x in range(len(to)):
        here = x + 2
        knight = min(far[here + side], far[here - side], near[here + 2 * side], near[here - 2 * side])
        diagonal = min(near[here + side], near[here - side])
        least = min(knight + KNIGHT, diagonal + DIAGONAL, near[here] + STRAIGHT)
        to[x] = min(to[x], least)


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
def within_own_reach(
    labels: Int32Array, nuclei: Int32Array, near: tuple[Float32Array, Int32Array], limit_px: np.float32
) -> Int32Array:
    """Labels (H, W) without what is farther than ``limit_px`` from their own nucleus, going inside of the label.

    Where the nearest nucleus (``near``: distance, label) is the own one, the way is straight. Elsewhere steps are 1 px
    and its diagonal; two rounds over the image: around more than that many corners nothing is reached.
    """
    distance, nearest = near
    height, width = labels.shape
    steps = np.empty((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            astray = labels[y, x] != nearest[y, x] and labels[y, x] > 0 and nuclei[y, x] == 0
            steps[y, x] = np.float32(np.inf) if astray else distance[y, x]
    places = np.flatnonzero(steps == np.inf)
    for side in (-1, 1, -1, 1):
        for index in range(len(places)):
            place = places[index if side < 0 else len(places) - 1 - index]
            y, x = place // width, place % width
            steps[y, x] = _least_steps(labels, steps, y, x, side)
    kept = np.empty_like(labels)
    for y in range(height):
        for x in range(width):
            kept[y, x] = labels[y, x] if steps[y, x] <= limit_px else 0
    return kept


@compiled
def _least_steps(labels: Int32Array, steps: Float32Array, y: int, x: int, side: int) -> np.float32:
    """The steps to a place from its neighbours of the same label: beside it, and in the row above (-1) or below (1)."""
    height, width = labels.shape
    least = steps[y, x]
    if 0 <= x + side < width and labels[y, x + side] == labels[y, x]:
        least = min(least, steps[y, x + side] + STEP)
    if 0 <= y + side < height:
        for other in range(max(0, x - 1), min(width, x + 2)):
            if labels[y + side, other] == labels[y, x]:
                least = min(least, steps[y + side, other] + (STEP if other == x else CORNER))
    return np.float32(least)


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
