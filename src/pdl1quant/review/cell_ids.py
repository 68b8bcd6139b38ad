"""Ids of the cells of one image, those of the run and those that edits made, and the rows that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.outputs.geojson import cell_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import Int32Array, IntpArray


class CellIds:
    """Names the rows of the run by their label, then those of the made cells by what the ledger calls them.

    Parameters
    ----------
    image_id
        Hash of the image.
    labels
        (n,) of the cells of the run.
    """

    def __init__(self, image_id: str, labels: Int32Array) -> None:
        self._image_id, self._labels = image_id, labels
        self._row_of: dict[str, int] = {}
        self._knows_all = False
        self.made: list[str] = []
        """Of the rows behind those of the run."""

    def append(self, ids: Sequence[str]) -> None:
        """Add made cells."""
        first = len(self._labels) + len(self.made)
        self._row_of.update((name, row) for row, name in enumerate(ids, start=first))
        self.made += ids

    def of(self, rows: IntpArray) -> tuple[str, ...]:
        """Ids of rows."""
        n_automated, chosen = len(self._labels), np.asarray(rows).tolist()
        names = tuple(
            cell_id(self._image_id, int(self._labels[row])) if row < n_automated else self.made[row - n_automated]
            for row in chosen
        )
        self._row_of.update(zip(names, chosen, strict=True))
        return names

    def rows(self, ids: Sequence[str]) -> IntpArray:
        """Rows of cells by id; -1 for those that are not of this image."""
        # A cell that was clicked on has been named already; the ids of a million others would cost seconds.
        if not self._knows_all and any(name not in self._row_of for name in ids):
            self.of(np.arange(len(self._labels)))
            self._knows_all = True
        return np.array([self._row_of.get(name, -1) for name in ids], dtype=np.intp)
