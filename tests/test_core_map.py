"""Which core belongs to which case: the map as a person writes it, and cores pooled as the images of a case are."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from pdl1quant import batch
from pdl1quant.batch.cores import core_result, cores_by_case, is_unlike_map, map_warnings, score_cores
from pdl1quant.batch.rows import region_rows
from pdl1quant.batch.work import Image, Outcome, Plan
from pdl1quant.config import Config
from pdl1quant.console import case_lines
from pdl1quant.errors import UsageError
from pdl1quant.model import BrownArea, Counts, PositiveCounts, RegionScore, ResultFlag, Status
from pdl1quant.pipeline import CaseMember, score_blocks, score_case
from pdl1quant.slides.core_map import CoreKind, MappedCore, read_core_map
from pdl1quant.slides.discover import Found
from pdl1quant.stages.quality import check_brown
from pdl1quant.stages.tma import grid_of, nearest_name
from report_runs import ESTIMATE

ONE, TWO, FIELD = Path("/t/one.svs"), Path("/t/two.svs"), Path("/t/field.png")
FOUND = [Found(path=path, root=Path("/t"), relative=PurePosixPath(path.name), case="t") for path in (ONE, TWO, FIELD)]


def read(tmp_path, content, *, slides=(ONE,), cases=None):
    path = tmp_path / "map.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_core_map(path, FOUND, slides=slides, cases=cases or {"t": "one.svs"})


@pytest.mark.parametrize(
    "content",
    [
        "core,case,block\nA-1,P1,7\nA-2,P1,8\nB-1,P2,\n",
        "\ufeffCore;CASE;block\r\na-1;P1;7\r\n\r\nA-2; P1 ;8\r\nB-1;P2;\r\n",
        "sep=;\r\nblock;case;core\r\n7;P1;A-1\r\n8;P1;A-2\r\n;P2;B-1",
        "core,case,block,,\nA-1,P1,7,,\nA-2,P1,8,,\nB-1,P2,,,\n,,,,\n",
        "core\tcase\tblock\nA-1\tP1\t7\nA-2\tP1\t8\nB-1\tP2\t\n".encode("utf-16"),
    ],
)
def test_a_map_is_read_as_spreadsheets_write_it(tmp_path, content):
    cores = read(tmp_path, content)[ONE]
    assert [(core.name, core.case, core.kind) for core in cores] == [
        ("A-1", "P1", CoreKind.TISSUE),
        ("A-2", "P1", CoreKind.TISSUE),
        ("B-1", "P2", CoreKind.TISSUE),
    ]
    assert [dict(core.extra) for core in cores] == [{"block": "7"}, {"block": "8"}, {"block": ""}]


def test_controls_and_missing_cores_need_no_case_and_one_map_serves_several_slides(tmp_path):
    content = "image,core,case,kind\none.svs,A-1,,Control\none.svs,A-2,P1,missing\ntwo.svs,A-1,P1,\n"
    cores = read(tmp_path, content, slides=(ONE, TWO))
    assert [(core.name, core.case, core.kind) for core in cores[ONE]] == [
        ("A-1", "", CoreKind.CONTROL),
        ("A-2", "P1", CoreKind.MISSING),
    ]
    assert [(core.name, core.case, core.kind) for core in cores[TWO]] == [("A-1", "P1", CoreKind.TISSUE)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("core,case\nA1,P1", r"map\.csv, line 2: no core can be called A1; the nearest is A-1"),
        ("core,case\nA-1,P1\n01-b,P1", "line 3: no core can be called 01-b; the nearest is B-1"),
        ("core,case\nA–1,P1", "the nearest is A-1"),  # noqa: RUF001  the dash of a spreadsheet that knows better
        ("core,case\nliver,P1", "line 2: no core can be called liver; a core is called by its row and column, as A-1"),
        ("core,case\nA-1,P1\n\na-1,P2", r"line 4: A-1 is in line 2 already; keep one of them"),
        ("core,patient\nA-1,P1", r"line 1: no column 'case'; it needs the columns core and case"),
        ("A-1,P1\nA-2,P1", "line 1: no column 'core'"),
        ("core,case\nA-1, ", "line 2: no case for A-1; fill it in, or say control or missing in column kind"),
        ("core,case\n,P1", "line 2: no core; fill it in or remove the line"),
        ("core,case,kind\nA-1,P1,mising", "line 2: unknown kind 'mising' of A-1; the nearest is missing"),
        ("core,case\nA-1,t", r"line 2: case 't' is what the images of one\.svs are called"),
        ("core,case\nA-1,T", r"line 2: case 'T' is what the images of one\.svs are called \(spelt 't'\); call one"),
        ("core,case\nA-1,P 1\nA-2,p1", "line 3: case 'p1' is spelt 'P 1' above; spell it in one way"),
        ("core,case\nA-1,P1,x", "line 2: 3 columns, the header has 2"),
        ("core,case\n", "names no core"),
        ("", "empty"),
        ("core|case\nA-1|P1", "no column 'core'"),
        ('core,case\n"A-1,P1', "not CSV"),
        (b"core,case\nA-1,M\xfcller\n", "not UTF-8 text; save it as CSV UTF-8"),
        (b"PK\x03\x04 a workbook", "a workbook or an archive; save it as CSV UTF-8"),
        ("image,core,case\n,A-1,P1", "line 2: no image; name the slide that the core is on"),
        ("image,core,case\nfield.png,A-1,P1", r"line 2: field\.png is no whole slide"),
        ("image,core,case\nome.svs,A-1,P1", r"line 2: no image ome\.svs in this run; the nearest is one\.svs"),
    ],
)
def test_a_wrong_map_is_wrong_usage_and_names_the_line(tmp_path, content, message):
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("slides", "message"),
    [((ONE, TWO), "one map for 2 slides; add a column image"), ((), "no whole slide in this run")],
)
def test_whose_map_it_is_is_not_guessed(tmp_path, slides, message):
    with pytest.raises(UsageError, match=message):
        read(tmp_path, "core,case\nA-1,P1\n", slides=slides)


def test_a_map_without_tma_is_refused(tmp_path):
    (tmp_path / "map.csv").write_text("core,case\nA-1,P1\n")
    pack, _ = batch.find_rules("28-8-cytoplasm", None)
    job = batch.Job(
        paths=(tmp_path,), output=tmp_path / "out", config=Config(), pack=pack, core_map=tmp_path / "map.csv"
    )
    with pytest.raises(UsageError, match=r"map\.csv: .*--tma"):
        batch.run(job, listener=None)
    assert not (tmp_path / "out").exists()


def test_grids_and_names():
    assert grid_of(["B-2", "off-grid 1", "AA-11", "C-3"]) == "B-2 to AA-11"
    assert grid_of(["off-grid 1"]) == ""
    assert [nearest_name(text) for text in ("a 01", "12-ab", "A_3", "A-0", "core")] == [
        "A-1",
        "AB-12",
        "A-3",
        None,
        None,
    ]


# --- pooling ---
PACK, INDICATION = batch.find_rules("28-8-label", "nsclc")
PLAN = Plan(output=Path(), config=Config(), pack=PACK, indication=INDICATION, is_array=True)


def blocks_of(n_tumour, n_positive):
    """The counts of a core: two blocks that hold as many cells each."""
    half = Counts(
        n_cells=n_tumour,
        n_tumour=n_tumour // 2,
        n_lymphocyte=5,
        positive=PositiveCounts(membrane=n_positive // 2, cytoplasm=n_positive // 2, cell=n_positive // 2),
        positive_strict=PositiveCounts(membrane=n_positive // 4),
        positive_lenient=PositiveCounts(membrane=n_positive // 2),
        grade_1=n_positive // 2,
        tumour_area_um2=1000.0,
    )
    return (half, half)


def region(name, n_tumour=200, n_positive=40, *, is_damaged=False, brown=BrownArea(), has_nests=True):  # noqa: B008
    blocks = blocks_of(n_tumour, n_positive)
    how = {"config": PLAN.config, "pack": PACK, "indication": None, "level": "image", "has_tumour_roi": True}
    flags = check_brown(brown, n_tumour=n_tumour)
    return RegionScore(
        level="core",
        name=name,
        status=Status.OK,
        counts=sum(blocks, Counts()),
        score=score_blocks(blocks, **how, has_nests=has_nests, flags=flags),
        blocks=blocks,
        is_damaged=is_damaged,
        brown=brown,
        has_nests=has_nests,
    )


def array(cores, regions, *, name="one.svs", status=Status.OK, flags=(), sha256=""):
    """A slide as a run leaves it: the map's lines as (core, case) or (core, case, kind), and the cores found."""
    mapped = tuple(MappedCore(name=core, case=case, kind=CoreKind(*kind or ("tissue",))) for core, case, *kind in cores)
    image = Image(path=Path(name), name=name, stem=name, case="t", is_slide=True, cores=mapped, sha256=sha256)
    counts = sum((each.counts for each in regions), Counts()) if status is Status.OK else None
    return image, Outcome(status=status, counts=counts, flags=flags, regions=tuple(regions), has_tumour_roi=True)


