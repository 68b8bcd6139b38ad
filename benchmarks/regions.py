"""Classes on real tissue: shares of tumour calls in regions that were drawn by eye, beside what they have to be.

There are no class labels of real tissue at hand. ``regions/NAME.geojson`` says instead where an image shows glands,
tumour, stroma, lymphoid tissue, lumina and glass. The sample image comes with the package; the other images are
looked for in the folder that ``PDL1QUANT_TUNING_DATA`` names, with the pixel sizes of its ``index.csv``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely
from PIL import Image

from annotated import to_grid
from chosen import add_options, chosen_configs
from overlays import save_regions
from pdl1quant import score_image
from pdl1quant.slides.roi import points_in_rois, roi_mask
from pdl1quant.slides.roi_file import read_geojson_rois

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import UInt8Array
    from pdl1quant.slides.roi import Roi

VARIABLE = "PDL1QUANT_TUNING_DATA"
HERE = Path(__file__).resolve().parent
REGIONS = HERE / "regions"
SAMPLES = HERE.parent / "sample_slides" / "ihc"
SAMPLE_MPP = 0.5
"""Assumed: scikit-image states none."""
MIN_IN_EPITHELIUM, MAX_OUTSIDE = 0.95, 0.05
"""Share of tumour calls that has to be reached in glands, and kept to in stroma and lymphoid tissue."""
EPITHELIUM, NO_TUMOUR, EMPTY = ("gland", "tumour"), ("stroma", "lymphoid"), ("lumen", "glass")
KINDS = (*EPITHELIUM, *NO_TUMOUR, *EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The cells of one kind of region in one image."""

    image: str
    mpp: float
    kind: str
    n_cells: int
    n_tumour: int
    n_positive: int
    area_mm2: float

    @property
    def tumour(self) -> float | None:
        """Share called tumour, 0-1; None without cells."""
        return self.n_tumour / self.n_cells if self.n_cells else None

    @property
    def floor(self) -> str:
        """What has to be reached, as it is printed."""
        if self.kind in EPITHELIUM:
            return f"tumour >= {MIN_IN_EPITHELIUM}"
        return f"tumour <= {MAX_OUTSIDE}" if self.kind in NO_TUMOUR else "no cell"

    @property
    def reached(self) -> bool:
        """Whether it is; epithelium without a single cell fails."""
        if self.kind in EMPTY:
            return self.n_cells == 0
        if self.kind in EPITHELIUM:
            return self.tumour is not None and self.tumour >= MIN_IN_EPITHELIUM
        return self.tumour is None or self.tumour <= MAX_OUTSIDE


def measure_regions(cells: pd.DataFrame, rois: Iterable[Roi], *, image: str, mpp: float) -> list[Share]:
    """A line per kind of region that was drawn, in the order of ``KINDS``.

    Parameters
    ----------
    cells
        Cells table; a cell lies where the centre of its nucleus does.
    rois
        Regions of this image, named after their kind.
    image, mpp
        Its name, and um per pixel of the image that the regions were drawn on.

    Raises
    ------
    ValueError
        A region of another name.
    """
    by_kind: dict[str, list[Roi]] = {}
    for roi in rois:
        by_kind.setdefault(roi.name.lower(), []).append(roi)
    unknown = sorted(set(by_kind) - set(KINDS))
    if unknown:
        raise ValueError(f"{image}: region of class {unknown[0]!r}; name it one of {', '.join(KINDS)}")
    shares = []
    for kind in (kind for kind in KINDS if kind in by_kind):
        inside = points_in_rois(by_kind[kind], cells["x_px"].to_numpy(), cells["y_px"].to_numpy())
        area_px = shapely.union_all([roi.geometry for roi in by_kind[kind]]).area
        shares.append(
            Share(
                image=image,
                mpp=mpp,
                kind=kind,
                n_cells=int(inside.sum()),
                n_tumour=int((cells["cell_class"] == "tumour").to_numpy()[inside].sum()),
                n_positive=int(cells["positive"].to_numpy()[inside].sum()),
                area_mm2=float(area_px) * mpp**2 / 1e6,
            )
        )
    return shares


def pool(shares: Sequence[Share], *, image: str) -> list[Share]:
    """The sums by kind, in the order of ``KINDS``."""
    pooled = []
    for kind in KINDS:
        of_kind = [share for share in shares if share.kind == kind]
        if of_kind:
            sums = {
                name: sum(getattr(each, name) for each in of_kind)
                for name in ("n_cells", "n_tumour", "n_positive", "area_mm2")
            }
            pooled.append(Share(image=image, mpp=float("nan"), kind=kind, **sums))
    return pooled


