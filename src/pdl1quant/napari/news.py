"""Whether others wrote to the ledger of the open image.

Its file is looked at in a thread: a network drive that hangs would stop the window with it.
"""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.napari.desk import Desk

EVERY_MS = 1000
"""What one look saw is told when the next begins."""
_PATIENCE_S = 0.5


class News(QObject):
    """Looks at the ledger of the open image every now and then; ``told`` says whether others wrote to it."""

    told = Signal(bool)

    def __init__(self, desk: Desk, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self._look: _Look | None = None
        desk.opened.connect(self.tell)
        desk.edited.connect(self.tell)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.look)
        self._timer.start(EVERY_MS)

    def look(self) -> None:
        """Tell what the last look saw, and begin the next; nothing as long as the last one is not over."""
        if self._look is not None and self._look.is_alive():
            return
        self.tell()
        if self._desk.review is not None:
            self._look = _Look(self._desk.review.ledger.path)
            self._look.start()

    def tell(self) -> None:
        """Tell whether the ledger was longer at the last look than what the review has taken in by now."""
        review, look = self._desk.review, self._look
        if review is None or look is None or look.path != review.ledger.path:
            self.told.emit(False)
        else:
            self.told.emit(review.ledger.is_behind(look.n_bytes))

    def let_go(self) -> None:
        """Look no more; a look that hangs ends by itself, with the process at the latest."""
        self._timer.stop()
        if self._look is not None:
            self._look.join(_PATIENCE_S)


class _Look(Thread):
    """One look at the size of a file. It knows nothing of Qt, whose objects may be gone when it is over."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="pdl1quant news", daemon=True)
        self.path = path
        self.n_bytes = 0
        """None are seen until it is over, nor where the file cannot be looked at."""

    def run(self) -> None:
        try:
            self.n_bytes = self.path.stat().st_size
        except OSError:
            self.n_bytes = 0
