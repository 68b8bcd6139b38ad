"""From a height map to labelled objects: watershed by steepest ascent, halves joined, moments; no loop per object.

Shared by whatever finds nuclei, be it rules or a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, Float64Array, Int32Array, IntpArray

MIN_MERGED_REGULARITY = 0.95
"""Two pieces that fill the ellipse of their common moments to this share are one nucleus."""
MIN_SADDLE = 0.7
"""Saddle between two pieces, as a share of the lower peak, from which they may be one nucleus."""
MAX_ELONGATION = 3.0
"""Longer merged objects are rows of nuclei."""
MERGE_ROUNDS = 2
MAX_LEVEL = 9e5
"""Heights are quantised to so many steps, so that nine times as many, and halves of them, stay exact in float32."""
TAKE_IN_ROUNDS = 8
"""A stretch of basins without a seed is taken in this far; more is no cell."""


def climb(landscape: Float32Array, *, min_distance_px: float) -> tuple[IntpArray, Int32Array, int]:
    """Send each foreground pixel uphill: the watershed by steepest ascent.

    Returns the flat index of the foreground pixels, the piece (1..n) of each, and n. A summit with a higher one within
    ``min_distance_px`` in the same object is no nucleus of its own.
    """
    inside, uphill, key = _uphill(landscape)
    number = np.empty(landscape.size, np.intp)
    number[inside] = np.arange(len(inside))
    summit = np.flatnonzero(uphill == np.arange(len(inside)))
    uphill[summit] = number[_higher_summit(key, inside[summit], radius_px=max(1, round(min_distance_px)))]
    piece, n = _pieces(uphill)
    return inside, piece, n


def flood(landscape: Float32Array, seeds: Int32Array, *, max_barrier: float) -> Int32Array:
    """Share the domain (``landscape`` > 0) out among labelled seeds: each pixel goes uphill to one.

    A basin that ends short of all seeds goes to the neighbour across the lowest barrier, if that is not higher than
    ``max_barrier`` above its own summit; else its pixels are 0. Seeds must be higher than what surrounds them.
    """
    inside, uphill, _ = _uphill(landscape)
    seed = seeds.ravel().take(inside)
    at_seed = np.flatnonzero(seed)
    first = np.zeros(int(seeds.max()) + 1, np.intp)
    first[seed[at_seed[::-1]]] = at_seed[::-1]
    uphill[at_seed] = first.take(seed[at_seed])
    piece, n = _pieces(uphill)
    label = np.zeros(n + 1, np.int32)
    label[piece[at_seed]] = seed[at_seed]
    if np.count_nonzero(label) < n:
        _take_in(label, piece, inside, landscape, max_barrier=max_barrier)
    shared = np.zeros(landscape.size, np.int32)
    shared[inside] = label.take(piece)
    return shared.reshape(landscape.shape)


def _take_in(
    label: Int32Array, piece: Int32Array, inside: IntpArray, landscape: Float32Array, *, max_barrier: float
) -> None:
    """Give basins without a label that of their best neighbour, in place, from the labelled ones outwards."""
    n = len(label) - 1
    pieces = np.zeros(landscape.size, np.int32)
    pieces[inside] = piece
    summit = np.zeros(n + 1, np.float32)
    np.maximum.at(summit, piece, landscape.ravel()[inside])
    first, second, saddle = _borders(pieces.reshape(landscape.shape), landscape, n)
    pairs = np.concatenate([np.stack([first, second]), np.stack([second, first])], axis=1)
    saddles = np.concatenate([saddle, saddle])
    order = np.argsort(saddles, kind="stable")
    (basin, other), saddles = pairs[:, order], saddles[order]
    low = summit[basin] - saddles <= max_barrier
    for _ in range(TAKE_IN_ROUNDS):
        fits = low & (label[basin] == 0) & (label[other] > 0)
        if not fits.any():
            return
        label[basin[fits]] = label[other[fits]]  # the last, so the best, neighbour wins


def _uphill(landscape: Float32Array) -> tuple[IntpArray, IntpArray, Float32Array]:
    """Flat index of each pixel of the domain, the number of its highest neighbour, and the quantised heights."""
    height, width = landscape.shape
    key = landscape * np.float32(MAX_LEVEL / max(float(landscape.max(initial=0)), 1e-6))
    np.rint(key, out=key)
    key *= 9
    for row in range(3):
        key[row::3] += _CODES[row][np.arange(width) % 3]
    domain = landscape > 0
    np.putmask(key, ~domain, np.float32(-1))
    highest = np.asarray(
        cv2.dilate(key, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=-1), dtype=np.float32
    )
    inside = np.flatnonzero(domain)
    own, target = (_last_digit(plane.ravel().take(inside)) for plane in (key, highest))
    step = (_STEP_Y * width + _STEP_X).ravel()
    there = inside + step.take(own * 9 + target)
    number = np.empty(height * width, np.intp)
    number[inside] = np.arange(len(inside))
    return inside, number.take(there), key


def _last_digit(keys: Float32Array) -> IntpArray:
    """``keys % 9`` of whole numbers in float32; a third of the time of an integer division."""
    return np.asarray(keys - 9 * np.floor((keys + np.float32(0.5)) * np.float32(1 / 9)), dtype=np.intp)


def _pieces(uphill: IntpArray) -> tuple[Int32Array, int]:
    """The piece (1..n) of each pixel by its last stop, and n."""
    uphill = _follow(uphill)
    is_summit = np.zeros(len(uphill), bool)
    is_summit[uphill] = True
    piece = np.cumsum(is_summit, dtype=np.int32)
    return piece.take(uphill), int(piece[-1]) if len(piece) else 0


_CODES = np.arange(9, dtype=np.float32).reshape(3, 3)
"""Place of a pixel in its 3 x 3 cell of the grid: unique in every 3 x 3 window, so that the maximum of a window, with
the code as its last digit, tells where the maximum lies."""
_ROWS, _COLUMNS = np.divmod(np.arange(9), 3)
_STEP_Y = (_ROWS[None, :] - _ROWS[:, None] + 1) % 3 - 1
_STEP_X = (_COLUMNS[None, :] - _COLUMNS[:, None] + 1) % 3 - 1


def _higher_summit(key: Float32Array, summit: IntpArray, *, radius_px: int) -> IntpArray:
    """Flat index of the highest pixel within the radius that belongs to the same object."""
    height, width = key.shape
    _, objects = cv2.connectedComponents((key >= 0).view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    y, x = np.divmod(summit, width)
    own = objects.ravel()[summit]
    best, target = key.ravel()[summit].copy(), summit.copy()
    for dy in range(-radius_px, radius_px + 1):
        for dx in range(-radius_px, radius_px + 1):
            if dy * dy + dx * dx > radius_px * radius_px:
                continue
            there = np.clip(y + dy, 0, height - 1) * width + np.clip(x + dx, 0, width - 1)
            level = key.ravel()[there]
            higher = ((level > best) | ((level == best) & (there > target))) & (objects.ravel()[there] == own)
            best = np.where(higher, level, best)
            target = np.where(higher, there, target)
    return target


def _follow(uphill: IntpArray) -> IntpArray:
    """Each pixel's last stop, by doubling the stride until nothing moves; 2**32 steps at most."""
    for _ in range(32):
        farther = uphill.take(uphill)
        if np.array_equal(farther, uphill):
            break
        uphill = farther
    return uphill


