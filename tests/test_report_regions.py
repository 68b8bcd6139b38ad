"""Outlines of drawn regions and of cores: from the run over a file for QuPath into the pictures of the report."""

import json
from dataclasses import replace

import numpy as np
import pytest
import shapely
from PIL import Image as PillowImage
from shapely.geometry import MultiPolygon, Point, box, mapping

from batch_runs import draw_tile, run
from pdl1quant.model import Status
from pdl1quant.outputs.captions import Caption, draw_caption, draw_names, names_apart
from pdl1quant.outputs.region_lines import TOLERANCE_PX, region_legend
from pdl1quant.outputs.regions import STYLES, OutlinedRegion, write_regions
from pdl1quant.outputs.scores_table import ScoreRow, read_scores, write_scores
from pdl1quant.report import write_report
from pdl1quant.report.gather import load_case, open_run
from pdl1quant.report.pixels import Picture
from pdl1quant.report.regions import ShownRegion, draw_regions, fit_regions
from pdl1quant.report.viewer import show_case
from pdl1quant.report.words import region_score
from pdl1quant.review import open_results
from pdl1quant.review.edits import EditKind, RoiRule
from pdl1quant.review.ledger import ledger_path
from pdl1quant.slides.roi_file import read_geojson_rois
from report_runs import array_of_cores, draw_on, make_cohort
from review_runs import open_review

RING = Point(250, 250).buffer(150).difference(Point(250, 250).buffer(40))
DRAWN = [
    OutlinedRegion(kind="tumour", name="Tumor <b>", class_name="Tumor", geometry=RING),
    OutlinedRegion(kind="include", name="Stroma", class_name="Region*", geometry=box(20, 420, 200, 500)),
    OutlinedRegion(kind="exclude", name="Necrosis", class_name="Necrosis", geometry=Point(330, 250).buffer(30)),
]


def shown(geometry, kind="tumour"):
    return ShownRegion(kind=kind, name="a", note="", told=(), geometry=geometry)


def picture(width=200, height=100, **place):
    return Picture(rgb=np.full((height, width, 3), 255, np.uint8), mpp=0.5, **place)


def fitted(regions, shot=None, **how):
    shot = shot or picture()
    return fit_regions(regions, shot, width=shot.width, height=shot.height, **how)


def rings_of(entry):
    return [np.cumsum(np.reshape(ring, (-1, 2)), axis=0) / 10 for ring in entry["rings"]]


def drawn_in(out):
    """What the viewer of the first case reads of its first picture's regions, by name."""
    report = open_run(out)
    first = show_case(report, load_case(report, report.case_rows[0]))
    return {each["name"]: each for each in first.data["pictures"][0]["regions"]}, first


