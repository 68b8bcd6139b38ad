"""The scores of all cases: each with its interval, in order, beside the cut-offs or reference lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.figures.drawing import BLUE, FULL_WIDTH_IN, GREY, figure, line_labels, write_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.outputs.scores_table import ScoreRow

_MAX_NAMED = 40
"""More cases are drawn without their names: a distribution, no longer a list."""
_ROW_IN = 0.2
_MAX_NAME = 36


def draw_scores_figure(
    rows: Sequence[ScoreRow], stem: Path, *, score_name: str, lines_pct: Sequence[float]
) -> tuple[Path, ...]:
    """Write the figure of all cases with a TPS as ``stem.pdf``, ``.svg`` and ``.png``; nothing without one.

    Parameters
    ----------
    rows
        Rows of cases.
    stem
        Path of the files without their ending.
    score_name
        What the score may be called in print.
    lines_pct
        Cut-offs or reference lines, per cent.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    scored = sorted((row for row in rows if row.tps is not None), key=lambda row: (-(row.tps or 0), row.case))
    if not scored:
        return ()
    is_named = len(scored) <= _MAX_NAMED
    height = 0.75 + _ROW_IN * len(scored) if is_named else 4.2
    with figure(FULL_WIDTH_IN, height) as drawn:
        axes = drawn.subplots()
        (_draw_named if is_named else _draw_many)(axes, scored)
        along = axes.axvline if is_named else axes.axhline
        for value in lines_pct:
            along(value, color=GREY, linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
        label = f"{score_name}, % of viable tumour cells"
        if is_named:
            axes.set(xlim=(-1, 101), xlabel=label)
            line_labels(axes.secondary_xaxis("top").xaxis, lines_pct)
        else:
            axes.set(ylim=(-1, 101), ylabel=label, xlabel=f"{len(scored)} cases, highest first")
            line_labels(axes.secondary_yaxis("right").yaxis, lines_pct)
        return write_figure(drawn, stem)


def _draw_named(axes: Any, rows: Sequence[ScoreRow]) -> None:
    place = np.arange(len(rows))
    tps, below, above = _bars(rows)
    axes.errorbar(
        tps, place, xerr=(below, above), fmt="o", color=BLUE, markersize=4, elinewidth=1.1, capsize=2, clip_on=False
    )
    axes.set_yticks(place, [_name(row) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)


def _draw_many(axes: Any, rows: Sequence[ScoreRow]) -> None:
    place = np.arange(1, len(rows) + 1)
    tps, below, above = _bars(rows)
    axes.vlines(place, tps - below, tps + above, color=BLUE, alpha=0.35, linewidth=min(2.0, 300 / len(rows)))
    axes.plot(place, tps, "o", color=BLUE, markersize=min(3.0, 300 / len(rows) ** 0.9))
    axes.set_xlim(0, len(rows) + 1)


def _bars(rows: Sequence[ScoreRow]) -> tuple[Any, Any, Any]:
    """TPS, and how far the interval reaches below and above it."""
    tps = np.array([row.tps for row in rows], float)
    low = np.array([row.tps if row.tps_low is None else row.tps_low for row in rows], float)
    high = np.array([row.tps if row.tps_high is None else row.tps_high for row in rows], float)
    return tps, np.maximum(tps - low, 0), np.maximum(high - tps, 0)


def _name(row: ScoreRow) -> str:
    case = row.case or "(all images)"
    short = case if len(case) <= _MAX_NAME else f"{case[: _MAX_NAME - 12]}…{case[-11:]}"
    return f"{short}  (n = {row.n_tumour:,})"
