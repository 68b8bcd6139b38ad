"""The DAB cut-off, moved to see what hangs on it; accepted for the next run only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, QTimer
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QSizePolicy, QSlider, QVBoxLayout, QWidget

from pdl1quant.errors import Pdl1QuantError
from pdl1quant.review import accept_threshold, reviewed_curve
from pdl1quant.stages.score import format_tps

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.napari.desk import Desk

STEP_OD = 0.01
LOWEST, HIGHEST = 5, 80
"""Ends of the slider, in steps."""
CUT_OFFS = np.arange(LOWEST, HIGHEST + 1) * STEP_OD
AFTER_MS = 60
_AUTOMATED, _REVIEWED, _GUIDE, _RUN = (QColor(each) for each in ("#8899ff", "#ffffff", "#ffb000", "#888888"))


class ThresholdBox(QWidget):
    """Slider, curve of the TPS against the cut-off, and what is accepted."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._curve: pd.DataFrame | None = None
        self._cut_offs = CUT_OFFS.round(2)
        self.slider = QSlider(Qt.Horizontal)
        self.slider.setRange(LOWEST, HIGHEST)
        self.slider.valueChanged.connect(self._moved)
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.plot = CurvePlot()
        self.accept = QPushButton("Accept for the next run...")
        self.accept.setToolTip("Writes settings for --config, and withdraws the calls of this case.")
        self.accept.clicked.connect(self._ask_file)
        self.note = QLabel(
            "Cells are recoloured while you look; the score stays that of the run. Thresholds belong to a scanner and "
            "a lot, not to a case: accepting one writes settings for the next run and withdraws the calls of this case."
            "\nTPS by cut-off: reviewed white, automated blue dashes. Cut-offs: the run grey, the slider orange dashes."
        )
        self.note.setWordWrap(True)
        column = QVBoxLayout(self)
        for each in (self.slider, self.label, self.plot, self.accept, self.note):
            column.addWidget(each)
        column.addStretch()
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(AFTER_MS)
        self._later.timeout.connect(self._recolour)
        desk.opened.connect(self._opened)
        desk.edited.connect(self._forget)

    @property
    def dab_od(self) -> float:
        """Where the slider stands; at the step nearest to the run's own threshold that threshold, to the last digit."""
        return float(self._cut_offs[self.slider.value() - LOWEST])

    def _opened(self) -> None:
        if self._desk.results is not None:
            t1 = self._desk.results.config.positivity.dab_od
            run = min(max(round(t1 / STEP_OD), LOWEST), HIGHEST)
            self._cut_offs = CUT_OFFS.round(2)
            self._cut_offs[run - LOWEST] = t1
            self.slider.blockSignals(True)
            self.slider.setValue(run)
            self.slider.blockSignals(False)
        self._forget()

    def _forget(self) -> None:
        """The curve is drawn again when somebody looks at it."""
        self._curve = None
        if self.isVisible():
            self.show_curve()

    def showEvent(self, event: object) -> None:  # noqa: N802  Qt's name
        """Draw the curve when the tab is opened."""
        super().showEvent(event)
        self.show_curve()

    def hideEvent(self, event: object) -> None:  # noqa: N802  Qt's name
        """Colour the cells by the run's own threshold again."""
        super().hideEvent(event)
        self._opened()
        self._recolour()

    def show_curve(self) -> None:
        """Draw the curve and say what it is at the slider."""
        desk = self._desk
        if desk.review is None or desk.results is None or desk.is_blind:
            self._curve = None
            self.label.setText("")
            self.plot.show_curve(None, at=0, run=0)
            return
        config, pack = desk.results.config, desk.results.pack
        if self._curve is None:
            self._curve = reviewed_curve(desk.review.state, self._cut_offs.tolist(), config=config, pack=pack)
        here = self._curve.iloc[self.slider.value() - LOWEST]
        self.label.setText(
            f"DAB OD {self.dab_od:.2f}: TPS {_tps(here['tps_automated'])} % automated, "
            f"{_tps(here['tps_reviewed'])} % reviewed (run: {config.positivity.dab_od:.2f})"
        )
        self.plot.show_curve(self._curve, at=self.dab_od, run=config.positivity.dab_od)

    def _moved(self) -> None:
        self.show_curve()
        self._later.start()

    def _recolour(self) -> None:
        self._desk.look_at(self.dab_od)

    def _ask_file(self) -> None:
        results = self._desk.results
        if results is None:
            return
        name = results.out.parent / f"{results.out.name}-dab-{self.dab_od:.2f}.toml"
        if file := QFileDialog.getSaveFileName(self, "Settings for the next run", str(name), "TOML (*.toml)")[0]:
            self.accept_into(Path(file))

    def accept_into(self, file: Path) -> None:
        """Write the settings, and the line of the ledger."""
        desk = self._desk
        if desk.review is None:
            return
        try:
            accept_threshold(desk.review, self.dab_od, file, reviewer=desk.reviewer)
        except Pdl1QuantError as error:
            desk.said.emit(str(error))
            return
        desk.refresh()
        desk.said.emit(f"for the next run: pdl1quant score ... --config {file.name}; this case has no calls any more")


