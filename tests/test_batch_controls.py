"""Negative controls beside the cases of a run: rows, limit, calls, resuming, report and review."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from batch_runs import Deaf, job_for, rows_of, run, tree
from pdl1quant import CaseMember, ControlMember, analyse_image, blank_limit, estimate_case, sample_image, score_case
from pdl1quant.batch import find_rules
from pdl1quant.batch.controls import assigned, gather_controls, limit_lines, limits_of, without_own
from pdl1quant.batch.inputs import gather
from pdl1quant.batch.work import Image, Outcome, Plan
from pdl1quant.cli import cli
from pdl1quant.config import load_config
from pdl1quant.errors import UsageError
from pdl1quant.model import Counts, PositiveCounts, ResultFlag, Status
from pdl1quant.outputs.run_record import read_run_record
from pdl1quant.outputs.scores_table import read_scores
from pdl1quant.review import open_results, rescore
from pdl1quant.slides.core_map import CoreKind, MappedCore
from pdl1quant.slides.images import read_image
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

CONFIG = load_config(None, ["nuclei.segmenter=watershed"])
PACK, INDICATION = find_rules("28-8-label", "melanoma")
PACK = replace(PACK, min_tumour_cells=10)  # small pictures will do
HOW = {"config": CONFIG, "pack": PACK, "indication": INDICATION}
SIZE_PX = 192
STAINED, UNUSABLE, BELOW = ResultFlag.CONTROL_STAINED, ResultFlag.CONTROL_UNUSABLE, ResultFlag.BELOW_BLANK


def draw(path, *, seed, tps_pct):
    settings = PhantomSettings(size_px=SIZE_PX, tps_pct=tps_pct, tumour_share=0.8, positive_immune_share=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(render_phantom(settings, seed=seed).rgb).save(path)


def draw_tumour(path):
    """All of the image is tumour."""
    ring = [[0, 0], [SIZE_PX, 0], [SIZE_PX, SIZE_PX], [0, SIZE_PX], [0, 0]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {"classification": {"name": "Tumor"}}, "geometry": geometry}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A case that is brown, blank controls, stained ones, and one that nobody can judge."""
    folder = tmp_path_factory.mktemp("controls")
    draw(folder / "in" / "brown" / "a.png", seed=1, tps_pct=80)
    draw_tumour(folder / "roi" / "brown" / "a.geojson")
    for number in range(2):
        draw(folder / "blank" / f"n{number}.png", seed=10 + number, tps_pct=0)
        draw(folder / "stained" / f"n{number}.png", seed=20 + number, tps_pct=100)
    (folder / "grey").mkdir()
    PillowImage.new("L", (96, 96), 200).save(folder / "grey" / "g.png")
    return folder


def scored(folder, out, *controls, listener=None, **more):
    how = {"roi": folder / "roi", "negative_controls": tuple(folder / name for name in controls), **HOW, **more}
    return run(folder / "in", out, listener=listener, **how)


@pytest.fixture(scope="module")
def blank_run(folder, tmp_path_factory):
    out, listener = tmp_path_factory.mktemp("out") / "out", Deaf()
    scored(folder, out, "blank", listener=listener)
    return out, listener


def test_controls_have_rows_of_their_own_and_are_in_no_case(blank_run):
    out, listener = blank_run
    rows = rows_of(out, "control")
    assert [(row.image, row.case, str(row.status)) for row in rows] == [("n0.png", "", "ok"), ("n1.png", "", "ok")]
    assert all(row.tps == 0 and row.n_tumour >= 10 for row in rows)
    assert [row.case for row in rows_of(out, "case")] == ["brown"]
    assert [report.case for report in listener.reports] == ["brown"]
    assert [image["image"] for image in read_run_record(out / "run.json")["images"]] == ["brown/a.png"]
    assert (out / "overlays" / "negative_control" / "n0.png").is_file()


def test_the_record_says_of_controls_what_it_says_of_images(blank_run):
    record = read_run_record(blank_run[0] / "run.json")
    images, controls = record["images"], record["negative_control"]["images"]
    assert [(entry["image"], entry["case"]) for entry in controls] == [("n0.png", ""), ("n1.png", "")]
    for entry in controls:
        assert entry.keys() == images[0].keys() - {"regions"}
        assert entry["brown"].keys() == images[0]["brown"].keys()
    stems = [entry["results"] for entry in (*images, *controls)]
    assert all(record["timings"]["seconds_by_image"][stem] > 0 for stem in stems)


