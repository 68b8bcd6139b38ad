"""From shapes to ideal optical densities: what is blue, what is brown, what is black."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.validation.phantom_layout import LYMPHOCYTE, MACROPHAGE, TUMOUR, smooth_noise
from pdl1quant.validation.phantom_shapes import touches_edge
from pdl1quant.validation.phantom_truth import BAND_UM, BROWN_OD

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Float64Array, Int32Array
    from pdl1quant.validation.phantom_layout import Zones
    from pdl1quant.validation.phantom_shapes import Shapes
    from pdl1quant.validation.phantoms import PhantomSettings

_SAFE_OD = BROWN_OD + 0.06
"""A structure meant to be brown is drawn at least this dark."""
_LINE_UM = 0.6
"""Depth over which a brown membrane fades into the cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stain:
    """What each cell (n,) is meant to show: ODs, and the share of the perimeter that is stained."""

    membrane_od: Float64Array
    membrane_share: Float64Array
    cytoplasm_od: Float64Array
    faint_od: Float64Array


def choose_stain(
    settings: PhantomSettings,
    shapes: Shapes,
    rng: np.random.Generator,
    *,
    pigment: Float32Array,
    defocus: Float32Array,
) -> Stain:
    """Which cells are brown, where and how much: exactly the wanted share of the judgeable tumour cells."""
    n, kind = len(shapes.kind), shapes.kind
    patch = smooth_noise(rng, settings.size_px, 40 / settings.mpp)
    x, y = np.clip(np.rint(shapes.centre), 0, settings.size_px - 1).astype(int).T
    luck = settings.patchiness * patch[y, x] + (1 - settings.patchiness) * rng.normal(0, 1, n)
    brown = np.zeros(n, dtype=bool)
    covered = np.bincount(shapes.cell.ravel(), weights=((pigment > 0) | (defocus >= 0.5)).ravel(), minlength=n + 1)[1:]
    clear = (kind == TUMOUR) & ~touches_edge(shapes.cell, n) & (covered == 0)
    for group in (clear, (kind == TUMOUR) & ~clear):
        brown |= _top(luck, group, settings.tps_pct / 100)
    brown |= _top(rng.normal(0, 1, n), np.isin(kind, (LYMPHOCYTE, MACROPHAGE)), settings.positive_immune_share)
    if settings.pattern == "none":
        brown[:] = False
    strength = np.maximum(settings.dab_od * np.exp(rng.normal(0, settings.dab_spread, n)), _SAFE_OD)
    draw = rng.random(n)
    wants_membrane = {"membrane": 1.0, "both": 1.0, "cytoplasm": 0.0, "none": 0.0, "mixed": 0.7}[settings.pattern]
    wants_cytoplasm = {"membrane": 0.0, "both": 1.0, "cytoplasm": 1.0, "none": 0.0, "mixed": 0.6}[settings.pattern]
    membrane = draw < wants_membrane
    cytoplasm = (draw > 1 - wants_cytoplasm) | ~membrane
    share = np.where(rng.random(n) < settings.partial_share, rng.uniform(0.35, 0.8, n), 1.0)
    weaker = np.where(membrane, rng.uniform(0.45, 0.9, n), 1.0)
    faint = rng.uniform(0, 0.08, n) * (settings.pattern != "none")
    return Stain(
        membrane_od=np.where(brown & membrane, strength, 0),
        membrane_share=share,
        cytoplasm_od=np.where(brown & cytoplasm, np.maximum(strength * weaker, _SAFE_OD), 0),
        faint_od=faint,
    )


def _top(luck: Float64Array, group: BoolArray, share: float) -> BoolArray:
    """The ``share`` of the group with the highest luck, exactly."""
    wanted = round(share * float(np.count_nonzero(group)))
    order = np.argsort(-np.where(group, luck, -np.inf), kind="stable")
    chosen = np.zeros(len(luck), dtype=bool)
    chosen[order[:wanted]] = True
    return chosen


def paint_dab(settings: PhantomSettings, shapes: Shapes, stain: Stain, rng: np.random.Generator) -> Float32Array:
    """Ideal DAB OD (H, W)."""
    cell, size, mpp = shapes.cell, settings.size_px, settings.mpp
    grain = 1 + settings.grain * smooth_noise(rng, size, 0.8 / mpp).clip(-2, 2)
    inside = cell > 0
    line = np.exp(-((shapes.edge_um / _LINE_UM) ** 2)).astype(np.float32)
    band = inside & (shapes.edge_um <= BAND_UM) & (shapes.nucleus == 0)
    line /= max(float(line[band].mean()), 1e-3) if band.any() else 1.0
    membrane = _per_cell(stain.membrane_od, cell) * line * _arc(shapes, stain, rng)
    cytoplasm = _per_cell(stain.cytoplasm_od, cell) * np.where(shapes.nucleus > 0, settings.bleed_through, grain)
    faint = _per_cell(stain.faint_od, cell) * (0.7 + 0.3 * grain)
    membrane *= 0.85 + 0.15 * grain
    return np.asarray(np.where(inside, np.maximum(membrane, cytoplasm) + faint, 0), dtype=np.float32)


def _arc(shapes: Shapes, stain: Stain, rng: np.random.Generator) -> Float32Array:
    """1 where the cell's membrane is stained, 0 elsewhere, by direction from the cell's centre."""
    n = len(shapes.kind)
    rows, cols = np.nonzero(shapes.cell)
    index = shapes.cell[rows, cols] - 1
    angle = np.arctan2(rows - shapes.cell_centre[index, 1], cols - shapes.cell_centre[index, 0])
    turn = (angle / (2 * np.pi) - rng.random(n)[index]) % 1.0
    arc = np.zeros(shapes.cell.shape, dtype=np.float32)
    arc[rows, cols] = turn <= stain.membrane_share[index]
    return arc


