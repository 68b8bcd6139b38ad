"""From compartments and stain densities to the cells table, all labels at once (one ``bincount`` per quantity)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from pdl1quant.basins import ellipse_of, raw_moments
from pdl1quant.model import (
    CELL_COLUMNS,
    MEMBRANE_SECTORS,
    BoolArray,
    CellClass,
    Compartments,
    Float32Array,
    Float64Array,
    Int32Array,
    IntpArray,
    MembraneProfile,
    StainOD,
    Tile,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pdl1quant.config import StainsConfig

NUCLEUS, CYTOPLASM, MEMBRANE = 1, 2, 3
NEIGHBOURHOOD_UM = 25.0
"""Radius of the neighbourhood: three to four cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """``cells`` follows ``CELL_COLUMNS`` (classes, positivity and flags still empty); ``membrane`` has its rows."""

    cells: pd.DataFrame
    membrane: MembraneProfile


def measure_cells(
    tile: Tile, od: StainOD, parts: Compartments, *, stains: StainsConfig, pigment_residual_od: float
) -> Measured:
    """Measure every cell of a tile.

    Parameters
    ----------
    tile
        Its ``mpp``, place and ``rgb`` (for saturation).
    od
        Stain densities, log10.
    parts
        Compartments with labels 1..n.
    stains
        Settings: the level of saturation.
    pigment_residual_od
        Residual from which a pixel is pigment; from ``stains.pigment_residual_od``, infinite where none can be told.

    Returns
    -------
    Measured
        A row per label, in the order of the labels.
    """
    at = np.flatnonzero(parts.cell)
    label = parts.cell.ravel()[at]
    part = _part(parts, at)
    sums = _Sums(code=label * np.int32(4) + part, n=parts.n_cells)
    columns = _geometry(tile, parts, sums)
    columns |= _densities(tile, od, sums, at, stains=stains, pigment_residual_od=pigment_residual_od)
    columns["nucleus_sharpness_od"] = _sharpness(parts.nucleus, od, mpp=tile.mpp)
    cells = pd.DataFrame({c.name: _typed(columns.get(c.name), c.dtype, parts.n_cells) for c in CELL_COLUMNS})
    return Measured(cells=cells, membrane=_membrane_profile(parts, od.dab, columns))


def empty_cells() -> pd.DataFrame:
    """A cells table without rows: the same columns and types as any other."""
    return pd.DataFrame({c.name: _typed(None, c.dtype, 0) for c in CELL_COLUMNS})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Sums over the compartments of each label: ``code`` is label * 4 + part for each cell pixel."""

    code: IntpArray
    n: int

    def of(self, values: Float32Array | None = None) -> Float64Array:
        """(n, 4) sums, or counts, by label and part; column 0 is empty."""
        return np.bincount(self.code, weights=values, minlength=4 * (self.n + 1)).reshape(-1, 4)[1:].astype(np.float64)


def _part(parts: Compartments, at: IntpArray) -> IntpArray:
    nucleus, membrane = parts.nucleus.ravel()[at] > 0, parts.membrane.ravel()[at] > 0
    return np.where(nucleus, NUCLEUS, np.where(membrane, MEMBRANE, CYTOPLASM)).astype(np.intp)


def _geometry(tile: Tile, parts: Compartments, sums: _Sums) -> dict[str, Float64Array]:
    inside = np.flatnonzero(parts.nucleus)
    moments = raw_moments(parts.nucleus.ravel()[inside], inside, parts.nucleus.shape[1], parts.n_cells)[1:]
    shape = ellipse_of(moments)
    pixels = sums.of()
    um2 = tile.mpp**2
    x, y = shape.x * tile.mpp, shape.y * tile.mpp
    distance, neighbours = _neighbourhood(np.stack([x, y], axis=1))
    return {
        "label": np.arange(1, parts.n_cells + 1, dtype=np.float64),
        "x_px": tile.x_px + (shape.x + 0.5) * tile.downsample_x - 0.5,
        "y_px": tile.y_px + (shape.y + 0.5) * tile.downsample_y - 0.5,
        "_x": shape.x,
        "_y": shape.y,
        "nucleus_area_um2": pixels[:, NUCLEUS] * um2,
        "cytoplasm_area_um2": pixels[:, CYTOPLASM] * um2,
        "membrane_area_um2": pixels[:, MEMBRANE] * um2,
        "cell_area_um2": pixels.sum(axis=1) * um2,
        "nucleus_length_um": shape.length * tile.mpp,
        "nucleus_width_um": shape.width * tile.mpp,
        "nucleus_regularity": np.minimum(shape.regularity, 1.0),
        "neighbour_distance_um": distance,
        "neighbours_25um": neighbours,
    }


def _neighbourhood(centres_um: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Distance to the nearest other centre (infinite for one alone) and number of others within the radius."""
    if len(centres_um) < 2:
        return np.full(len(centres_um), np.inf), np.zeros(len(centres_um))
    tree = cKDTree(centres_um)
    nearest = np.asarray(tree.query(centres_um, k=2)[0])[:, 1]
    within = np.asarray(tree.query_ball_point(centres_um, NEIGHBOURHOOD_UM, return_length=True), dtype=np.float64)
    return nearest, within - 1


