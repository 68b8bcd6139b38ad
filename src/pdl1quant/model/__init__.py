"""The values that travel between the stages.

Pixel convention: ``array[y, x]``; the centre of the first pixel is (0, 0). Optical density (OD) is
``-log10(intensity / white)``. Lengths carry their unit in the name: ``_px``, ``_um``, ``_um2``, ``_od``.
"""

from __future__ import annotations

from pdl1quant.model.artefacts import ArtefactKind, ArtefactMap
from pdl1quant.model.cells import (
    CELL_CLASS_DTYPE,
    CELL_COLUMNS,
    CLASS_PROBABILITIES,
    EXCLUDING_FLAGS,
    CellClass,
    CellColumn,
    Flag,
)
from pdl1quant.model.pixels import (
    MEMBRANE_SECTORS,
    BoolArray,
    Compartments,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    IntpArray,
    MembraneProfile,
    Rect,
    RoiMasks,
    Segmentation,
    StainEstimate,
    StainOD,
    Tile,
    UInt8Array,
)
from pdl1quant.model.protocols import Segmenter, Slide
from pdl1quant.model.scores import (
    BrownArea,
    Call,
    CallResult,
    Compartment,
    Counts,
    CutOff,
    Indication,
    PositiveCounts,
    RegionScore,
    ResultFlag,
    RulePack,
    Score,
    SlideResult,
    Status,
)
from pdl1quant.model.slides import Level, Region, SlideDamage, SlideGrid

__all__ = [
    "CELL_CLASS_DTYPE",
    "CELL_COLUMNS",
    "CLASS_PROBABILITIES",
    "EXCLUDING_FLAGS",
    "MEMBRANE_SECTORS",
    "ArtefactKind",
    "ArtefactMap",
    "BoolArray",
    "BrownArea",
    "Call",
    "CallResult",
    "CellClass",
    "CellColumn",
    "Compartment",
    "Compartments",
    "Counts",
    "CutOff",
    "Flag",
    "Float32Array",
    "Float64Array",
    "Indication",
    "Int32Array",
    "Int64Array",
    "IntpArray",
    "Level",
    "MembraneProfile",
    "PositiveCounts",
    "Rect",
    "Region",
    "RegionScore",
    "ResultFlag",
    "RoiMasks",
    "RulePack",
    "Score",
    "Segmentation",
    "Segmenter",
    "Slide",
    "SlideDamage",
    "SlideGrid",
    "SlideResult",
    "StainEstimate",
    "StainOD",
    "Status",
    "Tile",
    "UInt8Array",
]
