"""Cores of a microarray as regions of its slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import shapely

from pdl1quant.errors import RefusedError
from pdl1quant.model import ArtefactKind
from pdl1quant.slides.roi import Roi, RoiKind
from pdl1quant.stages import tma

if TYPE_CHECKING:
    from pdl1quant.config import Config
    from pdl1quant.model import ArtefactMap, BoolArray, Slide

SIDES = 16
"""Sides of a quarter of the polygon that stands for a circle."""


def array_cores(slide: Slide, tissue: BoolArray, artefacts: ArtefactMap | None, *, config: Config) -> tuple[Roi, ...]:
    """The cores of a microarray as regions to include, in level-0 pixels, named by row and column.

    Parameters
    ----------
    slide
        Its size and pixel size are read.
    tissue
        Mask of the whole slide.
    artefacts
        Ink, which is no core, is taken from the tissue.
    config
        Settings.

    Raises
    ------
    RefusedError
        There are no cores.
    """
    if artefacts is not None:
        pen = artefacts.mask(ArtefactKind.PEN).view(np.uint8)
        tissue = tissue & (cv2.resize(pen, tissue.shape[::-1], interpolation=cv2.INTER_NEAREST) == 0)
    width_um, height_um = slide.width * slide.mpp_x, slide.height * slide.mpp_y
    cores = tma.find_cores(tissue, width_um=width_um, height_um=height_um, config=config.tma)
    if not cores:
        raise RefusedError("no cores of a microarray found; leave out --tma, or pass --set tma.core_um=DIAMETER")
    return tuple(
        Roi(kind=RoiKind.INCLUDE, name="core", title=core.name, geometry=_circle(core, slide), is_core=True)
        for core in cores
    )


def _circle(core: tma.Core, slide: Slide) -> shapely.Polygon:
    """An ellipse where the pixels are not square; what reaches beyond the slide is cut off."""
    circle = shapely.Point(core.x_um, core.y_um).buffer(core.radius_um, quad_segs=SIDES)
    level0 = shapely.transform(circle, lambda points: points / (slide.mpp_x, slide.mpp_y))
    return shapely.intersection(level0, shapely.box(0, 0, slide.width, slide.height))
