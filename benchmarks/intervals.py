"""How often the interval of the TPS holds the truth, how wide it is, and what is called, on made-up blocks.

Run ``python benchmarks/intervals.py`` (minutes): the tables of ``docs/limits.md``. A case is blocks whose shares of
positive cells are drawn about the true one with a likeness (intraclass correlation of the cells of a block; 0: all
blocks have the true share), and cells drawn from these. Its score and calls are those of `stages.score.score`; nothing
moves with the threshold. ``--spots``: the shares follow no beta distribution, which the interval takes for granted, but
are 0 in most blocks and the same in all others.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.assays import find_indication, load_pack
from pdl1quant.config import ScoreConfig
from pdl1quant.model import CallResult, Counts, PositiveCounts
from pdl1quant.stages.score import score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pdl1quant.model import Score

SEED = 2026
CELLS = 300
ROWS = ((1, CELLS), (1, 60), (2, CELLS), (4, CELLS), (8, CELLS), (12, CELLS), (30, CELLS), (100, CELLS))
"""Blocks of a case, tumour cells of a block."""
LIKENESSES = (0.0, 0.05, 0.2)
TRUE_PCT = (1.0, 5.0, 50.0)
CALLED_PCT = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
"""True shares for which calls at 1 % are counted."""
PACK = load_pack("28-8-label")
INDICATION = find_indication(PACK, "nsclc-nonsquamous")


def draw(share: float, likeness: float, *, blocks: int, cells: int, cases: int, spots: bool) -> NDArray[np.int64]:
    """(cases, blocks) positive cells, sorted within each case, as their order means nothing."""
    rng = np.random.default_rng([SEED, blocks, cells, round(1e4 * share), round(100 * likeness)])
    shares = np.full((cases, blocks), share)
    if likeness and share and spots:
        bright = share + likeness * (1 - share)
        shares = bright * (rng.random((cases, blocks)) < share / bright)
    elif likeness and share:
        spread = (1 - likeness) / likeness
        shares = rng.beta(share * spread, (1 - share) * spread, (cases, blocks))
    return np.sort(rng.binomial(cells, shares), axis=1)


@cache
def scored(positive: tuple[int, ...], cells: int, config: ScoreConfig) -> Score:
    """The case of so many positive cells in each block."""
    blocks = []
    for k in positive:
        counted = PositiveCounts(membrane=k)
        at_t1_alone = Counts(n_cells=cells, n_tumour=cells, positive=counted)
        blocks.append(replace(at_t1_alone, positive_strict=counted, positive_lenient=counted))
    return score(
        blocks,
        pack=PACK,
        config=config,
        indication=INDICATION,
        level="case",
        has_macrophage_class=False,
        has_tumour_roi=True,
        tumour_confirmed=True,
    )


def measure(true_pct: float, likeness: float, row: tuple[int, int], options: argparse.Namespace) -> dict[str, float]:
    """Per cent of cases that hold the truth, mean width in points, and per cent called below and at least 1 %."""
    blocks, cells = row
    drawn = draw(true_pct / 100, likeness, blocks=blocks, cells=cells, cases=options.cases, spots=options.spots)
    config = ScoreConfig(likeness=options.likeness)
    found = [scored(tuple(case), cells, config) for case in drawn.tolist()]
    calls = [call.result for each in found for call in each.calls if call.cut_off.value == 1]
    low, high = np.array([(each.tps_low, each.tps_high) for each in found], dtype=np.float64).T
    return {
        "held": 100 * float(np.mean((low <= true_pct) & (true_pct <= high))),
        "width": float(np.mean(high - low)),
        "below": 100 * calls.count(CallResult.BELOW) / options.cases,
        "at_least": 100 * calls.count(CallResult.AT_LEAST) / options.cases,
    }


def print_tables(options: argparse.Namespace) -> None:
    """Coverage, widths and calls, each a table in Markdown."""
    found = {
        (true_pct, likeness, row): measure(true_pct, likeness, row, options)
        for row in ROWS
        for true_pct in sorted({*TRUE_PCT, *CALLED_PCT})
        for likeness in LIKENESSES
    }
    likenesses = " / ".join(f"{each:g}" for each in LIKENESSES)
    for title, true_pcts, line in (
        (f"per cent held, likeness {likenesses}", TRUE_PCT, "{held:.0f}"),
        (f"mean width in points, likeness {likenesses}", TRUE_PCT, "{width:.3g}"),
        (f"per cent called < 1 % + >= 1 %, likeness {likenesses}", CALLED_PCT, "{below:.0f}+{at_least:.0f}"),
    ):
        print(f"\n{title}\n\n| blocks | " + " | ".join(f"true {each:g} %" for each in true_pcts) + " |")
        print("|---" * (len(true_pcts) + 1) + "|")
        for row in ROWS:
            name = str(row[0]) if row[1] == CELLS else f"{row[0]} of {row[1]} cells"
            columns = [" / ".join(line.format(**found[t, each, row]) for each in LIKENESSES) for t in true_pcts]
            print(f"| {name} | " + " | ".join(columns) + " |")


def main() -> int:
    """Draw, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--likeness", type=float, default=ScoreConfig().likeness, help="as score.likeness")
    parser.add_argument("--spots", action="store_true", help="shares that are 0 or one and the same")
    print_tables(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
