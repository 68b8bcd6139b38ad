"""Label images: renumbering, moments, which labels touch or overlap, what hangs together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled
from pdl1quant.planes import like

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Float32Array, Float64Array, Int32Array, IntpArray, UInt8Array


def renumber(labels: Int32Array, number: Int32Array) -> Int32Array:
    """``number[labels]``."""
    new = like(labels)
    _renumber(labels.ravel(), number, new.ravel())
    return new


@compiled
def _renumber(labels: Int32Array, number: Int32Array, new: Int32Array) -> None:
    for at in range(labels.size):
        new[at] = number[labels[at]]


@compiled
def label_areas(labels: Int32Array, n: int) -> IntpArray:
    """(n + 1,) pixels of the labels 0..n of an image."""
    areas = np.zeros(n + 1, np.intp)
    flat = labels.ravel()
    start = 0
    for at in range(1, flat.size + 1):
        if at == flat.size or flat[at] != flat[start]:
            areas[flat[start]] += at - start
            start = at
    return areas


@compiled
def raw_moments(labels: Int32Array, n: int) -> Float64Array:
    """(n + 1, 6) raw moments 1, x, y, xx, yy, xy of the labels 1..n of an image; those of 0 are left at 0."""
    height, width = labels.shape
    moments = np.zeros((n + 1, 6))
    for y in range(height):
        row = labels[y]
        start = 0
        while start < width:
            label, stop = row[start], start + 1
            while stop < width and row[stop] == label:
                stop += 1
            if label > 0:
                count = stop - start
                x = (start + stop - 1) * count / 2
                before, last = start - 1, stop - 1
                squares = last * (last + 1) * (2 * last + 1) // 6 - before * (before + 1) * (2 * before + 1) // 6
                moments[label, 0] += count
                moments[label, 1] += x
                moments[label, 2] += y * count
                moments[label, 3] += squares
                moments[label, 4] += y * y * count
                moments[label, 5] += x * y
            start = stop
    return moments


@compiled
def contacts(
    labels: Int32Array, heights: Float32Array, wanted: BoolArray
) -> tuple[Int32Array, Float32Array, Float32Array]:
    """Pairs of labels 1..n that share an edge of a pixel, one of them ``wanted`` (n + 1,), and the heights there.

    Returns the pairs in no order (k, 3: the lower and the higher label, and what is of no use outside), the highest
    point of their border (k,; the lower of the two pixels at an edge counts), and the peak (n + 1,) of each label, at
    least 0.
    """
    n = len(wanted) - 1
    peak = np.zeros(n + 1, np.float32)
    room, size = 2 * n + 8, -1
    while size < 0:
        room *= 2
        pairs, saddle = np.empty((room, 3), np.int32), np.empty(room, np.float32)
        size = _contacts((labels, heights), (wanted, peak), _nothing(n + 1), pairs, saddle)
    return pairs[:size], saddle[:size], peak


@compiled
def _nothing(n: int) -> Int32Array:
    """N times -1."""
    values = np.empty(n, np.int32)
    for at in range(n):
        values[at] = -1
    return values


@compiled
def _contacts(
    images: tuple[Int32Array, Float32Array],
    known: tuple[BoolArray, Float32Array],
    newest: Int32Array,
    pairs: Int32Array,
    saddle: Float32Array,
) -> int:
    """Fill peaks and the table of pairs (lower label, higher label, entry before); their number, or -1 without room."""
    labels, heights = images
    wanted, peak = known
    height, width = labels.shape
    size = 0
    for y in range(height):
        below = min(y + 1, height - 1)
        for x in range(width):
            label = labels[y, x]
            if label == 0:
                continue
            level, beside = heights[y, x], min(x + 1, width - 1)
            peak[label] = max(peak[label], level)
            if labels[y, beside] == label and labels[below, x] == label:
                continue
            for side in range(2):
                other_y, other_x = (y, beside) if side == 0 else (below, x)
                other = labels[other_y, other_x]
                if other == 0 or other == label or not (wanted[label] or wanted[other]):  # noqa: PLR1714 - as numba
                    continue
                shared, before = min(level, heights[other_y, other_x]), size
                size, entry = _find(pairs, newest, size, min(label, other), max(label, other))
                if entry < 0:
                    return -1
                saddle[entry] = shared if size > before else max(saddle[entry], shared)
    return size


@compiled
def overlaps(
    runs: tuple[Int32Array, Int32Array, Int32Array, Int32Array], labels: Int32Array, n: int
) -> tuple[Int32Array, Int32Array]:
    """Pairs of a label 1..n of an image and the component of a stretch (`runs_of`) on the same pixels, in no order.

    Returns the pairs (k, 3: label, component, and what is of no use outside) and how many pixels (k,) they share.
    """
    room, size = 2 * n + 8, -1
    while size < 0:
        room *= 2
        pairs, count = np.empty((room, 3), np.int32), np.zeros(room, np.int32)
        size = _overlaps(runs, labels, _nothing(n + 1), pairs, count)
    return pairs[:size], count[:size]


@compiled
def _overlaps(
    runs: tuple[Int32Array, Int32Array, Int32Array, Int32Array],
    labels: Int32Array,
    newest: Int32Array,
    pairs: Int32Array,
    count: Int32Array,
) -> int:
    """Fill the table of pairs (label, component, entry before) and their pixels; as `_contacts`."""
    rows, starts, stops, component = runs
    size = 0
    for run in range(rows.size):
        row, x = labels[rows[run]], starts[run]
        while x < stops[run]:
            label, start = row[x], x
            x += 1
            while x < stops[run] and row[x] == label:
                x += 1
            if label > 0:
                size, entry = _find(pairs, newest, size, label, component[run])
                if entry < 0:
                    return -1
                count[entry] += x - start
    return size


@compiled
def _find(pairs: Int32Array, newest: Int32Array, size: int, first: int, second: int) -> tuple[int, int]:
    """Size of the table with this pair in it, and its entry; -1 for want of room."""
    entry = newest[first]
    while entry >= 0 and pairs[entry, 1] != second:
        entry = pairs[entry, 2]
    if entry >= 0:
        return size, entry
    if size == pairs.shape[0]:
        return size, -1
    pairs[size, 0], pairs[size, 1], pairs[size, 2] = first, second, newest[first]
    newest[first] = size
    return size + 1, size


@compiled
def groups_of(first: Int32Array, second: Int32Array, n: int) -> Int32Array:
    """Number (0..m-1, by first member) of the group of each of ``n`` things, of which the pairs belong together."""
    leader = _numbers(n)
    for pair in range(first.size):
        _unite(leader, first[pair], second[pair])
    group = np.empty(n, np.int32)
    m = 0
    for thing in range(n):
        if leader[thing] == thing:
            group[thing] = m
            m += 1
        else:
            group[thing] = group[leader[thing]]
    return group


@compiled
def _numbers(n: int) -> Int32Array:
    """0 to n - 1."""
    numbers = np.empty(n, np.int32)
    for number in range(n):
        numbers[number] = number
    return numbers


@compiled
def runs_of(labels: Int32Array | UInt8Array) -> tuple[Int32Array, Int32Array, Int32Array, Int32Array]:
    """Stretches of equal labels > 0 in the rows of an image, and what hangs together edge by edge.

    Returns the row, first column, last column + 1 and connected component (the number of its first stretch) of each.
    """
    height, width = labels.shape
    count = 0
    for y in range(height):
        row = labels[y]
        count += row[0] > 0
        for x in range(1, width):
            count += row[x] > 0 and row[x] != row[x - 1]
    rows, starts = np.empty(count, np.int32), np.empty(count, np.int32)
    stops, leader = np.empty(count, np.int32), _numbers(count)
    run, above_first = 0, 0
    for y in range(height):
        row, above, row_first = labels[y], above_first, run
        x = 0
        while x < width:
            label, start = row[x], x
            x += 1
            while x < width and row[x] == label:
                x += 1
            if label == 0:
                continue
            rows[run], starts[run], stops[run] = y, start, x
            while above < row_first and stops[above] <= start:
                above += 1
            _join_above(leader, (labels[y - 1], label), starts, (above, row_first, run, x))
            run += 1
        above_first = row_first
    for each in range(count):
        leader[each] = leader[leader[each]]
    return rows, starts, stops, leader


@compiled
def _join_above(
    leader: Int32Array, labels: tuple[Int32Array, int], starts: Int32Array, runs: tuple[int, int, int, int]
) -> None:
    """Unite a stretch that ends before a column with those of its label in the row above."""
    above_labels, label = labels
    above, end, run, stop = runs
    for other in range(above, end):
        if starts[other] >= stop:
            break
        if above_labels[starts[other]] == label:
            _unite(leader, other, run)


@compiled
def _unite(leader: Int32Array, a: int, b: int) -> None:
    while leader[a] != a:
        leader[a] = leader[leader[a]]
        a = leader[a]
    while leader[b] != b:
        leader[b] = leader[leader[b]]
        b = leader[b]
    leader[max(a, b)] = min(a, b)


@compiled
def large_islands(mask: UInt8Array, min_area_px: float) -> UInt8Array:
    """The pixels (1) of a mask that hang together, corners included, in islands of at least so many pixels."""
    height = len(mask)
    starts, stops, first = _runs_of_mask(mask)
    leader = _numbers(len(starts))
    for y in range(1, height):
        above = first[y - 1]
        for run in range(first[y], first[y + 1]):
            while above < first[y] and stops[above] < starts[run]:
                above += 1
            other = above
            while other < first[y] and starts[other] <= stops[run]:
                _unite(leader, other, run)
                other += 1
    area = np.zeros(len(starts), np.intp)
    for each in range(len(starts)):
        leader[each] = leader[leader[each]]
        area[leader[each]] += stops[each] - starts[each]
    large = np.zeros(mask.shape, np.uint8)
    for y in range(height):
        for each in range(first[y], first[y + 1]):
            if area[leader[each]] >= min_area_px:
                large[y, starts[each] : stops[each]] = 1
    return large


@compiled
def _runs_of_mask(mask: UInt8Array) -> tuple[Int32Array, Int32Array, IntpArray]:
    """First column and last column + 1 of each stretch in the rows of a mask, and the first stretch of each row."""
    height, width = mask.shape
    first = np.zeros(height + 1, np.intp)
    for y in range(height):
        before = False
        count = first[y]
        for x in range(width):
            inside = mask[y, x] > 0
            count += inside and not before
            before = inside
        first[y + 1] = count
    starts, stops = np.empty(first[height], np.int32), np.empty(first[height], np.int32)
    for y in range(height):
        run, before = first[y], False
        for x in range(width):
            inside = mask[y, x] > 0
            if inside and not before:
                starts[run] = x
                run += 1
            if inside:
                stops[run - 1] = x + 1
            before = inside
    return starts, stops, first


@compiled
def paint_runs(image: Int32Array, runs: tuple[Int32Array, Int32Array, Int32Array], value: int) -> None:
    """Set the stretches (rows, starts, stops) of an image, in place."""
    rows, starts, stops = runs
    for run in range(rows.size):
        for x in range(starts[run], stops[run]):
            image[rows[run], x] = value


@compiled
def fill_runs(image: Int32Array, runs: tuple[Int32Array, Int32Array, Int32Array], values: Int32Array) -> None:
    """Set what is 0 in each stretch (rows, starts, stops) of an image to the value of the stretch, in place."""
    rows, starts, stops = runs
    for run in range(rows.size):
        row, value = image[rows[run]], values[run]
        if value > 0:
            for x in range(starts[run], stops[run]):
                row[x] = row[x] if row[x] > 0 else value


@compiled
def runs_extent(runs: tuple[Int32Array, Int32Array, Int32Array, Int32Array]) -> Int32Array:
    """(k,) the longer side in px of the box about the component that begins with each of k stretches."""
    rows, starts, stops, component = runs
    left, right, bottom = starts.copy(), stops.copy(), rows.copy()
    for run in range(rows.size):
        first = component[run]
        left[first] = min(left[first], starts[run])
        right[first] = max(right[first], stops[run])
        bottom[first] = rows[run]
    extent = np.empty(rows.size, np.int32)
    for run in range(rows.size):
        extent[run] = max(right[run] - left[run], bottom[run] + 1 - rows[run])
    return extent


@compiled
def runs_meet(runs: tuple[Int32Array, Int32Array, Int32Array], image: Int32Array) -> UInt8Array:
    """Whether any pixel of each stretch (rows, starts, stops) is above 0 in the image; 0 or 1."""
    rows, starts, stops = runs
    found = np.zeros(rows.size, np.uint8)
    for run in range(rows.size):
        for x in range(starts[run], stops[run]):
            if image[rows[run], x] > 0:
                found[run] = 1
                break
    return found


def in_one_piece(cells: Int32Array, nuclei: Int32Array) -> Int32Array:
    """Cells without the fragments that hold nothing of a nucleus; in place."""
    rows, starts, stops, fragment = runs_of(cells)
    holds = np.zeros(len(rows), bool)
    holds[fragment[runs_meet((rows, starts, stops), nuclei) > 0]] = True
    loose = ~holds[fragment]
    paint_runs(cells, (rows[loose], starts[loose], stops[loose]), 0)
    return cells


def fill_holes(cells: Int32Array, max_area_px: float) -> Int32Array:
    """Cells with what one of them alone surrounds, corners apart, up to an area; in place.

    What touches the border of the image is no hole.
    """
    runs = runs_of((cells == 0).view(np.uint8))
    area = np.bincount(runs[3], weights=runs[2] - runs[1], minlength=len(runs[0]))
    owner = _owners(cells, runs)
    owner[area > max_area_px] = 0
    fill_runs(cells, runs[:3], np.maximum(owner, 0)[runs[3]])
    return cells


@compiled
def _owners(labels: Int32Array, runs: tuple[Int32Array, Int32Array, Int32Array, Int32Array]) -> Int32Array:
    """(k,) the one label about the component that begins with each of k stretches of 0; -1 for several, 0 for none."""
    rows, starts, stops, component = runs
    height, width = labels.shape
    owner = np.zeros(rows.size, np.int32)
    for run in range(rows.size):
        y, start, stop, first = rows[run], starts[run], stops[run], component[run]
        if y == 0 or y == height - 1 or start == 0 or stop == width:
            owner[first] = -1
        if owner[first] < 0:
            continue
        label = labels[y, start - 1]
        alone = labels[y, stop] == label and (owner[first] == 0 or owner[first] == label)
        for x in range(start, stop):
            for beside in (labels[y - 1, x], labels[y + 1, x]):
                alone &= not (beside > 0 and beside != label)
        owner[first] = label if alone else -1
    return owner
