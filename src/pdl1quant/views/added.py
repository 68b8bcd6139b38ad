"""Cells that a reviewer makes, measured as the run measures its cells."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from pdl1quant.errors import ReviewError
from pdl1quant.model import CELL_COLUMNS, CellClass, Flag, Rect, Segmentation, Tile
from pdl1quant.review import MadeCell, geometry_of
from pdl1quant.slides.roi import CENTRE
from pdl1quant.stages import cells as cell_stage
from pdl1quant.stages import measure, positivity, quality, stains
from pdl1quant.views.cells import drawn_circle

if TYPE_CHECKING:
    from pdl1quant.model import Int32Array, SlideGrid, StainOD
    from pdl1quant.views.scene import Scene

NUCLEUS_UM2 = 38.0
"""Nucleus of an added cell, whose own nobody drew: typical of a cell of 12 um."""
AROUND_UM = 2.0
"""What is read around a cell."""
_MEASURED = tuple(c.name for c in CELL_COLUMNS if c.dtype.startswith("float") and c.name not in {"x_px", "y_px"})


def added_cell(scene: Scene, x_px: float, y_px: float, *, cell_class: CellClass) -> MadeCell:
    """A new round cell at a place, with its outline and, where the image is at hand, its densities.

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
        ``positive`` by the rule and the densities, flagged as the run would flag it there; negative and not judged
        where the image is not at hand.

    Raises
    ------
    ReviewError
        The place lies outside the image.
    """
    slide = scene.slide
    if slide is not None and not (0 <= x_px + CENTRE < slide.width and 0 <= y_px + CENTRE < slide.height):
        raise ReviewError(f"{scene.review.image.name}: no cell can be added outside the image; click on its tissue")
    outline = geometry_of(drawn_circle(x_px, y_px, sides_um=scene.review.sides_um))
    made = MadeCell(x_px=x_px, y_px=y_px, cell_class=cell_class, geometry=outline)
    made = dataclasses.replace(made, flags=int(Flag.ARTEFACT) if scene.is_spoilt(x_px, y_px) else 0)
    measured = measured_cell(scene, made, nucleus_um2=NUCLEUS_UM2)
    if not _is_blurred_around(scene, x_px, y_px):  # nobody drew its nucleus: the edge of a disc alone says little
        measured = dataclasses.replace(measured, flags=measured.flags & ~int(Flag.OUT_OF_FOCUS))
    return measured if measured.measurements else dataclasses.replace(made, positive=False)


def measured_cell(scene: Scene, made: MadeCell, *, nucleus_um2: float, of_nucleus: bool = True) -> MadeCell:
    """The same cell with what is measured inside its outline; without image, estimate or outline as it is.

    Parameters
    ----------
    scene
        The image, and the run's staining and settings.
    made
        With its outline in input pixels from the corner of the first.
    nucleus_um2
        Area of the disc about its centre that is taken for the nucleus.
    of_nucleus
        Whether the columns of the nucleus are measured, too, and the cell flagged: not where these are known better
        from its parents.
    """
    if scene.slide is None or scene.estimate is None or made.geometry is None:
        return made
    config = scene.review.results.config
    grid = scene.slide.grid(config.working_mpp)
    outline = shapely.from_geojson(json.dumps(made.geometry))
    rect = _window(outline, grid)
    if rect.width < 1 or rect.height < 1:
        return made
    tile = Tile.whole(scene.slide.read(rect, grid).rgb, grid.mpp)
    od = stains.deconvolve(tile.rgb, scene.estimate)
    x = (np.arange(rect.x0, rect.x1) + 0.5) * grid.downsample_x
    y = (np.arange(rect.y0, rect.y1) + 0.5)[:, None] * grid.downsample_y
    cell = shapely.contains_xy(outline, *np.broadcast_arrays(x, y)).astype(np.int32)
    sides = scene.review.sides_um
    away_um = np.hypot((x - made.x_px - CENTRE) * sides["mpp_x"], (y - made.y_px - CENTRE) * sides["mpp_y"])
    nucleus = cell * (np.pi * away_um**2 <= nucleus_um2)
    if not nucleus.any():
        return made
    seen = Segmentation(nuclei=nucleus.astype(np.int32), cells=cell)
    parts = cell_stage.grow_cells(seen, od, mpp=grid.mpp, config=config.cells)
    black = stains.pigment_residual_od(scene.estimate, config.quality.pigment_od)
    t1 = config.positivity.dab_od
    measured = measure.measure_cells(tile, od, parts, stains=config.stains, t1=t1, pigment_residual_od=black)
    classes = pd.Categorical([str(made.cell_class)], categories=[str(each) for each in CellClass])
    judged = positivity.call_positive(
        measured.cells.assign(cell_class=classes),
        measured.membrane,
        compartment=scene.review.results.pack.compartment,
        config=config.positivity,
    )
    if of_nucleus:
        flags = int(quality.flag_cells(judged, parts, config=config.quality)[0]) | int(judged["flags"].iloc[0])
        brown_um2 = _bare_px(scene, parts.cell, od, rect) * sides["mpp_x"] * sides["mpp_y"]
        brown_um2 *= grid.downsample_x * grid.downsample_y
        made = dataclasses.replace(made, flags=made.flags | flags, bare_brown_um2=brown_um2)
    row = judged[[name for name in _MEASURED if of_nucleus or not name.startswith("nucleus_")]].iloc[0]
    return dataclasses.replace(made, measurements={str(k): float(v) for k, v in row.items() if np.isfinite(v)})


def _is_blurred_around(scene: Scene, x_px: float, y_px: float) -> bool:
    """Whether the nearest cell of the run is out of focus; of an image without cells nothing says so."""
    cells, sides = scene.review.cells, scene.review.sides_um
    if cells.empty:
        return False
    places = scene.cells.centres_px[: len(cells)]
    away = ((places - (x_px, y_px)) * (sides["mpp_x"], sides["mpp_y"])) ** 2
    nearest = int(np.argmin(away.sum(axis=1)))
    return bool(cells["flags"].to_numpy(np.int32)[nearest] & int(Flag.OUT_OF_FOCUS))


def _bare_px(scene: Scene, cell: Int32Array, od: StainOD, rect: Rect) -> int:
    """Brown pixels of a new cell that lie in no other; 0 where the outlines of the others are not known."""
    assert scene.slide is not None
    if not scene.cells.knows_cover:
        return 0
    config = scene.review.results.config
    brown = (cell > 0) & (od.dab >= np.float32(config.positivity.dab_od))
    return int((brown & ~scene.cells.covered(rect, scene.slide.grid(config.working_mpp))).sum())


def _window(outline: shapely.Geometry, grid: SlideGrid) -> Rect:
    """The pixels of the grid around an outline in level-0 pixels."""
    left, top, right, bottom = shapely.bounds(outline)
    around = AROUND_UM / grid.mpp
    return Rect(
        x0=max(0, int(left / grid.downsample_x - around)),
        y0=max(0, int(top / grid.downsample_y - around)),
        x1=min(grid.width, int(right / grid.downsample_x + around) + 1),
        y1=min(grid.height, int(bottom / grid.downsample_y + around) + 1),
    )
