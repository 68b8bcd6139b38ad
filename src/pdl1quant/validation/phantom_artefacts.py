"""What disturbs: pigment, specks, red cells, folds, places out of focus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.validation.phantom_kinds import Kind
from pdl1quant.validation.phantom_noise import NEVER, per_cell, smooth_noise, upper_share
from pdl1quant.validation.phantom_optics import blur

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Int32Array
    from pdl1quant.validation.phantom_settings import PhantomSettings
    from pdl1quant.validation.phantom_shapes import Shapes
    from pdl1quant.validation.phantom_zones import Zones

_BROWN_SHADOW_BLUR_UM = 2.2
_SMUDGED = (Kind.PALE_LYMPHOCYTE, Kind.MACROPHAGE)


def paint_pigment(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Float32Array:
    """OD (H, W) of neutral black granules, single and in heaps."""
    size, mpp = settings.size_px, settings.mpp
    if settings.pigment_share <= 0:
        return np.zeros((size, size), dtype=np.float32)
    where = 0.8 * smooth_noise(rng, size, 10 / mpp) + 0.8 * smooth_noise(rng, size, 60 / mpp)
    granule = smooth_noise(rng, size, 1.2 / mpp)
    where += 0.8 * granule
    where[zones.empty] = NEVER
    od = np.clip(1.0 + 0.5 * granule, 0.3, 2.0)
    return np.where(upper_share(where, settings.pigment_share), od, 0).astype(np.float32)


def paint_red_cells(
    settings: PhantomSettings, zones: Zones, rng: np.random.Generator, *, cell: Int32Array
) -> Float32Array:
    """DAB-like OD (H, W) of red cells in vessels, and between the cells in air spaces: pale tan discs of 6-7 um."""
    od = _red_cells(settings, zones.vessel, rng, share=settings.red_cell_share)
    if settings.bleeding_share <= 0 or not zones.air.any():
        return od
    n, spaces = cv2.connectedComponents(zones.air.astype(np.uint8))
    full = np.concatenate([[False], rng.random(n - 1) < settings.bleeding_share])[spaces]
    return od + _red_cells(settings, np.asarray(full & (cell == 0)), rng, share=float(rng.uniform(0.3, 1.5)))


def _red_cells(settings: PhantomSettings, where: BoolArray, rng: np.random.Generator, *, share: float) -> Float32Array:
    """They lie anyhow, some over others; ``share`` of the area were they apart."""
    size, mpp = settings.size_px, settings.mpp
    od = np.zeros((size, size), dtype=np.float32)
    n = round(share * float(where.mean()) * (size * mpp) ** 2 / 34)
    rows, cols = np.nonzero(where)
    if n == 0 or not len(rows):
        return od
    for k in rng.integers(0, len(rows), n):
        radius = rng.uniform(2.6, 3.5) / mpp
        shape = ((float(cols[k]), float(rows[k])), (2 * radius, 2 * radius * rng.uniform(0.7, 1)), rng.uniform(0, 180))
        cv2.ellipse(od, shape, float(rng.uniform(0.05, 0.13)), -1)
    return np.where(where, od, 0).astype(np.float32)


def paint_debris(settings: PhantomSettings, rng: np.random.Generator) -> Float32Array:
    """OD (H, W) of dark specks that lie above the section, out of focus."""
    size, mpp = settings.size_px, settings.mpp
    od = np.zeros((size, size), dtype=np.float32)
    for _ in range(settings.n_debris):
        x, y = rng.uniform(0, size, 2)
        axes = rng.uniform(0.8, 3.5, 2) * 2 / mpp
        cv2.ellipse(od, ((x, y), (axes[0], axes[1]), rng.uniform(0, 180)), float(rng.uniform(0.3, 1.3)), -1)
    if settings.n_debris:
        od = np.asarray(cv2.GaussianBlur(od, (0, 0), rng.uniform(0.4, 1.6) / mpp), dtype=np.float32)
        od[od < 0.01] = 0
    return od


def paint_brown_shadows(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Float32Array:
    """DAB OD (H, W) of brown so far out of focus that nobody takes it for a cell."""
    size, mpp = settings.size_px, settings.mpp
    od = np.zeros((size, size), dtype=np.float32)
    if settings.brown_shadows_mm2 <= 0:
        return od
    for _ in range(rng.poisson(settings.brown_shadows_mm2 * (size * mpp / 1000) ** 2)):
        x, y, length = *rng.uniform(0, size, 2), rng.uniform(3, 12) / mpp
        shape = ((x, y), (length, length * rng.uniform(0.2, 1.0)), rng.uniform(0, 180))
        cv2.ellipse(od, shape, float(rng.uniform(0.15, 0.9)), -1)
    return np.where(zones.empty, 0, blur(od, _BROWN_SHADOW_BLUR_UM / mpp)).astype(np.float32)


def paint_folds(settings: PhantomSettings, rng: np.random.Generator) -> Float32Array:
    """Where the section lies double, (H, W) in 0-1: bent bands."""
    size, mpp = settings.size_px, settings.mpp
    fold = np.zeros((size, size), dtype=np.float32)
    for _ in range(settings.n_folds):
        turn, offset = rng.uniform(0, np.pi), rng.uniform(-0.4, 0.4) * size
        grid = np.arange(size, dtype=np.float32) - size / 2
        across = np.cos(turn) * grid[None] + np.sin(turn) * grid[:, None] - offset
        across += 10 / mpp * smooth_noise(rng, size, 100 / mpp)
        fold = np.maximum(fold, np.clip((rng.uniform(6, 14) / mpp - np.abs(across)) * mpp / 4, 0, 1))
    return fold.astype(np.float32)


def paint_defocus(settings: PhantomSettings, rng: np.random.Generator) -> Float32Array:
    """How far out of focus each place is, (H, W) in 0-1; from 0.5 a cell cannot be judged."""
    size = settings.size_px
    if settings.out_of_focus_share <= 0:
        return np.zeros((size, size), dtype=np.float32)
    noise = smooth_noise(rng, size, 60 / settings.mpp)
    level = np.quantile(noise[::4, ::4], 1 - settings.out_of_focus_share)
    return np.asarray(np.clip((noise - level) / 0.5 + 0.5, 0, 1), dtype=np.float32)


def cell_defocus(settings: PhantomSettings, shapes: Shapes, rng: np.random.Generator) -> Float32Array:
    """How smudged single cells are, (H, W) in 0-0.6: they lie above or below the focus but can be judged."""
    n = len(shapes.kind)
    if settings.cell_defocus <= 0 or n == 0:
        return np.zeros(shapes.cell.shape, dtype=np.float32)
    alpha = rng.beta(0.7, 2.0, n) + np.where(np.isin(shapes.kind, _SMUDGED), 0.25, 0)
    image = per_cell(np.minimum(settings.cell_defocus * alpha, 0.6), shapes.cell)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.0 / settings.mpp), dtype=np.float32)
