"""What a classifier reads: named, finite, blind to brown, to direction and to what is far away."""

import numpy as np
import pytest

from factories import make_cells, random_cells
from pdl1quant.model import CellClass
from pdl1quant.stages.features import FEATURES, REACH_UM, describe_cells, feature_names
from scenes import ESTIMATE

SIDE_PX = 800.0


def describe(cells, scores=None):
    return describe_cells(cells, scores, mpp=0.5, estimate=ESTIMATE)


@pytest.fixture
def cells():
    rng = np.random.default_rng(5)
    n = 300
    return random_cells(5, n, side_px=SIDE_PX).assign(
        nucleus_area_um2=rng.uniform(20, 90, n).astype(np.float32),
        nucleus_haematoxylin_od_mean=rng.uniform(0.1, 0.9, n).astype(np.float32),
    )


@pytest.fixture
def scores():
    return np.random.default_rng(6).dirichlet(np.ones(len(CellClass)), 300).astype(np.float32)


def test_each_column_has_a_name_and_a_meaning(cells, scores):
    for given, names in ((scores, feature_names(with_scores=True)), (None, feature_names(with_scores=False))):
        features = describe(cells, given)
        assert features.shape == (len(cells), len(names))
        assert features.dtype == np.float32
        assert np.isfinite(features).all()
    assert len({each.name for each in FEATURES}) == len(FEATURES)
    assert all(each.description for each in FEATURES)


def test_names_fit_their_columns(cells, scores):
    features = describe(cells, scores)
    column = dict(zip(feature_names(with_scores=True), features.T, strict=True))
    assert np.array_equal(column["score_tumour"], scores[:, 0])
    assert np.array_equal(column["nucleus_area_um2"], cells["nucleus_area_um2"])
    assert np.array_equal(column["neighbours_25um"], cells["neighbours_25um"])
    without = dict(zip(feature_names(with_scores=False), describe(cells).T, strict=True))
    assert all(np.array_equal(column[name], values) for name, values in without.items())


def test_neighbours_alone_make_the_surroundings():
    """Two cells beside each other, each sees the other; a third, far away, sees none and stands for itself."""
    cells = make_cells(3, x_px=[0.0, 20.0, 5000.0], y_px=np.zeros(3), nucleus_area_um2=[30.0, 60.0, 90.0])
    near = describe(cells)[:, feature_names(with_scores=False).index("near_nucleus_area_um2")]
    assert near.tolist() == [60.0, 30.0, 90.0]


@pytest.mark.parametrize("turn", ["left-right", "up-down", "quarter"])
def test_turned_and_mirrored_images_give_the_same(cells, scores, turn):
    x, y = cells["x_px"], cells["y_px"]
    moved = {
        "left-right": cells.assign(x_px=SIDE_PX - x),
        "up-down": cells.assign(y_px=SIDE_PX - y),
        "quarter": cells.assign(x_px=SIDE_PX - y, y_px=x),
    }[turn]
    assert np.allclose(describe(moved, scores), describe(cells, scores), rtol=1e-5)


def test_order_of_the_rows_does_not_matter(cells, scores):
    order = np.random.default_rng(0).permutation(len(cells))
    assert np.allclose(describe(cells.iloc[order], scores[order]), describe(cells, scores)[order], rtol=1e-5)


def test_brown_changes_nothing(cells, scores):
    brown = {name: np.float32(0.7) for name in cells.columns if "dab_od" in name}
    assert np.array_equal(describe(cells.assign(**brown), scores), describe(cells, scores))


def test_cells_beyond_the_reach_change_nothing(cells, scores):
    far = cells.assign(x_px=cells["x_px"].where(cells["x_px"] < SIDE_PX / 2, cells["x_px"] + 2 * REACH_UM / 0.5))
    changed = far.assign(nucleus_area_um2=far["nucleus_area_um2"].where(far["x_px"] < SIDE_PX / 2, np.float32(500)))
    inside = (far["x_px"] < SIDE_PX / 2).to_numpy()
    before, after = describe(far, scores), describe(changed, scores)
    assert np.array_equal(before[inside], after[inside])
    assert not np.array_equal(before[~inside], after[~inside])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_cells_can_be_described(n):
    features = describe(make_cells(n, neighbour_distance_um=np.inf))
    assert features.shape == (n, len(feature_names(with_scores=False)))
    assert np.isfinite(features).all()


def test_table_given_is_left_as_it_is(cells, scores):
    before, kept = cells.copy(), scores.copy()
    describe(cells, scores)
    assert cells.equals(before)
    assert np.array_equal(scores, kept)
