"""PNG and JPEG files to 8-bit RGB, by Pillow.

Its plugins are called directly: ``Image.open`` refuses large images by a global limit (0.18e9 pixels) and would try
every format it knows. What Pillow lets pass is checked here: pixels that are missing or spoilt.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from pdl1quant.errors import NotColourError
from pdl1quant.slides.jpeg_data import holds_all
from pdl1quant.slides.pixel_size import StatedSize, size_from_density
from pdl1quant.slides.raster import (
    Decoded,
    Note,
    check_dimensions,
    check_expansion,
    check_peak,
    check_visible,
    damaged,
    on_white,
)

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

    from pdl1quant.model import UInt8Array

_ORIENTATION_TAG: Final = 274
_X_RESOLUTION_TAG, _Y_RESOLUTION_TAG, _RESOLUTION_UNIT_TAG = 282, 283, 296
_UNITS: Final = {2: "inch", 3: "cm"}
_JFIF_UNITS: Final = {1: "inch", 2: "cm"}
_PNG_DEPTH_BYTE: Final = 24
_PNG_FIRST_CHUNK: Final = 8
_GREY_MODES: Final = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "F"})
_OWN_PICTURE: Final = "pdl1quant "
"""How ``Software`` begins in overlays, overviews and figures."""
_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = b"\xff\xd9"


def decode_png(name: str, data: bytes) -> Decoded:
    """Decode the bytes of a PNG file; animations yield their first image."""
    if not _has_last_chunk(data):
        raise damaged(name)
    image = PngImageFile(io.BytesIO(data))
    _check(name, image, n_file_bytes=len(data), bits=data[_PNG_DEPTH_BYTE])
    notes = []
    if getattr(image, "is_animated", False):
        notes.append(Note.FIRST_IMAGE_ONLY)
    if data[_PNG_DEPTH_BYTE] > 8:
        notes.append(Note.REDUCED_TO_8_BIT)
    decoded = _decoded(name, image, notes)
    if Note.REDUCED_TO_8_BIT in notes:
        check_peak(name, decoded.rgb)
    return replace(decoded, is_own=str(image.info.get("Software", "")).startswith(_OWN_PICTURE))


def decode_jpeg(name: str, data: bytes) -> Decoded:
    """Decode the bytes of a JPEG file."""
    if not _has_end(data):
        raise damaged(name)
    image = JpegImageFile(io.BytesIO(data))
    check_dimensions(name, image.width, image.height)  # what claims to be too large is not counted for minutes
    if not holds_all(data):
        raise damaged(name)
    _check(name, image, n_file_bytes=len(data), bits=8)
    return _decoded(name, image, [])


def _check(name: str, image: ImageFile, *, n_file_bytes: int, bits: int) -> None:
    check_dimensions(name, image.width, image.height)
    n_samples = image.width * image.height * len(image.getbands())
    check_expansion(name, n_pixel_bytes=n_samples * bits // 8, n_file_bytes=n_file_bytes)
    if image.mode in _GREY_MODES:
        image.load()  # a damaged grey image is damaged first
        raise NotColourError(f"{name}: not a colour image (one grey channel); export the colour image as RGB")


def _decoded(name: str, image: ImageFile, notes: list[Note]) -> Decoded:
    image.load()
    if image.info.get("icc_profile"):
        notes.append(Note.ICC_IGNORED)
    return Decoded(
        rgb=_rgb(name, image, notes),
        orientation=_orientation(image),
        size=stated_size(image),
        notes=tuple(notes),
        icc=image.info.get("icc_profile"),
    )


def _rgb(name: str, image: ImageFile, notes: list[Note]) -> UInt8Array:
    if image.mode == "CMYK":
        notes.append(Note.CMYK_CONVERTED)
    if image.mode in {"RGBA", "PA"} or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        if rgba[..., 3].min() == 255:
            return rgba[..., :3]
        check_visible(name, rgba)
        notes.append(Note.ALPHA_ON_WHITE)
        return on_white(rgba)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _orientation(image: ImageFile) -> int:
    value = image.getexif().get(_ORIENTATION_TAG, 1)
    return value if value in range(1, 9) else 1


def stated_size(image: ImageFile) -> StatedSize | None:
    """PNG's pHYs, JFIF's density, else EXIF's resolution; Pillow's ``dpi`` of a JPEG may be its own invention."""
    if "jfif_density" in image.info:
        x, y = image.info["jfif_density"]
        unit = _JFIF_UNITS.get(image.info.get("jfif_unit", 0), "")
        if unit:
            return size_from_density(x, y, unit=unit)
    elif isinstance(image, PngImageFile) and "dpi" in image.info:
        x, y = image.info["dpi"]
        return size_from_density(x, y, unit="inch")
    exif = image.getexif()
    unit = _UNITS.get(exif.get(_RESOLUTION_UNIT_TAG, 2), "")
    return size_from_density(exif.get(_X_RESOLUTION_TAG), exif.get(_Y_RESOLUTION_TAG), unit=unit)


def _has_last_chunk(data: bytes) -> bool:
    """Whether the chunks of a PNG file lead to its last one; what follows that is no part of the image."""
    at = _PNG_FIRST_CHUNK
    while at + 8 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


def _has_end(data: bytes) -> bool:
    """Whether an end-of-image marker follows the start of the first scan; libjpeg paints what is missing grey."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker == _START_OF_SCAN:
            return data.rfind(_END_OF_IMAGE) > at
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False
