"""Artefacts of a slide -> GeoJSON annotations that QuPath opens, of its class ``Ignore*``, the kind named behind it.

Read as drawn regions (``--roi``), they leave out what they cover.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant import __version__
from pdl1quant.model import ArtefactKind
from pdl1quant.outputs.files import replace_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pdl1quant.model import ArtefactMap, BoolArray

ARTEFACT_RGB = {
    ArtefactKind.PEN: (0, 60, 255),
    ArtefactKind.FOLD: (255, 0, 200),
    ArtefactKind.BUBBLE: (0, 190, 230),
    ArtefactKind.BLUR: (255, 130, 0),
    ArtefactKind.PIGMENT: (0, 200, 60),
}
"""Colours of the kinds in pictures and in QuPath."""
COORDINATE_DECIMALS = 2
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:pdl1quant:artefact")


def write_artefacts(found: ArtefactMap, path: Path, *, image_id: str, width: int, height: int) -> None:
    """Write each piece of each kind as a polygon, in level-0 pixels counted from the corner of the first one.

    Parameters
    ----------
    found
        What spoils each place.
    path
        File to write; replaced as a whole.
    image_id
        Hash of the image: gives each piece the same UUID in every run.
    width, height
        Size of the slide, level-0 pixels.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    features = list(_features(found, image_id=image_id, width=width, height=height))
    with replace_atomically(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f'{{"type":"FeatureCollection","generator":"pdl1quant {__version__}","features":[\n')
        file.write(",\n".join(features))
        file.write("\n]}\n")


def _features(found: ArtefactMap, *, image_id: str, width: int, height: int) -> Iterator[str]:
    field = shapely.box(0, 0, width, height)
    for kind in ArtefactKind:
        region = _region(found.mask(kind), scale_x=width / found.columns, scale_y=height / found.rows)
        pieces = shapely.get_parts(shapely.intersection(region, field))
        for number, piece in enumerate(pieces):  # few: pieces of a slide, not cells
            properties: dict[str, Any] = {
                "objectType": "annotation",
                "classification": {"name": f"Ignore*: {kind}", "color": list(ARTEFACT_RGB[kind])},
            }
            identity = uuid.uuid5(_NAMESPACE, f"{image_id}:{kind}:{number}")
            text = json.dumps(properties, separators=(",", ":"))
            yield f'{{"type":"Feature","id":"{identity}","geometry":{shapely.to_geojson(piece)},"properties":{text}}}'


def _region(mask: BoolArray, *, scale_x: float, scale_y: float) -> Any:
    """The mask as polygons along the edges of its places: the runs of its rows, put together."""
    framed = np.pad(mask, ((0, 0), (1, 1))).view(np.int8)
    row, start = np.nonzero(np.diff(framed, axis=1) == 1)
    _, end = np.nonzero(np.diff(framed, axis=1) == -1)
    corners = [start * scale_x, row * scale_y, end * scale_x, (row + 1) * scale_y]
    return shapely.union_all(shapely.box(*(np.round(each, COORDINATE_DECIMALS) for each in corners)))
