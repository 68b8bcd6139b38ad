"""Cells: nuclei grown to the neighbour, a stated reach or a brown line, cut into disjoint compartments."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdl1quant.config import CellsConfig
from pdl1quant.model import Segmentation
from pdl1quant.stages.cells import SMALL_NUCLEUS_UM2, grow_cells
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
