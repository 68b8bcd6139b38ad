"""Steepest ascent on a height map: where each pixel ends that always goes to its highest neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, Int32Array


@compiled
def level_keys(landscape: Float32Array, scale: np.float32) -> Int32Array:
    """Heights in whole steps, no two alike within 3 x 3 pixels: (H + 2, W + 2) int32, -1 where there is no height.

    The last digit in base 9 is the place of the pixel in its 3 x 3 cell of the grid, which decides between equals.
    """
    height, width = landscape.shape
    keys = np.empty((height + 2, width + 2), np.int32)
    for y in range(height + 2):
        for x in range(width + 2):
            keys[y, x] = -1
    for y in range(height):
        row = landscape[y]
        into = keys[y + 1, 1:]
        for x in range(width):
            if row[x] > 0:
                into[x] = np.int32(np.rint(row[x] * scale)) * 9 + (y % 3) * 3 + x % 3
    return keys


@compiled
def uphill(keys: Int32Array) -> Int32Array:
    """Flat index of each pixel's highest neighbour, itself included; -1 without a height. (H * W,) int32."""
    height, width = keys.shape[0] - 2, keys.shape[1] - 2
    target = np.empty(height * width, np.int32)
    best, step = np.empty(width + 2, np.int32), np.empty(width + 2, np.int32)
    down = np.int32(width)
    for y in range(height):
        above, here, below = keys[y], keys[y + 1], keys[y + 2]
        for x in range(width + 2):  # the best of each column of three ...
            up = -down if above[x] > here[x] else np.int32(0)
            highest = max(above[x], here[x])
            step[x] = down if below[x] > highest else up
            best[x] = max(highest, below[x])
        to = target[y * width : (y + 1) * width]
        left, middle, right = best[:width], best[1 : width + 1], best[2:]
        to_left, to_middle, to_right = step[:width], step[1 : width + 1], step[2:]
        own = here[1 : width + 1]
        for x in range(width):  # ... and of three columns
            side = to_left[x] - 1 if left[x] > middle[x] else to_middle[x]
            side = to_right[x] + 1 if right[x] > max(left[x], middle[x]) else side
            to[x] = y * width + x + side if own[x] >= 0 else -1
    return target


@compiled
def summits_of(target: Int32Array) -> Int32Array:
    """Flat indices of the pixels that are their own target, in reading order."""
    n = 0
    for at in range(target.size):
        if target[at] == at:
            n += 1
    summits = np.empty(n, np.int32)
    n = 0
    for at in range(target.size):
        if target[at] == at:
            summits[n] = at
            n += 1
    return summits


@compiled
def higher_within(summits: Int32Array, keys: Int32Array, radius_px: int) -> Int32Array:
    """Flat index of the highest pixel within the radius of each summit that hangs together with it there."""
    width = keys.shape[1] - 2
    target = np.empty_like(summits)
    side = 2 * radius_px + 1
    seen, waiting = np.empty((side + 2, side + 2), np.bool_), np.empty((side * side, 2), np.int32)
    for number in range(summits.size):
        y, x = divmod(summits[number], width)
        target[number] = summits[number]
        if _is_highest(keys, y, x, radius_px):
            continue
        for row in range(side + 2):  # what must not be looked at is seen already
            for column in range(side + 2):
                off_y, off_x = row - radius_px - 1, column - radius_px - 1
                seen[row, column] = off_y * off_y + off_x * off_x > radius_px * radius_px
        best, n, done = keys[y + 1, x + 1], 1, 0
        waiting[0, 0], waiting[0, 1], seen[radius_px + 1, radius_px + 1] = y, x, True
        while done < n:
            here_y, here_x = waiting[done, 0], waiting[done, 1]
            done += 1
            for other_y in range(here_y - 1, here_y + 2):
                for other_x in range(here_x - 1, here_x + 2):
                    row, column = other_y - y + radius_px + 1, other_x - x + radius_px + 1
                    if seen[row, column] or keys[other_y + 1, other_x + 1] < 0:
                        continue
                    seen[row, column] = True
                    waiting[n, 0], waiting[n, 1] = other_y, other_x
                    n += 1
                    level, there = keys[other_y + 1, other_x + 1], other_y * width + other_x
                    if level > best or (level == best and there > target[number]):
                        best, target[number] = level, there
    return target


@compiled
def _is_highest(keys: Int32Array, y: int, x: int, radius_px: int) -> bool:
    """Whether no pixel within the radius is as high, connected or not."""
    height, width = keys.shape[0] - 2, keys.shape[1] - 2
    own = keys[y + 1, x + 1]
    for other_y in range(max(0, y - radius_px), min(height, y + radius_px + 1)):
        for other_x in range(max(0, x - radius_px), min(width, x + radius_px + 1)):
            apart = (other_y - y) ** 2 + (other_x - x) ** 2
            if 0 < apart <= radius_px * radius_px and keys[other_y + 1, other_x + 1] >= own:
                return False
    return True


@compiled
def gather_seeds(target: Int32Array, seeds: Int32Array, n: int) -> Int32Array:
    """Send the pixels of each seed 1..n to its first one, in place; returns where that is, (n + 1,), -1 without."""
    first = np.full(n + 1, -1, np.int32)
    for at in range(target.size):
        seed = seeds[at]
        if seed > 0 and target[at] >= 0:
            if first[seed] < 0:
                first[seed] = at
            target[at] = first[seed]
    return first


@compiled
def follow(target: Int32Array, summits: Int32Array) -> Int32Array:
    """Number (1..n: place in ``summits``) of the pixel in which each one's way ends; 0 without a way. (H * W,)."""
    pieces = np.zeros(target.size, np.int32)
    for number in range(summits.size):
        pieces[summits[number]] = number + 1
    for at in range(target.size):
        if target[at] < 0 or pieces[at] > 0:
            continue
        last = target[at]
        while pieces[last] == 0:
            last = target[last]
        here = np.int32(at)
        while pieces[here] == 0:
            pieces[here] = pieces[last]
            here = target[here]
    return pieces
