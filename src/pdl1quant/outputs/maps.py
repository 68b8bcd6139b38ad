"""Counts of squares -> an OME-TIFF with a pixel a square: TPS, and how many cells lie in a square millimetre."""

from __future__ import annotations

import hashlib
import math
import uuid
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from pdl1quant import __version__
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.outputs.overview import MIN_CELLS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pdl1quant.model import Compartment, Counts, Float32Array

CHANNELS = ("TPS, %", "viable tumour cells / mm2", "positive tumour cells / mm2", "cells / mm2")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:pdl1quant:map")


def draw_map(
    squares: Mapping[tuple[int, int], Counts],
    *,
    width_um: float,
    height_um: float,
    square_um: float,
    compartment: Compartment,
) -> Float32Array:
    """Lay the counts of squares out over a slide.

    Parameters
    ----------
    squares
        Counts by row and column of squares of ``square_um``, from the corner of the slide.
    width_um, height_um
        Size of the slide, um; squares at its end are cut, and their densities are of what is left.
    square_um
        Side of the squares, um.
    compartment
        Whose positives are counted.

    Returns
    -------
    (4, rows, columns) float32
        ``CHANNELS``. The TPS of a square with fewer than ``overview.MIN_CELLS`` viable tumour cells is NaN, so that it
        is not taken for 0.
    """
    n_rows, n_columns = max(1, math.ceil(height_um / square_um)), max(1, math.ceil(width_um / square_um))
    planes = np.zeros((len(CHANNELS), n_rows, n_columns))
    planes[0] = np.nan
    for (row, column), counts in squares.items():
        if not (0 <= row < n_rows and 0 <= column < n_columns):
            continue  # a centre in the outer half of a border pixel
        n_positive = getattr(counts.positive, compartment)
        tps = 100 * n_positive / counts.n_tumour if counts.n_tumour >= MIN_CELLS else np.nan
        planes[:, row, column] = tps, counts.n_tumour, n_positive, counts.n_cells
    sides = [
        np.minimum(square_um, length_um - square_um * np.arange(n)) / 1000
        for length_um, n in ((height_um, n_rows), (width_um, n_columns))
    ]
    planes[1:] /= sides[0][:, None] * sides[1]
    return planes.astype(np.float32)


def write_map(
    squares: Mapping[tuple[int, int], Counts],
    path: Path,
    *,
    width_um: float,
    height_um: float,
    square_um: float,
    compartment: Compartment,
) -> None:
    """Write what `draw_map` lays out; the same counts give the same bytes.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    planes = draw_map(squares, width_um=width_um, height_um=height_um, square_um=square_um, compartment=compartment)
    digest = hashlib.sha256(planes.tobytes()).hexdigest()
    with replace_atomically(path) as partial:
        tifffile.imwrite(
            partial,
            planes,
            ome=True,
            photometric="minisblack",
            compression="deflate",
            software=f"pdl1quant {__version__}",
            resolution=(1e4 / square_um, 1e4 / square_um),
            resolutionunit="CENTIMETER",
            metadata={
                "axes": "CYX",
                "Name": f"pdl1quant map ({compartment})",
                "UUID": str(uuid.uuid5(_NAMESPACE, f"{digest}:{square_um}:{compartment}")),
                "Channel": {"Name": list(CHANNELS)},
                "PhysicalSizeX": square_um,
                "PhysicalSizeXUnit": "µm",
                "PhysicalSizeY": square_um,
                "PhysicalSizeYUnit": "µm",
            },
        )
