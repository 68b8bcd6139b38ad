"""Measures of agreement: published worked examples, and what has none is None with a reason, never nan."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pdl1quant.errors import UsageError
from pdl1quant.validation.agreement import (
    CrossTable,
    _rank_correlations,
    absolute_icc,
    cohen_kappa,
    concordance,
    cross_table,
    fleiss_kappa,
    limits_of_agreement,
    negative_agreement,
    overall_agreement,
    positive_agreement,
    rank_correlation,
)

# Shrout & Fleiss 1979, table 2: four judges, six targets.
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
# Bland & Altman 1986, first measurements of peak flow (l/min) by two meters.
WRIGHT = np.array([494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427], float)
MINI = np.array([512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451], float)
# Fleiss 1971, table 1: how many of six psychiatrists gave each of 30 patients one of five diagnoses.
FLEISS = np.array(
    [
        [0, 0, 0, 6, 0], [0, 3, 0, 0, 3], [0, 1, 4, 0, 1], [0, 0, 0, 0, 6], [0, 3, 0, 3, 0], [2, 0, 4, 0, 0],
        [0, 0, 4, 0, 2], [2, 0, 3, 1, 0], [2, 0, 0, 4, 0], [0, 0, 0, 0, 6], [1, 0, 0, 5, 0], [1, 1, 0, 4, 0],
        [0, 3, 3, 0, 0], [1, 0, 0, 5, 0], [0, 2, 0, 3, 1], [0, 0, 5, 0, 1], [3, 0, 0, 1, 2], [5, 1, 0, 0, 0],
        [0, 2, 0, 4, 0], [1, 0, 2, 0, 3], [0, 0, 0, 0, 6], [0, 1, 0, 5, 0], [0, 2, 0, 1, 3], [2, 0, 0, 4, 0],
        [1, 0, 0, 4, 1], [0, 5, 0, 1, 0], [4, 0, 0, 0, 2], [0, 2, 0, 4, 0], [1, 0, 5, 0, 0], [0, 0, 0, 0, 6],
    ]
)  # fmt: skip

scores = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 49.7, 50.0, 80.0, 100.0])


def all_of(first, second):
    """Every estimate of two scores."""
    limits, table = limits_of_agreement(first, second), cross_table(first, second, 1.0)
    high = np.stack([first >= 1, second >= 1], axis=1).sum(axis=1)
    return [
        absolute_icc(np.stack([first, second], axis=1)),
        concordance(first, second),
        rank_correlation(first, second),
        *(limits.mean, limits.lower, limits.upper),
        *(measure(table) for measure in (overall_agreement, positive_agreement, negative_agreement, cohen_kappa)),
        fleiss_kappa(np.stack([high, 2 - high], axis=1)),
    ]


def test_icc_is_that_of_shrout_and_fleiss_and_its_interval_that_of_mcgraw_and_wong():
    icc = absolute_icc(SHROUT_FLEISS)
    assert icc.n == 6
    assert icc.value == pytest.approx(0.29, abs=0.005)
    assert (icc.low, icc.high) == pytest.approx((0.019, 0.761), abs=0.0005)


def test_limits_of_agreement_are_those_of_bland_and_altman():
    limits = limits_of_agreement(WRIGHT, MINI)
    assert limits.mean.value == pytest.approx(-2.1, abs=0.05)
    assert (limits.mean.low, limits.mean.high) == pytest.approx((-22.0, 17.8), abs=0.05)
    # They rounded 1.96 up to 2, and 38.8 is their standard deviation.
    assert (limits.upper.value - limits.lower.value) / (2 * 1.96) == pytest.approx(38.8, abs=0.05)
    assert limits.upper.high - limits.upper.value == pytest.approx(limits.lower.value - limits.lower.low)


def test_concordance_is_what_lin_defines():
    ccc = concordance(WRIGHT, MINI)
    by_hand = 2 * np.cov(WRIGHT, MINI, bias=True)[0, 1] / (WRIGHT.var() + MINI.var() + (WRIGHT - MINI).mean() ** 2)
    assert ccc.value == pytest.approx(by_hand)
    assert ccc.value == pytest.approx(0.943, abs=0.0005)
    assert (ccc.low, ccc.high) == pytest.approx((0.850, 0.979), abs=0.0006)


def test_fleiss_kappa_is_that_of_fleiss():
    kappa = fleiss_kappa(FLEISS)
    assert kappa.value == pytest.approx(0.430, abs=0.0005)
    assert 0.30 < kappa.low < kappa.value < kappa.high < 0.54


def test_cohen_kappa_of_a_table_worked_by_hand():
    kappa = cohen_kappa(CrossTable(both=20, first_only=5, second_only=10, neither=15))
    assert kappa.value == pytest.approx(0.4)  # observed 0.70, by chance 0.50
    assert 0.1 < kappa.low < 0.2
    assert 0.6 < kappa.high < 0.7


def test_shares_at_a_cut_off_are_of_whom_the_second_puts_there():
    table = cross_table(np.array([0.9, 1.0, 5, 0, 50, 60]), np.array([1.0, 0.5, 5, 0, 60, 70]), 1.0)
    assert table == CrossTable(both=3, first_only=1, second_only=1, neither=1)
    shares = [measure(table) for measure in (overall_agreement, positive_agreement, negative_agreement)]
    assert [(share.value, share.n) for share in shares] == [(pytest.approx(100 * 4 / 6), 6), (75.0, 4), (50.0, 2)]
    assert (shares[1].low, shares[1].high) == pytest.approx((30.06, 95.44), abs=0.01)  # Wilson, 3 of 4


def test_bias_lowers_agreement_and_leaves_correlation():
    first = np.arange(0, 60, 5.0)
    assert rank_correlation(first, first + 20).value == 1.0
    assert absolute_icc(np.stack([first, first + 20], axis=1)).value < 0.7
    assert concordance(first, first + 20).value < 0.7


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([5.0] * 12, [5.0] * 12),
        ([5.0] * 12, [7.0] * 12),
        ([5.0] * 12, list(range(12))),
        ([1.0, 2.0], [1.0, 3.0]),
        ([], []),
    ],
    ids=["all the same", "each constant", "one constant", "two cases", "none"],
)
def test_what_is_not_defined_is_none_with_a_reason(first, second):
    first, second = np.array(first, float), np.array(second, float)
    assert concordance(first, second).value is None
    assert rank_correlation(first, second).value is None
    for estimate in all_of(first, second):
        assert estimate.why or estimate.low is not None
        assert estimate.value is None or not math.isnan(estimate.value)


def test_full_agreement_is_one_and_says_why_it_has_no_interval():
    first = np.array([0.0, 1, 5, 20, 40, 60, 80, 100, 3, 7])
    for estimate in (absolute_icc(np.stack([first, first], axis=1)), concordance(first, first)):
        assert (estimate.value, estimate.low) == (1.0, None)
        assert "no case differs" in estimate.why
    kappa = cohen_kappa(cross_table(first, first, 10.0))
    assert (kappa.value, kappa.low) == (1.0, None)


def test_kappa_with_whom_nothing_is_below_the_cut_off_is_0_without_an_interval():
    kappa = cohen_kappa(CrossTable(both=22, first_only=0, second_only=4, neither=0))
    assert (kappa.value, kappa.low, kappa.high) == (0.0, None, None)
    assert "puts all cases on one side" in kappa.why


def test_kappa_with_nearly_all_cases_on_one_side_has_no_interval():
    kappa = cohen_kappa(CrossTable(both=1, first_only=0, second_only=0, neither=29))
    assert (kappa.value, kappa.low, kappa.high) == (1.0, None, None)
    assert "one side" in kappa.why


@pytest.mark.parametrize(
    ("scores", "value"),
    [
        ([[0.5, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.0]], -1.0),
        ([[0.5, 0.0], [0.0, 0.5], [0.0, 0.5], [0.5, 0.0]], -2.0),
    ],
)
def test_an_icc_below_0_may_have_no_interval(scores, value):
    icc = absolute_icc(np.array(scores))
    assert (icc.value, icc.low, icc.high) == (pytest.approx(value), None, None)
    assert "readers differ more than cases" in icc.why


@pytest.mark.parametrize(
    ("first", "second"),
    [([0.0, 10, 20, 30, 40], [10.0, 15, 20, 25, 30]), ([0.0, 10, 20], [20.0, 10, 0])],
    ids=["half the scale", "reversed"],
)
def test_scores_on_one_line_have_no_interval_of_no_width(first, second):
    first, second = np.array(first), np.array(second)
    ccc = concordance(first, second)
    assert (ccc.low, ccc.high) == (None, None)
    assert "all cases lie on one line" in ccc.why


def test_an_icc_of_cases_with_one_mean_has_no_interval_of_no_width():
    icc = absolute_icc(np.array([[0.0, 40], [10, 30], [20, 20], [30, 10], [40, 0]]))
    assert (icc.value, icc.low, icc.high) == (pytest.approx(-5 / 3), None, None)
    assert "the same mean" in icc.why


def test_differences_that_rounding_alone_tells_apart_are_the_same():
    first = np.array([0.0, 10, 20, 30])
    limits = limits_of_agreement(first + 0.1, first)
    assert limits.lower.value == limits.upper.value == pytest.approx(0.1)
    assert limits.mean.why == "all differences are the same"


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ([5.0, 6, 7, 8, 9], "every sample of the cases has this value"),
        ([9.0, 8, 7, 6, 5], "every sample of the cases has this value"),
        ([0.0, 0, 0, 0, 9], "too few different scores"),
    ],
    ids=["same order", "reversed", "tied"],
)
def test_a_rank_correlation_without_interval_gives_a_reason_of_its_own(second, why):
    estimate = rank_correlation(np.arange(5.0), np.array(second))
    assert estimate.low is None
    assert why in estimate.why


@settings(max_examples=15)
@given(st.lists(st.tuples(scores, scores, st.integers(0, 3)), min_size=2, max_size=15))
def test_rank_correlations_of_samples_are_those_of_their_cases_written_out(cases):
    *pairs, times = np.array(cases).T
    pairs, times = np.stack(pairs, axis=1), times.astype(int)
    first, second = (np.repeat(each, times) for each in pairs.T)
    (found,) = _rank_correlations(times[None], pairs)
    if times.sum() < 2 or not (np.ptp(first) and np.ptp(second)):
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)


def test_a_kappa_of_many_readers_gives_its_own_reason():
    kappa = fleiss_kappa(np.array([[2, 1]] * 12))
    assert (kappa.value, kappa.low) == (pytest.approx(-0.5), None)
    assert "every sample of the cases has this value" in kappa.why


def test_gaps_are_refused():
    with pytest.raises(UsageError, match="without gaps"):
        absolute_icc(np.array([[1.0, np.nan], [2, 3], [4, 5]]))
    with pytest.raises(UsageError, match="without gaps"):
        concordance(np.array([1.0, np.nan, 3]), np.array([1.0, 2, 3]))
    with pytest.raises(UsageError, match="same number of readers"):
        fleiss_kappa(np.array([[2, 0], [1, 0], [0, 2]]))


@settings(max_examples=15)
@given(st.lists(st.tuples(scores, scores), min_size=3, max_size=15), st.randoms(use_true_random=False))
def test_estimates_lie_in_their_intervals_and_no_order_matters(pairs, random):
    found = all_of(*np.array(pairs).T)
    for estimate in found:
        for value in (estimate.value, estimate.low, estimate.high):
            assert value is None or math.isfinite(value)
        if estimate.low is not None:
            assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9
    random.shuffle(pairs)
    for earlier, later in zip(found, all_of(*np.array(pairs).T), strict=True):
        assert (earlier.value is None, earlier.low is None) == (later.value is None, later.low is None)
        if earlier.low is not None:
            assert (later.value, later.low, later.high) == pytest.approx((earlier.value, earlier.low, earlier.high))
