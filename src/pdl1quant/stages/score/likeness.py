"""Bounds of a share where neighbours are alike, from the counts of blocks and from what is held likely without them.

Each block has a share of positive cells of its own. These shares follow a beta distribution, the counts a beta-binomial
one (Skellam, J R Stat Soc B 1948; 10: 257-261) with two unknowns: the mean share, and the likeness (intraclass
correlation of the cells of a block; 0: cells of a block are no more alike than others). Few blocks, or few with a
positive cell, do not tell the likeness, and bounds that take one value for it are too narrow: it is summed over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pdl1quant.model import Float64Array, IntpArray

_SHARES, _LIKENESSES = 61, 16
"""Points of the grid. With 161 and 80 a bound of thirty blocks moves by a fiftieth of the interval, or less."""
_LEAST_LIKENESS, _MOST_LIKENESS = 2e-4, 0.95
_REACH_LOGITS = 8.0
"""From the observed share to both ends of the grid."""
_COARSELY = slice(None, None, 5)
_OUT_OF_THE_QUESTION = 10.0
"""Log-likelihood below the best, from which on a likeness is left out of the grid."""
_DIGITS = 6
"""Of a bound in per cent: the last ones of float64 may differ between processors."""


@lru_cache(maxsize=4)  # the share of positive tumour cells is a part of the CPS, too
def alike_interval(blocks: tuple[tuple[int, int], ...], *, likeness: float, level: float) -> tuple[float, float]:
    """Interval of the mean share over blocks in per cent, with equal tails on both sides of its posterior.

    A block of less than half of the cells that a cell's block holds on average counts as so much of a block only: the
    border of an image leaves slivers, which are no tissue of their own.

    The mean share has the prior of Jeffreys, beta(1/2, 1/2). The likeness has beta(1, 1 / ``likeness`` - 1), which has
    the mean ``likeness`` and falls from 0 on; one block knows nothing else, many outweigh it.

    Parameters
    ----------
    blocks
        Positive and all cells of each block, in any order; some hold cells.
    likeness
        Intraclass correlation that is held likely beforehand, above 0 and up to 0.5.
    level
        Confidence, above 0 and below 1.

    Returns
    -------
    tuple of float
        Lower and upper bound, 0-100, rounded to six digits after the point. The observed share need not lie between
        them where there is no positive cell, or no other.
    """
    counts: IntpArray = np.array(blocks, dtype=np.intp)
    seen = _Blocks.of(counts[:, 0], counts[:, 1])
    positive, cells = counts.sum(axis=0).tolist()
    share = (positive + 0.5) / (cells + 1)
    # Points lie close about the observed share, as independent cells would ask for, and ever wider apart from there.
    observed, scale = math.log(share / (1 - share)), (cells * share * (1 - share)) ** -0.5
    steps = np.linspace(-1, 1, _SHARES) * np.arcsinh(_REACH_LOGITS / scale)
    logits = observed + scale * np.sinh(steps)
    log_rho = np.linspace(math.log(_LEAST_LIKENESS), math.log(_MOST_LIKENESS), _LIKENESSES)
    log_rho = _in_question(log_rho, seen.log_likelihood(logits[_COARSELY], np.exp(log_rho)).max(axis=0))
    rho = np.exp(log_rho)
    # Priors per logit and per logarithm of the likeness, in which the grid is even; cosh: as it is even in the steps.
    of_share = np.log(np.cosh(steps)) - 0.5 * (np.logaddexp(0, logits) + np.logaddexp(0, -logits))
    of_likeness = log_rho + (1 / likeness - 2) * np.log1p(-rho)
    posterior = seen.log_likelihood(logits, rho) + of_share[:, None] + of_likeness
    density = np.exp(posterior - posterior.max()).sum(axis=1)
    below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    ends = np.interp([0.5 * (1 - level), 0.5 * (1 + level)], below / below[-1], steps)
    low, high = np.round(100 / (1 + np.exp(-observed - scale * np.sinh(ends))), _DIGITS)
    return float(low), float(high)


def _in_question(points: Float64Array, likelihood: Float64Array) -> Float64Array:
    """As many points over the part that the blocks leave open."""
    (left,) = np.nonzero(likelihood > likelihood.max() - _OUT_OF_THE_QUESTION)
    return np.linspace(points[max(left[0] - 1, 0)], points[min(left[-1] + 1, len(points) - 1)], len(points))


@dataclass(frozen=True, slots=True)
class _Tally:
    """Numbers above 0, each once, and the weights of its blocks together."""

    values: Float64Array
    weights: Float64Array

    @classmethod
    def of(cls, numbers: IntpArray, weights: Float64Array) -> _Tally:
        values, place = np.unique(numbers, return_inverse=True)
        summed: Float64Array = np.bincount(place, weights=weights).astype(np.float64)
        return cls(values[values > 0].astype(np.float64), summed[values > 0])

    def log_rising(self, start: Float64Array) -> Float64Array:
        """The weighted sum of log(start (start + 1) ... (start + number - 1)), in the shape of ``start``."""
        from scipy.special import gammaln  # noqa: PLC0415  slow to import

        risen = gammaln(start[..., None] + self.values) @ self.weights
        return np.asarray(risen - self.weights.sum() * gammaln(start))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    """Positive, negative and all cells of the blocks; alike blocks are worked on once."""

    positive: _Tally
    negative: _Tally
    cells: _Tally

    @classmethod
    def of(cls, positive: IntpArray, cells: IntpArray) -> _Blocks:
        weights = np.minimum(2 * cells * (cells.sum() / (cells.astype(np.float64) ** 2).sum()), 1.0)
        parts = {"positive": positive, "negative": cells - positive, "cells": cells}
        return cls(**{name: _Tally.of(numbers, weights) for name, numbers in parts.items()})

    def log_likelihood(self, logits: Float64Array, rho: Float64Array) -> Float64Array:
        """(shares, likenesses) of the beta-binomial, without what depends on neither."""
        both = (1 - rho) / rho  # the sum of the two parameters of the beta distribution
        share = 1 / (1 + np.exp(-logits[:, None]))
        other = 1 / (1 + np.exp(logits[:, None]))
        found = self.positive.log_rising(both * share) + self.negative.log_rising(both * other)
        return np.asarray(found - self.cells.log_rising(both))
