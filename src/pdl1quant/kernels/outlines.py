"""Rings around labels along the edges of their pixels, the same with fewer corners, and their text."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Int32Array, UInt8Array

Int64Array: TypeAlias = NDArray[np.int64]

_COMMA, _OPEN, _CLOSE, _MINUS, _DOT, _ZERO = 44, 91, 93, 45, 46, 48
MAX_POINT_BYTES = 48
"""Of one point as text: two numbers of up to 20 digits, brackets, commas, dots and signs."""


@compiled
def count_edges(framed: Int32Array) -> int:
    """How many sides of pixels > 0 face another label; the image has a frame of one pixel of zeros."""
    n = 0
    for y in range(1, framed.shape[0] - 1):
        for x in range(1, framed.shape[1] - 1):
            own = framed[y, x]
            if own > 0:
                n += (framed[y - 1, x] != own) + (framed[y, x + 1] != own)
                n += (framed[y + 1, x] != own) + (framed[y, x - 1] != own)
    return n


@compiled
def trace_rings(
    framed: Int32Array, n_edges: int
) -> tuple[tuple[Int32Array, Int32Array, Int32Array], tuple[Int32Array, Int64Array, BoolArray]]:
    """All rings of pixel edges, in the order of their first edge; each has its pixels to the right.

    Pixels that touch by a corner only do not hang together. Returns where each ring starts (n + 1,), and x and y of
    the corners, without those in the middle of straight runs; then the label of each ring (n,), twice its signed area
    (holes are negative), and whether it may touch itself by a corner.
    """
    width = framed.shape[1]
    flat = framed.ravel()
    step = np.array([1, width, -1, -width], np.int64)
    x, y = np.empty(n_edges, np.int32), np.empty(n_edges, np.int32)
    starts = np.empty(n_edges // 4 + 2, np.int32)
    labels, areas = np.empty(n_edges // 4 + 1, np.int32), np.empty(n_edges // 4 + 1, np.int64)
    touches = np.zeros(n_edges // 4 + 1, np.bool_)
    seen = np.zeros(flat.size, np.bool_)
    n_rings, n_corners = 0, 0
    starts[0] = 0
    for first in range(width, flat.size - width):
        own = flat[first]
        if own <= 0 or seen[first] or flat[first - width] == own:
            continue
        pixel, side, before, area = first, 0, 3, 0
        while True:
            row, column = pixel // width, pixel % width
            if side == 0:
                seen[pixel] = True
                area -= row - 1  # the shoelace along horizontal edges
            elif side == 2:
                area += row
            if side != before:
                x[n_corners] = column - 1 + (0 < side < 3)
                y[n_corners] = row - 1 + (side >= 2)
                n_corners += 1
            before = side
            ahead = pixel + step[side]
            left = ahead + step[(side + 3) % 4]
            if flat[ahead] != own:
                touches[n_rings] |= flat[left] == own
                side = (side + 1) % 4
            elif flat[left] != own:
                pixel = ahead
            else:
                pixel, side = left, (side + 3) % 4
            if pixel == first and side == 0:
                break
        labels[n_rings], areas[n_rings] = own, 2 * area
        n_rings += 1
        starts[n_rings] = n_corners
    return (
        (starts[: n_rings + 1].copy(), x[:n_corners].copy(), y[:n_corners].copy()),
        (labels[:n_rings].copy(), areas[:n_rings].copy(), touches[:n_rings].copy()),
    )


@compiled
def simplify_rings(
    rings: tuple[Int64Array, Int64Array, Int64Array],
) -> tuple[Int64Array, Int64Array, Int64Array, BoolArray]:
    """Rings through the middles of pixel edges, with the corners that matter.

    Of the middles, those stay that lie more than half a pixel from the line between their neighbours (Douglas and
    Peucker 1973). A ring that would cross or touch itself, or have no area, stays as it was. Rings have to be of pixel
    edges: ``starts``, x and y of their corners, in pixels. Returns the same in half pixels, and which stayed (n,).
    """
    starts, x, y = rings
    n_rings = starts.size - 1
    to_starts, stayed = np.zeros(n_rings + 1, np.int64), np.zeros(n_rings, np.bool_)
    to_x, to_y = np.empty(2 * x.size, np.int64), np.empty(2 * x.size, np.int64)
    longest = 0
    for ring in range(n_rings):
        longest = max(longest, starts[ring + 1] - starts[ring])
    points, kept = np.empty((2 * longest, 2), np.int64), np.zeros(2 * longest, np.bool_)
    waiting = np.empty((2 * longest + 2, 2), np.int64)
    n = 0
    for ring in range(n_rings):
        first, end = starts[ring], starts[ring + 1]
        n_points = _middles(points, x[first:end], y[first:end])
        n_kept = _keep_corners(points[:n_points], kept[:n_points], waiting)
        at = n
        for number in range(n_points):
            if kept[number]:
                to_x[n], to_y[n] = points[number, 0], points[number, 1]
                n += 1
        if n_kept < 3 or not _is_simple(to_x[at:n], to_y[at:n]):
            n, stayed[ring] = at, True
            for corner in range(first, end):
                to_x[n], to_y[n] = 2 * x[corner], 2 * y[corner]
                n += 1
        to_starts[ring + 1] = n
    return to_starts, to_x[:n].copy(), to_y[:n].copy(), stayed


@compiled
def _middles(points: Int64Array, x: Int64Array, y: Int64Array) -> int:
    """The middle of the first and of the last edge of each straight run, in half pixels; how many there are."""
    n = 0
    for corner in range(x.size):
        after = corner + 1 if corner + 1 < x.size else 0
        step_x, step_y = np.sign(x[after] - x[corner]), np.sign(y[after] - y[corner])
        points[n, 0], points[n, 1] = 2 * x[corner] + step_x, 2 * y[corner] + step_y
        n += 1
        if abs(x[after] - x[corner]) + abs(y[after] - y[corner]) > 1:
            points[n, 0], points[n, 1] = 2 * x[after] - step_x, 2 * y[after] - step_y
            n += 1
    return n


@compiled
def _keep_corners(points: Int64Array, kept: BoolArray, waiting: Int64Array) -> int:
    """Mark the points of a closed ring that a line within one unit (half a pixel) cannot leave out."""
    n, far = points.shape[0], 0
    best = -1
    for number in range(n):
        kept[number] = False
        apart = (points[number, 0] - points[0, 0]) ** 2 + (points[number, 1] - points[0, 1]) ** 2
        if apart > best:
            best, far = apart, number
    kept[0], kept[far] = True, True
    waiting[0, 0], waiting[0, 1] = 0, far
    waiting[1, 0], waiting[1, 1] = far, n
    n_waiting, n_kept = 2, 2
    while n_waiting:
        n_waiting -= 1
        first, last = waiting[n_waiting, 0], waiting[n_waiting, 1]
        end = last if last < n else 0
        along_x, along_y = points[end, 0] - points[first, 0], points[end, 1] - points[first, 1]
        length2 = along_x * along_x + along_y * along_y
        best, middle = 0, -1
        for number in range(first + 1, last):
            off_x, off_y = points[number, 0] - points[first, 0], points[number, 1] - points[first, 1]
            across = along_x * off_y - along_y * off_x
            apart = across * across if length2 else off_x * off_x + off_y * off_y
            if apart > best:
                best, middle = apart, number
        if middle >= 0 and best > max(length2, 1):
            kept[middle] = True
            n_kept += 1
            waiting[n_waiting, 0], waiting[n_waiting, 1] = first, middle
            waiting[n_waiting + 1, 0], waiting[n_waiting + 1, 1] = middle, last
            n_waiting += 2
    return n_kept


@compiled
def _is_simple(x: Int64Array, y: Int64Array) -> bool:
    """Whether a closed ring has an area and none of its sides meets another one but at their common corner."""
    n = x.size
    area = 0
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        area += x[i] * y[j] - x[j] * y[i]
    if area == 0:
        return False
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        for k in range(i + 1, n):
            m = k + 1 if k + 1 < n else 0
            if k == j or m == i:  # neighbours: they fold back on each other, or they do not
                shared, one, other = (j, i, m) if k == j else (i, j, k)
                ahead_x, ahead_y = x[one] - x[shared], y[one] - y[shared]
                back_x, back_y = x[other] - x[shared], y[other] - y[shared]
                folds = ahead_x * back_y == ahead_y * back_x and ahead_x * back_x + ahead_y * back_y > 0
                if n > 2 and folds:
                    return False
                continue
            if max(x[i], x[j]) < min(x[k], x[m]) or max(x[k], x[m]) < min(x[i], x[j]):
                continue
            if max(y[i], y[j]) < min(y[k], y[m]) or max(y[k], y[m]) < min(y[i], y[j]):
                continue
            along_x, along_y = x[j] - x[i], y[j] - y[i]
            one = np.sign(along_x * (y[k] - y[i]) - along_y * (x[k] - x[i]))
            other = np.sign(along_x * (y[m] - y[i]) - along_y * (x[m] - x[i]))
            along_x, along_y = x[m] - x[k], y[m] - y[k]
            third = np.sign(along_x * (y[i] - y[k]) - along_y * (x[i] - x[k]))
            fourth = np.sign(along_x * (y[j] - y[k]) - along_y * (x[j] - x[k]))
            if one * other <= 0 and third * fourth <= 0:
                return False
    return True


@compiled
def write_rings(starts: Int64Array, x: Int64Array, y: Int64Array) -> tuple[UInt8Array, Int64Array]:
    """Closed rings as text, ``[[x,y],[x,y],...]``; numbers are given in hundredths, and have no zeros at their end.

    Returns the bytes of all rings, and where each starts (n + 1,).
    """
    n_rings = starts.size - 1
    text = np.empty((x.size + n_rings) * MAX_POINT_BYTES + 2 * n_rings, np.uint8)
    text_starts = np.zeros(n_rings + 1, np.int64)
    at = 0
    for ring in range(n_rings):
        text[at] = _OPEN
        at += 1
        for number in range(starts[ring], starts[ring + 1] + 1):
            point = number if number < starts[ring + 1] else starts[ring]
            text[at] = _OPEN
            at = _write_number(text, at + 1, x[point])
            text[at] = _COMMA
            at = _write_number(text, at + 1, y[point])
            text[at], text[at + 1] = _CLOSE, _COMMA
            at += 2
        text[at - 1] = _CLOSE
        text_starts[ring + 1] = at
    return text[:at].copy(), text_starts


@compiled
def _write_number(text: UInt8Array, at: int, hundredths: int) -> int:
    """Write a number; returns the place behind it."""
    if hundredths < 0:
        text[at] = _MINUS
        at += 1
        hundredths = -hundredths
    whole, part = hundredths // 100, hundredths % 100
    n_digits, rest = 1, whole // 10
    while rest:
        n_digits += 1
        rest //= 10
    for place in range(at + n_digits - 1, at - 1, -1):
        text[place] = _ZERO + whole % 10
        whole //= 10
    at += n_digits
    if part:
        text[at], text[at + 1] = _DOT, _ZERO + part // 10
        at += 2
        if part % 10:
            text[at] = _ZERO + part % 10
            at += 1
    return at
