"""Gradient boosting on described cells, held out by slide, its probabilities calibrated by a temperature.

References
----------
Platt, "Probabilistic outputs for support vector machines", 1999 (targets short of 1, for few cells).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar

from pdl1quant.errors import UsageError
from pdl1quant.extras import import_extra
from pdl1quant.model import CellClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import Float32Array, Float64Array, IntpArray

FOLDS = 5
SEED = 0
TREES = 120
TEMPERATURES = (0.2, 10.0)
"""Between these the calibration is searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A model fitted on all cells, and what it says of each cell when fitted without that cell's slide.

    ``model`` is a ``HistGradientBoostingClassifier`` whose classes are 0..k-1 of ``classes``; its decision function
    divided by ``temperature`` gives calibrated probabilities. ``held_out`` (n, k) holds those, ``truth`` (n,) the right
    columns. ``n_folds`` folds kept whole slides together if ``by_slide``, else parted the cells of one.
    """

    model: Any
    names: tuple[str, ...]
    classes: tuple[str, ...]
    temperature: float
    held_out: Float64Array
    uncalibrated: Float64Array
    truth: IntpArray
    n_slides: int
    n_folds: int
    by_slide: bool

    @property
    def never_learnt(self) -> IntpArray:
        """Cells of each class, (k,), whose class none of the slides had that their fold learnt from."""
        unseen = self.uncalibrated[np.arange(len(self.truth)), self.truth] == 0  # exp(-inf)
        return np.bincount(self.truth[unseen], minlength=len(self.classes))


def fit_classifier(
    features: Float32Array, classes: Sequence[str], slides: Sequence[str], *, names: Sequence[str]
) -> Fitted:
    """Fit, judge by cross-validation, calibrate.

    Parameters
    ----------
    features : (n, k) float32
        A row per cell, all finite.
    classes
        (n) names of classes.
    slides
        (n) what each cell comes from; the cells of one are held out together. With one alone, or where those left
        would be of one class, cells are held out at random, and the figures flatter.
    names
        (k) what the features are.

    Raises
    ------
    UsageError
        scikit-learn is missing, or nothing in the features tells the classes apart.
    """
    present = tuple(str(each) for each in CellClass if str(each) in set(classes))
    truth = np.array([present.index(each) for each in classes], dtype=np.intp)
    groups = np.unique(np.asarray(slides), return_inverse=True)[1]
    folds, by_slide = _folds(truth, groups)
    held_out = np.full((len(truth), len(present)), -np.inf)
    for test in folds:
        model = _fit(features[~test], truth[~test])
        held_out[np.ix_(test, model.classes_)] = decision(model, features[test])
    temperature = _temperature(held_out, truth)
    model = _fit(features, truth)
    if all(len(tree.nodes) == 1 for trees in model._predictors for tree in trees):  # noqa: SLF001  nothing public tells
        raise UsageError("labels: nothing that was measured tells their classes apart; check labels and pixel size")
    return Fitted(
        model=model,
        names=tuple(names),
        classes=present,
        temperature=temperature,
        held_out=softmax(held_out / temperature),
        uncalibrated=softmax(held_out),
        truth=truth,
        n_slides=int(groups.max()) + 1,
        n_folds=len(folds),
        by_slide=by_slide,
    )


def decision(model: Any, features: Float32Array) -> Float64Array:
    """(n, classes) logits; scikit-learn gives those of two classes as one column."""
    limits = import_extra("threadpoolctl", package="scikit-learn", extra="train")
    with limits.threadpool_limits(1):
        found = np.asarray(model.decision_function(features), dtype=np.float64)
    return np.stack([np.zeros_like(found), found], axis=1) if found.ndim == 1 else found


def softmax(logits: Float64Array) -> Float64Array:
    """Rows that sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _fit(features: Float32Array, truth: IntpArray) -> Any:
    """Few labels make small trees of larger leaves; the same cells give the same model."""
    ensemble = import_extra("sklearn.ensemble", package="scikit-learn", extra="train")
    model = ensemble.HistGradientBoostingClassifier(
        max_iter=TREES,
        learning_rate=0.06,
        max_leaf_nodes=12,
        min_samples_leaf=int(np.clip(len(truth) // 100, 5, 40)),
        l2_regularization=1.0,
        early_stopping=False,
        random_state=SEED,
    )
    limits = import_extra("threadpoolctl", package="scikit-learn", extra="train")
    with limits.threadpool_limits(1):  # threads that wait for each other on a busy machine take a hundred times as long
        return model.fit(features, truth)


def _folds(truth: IntpArray, groups: IntpArray) -> tuple[list[np.ndarray], bool]:
    """Masks of the cells that are held out together, and whether they are whole slides.

    They are not where there is one slide only, or where the rest would have one class only.
    """
    selection = import_extra("sklearn.model_selection", package="scikit-learn", extra="train")
    n_groups = int(groups.max()) + 1
    if n_groups > 1:
        splitter = selection.StratifiedGroupKFold(min(FOLDS, n_groups), shuffle=True, random_state=SEED)
        parts = list(splitter.split(truth, truth, groups))
        if all(len(np.unique(truth[rest])) > 1 for rest, _ in parts):
            return [_mask(test, len(truth)) for _, test in parts if len(test)], True
    splitter = selection.StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    return [_mask(test, len(truth)) for _, test in splitter.split(truth, truth)], False


def _mask(test: IntpArray, n: int) -> np.ndarray:
    mask = np.zeros(n, bool)
    mask[test] = True
    return mask


def _temperature(logits: Float64Array, truth: IntpArray) -> float:
    """What to divide logits by so that the held-out cells are the least surprising.

    Of n cells of a class one more is taken to be of another, as Platt does: else twenty cells that are told apart
    without an error would make probabilities of all but 1.
    """
    known = np.isfinite(logits[np.arange(len(truth)), truth])
    logits, truth = logits[known], truth[known]
    is_seen = np.isfinite(logits)
    wrong = 1 / (np.bincount(truth, minlength=logits.shape[1])[truth] + 2)
    target = is_seen * (wrong / (is_seen.sum(axis=1) - 1))[:, None]
    target[np.arange(len(truth)), truth] = 1 - wrong

    def surprise(log_temperature: float) -> float:
        scaled = np.where(is_seen, logits, 0) / np.exp(log_temperature)
        top = scaled.max(axis=1, where=is_seen, initial=-np.inf)
        total = top + np.log((is_seen * np.exp(scaled - top[:, None])).sum(axis=1))
        return float((total - (target * scaled).sum(axis=1)).mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(surprise, bounds=(low, high), method="bounded").x))
