"""TIFF files (plain, BigTIFF, OME, ImageJ) to 8-bit RGB, by tifffile: the first image, at full resolution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import tifffile

from pdl1quant.errors import NotColourError, RefusedError, UnreadableError
from pdl1quant.slides.jpeg_data import holds_all
from pdl1quant.slides.pixel_size import StatedSize, size_from_aperio, size_from_density, size_from_ome
from pdl1quant.slides.raster import (
    Decoded,
    Note,
    check_dimensions,
    check_expansion,
    check_peak,
    check_visible,
    cmyk_to_rgb,
    damaged,
    on_white,
    to_8_bit,
)
from pdl1quant.slides.tiff_index import pages_loop

if TYPE_CHECKING:
    from pdl1quant.model import UInt8Array

_UNCOMPRESSED: Final = 1
_JPEG: Final = 7
JPEG_COMPRESSIONS: Final = frozenset({6, 7})
"""Whose decoder turns luma and chroma into RGB."""
_BOUNDED_COMPRESSIONS: Final = frozenset({1, 5, 7, 8, 32773, 32946})
"""None, LZW, JPEG, deflate, PackBits, deflate: those whose expansion has a known bound."""
_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2
_RESOLUTION_UNITS: Final = {2: "inch", 3: "cm", 4: "mm", 5: "um"}
_COLOUR_NAMES: Final = (("red", "r"), ("green", "g"), ("blue", "b"))
_AXES_OF_A_PAGE: Final = "YXS"
_MAX_SAMPLE_VALUE: Final = 281
_ORIENTATION: Final = 274
_ICC_PROFILE: Final = 34675


def decode_tiff(name: str, stream: BinaryIO) -> Decoded:
    """Decode the first image of the TIFF file open in ``stream``."""
    if pages_loop(stream):
        raise damaged(name)
    with tifffile.TiffFile(stream) as tiff:
        if not tiff.pages:
            raise damaged(name)
        pages = _colour_pages(name, tiff)
        n_file_bytes = tiff.filehandle.size
        for page in pages:
            _check(name, page, n_file_bytes)
            _check_codes(name, page)
        notes = []
        if len(tiff.pages) > len(pages):
            notes.append(Note.FIRST_IMAGE_ONLY)
        if _ICC_PROFILE in pages[0].tags:
            notes.append(Note.ICC_IGNORED)
        samples = _samples(pages)
        _check_samples(name, pages, samples, tiff.series[0])
        rgb = _rgb(name, pages[0], samples, notes)
        if rgb.shape != (*samples.shape[:2], 3) or rgb.dtype != np.uint8:  # a palette of another shape
            raise damaged(name)
        return Decoded(
            rgb=rgb,
            orientation=_orientation(pages[0]),
            size=stated_size(tiff, pages[0]),
            notes=tuple(notes),
            icc=_tag(pages[0], _ICC_PROFILE),
        )


def _colour_pages(name: str, tiff: Any) -> list[Any]:
    """The first page, or the three pages that hold one channel each (OME-TIFF, ImageJ)."""
    first = tiff.pages.first
    if first.photometric not in {_MINISWHITE, _MINISBLACK} or first.samplesperpixel >= 3:
        return [first]
    if not (tiff.is_ome or tiff.is_imagej):
        return [first]
    series = tiff.series[0]
    chosen = [series.pages[number] for number in channel_pages(series)]
    if not chosen:
        return [first]
    if any(page is None for page in chosen):
        raise UnreadableError(f"{name}: its channels are in other files; export it as one RGB image")
    return [page.aspage() for page in chosen]


def channel_pages(series: Any) -> tuple[int, ...]:
    """Which pages of tifffile's series hold red, green and blue of its first plane; none where there are not three."""
    axes, counts = plane_axes(series)
    if "C" not in axes or counts[axes.index("C")] != 3:
        return ()
    places = (tuple(channel if axis == "C" else 0 for axis in axes) for channel in _colour_order(series))
    return tuple(int(np.ravel_multi_index(at, counts)) for at in places)


def _colour_order(series: Any) -> tuple[int, ...]:
    """Which channels are red, green and blue: those that OME-XML names so, else the three in their order."""
    tiff = series.keyframe.parent
    channels = _ome_pixels(tiff.ome_metadata).get("Channel", ()) if tiff.is_ome else ()
    names = [str(each.get("Name", "")).strip().lower() for each in channels if isinstance(each, dict)]
    order = tuple(at for colour in _COLOUR_NAMES for at, name in enumerate(names) if name in colour)
    return order if len(order) == len(names) == 3 else (0, 1, 2)


def not_colour(name: str, series: Any) -> NotColourError:
    """The error for a series of pages that hold one channel each, and not three."""
    n = dict(zip(*plane_axes(series), strict=True)).get("C", 1)
    held = f"{n} channels, not three" if n > 1 else "one grey channel"
    return NotColourError(f"{name}: not a colour image ({held}); export the colour image as RGB")


def plane_axes(series: Any) -> tuple[str, tuple[int, ...]]:
    """The axes of tifffile's series that are not those of a page (focus, time, channel), and how long they are."""
    axes, shape = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    counts = [(axis, n) for axis, n in zip(axes, shape, strict=True) if axis not in _AXES_OF_A_PAGE]
    return "".join(axis for axis, _ in counts), tuple(n for _, n in counts)


