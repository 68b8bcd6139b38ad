"""Seams do not show: any tissue at any place, cut into tiles of any size, has the same cells, to the last bit."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import phantom_slides
from pdl1quant import pipeline
from pdl1quant.assays import load_pack
from pdl1quant.config import load_config
from slide_runs import analysed

PACK = load_pack("28-8-cytoplasm")
MAX_DIFFERENT = 0.001
"""Share of cells that may differ from those of the slide in one piece."""


def cells_of(path, segmenter, tile_px, estimate=None):
    wanted = [f"nuclei.segmenter={segmenter}", f"tiling.tile_px={tile_px}", "tiling.outlines=false"]
    _, cells, estimate = analysed(path, load_config(None, wanted), estimate=estimate)
    return cells, estimate


@settings(max_examples=4)
@given(
    size=st.tuples(st.integers(560, 1300), st.integers(560, 1300)),
    corner=st.tuples(st.integers(0, 300), st.integers(0, 300)),
    tiles=st.sampled_from([(256, 1024), (512, 2048), (768, 1280), (256, 512)]),
    seed=st.integers(0, 99),
)
def test_no_tissue_anywhere_shows_the_tiles_that_it_was_cut_into(tmp_path_factory, size, corner, tiles, seed):
    width, height = size
    rgb = phantom_slides.glass(width, height, seed=seed)
    left, top = corner
    rgb[top:, left:] = phantom_slides.tissue(width - left, height - top, seed=seed)
    path = phantom_slides.write_slide(tmp_path_factory.mktemp("seams") / "slide.tif", rgb)
    (one, estimate), (other, _) = (cells_of(path, "watershed", tile_px) for tile_px in tiles)
    assert len(one) > 100
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    config = load_config(None, ["nuclei.segmenter=watershed"])
    whole = pipeline.analyse_image(rgb, mpp=phantom_slides.MPP, estimate=estimate, config=config, pack=PACK).cells
    assert share_of_others(whole, one) <= MAX_DIFFERENT


def share_of_others(whole, cells):
    """Share of the cells of one table that the other has not, or has with another class, grade or positivity."""
    keys = ["x_px", "y_px", "cell_class", "positive", "membrane_positive", "dab_grade"]
    both = whole[keys].astype({"cell_class": str}).merge(cells[keys].astype({"cell_class": str}), how="outer", on=keys)
    return (len(both) - min(len(whole), len(cells))) / len(whole)


@pytest.fixture(scope="module")
def real_slide(tmp_path_factory):
    """The real sample, mirrored to more than one tile."""
    rgb = tifffile.imread(phantom_slides.ROOT / "sample_slides" / "ihc" / "fhl2_colon.tif")
    rgb = np.pad(rgb, ((0, 700), (0, 800), (0, 0)), mode="symmetric")[:1190, :1210]
    return phantom_slides.write_slide(tmp_path_factory.mktemp("real") / "slide.tif", rgb), rgb


@pytest.mark.parametrize("segmenter", ["network", "watershed"])
def test_a_real_field_as_a_slide_has_the_cells_of_one_piece_in_tiles_of_any_size(real_slide, segmenter):
    path, rgb = real_slide
    one, estimate = cells_of(path, segmenter, 512)
    pd.testing.assert_frame_equal(one, cells_of(path, segmenter, 2048)[0], check_exact=True)
    config = load_config(None, [f"nuclei.segmenter={segmenter}"])
    whole = pipeline.analyse_image(rgb, mpp=phantom_slides.MPP, estimate=estimate, config=config, pack=PACK).cells
    assert len(one) > 800
    assert share_of_others(whole, one) <= MAX_DIFFERENT
