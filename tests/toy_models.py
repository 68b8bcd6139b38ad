"""Small models for tests: ONNX files with a card, and what StarDist, Cellpose and InstanSeg would load."""

import contextlib
import hashlib
import io
import json
import warnings
from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pdl1quant.config import NucleiConfig
from pdl1quant.networks.card import load_model, shipped_folder

LIBRARIES = {"stardist": ("stardist", "tensorflow"), "cellpose": ("cellpose", "torch"), "instanseg": ("torch",)}
CARD = {
    "name": "toy", "title": "Dark blobs", "file": "toy.onnx", "licence": "BSD-3-Clause", "training_data": "none",
    "limits": "a toy", "mpp": 0.5, "multiple_px": 1, "reach_px": 8, "input": "image", "nuclei": "out",
}  # fmt: skip


def write_card(folder, **card):
    """``card.toml`` beside the ONNX file that it names."""
    card = CARD | card
    card |= {"sha256": hashlib.sha256((folder / card["file"]).read_bytes()).hexdigest()}
    (folder / "card.toml").write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in card.items()))
    load_model.cache_clear()
    return folder


def save_nuclei_only(folder):
    """The shipped network without its cells and classes."""
    folder.mkdir(parents=True, exist_ok=True)
    shipped = load_model(shipped_folder())
    onnx.utils.extract_model(shipped.weights, folder / "toy.onnx", [shipped.card.input], [shipped.card.nuclei])
    return write_card(
        folder, input=shipped.card.input, nuclei=shipped.card.nuclei, multiple_px=shipped.card.multiple_px
    )


def save_darkness(folder, *, layout="NCHW", levels=1, out_layout="NCHW", two_channels=False, **card):
    """Gives 10 - 20 * (mean of the channels / ``levels``): above 0 where the image is darker than half of that."""
    node, axis = helper.make_node, layout.index("C")
    nodes = [
        node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        node("ReduceMean", ["float", "axis"], ["grey"], keepdims=1),
        node("Mul", ["grey", "slope"], ["steep"]),
        node("Add", ["steep", "offset"], ["dark"]),
        node("Neg", ["dark"], ["bright"]),
        node("Concat", ["bright", "dark"] if two_channels else ["dark"], ["all"], axis=axis),
    ]
    if out_layout == layout:
        nodes.append(node("Identity", ["all"], ["out"]))
    elif out_layout == "NHW":
        nodes.append(node("Squeeze", ["all", "axis"], ["out"]))
    else:
        nodes.append(node("Transpose", ["all"], ["out"], perm=[0, 3, 1, 2] if layout == "NHWC" else [0, 2, 3, 1]))
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [axis]),
        helper.make_tensor("slope", TensorProto.FLOAT, [1], [-20.0 / levels]),
        helper.make_tensor("offset", TensorProto.FLOAT, [1], [10.0]),
    ]
    value = helper.make_tensor_value_info
    dtype = TensorProto.FLOAT if levels == 1 else TensorProto.UINT8
    image = value("image", dtype, [1, 3, "h", "w"] if layout == "NCHW" else [1, "h", "w", 3])
    graph = helper.make_graph(nodes, "toy", [image], [value("out", TensorProto.FLOAT, None)], constants)
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "toy.onnx")
    return write_card(folder, **card)


def save_numbered(folder, **card):
    """Labels dark pixels, each by the number of its 8 x 8 field: squares."""
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["image", "axis"], ["grey"], keepdims=1),
        node("Less", ["grey", "half"], ["is_dark"]),
        node("Cast", ["is_dark"], ["dark"], to=TensorProto.FLOAT),
        node("AveragePool", ["dark"], ["coarse"], kernel_shape=[8, 8], strides=[8, 8]),
        node("Sub", ["coarse", "coarse"], ["zeros"]),
        node("Exp", ["zeros"], ["ones"]),
        node("CumSum", ["ones", "down"], ["rows"]),
        node("Mul", ["rows", "many"], ["row_numbers"]),
        node("CumSum", ["ones", "right"], ["columns"]),
        node("Add", ["row_numbers", "columns"], ["numbers"]),
        node("Resize", ["numbers", "", "scales"], ["fine"], mode="nearest", nearest_mode="floor",
             coordinate_transformation_mode="asymmetric"),
        node("Mul", ["fine", "dark"], ["labels"]),
        node("Cast", ["labels"], ["out"], to=TensorProto.INT32),
    ]  # fmt: skip
    make = helper.make_tensor
    constants = [
        make("axis", TensorProto.INT64, [1], [1]), make("half", TensorProto.FLOAT, [1], [0.5]),
        make("down", TensorProto.INT64, [], [2]), make("right", TensorProto.INT64, [], [3]),
        make("many", TensorProto.FLOAT, [1], [1000.0]), make("scales", TensorProto.FLOAT, [4], [1.0, 1.0, 8.0, 8.0]),
    ]  # fmt: skip
    value = helper.make_tensor_value_info
    image = value("image", TensorProto.FLOAT, [1, 3, "h", "w"])
    graph = helper.make_graph(nodes, "toy", [image], [value("out", TensorProto.INT32, None)], constants)
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "toy.onnx")
    return write_card(folder, nuclei_gives="labels", multiple_px=8, **card)


