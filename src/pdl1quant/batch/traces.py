"""Tracebacks of errors that nobody expected, one file per image, for whoever mends them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pdl1quant import __version__
from pdl1quant.outputs.files import replace_atomically

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "errors"

_MARK = "pdl1quant "


def trace_path(output: Path, stem: str) -> Path:
    """Where the traceback of the image (or case) ``stem`` lies."""
    return output / FOLDER / f"{stem}.txt"


def write_trace(output: Path, stem: str, trace: str) -> None:
    """Write the traceback of the image (or case) ``stem``."""
    with replace_atomically(trace_path(output, stem)) as partial:
        partial.write_text(f"{_MARK}{__version__}\n\n{trace}", encoding="utf-8", errors="backslashreplace")


def clear_traces(output: Path) -> None:
    """Remove the tracebacks of earlier runs, and no other file."""
    for path in sorted((output / FOLDER).rglob("*.txt")):
        with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
            if file.read(len(_MARK)) == _MARK:
                path.unlink()
    folders = [path for path in (output / FOLDER).rglob("*") if path.is_dir()]
    for folder in [*sorted(folders, reverse=True), output / FOLDER]:
        with suppress(OSError):  # missing, or holds files of others
            folder.rmdir()
