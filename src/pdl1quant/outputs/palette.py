"""The colour and the name of each kind of cell, the same in pictures and exports.

The colours stand out from brown DAB, blue haematoxylin and white glass, and from each other for readers who see few
or no differences between red and green (after Okabe & Ito 2008; lightness differs as well as hue).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import EXCLUDING_FLAGS, CellClass, Compartment

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.model import BoolArray, Int32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one kind of cell is named and drawn; ``rgb`` is 0-255."""

    name: str
    rgb: tuple[int, int, int]
    is_dashed: bool = False


KINDS: tuple[Kind, ...] = (
    Kind(name="Tumour, negative", rgb=(0, 114, 255)),
    Kind(name="Tumour, grade 1", rgb=(255, 225, 0)),
    Kind(name="Tumour, grade 2", rgb=(255, 145, 20)),
    Kind(name="Tumour, grade 3", rgb=(255, 0, 144)),
    Kind(name="Lymphocyte", rgb=(0, 180, 105)),
    Kind(name="Macrophage", rgb=(0, 215, 215)),
    Kind(name="Stroma", rgb=(95, 95, 110)),
    Kind(name="Other", rgb=(185, 185, 185)),
    Kind(name="Left out", rgb=(20, 20, 20), is_dashed=True),
)
"""Kinds of cells that a picture tells apart, in the order of its legend."""

_KIND_OF_CLASS = {
    CellClass.TUMOUR: 0,
    CellClass.LYMPHOCYTE: 4,
    CellClass.MACROPHAGE: 5,
    CellClass.STROMA: 6,
    CellClass.OTHER: 7,
}
_LEFT_OUT = 8

_CLASS_RGB = {
    ("tumour", "Positive"): (214, 39, 40),
    ("tumour", "Negative"): (0, 114, 255),
    ("lymphocyte", "Positive"): (160, 200, 60),
    ("lymphocyte", "Negative"): (0, 150, 90),
    ("macrophage", "Positive"): (230, 160, 0),
    ("macrophage", "Negative"): (0, 200, 200),
}
_PLAIN_RGB = (150, 150, 150)


def kinds_of(cells: pd.DataFrame, compartment: Compartment = Compartment.CYTOPLASM) -> Int32Array:
    """Index into `KINDS` of each row; tumour cells positive in the scored compartment go by grade, at least 1."""
    classes = cells["cell_class"].astype(str)
    kinds = classes.map({str(name): index for name, index in _KIND_OF_CLASS.items()}).to_numpy(np.int32)
    grade = np.clip(cells["dab_grade"].to_numpy(np.int32), 1, 3)
    kinds = np.where((kinds == 0) & counts_as_positive(cells, compartment), grade, kinds)
    return np.where(is_left_out(cells), np.int32(_LEFT_OUT), kinds).astype(np.int32)


def counts_as_positive(cells: pd.DataFrame, compartment: Compartment) -> BoolArray:
    """Whether each row is positive: tumour cells in the scored compartment, all others in membrane or cytoplasm."""
    either = cells["positive"].to_numpy(bool)
    membrane = cells["membrane_positive"].to_numpy(bool)
    scored = {
        Compartment.MEMBRANE: membrane,
        Compartment.CYTOPLASM: either,
        Compartment.CYTOPLASM_ONLY: cells["cytoplasm_positive"].to_numpy(bool) & ~membrane,
        Compartment.CELL: cells["cell_positive"].to_numpy(bool),
    }[compartment]
    return np.where((cells["cell_class"] == CellClass.TUMOUR).to_numpy(bool), scored, either)


def is_left_out(cells: pd.DataFrame) -> BoolArray:
    """Whether each row leaves the score (``EXCLUDING_FLAGS``)."""
    return np.asarray((cells["flags"].to_numpy(np.int32) & int(EXCLUDING_FLAGS)) != 0)


def classification(cell_class: str, outcome: str) -> dict[str, object]:
    """QuPath's classification: ``Tumour: Positive`` with its colour; ``outcome`` Positive, Negative or Excluded."""
    rgb = _CLASS_RGB.get((cell_class, outcome), _PLAIN_RGB)
    return {"name": f"{cell_class.capitalize()}: {outcome}", "color": list(rgb)}
