"""Rendered fields of H-DAB tissue whose every cell is known.

`render_phantom` draws tumour nests and glands, lymphocytes, macrophages and stroma as ideal optical densities, tells
the truth about each cell from those, and then photographs them: blur, white level, noise, JPEG. The same settings and
seed give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

from pdl1quant.errors import UsageError
from pdl1quant.model import StainOD
from pdl1quant.validation.phantom_layout import draw_zones, place_seeds
from pdl1quant.validation.phantom_optics import expose, unit
from pdl1quant.validation.phantom_paint import (
    choose_stain,
    paint_dab,
    paint_defocus,
    paint_haematoxylin,
    paint_pigment,
)
from pdl1quant.validation.phantom_shapes import draw_shapes
from pdl1quant.validation.phantom_truth import judge_cells

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.model import Int32Array, UInt8Array

Pattern = Literal["membrane", "cytoplasm", "both", "none", "mixed"]
_PATTERNS = ("membrane", "cytoplasm", "both", "none", "mixed")
_RANGES = {
    "size_px": (32, 8192),
    "mpp": (0.1, 2.0),
    "tps_pct": (0, 100),
    "dab_od": (0.25, 3),
    "haematoxylin_od": (0.05, 3),
    "blur_px": (0, 10),
    "gamma": (0.2, 3),
    "noise_sd": (0, 50),
    "jpeg_quality": (1, 100),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSettings:
    """What a phantom shows. Shares are 0-1, of area where the name is of a thing, of cells where it is of a cell."""

    size_px: int = 512
    """Side of the square field."""
    mpp: float = 0.5
    """Pixel size in um."""
    tps_pct: float = 50.0
    """Wanted share of positive cells among the viable tumour cells, in per cent."""
    pattern: Pattern = "both"
    """Where positive cells are brown; ``mixed`` varies from cell to cell, ``none`` leaves all cells blue."""
    dab_od: float = 0.6
    """Mean DAB OD of a positive membrane band or cytoplasm; negative cells are drawn below 0.1."""
    dab_spread: float = 0.2
    """Standard deviation of its logarithm from cell to cell."""
    partial_share: float = 0.3
    """Share of the positive cells whose membrane is stained on 35-80 % of its length only."""
    patchiness: float = 0.5
    """0: positive cells lie anywhere; 1: all in patches."""
    bleed_through: float = 0.25
    """DAB over the nucleus as a share of the cytoplasm's."""
    grain: float = 0.25
    """Relative roughness of brown."""
    haematoxylin_od: float = 0.5
    """Typical haematoxylin OD of a nucleus."""
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
    glass_share: float = 0.05
    """Area of empty glass."""
    nest_um: float = 70.0
    """Width of nests."""
    column_um: float = 22.0
    """Height of columnar cells."""
    column_width_um: float = 7.5
    """Width of columnar cells."""
    tumour_cell_um: float = 12.0
    """Diameter of tumour cells in nests."""
    tumour_nucleus_um2: float = 46.0
    """Median area of tumour nuclei."""
    nucleus_gap_um: float = 0.5
    """No nucleus comes closer to the edge of its cell."""
    nucleolus_share: float = 0.3
    """Share of the tumour nuclei with a nucleolus."""
    stroma_spacing: float = 1.4
    """Distance between cells outside nests, in cell radii."""
    lymphocyte_share: float = 0.45
    """Share of the cells outside nests that are lymphocytes."""
    macrophage_share: float = 0.10
    """Share of the cells outside nests that are macrophages."""
    intraepithelial_share: float = 0.06
    """Share of the cells inside nests that are immune cells."""
    single_cell_share: float = 0.01
    """Share of the cells outside nests that are tumour cells."""
    positive_immune_share: float = 0.15
    """Share of the lymphocytes and macrophages that are brown."""
    pigment_share: float = 0.0
    """Area of neutral black pigment (anthracosis)."""
    out_of_focus_share: float = 0.0
    """Area out of focus."""
    defocus_um: float = 3.0
    """Blur out of focus (standard deviation)."""
    blur_px: float = 0.7
    """Blur of the optics (standard deviation)."""
    gamma: float = 1.0
    """Exponent on the transmittance."""
    noise_sd: float = 1.5
    """Noise of the camera (0-255)."""
    jpeg_quality: int | None = None
    """Quality of JPEG compression; None: none."""

    def __post_init__(self) -> None:
        if self.pattern not in _PATTERNS:
            raise UsageError(f"pattern = {self.pattern!r}: choose one of {', '.join(_PATTERNS)}")
        for item in fields(self):
            value = getattr(self, item.name)
            low, high = _RANGES.get(item.name, (0, 1) if item.name.endswith("_share") else (0, 1000))
            values = value if isinstance(value, tuple) else (value,)
            if isinstance(value, str) or value is None:
                continue
            if not all(low <= v <= high for v in values):
                raise UsageError(f"{item.name} = {value!r}: a phantom needs {low:g} to {high:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A rendered field and the truth about it.

    ``rgb`` (H, W, 3) uint8; ``nucleus`` and ``cell`` (H, W) int32 share labels 1..n; ``cells`` has a row a label, in
    this order; ``od`` holds the ideal densities: noise-free, unblurred (``residual``: what pigment adds beside the
    stains). A cell is ``viable`` when it would count: a whole, intact tumour cell, in focus and free of pigment.
    """

    rgb: UInt8Array
    mpp: float
    nucleus: Int32Array
    cell: Int32Array
    cells: pd.DataFrame
    od: StainOD
    settings: PhantomSettings

    @property
    def n_viable(self) -> int:
        """Viable tumour cells: the denominator."""
        return int(self.cells["viable"].sum())

    @property
    def tps_pct(self) -> float | None:
        """Membrane or cytoplasm brown, per cent of the viable tumour cells; None without any."""
        return self._share("positive")

    @property
    def tps_membrane_pct(self) -> float | None:
        """Membrane positive, per cent of the viable tumour cells."""
        return self._share("membrane_positive")

    @property
    def tps_cytoplasm_pct(self) -> float | None:
        """Cytoplasm or membrane positive: the mission's reading, the same as `tps_pct`."""
        return self._share("positive")

    @property
    def tps_cytoplasm_only_pct(self) -> float | None:
        """Cytoplasm positive and membrane negative."""
        viable = self.cells[self.cells["viable"]]
        only = viable["cytoplasm_positive"] & ~viable["membrane_positive"]
        return 100.0 * float(only.mean()) if len(viable) else None

    def _share(self, column: str) -> float | None:
        viable = self.cells[self.cells["viable"]]
        return 100.0 * float(viable[column].mean()) if len(viable) else None


def render_phantom(settings: PhantomSettings, *, seed: int) -> Phantom:
    """Draw one field.

    Parameters
    ----------
    settings
        What the field shows.
    seed
        The same settings and seed give the same bytes.

    Returns
    -------
    Phantom
        Image, labels, ideal densities and truth.
    """
    rng = np.random.default_rng(seed)
    zones = draw_zones(settings, rng)
    shapes = draw_shapes(settings, zones, place_seeds(settings, zones, rng), rng)
    pigment, defocus = paint_pigment(settings, zones, rng), paint_defocus(settings, rng)
    stain = choose_stain(settings, shapes, rng, pigment=pigment, defocus=defocus)
    dab = paint_dab(settings, shapes, stain, rng)
    haematoxylin = paint_haematoxylin(settings, shapes, zones, rng)
    cells = judge_cells(
        shapes,
        dab,
        mpp=settings.mpp,
        pigment=pigment,
        defocus=defocus,
        intact=np.ones(len(shapes.kind), dtype=bool),
    )
    blue, brown, black = unit(settings.haematoxylin), unit(settings.dab), unit((1.0, 1.0, 1.0))
    mixed = haematoxylin[:, :, None] * blue + dab[:, :, None] * brown + pigment[:, :, None] * black
    normal = np.cross(blue, brown)
    residual = pigment * abs(float(black @ normal) / float(np.linalg.norm(normal)))
    return Phantom(
        rgb=expose(mixed, settings, rng, defocus=defocus),
        mpp=settings.mpp,
        nucleus=shapes.nucleus,
        cell=shapes.cell,
        cells=cells,
        od=StainOD(haematoxylin=haematoxylin, dab=dab, residual=residual.astype(np.float32)),
        settings=settings,
    )


def random_settings(rng: np.random.Generator, *, size_px: int = 512) -> PhantomSettings:
    """Settings drawn at random over what real tissue and laboratories show, for training on ever new fields."""
    pattern: Pattern = rng.choice(np.array(_PATTERNS), p=[0.2, 0.15, 0.3, 0.1, 0.25])
    white = np.clip(rng.uniform(215, 250) + rng.uniform(-8, 8, 3), 0, 255)
    return PhantomSettings(
        size_px=size_px,
        mpp=float(rng.uniform(0.2, 0.6)),
        tps_pct=float(rng.choice([0.0, 100.0 * rng.random(), 100.0 * rng.random() ** 3])),
        pattern=str(pattern),  # type: ignore[arg-type]
        dab_od=float(rng.uniform(0.3, 1.6)),
        haematoxylin_od=float(rng.uniform(0.25, 0.8)),
        white=(float(white[0]), float(white[1]), float(white[2])),
        haematoxylin=tuple(float(v) for v in rng.uniform((0.55, 0.55, 0.15), (0.75, 0.75, 0.40))),  # type: ignore[arg-type]
        dab=tuple(float(v) for v in rng.uniform((0.20, 0.45, 0.65), (0.35, 0.65, 0.85))),  # type: ignore[arg-type]
        blur_px=float(rng.uniform(0.4, 1.5)),
        noise_sd=float(rng.uniform(0.5, 5)),
        jpeg_quality=int(rng.integers(60, 96)) if rng.random() < 2 / 3 else None,
    )
