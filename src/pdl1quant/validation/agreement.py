"""How far two or more scores of the same cases agree: measures with their 95 % interval and n, and why there is none.

ICC(2,1): Shrout & Fleiss, Psychol Bull 1979; 86: 420-428, interval by McGraw & Wong, Psychol Methods 1996; 1: 30-46.
CCC: Lin, Biometrics 1989; 45: 255-268, corrected 2000; 56: 324-325. Limits of agreement: Bland & Altman, Stat Methods
Med Res 1999; 8: 135-160. Kappa: Cohen, Educ Psychol Meas 1960; 20: 37-46; Fleiss, Psychol Bull 1971; 76: 378-382.
Rank correlation and kappas have no interval in closed form that holds for few cases or for scores that are mostly 0:
theirs are percentiles of a bootstrap over cases with a fixed seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pdl1quant.errors import UsageError
from pdl1quant.stages.score import wilson_interval

if TYPE_CHECKING:
    from pdl1quant.model import Float64Array, Int64Array

MIN_CASES = 3
"""With fewer nothing is computed: two cases always lie on a line."""
_LEVEL = 0.95
_TAIL = (1 - _LEVEL) / 2
_LIMIT_SDS = 1.96
"""Limits of agreement lie so many standard deviations from the mean difference (Bland & Altman)."""
_SEED = 28_8
_SAMPLES = 2000
_MAX_UNDEFINED = 0.05
"""Share of the bootstrap's samples that may have no value before its percentiles stand for something else."""
_MIN_FREEDOM = 0.01
"""With fewer degrees of freedom, which only an ICC below 0 can have, quantiles of F are beyond all numbers."""
_LEAST_HALF = 1e-6
"""Half an interval of Fisher's z no wider than that is the root of what rounding leaves of 0."""
_DRAWN_AT_ONCE = 2_000_000
"""Scores of a bootstrap that are held in memory at a time."""

_FEW = f"fewer than {MIN_CASES} cases"
_CONSTANT = "every case has the same score"
_NO_SPREAD = "no case differs, so there is nothing to take an interval from"
_ALWAYS_THE_SAME = "every sample of the cases has this value, so there is nothing to take an interval from"
_ONE_PUTS_ALL = "one of the two puts all cases on one side, so every sample of them has this value"
_ONE_SIDED = "too few cases on one side for an interval"
_NO_SCATTER = "all cases lie on one line, so there is no scatter to take an interval from"
_MOSTLY_TIED = "too few different scores for an interval"
_LEAST_SPREAD = 1e-9
"""Differences and intervals no wider than that are rounding, not scatter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One measure of ``n`` cases with the ends of its 95 % interval; ``why`` tells what is None."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Differences of two scores: their mean, and the limits between which 95 % of them are expected to lie."""

    mean: Estimate
    lower: Estimate
    upper: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossTable:
    """Cases by two scores, each at or above a cut-off or below it."""

    both: int
    first_only: int
    second_only: int
    neither: int

    @property
    def n(self) -> int:
        """All cases."""
        return self.both + self.first_only + self.second_only + self.neither


def absolute_icc(scores: Float64Array) -> Estimate:
    """ICC(2,1): absolute agreement of single scores, cases and readers both a random sample of others.

    Parameters
    ----------
    scores
        (n, k) scores of n cases by k readers, without gaps.

    Raises
    ------
    UsageError
        Fewer than two readers, or a score that is no number.
    """
    if scores.ndim != 2 or scores.shape[1] < 2 or not np.isfinite(scores).all():
        raise UsageError(f"absolute_icc: got scores of shape {scores.shape}; give (cases, readers >= 2) without gaps")
    n, k = scores.shape
    if n < MIN_CASES:
        return Estimate(value=None, n=n, why=_FEW)
    if (np.ptp(scores, axis=0) == 0).all():
        return Estimate(value=None, n=n, why=_CONSTANT)
    if (np.ptp(scores, axis=1) == 0).all():
        return Estimate(value=1.0, n=n, why=_NO_SPREAD)
    means, centred = scores.mean(axis=1, keepdims=True), scores.mean(axis=0) - scores.mean()
    between_cases = k * float(means.var(ddof=1))
    between_readers = n * float((centred**2).sum()) / (k - 1)
    error = float(((scores - means - centred) ** 2).sum()) / ((n - 1) * (k - 1))
    total = between_cases + (k - 1) * error + k * (between_readers - error) / n
    if total <= 0:
        return Estimate(value=None, n=n, why="the error is larger than all spread between cases")
    icc = (between_cases - error) / total
    return _with_mcgraw_wong(icc, (between_cases, between_readers, error), n=n, k=k)


