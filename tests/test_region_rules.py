"""What drawn regions do to cells: the same on images and on slides, for the CPS and for the scores by area."""

from types import SimpleNamespace

import numpy as np
import pytest
import shapely

from factories import make_scored_cells
from pdl1quant.assays import load_pack
from pdl1quant.batch import work
from pdl1quant.config import Config
from pdl1quant.model import Counts, Flag
from pdl1quant.review.edits import EditKind
from pdl1quant.slides.roi import Roi, RoiKind
from pdl1quant.stages import quality
from pdl1quant.stages.score import count_cells
from pdl1quant.tiling import BLOCK_PX
from pdl1quant.whole_slides.judging import Band
from pdl1quant.whole_slides.regions import Ground
from pdl1quant.whole_slides.scoring import Tally
from pdl1quant.whole_slides.survey import _blocks_in
from test_review_recount import edit, state_of

CONFIG, PACK = Config(), load_pack("28-8-cytoplasm")
WIDTH, HEIGHT, MPP = 4000, 400, 0.5
SLIDE = SimpleNamespace(width=WIDTH, height=HEIGHT, mpp_x=MPP, mpp_y=MPP)
GRID = SimpleNamespace(width=WIDTH, height=HEIGHT, downsample_x=1.0, downsample_y=1.0)
CELLS = {"tumour": (500, 850, 1100, 1500), "lymphocyte": (510, 1990, 2010), "macrophage": (1510,)}
"""Where they lie, all of them brown: 500 um from x = 1000 is x = 2000."""


def strip(kind, left, right, **more):
    return Roi(kind=RoiKind(kind), name=kind, geometry=shapely.box(left, 0, right, HEIGHT), **more)


def cells():
    classes = [name for name, places in CELLS.items() for _ in places]
    x = np.concatenate([np.array(places, float) for places in CELLS.values()])
    ods = {"membrane_dab_od_run": 0.5, "cytoplasm_dab_od_mean": 0.5, "cell_dab_od_mean": 0.5}
    return make_scored_cells(len(x), x_px=x, y_px=200.0, cell_class=classes, **ods)


def on_slide(*rois, tissue=None):
    tally = Tally(slide=SLIDE, config=CONFIG, pack=PACK, rois=rois, tissue=tissue)
    none = np.zeros(0, int)
    band = tally.flagged(Band(cells=cells(), outlines=(), tiles=none, tile_labels=none, y1=HEIGHT))
    tally.add(band)
    return band.cells, tally


def on_image(*rois):
    image = SimpleNamespace(roi=SimpleNamespace(name="roi.geojson"), name="image.png")
    return quality.flag_outside(cells(), work._roi_masks(image, rois, (HEIGHT, WIDTH)), mpp=MPP)


def counts_of(*rois):
    slide, _ = on_slide(*rois)
    if not any(roi.is_core for roi in rois):
        assert (on_image(*rois)["flags"] == slide["flags"]).all()
    return count_cells(slide, config=CONFIG, pack=PACK)


def scored(counts):
    return counts.n_tumour, counts.n_lymphocyte, counts.n_macrophage, counts.positive.immune


TUMOUR = strip("tumour", 0, 1000)


def test_beside_a_tumour_region_alone_immune_cells_count_for_half_a_millimetre():
    assert scored(counts_of(TUMOUR)) == (2, 2, 1, 3)


def test_regions_to_include_limit_the_stroma_and_excluded_ones_never_count():
    assert scored(counts_of(TUMOUR, strip("include", 0, 1600))) == (2, 1, 1, 2)
    assert scored(counts_of(TUMOUR, strip("exclude", 1400, 1600))) == (2, 2, 0, 2)
    assert scored(counts_of(strip("include", 400, 1600))) == (4, 1, 1, 2)  # as ever where nobody said what is tumour
    assert scored(counts_of(strip("exclude", 0, 1600))) == (0, 2, 0, 2)


