"""What cannot be judged: images that are not H-DAB, a pixel size that does not fit the nuclei, doubtful cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.errors import NotHdabError, PixelSizeError
from pdl1quant.kernels.sums import brown_per_block
from pdl1quant.model import (
    BoolArray,
    BrownArea,
    CellClass,
    Compartments,
    Flag,
    Int32Array,
    ResultFlag,
    RoiMasks,
    StainEstimate,
    StainOD,
    TissueGround,
    UInt8Array,
)

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.config import QualityConfig
    from pdl1quant.model import Float64Array

DARK_BACKGROUND = 60
"""Median of the brightest channel below which an image is no bright-field image (fluorescence, dark frame)."""
STAINED_OD = 0.3
"""Summed OD of a pixel from which its hue tells its stain."""
MAX_GREY_DIFFERENCE = 3
"""Channels that differ nowhere by more than this are one grey channel stored three times, give or take JPEG."""
MIN_BLANK_LEVEL = 200
"""A picture with no sample below this is empty glass, which may well be neutral: no tissue, not "no colour"."""
_ROWS_PER_BLOCK = 256
MIN_STAINED = 200
"""Sampled pixels needed before the hue of an image is judged."""
MAX_FOREIGN_SHARE = 0.4
"""Share of the stained pixels with a foreign hue from which an image is not H-DAB."""
MIN_RED_SHARE = 0.15
"""Share of the stained pixels that are red or pink from which they may be a chromogen, ..."""
MAX_BROWN_AMONG_RED = 0.1
"""... and share of brown in red and brown together up to which they are one. On the membranes of a third of the cells
alone it is a fifth of what is stained. None of 20 real H-DAB fields and 150 rendered ones has a pixel in 100 of such a
hue."""
HDAB_HUES = ((0.65, 0.70, 0.29), (0.72, 0.63, 0.30), (0.27, 0.57, 0.78), (0.40, 0.60, 0.69))
"""OD directions of haematoxylin and DAB: textbook (Ruifrok & Johnston 2001) and as seen on real scanners."""
FOREIGN_HUES = ((0.07, 0.99, 0.11), (0.25, 0.92, 0.30), (0.21, 0.85, 0.48), (0.90, 0.15, 0.40), (0.85, 0.25, 0.10))
"""OD directions of eosin, eosin with haematoxylin, AEC or fast red, green and cyan."""
_BROWN, _RED = slice(2, 4), slice(4, 7)
"""Which of both are brown, and red or pink."""
MIN_NUCLEI = 50
"""Nuclei needed before their size says anything of the pixel size."""
GRAIN_UM = (1.5, 3.0)
"""What `blue_grain_um` is on H-DAB fields at their true pixel size: 1.8-2.5 on 13 real tumour fields and 1.8-3.0 on 40
rendered ones; 2.9-3.7 and 2.4-4.5 when told twice their size, 1.0-1.4 and 0.7-2.2 when told half of it. Three real
fields of lymphoid cells, of assumed pixel size, have 3.1-3.4: the range warns, it does not refuse."""
NUCLEAR_OD = 0.05
"""DAB OD by which a nucleus is browner than what is around it, for its brown to be its own. On 15 real fields stained
in membranes or cytoplasm that is so of at most a quarter of the brown cells, on rendered ones rarely of more than half
(57 of 94); on four real Ki-67 fields of 7 in 11 to 99 in 100."""
MIN_BROWN_CELLS = 10
"""Brown cells needed before it is told where brown lies."""
MAJORITY_Z = 2.58
"""Standard errors above a half from which most brown cells are brown in the nucleus: Wilson's 99 %."""
MAX_BROWN_SHARE = 0.5
"""Share of the image above ``BROWN_OD`` from which the blue that is left tells no size."""
BROWN_OD = 0.2
BACKGROUND_UM = 12.0
"""Half side of the square whose mean is taken away first, so that nests and glands do not count as grain."""
ROW_STEP = 4
"""Every so manyth row and column is enough."""
MAX_PYKNOTIC_UM2 = 30.0
"""Area up to which a dense nucleus of tumour class is taken for shrunken: half of that of a tumour nucleus. ..."""
MIN_PYKNOTIC_RATIO = 2.25
"""... and its mean haematoxylin OD from which it is dense, in units of ``nucleus_od`` (an intact nucleus: about 1.5).
On rendered fields the two find half of the apoptotic bodies that are named tumour, and 2 of 1000 intact tumour cells;
mitoses are as dense, but larger."""
MIN_BARE_SHARE = 0.25
"""Share of the brown area in no cell from which cells were surely missed. Measured: at most 0.07 on phantoms, 0.08-0.18
on real fields where brown cells are found, 0.26-0.53 where nuclei do not show below the brown."""
MIN_BARE_CELLS = 10
"""So many cells have to find room in it, ..."""
MIN_BARE_PER_TUMOUR_CELL = 0.1
"""... and so many for each viable tumour cell that was found: fewer would hardly move the score."""
CELL_UM2 = 100.0
"""Room of a tumour cell in a section: 11 um across."""
BROWN_PX = 32
"""Side of the squares in which brown is counted, working px: 16 um, finer than a hand draws."""
STROMA_REACH_UM = 500.0
"""Immune cells this close to the tumour, drawn or found, count for CPS: one field at x20 (rule of the 28-8 CPS)."""


