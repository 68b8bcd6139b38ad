"""A slide as a pyramid of small pictures in a folder, for the viewer of its page: only what is looked at is read."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from pdl1quant import __version__
from pdl1quant.model import Rect
from pdl1quant.outputs.claims import refuse_foreign
from pdl1quant.outputs.files import replace_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.model import Slide, UInt8Array

TILE_PX = 512
_QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """Tiles of a slide: ``width`` and ``height`` in pixels of the finest level, whose number is ``max_level``.

    ``mpp`` is um per pixel there, ``downsample_x`` and ``downsample_y`` level-0 pixels of the slide per pixel.
    """

    width: int
    height: int
    max_level: int
    mpp: float
    downsample_x: float
    downsample_y: float


def write_tiles(slide: Slide, folder: Path, *, mpp: float) -> Pyramid:
    """Write the tiles of a slide: ``<level>_<column>_<row>.jpg``, each level half as large as the one above.

    Parameters
    ----------
    slide
        Is read tile by tile.
    folder
        Where the tiles go.
    mpp
        um per pixel of the finest level; the slide's own where that is coarser.

    Raises
    ------
    OutputError
        A tile cannot be written.
    """
    finest = slide.grid(max(mpp, slide.mpp_x, slide.mpp_y))
    max_level = max(0, math.ceil(math.log2(max(finest.width, finest.height) / TILE_PX)))
    for level in range(max_level + 1):
        shrink = 2 ** (max_level - level)
        grid = slide.grid(finest.mpp * shrink) if shrink > 1 else finest
        width, height = math.ceil(finest.width / shrink), math.ceil(finest.height / shrink)
        for y in range(0, height, TILE_PX):
            for x in range(0, width, TILE_PX):
                rect = Rect(x0=x, y0=y, x1=min(x + TILE_PX, width), y1=min(y + TILE_PX, height))
                _write(slide.read(rect, grid).rgb, folder / f"{level}_{x // TILE_PX}_{y // TILE_PX}.jpg")
    return Pyramid(
        width=finest.width,
        height=finest.height,
        max_level=max_level,
        mpp=finest.mpp,
        downsample_x=finest.downsample_x,
        downsample_y=finest.downsample_y,
    )


def _write(rgb: UInt8Array, path: Path) -> None:
    refuse_foreign(path)
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=_QUALITY, comment=f"pdl1quant {__version__}".encode())
    with replace_atomically(path) as partial:
        partial.write_bytes(stream.getvalue())
