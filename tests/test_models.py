"""Any ONNX nucleus model with a card: what the card describes is what is run, and what does not fit is refused."""

import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from batch_runs import draw_tiles, rows_of, run, tree
from pdl1quant.config import Config, NucleiConfig, config_toml, load_config
from pdl1quant.errors import ConfigError, ModelError, UsageError
from pdl1quant.model import Tile
from pdl1quant.networks import instances
from pdl1quant.networks.card import ModelCard
from pdl1quant.networks.chosen import names_classes, pin_model
from pdl1quant.networks.files import hash_files
from pdl1quant.networks.instances import find_on_tile, stretched
from pdl1quant.networks.segmenter import segment_with
from pdl1quant.pipeline import SEGMENTERS, score_image
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from scenes import ESTIMATE, check_labels, disc, plain_od
from toy_models import save_darkness, save_nuclei_only, save_numbered, write_card

CONFIG = NucleiConfig()
CENTRES = [(20, 20), (60, 22), (100, 30), (25, 70), (36, 70), (90, 90)]
"""Of discs of 6 px radius, (x, y); the fourth and fifth touch."""
SCALED = {"input_dtype": "float32", "input_divisor": 255.0}
PROBABILITY = {"nuclei_gives": "probability", "nuclei_activation": "sigmoid"}
NCHW = {"input_layout": "NCHW", **SCALED, **PROBABILITY}


def discs(*, dark=(60, 60, 60), light=(240, 240, 240)):
    """Dark discs at ``CENTRES``."""
    mask = np.any([disc((120, 130), centre, 6) for centre in CENTRES], axis=0)
    return np.where(mask[..., None], np.uint8(dark), np.uint8(light))


def nuclei_of(folder, rgb=None, *, mpp=0.5, **settings):
    rgb = discs() if rgb is None else rgb
    seen = segment_with(folder, Tile.whole(rgb, mpp), config=NucleiConfig(**settings))
    check_labels(seen.nuclei, rgb.shape[:2])
    assert seen.cells is None
    assert seen.class_scores is None
    return seen.nuclei


# --- what a card can describe ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("graph", "card"),
    [
        ({}, NCHW),
        ({"layout": "NHWC"}, SCALED | PROBABILITY),
        ({"layout": "NHWC", "levels": 255}, PROBABILITY),
        ({"out_layout": "NHWC"}, NCHW | {"nuclei_layout": "NHWC"}),
        ({"out_layout": "NHW"}, NCHW | {"nuclei_layout": "NHW"}),
        ({"two_channels": True}, NCHW | {"nuclei_activation": "softmax", "nuclei_channel": 1}),
        ({}, NCHW | {"multiple_px": 32}),
    ],
)
def test_each_disc_is_one_nucleus_however_the_model_was_made(tmp_path, graph, card):
    nuclei = nuclei_of(save_darkness(tmp_path, **graph, **card))
    found = [nuclei[y, x] for x, y in CENTRES]
    assert min(found) > 0
    assert len(set(found)) == nuclei.max() == len(CENTRES)
    assert np.mean((nuclei > 0) == (discs()[..., 0] < 128)) > 0.99


def test_mean_and_standard_deviation_are_taken_off_each_channel(tmp_path):
    """A bluish grey that is dark only after its channels' means are taken off."""
    rgb = discs(dark=(120, 140, 200), light=(200, 220, 255))
    plain, normed = {**NCHW}, {**NCHW, "input_mean": [0.3, 0.3, 0.3], "input_std": [0.9, 0.9, 0.9]}
    assert nuclei_of(save_darkness(tmp_path / "plain", **plain), rgb).max() == 0
    assert nuclei_of(save_darkness(tmp_path / "normed", **normed), rgb).max() == len(CENTRES)


def test_channels_can_be_turned_round(tmp_path):
    """With a mean for the first channel alone, red counts one way round and blue the other."""
    rgb = discs(dark=(255, 120, 0), light=(255, 255, 255))
    card = {**NCHW, "input_mean": [-0.9, 0.0, 0.0], "input_std": [10.0, 1.0, 1.0]}
    assert nuclei_of(save_darkness(tmp_path / "rgb", **card), rgb).max() == len(CENTRES)
    assert nuclei_of(save_darkness(tmp_path / "bgr", input_channels="BGR", **card), rgb).max() == 0


def test_threshold_is_that_of_the_card(tmp_path):
    faint = discs(dark=(134, 134, 134))
    assert nuclei_of(save_darkness(tmp_path / "half", **NCHW), faint).max() == 0
    assert nuclei_of(save_darkness(tmp_path / "low", nuclei_threshold=0.3, **NCHW), faint).max() == len(CENTRES)


