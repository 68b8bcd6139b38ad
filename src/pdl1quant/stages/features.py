"""What a classifier reads of each cell: the network's class scores, the nucleus, and what lies around it.

No feature reads brown: a class depends on positivity only where doubtful cells are weighed with their company
afterwards, that is, where the segmenter has class scores (`stages.classify`). None knows a direction, so that turned
and mirrored images give the same; none reaches farther than ``REACH_UM``, so that tiles with that halo give the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pdl1quant.model import CellClass, Float32Array, Float64Array, StainEstimate
from pdl1quant.neighbours import neighbour_weights

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array

NEAR_UM = 15.0
"""Standard deviation of the weight of a neighbour ..."""
NEAR_REACH_UM = 40.0
"""... and the distance beyond which it has none."""
ROUNDS = 4
"""The wide surroundings are the neighbours of neighbours, so many times: about 30 um, more than the network sees."""
REACH_UM = ROUNDS * NEAR_REACH_UM
"""Farther cells change no feature."""
ALONE_UM = 40.0
"""Distance to the nearest neighbour is cut off here: a cell alone has none."""


class Feature(NamedTuple):
    """One column of the features."""

    name: str
    description: str


SCORE_FEATURES = tuple(Feature(f"score_{name}", f"the segmenter's score of class {name}, 0-1") for name in CellClass)
OWN_FEATURES = (
    Feature("nucleus_area_um2", "area of the nucleus"),
    Feature("nucleus_length_um", "major axis of the nucleus"),
    Feature("nucleus_width_um", "minor axis of the nucleus"),
    Feature("nucleus_elongation", "major / minor axis"),
    Feature("nucleus_regularity", "area of the nucleus / area of its ellipse; low = ragged"),
    Feature("nucleus_haematoxylin", "mean haematoxylin OD of the nucleus / the case's nucleus threshold"),
    Feature("nucleus_chromatin", "standard deviation / mean of its haematoxylin"),
    Feature("nucleus_sharpness", "gradient at its edge / its haematoxylin, per um"),
    Feature("nucleus_share", "area of the nucleus / area of the cell"),
    Feature("cell_area_um2", "area of the cell"),
    Feature("cytoplasm_haematoxylin", "mean haematoxylin OD of the cytoplasm / the case's nucleus threshold"),
    Feature("neighbour_distance_um", "distance to the nearest other nucleus, at most 40"),
    Feature("neighbours_25um", "nuclei within 25 um"),
)
AROUND = (
    "nucleus_area_um2",
    "nucleus_width_um",
    "nucleus_elongation",
    "nucleus_haematoxylin",
    "nucleus_chromatin",
    "nucleus_share",
    "neighbours_25um",
)
"""Those whose weighted mean over the neighbours is a feature, too: ``near_*`` (40 um) and ``wide_*`` (160 um)."""
RELATIVE_FEATURES = (
    Feature("near_nucleus_area_sd", "standard deviation of the nuclear area over the neighbours / its mean"),
    Feature("relative_nucleus_area", "area of the nucleus / the neighbours' mean"),
    Feature("relative_haematoxylin", "haematoxylin of the nucleus / the neighbours' mean"),
)


def _around(place: str, names: tuple[str, ...]) -> tuple[Feature, ...]:
    where = {"near": "the neighbours", "wide": "the neighbours of neighbours"}[place]
    return tuple(Feature(f"{place}_{name}", f"weighted mean of {name} over {where}") for name in names)


_SCORES = tuple(each.name for each in SCORE_FEATURES)
FEATURES: tuple[Feature, ...] = (
    *SCORE_FEATURES,
    *OWN_FEATURES,
    *_around("near", _SCORES + AROUND),
    *_around("wide", _SCORES + AROUND),
    *RELATIVE_FEATURES,
)
"""All features, in the order in which they are computed."""


def feature_names(*, with_scores: bool) -> tuple[str, ...]:
    """Names of the features there are with, or without, a segmenter that scores classes."""
    return tuple(each.name for each in FEATURES if with_scores or "score_" not in each.name)


def describe_cells(
    cells: pd.DataFrame, scores: Float32Array | None, *, mpp: float, estimate: StainEstimate
) -> Float32Array:
    """Describe each cell by its features.

    Parameters
    ----------
    cells
        Cells table with its measurements; classes and positivity are not read.
    scores : (n, classes) float32, or None
        Class scores of the segmenter in the order of `CellClass`, if it has any.
    mpp
        um per pixel of ``x_px``, ``y_px``.
    estimate
        Supplies ``nucleus_od``, the scale of haematoxylin.

    Returns
    -------
    (n, k) float32
        Columns as in ``feature_names(with_scores=scores is not None)``; all finite.
    """
    own = _own(cells, estimate)
    means = np.stack([own[name] for name in AROUND], axis=1)
    alone = np.stack(list(own.values()), axis=1)
    if scores is not None:
        means, alone = np.hstack([scores, means]), np.hstack([scores, alone])
    company = _company(cells[["x_px", "y_px"]].to_numpy(dtype=np.float64) * mpp)
    near = np.asarray(company @ means)
    wide = near
    for _ in range(ROUNDS - 1):
        wide = np.asarray(company @ wide)
    return np.hstack([alone, near, wide, _relative(own, company)]).astype(np.float32)


def _own(cells: pd.DataFrame, estimate: StainEstimate) -> dict[str, Float64Array]:
    def column(name: str) -> Float64Array:
        return cells[name].to_numpy(dtype=np.float64)

    haematoxylin = np.maximum(column("nucleus_haematoxylin_od_mean"), 0.03)
    width = np.maximum(column("nucleus_width_um"), 0.5)
    values = (
        column("nucleus_area_um2"),
        column("nucleus_length_um"),
        column("nucleus_width_um"),
        np.maximum(column("nucleus_length_um"), width) / width,
        column("nucleus_regularity"),
        haematoxylin / estimate.nucleus_od,
        column("nucleus_haematoxylin_od_sd") / haematoxylin,
        column("nucleus_sharpness_od") / haematoxylin,
        column("nucleus_area_um2") / np.maximum(column("cell_area_um2"), 1.0),
        column("cell_area_um2"),
        column("cytoplasm_haematoxylin_od_mean") / estimate.nucleus_od,
        np.minimum(column("neighbour_distance_um"), ALONE_UM),
        column("neighbours_25um"),
    )
    return dict(zip((each.name for each in OWN_FEATURES), values, strict=True))


def _company(centres_um: Float64Array) -> csr_array:
    """Weights of the neighbours; a cell without any is its own company."""
    from scipy.sparse import csr_array, diags_array  # noqa: PLC0415  slow to import, and a worker measures without it

    weights = neighbour_weights(centres_um, sd_um=NEAR_UM, reach_um=NEAR_REACH_UM)
    is_alone = (np.diff(weights.indptr) == 0).astype(np.float64)
    return csr_array(weights + diags_array(is_alone))


def _relative(own: dict[str, Float64Array], company: csr_array) -> Float64Array:
    area, haematoxylin = own["nucleus_area_um2"], own["nucleus_haematoxylin"]
    mean = np.maximum(company @ area, 1.0)
    variance = np.maximum(company @ area**2 - mean**2, 0.0)
    columns = (np.sqrt(variance) / mean, area / mean, haematoxylin / (company @ haematoxylin))
    return np.stack(columns, axis=1)
