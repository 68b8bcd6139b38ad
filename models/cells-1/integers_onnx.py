"""Write `integers.IntegerNet` as an ONNX file that onnxruntime runs in integers, channels last, without detours.

Standard operators alone, each convolution between DequantizeLinear and QuantizeLinear, as onnxruntime fuses them. The
transpositions around them cancel each other there. Two pixels side by side are taken as channels of one where that is
only another name for the same bytes: so the first convolution reads twelve channels in place of three, and what is
lifted to the next level is doubled along the rows by writing each channel twice, along the columns by a broadcast sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from integers import (
    BOTTOM,
    CELLS,
    CLASS_SHARE,
    LEVELS,
    LOGIT_STEP,
    LOGIT_ZERO,
    NUCLEI,
    PIXEL_STEP,
    PIXEL_ZERO,
    STEM,
    Step,
    down_of,
    lift_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from integers import IntegerNet

LOGIT = Step(LOGIT_STEP, LOGIT_ZERO)
OPSET = 17
N_NUCLEI, N_OUTPUTS = 8, 16
"""Outputs of the last convolution: depth and probability of four pixels, then those of cells; kernels want 16."""
Weights = tuple[np.ndarray, np.ndarray, np.ndarray]


def write_integers(network: IntegerNet, path: Path, *, temperature: float) -> None:
    """Write the network with its last activations, for any number of rows and columns that are multiples of 32.

    ``temperature`` divides the class logits, as in `export.py`.
    """
    graph = _Graph(network)
    level, skips = graph.stem(), []
    for k in range(LEVELS):
        skips.append(level)
        first, second = down_of(k)
        level = graph.conv(graph.conv(level, first, f"down{k}", stride=2), second, f"level{k + 1}")
    bottom = graph.conv(level, BOTTOM, "bottom")
    level = graph.add(level, bottom, "bottom_sum")
    for k in reversed(range(LEVELS)):
        first, second = lift_of(k)
        twice = tuple(np.concatenate([each, each]) for each in network.integer_weights(first))
        level = graph.conv(graph.rise(graph.conv(level, twice, f"lift{k}"), skips[k], f"sum{k}"), second, f"up{k}")
    graph.heads(level, temperature)
    value, uint8, real = helper.make_tensor_value_info, TensorProto.UINT8, TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "cells",
            [value("rgb", uint8, ["n", "height", "width", 3])],
            [
                value("nuclei", real, ["n", 2, "height", "width"]),
                value("cells", real, ["n", 7, "half_height", "half_width"]),
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="pdl1quant",
    )
    onnx.checker.check_model(model, full_check=True)
    partial = path.with_suffix(".part")
    onnx.save(model, partial)
    partial.replace(path)


class _Graph:
    """Nodes and constants; tensors are names with their steps: uint8, (N, H, W, C)."""

    def __init__(self, network: IntegerNet) -> None:
        self.network = network
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def shape(self, *sides: int) -> str:
        return self.constant(np.array(sides, np.int64))

    def read(self, name: str, step: Step) -> str:
        scale, zero = self.constant(np.float32(step.step)), self.constant(np.uint8(step.zero))
        return self.node("DequantizeLinear", [name, scale, zero])

    def write(self, name: str, step: Step) -> str:
        scale, zero = self.constant(np.float32(step.step)), self.constant(np.uint8(step.zero))
        return self.node("QuantizeLinear", [name, scale, zero])

    def turned(self, name: str, *order: int) -> str:
        return self.node("Transpose", [name], perm=list(order))

    def reshaped(self, name: str, *sides: int) -> str:
        return self.node("Reshape", [name, self.shape(*sides)])

    def part(self, name: str, axis: int, first: int, stop: int) -> str:
        return self.node("Slice", [name, *(self.shape(each) for each in (first, stop, axis))])

    def conv(
        self, x: tuple[str, Step], which: int | Weights, name: str, *, stride: int = 1, strides: list[int] | None = None
    ) -> tuple[str, Step]:
        """A convolution; levels below 0 are cut off, so that what was rectified needs no more."""
        weight, step, bias = self.network.integer_weights(which) if isinstance(which, int) else which
        out = LOGIT if name == "logits" else self.network.step(name)
        of_sums = np.float32(x[1].step) * step.astype(np.float32)
        whole = np.round(bias.astype(np.float64) / of_sums).astype(np.int32)
        inputs = [
            self.read(self.turned(x[0], 0, 3, 1, 2), x[1]),
            self._whole(weight.astype(np.int8), step),
            self._whole(whole, of_sums),
        ]
        sides, pad = list(weight.shape[2:]), min(1, weight.shape[2] - 1)
        y = self.node("Conv", inputs, kernel_shape=sides, strides=strides or [stride] * 2, pads=[pad] * 4)
        return self.turned(self.write(y, out), 0, 2, 3, 1), out

    def _whole(self, values: np.ndarray, step: np.ndarray) -> str:
        zero = np.zeros(len(step), values.dtype)
        names = [self.constant(each) for each in (values, step.astype(np.float32), zero)]
        return self.node("DequantizeLinear", names, axis=0)

    def stem(self) -> tuple[str, Step]:
        """Two outputs side by side from blocks of four pixels side by side."""
        weight, step, bias = self.network.integer_weights(STEM)
        n = len(weight)
        wide = np.zeros((2 * n, 12, weight.shape[2], 3), weight.dtype)
        for place in range(2):
            for column in range(weight.shape[3]):
                block, pixel = divmod(2 * place + 3 + column, 4)
                rows = slice(n * place, n * place + n)
                wide[rows, 3 * pixel : 3 * pixel + 3, :, block] = weight[:, :, :, column]
        blocks = (self.reshaped("rgb", 0, 0, -1, 12), Step(PIXEL_STEP, PIXEL_ZERO))
        y, out = self.conv(blocks, (wide, np.tile(step, 2), np.tile(bias, 2)), "level0", strides=[2, 1])
        return self.reshaped(y, 0, 0, -1, n), out

    def add(self, a: tuple[str, Step], b: tuple[str, Step], name: str) -> tuple[str, Step]:
        out = self.network.step(name)
        return self.write(self.node("Add", [self.read(*a), self.read(*b)]), out), out

    def rise(self, lifted: tuple[str, Step], skip: tuple[str, Step], name: str) -> tuple[str, Step]:
        """The sum of a skip and of what was lifted, whose channels are there twice, at double size."""
        rows = self.reshaped(self.reshaped(lifted[0], 0, 0, -1), -1, 1, 0)
        pairs = self.reshaped(self.reshaped(skip[0], 0, 0, -1), -1, 2, 0)
        total, out = self.add((pairs, skip[1]), (rows, lifted[1]), name)
        return self.node("Reshape", [total, self.node("Shape", [skip[0]])]), out

    def heads(self, x: tuple[str, Step], temperature: float) -> None:
        """Both outputs from one convolution."""
        nuclei, cells = self.network.integer_weights(NUCLEI), self.network.integer_weights(CELLS)
        order = [4 * what + 2 * row + column for column in range(2) for what in range(2) for row in range(2)]
        share = np.array([1.0, 1.0, *[CLASS_SHARE] * (len(cells[0]) - 2)], np.float32)
        empty = N_OUTPUTS - N_NUCLEI - len(cells[0])
        together = (
            np.concatenate([nuclei[0][order], cells[0], np.zeros((empty, *cells[0].shape[1:]), np.float32)]),
            np.concatenate([nuclei[1][order], cells[1] * share, np.ones(empty, np.float32)]),
            np.concatenate([nuclei[2][order], cells[2] * share, np.zeros(empty, np.float32)]),
        )
        y = self.conv(x, together, "logits")[0]
        size = self.node("Shape", ["rgb"], start=1, end=3)
        width = self.node("Shape", ["rgb"], start=2, end=3)
        # (N, h, W, [what, row]) to (N, what, h, row, W): first as planes, then by whole rows
        fine = self.turned(self.reshaped(self.part(y, 3, 0, N_NUCLEI), 0, 0, -1, 4), 0, 3, 1, 2)
        fine = self.node("Reshape", [fine, self.node("Concat", [self.shape(0, 2, 2, -1), width], axis=0)])
        fine = self.turned(fine, 0, 1, 3, 2, 4)
        fine = self.node("Reshape", [fine, self.node("Concat", [self.shape(0, 2), size], axis=0)])
        self.node("Sigmoid", [self.read(fine, LOGIT)], "nuclei")
        planes = self.turned(y, 0, 3, 1, 2)
        extent = self.node("Sigmoid", [self.read(self.part(planes, 1, N_NUCLEI, N_NUCLEI + 2), LOGIT)])
        kinds = self.part(planes, 1, N_NUCLEI + 2, N_NUCLEI + len(cells[0]))
        odds = self.node("Exp", [self.read(kinds, Step(LOGIT_STEP / (CLASS_SHARE * temperature), LOGIT_ZERO))])
        total = self.node("ReduceSum", [odds, self.shape(1)], keepdims=1)
        self.node("Concat", [extent, self.node("Div", [odds, total])], "cells", axis=1)