def concordance(first: Float64Array, second: Float64Array) -> Estimate:
    """Lin's concordance correlation coefficient of two scores (n,), its interval by Fisher's z."""
    n = _paired(first, second)
    if n < MIN_CASES or not (np.ptp(first) and np.ptp(second)):
        return Estimate(value=None, n=n, why=_FEW if n < MIN_CASES else _one_constant(first, second))
    sd_1, sd_2 = float(first.std()), float(second.std())
    covariance = float(((first - first.mean()) * (second - second.mean())).mean())
    shift = float(first.mean() - second.mean())
    value = 2 * covariance / (sd_1**2 + sd_2**2 + shift**2)
    r = covariance / (sd_1 * sd_2)
    if (first == second).all():
        return Estimate(value=1.0, n=n, why=_NO_SPREAD)
    u2 = shift**2 / (sd_1 * sd_2)
    if abs(r) < 1e-9:
        return Estimate(value=value, n=n, why="its interval is not defined without any correlation")
    if abs(value) > 1 - 1e-12:
        return Estimate(value=value, n=n, why=_NO_SCATTER)
    variance = (1 - r**2) * value**2 * (1 - value**2) / r**2
    variance += 2 * value**3 * (1 - value) * u2 / r - 0.5 * value**4 * u2**2 / r**2
    half = _z() * math.sqrt(max(0.0, variance) / (n - 2)) / (1 - value**2)
    if half < _LEAST_HALF:
        return Estimate(value=value, n=n, why=_NO_SCATTER)
    return Estimate(value=value, low=math.tanh(math.atanh(value) - half), high=math.tanh(math.atanh(value) + half), n=n)


def limits_of_agreement(first: Float64Array, second: Float64Array) -> Limits:
    """Mean of ``first - second`` (n,) and the 95 % limits of agreement, in the unit of the scores."""
    n = _paired(first, second)
    if n < MIN_CASES:
        nothing = Estimate(value=None, n=n, why=_FEW)
        return Limits(mean=nothing, lower=nothing, upper=nothing)
    differences = first - second
    mean, sd = float(differences.mean()), float(differences.std(ddof=1))
    if np.ptp(differences) < _LEAST_SPREAD:
        same = Estimate(value=mean, n=n, why="all differences are the same")
        return Limits(mean=same, lower=same, upper=same)
    t = float(stats.t.ppf(1 - _TAIL, n - 1))
    of_mean = t * sd / math.sqrt(n)
    of_limit = t * sd * math.sqrt(1 / n + _LIMIT_SDS**2 / (2 * (n - 1)))

    def around(value: float, half: float) -> Estimate:
        return Estimate(value=value, low=value - half, high=value + half, n=n)

    return Limits(
        mean=around(mean, of_mean),
        lower=around(mean - _LIMIT_SDS * sd, of_limit),
        upper=around(mean + _LIMIT_SDS * sd, of_limit),
    )


