"""A review in napari, without a window: what is counted is what `pdl1quant.review` counts."""

import re
import shutil
import threading

import numpy as np
import pytest

from pdl1quant.model import EXCLUDING_FLAGS, Flag
from pdl1quant.outputs.flag_words import FLAG_TEXTS
from pdl1quant.outputs.palette import KINDS
from pdl1quant.review import EditKind, Review, open_results, rescore
from review_bench import REVIEWER, tumour_rows
from review_runs import make_results, open_review, viable
from test_review_regions import NAMES, scored  # noqa: F401  fixtures
from viewers import *  # noqa: F403

pytestmark = pytest.mark.viewer


@pytest.fixture
def out(scored_field, tmp_path):
    return shutil.copytree(scored_field, tmp_path / "result")


# --- cells -----------------------------------------------------------------------------------------------------------
def test_uncertain_cells_come_first_and_are_marked_and_one_is_added_where_it_is_clicked(desktop, out):
    from pdl1quant.review import next_uncertain

    work = desktop(out)
    config, pack = work.desk.results.config, work.desk.results.pack
    order = next_uncertain(work.review.state, config=config, pack=pack)
    work.press("U")
    assert work.desk.selection.tolist() == [order[0]]
    work.press("U")
    assert work.desk.selection.tolist() == [order[1]]
    work.press("5")
    assert work.review.ledger.edits[-1].uncertain_first
    work.desk.select(np.array(tumour_rows(work.review)))
    work.press("5")
    assert not work.review.ledger.edits[-1].uncertain_first
    n = len(work.review.state.table)
    work.look_at(tumour_rows(work.review)[0])
    work.widget.edits.added.setCurrentText("lymphocyte")
    work.press("A")
    work.click()
    added = work.review.state.table.iloc[n]
    assert added["cell_dab_od_mean"] > 0  # measured where it lies
    assert work.kind(n) == f"Lymphocyte, {'positive' if added['positive'] else 'negative'}"
    assert work.desk.selection.tolist() == [n]
    assert "made in the review" in work.widget.edits.selected.text()
    assert "Esc ends adding" in work.message  # as long as a click adds
    dots = work.viewer.layers["Positive immune cells"]
    for key, is_dotted in (("P", True), ("N", False)):  # the outline of either has the same colour
        work.press(key)
        assert (n in dots.metadata["rows"]) == is_dotted
        assert len(dots.data) == len(dots.metadata["rows"])
    for key, name in (("P", "Lymphocyte, positive"), ("3", "Macrophage, positive")):  # dotted as what it is now
        work.press(key)
        assert work.kind(n) == name
        (rgb,) = (kind.rgb for kind in KINDS if kind.name == name)
        assert np.rint(255 * dots.face_color[dots.metadata["rows"].tolist().index(n), :3]).tolist() == list(rgb)
    work.press("Escape")
    assert (work.desk.mode, work.message) == ("select", "")


def test_the_axes_of_the_curve_are_written_out(qtbot):
    from pdl1quant.napari.threshold_box import CurvePlot

    plot = CurvePlot()
    qtbot.addWidget(plot)
    plot.resize(330, 170)
    seen = plot.grab().toImage()
    colours = {seen.pixelColor(x, y).name() for x in (0, seen.width() - 1) for y in range(seen.height())}
    assert len(colours) == 1  # nothing is cut off at either side


# --- what is said and shown, signing --------------------------------------------------------------------------------
def test_what_is_taken_back_is_said_wherever_it_was_done(desktop, out):
    work = desktop(out)
    work.desk.select(np.array(tumour_rows(work.review, 3)))
    work.press("4", "Escape", "Control-Z")
    assert re.fullmatch(r"taken back: stroma for 3 cells, of \d{4}-\d\d-\d\d \d\d:\d\d UTC", work.message)
    work.press("Control-Shift-Z")
    assert work.message.startswith("done again: stroma for 3 cells")
    work.press("Control-Z")
    assert work.message.startswith("taken back: stroma for 3 cells")
    work.widget.open(out)  # as on another day
    work.press("Control-Shift-Z")
    assert work.message.startswith("done again: stroma for 3 cells")


def test_an_unsure_cell_is_shown_large_enough_to_be_seen(desktop, out):
    work = desktop(out)
    work.viewer.scene.camera.zoom = 0.01  # a whole slide on the screen
    chosen = work.viewer.layers["Slide"]
    work.viewer.layers.selection.active = chosen
    work.press("U")
    assert work.viewer.layers.selection.active is chosen
    assert work.viewer.scene.camera.zoom >= 2
    work.viewer.scene.camera.zoom = 9
    work.press("U")
    assert work.viewer.scene.camera.zoom == 9


