"""Nuclei by an InstanSeg model: the TorchScript file that InstanSeg exports, or that was downloaded by hand.

The segmenter ``instanseg``. Goldsborough et al., InstanSeg, 2024. The file holds network and post-processing; PyTorch
alone runs it.
"""

from __future__ import annotations

import warnings
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.errors import ModelError
from pdl1quant.networks.files import check_hash
from pdl1quant.networks.foreign.requirements import model_mpp, model_path, require
from pdl1quant.networks.instances import find_on_tile, stretched

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.config import NucleiConfig
    from pdl1quant.model import Int32Array, Segmentation, StainEstimate, StainOD, Tile, UInt8Array

FILE_IN_FOLDER = "instanseg.pt"
"""Its name in the folders that InstanSeg ships."""
LOW, HIGH = 0.1, 99.9
"""Percentiles that InstanSeg itself stretches to 0 and 1, each channel on its own."""


def segment_nuclei(tile: Tile, od: StainOD, *, estimate: StainEstimate, config: NucleiConfig) -> Segmentation:
    """Label the nuclei of one tile with the InstanSeg model at ``nuclei.model``.

    Parameters
    ----------
    tile
        Resampled to the pixel size of the model, or to ``nuclei.model_mpp`` where that is given.
    od, estimate
        Not used: the model reads the colours.
    config
        Section ``nuclei``.

    Returns
    -------
    Segmentation
        ``nuclei`` (H, W) int32, labels exactly 1..n; no cells, no scores.

    Raises
    ------
    ModelError
        PyTorch is not installed, there is no such file, or it is no InstanSeg model.
    """
    del od, estimate
    (file,) = model_files(config)
    check_hash((file,), config.model_sha256)
    module = _load(file)
    mpp = model_mpp(config, own=float(getattr(module, "pixel_size", 0) or 0))
    return find_on_tile(tile, partial(_find, module=module, file=file), mpp=mpp, config=config)


def model_files(config: NucleiConfig) -> tuple[Path, ...]:
    """The file of the model: a path of it, or of the folder that holds ``instanseg.pt``.

    Raises
    ------
    ModelError
        No library, or no such file.
    """
    require("instanseg", "torch")
    path = model_path(config, wanted="FILE (instanseg.pt)")
    if path.is_dir():
        path = path / FILE_IN_FOLDER
        if not path.is_file():
            raise ModelError(f"{path}: no such file; pass the model's file as nuclei.model")
    return (path,)


@lru_cache(maxsize=2)
def _load(file: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch  # noqa: PLC0415 - heavy, and an extra

        torch.set_num_threads(1)
        try:
            return torch.jit.load(str(file), map_location="cpu").eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(f"{file}: not a TorchScript model that PyTorch can load ({_line(error)})") from error


def _find(rgb: UInt8Array, *, module: Any, file: Path) -> Int32Array:
    import torch  # noqa: PLC0415 - heavy, and an extra

    pixels = stretched(rgb, low=LOW, high=HIGH, by_channel=True).transpose(2, 0, 1)[None]
    options = {}
    if getattr(module, "cells_and_nuclei", False):
        options["target_segmentation"] = torch.tensor([1, 0])  # cells are grown by the rules, as for all others
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        try:
            output = module(torch.from_numpy(np.ascontiguousarray(pixels)), **options).numpy()
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ModelError(f"{file}: does not run as an InstanSeg model does ({_line(error)})") from error
    if output.ndim != 4 or output.shape[2:] != rgb.shape[:2]:
        raise ModelError(f"{file}: gives {output.shape} for {rgb.shape[:2]} px, not labels on the grid of the input")
    return np.asarray(output[0, 0], dtype=np.int32)


def _line(error: Exception) -> str:
    """The last line of what PyTorch says: those before are where it was."""
    return str(error).strip().rpartition("\n")[2][:200]
