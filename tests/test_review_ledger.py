"""The ledger of edits on disk: appended as it happens, whole after a crash, for its own results only."""

from __future__ import annotations

import errno
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from pdl1quant.config import load_config
from pdl1quant.errors import OutputError, ReviewError
from pdl1quant.model import CellClass
from pdl1quant.review import EditKind, MadeCell, open_case, open_results, say_of_case
from pdl1quant.review.ledger import EditLedger
from review_runs import make_results, open_review, viable


@pytest.fixture
def out(tmp_path):
    return make_results(tmp_path)


def lines_of(review):
    return [json.loads(line) for line in review.ledger.path.read_text().splitlines()]


# --- what a line says ------------------------------------------------------------------------------------------------
def test_an_edit_is_one_line_with_who_when_what_from_to_and_why(out):
    review = open_review(out)
    cell = viable(review)[0]
    review.edit(EditKind.CLASS, reviewer="Ada", cells=[cell], to="stroma", reason="spindle", uncertain_first=True)
    head, line = lines_of(review)
    assert head["image_sha256"] == review.image.sha256
    assert line["time"].endswith("+00:00")
    assert {name: line[name] for name in ("reviewer", "kind", "cells", "from", "to", "reason", "uncertain_first")} == {
        "reviewer": "Ada",
        "kind": "class",
        "cells": [cell],
        "from": ["tumour"],
        "to": "stroma",
        "reason": "spindle",
        "uncertain_first": True,
    }


def test_made_cells_come_back_with_geometry_and_measurements(out):
    outline = {"type": "Polygon", "coordinates": [[[0, 0], [8, 0], [8, 8], [0, 0]]]}
    cell = MadeCell(x_px=5.25, y_px=6.5, cell_class="tumour", geometry=outline, measurements={"cell_area_um2": 80.0})
    open_review(out).edit(EditKind.ADD, reviewer="Ada", made=[cell])
    assert open_review(out).ledger.edits[0].made == (cell,)


def test_reviewing_without_an_edit_writes_nothing(out):
    review = open_review(out)
    assert review.undo(reviewer="Ada") is None
    assert review.redo(reviewer="Ada") is None
    with pytest.raises(ReviewError):
        review.edit(EditKind.CLASS, reviewer="Ada", cells=["nobody"], to="stroma")
    assert not (out / "edits").exists() or not list((out / "edits").glob("*.torn"))
    assert not open_review(out).ledger.edits


def test_automated_columns_are_never_overwritten(out):
    before = (out / "cells" / "a.parquet").read_bytes()
    review = open_review(out)
    cells = viable(review)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[:9], to="other")
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=cells[9:18], to=True)
    review.edit(EditKind.MERGE, reviewer="Ada", cells=cells[20:22])
    reviewed = review.reviewed_cells()
    assert (out / "cells" / "a.parquet").read_bytes() == before
    assert reviewed.iloc[: len(review.cells)][list(review.cells)].equals(open_review(out, "a").cells)
    assert (reviewed["reviewed_class"] != reviewed["cell_class"]).sum() == 9


# --- crashes ---------------------------------------------------------------------------------------------------------
def cut_points(path):
    data = path.read_bytes()
    start = data.rstrip(b"\n").rfind(b"\n") + 1
    return data, start, range(start, len(data))


def test_a_crash_at_any_byte_of_the_last_line_loses_at_most_that_edit(out):
    review = open_review(out)
    cells = viable(review)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[:1], to="stroma")
    after_one = review.score
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=cells[1:2], to=True)
    after_two = review.score
    path = review.ledger.path
    data, start, points = cut_points(path)
    head = open_review(out).ledger.head
    for cut in points:
        path.write_bytes(data[:cut])
        ledger = EditLedger(path, head)
        is_whole = cut == len(data) - 1  # only the end of the line is missing
        assert len(ledger.edits) == (2 if is_whole else 1)
        assert bool(ledger.problems) == (start < cut < len(data) - 1)
    path.write_bytes(data[: len(data) - 1])
    assert open_review(out).score == after_two
    path.write_bytes(data[: len(data) - 2])
    assert open_review(out).score == after_one


