"""Drawings of agreement, in the style of the report: a point per case, differences, a measure with its interval.

Percentages are drawn on square-root scales, as in the report: most cases and most cut-offs lie low.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import escape

from pdl1quant.agreement.wording import signed
from pdl1quant.report.axes import Frame, legend, px, svg
from pdl1quant.stages.score import format_tps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from pdl1quant.agreement.reader_scores import ScoreKind
    from pdl1quant.validation.agreement import Estimate, Limits

_SIDE = 400
_TICKS = {100.0: (0, 1, 5, 10, 25, 50, 75, 100), 300.0: (0, 10, 50, 100, 200, 300)}
_LINEAR_TICKS = {100.0: (0, 25, 50, 75, 100), 300.0: (0, 100, 200, 300)}
_REACHES = (5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0, 300.0)
"""How far the axis of differences goes to either side: the first that holds all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One case: what the reference says, what the program does and its interval.

    ``is_marked``: it carries a flag that may move the score and that not all cases carry.
    """

    name: str
    reference: float
    score: float
    low: float | None = None
    high: float | None = None
    is_marked: bool = False


def scatter(
    points: Sequence[Point], *, kind: ScoreKind, names: tuple[str, str], cut_offs: Sequence[float], marked: str
) -> Markup:
    """The program's score with its interval against the reference.

    ``names`` are what both are called, ``marked`` is what hollow points are.
    """
    program, reference = names
    frame = Frame(x_max=kind.top, y_max=kind.top, height=_SIDE + 6, x_root=True, y_root=True)
    ticks = _TICKS[kind.top]
    parts = [*frame.axes(x_ticks=ticks, y_ticks=ticks), *frame.titles(_of(reference, kind), _of(program, kind))]
    for cut_off in cut_offs:
        x, y = px(frame.x(cut_off)), px(frame.y(cut_off))
        parts.append(f'<line class="reference" x1="{x}" x2="{x}" y1="{frame.top}" y2="{frame.bottom}"/>')
        parts.append(f'<line class="reference" x1="{frame.left}" x2="{frame.right}" y1="{y}" y2="{y}"/>')
    parts.append(f'<line class="identity" x1="{frame.left}" x2="{frame.right}" y1="{frame.bottom}" y2="{frame.top}"/>')
    for point in points:
        if point.low is not None and point.high is not None:
            x = px(frame.x(point.reference))
            parts.append(
                f'<line class="bar-of" x1="{x}" x2="{x}" y1="{px(frame.y(point.low))}" y2="{px(frame.y(point.high))}"/>'
            )
    parts += [_spot(point, frame.x(point.reference), frame.y(point.score)) for point in points]
    parts += _signs(points, frame, line=("identity", "the same score"), marked=marked)
    label = f"Scores of {program} against {reference}, {len(points)} cases"
    return svg(parts, width=frame.width, height=frame.height, label=label, css="plot agreement-plot")


def differences(
    points: Sequence[Point], limits: Limits, *, kind: ScoreKind, names: tuple[str, str], marked: str
) -> Markup:
    """Bland and Altman's plot: the difference (program minus reference) against the mean of the two."""
    program, reference = names
    far = max((abs(point.score - point.reference) for point in points), default=0.0)
    ends = [abs(each) for limit in _in(limits) for each in (limit.value, limit.low, limit.high) if each is not None]
    widest = max([far, *ends])
    reach = next((each for each in _REACHES if widest <= each), _REACHES[-1])
    frame = Frame(x_max=kind.top, y_min=-reach, y_max=reach, height=_SIDE + 6)
    parts: list[str] = []
    for limit in _in(limits):
        if limit.low is not None and limit.high is not None:
            top, bottom = frame.y(limit.high), frame.y(limit.low)
            parts.append(
                f'<rect class="margin" x="{frame.left}" y="{px(top)}" width="{frame.right - frame.left}"'
                f' height="{px(bottom - top)}"/>'
            )
    ticks = (-reach, -reach / 2, 0, reach / 2, reach)
    unit = ", points" if kind.unit else ""
    parts += frame.axes(x_ticks=_LINEAR_TICKS[kind.top], y_ticks=ticks)
    parts += frame.titles(f"mean of both, {kind.unit or kind.title}", f"{program} minus {_short(reference)}{unit}")
    zero = px(frame.y(0))
    parts.append(f'<line class="identity" x1="{frame.left}" x2="{frame.right}" y1="{zero}" y2="{zero}"/>')
    for css, limit in zip(("limit", "total", "limit"), _in(limits), strict=True):
        if limit.value is not None:
            y = frame.y(limit.value)
            parts.append(f'<line class="{css}" x1="{frame.left}" x2="{frame.right}" y1="{px(y)}" y2="{px(y)}"/>')
            parts.append(
                f'<text class="note" x="{frame.right - 4}" y="{px(y - 4)}" text-anchor="end">'
                f"{signed(limit.value)}</text>"
            )
    for point in points:
        middle, away = (point.score + point.reference) / 2, point.score - point.reference
        parts.append(_spot(point, frame.x(middle), frame.y(away)))
    parts += _signs(points, frame, line=("limit", "95 % limits"), marked=marked)
    label = f"Differences of {program} minus {reference} against their mean, {len(points)} cases"
    return svg(parts, width=frame.width, height=frame.height, label=label, css="plot agreement-plot")


def measure_bar(estimate: Estimate) -> Markup:
    """A coefficient with its interval on a scale from 0 to 1; what is below 0 stands at 0."""
    width, height, left, right, axis = 200, 26, 4, 196, 22

    def place(value: float) -> float:
        return left + (right - left) * max(0.0, min(1.0, value))

    parts = [f'<line class="axis" x1="{left}" x2="{right}" y1="{axis}" y2="{axis}"/>']
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = px(place(tick))
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{axis - 3}" y2="{axis}"/>')
    if estimate.low is not None and estimate.high is not None:
        span = max(2.0, place(estimate.high) - place(estimate.low))
        parts.append(
            f'<rect class="interval" x="{px(place(estimate.low))}" y="6" width="{px(span)}" height="10" rx="2"/>'
        )
    if estimate.value is not None:
        x = px(place(estimate.value))
        parts.append(f'<line class="estimate" x1="{x}" x2="{x}" y1="3" y2="19"/>')
    label = "not defined" if estimate.value is None else f"{estimate.value:.2f}"
    return svg(parts, width=width, height=height, label=label, css="bar")


def _in(limits: Limits) -> tuple[Estimate, Estimate, Estimate]:
    return limits.lower, limits.mean, limits.upper


def _spot(point: Point, x: float, y: float) -> str:
    css = "spot marked" if point.is_marked else "spot"
    told = f"{point.name}: {format_tps(point.score)}, reference {format_tps(point.reference)}"
    return f'<circle class="{css}" cx="{px(x)}" cy="{px(y)}" r="3.8"><title>{escape(told)}</title></circle>'


def _signs(points: Sequence[Point], frame: Frame, *, line: tuple[str, str], marked: str) -> list[str]:
    entries = [line]
    n_marked = sum(point.is_marked for point in points)
    if n_marked < len(points):
        entries.append(("spot", f"case ({len(points) - n_marked})"))
    if n_marked:
        entries.append(("spot marked", f"{marked} ({n_marked})"))
    return legend(entries, x=frame.left, y=frame.height - 8)


def _of(who: str, kind: ScoreKind) -> str:
    return f"{who}, {kind.title}{f' ({kind.unit})' if kind.unit else ''}"


def _short(reference: str) -> str:
    return reference if len(reference) <= 24 else f"{reference[:12]}…{reference[-10:]}"
