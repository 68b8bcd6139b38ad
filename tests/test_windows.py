"""Windows of the network over a slide: each is run once, seams do not show, and nothing stays behind."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

import phantom_slides
from batch_runs import Deaf, rows_of, run
from pdl1quant import pipeline
from pdl1quant.assays import load_pack
from pdl1quant.config import Config, NucleiConfig, load_config
from pdl1quant.errors import OutputError
from pdl1quant.model import Rect, Region, SlideDamage, Status, Tile
from pdl1quant.networks import maps
from pdl1quant.networks.segmenter import give_back_maps, map_tile
from pdl1quant.networks.session import close_models
from pdl1quant.slides.opening import open_slide
from pdl1quant.tiling import BLOCK_PX, Margins, WindowPlace, place_tiles, place_windows, shape_in_blocks
from pdl1quant.whole_slides import windows
from pdl1quant.whole_slides.survey import plan_work
from pdl1quant.whole_slides.windows import View, WindowStore, look_at, make_agenda, swept
from slide_runs import analysed

PACK = load_pack("28-8-cytoplasm")
SMALL_PX = 480
"""Side of windows that makes many seams in little tissue."""
MAX_DIFFERENT = {"cells-1": 0.001, "cells-1-int8": 0.0}
"""Share of the cells, by model: the integers see their whole reach, and are the same then."""
SAME_CENTRE_PX = 1.0


@pytest.fixture(scope="module")
def image():
    return phantom_slides.slide_image(1300, 1100, dense=True)


@pytest.fixture(scope="module")
def path(image, tmp_path_factory):
    return phantom_slides.write_slide(tmp_path_factory.mktemp("slides") / "slide.tif", image)


@pytest.fixture(scope="module")
def small_path(tmp_path_factory):
    """Of little tissue, for what happens between processes: in four tiles and more windows of `SMALL_PX`."""
    image = phantom_slides.slide_image(1200, 1000)
    return phantom_slides.write_slide(tmp_path_factory.mktemp("slides") / "slide.tif", image)


def cells_of(path, tile_px, model=""):
    config = load_config(None, [f"tiling.tile_px={tile_px}", f"nuclei.model={model}", "tiling.outlines=false"])
    _, cells, estimate = analysed(path, config)
    return cells, estimate


def different(whole, cells):
    """How many cells of one table the other has not, or has with another class, positivity or grade."""
    columns = ["cell_class", "positive", "membrane_positive", "dab_grade"]
    far, match = cKDTree(cells[["x_px", "y_px"]]).query(whole[["x_px", "y_px"]])
    alike = (whole[columns].astype(str).to_numpy() == cells[columns].astype(str).to_numpy()[match]).all(axis=1)
    return int((~alike | (far > SAME_CENTRE_PX)).sum()) + abs(len(cells) - len(whole))


@pytest.mark.parametrize("model", ["cells-1", "cells-1-int8"])
def test_many_small_windows_show_neither_in_tiles_of_any_size_nor_beside_one_piece(path, image, monkeypatch, model):
    monkeypatch.setattr(maps, "WINDOW_PX", SMALL_PX)
    one, estimate = cells_of(path, 512, model)
    pd.testing.assert_frame_equal(one, cells_of(path, 2048, model)[0], check_exact=True)
    config = load_config(None, [f"nuclei.model={model}"])
    whole = pipeline.analyse_image(image, mpp=phantom_slides.MPP, estimate=estimate, config=config, pack=PACK).cells
    assert len(one) > 500
    assert different(whole, one) <= MAX_DIFFERENT[model] * len(whole)


def test_two_workers_share_the_windows_and_write_the_bytes_of_one(small_path, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "WINDOW_PX", SMALL_PX)
    config = load_config(None, ["tiling.tile_px=512", "tiling.outlines=false"])
    for n in (1, 2):
        run(small_path, tmp_path / f"{n}", config=config, mpp=None, workers=n)
    one, two = ((tmp_path / f"{n}" / "cells" / "slide.parquet").read_bytes() for n in (1, 2))
    assert one == two
    assert hidden(tmp_path / "1") == hidden(tmp_path / "2") == []


def hidden(out):
    return [path for path in out.rglob("*") if path.name.endswith(".partial")]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_leaves_no_windows(small_path, tmp_path, workers, monkeypatch):
    class Impatient(Deaf):
        def doing(self, what, case):  # noqa: ARG002  as of any listener
            if what.startswith("tile 2/"):
                assert hidden(tmp_path / "out")
                raise KeyboardInterrupt

    monkeypatch.setattr(maps, "WINDOW_PX", SMALL_PX)
    config = load_config(None, ["tiling.tile_px=512"])
    with pytest.raises(KeyboardInterrupt):
        run(small_path, tmp_path / "out", config=config, mpp=None, workers=workers, listener=Impatient())
    assert hidden(tmp_path / "out") == []


def test_windows_that_a_killed_run_left_are_removed_by_the_next(small_path, tmp_path):
    left = tmp_path / "out" / ".pdl1quant-0123456789abcdef.partial" / "0_0"
    left.mkdir(parents=True)
    (left / "hills.npy").write_bytes(b"left")
    config = load_config(None, ["nuclei.segmenter=watershed", "tiling.outlines=false"])
    run(small_path, tmp_path / "out", config=config, mpp=None, overwrite=True)
    assert hidden(tmp_path / "out") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_windows_that_are_lost_fail_the_slide_in_one_line(small_path, tmp_path, workers, monkeypatch):
    class Rude(Deaf):
        def doing(self, what, case):  # noqa: ARG002  as of any listener
            if what.startswith("tile 1/"):
                for folder in (tmp_path / "out").glob("*.partial"):
                    folder.rename(tmp_path / folder.name)

    monkeypatch.setattr(maps, "WINDOW_PX", SMALL_PX)
    config = load_config(None, ["tiling.tile_px=512"])
    run(small_path, tmp_path / "out", config=config, mpp=None, workers=workers, listener=Rude())
    (row,) = rows_of(tmp_path / "out", "image")
    assert row.status is Status.FAILED
    assert "\n" not in row.error
    assert ".partial" in row.error
    assert not (tmp_path / "out" / "errors").exists()


SOME = WindowPlace(rect=Rect(x0=0, y0=0, x1=400, y1=416), core=Rect(x0=0, y0=0, x1=288, y1=320))
NEXT = WindowPlace(rect=Rect(x0=160, y0=0, x1=640, y1=416), core=Rect(x0=288, y0=0, x1=512, y1=320))


def test_a_tile_gets_its_parts_of_what_was_said_of_windows_and_nothing_elsewhere(path, tmp_path):
    store, asked = WindowStore(folder=tmp_path), Rect(x0=96, y0=48, x1=560, y1=384)
    with open_slide(path) as slide:
        grid = slide.grid(0.5)
        for window in (SOME, NEXT):
            store.put(window, look_at(slide, grid, window, config=Config()))
        rgb = slide.read(SOME.rect, grid).rgb
        pixels = slide.read(asked, grid).rgb
    own = map_tile(Tile(rgb=rgb, mpp=0.5, core=SOME.core, inner=SOME.core), config=Config().nuclei)
    got = store.get((SOME, NEXT), asked)
    assert np.array_equal(got.region.rgb[:272, :416], pixels[:272, :416])
    assert (got.region.rgb[272:] == 255).all()
    assert (got.region.rgb[:, 416:] == 255).all()
    assert got.region.damage == ()
    assert got.maps.hills.shape == got.maps.cells.shape == (336, 464)
    assert np.array_equal(got.maps.hills[:272, :192], own.hills[48:, 96:])
    assert np.array_equal(got.maps.cells[:272, :192], own.cells[48:, 96:])
    assert got.maps.hills[:272, 192:416].any()
    assert not got.maps.hills[272:].any()
    assert not got.maps.hills[:, 416:].any()
    first, second = got.maps.scores
    assert first.planes.shape == (5, len(first.rows), len(first.columns))
    assert (first.columns.max(), second.columns.min(), second.columns.max()) == (191, 193, 415)
    assert np.allclose(first.planes / 65535, own.scores[0].planes[:, 24:, 48:], atol=1e-5)


def test_damage_met_in_a_window_is_told_to_its_tiles(tmp_path):
    store, nothing = (
        WindowStore(folder=tmp_path),
        maps.Maps(hills=np.zeros((320, 288), np.float32), cells=None, scores=()),
    )
    box = SlideDamage(rect=Rect(x0=0, y0=256, x1=256, y1=512), level=0, reason="no JPEG, as \u00b5m")
    store.put(SOME, View(region=Region(rgb=np.zeros((320, 288, 3), np.uint8), damage=(box,)), maps=nothing))
    assert store.get((SOME,), SOME.core).region.damage == (box,)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell what a process holds")
def test_most_of_what_the_network_takes_for_a_window_can_be_given_back():
    def held_mb():
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * 4096 / 1e6

    def look(side):
        map_tile(Tile.whole(np.zeros((side, side, 3), np.uint8), 0.5), config=config)
        return held_mb()

    config = NucleiConfig(model="cells-1")  # it takes more than the integers
    close_models()  # what it held for windows of other tests is gone
    little, much = look(64), look(1536)
    give_back_maps(config=config)
    assert much - held_mb() > 0.5 * (much - little) > 0


def test_a_window_that_does_not_come_is_an_error_of_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "LATE_S", 0.05)
    with pytest.raises(OutputError, match="run again") as caught:
        WindowStore(folder=tmp_path).get((SOME,), SOME.core)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(windows, "LATE_S", 1e9)
    with pytest.raises(OutputError, match="run again"):
        WindowStore(folder=tmp_path / "gone").get((SOME,), SOME.core)


def test_a_window_is_kept_until_its_last_tile_is_done(path, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "WINDOW_PX", SMALL_PX)
    config = load_config(None, ["tiling.tile_px=512"])
    with open_slide(path) as slide:
        estimate = pipeline.estimate_case(
            [pipeline.sample_image(slide.read_region(Rect(x0=480, y0=200, x1=1000, y1=700)), mpp=0.5, config=config)],
            config=config,
        )
        work = plan_work(slide, estimate=estimate, config=config)
    agenda = make_agenda(work.places(config), work.windows(config), ahead=2)
    store = WindowStore(folder=tmp_path)
    for step in agenda.steps:
        if isinstance(step, WindowPlace):
            (tmp_path / f"{step.core.y0}_{step.core.x0}").mkdir()
    for done, (number, _) in enumerate(swept(((n, None) for n in range(len(agenda.needs))), agenda, store)):
        needed = {window for windows in agenda.needs[number + 1 :] for window in windows}
        assert {window for windows in agenda.needs for window in windows if store.has(window)} >= needed
        assert done == number
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 1000), st.integers(1, 4000), st.integers(1, 4000), st.integers(0, 5))
def test_each_window_is_run_once_and_before_the_tiles_that_need_it(seed, width, height, ahead):
    blocks = np.random.default_rng(seed).random(shape_in_blocks(width, height)) < 0.3
    size = {"width": width, "height": height}
    places = place_tiles(blocks, **size, tile_px=512, margins=Margins(looks_px=0, objects_px=96))
    found = place_windows(blocks, **size, sides=(640, 128), objects_px=96, step_px=32)
    agenda = make_agenda(places, found, ahead=ahead)
    seen = set()
    for step in agenda.steps:
        if isinstance(step, WindowPlace):
            assert step not in seen
            seen.add(step)
        else:
            assert seen >= set(agenda.needs[step])
            inner = places[step].inner
            for window in found:
                core = window.core
                meets = core.x0 < inner.x1 and inner.x0 < core.x1 and core.y0 < inner.y1 and inner.y0 < core.y1
                assert (window in agenda.needs[step]) == meets
    assert [step for step in agenda.steps if isinstance(step, int)] == list(range(len(places)))
    rows = sum(one.core.x0 >= other.core.x0 for one, other in pairwise(found)) + 1
    are_tiles = [isinstance(step, int) for step in agenda.steps]
    assert sum(before and not after for before, after in pairwise(are_tiles)) < rows
    assert all(agenda.turns[n] == (are_tiles[n] != mine) for n, mine in enumerate(are_tiles[max(1, ahead) :], 0))
    assert seen == {window for windows in agenda.needs for window in windows}


@given(st.integers(0, 1000), st.integers(1, 4000), st.integers(1, 4000), st.sampled_from([(640, 128), (512, 64)]))
def test_windows_cover_the_work_and_its_surroundings_once(seed, width, height, sides):
    blocks = np.random.default_rng(seed).random(shape_in_blocks(width, height)) < 0.1
    near = np.zeros((height, width), bool)
    for row, column in np.argwhere(blocks) * BLOCK_PX:
        near[max(0, row - 96) : row + BLOCK_PX + 96, max(0, column - 96) : column + BLOCK_PX + 96] = True
    covered = np.zeros((height, width), np.uint8)
    for window in place_windows(blocks, width=width, height=height, sides=sides, objects_px=96, step_px=32):
        rect, core = window.rect, window.core
        covered[core.y0 : core.y1, core.x0 : core.x1] += 1
        assert (rect.x0 % 32, rect.y0 % 32, core.x0 % 32, core.y0 % 32) == (0, 0, 0, 0)
        assert (rect.x0, rect.y0) == (max(0, core.x0 - sides[1]), max(0, core.y0 - sides[1]))
        assert (rect.x1, rect.y1) == (min(width, core.x1 + sides[1]), min(height, core.y1 + sides[1]))
        assert max(core.width, core.height) <= sides[0]
    assert covered.max(initial=0) <= 1
    assert covered[near].all()
