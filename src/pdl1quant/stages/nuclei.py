"""Nucleus labels by rules: a stain signal, a threshold above the surroundings, a split at necks, a merge of halves.

The segmenter ``watershed``. Every step has bounded reach (holes and objects are capped, backgrounds are local), so
that the labels do not depend on where a tile ends, its halo apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pdl1quant.model import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    IntpArray,
    Segmentation,
    StainEstimate,
    StainOD,
    Tile,
    UInt8Array,
)

if TYPE_CHECKING:
    from pdl1quant.config import NucleiConfig

SIGNAL_CAP_OD = 0.4
"""Above this OD a nucleus is a nucleus: the capped signal treats pale and dark ones alike."""
DAB_LEAK_OD = 0.5
"""From this DAB OD on, scatter and clipping make brown look neutral and leak into the haematoxylin channel."""
DAB_LEAK = 0.45
"""Share of the DAB OD above ``DAB_LEAK_OD`` that leaks; seen in strongly brown glands."""
HOLE_FLOOR_OD = 0.15
"""DAB around a nucleus that is needed before a hole in the brown says anything."""
FOREGROUND_SMOOTHING_UM = 0.75
"""Standard deviation of the smoothing before the threshold; half the grain of pale chromatin."""
SEED_SMOOTHING_UM = 1.0
"""The same for the split: chromatin must not make two nuclei of one."""
BACKGROUND_UM = 6.0
"""Standard deviation of the local background: about one nucleus diameter."""
BACKGROUND_STEP = 4
"""The background is smooth: it is computed on every fourth pixel of the grid."""
THRESHOLD_SHARE = 0.65
"""Share of the case's threshold that a pixel needs: Otsu lies half-way, the rim of a pale nucleus below that."""
LOCAL_CONTRAST = 0.05
"""How far above its background a nucleus lies, in units of the case's threshold."""
SEED_RADIUS_UM = 2.0
"""Two nuclei have centres at least this far apart."""
CONTRAST_WEIGHT = 0.25
"""Share of the stain contrast, against the distance to the edge, in what is split."""
DISTANCE_SCALE_UM = 2.5
"""Distance to the edge that weighs as much as a contrast of one threshold."""
MAX_HOLE_UM2 = 25.0
"""Larger holes are background: lumen, vacuole."""
MIN_MERGED_REGULARITY = 0.95
"""Two pieces that fill the ellipse of their common moments to this share are one nucleus."""
MIN_SADDLE = 0.7
"""Saddle between two pieces, as a share of the lower peak, from which they may be one nucleus."""
MAX_ELONGATION = 3.0
"""Longer merged objects are rows of nuclei."""
MERGE_ROUNDS = 2
MIN_HEIGHT = 1e-3
"""Lowest height inside the foreground."""
HEIGHT_LEVELS = 1e5
"""Steps per unit of height: fine enough that no two heights that differ are taken for a plateau."""


def segment_nuclei(tile: Tile, od: StainOD, *, estimate: StainEstimate, config: NucleiConfig) -> Segmentation:
    """Label the nuclei of one tile.

    Parameters
    ----------
    tile
        At the working resolution; its ``mpp`` turns the lengths here into pixels.
    od
        Stain densities of the tile.
    estimate
        Supplies ``nucleus_od``, the case's threshold between nuclei and background.
    config
        Section ``nuclei`` of the settings.

    Returns
    -------
    Segmentation
        ``nuclei`` (H, W) int32 with labels exactly 1..n; no cells, no scores.
    """
    signal = nucleus_signal(od, name=config.signal, mpp=tile.mpp)
    threshold = estimate.nucleus_od
    background = _local_background(signal, mpp=tile.mpp)
    foreground = _foreground(signal, background, threshold=threshold, mpp=tile.mpp)
    if not foreground.any():
        return Segmentation(nuclei=np.zeros(foreground.shape, np.int32))
    landscape = _landscape(signal, background, foreground, threshold=threshold, mpp=tile.mpp)
    inside, piece, n_pieces = _climb(landscape, mpp=tile.mpp)
    max_area_px = config.max_area_um2 / tile.mpp**2
    group, area = _join_halves(piece, inside, landscape, n_pieces, max_area_px=max_area_px)
    keep = (area >= config.min_area_um2 / tile.mpp**2) & (area <= max_area_px)
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    nuclei = np.zeros(foreground.size, np.int32)
    nuclei[inside] = number[group][piece]
    return Segmentation(nuclei=nuclei.reshape(foreground.shape))


