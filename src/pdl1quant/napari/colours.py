"""The colours of the pictures and exports (`outputs.palette`, `outputs.overview`) as napari takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import Colormap, CyclicLabelColormap

from pdl1quant.outputs.overview import STEPS
from pdl1quant.outputs.palette import KINDS
from pdl1quant.outputs.regions import STYLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdl1quant.model import Float32Array

_CLEAR = (0, 0, 0, 0)
TISSUE_RGB = (0, 170, 200)
ARTEFACT_RGB = (40, 40, 40)
_WHITE = (1.0, 1.0, 1.0)


def kind_colours() -> Float32Array:
    """(n, 4) RGBA, 0-1, of `KINDS`."""
    return np.array([(*kind.rgb, 255) for kind in KINDS], np.float32) / np.float32(255)


def cell_colours() -> CyclicLabelColormap:
    """For labels as `CellView` gives them: the colour goes by the kind."""
    return _labels(KINDS[number].rgb for number in range(len(KINDS)))


def heat_colours() -> CyclicLabelColormap:
    """For the steps of a heat map."""
    return _labels(rgb for _, _, rgb in STEPS)


def tissue_colours() -> CyclicLabelColormap:
    """For a mask."""
    return _labels([TISSUE_RGB])


def artefact_colours() -> CyclicLabelColormap:
    """For what is spoilt."""
    return _labels([ARTEFACT_RGB])


def region_colours() -> CyclicLabelColormap:
    """For labels as `RegionView` gives them: the colour goes by the kind."""
    return _labels(style.rgb for style in STYLES.values())


def stain_colours(name: str, rgb: tuple[float, float, float]) -> Colormap:
    """From white, no stain, to the colour of much of it (``rgb``, 0-1)."""
    return Colormap([_WHITE, rgb], name=name)


def _labels(colours: Iterable[tuple[int, int, int]]) -> CyclicLabelColormap:
    rows = [_CLEAR, *((*rgb, 255) for rgb in colours)]
    return CyclicLabelColormap(colors=np.array(rows, np.float32) / 255)
