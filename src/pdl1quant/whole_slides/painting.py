"""Label images of a whole slide from those of its tiles, as soon as their cells have their numbers.

A cell is painted by the tile that owns it, also where it reaches beyond the tile's core. Blocks go out when all tiles
that may paint in them have done so. What is kept is packed, and bounded by the width of the slide: the tiles that reach
below the last band that was judged, and the blocks on its end. The newest tile begins at most a band and its margin
below that (`judging`); whether its cells count is asked later, and no pixel waits for it (`waiting`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from pdl1quant.kernels.labels import renumber
from pdl1quant.outputs.label_pyramid import BLOCK_PX, PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pdl1quant.model import Compartments, Int32Array, Rect
    from pdl1quant.tiling import TilePlace
    from pdl1quant.whole_slides.judging import Band
    from pdl1quant.whole_slides.measuring import TileCells


def pack_parts(parts: Compartments, labels: Int32Array) -> bytes:
    """Cells with these labels, and which part of them each pixel is, in few bytes."""
    number = np.zeros(parts.n_cells + 1, np.int32)
    number[labels] = labels * PARTS
    painted = renumber(parts.cell, number)
    painted += np.where(painted > 0, (parts.nucleus > 0) + 2 * (parts.cytoplasm > 0) + 3 * (parts.membrane > 0), 0)
    return _pack(painted)


class Painter:
    """Takes tiles and bands as they come, and gives blocks of painted pixels to ``emit`` (row, column, pixels)."""

    def __init__(self, places: Sequence[TilePlace], *, emit: Callable[[int, int, Int32Array], None]) -> None:
        self._places = places
        self._emit = emit
        self._packed: dict[int, bytes] = {}
        self._numbers: dict[int, Int32Array] = {}
        self._blocks: dict[tuple[int, int], bytes] = {}
        self._n_missing: dict[tuple[int, int], int] = {}
        for place in places:
            for at in _touched(place.inner):
                self._n_missing[at] = self._n_missing.get(at, 0) + 1

    def hold(self, index: int, tile: TileCells) -> None:
        """Keep the pixels of a tile until its cells are judged."""
        self._packed[index] = tile.painted
        self._numbers[index] = np.zeros(int(tile.cells["label"].max() if len(tile.cells) else 0) + 1, np.int32)

    def number(self, band: Band) -> Band:
        """Note the numbers of the cells of a band, and paint the tiles that lie above its end; the same band."""
        labels = band.cells["label"].to_numpy(np.int32)
        for index in np.unique(band.tiles).tolist():
            own = band.tiles == index
            self._numbers[index][band.tile_labels[own]] = labels[own]
        self._paint(index for index in sorted(self._packed) if self._places[index].core.y1 <= band.y1)
        return band

    def finish(self) -> None:
        """Paint what is left."""
        self._paint(sorted(self._packed))

    def _paint(self, indices: Iterable[int]) -> None:
        for index in list(indices):
            inner = self._places[index].inner
            tile = _unpacked(self._packed.pop(index), (inner.height, inner.width))
            numbers = self._numbers.pop(index)
            tile = np.where(tile > 0, numbers[tile // PARTS] * PARTS + tile % PARTS, 0).astype(np.int32)
            for row, column in _touched(inner):
                self._paint_block(row, column, tile, inner)

    def _paint_block(self, row: int, column: int, tile: Int32Array, inner: Rect) -> None:
        at = row, column
        y0, x0 = row * BLOCK_PX, column * BLOCK_PX
        top, left = max(y0, inner.y0), max(x0, inner.x0)
        bottom, right = min(y0 + BLOCK_PX, inner.y1), min(x0 + BLOCK_PX, inner.x1)
        part = tile[top - inner.y0 : bottom - inner.y0, left - inner.x0 : right - inner.x0]
        self._n_missing[at] -= 1
        is_complete = self._n_missing[at] == 0
        if not part.any() and not (is_complete and at in self._blocks):
            return
        packed = self._blocks.pop(at, None)
        block = np.zeros((BLOCK_PX, BLOCK_PX), np.int32) if packed is None else _unpacked(packed, (BLOCK_PX, BLOCK_PX))
        place = block[top - y0 : bottom - y0, left - x0 : right - x0]
        np.copyto(place, part, where=part > 0)
        if is_complete:
            self._emit(row, column, block)
        else:
            self._blocks[at] = _pack(block)


def _touched(rect: Rect) -> list[tuple[int, int]]:
    """Row and column of the blocks that a rectangle touches."""
    rows = range(rect.y0 // BLOCK_PX, -(-rect.y1 // BLOCK_PX))
    columns = range(rect.x0 // BLOCK_PX, -(-rect.x1 // BLOCK_PX))
    return [(row, column) for row in rows for column in columns]


def _pack(image: Int32Array) -> bytes:
    return bytes(imagecodecs.zstd_encode(np.ascontiguousarray(image).tobytes(), level=1))


def _unpacked(data: bytes, shape: tuple[int, int]) -> Int32Array:
    """A new array that may be written to."""
    return np.frombuffer(imagecodecs.zstd_decode(data), np.int32).reshape(shape).copy()
