"""From cell centres to label images of cells and nuclei.

Cells are the nearest core shape within each cell's reach, so neighbours share a border; a smooth displacement makes
the borders wavy. Nuclei are wobbling ellipses inside their cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.validation.phantom_kinds import IS_SPINDLE, IS_TUMOUR, KINDS, Kind, swelling, trait, varied
from pdl1quant.validation.phantom_noise import per_cell, smooth_noise

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Float64Array, Int32Array
    from pdl1quant.validation.phantom_layout import Seeds
    from pdl1quant.validation.phantom_settings import PhantomSettings
    from pdl1quant.validation.phantom_zones import Zones

_N_CORNERS = 28
_SHIFT = 4
"""Fractional bits of the corner coordinates."""
_MIN_NUCLEUS_UM2 = 8.0
_CAP_AREA = (0.25, 0.7)
"""Area of a nucleus of which only a cap was cut, as a share of its usual one."""
_WALL_UM = 0.6
"""So much of a goblet cell's wall is left beside its mucin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Label images (H, W) int32 that share labels 1..n; ``kind`` (n,) holds `Kind`.

    ``edge_um`` and ``rim_um`` (H, W) are the depths below the edge of the cell and of the nucleus; ``centre`` and
    ``cell_centre`` (n, 2) the centroids (x, y). ``mucin`` (H, W) is 0-1: the drops in goblet cells. ``column`` and
    ``angle`` (n,) are those of `Seeds`; of the nuclei in ``cap`` (n,) only a cap was cut.
    """

    cell: Int32Array
    nucleus: Int32Array
    kind: Int32Array
    centre: Float64Array
    cell_centre: Float64Array
    edge_um: Float32Array
    rim_um: Float32Array
    mucin: Float32Array
    angle: Float64Array
    column: BoolArray
    cap: BoolArray


def draw_shapes(settings: PhantomSettings, zones: Zones, seeds: Seeds, rng: np.random.Generator) -> Shapes:
    """Cells and nuclei of one field."""
    size, mpp = settings.size_px, settings.mpp
    cap = rng.random(len(seeds.kind)) < settings.cap_share if settings.cap_share > 0 else np.zeros_like(seeds.column)
    raw = _nuclei(settings, seeds, rng, cap=cap)
    cell = _tessellate(zones, seeds, rng, settings, raw)
    warp = _warp(rng, size, mpp)
    cell, raw = _displace(cell, warp), _displace(raw, warp)
    edge_um = depth_um(cell, mpp)
    corner = max(settings.rounding_um / mpp, 0.6)
    inside = cv2.GaussianBlur((raw == cell).astype(np.float32) * (cell > 0), (0, 0), corner) > 0.5
    nucleus = _largest_parts(np.where(inside & (edge_um > max(settings.nucleus_gap_um, 0.75 * mpp)), cell, 0))
    n = len(seeds.kind)
    area_um2 = np.bincount(nucleus.ravel(), minlength=n + 1)[1:] * mpp**2
    kept = area_um2 >= _MIN_NUCLEUS_UM2
    table = np.zeros(n + 1, dtype=np.int32)
    table[1:][kept] = np.arange(1, np.count_nonzero(kept) + 1)
    cell, nucleus = table[cell], table[nucleus]
    n = int(np.count_nonzero(kept))
    edge_um, cell_centre = depth_um(cell, mpp), centroids(cell, n)
    goblet = seeds.column[kept] & (rng.random(n) < settings.goblet_share)
    return Shapes(
        cell=cell,
        nucleus=nucleus,
        kind=seeds.kind[kept],
        centre=centroids(nucleus, n),
        cell_centre=cell_centre,
        edge_um=edge_um,
        rim_um=depth_um(nucleus, mpp),
        mucin=_mucin(settings, cell_centre, seeds.angle[kept], goblet, rng) * ((edge_um > _WALL_UM) & (nucleus == 0)),
        angle=seeds.angle[kept],
        column=seeds.column[kept],
        cap=cap[kept],
    )


def _mucin(
    settings: PhantomSettings, centre: Float64Array, angle: Float64Array, goblet: BoolArray, rng: np.random.Generator
) -> Float32Array:
    """Drops of mucin between nucleus and lumen, (H, W) in 0-1."""
    drops = np.zeros((settings.size_px, settings.size_px), dtype=np.float32)
    for k in np.flatnonzero(goblet):
        away = rng.uniform(0.1, 0.35) * settings.column_um / settings.mpp
        x, y = centre[k] + away * np.array([np.cos(angle[k]), np.sin(angle[k])])
        axes = rng.uniform(3.5, 9.5) / settings.mpp * np.array([1.0, rng.uniform(0.6, 1.0)])
        cv2.ellipse(drops, ((x, y), (axes[0], axes[1]), float(np.degrees(angle[k]))), float(rng.uniform(0.6, 1)), -1)
    return drops


def _largest_parts(labels: Int32Array) -> Int32Array:
    """Each label's largest connected part; labels must not touch each other."""
    n_parts, parts, stats, _ = cv2.connectedComponentsWithStats((labels > 0).astype(np.uint8), connectivity=4)
    owner = np.zeros(n_parts, dtype=np.int64)
    owner[parts.ravel()] = labels.ravel()
    area = np.where(owner > 0, stats[:, cv2.CC_STAT_AREA], 0)
    largest = np.zeros(int(owner.max()) + 1, dtype=np.int64)
    np.maximum.at(largest, owner, area)
    kept = (area == largest[owner]) & (owner > 0)
    return np.where(kept[parts], labels, 0).astype(np.int32)


