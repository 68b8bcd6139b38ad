"""How far a TPS or a CPS can be trusted: the envelope of several intervals, from the counts of blocks of tissue.

Wilson, J Am Stat Assoc 1927; 22: 209-212 for a share of independent cells; a bootstrap of the ratio of sums over
blocks (Davison & Hinkley, Bootstrap Methods and their Application, 1997) because neighbours resemble each other;
Wilson's on as many cells as would be as uncertain if they were independent (Korn & Graubard, Survey Methodology 1998;
24: 193-201), because a bootstrap of few blocks is too narrow; `stages.score.likeness`, because few blocks, or few
positive ones, do not tell how alike neighbours are; and the scores at the threshold t1 plus and minus a margin, because
t1 is a working value.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pdl1quant.errors import UsageError
from pdl1quant.stages.score.likeness import alike_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.config import ScoreConfig
    from pdl1quant.model import Compartment, Counts, Float64Array

_LEVEL = 0.95
_SEED = 28_8
_DRAWN_AT_ONCE = 4_000_000
"""Entries of the bootstrap's weights held in memory at a time (32 MB)."""
_TELLING_BLOCKS = 1.5
"""From so many blocks of one size on it can be seen how much they differ: one with its cut neighbours is no two."""
_MIN_FREEDOM = 2.0
"""Student's quantile of two blocks (12.7) would make every interval 0 to 100: that of three stands in for it."""
_LEAST_OTHERS = 1e-6
"""Per cent of tumour cells among them and immune positives: a bound that is rounded to 100 leaves none."""

Interval: TypeAlias = tuple[float, float]


def wilson_interval(k: float, n: float, *, level: float = _LEVEL) -> Interval:
    """Wilson's interval of a share, without continuity correction, in per cent.

    Parameters
    ----------
    k, n
        Cells that have the property, of all cells; fractions are allowed (effective numbers).
    level
        Confidence, above 0 and below 1.

    Returns
    -------
    tuple of float
        Lower and upper bound, 0-100, with 100 k / n between them; (0, 100) when ``n`` is 0.

    Raises
    ------
    UsageError
        ``k`` not between 0 and ``n``, or a level that is none.
    """
    if not 0 <= k <= n:
        raise UsageError(f"wilson_interval: k = {k} of n = {n}; k has to lie between 0 and n")
    if not 0 < level < 1:
        raise UsageError(f"wilson_interval: level = {level}; give a share such as 0.95")
    return _wilson(k, n, level)


def _wilson(k: float, n: float, level: float = _LEVEL) -> Interval:
    if n == 0:
        return 0.0, 100.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = k / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    # At 0 and n the bounds are exactly 0 and 100; rounding must not push one past the estimate.
    low = 0.0 if k == 0 else min(max(100 * (centre - half), 0.0), 100 * share)
    high = 100.0 if k == n else max(min(100 * (centre + half), 100.0), 100 * share)
    return low, high


def has_few_blocks(blocks: Sequence[Counts], config: ScoreConfig) -> bool:
    """Whether too few blocks hold tumour for the bootstrap to mean anything, counted by `_even_blocks`."""
    return _even_blocks([block.n_tumour for block in blocks]) < config.min_blocks


def _even_blocks(cells: Sequence[int]) -> float:
    """How many blocks of one size would tell as much as those of so many cells (Kish 1965); 0 without cells.

    The border of an image cuts blocks: a field of 512 um is one of 500 um and three slivers, not four.
    """
    return sum(cells) ** 2 / max(sum(n**2 for n in cells), 1)


def tps_interval(blocks: Sequence[Counts], total: Counts, compartment: Compartment, config: ScoreConfig) -> Interval:
    """Interval of the TPS in per cent; ``total`` is the sum of ``blocks`` and holds tumour cells."""
    k, n = getattr(total.positive, compartment), total.n_tumour
    pairs = [(getattr(b.positive, compartment), b.n_tumour) for b in blocks]
    found = [_wilson(k, n), *_at_margins(total, compartment, immune=False)]
    effect = _design_effect(pairs, independent=k / n * (1 - k / n) / n)
    if has_few_blocks(blocks, config):
        effect = max(effect, config.design_effect)
    else:
        found.append(_bootstrap(pairs, config))
    found += [_wilson(k / effect, n / effect), _alike(pairs, config)]
    return _envelope(found, cap=100.0)


