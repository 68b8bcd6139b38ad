"""Settings that cannot be together are refused in one line that names both."""

from __future__ import annotations

import numpy as np
import pytest

from pdl1quant.config import Config, TissueConfig, load_config
from pdl1quant.errors import ConfigError
from pdl1quant.stages.tissue import STEP_UM, _is_stained
from scenes import ESTIMATE, paint_rgb


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("nuclei.min_area_um2=400", "nuclei.max_area_um2 = 400: should be greater than nuclei.min_area_um2 = 400"),
        (
            "quality.min_nucleus_diameter_um=20",
            "quality.max_nucleus_diameter_um = 16: should be greater than quality.min_nucleus_diameter_um = 20",
        ),
        ("positivity.dab_od=0.4", "positivity.grade_2_od = 0.4: should be greater than positivity.dab_od = 0.4"),
        (
            "positivity.grade_3_od=0.3",
            "positivity.grade_3_od = 0.3: should be greater than positivity.grade_2_od = 0.4",
        ),
        (
            "score.threshold_margin_od=0.2",
            "positivity.dab_od = 0.2: should be greater than score.threshold_margin_od = 0.2",
        ),
    ],
)
def test_settings_that_cannot_be_together_are_refused_by_name(setting, message):
    with pytest.raises(ConfigError) as caught:
        load_config(None, [setting])
    assert str(caught.value) == f"--set: {message}"


def test_settings_that_move_together_are_taken():
    moved = ["positivity.dab_od=0.5", "positivity.grade_2_od=0.7", "positivity.grade_3_od=0.9"]
    assert load_config(None, moved).positivity.dab_od == 0.5


def test_tissue_is_smoothed_by_the_standard_deviation_that_is_stated():
    """An edge fades as a normal distribution does: one standard deviation beyond it, 15.9 % of the OD is left."""
    black = np.zeros((32, 128))
    black[:, 64:] = 0.2
    found = _is_stained(paint_rgb(black=black), ESTIMATE, TissueConfig(smoothing_um=32.0, min_od=0.159 * 0.2))
    assert abs((found.sum(axis=1) - 64).mean() * STEP_UM - 32) <= STEP_UM
    assert Config().tissue.smoothing_um == STEP_UM
