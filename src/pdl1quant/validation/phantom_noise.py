"""Smooth random fields: the clouds, patches and grains of a phantom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Int32Array

_FINE_PX = 4.5
"""Noise with smaller features is blurred white noise: no grid shows in it."""
NEVER = -99.0
"""Noise where nothing may grow."""
_COARSE_PX = 12.0
"""Noise with larger features is made at a quarter of the size and enlarged: nobody sees it, and it is faster."""


def smooth_noise(rng: np.random.Generator, size_px: int, scale_px: float) -> Float32Array:
    """Standardised noise (size, size) float32 whose features are about ``scale_px`` wide."""
    if scale_px >= _COARSE_PX and size_px >= 64:
        small = _cubic_noise(rng, size_px // 4 + 2, scale_px / 4)
        field = cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)[:size_px, :size_px]
    elif scale_px < _FINE_PX:
        field = white_noise(rng, (size_px, size_px))
        if scale_px > 0.7:
            field = np.asarray(cv2.GaussianBlur(field, (0, 0), 0.5 * scale_px), dtype=np.float32)
    else:
        field = _cubic_noise(rng, size_px, scale_px)
    mean, sd = cv2.meanStdDev(field)
    return np.asarray((field - np.float32(mean[0, 0])) * np.float32(1 / max(sd[0, 0], 1e-6)), dtype=np.float32)


def white_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Float32Array:
    """Independent, nearly Gaussian numbers of mean 0 and standard deviation 1: sums of three uniform ones."""
    parts = rng.integers(0, 65536, (3, *shape), dtype=np.uint16)
    total = parts[0].astype(np.float32) + parts[1] + parts[2]
    return np.asarray((total - np.float32(1.5 * 65535)) * np.float32(2 / 65536), dtype=np.float32)


def _cubic_noise(rng: np.random.Generator, size_px: int, scale_px: float) -> Float32Array:
    scale = max(scale_px, 1.0)
    n = max(int(np.ceil(size_px / scale)) + 4, 6)
    coarse = rng.standard_normal((n, n), dtype=np.float32)
    wide = cv2.resize(coarse, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    x0, y0 = (int(v) for v in rng.integers(0, wide.shape[0] - size_px + 1, 2))
    return np.asarray(wide[y0 : y0 + size_px, x0 : x0 + size_px], dtype=np.float32)


def streaks(rng: np.random.Generator, size_px: int, *, width_px: float, length_px: float) -> Float32Array:
    """Wavy streaks (size, size) of one slowly turning direction, about standardised."""
    n = size_px + int(length_px)
    straight = rng.standard_normal((max(int(n / width_px), 8), max(int(n / length_px), 6)), dtype=np.float32)
    wide = cv2.resize(straight, (n, n), interpolation=cv2.INTER_CUBIC)
    turn = rng.uniform(0, np.pi)
    grid = np.arange(size_px, dtype=np.float32) - size_px / 2
    bend = np.float32(0.6 * length_px) * smooth_noise(rng, size_px, 3 * length_px)
    bend += np.float32(0.8 * width_px) * smooth_noise(rng, size_px, 4 * width_px)
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = c * grid[None] + s * grid[:, None] + n / 2, -s * grid[None] + c * grid[:, None] + bend + n / 2
    found = cv2.remap(wide, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(found, dtype=np.float32)


def upper_share(noise: Float32Array, share: float) -> BoolArray:
    """The ``share`` of the pixels where the noise is highest, without those at `NEVER`."""
    if share <= 0:
        return np.zeros(noise.shape, dtype=bool)
    level = max(float(np.quantile(noise[::4, ::4], 1 - min(share, 1.0))), NEVER / 2)
    return np.asarray(noise >= level, dtype=bool)


def per_cell(values: np.ndarray, labels: Int32Array) -> Float32Array:
    """An image of each cell's value; 0 where there is no cell."""
    table = np.zeros(len(values) + 1, dtype=np.float32)
    table[1:] = values
    return table.take(labels)