def join_halves(
    owner: Int32Array, inside: IntpArray, landscape: Float32Array, n: int, *, max_area_px: float
) -> tuple[Int32Array, Float64Array]:
    """Join neighbouring pieces that together make one ellipse, best pairs first.

    Returns the object (0..m-1) of each piece 1..n, with the background as object 0, and the objects' areas in px.
    """
    moments = raw_moments(owner, inside, landscape.shape[1], n)
    peak = np.zeros(n + 1, np.float32)
    np.maximum.at(peak, owner, landscape.ravel()[inside])
    labels = np.zeros(landscape.size, np.int32)
    labels[inside] = owner
    first, second, saddle = _borders(labels.reshape(landscape.shape), landscape, n)
    group = np.arange(n + 1, dtype=np.int32)
    for _ in range(MERGE_ROUNDS):
        pair = ellipse_of(moments[first] + moments[second])
        depth = saddle / np.maximum(np.minimum(peak[first], peak[second]), 1e-6)
        fits = (pair.regularity >= MIN_MERGED_REGULARITY) & (depth >= MIN_SADDLE)
        fits &= (pair.area <= max_area_px) & (pair.length <= MAX_ELONGATION * pair.width)
        merged = _mutual_best(first[fits], second[fits], (pair.regularity + 0.2 * depth)[fits], len(peak))
        if merged is None:
            break
        n_new = int(merged.max()) + 1
        moments = np.stack([np.bincount(merged, column, n_new) for column in moments.T], axis=1)
        higher = np.zeros(n_new, np.float32)
        np.maximum.at(higher, merged, peak)
        first, second, saddle = _unique_pairs(merged[first], merged[second], saddle, n_new)
        group, peak = merged[group], higher
    return group, moments[:, 0]


