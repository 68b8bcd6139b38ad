"""What is said of a case: an own score, given blind if wanted; signed, locked, amended."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
)

from pdl1quant.errors import OutputError, Pdl1QuantError
from pdl1quant.review import EditKind, Review, case_text, has_own_score, open_case, review_case, say_of_case

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.napari.desk import Desk

NO_SCORE_PCT = -1.0
"""Shown as nothing: neither 0 % nor the score of the last image is entered by a slip."""
MANY_IMAGES = 20
"""Cases of more are counted when asked for: each of their images has to be read."""
AFTER_MS = 200
"""The case follows when the reviewer pauses."""


class CaseBox(QGroupBox):
    """Own score, signature, lock; each a line in the ledger of each image of the case."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("Case")
        self._desk = desk
        self._reviews: tuple[Review, ...] = ()
        self._seen: set[Path] = set()
        """Results whose cells or numbers were shown, or the score of whose case was, by their place."""
        self.blind = QCheckBox("Read blind: hide each image's result until I scored it")
        self.blind.toggled.connect(self._blind_toggled)
        self.own = QDoubleSpinBox()
        self.own.setRange(NO_SCORE_PCT, 100)
        self.own.setDecimals(1)
        self.own.setSuffix(" %")
        self.own.setSpecialValueText(" ")
        self.own.setValue(NO_SCORE_PCT)
        self.own.setToolTip("TPS by eye, 0 to 100 %")
        self.own.lineEdit().textEdited.connect(self._own_typed)
        self.enter = QPushButton("Enter my TPS")
        self.enter.clicked.connect(self.enter_own_score)
        self.sign, self.lock, self.amend = (QPushButton(words) for words in ("Sign", "Lock", "Amend"))
        self.count = QPushButton("Count")
        self.reason = QLineEdit()
        self.reason.setPlaceholderText("reason to amend a locked case")
        self.standing = QLabel()
        self.standing.setWordWrap(True)
        for button, kind in ((self.sign, EditKind.SIGN), (self.lock, EditKind.LOCK), (self.amend, EditKind.AMEND)):
            button.clicked.connect(lambda _=False, kind=kind: self.say(kind))
        self.count.clicked.connect(self.show_case)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(AFTER_MS)
        self._later.timeout.connect(self._show_if_few)
        self._lay_out()
        desk.opened.connect(self._opened)
        desk.edited.connect(self._later.start)

    def _lay_out(self) -> None:
        own, acts = QHBoxLayout(), QHBoxLayout()
        own.addWidget(self.own)
        own.addWidget(self.enter)
        for button in (self.sign, self.lock, self.amend, self.count):
            acts.addWidget(button)
        column = QVBoxLayout(self)
        column.addWidget(self.blind)
        column.addLayout(own)
        column.addWidget(self.standing)
        column.addLayout(acts)
        column.addWidget(self.reason)

    def _opened(self) -> None:
        self._reviews = ()
        self.own.setValue(NO_SCORE_PCT)
        self._note_seen()
        self.standing.setText("")
        if self._desk.scene is not None:
            self._later.start()

    def _blind_toggled(self, is_blind: bool) -> None:
        self._desk.reads_blind = is_blind
        self._desk.set_blind(is_blind=is_blind)
        self._note_seen()

    def _own_typed(self, text: str) -> None:
        """What is rubbed out is no score; Qt would bring back the last one."""
        if not text.removesuffix(self.own.suffix()).strip():
            self.own.setValue(NO_SCORE_PCT)

    def _note_seen(self) -> None:
        if self._desk.review is not None and not self._desk.is_blind:
            self._seen.add(_place(self._desk.review))

    def enter_own_score(self) -> None:
        """Write the reader's score; blind if the machine's, of image or case, was never shown in this window."""
        desk = self._desk
        if desk.review is None:
            return
        if self.own.value() < 0:
            desk.said.emit("enter your TPS first, 0 to 100 %")
            return
        is_blind = desk.is_blind and _place(desk.review) not in self._seen
        try:
            desk.review.edit(
                EditKind.OWN_SCORE, reviewer=desk.reviewer, to={"tps": self.own.value(), "blind": is_blind}
            )
        except Pdl1QuantError as error:
            desk.said.emit(str(error))
            desk.refresh()
            return
        self.own.setValue(NO_SCORE_PCT)
        self.own.clearFocus()  # else the next key is a digit of it
        if desk.is_blind:
            desk.set_blind(is_blind=False)
            self._note_seen()
        desk.said.emit("")
        desk.refresh()

    def say(self, kind: EditKind) -> None:
        """Sign, lock or amend the case."""
        desk = self._desk
        if not self._open_reviews():
            return
        try:
            say_of_case(self._reviews, kind, reviewer=desk.reviewer, reason=self.reason.text())
        except Pdl1QuantError as error:
            desk.said.emit(str(error))
            desk.refresh()  # what others did meanwhile has been taken in
            return
        self.reason.clear()
        desk.said.emit("")
        desk.refresh()
        self.show_case()

    def show_case(self) -> None:
        """Count the case and say how it stands."""
        desk = self._desk
        if desk.review is None or desk.results is None or desk.is_blind or not self._open_reviews():
            self.standing.setText("")
            return
        for each in self._reviews:
            if each is not desk.review:  # that one is shown, and follows when its cells do
                with suppress(OutputError):  # of results that can only be read the last look has to do
                    each.look_again()
        name = desk.review.image.case
        if desk.reads_blind and not all(has_own_score(each, desk.reviewer) for each in self._reviews):
            self.standing.setText("the score of the case is hidden until you scored each of its images")
            return
        try:
            case = review_case(self._reviews, desk.results.case_row(name))
        except Pdl1QuantError as error:
            desk.said.emit(str(error))
            return
        self._seen.update(map(_place, self._reviews))
        own = [f"Own score of {each}" for each in case.own_scores]
        self.standing.setText("\n".join([f"{name or desk.results.out.name}: {case_text(case)}", *own]))

    def _show_if_few(self) -> None:
        desk = self._desk
        if desk.review is not None and desk.results is not None:
            is_few = len(desk.results.of_case(desk.review.image.case)) <= MANY_IMAGES
            if is_few or self._reviews:
                self.show_case()

    def _open_reviews(self) -> bool:
        desk = self._desk
        if desk.review is None or desk.results is None:
            return False
        if not self._reviews:
            try:
                self._reviews = open_case(desk.results, desk.review.image.case, opened=[desk.review])
            except Pdl1QuantError as error:
                desk.said.emit(str(error))
                return False
        return True


def _place(review: Review) -> Path:
    return review.results.out / review.image.stem
