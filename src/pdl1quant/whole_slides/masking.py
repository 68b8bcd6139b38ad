"""Artefacts of a whole slide: read once in strips of 2 um per pixel, judged together on maps of 8 um."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from pdl1quant.model import ArtefactMap, Rect
from pdl1quant.stages import artefacts, stains
from pdl1quant.stages.artefacts import DETAIL_MPP, MARGIN_PX, STEP_PX, Detail
from pdl1quant.whole_slides.reading import read_mended

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import BoolArray, Slide, SlideGrid, StainEstimate, UInt8Array

STRIP_PX = 1024
"""Height of a strip, in pixels of 2 um."""
PIECE_PX = 2048
"""Width of what is read of a strip at a time, in pixels of 2 um; a multiple of the 16 that OpenCV computes at once."""
AROUND_PLACES = 192
"""So much farther than the tissue nothing that is looked for depends on it, in places: surroundings are smoothed over
120, and what is closed or grown reaches 30 beyond them."""
INK_EDGE_PX = 3
"""So far the edge of a stroke is soft, in pixels of the overview."""


def mask_artefacts(
    slide: Slide, tissue: BoolArray, *, estimate: StainEstimate, config: Config
) -> tuple[ArtefactMap, BoolArray]:
    """What spoils each place of a slide.

    Parameters
    ----------
    slide
        Read where there is tissue, or what looks like it at low resolution, as ink does.
    tissue
        Mask over the slide, of any size.
    estimate, config
        Staining of the case, and settings.

    Returns
    -------
    artefacts
        One kind or none for each place of 8 um.
    tissue
        The mask at their size.
    """
    grid = slide.grid(DETAIL_MPP)
    shape = -(-grid.height // STEP_PX), -(-grid.width // STEP_PX)
    found = cv2.resize(tissue.view(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    strips = list(_strips(found))
    numbers = np.zeros(shape, np.uint8)
    if strips:
        box = _around(strips, shape)
        detail = _detail(slide, grid, strips, box, estimate=estimate)
        black = stains.pigment_residual_od(estimate, config.artefacts.black_od)
        box.of(numbers)[...] = artefacts.find_artefacts(detail, black_residual_od=black, config=config.artefacts)
    return ArtefactMap(numbers=numbers, columns=grid.width / STEP_PX, rows=grid.height / STEP_PX), found


def _strips(found: BoolArray) -> Iterator[Rect]:
    """The places that are looked at, strip by strip."""
    strip = STRIP_PX // STEP_PX
    for top in range(0, len(found), strip):
        columns = np.flatnonzero(found[top : top + strip].any(axis=0))
        if columns.size:
            yield Rect(x0=int(columns[0]), y0=top, x1=int(columns[-1]) + 1, y1=min(top + strip, len(found)))


def _around(strips: Sequence[Rect], shape: tuple[int, int]) -> Rect:
    """The box of all strips, with so much glass around it that what is found in them is that of the whole slide."""
    return Rect(
        x0=max(0, min(each.x0 for each in strips) - AROUND_PLACES),
        y0=max(0, strips[0].y0 - AROUND_PLACES),
        x1=min(shape[1], max(each.x1 for each in strips) + AROUND_PLACES),
        y1=min(shape[0], strips[-1].y1 + AROUND_PLACES),
    )


def _detail(slide: Slide, grid: SlideGrid, strips: Sequence[Rect], box: Rect, *, estimate: StainEstimate) -> Detail:
    """The maps of a box of places: those of the strips, piece by piece, and nothing around them."""
    kinds = {field.name: bool if field.name == "inked" else np.float32 for field in fields(Detail)}
    maps: dict[str, Any] = {name: np.zeros((box.height, box.width), kind) for name, kind in kinds.items()}
    piece = PIECE_PX // STEP_PX
    for strip in strips:
        for left in range(strip.x0, strip.x1, piece):
            places = replace(strip, x0=left, x1=min(left + piece, strip.x1))
            found = _piece(slide, grid, places, estimate=estimate)
            for name, image in maps.items():
                places.moved(-box.x0, -box.y0).of(image)[...] = getattr(found, name)
    return Detail(**maps)


def _piece(slide: Slide, grid: SlideGrid, places: Rect, *, estimate: StainEstimate) -> Detail:
    """The maps of a rectangle of places."""
    margin = MARGIN_PX // STEP_PX
    x0, y0 = max(0, places.x0 - margin), max(0, places.y0 - margin)
    rect = Rect(
        x0=x0 * STEP_PX,
        y0=y0 * STEP_PX,
        x1=min((places.x1 + margin) * STEP_PX, grid.width),
        y1=min((places.y1 + margin) * STEP_PX, grid.height),
    )
    rgb = read_mended(slide, rect, grid).rgb
    detail = artefacts.measure_detail(rgb, stains.deconvolve(rgb, estimate), white=estimate.white)
    inside = places.moved(-x0, -y0)
    return Detail(**{field.name: inside.of(getattr(detail, field.name)) for field in fields(Detail)})


def find_ink(rgb: UInt8Array, shape: tuple[int, int], *, estimate: StainEstimate, config: Config) -> BoolArray:
    """Pen on an overview of about 8 um per pixel, and its soft edge, as a mask of ``shape``: no stain lies there."""
    if not config.artefacts.find:
        return np.zeros(shape, bool)
    black_od = stains.pigment_residual_od(estimate, config.artefacts.black_od)
    black, inked = np.empty(rgb.shape[:2], bool), np.empty(rgb.shape[:2], bool)
    for top in range(0, len(rgb), STRIP_PX // STEP_PX):
        rows = slice(top, top + STRIP_PX // STEP_PX)
        black[rows], inked[rows] = artefacts.ink_colours(
            stains.deconvolve(rgb[rows], estimate), black_residual_od=black_od
        )
    ink = artefacts.find_pen(black, inked, config=config.artefacts)
    grown = cv2.dilate(ink.view(np.uint8), np.ones((2 * INK_EDGE_PX + 1,) * 2, np.uint8))
    return np.asarray(cv2.resize(grown, shape[::-1], interpolation=cv2.INTER_NEAREST) > 0)
