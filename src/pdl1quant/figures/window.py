"""The square of an image that a figure shows: where, its pixels, its cells and their outlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.errors import UsageError
from pdl1quant.model import CellClass, Rect
from pdl1quant.outputs.palette import counts_as_positive, is_left_out
from pdl1quant.outputs.written_outlines import read_outlines
from pdl1quant.slides.opening import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from pdl1quant.model import Compartment, Slide, UInt8Array
    from pdl1quant.outputs.written_outlines import Geometries

_STEPS = 4
"""Squares are tried at every quarter of their side."""
_WANTED_PX = 1024
"""Of slides finer than that for the square, a coarser level is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A square of tissue: ``rgb`` (H, W, 3) uint8, the cells whose nucleus lies in it, and their outlines.

    ``rect`` is where it lies, in pixels of the image, whose sides are ``mpp_x`` and ``mpp_y`` um; outlines are in the
    same pixels, counted from the corner.
    """

    rgb: UInt8Array
    rect: Rect
    mpp_x: float
    mpp_y: float
    cells: pd.DataFrame
    outlines: Geometries

    @property
    def stretch(self) -> float:
        """How many times as high as wide a pixel of the image is."""
        return self.mpp_y / self.mpp_x


def open_window(
    image: Path,
    cells: pd.DataFrame,
    *,
    out: Path,
    stem: str,
    image_id: str,
    compartment: Compartment,
    side_um: float,
    at_px: tuple[float, float] | None = None,
    mpp: float | None = None,
) -> Window:
    """Read a square of an image with its cells.

    Parameters
    ----------
    image
        Its file.
    cells
        The cells table of the image.
    out, stem
        Folder of the run, and the place of the image's results in it.
    image_id
        Hash of the image, which its outlines were written with.
    compartment
        The scored one.
    side_um
        Side of the square; images smaller than that are shown whole.
    at_px
        Middle of the square in pixels of the image; None: `busiest_place`.
    mpp
        Pixel size that overrides the file's own.

    Raises
    ------
    UsageError
        ``at_px`` lies outside the image.
    InputError
        The image cannot be read.
    OutputError
        The outlines are missing, or of other cells.
    """
    with open_slide(image, mpp=mpp) as slide:
        if at_px is not None and not (0 <= at_px[0] < slide.width and 0 <= at_px[1] < slide.height):
            size = f"{slide.width} x {slide.height} px"
            raise UsageError(f"{image.name}: {at_px[0]:g} {at_px[1]:g} lies outside its {size}; give a place inside")
        side = side_um / slide.mpp_x, side_um / slide.mpp_y
        middle = at_px or busiest_place(cells, side, compartment=compartment)
        rect = _square(slide, middle, side)
        finest = min(slide.mpp_x, slide.mpp_y)
        grid = slide.grid(mpp=max(finest, side_um / _WANTED_PX))
        at = grid.covering(rect)
        at = Rect(x0=at.x0, y0=at.y0, x1=min(at.x1, grid.width), y1=min(at.y1, grid.height))
        rgb = slide.read(at, grid).rgb
        rect = grid.to_level0(at)
        sides_um = {"mpp_x": slide.mpp_x, "mpp_y": slide.mpp_y}
    x, y = cells["x_px"].to_numpy() + 0.5, cells["y_px"].to_numpy() + 0.5
    rows = np.flatnonzero((x >= rect.x0) & (x < rect.x1) & (y >= rect.y0) & (y < rect.y1))
    inside = cells.iloc[rows]
    outlines, _ = read_outlines(out, stem, rows, labels=inside["label"].to_numpy(np.int32), image_id=image_id)
    return Window(rgb=rgb, rect=rect, **sides_um, cells=inside, outlines=outlines)


def busiest_place(
    cells: pd.DataFrame, side_px: tuple[float, float], *, compartment: Compartment
) -> tuple[float, float]:
    """Middle (x, y in pixels) of the square with most tumour cells of the kind that is rarer in it.

    Positive beside negative ones show how a case was read. Where no square has both, the one with most tumour cells;
    without tumour cells the one with most cells; of equal ones the first from the top, then from the left. Cells that
    leave the score do not count. Without cells: the first corner.
    """
    counted = cells[~is_left_out(cells)]
    if counted.empty:
        return 0.0, 0.0
    is_tumour = (counted["cell_class"] == CellClass.TUMOUR).to_numpy(bool)
    positive = counts_as_positive(counted, compartment)
    step = np.array([side_px[1], side_px[0]]) / _STEPS
    bins = np.floor_divide(counted[["y_px", "x_px"]].to_numpy() + 0.5, step).astype(np.int64)
    shape = tuple(bins.max(axis=0) + 1)
    kinds = (is_tumour & positive, is_tumour & ~positive, np.ones(len(counted), bool))
    n_positive, n_negative, n_all = (_sums(bins[kind], shape) for kind in kinds)
    n_tumour = n_positive + n_negative
    order = np.lexsort((n_all.ravel(), n_tumour.ravel(), np.minimum(n_positive, n_negative).ravel()))
    keys = np.stack([np.minimum(n_positive, n_negative), n_tumour, n_all]).reshape(3, -1)
    best = np.flatnonzero((keys == keys[:, order[-1:]]).all(axis=0))[0]
    row, column = np.unravel_index(best, n_all.shape)
    return float((column + _STEPS / 2) * step[1]), float((row + _STEPS / 2) * step[0])


def _sums(bins: Any, shape: tuple[int, ...]) -> Any:
    """How many points lie in each square of `_STEPS` x `_STEPS` bins, by its first bin."""
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, tuple(bins.T), 1)
    total = np.pad(counts, ((1, _STEPS - 1), (1, _STEPS - 1))).cumsum(axis=0).cumsum(axis=1)
    return total[_STEPS:, _STEPS:] - total[:-_STEPS, _STEPS:] - total[_STEPS:, :-_STEPS] + total[:-_STEPS, :-_STEPS]


def _square(slide: Slide, middle: tuple[float, float], side: tuple[float, float]) -> Rect:
    """The square around a place, moved into the image; cut where the image is smaller."""
    ends = []
    for centre, length, size in zip(middle, side, (slide.width, slide.height), strict=True):
        first = round(min(max(centre - length / 2, 0), max(size - length, 0)))
        ends.append((first, min(size, max(first + 1, round(first + length)))))
    (x0, x1), (y0, y1) = ends
    return Rect(x0=x0, y0=y0, x1=x1, y1=y1)