@pytest.mark.parametrize("keep", [0, 1, 40, -2, -1])
def test_after_a_crash_the_next_edit_is_whole_and_what_was_torn_is_kept(out, keep):
    review = open_review(out)
    cells = viable(review)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[:1], to="stroma")
    review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[1:2], to="stroma")
    path = review.ledger.path
    data, start, _ = cut_points(path)
    cut = start + keep if keep >= 0 else len(data) + keep
    path.write_bytes(data[:cut])
    open_review(out).edit(EditKind.CLASS, reviewer="Bo", cells=cells[2:3], to="other")
    again = open_review(out)
    kept = 2 if keep == -1 else 1
    assert [edit.reviewer for edit in again.ledger.edits] == ["Ada"] * kept + ["Bo"]
    assert again.ledger.problems == ()
    aside = path.with_name(path.name + ".torn")
    if keep in {0, -1}:
        assert not aside.exists()
    else:
        assert aside.read_bytes() == data[start:cut] + b"\n"


def test_a_crash_in_the_very_first_line_starts_anew(out):
    review = open_review(out)
    cells = viable(review)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[:1], to="stroma")
    path = review.ledger.path
    path.write_bytes(path.read_bytes()[:30])
    again = open_review(out)
    assert "half-written" in again.ledger.problems[0]
    again.edit(EditKind.CLASS, reviewer="Ada", cells=cells[1:2], to="stroma")
    assert len(open_review(out).ledger.edits) == 1


def test_an_edit_that_did_not_reach_the_disk_is_not_there_later(out, monkeypatch):
    review = open_review(out)
    cells = viable(review)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for _ in range(2):  # the first line of the ledger, then any other
        with monkeypatch.context() as harm:
            harm.setattr(os, "fsync", full)
            with pytest.raises(OutputError, match="No space left"):
                review.edit(EditKind.DELETE, reviewer="Ada", cells=cells[:1])
        n = len(review.ledger.edits)
        assert len(open_review(out).ledger.edits) == n
        review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[:1], to="stroma")
        assert [each.kind for each in open_review(out).ledger.edits] == ["class"] * (n + 1)
    assert open_review(out).ledger.problems == ()


def test_a_damaged_line_in_the_middle_is_named_kept_and_not_applied(out):
    review = open_review(out)
    cells = viable(review)
    for cell in cells[:3]:
        review.edit(EditKind.CLASS, reviewer="Ada", cells=[cell], to="stroma")
    path = review.ledger.path
    lines = path.read_bytes().split(b"\n")
    lines[2] = b"\0" * len(lines[2])
    path.write_bytes(b"\n".join(lines))
    again = open_review(out)
    assert len(again.ledger.edits) == 2
    assert "line 3" in again.ledger.problems[0]
    again.edit(EditKind.CLASS, reviewer="Ada", cells=[cells[4]], to="stroma")
    assert path.read_bytes().split(b"\n")[2] == lines[2]


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "class", "to": "nonsense", "cells": ["x"]},
        {"kind": "positive", "to": "yes", "cells": ["x"]},
        {"kind": "roi", "to": "exclude", "geometry": {"type": "Point", "coordinates": [1, 1]}},
        {"kind": "redraw", "to": "x", "geometry": {"type": "Point", "coordinates": [1, 1]}},
        {"kind": "redraw"},
        {"kind": "split", "cells": ["x"], "made": []},
        {"kind": "merge", "cells": ["x"], "made": []},
        {"kind": "own_score", "to": {"tps": 140}},
        {"kind": "amend"},
        {"kind": "unheard_of"},
        ["no object"],
        {"kind": "add", "made": [{"x_px": 1, "y_px": 1, "cell_class": "tumour", "measurements": {"colour": 1}}]},
        {"kind": "add", "made": [{"x_px": 1, "y_px": 1, "cell_class": "tumour", "flags": 1 << 20}]},
        {
            "kind": "add",
            "made": [
                {"x_px": 1, "y_px": 1, "cell_class": "tumour", "geometry": {"type": "Point", "coordinates": [1, 1]}}
            ],
        },
    ],
    ids=lambda line: line["kind"] if isinstance(line, dict) else "list",
)
def test_a_line_that_says_what_cannot_be_is_reported_and_not_fatal(out, line):
    review = open_review(out)
    review.edit(EditKind.SIGN, reviewer="Ada")
    if isinstance(line, dict):
        line = {"reviewer": "Ada", "time": "2026-01-01T00:00:00+00:00", "id": "1", **line}
    with review.ledger.path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    again = open_review(out)
    assert len(again.ledger.problems) == 1
    assert "line 3" in again.ledger.problems[0]
    assert again.score == review.score


