"""Keys and mouse of a review where another layer is active, and with an image that cannot be opened."""

import itertools
import shutil

import numpy as np
import pytest

from review_bench import Bench, Desktop
from review_runs import make_results, open_review, viable
from viewers import *  # noqa: F403

pytestmark = pytest.mark.viewer


@pytest.fixture
def work(viewer, qtbot, scored_field, tmp_path):
    opened = Bench(viewer, qtbot, shutil.copytree(scored_field, tmp_path / "result"))
    yield opened
    opened.close()


def test_keys_are_those_of_the_review_whichever_of_its_layers_is_active(work):
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


def test_a_corner_dragged_with_the_mouse_moves_what_counts(work):
    view = work.viewer
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
    assert [edit.kind for edit in work.review.ledger.edits] == ["roi", "redraw"]
    ((_, geometry),) = work.review.regions
    assert max(max(point) for point in geometry["coordinates"][0]) == pytest.approx(300.5 + 101 / 1.5, abs=3)
    assert work.review.counts.n_tumour < n_tumour
    assert work.desk.layer("Regions") is layer
    work.press("Ctrl+Z")
    ((_, geometry),) = work.review.regions
    assert max(max(point) for point in geometry["coordinates"][0]) == pytest.approx(300.5)


def test_an_image_that_cannot_be_opened_is_not_said_to_be_open(qtbot, tmp_path):
    from napari.components import ViewerModel

    out = make_results(tmp_path)
    other = open_review(out, "b")
    other.edit("delete", reviewer="Bo", cells=viable(other)[:1])
    lines = other.ledger.path.read_text().replace('"config_digest": "', '"config_digest": "0')
    other.ledger.path.write_text(lines)
    work = Desktop(ViewerModel(), qtbot, out)
    try:
        work.widget.images.setCurrentIndex(1)
        work.widget.images.activated.emit(1)
        assert "other settings" in work.message
        assert work.review.image.name == "a.png" == work.widget.images.currentText()
    finally:
        work.close()
