"""What the decoders of plain images share: the decoded value, the guards, and the ways to plain 8-bit RGB."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pdl1quant.errors import RefusedError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pdl1quant.model import UInt8Array
    from pdl1quant.slides.pixel_size import StatedSize

MAX_PIXELS = 1_000_000_000
"""Larger images are refused before any memory is taken: as RGB this many pixels are 3 GB, and decoding needs two to
three times that. A field of 20 000 x 20 000 pixels (0.4e9) passes; whole slides are read in parts, by other readers."""

MAX_EXPANSION = 2000
"""No PNG, JPEG or LZW stream of a real image holds more bytes of pixels per byte of file: deflate ends at 1032, a blank
JPEG (one bit per block of 64 pixels) at about 1400, LZW at 1366. A header that claims more is damaged."""

MIN_PEAK_LEVEL = 64
"""A 16-bit image whose brightest sample is below a quarter of full scale (this level of 255) holds 10 to 14 bit
data: which of its levels is white cannot be known, and a bright field without white has no optical density."""

_ROWS_PER_BLOCK = 256


class Note(StrEnum):
    """What was done to, or ignored in, an image on reading it."""

    ALPHA_ON_WHITE = "alpha_on_white"
    """Transparency was composited on white."""
    CMYK_CONVERTED = "cmyk_converted"
    """CMYK was converted by the plain formula, without a profile."""
    EXTRA_CHANNELS_IGNORED = "extra_channels_ignored"
    """Channels that are not declared as transparency were left out."""
    FIRST_IMAGE_ONLY = "first_image_only"
    """The file holds several images; the first one was read."""
    ICC_IGNORED = "icc_ignored"
    """The file has a colour profile; the numbers were taken as they are."""
    MPP_OVERRIDDEN = "mpp_overridden"
    """The given pixel size differs from the file's by more than 1 %."""
    ORIENTATION_APPLIED = "orientation_applied"
    """The image was turned or mirrored as its Orientation tag asks."""
    REDUCED_TO_8_BIT = "reduced_to_8_bit"
    """16-bit samples were scaled to 8 bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Pixels as stored (not yet turned upright), (H, W, 3) uint8, and what the file says about them."""

    rgb: UInt8Array
    orientation: int
    size: StatedSize | None
    notes: tuple[Note, ...]
    icc: bytes | None = None
    is_own: bool = False
    """Whether pdl1quant drew it of results: outlines and colours on tissue, which would be scored."""


def check_dimensions(name: str, width_px: int, height_px: int) -> None:
    """Refuse sides below 1 and areas above ``MAX_PIXELS``, before memory is taken."""
    if width_px < 1 or height_px < 1:
        raise UnreadableError(f"{name}: the image is {width_px} x {height_px} pixels; export it again")
    if width_px * height_px > MAX_PIXELS:
        raise RefusedError(
            f"{name}: {width_px} x {height_px} pixels, the limit is {MAX_PIXELS // 1_000_000} million; "
            "cut it into tiles, or export it again if that is not its size"
        )


def check_expansion(name: str, *, n_pixel_bytes: int, n_file_bytes: int) -> None:
    """Refuse a header that claims more pixels than its file can hold."""
    if n_pixel_bytes > MAX_EXPANSION * n_file_bytes:
        raise UnreadableError(
            f"{name}: the header claims {n_pixel_bytes} bytes of pixels, the file has {n_file_bytes} bytes; "
            "it is damaged, copy or export it again"
        )


def check_peak(name: str, rgb: UInt8Array) -> None:
    """Refuse 16-bit pixels, already reduced to 8 bit, that use only the bottom of the scale."""
    if rgb.max(initial=0) < MIN_PEAK_LEVEL:
        raise RefusedError(
            f"{name}: 16-bit image that uses less than a quarter of its range, so its white is unknown; "
            "export it as 8-bit RGB"
        )


def check_visible(name: str, rgba: UInt8Array) -> None:
    """Refuse a picture all of which its alpha channel hides, as cameras and 32-bit bitmaps do that leave it at 0.

    Where the colours below are all one there is nothing to see, and nothing is hidden: a blank tile.
    """
    if not rgba[..., 3].any() and (rgba[..., :3] != rgba[0, 0, :3]).any():
        raise RefusedError(f"{name}: its alpha channel makes all of it transparent; export it as RGB without it")


def damaged(name: str) -> UnreadableError:
    """The error for a file that ends early or does not decode."""
    return UnreadableError(f"{name}: the image is truncated or damaged; copy or export it again")


def on_white(rgba: UInt8Array, *, premultiplied: bool = False) -> UInt8Array:
    """(H, W, 4) uint8 composited on white: (H, W, 3) uint8, a new array."""
    rgb = np.empty((*rgba.shape[:2], 3), np.uint8)
    for rows in row_blocks(rgba.shape[0]):
        colour = rgba[rows, :, :3].astype(np.uint16)
        alpha = rgba[rows, :, 3:].astype(np.uint16)
        paint = colour if premultiplied else (colour * alpha + 127) // 255
        rgb[rows] = np.minimum(paint + (255 - alpha), 255)
    return rgb


def to_8_bit(samples: NDArray[np.uint16], *, white_level: int) -> UInt8Array:
    """16-bit samples as uint8; ``white_level`` (the highest level the file can hold) becomes 255."""
    levels = np.minimum(np.arange(65536) * 255 // white_level, 255).astype(np.uint8)
    return levels[samples]


def cmyk_to_rgb(cmyk: UInt8Array) -> UInt8Array:
    """(H, W, 4) uint8 ink (0 = none) as (H, W, 3) uint8, by (1 - ink) (1 - black); no colour profile."""
    height, width = cmyk.shape[:2]
    image = Image.frombytes("CMYK", (width, height), np.ascontiguousarray(cmyk).tobytes())
    return np.asarray(image.convert("RGB"))


def row_blocks(height_px: int) -> Iterator[slice]:
    """Slices of rows that keep the working memory small."""
    for start in range(0, height_px, _ROWS_PER_BLOCK):
        yield slice(start, start + _ROWS_PER_BLOCK)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the decoders' own warnings and log lines to themselves: what matters is checked and said in our words."""
    logger = logging.getLogger("tifffile")
    was_disabled = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was_disabled
