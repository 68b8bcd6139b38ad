"""Write the small odd and broken files of ``sample_slides/broken``: ``python sample_slides/make_broken.py [FOLDER]``.

All show the same 24 x 16 made-up field: glass, a blue and a brown patch. Same versions of the libraries, same bytes.
"""

# ruff: noqa: INP001 (a script, no package)
from __future__ import annotations

import io
import sys
import zlib
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

UM_HALF = (20_000, 20_000)  # pixels per cm at 0.5 um per pixel


def field() -> np.ndarray:
    """(16, 24, 3) uint8: glass, a blue patch at the upper left, a brown one on the right."""
    rgb = np.full((16, 24, 3), (245, 244, 243), np.uint8)
    rgb[2:9, 2:10] = (110, 120, 180)
    rgb[4:14, 14:22] = (150, 100, 60)
    return rgb


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(samples: np.ndarray, **options: object) -> bytes:
    """The samples as the bytes of a TIFF file without date and software tag."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, software=False, metadata=None, **options)
    return buffer.getvalue()


def tiff_of_half_um(samples: np.ndarray, **options: object) -> bytes:
    """A TIFF file that says 0.5 um per pixel."""
    return tiff(samples, resolution=UM_HALF, resolutionunit="CENTIMETER", **options)


def readable() -> dict[str, bytes]:
    """Odd files that can be read."""
    rgb = field()
    image = Image.fromarray(rgb)
    upright = Image.Exif()
    upright[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(rgb)))  # to be turned by 90 degrees clockwise
    transparent = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    transparent[:, :2] = 0
    return {
        "rgb_16_bit.tif": tiff_of_half_um(rgb.astype(np.uint16) * 257, photometric="rgb"),
        "planar.tif": tiff_of_half_um(
            np.moveaxis(rgb, -1, 0).copy(), photometric="rgb", planarconfig="separate", compression="zlib"
        ),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG", quality=100, subsampling=0),
        "palette.png": encoded(image.quantize(8), "PNG"),
        "transparent.png": encoded(Image.fromarray(transparent), "PNG"),
        "rotated.jpg": encoded(stored, "JPEG", quality=100, subsampling=0, exif=upright),
        "fluorescence.tif": tiff_of_half_um(np.where(rgb > 200, 4, 255 - rgb).astype(np.uint8), photometric="rgb"),
    }


def refused() -> dict[str, bytes]:
    """Files that can be read and are refused."""
    rgb = field()
    return {
        "grey.png": encoded(Image.fromarray(rgb).convert("L"), "PNG"),
        "grey_as_rgb.jpg": encoded(Image.fromarray(rgb).convert("L").convert("RGB"), "JPEG"),
        "no_pixel_size.tif": tiff(rgb, photometric="rgb"),
        "72_dpi.tif": tiff(rgb, photometric="rgb", resolution=(72, 72), resolutionunit="INCH"),
        "oblong_pixels.tif": tiff(rgb, photometric="rgb", resolution=(20_000, 40_000), resolutionunit="CENTIMETER"),
        "12_bit.tif": tiff_of_half_um(rgb.astype(np.uint16) * 16, photometric="rgb"),
    }


def broken() -> dict[str, bytes]:
    """Files that cannot be read."""
    image = Image.fromarray(field())
    png, jpeg = encoded(image, "PNG"), encoded(image, "JPEG", quality=95)
    whole = tiff_of_half_um(field(), photometric="rgb")
    return {
        "truncated.png": png[: len(png) * 2 // 3],
        "truncated.jpg": jpeg[: len(jpeg) * 4 // 5],
        "truncated.tif": whole[:-200],
        "zero_filled.jpg": jpeg[:-60] + bytes(60),
        "empty.png": b"",
        "text.png": b"This is a text file, whatever its name says.\n",
        "float.tif": tiff_of_half_um(field().astype(np.float32) / 255, photometric="rgb"),
        "lying_header.tif": _with_side(whole, 4_000_000),
        "lying_header.png": _with_png_side(png, 30_000),
    }


def _with_side(whole: bytes, side: int) -> bytes:
    """The TIFF file with another ImageWidth and ImageLength."""
    changed = bytearray(whole)
    with tifffile.TiffFile(io.BytesIO(whole)) as parsed:
        for tag in (parsed.pages.first.tags["ImageWidth"], parsed.pages.first.tags["ImageLength"]):
            changed[tag.offset + 2 : tag.offset + 4] = (4).to_bytes(2, "little")
            changed[tag.offset + 8 : tag.offset + 12] = side.to_bytes(4, "little")
    return bytes(changed)


def _with_png_side(png: bytes, side: int) -> bytes:
    """The PNG file with another width and height, and a check sum that agrees."""
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + png[24:29]
    return png[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png[33:]


def main() -> None:
    """Write all files into the folder given, else beside this script."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "broken"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (readable() | refused() | broken()).items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
