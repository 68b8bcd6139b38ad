"""From nuclei to cells: growth to the neighbour or a stated reach, then disjoint nucleus, cytoplasm and membrane.

Each pixel joins the nearest nucleus (exact labels of OpenCV's distance transform). Membrane and cytoplasm are
measured apart: a 1 um ring of OD 0.5 averages only 0.17 over everything outside the nucleus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.basins import share_out
from pdl1quant.kernels.ceding import cede_brown
from pdl1quant.kernels.extent import nearest_label, slopes, split_cells, take_nearest
from pdl1quant.kernels.labels import in_one_piece, label_areas
from pdl1quant.kernels.settling import settle
from pdl1quant.model import CellClass, Compartments, Float32Array, Int32Array, Segmentation, StainOD, UInt8Array
from pdl1quant.planes import like

if TYPE_CHECKING:
    from pdl1quant.config import CellsConfig

MEMBRANE_SMOOTHING_UM = 0.5
"""Standard deviation of the smoothing of DAB before it guides the growth."""
MIN_MEMBRANE_OD = 0.1
"""Where there is no DAB above this within reach, growth is by distance alone."""
MAX_MEMBRANE_OD = 1.5
"""Above this OD a membrane is a membrane."""
UM_PER_OD = 6.0
"""How many um of distance a membrane of OD 1 outweighs."""
MAX_BARRIER_UM = 0.75
"""Brown grain up to this height (as distance) inside a cell does not end it: OD 0.125."""
MAX_DETOUR = 2.0
"""A cell may follow a brown line into its neighbour's reach, up to this many times the growth from its nucleus."""
NEAR_UM = 1.0
"""Whatever lies this close to a nucleus belongs to its cell."""
TOP = 100.0
"""Height of a nucleus; above any cost."""
MIN_STEP_OD, PALE_SHARE = 0.5, 0.6
"""A cell is much browner than one that has so much less DAB outside its nucleus, and at most this share of it, ..."""
MACROPHAGE_STEP_OD = 0.2
"""... a macrophage from this step on. What is held for a lymphocyte takes nothing: it ends 2 um beyond its nucleus."""
MAX_SPILL_UM = 4.0
"""So deep may a pale cell have reached into a brown one."""
SMALL_NUCLEUS_UM2 = 30.0
"""Nuclei below this are grown like lymphocytes (typical lymphocyte nucleus: 6 um across, 28 um2)."""


def grow_cells(seen: Segmentation, od: StainOD, *, mpp: float, config: CellsConfig) -> Compartments:
    """Give each nucleus its cell and split the cell into compartments.

    Parameters
    ----------
    seen
        Nuclei (H, W) int32, labels 1..n; cells, when the segmenter found them, are kept but for their borders with
        much browner ones, which are moved to where the brown begins.
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
    if seen.cells is None:
        cell = _grow(nucleus, n, od.dab, mpp=mpp, config=config)
    else:
        cell = _without_spill(seen.cells, seen, od.dab, n, mpp=mpp)
    width_px = max(1, round(config.membrane_width_um / mpp))
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width_px + 1, 2 * width_px + 1))
    membrane, cytoplasm = split_cells(cell, nucleus, np.asarray(around, dtype=np.uint8))
    return Compartments(nucleus=nucleus, cell=cell, cytoplasm=cytoplasm, membrane=membrane, n_cells=n)


def _without_spill(cell: Int32Array, seen: Segmentation, dab: Float32Array, n: int, *, mpp: float) -> Int32Array:
    """Cells whose border with a much browner one lies where the brown begins."""
    step_od = np.full(n + 1, MIN_STEP_OD)
    step_od[seen.held_for(CellClass.MACROPHAGE, n)] = MACROPHAGE_STEP_OD
    step_od[seen.held_for(CellClass.LYMPHOCYTE, n)] = np.inf
    depth_px = round(MAX_SPILL_UM / mpp)
    dab = np.ascontiguousarray(dab)  # of a part of a tile
    ceded = cede_brown(cell, seen.nuclei, dab, step_od=step_od, pale_share=PALE_SHARE, depth_px=depth_px)
    return cell if ceded is cell else in_one_piece(ceded, seen.nuclei)


def _grow(nucleus: Int32Array, n: int, dab: Float32Array, *, mpp: float, config: CellsConfig) -> Int32Array:
    near = nearest_label(nucleus)
    reach_px = _reach_px(label_areas(nucleus, n), mpp=mpp, config=config)
    smooth = np.asarray(cv2.GaussianBlur(dab, (0, 0), MEMBRANE_SMOOTHING_UM / mpp, dst=like(dab)), dtype=np.float32)
    scale = (np.float32(TOP), np.float32(mpp), np.float32(MAX_MEMBRANE_OD), np.float32(UM_PER_OD))
    landscape = slopes(nucleus, near, reach_px, smooth, scale)
    near_brown = _near((smooth > MIN_MEMBRANE_OD).view(np.uint8), reach_px=config.growth_um / mpp)
    if not near_brown.any():
        return take_nearest(nucleus, near, reach_px, (landscape >= 0).view(np.uint8))
    shared = share_out(landscape, nucleus, top=TOP, max_barrier=MAX_BARRIER_UM)
    at_least_px = np.minimum(reach_px, np.float32(NEAR_UM / mpp))
    limits = at_least_px, np.float32(MAX_DETOUR * config.growth_um / mpp)
    return settle(shared, nucleus, near, (landscape, near_brown), limits)


def _near(mask: UInt8Array, *, reach_px: float) -> UInt8Array:
    """Within a square about any pixel of the mask."""
    side = 2 * int(np.ceil(reach_px)) + 1
    return np.asarray(cv2.dilate(mask, np.ones((side, side), np.uint8)), dtype=np.uint8)


def _reach_px(area_px: np.ndarray, *, mpp: float, config: CellsConfig) -> Float32Array:
    """How far each label grows: lymphocyte-sized nuclei less."""
    small = area_px * mpp**2 < SMALL_NUCLEUS_UM2
    return (np.where(small, config.lymphocyte_growth_um, config.growth_um) / mpp).astype(np.float32)
