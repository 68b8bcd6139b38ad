"""Files of images -> pictures that a page can hold: JPEG as data URIs, of bounded size."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from pdl1quant.errors import PixelSizeError
from pdl1quant.model import Rect
from pdl1quant.report.tiles import write_tiles
from pdl1quant.slides.images import decode_image
from pdl1quant.slides.opening import is_whole_slide, open_slide

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from pdl1quant.model import Float64Array, Slide, UInt8Array
    from pdl1quant.report.fields import Field
    from pdl1quant.report.tiles import Pyramid


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Square pixels of a part of an input, which begins at ``x_px``, ``y_px`` of it.

    ``scale_x`` and ``scale_y`` are input pixels per pixel of the picture (1: as it is, 4: a quarter of the side); they
    differ where the input's pixels are not square. ``mpp`` is that of the picture, um per pixel.
    """

    rgb: UInt8Array
    mpp: float
    x_px: float = 0.0
    y_px: float = 0.0
    scale_x: float = 1.0
    scale_y: float = 1.0

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.rgb.shape[0])

    def of_input(self, places: Float64Array) -> Float64Array:
        """Places in the picture, (n, 2) x, y from its corner, of places of the input that count from its corner."""
        return np.asarray((places - (self.x_px, self.y_px)) / (self.scale_x, self.scale_y), np.float64)


class Source:
    """One input, opened for a report: the whole at a bounded size, and parts as they are."""

    def __init__(self, path: Path, *, mpp: float, given_mpp: float | None, files: ExitStack) -> None:
        """Open it.

        Parameters
        ----------
        path
            The image.
        mpp
            Pixel size (um) that the run used, of the square of the same area where pixels are not square.
        given_mpp
            What the user stated; None: the file says the sides of its pixels.
        files
            Closes what was opened.
        """
        self.is_slide = is_whole_slide(path)
        self._path = path
        self._mpp = mpp
        self._slide: Slide | None = None
        if self.is_slide:
            self._slide = files.enter_context(open_slide(path, mpp=given_mpp))
        self._rgb: UInt8Array | None = None if self.is_slide else decode_image(path).rgb

    def forget(self) -> None:
        """Let go of a plain image's pixels, which are read again when they are wanted: a case may have hundreds."""
        self._rgb = None

    def _pixels(self) -> UInt8Array:
        if self._rgb is None:
            self._rgb = decode_image(self._path).rgb
        return self._rgb

    def whole(self, *, max_side_px: int) -> Picture:
        """All of it, its longer side at most ``max_side_px``."""
        if self._slide is None:
            rgb = shrunk(self._pixels(), max_side_px)
            scale = self._pixels().shape[1] / rgb.shape[1]
            return Picture(rgb=rgb, mpp=self._mpp * scale, scale_x=scale, scale_y=scale)
        side_um = max(self._slide.width * self._slide.mpp_x, self._slide.height * self._slide.mpp_y)
        grid = self._slide.grid(max(self._finest_mpp(self._slide), side_um / max_side_px))
        rect = Rect(x0=0, y0=0, x1=grid.width, y1=grid.height)
        rgb = self._slide.read(rect, grid).rgb
        return Picture(rgb=rgb, mpp=grid.mpp, scale_x=grid.downsample_x, scale_y=grid.downsample_y)

    def write_tiles(self, folder: Path, *, mpp: float) -> Pyramid:
        """Write a slide as tiles."""
        assert self._slide is not None
        return write_tiles(self._slide, folder, mpp=mpp)

    def part(self, field: Field, *, mpp: float) -> Picture:
        """A field at ``mpp`` or the input's own coarser one."""
        x_px, y_px = field.x_px, field.y_px
        right_px, bottom_px = x_px + field.width_px, y_px + field.height_px
        if self._slide is None:
            x0, y0 = max(0, round(x_px)), max(0, round(y_px))
            rgb = self._pixels()[y0 : max(y0 + 1, round(bottom_px)), x0 : max(x0 + 1, round(right_px))]
            small = shrunk(rgb, max(1, round(max(rgb.shape[:2]) * min(1.0, self._mpp / mpp))))
            scale = rgb.shape[1] / small.shape[1]
            return Picture(rgb=small, mpp=self._mpp * scale, x_px=x0, y_px=y0, scale_x=scale, scale_y=scale)
        grid = self._slide.grid(max(mpp, self._finest_mpp(self._slide)))
        rect = grid.covering(Rect(x0=int(x_px), y0=int(y_px), x1=int(right_px), y1=int(bottom_px)))
        rect = Rect(x0=max(0, rect.x0), y0=max(0, rect.y0), x1=min(grid.width, rect.x1), y1=min(grid.height, rect.y1))
        return Picture(
            rgb=self._slide.read(rect, grid).rgb,
            mpp=grid.mpp,
            x_px=rect.x0 * grid.downsample_x,
            y_px=rect.y0 * grid.downsample_y,
            scale_x=grid.downsample_x,
            scale_y=grid.downsample_y,
        )

    @staticmethod
    def _finest_mpp(slide: Slide) -> float:
        """No finer than the input: of pixels that are not square the longer side."""
        return max(slide.mpp_x, slide.mpp_y)


def plain_picture(path: Path, *, max_side_px: int) -> UInt8Array:
    """A picture of any image or slide, whatever its pixel size: companions, and overlays drawn when it was scored."""
    if not is_whole_slide(path):
        return shrunk(decode_image(path).rgb, max_side_px)
    with _sized_slide(path) as slide:
        sides_um = slide.width * slide.mpp_x, slide.height * slide.mpp_y
        grid = slide.grid(max(slide.mpp_x, slide.mpp_y, max(sides_um) / max_side_px))
        return slide.read(Rect(x0=0, y0=0, x1=grid.width, y1=grid.height), grid).rgb


def _sized_slide(path: Path) -> Slide:
    """A slide with the pixels that it says it has, else with square ones: only its shape matters."""
    try:
        return open_slide(path)
    except PixelSizeError:
        return open_slide(path, mpp=1.0)


def shrunk(rgb: UInt8Array, max_side_px: int) -> UInt8Array:
    """The picture with its longer side at most ``max_side_px``; a smaller one as it is."""
    longer = max(rgb.shape[:2])
    if longer <= max_side_px:
        return rgb
    scale = max_side_px / longer
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg_uri(rgb: UInt8Array, *, quality: int) -> str:
    """The picture as a data URI; the same pixels give the same text."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
