"""From labels to described cells: measure their images, and find the cell that each label means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from pdl1quant.errors import UsageError
from pdl1quant.pipeline import estimate_case, find_cells, sample_image, working_tile
from pdl1quant.slides.images import read_image
from pdl1quant.stages import stains
from pdl1quant.stages.features import describe_cells, feature_names
from pdl1quant.training.labels import SLIDE, names_slides

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdl1quant.config import Config
    from pdl1quant.model import Float32Array, Float64Array, IntpArray, StainEstimate, Tile
    from pdl1quant.pipeline import FoundCells

MATCH_UM = 5.0
"""A label beside a nucleus means the nearest centre, if it lies within this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledCells:
    """Cells with the features that a classifier reads, their classes and slides, row by row.

    ``n_labels`` is the number of labels; ``n_unmatched`` of them lie on no cell, and ``n_contradicted`` on cells that
    were labelled as two classes. A cell labelled twice alike counts once.
    """

    features: Float32Array
    names: tuple[str, ...]
    classes: tuple[str, ...]
    slides: tuple[str, ...]
    n_images: int
    n_labels: int
    n_unmatched: int
    n_contradicted: int


def collect_cells(
    labels: pd.DataFrame,
    *,
    config: Config,
    mpp: float | None = None,
    white: tuple[float, float, float] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> LabelledCells:
    """Measure the images as a run would, and describe the labelled cells.

    Parameters
    ----------
    labels
        From `read_labels`.
    config, mpp, white
        As for a run.
    say
        Is told of each image in a line.

    Raises
    ------
    InputError
        An image cannot be read, or its pixel size is not known.
    UsageError
        No label of an image lies on a cell.
    """
    parts: list[tuple[Float32Array, pd.DataFrame]] = []
    names: tuple[str, ...] = ()
    n_matched = 0
    for case in _cases(labels):
        estimate = _estimate(case, config=config, mpp=mpp, white=white)
        for path, of_image in case.groupby("path", sort=True):
            read = read_image(Path(str(path)), mpp=mpp)
            tile = working_tile(read.rgb, mpp=read.mpp, config=config)
            found = find_cells(tile, stains.deconvolve(tile.rgb, estimate), estimate=estimate, config=config)
            row = match_labels(tile, found, of_image[["x_px", "y_px"]].to_numpy(dtype=float))
            n_matched += int((row >= 0).sum())
            say(f"{of_image['image'].iloc[0]}: {(row >= 0).sum()} of {len(row)} labels lie on a cell")
            if (row < 0).all():
                raise UsageError(
                    f"{path}: none of its {len(row)} labels lies on a cell; "
                    "x_px and y_px are pixels of the image, check them and the pixel size"
                )
            cells, scores = found.measured.cells, found.class_scores
            features = describe_cells(cells, scores, mpp=tile.mpp / tile.downsample_x, estimate=estimate)
            names = feature_names(with_scores=scores is not None)
            agreed = _agreed(of_image.assign(row=row)[row >= 0])
            parts.append((features[agreed["row"].to_numpy()], agreed))
    kept = pd.concat([part for _, part in parts], ignore_index=True)
    return LabelledCells(
        features=np.concatenate([features for features, _ in parts]),
        names=names,
        classes=tuple(kept["cell_class"]),
        slides=tuple(kept[SLIDE]),
        n_images=len(parts),
        n_labels=len(labels),
        n_unmatched=len(labels) - n_matched,
        n_contradicted=n_matched - int(kept["n_labels"].sum()),
    )


def match_labels(tile: Tile, found: FoundCells, xy_px: Float64Array) -> IntpArray:
    """(n,) row of the cell that each label means, -1 for none.

    That is the cell whose nucleus holds the point; else the one with the nearest centre within ``MATCH_UM``.

    Parameters
    ----------
    tile, found
        The image at the working resolution, and its cells.
    xy_px : (n, 2) float
        Labels in pixels of the input image.
    """
    rows = np.full(len(xy_px), -1, dtype=np.intp)
    centres = found.measured.cells[["x_px", "y_px"]].to_numpy(dtype=float)
    if not len(centres):
        return rows
    scale = np.array([tile.downsample_x, tile.downsample_y])
    at = np.rint((xy_px - [tile.x_px, tile.y_px] + 0.5) / scale - 0.5).astype(int)
    height, width = found.parts.nucleus.shape
    inside = (at >= 0).all(axis=1) & (at[:, 0] < width) & (at[:, 1] < height)
    rows[inside] = found.parts.nucleus[at[inside, 1], at[inside, 0]].astype(np.intp) - 1
    um = tile.mpp / scale
    distance, nearest = (np.asarray(each) for each in cKDTree(centres * um).query(xy_px * um))
    beside = (rows < 0) & (distance <= MATCH_UM)
    rows[beside] = nearest[beside]
    return rows


def _cases(labels: pd.DataFrame) -> list[pd.DataFrame]:
    """Labels whose images share their staining: of one slide if slides are named, else of one folder, as in a run."""
    key = labels[SLIDE] if names_slides(labels) else labels["path"].map(lambda path: str(path.parent))
    return [case for _, case in labels.groupby(key, sort=True)]


def _estimate(
    case: pd.DataFrame, *, config: Config, mpp: float | None, white: tuple[float, float, float] | None
) -> StainEstimate:
    samples = []
    for path in sorted(case["path"].unique()):
        read = read_image(path, mpp=mpp)
        samples.append(sample_image(read.rgb, mpp=read.mpp, config=config))
    return estimate_case(samples, config=config, white=white)


def _agreed(matched: pd.DataFrame) -> pd.DataFrame:
    """One row a cell, with its number of labels; without cells that were labelled as two classes."""
    by_cell = matched.groupby("row", sort=True)
    cells = by_cell.first().assign(n_labels=by_cell.size(), n_classes=by_cell["cell_class"].nunique())
    return cells[cells["n_classes"] == 1].reset_index()
