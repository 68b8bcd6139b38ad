"""File > Open Sample: an image that is free to use, and a rendered field with its results."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pdl1quant.napari.layers import LayerData

MPP = 0.5
"""Both samples are as at x200."""
_FIELD_PX, _SEED = 512, 7


def colon() -> list[LayerData]:
    """FHL2 in colonic glands, 512 x 512 px: comes with scikit-image; H-DAB, but not PD-L1."""
    from skimage import data  # noqa: PLC0415  slow to import

    rgb = np.asarray(data.immunohistochemistry())  # type: ignore[no-untyped-call]
    return [(rgb, {"name": "FHL2, colonic glands", "rgb": True, "scale": (MPP, MPP), "units": ("um", "um")}, "image")]


def scored_field() -> list[LayerData]:
    """A rendered field, scored into a temporary folder and opened; takes some seconds."""
    from pdl1quant.napari.reader import get_reader  # noqa: PLC0415  slow to import

    reader = get_reader(str(score_field(Path(tempfile.mkdtemp(prefix="pdl1quant-sample-")))))
    assert reader is not None
    return reader(None)


def score_field(folder: Path) -> Path:
    """Render a field into ``folder`` and score it; returns the folder of the results."""
    from pdl1quant import batch  # noqa: PLC0415  slow to import
    from pdl1quant.config import Config  # noqa: PLC0415  slow to import
    from pdl1quant.napari.listening import Silent  # noqa: PLC0415  slow to import
    from pdl1quant.validation.phantoms import PhantomSettings, render_phantom  # noqa: PLC0415  slow to import

    phantom = render_phantom(PhantomSettings(size_px=_FIELD_PX), seed=_SEED)
    image = folder / "rendered_field.png"
    Image.fromarray(phantom.rgb).save(image)
    pack, _ = batch.find_rules("28-8-cytoplasm", None)
    job = batch.Job(paths=(image,), output=folder / "result", config=Config(), pack=pack, mpp=MPP)
    batch.run(job, listener=Silent())
    return job.output
