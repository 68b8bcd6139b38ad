"""What a card or an ONNX file can have wrong: each is refused in one line before anything is read or written."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pdl1quant.config import Config, NucleiConfig
from pdl1quant.errors import ModelError
from pdl1quant.model import CellClass
from pdl1quant.networks.card import load_model
from pdl1quant.networks.chosen import pin_model
from pdl1quant.networks.classifier import load_classifier
from toy_models import save_darkness, write_card

PROBABILITY = {"nuclei_gives": "probability", "nuclei_activation": "sigmoid"}
NCHW = {"input_layout": "NCHW", "input_dtype": "float32", "input_divisor": 255.0, **PROBABILITY}
PLAIN = NCHW | {"nuclei_activation": "none"}
FREE = (1, 3, "h", "w")


def refusal(model):
    load_model.cache_clear()
    with pytest.raises(ModelError) as caught:
        pin_model(Config(nuclei=NucleiConfig(model=str(model))))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def is_taken(model):
    load_model.cache_clear()
    return bool(pin_model(Config(nuclei=NucleiConfig(model=str(model)))).nuclei.model_sha256)


# --- the card --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("key", "line", "says"),
    [
        ("licence", "", "no key 'licence': licence of the weights; add it"),
        ("licence", 'license = "MIT"', "unknown key 'license'; the nearest is 'licence'"),
        ("licence", 'licence = " "', "licence = ' ': string should have at least 1 character"),
        ("name", 'name = "a\\nb"', "should be one line"),
        ("mpp", 'mpp = "0.5"', "mpp = '0.5': input should be a valid number"),
        ("mpp", "mpp = true", "mpp = True"),
        ("mpp", "mpp = nan", "mpp = nan"),
        ("mpp", "mpp = 0", "mpp = 0"),
        ("mpp", "mpp = 1e-9", "mpp = 1e-09"),
        ("mpp", "mpp = 500", "less than or equal to 5"),
        ("input_std", "input_std = [1.0, 1.0]", "input_std = [1.0, 1.0]: has too few values"),
        ("sha256", 'sha256 = "abc"', "64 hexadecimal digits"),
        ("file", 'file = "model.pt"', ".onnx file beside the card"),
        ("file", 'file = "lost.onnx"', "beside the card"),
        ("kind", 'kind = "classifier"', "--classifier"),
        ("surprise", "surprise = 1", "unknown key 'surprise'"),
    ],
)
def test_broken_key_is_named_with_what_to_do(tmp_path, key, line, says):
    card = save_darkness(tmp_path, **NCHW) / "card.toml"
    kept = [each for each in card.read_text().splitlines() if not each.startswith(f"{key} =")]
    card.write_text("\n".join([*kept, line]))
    assert says in refusal(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_card_may_be_written_by_windows(tmp_path, encoding):
    card = save_darkness(tmp_path, **NCHW) / "card.toml"
    digest = hashlib.sha256((tmp_path / "toy.onnx").read_bytes()).hexdigest()
    card.write_text(card.read_text().replace(digest, digest.upper()), encoding=encoding)
    assert is_taken(tmp_path)


@pytest.mark.parametrize("name", ["card.toml", "toy.onnx"])
def test_file_in_place_of_its_folder_is_refused(tmp_path, name):
    assert "give the folder" in refusal(save_darkness(tmp_path, **NCHW) / name)


def test_folder_may_have_spaces_and_umlauts(tmp_path):
    assert is_taken(save_darkness(tmp_path / "mein schönes Modell", **NCHW))


def test_classes_need_the_output_that_holds_them(tmp_path):
    """Without it rules would name the cells, and CPS would count macrophages that nobody looked for."""
    classes = [str(name) for name in CellClass]
    folder = save_darkness(tmp_path, input_layout="NCHW", input_dtype="float32", classes=classes)
    assert "cells and classes go together" in refusal(folder)


def test_network_is_no_classifier(tmp_path):
    with pytest.raises(ModelError, match=r"nuclei\.model"):
        load_classifier(save_darkness(tmp_path, **NCHW))


# --- the ONNX file ---------------------------------------------------------------------------------------------------
def save_graph(folder, *nodes, shape=FREE, kind=TensorProto.FLOAT, more=(), gives=TensorProto.FLOAT, **card):
    """A model of these nodes, from ``grey``, the mean of the channels of ``image``, to ``out``."""
    value, make = helper.make_tensor_value_info, helper.make_tensor
    mean = helper.make_node("ReduceMean", ["image", "axis"], ["grey"], keepdims=1)
    nodes = [helper.make_node(name, inputs, [output], **more) for name, inputs, output, more in nodes]
    constants = [make("axis", TensorProto.INT64, [1], [1])]
    constants += [make(name, TensorProto.FLOAT, [1], [v]) for name, v in (("zero", 0), ("hundred", 100), ("half", 0.5))]
    inputs = [value("image", kind, shape), *(value(name, kind, [1]) for name in more)]
    graph = helper.make_graph([mean, *nodes], "toy", inputs, [value("out", gives, None)], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "toy.onnx")
    return write_card(folder, **PLAIN | card)


SAME = ("Identity", ["grey"], "out", {})
HALF = ("AveragePool", ["grey"], "out", {"kernel_shape": [2, 2], "strides": [2, 2]})


@pytest.mark.parametrize(
    ("nodes", "settings", "says"),
    [
        ([SAME], {"shape": (1, 3, 64, 64)}, "fixed to 1 x 3 x 64 x 64"),
        ([SAME], {"shape": (1, 4, "h", "w")}, "4 channels"),
        ([SAME], {"shape": (2, 3, "h", "w")}, "2 images at a time"),
        ([SAME], {"shape": (3, "h", "w")}, "3 axes"),
        ([SAME], {"input_layout": "NHWC"}, "image is NCHW, its card says NHWC"),
        ([SAME], {"input": "picture"}, "no input 'picture', but 'image'"),
        ([SAME], {"nuclei": "nothing"}, "no output 'nothing', but 'out'"),
        ([SAME], {"input_dtype": "uint8", "input_divisor": 1.0}, "reads float32, its card says uint8"),
        ([SAME], {"kind": TensorProto.FLOAT16, "gives": TensorProto.FLOAT16}, "export the model to read"),
        ([("Add", ["grey", "second"], "out", {})], {"more": ("second",)}, "takes 2 inputs"),
        ([HALF], {"multiple_px": 2}, "on the grid of the input"),
        ([("Div", ["grey", "zero"], "out", {})], {}, "NaN or infinite"),
        ([("Div", ["grey", "zero"], "out", {})], {"nuclei_activation": "sigmoid"}, "NaN or infinite"),
        ([("Mul", ["grey", "hundred"], "out", {})], {}, "gives 100 to 100, not probabilities"),
        ([("Neg", ["grey"], "out", {})], {}, "mend nuclei_activation"),
        ([("Mul", ["grey", "half"], "out", {})], {"nuclei_gives": "labels"}, "with fractions, not labels"),
        ([("Cast", ["grey"], "out", {"to": TensorProto.STRING})], {"gives": TensorProto.STRING}, "not numbers"),
    ],
)
def test_file_that_is_not_what_its_card_says_is_refused(tmp_path, nodes, settings, says):
    assert says in refusal(save_graph(tmp_path, *nodes, **settings))


def test_weights_in_a_file_that_the_hash_does_not_cover_are_refused(tmp_path):
    """What torch.onnx.export writes beside the model; whoever changed them left the hash of the model as it was."""
    weights = [numpy_helper.from_array(np.zeros((64, 3, 3, 3), np.float32), "weights")]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights"], ["out"], pads=[1] * 4)], "toy",
        [value("image", TensorProto.FLOAT, FREE)], [value("out", TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "toy.onnx", save_as_external_data=True, location="toy.onnx.data", size_threshold=0)
    assert "other files, which its hash does not cover" in refusal(write_card(tmp_path, **PLAIN))
