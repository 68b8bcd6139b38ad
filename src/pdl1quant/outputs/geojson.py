"""Cells -> GeoJSON that QuPath reads as cell objects: outline, nucleus, class and measurements.

QuPath counts full-resolution pixels from the corner of the first one. Outlines are traced along pixel edges, so they
need no half-pixel shift; only centroids (pixel centres) would.
"""

from __future__ import annotations

import json
import math
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from pdl1quant import __version__
from pdl1quant.errors import OutputError
from pdl1quant.model import CELL_COLUMNS, Compartment
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.outputs.outlines import trace_outlines
from pdl1quant.outputs.palette import classification, counts_as_positive, is_left_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from pdl1quant.model import Compartments, Int32Array

Geometries: TypeAlias = NDArray[Any]

MEASUREMENTS: tuple[str, ...] = tuple(
    column.name
    for column in CELL_COLUMNS
    if column.name not in {"label", "x_px", "y_px"} and column.dtype != "category"
)
"""Columns of the cells table that become measurements, under their own names; truth becomes 0 or 1."""

COORDINATE_DECIMALS = 2
MEASUREMENT_DECIMALS = 4

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
    placed = {"x_px": x_px, "y_px": y_px, "downsample_x": downsample_x, "downsample_y": downsample_y}
    try:
        outlines = outline_cells(compartments, cells["label"].to_numpy(np.int32), **placed)
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
) -> tuple[tuple[str, str], ...]:
    """GeoJSON geometries of cell and nucleus of each label (n,); places as in `write_geojson`.

    Raises
    ------
    ValueError
        A label has no pixels.
    """
    placed = {"x_px": x_px, "y_px": y_px, "downsample_x": downsample_x, "downsample_y": downsample_y}
    outlines = _geometries(compartments.cell, labels, **placed)
    nuclei = _geometries(compartments.nucleus, labels, **placed)
    if (missing := shapely.is_missing(outlines)).any():
        raise ValueError(f"cell {labels[missing][0]} has no pixels")
    texts = zip(shapely.to_geojson(outlines), shapely.to_geojson(nuclei), strict=True)
    return tuple((outline, nucleus or "null") for outline, nucleus in texts)


@contextmanager
def geojson_writer(
    path: Path, *, image_id: str, compartment: Compartment = Compartment.CYTOPLASM
) -> Iterator[Callable[[pd.DataFrame, Sequence[tuple[str, str]]], None]]:
    """Write a FeatureCollection in parts: gives a function that takes the next rows and their `outline_cells`.

    Nothing is kept; the file appears when the block ends well. Arguments and errors as in `write_geojson`.
    """
    between = ""
    with replace_atomically(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:

        def write(cells: pd.DataFrame, outlines: Sequence[tuple[str, str]]) -> None:
            nonlocal between
            for feature in _features(cells, outlines, image_id=image_id, compartment=compartment):
                file.write(between + feature)
                between = ",\n"

        file.write(f'{{"type":"FeatureCollection","generator":"pdl1quant {__version__}","features":[\n')
        yield write
        file.write("\n]}\n")


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
    return str(uuid.uuid5(_NAMESPACE, f"{image_id}:{label}"))


def _geometries(
    image: Int32Array, labels: Int32Array, *, x_px: float, y_px: float, downsample_x: float, downsample_y: float
) -> Geometries:
    """Valid polygon of each label in input pixels from the corner; None for a label without pixels."""
    traced = trace_outlines(image)
    found = np.full(labels.size, None, dtype=object)
    if traced.labels.size == 0:
        return found
    corners = np.column_stack([x_px + traced.x_px * downsample_x, y_px + traced.y_px * downsample_y])
    ring_of = np.repeat(np.arange(traced.labels.size), np.diff(traced.starts))
    polygons = shapely.polygons(shapely.linearrings(corners.round(COORDINATE_DECIMALS), indices=ring_of))
    place = np.searchsorted(traced.labels, labels).clip(max=traced.labels.size - 1)
    is_found = traced.labels[place] == labels
    found[is_found] = polygons[place[is_found]]
    invalid = is_found & ~shapely.is_valid(found)
    found[invalid] = _repaired(found[invalid])
    return found


def _repaired(polygons: Geometries) -> Geometries:
    """The largest valid polygon of each; few need it: those that touch themselves by a corner."""
    parts, origin = shapely.get_parts(shapely.make_valid(polygons), return_index=True)
    by_size = np.lexsort((-shapely.area(parts), origin))
    is_first = np.diff(origin[by_size], prepend=-1) != 0
    largest: Geometries = parts[by_size[is_first]]
    return largest


def _properties(cells: pd.DataFrame, compartment: Compartment) -> list[str]:
    positive = counts_as_positive(cells, compartment)
    outcome = np.where(is_left_out(cells), "Excluded", np.where(positive, "Positive", "Negative"))
    columns = [_rounded(cells[name].to_numpy()) for name in MEASUREMENTS]
    return [
        json.dumps(
            {
                "objectType": "cell",
                "classification": classification(cell_class, kind),
                "measurements": _measurements(row),
            },
            separators=(",", ":"),
            allow_nan=False,
        )
        for cell_class, kind, row in zip(
            cells["cell_class"].astype(str), outcome.tolist(), zip(*columns, strict=True), strict=True
        )
    ]


def _rounded(values: NDArray[Any]) -> list[Any]:
    if values.dtype.kind != "f":
        values = values.astype(np.int64)
        return list(values.tolist())
    return list(np.round(values.astype(np.float64), MEASUREMENT_DECIMALS).tolist())


def _measurements(row: tuple[float, ...]) -> dict[str, float]:
    """Measurements by name; an undefined one is left out, for JSON has no word for it."""
    return {name: value for name, value in zip(MEASUREMENTS, row, strict=True) if math.isfinite(value)}
