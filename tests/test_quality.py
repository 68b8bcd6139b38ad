"""Quality: other stains, dark frames and wrong pixel sizes are refused; doubtful cells are flagged."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from factories import make_cells
from pdl1quant.config import CellsConfig, Config, QualityConfig
from pdl1quant.errors import NotHdabError, PixelSizeError
from pdl1quant.model import BrownArea, Flag, ResultFlag, Segmentation
from pdl1quant.pipeline import estimate_case, sample_image, score_image, working_tile
from pdl1quant.stages.cells import grow_cells
from pdl1quant.stages.quality import (
    GRAIN_UM,
    blue_grain_um,
    check_brown,
    check_hdab,
    check_nucleus_size,
    check_where_brown_is,
    count_brown,
    flag_cells,
    flag_pyknotic,
)
from pdl1quant.stages.stains import deconvolve, sample_stains
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from scenes import ESTIMATE, WHITE, disc, labels_of, paint_rgb, plain_od

CONFIG = QualityConfig()
TUNING = os.environ.get("PDL1QUANT_TUNING_DATA")
EOSIN = np.array([0.07, 0.99, 0.11])
FAST_RED = np.array([0.21, 0.85, 0.48])


def in_other_stain(phantom, vector, *, wash_od=0.25):
    """The phantom with its brown, and a wash over all tissue, in another colour."""
    blue = phantom.od.haematoxylin
    vector = vector / np.linalg.norm(vector)
    tissue = wash_od * (phantom.cell > 0) + phantom.od.dab
    haematoxylin = np.array([0.650, 0.704, 0.286])
    light = 245 * 10.0 ** -(blue[..., None] * haematoxylin + tissue[..., None] * vector)
    return np.clip(light, 0, 255).astype(np.uint8)


def pixels(rgb):
    return sample_stains(rgb).pixels


# --- is it H-DAB? ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pattern": "none", "tps_pct": 0.0, "positive_immune_share": 0.0},
        {"tps_pct": 100.0, "dab_od": 1.2},
        {"white": (225.0, 223.0, 215.0)},
        {"pigment_share": 0.05},
        {"jpeg_quality": 60, "noise_sd": 4.0},
        {"haematoxylin": (0.72, 0.63, 0.30)},
    ],
)
def test_h_dab_is_accepted(changes):
    settings = PhantomSettings(size_px=256, **changes)
    check_hdab(pixels(render_phantom(settings, seed=1).rgb), settings.white)


def test_real_h_dab_is_accepted():
    from skimage.data import immunohistochemistry

    check_hdab(pixels(immunohistochemistry()), (236.0, 236.0, 234.0))


@pytest.mark.parametrize("level", [200, 245, 255])
def test_empty_glass_is_accepted(level):
    check_hdab(np.full((5000, 3), level, np.uint8), WHITE)


@pytest.mark.parametrize("vector", [EOSIN, FAST_RED])
def test_pink_and_red_stains_are_refused(vector):
    phantom = render_phantom(PhantomSettings(size_px=256), seed=1)
    with pytest.raises(NotHdabError, match="not haematoxylin and DAB") as caught:
        check_hdab(pixels(in_other_stain(phantom, vector)), WHITE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("vector", [FAST_RED, EOSIN])
def test_red_on_some_membranes_alone_is_no_dab(vector):
    """A third of the cells stained: less than ``MAX_FOREIGN_SHARE`` of all that is stained is red."""
    phantom = render_phantom(PhantomSettings(size_px=256, tps_pct=30.0), seed=1)
    with pytest.raises(NotHdabError, match="not haematoxylin and DAB"):
        check_hdab(pixels(in_other_stain(phantom, vector, wash_od=0.0)), WHITE)


def test_red_beside_brown_is_accepted():
    """Blood or a pen mark in an H-DAB field."""
    rgb = render_phantom(PhantomSettings(size_px=256, pattern="membrane", tps_pct=50.0), seed=1).rgb.copy()
    rgb[:50, :100] = (230, 110, 140)
    check_hdab(pixels(rgb), WHITE)


@pytest.mark.parametrize("colour", [(60, 160, 80), (40, 200, 220)])
def test_green_and_cyan_images_are_refused(colour):
    with pytest.raises(NotHdabError):
        check_hdab(np.full((5000, 3), colour, np.uint8), WHITE)


def test_dark_background_is_refused():
    """Fluorescence: bright spots on black."""
    rgb = np.zeros((128, 128, 3), np.uint8)
    rgb[disc((128, 128), (60, 60), 30)] = (40, 80, 250)
    with pytest.raises(NotHdabError, match="dark"):
        check_hdab(pixels(rgb), WHITE)


def test_few_stained_pixels_say_nothing():
    rgb = np.full((128, 128, 3), 245, np.uint8)
    rgb[:3, :3] = (245, 60, 200)
    check_hdab(pixels(rgb), WHITE)


# --- where brown lies ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("nucleus", "cytoplasm", "membrane", "counted"),
    [
        (0.0, 0.0, 0.0, (0, 0)),
        (0.19, 0.1, 0.0, (0, 0)),
        (0.2, 0.1, 0.0, (1, 1)),
        (0.2, 0.2, 0.0, (1, 0)),  # brown all over
        (0.2, 0.0, 0.2, (1, 0)),
        (0.5, 0.46, 0.0, (1, 0)),  # no more than bled into it
        (0.5, 0.0, 0.44, (1, 1)),
        (0.1, 0.3, 0.0, (1, 0)),
        (0.1, 0.0, 0.3, (1, 0)),
        (0.3, np.nan, np.nan, (1, 1)),  # nothing around it
    ],
)
def test_a_cell_is_brown_in_its_nucleus_where_that_is_browner_than_what_is_around(
    nucleus, cytoplasm, membrane, counted
):
    cells = make_cells(1, nucleus_dab_od_mean=nucleus, cytoplasm_dab_od_mean=cytoplasm, membrane_dab_od_mean=membrane)
    assert count_brown(cells, t1=0.2) == counted


@pytest.mark.parametrize(
    ("n_brown", "n_in_nucleus", "is_said"),
    [(0, 0, False), (9, 9, False), (10, 10, True), (10, 9, False), (100, 50, False), (100, 62, False), (100, 63, True)],
)
def test_brown_nuclei_are_said_of_a_majority_beyond_chance(n_brown, n_in_nucleus, is_said):
    flags = (ResultFlag.NUCLEAR_STAIN,) if is_said else ()
    assert check_where_brown_is(n_brown, n_in_nucleus) == flags


@pytest.mark.skipif(TUNING is None, reason="PDL1QUANT_TUNING_DATA names no folder of real fields")
def test_brown_nuclei_are_said_of_real_nuclear_markers_alone():
    """Ki-67 lies in nuclei; of the field of the lung 11 cells are brown, too few to be sure."""
    index = pd.read_csv(Path(TUNING) / "index.csv")
    for name, mpp in zip(index["image"], index["mpp"], strict=True):
        rgb = np.ascontiguousarray(cv2.imread(str(Path(TUNING) / name))[:, :, ::-1])
        is_said = ResultFlag.NUCLEAR_STAIN in score_image(rgb, mpp).flags
        assert is_said == (name.startswith("ki67") and "lung" not in name), name


# --- pixel size ------------------------------------------------------------------------------------------------------
def nuclei_of(diameter_um, n=60):
    return make_cells(n, nucleus_area_um2=np.pi * diameter_um**2 / 4)


@pytest.mark.parametrize("diameter", [4.0, 8.0, 16.0])
def test_usual_nuclei_pass(diameter):
    assert check_nucleus_size(nuclei_of(diameter * (1.0001 if diameter < 8 else 0.9999)), config=CONFIG) == ()


@pytest.mark.parametrize("diameter", [2.1, 3.9, 16.1, 31.0])
def test_unusual_nuclei_are_flagged(diameter):
    assert check_nucleus_size(nuclei_of(diameter), config=CONFIG) == (ResultFlag.NUCLEUS_SIZE,)


@pytest.mark.parametrize("diameter", [1.9, 33.0])
def test_impossible_nuclei_are_refused(diameter):
    with pytest.raises(PixelSizeError, match=r"--mpp"):
        check_nucleus_size(nuclei_of(diameter), config=CONFIG)


@pytest.mark.parametrize("n", [0, 1, 49])
def test_few_nuclei_say_nothing_of_the_pixel_size(n):
    assert check_nucleus_size(nuclei_of(40.0, n), config=CONFIG) == ()


@pytest.mark.parametrize(
    ("grain_um", "flags"),
    [(None, ()), (1.4, (ResultFlag.NUCLEUS_SIZE,)), (1.5, ()), (3.0, ()), (3.1, (ResultFlag.NUCLEUS_SIZE,))],
)
def test_unusual_grain_warns_and_never_refuses(grain_um, flags):
    assert check_nucleus_size(nuclei_of(8.0), config=CONFIG, grain_um=grain_um) == flags


@pytest.mark.parametrize(("factor", "fits"), [(0.5, False), (1.0, True), (2.0, False)])
@pytest.mark.parametrize("changes", [{}, {"pattern": "none", "tps_pct": 0.0}, {"pattern": "membrane", "tps_pct": 90.0}])
def test_grain_knows_a_pixel_size_that_is_wrong_by_two(factor, fits, changes):
    rgb = render_phantom(PhantomSettings(size_px=384, **changes), seed=3).rgb
    told = 0.5 * factor
    tile = working_tile(rgb, mpp=told, config=Config())
    estimate = estimate_case([sample_image(rgb, mpp=told, config=Config())], config=Config())
    grain_um = blue_grain_um(deconvolve(tile.rgb, estimate), mpp=tile.mpp)
    assert (GRAIN_UM[0] <= grain_um <= GRAIN_UM[1]) == fits


def test_brown_or_blank_images_have_no_grain():
    assert blue_grain_um(plain_od(0.1, 0.5, shape=(64, 64)), mpp=0.5) is None
    assert blue_grain_um(plain_od(0.1, shape=(64, 64)), mpp=0.5) is None
    assert blue_grain_um(plain_od(0.1, shape=(1, 1)), mpp=0.5) is None


# --- doubtful cells --------------------------------------------------------------------------------------------------
def parts_of(*masks):
    od = plain_od(shape=masks[0].shape)
    return grow_cells(Segmentation(nuclei=labels_of(*masks)), od, mpp=0.5, config=CellsConfig())


def test_cells_at_the_border_are_flagged():
    shape = (80, 120)
    parts = parts_of(disc(shape, (60, 40), 8), disc(shape, (2, 40), 8), disc(shape, (112, 72), 8))
    flags = flag_cells(make_cells(3, nucleus_sharpness_od=0.1), parts, config=CONFIG)
    assert flags.dtype == np.int32
    assert flags.tolist() == [0, Flag.TOUCHES_EDGE, Flag.TOUCHES_EDGE]


@pytest.mark.parametrize(
    ("column", "below", "above", "flag"),
    [
        ("saturated_share", 0.29, 0.30, Flag.SATURATED),
        ("pigment_share", 0.29, 0.30, Flag.PIGMENT),
        ("nucleus_sharpness_od", 0.02, 0.019, Flag.OUT_OF_FOCUS),
    ],
)
def test_doubtful_cells_are_flagged_from_the_stated_limit_on(column, below, above, flag):
    shape = (80, 120)
    parts = parts_of(disc(shape, (30, 40), 8), disc(shape, (80, 40), 8))
    flags = flag_cells(make_cells(2, **{column: np.float32([below, above])}), parts, config=CONFIG)
    assert flags.tolist() == [0, flag]


@pytest.mark.parametrize(
    ("changes", "is_pyknotic"),
    [
        ({}, True),
        ({"nucleus_area_um2": 30.1}, False),
        ({"nucleus_haematoxylin_od_mean": 0.44}, False),
        ({"cell_class": "lymphocyte"}, False),
        ({"flags": int(Flag.SATURATED)}, False),
    ],
)
def test_small_dense_nuclei_of_tumour_class_are_pyknotic(changes, is_pyknotic):
    dense = {"nucleus_area_um2": 30.0, "nucleus_haematoxylin_od_mean": 0.46}
    flags = flag_pyknotic(make_cells(1, **(dense | changes)), estimate=replace(ESTIMATE, nucleus_od=0.2))
    assert flags.dtype == np.int32
    assert flags.tolist() == [int(Flag.PYKNOTIC) * is_pyknotic]


def test_apoptotic_bodies_named_tumour_leave_the_score_and_intact_cells_stay():
    caught, lost, n_bodies, n_intact, n_drawn = 0, 0, 0, 0, 0
    for seed in range(20):
        phantom = render_phantom(PhantomSettings(size_px=512, pattern="both", apoptotic_share=0.1), seed=seed)
        cells = score_image(phantom.rgb, mpp=0.5).cells
        cells = cells[cells["cell_class"] == "tumour"]
        truth = phantom.nucleus[cells["y_px"].round().astype(int), cells["x_px"].round().astype(int)]
        intact = np.concatenate([[True], phantom.cells["intact"]])[truth]  # background is no body
        is_tumour = np.concatenate([[False], phantom.cells["cell_class"] == "tumour"])[truth]
        flagged = (cells["flags"].to_numpy() & int(Flag.PYKNOTIC)) != 0
        caught, n_bodies = caught + (flagged & ~intact).sum(), n_bodies + (~intact).sum()
        lost, n_intact = lost + (flagged & intact & is_tumour).sum(), n_intact + (intact & is_tumour).sum()
        n_drawn += int((~phantom.cells["intact"]).sum())
    assert n_bodies >= 15
    assert n_bodies <= 0.075 * n_drawn  # measured: 132 of 1,996
    assert caught >= 0.3 * n_bodies
    assert lost <= 0.01 * n_intact


def test_no_cells_have_no_flags():
    parts = grow_cells(
        Segmentation(nuclei=np.zeros((9, 9), np.int32)), plain_od(shape=(9, 9)), mpp=0.5, config=CellsConfig()
    )
    assert flag_cells(make_cells(0), parts, config=CONFIG).shape == (0,)


def test_painted_glass_is_white():
    assert paint_rgb(shape=(2, 2)).min() == 245


@pytest.mark.parametrize(
    ("brown", "n_tumour", "flagged"),
    [
        (BrownArea(), 0, False),
        (BrownArea(area_um2=10_000, without_cell_um2=2_400), 100, False),  # most of the brown is in cells
        (BrownArea(area_um2=10_000, without_cell_um2=2_500), 100, True),
        (BrownArea(area_um2=10_000, without_cell_um2=2_500), 260, False),  # 25 cells more among 260
        (BrownArea(area_um2=900, without_cell_um2=900), 0, False),  # room for 9 cells
        (BrownArea(area_um2=1_000, without_cell_um2=1_000), 0, True),
    ],
)
def test_brown_in_no_cell_counts_where_it_has_room_for_cells(brown, n_tumour, flagged):
    found = check_brown(brown, n_tumour=n_tumour)
    assert found == ((ResultFlag.BROWN_WITHOUT_CELLS,) if flagged else ())
