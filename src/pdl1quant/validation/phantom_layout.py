"""From settings to where the cells of a phantom lie: tissue zones, cell centres, classes, sizes.

Lengths are in pixels of the field unless the name says um. Nothing here knows colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Float64Array, Int32Array
    from pdl1quant.validation.phantoms import PhantomSettings

TUMOUR, LYMPHOCYTE, MACROPHAGE, STROMA, OTHER = range(5)
"""Class codes, in the order of `pdl1quant.model.CellClass`."""

_CANDIDATES_PER_CELL = 7
_MAX_ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """What grows where, each (H, W) bool and disjoint: ``glass``, ``stroma``, ``tumour``, ``lumen``.

    ``columns`` is the part of ``tumour`` that is lined by columnar cells; ``inward`` (2, H, W) is the unit vector
    (x, y) from the edge of the nest to its inside.
    """

    glass: BoolArray
    stroma: BoolArray
    tumour: BoolArray
    lumen: BoolArray
    columns: BoolArray
    depth_px: Float32Array
    inward: Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """One entry a cell: centre, class code, half axes (along, across) of the cell's core and its angle (radians)."""

    x: Float64Array
    y: Float64Array
    kind: Int32Array
    along_px: Float64Array
    across_px: Float64Array
    angle: Float64Array
    growth_px: Float64Array


def smooth_noise(rng: np.random.Generator, size_px: int, scale_px: float) -> Float32Array:
    """Standardised noise (size, size) whose features are about ``scale_px`` wide."""
    n = max(int(np.ceil(size_px / max(scale_px, 1.0))) + 4, 6)
    coarse = rng.standard_normal((n, n), dtype=np.float32)
    wide = cv2.resize(coarse, None, fx=max(scale_px, 1.0), fy=max(scale_px, 1.0), interpolation=cv2.INTER_CUBIC)
    x0, y0 = (int(v) for v in rng.integers(0, wide.shape[0] - size_px + 1, 2))
    part = wide[y0 : y0 + size_px, x0 : x0 + size_px]
    mean, sd = cv2.meanStdDev(part)
    return np.asarray((part - mean[0, 0]) / max(sd[0, 0], 1e-6), dtype=np.float32)


def draw_zones(settings: PhantomSettings, rng: np.random.Generator) -> Zones:
    """Glass, stroma, tumour nests and gland lumina by thresholds on smooth noise."""
    size, mpp = settings.size_px, settings.mpp
    glass = _upper_share(smooth_noise(rng, size, 90 / mpp), settings.glass_share)
    nests = smooth_noise(rng, size, settings.nest_um / mpp) + 0.25 * smooth_noise(rng, size, settings.nest_um / 4 / mpp)
    nests[glass] = -9
    tumour = _upper_share(nests, settings.tumour_share)
    depth = cv2.distanceTransform(tumour.astype(np.uint8), cv2.DIST_L2, 5)
    smooth = cv2.GaussianBlur(depth, (0, 0), 6 / mpp)
    gx, gy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    norm = np.hypot(gx, gy) + 1e-6
    n_parts, parts = cv2.connectedComponents(tumour.astype(np.uint8))
    is_gland = rng.random(n_parts) < settings.gland_share
    is_gland[0] = False
    gland = is_gland[parts]
    height = settings.column_um / mpp
    lumen = gland & (depth > height)
    return Zones(
        glass=glass,
        stroma=~(glass | tumour),
        tumour=tumour & ~lumen,
        lumen=lumen,
        columns=gland & ~lumen,
        depth_px=np.asarray(depth, dtype=np.float32),
        inward=np.stack([gx / norm, gy / norm]).astype(np.float32),
    )


def _upper_share(noise: Float32Array, share: float) -> BoolArray:
    if share <= 0:
        return np.zeros(noise.shape, dtype=bool)
    return np.asarray(noise >= np.quantile(noise[::4, ::4], 1 - min(share, 1.0)), dtype=bool)