def is_grey(rgb: UInt8Array) -> bool:
    """Whether (H, W, 3) uint8 pixels are one grey channel stored three times; empty glass, which may be grey, is not.

    Every pixel is looked at.
    """
    darkest = 255
    for start in range(0, rgb.shape[0], _ROWS_PER_BLOCK):
        rows = rgb[start : start + _ROWS_PER_BLOCK].astype(np.int16)
        red, green, blue = rows[..., 0], rows[..., 1], rows[..., 2]
        if max(np.abs(red - green).max(), np.abs(green - blue).max()) > MAX_GREY_DIFFERENCE:
            return False
        darkest = min(darkest, int(green.min()))
    return darkest < MIN_BLANK_LEVEL


def check_hdab(pixels: UInt8Array, white: tuple[float, float, float]) -> None:
    """Refuse what is not H-DAB on a bright background.

    Parameters
    ----------
    pixels
        (n, 3) uint8 sample of an image.
    white
        RGB level of empty glass.

    Raises
    ------
    NotHdabError
        The background is dark, more than ``MAX_FOREIGN_SHARE`` of the stained pixels have the hue of another stain, or
        there is red in the place of brown.
    """
    if np.median(pixels.max(axis=1)) < DARK_BACKGROUND:
        raise NotHdabError("the background is dark: not a bright-field image; give an H-DAB image")
    od = -np.log10(np.maximum(pixels, 1) / np.asarray(white))
    od = np.maximum(od[od.sum(axis=1) >= STAINED_OD], 0)
    if len(od) < MIN_STAINED:
        return
    hues = np.array(HDAB_HUES + FOREIGN_HUES)
    hues /= np.linalg.norm(hues, axis=1, keepdims=True)
    nearest = np.argmax(od @ hues.T, axis=1)
    shares = np.bincount(nearest, minlength=len(hues)) / len(nearest)
    foreign, red = float(shares[len(HDAB_HUES) :].sum()), float(shares[_RED].sum())
    is_red = red >= MIN_RED_SHARE and shares[_BROWN].sum() <= MAX_BROWN_AMONG_RED * (red + shares[_BROWN].sum())
    if foreign > MAX_FOREIGN_SHARE or is_red:
        raise NotHdabError(
            f"the colours are not haematoxylin and DAB ({100 * foreign:.0f} % of the stained area has another hue, "
            f"such as eosin or a red chromogen{', and hardly any is brown' if is_red else ''}); give an H-DAB image"
        )