def test_with_a_blank_control_the_call_stands(blank_run):
    out, listener = blank_run
    (row,) = rows_of(out, "case")
    assert row.calls[0].startswith("TPS >= ")
    limit = read_run_record(out / "run.json")["negative_control"]["limits"][""]
    assert limit["limit_pct"] == 0
    assert [field["image"] for field in limit["fields"]] == ["n0.png", "n1.png"]
    (said,) = listener.of_controls
    assert said.startswith(
        "negative control  limit of blank 0.00 % (TPS per 28-8 label)  highest of 2 fields of at least"
    )


def test_a_stained_control_withdraws_every_call(folder, tmp_path):
    summary = scored(folder, tmp_path / "out", "stained", listener=(listener := Deaf()))
    (row,) = rows_of(tmp_path / "out", "case")
    assert row.calls == ()
    assert STAINED in row.flags
    assert "the negative control is brown" in listener.reports[0].no_call
    assert summary.n_unscored == 0


def test_a_control_that_cannot_be_scored_withdraws_every_call(folder, tmp_path):
    summary = scored(folder, tmp_path / "out", "blank", "grey", listener=(listener := Deaf()))
    (row,) = rows_of(tmp_path / "out", "case")
    assert row.calls == ()
    assert UNUSABLE in row.flags
    assert summary.n_unscored == 1
    assert any(line.strip().startswith("it does not hold: g.png: ") for line in listener.of_controls)
    assert {row.image: str(row.status) for row in rows_of(tmp_path / "out", "control")}["g.png"] == "refused"


def test_other_controls_change_the_calls_and_score_no_image_again(folder, blank_run, tmp_path):
    out = tmp_path / "out"
    scored(folder, out, "blank")
    assert tree(out) == tree(blank_run[0])
    cells, outlines = out / "cells" / "brown" / "a.parquet", out / "geojson" / "negative_control" / "n1.geojson"
    written, of_blank = cells.stat().st_mtime_ns, outlines.read_bytes()
    scored(folder, out, "stained", resume=True)
    assert cells.stat().st_mtime_ns == written
    assert outlines.read_bytes() != of_blank
    scored(folder, tmp_path / "fresh", "stained")
    assert tree(out) == tree(tmp_path / "fresh")
    scored(folder, out, resume=True)
    assert cells.stat().st_mtime_ns == written
    assert not list(out.rglob("n?.*"))
    scored(folder, tmp_path / "without")
    assert tree(out) == tree(tmp_path / "without")


