"""The values that travel between the stages.

Pixel convention: ``array[y, x]``; the centre of the first pixel is (0, 0). Optical density (OD) is
``-log10(intensity / white)``. Lengths carry their unit in the name: ``_px``, ``_um``, ``_um2``, ``_od``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.config import CellsConfig, NucleiConfig

UInt8Array: TypeAlias = NDArray[np.uint8]
Float32Array: TypeAlias = NDArray[np.float32]
Float64Array: TypeAlias = NDArray[np.float64]
Int32Array: TypeAlias = NDArray[np.int32]
IntpArray: TypeAlias = NDArray[np.intp]
BoolArray: TypeAlias = NDArray[np.bool_]


# --- geometry and pixels ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Rect:
    """A half-open rectangle of pixels: ``x0 <= x < x1``, ``y0 <= y < y1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Pixels at the working resolution and where they come from.

    ``rgb`` is (H, W, 3) uint8 at ``mpp`` um per pixel. Its first pixel lies at (``x_px``, ``y_px``) of the input image
    and each of its pixels spans ``downsample_x`` by ``downsample_y`` input pixels. It owns the cells whose centroid
    lies in ``core`` (pixels of ``rgb``).
    """

    rgb: UInt8Array
    mpp: float
    core: Rect
    x_px: float = 0.0
    y_px: float = 0.0
    downsample_x: float = 1.0
    downsample_y: float = 1.0

    @classmethod
    def whole(cls, rgb: UInt8Array, mpp: float) -> Tile:
        """The tile that owns all of its pixels: a plain image."""
        return cls(rgb=rgb, mpp=mpp, core=Rect(x0=0, y0=0, x1=rgb.shape[1], y1=rgb.shape[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiMasks:
    """What a person drew, each (H, W) bool in pixels of the input image.

    Cells outside ``scored`` leave the score. With a ``tumour`` region only the tumour cells inside it count.
    """

    scored: BoolArray
    tumour: BoolArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StainOD:
    """Optical densities after unmixing, each (H, W) float32, log10; signed ``residual``: > 0 greyer than both."""

    haematoxylin: Float32Array
    dab: Float32Array
    residual: Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class StainEstimate:
    """What one case (slide, or folder of tiles) tells of its own staining; measured once, then used for all its tiles.

    ``white`` is the RGB level of empty glass (0-255). The stain vectors are unit OD vectors (R, G, B).
    ``nucleus_od`` is the level of the nucleus signal that separates nuclei from background. Each ``*_source`` says how
    the value was got: ``glass``, ``given`` or ``assumed`` (white); ``estimated``, ``haematoxylin_estimated`` (no DAB
    to estimate from: DAB fixed) or ``fixed`` (vectors).
    """

    white: tuple[float, float, float]
    haematoxylin: tuple[float, float, float]
    dab: tuple[float, float, float]
    nucleus_od: float
    white_source: str
    vectors_source: str
    has_dab: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """What a segmenter found: ``nuclei`` (H, W) int32, labels exactly 1..n; ``cells`` alike or None.

    ``class_scores`` is (n, n_classes) float32 in the order of ``CellClass``, or None.
    """

    nuclei: Int32Array
    cells: Int32Array | None = None
    class_scores: Float32Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compartments:
    """Label images (H, W) int32 that share labels: label k is one cell in all of them.

    ``nucleus``, ``cytoplasm`` and ``membrane`` are disjoint and together make up ``cell``. ``n_cells`` is the highest
    label.
    """

    nucleus: Int32Array
    cell: Int32Array
    cytoplasm: Int32Array
    membrane: Int32Array
    n_cells: int


MEMBRANE_SECTORS = 32
"""Into how many sectors about its centroid the membrane of a cell is cut; 11 degrees, 1-2 px at the edge of a cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MembraneProfile:
    """The membrane band of each cell along its perimeter, each (n, ``MEMBRANE_SECTORS``), a row per row of the table.

    ``dab_od`` is the mean over a sector of the highest DAB OD within 1 px (the line is 1-2 px wide; 0 without band),
    ``weight`` its band pixels (its share of the perimeter), ``neighbour`` the row of the touching cell in the table, -1 for none.
    """

    dab_od: Float32Array
    weight: Float32Array
    neighbour: Int32Array


# --- cells ----------------------------------------------------------------------------------------------------------
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
    """Brown membrane that is shared with a positive immune neighbour was not counted."""
    EDITED = 256
    """Changed by a reviewer."""


