"""The network: a small U-Net that works on half-size maps and hands back full-size ones.

Input (N, H, W, 3) uint8 RGB, sides multiples of 32. ``nuclei`` (N, 2, H, W): probability of nucleus, relative depth in
it. ``cells`` (N, 7, H/2, W/2): probability of cell, relative depth in it, five class probabilities. All 0-1.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

N_CLASSES = 5


class CellNet(nn.Module):
    """Skips are added, not concatenated; ``widths`` are the channels of the levels, each at half the size."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, stride=2, padding=1, bias=False), *_after(widths[0]))
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Sequential(_conv(a, b, stride=2), _conv(b, b)) for a, b in pairs)
        self.bottom = _conv(widths[-1], widths[-1])
        self.lift = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in reversed(pairs))
        self.up = nn.ModuleList(_conv(a, a) for a, _ in reversed(pairs))
        self.nuclei = nn.Conv2d(widths[0], 2 * 4, 1)
        self.cells = nn.Conv2d(widths[0], 2 + N_CLASSES, 1)

    def forward(self, rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits for (N, 3, H, W) float input of about unit scale."""
        x = self.stem(rgb)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        x = x + self.bottom(x)
        for lift, up, skip in zip(self.lift, self.up, reversed(skips), strict=True):
            x = up(functional.interpolate(lift(x), scale_factor=2, mode="nearest") + skip)
        return functional.pixel_shuffle(self.nuclei(x), 2), self.cells(x)


class Shipped(nn.Module):
    """The network as it is exported: bytes in, probabilities out."""

    def __init__(self, network: CellNet, *, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, H, W, 3) uint8 to probabilities."""
        nuclei, cells = self.network(scaled(rgb.permute(0, 3, 1, 2).float()))
        extent, classes = cells[:, :2], cells[:, 2:]
        odds = torch.exp(
            (classes / self.temperature).clamp(-40, 40)
        )  # onnxruntime's softmax over channels is far slower
        return torch.sigmoid(nuclei), torch.cat([torch.sigmoid(extent), odds / odds.sum(1, keepdim=True)], 1)


def scaled(rgb: torch.Tensor) -> torch.Tensor:
    """0-255 to about unit scale."""
    return (rgb - 180.0) * (1 / 60.0)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), *_after(outputs))


def _after(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels, momentum=0.03), nn.ReLU(inplace=True)
