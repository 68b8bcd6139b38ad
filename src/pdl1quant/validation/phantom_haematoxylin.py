"""The blue of a phantom: chromatin, cytoplasm, stroma, mucin; glass stays empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.validation.phantom_kinds import IS_TUMOUR, Kind, swelling, trait
from pdl1quant.validation.phantom_noise import per_cell, smooth_noise, streaks
from pdl1quant.validation.phantom_optics import blur

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, Float64Array, Int32Array
    from pdl1quant.validation.phantom_settings import PhantomSettings
    from pdl1quant.validation.phantom_shapes import Shapes
    from pdl1quant.validation.phantom_zones import Zones

_SOFT_EDGE_PX = 0.6
"""A pixel at the edge of a nucleus is covered in part."""
_SHADOW_BLUR_UM = 1.5
_CAP_BLUE = (0.45, 0.85)
"""Haematoxylin of a nucleus of which only a cap was cut, as a share of its usual one."""
_GAP_UM = 1.6
"""Nuclei closer than this are crowded."""
_SWOLLEN = 1.3
"""Nuclei of other cells that swell this much show nucleoli as often as tumour nuclei do."""
_RIM_UM = 0.6
"""Thickness of the dark rim of a vesicular nucleus."""


def paint_haematoxylin(
    settings: PhantomSettings, shapes: Shapes, zones: Zones, rng: np.random.Generator
) -> Float32Array:
    """Ideal haematoxylin OD (H, W) float32."""
    size, mpp, kind, n = settings.size_px, settings.mpp, shapes.kind, len(shapes.kind)
    fine, middle = smooth_noise(rng, size, 0.9 / mpp), smooth_noise(rng, size, 2.2 / mpp)
    cloud = np.clip(1 + 0.30 * smooth_noise(rng, size, 6 / mpp) + 0.12 * fine + 0.15 * middle, 0.1, 3)
    scale = settings.background_od / 0.06
    tint = per_cell(trait("tint", kind) * rng.uniform(0.75, 1.25, n) * scale, shapes.cell)
    body = cv2.GaussianBlur(tint, (0, 0), 0.5 / mpp) * cloud
    chromatin = _chromatin(settings, shapes, rng, fine=fine, middle=middle)
    if settings.crowding_blue > 0:
        chromatin = np.maximum(chromatin, settings.crowding_blue * _between(shapes.nucleus, chromatin, mpp))
    ground = _ground(settings, zones, rng, cloud=cloud)
    ground[shapes.cell > 0] = 0
    od = np.maximum(chromatin, body) * (1 - shapes.mucin) + ground
    od += _paint_shadows(settings, zones, rng)
    return np.asarray(od, dtype=np.float32)


def _chromatin(
    settings: PhantomSettings, shapes: Shapes, rng: np.random.Generator, *, fine: Float32Array, middle: Float32Array
) -> Float32Array:
    kind, n = shapes.kind, len(shapes.kind)
    level = trait("blue", kind) * np.exp(rng.normal(0, 0.20, n)) * settings.haematoxylin_od
    level *= np.where(IS_TUMOUR[kind], settings.tumour_blue, 1.0)
    swell = swelling(settings, kind)
    level *= swell**-0.5  # the same chromatin in a larger nucleus
    if shapes.cap.any():
        level = np.where(shapes.cap, level * rng.uniform(*_CAP_BLUE, n), level)
    clumps = settings.chromatin * trait("clumps", kind) * rng.uniform(0.4, 1.7, n)
    openness = (trait("openness", kind) + 0.15 * np.maximum(swell - 1, 0)) * rng.uniform(0.1, 1.7, n)
    rim = cv2.exp(-((shapes.rim_um / np.float32(_RIM_UM)) ** 2)) - np.float32(0.4)
    texture = 1 + per_cell(clumps, shapes.cell) * (0.75 * fine + 0.65 * middle)
    texture += per_cell(openness, shapes.cell) * rim
    inside = cv2.GaussianBlur((shapes.nucleus > 0).astype(np.float32), (0, 0), _SOFT_EDGE_PX)
    od = np.maximum(per_cell(level, shapes.cell) * texture, 0) * inside
    return np.asarray(od + _nucleoli(settings, shapes, rng, level), dtype=np.float32)


def _between(nucleus: Int32Array, chromatin: Float32Array, mpp: float) -> Float32Array:
    """What nuclei hold around here, in the gaps between crowded ones; 0 elsewhere (H, W)."""
    inside = (nucleus > 0).astype(np.uint8)
    side = 2 * max(1, round(0.5 * _GAP_UM / mpp)) + 1
    closed = cv2.morphologyEx(inside, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    gap = blur((closed - inside).astype(np.float32), 0.3 / mpp)
    around, held = (blur(each, 1.5 / mpp) for each in (chromatin, inside.astype(np.float32)))
    return np.asarray(gap * around / np.maximum(held, 0.2), dtype=np.float32)


def _paint_shadows(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Float32Array:
    """Haematoxylin OD (H, W) of nuclei so far below the focus that nobody counts them."""
    size, mpp = settings.size_px, settings.mpp
    od = np.zeros((size, size), dtype=np.float32)
    for _ in range(rng.poisson(settings.shadows_mm2 * (size * mpp / 1000) ** 2)):
        x, y, length = *rng.uniform(0, size, 2), rng.uniform(5, 11) / mpp
        shape = ((x, y), (length, length * rng.uniform(0.4, 1.0)), rng.uniform(0, 180))
        cv2.ellipse(od, shape, float(rng.uniform(0.10, 0.35) * settings.haematoxylin_od), -1)
    return np.where(zones.empty, 0, blur(od, _SHADOW_BLUR_UM / mpp)).astype(np.float32)


def _nucleoli(settings: PhantomSettings, shapes: Shapes, rng: np.random.Generator, level: Float64Array) -> Float32Array:
    spots = np.zeros(shapes.cell.shape, dtype=np.float32)
    prone = IS_TUMOUR[shapes.kind] | (swelling(settings, shapes.kind) > _SWOLLEN)
    chosen = np.flatnonzero(prone & (rng.random(len(shapes.kind)) < settings.nucleolus_share))
    chosen = chosen[shapes.kind[chosen] != Kind.MITOSIS]
    place = (shapes.centre[chosen] + rng.normal(0, 1.1 / settings.mpp, (len(chosen), 2))) * 16
    radius = np.rint(rng.uniform(0.4, 1.0, len(chosen)) / settings.mpp * 16).astype(int)
    for (x, y), r, od in zip(np.rint(place).astype(int), radius, 0.5 * level[chosen], strict=True):
        cv2.circle(spots, (int(x), int(y)), int(r), float(od), -1, cv2.LINE_8, 4)
    return spots * (shapes.nucleus > 0)


def _ground(settings: PhantomSettings, zones: Zones, rng: np.random.Generator, *, cloud: Float32Array) -> Float32Array:
    """Between the cells: collagen in stroma, wisps of mucin in lumina, plasma in vessels."""
    size, mpp, level = settings.size_px, settings.mpp, settings.background_od
    fibre = 0.32 * streaks(rng, size, width_px=1.6 / mpp, length_px=22 / mpp)
    fibre += 0.22 * streaks(rng, size, width_px=5 / mpp, length_px=50 / mpp)
    patch = np.clip(0.75 + 0.35 * smooth_noise(rng, size, 45 / mpp), 0.15, 2)
    stroma = level * np.clip(patch * (0.85 + fibre), 0.05, 3) * (0.7 + 0.3 * cloud)
    wisps = settings.mucin_od * np.clip(smooth_noise(rng, size, 18 / mpp) + 0.8 * fibre, 0, 2)
    od = np.where(zones.stroma, stroma, 0)
    od = np.where(zones.tumour, 0.6 * level * cloud, od)
    od = np.where(zones.necrosis, 1.2 * level * cloud, od)
    od = np.where(zones.lumen, wisps, od)
    return np.where(zones.vessel, 0.3 * level, od).astype(np.float32)
