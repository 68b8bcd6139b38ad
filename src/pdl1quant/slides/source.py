"""What a file format has to offer to be read as a slide; everything else is done once, for all formats."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from PIL import ImageCms

if TYPE_CHECKING:
    from pdl1quant.model import Rect, UInt8Array
    from pdl1quant.slides.pixel_size import StatedSize


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSize:
    """Pixels of one level."""

    width: int
    height: int

    @property
    def area(self) -> int:
        """How many pixels."""
        return self.width * self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelDamage:
    """A box in pixels of ``level`` that the file should hold and does not, and why."""

    level: int
    rect: Rect
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPixels:
    """(H, W, 3) uint8 of one level; what is damaged is white, and listed."""

    rgb: UInt8Array
    damage: tuple[LevelDamage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What a file says of itself: nothing is checked here but that it could be read."""

    vendor: str
    sizes: tuple[LevelSize, ...]
    stated: StatedSize | None = None
    objective: float | None = None
    icc: str | None = None
    notes: tuple[str, ...] = ()
    damage: tuple[LevelDamage, ...] = ()
    is_suspect: bool = False
    """Parts of the index could not be read: what seems to be missing may be lost."""


class Source(Protocol):
    """An open file. Safe to use from several threads of one process."""

    @property
    def info(self) -> SourceInfo: ...

    def read_level(self, level: int, rect: Rect) -> LevelPixels:
        """The pixels of ``rect``, which lies within the level. A pixel is the same in whatever ``rect`` it is read."""
        ...

    def close(self) -> None: ...


def icc_name(profile: bytes | None) -> str | None:
    """The description in a colour profile; ``unnamed`` where it has none that can be read."""
    if not profile:
        return None
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip() or "unnamed"
    except (ImageCms.PyCMSError, OSError):
        return "unnamed"