def lines_of(shares: Iterable[Share]) -> list[str]:
    """The table as text, with its heading."""
    lines = [
        f"{'image':<20} {'um/px':>6} {'region':<9} {'cells':>6} {'per mm2':>8} {'tumour':>7} {'positive':>9}  floor"
    ]
    for share in shares:
        tumour, positive = (
            f"{n / share.n_cells:.3f}" if share.n_cells else "-" for n in (share.n_tumour, share.n_positive)
        )
        size = "" if np.isnan(share.mpp) else f"{share.mpp:g}"
        verdict = "reached" if share.reached else "NOT reached"
        density = share.n_cells / share.area_mm2
        lines.append(
            f"{share.image:<20} {size:>6} {share.kind:<9} {share.n_cells:>6} {density:>8.0f} {tumour:>7} "
            f"{positive:>9}  {share.floor}: {verdict}"
        )
    return lines


def read_image(stem: str, folder: Path | None) -> tuple[UInt8Array, float] | None:
    """Pixels and pixel size of the image that the regions were drawn on; None where it is not at hand."""
    sample = SAMPLES / f"{stem}.tif"
    if sample.is_file():
        return np.asarray(Image.open(sample).convert("RGB")), SAMPLE_MPP
    if folder is None:
        return None
    for row in pd.read_csv(folder / "index.csv").itertuples():
        if Path(str(row.image)).stem == stem:
            return np.asarray(Image.open(folder / str(row.image)).convert("RGB")), float(row.mpp)
    return None


def measure_image(path: Path, rgb: UInt8Array, mpp: float, *, config: Config, overlay: Path | None) -> list[Share]:
    """Score one image and measure it in its regions; draw both where ``overlay`` names a file."""
    result = score_image(rgb, mpp, config=config, keep_labels=True)
    cells, rois = result.cells, read_geojson_rois(path)
    if overlay is not None:
        assert result.compartments is not None
        shape = (rgb.shape[0], rgb.shape[1])
        save_regions(
            overlay,
            rgb,
            nucleus=to_grid(result.compartments.nucleus, shape),
            tumour=cells.loc[cells["cell_class"] == "tumour", "label"].to_numpy(),
            regions=np.max([(n + 1) * roi_mask([roi], shape) for n, roi in enumerate(rois)], axis=0),
        )
    return measure_regions(cells, rois, image=path.stem, mpp=mpp)


def tuning_folder() -> Path | None:
    """The folder that the variable names, where it holds what is needed."""
    named = os.environ.get(VARIABLE, "")
    return Path(named) if named and (Path(named) / "index.csv").is_file() else None


def _other_size(text: str) -> tuple[str, float]:
    name, equals, size = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text}: write NAME=UM, for example lymphoid=0.3")
    return name, float(size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 also where only the sample image is at hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--only", default="", help="images whose name contains this")
    parser.add_argument(
        "--mpp",
        type=_other_size,
        action="append",
        metavar="NAME=UM",
        help="measure images whose name contains NAME at this pixel size, too (default: lymphoid=0.3)",
    )
    parser.add_argument(
        "--overlays", type=Path, metavar="DIR", help="write each image with its cells and regions as PNG"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts as JSON")
    options = parser.parse_args(arguments)
    folder = tuning_folder()
    if folder is None:
        print(f"{VARIABLE} names no folder with index.csv: only the sample image is measured.")
    written = {}
    for name, config in chosen_configs(options).items():
        stated: list[Share] = []
        others: list[Share] = []
        for path in (path for path in sorted(REGIONS.glob("*.geojson")) if options.only in path.stem):
            image = read_image(path.stem, folder)
            if image is None:
                continue
            rgb, mpp = image
            sizes = [mpp, *(um for part, um in options.mpp or [("lymphoid", 0.3)] if part in path.stem and um != mpp)]
            for size in sizes:
                overlay = options.overlays / f"{path.stem}_{size:g}_{name}.png" if options.overlays else None
                shares = measure_image(path, rgb, size, config=config, overlay=overlay)
                (stated if size == mpp else others).extend(shares)
        replaced = {share.image for share in others}
        pooled = pool(stated, image="ALL, sizes as stated")
        if others:
            kept = [share for share in stated if share.image not in replaced]
            pooled += pool([*kept, *others], image="ALL, other sizes")
        print(f"\n{name}", *lines_of([*stated, *others, *pooled]), sep="\n")
        written[name] = [asdict(share) for share in [*stated, *others]]
    if options.json:
        options.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