# --- the file --------------------------------------------------------------------------------------------------------
def test_a_run_writes_what_was_drawn_by_the_names_of_its_rows(tmp_path):
    image = draw_tile(tmp_path / "field.png", size=128)
    drawn = [
        (box(0, 0, 60, 128), "Tumor", "left"),
        (box(64, 0, 128, 60), "Tumor", ""),
        (box(70, 70, 90, 90), "Fold", ""),
    ]
    features = [
        {
            "type": "Feature",
            "geometry": mapping(shape),
            "properties": {"classification": {"name": of}, **({"name": title} if title else {})},
        }
        for shape, of, title in drawn
    ]
    (tmp_path / "rois.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    run(image, tmp_path / "out", roi=tmp_path / "rois.geojson")
    file = tmp_path / "out" / "regions" / "field.geojson"
    written = read_geojson_rois(file)
    assert [(str(roi.kind), roi.title) for roi in written] == [
        ("tumour", "left"),
        ("tumour", "Tumor"),
        ("exclude", "Fold"),
    ]
    assert all(roi.geometry.equals(shape) for roi, (shape, _, _) in zip(written, drawn, strict=True))
    names, _ = drawn_in(tmp_path / "out")
    assert list(names) == ["left", "Tumor", "Fold"]
    assert names["left"]["told"][0].startswith("TPS ")
    before = file.read_bytes()
    file.unlink()
    run(image, tmp_path / "out", resume=True, roi=tmp_path / "rois.geojson")
    assert file.read_bytes() == before


def test_the_overlay_of_an_image_has_the_lines_of_its_regions(tmp_path):
    """In the report they stand in for an image that moved."""
    image = draw_tile(tmp_path / "field.png", size=128)
    feature = {"type": "Feature", "geometry": mapping(box(10, 10, 118, 118)), "properties": {"classification": "Tumor"}}
    (tmp_path / "rois.geojson").write_text(json.dumps(feature))
    run(image, tmp_path / "out", roi=tmp_path / "rois.geojson")
    with PillowImage.open(tmp_path / "out" / "overlays" / "field.png") as overlay:
        picture = np.asarray(overlay.convert("RGB")).astype(int)
    scale = 512 / 128
    left = (picture.shape[1] - 512) // 2
    line = picture[int(10 * scale), left + int(12 * scale) : left + int(116 * scale)]
    assert (np.abs(line - STYLES["tumour"].rgb).max(axis=1) < 30).mean() > 0.9


def test_legend_names_the_kinds_of_regions_that_are_there():
    legend = region_legend(["tumour", "exclude", "exclude"])
    assert [(entry.name, entry.n_cells) for entry in legend if entry.n_cells] == [
        ("Tumour region", 1),
        ("Region left out", 2),
    ]
    drawn = draw_caption(Caption(title="a", score="b", rules="c"), legend, width=900, um_per_px=0.5)
    without = draw_caption(Caption(title="a", score="b", rules="c"), [], width=900, um_per_px=0.5)
    assert drawn.shape[0] > without.shape[0]


def test_holes_parts_and_cores_survive_the_file(tmp_path):
    parts = MultiPolygon([RING, box(400, 0, 450.125, 40)])
    core = array_of_cores(2)[1]
    write_regions(
        [OutlinedRegion(kind="include", name="roi", class_name="", geometry=parts), core],
        tmp_path / "a.geojson",
        image_id="1",
    )
    both, circle = read_geojson_rois(tmp_path / "a.geojson")
    assert shapely.hausdorff_distance(both.geometry, parts) < 0.01
    assert (str(both.kind), both.name, circle.name, circle.title) == ("include", "roi", "TMA core", "A-2")


# --- in a picture ----------------------------------------------------------------------------------------------------
def test_a_circle_on_tissue_is_a_circle_where_pixels_are_oblong():
    ellipse = shapely.transform(Point(0, 0).buffer(40), lambda points: points * (1, 2) + (100, 100))
    shot = picture(scale_x=2.0, scale_y=4.0)
    (ring,) = rings_of(fitted([shown(ellipse)], shot).entries[0])
    assert np.hypot(*(ring - (50, 25)).T) == pytest.approx(20, abs=TOLERANCE_PX + 0.1)


def test_outlines_keep_their_holes_and_lie_within_half_a_pixel():
    (entry,) = fitted([shown(RING)], picture(600, 600)).entries
    outer, hole = rings_of(entry)
    assert shapely.hausdorff_distance(shapely.linearrings(outer), RING.exterior) < TOLERANCE_PX + 0.1
    assert shapely.hausdorff_distance(shapely.linearrings(hole), RING.interiors[0]) < TOLERANCE_PX + 0.1
    assert len(outer) < len(RING.exterior.coords)


def test_what_lies_outside_is_cut_where_nobody_can_look_and_counted_where_all_of_it_does():
    regions = [shown(box(150, 50, 99_999, 80)), shown(box(500, 0, 600, 50)), shown(box(-80, 10, 20, 20))]
    found = fitted(regions)
    assert found.n_outside == 1
    first, second = (np.vstack(rings_of(entry)) for entry in found.entries)
    assert first[:, 0].max() == 400
    assert second[:, 0].min() == -80


def test_outlines_of_a_hundred_thousand_corners_are_bounded_and_say_how_far_they_are_off():
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 60_000, endpoint=False)
    radius = 900 + rng.normal(0, 3, angle.size)
    ragged = shapely.Polygon(np.column_stack([1000 + radius * np.cos(angle), 1000 + radius * np.sin(angle)])).buffer(0)
    specks = MultiPolygon([box(x, y, x + 1, y + 1) for x in range(0, 2000, 20) for y in range(0, 2000, 20)])
    found = fitted([shown(ragged), shown(specks, "exclude")], picture(2000, 2000), max_corners=3000)
    assert sum(len(ring) // 2 for entry in found.entries for ring in entry["rings"]) <= 3000
    assert found.tolerance_px > TOLERANCE_PX
    assert len(found.entries) == 2
    assert len(json.dumps(found.entries)) < 40_000


def test_of_very_many_regions_the_largest_are_outlined_and_no_sliver_breaks_the_page(monkeypatch):
    monkeypatch.setattr("pdl1quant.report.regions.MAX_REGIONS", 10)
    sides = np.random.default_rng(0).permutation(np.arange(1, 31))
    found = fitted([shown(box(0, 0, side, side)) for side in sides.tolist()])
    assert sorted(np.ptp(np.vstack(rings_of(entry)), axis=0).max() for entry in found.entries) == list(range(21, 31))
    assert (found.n_small, found.n_outside) == (20, 0)
    sliver = fitted([shown(shapely.Polygon([(10, 10), (60, 10), (60, 10.0000001)]))])
    assert all(ring for entry in sliver.entries for ring in entry["rings"])


# --- on a sheet ------------------------------------------------------------------------------------------------------
def lines(kind, geometry=None):
    geometry = geometry or box(20, 20, 180, 80)
    return draw_regions(picture(), [shown(geometry, kind)]).min(axis=2) < 128


def test_kinds_of_regions_are_told_apart_by_their_lines_alone():
    drawn = {kind: lines(kind) for kind in STYLES}
    top = {kind: mask[16:25, 30:170] for kind, mask in drawn.items()}
    gaps = {kind: (~mask.any(axis=0)).sum() for kind, mask in top.items()}
    assert gaps["tumour"] == gaps["exclude"] == gaps["core"] == 0
    assert gaps["include"] > 10
    assert top["tumour"].sum() > 1.8 * top["core"].sum()
    assert drawn["exclude"][24:27, 30:170].any()
    assert not drawn["exclude"][12:16, 30:170].any()
    assert not drawn["core"][24:27, 30:170].any()
    looks = {(style.width_px, style.dash_px, style.has_ticks) for style in STYLES.values()}
    assert len(looks) == len(STYLES)


def test_ticks_point_away_from_a_hole():
    mask = lines("exclude", box(5, 5, 195, 95).difference(box(60, 30, 140, 70)))
    assert mask[24:27, 70:130].any()
    assert not mask[34:66, 66:134].any()


def test_lines_ask_for_nothing_that_the_oldest_shapely_lacks(monkeypatch):
    """`orient_polygons` came with 2.1; we promise 2.0.6."""
    monkeypatch.delattr(shapely, "orient_polygons", raising=False)
    assert lines("exclude", box(5, 5, 195, 95).difference(box(60, 30, 140, 70))).any()


def test_a_region_partly_outside_the_picture_is_drawn_to_its_border():
    mask = lines("tumour", box(150, 40, 400, 60))
    assert mask[40, 160:200].all()


def test_names_that_would_cover_another_are_left_out():
    blank = np.full((100, 400, 3), 255, np.uint8)
    names = [("first", 50.0, 50.0), ("second", 60.0, 55.0), ("third", 300.0, 50.0)]
    assert [name for name, _, _ in names_apart(blank, names, size_px=16)] == ["first", "third"]
    assert (draw_names(blank, names[:1], size_px=16) < 128).any()


# --- in a report -----------------------------------------------------------------------------------------------------
def test_regions_are_in_the_viewer_on_the_sheet_and_in_its_legend(tmp_path):
    out = make_cohort(tmp_path, ["case"])
    _, without = drawn_in(out)
    draw_on(out, DRAWN)
    names, first = drawn_in(out)
    kinds = [first.data["styles"][each["kind"]]["kind"] for each in names.values()]
    assert kinds == ["tumour", "include", "exclude"]
    assert len(names["Tumor <b>"]["rings"]) == 2
    assert names["Necrosis"]["told"] == ["Cells in it are not counted"]
    assert [style.name for style in first.styles] == ["Tumour region", "Region to score", "Region left out"]
    assert (without.sheet, without.thumb) != (first.sheet, first.thumb)
    assert without.styles == ()
    page = write_report(out).report.read_text()
    printed = page.split('<article class="sheet paper-only"')[1].split("</article>")[0]
    assert all(f"</svg>{name}</li>" in printed for name in ("Tumour region", "Region to score", "Region left out"))
    assert "Tumor <b>" not in page
    table = printed.split('<section class="sheet-regions paper">')[1].split("</section>")[0]
    assert all(name in table for name in ("Tumor &lt;b&gt;", "scored"))
    assert "data-region" not in table


def test_a_core_says_whose_it_is(tmp_path):
    out = make_cohort(tmp_path, ["slide"])
    draw_on(out, array_of_cores(2), kind="control")
    names, _ = drawn_in(out)
    assert [(name, each["note"]) for name, each in names.items()][:2] == [
        ("A-1", "slide (control)"),
        ("A-2", "slide (control)"),
    ]


def test_an_array_that_the_map_does_not_name_is_not_said_to_be_shared_out(tmp_path):
    """Of two microarrays the map may name the cores of one."""
    out = make_cohort(tmp_path, ["mapped", "unmapped"])
    for number in range(2):
        draw_on(out, array_of_cores(2), number=number)
    rows = read_scores(out / "scores.csv")
    as_array = {"level": "array", "evaluable": None}
    write_scores([replace(row, **(as_array if row.level == "case" else {})) for row in rows], out / "scores.csv")
    record = json.loads((out / "run.json").read_text())
    core = {"results": "field_0", "core": "A-1", "case": "P1", "kind": "tissue", "found": True}
    record["tma_map"] = {"name": "map.csv", "cores": [core]}
    (out / "run.json").write_text(json.dumps(record))
    written = write_report(out)
    mapped, unmapped = (page.read_text() for page in sorted(written.pages))
    assert "of several cases, each with a row and a page of its own" in mapped
    assert "of all cores; no map says whose each core is" in unmapped
    _, *table = written.report.read_text().split('data-name="')
    assert [part.split('"')[0] for part in table] == ["unmapped (all cores)"]
    assert "too few" not in table[0].split("</tr>")[0]


def test_regions_of_a_review_are_shown_as_they_are_now(tmp_path):
    out = make_cohort(tmp_path, ["case"])
    review = open_review(out, "field_0")
    kept = review.edit(EditKind.ROI, to=str(RoiRule.EXCLUDE), geometry=mapping(box(0, 0, 50, 50)), reviewer="Ada")
    review.edit(EditKind.REDRAW, to=kept.id, geometry=mapping(box(100, 100, 200, 200)), reviewer="Ada")
    review.edit(EditKind.ROI, to=str(RoiRule.ONLY), geometry=mapping(box(0, 0, 400, 400)), reviewer="Ada")
    review.edit(EditKind.ROI, to=str(RoiRule.INCLUDE), geometry=mapping(box(0, 0, 30, 30)), reviewer="Ada")
    review.undo(reviewer="Ada")
    names, first = drawn_in(out)
    assert list(names) == ["review: left out", "review: only this counts"]
    assert "field_0.png: regions of its review are outlined; the cells are shown as the run left them." in first.remarks
    (ring,) = rings_of(names["review: left out"])
    assert (ring.min(), ring.max()) == (100, 200)
    assert first.data["styles"][names["review: left out"]["kind"]]["kind"] == "exclude"


def test_what_was_drawn_when_it_was_scored_is_not_said_to_show_a_review(tmp_path):
    image = draw_tile(tmp_path / "tiles" / "field.png", size=128)
    run(image, tmp_path / "out")
    review = open_review(tmp_path / "out", "field")
    review.edit(EditKind.ROI, to=str(RoiRule.EXCLUDE), geometry=mapping(box(0, 0, 50, 50)), reviewer="Ada")
    image.unlink()
    _, first = drawn_in(tmp_path / "out")
    assert any("what was drawn then is shown" in remark for remark in first.remarks)
    assert not any("regions of its review" in remark for remark in first.remarks)


@pytest.mark.parametrize("damage", ["lost", "damaged"])
def test_a_file_of_regions_that_is_gone_is_said_and_costs_no_report(tmp_path, damage):
    out = make_cohort(tmp_path, ["case"])
    draw_on(out, DRAWN)
    file = out / "regions" / "field_0.geojson"
    file.unlink() if damage == "lost" else file.write_text("{")
    page = write_report(out).report.read_text()
    assert "field_0.png: its regions are not outlined: regions/field_0.geojson is missing or damaged; score the" in page
    assert str(tmp_path) not in page


def test_edits_of_other_results_cost_no_outline_of_the_run(tmp_path):
    out = make_cohort(tmp_path, ["case"])
    draw_on(out, DRAWN)
    open_review(out, "field_0").edit(EditKind.SIGN, reviewer="Ada")
    ledger = ledger_path(out, "field_0")
    ledger.write_text(ledger.read_text().replace(open_results(out).images[0].sha256, "0" * 64))
    names, first = drawn_in(out)
    assert len(names) == 3
    assert "the regions of its review are not outlined" in first.remarks[0]


def test_a_region_without_a_score_says_so():
    row = ScoreRow(level="core", image="a", case="b", status=Status.NO_TISSUE, region="A-1")
    assert region_score(row) == ("TPS not defined; 0 tumour cells", "no tissue")


def test_five_hundred_cores_take_little_room(tmp_path):
    out = make_cohort(tmp_path, ["slide"])
    plain = write_report(out).report.stat().st_size
    draw_on(out, array_of_cores(23))
    names, first = drawn_in(out)
    assert len(names) == 529
    assert not [remark for remark in first.remarks if "corners" in remark]
    assert write_report(out).report.stat().st_size - plain < 600_000
