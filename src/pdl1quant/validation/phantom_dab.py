"""The brown of a phantom: which cells are positive, and where in the cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.validation.phantom_kinds import IS_DEAD, IS_IMMUNE, IS_TUMOUR, Kind
from pdl1quant.validation.phantom_noise import per_cell, smooth_noise
from pdl1quant.validation.phantom_optics import blur
from pdl1quant.validation.phantom_truth import BAND_UM, BROWN_OD

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Float64Array
    from pdl1quant.validation.phantom_settings import PhantomSettings
    from pdl1quant.validation.phantom_shapes import Shapes
    from pdl1quant.validation.phantom_zones import Zones

_SAFE_OD = BROWN_OD + 0.06
"""A structure meant to be brown is drawn at least this dark on average."""
_LINE_DEPTH_UM = 0.35
"""A brown membrane is darkest just inside the cell: its blur reaches the neighbour less."""
_VEIL_UM = 1.6
"""How far a slanting membrane is spread through the thickness of the section."""
_MOST_UNSPECIFIC_OD = 0.16
"""Brown that is not meant stays below this."""
_WANTS_MEMBRANE = {"membrane": 1.0, "both": 1.0, "cytoplasm": 0.0, "none": 0.0, "mixed": 0.7}
_IMMUNE_MEMBRANE, _IMMUNE_CYTOPLASM = 0.6, 0.7
"""Immune cells are brown in their own way, whatever the tumour's is."""
_WANTS_CYTOPLASM = {"membrane": 0.0, "both": 1.0, "cytoplasm": 1.0, "none": 0.0, "mixed": 0.6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stain:
    """What each cell (n,) is meant to show: ODs, and the share of the perimeter that is stained."""

    membrane_od: Float64Array
    membrane_share: Float64Array
    line_um: Float64Array
    cytoplasm_od: Float64Array
    granular: BoolArray
    vacuolated: BoolArray
    over_nucleus: Float64Array
    faint_od: Float64Array


def choose_stain(settings: PhantomSettings, shapes: Shapes, rng: np.random.Generator, *, viable: BoolArray) -> Stain:
    """Which cells are brown, where and how much: exactly the wanted share of the viable tumour cells.

    ``viable`` (n,) tells which cells count.
    """
    n, kind, size = len(shapes.kind), shapes.kind, settings.size_px
    x, y = np.clip(np.rint(shapes.centre), 0, size - 1).astype(int).T
    patch = smooth_noise(rng, size, 40 / settings.mpp)[y, x]
    luck = settings.patchiness * patch + (1 - settings.patchiness) * rng.normal(0, 1, n)
    others = IS_TUMOUR[kind] & ~viable
    brown = _top(luck, viable, settings.tps_pct / 100) | _top(luck, others, settings.tps_pct / 100)
    immune = IS_IMMUNE[kind] | (kind == Kind.PLASMA)
    brown |= _top(rng.normal(0, 1, n), immune, settings.positive_immune_share)
    if settings.pattern == "none":
        brown[:] = False
    spread = settings.dab_spread * (0.7 * smooth_noise(rng, size, 30 / settings.mpp)[y, x] + 0.7 * rng.normal(0, 1, n))
    least = _SAFE_OD + 0.1 * settings.grain
    strength = np.maximum(settings.dab_od * np.exp(spread), least)
    draw = rng.random(n)
    membrane = draw < np.where(immune, _IMMUNE_MEMBRANE, _WANTS_MEMBRANE[settings.pattern])
    cytoplasm = (draw > 1 - np.where(immune, _IMMUNE_CYTOPLASM, _WANTS_CYTOPLASM[settings.pattern])) | ~membrane
    partial = (rng.random(n) < settings.partial_share) & ~(shapes.column & (settings.basolateral > 0))
    weaker = np.where(membrane, rng.uniform(0.45, 0.9, n) / settings.membrane_contrast, 1.0)
    seen = settings.pattern != "none"
    return Stain(
        membrane_od=np.where(brown & membrane, strength, 0),
        membrane_share=np.where(partial, rng.uniform(0.35, 0.8, n), 1.0),
        line_um=settings.membrane_um * rng.uniform(0.7, 1.3, n),
        cytoplasm_od=np.where(brown & cytoplasm, np.maximum(strength * weaker, least), 0),
        granular=rng.random(n) < settings.granular_share,
        vacuolated=rng.random(n) < settings.vacuole_share,
        over_nucleus=np.where(immune, rng.uniform(0, 1, n), settings.bleed_through * rng.uniform(0.7, 1.3, n)),
        faint_od=(0.012 + np.where(IS_DEAD[kind], 0.12, 0.05) * rng.random(n) ** 3) * seen,
    )


def _top(luck: Float64Array, group: BoolArray, share: float) -> BoolArray:
    """The ``share`` of the group with the highest luck, exactly."""
    wanted = round(share * float(np.count_nonzero(group)))
    order = np.argsort(-np.where(group, luck, -np.inf), kind="stable")
    chosen = np.zeros(len(luck), dtype=bool)
    chosen[order[:wanted]] = True
    return chosen


def paint_dab(
    settings: PhantomSettings, shapes: Shapes, zones: Zones, stain: Stain, rng: np.random.Generator
) -> Float32Array:
    """Ideal DAB OD (H, W) float32."""
    cell, size, mpp = shapes.cell, settings.size_px, settings.mpp
    rough = 0.6 * smooth_noise(rng, size, 0.8 / mpp) + 0.6 * smooth_noise(rng, size, 3 / mpp)
    rough += 0.6 * smooth_noise(rng, size, 8 / mpp)
    grain: Float32Array = np.clip(1 + settings.grain * rough, 0.1, 3)
    body = grain
    if stain.granular.any():
        spots = np.clip(1.0 * smooth_noise(rng, size, 1.3 / mpp) + 0.8, 0, 2.5)
        body = np.where(per_cell(stain.granular, cell) > 0, spots, grain)
    if stain.vacuolated.any():
        holes = np.clip(1.2 - 1.6 * smooth_noise(rng, size, 3.5 / mpp), 0.05, 1)
        body = np.where(per_cell(stain.vacuolated, cell) > 0, holes * body, body)
    inner = (shapes.edge_um > BAND_UM) & (shapes.nucleus == 0)
    cytoplasm = body * per_cell(
        stain.cytoplasm_od / _cell_mean(shapes, np.asarray(body, dtype=np.float32), inner), cell
    )
    cytoplasm = np.where(shapes.nucleus > 0, per_cell(np.minimum(stain.over_nucleus, 1), cell) * cytoplasm, cytoplasm)
    line = _line(settings, shapes, stain, rng) * (0.6 + 0.4 * grain)
    wall = per_cell(stain.membrane_od, cell) * line
    od = np.maximum(wall, cytoplasm)
    if settings.veil > 0:
        od += settings.veil * blur(wall, _VEIL_UM / mpp) * np.clip(1 + 0.6 * smooth_noise(rng, size, 6 / mpp), 0, 2)
        od *= cell > 0
    unspecific = per_cell(stain.faint_od, cell) * (0.6 + 0.4 * grain) + _background(settings, zones, rng)
    if settings.diffusion > 0:
        unspecific += settings.diffusion * blur(od, 2.0 / mpp) * ~zones.empty
    od = od + np.minimum(unspecific, _MOST_UNSPECIFIC_OD)
    return np.asarray(od * (1 - shapes.mucin), dtype=np.float32)


def _cell_mean(shapes: Shapes, values: Float32Array, where: BoolArray) -> Float64Array:
    """Mean over the part of each cell (n,) that lies in ``where``; 1 where there is none."""
    n = len(shapes.kind)
    place = np.flatnonzero(where)
    labels = shapes.cell.ravel()[place]
    count = np.bincount(labels, minlength=n + 1)[1:]
    total = np.bincount(labels, weights=values.ravel()[place], minlength=n + 1)[1:]
    return np.where(count > 0, np.maximum(total / np.maximum(count, 1), 0.05), 1.0)


def _line(settings: PhantomSettings, shapes: Shapes, stain: Stain, rng: np.random.Generator) -> Float32Array:
    """Relative OD of the membranes, (H, W): on average 1 over the stained part of the band at a cell's edge."""
    n = len(shapes.kind)
    place = np.flatnonzero((shapes.cell > 0) & (shapes.edge_um <= 2 * BAND_UM) & (shapes.nucleus == 0))
    found = np.zeros(shapes.cell.size, dtype=np.float32)
    if not len(place):
        return found.reshape(shapes.cell.shape)
    index = shapes.cell.ravel()[place] - 1
    rows, cols = np.divmod(place, shapes.cell.shape[1])
    dx, dy = (cols - shapes.cell_centre[index, 0]), (rows - shapes.cell_centre[index, 1])
    angle = cv2.phase(dx.astype(np.float32), dy.astype(np.float32)).ravel()
    turn = (angle / np.float32(2 * np.pi) - rng.random(n)[index]) % 1.0
    edge = shapes.edge_um.ravel()[place]
    line = np.exp(-(((edge - _LINE_DEPTH_UM) / stain.line_um[index]) ** 2))
    band = edge <= BAND_UM
    total = np.bincount(index[band], weights=line[band], minlength=n)
    mean = total / np.maximum(np.bincount(index[band], minlength=n), 1)
    line = line / np.maximum(mean, 0.05)[index] * (turn <= stain.membrane_share[index])
    if settings.basolateral > 0:
        facing = np.cos(angle - shapes.angle[index]) > 0.75
        line = np.where(facing & shapes.column[index], line * (1 - settings.basolateral), line)
    found[place] = line
    return found.reshape(shapes.cell.shape)


def _background(settings: PhantomSettings, zones: Zones, rng: np.random.Generator) -> Float32Array:
    """Unspecific brown over the tissue, in necrosis, and along the edge of the tissue."""
    size, mpp = settings.size_px, settings.mpp
    od = np.zeros((size, size), dtype=np.float32)
    if settings.background_dab_od > 0:
        od += settings.background_dab_od * np.clip(1 + 0.3 * smooth_noise(rng, size, 25 / mpp), 0, 2)
    if zones.necrosis.any():
        od[zones.necrosis] += 0.06
    if settings.edge_dab_od > 0 and zones.glass.any():
        depth = cv2.distanceTransform((~zones.glass).astype(np.uint8), cv2.DIST_L2, 3) * mpp
        od += settings.edge_dab_od * np.exp(-depth / 8)
    od[zones.glass | zones.lumen | zones.vessel] = 0
    return od
