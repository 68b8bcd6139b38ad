"""Whole slides: the same cells for tiles of any size and in one piece; glass costs nothing; damage is said."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile
from scipy.spatial import cKDTree

import phantom_slides
import slide_files
from factories import make_cells
from pdl1quant import pipeline
from pdl1quant.assays import load_pack
from pdl1quant.config import load_config
from pdl1quant.model import BrownArea, Flag, MembraneProfile, Rect, ResultFlag, SlideGrid, Status
from pdl1quant.slides.opening import is_whole_slide, open_slide
from pdl1quant.slides.roi import Roi, RoiKind
from pdl1quant.stages import classify, features, positivity, quality, stains
from pdl1quant.whole_slides import judging, survey
from pdl1quant.whole_slides.ground import PackedGround
from pdl1quant.whole_slides.judging import judge_bands
from pdl1quant.whole_slides.measuring import TileCells, measure_tile
from slide_runs import analysed

PACK = load_pack("28-8-cytoplasm")
SEGMENTERS = ("network", "watershed")
WIDTH, HEIGHT = 2200, 1200


def config_of(segmenter="watershed", tile_px=1024):
    return load_config(None, [f"nuclei.segmenter={segmenter}", f"tiling.tile_px={tile_px}", "tiling.outlines=false"])


@pytest.fixture(scope="module")
def image():
    return phantom_slides.slide_image(WIDTH, HEIGHT, dense=True)


@pytest.fixture(scope="module")
def path(image, tmp_path_factory):
    return phantom_slides.write_slide(tmp_path_factory.mktemp("slides") / "slide.tif", image)


@pytest.fixture(scope="module")
def estimate(path):
    with open_slide(path) as slide:
        return pipeline.estimate_case([survey.sample_slide(slide, config=config_of())], config=config_of())


@pytest.fixture(scope="module")
def by_tile_px(path, estimate):
    """Results by segmenter and size of tiles, each made once."""
    made = {}

    def get(segmenter, tile_px):
        key = segmenter, tile_px
        if key not in made:
            made[key] = analysed(path, config_of(segmenter, tile_px), estimate=estimate)[:2]
        return made[key]

    return get


@pytest.mark.parametrize("segmenter", SEGMENTERS)
@pytest.mark.parametrize("tile_px", [512, 1024])
def test_cells_and_blocks_are_the_same_for_tiles_of_any_size(by_tile_px, segmenter, tile_px):
    """To the last bit: the same rows in the same order."""
    (one, cells), (other, same) = by_tile_px(segmenter, 2048), by_tile_px(segmenter, tile_px)
    assert len(cells) > 1500
    pd.testing.assert_frame_equal(cells, same, check_exact=True)
    assert one.blocks == other.blocks
    assert one.score == other.score
    assert one.brown == other.brown != BrownArea()
    assert 0 < one.score.dab_area_pct < 100
    assert 0 < one.score.tumour_dab_area_pct < 100


@pytest.mark.parametrize("segmenter", SEGMENTERS)
def test_a_slide_has_the_cells_of_the_image_in_one_piece(by_tile_px, image, estimate, segmenter):
    slide, cells = by_tile_px(segmenter, 1024)
    config = config_of(segmenter)
    result = pipeline.analyse_image(image, mpp=phantom_slides.MPP, estimate=estimate, config=config, pack=PACK)
    assert slide.brown.share_without_cell == pytest.approx(result.brown.share_without_cell, abs=1e-3)
    assert slide.score.tumour_dab_area_pct == pytest.approx(result.score.tumour_dab_area_pct, rel=1e-12)
    assert slide.score.dab_area_pct == pytest.approx(result.score.dab_area_pct, abs=0.5)  # outlines of 8 and 4 um
    whole = result.cells
    columns = ["cell_class", "positive", "membrane_positive", "cytoplasm_positive", "dab_grade", "flags"]
    far, match = cKDTree(cells[["x_px", "y_px"]]).query(whole[["x_px", "y_px"]])
    alike = (whole[columns].astype(str).to_numpy() == cells[columns].astype(str).to_numpy()[match]).all(axis=1)
    different = int((~alike | (far > 0)).sum()) + abs(len(cells) - len(whole))
    assert different == 0


def test_stained_area_of_a_slide_is_that_of_its_pixels_in_its_tissue(by_tile_px, path, image, estimate):
    """To the pixel, whatever tiles they were counted in."""
    slide, _ = by_tile_px("watershed", 1024)
    config = config_of()
    with open_slide(path) as opened:
        tissue = survey.plan_work(opened, estimate=estimate, config=config).tissue
    rows, columns = (
        (2 * np.arange(side) + 1) * n // (2 * side) for side, n in zip((HEIGHT, WIDTH), tissue.shape, strict=True)
    )
    od = stains.deconvolve(image, estimate)
    clear = od.residual < np.float32(stains.pigment_residual_od(estimate, config.quality.pigment_od))
    clear &= tissue[np.ix_(rows, columns)]
    stained = clear & (od.dab >= np.float32(config.positivity.dab_od))
    assert sum(slide.artefacts.values()) == 0
    assert (slide.brown.tissue_um2, slide.brown.of_tissue_um2) == (clear.sum() * 0.25, stained.sum() * 0.25)


def test_too_small_a_halo_shows(path, by_tile_px, estimate, monkeypatch):
    """The comparison above can fail: with 6 px of surroundings cells at seams are others."""
    monkeypatch.setattr(survey, "OBJECTS_UM", 3.0)
    _, cells, _ = analysed(path, config_of("watershed", 512), estimate=estimate)
    assert len(cells.merge(by_tile_px("watershed", 2048)[1], on=["x_px", "y_px"])) < len(cells)


def test_neither_the_order_of_tiles_nor_the_height_of_bands_changes_a_cell(path, by_tile_px, estimate, monkeypatch):
    config = config_of("watershed", 1024)
    with open_slide(path) as slide:
        work = survey.plan_work(slide, estimate=estimate, config=config)
        places = work.places(config)
        how = {"blocks": work.blocks, "estimate": estimate, "config": config}
        tiles = []
        for n, place in enumerate(places):
            ground = PackedGround.cut(work.tissue, place.core, work.grid)
            tiles.append((n, measure_tile(slide, work.grid, place, ground=ground, **how).owned))
    monkeypatch.setattr(judging, "WIDE_PX", WIDTH - 1)
    for band_px in (judging.BAND_PX, 600):
        monkeypatch.setattr(judging, "WIDE_BAND_PX", band_px)
        backwards = judge_bands(tiles[::-1], places, grid=work.grid, estimate=estimate, config=config, pack=PACK)
        bands = [band.cells for band in backwards]
        assert len(bands) >= HEIGHT // band_px
        pd.testing.assert_frame_equal(
            pd.concat(bands, ignore_index=True), by_tile_px("watershed", 1024)[1], check_exact=True
        )


def test_a_band_sees_all_that_gives_a_line_back():
    """Cells 10 px apart in a column, each the neighbour of the next: those inside, the company, three neighbours."""
    n = 400
    ring = np.zeros((n, 32), np.float32)
    next_one = np.full((n, 32), -1, np.int32)
    next_one[:-1, 0] = np.arange(1, n)
    gathered = judging._Gathered(
        cells=make_cells(n, x_px=0.0, y_px=10.0 * np.arange(n)),
        tiles=np.zeros(n, np.intp),
        membrane=MembraneProfile(dab_od=ring, weight=ring + 1, neighbour=next_one),
        class_scores=None,
        outlines=(),
    )
    company_px = positivity.COMPANY_UM / 0.5
    seen = judging._seen(gathered, slice(100, 200), reaches_px=(company_px, 0.0))
    assert (seen.start, seen.stop) == (100 - company_px / 10, 200 + company_px / 10 + 3)
    assert judging._seen(gathered, slice(100, 100), reaches_px=(company_px, 0.0)) == slice(100, 100)
    assert positivity.COMPANY_UM + 3 * 40 < judging.MARGIN_UM, "three neighbours of 40 um"


@pytest.mark.parametrize("classifier", ["", "somewhere"])
def test_a_band_sees_what_those_around_its_cells_are_named_by(monkeypatch, classifier):
    """Brown cells all around weigh in by their class, and a classifier reads the surroundings of each of them."""
    n, seen = 400, []
    ring = np.zeros((n, 32), np.float32)
    tile = TileCells(
        cells=make_cells(n, x_px=50.0, y_px=10.0 * np.arange(n)),
        membrane=MembraneProfile(dab_od=ring, weight=ring + 1, neighbour=np.full((n, 32), -1, np.int32)),
        class_scores=np.zeros((n, 5), np.float32),
        foreign=np.zeros((0, 2)),
        damage=(),
        brown=np.zeros((0, 6), np.int32),
    )

    def judge(measured, *_, **__):
        seen.append(measured.cells["y_px"].max())
        return measured.cells

    monkeypatch.setattr(pipeline, "judge_cells", judge)
    grid = SimpleNamespace(height=4000, width=100, mpp=0.5, downsample_x=1.0, downsample_y=1.0)
    place = SimpleNamespace(core=Rect(x0=0, y0=0, x1=100, y1=4000))
    config = config_of()
    config = config.model_copy(update={"cells": config.cells.model_copy(update={"classifier": classifier})})
    bands = list(judge_bands([(0, tile)], [place], grid=grid, estimate=None, config=config, pack=PACK))
    assert sum(len(band.cells) for band in bands) == n
    reach_um = classify.BROWN_UM + (features.REACH_UM if classifier else 0)
    assert seen[0] >= judging.BAND_PX + reach_um / grid.mpp


def test_glass_is_no_work(estimate, tmp_path):
    wide = phantom_slides.write_slide(tmp_path / "slide.tif", phantom_slides.slide_image(2600, 1300))
    with open_slide(wide) as slide:
        blocks = survey.plan_work(slide, estimate=estimate, config=config_of()).blocks
    assert not blocks[:, 0].any()
    assert not blocks[:, 6].any()
    assert blocks[2:4, 3:5].all()


def test_a_blank_slide_has_no_tissue_and_no_tiles(tmp_path):
    path = phantom_slides.write_slide(tmp_path / "blank.tif", phantom_slides.glass(1500, 1200))
    result, cells, _ = analysed(path, config_of())
    assert result.status is Status.NO_TISSUE
    assert cells.empty
    assert result.score.tps is result.score.tissue_mm2 is result.score.dab_area_pct is None


def test_white_of_what_was_not_scanned_is_not_that_of_the_glass(tmp_path):
    rgb = phantom_slides.slide_image(1500, 1200)
    rgb = np.pad(rgb, ((0, 0), (0, 1500), (0, 0)), constant_values=255)
    path = phantom_slides.write_slide(tmp_path / "unscanned.tif", rgb)
    with open_slide(path) as slide:
        found = pipeline.estimate_case([survey.sample_slide(slide, config=config_of())], config=config_of())
    assert found.white_source == "glass"
    assert max(abs(level - phantom_slides.WHITE) for level in found.white) <= 2


def without_tile(path, index):
    """A tile of level 0 that the index says is empty."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages[0].tags["TileByteCounts"]
        tag.overwrite(tuple(0 if number == index else value for number, value in enumerate(tag.value)))
    return path


