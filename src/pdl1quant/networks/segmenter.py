"""Nucleus and cell labels, with class scores, by a network.

The segmenter ``network``. The network says of each pixel how likely it is nucleus and how deep in one it lies; hills
of both are split by steepest ascent (`pdl1quant.basins`) and joined where no valley lies between. Cells grow from
their nuclei to the borders that the network sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.basins import borders, climb
from pdl1quant.kernels.extent import nearest_label, take_nearest, widen
from pdl1quant.kernels.labels import groups_of, label_areas, overlaps, paint_runs, renumber, runs_meet, runs_of
from pdl1quant.model import Rect, Segmentation
from pdl1quant.networks.card import load_model, model_files, model_folder
from pdl1quant.networks.files import check_hash
from pdl1quant.networks.nuclei_only import segment_by_plane
from pdl1quant.networks.session import run_model
from pdl1quant.planes import like
from pdl1quant.planes import plane as fresh

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.basins import Borders
    from pdl1quant.config import NucleiConfig
    from pdl1quant.model import (
        Float32Array,
        Float64Array,
        Int32Array,
        IntpArray,
        StainEstimate,
        StainOD,
        Tile,
        UInt8Array,
    )
    from pdl1quant.networks.card import Model

MIN_NUCLEUS = 0.35
"""A pixel is nucleus from this probability on; faint and blurred nuclei get less than crisp ones."""
MIN_CELL = 0.5
"""A pixel is cell from this probability on."""
MIN_PEAK = 0.4
"""Depth times probability that the top of a nucleus reaches; lower hills are doubts, not nuclei."""
MAX_SADDLE = 0.65
"""Between two nuclei the height falls below this share of the lower top; real tissue needs less than rendered."""
RIM_UM = 0.5
"""Nuclei are widened by this: the network stops where the blurred rim is half-way, people draw around it."""
SMOOTHING_UM = 0.8
"""Standard deviation of the smoothing before the split: chromatin must not make two nuclei of one."""
SEED_RADIUS_UM = 2.0
"""Two nuclei have centres at least this far apart."""
CORE_DEPTH = 0.35
"""From this relative depth on a pixel is the inside of a cell: what hangs together there is one cell."""
MIN_SHARE = 0.2
"""A nucleus with less than this share of itself in the inside of a cell only grazes it."""
MAX_INSIDE_UM = 32.0
"""A longer or wider inside is that of no one cell, whether or not the rest of it shows."""
MAX_GROWTH_UM = 8.0
"""No cell reaches farther beyond its nucleus and inside."""
MAX_SIDE_PX = 2560
"""Larger tiles are run in windows, for memory."""
SAME_MPP = 0.05
"""Relative difference of pixel sizes up to which the tile is not resampled for the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """What the network says, float32, 0-1, (H, W) on the tile's grid; of its ``inner`` part if it has one.

    ``classes`` (n, h, w) lies on a coarser one: ``class_at`` holds the tile's row of each of its rows, and the tile's
    column of each of its columns; -1 outside the tile.
    """

    nucleus: Float32Array
    nucleus_depth: Float32Array
    cell: Float32Array | None
    cell_depth: Float32Array | None
    classes: Float32Array | None
    class_at: tuple[IntpArray, IntpArray] | None


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
    folder = model_folder(config)
    check_hash(model_files(folder), config.model_sha256)
    return segment_with(folder, tile, config=config)


def segment_with(folder: Path, tile: Tile, *, config: NucleiConfig) -> Segmentation:
    """The same with any model: ``folder`` holds its ``card.toml`` and weights."""
    model = load_model(folder)
    if model.card.nuclei_gives != "depth":
        return segment_by_plane(model, tile, config=config)
    maps = predict(model, tile)
    nuclei, n = _split(maps, mpp=tile.mpp, config=config)
    return Segmentation(
        nuclei=nuclei,
        cells=None if maps.cell is None or maps.cell_depth is None else _grow(nuclei, n, maps, mpp=tile.mpp),
        class_scores=_mean_scores(nuclei, n, maps),
    )


