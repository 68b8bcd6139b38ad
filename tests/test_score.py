import dataclasses
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, betabinom
from scipy.stats import t as student

from factories import random_cells
from pdl1quant.assays import find_indication, load_pack
from pdl1quant.batch import CaseReport
from pdl1quant.config import Config, ScoreConfig
from pdl1quant.console import case_lines
from pdl1quant.errors import UsageError
from pdl1quant.model import (
    CallResult,
    Counts,
    PositiveCounts,
    ResultFlag,
    Status,
)
from pdl1quant.stages.score import (
    count_blocks,
    format_interval,
    format_tps,
    score,
    why_no_call,
    wilson_interval,
)
from pdl1quant.stages.score.likeness import alike_interval

CONFIG = Config()
HARDLY_ALIKE = ScoreConfig(likeness=0.001)
"""Leaves the parts of the interval that take nothing for granted but what blocks show."""
CYTOPLASM = load_pack("28-8-cytoplasm")
LABEL = load_pack("28-8-label")
LUNG = find_indication(LABEL, "nsclc-nonsquamous")
STOMACH = find_indication(LABEL, "gastro-oesophageal-adenocarcinoma")
MELANOMA = find_indication(LABEL, "melanoma")

relaxed = settings(max_examples=40, deadline=None)  # machines are shared: time proves nothing here
seeds = st.integers(0, 2**32 - 1)


def tally(n_tumour, k=0, *, strict=None, lenient=None, immune=0, excluded=0):
    """Counts of one block with ``k`` of ``n_tumour`` cells brown in every compartment."""

    def positives(number):
        return PositiveCounts(membrane=number, cytoplasm=number, cell=number, immune=immune)

    return Counts(
        n_cells=n_tumour + excluded + immune,
        n_tumour=n_tumour,
        n_excluded_tumour=excluded,
        n_lymphocyte=immune,
        positive=positives(k),
        positive_strict=positives(k if strict is None else strict),
        positive_lenient=positives(k if lenient is None else lenient),
        grade_1=k,
    )


def scored(blocks, **options):
    given_options = {
        "pack": LABEL,
        "config": ScoreConfig(),
        "indication": LUNG,
        "level": "case",
        "has_macrophage_class": True,
        "has_tumour_roi": True,
        "tumour_confirmed": True,
    }
    return score(blocks, **{**given_options, **options})


def results(found):
    return [call.result for call in found.calls]


# --- intervals ---
@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(1, 100, 0.18, 5.45), (10, 1000, 0.54, 1.83), (50, 5000, 0.76, 1.32)]
)
def test_wilson_gives_the_published_values(k, n, low, high):
    assert [round(bound, 2) for bound in wilson_interval(k, n)] == [low, high]


def test_zero_of_381_cells_is_needed_for_below_1_per_cent():
    assert wilson_interval(0, 381)[1] < 1 <= wilson_interval(0, 380)[1]


def test_wilson_of_nothing_says_nothing():
    assert wilson_interval(0, 0) == (0.0, 100.0)


@relaxed
@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_wilson_contains_the_share(k, n):
    k = min(k, n)
    low, high = wilson_interval(k, n)
    assert 0 <= low <= 100 * k / n <= high <= 100


@pytest.mark.parametrize("arguments", [(2, 1), (-1, 5)])
def test_wilson_of_an_impossible_count_is_refused(arguments):
    with pytest.raises(UsageError, match="between 0 and n"):
        wilson_interval(*arguments)


def test_wilson_of_an_impossible_level_is_refused():
    with pytest.raises(UsageError, match="level"):
        wilson_interval(1, 2, level=95)


