"""From the sizes of a pyramid's levels to their downsamples, refusing sizes that cannot be one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdl1quant.errors import UnreadableError
from pdl1quant.model import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.slides.source import LevelSize

MAX_MISFIT = 0.02
"""Beyond rounding to whole pixels, a level's two downsamples may differ by this share: some writers cut a level to
whole tiles."""


def pyramid_levels(name: str, sizes: Sequence[LevelSize]) -> tuple[Level, ...]:
    """Check the sizes of the levels, the finest first, and find their downsamples.

    Writers round the size of a level to whole pixels: where an integer downsample explains the size, it is taken
    (a level of 500 of 1001 columns has a downsample of 2, not 2.002).

    Raises
    ------
    UnreadableError
        A level has no pixels, is larger than the one before, or has other proportions than level 0.
    """
    if not sizes:
        raise UnreadableError(f"{name}: no image in it; export it again")
    for number, size in enumerate(sizes):
        if size.width < 1 or size.height < 1:
            raise UnreadableError(
                f"{name}: level {number} is {size.width} x {size.height} pixels; the file is damaged, export it again"
            )
    levels = [Level(width=sizes[0].width, height=sizes[0].height, downsample_x=1.0, downsample_y=1.0)]
    for number, size in enumerate(sizes[1:], start=1):
        before = levels[-1]
        shrinks = size.width <= before.width and size.height <= before.height
        if not shrinks or not _fits(sizes[0], size):
            raise UnreadableError(
                f"{name}: level {number} of {size.width} x {size.height} pixels does not fit "
                f"{sizes[0].width} x {sizes[0].height}; the pyramid is damaged, export it again"
            )
        whole = _whole_downsample(sizes[0], size)
        levels.append(
            Level(
                width=size.width,
                height=size.height,
                downsample_x=whole or sizes[0].width / size.width,
                downsample_y=whole or sizes[0].height / size.height,
            )
        )
    return tuple(levels)


def _fits(full: LevelSize, size: LevelSize) -> bool:
    """Whether one downsample can explain both sides, each rounded up or down."""
    least = max(full.width / (size.width + 1), full.height / (size.height + 1))
    most = min(full.width / max(size.width - 1, 0.5), full.height / max(size.height - 1, 0.5))
    return least <= most * (1 + MAX_MISFIT)


def _whole_downsample(full: LevelSize, size: LevelSize) -> float | None:
    nearest = round(max(full.width / size.width, full.height / size.height))
    for whole in (nearest, nearest - 1):
        if whole >= 1 and _rounds(full.width, whole, size.width) and _rounds(full.height, whole, size.height):
            return float(whole)
    return None


def _rounds(full_px: int, downsample: int, side_px: int) -> bool:
    return max(1, full_px // downsample) <= side_px <= -(-full_px // downsample)
