"""From ideal optical densities to the RGB image that a camera would save."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.validation.phantom_noise import white_noise

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from pdl1quant.model import Float32Array, UInt8Array
    from pdl1quant.validation.phantom_settings import PhantomSettings


def unit(vector: ArrayLike) -> Float32Array:
    """The stain vector at length 1, (3,) float32."""
    array = np.asarray(vector, dtype=np.float32)
    return array / np.float32(np.linalg.norm(array))


def compose(settings: PhantomSettings, *, blue: Float32Array, brown: Float32Array, black: Float32Array) -> Float32Array:
    """OD image (H, W, 3) of the ODs (H, W) of haematoxylin, DAB and neutral pigment."""
    vectors = np.stack([unit(settings.haematoxylin), unit(settings.dab), unit((1.0, 1.0, 1.0))], axis=1)
    return np.asarray(cv2.transform(cv2.merge([blue, brown, black]), vectors), dtype=np.float32)


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
        od = od + defocus[:, :, None] * (blur(od, settings.defocus_um / settings.mpp) - od)
    light = np.asarray(cv2.exp(od * np.float32(-np.log(10) * settings.gamma)), dtype=np.float32)
    light *= np.asarray(settings.white, dtype=np.float32) * np.float32(1 - settings.flare)
    light += np.asarray(settings.white, dtype=np.float32) * np.float32(settings.flare)
    if settings.sharpen > 0:
        light = light + np.float32(settings.sharpen) * (light - cv2.GaussianBlur(light, (0, 0), 1.0))
    if settings.noise_sd > 0:
        light += np.float32(settings.noise_sd) * _camera_noise(rng, light.shape, settings.noise_px)
    rgb = np.asarray(cv2.convertScaleAbs(np.maximum(light, 0)), dtype=np.uint8)
    return rgb if settings.jpeg_quality is None else _jpeg(rgb, settings.jpeg_quality)


def blur(image: Float32Array, sigma_px: float) -> Float32Array:
    """A Gaussian blur, made at half the size where nobody sees it."""
    if sigma_px < 3:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), dtype=np.float32)
    height, width = image.shape[:2]
    small = cv2.resize(image, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), sigma_px / 2)
    return np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _camera_noise(rng: np.random.Generator, shape: tuple[int, ...], grain_px: float) -> Float32Array:
    """Noise of standard deviation 1 (H, W, 3), mostly the same in the three channels, as after demosaicking."""
    noise = np.float32(0.6) * white_noise(rng, shape)
    noise += np.float32(0.8) * white_noise(rng, (*shape[:2], 1))
    if grain_px > 0:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), grain_px), dtype=np.float32)
        noise /= max(float(cv2.meanStdDev(noise)[1].mean()), 1e-6)
    return noise


def _jpeg(rgb: UInt8Array, quality: int) -> UInt8Array:
    done, code = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    bgr = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(bgr[:, :, ::-1])
