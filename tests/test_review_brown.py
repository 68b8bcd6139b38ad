"""Brown area in no cell, and what cells that a review adds make of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pdl1quant.model import CellClass, ResultFlag
from pdl1quant.outputs.scores_table import read_scores, write_scores
from pdl1quant.review import EditKind, MadeCell, rescore
from review_runs import make_results, open_review


def with_bare_brown(out, *, recorded=True):
    """The results as if the run had found half of the brown in no cell."""
    rows = read_scores(out / "scores.csv")
    flag = str(ResultFlag.BROWN_WITHOUT_CELLS)
    write_scores([replace(row, flags=(*row.flags, flag)) for row in rows], out / "scores.csv")
    record = json.loads((out / "run.json").read_text())
    for entry in record["images"] if recorded else ():
        entry["brown"] = {"area_um2": 20000.0, "without_cell_um2": 10000.0}
    (out / "run.json").write_text(json.dumps(record))
    return out


def added(n, bare_brown_um2):
    return [
        MadeCell(x_px=50 + k, y_px=60, cell_class=CellClass.TUMOUR, bare_brown_um2=bare_brown_um2) for k in range(n)
    ]


def test_cells_added_to_bare_brown_take_its_flag_away_and_their_undo_brings_it_back(tmp_path):
    out = with_bare_brown(make_results(tmp_path))
    review = open_review(out)
    assert "brown_without_cells" in review.automated.flags
    assert review.score.flags == review.automated.flags
    review.edit(EditKind.ADD, reviewer="A", made=added(80, 100.0))
    assert "brown_without_cells" not in review.score.flags
    (image, other, case) = rescore(out).rows
    assert image.reviewed_brown_without_cells_pct == pytest.approx(10.0)
    assert other.reviewed_brown_without_cells_pct == pytest.approx(50.0)
    assert "brown_without_cells" in other.reviewed_flags
    assert case.reviewed_brown_without_cells_pct == pytest.approx(30.0)
    assert "brown_without_cells" in case.reviewed_flags
    rows = np.arange(len(review.cells), len(review.state))
    review.edit(EditKind.DELETE, reviewer="A", cells=review.ids(rows))
    assert "brown_without_cells" in review.score.flags
    review.undo(reviewer="A")
    review.undo(reviewer="A")
    assert review.score.flags == review.automated.flags


def test_what_is_not_known_of_bare_brown_stays_as_the_run_said(tmp_path):
    (tmp_path / "older").mkdir()
    older = open_review(with_bare_brown(make_results(tmp_path / "older"), recorded=False))
    older.edit(EditKind.ADD, reviewer="A", made=added(80, 100.0))
    assert "brown_without_cells" in older.score.flags
    review = open_review(with_bare_brown(make_results(tmp_path)))
    review.edit(EditKind.ADD, reviewer="A", made=added(80, 100.0))
    outline = {"type": "Polygon", "coordinates": [[[0, 0], [900, 0], [900, 900], [0, 900], [0, 0]]]}
    review.edit(EditKind.ROI, reviewer="A", to="exclude", geometry=outline)
    assert "brown_without_cells" in review.score.flags
    not_measured = open_review(with_bare_brown(make_results(tmp_path)), "b")
    not_measured.edit(EditKind.ADD, reviewer="A", made=added(80, 0.0))
    assert "brown_without_cells" in not_measured.score.flags


def reviewed_bare_um2(review):
    return review.brown.without_cell_um2


def parts_of(cell, *areas_um2):
    """What an added cell is split into, with areas that are measured, or not (None)."""
    measured = [{} if area is None else {"cell_area_um2": area} for area in areas_um2]
    return [MadeCell(x_px=cell.x_px + k, y_px=60, cell_class="tumour", measurements=m) for k, m in enumerate(measured)]


@pytest.mark.parametrize(("areas_um2", "left_um2"), [((30.0, 90.0), 75.0), ((None, None), 50.0)])
def test_brown_comes_back_with_each_part_of_an_added_cell_that_is_deleted(tmp_path, areas_um2, left_um2):
    review = open_review(with_bare_brown(make_results(tmp_path)))
    (cell,) = added(1, 100.0)
    review.edit(EditKind.ADD, reviewer="A", made=[cell])
    one, other = review.edit(EditKind.SPLIT, reviewer="A", cells=[cell.id], made=parts_of(cell, *areas_um2)).made
    assert reviewed_bare_um2(review) == 9900
    review.edit(EditKind.DELETE, reviewer="A", cells=[one.id])
    assert reviewed_bare_um2(review) == 10_000 - left_um2
    review.edit(EditKind.DELETE, reviewer="A", cells=[other.id])
    assert reviewed_bare_um2(review) == 10_000
    for expected in (10_000 - left_um2, 9900, 9900, 10_000):
        review.undo(reviewer="A")
        assert reviewed_bare_um2(review) == expected


def test_brown_of_an_added_cell_goes_with_what_it_is_merged_into(tmp_path):
    out = with_bare_brown(make_results(tmp_path))
    review = open_review(out)
    cells = added(2, 100.0)
    review.edit(EditKind.ADD, reviewer="A", made=cells)
    of_run = review.ids([0])
    (merged,) = review.edit(EditKind.MERGE, reviewer="A", cells=[cells[0].id, *of_run]).made
    assert reviewed_bare_um2(review) == 9800
    review.edit(EditKind.DELETE, reviewer="A", cells=[merged.id])
    assert reviewed_bare_um2(review) == 9900
    assert reviewed_bare_um2(open_review(out)) == 9900