def _tps(value: float) -> str:
    return format_tps(None if np.isnan(value) else float(value))


class CurvePlot(QWidget):
    """TPS against the cut-off: reviewed white, automated blue dashes, the run's cut-off grey, the slider's orange."""

    def __init__(self) -> None:
        super().__init__()
        self._curve: pd.DataFrame | None = None
        self._at = self._run = 0.0
        self.setMinimumHeight(170)
        self.setSizePolicy(QSizePolicy.Expanding, QSizePolicy.Fixed)

    def show_curve(self, curve: pd.DataFrame | None, *, at: float, run: float) -> None:
        """Draw it."""
        self._curve, self._at, self._run = curve, at, run
        self.update()

    def paintEvent(self, _: object) -> None:  # noqa: N802  Qt's name
        """Axes, curves, two upright lines."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.Antialiasing)
        text = self.fontMetrics()
        left, right = text.horizontalAdvance("100 %") + 6, text.horizontalAdvance("0.8 OD") / 2 + 2
        frame = QRectF(left, 8, self.width() - left - right, self.height() - 34)
        painter.setPen(QPen(_RUN, 1))
        painter.drawRect(frame)
        for percent in (0, 50, 100):
            place = self._place(frame, CUT_OFFS[0], percent)
            painter.drawText(QRectF(0, place.y() - 8, left - 4, 16), Qt.AlignRight | Qt.AlignVCenter, f"{percent} %")
        for od in (0.2, 0.4, 0.6, 0.8):
            place = self._place(frame, od, 0)
            painter.drawText(QRectF(place.x() - 30, frame.bottom() + 4, 60, 16), Qt.AlignCenter, f"{od} OD")
        if self._curve is not None:
            for od, colour, line in ((self._run, _RUN, Qt.SolidLine), (self._at, _GUIDE, Qt.DashLine)):
                painter.setPen(QPen(colour, 2, line))
                painter.drawLine(self._place(frame, od, 0), self._place(frame, od, 100))
            curves = (("tps_reviewed", _REVIEWED, Qt.SolidLine), ("tps_automated", _AUTOMATED, Qt.DashLine))
            for name, colour, line in curves:  # the dashes leave both to be seen where they are one
                painter.setPen(QPen(colour, 2, line))
                known = self._curve[["dab_od", name]].dropna().to_numpy()
                painter.drawPolyline(QPolygonF([self._place(frame, od, tps) for od, tps in known]))
        painter.end()

    def _place(self, frame: QRectF, od: float, percent: float) -> QPointF:
        across = (od - CUT_OFFS[0]) / (CUT_OFFS[-1] - CUT_OFFS[0])
        return QPointF(frame.left() + across * frame.width(), frame.bottom() - percent / 100 * frame.height())
