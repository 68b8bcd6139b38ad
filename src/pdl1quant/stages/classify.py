"""A first rule for what each cell is: nuclear size, shape, chromatin, cytoplasm and company.

Two rounds of linear scores (multinomial logistic regression, fitted on rendered fields by
``benchmarks/fit_classes.py``): the first sees the cell alone, the second also what lies around it, because tumour cells
lie among their like. The rule reads no DAB, so that a class does not depend on positivity. Macrophages have no rule:
large pale nuclei in much cytoplasm are what tumour nuclei are, too; so CPS stays undefined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pdl1quant.model import CLASS_PROBABILITIES, CellClass, Float32Array, Float64Array, StainEstimate
from pdl1quant.neighbours import neighbour_weights, sums_around

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scipy.sparse import csr_array

    from pdl1quant.model import BoolArray, IntpArray

CLASSES = (CellClass.LYMPHOCYTE, CellClass.STROMA, CellClass.TUMOUR)
COMPANY_UM = 15.0
"""Standard deviation of the weight of a neighbour ..."""
COMPANY_REACH_UM = 40.0
"""... and the distance beyond which it has none."""
BROWN_UM = 200.0
"""Positive cells this near tell what a doubtful one is; less than what a band of a slide sees around itself."""
DOUBT_CELLS, DOUBT_SHARE = 4.0, 0.4
"""Weight and tumour share of what is assumed before any positive cell is seen: few brown cells tell little."""
BROWN_TUMOUR, BROWN_REST = 0.5, 0.15
"""Positive share of tumour cells and of the others that is assumed, by as many cells, before any is seen."""
MAX_ODDS = 16.0
"""No company outweighs the cell's own looks by more."""
NEARLY_ALL = 0.88
"""Positive share of the tumour cells around from which a negative cell has to look like tumour all the more."""
RARER = 3.0
"""No company of positive cells outweighs a negative cell's own looks by more: tumours have negative cells, too."""
MORE = 1.4
"""In tumour of both kinds a negative cell is tumour so much more often (odds) than the network says: 1.15 to 1.25 times
in 400 rendered fields of all sorts (standard error 0.2), 1.45 times in 144 of plain settings (0.1) ..."""
MIXED = ((0.05, 0.2, 0.55, 0.75), (0.0, 1.0, 1.0, 0.0))
"""... where so much of the tumour around is positive ..."""
NESTS = ((0.2, 0.4), (0.0, 1.0))
"""... and so many of the cells around look like tumour: what holds between two shares is passed to gradually."""
SQUARES_AROUND = 4
"""What lies around is counted by squares of 40 um: its own and so many on each side, 200 um at most."""
DOUBTS_AT_ONCE = 2000
"""A cell in dense tissue has some 600 neighbours that near: more pairs at a time would cost memory."""
_TUMOUR = list(CellClass).index(CellClass.TUMOUR)
FEATURES = (
    "log(nucleus area / 40 um2)",
    "log(nucleus length / width)",
    "nucleus width / 6 um - 1",
    "nucleus haematoxylin / nucleus threshold - 2",
    "chromatin: sd / mean of haematoxylin",
    "nucleus regularity",
    "edge sharpness / haematoxylin",
    "distance to the nearest neighbour / 10 um - 1, up to 20 um",
    "neighbours within 25 um / 20 - 1",
    "cytoplasm haematoxylin / nucleus threshold",
)
ALONE = np.array(
    [
        [0.731, -6.114, -2.334, 0.325, 1.089, 1.845, 0.61, -0.541, 0.588, -0.063],
        [0.71, 4.298, -3.361, -0.114, 1.171, -0.896, -0.005, 1.653, 0.409, -0.282],
        [-1.442, 1.816, 5.695, -0.211, -2.261, -0.949, -0.605, -1.112, -0.997, 0.345],
    ]
)
"""Weights of ``FEATURES`` by class, first round."""
ALONE_OFFSET = np.array([0.474, -1.412, 0.938])
WITH_COMPANY = np.array(
    [
        [
            0.812,
            -6.047,
            -2.383,
            0.354,
            0.584,
            1.198,
            0.381,
            -0.455,
            -0.063,
            0.027,
            2.772,
            0.972,
            -0.465,
            1.621,
            1.421,
            -0.123,
        ],
        [
            0.61,
            4.122,
            -3.175,
            -0.086,
            0.65,
            -1.532,
            -0.135,
            1.425,
            0.771,
            -0.104,
            1.033,
            5.339,
            -0.049,
            0.235,
            1.577,
            -0.082,
        ],
        [
            -1.422,
            1.925,
            5.558,
            -0.268,
            -1.235,
            0.335,
            -0.247,
            -0.97,
            -0.709,
            0.077,
            -3.805,
            -6.311,
            0.514,
            -1.856,
            -2.999,
            0.205,
        ],
    ]
)
"""Second round: ``FEATURES``, the neighbours' mean share of lymphocyte and stroma, and their first four features."""
COMPANY_OFFSET = np.array([-0.822, -2.256, 3.078])