def paint_haematoxylin(
    settings: PhantomSettings, shapes: Shapes, zones: Zones, rng: np.random.Generator
) -> Float32Array:
    """Ideal haematoxylin OD (H, W): chromatin, cytoplasm, stroma; glass stays empty."""
    size, mpp, kind, n = settings.size_px, settings.mpp, shapes.kind, len(shapes.kind)
    fine = smooth_noise(rng, size, 0.9 / mpp) * 0.6 + smooth_noise(rng, size, 2.2 / mpp) * 0.6
    level = np.array([0.80, 1.15, 0.65, 0.95, 0.9])[kind] * np.exp(rng.normal(0, 0.18, n)) * settings.haematoxylin_od
    open_ = np.array([0.35, 0.10, 0.35, 0.20, 0.2])[kind] * rng.uniform(0.2, 1.6, n)
    rim = np.exp(-((shapes.rim_um / 0.8) ** 2))
    clumps = np.array([0.16, 0.13, 0.16, 0.12, 0.1])[kind] * rng.uniform(0.5, 1.7, n)
    chromatin = _per_cell(level, shapes.nucleus) * (
        1 + _per_cell(clumps, shapes.nucleus) * fine + _per_cell(open_, shapes.nucleus) * (rim - 0.45)
    )
    chromatin = np.maximum(chromatin, 0) + _nucleoli(settings, shapes, rng, level)
    cloud = np.clip(1 + 0.35 * smooth_noise(rng, size, 6 / mpp) + 0.2 * fine, 0.1, 3)
    tint = np.array([0.09, 0.07, 0.05, 0.05, 0.05])[kind] * rng.uniform(0.6, 1.4, n) * settings.background_od / 0.06
    body = _per_cell(tint, shapes.cell) * cloud
    ground = settings.background_od * cloud * (0.5 + 0.5 * _fibres(settings, rng))
    ground = np.where(zones.stroma & (shapes.cell == 0), ground, 0)
    ground = np.where(zones.tumour & (shapes.cell == 0), 0.3 * settings.background_od * cloud, ground)
    return np.asarray(np.where(shapes.nucleus > 0, np.maximum(chromatin, body), body + ground), dtype=np.float32)


def _nucleoli(settings: PhantomSettings, shapes: Shapes, rng: np.random.Generator, level: Float64Array) -> Float32Array:
    spots = np.zeros(shapes.cell.shape, dtype=np.float32)
    chosen = np.flatnonzero((shapes.kind == TUMOUR) & (rng.random(len(shapes.kind)) < settings.nucleolus_share))
    place = (shapes.centre[chosen] + rng.normal(0, 1.2 / settings.mpp, (len(chosen), 2))) * 16
    radius = np.rint(rng.uniform(0.5, 1.1, len(chosen)) / settings.mpp * 16).astype(int)
    for (x, y), r, od in zip(np.rint(place).astype(int), radius, 0.45 * level[chosen], strict=True):
        cv2.circle(spots, (int(x), int(y)), int(r), float(od), -1, cv2.LINE_8, 4)
    return spots * (shapes.nucleus > 0)


def _fibres(settings: PhantomSettings, rng: np.random.Generator) -> Float32Array:
    """Wavy streaks (H, W), standardised."""
    size, mpp = settings.size_px, settings.mpp
    straight = rng.standard_normal((max(int(size * mpp / 1.3), 8), max(int(size * mpp / 22), 6)), dtype=np.float32)
    wide = cv2.resize(straight, (size, size), interpolation=cv2.INTER_CUBIC)
    turn = rng.uniform(0, np.pi)
    grid = np.arange(size, dtype=np.float32) - size / 2
    bend = 14 / mpp * smooth_noise(rng, size, 70 / mpp)
    u = np.cos(turn) * grid[None] + np.sin(turn) * grid[:, None]
    v = -np.sin(turn) * grid[None] + np.cos(turn) * grid[:, None] + bend
    streaks = cv2.remap(
        wide,
        (u + size / 2).astype(np.float32),
        (v + size / 2).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(streaks, dtype=np.float32)


def paint_pigment(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Float32Array:
    """OD of neutral black granules in patches (H, W)."""
    size, mpp = settings.size_px, settings.mpp
    if settings.pigment_share <= 0:
        return np.zeros((size, size), dtype=np.float32)
    where = smooth_noise(rng, size, 12 / mpp) + 0.7 * smooth_noise(rng, size, 60 / mpp)
    where[zones.glass | zones.lumen] = -9
    patch = where >= np.quantile(where, 1 - settings.pigment_share)
    granule = smooth_noise(rng, size, 1.0 / mpp)
    od = np.clip(0.9 + 0.5 * granule, 0, 2.0)
    return np.asarray(np.where(patch, od, 0), dtype=np.float32)


def paint_defocus(settings: PhantomSettings, rng: np.random.Generator) -> Float32Array:
    """How far out of focus each pixel is, (H, W) in 0-1."""
    size = settings.size_px
    if settings.out_of_focus_share <= 0:
        return np.zeros((size, size), dtype=np.float32)
    noise = smooth_noise(rng, size, 60 / settings.mpp)
    level = np.quantile(noise, 1 - settings.out_of_focus_share)
    return np.asarray(np.clip((noise - level) / 0.3 + 0.5, 0, 1), dtype=np.float32)


def _per_cell(values: Float64Array, labels: Int32Array) -> Float32Array:
    table = np.concatenate([[0.0], values]).astype(np.float32)
    return np.asarray(table[labels], dtype=np.float32)


__all__ = ["MACROPHAGE", "Stain", "choose_stain", "paint_dab", "paint_defocus", "paint_haematoxylin", "paint_pigment"]
