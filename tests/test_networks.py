"""Every segmenter keeps one contract; a model without its card, or with other weights, is refused."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper, save
from skimage.measure import label

from pdl1quant.config import NucleiConfig, StainsConfig
from pdl1quant.errors import ModelError
from pdl1quant.model import CellClass, Rect, StainEstimate, Tile
from pdl1quant.networks import maps
from pdl1quant.networks import segmenter as network
from pdl1quant.networks.card import load_model, shipped_folder
from pdl1quant.networks.session import run_model
from pdl1quant.stages.nuclei import segment_nuclei as watershed
from pdl1quant.stages.stains import deconvolve
from pdl1quant.validation.detection import f1_score, match_points
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

CLASSES = [str(name) for name in CellClass]
CONFIG = NucleiConfig()
ESTIMATE = StainEstimate(
    white=(245.0, 245.0, 245.0),
    haematoxylin=StainsConfig().haematoxylin,
    dab=StainsConfig().dab,
    nucleus_od=0.12,
    white_source="given",
    vectors_source="fixed",
)


def save_toy(folder):
    """Dark pixels are nuclei and cells, deeper where more of the surroundings is dark; the first class always wins."""
    tensors = {"half": [0.5] * 1, "level": [150.0], "slope": [0.05], "bias": [5.0, 0, 0, 0, 0]}
    constants = [helper.make_tensor(k, TensorProto.FLOAT, [len(v)], v) for k, v in tensors.items()]
    constants[3] = helper.make_tensor("bias", TensorProto.FLOAT, [1, 5, 1, 1], tensors["bias"])
    constants.append(helper.make_tensor("axes", TensorProto.INT64, [1], [1]))
    constants.append(helper.make_tensor("five", TensorProto.INT64, [4], [1, 5, 1, 1]))
    node = helper.make_node
    nodes = [
        node("Cast", ["rgb"], ["float"], to=TensorProto.FLOAT),
        node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        node("ReduceMean", ["planes", "axes"], ["grey"], keepdims=1),
        node("Sub", ["level", "grey"], ["dark"]),
        node("Mul", ["dark", "slope"], ["steep"]),
        node("Sigmoid", ["steep"], ["probability"]),
        node("AveragePool", ["probability"], ["depth"], kernel_shape=[9, 9], pads=[4, 4, 4, 4]),
        node("Concat", ["probability", "depth"], ["nuclei"], axis=1),
        node("AveragePool", ["nuclei"], ["coarse"], kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", ["depth"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Tile", ["small", "five"], ["many"]),
        node("Add", ["many", "bias"], ["scores"]),
        node("Softmax", ["scores"], ["classes"], axis=1),
        node("Concat", ["coarse", "classes"], ["cells"], axis=1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "toy",
        [value("rgb", TensorProto.UINT8, ["n", "h", "w", 3])],
        [value("nuclei", TensorProto.FLOAT, None), value("cells", TensorProto.FLOAT, None)],
        constants,
    )
    folder.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "toy.onnx")
    write_card(folder)
    return folder


def write_card(folder, **changes):
    card = {
        "name": "toy", "title": "Dark blobs", "file": "toy.onnx", "licence": "BSD-3-Clause", "training_data": "none",
        "limits": "a toy", "mpp": 0.5, "multiple_px": 4, "reach_px": 8, "input": "rgb", "nuclei": "nuclei",
        "cells": "cells", "classes": CLASSES,
        "sha256": hashlib.sha256((folder / "toy.onnx").read_bytes()).hexdigest(),
    } | changes  # fmt: skip
    lines = [f"{key} = {json.dumps(value)}" for key, value in card.items() if value is not None]
    (folder / "card.toml").write_text("\n".join(lines), encoding="utf-8")
    load_model.cache_clear()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return save_toy(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(params=["watershed", "toy", "shipped", "cells-1"])
def segment(request, toy):
    def run(tile):
        if request.param == "watershed":
            return watershed(tile, deconvolve(tile.rgb, ESTIMATE), estimate=ESTIMATE, config=CONFIG)
        if request.param == "toy":
            return network.segment_with(toy, tile, config=CONFIG)
        config = CONFIG.model_copy(update={"model": "" if request.param == "shipped" else request.param})
        return network.segment_nuclei(tile, deconvolve(tile.rgb, ESTIMATE), estimate=ESTIMATE, config=config)

    return run


@pytest.fixture(scope="module")
def phantom():
    return render_phantom(PhantomSettings(size_px=512), seed=4)


def check_labels(labels, shape):
    assert labels.shape == shape
    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, labels.max() + 1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (17, 3), (131, 97), (160, 160)])
def test_any_size_gives_labels_of_that_size(segment, phantom, shape):
    seen = segment(Tile.whole(phantom.rgb[: shape[0], : shape[1]], 0.5))
    check_labels(seen.nuclei, shape)


def test_nuclei_are_found(segment, phantom):
    assert segment(Tile.whole(phantom.rgb, 0.5)).nuclei.max() > 50


def test_smallest_and_largest_nuclei_are_told_by_the_area_that_is_reported(toy):
    y, x = np.mgrid[:160, :400]
    dark = np.zeros(x.shape, bool)
    for k, radius_px in enumerate((2, 3, 4, 6, 9, 14)):
        dark |= np.hypot(x - 40 - 60 * k, y - 80) <= radius_px
    tile = Tile.whole(np.where(dark, 20, 240).astype(np.uint8)[:, :, None].repeat(3, axis=2), 0.5)
    area_um2 = lambda config: np.bincount(network.segment_with(toy, tile, config=config).nuclei.ravel())[1:] / 4  # noqa: E731
    of_all = area_um2(NucleiConfig(min_area_um2=0.1))
    limits = NucleiConfig(min_area_um2=float(of_all[1]) * 0.95, max_area_um2=float(of_all[-1]) * 0.95)
    assert np.array_equal(area_um2(limits), of_all[1:-1])


@pytest.mark.parametrize(("grey", "found"), [(20, 1), (110, 0)])
def test_small_nucleus_is_found_where_the_network_is_sure(toy, grey, found):
    y, x = np.mgrid[:80, :80]
    spot = np.where(np.hypot(x - 40, y - 40) <= 3.5, grey, 240).astype(np.uint8)
    tile = Tile.whole(spot[:, :, None].repeat(3, axis=2), 0.5)
    assert network.segment_with(toy, tile, config=NucleiConfig(min_area_um2=1)).nuclei.max() == found


@pytest.mark.parametrize("grey", [0, 255])
def test_blank_tile_has_no_nuclei(segment, grey):
    seen = segment(Tile.whole(np.full((130, 70, 3), grey, np.uint8), 0.5))
    if grey == 255:
        assert seen.nuclei.max() == 0
    if seen.cells is not None:
        assert seen.cells.max() == seen.nuclei.max()
    if seen.class_scores is not None:
        assert seen.class_scores.shape == (seen.nuclei.max(), len(CLASSES))


def test_same_input_gives_same_output_and_stays_as_it_is(segment, phantom):
    rgb = phantom.rgb[:200, :200].copy()
    before = rgb.copy()
    once, again = (segment(Tile.whole(rgb, 0.5)) for _ in range(2))
    assert np.array_equal(rgb, before)
    assert np.array_equal(once.nuclei, again.nuclei)


def test_read_only_pixels_that_are_not_contiguous_will_do(segment, phantom):
    rgb = phantom.rgb[:200:2, 100:0:-1]
    rgb.flags.writeable = False
    check_labels(segment(Tile.whole(rgb, 0.5)).nuclei, (100, 100))


@pytest.mark.parametrize("name", ["toy", "shipped"])
def test_cells_hold_their_nuclei_and_scores_are_shares(name, toy, phantom):
    folder = toy if name == "toy" else shipped_folder()
    seen = network.segment_with(folder, Tile.whole(phantom.rgb, 0.5), config=CONFIG)
    n = seen.nuclei.max()
    check_labels(seen.cells, phantom.rgb.shape[:2])
    assert seen.cells.max() == n
    assert np.array_equal(seen.cells[seen.nuclei > 0], seen.nuclei[seen.nuclei > 0])
    nuclei_and_cells = [label(labels, background=0, connectivity=2).max() for labels in (seen.nuclei, seen.cells)]
    assert nuclei_and_cells[1] <= nuclei_and_cells[0]
    assert seen.class_scores.shape == (n, len(CLASSES))
    assert seen.class_scores.dtype == np.float32
    assert np.allclose(seen.class_scores.sum(axis=1), 1, atol=1e-5)
    assert seen.class_scores.min() >= 0


def test_model_without_cells_and_classes_gives_nuclei_only(tmp_path, phantom):
    folder = save_toy(tmp_path / "toy")
    write_card(folder, cells=None, classes=[])
    seen = network.segment_with(folder, Tile.whole(phantom.rgb, 0.5), config=CONFIG)
    assert seen.nuclei.max() > 50
    assert seen.cells is None
    assert seen.class_scores is None


def test_labels_do_not_depend_on_where_the_tile_begins(phantom):
    """Beyond the network's reach from the tile's edge."""
    x, y, size, far = 29, 37, 475, 192
    rgb = np.ascontiguousarray(phantom.rgb[y : y + size, x : x + size])
    whole = network.segment_with(shipped_folder("cells-1"), Tile.whole(phantom.rgb, 0.5), config=CONFIG)
    tile = Tile(rgb=rgb, mpp=0.5, core=Rect(x0=0, y0=0, x1=size, y1=size), x_px=x, y_px=y)
    part = network.segment_with(shipped_folder("cells-1"), tile, config=CONFIG)
    inner = np.s_[far : size - far, far : size - far]
    for name in ("nuclei", "cells"):
        one, other = getattr(whole, name)[y : y + size, x : x + size][inner], getattr(part, name)[inner]
        pairs = np.unique(np.stack([one.ravel(), other.ravel()], axis=1), axis=0)
        assert len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs), name


@pytest.mark.parametrize(("name", "has_context"), [("cells-1", False), ("cells-1", True), ("cells-1-int8", False)])
def test_windows_that_see_the_reach_change_nothing_and_those_with_context_little(
    phantom, monkeypatch, name, has_context
):
    model, tile = load_model(shipped_folder(name)), Tile.whole(phantom.rgb, 0.5)
    if not has_context:
        model = replace(model, card=model.card.model_copy(update={"context_px": None}))
    once = maps.predict(model, tile)
    monkeypatch.setattr(maps, "MAX_SIDE_PX", 384)
    monkeypatch.setattr(maps, "WINDOW_PX", 224)
    windows = maps.predict(model, tile)
    assert maps.window_sides(model.card) == (224, 128 if has_context else 192)
    for one, other in ((once.hills, windows.hills), (once.scores[0].planes, windows.scores[0].planes)):
        difference = np.abs(one - other)
        assert difference.max() < (0.15 if has_context else 1e-4)
        assert difference.mean() < (2e-4 if has_context else 1e-4)
    assert (once.cells != windows.cells).mean() < (2e-4 if has_context else 1e-4)


def test_pixels_beyond_the_reach_do_not_matter(phantom):
    model = load_model(shipped_folder())
    reach = model.card.reach_px
    changed = phantom.rgb.copy()
    changed[:, :16] = 255 - changed[:, :16]
    before, after = run_model(model, phantom.rgb), run_model(model, changed)
    for k, first in ((0, 16 + reach), (1, (16 + reach) // 2)):
        assert np.abs(before[k][..., first:] - after[k][..., first:]).max() < 1e-5
        assert np.abs(before[k][..., :32] - after[k][..., :32]).max() > 1e-3


def test_finer_pixels_give_about_the_same_nuclei(phantom):
    coarse = network.segment_with(shipped_folder(), Tile.whole(phantom.rgb, 0.5), config=CONFIG)
    fine = network.segment_with(
        shipped_folder(), Tile.whole(phantom.rgb.repeat(2, 0).repeat(2, 1), 0.25), config=CONFIG
    )
    check_labels(fine.nuclei, (1024, 1024))
    assert abs(int(fine.nuclei.max()) - int(coarse.nuclei.max())) <= 0.05 * coarse.nuclei.max()


def test_shipped_network_finds_and_names_the_cells_of_a_phantom(phantom):
    seen = network.segment_with(shipped_folder(), Tile.whole(phantom.rgb, 0.5), config=CONFIG)
    n = int(seen.nuclei.max())
    rows, columns = np.nonzero(seen.nuclei)
    found = seen.nuclei[rows, columns]
    area = np.bincount(found, minlength=n + 1)[1:]
    centre = np.stack([np.bincount(found, weights=a, minlength=n + 1)[1:] / area for a in (columns, rows)], axis=1)
    matches = match_points(phantom.cells[["x_px", "y_px"]].to_numpy(), centre, max_distance=6.0)
    assert f1_score(matches) > 0.9
    is_tumour = (phantom.cells["cell_class"] == "tumour").to_numpy()[matches.truth]
    called = seen.class_scores.argmax(axis=1)[matches.found] == CLASSES.index("tumour")
    assert (is_tumour == called).mean() > 0.85


def test_nuclei_under_dense_brown_are_found_nearly_as_often_as_others():
    """0.97; with the probabilities as the network says them 0.88."""
    dark = PhantomSettings(
        size_px=512, pattern="both", tps_pct=100, dab_od=1.7, bleed_through=0.8, membrane_um=1.6, tumour_blue=0.6
    )
    phantom = render_phantom(dark, seed=12)
    seen = network.segment_with(shipped_folder(), Tile.whole(phantom.rgb, 0.5), config=CONFIG)
    truth = phantom.cells[phantom.cells["viable"] & phantom.cells["positive"]][["x_px", "y_px"]].to_numpy()
    found = np.unique(seen.nuclei[truth[:, 1].astype(int), truth[:, 0].astype(int)])
    assert len(found[found > 0]) / len(truth) > 0.93


def test_only_dense_brown_sharpens_what_the_network_says(toy):
    """The toy sees faint nuclei (0.15 among 0.05) on either ground; a broad rise is none on either."""
    y, x = np.mgrid[:128, :128]
    spots = ((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 < 36)[:, :, None]
    model = load_model(toy)
    brown, grey = (
        np.where(spots, ground - np.array([27, 27, 27]), ground).astype(np.uint8)
        for ground in (np.array([255, 190, 110]), np.array([185, 185, 185]))
    )
    probabilities = []
    for rgb in (brown, grey):
        probability = run_model(model, rgb)[0][0].copy()
        maps._tell_apart_in_brown(probability, rgb, mpp=0.5, at_px=(0, 0))
        probabilities.append((run_model(model, rgb)[0][0], probability))
    (said, sharp), (same, still) = probabilities
    assert np.array_equal(same, still)
    inside = np.broadcast_to(spots[:, :, 0], said.shape)
    assert (sharp[inside] > said[inside]).mean() > 0.95
    assert (sharp[~inside] <= said[~inside]).mean() > 0.9


def test_what_is_brown_is_looked_for_in_the_same_blocks_whatever_the_strides_of_a_model(toy):
    """Of a model with strides of 1 px, too, and in a part of the image that begins within a block."""
    y, x = np.mgrid[:128, :160]
    spots = ((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 < 36)[:, :, None]
    rgb = np.where(spots, [228, 163, 83], [255, 190, 110]).astype(np.uint8)
    model = load_model(toy)
    fine, coarse = (replace(model, card=model.card.model_copy(update={"multiple_px": px})) for px in (1, 32))
    hills = maps.predict(coarse, Tile.whole(rgb, 0.5)).hills
    assert np.array_equal(maps.predict(fine, Tile.whole(rgb, 0.5)).hills, hills)
    core = Rect(x0=0, y0=0, x1=154, y1=126)
    part = maps.predict(fine, Tile(rgb=np.ascontiguousarray(rgb[2:, 6:]), mpp=0.5, core=core, x_px=6, y_px=2)).hills
    far = 8 + 20 + 8  # the reach of the toy, five halves of a block, smoothing
    assert hills[far:-far, far:-far].max() > 0
    assert np.array_equal(part[far:, far:], hills[2 + far :, 6 + far :])


def test_dense_brown_beyond_the_reach_changes_no_hill():
    """Of the shipped network: what it sees, the blocks beside it and the smoothing lie within the reach of its card."""
    dark = PhantomSettings(size_px=512, pattern="both", tps_pct=100, dab_od=1.7)
    model, rgb = load_model(shipped_folder()), render_phantom(dark, seed=12).rgb[:128]
    changed, first = rgb.copy(), 100
    changed[:, :first] = changed[:, :first][:, ::-1]
    before, after = (maps.predict(model, Tile.whole(each, 0.5)).hills for each in (rgb, changed))
    first += model.card.reach_px
    assert before[:, first:].max() > 0
    assert np.array_equal(before[:, first:], after[:, first:])
    assert not np.array_equal(before, after)


@pytest.mark.parametrize(("score", "reach_um"), [(0.9, 2.0), (0.4, 8.0)])
def test_lymphocytes_are_nuclei_with_a_rim(score, reach_um):
    """Where the network sees cell all around, and its inside, as at the edge of a brown gland."""
    y, x = np.mgrid[:81, :81] - 40
    away = np.hypot(x, y)
    scores = np.full((5, 41, 41), (1 - score) / 4, np.float32)
    scores[CLASSES.index("lymphocyte")] = score
    said = maps.Maps(
        hills=np.clip(1 - away / 7, 0, 1).astype(np.float32),
        cells=np.where(away < 16, maps.INSIDE, maps.CELL).astype(np.uint8),
        scores=(maps.ClassScores(planes=scores, rows=np.arange(0, 81, 2), columns=np.arange(0, 81, 2)),),
    )
    seen = network.segment_maps(said, mpp=0.5, config=CONFIG)
    assert seen.nuclei.max() == 1
    nucleus, cell = (away[labels > 0].max() / 2 for labels in (seen.nuclei, seen.cells))
    from_there = nucleus if score > 0.5 else 8
    assert cell - from_there == pytest.approx(reach_um, abs=0.6)


@pytest.mark.parametrize(("radius_px", "is_filled"), [(4, True), (6, False)])
def test_no_hole_of_a_cell_is_taken_for_its_border(radius_px, is_filled):
    """Beside the nucleus, where the network doubts that this is cell: 12 um2, and 28."""
    y, x = np.mgrid[:81, :81] - 40
    away, hole = np.hypot(x, y), np.hypot(x - 14, y) < radius_px
    said = maps.Maps(
        hills=np.clip(1 - away / 7, 0, 1).astype(np.float32),
        cells=np.where((away < 22) & ~hole, maps.CELL, 0).astype(np.uint8),
        scores=(),
    )
    cells = network.segment_maps(said, mpp=0.5, config=CONFIG).cells
    assert (cells[(away < 22) & ~hole] == 1).all()
    assert (cells[hole] == is_filled).all()


def test_shipped_model_is_small_and_free():
    model = load_model(shipped_folder())
    assert model.weights.stat().st_size < 10e6
    assert model.card.licence == "BSD-3-Clause"


def refusal(folder, **changes):
    if changes:
        write_card(folder, **changes)
    load_model.cache_clear()
    with pytest.raises(ModelError) as caught:
        network.segment_with(folder, Tile.whole(np.full((32, 32, 3), 200, np.uint8), 0.5), config=CONFIG)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_model_without_a_card_is_refused(tmp_path):
    folder = save_toy(tmp_path / "toy")
    (folder / "card.toml").unlink()
    assert "card.toml" in refusal(folder)


def test_model_with_another_hash_is_refused(tmp_path):
    folder = save_toy(tmp_path / "toy")
    (folder / "toy.onnx").write_bytes((folder / "toy.onnx").read_bytes() + b"\0")
    assert "sha256" in refusal(folder)


def test_model_without_weights_is_refused(tmp_path):
    folder = save_toy(tmp_path / "toy")
    (folder / "toy.onnx").unlink()
    assert "toy.onnx" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"surprise": 1}, "surprise"),
        ({"mpp": -1}, "mpp"),
        ({"licence": None}, "licence"),
        ({"classes": ["cat", "dog"]}, "cat"),
        ({"input": "image"}, "toy.onnx"),
        ({"nuclei": "nothing"}, "toy.onnx"),
        ({"nuclei": "cells"}, "cells"),
        ({"classes": []}, "cells"),
        ({"file": "../toy.onnx"}, "file"),
    ],
)
def test_card_that_does_not_fit_is_refused(tmp_path, changes, says):
    assert says in refusal(save_toy(tmp_path / "toy"), **changes)


def test_card_that_is_no_toml_is_refused(tmp_path):
    folder = save_toy(tmp_path / "toy")
    (folder / "card.toml").write_text("name: toy", encoding="utf-8")
    assert "TOML" in refusal(folder)


def test_weights_that_are_no_model_are_refused(tmp_path):
    folder = save_toy(tmp_path / "toy")
    (folder / "toy.onnx").write_bytes(b"not a model")
    assert "onnxruntime" in refusal(folder, name="broken")