def pooled(*arrays):
    """The rows of the cases by name."""
    rows = {}
    for name, cores in cores_by_case(arrays).items():
        score = score_cores(cores, estimates={"t": ESTIMATE}, plan=PLAN)
        _, rows[name] = core_result(name, cores, score=score, plan=PLAN)
    return rows


def test_cores_are_pooled_as_images_of_a_case_are():
    regions = [region("A-1", 200, 40), region("A-2", 80, 4), region("A-3", 60, 8)]
    rows = pooled(array([("A-1", "P1"), ("A-2", "P2"), ("A-3", "P1")], regions))
    assert list(rows) == ["P1", "P2"]
    members = [CaseMember(blocks=regions[index].blocks, has_tumour_roi=True) for index in (0, 2)]
    expected = score_case(
        members, estimate=ESTIMATE, config=PLAN.config, pack=PACK, indication=INDICATION,
        flags=[ResultFlag.SELECTED_FIELDS],
    )  # fmt: skip
    row = rows["P1"]
    assert (row.level, row.status, row.image, row.error) == ("case", Status.OK, "", "")
    assert (row.tps, row.tps_low, row.tps_high) == (expected.tps, expected.tps_low, expected.tps_high)
    assert (row.n_tumour, row.n_tumour_positive, row.evaluable) == (260, 48, True)
    assert row.calls == tuple(map(str, expected.calls)) != ()
    assert row.flags == tuple(map(str, expected.flags))
    assert "selected_fields" in row.flags


