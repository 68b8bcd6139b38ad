"""The axes of a plot in SVG, its legend and its frame: what the drawings of a page have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Frame:
    """The axes of a plot: where values lie in the drawing."""

    def __init__(
        self,
        *,
        x_max: float,
        y_max: float,
        y_min: float = 0.0,
        left: int = 54,
        height: int = 264,
        bottom_room: int = 60,
        x_root: bool = False,
        y_root: bool = False,
    ) -> None:
        self.width, self.height = 400, height
        self.left, self.right, self.top = left, self.width - 10, 8
        self.bottom = self.height - bottom_room
        self._x_max, self._y_min, self._y_max = x_max, y_min, y_max
        self._x_power, self._y_power = (0.5 if root else 1.0 for root in (x_root, y_root))

    def x(self, value: float) -> float:
        share = float(min(1.0, max(0.0, value / self._x_max)) ** self._x_power)
        return self.left + (self.right - self.left) * share

    def y(self, value: float) -> float:
        share = (value - self._y_min) / (self._y_max - self._y_min)
        return self.bottom - (self.bottom - self.top) * float(min(1.0, max(0.0, share)) ** self._y_power)

    def axes(self, *, x_ticks: Iterable[float], y_ticks: Iterable[float]) -> list[str]:
        parts = [f'<line class="axis" x1="{self.left}" x2="{self.right}" y1="{self.bottom}" y2="{self.bottom}"/>']
        for tick in x_ticks:
            x = px(self.x(tick))
            parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{self.bottom}" y2="{self.bottom + 4}"/>')
            parts.append(f'<text class="tick" x="{x}" y="{self.bottom + 16}" text-anchor="middle">{tick:g}</text>')
        for tick in y_ticks:
            y, below = px(self.y(tick)), px(self.y(tick) + 3.5)
            if tick:
                parts.append(f'<line class="grid" x1="{self.left}" x2="{self.right}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text class="tick" x="{self.left - 6}" y="{below}" text-anchor="end">{_tick(tick)}</text>')
        return parts

    def titles(self, x_title: str, y_title: str) -> list[str]:
        middle = (self.left + self.right) / 2
        parts = [
            f'<text class="title" x="{px(middle)}" y="{self.bottom + 32}" text-anchor="middle">{escape(x_title)}</text>'
        ]
        if y_title:
            y = (self.top + self.bottom) / 2
            parts.append(
                f'<text class="title" x="11" y="{px(y)}" transform="rotate(-90 11 {px(y)})"'
                f' text-anchor="middle">{escape(y_title)}</text>'
            )
        return parts


def legend(entries: Sequence[tuple[str, str]], *, x: float, y: float) -> list[str]:
    """Signs with their names in a row: a bar for ``bin``, a dot for ``spot``, else a line of that CSS class."""
    parts = []
    for css, name in entries:
        if css.startswith("spot"):
            parts.append(f'<circle class="{css}" cx="{px(x + 12)}" cy="{px(y - 4)}" r="3.5"/>')
        elif css == "bin":
            parts.append(f'<rect class="bin" x="{px(x)}" y="{px(y - 8)}" width="16" height="8"/>')
        else:
            parts.append(f'<line class="{css}" x1="{px(x)}" x2="{px(x + 18)}" y1="{px(y - 4)}" y2="{px(y - 4)}"/>')
        parts.append(f'<text class="tick" x="{px(x + 22)}" y="{px(y)}">{escape(name)}</text>')
        x += 40 + 5.9 * len(name)
    return parts


def _tick(value: float) -> str:
    """A round number in the room beside an axis: 2,000, 50k, 1M."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:,g}"


def svg(parts: Iterable[str], *, width: int, height: int, label: str, css: str) -> Markup:
    """The drawing; texts in ``parts`` have to be escaped."""
    head = (
        f'<svg class="{css}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-label="{escape(label)}">'
    )
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704  texts above are escaped, the rest are numbers


def px(value: float) -> str:
    """A coordinate with one decimal, without a trailing zero."""
    return f"{value:.1f}".removesuffix(".0")