EXCLUDING_FLAGS = Flag.TOUCHES_EDGE | Flag.PIGMENT | Flag.OUT_OF_FOCUS | Flag.PYKNOTIC | Flag.OUTSIDE_ROI
"""A cell with one of these stays in the table and leaves the numerator and the denominator."""


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
    CellColumn("flags", "int32", "", "bits of pdl1quant.Flag: what is doubtful about the cell"),
    CellColumn("nucleus_area_um2", "float32", "um2", "area of the nucleus"),
    CellColumn("cell_area_um2", "float32", "um2", "area of the cell with its nucleus"),
    CellColumn("cytoplasm_area_um2", "float32", "um2", "area of the cell without nucleus and membrane"),
    CellColumn("membrane_area_um2", "float32", "um2", "area of the band at the cell's edge"),
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
    CellColumn("neighbour_distance_um", "float32", "um", "distance to the nearest other nucleus centroid"),
    CellColumn("neighbours_25um", "int32", "", "nuclei whose centroid lies within 25 um"),
)
"""The cells table: a pandas DataFrame with exactly these columns, in this order, a row per cell, sorted by y, x."""


_Sum = TypeVar("_Sum", "PositiveCounts", "Counts")


# --- counts and scores ----------------------------------------------------------------------------------------------
class Compartment(StrEnum):
    """Where in the tumour cell the brown is asked for."""

    MEMBRANE = "membrane"
    CYTOPLASM = "cytoplasm"
    CYTOPLASM_ONLY = "cytoplasm_only"
    CELL = "cell"


