"""What the accuracy benchmarks compute, on drawn nuclei and on a small phantom whose truth is handed in as finding."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
COLUMNS = [
    "prec",
    "recall",
    "F1",
    "F1@IoU.5",
    "laid.on",
    "AJI",
    "rec.pos",
    "rec.neg",
    "pos.true",
    "pos.found",
    "pos.agr",
    "neg.agr",
]


@pytest.fixture
def annotated(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import annotated

    return annotated


@pytest.fixture
def rendered(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import phantoms

    return phantoms


@pytest.fixture(scope="module")
def phantom():
    return render_phantom(PhantomSettings(size_px=256, tps_pct=50), seed=1)


def nuclei(annotated, *lefts, positive, dab_od=()):
    """Squares of 10 px side in one row, 20 px high."""
    labels = np.zeros((20, 100), np.int32)
    for number, left in enumerate(lefts, start=1):
        labels[5:15, left : left + 10] = number
    return annotated.Nuclei(
        labels=labels,
        label=np.arange(1, len(lefts) + 1),
        xy_px=np.array([(left + 4.5, 9.5) for left in lefts]),
        positive=np.array(positive, bool),
        dab_od={"nucleus": np.array(dab_od, float)},
    )


def field(annotated, *lefts, positive, name="one"):
    truth = nuclei(annotated, *lefts, positive=positive)
    return annotated.Field(name=name, rgb=np.zeros((20, 100, 3), np.uint8), mpp=0.5, truth=truth)


def test_agreement_counts_matched_nuclei_by_their_true_kind(annotated):
    seen = field(annotated, 0, 20, 40, 60, positive=[1, 1, 0, 0])
    found = nuclei(annotated, 0, 24, 40, 85, positive=[1, 0, 1, 0])
    shares = annotated.measure(seen, found, method="m").shares
    assert list(shares) == COLUMNS
    assert shares["prec"] == shares["recall"] == shares["F1"] == 0.75
    assert shares["F1@IoU.5"] == 0.5  # 4 of 10 px beside: an IoU of 6/14
    assert (shares["rec.pos"], shares["rec.neg"]) == (1.0, 0.5)
    assert (shares["pos.agr"], shares["neg.agr"]) == (0.5, 0.0)


def test_outlines_beside_their_nuclei_are_laid_on_the_image(annotated):
    seen = field(annotated, 10, 40, 70, positive=[0, 0, 0])
    rgb = np.full((20, 100, 3), 240, np.uint8)
    for left in (10, 40, 70):
        rgb[5:15, left : left + 10] = 60
    assert annotated.shift_px(dataclasses.replace(seen, rgb=rgb)) == (0, 0)
    beside = dataclasses.replace(seen, rgb=np.roll(rgb, (-2, 3), axis=(0, 1)))
    assert annotated.shift_px(beside) == (3, -2)
    assert np.array_equal(annotated.laid_on(beside), np.roll(seen.truth.labels, (-2, 3), axis=(0, 1)))
    beside = dataclasses.replace(seen, rgb=np.roll(rgb, 4, axis=1))
    shares = annotated.measure(beside, nuclei(annotated, 14, 44, 74, positive=[0, 0, 0]), method="m").shares
    assert (shares["F1@IoU.5"], shares["laid.on"]) == (0.0, 1.0)


def test_pooled_agreement_weighs_nuclei_and_the_mean_weighs_fields(annotated):
    small, large = field(annotated, 0, positive=[1]), field(annotated, 0, 20, 40, positive=[1, 1, 1], name="two")
    results = [
        annotated.measure(small, nuclei(annotated, 0, positive=[0]), method="m"),
        annotated.measure(large, nuclei(annotated, 0, 20, 40, positive=[1, 1, 1]), method="m"),
    ]
    assert annotated.pool(results, method="m").shares["pos.agr"] == 0.75
    heading, *_, mean, pooled = annotated.table_lines(results)
    assert heading.split() == ["field", "method", "truth", "found", *COLUMNS]
    assert (mean.split()[0], mean.split()[-2]) == ("MEAN", "0.500")
    assert (pooled.split()[0], pooled.split()[-2]) == ("POOLED", "0.750")


def test_an_undefined_share_is_printed_as_a_dash(annotated):
    seen = field(annotated, 0, positive=[0])
    line = annotated.table_lines([annotated.measure(seen, nuclei(annotated, 0, positive=[0]), method="m")])[1]
    assert line.split()[-2:] == ["-", "1.000"]


def test_the_curve_shows_agreement_at_each_cut(annotated):
    seen = field(annotated, 0, 20, 40, positive=[1, 1, 0])
    found = nuclei(annotated, 0, 20, 40, positive=[1, 1, 0], dab_od=[0.3, 0.15, 0.12])
    heading, *lines = annotated.curve_lines([seen], [found], [0.1, 0.14, 0.2])
    assert heading.split() == ["DAB", "OD", "nucleus", "+/-"]
    assert [line.split() for line in lines] == [["0.1", "1.000/0.000"], ["0.14", "1.000/1.000"], ["0.2", "0.500/1.000"]]


def truth_as_found(rendered, phantom, **changes):
    viable = phantom.cells["viable"].to_numpy()
    seen = rendered.Seen(
        xy_px=phantom.cells[["x_px", "y_px"]].to_numpy(),
        is_tumour=(phantom.cells["cell_class"] == "tumour").to_numpy(),
        is_positive=phantom.cells["positive"].to_numpy(),
        nucleus=phantom.nucleus,
        cell=phantom.cell,
        n_tumour=int(viable.sum()),
        n_positive=int((viable & phantom.cells["positive"]).sum()),
    )
    return dataclasses.replace(seen, **changes)


def test_the_truth_itself_reaches_everything(rendered, phantom):
    line = rendered.measure("truth", [phantom], [truth_as_found(rendered, phantom)])
    assert line.error == 0
    assert line.within
    assert line.detection_f1 == line.tumour_f1 == line.recall_positive == line.recall_negative == 1
    assert line.cell_iou == pytest.approx(1)
    assert line.expansion_iou < 0.9
    assert line.lost_positive == line.lost_negative == line.turned_positive == line.turned_negative == 0


def test_missing_positive_cells_show_in_their_recall_alone(rendered, phantom):
    kept = ~phantom.cells["positive"].to_numpy()
    seen = truth_as_found(rendered, phantom)
    rows = {name: getattr(seen, name)[kept] for name in ("xy_px", "is_tumour", "is_positive")}
    few = dataclasses.replace(seen, **rows)
    line = rendered.measure("no brown cell", [phantom], [few])
    assert (line.recall_positive, line.recall_negative) == (0, 1)


def test_cells_called_something_else_are_lost_and_those_called_the_reverse_turned(rendered, phantom):
    negative = ~phantom.cells["positive"].to_numpy()
    seen = truth_as_found(rendered, phantom)
    lost = rendered.measure("l", [phantom], [dataclasses.replace(seen, is_tumour=seen.is_tumour & ~negative)])
    turned = rendered.measure("t", [phantom], [dataclasses.replace(seen, is_positive=seen.is_positive | negative)])
    assert (lost.lost_positive, lost.lost_negative) == (0, 1)
    assert (turned.lost_negative, turned.turned_positive, turned.turned_negative) == (0, 0, 1)


def test_calling_all_cells_tumour_lowers_the_tumour_score_and_no_other(rendered, phantom):
    seen = truth_as_found(rendered, phantom, is_tumour=np.ones(len(phantom.cells), bool))
    line = rendered.measure("all", [phantom], [seen])
    assert line.detection_f1 == 1
    assert line.tumour_f1 < 0.95


@pytest.mark.parametrize(
    ("truth", "found", "within"), [(5, 6, True), (5, 6.1, False), (50, 48, True), (50, 52.1, False)]
)
def test_the_allowed_error_is_smaller_up_to_five_per_cent(rendered, truth, found, within):
    assert line_of(rendered, truth_pct=truth, found_pct=found).within is within


def line_of(rendered, **changes):
    values = {each.name: 0.5 for each in dataclasses.fields(rendered.Line)} | {
        "condition": "c",
        "n_truth": 9,
        "n_found": 9,
    }
    return rendered.Line(**(values | changes))


def test_the_summary_tells_what_low_truths_read(rendered):
    pairs = [(0, 0.2), (0, 0.4), (0.5, 0.9), (2, 1.5), (2, 1.2), (50, 50)]
    lines = [line_of(rendered, truth_pct=truth, found_pct=found) for truth, found in pairs]
    summary = rendered.summary(lines)
    assert summary["true 0 reads at most"] == 0.4
    assert summary["true below 1 reads at most"] == 0.9
    assert summary["true 1-4 reads at least"] == 1.2
    assert set(rendered.FLOORS) <= set(summary)


def test_the_summary_has_a_column_a_method(rendered):
    results = {name: [line_of(rendered)] for name in ("rules", "network")}
    heading, *lines = rendered.summary_lines(results)
    assert heading.split() == ["rendered", "fields", "rules", "network", "has", "to", "be"]
    assert len(lines) == len(rendered.summary(results["rules"]))


def test_adding_conditions_keeps_the_fields_of_the_others(rendered):
    ((name, (alone,)),) = rendered.render(["both 50"], n_fields=1, size_px=64)
    in_company = dict(rendered.render(["membrane 0", "both 50"], n_fields=1, size_px=64))
    assert np.array_equal(in_company[name][0].rgb, alone.rgb)


def test_pigment_is_judged_against_the_same_cells_without_it(rendered):
    (dirty,), (clean,) = dict(
        rendered.render(["anthracosis 50", "its clean twin 50"], n_fields=1, size_px=256)
    ).values()
    assert np.array_equal(dirty.cell, clean.cell)
    assert dirty.cells["pigmented"].any()
    assert not clean.cells["pigmented"].any()


def test_the_summary_tells_how_far_pigment_moves_the_error(rendered):
    pairs = {
        "anthracosis 0": (0, 3),
        "its clean twin 0": (0, 1),
        "anthracosis 50": (49, 50),
        "its clean twin 50": (50, 50),
    }
    lines = [line_of(rendered, condition=name, truth_pct=t, found_pct=f) for name, (t, f) in pairs.items()]
    assert rendered.summary(lines)["pigment moves the error by at most"] == 2
