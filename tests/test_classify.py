"""Classes by rules: size, shape and company; never by brown."""

import numpy as np
import pandas as pd
import pytest

from factories import make_cells
from pdl1quant.config import CellsConfig, StainsConfig
from pdl1quant.model import CELL_COLUMNS, CLASS_PROBABILITIES, CellClass, Segmentation, Tile
from pdl1quant.neighbours import SQUARE_UM
from pdl1quant.stages.cells import grow_cells
from pdl1quant.stages.classify import (
    BROWN_UM,
    SQUARES_AROUND,
    classify_cells,
    name_by_scores,
    weigh_blue_company,
    weigh_brown_company,
)
from pdl1quant.stages.measure import measure_cells
from pdl1quant.stages.stains import deconvolve, estimate_stains, sample_stains
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from pdl1quant.whole_slides.judging import MARGIN_UM
from scenes import ESTIMATE


def classify(cells, mpp=0.5):
    return classify_cells(cells, mpp=mpp, estimate=ESTIMATE)


def measured(phantom):
    """Cells of the phantom's own nuclei."""
    tile = Tile.whole(phantom.rgb, 0.5)
    estimate = estimate_stains([sample_stains(tile.rgb)], config=StainsConfig())
    od = deconvolve(tile.rgb, estimate)
    parts = grow_cells(Segmentation(nuclei=phantom.nucleus), od, mpp=0.5, config=CellsConfig())
    return measure_cells(tile, od, parts, stains=StainsConfig(), t1=0.2, pigment_residual_od=0.1).cells, estimate


@pytest.fixture(scope="module")
def field():
    phantom = render_phantom(PhantomSettings(size_px=384), seed=3)
    cells, estimate = measured(phantom)
    return phantom, cells, estimate


def test_every_cell_has_a_class_of_the_model(field):
    _, cells, estimate = field
    named = classify_cells(cells, mpp=0.5, estimate=estimate)
    assert list(named["cell_class"].cat.categories) == [each.value for each in CellClass]
    assert set(named["cell_class"]) <= {"tumour", "lymphocyte", "stroma"}
    assert [str(dtype) for dtype in named.dtypes] == [column.dtype for column in CELL_COLUMNS]


def test_table_given_is_left_as_it_is(field):
    _, cells, estimate = field
    before = cells.copy()
    classify_cells(cells, mpp=0.5, estimate=estimate)
    assert cells.equals(before)


def test_most_tumour_cells_of_phantoms_are_named_so():
    """A first rule. Calling every cell tumour has F1 0.58 on these fields."""
    n_true = n_found = n_both = 0
    for seed in range(3):
        phantom = render_phantom(PhantomSettings(size_px=256), seed=seed)
        cells, estimate = measured(phantom)
        truth = (phantom.cells["cell_class"] == "tumour").to_numpy()
        found = (classify_cells(cells, mpp=0.5, estimate=estimate)["cell_class"] == "tumour").to_numpy()
        n_true, n_found, n_both = n_true + truth.sum(), n_found + found.sum(), n_both + (truth & found).sum()
    assert 2 * n_both / (n_true + n_found) > 0.7


def test_brown_changes_no_class(field):
    _, cells, estimate = field
    brown = {name: 0.5 for name in cells.columns if "dab_od" in name}
    once = classify_cells(cells, mpp=0.5, estimate=estimate)["cell_class"]
    assert classify_cells(cells.assign(**brown), mpp=0.5, estimate=estimate)["cell_class"].equals(once)


def test_order_of_the_rows_changes_no_class(field):
    _, cells, estimate = field
    order = np.random.default_rng(0).permutation(len(cells))
    once = classify_cells(cells, mpp=0.5, estimate=estimate)["cell_class"].to_numpy()
    again = classify_cells(cells.iloc[order], mpp=0.5, estimate=estimate)["cell_class"].to_numpy()
    assert np.array_equal(once[order], again)


def test_small_round_dark_cells_are_lymphocytes():
    cells = make_cells(
        49, nucleus_area_um2=28.0, nucleus_length_um=6.2, nucleus_width_um=5.8, neighbours_25um=40,
        nucleus_haematoxylin_od_mean=0.5, nucleus_regularity=0.98, neighbour_distance_um=7.0,
    )  # fmt: skip
    assert (classify(cells)["cell_class"] == "lymphocyte").all()


