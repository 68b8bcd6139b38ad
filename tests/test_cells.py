"""Cells: nuclei grown to the neighbour, a stated reach or a brown line, cut into disjoint compartments."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdl1quant import score_image
from pdl1quant.config import CellsConfig
from pdl1quant.model import CellClass, Segmentation
from pdl1quant.stages.cells import MAX_SPILL_UM, SMALL_NUCLEUS_UM2, grow_cells
from pdl1quant.validation.detection import match_points
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from scenes import disc, labels_of, plain_od

CONFIG = CellsConfig()
SHAPE = (80, 100)
DISTANCE_ERROR = 0.02
"""The 5 x 5 chamfer distance of OpenCV errs by up to 2 %."""


def grow(nuclei, dab=0.0, *, mpp=0.5, config=CONFIG):
    return grow_cells(Segmentation(nuclei=nuclei), plain_od(0.0, dab, shape=nuclei.shape), mpp=mpp, config=config)


def reach_um(parts, label, mpp=0.5):
    """Farthest pixel of the cell from its nucleus."""
    distance = cv2.distanceTransform((parts.nucleus != label).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(distance[parts.cell == label].max()) * mpp


def check_compartments(parts, nuclei):
    images = (parts.nucleus, parts.cytoplasm, parts.membrane)
    assert np.array_equal(parts.nucleus, nuclei)
    assert parts.n_cells == nuclei.max(initial=0)
    assert all(image.dtype == np.int32 and image.shape == nuclei.shape for image in (*images, parts.cell))
    assert sum((image > 0).astype(int) for image in images).max(initial=0) <= 1
    assert np.array_equal(sum(images), parts.cell)


def random_nuclei(seed, shape=(60, 70)):
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    for _ in range(int(rng.integers(1, 12))):
        mask = disc(shape, rng.uniform(0, shape[::-1]), rng.uniform(2, 9)) & (labels == 0)
        if mask.any():
            labels[mask] = labels.max() + 1
    return np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.int32)


@pytest.fixture(scope="module")
def phantom():
    return render_phantom(PhantomSettings(size_px=256, pattern="membrane", partial_share=0.0), seed=4)


# --- compartments ----------------------------------------------------------------------------------------------------
@settings(max_examples=25)
@given(st.integers(0, 10_000), st.booleans())
def test_compartments_are_disjoint_and_make_up_the_cell(seed, brown):
    nuclei = random_nuclei(seed)
    dab = cv2.GaussianBlur(np.random.default_rng(seed).random(nuclei.shape).astype(np.float32), (0, 0), 2) * brown
    check_compartments(grow(nuclei, dab), nuclei)


def test_compartments_of_a_phantom_are_disjoint(phantom):
    check_compartments(grow(phantom.nucleus, phantom.od.dab), phantom.nucleus)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (31, 17)])
def test_no_nuclei_give_no_cells(shape):
    parts = grow(np.zeros(shape, np.int32), 0.5)
    check_compartments(parts, np.zeros(shape, np.int32))
    assert parts.cell.max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 12), (9, 1)])
@pytest.mark.parametrize("dab", [0.0, 0.6])
def test_nucleus_that_fills_the_tile_is_its_own_cell(shape, dab):
    nuclei = np.ones(shape, np.int32)
    check_compartments(grow(nuclei, dab), nuclei)


def test_input_is_unchanged_and_the_output_repeats(phantom):
    before = phantom.nucleus.copy(), phantom.od.dab.copy()
    one, other = (grow(phantom.nucleus, phantom.od.dab) for _ in range(2))
    assert np.array_equal(one.cell, other.cell)
    assert np.array_equal(phantom.nucleus, before[0])
    assert np.array_equal(phantom.od.dab, before[1])


def test_cells_that_the_segmenter_found_are_kept():
    nuclei, cells = labels_of(disc(SHAPE, (40, 40), 6)), labels_of(disc(SHAPE, (40, 40), 20))
    parts = grow_cells(Segmentation(nuclei=nuclei, cells=cells), plain_od(shape=SHAPE), mpp=0.5, config=CONFIG)
    assert np.array_equal(parts.cell, cells)
    check_compartments(parts, nuclei)


# --- the border of a pale cell with a brown one ----------------------------------------------------------------------
BROWN_FROM = 50
"""Column from which all is brown in `side_by_side`."""


def side_by_side(border, *, pale=0.05, brown=1.5, scores=None, mpp=0.5, deep=0):
    """Column at which the second of two cells begins, whose labels meet at ``border``, after the brown moved it.

    The nuclei lie in columns 20-35 and 64-79; ``deep`` moves the first one to the right.
    """
    nuclei, cells = np.zeros((2, 40, 100), np.int32)
    nuclei[12:28, 20 + deep : 36 + deep], nuclei[12:28, 64:80] = 1, 2
    cells[4:36, 4:border], cells[4:36, border:96] = 1, 2
    dab = np.where(np.arange(100) < BROWN_FROM, np.float32(pale), np.float32(brown)) * np.ones((40, 1), np.float32)
    seen = Segmentation(nuclei=nuclei, cells=cells, class_scores=scores)
    parts = grow_cells(seen, plain_od(0.0, dab), mpp=mpp, config=CONFIG)
    check_compartments(parts, nuclei)
    assert np.array_equal(parts.cell > 0, cells > 0)
    assert cells[4, border] == 2, "the labels given are left as they are"
    return np.unique(np.argmax(parts.cell[4:36] == 2, axis=1)).tolist()


@pytest.mark.parametrize("border", [51, 55, 58])
def test_pale_cell_that_reached_into_a_brown_one_ends_where_the_brown_begins(border):
    assert side_by_side(border) == [BROWN_FROM]


def test_pale_cell_gives_back_no_more_than_a_stated_depth():
    assert side_by_side(62) == [62 - round(MAX_SPILL_UM / 0.5)]
    assert side_by_side(62, mpp=0.25) == [62 - min(62 - BROWN_FROM, round(MAX_SPILL_UM / 0.25))]


@pytest.mark.parametrize(("pale", "brown"), [(0.05, 0.4), (0.9, 1.3), (1.5, 0.05), (0.6, 0.6)])
def test_cells_alike_keep_their_border(pale, brown):
    assert side_by_side(55, pale=pale, brown=brown) == [55]


def test_lymphocytes_take_nothing():
    lymphocyte = list(CellClass).index(CellClass.LYMPHOCYTE)
    scores = np.zeros((2, len(CellClass)), np.float32)
    scores[1, lymphocyte] = 1.0
    assert side_by_side(55, scores=scores) == [55]
    assert side_by_side(55, scores=scores[::-1].copy()) == [BROWN_FROM]


def test_macrophages_take_from_a_smaller_step_on():
    macrophage = list(CellClass).index(CellClass.MACROPHAGE)
    scores = np.zeros((2, len(CellClass)), np.float32)
    assert side_by_side(55, brown=0.45, scores=scores) == [55]
    scores[1, macrophage] = 0.6
    assert side_by_side(55, brown=0.45, scores=scores) == [BROWN_FROM]
    assert side_by_side(55, brown=0.2, scores=scores) == [55]


def test_nucleus_in_the_brown_stays_with_its_cell():
    assert side_by_side(56, deep=19) == [BROWN_FROM, 55]


def test_of_two_brown_neighbours_the_browner_one_takes():
    nuclei, cells = np.zeros((2, 40, 100), np.int32)
    nuclei[16:24, 10:18], nuclei[4:12, 70:78], nuclei[28:36, 70:78] = 1, 2, 3
    cells[:, :53], cells[:20, 53:], cells[20:, 53:] = 1, 2, 3
    dab = np.full((40, 100), 0.05, np.float32)
    dab[:20, 50:], dab[20:, 50:] = 0.9, 1.8
    parts = grow_cells(Segmentation(nuclei=nuclei, cells=cells), plain_od(0.0, dab), mpp=0.5, config=CONFIG)
    assert (parts.cell[:19, 50:] == 2).all()
    assert (parts.cell[20:, 50:] == 3).all()
    assert (parts.cell[:, :50] == 1).all()


def test_what_a_pale_cell_has_beyond_the_brown_is_lost_with_it():
    """A strip across the cell is its neighbour's: what lies behind has no nucleus, and belongs to nobody."""
    nuclei, cells = np.zeros((2, 30, 60), np.int32)
    nuclei[8:14, 34:39], nuclei[24:29, 50:58] = 1, 2
    cells[:22, 33:40], cells[22:, 20:60], cells[:22, 40:60] = 1, 2, 2
    dab = np.full((30, 60), 0.05, np.float32)
    dab[22:], dab[:, 40:], dab[17:20, 33:40] = 1.5, 1.5, 1.5
    parts = grow_cells(Segmentation(nuclei=nuclei, cells=cells), plain_od(0.0, dab), mpp=0.5, config=CONFIG)
    assert (parts.cell[:16, 33:40] == 1).all()
    assert (parts.cell[17:20, 33:40] == 2).all()
    assert (parts.cell[20:22, 33:40] == 0).all()


