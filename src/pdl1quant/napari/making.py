"""Cells that the run did not see so, made in a viewer: added, merged, split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import CellClass
from pdl1quant.review import EditKind, excluding_text, joined_cell, split_cells
from pdl1quant.views import added_cell, measured_cell

if TYPE_CHECKING:
    from pdl1quant.model import Float64Array
    from pdl1quant.napari.desk import Desk


class Making:
    """Makes cells of the open image of a desk, measured where they lie; each is an edit."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._split_at: list[Float64Array] = []

    def forget(self) -> None:
        """Forget the first click of a split: another cell is selected, or clicks do something else."""
        self._split_at = []

    def add(self, x_px: float, y_px: float) -> None:
        """Add a cell of the chosen class at a place, measured there."""
        desk = self._desk
        if desk.scene is None:
            return
        with desk.telling():
            made = added_cell(desk.scene, x_px, y_px, cell_class=desk.added_class)
            if not desk.edit(EditKind.ADD, made=[made]):
                return
            self._select_last(1)  # so that it is seen what it counts as, and the next key is about it
            if why := excluding_text(desk.scene.review, -1):
                desk.said.emit(f"added, and left out of the score as the run leaves out such cells: {why}")
            elif not made.measurements:
                desk.said.emit("added as negative: it is not measured, the image is not at hand; P makes it positive")

    def merge(self) -> None:
        """Make one of the selected cells."""
        desk = self._desk
        if desk.scene is None:
            return
        with desk.telling():
            parents = desk.scene.review.state.taken(desk.selection)
            joined = joined_cell(parents, [desk.scene.cells.outline(row) for row in desk.selection.tolist()])
            nucleus_um2 = float(parents["nucleus_area_um2"].sum())
            made = measured_cell(desk.scene, joined, nucleus_um2=nucleus_um2, of_nucleus=False)
            if desk.edit(EditKind.MERGE, cells=desk.scene.review.ids(desk.selection), made=[made]):
                self._select_last(1)

    def split(self, at: Float64Array) -> None:
        """Take a click (x, y in input pixels) into one part of the selected cell; the second splits it."""
        desk = self._desk
        if desk.scene is None:
            return
        if desk.selection.size != 1:
            desk.said.emit("select the one cell that is to be split first")
            return
        self._split_at.append(at)
        if len(self._split_at) < 2:
            desk.said.emit("now click into the other part")
            return
        points, self._split_at = np.array(self._split_at), []
        row, review = int(desk.selection[0]), desk.scene.review
        with desk.telling():
            cell_class = CellClass(review.state.now(desk.selection)["cell_class"].iloc[0])
            outline = desk.scene.cells.outline(row)
            halves = split_cells(outline, points, cell_class=cell_class, sides_um=review.sides_um)
            nucleus_um2 = float(review.state.measured(desk.selection)["nucleus_area_um2"].sum()) / 2
            made = [measured_cell(desk.scene, each, nucleus_um2=nucleus_um2, of_nucleus=False) for each in halves]
            if desk.edit(EditKind.SPLIT, cells=review.ids(desk.selection), made=made):
                self._select_last(2)
                desk.set_mode("select")

    def _select_last(self, n: int) -> None:
        assert self._desk.scene is not None
        end = len(self._desk.scene.review.state)
        self._desk.select(np.arange(end - n, end))
