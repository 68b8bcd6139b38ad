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
        if rng.random() < 0.3:
            density *= thickness(density.shape[:2], rng)[:, :, None]
        white = rng.normal(0, 0.03) + rng.normal(0, 0.012, 3)
        image = 256 * np.exp(-np.maximum(density - white.astype(np.float32), 0)) - 1
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(np.asarray(image, dtype=np.float32), (0, 0), rng.uniform(0.4, 1.5))
    if rng.random() < 0.2:
        image = resampled(np.asarray(image, dtype=np.float32), float(rng.uniform(0.5, 0.9)))
    image = lens(np.asarray(image, dtype=np.float32), rng)
    if rng.random() < 0.25:
        image = image + rng.uniform(1, 5) * rng.standard_normal(rgb.shape, dtype=np.float32)
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return pixels if rng.random() < 0.7 else compressed(pixels, int(rng.integers(50, 96)))


def thickness(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """How thick the section is from place to place, about 1: (H, W) float32."""
    coarse = rng.standard_normal((int(rng.integers(2, 9)),) * 2, dtype=np.float32)
    smooth = cv2.resize(coarse, shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.exp(np.float32(rng.uniform(0.03, 0.2)) * smooth)


def lens(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image (H, W, 3) float32 by another tone curve, sharpening, filter and colour error; often the same."""
    if rng.random() < 0.25:
        image = 255 * (np.clip(image, 0, 255) / 255) ** np.float32(np.exp(rng.normal(0, 0.2)))
    if rng.random() < 0.25:
        soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.8))
        image = image + np.float32(rng.uniform(0.3, 1.8)) * (image - soft)
    if rng.random() < 0.2:
        noise = rng.normal(0, 0.05, (3, 3)).astype(np.float32)
        noise -= noise.mean()
        noise[1, 1] += 1
        image = cv2.filter2D(image, -1, noise, borderType=cv2.BORDER_REFLECT)
    if rng.random() < 0.15:
        for channel in (0, 2):
            move = np.hstack([np.eye(2), rng.uniform(-0.7, 0.7, (2, 1))]).astype(np.float32)
            moved = cv2.warpAffine(
                np.ascontiguousarray(image[:, :, channel]), move, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT
            )
            image = np.dstack([moved, image[:, :, 1:]] if channel == 0 else [image[:, :, :2], moved])
    return image


def resampled(image: np.ndarray, scale: float) -> np.ndarray:
    """The image (H, W, 3) after a detour over a coarser grid, as when a scan at another magnification was enlarged."""
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def compressed(rgb: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) uint8 saved as JPEG once more."""
    return cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
