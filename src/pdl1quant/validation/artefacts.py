"""What goes wrong on glass, planted onto rendered fields with its truth: pen, folds, bubbles, blur, pigment.

For the masks of `stages.artefacts`, at the scale of a slide. The fields themselves know smaller ones of their own
(`phantom_artefacts`); what is planted here lies on top of the picture and leaves the renderers as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.model import ArtefactKind
from pdl1quant.validation.phantom_noise import smooth_noise, white_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import BoolArray, Float32Array, UInt8Array

PEN_RGB = {"blue": (45, 60, 175), "green": (35, 140, 85), "red": (195, 45, 60), "black": (45, 45, 50)}
"""Felt pens of pathologists as scanners see them."""
NOISE_SD = 1.5
"""Noise of a camera, in grey levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A field with one artefact: (H, W, 3) uint8, and where it is, (H, W) bool."""

    rgb: UInt8Array
    kind: ArtefactKind
    mask: BoolArray


def plant_pen(
    rgb: UInt8Array, *, mpp: float, white: Sequence[float], seed: int, colour: str = "blue", width_um: float = 350.0
) -> Planted:
    """A stroke of a felt pen, bent and streaky, over tissue and glass alike."""
    rng = np.random.default_rng(seed)
    shape = rgb.shape[:2]
    along = _distance_px(_curve(rng, shape), shape) * mpp
    ink = np.clip((width_um / 2 - along) / 12, 0, 1).astype(np.float32)
    density = ink * np.clip(1 + 0.12 * _noise(rng, shape, 40 / mpp), 0.6, 1.4)
    pen = -np.log10(np.asarray(PEN_RGB[colour]) / np.asarray(white)).astype(np.float32)
    od = _od(rgb, white) + density[:, :, None] * pen
    return Planted(rgb=_rgb(od, white, rng, ink), kind=ArtefactKind.PEN, mask=ink > 0.5)


def plant_fold(
    rgb: UInt8Array, *, mpp: float, white: Sequence[float], seed: int, width_um: float = 45.0, n_layers: int = 2
) -> Planted:
    """A bent band in which the section lies ``n_layers`` times more, above the plane of focus."""
    rng = np.random.default_rng(seed)
    shape = rgb.shape[:2]
    along = _distance_px(_curve(rng, shape), shape) * mpp
    half = width_um / 2 * np.clip(1 + 0.25 * _noise(rng, shape, 120 / mpp), 0.5, 1.5)
    fold = np.clip((half - along) / 6 + 0.5, 0, 1).astype(np.float32)
    od = _od(rgb, white)
    tissue = cv2.GaussianBlur(od @ np.full(3, 1 / 3, np.float32), (0, 0), 10 / mpp) > 0.04
    shift = max(round(width_um / mpp), 1)
    for layer in range(1, n_layers + 1):
        od = od + fold[:, :, None] * np.roll(od, (layer * shift, layer * shift), axis=(0, 1))
    od += fold[:, :, None] * (cv2.GaussianBlur(od, (0, 0), 4.0 / mpp) - od)
    return Planted(rgb=_rgb(od, white, rng, fold), kind=ArtefactKind.FOLD, mask=(fold > 0.5) & tissue)


def plant_bubble(
    rgb: UInt8Array, *, mpp: float, white: Sequence[float], seed: int, radius_um: float = 300.0
) -> Planted:
    """Air below the cover slip: a dark rim with a bright line inside; what lies within is pale and out of focus."""
    rng = np.random.default_rng(seed)
    shape = rgb.shape[:2]
    x, y = (rng.uniform(0.35, 0.65) * side for side in shape[::-1])
    grid_y, grid_x = np.indices(shape, dtype=np.float32)
    turn, squeeze = np.arctan2(grid_y - y, grid_x - x), rng.uniform(0.8, 1)
    phase = rng.uniform(0, 2 * np.pi)
    wave = 1 + 0.04 * np.cos(2 * turn + phase) + 0.02 * np.cos(3 * turn)
    from_rim = (np.hypot(grid_x - x, (grid_y - y) / squeeze) / wave * mpp - radius_um).astype(np.float32)
    inside = np.clip(-from_rim / 6, 0, 1).astype(np.float32)
    od = _od(rgb, white)
    od += inside[:, :, None] * (0.75 * cv2.GaussianBlur(od, (0, 0), 5.0 / mpp) + 0.02 - od)
    rim_um = rng.uniform(14, 22)
    rim = rng.uniform(0.7, 1.1) * np.exp(-0.5 * np.square(from_rim / (rim_um / 2)))
    bright = 0.06 * np.exp(-0.5 * np.square((from_rim + 1.6 * rim_um) / (rim_um / 3)))
    od += (rim - bright).astype(np.float32)[:, :, None]
    return Planted(rgb=_rgb(od, white, rng, inside), kind=ArtefactKind.BUBBLE, mask=from_rim < rim_um / 2)


def plant_blur(
    rgb: UInt8Array, *, mpp: float, white: Sequence[float], seed: int, radius_um: float = 320.0, blur_um: float = 5.0
) -> Planted:
    """A place that the scanner did not focus: an uneven spot, fading over some 60 um."""
    rng = np.random.default_rng(seed)
    shape = rgb.shape[:2]
    x, y = (rng.uniform(0.35, 0.65) * side for side in shape[::-1])
    grid_y, grid_x = np.indices(shape, dtype=np.float32)
    reach = radius_um * (1 + 0.2 * _noise(rng, shape, 250 / mpp))
    away = np.hypot(grid_x - x, grid_y - y) * mpp
    alpha = np.clip((reach - away) / 60 + 0.5, 0, 1).astype(np.float32)
    od = _od(rgb, white)
    od += alpha[:, :, None] * (cv2.GaussianBlur(od, (0, 0), blur_um / mpp) - od)
    return Planted(rgb=_rgb(od, white, rng, alpha), kind=ArtefactKind.BLUR, mask=alpha > 0.5)


def plant_pigment(
    rgb: UInt8Array, *, mpp: float, white: Sequence[float], seed: int, n_heaps: int = 6, radius_um: float = 45.0
) -> Planted:
    """Heaps of black granules (carbon), each some tens of um wide."""
    rng = np.random.default_rng(seed)
    shape = rgb.shape[:2]
    heap = np.zeros(shape, np.float32)
    rough = 0.25 * _noise(rng, shape, 25 / mpp)
    grid_y, grid_x = np.indices(shape, dtype=np.float32)
    for _ in range(n_heaps):
        x, y = (rng.uniform(0.1, 0.9) * side for side in shape[::-1])
        reach = radius_um * rng.uniform(0.6, 1.3)
        heap = np.maximum(heap, np.clip(1.5 - np.hypot(grid_x - x, grid_y - y) * mpp / reach + rough, 0, 1))
    granule = _noise(rng, shape, max(2.0 / mpp, 1.0))
    od = _od(rgb, white)
    black = np.where((heap > 0.5) & (granule > -0.6), np.clip(1.0 + 0.3 * granule, 0.3, 1.8), 0).astype(np.float32)
    od += cv2.GaussianBlur(black, (0, 0), 0.5 / mpp)[:, :, None]
    return Planted(rgb=_rgb(od, white, rng, heap), kind=ArtefactKind.PIGMENT, mask=heap > 0.5)


def _curve(rng: np.random.Generator, shape: tuple[int, int]) -> list[tuple[float, float]]:
    """Points (x, y) of a bent line through the middle part of a field."""
    height, width = shape
    turn = rng.uniform(0, np.pi)
    centre = np.array([width, height]) * rng.uniform(0.4, 0.6, 2)
    step = np.linspace(-0.36, 0.36, 60)
    bend = 0.08 * np.sin(2 * np.pi * rng.uniform(0.7, 1.5) * step + rng.uniform(0, 2 * np.pi))
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    points = centre + min(shape) * (step[:, None] * along + bend[:, None] * across)
    return [(float(x), float(y)) for x, y in points]


def _distance_px(points: list[tuple[float, float]], shape: tuple[int, int]) -> Float32Array:
    """Distance of each pixel from a line."""
    free = np.ones(shape, np.uint8)
    cv2.polylines(free, [np.rint(points).astype(np.int32)], False, 0, 1)
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> Float32Array:
    return smooth_noise(rng, max(shape), scale_px)[: shape[0], : shape[1]]


def _od(rgb: UInt8Array, white: Sequence[float]) -> Float32Array:
    levels = -np.log10(np.maximum(np.arange(256), 1)[:, None] / np.asarray(white)).astype(np.float32)
    return np.asarray(cv2.LUT(rgb, levels[None]), np.float32)


def _rgb(od: Float32Array, white: Sequence[float], rng: np.random.Generator, changed: Float32Array) -> UInt8Array:
    """The picture, with the noise of the camera that ``changed`` (0-1) has taken away."""
    light = np.asarray(cv2.exp(od * np.float32(-np.log(10))), np.float32)
    light *= np.asarray(white, np.float32)
    places = changed > 0
    noisy = np.float32(NOISE_SD) * changed[places, None]
    light[places] += noisy * white_noise(rng, (len(noisy), 3))
    return np.asarray(np.clip(np.rint(light, out=light), 0, 255, out=light), np.uint8)
