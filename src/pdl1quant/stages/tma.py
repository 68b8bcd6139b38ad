"""Cores of a tissue microarray: where they are, and which row and column of the grid each has.

Cores are discs of one size. Their size is measured on the islands of tissue, discs of it are looked for in the mask
(so that a broken core is one, and two that touch are two), and a grid is fitted to their centres: two steps that may
be turned by some degrees, found from the nearest neighbours, then refined by least squares. Places without a core keep
their names, so that the others keep theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdl1quant.config import TmaConfig
    from pdl1quant.model import BoolArray, Float32Array, Float64Array, Int32Array, IntpArray

STEP_UM = 20.0
"""Cores are looked for on a grid this coarse; they are 600 to 2000 um wide."""
BRIDGE_UM = 60.0
"""Tissue narrower than this does not join two cores."""
ROUND_SHARE = 0.6
"""Share of the circle around an island that is tissue, for its size to be that of a core."""
APART = 0.75
"""Centres of cores are at least so many diameters apart."""
RADIUS = 0.62
"""Radius of what counts as a core, in diameters: cores are never quite round."""
GAP = (0.62, 0.72)
"""Radii, in diameters, of the ring around a core in which there is more glass than tissue, or these are no cores."""
MAX_TISSUE_IN_GAP = 0.5
"""Share of that ring that is tissue: some 0.4 between cores that all but touch, 1 inside of a section."""
MAX_OFF = 0.38
"""How far a core may lie from its place, in steps of the grid."""
MAX_ROUNDS = 10
_NAME = re.compile(r"([A-Z]{1,2})-([1-9][0-9]{0,2})")
_NEARLY = re.compile(r"([A-Z]{1,2})[^A-Z0-9]*0*([1-9][0-9]{0,2})|0*([1-9][0-9]{0,2})[^A-Z0-9]*([A-Z]{1,2})")
_OFF_GRID = re.compile(r"off-grid [1-9][0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """One core: its name (``A-1``: row, column), and the circle that holds it, in um from the corner of the slide.

    ``tissue_share`` is the share of a disc of a core's size there that is tissue.
    """

    name: str
    x_um: float
    y_um: float
    radius_um: float
    tissue_share: float


def find_cores(tissue: BoolArray, *, width_um: float, height_um: float, config: TmaConfig) -> tuple[Core, ...]:
    """Find the cores of a slide and name them.

    Parameters
    ----------
    tissue
        Mask of the whole slide, of any size.
    width_um, height_um
        Size of the slide.
    config
        Section ``tma`` of the settings.

    Returns
    -------
    tuple of Core
        Row by row; none where there is nothing round. Rows are lettered from the top and columns numbered from the
        left of what is seen, from ``tma.first`` on: a row that is missing altogether at the rim is not counted. What
        fits no place of the grid is called ``off-grid 1`` and so on.

    Raises
    ------
    RefusedError
        Discs of that size fill the tissue, with no glass between them.
    """
    size = (max(1, round(width_um / STEP_UM)), max(1, round(height_um / STEP_UM)))
    share = np.asarray(cv2.resize(tissue.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
    core_um = config.core_um or _diameter_um(share)
    if core_um is None:
        return ()
    x, y, filled = _discs(share, core_um, min_share=config.min_core_share)
    if len(x) and float(np.median(_around(share, core_um)[y, x])) > MAX_TISSUE_IN_GAP:
        raise RefusedError(
            f"discs of {core_um:.0f} um fill the tissue, no gap separates them, so they are no cores of a microarray; "
            "leave out --tma, or pass --set tma.core_um=DIAMETER"
        )
    scale = np.array([width_um / size[0], height_um / size[1]])
    centres = (np.stack([x, y], axis=1) + 0.5) * scale
    if not len(centres):
        return ()
    places, step_um = _places(centres, core_um=core_um, max_turn_deg=config.max_turn_deg)
    names = _names(places, first=config.first)
    radius_um = min(RADIUS * core_um, 0.5 * step_um)
    order = np.lexsort((places[:, 1], places[:, 0], places[:, 0] < 0))
    return tuple(
        Core(
            name=names[index],
            x_um=float(centres[index, 0]),
            y_um=float(centres[index, 1]),
            radius_um=float(radius_um),
            tissue_share=float(filled[index]),
        )
        for index in order.tolist()
    )


def _diameter_um(share: Float32Array) -> float | None:
    """Median diameter of round islands, each counted by its area; None without any."""
    apart = cv2.morphologyEx((share >= 0.5).astype(np.uint8), cv2.MORPH_OPEN, _disc(BRIDGE_UM / STEP_UM))
    contours, _ = cv2.findContours(apart, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    diameters, areas = [], []
    for contour in contours:  # few: islands of 20 um places
        _, radius = cv2.minEnclosingCircle(contour)
        area = cv2.contourArea(contour) + 0.5 * len(contour) + 1  # contours run through the centres of places
        if radius >= 5 and area >= ROUND_SHARE * np.pi * (radius + 0.5) ** 2:
            diameters.append(2 * np.sqrt(area / np.pi))
            areas.append(area)
    if not diameters:
        return None
    order = np.argsort(diameters)
    middle = np.searchsorted(np.cumsum(np.asarray(areas)[order]), sum(areas) / 2)
    return float(diameters[order[middle]]) * STEP_UM


def _discs(share: Float32Array, core_um: float, *, min_share: float) -> tuple[IntpArray, IntpArray, Float32Array]:
    """Columns, rows and filling of discs of tissue, no two closer than ``APART`` diameters."""
    disc = _disc(core_um / 2 / STEP_UM).astype(np.float32)
    filled = cv2.filter2D(share, cv2.CV_32F, disc / disc.sum(), borderType=cv2.BORDER_CONSTANT)
    smooth = cv2.GaussianBlur(filled, (0, 0), max(1.0, 0.05 * core_um / STEP_UM))
    around = _disc(APART * core_um / STEP_UM)
    is_peak = (smooth >= cv2.dilate(smooth, around)) & (filled >= min_share)
    rows, columns = np.nonzero(is_peak)
    order = np.argsort(-smooth[rows, columns], kind="stable")
    kept = _apart(rows[order], columns[order], share.shape, reach=0.5 * core_um / STEP_UM)
    rows, columns = rows[order][kept], columns[order][kept]
    return np.asarray(columns), np.asarray(rows), np.asarray(filled[rows, columns], np.float32)


def _apart(rows: IntpArray, columns: IntpArray, shape: tuple[int, ...], *, reach: float) -> IntpArray:
    """Indices of the places that lie at least ``reach`` from all that were taken before them.

    Peaks of equal height lie side by side, in solid tissue by the ten thousand: each that is taken strikes out those
    around it.
    """
    edge = int(np.ceil(reach))
    above, beside = np.ogrid[-edge : edge + 1, -edge : edge + 1]
    near = np.hypot(above, beside) < reach
    number = np.full((shape[0] + 2 * edge, shape[1] + 2 * edge), -1, np.intp)
    number[rows + edge, columns + edge] = np.arange(len(rows))
    is_open = np.ones(len(rows) + 1, bool)  # the last one, -1, is no place
    kept = []
    index = 0
    while index < len(rows):
        kept.append(index)
        row, column = rows[index], columns[index]
        is_open[number[row : row + 2 * edge + 1, column : column + 2 * edge + 1][near]] = False
        is_open[-1] = True
        index += int(is_open[index:].argmax())
    return np.asarray(kept, np.intp)


def _around(share: Float32Array, core_um: float) -> Float32Array:
    """Share of tissue in the ring around a core, were its centre here."""
    inner, outer = (radius * core_um / STEP_UM for radius in GAP)
    edge = int(np.ceil(outer))
    above, beside = np.ogrid[-edge : edge + 1, -edge : edge + 1]
    away = np.hypot(above, beside)
    ring = ((away >= inner) & (away <= outer)).astype(np.float32)
    around = cv2.filter2D(share, cv2.CV_32F, ring / ring.sum(), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(around, np.float32)


def _places(centres: Float64Array, *, core_um: float, max_turn_deg: float) -> tuple[Int32Array, float]:
    """Row and column of each centre, (n, 2) int32 from 0 on (-1 for what fits none), and the shorter step in um."""
    steps = [_step(centres, axis, core_um=core_um, max_turn_deg=max_turn_deg) for axis in (0, 1)]
    across, down = steps
    if across is None and down is None:
        across, down = np.array([2 * core_um, 0.0]), np.array([0.0, 2 * core_um])
    elif across is None:
        across = np.array([down[1], -down[0]])  # type: ignore[index]
    elif down is None:
        down = np.array([-across[1], across[0]])
    matrix = np.stack([np.asarray(across), np.asarray(down)])  # rows: what a step of column, and of row, is in um
    origin = centres[np.argmin(np.linalg.norm(centres - np.median(centres, axis=0), axis=1))]
    found = np.zeros((len(centres), 2))
    for _ in range(MAX_ROUNDS):
        exact = (centres - origin) @ np.linalg.inv(matrix)
        rounded = np.rint(exact)
        if np.array_equal(rounded, found) and _ > 0:
            break
        found = rounded
        fits = np.abs(exact - found).max(axis=1) <= MAX_OFF
        matrix, origin = _fitted(centres[fits], found[fits], matrix, origin)
    off = np.abs((centres - origin) @ np.linalg.inv(matrix) - found).max(axis=1)
    fits = off <= MAX_OFF
    fits &= _first_of_each(found, off)
    places = np.full((len(centres), 2), -1, np.int32)
    if fits.any():
        places[fits] = (found[fits] - found[fits].min(axis=0))[:, ::-1]
    return places, float(np.linalg.norm(matrix, axis=1).min())


def _step(centres: Float64Array, axis: int, *, core_um: float, max_turn_deg: float) -> Float64Array | None:
    """From a core to the next one along an axis: the mean of the shortest steps; None without any."""
    ahead = centres[None] - centres[:, None]
    along, beside = ahead[..., axis], np.abs(ahead[..., 1 - axis])
    is_next = (along > APART * core_um / 2) & (beside <= np.tan(np.deg2rad(max_turn_deg)) * along + 0.15 * core_um)
    length = np.where(is_next, np.hypot(along, beside), np.inf)
    nearest = length.argmin(axis=1)
    has = np.flatnonzero(np.isfinite(length.min(axis=1)))
    if not has.size:
        return None
    steps, lengths = ahead[has, nearest[has]], length[has, nearest[has]]
    short = lengths <= 1.35 * np.quantile(lengths, 0.2)
    return np.asarray(np.median(steps[short], axis=0))


def _fitted(
    centres: Float64Array, places: Float64Array, matrix: Float64Array, origin: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Steps and origin of the grid by least squares; as they were where the places do not span both ways."""
    terms = np.column_stack([places, np.ones(len(places))])
    if np.linalg.matrix_rank(terms) < 3:
        return matrix, origin
    solved = np.linalg.lstsq(terms, centres, rcond=None)[0]
    return np.asarray(solved[:2]), np.asarray(solved[2])


