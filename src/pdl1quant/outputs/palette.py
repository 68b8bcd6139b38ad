"""The colour and the name of each kind of cell, the same in pictures and exports.

The colours stand out from brown DAB, blue haematoxylin and white glass, and from each other for readers who see few
or no differences between red and green (searched for the largest least difference in CIELAB with normal sight and
under the simulations of Machado, Oliveira & Fernandes 2009). What counts as positive has a dot in its middle as well,
for whoever sees no colour at all.
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
    """How one kind of cell is named and drawn; ``rgb`` is 0-255. Positive kinds have a dot."""

    name: str
    rgb: tuple[int, int, int]
    has_dot: bool = False
    is_dashed: bool = False


KINDS: tuple[Kind, ...] = (
    Kind(name="Tumour, negative", rgb=(10, 70, 245)),
    Kind(name="Tumour, grade 1", rgb=(247, 225, 58), has_dot=True),
    Kind(name="Tumour, grade 2", rgb=(254, 68, 18), has_dot=True),
    Kind(name="Tumour, grade 3", rgb=(200, 15, 180), has_dot=True),
    Kind(name="Lymphocyte, negative", rgb=(15, 225, 140)),
    Kind(name="Lymphocyte, positive", rgb=(15, 225, 140), has_dot=True),
    Kind(name="Macrophage, negative", rgb=(75, 210, 245)),
    Kind(name="Macrophage, positive", rgb=(75, 210, 245), has_dot=True),
    Kind(name="Stroma", rgb=(84, 83, 90)),
    Kind(name="Other", rgb=(154, 151, 153)),
    Kind(name="Left out", rgb=(20, 20, 20), is_dashed=True),
)
"""Kinds of cells that a picture tells apart, in the order of its legend."""

_KIND_OF_CLASS = {
    CellClass.TUMOUR: 0,
    CellClass.LYMPHOCYTE: 4,
    CellClass.MACROPHAGE: 6,
    CellClass.STROMA: 8,
    CellClass.OTHER: 9,
}
_LEFT_OUT = 10

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
    """Index into `KINDS` of each row.

    Tumour cells positive in the scored compartment go by grade, at least 1; lymphocytes and macrophages by positive or
    not, as CPS counts them.
    """
    classes = cells["cell_class"].astype("category").cat
    of_class = np.array([_KIND_OF_CLASS[CellClass(name)] for name in classes.categories], np.int32)
    kinds = of_class[classes.codes.to_numpy()]
    grade = np.clip(cells["dab_grade"].to_numpy(np.int32), 1, 3)
    positive = counts_as_positive(cells, compartment)
    is_immune = np.isin(kinds, (_KIND_OF_CLASS[CellClass.LYMPHOCYTE], _KIND_OF_CLASS[CellClass.MACROPHAGE]))
    kinds = np.where((kinds == 0) & positive, grade, kinds + (is_immune & positive))
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


def outcomes(cells: pd.DataFrame, compartment: Compartment) -> list[str]:
    """The second half of QuPath's class: ``Positive``, ``Negative``, or ``Excluded`` for cells that leave the score."""
    positive = counts_as_positive(cells, compartment)
    names = np.where(is_left_out(cells), "Excluded", np.where(positive, "Positive", "Negative"))
    named: list[str] = names.tolist()
    return named


def classification(cell_class: str, outcome: str) -> dict[str, object]:
    """QuPath's classification: ``Tumour: Positive`` with its colour; ``outcome`` Positive, Negative or Excluded."""
    rgb = _CLASS_RGB.get((cell_class, outcome), _PLAIN_RGB)
    return {"name": f"{cell_class.capitalize()}: {outcome}", "color": list(rgb)}
