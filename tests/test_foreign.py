"""Other people's libraries find dark blobs with small models of theirs; what is missing or broken is said at once."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pdl1quant.config import Config, NucleiConfig
from pdl1quant.errors import ModelError
from pdl1quant.model import Tile
from pdl1quant.naming import segmenter_name
from pdl1quant.networks.chosen import pin_model
from pdl1quant.networks.foreign import cellpose, instanseg, requirements, stardist
from pdl1quant.pipeline import SEGMENTERS, score_image
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from scenes import ESTIMATE, check_labels, plain_od
from toy_models import LIBRARIES, foreign_model, quietly, save_instanseg, save_stardist, skip_without

NAMES = sorted(LIBRARIES)
CENTRES = [(x, y) for y in range(20, 200, 40) for x in range(20, 160, 40)]
"""Of the blobs, (x, y) in px at 0.5 um."""


@pytest.fixture(scope="module", params=NAMES)
def model(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield foreign_model(request.param, tmp_path_factory.mktemp("models"), monkeypatch)


def blobs(scale=1):
    """Dark Gaussian blobs at ``CENTRES`` on white, each pixel repeated ``scale`` times."""
    y, x = np.mgrid[:200, :160]
    dark = sum(np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 5.0**2)) for cx, cy in CENTRES)
    grey = np.clip(240 - 200 * dark, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2).repeat(scale, 0).repeat(scale, 1)


def run(config, rgb, mpp=0.5):
    seen = SEGMENTERS[config.segmenter](
        Tile.whole(rgb, mpp), plain_od(shape=rgb.shape[:2]), estimate=ESTIMATE, config=config
    )
    check_labels(seen.nuclei, rgb.shape[:2])
    return seen


@pytest.mark.parametrize("scale", [1, 2])
def test_each_blob_is_found_where_it_lies_at_any_pixel_size(model, scale):
    nuclei = run(model, blobs(scale), mpp=0.5 / scale).nuclei
    found = [nuclei[y * scale, x * scale] for x, y in CENTRES]
    assert min(found) > 0
    assert len(set(found)) == len(CENTRES)


def test_nuclei_alone_are_returned(model):
    seen = run(model, blobs())
    assert seen.cells is None
    assert seen.class_scores is None


def test_area_limits_are_those_of_the_settings(model):
    area = np.bincount(run(model, blobs()).nuclei.ravel())[1:] * 0.25
    assert run(model.model_copy(update={"min_area_um2": area.max() + 1}), blobs()).nuclei.max() == 0
    assert run(model.model_copy(update={"max_area_um2": area.min() - 1}), blobs()).nuclei.max() == 0


def test_empty_glass_with_noise_holds_no_nuclei(model):
    rgb = np.random.default_rng(1).normal(238, 4, (120, 120, 3)).clip(0, 255).astype(np.uint8)
    assert run(model, rgb).nuclei.max() == 0


def test_result_is_scored_with_cells_and_classes_by_the_rules(model):
    rgb = render_phantom(PhantomSettings(size_px=192), seed=8).rgb
    result = score_image(rgb, 0.5, config=Config(nuclei=model), keep_labels=True)
    assert result.score.cps is None
    assert len(result.cells) == result.compartments.nucleus.max()


def test_run_is_pinned_to_the_hash_of_the_files(model):
    pinned = pin_model(Config(nuclei=model)).nuclei
    assert len(pinned.model_sha256) == 64
    if model.segmenter != "stardist":
        assert pinned.model_sha256 == hashlib.sha256(Path(model.model).read_bytes()).hexdigest()
    with pytest.raises(ModelError, match="model_sha256"):
        run(model.model_copy(update={"model_sha256": "0" * 64}), blobs())


def test_classifier_knows_which_model_of_a_library_found_its_cells(monkeypatch, tmp_path):
    monkeypatch.setattr(requirements, "find_spec", lambda name: name)
    names = []
    for content in (b"one", b"two"):
        (tmp_path / "mine.pt").write_bytes(content)
        names.append(
            segmenter_name(Config(nuclei=NucleiConfig(segmenter="instanseg", model=str(tmp_path / "mine.pt"))))
        )
    assert names == [f"instanseg mine.pt {hashlib.sha256(content).hexdigest()[:12]}" for content in (b"one", b"two")]


# --- what is missing or broken ---------------------------------------------------------------------------------------
MODULES = {"stardist": stardist, "cellpose": cellpose, "instanseg": instanseg}


@pytest.fixture
def installed(monkeypatch):
    """As if every library were there: what is checked before any is imported."""
    monkeypatch.setattr(requirements, "find_spec", lambda name: name)


def refusal(**settings):
    settings = {"model_mpp": 0.5} | settings
    with pytest.raises(ModelError) as caught:
        MODULES[settings["segmenter"]].model_files(NucleiConfig(**settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_missing_library_is_said_with_the_way_to_get_it(name, monkeypatch, tmp_path):
    monkeypatch.setattr(requirements, "find_spec", lambda _: None)
    said = refusal(segmenter=name, model=str(tmp_path))
    assert LIBRARIES[name][0] in said
    assert f'pip install "pdl1quant[{name}]"' in said


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", NAMES)
def test_a_model_has_to_be_named(name):
    assert "nuclei.model=" in refusal(segmenter=name)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", NAMES)
def test_model_that_is_not_there_is_not_downloaded(name, tmp_path):
    said = refusal(segmenter=name, model=str(tmp_path / "2D_versatile_he"))
    assert "2D_versatile_he" in said
    assert "none is downloaded" in said


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["stardist", "cellpose"])
def test_pixel_size_is_never_guessed(name, tmp_path):
    for file in ("config.json", "weights_best.h5", "model"):
        (tmp_path / file).touch()
    path = tmp_path / "model" if name == "cellpose" else tmp_path
    assert "nuclei.model_mpp" in refusal(segmenter=name, model=str(path), model_mpp=None)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("files", [(), ("config.json",), ("weights_best.h5",)])
def test_stardist_folder_without_configuration_or_weights_is_refused(tmp_path, files):
    """StarDist itself would warn and run a random network."""
    for file in files:
        (tmp_path / file).touch()
    assert "config.json and weights_best.h5" in refusal(segmenter="stardist", model=str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_stardist_weights_are_chosen_by_name_and_not_by_date(tmp_path):
    for file in ("config.json", "a.h5", "b.h5"):
        (tmp_path / file).touch()
    assert "weights_best.h5" in refusal(segmenter="stardist", model=str(tmp_path))
    (tmp_path / "weights_best.h5").touch()
    config = NucleiConfig(segmenter="stardist", model=str(tmp_path), model_mpp=0.5)
    assert [path.name for path in stardist.model_files(config)] == ["config.json", "weights_best.h5"]


@pytest.mark.usefixtures("installed")
def test_folder_without_an_instanseg_file_is_refused(tmp_path):
    assert "instanseg.pt" in refusal(segmenter="instanseg", model=str(tmp_path))
    (tmp_path / "instanseg.pt").touch()
    assert instanseg.model_files(NucleiConfig(segmenter="instanseg", model=str(tmp_path))) == (
        tmp_path / "instanseg.pt",
    )


@pytest.mark.usefixtures("installed")
def test_folder_is_no_cellpose_model(tmp_path):
    assert "file" in refusal(segmenter="cellpose", model=str(tmp_path))


def test_cellpose_model_is_known_by_name_where_cellpose_keeps_its_own(tmp_path, monkeypatch):
    skip_without("cellpose")
    with quietly():
        from cellpose import models
    monkeypatch.setattr(models, "MODEL_DIR", tmp_path)
    (tmp_path / "mine").touch()
    config = NucleiConfig(segmenter="cellpose", model="mine", model_mpp=0.5)
    assert cellpose.model_files(config) == (tmp_path / "mine",)
    assert "none is downloaded" in refusal(segmenter="cellpose", model="cpsam")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", NAMES)
def test_file_that_is_no_model_is_refused_in_one_line(name, tmp_path):
    skip_without(name)
    for file in ("weights_best.h5", "instanseg.pt", "model"):
        (tmp_path / file).write_bytes(b"not a model")
    (tmp_path / "config.json").write_text('{"n_dim": 2, "n_channel_in": 3}')
    path = tmp_path / "model" if name == "cellpose" else tmp_path
    with pytest.raises(ModelError, match="load") as caught:
        run(NucleiConfig(segmenter=name, model=str(path), model_mpp=0.5), blobs())
    assert "\n" not in str(caught.value)


def test_stardist_model_of_grey_images_is_refused(tmp_path):
    skip_without("stardist")
    folder = save_stardist(tmp_path / "grey", channels=1)
    with pytest.raises(ModelError, match="RGB"):
        run(NucleiConfig(segmenter="stardist", model=str(folder), model_mpp=0.5), blobs())


def test_instanseg_model_without_a_pixel_size_needs_one(tmp_path):
    skip_without("instanseg")
    path = str(save_instanseg(tmp_path / "instanseg.pt", pixel_size=0.0))
    with pytest.raises(ModelError, match=r"nuclei\.model_mpp"):
        run(NucleiConfig(segmenter="instanseg", model=path), blobs())
    assert run(NucleiConfig(segmenter="instanseg", model=path, model_mpp=0.5), blobs()).nuclei.max() == len(CENTRES)


def test_script_that_gives_no_labels_is_refused(tmp_path):
    skip_without("instanseg")
    with quietly():
        import torch

        torch.jit.trace(torch.nn.AvgPool2d(2), torch.zeros(1, 3, 64, 64)).save(str(tmp_path / "pool.pt"))
    with pytest.raises(ModelError, match=r"pool\.pt"):
        run(NucleiConfig(segmenter="instanseg", model=str(tmp_path / "pool.pt"), model_mpp=0.5), blobs())
