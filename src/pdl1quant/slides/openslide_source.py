"""SVS, NDPI, MRXS, SCN, BIF and others as slides, by OpenSlide.

What OpenSlide would pass over in silence is found in the file's own index: it paints tiles of no bytes as if they had
not been scanned. One tile that does not decode spoils its whole window and its handle, so the file is then opened
again and read in small pieces.

Formats that place what was scanned on a larger, empty ground (MRXS, SCN and others) are cut to the box of it, as QuPath
does: regions drawn there, and cells opened there, lie where they belong.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import openslide
import tifffile

from pdl1quant.errors import UnreadableError
from pdl1quant.model import Rect
from pdl1quant.slides.mosaic import TileAt, TileCache, TileError, intersection, read_tiles
from pdl1quant.slides.pixel_size import StatedSize
from pdl1quant.slides.raster import damaged, on_white
from pdl1quant.slides.source import LevelPixels, LevelSize, SourceInfo, icc_name
from pdl1quant.slides.tiff_index import index_fits, page_damage
from pdl1quant.slides.tiff_source import DECODER_FAILURES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pdl1quant.model import UInt8Array
    from pdl1quant.slides.source import LevelDamage

PIECE: Final = LevelSize(width=512, height=512)
"""Pieces in which a level is read whose downsample is no whole number (OpenSlide would shift each window by another
part of a pixel), or that has damaged tiles."""
SPARSE_FORMATS: Final = frozenset({"hamamatsu", "leica", "philips-tiff", "trestle", "ventana"})
"""Formats that leave out tiles where nothing was scanned; in the others a tile of no bytes is lost."""
_WHOLE: Final = 1e-9


class OpenSlideSource:
    """A file open in OpenSlide; see `Source`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._cache = TileCache()
        self._slide = self._open()
        self._in_pieces = False
        try:
            self._box = _scanned_box(self._slide)
            self.info = self._describe()
        except openslide.OpenSlideError as error:
            raise damaged(path.name) from error
        self._sizes = self.info.sizes
        self._downsamples = self._slide.level_downsamples

    def read_level(self, level: int, rect: Rect) -> LevelPixels:
        """See `Source`."""
        known = tuple(each for each in self.info.damage if each.level == level and intersection(each.rect, rect))
        downsample = self._downsamples[level]
        is_exact = abs(downsample - round(downsample)) < _WHOLE
        if is_exact and not self._in_pieces:
            try:
                return LevelPixels(rgb=self._read(level, rect), damage=known)
            except TileError:
                self._in_pieces = True
        pixels = read_tiles(rect, level=level, size=self._sizes[level], tile=PIECE, load=self._load, cache=self._cache)
        return LevelPixels(rgb=pixels.rgb, damage=(*known, *pixels.damage))

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def _open(self) -> Any:
        try:
            return openslide.OpenSlide(self._path)
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise UnreadableError(
                f"{self._path.name}: not a slide that OpenSlide reads; export it as OME-TIFF"
            ) from error
        except openslide.OpenSlideError as error:
            raise damaged(self._path.name) from error

    def _load(self, at: TileAt) -> UInt8Array:
        left, top = at.column * PIECE.width, at.row * PIECE.height
        size = self._sizes[at.level]
        right, bottom = min(left + PIECE.width, size.width), min(top + PIECE.height, size.height)
        return self._read(at.level, Rect(x0=left, y0=top, x1=right, y1=bottom))

    def _read(self, level: int, rect: Rect) -> UInt8Array:
        slide = self._slide
        downsample = self._downsamples[level]
        corner = (self._box.x0 + round(rect.x0 * downsample), self._box.y0 + round(rect.y0 * downsample))
        try:
            rgba = np.asarray(slide.read_region(corner, level, (rect.width, rect.height)))
        except openslide.OpenSlideError as error:
            self._renew(slide)
            raise TileError("tile does not decode") from error
        if rgba[..., 3].min() == 255:
            return np.asarray(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB), dtype=np.uint8)
        return on_white(rgba)

    def _renew(self, spoilt: Any) -> None:
        """A handle that met an error answers no more; the first thread to notice opens another."""
        with self._lock:
            if self._slide is spoilt:
                self._slide = self._open()  # the spoilt one closes itself when no thread reads from it

    def _describe(self) -> SourceInfo:
        properties = self._slide.properties
        vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
        sizes = tuple(_sizes_of(self._slide, self._box))
        return SourceInfo(
            vendor=vendor,
            sizes=sizes,
            stated=_stated(properties),
            objective=_number(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)),
            icc=icc_name(_profile(self._slide)),
            damage=tuple(_index_damage(self._path, sizes, sparse_is_blank=vendor in SPARSE_FORMATS)),
        )


def detect(path: Path) -> str | None:
    """The format as OpenSlide names it, None for one it does not read."""
    found = openslide.OpenSlide.detect_format(path)
    return None if found is None else str(found)


def _scanned_box(slide: Any) -> Rect:
    """What was scanned, in pixels of OpenSlide's level 0: all of it where the format does not say."""
    width, height = slide.dimensions
    whole = Rect(x0=0, y0=0, x1=width, y1=height)
    names = (
        openslide.PROPERTY_NAME_BOUNDS_X,
        openslide.PROPERTY_NAME_BOUNDS_Y,
        openslide.PROPERTY_NAME_BOUNDS_WIDTH,
        openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
    )
    sides = [_number(slide.properties.get(name)) for name in names]
    if any(side is None for side in sides):
        return whole
    left, top, across, down = (int(side or 0) for side in sides)
    return intersection(Rect(x0=left, y0=top, x1=left + across, y1=top + down), whole) or whole


def _sizes_of(slide: Any, box: Rect) -> Iterable[LevelSize]:
    """The sizes of the levels, cut to a box of level 0."""
    sizes = slide.level_dimensions
    if (box.width, box.height) != tuple(slide.dimensions):
        sides = (box.width, box.height)
        sizes = [[max(1, int(side / downsample)) for side in sides] for downsample in slide.level_downsamples]
    return (LevelSize(width=width, height=height) for width, height in sizes)


def _profile(slide: Any) -> bytes | None:
    profile = slide.color_profile
    return None if profile is None else bytes(profile.tobytes())


def _stated(properties: Any) -> StatedSize | None:
    x_um = _number(properties.get(openslide.PROPERTY_NAME_MPP_X))
    y_um = _number(properties.get(openslide.PROPERTY_NAME_MPP_Y))
    if not x_um or not y_um or min(x_um, y_um) <= 0:
        return None
    return StatedSize(x_um=x_um, y_um=y_um)


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and np.isfinite(number) else None


def _index_damage(path: Path, sizes: tuple[LevelSize, ...], *, sparse_is_blank: bool) -> Iterable[LevelDamage]:
    """Missing and cut-off tiles of the tiled pages of a TIFF file that have the size of a level."""
    try:
        with tifffile.TiffFile(path) as tiff:
            n_file_bytes = tiff.filehandle.size
            tiled = [page.aspage() for page in reversed(tiff.pages)]
            pages = {(page.imagewidth, page.imagelength): page for page in tiled if page.is_tiled}
            for level, size in enumerate(sizes):
                page = pages.get((size.width, size.height))
                if page is not None and index_fits(page):
                    yield from page_damage(
                        page, level=level, n_file_bytes=n_file_bytes, sparse_is_blank=sparse_is_blank
                    )
    except DECODER_FAILURES:
        return  # no TIFF, or one of a dialect that only OpenSlide knows
