"""What was drawn on an image, and the cores that were found on it -> GeoJSON annotations that QuPath opens.

Outlines are those that were scored, in level-0 pixels counted from the corner of the first one; names are those of
`scores.csv`. `STYLES` says how each kind is drawn wherever it is shown.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import shapely

from pdl1quant import __version__
from pdl1quant.outputs.files import replace_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CORE_CLASS = "TMA core"
"""Class of a core of a microarray in the file; a person would draw none of that name."""
COORDINATE_DECIMALS = 2
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:pdl1quant:region")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionStyle:
    """How one kind of region is named (one, and many) and drawn.

    ``rgb`` is 0-255, ``width_px`` and ``dash_px`` (on, off; empty: unbroken) are in pixels of a screen. Where it
    ``has_ticks``, short strokes point from the line to the inside.
    """

    name: str
    plural: str
    rgb: tuple[int, int, int]
    width_px: float
    dash_px: tuple[float, ...] = ()
    has_ticks: bool = False


STYLES: dict[str, RegionStyle] = {
    "tumour": RegionStyle(name="Tumour region", plural="tumour regions", rgb=(91, 33, 122), width_px=3.0),
    "include": RegionStyle(
        name="Region to score", plural="regions to score", rgb=(0, 96, 84), width_px=2.6, dash_px=(12.0, 6.0)
    ),
    "exclude": RegionStyle(
        name="Region left out", plural="regions left out", rgb=(20, 20, 20), width_px=1.6, has_ticks=True
    ),
    "core": RegionStyle(name="Core", plural="cores", rgb=(52, 64, 84), width_px=1.4),
}
"""Kinds of regions in the order of a legend.

Told apart by the line alone: thick, dashed, with ticks, thin. The colours are darker than those of cells.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlinedRegion:
    """One region: its kind (a key of `STYLES`), its name, its class (empty for none), a (multi-)polygon."""

    kind: str
    name: str
    class_name: str
    geometry: Any


def write_regions(regions: Iterable[OutlinedRegion], path: Path, *, image_id: str) -> None:
    """Write regions in their order.

    Parameters
    ----------
    regions
        In level-0 pixels from the corner.
    path
        File to write; replaced as a whole.
    image_id
        Hash of the image: gives each region the same UUID in every run.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    text = ",\n".join(_features(regions, image_id=image_id))
    with replace_atomically(path) as partial:
        whole = f'{{"type":"FeatureCollection","generator":"pdl1quant {__version__}","features":[\n{text}\n]}}\n'
        partial.write_bytes(whole.encode())


def _features(regions: Iterable[OutlinedRegion], *, image_id: str) -> Iterator[str]:
    for number, region in enumerate(regions):
        class_name = CORE_CLASS if region.kind == "core" else region.class_name
        properties: dict[str, Any] = {"objectType": "annotation", "name": region.name}
        if class_name:
            properties["classification"] = {"name": class_name, "color": list(STYLES[region.kind].rgb)}
        identity = uuid.uuid5(_NAMESPACE, f"{image_id}:{number}")
        outline = shapely.to_geojson(_rounded(region.geometry))
        text = json.dumps(properties, separators=(",", ":"))
        yield f'{{"type":"Feature","id":"{identity}","geometry":{outline},"properties":{text}}}'


def _rounded(geometry: Any) -> Any:
    """To hundredths of a pixel, for the file; what is smaller stays as it is."""
    rounded = shapely.transform(geometry, lambda points: points.round(COORDINATE_DECIMALS))
    return rounded if rounded.is_valid and not rounded.is_empty else geometry