@relaxed
@given(seeds, st.integers(1, 400), st.sampled_from([CYTOPLASM, LABEL]))
def test_interval_contains_the_score_and_wilsons(seed, n, pack):
    cells = random_cells(seed, n)
    blocks = count_blocks(cells, block_um=500.0, mpp_x=0.5, mpp_y=0.5, config=CONFIG, pack=pack)
    found = scored(blocks, pack=pack, indication=None, config=ScoreConfig(bootstrap_samples=200))
    if found.tps is None:
        return
    total = sum(blocks, Counts())
    low, high = wilson_interval(getattr(total.positive, pack.compartment), total.n_tumour)
    assert 0 <= found.tps_low <= low <= found.tps <= high <= found.tps_high <= 100


def test_interval_covers_the_scores_at_both_margins():
    found = scored([tally(100, 50, strict=20, lenient=90)] * 100)
    assert (found.tps_low, found.tps, found.tps_high) == (20, 50, 90)


def test_clustered_cells_widen_the_interval():
    mixed = scored([tally(100, 50)] * 40)
    clustered = scored([tally(100, 0), tally(100, 100)] * 20)
    assert mixed.tps == clustered.tps
    assert clustered.tps_high - clustered.tps_low > 3 * (mixed.tps_high - mixed.tps_low)


def test_few_blocks_fall_back_to_the_effective_number_of_cells():
    found = scored([tally(300, 30)], config=HARDLY_ALIKE)
    assert ResultFlag.FEW_BLOCKS in found.flags
    assert (found.tps_low, found.tps_high) == pytest.approx(wilson_interval(10, 100))


def test_blocks_without_tumour_do_not_count_as_blocks():
    assert ResultFlag.FEW_BLOCKS in scored([tally(100, 1)] * 9 + [tally(0)] * 20).flags
    assert ResultFlag.FEW_BLOCKS not in scored([tally(100, 1)] * 10).flags


def test_slivers_at_the_border_of_an_image_are_no_blocks():
    """Twelve blocks, of which three are more than what a border left of them; each field is one."""
    fields = [tally(290, 29), tally(7, 1), tally(7), tally(1)] * 3
    assert ResultFlag.FEW_BLOCKS in scored(fields).flags
    one = [tally(290, 29), tally(7), tally(7), tally(1)]
    assert scored(one, config=HARDLY_ALIKE).tps_low == pytest.approx(wilson_interval(29 / 3, 305 / 3)[0])


@pytest.mark.parametrize("immune", [0, 30])
def test_few_blocks_that_differ_widen_the_interval(immune):
    how = {"indication": STOMACH, "config": HARDLY_ALIKE}
    alike = scored([tally(300, 60, immune=immune)] * 5, **how)
    differ = scored([tally(300, k, immune=immune) for k in (0, 20, 60, 100, 120)], **how)
    assert differ.tps == alike.tps
    for bound in ("tps", "cps"):
        wide, narrow = (getattr(each, f"{bound}_high") - getattr(each, f"{bound}_low") for each in (differ, alike))
        assert wide > 2 * narrow
    assert (alike.tps_low, alike.tps_high) == pytest.approx(wilson_interval(100, 500))


@cache
def made_up_cases(n_blocks, share, *, likeness, cells=300, cases=200):
    """Scores of made-up cases; ``likeness`` is the intraclass correlation of the cells of a block."""
    rng = np.random.default_rng(0)
    shares = np.full((cases, n_blocks), share)
    if likeness:
        spread = (1 - likeness) / likeness
        shares = rng.beta(share * spread, (1 - share) * spread, (cases, n_blocks))
    return [scored([tally(cells, int(k)) for k in case]) for case in rng.binomial(cells, shares)]


def held(found, share):
    return sum(each.tps_low <= 100 * share <= each.tps_high for each in found) / len(found)


@pytest.mark.parametrize("n_blocks", [4, 8, 12])
def test_the_interval_holds_the_truth_where_blocks_differ(n_blocks):
    """95 % less three standard errors of 200 cases (0.015 each); with a fixed third of the cells it was 0.5."""
    assert held(made_up_cases(n_blocks, 0.5, likeness=0.05), 0.5) >= 0.95 - 3 * 0.0154