def predict(model: Model, tile: Tile) -> Maps:
    """Run the network over one tile.

    Its strides lie on the grid of the slide, not of the tile, and windows overlap by what the network sees: a pixel
    farther than the card's ``reach_px`` from the tile's edge gets the same value in whatever tile it lies.
    """
    card = model.card
    height, width = tile.rgb.shape[:2]
    ratio = tile.mpp / card.mpp
    if abs(ratio - 1) <= SAME_MPP:
        ratio, rgb = 1.0, tile.rgb
    else:
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        rgb = np.asarray(cv2.resize(tile.rgb, size, interpolation=cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC))
    step = card.multiple_px
    top = round(tile.y_px / tile.downsample_y * ratio) % step
    left = round(tile.x_px / tile.downsample_x * ratio) % step
    bottom, right = -(top + rgb.shape[0]) % step, -(left + rgb.shape[1]) % step
    padded = cv2.copyMakeBorder(rgb, top, bottom, left, right, cv2.BORDER_REFLECT)
    nuclei, cells = _run(model, np.asarray(padded, dtype=np.uint8))
    whole = (rgb.shape[1] + left + right, rgb.shape[0] + top + bottom)
    inner = tile.inner or Rect(x0=0, y0=0, x1=width, y1=height)

    def on_tile(plane: Float32Array) -> Float32Array:
        inside = _resized(plane, whole)[top : top + rgb.shape[0], left : left + rgb.shape[1]]
        return np.ascontiguousarray(inner.of(_resized(inside, (width, height))))

    classes, class_at = None, None
    if cells is not None and card.classes:
        classes = cells[2:]
        class_at = (
            _within(_tile_index(classes.shape[1], whole[1], top, rgb.shape[0], height), inner.y0, inner.y1),
            _within(_tile_index(classes.shape[2], whole[0], left, rgb.shape[1], width), inner.x0, inner.x1),
        )
    return Maps(
        nucleus=on_tile(nuclei[0]),
        nucleus_depth=on_tile(nuclei[1]),
        cell=None if cells is None else on_tile(cells[0]),
        cell_depth=None if cells is None else on_tile(cells[1]),
        classes=classes,
        class_at=class_at,
    )


def _tile_index(n_coarse: int, n_fine: int, before: int, inside: int, n_tile: int) -> IntpArray:
    """Where each coarse row (or column) lies on the tile's; -1 where it lies in the padding."""
    fine = (np.arange(n_coarse) + 0.5) * n_fine / n_coarse - before
    index = np.floor(fine * n_tile / inside).astype(np.intp)
    return np.where((index >= 0) & (index < n_tile), index, -1)


def _within(index: IntpArray, start: int, stop: int) -> IntpArray:
    """Places counted from ``start``; -1 for those outside."""
    return np.where((index >= start) & (index < stop), index - start, -1)


def _resized(plane: Float32Array, size: tuple[int, int]) -> Float32Array:
    """``plane`` with ``size`` (columns, rows)."""
    if plane.shape == size[::-1]:
        return plane
    resized = cv2.resize(plane, size, dst=fresh(size[::-1], np.float32), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)


