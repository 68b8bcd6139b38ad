"""Clicks, drags and keys of a review in a real window."""

import itertools
import shutil

import numpy as np
import pytest

from pdl1quant.config import Config
from pdl1quant.model import CellClass
from pdl1quant.review import EditKind, Review
from review_bench import REVIEWER, Bench, tumour_rows
from review_runs import make_results, viable
from viewers import *  # noqa: F403

pytestmark = pytest.mark.viewer


@pytest.fixture
def work(viewer, qtbot, scored_field, tmp_path):
    """Results in a viewer with the widget beside it, and hands to work with."""
    opened = Bench(viewer, qtbot, shutil.copytree(scored_field, tmp_path / "result"))
    yield opened
    opened.close()


# a window takes longer to open than all that is done in one: claims about the same hands share it
def test_cells_are_chosen_by_clicks_and_changed_and_taken_back_by_keys_which_changes_the_score(work):
    row = tumour_rows(work.review)
    automated = work.review.score
    work.desk.select(np.array(row))
    for key in ("P", "N"):
        work.press(key)
        assert work.review.state.now(np.array(row))["positive"].tolist() == [key == "P"]
    work.press("Delete")
    assert not work.review.state.present[row].any()
    assert not work.desk.selection.size
    work.press("Ctrl+Z", "Ctrl+Z", "Ctrl+Z")
    assert work.review.score == automated
    work.press("Ctrl+Shift+Z")
    assert work.review.score != automated or work.review.standing.n_edits == 1
    assert work.review.standing.n_edits == 1
    work.press("Ctrl+Z")
    merge_and_split(work)
    work.press("Ctrl+Z")
    choose_and_name(work)
    press_with_any_layer(work)


def merge_and_split(work):
    """Both make cells with outlines."""
    one, two = tumour_rows(work.review, 2)
    cells = work.desk.scene.cells
    n = len(cells.kinds)
    work.desk.select(np.array([one, two]))
    work.press("M")
    assert (cells.kinds[[one, two]] < 0).all()
    assert work.desk.selection.tolist() == [n]
    assert cells.outline(n).area >= cells.outline(one).area + cells.outline(two).area - 1
    work.press("Ctrl+Z")
    work.look_at(one)
    work.click()
    work.press("S")
    work.click(dx=-50)
    work.click(dx=50)
    left, right = (cells.outline(row) for row in (n + 1, n + 2))
    assert left.area + right.area == pytest.approx(cells.outline(one).area, rel=0.01)
    assert left.centroid.x < right.centroid.x
    assert work.desk.mode == "select"


def choose_and_name(work):
    """By clicks, and by the key of each class."""
    n_before = len(work.review.ledger.edits)
    one, two = tumour_rows(work.review, 2)
    row = one
    before = work.widget.numbers.text(3, 2)
    work.look_at(row)
    work.click()
    assert work.desk.selection.tolist() == [row]
    assert "Tumour" in work.widget.edits.selected.text()
    work.press("4")
    assert work.kind(row) == "Stroma"
    assert work.widget.numbers.text(3, 1) == before
    assert work.widget.numbers.text(3, 2) != before
    edit = work.review.ledger.edits[-1]
    assert (edit.kind, edit.to, edit.before, edit.reviewer, edit.uncertain_first) == (
        "class", "stroma", ("tumour",), REVIEWER, False,
    )  # fmt: skip
    work.look_at(two)
    work.click(shift=True)
    assert sorted(work.desk.selection.tolist()) == sorted([one, two])
    work.click(shift=True)
    assert work.desk.selection.tolist() == [one]
    work.press("1", "2", "3", "4", "5")
    assert [edit.to for edit in work.review.ledger.edits[n_before + 1 :]] == list(CellClass)
    n = len(work.review.state.table)
    work.press("A")
    work.click()
    assert work.desk.selection.tolist() == [n]
    work.press("Escape")


def press_with_any_layer(work):
    """Keys are those of the review whichever of its layers is active."""
    row = int(work.review.state.rows_of(viable(work.review)[:1])[0])
    work.desk.select(np.array([row]))
    names = ("Slide", "DAB OD", "Tissue", "Heat map", "Cells", "Centroids", "Selected")
    keys = itertools.cycle((("2", "lymphocyte"), ("4", "stroma")))
    for name, (key, cell_class) in zip(names, keys, strict=False):
        layer = work.viewer.layers[name]
        layer.visible = True
        work.viewer.layers.selection.active = layer
        work.press(key)
        assert (name, work.review.ledger.edits[-1].to) == (name, cell_class)
        assert str(layer.mode) == "pan_zoom"
        layer.visible = name in {"Slide", "Cells", "Selected"}
    work.press("Backspace")
    assert not work.review.state.present[row]
    n = len(work.review.ledger.edits)
    work.viewer.layers.selection.active = work.viewer.layers["Slide"]
    work.press("Ctrl+Z", "Ctrl+Shift+Z")
    assert len(work.review.ledger.edits) == n + 2


