"""Kernels: each against the same by numpy, scipy or OpenCV; numba only when one is called."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pdl1quant.kernels import ascent, extent, heights, labels, places, settling, stain, sums
from pdl1quant.kernels.compiled import compiled

SEEDS, SIDES = st.integers(0, 10_000), st.integers(1, 17)


def random_labels(seed, shape, highest):
    return np.random.default_rng(seed).integers(0, highest + 1, shape).astype(np.int32)


def python(code, **env):
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, **env)
    return done.stdout.strip()


# --- compiled --------------------------------------------------------------------------------------------------------
def test_kernels_run_where_compiled_code_cannot_be_kept(tmp_path):
    """Source folder and home are not to be written: there is no cache, and no error."""
    source = tmp_path / "loops.py"
    source.write_text(
        "from pdl1quant.kernels.compiled import compiled\n"
        "@compiled\ndef twice(x):\n    return 2 * x\n"
        "@compiled\ndef four_times(x):\n    return twice(twice(x))\n"
    )
    code = (
        "from numba.core.caching import CacheImpl\n"
        "CacheImpl._locator_classes = []\n"
        "from loops import four_times\n"
        "print(four_times(3))"
    )
    assert python(code, cwd=tmp_path) == "12"


def test_division_by_zero_in_a_kernel_is_that_of_numpy():
    """No test before each division: loops with one go many pixels at a time."""

    @compiled
    def share(part, whole):
        return part / whole

    assert share(1.0, 0.0) == np.inf


def test_kernel_keeps_name_and_docstring():
    @compiled
    def area(x):
        """Square."""
        return x * x

    assert (area.__name__, area.__doc__, area(3)) == ("area", "Square.", 9)


# --- heights ---------------------------------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES)
def test_heights_and_hills_are_those_of_numpy(seed, height, width):
    nucleus, depth, hills, others = np.random.default_rng(seed).random((4, height, width), dtype=np.float32)
    likely, sure = np.empty_like(nucleus), np.empty_like(nucleus)
    heights.fill_heights(nucleus, depth, np.float32(0.9), likely, sure)
    assert np.allclose(likely, depth * nucleus, rtol=1e-6)
    assert np.allclose(sure, 0.9 * depth * nucleus**8, rtol=1e-5, atol=1e-12)
    expected = np.where(nucleus >= 0.4, np.maximum(np.maximum(hills, others), np.float32(0.3)), 0)
    heights.raise_hills(hills, others, nucleus, np.float32(0.4), np.float32(0.3))
    assert np.array_equal(hills, expected)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 8]))
def test_blocks_and_what_lies_around_them_are_those_of_numpy(seed, height, width, side):
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (height * side, width * side, 3), dtype=np.uint8)
    nucleus = rng.random(rgb.shape[:2], dtype=np.float32)
    brown, mean, around = np.empty((3, height, width), np.float32)
    heights.fill_blocks(rgb, nucleus, side, 0, 0, brown, mean)
    blocks = rgb.reshape(height, side, width, side, 3).mean(axis=(1, 3))
    assert np.allclose(brown, (blocks[:, :, 0] + 8) / (blocks[:, :, 2] + 8), rtol=1e-6)
    assert np.allclose(mean, nucleus.reshape(height, side, width, side).mean(axis=(1, 3)), rtol=1e-5)
    heights.fill_around(mean, around)
    assert np.allclose(around, ndimage.uniform_filter(mean, 3, mode="nearest"), rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 6), st.integers(1, 6), st.sampled_from([2, 8]))
def test_sharpening_moves_probabilities_away_from_what_lies_around(seed, height, width, side):
    rng = np.random.default_rng(seed)
    nucleus = rng.random((height * side, width * side), dtype=np.float32)
    share, mean = rng.random((2, height, width), dtype=np.float32)
    weight, level = (cv2.resize(plane, nucleus.shape[::-1], interpolation=cv2.INTER_LINEAR) for plane in (share, mean))
    expected = np.clip(nucleus + weight * (nucleus - level), 0, 1)
    sharp = nucleus.copy()
    heights.sharpen(sharp, side, 0, 0, share, mean)
    assert np.allclose(sharp, expected, atol=1e-5)
    same = nucleus.copy()
    heights.sharpen(same, side, 0, 0, np.zeros_like(share), mean)
    assert np.array_equal(same, nucleus)


@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES, st.integers(0, 7), st.integers(0, 7))
def test_a_part_of_an_image_has_the_blocks_of_the_whole(seed, height, width, top, left):
    """All that lie in it; and at the same blocks it is sharpened alike, to the last bit."""
    rng, side = np.random.default_rng(seed), 8
    shape = -(-(top + height) // side), -(-(left + width) // side)
    rgb = rng.integers(0, 256, (shape[0] * side, shape[1] * side, 3), dtype=np.uint8)
    nucleus = rng.random(rgb.shape[:2], dtype=np.float32)
    part = np.s_[top : top + height, left : left + width]
    filled = []
    for one, other, *at in ((rgb, nucleus, 0, 0), (rgb[part], nucleus[part], top, left)):
        planes = np.empty((2, *shape), np.float32)
        heights.fill_blocks(np.ascontiguousarray(one), np.ascontiguousarray(other), side, *at, *planes)
        filled.append(planes)
    inner = np.s_[:, -(-top // side) : (top + height) // side, -(-left // side) : (left + width) // side]
    assert np.array_equal(filled[0][inner], filled[1][inner])
    sharp, cut = nucleus.copy(), nucleus[part].copy()
    heights.sharpen(sharp, side, 0, 0, *filled[0])
    heights.sharpen(cut, side, top, left, *filled[0])
    assert np.array_equal(sharp[part], cut)


# --- labels ----------------------------------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES)
def test_renumbering_and_areas_are_those_of_numpy(seed, height, width):
    image = random_labels(seed, (height, width), 5)
    number = np.array([0, 7, 3, 3, 0, 1], np.int32)
    assert np.array_equal(labels.renumber(image, number), number[image])
    assert np.array_equal(labels.label_areas(image, 5), np.bincount(image.ravel(), minlength=6))


@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES, st.integers(1, 40))
def test_contacts_are_all_pairs_that_touch_with_the_best_of_their_border(seed, height, width, highest):
    image = random_labels(seed, (height, width), highest)
    landscape = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    expected = {}
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        levels = np.minimum(landscape[one], landscape[other])
        for a, b, level in zip(image[one].ravel(), image[other].ravel(), levels.ravel(), strict=True):
            if a != b and a > 0 and b > 0:
                pair = (min(a, b), max(a, b))
                expected[pair] = max(expected.get(pair, 0), level)
    pairs, saddle, peak = labels.contacts(image, landscape, np.ones(highest + 1, bool))
    first, second = pairs[:, 0], pairs[:, 1]
    assert dict(zip(zip(first.tolist(), second.tolist(), strict=True), saddle, strict=True)) == expected
    assert len(first) == len(expected)
    assert np.array_equal(peak[1:], [landscape[image == k].max(initial=0) for k in range(1, highest + 1)])
    wanted = np.arange(highest + 1) % 3 == 0
    pairs, saddle, _ = labels.contacts(image, landscape, wanted)
    found = dict(zip(map(tuple, pairs[:, :2].tolist()), saddle, strict=True))
    assert found == {pair: level for pair, level in expected.items() if wanted[list(pair)].any()}


@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES, st.integers(1, 40))
def test_overlaps_count_common_pixels(seed, height, width, highest):
    one, other = random_labels(seed, (height, width), highest), random_labels(seed + 1, (height, width), 1)
    pieces = np.zeros_like(other)
    runs = labels.runs_of(other.astype(np.uint8))
    for row, start, stop, piece in zip(*runs, strict=True):
        pieces[row, start:stop] = piece + 1
    found, count = labels.overlaps(runs, one, highest)
    first, second = found[:, 0], found[:, 1] + 1
    both = (one > 0) & (other > 0)
    pairs, expected = np.unique(np.stack([one[both], pieces[both]]), axis=1, return_counts=True)
    order = np.lexsort((second, first))
    assert np.array_equal(np.stack([first, second])[:, order], pairs)
    assert np.array_equal(count[order], expected)


@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES)
def test_pieces_have_the_extent_of_their_box_and_fill_what_is_empty(seed, height, width):
    mask = random_labels(seed, (height, width), 1).astype(np.uint8)
    runs = labels.runs_of(mask)
    n, pieces, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    sides = boxes[pieces[runs[0], runs[1]], cv2.CC_STAT_WIDTH : cv2.CC_STAT_HEIGHT + 1].max(axis=1)
    assert np.array_equal(labels.runs_extent(runs)[runs[3]], sides)
    assert len(np.unique(runs[3])) == n - 1
    image = random_labels(seed + 1, (height, width), 2)
    values = np.random.default_rng(seed).integers(0, 5, len(runs[0])).astype(np.int32)
    painted = np.zeros_like(image)
    for row, start, stop, value in zip(*runs[:3], values, strict=True):
        painted[row, start:stop] = value
    filled = image.copy()
    labels.fill_runs(filled, runs[:3], values)
    assert np.array_equal(filled, np.where(image > 0, image, painted))


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 30), st.integers(0, 30))
def test_groups_are_connected_components_numbered_by_first_member(seed, n, n_pairs):
    first, second = np.random.default_rng(seed).integers(0, n, (2, n_pairs)).astype(np.int32)
    _, expected = connected_components(coo_array((np.ones(n_pairs), (first, second)), shape=(n, n)), directed=False)
    assert np.array_equal(labels.groups_of(first, second, n), expected)


@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES)
def test_runs_cover_what_is_labelled_and_hang_together_by_edges(seed, height, width):
    image = random_labels(seed, (height, width), 2)
    rows, starts, stops, component = labels.runs_of(image)
    seen, pieces = np.zeros_like(image), np.zeros_like(image)
    for run, (row, start, stop) in enumerate(zip(rows, starts, stops, strict=True)):
        seen[row, start:stop] = image[row, start]
        pieces[row, start:stop] = component[run] + 1
    assert np.array_equal(seen, image)
    for value in (1, 2):
        expected, n = ndimage.label(image == value)
        pairs = np.unique(np.stack([expected, pieces])[:, image == value], axis=1)
        assert pairs.shape[1] == n == len(np.unique(pairs[1]))


def test_runs_can_be_painted_and_held_against_another_image():
    image = np.array([[1, 1, 0, 2], [0, 1, 0, 2]], np.int32)
    rows, starts, stops, _ = labels.runs_of(image)
    runs = (rows, starts, stops)
    assert labels.runs_meet(runs, np.array([[0, 1, 0, 0], [0, 0, 0, 9]], np.int32)).tolist() == [1, 0, 0, 1]
    labels.paint_runs(image, runs, 7)
    assert image.tolist() == [[7, 7, 0, 7], [0, 7, 0, 7]]


@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES, st.integers(1, 6))
def test_what_one_cell_alone_surrounds_is_filled_up_to_an_area(seed, height, width, most):
    image = random_labels(seed, (height, width), 2)
    expected = image.copy()
    pieces, n = ndimage.label(image == 0)
    for piece in range(1, n + 1):
        hole = np.pad(pieces == piece, 1)
        about = np.pad(image, 1, constant_values=-1)[ndimage.binary_dilation(hole) & ~hole]
        if hole.sum() <= most and len(set(about)) == 1 and about[0] > 0:
            expected[pieces == piece] = about[0]
    assert np.array_equal(labels.fill_holes(image, most), expected)


def test_holes_of_one_cell_are_filled_and_gaps_between_two_are_not():
    image = np.array([[1, 1, 1, 1, 2, 2], [1, 0, 0, 1, 0, 2], [1, 1, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0]], np.int32)
    filled = [[1, 1, 1, 1, 2, 2], [1, 1, 1, 1, 0, 2], [1, 1, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0]]
    assert labels.fill_holes(image.copy(), 1).tolist() == image.tolist()
    assert labels.fill_holes(image, 2).tolist() == filled


# --- ascent ----------------------------------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES)
def test_each_pixel_goes_to_the_highest_around_it(seed, height, width):
    landscape = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    landscape[landscape < 0.3] = 0
    target, summits = ascent.uphill(landscape, np.float32(9e5))
    assert np.array_equal(summits, np.flatnonzero(target == np.arange(target.size)))
    target = target.reshape(height, width)
    highest = ndimage.maximum_filter(landscape, 3, mode="constant")
    assert np.array_equal(target >= 0, landscape > 0)
    there = np.maximum(target, 0)
    assert landscape.ravel()[there][target >= 0] == pytest.approx(highest[target >= 0], abs=2e-6)
    y, x = np.mgrid[:height, :width]
    steps = np.maximum(abs(there // width - y), abs(there % width - x))
    assert (steps[target >= 0] <= 1).all()


def test_equal_heights_do_not_send_pixels_in_circles():
    target, summits = ascent.uphill(np.ones((9, 11), np.float32), np.float32(10))
    ascent.follow(target, summits)
    assert (target > 0).all()


# --- places ----------------------------------------------------------------------------------------------------------
@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(0, 60), st.sampled_from([1, 30, 10_000]), st.sampled_from([0.5, 2.0, 25.0]))
def test_neighbours_are_all_points_within_reach_in_order(seed, n, span, reach):
    points = np.random.default_rng(seed).integers(0, 4 * span + 1, (n, 2)) / 4.0
    apart = np.sqrt(((points[:, None] - points) ** 2).sum(axis=2))
    np.fill_diagonal(apart, np.inf)
    nearest, count = places.around(points, reach)
    starts, others, distance = places.neighbours_of(points, reach)
    within = apart <= reach
    assert np.array_equal(count, within.sum(axis=1))
    assert np.array_equal(nearest, np.where(within, apart, np.inf).min(axis=1, initial=np.inf))
    assert np.array_equal(np.diff(starts), count)
    assert np.array_equal(others, np.nonzero(within)[1])
    assert np.array_equal(distance, apart[within])


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(0, 60), st.integers(0, 20), st.sampled_from([0.5, 2.0, 25.0]))
def test_the_nearest_point_is_found_within_reach(seed, n, n_places, reach):
    rng = np.random.default_rng(seed)
    points, wanted = rng.random((n, 2)) * 30, rng.random((n_places, 2)) * 30
    apart = np.sqrt(((wanted[:, None] - points) ** 2).sum(axis=2)) if n else np.full((n_places, 1), np.inf)
    nearest = np.where(apart.min(axis=1) < reach, apart.argmin(axis=1), -1)
    assert np.array_equal(places.nearest_of(points, wanted, reach), nearest)


# --- stain -----------------------------------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES)
def test_variance_is_that_of_whole_blocks(seed, height, width):
    levels = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    found = stain.block_variance(levels, 4)
    sides = min(4, height), min(4, width)
    assert found.shape == (height // sides[0], width // sides[1])
    for row, column in np.ndindex(found.shape):
        block = levels[row * sides[0] : (row + 1) * sides[0], column * sides[1] : (column + 1) * sides[1]]
        assert found[row, column] == pytest.approx(block.var(), abs=0.02)


# --- extent ----------------------------------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(3, 40), st.integers(3, 40))
def test_distance_is_opencvs_and_the_lowest_of_the_nearest_image_wins(seed, height, width):
    rng = np.random.default_rng(seed)
    image = np.where(rng.random((height, width)) < 0.02, rng.integers(1, 9, (height, width)), 0).astype(np.int32)
    image[rng.integers(height), rng.integers(width)] = 3
    distance, nearest = extent.nearest_label(image)
    to_label = [
        cv2.distanceTransform((image != label).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        if (image == label).any()
        else np.full(image.shape, np.inf, np.float32)
        for label in range(1, 9)
    ]
    least = np.min(to_label, axis=0)
    assert distance == pytest.approx(least, abs=1e-3)
    assert np.array_equal(nearest, 1 + np.argmax(np.array(to_label) <= least + 1e-3, axis=0))


def test_without_image_nothing_is_near():
    distance, nearest = extent.nearest_label(np.zeros((3, 70), np.int32))
    assert not nearest.any()
    assert (distance > 10_000).all()


@pytest.mark.parametrize("width", [8193, 20_000, 70_000])
def test_the_nearest_label_is_found_in_images_of_any_width(width):
    image = np.zeros((3, width), np.int32)
    image[1, [100, width - 200]] = 1, 2
    distance, nearest = extent.nearest_label(image)
    columns = np.arange(width)
    apart = np.abs(columns[:, None] - [100, width - 200])
    seen = apart.min(axis=1) < 16_000  # farther away there is none
    assert np.array_equal(nearest[1], np.where(seen, 1 + apart.argmin(axis=1), nearest[1]))
    assert np.array_equal(distance[1, seen], apart.min(axis=1)[seen])
    assert (distance[1, ~seen] >= 16_000).all()


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(3, 30), st.integers(3, 30), st.integers(1, 12))
def test_image_end_where_their_own_nucleus_is_too_far(seed, height, width, limit_px):
    image_ = cv2.resize(random_labels(seed, (3, 3), 2).astype(np.uint8), (width, height), interpolation=0).astype(
        np.int32
    )
    nuclei = (image_ * (np.random.default_rng(seed).random(image_.shape) < 0.02)).astype(np.int32)
    near, shared = extent.nearest_label(nuclei), (image_, np.arange(3, dtype=np.int32))
    guide = np.zeros(image_.shape, np.float32), np.ones(image_.shape, np.uint8)
    limits = np.full(3, -1, np.float32), np.float32(limit_px)
    kept = settling.settle(shared, nuclei, (near[0].copy(), near[1]), guide, limits)
    assert set(np.unique(kept[kept != image_])) <= {0}
    for label in (1, 2):
        away = np.full(image_.shape, np.inf, np.float32)
        if (nuclei == label).any():
            away = ndimage.distance_transform_edt(nuclei != label)
        assert not ((kept == label) & (away > 1.02 * limit_px)).any()
        own = (image_ == label) & (near[1] == label) & (near[0] <= limit_px)
        assert np.array_equal(kept[own], image_[own])


def test_without_a_guide_pixels_go_to_the_nearest_and_so_does_what_is_left_over_close_by():
    nuclei = np.array([[1, 0, 0, 0, 0, 2]], np.int32)
    shared = np.array([[1, 0, 1, 0, 1, 2]], np.int32), np.arange(3, dtype=np.int32)
    guide = np.array([[9, 1, 1, 1, 0, 9]], np.float32), np.array([[0, 1, 0, 0, 0, 0]], np.uint8)
    limits = np.array([0, 1, 0], np.float32), np.float32(5)
    settled = settling.settle(shared, nuclei, extent.nearest_label(nuclei), guide, limits)
    assert settled.tolist() == [[1, 1, 1, 2, 0, 2]]


@settings(max_examples=25, deadline=None)
@given(SEEDS, SIDES, SIDES, st.integers(1, 3))
def test_membrane_is_where_another_label_is_seen(seed, height, width, radius):
    cell = cv2.resize(random_labels(seed, (4, 4), 3).astype(np.uint8), (width, height), interpolation=0)
    cell = cell.astype(np.int32)
    nucleus = cell * (np.random.default_rng(seed).random(cell.shape) < 0.1)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    membrane, cytoplasm = extent.split_cells(cell, nucleus.astype(np.int32), around)
    lowest, highest = (
        change(cell.astype(np.float32), around, borderType=cv2.BORDER_REPLICATE) for change in (cv2.erode, cv2.dilate)
    )
    assert np.array_equal(membrane, np.where((lowest != highest) & (nucleus == 0), cell, 0))
    assert np.array_equal(membrane + cytoplasm, np.where(nucleus == 0, cell, 0))


def test_brown_is_counted_per_block():
    random = np.random.default_rng(3)
    dab, residual = random.random((2, 70, 50)).astype(np.float32)
    cell, tissue = random.integers(0, 2, (70, 50)).astype(np.int32), random.random((9, 6)) < 0.7
    row_of, column_of = (np.arange(66) // 8).astype(np.int32), (np.arange(44) // 8).astype(np.int32)
    lost = np.array([[10, 4, 40, 9], [0, 43, 3, 44]], np.int32)
    for boxes in (lost, lost[:0]):
        counted = sums.brown_per_block(
            (dab, residual, cell),
            ((3, 5), (2, 0), (66, 44)),
            (tissue, row_of, column_of, boxes),
            (np.float32(0.5), np.float32(0.8)),
            32,
        )
        assert counted.shape == (3, 2, 4)
        brown, bare = dab[3:69, 5:49] >= 0.5, cell[2:68, :44] == 0
        clear = tissue[np.ix_(row_of, column_of)] & (residual[3:69, 5:49] < 0.8)
        for y0, x0, y1, x1 in boxes:
            clear[y0:y1, x0:x1] = False
        for row, column in np.ndindex(3, 2):
            block = np.s_[32 * row : 32 * row + 32, 32 * column : 32 * column + 32]
            wanted = [each[block].sum() for each in (brown, brown & bare, clear, clear & brown)]
            assert counted[row, column].tolist() == wanted


# --- sums ------------------------------------------------------------------------------------------------------------
@given(SEEDS)
def test_neighbours_of_sectors_are_what_each_pixel_of_the_band_sees(seed):
    """At the border of the image, too; the last pixel of a sector that sees one counts."""
    cell, across = random_labels(seed, (9, 11), 2), np.array([(0, -2), (2, 0), (-2, 2), (0, 4)], np.int32)
    band = np.where(random_labels(seed + 1, cell.shape, 1) > 0, cell, 0).astype(np.int32)
    centres = np.array([[4.3, 4.2], [6.1, 3.4]])
    wanted = np.zeros((2, 4), np.int32)
    for y, x in np.argwhere(band > 0):
        ways = [(y + down, x + right) for down, right in across if 0 <= y + down < 9 and 0 <= x + right < 11]
        others = [cell[way] for way in ways if cell[way] not in (0, cell[y, x])]
        right, below = np.array([x, y]) - centres[band[y, x] - 1]
        sector = int(np.degrees(np.arctan2(below, right)) % 360 // 90)
        wanted[band[y, x] - 1, sector] = others[0] if others else wanted[band[y, x] - 1, sector]
    _, found = sums.sector_sums((band, cell), np.zeros(cell.shape, np.float32), centres, across, 4)
    np.testing.assert_array_equal(found, wanted)


def test_sectors_turn_from_east_to_south_and_see_the_nearest_neighbour():
    band = np.zeros((21, 21), np.int32)
    band[[18, 18, 2, 2], [18, 2, 2, 18]] = 1
    values = np.zeros((21, 21), np.float32)
    values[18, 18], values[2, 18] = 5, 7
    cell = band.copy()
    cell[18, 20], cell[0, 18], cell[2, 20] = 2, 3, 4
    across = np.array([(0, 2), (-2, 0)], np.int32)
    found, neighbour = sums.sector_sums((band, cell), values, np.array([[10.0, 10.0]]), across, 4)
    assert found[0].tolist() == [[1, 5], [1, 0], [1, 0], [1, 7]]
    assert neighbour[0].tolist() == [2, 0, 0, 4]


@settings(max_examples=50, deadline=None)
@given(st.floats(-30, 30), st.floats(-30, 30))
def test_sectors_are_right_to_a_hundredth_of_a_degree(x, y):
    angle = np.degrees(np.arctan2(y, x)) % 360
    place = angle * 32 / 360
    if np.hypot(x, y) < 1 or abs(place - round(place)) < 0.02 * 32 / 360:
        return
    band = np.ones((1, 1), np.int32)
    found, _ = sums.sector_sums(
        (band, band), np.ones((1, 1), np.float32), np.array([[-x, -y]]), np.zeros((0, 2), np.int32), 32
    )
    assert np.flatnonzero(found[0, :, 0]).tolist() == [int(place)]
