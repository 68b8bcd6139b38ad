"""The report of a run: whole, of the same bytes, without a network, and no text of a user becomes code."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage
from shapely import box
from shapely.geometry import mapping

import phantom_slides
from batch_runs import Deaf, claim, draw_phantom, draw_tile, draw_tiles, run
from pdl1quant.config import load_config
from pdl1quant.errors import OutputError, UsageError
from pdl1quant.exports import ExportJob, export_results
from pdl1quant.model import EXCLUDING_FLAGS, Flag
from pdl1quant.outputs.files import PROGRESS_NAME
from pdl1quant.outputs.scores_table import read_scores
from pdl1quant.outputs.tables import read_cells, read_cells_of, write_cells
from pdl1quant.report import plots, sheet, write_report
from pdl1quant.report.gather import ReportCase, ReportImage, load_case, open_run
from pdl1quant.report.lines import area_text, tissue_text
from pdl1quant.report.sheet import sheet_of
from pdl1quant.report.tiles import write_tiles
from pdl1quant.report.viewer import show_case
from pdl1quant.report.words import about_images
from pdl1quant.report.write import page_name
from pdl1quant.review import EditKind, rescore
from pdl1quant.slides.opening import open_slide
from pdl1quant.stages.score import format_interval, format_tps
from report_runs import make_cohort
from review_runs import make_results, open_review, viable

HOSTILE = "<script>alert(1)</script>\"'&=cmd|' /C calc'!A0"


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A run over one rendered field."""
    folder = tmp_path_factory.mktemp("report") / "tiles"
    folder.mkdir()
    draw_phantom(folder / "field.png")
    run(folder, folder.parent / "out")
    return folder.parent / "out"


def data_of(page):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL).group(1)
    return json.loads(text)


def test_score_writes_a_report_of_one_file_for_a_case_alone(scored):
    page = (scored / "report.html").read_text()
    assert not (scored / "report").exists()
    assert "TPS (cytoplasm)" in page
    assert "Research use only. Not for diagnosis." in page
    (picture,) = data_of(page)["pictures"]
    assert len(picture["cells"]["x"]) == len(picture["cells"]["rings"]) > 20


def test_the_picture_of_a_case_of_several_images_says_which_it_is(tmp_path):
    folder = tmp_path / "tiles"
    folder.mkdir()
    draw_phantom(folder / "one.png")
    PillowImage.open(folder / "one.png").transpose(PillowImage.Transpose.ROTATE_90).save(folder / "two.png")
    run(folder, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "one.png, one of 2 images: the score is that of all" in page


def test_an_image_that_is_there_twice_is_shown_once_and_said(tmp_path):
    folder, out = tmp_path / "tiles", tmp_path / "out"
    folder.mkdir()
    draw_phantom(folder / "one.png")
    shutil.copy(folder / "one.png", folder / "two.png")
    run(folder, out)
    page = (out / "report.html").read_text()
    assert len(data_of(page)["pictures"]) == 1
    assert "two.png: the same image as another one of the case" in html.unescape(page)
    paths, problems = export_results(ExportJob(out=out, to="csv"))
    assert ([path.stem for path in paths], problems) == (["one"], [])
    _, problems = export_results(ExportJob(out=out, to="csv", names=["two"]))
    assert problems == ["two.png: the same image as one.png, which was counted; look at that one"]


def test_a_case_that_was_not_scored_says_why_and_not_that_it_is_free_of_doubt(tmp_path):
    folder, out = tmp_path / "tiles", tmp_path / "out"
    folder.mkdir()
    for number in range(7):
        (folder / f"{number}.png").write_text("no picture")
    run(folder, out)
    page = html.unescape((out / "report.html").read_text())
    assert "No flag was raised" not in page
    assert "Nothing was judged: the case was not scored" in page
    for part in page.split('<article class="sheet')[:2]:  # on the screen and on paper
        reasons = re.search(r'<ul class="error unscored">(.*?)</ul>', part, re.DOTALL)[1]
        assert [name in reasons for name in ("0.png: not a PNG", "2.png: not", "3.png", "and 4 more")] == [1, 1, 0, 1]
    assert "<td>failed: not a PNG" in page


def test_brown_in_which_no_cell_was_found_is_not_said_to_be_no_brown(tmp_path):
    folder, out = tmp_path / "tiles", tmp_path / "out"
    folder.mkdir()
    rgb = np.full((192, 192, 3), 243, np.uint8)
    rgb[32:160, 32:160] = (131, 66, 41)
    PillowImage.fromarray(rgb).save(folder / "one.png")
    run(folder, out)
    page = html.unescape((out / "report.html").read_text())
    assert "brown without cells" in page.lower()
    assert "No cell is brown" in page
    assert "no brown was seen" not in page.lower()


def test_the_table_of_cases_says_whose_reviewed_score_leaves_edits_out(tmp_path):
    out = make_cohort(tmp_path, ["one", "two"])

    def rows():
        write_report(out)
        return re.findall(r"<tr data-sheet.*?</tr>", (out / "report.html").read_text(), re.DOTALL)

    review = open_review(out, "field_0")
    review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:3], to="stroma")
    assert ["edits not counted" in row for row in rows()] == [True, False]
    rescore(out)
    assert ["edits not counted" in row for row in rows()] == [False, False]
    review.undo(reviewer="Ada")
    assert [("reviewed: " in row, "edits not counted" in row) for row in rows()] == [(True, True), (False, False)]


