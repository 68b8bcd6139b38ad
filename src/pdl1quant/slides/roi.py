"""Regions that a person drew (GeoJSON as QuPath writes it) -> polygons, masks, and which points lie inside.

The file counts input pixels from the corner of the first one, arrays count from its centre: a point (x, y) of the
cells table is at (x + 0.5, y + 0.5) of the file. The shift is made here and nowhere else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant.errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pdl1quant.model import BoolArray, Float64Array

CENTRE = 0.5
"""Where the centre of the first pixel lies, counted from its corner."""

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


class RoiKind(StrEnum):
    """What a drawn region is for."""

    INCLUDE = "include"
    EXCLUDE = "exclude"
    TUMOUR = "tumour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Roi:
    """One drawn region: a valid Polygon or MultiPolygon in input pixels, counted from the corner of the first one."""

    kind: RoiKind
    name: str
    geometry: shapely.Polygon | shapely.MultiPolygon
    title: str = ""
    """What the person called this one; ``name`` is its class."""
    is_core: bool = False
    """Whether it is a core of a microarray, found and not drawn."""


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


def of_kind(rois: Iterable[Roi], kind: RoiKind) -> tuple[Roi, ...]:
    """The regions of one kind."""
    return tuple(roi for roi in rois if roi.kind is kind)


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


def points_in_rois(rois: Iterable[Roi], x_px: Float64Array, y_px: Float64Array) -> BoolArray:
    """Whether points lie in the drawn region: include or tumour, and not exclude.

    With neither an include nor a tumour region that is everything that is not excluded. Cores of a microarray cut it:
    what lies outside of all of them is not in it.

    Parameters
    ----------
    rois
        Regions in any order; none means that every point is inside.
    x_px, y_px
        (n,) positions in input pixels, the centre of the first pixel at 0, as in the cells table.

    Returns
    -------
    ndarray of bool
        (n,), True inside.
    """
    return DrawnRegion.of(rois).holds(x_px, y_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRegion:
    """What `points_in_rois` asks, put together once for points that come bit by bit: hundreds of regions take a while.

    ``wanted`` is None where that is everything.
    """

    wanted: Any
    unwanted: Any

    @classmethod
    def of(cls, rois: Iterable[Roi]) -> DrawnRegion:
        """That of some regions."""
        wanted, unwanted = _regions(rois)
        return cls(wanted=wanted, unwanted=unwanted)

    def holds(self, x_px: Float64Array, y_px: Float64Array) -> BoolArray:
        """(n,) bool: points inside; as `points_in_rois` takes them."""
        x, y = np.asarray(x_px, np.float64) + CENTRE, np.asarray(y_px, np.float64) + CENTRE
        inside = np.ones(x.shape, bool) if self.wanted is None else _covers(self.wanted, x, y)
        return inside & ~_covers(self.unwanted, x, y)


def tumour_rois(rois: Iterable[Roi]) -> tuple[Roi, ...]:
    """Those of which `points_in_rois` makes the drawn tumour; for files in which there is some."""
    return tuple(roi for roi in rois if roi.kind is not RoiKind.INCLUDE or roi.is_core)


def limiting_rois(rois: Iterable[Roi]) -> tuple[Roi, ...]:
    """Those of which `points_in_rois` makes the region outside of which nothing counts, be it beside the tumour.

    With a region to include that are all of them. Without one a tumour region limits nothing here: it says where
    tumour cells count, and near what immune cells do (`near_tumour`). Of a microarray only cores with drawn tumour are
    left, where there is some: tumour of one core has no stroma in another.
    """
    rois = tuple(rois)
    tumour = shapely.union_all([roi.geometry for roi in of_kind(rois, RoiKind.TUMOUR)])
    if tumour.is_empty:
        return rois
    has_include = any(roi.kind is RoiKind.INCLUDE and not roi.is_core for roi in rois)
    kept = [roi for roi in rois if has_include or roi.kind is not RoiKind.TUMOUR]
    return tuple(roi for roi in kept if not roi.is_core or shapely.intersects(roi.geometry, tumour))


def near_tumour(
    rois: Iterable[Roi], x_px: Float64Array, y_px: Float64Array, *, reach_um: float, mpp_x: float, mpp_y: float
) -> BoolArray:
    """(n,) bool: points (as in `points_in_rois`) at most ``reach_um`` from the drawn tumour, of a core from its own."""
    rois = tuple(rois)
    tumour, unwanted = _regions(tumour_rois(rois))
    cores = [roi.geometry for roi in rois if roi.is_core]
    x, y = np.asarray(x_px) + CENTRE, np.asarray(y_px) + CENTRE
    drawn = shapely.difference(tumour, unwanted)
    return near_in_core(drawn, cores, x, y, reach_um=reach_um, mpp_x=mpp_x, mpp_y=mpp_y)


def near_in_core(
    region: Any, cores: Iterable[Any], x: Float64Array, y: Float64Array, *, reach_um: float, mpp_x: float, mpp_y: float
) -> BoolArray:
    """(n,) bool: points at most ``reach_um`` from a region; where there are cores, from what lies in the same one.

    Points, region and cores are in pixels from the corner. Cores without points are passed over: of hundreds, a band of
    a slide meets a few.
    """
    how = {"reach_um": reach_um, "mpp_x": mpp_x, "mpp_y": mpp_y}
    cores = tuple(cores)
    if not cores:
        return within_reach(region, shapely.points(x * mpp_x, y * mpp_y), **how)
    near = np.zeros(x.shape, bool)
    parts = shapely.get_parts(region)
    for core in cores:
        left, top, right, bottom = core.bounds
        inside = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
        inside = inside[_covers(core, x[inside], y[inside])]
        if not inside.size:
            continue
        own = areas_in(shapely.intersection(parts[shapely.intersects(core, parts)], core))
        if not own.is_empty:
            near[inside] |= within_reach(own, shapely.points(x[inside] * mpp_x, y[inside] * mpp_y), **how)
    return near


def within_reach(region: Any, places_um: Any, *, reach_um: float, mpp_x: float, mpp_y: float) -> BoolArray:
    """(n,) bool: geometries in um at most ``reach_um`` from a region in pixels from the corner."""
    region_um = shapely.transform(region, lambda points: points * (mpp_x, mpp_y))
    shapely.prepare(region_um)
    return np.asarray(shapely.dwithin(region_um, places_um, reach_um), dtype=bool)


def scored_region(rois: Iterable[Roi], whole: shapely.Polygon) -> Any:
    """What of ``whole`` (in the file's coordinates) is drawn, as `points_in_rois` says: one geometry."""
    wanted, unwanted = _regions(rois)
    return shapely.difference(whole if wanted is None else shapely.intersection(wanted, whole), unwanted)


def why_nothing(rois: Sequence[Roi], whole: shapely.Polygon, *, what: str) -> str:
    """What a file of regions does that nothing of ``whole``, all of a slide or image (``what``), is to be scored."""
    left_out = [roi for roi in rois if roi.kind is RoiKind.EXCLUDE]
    others = [roi for roi in rois if roi.kind is not RoiKind.EXCLUDE]
    if not others:
        return f"excludes the whole {what}; leave the {what} out of the run"
    if left_out and not scored_region(others, whole).is_empty:
        return "excludes all that it has to be scored; mend its regions"
    return f"no region to be scored lies inside the {what}; draw it on this {what}"


def share_outside(rois: Iterable[Roi], *, width: int, height: int) -> float:
    """Share (0-1) of the area of the wanted regions that lies outside an image of that size; 0 where none is wanted."""
    wanted, _ = _regions(rois)
    if wanted is None:
        return 0.0
    return 1 - float(shapely.intersection(wanted, shapely.box(0, 0, width, height)).area / wanted.area)


def roi_mask(
    rois: Iterable[Roi],
    shape: tuple[int, int],
    *,
    x_px: float = 0.0,
    y_px: float = 0.0,
    downsample_x: float = 1.0,
    downsample_y: float = 1.0,
) -> BoolArray:
    """Mask of the region that `points_in_rois` describes: the pixels whose centre lies inside.

    Parameters
    ----------
    rois
        Regions in any order.
    shape
        (height, width) of the mask, in working pixels.
    x_px, y_px
        Input pixel whose upper left corner is that of the mask's first pixel (``Tile.x_px``, ``Tile.y_px``).
    downsample_x, downsample_y
        Input pixels per working pixel.

    Returns
    -------
    ndarray of bool
        (height, width).
    """
    wanted, unwanted = _regions(rois)
    to_mask = [1 / downsample_x, 0.0, 0.0, 1 / downsample_y, -x_px / downsample_x, -y_px / downsample_y]
    inside = np.ones(shape, bool) if wanted is None else fill_region(_moved(wanted, to_mask), shape)
    inside &= ~fill_region(_moved(unwanted, to_mask), shape)
    return inside


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


def areas_in(geometry: Any) -> Any:
    """What of a geometry has an area: a Polygon or MultiPolygon, or something empty."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.union_all([part for part in parts if part.geom_type == "Polygon" and part.area > 0])


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


def _regions(rois: Iterable[Roi]) -> tuple[Any, Any]:
    """What is wanted (None: everything) and what is not, each as one geometry; cores cut what a person drew."""
    rois = tuple(rois)
    drawn = [roi.geometry for roi in rois if roi.kind is not RoiKind.EXCLUDE and not roi.is_core]
    cores = [roi.geometry for roi in rois if roi.is_core]
    united = [shapely.union_all(each) for each in (drawn, cores) if each]
    unwanted = shapely.union_all([roi.geometry for roi in of_kind(rois, RoiKind.EXCLUDE)])
    return (shapely.intersection_all(united) if united else None), unwanted


def _covers(region: Any, x: Float64Array, y: Float64Array) -> BoolArray:
    shapely.prepare(region)
    inside: BoolArray = shapely.contains_xy(region, x, y)
    return inside


def _moved(region: Any, matrix: list[float]) -> Any:
    scale_x, _, _, scale_y, shift_x, shift_y = matrix
    return shapely.transform(region, lambda points: points * (scale_x, scale_y) + (shift_x, shift_y))


def fill_region(region: Any, shape: tuple[int, int]) -> BoolArray:
    """(H, W) bool: pixels whose centre lies inside a (multi-)polygon in pixels from the corner.

    Even-odd: each side of the polygons toggles the rest of the rows that it crosses, right of the crossing.
    """
    height, width = shape
    rings = shapely.get_rings(shapely.get_parts(region))
    points, ring_of = shapely.get_coordinates(rings, return_index=True)
    is_side = np.diff(ring_of) == 0
    x0, y0 = points[:-1][is_side].T
    x1, y1 = points[1:][is_side].T
    # Rows whose centre y satisfies min <= y < max, so that a shared corner counts once.
    first = np.ceil(np.minimum(y0, y1) - CENTRE).clip(0, height).astype(np.int64)
    end = np.ceil(np.maximum(y0, y1) - CENTRE).clip(0, height).astype(np.int64)
    n_rows = end - first
    side = np.repeat(np.arange(n_rows.size), n_rows)
    row = np.arange(side.size) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows) + first[side]
    slope = (x1[side] - x0[side]) / (y1[side] - y0[side])
    crossing = x0[side] + (row + CENTRE - y0[side]) * slope
    column = np.ceil(crossing - CENTRE).clip(0, width).astype(np.int64)
    seen = column < width
    places, counts = np.unique(row[seen] * width + column[seen], return_counts=True)
    filled = np.zeros(shape, bool)
    filled.reshape(-1)[places[counts % 2 == 1]] = True
    np.logical_xor.accumulate(filled, axis=1, out=filled)  # one byte a pixel: fields have 64 million
    return filled
