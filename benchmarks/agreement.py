"""How often the intervals of measures of agreement hold the truth, on drawn scores that are skewed as those of PD-L1.

Most cases lie low, three readers scatter most in the middle and have a bias each, and scores are whole per cent. The
truth is the measure of 200,000 cases. An interval that is not given (too few cases on one side) counts apart.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.validation.agreement import absolute_icc, cohen_kappa, concordance, cross_table, fleiss_kappa

if TYPE_CHECKING:
    from pdl1quant.model import Float64Array
    from pdl1quant.validation.agreement import Estimate

CUT_OFF = 10.0
BIASES = (0.0, 3.0, -3.0)
"""Points that each reader gives too many at 50 %."""
MANY = 200_000
SIZES = (12, 30, 100)


def draw_scores(rng: np.random.Generator, n: int) -> Float64Array:
    """(n, readers) whole per cent."""
    truth = 100 * rng.beta(0.35, 0.9, (n, 1))
    middle = np.sqrt(truth * (100 - truth))
    scatter = rng.normal(size=(n, len(BIASES))) * (1.2 + 0.16 * middle)
    return np.round(np.clip(truth + np.array(BIASES) * middle / 50 + scatter, 0, 100))


def measures(scores: Float64Array) -> dict[str, Estimate]:
    """Each measure of the first two readers, or of all."""
    n_high = (scores >= CUT_OFF).sum(axis=1)
    return {
        "ICC, two readers": absolute_icc(scores[:, :2]),
        "ICC, three readers": absolute_icc(scores),
        "CCC": concordance(scores[:, 0], scores[:, 1]),
        "Cohen's kappa": cohen_kappa(cross_table(scores[:, 0], scores[:, 1], CUT_OFF)),
        "Fleiss' kappa": fleiss_kappa(np.stack([n_high, scores.shape[1] - n_high], axis=1)),
    }


def main() -> None:
    """Draw, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=250)
    trials = parser.parse_args().trials
    rng = np.random.default_rng(1)
    truth = {name: each.value for name, each in measures(draw_scores(rng, MANY)).items()}
    print(f"per cent of {trials} trials in which the 95 % interval holds the truth; in brackets: trials without one")
    print(f"{'cases':<20}" + "".join(f"{n:>14}" for n in SIZES))
    held: Counter[tuple[str, int]] = Counter()
    without: Counter[tuple[str, int]] = Counter()
    for n in SIZES:
        for _ in range(trials):
            for name, each in measures(draw_scores(rng, n)).items():
                without[name, n] += each.low is None
                held[name, n] += each.low is not None and each.low <= truth[name] <= each.high
    for name in truth:
        cells = []
        for n in SIZES:
            given = trials - without[name, n]
            cells.append(f"{100 * held[name, n] / max(1, given):.0f} ({without[name, n]})")
        print(f"{name:<20}" + "".join(f"{cell:>14}" for cell in cells))


if __name__ == "__main__":
    main()
