"""Nuclei by a StarDist model: the folder that StarDist writes after training, or that was downloaded by hand.

The segmenter ``stardist``. Schmidt et al., Cell Detection with Star-Convex Polygons, MICCAI 2018. The folder holds
``config.json``, weights (``.h5``) and, if they were tuned, ``thresholds.json``; TensorFlow runs it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
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

LOW, HIGH = 1.0, 99.8
"""Percentiles that StarDist's own examples stretch to 0 and 1, over all channels together."""
BEST_WEIGHTS = "weights_best.h5"
"""What StarDist calls the weights to run."""


def segment_nuclei(tile: Tile, od: StainOD, *, estimate: StainEstimate, config: NucleiConfig) -> Segmentation:
    """Label the nuclei of one tile with the StarDist model at ``nuclei.model``.

    Parameters
    ----------
    tile
        Resampled to ``nuclei.model_mpp``.
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
        StarDist is not installed, or there is no such model, or it is no model of RGB images.
    """
    del od, estimate
    files = model_files(config)
    check_hash(files, config.model_sha256)
    model = _load(files[0].parent, files[1].name)
    return find_on_tile(tile, partial(_find, model=model), mpp=model_mpp(config), config=config)


def model_files(config: NucleiConfig) -> tuple[Path, ...]:
    """The files that make the model's results: configuration, weights and, if there are any, thresholds.

    Raises
    ------
    ModelError
        No library, no folder, or one without configuration or weights: StarDist would then run a random network.
    """
    require("stardist", "stardist", "tensorflow")
    folder = model_path(config, wanted="FOLDER (with config.json and weights_best.h5)")
    weights = [path for pattern in ("*.h5", "*.hdf5") for path in sorted(folder.glob(pattern))]
    if not (folder / "config.json").is_file() or not weights:
        raise ModelError(f"{folder}: no StarDist model; the folder has to hold config.json and {BEST_WEIGHTS}")
    chosen = folder / BEST_WEIGHTS if len(weights) > 1 else weights[0]
    if chosen not in weights:
        raise ModelError(f"{folder}: {len(weights)} files of weights; call the one to run {BEST_WEIGHTS}")
    model_mpp(config)
    thresholds = folder / "thresholds.json"
    return (folder / "config.json", chosen, *((thresholds,) if thresholds.is_file() else ()))


@lru_cache(maxsize=2)
def _load(folder: Path, weights: str) -> Any:
    _check_config(folder / "config.json")
    _use_one_thread()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from stardist.models import StarDist2D  # noqa: PLC0415 - heavy, and an extra

        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints what it loads
                model = StarDist2D(None, name=folder.name, basedir=str(folder.absolute().parent))
                model.load_weights(weights)  # it took the newest, which differs from copy to copy
                return model
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise ModelError(f"{folder}: StarDist cannot load the model ({reason})") from error


def _check_config(path: Path) -> None:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        n_dim, channels = config["n_dim"], config["n_channel_in"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a StarDist configuration ({error})") from error
    if (n_dim, channels) != (2, 3):
        raise ModelError(
            f"{path}: a model of {n_dim}-D images with {channels} channel(s); bright field needs 2-D and 3 (RGB)"
        )


def _use_one_thread() -> None:
    """Workers share the processor; TensorFlow takes the setting only before its first sum, and talks less when told."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf  # noqa: PLC0415 - heavy, and an extra

    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def _find(rgb: UInt8Array, *, model: Any) -> Int32Array:
    pixels = stretched(rgb, low=LOW, high=HIGH, by_channel=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels, _ = model.predict_instances(pixels, axes="YXC", show_tile_progress=False, verbose=False)
    return np.asarray(labels, dtype=np.int32)