def classify_cells(cells: pd.DataFrame, *, mpp: float, estimate: StainEstimate) -> pd.DataFrame:
    """Name each cell tumour, lymphocyte or stroma.

    Parameters
    ----------
    cells
        Cells table with its measurements.
    mpp
        um per pixel of ``x_px``, ``y_px``.
    estimate
        Supplies ``nucleus_od``, the scale of haematoxylin.

    Returns
    -------
    DataFrame
        A new table with ``cell_class`` and the probabilities of the classes filled.
    """
    own = features_of(cells, estimate)
    first = _softmax(own @ ALONE.T + ALONE_OFFSET)
    company = company_of(cells[["x_px", "y_px"]].to_numpy() * mpp)
    around = np.hstack([company @ first[:, :2], company @ own[:, :4]])
    second = np.hstack([own, around]) @ WITH_COMPANY.T + COMPANY_OFFSET
    return name_by_scores(cells, scores_of(_softmax(second), CLASSES))


def scores_of(shares: Float64Array | Float32Array, classes: Sequence[str]) -> Float32Array:
    """(n, all classes) scores in the order of `CellClass` from (n, k) shares of some ``classes``; 0 for the others."""
    scores = np.zeros((len(shares), len(CellClass)), np.float32)
    scores[:, [list(CellClass).index(CellClass(each)) for each in classes]] = shares
    return scores


def name_by_scores(cells: pd.DataFrame, scores: Float32Array) -> pd.DataFrame:
    """Name each cell by the best of its class scores, (n, classes) in the order of `CellClass`; a new table."""
    names = np.array([str(each) for each in CellClass])[np.argmax(scores, axis=1)]
    named = pd.Categorical(names, categories=[str(each) for each in CellClass])
    columns = dict(zip(CLASS_PROBABILITIES, scores.T.astype(np.float32, copy=False), strict=True))
    return cells.assign(cell_class=named, **columns)