def test_a_stopped_run_goes_on_with_its_controls(folder, blank_run, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        scored(folder, out, "blank", listener=Deaf(stop_after=1))
    scored(folder, out, "blank", resume=True)
    assert tree(out) == tree(blank_run[0])


def test_controls_among_the_images_are_in_no_case(folder, tmp_path):
    for name in ("in", "roi", "blank"):
        (tmp_path / name).symlink_to(folder / name)
    listener = Deaf()
    run(
        tmp_path,
        tmp_path.parent / f"{tmp_path.name}-out",
        listener=listener,
        negative_controls=(folder / "blank",),
        **HOW,
    )
    assert [report.case for report in listener.reports] == ["brown"]
    assert "2 images are negative controls and in no case: blank/n0.png, blank/n1.png" in listener.complaints


def test_what_is_no_control_is_said_before_anything_is_written(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("none")
    for name, wanted in (("empty", "no images in it"), ("notes.txt", "not one of")):
        with pytest.raises(UsageError, match=f"--negative-control .*{name}.*{wanted}"):
            scored(folder, tmp_path / "out", tmp_path / name)
    with pytest.raises(UsageError, match="all images are negative controls"):
        scored(folder, tmp_path / "out", "in")
    with pytest.raises(UsageError, match="lies inside the input"):
        scored(folder, folder / "blank" / "out", "blank")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_cases_may_not_have_the_name_of_the_controls_results(folder, tmp_path):
    draw(tmp_path / "in" / "negative_control" / "a.png", seed=1, tps_pct=80)
    with pytest.raises(UsageError, match="rename the folder, or give it as one, too"):
        run(tmp_path / "in", tmp_path / "out", negative_controls=(folder / "blank",), **HOW)


def test_the_library_says_the_same(folder, tmp_path):
    listener = Deaf()
    run(folder / "in", tmp_path / "out", listener=listener, negative_controls=(folder / "stained",), **HOW)
    (report,) = listener.reports

    def analysed(*names):
        images = [read_image(folder / name, mpp=0.5).rgb for name in names]
        estimate = estimate_case([sample_image(rgb, mpp=0.5, config=CONFIG) for rgb in images], config=CONFIG)
        return estimate, [analyse_image(rgb, mpp=0.5, estimate=estimate, **HOW) for rgb in images]

    names = ("stained/n0.png", "stained/n1.png")
    controls = [ControlMember.of(name[-6:], result) for name, result in zip(names, analysed(*names)[1], strict=True)]
    blank = blank_limit(controls, pack=PACK, indication=INDICATION)
    assert open_results(tmp_path / "out").limits == {"": blank}
    estimate, results = analysed("in/brown/a.png")
    found = score_case([CaseMember.of(each) for each in results], estimate=estimate, blank=blank, **HOW)
    assert STAINED in found.flags
    assert found == report.score


def test_a_review_keeps_the_limit(folder, tmp_path):
    out = tmp_path / "out"
    scored(
        folder, out, "stained", config=load_config(None, ["nuclei.segmenter=watershed", "score.limit_of_blank_pct=99"])
    )
    (row,) = rows_of(out, "case")
    assert {STAINED, BELOW} <= set(row.flags)
    (reviewed,) = [each for each in rescore(out).rows if each.level == "case"]
    assert reviewed.reviewed_flags == row.flags
    assert reviewed.reviewed_calls == ()


def test_the_report_shows_the_control(folder, blank_run, tmp_path):
    page = (blank_run[0] / "report.html").read_text(encoding="utf-8")
    assert "Negative control" in page
    assert "0.00 % (highest of 2 control fields)" in page
    scored(folder, tmp_path / "out", "stained", "grey")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "It does not hold: it is brown, its limit is above the lowest cut-off, 1 %" in page
    assert "It does not hold: g.png: " in page
    scored(folder, tmp_path / "without")
    page = (tmp_path / "without" / "report.html").read_text(encoding="utf-8")
    assert 'id="h-control"' not in page
    assert "None was given to this run" in page


def test_the_command_takes_controls(folder, tmp_path):
    arguments = ["score", folder / "in", "-o", tmp_path / "out", "--negative-control", folder / "blank" / "n0.png"]
    arguments += ["--negative-control", folder / "blank" / "n1.png", "--mpp", "0.5", "-q", "--workers", "1"]
    arguments += ["--set", "nuclei.segmenter=watershed"]
    assert cli.main([str(each) for each in arguments], standalone_mode=False) == 0
    rows = read_scores(tmp_path / "out" / "scores.csv")
    assert [row.image for row in rows if row.level == "control"] == ["n0.png", "n1.png"]


@pytest.fixture(scope="module")
def two_cases(tmp_path_factory):
    """Two cases of the same picture but for some noise; the one has a control of its own that is brown."""
    here = tmp_path_factory.mktemp("two")
    for seed, case in enumerate(("A", "B")):
        draw(here / "in" / case / "a.png", seed=seed + 1, tps_pct=80)
        draw_tumour(here / "roi" / case / "a.geojson")
    draw(here / "neg" / "a" / "n.png", seed=20, tps_pct=100)
    return here


def test_a_control_in_a_folder_of_the_name_of_a_case_is_of_that_case(folder, two_cases, tmp_path):
    listener = Deaf()
    controls = (two_cases / "neg", folder / "blank")
    how = {"roi": two_cases / "roi", "negative_controls": controls, "listener": listener, **HOW}
    out = tmp_path / "out"
    run(two_cases / "in", out, **how)
    stained, clean = rows_of(out, "case")
    assert {STAINED, BELOW} <= set(stained.flags)
    assert stained.calls == ()
    assert STAINED not in clean.flags
    assert clean.calls[0].startswith("TPS >= ")
    assert {row.image: row.case for row in rows_of(out, "control")} == {"a/n.png": "A", "n0.png": "", "n1.png": ""}
    assert "negative control of A" in {line.partition("  ")[0] for line in listener.of_controls}
    assert set(open_results(out).limits) == {"A", ""}
    reviewed = [each for each in rescore(out).rows if each.level == "case"]
    assert [each.reviewed_calls for each in reviewed] == [stained.calls, clean.calls]
    assert "Negative controls of single cases" in (out / "report.html").read_text(encoding="utf-8")
    page = (out / "report" / "0001_A.html").read_text(encoding="utf-8")
    assert 'id="h-control-own"' in page
    assert 'id="h-control"' in page
    assert "Below the limit, so nothing reads" not in page  # of all cases; it is below its own
    assert 'id="h-control-own"' not in (out / "report" / "0002_B.html").read_text(encoding="utf-8")


def test_of_a_slide_each_block_is_a_field_and_of_an_image_the_whole():
    def blocks(*numbers):
        positive = [PositiveCounts(membrane=k, cytoplasm=k) for _, k in numbers]
        return tuple(Counts(n_tumour=n, positive=each) for (n, _), each in zip(numbers, positive, strict=True))

    plan = Plan(output=Path(), config=CONFIG, pack=PACK, indication=INDICATION)
    found = {}
    for is_slide in (False, True):
        each = blocks((200, 0), (200, 2), (9, 9))
        outcome = Outcome(status=Status.OK, counts=sum(each, Counts()), blocks=each)
        image = Image(path=Path("n"), name="n", stem="n", case="", is_slide=is_slide)
        found[is_slide] = limits_of([(image, outcome)], plan)[""]
    assert [(field.n_tumour, field.n_positive) for field in found[True].fields] == [(200, 0), (200, 2)]
    assert (found[True].limit_pct, found[True].n_too_few) == (1, 1)
    assert [(field.n_tumour, field.n_positive) for field in found[False].fields] == [(409, 11)]


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((200, 9), "highest of 1 field of at least 10 viable tumour cells  1 field with fewer passed over"),
        ((9, 8), "no limit of blank  2 fields of fewer than 10 viable tumour cells passed over"),
    ],
)
def test_the_line_on_the_limit_says_what_was_passed_over(numbers, told):
    control = ControlMember(name="n", fields=tuple(Counts(n_tumour=n) for n in numbers))
    first, *_ = limit_lines("", blank_limit([control], pack=PACK), pack=PACK, config=CONFIG)
    assert first.endswith(told)


