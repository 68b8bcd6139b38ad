"""The pictures of a case as its page takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.outputs.regions import RegionStyle


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """One field as it is shown among the most or least certain."""

    uri: str
    image: str
    text: str
    picture: int
    """Number of the viewer's picture that shows it; -1 for none."""
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePlace:
    """Where the tiles of a case's slides go: a folder, and its address in the case's page."""

    folder: Path
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """All pictures of one case.

    ``data`` is what the viewer in the page reads. ``thumb`` and ``sheet`` are data URIs, empty without any picture;
    ``sheet_image`` is the image that they show.
    """

    data: dict[str, Any]
    thumb: str
    sheet: str
    sheet_image: str
    styles: tuple[RegionStyle, ...]
    """Kinds of regions that are outlined in ``sheet``."""
    has_cells: bool
    """Whether the cells are outlined in ``sheet``, by this report."""
    unsure: tuple[Crop, ...]
    sure: tuple[Crop, ...]
    companions: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