def test_a_cell_of_which_a_number_is_none_is_refused_before_it_is_written(out):
    review = open_review(out)
    for wrong in ({"x_px": float("nan")}, {"measurements": {"cell_area_um2": float("inf")}}):
        made = MadeCell(**{"x_px": 1.0, "y_px": 1.0, "cell_class": CellClass.TUMOUR, **wrong})
        with pytest.raises(ReviewError, match="not finite; nothing was written"):
            review.edit(EditKind.ADD, reviewer="Ada", made=[made])
    assert review.ledger.edits == []


def test_a_redraw_of_no_region_is_refused(out):
    review = open_review(out)
    with pytest.raises(ReviewError, match="no region 'x' in it"):
        review.edit(EditKind.REDRAW, reviewer="Ada", to="x")


# --- two reviewers ---------------------------------------------------------------------------------------------------
def test_two_open_reviews_see_each_other_at_the_next_edit(out):
    ada, bo = open_review(out), open_review(out)
    cells = viable(ada)
    ada.edit(EditKind.CLASS, reviewer="Ada", cells=cells[:5], to="stroma")
    bo.edit(EditKind.CLASS, reviewer="Bo", cells=cells[5:9], to="other")
    assert [edit.reviewer for edit in bo.ledger.edits] == ["Ada", "Bo"]
    assert bo.score == open_review(out).score
    assert bo.standing.reviewers == ("Ada", "Bo")


def test_undo_takes_back_the_own_last_edit_not_the_other_ones(out):
    ada, bo = open_review(out), open_review(out)
    cells = viable(ada)
    ada.edit(EditKind.CLASS, reviewer="Ada", cells=cells[:5], to="stroma")
    bo.edit(EditKind.CLASS, reviewer="Bo", cells=cells[5:9], to="other")
    ada.undo(reviewer="Ada")
    classes = ada.state.now(ada.state.rows_of(cells[:9]))["cell_class"].tolist()
    assert classes == ["tumour"] * 5 + ["other"] * 4


def test_a_cell_that_another_merged_meanwhile_cannot_be_edited(out):
    ada, bo = open_review(out), open_review(out)
    cells = viable(ada)
    ada.edit(EditKind.MERGE, reviewer="Ada", cells=cells[:2])
    with pytest.raises(ReviewError, match="no cell"):
        bo.edit(EditKind.CLASS, reviewer="Bo", cells=cells[:1], to="stroma")
    assert len(open_review(out).ledger.edits) == 1


def _write_many(out, reviewer, cells):
    review = open_review(out)
    for cell in cells:
        review.edit(EditKind.CLASS, reviewer=reviewer, cells=[cell], to="stroma")


def test_writers_at_the_same_time_lose_no_edit(out):
    cells = viable(open_review(out))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_write_many, [out, out], "AB", [cells[:8], cells[8:16]]))
    again = open_review(out)
    assert again.ledger.problems == ()
    assert sorted(edit.reviewer for edit in again.ledger.edits) == ["A"] * 8 + ["B"] * 8


@pytest.mark.parametrize("kind", [EditKind.SIGN, EditKind.LOCK])
def test_nobody_signs_or_locks_what_another_changed_unseen(out, kind):
    ada, bo = open_review(out), open_review(out)
    bo.edit(EditKind.CLASS, reviewer="Bo", cells=viable(bo)[:5], to="stroma")
    with pytest.raises(ReviewError, match="Bo changed it since you looked at it"):
        ada.edit(kind, reviewer="Ada")
    assert len(open_review(out).ledger.edits) == 1
    assert ada.score == bo.score  # what is shown now is what is signed
    ada.edit(kind, reviewer="Ada")
    bo.edit(
        EditKind.AMEND if kind is EditKind.LOCK else EditKind.SIGN, reviewer="Bo", reason="a signature is no change"
    )


# --- locked cases ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (EditKind.CLASS, {"to": "stroma"}),
        (EditKind.DELETE, {}),
        (EditKind.SIGN, {"cells": ()}),
        (EditKind.OWN_SCORE, {"cells": (), "to": {"tps": 40}}),
        (EditKind.LOCK, {"cells": ()}),
    ],
)
def test_a_locked_case_takes_only_an_amendment(out, kind, values):
    review = open_review(out)
    review.edit(EditKind.LOCK, reviewer="Ada")
    before = review.ledger.path.read_bytes()
    with pytest.raises(ReviewError, match="locked by Ada; amend"):
        open_review(out).edit(kind, reviewer="Bo", **{"cells": viable(review)[:1], **values})
    assert review.ledger.path.read_bytes() == before


