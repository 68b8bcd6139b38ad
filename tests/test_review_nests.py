"""What a review makes of immune cells that the run found far from any tumour: kept, unless a person says otherwise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import make_scored_cells, random_cells
from pdl1quant.model import CellClass, Counts, Flag, PositiveCounts
from pdl1quant.outputs.reviewed import read_reviewed
from pdl1quant.review import EditKind, MadeCell, rescore
from pdl1quant.review.edits import RoiRule
from pdl1quant.review.recount import BlockCounts, score_blocks
from pdl1quant.stages.score import count_cells
from review_runs import make_results, open_review
from test_review_recount import CONFIG, MPP, box, draw_edit, edit, pack_for, state_of

FAR = int(Flag.FAR_FROM_TUMOUR)
NEAR_X, FAR_X = 100.0, 3000.0
NAMES = ("tumour", "lymphocyte", "lymphocyte", "macrophage", "tumour", "stroma")
X = (90.0, NEAR_X, FAR_X, FAR_X + 30, FAR_X + 60, FAR_X + 90)


def cells():
    """Brown ones: a near lymphocyte, two far immune cells, and what else lies by those."""
    flags = [
        FAR if name in {"lymphocyte", "macrophage"} and x >= FAR_X else 0 for name, x in zip(NAMES, X, strict=True)
    ]
    ods = {"membrane_dab_od_run": 0.5, "cytoplasm_dab_od_mean": 0.5, "cell_dab_od_mean": 0.5}
    return make_scored_cells(len(X), cell_class=list(NAMES), x_px=np.array(X), y_px=50.0, flags=flags, **ods)


def counts_of(state):
    return count_cells(state.counted(), config=CONFIG, pack=pack_for())


def n_immune(state):
    return counts_of(state).positive.immune


def far_rows(state):
    return np.flatnonzero(state.reviewed()["reviewed_flags"].to_numpy() & FAR).tolist()


def test_without_edits_far_cells_stay_far_and_nothing_is_edited():
    state = state_of(cells())
    assert (n_immune(state), far_rows(state)) == (1, [2, 3])
    assert (state.reviewed()["reviewed_flags"] == cells()["flags"]).all()


def test_what_a_far_cell_is_made_counts_as_that():
    state = state_of(cells())
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([2])), to="tumour")])
    assert (counts_of(state).n_tumour, counts_of(state).positive.cytoplasm) == (3, 3)
    assert far_rows(state) == [3]
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([2])), to="macrophage")])
    assert (n_immune(state), far_rows(state)) == (1, [2, 3])


def test_what_becomes_an_immune_cell_is_as_far_as_the_nearest_one_of_the_run():
    state = state_of(cells())
    state.take([edit(EditKind.CLASS, state.ids_of(np.array([0, 4, 5])), to="lymphocyte")])
    assert (n_immune(state), far_rows(state)) == (2, [2, 3, 4, 5])
    made = [MadeCell(x_px=x, y_px=60.0, cell_class=CellClass.LYMPHOCYTE, positive=True) for x in (NEAR_X, FAR_X)]
    state.take([edit(EditKind.ADD, made=made)])
    assert (n_immune(state), far_rows(state)) == (3, [2, 3, 4, 5, 7])


@pytest.mark.parametrize(("rules", "counted"), [
    (("include",), 3), (("only",), 0), (("exclude",), 1), (("include", "only"), 2), (("include", "exclude"), 1),
])  # fmt: skip
def test_immune_cells_of_a_region_to_include_count_again(rules, counted):
    state = state_of(cells())
    drawn = [edit(EditKind.ROI, to=rule, geometry=box(2900, 0, 3200, 100)) for rule in rules]
    state.take(drawn)
    assert n_immune(state) == counted
    state.take([edit(EditKind.UNDO, to=each.id) for each in reversed(drawn)])
    assert (n_immune(state), far_rows(state)) == (1, [2, 3])


def test_without_nests_there_is_no_cps_until_a_reviewer_says_which_immune_cells_count(tmp_path):
    out = make_results(tmp_path, images=("a",), has_nests=False)

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
    review = open_review(make_results(tmp_path, images=("a",), has_nests=False))
    review.edit(EditKind.ROI, reviewer="Ada", to=RoiRule.INCLUDE, geometry=over or box(0, 0, 900, 900))
    if over is None:
        assert review.score.cps is not None
        review.edit(EditKind.ROI, reviewer="Ada", to=RoiRule.EXCLUDE, geometry=box(-9, -9, 999, 999))
    assert (review.score.cps, "no_nests" in review.score.flags) == (None, True)


def test_tumour_that_only_the_reviewer_saw_has_no_cps_where_the_run_found_no_nest(tmp_path, monkeypatch):
    def lymphoid(seed, n):
        cells = random_cells(seed, n)
        is_tumour = cells["cell_class"] == "tumour"
        return cells.assign(cell_class=cells["cell_class"].mask(is_tumour, "lymphocyte"), flags=np.int32(FAR))

    monkeypatch.setattr("review_runs.random_cells", lymphoid)
    out = make_results(tmp_path)
    review = open_review(out)
    assert review.score == review.automated
    lymphocytes = np.flatnonzero(review.cells["cell_class"] == "lymphocyte")
    review.edit(EditKind.CLASS, reviewer="Ada", cells=review.ids(lymphocytes[:30]), to="tumour")
    rescore(out)
    image, _, case = read_reviewed(out / "scores_reviewed.csv")
    for row in (image, case):
        assert row.reviewed_tps is not None
        assert (row.reviewed_cps, "no_nests" in row.reviewed_flags) == (None, True)
    review.edit(EditKind.ROI, reviewer="Ada", to=RoiRule.INCLUDE, geometry=box(0, 0, 9000, 9000))
    rescore(out)
    image, _, case = read_reviewed(out / "scores_reviewed.csv")
    for row in (image, case):
        assert row.reviewed_cps > row.reviewed_tps
        assert "no_nests" not in row.reviewed_flags


def test_brown_that_a_reviewer_sees_is_brown():
    def flags(n_positive):
        counts = Counts(n_tumour=10, positive=PositiveCounts(cytoplasm=n_positive))
        how = {"config": CONFIG, "pack": pack_for(), "indication": None, "level": "image"}
        return score_blocks([counts], flags=["no_dab_seen"], has_tumour_roi=False, tumour_confirmed=False, **how).flags

    assert ["no_dab_seen" in flags(n) for n in (0, 1)] == [True, False]


@settings(max_examples=25)
@given(data=st.data(), seed=st.integers(0, 99))
def test_edit_by_edit_and_undone_is_as_all_at_once_and_never_done(data, seed):
    table = random_cells(seed, 120)
    far = table["cell_class"].isin(["lymphocyte", "macrophage"]) & (table["x_px"] > 2000)
    table = table.assign(flags=(table["flags"] | np.where(far, FAR, 0)).astype(np.int32))
    state, whole = state_of(table), state_of(table)
    running = BlockCounts(state, mpp_x=MPP, mpp_y=MPP, config=CONFIG, pack=pack_for())
    automated, edits = running.blocks, []
    for _ in range(data.draw(st.integers(1, 8))):
        edits.append(draw_edit(data, state, []))
        running.update(state.take(edits[-1:]))
    whole.take(edits)
    assert sum(running.blocks, Counts()).positive == counts_of(whole).positive
    for done in reversed(edits):
        running.update(state.take([edit(EditKind.UNDO, to=done.id)]))
    assert running.blocks == automated
