"""Tissue against glass, at low resolution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.kernels.labels import large_islands
from pdl1quant.model import TissueGround

if TYPE_CHECKING:
    from pdl1quant.config import TissueConfig
    from pdl1quant.model import BoolArray, Int32Array, StainEstimate, Tile, UInt8Array

STEP_UM = 4.0
"""Tissue is outlined on a grid this coarse; half a nucleus."""
SIGMAS = 4
"""How far OpenCV smooths, in standard deviations."""
STRIP_PX = 256
"""Rows that are worked on at a time: a whole slide is large."""


def find_tissue(tile: Tile, estimate: StainEstimate, *, config: TissueConfig) -> BoolArray:
    """Where a tile holds tissue: (rows, columns) bool on a grid of ``STEP_UM``; see `tissue_area_um2`.

    A place is tissue when its smoothed mean OD against the white level reaches ``min_od``, in islands of at least
    ``min_area_um2``. Pale stroma and mucin are tissue; a lumen is not.
    """
    height, width = tile.rgb.shape[:2]
    step = STEP_UM / tile.mpp
    size = (max(1, round(width / step)), max(1, round(height / step)))
    rgb = np.asarray(cv2.resize(tile.rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    found = _is_stained(rgb, estimate, config)
    min_area_um2 = min(config.min_area_um2, found.size * STEP_UM**2 / 4)
    return large_islands(found, min_area_um2 / STEP_UM**2).view(np.bool_)


def _is_stained(rgb: UInt8Array, estimate: StainEstimate, config: TissueConfig) -> UInt8Array:
    """(H, W) uint8: 1 where the smoothed mean OD of the channels against the white level is that of tissue."""
    found = np.empty(rgb.shape[:2], np.uint8)
    white = np.asarray(estimate.white, np.float32)
    sigma = config.smoothing_um / STEP_UM
    around = math.ceil(SIGMAS * sigma) + 1
    for top in range(0, len(rgb), STRIP_PX):
        first = max(0, top - around)
        strip = rgb[first : top + STRIP_PX + around].astype(np.float32)
        od = -np.log10(np.maximum(strip, 1) / white).mean(axis=2, dtype=np.float32)
        smooth = np.asarray(cv2.GaussianBlur(od, (0, 0), sigma))
        found[top : top + STRIP_PX] = smooth[top - first : top - first + STRIP_PX] >= config.min_od
    return found


def places_in_mask(first: int, end: int, *, side_px: int, n_places: int) -> Int32Array:
    """(end - first,) the place of a mask in which the centre of each of these pixels lies.

    Along a side of ``side_px`` pixels, which ``n_places`` places cover evenly. By whole numbers alone: it does not
    depend on the tile in which a pixel is met.
    """
    centre = 2 * np.arange(first, end, dtype=np.int64) + 1
    return (centre * n_places // (2 * side_px)).astype(np.int32)


def ground_of(tissue: BoolArray, tile: Tile) -> TissueGround:
    """Which pixels of a whole image are tissue, from `find_tissue`."""
    (height, width), (rows, columns) = tile.rgb.shape[:2], tissue.shape
    return TissueGround(
        tissue=tissue,
        row=places_in_mask(0, height, side_px=height, n_places=rows),
        column=places_in_mask(0, width, side_px=width, n_places=columns),
        lost=np.zeros((0, 4), np.int32),
    )


def tissue_area_um2(tissue: BoolArray, tile: Tile) -> float:
    """Area of the tissue in um2."""
    height, width = tile.rgb.shape[:2]
    return float(tissue.mean() * height * width * tile.mpp**2)
