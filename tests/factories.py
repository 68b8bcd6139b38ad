"""Cells tables for tests: valid by construction, each column to be overridden by a value or an array."""

import numpy as np
import pandas as pd

from pdl1quant.config import PositivityConfig
from pdl1quant.model import CELL_COLUMNS, CellClass, Compartment, Flag
from pdl1quant.stages.score import positive_at

_DEFAULTS = {
    "cell_class": "tumour",
    "nucleus_area_um2": 60.0,
    "cell_area_um2": 150.0,
    "cytoplasm_area_um2": 60.0,
    "membrane_area_um2": 30.0,
    "nucleus_length_um": 9.5,
    "nucleus_width_um": 8.0,
    "nucleus_regularity": 0.95,
    "nucleus_haematoxylin_od_mean": 0.4,
    "nucleus_haematoxylin_od_sd": 0.08,
    "nucleus_sharpness_od": 0.1,
    "neighbour_distance_um": 12.0,
    "neighbours_25um": 6,
}
_PITCH_PX = 24.0


def make_cells(n, **columns):
    """A cells table of ``n`` rows with all ``CELL_COLUMNS`` in order and of the right dtype.

    Not given: viable, unstained tumour cells on a square grid. Scalars are repeated. The positive columns are *not*
    derived from the optical densities; see `make_scored_cells`.
    """
    unknown = set(columns) - {column.name for column in CELL_COLUMNS}
    assert not unknown, f"no such columns: {sorted(unknown)}"
    side = max(int(np.ceil(np.sqrt(n))), 1)
    places = {
        "label": np.arange(1, n + 1),
        "x_px": _PITCH_PX * (np.arange(n) % side),
        "y_px": _PITCH_PX * (np.arange(n) // side),
    }
    given = {**_DEFAULTS, **places, **columns}
    table = {}
    for name, dtype, *_ in CELL_COLUMNS:
        value = given.get(name, 0)
        values = np.full(n, value, dtype=object) if np.ndim(value) == 0 else np.asarray(value)
        if dtype == "category":
            classes = [each.value for each in CellClass]
            assert set(values) <= set(classes), f"no such class among {set(values)}"
            table[name] = pd.Categorical([str(each) for each in values], categories=classes)
        else:
            table[name] = values.astype(dtype)
    return pd.DataFrame(table)


def make_scored_cells(n, *, config=None, compartment=Compartment.CYTOPLASM, **columns):
    """Like `make_cells`, with the positive columns and ``dab_grade`` as the rule gives them for the ODs."""
    config = config or PositivityConfig()
    cells = make_cells(n, **columns)
    at_t1 = positive_at(cells, config.dab_od, config)
    thresholds = (config.dab_od, config.grade_2_od, config.grade_3_od)
    grades = sum(positive_at(cells, each, config).within(compartment).astype("int8") for each in thresholds)
    return cells.assign(
        membrane_positive=at_t1.membrane,
        cytoplasm_positive=at_t1.cytoplasm,
        cell_positive=at_t1.cell,
        positive=at_t1.within(Compartment.CYTOPLASM),
        dab_grade=grades.astype("int8"),
    )


def random_cells(seed, n, side_px=4000.0):
    """A table of all classes, flags and optical densities at random places, scored by the rule."""
    rng = np.random.default_rng(seed)
    usual = [0, 0, 0, Flag.SATURATED, Flag.PIGMENT, Flag.TOUCHES_EDGE | Flag.SATURATED, Flag.OUTSIDE_ROI, Flag.PYKNOTIC]
    return make_scored_cells(
        n,
        x_px=rng.uniform(0, side_px, n),
        y_px=rng.uniform(0, side_px, n),
        cell_class=rng.choice([each.value for each in CellClass], n, p=[0.6, 0.15, 0.1, 0.1, 0.05]),
        flags=rng.choice([int(flag) for flag in usual], n),
        membrane_dab_od_run=rng.uniform(0, 0.8, n),
        cytoplasm_dab_od_mean=rng.uniform(0, 0.6, n),
        cell_dab_od_mean=rng.uniform(0, 0.6, n),
        cell_area_um2=rng.uniform(40, 300, n),
    )