def nucleus_signal(od: StainOD, *, name: str, mpp: float) -> Float32Array:
    """Where nuclei are: (H, W) float32, 0 to ``SIGNAL_CAP_OD``.

    ``haematoxylin``: the blue that brown does not feign, raised where it fills a hole in the brown. ``od_sum``: both
    stains, for markers that are brown in the nucleus.
    """
    if name == "od_sum":
        return _clip(od.haematoxylin + od.dab)
    blue = np.clip(od.haematoxylin, 0, SIGNAL_CAP_OD)
    if not np.any(od.dab > HOLE_FLOOR_OD):
        return blue
    around = _smooth_coarsely(od.dab, sigma_px=5.0 / mpp)
    hole = np.clip((around - od.dab) / (np.maximum(around, 0) + HOLE_FLOOR_OD), 0, 1)
    leak = DAB_LEAK * np.maximum(od.dab - DAB_LEAK_OD, 0)
    return _clip(blue * (1 + hole) - leak)


def _clip(signal: Float32Array) -> Float32Array:
    return np.clip(signal, 0, SIGNAL_CAP_OD).astype(np.float32, copy=False)


def _local_background(signal: Float32Array, *, mpp: float) -> Float32Array:
    return _smooth_coarsely(signal, sigma_px=BACKGROUND_UM / mpp)


