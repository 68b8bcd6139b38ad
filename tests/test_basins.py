"""Basins: each pixel climbs to one summit, halves of one ellipse are joined, moments are exact."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdl1quant.basins import climb, ellipse_of, join_halves, share_out
from pdl1quant.kernels.labels import raw_moments, renumber
from scenes import disc, ellipse, labels_of


def cone(shape, centre, radius):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.maximum(radius - np.hypot(x - centre[0], y - centre[1]), 0).astype(np.float32)


def noise(seed, shape, floor=0.4):
    values = np.random.default_rng(seed).random(shape).astype(np.float32)
    return np.where(values > floor, values, 0).astype(np.float32)


# --- climb -----------------------------------------------------------------------------------------------------------
def test_two_cones_are_two_pieces_that_meet_half_way():
    landscape = np.maximum(cone((40, 60), (18, 20), 14), cone((40, 60), (40, 20), 14))
    image, n = climb(landscape, top=20.0, min_distance_px=4)
    assert n == 2
    assert image[20, 18] != image[20, 40]
    half_way = np.abs(np.mgrid[:40, :60][1] - 29) <= 1
    left = image == image[20, 18]
    assert not (left & ~half_way)[:, 30:].any()
    assert not (~left & (landscape > 0) & ~half_way)[:, :29].any()


@pytest.mark.parametrize(("apart", "expected"), [(3, 1), (10, 2)])
def test_summits_closer_than_the_least_distance_are_one(apart, expected):
    landscape = np.maximum(cone((40, 40), (15, 20), 6), 1.001 * cone((40, 40), (15 + apart, 20), 6))
    assert climb(landscape, top=20.0, min_distance_px=6)[1] == expected


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 24), st.integers(1, 24), st.integers(1, 4))
def test_every_pixel_of_the_foreground_has_a_piece(seed, height, width, distance):
    landscape = noise(seed, (height, width))
    pieces, n = climb(landscape, top=20.0, min_distance_px=distance)
    assert np.array_equal(pieces > 0, landscape > 0)
    assert np.array_equal(np.unique(pieces[pieces > 0]), np.arange(1, n + 1))


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_pieces_do_not_mix_objects(seed):
    """Two objects with an empty row between them share no piece."""
    landscape = noise(seed, (21, 15))
    landscape[10] = 0
    image, _ = climb(landscape, top=20.0, min_distance_px=3)
    above, below = np.unique(image[:10]), np.unique(image[11:])
    assert set(above) & set(below) <= {0}


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([np.flipud, np.fliplr, np.rot90]))
def test_number_of_pieces_does_not_change_under_flips_and_turns(seed, turn):
    """With all heights different there are no ties to break."""
    landscape = noise(seed, (20, 20))
    image, n = climb(landscape, top=20.0, min_distance_px=2)
    turned, n_turned = climb(np.ascontiguousarray(turn(landscape)), top=20.0, min_distance_px=2)
    pairs = np.unique(np.stack([turn(image).ravel(), turned.ravel()]), axis=1)
    assert n == n_turned
    assert pairs.shape[1] == len(np.unique(image))


def test_nearly_flat_plateau_is_one_piece():
    """A thousandth of the height from rim to rim; a wholly flat one keeps its ties."""
    slope = 1 + 1e-3 * (np.mgrid[:30, :30][1] + 0.1 * np.mgrid[:30, :30][0]) / 30
    landscape = (disc((30, 30), (15, 15), 4) * slope).astype(np.float32)
    assert climb(landscape, top=20.0, min_distance_px=20)[1] == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_thin_maps_can_be_climbed(shape, value):
    pieces, n = climb(np.full(shape, value, np.float32), top=1.0, min_distance_px=20)
    assert (n > 0) == (value > 0)
    assert pieces.shape == shape
    assert np.count_nonzero(pieces) == (shape[0] * shape[1] if value else 0)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(0, 5), st.integers(0, 5))
def test_pieces_are_the_same_in_a_window_on_the_grid_of_ties(seed, row, column):
    """A piece and a radius away from the border of the window, which cuts objects and holds not the highest place."""
    landscape = cv2.GaussianBlur(noise(seed, (96, 96)), (0, 0), 2)
    landscape[landscape < 0.4] = 0
    landscape[:3, :3] = 0.9
    y, x = 3 + 3 * row, 3 + 3 * column
    whole, _ = climb(landscape, top=1.0, min_distance_px=4)
    part, _ = climb(landscape[y:, x:], top=1.0, min_distance_px=4)
    far = np.s_[24:, 24:]
    pairs = np.unique(np.stack([whole[y:, x:][far].ravel(), part[far].ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


def test_climb_leaves_its_input():
    landscape = noise(0, (30, 30))
    before = landscape.copy()
    climb(landscape, top=20.0, min_distance_px=3)
    assert np.array_equal(landscape, before)


# --- flood -----------------------------------------------------------------------------------------------------------
def two_seeds():
    return labels_of(disc((30, 60), (10, 15), 4), disc((30, 60), (48, 15), 4))


def heights(seeds, wall=None):
    """Falls off with the distance to the nearest seed, with an optional trench at column ``wall``."""
    y, x = np.mgrid[: seeds.shape[0], : seeds.shape[1]]
    distance = np.minimum(np.hypot(x - 10, y - 15), np.hypot(x - 48, y - 15))
    landscape = (100 - distance).astype(np.float32)
    if wall is not None:
        landscape -= np.where(np.abs(x - wall) <= 1, 10, 0).astype(np.float32)
    landscape[seeds > 0] = 100
    return landscape


def shared_out(landscape, seeds, *, max_barrier):
    """The seed (H, W) of each pixel."""
    return renumber(*share_out(landscape, seeds, top=100.0, max_barrier=max_barrier))


def test_each_seed_is_given_its_half():
    seeds = two_seeds()
    shared = shared_out(heights(seeds), seeds, max_barrier=1.0)
    assert set(np.unique(shared)) == {1, 2}
    assert (shared[:, :28] == 1).all()
    assert (shared[:, 31:] == 2).all()


def test_seeds_keep_their_labels():
    seeds = two_seeds()
    shared = shared_out(heights(seeds), seeds, max_barrier=1.0)
    assert np.array_equal(shared[seeds > 0], seeds[seeds > 0])


def test_sharing_out_stops_at_a_trench():
    seeds = two_seeds()
    shared = shared_out(heights(seeds, wall=20), seeds, max_barrier=1.0)
    assert (shared[15, 15:19] == 1).all()
    assert not (shared[:, 23:] == 1).any()


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_sharing_out_gives_no_other_labels_and_stays_in_its_domain(seed):
    landscape = noise(seed, (24, 24))
    seeds = np.zeros((24, 24), np.int32)
    seeds[4:6, 4:6], seeds[15:18, 15:18] = 1, 2
    landscape[seeds > 0] = 5
    shared = shared_out(landscape, seeds, max_barrier=0.3)
    assert set(np.unique(shared)) <= {0, 1, 2}
    assert not shared[landscape == 0].any()
    assert np.array_equal(shared[seeds > 0], seeds[seeds > 0])


# --- halves and moments ----------------------------------------------------------------------------------------------
def joined(mask, cut, *, landscape=None, max_area_px=1e9):
    """How many objects remain of a mask cut in two."""
    pieces = np.where(mask, np.where(cut, 1, 2), 0).astype(np.int32)
    height = mask.astype(np.float32) if landscape is None else landscape
    group, area = join_halves(pieces, height, 2, max_area_px=max_area_px)
    assert group[0] == 0
    assert area[1:].sum() == mask.sum()
    return len(np.unique(group[1:]))


def test_halves_of_an_ellipse_are_joined():
    mask = ellipse((60, 60), (30, 30), (20, 12))
    assert joined(mask, np.mgrid[:60, :60][1] < 30) == 1


def test_touching_discs_are_not_joined():
    left, right = disc((40, 60), (18, 20), 11), disc((40, 60), (40, 20), 11)
    assert joined(left | right, left) == 2


def test_halves_with_a_deep_saddle_are_not_joined():
    mask = ellipse((60, 60), (30, 30), (20, 12))
    x = np.mgrid[:60, :60][1]
    landscape = np.where(np.abs(x - 29.5) <= 2, 0.3, 1.0).astype(np.float32) * mask
    assert joined(mask, x < 30, landscape=landscape) == 2


def test_halves_that_would_be_too_large_are_not_joined():
    mask = ellipse((60, 60), (30, 30), (20, 12))
    assert joined(mask, np.mgrid[:60, :60][1] < 30, max_area_px=mask.sum() - 1) == 2


@settings(max_examples=20)
@given(st.floats(6, 14), st.floats(3, 6), st.floats(0, 180))
def test_ellipse_is_measured_by_its_moments(length, width, angle):
    """A filled ellipse: centre and half-axes to within half a pixel and its own area to within 5 %."""
    mask = ellipse((48, 48), (23.3, 24.6), (length, width), angle_deg=angle)
    shape = ellipse_of(raw_moments(mask.astype(np.int32), 1)[1:])
    assert shape.area[0] == mask.sum()
    assert abs(shape.x[0] - 23.3) < 0.5
    assert abs(shape.y[0] - 24.6) < 0.5
    assert abs(shape.length[0] - 2 * length) < 1.0
    assert abs(shape.width[0] - 2 * width) < 1.0
    assert shape.regularity[0] == pytest.approx(1, abs=0.05)


def test_ragged_objects_are_less_regular():
    ring = disc((40, 40), (20, 20), 15) & ~disc((40, 40), (20, 20), 11)
    assert ellipse_of(raw_moments(ring.astype(np.int32), 1)[1:]).regularity[0] < 0.6


def test_moments_agree_with_sums_by_label():
    labels = np.random.default_rng(0).integers(0, 4, (13, 17)).astype(np.int32)
    moments = raw_moments(labels, 3)
    for label in (1, 2, 3):
        y, x = np.nonzero(labels == label)
        expected = [len(x), x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]
        assert np.allclose(moments[label], expected)


def test_an_ellipse_is_the_same_wherever_it_lies():
    mask = ellipse((48, 48), (23.3, 24.6), (11, 5), angle_deg=31).astype(np.int32)
    near, far = (ellipse_of(raw_moments(np.pad(mask, ((pad, 0), (pad, 0))), 1)[1:]) for pad in (0, 1777))
    for name in ("area", "length", "width", "regularity"):
        assert getattr(near, name) == getattr(far, name), name


def test_object_without_pixels_has_finite_moments():
    shape = ellipse_of(np.zeros((2, 6)))
    assert shape.area.tolist() == [0, 0]
    assert np.isfinite([shape.x, shape.length, shape.width, shape.regularity]).all()
