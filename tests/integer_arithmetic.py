"""What a network in integers gives by exact arithmetic: sums of products in 64 bits, rounded when written."""

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper, numpy_helper


def constants_of(model):
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def convolutions(model):
    """Whole weights (out, in, h, w) of each convolution."""
    constants, makers = constants_of(model), {node.output[0]: node for node in model.graph.node}
    return [constants[makers[node.input[1]].input[0]] for node in model.graph.node if node.op_type == "Conv"]


def exact_outputs(path, rgb):
    """All outputs of a model for an image (H, W, 3), by name, without the first axis."""
    model = onnx.load(path)
    values = {**constants_of(model), "rgb": rgb[None]}
    for node in model.graph.node:
        settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        values[node.output[0]] = _RULES[node.op_type](*(values[name] for name in node.input), **settings)
    return {each.name: values[each.name][0] for each in model.graph.output}


class _Read:
    """Levels with their step, as DequantizeLinear hands them on."""

    def __init__(self, levels, step, zero, axis=0):  # noqa: ARG002  weights alone have an axis, always the first
        self.levels, self.step, self.zero = levels, step.astype(np.float32), int(np.max(zero))

    def whole(self):
        return self.levels.astype(np.int64) - self.zero

    def real(self):
        return self.whole() * self.step.astype(np.float64)


def _conv(x, weight, bias, *, pads, strides, kernel_shape):
    top, left, bottom, right = pads
    padded = np.pad(x.whole(), ((0, 0), (0, 0), (top, bottom), (left, right)))
    seen = sliding_window_view(padded, kernel_shape, axis=(2, 3))[:, :, :: strides[0], :: strides[1]]
    sums = np.tensordot(seen, weight.levels.astype(np.int64), axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    assert np.abs(sums).max() < 2**31
    return sums + bias.levels[:, None, None], (x.step * weight.step).astype(np.float32)


def _written(value, step, zero):
    """Of a convolution rounded as float32 does; of a sum without any rounding before: its steps divide each other."""
    first, second = value
    if isinstance(first, _Read):
        assert all(np.frexp(each.step / step)[0] == 0.5 for each in value)
        level = sum(each.whole() * np.float64(each.step / step) for each in value)
    else:
        level = first.astype(np.float32) * (second / step)[:, None, None]
    return np.clip(np.rint(level).astype(np.int64) + int(zero), 0, 255).astype(np.uint8)


def _reshaped(value, sides):
    return value.reshape([value.shape[k] if side == 0 else side for k, side in enumerate(sides)])


_RULES = {
    "DequantizeLinear": _Read,
    "Conv": _conv,
    "Add": lambda a, b: (a, b),
    "QuantizeLinear": _written,
    "Reshape": _reshaped,
    "Transpose": lambda value, perm: value.transpose(perm),
    "Slice": lambda value, first, stop, axis: value.take(range(first[0], stop[0]), axis=axis[0]),
    "Shape": lambda value, start=0, end=None: np.array(value.shape[start:end]),
    "Concat": lambda *values, axis: np.concatenate(values, axis),
    "Sigmoid": lambda logits: 1 / (1 + np.exp(-logits.real())),
    "Exp": lambda logits: np.exp(logits.real()),
    "ReduceSum": lambda value, axes, keepdims: value.sum(axis=tuple(axes), keepdims=bool(keepdims)),
    "Div": lambda a, b: a / b,
}