@pytest.mark.parametrize("share", [0.01, 0.05])
@pytest.mark.parametrize("n_blocks", [4, 8, 12])
def test_the_interval_holds_the_truth_where_positive_cells_are_few_and_lie_together(n_blocks, share):
    """As above; with the design effect of the blocks alone it was 0.46 to 0.88."""
    assert held(made_up_cases(n_blocks, share, likeness=0.2), share) >= 0.95 - 3 * 0.0154


@pytest.mark.parametrize("n_blocks", [4, 8, 12])
def test_positive_cells_that_lie_together_are_seldom_called_below_the_cut_off_that_they_reach(n_blocks):
    """Half of 5 % and three standard errors of 200 cases (0.011); it was 0.51, 0.34 and 0.33."""
    wrong = [results(each)[0] is CallResult.BELOW for each in made_up_cases(n_blocks, 0.01, likeness=0.2)]
    assert sum(wrong) / len(wrong) <= 0.025 + 3 * 0.011


def test_one_field_is_no_surer_of_the_tumour_than_blocks_that_differ():
    one = scored([tally(300, 150)])
    assert one.tps_low < 30
    assert one.tps_high > 70


def test_slivers_make_a_field_hardly_surer():
    """They hold a twentieth of its cells; as three blocks more they would halve the interval."""
    alone = alike_interval(((29, 290),), likeness=0.1, level=0.95)
    cut = alike_interval(((29, 290), (1, 7), (0, 7), (0, 1)), likeness=0.1, level=0.95)
    assert cut[1] - cut[0] > 0.95 * (alone[1] - alone[0])


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_many_blocks_that_are_alike_are_hardly_less_sure(share):
    """By 15 % at most over what the blocks alone say, on the average of 50 cases of thirty blocks."""
    rng = np.random.default_rng(0)
    cases = [[tally(300, int(k)) for k in case] for case in rng.binomial(300, share, (50, 30))]
    with_prior, without = (
        sum(each.tps_high - each.tps_low for each in (scored(case, config=config) for case in cases))
        for config in (ScoreConfig(), HARDLY_ALIKE)
    )
    assert with_prior <= 1.15 * without


def test_no_positive_cell_says_below_1_per_cent_of_many_blocks_only():
    assert results(scored([tally(300)] * 12))[0] is CallResult.INDETERMINATE
    assert results(scored([tally(300)] * 14))[0] is CallResult.BELOW
    assert results(scored([tally(14 * 300)]))[0] is CallResult.INDETERMINATE


def test_interval_of_alike_blocks_is_that_of_a_fine_grid():
    """Each bound within 3 % of the interval of the posterior by scipy's beta-binomial, point by point."""
    for blocks in (((3, 40),), ((0, 50), (0, 80)), ((0, 60), (7, 60), (0, 50), (1, 90)), ((30, 60), (9, 40), (70, 90))):
        found = alike_interval(blocks, likeness=0.1, level=0.95)
        expected = by_brute_force(blocks, likeness=0.1)
        assert found == pytest.approx(expected, abs=0.03 * (expected[1] - expected[0]))


def by_brute_force(blocks, *, likeness):
    logits = np.linspace(-16, 10, 1041)
    rho = np.geomspace(1e-5, 0.99, 121)
    share, spread = 1 / (1 + np.exp(-logits[:, None])), (1 - rho) / rho
    weight = beta.pdf(rho, 1, 1 / likeness - 1) * rho * np.sqrt(share * (1 - share))
    for k, n in blocks:
        weight = weight * betabinom.pmf(k, n, share * spread, (1 - share) * spread)
    density = weight.sum(axis=1)
    below = np.cumsum(density) - density / 2
    return tuple(100 / (1 + np.exp(-np.interp([0.025, 0.975], below / below[-1], logits))))


