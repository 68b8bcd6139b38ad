"""Which model the settings name: its files, its hash, whether it can be run, and whether it names classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.errors import ModelError
from pdl1quant.model import Tile
from pdl1quant.networks.card import load_model, model_files, model_folder, shipped_folder
from pdl1quant.networks.files import check_hash, hash_files
from pdl1quant.networks.foreign import cellpose, instanseg, stardist
from pdl1quant.networks.segmenter import segment_with

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pdl1quant.config import Config, NucleiConfig

_FOREIGN: dict[str, Callable[[NucleiConfig], tuple[Path, ...]]] = {
    "stardist": stardist.model_files,
    "cellpose": cellpose.model_files,
    "instanseg": instanseg.model_files,
}
BLANK_PX = 64
"""Side of the empty field on which a model is tried."""


def pin_model(config: Config) -> Config:
    """Settings that say which model they mean, by its hash in ``nuclei.model_sha256``; what cannot be run is refused.

    An ONNX model is tried on an empty field; of other people's libraries it is checked that they and the files are
    there, without loading them.

    Parameters
    ----------
    config
        Settings; ``nuclei.model_sha256`` may be empty.

    Returns
    -------
    Config
        The same with the hash; unchanged where nuclei are found by rules.

    Raises
    ------
    ModelError
        No model, a library that is not installed, another hash, or a card that does not fit.
    """
    nuclei = config.nuclei
    if nuclei.segmenter == "watershed":
        if nuclei.model:
            raise ModelError(f"nuclei.model = {nuclei.model}: watershed runs no model; choose another nuclei.segmenter")
        return config
    if nuclei.segmenter == "network":
        folder = model_folder(nuclei)
        if folder == shipped_folder():
            nuclei = nuclei.model_copy(update={"model": ""})  # the default by its name is the default
        files = model_files(folder)
        blank = np.full((BLANK_PX, BLANK_PX, 3), 255, np.uint8)
        segment_with(folder, Tile.whole(blank, load_model(folder).card.mpp), config=nuclei)
    else:
        files = _FOREIGN[nuclei.segmenter](nuclei)
    check_hash(files, nuclei.model_sha256)
    pinned = nuclei.model_copy(update={"model_sha256": hash_files(files)})
    return config.model_copy(update={"nuclei": pinned})


def foreign_hash(config: NucleiConfig) -> str:
    """Hash of the files of a model of other people's libraries."""
    return hash_files(_FOREIGN[config.segmenter](config))


def names_classes(config: NucleiConfig) -> bool:
    """Whether the chosen model says what each cell is; where it does not, rules do, which know no macrophages."""
    return config.segmenter == "network" and bool(load_model(model_folder(config)).card.classes)
