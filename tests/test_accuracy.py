"""The score of rendered fields against their truth, on a few fields of one seed.

``benchmarks/phantoms.py`` measures the same at length, with its hard conditions; docs/accuracy.md has the figures.
"""

from functools import cache

import numpy as np
import pytest

from pdl1quant import score_image
from pdl1quant.validation.detection import f1_score, match_points
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

SIZE_PX = 640
CONDITIONS = {
    "membrane": {"pattern": "membrane", "tps_pct": 50},
    "cytoplasm": {"pattern": "cytoplasm", "tps_pct": 30},
    "both": {"pattern": "both", "tps_pct": 70},
    "all": {"pattern": "both", "tps_pct": 100},
    "none": {"pattern": "both", "tps_pct": 0},
    "few": {"pattern": "both", "tps_pct": 5},
    "pale background": {"pattern": "both", "tps_pct": 40, "white": (225.0, 223.0, 215.0)},
    "weak DAB": {"pattern": "both", "tps_pct": 60, "dab_od": 0.35},
    "pigment": {"pattern": "both", "tps_pct": 0, "pigment_share": 0.03, "positive_immune_share": 0.0},
}


@cache
def scored(condition):
    settings = PhantomSettings(size_px=SIZE_PX, **CONDITIONS[condition])
    phantom = render_phantom(settings, seed=700_000 + sum(map(ord, condition)))
    return phantom, score_image(phantom.rgb, phantom.mpp)


def error_points(condition):
    phantom, result = scored(condition)
    return result.score.tps - phantom.tps_pct


def test_tps_of_phantoms_is_right_on_average():
    assert np.mean([abs(error_points(condition)) for condition in CONDITIONS]) <= 2.0


@pytest.mark.parametrize("condition", CONDITIONS)
def test_tps_of_each_phantom_is_within_five_points(condition):
    assert abs(error_points(condition)) <= 5.0


@pytest.mark.parametrize("condition", ["none", "pigment"])
def test_a_negative_phantom_reads_nearly_nothing(condition):
    """Heavy inflammation reads more: brown immune cells in nests are taken for tumour (`benchmarks/phantoms.py`)."""
    assert scored(condition)[1].score.tps <= 0.5


def test_tumour_cells_are_counted_within_ten_per_cent():
    pairs = [scored(condition) for condition in CONDITIONS]
    found, true = (sum(each) for each in zip(*((r.counts.n_tumour, p.n_viable) for p, r in pairs), strict=True))
    assert abs(found / true - 1) <= 0.10


def test_nearly_every_nucleus_is_found_once():
    scores = []
    for condition in CONDITIONS:
        phantom, result = scored(condition)
        truth, found = (each[["x_px", "y_px"]].to_numpy() for each in (phantom.cells, result.cells))
        scores.append(f1_score(match_points(truth, found, max_distance=3.0 / phantom.mpp)))
    assert np.mean(scores) >= 0.95


def test_lung_beside_tumour_is_hardly_taken_for_it():
    """A network that knew no lung counted 1.4 times the tumour cells there are, and read 22 points too little."""
    lung = {"lung_share": 0.5, "pneumocyte_share": 0.5, "free_macrophage_share": 0.7, "positive_immune_share": 0.5}
    settings = PhantomSettings(size_px=SIZE_PX, tumour_share=0.35, tps_pct=90, **lung)
    phantoms = [render_phantom(settings, seed=700_000 + number) for number in (1, 2, 3)]
    results = [score_image(phantom.rgb, phantom.mpp) for phantom in phantoms]
    assert sum(r.counts.n_tumour for r in results) < 1.25 * sum(p.n_viable for p in phantoms)
    assert np.mean([p.tps_pct - r.score.tps for p, r in zip(phantoms, results, strict=True)]) < 12


def test_the_interval_holds_the_truth_where_both_kinds_are_seen():
    """At 0 and 100 % one cell that is named wrongly moves the interval off the truth; it covers no such doubt."""
    both = [scored(condition) for condition in CONDITIONS if 0 < CONDITIONS[condition]["tps_pct"] < 100]
    assert all(r.score.tps_low <= p.tps_pct <= r.score.tps_high for p, r in both)
