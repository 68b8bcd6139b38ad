"""Drawn regions under a review: each counted for itself, as the run counted it."""

import json
import shutil

import numpy as np
import pytest
import shapely
from PIL import Image as PillowImage

from batch_runs import rows_of, run
from pdl1quant.config import load_config
from pdl1quant.errors import ReviewError
from pdl1quant.model import EXCLUDING_FLAGS, CellClass, SlideGrid
from pdl1quant.outputs.cells_in_parts import open_cells
from pdl1quant.outputs.regions import OutlinedRegion
from pdl1quant.outputs.tables import read_cells, write_cells
from pdl1quant.report.gather import load_case, open_run
from pdl1quant.report.lines import region_lines
from pdl1quant.report.write import write_report
from pdl1quant.review import EditKind, MadeCell, Review, open_results, rescore, run_regions
from pdl1quant.slides.roi import Roi, RoiKind, fill_region
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from pdl1quant.views.regions import KINDS, RegionView
from pdl1quant.whole_slides import kept_regions
from pdl1quant.whole_slides.regions import cut_regions
from review_runs import make_results, open_review
from test_region_scores import draw

CONFIG = load_config(None, ["nuclei.segmenter=watershed"])
NUMBERS = ("tps", "tps_low", "tps_high", "cps", "cps_low", "cps_high", "h_score", "n_tumour", "n_tumour_positive")
LEFT = ("a", "Tumor", (20, 20, 160.25, 360))
RIGHT = ("a", "Tumor", (140, 40, 360, 220.5))
DRAWN = (
    LEFT,
    RIGHT,
    ("a 1", "Region", (0, 0, 384, 200)),
    ("hole", "Ignore*", (60, 60, 120, 120)),
    ("gone", "Region", (64, 64, 116, 116)),  # all of it is left out
    ("off", "Region", (800, 800, 1000, 1000)),  # beside the image
)
NAMES = ["a 2", "a 3", "a 1", "gone", "off"]