def test_thin_long_cells_are_stroma():
    cells = make_cells(
        49, nucleus_area_um2=30.0, nucleus_length_um=14.0, nucleus_width_um=2.8, neighbours_25um=8,
        nucleus_haematoxylin_od_mean=0.4, nucleus_regularity=0.9, neighbour_distance_um=14.0,
    )  # fmt: skip
    assert (classify(cells)["cell_class"] == "stroma").all()


def test_large_cells_among_their_like_are_tumour():
    cells = make_cells(49, nucleus_area_um2=65.0, nucleus_length_um=10.0, nucleus_width_um=8.4, neighbours_25um=15)
    assert (classify(cells)["cell_class"] == "tumour").all()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_cells_can_be_named(n):
    assert len(classify(make_cells(n))["cell_class"]) == n


def test_cell_alone_can_be_named():
    assert len(classify(make_cells(1, neighbour_distance_um=np.inf, neighbours_25um=0))) == 1


def test_scores_name_the_best_class_and_stay_in_the_table():
    scores = np.eye(len(CellClass), dtype=np.float32)[[2, 0, 4]]
    named = name_by_scores(make_cells(3), scores)
    assert named["cell_class"].tolist() == ["macrophage", "tumour", "other"]
    assert np.array_equal(named[list(CLASS_PROBABILITIES)], scores)


def test_probabilities_of_the_rule_sum_to_one_and_name_the_class(field):
    _, cells, estimate = field
    named = classify_cells(cells, mpp=0.5, estimate=estimate)
    probabilities = named[list(CLASS_PROBABILITIES)].to_numpy()
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(probabilities.argmax(axis=1), named["cell_class"].cat.codes)


def brown_cells(tumour_shares, *, apart_um=10.0, positive=True):
    """Cells in a row with these probabilities of tumour; else they are lymphocytes."""
    n = len(tumour_shares)
    scores = np.zeros((n, len(CellClass)), np.float32)
    scores[:, 0] = tumour_shares
    scores[:, 1] = 1 - scores[:, 0]
    cells = make_cells(n, x_px=np.arange(n) * apart_um * 2, y_px=np.zeros(n), positive=np.broadcast_to(positive, n))
    return name_by_scores(cells, scores)


@pytest.mark.parametrize(("others", "name"), [(0.02, "lymphocyte"), (0.98, "tumour")])
@pytest.mark.parametrize("own", [0.4, 0.6])
def test_a_doubtful_brown_cell_is_what_the_brown_cells_around_it_are(others, name, own):
    found = weigh_brown_company(brown_cells([own] + 9 * [others]), mpp=0.5)
    assert found["cell_class"].iloc[0] == name
    assert found[list(CLASS_PROBABILITIES)].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)


def test_a_cell_that_is_not_in_doubt_stays_what_it_is():
    cells = brown_cells([0.95] + 9 * [0.02])
    assert weigh_brown_company(cells, mpp=0.5).equals(cells)


@pytest.mark.parametrize(
    "cells",
    [
        brown_cells([0.4] + 9 * [0.98], positive=[True] + 9 * [False]),
        brown_cells([0.4] + 9 * [0.98], apart_um=BROWN_UM + 1),
        brown_cells([0.4] + 9 * [0.98], positive=False),
    ],
    ids=["the others are negative", "the others are far", "all are negative"],
)
def test_company_is_brown_and_near(cells):
    assert list(weigh_brown_company(cells, mpp=0.5)["cell_class"]) == list(cells["cell_class"])


def test_company_of_brown_cells_leaves_the_table_given():
    cells = brown_cells([0.5, 0.6, 0.02, 0.03])
    before = cells.copy()
    assert not weigh_brown_company(cells, mpp=0.5).equals(before)
    assert cells.equals(before)


def test_company_of_brown_cells_lies_within_what_a_band_of_a_slide_sees():
    assert BROWN_UM < MARGIN_UM


