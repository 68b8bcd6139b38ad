"""From ideal optical densities to the RGB image that a camera would save."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, UInt8Array
    from pdl1quant.validation.phantoms import PhantomSettings


def unit(vector: tuple[float, float, float]) -> Float32Array:
    """The stain vector at length 1, (3,) float32."""
    array = np.asarray(vector, dtype=np.float32)
    return array / np.float32(np.linalg.norm(array))


def expose(
    od: Float32Array, settings: PhantomSettings, rng: np.random.Generator, *, defocus: Float32Array
) -> UInt8Array:
    """RGB (H, W, 3) uint8 of an OD image (H, W, 3): blur, transmittance, white, gamma, noise, JPEG.

    ``defocus`` (H, W) in 0-1 mixes in a strongly blurred image.
    """
    if settings.blur_px > 0:
        od = cv2.GaussianBlur(od, (0, 0), settings.blur_px).astype(np.float32, copy=False)
    if defocus.any():
        far = cv2.GaussianBlur(od, (0, 0), settings.defocus_um / settings.mpp)
        od = od + defocus[:, :, None] * (far - od)
    light = np.exp(od * np.float32(-np.log(10) * settings.gamma)) * np.asarray(settings.white, dtype=np.float32)
    if settings.noise_sd > 0:
        light = light + rng.standard_normal(light.shape, dtype=np.float32) * np.float32(settings.noise_sd)
    rgb = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return rgb if settings.jpeg_quality is None else _jpeg(rgb, settings.jpeg_quality)


def _jpeg(rgb: UInt8Array, quality: int) -> UInt8Array:
    done, code = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    bgr = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(bgr[:, :, ::-1])
