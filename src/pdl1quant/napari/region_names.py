"""Where names of regions are written: at each zoom those that do not cover another, and none out of sight.

Kinds of regions differ by colour, which not everybody sees: their names say them, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import BoolArray, Float64Array, IntpArray

NAME, INK = "region", "ink"
"""Features of the points: what is written at each, and its colour."""
NAME_SIZE = 10
"""Of the letters, as napari counts it."""
_LETTER_PX, _LINE_PX = 1.25 * NAME_SIZE, 2.1 * NAME_SIZE
"""Room for a letter and a line on the screen: names like A-10 were 1.08 times their size wide for each letter."""
_PAD_PX = 6.0
"""From the side of the view."""
_RIM_PX = 1.2
"""A rim around the letters sets them off from cells and outlines."""
_MAX_RIMS = 40
"""Many names have none: each is painted five times for it, 400 of them in 0.3 s."""
_AROUND = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1], [0, 0]], np.float64)
_BRIGHT, _DARK = "#ffffff", "#101010"
_MAX_LINES = 6
"""Names of regions that the view lies in stand below one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionName:
    """What is written at a region: words, their colour (``#rrggbb``), its outline (x and y in pixels of the layer)."""

    text: str
    ink: str
    outline: Any


def name_layer(names: Sequence[RegionName] = ()) -> tuple[Float64Array, dict[str, Any]]:
    """Points and looks of a layer of which only names are seen, for `write_names`; before it all are written."""
    corners = [each.outline.bounds[1::-1] for each in names]
    text = {"string": f"{{{NAME}}}", "color": {"feature": INK, "fallback": _DARK}, "size": NAME_SIZE}
    looks = {"size": 1.0, "face_color": "transparent", "border_color": "transparent", "ndim": 2}
    features = _features([each.text for each in names], [each.ink for each in names])
    return np.array(corners).reshape(-1, 2), {**looks, "features": features, "text": text | {"anchor": "upper_left"}}


def write_names(
    layer: Any, names: Sequence[RegionName], *, view: Float64Array, pixel: float, first: int | None
) -> None:
    """Write names of regions into a layer of points.

    Parameters
    ----------
    layer
        From `name_layer`.
    names
        The most important first.
    view
        Left, top, right, bottom of what is seen, in pixels of the layer.
    pixel
        Side of a pixel of the screen, in the same.
    first
        Which of them is written in any case.
    """
    points, shown = places(names, view=view, pixel=pixel, first=first)
    around = _AROUND if shown.size <= _MAX_RIMS else _AROUND[-1:]
    texts: list[str] = []
    inks: list[str] = []
    for each in (names[number] for number in shown.tolist()):
        texts += [each.text] * len(around)
        inks += [*[_BRIGHT if _is_dark(each.ink) else _DARK] * (len(around) - 1), each.ink]
    data = (points[shown, None] + around * _RIM_PX * pixel).reshape(-1, 2)
    features = _features(texts, inks)
    if not (np.array_equal(data, layer.data) and features.equals(layer.features)):
        layer.data = data
        layer.features = features


def places(
    names: Sequence[RegionName], *, view: Float64Array, pixel: float, first: int | None = None
) -> tuple[Float64Array, IntpArray]:
    """Where names are written, (n, 2) y, x, and which of them are: see `write_names`.

    At the upper left corner of the box around a region; where that is out of sight, of what is seen of the region.
    """
    if not names:
        return np.zeros((0, 2)), np.zeros(0, np.intp)
    outlines = np.array([each.outline for each in names], dtype=object)
    left, top, right, bottom = shapely.bounds(outlines).T
    x, y = left.copy(), top.copy()
    seen_left, seen_top = view[0] + _PAD_PX * pixel, view[1] + _LINE_PX * pixel
    meets = (left < view[2]) & (right > view[0]) & (top < view[3]) & (bottom > view[1])
    moves = meets & ((left < view[0]) | (top < seen_top))
    for number in np.flatnonzero(moves).tolist():
        part = shapely.clip_by_rect(outlines[number], *view)
        if not part.is_empty:
            x[number] = max(part.bounds[0], seen_left if part.bounds[0] <= view[0] else part.bounds[0])
            y[number] = max(part.bounds[1], seen_top)
    corners = np.column_stack([y, x]) / pixel
    shown, down = names_apart(corners, [each.text for each in names], first=first, moves=moves)
    if moves.any():  # else they stay as they are as the view moves
        shown &= (x < view[2]) & (y > view[1]) & (y < view[3])
    return np.column_stack([y + down * _LINE_PX * pixel, x]), np.flatnonzero(shown)


def names_apart(
    corners: Float64Array, names: Sequence[str], *, first: int | None = None, moves: BoolArray | None = None
) -> tuple[BoolArray, IntpArray]:
    """(n,) bool: which names are written clear of each other, the first of two that are not; (n,): lines farther down.

    Parameters
    ----------
    corners
        (n, 2) y, x of a corner of each name, the same of all, in pixels of the screen.
    names
        What is written.
    first
        The one that comes before all others.
    moves
        (n,) bool: which may stand some lines farther down; none by default.
    """
    top, left = corners[:, 0].copy(), corners[:, 1]
    right = left + _LETTER_PX * np.array([len(name) for name in names])
    shown, down = np.zeros(len(names), bool), np.zeros(len(names), np.intp)
    for number in sorted(range(len(names)), key=lambda number: number != first):
        for line in range(_MAX_LINES if moves is not None and moves[number] else 1):
            at = top[number] + line * _LINE_PX
            covers = (left < right[number]) & (right > left[number]) & (np.abs(top - at) < _LINE_PX)
            if not (covers & shown).any():
                shown[number], down[number], top[number] = True, line, at
                break
    return shown, down


def _features(texts: list[str], inks: list[str]) -> pd.DataFrame:
    return pd.DataFrame({NAME: np.array(texts, dtype=object), INK: np.array(inks, dtype=object)})


def _is_dark(ink: str) -> bool:
    return bool(np.dot(list(bytes.fromhex(ink[1:])), (0.2126, 0.7152, 0.0722)) < 128)