def cps_interval(blocks: Sequence[Counts], total: Counts, compartment: Compartment, config: ScoreConfig) -> Interval:
    """Interval of the CPS, capped at 100; ``total`` is the sum of ``blocks`` and holds tumour cells.

    The CPS is no share of anything, so Wilson's interval does not hold for it. In its place stand the bounds of its two
    parts: the TPS, and the odds i / n of an immune positive among immune positive plus tumour cells, whose share
    i / (i + n) is Wilson's to bound. Of independent cells the parts err independently, and their distances to the
    bounds add as squares (Zou & Donner, Stat Med 2008; 27: 1693-1702); how the parts go together from block to block is
    in the design effect. Where the likeness is not known, nor is that: those bounds add as if both always erred alike.
    """
    k, n, immune = getattr(total.positive, compartment), total.n_tumour, total.positive.immune
    pairs = [(getattr(b.positive, compartment) + b.positive.immune, b.n_tumour) for b in blocks]
    found = [_sum_of_parts(k, n, immune), *_at_margins(total, compartment, immune=True)]
    effect = _design_effect(pairs, independent=(k / n * (1 - k / n) + immune / n * (1 + immune / n)) / n)
    if has_few_blocks(blocks, config):
        effect = max(effect, config.design_effect)
    else:
        found.append(_bootstrap(pairs, config))
    found.append(_sum_of_parts(*(each / effect for each in (k, n, immune))))
    tumour = _alike([(getattr(b.positive, compartment), b.n_tumour) for b in blocks], config)
    beside = _as_odds(_alike([(b.positive.immune, b.positive.immune + b.n_tumour) for b in blocks], config))
    found.append((tumour[0] + beside[0], tumour[1] + beside[1]))
    return _envelope(found, cap=100.0)


def _design_effect(pairs: Sequence[tuple[int, int]], *, independent: float) -> float:
    """By how much blocks that differ shrink the number of cells, at least 1; 1 where they cannot tell.

    The variance of the ratio of sums of ``pairs`` (numerator, tumour cells) over that of ``independent`` cells, times
    the square of Student's quantile over the normal one, as few blocks know that variance badly.
    """
    held = sorted(pair for pair in pairs if any(pair))  # the order in which blocks come must not change the numbers
    even = _even_blocks([n for _, n in held])
    if independent <= 0 or len(held) < 2 or even < _TELLING_BLOCKS:
        return 1.0
    from scipy.special import stdtrit  # noqa: PLC0415  slow to import

    numerator, cells = np.array(held, dtype=np.float64).T
    off = numerator - numerator.sum() / cells.sum() * cells
    variance = len(held) / (len(held) - 1) * float((off**2).sum()) / cells.sum() ** 2
    quantile = 0.5 * (1 + _LEVEL)
    student = float(stdtrit(max(even - 1, _MIN_FREEDOM), quantile)) / NormalDist().inv_cdf(quantile)
    return float(max(variance / independent * student**2, 1.0))


def _at_margins(total: Counts, compartment: Compartment, *, immune: bool) -> list[Interval]:
    """The score at t1 and at both margins, each as an interval of no width."""
    at = (total.positive, total.positive_strict, total.positive_lenient)
    scores = [100 * (getattr(p, compartment) + (p.immune if immune else 0)) / total.n_tumour for p in at]
    return [(each, each) for each in scores]


def _sum_of_parts(k: float, n: float, immune: float) -> Interval:
    """Bounds of the CPS from Wilson's of its parts, which err independently."""
    parts = (100 * k / n, 100 * immune / n)
    bounds = (_wilson(k, n), _as_odds(_wilson(immune, immune + n)))
    below = math.hypot(*(part - low for part, (low, _) in zip(parts, bounds, strict=True)))
    above = math.hypot(*(high - part for part, (_, high) in zip(parts, bounds, strict=True)))
    return sum(parts) - below, sum(parts) + above


def _as_odds(share: Interval) -> Interval:
    """Immune positives per tumour cell from their share among both, in per cent."""
    low, high = (100 * each / max(100 - each, _LEAST_OTHERS) for each in share)
    return low, high


def _alike(pairs: list[tuple[int, int]], config: ScoreConfig) -> Interval:
    held = tuple(sorted(pair for pair in pairs if pair[1] > 0))
    return alike_interval(held, likeness=config.likeness, level=_LEVEL)


def _bootstrap(pairs: list[tuple[int, int]], config: ScoreConfig) -> Interval:
    """Percentile interval of 100 * sum(numerator) / sum(denominator) over resampled (numerator, denominator)."""
    # Sorted: the order in which the blocks come must not change the numbers.
    held: Float64Array = np.array(sorted(pair for pair in pairs if any(pair)), dtype=np.float64)
    n_blocks = len(held)
    share = np.full(n_blocks, 1 / n_blocks)
    rng = np.random.default_rng(_SEED)
    step = max(1, _DRAWN_AT_ONCE // n_blocks)
    sums = np.concatenate(
        [
            rng.multinomial(n_blocks, share, size=min(step, config.bootstrap_samples - start)) @ held
            for start in range(0, config.bootstrap_samples, step)
        ]
    )
    sums = sums[sums[:, 1] > 0]
    low, high = np.percentile(100 * sums[:, 0] / sums[:, 1], [50 * (1 - _LEVEL), 50 * (1 + _LEVEL)])
    return float(low), float(high)


def _envelope(found: list[Interval], *, cap: float) -> Interval:
    return min(cap, *(low for low, _ in found)), min(cap, max(high for _, high in found))
