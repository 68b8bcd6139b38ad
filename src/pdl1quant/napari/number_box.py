"""The numbers of an image, automated beside reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QGroupBox, QLabel, QVBoxLayout

from pdl1quant.napari.desk import HIDDEN
from pdl1quant.review import compare, flags_text

if TYPE_CHECKING:
    from pdl1quant.napari.desk import Desk


class NumberBox(QGroupBox):
    """A table that follows the desk."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Score of the image")
        self._desk = desk
        self._grid = QGridLayout()
        self._cells: dict[tuple[int, int], QLabel] = {}
        self._notes = QLabel()
        self._notes.setWordWrap(True)
        column = QVBoxLayout(self)
        column.addLayout(self._grid)
        column.addWidget(self._notes)
        desk.opened.connect(self.show_numbers)
        desk.edited.connect(self.show_numbers)

    def show_numbers(self) -> None:
        """Write down what the score is now."""
        review = self._desk.review
        rows = [("", "automated", "reviewed")]
        if review is not None and not self._desk.is_blind:
            rows += [(each.name, each.automated, each.reviewed) for each in compare(review)]
        for row in range(max(len(rows), 1 + max((at for at, _ in self._cells), default=0))):
            for column in range(3):
                self._write(row, column, rows[row][column] if row < len(rows) else "")
        notes = "" if review is None else flags_text(review)
        self._notes.setText(HIDDEN if self._desk.is_blind else notes)

    def text(self, row: int, column: int) -> str:
        """What stands in the table."""
        return self._cells[row, column].text() if (row, column) in self._cells else ""

    def _write(self, row: int, column: int, text: str) -> None:
        if (row, column) not in self._cells:
            self._cells[row, column] = QLabel()
            self._grid.addWidget(self._cells[row, column], row, column)
        label = self._cells[row, column]
        if label.text() != text:
            label.setText(text)
        if column == 2:
            label.setStyleSheet("font-weight: bold")
