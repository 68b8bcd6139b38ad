"""Batches for training: random crops of rendered fields, turned, restained and photographed once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def draw_batch(files: list[Path], rng: np.random.Generator, *, batch: int, crop_px: int) -> np.ndarray:
    """(N, crop, crop, 6) uint8: images with their targets; see `fields`."""
    crops = []
    for index in rng.integers(len(files), size=batch):
        field = np.load(files[index], mmap_mode="r")
        y, x = rng.integers(0, np.array(field.shape[:2]) - crop_px + 1)
        crop = np.rot90(field[y : y + crop_px, x : x + crop_px], int(rng.integers(4)))
        crop = np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)
        crop[:, :, :3] = disturb(crop[:, :, :3], rng)
        crops.append(crop)
    return np.stack(crops)


def disturb(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another stain, white level, focus and camera; (H, W, 3) uint8."""
    image = rgb
    if rng.random() < 0.8:
        density = -np.log((image.astype(np.float32) + 1) / 256)
        mix = np.eye(3, dtype=np.float32) + rng.normal(0, 0.05, (3, 3)).astype(np.float32)
        gain = np.exp(rng.normal(0, 0.12)) * np.exp(rng.normal(0, 0.05, 3))
        density = cv2.transform(density, mix * gain[:, None].astype(np.float32))
        white = rng.normal(0, 0.03) + rng.normal(0, 0.012, 3)
        image = 256 * np.exp(-np.maximum(density - white.astype(np.float32), 0)) - 1
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(np.asarray(image, dtype=np.float32), (0, 0), rng.uniform(0.4, 1.5))
    if rng.random() < 0.2:
        image = resampled(np.asarray(image, dtype=np.float32), float(rng.uniform(0.5, 0.9)))
    if rng.random() < 0.25:
        image = image + rng.uniform(1, 5) * rng.standard_normal(rgb.shape, dtype=np.float32)
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return pixels if rng.random() < 0.7 else compressed(pixels, int(rng.integers(50, 96)))


def resampled(image: np.ndarray, scale: float) -> np.ndarray:
    """The image (H, W, 3) after a detour over a coarser grid, as when a scan at another magnification was enlarged."""
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def compressed(rgb: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) uint8 saved as JPEG once more."""
    return cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