def test_the_stroma_beside_a_tumour_region_is_measured():
    columns = np.flatnonzero(_blocks_in((TUMOUR,), SLIDE, GRID)[0])
    assert columns.tolist() == list(range(2000 // BLOCK_PX + 1))
    columns = np.flatnonzero(_blocks_in((TUMOUR, strip("exclude", 1024, 1600)), SLIDE, GRID)[0])
    assert columns.tolist() == [0, 1, 2, 3, 4, 6, 7]  # touching its border
    columns = np.flatnonzero(_blocks_in((TUMOUR, strip("include", 0, 1300)), SLIDE, GRID)[0])
    assert columns.tolist() == [0, 1, 2, 3, 4, 5]


def test_areas_are_of_cells_and_of_tissue_in_the_drawn_tumour_alone():
    tissue = np.ones((HEIGHT // 8, WIDTH // 8), bool)
    tissue[:, 100:] = False  # from x = 800 on there is glass
    _, tally = on_slide(TUMOUR, tissue=tissue)
    counts = sum(tally.blocks.values(), Counts())
    assert counts.immune_positive_area_um2 == 150.0  # of three positive cells one is within
    assert tally.tumour_area_um2 == pytest.approx(800 * HEIGHT * MPP**2)
    assert on_slide(TUMOUR)[1].tumour_area_um2 == pytest.approx(1000 * HEIGHT * MPP**2)


def test_a_tumour_region_has_a_row_of_its_own_by_the_same_rule():
    left, right = strip("tumour", 0, 600), strip("tumour", 1400, 1600)
    _, tally = on_slide(left, right, strip("include", 0, 4000))
    rows = [sum(blocks.values(), Counts()) for blocks in tally.regions.blocks]
    assert [scored(each) for each in rows] == [(1, 1, 1, 2), (1, 3, 1, 4), (2, 3, 1, 4)]
    assert [each.immune_positive_area_um2 for each in rows] == [150.0, 150.0, 300.0]


def test_the_area_of_a_small_region_is_that_of_its_tissue():
    ground = Ground(tissue=np.arange(50) % 2 * np.ones((40, 1)) > 0, width=500, height=400)  # stripes of 10 px
    assert ground.area_px(shapely.box(103, 51, 113, 61)) == pytest.approx(30, abs=2)
    assert ground.area_px(shapely.box(0, 0, 500, 400)) == pytest.approx(100_000)
    assert ground.area_px(shapely.box(101, 5, 109, 15)) == 80  # no tissue at all: a person sees some
    assert ground.area_px(shapely.box(400, 0, 900, 400)) == pytest.approx(20_000)  # what the image holds of it
    assert ground.area_px(shapely.Polygon()) == 0


def test_tumour_drawn_between_the_cores_of_a_microarray_does_not_count():
    first, second, empty = (strip("include", *x, is_core=True) for x in ((0, 800), (900, 1600), (1700, 2400)))
    rois = (strip("tumour", 0, 1200), first, second, empty)
    assert scored(counts_of(*rois)) == (2, 1, 1, 2)  # not at 850, and no immune cell of the core without tumour
    assert on_slide(*rois)[1].tumour_area_um2 == pytest.approx((800 + 300) * HEIGHT * MPP**2)
    columns = np.flatnonzero(_blocks_in(rois, SLIDE, GRID)[0])
    assert columns.tolist() == list(range(2400 // BLOCK_PX + 1))  # each core has a row
    assert scored(counts_of(first, second, empty, strip("include", 0, 1000))) == (1, 1, 0, 1)


def test_a_cell_beside_the_tumour_counts_by_the_class_that_a_reviewer_gives_it():
    state = state_of(on_slide(TUMOUR)[0])
    tumour_cell, macrophage = 3, 7
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([tumour_cell])), to="lymphocyte")])
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([macrophage])), to="tumour")])
    flags = state.reviewed()["reviewed_flags"].to_numpy()
    is_out = (flags & int(Flag.OUTSIDE_ROI)) != 0
    assert is_out.tolist() == [False, False, True, False, False, False, True, True]


def test_brown_counts_in_blocks_whose_middle_is_scored():
    """Blocks of 256 px: their middles lie at x = 128, 384, 1920."""
    blocks = np.array([[0, 0, 100, 40], [0, 1, 10, 4], [0, 7, 1, 1]], np.int32)
    for rois, expected in (
        ((), (111, 45)),
        ((strip("include", 0, 400),), (110, 44)),
        ((strip("include", 0, 4000), strip("exclude", 0, 200)), (11, 5)),
        ((strip("include", 0, 4000), strip("tumour", 300, 400)), (10, 4)),
    ):
        _, tally = on_slide(*rois)
        tally.add_brown(blocks, GRID)
        assert (tally.brown_px, tally.bare_px) == expected
