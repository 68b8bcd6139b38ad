"""Where a pale cell ends and a brown one begins: DAB is there half-way between that of the two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled
from pdl1quant.planes import like

if TYPE_CHECKING:
    from pdl1quant.model import Float32Array, Float64Array, Int32Array

NOBODY = np.int32(0)


def cede_brown(
    cells: Int32Array,
    nuclei: Int32Array,
    dab: Float32Array,
    *,
    step_od: Float64Array,
    pale_share: float,
    depth_px: int,
) -> Int32Array:
    """Cells (H, W) after brown pixels at the edge of pale ones went to the brown cell beside them.

    Parameters
    ----------
    cells, nuclei
        Labels 0..n; what is nucleus stays with its cell.
    dab
        OD of DAB.
    step_od
        (n + 1,) how much browner than another cell, outside the nucleus and on average, each has to be to take from it;
        infinite for cells that take nothing.
    pale_share
        Up to what share of its DAB the other is pale.
    depth_px
        How deep, in steps along rows and columns, a cell may take.

    Returns
    -------
    Int32Array
        The image given where nothing is ceded. A cell may have lost touch with parts of itself.
    """
    level = _means_outside(cells, nuclei, dab, len(step_od))
    if not np.fmax.reduce(level) - np.fmin.reduce(level) >= step_od.min():  # so it is where one of them is NaN
        return cells
    rule = level, step_od, pale_share
    wanted, places, n_places = _first_claims((cells, nuclei), dab, rule)
    if n_places == 0:
        return cells
    ceded = like(cells)
    np.copyto(ceded, cells)
    _take((ceded, nuclei), dab, rule, (wanted, places, n_places), depth_px)
    return ceded


@compiled
def _means_outside(cells: Int32Array, nuclei: Int32Array, dab: Float32Array, n: int) -> Float64Array:
    """(n,) mean DAB of each label outside its nucleus; NaN where nothing is."""
    total, pixels = np.zeros(n), np.zeros(n)
    for y in range(cells.shape[0]):
        for x in range(cells.shape[1]):
            label = cells[y, x] if nuclei[y, x] == 0 else NOBODY
            if label > 0:
                total[label] += dab[y, x]
                pixels[label] += 1
    return total / pixels


@compiled
def _claimed(rule: tuple[Float64Array, Float64Array, float], owner: int, taker: int, od: np.float32) -> bool:
    """Whether a pixel with this OD is the taker's rather than its owner's."""
    level, step_od, pale_share = rule
    pale, brown = level[owner], level[taker]
    return bool(brown - pale >= step_od[taker] and pale <= pale_share * brown and od + od >= pale + brown)


@compiled
def _first_claims(
    labels: tuple[Int32Array, Int32Array], dab: Float32Array, rule: tuple[Float64Array, Float64Array, float]
) -> tuple[Int32Array, Int32Array, int]:
    """Who wants each pixel (H, W) that lies beside it, 0 is nobody; the flat places of those; how many there are."""
    cells, nuclei = labels
    height, width = cells.shape
    wanted, places, n_places = np.zeros(cells.shape, np.int32), np.empty(cells.size, np.int32), 0
    meets = np.zeros(width, np.bool_)
    for y in range(height):
        row, next_row = cells[y], cells[min(y + 1, height - 1)]
        for x in range(width - 1):
            meets[x] = (row[x] != row[x + 1]) & (row[x] > 0) & (row[x + 1] > 0)
        for x in range(width):
            meets[x] |= (row[x] != next_row[x]) & (row[x] > 0) & (next_row[x] > 0)
        for x in range(width):
            if not meets[x]:
                continue
            own = row[x]
            for other, there in ((row[min(x + 1, width - 1)], (y, x + 1)), (next_row[x], (y + 1, x))):
                if other <= 0 or other == own:
                    continue
                if _claimed(rule, own, other, dab[y, x]) and nuclei[y, x] == 0:
                    n_places = _note((wanted, rule[0]), (y, x), other, places, n_places)
                elif _claimed(rule, other, own, dab[there]) and nuclei[there] == 0:
                    n_places = _note((wanted, rule[0]), there, own, places, n_places)
        meets[width - 1] = False
    return wanted, places, n_places


@compiled
def _note(
    claims: tuple[Int32Array, Float64Array], at: tuple[int, int], taker: int, places: Int32Array, n_places: int
) -> int:
    """Note a claim; of two that want a pixel the browner one gets it. Returns how many places there are then."""
    wanted, level = claims
    before = wanted[at]
    if before == 0:
        wanted[at] = taker
        places[n_places] = at[0] * wanted.shape[1] + at[1]
        return n_places + 1
    if level[taker] > level[before]:
        wanted[at] = taker
    return n_places


@compiled
def _take(
    labels: tuple[Int32Array, Int32Array],
    dab: Float32Array,
    rule: tuple[Float64Array, Float64Array, float],
    claims: tuple[Int32Array, Int32Array, int],
    depth_px: int,
) -> None:
    """Give the claimed pixels away, and round by round what lies behind them; what was given away stays so."""
    cells, nuclei = labels
    wanted, places, n_places = claims
    height, width = cells.shape
    first = 0
    for _ in range(depth_px):
        end = n_places
        for at in places[first:end]:
            cells[at // width, at % width] = wanted[at // width, at % width]
        for at in places[first:end]:
            y, x = at // width, at % width
            for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                there = min(max(y + down, 0), height - 1), min(max(x + right, 0), width - 1)
                given = wanted[there] > 0 and wanted[there] == cells[there]
                owner, taker = cells[there], cells[y, x]
                if owner <= 0 or owner == taker or given or nuclei[there] > 0:
                    continue
                if _claimed(rule, owner, taker, dab[there]):
                    n_places = _note((wanted, rule[0]), there, taker, places, n_places)
        first = end
