"""Results open in a viewer, and hands to click, drag and type with."""

import numpy as np

REVIEWER = "A. Reviewer"


def tumour_rows(review, n=1):
    cells = review.cells
    inner = cells["x_px"].between(60, 450) & cells["y_px"].between(60, 450)
    rows = np.flatnonzero((cells["cell_class"] == "tumour").to_numpy() & (cells["flags"] == 0).to_numpy() & inner)
    return rows[:n].tolist()


class Desktop:
    """The widget and a viewer without a window, which takes seconds to fill: its mouse and keys are called."""

    def __init__(self, viewer, qtbot, out, *, reviewer=REVIEWER, blind=False, **how):
        from pdl1quant.napari.review_widget import ReviewWidget

        self.viewer, self.qtbot, self.out = viewer, qtbot, out
        self.widget = ReviewWidget(viewer)
        self.dock()
        self.widget.reviewer.setText(reviewer)
        self.widget.case.blind.setChecked(blind)
        self.widget.open(out, **how)
        self.desk = self.widget.desk
        self.settle()

    def dock(self):
        """Show the widget: alone, or beside the viewer where that has a window."""
        self.widget.show()

    def close(self):
        self.widget.close()
        self.widget.deleteLater()
        self.settle()

    @property
    def review(self):
        return self.desk.review

    @property
    def message(self):
        return self.widget.message.text()

    def settle(self, ms=50):
        self.qtbot.wait(ms)

    def look_at(self, row):
        """Bring a cell into the middle of the canvas, large."""
        from pdl1quant.napari.layers import to_layer

        grid = self.desk.scene.grids[0]
        y, x = to_layer(self.desk.scene.cells.centres_px[[row]], grid)[0] * grid.mpp
        self.viewer.scene.camera.center, self.viewer.scene.camera.zoom = (0, y, x), 20
        self.settle()

    def click(self):
        """In the middle of what is looked at."""
        self.desk.click(np.array(self.viewer.scene.camera.center))
        self.settle()

    def press(self, *keys):
        for key in keys:
            self.widget.hands._keys[key](self.viewer)
        self.settle()

    def kind(self, row):
        from pdl1quant.outputs.palette import KINDS

        return KINDS[self.desk.scene.cells.kinds[row]].name


class Bench(Desktop):
    """The same in a window, with real mouse and keys."""

    def dock(self):
        self.viewer.window.add_dock_widget(self.widget, name="review")
        self.viewer.window.resize(1150, 640)
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        self.qtbot.waitExposed(self.canvas)

    def close(self):
        self.viewer.window.remove_dock_widget(self.widget)  # the window stays open
        super().close()

    def click(self, *, dx=0, dy=0, shift=False):
        from qtpy.QtCore import QPoint, Qt

        middle = self.canvas.rect().center() + QPoint(dx, dy)
        self.qtbot.mouseClick(self.canvas, Qt.LeftButton, Qt.ShiftModifier if shift else Qt.NoModifier, pos=middle)
        self.settle()

    def press(self, *keys):
        from qtpy.QtCore import Qt

        for key in keys:
            *modifiers, name = key.split("+")
            held = Qt.NoModifier
            for each in modifiers:
                held |= {"Ctrl": Qt.ControlModifier, "Shift": Qt.ShiftModifier}[each]
            self.qtbot.keyClick(self.canvas, getattr(Qt, f"Key_{name}"), held)
            self.settle()

    def drag(self, corners, *, shift=True):
        """Drag along corners, in px from the middle of the canvas; QTest moves the pointer, which comes late."""
        from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        held = Qt.ShiftModifier if shift else Qt.NoModifier
        middle = self.canvas.rect().center()
        steps = [(QEvent.MouseButtonPress, corners[0], Qt.LeftButton, Qt.LeftButton)]
        steps += [(QEvent.MouseMove, corner, Qt.NoButton, Qt.LeftButton) for corner in corners[1:]]
        steps += [(QEvent.MouseButtonRelease, corners[-1], Qt.LeftButton, Qt.NoButton)]
        for kind, corner, button, buttons in steps:
            at = middle + QPoint(*map(round, corner))
            over = QPointF(self.canvas.mapToGlobal(at))
            QApplication.sendEvent(self.canvas, QMouseEvent(kind, QPointF(at), over, button, buttons, held))
            self.settle(10)
        self.settle()
