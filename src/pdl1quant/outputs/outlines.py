"""Label image -> one closed outline a label, along pixel edges, all labels at once.

Every side of a pixel that faces another label is an edge, directed so that its own pixel lies to the right. Each edge
has exactly one successor, so the edges form rings, and the rings are put in order by pointer doubling (Wyllie 1979):
no loop over cells or pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pdl1quant.model import Int32Array

Int64Array: TypeAlias = NDArray[np.int64]

# East, south, west, north: the way of an edge along the top, right, bottom and left side of its pixel.
_STEP_Y = np.array([0, 1, 0, -1])
_STEP_X = np.array([1, 0, -1, 0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """Outlines of labels: corners from ``starts[i]`` to ``starts[i + 1]`` belong to ``labels[i]``.

    ``labels`` (n,) int32 ascending; ``starts`` (n + 1,) int64; ``x_px``, ``y_px`` int64: corners of pixels, so that
    pixel (0, 0) covers 0 to 1; clockwise on the screen, the first corner not repeated at the end.
    """

    labels: Int32Array
    starts: Int64Array
    x_px: Int64Array
    y_px: Int64Array


def trace_outlines(labels: Int32Array) -> Outlines:
    """Outline of each label of an image.

    Pixels that touch by a corner only do not belong together; of several parts of one label the largest is outlined,
    and holes are not.

    Parameters
    ----------
    labels
        (H, W) int32, 0 is background.

    Returns
    -------
    Outlines
        One outline for each label that has a pixel; the area inside is that of the largest part with its holes, in
        pixels.
    """
    framed = np.pad(labels, 1)
    edges, following = _edges(framed)
    if edges.size == 0:
        nothing = np.zeros(0, np.int64)
        return Outlines(labels=nothing.astype(np.int32), starts=np.zeros(1, np.int64), x_px=nothing, y_px=nothing)
    in_order, starts = _rings(following)
    side, pixel = np.divmod(edges[in_order], framed.size)
    y, x = np.divmod(pixel, framed.shape[1])
    # Where the edge begins, in the coordinates of the image without its frame.
    y += (side >= 2) - 1
    x += ((side == 1) | (side == 2)) - 1
    ring_labels = framed.ravel()[pixel[starts]]
    chosen = _largest(ring_labels, _areas(x, y, starts))
    return _corners(x, y, side, starts=starts, chosen=chosen, ring_labels=ring_labels)


def _edges(framed: Int32Array) -> tuple[Int64Array, Int64Array]:
    """Number ``side * n_pixels + pixel`` of each edge, ascending, and the index of its successor."""
    n_pixels, width = framed.size, framed.shape[1]
    inner = framed[1:-1, 1:-1]
    is_inside = inner != 0
    is_edge = np.zeros((4, *framed.shape), bool)
    for way, facing in enumerate((framed[:-2, 1:-1], framed[1:-1, 2:], framed[2:, 1:-1], framed[1:-1, :-2])):
        is_edge[way, 1:-1, 1:-1] = (facing != inner) & is_inside
    edges = np.flatnonzero(is_edge)
    side, pixel = np.divmod(edges, n_pixels)
    flat = framed.ravel()
    step = _STEP_Y[side] * width + _STEP_X[side]
    ahead = pixel + step
    left = ahead + _STEP_Y[side - 1] * width + _STEP_X[side - 1]
    own = flat[pixel]
    turns_right = flat[ahead] != own
    straight = ~turns_right & (flat[left] != own)
    next_pixel = np.where(turns_right, pixel, np.where(straight, ahead, left))
    next_side = (side + np.where(turns_right, 1, np.where(straight, 0, 3))) % 4
    following = next_side * n_pixels + next_pixel
    return edges, np.searchsorted(edges, following)


def _rings(following: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Edges in the order of the rings, each ring from its lowest edge on, and where each ring starts."""
    itself = np.arange(following.size)
    head, jump = itself, following
    while not np.array_equal(head, head[following]):
        head = np.minimum(head, head[jump])
        jump = jump[jump]
    is_head = head == itself
    jump = np.where(is_head, head, following)
    to_head = (~is_head).astype(np.int64)
    while not np.array_equal(jump, head):
        to_head += to_head[jump]
        jump = jump[jump]
    lengths = np.bincount(head, minlength=itself.size)
    start = np.cumsum(lengths) - lengths
    place = start[head] + (lengths[head] - to_head) % lengths[head]
    in_order = np.empty_like(itself)
    in_order[place] = itself
    return in_order, start[is_head]


def _areas(x: Int64Array, y: Int64Array, starts: Int64Array) -> Int64Array:
    """Twice the signed area of each ring (shoelace); holes are negative."""
    after = np.arange(1, x.size + 1)
    after[np.append(starts[1:], x.size) - 1] = starts
    areas: Int64Array = np.add.reduceat(x * y[after] - x[after] * y, starts)
    return areas


def _largest(ring_labels: Int32Array, areas: Int64Array) -> Int64Array:
    """Index of the largest ring of each label, by ascending label; the first of equal ones."""
    by_label = np.lexsort((np.arange(areas.size), -areas, ring_labels))
    is_first = np.diff(ring_labels[by_label], prepend=0) != 0
    largest: Int64Array = by_label[is_first]
    return largest


def _corners(
    x: Int64Array,
    y: Int64Array,
    side: Int64Array,
    *,
    starts: Int64Array,
    chosen: Int64Array,
    ring_labels: Int32Array,
) -> Outlines:
    """The chosen rings, without the points in the middle of straight runs."""
    ends = np.append(starts[1:], x.size)
    lengths = (ends - starts)[chosen]
    picked = np.repeat(starts[chosen] - np.append(0, np.cumsum(lengths)[:-1]), lengths) + np.arange(lengths.sum())
    previous = picked - 1
    first = np.append(0, np.cumsum(lengths)[:-1])
    previous[first] = ends[chosen] - 1
    is_corner = side[picked] != side[previous]
    n_corners = np.add.reduceat(is_corner, first, dtype=np.int64)
    kept = picked[is_corner]
    return Outlines(
        labels=ring_labels[chosen].astype(np.int32),
        starts=np.append(0, np.cumsum(n_corners)),
        x_px=x[kept],
        y_px=y[kept],
    )