def test_same_results_give_the_same_bytes(scored):
    first = (scored / "report.html").read_bytes()
    write_report(scored)
    assert (scored / "report.html").read_bytes() == first


def test_page_names_no_address_but_its_own_data(scored):
    page = (scored / "report.html").read_text()
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', own) == []
    assert "http" not in re.sub(r'http-equiv|"http://www.w3.org/2000/svg"', "", own)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_outlines_lie_on_their_cells(scored):
    (picture,) = data_of((scored / "report.html").read_text())["pictures"]
    cells = picture["cells"]
    for x, y, ring in zip(cells["x"], cells["y"], cells["rings"], strict=True):
        columns, rows = ring[0::2], ring[1::2]
        xs = [sum(columns[: k + 1]) / 10 for k in range(len(columns))]
        ys = [sum(rows[: k + 1]) / 10 for k in range(len(rows))]
        assert min(xs) - 1 <= x <= max(xs) + 1
        assert min(ys) - 1 <= y <= max(ys) + 1


def test_cohort_has_a_page_per_case(tmp_path):
    for case in ("a", "b"):
        (tmp_path / "tiles" / case).mkdir(parents=True)
        draw_phantom(tmp_path / "tiles" / case / f"{case}.png")
    run(tmp_path / "tiles", tmp_path / "out")
    pages = sorted(path.name for path in (tmp_path / "out" / "report").iterdir())
    assert pages == ["0001_a.html", "0002_b.html"]
    table = (tmp_path / "out" / "report.html").read_text()
    assert all(f'href="report/{name}"' in table for name in pages)


