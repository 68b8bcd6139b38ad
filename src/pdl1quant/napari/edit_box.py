"""Buttons for what the keys do, and the legend of the colours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPainter, QPixmap
from qtpy.QtWidgets import QComboBox, QGridLayout, QGroupBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from pdl1quant.model import CellClass
from pdl1quant.napari.hands import key_actions
from pdl1quant.napari.layers import DOTTED
from pdl1quant.outputs.palette import KINDS
from pdl1quant.review import RoiRule, cell_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdl1quant.napari.desk import Desk

_SWATCH_PX = 14
_SHORT = {"Control-Z": "Ctrl-Z", "Control-Shift-Z": "Ctrl-Shift-Z", "Delete": "Del", "Escape": "Esc"}


class EditBox(QGroupBox):
    """What is selected, and what can be done to it."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Click; Shift-click more; Shift-drag around many")
        self._desk = desk
        self.selected = QLabel("nothing is selected")
        self.selected.setWordWrap(True)
        self.selected.setMinimumHeight(48)
        self.selected.setAlignment(Qt.AlignTop)
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout()
        for place, (key, (words, call)) in enumerate(key_actions(desk).items()):
            button = QPushButton(f"{words} [{_SHORT.get(key, key)}]")
            button.setFocusPolicy(Qt.NoFocus)
            button.clicked.connect(_without_state(call))
            self.buttons[key] = button
            grid.addWidget(button, place // 3, place % 3)
        self.added = QComboBox()
        self.added.addItems([str(each) for each in CellClass])
        self.added.currentTextChanged.connect(self._class_chosen)
        self.added.activated.connect(lambda _: self.added.clearFocus())  # else the next key chooses another class
        added = QHBoxLayout()
        added.addWidget(QLabel("Added cells are"))
        added.addWidget(self.added)
        column = QVBoxLayout(self)
        column.addWidget(self.selected)
        column.addLayout(grid)
        column.addLayout(added)
        column.addLayout(self._region_row())
        desk.selected.connect(self.show_selected)
        desk.edited.connect(self.show_selected)
        desk.opened.connect(self.show_selected)

    def _region_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        actions: list[tuple[str, Callable[[], object]]] = [("Draw region", self._desk.draw_region)]
        actions += [(str(rule).capitalize(), partial(self._desk.mark_regions, rule)) for rule in RoiRule]
        for words, call in actions:
            button = QPushButton(words)
            button.setFocusPolicy(Qt.NoFocus)
            button.clicked.connect(_without_state(call))
            self.buttons[words] = button
            row.addWidget(button)
        return row

    def _class_chosen(self, name: str) -> None:
        self._desk.added_class = CellClass(name)

    def show_selected(self) -> None:
        """Say what is selected."""
        review, rows = self._desk.review, self._desk.selection
        if review is None or not rows.size:
            self.selected.setText("nothing is selected")
        elif rows.size == 1:
            self.selected.setText(cell_text(review, int(rows[0])))
        else:
            self.selected.setText(f"{rows.size:,} cells are selected")


class LegendBox(QGroupBox):
    """The colours of the outlines, those of the pictures and exports."""

    def __init__(self) -> None:
        super().__init__("Cells")
        grid = QGridLayout(self)
        for number, kind in enumerate(KINDS):
            swatch = QLabel()
            swatch.setPixmap(_swatch(kind.rgb, has_dot=number in DOTTED))
            row, column = number % 6, 2 * (number // 6)
            grid.addWidget(swatch, row, column)
            grid.addWidget(QLabel(kind.name), row, column + 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)


def _without_state(call: Callable[[], object]) -> Callable[[bool], None]:
    """Qt tells a slot whether the button is checked."""

    def clicked(_: bool) -> None:
        call()

    return clicked


def _swatch(rgb: tuple[int, int, int], *, has_dot: bool) -> QPixmap:
    """A frame of a colour on white, as an outline is on glass; with the dot that the picture has."""
    picture = QPixmap(_SWATCH_PX, _SWATCH_PX)
    picture.fill(QColor(*rgb))
    painter = QPainter(picture)
    painter.fillRect(3, 3, _SWATCH_PX - 6, _SWATCH_PX - 6, QColor("white"))
    if has_dot:
        painter.fillRect(6, 6, _SWATCH_PX - 12, _SWATCH_PX - 12, QColor(*rgb))
    painter.end()
    return picture
