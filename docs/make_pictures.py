"""Make the pictures of the pages from the results of ``make demo``: ``python docs/make_pictures.py DEMO_RESULT``."""

# ruff: noqa: INP001 (a script, no package)
from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from pdl1quant.outputs.palette import KINDS

PICTURES = {"fhl2_colon": "overlay_fhl2"}
"""Overlay of the demonstration -> picture in ``docs/images``."""
WIDTHS_PX = range(900, 600, -20)
MAX_BYTES = 600_000
N_COLOURS = 256
PAPER = (255, 255, 255)
NEARLY_WHITE = 254
"""Pillow finds nearby colours only: paper from this level on is set by hand."""


def shrink(overlay: Path, picture: Path) -> None:
    """Write the widest copy that stays below ``MAX_BYTES``."""
    whole = Image.open(overlay).convert("RGB")
    picture.parent.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS_PX:
        size = (width, round(whole.height * width / whole.width))
        _with_palette(whole.resize(size, Image.Resampling.LANCZOS)).save(picture, optimize=True)
        if picture.stat().st_size <= MAX_BYTES:
            return
    sys.exit(f"{picture}: still more than {MAX_BYTES} bytes; lower WIDTHS_PX")


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
    """Shrink each overlay."""
    if len(sys.argv) != 2:
        sys.exit("python docs/make_pictures.py DEMO_RESULT")
    for overlay, picture in PICTURES.items():
        source = Path(sys.argv[1]) / "overlays" / f"{overlay}.png"
        shrink(source, Path(__file__).parent / "images" / f"{picture}.png")


if __name__ == "__main__":
    main()
