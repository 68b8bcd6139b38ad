"""What is no picture of tissue, at low resolution: pen, folds, bubbles, places out of focus, heaps of pigment.

`measure_detail` boils pixels of ``DETAIL_MPP`` down to a few maps of ``STEP_UM``, piece by piece; `find_artefacts`
looks at the maps of the whole slide or image. Each rule asks for something that neither stain nor any tissue does:
a colour outside of the plane of the stains, black in bulk, dark bands without grain, shapes without edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.kernels.labels import large_islands
from pdl1quant.model import ArtefactKind, BoolArray, Float32Array, StainOD, UInt8Array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdl1quant.config import ArtefactsConfig

DETAIL_MPP = 2.0
"""Pixel size at which grain is looked at: nuclei are 3-5 px wide, and a whole slide is quickly read."""
STEP_PX = 4
STEP_UM = DETAIL_MPP * STEP_PX
"""Pixel size of the maps and masks."""
MARGIN_PX = 16
"""So far the maps look around, in pixels of ``DETAIL_MPP``: pieces need so much of their neighbours."""
STRIP_PX = 256
"""Rows of maps that are worked on at a time: those of a whole slide are large."""
FINE_PX, MIDDLE_PX = 1.0, 4.0
"""Standard deviations that bound the two bands: edges of nuclei (below 2 um), and their bodies (up to 8 um)."""
WIDE_UM = 32.0
"""Standard deviation over which sharpness is averaged: several nuclei."""
NARROW_UM = 8.0
"""The same inside folds, which are 20-60 um wide: more would take the tissue beside narrow ones for fold."""
AROUND_UM = 240.0
"""Standard deviation of the surroundings that a fold is held against."""
BLUE_DAB_OD, BLUE_HAEMATOXYLIN_OD = -0.20, 0.45
"""Blue ink lets more of the blue light through than haematoxylin can: DAB below this, at so much blue. On 19 real
fields no place of 8 um has DAB below -0.05."""
GREEN_RESIDUAL_OD, RED_RESIDUAL_OD, RED_PER_DAB = 0.25, -0.13, -0.2
"""Residual of green ink, and of red ink (also as a share of the DAB that it reads); real fields: -0.11 to 0.05, with
-0.1 per DAB."""
STROKE_GAP_UM = 48.0
"""Gaps of a stroke that are closed: dark tissue below the ink hides its colour."""
PEN_HALF_UM = 40.0
"""Black this wide (half) is pen, not pigment."""
RIM_GAP_UM = 16.0
"""Gaps of a bubble's rim that are closed."""
MIN_RIM_COVER, MIN_ROUNDNESS = 0.7, 0.75
"""Share of the outline of a bubble that has a dark rim; 4 pi area / perimeter^2 of a bubble."""
MAX_WITHIN = 0.5
"""Black within a bubble, as a share of that of its rim: a brown nest that reads as black is black all over."""
MIN_BLACK_RESIDUAL_OD = 0.06
"""Less residual is no black at this resolution: very dark brown leaves as much."""
MIN_CONTRAST_OD = 0.006
"""Middle band from which there is something that could be sharp: several times the noise of a scanner at
``DETAIL_MPP``. Below, nothing is said."""
BLUR_EDGE = 0.65
"""Sharpness at the edge of a place out of focus, as a share of what is usual; 1 % of sharp tissue has less than 0.8."""
BLUR_HALF_UM = 100.0
"""A place out of focus this wide (half) is no fold."""
FOLD_OD = 0.10
"""Mean OD that a fold has at least."""
FOLD_SHARPNESS = 0.5
"""Sharpness of a fold at most, as a share of what is usual."""
FOLD_REACH_UM, PALE_RATIO = 40.0, 0.9
"""So far from its dark parts a fold is followed, where it has no grain but is only so many times as dark as the tissue
around it: doubled stroma between doubled nests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """Maps (h, w) with places of ``STEP_UM``, float32 but for ``inked`` (bool).

    ``od`` is averaged over the channels, ``residual`` is that of the stains; ``fine`` and ``middle`` are the power (OD
    squared) of two bands; ``inked`` is where the colour is none that a mix of the stains has.
    """

    od: Float32Array
    residual: Float32Array
    inked: BoolArray
    fine: Float32Array
    middle: Float32Array


def measure_detail(rgb: UInt8Array, od: StainOD, *, white: Sequence[float]) -> Detail:
    """Boil a piece of a slide down to maps.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8 at ``DETAIL_MPP``; the last place of a row or column may be cut off.
    od
        Its stain densities.
    white
        RGB level of empty glass.
    """
    mean = _mean_od(rgb, white)
    smooth = cv2.GaussianBlur(mean, (0, 0), FINE_PX)
    coarse = cv2.GaussianBlur(mean, (0, 0), MIDDLE_PX)
    residual = _reduced(od.residual)
    return Detail(
        od=_reduced(mean),
        residual=residual,
        inked=_is_inked(_reduced(od.haematoxylin), _reduced(od.dab), residual),
        fine=_reduced(np.square(mean - smooth)),
        middle=_reduced(np.square(smooth - coarse)),
    )


def ink_colours(od: StainOD, *, black_residual_od: float) -> tuple[BoolArray, BoolArray]:
    """Where densities of about ``STEP_UM`` are black, and where no mix of the stains has them; for `find_pen`."""
    return _is_black(od.residual, black_residual_od), _is_inked(od.haematoxylin, od.dab, od.residual)


def _is_inked(haematoxylin: Float32Array, dab: Float32Array, residual: Float32Array) -> BoolArray:
    blue = (dab <= BLUE_DAB_OD) & (haematoxylin >= BLUE_HAEMATOXYLIN_OD)
    green = residual >= np.maximum(GREEN_RESIDUAL_OD, 0.4 * haematoxylin)
    red = residual <= np.minimum(RED_RESIDUAL_OD, RED_PER_DAB * dab)
    return np.asarray(blue | green | red)


def find_artefacts(detail: Detail, *, black_residual_od: float, config: ArtefactsConfig) -> UInt8Array:
    """What spoils each place.

    Parameters
    ----------
    detail
        Maps of the whole slide or image.
    black_residual_od
        Residual that black of ``config.black_od`` leaves; infinite where the stains' own mix is as neutral.
    config
        Section ``artefacts`` of the settings.

    Returns
    -------
    ndarray of uint8
        (h, w): the number of the kind of each place as in `ArtefactMap`, 0 for none. Where several meet, the first of
        pen, bubble, pigment, blur at least 200 um wide, fold, narrower blur; of pigment and blur it is pigment.
    """
    black = _is_black(detail.residual, black_residual_od)
    pen = find_pen(black, detail.inked, config=config)
    bubble = _find_bubbles(detail, black & ~pen, config)
    taken = _grown(pen | bubble, 2 * STEP_UM)
    pigment = _without_small(_closed(black & ~taken, STEP_UM), config.min_pigment_um2)
    blur = _find_blur(detail, config) & ~_grown(pen | bubble, 3 * WIDE_UM)
    fold = _find_folds(detail, taken | _grown(pigment, STEP_UM) | _opened(blur, BLUR_HALF_UM), config)
    found = np.zeros(detail.od.shape, np.uint8)
    for kind, mask in (
        (ArtefactKind.BLUR, blur),
        (ArtefactKind.PIGMENT, pigment),
        (ArtefactKind.FOLD, fold),
        (ArtefactKind.BUBBLE, bubble),
        (ArtefactKind.PEN, pen),
    ):
        found[mask] = kind.number
    return found


def find_pen(black: BoolArray, inked: BoolArray, *, config: ArtefactsConfig) -> BoolArray:
    """(h, w) bool: ink, a colour that no mix of the stains has (``inked``), or black in bulk."""
    bulk = black & _grown(_opened(black, PEN_HALF_UM), PEN_HALF_UM)
    ink = _opened(_closed(inked | bulk, STROKE_GAP_UM), 2 * STEP_UM)
    ink = ~_without_small(~ink, config.min_pen_um2)
    return _grown(_without_small(ink, config.min_pen_um2), STEP_UM)


def _find_bubbles(detail: Detail, black: BoolArray, config: ArtefactsConfig) -> BoolArray:
    """Round things with a dark rim all around, and not nearly as dark within."""
    rim = _bits(_closed(black, RIM_GAP_UM))
    found = np.zeros(rim.shape, np.uint8)
    contours, _ = cv2.findContours(rim, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    min_area_px = config.min_bubble_um2 / STEP_UM**2
    for contour in contours:  # few: specks are passed over at once
        hull = cv2.convexHull(contour)
        area, around = cv2.contourArea(hull), cv2.arcLength(hull, closed=True)
        if area < min_area_px or 4 * np.pi * area < MIN_ROUNDNESS * around**2:
            continue
        x, y, width, height = cv2.boundingRect(hull)
        here = np.s_[y : y + height, x : x + width]
        filled, outline = (np.zeros((height, width), np.uint8) for _ in range(2))
        cv2.drawContours(filled, [hull - (x, y)], -1, 1, cv2.FILLED)
        cv2.drawContours(outline, [hull - (x, y)], -1, 1, 1)
        near = np.asarray(cv2.dilate(rim[here], np.ones((7, 7), np.uint8)), np.uint8)
        if (near & outline).sum() >= MIN_RIM_COVER * outline.sum() and _is_hollow(
            detail.residual[here], rim[here] & filled > 0, filled > near
        ):
            found[here] |= filled
    return found > 0


def _is_hollow(residual: Float32Array, rim: BoolArray, within: BoolArray) -> bool:
    return bool(within.any() and np.median(residual[within]) <= MAX_WITHIN * np.median(residual[rim]))


def _find_folds(detail: Detail, taken: BoolArray, config: ArtefactsConfig) -> BoolArray:
    """Long bands, dark against their surroundings, with less grain than so much stain has."""
    grains, sharpnesses = [], []
    for rows, inner in _strips(detail, NARROW_UM):
        od, grain, sharpness = (each[inner] for each in _look_of(detail, rows))
        tissue = od >= FOLD_OD / 2
        grains.append(grain[tissue])
        sharpnesses.append(sharpness[tissue])
    core, wide = np.zeros(detail.od.shape, bool), np.zeros(detail.od.shape, bool)
    usual_grain, usual_sharpness = _median(grains), _median(sharpnesses)
    if usual_grain is None or usual_sharpness is None:
        return core
    for rows, inner in _strips(detail, NARROW_UM + AROUND_UM):
        here = slice(rows.start + inner.start, rows.start + inner.stop)
        od, grain, sharpness = _look_of(detail, rows)
        ratio = _darkness(od)[inner]
        dull = (grain[inner] <= config.max_fold_grain * usual_grain) & (od[inner] >= FOLD_OD) & ~taken[here]
        blurred = sharpness[inner] <= FOLD_SHARPNESS * usual_sharpness
        core[here] = dull & blurred & (ratio >= config.min_fold_ratio)
        wide[here] = dull & (ratio >= PALE_RATIO)
    return _long(_closed(wide & _grown(core, FOLD_REACH_UM), STEP_UM), config.min_fold_um)


def _look_of(detail: Detail, rows: slice) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Of these rows: smoothed OD, grain for so much of it, and sharpness."""
    od, fine, middle = (_mean(each[rows], NARROW_UM) for each in (detail.od, detail.fine, detail.middle))
    fine = np.sqrt(fine)
    grain, sharpness = fine / np.maximum(od, FOLD_OD / 2), fine / np.maximum(np.sqrt(middle), MIN_CONTRAST_OD)
    return od, np.asarray(grain, np.float32), np.asarray(sharpness, np.float32)


