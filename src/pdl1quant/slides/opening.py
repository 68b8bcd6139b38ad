"""From a path to a slide: which reader serves which file.

======================================================================  ==================================
what it is                                                              who reads it
======================================================================  ==================================
PNG, JPEG, untiled TIFF of one level                                    `PlainSource`, in memory
OME-TIFF, Aperio, TIFF in tiles or with a pyramid in pages or SubIFDs   `TiffSource` (tifffile)
Aperio in JPEG 2000 of luma and chroma                                  `OpenSlideSource`
Hamamatsu, Leica, Philips, Ventana, MIRAX, Zeiss, Trestle, DICOM ...    `OpenSlideSource`
DICOM that OpenSlide does not read (extra ``dicom``)                    `DicomSource` (wsidicom)
OME-Zarr folder (extra ``zarr``)                                        `ZarrSource`
======================================================================  ==================================
"""

from __future__ import annotations

import struct
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from pdl1quant.errors import Pdl1QuantError, UnreadableError
from pdl1quant.slides.pixel_size import MAX_MPP, check_given
from pdl1quant.slides.pyramid import PyramidSlide
from pdl1quant.slides.raster import damaged, quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from PIL.ImageFile import ImageFile

    from pdl1quant.model import Slide
    from pdl1quant.slides.pixel_size import StatedSize
    from pdl1quant.slides.source import Source

SLIDE_SUFFIXES: Final = (
    ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".czi", ".svslide", ".dcm",
    ".tif", ".tiff", ".btf", ".tf8", ".zarr", ".png", ".jpg", ".jpeg",
)  # fmt: skip
"""Endings that files (and OME-Zarr folders) usually have; `open_slide` looks at the bytes instead."""

PLAIN_SUFFIXES: Final = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
"""Endings that plain images have, too."""
MAX_PIECE_SIDE_PX: Final = 8192
MAX_PIECE_PX: Final = 64_000_000
"""Images of more pixels, as stored or at the working resolution, are read in tiles."""

_HEADER_FAILURES: Final = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    SyntaxError,
    struct.error,
)
_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_PLAIN_STARTS: Final = (_PNG_START, b"\xff\xd8\xff")
_TIFF_STARTS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ZARR_FILES: Final = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_DICOM_MARK: Final = (128, b"DICM")
_PLAIN_DIALECTS: Final = frozenset({None, "generic-tiff", "aperio"})
"""OpenSlide's names for TIFF in plain tiles: read by tifffile, which sees all levels and each missing tile, and is
three to four times as fast."""


def open_slide(path: Path, *, mpp: float | None = None) -> Slide:
    """Open a whole slide or a plain image.

    Parameters
    ----------
    path
        A file, or the folder of an OME-Zarr image or of the files of one DICOM slide.
    mpp
        Pixel size of level 0 in um, 0.1-2; wins over the file's own.

    Returns
    -------
    Slide
        Open; use it with ``with``.

    Raises
    ------
    UnreadableError
        It is missing, of an unknown type, or damaged beyond use. Damage that leaves the rest readable is listed in
        ``Slide.damage`` instead.
    PixelSizeError
        Neither ``mpp`` nor the file tells the size of a pixel.
    NotColourError
        A plain image has one channel.
    UsageError
        ``mpp`` is outside 0.1-2.

    Examples
    --------
    >>> with open_slide(path) as slide:  # doctest: +SKIP
    ...     grid = slide.grid(mpp=0.5)
    ...     region = slide.read(Rect(x0=0, y0=0, x1=1024, y1=1024), grid)
    """
    check_given(mpp)
    with _readable(path):
        opener = _opener(path)
    return PyramidSlide(path, opener, mpp=mpp)


def is_whole_slide(path: Path, *, mpp: float | None = None, working_mpp: float | None = None) -> bool:
    """Whether a file is to be read in tiles: a pyramid, a slide scanner's format, or larger than one piece may be.

    What cannot be read at all is no slide: whoever reads it as an image says why.

    Parameters
    ----------
    path
        As for `open_slide`.
    mpp
        Pixel size in um; wins over the file's own.
    working_mpp
        What it is going to be resampled to; None: only its stored pixels count.
    """
    try:
        with _readable(path):
            opener = _opener(path)
        if opener is _plain:
            size, ask = _plain_header(path)
            return _is_large(size, ask, mpp=mpp, working_mpp=working_mpp)
        if opener is not _tiff:
            return True
        from pdl1quant.slides.tiff_source import claims_levels  # noqa: PLC0415  other files need no tifffile

        if claims_levels(path):  # whatever is wrong with them: one level alone would be another thing than the file
            return True
        with closing(open_source(path)) as source:
            sizes, stated = source.info.sizes, source.info.stated
    except Pdl1QuantError:
        return path.suffix.lower() in SLIDE_SUFFIXES and path.suffix.lower() not in PLAIN_SUFFIXES
    return len(sizes) > 1 or _is_large(
        (sizes[0].width, sizes[0].height), lambda: stated, mpp=mpp, working_mpp=working_mpp
    )


def _is_large(
    size: tuple[int, int], stated: Callable[[], StatedSize | None], *, mpp: float | None, working_mpp: float | None
) -> bool:
    """Whether columns and rows are too many, as stored or resampled; the file's own pixel size is asked for last."""
    n_px = size[0] * size[1]
    if max(size) > MAX_PIECE_SIDE_PX or n_px > MAX_PIECE_PX:
        return True
    if working_mpp is None or n_px * (MAX_MPP / working_mpp) ** 2 <= MAX_PIECE_PX:
        return False
    if mpp is None:
        found = stated()
        mpp = found.mean_um if found is not None and found.plausible else 0.0  # without one it is refused
    return n_px * (mpp / working_mpp) ** 2 > MAX_PIECE_PX


