"""Tissue with the outline of every cell in the colour of its kind, and below it the score, the legend and a scale bar.

For a pathologist to judge by eye what was counted as what: the tissue is not tinted, nothing is written on it, and the
line of a cell runs along the inner edge of its membrane band, so that the brown of the membrane stays in sight outside
of it. A dot in the middle says that the cell counts as positive.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from pdl1quant import __version__
from pdl1quant.model import Compartment
from pdl1quant.outputs.captions import Caption, LegendEntry, draw_caption
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.outputs.outlines import split_rings, trace_outlines
from pdl1quant.outputs.palette import KINDS, kinds_of
from pdl1quant.outputs.png import encode_png
from pdl1quant.outputs.region_lines import outline_regions, region_legend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from pdl1quant.model import BoolArray, Compartments, Float64Array, Int32Array, UInt8Array
    from pdl1quant.outputs.outlines import Outlines
    from pdl1quant.outputs.regions import OutlinedRegion

Polylines: TypeAlias = list[NDArray[np.int32]]

MAX_SIDE_PX = 4096
"""Longer side of the picture; larger images are shrunk to it."""

_WANTED_MPP = 0.25  # coarser images are enlarged by whole factors until they have it: a cell is 40 to 80 pixels across,
_ENLARGED_SIDE_PX = 2048  # ... and its outline thin against it; but not to more than this,
_LEAST_SIDE_PX = 500  # ... and small images at least to about this
_MAX_ENLARGEMENT = 4
_MPP_SLACK = 0.1  # scanners say 0.2525 and mean 0.25
_SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 pixel
_NUCLEUS_OPACITY = 0.4
_CASING_OPACITY = 0.15
_DASH_PX = 5.0
_DOT_UM = 1.25
_LEAST_DOT_PX = 3
_DOT_RIM_RGB = (255, 255, 255)
_LINES_OF_PX = 1000
"""Width of the picture from which lines of regions grow with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rings:
    """Smoothed outlines in pixels of the picture: (n, 2) points x, y, where each ring starts; and as they are drawn."""

    labels: Int32Array
    points: Float64Array
    starts: NDArray[np.int64]
    lines: Polylines


def draw_overlay(
    rgb: UInt8Array,
    compartments: Compartments,
    cells: pd.DataFrame,
    *,
    caption: Caption,
    mpp: float,
    compartment: Compartment = Compartment.CYTOPLASM,
    regions: Sequence[OutlinedRegion] = (),
) -> UInt8Array:
    """Draw the cells over the tissue, with a caption below.

    Cells that have no row in the table are not drawn. Cells that leave the score are drawn dashed.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8 tissue; not changed.
    compartments
        Label images of the same field, at the same or another resolution.
    cells
        Cells table; its ``label`` is that of ``compartments``.
    caption
        What is to be said below the picture.
    mpp
        um per pixel of ``rgb``: for the scale bar, and how far the picture is enlarged.
    compartment
        The scored one (``Score.score_compartment``): positive tumour cells are those that the score counts.
    regions
        What was drawn, in pixels of ``rgb`` from its corner; outlined without their names.

    Returns
    -------
    ndarray of uint8
        (height, width, 3): the tissue enlarged by a whole factor when small, shrunk to `MAX_SIDE_PX` when large, and
        the caption below it.
    """
    picture = _resized(rgb, mpp=mpp)
    height, width = picture.shape[:2]
    kinds = kinds_of(cells, compartment)
    if compartments.cell.size and len(cells):
        scale = width / rgb.shape[1]
        thickness = 2 if scale > 3 else 1
        labels = cells["label"].to_numpy(np.int32)
        if scale >= 1:  # in a shrunk picture they would run into the cells
            nuclei = _rings(compartments.nucleus, width=width, height=height, inset_px=0.0)
            _draw_nuclei(picture, nuclei, _kind_by_ring(nuclei, labels, kinds))
        inside = np.where(compartments.membrane > 0, np.int32(0), compartments.cell)
        outlines = _rings(inside, width=width, height=height, inset_px=0.5 * thickness)
        _draw_cells(picture, outlines, _kind_by_ring(outlines, labels, kinds), thickness=thickness, is_cased=scale >= 2)
        _draw_dots(picture, (cells[["x_px", "y_px"]].to_numpy() + 0.5) * scale - 0.5, kinds, um_per_px=mpp / scale)
    outline_regions(
        picture, _moved(regions, width / rgb.shape[1], height / rgb.shape[0]), thickness=max(1, width / _LINES_OF_PX)
    )
    counts = np.bincount(kinds, minlength=len(KINDS)).tolist()
    legend = [
        LegendEntry(name=kind.name, rgb=kind.rgb, has_dot=kind.has_dot, is_dashed=kind.is_dashed, n_cells=count)
        for kind, count in zip(KINDS, counts, strict=True)
    ]
    legend += region_legend(each.kind for each in regions)
    below = draw_caption(caption, legend, width=width, um_per_px=mpp * rgb.shape[1] / width)
    return stack_caption(picture, below)


