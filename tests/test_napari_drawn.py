"""What is drawn in the viewer, and what others do meanwhile; without a window."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from pdl1quant.review import EditKind, MadeCell, case_text, open_case, review_case
from review_bench import REVIEWER
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


def test_an_ellipse_among_several_shapes_is_taken_once(desk):
    desk.draw_region()
    desk.layer("Regions").add_rectangles([BOX + 600])
    desk.layer("Regions").add_ellipses([BOX + 1 / 3])
    desk.mark_regions("exclude")
    assert len(regions_of(desk)) == 2
    assert desk.layer("Regions").features["rule"].tolist() == ["exclude", "exclude"]


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


def test_a_cell_that_another_reviewer_added_and_took_back_stops_nothing(desk, out):
    other = open_review(out)
    other.edit(EditKind.ADD, reviewer="Bo", made=[MadeCell(x_px=50, y_px=60, cell_class="tumour")])
    other.undo(reviewer="Bo")
    assert not desk.edit(EditKind.SIGN)  # refused, for Bo changed it meanwhile
    desk.lasso(np.array([[-9.0, -9], [-9, 9999], [9999, 9999], [9999, -9]]))
    assert np.array_equal(desk.selection, np.arange(len(desk.review.cells)))
    desk.look_at(0.6)


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
    desk.making.merge()
    assert desk.review.state.now(desk.selection)["cell_class"].tolist() == ["stroma"]


@pytest.fixture
def cut_as_in_napari():
    """Shapes are cut as in napari itself where the review is a plugin of it: compiled once, for seconds."""
    from napari.utils.triangulation_backend import TriangulationBackend, set_backend

    before = set_backend(TriangulationBackend.fastest_available)
    yield
    set_backend(before)


@pytest.mark.usefixtures("cut_as_in_napari")
def test_shapes_as_napari_itself_cuts_them_are_regions_drawn_moved_and_shown_again(desk, out):
    loop = np.array([[600.0, 600], [700, 700], [600, 700], [700, 600]])  # crosses itself
    desk.draw_region()
    desk.layer("Regions").add_polygons([BOX, loop])
    desk.layer("Regions").add_ellipses([BOX + 300])
    desk.mark_regions("exclude")
    box, loop_region, ellipse = regions_of(desk)
    assert (box.area, loop_region.area) == (80_000, 5000)
    assert ellipse.area == pytest.approx(np.pi / 4 * box.area, rel=1e-3)
    move(desk.layer("Regions"), BOX + 50)
    desk.open_folder(out)
    assert len(desk.layer("Regions").data) == 4  # the loop has two parts
    assert regions_of(desk)[0].bounds == (150.5, 150.5, 550.5, 350.5)
    starts = np.asarray(desk.layer("Regions")._data_view._mesh.triangles_index)
    assert (np.diff(starts) > 0).tolist() == [True] * 4  # each was cut into triangles


# --- regions that were written ---------------------------------------------------------------------------------------
def excluded(desk):
    """Draw and exclude `BOX`; its layer."""
    desk.draw_region()
    desk.layer("Regions").add_polygons([BOX])
    desk.mark_regions("exclude")
    return desk.layer("Regions")


def move(layer, ring, *, index=0):
    """What dragging corners does: the shape is changed, then the layer says so."""
    from napari.layers.base import ActionType

    layer._data_view.edit(index, ring)
    layer.events.data(value=layer.data, action=ActionType.CHANGED, data_indices=(index,), vertex_indices=((0,),))


def shows(desk, ring):
    """Whether the only region on the layer is this one."""
    (shown,) = desk.layer("Regions").data
    return shapely.equals_exact(shapely.Polygon(shown).normalize(), shapely.Polygon(ring).normalize(), 0.05)


def test_moving_corners_of_a_region_moves_what_counts(desk, out):
    layer = excluded(desk)
    before = desk.review.score
    move(layer, BOX + 200)
    (moved,) = regions_of(desk)
    assert moved.bounds == pytest.approx((300.5, 300.5, 700.5, 500.5))
    assert desk.review.score != before
    assert desk.review.ledger.edits[-1].kind == "redraw"
    assert desk.layer("Regions") is layer  # the next corner can be moved
    desk.undo()
    assert desk.review.score == before
    assert shows(desk, BOX)
    desk.redo()
    assert shows(desk, BOX + 200)
    assert [shapely.geometry.shape(each).bounds for _, each in open_review(out).regions] == [moved.bounds]


def test_a_region_that_must_not_be_moved_is_shown_where_it_counts(desk):
    layer = excluded(desk)
    desk.edit(EditKind.LOCK)
    said = []
    desk.said.connect(said.append)
    move(layer, BOX + 200)
    assert "amend it first" in said[-1]
    assert shows(desk, BOX)
    assert len(desk.review.ledger.edits) == 2


def test_a_region_taken_away_with_napari_counts_no_more_until_undone(desk):
    automated = desk.review.automated
    layer = excluded(desk)
    excluded_score = desk.review.score
    layer.selected_data = {0}
    layer.remove_selected()
    assert desk.review.regions == ()
    assert desk.review.score == automated
    desk.undo()
    assert desk.review.score == excluded_score
    assert len(desk.layer("Regions").data) == 1


def test_a_region_of_which_napari_took_the_third_corner_is_shown_again(desk):
    excluded(desk)
    desk.layer("Regions").add_polygons([BOX + 300])
    desk.mark_regions("include")
    layer = desk.layer("Regions")
    layer._data_view.remove(0)
    move(layer, BOX + 300, index=0)
    assert len(desk.review.ledger.edits) == 2
    assert len(desk.layer("Regions").data) == 2


def test_another_outline_does_not_change_the_order_of_painting(desk):
    excluded(desk)
    desk.layer("Regions").add_polygons([BOX])
    desk.mark_regions("include")
    move(desk.layer("Regions"), BOX - 20)
    assert [rule for rule, _ in desk.review.regions] == ["exclude", "include"]


def test_a_copied_region_counts_for_nothing_and_looks_so(desk):
    layer = excluded(desk)
    layer.selected_data = {0}
    layer._copy_data()
    layer._paste_data()
    assert layer.features["rule"].tolist() == ["exclude", ""]
    assert not np.allclose(layer.edge_color[0], layer.edge_color[1])
    assert len(desk.review.ledger.edits) == 1
    desk.mark_regions("include")
    assert [rule for rule, _ in desk.review.regions] == ["exclude", "include"]


def test_what_is_drawn_beside_a_region_does_not_look_like_one(desk):
    layer = excluded(desk)
    assert str(layer.mode) == "pan_zoom"
    layer.add_polygons([BOX + 600])
    assert not np.allclose(layer.edge_color[0], layer.edge_color[1])
    assert layer.features["rule"].tolist() == ["exclude", ""]


def test_what_is_drawn_and_not_taken_outlives_an_undo_and_another_image(desk):
    excluded(desk)
    desk.layer("Regions").add_polygons([BOX + 600])
    desk.undo()
    assert len(desk.layer("Regions").data) == 1
    said = []
    desk.said.connect(said.append)
    desk.open_image(desk.results, desk.results.image("b"))
    assert desk.layer("Regions") is None
    desk.open_image(desk.results, desk.results.image("a"))
    assert "a.png: 1 drawn: Include, Exclude or Only takes it" in said[-1]
    desk.mark_regions("exclude")
    assert regions_of(desk)[0].bounds[0] == pytest.approx(700.5)


def test_a_region_refused_is_still_there_to_be_taken(desk):
    desk.draw_region()
    desk.layer("Regions").add_polygons([BOX])
    desk.reviewer = ""
    desk.mark_regions("exclude")
    assert len(desk.layer("Regions").data) == 1
    desk.reviewer = REVIEWER
    desk.mark_regions("exclude")
    assert [rule for rule, _ in desk.review.regions] == ["exclude"]


def test_a_shape_that_napari_dropped_while_it_was_drawn_stops_nothing(desk):
    desk.draw_region()
    layer = desk.layer("Regions")
    layer.add([BOX[:2]], shape_type="polygon", gui=True)
    layer._data_view.remove(0)  # what napari does with two corners: the row of features stays
    layer.add_polygons([BOX])
    desk.mark_regions("exclude")
    assert len(desk.review.regions) == 1


# --- what is written at them ---
def written(desk):
    """What is written at the regions, and (y, x) where, in pixels: each once, without its rim."""
    layer = desk.layer("Names of regions")
    return dict(zip(layer.text.values.tolist(), layer.data, strict=True))


def test_what_a_region_of_the_review_does_is_written_at_it_and_goes_with_it(desk):
    desk.viewer.scene.camera.zoom, desk.viewer.scene.camera.center = 1, (0, 200, 200)
    layer = excluded(desk)
    assert written(desk).keys() == {"exclude"}
    assert written(desk)["exclude"] == pytest.approx(BOX[0])
    move(layer, BOX + 100)
    assert written(desk)["exclude"] == pytest.approx(BOX[0] + 100)
    layer.add_polygons([BOX + 300])
    assert written(desk).keys() == {"exclude", "not taken"}
    desk.mark_regions("only")
    assert written(desk).keys() == {"exclude", "only"}
    for _ in range(3):
        desk.undo()
    assert written(desk) == {}


@pytest.mark.parametrize("zoom", [0.1, 1, 30])
@pytest.mark.parametrize("part", [BOX[0], BOX[1], BOX[2], BOX[3], BOX.mean(axis=0)])
def test_of_a_region_that_is_in_sight_the_name_is_too(desk, zoom, part):
    excluded(desk)
    camera, mpp = desk.viewer.scene.camera, desk.scene.grids[0].mpp
    camera.zoom, camera.center = zoom, (0, *(part + 5 * (BOX.mean(axis=0) > part)) * mpp)
    reach = np.array(desk.viewer.canvas.size) / 2 / zoom / mpp
    assert (np.abs(written(desk)["exclude"] - np.array(camera.center[-2:]) / mpp) <= reach).all()
    camera.center = (0, 5000 * mpp, 5000 * mpp)
    desk.viewer.canvas.size = (300, 300)
    if zoom > 1:
        assert written(desk)["exclude"] == pytest.approx(BOX[0])  # where it is seen again


def test_names_of_regions_that_hold_all_that_is_seen_stand_below_one_another(desk):
    for rule in ("exclude", "include", "only"):
        desk.draw_region()
        desk.layer("Regions").add_polygons([BOX])
        desk.mark_regions(rule)
    desk.viewer.scene.camera.zoom = 30
    desk.viewer.scene.camera.center = (0, *BOX.mean(axis=0) * desk.scene.grids[0].mpp)
    rows = sorted(at[0] for at in written(desk).values())
    assert len(rows) == 3
    assert np.diff(rows).min() * 30 * desk.scene.grids[0].mpp > 20  # a line on the screen


def test_names_that_were_hidden_are_those_of_now_when_shown(desk):
    desk.layer("Names of regions").visible = False
    excluded(desk)
    desk.layer("Names of regions").visible = True
    assert written(desk).keys() == {"exclude"}


# --- other layers and images -----------------------------------------------------------------------------------------
def test_layers_of_others_with_the_same_names_stay_and_are_not_taken_for_its_own(out):
    from napari.components import ViewerModel

    from pdl1quant.napari.desk import Desk
    from pdl1quant.napari.reader import get_reader

    viewer = ViewerModel()
    for data, meta, kind in get_reader(str(out))(str(out)):
        getattr(viewer, f"add_{kind}")(data, **meta)
    theirs = list(viewer.layers)
    opened = Desk(viewer)
    opened.open_folder(out)
    assert opened.layer("Centroids") not in theirs
    opened.edit(EditKind.CLASS, cells=viable(opened.review)[:1], to="stroma")
    opened.close()
    assert list(viewer.layers) == theirs


def test_only_regions_can_be_changed_by_the_tools_of_napari(desk):
    desk.draw_region()
    assert [layer.name for layer in desk.viewer.layers if layer.editable] == ["Regions"]
    for layer in desk.viewer.layers:
        layer.visible = True
    desk.select(np.arange(3))
    desk.edit_selected(EditKind.DELETE)  # layers are given new data
    desk.viewer.dims.ndisplay = 3
    desk.viewer.dims.ndisplay = 2
    assert {layer.name for layer in desk.viewer.layers if layer.editable} <= {"Regions"}


def test_a_blind_reader_is_told_why_nothing_happens(desk):
    layer = excluded(desk)
    desk.set_blind(is_blind=True)
    said = []
    desk.said.connect(said.append)
    desk.edit_selected(EditKind.DELETE)
    assert "hidden until" in said[-1]
    move(layer, BOX + 200)
    assert "hidden until" in said[-1]
    assert shows(desk, BOX)
    assert len(desk.review.ledger.edits) == 1


def test_a_cell_added_without_its_image_says_that_it_is_not_measured(desk):
    said = []
    desk.said.connect(said.append)
    desk.making.add(50, 60)
    assert "not measured" in said[-1]


# --- what is hidden -----------------------------------------------------------------------------------------------
def test_layers_that_were_hidden_show_the_last_edits(desk, tmp_path):
    (tmp_path / "many").mkdir()
    desk.open_folder(make_results(tmp_path / "many", images=("m",), n=8000))
    desk.layer("Centroids").visible = False
    rows = desk.review.state.rows_of(viable(desk.review))
    heat = desk.layer("Heat map").data.copy()
    desk.select(rows)
    desk.edit_selected(EditKind.DELETE)
    desk.edit(EditKind.ADD, made=[MadeCell(x_px=50, y_px=60, cell_class="tumour")])
    centres = desk.layer("Centroids")
    assert centres.shown[rows].all()
    centres.visible = True
    assert not centres.shown[rows].any()
    assert len(centres.data) == len(desk.review.state)
    desk.layer("Heat map").visible = True
    assert not np.array_equal(desk.layer("Heat map").data, heat)


def test_without_outlines_the_slider_colours_the_centroids(desk):
    before = desk.layer("Centroids").face_color.copy()
    desk.look_at(0.8)
    assert not np.array_equal(desk.layer("Centroids").face_color, before)
    desk.look_at(0.2)
    assert np.array_equal(desk.layer("Centroids").face_color, before)
