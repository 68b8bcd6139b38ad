"""A report on a classifier for people: a page of text and a plot of how far its probabilities can be believed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.extras import import_extra
from pdl1quant.training.figures import calibration_error, class_figures, confusion, reliability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import Float64Array, IntpArray
    from pdl1quant.networks.classifier import ClassifierCard
    from pdl1quant.training.fit import Fitted

REPORT, PLOT = "report.md", "reliability.png"
MIN_IN_BIN = 5
"""Points of fewer cells are not drawn."""


def report_text(card: ClassifierCard, fitted: Fitted, *, notes: Sequence[str] = ()) -> str:
    """The report as Markdown."""
    called = fitted.held_out.argmax(axis=1)
    table = confusion(fitted.truth, called, len(fitted.classes))
    how = (
        f"Each cell was judged by a model that saw no cell of its slide ({fitted.n_slides} slides, "
        f"{fitted.n_folds} folds)."
        if fitted.by_slide
        else f"The labels did not allow to hold out whole slides ({fitted.n_slides} named): cells were held out at "
        f"random ({fitted.n_folds} folds). **The figures flatter**: a new slide will be read worse. Label cells of "
        "several slides, each with all classes."
    )
    before, after = (calibration_error(each, fitted.truth) for each in (fitted.uncalibrated, fitted.held_out))
    believed = (
        f"Mean distance between probability and share of right calls: {after:.3f} ({before:.3f} before calibration "
        f"with temperature {fitted.temperature:.2f}, which was fitted on the same cells). On the line of the plot a "
        "probability of 0.8 is right in 8 of 10 cells."
    )
    lines = [
        f"# Classifier {card.name}",
        "",
        f"Written by pdl1quant. {card.title}",
        "",
        f"- Learnt from: {card.training_data}",
        f"- Cells found by: {card.segmenter}, at {card.mpp:g} um per pixel",
        f"- Licence: {card.licence}",
        f"- Limits: {card.limits}",
        *(f"- {note}" for note in notes),
        "",
        "## Held-out cells",
        "",
        how,
        "",
        *_figure_rows(card, table),
        "",
        f"{100 * np.trace(table) / table.sum():.1f} % of the cells were called right.",
        "",
        "What was labelled (rows), and called (columns):",
        "",
        *_confusion_rows(fitted.classes, table),
        "",
        "## Probabilities",
        "",
        believed,
        "",
        f"![reliability]({PLOT})",
        "",
        "Research use only.",
        "",
    ]
    return "\n".join(lines)


def reliability_png(fitted: Fitted) -> bytes:
    """The plot of the held-out cells: one line per class."""
    curves = {name: (fitted.held_out[:, k], fitted.truth == k) for k, name in enumerate(fitted.classes)}
    return plot_reliability(curves, title="held-out cells")


def plot_reliability(curves: dict[str, tuple[Float64Array, np.ndarray]], *, title: str) -> bytes:
    """A PNG of lines by name, each from probabilities (n,) and what is so (n,) bool.

    Raises
    ------
    UsageError
        matplotlib is not installed.
    """
    figure_type = import_extra("matplotlib.figure", package="matplotlib", extra="train").Figure
    figure = figure_type(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, (probability, is_so) in curves.items():
        curve = reliability(probability, is_so)
        drawn = curve.n >= MIN_IN_BIN
        axes.plot(curve.predicted[drawn], curve.observed[drawn], marker="o", markersize=3, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability", ylabel="share of cells of that class", title=title)
    axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, metadata={"Software": "pdl1quant"})
    return file.getvalue()


def _figure_rows(card: ClassifierCard, table: IntpArray) -> list[str]:
    rows = ["| class | cells | sensitivity | specificity | F1 |", "|---|---:|---:|---:|---:|"]
    for name, each in zip(card.classes, class_figures(table), strict=True):
        shares = " | ".join(_share(value) for value in (each.sensitivity, each.specificity, each.f1))
        rows.append(f"| {name} | {each.n} | {shares} |")
    return rows


def _confusion_rows(classes: Sequence[str], table: IntpArray) -> list[str]:
    head = [f"| | {' | '.join(classes)} |", f"|---|{'---:|' * len(classes)}"]
    return head + [
        f"| {name} | {' | '.join(str(n) for n in row)} |" for name, row in zip(classes, table.tolist(), strict=True)
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