@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "not_scanned"])
def test_white_is_that_of_glass_beside_stripes_that_were_lost_or_not_scanned(tmp_path, is_lost):
    """Half of the rows of tiles in stripes: much of the glass lies at a border with pure white."""
    image = phantom_slides.glass(2048, 2048)
    image[1024:1536, 1024:1536] = phantom_slides.tissue(512, 512)
    if not is_lost:
        for y in range(0, 2048, 512):
            image[y : y + 256] = 255
    path = phantom_slides.write_slide(tmp_path / "slide.tif", image, downsamples=())
    if is_lost:
        with tifffile.TiffFile(path, mode="r+b") as tiff:
            counts = tiff.pages.first.tags["TileByteCounts"]
            counts.overwrite([0 if number // 8 % 2 == 0 else count for number, count in enumerate(counts.value)])
    with open_slide(path) as slide:
        white = pipeline.estimate_case([survey.sample_slide(slide, config=config_of())], config=config_of()).white
    assert white == pytest.approx((phantom_slides.WHITE,) * 3, abs=1)


@pytest.mark.parametrize("size", [(1000, 1000), (700, 1000), (512, 2048), (3000, 1537), (300, 300)])
@pytest.mark.parametrize("is_low", [False, True])
@pytest.mark.parametrize("is_right", [False, True])
def test_tissue_at_any_rim_of_a_slide_lies_in_a_window(size, is_low, is_right):
    height, width = size
    grid = SlideGrid(mpp=0.5, width=width, height=height, downsample_x=1.0, downsample_y=1.0, level=0)
    found = np.zeros((height // 8, width // 8), bool)
    found[-20 if is_low else 0, -20 if is_right else 0] = True
    y, x = (8 * (side // 8 - 20) if is_end else 0 for side, is_end in zip(size, (is_low, is_right), strict=True))
    windows = survey.tissue_windows(grid, found)
    assert windows
    for each in windows:
        assert each.x0 <= x < each.x1 <= width
        assert each.y0 <= y < each.y1 <= height
        assert (each.width, each.height) == (min(width, survey.WINDOW_PX), min(height, survey.WINDOW_PX))


def test_the_stains_of_a_slide_are_those_of_its_tissue_wherever_it_lies(tmp_path):
    rgb = np.full((1000, 1000, 3), 245, np.uint8)
    rgb[600:960, 600:960] = np.where(np.arange(360)[:, None, None] % 60 < 30, [150, 140, 200], [180, 130, 90])
    with open_slide(phantom_slides.write_slide(tmp_path / "rim.tif", rgb)) as slide:
        sample = survey.sample_slide(slide, config=config_of())
    assert (sample.pixels.min(axis=1) < 220).mean() > 0.3


def test_a_missing_tile_makes_the_result_partial_and_cuts_the_cells_around_it(image, tmp_path, estimate):
    path = phantom_slides.write_slide(tmp_path / "damaged.tif", image)
    column, row = 4, 2
    without_tile(path, row * -(-WIDTH // 256) + column)
    result, cells, _ = analysed(path, config_of(), estimate=estimate)
    assert result.status is Status.PARTIAL
    assert ResultFlag.PARTIAL in result.flags
    x0, y0 = column * 256, row * 256
    inside = cells["x_px"].between(x0, x0 + 255) & cells["y_px"].between(y0, y0 + 255)
    assert not inside.any()
    near = cells["x_px"].between(x0 - 12, x0 + 268) & cells["y_px"].between(y0 - 12, y0 + 268)
    cut = (cells["flags"] & int(Flag.TOUCHES_EDGE)) > 0
    assert cut[near].any()
    assert not cut[~cells["x_px"].between(x0 - 60, x0 + 316)].any()


def comparing(config):
    return config.model_copy(update={"tiling": config.tiling.model_copy(update={"compare_levels": True})})


def write_unlike(path, fine, small):
    """A pyramid whose first level is not made of the picture of the others."""
    options = slide_files.tiff_options(lossless=True, metadata=None, resolutionunit="CENTIMETER")
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(fine, resolution=(20_000, 20_000), **options)
        for step in (4, 16):
            size = (20_000 / step, 20_000 / step)
            tiff.write(slide_files.reduced(small, step), subfiletype=1, resolution=size, **options)
    return path


def test_what_is_lost_by_damage_that_decodes_does_not_depend_on_the_size_of_tiles(image, tmp_path, estimate):
    fine = image.copy()
    fine[830:1086, 878:1390] = 0
    fine[400:656, 1792:2048] = 255
    path = write_unlike(tmp_path / "damaged.tif", fine, image)
    (one, cells), (other, same), (third, too) = (
        analysed(path, comparing(config_of(tile_px=tile_px)), estimate=estimate)[:2] for tile_px in (512, 1024, 2048)
    )
    assert one.status is Status.PARTIAL
    assert "2 regions are damaged" in one.error
    assert one.error == other.error == third.error
    assert one.blocks == other.blocks == third.blocks
    assert one.brown == other.brown == third.brown
    pd.testing.assert_frame_equal(cells, same, check_exact=True)
    pd.testing.assert_frame_equal(cells, too, check_exact=True)


def test_cells_outside_the_region_are_flagged_and_far_blocks_are_no_work(path, estimate, by_tile_px, monkeypatch):
    reach_um = 40.0  # the slide is small
    monkeypatch.setattr(quality, "STROMA_REACH_UM", reach_um)
    tumour = shapely.box(500.3, 300.7, 943.9, 687.9)  # in reach is what lies right beside the border of a block
    rois = (
        Roi(kind=RoiKind.TUMOUR, name="Tumor", geometry=tumour),
        Roi(kind=RoiKind.EXCLUDE, name="Necrosis", geometry=shapely.box(600, 500, 900, 650)),
    )
    result, cells, _ = analysed(path, config_of(), estimate=estimate, rois=rois)
    counted = cells[(cells["flags"] & int(Flag.OUTSIDE_ROI)) == 0]
    inside = shapely.contains_xy(tumour, counted["x_px"] + 0.5, counted["y_px"] + 0.5)
    assert inside[counted["cell_class"] == "tumour"].all()
    assert ((counted["flags"] & int(Flag.BESIDE_TUMOUR) > 0) == ~inside).all()
    places = shapely.points(counted["x_px"] + 0.5, counted["y_px"] + 0.5)
    assert (shapely.distance(tumour, places) <= reach_um / 0.5).all()
    assert not (counted["x_px"].between(600, 899) & counted["y_px"].between(500, 649)).any()
    assert ResultFlag.TUMOUR_UNCONFIRMED not in result.flags
    drawn_um2 = (443.6 * 387.2 - 300 * 150) * 0.25
    assert 0.5 * drawn_um2 < result.counts.tumour_area_um2 <= drawn_um2 * (1 + 1e-3)
    assert len(cells) < 0.7 * len(by_tile_px("watershed", 2048)[1])
    places = shapely.points(cells["x_px"] + 0.5, cells["y_px"] + 0.5)
    near = cells[shapely.distance(tumour, places) <= reach_um / 0.5]
    everywhere = by_tile_px("watershed", 2048)[1].merge(near, on=["x_px", "y_px"], suffixes=("", "_roi"))
    assert len(everywhere) == len(near) > len(counted)
    for column in ("cell_class", "positive", "membrane_positive", "dab_grade"):
        assert (everywhere[column] == everywhere[f"{column}_roi"]).all(), column


def test_no_tumour_region_is_no_confirmed_tumour(by_tile_px):
    assert ResultFlag.TUMOUR_UNCONFIRMED in by_tile_px("network", 2048)[0].flags


def test_a_doubtful_pixel_size_is_flagged(tmp_path, image, estimate):
    path = phantom_slides.write_slide(tmp_path / "doubtful.tif", image[:1000, :1000], mpp=1.0)
    assert ResultFlag.NUCLEUS_SIZE in analysed(path, config_of(), estimate=estimate)[0].flags


def test_an_impossible_pixel_size_is_refused_before_the_work(path, estimate):
    limits = ["quality.min_nucleus_diameter_um=1", "quality.max_nucleus_diameter_um=3"]
    config = load_config(None, ["nuclei.segmenter=watershed", *limits])
    refused, cells, _ = analysed(path, config, estimate=estimate)
    assert refused.status is Status.REFUSED
    assert "--mpp" in refused.error
    assert cells is None


@pytest.mark.parametrize(("name", "expected"), [("slide.tif", True), ("small.tif", False), ("tile.png", False)])
def test_pyramids_are_slides_and_small_images_are_not(tmp_path, name, expected):
    rgb = phantom_slides.glass(600, 500)
    if name.endswith(".png"):
        phantom_slides.slide_files.write_png(tmp_path / name, rgb)
    else:
        phantom_slides.write_slide(tmp_path / name, rgb, downsamples=(4,) if expected else ())
    assert is_whole_slide(tmp_path / name) is expected