def test_the_status_says_what_the_cell_below_the_mouse_is(desktop, out):
    work = desktop(out)
    (row,) = tumour_rows(work.review)
    work.look_at(row)
    at, cells = work.viewer.scene.camera.center[-2:], work.viewer.layers["Cells"]
    for key in ("N", "P", "4"):
        work.desk.select(np.array([row]))
        work.press(key)
        said = cells.get_status(at, world=True)["coordinates"]
        assert f": {work.kind(row)}; membrane {work.review.cells['membrane_dab_od_run'][row]:.2f}, cytoplasm " in said
    cells.visible = False
    assert "membrane" not in cells.get_status(at, world=True)["coordinates"]


def test_what_is_to_be_known_is_said_in_the_words_of_a_report(desktop, out):
    work = desktop(out)
    notes = work.widget.numbers._notes.text()
    assert notes.startswith("tumour unconfirmed")
    names = [str(flag) for flag in work.review.score.flags]
    assert notes.split(", ") == [each.short for each in FLAG_TEXTS.values() if each.name in names]
    flagged = np.flatnonzero((work.review.cells["flags"].to_numpy() & int(Flag.TOUCHES_EDGE)) > 0)
    work.desk.select(flagged[:1])
    assert "cut by the edge of the image" in work.widget.edits.selected.text()


def test_a_cell_that_is_left_out_of_the_score_says_so_and_why(desktop, out):
    work = desktop(out)
    left_out = (work.review.cells["flags"].to_numpy() & int(EXCLUDING_FLAGS)) > 0
    work.desk.select(np.flatnonzero(left_out)[:1])
    assert "left out of the score: " in work.widget.edits.selected.text()
    work.desk.select(np.array(tumour_rows(work.review)))
    assert "left out" not in work.widget.edits.selected.text()


def test_results_that_are_moved_away_below_the_viewer_take_no_edit(desktop, out, tmp_path):
    work = desktop(out)
    before = work.widget.numbers.text(3, 2)
    work.desk.select(np.array(tumour_rows(work.review)))
    out.rename(tmp_path / "moved")
    work.press("4")
    assert "put them back" in work.message
    assert work.widget.numbers.text(3, 2) == before
    assert not out.exists()


def test_colours_of_all_layers_are_explained_and_lengths_are_shown(desktop, out):
    from qtpy.QtWidgets import QGroupBox, QLabel

    work = desktop(out)
    said = {
        box.title(): {label.text() for label in box.findChildren(QLabel)} for box in work.widget.findChildren(QGroupBox)
    }
    assert {kind.name for kind in KINDS} <= said["Cells"]
    (heat,) = (said[title] for title in said if title.startswith("Heat map: TPS of squares of 250 um"))
    assert {"< 1 %", "50 % and more"} <= heat
    assert {"Tumour region", "Core"} <= said["Drawn for the run"]
    assert {"Include", "Exclude", "Only"} <= said["Regions of the review"]
    assert work.viewer.canvas.overlays.scale_bar.visible


def test_a_scale_bar_that_was_switched_off_stays_off(desktop, tmp_path):
    work = desktop(make_results(tmp_path))
    work.viewer.canvas.overlays.scale_bar.visible = False
    work.widget._image_chosen(1)
    assert work.review.image.name == "b.png"
    assert not work.viewer.canvas.overlays.scale_bar.visible


def test_a_case_is_signed_locked_and_amended(desktop, out):
    from qtpy.QtCore import Qt

    work = desktop(out)
    case = work.widget.case
    for button in (case.sign, case.lock):
        work.qtbot.mouseClick(button, Qt.LeftButton)
    assert f"signed by {REVIEWER}; locked" in case.standing.text()
    work.desk.select(np.array(tumour_rows(work.review)))
    work.press("4")
    assert "amend it first" in work.message
    work.qtbot.mouseClick(case.amend, Qt.LeftButton)
    assert "needs a reason" in work.message
    case.reason.setText("second look")
    work.qtbot.mouseClick(case.amend, Qt.LeftButton)
    work.press("4")
    assert [edit.kind for edit in work.review.ledger.edits] == ["sign", "lock", "amend", "class"]


