"""Is every gland cell one cell? Found nuclei against nuclei that were dotted by eye, in membrane-stained epithelium.

``regions/dots/NAME.geojson`` holds areas (``Counted``) and a dot for each nucleus that the eye is sure of in them
(``Nucleus``). Out-of-focus nuclei carry none: precision is a lower bound. Images are found as by ``regions.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from annotated import TOLERANCE_UM
from chosen import add_options, chosen_configs
from pdl1quant import score_image
from pdl1quant.slides.roi import CENTRE, points_in_rois
from pdl1quant.slides.roi_file import read_geojson_rois
from pdl1quant.validation.detection import Matches, f1_score, match_points, precision, recall
from regions import REGIONS, read_image, tuning_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from pdl1quant.model import Float64Array
    from pdl1quant.slides.roi import Roi

DOTS = REGIONS / "dots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dotted:
    """Areas, and the (n, 2) dots in them: x, y in pixels, the centre of the first pixel at 0."""

    areas: tuple[Roi, ...]
    xy_px: Float64Array


def read_dots(path: Path) -> Dotted:
    """Areas and dots of one file."""
    features = json.loads(path.read_bytes())["features"]
    dots = [
        dot
        for feature in features
        if feature["geometry"]["type"] == "MultiPoint"
        for dot in feature["geometry"]["coordinates"]
    ]
    return Dotted(areas=read_geojson_rois(path), xy_px=np.array(dots, np.float64).reshape(-1, 2) - CENTRE)


def match_dots(dotted: Dotted, cells: pd.DataFrame, *, mpp: float) -> Matches:
    """Dots and found nuclei, one to one within the tolerance; a found nucleus outside the areas counts only if matched.

    Parameters
    ----------
    dotted
        Areas and dots.
    cells
        Cells table.
    mpp
        um per pixel of the image that was dotted.
    """
    found = cells[["x_px", "y_px"]].to_numpy(dtype=np.float64)
    matches = match_points(dotted.xy_px, found, max_distance=TOLERANCE_UM / mpp)
    judged = points_in_rois(dotted.areas, found[:, 0], found[:, 1])
    judged[matches.found] = True
    return Matches(
        truth=matches.truth,
        found=matches.found,
        distance=matches.distance,
        n_truth=matches.n_truth,
        n_found=int(judged.sum()),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 also where only the sample image is at hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    options = parser.parse_args(arguments)
    configs = chosen_configs(options)
    print(f"{'image':<20} {'method':<12} {'dots':>5} {'found':>6} {'prec':>6} {'recall':>7} {'F1':>6}")
    for path in sorted(DOTS.glob("*.geojson")):
        image = read_image(path.stem, tuning_folder())
        if image is None:
            print(f"{path.stem:<20} not at hand")
            continue
        rgb, mpp = image
        for name, config in configs.items():
            matches = match_dots(read_dots(path), score_image(rgb, mpp, config=config).cells, mpp=mpp)
            shares = (measured(matches) or 0.0 for measured in (precision, recall, f1_score))
            figures = "{:>6.3f} {:>7.3f} {:>6.3f}".format(*shares)
            print(f"{path.stem:<20} {name:<12} {matches.n_truth:>5} {matches.n_found:>6} {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
