"""From zones to where the cells of a phantom lie: their centres, kinds, sizes and directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.spatial import cKDTree

from pdl1quant.validation.phantom_kinds import IS_SPINDLE, IS_TUMOUR, Kind, swelling, trait, varied
from pdl1quant.validation.phantom_noise import smooth_noise

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Float64Array, Int32Array
    from pdl1quant.validation.phantom_settings import PhantomSettings
    from pdl1quant.validation.phantom_zones import Zones

_UM2_PER_CANDIDATE = 18.0
_MAX_ROUNDS = 12
_MIN_CONTOUR_PX = 12
_NEST_GROWTH_UM = 12.0
_SWOLLEN = 1.35
"""Radius of a macrophage in a lumen over that of one in tissue."""
_PNEUMOCYTE_STEP_UM = 8.5
"""Distance between pneumocytes side by side."""
_LOOSE = (0.95, 2.5)
"""Distance between cells in lumina, in cell radii: full, and nearly empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """One entry a cell: centre, `Kind`, half axes (along, across) of its core, angle (radians) and reach.

    ``column``: a columnar cell of a gland, whose angle points to the lumen. ``nested``: a tumour cell of a nest.
    """

    x: Float64Array
    y: Float64Array
    kind: Int32Array
    along_px: Float64Array
    across_px: Float64Array
    angle: Float64Array
    growth_px: Float64Array
    column: BoolArray
    nested: BoolArray


