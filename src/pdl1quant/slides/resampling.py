"""From the pixels of a level to those of a grid over the slide, so that a pixel never depends on the window it is in.

Kernel: the mean of the whole number of pixels nearest to the downsample, at the exact (1/32 px) place, interpolated
linearly; for whole downsamples that is the plain mean (OpenCV's ``INTER_AREA``). Enlarging is cubic. Every place is
computed from the index in the slide, and the arithmetic is of integers, so windows agree where they overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.model import Rect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pdl1quant.model import UInt8Array

SUBPIXEL = 32
"""Places are rounded to this part of a pixel, as OpenCV's integer interpolation does: 0.03 px."""
_CUBIC_REACH = 2
_WHOLE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How one axis is resampled: ``downsample`` = ``group`` pixels averaged first, times ``rest``.

    ``taps`` is the width of the running mean (in groups), 0 for cubic enlargement.
    """

    downsample: float
    group: int
    taps: int

    @classmethod
    def of(cls, downsample: float) -> Axis:
        """The way to shrink by ``downsample`` (below 1: to enlarge)."""
        nearest = round(downsample)
        if nearest >= 1 and abs(downsample - nearest) < _WHOLE * nearest:
            return cls(downsample=float(nearest), group=nearest, taps=1)
        if downsample < 1:
            return cls(downsample=downsample, group=1, taps=0)
        group = 1 if downsample < 4 else int(downsample // 2)
        return cls(downsample=downsample, group=group, taps=math.floor(downsample / group + 0.5))

    @property
    def is_whole(self) -> bool:
        """Whether a mean over whole pixels is all there is to do."""
        return self.downsample == self.group

    def places(self, start: int, stop: int) -> NDArray[np.float64]:
        """Where pixels ``start`` to ``stop`` of the grid lie among the running means, in groups from the corner."""
        centre = (np.arange(start, stop) + 0.5) * (self.downsample / self.group) - 0.5
        return np.asarray(np.rint((centre - max(self.taps - 1, 0) / 2) * SUBPIXEL) / SUBPIXEL)

    def needed(self, start: int, stop: int) -> tuple[int, int]:
        """Which pixels of the level (half-open, beyond its border too) make pixels ``start`` to ``stop``."""
        if self.is_whole:
            return start * self.group, stop * self.group
        first, last = self.places(start, start + 1)[0], self.places(stop - 1, stop)[0]
        after = max(self.taps, _CUBIC_REACH) + 1
        return (math.floor(first) - _CUBIC_REACH + 1) * self.group, (math.floor(last) + after) * self.group


def needed_rect(rect: Rect, x_axis: Axis, y_axis: Axis) -> Rect:
    """Which pixels of the level are needed for ``rect`` of the grid; may reach beyond the level's border."""
    (x0, x1), (y0, y1) = x_axis.needed(rect.x0, rect.x1), y_axis.needed(rect.y0, rect.y1)
    return Rect(x0=x0, y0=y0, x1=x1, y1=y1)


def resample(rgb: UInt8Array, rect: Rect, x_axis: Axis, y_axis: Axis) -> UInt8Array:
    """Pixels ``rect`` of the grid.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8: exactly the pixels `needed_rect` asks for.
    rect
        Pixels of the grid.
    x_axis, y_axis
        How each axis is resampled.
    """
    need = needed_rect(rect, x_axis, y_axis)
    assert rgb.shape[:2] == (need.height, need.width)
    if x_axis.group > 1 or y_axis.group > 1:
        size = (need.width // x_axis.group, need.height // y_axis.group)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if x_axis.is_whole and y_axis.is_whole:
        return rgb
    x = x_axis.places(rect.x0, rect.x1) - need.x0 // x_axis.group
    y = y_axis.places(rect.y0, rect.y1) - need.y0 // y_axis.group
    taps = (max(x_axis.taps, 1), max(y_axis.taps, 1))
    if taps != (1, 1):
        rgb = np.asarray(cv2.blur(rgb, taps, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)
    cubic = x_axis.taps == 0 or y_axis.taps == 0
    places = _fixed_point(x, y)
    how = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    found = cv2.remap(rgb, *places, how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=np.uint8)


def _fixed_point(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
    """Places as OpenCV's integer interpolation takes them: whole pixels, and the index of the part of a pixel."""
    whole = np.empty((len(y), len(x), 2), np.int16)
    whole[..., 0] = np.floor(x)
    whole[..., 1] = np.floor(y)[:, np.newaxis]
    part_x, part_y = (((at - np.floor(at)) * SUBPIXEL).astype(np.uint16) for at in (x, y))
    return whole, part_y[:, np.newaxis] * np.uint16(SUBPIXEL) + part_x
