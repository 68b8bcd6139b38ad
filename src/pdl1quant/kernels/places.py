"""Points close to each other: found through a grid of squares that are no smaller than the reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pdl1quant.model import Float64Array, Int32Array, IntpArray


_Number = TypeVar("_Number", bound=np.number)


@compiled
def around(points: Float64Array, reach: float) -> tuple[Float64Array, IntpArray]:
    """Distance from each point (n, 2) to the nearest other one, infinite beyond the reach, and the number within it."""
    n = len(points)
    nearest, count = np.full(n, np.inf), np.zeros(n, np.intp)
    square, columns, first, members = _sorted_in(points, reach)
    for point in range(n):
        least = np.inf
        for row in range(-1, 2):
            start = square[point] + row * columns - 1
            for place in range(first[start], first[start + 3]):
                other = members[place]
                x, y = points[other, 0] - points[point, 0], points[other, 1] - points[point, 1]
                square_apart = x * x + y * y
                if square_apart <= reach * reach and other != point:
                    count[point] += 1
                    least = min(least, square_apart)
        nearest[point] = np.sqrt(least)
    return nearest, count


@compiled
def neighbours_of(points: Float64Array, reach: float) -> tuple[IntpArray, Int32Array, Float64Array]:
    """The others within reach of each point (n, 2): those of point ``i`` begin at ``starts[i]`` and end at the next.

    Returns the starts (n + 1,), the others in order, and how far off each is.
    """
    n = len(points)
    square, columns, first, members = _sorted_in(points, reach)
    starts = np.zeros(n + 1, np.intp)
    others: Int32Array = np.empty(32 * n, np.int32)
    apart: Float64Array = np.empty(32 * n)
    for point in range(n):
        end = starts[point]
        for row in range(-1, 2):
            start = square[point] + row * columns - 1
            if end + first[start + 3] - first[start] > len(others):
                others, apart = _longer(others, end + n), _longer(apart, end + n)
            for place in range(first[start], first[start + 3]):
                other = members[place]
                x, y = points[other, 0] - points[point, 0], points[other, 1] - points[point, 1]
                if x * x + y * y <= reach * reach and other != point:
                    _insert(others, apart, (starts[point], end), other, np.sqrt(x * x + y * y))
                    end += 1
        starts[point + 1] = end
    return starts, others[: starts[n]].copy(), apart[: starts[n]].copy()


@compiled
def _longer(values: NDArray[_Number], length: int) -> NDArray[_Number]:
    """A copy with more room, for at least half as many again."""
    copy = np.empty(max(length, len(values) * 3 // 2), values.dtype)
    copy[: len(values)] = values
    return copy


@compiled
def nearest_of(points: Float64Array, places: Float64Array, reach: float) -> IntpArray:
    """(m,) the point (n, 2) that is nearest to each place (m, 2), the first of several, or -1 if none is in reach."""
    found = np.full(len(places), -1, np.intp)
    square, columns, first, members = _sorted_in(np.concatenate((places, points)), reach)
    for place in range(len(places)):
        least = reach * reach
        for row in range(-1, 2):
            start = square[place] + row * columns - 1
            for at in range(first[start], first[start + 3]):
                point = members[at] - len(places)
                if point >= 0:
                    right, down = points[point, 0] - places[place, 0], points[point, 1] - places[place, 1]
                    if right * right + down * down < least:
                        least, found[place] = right * right + down * down, point
    return found


@compiled
def _insert(others: Int32Array, apart: Float64Array, stretch: tuple[int, int], other: int, distance: float) -> None:
    """Put one behind those of a sorted stretch that are lower."""
    start, at = stretch
    while at > start and others[at - 1] > other:
        others[at], apart[at] = others[at - 1], apart[at - 1]
        at -= 1
    others[at], apart[at] = other, distance


@compiled
def _sorted_in(points: Float64Array, reach: float) -> tuple[IntpArray, int, IntpArray, Int32Array]:
    """The square of each point, how many there are in a row, where each one's points begin, and the points by square.

    An empty square lies all around. Squares are larger than the reach where there would be many more than points.
    """
    n = len(points)
    square, members = np.zeros(n, np.intp), np.empty(n, np.int32)
    left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
    for point in range(n):
        left, right = min(left, points[point, 0]), max(right, points[point, 0])
        top, bottom = min(top, points[point, 1]), max(bottom, points[point, 1])
    side = reach * (1 + 1e-9)  # a square more may lie between two points exactly the reach apart
    while n > 0 and ((right - left) / side + 3) * ((bottom - top) / side + 3) > 4 * n + 1024:
        side *= 2
    columns = int((right - left) / side) + 3 if n > 0 else 3
    rows = int((bottom - top) / side) + 3 if n > 0 else 3
    first = np.zeros(rows * columns + 1, np.intp)
    for point in range(n):
        row, column = int((points[point, 1] - top) / side) + 1, int((points[point, 0] - left) / side) + 1
        square[point] = row * columns + column
        first[square[point] + 1] += 1
    for each in range(rows * columns):
        first[each + 1] += first[each]
    filled = first.copy()
    for point in range(n):
        members[filled[square[point]]] = point
        filled[square[point]] += 1
    return square, columns, first, members
