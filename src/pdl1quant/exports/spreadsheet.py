"""The cells of an image as CSV, for spreadsheets and R."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pdl1quant.exports.source import Source, flag_names
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.outputs.scores_table import safe_text

if TYPE_CHECKING:
    from pathlib import Path

_ROWS_AT_A_TIME = 50_000
_NAMED = {"flags": "flag_names", "reviewed_flags": "reviewed_flag_names"}
"""Columns of flags -> the columns that say them in words."""


def write_cells_csv(source: Source, path: Path) -> None:
    r"""Write one row per cell: image, case, then the columns of the cells table, flags in words beside them.

    UTF-8, lines end with ``\n``, decimal points, ``true`` and ``false``; an undefined or infinite value is an empty
    cell. A text that a spreadsheet would run as a formula gets a leading apostrophe; numbers are left as they are.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    cells, image = source.cells, source.image
    head = {"image": safe_text(image.name), "case": safe_text(image.case)}
    with replace_atomically(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        for start in range(0, max(len(cells), 1), _ROWS_AT_A_TIME):
            part = _as_text(cells.iloc[start : start + _ROWS_AT_A_TIME])
            part.insert(0, "case", head["case"])
            part.insert(0, "image", head["image"])
            part.to_csv(file, index=False, header=start == 0, lineterminator="\n")


def _as_text(cells: pd.DataFrame) -> pd.DataFrame:
    columns = {}
    for name, values in cells.items():
        match values.dtype.kind:
            case "b":
                columns[str(name)] = values.map({True: "true", False: "false"})
            case "f":
                columns[str(name)] = values.where(np.isfinite(values))
            case _:
                columns[str(name)] = values
        if name in _NAMED:
            columns[_NAMED[str(name)]] = flag_names(values)
    return pd.DataFrame(columns)
