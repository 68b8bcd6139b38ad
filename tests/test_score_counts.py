import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import make_cells, make_scored_cells, random_cells
from pdl1quant.assays import load_pack
from pdl1quant.config import Config
from pdl1quant.model import CELL_COLUMNS, EXCLUDING_FLAGS, Compartment, Counts, Flag, PositiveCounts
from pdl1quant.stages.score import count_blocks, count_cells, positive_at, threshold_curve

CONFIG = Config()
CYTOPLASM = load_pack("28-8-cytoplasm")
LABEL = load_pack("28-8-label")

relaxed = settings(max_examples=40, deadline=None)  # machines are shared: time proves nothing here
seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(0, 60)


def count(cells, pack=CYTOPLASM, **options):
    return count_cells(cells, config=CONFIG, pack=pack, **options)


# --- the table ---
def test_factory_makes_every_column_with_its_dtype():
    for cells in (make_cells(0), make_cells(7), make_scored_cells(7, membrane_dab_od_run=0.5)):
        assert [(name, str(dtype)) for name, dtype in cells.dtypes.items()] == [(c[0], c[1]) for c in CELL_COLUMNS]


# --- positivity ---
@pytest.mark.parametrize(
    ("run", "cytoplasm", "membrane_positive", "cytoplasm_positive"),
    [
        (0.50, 0.10, True, False),
        (0.20, 0.10, True, False),
        (0.19, 0.10, False, False),
        (0.22, 0.19, False, False),
        (0.22, 0.20, True, True),
        (0.10, 0.30, False, True),
        (np.nan, 0.30, False, True),
        (0.30, np.nan, False, False),
    ],
)
def test_membrane_needs_its_run_and_contrast_or_a_brown_cytoplasm(
    run, cytoplasm, membrane_positive, cytoplasm_positive
):
    cells = make_cells(1, membrane_dab_od_run=run, cytoplasm_dab_od_mean=cytoplasm)
    found = positive_at(cells, 0.2, CONFIG.positivity)
    assert found.membrane.tolist() == [membrane_positive]
    assert found.cytoplasm.tolist() == [cytoplasm_positive]


@relaxed
@given(seeds, sizes, st.floats(0.01, 1.0))
def test_positivity_is_the_rule_of_the_documentation(seed, n, threshold):
    cells = random_cells(seed, n)
    run, cytoplasm, cell = (
        cells[name].to_numpy() for name in ("membrane_dab_od_run", "cytoplasm_dab_od_mean", "cell_dab_od_mean")
    )
    t, contrast = np.float32(threshold), np.float32(CONFIG.positivity.min_membrane_contrast_od)
    found = positive_at(cells, threshold, CONFIG.positivity)
    np.testing.assert_array_equal(found.cytoplasm, cytoplasm >= t)
    np.testing.assert_array_equal(found.cell, cell >= t)
    np.testing.assert_array_equal(found.membrane, (run >= t) & ((run - cytoplasm >= contrast) | (cytoplasm >= t)))


