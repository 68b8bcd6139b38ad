"""From edits to counts: one by one equals all at once, undone is as never done, words mean what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import make_scored_cells, random_cells
from pdl1quant.assays import load_pack
from pdl1quant.config import Config
from pdl1quant.errors import ReviewError
from pdl1quant.model import CELL_COLUMNS, EXCLUDING_FLAGS, CellClass, Compartment, Counts, Flag
from pdl1quant.outputs.palette import counts_as_positive
from pdl1quant.review import Edit, EditKind, MadeCell, next_uncertain, review_cells, reviewed_curve, uncertainty
from pdl1quant.review.recount import BlockCounts
from pdl1quant.review.state import REVIEW_COLUMNS, CellState
from pdl1quant.stages.score import count_blocks, count_cells
from review_runs import make_results, open_review, probabilities, viable

CONFIG = Config()
MPP = 0.5
CLASSES = [str(each) for each in CellClass]
KINDS = [EditKind(name) for name in ("class", "positive", "delete", "add", "split", "merge", "roi", "redraw", "undo")]
RULES = st.sampled_from(["include", "exclude", "only"])


def pack_for(compartment=Compartment.CYTOPLASM):
    return replace(load_pack("28-8-cytoplasm"), compartment=compartment)


def state_of(cells, pack=None):
    return CellState(
        cells, image_id="image", sides_um={"mpp_x": MPP, "mpp_y": MPP}, config=CONFIG, pack=pack or pack_for()
    )


def counts_of(state, pack=None):
    return sum(BlockCounts(state, mpp_x=MPP, mpp_y=MPP, config=CONFIG, pack=pack or pack_for()).blocks, Counts())


def edit(kind, cells=(), **values):
    return Edit(kind=kind, reviewer="Ada", cells=tuple(cells), **values)


def box(x0, y0, x1, y1):
    return {"type": "Polygon", "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]}


# --- random reviews --------------------------------------------------------------------------------------------------
def draw_edit(data, state, edits):
    """One edit that can be made now."""
    present = np.flatnonzero(state.present)
    rows = data.draw(st.lists(st.sampled_from(present.tolist()), min_size=2, max_size=12, unique=True))
    ids = state.ids_of(np.array(rows))
    kind = data.draw(st.sampled_from(KINDS))
    place = {name: data.draw(st.floats(0, 4000)) for name in ("x_px", "y_px")}
    name = data.draw(st.sampled_from(CLASSES))
    positive = data.draw(st.sampled_from([None, True, False]))
    area = {"cell_area_um2": data.draw(st.floats(10, 400))}
    made = MadeCell(**place, cell_class=name, positive=positive, measurements=area)
    other = MadeCell(x_px=place["x_px"] + 9, y_px=place["y_px"], cell_class="tumour")
    x0, y0 = place.values()
    values = {
        EditKind.CLASS: {"cells": ids, "to": name},
        EditKind.POSITIVE: {"cells": ids, "to": bool(positive)},
        EditKind.DELETE: {"cells": ids},
        EditKind.ADD: {"made": (made,)},
        EditKind.SPLIT: {"cells": ids[:1], "made": (made, other)},
        EditKind.MERGE: {"cells": ids[:2], "made": (made,)},
        EditKind.ROI: {"to": data.draw(RULES), "geometry": box(x0, y0, x0 + 900, y0 + 1500)},
        EditKind.REDRAW: {
            "to": data.draw(st.sampled_from(edits)).id if edits else "nothing",
            "geometry": data.draw(st.sampled_from([None, box(x0, y0, x0 + 1500, y0 + 900)])),
        },
        EditKind.UNDO: {"to": data.draw(st.sampled_from(edits)).id if edits else "nothing"},
    }
    return edit(kind, **values[kind])


@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 99), compartment=st.sampled_from(list(Compartment)))
def test_counting_edit_by_edit_equals_counting_all_at_once(data, seed, compartment):
    cells, pack = random_cells(seed, 120), pack_for(compartment)
    state = state_of(cells, pack)
    running = BlockCounts(state, mpp_x=MPP, mpp_y=MPP, config=CONFIG, pack=pack)
    edits = []
    for _ in range(data.draw(st.integers(1, 15))):
        edits.append(draw_edit(data, state, edits))
        running.update(state.take(edits[-1:]))
    whole = state_of(cells, pack)
    whole.take(edits)
    blocks = count_blocks(
        whole.counted(), block_um=CONFIG.score.block_um, mpp_x=MPP, mpp_y=MPP, config=CONFIG, pack=pack
    )
    assert running.blocks == blocks  # to the last bit, areas too
    assert sum(blocks, Counts()).n_cells == whole.present.sum()
    assert state.reviewed().equals(whole.reviewed())


@settings(max_examples=12)
@given(data=st.data(), seed=st.integers(0, 99))
def test_undoing_everything_gives_the_automated_counts_exactly(data, seed):
    cells = random_cells(seed, 120)
    state = state_of(cells)
    running = BlockCounts(state, mpp_x=MPP, mpp_y=MPP, config=CONFIG, pack=pack_for())
    automated = running.blocks
    edits = []
    for _ in range(data.draw(st.integers(1, 10))):
        new = draw_edit(data, state, [])
        edits.append(new)
        running.update(state.take([new]))
    for done in reversed(edits):
        running.update(state.take([edit(EditKind.UNDO, to=done.id)]))
    assert running.blocks == automated
    assert automated == count_blocks(
        cells, block_um=CONFIG.score.block_um, mpp_x=MPP, mpp_y=MPP, config=CONFIG, pack=pack_for()
    )
    assert (state.reviewed()["reviewed_flags"].to_numpy()[:120] == cells["flags"].to_numpy()).all()


@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 99))
def test_counts_are_those_of_a_tally_by_hand(data, seed):
    """Class, positive, delete and undo against a dictionary that is edited in the plainest way."""
    cells, pack = random_cells(seed, 60), pack_for()
    state = state_of(cells, pack)
    ids = state.ids_of(np.arange(60))
    kinds = (EditKind.CLASS, EditKind.POSITIVE, EditKind.DELETE, EditKind.UNDO)
    edits = []
    for _ in range(data.draw(st.integers(1, 15))):
        kind = data.draw(st.sampled_from(kinds if edits else kinds[:3]))
        chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, max_size=9, unique=True))
        to = {
            EditKind.CLASS: data.draw(st.sampled_from(CLASSES)),
            EditKind.POSITIVE: data.draw(st.booleans()),
            EditKind.DELETE: None,
            EditKind.UNDO: data.draw(st.sampled_from(edits)).id if edits else None,
        }[kind]
        edits.append(edit(kind, () if kind is EditKind.UNDO else chosen, to=to))
    holding = list(edits)
    while any(each.kind is EditKind.UNDO for each in holding):  # the last undo is not undone: it takes its edit away
        last = [each for each in holding if each.kind is EditKind.UNDO][-1]
        holding = [each for each in holding if each.id not in {last.id, last.to}]
    by_hand = {}
    for name, row in zip(ids, cells.itertuples(), strict=True):
        is_out = bool(row.flags & int(EXCLUDING_FLAGS))
        by_hand[name] = {"class": str(row.cell_class), "positive": bool(row.positive), "out": is_out}
    for each in holding:
        for name in each.cells:
            if each.kind is EditKind.DELETE:
                by_hand[name]["out"] = True
            else:
                by_hand[name][each.kind.value] = each.to
    tumour = [each for each in by_hand.values() if each["class"] == "tumour" and not each["out"]]
    state.take(edits)
    counts = counts_of(state, pack)
    assert (counts.n_tumour, counts.positive.cytoplasm) == (len(tumour), sum(each["positive"] for each in tumour))


# --- what words mean -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("compartment", list(Compartment))
@pytest.mark.parametrize("cell_class", ["tumour", "lymphocyte", "stroma"])
@pytest.mark.parametrize("word", [True, False])
def test_positive_and_negative_are_what_the_score_counts(compartment, cell_class, word):
    pack = pack_for(compartment)
    cells = random_cells(3, 80)
    state = state_of(cells, pack)
    ids = state.ids_of(np.arange(80))
    state.take([edit(EditKind.CLASS, ids, to=cell_class), edit(EditKind.POSITIVE, ids, to=word)])
    counted = state.counted()
    assert (counts_as_positive(counted, compartment) == word).all()
    assert ((counted["dab_grade"] > 0) == word).all()
    counts = count_cells(counted, config=CONFIG, pack=pack)
    if cell_class == "tumour":
        assert getattr(counts.positive, compartment) == (counts.n_tumour if word else 0)


def test_what_a_reviewer_said_does_not_move_with_the_threshold():
    cells = make_scored_cells(4, cytoplasm_dab_od_mean=[0.21, 0.19, 0.21, 0.19])
    state = state_of(cells)
    ids = state.ids_of(np.arange(2))
    state.take([edit(EditKind.POSITIVE, ids[:1], to=True), edit(EditKind.POSITIVE, ids[1:], to=False)])
    counts = counts_of(state)
    assert counts.positive.cytoplasm == 2
    assert counts.positive_strict.cytoplasm == 1  # the third falls, the first was confirmed
    assert counts.positive_lenient.cytoplasm == 3  # the fourth rises, the second was said to be negative


def test_a_later_word_on_a_cell_holds_and_undoing_it_gives_the_earlier_one():
    state = state_of(make_scored_cells(1))
    cell = state.ids_of(np.array([0]))
    edits = [edit(EditKind.CLASS, cell, to=name) for name in ("stroma", "other", "lymphocyte")]
    state.take(edits)
    for undone, left in ((edits[2], "other"), (edits[0], "other"), (edits[1], "tumour")):
        state.take([edit(EditKind.UNDO, to=undone.id)])
        assert state.now(np.array([0]))["cell_class"].tolist() == [left]


def test_cells_left_out_by_the_run_stay_left_out():
    state = state_of(make_scored_cells(3, flags=[int(Flag.PYKNOTIC), int(Flag.TOUCHES_EDGE), 0]))
    state.take([edit(EditKind.POSITIVE, state.ids_of(np.arange(3)), to=True)])
    assert counts_of(state).positive.cytoplasm == 1


@pytest.mark.parametrize(("kind", "to"), [(EditKind.POSITIVE, True), (EditKind.CLASS, "tumour")])
def test_a_person_who_judges_an_overlaid_cell_brings_it_back(kind, to):
    state = state_of(make_scored_cells(2, flags=int(Flag.OVERLAID)))
    state.take([edit(kind, state.ids_of(np.array([0])), to=to)])
    flags = state.reviewed()["reviewed_flags"].to_numpy()
    assert (flags & int(Flag.OVERLAID) != 0).tolist() == [False, True]
    state.take([edit(EditKind.UNDO, to=state.edits[0].id)])
    assert (state.reviewed()["reviewed_flags"].to_numpy() == int(Flag.OVERLAID)).all()


def test_edited_cells_carry_the_flag_and_others_do_not():
    state = state_of(make_scored_cells(9))
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([2, 5])), to="stroma")])
    flags = state.reviewed()["reviewed_flags"].to_numpy()
    assert np.flatnonzero(flags & int(Flag.EDITED)).tolist() == [2, 5]


def test_a_reviewed_table_has_the_columns_of_the_run_and_those_of_the_review():
    cells = make_scored_cells(5)
    table = review_cells(cells, [], image_id="image", mpp_x=MPP, mpp_y=MPP, config=CONFIG, pack=pack_for())
    assert list(table) == [column.name for column in CELL_COLUMNS] + list(REVIEW_COLUMNS)
    assert table[list(cells)].equals(cells)


def test_an_image_without_cells_can_be_reviewed():
    state = state_of(make_scored_cells(0))
    assert counts_of(state) == Counts()
    state.take([edit(EditKind.ADD, made=(MadeCell(x_px=1, y_px=1, cell_class="tumour", positive=True),))])
    assert counts_of(state).positive.cytoplasm == 1


# --- cells that a review makes ---------------------------------------------------------------------------------------
def test_a_merge_keeps_area_and_highest_run_and_counts_once():
    cells = make_scored_cells(3, cell_area_um2=[100.0, 50.0, 80.0], membrane_dab_od_run=[0.1, 0.5, 0.0])
    state = state_of(cells)
    made = MadeCell(x_px=5, y_px=0, cell_class="tumour")
    state.take([edit(EditKind.MERGE, state.ids_of(np.array([0, 1])), made=(made,))])
    merged = state.table.iloc[3]
    assert merged["cell_area_um2"] == pytest.approx(150)
    assert merged["membrane_dab_od_run"] == np.float32(0.5)
    counts = counts_of(state)
    assert (counts.n_cells, counts.n_tumour, counts.positive.membrane) == (2, 2, 1)


def test_halves_of_a_split_share_the_area_and_own_measurements_win():
    state = state_of(make_scored_cells(1, cell_area_um2=100.0, cytoplasm_dab_od_mean=0.5))
    halves = (
        MadeCell(x_px=0, y_px=0, cell_class="tumour"),
        MadeCell(x_px=9, y_px=0, cell_class="tumour", measurements={"cytoplasm_dab_od_mean": 0.05}),
    )
    state.take([edit(EditKind.SPLIT, state.ids_of(np.array([0])), made=halves)])
    assert state.table["cell_area_um2"].tolist() == [100, 50, 50]
    counts = counts_of(state)
    assert (counts.n_tumour, counts.positive.cytoplasm) == (2, 1)


def test_cells_that_a_review_makes_have_grades_by_the_bins_of_od():
    state = state_of(make_scored_cells(2, cytoplasm_dab_od_mean=[0.7, 0.7], cell_area_um2=100.0))
    measured = [{"cytoplasm_dab_od_mean": od} for od in (0.1, 0.3, 0.5, 0.7)]
    added = tuple(MadeCell(x_px=9 * k, y_px=9, cell_class="tumour", measurements=od) for k, od in enumerate(measured))
    run_alone = MadeCell(x_px=50, y_px=9, cell_class="tumour", measurements={"membrane_dab_od_run": 0.5})
    state.take([edit(EditKind.ADD, made=(*added, run_alone))])
    merged = MadeCell(x_px=5, y_px=0, cell_class="tumour")
    state.take([edit(EditKind.MERGE, state.ids_of(np.array([0, 1])), made=(merged,))])
    assert state.table["dab_grade"].tolist()[2:] == [0, 1, 2, 3, 0, 3]
    counts = counts_of(state)
    assert (counts.grade_1, counts.grade_2, counts.grade_3) == (1, 1, 2)


def test_an_added_cell_lies_outside_the_region_if_its_neighbour_does():
    cells = make_scored_cells(2, x_px=[0.0, 500.0], y_px=0.0, flags=[0, int(Flag.OUTSIDE_ROI)])
    state = state_of(cells)
    made = tuple(MadeCell(x_px=x, y_px=3, cell_class="tumour", positive=True) for x in (10.0, 490.0))
    state.take([edit(EditKind.ADD, made=made)])
    counts = counts_of(state)
    assert (counts.n_cells, counts.n_tumour) == (4, 2)


@pytest.mark.parametrize(("mpp_x", "is_outside"), [(0.25, False), (0.5, True)])
def test_the_neighbour_of_an_added_cell_is_the_nearest_in_um(mpp_x, is_outside):
    cells = make_scored_cells(2, x_px=[0.0, 50.0], y_px=[50.0, 20.0], flags=[0, int(Flag.OUTSIDE_ROI)])
    state = CellState(cells, image_id="image", sides_um={"mpp_x": mpp_x, "mpp_y": 0.5}, config=CONFIG, pack=pack_for())
    rows = state.take([edit(EditKind.ADD, made=[MadeCell(x_px=40.0, y_px=47.0, cell_class="tumour")])])
    assert bool(state.flags_of(rows)[0] & int(Flag.OUTSIDE_ROI)) is is_outside


# --- regions ---------------------------------------------------------------------------------------------------------
def test_regions_paint_over_each_other_and_count_from_the_corner_of_the_first_pixel():
    cells = make_scored_cells(4, x_px=[0.0, 10.0, 20.0, 30.0], y_px=0.0)
    state = state_of(cells)

    def inside():
        return (state.reviewed()["reviewed_flags"].to_numpy() & int(Flag.OUTSIDE_ROI) == 0).tolist()

    only = edit(EditKind.ROI, to="only", geometry=box(0, 0, 20.4, 1))  # the centre of the third is at 20.5
    state.take([only])
    assert inside() == [True, True, False, False]
    exclude = edit(EditKind.ROI, to="exclude", geometry=box(0, 0, 5, 1))
    state.take([exclude])
    assert inside() == [False, True, False, False]
    state.take([edit(EditKind.ROI, to="include", geometry=box(25, 0, 35, 1))])
    assert inside() == [False, True, False, True]
    state.take([edit(EditKind.UNDO, to=exclude.id)])
    assert inside() == [True, True, False, True]


# --- undo and redo ---------------------------------------------------------------------------------------------------
def test_undo_and_redo_walk_back_and_forth_and_a_new_edit_ends_the_redo(tmp_path):
    review = open_review(make_results(tmp_path))
    cells = viable(review)
    scores = [review.score]
    for name in ("stroma", "other", "lymphocyte"):
        review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[:40], to=name)
        scores.append(review.score)
        cells = cells[5:]
    for want in (2, 1, 0):
        review.undo(reviewer="Ada")
        assert review.score == scores[want]
    assert review.score == review.automated
    assert review.undo(reviewer="Ada") is None
    for want in (1, 2):
        review.redo(reviewer="Ada")
        assert review.score == scores[want]
    review.edit(EditKind.CLASS, reviewer="Ada", cells=cells[:1], to="other")
    assert review.redo(reviewer="Ada") is None
    assert open_review(review.results.out).score == review.score


def test_undo_of_a_split_waits_for_the_merge_of_its_parts(tmp_path):
    review = open_review(make_results(tmp_path))
    cells = viable(review)
    halves = [MadeCell(x_px=1.0 * k, y_px=1, cell_class="tumour") for k in range(2)]
    split = review.edit(EditKind.SPLIT, reviewer="Ada", cells=cells[:1], made=halves)
    merge = review.edit(EditKind.MERGE, reviewer="Ada", cells=[halves[0].id, cells[1]])
    with pytest.raises(ReviewError, match="undo that first"):
        review.edit(EditKind.UNDO, reviewer="Ada", to=split.id)
    undone = review.edit(EditKind.UNDO, reviewer="Ada", to=merge.id)
    review.edit(EditKind.UNDO, reviewer="Ada", to=split.id)
    assert review.score == review.automated
    with pytest.raises(ReviewError, match="gone"):
        review.edit(EditKind.UNDO, reviewer="Ada", to=undone.id)
    with pytest.raises(ReviewError, match="no change"):
        review.edit(EditKind.UNDO, reviewer="Ada", to="nothing")


# --- uncertain cells, curve ------------------------------------------------------------------------------------------
def test_cells_near_a_decision_come_first_and_edited_or_excluded_ones_not_at_all():
    cells = make_scored_cells(
        6,
        tumour_probability=[0.99, 0.5, 0.99, 0.6, 0.5, 0.5],
        stroma_probability=[0.01, 0.5, 0.01, 0.4, 0.5, 0.5],
        cytoplasm_dab_od_mean=[0.6, 0.6, 0.21, 0.6, 0.6, 0.6],
        flags=[0, 0, 0, 0, int(Flag.OUT_OF_FOCUS), 0],
    )
    state = state_of(cells)
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([5])), to="tumour")])
    assert next_uncertain(state, config=CONFIG, pack=pack_for()).tolist() == [1, 3, 2, 0]


def test_without_probabilities_the_cut_off_alone_decides():
    cells = make_scored_cells(4, cytoplasm_dab_od_mean=[0.6, 0.23, 0.2, 0.16], cell_class=["tumour"] * 3 + ["stroma"])
    unsure = uncertainty(cells, config=CONFIG, pack=pack_for())
    assert unsure.tolist() == pytest.approx([0, 1 - 0.03 / CONFIG.score.threshold_margin_od, 1, 0], abs=1e-6)


@pytest.mark.parametrize("compartment", list(Compartment))
def test_the_curve_at_t1_is_the_score_and_words_hold_all_along_it(compartment):
    pack = pack_for(compartment)
    state = state_of(random_cells(5, 300).assign(**probabilities(5, 300)), pack)
    ids = state.ids_of(np.arange(300))
    state.take([edit(EditKind.POSITIVE, ids[:60], to=True), edit(EditKind.DELETE, ids[60:90])])
    thresholds = [0.05, CONFIG.positivity.dab_od, 0.35, 5.0]
    curve = reviewed_curve(state, thresholds, config=CONFIG, pack=pack)
    counts = counts_of(state, pack)
    automated = count_cells(state.table, config=CONFIG, pack=pack)
    assert curve["tps_reviewed"][1] == pytest.approx(100 * getattr(counts.positive, compartment) / counts.n_tumour)
    assert curve["tps_automated"][1] == pytest.approx(
        100 * getattr(automated.positive, compartment) / automated.n_tumour
    )
    viable_rows = (state.table["flags"][:60] & int(EXCLUDING_FLAGS) == 0) & (state.table["cell_class"][:60] == "tumour")
    assert curve["tps_automated"][3] == 0
    assert curve["tps_reviewed"][3] == pytest.approx(100 * viable_rows.sum() / counts.n_tumour)
