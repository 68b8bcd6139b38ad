"""The network in 8-bit integers (int8): its weights, and what flows through it, as `integers_onnx.py` writes them.

Sums are made to be exact on every processor: argued from onnxruntime's kernels for x86-64, tested on processors with
VNNI and with AVX2 alone, not checked on ARM. Without VNNI, onnxruntime adds the products of two neighbouring input
channels in 16 bits, which must not overflow: 255 times the sum of two weights of one sign is at most 32,640
(`weight_steps`). Where two tensors are added, their steps divide each other, so that no order of rounding matters
(`align_steps`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

LEVELS = 4
"""Halvings of the size below the first."""
STEM, BOTTOM, NUCLEI, CELLS = 0, 9, 18, 19
"""Places of convolutions in the order in which they run; `down_of` and `lift_of` tell those of the others."""
PIXEL_STEP, PIXEL_ZERO = 1 / 60, 180
"""The pixels need no rounding: what `network.scaled` makes of them are whole numbers of this step."""
LOGIT_STEP, LOGIT_ZERO = 10 / 255, 128
"""Logits end at about +-5, a probability of 0.993."""
CLASS_SHARE = 0.6
"""Class logits are larger; they are written as this share of themselves."""
LARGEST_WEIGHT = 127
LARGEST_PAIR = 127
"""Before rounding; after it two neighbours of one sign sum to 128 at most."""
BALANCE = 0.5
"""Between ranges of channels (1) and of the weights that read them (0), where channels are made alike."""


class Step(NamedTuple):
    """Real value = ``step`` * (level - ``zero``), levels 0-255."""

    step: float
    zero: int


def down_of(level: int) -> tuple[int, int]:
    """The two convolutions that lead from a level to the next smaller one."""
    return 1 + 2 * level, 2 + 2 * level


def lift_of(level: int) -> tuple[int, int]:
    """The two that lead back to a level: over the channels, then after the skip is added."""
    return 10 + 2 * (LEVELS - 1 - level), 11 + 2 * (LEVELS - 1 - level)


class IntegerNet(nn.Module):
    """`network.CellNet` of exported weights, its norms in the convolutions; rounds as integers do where ``rounds``."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        graph = onnx.load(path).graph
        tensors = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        convs = [node for node in graph.node if node.op_type == "Conv"]
        self.weights = nn.ParameterList([nn.Parameter(torch.tensor(tensors[node.input[1]])) for node in convs])
        self.biases = nn.ParameterList([nn.Parameter(torch.tensor(tensors[node.input[2]])) for node in convs])
        self.log_steps = nn.ParameterDict()
        self.zeros: dict[str, int] = {}
        self.exact: dict[str, float] = {}
        self.rounds = False
        self.watch: Callable[[str, torch.Tensor], None] | None = None

    def forward(self, rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of (N, H, W, 3) uint8, as those of `network.CellNet`."""
        x = (rgb.permute(0, 3, 1, 2).float() - PIXEL_ZERO) * PIXEL_STEP
        x, skips = self._flow("level0", functional.relu(self._conv(x, STEM, stride=2))), []
        for level in range(LEVELS):
            skips.append(x)
            first, second = down_of(level)
            x = self._flow(f"down{level}", functional.relu(self._conv(x, first, stride=2)))
            x = self._flow(f"level{level + 1}", functional.relu(self._conv(x, second)))
        x = self._flow("bottom_sum", x + self._flow("bottom", functional.relu(self._conv(x, BOTTOM))))
        for level in reversed(range(LEVELS)):
            first, second = lift_of(level)
            lifted = self._flow(f"lift{level}", self._conv(x, first))
            total = functional.interpolate(lifted, scale_factor=2, mode="nearest") + skips[level]
            x = self._flow(f"up{level}", functional.relu(self._conv(self._flow(f"sum{level}", total), second)))
        nuclei, cells = self._conv(x, NUCLEI), self._conv(x, CELLS)
        if self.rounds:
            logits = Step(LOGIT_STEP, LOGIT_ZERO)
            nuclei = _rounded(nuclei, torch.tensor(logits.step), logits.zero)
            share = torch.tensor([1.0] * 2 + [CLASS_SHARE] * (cells.shape[1] - 2))[:, None, None]
            cells = _rounded(cells * share, torch.tensor(logits.step), logits.zero) / share
        return functional.pixel_shuffle(nuclei, 2), cells

    def step(self, name: str) -> Step:
        """How a tensor is written."""
        return Step(self.exact.get(name, float(self.log_steps[name].detach().exp())), self.zeros[name])

    def integer_weights(self, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whole numbers -127 to 127 (out, in, h, w), the step of each output channel, and the bias (float)."""
        weight, step = self.weights[place].detach(), weight_steps(self.weights[place].detach(), place)
        return torch.round(weight / step).numpy(), step.flatten().numpy(), self.biases[place].detach().numpy()

    def _conv(self, x: torch.Tensor, place: int, *, stride: int = 1) -> torch.Tensor:
        weight = self.weights[place]
        if self.rounds:
            step = weight_steps(weight.detach(), place)
            weight = _straight(weight / step) * step
        return functional.conv2d(x, weight, self.biases[place], stride, padding=min(1, weight.shape[-1] - 1))

    def _flow(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if self.watch is not None:
            self.watch(name, x)
        return _rounded(x, self.log_steps[name].exp(), self.zeros[name]) if self.rounds else x


def _straight(x: torch.Tensor) -> torch.Tensor:
    """Rounded; its gradient is 1."""
    return x + (torch.round(x) - x).detach()


def _rounded(x: torch.Tensor, step: torch.Tensor, zero: int) -> torch.Tensor:
    return (_straight(torch.clamp(x / step + zero, 0, 255)) - zero) * step


def weight_steps(weight: torch.Tensor, place: int) -> torch.Tensor:
    """(out, 1, 1, 1): the smallest step of each output channel with which no sum of two products leaves 16 bits."""
    largest = weight.abs().amax((1, 2, 3)).clamp_min(1e-8)
    if place == STEM:  # its channels are laid out anew: any two may meet
        return (largest / 64)[:, None, None, None]
    even, odd = weight[:, 0::2], weight[:, 1::2]
    above, below = (even.clamp_min(0) + odd.clamp_min(0), -(even.clamp_max(0) + odd.clamp_max(0)))
    pair = torch.maximum(above.amax((1, 2, 3)), below.amax((1, 2, 3)))
    return torch.maximum(largest / LARGEST_WEIGHT, pair / LARGEST_PAIR)[:, None, None, None]


def equalise(network: IntegerNet, fields: Sequence[torch.Tensor]) -> None:
    """Scale channels so that those of one tensor, which share a step, are alike; what the network gives stays.

    After Nagel et al., Data-free quantization through weight equalization and bias correction, ICCV 2019, with the
    ranges that the channels have on ``fields``.
    """
    ranges: dict[str, torch.Tensor] = {}

    def watch(name: str, x: torch.Tensor) -> None:
        top = torch.quantile(x.abs().transpose(0, 1).flatten(1)[:, ::7], 0.9995, dim=1)
        ranges[name] = torch.maximum(ranges.get(name, top), top)

    _look(network, fields, watch)
    weights, biases = network.weights, network.biases
    with torch.no_grad():
        for writers, readers, names in _shared():
            of_channels = torch.stack([ranges[name] for name in names]).amax(0).clamp_min(1e-3)
            of_weights = torch.stack([weights[k].abs().amax((0, 2, 3)) for k in readers]).amax(0).clamp_min(1e-3)
            ratio = of_channels**BALANCE / of_weights ** (1 - BALANCE)
            ratio /= ratio.log().mean().exp()
            for k in writers:
                weights[k].div_(ratio[:, None, None, None])
                biases[k].div_(ratio)
            for k in readers:
                weights[k].mul_(ratio[None, :, None, None])


def _shared() -> list[tuple[list[int], list[int], list[str]]]:
    """Convolutions that write the same channels, those that read them, and the tensors between them."""
    groups = [([STEM, lift_of(0)[0]], [down_of(0)[0], lift_of(0)[1]], ["level0", "lift0", "sum0"])]
    for level in range(1, LEVELS):
        writers, readers = [down_of(level - 1)[1], lift_of(level)[0]], [down_of(level)[0], lift_of(level)[1]]
        groups.append((writers, readers, [f"level{level}", f"lift{level}", f"sum{level}"]))
    last = down_of(LEVELS - 1)[1]
    groups.append(([last, BOTTOM], [BOTTOM, lift_of(LEVELS - 1)[0]], [f"level{LEVELS}", "bottom", "bottom_sum"]))
    groups += [([down_of(level)[0]], [down_of(level)[1]], [f"down{level}"]) for level in range(LEVELS)]
    groups += [([lift_of(level)[1]], [lift_of(level - 1)[0]], [f"up{level}"]) for level in range(1, LEVELS)]
    return [*groups, ([lift_of(0)[1]], [NUCLEI, CELLS], ["up0"])]


def fit_steps(network: IntegerNet, fields: Sequence[torch.Tensor]) -> None:
    """Choose the step of each tensor for the smallest mean square of what rounding and cutting change on ``fields``."""
    ends: dict[str, tuple[float, float]] = {}
    counts: dict[str, torch.Tensor] = {}
    bins = 8192

    def find_ends(name: str, x: torch.Tensor) -> None:
        low, high = ends.get(name, (0.0, 0.0))
        ends[name] = min(low, float(x.min())), max(high, float(x.max()))

    def count(name: str, x: torch.Tensor) -> None:
        counts[name] = counts.get(name, 0) + torch.histc(x, bins, *ends[name]).double()

    _look(network, fields, find_ends)
    _look(network, fields, count)
    for name, (low, high) in ends.items():
        edges = np.linspace(low, high, bins + 1)
        best = _best_step((edges[1:] + edges[:-1]) / 2, counts[name].numpy(), low, high)
        network.log_steps[name] = nn.Parameter(torch.tensor(math.log(best.step)))
        network.zeros[name] = best.zero


def _best_step(values: np.ndarray, counts: np.ndarray, low: float, high: float) -> Step:
    tried: list[tuple[float, Step]] = []
    for top in np.linspace(0.2, 1, 81) * high:
        for bottom in np.linspace(0.2, 1, 17) * low if low < 0 else [0.0]:
            step = float(top - bottom) / 255
            zero = round(-float(bottom) / step)
            written = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
            tried.append((float((counts * (written - values) ** 2).sum()), Step(step, zero)))
    return min(tried)[1]


def align_steps(network: IntegerNet) -> None:
    """Make sums exact: steps of what is added are that of the sum times powers of two, and short enough to multiply.

    Zeros of sums become even, so that halves are rounded alike before and after they are added.
    """
    groups = [(f"sum{k}", [f"lift{k}", f"level{k}"]) for k in range(LEVELS)]
    groups.append(("bottom_sum", ["bottom", f"level{LEVELS}"]))
    for name, parts in groups:
        away = [math.log2(network.step(part).step / network.step(name).step) for part in parts]
        powers = [round(each) for each in away]
        shift = sum(each - power for each, power in zip(away, powers, strict=True)) / (len(parts) + 1)
        mantissa, exponent = math.frexp(network.step(name).step * 2**shift)
        step = math.ldexp(round(mantissa * 4096) / 4096, exponent)
        for part, power in zip([name, *parts], [0, *powers], strict=True):
            network.exact[part] = step * 2.0**power
        network.zeros[name] -= network.zeros[name] % 2


def _look(network: IntegerNet, fields: Sequence[torch.Tensor], watch: Callable[[str, torch.Tensor], None]) -> None:
    network.rounds, network.watch = False, watch
    with torch.no_grad():
        for field in fields:
            network(field)
    network.watch = None


def tune(
    network: IntegerNet,
    like: IntegerNet,
    batches: Iterable[torch.Tensor],
    *,
    count: int,
    learning_rate: float,
    temperature: float,
) -> None:
    """Let the rounded network say what ``like`` says: no label is looked at, nothing new is learnt.

    The ``count`` ``batches`` are (N, H, W, 3) uint8, each used once; ``temperature`` divides the class logits, as in
    `export.py`.
    """
    network.rounds = True
    groups = ((network.weights, 1), (network.biases, 5), (network.log_steps.values(), 20))
    optimiser = torch.optim.Adam([{"params": list(each), "share": share} for each, share in groups], betas=(0.9, 0.99))
    for step, rgb in enumerate(batches):
        fade = 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / count))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * group["share"] * fade * min(1.0, (step + 1) / 30)
        with torch.no_grad():
            wanted = like(rgb)
        optimiser.zero_grad()
        loss = _difference(network(rgb), wanted, temperature)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 49:
            print(f"{step + 1} of {count}: loss {float(loss.detach()):.5f}", flush=True)


