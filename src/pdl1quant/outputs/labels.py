"""Compartments -> OME-TIFF of labels, one channel a compartment, for QuPath, napari, Fiji and Python."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

import numpy as np
import tifffile

from pdl1quant import __version__
from pdl1quant.errors import OutputError
from pdl1quant.model import Compartments
from pdl1quant.outputs.files import replace_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.model import Int32Array

CHANNELS = ("nucleus", "cell", "cytoplasm", "membrane")
"""Order of the channels: fields of `Compartments`."""

_TILE_PX = 512
_COMPRESSION_LEVEL = 6
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:pdl1quant:labels")


def write_labels(compartments: Compartments, path: Path, *, mpp: float) -> None:
    """Write the label images as one tiled, deflated OME-TIFF. The same labels give the same bytes.

    Parameters
    ----------
    compartments
        Label images (H, W) int32; label k is the row of the cells table with ``label`` k.
    path
        File to write; replaced as a whole.
    mpp
        um per pixel of the label images (the working resolution), written as the physical size.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    planes = np.stack([getattr(compartments, name) for name in CHANNELS])
    digest = hashlib.sha256(planes.tobytes()).hexdigest()
    with replace_atomically(path) as partial:
        tifffile.imwrite(
            partial,
            planes,
            ome=True,
            photometric="minisblack",
            compression="deflate",
            compressionargs={"level": _COMPRESSION_LEVEL},
            tile=(_TILE_PX, _TILE_PX),
            software=f"pdl1quant {__version__}",
            resolution=(1e4 / mpp, 1e4 / mpp),
            resolutionunit="CENTIMETER",
            metadata={
                "axes": "CYX",
                "Name": "pdl1quant labels",
                "UUID": str(uuid.uuid5(_NAMESPACE, f"{digest}:{mpp}")),
                "Channel": {"Name": list(CHANNELS)},
                "PhysicalSizeX": mpp,
                "PhysicalSizeXUnit": "µm",
                "PhysicalSizeY": mpp,
                "PhysicalSizeYUnit": "µm",
            },
        )


def read_labels(path: Path) -> Compartments:
    """Read what `write_labels` wrote.

    Raises
    ------
    OutputError
        The file is missing, cut off, or holds something else.
    """
    try:
        planes = tifffile.imread(path)
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise OutputError(f"{path}: no readable labels ({reason}); score the image again with --labels") from error
    if planes.ndim != 3 or planes.shape[0] != len(CHANNELS) or planes.dtype != np.int32:
        raise OutputError(f"{path}: not the labels of pdl1quant; score the image again with --labels")
    images: dict[str, Int32Array] = dict(zip(CHANNELS, planes, strict=True))
    return Compartments(**images, n_cells=int(images["cell"].max(initial=0)))
