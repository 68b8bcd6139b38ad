"""Rules, counts, scores and the result of an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from pdl1quant.model.artefacts import ArtefactKind
    from pdl1quant.model.pixels import BoolArray, Compartments, Int32Array, Int64Array, StainEstimate

_Sum = TypeVar("_Sum", "PositiveCounts", "Counts")


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
    ``n_immune`` counts the viable lymphocytes and macrophages that the CPS looks at, so without those far from tumour,
    and ``immune`` the positive ones of them; areas are those of positive cells in um2, within the drawn tumour region
    where there is one. ``tumour_cells_area_um2`` is that of all viable tumour cells without what pigment covers, and
    ``tumour_cells_dab_area_um2`` what of it is at or above t1, wherever in the cell; cells of which nobody measured it
    are in neither.
    """

    n_cells: int = 0
    n_tumour: int = 0
    n_excluded_tumour: int = 0
    n_lymphocyte: int = 0
    n_macrophage: int = 0
    n_immune: int = 0
    positive: PositiveCounts = field(default_factory=PositiveCounts)
    positive_strict: PositiveCounts = field(default_factory=PositiveCounts)
    positive_lenient: PositiveCounts = field(default_factory=PositiveCounts)
    grade_1: int = 0
    grade_2: int = 0
    grade_3: int = 0
    tumour_positive_area_um2: float = 0.0
    immune_positive_area_um2: float = 0.0
    tumour_area_um2: float = 0.0
    """Area of the tissue in the tumour region that a person drew; 0 without one."""
    tumour_cells_area_um2: float = 0.0
    tumour_cells_dab_area_um2: float = 0.0

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
    """The interval held against one cut-off; as text ``TPS >= 1 % (US)``, ``CPS indeterminate at 5 (EU)``."""

    cut_off: CutOff
    result: CallResult

    def __str__(self) -> str:
        sign = {CallResult.AT_LEAST: ">=", CallResult.BELOW: "<"}.get(self.result, "indeterminate at")
        unit = " %" if self.cut_off.score == "tps" else ""
        return f"{self.cut_off.score.upper()} {sign} {self.cut_off.value:g}{unit} ({self.cut_off.jurisdiction})"


class ResultFlag(StrEnum):
    """What a reader of a score has to know."""

    WHITE_ASSUMED = "white_assumed"
    WHITE_DIFFERS = "white_differs"
    VECTORS_FIXED = "vectors_fixed"
    NO_DAB_SEEN = "no_dab_seen"
    TUMOUR_UNCONFIRMED = "tumour_unconfirmed"
    SELECTED_FIELDS = "selected_fields"
    MPP_OVERRIDDEN = "mpp_overridden"
    FIRST_IMAGE_ONLY = "first_image_only"
    REGION_OUTSIDE = "region_outside"
    NUCLEUS_SIZE = "nucleus_size"
    NUCLEAR_STAIN = "nuclear_stain"
    BROWN_WITHOUT_CELLS = "brown_without_cells"
    CORES_UNLIKE_MAP = "cores_unlike_map"
    NO_CORE_MAP = "no_core_map"
    CONTROL_STAINED = "control_stained"
    CONTROL_UNUSABLE = "control_unusable"
    BELOW_BLANK = "below_blank"
    FEW_BLOCKS = "few_blocks"
    PARTIAL = "partial"
    NO_TUMOUR_CELLS = "no_tumour_cells"
    TOO_FEW_CELLS = "too_few_cells"
    NO_MACROPHAGE_CLASS = "no_macrophage_class"
    NO_NESTS = "no_nests"
    NO_TUMOUR_ROI = "no_tumour_roi"
    UNCALIBRATED = "uncalibrated"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlField:
    """One field of a negative control: its image, viable tumour cells, and those that are positive all the same."""

    image: str
    n_tumour: int
    n_positive: int

    @property
    def rate_pct(self) -> float:
        """Share of its tumour cells that is positive, 0-100."""
        return 100.0 * self.n_positive / self.n_tumour