def test_a_case_of_too_few_tumour_cells_is_not_evaluable_however_many_the_slide_has():
    rows = pooled(array([("A-1", "P1"), ("A-2", "P2")], [region("A-1", 98), region("A-2", 400)]))
    assert (rows["P1"].evaluable, rows["P1"].calls) == (False, ())
    assert "too_few_cells" in rows["P1"].flags
    assert rows["P2"].evaluable


def test_a_case_may_have_cores_on_several_slides_and_a_copy_counts_once():
    one = array([("A-1", "P1")], [region("A-1", 200)], sha256="a")
    two = array([("A-1", "P1")], [region("A-1", 100)], name="two.svs", sha256="b")
    copy = array([("A-1", "P1")], [region("A-1", 200)], name="copy.svs", sha256="a")
    assert pooled(one, two, copy)["P1"].n_tumour == 300


def test_controls_count_for_no_case_and_have_a_row():
    slide = array(
        [("A-1", "P1"), ("A-2", "P1", "control"), ("A-3", "", "control")], [*map(region, ("A-1", "A-2", "A-3"))]
    )
    rows = pooled(slide)
    assert list(rows) == ["P1"]
    assert rows["P1"].n_tumour == 200
    assert [(row.region, row.case) for row in region_rows(*slide, plan=PLAN)] == [
        ("A-1", "P1"),
        ("A-2", "P1"),
        ("A-3", ""),
    ]
    assert map_warnings(*slide) == []


def test_a_core_that_is_not_on_the_slide_is_named_and_the_others_are_scored():
    names = [("A-1", "P1"), ("A-2", "P1"), ("A-3", "P2"), ("B-1", "P3"), ("B-3", "P3")]
    slide = array(names, [*map(region, ("A-1", "A-3", "B-3"))])
    (report, _), *_ = (core_result(*each, score=None, plan=PLAN) for each in cores_by_case([slide]).items())
    assert case_lines(report)[0].endswith("1 of 2 cores")
    rows = pooled(slide)
    assert (rows["P1"].status, rows["P1"].error) == (Status.OK, "1 of 2 cores not on the slide: A-2")
    assert rows["P1"].calls
    assert map_warnings(*slide) == ["one.svs: 2 cores of the map not on the slide: A-2, B-1"]
    row = pooled(array([("A-1", "P1"), ("B-2", "P2")], [*map(region, ("A-2", "B-2"))]))["P1"]
    assert (row.status, row.tps, row.n_tumour) == (Status.NO_TISSUE, None, None)
    assert row.error == "1 of 1 core not on the slide: A-1"


def test_cores_that_the_map_does_not_name_are_listed_and_of_no_case():
    slide = array([("A-1", "P1"), ("B-2", "P1")], [*map(region, ("A-1", "A-2", "B-2", "off-grid 1"))])
    assert map_warnings(*slide) == ["one.svs: on the slide and not in the map, of no case: A-2, off-grid 1"]
    assert [row.case for row in region_rows(*slide, plan=PLAN)] == ["P1", "", "P1", ""]


@pytest.mark.parametrize(
    ("cores", "found"),
    [
        ([("A-1", "P1"), ("B-1", "P2"), ("C-1", "P3")], ["A-1", "B-1"]),  # a row is lost: which one?
        (
            [("A-1", "P1", "missing"), ("B-1", "P2"), ("C-1", "P3")],
            ["A-1", "B-1"],
        ),  # the first one, and tma.first is not said
        ([("A-1", "P1"), ("B-1", "P2", "missing"), ("C-1", "P3")], ["A-1", "B-1", "C-1"]),  # there, and should not be
        ([("A-1", "P1"), ("A-2", "P2")], ["A-1", "A-2", "A-3"]),  # a column more than the map has
    ],
)
def test_where_names_may_be_shifted_no_case_has_a_call(cores, found):
    slide = array(cores, [*map(region, found)])
    assert is_unlike_map(*slide)
    assert "not where the map has them" in map_warnings(*slide)[0]
    rows = [row for row in pooled(slide).values() if row.tps is not None]
    assert rows
    assert all("cores_unlike_map" in row.flags and not row.calls for row in rows)


