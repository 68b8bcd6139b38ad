"""Outlines of many cells in flat arrays, read from ``geojson/`` without looking at one cell after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from pdl1quant.errors import OutputError
from pdl1quant.kernels.rings import BROKEN, TOO_MANY_CORNERS, read_rings
from pdl1quant.outputs.files import SUFFIXES
from pdl1quant.outputs.written_outlines import UNPACKING_FAILURES, open_outlines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.model import Float64Array, IntpArray, UInt8Array

_MARK = np.frombuffer(b'"geometry":{"type":"Polygon","coordinates":[', np.uint8)
_HEAD_BYTES = 4096
"""The first feature begins within these."""
_CORNERS_A_CELL = 64
"""Room at first; doubled until all fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """One ring a cell: corners from ``starts[i]`` to ``starts[i + 1]``, in input pixels from the corner of the first.

    A cell without a known outline has no corner.
    """

    x_px: Float64Array
    y_px: Float64Array
    starts: IntpArray

    @property
    def boxes_px(self) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
        """Lowest x, lowest y, highest x, highest y of each; NaN without corners."""
        n = len(self.starts) - 1
        is_known = np.diff(self.starts) > 0
        box = np.full((4, n), np.nan)
        if is_known.any():
            at = self.starts[:-1][is_known]
            for row, (of, values) in enumerate(
                ((np.minimum, self.x_px), (np.minimum, self.y_px), (np.maximum, self.x_px), (np.maximum, self.y_px))
            ):
                box[row, is_known] = of.reduceat(values, at)
        return box[0], box[1], box[2], box[3]

    def polygon(self, row: int) -> shapely.Polygon | None:
        """The outline of one cell, in input pixels from the corner of the first."""
        part = slice(self.starts[row], self.starts[row + 1])
        if part.stop - part.start < 3:
            return None
        return shapely.Polygon(np.column_stack([self.x_px[part], self.y_px[part]]))

    def with_polygons(self, polygons: Sequence[shapely.Polygon | None]) -> Outlines:
        """These, and behind them the outer rings of others."""
        rings = [np.zeros((0, 2)) if each is None else shapely.get_coordinates(each.exterior)[:-1] for each in polygons]
        ends = self.starts[-1] + np.cumsum([len(ring) for ring in rings], dtype=np.intp)
        points = np.concatenate([np.zeros((0, 2)), *rings])
        return Outlines(
            x_px=np.concatenate([self.x_px, points[:, 0]]),
            y_px=np.concatenate([self.y_px, points[:, 1]]),
            starts=np.concatenate([self.starts, ends]).astype(np.intp),
        )


def no_outlines(n: int) -> Outlines:
    """For ``n`` cells of which only the place is known."""
    return Outlines(x_px=np.zeros(0), y_px=np.zeros(0), starts=np.zeros(n + 1, np.intp))


def read_outlines(path: Path, *, first_id: str, n: int) -> Outlines:
    """Read the outlines of a run's cells, in the order of its cells table.

    Parameters
    ----------
    path
        A file that `outputs.geojson` wrote: a feature a line.
    first_id
        Id of the first cell of the table; another one in the file means another run.
    n
        Number of cells of the table.

    Raises
    ------
    OutputError
        The file is damaged, or of other cells.
    """
    if n == 0:
        return no_outlines(0)
    try:
        data = _bytes_of(path)
    except UNPACKING_FAILURES as error:
        raise OutputError(f"{path}: no readable outlines ({error}); score the image again") from error
    if f'"id":"{first_id}"'.encode() not in data[:_HEAD_BYTES].tobytes():
        raise OutputError(f"{path}: holds the outlines of other cells than the cells table; score the image again")
    starts = np.zeros(n + 1, np.intp)
    capacity = n * _CORNERS_A_CELL
    while True:
        points = np.empty((capacity, 2))
        found = read_rings(data, _MARK, points, starts)
        if found != TOO_MANY_CORNERS:
            break
        capacity *= 2
    if found != n:
        what = "is cut off or damaged" if found == BROKEN else f"holds {found} outlines for {n} cells"
        raise OutputError(f"{path}: {what}; score the image again")
    points = points[: starts[-1]]
    return Outlines(x_px=points[:, 0].copy(), y_px=points[:, 1].copy(), starts=starts)


def _bytes_of(path: Path) -> UInt8Array:
    """A file that is not packed is not read into memory, but looked at."""
    if path.suffix == SUFFIXES["geojson"]:
        return np.memmap(path, dtype=np.uint8, mode="r")
    with open_outlines(path) as file:
        return np.frombuffer(file.read(), np.uint8)
