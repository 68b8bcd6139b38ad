"""Tiled TIFF as a slide, by tifffile: OME-TIFF, pyramids in SubIFDs or in pages, and one level alone.

OpenSlide sees one level of the first. Tiles are decoded one by one, so that a damaged one costs itself only. What
libjpeg would paint grey without a word (data that end early) counts as damaged.
"""

from __future__ import annotations

import logging
import math
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tifffile

from pdl1quant.errors import UnreadableError
from pdl1quant.slides.jpeg_data import DAMAGED_WITHIN, frame_size, holds_all, may_lack
from pdl1quant.slides.levels import MAX_MISFIT
from pdl1quant.slides.mosaic import TileAt, TileCache, TileError, read_tiles
from pdl1quant.slides.raster import Note, damaged, on_white, quiet
from pdl1quant.slides.source import LevelPixels, LevelSize, SourceInfo, icc_name
from pdl1quant.slides.tiff import JPEG_COMPRESSIONS, channel_pages, not_colour, plane_axes, stated_size
from pdl1quant.slides.tiff_index import (
    CUT_OFF,
    NOT_STORED,
    grid_shape,
    index_fits,
    n_planes,
    page_damage,
    page_size,
    tile_size,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pdl1quant.model import Rect, UInt8Array

_RGB, _YCBCR, _GREY = 2, 6, 1
_APERIO_YCC: Final = 33003
_ORIENTATION: Final = 274
_ICC_PROFILE: Final = 34675
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2
_END_OF_IMAGE: Final = b"\xff\xd9"
MIN_SCAN_SHARE: Final = 0.3
"""Of the pixels of the first picture: a smaller one is none beside it, but a label, a thumbnail, a level unnamed."""
MAX_TILE_PX: Final = 100_000_000
"""A tile or strip is decoded whole: larger ones are no tiles, or a lie of the header."""

DECODER_FAILURES = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    SyntaxError,  # of XML
    struct.error,
)
"""What tifffile and imagecodecs raise on damaged files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _TiffLevel:
    """One page of three colours, or three pages of one."""

    pages: tuple[Any, ...]
    size: LevelSize
    tile: LevelSize


class TiffSource:
    """An open tiled TIFF; see `Source`."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._lock = Lock()
        self._cache = TileCache()
        self._complaints = _Complaints()
        with _named(self._name), self._complaints:
            self._tiff = tifffile.TiffFile(path)
        try:
            with _named(self._name), self._complaints:
                self._levels = self._find_levels()
                self.info = self._describe()
        except BaseException:
            self._tiff.close()
            raise

    def read_level(self, level: int, rect: Rect) -> LevelPixels:
        """See `Source`."""
        at = self._levels[level]
        return read_tiles(rect, level=level, size=at.size, tile=at.tile, load=self._load, cache=self._cache)

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()

    def _find_levels(self) -> tuple[_TiffLevel, ...]:
        for number, page in enumerate(self._tiff.pages):
            _check_size(self._name, page_size(page.aspage()), number)
        series = self._tiff.series[0]
        levels = []
        for number, each in enumerate(series.levels):
            pages = _colour_pages(each)
            if not pages or any(page.parent is not self._tiff for page in pages):
                raise UnreadableError(f"{self._name}: its pixels are in other files; export it as one file")
            if pages[0].samplesperpixel < 3 and len(pages) < 3:
                raise damaged(self._name) if self._complaints.heard else not_colour(self._name, series)
            for page in pages:
                _check_page(self._name, page, number)
            levels.append(_TiffLevel(pages=pages, size=page_size(pages[0]), tile=tile_size(pages[0])))
        if self._tiff.ome_metadata:
            _check_ome(self._name, self._tiff.ome_metadata, levels[0].size)
        else:
            _check_order(self._name, self._tiff, levels[0].size)
        return tuple(levels)

    def _describe(self) -> SourceInfo:
        first = self._levels[0].pages[0]
        n_file_bytes = self._tiff.filehandle.size
        damage = [
            each
            for number, level in enumerate(self._levels)
            for page in level.pages
            for each in page_damage(page, level=number, n_file_bytes=n_file_bytes)
        ]
        n_lost_px = sum(each.rect.width * each.rect.height for each in damage if each.level == 0)
        if n_lost_px >= self._levels[0].size.area:
            raise damaged(self._name)
        notes = [Note.FIRST_IMAGE_ONLY] if _holds_more(self._tiff, self._levels[0].pages) else []
        if _extra_samples(first) and not _alpha_kind(first):
            notes.append(Note.EXTRA_CHANNELS_IGNORED)
        return SourceInfo(
            vendor=_vendor(self._tiff),
            sizes=tuple(level.size for level in self._levels),
            stated=stated_size(self._tiff, first),
            objective=_objective(self._tiff, first),
            icc=icc_name(first.tags.valueof(_ICC_PROFILE)),
            notes=tuple(notes),
            damage=tuple(dict.fromkeys(damage)),
            is_suspect=self._complaints.heard,
        )

    def _load(self, at: TileAt) -> UInt8Array:
        pages = self._levels[at.level].pages
        planes = [self._decode(page, at, plane) for page in pages for plane in range(n_planes(page))]
        samples = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
        if samples.shape[2] == 3:
            return np.ascontiguousarray(samples)
        alpha = _alpha_kind(pages[0])
        if alpha and samples.shape[2] == 4:
            return on_white(samples, premultiplied=alpha == _ASSOCIATED_ALPHA)
        return np.ascontiguousarray(samples[..., :3])

    def _decode(self, page: Any, at: TileAt, plane: int) -> UInt8Array:
        """(tile height, tile width, samples) uint8; edge strips may be lower."""
        n_rows, n_columns = grid_shape(page)
        index = (plane * n_rows + at.row) * n_columns + at.column
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if offset == 0 or count == 0:
            raise TileError(NOT_STORED)
        rows, columns = _shape_at(page, at)
        try:
            with self._lock:
                self._tiff.filehandle.seek(offset)
                data = self._tiff.filehandle.read(count)
            if len(data) < count:
                raise TileError(CUT_OFF)
            if page.compression in JPEG_COMPRESSIONS:
                _check_jpeg(data, rows=rows, columns=columns)
            segment, _, _ = page.decode(data, index, jpegtables=page.jpegtables)
        except DECODER_FAILURES as error:
            raise TileError("tile does not decode") from error
        if segment is None or segment.dtype != np.uint8 or segment.ndim != 4:
            raise TileError("tile does not decode")
        samples: UInt8Array = segment[0]
        is_jpeg = page.compression in JPEG_COMPRESSIONS
        if is_jpeg and may_lack(data, samples) and not holds_all(data, tables=page.jpegtables):
            raise TileError(DAMAGED_WITHIN)
        if samples.shape[:2] != (rows, columns):
            raise TileError("tile of another size than the header says")
        return samples


