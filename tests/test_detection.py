"""The measures of detection against brute force and against their own definitions."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pdl1quant.validation.detection import (
    Matches,
    aggregated_jaccard,
    f1_score,
    match_labels,
    match_points,
    precision,
    recall,
)

# Whole coordinates on a small grid: many ties, duplicates and distances exactly at the tolerance.
POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=6).map(
    lambda rows: np.array(rows, dtype=float).reshape(-1, 2)
)
TOLERANCE = st.sampled_from([0.0, 1.0, 1.5, 2.0, 5.0, 20.0])
LABELS = arrays(np.int32, (5, 6), elements=st.integers(0, 4))


def brute_force_matching(allowed, distance):
    """(pairs, total distance) of the best one-to-one matching, by trying them all."""
    best = (0, 0.0)
    n_truth, n_found = distance.shape
    for size in range(1, min(n_truth, n_found) + 1):
        for rows in itertools.combinations(range(n_truth), size):
            for columns in itertools.permutations(range(n_found), size):
                if allowed[list(rows), list(columns)].all():
                    total = float(distance[list(rows), list(columns)].sum())
                    if size > best[0] or total < best[1]:
                        best = (size, total)
    return best


def brute_force_iou(truth, found):
    names = [[label for label in np.unique(labels) if label] for labels in (truth, found)]
    share = np.zeros((len(names[0]), len(names[1])))
    for (i, a), (j, b) in itertools.product(enumerate(names[0]), enumerate(names[1])):
        share[i, j] = np.sum((truth == a) & (found == b)) / np.sum((truth == a) | (found == b))
    return *names, share


def brute_force_aji(truth, found):
    """Kumar's algorithm 1, line by line."""
    truths, founds, share = brute_force_iou(truth, found)
    numerator = denominator = 0
    used = set()
    for i, a in enumerate(truths):
        if not founds or share[i].max() == 0:
            denominator += np.sum(truth == a)
            continue
        j = int(np.argmax(share[i]))
        numerator += np.sum((truth == a) & (found == founds[j]))
        denominator += np.sum((truth == a) | (found == founds[j]))
        used.add(j)
    denominator += sum(np.sum(found == b) for j, b in enumerate(founds) if j not in used)
    return numerator / denominator if denominator else None


def assert_one_to_one(matches):
    assert len(set(matches.truth.tolist())) == len(matches.truth) == matches.n_matched
    assert len(set(matches.found.tolist())) == len(matches.found) == len(matches.distance)
    assert (np.diff(matches.truth) > 0).all()


@settings(deadline=None)
@given(truth=POINTS, found=POINTS.filter(lambda points: len(points) <= 5), tolerance=TOLERANCE)
def test_points_get_the_most_pairs_and_then_the_least_distance(truth, found, tolerance):
    matches = match_points(truth, found, max_distance=tolerance)
    distance = np.linalg.norm(truth[:, None] - found[None], axis=2)
    assert_one_to_one(matches)
    np.testing.assert_allclose(matches.distance, distance[matches.truth, matches.found])
    assert (matches.distance <= tolerance).all()
    n_best, least = brute_force_matching(distance <= tolerance, distance)
    assert matches.n_matched == n_best
    assert matches.distance.sum() == pytest.approx(least)


@settings(deadline=None)
@given(points=POINTS, tolerance=TOLERANCE)
def test_points_match_themselves_at_no_distance(points, tolerance):
    matches = match_points(points, points, max_distance=tolerance)
    assert matches.n_matched == len(points)
    assert matches.distance.sum() == 0.0
    assert f1_score(matches) == (1.0 if len(points) else None)


@settings(deadline=None)
@given(truth=POINTS, found=POINTS, tolerance=TOLERANCE)
def test_swapping_the_sides_swaps_precision_and_recall(truth, found, tolerance):
    there = match_points(truth, found, max_distance=tolerance)
    back = match_points(found, truth, max_distance=tolerance)
    assert (precision(there), recall(there)) == (recall(back), precision(back))
    assert f1_score(there) == f1_score(back)


def test_a_greedy_choice_does_not_cost_a_pair():
    truth = np.array([[0.0, 0.0], [2.0, 0.0]])
    found = np.array([[1.1, 0.0], [-1.5, 0.0]])  # the nearest pair is (1, 0), but 0 has another partner
    matches = match_points(truth, found, max_distance=2.0)
    assert matches.found.tolist() == [1, 0]
    # nearest first would leave one out
    chain = np.arange(5)[:, None] * [1.0, 0.0]
    assert match_points(chain, chain + np.array([0.9, 0.0]), max_distance=1.0).n_matched == 5


