"""`pdl1quant review`: a viewer with results in it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import napari
from napari.utils.triangulation_backend import TriangulationBackend, get_backend, set_backend

from pdl1quant.errors import UsageError
from pdl1quant.napari.review_widget import ReviewWidget
from pdl1quant.review import open_results

if TYPE_CHECKING:
    from pathlib import Path


def review_in_viewer(
    out: Path, *, image: str | None = None, folder: Path | None = None, reviewer: str = "", blind: bool = False
) -> None:
    """Open results in a viewer, and return when it is closed.

    Parameters
    ----------
    out
        Folder of a run.
    image
        Which of its images; the first that was scored when None.
    folder
        Where the images lie now, if they moved.
    reviewer
        Name that edits carry.
    blind
        Whether the machine's cells and numbers are hidden until the reader gave an own score.

    Raises
    ------
    UsageError
        There is no screen, or ``out`` holds no results that this version reads.
    ReviewError
        There is no such image, or more than one.
    """
    results = open_results(out)  # what is no folder of results, or not of them, is said before a window opens
    if image is not None:
        results.image(image)
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UsageError("review: there is no screen (DISPLAY is not set); correct in QuPath, then use review-import")
    viewer = napari.Viewer(title=f"{out.name}: review")
    if get_backend() is TriangulationBackend.fastest_available:  # the user chose none: it may compile before the first
        set_backend(TriangulationBackend.pure_python)  # shape, and napari's settings, read with the window, say it
    widget = ReviewWidget(viewer)
    viewer.window.add_dock_widget(widget, name="pdl1quant review", area="right")
    widget.reviewer.setText(reviewer)
    widget.case.blind.setChecked(blind)
    widget.open(out, image=image, folder=folder)
    napari.run()