def test_blocks_outweigh_what_is_held_likely_of_them():
    rng = np.random.default_rng(1)
    blocks = tuple((int(k), 300) for k in rng.binomial(300, rng.beta(1, 4, 3000)))  # a likeness of 1/6
    wide, narrow = (alike_interval(blocks, likeness=likeness, level=0.95) for likeness in (0.3, 0.05))
    assert wide == pytest.approx(narrow, abs=0.05)
    assert wide[1] - wide[0] == pytest.approx(2 * 1.96 * 100 * np.sqrt(0.2 * 0.8 / 6 / 3000), rel=0.1)


def test_cps_of_immune_cells_beside_a_single_tumour_cell_is_capped():
    found = scored([tally(1, immune=10**8)], indication=STOMACH)
    assert (found.cps, found.cps_high) == (100, 100)


@relaxed
@given(st.permutations([tally(50 + i, i, immune=i) for i in range(12)]))
def test_order_of_the_blocks_does_not_matter(blocks):
    expected = scored([tally(50 + i, i, immune=i) for i in range(12)], indication=STOMACH)
    assert scored(blocks, indication=STOMACH) == expected


def test_bootstrap_in_parts_is_the_bootstrap_in_one(monkeypatch):
    blocks = [tally(100, i) for i in range(20)]
    whole = scored(blocks)
    monkeypatch.setattr("pdl1quant.stages.score.intervals._DRAWN_AT_ONCE", 7 * 20)
    assert scored(blocks) == whole


# --- scores ---
def test_rates_stand_side_by_side_and_the_pack_picks_one():
    counts = Counts(
        n_tumour=200,
        positive=PositiveCounts(membrane=20, cytoplasm=50, cytoplasm_only=30, cell=10, immune=40),
        grade_1=10,
        grade_2=20,
        grade_3=30,
    )
    for pack, tps in ((CYTOPLASM, 25.0), (LABEL, 10.0)):
        found = scored([counts], pack=pack, indication=None)
        assert (found.tps, found.score_compartment, found.score_name) == (tps, pack.compartment, pack.score_name)
        assert (found.tps_membrane, found.tps_cytoplasm, found.tps_cytoplasm_only, found.tps_cell) == (10, 25, 15, 5)
        assert found.cps == tps + 20
        assert found.h_score == 70
        assert ResultFlag.UNCALIBRATED in found.flags


def test_cps_is_capped_at_100():
    assert scored([tally(100, 80, immune=400)]).cps == 100


def test_cps_is_undefined_without_a_macrophage_class():
    found = scored([tally(1000, 500, immune=40)], has_macrophage_class=False, indication=STOMACH)
    assert found.cps is None
    assert found.calls == ()
    assert ResultFlag.NO_MACROPHAGE_CLASS in found.flags


def test_area_scores_need_the_area_of_a_tumour_roi():
    counts = dataclasses.replace(tally(100, 50), tumour_positive_area_um2=300.0, immune_positive_area_um2=100.0)
    region = Counts(tumour_area_um2=1000.0)
    found = scored([counts, region])
    assert (found.ic_area_pct, found.tap_area_pct) == (10, 40)
    for without in (scored([counts, region], has_tumour_roi=False), scored([counts])):
        assert without.ic_area_pct is without.tap_area_pct is None
        assert ResultFlag.NO_TUMOUR_ROI in without.flags


@pytest.mark.parametrize("blocks", [[], [Counts()], [tally(0, immune=5)]])
def test_without_tumour_cells_every_score_is_undefined(blocks):
    found = scored(blocks)
    numbers = {name: value for name, value in dataclasses.asdict(found).items() if name.startswith(("tps", "cps"))}
    assert set(numbers.values()) == {None}
    assert found.h_score is found.ic_area_pct is found.tap_area_pct is None
    assert found.evaluable is False
    assert ResultFlag.NO_TUMOUR_CELLS in found.flags
    assert scored(blocks, level="image").evaluable is None


