"""A slide over any file format: grids, resampling, borders and damage are the same for all."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from pdl1quant.errors import UnreadableError, UsageError
from pdl1quant.model import Rect, Region, SlideDamage, SlideGrid
from pdl1quant.slides.levels import pyramid_levels
from pdl1quant.slides.mosaic import intersection
from pdl1quant.slides.pixel_size import resolve_sides
from pdl1quant.slides.raster import Note, damaged
from pdl1quant.slides.resampling import Axis, needed_rect, resample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from pdl1quant.model import Level, UInt8Array
    from pdl1quant.slides.pixel_size import MppSource, PixelSides
    from pdl1quant.slides.source import LevelDamage, Source, SourceInfo

SAME_MPP = 0.01
"""Pixel sizes closer than this (relative) are not resampled; as for plain images."""
BLOCK_PX = 2048
"""A window is made in parts of this side at most, and of as many stored pixels: what bounds the memory."""
BORDER_LEVEL = 255
"""What lies beyond the slide is white, as what was not scanned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A source and the process that opened it: handles do not survive a fork."""

    source: Source
    process: int


class PyramidSlide:
    """A slide read through a `Source`; see the protocol `pdl1quant.model.Slide`.

    Parameters
    ----------
    path
        The file or folder.
    opener
        Opens it; called again in a process that a slide is sent to.
    mpp
        Pixel size in um of level 0 as the user states it; wins over the file's.

    Raises
    ------
    UnreadableError
        The file is damaged beyond use: see `pyramid_levels` and the sources.
    PixelSizeError
        Neither ``mpp`` nor the file tells the size of a pixel.
    """

    def __init__(self, path: Path, opener: Callable[[Path], Source], *, mpp: float | None = None) -> None:
        self._path = path
        self._opener = opener
        self._given = mpp
        self._opened: _Opened | None = _Opened(source=opener(path), process=os.getpid())
        self._is_closed = False
        self._lock = Lock()
        try:
            self._info = self._opened.source.info
            self._levels = pyramid_levels(path.name, self._info.sizes)
            self._sides = _sides(path.name, self._info, given=mpp)
        except BaseException:
            self.close()
            raise
        self._damage = [self._as_slide_damage(each) for each in self._info.damage]

    # --- what it is ---------------------------------------------------------------------------------------------------
    @property
    def path(self) -> Path:
        """The file or folder."""
        return self._path

    @property
    def width(self) -> int:
        """Columns of level 0."""
        return self._levels[0].width

    @property
    def height(self) -> int:
        """Rows of level 0."""
        return self._levels[0].height

    @property
    def levels(self) -> tuple[Level, ...]:
        """At least one, the finest first."""
        return self._levels

    @property
    def mpp_x(self) -> float:
        """Width of a level-0 pixel in um."""
        return self._sides.x_um

    @property
    def mpp_y(self) -> float:
        """Height of a level-0 pixel in um."""
        return self._sides.y_um

    @property
    def mpp_source(self) -> MppSource:
        """Who said so: ``given`` or ``metadata``."""
        return self._sides.source

    @property
    def vendor(self) -> str:
        """The maker of the format, in lower case."""
        return self._info.vendor

    @property
    def objective(self) -> float | None:
        """Magnification of the objective as the file states it."""
        return self._info.objective

    @property
    def icc(self) -> str | None:
        """Name of the colour profile, which is not applied."""
        return self._info.icc

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to, or ignored in, the file on reading it."""
        extra = [Note.MPP_OVERRIDDEN] if self._sides.overridden else []
        extra += [Note.ICC_IGNORED] if self._info.icc else []
        return tuple(sorted({*self._info.notes, *extra}))

    @property
    def damage(self) -> tuple[SlideDamage, ...]:
        """What the index of the file shows to be damaged, and what was met on reading in this process."""
        with self._lock:
            return tuple(sorted(self._damage, key=lambda each: (each.level, each.rect.y0, each.rect.x0, each.reason)))

    # --- grids --------------------------------------------------------------------------------------------------------
    def grid(self, mpp: float | None = None) -> SlideGrid:
        """The grid of pixels of ``mpp`` um over the slide.

        A level within 1 % of ``mpp`` is taken as it is, and then says the grid's ``mpp``. Otherwise the coarsest level
        that is fine enough is resampled; non-square pixels become square.

        Parameters
        ----------
        mpp
            um per pixel; level 0 as it is (square within 1 %, else resampled to its coarser side) when None.
        """
        if mpp is None:
            mpp = max(self.mpp_x, self.mpp_y)
        if not (math.isfinite(mpp) and mpp > 0):
            raise UsageError(f"mpp = {mpp:g}: a pixel size is a positive number of um")
        chosen = 0
        for number, level in enumerate(self._levels):
            scale_x = mpp / (self.mpp_x * level.downsample_x)
            scale_y = mpp / (self.mpp_y * level.downsample_y)
            if abs(scale_x - 1) < SAME_MPP and abs(scale_y - 1) < SAME_MPP:
                return SlideGrid(
                    mpp=math.sqrt(self.mpp_x * level.downsample_x * self.mpp_y * level.downsample_y),
                    width=level.width,
                    height=level.height,
                    downsample_x=level.downsample_x,
                    downsample_y=level.downsample_y,
                    level=number,
                )
            if min(scale_x, scale_y) >= 1:
                chosen = number
        downsample_x, downsample_y = mpp / self.mpp_x, mpp / self.mpp_y
        return SlideGrid(
            mpp=mpp,
            width=max(1, round(self.width / downsample_x)),
            height=max(1, round(self.height / downsample_y)),
            downsample_x=downsample_x,
            downsample_y=downsample_y,
            level=chosen,
        )

    # --- pixels -------------------------------------------------------------------------------------------------------
    def read(self, rect: Rect, grid: SlideGrid) -> Region:
        """The pixels ``rect`` of ``grid``; see the protocol.

        A pixel of a grid has one value, whatever window it is read in. Beyond the border everything is white (clip the
        window to the grid where white would be taken for glass). Damaged pixels are white, too, and listed in
        ``Region.damage``: whoever measures has to leave them out.
        """
        if rect.width < 1 or rect.height < 1:
            raise UsageError(
                f"{self._path.name}: a window of {rect.width} x {rect.height} pixels; ask for at least one"
            )
        rgb = np.full((rect.height, rect.width, 3), BORDER_LEVEL, np.uint8)
        inside = intersection(rect, Rect(x0=0, y0=0, x1=grid.width, y1=grid.height))
        met: dict[SlideDamage, None] = {}
        for part in () if inside is None else self._parts(inside, grid):
            pixels, damage = self._read_part(part, grid)
            rgb[part.y0 - rect.y0 : part.y1 - rect.y0, part.x0 - rect.x0 : part.x1 - rect.x0] = pixels
            met |= dict.fromkeys(damage)
        self._remember(met)
        return Region(rgb=rgb, damage=tuple(met))

    def read_region(self, rect: Rect, *, mpp: float | None = None) -> UInt8Array:
        """The pixels at ``mpp`` um that touch ``rect`` (level-0 pixels): (H, W, 3) uint8; for what is whole.

        Raises
        ------
        UnreadableError
            Some of it is damaged; `read` returns what there is.
        """
        grid = self.grid(mpp)
        region = self.read(grid.covering(rect), grid)
        if region.damage:
            first = region.damage[0]
            raise UnreadableError(
                f"{self._path.name}: pixels from {first.rect.x0}, {first.rect.y0} to {first.rect.x1}, {first.rect.y1} "
                f"are damaged ({first.reason}); copy or export it again"
            )
        return region.rgb

    def _parts(self, rect: Rect, grid: SlideGrid) -> Iterator[Rect]:
        level = self._levels[grid.level]
        step_x = max(1, min(BLOCK_PX, int(2 * BLOCK_PX * level.downsample_x / grid.downsample_x)))
        step_y = max(1, min(BLOCK_PX, int(2 * BLOCK_PX * level.downsample_y / grid.downsample_y)))
        for y0 in range(rect.y0, rect.y1, step_y):
            for x0 in range(rect.x0, rect.x1, step_x):
                yield Rect(x0=x0, y0=y0, x1=min(x0 + step_x, rect.x1), y1=min(y0 + step_y, rect.y1))

    def _read_part(self, rect: Rect, grid: SlideGrid) -> tuple[UInt8Array, list[SlideDamage]]:
        level = self._levels[grid.level]
        x_axis = Axis.of(grid.downsample_x / level.downsample_x)
        y_axis = Axis.of(grid.downsample_y / level.downsample_y)
        need = needed_rect(rect, x_axis, y_axis)
        stored = Rect(
            x0=min(max(need.x0, 0), level.width - 1),
            y0=min(max(need.y0, 0), level.height - 1),
            x1=max(min(need.x1, level.width), 1),
            y1=max(min(need.y1, level.height), 1),
        )
        pixels = self._source().read_level(grid.level, stored)
        rgb = _extended(pixels.rgb, stored, need)
        return resample(rgb, rect, x_axis, y_axis), [self._as_slide_damage(each) for each in pixels.damage]

    def _remember(self, met: Iterable[SlideDamage]) -> None:
        with self._lock:
            for new in met:
                if not any(
                    old.level == new.level and intersection(old.rect, new.rect) == new.rect for old in self._damage
                ):
                    self._damage.append(new)

    def _as_slide_damage(self, damage: LevelDamage) -> SlideDamage:
        level, rect = self._levels[damage.level], damage.rect
        return SlideDamage(
            rect=Rect(
                x0=math.floor(rect.x0 * level.downsample_x),
                y0=math.floor(rect.y0 * level.downsample_y),
                x1=min(math.ceil(rect.x1 * level.downsample_x), self.width),
                y1=min(math.ceil(rect.y1 * level.downsample_y), self.height),
            ),
            level=damage.level,
            reason=damage.reason,
        )

    # --- the open file ------------------------------------------------------------------------------------------------
    def _source(self) -> Source:
        with self._lock:
            if self._is_closed:
                raise UsageError(f"{self._path.name}: the slide is closed; open it again")
            if self._opened is None or self._opened.process != os.getpid():
                self._opened = _Opened(source=self._opener(self._path), process=os.getpid())
            return self._opened.source

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        self._is_closed = True
        opened, self._opened = self._opened, None
        if opened is not None and opened.process == os.getpid():
            opened.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., PyramidSlide], tuple[Path, Callable[[Path], Source], float | None]]:
        return _open_again, (self._path, self._opener, self._given)


def _sides(name: str, info: SourceInfo, *, given: float | None) -> PixelSides:
    """The sides of a pixel; a damaged file is not asked for what its lost part may have held."""
    if given is None and info.stated is None and (info.damage or info.is_suspect):
        raise damaged(name)
    return resolve_sides(name, info.stated, given=given)


def _extended(rgb: UInt8Array, stored: Rect, need: Rect) -> UInt8Array:
    """The pixels ``need`` of a level of which ``stored`` are in hand: its border pixels go on beyond it."""
    if stored == need:
        return rgb
    margins = (stored.y0 - need.y0, need.y1 - stored.y1, stored.x0 - need.x0, need.x1 - stored.x1)
    top, bottom, left, right = (max(0, margin) for margin in margins)
    wider = cv2.copyMakeBorder(rgb, top, bottom, left, right, cv2.BORDER_REPLICATE)
    skip_y, skip_x = max(0, -margins[0]), max(0, -margins[2])
    return np.asarray(wider[skip_y : skip_y + need.height, skip_x : skip_x + need.width], dtype=np.uint8)


def _open_again(path: Path, opener: Callable[[Path], Source], mpp: float | None) -> PyramidSlide:
    return PyramidSlide(path, opener, mpp=mpp)
