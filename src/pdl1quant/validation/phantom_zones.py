"""The architecture of a phantom: where glass, stroma, nests, lumina, vessels and necrosis lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.validation.phantom_noise import smooth_noise, upper_share

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array
    from pdl1quant.validation.phantom_settings import PhantomSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """What grows where, each (H, W) bool and disjoint: ``glass``, ``stroma``, ``tumour``, ``lumen``, ``vessel``.

    ``gland`` is the part of ``tumour`` that belongs to glands, ``necrosis`` its dead part. ``depth_px`` is the
    distance from the edge of the nest (lumen included) and ``inward`` (2, H, W) the unit vector (x, y) away from it.
    """

    glass: BoolArray
    stroma: BoolArray
    tumour: BoolArray
    lumen: BoolArray
    vessel: BoolArray
    gland: BoolArray
    necrosis: BoolArray
    depth_px: Float32Array
    inward: Float32Array

    @property
    def empty(self) -> BoolArray:
        """Where no cell of the tissue lies."""
        return self.glass | self.lumen | self.vessel


def draw_zones(settings: PhantomSettings, rng: np.random.Generator) -> Zones:
    """Thresholds on smooth noise: nests in stroma, some of them glands with a lumen, vessels and fat between them."""
    size, mpp = settings.size_px, settings.mpp
    glass = upper_share(
        smooth_noise(rng, size, 90 / mpp) + 0.1 * smooth_noise(rng, size, 8 / mpp), settings.glass_share
    )
    glass |= _fat(settings, rng)
    nests = smooth_noise(rng, size, settings.nest_um / mpp) + 0.25 * smooth_noise(rng, size, settings.nest_um / 4 / mpp)
    nests += 0.06 * smooth_noise(rng, size, 5 / mpp)
    nests[glass] = -9
    tumour = upper_share(nests, settings.tumour_share)
    depth = np.asarray(cv2.distanceTransform(tumour.astype(np.uint8), cv2.DIST_L2, 5), dtype=np.float32)
    gland = _glands(settings, tumour, depth, rng)
    height = settings.column_um / mpp * (1 + 0.08 * smooth_noise(rng, size, 10 / mpp))
    lumen = gland & (depth > height)
    tumour &= ~lumen
    vessel = _vessels(settings, rng) & ~(glass | tumour | lumen)
    dead = upper_share(
        np.where(tumour, depth * mpp + 12 * smooth_noise(rng, size, 40 / mpp), -99).astype(np.float32),
        settings.necrosis_share * float(tumour.mean()),
    )
    return Zones(
        glass=glass,
        stroma=~(glass | tumour | lumen | vessel),
        tumour=tumour,
        lumen=lumen,
        vessel=vessel,
        gland=gland & ~lumen,
        necrosis=dead & tumour,
        depth_px=depth,
        inward=_gradient(depth, 6 / mpp),
    )


def _glands(settings: PhantomSettings, tumour: BoolArray, depth: Float32Array, rng: np.random.Generator) -> BoolArray:
    n_parts, parts = cv2.connectedComponents(tumour.astype(np.uint8))
    is_gland = np.zeros(n_parts, dtype=bool)
    deep = np.unique(parts[depth > 0.7 * settings.column_um / settings.mpp])
    is_gland[deep] = rng.random(len(deep)) < settings.gland_share
    is_gland[0] = False
    return np.asarray(is_gland[parts], dtype=bool)


def _gradient(depth: Float32Array, smoothing_px: float) -> Float32Array:
    smooth = cv2.GaussianBlur(depth, (0, 0), smoothing_px)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    norm = cv2.magnitude(gx, gy) + 1e-6
    return np.stack([gx / norm, gy / norm]).astype(np.float32)


def _vessels(settings: PhantomSettings, rng: np.random.Generator) -> BoolArray:
    size, mpp = settings.size_px, settings.mpp
    seen = np.zeros((size, size), dtype=np.uint8)
    area_px = settings.vessel_share * size**2
    while area_px > 0:
        a, b = rng.uniform(4, 14) / mpp, rng.uniform(4, 9) / mpp
        x, y = rng.uniform(0, size, 2)
        cv2.ellipse(seen, ((x, y), (2 * a, 2 * b), rng.uniform(0, 180)), 1, -1)
        area_px -= np.pi * a * b
    return seen > 0


def _fat(settings: PhantomSettings, rng: np.random.Generator) -> BoolArray:
    """Round empty cells with thin walls between them."""
    size, mpp = settings.size_px, settings.mpp
    seen = np.zeros((size, size), dtype=np.uint8)
    area_px = settings.fat_share * size**2
    centre = rng.uniform(0, size, 2)
    for _ in range(200):
        if area_px <= 0:
            break
        radius = rng.uniform(14, 38) / mpp
        x, y = centre + rng.normal(0, 0.25 * size, 2)
        disc = np.zeros_like(seen)
        cv2.ellipse(disc, ((x, y), (2 * radius, 1.8 * radius), rng.uniform(0, 180)), 1, -1)
        if not (seen & disc).any():
            seen |= disc
            area_px -= float(disc.sum())
            seen = np.maximum(seen, disc)
    wall = cv2.erode(seen, np.ones((3, 3), np.uint8), iterations=max(round(0.7 / mpp), 1))
    return np.asarray(wall > 0, dtype=bool)
