"""Nests of tumour cells in a review: what is near and what is far is what a run would say of the reviewed cells."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import make_scored_cells
from pdl1quant import pipeline
from pdl1quant.model import CellClass, Counts, Flag, PositiveCounts
from pdl1quant.outputs.reviewed import read_reviewed
from pdl1quant.review import EditKind, MadeCell, rescore
from pdl1quant.review.edits import RoiRule
from pdl1quant.review.recount import BlockCounts, score_blocks
from pdl1quant.review.state import CellState
from pdl1quant.stages.nests import Squares
from pdl1quant.stages.score import count_blocks, count_cells
from pdl1quant.whole_slides.waiting import flag_far_cells, nest_grounds
from review_runs import make_results, open_review
from test_nests import BROWN, bands_of, core, flagged, sparse_cells
from test_review_recount import CONFIG, box, edit, pack_for, state_of

FAR = int(Flag.FAR_FROM_TUMOUR)
MPP = 0.5
NEAR_X, FAR_X = 100.0, 3000.0
NAMES = (*["tumour"] * 6, "lymphocyte", "lymphocyte", "macrophage", "tumour", "stroma")
X = (*range(60, 120, 10), NEAR_X, FAR_X, FAR_X + 30, FAR_X + 60, FAR_X + 90)
SIDE = 4000


def table():
    """Brown cells: a nest and a near lymphocyte, two far immune cells, and what else lies by those; as a run flags."""
    cells = make_scored_cells(len(X), cell_class=list(NAMES), x_px=np.array(X, float), y_px=50.0, **BROWN)
    return flagged(cells, Squares(width=SIDE, height=SIDE, mpp_x=MPP, mpp_y=MPP))


def with_nests(cells, rois=(), *, width=SIDE, height=SIDE, mpp_x=MPP, mpp_y=MPP):
    squares = Squares(width=width, height=height, mpp_x=mpp_x, mpp_y=mpp_y)
    grounds = nest_grounds(squares, rois)
    sides_um = {"mpp_x": mpp_x, "mpp_y": mpp_y}
    how = {"image_id": "image", "config": CONFIG, "pack": pack_for(), "sides_um": sides_um}
    return CellState(cells, **how, grounds=grounds)


def as_a_run(cells, rois=(), *, width=SIDE, height=SIDE, mpp_x=MPP, mpp_y=MPP):
    """The cells as a run flags them that calls and measures them so, and whether it finds a nest."""
    cells = cells.assign(flags=cells["flags"] & ~FAR).sort_values(["y_px", "x_px"], ignore_index=True)
    grounds = nest_grounds(Squares(width=width, height=height, mpp_x=mpp_x, mpp_y=mpp_y), rois)
    grid = SimpleNamespace(height=height, downsample_y=1.0)
    bands = list(flag_far_cells(bands_of(cells, 1024, 1.0, height + 1), grounds=grounds, grid=grid))
    flagged_cells = pd.concat([band.cells for band in bands], ignore_index=True) if bands else cells
    return flagged_cells, [ground.has_nest for ground in grounds]


def counts_of(state):
    return count_cells(state.counted(), config=CONFIG, pack=pack_for())


def n_immune(state):
    return counts_of(state).positive.immune


def far_rows(state):
    return np.flatnonzero(state.reviewed()["reviewed_flags"].to_numpy() & FAR).tolist()


# --- the reviewed score is that of a run which calls the cells so ----------------------------------------------------
def draw_change(data, state, edits, width, height):
    """An edit that can be made now; regions leave out, or limit, what a run with such regions would."""
    present = np.flatnonzero(state.present)
    x, y = (data.draw(st.floats(0, side - 1)) for side in (width, height))
    is_near = np.hypot(*(state.places_px[present] - (x, y)).T) < data.draw(st.sampled_from([30, 300, 1000]))
    chosen = present[is_near] if is_near.any() else present[:3]
    name = data.draw(st.sampled_from([str(each) for each in CellClass]))
    made = [MadeCell(x_px=x + k, y_px=y, cell_class=name, positive=True) for k in range(data.draw(st.integers(1, 9)))]
    ids = state.ids_of(chosen)
    kinds = ["class", "class", "class", "delete", "add", "split", "merge", "roi"] + ["undo"] * 2 * bool(edits)
    kind = EditKind(data.draw(st.sampled_from(kinds)))
    values = {
        EditKind.CLASS: {"cells": ids, "to": name},
        EditKind.DELETE: {"cells": ids},
        EditKind.ADD: {"made": made},
        EditKind.SPLIT: {"cells": ids[:1], "made": [made[0], MadeCell(x_px=x, y_px=y, cell_class="tumour")]},
        EditKind.MERGE: {"cells": ids[:2], "made": made[:1]},
        EditKind.ROI: {
            "to": data.draw(st.sampled_from(["exclude", "only"])),
            "geometry": box(x - 400, y - 300, x + 900, y + 700),
        },
        EditKind.UNDO: {"to": data.draw(st.sampled_from(edits)).id if edits else "nothing"},
    }
    return edit(kind, **values[kind])


SIZES = [(128, 128), (1180, 900), (2500, 1500), (4000, 4000)]
"""In px: 64 um, one field, just more than one, and 2 mm."""


@settings(max_examples=15)
@given(
    data=st.data(),
    seed=st.integers(0, 9999),
    size=st.sampled_from(SIZES),
    sides=st.sampled_from([(0.5, 0.5), (0.5, 0.25), (0.26, 0.5)]),
    is_array=st.booleans(),
)
def test_the_reviewed_score_is_that_of_a_run_which_calls_the_cells_so(data, seed, size, sides, is_array):
    rng = np.random.default_rng(seed)
    where = {"width": size[0], "height": size[1], "mpp_x": sides[0], "mpp_y": sides[1]}
    rois = [core(name, *place, 450) for name, place in (("A-1", (460, 470)), ("A-2", (1400, 480)))] if is_array else []
    n = data.draw(st.sampled_from([8, 40, 400]))
    cells, found = as_a_run(sparse_cells(rng, n, *size), rois, **where)
    state = with_nests(cells, rois, **where)
    how = {"config": CONFIG, "pack": pack_for()}
    running, edits = BlockCounts(state, mpp_x=sides[0], mpp_y=sides[1], **how), []
    assert (state.has_nests, far_rows(state)) == (any(found), np.flatnonzero(cells["flags"] & FAR).tolist())
    for _ in range(data.draw(st.integers(1, 8))):
        edits.append(draw_change(data, state, edits, *size))
        running.update(state.take(edits[-1:]))
        expected, found = as_a_run(state.counted(), rois, **where)
        blocks = count_blocks(expected, block_um=CONFIG.score.block_um, mpp_x=sides[0], mpp_y=sides[1], **how)
        scoring = {**how, "indication": None, "level": "image", "has_tumour_roi": False, "flags": ()}
        by_run = pipeline.score_blocks(blocks, has_nests=any(found), **scoring)
        reviewed = score_blocks(running.blocks, has_nests=state.has_nests, tumour_confirmed=False, **scoring)
        for name in ("cps", "cps_low", "cps_high", "tps", "tps_low", "tps_high", "flags"):
            assert getattr(reviewed, name) == getattr(by_run, name)
        assert [state.holds_nest(number) for number in range(len(found))] == found
        counted = state.counted().sort_values(["y_px", "x_px"], kind="stable", ignore_index=True)
        assert sum(blocks, Counts()).positive == sum(running.blocks, Counts()).positive
        assert ((counted["flags"] & FAR) > 0).sum() == ((expected["flags"] & FAR) > 0).sum()
    whole = with_nests(cells, rois, **where)
    whole.take(edits)
    assert whole.reviewed().equals(state.reviewed())
    for done in reversed(edits):
        state.take([edit(EditKind.UNDO, to=done.id)])
    assert (state.reviewed()["reviewed_flags"].to_numpy()[: len(cells)] == cells["flags"]).all()


@pytest.mark.parametrize("seed", range(4))
def test_far_cells_follow_the_nests_that_come_and_go_on_a_slide(seed):
    rng, side = np.random.default_rng(seed), 6000
    squares = Squares(width=side, height=side, mpp_x=MPP, mpp_y=MPP)
    cells = flagged(sparse_cells(rng, 1500, side, side), squares)
    state = with_nests(cells, width=side, height=side)
    far, seen = (cells["flags"].to_numpy() & FAR) > 0, []
    for _ in range(15):
        around = np.hypot(*(state.places_px - state.places_px[rng.integers(len(cells))]).T) < rng.uniform(50, 400)
        name = rng.choice(["tumour", "stroma", "lymphocyte"])
        changed = state.take([edit(EditKind.CLASS, state.ids_of(np.flatnonzero(around)), to=str(name))])
        counted = state.counted()
        before, far = far, (counted["flags"].to_numpy() & FAR) > 0
        assert np.isin(np.flatnonzero(before != far), changed).all()
        expected = flagged(counted.assign(flags=counted["flags"] & ~FAR), squares)
        assert (far == ((expected["flags"].to_numpy() & FAR) > 0)).all()
        seen.append(int((far != before)[~around].sum()))
    assert sum(n > 0 for n in seen) >= 3  # cells that nobody touched


def test_without_edits_far_cells_stay_far_and_nothing_is_edited():
    state = with_nests(table())
    assert (n_immune(state), far_rows(state)) == (1, [7, 8])
    assert (state.reviewed()["reviewed_flags"] == table()["flags"]).all()


def test_what_a_far_cell_is_made_counts_as_that():
    state = with_nests(table())
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([7])), to="tumour")])
    assert (counts_of(state).n_tumour, counts_of(state).positive.cytoplasm) == (8, 8)
    assert far_rows(state) == [8]
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([7])), to="macrophage")])
    assert (n_immune(state), far_rows(state)) == (1, [7, 8])


def test_immune_cells_are_near_nests_that_a_reviewer_makes_and_far_when_the_last_tumour_cell_of_one_is_none():
    state = with_nests(table())
    added = [MadeCell(x_px=FAR_X + x, y_px=90.0, cell_class=CellClass.TUMOUR, positive=False) for x in range(0, 40, 10)]
    rows = state.take([edit(EditKind.ADD, made=added)])
    assert (n_immune(state), far_rows(state)) == (3, [])  # with the one that the run saw they are five
    assert {7, 8} <= set(rows.tolist())
    state.take([edit(EditKind.DELETE, [added[0].id])])
    assert (n_immune(state), far_rows(state)) == (1, [7, 8])
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([0, 1])), to="stroma")])
    assert (n_immune(state), far_rows(state), state.has_nests) == (0, [6, 7, 8], False)


def test_what_the_results_do_not_say_of_their_size_stays_as_the_run_said():
    state = state_of(table())
    assert (far_rows(state), state.has_nests) == ([7, 8], None)
    state.take([edit(EditKind.DELETE, state.ids_of(np.arange(6)))])
    assert (n_immune(state), far_rows(state)) == (1, [7, 8])
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([7])), to="stroma")])
    assert far_rows(state) == [8]


@pytest.mark.parametrize(("rules", "counted"), [
    (("include",), 3), (("only",), 0), (("exclude",), 1), (("include", "only"), 2), (("include", "exclude"), 1),
])  # fmt: skip
def test_immune_cells_of_a_region_to_include_count_again(rules, counted):
    state = with_nests(table())
    drawn = [edit(EditKind.ROI, to=rule, geometry=box(2900, 0, 3200, 100)) for rule in rules]
    state.take(drawn)
    assert n_immune(state) == counted
    state.take([edit(EditKind.UNDO, to=each.id) for each in reversed(drawn)])
    assert (n_immune(state), far_rows(state)) == (1, [7, 8])


def test_without_nests_there_is_no_cps_until_a_reviewer_says_which_immune_cells_count(tmp_path):
    out = make_results(tmp_path, images=("a",), size_px=4000)

    def reviewed():
        rescore(out)
        return read_reviewed(out / "scores_reviewed.csv")

    for rule, has_cps in ((None, False), (RoiRule.ONLY, False), (RoiRule.INCLUDE, True)):
        if rule is not None:
            open_review(out).edit(EditKind.ROI, reviewer="Ada", to=rule, geometry=box(0, 0, 9000, 9000))
        for row in reviewed():
            assert (row.cps, row.tps is None, row.reviewed_tps is None) == (None, False, False)
            assert (row.reviewed_cps is not None, "no_nests" not in row.reviewed_flags) == (has_cps, has_cps)


@pytest.mark.parametrize("over", [box(8000, 8000, 8900, 8900), None])
def test_a_region_to_include_that_holds_no_cell_brings_no_cps(tmp_path, over):
    review = open_review(make_results(tmp_path, images=("a",), size_px=4000))
    review.edit(EditKind.ROI, reviewer="Ada", to=RoiRule.INCLUDE, geometry=over or box(0, 0, 900, 900))
    if over is None:
        assert review.score.cps is not None
        review.edit(EditKind.ROI, reviewer="Ada", to=RoiRule.EXCLUDE, geometry=box(-9, -9, 999, 999))
    assert (review.score.cps, "no_nests" in review.score.flags) == (None, True)


def field(names):
    """A field of 500 um with a cell of each name, all brown and far apart but for those of one class."""
    rng = np.random.default_rng(0)
    return make_scored_cells(
        len(names),
        cell_class=names,
        x_px=rng.uniform(0, 1000, len(names)),
        y_px=rng.uniform(0, 1000, len(names)),
        **BROWN,
    )


@pytest.mark.parametrize(("n_tumour", "is_nest"), [(1, False), (400, True)])
def test_lymphocytes_of_a_field_count_where_it_holds_a_nest(tmp_path, n_tumour, is_nest):
    """A field in which the run saw no immune cell; without a nest it did not say so, for nobody could tell."""
    out = make_results(tmp_path, tables=[field(["tumour"] * n_tumour + ["stroma"] * 20)], images=("a",), size_px=1000)
    review = open_review(out)
    assert review.automated.cps == 100
    stroma = np.flatnonzero(review.cells["cell_class"] == "stroma")
    review.edit(EditKind.CLASS, reviewer="Ada", cells=review.ids(stroma[:9]), to="lymphocyte")
    for row in rescore(out).rows:
        assert row.cps == 100
        assert (row.reviewed_cps is not None, "no_nests" in row.reviewed_flags) == (is_nest, not is_nest)
    assert review.counts.positive.immune == 9 * is_nest


def test_tumour_that_only_the_reviewer_saw_makes_nests(tmp_path):
    names = ["lymphocyte"] * 60 + ["stroma"] * 20
    out = make_results(tmp_path, tables=[field(names), field(names)], size_px=1000)
    review = open_review(out)
    assert review.score == review.automated
    lymphocytes = np.flatnonzero(review.cells["cell_class"] == "lymphocyte")
    review.edit(EditKind.CLASS, reviewer="Ada", cells=review.ids(lymphocytes[:1]), to="tumour")
    image, _, case = rescore(out).rows
    for row in (image, case):
        assert (row.reviewed_tps, row.reviewed_cps, "no_nests" in row.reviewed_flags) == (100, None, True)
    review.edit(EditKind.CLASS, reviewer="Ada", cells=review.ids(lymphocytes[:30]), to="tumour")
    image, other, case = rescore(out).rows
    assert other.reviewed_cps is None
    for row in (image, case):
        assert (row.reviewed_tps, row.reviewed_cps, "no_nests" in row.reviewed_flags) == (100, 100, False)


def test_brown_that_a_reviewer_sees_is_brown():
    def flags(n_positive):
        counts = Counts(n_tumour=10, positive=PositiveCounts(cytoplasm=n_positive))
        how = {"config": CONFIG, "pack": pack_for(), "indication": None, "level": "image"}
        return score_blocks([counts], flags=["no_dab_seen"], has_tumour_roi=False, tumour_confirmed=False, **how).flags

    assert ["no_dab_seen" in flags(n) for n in (0, 1)] == [True, False]
