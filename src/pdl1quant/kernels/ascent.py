"""Steepest ascent on a height map: where each pixel ends that always goes to its highest neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled
from pdl1quant.planes import plane

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Int32Array


def uphill(landscape: Float32Array, scale: np.float32) -> tuple[Int32Array, Int32Array]:
    """Flat index of each pixel's highest neighbour, itself included; -1 without a height. (H * W,) int32.

    Also the flat indices of the pixels that are their own target, in reading order. Heights are taken in whole steps
    (``scale`` per unit), no two alike within 3 x 3 pixels: the last digit in base 9 is the place of the pixel in its
    3 x 3 cell of the grid, which decides between equals.
    """
    target = plane((landscape.size,), np.int32)
    summits = _uphill(landscape, scale, target)
    return target, summits


@compiled
def _uphill(landscape: Float32Array, scale: np.float32, target: Int32Array) -> Int32Array:
    height, width = landscape.shape
    above, here, below = _no_keys(width), _no_keys(width), _no_keys(width)
    best, step, third = np.empty(width + 2, np.int32), np.empty(width + 2, np.int32), _thirds(width)
    summits, n = np.empty(4 * width, np.int32), 0
    _fill_keys(landscape, 0, (scale, third), below)
    for y in range(height):
        above, here, below = here, below, above
        _fill_keys(landscape, y + 1, (scale, third), below)
        to = target[y * width : (y + 1) * width]
        _row_uphill((above, here, below), (best, step), y * width, to)
        if n + width > len(summits):
            summits = _longer(summits)
        n = _add_summits(to, y * width, summits, n)
    return summits[:n].copy()


def uphill_to_seeds(
    landscape: Float32Array, scale: np.float32, seeds: Int32Array, n: int
) -> tuple[Int32Array, Int32Array, Int32Array]:
    """The same where all pixels of each seed 1..n (H, W) go to its first one; where that is, (n + 1,), -1 without."""
    target = plane((landscape.size,), np.int32)
    first = np.full(n + 1, -1, np.int32)
    summits = _uphill_to_seeds(landscape, scale, seeds, first, target)
    return target, summits, first


@compiled
def _uphill_to_seeds(
    landscape: Float32Array, scale: np.float32, seeds: Int32Array, first: Int32Array, target: Int32Array
) -> Int32Array:
    height, width = landscape.shape
    above, here, below = _no_keys(width), _no_keys(width), _no_keys(width)
    best, step, third = np.empty(width + 2, np.int32), np.empty(width + 2, np.int32), _thirds(width)
    summits, n = np.empty(4 * width, np.int32), 0
    _fill_keys(landscape, 0, (scale, third), below)
    for y in range(height):
        above, here, below = here, below, above
        _fill_keys(landscape, y + 1, (scale, third), below)
        to = target[y * width : (y + 1) * width]
        _row_uphill((above, here, below), (best, step), y * width, to)
        _gather_seeds(seeds[y], first, y * width, to)
        if n + width > len(summits):
            summits = _longer(summits)
        n = _add_summits(to, y * width, summits, n)
    return summits[:n].copy()


@compiled
def _gather_seeds(seeds: Int32Array, first: Int32Array, at: int, to: Int32Array) -> None:
    """Send the pixels of seeds in a row to the first one of each, which is noted."""
    for x in range(len(to)):
        seed = seeds[x]
        if seed > 0 and to[x] >= 0:
            if first[seed] < 0:
                first[seed] = at + x
            to[x] = first[seed]


@compiled
def _add_summits(to: Int32Array, at: int, summits: Int32Array, n: int) -> int:
    """Add the pixels of a row that are their own target to a list of ``n``; how many it has then."""
    for x in range(len(to)):
        if to[x] == at + x:
            summits[n] = to[x]
            n += 1
    return n


@compiled
def _no_keys(width: int) -> Int32Array:
    """A row of keys, one wider on each side, of no height."""
    keys = np.empty(width + 2, np.int32)
    for x in range(width + 2):
        keys[x] = -1
    return keys


@compiled
def _thirds(width: int) -> Int32Array:
    """The place of each column in its cell of three."""
    third = np.empty(width, np.int32)
    for x in range(width):
        third[x] = x % 3
    return third


@compiled
def _longer(values: Int32Array) -> Int32Array:
    """The same with as much room again."""
    longer = np.empty(2 * len(values), np.int32)
    longer[: len(values)] = values
    return longer


@compiled
def _fill_keys(landscape: Float32Array, y: int, steps: tuple[np.float32, Int32Array], keys: Int32Array) -> None:
    """Keys of one row; none beyond the last one. In 32 bits throughout, which goes many pixels at a time."""
    if y == landscape.shape[0]:
        for x in range(len(keys)):
            keys[x] = -1
        return
    scale, third = steps
    row, digit = landscape[y], np.int32(y % 3 * 3)
    for x in range(len(row)):
        level = np.int32(np.rint(row[x] * scale)) * np.int32(9)
        keys[x + 1] = np.int32(level + (digit + third[x])) if row[x] > 0 else np.int32(-1)


@compiled
def _row_uphill(
    keys: tuple[Int32Array, Int32Array, Int32Array], columns: tuple[Int32Array, Int32Array], at: int, to: Int32Array
) -> None:
    """The targets of a row that begins at a flat index, from its keys and those above and below."""
    above, here, below = keys
    best, step = columns
    width = len(to)
    down = np.int32(width)
    for x in range(width + 2):  # the best of each column of three ...
        up = -down if above[x] > here[x] else np.int32(0)
        highest = max(above[x], here[x])
        step[x] = down if below[x] > highest else up
        best[x] = max(highest, below[x])
    for x in range(width):  # ... and of three columns
        side = step[x] - 1 if best[x] > best[x + 1] else step[x + 1]
        side = step[x + 2] + 1 if best[x + 2] > max(best[x], best[x + 1]) else side
        to[x] = at + x + side if here[x + 1] >= 0 else -1


@compiled
def higher_within(summits: Int32Array, landscape: Float32Array, scale: np.float32, radius_px: int) -> Int32Array:
    """Flat index of the highest pixel within the radius of each summit that hangs together with it there."""
    width = landscape.shape[1]
    target = np.empty_like(summits)
    side = 2 * radius_px + 1
    seen, waiting = np.empty((side + 2, side + 2), np.bool_), np.empty((side * side, 2), np.int32)
    for number in range(summits.size):
        y, x = divmod(summits[number], width)
        target[number] = summits[number]
        if _is_highest(landscape, y, x, scale, radius_px):
            continue
        _see_beyond(seen, radius_px)
        best, n, done = _key(landscape, y, x, scale), 1, 0
        waiting[0, 0], waiting[0, 1], seen[radius_px + 1, radius_px + 1] = y, x, True
        while done < n:
            here_y, here_x = waiting[done, 0], waiting[done, 1]
            done += 1
            for other_y in range(here_y - 1, here_y + 2):
                for other_x in range(here_x - 1, here_x + 2):
                    row, column = other_y - y + radius_px + 1, other_x - x + radius_px + 1
                    there, level = other_y * width + other_x, -1
                    if not seen[row, column]:
                        level = _key(landscape, other_y, other_x, scale)
                    if level < 0:
                        continue
                    seen[row, column] = True
                    waiting[n, 0], waiting[n, 1] = other_y, other_x
                    n += 1
                    if level > best or (level == best and there > target[number]):
                        best, target[number] = level, there
    return target


@compiled
def _see_beyond(seen: BoolArray, radius_px: int) -> None:
    """What must not be looked at is seen already."""
    for row in range(len(seen)):
        for column in range(len(seen)):
            off_y, off_x = row - radius_px - 1, column - radius_px - 1
            seen[row, column] = off_y * off_y + off_x * off_x > radius_px * radius_px


@compiled
def _key(landscape: Float32Array, y: int, x: int, scale: np.float32) -> int:
    """As `_fill_keys`; -1 beyond the border, too."""
    if not (0 <= y < landscape.shape[0] and 0 <= x < landscape.shape[1]) or landscape[y, x] <= 0:
        return -1
    return int(np.rint(landscape[y, x] * scale)) * 9 + (y % 3) * 3 + x % 3


@compiled
def _is_highest(landscape: Float32Array, y: int, x: int, scale: np.float32, radius_px: int) -> bool:
    """Whether no pixel within the radius is as high, connected or not."""
    height, width = landscape.shape
    own, level = _key(landscape, y, x, scale), np.rint(landscape[y, x] * scale)
    for other_y in range(max(0, y - radius_px), min(height, y + radius_px + 1)):
        for other_x in range(max(0, x - radius_px), min(width, x + radius_px + 1)):
            apart = (other_y - y) ** 2 + (other_x - x) ** 2
            if not 0 < apart <= radius_px * radius_px or np.rint(landscape[other_y, other_x] * scale) < level:
                continue
            if _key(landscape, other_y, other_x, scale) >= own:
                return False
    return True


@compiled
def follow(target: Int32Array, summits: Int32Array) -> None:
    """Write, in place of where each pixel goes, the number (1..n: place in ``summits``) of the one where its way ends.

    Without a way that is 0. What is known already waits as the bitwise opposite: below 0, as no way is.
    """
    for number in range(summits.size):
        target[summits[number]] = ~(number + 1)
    _look_ahead(target)
    for at in range(target.size):
        if target[at] < 0:
            continue
        last = target[at]
        while target[last] >= 0:
            last = target[last]
        end, here = target[last], np.int32(at)
        while target[here] >= 0:
            before, here = here, target[here]
            target[before] = end
    for at in range(target.size):
        target[at] = ~target[at]


@compiled
def _look_ahead(target: Int32Array) -> None:
    """One look ahead for each pixel, in reading order and backwards: most ways lead up, or down, all along."""
    for at in range(target.size):
        to = target[at]
        if to >= 0:
            target[at] = target[to]
    for at in range(target.size - 1, -1, -1):
        to = target[at]
        if to >= 0:
            target[at] = target[to]
