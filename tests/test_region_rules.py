"""What drawn regions do to cells: the same on images and on slides, for the CPS and for the scores by area."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import shapely

from factories import make_scored_cells, random_cells
from pdl1quant.assays import load_pack
from pdl1quant.batch import work
from pdl1quant.config import Config
from pdl1quant.model import ArtefactKind, ArtefactMap, BrownArea, CellClass, Counts, Flag, Rect, ResultFlag, Status
from pdl1quant.review.edits import EditKind
from pdl1quant.slides.roi import Roi, RoiKind
from pdl1quant.stages import quality
from pdl1quant.stages.score import count_by_block, count_cells
from pdl1quant.tiling import BLOCK_PX
from pdl1quant.whole_slides import region_tally
from pdl1quant.whole_slides.blocks import blocks_in
from pdl1quant.whole_slides.judging import MARGIN_UM, Band
from pdl1quant.whole_slides.region_tally import RegionTally
from pdl1quant.whole_slides.regions import Ground, Region, regions_of
from pdl1quant.whole_slides.scoring import Tally
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
    columns = np.flatnonzero(blocks_in((TUMOUR,), SLIDE, GRID, margin_um=0)[0])
    assert columns.tolist() == list(range(2000 // BLOCK_PX + 1))
    columns = np.flatnonzero(blocks_in((TUMOUR, strip("exclude", 1024, 1600)), SLIDE, GRID, margin_um=0)[0])
    assert columns.tolist() == [0, 1, 2, 3, 4, 6, 7]  # touching its border
    columns = np.flatnonzero(blocks_in((TUMOUR, strip("include", 0, 1300)), SLIDE, GRID, margin_um=0)[0])
    assert columns.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("rois", "last_px"),
    [
        ((TUMOUR,), 1000 + 1000),
        ((strip("include", 0, 1279.5),), 1279.5),
        ((strip("include", 0, 2000), strip("exclude", 700, 2000)), 700),
        ((strip("include", 0, 700, is_core=True),), 700),
    ],
    ids=["beside tumour", "region", "beside what is left out", "core"],
)
def test_cells_at_which_those_look_that_count_are_measured(rois, last_px):
    columns = np.flatnonzero(blocks_in(rois, SLIDE, GRID, margin_um=MARGIN_UM)[0])
    assert columns.tolist() == list(range(int(last_px + MARGIN_UM / MPP) // BLOCK_PX + 1))


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


@pytest.mark.parametrize("side", [0.1, 1e-3, 1e-6])
def test_a_sliver_that_one_outline_leaves_of_another_takes_no_memory(side):
    """In tissue or not; it was divided into a thousand parts, and the mask as finely."""
    ground = Ground(tissue=np.arange(50) % 2 * np.ones((40, 1)) > 0, width=5000, height=4000)  # stripes of 100 px
    for left, has_tissue in ((150, True), (250, False)):
        sliver = shapely.box(left, 1000, left + side, 1000 + side)
        assert ground.look(sliver)[1] is has_tissue
        assert ground.area_px(sliver) == pytest.approx(sliver.area)
    assert ground.look(shapely.box(-100, 1000, side, 1100))[1] is False
    assert ground.look(shapely.box(4990, 1000, 5000 - side, 1100))[1] is True


def test_tumour_drawn_between_the_cores_of_a_microarray_does_not_count():
    first, second, empty = (strip("include", *x, is_core=True) for x in ((0, 800), (900, 1600), (1700, 2400)))
    rois = (strip("tumour", 0, 1200), first, second, empty)
    assert scored(counts_of(*rois)) == (2, 1, 1, 2)  # not at 850, and no immune cell of the core without tumour
    assert on_slide(*rois)[1].tumour_area_um2 == pytest.approx((800 + 300) * HEIGHT * MPP**2)
    columns = np.flatnonzero(blocks_in(rois, SLIDE, GRID, margin_um=0)[0])
    assert columns.tolist() == list(range(2400 // BLOCK_PX + 1))  # each core has a row
    assert scored(counts_of(first, second, empty, strip("include", 0, 1000))) == (1, 1, 0, 1)


def test_drawn_tumour_of_one_core_has_no_stroma_in_the_next():
    """Immune cells lie at 510, 1510, 1990 and 2010: the last two are near tumour of the other core alone, if any."""
    cores = (strip("include", 0, 1700, is_core=True), strip("include", 1750, 4000, is_core=True))
    rois = (strip("tumour", 1400, 1600, title="left"), strip("tumour", 3500, 3600, title="right"), *cores)
    assert scored(counts_of(*rois)) == (1, 1, 1, 2)
    rows = [scored(sum(blocks.values(), Counts())) for blocks in on_slide(*rois)[1].regions.blocks]
    assert rows == [(1, 1, 1, 2), (0, 0, 0, 0), (1, 1, 1, 2), (0, 0, 0, 0)]
    both = (strip("tumour", 1400, 1600, title="left"), strip("tumour", 2000, 2005, title="right"), *cores)
    rows = [scored(sum(blocks.values(), Counts())) for blocks in on_slide(*both)[1].regions.blocks]
    assert rows[:2] == [(1, 1, 1, 2), (0, 2, 0, 2)]


def test_a_cell_beside_the_tumour_counts_by_the_class_that_a_reviewer_gives_it():
    state = state_of(on_slide(TUMOUR)[0])
    tumour_cell, macrophage = 3, 7
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([tumour_cell])), to="lymphocyte")])
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([macrophage])), to="tumour")])
    flags = state.reviewed()["reviewed_flags"].to_numpy()
    is_out = (flags & int(Flag.OUTSIDE_ROI)) != 0
    assert is_out.tolist() == [False, False, True, False, False, False, True, True]


def test_brown_counts_in_squares_whose_middle_is_scored_and_in_each_region_that_holds_it():
    """Squares of 32 px: their middles lie at x = 16, 48, 240."""
    first, second, third = (100, 40, 800, 90), (10, 4, 70, 7), (1, 1, 6, 0)
    squares = np.array([[0, 0, *first], [0, 1, *second], [0, 7, *third]], np.int32)
    left, right = (110, 44, 870, 97), (11, 5, 76, 7)
    for rois, expected, of_regions in (
        ((), (111, 45, 876, 97), []),
        ((strip("include", 0, 50),), left, [left]),
        ((strip("include", 0, 4000), strip("exclude", 0, 25)), right, [right]),
        ((strip("include", 0, 4000), strip("tumour", 40, 50)), second, [second, second]),
        ((strip("include", 0, 40, is_core=True), strip("include", 40, 100, is_core=True)), left, [first, second]),
    ):
        for parts in ([squares], [squares[2:], squares[:1], squares[1:2]]):  # tiles in any order
            _, tally = on_slide(*rois)
            for part in parts:
                tally.add_brown(part, GRID)
            assert tuple(tally.areas_px) == expected
            assert [tuple(each) for each in tally.regions.areas_px] == of_regions


def test_neither_brown_nor_tissue_of_a_square_in_an_artefact_counts():
    """Places of 16 px: the middle of the second square, x = 48, lies in the fourth of them."""
    numbers = np.zeros((HEIGHT // 16, WIDTH // 16), np.uint8)
    numbers[:, 3] = ArtefactKind.PEN.number
    artefacts = ArtefactMap(numbers=numbers, columns=WIDTH / 16, rows=HEIGHT / 16)
    tally = Tally(slide=SLIDE, config=CONFIG, pack=PACK, rois=(strip("include", 0, 4000),), artefacts=artefacts)
    tally.add_brown(np.array([[0, 0, 100, 40, 800, 90], [0, 1, 10, 4, 70, 7], [0, 2, 1, 1, 6, 0]], np.int32), GRID)
    assert tally.areas_px.tolist() == [101, 41, 806, 90]
    assert scores_of(tally)["include"].score.dab_area_pct == pytest.approx(100 * 90 / 806)


@pytest.mark.parametrize("kind", ["include", "tumour"])
def test_regions_are_put_together_once_and_not_for_each_tile(monkeypatch, kind):
    tally = Tally(slide=SLIDE, config=CONFIG, pack=PACK, rois=(strip(kind, 0, 500), strip("exclude", 0, 100)))
    monkeypatch.setattr(shapely, "union_all", None)  # of hundreds it takes a third of a second
    for column in (1, 5, 30):
        tally.add_brown(np.array([[0, column, 10, 4, 70, 7]], np.int32), GRID)
    assert tally.areas_px.tolist() == [10, 4, 70, 7]


def scores_of(tally, **more):
    how = {"flags": (), "has_tumour_roi": tally.has_tumour_roi, "px_um2": MPP**2, "core_nests": [True] * 2, **more}
    return {each.name: each for each in tally.regions.scores(**how)}


def test_a_core_full_of_brown_without_cells_says_so_and_the_others_do_not():
    first, second = (
        strip("include", *x, is_core=True, title=name) for name, x in (("A-1", (0, 999)), ("A-2", (1001, 4000)))
    )
    _, tally = on_slide(first, second)
    squares = np.array(
        [
            [5, 0, 1000, 0, 1024, 999],
            [5, 40, 1000, 200, 600, 500],
            [6, 40, 1024, 1024, 0, 0],
            *([7, n, 1024, 1024, 100, 100] for n in range(40, 46)),
        ]
    )
    tally.add_brown(squares.astype(np.int32), GRID)
    found = scores_of(tally)
    assert ResultFlag.BROWN_WITHOUT_CELLS in found["A-2"].score.flags
    assert ResultFlag.BROWN_WITHOUT_CELLS not in found["A-1"].score.flags
    assert found["A-2"].brown == BrownArea(
        area_um2=(1000 + 7 * 1024) / 4,
        without_cell_um2=(200 + 7 * 1024) / 4,
        tissue_um2=(600 + 6 * 100) / 4,
        of_tissue_um2=(500 + 6 * 100) / 4,
    )


def test_a_region_has_from_its_image_that_no_brown_was_seen():
    _, tally = on_slide(strip("include", 0, 4000))
    (found,) = scores_of(tally, flags={ResultFlag.NO_DAB_SEEN, ResultFlag.PARTIAL}).values()
    assert ResultFlag.NO_DAB_SEEN in found.score.flags
    assert ResultFlag.PARTIAL not in found.score.flags


def test_tissue_without_a_cell_is_tissue_and_glass_is_none():
    tissue = np.zeros((HEIGHT // 8, WIDTH // 8), bool)
    tissue[:, :250] = True  # up to x = 2000; no cell lies from 1520 to 1980
    _, tally = on_slide(
        strip("include", 1600, 1900, title="pale"), strip("include", 3000, 3500, title="glass"), tissue=tissue
    )
    found = scores_of(tally)
    assert (found["pale"].status, found["glass"].status) == (Status.OK, Status.NO_TISSUE)
    assert ResultFlag.NO_TUMOUR_CELLS in found["pale"].score.flags
    lost = scores_of(tally, damage=[Rect(x0=3100, y0=0, x1=3200, y1=100)])
    assert (lost["pale"].status, lost["glass"].status) == (Status.OK, Status.PARTIAL)


def test_a_drawn_region_whose_immune_cells_are_all_far_from_nests_has_no_cps():
    """Tumour cells lie in it, but no nest near its immune cells, whatever nests lie elsewhere on the slide."""
    _, tally = on_slide(strip("include", 1400, 1600, title="far"), strip("include", 400, 1200, title="near"))
    fresh, table = replace(tally.regions), cells()
    is_far = table["cell_class"].isin(["lymphocyte", "macrophage"]) & (table["x_px"] > 1200)
    fresh.add(table.assign(flags=np.where(is_far, int(Flag.FAR_FROM_TUMOUR), 0).astype(np.int32)))
    found = {each.name: each for each in fresh.scores(flags=(), has_tumour_roi=False, px_um2=MPP**2)}
    assert (found["far"].score.cps, found["near"].score.cps) == (None, 100.0)
    assert ResultFlag.NO_NESTS in found["far"].score.flags
    assert ResultFlag.NO_NESTS not in found["near"].score.flags


def test_a_core_keeps_its_name_whatever_was_drawn():
    ground = Ground(tissue=None, width=WIDTH, height=HEIGHT)
    drawn = strip("include", 0, 100, title="A-1")
    core = strip("include", 0, 4000, title="A-1", is_core=True)
    names = [(each.level, each.name) for each in regions_of((drawn, core), ground)]
    assert names == [("roi", "A-1"), ("core", "A-1")]
    assert [each.name for each in regions_of((drawn, drawn, core), ground)] == ["A-1 1", "A-1 2", "A-1"]


def test_each_of_many_regions_is_cut_by_all_that_lie_over_it():
    """Tumour, stroma and cores among each other, as they are when each is held against all others at once."""
    rng = np.random.default_rng(0)
    circles = [shapely.Point(*rng.uniform(0, 4000, 2)).buffer(rng.uniform(50, 400)) for _ in range(90)]
    kinds = [*["tumour"] * 30, *["include"] * 30, *["exclude"] * 30]
    rois = [Roi(kind=RoiKind(kind), name=kind, geometry=circle) for kind, circle in zip(kinds, circles, strict=True)]
    cores = [strip("include", left, left + 900, title=f"A-{left}", is_core=True) for left in (0, 1000, 2500)]
    ground = Ground(tissue=rng.random((40, 400)) < 0.5, width=WIDTH, height=HEIGHT)
    for given in (rois, [*rois, *cores]):
        tumour, unwanted = (
            shapely.union_all([roi.geometry for roi in given if roi.kind is kind])
            for kind in (RoiKind.TUMOUR, RoiKind.EXCLUDE)
        )
        area = shapely.union_all([roi.geometry for roi in given if roi.is_core])
        wanted = [roi for roi in given if roi.kind is not RoiKind.EXCLUDE]
        for roi, region in zip(wanted, regions_of(given, ground), strict=True):
            expected = roi.geometry.difference(unwanted)
            if given is not rois and not roi.is_core:
                expected = expected.intersection(area)
            assert region.geometry.area == pytest.approx(expected.area, rel=1e-9)
            assert region.geometry.symmetric_difference(expected).area == pytest.approx(0, abs=1e-6)
            assert region.tumour_px == pytest.approx(ground.area_px(expected.intersection(tumour)), rel=1e-9)
            assert region.has_tissue == (ground.look(expected)[1])


def one_by_one(cells, region, *, block_um, mpp_x, mpp_y):
    """The counts of a region as they are when no other is counted."""
    x, y = cells["x_px"].to_numpy() + 0.5, cells["y_px"].to_numpy() + 0.5
    inside = shapely.contains_xy(region.geometry, x, y)
    in_um = shapely.transform(region.geometry, lambda points: points * (mpp_x, mpp_y))
    beside = ~inside & shapely.dwithin(in_um, shapely.points(x * mpp_x, y * mpp_y), quality.STROMA_REACH_UM)
    immune = cells["cell_class"].isin([CellClass.LYMPHOCYTE, CellClass.MACROPHAGE]).to_numpy()
    beside &= region.is_tumour & immune & ((cells["flags"].to_numpy() & int(Flag.OUTSIDE_ROI)) == 0)
    flags = cells["flags"].to_numpy() | np.where(beside, int(Flag.BESIDE_TUMOUR), 0)
    chosen = cells.assign(flags=flags.astype(np.int32))[inside | beside]
    return count_by_block(chosen, block_um=block_um, mpp_x=mpp_x, mpp_y=mpp_y, config=CONFIG, pack=PACK)


@pytest.mark.parametrize(("rows_at_once", "n_counts"), [(1, 2 * 40), (4000, None), (1 << 18, 2)])
def test_regions_that_overlap_count_together_what_each_counts_alone(monkeypatch, rows_at_once, n_counts):
    rng, side = np.random.default_rng(7), 4000
    drawn = [shapely.Point(*rng.uniform(400, side - 400, 2)).buffer(rng.uniform(300, 900)) for _ in range(40)]
    drawn += [shapely.Polygon(), shapely.box(9000, 9000, 9100, 9100)]
    kinds = [number % 3 == 0 and number < 40 for number in range(len(drawn))]
    chosen = tuple(
        Region(level="roi", name=str(k), geometry=each, tumour_px=0.0, is_tumour=is_tumour, has_tissue=True)
        for k, (each, is_tumour) in enumerate(zip(drawn, kinds, strict=True))
    )
    how = {"mpp_x": 0.5, "mpp_y": 0.4}
    calls, count = [], region_tally.scoring.count_regions
    monkeypatch.setattr(region_tally, "_ROWS_AT_ONCE", rows_at_once)
    counting = lambda *a, **k: calls.append(len(a[0])) or count(*a, **k)  # noqa: E731
    monkeypatch.setattr(region_tally.scoring, "count_regions", counting)
    tally = RegionTally(regions=chosen, **how, config=CONFIG, pack=PACK)
    bands = [random_cells(seed, 1500, side) for seed in (1, 2)]
    for band in bands:
        tally.add(band)
    for region, blocks in zip(chosen, tally.blocks, strict=True):
        first, second = (one_by_one(band, region, block_um=CONFIG.score.block_um, **how) for band in bands)
        assert blocks == {key: first.get(key, Counts()) + second.get(key, Counts()) for key in {*first, *second}}
    assert n_counts is None or len(calls) == n_counts
    assert sum(map(len, tally.blocks)) > 40 * 4  # of many blocks each
    assert max(calls) <= max(rows_at_once, 1500)


def test_a_tally_without_cells_or_without_regions_counts_nothing():
    none = RegionTally(regions=(), mpp_x=MPP, mpp_y=MPP, config=CONFIG, pack=PACK)
    none.add(cells())
    assert none.blocks == ()
    whole = Region(
        level="roi", name="a", geometry=shapely.box(0, 0, 9, 9), tumour_px=0, is_tumour=True, has_tissue=True
    )
    empty = RegionTally(regions=(whole,), mpp_x=MPP, mpp_y=MPP, config=CONFIG, pack=PACK)
    empty.add(cells().iloc[:0])
    assert empty.blocks == ({},)
