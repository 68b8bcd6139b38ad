"""How a run tells a viewer of its progress, and is stopped by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pdl1quant.batch.job import Summary
    from pdl1quant.batch.rows import CaseReport


class Stopped(Exception):  # noqa: N818  no error: somebody wanted it
    """The user stopped the run."""


class Silent:
    """A listener that hears of everything and says nothing."""

    def begin(self, n_images: int) -> None: ...
    def doing(self, what: str, case: str) -> None: ...
    def advance(self, n_images: int = 1) -> None: ...
    def complain(self, message: str) -> None: ...
    def case_done(self, report: CaseReport) -> None: ...
    def control_done(self, lines: Sequence[str]) -> None: ...
    def end(self, summary: Summary) -> None: ...


class Reporter(Silent):
    """Passes on what is being done, in a line, and what there is to complain of; stops the run when asked to.

    Parameters
    ----------
    say
        Is told in a line what is being done.
    complain
        Is told of problems.
    is_stopped
        Whether the run is to end now; asked between images and tiles.
    """

    def __init__(
        self, *, say: Callable[[str], None], complain: Callable[[str], None], is_stopped: Callable[[], bool]
    ) -> None:
        self._say, self._complain, self._is_stopped = say, complain, is_stopped

    def doing(self, what: str, case: str) -> None:
        """Pass it on, or stop.

        Raises
        ------
        Stopped
            Somebody asked for it.
        """
        if self._is_stopped():
            raise Stopped
        self._say(f"{what} {case}")

    def advance(self, n_images: int = 1) -> None:
        """Stop if asked to."""
        del n_images
        if self._is_stopped():
            raise Stopped

    def complain(self, message: str) -> None:
        """Pass it on."""
        self._complain(message)
