"""Sums over the pixels of each cell, part by part, and along its edge, in one pass each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, Float64Array, Int32Array, UInt8Array

NUCLEUS, CYTOPLASM, MEMBRANE = 0, 1, 2
"""Parts of a cell, in the order of the sums."""
PIXELS, HAEMATOXYLIN, DAB, RESIDUAL, SQUARES, SATURATED, BLACK = 0, 3, 6, 9, 12, 15, 18
"""First of the three columns (one per part) of each sum."""
N_SUMS = 21


@compiled
def part_sums(
    parts: tuple[Int32Array, Int32Array, Int32Array],
    od: tuple[Float32Array, Float32Array, Float32Array],
    rgb: UInt8Array,
    levels: tuple[int, np.float32],
    n: int,
) -> Float64Array:
    """(n + 1, ``N_SUMS``) sums over the nucleus, cytoplasm and membrane of each label.

    Of pixels, haematoxylin, DAB, residual, haematoxylin squared, pixels with a channel at or below the level of
    saturation, and pixels with a residual at or above the level of black.
    """
    nucleus, membrane, cell = parts
    haematoxylin, dab, residual = od
    saturated, black = levels
    height, width = cell.shape
    sums = np.zeros((n + 1, N_SUMS))
    for y in range(height):
        for x in range(width):
            label = cell[y, x]
            if label == 0:
                continue
            part = NUCLEUS if nucleus[y, x] > 0 else (MEMBRANE if membrane[y, x] > 0 else CYTOPLASM)
            own, blue = sums[label], haematoxylin[y, x]
            own[PIXELS + part] += 1
            own[HAEMATOXYLIN + part] += blue
            own[DAB + part] += dab[y, x]
            own[RESIDUAL + part] += residual[y, x]
            own[SQUARES + part] += blue * blue
            own[SATURATED + part] += min(rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2]) <= saturated
            own[BLACK + part] += residual[y, x] >= black
    return sums


@compiled
def edge_gradients(labels: Int32Array, values: Float32Array, n: int) -> Float64Array:
    """(n + 1, 2) sum of the gradient (per two px) over the pixels along the inner edge of each label, and their number.

    Pixels on the border of the image are left out.
    """
    height, width = labels.shape
    sums = np.zeros((n + 1, 2))
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            label = labels[y, x]
            if label == 0 or (
                labels[y, x - 1] == label
                and labels[y, x + 1] == label
                and labels[y - 1, x] == label
                and labels[y + 1, x] == label
            ):
                continue
            across, down = values[y, x + 1] - values[y, x - 1], values[y + 1, x] - values[y - 1, x]
            sums[label, 0] += np.sqrt(across * across + down * down)
            sums[label, 1] += 1
    return sums


@compiled
def brown_per_block(
    dab: Float32Array,
    cell: Int32Array,
    places: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    threshold: np.float32,
    block_px: int,
) -> Int32Array:
    """(rows, columns, 2) int32: of each square block the pixels of at least that DAB OD, and those of them in no cell.

    Parameters
    ----------
    dab, cell
        Density and labels, each (H, W) of its own.
    places
        Row and column at which what is counted begins in ``dab`` and in ``cell``, and its height and width. Parts of
        the arrays in their place would be thrice as slow: the step between their pixels is then not known to be 1.
    threshold
        Log10 OD.
    block_px
        Side of a block; they begin at the first corner, and the last ones of a row and a column are cut.
    """
    (dab_y, dab_x), (cell_y, cell_x), (height, width) = places
    counted = np.zeros((-(-height // block_px), -(-width // block_px), 2), np.int32)
    for y in range(height):
        for column in range(counted.shape[1]):
            first, end = column * block_px, min(width, (column + 1) * block_px)
            levels, labels = (
                dab[dab_y + y, dab_x + first : dab_x + end],
                cell[cell_y + y, cell_x + first : cell_x + end],
            )
            brown, bare = np.int32(0), np.int32(0)
            for x in range(end - first):
                is_brown = np.int32(levels[x] >= threshold)
                brown += is_brown
                bare += is_brown & np.int32(labels[x] == 0)
            counted[y // block_px, column, 0] += brown
            counted[y // block_px, column, 1] += bare
    return counted


@compiled
def sector_sums(
    parts: tuple[Int32Array, Int32Array],
    values: Float32Array,
    centres: Float64Array,
    across: Int32Array,
    n_sectors: int,
) -> tuple[Float64Array, Int32Array]:
    """Sum the values of each label's band by sectors about its centre, and see who lies opposite.

    Parameters
    ----------
    parts
        Labels of the band and of whole cells, each (H, W).
    values
        (H, W).
    centres
        (n, 2) x, y of the labels 1..n.
    across
        (k, 2) steps y, x to where a neighbour is looked for; the first that finds one counts.
    n_sectors
        Number of sectors.

    Returns
    -------
    sums
        (n, sectors, 2): pixels, and the sum of their values.
    neighbour
        (n, sectors): label of the neighbour opposite the last pixel that has one; 0 without.
    """
    band, cell = parts
    height, width = band.shape
    sums = np.zeros((len(centres), n_sectors, 2))
    neighbour = np.zeros((len(centres), n_sectors), np.int32)
    for y in range(height):
        for x in range(width):
            label = band[y, x]
            if label == 0:
                continue
            row = label - 1
            turn = _turn(np.float32(x - centres[row, 0]), np.float32(y - centres[row, 1]))
            sector = min(int(turn * np.float32(n_sectors)), n_sectors - 1)
            sums[row, sector, 0] += 1
            sums[row, sector, 1] += values[y, x]
            other = _opposite(cell, y, x, across)
            if other > 0:
                neighbour[row, sector] = other
    return sums, neighbour


@compiled
def _opposite(cell: Int32Array, y: int, x: int, across: Int32Array) -> int:
    """The first other label > 0 at the steps from a pixel; 0 without one."""
    for step in range(len(across)):
        other_y, other_x = y + across[step, 0], x + across[step, 1]
        if 0 <= other_y < cell.shape[0] and 0 <= other_x < cell.shape[1]:
            other = cell[other_y, other_x]
            if other > 0 and other != cell[y, x]:
                return int(other)
    return 0


@compiled
def _turn(x: np.float32, y: np.float32) -> np.float32:
    """Direction of a vector as a share of a full turn, 0-1, by the polynomial of OpenCV's ``phase``; 0.01 degrees."""
    along, beside = max(abs(x), abs(y)), min(abs(x), abs(y))
    slope = beside / (along + np.float32(2.220446e-16))
    square = slope * slope
    turn = np.float32(-0.04432655554792128) * square + np.float32(0.1555786518463281)
    turn = turn * square - np.float32(0.3258083974640975)
    turn = (turn * square + np.float32(0.9997878412794807)) * slope * np.float32(0.15915494309189535)
    turn = np.float32(0.25) - turn if abs(y) > abs(x) else turn
    turn = np.float32(0.5) - turn if x < 0 else turn
    return np.float32(1.0) - turn if y < 0 else turn
