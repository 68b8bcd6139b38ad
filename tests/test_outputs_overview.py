"""The overview of a slide: colours lie on what is scored, and small slides are shown large."""

import cv2
import numpy as np
import pytest
import shapely

import phantom_slides
from batch_runs import run
from pdl1quant.config import load_config
from pdl1quant.model import ArtefactKind, ArtefactMap, Compartment, Counts, PositiveCounts
from pdl1quant.outputs.captions import Caption
from pdl1quant.outputs.overview import draw_overview
from test_region_scores import draw

GLASS = 240
CAPTION = Caption(title="slide.tif", score="TPS 25 %", rules="rules", remarks=())
SQUARES = {(0, 0): Counts(n_cells=100, n_tumour=40, positive=PositiveCounts(cytoplasm=10))}


WHOLE = shapely.box(0, 0, 120, 100)


@pytest.mark.parametrize("is_drawn", [False, True], ids=["all", "region"])
def test_squares_colour_the_tissue_that_is_scored_and_no_glass(is_drawn):
    rgb = np.full((100, 120, 3), GLASS, np.uint8)
    tissue = np.zeros((50, 60), bool)
    tissue[:, :30] = True  # the left half
    hole = shapely.box(10, 10, 20, 20)
    scored = shapely.difference(shapely.box(0, 0, 100, 50), hole) if is_drawn else WHOLE
    picture = draw_overview(
        rgb, tissue, SQUARES, caption=CAPTION, mpp=2.0, square_um=200.0, compartment=Compartment.CYTOPLASM,
        scored=scored,
    )  # fmt: skip
    blue = picture[:100, (picture.shape[1] - 120) // 2 :][:, :120, 2].astype(int)
    assert blue[30, 30] < GLASS - 40  # yellow
    assert blue[30, 90] == GLASS
    assert (blue[80, 30] == GLASS) == is_drawn
    assert (blue[15, 15] == GLASS) == is_drawn


def test_what_is_left_out_as_an_artefact_has_no_colour_but_its_outline():
    rgb, tissue = np.full((100, 120, 3), GLASS, np.uint8), np.ones((50, 60), bool)
    numbers = np.zeros((25, 30), np.uint8)
    numbers[5:15, 5:15] = ArtefactKind.PEN.number
    artefacts = ArtefactMap(numbers=numbers, columns=30, rows=25)
    assert artefacts.mask(ArtefactKind.PEN).sum() == 100
    picture = draw_overview(
        rgb, tissue, SQUARES, caption=CAPTION, mpp=2.0, square_um=200.0, compartment=Compartment.CYTOPLASM,
        scored=WHOLE, artefacts=artefacts,
    )  # fmt: skip
    blue = picture[:100, (picture.shape[1] - 120) // 2 :][:, :120, 2].astype(int)
    assert blue[40, 40] == GLASS
    assert blue[80, 80] < GLASS - 40


def test_a_small_slide_is_shown_with_pixels_of_2_um_and_colour_where_nothing_is_excluded(tmp_path):
    image = phantom_slides.slide_image(2000, 1000)
    path = phantom_slides.write_slide(tmp_path / "slide.tif", image)
    config = load_config(None, ["nuclei.segmenter=watershed", "tiling.outlines=false"])
    left = draw(tmp_path / "left.geojson", ("", "Ignore*", (0, 0, 1000, 1000)))
    run(path, tmp_path / "out", config=config, mpp=None, roi=left)
    picture = cv2.imread(str(tmp_path / "out" / "overlays" / "slide.png"))
    caption_px = picture.shape[0] - 250  # 500 um of slide above it
    assert 50 < caption_px < 200
    shown = picture[:250, (picture.shape[1] - 500) // 2 :][:, :500, ::-1].astype(int)
    plain = cv2.resize(image, (500, 250), interpolation=cv2.INTER_AREA)
    changed = np.abs(shown - plain).max(axis=2) > 20
    assert changed[60:230, 125:245].mean() < 0.1  # the outline of the tissue
    assert changed[60:230, 390:470].mean() > 0.5