def test_a_lock_by_another_process_holds_for_a_review_that_is_open(out):
    ada, bo = open_review(out), open_review(out)
    ada.edit(EditKind.LOCK, reviewer="Ada")
    with pytest.raises(ReviewError, match="locked"):
        bo.edit(EditKind.CLASS, reviewer="Bo", cells=viable(bo)[:1], to="stroma")


def test_amending_opens_the_case_and_needs_a_reason(out):
    review = open_review(out)
    with pytest.raises(ReviewError, match="not locked"):
        review.edit(EditKind.AMEND, reviewer="Ada", reason="none")
    review.edit(EditKind.LOCK, reviewer="Ada")
    with pytest.raises(ReviewError, match="reason"):
        review.edit(EditKind.AMEND, reviewer="Bo", reason=" ")
    review.edit(EditKind.AMEND, reviewer="Bo", reason="second opinion")
    review.edit(EditKind.CLASS, reviewer="Bo", cells=viable(review)[:1], to="stroma")
    assert review.standing.locked_by == ""


# --- other results ---------------------------------------------------------------------------------------------------
def change_head(out, **values):
    review = open_review(out)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:1], to="stroma")
    head, *lines = review.ledger.path.read_text().splitlines()
    review.ledger.path.write_text("\n".join([json.dumps(json.loads(head) | values), *lines]) + "\n")
    return review.ledger.path


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image_sha256": "0" * 64}, "another image"),
        ({"config_digest": "abc"}, "other settings"),
        ({"cells_schema": 0, "pdl1quant": "0.0.1"}, "pdl1quant 0.0.1"),
        ({"cells_sha256": "0" * 64, "pdl1quant": "0.0.1"}, "found by pdl1quant 0.0.1"),
        ({"edits_schema": 99}, "schema 99"),
    ],
)
def test_edits_of_other_results_are_refused_in_one_line(out, values, said):
    path = change_head(out, **values)
    with pytest.raises(ReviewError, match=said) as error:
        open_review(out)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_ledger_without_its_first_line_is_refused(out):
    path = change_head(out)
    path.write_text(path.read_text().partition("\n")[2])
    with pytest.raises(OutputError, match="first line"):
        open_review(out)


def test_cells_of_another_image_are_refused(out):
    shutil.copy(out / "cells" / "b.parquet", out / "cells" / "a.parquet")
    with pytest.raises(ReviewError, match="another image"):
        open_review(out)


def test_results_of_a_version_with_other_settings_are_refused(tmp_path):
    out = make_results(tmp_path, version={"config_digest": "abc", "pdl1quant": "0.0.1"})
    with pytest.raises(ReviewError, match=r"0\.0\.1"):
        open_results(out)


def test_results_that_moved_keep_their_review(out, tmp_path):
    review = open_review(out)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:7], to="stroma")
    moved = tmp_path / "elsewhere" / "results"
    moved.parent.mkdir()
    out.rename(moved)
    assert open_review(moved).score == review.score


def test_an_edit_beside_results_that_were_moved_away_is_refused_and_makes_no_folder(out, tmp_path):
    """It would lie where nobody looks for it; and it is taken again once they are back."""
    review = open_review(out)
    before = review.score
    out.rename(tmp_path / "moved")
    with pytest.raises(OutputError, match="moved or deleted; put them back"):
        review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:7], to="stroma")
    assert not out.exists()
    assert review.score == before
    shutil.copytree(tmp_path / "moved", out, copy_function=shutil.copy)  # with other times
    review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:7], to="stroma")
    assert open_review(out).score == review.score != before


def test_a_case_is_not_signed_in_part_when_an_image_of_it_is_gone(out):
    results = open_results(out)
    reviews = open_case(results, "case")
    (out / "cells" / "b.parquet").unlink()
    with pytest.raises(OutputError, match=r"b\.parquet: is gone"):
        say_of_case(reviews, EditKind.SIGN, reviewer="Ada")
    assert [each.ledger.edits for each in reviews] == [[], []]


@pytest.mark.parametrize("changes", [{"seed": 7}, {"seed": 7, "config": load_config(None, ["positivity.dab_od=0.25"])}])
def test_an_edit_of_results_that_were_scored_anew_meanwhile_is_refused(out, tmp_path, changes):
    review = open_review(out)
    make_results(tmp_path, **changes)
    with pytest.raises(OutputError, match="scored anew while its review was open; open it again"):
        review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:7], to="stroma")
    assert not review.ledger.path.exists()
    assert open_review(out).standing.n_edits == 0
