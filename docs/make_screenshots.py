"""Photograph the report and the viewer for the pages: ``python docs/make_screenshots.py DEMO_RESULT``.

Needs Debian's chromium, and a screen (``xvfb-run`` makes one).
"""

# ruff: noqa: INP001 (a script, no package)
from __future__ import annotations

import io
import sys
from pathlib import Path

import napari
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from pdl1quant.napari.layers import add_layers
from pdl1quant.napari.reader import get_reader

IMAGES = Path(__file__).parent / "images"
CHROMIUM = "/usr/bin/chromium"
WIDTH_PX, HEIGHT_PX = 1280, 1160
MAX_WIDTH_PX = 1000
N_COLOURS = 256
ZOOM = 3.2
CENTRE_UM = (90.0, 130.0)


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
    """A rendered field with its cells in napari."""
    reader = get_reader(str(demo))
    assert reader is not None
    viewer = napari.Viewer(show=True)
    viewer.window.resize(WIDTH_PX, 800)
    add_layers(viewer, reader(None))
    viewer.camera.center, viewer.camera.zoom = CENTRE_UM, ZOOM
    taken = viewer.screenshot(canvas_only=False, flash=False)
    viewer.close()
    return Image.fromarray(np.asarray(taken)[..., :3])


def keep(picture: Image.Image, name: str) -> None:
    """Write a picture in few colours and no wider than the pages are."""
    width = min(MAX_WIDTH_PX, picture.width)
    small = picture.convert("RGB").resize(
        (width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS
    )
    small.quantize(N_COLOURS).save(IMAGES / f"{name}.png", optimize=True)


def main() -> None:
    """Write ``docs/images/report.png`` and ``viewer.png``."""
    if len(sys.argv) != 2:
        sys.exit("python docs/make_screenshots.py DEMO_RESULT")
    demo = Path(sys.argv[1])
    keep(photograph_report(demo), "report")
    keep(photograph_viewer(demo), "viewer")


if __name__ == "__main__":
    main()
