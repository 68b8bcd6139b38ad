"""Reviewed scores of a run beside those of readers; and that a comparison of earlier scores says so."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from batch_runs import Deaf, draw_tile, run
from pdl1quant.errors import UsageError
from pdl1quant.model import Status
from pdl1quant.outputs.compared_scores import MARK_NAME, outdated_agreement, scores_mark
from pdl1quant.outputs.reviewed import AUTOMATED_FIELDS, ReviewedRow, write_reviewed
from pdl1quant.outputs.scores_table import read_scores, write_scores
from pdl1quant.report.gather import edited_since, open_run
from pdl1quant.review import rescore
from review_runs import make_results
from test_compare_readers import compare, measure, out, page_of, rows_of, said_of, table, write_wide  # noqa: F401

REVIEWED = {"Case C": 30.0, "Case I": 41.0}
"""TPS after a review."""
TOLD = "agreement/agreement.html: compares readers with earlier scores; run pdl1quant compare again"


def reviewed_row(row, **changes):
    """What `rescore` writes of a row that nobody reviewed; ``changes`` are what a review made of it."""
    same = {name: getattr(row, name) for name in ("status", *AUTOMATED_FIELDS)}
    now = {"reviewed_tps": row.tps, "reviewed_tps_low": row.tps_low, "reviewed_tps_high": row.tps_high}
    now |= {"reviewed_n_tumour": 200, "reviewed_evaluable": row.evaluable, "reviewed_flags": row.flags, "n_edits": 0}
    return ReviewedRow(**{**same, **now, "reviewed_h_score": row.h_score, **changes})


def write_review(out, **of_case):  # noqa: F811
    """``scores_reviewed.csv``; further changes are of one case."""
    rows = []
    for row in read_scores(out / "scores.csv"):
        changes = {}
        if row.level == "case" and row.case in REVIEWED:
            changes = {"reviewed_tps": REVIEWED[row.case], "n_edits": 9, "reviewers": ("dr. ada",)}
            changes |= {"reviewed_flags": ("selected_fields",)}
        changes |= of_case.get(row.case.replace(" ", "_"), {}) if row.level == "case" else {}
        rows.append(reviewed_row(row, **changes))
    write_reviewed(rows, out / "scores_reviewed.csv")


@pytest.fixture
def readers(out, tmp_path):  # noqa: F811
    return write_wide(tmp_path / "readers.csv", said_of(out))


def test_reviewed_scores_are_compared_with_their_flags_and_it_is_said_how_many_were_reviewed(out, readers):  # noqa: F811
    write_review(out)
    found = compare(out, readers, scores="reviewed")
    (agreement,) = found.agreements
    assert {case.row.case: case.score for case in agreement.cases} == {
        row.case: REVIEWED.get(row.case, row.tps) for row in rows_of(out) if row.evaluable
    }
    assert (agreement.n_reviewed, agreement.n_marked) == (2, 10)  # those of two are no more unconfirmed
    row = measure(out, "icc_2_1", first="pdl1quant, reviewed")
    assert (row["scores"], row["n_reviewed"], row["n"]) == ("reviewed", "2", "12")
    pairs = {row["case"]: row for row in table(out, "pairs.csv") if row["reader"] == "Dr. Béla"}
    assert (pairs["Case C"]["score"], pairs["Case C"]["reviewed"], pairs["Case C"]["scores"]) == (
        "30.0000", "true", "reviewed",
    )  # fmt: skip
    assert (pairs["Case A"]["reviewed"], pairs["Case A"]["scores"]) == ("false", "reviewed")
    assert found.notes[:2] == (
        "Reviewed scores: 2 of 12 cases were edited or signed in a review; the rest is as the program scored it.",
        "Dr. Ada reviewed 2 of them, and is held there against corrections of their own.",
    )
    assert "pdl1quant, reviewed against the median" in page_of(out)


def test_automated_and_reviewed_scores_stand_side_by_side_on_the_same_cases(out, readers):  # noqa: F811
    write_review(out, Case_I={"reviewed_evaluable": False})
    found = compare(out, readers, scores="both")
    assert [each.program for each in found.agreements] == ["pdl1quant", "pdl1quant, reviewed"]
    first, second = ([case.row.case for case in each.cases] for each in found.agreements)
    assert first == second
    assert "Case I" not in first
    why = {row["left_out"] for row in table(out, "pairs.csv") if row["case"] == "Case I"}
    assert why == {"after the review: not evaluable: fewer viable tumour cells than the assay asks for"}
    assert measure(out, "icc_2_1")["scores"] == "automated"
    assert measure(out, "icc_2_1", first="pdl1quant, reviewed")["n"] == measure(out, "icc_2_1")["n"] == "11"
    page = page_of(out)
    assert page.index("TPS (cytoplasm), automated</h2>") < page.index("TPS (cytoplasm), reviewed</h2>")


def test_automated_scores_are_compared_by_default_and_the_review_is_mentioned(out, readers):  # noqa: F811
    assert compare(out, readers).notes == ()
    write_review(out)
    found = compare(out, readers)
    assert [each.program for each in found.agreements] == ["pdl1quant"]
    assert "2 of 12 cases were edited or signed in a review: compared is what the program scored" in found.notes[0]


def test_scores_that_no_review_counts_are_compared_as_the_program_scored_them(out, readers):  # noqa: F811
    write_review(out)
    rows = [replace(row, ic_area_pct=row.tps) for row in read_scores(out / "scores.csv")]
    write_scores(rows, out / "scores.csv")
    found = compare(out, readers, column="ic", scores="both")
    assert [each.program for each in found.agreements] == ["pdl1quant"]
    assert found.notes[0].endswith("compared is what the program scored; no review counts such scores anew.")
    with pytest.raises(UsageError, match="no review counts ic_area_pct anew; compare it with --scores automated"):
        compare(out, readers, column="ic", scores="reviewed")
    found = compare(out, readers, column="tps_cytoplasm", scores="reviewed")  # what the pack's TPS repeats
    assert {case.score for case in found.agreements[0].cases} >= set(REVIEWED.values())


def test_a_case_whose_edits_cannot_be_applied_is_left_out_with_the_reason(out, readers):  # noqa: F811
    failed = {"status": Status.FAILED, "error": "1 image could not be recounted", "reviewed_tps": None}
    write_review(out, Case_C=failed)
    (left,) = [each for each in compare(out, readers, scores="reviewed").left_out if each.row.case == "Case C"]
    assert left.why == "after the review: not scored: 1 image could not be recounted"


def test_a_row_that_a_review_could_not_count_anew_is_left_out_with_the_reason(out, readers):  # noqa: F811
    none = dict.fromkeys(("reviewed_tps", "reviewed_n_tumour", "reviewed_evaluable"))
    write_review(out, Case_C={**none, "error": "is not recounted: score again"})
    (left,) = [each for each in compare(out, readers, scores="reviewed").left_out if each.row.case == "Case C"]
    assert left.why == "after the review: is not recounted: score again"


def test_edits_that_cannot_be_applied_hide_none_of_an_image_of_the_same_name(out):  # noqa: F811
    write_review(out)
    run = open_run(out)
    failed = replace(run.reviewed_images[0], status=Status.FAILED)
    images = tuple(replace(each, name="field.png") for each in run.results.images)
    run = replace(
        run,
        results=replace(run.results, images=images),
        image_rows=tuple(replace(row, image="field.png") for row in run.image_rows),
        reviewed_images=(failed, *run.reviewed_images[1:]),
    )
    (out / "edits").mkdir()
    for image in images[:2]:
        (out / "edits" / f"{image.stem}.jsonl").write_text("a line\n")
    assert edited_since(run) == ("field.png",)


def test_reviewed_scores_are_refused_where_they_are_not_those_of_the_edits_as_they_are(out, readers):  # noqa: F811
    again = re.escape(f"run pdl1quant rescore {out} first")
    with pytest.raises(UsageError, match=f"has no scores_reviewed.csv, .*{again}"):
        compare(out, readers, scores="reviewed")
    write_review(out)
    rows = read_scores(out / "scores.csv")
    write_scores([replace(row, tps=50.0) if row.case == "Case D" else row for row in rows], out / "scores.csv")
    with pytest.raises(UsageError, match=f"scores_reviewed.csv: not of Case D as scores.csv has it now; {again}"):
        compare(out, readers, scores="both")
    write_scores(rows, out / "scores.csv")
    (out / "edits").mkdir()
    (out / "edits" / "field_3.jsonl").write_text("a line\n")
    with pytest.raises(UsageError, match=f"field_3.png: was edited after scores_reviewed.csv was written; {again}"):
        compare(out, readers, scores="reviewed")
    with pytest.raises(UsageError, match="no scores 'all'; choose from automated, reviewed, both"):
        compare(out, readers, scores="all")


@pytest.mark.parametrize(
    "now",
    [
        {"tps": 50.0},
        {"cps": 12.0},  # of an added field without a tumour cell
        {"tps_high": 99.0},
        {"calls": ("TPS >= 1 % (US)",)},
        {"status": Status.PARTIAL},  # with an image that was refused
        {"config_digest": "0" * 12},
    ],
)
def test_a_review_of_other_scores_is_not_shown_as_one_of_these(out, now):  # noqa: F811
    write_review(out)
    assert open_run(out).reviewed["Case C"].reviewed_tps == REVIEWED["Case C"]
    rows = read_scores(out / "scores.csv")
    write_scores([replace(row, **now) if row.case == "Case C" else row for row in rows], out / "scores.csv")
    assert sorted(open_run(out).reviewed) == sorted(row.case for row in rows_of(out) if row.case != "Case C")


def test_a_resumed_run_with_more_images_says_that_the_comparison_is_of_earlier_scores(tmp_path):
    out = tmp_path / "out"  # noqa: F811
    draw_tile(tmp_path / "tiles" / "a.png")
    run(tmp_path / "tiles", out)
    page = out / "agreement" / "agreement.html"
    page.parent.mkdir()
    page.write_text(f'<meta name="{MARK_NAME}" content="{scores_mark(out, with_reviewed=False)}">')
    assert outdated_agreement(out) == ""
    draw_tile(tmp_path / "tiles" / "b.png", seed=1)
    run(tmp_path / "tiles", out, resume=True, listener=(listener := Deaf()))
    assert listener.complaints[-1] == TOLD


def test_a_comparison_of_earlier_scores_is_told_by_report_and_recount(tmp_path, pdl1quant):
    out = make_results(tmp_path)  # noqa: F811
    readers = write_wide(tmp_path / "readers.csv", {"case": ["45"]}, ["Ada"])
    compare(out, readers)
    rescore(out)
    assert outdated_agreement(out) == ""  # of automated scores, which no review moves
    compare(out, readers, scores="reviewed")
    assert rescore(out).problems == ()
    rows = read_scores(out / "scores.csv")
    write_scores([replace(row, tissue_mm2=1.5) for row in rows], out / "scores.csv")
    assert rescore(out).problems == (TOLD,)
    code, _, errors = pdl1quant("report", out)
    assert (code, errors) == (0, f"pdl1quant: {TOLD}\n")
    assert TOLD in (out / "report.html").read_text(encoding="utf-8")
    compare(out, readers)
    _, _, errors = pdl1quant("report", out)
    assert errors == ""
    assert TOLD not in (out / "report.html").read_text(encoding="utf-8")
