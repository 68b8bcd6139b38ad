"""A whole slide at a glance: the outline of its tissue, the TPS of each square of it in colour, a caption below."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import shapely

from pdl1quant import __version__
from pdl1quant.model import ArtefactKind
from pdl1quant.outputs.artefacts import ARTEFACT_RGB
from pdl1quant.outputs.captions import LegendEntry, draw_caption, draw_names
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.outputs.overlays import stack_caption
from pdl1quant.outputs.png import encode_png
from pdl1quant.outputs.region_lines import outline_regions, region_legend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pdl1quant.model import ArtefactMap, BoolArray, Compartment, Counts, UInt8Array
    from pdl1quant.outputs.captions import Caption
    from pdl1quant.outputs.regions import OutlinedRegion

MAX_SIDE_PX = 2048
"""Longer side of the picture."""
MIN_CELLS = 20
"""Fewer viable tumour cells in a square say nothing: it stays without colour."""
STEPS: tuple[tuple[float, str, tuple[int, int, int]], ...] = (
    (1.0, "TPS < 1 %", (10, 70, 245)),
    (10.0, "1-10 %", (75, 210, 245)),
    (50.0, "10-50 %", (247, 225, 58)),
    (float("inf"), "50 % and more", (254, 68, 18)),
)
"""Upper end (per cent), name and colour of each step; the ends are the reference lines of the default rules."""
OPACITY = 0.45
OUTLINE_RGB = (20, 20, 20)


def draw_overview(
    rgb: UInt8Array,
    tissue: BoolArray,
    squares: Mapping[tuple[int, int], Counts],
    *,
    caption: Caption,
    mpp: float,
    square_um: float,
    compartment: Compartment,
    scored: Any,
    artefacts: ArtefactMap | None = None,
    regions: Sequence[OutlinedRegion] = (),
) -> UInt8Array:
    """Draw a slide at low resolution.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8 overview; not changed.
    tissue
        Mask over the same field, of any size.
    squares
        Counts by row and column of squares of ``square_um``, from the corner of the slide.
    caption
        What is to be said below.
    mpp
        um per pixel of ``rgb``.
    square_um
        Side of the squares, um.
    compartment
        Whose positives are counted.
    scored
        What is not left out by drawn regions: a (multi-)polygon in pixels of ``rgb`` from its corner.
    artefacts
        What spoils each place, if anybody looked.
    regions
        What was drawn, and cores, as ``scored``; outlined with their names.
    """
    scale = min(1.0, MAX_SIDE_PX / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    picture = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    tinted, n_squares = picture.copy(), [0] * len(STEPS)
    side = square_um / mpp * scale
    mask = np.asarray(cv2.resize(tissue.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST), np.uint8)
    coloured = (mask > 0) & _inside(scored, size, scale=scale)
    if artefacts is not None:
        for kind in ArtefactKind:
            coloured &= _mask_of(artefacts, kind, size) == 0
    for (row, column), counts in sorted(squares.items()):
        step = step_of(counts, compartment)
        if step is None:
            continue
        n_squares[step] += 1
        place = np.s_[
            max(0, round(row * side)) : round((row + 1) * side),
            max(0, round(column * side)) : round((column + 1) * side),
        ]
        tinted[place][coloured[place]] = STEPS[step][2]
    picture = np.asarray(cv2.addWeighted(tinted, OPACITY, picture, 1 - OPACITY, 0), np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, outlines, -1, OUTLINE_RGB, 1, cv2.LINE_AA)
    unit = f"squares of {square_um:g} um"
    legend = [
        LegendEntry(name=f"TPS {name.removeprefix('TPS ')}", rgb=colour, n_cells=n, unit=unit)
        for (_, name, colour), n in zip(STEPS, n_squares, strict=True)
    ]
    if artefacts is not None:
        legend += _draw_artefacts(picture, artefacts)
    legend += region_legend(each.kind for each in regions)
    moved = [replace(each, geometry=shapely.transform(each.geometry, lambda at: at * scale)) for each in regions]
    picture = draw_names(picture, outline_regions(picture, moved))
    below = draw_caption(caption, legend, width=size[0], um_per_px=mpp * rgb.shape[1] / size[0])
    return stack_caption(picture, below)


def _inside(region: Any, size: tuple[int, int], *, scale: float) -> BoolArray:
    """(H, W) bool of ``size`` (columns, rows): where a (multi-)polygon lies."""
    rings = shapely.get_rings(shapely.get_parts(region))
    corners = [np.rint(shapely.get_coordinates(ring) * scale).astype(np.int32) for ring in rings]
    filled = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(filled, corners, 1)  # even-odd over all rings: the parts do not overlap
    return filled > 0


def step_of(counts: Counts, compartment: Compartment) -> int | None:
    """Index into `STEPS` of the TPS of a square; None where it holds fewer than `MIN_CELLS` viable tumour cells."""
    if counts.n_tumour < MIN_CELLS:
        return None
    tps = 100 * getattr(counts.positive, compartment) / counts.n_tumour
    return next(number for number, (end, _, _) in enumerate(STEPS) if tps < end)


def _draw_artefacts(picture: UInt8Array, found: ArtefactMap) -> list[LegendEntry]:
    """Outline each kind in its colour; their legend counts the pieces."""
    entries = []
    for kind in ArtefactKind:
        mask = _mask_of(found, kind, (picture.shape[1], picture.shape[0]))
        pieces, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(picture, pieces, -1, ARTEFACT_RGB[kind], 2, cv2.LINE_AA)
        entries.append(LegendEntry(name=f"Left out: {kind}", rgb=ARTEFACT_RGB[kind], n_cells=len(pieces)))
    return entries


def _mask_of(found: ArtefactMap, kind: ArtefactKind, size: tuple[int, int]) -> UInt8Array:
    """Where one kind lies: 0 or 1, of ``size`` (columns, rows)."""
    to_picture = np.array([[size[0] / found.columns, 0, 0], [0, size[1] / found.rows, 0]])
    mask = cv2.warpAffine(found.mask(kind).view(np.uint8), to_picture, size, flags=cv2.INTER_NEAREST)
    return np.asarray(mask, np.uint8)


def write_overview(
    rgb: UInt8Array,
    tissue: BoolArray,
    squares: Mapping[tuple[int, int], Counts],
    path: Path,
    *,
    caption: Caption,
    mpp: float,
    square_um: float,
    compartment: Compartment,
    scored: Any,
    artefacts: ArtefactMap | None = None,
    regions: Sequence[OutlinedRegion] = (),
) -> None:
    """Draw with `draw_overview` and write a PNG.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    picture = draw_overview(
        rgb, tissue, squares,
        caption=caption, mpp=mpp, square_um=square_um, compartment=compartment, scored=scored, artefacts=artefacts,
        regions=regions,
    )  # fmt: skip
    with replace_atomically(path) as partial:
        partial.write_bytes(encode_png(picture, texts={"Software": f"pdl1quant {__version__}"}))
