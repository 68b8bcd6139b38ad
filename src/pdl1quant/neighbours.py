"""Which cells lie around each, and how much each of them weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from pdl1quant.model import Float64Array


def neighbour_weights(centres_um: Float64Array, *, sd_um: float, reach_um: float) -> csr_array:
    """Gaussian weights of the neighbours of each cell; they know distances alone, no direction.

    Parameters
    ----------
    centres_um : (n, 2) float
        Centres in um.
    sd_um
        Standard deviation of the weight.
    reach_um
        Farther neighbours have none.

    Returns
    -------
    csr_array
        (n, n); a cell is no neighbour of itself; rows sum to 1, or to 0 for a cell alone.
    """
    tree = cKDTree(centres_um)
    pairs = tree.query_pairs(reach_um, output_type="ndarray")
    apart = np.linalg.norm(centres_um[pairs[:, 0]] - centres_um[pairs[:, 1]], axis=1)
    weight = np.exp(-0.5 * (apart / sd_um) ** 2)
    row, column = np.concatenate([pairs, pairs[:, ::-1]]).T
    n = len(centres_um)
    weights = csr_array((np.concatenate([weight, weight]), (row, column)), shape=(n, n))
    total = np.asarray(weights.sum(axis=1)).ravel()
    scale = np.divide(1.0, total, out=np.zeros(n), where=total > 0)
    return csr_array(weights.multiply(scale[:, None]))