def test_a_report_that_is_stopped_leaves_the_earlier_one_whole(tmp_path, monkeypatch):
    out = make_cohort(tmp_path, ["one", "two"])
    write_report(out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pdl1quant.report.write.cohort_page", stop)
    with pytest.raises(KeyboardInterrupt):
        write_report(out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_page_of_others_is_not_overwritten(tmp_path):
    out = make_cohort(tmp_path, ["one", "two"])
    (out / "report").mkdir()
    mine = out / "report" / "0002_two.html"
    mine.write_text("mine")
    with pytest.raises(OutputError, match=r"0002_two\.html: lies where a result goes, but pdl1quant did not write it"):
        write_report(out)
    assert mine.read_text() == "mine"
    assert not (out / "report.html").exists()


def test_every_flag_by_which_single_cells_leave_the_score_has_its_line(tmp_path):
    out = make_cohort(tmp_path, ["one"])
    path = out / "cells" / "field_0.parquet"
    cells, said = read_cells_of(path)
    flags = [flag for flag in EXCLUDING_FLAGS if flag is not Flag.ARTEFACT]  # told of the tissue
    carried = np.repeat([int(flag) for flag in flags], range(1, len(flags) + 1))
    cells["flags"] = np.pad(carried, (0, len(cells) - len(carried)))
    write_cells(cells, path, metadata=said)
    report = open_run(out)
    case = load_case(report, report.case_rows[0])
    told = [check.text for check in sheet_of(report, case, show_case(report, case), number=1).checks]
    for n, flag in enumerate(flags, start=1):
        assert any(text.endswith(f" of cells ({n})") for text in told), flag.name


def test_images_are_listed_in_words_with_their_intervals(tmp_path):
    out = make_cohort(tmp_path, ["one"])
    page = html.unescape(write_report(out).report.read_text())
    row = next(each for each in read_scores(out / "scores.csv") if each.level == "image")
    interval = format_interval(row.tps_low, row.tps_high, dash="\N{EN DASH}")
    listed = re.search(r'<th scope="row">field_0.png</th>(.*?)</tr>', page)[1]
    assert listed.startswith("<td>scored</td>")
    assert f'<td class="num">{interval}</td>' in listed


def test_image_that_moved_is_shown_as_it_was_drawn(scored, tmp_path):
    field = scored.parent / "tiles" / "field.png"
    field.rename(tmp_path / "field.png")
    try:
        write_report(scored)
        page = (scored / "report.html").read_text()
        assert "is not where it was scored" in page
        write_report(scored, images=tmp_path)
        assert "is not where it was scored" not in (scored / "report.html").read_text()
    finally:
        (tmp_path / "field.png").rename(field)
        write_report(scored)


def test_report_that_cannot_be_written_does_not_lose_the_scores(tmp_path):
    draw_tiles(tmp_path / "tiles")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report").touch()  # a file where the pages' folder would be
    (tmp_path / "out" / "report.html").write_text("pdl1quant: earlier")
    listener = Deaf()
    summary = run(tmp_path / "tiles", tmp_path / "out", listener=listener, resume=True)
    assert (tmp_path / "out" / "scores.csv").is_file()
    (complaint,) = listener.complaints
    assert complaint.startswith("report.html: not written (")
    assert "Error" not in complaint
    assert not (tmp_path / "out" / "errors").exists()
    assert ", the one there is of an earlier run; the scores are whole" in complaint
    assert not summary.has_report


def test_hostile_names_are_text(tmp_path):
    out = make_results(tmp_path, case=HOSTILE)
    write_report(out)
    page = (out / "report.html").read_text()
    assert HOSTILE not in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize("case", [HOSTILE, "../../etc", "", "con", "a" * 300, "Fall ü"])
def test_page_names_are_harmless(case):
    name = page_name(case, 7)
    assert re.fullmatch(r"0007(_[A-Za-z0-9._-]{1,60})?\.html", name)
    assert ".." not in name


def test_folder_without_results_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no results of a finished run"):
        write_report(tmp_path)


def test_results_of_a_run_that_was_stopped_say_how_to_go_on(tmp_path):
    (tmp_path / PROGRESS_NAME).write_text("{}\n")
    with pytest.raises(UsageError, match=r"its run has not ended \(run\.json is missing\); .* with --resume to go on"):
        write_report(tmp_path)


def test_overwriting_a_run_removes_its_report(tmp_path):
    out = make_results(tmp_path)
    write_report(out)
    claim(out, overwrite=True)
    assert list(out.glob("**/*.html")) == []


def test_other_sections_are_shown_and_files_elsewhere_are_not(scored, tmp_path):
    (tmp_path / "study").mkdir()
    draw_tile(tmp_path / "study" / "he.png")
    draw_tile(tmp_path / "secret.png")
    table = tmp_path / "study" / "cases.csv"
    table.write_text("image,case,H&E section,negative\nfield.png,one,he.png,../secret.png\n")
    out = tmp_path / "out"
    run(scored.parent / "tiles", out, cases=table)
    page = (out / "report.html").read_text()
    assert page.count('alt="H&amp;E section"') == 1
    assert 'alt="negative section"' not in page


def test_reviewed_score_stands_beside_the_automated_one(tmp_path):
    out = make_results(tmp_path)
    review = open_review(out)
    review.edit(EditKind.DELETE, cells=viable(review)[:5], reviewer="A. Reader <b>")
    rescore(out, say=lambda _: None)
    write_report(out)
    page = (out / "report.html").read_text()
    assert "after 1 edit by A. Reader &lt;b&gt;; not signed. Automated:" in page


def test_report_says_when_edits_are_not_in_its_numbers(tmp_path):
    out = make_results(tmp_path)
    review = open_review(out)

    def page():
        write_report(out)
        return (out / "report.html").read_text()

    assert "edits were made" not in page()
    review.edit(EditKind.DELETE, cells=viable(review)[:5], reviewer="Ada")
    assert "edits were made that are not counted; run pdl1quant rescore" in page()
    rescore(out)
    assert "edits were made" not in page()
    review.undo(reviewer="Ada")
    review.edit(EditKind.DELETE, cells=viable(review)[:3], reviewer="Ada")
    assert "edits were made since this was counted; run pdl1quant rescore" in page()
    rescore(out)
    review.ledger.path.write_bytes(b"not a ledger\n")
    rescore(out)
    assert "the edits of this case cannot be applied" in page()


def test_report_shows_who_signed_without_an_edit(tmp_path):
    out = make_results(tmp_path)
    for name in ("a", "b"):
        open_review(out, name).edit(EditKind.SIGN, reviewer="Ada")
    rescore(out)
    write_report(out)
    assert "after 0 edits by Ada; signed by Ada." in (out / "report.html").read_text()


@pytest.fixture(scope="module")
def slide_out(tmp_path_factory):
    """A run over one small slide."""
    folder = tmp_path_factory.mktemp("slide")
    slide = phantom_slides.write_slide(folder / "slide.tif", phantom_slides.slide_image(1500, 1400))
    run(slide, folder / "out", config=load_config(None, ["nuclei.segmenter=watershed"]), mpp=None)
    return folder / "out"


def test_slide_shows_its_map_and_its_fields(slide_out):
    write_report(slide_out)
    whole, *fields = data_of((slide_out / "report.html").read_text())["pictures"]
    assert (whole["role"], "cells" in whole) == ("slide", False)
    assert whole["heat"]
    assert fields
    assert all(field["role"] == "field" and field["cells"]["x"] for field in fields)
    assert not (slide_out / "report").exists()


def test_the_sheet_of_a_slide_names_no_cells_that_it_does_not_show(slide_out, scored):
    write_report(slide_out)
    sheets = [
        (out / "report.html").read_text().split('<article class="sheet paper-only"')[1].split("</article>")[0]
        for out in (slide_out, scored)
    ]
    assert ["Tumour, negative" in sheet for sheet in sheets] == [False, True]
    assert ["with the outlines of its cells" in sheet for sheet in sheets] == [False, True]


def test_cells_read_in_small_parts_give_the_same_bytes(slide_out, monkeypatch):
    write_report(slide_out)
    whole = (slide_out / "report.html").read_bytes()
    monkeypatch.setattr("pdl1quant.outputs.cells_in_parts.PART_ROWS", 97)
    monkeypatch.setattr("pdl1quant.report.digest.HELD_CELLS", 0)
    write_report(slide_out)
    assert (slide_out / "report.html").read_bytes() == whole


def test_tiles_hold_the_whole_slide_and_every_cell(slide_out):
    write_report(slide_out, tiles=True)
    (whole,) = data_of((slide_out / "report.html").read_text())["pictures"]
    assert (whole["width"], whole["height"], whole["max_level"]) == (1500, 1400, 2)
    assert len(whole["cells"]["x"]) == len(read_cells(slide_out / "cells" / "slide.parquet"))
    tiles = sorted(path.name for path in (slide_out / whole["tiles"]).iterdir())
    assert len([name for name in tiles if name.startswith("2_")]) == 3 * 3
    with PillowImage.open(slide_out / whole["tiles"] / "2_2_2.jpg") as corner:
        assert corner.size == (1500 - 1024, 1400 - 1024)
    write_report(slide_out)
    assert not (slide_out / "report").exists()


def test_outlines_that_are_gone_are_said(scored, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(scored, out)
    (out / "geojson" / "field.geojson").unlink()
    write_report(out)
    assert "field.png: its outlines are missing or of other cells; circles" in (out / "report.html").read_text()
    assert "its outlines are missing" not in (scored / "report.html").read_text()


def test_drawn_regions_have_a_row_each(tmp_path):
    image = draw_phantom(tmp_path / "field.png")
    drawn = [(name, box(0, top, 192, top + 90)) for name, top in (("upper <b>", 0), ("lower", 96))]
    features = [
        {
            "type": "Feature",
            "geometry": mapping(shape),
            "properties": {"name": name, "classification": {"name": "Tumor"}},
        }
        for name, shape in drawn
    ]
    (tmp_path / "rois.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    run(image, tmp_path / "out", roi=tmp_path / "rois.geojson")
    rows = [row for row in read_scores(tmp_path / "out" / "scores.csv") if row.level == "roi"]
    page = (tmp_path / "out" / "report.html").read_text()
    table = page.split('aria-label="Regions and cores"')[1].split("</table>")[0]
    for row in rows:
        line = table.split(f">{html.escape(row.region)}</th>")[1].split("</tr>")[0]
        assert f'<td class="num">{row.n_tumour}</td>' in line
        assert f'<td class="num">{format_tps(row.tps)}</td>' in line
        assert f'<td class="num">{row.dab_area_pct:.1f}</td>' in line
    assert len(rows) == 2
    (image, case) = (row for row in read_scores(tmp_path / "out" / "scores.csv") if row.level != "roi")
    assert f'<td class="num">{image.dab_area_pct:.1f}</td>' in page.split('aria-label="Images of the case"')[1]
    for name, value in (("tissue", case.dab_area_pct), ("in tumour cells", case.tumour_dab_area_pct)):
        assert f"<dt>Stained {name}</dt><dd>{value:.1f} %</dd>" in page
    assert f"<dt>Tissue</dt><dd>{case.tissue_mm2:.3g} mm²</dd>" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"), (0.0, "< 0.001 mm²"), (0.057, "0.057 mm²"), (12.34, "12.3 mm²"), (99.96, "100 mm²"),
        (123.4, "123 mm²"), (1234.5, "1,234 mm²"),
    ],
)  # fmt: skip
def test_tissue_is_printed_without_powers_of_ten(value, text):
    assert tissue_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "\N{EN DASH}"), (0.0, "0.0 %"), (0.04, "< 0.1 %"), (12.34, "12.3 %"), (100.0, "100.0 %")]
)
def test_a_share_of_an_area_is_none_only_where_there_is_none(value, text):
    assert area_text(value, unit=" %") == text