def test_company_is_the_same_however_many_cells_are_weighed_at_once(monkeypatch):
    cells = brown_cells(np.random.default_rng(1).uniform(0, 1, 50))
    together = weigh_brown_company(cells, mpp=0.5)
    monkeypatch.setattr("pdl1quant.stages.classify.DOUBTS_AT_ONCE", 3)
    apart = weigh_brown_company(cells, mpp=0.5)
    assert list(apart["cell_class"]) == list(together["cell_class"])
    assert np.allclose(apart["tumour_probability"], together["tumour_probability"], rtol=0, atol=1e-6)


def nest(*, own, n_brown, n_blue, first_px=0.0):
    """A doubtful blue cell among sure tumour cells, brown and blue, and five sure lymphocytes; 5 um apart."""
    shares = [own] + [0.99] * (n_brown + n_blue) + [0.01] * 5
    positive = [False] + [True] * n_brown + [False] * (n_blue + 5)
    cells = brown_cells(shares, apart_um=5.0, positive=positive)
    return cells.assign(x_px=cells["x_px"] + first_px)


def test_a_doubtful_blue_cell_among_brown_tumour_is_none():
    cells = nest(own=0.7, n_brown=30, n_blue=0)
    found = weigh_blue_company(cells, mpp=0.5)
    assert found["cell_class"].iloc[0] == "lymphocyte"
    assert list(found["cell_class"])[1:] == list(cells["cell_class"])[1:]
    assert found[list(CLASS_PROBABILITIES)].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "cells",
    [
        nest(own=0.95, n_brown=30, n_blue=0),
        nest(own=0.7, n_brown=24, n_blue=6),
        nest(own=0.7, n_brown=0, n_blue=30),
        nest(own=0.7, n_brown=3, n_blue=0),
    ],
    ids=["it is not in doubt", "a fifth is blue", "all are blue", "too few tell"],
)
def test_a_blue_cell_stays_what_it_is_where_company_tells_little(cells):
    assert list(weigh_blue_company(cells, mpp=0.5)["cell_class"]) == list(cells["cell_class"])


def test_a_doubtful_blue_cell_in_tumour_of_both_kinds_is_tumour():
    cells = nest(own=0.45, n_brown=15, n_blue=15)
    found = weigh_blue_company(cells, mpp=0.5)
    assert found["cell_class"].iloc[0] == "tumour"
    assert list(found["cell_class"])[1:] == list(cells["cell_class"])[1:]


LYMPHOCYTES = brown_cells(40 * [0.01], positive=False, apart_um=4.0)


@pytest.mark.parametrize(
    "cells",
    [
        nest(own=0.45, n_brown=0, n_blue=6),
        nest(own=0.45, n_brown=0, n_blue=12),
        nest(own=0.45, n_brown=1, n_blue=30),
        pd.concat([nest(own=0.45, n_brown=4, n_blue=4), LYMPHOCYTES], ignore_index=True),
    ],
    ids=["few, all of them blue", "all are blue", "hardly one is brown", "hardly a tumour cell around"],
)
def test_elsewhere_a_blue_cell_gains_nothing(cells):
    assert weigh_blue_company(cells, mpp=0.5).equals(cells)


@pytest.mark.parametrize(("own", "n_brown"), [(0.4, 15), (0.45, 30)], ids=["too little like tumour", "all are brown"])
def test_a_doubtful_blue_cell_does_not_become_tumour_by_company_alone(own, n_brown):
    cells = nest(own=own, n_brown=n_brown, n_blue=30 - n_brown)
    assert list(weigh_blue_company(cells, mpp=0.5)["cell_class"]) == list(cells["cell_class"])


def test_company_of_blue_cells_is_near_and_does_not_depend_on_what_is_far():
    near = nest(own=0.7, n_brown=30, n_blue=0, first_px=77.0)
    far = nest(own=0.7, n_brown=0, n_blue=40, first_px=77.0 + 2 * (400 + BROWN_UM))
    alone = weigh_blue_company(near, mpp=0.5)
    together = weigh_blue_company(pd.concat([far, near], ignore_index=True), mpp=0.5).iloc[len(far) :]
    assert np.array_equal(alone["tumour_probability"], together["tumour_probability"])
    assert (SQUARES_AROUND + 1) * SQUARE_UM < MARGIN_UM
