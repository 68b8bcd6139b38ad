"""Whether an ONNX file takes and gives what its card says: names, types and shapes before a run, numbers after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, NodeArg

    from pdl1quant.model import Float32Array, Int32Array
    from pdl1quant.networks.card import ModelCard

ROUNDING = 1e-3
"""So far below 0 or above 1 a probability may come out."""
_TYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


def check_interface(session: InferenceSession, card: ModelCard, weights: Path) -> None:
    """Hold inputs and outputs of an open model against its card.

    Raises
    ------
    ModelError
        Another name, type, order of axes or number of channels, a fixed height or width, or a second input.
    """
    inputs = {each.name: each for each in session.get_inputs()}
    if card.input not in inputs:
        raise ModelError(f"{weights}: no input {card.input!r}, but {_names(inputs)}; mend input in its card")
    if len(inputs) > 1:
        raise ModelError(f"{weights}: takes {len(inputs)} inputs ({_names(inputs)}); export it with the image alone")
    taken = inputs[card.input]
    if taken.type not in _TYPES:
        raise ModelError(f"{weights}: {card.input} is {taken.type}; export the model to read uint8 or float32")
    dtype = _TYPES[taken.type]
    if dtype != card.input_dtype:
        raise ModelError(f"{weights}: reads {dtype}, its card says {card.input_dtype}; mend input_dtype in its card")
    _check_shape(taken, card, weights)
    outputs = [each.name for each in session.get_outputs()]
    for key, name in (("nuclei", card.nuclei), ("cells", card.cells)):
        if name is not None and name not in outputs:
            raise ModelError(f"{weights}: no output {name!r}, but {_names(outputs)}; mend {key} in its card")


def check_probabilities(planes: Float32Array, *, what: str) -> None:
    """Refuse numbers that are no probabilities; ``what`` gave them.

    Raises
    ------
    ModelError
        NaN, or far below 0 or above 1.
    """
    low, high = _range(planes, what=what)
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ModelError(
            f"{what} gives {low:.4g} to {high:.4g}, not probabilities from 0 to 1; mend nuclei_activation in its card, "
            "or export the model with what turns its output into probabilities"
        )


def check_scores(planes: Float32Array, *, what: str) -> None:
    """Refuse class scores of which no shares can be made.

    Raises
    ------
    ModelError
        NaN, infinite, or below 0.
    """
    low, _ = _range(planes, what=what)
    if low < -ROUNDING:
        raise ModelError(f"{what} gives class scores down to {low:.4g}; export the model with a softmax over classes")


def check_finite(planes: Float32Array, *, what: str) -> None:
    """Refuse NaN and infinite numbers.

    Raises
    ------
    ModelError
        There are some.
    """
    _range(planes, what=what)


def as_labels(plane: NDArray[np.generic], *, what: str) -> Int32Array:
    """(H, W) labels as int32; what is below 1 is background.

    Raises
    ------
    ModelError
        NaN, fractions, or numbers beyond int32.
    """
    low, high = _range(plane, what=what)
    limit = np.iinfo(np.int32)
    is_whole = plane.dtype.kind != "f" or np.array_equal(plane, np.rint(plane))
    if low < limit.min or high > limit.max or not is_whole:
        raise ModelError(
            f"{what} gives {low:.4g} to {high:.4g}{'' if is_whole else ' with fractions'}, not labels of nuclei; "
            "mend nuclei_gives in its card"
        )
    return plane.astype(np.int32)


def _check_shape(taken: NodeArg, card: ModelCard, weights: Path) -> None:
    shape: list[int | str | None] = list(taken.shape)
    if not shape:  # the file leaves it open
        return
    if len(shape) != 4:
        raise ModelError(f"{weights}: {card.input} has {len(shape)} axes, not the four of {card.input_layout}")
    channels, other = shape[card.input_layout.index("C")], "NCHW" if card.input_layout == "NHWC" else "NHWC"
    if channels != 3 and shape[other.index("C")] == 3:
        raise ModelError(
            f"{weights}: {card.input} is {other}, its card says {card.input_layout}; mend input_layout in it"
        )
    if isinstance(channels, int) and channels != 3:
        raise ModelError(f"{weights}: {card.input} has {channels} channels; the model has to read RGB")
    if any(isinstance(shape[card.input_layout.index(axis)], int) for axis in "HW"):
        fixed = " x ".join(str(each) for each in shape)
        raise ModelError(f"{weights}: {card.input} is fixed to {fixed}; export the model with free height and width")
    if isinstance(shape[0], int) and shape[0] != 1:
        raise ModelError(f"{weights}: {card.input} takes {shape[0]} images at a time; export the model for one")


def _range(values: NDArray[np.generic], *, what: str) -> tuple[float, float]:
    """Lowest and highest; NaN passes through both."""
    if values.dtype.kind not in "fiub":
        raise ModelError(f"{what} gives {values.dtype}, not numbers")
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):
        raise ModelError(f"{what} gives NaN or infinite numbers; export the model anew, or look at how its card scales")
    return low, high


def _names(names: Sequence[str] | dict[str, NodeArg]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
