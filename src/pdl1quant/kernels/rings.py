"""The outer ring of each feature of a GeoJSON file that ``outputs.geojson`` wrote: bytes -> corners, in one pass.

Far faster than a reader of any JSON: it knows that a feature has a line, with ``"geometry":`` before all else that is
long, and plain decimal numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import Float64Array, IntpArray, UInt8Array

TOO_MANY_CORNERS, BROKEN = -1, -2
"""What `read_rings` returns instead of a number of features."""
_NEW_LINE, _COMMA, _MINUS, _POINT, _ZERO, _NINE, _OPEN, _CLOSE = 10, 44, 45, 46, 48, 57, 91, 93


@compiled
def read_rings(data: UInt8Array, mark: UInt8Array, points: Float64Array, starts: IntpArray) -> int:
    """Read up to ``starts.size - 1`` rings into ``points`` (m, 2), ring ``i`` from ``starts[i]`` to ``starts[i + 1]``.

    ``mark`` is what stands before the first number of a ring. The corner that closes a ring is left out. Returns how
    many features the file has, `TOO_MANY_CORNERS` where ``points`` is too small, or `BROKEN`.
    """
    at, n_points, n_rings = 0, 0, 0
    while at < data.size:
        begin = _behind_mark(data, mark, at)
        if begin > 0:
            if n_rings + 1 >= starts.size:
                return BROKEN
            at, end = _read_ring(data, begin, points, n_points)
            if end < 0:
                return end
            is_closed = (
                end > n_points + 1
                and points[end - 1, 0] == points[n_points, 0]
                and points[end - 1, 1] == points[n_points, 1]
            )
            n_points = end - 1 if is_closed else end
            n_rings += 1
            starts[n_rings] = n_points
        while at < data.size and data[at] != _NEW_LINE:
            at += 1
        at += 1
    return n_rings


@compiled
def _behind_mark(data: UInt8Array, mark: UInt8Array, at: int) -> int:
    """Where ``mark`` ends in the line at ``at``; 0 where the line has none."""
    matched = 0
    while at < data.size and data[at] != _NEW_LINE:
        if data[at] == mark[matched]:
            matched += 1
        else:
            matched = 1 if data[at] == mark[0] else 0
        at += 1
        if matched == mark.size:
            return at
    return 0


@compiled
def _read_ring(data: UInt8Array, at: int, points: Float64Array, n_points: int) -> tuple[int, int]:
    """Read the ring that begins at ``at``; where it ends in ``data`` and in ``points``, or why not."""
    depth, axis = 1, 0
    while at < data.size:
        byte = data[at]
        if byte == _MINUS or _ZERO <= byte <= _NINE:
            if axis > 1:
                return at, BROKEN
            if n_points >= points.shape[0]:
                return at, TOO_MANY_CORNERS
            at, points[n_points, axis] = _read_number(data, at)
            axis += 1
            continue
        at += 1
        if byte == _OPEN:
            depth += 1
        elif byte == _CLOSE:
            depth -= 1
            if depth < 2:
                return at, n_points
            if axis != 2:
                return at, BROKEN
            n_points, axis = n_points + 1, 0
        elif byte != _COMMA:
            return at, BROKEN
    return at, BROKEN


@compiled
def _read_number(data: UInt8Array, at: int) -> tuple[int, float]:
    """Where the decimal number at ``at`` ends, and its value."""
    is_negative = data[at] == _MINUS
    if is_negative:
        at += 1
    digits, scale = 0.0, 0.0
    while at < data.size and (data[at] == _POINT or _ZERO <= data[at] <= _NINE):
        if data[at] == _POINT:
            scale = 1.0
        else:
            digits = digits * 10.0 + (data[at] - _ZERO)
            scale *= 10.0
        at += 1
    value = digits / scale if scale > 0.0 else digits
    return at, -value if is_negative else value
