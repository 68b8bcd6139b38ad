"""Tiles: every point of the work has one owner, whatever the size of the tiles; halos and steps are kept."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pdl1quant.model import Rect
from pdl1quant.tiling import BLOCK_PX, TIES_PX, Margins, owned, place_tiles, shape_in_blocks

SIDES = st.integers(1, 5000)
MARGINS = st.builds(
    lambda looks_px, objects_px, n: Margins(looks_px=looks_px, objects_px=objects_px, step_px=n * TIES_PX),
    st.integers(0, 300),
    st.integers(0, 150),
    st.integers(1, 8),
)


def work(seed, width, height):
    return np.random.default_rng(seed).random(shape_in_blocks(width, height)) < 0.4


@given(st.integers(0, 1000), SIDES, SIDES, st.sampled_from([256, 512, 1024, 2048]), MARGINS)
def test_every_point_of_the_work_has_one_owner_and_others_have_none(seed, width, height, tile_px, margins):
    blocks = work(seed, width, height)
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.5, width - 0.5001, 200), rng.uniform(-0.5, height - 0.5001, 200)
    x[:100], y[:100] = np.floor(x[:100]) + 0.5, np.floor(y[:100]) + 0.5  # on the borders of pixels
    x, y = np.minimum(x, width - 0.5001), np.minimum(y, height - 0.5001)
    places = place_tiles(blocks, width=width, height=height, tile_px=tile_px, margins=margins)
    owners = sum((owned(x, y, place.core, blocks).astype(int) for place in places), np.zeros(200, int))
    row, column = (np.floor(each + 0.5).astype(int) // BLOCK_PX for each in (y, x))
    assert np.array_equal(owners, blocks[row, column].astype(int))


@given(st.integers(0, 1000), SIDES, SIDES, st.sampled_from([256, 512, 2048]), MARGINS)
def test_tiles_hold_their_halo_begin_at_steps_and_stay_on_the_grid(seed, width, height, tile_px, margins):
    halo_px, step_px = margins.looks_px + margins.objects_px, margins.step_px
    blocks = work(seed, width, height)
    for place in place_tiles(blocks, width=width, height=height, tile_px=tile_px, margins=margins):
        rect, core = place.rect, place.core
        assert rect.x0 % step_px == 0
        assert rect.y0 % step_px == 0
        assert rect.x0 in range(max(0, core.x0 - halo_px - step_px + 1), max(0, core.x0 - halo_px) + 1)
        assert rect.y0 in range(max(0, core.y0 - halo_px - step_px + 1), max(0, core.y0 - halo_px) + 1)
        assert rect.x1 == min(width, core.x1 + halo_px)
        assert rect.y1 == min(height, core.y1 + halo_px)


@given(st.integers(0, 1000), SIDES, SIDES, st.sampled_from([256, 512, 2048]), MARGINS)
def test_objects_are_looked_for_between_core_and_tile_where_ties_lie_alike(seed, width, height, tile_px, margins):
    blocks = work(seed, width, height)
    for place in place_tiles(blocks, width=width, height=height, tile_px=tile_px, margins=margins):
        rect, inner, core = place.rect, place.inner, place.core
        assert rect.x0 <= inner.x0 <= max(0, core.x0 - margins.objects_px)
        assert rect.y0 <= inner.y0 <= max(0, core.y0 - margins.objects_px)
        assert min(width, core.x1 + margins.objects_px) <= inner.x1 <= rect.x1
        assert min(height, core.y1 + margins.objects_px) <= inner.y1 <= rect.y1
        assert (inner.x0 % TIES_PX, inner.y0 % TIES_PX) == (0, 0)
        assert core.width <= tile_px
        assert core.height <= tile_px


def test_no_work_is_no_tiles():
    assert (
        place_tiles(
            np.zeros((3, 4), bool), width=1000, height=700, tile_px=512, margins=Margins(looks_px=0, objects_px=96)
        )
        == ()
    )


def test_a_core_is_no_larger_than_its_work():
    blocks = np.zeros((8, 8), bool)
    blocks[2, 3] = True
    (place,) = place_tiles(
        blocks, width=2048, height=2048, tile_px=2048, margins=Margins(looks_px=0, objects_px=100, step_px=96)
    )
    assert place.core == Rect(x0=768, y0=512, x1=1024, y1=768)
    assert place.rect == Rect(x0=576, y0=384, x1=1124, y1=868)


def test_work_is_cut_evenly_and_over_small_gaps():
    """Six blocks in a row, one of them glass, are two tiles of three; what lies far from them is a tile of its own."""
    blocks = np.zeros((8, 14), bool)
    blocks[2:4, [1, 2, 4, 5, 6]] = True
    blocks[3, 12] = True
    places = place_tiles(
        blocks, width=3584, height=2048, tile_px=1280, margins=Margins(looks_px=0, objects_px=96, step_px=96)
    )
    cores = [[side // BLOCK_PX for side in (p.core.x0, p.core.y0, p.core.x1, p.core.y1)] for p in places]
    assert cores == [[1, 2, 3, 4], [4, 2, 7, 4], [12, 3, 13, 4]]
