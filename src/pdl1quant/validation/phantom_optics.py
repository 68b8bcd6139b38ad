"""From ideal optical densities to the RGB image that a camera would save."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, UInt8Array
    from pdl1quant.validation.phantom_settings import PhantomSettings


def unit(vector: tuple[float, float, float]) -> Float32Array:
    """The stain vector at length 1, (3,) float32."""
    array = np.asarray(vector, dtype=np.float32)
    return array / np.float32(np.linalg.norm(array))


def expose(
    od: Float32Array, settings: PhantomSettings, rng: np.random.Generator, *, defocus: Float32Array, fold: Float32Array
) -> UInt8Array:
    """RGB (H, W, 3) uint8 of an OD image (H, W, 3) float32.

    In this order: folds (``fold``, 0-1: the section lies double), blur, ``defocus`` (0-1: mixes in a strong blur),
    transmittance, stray light, white, gamma, sharpening, noise, JPEG.
    """
    if fold.any():
        shift = max(round(6 / settings.mpp), 1)
        od = od + fold[:, :, None] * (0.02 + np.roll(od, (shift, shift), axis=(0, 1)))
    if settings.blur_px > 0:
        od = np.asarray(cv2.GaussianBlur(od, (0, 0), settings.blur_px), dtype=np.float32)
    if defocus.any():
        far = cv2.GaussianBlur(od, (0, 0), settings.defocus_um / settings.mpp)
        od = od + defocus[:, :, None] * (far - od)
    light = cv2.exp(od * np.float32(-np.log(10) * settings.gamma))
    light = (settings.flare + (1 - settings.flare) * light) * np.asarray(settings.white, dtype=np.float32)
    if settings.sharpen > 0:
        light = light + np.float32(settings.sharpen) * (light - cv2.GaussianBlur(light, (0, 0), 1.0))
    if settings.noise_sd > 0:
        light = light + _camera_noise(rng, light.shape, settings.noise_sd)
    rgb = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return rgb if settings.jpeg_quality is None else _jpeg(rgb, settings.jpeg_quality)


def _camera_noise(rng: np.random.Generator, shape: tuple[int, ...], sd: float) -> Float32Array:
    """Mostly the same in the three channels, as after demosaicking."""
    grey = rng.standard_normal(shape[:2], dtype=np.float32)
    colour = rng.standard_normal(shape, dtype=np.float32)
    return np.float32(sd) * (np.float32(0.8) * grey[:, :, None] + np.float32(0.6) * colour)


def _jpeg(rgb: UInt8Array, quality: int) -> UInt8Array:
    done, code = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    bgr = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(bgr[:, :, ::-1])
