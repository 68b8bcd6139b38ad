"""Which cells lie around each, and how much each of them weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.places import neighbours_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

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
    from scipy.sparse import csr_array  # noqa: PLC0415  slow to import, and a worker measures without it

    n = len(centres_um)
    starts, others, apart = neighbours_of(np.ascontiguousarray(centres_um, dtype=np.float64), reach_um)
    weight = np.exp(-0.5 * (apart / sd_um) ** 2)
    total = np.asarray(csr_array((weight, others, starts), shape=(n, n)).sum(axis=1)).ravel()
    scale = np.divide(1.0, total, out=np.zeros(n), where=total > 0)
    return csr_array((weight * np.repeat(scale, np.diff(starts)), others, starts), shape=(n, n))
