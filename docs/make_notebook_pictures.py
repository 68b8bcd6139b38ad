"""Run the notebooks and keep a picture of each for the pages: ``python docs/make_notebook_pictures.py``."""

# ruff: noqa: INP001 (a script, no package)
from __future__ import annotations

import base64
import io
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = {"01_first_score": 0, "02_stains_and_thresholds": 1, "03_a_whole_slide": 2, "04_review_and_retrain": 2}
"""Notebook -> which of its pictures is kept."""
WIDTH_PX = 900
N_COLOURS = 128


def main() -> None:
    """Write ``docs/images/notebook_N.png``."""
    for number, (name, chosen) in enumerate(PICTURES.items(), start=1):
        notebook = jupytext.read(ROOT / "notebooks" / f"{name}.py")
        NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": ROOT / "notebooks"}}).execute()
        outputs = [each for cell in notebook.cells for each in cell.get("outputs", ())]
        drawn = [each["data"]["image/png"] for each in outputs if "image/png" in each.get("data", {})]
        picture = Image.open(io.BytesIO(base64.b64decode(drawn[chosen]))).convert("RGB")
        picture = picture.resize((WIDTH_PX, round(picture.height * WIDTH_PX / picture.width)), Image.Resampling.LANCZOS)
        picture.quantize(N_COLOURS).save(ROOT / "docs" / "images" / f"notebook_{number}.png", optimize=True)


if __name__ == "__main__":
    main()
