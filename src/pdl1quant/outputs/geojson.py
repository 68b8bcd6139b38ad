"""Cells -> GeoJSON that QuPath reads as cell objects: outline, nucleus, class and measurements.

QuPath counts full-resolution pixels from the corner of the first one. Outlines are traced along pixel edges, so they
need no half-pixel shift; only centroids (pixel centres) would.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import uuid
import zipfile
from contextlib import contextmanager
from functools import cache
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant import __version__
from pdl1quant.errors import OutputError
from pdl1quant.kernels.outlines import write_rings
from pdl1quant.model import CELL_COLUMNS, Compartment
from pdl1quant.outputs.files import COMPRESSED, replace_atomically
from pdl1quant.outputs.outlines import exact_rings, simple_rings, trace_outlines
from pdl1quant.outputs.palette import classification, outcomes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from pdl1quant.kernels.outlines import Int64Array
    from pdl1quant.model import Compartments, Float64Array, Int32Array

MEASUREMENTS: tuple[str, ...] = tuple(
    column.name
    for column in CELL_COLUMNS
    if column.name not in {"label", "x_px", "y_px"} and column.dtype != "category"
)
"""Columns of the cells table that become measurements, under their own names; truth becomes 0 or 1."""

MEASUREMENT_DECIMALS = 4
FEATURES_AT_ONCE = 1000
GZIP_LEVEL = 1
"""Higher ones cost up to three times as much and save a quarter."""

_MISSING = "null"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:pdl1quant:cell")


def write_geojson(
    cells: pd.DataFrame,
    compartments: Compartments,
    path: Path,
    *,
    image_id: str,
    compartment: Compartment = Compartment.CYTOPLASM,
    x_px: float = 0.0,
    y_px: float = 0.0,
    downsample_x: float = 1.0,
    downsample_y: float = 1.0,
) -> None:
    """Write cells as a FeatureCollection that QuPath opens (File > Import objects).

    Parameters
    ----------
    cells
        Cells table. Cells of the label images that have no row are not written.
    compartments
        Label images at the working resolution.
    path
        File to write; replaced as a whole.
    image_id
        Hash of the image; with the label it gives each cell the same UUID in every run.
    compartment
        The scored one (``Score.score_compartment``): positive tumour cells are those that the score counts.
    x_px, y_px
        Input pixel whose upper left corner is that of the first working pixel (``Tile.x_px``, ``Tile.y_px``).
    downsample_x, downsample_y
        Input pixels per working pixel.

    Raises
    ------
    OutputError
        A row's label has no pixels, or the file cannot be written.
    """
    try:
        outlines = outline_cells(
            compartments,
            cells["label"].to_numpy(np.int32),
            x_px=x_px,
            y_px=y_px,
            downsample_x=downsample_x,
            downsample_y=downsample_y,
        )
    except ValueError as error:
        raise OutputError(f"{path}: {error}; the table and the labels are of two images") from error
    with geojson_writer(path, image_id=image_id, compartment=compartment) as write:
        write(cells, outlines)


def outline_cells(
    compartments: Compartments,
    labels: Int32Array,
    *,
    x_px: float = 0.0,
    y_px: float = 0.0,
    downsample_x: float = 1.0,
    downsample_y: float = 1.0,
    simplified: bool = False,
) -> tuple[tuple[str, str], ...]:
    """GeoJSON geometries of cell and nucleus of each label (n,); places as in `write_geojson`.

    ``simplified`` ones have a third of the corners, within a pixel of the others.

    Raises
    ------
    ValueError
        A label has no pixels.
    """
    outlines, nuclei = (
        _geometries(
            image,
            labels,
            simplified=simplified,
            x_px=x_px,
            y_px=y_px,
            downsample_x=downsample_x,
            downsample_y=downsample_y,
        )
        for image in (compartments.cell, compartments.nucleus)
    )
    if _MISSING in outlines:
        raise ValueError(f"cell {labels[outlines.index(_MISSING)]} has no pixels")
    return tuple(zip(outlines, nuclei, strict=True))


@contextmanager
def _text_file(path: Path, *, name: str) -> Iterator[gzip.GzipFile | IO[bytes]]:
    """A file to write to, compressed as the ending of ``name`` says; the same text gives the same bytes."""
    if name.endswith(COMPRESSED["gzip"]):
        # the name in its header is our mark
        with path.open("wb") as raw, gzip.GzipFile("pdl1quant.geojson", "wb", GZIP_LEVEL, raw, mtime=0) as file:
            yield file
    elif name.endswith(COMPRESSED["zip"]):
        with zipfile.ZipFile(path, "w") as archive:
            archive.comment = f"pdl1quant {__version__}".encode()
            member = zipfile.ZipInfo(name.removesuffix(COMPRESSED["zip"]))  # of no date
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as file:
                yield file
    else:
        with path.open("wb") as file:
            yield file


@contextmanager
def geojson_writer(
    path: Path, *, image_id: str, compartment: Compartment = Compartment.CYTOPLASM
) -> Iterator[Callable[[pd.DataFrame, Sequence[tuple[str, str]]], None]]:
    """Write a FeatureCollection in parts: gives a function that takes the next rows and their `outline_cells`.

    Nothing is kept; the file appears when the block ends well. It is compressed if ``path`` ends so (`COMPRESSED`).
    Other arguments and errors as in `write_geojson`.
    """
    between = b""
    with replace_atomically(path) as partial, _text_file(partial, name=path.name) as file:

        def write(cells: pd.DataFrame, outlines: Sequence[tuple[str, str]]) -> None:
            nonlocal between
            features = _features(cells, outlines, image_id=image_id, compartment=compartment)
            while part := ",\n".join(itertools.islice(features, FEATURES_AT_ONCE)):
                file.write(between + part.encode())
                between = b",\n"

        file.write(f'{{"type":"FeatureCollection","generator":"pdl1quant {__version__}","features":[\n'.encode())
        yield write
        file.write(b"\n]}\n")


def _features(
    cells: pd.DataFrame, outlines: Sequence[tuple[str, str]], *, image_id: str, compartment: Compartment
) -> Iterator[str]:
    labels = cells["label"].tolist()
    for label, (outline, nucleus), properties in zip(labels, outlines, _properties(cells, compartment), strict=True):
        yield (
            f'{{"type":"Feature","id":"{cell_id(image_id, label)}","geometry":{outline},'
            f'"nucleusGeometry":{nucleus},"properties":{properties}}}'
        )


def cell_id(image_id: str, label: int) -> str:
    """UUID of a cell: the same in every run that numbers the cells of an image alike."""
    digest = hashlib.sha1(_NAMESPACE.bytes + f"{image_id}:{label}".encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]  # as uuid.uuid5, without an object for each cell
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def _geometries(
    image: Int32Array,
    labels: Int32Array,
    *,
    simplified: bool,
    x_px: float,
    y_px: float,
    downsample_x: float,
    downsample_y: float,
) -> list[str]:
    """Valid polygon of each label in input pixels from the corner; `_MISSING` for a label without pixels."""
    traced = trace_outlines(image)
    if traced.labels.size == 0:
        return [_MISSING] * labels.size
    rings = simple_rings(traced) if simplified else exact_rings(traced)
    x, y = _hundredths(x_px + rings.x_px * downsample_x), _hundredths(y_px + rings.y_px * downsample_y)
    text, ends = write_rings(rings.starts, x, y)
    whole, ends = text.tobytes().decode("ascii"), ends.tolist()
    found = [f'{{"type":"Polygon","coordinates":[{whole[a:b]}]}}' for a, b in itertools.pairwise(ends)]
    for number in np.flatnonzero(rings.doubtful).tolist():
        found[number] = _valid(found[number])
    place = np.searchsorted(traced.labels, labels).clip(max=traced.labels.size - 1)
    is_found = traced.labels[place] == labels
    return [found[at] if known else _MISSING for at, known in zip(place.tolist(), is_found.tolist(), strict=True)]


def _hundredths(coordinates: Float64Array) -> Int64Array:
    return np.rint(100 * coordinates).astype(np.int64)


def _valid(text: str) -> str:
    """The largest valid polygon; few need it: those that touch themselves by a corner."""
    polygon = shapely.from_geojson(text)
    if polygon.is_valid:
        return text
    parts = shapely.get_parts(shapely.make_valid(polygon))
    return str(shapely.to_geojson(max(parts, key=shapely.area)))


def _properties(cells: pd.DataFrame, compartment: Compartment) -> list[str]:
    measured = zip(*(_texts(name, cells[name].to_numpy()) for name in MEASUREMENTS), strict=True)
    kinds = zip(cells["cell_class"].astype(str), outcomes(cells, compartment), strict=True)
    texts = (",".join(filter(None, row)) for row in measured)
    return [
        f'{{"objectType":"cell","classification":{_classified(*kind)},"measurements":{{{text}}}}}'
        for kind, text in zip(kinds, texts, strict=True)
    ]


@cache
def _classified(cell_class: str, kind: str) -> str:
    return json.dumps(classification(cell_class, kind), separators=(",", ":"))


def _texts(name: str, values: NDArray[Any]) -> list[str]:
    """A measurement of each cell as JSON, with its name; "" for an undefined one, for JSON has no word for it."""
    key = json.dumps(name)
    if values.dtype.kind != "f":
        return [f"{key}:{value}" for value in values.astype(np.int64).tolist()]
    rounded = np.round(values.astype(np.float64), MEASUREMENT_DECIMALS)
    known = np.isfinite(rounded).tolist()
    return [f"{key}:{value!r}" if is_known else "" for value, is_known in zip(rounded.tolist(), known, strict=True)]
