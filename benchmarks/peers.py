"""What pdl1quant is held against: the pipeline that one builds from scikit-image in an afternoon.

Nothing in it is tuned: every number is the one that issue 2 states, and every function is scikit-image's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import regionprops_table
from skimage.morphology import disk, opening
from skimage.segmentation import expand_labels, watershed

if TYPE_CHECKING:
    from pdl1quant.model import Int32Array, UInt8Array

WORKING_MPP = 0.5
HED_PER_LOG10_OD = 1.0 / 6.0
"""``rgb2hed`` divides natural logarithms by ln 1e-6: a log10 OD of 0.2 reads 0.033 there."""

_MEASURED = ("label", "area", "centroid", "intensity_mean")


def skimage_pipeline(
    rgb: UInt8Array, mpp: float, *, keep_border: bool = False
) -> tuple[Int32Array, Int32Array, pd.DataFrame]:
    """Nuclei and cells by colour deconvolution, Otsu and a distance watershed.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
        Image.
    mpp : float
        Its pixel size in um; it is resampled to 0.5 um/px by area averaging first.
    keep_border : bool, default False
        ``peak_local_max`` as it comes drops the peaks within 5 px of the image's border, and with them those nuclei.
        True keeps them: a stronger peer at no cost.

    Returns
    -------
    nuclei, cells : (h, w) int32
        Labels at 0.5 um/px that share their numbers, 1..n.
    table : pandas.DataFrame
        A row per nucleus: ``label``, ``area`` (px), ``centroid-0`` and ``centroid-1`` (row and column, working px),
        ``intensity_mean`` and ``cell_intensity_mean``: the DAB channel of ``rgb2hed`` in the nucleus and in the cell.
        Not log10 OD: see ``HED_PER_LOG10_OD``. Shapes are left out: they would slow it further.
    """
    hed = rgb2hed(to_working(rgb, mpp))
    haematoxylin = gaussian(hed[..., 0], sigma=1.5)
    nuclei = _split(_nucleus_mask(haematoxylin), keep_border=keep_border)
    cells = expand_labels(nuclei, distance=10)
    dab = hed[..., 2]
    table = pd.DataFrame(regionprops_table(nuclei, intensity_image=dab, properties=_MEASURED))
    grown = regionprops_table(cells, intensity_image=dab, properties=("intensity_mean",))
    table["cell_intensity_mean"] = grown["intensity_mean"]
    return nuclei, cells, table


def to_working(rgb: UInt8Array, mpp: float) -> UInt8Array:
    """The image at 0.5 um/px: area averaging, sides rounded to whole pixels, at least one."""
    height, width = (max(1, round(side * mpp / WORKING_MPP)) for side in rgb.shape[:2])
    if (height, width) == rgb.shape[:2]:
        return rgb
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))


def _nucleus_mask(haematoxylin: np.ndarray) -> np.ndarray:
    if haematoxylin.min() == haematoxylin.max():  # Otsu has no threshold on a constant image
        return np.zeros(haematoxylin.shape, dtype=bool)
    mask = opening(haematoxylin > threshold_otsu(haematoxylin), disk(2))
    return np.asarray(ndimage.binary_fill_holes(mask))


def _split(mask: np.ndarray, *, keep_border: bool) -> Int32Array:
    distance = ndimage.distance_transform_edt(mask)
    peaks = peak_local_max(distance, min_distance=5, exclude_border=not keep_border)
    markers = np.zeros(mask.shape, dtype=np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-distance, markers, mask=mask), dtype=np.int32)
