"""Tissue against glass, at low resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from pdl1quant.config import TissueConfig
    from pdl1quant.model import BoolArray, Float32Array, StainEstimate, Tile, UInt8Array

STEP_UM = 4.0
"""Tissue is outlined on a grid this coarse; half a nucleus."""
STRIP_PX = 256
"""Rows that are worked on at a time."""


def find_tissue(tile: Tile, estimate: StainEstimate, *, config: TissueConfig) -> BoolArray:
    """Where a tile holds tissue: (rows, columns) bool on a grid of ``STEP_UM``; see `tissue_area_um2`.

    A place is tissue when its smoothed mean OD against the white level reaches ``min_od``, in islands of at least
    ``min_area_um2``. Pale stroma and mucin are tissue; a lumen is not.
    """
    height, width = tile.rgb.shape[:2]
    step = STEP_UM / tile.mpp
    size = (max(1, round(width / step)), max(1, round(height / step)))
    od = _mean_od(np.asarray(cv2.resize(tile.rgb, size, interpolation=cv2.INTER_AREA), np.uint8), estimate)
    smooth = cv2.GaussianBlur(od, (0, 0), config.smoothing_um / STEP_UM / 2)
    del od
    found = (smooth >= config.min_od).astype(np.uint8)
    del smooth
    _, labels, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] * STEP_UM**2 >= min(config.min_area_um2, found.size * STEP_UM**2 / 4)
    large[0] = False
    return np.asarray(large[labels])


def _mean_od(rgb: UInt8Array, estimate: StainEstimate) -> Float32Array:
    """(H, W) float32: mean OD of the channels against the white level; in strips, for a whole slide is large."""
    od = np.empty(rgb.shape[:2], np.float32)
    white = np.asarray(estimate.white, np.float32)
    for top in range(0, len(rgb), STRIP_PX):
        strip = rgb[top : top + STRIP_PX].astype(np.float32)
        od[top : top + STRIP_PX] = -np.log10(np.maximum(strip, 1) / white).mean(axis=2, dtype=np.float32)
    return od


def tissue_area_um2(tissue: BoolArray, tile: Tile) -> float:
    """Area of the tissue in um2."""
    height, width = tile.rgb.shape[:2]
    return float(tissue.mean() * height * width * tile.mpp**2)