def write_overlay(
    rgb: UInt8Array,
    compartments: Compartments,
    cells: pd.DataFrame,
    path: Path,
    *,
    caption: Caption,
    mpp: float,
    compartment: Compartment = Compartment.CYTOPLASM,
    regions: Sequence[OutlinedRegion] = (),
) -> None:
    """Draw with `draw_overlay` and write a PNG. The same cells give the same bytes.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    picture = draw_overlay(rgb, compartments, cells, caption=caption, mpp=mpp, compartment=compartment, regions=regions)
    content = encode_png(picture, texts={"Software": f"pdl1quant {__version__}"})
    with replace_atomically(path) as partial:
        partial.write_bytes(content)


def _moved(regions: Sequence[OutlinedRegion], scale_x: float, scale_y: float) -> list[OutlinedRegion]:
    return [
        replace(each, geometry=shapely.transform(each.geometry, lambda points: points * (scale_x, scale_y)))
        for each in regions
    ]


def _resized(rgb: UInt8Array, *, mpp: float) -> UInt8Array:
    height, width = rgb.shape[:2]
    longer = max(height, width)
    if longer > MAX_SIDE_PX:
        scale = MAX_SIDE_PX / longer
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    wanted = math.ceil(max(mpp / _WANTED_MPP - _MPP_SLACK, _LEAST_SIDE_PX / longer))
    factor = min(_MAX_ENLARGEMENT, _ENLARGED_SIDE_PX // longer, wanted)
    if factor <= 1:
        return rgb.copy()
    size = (width * factor, height * factor)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def stack_caption(picture: UInt8Array, below: UInt8Array) -> UInt8Array:
    """Caption under the picture; what is narrower is centred on the caption's background."""
    width = max(picture.shape[1], below.shape[1])
    stacked = np.full((picture.shape[0] + below.shape[0], width, 3), 255, np.uint8)
    for part, rows in ((picture, stacked[: picture.shape[0]]), (below, stacked[picture.shape[0] :])):
        left = (width - part.shape[1]) // 2
        rows[:, left : left + part.shape[1]] = part
    return stacked


