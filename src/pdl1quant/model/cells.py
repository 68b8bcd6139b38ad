"""The cells table: its classes, flags and columns."""

from __future__ import annotations

from enum import IntFlag, StrEnum
from typing import NamedTuple


class CellClass(StrEnum):
    """What a cell is taken for."""

    TUMOUR = "tumour"
    LYMPHOCYTE = "lymphocyte"
    MACROPHAGE = "macrophage"
    STROMA = "stroma"
    OTHER = "other"


class Flag(IntFlag):
    """What is doubtful about one cell. A doubtful cell is flagged, never dropped from the table."""

    NONE = 0
    TOUCHES_EDGE = 1
    """Cut by the border of the image."""
    SATURATED = 2
    """A colour channel is too dark for the stain split; the cell stays in the score."""
    PIGMENT = 4
    """Covered by pigment that is not DAB (carbon, ink)."""
    OUT_OF_FOCUS = 8
    """Too blurred to judge."""
    NO_CYTOPLASM = 16
    """No cytoplasm was found; its membrane band stands in."""
    PYKNOTIC = 32
    """Shrunken, fragmented or dense nucleus: not viable."""
    OUTSIDE_ROI = 64
    """Outside the region that is scored."""
    SHARED_MEMBRANE = 128
    """Brown membrane was not counted because a neighbour explains it."""
    EDITED = 256
    """Changed by a reviewer."""
    ARTEFACT = 512
    """In a part of the slide that is spoilt: pen, fold, bubble, blur or pigment."""
    OVERLAID = 1024
    """A tumour cell whose brown is that of an immune cell which lies over it: what it is like below cannot be seen."""
    BESIDE_TUMOUR = 2048
    """Beside the drawn tumour region, in its adjacent stroma: only immune cells count here, and not for the areas."""
    FAR_FROM_TUMOUR = 4096
    """Immune cell farther than 500 um from any nest of tumour cells found: not counted in the CPS."""


EXCLUDING_FLAGS = (
    Flag.TOUCHES_EDGE
    | Flag.PIGMENT
    | Flag.OUT_OF_FOCUS
    | Flag.PYKNOTIC
    | Flag.OUTSIDE_ROI
    | Flag.ARTEFACT
    | Flag.OVERLAID
)
"""A cell with one of these stays in the table and leaves the numerator and the denominator."""


CLASS_PROBABILITIES = tuple(f"{name}_probability" for name in CellClass)
"""Columns of the cells table with the probability of each class, in the order of `CellClass`."""


class CellColumn(NamedTuple):
    """One column of the cells table."""

    name: str
    dtype: str
    unit: str
    description: str


CELL_CLASS_DTYPE = "category"

CELL_COLUMNS: tuple[CellColumn, ...] = (
    CellColumn("label", "int32", "", "number of the cell in its label image"),
    CellColumn(
        "x_px", "float64", "px", "centroid of the nucleus, column in the input image; first pixel's centre is 0"
    ),
    CellColumn("y_px", "float64", "px", "centroid of the nucleus, row in the input image"),
    CellColumn("cell_class", CELL_CLASS_DTYPE, "", "tumour, lymphocyte, macrophage, stroma or other"),
    CellColumn("positive", "bool", "", "brown membrane or brown cytoplasm (membrane_positive or cytoplasm_positive)"),
    CellColumn("membrane_positive", "bool", "", "one run of brown membrane, long enough and above the cytoplasm"),
    CellColumn("cytoplasm_positive", "bool", "", "mean DAB OD of the cytoplasm at or above the threshold"),
    CellColumn("cell_positive", "bool", "", "mean DAB OD of the whole cell at or above the threshold"),
    CellColumn("dab_grade", "int8", "", "0-3: bin of the scored compartment's DAB OD (not 1+/2+/3+)"),
    CellColumn(
        "flags", "int32", "", "what is doubtful about the cell: a sum of the numbers of pdl1quant.Flag, 0 = nothing"
    ),
    CellColumn("nucleus_area_um2", "float32", "um2", "area of the nucleus"),
    CellColumn("cell_area_um2", "float32", "um2", "area of the cell with its nucleus"),
    CellColumn("cytoplasm_area_um2", "float32", "um2", "area of the cell without nucleus and membrane"),
    CellColumn("membrane_area_um2", "float32", "um2", "area of the band at the cell's edge"),
    CellColumn(
        "dab_area_um2", "float32", "um2", "area of the cell at or above the DAB threshold, what pigment covers left out"
    ),
    CellColumn("nucleus_length_um", "float32", "um", "major axis of the ellipse with the nucleus' second moments"),
    CellColumn("nucleus_width_um", "float32", "um", "minor axis of the ellipse with the nucleus' second moments"),
    CellColumn("nucleus_regularity", "float32", "", "area of the nucleus / area of that ellipse, 0-1; low = ragged"),
    CellColumn("nucleus_haematoxylin_od_mean", "float32", "OD", "mean haematoxylin OD in the nucleus"),
    CellColumn("nucleus_haematoxylin_od_sd", "float32", "OD", "its standard deviation: chromatin texture"),
    CellColumn("nucleus_sharpness_od", "float32", "OD", "mean gradient at the edge of the nucleus, OD per um"),
    CellColumn("nucleus_dab_od_mean", "float32", "OD", "mean DAB OD in the nucleus"),
    CellColumn("cytoplasm_haematoxylin_od_mean", "float32", "OD", "mean haematoxylin OD in the cytoplasm"),
    CellColumn("cytoplasm_dab_od_mean", "float32", "OD", "mean DAB OD in the cytoplasm (no cytoplasm: in the band)"),
    CellColumn("membrane_dab_od_mean", "float32", "OD", "mean DAB OD in the membrane band"),
    CellColumn("membrane_dab_od_run", "float32", "OD", "DAB OD reached by the best contiguous run of the membrane"),
    CellColumn("membrane_completeness", "float32", "", "share of the membrane band at or above the threshold, 0-1"),
    CellColumn("cell_dab_od_mean", "float32", "OD", "mean DAB OD in the whole cell"),
    CellColumn("cell_residual_od_mean", "float32", "OD", "mean OD that neither stain explains"),
    CellColumn("saturated_share", "float32", "", "share of the cell's pixels too dark for the stain split, 0-1"),
    CellColumn("pigment_share", "float32", "", "share of the cell's pixels covered by pigment, 0-1"),
    CellColumn(
        "neighbour_distance_um",
        "float32",
        "um",
        "distance to the nearest other nucleus centroid; infinite of a single cell",
    ),
    CellColumn("neighbours_25um", "int32", "", "nuclei whose centroid lies within 25 um"),
    *(
        CellColumn(column, "float32", "", f"how likely the cell is of class {name}, 0-1; 0 where nothing tells it")
        for column, name in zip(CLASS_PROBABILITIES, CellClass, strict=True)
    ),
)
"""The cells table: a pandas DataFrame with exactly these columns, in this order, a row per cell, sorted by y, x."""
