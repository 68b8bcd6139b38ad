"""Microarrays from file to rows: a row a core, named as it lies; what lies between the cores does not count."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import phantom_slides
from batch_runs import Deaf, rows_of, run
from pdl1quant.batch import find_rules
from pdl1quant.config import load_config
from pdl1quant.console import case_lines, end_lines
from pdl1quant.errors import ReviewError
from pdl1quant.exports.ro_crate import describe
from pdl1quant.model import EXCLUDING_FLAGS, CellClass, Counts, Flag, Status
from pdl1quant.outputs.cells_in_parts import open_cells
from pdl1quant.outputs.scores_table import read_scores
from pdl1quant.outputs.tables import read_cells, write_cells
from pdl1quant.pipeline import CaseMember, score_case
from pdl1quant.report.gather import load_case, open_run
from pdl1quant.review import EditKind, MadeCell, Review, open_case, open_results, rescore
from pdl1quant.review.cores import review_core_case
from pdl1quant.review.region_scores import review_regions
from pdl1quant.slides.roi_file import read_geojson_rois
from pdl1quant.whole_slides.scoring import Tally
from pdl1quant.whole_slides.waiting import flag_far_cells
from test_nests import bands_of
from test_score_parts import PARTS, assert_dense, assert_recounted

CONFIG = load_config(None, ["nuclei.segmenter=watershed", "tiling.tile_px=1024"])
BARE = load_config(None, ["nuclei.segmenter=watershed", "tiling.tile_px=1024", "tiling.outlines=false"])
CORE_PX, STEP_PX = 760, 1050
CENTRES = {"A-1": (620, 600), "A-2": (1670, 640), "B-2": (1640, 1690), "B-3": (2690, 1730), "A-3": (2720, 680)}


@pytest.fixture(scope="module")
def image():
    """Two rows of three, turned by 2 degrees, the first core of the second row lost; a shred between them."""
    width, height = 3300, 2300
    rgb, tissue = phantom_slides.glass(width, height), phantom_slides.tissue(width, height)
    cores = np.zeros((height, width), np.uint8)
    for x, y in CENTRES.values():
        cv2.circle(cores, (x, y), CORE_PX // 2, 1, -1)
    cv2.circle(cores, (1150, 1150), 70, 1, -1)
    return np.where(cores[:, :, None] > 0, tissue, rgb)


@pytest.fixture(scope="module")
def path(image, tmp_path_factory):
    return phantom_slides.write_slide(tmp_path_factory.mktemp("slides") / "array.tif", image)


@pytest.fixture(scope="module")
def scored(path, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "out"
    run(path, out, config=CONFIG, mpp=None, is_array=True)
    return out


def test_each_core_has_a_row_with_its_cells(scored):
    rows = rows_of(scored, "core")
    cells = read_cells(scored / "cells" / "array.parquet")
    assert [row.region for row in rows] == ["A-1", "A-2", "A-3", "B-2", "B-3"]
    for row in rows:
        x, y = CENTRES[row.region]
        inside = np.hypot(cells["x_px"] - x, cells["y_px"] - y) <= CORE_PX / 2 + 10
        assert row.status in (Status.OK, Status.PARTIAL)
        assert row.n_cells == pytest.approx(inside.sum(), rel=0.01)
        assert row.n_cells > 200


def test_cores_add_up_to_the_slide_and_what_lies_between_is_outside(scored):
    (image,), rows = rows_of(scored, "image"), rows_of(scored, "core")
    cells = read_cells(scored / "cells" / "array.parquet")
    shred = np.hypot(cells["x_px"] - 1150, cells["y_px"] - 1150) <= 80
    for name in ("n_tumour", "n_grade_1", "n_grade_2", "n_grade_3"):
        assert sum(getattr(row, name) for row in rows) == getattr(image, name)
    for row in (image, *rows, *rows_of(scored, "array")):
        assert_recounted(row)
        assert_dense(row, row.tumour_cells_mm2, row.n_tumour)
    assert sum(row.tissue_mm2 for row in rows) == pytest.approx(image.tissue_mm2, abs=5e-4)  # written with 4 decimals
    stained = sum(row.tissue_mm2 * row.dab_area_pct for row in rows)
    assert stained / sum(row.tissue_mm2 for row in rows) == pytest.approx(image.dab_area_pct, abs=0.05)
    assert ((cells["flags"][shred] & int(Flag.OUTSIDE_ROI)) > 0).all()


def test_the_picture_has_the_cores(scored):
    picture = cv2.imread(str(scored / "overlays" / "array.png"))[:, :, ::-1]
    left = (picture.shape[1] - 825) // 2  # pixels of 2 um, centred on the caption
    for core in read_geojson_rois(scored / "regions" / "array.geojson"):
        x, y = (np.array(core.geometry.exterior.coords)[:-1] / 4).astype(int).T
        assert np.median(picture[y, left + x].max(axis=1)) < 150


def test_a_slide_without_cores_is_refused_with_what_to_do(tmp_path):
    rgb = phantom_slides.glass(2000, 1200)
    rgb[300:600] = phantom_slides.tissue(2000, 300)
    path = phantom_slides.write_slide(tmp_path / "strip.tif", rgb)
    run(path, tmp_path / "out", config=BARE, mpp=None, is_array=True)
    (row,) = rows_of(tmp_path / "out", "image")
    assert row.status is Status.REFUSED
    assert "--tma" in row.error


def region(name, x0, y0, x1, y1):
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}


@pytest.fixture(scope="module")
def unmapped(path, tmp_path_factory):
    """Tumour was drawn, and an indication given: all that a call asks for but to know whose the cores are.

    Half of A-2 is left out.
    """
    folder = tmp_path_factory.mktemp("unmapped")
    x, y = CENTRES["A-2"]
    drawn = [region("Tumor", 0, 0, 3300, 2300), region("Ignore*", x, y - 500, x + 500, y + 500)]
    (folder / "tumour.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": drawn}))
    pack, indication = find_rules("28-8-label", "melanoma")
    listener = Deaf()
    how = {"config": BARE, "mpp": None, "is_array": True, "roi": folder / "tumour.geojson"}
    summary = run(path, folder / "out", listener=listener, pack=pack, indication=indication, **how)
    return folder / "out", listener, summary


def test_a_region_leaves_its_part_out_of_a_core(scored, unmapped):
    before, after = ({row.region: row.n_tumour for row in rows_of(out, "core")} for out in (scored, unmapped[0]))
    assert 0 < after["A-2"] < 0.75 * before["A-2"]
    assert {name: after[name] for name in after if name != "A-2"} == {
        name: before[name] for name in before if name != "A-2"
    }


def test_without_a_map_all_cores_together_are_no_case_and_have_no_call(unmapped):
    out, _, _ = unmapped
    (row,), cores = rows_of(out, "array"), rows_of(out, "core")
    assert rows_of(out, "case") == []
    assert row.n_tumour == sum(core.n_tumour for core in cores) > 100
    assert (row.evaluable, row.calls) == (None, ())
    assert "no_core_map" in row.flags
    assert "tumour_unconfirmed" not in row.flags
    assert len(cores) == 5
    assert not any("no_core_map" in core.flags for core in cores)
    assert {core.case for core in cores} == {""}


def test_console_report_and_review_say_why_an_array_without_a_map_has_no_call(unmapped):
    out, listener, summary = unmapped
    (report,) = listener.reports
    head, *remarks = case_lines(report)
    assert head.startswith(f"{report.case}  TPS per 28-8 label")
    assert report.case.endswith("(all cores)")
    assert any("--tma-map" in remark for remark in remarks)
    assert "no map says whose each is (--tma-map)" in report.no_call
    assert "Notes:" in end_lines(summary)
    page = " ".join((out / "report.html").read_text().split())
    assert "no map of the cores" in page
    assert "no map says whose each is (--tma-map)" in page
    assert "of all cores; no map says whose each core is" in page
    assert "of several cases, each with a row" not in page
    reviewed = [row for row in rescore(out).rows if row.level == "array"]
    assert [row.reviewed_calls for row in reviewed] == [()]
    assert "no_core_map" in reviewed[0].reviewed_flags


def test_arrays_without_a_map_stand_in_the_table_of_the_report(image, tmp_path):
    """With a map their cases do."""
    two_cores = image[:1070, :2200]
    for name in "ab":
        (tmp_path / "in" / name).mkdir(parents=True)
        phantom_slides.write_slide(tmp_path / "in" / name / f"{name}.tif", two_cores)
    run(tmp_path / "in", tmp_path / "out", config=BARE, mpp=None, is_array=True)
    cohort = (tmp_path / "out" / "report.html").read_text()
    assert [part.split('"')[0] for part in cohort.split('data-name="')[1:]] == ["a (all cores)", "b (all cores)"]
    assert "Microarrays, with the names of their cores" not in cohort
    assert "<dt>Cases</dt><dd>0</dd>" in cohort
    assert "<dt>Microarrays</dt><dd>2</dd>" in cohort
    assert cohort.count('data-status="array"') == 2
    assert ">2 rows</p>" in cohort
    what = describe(open_results(tmp_path / "out"))
    assert "of 2 microarrays on 2 images, measured" in what


MAP = "core,case,kind,block\nA-1,P1,,b7\nA-2,P1,,b7\nA-3,liver,control,\nB-1,P1,,b7\nB-2,P2,,b8\nB-3,P2,missing,b8\n"


@pytest.fixture(scope="module")
def mapped(path, scored, tmp_path_factory):
    """The same results shared out to cases by a map: measured before, only pooled anew; and what was told."""
    folder = tmp_path_factory.mktemp("mapped")
    shutil.copytree(scored, folder / "out")
    (folder / "map.csv").write_text(MAP)
    listener = Deaf()
    how = {"config": CONFIG, "mpp": None, "is_array": True, "resume": True}
    run(path, folder / "out", listener=listener, core_map=folder / "map.csv", **how)
    return folder / "out", listener


def test_a_map_shares_the_cores_out_to_cases(scored, mapped):
    out, listener = mapped
    alone = {row.region: row for row in rows_of(scored, "core")}
    cores = {row.region: row for row in rows_of(out, "core")}
    assert {name: row.case for name, row in cores.items()} == {
        "A-1": "P1", "A-2": "P1", "A-3": "liver", "B-2": "P2", "B-3": "",
    }  # fmt: skip
    for name, row in cores.items():
        assert (row.n_tumour, row.tps, row.tps_low) == (alone[name].n_tumour, alone[name].tps, alone[name].tps_low)
    first, second = rows_of(out, "case")
    assert (first.case, second.case) == ("P1", "P2")
    assert first.n_tumour == cores["A-1"].n_tumour + cores["A-2"].n_tumour > 100
    assert first.n_tumour_positive == cores["A-1"].n_tumour_positive + cores["A-2"].n_tumour_positive
    assert first.tps == pytest.approx(100 * first.n_tumour_positive / first.n_tumour, abs=1e-4)
    assert first.tps_low < first.tps < first.tps_high
    assert first.evaluable
    bare = [cores[name].brown_without_cells_pct for name in ("A-1", "A-2")]
    assert min(bare) <= first.brown_without_cells_pct <= max(bare)
    assert second.brown_without_cells_pct == cores["B-2"].brown_without_cells_pct
    assert first.error == "1 of 3 cores not on the slide: B-1"
    assert first.extra == {"kind": "", "block": "b7"}
    assert second.n_tumour == cores["B-2"].n_tumour
    assert "cores_unlike_map" in first.flags
    told = [line for line in listener.complaints if line.startswith("array.tif")]
    assert len(told) == 3
    assert [report.noun for report in listener.reports] == ["image", "core", "core"]


def test_all_cores_of_several_cases_together_are_no_case(scored, mapped):
    out, _ = mapped
    (row,), (before,) = rows_of(out, "array"), rows_of(scored, "array")
    assert (row.case, row.n_tumour, row.tps) == (before.case, before.n_tumour, before.tps)
    assert (row.evaluable, row.calls) == (None, ())
    assert "cores_unlike_map" in row.flags
    assert "no_core_map" not in row.flags


def test_a_resumed_run_with_another_map_measures_nothing_and_keeps_nothing_of_the_first(path, mapped, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(mapped[0], out)
    (tmp_path / "other.csv").write_text("core,case\nA-1,Q\nA-2,Q\nA-3,Q\nB-2,Q\nB-3,Q\n")
    cells = out / "cells" / "array.parquet"
    before = cells.stat().st_mtime_ns
    how = {"config": CONFIG, "mpp": None, "is_array": True, "resume": True}
    listener = Deaf()
    run(path, out, core_map=tmp_path / "other.csv", listener=listener, **how)
    (case,), (array,) = rows_of(out, "case"), rows_of(out, "array")
    assert cells.stat().st_mtime_ns == before
    assert (case.case, case.n_tumour, case.error) == ("Q", array.n_tumour, "")
    assert "cores_unlike_map" not in case.flags
    assert listener.complaints == []
    record = json.loads((out / "run.json").read_text())["tma_map"]
    assert record["name"] == "other.csv"
    assert {(core["core"], core["case"], core["found"]) for core in record["cores"]} >= {("A-1", "Q", True)}
    assert "P1" not in (out / "scores.csv").read_text()


def test_the_report_has_a_page_for_each_case_of_cores_and_one_with_the_names_of_all(mapped):
    out, _ = mapped
    cohort = (out / "report.html").read_text()
    names = [part.split('"')[0] for part in cohort.split('data-name="')[1:]]
    assert names == ["P1", "P2"]
    assert "<dt>Cases</dt><dd>2</dd>" in cohort
    assert "<dt>Microarrays</dt><dd>1</dd>" in cohort
    assert ">2 cases</p>" in cohort
    assert "of 2 cases and 1 microarray on 1 image, measured" in describe(open_results(out))
    array, first, second = (page.read_text() for page in sorted((out / "report").glob("*.html")))
    assert min((out / "report").glob("*.html")).name in cohort
    (whole, *_) = json.loads(array.split('id="data">')[1].split("</script>")[0])["pictures"]
    assert [(each["name"], each["note"]) for each in whole["regions"]] == [
        ("A-1", "P1"),
        ("A-2", "P1"),
        ("A-3", "liver (control)"),
        ("B-2", "P2"),
        ("B-3", "missing"),
    ]
    assert "of several cases, each with a row and a page of its own" in array
    assert "too few tumour cells" not in array
    tables = [page.split('aria-label="Regions and cores"')[1].split("</table>")[0] for page in (array, first, second)]
    cores = [[part.split("<")[0].split(">")[1] for part in table.split('<th scope="row"')[1:]] for table in tables]
    assert cores == [["A-1", "A-2", "A-3 (control)", "B-2", "B-3 (missing)"], ["A-1", "A-2"], ["B-2"]]
    assert "<td>liver</td>" in tables[0]
    assert "1 of 3 cores not on the slide: B-1" in first
    assert "cores unlike map" in first
    link = min((out / "report").glob("*.html")).name
    assert f'Its cores are on <a href="{link}#h-viewer">array.tif</a>' in first
    assert ["SHA-256 of the images" in page for page in (array, first)] == [True, False]
    assert "TPS of each core" in first


# --- reviewed --------------------------------------------------------------------------------------------------------
NUMBERS = ("tps", "tps_low", "tps_high", "cps", "cps_low", "cps_high", "h_score", "n_tumour", "n_tumour_positive")


def named(rows):
    """Rows of the slide, its cores and cases, by level and name; all cores together have none."""
    return {(row.level, row.region or (row.case if row.level == "case" else "")): row for row in rows}


def open_array(out):
    results = open_results(out)
    return Review(results, results.image("array.tif"))


def tumour_of(review, name):
    """Ids of the viable tumour cells in a core."""
    x, y = CENTRES[name]
    cells = review.cells
    inside = np.hypot(cells["x_px"] - x, cells["y_px"] - y) < CORE_PX / 2
    viable = (cells["flags"] & int(EXCLUDING_FLAGS)) == 0
    return review.ids(np.flatnonzero(inside & viable & (cells["cell_class"] == "tumour")))


@pytest.fixture
def copied(mapped, tmp_path):
    shutil.copytree(mapped[0], tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def edited(copied):
    """Half of the tumour cells of A-1 are none, others of it are gone or brown, and a cell was added in B-2."""
    review = open_array(copied)
    ids = tumour_of(review, "A-1")
    review.edit(EditKind.CLASS, reviewer="Ada", cells=ids[::2], to="stroma")
    review.edit(EditKind.DELETE, reviewer="Ada", cells=ids[1:9:2])
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=ids[9:61:2], to=True)
    x, y = CENTRES["B-2"]
    made = MadeCell(x_px=x, y_px=y, cell_class=CellClass.TUMOUR, positive=True)
    review.edit(EditKind.ADD, reviewer="Ada", made=[made])
    return copied


def test_without_edits_cores_and_their_cases_are_reviewed_as_the_run_scored_them(copied):
    automated, rows = named(read_scores(copied / "scores.csv")), named(rescore(copied).rows)
    assert rows.keys() == automated.keys()
    assert [level for level, _ in rows] == ["image", *["core"] * 5, "array", "case", "case"]
    for name, row in rows.items():
        told = automated[name]
        assert_recounted(row, reviewed=True)
        for each in (
            *NUMBERS,
            *PARTS,
            "tumour_cells_mm2",
            "brown_without_cells_pct",
            "dab_area_pct",
            "tumour_dab_area_pct",
        ):
            assert getattr(row, f"reviewed_{each}") == pytest.approx(getattr(told, each), abs=1e-4), (name, each)
        assert (row.reviewed_flags, row.n, row.n_edits) == (told.flags, told.n_cells, 0), name
        assert row.reviewed_evaluable == told.evaluable
    results = open_results(copied)
    foreign = replace(results.case_rows[0], case="an array without cores of it")
    results = replace(results, case_rows=(*results.case_rows, foreign))
    with pytest.raises(ReviewError, match=rf"is pooled from cores of a microarray.*give {results.images[0].case}$"):
        open_case(results, "P1")


def test_an_edit_of_a_core_is_counted_in_its_row_and_in_that_of_its_case_alone(edited):
    before, rows = named(read_scores(edited / "scores.csv")), named(rescore(edited).rows)
    lost = before["core", "A-1"].n_tumour - rows["core", "A-1"].reviewed_n_tumour
    assert lost > 20
    assert before["case", "P1"].n_tumour - rows["case", "P1"].reviewed_n_tumour == lost
    assert rows["case", "P1"].reviewed_tps > before["case", "P1"].tps
    for name in (("core", "B-2"), ("case", "P2")):
        assert rows[name].reviewed_n_tumour == before[name].n_tumour + 1
        assert rows[name].reviewed_n_tumour_positive == before[name].n_tumour_positive + 1
    for name in (("core", "A-2"), ("core", "A-3"), ("core", "B-3")):
        assert rows[name].reviewed_tps == pytest.approx(before[name].tps, abs=1e-4)
    n_edits = {name: row.n_edits for name, row in rows.items()}
    assert n_edits == {
        ("image", ""): 4, ("core", "A-1"): 3, ("core", "A-2"): 0, ("core", "A-3"): 0, ("core", "B-2"): 1,
        ("core", "B-3"): 0, ("array", ""): 4, ("case", "P1"): 3, ("case", "P2"): 1,
    }  # fmt: skip
    assert rows["case", "P1"].reviewers == ("Ada",)
    assert "cores_unlike_map" in rows["case", "P1"].reviewed_flags


def test_the_reviewed_cases_of_cores_are_those_of_a_run_which_calls_the_cells_so(edited):
    review, rows = open_array(edited), named(rescore(edited).rows)
    results, cells = review.results, review.state.counted()
    cells = cells.assign(flags=cells["flags"] & ~int(Flag.FAR_FROM_TUMOUR)).sort_values(["y_px", "x_px"])
    slide = SimpleNamespace(width=3300, height=2300, **review.sides_um)
    tally = Tally(slide=slide, config=CONFIG, pack=results.pack, rois=review.rois)
    grid = SimpleNamespace(height=2300, downsample_y=1.0)
    for band in flag_far_cells(bands_of(cells, 1024, 1.0, 2301), grounds=tally.grounds, grid=grid):
        tally.add(band)
    has_nest = [ground.has_nest for ground in tally.grounds]
    regions = tally.regions.scores(flags=(), has_tumour_roi=False, px_um2=0.25, core_nests=has_nest)
    of_core = {region.name: region for region in regions}
    estimate = results.estimates[review.image.case]
    for case, names in {"P1": ("A-1", "A-2"), "P2": ("B-2",)}.items():
        members = [CaseMember(blocks=of_core[name].blocks, has_nests=of_core[name].has_nests) for name in names]
        expected = score_case(members, estimate=estimate, config=CONFIG, pack=results.pack)
        row = rows["case", case]
        for each in NUMBERS[:7]:
            assert getattr(row, f"reviewed_{each}") == pytest.approx(getattr(expected, each), abs=1e-9), each
        assert row.reviewed_n_tumour == sum(of_core[name].counts.n_tumour for name in names)
        counts = review_core_case(results, results.case_row(case), {"array": review_regions(review)}).counts
        assert counts.positive == sum((of_core[name].counts for name in names), Counts()).positive
        assert counts.positive.immune > 0 or case == "P2"


def test_who_signs_the_slide_confirms_the_cases_of_its_cores(edited):
    assert "tumour_unconfirmed" in named(rescore(edited).rows)["case", "P1"].reviewed_flags
    open_array(edited).edit(EditKind.SIGN, reviewer="Ada")
    row = named(rescore(edited).rows)["case", "P1"]
    assert (row.signed, "tumour_unconfirmed" in row.reviewed_flags) == (("Ada",), False)


def test_the_report_says_which_cases_of_cores_were_edited_since(edited):
    def is_edited_since():
        opened = open_run(edited)
        return {row.case: load_case(opened, row).is_edited_since for row in opened.case_rows if row.level == "case"}

    assert is_edited_since() == {"P1": True, "P2": True}
    rescore(edited)
    assert is_edited_since() == {"P1": False, "P2": False}
    review = open_array(edited)
    review.edit(EditKind.DELETE, reviewer="Ada", cells=tumour_of(review, "B-2")[:1])
    assert is_edited_since() == {"P1": True, "P2": True}


def test_edits_that_cannot_be_applied_leave_the_cases_of_their_slide_unscored(edited):
    (ledger,) = (edited / "edits").glob("*.jsonl")
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text(lines[0].replace('cells_sha256": "', 'cells_sha256": "x') + "".join(lines[1:]))
    found = rescore(edited)
    rows = named(found.rows)
    assert found.n_failed == 1
    assert {row.status for row in rows.values()} == {Status.FAILED}
    assert rows["case", "P1"].error == rows["core", "A-1"].error == "array.tif could not be recounted; see its row"


def test_cases_of_cores_of_an_earlier_version_are_not_recounted_and_say_so(edited):
    record = json.loads((edited / "run.json").read_text())
    del record["images"][0]["cores"]
    (edited / "run.json").write_text(json.dumps(record))
    cells = edited / "cells" / "array.parquet"
    kept = {
        name: text for name, text in open_cells(cells).said.items() if name not in {"array", "width_px", "height_px"}
    }
    write_cells(read_cells(cells), cells, metadata=kept)
    rows = named(rescore(edited).rows)
    assert (rows["case", "P1"].reviewed_tps, rows["image", ""].reviewed_tps is None) == (None, False)
    assert rows["case", "P1"].error.endswith("do not say where they lie; score again")