def test_negative_cells_among_densely_brown_ones_stay_negative():
    settings = {"pattern": "both", "tps_pct": 50, "dab_od": 1.7, "bleed_through": 0.8, "membrane_um": 1.6}
    phantom = render_phantom(PhantomSettings(size_px=512, tumour_blue=0.6, **settings), seed=912)
    result = score_image(phantom.rgb, phantom.mpp)
    truth = phantom.cells
    matches = match_points(
        truth[["x_px", "y_px"]].to_numpy(), result.cells[["x_px", "y_px"]].to_numpy(), max_distance=6.0
    )
    negative = ((truth["cell_class"] == "tumour") & truth["viable"] & ~truth["positive"]).to_numpy()[matches.truth]
    found = result.cells.iloc[matches.found[negative]]
    called = found["positive"][(found["cell_class"] == "tumour").to_numpy()]
    assert len(called) > 50
    assert called.mean() <= 0.03


# --- growth ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("growth", [2.0, 5.0, 8.0])
@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_lone_cell_grows_as_far_as_stated(growth, mpp):
    nuclei = labels_of(disc((160, 160), (80, 80), 5.0 / mpp))
    parts = grow(nuclei, mpp=mpp, config=CellsConfig(growth_um=growth))
    assert growth - 1.5 * mpp <= reach_um(parts, 1, mpp) <= growth * (1 + DISTANCE_ERROR)