def skip_without(segmenter):
    """Skip the test where the library is not installed."""
    missing = [name for name in LIBRARIES.get(segmenter, ()) if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; pip install 'pdl1quant[{segmenter}]'")


@contextlib.contextmanager
def quietly():
    """Libraries print and warn while they are imported and while they save."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def save_instanseg(path, *, pixel_size=0.5):
    """A TorchScript module that labels connected dark pixels, as InstanSeg's own does: (1, 3, h, w) to (1, 1, h, w)."""
    with quietly():
        import torch

        class DarkBlobs(torch.nn.Module):
            def __init__(self, pixel_size: float):
                super().__init__()
                self.pixel_size: float = pixel_size
                self.cells_and_nuclei: bool = False

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                dark = (x.mean(dim=1, keepdim=True) < 0.5).float()
                h, w = x.size(2), x.size(3)
                number = torch.arange(1, h * w + 1).reshape(1, 1, h, w).float() * dark
                for _ in range(64):
                    number = torch.nn.functional.max_pool2d(number, 3, 1, 1) * dark
                return number

        torch.jit.script(DarkBlobs(pixel_size)).save(str(path))
    return path


def save_stardist(folder, *, channels=3):
    """A StarDist model whose weights are set by hand: octagons of 4 px radius where the image is dark."""
    with quietly():
        from stardist.models import Config2D, StarDist2D

        config = Config2D(
            n_rays=8, n_channel_in=channels, grid=(1, 1), unet_n_depth=1, unet_n_filter_base=2, net_conv_after_unet=2
        )
        model = StarDist2D(config, name=folder.name, basedir=str(folder.parent))
        for layer in model.keras_model.layers:
            if not layer.get_weights():
                continue
            kernel, bias = (np.zeros_like(each) for each in layer.get_weights())
            middle = kernel.shape[0] // 2
            if layer.name == "prob":
                kernel[..., 0, 0], bias[:] = 40, -20
            elif layer.name == "dist":
                bias[:] = 4
            elif kernel.shape[2] == channels and "down_level_0_no_0" in layer.name:
                kernel[middle, middle, :, 0], bias[0] = -1 / channels, 1  # darkness
            else:
                kernel[middle, middle, 0, 0] = 1  # passed on
            layer.set_weights([kernel, bias])
        model.keras_model.save_weights(str(folder / "weights_best.h5"))
        (folder / "thresholds.json").write_text('{"prob": 0.5, "nms": 0.3}')
    return folder


def save_cellpose(path, monkeypatch):
    """A Cellpose 4 model of set weights, and Cellpose's large encoder replaced by one without layers.

    Dark pixels are cells; they flow towards darker ones within each field of 8 x 8 px.
    """
    with quietly():
        import torch
        from cellpose import vit

        class Encoder(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.patch_embed = torch.nn.Module()
                self.patch_embed.proj = torch.nn.Conv2d(3, 64, 16, 16)
                self.pos_embed = torch.nn.Parameter(torch.zeros(1, 64, 64, 64))
                self.blocks = torch.nn.ModuleList([])
                self.neck = torch.nn.Sequential(torch.nn.Conv2d(64, 64, 1, bias=False), torch.nn.Identity())

        class Sam(torch.nn.Module):
            def __init__(self, _):
                super().__init__()
                self.image_encoder = Encoder()

        monkeypatch.setitem(vit.sam_model_registry, "vit_l", Sam)
        model = vit.CPSAM()
        with torch.no_grad():
            embed, out = model.encoder.patch_embed.proj, model.out
            for layer in (embed, out):
                layer.weight.zero_()
                layer.bias.zero_()
            embed.bias.fill_(1.0)
            model.encoder.neck[0].weight.copy_(torch.eye(64)[:, :, None, None])
            for pixel in range(64):
                y, x = divmod(pixel, 8)
                embed.weight[pixel, :, y, x] = -1 / 3  # feature: how dark is this pixel?
                for channel, (first, last) in enumerate(
                    (((max(y - 1, 0), x), (min(y + 1, 7), x)), ((y, max(x - 1, 0)), (y, min(x + 1, 7))))
                ):
                    out.weight[channel * 64 + pixel, first[0] * 8 + first[1]] -= 30
                    out.weight[channel * 64 + pixel, last[0] * 8 + last[1]] += 30
                out.weight[128 + pixel, pixel] = 20
            out.bias[128:] = -10
        model.save_model(str(path))
    return path


def foreign_model(segmenter, folder, monkeypatch):
    """``NucleiConfig`` of a small model of that library; skips the test where it is not installed."""
    skip_without(segmenter)
    if segmenter == "stardist":
        return NucleiConfig(segmenter=segmenter, model=str(save_stardist(folder / "stars")), model_mpp=0.5)
    if segmenter == "cellpose":
        path = save_cellpose(folder / "cellpose_model", monkeypatch)
        return NucleiConfig(segmenter=segmenter, model=str(path), model_mpp=0.5)
    return NucleiConfig(segmenter=segmenter, model=str(save_instanseg(folder / "instanseg.pt")))