def _first_of_each(found: Float64Array, off: Float64Array) -> BoolArray:
    """Of several cores at one place the nearest is the one."""
    order = np.lexsort((off, found[:, 1], found[:, 0]))
    first = np.ones(len(found), bool)
    first[order[1:]] = (np.diff(found[order], axis=0) != 0).any(axis=1)
    return first


def _names(places: Int32Array, *, first: str) -> list[str]:
    names, n_off = [], 0
    letters, _, number = first.partition("-")
    first_row, first_column = _row(letters), int(number)
    for row, column in places.tolist():
        if row < 0:
            n_off += 1
            names.append(f"off-grid {n_off}")
        else:
            names.append(f"{_letters(first_row + row)}-{first_column + column}")
    return names


def is_core_name(name: str) -> bool:
    """Whether `find_cores` may call a core so."""
    return bool(_NAME.fullmatch(name) or _OFF_GRID.fullmatch(name))


def nearest_name(text: str) -> str | None:
    """The name of a core that was meant by ``a1``, ``A 01`` or ``1-A``; None where that cannot be told."""
    match = _NEARLY.fullmatch(text.upper().strip())
    if match is None:
        return None
    letters, number, number_first, letters_last = match.groups()
    return f"{letters or letters_last}-{number or number_first}"


def grid_of(names: Iterable[str]) -> str:
    """The smallest grid that holds all cores of these names, as ``A-1 to H-12``; empty where none is on a grid."""
    places = [(_row(match[1]), int(match[2])) for match in map(_NAME.fullmatch, names) if match is not None]
    if not places:
        return ""
    rows, columns = zip(*places, strict=True)
    return f"{_letters(min(rows))}-{min(columns)} to {_letters(max(rows))}-{max(columns)}"


def _letters(row: int) -> str:
    """A to Z, then AA, AB and so on."""
    text = ""
    row += 1
    while row:
        row, rest = divmod(row - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def _row(letters: str) -> int:
    """The row, from 0 on, that `_letters` calls so."""
    row = 0
    for letter in letters:
        row = 26 * row + ord(letter) - ord("A") + 1
    return row - 1


def _disc(radius_px: float) -> np.ndarray:
    radius = max(1, round(radius_px))
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)
