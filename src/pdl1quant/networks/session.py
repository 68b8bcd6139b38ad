"""ONNX files run by onnxruntime: one session per file and process, one thread, outputs as numpy arrays."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnxruntime import InferenceSession

    from pdl1quant.model import Float32Array, UInt8Array
    from pdl1quant.networks.card import Model, ModelCard


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
    session = _open(model.weights, card.sha256)
    names = [card.nuclei] if card.cells is None else [card.nuclei, card.cells]
    try:
        outputs = session.run(names, {card.input: _as_input(card, rgb)})
    except _onnx_errors() as error:
        raise ModelError(f"{model.weights}: cannot be run as its card says ({_first_line(error)})") from error
    nuclei = np.asarray(outputs[0])
    if nuclei.shape != (1, 2, *rgb.shape[:2]):
        raise ModelError(f"{model.weights}: {card.nuclei} has shape {nuclei.shape}, not {(1, 2, *rgb.shape[:2])}")
    if len(outputs) == 1:
        return nuclei[0].astype(np.float32, copy=False), None
    cells = np.asarray(outputs[1])
    if cells.ndim != 4 or cells.shape[:2] != (1, 2 + len(card.classes)):
        raise ModelError(
            f"{model.weights}: {card.cells} has shape {cells.shape}, not (1, {2 + len(card.classes)}, ...)"
        )
    return nuclei[0].astype(np.float32, copy=False), cells[0].astype(np.float32, copy=False)


def run_plane(model: Model, rgb: UInt8Array) -> Float32Array:
    """One forward pass of a model that gives a probability or labels.

    Parameters
    ----------
    model
        From `load_model`, its ``nuclei_gives`` other than ``depth``.
    rgb : (H, W, 3) uint8
        At the card's pixel size; sides are multiples of ``multiple_px``.

    Returns
    -------
    (H, W) float32
        Probability of nucleus, or labels.

    Raises
    ------
    ModelError
        The file is no ONNX model, or its input and output are not what the card says.
    """
    card = model.card
    session = _open(model.weights, card.sha256)
    try:
        output = np.asarray(session.run([card.nuclei], {card.input: _as_input(card, rgb)})[0])
    except _onnx_errors() as error:
        raise ModelError(f"{model.weights}: cannot be run as its card says ({_first_line(error)})") from error
    got = f"{model.weights}: {card.nuclei} has shape {output.shape}"
    if output.ndim != len(card.nuclei_layout):
        raise ModelError(f"{got}, not {card.nuclei_layout}; mend nuclei_layout in its card")
    planes = output[:, None] if card.nuclei_layout == "NHW" else output
    planes = planes.transpose(0, 3, 1, 2) if card.nuclei_layout == "NHWC" else planes
    if planes.shape[2:] != rgb.shape[:2] or len(planes) != 1:
        raise ModelError(f"{got} for an input of {rgb.shape[:2]}; it has to be on the grid of the input")
    if card.nuclei_channel >= planes.shape[1]:
        raise ModelError(f"{got}; it has no channel {card.nuclei_channel}, mend nuclei_channel in its card")
    return _activated(card, planes[0])


def _as_input(card: ModelCard, rgb: UInt8Array) -> UInt8Array | Float32Array:
    """What the model reads: a batch of one image."""
    pixels: Any = rgb if card.input_channels == "RGB" else rgb[..., ::-1]
    if card.input_dtype == "float32":
        mean, std = (np.asarray(each, dtype=np.float32) for each in (card.input_mean, card.input_std))
        pixels = (pixels.astype(np.float32) / np.float32(card.input_divisor) - mean) / std
    if card.input_layout == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[None])


def _activated(card: ModelCard, planes: Float32Array) -> Float32Array:
    """The channel of ``planes`` (channels, H, W) that the card names, as probability or labels."""
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
    try:
        return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except _onnx_errors() as error:
        raise ModelError(f"{weights}: not a model that onnxruntime can run ({_first_line(error)})") from error


def _onnx_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: its errors share no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415 - heavy

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NotImplemented")
    return (ValueError, RuntimeError, state.RuntimeException, *(getattr(state, name) for name in names))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
