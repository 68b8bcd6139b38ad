"""Runs over whole slides: the same files from any number of workers, resume, damage, regions, beside plain images."""

import json
import shutil

import numpy as np
import pytest
import tifffile

import phantom_slides
from batch_runs import Deaf, draw_phantom, rows_of, run
from pdl1quant.batch import slide_steps
from pdl1quant.config import Config, load_config
from pdl1quant.model import Rect, ResultFlag, Status
from pdl1quant.outputs.objects import read_cell_objects
from pdl1quant.outputs.reviewed import read_reviewed
from pdl1quant.outputs.tables import read_cells
from pdl1quant.review import rescore
from pdl1quant.tiling import TilePlace
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from pdl1quant.whole_slides.windows import tile_order
from test_whole_slides import without_tile

CONFIG = load_config(None, ["nuclei.segmenter=watershed", "tiling.tile_px=512"])


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    rgb = phantom_slides.slide_image(1500, 1400)
    return phantom_slides.write_slide(tmp_path_factory.mktemp("slides") / "slide.tif", rgb)


@pytest.fixture(scope="module")
def scored(slide, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "out"
    run(slide, out, config=CONFIG, mpp=None, keep_labels=True)
    return out


def results(out):
    return {path.relative_to(out): path.read_bytes() for kind in ("cells", "geojson", "labels", "maps", "overlays")
            for path in sorted((out / kind).rglob("*")) if path.is_file()}  # fmt: skip


def test_two_workers_write_the_same_bytes_as_one(slide, scored, tmp_path):
    run(slide, tmp_path / "out", config=CONFIG, mpp=None, keep_labels=True, workers=2)
    assert results(tmp_path / "out") == results(scored)
    assert {path.parts[0] for path in results(scored)} == {"cells", "geojson", "labels", "maps", "overlays"}
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (scored / "scores.csv").read_bytes()


@pytest.mark.parametrize("n_workers", [1, 2, 3, 9])
def test_workers_share_a_row_of_tiles_in_stretches(n_workers):
    cores = [Rect(x0=512 * x, y0=512 * y, x1=512 * x + 512, y1=512 * y + 512) for y in range(2) for x in range(7)]
    places = [TilePlace(rect=core, inner=core, core=core) for core in cores]
    order = tile_order(places, n_workers)
    assert sorted(order[:7]) == list(range(7))
    assert sorted(order[7:]) == list(range(7, 14))
    if n_workers == 2:
        assert (order[:7:2], order[1:7:2]) == ([0, 1, 2, 3], [4, 5, 6])
    assert tile_order((), n_workers) == []


def test_a_slide_is_no_selected_field_and_an_image_beside_it_is(slide, scored, tmp_path):
    assert ResultFlag.SELECTED_FIELDS not in rows_of(scored, "case")[0].flags
    folder = tmp_path / "case"
    folder.mkdir()
    shutil.copy(slide, folder / "slide.tif")
    draw_phantom(folder / "tile.png")
    run(folder, tmp_path / "out", config=CONFIG)
    image_flags = {row.image: row.flags for row in rows_of(tmp_path / "out", "image")}
    assert ResultFlag.SELECTED_FIELDS in image_flags["tile.png"]
    assert ResultFlag.SELECTED_FIELDS not in image_flags["slide.tif"]
    assert ResultFlag.SELECTED_FIELDS in rows_of(tmp_path / "out", "case")[0].flags


def test_table_and_outlines_hold_the_cells_of_the_row(scored):
    (row,) = rows_of(scored, "image")
    cells = read_cells(scored / "cells" / "slide.parquet")
    features = json.loads((scored / "geojson" / "slide.geojson").read_text())["features"]
    assert row.status is Status.OK
    assert row.n_cells == len(cells) == len(features) > 500
    assert cells["label"].tolist() == list(range(1, len(cells) + 1))
    assert cells[["y_px", "x_px"]].apply(tuple, axis=1).is_monotonic_increasing
    for number in (0, len(cells) // 2, -1):
        x, y = zip(*features[number]["geometry"]["coordinates"][0], strict=True)
        assert min(x) < cells["x_px"].iloc[number] + 0.5 < max(x)
        assert min(y) < cells["y_px"].iloc[number] + 0.5 < max(y)


def test_outlines_can_be_compressed_and_the_map_holds_all_cells(slide, scored, tmp_path):
    tiling = CONFIG.tiling.model_copy(update={"outlines_compression": "zip"})
    run(slide, tmp_path / "out", config=CONFIG.model_copy(update={"tiling": tiling}), mpp=None)
    packed = tmp_path / "out" / "geojson" / "slide.geojson.zip"
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]
    one, other = (read_cell_objects(path) for path in (scored / "geojson" / "slide.geojson", packed))
    assert one.ids == other.ids
    assert packed.stat().st_size < 0.3 * (scored / "geojson" / "slide.geojson").stat().st_size
    densities = tifffile.imread(scored / "maps" / "slide.ome.tif")[3]
    assert densities.shape == (3, 3)
    sides_mm = [np.diff([0, 0.25, 0.5, length]) for length in (0.7, 0.75)]
    assert (densities * np.outer(*sides_mm)).sum() == pytest.approx(len(one.ids), rel=1e-5)


def test_outlines_can_be_left_out(slide, scored, tmp_path):
    tiling = CONFIG.tiling.model_copy(update={"outlines": False})
    run(slide, tmp_path / "out", config=CONFIG.model_copy(update={"tiling": tiling}), mpp=None)
    assert not (tmp_path / "out" / "geojson").exists()
    one, other = (read_cells(out / "cells" / "slide.parquet") for out in (scored, tmp_path / "out"))
    assert one.equals(other)


def test_a_finished_slide_is_not_scored_again(slide, scored, tmp_path, monkeypatch):
    shutil.copytree(scored, tmp_path / "out")

    def fail(*_, **__):
        raise AssertionError

    monkeypatch.setattr(slide_steps, "measure_tile", fail)
    run(slide, tmp_path / "out", config=CONFIG, mpp=None, keep_labels=True, resume=True)
    assert results(tmp_path / "out") == results(scored)


def test_an_interrupted_slide_leaves_no_half_files_and_is_scored_on_resume(slide, scored, tmp_path):
    class Impatient(Deaf):
        def doing(self, what, case):  # noqa: ARG002  as of any listener
            if what.startswith("tile 3/"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(slide, tmp_path / "out", config=CONFIG, mpp=None, keep_labels=True, listener=Impatient())
    assert results(tmp_path / "out") == {}
    run(slide, tmp_path / "out", config=CONFIG, mpp=None, keep_labels=True, resume=True)
    assert results(tmp_path / "out") == results(scored)


def test_a_missing_tile_is_said_in_the_row_and_the_case_is_partial(slide, tmp_path):
    damaged = without_tile(shutil.copy(slide, tmp_path / "damaged.tif"), 3 * 6 + 3)
    run(damaged, tmp_path / "out", config=CONFIG, mpp=None)
    (row,), (case,) = rows_of(tmp_path / "out", "image"), rows_of(tmp_path / "out", "case")
    assert row.status is Status.PARTIAL
    assert "768, 768 to 1024, 1024" in row.error
    assert case.status is Status.PARTIAL
    assert ResultFlag.PARTIAL in case.flags
    rescore(tmp_path / "out")
    reviewed = read_reviewed(tmp_path / "out" / "scores_reviewed.csv")
    assert [str(ResultFlag.PARTIAL) in each.reviewed_flags for each in reviewed] == [True, True]


def test_a_slide_without_brown_says_so_on_the_row_of_its_case(tmp_path):
    rgb = phantom_slides.glass(1500, 1400)
    field = render_phantom(PhantomSettings(size_px=640, tps_pct=0, positive_immune_share=0), seed=3).rgb
    rgb[200:840, 200:840] = field
    path = phantom_slides.write_slide(tmp_path / "negative.tif", rgb)
    run(path, tmp_path / "out", config=CONFIG, mpp=None)
    (row,), (case,) = rows_of(tmp_path / "out", "image"), rows_of(tmp_path / "out", "case")
    assert ResultFlag.NO_DAB_SEEN in row.flags
    assert ResultFlag.NO_DAB_SEEN in case.flags


def test_a_slide_of_brown_nuclei_says_so_and_is_called_nothing(tmp_path):
    """As of another marker: here red and blue of a field without brown change places."""
    rgb = phantom_slides.glass(900, 900)
    field = render_phantom(PhantomSettings(size_px=640, tps_pct=0, positive_immune_share=0), seed=3).rgb
    rgb[100:740, 100:740] = field[:, :, ::-1]
    path = phantom_slides.write_slide(tmp_path / "exchanged.tif", rgb)
    run(path, tmp_path / "out", config=Config(), mpp=None)
    (row,), (case,) = rows_of(tmp_path / "out", "image"), rows_of(tmp_path / "out", "case")
    assert ResultFlag.NUCLEAR_STAIN in row.flags
    assert ResultFlag.NUCLEAR_STAIN in case.flags


def test_a_blank_slide_has_no_tissue_and_empty_tables(tmp_path):
    path = phantom_slides.write_slide(tmp_path / "blank.tif", phantom_slides.glass(900, 800))
    run(path, tmp_path / "out", config=CONFIG, mpp=None)
    (row,) = rows_of(tmp_path / "out", "image")
    assert row.status is Status.NO_TISSUE
    assert len(read_cells(tmp_path / "out" / "cells" / "blank.parquet")) == 0
    assert json.loads((tmp_path / "out" / "geojson" / "blank.geojson").read_text())["features"] == []


def test_a_region_beside_the_slide_is_refused_by_name(slide, tmp_path):
    ring = [[9000, 9000], [9100, 9000], [9100, 9100], [9000, 9000]]
    region = tmp_path / "far.geojson"
    region.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    run(slide, tmp_path / "out", config=CONFIG, mpp=None, roi=region)
    (row,) = rows_of(tmp_path / "out", "image")
    assert row.status is Status.REFUSED
    assert "far.geojson" in row.error


def test_a_slide_that_is_excluded_as_a_whole_is_told_to_be_left_out(slide, tmp_path):
    ring = [[0, 0], [9000, 0], [9000, 9000], [0, 9000], [0, 0]]
    properties = {"objectType": "annotation", "classification": {"name": "Ignore*"}}
    geometry = {"type": "Polygon", "coordinates": [ring]}
    region = tmp_path / "all.geojson"
    region.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": properties}))
    run(slide, tmp_path / "out", config=CONFIG, mpp=None, roi=region)
    (row,) = rows_of(tmp_path / "out", "image")
    assert row.status is Status.REFUSED
    assert row.error == "all.geojson: excludes the whole slide; leave the slide out of the run"


def test_label_pyramid_paints_each_cell_of_the_table_once_whatever_the_tiles(slide, scored, tmp_path):
    tiling = CONFIG.tiling.model_copy(update={"tile_px": 1024, "outlines": False})
    run(slide, tmp_path / "out", config=CONFIG.model_copy(update={"tiling": tiling}), mpp=None, keep_labels=True)
    planes, same = (tifffile.imread(out / "labels" / "slide.ome.tif") for out in (scored, tmp_path / "out"))
    np.testing.assert_array_equal(planes, same)
    nucleus, cell, cytoplasm, membrane = planes
    cells = read_cells(scored / "cells" / "slide.parquet")
    assert np.array_equal(np.unique(cell), np.arange(len(cells) + 1))
    assert np.array_equal(nucleus + cytoplasm + membrane, cell)
    areas = np.bincount(cell.ravel())[1:] * 0.25
    np.testing.assert_allclose(areas, cells["cell_area_um2"], rtol=1e-6)
    row, column = np.indices(nucleus.shape)
    for index, name in ((column, "x_px"), (row, "y_px")):
        centres = np.bincount(nucleus.ravel(), index.ravel())[1:] / np.bincount(nucleus.ravel())[1:]
        np.testing.assert_allclose(centres, cells[name], atol=0.01)
