"""What a reviewer draws, other cut-offs, and the words for numbers."""

import numpy as np
import pandas as pd
import pytest
import shapely

from pdl1quant.config import load_config
from pdl1quant.errors import ReviewError
from pdl1quant.model import CellClass
from pdl1quant.review import (
    EditKind,
    accept_threshold,
    case_text,
    cell_text,
    compare,
    drawn_region,
    ellipse_ring,
    joined_cell,
    moved_region,
    next_uncertain,
    open_case,
    open_results,
    review_case,
    reviewed_curve,
    rings_of,
    say_of_case,
    split_cells,
    uncertainty,
)
from pdl1quant.review.regions import region
from pdl1quant.review.uncertain import at_cut_off
from pdl1quant.review.wording import tps_text
from review_runs import make_results, open_review, viable

SQUARE = shapely.box(10, 20, 30, 40)
SQUARE_PX = {"mpp_x": 0.5, "mpp_y": 0.5}


@pytest.fixture
def review(tmp_path):
    return open_review(make_results(tmp_path))


def test_a_region_counts_from_the_corner_of_the_first_pixel():
    drawn = drawn_region(np.array([[0, 0], [9, 0], [9, 9], [0, 9]]))
    assert shapely.geometry.shape(drawn).bounds == (0.5, 0.5, 9.5, 9.5)


@pytest.mark.parametrize("points", [[[0, 0], [1, 1]], [[0, 0], [1, 1], [2, 2]]])
def test_a_region_without_area_is_refused(points):
    with pytest.raises(ReviewError, match="no area"):
        drawn_region(np.array(points))


def test_a_region_is_an_area_where_its_outline_runs_forth_and_back(review):
    spike = np.array([[0.0, 0], [100, 0], [100, 50], [200, 50], [100, 50], [100, 100], [0, 100]])
    drawn = drawn_region(spike)
    assert shapely.equals(shapely.geometry.shape(drawn), shapely.box(0.5, 0.5, 100.5, 100.5))
    crossed = {"type": "Polygon", "coordinates": [[*spike.tolist(), [0, 0]]]}
    review.edit(EditKind.ROI, reviewer="A", to="exclude", geometry=crossed)
    ((_, geometry),) = review.regions
    assert region(geometry).geom_type == "Polygon"  # what the viewer draws


def test_a_loop_that_crosses_its_own_line_holds_all_that_it_encircles():
    overshot = np.array([[0, 0], [100, 0], [100, 100], [0, 100], [0, -10], [20, -10], [20, 20], [-5, 20]])
    drawn = shapely.geometry.shape(drawn_region(overshot))
    assert drawn.covers(shapely.box(1, 1, 100, 100))
    bow_tie = shapely.geometry.shape(drawn_region(np.array([[0, 0], [10, 10], [10, 0], [0, 10]])))
    assert bow_tie.area == pytest.approx(50)


def test_a_region_is_what_its_rings_are():
    ring = shapely.box(0, 0, 50, 50).difference(shapely.box(10, 10, 20, 20))
    holed = shapely.union_all([ring, shapely.box(60, 0, 90, 50)])
    rings = rings_of(shapely.geometry.mapping(holed))
    assert len(rings) == 3
    assert shapely.equals(shapely.geometry.shape(moved_region(rings)), holed)
    with pytest.raises(ReviewError, match="no area"):
        moved_region([np.zeros((4, 2))])


def test_an_ellipse_touches_the_sides_of_its_box():
    ring = shapely.Polygon(ellipse_ring(np.array([[0.0, 0], [0, 40], [20, 40], [20, 0]])))
    assert ring.bounds == pytest.approx((0, 0, 20, 40))
    assert ring.area == pytest.approx(np.pi * 10 * 20, rel=1e-3)


def test_parts_of_a_split_are_the_whole_and_hold_their_centres():
    made = split_cells(SQUARE, np.array([[12.0, 25.0], [26.0, 33.0]]), cell_class=CellClass.TUMOUR, sides_um=SQUARE_PX)
    one, two = (shapely.geometry.shape(each.geometry) for each in made)
    assert one.area + two.area == pytest.approx(SQUARE.area, rel=1e-3)
    assert one.intersection(two).area == pytest.approx(0, abs=0.1)
    for part, cell in zip((one, two), made, strict=True):
        assert part.covers(shapely.Point(cell.x_px + 0.5, cell.y_px + 0.5))


def test_a_split_is_halfway_in_um_where_pixels_are_not_square():
    centres, sides = np.array([[12.0, 22.0], [27.0, 37.0]]), {"mpp_x": 0.25, "mpp_y": 1.0}
    one, other = split_cells(SQUARE, centres, cell_class=CellClass.TUMOUR, sides_um=sides)
    for point in (26.0, 24.0), (14.0, 35.0):  # nearer to the first in pixels, or to the other
        away = np.hypot(*((np.array(point) - centres) * (0.25, 1.0)).T)
        nearest = (one, other)[int(np.argmin(away))]
        assert shapely.geometry.shape(nearest.geometry).covers(shapely.Point(np.array(point) + 0.5))


@pytest.mark.parametrize("centres", [[[12.0, 25.0], [60.0, 33.0]], [[12.0, 25.0], [12.0, 25.0]]])
def test_a_split_needs_two_places_inside(centres):
    with pytest.raises(ReviewError, match="two places"):
        split_cells(SQUARE, np.array(centres), cell_class=CellClass.TUMOUR, sides_um=SQUARE_PX)