def _smooth_coarsely(image: Float32Array, *, sigma_px: float) -> Float32Array:
    """Wide Gaussian smoothing by way of a coarser grid."""
    height, width = image.shape
    if min(height, width) < 2 * BACKGROUND_STEP:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px))
    pad_y, pad_x = -height % BACKGROUND_STEP, -width % BACKGROUND_STEP
    padded = cv2.copyMakeBorder(image, 0, pad_y, 0, pad_x, cv2.BORDER_REPLICATE) if pad_y or pad_x else image
    size = (padded.shape[1] // BACKGROUND_STEP, padded.shape[0] // BACKGROUND_STEP)
    coarse = cv2.GaussianBlur(
        cv2.resize(padded, size, interpolation=cv2.INTER_AREA), (0, 0), sigma_px / BACKGROUND_STEP
    )
    fine = cv2.resize(coarse, (padded.shape[1], padded.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine[:height, :width])


def _foreground(signal: Float32Array, background: Float32Array, *, threshold: float, mpp: float) -> BoolArray:
    smooth = cv2.GaussianBlur(signal, (0, 0), FOREGROUND_SMOOTHING_UM / mpp)
    needed = np.maximum(background + LOCAL_CONTRAST * threshold, THRESHOLD_SHARE * threshold)
    found = cv2.morphologyEx((smooth > needed).view(np.uint8), cv2.MORPH_OPEN, _disk(0.5 / mpp))
    return _fill_small_holes(found, max_area_px=MAX_HOLE_UM2 / mpp**2)


def _fill_small_holes(mask: UInt8Array, *, max_area_px: float) -> BoolArray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= max_area_px
    small[0] = False
    right, bottom = mask.shape[1], mask.shape[0]
    x, y = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    small &= (x > 0) & (y > 0)
    small &= (x + stats[:, cv2.CC_STAT_WIDTH] < right) & (y + stats[:, cv2.CC_STAT_HEIGHT] < bottom)
    return np.asarray(mask.astype(bool) | small[labels])


def _landscape(
    signal: Float32Array, background: Float32Array, foreground: BoolArray, *, threshold: float, mpp: float
) -> Float32Array:
    """Height map that is high in the middle of a nucleus; 0 outside the foreground."""
    distance = cv2.distanceTransform(foreground.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    depth = cv2.GaussianBlur(distance, (0, 0), 0.5 / mpp) * np.float32((1 - CONTRAST_WEIGHT) * mpp / DISTANCE_SCALE_UM)
    contrast = cv2.subtract(cv2.GaussianBlur(signal, (0, 0), SEED_SMOOTHING_UM / mpp), background)
    height = depth + np.minimum(contrast * np.float32(CONTRAST_WEIGHT / threshold), np.float32(2 * CONTRAST_WEIGHT))
    return np.maximum(height, MIN_HEIGHT) * foreground


def _climb(landscape: Float32Array, *, mpp: float) -> tuple[IntpArray, Int32Array, int]:
    """Send each foreground pixel uphill: the watershed by steepest ascent.

    Returns the flat index of the foreground pixels, the piece (1..n) of each, and n. A summit with a higher one within
    ``SEED_RADIUS_UM`` in the same object is no nucleus of its own.
    """
    height, width = landscape.shape
    code = _CODES[np.arange(height) % 3][:, np.arange(width) % 3]
    key = np.where(landscape > 0, np.rint(landscape * HEIGHT_LEVELS) * 9 + code, np.float32(-1)).astype(np.float32)
    highest = cv2.dilate(key, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=-1)
    inside = np.flatnonzero(key >= 0)
    target_code = highest.ravel()[inside].astype(np.int64) % 9
    step = (_STEP_Y * width + _STEP_X)[code.ravel()[inside].astype(np.intp), target_code]
    number = np.empty(height * width, np.int32)
    number[inside] = np.arange(len(inside), dtype=np.int32)
    uphill = number[inside + step]
    summit = np.flatnonzero(uphill == np.arange(len(inside)))
    uphill[summit] = number[_higher_summit(key, inside[summit], radius_px=max(1, round(SEED_RADIUS_UM / mpp)))]
    uphill = _follow(uphill)
    is_summit = np.zeros(len(inside), bool)
    is_summit[uphill] = True
    piece = np.cumsum(is_summit, dtype=np.int32)
    return inside, piece[uphill], int(piece[-1])


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
            higher = (key.ravel()[there] > best) & (objects.ravel()[there] == own)
            best = np.where(higher, key.ravel()[there], best)
            target = np.where(higher, there, target)
    return target


def _follow(uphill: Int32Array) -> Int32Array:
    """Each pixel's last stop, by doubling the stride until nothing moves."""
    while True:
        farther = uphill[uphill]
        if np.array_equal(farther, uphill):
            return uphill
        uphill = farther


def _join_halves(
    owner: Int32Array, inside: IntpArray, landscape: Float32Array, n: int, *, max_area_px: float
) -> tuple[Int32Array, Float64Array]:
    """Join neighbouring pieces that together make one ellipse, best pairs first.

    Returns the object (0..m-1) of each piece 1..n, with the background as object 0, and the objects' areas in px.
    """
    moments = _moments(owner, inside, landscape.shape[1], n)
    peak = np.zeros(n + 1, np.float32)
    np.maximum.at(peak, owner, landscape.ravel()[inside])
    labels = np.zeros(landscape.size, np.int32)
    labels[inside] = owner
    first, second, saddle = _borders(labels.reshape(landscape.shape), landscape, n)
    group = np.arange(n + 1, dtype=np.int32)
    for _ in range(MERGE_ROUNDS):
        regularity, elongation, area = _ellipse(*(moments[first] + moments[second]).T)
        depth = saddle / np.maximum(np.minimum(peak[first], peak[second]), MIN_HEIGHT)
        fits = (regularity >= MIN_MERGED_REGULARITY) & (depth >= MIN_SADDLE)
        fits &= (area <= max_area_px) & (elongation <= MAX_ELONGATION)
        merged = _mutual_best(first[fits], second[fits], (regularity + 0.2 * depth)[fits], len(peak))
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


def _moments(owner: Int32Array, inside: IntpArray, width: int, n: int) -> Float64Array:
    """(n + 1, 6) raw moments of each label: 1, x, y, xx, yy, xy."""
    y, x = np.divmod(inside, width)
    x_f, y_f = x.astype(np.float64), y.astype(np.float64)
    weights = (None, x_f, y_f, x_f * x_f, y_f * y_f, x_f * y_f)
    return np.stack([np.bincount(owner, weights=w, minlength=n + 1) for w in weights], axis=1)


def _ellipse(
    area: Float64Array, x: Float64Array, y: Float64Array, xx: Float64Array, yy: Float64Array, xy: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Regularity (area / area of the ellipse of equal second moments), elongation, and area in px."""
    cx, cy = x / area, y / area
    var_x, var_y, cov = xx / area - cx * cx + 1 / 12, yy / area - cy * cy + 1 / 12, xy / area - cx * cy
    root = np.sqrt(np.maximum(((var_x - var_y) / 2) ** 2 + cov * cov, 0))
    large, small = (var_x + var_y) / 2 + root, np.maximum((var_x + var_y) / 2 - root, 1e-3)
    return area / (4 * np.pi * np.sqrt(large * small)), np.sqrt(large / small), area


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


def _disk(radius_px: float) -> UInt8Array:
    radius = max(1, round(radius_px))
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), dtype=np.uint8)