def test_the_widget_counts_what_rescore_counts(desktop, out):
    work = desktop(out)
    work.desk.select(np.array(tumour_rows(work.review, 20)))
    work.press("3")
    work.settle(400)
    score = work.review.score
    image, case = rescore(out).rows
    assert (image.reviewed_tps, image.reviewed_tps_low, image.reviewed_n_tumour) == (
        score.tps, score.tps_low, work.review.counts.n_tumour,
    )  # fmt: skip
    assert f"{case.reviewed_tps:.0f} % ({case.reviewed_tps_low:.0f}-{case.reviewed_tps_high:.0f})" in (
        work.widget.case.standing.text()
    )


def test_without_a_name_nothing_is_written(desktop, out):
    work = desktop(out, reviewer="")
    work.desk.select(np.array(tumour_rows(work.review)))
    work.press("4")
    assert "needs the name of its reviewer" in work.message
    assert work.review.ledger.edits == []


# --- threshold -------------------------------------------------------------------------------------------------------
def test_the_slider_recolours_and_counts_nothing_and_what_is_accepted_is_for_the_next_run(desktop, out, tmp_path):
    from pdl1quant.config import load_config

    work = desktop(out)
    score, kinds = work.review.score, work.desk.scene.cells.kinds.copy()
    work.widget.tabs.setCurrentIndex(2)
    work.widget.threshold.slider.setValue(80)
    work.settle(300)
    assert work.widget.threshold.dab_od == 0.8
    assert (work.desk.scene.cells.kinds != kinds).any()
    assert work.review.score == score
    work.widget.tabs.setCurrentIndex(0)
    work.settle()
    assert np.array_equal(work.desk.scene.cells.kinds, kinds)
    work.widget.tabs.setCurrentIndex(2)
    work.widget.threshold.slider.setValue(26)
    work.widget.threshold.accept_into(tmp_path / "next.toml")
    assert load_config(tmp_path / "next.toml").positivity.dab_od == 0.26
    assert work.review.standing.threshold_moved
    assert work.desk.results.config.positivity.dab_od == 0.2
    work.widget.threshold.accept_into(tmp_path / "next.toml")
    assert "is there already" in work.message


# --- bad input -------------------------------------------------------------------------------------------------------
def test_a_moved_slide_is_asked_for_and_known_by_its_hash(desktop, out, scored_field, tmp_path):
    name = "rendered_field.png"
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    for folder in (wrong, right):
        folder.mkdir()
        shutil.copy(scored_field.parent / name, folder)
    with (wrong / name).open("ab") as file:
        file.write(b" ")
    work = desktop(out, folder=wrong)
    assert "its hash differs" in work.message
    assert "Slide" not in work.viewer.layers
    assert work.widget.find_button.isVisibleTo(work.widget)
    work.desk.open_image(work.desk.results, work.review.image, folder=right)
    assert "Slide" in work.viewer.layers
    assert not work.widget.find_button.isVisibleTo(work.widget)


def test_results_of_another_version_are_refused_and_the_open_ones_stay(desktop, out, tmp_path):
    (tmp_path / "old").mkdir()
    old = make_results(tmp_path / "old", version={"config_digest": "0" * 12, "pdl1quant": "0.0.1"})
    work = desktop(out)
    work.widget.open(old)
    assert "made by pdl1quant 0.0.1" in work.message
    assert work.review.image.name == "rendered_field.png"


def test_a_half_written_ledger_is_told_and_nothing_is_lost(desktop, out):
    results = open_results(out)
    review = Review(results, results.images[0])
    review.edit("class", reviewer="B", cells=review.ids(tumour_rows(review)), to="other")
    with review.ledger.path.open("ab") as file:
        file.write(b'{"time": "2026')
    work = desktop(out)
    assert "half-written" in work.message
    assert len(work.review.ledger.edits) == 1
    work.desk.select(np.array(tumour_rows(work.review)))
    work.press("4")
    assert len(Review(results, results.images[0]).ledger.edits) == 2


def test_another_image_of_the_run_takes_the_place(desktop, tmp_path):
    out = make_results(tmp_path)
    work = desktop(out)
    assert [work.widget.images.itemText(n) for n in range(work.widget.images.count())] == ["a.png", "b.png"]
    n_layers = len(work.viewer.layers)
    work.press("A")
    work.widget._image_chosen(1)
    assert work.review.image.name == "b.png"
    assert len(work.viewer.layers) == n_layers
    assert "Esc ends adding" in work.message  # a click on this one adds, too