def _densities(
    tile: Tile, od: StainOD, sums: _Sums, at: IntpArray, *, stains: StainsConfig, pigment_residual_od: float
) -> dict[str, Float64Array]:
    pixels = sums.of()
    haematoxylin_at = od.haematoxylin.ravel().take(at)
    haematoxylin, dab = sums.of(haematoxylin_at), sums.of(od.dab.ravel().take(at))
    squares = sums.of(haematoxylin_at * haematoxylin_at)[:, NUCLEUS]
    residual = sums.of(od.residual.ravel().take(at)).sum(axis=1)
    area = pixels.sum(axis=1)
    membrane_dab = _ratio(dab[:, MEMBRANE], pixels[:, MEMBRANE])
    mean = _ratio(haematoxylin[:, NUCLEUS], pixels[:, NUCLEUS])
    red, green, blue = cv2.split(tile.rgb)
    darkest = cv2.min(cv2.min(red, green), blue).ravel().take(at) <= stains.saturated_level
    black = od.residual.ravel().take(at) >= pigment_residual_od
    return {
        "nucleus_haematoxylin_od_mean": mean,
        "nucleus_haematoxylin_od_sd": np.sqrt(np.maximum(_ratio(squares, pixels[:, NUCLEUS]) - mean * mean, 0)),
        "nucleus_dab_od_mean": _ratio(dab[:, NUCLEUS], pixels[:, NUCLEUS]),
        "cytoplasm_haematoxylin_od_mean": _ratio(haematoxylin[:, CYTOPLASM], pixels[:, CYTOPLASM]),
        "cytoplasm_dab_od_mean": np.where(
            pixels[:, CYTOPLASM] > 0, _ratio(dab[:, CYTOPLASM], pixels[:, CYTOPLASM]), membrane_dab
        ),
        "membrane_dab_od_mean": membrane_dab,
        "cell_dab_od_mean": _ratio(dab.sum(axis=1), area),
        "cell_residual_od_mean": _ratio(residual, area),
        "saturated_share": _ratio(_count(sums, darkest), area),
        "pigment_share": _ratio(_count(sums, black), area),
    }


