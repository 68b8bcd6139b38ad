"""The panel beside the image: open, read blind, correct, compare, sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from pdl1quant.napari.case_box import CaseBox
from pdl1quant.napari.desk import Desk
from pdl1quant.napari.edit_box import EditBox, legends
from pdl1quant.napari.hands import Hands
from pdl1quant.napari.news import News
from pdl1quant.napari.number_box import NumberBox
from pdl1quant.napari.score_box import ScoreBox
from pdl1quant.napari.threshold_box import ThresholdBox

if TYPE_CHECKING:
    import napari


WIDTH_PX = 430


class ReviewWidget(QWidget):
    """Review results in the viewer; all that is counted comes from `pdl1quant.review`."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.desk = Desk(napari_viewer, parent=self)
        self.hands = Hands(self.desk)
        self.reviewer = QLineEdit()
        self.reviewer.setPlaceholderText("your name, as the ledger is to have it")
        self.reviewer.textChanged.connect(self._name_changed)
        self.reviewer.returnPressed.connect(self.reviewer.clearFocus)  # else the next key is a letter of the name
        self.open_button = QPushButton("Open results...")
        self.open_button.clicked.connect(self._ask_folder)
        self.find_button = QPushButton("Find the image...")
        self.find_button.setToolTip("The slide moved: show the folder where it is now. It is known by its hash.")
        self.find_button.clicked.connect(self._ask_image_folder)
        self.find_button.hide()
        self.news_button = QPushButton("Another reviewer changed this image: show it")
        self.news_button.setToolTip("What is shown is older. Your next edit takes it in, too.")
        self.news_button.clicked.connect(lambda _: self.desk.look_again())
        self.news_button.hide()
        self.images = QComboBox()
        self.images.activated.connect(self._image_chosen)
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextSelectableByMouse)
        self.message.setStyleSheet("color: #ffb000")
        self.numbers, self.edits, self.case = NumberBox(self.desk), EditBox(self.desk), CaseBox(self.desk)
        self.threshold, self.score = ThresholdBox(self.desk), ScoreBox(self.desk)
        self._lay_out()
        self.desk.said.connect(self.message.setText)
        self.desk.opened.connect(self._opened)
        self.news = News(self.desk, parent=self)
        self.news.told.connect(self.news_button.setVisible)

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        for each in (self.open_button, self.find_button):
            top.addWidget(each)
        tabs = QTabWidget()
        correct, case = QWidget(), QWidget()
        for page, parts in ((correct, (self.edits, *legends())), (case, (self.case,))):
            column = QVBoxLayout(page)
            for part in parts:
                column.addWidget(part)
            column.addStretch()
        tabs.addTab(correct, "Correct")
        tabs.addTab(case, "Case")
        tabs.addTab(self.threshold, "Threshold")
        tabs.addTab(self.score, "Score")
        self.tabs = tabs
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.addLayout(top)
        for each in (self.news_button, self.images, self.reviewer, self.numbers, self.message, tabs):
            column.addWidget(each)
        column.addStretch()
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        inside.setMinimumWidth(0)
        scroll.setWidget(inside)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(scroll)
        self.setMinimumWidth(WIDTH_PX)

    def open(self, out: Path, *, image: str | None = None, folder: Path | None = None) -> None:
        """Open results; see `Desk.open_folder`."""
        self.desk.open_folder(out, image=image, folder=folder)

    # --- what the user chooses ---
    def _name_changed(self, text: str) -> None:
        self.desk.reviewer = text

    def _ask_folder(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, "Folder of results"):
            self.open(Path(folder))

    def _ask_image_folder(self) -> None:
        desk = self.desk
        if desk.scene is None or desk.results is None:
            return
        if folder := QFileDialog.getExistingDirectory(self, f"Folder of {desk.scene.review.image.name}"):
            desk.open_image(desk.results, desk.scene.review.image, folder=Path(folder))

    def _image_chosen(self, number: int) -> None:
        self.images.clearFocus()  # else the next key chooses another image
        if self.desk.results is not None:
            self.desk.open_image(self.desk.results, self.desk.results.image(self.images.itemData(number)))
            self._name_open_image()

    def _opened(self) -> None:
        desk = self.desk
        self.images.clear()
        self.find_button.setVisible(desk.scene is not None and desk.scene.slide is None)
        if desk.results is None or desk.scene is None:
            return
        for image in desk.results.images:
            if image.has_cells:
                self.images.addItem(image.name, image.stem)
        self._name_open_image()

    def _name_open_image(self) -> None:
        """Say which image is open, also where the one that was chosen could not be opened."""
        if self.desk.review is not None:
            self.images.setCurrentIndex(self.images.findData(self.desk.review.image.stem))

    def closeEvent(self, event: object) -> None:  # noqa: N802  Qt's name
        """Give back mouse, keys and the slide."""
        self.news.let_go()
        self.score.let_go()
        self.hands.let_go()
        self.desk.close()
        super().closeEvent(event)
