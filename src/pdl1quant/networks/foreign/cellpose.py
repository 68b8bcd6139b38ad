"""Nuclei by a Cellpose model: the file that Cellpose 4 writes after training, or that was downloaded by hand.

The segmenter ``cellpose``. Pachitariu et al., Cellpose-SAM, 2025. What the model outlines counts as nucleus: it has to
be one that was trained on nuclei; PyTorch runs it, slowly without a graphics card.
"""

from __future__ import annotations

import logging
import pickle  # for the name of its error: PyTorch is asked for weights only
import warnings
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.errors import ModelError
from pdl1quant.networks.files import check_hash
from pdl1quant.networks.foreign.requirements import model_mpp, model_path, require
from pdl1quant.networks.instances import find_on_tile, stretched

if TYPE_CHECKING:
    from pdl1quant.config import NucleiConfig
    from pdl1quant.model import Int32Array, Segmentation, StainEstimate, StainOD, Tile, UInt8Array

LOW, HIGH = 1.0, 99.0
"""Percentiles that Cellpose itself stretches to 0 and 1, each channel on its own."""
_BROKEN = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, pickle.UnpicklingError)
"""What PyTorch and Cellpose raise at files that are no model of theirs."""


def segment_nuclei(tile: Tile, od: StainOD, *, estimate: StainEstimate, config: NucleiConfig) -> Segmentation:
    """Label the nuclei of one tile with the Cellpose model at ``nuclei.model``.

    Parameters
    ----------
    tile
        Resampled to ``nuclei.model_mpp``; Cellpose's own search for a diameter is not used.
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
        Cellpose is not installed, there is no such file, or it is no model of Cellpose 4.
    """
    del od, estimate
    (file,) = model_files(config)
    check_hash((file,), config.model_sha256)
    return find_on_tile(tile, partial(_find, model=_load(file)), mpp=model_mpp(config), config=config)


def model_files(config: NucleiConfig) -> tuple[Path, ...]:
    """The file of the model: a path, or the name of one in Cellpose's own folder.

    Raises
    ------
    ModelError
        No library, or no such file: Cellpose would then download its default.
    """
    require("cellpose", "cellpose", "torch")
    model_mpp(config)
    given = Path(config.model)
    if config.model and given.name == config.model and not given.exists():
        from cellpose.models import MODEL_DIR  # noqa: PLC0415 - heavy, and an extra

        kept = Path(MODEL_DIR) / config.model
        if kept.is_file():
            return (kept,)
    path = model_path(config, wanted="FILE (a model of Cellpose 4)")
    if not path.is_file():
        raise ModelError(f"{path}: a folder; pass the model's file as nuclei.model")
    return (path,)


@lru_cache(maxsize=1)
def _load(file: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch  # noqa: PLC0415 - heavy, and an extra

        logging.getLogger("cellpose").setLevel(logging.ERROR)
        from cellpose.models import CellposeModel  # noqa: PLC0415 - heavy, and an extra

        torch.set_num_threads(1)
        try:
            return CellposeModel(gpu=False, pretrained_model=str(file), device=torch.device("cpu"), use_bfloat16=False)
        except _BROKEN as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise ModelError(f"{file}: Cellpose cannot load the model ({reason})") from error


def _find(rgb: UInt8Array, *, model: Any) -> Int32Array:
    pixels = stretched(rgb, low=LOW, high=HIGH, by_channel=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels, *_ = model.eval(pixels, channel_axis=2, normalize=False, batch_size=1, max_size_fraction=1.0)
    return np.asarray(labels, dtype=np.int32).reshape(rgb.shape[:2])