def _darkness(od: Float32Array) -> Float32Array:
    """How many times as dark as the tissue around it each place is."""
    tissue = od >= FOLD_OD / 2
    weight = _mean(tissue.astype(np.float32), AROUND_UM)
    around = _mean(np.where(tissue, od, 0).astype(np.float32), AROUND_UM) / np.maximum(weight, 0.05)
    return np.asarray(od / np.maximum(around, FOLD_OD / 4), np.float32)


def _find_blur(detail: Detail, config: ArtefactsConfig) -> BoolArray:
    """Where the bodies of nuclei are seen and their edges are not."""
    sharpness, judged = np.empty(detail.od.shape, np.float32), np.empty(detail.od.shape, bool)
    for rows, inner in _strips(detail, WIDE_UM):
        here = slice(rows.start + inner.start, rows.start + inner.stop)
        fine, middle = (np.sqrt(_mean(each[rows], WIDE_UM)[inner]) for each in (detail.fine, detail.middle))
        sharpness[here] = fine / np.maximum(middle, MIN_CONTRAST_OD)
        judged[here] = middle >= MIN_CONTRAST_OD
    core = _without_small(judged & (sharpness <= config.max_blur_sharpness), config.min_blur_um2 / 4)
    usual = _median([sharpness[judged]]) if core.any() else None
    if usual is None:
        return core
    wide = judged & (sharpness <= BLUR_EDGE * usual)
    return _without_small(_closed(core | (wide & _grown(core, 2 * WIDE_UM)), WIDE_UM), config.min_blur_um2)


