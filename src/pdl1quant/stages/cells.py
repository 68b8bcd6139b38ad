"""From nuclei to cells: growth to the neighbour or a stated reach, then disjoint nucleus, cytoplasm and membrane.

Each pixel joins the nearest nucleus (exact labels of OpenCV's distance transform). Membrane and cytoplasm are
measured apart: a 1 um ring of OD 0.5 averages only 0.17 over everything outside the nucleus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.model import Compartments, Float32Array, Int32Array, Segmentation, StainOD

if TYPE_CHECKING:
    from pdl1quant.config import CellsConfig

SMALL_NUCLEUS_UM2 = 30.0
"""Nuclei below this are grown like lymphocytes (typical lymphocyte nucleus: 6 um across, 28 um2)."""


def grow_cells(seen: Segmentation, od: StainOD, *, mpp: float, config: CellsConfig) -> Compartments:
    """Give each nucleus its cell and split the cell into compartments.

    Parameters
    ----------
    seen
        Nuclei (H, W) int32, labels 1..n; cells, when the segmenter found them, are kept as they are.
    od
        Stain densities of the tile.
    mpp
        um per pixel.
    config
        Section ``cells`` of the settings.

    Returns
    -------
    Compartments
        Four (H, W) int32 label images; ``nucleus``, ``cytoplasm`` and ``membrane`` are disjoint and make up ``cell``.
        The membrane is the outermost band of the cell, ``membrane_width_um`` wide, outside the nucleus.
    """
    nucleus = seen.nuclei
    n = int(nucleus.max(initial=0))
    if n == 0:
        empty = np.zeros_like(nucleus)
        return Compartments(nucleus=nucleus, cell=empty, cytoplasm=empty, membrane=empty, n_cells=0)
    cell = seen.cells if seen.cells is not None else _grow(nucleus, n, mpp=mpp, config=config)
    band = _edge_band(cell, width_px=max(1, round(config.membrane_width_um / mpp)))
    outside = nucleus == 0
    membrane = np.where(band & outside, cell, 0)
    cytoplasm = np.where(~band & outside, cell, 0)
    return Compartments(nucleus=nucleus, cell=cell, cytoplasm=cytoplasm, membrane=membrane, n_cells=n)


def _grow(nucleus: Int32Array, n: int, *, mpp: float, config: CellsConfig) -> Int32Array:
    distance, nearest = cv2.distanceTransformWithLabels(
        (nucleus == 0).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    at = np.flatnonzero(nucleus)
    owner = np.zeros(int(nearest.max()) + 1, np.int32)
    owner[nearest.ravel()[at]] = nucleus.ravel()[at]
    reach = _reach_px(np.bincount(nucleus.ravel(), minlength=n + 1), mpp=mpp, config=config)
    grown = owner[nearest]
    return np.where(distance <= reach[grown], grown, 0).astype(np.int32, copy=False)


def _reach_px(area_px: np.ndarray, *, mpp: float, config: CellsConfig) -> Float32Array:
    """How far each label grows: lymphocyte-sized nuclei less."""
    small = area_px * mpp**2 < SMALL_NUCLEUS_UM2
    return (np.where(small, config.lymphocyte_growth_um, config.growth_um) / mpp).astype(np.float32)


def _edge_band(cell: Int32Array, *, width_px: int) -> np.ndarray:
    """Cell pixels closer than ``width_px`` to another cell or to no cell; the border of the image is no edge."""
    labels = cell.astype(np.float32)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width_px + 1, 2 * width_px + 1))
    lowest = cv2.erode(labels, around, borderType=cv2.BORDER_REPLICATE)
    highest = cv2.dilate(labels, around, borderType=cv2.BORDER_REPLICATE)
    return np.asarray((lowest != highest) & (cell > 0))
