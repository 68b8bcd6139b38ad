"""What a caller gives by mistake is refused in a line that says what to do; arrays of any layout are read."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from pdl1quant import (
    CaseMember,
    Config,
    ControlMember,
    analyse_image,
    blank_limit,
    estimate_case,
    load_config,
    load_pack,
    sample_image,
    score_case,
)
from pdl1quant.assays import find_indication
from pdl1quant.errors import AssayError, ConfigError, UsageError
from pdl1quant.model import BrownArea, Counts
from pdl1quant.pipeline import repeated_members
from pdl1quant.pipeline.checks import check_pixels
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
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


def test_what_was_measured_otherwise_than_the_case_is_refused():
    own = CaseMember.of(analyse_image(RGB, mpp=0.5, **GIVEN))
    other = replace(ESTIMATE, white=(230.0, 230.0, 230.0))
    with pytest.raises(UsageError, match="measured with another stain estimate; analyse all images of a case with"):
        score_case([own], **{**GIVEN, "estimate": other})
    browner = load_config(None, ["positivity.dab_od=0.3"])
    wrong = f"measured with other settings .digest {CONFIG.digest}, that of config is {browner.digest}.; analyse all"
    with pytest.raises(UsageError, match=wrong):
        score_case([own], **{**GIVEN, "config": browner})
    with pytest.raises(UsageError, match="graded by its membrane, the rule pack 28-8-cytoplasm reads cytoplasm"):
        score_case([own], **{**GIVEN, "pack": load_pack("28-8-cytoplasm")})
    assert score_case([replace(own, estimate=None, config_digest=None, compartment=None)], **GIVEN) == score_case(
        [own], **GIVEN
    )


def test_a_field_that_is_given_twice_is_warned_of():
    rgb = render_phantom(PhantomSettings(size_px=192), seed=1).rgb
    one, other = (CaseMember.of(analyse_image(each, mpp=0.5, **GIVEN)) for each in (rgb, rgb[::-1]))
    with pytest.warns(UserWarning, match=r"^members\[0\] = members\[2\]: the same field, by all that was measured"):
        score_case([one, other, one], **GIVEN)
    glass = CaseMember.of(analyse_image(RGB, mpp=0.5, **GIVEN))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score_case([one, other, glass, glass], **GIVEN)


def test_fields_without_tumour_cells_that_agree_are_not_taken_for_one():
    lymphoid = CaseMember(blocks=(Counts(n_cells=900, n_lymphocyte=850, n_tumour=3),), brown=BrownArea(tissue_um2=3e5))
    nest = CaseMember(blocks=(Counts(n_cells=900, n_tumour=800, tumour_cells_area_um2=1e5),))
    assert repeated_members([lymphoid, lymphoid, nest]) == []
    assert repeated_members([lymphoid, nest, nest]) == [[1, 2]]


@pytest.mark.parametrize("kind", [list, np.array])
def test_an_estimate_with_a_white_from_any_list_is_equal_to_itself(kind):
    tissue = sample_image(np.full((64, 64, 3), (150, 140, 180), np.uint8), mpp=0.5, config=CONFIG)
    one, two = (estimate_case([tissue], config=CONFIG, white=kind([243, 241, 238])) for _ in range(2))
    assert one == two == estimate_case([tissue], config=CONFIG, white=(243, 241, 238))
    assert one.white_source == "given"


def test_an_indication_of_another_pack_is_refused():
    lung, mixed_up = find_indication(PACK, "nsclc"), {**GIVEN, "pack": load_pack("28-8-cytoplasm")}
    wrong = "indication: 'nsclc' is of another rule pack, not of 28-8-cytoplasm"
    with pytest.raises(UsageError, match=wrong):
        analyse_image(RGB, mpp=0.5, indication=lung, **mixed_up)
    with pytest.raises(UsageError, match=wrong):
        score_case([], indication=lung, **mixed_up)
    with pytest.raises(UsageError, match=wrong):
        blank_limit([], indication=lung, pack=mixed_up["pack"])
    assert score_case([], indication=lung, **GIVEN).calls == ()


def test_controls_of_another_type_are_refused():
    result = analyse_image(RGB, mpp=0.5, **GIVEN)
    with pytest.raises(UsageError, match=r"result: expected SlideResult, got str; write ControlMember\.of"):
        ControlMember.of(result, "control")
    with pytest.raises(UsageError, match="members: expected ControlMember, got SlideResult"):
        blank_limit([result], pack=PACK)
    with pytest.raises(UsageError, match="blank: expected BlankLimit, got float; blank_limit makes it"):
        score_case([CaseMember.of(result)], blank=3.0, **GIVEN)


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
