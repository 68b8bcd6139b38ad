"""Positivity: the best contiguous run of the membrane, the cytoplasm's mean, and whose a shared line is."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from factories import make_cells
from pdl1quant.config import PositivityConfig
from pdl1quant.kernels.membrane import best_runs
from pdl1quant.model import EXCLUDING_FLAGS, MEMBRANE_SECTORS, Compartment, Flag, MembraneProfile
from pdl1quant.stages.positivity import COMPANY_UM, call_positive, keep_shared_lines
from pdl1quant.stages.score import positive_at

CONFIG = PositivityConfig()
POSITIVES = ("membrane_positive", "cytoplasm_positive", "cell_positive", "positive")


def profile(dab, *, neighbour=None, weight=None):
    """One row per list of sector ODs."""
    dab = np.asarray(dab, np.float32)
    return MembraneProfile(
        dab_od=dab,
        weight=np.full(dab.shape, 4, np.float32) if weight is None else np.asarray(weight, np.float32),
        neighbour=np.full(dab.shape, -1, np.int32) if neighbour is None else np.asarray(neighbour, np.int32),
    )


def arc(od, length, *, start=0, base=0.0):
    """Sector ODs (32,): ``od`` over ``length`` sectors from ``start`` on, ``base`` elsewhere."""
    sectors = np.full(MEMBRANE_SECTORS, base)
    sectors[(start + np.arange(length)) % MEMBRANE_SECTORS] = od
    return sectors


def facing(other, length, *, start=0):
    """Neighbours (32,): row ``other`` over ``length`` sectors."""
    return arc(other, length, start=start, base=-1).astype(np.int32)


def call(cells, membrane, *, compartment=Compartment.CYTOPLASM, config=CONFIG):
    return call_positive(cells, membrane, compartment=compartment, config=config)


def one(dab, *, compartment=Compartment.CYTOPLASM, config=CONFIG, **columns):
    return call(make_cells(1, **columns), profile([dab]), compartment=compartment, config=config).iloc[0]


# --- best run --------------------------------------------------------------------------------------------------------
def brute_force(od, weight, needed):
    """Every start and every length."""
    best, n = 0.0, len(od)
    for start in range(n):
        for length in range(1, n + 1):
            at = [(start + k) % n for k in range(length)]
            held = [k for k in at if weight[k] > 0]
            total = sum(float(weight[k]) for k in held)
            if held and total >= needed:
                best = max(best, min(float(od[k]) for k in held))
    return best


SECTORS = st.integers(1, 9)


@settings(max_examples=150)
@given(st.data())
def test_best_run_agrees_with_brute_force(data):
    n = data.draw(SECTORS)
    od = data.draw(arrays(np.float32, (2, n), elements=st.integers(0, 16).map(lambda k: k / 16)))
    weight = data.draw(arrays(np.float32, (2, n), elements=st.integers(0, 4).map(float)))
    needed = data.draw(st.sampled_from([0.125, 0.25, 0.5, 1.0])) * weight.sum(axis=1)
    found = best_runs(od, weight, needed.astype(np.float32))
    expected = [brute_force(od[row], weight[row], needed[row]) for row in range(2)]
    assert found.dtype == np.float32
    assert found.tolist() == expected


def test_run_may_cross_the_first_sector():
    od = np.array([arc(0.5, 8, start=28), arc(0.5, 8, start=12)], np.float32)
    weight = np.ones_like(od)
    assert best_runs(od, weight, np.float32([8, 8])).tolist() == [0.5, 0.5]
    assert best_runs(od, weight, np.float32([9, 9])).tolist() == [0, 0]


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, MEMBRANE_SECTORS - 1))
def test_best_run_does_not_depend_on_where_the_circle_begins(seed, shift):
    rng = np.random.default_rng(seed)
    od, weight = rng.random((3, MEMBRANE_SECTORS), np.float32), rng.integers(0, 5, (3, MEMBRANE_SECTORS))
    needed = (np.float32(0.2) * weight.sum(axis=1)).astype(np.float32)
    before = best_runs(od, weight.astype(np.float32), needed)
    after = best_runs(np.roll(od, shift, 1), np.roll(weight, shift, 1).astype(np.float32), needed)
    assert np.array_equal(before, after)


def test_no_membrane_has_no_run():
    nothing = np.zeros((2, MEMBRANE_SECTORS), np.float32)
    assert best_runs(nothing, nothing, np.zeros(2, np.float32)).tolist() == [0, 0]
    assert best_runs(nothing[:0], nothing[:0], np.zeros(0, np.float32)).tolist() == []


# --- the rule --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("length", "positive"), [(3, False), (6, False), (7, True), (20, True), (32, True)])
def test_a_fifth_of_the_perimeter_is_needed(length, positive):
    """20 % of 32 sectors are 6.4."""
    cell = one(arc(0.5, length))
    assert cell["membrane_positive"] == positive
    assert cell["positive"] == positive
    assert cell["membrane_completeness"] == pytest.approx(length / 32)


def test_two_short_runs_are_no_long_one():
    assert not one(np.maximum(arc(0.5, 5), arc(0.5, 5, start=16)))["membrane_positive"]


@pytest.mark.parametrize(("od", "positive"), [(0.19, False), (0.2, True), (0.21, True)])
def test_threshold_is_inclusive(od, positive):
    assert one(np.full(32, od))["membrane_positive"] == positive
    assert one(np.zeros(32), cytoplasm_dab_od_mean=od)["cytoplasm_positive"] == positive
    assert one(np.zeros(32), cell_dab_od_mean=od)["cell_positive"] == positive


@pytest.mark.parametrize(("cytoplasm", "positive"), [(0.0, True), (0.15, True), (0.18, False), (0.19, False)])
def test_membrane_has_to_stand_out_from_a_cytoplasm_that_is_not_brown(cytoplasm, positive):
    assert one(np.full(32, 0.21), cytoplasm_dab_od_mean=cytoplasm)["membrane_positive"] == positive


def test_membrane_need_not_stand_out_from_a_brown_cytoplasm():
    assert one(np.full(32, 0.3), cytoplasm_dab_od_mean=0.3)["membrane_positive"]


def test_positive_is_membrane_or_cytoplasm():
    assert one(np.full(32, 0.5))["positive"]
    assert one(np.zeros(32), cytoplasm_dab_od_mean=0.5)["positive"]
    assert not one(np.zeros(32), cell_dab_od_mean=0.5)["positive"]


@pytest.mark.parametrize(("od", "grade"), [(0.19, 0), (0.2, 1), (0.39, 1), (0.4, 2), (0.59, 2), (0.6, 3), (2.0, 3)])
@pytest.mark.parametrize("compartment", list(Compartment))
def test_grade_bins_are_inclusive(od, grade, compartment):
    membrane = np.full(32, od if compartment is Compartment.MEMBRANE else 0.0)
    inner = 0.0 if compartment is Compartment.MEMBRANE else od
    cell = one(membrane, compartment=compartment, cytoplasm_dab_od_mean=inner, cell_dab_od_mean=inner)
    assert cell["dab_grade"] == grade


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.05, 0.6))
def test_positives_are_those_of_the_score(seed, threshold):
    """The score counts again at t1 plus and minus its margin: at t1 it must count the same cells."""
    rng = np.random.default_rng(seed)
    n = 20
    config = PositivityConfig(dab_od=threshold, grade_2_od=0.7, grade_3_od=0.8)
    cells = make_cells(
        n,
        cell_class=rng.choice(["tumour", "lymphocyte", "macrophage", "stroma"], n),
        cytoplasm_dab_od_mean=rng.choice([0.0, threshold, 0.3], n) + rng.choice([0, -0.05, 1e-7], n),
        cell_dab_od_mean=rng.choice([0.0, threshold, 0.3], n),
    )
    membrane = profile(
        rng.choice([0.0, 0.1, threshold, threshold + 0.05, 0.4], (n, 8)).repeat(4, 1),
        neighbour=rng.integers(-1, n, (n, 8)).repeat(4, 1),
        weight=rng.integers(0, 4, (n, MEMBRANE_SECTORS)),
    )
    called = call(cells, membrane, config=config)
    again = positive_at(called, config.dab_od, config)
    for name in ("membrane", "cytoplasm", "cell"):
        assert np.array_equal(called[f"{name}_positive"], getattr(again, name)), name
    assert np.array_equal(called["positive"], again.within(Compartment.CYTOPLASM))
    assert np.array_equal(called["dab_grade"] > 0, called["positive"])


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_positives_fall_as_the_threshold_rises(seed):
    """Cells by themselves: each stays positive until its own limit."""
    rng = np.random.default_rng(seed)
    cells = make_cells(12, cytoplasm_dab_od_mean=rng.uniform(0, 0.5, 12), cell_dab_od_mean=rng.uniform(0, 0.5, 12))
    membrane = profile(rng.uniform(0, 0.6, (12, 8)).repeat(4, 1))
    tables = [call(cells, membrane, config=PositivityConfig(dab_od=t)) for t in (0.1, 0.15, 0.2, 0.3, 0.4)]
    for low, high in itertools.pairwise(tables):
        for name in POSITIVES:
            assert not (high[name] & ~low[name]).any(), name


# --- whose line ------------------------------------------------------------------------------------------------------
def pair(first, second, dab, shared=12, **columns):
    """Two cells that share ``shared`` sectors of membrane."""
    cells = make_cells(2, cell_class=[first, second], **columns)
    return call(cells, profile(dab, neighbour=[facing(1, shared), facing(0, shared)]))


@pytest.mark.parametrize("immune", ["lymphocyte", "macrophage"])
def test_line_shared_with_a_positive_immune_cell_does_not_count(immune):
    cells = pair("tumour", immune, [arc(0.5, 12), np.full(32, 0.5)])
    assert cells["membrane_positive"].tolist() == [False, True]
    assert cells["flags"][0] & Flag.SHARED_MEMBRANE
    assert not cells["flags"][1] & Flag.SHARED_MEMBRANE
    assert cells["membrane_dab_od_run"][0] < 0.2


def test_brown_beside_the_shared_line_still_counts():
    cells = pair("tumour", "lymphocyte", [np.full(32, 0.5), np.full(32, 0.5)])
    assert cells["membrane_positive"].tolist() == [True, True]
    assert not cells["flags"][0] & Flag.SHARED_MEMBRANE


def test_line_shared_with_a_negative_immune_cell_counts():
    cells = pair("tumour", "lymphocyte", [arc(0.5, 12), np.zeros(32)])
    assert cells["membrane_positive"].tolist() == [True, False]


def overlaid(*, kind="tumour", other="macrophage", cytoplasm=0.3, others=0.5, own=0.05):
    """The flag of a cell beside another; its membrane is ``own`` where the other does not touch it."""
    membranes = [arc(0.6, 12, base=own), np.full(32, 0.6)]
    cells = pair(kind, other, membranes, cytoplasm_dab_od_mean=[cytoplasm, others])
    assert not cells["flags"][1] & Flag.OVERLAID
    return bool(cells["flags"][0] & Flag.OVERLAID)


@pytest.mark.parametrize("other", ["lymphocyte", "macrophage"])
def test_brown_cytoplasm_in_an_unstained_membrane_is_that_of_the_immune_cell_beside_it(other):
    assert overlaid(other=other)


@pytest.mark.parametrize(
    "changes",
    [{"other": "tumour"}, {"others": 0.1}, {"own": 0.15}, {"cytoplasm": 0.1}, {"kind": "stroma"}],
    ids=["no immune cell", "it is not brown", "the membrane is brown, too", "no brown cytoplasm", "no tumour cell"],
)
def test_nothing_else_is_overlaid(changes):
    assert not overlaid(**changes)


@pytest.mark.parametrize("shared", [20, 24, 28, 32])
def test_a_brown_cell_that_an_immune_cell_embraces_is_not_overlaid(shared):
    cells = pair("tumour", "macrophage", [np.full(32, 0.6)] * 2, shared=shared, cytoplasm_dab_od_mean=[0.5, 0.5])
    assert cells["positive"].all()
    assert not (cells["flags"] & int(Flag.OVERLAID)).any()


def test_a_cell_without_a_membrane_is_not_overlaid():
    cells = make_cells(2, cell_class=["tumour", "macrophage"], cytoplasm_dab_od_mean=[0.5, 0.5])
    weight = [np.zeros(32), np.full(32, 4)]
    bare = profile([np.zeros(32), np.full(32, 0.6)], neighbour=[facing(1, 12), facing(0, 12)], weight=weight)
    assert not (call(cells, bare)["flags"] & int(Flag.OVERLAID)).any()


def test_an_overlaid_cell_leaves_the_score():
    assert Flag.OVERLAID & EXCLUDING_FLAGS


def test_line_between_two_immune_cells_counts_for_both():
    assert pair("lymphocyte", "lymphocyte", [np.full(32, 0.5)] * 2)["membrane_positive"].all()


def test_line_beside_a_cell_with_brown_cytoplasm_is_that_cells():
    cells = pair("tumour", "tumour", [arc(0.5, 12), np.full(32, 0.5)], cytoplasm_dab_od_mean=[0.02, 0.5])
    assert cells["positive"].tolist() == [False, True]
    assert cells["flags"][0] & Flag.SHARED_MEMBRANE


def test_line_beside_a_cell_that_is_brown_all_around_is_that_cells():
    cells = pair("tumour", "tumour", [arc(0.5, 12), np.full(32, 0.5)])
    assert cells["membrane_positive"].tolist() == [False, True]


def test_two_cells_with_the_same_short_line_both_count():
    """Nothing tells whose it is."""
    assert pair("tumour", "tumour", [arc(0.5, 12)] * 2)["membrane_positive"].all()


def test_ringed_neighbours_keep_their_rings():
    """In a sheet of positive cells every line is shared."""
    assert pair("tumour", "tumour", [np.full(32, 0.5)] * 2, shared=30)["membrane_positive"].all()


# --- lines that are given back ---------------------------------------------------------------------------------------
def nest(n_brown=40, n_blue=0, *, own=18, kind="tumour", **columns):
    """A cell that shares ``own`` sectors of line with the first other, in tumour cells of a brown ring or none."""
    n = 1 + n_brown + n_blue
    rings = [np.full(32, 0.5)] * n_brown + [np.zeros(32)] * n_blue
    neighbours = [facing(1, own), facing(0, own)] + [facing(-1, 0)] * (n - 2)
    cells = make_cells(n, cell_class=["tumour", kind] + ["tumour"] * (n - 2), **columns)
    membrane = profile([arc(0.5, own), *rings], neighbour=neighbours)
    return call(cells, membrane), membrane


def kept(cells, membrane, *, mpp=0.5, compartment=Compartment.CYTOPLASM):
    return keep_shared_lines(cells, membrane, around=cells, mpp=mpp, compartment=compartment, config=CONFIG)


@pytest.mark.parametrize("compartment", [Compartment.MEMBRANE, Compartment.CYTOPLASM])
def test_where_all_around_are_brown_a_shared_line_is_the_cells_own_too(compartment):
    before, membrane = nest()
    assert not before["positive"][0]
    after = kept(before, membrane, compartment=compartment)
    assert after["membrane_positive"][0]
    assert after["positive"][0]
    assert after["membrane_dab_od_run"][0] == np.float32(0.5)
    assert after["membrane_completeness"][0] == np.float32(18 / 32)
    assert after["dab_grade"][0] == 2
    assert not after["flags"][0] & Flag.SHARED_MEMBRANE
    assert after.iloc[1:].equals(before.iloc[1:])
    assert [str(t) for t in after.dtypes] == [str(t) for t in before.dtypes]
    assert positive_at(after, 0.2, CONFIG).membrane[0]
    assert not before["positive"][0], "the table given is left as it is"


@pytest.mark.parametrize(
    ("n_brown", "n_blue", "own"),
    [(4, 36, 18), (20, 20, 18), (36, 4, 18), (36, 4, 12), (40, 0, 7), (8, 0, 18)],
    ids=["10 %", "50 %", "90 %", "90 %, a short line", "all, but hardly a line", "few cells"],
)
def test_elsewhere_a_shared_line_stays_the_neighbours(n_brown, n_blue, own):
    cells, membrane = nest(n_brown, n_blue, own=own)
    assert not cells["positive"][0]
    assert kept(cells, membrane) is cells


def test_cells_of_brown_cytoplasm_say_nothing_of_one_without():
    cells, membrane = nest(cytoplasm_dab_od_mean=[0.02] + [0.4] * 40)
    assert not cells["positive"][0]
    assert kept(cells, membrane) is cells


def test_the_line_of_an_immune_cell_is_not_given_back():
    cells, membrane = nest(kind="lymphocyte")
    assert not cells["positive"][0]
    assert kept(cells, membrane) is cells


def test_only_tumour_cells_get_a_line_back():
    cells, membrane = nest()
    cells["cell_class"] = cells["cell_class"].where(cells.index != 0, "stroma")
    assert kept(cells, membrane) is cells


def test_cells_that_are_far_say_nothing_of_a_line():
    cells, membrane = nest()
    far = cells.assign(x_px=cells["x_px"] + np.where(cells.index < 2, 0, 2 * COMPANY_UM + 400))
    assert kept(far, membrane) is far
    assert kept(cells, membrane)["positive"][0]
    assert kept(cells, membrane, mpp=5.0) is cells


def test_no_cells_have_no_line_to_get_back():
    cells, membrane = make_cells(0), profile(np.zeros((0, MEMBRANE_SECTORS)))
    assert len(kept(call(cells, membrane), membrane)) == 0


# --- the table -------------------------------------------------------------------------------------------------------
def test_no_cytoplasm_is_flagged():
    assert one(np.zeros(32), cytoplasm_area_um2=0.0)["flags"] & Flag.NO_CYTOPLASM
    assert not one(np.zeros(32))["flags"] & Flag.NO_CYTOPLASM


def test_flags_that_were_there_stay():
    assert one(np.zeros(32), flags=int(Flag.PIGMENT))["flags"] == int(Flag.PIGMENT)


def test_table_given_is_left_as_it_is():
    cells, membrane = make_cells(2), profile([arc(0.5, 12)] * 2)
    before, dab = cells.copy(), membrane.dab_od.copy()
    called = call(cells, membrane)
    assert cells.equals(before)
    assert np.array_equal(membrane.dab_od, dab)
    assert [str(t) for t in called.dtypes] == [str(t) for t in cells.dtypes]


def test_no_cells_are_no_positives():
    cells = call(make_cells(0), profile(np.zeros((0, MEMBRANE_SECTORS))))
    assert len(cells) == 0
    assert [str(t) for t in cells.dtypes] == [str(t) for t in make_cells(0).dtypes]


def test_cell_without_membrane_is_judged_by_its_cytoplasm():
    cells = make_cells(2, cytoplasm_dab_od_mean=[0.0, 0.5])
    called = call(cells, profile(np.zeros((2, 32)), weight=np.zeros((2, 32))))
    assert called["positive"].tolist() == [False, True]
