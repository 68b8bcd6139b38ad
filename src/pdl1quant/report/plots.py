"""Numbers -> small drawings in SVG, by hand: the same numbers give the same text, and styles come from the page's CSS.

Shares are drawn on a square-root scale where low cut-offs matter: 1 % lies at a tenth of the width, 50 % at 0.71.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

from pdl1quant.report.axes import Frame, legend, px, svg
from pdl1quant.stages.score import format_tps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import Float64Array, IntpArray

OD_MAX = 1.2
"""Right end of the axes of optical density: hardly any mean of a compartment lies beyond."""
CURVE_OD = tuple(round(0.05 + 0.01 * step, 2) for step in range(76))
"""Cut-offs of the threshold curve, 0.05 to 0.80."""
_BIN_OD = 0.03
_EDGES = np.arange(0.0, OD_MAX + _BIN_OD / 2, _BIN_OD)
_MAX_ROWS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a curve: its CSS class, its name, a value (per cent) per cut-off."""

    css: str
    name: str
    values: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One image or square of tissue: its name, TPS with interval (per cent) and tumour cells."""

    name: str
    tps: float
    low: float | None
    high: float | None
    n: int


def interval_bar(
    tps: float | None, low: float | None, high: float | None, *, lines: Sequence[float], large: bool = False
) -> Markup:
    """A TPS with its interval against reference lines, 0-100 on a square-root scale."""
    width, height = (640, 76) if large else (200, 26)
    left, right = (14, width - 18) if large else (3, width - 4)
    axis = height - 26 if large else 22

    def place(value: float) -> float:
        return left + (right - left) * math.sqrt(max(0.0, min(100.0, value)) / 100)

    label = _interval_label(tps, low, high)
    parts = [f'<line class="axis" x1="{left}" x2="{right}" y1="{axis}" y2="{axis}"/>']
    top = 6 if large else 2
    for line in lines:
        x = px(place(line))
        parts.append(f'<line class="reference" x1="{x}" x2="{x}" y1="{top}" y2="{axis}"/>')
    middle = (top + axis) / 2
    if tps is not None:
        if low is not None and high is not None:
            half = 9 if large else 5
            span = max(2.0, place(high) - place(low))
            parts.append(
                f'<rect class="interval" x="{px(place(low))}" y="{px(middle - half)}" width="{px(span)}"'
                f' height="{2 * half}" rx="2"/>'
            )
        half = 14 if large else 8
        x = px(place(tps))
        parts.append(f'<line class="estimate" x1="{x}" x2="{x}" y1="{px(middle - half)}" y2="{px(middle + half)}"/>')
    if large:
        shown = sorted({0.0, 100.0, *lines, *([25.0] if 25.0 not in lines else [])})
        parts += [
            f'<text class="tick" x="{px(place(tick))}" y="{axis + 18}" text-anchor="middle">{tick:g}</text>'
            for tick in shown
        ]
        parts.append(f'<text class="tick" x="{right + 5}" y="{axis - 4}">%</text>')
    return svg(parts, width=width, height=height, label=label, css="bar large" if large else "bar")


def share_bar(value: float | None, *, css: str) -> Markup:
    """A share, 0-100, as a bar on a linear scale."""
    parts = ['<rect class="track" x="0" y="3" width="200" height="10" rx="2"/>']
    if value is not None:
        parts.append(f'<rect class="{css}" x="0" y="3" width="{px(2 * value)}" height="10" rx="2"/>')
    label = "not defined" if value is None else f"{format_tps(value)} per cent"
    return svg(parts, width=200, height=16, label=label, css="share")


def threshold_curve(lines: Sequence[Line], *, t1: float, margin: float, references: Sequence[float]) -> Markup:
    """TPS of each compartment against the DAB threshold, with t1 and its margin."""
    frame = Frame(x_max=CURVE_OD[-1], y_max=100.0)
    parts = [
        (
            f'<rect class="margin" x="{px(frame.x(t1 - margin))}" y="{frame.top}"'
            f' width="{px(frame.x(t1 + margin) - frame.x(t1 - margin))}" height="{frame.bottom - frame.top}"/>'
        ),
        *frame.axes(x_ticks=(0, 0.2, 0.4, 0.6, 0.8), y_ticks=(0, 25, 50, 75, 100)),
        *frame.titles("DAB threshold (apparent OD)", "TPS, %"),
    ]
    for value in references:
        y = px(frame.y(value))
        parts.append(f'<line class="reference" x1="{frame.left}" x2="{frame.right}" y1="{y}" y2="{y}"/>')
    for line in lines:
        if len(line.values):
            pairs = zip(CURVE_OD, line.values.tolist(), strict=True)
            path = " ".join(f"{px(frame.x(od))},{px(frame.y(value))}" for od, value in pairs)
            parts.append(f'<polyline class="curve {line.css}" points="{path}"/>')
    x = px(frame.x(t1))
    parts.append(f'<line class="cut" x1="{x}" x2="{x}" y1="{frame.top}" y2="{frame.bottom}"/>')
    parts.append(f'<text class="note" x="{px(frame.x(t1) + 4)}" y="{frame.top + 20}">t1 {t1:g}</text>')
    parts += legend([(f"curve {line.css}", line.name) for line in lines], x=frame.left, y=frame.height - 8)
    told = "; ".join(
        f"{line.name} {format_tps(float(np.interp(t1, CURVE_OD, line.values)))} % at {t1:g}"
        for line in lines
        if len(line.values)
    )
    return svg(
        parts, width=frame.width, height=frame.height, label=f"TPS against the DAB threshold: {told}", css="plot"
    )


def bins(values: Float64Array) -> IntpArray:
    """How many values fall into each bin of `od_histogram`; what lies beyond it counts at its ends."""
    finite = values[np.isfinite(values)]
    return np.asarray(np.histogram(np.clip(finite, 0, OD_MAX - 1e-9), _EDGES)[0], np.intp)


def od_histogram(
    tumour: IntpArray, others: IntpArray, *, n_tumour: int, n_others: int, cuts: Sequence[float]
) -> Markup:
    """How many viable tumour cells, and other cells, fall into each of the `bins`; with the cut-offs of the grades."""
    most = max(1, int(tumour.max(initial=0)), int(others.max(initial=0)))
    frame = Frame(x_max=OD_MAX, y_max=float(most), y_root=True)
    parts = [
        *frame.axes(x_ticks=(0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2), y_ticks=_root_ticks(most)),
        *frame.titles("DAB of the scored compartment (apparent OD)", "cells (square-root scale)"),
    ]
    base = frame.y(0)
    for low, n in zip(_EDGES.tolist(), tumour.tolist(), strict=False):
        if n:
            width = frame.x(_BIN_OD) - frame.x(0) - 1
            parts.append(
                f'<rect class="bin" x="{px(frame.x(low))}" y="{px(frame.y(n))}" width="{px(width)}"'
                f' height="{px(base - frame.y(n))}"/>'
            )
    steps = []
    for low, n in zip(_EDGES.tolist(), others.tolist(), strict=False):
        steps += [f"{px(frame.x(low))},{px(frame.y(n))}", f"{px(frame.x(low + _BIN_OD))},{px(frame.y(n))}"]
    parts.append(f'<polyline class="curve others" points="{" ".join(steps)}"/>')
    for number, cut in enumerate(cuts, start=1):
        x = px(frame.x(cut))
        parts.append(f'<line class="cut" x1="{x}" x2="{x}" y1="{frame.top}" y2="{frame.bottom}"/>')
        parts.append(f'<text class="note" x="{px(frame.x(cut) + 3)}" y="{frame.top + 10}">{number}: {cut:g}</text>')
    parts += legend(
        [("bin", f"tumour ({n_tumour:,})"), ("curve others", f"other cells ({n_others:,})")],
        x=frame.left,
        y=frame.height - 8,
    )
    label = f"Histogram of DAB OD of {n_tumour} viable tumour cells and {n_others} other cells"
    return svg(parts, width=frame.width, height=frame.height, label=label, css="plot")


def spread(spots: Sequence[Spot], *, total: float | None, title: str) -> Markup:
    """TPS of each image or square: a row each while there are few, else how many have which TPS."""
    few = len(spots) <= _MAX_ROWS
    return _spread_rows(spots, total=total, title=title) if few else _spread_histogram(spots, total=total, title=title)


def _spread_rows(spots: Sequence[Spot], *, total: float | None, title: str) -> Markup:
    frame = Frame(x_max=100.0, y_max=1.0, left=128, bottom_room=44)
    parts = [
        *frame.axes(x_ticks=(0, 25, 50, 75, 100), y_ticks=()),
        *frame.titles("TPS, %  (number: tumour cells)", ""),
    ]
    if total is not None:
        x = px(frame.x(total))
        parts.append(f'<line class="total" x1="{x}" x2="{x}" y1="{frame.top}" y2="{frame.bottom}"/>')
    step = (frame.bottom - frame.top) / max(1, len(spots))
    for number, spot in enumerate(spots):
        y = frame.top + (number + 0.5) * step
        name = spot.name if len(spot.name) <= 17 else f"{spot.name[:8]}…{spot.name[-8:]}"
        parts.append(
            f'<text class="tick" x="{frame.left - 10}" y="{px(y + 3.5)}" text-anchor="end">{escape(name)}</text>'
        )
        if spot.low is not None and spot.high is not None:
            parts.append(
                f'<line class="whisker" x1="{px(frame.x(spot.low))}" x2="{px(frame.x(spot.high))}"'
                f' y1="{px(y)}" y2="{px(y)}"/>'
            )
        parts.append(f'<circle class="spot" cx="{px(frame.x(spot.tps))}" cy="{px(y)}" r="3.5"/>')
        at, anchor = (frame.right - 2, "end") if (spot.high or spot.tps) < 84 else (frame.left + 4, "start")
        parts.append(f'<text class="note" x="{at}" y="{px(y + 3.5)}" text-anchor="{anchor}">{spot.n:,}</text>')
    label = f"{title}: " + "; ".join(f"{spot.name} {format_tps(spot.tps)} %" for spot in spots)
    return svg(parts, width=frame.width, height=frame.height, label=label, css="plot")


def _spread_histogram(spots: Sequence[Spot], *, total: float | None, title: str) -> Markup:
    edges = np.arange(0.0, 100.1, 5.0)
    counts, _ = np.histogram([spot.tps for spot in spots], edges)
    frame = Frame(x_max=100.0, y_max=float(max(1, counts.max())), bottom_room=44)
    parts = [
        *frame.axes(x_ticks=(0, 25, 50, 75, 100), y_ticks=_count_ticks(int(counts.max()))),
        *frame.titles(f"TPS, %  ({len(spots):,} in all)", "how many"),
    ]
    for low, n in zip(edges.tolist(), counts.tolist(), strict=False):
        if n:
            width = frame.x(5) - frame.x(0) - 1
            parts.append(
                f'<rect class="bin" x="{px(frame.x(low))}" y="{px(frame.y(n))}" width="{px(width)}"'
                f' height="{px(frame.y(0) - frame.y(n))}"/>'
            )
    if total is not None:
        x = px(frame.x(total))
        parts.append(f'<line class="total" x1="{x}" x2="{x}" y1="{frame.top}" y2="{frame.bottom}"/>')
    middle = float(np.median([spot.tps for spot in spots]))
    label = f"{title}: {len(spots)}, median {format_tps(middle)} %"
    return svg(parts, width=frame.width, height=frame.height, label=label, css="plot")


def rates(rates_pct: Sequence[float], *, limit: float | None, cut_off: float | None) -> Markup:
    """How many fields of negative controls have which rate, with the limit of blank and the lowest cut-off."""
    most = max((each for each in (*rates_pct, cut_off) if each), default=1.0)
    x_max = next(end for end in (2.0, 5.0, 10.0, 20.0, 50.0, 100.0) if 1.2 * most <= end or end == 100.0)
    edges = np.linspace(0.0, x_max, 21)
    counts, _ = np.histogram(np.minimum(rates_pct, x_max), edges)
    frame = Frame(x_max=x_max, y_max=float(max(1, counts.max())), bottom_room=44)
    parts = [
        *frame.axes(x_ticks=np.linspace(0.0, x_max, 5).tolist(), y_ticks=_count_ticks(int(counts.max()))),
        *frame.titles("brown without the antibody, % of tumour cells", "fields"),
    ]
    width = px(frame.x(x_max / 20) - frame.x(0) - 1)
    for low, n in zip(edges.tolist(), counts.tolist(), strict=False):
        if n:
            height = px(frame.y(0) - frame.y(n))
            parts.append(
                f'<rect class="bin" x="{px(frame.x(low))}" y="{px(frame.y(n))}" width="{width}" height="{height}"/>'
            )
    for css, value in (("reference", cut_off), ("total", limit)):
        if value is not None:
            x = px(frame.x(value))
            parts.append(f'<line class="{css}" x1="{x}" x2="{x}" y1="{frame.top}" y2="{frame.bottom}"/>')
    label = f"Rates of {len(rates_pct)} fields of the negative control, 0 to {max(rates_pct):.2f} %"
    return svg(parts, width=frame.width, height=frame.height, label=label, css="plot")


def _interval_label(tps: float | None, low: float | None, high: float | None) -> str:
    if tps is None:
        return "TPS not defined"
    if low is None or high is None:
        return f"TPS {format_tps(tps)} per cent"
    return f"TPS {format_tps(tps)} per cent, interval {format_tps(low)} to {format_tps(high)}"


def _count_ticks(most: int) -> list[float]:
    power = 10.0 ** math.floor(math.log10(max(1, most)))
    step = next(each * power for each in (0.25, 0.5, 1, 2) if most <= 4 * each * power or each == 2)
    return [tick for tick in np.arange(0, most + 0.5, max(1.0, step)).tolist() if tick <= most]


def _root_ticks(most: int) -> list[float]:
    """Round numbers that lie apart on a square-root scale: 1, 10, 50, 200 ..."""
    ticks, least = [0.0], 0.0
    for tick in (step * 10.0**power for power in range(9) for step in (1, 2, 5)):
        if tick <= most and math.sqrt(tick / most) - least >= 0.13:
            ticks.append(tick)
            least = math.sqrt(tick / most)
    return ticks
