"""Cells from what guides their growth: each label a shared piece or what is nearest, and never far from its nucleus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled
from pdl1quant.planes import like

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, Int32Array, UInt8Array

STEP, CORNER = np.float32(1), np.float32(np.sqrt(2))
"""Steps within a cell."""


def settle(
    shared: tuple[Int32Array, Int32Array],
    nuclei: Int32Array,
    near: tuple[Float32Array, Int32Array],
    guide: tuple[Float32Array, UInt8Array],
    limits: tuple[Float32Array, np.float32],
) -> Int32Array:
    """Labels (H, W) of cells: shared out where there is a guide, else the nearest, and none too far from its nucleus.

    Parameters
    ----------
    shared
        Pieces (H, W), and the label of each piece: what holds where the guide is.
    nuclei
        Labels of the nuclei.
    near
        Distance to the nearest nucleus, and its label. The distances are used up: the array is written into.
    guide
        Height map, above 0 where a cell may be, and whether each pixel has a guide; both (H, W).
    limits
        How near (n + 1,) whatever is left over belongs to the nearest nucleus, and how far from its own nucleus a
        label may reach, going inside of the label. Where the nearest nucleus is the own one, the way is straight.
        Elsewhere steps are 1 px and its diagonal; two rounds over the image: around more than that many corners nothing
        is reached.
    """
    settled = like(nuclei)
    _settle((*shared, nuclei), near, guide, limits, settled)
    return settled


@compiled
def _settle(
    shared: tuple[Int32Array, Int32Array, Int32Array],
    near: tuple[Float32Array, Int32Array],
    guide: tuple[Float32Array, UInt8Array],
    limits: tuple[Float32Array, np.float32],
    settled: Int32Array,
) -> None:
    pieces, number, nuclei = shared
    steps, nearest = near
    landscape, guided = guide
    at_least_px, limit_px = limits
    height, width = settled.shape
    astray, straight, left = (
        np.empty(4 * width, np.int32),
        np.empty(4 * width, np.float32),
        np.empty(4 * width, np.int32),
    )
    n_astray, n_left = 0, 0
    for y in range(height):
        if max(n_astray, n_left) + width > len(straight):
            astray, straight, left = _longer(astray), _longer(straight), _longer(left)
        row = settled[y], pieces[y], nuclei[y], nearest[y], landscape[y], guided[y], steps[y]
        n_astray, n_left = _settle_row(y * width, row, number, limits, (astray, straight, n_astray, left, n_left))
    _find_ways(settled, steps, astray[:n_astray])
    labels, whose, apart = settled.ravel(), nearest.ravel(), steps.ravel()
    for place in range(n_astray):
        at = astray[place]
        if apart[at] > limit_px:
            labels[at] = whose[at] if straight[place] <= at_least_px[whose[at]] else 0
    for at in left[:n_left]:
        labels[at] = whose[at]


@compiled
def _settle_row(
    first: int,
    row: tuple[Int32Array, Int32Array, Int32Array, Int32Array, Float32Array, UInt8Array, Float32Array],
    number: Int32Array,
    limits: tuple[Float32Array, np.float32],
    noted: tuple[Int32Array, Float32Array, int, Int32Array, int],
) -> tuple[int, int]:
    """Fill a row that begins at a flat index, and note where it is not settled yet.

    That are the pixels outside nuclei with another label than the nearest, to which no steps lead yet (how far they lie
    from the nearest is noted, too), and what is left over near a nucleus. Returns how many there are of both.
    """
    settled, pieces, nuclei, nearest, landscape, guided, steps = row
    at_least_px, limit_px = limits
    astray, straight, n_astray, left, n_left = noted
    for x in range(len(settled)):
        whose, apart = nearest[x], steps[x]
        label = np.int32(0)
        if guided[x] > 0:
            label = number[pieces[x]]
        elif landscape[x] > 0:
            label = whose
        if label > 0 and label != whose and nuclei[x] == 0:
            astray[n_astray], straight[n_astray] = first + x, apart
            n_astray += 1
            steps[x] = np.inf
        elif label == 0 or apart > limit_px:
            label = np.int32(0)
            if apart <= at_least_px[whose]:
                left[n_left] = first + x
                n_left += 1
        settled[x] = label
    return n_astray, n_left


@compiled
def _longer(values: Float32Array) -> Float32Array:
    """The same with as much room again; of any dtype and shape."""
    longer = np.empty((2 * len(values), *values.shape[1:]), values.dtype)
    longer[: len(values)] = values
    return longer


@compiled
def _find_ways(labels: Int32Array, steps: Float32Array, places: Int32Array) -> None:
    """Lower the steps at some places (flat indices, in order): two rounds over them, each there and back."""
    height, width = labels.shape
    label, apart = labels.ravel(), steps.ravel()
    for side in (-1, 1, -1, 1):
        for index in range(len(places)):
            at = places[index if side < 0 else len(places) - 1 - index]
            if width <= at < (height - 1) * width and 0 < at % width < width - 1:
                apart[at] = _least_within(label, apart, at, (side, width))
            else:
                apart[at] = _least_steps(labels, steps, at, side)


@compiled
def _least_within(labels: Int32Array, steps: Float32Array, at: int, around: tuple[int, int]) -> np.float32:
    """As `_least_steps`, away from the border and without a branch for each neighbour."""
    side, width = around
    own, there, far = labels[at], at + side * width, np.float32(np.inf)
    beside, straight, one, other = steps[at + side], steps[there], steps[there - 1], steps[there + 1]
    beside = beside if labels[at + side] == own else far
    straight = straight if labels[there] == own else far
    one = one if labels[there - 1] == own else far
    other = other if labels[there + 1] == own else far
    return min(steps[at], min(beside, straight) + STEP, min(one, other) + CORNER)


@compiled
def _least_steps(labels: Int32Array, steps: Float32Array, at: int, side: int) -> np.float32:
    """The steps to a place from its neighbours of the same label: beside it, and in the row above (-1) or below (1)."""
    height, width = labels.shape
    y, x = at // width, at % width
    least = steps[y, x]
    if 0 <= x + side < width and labels[y, x + side] == labels[y, x]:
        least = min(least, steps[y, x + side] + STEP)
    if 0 <= y + side < height:
        for other in range(max(0, x - 1), min(width, x + 2)):
            if labels[y + side, other] == labels[y, x]:
                least = min(least, steps[y + side, other] + (STEP if other == x else CORNER))
    return np.float32(least)