def _borders(labels: Int32Array, landscape: Float32Array, n: int) -> tuple[IntpArray, IntpArray, Float32Array]:
    """Pairs of touching labels (first < second) and the highest point of their border."""
    first, second, saddle = [], [], []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        a, b = labels[one], labels[other]
        at = np.nonzero((a != b) & (a > 0) & (b > 0))
        first.append(a[at])
        second.append(b[at])
        saddle.append(np.minimum(landscape[one][at], landscape[other][at]))
    return _unique_pairs(np.concatenate(first), np.concatenate(second), np.concatenate(saddle), n + 1)


def _unique_pairs(
    a: Int32Array, b: Int32Array, saddle: Float32Array, n: int
) -> tuple[IntpArray, IntpArray, Float32Array]:
    apart = a != b
    code = np.minimum(a, b)[apart].astype(np.int64) * n + np.maximum(a, b)[apart]
    pairs, index = np.unique(code, return_inverse=True)
    highest = np.full(len(pairs), -np.inf, np.float32)
    np.maximum.at(highest, index, saddle[apart])
    return pairs // n, pairs % n, highest


def raw_moments(owner: Int32Array, inside: IntpArray, width: int, n: int) -> Float64Array:
    """(n + 1, 6) raw moments 1, x, y, xx, yy, xy of labels 0..n; ``owner`` labels the flat indices ``inside``."""
    y, x = np.divmod(inside, width)
    x_f, y_f = x.astype(np.float64), y.astype(np.float64)
    weights = (None, x_f, y_f, x_f * x_f, y_f * y_f, x_f * y_f)
    return np.stack([np.bincount(owner, weights=w, minlength=n + 1) for w in weights], axis=1)


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
    """Ellipses from raw moments (n, 6); an object without pixels has zeros."""
    area = moments[:, 0]
    x, y, xx, yy, xy = (moments[:, 1:] / np.maximum(area, 1)[:, None]).T
    var_x, var_y, cov = xx - x * x + 1 / 12, yy - y * y + 1 / 12, xy - x * y
    root = np.sqrt(np.maximum(((var_x - var_y) / 2) ** 2 + cov * cov, 0))
    large, small = (var_x + var_y) / 2 + root, np.maximum((var_x + var_y) / 2 - root, 1e-3)
    full = 4 * np.pi * np.sqrt(large * small)
    return Ellipse(x=x, y=y, area=area, length=4 * np.sqrt(large), width=4 * np.sqrt(small), regularity=area / full)


def _mutual_best(first: IntpArray, second: IntpArray, score: Float64Array, n: int) -> Int32Array | None:
    """New numbers (n,), 0..m-1, in which each pair that is the best of both its members is one; None without any."""
    best = np.full(n, -np.inf)
    np.maximum.at(best, first, score)
    np.maximum.at(best, second, score)
    mutual = (score >= best[first]) & (score >= best[second])
    if not mutual.any():
        return None
    pairs = coo_array((np.ones(int(mutual.sum())), (first[mutual], second[mutual])), shape=(n, n))
    _, group = connected_components(pairs, directed=False)
    return np.asarray(group, dtype=np.int32)  # components are numbered by their first member: background stays 0