@pytest.mark.parametrize("factor", [2, 3])
def test_tile_is_resampled_to_the_model_and_labels_back(tmp_path, factor):
    fine = discs().repeat(factor, 0).repeat(factor, 1)
    nuclei = nuclei_of(save_darkness(tmp_path, **NCHW), fine, mpp=0.5 / factor)
    assert nuclei.max() == len(CENTRES)
    assert np.mean((nuclei > 0) == (fine[..., 0] < 128)) > 0.98


def test_labels_are_taken_as_they_are(tmp_path):
    squares = np.full((96, 96, 3), 240, np.uint8)
    squares[8:16, 8:16] = squares[40:48, 24:32] = squares[40:48, 32:40] = 50
    nuclei = nuclei_of(save_numbered(tmp_path, input_layout="NCHW", **SCALED), squares)
    assert nuclei.max() == 3
    assert (np.bincount(nuclei.ravel())[1:] == 64).all()


def test_nuclei_only_network_finds_what_the_whole_one_finds(tmp_path):
    rgb = render_phantom(PhantomSettings(size_px=192), seed=8).rgb
    tile, od = Tile.whole(rgb, 0.5), plain_od(shape=rgb.shape[:2])
    whole = SEGMENTERS["network"](tile, od, estimate=ESTIMATE, config=CONFIG)
    assert np.array_equal(nuclei_of(save_nuclei_only(tmp_path), rgb), whole.nuclei)


