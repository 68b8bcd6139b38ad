"""Phantoms: the rendered fields whose truth the other tests rely on."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache

import cv2
import numpy as np
import pytest

from pdl1quant.errors import UsageError
from pdl1quant.model import CellClass
from pdl1quant.validation.phantom_kinds import Kind
from pdl1quant.validation.phantom_optics import unit
from pdl1quant.validation.phantom_shapes import Shapes, centroids, depth_um
from pdl1quant.validation.phantom_truth import find_unjudgeable, judge_cells
from pdl1quant.validation.phantoms import Phantom, PhantomSettings, random_settings, render_phantom

SMALL = PhantomSettings(size_px=256)
QUIET = PhantomSettings(size_px=256, blur_px=0, noise_sd=0, cell_defocus=0)
PATTERNS = ("membrane", "cytoplasm", "both", "mixed")


@cache
def field(settings: PhantomSettings, seed: int = 0) -> Phantom:
    return render_phantom(settings, seed=seed)


def viable(phantom: Phantom):
    return phantom.cells[phantom.cells["viable"]]


def best_area_f1(phantoms: list[Phantom]) -> float:
    is_tumour = np.concatenate([p.cells["cell_class"] == CellClass.TUMOUR for p in phantoms])
    area = np.concatenate([p.cells["nucleus_area_um2"] for p in phantoms])
    cuts = np.quantile(area, np.linspace(0, 1, 80))
    found = [area >= cut for cut in cuts] + [area < cut for cut in cuts]
    return max(2 * np.sum(is_tumour & f) / (is_tumour.sum() + f.sum()) for f in found)


def test_same_seed_gives_the_same_bytes():
    settings = replace(SMALL, jpeg_quality=80, pigment_share=0.02, n_debris=3, n_folds=1, out_of_focus_share=0.1)
    a, b = render_phantom(settings, seed=3), render_phantom(settings, seed=3)
    assert a.rgb.tobytes() == b.rgb.tobytes()
    assert a.cell.tobytes() == b.cell.tobytes()
    assert a.cells.equals(b.cells)


def test_another_seed_gives_another_field():
    assert field(SMALL, 0).rgb.tobytes() != field(SMALL, 1).rgb.tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_one_to_n_and_shared(seed):
    p = field(SMALL, seed)
    n = len(p.cells)
    assert p.nucleus.dtype == p.cell.dtype == np.int32
    assert p.cells["label"].tolist() == list(range(1, n + 1))
    assert np.unique(p.nucleus).tolist() == list(range(n + 1))
    inside = p.nucleus > 0
    assert (p.cell[inside] == p.nucleus[inside]).all()


def test_centroids_lie_in_or_near_their_nucleus():
    p = field(SMALL)
    x, y = p.cells["x_px"].round().astype(int), p.cells["y_px"].round().astype(int)
    assert (p.nucleus[y, x] == p.cells["label"]).mean() > 0.97


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("tps_pct", [5.0, 60.0, 100.0])
def test_truth_is_the_wanted_tps(pattern, tps_pct):
    p = field(replace(SMALL, pattern=pattern, tps_pct=tps_pct, dab_od=0.35, tumour_share=0.8, gland_share=0.2))
    assert p.n_viable > 40
    assert p.tps_pct == pytest.approx(tps_pct, abs=100 / p.n_viable + 0.5)


@pytest.mark.parametrize(
    "settings", [{"tps_pct": 0.0}, {"pattern": "none"}, {"tps_pct": 0.0, "background_dab_od": 0.08}]
)
def test_negative_phantom_has_truth_zero(settings):
    p = field(replace(SMALL, **settings))
    assert p.tps_pct == 0
    assert p.tps_membrane_pct == 0
    assert p.tps_cytoplasm_only_pct == 0
    brown = p.od.dab[np.isin(p.cell, p.cells.loc[p.cells["viable"], "label"])]
    assert brown.max() < 0.2


def test_membrane_pattern_leaves_the_cytoplasm_pale():
    cells = viable(field(replace(SMALL, pattern="membrane")))
    assert cells["membrane_positive"].any()
    assert cells["cytoplasm_positive"].mean() < 0.05  # a nucleus that fills its cell leaves the band alone to judge


def test_cytoplasm_pattern_stains_the_cytoplasm():
    cells = viable(field(replace(SMALL, pattern="cytoplasm")))
    assert (cells["cytoplasm_positive"] == cells["positive"]).mean() > 0.97


def test_positive_cells_reach_the_wanted_od():
    p = field(replace(SMALL, pattern="membrane", dab_od=0.8, dab_spread=0.0, partial_share=0.0))
    positive = viable(p)[viable(p)["positive"]]
    assert positive["membrane_dab_od"].mean() == pytest.approx(0.8, rel=0.1)


def test_field_without_viable_cells_has_no_tps():
    p = field(replace(SMALL, tumour_share=0.0, single_cell_share=0.0))
    assert p.n_viable == 0
    assert p.tps_pct is None


def test_all_glass_is_an_empty_table():
    p = field(replace(SMALL, glass_share=1.0))
    assert len(p.cells) == 0
    assert not p.cell.any()
    assert p.cells.columns.tolist() == field(SMALL).cells.columns.tolist()


def test_area_alone_does_not_tell_tumour():
    assert best_area_f1([field(PhantomSettings(), seed) for seed in range(3)]) <= 0.8


def test_image_is_the_sum_of_its_stains():
    p = field(QUIET)
    od = p.od.haematoxylin[..., None] * unit(QUIET.haematoxylin) + p.od.dab[..., None] * unit(QUIET.dab)
    wanted = np.asarray(QUIET.white) * 10.0**-od
    assert np.abs(wanted - p.rgb).max() <= 0.51


def test_stains_can_be_read_back():
    p = field(QUIET)
    od = -np.log10(np.maximum(p.rgb, 1) / np.asarray(QUIET.white))
    basis = np.stack([unit(QUIET.haematoxylin), unit(QUIET.dab)], axis=1)
    haematoxylin, dab = np.moveaxis(od @ np.linalg.pinv(basis).T, -1, 0)
    bright = p.rgb.min(axis=2) > 40  # one grey level of 40 is 0.005 OD, twice that after unmixing
    assert np.abs(dab - p.od.dab)[bright].max() < 0.02
    assert np.abs(haematoxylin - p.od.haematoxylin)[bright].max() < 0.02


def test_glass_is_white():
    settings = replace(QUIET, glass_share=0.4, white=(225.0, 223.0, 215.0), gamma=1.2, flare=0.03)
    p = field(settings)
    empty = (p.od.haematoxylin == 0) & (p.od.dab == 0)
    assert empty.mean() > 0.3
    assert (p.rgb[empty] == np.array([225, 223, 215])).all()


def test_pigment_is_neutral():
    settings = replace(QUIET, pigment_share=0.05, haematoxylin_od=0.05, background_od=0.0, tps_pct=0.0)
    p = field(replace(settings, pattern="none"))
    black = (p.od.residual > 0) & (p.od.haematoxylin < 0.01)
    assert black.sum() > 100
    assert np.ptp(p.rgb[black].astype(int), axis=1).max() <= 6
    assert p.rgb[black].mean() < 100


def test_pigmented_cells_do_not_count():
    p = field(replace(SMALL, pigment_share=0.3))
    assert p.cells["pigmented"].any()
    assert not (p.cells["pigmented"] & p.cells["viable"]).any()


def test_cells_out_of_focus_do_not_count_and_look_blurred():
    p = field(replace(SMALL, out_of_focus_share=0.4, noise_sd=0.0))
    assert not (p.cells["out_of_focus"] & p.cells["viable"]).any()
    grey = cv2.cvtColor(p.rgb, cv2.COLOR_RGB2GRAY)
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    far = np.isin(p.nucleus, p.cells.loc[p.cells["out_of_focus"], "label"])
    assert detail[far].mean() < 0.5 * detail[(p.nucleus > 0) & ~far].mean()


def test_cells_at_the_border_do_not_count():
    p = field(SMALL)
    border = np.unique(np.concatenate([p.cell[0], p.cell[-1], p.cell[:, 0], p.cell[:, -1]]))
    touching = p.cells.loc[p.cells["touches_edge"], "label"]
    assert touching.tolist() == border[border > 0].tolist()
    assert not (p.cells["touches_edge"] & p.cells["viable"]).any()


def test_necrosis_and_apoptotic_bodies_do_not_count():
    p = field(replace(SMALL, necrosis_share=0.5, apoptotic_share=0.1))
    assert (~p.cells["intact"]).sum() > 10
    assert not (~p.cells["intact"] & p.cells["viable"]).any()


def test_nuclei_keep_their_size_at_any_pixel_size():
    sizes = [
        viable(field(PhantomSettings(size_px=round(120 / mpp), mpp=mpp, gland_share=0.0, tumour_share=0.9), 4))
        for mpp in (0.25, 0.5)
    ]
    a, b = (s["nucleus_area_um2"].median() for s in sizes)
    assert a == pytest.approx(b, rel=0.2)


def gland(**changes) -> PhantomSettings:
    return PhantomSettings(
        size_px=448, tumour_share=0.8, gland_share=1.0, nest_um=150, septum_um=0, column_um=26, column_width_um=7,
        intraepithelial_share=0, **changes
    )  # fmt: skip


def test_mucin_of_goblet_cells_is_a_bright_hole_in_the_brown():
    def bright_share(settings):
        phantom = render_phantom(settings, seed=4)
        column = np.isin(phantom.cell, phantom.cells.index[phantom.cells["cell_class"] == "tumour"] + 1)
        return float((phantom.rgb[column].min(axis=1) > 160).mean())

    assert bright_share(gland(goblet_share=0.8, tps_pct=100)) > bright_share(gland(tps_pct=100)) + 0.05


def test_gaps_between_crowded_nuclei_fill_with_blue_and_the_truth_stays():
    crowded = PhantomSettings(size_px=256, tumour_share=0, glass_share=0, lymphocyte_share=0.95, stroma_spacing=0.8)
    apart, joined = (render_phantom(replace(crowded, crowding_blue=share), seed=4) for share in (0.0, 0.8))
    assert np.array_equal(apart.nucleus, joined.nucleus)
    added = joined.od.haematoxylin - apart.od.haematoxylin
    gap = cv2.morphologyEx((apart.nucleus > 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0
    gap &= apart.nucleus == 0
    assert added[gap].mean() > 0.1
    assert abs(added[apart.nucleus > 0]).mean() < 0.01


@pytest.mark.parametrize(("name", "kind"), [("stroma_swell", "stroma"), ("macrophage_swell", "macrophage")])
def test_swollen_nuclei_are_larger_and_paler_and_tumour_stays(name, kind):
    settings = replace(QUIET, size_px=512, macrophage_share=0.3, stroma_spacing=2.0)

    def seen(phantom, cell_class):
        labels = phantom.cells.loc[phantom.cells["cell_class"] == cell_class, "label"]
        blue = phantom.od.haematoxylin[np.isin(phantom.nucleus, labels)]
        return phantom.cells.loc[labels - 1, "nucleus_area_um2"].median(), np.median(blue)

    plain, swollen = field(settings), field(replace(settings, **{name: 2.0}))
    area, blue = (after / before for before, after in zip(seen(plain, kind), seen(swollen, kind), strict=True))
    assert 1.4 < area < 2.2
    assert 0.5 < blue < 0.9
    assert seen(swollen, "tumour")[0] == pytest.approx(seen(plain, "tumour")[0], rel=0.15)


def test_caps_are_smaller_and_paler_nuclei():
    plain, caps = (field(replace(QUIET, size_px=512, cap_share=share)) for share in (0.0, 1.0))
    area = [p.cells["nucleus_area_um2"].median() for p in (plain, caps)]
    blue = [np.median(p.od.haematoxylin[p.nucleus > 0]) for p in (plain, caps)]
    assert 0.3 < area[1] / area[0] < 0.7
    assert 0.5 < blue[1] / blue[0] < 0.85


def test_stratified_nuclei_are_slender():
    def length_over_width(settings):
        phantom = render_phantom(settings, seed=4)
        tumour = phantom.cells[phantom.cells["viable"]].index + 1
        sides = [cv2.minAreaRect(cv2.findNonZero((phantom.nucleus == k).astype(np.uint8)))[1] for k in tumour[:150]]
        return float(np.median([max(s) / max(min(s), 1) for s in sides]))

    assert length_over_width(gland(stratification=1.0)) > 1.25 * length_over_width(gland())


def test_papillae_are_stroma_covered_with_tumour_in_a_free_space():
    phantom = render_phantom(gland(papillary=True, glass_share=0.0, mucin_od=0.0), seed=4)
    kinds = phantom.cells["cell_class"].value_counts()
    assert kinds["tumour"] > 50
    assert kinds["stroma"] + kinds["lymphocyte"] > 10
    assert 0.1 < (phantom.rgb.min(axis=2) > 225).mean() < 0.8


LUNG = replace(
    QUIET, size_px=512, tumour_share=0.0, single_cell_share=0.0, glass_share=0.0, vessel_share=0.0, lung_share=1.0,
    free_macrophage_share=0.5, lymphocyte_share=0.0, macrophage_share=0.0, plasma_share=0.0, apoptotic_share=0.0,
)  # fmt: skip


def test_lung_is_thin_walls_with_pneumocytes_and_macrophages_in_the_air():
    phantom = field(LUNG)
    of = {name: phantom.cells["cell_class"] == name for name in ("tumour", "macrophage", "other", "stroma")}
    assert not of["tumour"].any()
    assert min(of[name].sum() for name in ("macrophage", "other", "stroma")) > 20
    col, row = np.rint(phantom.cells[["x_px", "y_px"]].to_numpy()).astype(int).T
    is_air = (phantom.rgb.min(axis=2) > 235).astype(np.uint8)
    assert 0.3 < is_air.mean() < 0.8
    to_air_um = cv2.distanceTransform(1 - is_air, cv2.DIST_L2, 5)[row, col] * phantom.mpp
    assert np.quantile(to_air_um[of["other"]], 0.9) < 8
    macrophages = np.isin(phantom.cell, phantom.cells.loc[of["macrophage"], "label"])
    edge = macrophages & (depth_um(phantom.cell, 1.0) < 1)
    assert (cv2.dilate(is_air, np.ones((5, 5), np.uint8)) > 0)[edge].mean() > 0.8
    dense = field(replace(LUNG, pneumocyte_share=0.9)).cells["cell_class"].value_counts()
    assert dense["other"] > 1.5 * of["other"].sum()


def test_tumour_grows_beside_lung_and_not_in_it():
    alone, beside = field(LUNG), field(replace(LUNG, lung_share=0.5, tumour_share=0.3))
    assert beside.n_viable > 30
    assert (beside.rgb.min(axis=2) > 235).mean() > 0.3 * (alone.rgb.min(axis=2) > 235).mean()


def test_lepidic_tumour_lines_the_air_in_place_of_pneumocytes():
    phantom = field(replace(LUNG, lepidic=True, pneumocyte_share=1.0, tps_pct=50.0))
    assert phantom.n_viable > 100
    assert not (phantom.cells["cell_class"] == "other").any()
    assert phantom.tps_pct == pytest.approx(50, abs=2)


def test_air_spaces_that_bleed_hold_red_cells_between_their_cells():
    plain, bled = field(LUNG), field(replace(LUNG, bleeding_share=1.0))
    assert np.array_equal(plain.cell, bled.cell)
    added = bled.od.dab - plain.od.dab
    assert not added[plain.cell > 0].any()
    assert 0.04 < added[added > 0].mean() < 0.13
    assert (added > 0).mean() > 0.1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mpp", 0.0),
        ("tps_pct", 101.0),
        ("dab_od", 0.1),
        ("pattern", "nuclear"),
        ("jpeg_quality", 0),
        ("tumour_share", -0.1),
        ("white", (300.0, 245.0, 245.0)),
        ("dab", (0.0, 0.0, 0.0)),
        ("blur_px", float("nan")),
    ],
)
def test_wrong_setting_is_refused_in_one_line(name, value):
    with pytest.raises(UsageError, match=f"^{name} = .+: .+$") as caught:
        PhantomSettings(**{name: value})
    assert "\n" not in str(caught.value)


def test_random_settings_render():
    for seed in range(4):
        settings = random_settings(np.random.default_rng(seed), size_px=128)
        assert settings == random_settings(np.random.default_rng(seed), size_px=128)
        assert render_phantom(settings, seed=seed).rgb.shape == (128, 128, 3)


def test_random_settings_differ_in_nearly_everything():
    drawn = [random_settings(np.random.default_rng(seed)) for seed in range(150)]
    fixed = {f.name for f in fields(PhantomSettings) if len({getattr(s, f.name) for s in drawn}) == 1}
    lung = {"lung_share", "alveolus_um", "alveolar_wall_um", "pneumocyte_share", "lepidic", "bleeding_share"}  # a theme
    assert fixed == {"size_px", *lung}


# --- the truth rule, on cells drawn by hand ------------------------------------------------------------------------
def two_squares(kinds=(Kind.TUMOUR, Kind.TUMOUR)) -> Shapes:
    """Two cells of 24 x 24 px at 0.5 um/px side by side, each with a nucleus of 8 x 8 px."""
    cell, nucleus = np.zeros((40, 64), np.int32), np.zeros((40, 64), np.int32)
    for label, x0 in ((1, 8), (2, 32)):
        cell[8:32, x0 : x0 + 24] = label
        nucleus[16:24, x0 + 8 : x0 + 16] = label
    return Shapes(
        cell=cell,
        nucleus=nucleus,
        kind=np.array(kinds, dtype=np.int32),
        centre=centroids(nucleus, 2),
        cell_centre=centroids(cell, 2),
        edge_um=depth_um(cell, 0.5),
        rim_um=depth_um(nucleus, 0.5),
        mucin=np.zeros(cell.shape, dtype=np.float32),
        angle=np.zeros(2),
        column=np.zeros(2, dtype=bool),
        cap=np.zeros(2, dtype=bool),
    )


def judged(shapes, dab):
    nothing = np.zeros(shapes.cell.shape, np.float32)
    state = find_unjudgeable(shapes, cover=nothing, defocus=nothing, dead=np.zeros(2, dtype=bool))
    return judge_cells(shapes, dab.astype(np.float32), mpp=0.5, state=state)


def test_rule_short_run_is_negative_and_long_run_positive():
    shapes = two_squares()
    dab = np.zeros(shapes.cell.shape)
    dab[8:10, 8:32] = 0.5  # one of four sides of cell 1: 25 % of its perimeter
    dab[8:10, 32:40] = 0.5  # a third of a side of cell 2: 8 %
    assert judged(shapes, dab)["membrane_positive"].tolist() == [True, False]


def test_rule_two_short_runs_do_not_add_up():
    shapes = two_squares()
    dab = np.zeros(shapes.cell.shape)
    dab[8:10, 12:22] = dab[30:32, 12:22] = 0.5
    assert not judged(shapes, dab)["membrane_positive"][0]


def test_rule_membrane_has_to_rise_above_a_pale_cytoplasm():
    shapes = two_squares()
    dab = np.where(shapes.cell > 0, 0.19, 0.0)
    dab[(shapes.edge_um > 0) & (shapes.edge_um <= 1)] = 0.22
    assert not judged(shapes, dab)["positive"].any()
    dab[(shapes.edge_um > 0) & (shapes.edge_um <= 1)] = 0.25
    assert judged(shapes, dab)["membrane_positive"].all()


def test_rule_brown_cytoplasm_is_positive_at_the_threshold():
    shapes = two_squares()
    dab = np.zeros(shapes.cell.shape)
    dab[(shapes.cell == 1) & (shapes.edge_um > 1)] = 0.2001
    dab[(shapes.cell == 2) & (shapes.edge_um > 1)] = 0.199
    cells = judged(shapes, dab)
    assert cells["cytoplasm_positive"].tolist() == [True, False]
    assert not cells["membrane_positive"].any()


def test_rule_brown_nucleus_does_not_count():
    shapes = two_squares()
    assert not judged(shapes, np.where(shapes.nucleus > 0, 1.0, 0.0))["positive"].any()


def test_rule_membrane_shared_with_a_positive_lymphocyte_is_the_lymphocytes():
    shapes = two_squares((Kind.TUMOUR, Kind.LYMPHOCYTE))
    dab = np.zeros(shapes.cell.shape)
    dab[(shapes.cell == 2) & (shapes.edge_um <= 1)] = 0.6
    dab[8:32, 30:32] = 0.6  # the tumour cell's side of the common border
    assert judged(shapes, dab)["membrane_positive"].tolist() == [False, True]
    tumours = two_squares()
    assert judged(tumours, dab)["membrane_positive"].tolist() == [True, True]