def check_nucleus_size(
    cells: pd.DataFrame, *, config: QualityConfig, stained_um: float | None = None, grain_um: float | None = None
) -> tuple[ResultFlag, ...]:
    """Hold the size of the nuclei against what nuclei can be.

    Parameters
    ----------
    cells
        Cells table; fewer than ``MIN_NUCLEI`` rows say nothing.
    config
        Section ``quality`` of the settings.
    stained_um
        Typical width of what is stained blue, from `nuclei.stained_width_um`: a network finds objects of the size
        that it knows at any scale, the stain itself does not. It is held against the upper limit only, for at too
        small a scale it measures its own smoothing.

    grain_um
        From `blue_grain_um`: knows of a pixel size that is wrong by a factor of 2 either way, mostly; but tissues
        differ, so that it only warns.

    Returns
    -------
    tuple of ResultFlag
        ``nucleus_size`` when the diameter lies outside the range of the settings, or the grain outside ``GRAIN_UM``.

    Raises
    ------
    PixelSizeError
        It lies outside by more than a factor of 2: the pixel size is wrong.
    """
    if len(cells) < MIN_NUCLEI:
        return ()
    diameter = float(2 * np.sqrt(np.median(cells["nucleus_area_um2"]) / np.pi))
    low, high = config.min_nucleus_diameter_um, config.max_nucleus_diameter_um
    if stained_um is not None and stained_um > high:
        diameter = max(diameter, stained_um)
    if low <= diameter <= high:
        grain_fits = grain_um is None or GRAIN_UM[0] <= grain_um <= GRAIN_UM[1]
        return () if grain_fits else (ResultFlag.NUCLEUS_SIZE,)
    if diameter < low / 2 or diameter > high * 2:
        raise PixelSizeError(
            f"nuclei are about {diameter:.0f} um across here, real ones {low:g}-{high:g} um; "
            "check the pixel size, then pass the right --mpp (um per pixel)"
        )
    return (ResultFlag.NUCLEUS_SIZE,)


def count_brown(cells: pd.DataFrame, *, t1: float) -> tuple[int, int]:
    """How many cells hold brown at all, and in how many of them it lies in the nucleus.

    Parameters
    ----------
    cells
        Cells table.
    t1
        DAB OD from which a nucleus, cytoplasm or membrane is brown on its average.
    """
    names = ("nucleus_dab_od_mean", "cytoplasm_dab_od_mean", "membrane_dab_od_mean")
    nucleus, cytoplasm, membrane = (cells[name].to_numpy() for name in names)
    around, least = np.fmax(cytoplasm, membrane), np.float32(t1)
    in_nucleus = (nucleus >= least) & ~(nucleus <= around + np.float32(NUCLEAR_OD))
    return int(((nucleus >= least) | (around >= least)).sum()), int(in_nucleus.sum())


def check_where_brown_is(n_brown: int, n_in_nucleus: int) -> tuple[ResultFlag, ...]:
    """Whether brown lies in nuclei, as of no PD-L1: another marker, or red and blue were exchanged.

    Parameters
    ----------
    n_brown, n_in_nucleus
        From `count_brown`, of a whole image.

    Returns
    -------
    tuple of ResultFlag
        ``nuclear_stain`` or nothing.
    """
    is_most = 2 * n_in_nucleus - n_brown >= MAJORITY_Z * n_brown**0.5
    return (ResultFlag.NUCLEAR_STAIN,) if n_brown >= MIN_BROWN_CELLS and is_most else ()


