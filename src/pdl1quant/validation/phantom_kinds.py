"""What kinds of cell a phantom holds, and how each looks: one table.

A kind is finer than a cell class (`pdl1quant.model.CellClass`): plasma cells, apoptotic bodies and pneumocytes are
``other``, endothelium and smooth muscle are ``stroma``. Sizes are typical of routine lung and gastrointestinal sections
at 4 um; classes overlap in nuclear area on purpose, so that area alone cannot tell them apart.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pdl1quant.model import CellClass

if TYPE_CHECKING:
    from pdl1quant.model import Float64Array, Int32Array
    from pdl1quant.validation.phantom_settings import PhantomSettings


class Kind(IntEnum):
    """Kinds of cell; the value is the row of `KINDS`."""

    TUMOUR = 0
    LYMPHOCYTE = 1
    PALE_LYMPHOCYTE = 2
    MACROPHAGE = 3
    FIBROBLAST = 4
    ENDOTHELIUM = 5
    PLASMA = 6
    APOPTOTIC = 7
    MITOSIS = 8
    GIANT = 9
    GRANULOCYTE = 10
    GHOST = 11
    PNEUMOCYTE = 12


class Look(NamedTuple):
    """One row: class, then typical values; ``*_sd`` are standard deviations of logarithms from cell to cell."""

    cell_class: CellClass
    core_um: float
    """Radius of the body."""
    core_sd: float
    stretch: float
    """Length over width of the body."""
    stretch_sd: float
    growth_um: float
    """How far the cell reaches beyond its core outside nests."""
    nucleus_um2: float
    nucleus_sd: float
    nucleus_stretch_sd: float
    wobble: float
    """Unevenness of the nuclear outline."""
    offset: float
    """How far the nucleus lies off centre, in core radii."""
    blue: float
    """Haematoxylin of the nucleus, relative."""
    openness: float
    """0: dense chromatin, 0.5: pale centre with a dark rim (vesicular)."""
    clumps: float
    """Roughness of the chromatin."""
    tint: float
    """Haematoxylin OD of the cytoplasm."""


_C = CellClass
KINDS: tuple[Look, ...] = (
    Look(_C.TUMOUR, 6.0, 0.16, 1.0, 0.22, 3.0, 46, 0.36, 0.24, 0.07, 0.12, 0.80, 0.36, 0.17, 0.085),
    Look(_C.LYMPHOCYTE, 3.2, 0.10, 1.0, 0.08, 1.0, 29, 0.24, 0.10, 0.04, 0.05, 1.15, 0.10, 0.14, 0.060),
    Look(_C.LYMPHOCYTE, 3.6, 0.14, 1.0, 0.12, 1.2, 37, 0.28, 0.14, 0.06, 0.08, 0.65, 0.22, 0.12, 0.050),
    Look(_C.MACROPHAGE, 5.2, 0.18, 1.0, 0.22, 2.2, 44, 0.32, 0.30, 0.09, 0.30, 0.62, 0.38, 0.16, 0.050),
    Look(_C.STROMA, 4.2, 0.20, 2.3, 0.45, 0.6, 34, 0.42, 0.35, 0.06, 0.03, 0.90, 0.20, 0.12, 0.050),
    Look(_C.STROMA, 3.6, 0.15, 2.6, 0.30, 0.5, 26, 0.30, 0.30, 0.05, 0.03, 1.00, 0.15, 0.12, 0.060),
    Look(_C.OTHER, 4.2, 0.12, 1.25, 0.12, 1.0, 28, 0.20, 0.08, 0.04, 0.40, 1.10, 0.25, 0.28, 0.120),
    Look(_C.OTHER, 2.6, 0.25, 1.0, 0.15, 1.6, 13, 0.30, 0.30, 0.22, 0.15, 1.70, 0.00, 0.06, 0.130),
    Look(_C.TUMOUR, 6.4, 0.14, 1.0, 0.10, 3.0, 34, 0.25, 0.50, 0.16, 0.05, 1.50, 0.00, 0.12, 0.070),
    Look(_C.TUMOUR, 8.0, 0.14, 1.0, 0.20, 3.0, 115, 0.25, 0.30, 0.14, 0.12, 0.95, 0.30, 0.24, 0.090),
    Look(_C.OTHER, 3.6, 0.10, 1.0, 0.10, 0.8, 24, 0.20, 0.40, 0.20, 0.10, 1.25, 0.00, 0.10, 0.040),
    Look(_C.OTHER, 5.5, 0.20, 1.0, 0.25, 3.0, 40, 0.35, 0.30, 0.12, 0.20, 0.28, 0.05, 0.25, 0.100),
    Look(_C.OTHER, 4.4, 0.20, 1.2, 0.20, 1.8, 36, 0.34, 0.22, 0.06, 0.10, 0.80, 0.30, 0.14, 0.070),
)

CLASS_NAMES: tuple[str, ...] = tuple(str(name) for name in CellClass)
CLASS_OF = np.array([CLASS_NAMES.index(look.cell_class) for look in KINDS], dtype=np.int32)
"""Index into `CLASS_NAMES` by kind."""
IS_TUMOUR = np.array([look.cell_class is CellClass.TUMOUR for look in KINDS])
IS_DEAD = np.isin(np.arange(len(KINDS)), (Kind.APOPTOTIC, Kind.GHOST))
IS_SPINDLE = np.array([look.stretch > 1.5 for look in KINDS])
IS_IMMUNE = np.array([look.cell_class in {CellClass.LYMPHOCYTE, CellClass.MACROPHAGE} for look in KINDS])


def trait(name: str, kind: Int32Array) -> Float64Array:
    """The typical value of one column of `KINDS` for each cell, float64 (n,)."""
    return np.asarray(np.array([getattr(look, name) for look in KINDS], dtype=float)[kind])


def varied(name: str, kind: Int32Array, rng: np.random.Generator, *, sd: str) -> Float64Array:
    """`trait` times a log-normal factor whose spread is the column ``sd``."""
    return np.asarray(trait(name, kind) * np.exp(trait(sd, kind) * rng.standard_normal(len(kind))))


def swelling(settings: PhantomSettings, kind: Int32Array) -> Float64Array:
    """How many times its usual area each cell's nucleus has, float64 (n,)."""
    swollen = np.where(IS_SPINDLE[kind], settings.stroma_swell, 1.0)
    return np.asarray(np.where(kind == Kind.MACROPHAGE, settings.macrophage_swell, swollen))
