"""What the index of a TIFF file tells of its tiles before any is decoded: which are missing or cut off."""

from __future__ import annotations

import math
import os
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from pdl1quant.slides.mosaic import boxes_of_tiles
from pdl1quant.slides.source import LevelDamage, LevelSize

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray

NOT_STORED = "tile not in the file"
CUT_OFF = "file ends before the tile"


def page_damage(page: Any, *, level: int, n_file_bytes: int, sparse_is_blank: bool = False) -> list[LevelDamage]:
    """Boxes of the tiles (or strips) of a page that are missing, or end behind the end of the file.

    Parameters
    ----------
    page
        tifffile's page.
    level
        Its number.
    n_file_bytes
        Size of the file.
    sparse_is_blank
        Whether tiles of no bytes are the format's way to say "not scanned".
    """
    missing, cut = _broken_tiles(page, n_file_bytes)
    size, tile = page_size(page), tile_size(page)
    boxes = boxes_of_tiles(cut, level=level, tile=tile, size=size, reason=CUT_OFF)
    if not sparse_is_blank:
        boxes += boxes_of_tiles(missing, level=level, tile=tile, size=size, reason=NOT_STORED)
    return boxes


def page_size(page: Any) -> LevelSize:
    """Pixels of a page."""
    return LevelSize(width=page.imagewidth, height=page.imagelength)


def tile_size(page: Any) -> LevelSize:
    """Pixels of a tile, or of a strip."""
    if page.is_tiled:
        return LevelSize(width=page.tilewidth, height=page.tilelength)
    return LevelSize(width=page.imagewidth, height=min(page.rowsperstrip, page.imagelength))


def grid_shape(page: Any) -> tuple[int, int]:
    """Rows and columns of tiles."""
    size, tile = page_size(page), tile_size(page)
    return math.ceil(size.height / tile.height), math.ceil(size.width / tile.width)


def index_fits(page: Any) -> bool:
    """Whether the page lists as many tiles as its size asks for."""
    if min(page.imagewidth, page.imagelength, *_sides(tile_size(page))) < 1:
        return False
    n_wanted = math.prod(grid_shape(page)) * n_planes(page)
    return len(page.dataoffsets) == len(page.databytecounts) == n_wanted


def n_planes(page: Any) -> int:
    """How many tiles hold one place: 3 where each colour is stored for itself."""
    return page.samplesperpixel if page.planarconfig == 2 and page.samplesperpixel > 1 else 1


def pages_loop(stream: BinaryIO) -> bool:
    """Whether the pages of the TIFF file open in ``stream`` lead back to one that was there: tifffile would not end."""
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head.startswith(b"II") else ">"
    is_big = head[2:4] in {b"+\0", b"\0+"}
    count, n_entry_bytes, offset = (order + "Q", 20, order + "Q") if is_big else (order + "H", 12, order + "I")
    seen: set[int] = set()
    try:
        (at,) = struct.unpack_from(offset, head, 8 if is_big else 4)
        while at and at not in seen:
            seen.add(at)
            stream.seek(at)
            (n_entries,) = struct.unpack(count, stream.read(struct.calcsize(count)))
            stream.seek(n_entries * n_entry_bytes, os.SEEK_CUR)
            (at,) = struct.unpack(offset, stream.read(struct.calcsize(offset)))
    except (struct.error, OverflowError, OSError, ValueError):  # it ends outside the file
        return False
    finally:
        stream.seek(0)
    return bool(at)


def _sides(size: LevelSize) -> tuple[int, int]:
    return size.width, size.height


def _broken_tiles(page: Any, n_file_bytes: int) -> tuple[BoolArray, BoolArray]:
    """(rows, columns) bool each: tiles without bytes, and tiles that end behind the end of the file."""
    shape = (n_planes(page), *grid_shape(page))
    offsets = np.asarray(page.dataoffsets, np.uint64).reshape(shape)
    counts = np.asarray(page.databytecounts, np.uint64).reshape(shape)
    missing = (offsets == 0) | (counts == 0)
    cut = ~missing & ((offsets > n_file_bytes) | (counts > n_file_bytes - np.minimum(offsets, n_file_bytes)))
    return missing.any(axis=0), cut.any(axis=0)