def _run(model: Model, rgb: UInt8Array) -> tuple[Float32Array, Float32Array | None]:
    """`run_model`, in windows that overlap by the network's reach where the image is large."""
    height, width = rgb.shape[:2]
    if max(height, width) <= MAX_SIDE_PX:
        return run_model(model, rgb)
    step = model.card.multiple_px
    margin = -(-model.card.reach_px // step) * step
    core = max(step, (MAX_SIDE_PX - 2 * margin) // step * step)
    nuclei, cells = np.empty((2, height, width), np.float32), None
    for y in range(0, height, core):
        for x in range(0, width, core):
            y0, x0 = max(0, y - margin), max(0, x - margin)
            fine, coarse = run_model(model, np.ascontiguousarray(rgb[y0 : y + core + margin, x0 : x + core + margin]))
            y1, x1 = min(y + core, height), min(x + core, width)
            nuclei[:, y:y1, x:x1] = fine[:, y - y0 : y1 - y0, x - x0 : x1 - x0]
            if coarse is None:
                continue
            k = fine.shape[1] // coarse.shape[1]
            if cells is None:
                cells = np.empty((len(coarse), height // k, width // k), np.float32)
            part = coarse[:, (y - y0) // k : (y1 - y0) // k, (x - x0) // k : (x1 - x0) // k]
            cells[:, y // k : y1 // k, x // k : x1 // k] = part
    return nuclei, cells


def _split(maps: Maps, *, mpp: float, config: NucleiConfig) -> tuple[Int32Array, int]:
    """Nucleus labels 1..n and n."""
    product = cv2.multiply(maps.nucleus_depth, maps.nucleus, dst=like(maps.nucleus))
    hills = cv2.GaussianBlur(product, (0, 0), SMOOTHING_UM / mpp, dst=like(maps.nucleus))
    landscape = np.maximum(np.asarray(hills, dtype=np.float32), np.float32(1e-3), out=product)
    np.putmask(landscape, maps.nucleus < MIN_NUCLEUS, 0)
    pieces, n_pieces = climb(landscape, top=1.0, min_distance_px=SEED_RADIUS_UM / mpp)
    border = borders(pieces, landscape, n_pieces)
    group = _join(border)
    highest = np.zeros(int(group.max()) + 1, np.float32)
    np.maximum.at(highest, group, border.peak)
    rim_px = round(RIM_UM / mpp)
    area_um2 = _widened_um2(np.bincount(group, weights=label_areas(pieces, n_pieces)) * mpp**2, rim_um=rim_px * mpp)
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


def _grow(nuclei: Int32Array, n: int, maps: Maps, *, mpp: float) -> Int32Array:
    """Cell labels: each nucleus takes the inside of its cell, then what is nearest to that."""
    assert maps.cell is not None
    assert maps.cell_depth is not None
    if n == 0:
        return nuclei.copy()
    insides = _insides(nuclei, n, maps.cell, maps.cell_depth, max_side_px=MAX_INSIDE_UM / mpp)
    seeds = insides
    np.copyto(seeds, nuclei, where=nuclei > 0)
    reach_px = np.full(n + 1, MAX_GROWTH_UM / mpp, np.float32)
    cells = take_nearest(nuclei, nearest_label(seeds), reach_px, np.ascontiguousarray(maps.cell), np.float32(MIN_CELL))
    return _in_one_piece(cells, nuclei)


def _in_one_piece(cells: Int32Array, nuclei: Int32Array) -> Int32Array:
    """Cells without the fragments that do not touch the rest of them; in place."""
    rows, starts, stops, fragment = runs_of(cells)
    holds = np.zeros(len(rows), bool)
    holds[fragment[runs_meet((rows, starts, stops), nuclei) > 0]] = True
    loose = ~holds[fragment]
    paint_runs(cells, (rows[loose], starts[loose], stops[loose]), 0)
    return cells


def _insides(
    nuclei: Int32Array, n: int, cell: Float32Array, cell_depth: Float32Array, *, max_side_px: float
) -> Int32Array:
    """The label of each piece of cell inside that holds one nucleus; 0 where it holds none or several, or is too large.

    Cut off by the border of a tile, a piece that spans many cells might show but one nucleus.
    """
    deep = np.greater_equal(cell, np.float32(MIN_CELL), out=like(cell, bool))
    deep &= np.greater_equal(cell_depth, np.float32(CORE_DEPTH), out=like(cell, bool))
    n_pieces, found, boxes, _ = cv2.connectedComponentsWithStats(
        deep.view(np.uint8), like(nuclei), connectivity=4, ltype=cv2.CV_32S
    )
    pieces = np.asarray(found, dtype=np.int32)
    pairs, size = overlaps(nuclei, pieces, n)
    nucleus, piece = pairs[:, 0], pairs[:, 1]
    counted = size >= MIN_SHARE * label_areas(nuclei, n)[nucleus]
    piece, nucleus = piece[counted], nucleus[counted]
    owner = np.zeros(n_pieces, np.int32)
    owner[piece] = nucleus
    owner[np.bincount(piece, minlength=n_pieces) != 1] = 0
    owner[boxes[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) > max_side_px] = 0
    return renumber(pieces, owner)


def _mean_scores(nuclei: Int32Array, n: int, maps: Maps) -> Float32Array | None:
    """Mean class scores over each nucleus, (n, classes), rows sum to 1; None without classes."""
    if maps.classes is None or maps.class_at is None:
        return None
    rows, columns = maps.class_at
    coarse = nuclei[np.maximum(rows, 0)[:, None], np.maximum(columns, 0)]
    coarse = np.where((rows >= 0)[:, None] & (columns >= 0), coarse, 0).ravel()
    at = np.flatnonzero(coarse)
    sums = [np.bincount(coarse[at], weights=p.ravel()[at], minlength=n + 1)[1:] for p in maps.classes]
    scores = np.stack(sums, axis=1)
    scores[scores.sum(axis=1) == 0] = 1.0  # thinner than the coarse grid: nothing is known
    return np.asarray(scores / scores.sum(axis=1, keepdims=True), dtype=np.float32)
