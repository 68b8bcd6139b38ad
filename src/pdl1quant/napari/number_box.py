"""The numbers of an image, or of one of its regions, automated beside reviewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QGridLayout, QGroupBox, QLabel, QVBoxLayout

from pdl1quant.napari.desk import HIDDEN
from pdl1quant.outputs.regions import STYLES
from pdl1quant.review import compare, compare_region, flags_text

if TYPE_CHECKING:
    from pdl1quant.napari.desk import Desk


class NumberBox(QGroupBox):
    """A table that follows the desk."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Score")
        self._desk = desk
        self.of = QComboBox()
        self.of.setToolTip("whose score is shown; or click on a region while the layer Drawn for the run is chosen")
        self.of.activated.connect(self._chosen)
        self._grid = QGridLayout()
        self._cells: dict[tuple[int, int], QLabel] = {}
        self._notes = QLabel()
        self._notes.setWordWrap(True)
        column = QVBoxLayout(self)
        column.addWidget(self.of)
        column.addLayout(self._grid)
        column.addWidget(self._notes)
        desk.opened.connect(self._opened)
        desk.region_chosen.connect(self.show_numbers)
        desk.edited.connect(self.show_numbers)

    def _opened(self) -> None:
        self.of.clear()
        self.of.addItem("the whole image")
        scene = self._desk.scene
        if scene is not None:
            scored = {each.key for each in scene.review.image.regions}
            for number, region in enumerate(scene.regions.regions):
                if (key := scene.regions.key(number)) in scored:
                    self.of.addItem(f"{region.name} ({STYLES[region.kind].name.lower()})", key)
        self.of.setVisible(self.of.count() > 1)
        self.show_numbers()

    def _chosen(self, number: int) -> None:
        self.of.clearFocus()  # else the next key chooses another one
        key = self.of.itemData(number)
        self._desk.choose_region(None if key is None else tuple(key), goes_there=True)

    def show_numbers(self) -> None:
        """Write down what the score is now."""
        review, region = self._desk.review, self._desk.region
        rows = [("", "automated", "reviewed")]
        if review is not None and not self._desk.is_blind:
            told = compare(review) if region is None else compare_region(review, region)
            rows += [(each.name, each.automated, each.reviewed) for each in told]
        keys = [self.of.itemData(number) for number in range(self.of.count())]
        self.of.setCurrentIndex(next((n for n, key in enumerate(keys) if key is not None and tuple(key) == region), 0))
        for row in range(max(len(rows), 1 + max((at for at, _ in self._cells), default=0))):
            for column in range(3):
                self._write(row, column, rows[row][column] if row < len(rows) else "")
        notes = "" if review is None or region is not None else flags_text(review)
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