def test_a_split_of_a_cell_without_outline_has_none():
    made = split_cells(None, np.array([[1.0, 2.0], [3.0, 4.0]]), cell_class=CellClass.STROMA, sides_um=SQUARE_PX)
    assert [each.geometry for each in made] == [None, None]


def test_a_joined_cell_holds_its_parents(review):
    outlines = [SQUARE, shapely.box(40, 20, 50, 40)]
    made = joined_cell(review.cells.iloc[:2], outlines)
    whole = shapely.geometry.shape(made.geometry)
    assert all(whole.buffer(0.02).covers(each) for each in outlines)
    with pytest.raises(ReviewError, match="at least two"):
        joined_cell(review.cells.iloc[:1], outlines[:1])


def test_cells_at_the_cut_off_of_the_run_are_those_of_the_run(review):
    config, pack = review.results.config, review.results.pack
    cells = review.state.counted()
    same = at_cut_off(cells, config.positivity.dab_od, config=config, pack=pack)
    curve = reviewed_curve(review.state, [0.2], config=config, pack=pack)
    viable_cells = same[(same["flags"] == 0) & (same["cell_class"] == "tumour")]
    assert 100 * viable_cells["positive"].mean() == pytest.approx(curve["tps_reviewed"][0], abs=3)


def test_a_higher_cut_off_turns_no_cell_positive_and_leaves_what_a_reviewer_said(review):
    config, pack = review.results.config, review.results.pack
    told = viable(review)[0]
    review.edit(EditKind.POSITIVE, reviewer="A", cells=[told], to=True)
    cells = review.state.counted()
    low, high = (at_cut_off(cells, od, config=config, pack=pack) for od in (0.2, 0.5))
    assert not (high["positive"] & ~low["positive"]).any()
    assert high["positive"].sum() < low["positive"].sum()
    row = int(review.state.rows_of([told])[0])
    pd.testing.assert_series_equal(high.loc[row], cells.loc[row])


def test_an_accepted_threshold_withdraws_calls_and_changes_no_number(review, tmp_path):
    before = review.score
    path = tmp_path / "next.toml"
    accept_threshold(review, 0.31, path, reviewer="A")
    assert load_config(path).positivity.dab_od == 0.31
    assert review.score == before
    assert review.standing.threshold_moved
    with pytest.raises(ReviewError, match="is there already"):
        accept_threshold(review, 0.32, path, reviewer="A")


def test_a_locked_case_accepts_no_threshold_and_no_file_is_left(review, tmp_path):
    say_of_case([review], EditKind.LOCK, reviewer="A")
    with pytest.raises(ReviewError, match="amend it first"):
        accept_threshold(review, 0.31, tmp_path / "next.toml", reviewer="A")
    assert list(tmp_path.glob("*.toml")) == []


def test_without_edits_both_columns_are_the_same(review):
    assert all(each.automated == each.reviewed for each in compare(review))
    review.edit(EditKind.CLASS, reviewer="A", cells=review.ids(np.arange(len(review.cells))), to="stroma")
    told = {each.name: each for each in compare(review)}
    assert told["TPS (cytoplasm), %"].reviewed == "\N{EN DASH}"
    assert told["CPS"].reviewed == told["Interval, %"].reviewed == "undefined"
    assert told["Positive / tumour cells"].reviewed == "0 / 0"


def test_bounds_are_rounded_as_the_score_is():
    assert tps_text(0.5, 0.3, 1.5) == "< 1 % (< 1-2)"
    assert tps_text(2.5, 1.0, 4.5) == "3 % (1-4)"


def test_words_of_a_cell_follow_the_review(review):
    cell = viable(review)[0]
    row = int(review.state.rows_of([cell])[0])
    assert cell_text(review, row).startswith("Tumour")
    review.edit(EditKind.CLASS, reviewer="A", cells=[cell], to="stroma")
    assert cell_text(review, row).startswith("Stroma")


def test_words_of_a_case_say_how_it_stands(tmp_path):
    results = open_results(make_results(tmp_path))
    reviews = open_case(results, "case")
    assert open_case(results, "case", opened=reviews[:1])[0] is reviews[0]
    say_of_case(reviews, EditKind.SIGN, reviewer="A")
    say_of_case(reviews, EditKind.LOCK, reviewer="A")
    text = case_text(review_case(reviews, results.case_rows[0]))
    assert "no call (this reading makes no calls); 0 edits; signed by A; locked" in text


def test_uncertain_rows_are_those_of_next_uncertain_whatever_was_edited(tmp_path):
    review = open_review(make_results(tmp_path, n=9000, images=("a",)))
    how = {"config": review.results.config, "pack": review.results.pack}
    assert list(review.uncertain_rows()) == next_uncertain(review.state, **how).tolist()
    first = next(review.uncertain_rows())
    review.edit(EditKind.CLASS, reviewer="A", cells=review.ids([first]), to="stroma")
    outline = {"type": "Polygon", "coordinates": [[[0, 0], [2000, 0], [2000, 2000], [0, 2000], [0, 0]]]}
    review.edit(EditKind.ROI, reviewer="A", to="exclude", geometry=outline)
    left = list(review.uncertain_rows())
    assert first not in left
    assert left == next_uncertain(review.state, **how).tolist()
    assert uncertainty(review.state.counted(np.array(left)), **how).min() > 0
