"""What an exporter is given: one image of a run with its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.model import Flag

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from pdl1quant.review import ImageResult, Results


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One image of a run: ``cells`` have ``CELL_COLUMNS`` and, if a review is asked for, its columns after them.

    ``sides_um`` are ``mpp_x`` and ``mpp_y``. ``images`` is the folder that the image moved to; None: where the run read
    it.
    """

    results: Results
    image: ImageResult
    cells: pd.DataFrame
    mpp: float
    sides_um: Mapping[str, float]
    images: Path | None = None


def flag_names(flags: pd.Series) -> pd.Series:
    """The words for flags (n,) int: ``touches_edge;saturated``; nothing for a cell without a doubt."""
    known = {
        value: ";".join(str(flag.name).lower() for flag in Flag if flag and value & flag)
        for value in flags.unique().tolist()
    }
    return flags.map(known)
