"""The cell that a reviewer adds: a circle, measured as the run measures its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from pdl1quant.model import CELL_COLUMNS, CellClass, Rect, Segmentation, Tile
from pdl1quant.review import MadeCell, geometry_of
from pdl1quant.slides.roi import CENTRE
from pdl1quant.stages import cells as cell_stage
from pdl1quant.stages import measure, positivity, stains
from pdl1quant.views.cells import DRAWN_RADIUS_UM

if TYPE_CHECKING:
    from pdl1quant.views.scene import Scene

NUCLEUS_RADIUS_UM = 3.5
"""A nucleus of 38 um2 in a cell of 12 um."""
AROUND_UM = 12.0
"""What is read around the place: the cell and as much again."""
_MEASURED = tuple(c.name for c in CELL_COLUMNS if c.dtype.startswith("float") and c.name not in {"x_px", "y_px"})


def added_cell(scene: Scene, x_px: float, y_px: float, *, cell_class: CellClass) -> MadeCell:
    """A new cell at a place, with its outline and, where the image is at hand, its densities.

    Parameters
    ----------
    scene
        The image, and the run's staining and settings.
    x_px, y_px
        Its centre in input pixels.
    cell_class
        What the reviewer says it is.

    Returns
    -------
    MadeCell
        ``positive`` by the rule and the densities; negative where the image is not at hand.
    """
    radius_px = DRAWN_RADIUS_UM / scene.review.mpp
    outline = geometry_of(shapely.Point(x_px + CENTRE, y_px + CENTRE).buffer(radius_px, quad_segs=8))
    densities = _densities(scene, x_px, y_px, cell_class=cell_class)
    return MadeCell(
        x_px=x_px,
        y_px=y_px,
        cell_class=cell_class,
        positive=None if densities else False,
        geometry=outline,
        measurements=densities,
    )


def _densities(scene: Scene, x_px: float, y_px: float, *, cell_class: CellClass) -> dict[str, float]:
    """Columns of the cells table by name; none without image or estimate."""
    if scene.slide is None or scene.estimate is None:
        return {}
    config = scene.review.results.config
    grid = scene.slide.grid(config.working_mpp)
    column, row = (x_px + 0.5) / grid.downsample_x - 0.5, (y_px + 0.5) / grid.downsample_y - 0.5
    around = round(AROUND_UM / grid.mpp)
    left, top = max(0, round(column) - around), max(0, round(row) - around)
    rect = Rect(x0=left, y0=top, x1=min(grid.width, round(column) + around), y1=min(grid.height, round(row) + around))
    tile = Tile.whole(scene.slide.read(rect, grid).rgb, grid.mpp)
    od = stains.deconvolve(tile.rgb, scene.estimate)
    rows, columns = np.ogrid[: tile.rgb.shape[0], : tile.rgb.shape[1]]
    away_um = np.hypot(rows - (row - top), columns - (column - left)) * grid.mpp
    nucleus, cell = ((away_um <= radius).astype(np.int32) for radius in (NUCLEUS_RADIUS_UM, DRAWN_RADIUS_UM))
    if not nucleus.any():
        return {}
    parts = cell_stage.grow_cells(Segmentation(nuclei=nucleus, cells=cell), od, mpp=grid.mpp, config=config.cells)
    black = stains.pigment_residual_od(scene.estimate, config.quality.pigment_od)
    measured = measure.measure_cells(tile, od, parts, stains=config.stains, pigment_residual_od=black)
    classes = pd.Categorical([str(cell_class)], categories=[str(each) for each in CellClass])
    named = measured.cells.assign(cell_class=classes)
    compartment = scene.review.results.pack.compartment
    judged = positivity.call_positive(named, measured.membrane, compartment=compartment, config=config.positivity).iloc[
        0
    ]
    return {name: float(judged[name]) for name in _MEASURED if np.isfinite(judged[name])}