def test_ten_thousand_points_are_matched_without_a_matrix_of_all_pairs():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0, 1000, (10_000, 2))
    found = truth + rng.normal(0, 2, truth.shape)
    tracemalloc.start()
    matches = match_points(truth, found, max_distance=6.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6  # the matrix would hold 800 MB
    assert matches.n_matched > 9_800


def test_undefined_measures_are_none():
    nothing = np.empty((0, 2))
    some = np.array([[1.0, 2.0]])
    neither = match_points(nothing, nothing, max_distance=1.0)
    assert (precision(neither), recall(neither), f1_score(neither)) == (None, None, None)
    missed = match_points(some, nothing, max_distance=1.0)
    assert (precision(missed), recall(missed), f1_score(missed)) == (None, 0.0, 0.0)
    invented = match_points(nothing, some, max_distance=1.0)
    assert (precision(invented), recall(invented), f1_score(invented)) == (0.0, None, 0.0)


@pytest.mark.parametrize(
    ("points", "tolerance", "message"),
    [
        (np.zeros((2, 3)), 1.0, "shape"),
        (np.zeros(4), 1.0, "shape"),
        (np.array([[np.nan, 0.0]]), 1.0, "finite"),
        (np.zeros((2, 2)), -1.0, "max_distance"),
        (np.zeros((2, 2)), np.inf, "max_distance"),
    ],
)
def test_wrong_points_are_refused(points, tolerance, message):
    with pytest.raises(ValueError, match=message):
        match_points(points, np.zeros((1, 2)), max_distance=tolerance)


@settings(deadline=None)
@given(truth=LABELS, found=LABELS, iou=st.sampled_from([0.2, 0.5, 0.75, 1.0]))
def test_labels_are_matched_as_brute_force_does(truth, found, iou):
    truths, founds, share = brute_force_iou(truth, found)
    matches = match_labels(truth, found, iou=iou)
    assert_one_to_one(matches)
    assert (matches.n_truth, matches.n_found) == (len(truths), len(founds))
    got = [share[truths.index(a), founds.index(b)] for a, b in zip(matches.truth, matches.found, strict=True)]
    np.testing.assert_allclose(1 - matches.distance, got)
    n_best, least = brute_force_matching(share >= iou, 1 - share)
    assert matches.n_matched == n_best
    assert matches.distance.sum() == pytest.approx(least)


@settings(deadline=None)
@given(truth=LABELS, found=LABELS)
def test_aggregated_jaccard_follows_the_paper(truth, found):
    assert aggregated_jaccard(truth, found) == pytest.approx(brute_force_aji(truth, found))


@settings(deadline=None)
@given(truth=LABELS, found=LABELS, seed=st.integers(0, 100))
def test_renaming_labels_changes_no_label_match(truth, found, seed):
    renamed = np.concatenate([[0], np.random.default_rng(seed).permutation(np.arange(10, 14))])[found].astype(np.uint16)
    assert match_labels(truth, renamed).n_matched == match_labels(truth, found).n_matched


@settings(deadline=None)
@given(labels=LABELS)
def test_labels_agree_with_themselves_entirely(labels):
    expected = 1.0 if labels.any() else None
    assert f1_score(match_labels(labels, labels)) == expected
    assert aggregated_jaccard(labels, labels) == expected


def test_half_an_object_twice_counts_once():
    truth = np.array([[1, 1, 1, 1]])
    found = np.array([[1, 1, 2, 2]])
    assert match_labels(truth, found).n_matched == 1
    assert aggregated_jaccard(truth, found) == pytest.approx(2 / 6)


def test_images_without_pixels_or_objects_are_normal():
    for empty in (np.zeros((0, 0), np.int32), np.zeros((3, 4), np.int32)):
        assert match_labels(empty, empty).n_matched == 0
        assert aggregated_jaccard(empty, empty) is None
    one = np.ones((3, 4), np.int32)
    assert aggregated_jaccard(one, np.zeros_like(one)) == 0.0
    assert aggregated_jaccard(np.zeros_like(one), one) == 0.0


def test_unsigned_and_signed_labels_mix_and_stay_unchanged():
    truth = np.array([[0, 65535, 65535]], dtype=np.uint16)
    found = np.array([[0, 70000, 70000]], dtype=np.uint64)
    matches = match_labels(truth, found)
    assert isinstance(matches, Matches)
    assert (matches.truth.tolist(), matches.found.tolist()) == ([65535], [70000])
    assert truth.tolist() == [[0, 65535, 65535]]


@pytest.mark.parametrize(
    ("truth", "found", "iou", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), 0.5, "resample"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), 0.5, "pass integers"),
        (np.full((2, 2), -1), np.zeros((2, 2), int), 0.5, "negative"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), 0.0, "iou"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), 1.5, "iou"),
    ],
)
def test_wrong_labels_are_refused(truth, found, iou, message):
    with pytest.raises(ValueError, match=message):
        match_labels(truth, found, iou=iou)
