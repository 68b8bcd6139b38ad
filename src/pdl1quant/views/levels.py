"""Pyramids of pixels that are read, unmixed or painted when they are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.model import Rect
from pdl1quant.stages import stains

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import DTypeLike, NDArray

    from pdl1quant.model import Slide, SlideGrid, StainEstimate

    Array: TypeAlias = NDArray[Any]

COARSEST_PX = 1024
"""The longer side of the last level is at most this."""
KEPT_PX = 4_000_000
"""Levels up to this size are kept once they were read: whoever zooms out does not wait twice."""


class LevelArray:
    """One level of a pyramid: an array of which only what is asked for is computed.

    Parameters
    ----------
    shape
        (H, W) or (H, W, channels).
    dtype
        Of its values.
    read
        Gives the values of a window, (h, w) or (h, w, channels).
    is_kept
        Whether it never changes, so that a small level may be kept.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: DTypeLike, read: Callable[[Rect], Array], *, is_kept: bool = True
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.ndim = len(shape)
        self.size = int(np.prod(shape))
        self._read = read
        self._is_kept = is_kept and shape[0] * shape[1] <= KEPT_PX
        self._kept: Array | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Array:
        key = _whole_key(key, self.ndim)
        if self._is_kept:
            return np.asarray(self.__array__()[key])
        (y0, y1, in_y), (x0, x1, in_x) = (_span(each, side) for each, side in zip(key[:2], self.shape[:2], strict=True))
        if y1 <= y0 or x1 <= x0:
            window = np.zeros((max(0, y1 - y0), max(0, x1 - x0), *self.shape[2:]), self.dtype)
        else:
            window = self._read(Rect(x0=x0, y0=y0, x1=x1, y1=y1))
        return np.asarray(window[(in_y, in_x, *key[2:])])

    def __array__(self, dtype: DTypeLike | None = None, *, copy: bool | None = None) -> Array:
        """All of it; (H, W) or (H, W, channels)."""
        found = self._kept
        if found is None:
            found = self._read(Rect(x0=0, y0=0, x1=self.shape[1], y1=self.shape[0]))
        if self._is_kept:
            self._kept = found
        return np.array(found, dtype=dtype, copy=bool(copy) or None)


def slide_grids(slide: Slide) -> tuple[SlideGrid, ...]:
    """Grids of square pixels over a slide, each twice as coarse as the one before."""
    finest = slide.grid()
    grids = [finest]
    while max(grids[-1].width, grids[-1].height) > COARSEST_PX:
        grids.append(slide.grid(finest.mpp * 2 ** len(grids)))
    return tuple(grids)


def slide_levels(slide: Slide, grids: tuple[SlideGrid, ...]) -> list[LevelArray]:
    """The pixels of a slide, (H, W, 3) uint8 a level; what is damaged is white."""

    def level(grid: SlideGrid) -> LevelArray:
        return LevelArray((grid.height, grid.width, 3), np.uint8, lambda rect: slide.read(rect, grid).rgb)

    return [level(grid) for grid in grids]


def stain_levels(rgb: list[LevelArray], estimate: StainEstimate, *, stain: str) -> list[LevelArray]:
    """OD (log10) of one stain, (H, W) float32 a level.

    Parameters
    ----------
    rgb
        From `slide_levels`.
    estimate
        Staining of the case, as the run measured it.
    stain
        ``haematoxylin`` or ``dab``.
    """

    def level(pixels: LevelArray) -> LevelArray:
        def read(rect: Rect) -> Array:
            window = np.ascontiguousarray(pixels[rect.y0 : rect.y1, rect.x0 : rect.x1])
            found: Array = getattr(stains.deconvolve(window, estimate), stain)
            return found

        return LevelArray(pixels.shape[:2], np.float32, read, is_kept=False)

    return [level(pixels) for pixels in rgb]


def _whole_key(key: Any, ndim: int) -> tuple[Any, ...]:
    """The key with a part for each axis."""
    parts = key if isinstance(key, tuple) else (key,)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts = (*parts[:at], *([slice(None)] * (ndim - len(parts) + 1)), *parts[at + 1 :])
    return (*parts, *([slice(None)] * (ndim - len(parts))))


def _span(part: Any, side: int) -> tuple[int, int, Any]:
    """First and end of what is to be read along an axis, and what is taken of that."""
    if isinstance(part, slice):
        start, stop, step = part.indices(side)
        if step < 1:
            raise IndexError("a level is read from its first pixel to its last")
        return start, max(start, stop), slice(None, None, step)
    at = int(part) + (side if part < 0 else 0)
    return at, at + 1, 0