def test_lymphocyte_sized_nucleus_grows_less():
    small = disc(SHAPE, (25, 40), 5)
    assert small.sum() * 0.25 < SMALL_NUCLEUS_UM2
    parts = grow(labels_of(small, disc(SHAPE, (70, 40), 9)))
    assert reach_um(parts, 1) <= CONFIG.lymphocyte_growth_um * (1 + DISTANCE_ERROR)
    assert reach_um(parts, 2) > 4


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_no_blue_cell_outgrows_its_reach(seed):
    nuclei = random_nuclei(seed)
    parts = grow(nuclei)
    for label in range(1, parts.n_cells + 1):
        small = (nuclei == label).sum() * 0.25 < SMALL_NUCLEUS_UM2
        limit = CONFIG.lymphocyte_growth_um if small else CONFIG.growth_um
        assert reach_um(parts, label) <= limit * (1 + DISTANCE_ERROR)


def test_no_brown_cell_of_a_phantom_outgrows_its_reach(phantom):
    """A cell may follow a brown line into its neighbour's reach, but not beyond twice its own."""
    parts = grow(phantom.nucleus, phantom.od.dab)
    assert max(reach_um(parts, label) for label in range(1, parts.n_cells + 1)) <= 2 * CONFIG.growth_um


def test_neighbours_meet_half_way():
    parts = grow(labels_of(disc(SHAPE, (38, 40), 8), disc(SHAPE, (62, 40), 8)))
    assert (parts.cell[40, 38:50] == 1).all()
    assert (parts.cell[40, 51:62] == 2).all()


@pytest.mark.parametrize("line", [46, 48, 52, 54])
def test_boundary_follows_a_brown_line(line):
    """Half-way is column 50; the line is 1 um wide, soft as a lens draws it."""
    dab = cv2.GaussianBlur((np.abs(np.mgrid[:80, :100][1] - line) <= 1).astype(np.float32) * 0.6, (0, 0), 0.7)
    cell = grow(labels_of(disc(SHAPE, (36, 40), 8), disc(SHAPE, (64, 40), 8)), dab).cell
    border = np.flatnonzero(np.diff((cell[40, 36:65] == 2).astype(int)))[0] + 36.5
    assert abs(border - line) <= 1.5


def test_boundary_without_a_line_is_not_moved_by_even_brown():
    """Half-way is column 50: only ties there are broken in another way."""
    nuclei = labels_of(disc(SHAPE, (38, 40), 8), disc(SHAPE, (62, 40), 8))
    plain, even = grow(nuclei).cell, grow(nuclei, 0.4).cell
    moved = plain != even
    assert not moved[:, :49].any()
    assert not moved[:, 52:].any()


def test_each_cell_is_one_piece_with_its_nucleus(phantom):
    parts = grow(phantom.nucleus, phantom.od.dab)
    loose = 0
    for label in range(1, parts.n_cells + 1):
        n, pieces = cv2.connectedComponents((parts.cell == label).astype(np.uint8), connectivity=8)
        with_nucleus = np.unique(pieces[phantom.nucleus == label])
        loose += n - 1 > len(with_nucleus)
    assert loose <= 0.02 * parts.n_cells


# --- membrane --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("width_um", "mpp"), [(1.0, 0.5), (2.0, 0.5), (1.0, 0.25)])
def test_membrane_is_a_band_of_the_stated_width_at_the_edge(width_um, mpp):
    nuclei = labels_of(disc((160, 160), (80, 80), 5.0 / mpp))
    parts = grow(nuclei, mpp=mpp, config=CellsConfig(membrane_width_um=width_um))
    depth = cv2.distanceTransform((parts.cell > 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * mpp
    assert depth[parts.membrane > 0].max() <= width_um + mpp
    assert depth[parts.cytoplasm > 0].min() > width_um - mpp
    perimeter = 2 * np.pi * 10.0
    assert (parts.membrane > 0).sum() * mpp**2 == pytest.approx(perimeter * width_um, rel=0.2)


def test_membrane_lies_between_touching_cells_on_both_sides():
    parts = grow(labels_of(disc(SHAPE, (38, 40), 8), disc(SHAPE, (62, 40), 8)))
    assert set(np.unique(parts.membrane[40, 46:54])) == {0, 1, 2}


def test_border_of_the_image_is_no_membrane():
    parts = grow(labels_of(disc(SHAPE, (0, 40), 9)))
    assert parts.membrane[40, 0] == 0
    assert parts.cell[40, 0] == 1
