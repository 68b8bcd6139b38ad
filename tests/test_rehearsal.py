"""What a worker does before its first tile calls the compiled loops that tiles call."""

import pytest

from pdl1quant import pipeline
from pdl1quant.config import StainsConfig, load_config
from pdl1quant.kernels.compiled import Kernel
from pdl1quant.model import Tile
from pdl1quant.stages.stains import deconvolve, estimate_stains, sample_stains
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from pdl1quant.whole_slides.rehearsal import rehearse

RARE = {"groups_of"}
"""Joins halves of nuclei, where there are any; it loads in no time."""
OF_SAMPLES = {"block_variance"}
"""Stains are sampled by another process."""


def config_of(segmenter):
    return load_config(None, [f"nuclei.segmenter={segmenter}"])


@pytest.mark.parametrize("segmenter", ["watershed", "network"])
def test_a_rehearsal_calls_all_loops_that_a_tile_calls(segmenter, monkeypatch):
    called, call = set(), Kernel.__call__

    def noted(kernel, *args):
        called.add(kernel.__name__)
        return call(kernel, *args)

    monkeypatch.setattr(Kernel, "__call__", noted)
    config = config_of(segmenter)
    assert rehearse(config) > 0
    rehearsed = set(called)
    called.clear()
    rgb = render_phantom(PhantomSettings(size_px=160), seed=6).rgb
    estimate = estimate_stains([sample_stains(rgb)], config=StainsConfig())
    tile, od = Tile.whole(rgb, 0.5), deconvolve(rgb, estimate)
    found = pipeline.find_cells(tile, od, estimate=estimate, config=config, with_neighbours=False)
    assert found.parts.n_cells > 0
    assert called - rehearsed <= RARE | OF_SAMPLES


def test_models_of_other_libraries_are_loaded_when_they_are_used():
    assert rehearse(config_of("stardist")) == 0
