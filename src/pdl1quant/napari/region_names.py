"""Names of regions that lie close together: at each zoom those are shown that do not cover another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import BoolArray, Float64Array

NAME = "region"
"""Feature of the points: what each is called."""
BLANK = " "
"""What is written of the others; napari cannot draw an empty text."""
NAME_SIZE = 10
"""Of the letters, as napari counts it."""
_LETTER_PX, _LINE_PX = 1.25 * NAME_SIZE, 2.1 * NAME_SIZE
"""Room for a letter and a line on the screen: names like A-10 were 1.08 times their size wide for each letter."""


def spread_names(layer: Any, *, zoom: float, first: str | None = None) -> None:
    """Write those names of a layer of points that are clear of each other.

    Parameters
    ----------
    layer
        Its feature ``NAME`` says the names, the most important first; texts stand alike to their points.
    zoom
        Pixels of the screen per um.
    first
        Name that is written in any case.
    """
    names = layer.features[NAME].tolist()
    shown = names_apart(np.asarray(layer.data)[:, -2:] * layer.scale[-2:] * zoom, names, first=first)
    written = [name if is_shown else BLANK for name, is_shown in zip(names, shown.tolist(), strict=True)]
    if written != list(layer.text.values):
        layer.text.string = written


def names_apart(corners: Float64Array, names: Sequence[str], *, first: str | None = None) -> BoolArray:
    """(n,) bool: which names are written clear of each other; the first of two that are not.

    Parameters
    ----------
    corners
        (n, 2) y, x of a corner of each name, the same of all, in pixels of the screen.
    names
        What is written.
    first
        Name that comes before all others.
    """
    top, left = corners[:, 0], corners[:, 1]
    bottom, right = top + _LINE_PX, left + _LETTER_PX * np.array([len(name) for name in names])
    shown = np.zeros(len(names), bool)
    for number in sorted(range(len(names)), key=lambda number: names[number] != first):
        covers = (left < right[number]) & (right > left[number]) & (top < bottom[number]) & (bottom > top[number])
        shown[number] = not (covers & shown).any()
    return shown
