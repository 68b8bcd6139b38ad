"""Pictures, cells and squares -> what the viewer in the page reads: plain lists for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.outputs.flag_words import CELL_FLAG_TEXTS
from pdl1quant.outputs.overview import MIN_CELLS, STEPS
from pdl1quant.outputs.palette import KINDS, kinds_of
from pdl1quant.report.outlines import packed
from pdl1quant.report.regions import styles_entry

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.model import Compartment, Float64Array
    from pdl1quant.report.fields import Field
    from pdl1quant.report.outlines import Rings
    from pdl1quant.report.pixels import Picture

_MEASURES: tuple[tuple[str, str], ...] = (
    ("membrane_dab_od_run", "Membrane, best run (OD)"),
    ("membrane_completeness", "Membrane above threshold (share)"),
    ("cytoplasm_dab_od_mean", "Cytoplasm, mean (OD)"),
    ("cell_dab_od_mean", "Whole cell, mean (OD)"),
    ("nucleus_dab_od_mean", "Nucleus, mean DAB (OD)"),
    ("nucleus_haematoxylin_od_mean", "Nucleus, mean haematoxylin (OD)"),
    ("nucleus_area_um2", "Nucleus (µm²)"),
    ("cell_area_um2", "Cell (µm²)"),
)
"""Columns of the cells table that a click shows."""


def viewer_data(pictures: list[dict[str, Any]]) -> dict[str, Any]:
    """What the viewer reads: the pictures, and the words and colours that they share."""
    return {
        "pictures": pictures,
        "kinds": [
            {"name": kind.name, "rgb": list(kind.rgb), "dot": kind.has_dot, "dashed": kind.is_dashed} for kind in KINDS
        ],
        "styles": styles_entry(),
        "heat_cells": MIN_CELLS,
        "steps": [{"name": name, "rgb": list(rgb)} for _, name, rgb in STEPS],
        "measures": [text for _, text in _MEASURES],
        "flags": [[int(flag), text] for flag, text in CELL_FLAG_TEXTS.items()],
    }


def picture_entry(title: str, picture: Picture, *, role: str) -> dict[str, Any]:
    """A picture without its pixels, cells and regions; its place in pixels of the image."""
    return {
        "title": title,
        "role": role,
        "width": picture.width,
        "height": picture.height,
        "mpp": round(picture.mpp, 6),
        "x_px": picture.x_px,
        "y_px": picture.y_px,
        "scale": [picture.scale_x, picture.scale_y],
        "heat": [],
        "heat_um": 0.0,
        "regions": [],
    }


def cells_entry(
    cells: pd.DataFrame, picture: Picture, rings: Rings, unsure: Float64Array, compartment: Compartment
) -> dict[str, Any]:
    """Cells by column, as the viewer reads them; places in pixels of the picture.

    Parameters
    ----------
    cells
        Rows of ``CELL_COLUMNS``, n of them.
    picture
        Where they are shown.
    rings
        Their outlines, a ring per row, in pixels of the input.
    unsure : (n,) float
        Doubt of each, 0-1.
    compartment
        The scored one: what counts as positive.

    Returns
    -------
    dict
        Lists of n entries by name, but for ``classes`` (the names that ``class`` counts in) and ``values`` (a list of n
        for each of the measures that a click shows). What is not known is None.
    """
    classes = cells["cell_class"].cat.categories.tolist()
    codes = cells["cell_class"].cat.codes.to_numpy()
    probabilities = cells[[f"{name}_probability" for name in classes]].to_numpy(np.float64)
    of_class = probabilities[np.arange(len(cells)), np.maximum(codes, 0)]
    positives = sum(
        cells[name].to_numpy(np.int64) << bit
        for bit, name in enumerate(("membrane_positive", "cytoplasm_positive", "cell_positive"))
    )
    x, y = picture.of_input(cells[["x_px", "y_px"]].to_numpy(np.float64) + 0.5).T
    return {
        "label": cells["label"].tolist(),
        "x": _rounded(x, 1),
        "y": _rounded(y, 1),
        "kind": kinds_of(cells, compartment).tolist(),
        "class": codes.tolist(),
        "classes": classes,
        "sure": _rounded(of_class, 2),
        "unsure": _rounded(unsure, 2),
        "positive": np.asarray(positives).tolist(),
        "grade": cells["dab_grade"].tolist(),
        "flags": cells["flags"].tolist(),
        "rings": packed(rings, picture),
        "values": [_rounded(cells[name].to_numpy(np.float64), 3) for name, _ in _MEASURES],
    }


def heat_entry(field: Field, *, scale: tuple[float, float]) -> list[Any]:
    """Place and sides in pixels of a picture of this ``scale`` (x, y), step, TPS, tumour cells."""
    scale_x, scale_y = scale
    return [
        round(field.x_px / scale_x, 1),
        round(field.y_px / scale_y, 1),
        round(field.width_px / scale_x, 1),
        round(field.height_px / scale_y, 1),
        field.step,
        round(field.tps, 1),
        field.n_tumour,
    ]


def _rounded(values: Any, decimals: int) -> list[float | None]:
    """JSON has no NaN: what is not known is null."""
    rounded = np.round(np.asarray(values, np.float64), decimals)
    return [
        value if known else None for value, known in zip(rounded.tolist(), np.isfinite(rounded).tolist(), strict=True)
    ]