def _count(sums: _Sums, chosen: BoolArray) -> Float64Array:
    """(n,) chosen pixels of each cell; cheap where few are."""
    return np.bincount(sums.code[chosen] // 4, minlength=sums.n + 1)[1:].astype(np.float64)


def _ratio(total: NDArray[np.number], area: NDArray[np.number]) -> Float64Array:
    return np.asarray(np.divide(total, area, out=np.zeros(len(total)), where=area > 0), dtype=np.float64)


def _sharpness(nucleus: Int32Array, od: StainOD, *, mpp: float) -> Float64Array:
    """(n,) mean gradient of the summed OD (OD per um) along the inner edge of each nucleus."""
    n = int(nucleus.max(initial=0))
    if min(nucleus.shape) < 3:
        return np.zeros(n)
    middle = nucleus[1:-1, 1:-1]
    edge = (nucleus[1:-1, :-2] != middle) | (nucleus[1:-1, 2:] != middle)
    edge |= (nucleus[:-2, 1:-1] != middle) | (nucleus[2:, 1:-1] != middle)
    y, x = np.nonzero(edge & (middle > 0))
    width = nucleus.shape[1]
    at = (y + 1) * width + x + 1
    total = cv2.GaussianBlur(cv2.add(od.haematoxylin, od.dab), (0, 0), 0.5 / mpp).ravel()
    gradient = np.hypot(total[at + 1] - total[at - 1], total[at + width] - total[at - width]) / (2 * mpp)
    label = nucleus.ravel()[at]
    sums = np.bincount(label, weights=gradient, minlength=n + 1)[1:]
    return _ratio(sums, np.bincount(label, minlength=n + 1)[1:].astype(np.float64))


def _membrane_profile(parts: Compartments, dab: Float32Array, columns: dict[str, Float64Array]) -> MembraneProfile:
    n = parts.n_cells
    shape = (n, MEMBRANE_SECTORS)
    at = np.flatnonzero(parts.membrane)
    if len(at) == 0:  # the nuclei fill the tile
        return MembraneProfile(
            dab_od=np.zeros(shape, np.float32),
            weight=np.zeros(shape, np.float32),
            neighbour=np.full(shape, -1, np.int32),
        )
    label = parts.membrane.ravel()[at]
    y, x = np.divmod(at, parts.membrane.shape[1])
    row = label.astype(np.intp) - 1
    angle = cv2.phase((x - columns["_x"][row]).astype(np.float32), (y - columns["_y"][row]).astype(np.float32)).ravel()
    sector = np.minimum((angle * (MEMBRANE_SECTORS / (2 * np.pi))).astype(np.intp), MEMBRANE_SECTORS - 1)
    code = row * MEMBRANE_SECTORS + sector
    size = n * MEMBRANE_SECTORS
    ridge = np.asarray(cv2.dilate(dab, np.ones((3, 3), np.uint8)), dtype=np.float32)
    weight = np.bincount(code, minlength=size).astype(np.float64)
    mean = _ratio(np.bincount(code, weights=ridge.ravel()[at], minlength=size), weight)
    neighbour = np.full(size, -1, np.int32)
    touching, other = _touching(parts.cell, at)
    neighbour[code[touching]] = other - 1
    return MembraneProfile(
        dab_od=mean.reshape(shape).astype(np.float32),
        weight=weight.reshape(shape).astype(np.float32),
        neighbour=neighbour.reshape(shape),
    )


_ACROSS = ((0, 4), (4, 0), (0, -4), (-4, 0), (2, 2), (2, -2), (-2, 2), (-2, -2), (0, 2), (2, 0), (0, -2), (-2, 0))
"""Steps to where a neighbour is looked for, the nearest last so that they win."""


def _touching(cell: Int32Array, at: IntpArray) -> tuple[IntpArray, Int32Array]:
    """Which of the pixels ``at`` have another cell within four pixels (across the band), and which one."""
    framed = cv2.copyMakeBorder(cell, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=0)
    width = framed.shape[1]
    here = at + 4 * (width + 1) + 8 * (at // cell.shape[1])
    labels = np.asarray(framed).ravel()
    own = labels.take(here)
    other = np.zeros_like(own)
    for dy, dx in _ACROSS:
        there = labels.take(here + (dy * width + dx))
        np.copyto(other, there, where=(there != own) & (there > 0))
    touching = np.flatnonzero(other)
    return touching, other[touching]


def _typed(values: Float64Array | IntpArray | None, dtype: str, n: int) -> pd.Series | np.ndarray:
    if dtype == "category":
        return pd.Series(pd.Categorical([CellClass.OTHER] * n, categories=[str(c) for c in CellClass]))
    return np.zeros(n, dtype) if values is None else values.astype(dtype)
