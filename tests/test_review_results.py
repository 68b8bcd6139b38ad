"""Rescored runs, signed cases, and labels to train on."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from batch_runs import draw_phantom, run
from pdl1quant import batch
from pdl1quant.config import load_config
from pdl1quant.errors import OutputError, Pdl1QuantError, ReviewError, UsageError
from pdl1quant.model import CallResult
from pdl1quant.outputs.reviewed import reviewed_markdown
from pdl1quant.outputs.scores_table import read_scores, write_scores
from pdl1quant.review import (
    EditKind,
    Review,
    find_image,
    labels_from_reviews,
    open_case,
    open_results,
    rescore,
    review_case,
    say_of_case,
    write_review_labels,
)
from pdl1quant.training.labels import read_labels, review_note
from review_runs import make_results, open_review, run_of_two_phantoms, viable

SOME_FAILED, WRONG_USAGE = 1, 2


@pytest.fixture
def out(tmp_path):
    return make_results(tmp_path)


@pytest.fixture(scope="module")
def phantom_run(tmp_path_factory):
    return run_of_two_phantoms(tmp_path_factory.mktemp("run"))


@pytest.fixture
def real(phantom_run, tmp_path):
    return shutil.copytree(phantom_run / "out", tmp_path / "out")


def table_of(out):
    with (out / "scores_reviewed.csv").open(newline="") as file:
        return {row["image"] or row["level"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize(("n", "known"), [(0, "none"), (1, "a"), (3, "a, a, a"), (4, "a, a, a, ...")])
def test_an_image_that_is_not_there_is_named_beside_those_that_are(out, n, known):
    results = open_results(out)
    some = replace(results, images=(results.image("a"),) * n)
    with pytest.raises(ReviewError, match=rf"no image 'nope' in these results; they hold {re.escape(known)}$"):
        some.image("nope")


def test_an_image_is_known_by_its_path_or_file_name_with_or_without_its_ending(out):
    results = open_results(out)
    named = [
        replace(results.image("a"), name=f"{each}.tif", stem=each) for each in ("x/tile", "y/tile", "y/other", "x")
    ]
    some = replace(results, images=tuple(named))
    for name in ("other", "other.tif", "y/other", "y/other.tif"):
        assert some.image(name).stem == "y/other"
    assert some.image("x").stem == "x"
    for name in ("tile", "tile.tif"):
        with pytest.raises(ReviewError, match=f"2 images are called '{name}'; say which: x/tile, y/tile"):
            some.image(name)


# --- cases -----------------------------------------------------------------------------------------------------------
def test_a_case_is_signed_locked_and_amended_by_commands(pdl1quant, out):
    for act in ("sign", "lock"):
        assert pdl1quant("review-case", out, "case", act, "--reviewer", "A")[0] == 0
    assert all(Review(open_results(out), image).standing.locked_by == "A" for image in open_results(out).images)
    code, _, error = pdl1quant("review-case", out, "case", "amend", "--reviewer", "B")
    assert (code, "needs a reason" in error) == (WRONG_USAGE, True)
    code, told, _ = pdl1quant("review-case", out, "case", "amend", "--reviewer", "B", "--reason", "second look")
    assert code == 0
    assert "locked" not in told
    assert "signed" not in told
    code, _, error = pdl1quant("review-case", out, "case", "amend", "--reviewer", "B", "--reason", "once more")
    assert (code, "case: the case is not locked; there is nothing to amend" in error) == (WRONG_USAGE, True)


def test_a_case_that_is_not_there_is_refused(pdl1quant, out):
    code, _, error = pdl1quant("review-case", out, "another", "sign", "--reviewer", "A")
    assert (code, "no scored image of a case 'another'; see scores.csv" in error) == (WRONG_USAGE, True)
    code, _, error = pdl1quant("review-case", out, "cas", "sign", "--reviewer", "A")
    assert (code, "no scored image of a case 'cas'; the nearest is 'case'" in error) == (WRONG_USAGE, True)


# --- rescore ---------------------------------------------------------------------------------------------------------
def test_without_edits_reviewed_is_automated(real):
    rescore(real)
    scores = ("tps", "tps_low", "tps_high", "cps", "cps_low", "cps_high", "h_score")
    for row in table_of(real).values():
        for name in (*scores, "n_tumour", "n_tumour_positive"):
            assert row[f"reviewed_{name}"] == row[name]
        assert row["n_edits"] == "0"
    automated = {row.image or row.level: row for row in read_scores(real / "scores.csv")}
    for name, row in table_of(real).items():
        assert row["reviewed_flags"] == ";".join(sorted(automated[name].flags))


def test_edits_move_the_reviewed_score_and_leave_the_automated_one(out):
    review = open_review(out)
    cells = viable(review)
    n = review.counts.n_tumour
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=cells, to=True)
    review.edit(EditKind.CLASS, reviewer="Bo", cells=cells[:3], to="stroma")
    done = rescore(out)
    rows = table_of(out)
    scores = {row.image or row.level: row for row in read_scores(out / "scores.csv")}
    assert done.n_failed == 0
    assert rows["a.png"]["reviewed_n_tumour"] == str(n - 3)
    assert float(rows["a.png"]["reviewed_tps"]) == pytest.approx(review.score.tps, abs=1e-4)
    assert float(rows["a.png"]["tps"]) == scores["a.png"].tps
    assert rows["a.png"]["reviewers"] == "Ada;Bo"
    assert (rows["a.png"]["n_edits"], rows["b.png"]["n_edits"], rows["case"]["n_edits"]) == ("2", "0", "2")
    assert float(rows["case"]["reviewed_tps"]) > scores["case"].tps


def test_the_case_pools_the_images(out):
    review = open_review(out)
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=viable(review)[:20], to=True)
    rescore(out)
    rows = table_of(out)
    for name in ("reviewed_n_tumour", "reviewed_n_tumour_positive", "n"):
        assert int(rows["case"][name]) == int(rows["a.png"][name]) + int(rows["b.png"][name])


def test_rescoring_twice_gives_the_same_bytes(out):
    review = open_review(out)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:9], to="other")
    rescore(out)
    first = (out / "scores_reviewed.csv").read_bytes()
    rescore(out)
    assert (out / "scores_reviewed.csv").read_bytes() == first


def test_a_run_that_overwrites_removes_the_stale_table_and_keeps_the_edits(phantom_run, real):
    review = open_review(real, "one")
    review.edit(EditKind.CLASS, reviewer="Ada", cells=review.ids(np.arange(3)), to="other")
    rescore(real)
    run(phantom_run / "tiles", real, overwrite=True)
    assert not (real / "scores_reviewed.csv").exists()
    assert rescore(real).n_failed == 0
    assert table_of(real)["one.png"]["n_edits"] == "1"


def test_reviewed_scores_of_others_are_named_and_stay(out):
    rescore(out)
    rescore(out)
    mine = out / "scores_reviewed.csv"
    mine.write_text("case;my score\n1;40\n")
    with pytest.raises(OutputError, match=r"scores_reviewed\.csv: lies where a result goes, but pdl1quant did not"):
        rescore(out)
    assert mine.read_text() == "case;my score\n1;40\n"


def test_an_image_with_foreign_edits_fails_alone(out):
    for name in ("a", "b"):
        review = open_review(out, name)
        review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:9], to="other")
    shutil.copy(out / "edits" / "b.jsonl", out / "edits" / "a.jsonl")
    done = rescore(out)
    rows = table_of(out)
    assert done.n_failed == 1
    assert "another image" in rows["a.png"]["error"]
    assert (rows["a.png"]["status"], rows["b.png"]["status"], rows["case"]["status"]) == ("failed", "ok", "failed")
    assert rows["a.png"]["reviewed_tps"] == rows["case"]["reviewed_tps"] == ""
    assert rows["b.png"]["reviewed_tps"]


@pytest.mark.parametrize("score", ["tps", "cps"])
def test_cells_that_do_not_give_the_score_of_the_run_are_refused(out, score):
    text = (out / "scores.csv").read_text()
    row = next(line for line in text.splitlines() if ",a.png," in line)
    cells = row.split(",")
    cells[text.splitlines()[0].split(",").index(score)] = "99.0000"
    (out / "scores.csv").write_text(text.replace(row, ",".join(cells)))
    assert f"do not give the {score.upper()}" in rescore(out).problems[0]


def test_a_half_written_line_is_reported_and_does_not_stop_the_rescore(out):
    review = open_review(out)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:9], to="other")
    with review.ledger.path.open("ab") as file:
        file.write(b'{"time": "2026-')
    done = rescore(out)
    assert done.n_failed == 0
    assert "half-written" in done.problems[0]
    assert "half-written" in table_of(out)["a.png"]["error"]
    assert table_of(out)["a.png"]["n_edits"] == "1"


def test_columns_page_is_current():
    from pathlib import Path

    page = Path(__file__).parents[1] / "docs" / "columns_reviewed.md"
    assert page.read_text(encoding="utf-8") == reviewed_markdown(), "run: make pages"


# --- what is said of a case ------------------------------------------------------------------------------------------
def test_a_case_is_signed_when_all_its_images_are_and_an_edit_takes_it_away(out):
    results = open_results(out)
    reviews = open_case(results, "case")
    reviews[0].edit(EditKind.SIGN, reviewer="Ada")
    assert review_case(reviews, results.case_rows[0]).signed_by == ()
    say_of_case(reviews, EditKind.SIGN, reviewer="Ada")
    assert review_case(reviews, results.case_rows[0]).signed_by == ("Ada",)
    assert "tumour_unconfirmed" not in review_case(reviews, results.case_rows[0]).score.flags
    reviews[1].edit(EditKind.CLASS, reviewer="Ada", cells=viable(reviews[1])[:1], to="other")
    assert review_case(reviews, results.case_rows[0]).signed_by == ()
    assert "tumour_unconfirmed" in review_case(reviews, results.case_rows[0]).score.flags


def test_an_image_without_cells_is_not_asked_to_confirm_its_case(out):
    results = open_results(out)
    reviews = open_case(results, "case")
    reviews[0].edit(EditKind.SIGN, reviewer="Ada")
    assert "tumour_unconfirmed" in review_case(reviews, results.case_rows[0]).score.flags
    everything = reviews[1].ids(np.arange(len(reviews[1].cells)))
    reviews[1].edit(EditKind.DELETE, reviewer="Ada", cells=everything)
    assert "tumour_unconfirmed" not in review_case(reviews, results.case_rows[0]).score.flags


def test_locking_a_case_locks_its_images_until_it_is_amended(out):
    results = open_results(out)
    reviews = open_case(results, "case")
    reviews[1].edit(EditKind.LOCK, reviewer="Ada")  # as a call that was interrupted would leave it
    say_of_case(reviews, EditKind.LOCK, reviewer="Ada")
    assert review_case(reviews, results.case_rows[0]).locked
    with pytest.raises(ReviewError, match="locked"):
        reviews[0].edit(EditKind.DELETE, reviewer="Bo", cells=viable(reviews[0])[:1])
    say_of_case(reviews, EditKind.AMEND, reviewer="Bo", reason="recut")
    assert not review_case(reviews, results.case_rows[0]).locked
    with pytest.raises(ReviewError, match="not of a case"):
        say_of_case(reviews, EditKind.DELETE, reviewer="Bo")


def test_own_scores_and_signatures_stand_in_the_table(out):
    results = open_results(out)
    reviews = open_case(results, "case")
    reviews[0].edit(EditKind.OWN_SCORE, reviewer="Ada", to={"tps": 35, "blind": True})
    say_of_case(reviews, EditKind.SIGN, reviewer="Ada")
    say_of_case(reviews, EditKind.LOCK, reviewer="Ada")
    rescore(out)
    row = table_of(out)["case"]
    assert (row["own_scores"], row["signed"], row["locked"], row["n_edits"]) == ("Ada: 35 (blind)", "Ada", "true", "0")


def test_signing_confirms_tumour_and_a_threshold_moved_on_the_case_withdraws_its_calls(tmp_path):
    pack, indication = batch.find_rules("28-8-label", "nsclc-nonsquamous")
    config = load_config(None, ["score.max_excluded_share=0.9"])
    results = open_results(make_results(tmp_path, n=400, config=config, pack=pack, indication=indication))
    reviews = open_case(results, "case")
    row = results.case_rows[0]
    before = review_case(reviews, row)
    assert before.score.calls == ()
    assert [reason.split()[0] for reason in before.no_call] == ["tumour"]
    say_of_case(reviews, EditKind.SIGN, reviewer="Ada")
    calls = review_case(reviews, row).score.calls
    assert {call.result for call in calls} == {CallResult.AT_LEAST}
    assert review_case(reviews, row).no_call == ()
    reviews[0].edit(EditKind.THRESHOLD, reviewer="Ada", to={"dab_od": 0.3})
    say_of_case(reviews, EditKind.SIGN, reviewer="Ada")
    moved = review_case(reviews, row)
    assert (moved.score.calls, moved.no_call) == ((), ("the threshold was moved on it",))
    reviews[0].undo(reviewer="Ada")
    say_of_case(reviews, EditKind.SIGN, reviewer="Ada")
    assert review_case(reviews, row).score.calls == calls


# --- labels ----------------------------------------------------------------------------------------------------------
def test_labels_are_the_classes_that_reviewers_said_of_cells_that_are_still_there(out):
    review = open_review(out)
    cells = viable(review)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[:4], to="stroma")
    review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[3:6], to="tumour", uncertain_first=True)  # confirmed, too
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=cells[6:9], to=True)
    review.edit(EditKind.DELETE, reviewer="Ada", cells=cells[:1])
    review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[10:12], to="other")
    review.undo(reviewer="Ada")
    labels = labels_from_reviews(out)
    rows = review.state.rows_of(cells[1:6])
    told = dict(zip(labels["x_px"], zip(labels["cell_class"], labels["uncertain_first"], strict=True), strict=True))
    wanted = [("stroma", False), ("stroma", False), ("tumour", True), ("tumour", True), ("tumour", True)]
    assert [told[x] for x in review.cells["x_px"].to_numpy()[rows]] == wanted
    assert len(labels) == 5
    assert set(labels["image"]) == {"a"}
    assert set(labels["slide"]) == {"case"}


def label_many(out):
    for name in ("a", "b"):
        review = open_review(out, name)
        for cell_class in ("tumour", "stroma"):
            review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review, cell_class)[:12], to=cell_class)


def test_training_reads_the_labels_of_a_review(tmp_path):
    out = make_results(tmp_path, n=400)
    label_many(out)
    write_review_labels(out)
    labels = read_labels([write_review_labels(out)])  # its own file is replaced, one of others is not
    assert review_note(labels).startswith(f"{len(labels)} labels are of a review, 0 of cells that it offered")
    assert review_note(labels.drop(columns="uncertain_first")) == ""
    assert labels["cell_class"].value_counts().min() >= 20
    assert {path.resolve() for path in labels["path"]} == {tmp_path / "tiles" / f"{name}.png" for name in "ab"}
    mine = out / "labels_from_reviews.csv"
    mine.write_text("image,x_px,y_px,cell_class\na.png,1,1,tumour\n")
    with pytest.raises(OutputError, match=r"labels_from_reviews\.csv: lies where a result goes"):
        write_review_labels(out)
    assert mine.read_text().count("\n") == 2


def test_images_that_moved_are_asked_for_and_known_by_their_hash(tmp_path):
    out = make_results(tmp_path, n=400)
    label_many(out)
    moved = tmp_path / "elsewhere"
    (tmp_path / "tiles").rename(moved)
    with pytest.raises(ReviewError, match="--images FOLDER"):
        write_review_labels(out)
    labels = read_labels([write_review_labels(out, images=moved)], images=moved)
    assert len(labels) == len(labels_from_reviews(out))
    results = open_results(out)
    (moved / "a.png").write_bytes(b"another image")
    with pytest.raises(ReviewError, match="hash differs"):
        find_image(results, results.image("a"), folder=moved)


def test_a_run_that_nobody_reviewed_has_no_labels(out):
    assert labels_from_reviews(out).empty
    with pytest.raises(ReviewError, match="no reviewer named a cell"):
        write_review_labels(out)


# --- the command line ------------------------------------------------------------------------------------------------
def test_rescore_prints_a_line_per_case(pdl1quant, tmp_path):
    out = make_results(tmp_path, size_px=4000)
    review = open_review(out)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:9], to="other")
    code, printed, errors = pdl1quant("rescore", out)
    assert (code, errors) == (0, "")
    assert printed.count("\n") == 1
    assert printed.startswith("case  TPS ")
    assert "1 edit by Ada" in printed
    assert pdl1quant("rescore", out, "--quiet")[1] == ""


def test_edits_of_results_without_a_size_are_counted_by_the_nests_of_the_run_which_is_said(pdl1quant, out):
    assert pdl1quant("rescore", out)[2] == ""
    review = open_review(out)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:9], to="other")
    code, _, errors = pdl1quant("rescore", out)
    assert (code, errors.count("\n")) == (0, 1)
    assert "pdl1quant: case: nests of tumour cells were not looked for anew" in errors
    rows = table_of(out)
    assert "score again" in rows["a.png"]["error"]
    assert (rows["b.png"]["error"], rows["a.png"]["status"]) == ("", "ok")


def test_all_cores_of_an_array_that_an_earlier_version_took_for_a_case_have_no_call(tmp_path):
    pack, indication = batch.find_rules("28-8-label", "nsclc-nonsquamous")
    config = load_config(None, ["score.max_excluded_share=0.9"])
    out = make_results(tmp_path, n=400, config=config, pack=pack, indication=indication)
    say_of_case(open_case(open_results(out), "case"), EditKind.SIGN, reviewer="Ada")
    assert rescore(out).rows[-1].reviewed_calls
    rows = read_scores(out / "scores.csv")
    write_scores([*rows, replace(rows[0], level="core", region="A-1")], out / "scores.csv")
    row = rescore(out).rows[-1]
    assert (row.level, row.case, row.reviewed_calls, row.reviewed_evaluable) == ("array", "case", (), None)
    assert "no_core_map" in row.reviewed_flags
    assert row.reviewed_tps == pytest.approx(row.tps, abs=1e-4)
    case = review_case(open_case(open_results(out), "case"), open_results(out).case_row("case"))
    assert any("--tma-map" in reason for reason in case.no_call)


def test_rescore_says_what_is_wrong_and_exits_like_score(pdl1quant, out, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, errors = pdl1quant("rescore", tmp_path / "empty")
    assert (code, errors.count("\n")) == (WRONG_USAGE, 1)
    label_many(out)
    shutil.copy(out / "edits" / "b.jsonl", out / "edits" / "a.jsonl")
    code, printed, errors = pdl1quant("rescore", out)
    assert code == SOME_FAILED
    assert "another image" in errors
    assert "not scored" in printed


def test_training_needs_results_or_labels(pdl1quant, out, tmp_path):
    code, _, errors = pdl1quant("train", "-o", tmp_path / "model")
    assert code == WRONG_USAGE
    assert "--labels" in errors
    code, _, errors = pdl1quant("train", out, "-o", tmp_path / "model")
    assert (code, errors.count("\n")) == (WRONG_USAGE, 1)
    assert "no reviewer named a cell" in errors


@pytest.mark.parametrize("missing", ["run.json", "scores.csv"])
def test_a_folder_without_a_finished_run_is_refused(out, missing):
    (out / missing).unlink()
    with pytest.raises(UsageError, match=missing):
        open_results(out)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",ok,", ",OK,"),
        lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.startswith("image,a.png")),
    ],
)
def test_scores_that_a_spreadsheet_changed_say_how_to_renew_them(out, change):
    path = out / "scores.csv"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(Pdl1QuantError, match=r"scores\.csv.*move it away, and score again with --resume"):
        open_results(out)


def reverse_rows(out):
    header, *rows = (out / "scores.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (out / "scores.csv").write_text("".join([header, *reversed(rows)]), encoding="utf-8")


def test_rows_that_a_spreadsheet_sorted_belong_to_their_images(out):
    before = {image.stem: image.row for image in open_results(out).images}
    reverse_rows(out)
    assert {image.stem: image.row for image in open_results(out).images} == before
    assert len(before) > 1


def named_alike(out):
    """Results whose second image is called as the first one."""
    for name in ("scores.csv", "run.json"):
        path = out / name
        path.write_text(path.read_text(encoding="utf-8").replace("b.png", "a.png"), encoding="utf-8")
    return [image.row.tps for image in open_results(out).images]


def test_sorted_rows_of_different_images_of_one_name_are_refused(tmp_path):
    out = make_results(tmp_path, images=("a", "b", "c"))
    first, second, _ = named_alike(out)
    assert first != second
    reverse_rows(out)
    with pytest.raises(ReviewError, match=r"which row is of which a\.png cannot be told any more; .*--resume"):
        open_results(out)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have Unicode in names only")
def test_a_name_that_is_no_utf_8_does_not_cost_the_report(tmp_path):
    folder = tmp_path / "tiles"
    folder.mkdir()
    draw_phantom(folder / "one.png").rename(folder / os.fsdecode(b"gr\xfcn.png"))
    run(folder, tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()
    assert rescore(tmp_path / "out").n_failed == 0


# --- runs as they come -----------------------------------------------------------------------------------------------
def calibrated(out, monkeypatch, capsys):
    """What the code of the page on calibrating prints for a run."""
    page = (Path(__file__).parents[1] / "docs" / "calibrate.md").read_text()
    code = page.split("```python\n")[1].split("```")[0].replace('"result"', repr(str(out)))
    monkeypatch.chdir(out.parent)
    case = next(row.case for row in read_scores(out / "scores.csv") if row.level == "case")
    (out.parent / "readers.csv").write_text(f"case,tps\n{case},50\n")
    exec(code, {})  # noqa: S102  it is our own
    return capsys.readouterr().out


def test_a_run_with_drawn_tumour_and_a_duplicate_is_recounted_as_it_was(phantom_run, tmp_path, monkeypatch, capsys):
    outline = {"type": "Polygon", "coordinates": [[[0, 0], [150.5, 0], [150.5, 192], [0, 192], [0, 0]]]}
    region = {"type": "Feature", "geometry": outline, "properties": {"classification": {"name": "Tumor"}}}
    tiles, rois, out = tmp_path / "tiles", tmp_path / "rois", tmp_path / "out"
    shutil.copytree(phantom_run / "tiles", tiles)
    shutil.copy(tiles / "one.png", tiles / "zero.png")
    shutil.copy(tiles / "one.png", tiles / "eins.png")  # above the one that was drawn on
    rois.mkdir()
    for name in ("one", "two", "zero"):
        (rois / f"{name}.geojson").write_text(json.dumps(region))
    run(tiles, out, roi=rois)
    assert rescore(out).n_failed == 0
    automated = {row.image or row.level: row for row in read_scores(out / "scores.csv") if row.level != "roi"}
    assert automated["case"].tap_area_pct is not None
    for name, row in table_of(out).items():
        assert (row["reviewed_tps"], row["reviewed_tps_low"]) == (row["tps"], row["tps_low"])
        assert row["reviewed_flags"] == ";".join(automated[name].flags)
    assert "mean difference" in calibrated(out, monkeypatch, capsys)
    review = open_review(out, "one")
    for name in ("tap_area_pct", "tissue_mm2", "tumour_cells_mm2", "dab_area_pct", "tumour_dab_area_pct"):
        assert getattr(review.score, name) == pytest.approx(getattr(automated["one.png"], name), abs=1e-4)
    assert review.is_confirmed
    review.edit(EditKind.ROI, reviewer="Ada", to="exclude", geometry=outline)
    assert review.score.tap_area_pct is review.score.dab_area_pct is None  # what is left of what was drawn is not known
    assert review.score.tumour_cells_mm2 is None
    assert review.counts.n_tumour == 0


def test_a_classifier_is_trained_on_the_corrections_of_a_run(pdl1quant, real, tmp_path):
    for name in ("one", "two"):
        review = open_review(real, name)
        ids = review.ids(np.arange(len(review.cells)))
        review.edit(EditKind.CLASS, reviewer="Ada", cells=ids[::2], to="tumour")
        review.edit(EditKind.CLASS, reviewer="Ada", cells=ids[1::2], to="stroma")
    code, printed, errors = pdl1quant("train", real, "-o", tmp_path / "model")
    assert (code, errors) == (0, "")
    n = len(labels_from_reviews(real))
    assert f"{n} of {n} labels lie on" in printed
