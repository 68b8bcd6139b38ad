"""Which cells lie around each, and how much each of them weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.places import neighbours_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from pdl1quant.model import Float64Array, IntpArray

SQUARE_UM = 40.0
"""What lies around is counted by squares of this side."""


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


def sums_around(centres_um: Float64Array, of_each: Float64Array, *, rows: IntpArray, squares: int) -> Float64Array:
    """Sum what is known of each cell over the squares around some of them, their own included.

    Squares lie on a grid from the corner that places are counted from, and are added one by one: what is far away
    changes no last bit.

    Parameters
    ----------
    centres_um : (n, 2) float
        Centres x, y in um.
    of_each : (n, k) float
        What is summed.
    rows : (m,) int
        The cells around which it is.
    squares
        How many squares of ``SQUARE_UM`` on each side of a cell's own.

    Returns
    -------
    ndarray
        (m, k).
    """
    column, row = np.floor(centres_um / SQUARE_UM).astype(np.intp).T
    column, row = column - column.min(), row - row.min()
    height, width = int(row.max()) + 1, int(column.max()) + 1
    summed = np.stack(
        [np.bincount(row * width + column, weights=each, minlength=height * width) for each in of_each.T], axis=1
    ).reshape(height, width, -1)
    padded = np.pad(summed, ((squares, squares), (squares, squares), (0, 0)))
    total = np.zeros((len(rows), of_each.shape[1]))
    for down in range(2 * squares + 1):
        for right in range(2 * squares + 1):
            total += padded[row[rows] + down, column[rows] + right]
    return total