def _strips(detail: Detail, sigma_um: float) -> Iterator[tuple[slice, slice]]:
    """Rows that are worked on at a time with those that smoothing looks at, and which of them are no margin."""
    height, reach = len(detail.od), _reach_px(sigma_um)
    for top in range(0, height, STRIP_PX):
        first = max(0, top - reach)
        yield slice(first, min(top + STRIP_PX + reach, height)), slice(top - first, min(top + STRIP_PX, height) - first)


def _reach_px(sigma_um: float) -> int:
    """How far OpenCV smooths: 4 standard deviations."""
    return math.ceil(4 * sigma_um / STEP_UM) + 1


def _median(parts: Sequence[Float32Array]) -> float | None:
    """Of the values of all parts; None without any."""
    values = np.concatenate(parts)
    return float(np.median(values, overwrite_input=True)) if values.size else None


def _mean_od(rgb: UInt8Array, white: Sequence[float]) -> Float32Array:
    """OD averaged over the channels."""
    levels = -np.log10(np.maximum(np.arange(256), 1)[:, None] / np.asarray(white)).astype(np.float32) / 3
    red, green, blue = (levels[:, channel][rgb[:, :, channel]] for channel in range(3))
    return np.asarray(red + green + blue, np.float32)


def _is_black(residual: Float32Array, black_residual_od: float) -> BoolArray:
    return np.asarray(residual >= max(black_residual_od, MIN_BLACK_RESIDUAL_OD))