def _shape_at(page: Any, at: TileAt) -> tuple[int, int]:
    """Rows and columns of a decoded tile; the last strip may be lower."""
    tile, size = tile_size(page), page_size(page)
    rows = tile.height if page.is_tiled else min(tile.height, size.height - at.row * tile.height)
    return rows, tile.width


def is_tiled_rgb(path: Path) -> bool:
    """Whether a TIFF file is better read by tiles than as one plain image: it is tiled, or has several levels.

    One level of 16 bit, CMYK, a palette or turned is read as a plain image, which turns it into upright 8-bit RGB.
    """
    with _named(path.name), quiet(), tifffile.TiffFile(path) as tiff:
        first = tiff.pages.first
        if len(tiff.series[0].levels) > 1:
            return True
        is_8_bit = first.bitspersample == 8 and first.photometric in {_RGB, _YCBCR, _GREY}
        is_upright = first.tags.valueof(_ORIENTATION, default=1) == 1
        return bool(first.is_tiled and ((is_8_bit and is_upright) or claims_levels(path)))


def is_aperio_ycc(path: Path) -> bool:
    """Whether a file of Aperio is JPEG 2000 whose channels are luma and chroma: what OpenSlide turns into RGB."""
    with _named(path.name), quiet(), tifffile.TiffFile(path) as tiff:
        return bool(tiff.pages.first.compression == _APERIO_YCC)


def claims_levels(path: Path) -> bool:
    """Whether a tiled TIFF file lists smaller levels, sound or not: in SubIFDs, or in smaller pages that are tiled."""
    with quiet(), suppress(*DECODER_FAILURES), tifffile.TiffFile(path) as tiff:
        first = tiff.pages.first
        others = (tiff.pages[number].aspage() for number in range(1, len(tiff.pages)))
        return bool(first.is_tiled and (first.subifds or any(_is_smaller(page, first) for page in others)))
    return False


def _is_smaller(page: Any, first: Any) -> bool:
    """Whether a page is a level below the first, not another picture of its size."""
    below = page.imagewidth < first.imagewidth or page.imagelength < first.imagelength
    return bool(page.is_reduced or (page.is_tiled and below))


def _colour_pages(series: Any) -> tuple[Any, ...]:
    """One page, or the three that hold a channel each; none where they are in other files."""
    numbers = channel_pages(series) if series.keyframe.samplesperpixel == 1 else ()
    pages = [series.pages[number] for number in numbers or (0,)]
    return () if any(page is None for page in pages) else tuple(page.aspage() for page in pages)


def _holds_more(tiff: Any, pages: tuple[Any, ...]) -> bool:
    """Whether there are more pictures than the one of ``pages``: of other focus or time, or another scan.

    Labels, thumbnails and other small pictures are none; of Aperio's files all but the first series are such.
    """
    first, *others = tiff.series
    if math.prod(plane_axes(first)[1]) > len(pages):
        return True
    least_px = MIN_SCAN_SHARE * page_size(pages[0]).area
    scans = () if tiff.is_svs else (each.keyframe for each in others if each.keyframe is not None)
    return any(page.is_tiled and page_size(page).area > least_px for page in scans)


