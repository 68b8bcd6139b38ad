"""Go on from weights that were exported: batch norms are in the convolutions then, and are taken apart again.

What the export added to logits, the leans on the card beside the file, is taken off.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import onnx
import torch
from onnx import numpy_helper
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path

    from network import CellNet


def load_exported(network: CellNet, path: Path, rgb: torch.Tensor) -> None:
    """Fill ``network`` with the weights of ``path``, an ONNX file that `export.py` wrote, and leave it in training.

    Parameters
    ----------
    network
        Of the same widths.
    path
        ``model.onnx``, its ``card.toml`` beside it.
    rgb
        (N, 3, H, W) float as the network takes it: over these pixels the norms are fitted, so that the network gives
        on them what the file gives.
    """
    weights = {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    plain = {name: torch.tensor(value) for name, value in weights.items() if name.startswith("network.")}
    folded = iter([torch.tensor(value) for name, value in weights.items() if not name.startswith("network.")])
    network.load_state_dict({name.removeprefix("network."): value for name, value in plain.items()}, strict=False)
    blocks = [
        each for part in (network.stem, network.down, network.bottom, network.up)
        for each in part.modules() if isinstance(each, nn.Conv2d | nn.BatchNorm2d)
    ]  # fmt: skip
    with torch.no_grad():
        for conv, norm in zip(blocks[::2], blocks[1::2], strict=True):
            weight, bias = next(folded), next(folded)
            length = weight.flatten(1).norm(dim=1).clamp_min(1e-6)
            conv.weight.copy_(weight / length[:, None, None, None])
            norm.register_forward_pre_hook(_fit(norm, length, bias))
        network.train()(rgb)
    for norm in blocks[1::2]:
        norm._forward_pre_hooks.clear()  # noqa: SLF001  the handles live as long as the fit
    card = tomllib.loads(path.with_name("card.toml").read_text(encoding="utf-8"))
    with torch.no_grad():
        for number, name in enumerate(card["classes"]):
            network.cells.bias[2 + number] -= card["training"].get(f"lean_{name}", 0.0)
        network.nuclei.bias[:4] -= card["training"].get("lean_nucleus", 0.0)


def _fit(norm: nn.BatchNorm2d, length: torch.Tensor, bias: torch.Tensor):  # noqa: ANN202
    """A hook that sets the norm so that it gives ``length`` times its input plus ``bias``."""

    def hook(_: nn.Module, given: tuple[torch.Tensor]) -> None:
        mean, variance = given[0].mean((0, 2, 3)), given[0].var((0, 2, 3), unbiased=False)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(length * torch.sqrt(variance + norm.eps))
        norm.bias.copy_(bias + length * mean)

    return hook
