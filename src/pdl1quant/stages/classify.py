"""A first rule for what each cell is: nuclear size, shape, chromatin, cytoplasm and company.

Two rounds of linear scores (multinomial logistic regression, fitted on rendered fields by
``benchmarks/fit_classes.py``): the first sees the cell alone, the second also what lies around it, because tumour cells
lie among their like. The rule reads no DAB, so that a class does not depend on positivity. Macrophages have no rule:
large pale nuclei in much cytoplasm are what tumour nuclei are, too; so CPS stays undefined.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from pdl1quant.model import CellClass, Float32Array, Float64Array, StainEstimate

CLASSES = (CellClass.LYMPHOCYTE, CellClass.STROMA, CellClass.TUMOUR)
COMPANY_UM = 15.0
"""Standard deviation of the weight of a neighbour ..."""
COMPANY_REACH_UM = 40.0
"""... and the distance beyond which it has none."""
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
        [0.633, -6.476, -2.473, 0.736, -2.042, 3.371, 0.039, -0.337, 0.921, -0.492],
        [0.465, 4.833, -2.941, -0.658, 5.768, -2.309, 0.689, 1.261, 0.855, 0.035],
        [-1.098, 1.644, 5.414, -0.078, -3.726, -1.062, -0.728, -0.925, -1.775, 0.457],
    ]
)
"""Weights of ``FEATURES`` by class, first round."""
ALONE_OFFSET = np.array([1.108, -2.408, 1.301])
WITH_COMPANY = np.array(
    [
        [
            1.161, -6.949, -3.369, 0.810, -2.084, 3.885, -0.093, -0.229, -0.251, -0.074,
            3.049, 0.984, -0.176, 0.269, -0.012, -0.501,
        ],
        [
            0.031, 5.136, -2.018, -0.748, 5.247, -2.747, 0.404, 1.209, 1.235, 0.121,
            -0.415, 2.864, -1.051, 1.322, 2.039, 0.485,
        ],
        [
            -1.192, 1.812, 5.387, -0.062, -3.163, -1.138, -0.311, -0.981, -0.984, -0.047,
            -2.634, -3.848, 1.228, -1.591, -2.027, 0.016,
        ],
    ]
)  # fmt: skip
"""Second round: ``FEATURES``, the neighbours' mean share of lymphocyte and stroma, and their first four features."""
COMPANY_OFFSET = np.array([-1.362, -2.706, 4.069])


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
        A new table with ``cell_class`` filled.
    """
    own = features_of(cells, estimate)
    first = _softmax(own @ ALONE.T + ALONE_OFFSET)
    company = company_of(cells[["x_px", "y_px"]].to_numpy() * mpp)
    around = np.hstack([company @ first[:, :2], company @ own[:, :4]])
    second = np.hstack([own, around]) @ WITH_COMPANY.T + COMPANY_OFFSET
    names = np.array([str(each) for each in CLASSES])[np.argmax(second, axis=1)]
    return cells.assign(cell_class=pd.Categorical(names, categories=[str(each) for each in CellClass]))


def name_by_scores(cells: pd.DataFrame, scores: Float32Array) -> pd.DataFrame:
    """Name each cell by the best of its class scores, (n, classes) in the order of `CellClass`; a new table."""
    names = np.array([str(each) for each in CellClass])[np.argmax(scores, axis=1)]
    return cells.assign(cell_class=pd.Categorical(names, categories=[str(each) for each in CellClass]))


def features_of(cells: pd.DataFrame, estimate: StainEstimate) -> Float64Array:
    """(n, 10) the ``FEATURES`` of each cell."""
    values = {name: cells[name].to_numpy(dtype=np.float64) for name in cells.columns if cells[name].dtype.kind == "f"}
    chromatin = np.maximum(values["nucleus_haematoxylin_od_mean"], 0.03)
    width = np.maximum(values["nucleus_width_um"], 0.5)
    columns = (
        np.log(np.maximum(values["nucleus_area_um2"], 1) / 40),
        np.log(np.maximum(values["nucleus_length_um"], 0.5) / width),
        values["nucleus_width_um"] / 6 - 1,
        chromatin / estimate.nucleus_od - 2,
        values["nucleus_haematoxylin_od_sd"] / chromatin,
        values["nucleus_regularity"],
        values["nucleus_sharpness_od"] / chromatin,
        np.minimum(values["neighbour_distance_um"], 20) / 10 - 1,
        cells["neighbours_25um"].to_numpy() / 20 - 1,
        values["cytoplasm_haematoxylin_od_mean"] / estimate.nucleus_od,
    )
    return np.stack(columns, axis=1)


def _softmax(scores: Float64Array) -> Float64Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def company_of(centres_um: Float64Array) -> csr_array:
    """(n, n) sparse weights of each cell's neighbours; rows sum to 1, or to 0 for a cell alone."""
    tree = cKDTree(centres_um)
    pairs = tree.query_pairs(COMPANY_REACH_UM, output_type="ndarray")
    apart = np.linalg.norm(centres_um[pairs[:, 0]] - centres_um[pairs[:, 1]], axis=1)
    weight = np.exp(-0.5 * (apart / COMPANY_UM) ** 2)
    row, column = np.concatenate([pairs, pairs[:, ::-1]]).T
    n = len(centres_um)
    weights = csr_array((np.concatenate([weight, weight]), (row, column)), shape=(n, n))
    total = np.asarray(weights.sum(axis=1)).ravel()
    scale = np.divide(1.0, total, out=np.zeros(n), where=total > 0)
    return csr_array(weights.multiply(scale[:, None]))
