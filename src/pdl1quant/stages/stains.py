"""From RGB to stain densities: white level, stain vectors, log10 optical density, unmixing.

One `StainEstimate` serves a whole case, so that a score does not depend on how the tissue was cut into tiles.
Unmixing after Ruifrok & Johnston (2001), vectors after Macenko et al. (2009), both with guards. OD is apparent: DAB
scatters light and RGB is gamma-encoded, so it compares within one scanner and protocol and is no amount of antigen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.kernels.stain import block_variance, unmix
from pdl1quant.model import Float32Array, Float64Array, StainEstimate, StainOD, UInt8Array
from pdl1quant.planes import like, plane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.config import StainsConfig

MAX_SAMPLES = 20_000
"""Pixels kept of one image: percentiles are then known to about 1 %."""
BLOCK_PX = 8
"""Side of the blocks in which glass is looked for."""
FLAT_SD = 2.5
"""Glass is flat: standard deviation (grey levels, after a 3 px mean) of a block; pale stroma has twice that."""
GLASS_LEVEL = 180
"""Glass is bright: its darkest channel; scanners expose it to 200-250."""
GLASS_TINT = 26
"""Glass is nearly neutral: widest difference between its channels."""
WHITE_DIFFERS = 5
"""Levels, in any channel, by which glass and a given white may differ without a word; DAB moves by 0.01 OD or so."""
GLASS_MODE = 5
"""Blocks within so many levels of the brightest ones are glass."""
STAINED_OD = 0.35
"""Summed OD of a pixel from which its colour says something about the stains."""
DARK_LEVEL = 25
"""A channel below this level is bent by noise, clipping and scatter: not used for the stain vectors."""
MIN_STAIN_SHARE = 0.01
"""Share of the stained pixels that each stain needs on its side before the vectors are estimated."""
BLUE_HUE_DEG, BROWN_HUE_DEG = 28.0, 65.0
"""Hue in the plane of the fixed stains (0 haematoxylin, 90 DAB) up to, and from, which a pixel may be one stain."""
MAX_TURN_DEG = 18.0
"""An estimate farther than this from the fixed vector is not believed."""
MIN_SPREAD_DEG = 20.0
"""Estimated vectors closer than this make the unmixing unstable; the fixed ones are 37 degrees apart."""
NUCLEUS_OD_RANGE = (0.09, 0.22)
"""Where a threshold between nuclei and background can lie; measured on the haematoxylin of 16 real fields."""
BLACK_OD = (0.03, 0.05)
"""Residual from which a pixel is somewhat, and surely, black: noise, JPEG and a slightly wrong stain vector stay below
the first in 19 of 20 brown pixels of real fields; black of OD 0.25 is above the second."""
MIN_BLACK_RESIDUAL = 0.04
"""Residual of black of OD 1 (0.23 with textbook vectors, 0.07 with a real scanner's) below which black is not told."""
SIGNAL_CAP_OD = 0.4
"""Above this OD a nucleus is a nucleus: dark ones must not pull the threshold away from pale ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StainSample:
    """What one image tells of its staining: small enough to be kept for 500 tiles at once.

    ``pixels`` (n, 3) uint8 are smoothed pixels on a regular grid, ``glass`` (k, 3) uint8 the means of flat bright
    blocks, of ``n_blocks`` in all.
    """

    pixels: UInt8Array
    glass: UInt8Array
    n_blocks: int


def sample_stains(rgb: UInt8Array) -> StainSample:
    """Sample the colours of one image, (H, W, 3) uint8, at the working resolution."""
    smooth = cv2.GaussianBlur(rgb, (0, 0), 1.0, dst=like(rgb))
    step = max(1, int(np.ceil(np.sqrt(rgb.shape[0] * rgb.shape[1] / MAX_SAMPLES))))
    pixels = smooth[step // 2 :: step, step // 2 :: step].reshape(-1, 3)
    means, flat = _flat_blocks(np.asarray(smooth, dtype=np.uint8))
    darkest = means.min(axis=1)
    glass = means[flat & (darkest >= GLASS_LEVEL) & (means.max(axis=1) - darkest <= GLASS_TINT)]
    return StainSample(pixels=np.ascontiguousarray(pixels), glass=np.rint(glass).astype(np.uint8), n_blocks=len(means))


def _flat_blocks(smooth: UInt8Array) -> tuple[Float64Array, np.ndarray]:
    """Mean colour (n, 3) of each block and whether it is flat (n,)."""
    rows, columns = (max(1, side // BLOCK_PX) for side in smooth.shape[:2])
    whole = smooth[: rows * BLOCK_PX, : columns * BLOCK_PX]
    grey = np.asarray(cv2.cvtColor(whole, cv2.COLOR_RGB2GRAY, dst=plane(whole.shape[:2], np.uint8)), dtype=np.uint8)
    variance = block_variance(grey, BLOCK_PX)
    means = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float64)
    return means, (variance < FLAT_SD**2).ravel()


def estimate_stains(
    samples: Sequence[StainSample],
    *,
    config: StainsConfig,
    signal: str = "haematoxylin",
    white: tuple[float, float, float] | None = None,
) -> StainEstimate:
    """White level, stain vectors and nucleus threshold of one case from the samples of its images.

    Parameters
    ----------
    samples
        At least one; their order does not matter.
    config
        Section ``stains`` of the settings.
    signal
        ``haematoxylin`` or ``od_sum``: on what nuclei will be detected.
    white
        RGB level (0-255) of empty glass, when the user knows it; glass seen in the images goes first, and its source
        is ``glass_not_given`` where it differs by more than `WHITE_DIFFERS`.
    """
    level, white_source = _white_level(samples, config=config, given=white)
    stride = sum(len(sample.pixels) for sample in samples) // (10 * MAX_SAMPLES) + 1
    pixels = np.concatenate([sample.pixels[::stride] for sample in samples])
    od = -np.log10(np.maximum(pixels, 1) / np.asarray(level))
    usable = (od.sum(axis=1) >= STAINED_OD) & (pixels.min(axis=1) >= DARK_LEVEL)
    fixed = (_unit(config.haematoxylin), _unit(config.dab))
    haematoxylin, dab, vectors_source = (
        _stain_vectors(od[usable], fixed=fixed) if config.vectors == "auto" else (*fixed, "fixed")
    )
    amounts = od @ np.linalg.inv(_stain_matrix(haematoxylin, dab))
    nuclear = amounts[:, 0] if signal == "haematoxylin" else amounts[:, 0] + amounts[:, 1]
    return StainEstimate(
        white=level,
        haematoxylin=_as_triple(haematoxylin),
        dab=_as_triple(dab),
        nucleus_od=_nucleus_threshold(nuclear),
        white_source=white_source,
        vectors_source=vectors_source,
    )


def white_level(samples: Sequence[StainSample], *, config: StainsConfig) -> tuple[float, float, float]:
    """RGB level (0-255) of empty glass in the samples, or the assumed one."""
    return _white_level(samples, config=config, given=None)[0]


def _white_level(
    samples: Sequence[StainSample], *, config: StainsConfig, given: tuple[float, float, float] | None
) -> tuple[tuple[float, float, float], str]:
    glass = np.concatenate([sample.glass for sample in samples]).astype(np.float64)
    n_blocks = sum(sample.n_blocks for sample in samples)
    if len(glass) >= config.min_glass_share * n_blocks and len(glass) > 0:
        luminance = glass.mean(axis=1)
        brightest = glass[luminance >= np.percentile(luminance, 95) - GLASS_MODE]
        if len(brightest) >= config.min_glass_share * n_blocks:
            seen = _as_triple(np.median(brightest, axis=0))
            differs = given is not None and np.abs(np.subtract(seen, given)).max() > WHITE_DIFFERS
            return seen, "glass_not_given" if differs else "glass"
    if given is not None:
        return given, "given"
    return (config.assumed_white,) * 3, "assumed"


def _stain_vectors(
    od: Float64Array, *, fixed: tuple[Float64Array, Float64Array]
) -> tuple[Float64Array, Float64Array, str]:
    """Extreme hues of the stained pixels in the plane of the two stains; the fixed vectors where they are no stains."""
    haematoxylin, dab = fixed
    if len(od) < 500:
        return haematoxylin, dab, "fixed"
    amounts = od @ np.linalg.inv(_stain_matrix(haematoxylin, dab))
    hue = np.arctan2(amounts[:, 1], amounts[:, 0])
    blue, brown = hue < np.deg2rad(BLUE_HUE_DEG), hue > np.deg2rad(BROWN_HUE_DEG)
    shares = blue.mean(), brown.mean()
    found_h = _mean_direction(od[hue <= np.percentile(hue[blue], 50)]) if shares[0] >= MIN_STAIN_SHARE else None
    found_d = _mean_direction(od[hue >= np.percentile(hue[brown], 50)]) if shares[1] >= MIN_STAIN_SHARE else None
    if found_h is None or _turn_deg(found_h, haematoxylin) > MAX_TURN_DEG:
        return haematoxylin, dab, "fixed"
    if found_d is None:
        return found_h, dab, "haematoxylin_estimated"
    if _turn_deg(found_d, dab) > MAX_TURN_DEG or _turn_deg(found_h, found_d) < MIN_SPREAD_DEG:
        return haematoxylin, dab, "fixed"
    return found_h, found_d, "estimated"


def _mean_direction(od: Float64Array) -> Float64Array:
    return _unit(np.median(od / np.linalg.norm(od, axis=1, keepdims=True), axis=0))


def _nucleus_threshold(signal: Float64Array) -> float:
    """Otsu's threshold (1979) on the capped signal, held within the range that nuclei allow."""
    counts, edges = np.histogram(np.clip(signal, 0, SIGNAL_CAP_OD), bins=128, range=(0, SIGNAL_CAP_OD))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middle)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    if not np.isfinite(between).any():
        return NUCLEUS_OD_RANGE[0]
    return float(np.clip(middle[np.nanargmax(between)], *NUCLEUS_OD_RANGE))