def draw_phantom(path):
    PillowImage.fromarray(render_phantom(PhantomSettings(size_px=384), seed=1).rgb).save(path)
    return path


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Two images of one case with regions of the same names, and a copy of the first."""
    folder = tmp_path_factory.mktemp("regions")
    (folder / "tiles").mkdir()
    one = draw_phantom(folder / "tiles" / "one.png")
    shutil.copy(one, folder / "tiles" / "same.png")
    (folder / "tiles" / "two.png").write_bytes(one.read_bytes() + b" ")
    (folder / "rois").mkdir()
    draw(folder / "rois" / "one.geojson", *DRAWN)
    draw(folder / "rois" / "same.geojson", *DRAWN)
    draw(folder / "rois" / "two.geojson", ("a 2", "Tumor", (200, 200, 380, 380)))
    run(folder / "tiles", folder / "out", config=CONFIG, roi=folder / "rois")
    return folder / "out"


@pytest.fixture
def out(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "out")
    return tmp_path / "out"


def named(rows):
    return {(row.image, row.region): row for row in rows if row.level == "roi"}


def inside(review, corners):
    """Rows of the cells of the run in a box, without what was left out."""
    x, y = review.cells["x_px"].to_numpy() + 0.5, review.cells["y_px"].to_numpy() + 0.5
    x0, y0, x1, y1 = corners
    is_in = (x > x0) & (x < x1) & (y > y0) & (y < y1)
    return is_in & ~((x > 60) & (x < 120) & (y > 60) & (y < 120))


def tumour_in(review, corners):
    """Ids of the viable tumour cells in a box."""
    cells = review.cells
    viable = (cells["flags"] & int(EXCLUDING_FLAGS)) == 0
    return review.ids(np.flatnonzero(inside(review, corners) & viable & (cells["cell_class"] == "tumour")))


def test_without_edits_regions_are_reviewed_as_the_run_scored_them(out):
    automated, rows = named(rows_of(out, "roi")), named(rescore(out).rows)
    assert list(rows) == list(automated)
    assert [name for image, name in rows if image == "one.png"] == NAMES
    assert automated["one.png", "a 2"].n_tumour > 10
    for name, row in rows.items():
        told = automated[name]
        for each in NUMBERS:
            assert getattr(row, f"reviewed_{each}") == pytest.approx(getattr(told, each), abs=1e-4), (name, each)
        assert (sorted(row.reviewed_flags), row.n, row.n_edits) == (sorted(told.flags), told.n_cells, 0), name
        assert (row.status, row.error, row.case, row.reviewed_calls) == (told.status, "", told.case, ())


@pytest.mark.parametrize("image", ["one.png", "same.png"])
def test_an_edit_is_counted_in_the_regions_that_hold_its_cell_and_in_no_other(out, image):
    review = open_review(out, "one")
    only_left = [each for each in tumour_in(review, LEFT[2]) if each not in tumour_in(review, (140, 0, 384, 384))]
    both = tumour_in(review, (140, 40, 160.25, 200))
    review.edit(EditKind.CLASS, reviewer="Ada", cells=only_left[:3], to="stroma")
    review.edit(EditKind.DELETE, reviewer="Ada", cells=both[:1])
    before, rows = named(rows_of(out, "roi")), named(rescore(out).rows)
    lost = {name: before[image, name].n_tumour - rows[image, name].reviewed_n_tumour for name in NAMES}
    in_top = len(set(only_left[:3]) & set(tumour_in(review, (0, 0, 384, 200))))
    assert both
    assert lost == {"a 2": 4, "a 3": 1, "a 1": 1 + in_top, "gone": 0, "off": 0}
    assert {name: rows[image, name].n_edits for name in NAMES} == {
        "a 2": 2, "a 3": 1, "a 1": 1 + bool(in_top), "gone": 0, "off": 0,
    }  # fmt: skip
    other = rows["two.png", "a 2"]
    assert (other.reviewed_n_tumour, other.n_edits) == (before["two.png", "a 2"].n_tumour, 0)
    assert rows[image, "a 2"].reviewers == ("Ada",)


def test_what_a_review_leaves_out_leaves_the_regions_too_and_what_it_adds_counts(out):
    review = open_review(out, "one")
    made = MadeCell(x_px=40.0, y_px=300.0, cell_class=CellClass.TUMOUR, positive=True)
    review.edit(EditKind.ADD, reviewer="Ada", made=[made])
    box = shapely.box(0, 0, 384, 120)
    review.edit(EditKind.ROI, reviewer="Ada", to="exclude", geometry=json.loads(shapely.to_geojson(box)))
    before, rows = named(rows_of(out, "roi")), named(rescore(out).rows)
    left = before["one.png", "a 2"].n_tumour - len(tumour_in(review, (20, 20, 160.25, 120)))
    assert rows["one.png", "a 2"].reviewed_n_tumour == left + 1
    assert rows["one.png", "a 2"].n_edits == 2
    assert rows["one.png", "a 2"].reviewed_brown_without_cells_pct is None
    assert rows["one.png", "a 3"].n_edits == 1


def test_an_immune_cell_beside_drawn_tumour_is_counted_for_it_as_in_a_run(out):
    review = open_review(out, "two")
    cells = review.cells
    x, y = cells["x_px"].to_numpy(), cells["y_px"].to_numpy()
    beside = np.flatnonzero((x < 180) & (y < 180) & (x > 15) & (y > 15) & (cells["cell_class"] == "tumour").to_numpy())
    review.edit(EditKind.CLASS, reviewer="Ada", cells=review.ids(beside[:2]), to="lymphocyte")
    review.edit(EditKind.CLASS, reviewer="Ada", cells=review.ids(beside[2:3]), to="stroma")
    before, row = named(rows_of(out, "roi"))["two.png", "a 2"], named(rescore(out).rows)["two.png", "a 2"]
    assert (row.reviewed_n_tumour, row.n - before.n_cells, row.n_edits) == (before.n_tumour, 2, 1)


def test_who_signs_an_image_confirms_its_regions(out):
    for name in ("one", "two"):
        open_review(out, name).edit(EditKind.SIGN, reviewer="Ada")
    rows = named(rescore(out).rows)
    assert {row.signed for row in rows.values()} == {("Ada",)}
    assert {row.reviewed_calls for row in rows.values()} == {()}


def strip(out):
    """Take away what earlier versions did not write down."""
    record = json.loads((out / "run.json").read_text())
    for entry in record["images"]:
        entry.pop("regions", None)
    (out / "run.json").write_text(json.dumps(record))
    for path in (out / "cells").glob("*.parquet"):
        kept = {name: text for name, text in open_cells(path).said.items() if name != "regions"}
        write_cells(read_cells(path), path, metadata=kept)


def test_regions_of_an_earlier_version_are_not_recounted_and_say_so(out):
    strip(out)
    before, found = named(rows_of(out, "roi")), rescore(out)
    rows = named(found.rows)
    assert found.n_failed == 0
    assert list(rows) == list(before)
    for name, row in rows.items():
        assert (row.tps, row.reviewed_tps, row.reviewed_n_tumour) == (before[name].tps, None, None)
        assert row.error == "is not recounted: results of an earlier version do not say where it lies; score again"
    assert {row.reviewed_tps is None for row in found.rows if row.level in ("image", "case")} == {False}


def test_regions_of_very_many_corners_are_not_recounted_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_regions, "MAX_CHARACTERS", 100)
    tile = draw_phantom(tmp_path / "one.png")
    run(tile, tmp_path / "out", config=CONFIG, roi=draw(tmp_path / "one.geojson", LEFT))
    (row,) = named(rescore(tmp_path / "out").rows).values()
    assert row.reviewed_tps is None
    assert row.error.startswith("is not recounted: the regions of its image have too many corners")


def test_a_region_whose_row_is_gone_is_named(out):
    lines = (out / "scores.csv").read_text().splitlines(keepends=True)
    (out / "scores.csv").write_text("".join(line for line in lines if ",a 3," not in line))
    with pytest.raises(ReviewError, match=r"scores\.csv: has no row for a 3 of one\.png"):
        rescore(out)


def test_edits_that_cannot_be_applied_leave_the_regions_of_their_image_alone_unscored(out):
    review = open_review(out, "one")
    review.edit(EditKind.DELETE, reviewer="Ada", cells=tumour_in(review, LEFT[2])[:1])
    ledger = out / "edits" / "one.jsonl"
    ledger.write_text(ledger.read_text().replace('cells_sha256": "', 'cells_sha256": "x'))
    rows = named(rescore(out).rows)
    assert rows["one.png", "a 2"].error == "one.png could not be recounted; see its row"
    assert rows["two.png", "a 2"].reviewed_tps is not None


def test_no_two_regions_have_one_name_whatever_they_were_called():
    box = shapely.box(0, 0, 9, 9)
    titles = ["a", "a 1", "a", "a 3", "a", "", ""]
    rois = [Roi(kind=RoiKind.INCLUDE, name="Region", title=title, geometry=box) for title in titles]
    names = [region.name for region in cut_regions(rois)]
    assert names == ["a 2", "a 1", "a 4", "a 3", "a 5", "Region 1", "Region 2"]


def test_regions_are_kept_to_the_last_digit():
    rois = (
        Roi(kind=RoiKind.TUMOUR, name="Tumor", title="ü", geometry=shapely.Point(1 / 3, 2 / 7).buffer(10 / 9)),
        Roi(kind=RoiKind.INCLUDE, name="core", title="A-1", geometry=shapely.box(0, 0, 1e-7, 3), is_core=True),
        Roi(kind=RoiKind.EXCLUDE, name="Necrosis", geometry=shapely.MultiPolygon([shapely.box(0, 0, 0.1, 0.2)])),
    )
    assert kept_regions.regions_said(kept_regions.regions_text(rois)) == rois
    assert (kept_regions.regions_text(()), kept_regions.regions_said({})) == ({}, ())


# --- shown -----------------------------------------------------------------------------------------------------------
def test_the_report_shows_what_a_review_makes_of_images_and_regions(out):
    assert "Reviewed TPS %" not in write_report(out).report.read_text()
    review = open_review(out, "one")
    ids = tumour_in(review, LEFT[2])
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=ids[:20], to=True)
    rows = named(rescore(out).rows)
    opened = open_run(out)
    case = load_case(opened, opened.case_rows[0])
    lines = {(each.image, each.name): each.reviewed for each in region_lines(case)}
    assert lines.keys() == rows.keys()
    for name, line in lines.items():
        assert (line.n_tumour, line.n_edits, line.mark) == (rows[name].reviewed_n_tumour, rows[name].n_edits, "")
    assert lines["one.png", "a 2"].tps != region_lines(case)[0].tps
    assert {image.row.image: image.reviewed.n_edits for image in case.images} == {
        "one.png": 1,
        "same.png": 1,
        "two.png": 0,
    }
    told = {each.name: each.told for image in case.images[:1] for each in image.regions.shown}
    line = lines["one.png", "a 2"]
    assert told["a 2"][-1] == f"Reviewed: TPS {line.tps} % ({line.interval}); {line.n_tumour} tumour cells; 1 edit"
    assert told["gone"][-1] == "Reviewed: TPS not defined; 0 tumour cells; 0 edits"
    assert write_report(out).report.read_text().count("Reviewed TPS %") == 3  # images; regions on screen, in print
    review.edit(EditKind.DELETE, reviewer="Ada", cells=ids[:1])
    case = load_case(opened, opened.case_rows[0])
    marks = {each.image: each.reviewed.mark for each in region_lines(case)}
    assert marks == {"one.png": "edits not counted", "same.png": "edits not counted", "two.png": ""}
    assert {each.row.image: each.is_edited_since for each in case.images} == {
        "one.png": True, "same.png": True, "two.png": False,
    }  # fmt: skip


def test_the_report_says_of_regions_of_an_earlier_version_that_they_are_not_recounted(out):
    strip(out)
    review = open_review(out, "one")
    review.edit(EditKind.DELETE, reviewer="Ada", cells=tumour_in(review, LEFT[2])[:1])
    rescore(out)
    opened = open_run(out)
    case = load_case(opened, opened.case_rows[0])
    assert {each.reviewed.mark for each in region_lines(case)} == {"not recounted"}
    assert "not recounted" in write_report(out).report.read_text()


GRIDS = (SlideGrid(mpp=1.0, width=96, height=64, downsample_x=2.0, downsample_y=2.0, level=0),)


def shown(kind, geometry):
    return OutlinedRegion(kind=kind, name=kind, class_name="", geometry=geometry)


def test_regions_are_painted_where_they_lie_and_the_smallest_is_seen():
    ring = shapely.Point(90, 60).buffer(50).difference(shapely.Point(90, 60).buffer(20))
    parts = shapely.MultiPolygon([shapely.box(0, 0, 30, 30), shapely.box(150, 90, 180, 110), shapely.box(4, 90, 9, 99)])
    whole = shapely.box(-10, -10, 300, 300)
    regions = [shown("tumour", ring), shown("core", whole), shown("include", parts)]
    view = RegionView(regions, GRIDS)
    level = np.asarray(view.levels[0])
    expected = np.full((64, 96), view.labels[1])
    for number in (0, 2):
        expected[fill_region(shapely.transform(regions[number].geometry, lambda at: at / 2), (64, 96))] = view.labels[
            number
        ]
    assert (level == expected).all()
    assert (level[10:40, 20:70] == expected[10:40, 20:70]).all()
    names = [view.key_at(*place) for place in ((90, 60), (90, 20), (160, 100), (500, 500))]
    assert names == [("core", "core"), ("roi", "tumour"), ("roi", "include"), None]
    assert [(label - 1) % len(KINDS) for label in view.labels] == [KINDS.index(each.kind) for each in regions]


@pytest.mark.parametrize("is_old", [False, True])
def test_regions_of_a_run_are_found_with_their_names(out, is_old):
    if is_old:
        strip(out)
    found = run_regions(open_review(out, "one"))
    assert [(each.kind, each.name) for each in found] == [
        ("tumour", "a 2"), ("tumour", "a 3"), ("include", "a 1"),
        ("exclude", "hole"), ("include", "gone"), ("include", "off"),
    ]  # fmt: skip


def test_an_image_without_regions_shows_none(tmp_path):
    out = make_results(tmp_path)
    view = RegionView(run_regions(open_review(out)), GRIDS)
    assert (view.regions, view.key_at(1, 1), np.asarray(view.levels[0]).any()) == ((), None, False)


def test_edits_of_an_image_leave_the_regions_of_one_named_alike_as_they_are(tmp_path):
    for case in ("A", "B"):
        for folder in (tmp_path / case, tmp_path / "rois" / case):
            folder.mkdir(parents=True)
        draw(tmp_path / "rois" / case / "one.geojson", ("a", "Tumor", (20, 20, 300, 300)))
    first = draw_phantom(tmp_path / "A" / "one.png")
    (tmp_path / "B" / "one.png").write_bytes(first.read_bytes() + b" ")
    run([tmp_path / "A", tmp_path / "B"], tmp_path / "out", config=CONFIG, roi=tmp_path / "rois")
    results = open_results(tmp_path / "out")
    assert [(image.name, image.case) for image in results.images] == [("one.png", "A"), ("one.png", "B")]
    review = Review(results, results.images[0])
    review.edit(EditKind.DELETE, reviewer="Ada", cells=tumour_in(review, (20, 20, 300, 300))[:1])
    report = open_run(tmp_path / "out")
    cases = {row.case: load_case(report, row) for row in report.case_rows}
    since = {
        name: ([each.is_edited_since for each in case.regions], [each.is_edited_since for each in case.images])
        for name, case in cases.items()
    }
    assert since == {"A": ([True], [True]), "B": ([False], [False])}
