"""Drawn regions and cores of a microarray, as the cells table of their image keeps them: to the last digit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import shapely

from pdl1quant.slides.roi import Roi, RoiKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEY, OF_ARRAYS = "regions", "array"
"""Under which of its words on itself a table has them; earlier versions kept those of microarrays alone."""
MAX_CHARACTERS = 1 << 24
"""What is longer (some half a million corners) is not kept: Parquet has such words twice, and not of any length."""


def regions_text(rois: Iterable[Roi]) -> dict[str, str]:
    """What a cells table says of the regions of its image, as GeoJSON.

    Nothing where there are none, or where they have so many corners that a table cannot hold them.
    """
    features = [
        {
            "type": "Feature",
            "properties": {"name": roi.title, "class": roi.name, "kind": str(roi.kind), "core": roi.is_core},
            "geometry": json.loads(shapely.to_geojson(roi.geometry)),
        }
        for roi in rois
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))
    return {KEY: text} if features and len(text) <= MAX_CHARACTERS else {}


def regions_said(said: Mapping[str, str]) -> tuple[Roi, ...]:
    """The regions that `regions_text` wrote down; none where there were none, or nobody wrote them.

    Of a microarray of an earlier version its cores, and what was drawn to be left out of them.
    """
    text = said.get(KEY) or said.get(OF_ARRAYS)
    return tuple(map(_roi, json.loads(text)["features"])) if text else ()


def _roi(feature: Mapping[str, Any]) -> Roi:
    told = feature["properties"]
    of_old = RoiKind.INCLUDE if told["core"] else RoiKind.EXCLUDE
    return Roi(
        kind=RoiKind(told.get("kind", of_old)),
        name=told["class"],
        title=told["name"],
        geometry=shapely.from_geojson(json.dumps(feature["geometry"])),
        is_core=told["core"],
    )