def test_a_row_that_the_map_says_is_missing_shifts_nothing():
    cores = [("A-1", "P1", "missing"), ("B-1", "P2"), ("C-1", "P3"), ("C-2", "P3", "missing")]
    slide = array(cores, [*map(region, ("B-1", "C-1"))])
    assert not is_unlike_map(*slide)
    rows = pooled(slide)
    assert rows["P2"].calls
    assert (rows["P1"].status, rows["P1"].error) == (Status.NO_TISSUE, "A-1 missing, as the map says")
    assert (rows["P3"].status, rows["P3"].error) == (Status.OK, "")


def test_a_core_that_could_not_be_judged_makes_its_case_partial():
    damaged = array([("A-1", "P1"), ("A-2", "P2")], [region("A-1", is_damaged=True), region("A-2")])
    rows = pooled(damaged)
    assert (rows["P1"].status, rows["P1"].calls) == (Status.PARTIAL, ())
    assert rows["P2"].status is Status.OK
    refused = array([("A-1", "P1"), ("A-2", "P3")], [], name="two.svs", status=Status.REFUSED)
    rows = pooled(array([("A-1", "P1")], [region("A-1")]), refused)
    assert (rows["P1"].status, rows["P1"].calls) == (Status.PARTIAL, ())
    assert rows["P1"].error == "1 of 2 cores not scored, see the row of the slide: two.svs A-1"
    assert (rows["P3"].status, rows["P3"].tps) == (Status.REFUSED, None)
    assert map_warnings(*refused) == []


def test_a_case_inherits_what_is_known_of_its_slide():
    flags = (ResultFlag.MPP_OVERRIDDEN, ResultFlag.NO_DAB_SEEN, ResultFlag.NUCLEUS_SIZE)
    row = pooled(array([("A-1", "P1")], [region("A-1")], flags=flags))["P1"]
    assert {str(flag) for flag in flags} <= set(row.flags)
    assert row.calls == ()
    assumed = {"t": replace(ESTIMATE, white_source="assumed")}
    ((_, cores),) = cores_by_case([array([("A-1", "P1")], [region("A-1")])]).items()
    assert ResultFlag.WHITE_ASSUMED in score_cores(cores, estimates=assumed, plan=PLAN).flags


def test_brown_without_cells_is_that_of_the_cores_of_the_case():
    dark, clear = BrownArea(area_um2=20_000, without_cell_um2=10_000), BrownArea(area_um2=20_000, without_cell_um2=1000)
    regions = [region("A-1", brown=dark), region("A-2", brown=clear), region("A-3", brown=clear)]
    slide = array([("A-1", "P1"), ("A-2", "P2"), ("A-3", "P1")], regions, flags=(ResultFlag.BROWN_WITHOUT_CELLS,))
    rows = pooled(slide)
    assert (rows["P1"].brown_without_cells_pct, rows["P2"].brown_without_cells_pct) == pytest.approx((27.5, 5))
    assert "brown_without_cells" in rows["P1"].flags
    assert rows["P1"].calls == ()
    assert "brown_without_cells" not in rows["P2"].flags
    assert rows["P2"].calls
    cores = cores_by_case([slide])["P1"]
    score = score_cores(cores, estimates={"t": ESTIMATE}, plan=PLAN)
    report, _ = core_result("P1", cores, score=score, plan=PLAN)
    assert any(line.strip().startswith("1 core: much brown") for line in case_lines(report))


def test_a_case_has_nests_where_one_of_its_cores_has():
    regions = [region("A-1", has_nests=False), region("A-2", has_nests=True), region("A-3", has_nests=False)]
    slide = array([("A-1", "P1"), ("A-2", "P1"), ("A-3", "P2")], regions)
    rows = pooled(slide)
    assert ["no_nests" in rows[name].flags for name in ("P1", "P2")] == [False, True]


def test_a_drawn_region_that_is_called_like_a_core_is_none():
    drawn = replace(region("A-1", 80, 80), level="roi")
    slide = array([("A-1", "P1"), ("A-2", "P1")], [drawn, region("A-1"), region("A-2", 100)])
    assert pooled(slide)["P1"].n_tumour == 300
    assert [(row.level, row.region, row.case) for row in region_rows(*slide, plan=PLAN)] == [
        ("roi", "A-1", "t"),
        ("core", "A-1", "P1"),
        ("core", "A-2", "P1"),
    ]