def blue_grain_um(od: StainOD, *, mpp: float) -> float | None:
    """Distance over which the blue of an image loses half of its likeness to itself, whatever a segmenter finds in it.

    Parameters
    ----------
    od
        Stain densities of the image.
    mpp
        um per pixel.

    Returns
    -------
    float or None
        um at which the autocorrelation of the haematoxylin OD along rows and columns falls to one half; None where
        brown covers most of the image, or nothing varies.
    """
    if np.mean(od.dab >= BROWN_OD) > MAX_BROWN_SHARE:
        return None
    blue = np.clip(od.haematoxylin, 0, 1).astype(np.float32, copy=False)
    side = 2 * round(BACKGROUND_UM / mpp) + 1
    detail = blue - cv2.blur(blue, (side, side))
    lines = detail[::ROW_STEP], np.ascontiguousarray(detail[:, ::ROW_STEP].T)
    power = sum(float(np.mean(np.square(each))) for each in lines)
    if power == 0:
        return None
    earlier = 1.0
    for shift in range(1, min(round(BACKGROUND_UM / mpp), *detail.shape)):
        alike = sum(float(np.mean(each[:, shift:] * each[:, :-shift])) for each in lines) / power
        if alike < 0.5:
            return mpp * (shift - 1 + (earlier - 0.5) / (earlier - alike))
        earlier = alike
    return None


def flag_cells(cells: pd.DataFrame, parts: Compartments, *, config: QualityConfig) -> Int32Array:
    """(n,) bits of `Flag`: touches the edge of the image, saturated, pigment, out of focus."""
    flags = np.zeros(len(cells), np.int32)
    flags[_edge_rows(parts)] |= int(Flag.TOUCHES_EDGE)
    flags[cells["saturated_share"].to_numpy() >= config.min_saturated_share] |= int(Flag.SATURATED)
    flags[cells["pigment_share"].to_numpy() >= config.min_pigment_share] |= int(Flag.PIGMENT)
    flags[cells["nucleus_sharpness_od"].to_numpy() < config.min_sharpness_od] |= int(Flag.OUT_OF_FOCUS)
    return flags


