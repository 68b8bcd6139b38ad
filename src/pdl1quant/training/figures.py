"""How good class probabilities are: sensitivity and specificity by class, confusion, and whether they can be believed.

References
----------
Guo et al., "On calibration of modern neural networks", ICML 2017 (expected calibration error, temperature).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, Float64Array, IntpArray

BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class against all others; None where there is nothing to divide by."""

    n: int
    sensitivity: float | None
    specificity: float | None
    f1: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Per bin of the probability: cells in it, their mean probability, and how many of them are of the class."""

    n: IntpArray
    predicted: Float64Array
    observed: Float64Array


def confusion(truth: IntpArray, called: IntpArray, n_classes: int) -> IntpArray:
    """(classes, classes) counts; rows are the truth, columns what was called."""
    return np.bincount(truth * n_classes + called, minlength=n_classes**2).reshape(n_classes, n_classes)


def class_figures(table: IntpArray) -> tuple[ClassFigures, ...]:
    """Figures of each class from its `confusion`."""
    hit, true, called, n = np.diag(table), table.sum(axis=1), table.sum(axis=0), int(table.sum())
    return tuple(
        ClassFigures(
            n=int(true[k]),
            sensitivity=_ratio(hit[k], true[k]),
            specificity=_ratio(n - true[k] - called[k] + hit[k], n - true[k]),
            f1=_ratio(2 * hit[k], true[k] + called[k]),
        )
        for k in range(len(table))
    )


def reliability(probability: Float32Array | Float64Array, is_so: np.ndarray, *, bins: int = BINS) -> Reliability:
    """Compare probabilities (n,) with what is so (n,) bool, in bins of equal width."""
    place = np.minimum((probability * bins).astype(np.intp), bins - 1)
    n = np.bincount(place, minlength=bins)
    total = np.maximum(n, 1)
    return Reliability(
        n=n,
        predicted=np.bincount(place, probability, bins) / total,
        observed=np.bincount(place, is_so, bins) / total,
    )


def calibration_error(probabilities: Float32Array | Float64Array, truth: IntpArray) -> float | None:
    """Expected calibration error of the best class: mean |probability - share of right calls| over bins, by cells.

    Parameters
    ----------
    probabilities : (n, classes) float
        Rows sum to 1.
    truth : (n,) int
        Column of the right class.

    Returns
    -------
    float or None
        0-1; None without cells.
    """
    if not len(truth):
        return None
    curve = reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth)
    return float((curve.n * np.abs(curve.predicted - curve.observed)).sum() / len(truth))


def _ratio(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
