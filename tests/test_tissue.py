"""Tissue: stained places, pale ones too; glass and lumina are none."""

import numpy as np
import pytest

from pdl1quant.config import TissueConfig
from pdl1quant.model import Tile
from pdl1quant.stages.tissue import STEP_UM, find_tissue, tissue_area_um2
from scenes import ESTIMATE, disc, paint_rgb

CONFIG = TissueConfig()
SHAPE = (400, 400)


def find(rgb, *, mpp=0.5, config=CONFIG):
    tile = Tile.whole(rgb, mpp)
    mask = find_tissue(tile, ESTIMATE, config=config)
    return mask, tissue_area_um2(mask, tile)


def test_glass_is_no_tissue():
    mask, area = find(paint_rgb(shape=SHAPE))
    assert mask.dtype == bool
    assert not mask.any()
    assert area == 0


@pytest.mark.parametrize("od", [0.08, 0.4])
def test_pale_and_dark_sections_are_tissue(od):
    mask, area = find(paint_rgb(od, shape=SHAPE))
    assert mask.all()
    assert area == pytest.approx(200 * 200)


@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_area_of_an_island_is_its_own(mpp):
    """Its rim is known to the smoothing: 4 um, of a radius of 50."""
    shape = (round(200 / mpp), round(200 / mpp))
    _, area = find(paint_rgb(0.3 * disc(shape, (100 / mpp, 100 / mpp), 50 / mpp)), mpp=mpp)
    assert np.sqrt(area / np.pi) == pytest.approx(50, abs=2 * STEP_UM)


def test_lumen_is_no_tissue_and_specks_are_none():
    rgb = paint_rgb(0.3 * (disc(SHAPE, (150, 200), 130) & ~disc(SHAPE, (150, 200), 70)) + disc(SHAPE, (360, 40), 6))
    mask, _ = find(rgb)
    step = STEP_UM / 0.5
    assert not mask[round(200 / step), round(150 / step)]
    assert mask[round(200 / step), round(50 / step)]
    assert not mask[round(40 / step), round(360 / step)]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (9, 3)])
def test_tiny_tiles_can_be_all_tissue(shape):
    assert find(paint_rgb(0.3, shape=shape))[0].all()


def test_tile_is_left_as_it_is():
    rgb = paint_rgb(0.3, shape=(64, 64))
    before = rgb.copy()
    find(rgb)
    assert np.array_equal(rgb, before)
