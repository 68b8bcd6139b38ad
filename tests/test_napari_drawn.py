"""What is drawn in the viewer, and what others do meanwhile; without a window, where none is needed."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from pdl1quant.config import Config
from pdl1quant.review import EditKind, MadeCell, Review, case_text, open_case, review_case
from review_bench import REVIEWER, Bench
from review_runs import make_results, open_review, viable
from viewers import *  # noqa: F403

pytestmark = pytest.mark.viewer
BOX = np.array([[100.0, 100], [100, 500], [300, 500], [300, 100]])  # y, x


@pytest.fixture
def out(tmp_path):
    return make_results(tmp_path)


@pytest.fixture
def desk(out):
    from napari.components import ViewerModel

    from pdl1quant.napari.desk import Desk

    opened = Desk(ViewerModel())
    opened.reviewer = REVIEWER
    opened.open_folder(out)
    yield opened
    opened.close()


def regions_of(desk):
    return [shapely.geometry.shape(geometry) for _, geometry in desk.review.regions]


def test_an_ellipse_is_a_region_of_its_own_form(desk):
    desk.draw_region()
    layer = desk.layer("Regions")
    layer.add_ellipses([BOX])
    layer.add_rectangles([BOX + 600])
    desk.mark_regions("exclude")
    ellipse, box = regions_of(desk)
    assert ellipse.area == pytest.approx(np.pi / 4 * box.area, rel=1e-3)
    assert ellipse.bounds == pytest.approx((100.5, 100.5, 500.5, 300.5))


def test_a_region_is_taken_though_the_shape_of_an_earlier_one_was_removed(desk):
    desk.draw_region()
    desk.layer("Regions").add_polygons([BOX])
    desk.mark_regions("exclude")
    layer = desk.layer("Regions")
    layer.selected_data = {0}
    layer.remove_selected()
    layer.add_polygons([BOX + 600])
    desk.mark_regions("include")
    assert [rule for rule, _ in desk.review.regions] == ["exclude", "include"]
    assert len(desk.layer("Regions").data) == 2  # what holds is shown again


def test_a_region_that_runs_forth_and_back_can_be_opened_again(desk, out):
    spike = np.array([[0.0, 0], [100, 0], [100, 50], [200, 50], [100, 50], [100, 100], [0, 100]])
    desk.draw_region()
    desk.layer("Regions").add_polygons([spike])
    desk.mark_regions("exclude")
    desk.open_folder(out)
    assert len(desk.layer("Regions").data) == 1


def test_escape_leaves_drawing_for_the_cells(desk):
    desk.draw_region()
    layer = desk.layer("Regions")
    (leave,) = [call for key, call in layer.keymap.items() if str(key) == "Escape"]
    leave(layer)
    assert layer.mode == "pan_zoom"
    assert desk.viewer.layers.selection.active is desk.layer("Centroids")


def test_a_refused_edit_shows_what_others_did_meanwhile(desk, out):
    other = open_review(out)
    gone = viable(other)[:1]
    other.edit(EditKind.DELETE, reviewer="Bo", cells=gone)
    other.edit(EditKind.ADD, reviewer="Bo", made=[MadeCell(x_px=50, y_px=60, cell_class="tumour")])
    said = []
    desk.said.connect(said.append)
    assert not desk.edit(EditKind.CLASS, cells=gone, to="stroma")
    assert "no cell" in said[-1]
    n = len(desk.review.state.table)
    assert desk.scene.cells.kinds[[int(desk.review.state.rows_of(gone)[0]), n - 1]].tolist()[0] < 0
    desk.lasso(np.array([[-9.0, -9], [-9, 9999], [9999, 9999], [9999, -9]]))
    assert n - 1 in desk.selection


def test_a_case_is_counted_with_what_others_did_on_its_other_images(desk, out, qtbot):
    from pdl1quant.napari.case_box import CaseBox

    case = CaseBox(desk)
    qtbot.addWidget(case)
    case.show_case()
    other = open_review(out, "b")
    other.edit(EditKind.CLASS, reviewer="Bo", cells=viable(other)[:40], to="stroma")
    case.show_case()
    now = review_case(open_case(desk.results, "case"), desk.results.case_rows[0])
    assert case_text(now) in case.standing.text()


def test_merging_renamed_cells_in_the_viewer_keeps_their_name(desk):
    rows = desk.review.state.rows_of(viable(desk.review)[:2])
    desk.select(rows)
    desk.edit_selected(EditKind.CLASS, "stroma")
    desk.merge()
    assert desk.review.state.now(desk.selection)["cell_class"].tolist() == ["stroma"]


# --- with a window ---------------------------------------------------------------------------------------------------
def test_cells_keep_the_colours_of_a_threshold_between_two_steps_and_keys_go_to_the_cells(
    make_napari_viewer, qtbot, tmp_path
):
    from qtpy.QtCore import Qt

    config = Config.model_validate({"positivity": {"dab_od": 0.205}})
    out = make_results(tmp_path, n=2000, config=config)
    work = Bench(make_napari_viewer(show=True), qtbot, out)
    try:
        kinds = work.desk.scene.cells.kinds.copy()
        work.widget.tabs.setCurrentIndex(2)
        work.settle(200)
        assert work.widget.threshold.dab_od == 0.205
        work.widget.tabs.setCurrentIndex(0)
        work.settle(200)
        assert np.array_equal(work.desk.scene.cells.kinds, kinds)

        window = work.viewer.window._qt_window
        work.widget.reviewer.setFocus()
        qtbot.keyClick(work.widget.reviewer, Qt.Key_Return)
        assert window.focusWidget() is not work.widget.reviewer
        for box in (work.widget.edits.added, work.widget.images):
            box.setFocus()
            box.activated.emit(0)
            assert window.focusWidget() is not box

        bo = Review(work.desk.results, work.review.image)
        bo.edit(EditKind.DELETE, reviewer="Bo", cells=viable(bo)[:1])
        qtbot.mouseClick(work.widget.case.sign, Qt.LeftButton)
        assert "Bo changed it" in work.message
        assert work.widget.numbers.text(4, 2) == f"{work.review.counts.n_cells:,}"
        qtbot.mouseClick(work.widget.case.sign, Qt.LeftButton)
        assert REVIEWER in work.review.standing.signed_by
    finally:
        work.widget.close()
