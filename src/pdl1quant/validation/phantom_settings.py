"""Settings of a phantom: what a field shows and how it was photographed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

from pdl1quant.errors import UsageError

Pattern = Literal["membrane", "cytoplasm", "both", "none", "mixed"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)

_RANGES: dict[str, tuple[float, float]] = {
    "size_px": (32, 8192),
    "mpp": (0.1, 2.0),
    "tps_pct": (0, 100),
    "dab_od": (0.25, 3),
    "dab_spread": (0, 1),
    "haematoxylin_od": (0.05, 3),
    "background_od": (0, 0.5),
    "background_dab_od": (0, 0.08),
    "edge_dab_od": (0, 0.08),
    "nest_um": (10, 1000),
    "septum_um": (0, 100),
    "alveolus_um": (20, 400),
    "alveolar_wall_um": (4, 60),
    "column_um": (8, 60),
    "column_width_um": (4, 30),
    "tumour_cell_um": (6, 40),
    "tumour_nucleus_um2": (10, 300),
    "nucleus_gap_um": (0, 3),
    "stroma_swell": (1, 4),
    "macrophage_swell": (0.5, 4),
    "rounding_um": (0.1, 2),
    "tumour_stretch": (0, 1.5),
    "tumour_blue": (0.1, 2),
    "nest_spacing": (0.5, 2),
    "stroma_spacing": (0.8, 5),
    "patchiness": (0, 1),
    "bleed_through": (0, 1),
    "chromatin": (0, 4),
    "crowding_blue": (0, 1),
    "shadows_mm2": (0, 5000),
    "brown_shadows_mm2": (0, 5000),
    "noise_px": (0, 3),
    "grain": (0, 1),
    "membrane_um": (0.2, 3),
    "diffusion": (0, 0.3),
    "membrane_contrast": (1, 6),
    "basolateral": (0, 1),
    "n_folds": (0, 5),
    "n_debris": (0, 200),
    "defocus_um": (0.5, 20),
    "cell_defocus": (0, 1),
    "blur_px": (0, 10),
    "gamma": (0.2, 3),
    "flare": (0, 0.2),
    "sharpen": (0, 3),
    "noise_sd": (0, 50),
    "jpeg_quality": (1, 100),
}
_SHARE, _COLOUR = (0.0, 1.0), (0.0, 255.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSettings:
    """What a phantom shows. Shares are 0-1: of area for zones and pigment, of cells for cells.

    Raises
    ------
    UsageError
        A value out of range; the message names it and the range.
    """

    size_px: int = 512
    """Side of the square field."""
    mpp: float = 0.5
    """Pixel size in um."""

    tps_pct: float = 50.0
    """Wanted share of positive cells among the viable tumour cells, in per cent."""
    pattern: Pattern = "both"
    """Where positive cells are brown; ``mixed`` varies from cell to cell, ``none`` leaves all cells blue."""
    dab_od: float = 0.6
    """Mean DAB OD of a positive membrane band or cytoplasm; negative cells are drawn below 0.17."""
    dab_spread: float = 0.2
    """Standard deviation of its logarithm from cell to cell."""
    partial_share: float = 0.3
    """Share of the positive cells whose membrane is stained on 35-80 % of its length only."""
    basolateral: float = 0.0
    """1: the membrane that faces a lumen or the surface stays unstained; 0: all round."""
    patchiness: float = 0.5
    """0: positive cells lie anywhere; 1: all in patches."""
    bleed_through: float = 0.25
    """DAB over the nucleus as a share of the cytoplasm's."""
    grain: float = 0.3
    """Relative roughness of brown."""
    membrane_um: float = 0.6
    """Depth over which a brown membrane fades into its cell."""
    diffusion: float = 0.06
    """Brown around brown, as a share of it; too weak to make a cell positive."""
    membrane_contrast: float = 1.0
    """How much darker the membrane is, as a factor, where the cytoplasm is brown, too; beyond its chance share."""
    veil: float = 0.0
    """Brown of slanting membranes over nuclei and cytoplasm beside them, as a share of the membrane's."""
    vacuole_share: float = 0.1
    """Share of the cells with holes in their cytoplasm."""
    granular_share: float = 0.0
    """Share of the positive cells whose cytoplasm is brown in granules."""
    background_dab_od: float = 0.0
    """Unspecific DAB over all tissue."""
    edge_dab_od: float = 0.0
    """Unspecific DAB along the edge of the tissue."""
    positive_immune_share: float = 0.15
    """Share of the lymphocytes and macrophages that are brown."""

    haematoxylin_od: float = 0.5
    """Typical haematoxylin OD of a nucleus."""
    chromatin: float = 1.0
    """Roughness of the chromatin, as a factor."""
    crowding_blue: float = 0.0
    """Haematoxylin in the gaps between crowded nuclei, as a share of theirs: in thick sections they overlap."""
    background_od: float = 0.06
    """Haematoxylin OD of stroma and cytoplasm."""
    white: tuple[float, float, float] = (245.0, 245.0, 245.0)
    """RGB level of empty glass (0-255)."""
    haematoxylin: tuple[float, float, float] = (0.650, 0.704, 0.286)
    """Haematoxylin OD vector (R, G, B), any length."""
    dab: tuple[float, float, float] = (0.268, 0.570, 0.776)
    """DAB OD vector (R, G, B), any length."""

    tumour_share: float = 0.5
    """Area of tumour nests, lumina included."""
    gland_share: float = 0.4
    """Share of the nests that are glands: columnar cells around a lumen."""
    papillary: bool = False
    """Fronds of stroma covered with columnar cells, in a free space, instead of nests."""
    glass_share: float = 0.05
    """Area of empty glass."""
    fat_share: float = 0.0
    """Area of fat cells: large, round and empty."""
    lung_share: float = 0.0
    """Area of lung, in which no nests grow: air spaces with thin walls between them, lined with pneumocytes."""
    alveolus_um: float = 110.0
    """Width of the air spaces."""
    alveolar_wall_um: float = 9.0
    """Thickness of the walls between them; below some 6 um most are torn away."""
    pneumocyte_share: float = 0.3
    """How densely pneumocytes (tumour cells if ``lepidic``) line air spaces: 1 side by side."""
    lepidic: bool = False
    """Tumour cells line the air spaces in place of pneumocytes, beyond ``tumour_share``."""
    necrosis_share: float = 0.0
    """Share of the tumour area that is dead."""
    vessel_share: float = 0.01
    """Area of blood vessels."""
    nest_um: float = 70.0
    """Width of nests."""
    septum_um: float = 6.0
    """Width of the thin stroma between neighbouring nests."""
    column_um: float = 22.0
    """Height of columnar cells."""
    column_width_um: float = 7.5
    """Width of columnar cells."""
    stratification: float = 0.0
    """0: the nuclei of columnar cells lie in one row; 1: at any height of the epithelium, slender and overlapping."""
    goblet_share: float = 0.0
    """Share of the columnar cells with a drop of mucin, which nothing stains."""
    tumour_cell_um: float = 12.0
    """Diameter of tumour cells."""
    nest_spacing: float = 0.82
    """Distance between cells in nests, in cell radii; below 0.8 nuclei crowd."""
    tumour_nucleus_um2: float = 46.0
    """Median area of tumour nuclei."""
    tumour_blue: float = 1.0
    """Haematoxylin of tumour nuclei as a factor: pale ones hold little."""
    nucleus_gap_um: float = 0.5
    """No nucleus comes closer to the edge of its cell."""
    cap_share: float = 0.0
    """Share of the nuclei of which the section holds a cap only: smaller and paler than the rest."""
    rounding_um: float = 0.3
    """How round the corners of crowded nuclei are (standard deviation of the smoothing)."""
    tumour_stretch: float = 0.0
    """How much longer than elsewhere tumour cells of nests are, all in one direction: a standard deviation of logs."""
    nucleolus_share: float = 0.3
    """Share of the tumour nuclei with a nucleolus."""
    mitosis_share: float = 0.01
    """Share of the tumour cells that divide."""
    giant_share: float = 0.01
    """Share of the tumour cells that are giant."""
    stroma_spacing: float = 1.4
    """Distance between cells outside nests, in cell radii; dense infiltrates are closer."""
    lymphocyte_share: float = 0.45
    """Share of the cells outside nests that are lymphocytes."""
    pale_lymphocyte_share: float = 0.3
    """Share of the lymphocytes that are large and pale."""
    stroma_swell: float = 1.0
    """Nuclear area of fibroblasts and endothelium as a factor: in reactive stroma they are large, pale and plump."""
    macrophage_share: float = 0.10
    """Share of the cells outside nests that are macrophages."""
    macrophage_swell: float = 1.0
    """Nuclear and cell area of macrophages as a factor: epithelioid ones are as large as tumour cells."""
    plasma_share: float = 0.03
    """Share of the cells outside nests that are plasma cells or granulocytes."""
    intraepithelial_share: float = 0.06
    """Share of the cells inside nests that are immune cells."""
    free_macrophage_share: float = 0.0
    """How full of loose, swollen macrophages lumina and air spaces are: 1 as full as they get."""
    single_cell_share: float = 0.01
    """Share of the cells outside nests that are tumour cells."""
    apoptotic_share: float = 0.01
    """Share of the cells that are apoptotic bodies."""
    red_cell_share: float = 0.3
    """Area of red cells within vessels."""
    bleeding_share: float = 0.0
    """Share of the air spaces that red cells fill."""

    pigment_share: float = 0.0
    """Area of neutral black pigment (anthracosis)."""
    mucin_od: float = 0.02
    """Haematoxylin OD of the wisps in lumina."""
    n_debris: int = 0
    """Brown or black specks out of focus."""
    shadows_mm2: float = 150.0
    """Smudges of nuclei below the focus, per mm2: pale, blurred, no cells of the truth."""
    brown_shadows_mm2: float = 0.0
    """Smudges of brown far out of focus, per mm2, over tissue: no cells of the truth either."""
    n_folds: int = 0
    """Folds of the section: doubled and blurred bands."""
    out_of_focus_share: float = 0.0
    """Area out of focus."""
    defocus_um: float = 2.5
    """Blur out of focus (standard deviation)."""
    cell_defocus: float = 0.3
    """How much single cells lie above or below the focus, 0-1."""

    blur_px: float = 0.7
    """Blur of the optics (standard deviation)."""
    gamma: float = 1.0
    """Exponent on the transmittance."""
    flare: float = 0.0
    """Stray light as a share of white."""
    sharpen: float = 0.0
    """Amount of unsharp masking, as scanners do."""
    noise_sd: float = 1.5
    """Noise of the camera (0-255)."""
    noise_px: float = 0.0
    """Size of its grain (standard deviation); 0: each pixel for itself."""
    jpeg_quality: int | None = None
    """Quality of JPEG compression; None: none."""

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise UsageError(f"pattern = {self.pattern!r}: choose one of {', '.join(PATTERNS)}")
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, tuple):
                _check(item.name, value, _COLOUR if item.name == "white" else _SHARE)
                if len(value) != 3 or not any(value):
                    raise UsageError(f"{item.name} = {value!r}: give three numbers (R, G, B), not all 0")
            elif isinstance(value, int | float):
                _check(item.name, (value,), _RANGES.get(item.name, _SHARE))


def _check(name: str, values: tuple[float, ...], limits: tuple[float, float]) -> None:
    low, high = limits
    if not all(math.isfinite(v) and low <= v <= high for v in values):
        got = values[0] if len(values) == 1 else values
        raise UsageError(f"{name} = {got!r}: a phantom needs {low:g} to {high:g}")
