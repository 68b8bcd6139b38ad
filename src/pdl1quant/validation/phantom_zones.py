"""The architecture of a phantom: where glass, stroma, nests, lumina, vessels and necrosis lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.validation.phantom_noise import NEVER, smooth_noise, upper_share

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array
    from pdl1quant.validation.phantom_settings import PhantomSettings

_DUCT_SHARE = 0.25
"""So many air spaces are ducts: open to those beside them that are, too."""
_FROND_CORE = 0.35
"""So much of the wanted tumour area is the stroma of its fronds, where it is papillary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """What grows where, each (H, W) bool and disjoint: ``glass``, ``stroma``, ``tumour``, ``lumen``, ``vessel``.

    ``air`` are the parts of ``glass`` that are air spaces of lung, ``necrosis`` is the dead part of ``tumour``.
    ``depth_px`` is the distance from the edge of the tumour, ``to_lumen_px`` that from the nearest lumen (infinite
    without any). ``across_nest`` and ``from_lumen`` (2, H // 4, W // 4) are unit vectors (x, y) away from the nest's
    edge and from the lumen.
    """

    glass: BoolArray
    stroma: BoolArray
    tumour: BoolArray
    lumen: BoolArray
    vessel: BoolArray
    air: BoolArray
    necrosis: BoolArray
    depth_px: Float32Array
    to_lumen_px: Float32Array
    across_nest: Float32Array
    from_lumen: Float32Array

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
    lung, air = _lung(settings, rng)
    glass |= air
    nests[glass | lung | _septa(settings, rng)] = NEVER
    tumour = upper_share(nests, settings.tumour_share * (_FROND_CORE if settings.papillary else 1.0))
    papillae = _papillae(settings, tumour, rng) & ~glass if settings.papillary else None
    tumour = tumour if papillae is None else papillae & ~tumour
    depth = np.asarray(cv2.distanceTransform(tumour.astype(np.uint8), cv2.DIST_L2, 5), dtype=np.float32)
    lumen = _lumina(settings, tumour, depth, rng) if papillae is None else ~(papillae | glass | lung)
    to_lumen = np.full(depth.shape, np.inf, dtype=np.float32)
    if lumen.any():
        to_lumen = np.asarray(cv2.distanceTransform((~lumen).astype(np.uint8), cv2.DIST_L2, 5), dtype=np.float32)
    tumour &= ~lumen
    vessel = _vessels(settings, rng) & ~(glass | tumour | lumen)
    dead = upper_share(
        np.where(tumour, depth * mpp + 12 * smooth_noise(rng, size, 40 / mpp), NEVER).astype(np.float32),
        settings.necrosis_share * float(tumour.mean()),
    )
    return Zones(
        glass=glass,
        stroma=~(glass | tumour | lumen | vessel),
        tumour=tumour,
        lumen=lumen,
        vessel=vessel,
        air=air,
        necrosis=dead & tumour & ~lumen,
        depth_px=np.minimum(depth, to_lumen),
        to_lumen_px=to_lumen,
        across_nest=_gradient(depth, 6 / mpp),
        from_lumen=_gradient(np.minimum(to_lumen, 1e4), 3 / mpp),
    )


def _lung(settings: PhantomSettings, rng: np.random.Generator) -> tuple[BoolArray, BoolArray]:
    """Where lung lies, and its air spaces: rounded cells around random points; some walls are open or end freely."""
    size, mpp = settings.size_px, settings.mpp
    nowhere = np.zeros((size, size), dtype=bool)
    if settings.lung_share <= 0:
        return nowhere, nowhere
    where = smooth_noise(rng, size, 160 / mpp) + 0.1 * smooth_noise(rng, size, 12 / mpp)
    lung = upper_share(where, settings.lung_share)
    width = settings.alveolus_um / mpp
    n = max(4, round((size / width + 2) ** 2))
    middles = np.ones((size, size), dtype=np.uint8)
    middles[tuple(rng.integers(0, size, (2, n)))] = 0
    _, nearest = cv2.distanceTransformWithLabels(middles, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    joined = np.arange(int(nearest.max()) + 1)
    joined[rng.random(len(joined)) < _DUCT_SHARE] = 0
    label = joined[nearest].astype(np.float32)
    edge = cv2.morphologyEx(label, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    edge &= smooth_noise(rng, size, 40 / mpp) < 1.2
    away_um = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5) * mpp
    thick = settings.alveolar_wall_um * np.exp(0.35 * smooth_noise(rng, size, 30 / mpp))
    soft = cv2.GaussianBlur((away_um > thick / 2).astype(np.float32), (0, 0), 4 / mpp) > 0.5
    return lung, lung & soft


def _papillae(settings: PhantomSettings, cores: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Cores of stroma with the epithelium that covers them."""
    away = cv2.distanceTransform((~cores).astype(np.uint8), cv2.DIST_L2, 5)
    uneven = settings.column_um / settings.mpp * (1 + 0.1 * smooth_noise(rng, settings.size_px, 10 / settings.mpp))
    return np.asarray(away < uneven, dtype=bool)


def _septa(settings: PhantomSettings, rng: np.random.Generator) -> BoolArray:
    """Thin stroma between neighbouring nests: the zero lines of smooth noise."""
    if settings.septum_um <= 0:
        return np.zeros((settings.size_px, settings.size_px), dtype=bool)
    lines = smooth_noise(rng, settings.size_px, 0.8 * settings.nest_um / settings.mpp)
    gx, gy = cv2.Sobel(lines, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(lines, cv2.CV_32F, 0, 1, scale=0.125)
    away_um = np.abs(lines) / (cv2.magnitude(gx, gy) + 1e-4) * settings.mpp
    return np.asarray(away_um < settings.septum_um / 2, dtype=bool)


def _lumina(settings: PhantomSettings, tumour: BoolArray, depth: Float32Array, rng: np.random.Generator) -> BoolArray:
    """Holes at least one columnar cell away from the edge of the nest; large nests get several."""
    size, height = settings.size_px, settings.column_um / settings.mpp
    n_parts, parts = cv2.connectedComponents(tumour.astype(np.uint8))
    is_gland = np.zeros(n_parts, dtype=bool)
    deep = np.unique(parts[depth > 1.1 * height])
    is_gland[deep] = rng.random(len(deep)) < settings.gland_share
    is_gland[0] = False
    if not is_gland.any():
        return np.zeros((size, size), dtype=bool)
    uneven = height * (1 + 0.10 * smooth_noise(rng, size, 10 / settings.mpp))
    open_ = smooth_noise(rng, size, 1.6 * height) > 0.1
    near = depth < 1.8 * height
    return np.asarray(is_gland[parts] & (depth > uneven) & (open_ | near), dtype=bool)


def _gradient(depth: Float32Array, smoothing_px: float) -> Float32Array:
    """Unit vectors (2, H // 4, W // 4) up the slope: (x, y); 0 where it is flat."""
    small = cv2.resize(depth, (depth.shape[1] // 4, depth.shape[0] // 4), interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(small, (0, 0), max(smoothing_px / 4, 0.5))
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    norm = cv2.magnitude(gx, gy) + 1e-3
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
