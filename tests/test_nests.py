"""Where no tumour was drawn, immune cells count near the nests that were found, on images and slides."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import make_scored_cells, random_cells
from pdl1quant.assays import load_pack
from pdl1quant.config import Config
from pdl1quant.model import EXCLUDING_FLAGS, CellClass, Flag, ResultFlag, RoiMasks
from pdl1quant.pipeline import images
from pdl1quant.slides.roi import Roi, RoiKind
from pdl1quant.stages import nests, quality
from pdl1quant.stages.nests import Squares, cells_near, count_squares, find_nests, flag_far, near_nests
from pdl1quant.stages.score import block_places, count_cells
from pdl1quant.whole_slides.judging import Band
from pdl1quant.whole_slides.scoring import Tally
from pdl1quant.whole_slides.waiting import CELLS_AT_ONCE, Waiting, flag_far_cells, nest_grounds

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
    near = near_nests(count_squares(cells, squares), squares, reach_um=reach_um)
    return flag_far(cells, cells_near(cells, near, squares))


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
    for flag in EXCLUDING_FLAGS & ~Flag.TOUCHES_EDGE:
        flags = np.where(np.arange(len(cells)) == 0, int(flag), 0).astype(np.int32)
        assert is_far(cells.assign(flags=flags))[-1]
    assert not is_far(cells)[-1]


def test_far_positive_cells_leave_the_cps_at_every_threshold_and_stay_viable():
    cells = flagged(table(FIVE, ("lymphocyte", (30, 3000), 25), ("macrophage", (3000,), 25)))
    counts = count_cells(cells, config=CONFIG, pack=PACK)
    positives = (counts.positive, counts.positive_strict, counts.positive_lenient)
    assert [each.immune for each in positives] == [1, 1, 1]
    assert (counts.n_tumour, counts.n_lymphocyte, counts.n_macrophage, counts.n_immune) == (5, 2, 1, 1)
    assert counts.immune_positive_area_um2 == 150.0


@pytest.mark.parametrize(("side_px", "n_far"), [(1200, 0), (1201, 1)])
def test_of_a_single_field_all_immune_cells_count_if_it_holds_a_nest(side_px, n_far):
    field = Squares(width=side_px, height=1200, mpp_x=MPP, mpp_y=MPP)
    immune = [("lymphocyte", (5,), 5), ("lymphocyte", (590,), 590)]
    assert is_far(table(FIVE, *immune), field).sum() == n_far
    for single in (("tumour", (400,), 25), ("stroma", (400,), 25)):
        assert is_far(table(single, *immune), field).sum() == 2


def test_a_nest_that_the_border_cuts_is_a_nest():
    """In a field of 300 um: five cells at its rim, and it cuts all but one."""
    field = Squares(width=600, height=600, mpp_x=MPP, mpp_y=MPP)
    cells = table(FIVE, ("lymphocyte", (30, 150, 290), 250))
    cut = np.where(np.arange(len(cells)) < 4, int(Flag.TOUCHES_EDGE), 0).astype(np.int32)
    assert not is_far(cells.assign(flags=cut), field).any()


@pytest.mark.parametrize(("side_um", "n_asked_for"), [(40, 2), (64, 2), (100, 3), (128, 4), (150, 5), (600, 5)])
def test_of_tiny_fields_a_nest_is_as_dense_as_of_others_and_never_a_single_cell(side_um, n_asked_for):
    field = Squares(width=2 * side_um, height=2 * side_um, mpp_x=MPP, mpp_y=MPP)
    immune = ("lymphocyte", (12, 14), 30)
    for n, n_far in ((n_asked_for - 1, 2), (n_asked_for, 0)):
        assert is_far(table(("tumour", range(20, 20 + n), 15), immune), field).sum() == n_far


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
    drawn, has_nests = images._flagged(cells, RoiMasks(scored=np.ones((400, 8000), bool), tumour=scored), **how)
    assert has_nests
    assert not (drawn["flags"] & FAR).any()
    included, has_nests = images._flagged(cells, RoiMasks(scored=scored), **how)
    assert has_nests
    assert ((included["flags"] & FAR) > 0).tolist() == [False] * 6 + [True, True]
    right, has_nests = images._flagged(cells, RoiMasks(scored=~scored), **how)
    assert not has_nests
    assert ((right["flags"] & FAR) > 0)[-3:].all()  # tumour outside of what is scored makes no nest


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
    slide = Squares(width=side, height=side, mpp_x=mpp, mpp_y=mpp * 1.01)
    grid = SimpleNamespace(height=int(side / downsample), downsample_y=downsample)
    grounds = nest_grounds(slide, ())
    found = list(flag_far_cells(bands_of(cells, band_px, downsample, grid.height + 1), grounds=grounds, grid=grid))
    squares = Squares(width=side, height=side, mpp_x=mpp, mpp_y=mpp * 1.01)
    together = pd.concat([band.cells for band in found], ignore_index=True)
    pd.testing.assert_frame_equal(together, flagged(cells, squares), check_exact=True)
    assert [band.y1 for band in found] == sorted(band.y1 for band in found)


def core(name, x_px, y_px, radius_px):
    return Roi(
        kind=RoiKind.INCLUDE,
        name="core",
        title=name,
        geometry=shapely.Point(x_px, y_px).buffer(radius_px),
        is_core=True,
    )


@settings(max_examples=12)
@given(
    seed=st.integers(0, 9999),
    band_px=st.sampled_from([300, 1024, 5000]),
    downsample=st.sampled_from([0.5, 1.0, 2.0037]),
)
def test_cells_of_a_core_know_its_own_nests_alone_for_bands_of_any_height(seed, band_px, downsample):
    rng = np.random.default_rng(seed)
    side, cells = 4000, sparse_cells(rng, 900, 4000, 4000)
    cores = [
        core(f"{row}{column}", 800 + 1200 * column + 0.3, 700 + 1250 * row, 590)
        for row in range(3)
        for column in range(3)
    ]
    slide = Squares(width=side, height=side, mpp_x=MPP, mpp_y=MPP)
    grid = SimpleNamespace(height=int(side / downsample), downsample_y=downsample)
    grounds = nest_grounds(slide, cores)
    found = list(flag_far_cells(bands_of(cells, band_px, downsample, grid.height + 1), grounds=grounds, grid=grid))
    together = pd.concat([band.cells for band in found], ignore_index=True)
    expected = cells["flags"].to_numpy().copy()
    for each, ground in zip(cores, grounds, strict=True):
        rows = np.flatnonzero(shapely.contains_xy(each.geometry, cells["x_px"] + 0.5, cells["y_px"] + 0.5))
        own = cells.iloc[rows].reset_index(drop=True)
        alone = flagged(own, ground.squares)
        expected[rows] = alone["flags"]
        assert ground.has_nest == find_nests(count_squares(own, ground.squares)).any()
    assert (together["flags"].to_numpy() == expected).all()
    assert together.drop(columns="flags").equals(cells.drop(columns="flags"))


def test_a_nest_of_the_next_core_brings_in_nobody():
    """Two cores 60 um apart: tumour in the first, brown lymphocytes in both, the nearest 100 um from the tumour."""
    left, right = core("A-1", 800, 800, 700), core("A-2", 2320, 800, 700)
    nest = ("tumour", (700, 710, 720, 725, 730), 400)
    cells = table(nest, ("lymphocyte", (500, 730), 400), ("lymphocyte", (830, 1000), 400), ("tumour", (1300,), 400))
    cells = cells.assign(y_px=800.0)
    slide = SimpleNamespace(width=3200, height=1600, mpp_x=MPP, mpp_y=MPP)
    grid = SimpleNamespace(height=1600, downsample_y=1.0)
    tally = Tally(slide=slide, config=CONFIG, pack=PACK, rois=(left, right))
    (band,) = flag_far_cells(bands_of(cells, 1600, 1.0, 1600), grounds=tally.grounds, grid=grid)
    tally.add(band)
    assert [ground.has_nest for ground in tally.grounds] == [True, False]
    assert ((band.cells["flags"] & FAR) > 0).tolist() == [False] * 7 + [True, True, False]
    has_nest = [ground.has_nest for ground in tally.grounds]
    first, second = tally.regions.scores(flags=(), has_tumour_roi=False, px_um2=0.25, core_nests=has_nest)
    assert (first.counts.positive.immune, second.counts.positive.immune) == (2, 0)
    assert (first.score.cps, second.score.cps) == (100.0, None)
    assert ResultFlag.NO_NESTS in second.score.flags
    assert ResultFlag.NO_NESTS not in first.score.flags


def test_few_bands_wait_on_a_slide_of_any_height():
    height, band_px = 60_000, 2048
    cells = sparse_cells(np.random.default_rng(3), 20_000, 2000, height)
    slide = Squares(width=2000, height=height, mpp_x=MPP, mpp_y=MPP)
    grid = SimpleNamespace(height=height, downsample_y=1.0)
    came, n_out = [], 0
    grounds = nest_grounds(slide, ())
    for _ in flag_far_cells(bands_of(cells, band_px, 1.0, height, came), grounds=grounds, grid=grid):
        n_out += 1
        assert len(came) - n_out <= 2
    assert n_out == len(came) > 20


def test_outlines_wait_packed_and_come_back_as_they_were():
    n = 2 * CELLS_AT_ONCE + 7
    cells = sparse_cells(np.random.default_rng(4), n, 3000, 3000)
    corners = np.random.default_rng(5).integers(-2000, 2000, (n, 2, 12, 2)).cumsum(axis=2) / 100
    texts = [[f'{{"type":"Polygon","coordinates":[{each.tolist()}]}}' for each in two] for two in corners]
    outlines = tuple((cell, nucleus) for cell, nucleus in texts)
    band = Band(cells=cells, outlines=outlines, tiles=np.zeros(n, int), tile_labels=np.zeros(n, np.int32), y1=3000)
    waiting = Waiting.of(band)
    assert waiting.band.outlines == ()
    assert 2 * sum(map(len, waiting.packed)) < sum(len(text) for pair in outlines for text in pair)
    assert waiting.whole().outlines == outlines
    assert Waiting.of(replace(band, cells=cells[:0], outlines=())).whole().outlines == ()
