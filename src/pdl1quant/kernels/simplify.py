"""Closed rings with fewer corners, that neither touch nor cross themselves anew.

Douglas & Peucker 1973, with the checks of the topology-preserving simplifier of JTS and GEOS: a stretch of corners
becomes one side when none of them is further from it than the tolerance, and when the side meets no other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float64Array, Int64Array, IntpArray

_LEAST_POINTS = 4
"""Points of a ring, its first one counted again at the end."""


@compiled
def chosen_corners(points: Float64Array, starts: IntpArray, tolerance: float) -> tuple[IntpArray, IntpArray]:
    """Rows of the corners (m, 2) that stay, ring by ring, and where each ring starts among them (n + 1,).

    Ring ``i`` runs from ``starts[i]`` to ``starts[i + 1]`` and back. Where its first corner goes, it begins with the
    last one that stays.
    """
    chosen, ends = np.empty(len(points), np.intp), np.zeros(starts.size, np.intp)
    n_chosen = 0
    for number in range(starts.size - 1):
        first = starts[number]
        ring = points[first : starts[number + 1]]
        kept = np.zeros(len(ring), np.bool_)
        last = _simplify(ring, tolerance, kept)
        if last and not kept[0]:
            chosen[n_chosen] = first + last
            n_chosen += 1
            kept[last] = False
        for corner in range(len(ring)):
            if kept[corner]:
                chosen[n_chosen] = first + corner
                n_chosen += 1
        ends[number + 1] = n_chosen
    return chosen[:n_chosen], ends


@compiled
def _simplify(ring: Float64Array, tolerance: float, kept: BoolArray) -> int:
    """Mark the corners that stay; returns the last of them."""
    n = len(ring)
    if n < _LEAST_POINTS - 1:
        kept[:] = True
        return n - 1
    is_there = np.ones(n, np.bool_)  # sides of the ring that no new one replaces
    new, stack = np.empty((n, 2), np.int64), np.empty((n + 1, 3), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, n, 1
    n_stack, n_new, n_sides, second, last = 1, 0, 0, 0, 0
    while n_stack:
        n_stack -= 1
        i, j, depth = stack[n_stack, 0], stack[n_stack, 1], stack[n_stack, 2]
        if j > i + 1:
            furthest, distance = _furthest(ring, i, j)
            is_too_few = n_sides + 1 < _LEAST_POINTS and depth + 1 < _LEAST_POINTS
            if distance > tolerance or is_too_few or _is_blocked(ring, is_there, new[:n_new], i, j):
                stack[n_stack, 0], stack[n_stack, 1], stack[n_stack, 2] = furthest, j, depth + 1
                stack[n_stack + 1, 0], stack[n_stack + 1, 1], stack[n_stack + 1, 2] = i, furthest, depth + 1
                n_stack += 2
                continue
            is_there[i:j] = False
            new[n_new, 0], new[n_new, 1] = i, j
            n_new += 1
        kept[i] = True
        n_sides += 1
        second, last = j if i == 0 else second, i
    if n_sides + 1 > _LEAST_POINTS and _distance(ring, 0, last, second) <= tolerance:
        is_straight = _turn(ring, last, second, 0) == 0
        kept[0] = not (is_straight or not _is_blocked(ring, is_there, new[:n_new], last, second))
    return last


@compiled
def _furthest(ring: Float64Array, i: int, j: int) -> tuple[int, float]:
    """The corner between two that is furthest from the side that joins them, and how far."""
    found, most = i, -1.0
    for k in range(i + 1, j):
        distance = _distance(ring, k, i, j)
        if distance > most:
            found, most = k, distance
    return found, most


@compiled
def _distance(ring: Float64Array, k: int, i: int, j: int) -> float:
    """From corner ``k`` to the side from ``i`` to ``j``."""
    j = j if j < len(ring) else 0
    dx, dy = ring[j, 0] - ring[i, 0], ring[j, 1] - ring[i, 1]
    x, y = ring[k, 0] - ring[i, 0], ring[k, 1] - ring[i, 1]
    square = dx * dx + dy * dy
    along = x * dx + y * dy
    if square == 0 or along <= 0:
        return float(np.sqrt(x * x + y * y))
    if along >= square:
        return float(np.sqrt((ring[k, 0] - ring[j, 0]) ** 2 + (ring[k, 1] - ring[j, 1]) ** 2))
    return float(abs(x * dy - y * dx) / square * np.sqrt(square))


@compiled
def _is_blocked(ring: Float64Array, is_there: BoolArray, new: Int64Array, i: int, j: int) -> bool:
    """Whether the side from corner ``i`` to ``j`` meets another one that stays, elsewhere than at common ends."""
    n = len(ring)
    for side in range(len(new)):
        if _meet(ring, i, j % n, new[side, 0], new[side, 1] % n):
            return True
    for side in range(n):
        if is_there[side] and not i <= side < j and _meet(ring, i, j % n, side, (side + 1) % n):
            return True
    return False


@compiled
def _meet(ring: Float64Array, a: int, b: int, c: int, d: int) -> bool:
    """Whether two sides have a point in common that is inside one of them, or are the same."""
    for axis in range(2):
        if _shared(ring, axis, a, b, c, d) < 0:
            return False
    n_common = _same(ring, a, c) + _same(ring, a, d) + _same(ring, b, c) + _same(ring, b, d)
    if n_common > 1:
        return True
    of_c, of_d, of_a, of_b = _turn(ring, a, b, c), _turn(ring, a, b, d), _turn(ring, c, d, a), _turn(ring, c, d, b)
    if of_c * of_d > 0 or of_a * of_b > 0:
        return False
    if of_c == 0 and of_d == 0:
        axis = 0 if abs(ring[b, 0] - ring[a, 0]) >= abs(ring[b, 1] - ring[a, 1]) else 1
        return _shared(ring, axis, a, b, c, d) > 0
    return n_common == 0  # of lines with two directions the common end is the only common point


@compiled
def _shared(ring: Float64Array, axis: int, a: int, b: int, c: int, d: int) -> float:
    """Length that two sides share along an axis; below 0 where they lie apart."""
    begin = max(min(ring[a, axis], ring[b, axis]), min(ring[c, axis], ring[d, axis]))
    return float(min(max(ring[a, axis], ring[b, axis]), max(ring[c, axis], ring[d, axis])) - begin)


@compiled
def _turn(ring: Float64Array, a: int, b: int, c: int) -> int:
    """-1, 0 or 1: to which side of the line from ``a`` to ``b`` corner ``c`` lies."""
    left = (ring[b, 0] - ring[a, 0]) * (ring[c, 1] - ring[a, 1])
    right = (ring[b, 1] - ring[a, 1]) * (ring[c, 0] - ring[a, 0])
    return int(left > right) - int(left < right)


@compiled
def _same(ring: Float64Array, a: int, b: int) -> int:
    return int(ring[a, 0] == ring[b, 0] and ring[a, 1] == ring[b, 1])
