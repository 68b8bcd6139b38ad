"""Where no tumour was drawn, immune cells count near the nests that were found, on images and slides."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import make_scored_cells, random_cells
from pdl1quant.assays import load_pack
from pdl1quant.config import Config
from pdl1quant.model import EXCLUDING_FLAGS, CellClass, Flag, RoiMasks
from pdl1quant.pipeline import images
from pdl1quant.stages import nests, quality
from pdl1quant.stages.nests import Squares, count_squares, find_nests, flag_far, near_nests
from pdl1quant.stages.score import block_places, count_cells
from pdl1quant.whole_slides.judging import Band
from pdl1quant.whole_slides.waiting import flag_far_cells

CONFIG, PACK = Config(), load_pack("28-8-cytoplasm")
REACH_UM = quality.STROMA_REACH_UM
FAR = int(Flag.FAR_FROM_TUMOUR)
MPP = 0.5
WIDE = Squares(width=8000, height=400, mpp_x=MPP, mpp_y=MPP)
BROWN = {"membrane_dab_od_run": 0.5, "cytoplasm_dab_od_mean": 0.5, "cell_dab_od_mean": 0.5}


def table(*groups):
    """Brown cells of groups of (class, x in um, y in um), each x a cell."""
    named = [(name, x, y) for name, xs, y in groups for x in xs]
    x_um, y_um = (np.array([each[k] for each in named], float) for k in (1, 2))
    return make_scored_cells(
        len(named), cell_class=[each[0] for each in named], x_px=x_um / MPP, y_px=y_um / MPP, **BROWN
    )


def flagged(cells, squares=WIDE, reach_um=REACH_UM):
    return flag_far(cells, near_nests(count_squares(cells, squares), squares, reach_um=reach_um), squares)


def is_far(cells, squares=WIDE):
    return ((flagged(cells, squares)["flags"] & FAR) > 0).to_numpy()


FIVE = ("tumour", (10, 20, 30, 40, 45), 25)
"""A nest that makes the first two squares (of one row) those of a nest."""


def test_immune_cells_count_up_to_half_a_millimetre_from_the_square_of_a_nest():
    reached = ("lymphocyte", (30, 500, 599, 601, 3000), 25)
    other = ("stroma", (3000,), 25)
    assert is_far(table(FIVE, reached, other)).tolist() == [False] * 8 + [True] * 2 + [False]
    assert is_far(table(FIVE, ("macrophage", (599, 601), 25)))[-2:].tolist() == [False, True]


@pytest.mark.parametrize(
    ("company", "is_nest"),
    [((), True), (("stroma", np.linspace(1, 99, 20), 60), True), (("lymphocyte", np.linspace(1, 99, 21), 60), False)],
)
def test_tumour_cells_of_a_nest_are_a_fifth_of_the_cells_around(company, is_nest):
    assert find_nests(count_squares(table(FIVE, *([company] if company else [])), WIDE))[0, 0] == is_nest


@pytest.mark.parametrize(("per_mm2", "false_share"), [(1500, 0.02), (6000, 0.05), (10_000, 0.05)])
def test_single_cells_called_tumour_among_others_make_no_nest(per_mm2, false_share):
    rng = np.random.default_rng(0)
    n = int(per_mm2 * 0.64)
    classes = np.where(rng.random(n) < false_share, "tumour", "lymphocyte")
    x_px, y_px = rng.uniform(0, 1600, n), rng.uniform(0, 1600, n)
    squares = Squares(width=1600, height=1600, mpp_x=MPP, mpp_y=MPP)
    cells = make_scored_cells(n, cell_class=classes, x_px=x_px, y_px=y_px, **BROWN)
    assert is_far(cells, squares).tolist() == (classes == "lymphocyte").tolist()


def test_four_tumour_cells_are_no_nest_and_those_that_do_not_count_make_none():
    immune = ("lymphocyte", (30,), 25)
    assert is_far(table(("tumour", (10, 20, 30, 40), 25), immune))[-1]
    cells = table(FIVE, immune)
    for flag in EXCLUDING_FLAGS:
        flags = np.where(np.arange(len(cells)) == 0, int(flag), 0).astype(np.int32)
        assert is_far(cells.assign(flags=flags))[-1]
    assert not is_far(cells)[-1]


def test_far_positive_cells_leave_the_cps_at_every_threshold_and_stay_viable():
    cells = flagged(table(FIVE, ("lymphocyte", (30, 3000), 25), ("macrophage", (3000,), 25)))
    counts = count_cells(cells, config=CONFIG, pack=PACK)
    positives = (counts.positive, counts.positive_strict, counts.positive_lenient)
    assert [each.immune for each in positives] == [1, 1, 1]
    assert (counts.n_tumour, counts.n_lymphocyte, counts.n_macrophage) == (5, 2, 1)
    assert counts.immune_positive_area_um2 == 150.0


@pytest.mark.parametrize(("side_px", "n_far"), [(1200, 0), (1201, 2)])
def test_of_a_single_field_all_immune_cells_count_if_it_holds_a_tumour_cell(side_px, n_far):
    field = Squares(width=side_px, height=600, mpp_x=MPP, mpp_y=MPP)
    immune = ("lymphocyte", (5, 490), 290)
    assert is_far(table(("tumour", (400,), 25), immune), field).sum() == n_far
    assert is_far(table(immune, ("stroma", (400,), 25)), field).sum() == 2


def test_squares_are_the_blocks_that_are_counted_and_hold_every_centre_of_the_image():
    cells = random_cells(1, 500)
    squares = Squares(width=4000, height=4000, mpp_x=0.37, mpp_y=0.61)
    row, column = block_places(cells, block_um=nests.SQUARE_UM, mpp_x=0.37, mpp_y=0.61)
    assert (squares.rows(cells["y_px"].to_numpy()) == row).all()
    assert (squares.columns(cells["x_px"].to_numpy()) == column).all()
    assert squares.rows(np.array([-0.5, 3999.5])).tolist() == [0, squares.shape[0] - 1]


def test_no_cells_have_no_nests_and_nothing_is_written_into_a_table():
    empty = random_cells(0, 0)
    assert flagged(empty).empty
    cells = table(("lymphocyte", (3000,), 25))
    before = cells.copy()
    flagged(cells)
    pd.testing.assert_frame_equal(cells, before)


@given(seed=st.integers(0, 9999), reach_um=st.sampled_from([0.0, 120.0, 500.0]))
def test_near_is_what_the_distances_of_all_squares_say(seed, reach_um):
    rng = np.random.default_rng(seed)
    tumour = rng.binomial(1, 0.02, (23, 31)).astype(np.int32) * 5
    counts = nests.SquareCounts(tumour=tumour, cells=tumour + rng.integers(0, 30, tumour.shape, np.int32))
    squares = Squares(width=31, height=23, mpp_x=nests.SQUARE_UM, mpp_y=nests.SQUARE_UM)
    centres = np.argwhere(np.ones(tumour.shape)) * nests.SQUARE_UM
    found = centres[find_nests(counts).ravel()]
    apart = np.hypot(*(centres[:, None] - found[None]).transpose(2, 0, 1)).min(axis=1, initial=np.inf)
    expected = (apart <= reach_um).reshape(tumour.shape)
    assert (near_nests(counts, squares, reach_um=reach_um) == expected).all()


# --- the pipeline of an image ---------------------------------------------------------------------------------------
def test_a_drawn_tumour_region_decides_in_place_of_nests_and_one_to_include_does_not():
    cells = table(FIVE, ("lymphocyte", (30, 1500, 3000), 25))
    left = np.arange(8000) < 5000
    scored = np.broadcast_to(left, (400, 8000))
    how = {"shape": (400, 8000), "mpp": MPP}
    drawn = images._flagged(cells, RoiMasks(scored=np.ones((400, 8000), bool), tumour=scored), **how)["flags"]
    assert not (drawn & FAR).any()
    included = images._flagged(cells, RoiMasks(scored=scored), **how)["flags"].to_numpy()
    assert ((included & FAR) > 0).tolist() == [False] * 6 + [True, True]
    right = images._flagged(cells, RoiMasks(scored=~scored), **how)["flags"].to_numpy()
    assert ((right & FAR) > 0)[-3:].all()  # tumour outside of what is scored makes no nest


# --- bands of a slide ------------------------------------------------------------------------------------------------
def sparse_cells(rng, n, width, height):
    """Cells with a few nests and follicles among them, sorted as those of a slide."""
    centre = rng.uniform(0, 1, (6, 2)) * (width, height)
    of = rng.integers(0, 6, n)
    places = np.where(
        rng.random((n, 1)) < 0.7, centre[of] + rng.normal(0, 90, (n, 2)), rng.random((n, 2)) * (width, height)
    )
    x_px, y_px = (np.clip(places[:, k], -0.25, side - 0.5) for k, side in enumerate((width, height)))
    classes = np.where(
        of < 2, "tumour", rng.choice([each.value for each in CellClass], n, p=[0.05, 0.6, 0.2, 0.1, 0.05])
    )
    flags = rng.choice([0, 0, 0, int(Flag.ARTEFACT), int(Flag.SATURATED)], n)
    cells = make_scored_cells(n, x_px=x_px, y_px=y_px, cell_class=classes, flags=flags, **BROWN)
    return cells.sort_values(["y_px", "x_px"], ignore_index=True)


def bands_of(cells, band_px, downsample, height, alive=None):
    """Bands as `judge_bands` gives them, without those that hold no cell."""
    y = (cells["y_px"].to_numpy() + 0.5) / downsample - 0.5
    for top in range(0, height, band_px):
        own = cells[(y >= top - 0.5) & (y < top + band_px - 0.5)].reset_index(drop=True)
        none = np.zeros(len(own), int)
        if len(own):
            if alive is not None:
                alive.append(len(own))
            yield Band(cells=own, outlines=(), tiles=none, tile_labels=none.astype(np.int32), y1=top + band_px)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 9999),
    band_px=st.sampled_from([64, 300, 1024, 5000]),
    downsample=st.sampled_from([0.5, 1.0, 2.0, 2.0037, 3.97]),
    mpp=st.sampled_from([0.25, 0.5, 0.503]),
    side=st.sampled_from([900, 4000]),
)
def test_bands_of_any_height_have_the_flags_of_the_whole(seed, band_px, downsample, mpp, side):
    rng = np.random.default_rng(seed)
    cells = sparse_cells(rng, 900, side, side)
    slide = SimpleNamespace(width=side, height=side, mpp_x=mpp, mpp_y=mpp * 1.01)
    grid = SimpleNamespace(height=int(side / downsample), downsample_y=downsample)
    found = list(flag_far_cells(bands_of(cells, band_px, downsample, grid.height + 1), slide=slide, grid=grid))
    squares = Squares(width=side, height=side, mpp_x=mpp, mpp_y=mpp * 1.01)
    together = pd.concat([band.cells for band in found], ignore_index=True)
    pd.testing.assert_frame_equal(together, flagged(cells, squares), check_exact=True)
    assert [band.y1 for band in found] == sorted(band.y1 for band in found)


def test_few_bands_wait_on_a_slide_of_any_height():
    height, band_px = 60_000, 2048
    cells = sparse_cells(np.random.default_rng(3), 20_000, 2000, height)
    slide = SimpleNamespace(width=2000, height=height, mpp_x=MPP, mpp_y=MPP)
    grid = SimpleNamespace(height=height, downsample_y=1.0)
    came, n_out = [], 0
    for _ in flag_far_cells(bands_of(cells, band_px, 1.0, height, came), slide=slide, grid=grid):
        n_out += 1
        assert len(came) - n_out <= 2
    assert n_out == len(came) > 20
