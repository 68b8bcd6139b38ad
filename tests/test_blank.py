"""From fields of negative controls to the limit of blank, and from that to calls."""

from dataclasses import replace

import numpy as np
import pytest

from pdl1quant.assays import find_indication, load_pack
from pdl1quant.config import ScoreConfig
from pdl1quant.model import BlankLimit, CallResult, Compartment, Counts, PositiveCounts, ResultFlag
from pdl1quant.stages.score import MIN_FIELDS, limit_of_blank, score, why_no_call

LABEL = load_pack("28-8-label")
LUNG = find_indication(LABEL, "nsclc-nonsquamous")
STAINED, UNUSABLE, BELOW = ResultFlag.CONTROL_STAINED, ResultFlag.CONTROL_UNUSABLE, ResultFlag.BELOW_BLANK


def field(n_tumour, n_membrane, n_cytoplasm=0):
    positive = PositiveCounts(membrane=n_membrane, cytoplasm=n_cytoplasm, cell=n_membrane)
    return Counts(n_tumour=n_tumour, positive=positive, positive_strict=positive, positive_lenient=positive)


def limit(*fields, **how):
    return limit_of_blank([(f"{n}.png", each) for n, each in enumerate(fields)], **{"pack": LABEL, **how})


def test_of_few_fields_the_highest_rate_is_the_limit():
    found = limit(field(1000, 3), field(1000, 7), field(1000, 0))
    assert found.limit_pct == pytest.approx(0.7)
    assert [each.image for each in found.fields] == ["0.png", "1.png", "2.png"]
    assert found.flags == found.problems == ()


@pytest.mark.parametrize("n", [20, 30, 41, 100])
def test_of_many_fields_it_is_the_95th_percentile(n):
    rates = np.arange(n)
    found = limit(*(field(10_000, int(each)) for each in np.random.default_rng(1).permutation(rates)))
    rank = 0.5 + 0.95 * n
    assert n >= MIN_FIELDS
    assert found.limit_pct == pytest.approx(np.interp(rank, rates + 1, rates / 100))
    assert found.limit_pct < rates.max() / 100 or n == MIN_FIELDS


def test_a_field_counts_with_as_many_tumour_cells_as_a_case_is_asked_for():
    found = limit(field(99, 99), field(100, 1), field(0, 0))
    assert (len(found.fields), found.n_too_few, found.min_cells) == (1, 1, 100)
    assert found.limit_pct == 1
    few = replace(LUNG, min_tumour_cells=99)
    assert len(limit(field(99, 0), field(100, 1), indication=few).fields) == 2


def test_the_rate_is_that_of_the_compartment_of_the_pack():
    cytoplasm = replace(LABEL, compartment=Compartment.CYTOPLASM)
    assert limit(field(1000, 2, 5)).limit_pct == pytest.approx(0.2)
    assert limit(field(1000, 2, 5), pack=cytoplasm).limit_pct == pytest.approx(0.5)


def test_a_limit_above_the_lowest_cut_off_is_a_stained_control():
    assert limit(field(1000, 10), indication=LUNG).flags == ()
    assert limit(field(1000, 11), indication=LUNG).flags == (STAINED,)
    assert limit(field(1000, 11)).flags == (STAINED,)  # without an indication the lowest reference line
    stomach = find_indication(LABEL, "gastro-oesophageal-adenocarcinoma")
    high = replace(stomach, cut_offs=tuple(each for each in stomach.cut_offs if each.value >= 5))
    assert limit(field(1000, 11), indication=high).flags == ()


def test_without_a_field_there_is_no_limit_and_the_control_does_not_hold():
    for found in (limit(), limit(field(50, 0)), limit(field(0, 0))):
        assert found.limit_pct is None
        assert found.flags == (UNUSABLE,)
        assert found.problems == ("none of its fields has 100 viable tumour cells",)


def scored(k, n=1000, *, blank=None, typed=None, level="case"):
    return score(
        [field(n, k)] * 20,
        pack=LABEL,
        config=ScoreConfig(limit_of_blank_pct=typed),
        indication=LUNG,
        level=level,
        has_macrophage_class=False,
        has_tumour_roi=True,
        tumour_confirmed=True,
        blank=blank,
    )


def results(found):
    return [call.result for call in found.calls]


def test_a_case_below_the_limit_reads_never_at_least_and_says_so():
    blank = BlankLimit(limit_pct=20.1, min_cells=100)
    below, at = scored(200, blank=blank), scored(201, blank=blank)
    assert results(below) == [CallResult.INDETERMINATE] * 3
    assert BELOW in below.flags
    assert results(at) == [CallResult.AT_LEAST] * 3
    assert BELOW not in at.flags
    assert BELOW not in scored(200, blank=blank, level="image").flags  # a limit is held against cases


def test_below_the_limit_a_case_may_still_read_less_than_a_cut_off():
    found = scored(0, blank=BlankLimit(limit_pct=0.9, min_cells=100))
    assert results(found) == [CallResult.BELOW] * 3
    assert BELOW in found.flags


@pytest.mark.parametrize(("typed", "measured", "holds"), [(20.1, 1, True), (1, 20.1, True), (1, 1, False)])
def test_the_larger_of_a_typed_and_a_measured_limit_holds(typed, measured, holds):
    found = scored(200, blank=BlankLimit(limit_pct=measured, min_cells=100), typed=typed)
    assert (BELOW in found.flags) == holds
    assert (CallResult.AT_LEAST in results(found)) != holds


@pytest.mark.parametrize("flag", [STAINED, UNUSABLE])
def test_with_a_control_that_does_not_hold_there_is_no_call(flag):
    blank = BlankLimit(limit_pct=None, min_cells=100, flags=(flag,))
    found = scored(900, blank=blank)
    assert found.calls == ()
    assert flag in found.flags
    (reason,) = why_no_call(found.flags, pack=LABEL, indication=LUNG, evaluable=True)
    assert "negative control" in reason
    assert flag not in scored(900, blank=blank, level="image").flags