@dataclass(frozen=True, slots=True, kw_only=True)
class BlankLimit:
    """What negative controls say: the rate up to which brown may be no PD-L1.

    ``limit_pct`` (0-100) is None without a field to take it from. ``fields`` are those with at least ``min_cells``
    tumour cells; ``n_too_few`` others were passed over. ``problems`` are reasons why the controls do not hold, each a
    text; ``flags`` what every case scored with them carries.
    """

    limit_pct: float | None
    fields: tuple[ControlField, ...] = ()
    n_too_few: int = 0
    min_cells: int
    problems: tuple[str, ...] = ()
    flags: tuple[ResultFlag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Scores of one image or case. Percentages 0-100, unrounded; what is undefined is None and a flag says why.

    ``n_immune`` and ``n_immune_positive`` are the immune cells that ``cps`` looks at, ``n_grade_1`` to ``n_grade_3``
    the tumour cells by the grade that ``h_score`` weighs: None where that score is. ``tumour_cells_mm2`` is the number
    of viable tumour cells per mm2 of ``tissue_mm2``.
    """

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
    cps_low: float | None = None
    cps_high: float | None = None
    n_immune: int | None = None
    n_immune_positive: int | None = None
    ic_area_pct: float | None = None
    tap_area_pct: float | None = None
    tissue_mm2: float | None = None
    tumour_cells_mm2: float | None = None
    dab_area_pct: float | None = None
    tumour_dab_area_pct: float | None = None
    h_score: float | None = None
    n_grade_1: int | None = None
    n_grade_2: int | None = None
    n_grade_3: int | None = None
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
class RegionScore:
    """The score of one region of an image: ``level`` is ``roi`` (drawn by a person) or ``core`` (of a microarray).

    ``blocks`` sum to ``counts``, as those of a `SlideResult`. ``is_damaged``: some of it could not be read.
    ``brown`` and ``has_nests`` are as those of a `SlideResult`; a drawn region is taken for one with nests where one of
    its immune cells is near one.
    """

    level: str
    name: str
    status: Status
    counts: Counts
    score: Score
    blocks: tuple[Counts, ...]
    is_damaged: bool
    brown: BrownArea
    has_nests: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BrownArea:
    """What is at or above t1 in what is scored, the part of it that lies in no cell, and the stained tissue; um2.

    ``tissue_um2`` is the tissue that was analysed: of the tissue mask what is neither black (pigment) nor an artefact
    nor could not be read; ``of_tissue_um2`` is what of that is at or above t1. The first two areas know of no such
    mask: brown is looked for everywhere.
    """

    area_um2: float = 0.0
    without_cell_um2: float = 0.0
    tissue_um2: float = 0.0
    of_tissue_um2: float = 0.0

    @classmethod
    def of_px(cls, areas_px: Int64Array, *, px_um2: float) -> BrownArea:
        """From (4,) pixels of each area, in the order of the fields, of ``px_um2`` each."""
        brown, bare, tissue, stained = (n * px_um2 for n in areas_px.tolist())
        return cls(area_um2=brown, without_cell_um2=bare, tissue_um2=tissue, of_tissue_um2=stained)

    def __add__(self, other: BrownArea) -> BrownArea:
        return BrownArea(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})

    @property
    def tissue_mm2(self) -> float | None:
        """The tissue that was analysed; None without any."""
        return self.tissue_um2 / 1e6 if self.tissue_um2 else None

    @property
    def dab_area_pct(self) -> float | None:
        """Share of the analysed tissue that is at or above t1, 0-100; None without tissue."""
        return 100.0 * self.of_tissue_um2 / self.tissue_um2 if self.tissue_um2 else None

    @property
    def share_without_cell(self) -> float | None:
        """0-1; None where nothing is brown."""
        return self.without_cell_um2 / self.area_um2 if self.area_um2 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideResult:
    """All that was measured on one image.

    ``cells`` follows ``CELL_COLUMNS``. ``blocks`` are the ``Counts`` of blocks of tissue that sum to ``counts``.
    ``compartments`` are label images at ``working_mpp``, kept only when asked for; ``tissue`` is a mask over the whole
    image, of any size, and None for a slide. ``shape_px`` is (height, width) of
    the input image and ``mpp`` its pixel size in um. ``artefacts`` are shares (0-1) of the tissue; None where nobody
    looked for them. ``brown`` is the area that is brown, in cells and elsewhere, and that of the tissue;
    ``brown_squares`` (k, 6) says where, by squares (`stages.quality.find_brown`), and is None for a slide.
    ``config_digest`` is that of the settings it was measured with (`Config.digest`).
    """

    status: Status
    cells: pd.DataFrame
    counts: Counts
    blocks: tuple[Counts, ...]
    score: Score
    estimate: StainEstimate
    config_digest: str
    mpp: float
    working_mpp: float
    shape_px: tuple[int, int]
    tissue_area_um2: float
    flags: tuple[ResultFlag, ...] = ()
    compartments: Compartments | None = None
    tissue: BoolArray | None = None
    artefacts: Mapping[ArtefactKind, float] | None = None
    brown: BrownArea = BrownArea()
    brown_squares: Int32Array | None = None
    has_nests: bool = True
    """Whether tumour was drawn, or a nest of tumour cells found: without either no immune cell counts in the CPS."""
    regions: tuple[RegionScore, ...] = ()
