"""Artefacts of a whole slide: read once in strips of 2 um per pixel, judged together on maps of 8 um."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant.model import ArtefactMap, Rect
from pdl1quant.stages import artefacts, stains
from pdl1quant.stages.artefacts import DETAIL_MPP, MARGIN_PX, STEP_PX, Detail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdl1quant.config import Config
    from pdl1quant.model import BoolArray, Float32Array, Slide, SlideGrid, StainEstimate, UInt8Array

STRIP_PX = 1024
"""Height of a strip, in pixels of 2 um: a whole row of a large slide is some 40 MB."""
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
    maps = {field.name: np.zeros(shape, np.float32) for field in fields(Detail)}
    strip = STRIP_PX // STEP_PX
    for top in range(0, shape[0], strip):
        columns = np.flatnonzero(found[top : top + strip].any(axis=0))
        if columns.size:
            places = Rect(x0=int(columns[0]), y0=top, x1=int(columns[-1]) + 1, y1=min(top + strip, shape[0]))
            _fill(maps, slide, grid, places, estimate=estimate)
    numbers = artefacts.find_artefacts(
        Detail(**maps),
        black_residual_od=stains.pigment_residual_od(estimate, config.artefacts.black_od),
        config=config.artefacts,
    )
    return ArtefactMap(numbers=numbers, columns=grid.width / STEP_PX, rows=grid.height / STEP_PX), found


def _fill(
    maps: Mapping[str, Float32Array], slide: Slide, grid: SlideGrid, places: Rect, *, estimate: StainEstimate
) -> None:
    """The maps of a rectangle of places."""
    margin = MARGIN_PX // STEP_PX
    x0, y0 = max(0, places.x0 - margin), max(0, places.y0 - margin)
    rect = Rect(
        x0=x0 * STEP_PX,
        y0=y0 * STEP_PX,
        x1=min((places.x1 + margin) * STEP_PX, grid.width),
        y1=min((places.y1 + margin) * STEP_PX, grid.height),
    )
    rgb = slide.read(rect, grid).rgb
    detail = artefacts.measure_detail(rgb, stains.deconvolve(rgb, estimate), white=estimate.white)
    rows, columns = slice(places.y0 - y0, places.y1 - y0), slice(places.x0 - x0, places.x1 - x0)
    for name, image in maps.items():
        image[places.y0 : places.y1, places.x0 : places.x1] = getattr(detail, name)[rows, columns]


def find_ink(rgb: UInt8Array, shape: tuple[int, int], *, estimate: StainEstimate, config: Config) -> BoolArray:
    """Pen on an overview of about 8 um per pixel, and its soft edge, as a mask of ``shape``: no stain lies there."""
    if not config.artefacts.find:
        return np.zeros(shape, bool)
    ink = artefacts.find_pen(
        artefacts.plain_detail(rgb, stains.deconvolve(rgb, estimate), white=estimate.white),
        black_residual_od=stains.pigment_residual_od(estimate, config.artefacts.black_od),
        config=config.artefacts,
    )
    grown = cv2.dilate(ink.view(np.uint8), np.ones((2 * INK_EDGE_PX + 1,) * 2, np.uint8))
    return np.asarray(cv2.resize(grown, shape[::-1], interpolation=cv2.INTER_NEAREST) > 0)