def deconvolve(rgb: UInt8Array, estimate: StainEstimate) -> StainOD:
    """Unmix (H, W, 3) uint8 into haematoxylin, DAB and residual OD, each (H, W) float32, log10.

    The residual is signed: positive where a pixel is greyer than any mix of the two stains (carbon, ink). What is
    surely black (residual above ``BLACK_OD``) is taken out of haematoxylin and DAB, in which black would read
    0.97 and 0.84 per OD. Values may be slightly negative where a pixel is brighter than the white level.

    Examples
    --------
    >>> import numpy as np
    >>> from pdl1quant.model import StainEstimate
    >>> white = (245.0, 245.0, 245.0)
    >>> h, d = (0.651, 0.701, 0.290), (0.269, 0.568, 0.778)
    >>> estimate = StainEstimate(white=white, haematoxylin=h, dab=d, nucleus_od=0.1,
    ...                          white_source="given", vectors_source="given")
    >>> rgb = np.rint(245 * 10 ** -(0.2 * np.array(d))).astype(np.uint8).reshape(1, 1, 3)
    >>> round(float(deconvolve(rgb, estimate).dab[0, 0]), 2)
    0.2
    """
    od = -np.log10(np.maximum(np.arange(256), 1)[:, None] / np.asarray(estimate.white)).astype(np.float32)
    matrix = np.linalg.inv(_stain_matrix(np.asarray(estimate.haematoxylin), np.asarray(estimate.dab)))
    amounts = np.ascontiguousarray(od.T[:, :, None] * matrix[:, None, :].astype(np.float32))
    somewhat, surely = BLACK_OD
    black_h, black_d, black_r = np.ones(3) @ matrix
    tells_black = black_r >= MIN_BLACK_RESIDUAL
    black = (somewhat, surely, black_h / black_r, black_d / black_r) if tells_black else (np.inf, 0, 0, 0)
    haematoxylin, dab, residual = unmix(np.ascontiguousarray(rgb), amounts, np.array(black, np.float32))
    return StainOD(haematoxylin=haematoxylin, dab=dab, residual=residual)


