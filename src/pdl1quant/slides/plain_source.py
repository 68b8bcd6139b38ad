"""A plain image (PNG, JPEG, untiled TIFF) as a slide of one level: what `read_image` reads, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdl1quant.slides.images import decode_input
from pdl1quant.slides.source import LevelPixels, LevelSize, SourceInfo, icc_name

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.model import Rect


class PlainSource:
    """A decoded image; see `Source`."""

    def __init__(self, path: Path) -> None:
        image = decode_input(path)
        self._rgb = image.rgb
        height, width = image.rgb.shape[:2]
        self.info = SourceInfo(
            vendor=image.kind,
            sizes=(LevelSize(width=width, height=height),),
            stated=image.size,
            icc=icc_name(image.icc),
            notes=image.notes,
        )

    def read_level(self, level: int, rect: Rect) -> LevelPixels:
        """See `Source`."""
        assert level == 0
        return LevelPixels(rgb=self._rgb[rect.y0 : rect.y1, rect.x0 : rect.x1].copy())

    def close(self) -> None:
        """Nothing is open."""
