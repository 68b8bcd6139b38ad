"""The folder of a classifier: card, weights, and a report for people."""

from __future__ import annotations

import hashlib
import json
import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.errors import OutputError, UsageError
from pdl1quant.networks.card import CARD_FILE
from pdl1quant.networks.classifier import Classifier, ClassifierCard, class_probabilities, load_classifier
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.training.export import INPUT, OUTPUT, to_onnx
from pdl1quant.training.figures import calibration_error, class_figures, confusion
from pdl1quant.training.fit import decision, softmax
from pdl1quant.training.report import PLOT, REPORT, reliability_png, report_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pdl1quant.model import Float32Array
    from pdl1quant.training.fit import Fitted

WEIGHTS = "classifier.onnx"
FILES = (CARD_FILE, WEIGHTS, REPORT, PLOT)
MAX_DIFFERENCE = 1e-3
"""Between the probabilities of the model as fitted and as written: single against double precision."""
DECIMALS = 4


def claim_folder(folder: Path, *, overwrite: bool) -> None:
    """Make sure that a classifier may be written into a folder.

    Raises
    ------
    UsageError
        It holds a classifier, or what a stopped training left of one, and ``overwrite`` was not said; or it holds
        anything else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; the classifier needs a folder")
    try:
        names = {path.name for path in folder.iterdir() if not path.name.endswith(".partial")}
        if not names:
            return
        if WEIGHTS in names and names <= set(FILES) - {CARD_FILE}:  # the card is written last
            if not overwrite:
                raise UsageError(f"{folder}: holds what a stopped training left; pass --overwrite to replace it")
            return
        card = tomllib.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        card = {}
    if card.get("kind") != "classifier":
        raise UsageError(f"{folder}: holds something else than a classifier; choose a new folder")
    if not overwrite:
        raise UsageError(f"{folder}: holds a classifier; choose a new folder, or pass --overwrite")


def write_classifier(
    folder: Path,
    fitted: Fitted,
    *,
    features: Float32Array,
    about: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> Classifier:
    """Write ``classifier.onnx``, ``report.md``, ``reliability.png`` and, last, ``card.toml``.

    Parameters
    ----------
    folder
        Made when missing; its files of these names are replaced.
    fitted
        From `fit_classifier`.
    features : (n, k) float32
        What it was fitted on: the written model has to give the same probabilities.
    about
        The card's ``name``, ``title``, ``licence``, ``training_data``, ``limits``, ``segmenter``, ``mpp`` and
        ``training``.
    notes
        Sentences for the report.

    Raises
    ------
    UsageError
        A package of the extra is missing.
    OutputError
        A file cannot be written, or the written model gives other probabilities.
    """
    weights = to_onnx(fitted)
    card = ClassifierCard(
        kind="classifier",
        file=WEIGHTS,
        sha256=hashlib.sha256(weights).hexdigest(),
        features=fitted.names,
        classes=fitted.classes,
        input=INPUT,
        output=OUTPUT,
        figures=figures_of(fitted),
        **about,
    )
    contents = {
        WEIGHTS: weights,
        REPORT: report_text(card, fitted, notes=notes).encode(),
        PLOT: reliability_png(fitted),
        CARD_FILE: card_toml(card).encode(),
    }
    for name, content in contents.items():
        with replace_atomically(folder / name) as partial:
            partial.write_bytes(content)
    load_classifier.cache_clear()
    written = load_classifier(folder)
    expected = softmax(decision(fitted.model, features) / fitted.temperature)
    difference = np.abs(class_probabilities(written, features, fitted.names) - expected).max()
    if difference > MAX_DIFFERENCE:
        raise OutputError(f"{folder}: the written model differs by {difference:.3g} in probability; report this")
    return written


def figures_of(fitted: Fitted) -> dict[str, Any]:
    """What held-out cells tell, for the card."""
    table = confusion(fitted.truth, fitted.held_out.argmax(axis=1), len(fitted.classes))
    by_class = {
        name: {"cells": each.n, "sensitivity": each.sensitivity, "specificity": each.specificity, "f1": each.f1}
        for name, each in zip(fitted.classes, class_figures(table), strict=True)
    }
    return {
        "cells": len(fitted.truth),
        "slides": fitted.n_slides,
        "held_out": "whole slides" if fitted.by_slide else "cells at random",
        "folds": fitted.n_folds,
        "accuracy": float(np.trace(table) / table.sum()),
        "calibration_error": calibration_error(fitted.held_out, fitted.truth),
        "calibration_error_before": calibration_error(fitted.uncalibrated, fitted.truth),
        "temperature": fitted.temperature,
        **by_class,
    }


def card_toml(card: ClassifierCard) -> str:
    """The card as TOML: plain values, then a table for each part with names of its own."""
    return "\n".join(_toml_lines(card.model_dump(mode="json"))) + "\n"


def _toml_lines(values: Mapping[str, Any], path: str = "") -> list[str]:
    lines = [f"{key} = {_toml_value(value)}" for key, value in values.items() if _is_plain(value)]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["", f"[{path}{key}]", *_toml_lines(value, f"{path}{key}.")]
    return lines


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, dict)


def _toml_value(value: Any) -> str:
    if isinstance(value, float):
        value = round(value, DECIMALS)
    return json.dumps(value, ensure_ascii=False)
