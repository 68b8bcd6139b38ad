"""Whether the results below an open review are still those that were opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdl1quant.errors import OutputError, ReviewError
from pdl1quant.review.results import cells_path, head_of, load_cells

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.review.ledger import LedgerHead
    from pdl1quant.review.results import ImageResult, Results


class OpenedCells:
    """The cells table of an image as it was when its review was opened.

    Parameters
    ----------
    results, image
        What is about to be opened.
    """

    def __init__(self, results: Results, image: ImageResult) -> None:
        self._results, self._image = results, image
        self._path = cells_path(results, image)
        self._seen = _stamp(self._path)

    def check(self, head: LedgerHead) -> None:
        """See that an edit would lie beside the cells that it is about.

        Parameters
        ----------
        head
            What the ledger says of the cells that were opened.

        Raises
        ------
        OutputError
            The results were moved, deleted or scored anew.
        """
        now = _stamp(self._path)
        if now == self._seen:
            return
        if now is None:
            raise OutputError(
                f"{self._path}: is gone: the results were moved or deleted; put them back, or open them where they are "
                "now; nothing was written"
            )
        try:
            is_same = head_of(self._results, self._image, load_cells(self._results, self._image).cells) == head
        except ReviewError:
            is_same = False
        if not is_same:
            raise OutputError(
                f"{self._path}: was scored anew while its review was open; open it again; nothing was written"
            )
        self._seen = now


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