def flag_outside(cells: pd.DataFrame, roi: RoiMasks, *, mpp: float) -> pd.DataFrame:
    """Flag what does not count.

    That is all cells outside the scored region, tumour cells outside the tumour region, and immune cells farther than
    ``STROMA_REACH_UM`` from it.
    """
    y, x = (
        np.clip(np.rint(cells[name].to_numpy()).astype(int), 0, side - 1)
        for name, side in zip(("y_px", "x_px"), roi.scored.shape, strict=True)
    )
    if roi.tumour is None:
        return flag_beyond(cells, scored=roi.scored[y, x])
    near = np.zeros(len(cells), bool)
    if roi.tumour.any():
        distance = cv2.distanceTransform((~roi.tumour).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * mpp
        near = distance[y, x] <= STROMA_REACH_UM
    return flag_beyond(cells, scored=roi.scored[y, x], tumour=roi.tumour[y, x], near=near)


def flag_beyond(
    cells: pd.DataFrame, *, scored: BoolArray, tumour: BoolArray | None = None, near: BoolArray | None = None
) -> pd.DataFrame:
    """The same where it is known of each cell, (n,) bool, whether it lies in each region, or near the tumour.

    ``near`` is needed with ``tumour``; cells near the tumour and not in it are flagged `Flag.BESIDE_TUMOUR`.
    """
    flags = cells["flags"].to_numpy()
    if tumour is None:
        return cells.assign(flags=flags | np.where(scored, 0, int(Flag.OUTSIDE_ROI)).astype(np.int32))
    assert near is not None
    beside = scored & near & ~tumour
    immune = cells["cell_class"].isin([CellClass.LYMPHOCYTE, CellClass.MACROPHAGE]).to_numpy()
    outside = ~((scored & tumour) | (beside & immune))
    flags = flags | np.where(outside, int(Flag.OUTSIDE_ROI), 0) | np.where(beside, int(Flag.BESIDE_TUMOUR), 0)
    return cells.assign(flags=flags.astype(np.int32))


def find_brown(
    od: StainOD,
    cell: Int32Array,
    *,
    ground: TissueGround,
    t1: float,
    pigment_residual_od: float,
    places: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = None,
) -> Int32Array:
    """Brown of squares of ``BROWN_PX``, in cells and elsewhere, and the tissue of which it is a share.

    Saturated pixels count by the density that they show, as they do in cells.

    Parameters
    ----------
    od, cell
        Stain densities and labels of cells, each (H, W) at the working resolution.
    ground
        What of that which is looked at is tissue.
    t1
        Log10 OD from which a pixel is brown.
    pigment_residual_od
        Residual from which a pixel is pigment, and no tissue that is asked; as in `measure.measure_cells`.
    places
        What of ``od`` and ``cell`` is looked at, as `kernels.sums.brown_per_block` takes it; None where they are of
        one size, and all of them.

    Returns
    -------
    (k, 6) int32
        A row for each square that holds brown or tissue: its row and column, its brown pixels, those of them in no
        cell, its pixels of tissue without pigment, and the brown ones of these. Squares begin where what is looked at
        begins.
    """
    height, width = cell.shape
    counted = brown_per_block(
        (od.dab, od.residual, cell),
        places or ((0, 0), (0, 0), (height, width)),
        (ground.tissue, ground.row, ground.column, ground.lost),
        (np.float32(t1), np.float32(pigment_residual_od)),
        BROWN_PX,
    )
    at = np.argwhere(counted.any(axis=2))
    return np.hstack([at, counted[at[:, 0], at[:, 1]]]).astype(np.int32)


def brown_middles(squares: Int32Array, *, width: int, height: int) -> tuple[Float64Array, Float64Array]:
    """Columns and rows, each (k,), of the middle pixels of squares of `find_brown` of a grid of that size."""
    y, x = ((squares[:, :2] + 0.5) * BROWN_PX).T
    return np.minimum(x, width - 1), np.minimum(y, height - 1)


def check_brown(brown: BrownArea, *, n_tumour: int) -> tuple[ResultFlag, ...]:
    """Whether so much brown lies in no cell that the score misses cells.

    Parameters
    ----------
    brown
        Of an image, a region, or of all of a case: one dark field among many hardly moves the score.
    n_tumour
        Viable tumour cells that were found there.

    Returns
    -------
    tuple of ResultFlag
        ``brown_without_cells`` or nothing.
    """
    share, room = brown.share_without_cell, brown.without_cell_um2 / CELL_UM2
    is_much = room >= max(MIN_BARE_CELLS, MIN_BARE_PER_TUMOUR_CELL * n_tumour)
    return (ResultFlag.BROWN_WITHOUT_CELLS,) if share is not None and share >= MIN_BARE_SHARE and is_much else ()


def flag_artefacts(cells: pd.DataFrame, spoilt: BoolArray) -> pd.DataFrame:
    """Flag the cells that lie in artefacts, ``spoilt`` (n,) bool."""
    return cells.assign(flags=cells["flags"].to_numpy() | np.where(spoilt, int(Flag.ARTEFACT), 0).astype(np.int32))


def flag_pyknotic(cells: pd.DataFrame, *, estimate: StainEstimate) -> Int32Array:
    """(n,) bits of `Flag`: `Flag.PYKNOTIC` for small, dense nuclei of tumour class; fragments count as nuclei.

    Saturated cells are not judged: their stain split tells no density.
    """
    dense = cells["nucleus_haematoxylin_od_mean"] >= MIN_PYKNOTIC_RATIO * estimate.nucleus_od
    small = cells["nucleus_area_um2"] <= MAX_PYKNOTIC_UM2
    judged = (cells["cell_class"] == CellClass.TUMOUR) & (cells["flags"] & int(Flag.SATURATED) == 0)
    return np.where(dense & small & judged, int(Flag.PYKNOTIC), 0).astype(np.int32)


def _edge_rows(parts: Compartments) -> Int32Array:
    frame = (parts.cell[0], parts.cell[-1], parts.cell[:, 0], parts.cell[:, -1])
    labels = np.unique(np.concatenate(frame))
    return (labels[labels > 0] - 1).astype(np.int32)
