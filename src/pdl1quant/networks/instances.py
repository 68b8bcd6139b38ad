"""From a tile to nuclei by way of whatever labels an image: resampled, in windows, numbered, within the area limits.

For models that give labels, and not maps: libraries of others, and ONNX models that know nuclei alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.model import Int32Array, Segmentation, UInt8Array

if TYPE_CHECKING:
    from pdl1quant.config import NucleiConfig
    from pdl1quant.model import Float32Array, Tile

Finder = Callable[[UInt8Array], Int32Array]
"""Takes (h, w, 3) uint8 and returns (h, w) labels: any number for a nucleus, 0 or less around them."""
SAME_MPP = 0.05
"""Relative difference of pixel sizes up to which the tile is not resampled."""
MIN_SIDE_PX = 64
"""Smaller images are padded: networks with several strides cannot read them."""
WINDOW_PX = 2048
"""Larger images are read in windows of this side, for memory ..."""
MARGIN_UM = 32.0
"""... that see so much of their neighbours: a large nucleus and what a network looks at around it."""
MIN_SPAN = 64.0
"""Levels that are stretched to 0-1 at least: in an empty field, noise must not become tissue."""


def find_on_tile(tile: Tile, find: Finder, *, mpp: float, config: NucleiConfig, multiple_px: int = 1) -> Segmentation:
    """Label the nuclei of a tile by ``find``.

    Parameters
    ----------
    tile
        At any pixel size.
    find
        Is given pixels at ``mpp``; sides are at least ``MIN_SIDE_PX`` and multiples of ``multiple_px``.
    mpp
        um per pixel that ``find`` reads.
    config
        Section ``nuclei``: the smallest and largest nucleus.
    multiple_px
        See ``find``.

    Returns
    -------
    Segmentation
        ``nuclei`` (H, W) int32 on the tile's grid, labels exactly 1..n; no cells, no scores.
    """
    height, width = tile.rgb.shape[:2]
    ratio = tile.mpp / mpp
    rgb = tile.rgb
    if abs(ratio - 1) > SAME_MPP:
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC))
    labels = _in_windows(rgb, find, margin_px=round(MARGIN_UM / mpp), multiple_px=multiple_px)
    if labels.shape != (height, width):
        rows, columns = (
            ((np.arange(n) + 0.5) * found / n).astype(np.intp)
            for n, found in zip((height, width), labels.shape, strict=True)
        )
        labels = labels[rows[:, None], columns]
    return Segmentation(nuclei=_within_limits(labels, mpp=tile.mpp, config=config))


def stretched(rgb: UInt8Array, *, low: float, high: float, by_channel: bool) -> Float32Array:
    """Levels as float32, 0 at the ``low`` percentile and 1 at the ``high`` one, but never less than ``MIN_SPAN`` apart.

    Parameters
    ----------
    rgb
        (h, w, 3) uint8.
    low, high
        Percentiles, 0 to 100.
    by_channel
        Whether each channel has percentiles of its own.
    """
    bottom, top = np.percentile(rgb, (low, high), axis=(0, 1) if by_channel else None)
    bottom = np.minimum(bottom, top - MIN_SPAN)
    return np.asarray((rgb.astype(np.float32) - np.float32(bottom)) / np.float32(top - bottom), dtype=np.float32)


def _in_windows(rgb: UInt8Array, find: Finder, *, margin_px: int, multiple_px: int) -> Int32Array:
    """Labels 1..n of an image; an object belongs to the window whose core holds its centre."""
    height, width = rgb.shape[:2]
    if max(height, width) <= WINDOW_PX + 2 * margin_px:
        return _found(rgb, find, multiple_px=multiple_px)[0]
    labels, n = np.zeros((height, width), np.int32), 0
    for y in range(0, height, WINDOW_PX):
        for x in range(0, width, WINDOW_PX):
            y0, x0 = max(0, y - margin_px), max(0, x - margin_px)
            view = np.s_[y0 : y + WINDOW_PX + margin_px, x0 : x + WINDOW_PX + margin_px]
            found, n_found = _found(rgb[view], find, multiple_px=multiple_px)
            rows, columns = np.nonzero(found)
            label = found[rows, columns]
            area = np.maximum(np.bincount(label, minlength=n_found + 1), 1)
            centre_y = np.bincount(label, weights=rows, minlength=n_found + 1) / area + y0
            centre_x = np.bincount(label, weights=columns, minlength=n_found + 1) / area + x0
            mine = (centre_y >= y) & (centre_y < y + WINDOW_PX) & (centre_x >= x) & (centre_x < x + WINDOW_PX)
            number = np.where(mine, n + np.arange(n_found + 1), 0).astype(np.int32)
            number[0] = 0
            part = labels[view]
            labels[view] = np.where(part > 0, part, number[found])
            n += n_found
    return labels


def _found(rgb: UInt8Array, find: Finder, *, multiple_px: int) -> tuple[Int32Array, int]:
    """Labels 0..n of one window, and n."""
    height, width = rgb.shape[:2]
    bottom, right = (max(0, MIN_SIDE_PX - side) for side in (height, width))
    bottom, right = bottom + -(height + bottom) % multiple_px, right + -(width + right) % multiple_px
    padded = cv2.copyMakeBorder(rgb, 0, bottom, 0, right, cv2.BORDER_REFLECT)
    found = np.asarray(find(np.ascontiguousarray(padded, dtype=np.uint8)))
    assert found.shape == padded.shape[:2]
    values, numbers = np.unique(np.maximum(found[:height, :width], 0), return_inverse=True)
    first = 0 if values[0] == 0 else 1
    return (numbers.reshape(height, width) + first).astype(np.int32), len(values) - 1 + first


def _within_limits(labels: Int32Array, *, mpp: float, config: NucleiConfig) -> Int32Array:
    """Labels anew, 1..n, without nuclei outside the area limits."""
    area_um2 = np.bincount(labels.ravel()) * mpp**2
    keep = (area_um2 >= config.min_area_um2) & (area_um2 <= config.max_area_um2)
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]
