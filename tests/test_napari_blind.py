"""A reader who is blind sees nothing of the machine before their own score, in a viewer without a window."""

import shutil

import numpy as np
import pytest

from review_bench import tumour_rows
from review_runs import make_results
from viewers import *  # noqa: F403

pytestmark = pytest.mark.viewer


@pytest.fixture
def out(scored_field, tmp_path):
    return shutil.copytree(scored_field, tmp_path / "result")


def test_a_blind_reader_sees_no_machine_until_scored(desktop, out):
    from qtpy.QtCore import Qt

    from pdl1quant.napari.number_box import HIDDEN

    work = desktop(out, blind=True)
    assert not any(
        work.viewer.layers[name].visible for name in ("Cells", "Centroids", "Positive immune cells", "Heat map")
    )
    assert work.widget.numbers.text(1, 1) == ""
    assert work.widget.numbers._notes.text() == HIDDEN
    work.settle(400)
    assert work.widget.case.standing.text() == ""
    work.click()
    assert not work.desk.selection.size
    work.widget.case.own.setValue(40)
    work.qtbot.mouseClick(work.widget.case.enter, Qt.LeftButton)
    assert work.review.ledger.edits[-1].to == {"tps": 40.0, "blind": True}
    assert work.viewer.layers["Cells"].visible
    assert work.widget.numbers.text(1, 1) != ""


def test_a_score_is_not_blind_once_the_machine_was_seen(desktop, out):
    work = desktop(out)
    work.widget.case.blind.setChecked(True)
    work.widget.case.own.setValue(40)
    work.widget.case.enter_own_score()
    assert work.review.ledger.edits[-1].to == {"tps": 40.0, "blind": False}


def test_each_image_is_read_blind_until_it_is_scored(desktop, tmp_path):
    """The next one, too; and neither the score of the last one nor 0 % is entered by a slip."""
    work = desktop(make_results(tmp_path), blind=True)
    case = work.widget.case
    case.enter_own_score()
    assert work.message == "enter your TPS first, 0 to 100 %"
    case.own.setValue(40)
    case.enter_own_score()
    assert work.widget.numbers.text(1, 1) != ""
    case.show_case()
    assert "hidden until you scored each" in case.standing.text()
    work.widget._image_chosen(1)
    assert work.desk.is_blind
    assert work.widget.numbers.text(1, 1) == ""
    assert not work.viewer.layers["Centroids"].visible
    case.enter_own_score()
    assert work.review.ledger.edits == []
    case.own.setValue(0)
    case.enter_own_score()
    assert work.review.ledger.edits[-1].to == {"tps": 0.0, "blind": True}
    case.show_case()
    assert "TPS" in case.standing.text()
    work.widget._image_chosen(0)
    assert not work.desk.is_blind  # it was scored
    case.blind.setChecked(False)
    case.blind.setChecked(True)
    case.own.setValue(50)
    case.enter_own_score()
    assert work.review.ledger.edits[-1].to == {"tps": 50.0, "blind": False}


def test_a_blind_reader_sees_the_result_neither_in_thumbnails_nor_by_the_eye_of_its_layers(desktop, out):
    work = desktop(out, blind=True)
    layers = [work.viewer.layers[name] for name in ("Heat map", "Cells", "Centroids", "Positive immune cells")]
    assert all(np.ptp(layer.thumbnail[..., :3]) == 0 for layer in layers)
    for layer in layers:
        layer.visible = True
        assert not layer.visible
    assert "hidden until you gave your own score" in work.message
    work.widget.case.own.setValue(40)
    work.widget.case.enter_own_score()
    assert work.review.ledger.edits[-1].to == {"tps": 40.0, "blind": True}
    assert work.viewer.layers["Cells"].visible
    assert np.ptp(work.viewer.layers["Cells"].thumbnail[..., :3]) > 0


def test_an_own_score_leaves_what_is_shown_and_one_that_is_rubbed_out_is_none(desktop, out):
    from qtpy.QtCore import Qt

    work = desktop(out)
    own, keys = work.widget.case.own, work.qtbot
    work.viewer.layers["Heat map"].visible = True
    work.desk.select(np.array(tumour_rows(work.review, 2)))
    keys.keyClicks(own, "40")
    assert own.value() == 40
    own.selectAll()
    keys.keyClick(own, Qt.Key_Delete)
    keys.keyClick(own, Qt.Key_Return)
    work.widget.case.enter_own_score()
    assert work.review.ledger.edits == []
    keys.keyClicks(own, "7.5")
    work.widget.case.enter_own_score()
    assert work.review.ledger.edits[-1].to == {"tps": 7.5, "blind": False}
    assert work.viewer.layers["Heat map"].visible
    assert work.desk.selection.tolist() == tumour_rows(work.review, 2)


def test_a_score_is_not_blind_once_that_of_its_case_was_seen(desktop, tmp_path):
    work = desktop(make_results(tmp_path))
    case = work.widget.case
    case.show_case()
    case.blind.setChecked(True)
    work.widget._image_chosen(1)
    case.own.setValue(40)
    case.enter_own_score()
    assert work.review.ledger.edits[-1].to == {"tps": 40.0, "blind": False}
