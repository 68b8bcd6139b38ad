"""What is no picture of tissue on a slide: the kinds of artefacts, and where they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pdl1quant.model.pixels import BoolArray, Float64Array, UInt8Array


class ArtefactKind(StrEnum):
    """What spoils a part of a slide."""

    PEN = "pen"
    FOLD = "fold"
    BUBBLE = "bubble"
    BLUR = "blur"
    PIGMENT = "pigment"

    @property
    def number(self) -> int:
        """From 1 on: how `ArtefactMap` writes it."""
        return list(ArtefactKind).index(self) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactMap:
    """What spoils each place of a slide or image: (h, w) uint8, 0 where nothing does, else the number of the kind.

    The field is ``columns`` by ``rows`` places large; the last ones may reach beyond it.
    """

    numbers: UInt8Array
    columns: float
    rows: float

    def mask(self, kind: ArtefactKind) -> BoolArray:
        """(h, w) bool: where it is."""
        return np.asarray(self.numbers == kind.number)

    def at(self, x: Float64Array, y: Float64Array) -> BoolArray:
        """(n,) bool: whether something spoils the points, given as shares (0-1) of the field's width and height."""
        height, width = self.numbers.shape
        row = np.clip(np.floor(y * self.rows).astype(int), 0, height - 1)
        column = np.clip(np.floor(x * self.columns).astype(int), 0, width - 1)
        return np.asarray(self.numbers[row, column] > 0)

    def shares(self, tissue: BoolArray) -> dict[ArtefactKind, float]:
        """Share of the ``tissue`` (h, w) that each kind covers, 0-1; 0 without tissue."""
        n = max(1, int(tissue.sum()))
        return {kind: int((self.mask(kind) & tissue).sum()) / n for kind in ArtefactKind}
