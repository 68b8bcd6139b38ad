"""Settings drawn at random over what tissue, laboratories and scanners show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pdl1quant.validation.phantom_settings import PATTERNS, PhantomSettings

if TYPE_CHECKING:
    import numpy as np


_OPTICS_UM = 0.2
"""Standard deviation of the sharpest image that an objective of 20-40x draws."""


def random_settings(rng: np.random.Generator, *, size_px: int = 512, mpp: float | None = None) -> PhantomSettings:
    """Settings for one field to train on: every call another tissue, stain and camera.

    Parameters
    ----------
    rng
        Source of chance; the same state gives the same settings.
    size_px
        Side of the field.
    mpp
        Pixel size in um; drawn from 0.2 to 0.6 when not given.
    """
    mpp = float(rng.uniform(0.2, 0.6)) if mpp is None else mpp
    return PhantomSettings(
        size_px=size_px,
        mpp=mpp,
        **_tissue(rng),
        **_immune(rng),
        **_brown(rng),
        **_stain(rng),
        **_disturbance(rng),
        **_camera(rng, mpp),
        crowding_blue=_sometimes(rng, 0.4, 0.1, 0.95),
        stroma_swell=1.0 + _sometimes(rng, 0.35, 0.0, 1.3),
        macrophage_swell=float(rng.uniform(0.8, 1.8)),
        cap_share=_sometimes(rng, 0.6, 0.0, 0.35),
    )


def _sometimes(rng: np.random.Generator, share: float, low: float, high: float) -> float:
    """0 most of the time, else between ``low`` and ``high``."""
    return float(rng.uniform(low, high)) if rng.random() < share else 0.0


def _tissue(rng: np.random.Generator) -> dict[str, Any]:
    cell_um = float(rng.uniform(9.5, 20))
    return {
        "tumour_share": float(0.92 * rng.beta(1.6, 1.4)),
        "gland_share": float(rng.choice([0.0, 0.5, 1.0], p=[0.45, 0.25, 0.3])),
        "papillary": bool(rng.random() < 0.07),
        "glass_share": _sometimes(rng, 0.6, 0.0, 0.35),
        "fat_share": _sometimes(rng, 0.12, 0.05, 0.3),
        "necrosis_share": _sometimes(rng, 0.12, 0.05, 0.4),
        "vessel_share": _sometimes(rng, 0.6, 0.005, 0.05),
        "red_cell_share": float(rng.uniform(0, 0.9)),
        "nest_um": float(rng.uniform(25, 160)),
        "septum_um": _sometimes(rng, 0.7, 2.0, 25.0),
        "column_um": float(rng.uniform(14, 34)),
        "column_width_um": float(rng.uniform(5.5, 10)),
        "stratification": _sometimes(rng, 0.4, 0.2, 1.0),
        "goblet_share": _sometimes(rng, 0.25, 0.05, 0.8),
        "tumour_cell_um": cell_um,
        "nest_spacing": float(rng.uniform(0.65, 1.0)),
        "tumour_nucleus_um2": float(min(rng.uniform(30, 105), 0.5 * cell_um**2)),
        "tumour_blue": float(rng.uniform(0.45, 1.1)),
        "nucleus_gap_um": float(rng.uniform(0.2, 0.8)),
        "rounding_um": float(rng.uniform(0.3, 0.9)),
        "tumour_stretch": _sometimes(rng, 0.25, 0.1, 0.8),
        "nucleolus_share": float(rng.uniform(0, 0.9)),
        "mitosis_share": float(rng.uniform(0, 0.04)),
        "giant_share": _sometimes(rng, 0.3, 0.0, 0.08),
        "apoptotic_share": float(rng.uniform(0, 0.04)),
        "free_macrophage_share": _sometimes(rng, 0.25, 0.1, 1.0),
        "single_cell_share": _sometimes(rng, 0.35, 0.0, 0.4),
        "stroma_spacing": float(rng.uniform(1.05, 2.2)),
    }


def _immune(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "lymphocyte_share": float(rng.beta(1.0, 1.3)),
        "pale_lymphocyte_share": float(rng.uniform(0, 1)),
        "macrophage_share": float(rng.beta(0.8, 4)),
        "plasma_share": float(rng.beta(0.8, 8)),
        "intraepithelial_share": float(rng.beta(0.8, 8)),
        "positive_immune_share": float(rng.beta(0.6, 1.8)),
    }


def _brown(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "tps_pct": float(
            rng.choice([0.0, 100.0 * rng.random(), 100.0 * rng.random() ** 3, 100.0], p=[0.1, 0.5, 0.3, 0.1])
        ),
        "pattern": PATTERNS[int(rng.choice(len(PATTERNS), p=[0.25, 0.15, 0.25, 0.1, 0.25]))],
        "dab_od": float(rng.uniform(0.27, 0.9) if rng.random() < 0.6 else rng.uniform(0.9, 1.6)),
        "dab_spread": float(rng.uniform(0.1, 0.5)),
        "partial_share": float(rng.uniform(0, 0.9)),
        "basolateral": float(rng.choice([0.0, 1.0], p=[0.6, 0.4])),
        "patchiness": float(rng.uniform(0, 1)),
        "bleed_through": float(rng.uniform(0.0, 1.0)),
        "grain": float(rng.uniform(0.15, 0.55)),
        "membrane_um": float(rng.uniform(0.4, 1.2)),
        "membrane_contrast": float(rng.choice([1.0, rng.uniform(1, 3)])),
        "veil": _sometimes(rng, 0.3, 0.05, 0.5),
        "diffusion": _sometimes(rng, 0.7, 0.0, 0.2),
        "vacuole_share": _sometimes(rng, 0.5, 0.0, 0.6),
        "granular_share": _sometimes(rng, 0.2, 0.1, 1.0),
        "background_dab_od": _sometimes(rng, 0.4, 0.0, 0.08),
        "edge_dab_od": _sometimes(rng, 0.3, 0.0, 0.08),
    }


def _stain(rng: np.random.Generator) -> dict[str, Any]:
    white = rng.uniform(215, 250) + rng.uniform(-8, 8, 3)
    red, purple = rng.uniform(0.58, 0.80), rng.uniform(-0.12, 0.24)
    tan, red_shift = rng.uniform(0.22, 0.44), rng.uniform(0.12, 0.27)
    blue = (red, red - purple, rng.uniform(0.18, 0.45) - 0.6 * max(purple - 0.08, 0.0))
    brown = (tan, tan + red_shift, min(rng.uniform(0.65, 0.85), 1.11 - tan))
    return {
        "haematoxylin_od": float(rng.uniform(0.25, 1.0)),
        "chromatin": float(rng.uniform(0.2, 2.0)),
        "background_od": float(rng.uniform(0.015, 0.12)),
        "white": tuple(float(min(v, 255.0)) for v in white),
        "haematoxylin": tuple(float(v) for v in blue),
        "dab": tuple(float(v) for v in brown),
    }


def _disturbance(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "pigment_share": _sometimes(rng, 0.12, 0.001, 0.04),
        "mucin_od": _sometimes(rng, 0.6, 0.01, 0.10) if rng.random() < 0.92 else float(rng.uniform(0.1, 0.6)),
        "n_debris": int(rng.integers(1, 20)) if rng.random() < 0.3 else 0,
        "shadows_mm2": _sometimes(rng, 0.7, 0, 1200),
        "brown_shadows_mm2": _sometimes(rng, 0.35, 0, 500),
        "n_folds": int(rng.random() < 0.06),
        "out_of_focus_share": _sometimes(rng, 0.15, 0.05, 0.4),
        "defocus_um": float(rng.uniform(1.2, 3.5)),
        "cell_defocus": float(rng.uniform(0, 0.8)),
    }


def _camera(rng: np.random.Generator, mpp: float) -> dict[str, Any]:
    return {
        "blur_px": math.hypot(float(rng.uniform(0.4, 1.2)), _OPTICS_UM / mpp),
        "gamma": float(rng.uniform(0.85, 1.2)),
        "flare": _sometimes(rng, 0.4, 0.0, 0.04),
        "sharpen": _sometimes(rng, 0.5, 0.2, 1.5),
        "noise_sd": float(rng.uniform(0.5, 5)),
        "noise_px": _sometimes(rng, 0.5, 0.4, 1.2),
        "jpeg_quality": int(rng.integers(60, 96)) if rng.random() < 2 / 3 else None,
    }
