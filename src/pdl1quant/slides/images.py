"""From a plain image file (PNG, JPEG, TIFF) to upright 8-bit RGB pixels of known size.

PNG and JPEG go through Pillow, TIFF through tifffile: the type is told by the first bytes, not by the name. Colour
profiles are noted, not applied. A file that cannot be decoded to its last pixel is refused.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from pdl1quant.errors import NotColourError, RefusedError, UnreadableError
from pdl1quant.slides.pixel_size import MppSource, StatedSize, check_given, resolve_pixel_size
from pdl1quant.slides.png_jpeg import decode_jpeg, decode_png
from pdl1quant.slides.raster import Decoded, Note, damaged, quiet
from pdl1quant.slides.tiff import decode_tiff
from pdl1quant.stages.quality import is_grey

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.model import UInt8Array

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8\xff"
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_DECODER_FAILURES = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    SyntaxError,  # Pillow's word for a broken PNG
    struct.error,
    zlib.error,
)
"""What Pillow, tifffile and imagecodecs raise on damaged files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainImage:
    """An image that fits into memory.

    ``rgb`` is (H, W, 3) uint8, contiguous, upright. ``mpp`` is the side of a pixel in um and ``mpp_source`` says who
    said so; ``metadata_mpp`` is what the file said, None when it said nothing plausible. ``sha256`` is that of the
    file's bytes, in hexadecimal.
    """

    rgb: UInt8Array
    mpp: float
    mpp_source: MppSource
    metadata_mpp: float | None
    sha256: str
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedImage:
    """An image before its pixel size is decided: pixels as in `PlainImage`, and what the file says about them.

    ``kind`` is ``png``, ``jpeg`` or ``tiff``; ``icc`` is the colour profile, which is not applied; ``is_own`` says that
    pdl1quant drew it of results.
    """

    rgb: UInt8Array
    kind: str
    size: StatedSize | None
    icc: bytes | None
    sha256: str
    notes: tuple[Note, ...]
    is_own: bool


def read_image(path: Path, *, mpp: float | None = None) -> PlainImage:
    """Read a PNG, JPEG or TIFF file.

    8 and 16 bit; RGB, RGBA (composited on white), palette and CMYK (converted); of several pages the first. The EXIF
    or TIFF orientation is applied. Pixels are not resampled, and a colour profile is not applied.

    Parameters
    ----------
    path
        The file.
    mpp
        Pixel size in um, 0.1-2; wins over the file's own.

    Raises
    ------
    UnreadableError
        The file is missing, empty, truncated, damaged, too large, or of another type.
    NotColourError
        It has one channel, or three equal ones.
    PixelSizeError
        Neither ``mpp`` nor the file tells the size of a (square) pixel between 0.1 and 2 um.
    RefusedError
        A 16-bit image whose white level cannot be known; one that its alpha channel hides; a picture that pdl1quant
        drew of results.
    UsageError
        ``mpp`` is outside 0.1-2.
    """
    check_given(mpp)
    image = decode_input(path)
    size = resolve_pixel_size(path.name, image.size, given=mpp)
    notes = {*image.notes, Note.MPP_OVERRIDDEN} if size.overridden else image.notes
    return PlainImage(
        rgb=image.rgb,
        mpp=size.mpp,
        mpp_source=size.source,
        metadata_mpp=size.metadata_mpp,
        sha256=image.sha256,
        notes=tuple(sorted(notes)),
    )


def decode_input(path: Path) -> DecodedImage:
    """`decode_image` of what is to be measured.

    Raises
    ------
    UnreadableError, NotColourError, RefusedError
        As `read_image`.
    """
    image = decode_image(path)
    if image.is_own:
        raise RefusedError(f"{path.name}: a picture that pdl1quant drew of results; give the image that was scored")
    return image


def decode_image(path: Path) -> DecodedImage:
    """Read a PNG, JPEG or TIFF file as `read_image` does, whatever its pixel size and whoever drew it.

    Raises
    ------
    UnreadableError, NotColourError, RefusedError
        As `read_image`.
    """
    decoded, kind, sha256 = _read(path.name, path)
    if is_grey(decoded.rgb):
        raise NotColourError(f"{path.name}: not a colour image (three equal channels); export the colour image as RGB")
    notes = set(decoded.notes)
    if decoded.orientation != 1:
        notes.add(Note.ORIENTATION_APPLIED)
    return DecodedImage(
        rgb=np.ascontiguousarray(_upright(decoded.rgb, decoded.orientation)),
        kind=kind,
        size=_upright_size(decoded),
        icc=decoded.icc,
        sha256=sha256,
        notes=tuple(sorted(notes)),
        is_own=decoded.is_own,
    )


def _read(name: str, path: Path) -> tuple[Decoded, str, str]:
    """Hash and decode; every failure becomes one line."""
    try:
        if not path.is_file():
            reason = "not a file" if path.exists() else "no such file"
            raise UnreadableError(f"{name}: {reason}; check the path")
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            try:
                with quiet():
                    return *_decode(name, stream), sha256
            except _DECODER_FAILURES as error:
                raise damaged(name) from error
    except MemoryError as error:
        raise UnreadableError(f"{name}: not enough memory to decode it; cut it into tiles") from error
    except OSError as error:
        raise UnreadableError(f"{name}: cannot be read ({error.strerror}); check its permissions") from error


def _decode(name: str, stream: BinaryIO) -> tuple[Decoded, str]:
    start = stream.read(8)
    stream.seek(0)
    if not start:
        raise UnreadableError(f"{name}: the file is empty; copy or export it again")
    if start.startswith(_PNG_START):
        return decode_png(name, stream.read()), "png"
    if start.startswith(_JPEG_START):
        return decode_jpeg(name, stream.read()), "jpeg"
    if start.startswith(_TIFF_STARTS):
        return decode_tiff(name, stream), "tiff"
    raise UnreadableError(f"{name}: not a PNG, JPEG or TIFF image; export it as one of these")


def _upright(rgb: UInt8Array, orientation: int) -> UInt8Array:
    """Turn the image as TIFF's and EXIF's Orientation (1-8) asks; a view."""
    if orientation >= 5:
        rgb = rgb.transpose(1, 0, 2)
    flip_rows = orientation in {3, 4, 7, 8}
    flip_columns = orientation in {2, 3, 6, 7}
    return rgb[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def _upright_size(decoded: Decoded) -> StatedSize | None:
    size = decoded.size
    if size is None or decoded.orientation < 5:
        return size
    return StatedSize(x_um=size.y_um, y_um=size.x_um)