@relaxed
@given(seeds, sizes, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_fewer_cells_are_positive_at_a_higher_threshold(seed, n, one, other):
    cells = random_cells(seed, n)
    at_low, at_high = (positive_at(cells, t, CONFIG.positivity) for t in sorted((one, other)))
    for compartment in (Compartment.MEMBRANE, Compartment.CYTOPLASM, Compartment.CELL):
        assert not (at_high.within(compartment) & ~at_low.within(compartment)).any()


# --- counts ---
@relaxed
@given(seeds, sizes, seeds)
def test_counts_add_under_any_split(seed, n, split_seed):
    cells = random_cells(seed, n)
    left = np.random.default_rng(split_seed).random(n) < 0.5
    assert count(cells[left]) + count(cells[~left]) == count(cells)


@relaxed
@given(seeds, sizes, st.floats(50, 3000), st.floats(0.2, 1.0))
def test_blocks_sum_to_the_whole(seed, n, block_um, mpp):
    cells = random_cells(seed, n)
    blocks = count_blocks(cells, block_um=block_um, mpp_x=mpp, mpp_y=mpp, config=CONFIG, pack=CYTOPLASM)
    assert sum(blocks, Counts()) == count(cells)
    assert all(block.n_cells > 0 for block in blocks)


@relaxed
@given(seeds, sizes)
def test_row_order_does_not_matter(seed, n):
    cells = random_cells(seed, n)
    shuffled = cells.iloc[np.random.default_rng(seed).permutation(n)]
    options = {"block_um": 500.0, "mpp_x": 0.5, "mpp_y": 0.5, "config": CONFIG, "pack": CYTOPLASM}
    assert count_blocks(cells, **options) == count_blocks(shuffled, **options)


@relaxed
@given(seeds, sizes)
def test_counts_nest_as_their_thresholds_do(seed, n):
    counts = count(random_cells(seed, n))
    for each in ("membrane", "cytoplasm", "cell", "immune"):
        strict, at_t1, lenient = (
            getattr(p, each) for p in (counts.positive_strict, counts.positive, counts.positive_lenient)
        )
        assert strict <= at_t1 <= lenient
    for p in (counts.positive_strict, counts.positive, counts.positive_lenient):
        assert p.cytoplasm == p.membrane + p.cytoplasm_only
        assert p.cytoplasm <= counts.n_tumour
        assert p.immune <= counts.n_immune <= counts.n_lymphocyte + counts.n_macrophage


def test_blocks_are_cut_in_um_of_the_input_image():
    cells = make_cells(4, x_px=[0, 999, 1000, 0], y_px=[0, 0, 0, 1000])
    blocks = count_blocks(cells, block_um=500.0, mpp_x=0.5, mpp_y=0.5, config=CONFIG, pack=CYTOPLASM)
    assert [block.n_cells for block in blocks] == [2, 1, 1]
    blocks = count_blocks(cells, block_um=500.0, mpp_x=0.5, mpp_y=0.4, config=CONFIG, pack=CYTOPLASM)
    assert [block.n_cells for block in blocks] == [3, 1]


def test_no_cells_are_no_blocks_and_zero_counts():
    assert count_blocks(make_cells(0), block_um=500.0, mpp_x=0.5, mpp_y=0.5, config=CONFIG, pack=CYTOPLASM) == ()
    assert count(make_cells(0)) == Counts()


def test_counts_of_a_known_table():
    cells = make_scored_cells(
        6,
        cell_class=["tumour", "tumour", "tumour", "lymphocyte", "macrophage", "stroma"],
        membrane_dab_od_run=[0.5, 0.0, 0.24, 0.5, 0.0, 0.9],
        cytoplasm_dab_od_mean=[0.0, 0.5, 0.0, 0.0, 0.1, 0.9],
        cell_area_um2=[100, 200, 400, 50, 60, 70],
    )
    counts = count(cells, tumour_area_um2=5000.0)
    assert (counts.n_cells, counts.n_tumour, counts.n_lymphocyte, counts.n_macrophage) == (6, 3, 1, 1)
    assert counts.n_immune == 2
    assert counts.positive == PositiveCounts(membrane=2, cytoplasm=3, cytoplasm_only=1, cell=0, immune=1)
    assert counts.positive_strict == PositiveCounts(membrane=1, cytoplasm=2, cytoplasm_only=1, cell=0, immune=1)
    assert (counts.grade_1, counts.grade_2, counts.grade_3) == (1, 2, 0)
    assert (counts.tumour_positive_area_um2, counts.immune_positive_area_um2) == (700.0, 50.0)
    assert counts.tumour_area_um2 == 5000.0
    assert count(cells, pack=LABEL).tumour_positive_area_um2 == 500.0


@pytest.mark.parametrize("flag", list(Flag))
def test_only_excluding_flags_leave_numerator_and_denominator(flag):
    cells = make_scored_cells(1, flags=int(flag), membrane_dab_od_run=0.5)
    counts = count(cells)
    stays = not flag & EXCLUDING_FLAGS
    assert (counts.n_tumour, counts.positive.membrane) == (stays, stays)
    missing = Flag.OUTSIDE_ROI | Flag.TOUCHES_EDGE  # not asked for, or cut off: no doubt about how they were judged
    assert counts.n_excluded_tumour == (not stays and not flag & missing)


def test_a_reviewers_word_does_not_hang_on_the_threshold():
    cells = make_cells(1, flags=int(Flag.EDITED), cytoplasm_positive=True, positive=True)
    counts = count(cells)
    assert counts.positive_strict.cytoplasm == counts.positive.cytoplasm == counts.positive_lenient.cytoplasm == 1


def test_the_table_is_not_written_to():
    cells = random_cells(1, 30)
    before = cells.copy(deep=True)
    count(cells)
    threshold_curve(cells, [0.1, 0.2], config=CONFIG.positivity)
    assert cells.equals(before)


# --- threshold curve ---
@relaxed
@given(seeds, sizes)
def test_curve_at_t1_is_the_score(seed, n):
    cells = random_cells(seed, n)
    curve = threshold_curve(cells, [CONFIG.positivity.dab_od], config=CONFIG.positivity)
    counts = count(cells)
    if counts.n_tumour == 0:
        assert curve.empty
        return
    for each in Compartment:
        expected = 100 * getattr(counts.positive, each) / counts.n_tumour
        assert curve[f"tps_{each}"].iloc[0] == pytest.approx(expected)


@relaxed
@given(seeds, sizes)
def test_curve_falls_with_the_threshold(seed, n):
    curve = threshold_curve(random_cells(seed, n), np.linspace(0, 1, 21), config=CONFIG.positivity)
    for each in ("tps_membrane", "tps_cytoplasm", "tps_cell"):
        assert curve[each].is_monotonic_decreasing
