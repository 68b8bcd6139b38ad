"""From a height map to labelled objects: watershed by steepest ascent, halves joined, ellipses.

Shared by whatever finds nuclei, be it rules or a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels import ascent
from pdl1quant.kernels.labels import contacts, groups_of, raw_moments

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Float64Array, Int32Array

MIN_MERGED_REGULARITY = 0.95
"""Two pieces that fill the ellipse of their common moments to this share are one nucleus."""
MIN_SADDLE = 0.7
"""Saddle between two pieces, as a share of the lower peak, from which they may be one nucleus."""
MAX_ELONGATION = 3.0
"""Longer merged objects are rows of nuclei."""
MERGE_ROUNDS = 2
MAX_LEVEL = 9e5
"""Heights are quantised to so many steps up to the highest possible one: the highest of a tile would make pieces depend
on the tile."""
TAKE_IN_ROUNDS = 8
"""A stretch of basins without a seed is taken in this far; more is no cell."""


def climb(landscape: Float32Array, *, top: float, min_distance_px: float) -> tuple[Int32Array, int]:
    """Send each pixel of the domain (``landscape`` > 0) uphill: the watershed by steepest ascent.

    Returns the pieces, (H, W) int32 with labels 1..n, and n. A summit with a higher pixel within ``min_distance_px``,
    to which pixels of the domain lead within that distance, is no piece of its own. ``top`` is the highest possible
    height. Ties are broken by the place of a pixel in a grid of 3 x 3 from the map's corner.
    """
    landscape = np.ascontiguousarray(landscape)
    target, summits = ascent.uphill(landscape, _scale(top))
    target[summits] = ascent.higher_within(summits, landscape, _scale(top), max(1, round(min_distance_px)))
    summits = summits[target[summits] == summits]
    ascent.follow(target, summits)
    return target.reshape(landscape.shape), len(summits)


def share_out(
    landscape: Float32Array, seeds: Int32Array, *, top: float, max_barrier: float
) -> tuple[Int32Array, Int32Array]:
    """Share the domain (``landscape`` > 0) out among labelled seeds: each pixel goes uphill to one.

    A basin that ends short of all seeds goes to the neighbour across the lowest barrier, if that is not higher than
    ``max_barrier`` above its own summit; else it has no seed. Seeds must be higher than what surrounds them; ``top`` is
    the highest possible height.

    Returns the pieces (H, W), 1..n, and the seed of each piece (n + 1,); 0 is none.
    """
    landscape = np.ascontiguousarray(landscape)
    target, summits, first = ascent.uphill_to_seeds(landscape, _scale(top), seeds, int(seeds.max(initial=0)))
    ascent.follow(target, summits)
    label = np.zeros(len(summits) + 1, np.int32)
    seen = np.flatnonzero(first >= 0)
    label[target[first[seen]]] = seen
    pieces = target.reshape(landscape.shape)
    if np.count_nonzero(label) < len(summits):
        _take_in(label, pieces, landscape, max_barrier=max_barrier)
    return pieces, label


def _scale(top: float) -> np.float32:
    """Steps per unit of height."""
    return np.float32(MAX_LEVEL / top)


def _take_in(label: Int32Array, pieces: Int32Array, landscape: Float32Array, *, max_barrier: float) -> None:
    """Give basins without a label that of their best neighbour, in place, from the labelled ones outwards."""
    border = _borders(pieces, landscape, label == 0)
    pairs = np.concatenate([[border.first, border.second], [border.second, border.first]], axis=1)
    saddles = np.concatenate([border.saddle, border.saddle])
    order = np.argsort(saddles, kind="stable")
    (basin, other), saddles = pairs[:, order], saddles[order]
    low = border.peak[basin] - saddles <= max_barrier
    for _ in range(TAKE_IN_ROUNDS):
        fits = low & (label[basin] == 0) & (label[other] > 0)
        if not fits.any():
            return
        label[basin[fits]] = label[other[fits]]  # the last, so the best, neighbour wins


def join_halves(
    pieces: Int32Array, landscape: Float32Array, n: int, *, max_area_px: float
) -> tuple[Int32Array, Float64Array]:
    """Join neighbouring pieces that together make one ellipse, best pairs first.

    Returns the object (0..m-1) of each piece 1..n, with the background as object 0, and the objects' areas in px.
    """
    moments = raw_moments(pieces, n)
    border = borders(pieces, landscape, n)
    group = np.arange(n + 1, dtype=np.int32)
    for _ in range(MERGE_ROUNDS):
        first, second, peak = border.first, border.second, border.peak
        pair = ellipse_of(moments[first] + moments[second])
        depth = border.saddle / np.maximum(np.minimum(peak[first], peak[second]), 1e-6)
        fits = (pair.regularity >= MIN_MERGED_REGULARITY) & (depth >= MIN_SADDLE)
        fits &= (pair.area <= max_area_px) & (pair.length <= MAX_ELONGATION * pair.width)
        merged = _mutual_best(first[fits], second[fits], (pair.regularity + 0.2 * depth)[fits], len(peak))
        if merged is None:
            break
        n_new = int(merged.max()) + 1
        moments = np.stack([np.bincount(merged, column, n_new) for column in moments.T], axis=1)
        group, border = merged[group], _merged(border, merged, n_new)
    return group, moments[:, 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Borders:
    """Pairs of touching labels, ``first`` < ``second``, in order; ``saddle`` is the highest point of their border.

    ``peak`` (n + 1,) is the highest point of each label.
    """

    first: Int32Array
    second: Int32Array
    saddle: Float32Array
    peak: Float32Array


def borders(labels: Int32Array, landscape: Float32Array, n: int) -> Borders:
    """Which labels 1..n of an image share an edge of a pixel, and how high the landscape is there."""
    return _borders(labels, landscape, np.ones(n + 1, bool))


def _borders(labels: Int32Array, landscape: Float32Array, wanted: BoolArray) -> Borders:
    pairs, saddle, peak = contacts(labels, landscape, wanted)
    first, second = pairs[:, 0], pairs[:, 1]
    order = np.lexsort((second, first))
    return Borders(first=first[order], second=second[order], saddle=saddle[order], peak=peak)


def _merged(border: Borders, merged: Int32Array, n: int) -> Borders:
    """The borders and peaks of labels ``merged[old]``."""
    peak = np.zeros(n, np.float32)
    np.maximum.at(peak, merged, border.peak)
    a, b = merged[border.first], merged[border.second]
    apart = a != b
    code = np.minimum(a, b)[apart].astype(np.int64) * n + np.maximum(a, b)[apart]
    pairs, index = np.unique(code, return_inverse=True)
    saddle = np.full(len(pairs), -np.inf, np.float32)
    np.maximum.at(saddle, index, border.saddle[apart])
    first, second = (part.astype(np.int32) for part in np.divmod(pairs, n))
    return Borders(first=first, second=second, saddle=saddle, peak=peak)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipse:
    """Ellipses with the second moments of objects, each (n,) float64, lengths and areas in px.

    ``regularity`` is the area of the object as a share of the ellipse's: 1 for an ellipse, less for a ragged object.
    """

    x: Float64Array
    y: Float64Array
    area: Float64Array
    length: Float64Array
    width: Float64Array
    regularity: Float64Array


def ellipse_of(moments: Float64Array) -> Ellipse:
    """Ellipses from raw moments (n, 6); an object without pixels has zeros.

    Differences are taken of whole numbers, which are exact: an ellipse does not depend on where the origin lies.
    """
    area = moments[:, 0]
    n = np.maximum(area, 1)
    x, y, xx, yy, xy = moments[:, 1:].T
    var_x, var_y = ((n * squares - sums * sums) / (n * n) + 1 / 12 for squares, sums in ((xx, x), (yy, y)))
    cov = (n * xy - x * y) / (n * n)
    x, y = x / n, y / n
    root = np.sqrt(np.maximum(((var_x - var_y) / 2) ** 2 + cov * cov, 0))
    large, small = (var_x + var_y) / 2 + root, np.maximum((var_x + var_y) / 2 - root, 1e-3)
    full = 4 * np.pi * np.sqrt(large * small)
    return Ellipse(x=x, y=y, area=area, length=4 * np.sqrt(large), width=4 * np.sqrt(small), regularity=area / full)


def _mutual_best(first: Int32Array, second: Int32Array, score: Float64Array, n: int) -> Int32Array | None:
    """New numbers (n,), 0..m-1, in which each pair that is the best of both its members is one; None without any."""
    best = np.full(n, -np.inf)
    np.maximum.at(best, first, score)
    np.maximum.at(best, second, score)
    mutual = (score >= best[first]) & (score >= best[second])
    if not mutual.any():
        return None
    return groups_of(first[mutual], second[mutual], n)  # numbered by first member: the background stays 0
