"""Tissue, and beside it the same with the outline of every cell: what was counted as what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant.extras import import_extra
from pdl1quant.figures.drawing import FULL_WIDTH_IN, INK, figure, panel_letter, write_figure
from pdl1quant.outputs.captions import RESEARCH_USE_ONLY
from pdl1quant.outputs.palette import KINDS, Kind, kinds_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.figures.window import Window
    from pdl1quant.model import Compartment, Float64Array
    from pdl1quant.outputs.written_outlines import Geometries

_LINE_PT, _CASING_PT = 0.9, 1.9
_DOT_PT = 2.2
_SEGMENT_PX = 3.0
_BAR_SHARE = 0.3  # a scale bar is at most this share of the picture
_LEGEND_COLUMNS = 4
_LEGEND_ROW_IN = 0.17


def draw_overlay_figure(window: Window, stem: Path, *, compartment: Compartment, caption: str) -> tuple[Path, ...]:
    """Write the figure of one window as ``stem.pdf``, ``.svg`` and ``.png``.

    Parameters
    ----------
    window
        What is shown.
    stem
        Path of the files without their ending.
    compartment
        The scored one: positive tumour cells are those that the score counts.
    caption
        A line below: image and score.

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    kinds = kinds_of(window.cells, compartment)
    counts = np.bincount(kinds, minlength=len(KINDS)).tolist()
    shown = [(kind, n) for kind, n in zip(KINDS, counts, strict=True) if n]
    rect = window.rect
    top, bottom = rect.y0 * window.stretch, rect.y1 * window.stretch
    panel_in = FULL_WIDTH_IN / 2 * (bottom - top) / (rect.x1 - rect.x0)
    legend_in = _LEGEND_ROW_IN * -(-len(shown) // _LEGEND_COLUMNS) + 0.4
    with figure(FULL_WIDTH_IN, panel_in + legend_in) as drawn:
        for letter, axes in zip("AB", drawn.subplots(1, 2), strict=True):
            axes.imshow(window.rgb, extent=(rect.x0, rect.x1, bottom, top))
            axes.set_axis_off()
            panel_letter(axes, letter)
            _scale_bar(axes, width_um=(rect.x1 - rect.x0) * window.mpp_x)
            if letter == "B":
                _cells(axes, window, kinds)
            axes.set(xlim=(rect.x0, rect.x1), ylim=(bottom, top))
        handles = [_handle(kind) for kind, _ in shown]
        names = [f"{kind.name} ({n})" for kind, n in shown]
        drawn.legend(
            handles, names, loc="outside lower center", ncols=_LEGEND_COLUMNS, title=caption, title_fontsize=7,
            handlelength=1.4, columnspacing=1.6,
        )  # fmt: skip
        return write_figure(drawn, stem)


def _cells(axes: Any, window: Window, kinds: Any) -> None:
    """Draw the cells; of pixels that are not square, the height is counted in widths, as the tissue is drawn."""
    collections = import_extra("matplotlib.collections", package="matplotlib", extra="figures")
    points_per_px = FULL_WIDTH_IN / 2 * 72 / (window.rect.x1 - window.rect.x0)
    inset_px = 0.5 * _LINE_PT / points_per_px
    outlines = shapely.transform(window.outlines, lambda points: points * (1, window.stretch))
    for index, kind in enumerate(KINDS):
        chosen = kinds == index
        if not chosen.any():
            continue
        rings = smooth_rings(outlines[chosen], inset_px)
        colour = tuple(value / 255 for value in kind.rgb)
        dashes = {"linestyles": [(0, (2.5, 2.0))]} if kind.is_dashed else {}
        if not kind.is_dashed:  # a dark rim lifts bright lines off pale tissue
            axes.add_collection(
                collections.PolyCollection(
                    rings, facecolors="none", edgecolors=[(0, 0, 0, 0.25)], linewidths=_CASING_PT
                )
            )
        axes.add_collection(
            collections.PolyCollection(
                rings, facecolors="none", edgecolors=[colour], linewidths=_LINE_PT, joinstyle="round", **dashes
            )
        )
        if kind.has_dot:
            x, y = (window.cells.loc[chosen, name].to_numpy() + 0.5 for name in ("x_px", "y_px"))
            axes.plot(
                x, y * window.stretch, linestyle="none", marker="o", markersize=_DOT_PT, color=colour,
                markeredgecolor="white", markeredgewidth=0.4,
            )  # fmt: skip


def smooth_rings(outlines: Geometries, inset_px: float) -> list[Float64Array]:
    """Rings of polygons, their pixel steps smoothed away, moved inwards so that the lines of neighbours both show."""
    dense = shapely.segmentize(shapely.get_exterior_ring(outlines), _SEGMENT_PX)  # simplified ones have long sides
    points, ring = shapely.get_coordinates(dense, return_index=True)
    is_end = np.append(ring[1:] != ring[:-1], True)  # rings repeat their first point at the end
    points, ring = points[~is_end], ring[~is_end]
    starts = np.flatnonzero(np.diff(ring, prepend=-1))
    after, before = np.arange(1, len(ring) + 1), np.arange(-1, len(ring) - 1)
    after[np.append(starts[1:], len(ring)) - 1] = starts
    before[starts] = np.append(starts[1:], len(ring)) - 1
    for _ in range(2):  # twice the middles of the sides: a staircase becomes a slope
        points = (points + points[after]) / 2
    x, y = points.T
    turn = np.sign(np.add.reduceat(x * y[after] - x[after] * y, starts))[ring]
    along = points[after] - points[before]
    along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    inwards = turn[:, None] * np.column_stack([-along[:, 1], along[:, 0]])
    return np.split(points + inset_px * inwards, starts[1:])


def _scale_bar(axes: Any, *, width_um: float) -> None:
    """A black bar on white in the lower right corner, of a round length."""
    patches = import_extra("matplotlib.patches", package="matplotlib", extra="figures")
    length_um = round_length(width_um * _BAR_SHARE)
    share = length_um / width_um
    plate = {"transform": axes.transAxes, "linewidth": 0, "zorder": 10}
    axes.add_patch(patches.Rectangle((0.96 - share, 0.02), share + 0.04, 0.085, facecolor="white", alpha=0.85, **plate))
    axes.add_patch(patches.Rectangle((0.98 - share, 0.04), share, 0.012, facecolor=INK, **plate))
    axes.text(
        0.98 - share / 2, 0.058, f"{length_um:g} µm", transform=axes.transAxes, ha="center", va="bottom", fontsize=6.5,
        zorder=10,
    )  # fmt: skip


def round_length(limit_um: float) -> float:
    """The largest of 1, 2, 5, 10, 20, 50 ... that is not above ``limit_um``."""
    power = 10.0 ** np.floor(np.log10(limit_um))
    return float(max(step * power for step in (1, 2, 5) if step * power <= limit_um * (1 + 1e-9)))


def _handle(kind: Kind) -> Any:
    lines = import_extra("matplotlib.lines", package="matplotlib", extra="figures")
    colour = tuple(value / 255 for value in kind.rgb)
    return lines.Line2D(
        [], [], color=colour, linewidth=1.4, linestyle=(0, (2.5, 2.0)) if kind.is_dashed else "-",
        marker="o" if kind.has_dot else None, markersize=3.2, markeredgecolor="white", markeredgewidth=0.3,
    )  # fmt: skip


def caption_of(name: str, score: str, *, remarks: Sequence[str] = ()) -> str:
    """``field.tif · TPS (cytoplasm) 42 % (35-50) · Research use only``."""
    return "  ·  ".join([name, score, *remarks, RESEARCH_USE_ONLY])
