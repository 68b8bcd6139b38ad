"""Rendered fields of H-DAB tissue whose every cell is known.

`render_phantom` draws tumour nests and glands, lymphocytes, macrophages and stroma as ideal optical densities, tells
the truth about each cell from those, and then photographs them: blur, white level, noise, JPEG. The same settings and
seed give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import StainOD
from pdl1quant.validation.phantom_artefacts import (
    cell_defocus,
    paint_brown_shadows,
    paint_debris,
    paint_defocus,
    paint_folds,
    paint_pigment,
    paint_red_cells,
)
from pdl1quant.validation.phantom_dab import choose_stain, paint_dab
from pdl1quant.validation.phantom_haematoxylin import paint_haematoxylin
from pdl1quant.validation.phantom_layout import place_seeds
from pdl1quant.validation.phantom_optics import compose, expose, unit
from pdl1quant.validation.phantom_random import random_settings
from pdl1quant.validation.phantom_settings import Pattern, PhantomSettings
from pdl1quant.validation.phantom_shapes import draw_shapes
from pdl1quant.validation.phantom_truth import find_unjudgeable, judge_cells
from pdl1quant.validation.phantom_zones import draw_zones

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.model import Int32Array, UInt8Array

__all__ = ["Pattern", "Phantom", "PhantomSettings", "random_settings", "render_phantom"]


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
    pigment, debris = paint_pigment(settings, zones, rng), paint_debris(settings, rng)
    fold, defocus = paint_folds(settings, rng), paint_defocus(settings, rng)
    lost = np.maximum(fold, defocus)
    row, col = np.clip(np.rint(shapes.centre[:, ::-1]), 0, settings.size_px - 1).astype(int).T
    state = find_unjudgeable(shapes, cover=np.maximum(pigment, debris), defocus=lost, dead=zones.necrosis[row, col])
    stain = choose_stain(settings, shapes, rng, viable=state["viable"].to_numpy())
    dab = paint_dab(settings, shapes, zones, stain, rng)
    haematoxylin = paint_haematoxylin(settings, shapes, zones, rng)
    cells = judge_cells(shapes, dab, mpp=settings.mpp, state=state)
    dab = dab + paint_red_cells(settings, zones, rng, cell=shapes.cell) + paint_brown_shadows(settings, zones, rng)
    half = np.float32(0.5) * debris
    mixed = compose(settings, blue=haematoxylin, brown=dab + half, black=pigment + half)
    blurred = np.maximum(defocus, cell_defocus(settings, shapes, rng))
    normal = unit(np.cross(unit(settings.haematoxylin), unit(settings.dab)))
    unexplained = np.abs(normal @ unit((1.0, 1.0, 1.0)))
    return Phantom(
        rgb=expose(mixed, settings, rng, defocus=np.maximum(blurred, 0.4 * fold), fold=fold),
        mpp=settings.mpp,
        nucleus=shapes.nucleus,
        cell=shapes.cell,
        cells=cells,
        od=StainOD(haematoxylin=haematoxylin, dab=dab, residual=(pigment + half) * np.float32(unexplained)),
        settings=settings,
    )
