"""What can be exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pdl1quant.config import NucleiConfig
    from pdl1quant.model.pixels import Segmentation, StainEstimate, StainOD, Tile


class Segmenter(Protocol):
    """Finds nuclei (and, if it can, cells and class scores) in one tile."""

    def __call__(self, tile: Tile, od: StainOD, *, estimate: StainEstimate, config: NucleiConfig) -> Segmentation: ...
