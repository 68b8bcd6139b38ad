"""From compartments and stain densities to the cells table, all labels in one pass over the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd

from pdl1quant.basins import Ellipse, ellipse_of
from pdl1quant.kernels.labels import raw_moments
from pdl1quant.kernels.places import around
from pdl1quant.kernels.sums import (
    BLACK,
    BROWN,
    CYTOPLASM,
    DAB,
    HAEMATOXYLIN,
    MEMBRANE,
    NUCLEUS,
    PIXELS,
    RESIDUAL,
    SATURATED,
    SQUARES,
    edge_gradients,
    part_sums,
    sector_sums,
)
from pdl1quant.model import (
    CELL_COLUMNS,
    MEMBRANE_SECTORS,
    CellClass,
    Compartments,
    Float32Array,
    Float64Array,
    IntpArray,
    MembraneProfile,
    StainOD,
    Tile,
)
from pdl1quant.planes import like

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pdl1quant.config import StainsConfig

NEARLY_WHOLE = 1e-6
"""Places of tiles are whole pixels but for the rounding of a division."""
NEIGHBOURHOOD_UM = 25.0
"""Radius of the neighbourhood: three to four cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """``cells`` follows ``CELL_COLUMNS`` (classes, positivity and flags still empty); ``membrane`` has its rows."""

    cells: pd.DataFrame
    membrane: MembraneProfile


def measure_cells(
    tile: Tile,
    od: StainOD,
    parts: Compartments,
    *,
    stains: StainsConfig,
    t1: float,
    pigment_residual_od: float,
    with_neighbours: bool = True,
) -> Measured:
    """Measure every cell of a tile.

    Parameters
    ----------
    tile
        Its ``mpp``, place and ``rgb`` (for saturation).
    od
        Stain densities of the tile, log10.
    parts
        Compartments of the tile's ``inner`` part, with labels 1..n.
    stains
        Settings: the level of saturation.
    t1
        Log10 OD from which a pixel is brown.
    pigment_residual_od
        Residual from which a pixel is pigment; from ``stains.pigment_residual_od``, infinite where none can be told.
    with_neighbours
        Whether `neighbourhood` is looked at; its columns are 0 else.

    Returns
    -------
    Measured
        A row per label, in the order of the labels.
    """
    moments = raw_moments(parts.nucleus, parts.n_cells)
    sums = part_sums(
        (parts.nucleus, parts.membrane, parts.cell),
        (od.haematoxylin, od.dab, od.residual),
        np.ascontiguousarray(tile.rgb),
        tile.inner_place,
        (stains.saturated_level, np.float32(pigment_residual_od), np.float32(t1)),
        parts.n_cells,
    )[1:]
    tile, od = tile.cropped(), od.cropped(tile.inner)
    shape = ellipse_of(moments[1:])
    columns = _geometry(tile, shape, moments[1:], sums) | _densities(sums)
    if with_neighbours:
        names = ("neighbour_distance_um", "neighbours_25um")
        columns |= dict(zip(names, neighbourhood(np.stack([shape.x, shape.y], axis=1) * tile.mpp), strict=True))
    columns["nucleus_sharpness_od"] = _sharpness(parts, od, mpp=tile.mpp)
    cells = pd.DataFrame({c.name: _typed(columns.get(c.name), c.dtype, parts.n_cells) for c in CELL_COLUMNS})
    return Measured(cells=cells, membrane=_membrane_profile(parts, od.dab, shape))


def empty_cells() -> pd.DataFrame:
    """A cells table without rows: the same columns and types as any other."""
    return pd.DataFrame({c.name: _typed(None, c.dtype, 0) for c in CELL_COLUMNS})


def _geometry(tile: Tile, shape: Ellipse, moments: Float64Array, sums: Float64Array) -> dict[str, Float64Array]:
    um2 = tile.mpp**2
    x, y = _centres(tile, moments)
    return {
        "label": np.arange(1, len(sums) + 1, dtype=np.float64),
        "x_px": (x + 0.5) * tile.downsample_x - 0.5,
        "y_px": (y + 0.5) * tile.downsample_y - 0.5,
        "nucleus_area_um2": sums[:, PIXELS + NUCLEUS] * um2,
        "cytoplasm_area_um2": sums[:, PIXELS + CYTOPLASM] * um2,
        "membrane_area_um2": sums[:, PIXELS + MEMBRANE] * um2,
        "cell_area_um2": _whole(sums, PIXELS) * um2,
        "dab_area_um2": _whole(sums, BROWN) * um2,
        "nucleus_length_um": shape.length * tile.mpp,
        "nucleus_width_um": shape.width * tile.mpp,
        "nucleus_regularity": np.minimum(shape.regularity, 1.0),
    }


