"""DICOM slides as slides, by wsidicom: for files that OpenSlide does not read, and for folders of DICOM files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from wsidicom import WsiDicom, errors

from pdl1quant.errors import UnreadableError
from pdl1quant.slides.mosaic import TileAt, TileCache, TileError, read_tiles
from pdl1quant.slides.pixel_size import StatedSize
from pdl1quant.slides.raster import damaged
from pdl1quant.slides.source import LevelPixels, LevelSize, SourceInfo, icc_name

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.model import Rect, UInt8Array

_NO_SLIDE: tuple[type[Exception], ...] = tuple(
    each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)
)
_FAILURES: tuple[type[Exception], ...] = (
    OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError, *_NO_SLIDE,
)  # fmt: skip
"""What wsidicom, pydicom and the decoders raise on damaged files."""


class DicomSource:
    """A DICOM slide: one file, or all files of a folder; see `Source`."""

    def __init__(self, path: Path) -> None:
        self._cache = TileCache()
        try:
            self._slide = WsiDicom.open(sorted(path.iterdir()) if path.is_dir() else path)
        except _NO_SLIDE as error:
            raise UnreadableError(f"{path.name}: no DICOM slide, or not all of it; export it again") from error
        except _FAILURES as error:
            raise damaged(path.name) from error
        try:
            self._levels = tuple(self._slide.levels)
            self.info = self._describe()
        except _FAILURES as error:
            self._slide.close()
            raise damaged(path.name) from error

    def read_level(self, level: int, rect: Rect) -> LevelPixels:
        """See `Source`."""
        size, step = self.info.sizes[level], self._levels[level].tile_size
        tile = LevelSize(width=step.width, height=step.height)
        return read_tiles(rect, level=level, size=size, tile=tile, load=self._load, cache=self._cache)

    def close(self) -> None:
        """Close the files."""
        self._slide.close()

    def _describe(self) -> SourceInfo:
        paths = self._slide.metadata.pyramid.optical_paths
        spacing = self._levels[0].mpp
        return SourceInfo(
            vendor="dicom",
            sizes=tuple(LevelSize(width=each.size.width, height=each.size.height) for each in self._levels),
            stated=StatedSize(x_um=spacing.width, y_um=spacing.height) if spacing is not None else None,
            objective=_objective(paths),
            icc=icc_name(paths[0].icc_profile if paths else None),
        )

    def _load(self, at: TileAt) -> UInt8Array:
        level, size = self._levels[at.level], self.info.sizes[at.level]
        left, top = at.column * level.tile_size.width, at.row * level.tile_size.height
        shape = (min(level.tile_size.width, size.width - left), min(level.tile_size.height, size.height - top))
        try:
            pixels = np.asarray(self._slide.read_region((left, top), level.level, shape).convert("RGB"))
        except _FAILURES as error:
            raise TileError("tile does not decode") from error
        return pixels


def _objective(paths: Any) -> float | None:
    objective = paths[0].objective if paths else None
    power = None if objective is None else objective.objective_power
    return None if power is None else float(power)