@pytest.mark.parametrize("flag", [ResultFlag.WHITE_ASSUMED, ResultFlag.NUCLEUS_SIZE, ResultFlag.BROWN_WITHOUT_CELLS])
def test_an_image_that_may_not_be_what_it_seems_is_no_control(flag):
    field = Counts(n_tumour=1000)
    sound = ControlMember(name="a", fields=(field,), flags=(ResultFlag.TUMOUR_UNCONFIRMED, ResultFlag.FEW_BLOCKS))
    assert blank_limit([sound], pack=PACK).flags == ()
    doubtful = blank_limit([sound, ControlMember(name="b", fields=(field,), flags=(flag,))], pack=PACK)
    assert doubtful.flags == (UNUSABLE,)
    assert [problem.partition(":")[0] for problem in doubtful.problems] == ["b"]


def test_cases_without_a_control_of_their_own_are_named(two_cases, tmp_path):
    listener = Deaf()
    run(two_cases / "in", tmp_path / "out", negative_controls=(two_cases / "neg",), listener=listener, **HOW)
    assert "no negative control of B: all that were given are of other cases" in listener.complaints


def test_cases_of_cores_without_a_control_are_named_too():
    of_cases = (("A-1", "P1"), ("A-2", "P2"), ("A-3", "P2"))
    cores = [MappedCore(name=name, case=case, kind=CoreKind.TISSUE) for name, case in of_cases]
    liver = MappedCore(name="A-4", case="liver", kind=CoreKind.CONTROL)
    array = Image(path=Path("a"), name="a", stem="a", case="all", is_slide=True, cores=(*cores, liver))
    limits = {"P1": blank_limit([ControlMember(name="n", fields=(Counts(n_tumour=500),))], pack=PACK)}
    assert without_own([array], limits) == ("no negative control of P2: all that were given are of other cases",)


