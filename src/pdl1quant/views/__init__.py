"""What is seen of a result: arrays that are computed where one looks. Knows no viewer."""

from __future__ import annotations

from pdl1quant.views.added import added_cell, measured_cell
from pdl1quant.views.cells import CellView
from pdl1quant.views.levels import LevelArray, slide_levels, stain_levels
from pdl1quant.views.masks import HeatMap, TissueMask, heat_map, tissue_mask
from pdl1quant.views.outlines import Outlines, read_outlines
from pdl1quant.views.regions import RegionView
from pdl1quant.views.scene import Scene, open_scene

__all__ = [
    "CellView",
    "HeatMap",
    "LevelArray",
    "Outlines",
    "RegionView",
    "Scene",
    "TissueMask",
    "added_cell",
    "heat_map",
    "measured_cell",
    "open_scene",
    "read_outlines",
    "slide_levels",
    "stain_levels",
    "tissue_mask",
]
