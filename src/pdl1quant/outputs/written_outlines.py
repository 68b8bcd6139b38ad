"""Outlines of some cells out of the GeoJSON file of a run, which may be packed and larger than the memory."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from pdl1quant.errors import OutputError
from pdl1quant.kernels.rings import read_rings
from pdl1quant.outputs.files import COMPRESSED, result_path
from pdl1quant.outputs.geojson import cell_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pdl1quant.model import Float64Array, Int32Array, IntpArray

Geometries: TypeAlias = NDArray[Any]

_FIRST, _THEN = b'{"type":"Feature","id":"', (b'","geometry":', b',"nucleusGeometry":', b',"properties":')
"""How a line begins, and what stands behind the id and the geometries: what lies between need not be decoded."""
_MARK = np.frombuffer(b'"coordinates":[', np.uint8)
UNPACKING_FAILURES = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile)
"""What reading a damaged file raises."""


def read_outlines(
    out: Path, stem: str, rows: IntpArray, *, labels: Int32Array, image_id: str
) -> tuple[Geometries, Geometries]:
    """Outlines of the cells and nuclei of some rows of a cells table, from the file that was written with it.

    The file is read line by line.

    Parameters
    ----------
    out
        Folder of the run.
    stem
        Place of the image's results in it.
    rows
        (n,) rows of the table, ascending.
    labels
        (n,) ``label`` of these rows.
    image_id
        Hash of the image.

    Returns
    -------
    tuple of ndarray
        Two of (n,) shapely polygons, in pixels of the image from the corner; None for a cell without nucleus.

    Raises
    ------
    OutputError
        The run wrote no outlines, or the file is cut off or holds other cells.
    """
    path, found = _found(out, stem, rows, labels=labels, image_id=image_id)
    try:
        outlines, nuclei = (np.asarray(shapely.from_geojson([each[part] for each in found]), object) for part in (0, 1))
    except shapely.errors.ShapelyError as error:
        raise OutputError(f"{path}: no readable outlines ({error}); score the image again") from error
    return outlines, nuclei


def read_outer_rings(
    out: Path, stem: str, rows: IntpArray, *, labels: Int32Array, image_id: str
) -> tuple[Float64Array, IntpArray]:
    """The corners of the outlines of some cells, in one array: much faster than `read_outlines`.

    Parameters and errors as there.

    Returns
    -------
    tuple of ndarray
        (m, 2) corners x, y in pixels of the image from the corner, the first of a ring not repeated at its end; and
        (n + 1,) where each ring starts.
    """
    path, found = _found(out, stem, rows, labels=labels, image_id=image_id)
    texts = [outline or "" for outline, _ in found]
    data = np.frombuffer("\n".join(texts).encode(), np.uint8)
    starts = np.zeros(len(texts) + 1, np.intp)
    points = np.empty((sum(text.count("[") for text in texts), 2))
    if read_rings(data, _MARK, points, starts) != len(texts):
        raise OutputError(f"{path}: no readable outlines; score the image again")
    return points[: starts[-1]], starts


def _found(
    out: Path, stem: str, rows: IntpArray, *, labels: Int32Array, image_id: str
) -> tuple[Path, list[tuple[str | None, str | None]]]:
    """The file, and the geometries of cell and nucleus of the rows, known by their ids."""
    path = find_outlines(out, stem)
    if path is None:
        missing = result_path(out, "geojson", stem)
        raise OutputError(f"{missing}: is missing; score the image again, with outlines (tiling.outlines=true)")
    try:
        with open_outlines(path) as file:
            found = [_feature(line) for line in _picked(itertools.islice(file, 1, None), rows)]
    except UNPACKING_FAILURES as error:
        raise OutputError(f"{path}: no readable outlines ({error}); score the image again") from error
    if [each[0] for each in found] != [cell_id(image_id, label) for label in labels.tolist()]:
        raise OutputError(f"{path}: holds other cells than the table; score the image again")
    return path, [each[1:] for each in found]


def find_outlines(out: Path, stem: str) -> Path | None:
    """The GeoJSON file of an image of a run, packed or not; None where the run wrote none."""
    paths = [result_path(out, "geojson", stem, compression=each) for each in COMPRESSED]
    return next((each for each in paths if each.is_file()), None)


@contextmanager
def open_outlines(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of such a file, unpacked."""
    if path.name.endswith(COMPRESSED["gzip"]):
        with gzip.open(path) as unpacked:
            yield io.BufferedReader(unpacked)
    elif path.name.endswith(COMPRESSED["zip"]):
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
            yield member
    else:
        with path.open("rb") as file:
            yield file


def _picked(lines: Iterator[bytes], rows: IntpArray) -> Iterator[bytes]:
    before = 0
    for row in rows.tolist():
        yield from itertools.islice(lines, row - before, row - before + 1)
        before = row + 1


def _feature(line: bytes) -> tuple[str | None, str | None, str | None]:
    """Id of a cell and the geometries of cell and nucleus, of a line as `outputs.geojson` writes it or another did."""
    begin, ends = len(_FIRST), [line.find(mark) for mark in _THEN]
    name: str | None
    if line.startswith(_FIRST) and begin <= ends[0] < ends[1] < ends[2]:
        starts = begin, *(end + len(mark) for end, mark in zip(ends, _THEN, strict=True))
        name, *geometries = (line[start:end].decode() for start, end in zip(starts, ends, strict=False))
    else:
        feature = json.loads(line.rstrip(b",\n"))
        if not isinstance(feature, dict):
            return None, None, None
        name = feature.get("id")
        geometries = [json.dumps(feature.get(key), separators=(",", ":")) for key in ("geometry", "nucleusGeometry")]
    outline, nucleus = (None if each == "null" else each for each in geometries)
    return name, outline, nucleus
