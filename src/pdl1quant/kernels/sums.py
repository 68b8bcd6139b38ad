"""Sums over the pixels of each cell, part by part, and along its edge, in one pass each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array, UInt8Array

NUCLEUS, CYTOPLASM, MEMBRANE = 0, 1, 2
"""Parts of a cell, in the order of the sums."""
PIXELS, HAEMATOXYLIN, DAB, RESIDUAL, SQUARES, SATURATED, BLACK, BROWN = 0, 3, 6, 9, 12, 15, 18, 21
"""First of the three columns (one per part) of each sum."""
N_SUMS = 24
N_AREAS = 4
"""Areas that `brown_per_block` counts."""


@compiled
def part_sums(
    parts: tuple[Int32Array, Int32Array, Int32Array],
    od: tuple[Float32Array, Float32Array, Float32Array],
    rgb: UInt8Array,
    place: tuple[int, int],
    levels: tuple[int, np.float32, np.float32],
    n: int,
) -> Float64Array:
    """(n + 1, ``N_SUMS``) sums over the nucleus, cytoplasm and membrane of each label.

    Of pixels, haematoxylin, DAB, residual, haematoxylin squared, pixels with a channel at or below the level of
    saturation, pixels with a residual at or above the level of black, and those of the others with a DAB at or above
    the level of brown. The labels begin at ``place`` (row, column) of densities and colours, as in `brown_per_block`.
    """
    nucleus, membrane, cell = parts
    saturated, black, brown = levels
    height, width = cell.shape
    top, columns = place[0], slice(place[1], place[1] + width)
    sums = np.zeros((n + 1, N_SUMS))
    for y in range(height):
        blue_at, dab_at, residual_at = od[0][top + y, columns], od[1][top + y, columns], od[2][top + y, columns]
        colours = rgb[top + y, columns]
        for x in range(width):
            label = cell[y, x]
            if label == 0:
                continue
            part = NUCLEUS if nucleus[y, x] > 0 else (MEMBRANE if membrane[y, x] > 0 else CYTOPLASM)
            own, blue = sums[label], blue_at[x]
            own[PIXELS + part] += 1
            own[HAEMATOXYLIN + part] += blue
            own[DAB + part] += dab_at[x]
            own[RESIDUAL + part] += residual_at[x]
            own[SQUARES + part] += blue * blue
            own[SATURATED + part] += min(colours[x, 0], colours[x, 1], colours[x, 2]) <= saturated
            is_black = residual_at[x] >= black
            own[BLACK + part] += is_black
            own[BROWN + part] += dab_at[x] >= brown and not is_black
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
    planes: tuple[Float32Array, Float32Array, Int32Array],
    places: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    ground: tuple[BoolArray, Int32Array, Int32Array, Int32Array],
    levels: tuple[np.float32, np.float32],
    block_px: int,
) -> Int32Array:
    """(rows, columns, ``N_AREAS``) int32: pixels of each square block.

    Those that are brown; those of them in no cell; those of tissue that are not black; and those of these that are
    brown.

    Parameters
    ----------
    planes
        DAB, residual and labels of cells, each (H, W); the first two of one size.
    places
        Row and column at which what is counted begins in the densities and in the labels, and its height and width.
        Parts of the arrays in their place would be thrice as slow: the step between their pixels is then not known to
        be 1.
    ground
        Mask of the tissue; in which of its rows and columns each row and column of what is counted lies; and boxes
        (k, 4: y0, x0, y1, x1) of what is counted that are no tissue.
    levels
        Log10 OD from which DAB is brown, and residual from which a pixel is black.
    block_px
        Side of a block; they begin at the first corner, and the last ones of a row and a column are cut.
    """
    dab, residual, cell = planes
    (od_y, od_x), (cell_y, cell_x), (height, width) = places
    _, rows, _, lost = ground
    brown_od, black_od = levels
    counted = np.zeros((-(-height // block_px), -(-width // block_px), N_AREAS), np.int32)
    line = np.zeros(width, np.int32)
    for y in range(height):
        if y == 0 or len(lost) or rows[y] != rows[y - 1]:
            _ground_line(ground, y, line)
        for column in range(counted.shape[1]):
            first, end = column * block_px, min(width, (column + 1) * block_px)
            od = slice(od_x + first, od_x + end)
            brown_at, black_at = dab[od_y + y, od], residual[od_y + y, od]
            labels, is_ground = cell[cell_y + y, cell_x + first : cell_x + end], line[first:end]
            brown, bare, clear, stained = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
            for x in range(end - first):
                is_brown = np.int32(brown_at[x] >= brown_od)
                is_clear = is_ground[x] & np.int32(black_at[x] < black_od)
                brown += is_brown
                bare += is_brown & np.int32(labels[x] == 0)
                clear += is_clear
                stained += is_clear & is_brown
            block = counted[y // block_px, column]
            block[0] += brown
            block[1] += bare
            block[2] += clear
            block[3] += stained
    return counted


@compiled
def _ground_line(ground: tuple[BoolArray, Int32Array, Int32Array, Int32Array], y: int, line: Int32Array) -> None:
    """Write 1 where a row of pixels is tissue, else 0."""
    tissue, rows, columns, lost = ground
    for x in range(len(line)):
        line[x] = np.int32(tissue[rows[y], columns[x]])
    for box in range(len(lost)):
        if lost[box, 0] <= y < lost[box, 2]:
            line[lost[box, 1] : lost[box, 3]] = 0


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
    reach, flat = np.abs(across).max() if across.size > 0 else 0, cell.ravel()
    steps = across[:, 0] * width + across[:, 1]
    sums = np.zeros((len(centres), n_sectors, 2))
    neighbour = np.zeros((len(centres), n_sectors), np.int32)
    columns, sectors = np.empty(width, np.int32), np.empty(width, np.int32)
    right, below = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        n = _columns_of(band[y], columns)
        for at in range(n):
            row = band[y, columns[at]] - 1
            right[at], below[at] = columns[at] - centres[row, 0], y - centres[row, 1]
        for at in range(n):  # without a branch: many at a time
            sectors[at] = min(np.int32(_turn(right[at], below[at]) * np.float32(n_sectors)), np.int32(n_sectors - 1))
        for at in range(n):
            x, sector = columns[at], sectors[at]
            row = band[y, x] - 1
            sums[row, sector, 0] += 1
            sums[row, sector, 1] += values[y, x]
            if reach <= y < height - reach and reach <= x < width - reach:
                other = _opposite_within(flat, y * width + x, steps)
            else:
                other = _opposite(cell, y, x, across)
            neighbour[row, sector] = other if other > 0 else neighbour[row, sector]
    return sums, neighbour


@compiled
def _columns_of(labels: Int32Array, columns: Int32Array) -> int:
    """Fill in which pixels of a row have a label; how many."""
    n = 0
    for x in range(len(labels)):
        columns[n] = x
        n += labels[x] > 0
    return n


@compiled
def _opposite_within(cell: Int32Array, at: int, steps: Int64Array) -> int:
    """As `_opposite`, away from the border, by flat index and steps: all are looked at, the nearest last."""
    own, found = cell[at], np.int32(0)
    for step in range(len(steps) - 1, -1, -1):
        other = cell[at + steps[step]]
        found = other if (other > 0) & (other != own) else found
    return int(found)


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
