"""From the cells table to ``Counts``, and from ``Counts`` to a ``Score`` with its interval and calls.

A score is a pure function of counts, and counts add, so cells, blocks, images and cases are scored by the same few
lines. Nothing is rounded before it is printed.
"""

from pdl1quant.stages.score.blank import MIN_FIELDS, blank_of_case, limit_of_blank, lowest_cut_off
from pdl1quant.stages.score.counting import (
    COUNTED_COLUMNS,
    PositiveCells,
    block_places,
    count_blocks,
    count_by_block,
    count_cells,
    count_reaching,
    count_regions,
    highest_positive_od,
    od_above_threshold,
    positive_at,
    threshold_curve,
)
from pdl1quant.stages.score.intervals import wilson_interval
from pdl1quant.stages.score.scoring import (
    cells_asked_for,
    format_interval,
    format_tps,
    highest_limit,
    score,
    why_no_call,
)

__all__ = [
    "COUNTED_COLUMNS",
    "MIN_FIELDS",
    "PositiveCells",
    "blank_of_case",
    "block_places",
    "cells_asked_for",
    "count_blocks",
    "count_by_block",
    "count_cells",
    "count_reaching",
    "count_regions",
    "format_interval",
    "format_tps",
    "highest_limit",
    "highest_positive_od",
    "limit_of_blank",
    "lowest_cut_off",
    "od_above_threshold",
    "positive_at",
    "score",
    "threshold_curve",
    "why_no_call",
    "wilson_interval",
]
