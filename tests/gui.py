"""Whether windows can be opened here."""

import os
import subprocess
import sys

_ANSWER = "PDL1QUANT_WHY_NO_VIEWER"
"""Where the first process leaves its answer for its workers."""
_TRIES = "from qtpy.QtWidgets import QApplication; QApplication([]); import napari, pytestqt"
_WITHIN_S = 120


def must_run():
    return os.environ.get("PDL1QUANT_GUI_TESTS") == "must"


def why_no_viewer():
    """The reason, in a line; empty where a window can be opened. Tried in a process: Qt ends the one that asks."""
    if _ANSWER not in os.environ:
        os.environ[_ANSWER] = _tried()
    return os.environ[_ANSWER]


def _tried():
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        return "no screen (DISPLAY is not set); run under xvfb-run"
    if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        return "Qt's offscreen platform has no OpenGL; run under xvfb-run"
    tried = subprocess.run(
        [sys.executable, "-c", _TRIES], capture_output=True, text=True, timeout=_WITHIN_S, check=False
    )
    lines = [line for line in tried.stderr.splitlines() if line.strip()]
    return "" if tried.returncode == 0 else f"no window can be opened: {lines[-1] if lines else tried.returncode}"