def test_more_cells_than_a_page_may_hold_are_left_out_and_said(scored):
    report = open_run(scored)
    case = load_case(report, report.case_rows[0])
    shown = show_case(report, case, max_cells=10)
    assert "cells" not in shown.data["pictures"][0]
    assert "are too many for one page" in shown.remarks[0]


def test_the_pictures_of_many_images_fit_into_a_page_together(tmp_path, monkeypatch):
    report = open_run(make_cohort(tmp_path, ["case"] * 10))
    case = load_case(report, report.case_rows[0])
    whole = [each["width"] for each in show_case(report, case).data["pictures"]]
    monkeypatch.setattr("pdl1quant.report.viewer._PAGE_PX", 10 * 100**2)
    small = show_case(report, case).data["pictures"]
    assert whole == [512] * 10
    assert [(each["width"], each["height"]) for each in small] == [(100, 100)] * 10
    assert max(small[0]["cells"]["x"]) < 100


def test_what_is_said_of_many_images_is_said_once():
    remarks = {"is gone": ["a"], "is large": ["b", "c"], "is small": [f"{n}" for n in range(1500)]}
    assert about_images(remarks) == [
        "a: is gone",
        "2 images (b, c): is large",
        "1,500 images (0, 1, 2 and 1,497 more): is small",
    ]


