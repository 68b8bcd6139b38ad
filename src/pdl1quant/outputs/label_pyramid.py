"""Label images of a whole slide -> a tiled OME-TIFF with levels in SubIFDs, block by block, in any order.

A block holds for each pixel its cell and the part of the cell in one number (`PARTS`). It is compressed when it comes
and kept in a file without a name; the TIFF is put together from there, for it wants its tiles in order.
"""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

import imagecodecs
import numpy as np
import tifffile

from pdl1quant import __version__
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.outputs.labels import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pdl1quant.model import Int32Array

BLOCK_PX = 512
STEP = 4
"""Each level is so many times coarser than the one before; of its pixels one in ``STEP`` x ``STEP`` is taken."""
PARTS = 4
"""A pixel holds ``label * PARTS + part``: 0 nothing, 1 nucleus, 2 cytoplasm, 3 membrane."""
MAX_TOP_PX = 1024
"""The coarsest level has no longer side, if there is any."""
_LEVEL = 1  # of libdeflate: the next ones cost twice as much and save a tenth
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:pdl1quant:labels")


@dataclass(slots=True, kw_only=True)
class _Spool:
    """Compressed tiles by level, channel, row and column: where they lie in the file."""

    file: IO[bytes]
    at: dict[tuple[int, int, int, int], tuple[int, int]] = field(default_factory=dict)
    coarser: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """What the blocks of the last level become in the next one, packed."""
    n_bytes: int = 0

    def add(self, level: int, row: int, column: int, block: Int32Array) -> None:
        label, part = block // PARTS, block % PARTS
        planes = (np.where(part == 1, label, 0), label, np.where(part == 2, label, 0), np.where(part == 3, label, 0))
        for channel, plane in enumerate(planes):
            data = bytes(imagecodecs.deflate_encode(np.ascontiguousarray(plane, "<i4").tobytes(), level=_LEVEL))
            self.at[level, channel, row, column] = self.n_bytes, len(data)
            self.n_bytes += self.file.write(data)
        small = np.ascontiguousarray(block[::STEP, ::STEP])
        self.coarser[row, column] = bytes(imagecodecs.zstd_encode(small.tobytes(), level=1))

    def coarsen(self, level: int) -> None:
        """Make the blocks of a level from those of the one before."""
        parts, self.coarser = self.coarser, {}
        side = BLOCK_PX // STEP
        for row, column in sorted({(row // STEP, column // STEP) for row, column in parts}):
            block = np.zeros((BLOCK_PX, BLOCK_PX), np.int32)
            for down in range(STEP):
                for right in range(STEP):
                    packed = parts.get((row * STEP + down, column * STEP + right))
                    if packed is not None:
                        small = np.frombuffer(imagecodecs.zstd_decode(packed), np.int32).reshape(side, side)
                        block[down * side : (down + 1) * side, right * side : (right + 1) * side] = small
            self.add(level, row, column, block)

    def tiles(self, level: int, width: int, height: int) -> Iterator[bytes]:
        """The tiles of a level, channel by channel, row by row."""
        nothing = bytes(imagecodecs.deflate_encode(bytes(4 * BLOCK_PX**2), level=_LEVEL))
        for channel in range(len(CHANNELS)):
            for row in range(-(-height // BLOCK_PX)):
                for column in range(-(-width // BLOCK_PX)):
                    found = self.at.get((level, channel, row, column))
                    if found is None:
                        yield nothing
                        continue
                    self.file.seek(found[0])
                    yield self.file.read(found[1])

    def digest(self) -> str:
        """Hash of all tiles."""
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()  # type: ignore[arg-type]


@contextmanager
def label_writer(
    path: Path, *, width: int, height: int, mpp: float
) -> Iterator[Callable[[int, int, Int32Array], None]]:
    """Write label images in blocks: gives a function that takes row and column of a block, and its pixels.

    The file appears when the block ends well; the same blocks in the same order give the same bytes.

    Parameters
    ----------
    path
        File to write; replaced as a whole.
    width, height
        Size of the finest level. Blocks of ``BLOCK_PX`` may reach beyond it; those that never come are empty.
    mpp
        um per pixel of it.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with replace_atomically(path) as partial, tempfile.TemporaryFile(dir=partial.parent) as file:
        spool = _Spool(file=file)
        yield lambda row, column, block: spool.add(0, row, column, block)
        sizes = [(width, height)]
        while max(sizes[-1]) > MAX_TOP_PX:
            spool.coarsen(len(sizes))
            sizes.append((-(-sizes[-1][0] // STEP), -(-sizes[-1][1] // STEP)))
        identity = uuid.uuid5(_NAMESPACE, f"{spool.digest()}:{mpp}:{width}x{height}")
        with tifffile.TiffWriter(partial, bigtiff=True, ome=True) as tiff:
            for level, (columns, rows) in enumerate(sizes):
                tiff.write(
                    spool.tiles(level, columns, rows),
                    shape=(len(CHANNELS), rows, columns),
                    dtype=np.int32,
                    photometric="minisblack",
                    compression="deflate",
                    tile=(BLOCK_PX, BLOCK_PX),
                    software=f"pdl1quant {__version__}",
                    resolution=(1e4 / (mpp * STEP**level),) * 2,
                    resolutionunit="CENTIMETER",
                    **({"subfiletype": 1} if level else {"subifds": len(sizes) - 1, "metadata": _ome(identity, mpp)}),
                )


def _ome(identity: uuid.UUID, mpp: float) -> dict[str, object]:
    return {
        "axes": "CYX",
        "Name": "pdl1quant labels",
        "UUID": str(identity),
        "Channel": {"Name": list(CHANNELS)},
        "PhysicalSizeX": mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": mpp,
        "PhysicalSizeYUnit": "µm",
    }