def test_an_image_that_cannot_be_opened_is_not_said_to_be_open(desktop, tmp_path):
    out = make_results(tmp_path)
    other = open_review(out, "b")
    other.edit("delete", reviewer="Bo", cells=viable(other)[:1])
    lines = other.ledger.path.read_text().replace('"config_digest": "', '"config_digest": "0')
    other.ledger.path.write_text(lines)
    work = desktop(out)
    work.widget.images.setCurrentIndex(1)
    work.widget.images.activated.emit(1)
    assert "other settings" in work.message
    assert work.review.image.name == "a.png" == work.widget.images.currentText()


def test_closing_gives_back_keys_threads_and_files(desktop, out):
    before = set(threading.enumerate())
    work = desktop(out)
    callbacks = list(work.viewer.mouse_drag_callbacks)
    assert "P" in map(str, work.viewer.keymap)
    work.widget.close()
    assert not work.viewer.keymap
    assert work.desk.scene is None
    assert len(work.viewer.layers) == 0
    assert len(work.viewer.mouse_drag_callbacks) == len(callbacks) - 1
    assert set(threading.enumerate()) <= before


# --- regions of the run ----------------------------------------------------------------------------------------------
@pytest.fixture
def drawn(scored, tmp_path):  # noqa: F811
    return shutil.copytree(scored, tmp_path / "drawn")


def test_regions_of_the_run_can_only_be_looked_at_and_the_score_of_a_chosen_one_follows_edits(desktop, drawn):
    from pdl1quant.napari.layers import DRAWN
    from pdl1quant.napari.layers import NAMES as OF_NAMES

    work = desktop(drawn)
    layer, names = work.desk.layer(DRAWN), work.desk.layer(OF_NAMES)
    assert (layer.visible, layer.contour > 0, layer.editable, names.editable) == (True, True, False, False)
    kinds = {
        "a 2": "tumour region", "a 3": "tumour region", "a 1": "region to score", "gone": "region to score",
        "off": "region to score", "hole": "region left out",
    }  # fmt: skip
    assert kinds.keys() == {*NAMES, "hole"}
    work.viewer.scene.camera.zoom = 20
    assert set(names.features["region"]) == {f"{name} ({kind})" for name, kind in kinds.items()}
    assert "region: a 2, kind: Tumour region" in layer.get_status((90, 40), world=True)["value"]
    numbers, desk = work.widget.numbers, work.desk
    assert [numbers.of.itemData(number) for number in range(1, numbers.of.count())] == [("roi", name) for name in NAMES]
    desk.viewer.layers.selection.active = desk.layer(DRAWN)
    desk.click(np.array([150.0, 40.0]))
    assert numbers.of.currentText() == "a 2 (tumour region)"
    row = next(each.row for each in work.review.image.regions if each.row.region == "a 2")
    told = f"{row.n_tumour_positive} / {row.n_tumour}"
    assert (numbers.text(3, 1), numbers.text(3, 2)) == (told, told)
    cells = work.review.cells
    inside = cells["x_px"].between(25, 155) & cells["y_px"].between(25, 355) & (cells["cell_class"] == "tumour")
    rows = np.flatnonzero(inside & (cells["flags"] & int(EXCLUDING_FLAGS) == 0) & cells["positive"])
    desk.reviewer = REVIEWER
    assert rows.size
    desk.select(rows[:1])
    desk.edit_selected(EditKind.DELETE)
    assert (numbers.text(3, 1), numbers.text(3, 2)) == (told, f"{row.n_tumour_positive - 1} / {row.n_tumour - 1}")
    desk.set_blind(is_blind=True)
    assert numbers.text(3, 1) == ""
    desk.set_blind(is_blind=False)
    desk.choose_region(None)
    assert numbers.of.currentText() == "the whole image"
    assert numbers.text(3, 2) != ""


def test_names_of_crowded_regions_do_not_cover_each_other_and_the_chosen_one_is_there(desktop, drawn):
    from pdl1quant.napari.layers import NAMES as OF_NAMES

    work = desktop(drawn)
    names, camera = work.desk.layer(OF_NAMES), work.viewer.scene.camera

    def written():
        return list(dict.fromkeys(names.text.values.tolist()))

    camera.zoom = 20
    all_names = written()
    assert len(all_names) == len(NAMES) + 1
    camera.zoom = 0.05
    assert written() == all_names[:1]  # of the largest one
    last = work.desk.scene.regions.regions[-1]
    work.desk.choose_region(work.desk.scene.regions.key(len(work.desk.scene.regions.regions) - 1))
    assert [text.removesuffix(")").split(" (")[0] for text in written()] == [last.name]