def test_card_in_the_documentation_is_one(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    card = ModelCard.model_validate(tomllib.loads(text.split("```toml")[1].split("```")[0]))
    rows = {name for line in text.splitlines() if line.startswith("| `") for name in line.split("`")[1::2][:1]}
    described = {name for name in ModelCard.model_fields if name.startswith(("input_", "nuclei_"))}
    assert described - rows <= card.model_fields_set
    graph = {"two_channels": True}
    kept = {"name", "sha256", "file", "mpp", "input", "nuclei"}
    folder = save_darkness(tmp_path, **graph, **card.model_dump(mode="json", exclude_unset=True, exclude=kept))
    assert nuclei_of(folder, discs(dark=(0, 0, 0))).max() == len(CENTRES)


# --- windows ---------------------------------------------------------------------------------------------------------
def test_windows_change_nothing(tmp_path, monkeypatch):
    folder = save_darkness(tmp_path, **NCHW)
    rgb = np.tile(discs(), (3, 3, 1))
    once = nuclei_of(folder, rgb)
    monkeypatch.setattr(instances, "WINDOW_PX", 70)
    windows = nuclei_of(folder, rgb)
    pairs = np.unique(np.stack([once.ravel(), windows.ravel()], axis=1), axis=0)
    assert len(pairs) == once.max() + 1 == windows.max() + 1 == 9 * len(CENTRES) + 1


def test_finder_sees_padded_sides_and_any_numbers_become_labels():
    seen = []

    def find(rgb):
        seen.append(rgb.shape)
        labels = np.full(rgb.shape[:2], -3)
        labels[0:8, 0:8], labels[0:8, 10:20], labels[30:, :] = 70_000, 5, 9
        return labels

    nuclei = find_on_tile(
        Tile.whole(discs()[:20, :30], 0.5), find, mpp=0.5, config=CONFIG, multiple_px=48
    ).nuclei  # fmt: skip
    assert seen == [(96, 96, 3)]
    check_labels(nuclei, (20, 30))
    assert (nuclei[0, 0], nuclei[0, 12], nuclei[0, 9], nuclei.max()) == (2, 1, 0, 2)


def test_noise_is_not_stretched_to_tissue():
    rgb = np.random.default_rng(2).normal(240, 3, (50, 50, 3)).clip(0, 255).astype(np.uint8)
    assert stretched(rgb, low=1, high=99, by_channel=True).min() > 0.5
    spread = stretched(discs(), low=1, high=99, by_channel=False)
    assert (spread.min(), spread.max()) == (0, 1)


# --- a run -----------------------------------------------------------------------------------------------------------
def test_nuclei_only_model_is_scored_with_cells_and_classes_by_the_rules(tmp_path):
    rgb = render_phantom(PhantomSettings(size_px=256), seed=3).rgb
    config = Config(nuclei=NucleiConfig(model=str(save_nuclei_only(tmp_path))))
    result = score_image(rgb, 0.5, config=config, keep_labels=True)
    assert result.score.tps is not None
    assert result.score.cps is None
    assert (result.compartments.cell > 0).sum() > 1.5 * (result.compartments.nucleus > 0).sum()
    assert {"tumour", "stroma", "lymphocyte"} >= set(result.cells["cell_class"])


def test_run_says_which_model_made_it_and_not_where_it_lay(tmp_path):
    tiles = draw_tiles(tmp_path / "tiles")
    records = []
    for place in ("here", "there"):
        folder = save_nuclei_only(tmp_path / place / "toy")
        run(tiles, tmp_path / f"out {place}", config=Config(nuclei=NucleiConfig(model=str(folder))))
        records.append(json.loads((tmp_path / f"out {place}" / "run.json").read_text()))
    nuclei = records[0]["settings"]["config"]["nuclei"]
    assert nuclei["model"] == "toy"
    assert nuclei["model_sha256"] == hash_files([folder / "card.toml", folder / "toy.onnx"])
    assert records[0]["config_digest"] == records[1]["config_digest"] != pin_model(Config()).digest
    assert tree(tmp_path / "out here") == tree(tmp_path / "out there")
    assert all(row.cps is None for row in rows_of(tmp_path / "out here", "image"))


def test_model_that_cannot_be_run_stops_before_anything_is_written(tmp_path):
    tiles = draw_tiles(tmp_path / "tiles")
    folder = save_darkness(tmp_path / "toy", **NCHW | {"input": "picture"})
    with pytest.raises(UsageError, match=r"toy\.onnx"):
        run(tiles, tmp_path / "out", config=Config(nuclei=NucleiConfig(model=str(folder))))
    assert not (tmp_path / "out").exists()


def test_other_model_than_the_pinned_one_is_refused(tmp_path):
    folder = save_darkness(tmp_path, **NCHW)
    pinned = pin_model(Config(nuclei=NucleiConfig(model=str(folder))))
    assert pin_model(pinned) == pinned
    write_card(folder, **NCHW, nuclei_threshold=0.4)
    with pytest.raises(ModelError, match="model_sha256"):
        pin_model(pinned)
    tile = Tile.whole(discs(), 0.5)
    with pytest.raises(ModelError, match="model_sha256"):
        SEGMENTERS["network"](tile, plain_od(shape=(120, 130)), estimate=ESTIMATE, config=pinned.nuclei)


def test_rules_take_no_model(tmp_path):
    assert pin_model(Config(nuclei=NucleiConfig(segmenter="watershed"))).nuclei.model_sha256 == ""
    with pytest.raises(ModelError, match="watershed"):
        pin_model(Config(nuclei=NucleiConfig(segmenter="watershed", model=str(tmp_path))))


def test_shipped_network_alone_names_classes(tmp_path):
    assert names_classes(CONFIG)
    assert not names_classes(NucleiConfig(model=str(save_nuclei_only(tmp_path))))
    assert not names_classes(NucleiConfig(segmenter="watershed"))


def test_settings_keep_the_path_and_their_json_only_its_name(tmp_path):
    path = tmp_path / "config.toml"
    config = load_config(None, [f"nuclei.model={tmp_path}/my-model"])
    assert config.nuclei.model == f"{tmp_path}/my-model"
    path.write_text(config_toml(config), encoding="utf-8")
    assert load_config(path) == config
    assert config.model_dump(mode="json")["nuclei"]["model"] == "my-model"
    with pytest.raises(ConfigError, match="model_sha256"):
        load_config(None, ["nuclei.model_sha256=abc"])


def test_hash_of_several_files_is_that_of_their_list(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
    lines = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in "ab")
    assert hash_files([tmp_path / "b", tmp_path / "a"]) == hashlib.sha256(lines.encode()).hexdigest()
    assert hash_files([tmp_path / "a"]) == hashlib.sha256(b"a").hexdigest()
    with pytest.raises(ModelError, match=r"nuclei\.model"):
        hash_files([tmp_path / "c"])


# --- what does not fit -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input_dtype": "uint8"}, "input_divisor"),
        ({"input_divisor": 0}, "input_divisor"),
        ({"input_std": [1, 0, 1]}, "input_std"),
        ({"input_layout": "HWC"}, "input_layout"),
        ({"input_layout": "NHWC"}, "toy.onnx"),
        ({"nuclei_gives": "depth"}, "nuclei_activation"),
        ({"nuclei_gives": "depth", "nuclei_activation": "none"}, "shape"),
        ({"nuclei_gives": "labels"}, "nuclei_activation"),
        ({"nuclei_gives": "mask"}, "nuclei_gives"),
        ({"nuclei_layout": "NHW"}, "nuclei_layout"),
        ({"nuclei_layout": "NHWC"}, "grid"),
        ({"nuclei_channel": 1}, "channel 1"),
        ({"nuclei_threshold": 1.5}, "nuclei_threshold"),
        ({"cells": "out"}, "depth"),
        ({"classes": ["tumour", "lymphocyte", "macrophage", "stroma", "other"]}, "depth"),
    ],
)
def test_card_that_does_not_fit_is_refused_in_one_line(tmp_path, changes, says):
    folder = save_darkness(tmp_path, **NCHW | changes)
    with pytest.raises(ModelError) as caught:
        pin_model(Config(nuclei=NucleiConfig(model=str(folder))))
    assert "\n" not in str(caught.value)
    assert says in str(caught.value)


def test_folder_without_a_card_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"card\.toml"):
        pin_model(Config(nuclei=NucleiConfig(model=str(tmp_path))))
