"""One contract for every segmenter: labels exactly 1..n of the tile's shape, whatever the tile."""

import numpy as np
import pytest

from pdl1quant.config import NucleiConfig
from pdl1quant.model import CellClass, Tile
from pdl1quant.pipeline import SEGMENTERS
from pdl1quant.stages.stains import deconvolve
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from scenes import ESTIMATE, check_labels
from toy_models import foreign_model, save_darkness, save_nuclei_only, save_numbered


@pytest.fixture(scope="module")
def phantom():
    return render_phantom(PhantomSettings(size_px=192), seed=8)


TRAINED = ("network", "network_float32", "nuclei_only", "watershed")
"""Those that find the nuclei of a phantom; the others are small models of other people's libraries, set by hand."""
NAMES = (*TRAINED, "probability", "labels", *sorted(SEGMENTERS.keys() - set(TRAINED)))
FLOATS = {"input_layout": "NCHW", "input_dtype": "float32", "input_divisor": 255.0}


@pytest.fixture(scope="module", params=NAMES)
def segmenter(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    if request.param in {"network", "watershed"}:
        yield NucleiConfig(segmenter=request.param)
    elif request.param == "network_float32":
        yield NucleiConfig(model="cells-1")
    elif request.param == "nuclei_only":
        yield NucleiConfig(model=str(save_nuclei_only(folder / "toy")))
    elif request.param == "probability":
        card = FLOATS | {"nuclei_gives": "probability", "nuclei_activation": "sigmoid"}
        yield NucleiConfig(model=str(save_darkness(folder / "toy", **card)))
    elif request.param == "labels":
        yield NucleiConfig(model=str(save_numbered(folder / "toy", **FLOATS)))
    else:
        with pytest.MonkeyPatch.context() as monkeypatch:
            yield foreign_model(request.param, folder, monkeypatch)


@pytest.fixture
def segment(segmenter):
    def run(rgb, mpp=0.5, **settings):
        config = segmenter.model_copy(update=settings)
        tile = Tile.whole(rgb, mpp)
        return SEGMENTERS[config.segmenter](tile, deconvolve(rgb, ESTIMATE), estimate=ESTIMATE, config=config)

    return run


def check(seen, shape):
    check_labels(seen.nuclei, shape)
    n = int(seen.nuclei.max(initial=0))
    if seen.cells is not None:
        check_labels(seen.cells, shape)
        assert seen.cells.max(initial=0) == n
        inside = seen.nuclei > 0
        assert np.array_equal(seen.cells[inside], seen.nuclei[inside])
    if seen.class_scores is not None:
        assert seen.class_scores.shape == (n, len(CellClass))
        assert seen.class_scores.dtype == np.float32
        assert np.isfinite(seen.class_scores).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 61), (37, 1), (5, 7), (63, 65), (129, 97)])
def test_any_size_keeps_the_contract(segment, phantom, shape):
    check(segment(phantom.rgb[: shape[0], : shape[1]]), shape)


@pytest.mark.parametrize("mpp", [0.25, 0.4, 1.0])
def test_any_pixel_size_keeps_the_contract(segment, phantom, mpp):
    check(segment(phantom.rgb[:100, :90], mpp), (100, 90))


@pytest.mark.parametrize("value", [128, 200, 245, 255])
@pytest.mark.parametrize("shape", [(1, 1), (64, 96)])
def test_blank_tile_has_no_labels(segment, value, shape):
    seen = segment(np.full((*shape, 3), value, np.uint8))
    check(seen, shape)
    assert seen.nuclei.max() == 0


@pytest.mark.parametrize("seed", range(3))
def test_noise_keeps_the_contract(segment, seed):
    check(segment(np.random.default_rng(seed).integers(0, 256, (70, 50, 3)).astype(np.uint8)), (70, 50))


@pytest.mark.parametrize("value", [0, 40])
def test_dark_tile_keeps_the_contract(segment, value):
    check(segment(np.full((40, 50, 3), value, np.uint8)), (40, 50))


def test_same_input_gives_same_output_and_stays_as_it_is(segment, phantom):
    before = phantom.rgb.copy()
    one, other = segment(phantom.rgb), segment(phantom.rgb)
    assert np.array_equal(phantom.rgb, before)
    for name in ("nuclei", "cells", "class_scores"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_pixels_need_not_be_writable_or_contiguous(segment, phantom):
    rgb = phantom.rgb[::-1, ::-1]
    rgb.flags.writeable = False
    check(segment(rgb), rgb.shape[:2])


@pytest.mark.parametrize("segmenter", TRAINED, indirect=True)
def test_nuclei_of_a_phantom_are_found(segment, phantom):
    n = len(phantom.cells)
    assert 0.7 * n <= segment(phantom.rgb).nuclei.max() <= 1.3 * n


@pytest.mark.parametrize("segmenter", TRAINED, indirect=True)
def test_area_limits_hold(segment, phantom):
    """A rim of half a um may be added to what was judged."""
    seen = segment(phantom.rgb, min_area_um2=25, max_area_um2=70)
    check(seen, phantom.rgb.shape[:2])
    area = np.bincount(seen.nuclei.ravel())[1:] * 0.25
    assert area.min() >= 25
    assert np.sqrt(area.max() / np.pi) <= np.sqrt(70 / np.pi) + 0.5
