"""OME-Zarr images (0.4 and 0.5) as slides, by zarr: red, green and blue as three 8-bit channels.

A chunk that is not stored reads as the fill value, which in a bright-field image is no tissue but a loss, unless the
fill value is white.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import zarr
from zarr.errors import BaseZarrError

from pdl1quant.errors import NotColourError, UnreadableError
from pdl1quant.slides.mosaic import TileAt, TileCache, TileError, boxes_of_tiles, read_tiles
from pdl1quant.slides.pixel_size import StatedSize, size_from_scale
from pdl1quant.slides.raster import Note, damaged
from pdl1quant.slides.source import LevelDamage, LevelPixels, LevelSize, SourceInfo
from pdl1quant.slides.tiff_index import NOT_STORED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pdl1quant.model import Rect, UInt8Array

WHITE: Final = 255
MAX_CHUNK_PX: Final = 100_000_000
_FAILURES: Final = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    BaseZarrError,
)


class ZarrSource:
    """An OME-Zarr image; see `Source`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cache = TileCache()
        try:
            root = zarr.open_group(str(path), mode="r")
            image = _multiscale(path.name, dict(root.attrs))
            self._axes = _axes(path.name, image)
            self._arrays: tuple[Any, ...] = tuple(root[str(each["path"])] for each in image["datasets"])
            self.info = self._describe(image)
        except _FAILURES as error:
            raise damaged(path.name) from error

    def read_level(self, level: int, rect: Rect) -> LevelPixels:
        """See `Source`."""
        size, tile = self.info.sizes[level], self._chunk(level)
        return read_tiles(rect, level=level, size=size, tile=tile, load=self._load, cache=self._cache)

    def close(self) -> None:
        """Nothing is open."""

    def _describe(self, image: Mapping[str, Any]) -> SourceInfo:
        name = self._path.name
        for array in self._arrays:
            if len(array.shape) != len(self._axes):
                raise damaged(name)
            if array.shape[self._axes.index("c")] != 3:
                raise NotColourError(
                    f"{name}: not a colour image (channels are not three); export the colour image as RGB"
                )
            if array.dtype != np.uint8:
                raise UnreadableError(f"{name}: samples of type {array.dtype}; export it as 8-bit RGB")
        sizes = tuple(self._size(array.shape) for array in self._arrays)
        if all(size.area for size in sizes) and any(
            self._chunk(number).area > MAX_CHUNK_PX for number in range(len(self._arrays))
        ):
            raise UnreadableError(
                f"{name}: chunks of more than {MAX_CHUNK_PX // 1_000_000} million pixels; export it again"
            )
        beside = (side for axis, side in zip(self._axes, self._arrays[0].shape, strict=True) if axis not in "cyx")
        return SourceInfo(
            vendor="ome-zarr",
            sizes=sizes,
            stated=_stated(image, self._axes),
            notes=(Note.FIRST_IMAGE_ONLY,) if any(side > 1 for side in beside) else (),
            damage=tuple(self._missing(sizes)),
        )

    def _size(self, shape: tuple[int, ...]) -> LevelSize:
        return LevelSize(width=shape[self._axes.index("x")], height=shape[self._axes.index("y")])

    def _chunk(self, level: int) -> LevelSize:
        return self._size(self._arrays[level].chunks)

    def _missing(self, sizes: tuple[LevelSize, ...]) -> Iterable[LevelDamage]:
        """Chunks (shards) without a file, in a local store."""
        for level, array in enumerate(self._arrays):
            if array.fill_value == WHITE or not sizes[level].area:
                continue
            stored = array.shards or array.chunks
            tile = self._size(stored)
            folder = self._path / array.path
            missing = np.zeros((-(-sizes[level].height // tile.height), -(-sizes[level].width // tile.width)), bool)
            sides = zip(self._axes, array.shape, stored, strict=True)
            counts = [-(-side // step) if axis == "c" else 1 for axis, side, step in sides]  # of the first plane
            present = _files_below(folder)
            for row, column in np.ndindex(missing.shape):
                missing[row, column] = not all(
                    array.metadata.encode_chunk_key(self._at(at, row=row, column=column)) in present
                    for at in itertools.product(*(range(n) for n in counts))
                )
            yield from boxes_of_tiles(missing, level=level, tile=tile, size=sizes[level], reason=NOT_STORED)

    def _at(self, index: tuple[int, ...], *, row: int, column: int) -> tuple[int, ...]:
        """An index of chunks with its row and column set."""
        places = {"y": row, "x": column}
        return tuple(places.get(axis, at) for axis, at in zip(self._axes, index, strict=True))

    def _load(self, at: TileAt) -> UInt8Array:
        tile, array = self._chunk(at.level), self._arrays[at.level]
        left, top = at.column * tile.width, at.row * tile.height
        for damage in self.info.damage:
            box = damage.rect
            if damage.level == at.level and box.x0 <= left < box.x1 and box.y0 <= top < box.y1:
                raise TileError(damage.reason)
        slices = {"y": slice(top, top + tile.height), "x": slice(left, left + tile.width), "c": slice(None)}
        try:
            pixels = np.asarray(array[tuple(slices.get(axis, 0) for axis in self._axes)])
        except _FAILURES as error:
            raise TileError("chunk does not decode") from error
        kept = [axis for axis in self._axes if axis in slices]
        return np.ascontiguousarray(pixels.transpose([kept.index(axis) for axis in "yxc"]))


def _multiscale(name: str, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first image of the group: at ``multiscales`` (0.4), or below ``ome`` (0.5)."""
    found = attributes.get("ome", attributes).get("multiscales")
    if not found:
        raise UnreadableError(f"{name}: a Zarr group without multiscales; name the OME-Zarr image itself")
    image: Mapping[str, Any] = found[0]
    return image


def _axes(name: str, image: Mapping[str, Any]) -> str:
    axes = "".join(axis["name"] if isinstance(axis, dict) else str(axis) for axis in image["axes"])
    if not {"y", "x", "c"} <= set(axes) or len(set(axes)) != len(axes):
        raise UnreadableError(f"{name}: axes {axes!r}; export it with axes c, y and x")
    return axes


def _stated(image: Mapping[str, Any], axes: str) -> StatedSize | None:
    """The scale of the first dataset, times that of the whole image."""
    steps = [*image["datasets"][0].get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())]
    scales = [step["scale"] for step in steps if step.get("type") == "scale"]
    if not scales:
        return None
    scale = np.prod(np.asarray(scales, float), axis=0)
    units = {axis["name"]: axis.get("unit") for axis in image["axes"] if isinstance(axis, dict)}
    x, y = axes.index("x"), axes.index("y")
    return size_from_scale(scale[x], scale[y], unit_x=units.get("x"), unit_y=units.get("y"))


def _files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
