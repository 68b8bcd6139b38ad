"""What the adapters share: is the library there, where is the model, which pixel size did it learn at."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pdl1quant.errors import ModelError

if TYPE_CHECKING:
    from pdl1quant.config import NucleiConfig


def require(segmenter: str, *libraries: str) -> None:
    """Check that libraries can be imported, without importing them.

    Raises
    ------
    ModelError
        One is missing; the message says how to install it.
    """
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"nuclei.segmenter = {segmenter!r}: not installed: {', '.join(missing)}; "
            f'run: pip install "pdl1quant[{segmenter}]"'
        )


def model_path(config: NucleiConfig, *, wanted: str) -> Path:
    """Path of the user's model.

    Parameters
    ----------
    config
        Section ``nuclei``.
    wanted
        What the path has to be, for the message.

    Raises
    ------
    ModelError
        None was given, or there is nothing.
    """
    if not config.model:
        raise ModelError(f"nuclei.segmenter = {config.segmenter!r}: no model; pass nuclei.model={wanted}")
    path = Path(config.model)
    if not path.exists():
        raise ModelError(f"{config.model}: no such model, and none is downloaded; pass nuclei.model={wanted}")
    return path


def model_mpp(config: NucleiConfig, *, own: float | None = None) -> float:
    """Pixel size that the model reads: the user's, or the model's ``own``.

    Raises
    ------
    ModelError
        Neither is known: it is never guessed.
    """
    if config.model_mpp is not None:
        return config.model_mpp
    if own is not None and own > 0:
        return own
    raise ModelError(
        f"{config.model}: the model does not say its pixel size; pass nuclei.model_mpp (um per pixel it learnt at)"
    )
