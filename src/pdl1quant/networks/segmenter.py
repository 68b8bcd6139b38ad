"""Nucleus and cell labels, with class scores, by a network.

The segmenter ``network``. The network says of each pixel how likely it is nucleus and how deep in one it lies; hills
of both are split by steepest ascent (`pdl1quant.basins`) and joined where no valley lies between. Cells grow from
their nuclei to the borders that the network sees.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.basins import borders, climb
from pdl1quant.kernels.extent import nearest_label, take_nearest, widen
from pdl1quant.kernels.labels import (
    fill_holes,
    fill_runs,
    groups_of,
    in_one_piece,
    label_areas,
    overlaps,
    renumber,
    runs_extent,
    runs_of,
)
from pdl1quant.model import CellClass, Segmentation
from pdl1quant.networks.card import load_model, model_files, model_folder
from pdl1quant.networks.files import check_hash
from pdl1quant.networks.maps import INSIDE, predict
from pdl1quant.networks.nuclei_only import segment_by_plane
from pdl1quant.networks.session import trim_model

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.basins import Borders
    from pdl1quant.config import NucleiConfig
    from pdl1quant.model import (
        BoolArray,
        Float32Array,
        Float64Array,
        Int32Array,
        StainEstimate,
        StainOD,
        Tile,
        UInt8Array,
    )
    from pdl1quant.networks.maps import ClassScores, Maps

MIN_PEAK = 0.37
"""Depth times probability that the top of a nucleus reaches; lower hills are doubts, not nuclei."""
MAX_SADDLE = 0.67
"""Between two nuclei the height falls below this share of the lower top; real tissue needs less than rendered."""
RIM_UM = 0.5
"""Nuclei are widened by this: the network stops where the blurred rim is half-way, people draw around it."""
SEED_RADIUS_UM = 2.0
"""Two nuclei have centres at least this far apart."""
MIN_SHARE = 0.2
"""A nucleus with less than this share of itself in the inside of a cell only grazes it."""
MAX_INSIDE_UM = 32.0
"""A longer or wider inside is that of no one cell, whether or not the rest of it shows."""
MAX_GROWTH_UM = 8.0
"""No cell reaches farther beyond its nucleus and inside, ..."""
LYMPHOCYTE_GROWTH_UM = 2.0
"""... and no lymphocyte farther beyond its nucleus: else it takes the membrane of the tumour cell beside it."""
MAX_HOLE_UM2 = 25.0
"""What the network takes for no cell in the midst of one, up to this area, is cell: else its rim would be membrane."""


def segment_nuclei(tile: Tile, od: StainOD, *, estimate: StainEstimate, config: NucleiConfig) -> Segmentation:
    """Label nuclei and cells of one tile with the network at ``nuclei.model``, or the one that comes with the package.

    Parameters
    ----------
    tile
        At the working resolution; resampled for the network where that needs another one.
    od, estimate
        Not used: the network reads the colours.
    config
        Section ``nuclei``: the model, the smallest and largest nucleus.

    Returns
    -------
    Segmentation
        ``nuclei`` and ``cells`` (H, W) int32 share labels 1..n; ``class_scores`` (n, 5) float32, each row sums to 1.
        A model that has no such outputs gives neither cells nor scores.

    Raises
    ------
    ModelError
        The model has no card, another hash, or cannot be run.
    """
    del od, estimate
    return segment_with(_checked_folder(config), tile, config=config)


def segment_with(folder: Path, tile: Tile, *, config: NucleiConfig) -> Segmentation:
    """The same with any model: ``folder`` holds its ``card.toml`` and weights."""
    model = load_model(folder)
    if model.card.nuclei_gives != "depth":
        return segment_by_plane(model, tile, config=config)
    return segment_maps(predict(model, tile), mpp=tile.mpp, config=config)


def _checked_folder(config: NucleiConfig) -> Path:
    folder = model_folder(config)
    check_hash(model_files(folder), config.model_sha256)
    return folder


def map_tile(tile: Tile, *, config: NucleiConfig) -> Maps:
    """What the network says of a tile, for `segment_maps`; of a model that `gives_maps`."""
    return predict(load_model(_checked_folder(config)), tile)


def give_back_maps(*, config: NucleiConfig) -> None:
    """Return to the system what `map_tile` holds for the next tile."""
    trim_model(load_model(_checked_folder(config)))


def segment_maps(maps: Maps, *, mpp: float, config: NucleiConfig) -> Segmentation:
    """Nuclei and cells of what the network said of a tile with ``mpp`` um per pixel."""
    nuclei, n = _split(maps.hills, mpp=mpp, config=config)
    scores = _mean_scores(nuclei, n, maps.scores) if maps.scores else None
    seen = Segmentation(nuclei=nuclei, class_scores=scores)
    if maps.cells is None:
        return seen
    return dataclasses.replace(seen, cells=_grow(nuclei, seen.held_for(CellClass.LYMPHOCYTE, n), maps.cells, mpp=mpp))


def _split(hills: Float32Array, *, mpp: float, config: NucleiConfig) -> tuple[Int32Array, int]:
    """Nucleus labels 1..n and n."""
    pieces, n_pieces = climb(hills, top=1.0, min_distance_px=SEED_RADIUS_UM / mpp)
    border = borders(pieces, hills, n_pieces)
    group = _join(border)
    highest = np.zeros(int(group.max()) + 1, np.float32)
    np.maximum.at(highest, group, border.peak)
    rim_px = round(RIM_UM / mpp)
    area_um2 = np.asarray(np.bincount(group, weights=label_areas(pieces, n_pieces)) * mpp**2, dtype=np.float64)
    area_um2 = _widened_um2(area_um2, rim_um=rim_px * mpp)
    keep = (area_um2 >= config.min_area_um2) & (area_um2 <= config.max_area_um2) & (highest >= MIN_PEAK)
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return _widened(renumber(pieces, number[group]), radius_px=rim_px), int(keep.sum())


def _widened_um2(area_um2: Float64Array, *, rim_um: float) -> Float64Array:
    """The areas that discs have when they are widened by ``rim_um``."""
    return np.asarray(np.pi * (np.sqrt(area_um2 / np.pi) + rim_um) ** 2, dtype=np.float64)


def _join(border: Borders) -> Int32Array:
    """The nucleus (0..m) of each piece: pieces are one where the height between them hardly falls; 0 stays 0."""
    first, second, peak = border.first, border.second, border.peak
    joined = border.saddle >= MAX_SADDLE * np.minimum(peak[first], peak[second])
    return groups_of(first[joined], second[joined], len(peak))  # numbered by first member: the background stays 0


def _widened(labels: Int32Array, *, radius_px: int) -> Int32Array:
    """Labels grown over the background; where two meet, the later in reading order wins, in whatever tile."""
    if radius_px < 1:
        return labels
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return widen(labels, np.asarray(around, dtype=np.uint8))


def _grow(nuclei: Int32Array, slight: BoolArray, kinds: UInt8Array, *, mpp: float) -> Int32Array:
    """Cell labels: each nucleus takes the inside of its cell, then what is nearest to that; ``slight`` ones a rim."""
    if len(slight) == 1:
        return nuclei.copy()
    seeds = _with_insides(nuclei, slight, kinds, max_side_px=MAX_INSIDE_UM / mpp)
    reach_px = np.where(slight, np.float32(LYMPHOCYTE_GROWTH_UM / mpp), np.float32(MAX_GROWTH_UM / mpp))
    cells = in_one_piece(take_nearest(nuclei, nearest_label(seeds), reach_px, kinds), nuclei)
    return fill_holes(cells, MAX_HOLE_UM2 / mpp**2)


def _with_insides(nuclei: Int32Array, slight: BoolArray, kinds: UInt8Array, *, max_side_px: float) -> Int32Array:
    """Nuclei, but for slight ones, with each piece of cell inside that holds one of them alone, and is not too large.

    Cut off by the border of a tile, a piece that spans many cells might show but one nucleus.
    """
    runs = runs_of((kinds == INSIDE).view(np.uint8))
    pairs, size = overlaps(runs, nuclei, len(slight) - 1)
    nucleus, piece = pairs[:, 0], pairs[:, 1]
    counted = size >= MIN_SHARE * label_areas(nuclei, len(slight) - 1)[nucleus]
    piece, nucleus = piece[counted], nucleus[counted]
    owner = np.zeros(len(runs[0]), np.int32)
    owner[piece] = nucleus
    owner[np.bincount(piece, minlength=len(owner)) != 1] = 0
    owner[slight[owner]] = 0
    owner[runs_extent(runs) > max_side_px] = 0
    seeds = nuclei.copy()
    fill_runs(seeds, runs[:3], owner[runs[3]])
    return seeds


def _mean_scores(nuclei: Int32Array, n: int, parts: tuple[ClassScores, ...]) -> Float32Array:
    """Mean class scores over each nucleus, (n, classes), rows sum to 1."""
    scores = np.zeros((n, len(parts[0].planes)))
    for part in parts:
        label = nuclei[part.rows[:, None], part.columns].ravel()
        at = np.flatnonzero(label)
        for k, plane in enumerate(part.planes):
            scores[:, k] += np.bincount(label[at], weights=plane.ravel()[at], minlength=n + 1)[1:]
    scores[scores.sum(axis=1) == 0] = 1.0  # thinner than the coarse grid: nothing is known
    return np.asarray(scores / scores.sum(axis=1, keepdims=True), dtype=np.float32)