def test_a_table_of_cases_may_name_a_control_which_is_that_cases_own(folder, two_cases, tmp_path):
    for name in ("A/a.png", "B/a.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes((two_cases / "in" / name).read_bytes())
    stained = tmp_path / "in" / "A" / "n.png"
    stained.write_bytes((two_cases / "neg" / "a" / "n.png").read_bytes())
    table = tmp_path / "cases.csv"
    table.write_text("image,case\nA/a.png,P1\nA/n.png,P1\nB/a.png,P2\nn0.png,P7\n")
    controls, listener = (stained, folder / "blank" / "n0.png"), Deaf()
    run(tmp_path / "in", tmp_path / "out", cases=table, negative_controls=controls, listener=listener, **HOW)
    found = {row.image: row.case for row in rows_of(tmp_path / "out", "control")}
    assert found == {"n.png": "P1", "n0.png": ""}
    assert sum("so it counts for all cases: n0.png (P7)" in line for line in listener.complaints) == 1
    assert {row.case: STAINED in row.flags for row in rows_of(tmp_path / "out", "case")} == {"P1": True, "P2": False}


@pytest.mark.parametrize("name", ["n.png", "a/n.png"])
def test_a_table_of_cases_may_name_a_control_outside_the_folders_of_cases(two_cases, tmp_path, name):
    table = tmp_path / "cases.csv"
    table.write_text(f"image,case\nA/a.png,P1\n{name},P2\nB/a.png,P2\n")
    job = job_for(two_cases / "in", tmp_path / "out", cases=table, negative_controls=(two_cases / "neg" / "a",))
    controls = gather_controls(job)
    images, _ = gather(job.paths, output=job.output, cases=table, controls=controls)
    assert [(image.name, image.case) for image in images] == [("A/a.png", "P1"), ("B/a.png", "P2")]
    assert [(image.name, image.control_of) for image in assigned(controls, images, job)[0]] == [("n.png", "P2")]


def test_a_control_of_a_case_without_an_image_counts_for_all_and_is_named(two_cases, tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text("image,case\nA/a.png,P1\nn.png,P 7\nB/a.png,P2\n")
    job = job_for(two_cases / "in", tmp_path / "out", cases=table, negative_controls=(two_cases / "neg" / "a",))
    controls = gather_controls(job)
    images, _ = gather(job.paths, output=job.output, cases=table, controls=controls)
    ((control,), (said,)) = assigned(controls, images, job)
    assert control.control_of == ""
    how = "to a case without an image in this run, so it counts for all cases"
    assert said == f"cases.csv: gives 1 negative control {how}: n.png (P 7)"
    table.write_text("image,case\nA/a.png,P1\nn.png,P1\nB/a.png,P2\n")
    assert assigned(controls, images, job)[1] == ()


def test_a_name_in_a_table_of_cases_is_first_that_of_an_image(two_cases, tmp_path):
    draw(tmp_path / "in" / "A" / "n.png", seed=1, tps_pct=80)
    table = tmp_path / "cases.csv"
    table.write_text("image,case\nn.png,P1\n")
    job = job_for(tmp_path / "in", tmp_path / "out", cases=table, negative_controls=(two_cases / "neg",))
    controls = gather_controls(job)
    images, _ = gather(job.paths, output=job.output, cases=table, controls=controls)
    assert [(image.case, image.is_in_table) for image in images] == [("P1", True)]
    assert [image.control_of for image in assigned(controls, images, job)[0]] == [""]


def test_the_same_control_in_two_folders_counts_once_and_has_a_name_of_its_own(folder, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "n.png").write_bytes((folder / "blank" / "n0.png").read_bytes())
    listener = Deaf()
    controls = (tmp_path / "one", tmp_path / "two")
    scored(folder, tmp_path / "out", *controls, listener=listener)
    assert [row.image for row in rows_of(tmp_path / "out", "control")] == ["one/n", "two/n"]
    limit = read_run_record(tmp_path / "out" / "run.json")["negative_control"]["limits"][""]
    assert [field["image"] for field in limit["fields"]] == ["one/n"]
    assert not [line for line in listener.complaints if "more than one case" in line]
