"""What a caller gives by mistake is refused in a line that says what to do; arrays of any layout are read."""

import numpy as np
import pytest

from pdl1quant import CaseMember, Config, analyse_image, estimate_case, load_config, load_pack, sample_image, score_case
from pdl1quant.assays import find_indication
from pdl1quant.errors import AssayError, ConfigError, UsageError
from pdl1quant.pipeline.checks import check_pixels
from scenes import ESTIMATE

CONFIG, PACK = Config(), load_pack("28-8-label")
RGB = np.full((8, 9, 3), 240, np.uint8)
SAMPLE = sample_image(RGB, mpp=0.5, config=CONFIG)
GIVEN = {"estimate": ESTIMATE, "config": CONFIG, "pack": PACK}


@pytest.mark.parametrize(
    ("rgb", "advice"),
    [
        (RGB / 255, r"float64 \(8, 9, 3\); scale it so that white is 255"),
        (RGB.astype(np.uint16) * 257, "uint16 .* scale it so that white is 255"),
        (np.dstack([RGB, RGB[..., 0]]), r"uint8 \(8, 9, 4\); leave the fourth channel out"),
        (RGB[..., 0], "in grey: give the image in colour"),
        (RGB[..., :1], "in grey: give the image in colour"),
        (np.moveaxis(RGB, -1, 0), "channels come last"),
        (RGB[None], "one image of three channels"),
        (RGB[:0], "no pixel"),
        (RGB.tolist(), r"got list; .* numpy\.asarray\(image\)"),
        ("tile.png", "got str; read the image first"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(rgb, advice):
    with pytest.raises(UsageError, match=advice):
        check_pixels(rgb)


@pytest.mark.parametrize("rgb", [RGB[::-1, ::2], np.asfortranarray(RGB), RGB[..., ::-1]])
def test_an_array_of_any_layout_is_an_image(rgb):
    check_pixels(rgb)
    assert sample_image(rgb, mpp=0.5, config=CONFIG).pixels.shape[1] == 3


@pytest.mark.parametrize("mpp", [None, "0.5", True, (0.5, 0.5)])
def test_a_pixel_size_that_is_no_number_is_not_said_to_be_out_of_range(mpp):
    with pytest.raises(UsageError, match="expected a number, um per pixel"):
        sample_image(RGB, mpp=mpp, config=CONFIG)


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("config", {"nuclei": {}}, "expected Config, got dict; .*load_config reads a file"),
        ("config", None, "expected Config, got NoneType"),
        ("pack", "28-8-label", r"expected RulePack, got str; load_pack\("),
        ("estimate", SAMPLE, "expected StainEstimate, got StainSample; estimate_case makes it"),
        ("indication", "nsclc", "expected Indication, got str; take one of pack.indications"),
    ],
)
def test_what_an_image_and_a_case_are_judged_by_is_of_its_type(name, value, advice):
    given = {**GIVEN, name: value}
    with pytest.raises(UsageError, match=f"{name}: {advice}"):
        analyse_image(RGB, mpp=0.5, **given)
    with pytest.raises(UsageError, match=f"{name}: {advice}"):
        score_case([], **given)


def test_a_list_of_something_else_is_refused():
    result = analyse_image(RGB, mpp=0.5, **GIVEN)
    for members, got in [(CaseMember.of(result), "a list, got CaseMember"), ([result], "CaseMember, got SlideResult")]:
        with pytest.raises(UsageError, match=f"members: expected {got}; CaseMember.of makes one"):
            score_case(members, **GIVEN)
    for samples, got in [
        (SAMPLE, "a list, got StainSample"),
        ([RGB], "StainSample, got ndarray"),
        (None, "a list, got"),
    ]:
        with pytest.raises(UsageError, match=f"samples: expected {got}.*sample_image makes one"):
            estimate_case(samples, config=CONFIG)
    with pytest.raises(UsageError, match="result: expected SlideResult, got ndarray"):
        CaseMember.of(RGB)


def test_a_list_may_be_given_one_by_one():
    assert estimate_case((each for each in [SAMPLE]), config=CONFIG) == estimate_case([SAMPLE], config=CONFIG)
    member = CaseMember.of(analyse_image(RGB, mpp=0.5, **GIVEN))
    assert score_case(iter([member]), **GIVEN) == score_case([member], **GIVEN)


def test_names_and_paths_of_another_type_are_refused():
    with pytest.raises(AssayError, match="indication 3: expected its name, got int"):
        find_indication(PACK, 3)
    with pytest.raises(ConfigError, match=r"Config\(\*\*settings\) takes a dict"):
        load_config({"working_mpp": 0.5})
    with pytest.raises(ConfigError, match="--set 3: write it as"):
        load_config(None, [3])
