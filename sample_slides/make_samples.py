"""Write the sample images: ``python sample_slides/make_samples.py [FOLDER]``.

One field of real tissue as scikit-image ships it, and rendered fields (phantoms) whose every cell is known. Same
versions of the libraries, same bytes.
"""

# ruff: noqa: INP001 (a script, no package)
from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import skimage
import tifffile

from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

if TYPE_CHECKING:
    import pandas as pd

FHL2_MPP_ASSUMED = 0.5
"""Nothing says at which pixel size the image was taken; nuclei of the usual size speak for about 0.5 um."""
FHL2_TITLE = "FHL2, colonic glands: a demonstration, not a TPS. Pixel size assumed. From scikit-image."

PHANTOMS: dict[str, tuple[int, PhantomSettings]] = {
    "membrane_30": (11, PhantomSettings(tps_pct=30, pattern="membrane")),
    "cytoplasm_60": (12, PhantomSettings(tps_pct=60, pattern="cytoplasm")),
    "negative": (13, PhantomSettings(tps_pct=0, pattern="none", positive_immune_share=0)),
    "both_with_pigment": (14, PhantomSettings(tps_pct=45, pattern="both", pigment_share=0.01)),
}
"""Name -> seed and what the field shows."""
PHANTOM_TITLE = "A rendered field, no tissue: pdl1quant.validation.phantoms"

UM_PER_CM = 10_000.0
TRUTH_DECIMALS = 3


def write_tiff(path: Path, rgb: np.ndarray, *, mpp: float, title: str) -> None:
    """Write (H, W, 3) uint8 as a TIFF that states its pixel size; deflate, no date."""
    tifffile.imwrite(
        path,
        rgb,
        photometric="rgb",
        compression="zlib",
        predictor=True,
        resolution=(UM_PER_CM / mpp, UM_PER_CM / mpp),
        resolutionunit="CENTIMETER",
        description=title,
        software=False,
        metadata=None,
    )


def fhl2_colon() -> np.ndarray:
    """(512, 512, 3) uint8: colonic glands, FHL2 in DAB, haematoxylin."""
    return np.asarray(skimage.data.immunohistochemistry())


def phantom(name: str) -> tuple[np.ndarray, float, pd.DataFrame]:
    """Image (H, W, 3) uint8, pixel size in um, and the truth, a row per cell."""
    seed, settings = PHANTOMS[name]
    drawn = render_phantom(settings, seed=seed)
    return drawn.rgb, drawn.mpp, drawn.cells.round(TRUTH_DECIMALS)


def main() -> None:
    """Write all files into the folder given, else beside this script."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name in ("ihc", "phantoms"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_tiff(folder / "ihc" / "fhl2_colon.tif", fhl2_colon(), mpp=FHL2_MPP_ASSUMED, title=FHL2_TITLE)
    for name in PHANTOMS:
        rgb, mpp, truth = phantom(name)
        write_tiff(folder / "phantoms" / f"{name}.tif", rgb, mpp=mpp, title=PHANTOM_TITLE)
        truth.to_csv(folder / "phantoms" / f"{name}_truth.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