def test_dragging_moves_the_image_or_draws_a_lasso_which_selects_or_a_region_which_excludes(work):
    before = work.viewer.scene.camera.center
    work.drag([(0, 0), (60, 40), (90, 60)], shift=False)
    assert work.viewer.scene.camera.center != before
    assert not work.desk.selection.size
    assert work.review.ledger.edits == []
    work.viewer.scene.camera.center, work.viewer.scene.camera.zoom = (0, 128, 128), 4
    work.settle()
    work.drag([(-150, -150), (150, -150), (150, 150), (-150, 150)])
    centres = work.desk.scene.cells.centres_px * 0.5
    inside = (np.abs(centres - 128) < 150 / 4 - 1).all(axis=1)
    near = (np.abs(centres - 128) < 150 / 4 + 1).all(axis=1)
    chosen = np.zeros(len(centres), bool)
    chosen[work.desk.selection] = True
    assert chosen[inside].all()
    assert not chosen[~near].any()
    assert work.viewer.scene.camera.center[1:] == pytest.approx((128, 128))
    assert "Lasso" not in work.viewer.layers
    work.press("2")
    assert set(work.review.state.now(work.desk.selection)["cell_class"]) == {"lymphocyte"}
    work.press("Ctrl+Z")
    exclude_a_region(work)
    drag_a_corner(work)


def exclude_a_region(work):
    """Drawn with the mouse."""
    from qtpy.QtCore import Qt

    work.viewer.scene.camera.center, work.viewer.scene.camera.zoom = (0, 128, 128), 3
    work.settle()
    work.qtbot.mouseClick(work.widget.edits.buttons["Draw region"], Qt.LeftButton)
    work.drag([(-90, -90), (90, -90), (90, 90), (-90, 90), (-90, -80)], shift=False)
    work.qtbot.mouseClick(work.widget.edits.buttons["Exclude"], Qt.LeftButton)
    work.settle()
    ((rule, geometry),) = work.review.regions
    assert (rule, geometry["type"]) == ("exclude", "Polygon")
    layer, mpp = work.viewer.layers["Regions"], work.desk.scene.grids[0].mpp
    for zoom in (0.05, 30):  # a line of some pixels of a slide is not seen when all of it is
        work.viewer.scene.camera.zoom = zoom
        assert 2 <= layer.edge_width[0] * mpp * zoom <= 4.5
    at = work.desk.scene.cells.centres_px
    middle = np.flatnonzero((np.abs(at - 256) < 40).all(axis=1))
    assert {work.kind(row) for row in middle} == {"Left out"}
    work.press("Ctrl+Z")
    assert work.review.regions == ()
    assert len(work.viewer.layers["Regions"].data) == 0


def drag_a_corner(work):
    """It moves what counts."""
    view, n_before = work.viewer, len(work.review.ledger.edits)
    view.scene.camera.center, view.scene.camera.zoom = (0, 128, 128), 3
    work.settle()
    work.desk.draw_region()
    corners = np.array([[200.0, 200], [200, 300], [300, 300], [300, 200]])  # pixels of 0.5 um, about the middle
    work.desk.layer("Regions").add_polygons([corners])
    work.desk.mark_regions("exclude")
    n_tumour = work.review.counts.n_tumour
    layer = work.desk.layer("Regions")
    view.layers.selection.active = layer
    layer.mode = "direct"
    layer.selected_data = {0}
    work.settle()
    at = (300 * 0.5 + 0.25 - 128) * 3
    work.drag([(at, at), (at + 30, at + 30), (at + 100, at + 100), (at + 101, at + 101)], shift=False)
    assert [edit.kind for edit in work.review.ledger.edits[n_before:]] == ["roi", "redraw"]
    ((_, geometry),) = work.review.regions
    assert max(max(point) for point in geometry["coordinates"][0]) == pytest.approx(300.5 + 101 / 1.5, abs=3)
    assert work.review.counts.n_tumour < n_tumour
    assert work.desk.layer("Regions") is layer
    work.press("Ctrl+Z")
    ((_, geometry),) = work.review.regions
    assert max(max(point) for point in geometry["coordinates"][0]) == pytest.approx(300.5)


def test_cells_keep_the_colours_of_a_threshold_between_two_steps_and_keys_go_to_the_cells(viewer, qtbot, tmp_path):
    from qtpy.QtCore import Qt

    config = Config.model_validate({"positivity": {"dab_od": 0.205}})
    out = make_results(tmp_path, images=("a",), n=300, config=config)
    work = Bench(viewer, qtbot, out)
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
        work.close()
