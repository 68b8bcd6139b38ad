"""A command as a process of its own: the script ``pdl1quant``, and ``python -m pdl1quant``."""

from __future__ import annotations

import _thread
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_AGAIN_SECONDS = 0.01
_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


def main() -> None:
    """Run the command line; whenever Ctrl-C comes, it ends with one line and code 130."""
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # in the background it may be ignored
    if is_heard:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from pdl1quant import cli  # noqa: PLC0415  an interruption may come meanwhile
    except KeyboardInterrupt:
        sys.stderr.write("pdl1quant: stopped by the keyboard before anything was done: run the same command again\n")
        sys.exit(130)
    try:
        cli.main()
    finally:
        if is_heard:  # all is done and said: a second Ctrl-C may end what is left of the process
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; where the import of a library would turn it into an error or lose it, a little later."""
    if _is_held(frame):
        _thread.start_new_thread(_interrupt_again, ())
    else:
        raise KeyboardInterrupt


def _interrupt_again() -> None:
    time.sleep(_AGAIN_SECONDS)
    _thread.interrupt_main()


def _is_held(frame: FrameType | None) -> bool:
    """Whether a module that is not ours is being imported, or the import system is at work, whose callbacks lose it."""
    if frame is not None and frame.f_code.co_filename == _IMPORT_SYSTEM:
        return True
    while frame is not None and frame.f_code is not main.__code__:
        name = str(frame.f_globals.get("__name__", ""))
        if frame.f_code.co_name == "<module>" and name.partition(".")[0] != "pdl1quant":
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    main()