def _plain_header(path: Path) -> tuple[tuple[int, int], Callable[[], StatedSize | None]]:
    """Columns and rows, and what tells the size of a pixel, from the header; nothing where it cannot be read."""
    with suppress(*_HEADER_FAILURES), quiet():
        if _first_bytes(path).startswith(_TIFF_STARTS):
            import tifffile  # noqa: PLC0415  most files do not get here

            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages.first
                return (page.imagewidth, page.imagelength), partial(_plain_stated, path)
        with _pillow(path) as image:
            return image.size, partial(_plain_stated, path)
    return (0, 0), lambda: None


def _plain_stated(path: Path) -> StatedSize | None:
    with suppress(*_HEADER_FAILURES), quiet():
        if not _first_bytes(path).startswith(_TIFF_STARTS):
            from pdl1quant.slides.png_jpeg import stated_size as of_image  # noqa: PLC0415  most files do not get here

            with _pillow(path) as image:
                return of_image(image)
        import tifffile  # noqa: PLC0415  as above

        from pdl1quant.slides.tiff import stated_size as of_page  # noqa: PLC0415  as above

        with tifffile.TiffFile(path) as tiff:
            return of_page(tiff, tiff.pages[0])
    return None


def _pillow(path: Path) -> ImageFile:
    """A PNG or JPEG file; ``Image.open`` would refuse those above 0.18e9 pixels, which are to be read in tiles."""
    return (PngImageFile if _first_bytes(path).startswith(_PNG_START) else JpegImageFile)(path)


def open_source(path: Path) -> Source:
    """The reader of a file, without a pixel size."""
    with _readable(path):
        return _opener(path)(path)


def _opener(path: Path) -> Callable[[Path], Source]:
    if not path.exists():
        raise UnreadableError(f"{path.name}: no such file; check the path")
    if path.is_dir():
        return _folder_opener(path)
    if not path.is_file():  # a pipe would be waited for, for ever
        raise UnreadableError(f"{path.name}: not a file; save it as one")
    start = _first_bytes(path)
    if not start:
        raise UnreadableError(f"{path.name}: the file is empty; copy or export it again")
    if start.startswith(_PLAIN_STARTS):
        return _plain
    from pdl1quant.slides.openslide_source import detect  # noqa: PLC0415  other files need no OpenSlide

    if start.startswith(_TIFF_STARTS):
        return _tiff_opener(path, detect(path))
    if detect(path) is not None:
        return _openslide
    if _is_dicom(start):
        return _dicom
    raise UnreadableError(f"{path.name}: not a slide or image of a known type; export it as OME-TIFF")


def _tiff_opener(path: Path, dialect: str | None) -> Callable[[Path], Source]:
    if dialect not in _PLAIN_DIALECTS:
        return _openslide
    from pdl1quant.slides.tiff_index import pages_loop  # noqa: PLC0415  other files need no tifffile
    from pdl1quant.slides.tiff_source import is_aperio_ycc, is_tiled_rgb  # noqa: PLC0415  as above

    with path.open("rb") as stream:
        if pages_loop(stream):
            raise damaged(path.name)
    if dialect == "aperio" and is_aperio_ycc(path):
        return _openslide
    return _tiff if is_tiled_rgb(path) else _plain


def _folder_opener(path: Path) -> Callable[[Path], Source]:
    if any((path / name).is_file() for name in _ZARR_FILES):
        return _zarr
    if any(_is_dicom(_first_bytes(each)) for each in path.iterdir() if each.is_file()):
        return _dicom
    raise UnreadableError(f"{path.name}: a folder that is no OME-Zarr image and no DICOM slide; name the slide itself")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_DICOM_MARK[0] + len(_DICOM_MARK[1]))


def _is_dicom(start: bytes) -> bool:
    return start[_DICOM_MARK[0] :] == _DICOM_MARK[1]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnreadableError(f"{path.name}: cannot be read ({error.strerror}); check its permissions") from error


# Functions of the module, so that a slide can be sent to another process; each imports its reader only when needed.
def _plain(path: Path) -> Source:
    from pdl1quant.slides.plain_source import PlainSource  # noqa: PLC0415

    return PlainSource(path)


def _tiff(path: Path) -> Source:
    from pdl1quant.slides.tiff_source import TiffSource  # noqa: PLC0415

    return TiffSource(path)


def _openslide(path: Path) -> Source:
    from pdl1quant.slides.openslide_source import OpenSlideSource  # noqa: PLC0415

    return OpenSlideSource(path)


def _zarr(path: Path) -> Source:
    try:
        from pdl1quant.slides.zarr_source import ZarrSource  # noqa: PLC0415
    except ImportError as error:
        raise UnreadableError(f"{path.name}: OME-Zarr needs more; run pip install 'pdl1quant[zarr]'") from error
    return ZarrSource(path)


def _dicom(path: Path) -> Source:
    try:
        from pdl1quant.slides.dicom_source import DicomSource  # noqa: PLC0415
    except ImportError as error:
        raise UnreadableError(f"{path.name}: this DICOM needs more; run pip install 'pdl1quant[dicom]'") from error
    return DicomSource(path)
