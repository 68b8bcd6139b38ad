"""How brown the tumour cells of a case are, and what the TPS would be at another threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.figures.drawing import (
    BLUE,
    FULL_WIDTH_IN,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    figure,
    line_labels,
    panel_letter,
    write_figure,
)
from pdl1quant.model import CellClass, Compartment
from pdl1quant.outputs.palette import KINDS, is_left_out
from pdl1quant.stages.score import highest_positive_od, threshold_curve

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from pdl1quant.config import Config
    from pdl1quant.model import Float32Array, Float64Array, IntpArray, RulePack

_BIN_OD = 0.025
_STEP_OD = 0.005
_LEAST_AXIS_OD, _MOST_AXIS_OD = 0.8, 2.0

_GRADES = ("negative", "grade 1", "grade 2", "grade 3")
_LINES = {
    Compartment.MEMBRANE: ("Membrane", BLUE),
    Compartment.CYTOPLASM: ("Cytoplasm or membrane", ORANGE),
    Compartment.CYTOPLASM_ONLY: ("Cytoplasm only", PURPLE),
    Compartment.CELL: ("Whole cell, mean", GREEN),
}


def draw_threshold_figure(
    cells: pd.DataFrame, stem: Path, *, config: Config, pack: RulePack, title: str
) -> tuple[Path, ...]:
    """Write the figure of a case as ``stem.pdf``, ``.svg`` and ``.png``; nothing without viable tumour cells.

    Above, tumour cells by the highest threshold at which they are still positive in the scored compartment, 0 where
    there is none, in the colour of their grade: what lies to the right of t1 is positive. Below, the TPS of each
    compartment against the threshold; the grey band is ``score.threshold_margin_od`` to either side of t1, over which
    the interval of the score reaches.

    Parameters
    ----------
    cells
        Cells of all images of the case.
    stem
        Path of the files without their ending.
    config, pack
        Settings and rules of the run.
    title
        Name of the case, and its score.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    tumour = cells[~is_left_out(cells) & (cells["cell_class"] == CellClass.TUMOUR).to_numpy(bool)]
    if tumour.empty:
        return ()
    with figure(0.62 * FULL_WIDTH_IN, 4.6) as drawn:
        above, below = drawn.subplots(2, 1, sharex=True, height_ratios=(1, 1.35))
        drawn.suptitle(title, fontsize=7.5, x=0.01, ha="left")
        od = np.maximum(highest_positive_od(tumour, config.positivity, compartment=pack.compartment), 0)
        end_od = float(min(max(np.ceil(od.max() * 10) / 10, _LEAST_AXIS_OD), _MOST_AXIS_OD))
        edges = _bin_edges(config.positivity.dab_od, end_od)
        _draw_densities(above, _stacks(od, tumour["dab_grade"].to_numpy(), edges), edges)
        _draw_curve(below, tumour, end_od, config=config, pack=pack)
        t1, margin = config.positivity.dab_od, config.score.threshold_margin_od
        for letter, axes in zip("AB", (above, below), strict=True):
            panel_letter(axes, letter)
            axes.axvspan(t1 - margin, t1 + margin, color="0.9", linewidth=0, zorder=-2)
            axes.axvline(t1, color=INK, linewidth=0.8, zorder=-1)
        above.annotate(
            f"threshold {t1:g}", (t1, 1), xycoords=("data", "axes fraction"), xytext=(3, -2),
            textcoords="offset points", va="top", fontsize=6.5,
        )  # fmt: skip
        below.set(xlim=(0, end_od), xlabel="DAB optical density (log10, apparent)")
        return write_figure(drawn, stem)


def _bin_edges(t1: float, end_od: float) -> Float64Array:
    """Edges of the bins from 0 to the end of the axis; t1 is one, so that no bin holds cells of both of its sides."""
    n_below, n_above = np.ceil(np.round([t1 / _BIN_OD, (end_od - t1) / _BIN_OD], 6)).astype(int)
    return np.clip(t1 + _BIN_OD * np.arange(-n_below, n_above + 1), 0, end_od)


def _stacks(od: Float32Array, grade: NDArray[np.int8], edges: Float64Array) -> IntpArray:
    """(4, bins) how many cells of each grade lie in each bin; beyond the last one they count in it.

    ``od`` is (n,) float32, as are the thresholds against which it was held: the edges are taken as such.
    """
    limits = edges.astype(np.float32)
    place = np.clip(np.searchsorted(limits, od, side="right") - 1, 0, len(edges) - 2)
    return np.asarray([np.bincount(place[grade == each], minlength=len(edges) - 1) for each in range(len(_GRADES))])


def _draw_densities(axes: Any, stacks: IntpArray, edges: Float64Array) -> None:
    bottom = np.zeros(len(edges) - 1, np.intp)
    for each, (name, counts) in enumerate(zip(_GRADES, stacks, strict=True)):
        colour = tuple(value / 255 for value in KINDS[each].rgb)
        seen = counts > 0
        axes.bar(
            edges[:-1][seen], counts[seen], np.diff(edges)[seen], bottom=bottom[seen], align="edge", color=colour,
            edgecolor=INK, linewidth=0.3, label=name,
        )  # fmt: skip
        bottom += counts
    axes.set(ylabel="Viable tumour cells")
    axes.legend(loc="upper right", handlelength=1, handleheight=0.8)


def _draw_curve(axes: Any, tumour: pd.DataFrame, end_od: float, *, config: Config, pack: RulePack) -> None:
    thresholds = np.round(np.arange(0, end_od + _STEP_OD / 2, _STEP_OD), 3)
    curve = threshold_curve(tumour, thresholds.tolist(), config=config.positivity)
    for compartment, (name, colour) in _LINES.items():
        is_scored = compartment is pack.compartment
        axes.plot(
            curve["dab_od"], curve[f"tps_{compartment}"], color=colour, label=name,
            linewidth=2.2 if is_scored else 1.0, linestyle="-" if is_scored else _DASHES[compartment],
        )  # fmt: skip
    for value in pack.reference_lines_pct:
        axes.axhline(value, color=GREY, linewidth=0.5, linestyle=(0, (4, 3)), zorder=-1)
    line_labels(axes.secondary_yaxis("right").yaxis, pack.reference_lines_pct)
    axes.set(ylim=(-1, 101), ylabel="TPS, %")
    axes.legend(loc="upper right", handlelength=2.4)


_DASHES = {
    Compartment.MEMBRANE: (0, (5, 1.5)),
    Compartment.CYTOPLASM: (0, (8, 1.5)),
    Compartment.CYTOPLASM_ONLY: (0, (1, 1.2)),
    Compartment.CELL: (0, (5, 1.5, 1, 1.5)),
}
"""Lines that are not the scored one: told apart without colour, too."""
