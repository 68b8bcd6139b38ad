"""Scores of single regions: a row each, beside rows of image and case that know nothing of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

import phantom_slides
from batch_runs import BROWN, Deaf, draw_phantom, draw_tile, rows_of, run
from pdl1quant.config import load_config
from pdl1quant.console import case_lines
from pdl1quant.model import BrownArea, Flag, ResultFlag, Status
from pdl1quant.outputs.run_record import read_run_record
from pdl1quant.outputs.tables import read_cells
from test_whole_slides import without_tile

CONFIG = load_config(None, ["nuclei.segmenter=watershed", "tiling.tile_px=512"])


def draw(path, *regions):
    """Regions as (name, class, (x0, y0, x1, y1))."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]},
            "properties": {"objectType": "annotation", "name": name, "classification": {"name": kind}},
        }
        for name, kind, (x0, y0, x1, y1) in regions
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    rgb = phantom_slides.slide_image(1500, 1400)
    return phantom_slides.write_slide(tmp_path_factory.mktemp("slides") / "slide.tif", rgb)


HALVES = (("north", "Tumor", (480, 200, 780, 700)), ("south", "Tumor", (480, 700, 780, 1300)))


@pytest.fixture(scope="module")
def halves(slide, tmp_path_factory):
    folder = tmp_path_factory.mktemp("halves")
    run(slide, folder / "out", config=CONFIG, mpp=None, roi=draw(folder / "two.geojson", *HALVES))
    return folder / "out"


def test_halves_of_a_region_add_up_to_the_slide(halves):
    (image,), (north, south) = rows_of(halves, "image"), rows_of(halves, "roi")
    assert (north.region, south.region) == ("north", "south")
    assert north.n_tumour > 50
    for name in ("n_tumour", "n_tumour_positive"):
        assert getattr(north, name) + getattr(south, name) == getattr(image, name)
    (entry,) = read_run_record(halves / "run.json")["images"]
    one, other = (BrownArea(**region["brown"]) for region in entry["regions"])
    assert one + other == BrownArea(**entry["brown"])
    assert north.dab_area_pct == pytest.approx(one.dab_area_pct, abs=1e-4)
    assert north.tumour_dab_area_pct > 0
    assert north.tps == pytest.approx(100 * north.n_tumour_positive / north.n_tumour, abs=1e-3)
    assert north.tps_low <= north.tps <= north.tps_high
    cells = read_cells(halves / "cells" / "slide.parquet")
    inside = cells["x_px"].between(480, 779.4) & cells["y_px"].between(200, 699.4)
    immune = cells["cell_class"].isin(["lymphocyte", "macrophage"]) & (cells["flags"] & int(Flag.OUTSIDE_ROI) == 0)
    beside_px = np.hypot(
        cells["x_px"] + 0.5 - (cells["x_px"] + 0.5).clip(480, 780),
        cells["y_px"] + 0.5 - (cells["y_px"] + 0.5).clip(200, 700),
    )
    assert north.n_cells == (inside | (immune & (beside_px <= 1000))).sum()


def test_rows_of_regions_are_the_same_for_tiles_of_any_size(slide, halves, tmp_path):
    config = load_config(None, ["nuclei.segmenter=watershed", "tiling.tile_px=2048"])
    run(slide, tmp_path / "out", config=config, mpp=None, roi=draw(tmp_path / "two.geojson", *HALVES))
    rows, others = (
        [replace(row, config_digest="") for row in rows_of(out, "roi")] for out in (halves, tmp_path / "out")
    )
    assert rows == others
    assert all(row.brown_without_cells_pct > 0 for row in rows)


def test_rows_of_image_and_case_know_nothing_of_the_regions(slide, halves, tmp_path):
    whole = draw(tmp_path / "one.geojson", ("all", "Tumor", (480, 200, 780, 1300)))
    run(slide, tmp_path / "out", config=CONFIG, mpp=None, roi=whole)
    for level in ("image", "case"):
        assert rows_of(tmp_path / "out", level) == rows_of(halves, level)
    (row,) = rows_of(tmp_path / "out", "roi")
    (image,) = rows_of(tmp_path / "out", "image")
    names = ("n_tumour", "tps", "tps_low", "ic_area_pct", "brown_without_cells_pct")
    names += ("tissue_mm2", "dab_area_pct", "tumour_dab_area_pct")
    assert all(getattr(row, name) == getattr(image, name) is not None for name in names)


def test_a_region_makes_no_call_and_is_confirmed_by_a_tumour_region(halves):
    (north, _) = rows_of(halves, "roi")
    assert north.calls == ()
    assert north.evaluable is None
    assert ResultFlag.TUMOUR_UNCONFIRMED not in north.flags


