"""Cells -> their outlines in a picture, for a canvas in the page and for pictures that are printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import shapely

from pdl1quant.errors import OutputError
from pdl1quant.outputs.outlines import split_rings
from pdl1quant.outputs.palette import KINDS, kinds_of
from pdl1quant.outputs.written_outlines import read_outer_rings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import TypeAlias

    import pandas as pd
    from numpy.typing import NDArray

    from pdl1quant.model import BoolArray, Compartment, Float64Array, IntpArray, UInt8Array
    from pdl1quant.outputs.written_outlines import Geometries
    from pdl1quant.report.pixels import Picture

    Sides: TypeAlias = Mapping[str, float]
    """``mpp_x`` and ``mpp_y``, um."""

_TOLERANCE_UM = 0.3
"""So far a simplified outline may lie from the traced one: less than a pixel at x200."""
_CORNERS = 12
"""Of the circle that stands in for an outline that was not written."""
_SUBPIXEL_BITS = 4
_CASING = (255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rings:
    """Closed outlines, a ring per cell: ``points`` (n, 2) x, y in pixels of the input; ``starts`` (n_cells + 1,).

    ``are_circles``: the run has no outlines of these cells, circles of their areas stand in.
    """

    points: Float64Array
    starts: NDArray[np.int64]
    are_circles: bool = False

    def take(self, places: IntpArray) -> Rings:
        """Those of some cells, in the order of ``places``."""
        lengths = np.diff(self.starts)[places]
        starts = np.append(0, np.cumsum(lengths))
        corners = np.arange(starts[-1]) + np.repeat(self.starts[places] - starts[:-1], lengths)
        return Rings(points=self.points[corners], starts=starts, are_circles=self.are_circles)


def read_rings(out: Path, stem: str, cells: pd.DataFrame, rows: IntpArray, *, sides_um: Sides, image_id: str) -> Rings:
    """Outlines of some rows of a cells table, from the run's GeoJSON, smoothed and simplified.

    Circles of the cells' areas stand in where the run wrote no outlines, or others than those of this table.

    Parameters
    ----------
    out, stem, image_id
        Folder of the run, place of the image's results in it, and hash of the image.
    cells, rows
        The cells, and in which rows of the image's table they are; ascending.
    sides_um
        Of a pixel of the input.
    """
    try:
        labels = cells["label"].to_numpy(np.int32)
        points, starts = read_outer_rings(out, stem, rows, labels=labels, image_id=image_id)
    except OutputError:
        return _circles(cells, sides_um)
    after = np.arange(1, len(points) + 1)
    after[starts[1:] - 1] = starts[:-1]
    if len(points) and (np.abs(points[after] - points).min(axis=1) == 0).all():  # along the sides of pixels
        for _ in range(2):  # twice the middles of the sides: a staircase becomes a slope
            points = (points + points[after]) / 2
    owner = np.repeat(np.arange(len(rows)), np.diff(starts))
    rings = shapely.simplify(shapely.linearrings(points, indices=owner), _TOLERANCE_UM / max(sides_um.values()))
    points, owner = _corners(rings)
    return Rings(points=points, starts=np.searchsorted(owner, np.arange(len(rows) + 1)))


def _corners(rings: Geometries) -> tuple[Float64Array, NDArray[np.int64]]:
    """Corners of all rings, each once, and whose they are."""
    points, owner = shapely.get_coordinates(rings, return_index=True)
    keep = np.ones(len(points), bool)
    keep[np.flatnonzero(np.diff(owner, append=-1))] = False  # the first corner again
    return points[keep], owner[keep]


def _circles(cells: pd.DataFrame, sides_um: Sides) -> Rings:
    angles = np.arange(_CORNERS) * 2 * np.pi / _CORNERS
    radius_um = np.sqrt(np.nan_to_num(cells["cell_area_um2"].to_numpy(np.float64)) / np.pi)
    centres = cells[["x_px", "y_px"]].to_numpy(np.float64) + 0.5
    around = np.column_stack([np.cos(angles) / sides_um["mpp_x"], np.sin(angles) / sides_um["mpp_y"]])
    points = centres[:, None] + radius_um[:, None, None] * around
    starts = np.arange(len(cells) + 1, dtype=np.int64) * _CORNERS
    return Rings(points=points.reshape(-1, 2), starts=starts, are_circles=True)


def within(places_px: tuple[Float64Array, Float64Array], picture: Picture) -> BoolArray:
    """Whether each nucleus lies in the picture; their x and y."""
    x, y = picture.of_input(np.stack(places_px, axis=1) + 0.5).T
    return np.asarray((x >= 0) & (x < picture.width) & (y >= 0) & (y < picture.height))


def draw_cells(
    picture: Picture, cells: pd.DataFrame, rings: Rings, *, compartment: Compartment, thickness: int = 1
) -> UInt8Array:
    """The picture with the outline of each cell in the colour of its kind, and a dot in positive ones."""
    drawn = picture.rgb.copy()
    kinds = kinds_of(cells, compartment)
    points = picture.of_input(rings.points) - 0.5
    lines = split_rings(np.rint(points * (1 << _SUBPIXEL_BITS)).astype(np.int32), rings.starts)
    centres = picture.of_input(cells[["x_px", "y_px"]].to_numpy(np.float64) + 0.5) - 0.5
    dots = np.rint(centres * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    for number, kind in enumerate(KINDS):
        rows = np.flatnonzero(kinds == number)
        if not rows.size:
            continue
        chosen = [lines[row] for row in rows]
        cv2.polylines(drawn, chosen, True, kind.rgb, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
        if kind.has_dot:
            points_of = [np.repeat(dots[row][None], 2, axis=0) for row in rows]
            cv2.polylines(drawn, points_of, False, _CASING, 3 + thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
            cv2.polylines(drawn, points_of, False, kind.rgb, 1 + thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    return drawn


def packed(rings: Rings, picture: Picture) -> list[list[int]]:
    """Outlines in tenths of a pixel of the picture: the first corner, then steps from corner to corner."""
    points = np.rint(picture.of_input(rings.points) * 10).astype(np.int64)
    steps = np.diff(points, axis=0, prepend=np.zeros((1, 2), np.int64))
    firsts = rings.starts[:-1][np.diff(rings.starts) > 0]
    steps[firsts] = points[firsts]
    return [ring.ravel().tolist() for ring in split_rings(steps, rings.starts)]
