"""The network in 8-bit integers: exact on the processor at hand, and close to the one it was made from."""

import numpy as np
import onnx
import pytest

from integer_arithmetic import convolutions, exact_outputs
from pdl1quant import score_image
from pdl1quant.config import Config, NucleiConfig
from pdl1quant.errors import ModelError
from pdl1quant.model import Rect, Tile
from pdl1quant.networks.card import SHIPPED_MODELS, load_model, model_folder, shipped_folder
from pdl1quant.networks.chosen import names_classes, pin_model
from pdl1quant.networks.maps import predict
from pdl1quant.networks.segmenter import segment_with
from pdl1quant.networks.session import run_model
from pdl1quant.validation.detection import f1_score, match_labels
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

NAME = "cells-1-int8"
CONFIG = NucleiConfig(model=NAME)
UINT8 = 255
LARGEST_16 = 2**15 - 1
LAST_BITS = 2e-6
"""Of the sigmoid in float32; one level of the logits moves a probability by 2e-4 at least."""


@pytest.fixture(scope="module")
def model():
    return load_model(shipped_folder(NAME))


@pytest.fixture(scope="module")
def phantom():
    return render_phantom(PhantomSettings(size_px=768, tps_pct=30.0), seed=12)


def test_it_is_the_default_and_recorded_as_another_model_than_the_one_in_float32():
    assert NAME in SHIPPED_MODELS
    chosen, other = (pin_model(Config(nuclei=NucleiConfig(model=name))) for name in SHIPPED_MODELS)
    assert chosen.digest == pin_model(Config()).digest
    assert chosen.nuclei.model_sha256 != other.nuclei.model_sha256
    assert chosen.digest != other.digest
    assert names_classes(CONFIG)


def test_an_unknown_name_is_told_those_that_there_are():
    with pytest.raises(ModelError, match=r"cells-9: no folder of a model; .* are cells-1-int8 and cells-1$"):
        pin_model(Config(nuclei=NucleiConfig(model="cells-9")))


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    assert model_folder(CONFIG) == shipped_folder(NAME)
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    with pytest.raises(ModelError, match=r"card\.toml"):
        pin_model(Config(nuclei=CONFIG))


def test_it_comes_from_the_float32_network_and_is_small(model):
    assert model.card.training["integers_of"] == load_model(shipped_folder("cells-1")).card.sha256
    assert model.weights.stat().st_size < 2e6


def test_two_products_of_neighbours_never_leave_16_bits(model):
    """Processors without VNNI add them in 16 bits, and cut off what does not fit: others would get other numbers."""
    weights = convolutions(onnx.load(model.weights))
    assert len(weights) > 15
    for whole in weights:
        assert whole.dtype == np.int8
        even, odd = (whole[:, k::2].astype(int) for k in (0, 1))
        for sign in (1, -1):
            assert UINT8 * (np.maximum(sign * even, 0) + np.maximum(sign * odd, 0)).max() <= LARGEST_16


def test_processor_gives_what_exact_arithmetic_gives(model, phantom):
    rgb = np.ascontiguousarray(phantom.rgb[100:228, 200:392])
    exact = exact_outputs(model.weights, rgb)
    for given, wanted in zip(run_model(model, rgb), (exact["nuclei"], exact["cells"]), strict=True):
        assert np.abs(given - wanted).max() < LAST_BITS


def test_pixels_beyond_the_reach_change_nothing_at_all(model, phantom):
    x, y, size, far = 61, 37, 600, model.card.reach_px + 8
    rgb = np.ascontiguousarray(phantom.rgb[y : y + size, x : x + size])
    whole = predict(model, Tile.whole(phantom.rgb, 0.5))
    tile = Tile(rgb=rgb, mpp=0.5, core=Rect(x0=0, y0=0, x1=size, y1=size), x_px=x, y_px=y)
    part = predict(model, tile)
    inner = np.s_[far : size - far, far : size - far]
    for name in ("hills", "cells"):
        once = getattr(whole, name)[y : y + size, x : x + size]
        assert np.array_equal(once[inner], getattr(part, name)[inner]), name


def test_it_finds_and_names_what_the_float32_network_does(phantom):
    tile = Tile.whole(phantom.rgb, 0.5)
    whole, once = (segment_with(shipped_folder(name), tile, config=CONFIG) for name in SHIPPED_MODELS)
    matches = match_labels(once.nuclei, whole.nuclei, iou=0.7)
    assert f1_score(matches) > 0.97
    names = [seen.class_scores.argmax(axis=1) for seen in (once, whole)]
    assert (names[0][matches.truth - 1] == names[1][matches.found - 1]).mean() > 0.98


def test_its_score_is_that_of_the_float32_network(phantom):
    configs = (Config(nuclei=NucleiConfig(model=name)) for name in SHIPPED_MODELS)
    whole, once = (score_image(phantom.rgb, 0.5, config=config).score.tps for config in configs)
    assert abs(once - whole) < 1.5