def pigment_residual_od(estimate: StainEstimate, pigment_od: float) -> float:
    """Residual that neutral black of ``pigment_od`` leaves; infinite where the stains' own mix is as neutral as black.

    It is never below what noise leaves.
    """
    unmix = np.linalg.inv(_stain_matrix(np.asarray(estimate.haematoxylin), np.asarray(estimate.dab)))
    black_r = float((np.ones(3) @ unmix)[2])
    return max(BLACK_OD[0], pigment_od * black_r) if black_r >= MIN_BLACK_RESIDUAL else float("inf")


def compose(od: StainOD, estimate: StainEstimate) -> Float32Array:
    """RGB intensities (H, W, 3) float32 that `deconvolve` would take apart into ``od``."""
    matrix = _stain_matrix(np.asarray(estimate.haematoxylin), np.asarray(estimate.dab))
    stacked = np.stack([od.haematoxylin, od.dab, od.residual], axis=-1)
    return (np.asarray(estimate.white) * 10.0 ** -(stacked @ matrix)).astype(np.float32)


def _stain_matrix(haematoxylin: Float64Array, dab: Float64Array) -> Float64Array:
    """Rows: haematoxylin, DAB, and the unit vector across both."""
    h, d = _unit(haematoxylin), _unit(dab)
    return np.stack([h, d, _unit(np.cross(h, d))])


def _unit(vector: Sequence[float] | Float64Array) -> Float64Array:
    array = np.asarray(vector, dtype=np.float64)
    return np.asarray(array / np.linalg.norm(array))


def _turn_deg(a: Float64Array, b: Float64Array) -> float:
    return float(np.rad2deg(np.arccos(np.clip(a @ b, -1, 1))))


def _as_triple(vector: Float64Array) -> tuple[float, float, float]:
    r, g, b = (round(float(value), 6) for value in vector)
    return r, g, b
