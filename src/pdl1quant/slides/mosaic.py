"""Windows put together from the tiles a level is stored in, with a bounded memory of decoded tiles."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import Rect
from pdl1quant.slides.source import LevelDamage, LevelPixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pdl1quant.model import BoolArray, UInt8Array
    from pdl1quant.slides.source import LevelSize

CACHE_BYTES = 48_000_000
"""Decoded tiles kept for each open slide: two rows of 256-px tiles below a window of 1024, or 15 tiles of 1024."""

DAMAGED_LEVEL = 255
"""What damaged pixels are filled with; they are listed wherever they are read."""


class TileError(Exception):
    """A tile that cannot be decoded; the message is the reason, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileAt:
    """Which tile of which level."""

    level: int
    column: int
    row: int


class TileCache:
    """The most recently used tiles, up to ``max_bytes``; also remembers which ones are damaged."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._tiles: OrderedDict[TileAt, UInt8Array] = OrderedDict()
        self._broken: dict[TileAt, str] = {}
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._lock = Lock()

    def get(self, at: TileAt, load: Callable[[TileAt], UInt8Array]) -> UInt8Array:
        """The tile, loaded if it is not at hand.

        Raises
        ------
        TileError
            It cannot be decoded, now or earlier.
        """
        with self._lock:
            if at in self._broken:
                raise TileError(self._broken[at])
            known = self._tiles.get(at)
            if known is not None:
                self._tiles.move_to_end(at)
                return known
        try:
            tile = load(at)
        except TileError as error:
            with self._lock:
                self._broken[at] = str(error)
            raise
        with self._lock:
            if at not in self._tiles and tile.nbytes <= self._max_bytes:
                self._tiles[at] = tile
                self._n_bytes += tile.nbytes
            while self._n_bytes > self._max_bytes:
                _, oldest = self._tiles.popitem(last=False)
                self._n_bytes -= oldest.nbytes
        return tile


def read_tiles(
    rect: Rect, *, level: int, size: LevelSize, tile: LevelSize, load: Callable[[TileAt], UInt8Array], cache: TileCache
) -> LevelPixels:
    """Put a window of a level together.

    Parameters
    ----------
    rect
        Pixels of the level, all within it.
    level, size
        Number of the level, and its size.
    tile
        Size of its tiles, which begin at its first pixel.
    load
        Decodes one tile: (H, W, 3) uint8, at least as much of it as lies within the level.
    cache
        Where decoded tiles are kept.
    """
    rgb = np.empty((rect.height, rect.width, 3), np.uint8)
    damage = []
    for row in range(rect.y0 // tile.height, -(-rect.y1 // tile.height)):
        for column in range(rect.x0 // tile.width, -(-rect.x1 // tile.width)):
            left, top = column * tile.width, row * tile.height
            right, bottom = min(left + tile.width, size.width), min(top + tile.height, size.height)
            box = Rect(x0=left, y0=top, x1=right, y1=bottom)
            part = intersection(rect, box)
            assert part is not None
            place = rgb[part.y0 - rect.y0 : part.y1 - rect.y0, part.x0 - rect.x0 : part.x1 - rect.x0]
            try:
                pixels = cache.get(TileAt(level=level, column=column, row=row), load)
                place[...] = pixels[part.y0 - top : part.y1 - top, part.x0 - left : part.x1 - left]
            except TileError as error:
                place[...] = DAMAGED_LEVEL
                damage.append(LevelDamage(level=level, rect=box, reason=str(error)))
    return LevelPixels(rgb=rgb, damage=tuple(damage))


def intersection(one: Rect, other: Rect) -> Rect | None:
    """What two rectangles share; None for nothing."""
    x0, y0 = max(one.x0, other.x0), max(one.y0, other.y0)
    x1, y1 = min(one.x1, other.x1), min(one.y1, other.y1)
    return Rect(x0=x0, y0=y0, x1=x1, y1=y1) if x0 < x1 and y0 < y1 else None


def boxes_of_tiles(
    missing: BoolArray, *, level: int, tile: LevelSize, size: LevelSize, reason: str
) -> list[LevelDamage]:
    """Boxes around runs of missing tiles, (rows, columns) bool; runs that repeat in the row below are one box."""
    boxes: list[tuple[int, int, int, int]] = []  # first column, last column + 1, first row, last row + 1
    above: dict[tuple[int, int], int] = {}
    for row in np.flatnonzero(missing.any(axis=1)).tolist():
        here: dict[tuple[int, int], int] = {}
        for run in _runs(missing[row]):
            found = above.get(run)
            if found is not None and boxes[found][3] == row:
                boxes[found] = (*boxes[found][:3], row + 1)
                here[run] = found
            else:
                here[run] = len(boxes)
                boxes.append((*run, row, row + 1))
        above = here
    return [
        LevelDamage(
            level=level,
            rect=Rect(
                x0=first * tile.width,
                y0=top * tile.height,
                x1=min(last * tile.width, size.width),
                y1=min(bottom * tile.height, size.height),
            ),
            reason=reason,
        )
        for first, last, top, bottom in boxes
    ]


def _runs(row: BoolArray) -> Iterable[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], row, [False]))))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
