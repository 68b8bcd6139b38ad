"""ONNX files run by onnxruntime: one session per file and process, one thread, outputs as numpy arrays."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.errors import ModelError
from pdl1quant.networks.fitting import as_labels, check_finite, check_interface, check_probabilities, check_scores

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnxruntime import InferenceSession

    from pdl1quant.model import Float32Array, Int32Array, UInt8Array
    from pdl1quant.networks.card import Model, ModelCard


_OTHER_FILES = "session.model_external_initializers_file_folder_path"
"""Where onnxruntime looks for weights outside the file: nowhere, since the hash does not cover them."""


def run_model(model: Model, rgb: UInt8Array) -> tuple[Float32Array, Float32Array | None]:
    """One forward pass.

    Parameters
    ----------
    model
        From `load_model`.
    rgb : (H, W, 3) uint8
        At the card's pixel size; sides are multiples of ``multiple_px``.

    Returns
    -------
    nuclei : (2, H, W) float32
    cells : (2 + classes, h, w) float32, or None when the model has no such output

    Raises
    ------
    ModelError
        The file is no ONNX model, or its inputs and outputs are not what the card says.
    """
    card = model.card
    names = [card.nuclei] if card.cells is None else [card.nuclei, card.cells]
    outputs = _run(model, names, rgb)
    nuclei = outputs[0]
    if nuclei.shape != (1, 2, *rgb.shape[:2]):
        raise ModelError(f"{model.weights}: {card.nuclei} has shape {nuclei.shape}, not {(1, 2, *rgb.shape[:2])}")
    fine = nuclei[0].astype(np.float32, copy=False)
    what = f"{model.weights}: {card.nuclei}"
    check_probabilities(fine[0], what=what)
    check_finite(fine[1], what=what)
    if card.cells is None:
        return fine, None
    cells = outputs[1]
    if cells.ndim != 4 or cells.shape[:2] != (1, 2 + len(card.classes)):
        raise ModelError(
            f"{model.weights}: {card.cells} has shape {cells.shape}, not (1, {2 + len(card.classes)}, ...)"
        )
    coarse = cells[0].astype(np.float32, copy=False)
    what = f"{model.weights}: {card.cells}"
    check_probabilities(coarse[0], what=what)
    check_finite(coarse[1], what=what)
    check_scores(coarse[2:], what=what)
    return fine, coarse


def run_probability(model: Model, rgb: UInt8Array) -> Float32Array:
    """One forward pass of a model whose ``nuclei_gives`` is ``probability``.

    Parameters
    ----------
    model
        From `load_model`.
    rgb : (H, W, 3) uint8
        At the card's pixel size; sides are multiples of ``multiple_px``.

    Returns
    -------
    (H, W) float32
        Probability of nucleus.

    Raises
    ------
    ModelError
        The file is no ONNX model, or its input and output are not what the card says.
    """
    planes = _planes(model, rgb)
    what = f"{model.weights}: {model.card.nuclei}"
    check_finite(planes, what=what)
    probability = _activated(model.card, planes)
    check_probabilities(probability, what=what)
    return probability


def run_labels(model: Model, rgb: UInt8Array) -> Int32Array:
    """The same of a model whose ``nuclei_gives`` is ``labels``: (H, W) int32, below 1 is background."""
    plane = _planes(model, rgb)[model.card.nuclei_channel]
    return as_labels(plane, what=f"{model.weights}: {model.card.nuclei}")


def _planes(model: Model, rgb: UInt8Array) -> Any:
    """The output with the nuclei, (channels, H, W) of whatever type."""
    card = model.card
    output = _run(model, [card.nuclei], rgb)[0]
    got = f"{model.weights}: {card.nuclei} has shape {output.shape}"
    if output.ndim != len(card.nuclei_layout):
        raise ModelError(f"{got}, not {card.nuclei_layout}; mend nuclei_layout in its card")
    planes = output[:, None] if card.nuclei_layout == "NHW" else output
    planes = planes.transpose(0, 3, 1, 2) if card.nuclei_layout == "NHWC" else planes
    if planes.shape[2:] != rgb.shape[:2] or len(planes) != 1:
        raise ModelError(f"{got} for an input of {rgb.shape[:2]}; it has to be on the grid of the input")
    if card.nuclei_channel >= planes.shape[1]:
        raise ModelError(f"{got}; it has no channel {card.nuclei_channel}, mend nuclei_channel in its card")
    return planes[0]


def _run(model: Model, names: list[str], rgb: UInt8Array) -> list[Any]:
    """These outputs for one image."""
    card = model.card
    session = _open(model.weights, card.sha256)
    check_interface(session, card, model.weights)
    try:
        return [np.asarray(each) for each in session.run(names, {card.input: _as_input(card, rgb)})]
    except _onnx_errors() as error:
        raise ModelError(f"{model.weights}: cannot be run as its card says ({_first_line(error)})") from error


def _as_input(card: ModelCard, rgb: UInt8Array) -> UInt8Array | Float32Array:
    """What the model reads: a batch of one image."""
    pixels: Any = rgb if card.input_channels == "RGB" else rgb[..., ::-1]
    if card.input_dtype == "float32":
        mean, std = (np.asarray(each, dtype=np.float32) for each in (card.input_mean, card.input_std))
        pixels = (pixels.astype(np.float32) / np.float32(card.input_divisor) - mean) / std
    if card.input_layout == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[None])


def _activated(card: ModelCard, planes: Any) -> Float32Array:
    """The channel of ``planes`` (channels, H, W) that the card names, as probability."""
    plane = planes[card.nuclei_channel].astype(np.float32, copy=False)
    if card.nuclei_activation == "sigmoid":
        return np.asarray(0.5 + 0.5 * np.tanh(0.5 * plane), dtype=np.float32)
    if card.nuclei_activation == "softmax":
        powers = np.exp(planes.astype(np.float32, copy=False) - planes.max(axis=0))
        return np.asarray(powers[card.nuclei_channel] / powers.sum(axis=0), dtype=np.float32)
    return np.asarray(plane)


def run_table(weights: Path, sha256: str, *, output: str, feed: Mapping[str, Float32Array]) -> Float32Array:
    """One output of a model that reads tables.

    Raises
    ------
    ModelError
        The file is no ONNX model, or its inputs and outputs have other names, types or shapes.
    """
    session = _open(weights, sha256)
    try:
        return np.asarray(session.run([output], dict(feed))[0], dtype=np.float32)
    except _onnx_errors() as error:
        raise ModelError(f"{weights}: cannot be run as its card says ({_first_line(error)})") from error


def trim_model(model: Model) -> None:
    """Give back what runs of an open model hold for the next ones: some 300 MB after a window of a slide.

    That is done at the end of a run, so the smallest one is made.
    """
    import onnxruntime  # noqa: PLC0415 - heavy, and needed only where a network runs

    card, options = model.card, onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    least = np.zeros((card.multiple_px, card.multiple_px, 3), np.uint8)
    _open(model.weights, card.sha256).run([card.nuclei], {card.input: _as_input(card, least)}, options)


def close_models() -> None:
    """Give back what open models hold, some 200 MB after a tile of a slide; they are opened anew when asked for."""
    _open.cache_clear()


@lru_cache(maxsize=4)
def _open(weights: Path, sha256: str) -> InferenceSession:  # noqa: ARG001 - other bytes are another session
    import onnxruntime  # noqa: PLC0415 - heavy, and needed only where a network runs

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # a second plan of memory for each shape: twice the memory, no faster
    options.log_severity_level = 3
    options.add_session_config_entry(_OTHER_FILES, str(weights / "none"))
    try:
        return onnxruntime.InferenceSession(weights.read_bytes(), options, providers=["CPUExecutionProvider"])
    except _onnx_errors() as error:
        if "xternal data" in str(error):
            raise ModelError(
                f"{weights}: keeps weights in other files, which its hash does not cover; save it as one file "
                "(torch.onnx.export(..., external_data=False))"
            ) from error
        raise ModelError(f"{weights}: not a model that onnxruntime can run ({_first_line(error)})") from error


def _onnx_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: its errors share no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415 - heavy

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
    return (ValueError, RuntimeError, state.RuntimeException, *(getattr(state, name) for name in names))


def _first_line(error: Exception) -> str:
    """Without onnxruntime's own numbers of errors, and where in its code it was."""
    line = str(error).strip().partition("\n")[0]
    line = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .* failed:)?", "", line)
    return (line.rpartition(") ")[2] if line.startswith("/") else line)[:200].rstrip(". ")
