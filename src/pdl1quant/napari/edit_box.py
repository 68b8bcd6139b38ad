"""Buttons for what the keys do, and the legend of the colours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPainter, QPixmap
from qtpy.QtWidgets import QComboBox, QGridLayout, QGroupBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from pdl1quant.model import CellClass
from pdl1quant.napari.hands import key_actions
from pdl1quant.napari.layers import DOTTED, NOT_TAKEN_RGB, RULE_RGB
from pdl1quant.outputs.overview import MIN_CELLS, STEPS
from pdl1quant.outputs.palette import KINDS
from pdl1quant.outputs.regions import STYLES
from pdl1quant.review import RoiRule, cell_text
from pdl1quant.whole_slides.scoring import HEAT_UM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    """What colours mean, two columns of them.

    Parameters
    ----------
    title
        What it is that has these colours.
    entries
        Name and colour of each, and whether it has a dot.
    """

    def __init__(self, title: str, entries: Sequence[tuple[str, QColor, bool]]) -> None:
        super().__init__(title)
        grid = QGridLayout(self)
        n_rows = -(-len(entries) // 2)
        for number, (name, colour, has_dot) in enumerate(entries):
            swatch = QLabel()
            swatch.setPixmap(_swatch(colour, has_dot=has_dot))
            row, column = number % n_rows, 2 * (number // n_rows)
            grid.addWidget(swatch, row, column)
            grid.addWidget(QLabel(name), row, column + 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)


def legends() -> list[LegendBox]:
    """Those of all layers that speak in colours, which are the colours of the pictures and exports."""
    cells = [(kind.name, QColor(*kind.rgb), number in DOTTED) for number, kind in enumerate(KINDS)]
    heat = [(name.removeprefix("TPS "), QColor(*rgb), False) for _, name, rgb in STEPS]
    drawn = [(style.name, QColor(*style.rgb), False) for style in STYLES.values()]
    rules = [(str(rule).capitalize(), QColor(RULE_RGB[rule]), False) for rule in RoiRule]
    rules += [("Not taken: counts for nothing", QColor(NOT_TAKEN_RGB), False)]
    return [
        LegendBox("Cells", cells),
        LegendBox(f"Heat map: TPS of squares of {HEAT_UM:g} um, {MIN_CELLS} tumour cells or more", heat),
        LegendBox("Drawn for the run", drawn),
        LegendBox("Regions of the review", rules),
    ]


def _without_state(call: Callable[[], object]) -> Callable[[bool], None]:
    """Qt tells a slot whether the button is checked."""

    def clicked(_: bool) -> None:
        call()

    return clicked


def _swatch(colour: QColor, *, has_dot: bool) -> QPixmap:
    """A frame of a colour on white, as an outline is on glass; with the dot that the picture has."""
    picture = QPixmap(_SWATCH_PX, _SWATCH_PX)
    picture.fill(colour)
    painter = QPainter(picture)
    painter.fillRect(3, 3, _SWATCH_PX - 6, _SWATCH_PX - 6, QColor("white"))
    if has_dot:
        painter.fillRect(6, 6, _SWATCH_PX - 12, _SWATCH_PX - 12, colour)
    painter.end()
    return picture
