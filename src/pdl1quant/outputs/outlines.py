"""Label image -> one closed outline a label, along pixel edges; or with fewer corners, within half a pixel of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pdl1quant.kernels.outlines import Int64Array, count_edges, simplify_rings, trace_rings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pdl1quant.model import BoolArray, Float64Array, Int32Array


_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """Outlines of labels: corners from ``starts[i]`` to ``starts[i + 1]`` belong to ``labels[i]``.

    ``labels`` (n,) int32 ascending; ``starts`` (n + 1,) int64; ``x_px``, ``y_px`` int64: corners of pixels, so that
    pixel (0, 0) covers 0 to 1; clockwise on the screen, the first corner not repeated at the end. ``touches`` (n,)
    bool: whether an outline may touch itself by a corner.
    """

    labels: Int32Array
    starts: Int64Array
    x_px: Int64Array
    y_px: Int64Array
    touches: BoolArray


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
    (starts, x, y), (ring_labels, areas, touches) = trace_rings(framed, count_edges(framed))
    chosen = _largest(ring_labels, areas)
    lengths = np.diff(starts)[chosen]
    ends = np.cumsum(lengths)
    picked = np.arange(lengths.sum()) + np.repeat(starts[chosen] - (ends - lengths), lengths)
    return Outlines(
        labels=ring_labels[chosen],
        starts=np.append(0, ends),
        x_px=x[picked].astype(np.int64),
        y_px=y[picked].astype(np.int64),
        touches=touches[chosen],
    )


def _largest(ring_labels: Int32Array, areas: Int64Array) -> Int64Array:
    """Index of the largest ring of each label, by ascending label; the first of equal ones."""
    by_label = np.lexsort((np.arange(areas.size), -areas, ring_labels))
    is_first = np.diff(ring_labels[by_label], prepend=0) != 0
    largest: Int64Array = by_label[is_first]
    return largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Rings:
    """Corners of closed rings, in pixels from the corner of the first one; ``doubtful`` ones may touch themselves."""

    starts: Int64Array
    x_px: Float64Array
    y_px: Float64Array
    doubtful: BoolArray


def exact_rings(outlines: Outlines) -> Rings:
    """The outlines as they are."""
    return Rings(
        starts=outlines.starts,
        x_px=outlines.x_px.astype(np.float64),
        y_px=outlines.y_px.astype(np.float64),
        doubtful=outlines.touches,
    )


def simple_rings(outlines: Outlines) -> Rings:
    """The outlines with about a third of their corners.

    They run through the middles of pixel edges and leave none of these more than half a pixel aside, so that areas stay
    about the same. An outline that would touch or cross itself stays as it is.
    """
    starts, x, y, stayed = simplify_rings((outlines.starts, outlines.x_px, outlines.y_px))
    return Rings(starts=starts, x_px=x / 2, y_px=y / 2, doubtful=outlines.touches & stayed)


def split_rings(points: NDArray[_T], starts: NDArray[np.integer]) -> list[NDArray[_T]]:
    """The rows of each ring, from its start to the next (n + 1,); ``np.split`` takes ten times as long."""
    return [points[start:stop] for start, stop in itertools.pairwise(starts.tolist())]