def test_regions_without_names_are_called_by_class_and_number_and_exclusions_have_no_row(tmp_path):
    image = draw_phantom(tmp_path / "tile.png")
    boxes = ((0, 0, 60, 128), (50, 0, 128, 128), (0, 0, 128, 20), (0, 100, 128, 128))
    regions = [("", "Stroma", boxes[0]), ("", "Stroma", boxes[1]), ("rim", "Ignore*", boxes[2]), ("a", "", boxes[3])]
    run(image, tmp_path / "out", roi=draw(tmp_path / "tile.geojson", *regions))
    rows = rows_of(tmp_path / "out", "roi")
    cells = read_cells(tmp_path / "out" / "cells" / "tile.parquet")
    assert [row.region for row in rows] == ["Stroma 1", "Stroma 2", "a"]
    assert all(ResultFlag.TUMOUR_UNCONFIRMED in row.flags for row in rows)
    low = (cells["y_px"] + 0.5).between(20, 128)
    assert rows[0].n_cells == (low & (cells["x_px"] + 0.5 < 60)).sum() > 0
    assert rows[1].n_cells == (low & (cells["x_px"] + 0.5).between(50, 128)).sum() > 0


def test_an_empty_region_has_no_score(tmp_path):
    image = draw_phantom(tmp_path / "tile.png")
    regions = [("here", "", (0, 0, 128, 128)), ("beside", "", (900, 900, 950, 950))]
    run(image, tmp_path / "out", roi=draw(tmp_path / "tile.geojson", *regions))
    here, beside = rows_of(tmp_path / "out", "roi")
    assert (beside.status, beside.tps, beside.n_cells) == (Status.NO_TISSUE, None, 0)
    assert here.status is not Status.NO_TISSUE


def test_damage_makes_only_the_region_that_it_touches_partial(slide, tmp_path):
    damaged = tmp_path / "slide.tif"
    damaged.write_bytes(slide.read_bytes())
    without_tile(damaged, 3 * 6 + 2)  # 512-768, 768-1024
    run(damaged, tmp_path / "out", config=CONFIG, mpp=None, roi=draw(tmp_path / "two.geojson", *HALVES))
    north, south = rows_of(tmp_path / "out", "roi")
    assert south.status is Status.PARTIAL
    assert ResultFlag.PARTIAL in south.flags
    assert north.status is Status.OK


@pytest.fixture(scope="module")
def dark(tmp_path_factory):
    """A field with a slab of brown in which no nucleus shows, with its copy, and regions over and beside the slab."""
    folder = tmp_path_factory.mktemp("dark")
    path = draw_tile(folder / "case" / "tile.png", size=256)
    rgb = np.array(PillowImage.open(path))
    rgb[150:250, 8:248] = 243 * 10 ** -(1.2 * BROWN)
    (folder / "rois").mkdir()
    for name in ("tile", "copy"):
        PillowImage.fromarray(rgb).save(folder / "case" / f"{name}.png")
        regions = (
            ("above", "", (0, 0, 256, 140)),
            ("slab", "", (0, 140, 256, 256)),
            ("in it", "", (40, 170, 200, 230)),
        )
        draw(folder / "rois" / f"{name}.geojson", *regions)
    listener = Deaf()
    run(folder / "case", folder / "out", roi=folder / "rois", listener=listener)
    return folder / "out", listener


def test_a_region_full_of_brown_without_cells_is_flagged_and_one_beside_it_is_not(dark):
    out, _ = dark
    above, slab, inside = (row for row in rows_of(out, "roi") if row.image == "tile.png")
    assert [ResultFlag.BROWN_WITHOUT_CELLS in row.flags for row in (above, slab, inside)] == [False, True, True]
    assert above.brown_without_cells_pct < 40 < slab.brown_without_cells_pct
    assert inside.brown_without_cells_pct > 80
    assert (inside.n_cells, inside.status) == (0, Status.OK)  # of tissue, though nothing was found in it
    (case,) = rows_of(out, "case")
    images = rows_of(out, "image")
    assert {case.brown_without_cells_pct} == {row.brown_without_cells_pct for row in images}


def test_regions_of_a_duplicate_are_duplicates(dark):
    out, _ = dark
    rows = {level: [ResultFlag.DUPLICATE in row.flags for row in rows_of(out, level)] for level in ("image", "roi")}
    assert rows == {"image": [False, True], "roi": [False] * 3 + [True] * 3}


def test_report_and_console_say_which_regions_are_full_of_brown_without_cells(dark):
    out, listener = dark
    page = (out / "report.html").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith('<tr><th scope="row"')]
    said = {
        name: [line for line in lines if f">{name}<" in line and "brown without cells" in line]
        for name in ("above", "slab")
    }
    assert (len(said["above"]), len(said["slab"])) == (0, 2 * 2)  # on the screen, and in the table for paper
    assert any("2 images, 2 regions: much brown" in line for line in case_lines(listener.reports[0]))


def test_resume_writes_the_same_rows(slide, halves, tmp_path):
    regions = draw(tmp_path / "two.geojson", *HALVES)
    run(slide, tmp_path / "out", config=CONFIG, mpp=None, roi=regions)
    run(slide, tmp_path / "out", config=CONFIG, mpp=None, roi=regions, resume=True)
    assert rows_of(tmp_path / "out", "roi") == rows_of(halves, "roi")