@dataclass(frozen=True, slots=True, kw_only=True)
class PositiveCounts:
    """Positive viable tumour cells at one DAB threshold, by compartment, and positive immune cells."""

    membrane: int = 0
    cytoplasm: int = 0
    cytoplasm_only: int = 0
    cell: int = 0
    immune: int = 0

    def __add__(self, other: PositiveCounts) -> PositiveCounts:
        return _add(self, other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was counted in one region; ``counts(a | b) == counts(a) + counts(b)`` for disjoint regions.

    ``n_tumour`` and all positives hold viable cells only: ``n_excluded_tumour`` left numerator and denominator
    though whole and inside the ROI.
    ``positive`` is counted at the threshold t1, ``positive_strict`` at t1 + margin, ``positive_lenient`` at
    t1 - margin. ``grade_1`` to ``grade_3`` count viable tumour cells by DAB bin of the pack's compartment.
    ``immune`` counts lymphocytes and macrophages; areas are those of positive cells in um2.
    """

    n_cells: int = 0
    n_tumour: int = 0
    n_excluded_tumour: int = 0
    n_lymphocyte: int = 0
    n_macrophage: int = 0
    positive: PositiveCounts = field(default_factory=PositiveCounts)
    positive_strict: PositiveCounts = field(default_factory=PositiveCounts)
    positive_lenient: PositiveCounts = field(default_factory=PositiveCounts)
    grade_1: int = 0
    grade_2: int = 0
    grade_3: int = 0
    tumour_positive_area_um2: float = 0.0
    immune_positive_area_um2: float = 0.0
    tumour_area_um2: float = 0.0
    """Area of the tumour region that a person drew; 0 without one."""

    def __add__(self, other: Counts) -> Counts:
        return _add(self, other)


def _add(a: _Sum, b: _Sum) -> _Sum:
    return type(a)(**{name: getattr(a, name) + getattr(b, name) for name in a.__dataclass_fields__})


class CallResult(StrEnum):
    """Where the interval lies against a cut-off. Never "positive" or "negative"."""

    AT_LEAST = "at_least"
    BELOW = "below"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """One published cut-off: ``score`` is ``tps`` or ``cps``; ``value`` in per cent (TPS) or as a number (CPS)."""

    score: str
    value: float
    jurisdiction: str
    drug: str
    date: str
    citation: str
    qualifies: str = "at_least"
    """``at_least`` where a score at or above the cut-off qualifies, ``below`` where a lower one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indication:
    """A disease under one assay: which score is read and its cut-offs."""

    name: str
    title: str
    cut_offs: tuple[CutOff, ...]
    min_tumour_cells: int | None = None
    """Adequacy of the case, where it differs from the pack's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePack:
    """How one assay is read, parsed from ``assays/*.toml``."""

    name: str
    title: str
    score_name: str
    """What the score may be called in print: ``TPS (cytoplasm)``, ``TPS per 28-8 label``."""
    compartment: Compartment
    makes_calls: bool
    min_tumour_cells: int
    reference_lines_pct: tuple[float, ...]
    indications: tuple[Indication, ...]
    citations: tuple[str, ...]
    assay: str = ""
    """Clone, as printed: ``28-8``."""
    without_cut_off: tuple[str, ...] = ()
    """Diseases for which a cut-off of this assay was looked for and none found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The interval held against one cut-off."""

    cut_off: CutOff
    result: CallResult

    def __str__(self) -> str:
        unit = " %" if self.cut_off.score == "tps" else ""
        value = f"{self.cut_off.value:g}{unit}"
        match self.result:
            case CallResult.AT_LEAST:
                return f">= {value}"
            case CallResult.BELOW:
                return f"< {value}"
            case _:
                return f"indeterminate at {value}"


class ResultFlag(StrEnum):
    """What a reader of a score has to know."""

    WHITE_ASSUMED = "white_assumed"
    VECTORS_FIXED = "vectors_fixed"
    NO_DAB_SEEN = "no_dab_seen"
    TUMOUR_UNCONFIRMED = "tumour_unconfirmed"
    SELECTED_FIELDS = "selected_fields"
    MPP_OVERRIDDEN = "mpp_overridden"
    NUCLEUS_SIZE = "nucleus_size"
    FEW_BLOCKS = "few_blocks"
    PARTIAL = "partial"
    NO_TUMOUR_CELLS = "no_tumour_cells"
    TOO_FEW_CELLS = "too_few_cells"
    NO_MACROPHAGE_CLASS = "no_macrophage_class"
    NO_TUMOUR_ROI = "no_tumour_roi"
    UNCALIBRATED = "uncalibrated"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Scores of one image or case. Percentages 0-100, unrounded; what is undefined is None and a flag says why."""

    score_compartment: Compartment
    score_name: str
    tps: float | None = None
    tps_low: float | None = None
    tps_high: float | None = None
    tps_membrane: float | None = None
    tps_cytoplasm: float | None = None
    tps_cytoplasm_only: float | None = None
    tps_cell: float | None = None
    cps: float | None = None
    ic_area_pct: float | None = None
    tap_area_pct: float | None = None
    h_score: float | None = None
    evaluable: bool | None = None
    calls: tuple[Call, ...] = ()
    flags: tuple[ResultFlag, ...] = ()


class Status(StrEnum):
    """How the work on one image or case ended."""

    OK = "ok"
    NO_TISSUE = "no_tissue"
    REFUSED = "refused"
    FAILED = "failed"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideResult:
    """All that was measured on one image.

    ``cells`` follows ``CELL_COLUMNS``. ``blocks`` are the ``Counts`` of blocks of tissue that sum to ``counts``.
    ``compartments`` are label images at ``working_mpp``, kept only when asked for. ``shape_px`` is (height, width) of
    the input image and ``mpp`` its pixel size in um.
    """

    status: Status
    cells: pd.DataFrame
    counts: Counts
    blocks: tuple[Counts, ...]
    score: Score
    estimate: StainEstimate
    mpp: float
    working_mpp: float
    shape_px: tuple[int, int]
    tissue_area_um2: float
    flags: tuple[ResultFlag, ...] = ()
    compartments: Compartments | None = None


# --- what can be exchanged ------------------------------------------------------------------------------------------
class Segmenter(Protocol):
    """Finds nuclei (and, if it can, cells and class scores) in one tile."""

    def __call__(self, tile: Tile, od: StainOD, *, estimate: StainEstimate, config: NucleiConfig) -> Segmentation: ...


class Classifier(Protocol):
    """Gives each row of a cells table its ``cell_class``; returns a new table."""

    def __call__(self, cells: pd.DataFrame, seen: Segmentation, *, config: CellsConfig) -> pd.DataFrame: ...


class Slide(Protocol):
    """An image that can be read in parts, at a wanted pixel size."""

    @property
    def mpp(self) -> float | None:
        """Pixel size of level 0 in um, None when the file does not say."""

    @property
    def width_px(self) -> int:
        """Columns of level 0."""

    @property
    def height_px(self) -> int:
        """Rows of level 0."""

    def read(self, rect: Rect, *, mpp: float) -> UInt8Array:
        """Pixels of ``rect`` (level-0 px), resampled to ``mpp``."""
