"""Cells that QuPath gives back: GeoJSON of cell objects -> id, class, outcome, outline, centre.

The file counts from the corner of the first pixel. Centres are given as in the cells table, from its centre: half a
pixel is taken away here. Outlines stay as they are.
"""

from __future__ import annotations

import gzip
import json
import uuid
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from pdl1quant.errors import UnreadableError
from pdl1quant.outputs.files import COMPRESSED

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.model import BoolArray, Float64Array

Geometries: TypeAlias = NDArray[Any]

CENTRE = 0.5
"""Where the centre of the first pixel lies, counted from its corner."""
SAME_OUTLINE_PX = 0.5
"""Outlines nearer than this are the same: QuPath may round, close and turn them."""

_CELL_TYPES = {"cell", "detection"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CellObjects:
    """Cells of a file, row by row; all arrays have their number.

    ``class_names`` is what stands before the first colon of the classification, in lower case; ``outcomes`` what
    follows it (``positive``, ``negative``, ``excluded`` or something else, maybe nothing). ``centres_px`` is (n, 2)
    x and y of the nucleus (without one, of the cell), the centre of the first pixel at 0. ``n_skipped`` counts
    annotations and other objects.
    """

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    outcomes: tuple[str, ...]
    outlines: Geometries
    nuclei: Geometries
    centres_px: Float64Array
    n_skipped: int = 0


def read_cell_objects(path: Path) -> CellObjects:
    """Read the cells of a GeoJSON file as QuPath exports it (File > Export objects as GeoJSON, pretty or not).

    Raises
    ------
    UnreadableError
        Not GeoJSON, a cell with a broken outline, or an id that two cells share.
    """
    features = _features(path)
    cells = [each for each in features if _kind(each) in _CELL_TYPES]
    ids = tuple(_id(each) for each in cells)
    if len(set(ids)) < len(ids):
        twice = next(each for each, times in Counter(ids).items() if times > 1)
        raise UnreadableError(f"{path}: two cells have the id {twice}; export the cells from QuPath again")
    names = [_class_name(each) for each in cells]
    outlines = _geometries([each.get("geometry") for each in cells], path)
    nuclei = _geometries([each.get("nucleusGeometry") for each in cells], path)
    lost = shapely.is_empty(outlines) | (shapely.get_dimensions(outlines) < 2)  # a missing one has -1
    if lost.any():
        raise UnreadableError(f"{path}: cell {ids[int(np.argmax(lost))]} has no outline; export it from QuPath again")
    centred = np.where(shapely.is_missing(nuclei) | shapely.is_empty(nuclei), outlines, nuclei)
    points = shapely.centroid(centred)
    return CellObjects(
        ids=ids,
        class_names=tuple(name.partition(":")[0].strip().lower() for name in names),
        outcomes=tuple(name.partition(":")[2].strip().lower() for name in names),
        outlines=outlines,
        nuclei=nuclei,
        centres_px=np.column_stack([shapely.get_x(points), shapely.get_y(points)]) - CENTRE,
        n_skipped=len(features) - len(cells),
    )


def is_redrawn(outlines: Geometries, earlier: Geometries) -> BoolArray:
    """(n,) bool: outlines that lie further than ``SAME_OUTLINE_PX`` from what they were."""
    distance = shapely.hausdorff_distance(shapely.boundary(outlines), shapely.boundary(earlier))
    return np.asarray(distance > SAME_OUTLINE_PX)


def _features(path: Path) -> list[dict[str, Any]]:
    try:
        tree = json.loads(_text(path))
    except (ValueError, RecursionError, EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        raise UnreadableError(f"{path}: not a GeoJSON file ({error}); export the cells from QuPath again") from error
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if isinstance(tree, dict) and tree.get("type") == "FeatureCollection":
        tree = tree.get("features")
    if isinstance(tree, dict):
        tree = [tree]
    if not isinstance(tree, list) or not all(isinstance(each, dict) and each.get("type") == "Feature" for each in tree):
        raise UnreadableError(f"{path}: JSON, but no GeoJSON of objects; export the cells from QuPath as GeoJSON")
    return tree


def _text(path: Path) -> bytes:
    """The JSON, unpacked if the file is compressed."""
    if path.name.endswith(COMPRESSED["gzip"]):
        return gzip.decompress(path.read_bytes())
    if path.name.endswith(COMPRESSED["zip"]):
        with zipfile.ZipFile(path) as archive:
            return b"".join(archive.read(member) for member in archive.infolist()[:1])
    return path.read_bytes()


def _kind(feature: dict[str, Any]) -> str:
    return str(_properties(feature).get("objectType", "annotation")).lower()


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    found = feature.get("properties")
    return found if isinstance(found, dict) else {}


def _id(feature: dict[str, Any]) -> str:
    """The id as written; a cell without one gets one from its outline, so that reading twice gives the same."""
    found = feature.get("id")
    if isinstance(found, str) and found:
        return found.lower()
    outline = json.dumps(feature.get("geometry"), sort_keys=True)
    return str(uuid.uuid5(uuid.NAMESPACE_OID, outline))


def _class_name(feature: dict[str, Any]) -> str:
    found = _properties(feature).get("classification")
    if isinstance(found, dict):
        found = found.get("name") or ": ".join(map(str, found.get("names") or ()))
    return found.strip() if isinstance(found, str) else ""


def _geometries(values: list[Any], path: Path) -> Geometries:
    try:
        found = shapely.from_geojson([None if each is None else json.dumps(each) for each in values])
    except (ValueError, TypeError, shapely.errors.ShapelyError) as error:
        raise UnreadableError(f"{path}: a cell has a broken outline; export the cells from QuPath again") from error
    geometries: Geometries = np.asarray(found, dtype=object)
    return geometries
