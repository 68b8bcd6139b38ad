"""Corrections as labels to train on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pdl1quant.errors import ReviewError
from pdl1quant.outputs.claims import refuse_foreign
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.review.edits import EditKind
from pdl1quant.review.ledger import ledger_path
from pdl1quant.review.places import find_image
from pdl1quant.review.results import open_results
from pdl1quant.review.session import Review

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = ("image", "x_px", "y_px", "cell_class", "slide", "uncertain_first")
LABELS_NAME = "labels_from_reviews.csv"


def labels_from_reviews(out: Path) -> pd.DataFrame:
    """What reviewers called cells: those they named, confirmed, added, split or merged, and that are still there.

    Cells of which nobody said the class are no labels, nor are positive and negative. Edits marked ``uncertain_first``
    are among them, marked in their own column: fit for training, never for an estimate of accuracy.

    Parameters
    ----------
    out
        Folder of a run.

    Returns
    -------
    DataFrame
        ``image`` (place of its results in the run), ``x_px``, ``y_px``, ``cell_class``, ``slide`` (the case) and
        ``uncertain_first``, in the order of the run and of its cells.

    Raises
    ------
    ReviewError
        A ledger is for other results.
    """
    results = open_results(out)
    parts = [
        _labels(Review(results, image))
        for image in results.images
        if image.has_cells and ledger_path(out, image.stem).exists()
    ]
    if not parts:
        return pd.DataFrame({name: [] for name in COLUMNS})
    return pd.concat(parts, ignore_index=True)


def write_review_labels(out: Path, *, images: Path | None = None) -> Path:
    """Write `labels_from_reviews` as a file that ``train`` reads, into ``out``; images are named from there.

    Parameters
    ----------
    out
        Folder of a run.
    images
        Folder that the images moved to, and that ``train`` is given.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ReviewError
        Nobody named a cell, an image moved, or a ledger is for other results.
    OutputError
        The file cannot be written, or pdl1quant did not write the one that is there.
    """
    labels = labels_from_reviews(out)
    if labels.empty:
        raise ReviewError(f"{out}: no reviewer named a cell of it; correct some, or give --labels")
    results = open_results(out)
    base = images or out
    places = {}
    for name in labels["image"].unique():
        path = find_image(results, results.image(name), folder=images)
        places[name] = _relative(path, base)
    path = out / LABELS_NAME
    named = labels.assign(image=labels["image"].map(places))
    refuse_foreign(path)
    with replace_atomically(path) as partial:
        partial.write_bytes(named.to_csv(index=False, lineterminator="\n").encode())
    return path


def mpp_of_runs(outs: Sequence[Path]) -> float | None:
    """The pixel size (um) that was given to these runs; None where each image said its own.

    Raises
    ------
    ReviewError
        They were given different ones.
    """
    given = {open_results(out).given_mpp for out in outs}
    if len(given) > 1:
        raise ReviewError(f"{outs[0]}: runs of different --mpp cannot be trained on together; train on one of them")
    return next(iter(given), None)


def _labels(review: Review) -> pd.DataFrame:
    state = review.state
    n = len(state)
    is_named, is_uncertain = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for edit in review.ledger.edits:
        if not state.holds(edit.id) or (edit.kind is not EditKind.CLASS and not edit.made):
            continue
        rows = state.rows_of([cell.id for cell in edit.made] or edit.cells)
        is_named[rows[rows >= 0]] = True
        is_uncertain[rows[rows >= 0]] = edit.uncertain_first
    rows = np.flatnonzero(is_named & state.present)
    cells = state.measured(rows)
    return pd.DataFrame(
        {
            "image": review.image.stem,
            "x_px": cells["x_px"].to_numpy(np.float64),
            "y_px": cells["y_px"].to_numpy(np.float64),
            "cell_class": state.now(rows)["cell_class"].to_numpy(),
            "slide": review.image.case,
            "uncertain_first": is_uncertain[rows],
        }
    )


def _relative(path: Path, base: Path) -> str:
    try:
        return os.path.relpath(path.resolve(), base.resolve()).replace(os.sep, "/")
    except ValueError:  # another drive
        return str(path.resolve())
