"""The images of a case -> their working resolution, and one stain estimate for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.errors import UsageError
from pdl1quant.model import ResultFlag, StainEstimate, Tile, UInt8Array
from pdl1quant.pipeline.checks import check_given, check_mpp, check_pixels, check_white, listed
from pdl1quant.stages import quality, stains
from pdl1quant.stages.stains import StainSample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.config import Config

__all__ = ["StainSample", "estimate_case", "estimate_flags", "sample_image", "working_tile"]

SAME_MPP = 0.01
"""Pixel sizes closer than this (relative) are not resampled."""


def working_tile(rgb: UInt8Array, *, mpp: float, config: Config) -> Tile:
    """The image at the working resolution: the same parameters then serve every objective.

    ``rgb`` is (H, W, 3) uint8 with ``mpp`` um per pixel, 0.1 to 2; anything else is a `UsageError`.
    """
    check_pixels(rgb)
    check_mpp(mpp)
    scale = mpp / config.working_mpp
    if abs(scale - 1) < SAME_MPP:
        return Tile.whole(rgb, mpp)
    height, width = rgb.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    tile = Tile.whole(np.asarray(resized, dtype=np.uint8), config.working_mpp)
    return Tile(rgb=tile.rgb, mpp=tile.mpp, core=tile.core, downsample_x=width / size[0], downsample_y=height / size[1])


def sample_image(rgb: UInt8Array, *, mpp: float, config: Config) -> StainSample:
    """First look at one image of a case: a few thousand of its colours.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    mpp
        um per pixel of ``rgb``.
    config
        Settings.

    Raises
    ------
    UsageError
        ``rgb`` is no (H, W, 3) uint8 array, ``mpp`` is outside 0.1-2 um, or ``config`` is no `Config`.
    NotHdabError
        Another stain, or no bright-field image.
    """
    check_given(config=config)
    sample = stains.sample_stains(working_tile(rgb, mpp=mpp, config=config).rgb)
    quality.check_hdab(sample.pixels, stains.white_level([sample], config=config.stains))
    return sample


def estimate_case(
    samples: Sequence[StainSample], *, config: Config, white: tuple[float, float, float] | None = None
) -> StainEstimate:
    """One `StainEstimate` for all images of a case.

    Parameters
    ----------
    samples
        At least one.
    config
        Settings.
    white
        RGB level of empty glass, 128 to 255 in each channel, used where no glass is seen.

    Raises
    ------
    UsageError
        There is no sample, something else is among them, ``white`` is no level of glass, or ``config`` no `Config`.
    """
    samples = listed(samples, StainSample, name="samples", advice="sample_image makes one of each image")
    if not samples:
        raise UsageError("samples: none; a case needs at least one image (sample_image)")
    check_given(config=config)
    if white is not None:
        check_white(white)
        red, green, blue = map(float, white)
        white = (red, green, blue)
    return stains.estimate_stains(samples, config=config.stains, signal=config.nuclei.signal, white=white)


def estimate_flags(estimate: StainEstimate) -> set[ResultFlag]:
    """What a reader of a score has to know of its stain estimate."""
    flags = set()
    if estimate.white_source == "assumed":
        flags.add(ResultFlag.WHITE_ASSUMED)
    if estimate.white_source == "glass_not_given":
        flags.add(ResultFlag.WHITE_DIFFERS)
    if estimate.vectors_source != "estimated":
        flags.add(ResultFlag.VECTORS_FIXED)
    return flags