def centroids(labels: Int32Array, n: int) -> Float64Array:
    """Centroids (n, 2) as (x, y) of labels 1..n."""
    place = np.flatnonzero(labels)
    flat = labels.ravel()[place]
    rows, cols = np.divmod(place, labels.shape[1])
    count = np.maximum(np.bincount(flat, minlength=n + 1)[1:], 1)
    x = np.bincount(flat, weights=cols, minlength=n + 1)[1:] / count
    y = np.bincount(flat, weights=rows, minlength=n + 1)[1:] / count
    return np.stack([x, y], axis=1)


def depth_um(labels: Int32Array, mpp: float) -> Float32Array:
    """Distance (um) of each labelled pixel's centre from the edge of its label; 0 outside. The field's edge is none."""
    border = np.zeros(labels.shape, dtype=bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    distance = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, 5)
    return np.where(labels > 0, (distance + 0.5) * mpp, 0).astype(np.float32)


def _tessellate(
    zones: Zones, seeds: Seeds, rng: np.random.Generator, settings: PhantomSettings, nuclei: Int32Array
) -> Int32Array:
    """Cells (H, W) int32: what is nearest to a core; a slender columnar cell bulges around its nucleus."""
    size, n = settings.size_px, len(seeds.x)
    cores = np.zeros((size, size), dtype=np.int32)
    outline = _outlines(seeds.along_px, seeds.across_px, seeds.angle, rng, wobble=np.full(n, 0.05))
    shrink = np.where(seeds.nested, 0.6, 1.0)[:, None, None]
    _fill(cores, outline * shrink + np.stack([seeds.x, seeds.y], axis=1)[:, None])
    if settings.stratification > 0:
        cores = np.where(np.concatenate([[False], seeds.column])[nuclei], nuclei, cores)
    if not cores.any():
        return cores
    distance, nearest = cv2.distanceTransformWithLabels(
        (cores == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(nearest.max()) + 1, dtype=np.int32)
    owner[nearest[cores > 0]] = cores[cores > 0]
    cell = owner[nearest]
    nested = np.concatenate([[False], seeds.nested])[cell]
    spindle = np.concatenate([[False], IS_SPINDLE[seeds.kind]])[cell]
    allowed = np.where(nested, zones.tumour, ~(spindle & zones.tumour))
    reach = per_cell(seeds.growth_px, cell)
    return np.where((distance <= reach) & allowed, cell, 0).astype(np.int32)


def _nuclei(settings: PhantomSettings, seeds: Seeds, rng: np.random.Generator, *, cap: BoolArray) -> Int32Array:
    """Nuclei before they are clipped to their cells."""
    kind, n = seeds.kind, len(seeds.kind)
    area = varied("nucleus_um2", kind, rng, sd="nucleus_sd")
    area = np.where(IS_TUMOUR[kind], area * settings.tumour_nucleus_um2 / KINDS[Kind.TUMOUR].nucleus_um2, area)
    area *= swelling(settings, kind)
    if cap.any():
        area = np.where(cap, area * rng.uniform(*_CAP_AREA, n), area)
    radius = np.sqrt(area / np.pi) / settings.mpp
    ratio = np.exp(np.abs(trait("nucleus_stretch_sd", kind) * rng.standard_normal(n)))
    spindle = IS_SPINDLE[kind]
    ratio = np.where(spindle, np.minimum(seeds.along_px / seeds.across_px, 4.0), ratio)
    ratio = np.where(seeds.column, rng.uniform(1.2, 2.2 + 1.3 * settings.stratification, n), ratio)
    in_line = seeds.nested & ~seeds.column & (settings.tumour_stretch > 0)
    ratio = np.where(in_line, np.minimum(seeds.along_px / seeds.across_px, 3.5), ratio)
    wobble = trait("wobble", kind) * rng.uniform(0.5, 1.6, n)
    bend = np.where(spindle, rng.normal(0, 0.25, n), 0.0)
    angle = np.where(seeds.column | spindle | in_line, seeds.angle, rng.uniform(0, np.pi, n))
    outline = _outlines(radius * np.sqrt(ratio), radius / np.sqrt(ratio), angle, rng, wobble=wobble, bend=bend)
    shift = rng.normal(0, 1, (2, n)) * trait("offset", kind) * seeds.across_px
    height = rng.normal(-0.3, 0.22, n)
    height += settings.stratification * (rng.uniform(-0.65, 0.65, n) - height)
    basal = np.where(seeds.column, height, 0) * seeds.along_px
    x = seeds.x + shift[0] + basal * np.cos(seeds.angle)
    y = seeds.y + shift[1] + basal * np.sin(seeds.angle)
    labels = np.zeros((settings.size_px, settings.size_px), dtype=np.int32)
    _fill(labels, outline + np.stack([x, y], axis=1)[:, None])
    return labels


def _outlines(
    along: Float64Array,
    across: Float64Array,
    angle: Float64Array,
    rng: np.random.Generator,
    *,
    wobble: Float64Array,
    bend: Float64Array | None = None,
) -> Float64Array:
    """Closed outlines (n, corners, 2) around the origin: ellipses with low-order waves, bent like a banana."""
    turn = np.linspace(0, 2 * np.pi, _N_CORNERS, endpoint=False)
    radius = np.ones((len(along), _N_CORNERS))
    for order in (2, 3, 4, 5):
        phase = rng.uniform(0, 2 * np.pi, (len(along), 1))
        radius += wobble[:, None] * rng.normal(0, 2 / order, (len(along), 1)) * np.cos(order * turn + phase)
    radius = np.clip(radius, 0.5, 1.6)
    u, v = radius * np.cos(turn), radius * np.sin(turn) * across[:, None]
    if bend is not None:
        v = v + bend[:, None] * (u**2 - 0.5) * along[:, None]
    u = u * along[:, None]
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.stack([c * u - s * v, s * u + c * v], axis=2)


def _fill(labels: Int32Array, outlines: Float64Array) -> None:
    corners = np.rint(outlines * 2**_SHIFT).astype(np.int32)
    for label, corner in enumerate(corners, start=1):
        cv2.fillPoly(labels, [corner], (label,), shift=_SHIFT)


def _warp(rng: np.random.Generator, size_px: int, mpp: float) -> tuple[Float32Array, Float32Array]:
    grid = np.arange(size_px, dtype=np.float32)
    move = [
        0.06 / mpp * smooth_noise(rng, size_px, 3 / mpp) + 0.7 / mpp * smooth_noise(rng, size_px, 9 / mpp)
        for _ in range(2)
    ]
    return grid[None] + move[0], grid[:, None] + move[1]


def _displace(labels: Int32Array, warp: tuple[Float32Array, Float32Array]) -> Int32Array:
    moved = cv2.remap(labels.astype(np.float32), *warp, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    return moved.astype(np.int32)


def touches_edge(labels: Int32Array, n: int) -> BoolArray:
    """Which of the labels 1..n lie on the border of the image, (n,) bool."""
    seen = np.zeros(n + 1, dtype=bool)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        seen[line] = True
    return seen[1:]
