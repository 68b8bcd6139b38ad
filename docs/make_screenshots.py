"""Photograph the report and the viewer for the pages: ``python docs/make_screenshots.py DEMO_RESULT``.

Needs Debian's chromium, and a screen (``xvfb-run`` makes one).
"""

# ruff: noqa: INP001 (a script, no package)
from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

import napari
import numpy as np
from napari.utils.triangulation_backend import TriangulationBackend, set_backend
from PIL import Image
from playwright.sync_api import sync_playwright
from qtpy.QtWidgets import QApplication

from pdl1quant.napari.review_widget import ReviewWidget
from pdl1quant.review import EditKind

IMAGES = Path(__file__).parent / "images"
CHROMIUM = "/usr/bin/chromium"
WIDTH_PX, HEIGHT_PX = 1280, 1160
MAX_WIDTH_PX = 1000
N_COLOURS = 256
FIELD, N_CORRECTED, ZOOM = "membrane_30", 6, 4.5


def photograph_report(demo: Path) -> Image.Image:
    """The page of the rendered fields, with the viewer of its cells."""
    page_file = next((demo / "report").glob("*_phantoms.html"))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
        page.goto(page_file.resolve().as_uri())
        page.wait_for_timeout(2500)
        taken = page.screenshot()
        browser.close()
    return Image.open(io.BytesIO(taken))


def photograph_viewer(demo: Path) -> Image.Image:
    """A rendered field under review in napari, some cells corrected; the results themselves stay as they are."""
    set_backend(TriangulationBackend.pure_python)
    with tempfile.TemporaryDirectory() as folder:
        out = shutil.copytree(demo, Path(folder) / "result")
        viewer = napari.Viewer(show=True)
        widget = ReviewWidget(viewer)
        viewer.window.add_dock_widget(widget, name="pdl1quant review")
        viewer.window.resize(WIDTH_PX, 860)
        widget.reviewer.setText("A. Reviewer")
        widget.open(out, image=FIELD)
        for _ in range(N_CORRECTED):
            widget.desk.next_uncertain()
            widget.desk.edit_selected(EditKind.CLASS, "stroma")
        widget.desk.next_uncertain()
        viewer.scene.camera.zoom = ZOOM
        for _ in range(20):
            QApplication.processEvents()
        taken = viewer.screenshot(canvas_only=False, flash=False)
        widget.close()
        viewer.close()
    return Image.fromarray(np.asarray(taken)[..., :3])


def keep(picture: Image.Image, name: str) -> None:
    """Write a picture in few colours and no wider than the pages are."""
    width = min(MAX_WIDTH_PX, picture.width)
    small = picture.convert("RGB").resize(
        (width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS
    )
    small.quantize(N_COLOURS, method=Image.Quantize.FASTOCTREE).save(IMAGES / f"{name}.png", optimize=True)


def main() -> None:
    """Write ``docs/images/report.png`` and ``viewer.png``."""
    if len(sys.argv) != 2:
        sys.exit("python docs/make_screenshots.py DEMO_RESULT")
    demo = Path(sys.argv[1])
    keep(photograph_report(demo), "report")
    keep(photograph_viewer(demo), "viewer")


if __name__ == "__main__":
    main()