def test_quality_says_what_was_done_to_images_on_reading():
    row, cells = object(), object()
    all_notes = [("icc_ignored", "mpp_overridden"), ("icc_ignored",), ()]
    images = [ReportImage(row=row, cells=cells, notes=notes) for notes in all_notes]
    case = ReportCase(row=row, images=tuple(images), regions=(), estimate=None, reviewed=None, companions=())
    (check,) = sheet._reading(case)
    assert (check.name, check.text) == ("On reading", "colour profile not applied (2 of 3 images)")
    assert sheet._reading(replace(case, images=(images[2],))) == []


def test_the_numbers_beside_an_axis_do_not_reach_its_title():
    bins = np.array([1_700_000, 20_000, 300, 0], np.intp)
    drawn = plots.od_histogram(bins, bins, n_tumour=1, n_others=1, cuts=())
    ticks = re.findall(r'text-anchor="end">([^<]*)<', drawn)
    assert {"1M", "500k", "50k"} <= set(ticks)
    assert max(map(len, ticks)) <= 5


def test_a_tile_takes_the_place_of_no_file_of_others(tmp_path):
    path = phantom_slides.write_slide(tmp_path / "slide.tif", phantom_slides.glass(600, 600))
    mine = tmp_path / "tiles" / "0_0_0.jpg"
    mine.parent.mkdir()
    mine.write_bytes(b"a photograph of mine")
    with open_slide(path) as slide:
        with pytest.raises(OutputError, match=r"0_0_0\.jpg: lies where a result goes"):
            write_tiles(slide, mine.parent, mpp=0.5)
        assert mine.read_bytes() == b"a photograph of mine"
        mine.unlink()
        write_tiles(slide, mine.parent, mpp=0.5)
        write_tiles(slide, mine.parent, mpp=0.5)  # its own are replaced
    assert mine.is_file()