def _check_size(name: str, size: LevelSize, level: int) -> None:
    if min(size.width, size.height) < 1:
        raise UnreadableError(
            f"{name}: level {level} is {size.width} x {size.height} pixels; the file is damaged, export it again"
        )


def _check_page(name: str, page: Any, level: int) -> None:
    size, tile = page_size(page), tile_size(page)
    _check_size(name, size, level)
    if not index_fits(page):
        raise UnreadableError(
            f"{name}: level {level} of {size.width} x {size.height} pixels lists {len(page.dataoffsets)} tiles, which "
            "cannot fill it; the file is damaged, copy or export it again"
        )
    if tile.width * tile.height > MAX_TILE_PX:
        raise UnreadableError(
            f"{name}: level {level} is stored in pieces of {tile.width} x {tile.height} pixels; export it in tiles"
        )
    if page.tags.valueof(_ORIENTATION, default=1) != 1:
        raise UnreadableError(f"{name}: turned by its Orientation tag; export it upright")
    if page.bitspersample != 8 or page.sampleformat != 1:
        raise UnreadableError(f"{name}: samples of type {page.dtype}; export it as 8-bit RGB")
    if page.photometric not in {_RGB, _YCBCR} and not (page.photometric == _GREY and page.samplesperpixel == 1):
        raise UnreadableError(f"{name}: colours stored as {page.photometric.name}; export it as 8-bit RGB")
    if page.photometric == _YCBCR and page.compression not in JPEG_COMPRESSIONS:  # no decoder would turn it into RGB
        raise UnreadableError(f"{name}: colours stored as {page.photometric.name}; export it as 8-bit RGB")


def _check_order(name: str, tiff: Any, size: LevelSize) -> None:
    """Refuse a pyramid that does not begin with its largest level: the small one would be taken for all there is."""
    for number, page in enumerate(tiff.pages):
        other = page_size(page.aspage())
        is_alike = abs(other.width * size.height / (other.height * size.width) - 1) < MAX_MISFIT
        if page.is_tiled and is_alike and other.area > size.area:
            raise UnreadableError(
                f"{name}: page {number} of {other.width} x {other.height} pixels is larger than the first of "
                f"{size.width} x {size.height}; its levels are in the wrong order, export it again"
            )


def _check_ome(name: str, xml: str, size: LevelSize) -> None:
    """Refuse a file whose OME-XML speaks of another image."""
    image = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    first = image[0] if isinstance(image, list | tuple) and image else image
    pixels = first.get("Pixels", {}) if isinstance(first, dict) else {}
    stated = (pixels.get("SizeX", size.width), pixels.get("SizeY", size.height))
    if stated != (size.width, size.height):
        raise UnreadableError(
            f"{name}: the OME header says {stated[0]} x {stated[1]} pixels, the image has "
            f"{size.width} x {size.height}; export it again"
        )


def _check_jpeg(data: bytes, *, rows: int, columns: int) -> None:
    """Refuse JPEG data that end early or are of another size: decoders paint what is missing without a word."""
    if not data.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise TileError("tile ends early")
    if frame_size(data) not in {None, (rows, columns)}:
        raise TileError("tile of another size than the header says")


def _extra_samples(page: Any) -> bool:
    return bool(page.samplesperpixel > 3)


def _alpha_kind(page: Any) -> int:
    kinds = tuple(page.extrasamples or ())
    first = int(kinds[0]) if kinds else 0
    return first if first in {_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA} else 0


def _vendor(tiff: Any) -> str:
    if tiff.is_ome:
        return "ome-tiff"
    return "aperio" if tiff.is_svs else "tiff"


def _objective(tiff: Any, page: Any) -> float | None:
    """``NominalMagnification`` of OME-XML, ``AppMag`` of Aperio."""
    if tiff.is_ome:
        instrument = tifffile.xml2dict(tiff.ome_metadata).get("OME", {}).get("Instrument", {})
        first = instrument[0] if isinstance(instrument, list | tuple) and instrument else instrument
        objective = first.get("Objective", {}) if isinstance(first, dict) else {}
        one = objective[0] if isinstance(objective, list | tuple) and objective else objective
        stated = one.get("NominalMagnification") if isinstance(one, dict) else None
    else:
        _, found, rest = page.description.partition("AppMag = ")
        stated = rest.split("|")[0] if found else None
    try:
        return float(stated) if stated is not None else None
    except ValueError:
        return None


class _Complaints(logging.Handler):
    """Hears what tifffile logs about a broken index, and keeps it from the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard = False

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self.heard = True

    def __enter__(self) -> None:
        logger = logging.getLogger("tifffile")
        logger.addHandler(self)
        logger.propagate = False

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("tifffile")
        logger.removeHandler(self)
        logger.propagate = True


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn whatever a decoder stumbles over into one line."""
    try:
        yield
    except DECODER_FAILURES as error:
        raise damaged(name) from error
