"""What training makes small: the distance from rendered truth, and from what the network said before.

``nuclei`` (N, 2, H, W) and ``cells`` (N, 7, H/2, W/2) are logits of `network.CellNet`, ``batch`` (N, H, W, 6) uint8 is
as `fields` makes it. Each loss is a scalar.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from fields import BACKGROUND, IGNORED

CLASS_WEIGHTS = (1.0, 1.0, 2.0, 1.0, 1.5)
"""Macrophages and the others are rare."""


def losses(nuclei: torch.Tensor, cells: torch.Tensor, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    """The parts of the distance from truth."""
    depth, extent, code = (batch[..., k] for k in (3, 4, 5))
    inside, known = (depth > 0).float(), (code != IGNORED).float()
    found, share = nuclei[:, 0], torch.sigmoid(nuclei[:, 1])
    probability = torch.sigmoid(found) * known
    around = functional.max_pool2d(inside[:, None], 5, stride=1, padding=2)[:, 0]  # gaps between crowded nuclei, rims
    crossing = functional.binary_cross_entropy_with_logits(found, inside, weight=known * (1 + around - inside))
    overlap = 2 * (probability * inside).sum() + 1
    dice = 1 - overlap / (probability.sum() + (inside * known).sum() + 1)
    half = functional.avg_pool2d(torch.stack([(extent > 0).float(), extent.float() / 255, known], 1), 2)
    whole = functional.binary_cross_entropy_with_logits(cells[:, 0], half[:, 0], weight=half[:, 2])
    target = code[:, ::2, ::2].long()
    target = torch.where(target >= BACKGROUND, -1, target)
    kind = functional.cross_entropy(
        cells[:, 2:], target, weight=torch.tensor(CLASS_WEIGHTS), ignore_index=-1, label_smoothing=0.02
    )
    return {
        "nucleus": crossing,
        "dice": dice,
        "depth": 4 * _apart(share, depth.float() / 255, inside * known),
        "cell": 0.5 * whole,
        "border": 2 * _apart(torch.sigmoid(cells[:, 1]), half[:, 1], half[:, 0]),
        "class": 0.8 * torch.nan_to_num(kind),
    }


def kept(
    nuclei: torch.Tensor, cells: torch.Tensor, said: tuple[torch.Tensor, torch.Tensor], batch: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The parts of the distance from what the first network ``said`` (nuclei, cells) of the same images.

    Its classes are kept where they are those of truth; what it took for another is left to `losses`.
    """
    (found, depth), (whole, border) = (torch.sigmoid(each[:, :2]).unbind(1) for each in said)
    right = (said[1][:, 2:].argmax(1) == batch[:, ::2, ::2, 5].long()).float()
    kind = -(torch.softmax(said[1][:, 2:], 1) * torch.log_softmax(cells[:, 2:], 1)).sum(1)
    return {
        "kept nucleus": 2 * functional.binary_cross_entropy_with_logits(nuclei[:, 0], found),
        "kept depth": 4 * _apart(torch.sigmoid(nuclei[:, 1]), depth, found),
        "kept cell": functional.binary_cross_entropy_with_logits(cells[:, 0], whole),
        "kept border": 2 * _apart(torch.sigmoid(cells[:, 1]), border, whole),
        "kept class": (kind * right).sum() / (right.sum() + 1),
    }


def _apart(depth: torch.Tensor, other: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean distance of relative depths (N, H, W), weighted."""
    away = functional.smooth_l1_loss(depth, other, reduction="none", beta=0.1)
    return (away * weight).sum() / (weight.sum() + 1)
