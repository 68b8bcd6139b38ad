"""`pdl1quant review`: a viewer with results in it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import napari

from pdl1quant.errors import UsageError
from pdl1quant.napari.layers import add_layers, scene_layers
from pdl1quant.napari.reader import first_image
from pdl1quant.review import open_results
from pdl1quant.views import open_scene

if TYPE_CHECKING:
    from pathlib import Path


def review_in_viewer(out: Path, *, image: str | None = None, folder: Path | None = None) -> None:
    """Open results in a viewer, and return when it is closed.

    Parameters
    ----------
    out
        Folder of a run.
    image
        Which of its images; the first that was scored when None.
    folder
        Where the images lie now, if they moved.

    Raises
    ------
    UsageError
        There is no screen, or ``out`` holds no results that this version reads.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UsageError("review: there is no screen (DISPLAY is not set); correct in QuPath, then use review-import")
    results = open_results(out)
    scene = open_scene(results, first_image(results) if image is None else results.image(image), folder=folder)
    viewer = napari.Viewer(title=f"{out.name}: {scene.review.image.name}")
    add_layers(viewer, scene_layers(scene))
    for note in scene.notes:
        napari.utils.notifications.show_warning(note)
    napari.run()
    scene.close()
