"""Nucleus labels by rules: a stain signal, a threshold above the surroundings, a split at necks, a merge of halves.

The segmenter ``watershed``. Every step has bounded reach (holes and objects are capped, backgrounds are local), so
that the labels do not depend on where a tile ends, its halo apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.basins import climb, join_halves
from pdl1quant.kernels.labels import paint_runs, renumber, runs_of
from pdl1quant.kernels.stain import height_map, raise_in_holes, stands_out
from pdl1quant.model import (
    BoolArray,
    Float32Array,
    Segmentation,
    StainEstimate,
    StainOD,
    Tile,
    UInt8Array,
)
from pdl1quant.planes import like

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
MIN_HEIGHT = 1e-3
"""Lowest height inside the foreground."""
MAX_DEPTH_UM = 12.0
"""Farther from the edge nothing is deeper: no nucleus is that large, and a pixel need not know what lies beyond."""
TOP = (1 - CONTRAST_WEIGHT) * MAX_DEPTH_UM / DISTANCE_SCALE_UM + 2 * CONTRAST_WEIGHT
"""Highest possible height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """The local background of a tile, and at which row and column of it the part begins that is looked at."""

    background: Float32Array
    place: tuple[int, int]


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
        ``nuclei`` (H, W) int32 with labels exactly 1..n, of the tile's ``inner`` part; no cells, no scores.
    """
    signal = nucleus_signal(od, name=config.signal, mpp=tile.mpp)
    threshold = estimate.nucleus_od
    background = _local_background(signal, mpp=tile.mpp)
    around = Around(background=np.ascontiguousarray(background), place=tile.inner_place)
    signal = signal if tile.inner is None else tile.inner.of(signal)
    foreground = _foreground(signal, around, threshold=threshold, mpp=tile.mpp)
    if not foreground.any():
        return Segmentation(nuclei=np.zeros(foreground.shape, np.int32))
    landscape = _landscape(signal, around, foreground, threshold=threshold, mpp=tile.mpp)
    pieces, n_pieces = climb(landscape, top=TOP, min_distance_px=SEED_RADIUS_UM / tile.mpp)
    max_area_px = config.max_area_um2 / tile.mpp**2
    group, area = join_halves(pieces, landscape, n_pieces, max_area_px=max_area_px)
    keep = (area >= config.min_area_um2 / tile.mpp**2) & (area <= max_area_px)
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return Segmentation(nuclei=renumber(pieces, number[group]))


def stained_width_um(od: StainOD, *, estimate: StainEstimate, mpp: float) -> float | None:
    """Typical width (um) of the stained objects, whatever a segmenter makes of them; None where nothing, or all, is.

    In a disc the mean distance to the edge is a third of its radius; touching nuclei count as wider ones.
    """
    signal = _smooth(_clip(od.haematoxylin), sigma_px=FOREGROUND_SMOOTHING_UM / mpp)
    stained = like(signal, np.uint8)
    np.greater(signal, 0.8 * estimate.nucleus_od, out=stained.view(bool))
    stained = cv2.morphologyEx(stained, cv2.MORPH_OPEN, _disk(0.5 / mpp), dst=like(stained))
    if not stained.any() or stained.all():
        return None
    distance = cv2.distanceTransform(stained, cv2.DIST_L2, cv2.DIST_MASK_5, dst=signal)
    return float(6 * mpp * cv2.mean(distance, stained)[0])


def nucleus_signal(od: StainOD, *, name: str, mpp: float) -> Float32Array:
    """Where nuclei are: (H, W) float32, 0 to ``SIGNAL_CAP_OD``.

    ``haematoxylin``: the blue that brown does not feign, raised where it fills a hole in the brown. ``od_sum``: both
    stains, for markers that are brown in the nucleus.
    """
    if name == "od_sum":
        return _clip(od.haematoxylin + od.dab)
    around = _smooth_coarsely(od.dab, sigma_px=5.0 / mpp)
    levels = (np.float32(SIGNAL_CAP_OD), np.float32(HOLE_FLOOR_OD), np.float32(DAB_LEAK_OD), np.float32(DAB_LEAK))
    return raise_in_holes((od.haematoxylin, od.dab), np.ascontiguousarray(around), levels)


def _clip(signal: Float32Array) -> Float32Array:
    return np.clip(signal, np.float32(0), np.float32(SIGNAL_CAP_OD), out=like(signal))


def _smooth(image: Float32Array, *, sigma_px: float) -> Float32Array:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px, dst=like(image)), dtype=np.float32)


def _local_background(signal: Float32Array, *, mpp: float) -> Float32Array:
    return _smooth_coarsely(signal, sigma_px=BACKGROUND_UM / mpp)


def _smooth_coarsely(image: Float32Array, *, sigma_px: float) -> Float32Array:
    """Wide Gaussian smoothing by way of a coarser grid."""
    height, width = image.shape
    if min(height, width) < 2 * BACKGROUND_STEP:
        return _smooth(image, sigma_px=sigma_px)
    pad_y, pad_x = -height % BACKGROUND_STEP, -width % BACKGROUND_STEP
    padded = cv2.copyMakeBorder(image, 0, pad_y, 0, pad_x, cv2.BORDER_REPLICATE) if pad_y or pad_x else image
    size = (padded.shape[1] // BACKGROUND_STEP, padded.shape[0] // BACKGROUND_STEP)
    coarse = cv2.GaussianBlur(
        cv2.resize(padded, size, interpolation=cv2.INTER_AREA), (0, 0), sigma_px / BACKGROUND_STEP
    )
    fine = cv2.resize(coarse, padded.shape[::-1], dst=like(padded), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine[:height, :width])


def _foreground(signal: Float32Array, around: Around, *, threshold: float, mpp: float) -> BoolArray:
    smooth = _smooth(signal, sigma_px=FOREGROUND_SMOOTHING_UM / mpp)
    contrast, least = np.float32(LOCAL_CONTRAST * threshold), np.float32(THRESHOLD_SHARE * threshold)
    found = stands_out(smooth, around.background, around.place, contrast=contrast, least=least)
    found = np.asarray(cv2.morphologyEx(found, cv2.MORPH_OPEN, _disk(0.5 / mpp), dst=like(found)), dtype=np.uint8)
    return _fill_small_holes(found, max_area_px=MAX_HOLE_UM2 / mpp**2)


def _fill_small_holes(mask: UInt8Array, *, max_area_px: float) -> BoolArray:
    """The mask without its holes up to an area; what touches the border of the image is no hole."""
    height, width = mask.shape
    outside = np.equal(mask, 0, out=like(mask, bool)).view(np.uint8)
    rows, starts, stops, hole = runs_of(outside)
    area = np.bincount(hole, weights=stops - starts, minlength=len(rows))
    open_ended = (starts == 0) | (stops == width) | (rows == 0) | (rows == height - 1)
    small = area <= max_area_px
    small[hole[open_ended]] = False
    fill = small[hole]
    paint_runs(outside, (rows[fill], starts[fill], stops[fill]), 0)
    return np.asarray(np.equal(outside, 0, out=like(mask, bool)))


def _landscape(
    signal: Float32Array, around: Around, foreground: BoolArray, *, threshold: float, mpp: float
) -> Float32Array:
    """Height map that is high in the middle of a nucleus; 0 outside the foreground."""
    bits = foreground.view(np.uint8)
    distance = cv2.distanceTransform(bits, cv2.DIST_L2, cv2.DIST_MASK_5, dst=like(signal))
    depth = _smooth(np.minimum(distance, np.float32(MAX_DEPTH_UM / mpp), out=distance), sigma_px=0.5 / mpp)
    smooth = _smooth(signal, sigma_px=SEED_SMOOTHING_UM / mpp)
    weights = ((1 - CONTRAST_WEIGHT) * mpp / DISTANCE_SCALE_UM, CONTRAST_WEIGHT / threshold, 2 * CONTRAST_WEIGHT)
    scale = (np.float32(weights[0]), np.float32(weights[1]), np.float32(weights[2]), np.float32(MIN_HEIGHT))
    return height_map(depth, (smooth, around.background), around.place, foreground, scale)


def _disk(radius_px: float) -> UInt8Array:
    radius = max(1, round(radius_px))
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), dtype=np.uint8)
