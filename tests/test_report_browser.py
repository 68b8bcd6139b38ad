"""The report in a real browser: quiet, without requests, usable by mouse, keyboard and on paper."""

from __future__ import annotations

import itertools
import re
import shutil
from dataclasses import replace

import pytest
import shapely
from shapely.geometry import Point, box

import gui
import phantom_slides
from batch_runs import draw_phantom, run
from pdl1quant.agreement import AgreementJob, compare_readers
from pdl1quant.config import load_config
from pdl1quant.model import ResultFlag
from pdl1quant.outputs.regions import OutlinedRegion
from pdl1quant.outputs.scores_table import read_scores, write_scores
from pdl1quant.report import write_report
from pdl1quant.report.gather import load_case, open_run
from pdl1quant.report.page import cohort_page
from pdl1quant.report.sheet import Check, sheet_of
from pdl1quant.report.viewer import show_case
from report_runs import array_of_cores, draw_on, label_rules, make_cohort

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not gui.must_run(), reason="no chromium on this machine: apt-get install chromium"
)

HOSTILE = "<script>document.title='run'</script><img src=x onerror=alert(1)>\"'`${1}=cmd|' /C calc'!A0"
NAMES = ["case 2", "case 10", HOSTILE, "Fall ü", *(f"case {number}" for number in range(20, 28))]
EXTRA = {"block": "A1", "fixation": "formalin <b>24 h</b>", "antibody lot": "=HYPERLINK(1)"}
N_PLAIN = 6
WIDTHS = (400, 768, 1280, 1920, 3840)
PAINTED = """async (act) => {
    const search = document.getElementById("search");
    if (act === "sort") document.querySelector('button[data-sort="tps"]').click();
    else if (act === "choose") document.querySelectorAll("#cases tbody tr")[120].click();
    else { search.value = act; search.dispatchEvent(new Event("input", { bubbles: true })); }
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
RING = Point(180, 180).buffer(120).difference(Point(180, 180).buffer(30))
DRAWN = [
    OutlinedRegion(kind="tumour", name=HOSTILE, class_name="Tumor", geometry=RING),
    OutlinedRegion(kind="include", name="a long name" * 30, class_name="", geometry=box(300, 300, 700, 700)),
    OutlinedRegion(kind="exclude", name="Necrosis", class_name="Necrosis", geometry=box(330, 30, 400, 90)),
]
CORES = array_of_cores(20)
WATCHED = """() => {
    const { clearRect, setTransform, fillText } = CanvasRenderingContext2D.prototype;
    window.written = [];
    let isNext = false; // the transform of the picture is the first one after the canvas was cleared
    CanvasRenderingContext2D.prototype.clearRect = function (...all) {
        if (this.canvas.className === "cells") { window.written = []; isNext = true; }
        return clearRect.apply(this, all);
    };
    CanvasRenderingContext2D.prototype.setTransform = function (...all) {
        if (isNext && this.canvas.className === "cells") { window.seen = all; isNext = false; }
        return setTransform.apply(this, all);
    };
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
        window.written.push({ text, x, y, width: this.measureText(text).width });
        return fillText.call(this, text, x, y);
    };
}"""
NO_SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The report of one rendered field."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "tiles").mkdir()
    draw_phantom(folder / "tiles" / "field.png")
    run(folder / "tiles", folder / "out")
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """The report of a dozen cases that were held against cut-offs."""
    out = make_cohort(tmp_path_factory.mktemp("cohort"), NAMES, extra=EXTRA, **label_rules("nsclc"))
    return write_report(out).report


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Some of the cases, without columns of one's own, and the first with regions."""
    out = make_cohort(tmp_path_factory.mktemp("plain"), NAMES[:N_PLAIN], **label_rules("nsclc"))
    draw_on(out, DRAWN)
    return write_report(out).report


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The report of a field with regions: one with a hole, one that reaches beyond it, one to leave out."""
    out = make_cohort(tmp_path_factory.mktemp("drawn"), ["field"])
    draw_on(out, DRAWN)
    return write_report(out).report


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    """The report of a field with 400 cores and no cells: as a slide is shown."""
    out = make_cohort(tmp_path_factory.mktemp("array"), ["array"])
    draw_on(out, CORES, kind="control")
    path = write_report(out).report
    changes = {'"role":"image"': '"role":"slide"', '"cells":{': '"none":{', '"mpp":0.5': '"mpp":10'}
    page = path.read_text()
    for was, now in changes.items():
        page = page.replace(was, now)
    path.write_text(page)
    return path


@pytest.fixture
def visit(browser):
    """Open a page, and see at the end that it was quiet and asked for nothing."""
    contexts, said, asked = [], [], []

    def visit(path, *, width=1440, height=900, script=None):
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        if script:
            page.add_init_script(f"({script})()")
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not re.match(r"(file|data|blob):", url)] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(contexts)


def painted(page):
    """How many pixels of the canvas above the picture are not empty."""
    page.wait_for_timeout(300)
    return page.evaluate(
        """() => { const c = document.querySelector("canvas.cells"), copy = document.createElement("canvas");
                   copy.width = c.width; copy.height = c.height;
                   const pen = copy.getContext("2d", { willReadFrequently: true });
                   pen.drawImage(c, 0, 0);
                   const d = pen.getImageData(0, 0, c.width, c.height).data;
                   let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }"""
    )


def names_in(page):
    return page.locator("#cases tbody tr:visible th a").all_inner_texts()


# a page takes longer to open than all that is done on it: claims about the same one share it
def test_viewer_shows_picture_and_cells_which_can_be_switched_off_and_speaks_of_no_region_without_any(visit, alone):
    page = visit(alone)
    page.wait_for_timeout(500)
    assert not page.locator("#regions").is_visible()
    assert not page.locator("#regions-shown").is_visible()
    assert page.locator("#here").inner_text() == ""
    whole = painted(page)
    assert whole > 2000
    assert page.locator("#kinds label").count() >= 2
    page.locator("#positive-kinds").click()
    some = painted(page)
    assert 0 < some < whole
    page.locator("#all-kinds").click()
    page.locator("#outlines").click()
    assert page.locator("#outlines").get_attribute("aria-pressed") == "false"
    assert painted(page) == 0


def test_click_on_a_cell_shows_its_measurements(visit, alone):
    page = visit(alone)
    page.wait_for_timeout(500)
    page.locator("#osd").scroll_into_view_if_needed()
    box = page.locator("#osd").bounding_box()
    for part in (0.42, 0.46, 0.5, 0.54, 0.58):
        page.mouse.click(box["x"] + part * box["width"], box["y"] + part * box["height"])
        page.wait_for_timeout(100)
        if page.locator("#cell h3").count():
            break
    assert re.match(r"Cell \d+: (tumour|lymphocyte|macrophage|stroma|other)", page.locator("#cell h3").inner_text())
    assert "Cytoplasm, mean (OD)" in page.locator("#cell").inner_text()


def test_viewer_is_used_by_keyboard_alone(visit, alone):
    page = visit(alone)
    page.wait_for_timeout(500)
    page.locator("#osd").focus()
    page.keyboard.press("n")
    first = page.locator("#cell h3").inner_text()
    page.keyboard.press("n")
    assert page.locator("#cell h3").inner_text() != first
    page.keyboard.press("p")
    assert page.locator("#cell h3").inner_text() == first
    page.keyboard.press("o")
    assert page.locator("#outlines").get_attribute("aria-pressed") == "false"
    page.keyboard.press("Escape")
    assert page.locator("#cell h3").count() == 0


def test_the_heat_map_says_what_its_colours_and_blanks_mean(visit, cohort):
    page = visit(cohort.parent / "report" / "0002_case_10.html")
    page.wait_for_timeout(400)
    assert not page.locator("#steps").is_visible()
    page.locator("#heat").click()
    told = page.locator("#steps p").inner_text()
    assert told == "Heat map: TPS of squares of 128 µm; without colour: fewer than 20 tumour cells"
    assert page.locator("#steps li").count() == 4


def test_field_opens_in_the_viewer(visit, cohort):
    page = visit(cohort.parent / "report" / "0001_case_2.html")
    page.wait_for_timeout(500)
    page.locator(".crop").first.click()
    page.wait_for_timeout(300)
    assert page.evaluate("document.activeElement.id") == "osd"


def names_on(page):
    """Names on the canvas with their boxes in pixels of the picture, as last drawn."""
    page.wait_for_timeout(400)
    return page.evaluate(
        """() => { const [scale, , , , x0, y0] = window.seen, ratio = window.devicePixelRatio || 1;
                   return window.written.map(({ text, x, y, width }) => ({ text, box: [
                     ((x - width / 2) * ratio - x0) / scale, ((y - 6) * ratio - y0) / scale,
                     ((x + width / 2) * ratio - x0) / scale, ((y + 6) * ratio - y0) / scale] })); }"""
    )


def meet(one, other):
    return one[0] < other[2] and one[2] > other[0] and one[1] < other[3] and one[3] > other[1]


def test_regions_are_outlined_and_can_be_hidden(visit, drawn):
    page = visit(drawn)
    page.locator("#outlines").click()
    whole = painted(page)
    assert whole > 1000
    page.locator("#region-kinds input").first.uncheck()
    assert 0 < painted(page) < whole
    page.locator("#osd").focus()
    page.keyboard.press("r")
    assert page.locator("#regions").get_attribute("aria-pressed") == "false"
    assert painted(page) == 0
    assert page.locator("#here").inner_text() == "Regions are hidden."


def test_names_of_regions_are_text_and_are_cut_and_cover_no_cell_that_can_be_seen(visit, drawn):
    page = visit(drawn, script=WATCHED)
    names = [each["text"] for each in names_on(page)]
    assert all(len(name) < 30 for name in names)
    options = page.locator("#region option").all_inner_texts()
    assert options[1] == f"{HOSTILE} (tumour region)"
    assert len(options[2]) < 150
    assert page.locator("#region img, #cell img, th img").count() == 0
    places = page.evaluate(
        "(({ x, y }) => [x, y])(JSON.parse(document.getElementById('data').textContent).pictures[0].cells)"
    )
    cells = list(zip(*places, strict=True))
    met = 0
    for _ in range(4):
        for each in names_on(page):
            met += 1
            left, top, right, bottom = each["box"]
            assert not [1 for x, y in cells if left - 5 < x < right + 5 and top - 5 < y < bottom + 5]
        page.locator("#zoom-in").click()
    assert met


def test_regions_are_visited_by_keyboard_and_tell_their_score(visit, drawn):
    page = visit(drawn)
    page.wait_for_timeout(300)
    page.locator("#osd").focus()
    page.keyboard.press("g")
    assert page.locator("#cell h3").inner_text() == HOSTILE
    assert re.search(r"TPS .*; \d+ tumour cells", page.locator("#cell").inner_text())
    page.keyboard.press("Shift+G")
    assert page.locator("#cell h3").inner_text() == "Necrosis"
    assert "not counted" in page.locator("#cell").inner_text()
    page.wait_for_timeout(400)
    assert "Necrosis (region left out)" in page.locator("#here").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#cell h3").count() == 0
    page.locator("#region").select_option("0")
    assert page.locator("#cell h3").inner_text() == HOSTILE


def test_the_table_leads_to_the_outline(visit, drawn):
    page = visit(drawn)
    page.wait_for_timeout(300)
    page.locator("th button.link").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert page.locator("#cell h3").inner_text() == HOSTILE
    assert page.evaluate("document.activeElement.id") == "osd"


def test_the_table_does_not_lead_to_what_is_left_out_under_the_same_name(visit, tmp_path):
    out = make_cohort(tmp_path, ["field"])
    left_out = OutlinedRegion(kind="exclude", name="a", class_name="Necrosis", geometry=box(10, 10, 90, 90))
    draw_on(out, [left_out, replace(left_out, kind="include", class_name="", geometry=box(100, 100, 300, 300))])
    page = visit(write_report(out).report)
    page.locator("th button.link").click()
    page.wait_for_timeout(300)
    assert "Region to score" in page.locator("#cell").inner_text()


def test_names_of_four_hundred_cores_lie_apart(visit, array):
    page = visit(array, script=WATCHED)
    names = [each for each in names_on(page) if "(" not in each["text"]]
    assert len(names) > 100
    for each in names:  # each within the circle that it names, or next to it alone
        middle = shapely.Point((each["box"][0] + each["box"][2]) / 2, (each["box"][1] + each["box"][3]) / 2)
        nearest = min(CORES, key=lambda core: core.geometry.distance(middle))
        assert nearest.name == each["text"]
    assert not [1 for k, one in enumerate(names) for other in names[:k] if meet(one["box"], other["box"])]
    assert page.locator("#here").inner_text() == "In view: 400 cores"


def test_measurements_of_a_cell_do_not_reach_over_the_buttons_below(visit, drawn):
    page = visit(drawn, height=800)
    page.wait_for_timeout(300)
    page.locator("#osd").focus()
    page.keyboard.press("n")
    assert page.evaluate("(box => box.scrollHeight - box.clientHeight)(document.getElementById('cell'))") <= 1


def test_keys_move_and_zoom_the_picture(visit, drawn):
    page = visit(drawn, script=WATCHED)
    page.wait_for_timeout(300)
    page.locator("#osd").scroll_into_view_if_needed()
    box = page.locator("#osd").bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + 5)  # what is clicked on has the keys
    assert page.evaluate("document.activeElement.id") == "osd"
    places, looks = [page.evaluate("window.seen")], [page.locator("#osd").screenshot()]
    for key in ("+", "ArrowRight", "ArrowDown", "ArrowLeft", "-", "0"):
        page.keyboard.press(key)
        page.wait_for_timeout(500)  # the picture moves for 400
        places.append(page.evaluate("window.seen"))
        if key in {"ArrowDown", "0"}:
            looks.append(page.locator("#osd").screenshot())
    assert all(one != other for one, other in itertools.pairwise(places))
    assert looks[0] != looks[1]
    assert looks[-1] == looks[0]


def test_tiles_beside_the_page_are_read_and_nothing_else(browser, tmp_path):
    slide = phantom_slides.write_slide(tmp_path / "slide.tif", phantom_slides.slide_image(1100, 1000))
    run(slide, tmp_path / "out", config=load_config(None, ["nuclei.segmenter=watershed"]), mpp=None)
    path = write_report(tmp_path / "out", tiles=True).report
    asked, said = [], []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(path.as_uri())
    page.wait_for_timeout(1000)
    page.locator("#osd").focus()
    page.keyboard.press("n")
    assert page.locator("#cell h3").count() == 1
    assert painted(page) > 1000
    page.close()
    assert said == []
    here = path.parent.as_uri()
    assert all(url.startswith((f"{here}/report.html", f"{here}/report/0001/0/", "data:", "blob:")) for url in asked)
    assert any(url.endswith(".jpg") for url in asked)


def test_a_slide_without_fields_says_where_its_cells_are_shown(visit, plain, tmp_path):
    page = max((plain.parent / "report").iterdir()).read_text()
    path = tmp_path / "slide.html"
    path.write_text(page.replace('"role":"image"', '"role":"slide"').replace('"cells":{', '"none":{'))
    told = visit(path).locator("#cell").inner_text()
    assert "pdl1quant report --tiles shows every cell" in told
    assert "choose one above" not in told


def test_arrow_keys_move_from_case_to_case_and_the_table_is_sorted_and_filtered(visit, cohort):
    page = visit(cohort)
    page.locator("#cases tbody tr th a").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == NAMES[1]
    assert page.locator(".sheet:visible h2").inner_text() == NAMES[1]
    sort(page)
    filter_cases(page)


def sort(page):
    """By number and by name."""
    page.locator('button[data-sort="tps"]').click()
    ascending = [
        float(each) for each in page.eval_on_selector_all("#cases tbody tr", "rows => rows.map(r => r.dataset.tps)")
    ]
    assert ascending == sorted(ascending)
    page.locator('button[data-sort="tps"]').click()
    descending = page.eval_on_selector_all("#cases tbody tr", "rows => rows.map(r => Number(r.dataset.tps))")
    assert descending == sorted(ascending, reverse=True)
    assert page.locator('th[aria-sort="descending"]').count() == 1
    page.locator('button[data-sort="name"]').click()
    names = names_in(page)
    assert names.index("case 2") < names.index("case 10") < names.index("case 20")


def filter_cases(page):
    """By words, TPS and flag."""
    page.locator("#search").fill("fall ü")
    assert names_in(page) == ["Fall ü"]
    assert page.locator("#count").inner_text() == f"1 of {len(NAMES)} cases"
    page.locator('button[type="reset"]').click()
    page.wait_for_timeout(50)
    assert len(names_in(page)) == len(NAMES)
    page.locator("#from").fill("50")
    assert 0 < len(names_in(page)) < len(NAMES)
    page.locator('button[type="reset"]').click()
    page.locator("#flag").select_option("vectors_fixed")
    assert 0 < len(names_in(page)) < len(NAMES)


def test_hostile_names_are_shown_as_they_are_written(visit, cohort):
    page = visit(cohort)
    assert HOSTILE in names_in(page)
    assert page.title() == "PD-L1 cohort report"
    assert page.locator("#cases img[onerror]").count() == 0
    (path,) = (cohort.parent / "report").glob("0003_*.html")
    case = visit(path)
    assert case.locator("h1").inner_text() == HOSTILE
    assert "<b>24 h</b>" in case.locator(".extra").first.inner_text()


def widened(page, widths):
    """Each width of a page that was opened for the first of them."""
    for width in widths:
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_timeout(200)
        yield width


@pytest.mark.parametrize("which", ["alone", "cohort", "drawn"])
def test_pages_fit_the_width_of_the_screen(visit, alone, cohort, drawn, which):
    page = visit({"alone": alone, "cohort": cohort, "drawn": drawn}[which], width=WIDTHS[0], height=1000)
    tables = page.locator(".scroll:has(> .plain)")
    for width in widened(page, WIDTHS):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width >= 1280:
            assert tables.evaluate_all("all => all.filter(each => each.scrollWidth > each.clientWidth).length") == 0


@pytest.mark.parametrize(("which", "widths"), [("plain", (400, 1200, 1600)), ("cohort", (400,))])
def test_no_column_of_the_cases_is_hidden(visit, plain, cohort, which, widths):
    """Neither on a small screen nor on a phone; columns of one's own may reach beyond the first."""
    page = visit({"plain": plain, "cohort": cohort}[which], width=widths[0], height=1000)
    for width in widened(page, widths):
        assert page.evaluate("(box => box.scrollWidth - box.clientWidth)(document.querySelector('.scroll.table'))") <= 0
        if width == 400:
            case = page.locator("#cases tbody tr").first
            shown = case.evaluate(
                "row => [...row.cells].map(cell => getComputedStyle(cell, '::before').content.replaceAll('\"', ''))"
            )
            assert {"Tumour cells", "Membrane, %", "Discordant", "Call"} <= set(shown)


