"""Around the membranes of cells: the best stretch of each, and which of it is a neighbour's."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Int32Array

Levels: TypeAlias = tuple[np.float32, ...]
"""See `own_membranes`."""


@compiled
def best_runs(values: Float32Array, weight: Float32Array, needed: Float32Array) -> Float32Array:
    """(n,) highest value at or above which contiguous places of a ring (n, places) have the weight needed (n,), or 0.

    Places without weight are passed over.
    """
    best = np.empty(len(values), np.float32)
    for row in range(len(values)):
        best[row] = _best_run(values[row], weight[row], needed[row])
    return best


@compiled
def _best_run(values: Float32Array, weight: Float32Array, needed: np.float32) -> np.float32:
    best, places = np.float32(0), len(values)
    for start in range(places):
        lowest, covered = np.float32(np.inf), np.float32(0)
        for step in range(start, start + places):
            at = step if step < places else step - places
            if weight[at] > 0:
                lowest = min(lowest, values[at])
                covered += weight[at]
            if lowest <= best:
                break
            if covered >= needed and covered > 0:
                best = lowest
                break
    return best


@compiled
def own_membranes(
    profile: tuple[Float32Array, Float32Array, Int32Array],
    cells: tuple[Float32Array, BoolArray],
    needed: Float32Array,
    levels: Levels,
) -> tuple[Float32Array, Float32Array]:
    """(n,) best run of each cell's own membrane and (n, places) its values, 0 where a neighbour explains them.

    Parameters
    ----------
    profile
        Values, weights, and the row of the neighbour or -1; each (n, places).
    cells
        The value of each cell's cytoplasm, and whether it is immune.
    needed
        (n,) weight that a run needs.
    levels
        Value from which a cell is positive; by how much a membrane stands out from a cytoplasm that is not; share of
        the ring from which a cell is positive all around; below which it is open; share of a line that the neighbour's
        cytoplasm reaches where it explains the line; share of the ring from which what no neighbour explains decides.
    """
    values, weight, neighbour = profile
    cytoplasm, immune = cells
    ringed_from, min_alone = levels[2], levels[5]
    plain, own = best_runs(values, weight, needed), values.copy()
    run, around = plain.copy(), np.empty(len(values), np.float32)
    positive, explains = np.empty(len(values), np.bool_), np.empty(len(values), np.bool_)
    for row in range(len(values)):
        around[row] = _share_reaching(values[row], weight[row], levels[0])
        positive[row] = _is_positive(run[row], cytoplasm[row], levels)
        explains[row] = immune[row] and (positive[row] or cytoplasm[row] >= levels[0])
    marks, left = np.empty((4, values.shape[1]), np.bool_), np.empty(values.shape[1], np.float32)
    ringed = np.zeros(len(values), np.bool_)
    for turn in range(2):
        before, ringed = ringed, positive & (around >= ringed_from)
        for row in range(len(values)):
            if turn > 0 and not _has_turned(neighbour[row], before, ringed):
                continue
            ring = values[row], neighbour[row]
            if not _mark(row, ring, (cytoplasm, immune, explains, ringed), around, levels, marks):
                run[row], own[row] = plain[row], values[row]
                continue
            alone = _explain(weight[row], marks, around[row] < levels[3], min_alone)
            if not _take_away(marks[3], (values[row], weight[row]), (own[row], left)):
                run[row] = plain[row]
                continue
            run[row] = _best_run(own[row], left, needed[row])
            if alone >= min_alone and _half_is_above(run[row], own[row], left):
                run[row] = max(run[row], _median(own[row], left))
        for row in range(len(values)):
            positive[row] = _is_positive(run[row], cytoplasm[row], levels)
    return run, own


@compiled
def _has_turned(neighbour: Int32Array, before: BoolArray, after: BoolArray) -> bool:
    """Whether something is said of one of the neighbours that was not said before."""
    turned = False
    for other in neighbour:
        turned = turned or (other >= 0 and before[other] != after[other])
    return turned


@compiled
def _take_away(
    explained: BoolArray, ring: tuple[Float32Array, Float32Array], into: tuple[Float32Array, Float32Array]
) -> bool:
    """Copy values and weights, 0 where they are explained; whether any is."""
    found = False
    for at in range(len(explained)):
        found = found or explained[at]
        for which in range(2):
            into[which][at] = np.float32(0) if explained[at] else ring[which][at]
    return found


@compiled
def _is_positive(run: np.float32, cytoplasm: np.float32, levels: Levels) -> bool:
    return bool(run >= levels[0] and (run - cytoplasm >= levels[1] or cytoplasm >= levels[0]))


@compiled
def _share_reaching(values: Float32Array, weight: Float32Array, level: np.float32) -> np.float32:
    """Share of the weight whose value reaches the level; weights are whole numbers."""
    part, whole = np.float32(0), np.float32(0)
    for at in range(len(weight)):
        whole += weight[at]
        part += weight[at] if values[at] >= level else np.float32(0)
    return part / max(whole, np.float32(1))


@compiled
def _share_without(chosen: BoolArray, weight: Float32Array) -> np.float32:
    """Share of the weight that is not chosen."""
    part, whole = np.float32(0), np.float32(0)
    for at in range(len(weight)):
        whole += weight[at]
        part += np.float32(0) if chosen[at] else weight[at]
    return part / max(whole, np.float32(1))


@compiled
def _mark(
    row: int,
    ring: tuple[Float32Array, Int32Array],
    cells: tuple[Float32Array, BoolArray, BoolArray, BoolArray],
    around: Float32Array,
    levels: Levels,
    marks: BoolArray,
) -> bool:
    """Mark where an immune neighbour, the cytoplasm of one, or its ring explain the line (0 to 2); whether any does."""
    values, neighbour = ring
    cytoplasm, immune, explains, ringed = cells
    is_inner, is_open, found = cytoplasm[row] >= levels[0], around[row] < levels[3], False
    for at in range(len(values)):
        other = neighbour[at]
        marks[0, at], marks[1, at], marks[2, at] = False, False, False
        if other < 0:
            continue
        marks[0, at] = explains[other] and not immune[row]
        if not is_inner:
            brown = cytoplasm[other] >= levels[0]
            marks[1, at] = brown and cytoplasm[other] >= levels[4] * values[at]
            marks[2, at] = brown or (ringed[other] and is_open)
        found = found or marks[0, at] or marks[2, at]
    return found


@compiled
def _explain(weight: Float32Array, marks: BoolArray, is_open: bool, min_alone: np.float32) -> np.float32:
    """Mark what is explained (3), one place more on either side: a line does not end at a corner.

    Returns the share of the ring that no neighbour explains; where that is little, a line counts unless it is an immune
    neighbour's, or the edge of the neighbour's cytoplasm.
    """
    places = len(weight)
    for at in range(places):
        before, behind = at - 1 if at > 0 else places - 1, at + 1 if at < places - 1 else 0
        marks[3, at] = False
        for near in (before, at, behind):
            marks[3, at] |= marks[0, near] or marks[1, near] or marks[2, near]
    alone = _share_without(marks[3], weight)
    for at in range(places):
        before, behind = at - 1 if at > 0 else places - 1, at + 1 if at < places - 1 else 0
        edge = marks[1, before] or marks[1, at] or marks[1, behind]
        marks[3, at] &= marks[0, at] or edge or alone >= min_alone or is_open
    return alone


@compiled
def _half_is_above(level: np.float32, values: Float32Array, weight: Float32Array) -> bool:
    """Whether half of the weight, or more, lies above the level: else the median does not."""
    above, whole = np.float32(0), np.float32(0)
    for at in range(len(values)):
        whole += weight[at]
        above += weight[at] if values[at] > level else np.float32(0)
    return bool(above >= whole / np.float32(2))


@compiled
def _median(values: Float32Array, weight: Float32Array) -> np.float32:
    """The value that half of the weight reaches; 0 without weight."""
    order = np.argsort(-values)
    half = weight.sum() / np.float32(2)
    reached = np.float32(0)
    for at in order:
        reached += weight[at]
        if reached >= half > 0:
            return np.float32(values[at])
    return np.float32(0)