def _check(name: str, page: Any, n_file_bytes: int) -> None:
    check_dimensions(name, page.imagewidth, page.imagelength)
    if page.imagedepth != 1:
        raise RefusedError(f"{name}: the page is a volume; export one plane as RGB")
    n_chunk_samples = math.prod(page.chunks)  # of one strip or tile: its sides may be a lie as well
    check_dimensions(name, max(1, n_chunk_samples // page.samplesperpixel), 1)
    if page.compression in _BOUNDED_COMPRESSIONS:
        n_chunk_bytes = n_chunk_samples * page.bitspersample // 8
        check_expansion(name, n_pixel_bytes=max(page.nbytes, n_chunk_bytes), n_file_bytes=n_file_bytes)
    offsets, counts = page.dataoffsets, page.databytecounts
    whole = len(offsets) == len(counts) == math.prod(page.chunked) and all(
        offset > 0 and count > 0 and offset + count <= n_file_bytes
        for offset, count in zip(offsets, counts, strict=True)
    )
    if whole and page.compression == _UNCOMPRESSED and page.bitspersample in {8, 16}:
        whole = sum(counts) >= page.nbytes
    if not whole:
        raise damaged(name)


def _check_codes(name: str, page: Any) -> None:
    """Refuse JPEG data that do not hold all pixels."""
    if page.compression == _JPEG:
        for data, _ in page.parent.filehandle.read_segments(page.dataoffsets, page.databytecounts):
            if data is None or not holds_all(bytes(data), tables=page.jpegtables):
                raise damaged(name)


def _samples(pages: list[Any]) -> Any:
    """(H, W, S) samples in the file's own type."""
    arrays = [page.asarray(maxworkers=1) for page in pages]
    if len(arrays) > 1:
        return np.stack(arrays, axis=-1)
    samples = arrays[0]
    if pages[0].axes == "SYX":
        return np.moveaxis(samples, 0, -1)
    return samples if samples.ndim == 3 else samples[..., np.newaxis]


def _check_samples(name: str, pages: list[Any], samples: Any, series: Any) -> None:
    page = pages[0]
    if samples.shape[:2] != (page.imagelength, page.imagewidth):
        raise damaged(name)
    if samples.shape[2] < 3 and page.photometric != _PALETTE:
        raise not_colour(name, series)
    if samples.dtype not in (np.uint8, np.uint16):
        raise RefusedError(f"{name}: samples of type {samples.dtype}, so its white is unknown; export it as 8-bit RGB")
    is_raw_ycbcr = page.photometric == _YCBCR and page.compression not in JPEG_COMPRESSIONS
    known = {_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _SEPARATED, _YCBCR}
    if is_raw_ycbcr or page.photometric not in known:
        raise RefusedError(f"{name}: colours stored as {page.photometric.name}; export it as 8-bit RGB")


def _rgb(name: str, page: Any, samples: Any, notes: list[Note]) -> UInt8Array:
    if page.photometric == _PALETTE:
        return _from_palette(page, samples[..., 0])
    white_level = 65535
    if samples.dtype == np.uint16:
        notes.append(Note.REDUCED_TO_8_BIT)
        stated = _tag(page, _MAX_SAMPLE_VALUE)
        stated = max(stated) if isinstance(stated, tuple) else stated
        if isinstance(stated, int) and 255 < stated < 65535:
            white_level = stated
        samples = to_8_bit(samples, white_level=white_level)
        if white_level == 65535:
            check_peak(name, samples)
    levels: UInt8Array = samples
    if page.photometric == _SEPARATED:
        notes.append(Note.CMYK_CONVERTED)
        return cmyk_to_rgb(levels[..., :4])
    if levels.shape[2] == 3:
        return levels
    extra = page.extrasamples[0] if page.extrasamples else 0
    if extra in {_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA}:
        if levels[..., 3].min() < 255:
            check_visible(name, levels)
            notes.append(Note.ALPHA_ON_WHITE)
            return on_white(levels, premultiplied=extra == _ASSOCIATED_ALPHA)
        return levels[..., :3]
    notes.append(Note.EXTRA_CHANNELS_IGNORED)
    return levels[..., :3]


def _from_palette(page: Any, indices: Any) -> UInt8Array:
    """Colours of a palette image; some writers store the palette with 8 instead of 16 bit."""
    palette = np.asarray(page.colormap).T
    if palette.max(initial=0) > 255:
        palette = palette >> 8
    colours: UInt8Array = palette.astype(np.uint8)[indices]
    return colours


def _orientation(page: Any) -> int:
    value = _tag(page, _ORIENTATION)
    return int(value) if value in range(1, 9) else 1


def stated_size(tiff: Any, page: Any) -> StatedSize | None:
    """What the file says explicitly in um, else its print resolution; the first that speaks, not the nicest."""
    x, y = _ratio(_tag(page, "XResolution")), _ratio(_tag(page, "YResolution"))
    size = size_from_ome(_ome_pixels(tiff.ome_metadata)) if tiff.is_ome else None
    if size is None and tiff.is_imagej:
        size = size_from_density(x, y, unit=str((tiff.imagej_metadata or {}).get("unit", "")))
    if size is None:
        size = size_from_aperio(page.description)
    if size is None:
        unit = _tag(page, "ResolutionUnit", 2)
        size = size_from_density(x, y, unit=_RESOLUTION_UNITS.get(int(unit), ""))
    return size


def _ome_pixels(xml: str) -> dict[str, Any]:
    """What OME-XML says of the pixels of its first image."""
    image = tifffile.xml2dict(xml).get("OME", {}).get("Image", {})
    first = image[0] if isinstance(image, list | tuple) and image else image
    pixels = first.get("Pixels", {}) if isinstance(first, dict) else {}
    return pixels if isinstance(pixels, dict) else {}


def _tag(page: Any, code: int | str, default: Any = None) -> Any:
    return page.tags.valueof(code, default=default)


def _ratio(value: Any) -> float | None:
    """A TIFF rational."""
    match value:
        case (int(above), int(below)) if below:
            return above / below
        case _:
            return None