def test_adequacy_is_judged_per_case_only():
    assert scored([tally(100)]).evaluable is True
    assert scored([tally(99)]).evaluable is False
    assert ResultFlag.TOO_FEW_CELLS in scored([tally(99)]).flags
    image = scored([tally(5)], level="image")
    assert image.evaluable is None
    assert ResultFlag.TOO_FEW_CELLS not in image.flags


def test_an_indication_may_ask_for_more_cells():
    strict = dataclasses.replace(LUNG, min_tumour_cells=200)
    assert scored([tally(150)], indication=strict).evaluable is False


def test_more_than_a_tenth_left_out_is_partial():
    assert ResultFlag.PARTIAL not in scored([tally(90, excluded=10)]).flags
    assert ResultFlag.PARTIAL in scored([tally(89, excluded=11)]).flags


def test_flags_are_sorted_and_each_once():
    given_flags = [ResultFlag.WHITE_ASSUMED, ResultFlag.DUPLICATE, ResultFlag.WHITE_ASSUMED, ResultFlag.FEW_BLOCKS]
    found = scored([tally(100)], flags=given_flags)
    assert list(found.flags) == sorted(set(found.flags))
    assert set(given_flags) <= set(found.flags)


# --- calls ---
@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (0, [CallResult.BELOW] * 3),
        (100, [CallResult.INDETERMINATE, CallResult.BELOW, CallResult.BELOW]),
        (500, [CallResult.AT_LEAST, CallResult.INDETERMINATE, CallResult.BELOW]),
        (5000, [CallResult.AT_LEAST] * 3),
    ],
)
def test_calls_hold_the_interval_against_each_cut_off(k, expected):
    found = scored([tally(500, k // 20)] * 20)
    assert results(found) == expected
    assert [call.cut_off.value for call in found.calls] == [1, 5, 10]


def test_nothing_hangs_on_who_qualifies_the_call_says_where_the_score_lies():
    found = scored([tally(500)] * 20, indication=MELANOMA)
    assert results(found) == [CallResult.BELOW, CallResult.BELOW]
    assert [call.cut_off.qualifies for call in found.calls] == ["at_least", "below"]


@pytest.mark.parametrize(
    "options",
    [
        {"pack": CYTOPLASM},
        {"indication": None},
        {"level": "image"},
        {"tumour_confirmed": False},
        {"flags": [ResultFlag.WHITE_ASSUMED]},
        {"flags": [ResultFlag.PARTIAL]},
        {"flags": [ResultFlag.REGION_OUTSIDE]},
        {"flags": [ResultFlag.NUCLEUS_SIZE]},
        {"flags": [ResultFlag.NUCLEAR_STAIN]},
    ],
)
def test_no_call_without_all_that_it_takes(options):
    blocks = [tally(500, 400)] * 20
    assert scored(blocks).calls
    found = scored(blocks, **options)
    assert found.calls == ()
    rules = {"pack": LABEL, "indication": LUNG} | {
        key: options[key] for key in ("pack", "indication") if key in options
    }
    assert len(why_no_call(found.flags, evaluable=found.evaluable, **rules)) == 1


def test_no_call_when_too_many_tumour_cells_were_left_out():
    assert scored([tally(500, 400, excluded=100)] * 20).calls == ()


def test_a_call_without_any_brown_stands_beside_its_flag():
    found = scored([tally(500)] * 20, flags=[ResultFlag.NO_DAB_SEEN])
    assert [str(call) for call in found.calls] == ["TPS < 1 % (US)", "TPS < 5 % (US)", "TPS < 10 % (US)"]
    assert ResultFlag.NO_DAB_SEEN in found.flags


def test_every_reason_for_no_call_is_said():
    flags = [ResultFlag.WHITE_ASSUMED, ResultFlag.PARTIAL, ResultFlag.FEW_BLOCKS]
    assert len(why_no_call(flags, pack=LABEL, indication=None, evaluable=False)) == 4
    assert why_no_call([], pack=LABEL, indication=LUNG, evaluable=True) == ()


def test_without_macrophages_cut_offs_of_the_cps_alone_make_no_call_and_say_so():
    found = scored([tally(500, 400)] * 20, indication=STOMACH, has_macrophage_class=False)
    assert found.calls == ()
    (reason,) = why_no_call(found.flags, pack=LABEL, indication=STOMACH, evaluable=True)
    assert "CPS" in reason


@pytest.mark.parametrize(
    ("indication", "blocks", "texts"),
    [
        (MELANOMA, [tally(500)] * 20, ["TPS < 1 % (US)", "TPS < 1 % (EU)"]),
        (STOMACH, [tally(500, 20, immune=30)] * 20, ["CPS >= 5 (EU)", "CPS >= 1 (US)"]),
        (STOMACH, [tally(500, 10, immune=15)] * 20, ["CPS indeterminate at 5 (EU)", "CPS >= 1 (US)"]),
        (LUNG, [tally(500, 5)] * 20, ["TPS indeterminate at 1 % (US)", "TPS < 5 % (US)", "TPS < 10 % (US)"]),
    ],
)
def test_a_call_says_its_score_and_jurisdiction(indication, blocks, texts):
    assert [str(call) for call in scored(blocks, indication=indication).calls] == texts


def test_the_interval_of_the_cps_is_the_one_of_its_calls():
    found = scored([tally(500, 10, immune=15)] * 20, indication=STOMACH)
    assert 1 <= found.cps_low <= found.cps == 5 <= found.cps_high
    assert scored([tally(500, 10)] * 20, has_macrophage_class=False).cps_low is None


def test_where_immune_cells_are_and_no_nest_there_is_no_cps_and_no_call_on_it():
    blocks = [tally(500, 400, immune=9)] * 20
    found = scored(blocks, has_nests=False, indication=STOMACH)
    assert (found.cps, found.cps_low, found.calls) == (None, None, ())
    assert ResultFlag.NO_NESTS in found.flags
    assert found.tps == scored(blocks).tps
    reasons = why_no_call(found.flags, pack=LABEL, indication=STOMACH, evaluable=True)
    assert reasons == ("its cut-offs are of the CPS, and no nest of tumour cells was found",)
    for others in ([tally(500, 400)], [tally(0, immune=9)]):  # nobody whom a nest would claim; nothing that is tumour
        assert ResultFlag.NO_NESTS not in scored(others, has_nests=False).flags
    assert scored([tally(500, 400)], has_nests=False).cps == 80
    assert ResultFlag.NO_NESTS not in scored(blocks, has_nests=False, has_macrophage_class=False).flags


def test_no_call_on_a_case_with_too_few_cells():
    assert scored([tally(99, 99)]).calls == ()


def test_below_the_limit_of_blank_no_call_reads_at_least():
    blocks = [tally(500, 100)] * 20
    assert results(scored(blocks)) == [CallResult.AT_LEAST] * 3
    noisy = scored(blocks, config=ScoreConfig(limit_of_blank_pct=20.1))
    assert results(noisy) == [CallResult.INDETERMINATE] * 3
    assert results(scored(blocks, config=ScoreConfig(limit_of_blank_pct=20.0))) == [CallResult.AT_LEAST] * 3


@pytest.mark.parametrize(
    ("k", "immune", "expected"),
    [
        (0, 0, [CallResult.BELOW, CallResult.BELOW]),
        (0, 15, [CallResult.BELOW, CallResult.AT_LEAST]),
        (10, 15, [CallResult.INDETERMINATE, CallResult.AT_LEAST]),
        (20, 30, [CallResult.AT_LEAST, CallResult.AT_LEAST]),
    ],
)
def test_cps_cut_offs_are_held_against_an_interval_of_the_cps(k, immune, expected):
    assert results(scored([tally(500, k, immune=immune)] * 40, indication=STOMACH)) == expected


def test_the_interval_of_the_cps_is_that_of_its_blocks_where_both_parts_go_together():
    """Student's of the means of blocks, and 15 % as shares near 0 are askew; with widths that add it is 41 % more."""
    n_blocks = 30
    numbers = np.linspace(10, 70, n_blocks).astype(int).tolist()
    found = scored([tally(300, k, immune=k) for k in numbers])
    per_block = 200 * np.array(numbers) / 300
    width = 2 * student.ppf(0.975, n_blocks - 1) * np.std(per_block, ddof=1) / n_blocks**0.5
    assert width <= found.cps_high - found.cps_low < 1.15 * width


@pytest.mark.parametrize("n_blocks", [1, 4])
def test_the_interval_of_the_cps_holds_the_truth_where_both_parts_go_together(n_blocks):
    """95 % less three standard errors of 200 cases; shares about 20 % with a likeness of 0.2, odds about 0.25."""
    rng = np.random.default_rng(0)
    shares = rng.beta(0.8, 3.2, (200, n_blocks))
    tumour, immune = rng.binomial(300, shares), rng.poisson(300 * 1.25 * shares)
    pairs = np.stack([tumour, immune], axis=-1).tolist()
    cases = [[tally(300, k, immune=i) for k, i in case] for case in pairs]
    held = [each.cps_low <= 45 <= each.cps_high for each in map(scored, cases)]
    assert sum(held) / len(held) >= 0.95 - 3 * 0.0154


def test_cps_calls_are_more_careful_with_few_blocks():
    many, few = [tally(100, 7)] * 10, [tally(1000, 70)]
    assert results(scored(many, indication=STOMACH)) == [CallResult.AT_LEAST, CallResult.AT_LEAST]
    assert results(scored(few, indication=STOMACH)) == [CallResult.INDETERMINATE, CallResult.AT_LEAST]


# --- print ---
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.01, "< 1"),
        (0.999, "< 1"),
        (1.0, "1"),
        (2.5, "3"),
        (44.5, "45"),
        (100.0, "100"),
        (None, "\N{EN DASH}"),
    ],
)
def test_tps_is_printed_as_an_integer_or_below_1(value, text):
    assert format_tps(value) == text


