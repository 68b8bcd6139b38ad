"""The cells of an image as AnnData (``.h5ad``), for scanpy, squidpy and their like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pdl1quant import __version__
from pdl1quant.exports.source import Source, flag_names
from pdl1quant.extras import import_extra
from pdl1quant.model import CELL_COLUMNS
from pdl1quant.outputs.captions import RESEARCH_USE_ONLY
from pdl1quant.outputs.claims import MARK
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.outputs.tables import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

EXTRA = "anndata"
MEASURED: tuple[str, ...] = tuple(
    column.name
    for column in CELL_COLUMNS
    if (column.dtype.startswith("float") and column.name not in {"x_px", "y_px"}) or column.name == "neighbours_25um"
)
"""Columns of the cells table that are measurements, the variables; what a cell is called is an observation."""


def write_h5ad(source: Source, path: Path) -> None:
    """Write cells as AnnData. The same cells give the same bytes.

    ========================  ====================================================================================
    ``X``                     (cells, measurements) float32, as in the cells table, not normalised
    ``var``                   ``unit`` and ``description`` of each measurement
    ``obs``                   label, class, positivity, grade, flags and their names; the review's columns, if any
    ``obsm["spatial"]``       x, y in pixels of the image, the centre of the first pixel at 0
    ``obsm["spatial_um"]``    the same in um
    ``uns["units"]``          unit by name, of measurements and places
    ``uns["pdl1quant"]``      image and its hash, case, pixel size, assay, version, digest of the settings
    ========================  ====================================================================================

    Raises
    ------
    UsageError
        anndata is not installed.
    OutputError
        The file cannot be written.
    """
    table = _annotated(source)
    h5py = import_extra("h5py", package="h5py", extra=EXTRA)
    write_elem = import_extra("anndata.io", package="anndata", extra=EXTRA).write_elem
    with replace_atomically(path) as partial, h5py.File(partial, "w", track_order=False) as file:
        file.attrs["generator"] = f"{MARK.decode()} {__version__}"
        write_elem(file, "/", table)
        file.attrs["generator"] = f"{MARK.decode()} {__version__}"


def _annotated(source: Source) -> Any:
    anndata = import_extra("anndata", package="anndata", extra=EXTRA)
    cells, image = source.cells, source.image
    columns = {column.name: column for column in CELL_COLUMNS}
    named = [name for name in cells.columns if name not in {*MEASURED, "x_px", "y_px"}]
    index = cells["label"].astype(str).to_numpy(object)
    obs = cells[named].assign(flag_names=pd.Categorical(flag_names(cells["flags"]))).set_index(index)
    var = pd.DataFrame(
        {
            "unit": [columns[name].unit for name in MEASURED],
            "description": [columns[name].description for name in MEASURED],
        },
        index=np.array(MEASURED, object),
    )
    places = cells[["x_px", "y_px"]].to_numpy(np.float64)
    about = {
        "version": __version__,
        "schema": SCHEMA,
        "image": image.name,
        "image_sha256": image.sha256,
        "case": image.case,
        "mpp": source.mpp,
        "assay": source.results.pack.name,
        "score_name": source.results.pack.score_name,
        "config_digest": source.results.config.digest,
        "purpose": RESEARCH_USE_ONLY,
    }
    units = {name: columns[name].unit for name in MEASURED} | {"spatial": "px", "spatial_um": "um"}
    return anndata.AnnData(
        X=cells[list(MEASURED)].to_numpy(np.float32),
        obs=obs,
        var=var,
        obsm={"spatial": places, "spatial_um": places * [source.sides_um["mpp_x"], source.sides_um["mpp_y"]]},
        uns={"units": units, "pdl1quant": about},
    )
