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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("positivity.dab_od=0,3", "positivity.dab_od = '0,3': should be a number, with a point for decimals"),
        ("positivity.dab_od=true", "positivity.dab_od = True: is a setting that is neither true nor false"),
        ("positivity=0.3", "positivity = 0.3: is a section; set one of its settings"),
        ("score.min_blocks=many", "score.min_blocks = 'many': should be a whole number"),
        ("stains.dab=0.3", "stains.dab = 0.3: should be three numbers, as [0.65, 0.704, 0.286]"),
        ("stains.dab=[0.3, 0.5]", "stains.dab.2 = [0.3, 0.5]: should be three numbers, as [0.65, 0.704, 0.286]"),
    ],
)
def test_a_wrong_type_is_refused_in_plain_words(setting, message):
    with pytest.raises(ConfigError) as caught:
        load_config(None, [setting])
    assert str(caught.value) == f"--set: {message}"


def test_none_takes_a_setting_of_a_file_back(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("[tma]\ncore_um = 800\n[tiling]\ntile_px = 'none'\noutlines_compression = 'none'\n")
    assert load_config(file, ["tma.core_um=none"]) == Config()
    with pytest.raises(ConfigError, match=r"positivity\.dab_od = 'none': should be a number"):
        load_config(None, ["positivity.dab_od=none"])


def test_the_path_of_a_file_may_be_text(tmp_path):
    (tmp_path / "settings.toml").write_text("[positivity]\ndab_od = 0.25\n")
    assert load_config(str(tmp_path / "settings.toml")).positivity.dab_od == 0.25


def test_settings_that_move_together_are_taken():
    moved = ["positivity.dab_od=0.5", "positivity.grade_2_od=0.7", "positivity.grade_3_od=0.9"]
    assert load_config(None, moved).positivity.dab_od == 0.5


def test_one_text_is_no_list_of_settings():
    with pytest.raises(ConfigError, match="list"):
        load_config(None, "working_mpp=0.4")


def test_tissue_is_smoothed_by_the_standard_deviation_that_is_stated():
    """An edge fades as a normal distribution does: one standard deviation beyond it, 15.9 % of the OD is left."""
    black = np.zeros((32, 128))
    black[:, 64:] = 0.2
    found = _is_stained(paint_rgb(black=black), ESTIMATE, TissueConfig(smoothing_um=32.0, min_od=0.159 * 0.2))
    assert abs((found.sum(axis=1) - 64).mean() * STEP_UM - 32) <= STEP_UM
    assert Config().tissue.smoothing_um == STEP_UM