def _rings(image: Int32Array, *, width: int, height: int, inset_px: float) -> _Rings:
    """Outlines in pixels of the picture, their pixel steps smoothed away, moved inwards so that neighbours show."""
    traced: Outlines = trace_outlines(image)
    points = np.column_stack([traced.x_px, traced.y_px]).astype(np.float64)
    if points.size == 0:
        return _Rings(labels=traced.labels, points=points, starts=traced.starts, lines=[])
    after, before = _neighbours(traced.starts)
    for _ in range(2):  # twice the middles of the sides: a staircase becomes a slope
        points = (points + points.take(after, axis=0)) / 2
    points *= (width / image.shape[1], height / image.shape[0])
    along = points.take(after, axis=0) - points.take(before, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    inwards = np.column_stack([-along[:, 1], along[:, 0]])  # clockwise on the screen: the inside is to the right
    points = points + inset_px * inwards - 0.5
    lines = split_rings(_fixed_point(points), traced.starts)
    return _Rings(labels=traced.labels, points=points, starts=traced.starts, lines=lines)


def _neighbours(starts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index of the next and of the previous point in each point's ring."""
    after = np.arange(1, starts[-1] + 1)
    before = np.arange(-1, starts[-1] - 1)
    after[starts[1:] - 1] = starts[:-1]
    before[starts[:-1]] = starts[1:] - 1
    return after, before


def _kind_by_ring(rings: _Rings, labels: Int32Array, kinds: Int32Array) -> Int32Array:
    """Kind of each ring, -1 for labels without a row."""
    by_label = np.full(int(max(rings.labels.max(initial=0), labels.max(initial=0))) + 1, -1, np.int32)
    by_label[labels] = kinds
    return by_label[rings.labels]


def _draw_nuclei(picture: UInt8Array, rings: _Rings, kinds: Int32Array) -> None:
    drawn = picture.copy()
    for index, kind in enumerate(KINDS):
        _polylines(drawn, _pieces(rings, kinds == index), rgb=kind.rgb, thickness=1)
    cv2.addWeighted(drawn, _NUCLEUS_OPACITY, picture, 1 - _NUCLEUS_OPACITY, 0, dst=picture)


def _draw_cells(picture: UInt8Array, rings: _Rings, kinds: Int32Array, *, thickness: int, is_cased: bool) -> None:
    if is_cased:  # a dark rim lifts bright lines off pale tissue; between small cells it hides the tissue
        solid = np.array([not kind.is_dashed for kind in KINDS])
        cased = picture.copy()
        _polylines(cased, _pieces(rings, (kinds >= 0) & solid[kinds]), rgb=(0, 0, 0), thickness=thickness + 2)
        cv2.addWeighted(cased, _CASING_OPACITY, picture, 1 - _CASING_OPACITY, 0, dst=picture)
    for index, kind in enumerate(KINDS):
        chosen = kinds == index
        pieces = _dashes(rings, chosen, _DASH_PX * thickness) if kind.is_dashed else _pieces(rings, chosen)
        _polylines(picture, pieces, rgb=kind.rgb, thickness=thickness, is_closed=not kind.is_dashed)


def _draw_dots(picture: UInt8Array, centres: Float64Array, kinds: Int32Array, *, um_per_px: float) -> None:
    """Mark the cells of kinds with a dot at their (n, 2) centres x, y."""
    size = max(_LEAST_DOT_PX, round(_DOT_UM / um_per_px))
    points = np.repeat(_fixed_point(centres)[:, None], 2, axis=1)  # a line without length is drawn as a disc
    dotted = np.array([kind.has_dot for kind in KINDS])[kinds]
    _polylines(picture, list(points[dotted]), rgb=_DOT_RIM_RGB, thickness=size + 2, is_closed=False)
    for index, kind in enumerate(KINDS):
        if kind.has_dot:
            _polylines(picture, list(points[kinds == index]), rgb=kind.rgb, thickness=size, is_closed=False)


def _pieces(rings: _Rings, chosen: BoolArray) -> Polylines:
    return list(itertools.compress(rings.lines, chosen.tolist()))


def _dashes(rings: _Rings, chosen: BoolArray, dash_px: float) -> Polylines:
    """Every other piece of ``dash_px`` along the chosen rings."""
    lengths = np.diff(rings.starts)
    is_chosen = np.repeat(chosen, lengths)
    if not is_chosen.any():
        return []
    after, _ = _neighbours(rings.starts)
    start, end = rings.points[is_chosen], rings.points[after[is_chosen]]
    steps = np.ceil(np.hypot(*(end - start).T)).astype(np.int64) + 1
    side = np.repeat(np.arange(steps.size), steps)
    part = (np.arange(side.size) - np.repeat(np.cumsum(steps) - steps, steps)) / steps[side]
    points = start[side] + part[:, None] * (end[side] - start[side])
    dash = np.floor(np.cumsum(np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T)) / dash_px).astype(np.int64)
    ring = np.repeat(np.repeat(np.arange(lengths.size), lengths)[is_chosen], steps)
    cuts = np.flatnonzero((np.diff(dash) != 0) | (np.diff(ring) != 0)) + 1
    pieces = split_rings(_fixed_point(points), np.concatenate([[0], cuts, [len(points)]]))
    is_drawn = (dash[np.append(0, cuts)] % 2 > 0).tolist()
    return list(itertools.compress(pieces, is_drawn))


def _fixed_point(points: Float64Array) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _polylines(
    picture: UInt8Array, pieces: Polylines, *, rgb: tuple[int, int, int], thickness: int, is_closed: bool = True
) -> None:
    if pieces:
        cv2.polylines(picture, pieces, is_closed, rgb, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
