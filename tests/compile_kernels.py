"""Compile the kernels while the checks run (`make test`): else each process of the tests compiles them for itself.

A slide and a field are scored by both segmenters, as the tests do; what is compiled stays beside the kernels.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import phantom_slides
from batch_runs import draw_phantom, run
from pdl1quant.config import load_config
from pdl1quant.report import write_report


def main() -> None:
    with TemporaryDirectory(prefix="pdl1quant-") as name:
        images = Path(name) / "images"
        images.mkdir()
        phantom_slides.write_slide(images / "slide.tif", phantom_slides.slide_image(1200, 700))
        draw_phantom(images / "field.png")
        for segmenter in ("watershed", "network"):
            config = load_config(None, [f"nuclei.segmenter={segmenter}", "tiling.tile_px=512"])
            run(images, Path(name) / segmenter, config=config, keep_labels=True)
        write_report(Path(name) / "watershed", tiles=True)


if __name__ == "__main__":
    main()
