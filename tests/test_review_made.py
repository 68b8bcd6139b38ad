"""What reviewers said of cells holds for the cells that they make of them."""

from __future__ import annotations

import numpy as np
import pytest

from factories import make_scored_cells
from pdl1quant.assays import load_pack
from pdl1quant.config import Config
from pdl1quant.model import CellClass, Flag
from pdl1quant.review import Edit, EditKind, MadeCell, joined_cell, labels_from_reviews
from pdl1quant.review import state as states
from pdl1quant.review.made import made_rows
from review_runs import make_results, open_review, viable

PACK = load_pack("28-8-cytoplasm")


@pytest.fixture
def out(tmp_path):
    return make_results(tmp_path)


def state_of(cells):
    return states.CellState(cells, image_id="image", config=Config(), pack=PACK, sides_um={"mpp_x": 0.5, "mpp_y": 0.5})


def merge_of(state, rows=(0, 1)):
    made = (MadeCell(x_px=5, y_px=0, cell_class="tumour"),)
    return Edit(kind=EditKind.MERGE, reviewer="Ada", cells=state.ids_of(np.array(rows)), made=made)


def halves():
    return [MadeCell(x_px=x, y_px=9, cell_class="tumour") for x in (3.0, 9.0)]


def test_a_merge_of_renamed_cells_is_of_the_class_that_they_have_now(out):
    review = open_review(out)
    two = viable(review)[:2]
    review.edit(EditKind.CLASS, reviewer="Ada", cells=two, to="stroma")
    joined = joined_cell(review.state.taken(review.state.rows_of(two)), [None, None])
    assert joined.cell_class is CellClass.STROMA
    made = review.edit(EditKind.MERGE, reviewer="Ada", cells=two).made[0]
    assert made.cell_class is CellClass.STROMA
    assert set(labels_from_reviews(out)["cell_class"]) == {"stroma"}


@pytest.mark.parametrize(
    ("said", "positive"),
    [((True, True), True), ((True, None), True), ((True, False), True), ((False, False), False), ((False, None), None)],
)
def test_a_merge_keeps_what_was_said_of_its_cells(out, said, positive):
    review = open_review(out)
    two = viable(review)[:2]
    for cell, word in zip(two, said, strict=True):
        if word is not None:
            review.edit(EditKind.POSITIVE, reviewer="Ada", cells=[cell], to=word)
    made = review.edit(EditKind.MERGE, reviewer="Ada", cells=two).made[0]
    assert made.positive is positive
    assert open_review(out).score == review.score


@pytest.mark.parametrize("word", [True, False])
def test_halves_of_a_split_keep_what_was_said_of_the_cell(out, word):
    review = open_review(out)
    cell = viable(review)[:1]
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=cell, to=word)
    review.edit(EditKind.SPLIT, reviewer="Ada", cells=cell, made=halves())
    last = np.arange(len(review.state.table))[-2:]
    assert review.state.now(last)["positive"].tolist() == [word, word]


def test_a_merge_with_a_pyknotic_fragment_counts_and_one_of_two_dead_cells_does_not():
    dead, edge = int(Flag.PYKNOTIC | Flag.SATURATED), int(Flag.TOUCHES_EDGE)
    state = state_of(make_scored_cells(6, flags=[0, dead, dead, dead, 0, edge]))
    state.take([merge_of(state, rows) for rows in ((0, 1), (2, 3), (4, 5))])
    assert state.table["flags"].tolist()[6:] == [int(Flag.SATURATED), dead, edge]


def test_a_merge_with_a_cell_that_was_never_measured_keeps_what_was_measured():
    state = state_of(make_scored_cells(1, cell_area_um2=100.0, cytoplasm_dab_od_mean=0.5))
    added = MadeCell(x_px=9, y_px=0, cell_class="tumour")
    state.take([Edit(kind=EditKind.ADD, reviewer="Ada", made=(added,))])
    state.take([merge_of(state)])
    merged = state.table.iloc[2]
    assert (merged["cell_area_um2"], merged["cytoplasm_dab_od_mean"], merged["positive"]) == (100, 0.5, True)


def test_reading_many_corrected_additions_makes_their_rows_at_once(monkeypatch):
    state = state_of(make_scored_cells(3))
    edits = []
    for number in range(5):
        made = MadeCell(x_px=9.0 * number, y_px=3, cell_class="tumour")
        edits.append(Edit(kind=EditKind.ADD, reviewer="Ada", made=(made,)))
        edits.append(Edit(kind=EditKind.CLASS, reviewer="Ada", cells=(made.id,), to="stroma"))
    tables = []

    def counted(*of, **how):
        tables.append(made_rows(*of, **how))
        return tables[-1]

    monkeypatch.setattr(states, "made_rows", counted)
    state.take(edits)
    assert len(tables) == 1
    assert state.now(np.arange(3, 8))["cell_class"].tolist() == ["stroma"] * 5