def _reduced(image: Float32Array) -> Float32Array:
    """Means of ``STEP_PX`` squares."""
    height, width = image.shape
    beyond = (-height % STEP_PX, -width % STEP_PX)
    whole = cv2.copyMakeBorder(image, 0, beyond[0], 0, beyond[1], cv2.BORDER_REPLICATE) if any(beyond) else image
    size = (whole.shape[1] // STEP_PX, whole.shape[0] // STEP_PX)
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32)


def _mean(image: Float32Array, sigma_um: float) -> Float32Array:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_um / STEP_UM), np.float32)


def _bits(mask: BoolArray) -> UInt8Array:
    return mask.view(np.uint8)


def _disc(radius_um: float) -> UInt8Array:
    radius = max(1, round(radius_um / STEP_UM))
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _grown(mask: BoolArray, by_um: float) -> BoolArray:
    return np.asarray(cv2.dilate(_bits(mask), _disc(by_um)) > 0)


def _closed(mask: BoolArray, gap_um: float) -> BoolArray:
    return np.asarray(cv2.morphologyEx(_bits(mask), cv2.MORPH_CLOSE, _disc(gap_um)) > 0)


def _opened(mask: BoolArray, half_um: float) -> BoolArray:
    """What is so wide (half) everywhere."""
    return np.asarray(cv2.morphologyEx(_bits(mask), cv2.MORPH_OPEN, _disc(half_um)) > 0)


def _without_small(mask: BoolArray, min_area_um2: float) -> BoolArray:
    return large_islands(_bits(mask), min_area_um2 / STEP_UM**2).view(np.bool_)


def _long(mask: BoolArray, min_length_um: float) -> BoolArray:
    """The pieces that are bands: the diagonal of their box is at least that long, and three times their width."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(_bits(mask), connectivity=8)
    pieces = stats[1:]  # the background, which may have no pixels, is none
    length = np.hypot(pieces[:, cv2.CC_STAT_WIDTH], pieces[:, cv2.CC_STAT_HEIGHT]) * STEP_UM
    width = pieces[:, cv2.CC_STAT_AREA] * STEP_UM**2 / length
    chosen = (length >= min_length_um) & (width <= length / 3)
    return np.asarray(np.append(False, chosen)[labels])
