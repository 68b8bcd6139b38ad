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
from pdl1quant.stages.score import od_above_threshold, threshold_curve

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from pdl1quant.config import Config
    from pdl1quant.model import Float64Array, RulePack

_BIN_OD = 0.025
_STEP_OD = 0.005
_LEAST_AXIS_OD, _MOST_AXIS_OD = 0.8, 2.0

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

    Above, tumour cells by the highest threshold at which they are still positive in the scored compartment: what lies
    to the right of t1 is positive. Below, the TPS of each compartment against the threshold; the grey band is
    ``score.threshold_margin_od`` to either side of t1, over which the interval of the score reaches.

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
        od = _turning_od(tumour, config, pack.compartment)
        end_od = min(max(np.ceil(od.max() * 10) / 10, _LEAST_AXIS_OD), _MOST_AXIS_OD)
        _draw_densities(above, np.minimum(od, end_od), end_od, config)
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


def _turning_od(tumour: pd.DataFrame, config: Config, compartment: Compartment) -> Float64Array:
    """The threshold at which each cell turns; 0 for cells below it, or without a density."""
    od = od_above_threshold(tumour, config.positivity, compartment=compartment) + np.float32(config.positivity.dab_od)
    return np.maximum(od.astype(np.float64), 0)


def _draw_densities(axes: Any, od: Float64Array, end_od: float, config: Config) -> None:
    edges = np.round(np.arange(0, end_od + _BIN_OD / 2, _BIN_OD), 4)
    counts, _ = np.histogram(od, edges)
    cuts = (config.positivity.dab_od, config.positivity.grade_2_od, config.positivity.grade_3_od)
    grade = np.searchsorted(cuts, edges[:-1] + 1e-9, side="right")
    for each, name in enumerate(("negative", "grade 1", "grade 2", "grade 3")):
        chosen = grade == each
        colour = tuple(value / 255 for value in KINDS[each].rgb)
        axes.bar(
            edges[:-1][chosen], counts[chosen], _BIN_OD, align="edge", color=colour, edgecolor=INK, linewidth=0.3,
            label=name,
        )  # fmt: skip
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
