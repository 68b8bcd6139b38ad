"""Nuclei by an ONNX model that gives their probability, or their labels, and nothing else.

A probability is cut at the card's threshold and split at necks by distance to the edge, as the rules split
(`pdl1quant.basins`); labels are taken as they are. Cells and classes are left to the rules.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.basins import climb, join_halves
from pdl1quant.kernels.labels import renumber
from pdl1quant.networks.instances import find_on_tile
from pdl1quant.networks.session import run_labels, run_probability

if TYPE_CHECKING:
    from pdl1quant.config import NucleiConfig
    from pdl1quant.model import Int32Array, Segmentation, Tile, UInt8Array
    from pdl1quant.networks.card import Model

SEED_RADIUS_UM = 2.0
"""Two nuclei have centres at least this far apart."""
SMOOTHING_UM = 0.5
"""Standard deviation of the smoothing of the distance to the edge: jagged rims are no necks."""
MAX_DEPTH_UM = 12.0
"""Farther from the edge nothing is deeper: no nucleus is that large."""
PROBABILITY_UM = 0.5
"""A certain pixel lies this much higher than a doubtful one: dips between nuclei count where the outline has none."""


def segment_by_plane(model: Model, tile: Tile, *, config: NucleiConfig) -> Segmentation:
    """Label the nuclei of one tile with a model whose ``nuclei_gives`` is ``probability`` or ``labels``.

    Returns
    -------
    Segmentation
        ``nuclei`` (H, W) int32, labels exactly 1..n; no cells, no scores.

    Raises
    ------
    ModelError
        The model cannot be run as its card says.
    """
    card = model.card
    find = partial(run_labels, model) if card.nuclei_gives == "labels" else partial(_find_hills, model, config=config)
    return find_on_tile(tile, find, mpp=card.mpp, config=config, multiple_px=card.multiple_px)


def _find_hills(model: Model, rgb: UInt8Array, *, config: NucleiConfig) -> Int32Array:
    card = model.card
    probability = run_probability(model, rgb)
    nucleus = probability >= card.nuclei_threshold
    depth = cv2.distanceTransform(nucleus.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) * np.float32(card.mpp)
    height = cv2.GaussianBlur(
        np.minimum(depth, np.float32(MAX_DEPTH_UM)) + np.float32(PROBABILITY_UM) * probability,
        (0, 0),
        SMOOTHING_UM / card.mpp,
    )
    landscape = np.where(nucleus, np.maximum(height, np.float32(1e-3)), np.float32(0))
    pieces, n = climb(landscape, top=MAX_DEPTH_UM + PROBABILITY_UM, min_distance_px=SEED_RADIUS_UM / card.mpp)
    group, _ = join_halves(pieces, landscape, n, max_area_px=config.max_area_um2 / card.mpp**2)
    return renumber(pieces, group)
