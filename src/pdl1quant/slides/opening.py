"""From a path to a slide: which reader serves which file.

======================================================================  ==================================
what it is                                                              who reads it
======================================================================  ==================================
PNG, JPEG, untiled TIFF of one level                                    `PlainSource`, in memory
OME-TIFF, Aperio, TIFF in tiles or with a pyramid in pages or SubIFDs   `TiffSource` (tifffile)
Hamamatsu, Leica, Philips, Ventana, MIRAX, Zeiss, Trestle, DICOM ...    `OpenSlideSource`
DICOM that OpenSlide does not read (extra ``dicom``)                    `DicomSource` (wsidicom)
OME-Zarr folder (extra ``zarr``)                                        `ZarrSource`
======================================================================  ==================================
"""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from PIL import Image

from pdl1quant.errors import Pdl1QuantError, UnreadableError
from pdl1quant.slides.pixel_size import check_given
from pdl1quant.slides.pyramid import PyramidSlide
from pdl1quant.slides.raster import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pdl1quant.model import Slide
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
"""Larger images are read in tiles."""

_PLAIN_STARTS: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
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


def is_whole_slide(path: Path) -> bool:
    """Whether a file is to be read in tiles: a pyramid, a slide scanner's format, or larger than one piece may be.

    What cannot be read at all is no slide: whoever reads it as an image says why.
    """
    try:
        with _readable(path):
            opener = _opener(path)
        if opener is _plain:
            return _is_large(*_plain_size(path))
        if opener is not _tiff:
            return True
        from pdl1quant.slides.tiff_source import claims_levels  # noqa: PLC0415  other files need no tifffile

        if claims_levels(path):  # whatever is wrong with them: one level alone would be another thing than the file
            return True
        with closing(open_source(path)) as source:
            sizes = source.info.sizes
    except Pdl1QuantError:
        return path.suffix.lower() in SLIDE_SUFFIXES and path.suffix.lower() not in PLAIN_SUFFIXES
    return len(sizes) > 1 or _is_large(sizes[0].width, sizes[0].height)


def _is_large(width: int, height: int) -> bool:
    return max(width, height) > MAX_PIECE_SIDE_PX or width * height > MAX_PIECE_PX


def _plain_size(path: Path) -> tuple[int, int]:
    """Columns and rows, from the header; nothing where it cannot be read."""
    unreadable = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
    with suppress(*unreadable), quiet(), Image.open(path) as image:
        return image.size
    return 0, 0


def open_source(path: Path) -> Source:
    """The reader of a file, without a pixel size."""
    with _readable(path):
        return _opener(path)(path)


def _opener(path: Path) -> Callable[[Path], Source]:
    if not path.exists():
        raise UnreadableError(f"{path.name}: no such file; check the path")
    if path.is_dir():
        return _folder_opener(path)
    start = _first_bytes(path)
    if not start:
        raise UnreadableError(f"{path.name}: the file is empty; copy or export it again")
    if start.startswith(_PLAIN_STARTS):
        return _plain
    from pdl1quant.slides.openslide_source import detect  # noqa: PLC0415  other files need no OpenSlide

    if start.startswith(_TIFF_STARTS):
        if detect(path) not in _PLAIN_DIALECTS:
            return _openslide
        from pdl1quant.slides.tiff_source import is_tiled_rgb  # noqa: PLC0415  see above

        return _tiff if is_tiled_rgb(path) else _plain
    if detect(path) is not None:
        return _openslide
    if _is_dicom(start):
        return _dicom
    raise UnreadableError(f"{path.name}: not a slide or image of a known type; export it as OME-TIFF")


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
