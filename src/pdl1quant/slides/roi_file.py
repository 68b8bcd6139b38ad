"""GeoJSON as QuPath writes it -> regions that a person drew, what each is for, and what may be meant otherwise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant.errors import UnreadableError
from pdl1quant.slides.roi import Roi, RoiKind, areas_in, of_kind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_TUMOUR_NAMES = ("tumor", "tumour")
_EXCLUDE_NAMES = ("ignore", "exclude", "necro", "normal", "artefact", "artifact", "fold")
"""How classes begin whose cells are no viable tumour and none of its immune cells."""
_EXCLUDE_WORDS = ("in situ", "in-situ")
"""What makes a class one of these wherever it stands: ``Carcinoma in situ``."""
_PACKED = (b"\x1f\x8b", b"PK")
"""How gzip and zip files begin."""
_MAX_PX = 1e9
"""No slide has so many pixels a side: what reaches farther is no place on one."""
_IDS_OF_OTHERS = ("PathCellObject", "PathDetectionObject", "PathTileObject", "TMACoreObject", "PathRootObject")
"""What QuPath before 0.3 gave all that is no annotation for an id."""
_INCLUDE_NAMES = ("region", "roi", "include")
"""How classes begin that are meant to limit what is scored; of any other a person is told that they do."""


def read_geojson_rois(path: Path) -> tuple[Roi, ...]:
    """Read the areas of a GeoJSON file: a FeatureCollection, a list of Features, one Feature or one geometry.

    The class of a region tells its kind: Tumor or Tumour; one to exclude where it begins with Ignore, Exclude, Necro,
    Normal, Artefact or Artifact, or Fold, or holds "in situ"; anything else, or none, is a region to include.
    Upper and lower case are alike. Of a derived class as ``Tumor: core`` the first part counts, but any part excludes:
    ``Tumor: Necrosis`` is no tumour.
    The class is read from ``classification`` (its ``name``, or text), else from ``class``, else from ``name``.
    Points and lines are passed over, cells and other detections too. Outlines that cross themselves are repaired,
    open ones closed.

    Parameters
    ----------
    path
        File as exported by QuPath (File > Export objects as GeoJSON), coordinates in full-resolution pixels.

    Raises
    ------
    UnreadableError
        Not JSON, not GeoJSON, or without a single area.
    """
    try:
        tree = json.loads(path.read_bytes())
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read ({error.strerror}); check the path of the regions") from error
    except (ValueError, RecursionError) as error:
        if path.read_bytes().startswith(_PACKED):
            raise UnreadableError(f"{path}: packed; unpack it, and give the GeoJSON file inside") from error
        raise UnreadableError(f"{path}: not a GeoJSON file ({error}); export the regions from QuPath again") from error
    rois = tuple(roi for feature in _features(tree, path) if (roi := _as_roi(feature, path)) is not None)
    if not rois:
        raise UnreadableError(
            f"{path}: holds no annotation with an area (cells, cores, points and lines are passed over); draw and "
            "export at least one closed region"
        )
    return rois


def tumour_doubt(rois: Iterable[Roi], file_name: str) -> str:
    """Why regions do not say where tumour is, in one line; empty where one of them does.

    Parameters
    ----------
    rois
        Regions of one file.
    file_name
        Name of that file, as it is to be printed.
    """
    rois = tuple(rois)
    if of_kind(rois, RoiKind.TUMOUR):
        return ""
    by_name: dict[str, int] = {}
    for roi in rois:
        by_name[roi.name] = by_name.get(roi.name, 0) + 1
    seen = ", ".join(
        f"{n} region{'s' if n > 1 else ''} {f'of class {name!r}' if name else 'without a class'}"
        for name, n in by_name.items()
    )
    counted = "cells inside are scored" if of_kind(rois, RoiKind.INCLUDE) else "all cells outside are scored"
    return (
        f"{file_name}: {seen}, none of class Tumor: {counted}, but nobody has said that they are tumour, "
        "so no call is made; give the class Tumor to what is tumour"
    )


def class_doubt(rois: Iterable[Roi]) -> str:
    """Which class was taken as what, in one line, where one limits what is scored that may not be meant to; else empty.

    Parameters
    ----------
    rois
        Regions of one file, or of several.
    """
    names: dict[RoiKind, dict[str, None]] = {kind: {} for kind in RoiKind}
    for roi in rois:
        if roi.name:
            names[roi.kind].setdefault(roi.name)
    foreign = [name for name in names[RoiKind.INCLUDE] if not _begins(name, _INCLUDE_NAMES)]
    if not foreign:
        return ""
    taken = {
        "tumour": names[RoiKind.TUMOUR],
        "left out": names[RoiKind.EXCLUDE],
        "limits what is scored": names[RoiKind.INCLUDE],
    }
    read = "; ".join(f"{', '.join(map(repr, each))}: {what}" for what, each in taken.items() if each)
    return f"classes of the regions are taken so: {read}; give the class Ignore* to what is to be left out"


def _features(tree: Any, path: Path) -> list[dict[str, Any]]:
    if isinstance(tree, dict) and tree.get("type") == "FeatureCollection":
        tree = tree.get("features")
    if isinstance(tree, dict):
        tree = [tree if tree.get("type") == "Feature" else {"type": "Feature", "geometry": tree}]
    if not isinstance(tree, list) or not all(isinstance(feature, dict) for feature in tree):
        raise UnreadableError(f"{path}: JSON, but not GeoJSON; export the regions from QuPath as GeoJSON")
    return tree


def _as_roi(feature: dict[str, Any], path: Path) -> Roi | None:
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if _object_type(feature, properties) not in {"annotation", "roi"}:
        return None
    if "geometry" in feature and feature["geometry"] is None:  # an object without a place, which GeoJSON allows
        return None
    try:
        geometry = _geometry_of(feature)
    except (KeyError, ValueError, TypeError, shapely.errors.ShapelyError) as error:
        name = _class_name(properties)
        which = f"a region of class {name!r}" if name else "a region without a class"
        raise UnreadableError(
            f"{path}: {which} has a broken outline (too few corners, or no places in pixels); draw and export it again"
        ) from error
    area = _area_of(geometry)
    if area is None:
        return None
    name = _class_name(properties)
    title = properties.get("name")
    return Roi(kind=_kind_of(name), name=name, geometry=area, title=title.strip() if isinstance(title, str) else "")


def _geometry_of(feature: dict[str, Any]) -> Any:
    geometry = shapely.from_geojson(json.dumps(_closed(feature["geometry"])))
    if np.abs(shapely.get_coordinates(geometry)).max(initial=0) > _MAX_PX:
        raise ValueError("a corner that lies on no slide")
    return geometry


def _object_type(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    """What QuPath says that it is: since 0.4 and since 0.3 in a property, before that as the id of all of a kind."""
    by_id = "other" if str(feature.get("id")) in _IDS_OF_OTHERS else "annotation"
    return str(properties.get("objectType") or properties.get("object_type") or by_id).lower()


def _closed(geometry: Any) -> Any:
    """The GeoJSON geometry with the first corner of each ring repeated at its end."""
    if not isinstance(geometry, dict):
        return geometry
    if isinstance(parts := geometry.get("geometries"), list):
        return {**geometry, "geometries": [_closed(part) for part in parts]}
    match geometry.get("type"), geometry.get("coordinates"):
        case "Polygon", list(rings):
            return {**geometry, "coordinates": [_closed_ring(ring) for ring in rings]}
        case "MultiPolygon", list(polygons) if all(isinstance(rings, list) for rings in polygons):
            return {**geometry, "coordinates": [[_closed_ring(ring) for ring in rings] for rings in polygons]}
    return geometry


def _closed_ring(ring: Any) -> Any:
    return [*ring, ring[0]] if isinstance(ring, list) and len(ring) > 2 and ring[0] != ring[-1] else ring


def _area_of(geometry: Any) -> shapely.Polygon | shapely.MultiPolygon | None:
    """What of the geometry has an area, valid; None for points, lines and nothing."""
    if geometry is None or not np.isfinite(shapely.get_coordinates(geometry)).all():
        return None
    area = areas_in(shapely.make_valid(geometry))
    return None if area.is_empty else area


def _class_name(properties: dict[str, Any]) -> str:
    found = properties.get("classification")
    if isinstance(found, dict):
        found = found.get("name") or ": ".join(map(str, found.get("names") or ()))
    candidates = (found, properties.get("class"), properties.get("name"))
    return next((text.strip() for text in candidates if isinstance(text, str) and text.strip()), "")


def _kind_of(name: str) -> RoiKind:
    parts = [part.strip().lower() for part in name.split(":")]
    if any(_begins(part, _EXCLUDE_NAMES) or any(word in part for word in _EXCLUDE_WORDS) for part in parts):
        return RoiKind.EXCLUDE
    return RoiKind.TUMOUR if parts[0] in _TUMOUR_NAMES else RoiKind.INCLUDE


def _begins(name: str, beginnings: tuple[str, ...]) -> bool:
    return name.strip().lower().startswith(beginnings)