def rank_correlation(first: Float64Array, second: Float64Array) -> Estimate:
    """Spearman's correlation of two scores (n,), ties with their mean rank."""
    n = _paired(first, second)
    if n < MIN_CASES or not (np.ptp(first) and np.ptp(second)):
        return Estimate(value=None, n=n, why=_FEW if n < MIN_CASES else _one_constant(first, second))
    pairs = np.array(sorted(zip(first.tolist(), second.tolist(), strict=True)))  # no matter in which order they come
    value = float(_rank_correlations(np.ones((1, n), np.int64), pairs)[0])
    rng = np.random.default_rng(_SEED)
    step = max(1, _DRAWN_AT_ONCE // n)
    drawn = []
    for start in range(0, _SAMPLES, step):
        cases = rng.integers(0, n, (min(step, _SAMPLES - start), n))
        cases += n * np.arange(len(cases))[:, None]
        times = np.bincount(cases.ravel(), minlength=cases.size).reshape(cases.shape)
        drawn.append(_rank_correlations(times, pairs))
    return _with_percentiles(value, np.concatenate(drawn), n=n, same=_ALWAYS_THE_SAME, sparse=_MOSTLY_TIED)


def cross_table(first: Float64Array, second: Float64Array, cut_off: float) -> CrossTable:
    """Cases by two scores (n,), each at or above the cut-off or below it; nothing is rounded."""
    _paired(first, second)
    high_1, high_2 = first >= cut_off, second >= cut_off
    return CrossTable(
        both=int((high_1 & high_2).sum()),
        first_only=int((high_1 & ~high_2).sum()),
        second_only=int((~high_1 & high_2).sum()),
        neither=int((~high_1 & ~high_2).sum()),
    )


def overall_agreement(table: CrossTable) -> Estimate:
    """Per cent of the cases that both put on the same side of the cut-off, with Wilson's interval."""
    return _share(table.both + table.neither, table.n, why="no case")


def positive_agreement(table: CrossTable) -> Estimate:
    """Per cent of the cases at or above the cut-off by the second score that the first puts there."""
    return _share(table.both, table.both + table.second_only, why="no case at or above the cut-off by the second")


def negative_agreement(table: CrossTable) -> Estimate:
    """Per cent of the cases below the cut-off by the second score that the first puts there."""
    return _share(table.neither, table.neither + table.first_only, why="no case below the cut-off by the second")


def cohen_kappa(table: CrossTable) -> Estimate:
    """Agreement on the side of a cut-off beyond chance; None where both put all cases on one side."""
    if table.n < MIN_CASES:
        return Estimate(value=None, n=table.n, why=_FEW)
    counts = np.array([[table.both, table.first_only, table.second_only, table.neither]], np.float64)
    value = float(_cohen_kappas(counts)[0])
    if math.isnan(value):
        return Estimate(value=None, n=table.n, why="both put all cases on the same side of the cut-off")
    drawn = np.random.default_rng(_SEED).multinomial(table.n, counts[0] / table.n, size=_SAMPLES)
    same = _NO_SPREAD if table.first_only == table.second_only == 0 else _ONE_PUTS_ALL
    return _with_percentiles(value, _cohen_kappas(drawn.astype(np.float64)), n=table.n, same=same, sparse=_ONE_SIDED)


def fleiss_kappa(counts: Int64Array) -> Estimate:
    """Fleiss' kappa of many readers.

    Parameters
    ----------
    counts
        (n, categories): how many readers put each case into each category; as many readers for every case.

    Raises
    ------
    UsageError
        Fewer than two readers, or not as many for each case.
    """
    n = len(counts)
    readers = counts.sum(axis=1)
    if n and (readers[0] < 2 or np.ptp(readers)):
        raise UsageError("fleiss_kappa: give counts of the same number of readers, two or more, for every case")
    if n < MIN_CASES:
        return Estimate(value=None, n=n, why=_FEW)
    patterns, times = np.unique(counts, axis=0, return_counts=True)
    value = float(_fleiss_kappas(times[None], patterns)[0])
    if math.isnan(value):
        return Estimate(value=None, n=n, why="all readers put all cases into one category")
    drawn = np.random.default_rng(_SEED).multinomial(n, times / n, size=_SAMPLES)
    same = _NO_SPREAD if (patterns.max(axis=1) == readers[0]).all() else _ALWAYS_THE_SAME
    return _with_percentiles(value, _fleiss_kappas(drawn, patterns), n=n, same=same, sparse=_ONE_SIDED)


def _with_mcgraw_wong(icc: float, mean_squares: tuple[float, float, float], *, n: int, k: int) -> Estimate:
    """The ICC(2,1) with its interval; ``mean_squares`` are those of cases, of readers and of the error."""
    between_cases, between_readers, error = mean_squares
    # Degrees of freedom of the error and the readers' bias together, by Satterthwaite.
    a = k * icc / (n * (1 - icc))
    b = 1 + k * icc * (n - 1) / (n * (1 - icc))
    mixed = a * between_readers + b * error
    spread = (a * between_readers) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    freedom = mixed**2 / spread if spread > 0 else 0.0
    if freedom < _MIN_FREEDOM:
        return Estimate(value=icc, n=n, why="readers differ more than cases do: no interval")
    rest = k * between_readers + (k * n - k - n) * error
    below, above = (float(stats.f.ppf(1 - _TAIL, *each)) for each in ((n - 1, freedom), (freedom, n - 1)))
    low = n * (between_cases - below * error) / (below * rest + n * between_cases)
    high = n * (above * between_cases - error) / (rest + n * above * between_cases)
    low, high = min(low, icc), min(1.0, max(high, icc))
    if high - low < _LEAST_SPREAD:
        return Estimate(value=icc, n=n, why="all cases have the same mean: no interval")
    return Estimate(value=icc, low=low, high=high, n=n)


def _paired(first: Float64Array, second: Float64Array) -> int:
    if first.shape != second.shape or first.ndim != 1 or not np.isfinite(first + second).all():
        raise UsageError(f"scores of shapes {first.shape} and {second.shape}: give two of one length, without gaps")
    return len(first)


def _one_constant(first: Float64Array, second: Float64Array) -> str:
    if not (np.ptp(first) or np.ptp(second)):
        return _CONSTANT
    return "one of the two gives every case the same score"


def _z() -> float:
    return float(stats.norm.ppf(1 - _TAIL))


def _share(k: int, n: int, *, why: str) -> Estimate:
    if not n:
        return Estimate(value=None, n=0, why=why)
    low, high = wilson_interval(k, n, level=_LEVEL)
    return Estimate(value=100 * k / n, low=low, high=high, n=n)


def _with_percentiles(value: float, drawn: Float64Array, *, n: int, same: str, sparse: str) -> Estimate:
    """The estimate with the percentiles of a bootstrap, in which samples without a value are nan.

    ``same`` is the reason for no interval where all samples have one value, ``sparse`` where too many have none.
    """
    defined = drawn[~np.isnan(drawn)]
    if defined.size < (1 - _MAX_UNDEFINED) * drawn.size:
        return Estimate(value=value, n=n, why=sparse)
    low, high = (float(each) for each in np.percentile(defined, [100 * _TAIL, 100 * (1 - _TAIL)]))
    if high - low < 1e-12:
        return Estimate(value=value, n=n, why=same)
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=n)