def _whole(sums: Float64Array, first: int) -> Float64Array:
    """(n,) sums over all parts."""
    return np.asarray(sums[:, first : first + 3].sum(axis=1))


def _centres(tile: Tile, moments: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Centres on the grid of the input, by one division of whole numbers: the same to the last bit in any tile."""
    area = np.maximum(moments[:, 0], 1)
    origin = tile.x_px / tile.downsample_x, tile.y_px / tile.downsample_y
    whole = [round(each) if abs(each - round(each)) < NEARLY_WHOLE else each for each in origin]
    return (moments[:, 1] + whole[0] * area) / area, (moments[:, 2] + whole[1] * area) / area


def neighbourhood(centres_um: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Distance to the nearest other centre (infinite for one alone) and number of others within the radius.

    ``centres_um`` is (n, 2); both answers are (n,).
    """
    nearest, within = around(np.ascontiguousarray(centres_um), NEIGHBOURHOOD_UM)
    lonely = np.flatnonzero(within == 0)
    if len(lonely) and len(centres_um) > 1:
        from scipy.spatial import cKDTree  # noqa: PLC0415  slow to import, and rarely needed

        nearest[lonely] = cKDTree(centres_um).query(centres_um[lonely], k=2)[0][:, 1]
    return nearest, within.astype(np.float64)


def _densities(sums: Float64Array) -> dict[str, Float64Array]:
    def mean(of: int, part: int) -> Float64Array:
        return _ratio(sums[:, of + part], sums[:, PIXELS + part])

    def cell_mean(of: int) -> Float64Array:
        return _ratio(_whole(sums, of), _whole(sums, PIXELS))

    blue, membrane_dab = mean(HAEMATOXYLIN, NUCLEUS), mean(DAB, MEMBRANE)
    has_cytoplasm = sums[:, PIXELS + CYTOPLASM] > 0
    return {
        "nucleus_haematoxylin_od_mean": blue,
        "nucleus_haematoxylin_od_sd": np.sqrt(np.maximum(mean(SQUARES, NUCLEUS) - blue * blue, 0)),
        "nucleus_dab_od_mean": mean(DAB, NUCLEUS),
        "cytoplasm_haematoxylin_od_mean": mean(HAEMATOXYLIN, CYTOPLASM),
        "cytoplasm_dab_od_mean": np.where(has_cytoplasm, mean(DAB, CYTOPLASM), membrane_dab),
        "membrane_dab_od_mean": membrane_dab,
        "cell_dab_od_mean": cell_mean(DAB),
        "cell_residual_od_mean": cell_mean(RESIDUAL),
        "saturated_share": cell_mean(SATURATED),
        "pigment_share": cell_mean(BLACK),
    }


def _ratio(total: NDArray[np.number], area: NDArray[np.number]) -> Float64Array:
    return np.asarray(np.divide(total, area, out=np.zeros(total.shape), where=area > 0), dtype=np.float64)


def _sharpness(parts: Compartments, od: StainOD, *, mpp: float) -> Float64Array:
    """(n,) mean gradient of the summed OD (OD per um) along the inner edge of each nucleus."""
    total = cv2.add(od.haematoxylin, od.dab, dst=like(od.dab))
    total = cv2.GaussianBlur(total, (0, 0), 0.5 / mpp, dst=like(od.dab))
    sums = edge_gradients(parts.nucleus, np.asarray(total, dtype=np.float32), parts.n_cells)[1:]
    return _ratio(sums[:, 0], sums[:, 1]) / (2 * mpp)


_ACROSS = ((-2, 0), (0, -2), (2, 0), (0, 2), (-2, -2), (-2, 2), (2, -2), (2, 2), (-4, 0), (0, -4), (4, 0), (0, 4))
"""Steps to where a neighbour is looked for across the band, the nearest first."""


def _membrane_profile(parts: Compartments, dab: Float32Array, shape: Ellipse) -> MembraneProfile:
    ridge = np.asarray(cv2.dilate(dab, np.ones((3, 3), np.uint8), dst=like(dab)), dtype=np.float32)
    centres = np.stack([shape.x, shape.y], axis=1)
    sums, neighbour = sector_sums(
        (parts.membrane, parts.cell), ridge, centres, np.array(_ACROSS, np.int32), MEMBRANE_SECTORS
    )
    return MembraneProfile(
        dab_od=_ratio(sums[..., 1], sums[..., 0]).astype(np.float32),
        weight=sums[..., 0].astype(np.float32),
        neighbour=neighbour - 1,
    )


def _typed(values: Float64Array | IntpArray | None, dtype: str, n: int) -> pd.Series | np.ndarray:
    if dtype == "category":
        return pd.Series(pd.Categorical([CellClass.OTHER] * n, categories=[str(c) for c in CellClass]))
    return np.zeros(n, dtype) if values is None else values.astype(dtype)
