"""The truth about each rendered cell, from its ideal optical densities and its true outline.

This is the scoring rule written a second time, on purpose and plainly: it checks the stages, so it imports none. It
reads the noise-free, unblurred DAB OD: a cell that was drawn below the threshold is negative.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from pdl1quant.validation.phantom_kinds import CLASS_NAMES, CLASS_OF, IS_DEAD, IS_IMMUNE, IS_TUMOUR
from pdl1quant.validation.phantom_shapes import touches_edge

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Float64Array
    from pdl1quant.validation.phantom_shapes import Shapes

BAND_UM = 1.0
"""Width of the membrane: a band at the cell's edge."""
BROWN_OD = 0.2
"""t1: DAB OD from which a compartment is brown."""
MIN_RUN = 0.20
"""Share of the perimeter that one contiguous brown run has to cover."""
MIN_CONTRAST_OD = 0.05
"""How far a membrane has to be above a cytoplasm that is not brown itself."""
COVERED_SHARE = 0.30
"""Share of the cell under pigment from which it cannot be judged."""
_SECTORS = 24


def find_unjudgeable(shapes: Shapes, *, cover: Float32Array, defocus: Float32Array, dead: BoolArray) -> pd.DataFrame:
    """One row a cell: class, what speaks against judging it, and ``viable``: a tumour cell that counts.

    ``cover`` (H, W) is the OD of pigment and debris, ``defocus`` 0-1; ``dead`` (n,) tells which cells are necrotic.
    """
    whole = shapes.cell > 0
    edge = touches_edge(shapes.cell, len(shapes.kind))
    pigmented = _mean(shapes, (cover > 0.1).astype(np.float32), whole)[0] >= COVERED_SHARE
    blurred = _mean(shapes, defocus, whole)[0] >= 0.5
    intact = ~IS_DEAD[shapes.kind] & ~dead
    names = np.array(CLASS_NAMES)[CLASS_OF[shapes.kind]]
    return pd.DataFrame(
        {
            "cell_class": pd.Categorical(names, categories=list(CLASS_NAMES)),
            "touches_edge": edge,
            "pigmented": pigmented,
            "out_of_focus": blurred,
            "intact": intact,
            "viable": IS_TUMOUR[shapes.kind] & intact & ~(edge | pigmented | blurred),
        }
    )


def judge_cells(shapes: Shapes, dab: Float32Array, *, mpp: float, state: pd.DataFrame) -> pd.DataFrame:
    """One row a cell with its class, positivity and what excludes it; see `Phantom.cells`.

    ``dab`` is the ideal OD (H, W), ``state`` comes from `find_unjudgeable`.
    """
    n = len(shapes.kind)
    band = (shapes.cell > 0) & (shapes.edge_um <= BAND_UM) & (shapes.nucleus == 0)
    inner = (shapes.cell > 0) & (shapes.edge_um > BAND_UM) & (shapes.nucleus == 0)
    band_mean, _ = _mean(shapes, dab, band)
    inner_mean, inner_px = _mean(shapes, dab, inner)
    cytoplasm_od = np.where(inner_px > 0, inner_mean, band_mean)
    cytoplasm_positive = cytoplasm_od >= BROWN_OD
    needed = np.where(cytoplasm_positive, BROWN_OD, np.maximum(BROWN_OD, cytoplasm_od + MIN_CONTRAST_OD))
    membrane_positive = _best_run(shapes, dab, band, needed) >= MIN_RUN
    immune = IS_IMMUNE[shapes.kind] & (membrane_positive | cytoplasm_positive)
    shared = _beside(shapes, immune, reach_px=BAND_UM / mpp + 1) & ~np.concatenate([[False], immune])[shapes.cell]
    if (shared & band).any():
        own = np.where(shared, 0, dab).astype(np.float32)
        membrane_positive = _best_run(shapes, own, band, needed) >= MIN_RUN
    return pd.DataFrame(
        {
            "label": np.arange(1, n + 1, dtype=np.int32),
            "x_px": shapes.centre[:, 0],
            "y_px": shapes.centre[:, 1],
            "cell_class": state["cell_class"],
            "membrane_positive": membrane_positive,
            "cytoplasm_positive": cytoplasm_positive,
            "positive": membrane_positive | cytoplasm_positive,
            **{name: state[name] for name in ("touches_edge", "pigmented", "out_of_focus", "intact", "viable")},
            "nucleus_area_um2": np.bincount(shapes.nucleus.ravel(), minlength=n + 1)[1:] * mpp**2,
            "cell_area_um2": np.bincount(shapes.cell.ravel(), minlength=n + 1)[1:] * mpp**2,
            "membrane_dab_od": band_mean,
            "cytoplasm_dab_od": cytoplasm_od,
        }
    )


def _mean(shapes: Shapes, values: Float32Array, where: BoolArray) -> tuple[Float64Array, Float64Array]:
    """Mean over the part of each cell that lies in ``where``, and its pixel count."""
    n = len(shapes.kind)
    labels = shapes.cell[where]
    count = np.bincount(labels, minlength=n + 1)[1:].astype(float)
    total = np.bincount(labels, weights=values[where], minlength=n + 1)[1:]
    return total / np.maximum(count, 1), count


def _best_run(shapes: Shapes, dab: Float32Array, band: BoolArray, needed: Float64Array) -> Float64Array:
    """Largest share of each cell's band that lies in one contiguous run of sectors at or above ``needed``."""
    n = len(shapes.kind)
    rows, cols = np.nonzero(band)
    index = shapes.cell[rows, cols] - 1
    angle = np.arctan2(rows - shapes.cell_centre[index, 1], cols - shapes.cell_centre[index, 0])
    sector = np.floor((angle / (2 * np.pi) + 0.5) * _SECTORS).astype(int) % _SECTORS
    slot = index * _SECTORS + sector
    count = np.bincount(slot, minlength=n * _SECTORS).reshape(n, _SECTORS)
    total = np.bincount(slot, weights=dab[rows, cols], minlength=n * _SECTORS).reshape(n, _SECTORS)
    brown = (count > 0) & (total / np.maximum(count, 1) >= needed[:, None])
    run, best = np.zeros(n), np.zeros(n)
    for k in range(2 * _SECTORS):
        sector_k = k % _SECTORS
        run = np.where(brown[:, sector_k], run + count[:, sector_k], np.where(count[:, sector_k] == 0, run, 0))
        best = np.maximum(best, run)
    share = best / np.maximum(count.sum(axis=1), 1)
    return np.asarray(np.minimum(share, 1.0), dtype=float)


def _beside(shapes: Shapes, chosen: BoolArray, *, reach_px: float) -> BoolArray:
    """Pixels within ``reach_px`` of one of the ``chosen`` cells."""
    inside = np.concatenate([[False], chosen])[shapes.cell]
    if not inside.any():
        return inside
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(distance <= reach_px, dtype=bool)
