"""A cells table that stays in its file: read a part at a time, or the rows that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pdl1quant.outputs.tables import as_pandas, open_table, said_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from pdl1quant.model import IntpArray

PART_ROWS = 1 << 16
"""Cells that are in memory at a time: 10 MB of all columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellsFile:
    """A cells table in its file; row group ``k`` is the rows from ``starts[k]`` up to the next start.

    ``said`` is what the file says of itself.
    """

    path: Path
    starts: tuple[int, ...]
    said: Mapping[str, str]

    @property
    def n_cells(self) -> int:
        """Rows of the table."""
        return self.starts[-1]

    def parts(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Some columns of all rows, in order, part by part; no part for a table without rows.

        Raises
        ------
        OutputError
            The file is damaged, or not there any more.
        """
        with open_table(self.path) as file:
            for batch in file.iter_batches(batch_size=PART_ROWS, columns=list(columns), use_threads=False):
                yield as_pandas(pa.Table.from_batches([batch]))

    def rows(self, wanted: IntpArray) -> pd.DataFrame:
        """All columns of some rows, ascending; the index counts from 0 on.

        Raises
        ------
        OutputError
            The file is damaged, or not there any more.
        """
        with open_table(self.path) as file:
            found = [file.schema_arrow.empty_table()]
            for group, (start, end) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
                mine = wanted[(wanted >= start) & (wanted < end)]
                if mine.size:
                    found.append(file.read_row_group(group, use_threads=False).take(pa.array(mine - start)))
        return as_pandas(pa.concat_tables(found))


def open_cells(path: Path) -> CellsFile:
    """The cells table of a file that `write_cells` or `cells_writer` wrote.

    Raises
    ------
    OutputError
        As `read_cells`.
    """
    with open_table(path) as file:
        lengths = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        said = said_of(file.schema_arrow)
    return CellsFile(path=path, starts=(0, *np.cumsum(lengths, dtype=np.intp).tolist()), said=said)