def place_seeds(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Seeds:
    """Cell centres by random packing; columnar cells and endothelium come first."""
    mpp, size = settings.mpp, settings.size_px
    column, lining = _column_points(settings, zones, rng), _lining_points(settings, zones, rng)
    n_vessel, lining = len(lining), np.concatenate([lining, _pneumocyte_points(settings, zones, rng)])
    first = len(column) + len(lining)
    free = rng.uniform(-0.5, size - 0.5, (int((size * mpp) ** 2 / _UM2_PER_CANDIDATE), 2))
    xy = np.concatenate([column, lining[:, :2], free])
    n = len(xy)
    is_column = np.arange(n) < len(column)
    is_lining = ~is_column & (np.arange(n) < first)
    of_lung = is_lining & (np.arange(n) >= len(column) + n_vessel)
    col, row = np.clip(np.rint(xy).astype(int), 0, size - 1).T
    infiltrate = smooth_noise(rng, size, 50 / mpp)[row, col]
    kind = _kinds(settings, zones, rng, infiltrate, row=row, col=col)
    kind[is_column & ~IS_TUMOUR[kind]] = Kind.TUMOUR
    kind[is_lining] = Kind.ENDOTHELIUM
    kind[of_lung] = Kind.TUMOUR if settings.lepidic else Kind.PNEUMOCYTE
    in_nest = zones.tumour[row, col]
    crowded = IS_TUMOUR[kind] & in_nest
    crowded &= (zones.to_lumen_px[row, col] < (settings.column_um + 4) / mpp) | (zones.depth_px[row, col] < 3 / mpp)
    crowded |= zones.necrosis[row, col] & (rng.random(n) < 0.97)
    keep = is_column | is_lining | ~(zones.empty[row, col] | crowded)
    loose = _loose_in_lumina(settings, zones, rng, row=row, col=col) & ~(is_column | is_lining)
    kind[loose] = Kind.MACROPHAGE
    keep |= loose
    sizes = _half_axes(settings, rng, kind, is_column=is_column)
    sizes[loose] *= _SWOLLEN
    radius = np.sqrt(sizes[:, 0] * sizes[:, 1]) / mpp
    spread = settings.stroma_spacing * np.exp(-0.22 * np.clip(infiltrate, -1.2, 2.0))
    gap = np.where(in_nest, settings.nest_spacing, np.maximum(spread, 0.82)) * radius
    gap[loose] = np.interp(settings.free_macrophage_share, (0, 1), _LOOSE[::-1]) * radius[loose]
    gap[is_column] = 0.36 * settings.column_width_um * (1 - 0.35 * settings.stratification) / mpp
    gap[is_lining] = 2.0 / mpp
    gap[of_lung] = (0.3 * settings.tumour_cell_um if settings.lepidic else 2.6) / mpp
    chosen = _pack(xy, gap, keep, rng, first=first)
    angle = _angles(settings, zones, rng, kind, row=row, col=col)
    angle[is_column] = np.arctan2(*-_at(zones.from_lumen[::-1], row[is_column], col[is_column]))
    angle[is_lining] = lining[:, 2]
    nested = in_nest & IS_TUMOUR[kind]
    growth = np.where(nested, _NEST_GROWTH_UM, trait("growth_um", kind)) * rng.uniform(0.8, 1.25, n)
    growth[is_column] = np.maximum(growth[is_column], 0.6 * settings.column_um)
    growth /= mpp
    return Seeds(
        x=xy[chosen, 0],
        y=xy[chosen, 1],
        kind=kind[chosen],
        along_px=sizes[chosen, 0] / mpp,
        across_px=sizes[chosen, 1] / mpp,
        angle=angle[chosen],
        growth_px=growth[chosen],
        column=is_column[chosen],
        nested=nested[chosen],
    )


def _loose_in_lumina(
    settings: PhantomSettings, zones: Zones, rng: np.random.Generator, *, row: Int32Array, col: Int32Array
) -> BoolArray:
    """Which candidates (n,) float in a lumen, in heaps and away from its wall."""
    if settings.free_macrophage_share <= 0:
        return np.zeros(len(row), dtype=bool)
    spaces = (zones.lumen | zones.air).astype(np.uint8)
    away_um = cv2.distanceTransform(spaces, cv2.DIST_L2, 3)[row, col] * settings.mpp
    heaps = smooth_noise(rng, settings.size_px, 40 / settings.mpp)[row, col]
    return np.asarray((away_um > rng.uniform(2, 7, len(row))) & (heaps > 1.5 - 2.5 * settings.free_macrophage_share))


def _column_points(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Float64Array:
    """Points (n, 2) along the middle of the epithelium of glands."""
    middle = zones.to_lumen_px < settings.column_um / 2 / settings.mpp
    step = settings.column_width_um * (1 - 0.35 * settings.stratification) / settings.mpp
    points = _along_contours(middle, step, rng)[:, :2]
    return points + rng.normal(0, 0.08 * step, points.shape)


def _lining_points(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Float64Array:
    """Points (n, 3: x, y, direction) around vessels."""
    return _along_contours(zones.vessel, 13 / settings.mpp, rng)


def _pneumocyte_points(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Float64Array:
    """Points (n, 3: x, y, direction) along the walls of air spaces."""
    if not zones.air.any():
        return np.empty((0, 3))
    deep_px = max(round(1.0 / settings.mpp), 1)
    lined = cv2.dilate(zones.air.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=deep_px) > 0
    step_um = 0.75 * settings.tumour_cell_um if settings.lepidic else _PNEUMOCYTE_STEP_UM
    points = _along_contours(np.asarray(lined), step_um / settings.mpp, rng)
    crowded = settings.pneumocyte_share * np.exp(smooth_noise(rng, settings.size_px, 60 / settings.mpp))
    col, row = points[:, :2].astype(int).T
    return np.asarray(points[(rng.random(len(points)) < crowded[row, col]) & ~zones.glass[row, col]])


def _along_contours(mask: BoolArray, step: float, rng: np.random.Generator) -> Float64Array:
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    picked = [np.empty((0, 3))]
    for line in lines:
        points = line[:, 0].astype(float)
        if len(points) < _MIN_CONTOUR_PX:
            continue
        limit = np.array(mask.shape[::-1]) - 2
        length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        at = (np.arange(0.5, max(length[-1] / step, 1.0)) + rng.normal(0, 0.12)) * step
        index = np.clip(np.searchsorted(length, at), 0, len(points) - 1)
        ahead = points[(index + 4) % len(points)] - points[index - 4]
        found = np.column_stack([points[index], np.arctan2(ahead[:, 1], ahead[:, 0])])
        picked.append(found[((points[index] > 1) & (points[index] < limit)).all(axis=1)])
    return np.concatenate(picked)


def _at(small: Float32Array, row: Int32Array, col: Int32Array) -> Float64Array:
    """Values (2, n) of a field at a quarter of the size."""
    height, width = small.shape[1:]
    return small[:, np.minimum(row // 4, height - 1), np.minimum(col // 4, width - 1)].astype(float)


def _kinds(
    settings: PhantomSettings,
    zones: Zones,
    rng: np.random.Generator,
    infiltrate: Float64Array,
    *,
    row: Int32Array,
    col: Int32Array,
) -> Int32Array:
    n = len(row)
    odds = settings.lymphocyte_share * np.exp(np.clip(1.2 * infiltrate - 0.4, -3, 3))
    lymphocyte = odds / (odds + (1 - settings.lymphocyte_share) + 1e-9)
    pale = rng.random(n) < np.clip(
        settings.pale_lymphocyte_share + 0.25 * smooth_noise_at(settings, rng, row, col), 0, 1
    )
    small = np.where(pale, Kind.PALE_LYMPHOCYTE, Kind.LYMPHOCYTE)
    kind = np.full(n, Kind.FIBROBLAST, dtype=np.int32)
    draw, rest = rng.random(n), rng.random(n)
    kind[rest < settings.plasma_share] = Kind.PLASMA
    kind[rest < 0.3 * settings.plasma_share] = Kind.GRANULOCYTE
    kind[rest > 1 - settings.macrophage_share] = Kind.MACROPHAGE
    kind = np.where(draw < lymphocyte, small, kind)
    tumour = np.full(n, Kind.TUMOUR, dtype=np.int32)
    draw = rng.random(n)
    tumour[draw < settings.giant_share] = Kind.GIANT
    tumour[draw > 1 - settings.mitosis_share] = Kind.MITOSIS
    inside = zones.tumour[row, col]
    immune = np.where(rng.random(n) < 0.7, small, Kind.MACROPHAGE)
    kind = np.where(inside, np.where(rng.random(n) < settings.intraepithelial_share, immune, tumour), kind)
    kind = np.where(~inside & (rng.random(n) < settings.single_cell_share), tumour, kind)
    kind = np.where(rng.random(n) < settings.apoptotic_share, Kind.APOPTOTIC, kind)
    ghost = np.where(rng.random(n) < 0.7, Kind.GHOST, Kind.APOPTOTIC)
    return np.where(zones.necrosis[row, col], ghost, kind).astype(np.int32)


def smooth_noise_at(
    settings: PhantomSettings, rng: np.random.Generator, row: Int32Array, col: Int32Array
) -> Float64Array:
    """Noise with features of 60 um at some pixels."""
    return smooth_noise(rng, settings.size_px, 60 / settings.mpp)[row, col].astype(float)


def _half_axes(
    settings: PhantomSettings, rng: np.random.Generator, kind: Int32Array, *, is_column: BoolArray
) -> Float64Array:
    """Half axes (along, across) in um of the cell's core."""
    radius = varied("core_um", kind, rng, sd="core_sd")
    radius = np.where(IS_TUMOUR[kind], radius * settings.tumour_cell_um / 12.0, radius)
    swell = swelling(settings, kind)
    radius = radius * np.sqrt(swell)
    ratio = trait("stretch", kind) * np.exp(np.abs(trait("stretch_sd", kind) * rng.standard_normal(len(kind))))
    ratio = np.where(IS_SPINDLE[kind], ratio ** (1 / np.sqrt(swell)), ratio)
    if settings.tumour_stretch > 0:
        ratio *= np.where(IS_TUMOUR[kind], np.exp(settings.tumour_stretch * np.abs(rng.standard_normal(len(kind)))), 1)
    sizes = np.stack([radius * np.sqrt(ratio), radius / np.sqrt(ratio)], axis=1)
    slender = 0.28 * (1 - 0.5 * settings.stratification)
    column = np.array([0.42 * settings.column_um, slender * settings.column_width_um])
    return np.asarray(np.where(is_column[:, None], column, sizes), dtype=float)


def _angles(
    settings: PhantomSettings,
    zones: Zones,
    rng: np.random.Generator,
    kind: Int32Array,
    *,
    row: Int32Array,
    col: Int32Array,
) -> Float64Array:
    """Spindle cells follow the fibres, and the edge of a nest near one; the others lie anyhow."""
    flow = 2.0 * smooth_noise_at(settings, rng, row, col) + rng.uniform(0, np.pi)
    inward = _at(zones.across_nest, row, col)
    along_edge = np.arctan2(inward[1], inward[0]) + np.pi / 2
    near = np.hypot(inward[0], inward[1]) > 0.5
    flow = np.where(near, along_edge, flow) + rng.normal(0, 0.3, len(kind))
    spindle = IS_SPINDLE[kind]
    if settings.tumour_stretch > 0:
        spindle |= IS_TUMOUR[kind] & zones.tumour[row, col]
    return np.where(spindle, flow, rng.uniform(0, np.pi, len(kind)))


def _pack(
    xy: Float64Array, radius: Float64Array, keep: BoolArray, rng: np.random.Generator, *, first: int
) -> Int32Array:
    """Indices of a maximal set of discs that do not overlap; the ``first`` candidates win over all others."""
    alive = np.flatnonzero(keep)
    if not len(alive):
        return alive.astype(np.int32)
    pairs = cKDTree(xy[alive]).query_pairs(2 * float(np.quantile(radius[alive], 0.99)), output_type="ndarray")
    a, b = alive[pairs[:, 0]], alive[pairs[:, 1]]
    close = ((xy[a] - xy[b]) ** 2).sum(axis=1) < (radius[a] + radius[b]) ** 2
    a, b = a[close], b[close]
    rank = rng.permutation(len(xy)).astype(float)
    rank[:first] -= len(xy)
    open_, chosen = keep.copy(), np.zeros(len(xy), dtype=bool)
    for _ in range(_MAX_ROUNDS):
        best = np.full(len(xy), np.inf)
        np.minimum.at(best, a, rank[b])
        np.minimum.at(best, b, rank[a])
        won = open_ & (rank < best)
        if not won.any():
            break
        chosen |= won
        open_ &= ~won
        open_[b[won[a]]] = False
        open_[a[won[b]]] = False
        left = open_[a] & open_[b]
        a, b = a[left], b[left]
    return np.flatnonzero(chosen).astype(np.int32)
