"""Make the pictures of the pages from the results of ``make demo``: ``python docs/make_pictures.py DEMO_RESULT``."""

# ruff: noqa: INP001 (a script, no package)
from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from pdl1quant.outputs.palette import KINDS

PICTURES = {
    "overlays/fhl2_colon": ("overlay_fhl2", 900),
    "figures/overlay/both_with_pigment": ("figure_overlay", 1400),
    "figures/threshold/phantoms": ("figure_threshold", 800),
}
"""Picture of the demonstration -> its name in ``docs/images``, and how wide it is at most."""
LEAST_WIDTH_PX, STEP_PX = 600, 20
MAX_BYTES = 600_000
N_COLOURS = 256
PAPER = (255, 255, 255)
NEARLY_WHITE = 254
"""Pillow finds nearby colours only: paper from this level on is set by hand."""


def save_shrunk(whole: Image.Image, picture: Path, *, widest_px: int) -> None:
    """Write the widest copy (of an RGB image) that stays below ``MAX_BYTES``."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    for width in range(widest_px, LEAST_WIDTH_PX, -STEP_PX):
        size = (width, round(whole.height * width / whole.width))
        _with_palette(whole.resize(size, Image.Resampling.LANCZOS)).save(picture, optimize=True)
        if picture.stat().st_size <= MAX_BYTES:
            return
    sys.exit(f"{picture}: still more than {MAX_BYTES} bytes; lower LEAST_WIDTH_PX")


def _with_palette(image: Image.Image) -> Image.Image:
    """The image in 256 colours, those of the legend among them."""
    kept = [PAPER, *(kind.rgb for kind in KINDS)]
    tissue = image.quantize(N_COLOURS - len(kept)).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*(level for rgb in kept for level in rgb), *tissue])
    found = image.quantize(palette=palette, dither=Image.Dither.NONE)
    found.paste(0, mask=image.convert("L").point(lambda level: 255 * (level >= NEARLY_WHITE)))
    return found


def main() -> None:
    """Shrink each picture."""
    if len(sys.argv) != 2:
        sys.exit("python docs/make_pictures.py DEMO_RESULT")
    for drawn, (name, widest_px) in PICTURES.items():
        picture = Path(__file__).parent / "images" / f"{name}.png"
        save_shrunk(Image.open(Path(sys.argv[1]) / f"{drawn}.png").convert("RGB"), picture, widest_px=widest_px)


if __name__ == "__main__":
    main()
