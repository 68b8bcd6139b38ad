"""What can be exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from pdl1quant.config import NucleiConfig
    from pdl1quant.model.pixels import Rect, Segmentation, StainEstimate, StainOD, Tile, UInt8Array
    from pdl1quant.model.slides import Level, Region, SlideDamage, SlideGrid


class Segmenter(Protocol):
    """Finds nuclei (and, if it can, cells and class scores) in one tile."""

    def __call__(self, tile: Tile, od: StainOD, *, estimate: StainEstimate, config: NucleiConfig) -> Segmentation: ...


class Slide(Protocol):
    """A whole slide, read window by window; a plain image is a slide of one level.

    Safe to use from several threads, and to send to other processes: a slide is pickled as its path and opened again.
    """

    @property
    def path(self) -> Path: ...

    @property
    def width(self) -> int:
        """Columns of level 0."""
        ...

    @property
    def height(self) -> int:
        """Rows of level 0."""
        ...

    @property
    def levels(self) -> tuple[Level, ...]:
        """At least one, the finest first."""
        ...

    @property
    def mpp_x(self) -> float:
        """Width of a level-0 pixel in um."""
        ...

    @property
    def mpp_y(self) -> float:
        """Height of a level-0 pixel in um."""
        ...

    @property
    def mpp_source(self) -> str:
        """Who said so: ``given`` or ``metadata``."""
        ...

    @property
    def vendor(self) -> str:
        """The maker of the format, in lower case: ``aperio``, ``ome-tiff``, ``png`` ..."""
        ...

    @property
    def objective(self) -> float | None:
        """Magnification of the objective as the file states it; for information, nothing is computed from it."""
        ...

    @property
    def icc(self) -> str | None:
        """Name of the colour profile, which is not applied."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to, or ignored in, the file on reading it."""
        ...

    @property
    def damage(self) -> tuple[SlideDamage, ...]:
        """What is known to be damaged: what the index of the file tells, and what was met on reading."""
        ...

    def grid(self, mpp: float | None = None) -> SlideGrid: ...

    def read(self, rect: Rect, grid: SlideGrid) -> Region: ...

    def read_region(self, rect: Rect, *, mpp: float | None = None) -> UInt8Array: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