@pytest.mark.parametrize("which", ["cohort", "case"])
def test_axe_finds_no_serious_fault(visit, cohort, plain, which):
    """Of all cases, and of one with regions."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    pages = {"cohort": cohort, "case": plain.parent / "report" / "0001_case_2.html"}
    page = visit(pages[which])
    page.wait_for_timeout(400)
    found = axe.Axe().run(page).response["violations"]
    serious = [(each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in NO_SERIOUS]
    assert serious == []


def test_pages_without_javascript_have_no_dead_controls_and_lead_to_each_case(browser, cohort):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(cohort.as_uri())
    dead = ("#filters", "#count", ".sheet")
    assert [name for name in dead if page.locator(name).first.is_visible()] == []
    assert page.locator("button:enabled:visible").count() == 0
    links = page.locator("#cases tbody th a")
    assert links.count() == len(NAMES)
    links.nth(1).click()
    page.locator("noscript .remark").wait_for()
    dead = (".viewer .tools", ".osd", ".side")
    assert [name for name in dead if page.locator(name).first.is_visible()] == []
    assert page.locator(".crop").count() > 0
    assert page.locator("button:enabled:visible").count() == 0
    assert page.locator("h1").inner_text() == NAMES[1]
    context.close()


@pytest.mark.parametrize("width", [400, 1280])
def test_what_was_done_on_reading_leaves_its_name_whole(visit, cohort, tmp_path, width):
    """However long it is."""
    report = open_run(cohort.parent)
    case = load_case(report, report.case_rows[3])
    long = Check(name="On reading", text="CMYK converted without its profile (1 of 9 images); " * 4)
    sheet = replace(sheet_of(report, case, show_case(report, case), number=1), checks=(long,))
    (tmp_path / "page.html").write_text(cohort_page(report, [sheet]), encoding="utf-8")
    name = visit(tmp_path / "page.html", width=width).locator(".checks th", has_text="On reading").first
    lines = "each => { const all = new Range(); all.selectNodeContents(each); return all.getClientRects().length; }"
    assert name.evaluate(lines) == 1


def test_the_page_of_readers_is_quiet_fits_a_phone_and_has_no_fault_for_axe(visit, plain, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    rows = [f"{case},{number},{9 * number}" for number, case in enumerate(NAMES[:N_PLAIN]) if case != HOSTILE]
    (tmp_path / "readers.csv").write_text("\n".join(["name,Ada,<b>Ben</b>", *rows]), encoding="utf-8")
    job = AgreementJob(out=plain.parent, readers=tmp_path / "readers.csv", folder=tmp_path / "page")
    page = visit(compare_readers(job).paths[0], width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator("figcaption").all_inner_texts() == ["Ada", "<b>Ben</b>"]
    assert axe.Axe().run(page).response["violations"] == []


def pages_of(pdf):
    return len(re.findall(rb"/Type\s*/Page[^s]", pdf))


def test_print_gives_a_page_per_case(visit, alone, cohort):
    assert pages_of(visit(alone).pdf(prefer_css_page_size=True, print_background=True)) == 1
    page = visit(cohort)
    assert pages_of(page.pdf(prefer_css_page_size=True, print_background=True)) == len(NAMES)
    page.locator("#search").fill("fall")
    assert pages_of(page.pdf(prefer_css_page_size=True, print_background=True)) == 1


def test_nothing_is_cut_off_on_paper(visit, tmp_path):
    """Of a case with every flag, a long name, long columns and reasons: it takes a second page."""
    out = make_cohort(tmp_path, ["a long name " * 15], extra={f"column {n}": "some text " * 12 for n in range(6)})
    rows = read_scores(out / "scores.csv")
    write_scores([replace(row, flags=tuple(map(str, ResultFlag))) for row in rows], out / "scores.csv")
    page = visit(write_report(out).report)
    assert pages_of(page.pdf(prefer_css_page_size=True, print_background=True)) == 2
    page.set_viewport_size({"width": 703, "height": 1043})  # A4 without its margins
    page.emulate_media(media="print")
    assert page.locator(".sheet .flags li").count() == len(ResultFlag)
    cut = page.evaluate(
        """() => [...document.querySelectorAll(".sheet *")].filter(each => {
                   const style = getComputedStyle(each);
                   return style.overflowY === "hidden" && each.scrollHeight > each.clientHeight + 1
                     && !each.closest("svg") && !each.matches(".hidden");
                 }).map(each => each.className)"""
    )
    assert cut == []
    assert page.evaluate("(box => box.scrollHeight - box.clientHeight)(document.querySelector('.sheet'))") <= 1


def test_regions_and_cores_have_their_table_on_paper(visit, drawn, array):
    for path, n in ((drawn, 2), (array, len(CORES))):
        page = visit(path)
        rows = page.locator(".sheet-regions tbody tr")
        assert rows.count() == n
        assert not rows.first.is_visible()
        page.emulate_media(media="print")
        assert rows.first.is_visible()
        assert rows.last.is_visible()
        n_pages = pages_of(page.pdf(prefer_css_page_size=True, print_background=True))
        assert n_pages <= 2 if path == drawn else n_pages > 3  # a page holds some hundred rows


def busy_s(counters):
    """Seconds that the page's thread has worked."""
    metrics = counters.send("Performance.getMetrics")["metrics"]
    return next(each["value"] for each in metrics if each["name"] == "TaskDuration")


def test_two_hundred_cases_are_small_and_quick(visit, cohort, tmp_path):
    report = open_run(cohort.parent)
    case = load_case(report, report.case_rows[3])
    sheet = sheet_of(report, case, show_case(report, case, max_sheet_length=70_000), number=1)
    sheets = [
        replace(sheet, number=number, name=f"case {number}", row=replace(sheet.row, tps=float(number % 101)))
        for number in range(1, 201)
    ]
    path = tmp_path / "report.html"
    path.write_text(cohort_page(report, sheets), encoding="utf-8")
    assert path.stat().st_size < 24e6
    page = visit(path)
    counters = page.context.new_cdp_session(page)
    counters.send("Performance.enable", {"timeDomain": "threadTicks"})  # others use the machine, too
    for act in ("sort", "case 19", "", "choose"):
        began = busy_s(counters)
        page.evaluate(PAINTED, act)
        assert busy_s(counters) - began < 1