def weigh_brown_company(cells: pd.DataFrame, *, mpp: float) -> pd.DataFrame:
    """Judge each positive cell once more, by what the positive cells around it are.

    Class scores know how often a positive cell is tumour in general. Within ``BROWN_UM`` of each it is counted (mean
    probability, with ``DOUBT_CELLS`` cells of probability ``DOUBT_SHARE``), and the odds of tumour are multiplied by
    the odds of that share, by ``MAX_ODDS`` at most: among brown immune cells a doubtful cell is one of them, among
    brown tumour cells it is tumour. Cells that are not in doubt stay what they are.

    Parameters
    ----------
    cells
        Cells table with class, probabilities and positives.
    mpp
        um per pixel of ``x_px``, ``y_px``.

    Returns
    -------
    DataFrame
        A new table with other classes and probabilities of the doubtful positive cells, or the same one.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415  slow to import, and a worker measures without it

    share, odds, brown = _as_tumour(cells)
    doubtful = np.flatnonzero(brown & (odds * MAX_ODDS > 1) & (odds < MAX_ODDS))
    if not len(doubtful):
        return cells
    around = np.flatnonzero(brown)
    centres = cells[["x_px", "y_px"]].to_numpy(dtype=np.float64) * mpp
    everyone, n, total = cKDTree(centres[around]), np.empty(len(doubtful)), np.empty(len(doubtful))
    for start in range(0, len(doubtful), DOUBTS_AT_ONCE):
        some = doubtful[start : start + DOUBTS_AT_ONCE]
        pairs = cKDTree(centres[some]).sparse_distance_matrix(everyone, BROWN_UM, output_type="ndarray")
        n[start : start + len(some)] = np.bincount(pairs["i"], minlength=len(some))
        total[start : start + len(some)] = np.bincount(
            pairs["i"], weights=share[around[pairs["j"]]], minlength=len(some)
        )
    n, total = n - 1, total - share[doubtful]
    company = (total + DOUBT_CELLS * DOUBT_SHARE) / (n + DOUBT_CELLS)
    weighed = odds[doubtful] * np.clip(company / (1 - company), 1 / MAX_ODDS, MAX_ODDS)
    return _with_odds(cells, doubtful, weighed)


def weigh_blue_company(cells: pd.DataFrame, *, mpp: float) -> pd.DataFrame:
    """Judge each negative cell in doubt once more, by how many of the tumour cells around it are positive.

    Where nearly all are, few tumour cells are negative and most immune cells are: the odds of tumour are multiplied by
    how much rarer a negative cell is among what looks like tumour (each cell by its probability) than among the rest,
    by ``RARER`` at most. Where tumour cells of both kinds lie around, they are multiplied by ``MORE`` at most.
    Elsewhere, and of cells that are not in doubt, nothing changes.

    Parameters
    ----------
    cells
        Cells table with class, probabilities and positives.
    mpp
        um per pixel of ``x_px``, ``y_px``.

    Returns
    -------
    DataFrame
        A new table with other classes and probabilities of the doubtful negative cells, or the same one.
    """
    share, odds, brown = _as_tumour(cells)
    doubtful = np.flatnonzero(~brown & (odds * MAX_ODDS > 1) & (odds < MAX_ODDS))
    if not len(doubtful):
        return cells
    of_each = np.stack([share, share * brown, 1 - share, (1 - share) * brown], axis=1)
    around = sums_around(
        cells[["x_px", "y_px"]].to_numpy(np.float64) * mpp, of_each, rows=doubtful, squares=SQUARES_AROUND
    )
    tumour, brown_tumour, rest, brown_rest = (around - of_each[doubtful]).T
    blue_tumour = 1 - (brown_tumour + DOUBT_CELLS * BROWN_TUMOUR) / (tumour + DOUBT_CELLS)
    blue_rest = 1 - (brown_rest + DOUBT_CELLS * BROWN_REST) / (rest + DOUBT_CELLS)
    among = blue_tumour <= 1 - NEARLY_ALL
    rarer = np.where(among, np.clip(blue_tumour / blue_rest, 1 / RARER, 1), 1)
    mixed = np.interp(brown_tumour / np.maximum(tumour, 1), *MIXED) * tumour / (tumour + DOUBT_CELLS)
    mixed *= np.interp(tumour / np.maximum(tumour + rest, 1), *NESTS)
    weight = rarer * MORE**mixed
    moved = weight != 1
    return _with_odds(cells, doubtful[moved], odds[doubtful[moved]] * weight[moved]) if moved.any() else cells


def _as_tumour(cells: pd.DataFrame) -> tuple[Float64Array, Float64Array, BoolArray]:
    """Probability and odds of tumour of each cell, and whether it is positive."""
    share = np.clip(cells[CLASS_PROBABILITIES[_TUMOUR]].to_numpy(dtype=np.float64), 1e-6, 1 - 1e-6)
    return share, share / (1 - share), cells["positive"].to_numpy()


def _with_odds(cells: pd.DataFrame, rows: IntpArray, odds: Float64Array) -> pd.DataFrame:
    """The cells, named anew with these odds of tumour in some rows; the other classes share the rest."""
    scores = cells[list(CLASS_PROBABILITIES)].to_numpy(dtype=np.float32, copy=True)
    probability = odds / (1 + odds)
    rest = (1 - probability) / np.maximum(1 - scores[rows, _TUMOUR].astype(np.float64), 1e-6)
    scores[rows] *= rest[:, None].astype(np.float32)
    scores[rows, _TUMOUR] = probability
    return name_by_scores(cells, scores)


def features_of(cells: pd.DataFrame, estimate: StainEstimate) -> Float64Array:
    """(n, 10) the ``FEATURES`` of each cell."""

    def column(name: str) -> Float64Array:
        return cells[name].to_numpy(dtype=np.float64)

    chromatin = np.maximum(column("nucleus_haematoxylin_od_mean"), 0.03)
    width = np.maximum(column("nucleus_width_um"), 0.5)
    columns = (
        np.log(np.maximum(column("nucleus_area_um2"), 1) / 40),
        np.log(np.maximum(column("nucleus_length_um"), 0.5) / width),
        column("nucleus_width_um") / 6 - 1,
        chromatin / estimate.nucleus_od - 2,
        column("nucleus_haematoxylin_od_sd") / chromatin,
        column("nucleus_regularity"),
        column("nucleus_sharpness_od") / chromatin,
        np.minimum(column("neighbour_distance_um"), 20) / 10 - 1,
        column("neighbours_25um") / 20 - 1,
        column("cytoplasm_haematoxylin_od_mean") / estimate.nucleus_od,
    )
    return np.stack(columns, axis=1)


def _softmax(scores: Float64Array) -> Float64Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def company_of(centres_um: Float64Array) -> csr_array:
    """(n, n) sparse weights of each cell's neighbours; rows sum to 1, or to 0 for a cell alone."""
    return neighbour_weights(centres_um, sd_um=COMPANY_UM, reach_um=COMPANY_REACH_UM)