def place_seeds(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Seeds:
    """Cell centres by random sequential packing, columnar cells first."""
    mpp, size = settings.mpp, settings.size_px
    column = _column_points(settings, zones, rng)
    n = int(_CANDIDATES_PER_CELL * (size * mpp) ** 2 / 110)
    xy = np.concatenate([column, rng.uniform(-0.5, size - 0.5, (n, 2))])
    is_column = np.arange(len(xy)) < len(column)
    col, row = np.clip(np.rint(xy).astype(int), 0, size - 1).T
    kind = _kinds(settings, zones, rng, (row, col))
    kind[is_column] = TUMOUR
    keep = ~(zones.glass | zones.lumen)[row, col] & ~(zones.columns[row, col] & (kind == TUMOUR) & ~is_column)
    sizes = _sizes(settings, rng, kind, is_column=is_column)
    in_nest = zones.tumour[row, col]
    radius = np.where(is_column, 0.40 * settings.column_width_um, np.sqrt(sizes[:, 0] * sizes[:, 1])) / mpp
    gap = np.where(in_nest, 1.0, settings.stroma_spacing) * radius
    gap[is_column] = radius[is_column]
    chosen = _pack(xy, gap, keep, rng)
    inward = zones.inward[:, row, col]
    fibre = np.pi * smooth_noise(rng, size, 120 / mpp)[row, col] * 0.6
    angle = np.where(kind == STROMA, fibre + rng.normal(0, 0.25, len(xy)), rng.uniform(0, np.pi, len(xy)))
    angle = np.where(is_column, np.arctan2(inward[1], inward[0]), angle)
    growth = np.array([12.0, 1.2, 2.5, 0.9, 1.2])[kind]
    growth = np.where((kind == TUMOUR) & ~in_nest, 3.0, growth) * rng.uniform(0.8, 1.25, len(xy)) / mpp
    return Seeds(
        x=xy[chosen, 0],
        y=xy[chosen, 1],
        kind=kind[chosen],
        along_px=sizes[chosen, 0] / mpp,
        across_px=sizes[chosen, 1] / mpp,
        angle=angle[chosen],
        growth_px=growth[chosen],
    )


def _column_points(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Float64Array:
    middle = (zones.depth_px > settings.column_um / 2 / settings.mpp) & (zones.columns | zones.lumen)
    lines, _ = cv2.findContours(middle.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    step = settings.column_width_um / settings.mpp
    picked = [np.empty((0, 2))]
    for line in lines:
        points = line[:, 0].astype(float)
        length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        at = np.arange(0.5, max(length[-1] / step, 1.0)) * step + rng.normal(0, 0.12 * step)
        index = np.clip(np.searchsorted(length, at), 0, len(points) - 1)
        picked.append(points[index])
    found = np.concatenate(picked)
    return found + rng.normal(0, 0.08 * step, found.shape)


def _kinds(
    settings: PhantomSettings, zones: Zones, rng: np.random.Generator, at: tuple[Int32Array, Int32Array]
) -> Int32Array:
    infiltrate = smooth_noise(rng, settings.size_px, 50 / settings.mpp)[at]
    odds = settings.lymphocyte_share * np.exp(np.clip(1.2 * infiltrate - 0.5, -3, 3))
    lymphocyte = odds / (odds + (1 - settings.lymphocyte_share) + 1e-9)
    draw = rng.random(len(infiltrate))
    kind = np.full(len(infiltrate), STROMA, dtype=np.int32)
    kind[draw < lymphocyte + settings.macrophage_share] = MACROPHAGE
    kind[draw < lymphocyte] = LYMPHOCYTE
    nest = zones.tumour[at]
    draw = rng.random(len(infiltrate))
    kind[nest] = np.where(
        draw[nest] < settings.intraepithelial_share, rng.choice([LYMPHOCYTE, LYMPHOCYTE, MACROPHAGE]), TUMOUR
    )
    kind[~nest & (draw < settings.single_cell_share)] = TUMOUR
    return kind


def _sizes(
    settings: PhantomSettings, rng: np.random.Generator, kind: Int32Array, *, is_column: BoolArray
) -> Float64Array:
    """Half axes (along, across) in um of the cell's core."""
    radius = np.array([settings.tumour_cell_um / 2, 3.4, 5.5, 3.6, 3.6])[kind]
    radius = radius * np.exp(rng.normal(0, np.array([0.16, 0.10, 0.16, 0.20, 0.15])[kind]))
    ratio = np.exp(np.abs(rng.normal(0, np.array([0.22, 0.10, 0.20, 0.45, 0.3])[kind])))
    ratio *= np.where(kind == STROMA, 2.2, 1.0)
    sizes = np.stack([radius * np.sqrt(ratio), radius / np.sqrt(ratio)], axis=1)
    column = np.array([0.42 * settings.column_um, 0.25 * settings.column_width_um])
    return np.asarray(np.where(is_column[:, None], column, sizes), dtype=float)


def _pack(xy: Float64Array, radius: Float64Array, keep: BoolArray, rng: np.random.Generator) -> Int32Array:
    """Indices of a maximal set of discs that do not overlap; earlier candidates and larger luck win."""
    alive = np.flatnonzero(keep)
    pairs = cKDTree(xy[alive]).query_pairs(2 * float(radius[alive].max(initial=1.0)), output_type="ndarray")
    a, b = alive[pairs[:, 0]], alive[pairs[:, 1]]
    close = np.hypot(*(xy[a] - xy[b]).T) < radius[a] + radius[b]
    a, b = a[close], b[close]
    rank = rng.permutation(len(xy)).astype(float)
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