def _difference(
    given: tuple[torch.Tensor, torch.Tensor], wanted: tuple[torch.Tensor, torch.Tensor], temperature: float
) -> torch.Tensor:
    """How far apart two networks' probabilities are; heights of nuclei, and classes where nuclei are, weigh more."""
    extents = [(given[0], wanted[0]), (given[1][:, :2], wanted[1][:, :2])]
    nuclei, wanted_nuclei = (torch.sigmoid(each[0]) for each in (given, wanted))
    height, wanted_height = (each[:, 0] * each[:, 1] for each in (nuclei, wanted_nuclei))
    kinds, wanted_kinds = (torch.log_softmax(each[1][:, 2:] / temperature, 1) for each in (given, wanted))
    weight = 0.1 + functional.avg_pool2d(wanted_nuclei[:, :1], 2)
    total = 8 * functional.mse_loss(height, wanted_height)
    total = total + ((wanted_kinds.exp() * (wanted_kinds - kinds)).sum(1, keepdim=True) * weight).mean()
    for logit, wanted_logit in extents:
        target = torch.sigmoid(wanted_logit)
        own = functional.binary_cross_entropy(target, target)
        total = total + functional.binary_cross_entropy_with_logits(logit, target) - own
        total = total + 4 * functional.mse_loss(torch.sigmoid(logit), target)
    return total