@pytest.mark.parametrize("cut_off", [5, 10, 20, 25, 30, 50])
def test_what_lies_below_a_cut_off_is_not_printed_as_that_number(cut_off):
    assert {format_tps(cut_off - below) for below in (0.9, 0.5, 0.4, 0.1, 1e-9)} == {str(cut_off - 1)}
    assert format_tps(float(cut_off)) == format_tps(cut_off + 0.4) == str(cut_off)


def test_a_printed_interval_does_not_contradict_its_calls():
    found = scored([tally(1000, 70, strict=46, lenient=97)] * 20)
    assert [str(call) for call in found.calls][1:] == ["TPS indeterminate at 5 % (US)", "TPS < 10 % (US)"]
    assert format_interval(found.tps_low, found.tps_high) == "4-9"


def test_bounds_of_an_interval_are_printed_as_the_score_is():
    assert format_interval(0.3, 1.5) == "< 1-2"
    assert format_interval(4.6, 9.7) == "4-9"
    assert format_interval(0.0, 2.5) == "0-3"
    assert format_interval(None, 2.5) == ""


def test_a_call_on_the_cps_is_printed_with_the_cps_it_is_made_on():
    def line(found):
        return case_lines(CaseReport(case="a", status=Status.OK, score=found, n_tumour=2000, n_images=1, n_scored=1))[0]

    blocks = [tally(100, 6, immune=24)] * 20
    found = scored(blocks, indication=STOMACH)
    cps = f"CPS {format_tps(found.cps)} ({format_interval(found.cps_low, found.cps_high)})"
    assert found.cps == 30
    assert f"  {cps}  2,000 tumour cells  1 image  CPS >= 5 (EU)  CPS >= 1 (US)" in line(found)
    assert "CPS" not in line(scored(blocks, indication=LUNG))