def _rank_correlations(times: Int64Array, pairs: Float64Array) -> Float64Array:
    """How often each of ``pairs`` (n, 2) is drawn (samples, n) -> (samples,): nan where a sample is constant.

    Nothing is sorted but the pairs: the ranks of a sample follow from how often each value is in it.
    """
    x, y = (_centred_ranks(times, each) for each in pairs.T)
    spread = np.sqrt((times * x**2).sum(axis=1) * (times * y**2).sum(axis=1))
    return _ratio((times * x * y).sum(axis=1), spread, least=0.0)


def _centred_ranks(times: Int64Array, scores: Float64Array) -> Float64Array:
    """Rank of each score (n,) in samples that hold it ``times`` (samples, n), ties with their mean, less the middle."""
    order = np.argsort(scores, kind="stable")
    _, which, n_tied = np.unique(scores, return_inverse=True, return_counts=True)
    tied = np.add.reduceat(np.take(times, order, axis=1), np.cumsum(n_tied) - n_tied, axis=1)
    ranks = np.cumsum(tied, axis=1) - (tied - 1) / 2
    middle = (times.sum(axis=1, keepdims=True) + 1) / 2
    return np.asarray(np.take(ranks - middle, which, axis=1))


def _cohen_kappas(counts: Float64Array) -> Float64Array:
    """(samples, 4) cells of a `CrossTable` -> (samples,): nan where chance alone gives full agreement."""
    both, first, second, neither = (counts / counts.sum(axis=1, keepdims=True)).T
    by_chance = (both + first) * (both + second) + (second + neither) * (first + neither)
    return _beyond_chance(both + neither, by_chance)


def _fleiss_kappas(times: Int64Array, patterns: Int64Array) -> Float64Array:
    """How often each pattern (patterns, categories) is drawn (samples, patterns) -> (samples,)."""
    k = int(patterns[0].sum())
    n = times.sum(axis=1)
    agreeing = (patterns * (patterns - 1)).sum(axis=1) / (k * (k - 1))
    shares = times @ patterns / (n[:, None] * k)
    return _beyond_chance(times @ agreeing / n, (shares**2).sum(axis=1))


def _beyond_chance(observed: Float64Array, by_chance: Float64Array) -> Float64Array:
    return _ratio(observed - by_chance, 1 - by_chance, least=1e-12)


def _ratio(above: Float64Array, below: Float64Array, *, least: float) -> Float64Array:
    """Nan where ``below`` is not more than ``least``."""
    ratio: Float64Array = np.full(len(below), np.nan)
    return np.divide(above, below, out=ratio, where=below > least)
