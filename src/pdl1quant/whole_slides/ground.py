"""The tissue of one tile of a slide, as it is sent to the worker that counts brown in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import TissueGround
from pdl1quant.slides.mosaic import intersection
from pdl1quant.stages import tissue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdl1quant.model import BoolArray, Int32Array, Rect, SlideDamage, SlideGrid, UInt8Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedGround:
    """The part of the slide's mask of tissue that covers a rectangle of its working grid, in an eighth of its memory.

    ``first`` and ``shape`` are its place and its size in the mask, ``of`` is the size of the mask: rows and columns.
    """

    packed: UInt8Array
    first: tuple[int, int]
    shape: tuple[int, int]
    of: tuple[int, int]

    @classmethod
    def cut(cls, mask: BoolArray, rect: Rect, grid: SlideGrid) -> PackedGround:
        """That of a rectangle; ``mask`` covers the whole slide."""
        row, column = _places(rect, grid, of=(mask.shape[0], mask.shape[1]))
        part = mask[row[0] : row[-1] + 1, column[0] : column[-1] + 1]
        return cls(
            packed=np.packbits(part),
            first=(int(row[0]), int(column[0])),
            shape=(part.shape[0], part.shape[1]),
            of=(mask.shape[0], mask.shape[1]),
        )

    def unpacked(self, rect: Rect, grid: SlideGrid, *, damage: Iterable[SlideDamage]) -> TissueGround:
        """The ground of the rectangle that it was cut for; what of it is damaged is no tissue."""
        row, column = _places(rect, grid, of=self.of)
        bits = np.unpackbits(self.packed, count=self.shape[0] * self.shape[1])
        met = (intersection(grid.covering(each.rect), rect) for each in damage)
        lost = [(box.y0 - rect.y0, box.x0 - rect.x0, box.y1 - rect.y0, box.x1 - rect.x0) for box in met if box]
        return TissueGround(
            tissue=bits.view(np.bool_).reshape(self.shape),
            row=row - np.int32(self.first[0]),
            column=column - np.int32(self.first[1]),
            lost=np.array(lost, np.int32).reshape(-1, 4),
        )


def _places(rect: Rect, grid: SlideGrid, *, of: tuple[int, int]) -> tuple[Int32Array, Int32Array]:
    return (
        tissue.places_in_mask(rect.y0, rect.y1, side_px=grid.height, n_places=of[0]),
        tissue.places_in_mask(rect.x0, rect.x1, side_px=grid.width, n_places=of[1]),
    )
