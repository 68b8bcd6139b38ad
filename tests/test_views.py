"""What is seen of a result: lazy pixels, outlines, painted cells, masks. No viewer."""

import dataclasses
import gzip
import json
import shutil
import zipfile

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from batch_runs import draw_phantom, run
from pdl1quant.errors import OutputError, ReviewError
from pdl1quant.kernels.polygons import paint_polygons
from pdl1quant.model import EXCLUDING_FLAGS, CellClass, Flag, Rect, SlideGrid
from pdl1quant.outputs.flag_words import CELL_FLAG_TEXTS
from pdl1quant.outputs.labels import read_labels
from pdl1quant.outputs.overview import MIN_CELLS, STEPS
from pdl1quant.outputs.palette import KINDS, kinds_of
from pdl1quant.review import EditKind, MadeCell, Review, excluding_text, find_image, geometry_of, open_results
from pdl1quant.slides.opening import open_slide
from pdl1quant.slides.roi import Roi, RoiKind, roi_mask
from pdl1quant.stages import stains
from pdl1quant.views import (
    CellView,
    LevelArray,
    added_cell,
    heat_map,
    measured_cell,
    open_scene,
    read_outlines,
    slide_levels,
    stain_levels,
)
from pdl1quant.views.cells import drawn_circle
from pdl1quant.views.levels import slide_grids
from pdl1quant.views.outlines import Outlines, no_outlines
from review_runs import make_results, open_review, viable

N_KINDS = len(KINDS)


@pytest.fixture(scope="module")
def phantom_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiles").mkdir()
    draw_phantom(folder / "tiles" / "one.png")
    run(folder / "tiles", folder / "out", keep_labels=True)
    return folder / "out"


@pytest.fixture
def scene(phantom_run, tmp_path):
    out = shutil.copytree(phantom_run, tmp_path / "out")
    results = open_results(out)
    opened = open_scene(results, results.images[0])
    yield opened
    opened.close()


def rows_of(labels):
    return np.where(labels > 0, (labels - 1) // N_KINDS, -1)


# --- arrays ----------------------------------------------------------------------------------------------------------
@given(st.data())
def test_a_level_is_sliced_as_an_array_is(data):
    values = np.arange(7 * 9 * 3).reshape(7, 9, 3)
    level = LevelArray(
        values.shape, values.dtype, lambda r: values[r.y0 : r.y1, r.x0 : r.x1], is_kept=data.draw(st.booleans())
    )

    def part(side):
        return st.one_of(
            st.integers(-side, side - 1),
            st.builds(
                slice, *[st.one_of(st.none(), st.integers(-side, side))] * 2, st.one_of(st.none(), st.integers(1, 3))
            ),
        )

    key = (data.draw(part(7)), data.draw(part(9)))
    assert np.array_equal(level[key], values[key])
    assert np.array_equal(level[..., 0], values[..., 0])
    assert np.array_equal(np.asarray(level), values)


def test_levels_of_a_slide_hold_its_pixels(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 255, (1100, 1500, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png", mpp=0.5) as slide:
        levels = slide_levels(slide, slide_grids(slide))
        assert [level.shape for level in levels] == [(1100, 1500, 3), (550, 750, 3)]
        assert np.array_equal(levels[0][100:200, 1400:1500], rgb[100:200, 1400:1500])
        mean = rgb[:2, :2].reshape(4, 3).mean(axis=0)
        assert np.abs(levels[1][0, 0] - mean).max() <= 1


def test_stain_levels_are_those_of_the_score(scene):
    rgb = slide_levels(scene.slide, scene.grids)
    dab = stain_levels(rgb, scene.estimate, stain="dab")
    assert np.array_equal(dab[0][20:60, 30:90], stains.deconvolve(np.asarray(rgb[0]), scene.estimate).dab[20:60, 30:90])


# --- polygons --------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 25)), min_size=3, max_size=9))
def test_painting_is_the_mask_of_a_region(points):
    polygon = shapely.Polygon(points)
    if not polygon.is_valid or polygon.area < 1:
        return
    labels = np.zeros((20, 18), np.int32)
    ring = shapely.get_coordinates(polygon.exterior)[:-1]
    starts, chosen = np.array([0, len(ring)], np.intp), (np.zeros(1, np.intp), np.full(1, 7, np.int32))
    paint_polygons(labels, (ring[:, 0].copy(), ring[:, 1].copy()), starts, chosen, (0.0, 0.0, 1.0, 1.0))
    expected = roi_mask([Roi(kind=RoiKind.INCLUDE, name="", geometry=polygon)], labels.shape)
    assert np.array_equal(labels == 7, expected)


def test_cells_are_painted_as_the_run_labelled_them(scene, phantom_run):
    painted = rows_of(np.asarray(scene.cells.levels[0]))
    labels = read_labels(phantom_run / "labels" / "one.ome.tif").cell
    rows = np.full(labels.max() + 1, -1)
    table = scene.review.cells
    rows[table["label"].to_numpy()] = np.arange(len(table))
    assert (painted == rows[labels]).mean() > 0.999  # outlines have no holes, and of two parts the larger


def test_a_window_of_cells_is_a_part_of_the_whole(scene):
    level = scene.cells.levels[0]
    assert np.array_equal(level[31:90, 17:150], np.asarray(level)[31:90, 17:150])


def test_a_label_says_which_cell_and_of_which_kind(scene):
    labels = np.unique(np.asarray(scene.cells.levels[0]))[1:]
    kinds = kinds_of(scene.review.cells, scene.review.results.pack.compartment)
    assert np.array_equal((labels - 1) % N_KINDS, kinds[(labels - 1) // N_KINDS])


def test_outer_rings_are_read_as_shapely_reads_them(phantom_run, scene):
    features = json.loads((phantom_run / "geojson" / "one.geojson").read_text())["features"]
    for row, feature in enumerate(features):
        whole = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert scene.cells.outline(row).equals(shapely.Polygon(whole.exterior))


@pytest.mark.parametrize("harm", [lambda b: b[: len(b) // 2], lambda b: b.replace(b"[[[", b"[[[x", 1)])
def test_damaged_outlines_are_refused(phantom_run, tmp_path, harm):
    path = tmp_path / "one.geojson"
    path.write_bytes(harm((phantom_run / "geojson" / "one.geojson").read_bytes()))
    results = open_results(phantom_run)
    review = Review(results, results.images[0])
    with pytest.raises(OutputError, match="score the image again"):
        read_outlines(path, first_id=review.ids([0])[0], n=len(review.cells))


@pytest.mark.parametrize("ending", [".gz", ".zip"])
def test_packed_outlines_are_the_same(phantom_run, tmp_path, scene, ending):
    plain = phantom_run / "geojson" / "one.geojson"
    packed = tmp_path / (plain.name + ending)
    if ending == ".gz":
        packed.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(plain, plain.name)
    read = read_outlines(packed, first_id=scene.review.ids([0])[0], n=len(scene.review.cells))
    assert read.polygon(3).equals(scene.cells.outline(3))


def test_outlines_of_another_run_are_refused(phantom_run):
    path = phantom_run / "geojson" / "one.geojson"
    with pytest.raises(OutputError, match="other cells"):
        read_outlines(path, first_id="00000000-0000-5000-8000-000000000000", n=1)


# --- cells under review ----------------------------------------------------------------------------------------------
def test_an_edit_changes_the_kind_of_its_cell_alone(scene):
    review, cells = scene.review, scene.cells
    before = cells.kinds.copy()
    row = int(review.state.rows_of(viable(review))[0])
    review.edit(EditKind.CLASS, reviewer="A", cells=review.ids([row]), to="stroma")
    cells.update(review.changed_rows())
    assert KINDS[cells.kinds[row]].name == "Stroma"
    assert np.array_equal(np.delete(cells.kinds, row), np.delete(before, row))
    assert review.changed_rows().size == 0


def test_a_deleted_cell_is_not_painted_and_comes_back(scene):
    review, cells = scene.review, scene.cells
    whole = np.asarray(cells.levels[0])
    row = int(review.state.rows_of(viable(review))[0])
    review.edit(EditKind.DELETE, reviewer="A", cells=review.ids([row]))
    cells.update(review.changed_rows())
    assert row not in rows_of(np.asarray(cells.levels[0]))
    review.undo(reviewer="A")
    cells.update(review.changed_rows())
    assert np.array_equal(np.asarray(cells.levels[0]), whole)


def test_an_added_cell_is_painted_where_it_was_clicked(scene):
    review, cells = scene.review, scene.cells
    n = len(cells.kinds)
    review.edit(EditKind.ADD, reviewer="A", made=[MadeCell(x_px=90, y_px=90, cell_class="tumour")])
    cells.update(review.changed_rows())
    assert len(cells.kinds) == n + 1
    assert n in rows_of(np.asarray(cells.levels[0]))
    assert cells.outline(n).covers(shapely.Point(90.5, 90.5))


def test_an_added_cell_is_measured_as_the_cells_of_the_run(scene):
    """Where a cell of the run lies; a circle is not that cell's outline: half of its density or more."""
    table = scene.review.state.table
    inside = table["flags"] & int(Flag.TOUCHES_EDGE) == 0
    brown = table[inside & table["cell_class"].eq("tumour") & (table["cell_dab_od_mean"] > 0.3)].iloc[0]
    made = added_cell(scene, brown["x_px"], brown["y_px"], cell_class=CellClass.TUMOUR)
    assert made.measurements["cell_dab_od_mean"] > 0.5 * brown["cell_dab_od_mean"]
    assert made.measurements["nucleus_area_um2"] == pytest.approx(38.5, abs=3)
    n = len(table)
    scene.review.edit(EditKind.ADD, reviewer="A", made=[made])
    row = scene.review.state.table.iloc[n]
    assert row["positive"]
    assert row["cell_dab_od_mean"] == pytest.approx(made.measurements["cell_dab_od_mean"])


def test_the_outline_of_a_cell_of_the_run_measures_what_the_run_measured(scene):
    """Its simplified outline, and a disc for its nucleus: within a tenth."""
    table = scene.review.state.table
    inside = table["flags"] & int(Flag.TOUCHES_EDGE) == 0
    row = int(np.flatnonzero(inside & table["cell_class"].eq("tumour") & (table["cell_dab_od_mean"] > 0.3))[0])
    cell = table.iloc[row]
    made = MadeCell(
        x_px=cell["x_px"], y_px=cell["y_px"], cell_class="tumour", geometry=geometry_of(scene.cells.outline(row))
    )
    found = measured_cell(scene, made, nucleus_um2=cell["nucleus_area_um2"], of_nucleus=False).measurements
    for name in ("cell_dab_od_mean", "membrane_dab_od_mean", "cell_area_um2"):
        assert found[name] == pytest.approx(cell[name], rel=0.1), name
    assert not any(name.startswith("nucleus_") for name in found)


def test_an_added_cell_is_flagged_as_one_that_was_found_there(scene, tmp_path):
    """Black covers a corner, as ink does; the border of the image cuts another."""
    with Image.open(scene.slide.path) as picture:
        rgb = np.array(picture)
    rgb[120:, :60] = 15
    (tmp_path / "ink").mkdir()
    Image.fromarray(rgb).save(tmp_path / "ink" / "one.png")
    run(tmp_path / "ink", tmp_path / "inked")
    results = open_results(tmp_path / "inked")
    inked = open_scene(results, results.images[0])
    review, n = inked.review, inked.review.score
    for place, flag in (((25.0, 160.0), Flag.PIGMENT), ((2.0, 50.0), Flag.TOUCHES_EDGE)):
        made = added_cell(inked, *place, cell_class=CellClass.TUMOUR)
        assert made.flags & int(flag)
        review.edit(EditKind.ADD, reviewer="A", made=[made])
        assert CELL_FLAG_TEXTS[flag] in excluding_text(review, -1)
    assert review.score == n
    inked.cells.update(review.changed_rows())
    assert {KINDS[kind].name for kind in inked.cells.kinds[-2:]} == {"Left out"}
    inked.close()
    spoilt = dataclasses.replace(scene, artefacts=np.ones((9, 9), bool))
    assert added_cell(spoilt, 90.0, 90.0, cell_class=CellClass.TUMOUR).flags & int(Flag.ARTEFACT)


def test_cells_added_to_clear_tissue_have_no_excluding_flag(scene):
    clear = scene.review.cells[scene.review.cells["flags"] & int(EXCLUDING_FLAGS) == 0]
    clear = clear[clear["x_px"].between(20, 170) & clear["y_px"].between(20, 170)]
    made = [added_cell(scene, *at, cell_class=CellClass.TUMOUR) for at in clear[["x_px", "y_px"]].to_numpy()]
    assert len(made) > 10
    assert not any(each.flags & int(EXCLUDING_FLAGS) for each in made)


def test_cells_added_to_brown_in_which_the_run_found_none_are_not_taken_for_blurred(tmp_path):
    """Even brown has no edges in it, as of a gland in which no nucleus shows."""
    rgb = np.full((192, 192, 3), 243, np.uint8)
    rgb[32:160, 32:160] = (131, 66, 41)
    (tmp_path / "tiles").mkdir()
    Image.fromarray(rgb).save(tmp_path / "tiles" / "one.png")
    run(tmp_path / "tiles", tmp_path / "out")
    results = open_results(tmp_path / "out")
    brown = open_scene(results, results.images[0])
    assert brown.review.cells.empty
    made = added_cell(brown, 96.0, 96.0, cell_class=CellClass.TUMOUR)
    brown.review.edit(EditKind.ADD, reviewer="A", made=[made])
    brown.close()
    assert made.bare_brown_um2 > 100
    assert excluding_text(brown.review, -1) == ""
    assert brown.review.score.tps == 100


def test_brown_below_an_added_cell_is_bare_where_no_cell_was(scene):
    table = scene.review.cells
    inside = table["flags"] & int(Flag.TOUCHES_EDGE) == 0
    row = int(np.flatnonzero(inside & table["cell_class"].eq("tumour") & (table["cell_dab_od_mean"] > 0.3))[0])
    place = table.iloc[row][["x_px", "y_px"]].astype(float)
    covered = added_cell(scene, *place, cell_class=CellClass.TUMOUR)
    known = scene.cells._outlines
    part = slice(known.starts[row], known.starts[row + 1])
    starts = known.starts.copy()
    starts[row + 1 :] -= part.stop - part.start
    missed = Outlines(x_px=np.delete(known.x_px, part), y_px=np.delete(known.y_px, part), starts=starts)
    bare = added_cell(
        dataclasses.replace(scene, cells=CellView(scene.review, missed, scene.grids)),
        *place,
        cell_class=CellClass.TUMOUR,
    )
    assert bare.bare_brown_um2 > 20 + covered.bare_brown_um2
    bare_of_all = CellView(scene.review, no_outlines(len(table)), scene.grids)
    unknown = added_cell(dataclasses.replace(scene, cells=bare_of_all), *place, cell_class=CellClass.TUMOUR)
    assert unknown.bare_brown_um2 == 0


def test_steps_of_the_cut_off_colour_as_looking_at_it_at_once(scene):
    kinds, n_turned = scene.cells.kinds.copy(), []
    for od in (0.21, 0.25, 0.6, 0.3, 0.3):
        scene.cells.look_at(od)
        at_once = CellView(scene.review, no_outlines(len(kinds)), scene.grids)
        at_once.look_at(0.8)
        at_once._dab_od = od
        at_once.update(np.arange(len(kinds)))
        assert np.array_equal(scene.cells.kinds, at_once.kinds)
        n_turned.append((scene.cells.kinds != kinds).sum())
    assert n_turned[2] > 0
    assert scene.cells.look_at(0.2)
    assert np.array_equal(scene.cells.kinds, kinds)


def test_a_cell_that_was_added_leaves_the_tables_of_the_run_where_they_are(scene):
    review, cells = scene.review, scene.cells
    table, corners = review.state.automated, cells._outlines.x_px
    for _ in range(2):
        review.edit(EditKind.ADD, reviewer="A", made=[MadeCell(x_px=90, y_px=90, cell_class="tumour")])
        cells.update(review.changed_rows())
    assert review.state.automated is table is review.cells
    assert cells._outlines.x_px is corners
    assert len(review.state) == len(review.state.table) == len(table) + 2


@pytest.mark.parametrize("place", [(-0.6, 40.0), (50.0, 191.6)])
def test_no_cell_is_added_outside_the_image(scene, place):
    with pytest.raises(ReviewError, match="outside the image"):
        added_cell(scene, *place, cell_class=CellClass.TUMOUR)
    assert added_cell(scene, -0.4, 191.4, cell_class=CellClass.TUMOUR).geometry


def test_an_added_cell_is_negative_where_the_image_is_gone(scene):
    made = added_cell(dataclasses.replace(scene, slide=None), 50.0, 40.0, cell_class=CellClass.LYMPHOCYTE)
    assert made.measurements == {}
    assert made.positive is False
    assert shapely.from_geojson(json.dumps(made.geometry)).centroid.x == pytest.approx(50.5, abs=0.1)


def test_an_added_cell_is_round_in_um_where_pixels_are_not_square():
    left, top, right, bottom = drawn_circle(100.0, 50.0, sides_um={"mpp_x": 0.25, "mpp_y": 0.5}).bounds
    assert (left, right) == pytest.approx((100.5 - 24, 100.5 + 24))
    assert (top, bottom) == pytest.approx((50.5 - 12, 50.5 + 12))


def test_a_click_meets_the_cell_that_is_seen_there(scene):
    painted = rows_of(np.asarray(scene.cells.levels[0]))
    for y, x in np.argwhere(painted >= 0)[::97]:
        assert scene.cells.row_at(float(x), float(y)) == painted[y, x]
    y, x = np.argwhere(painted < 0)[0]
    assert scene.cells.row_at(float(x), float(y)) is None


def test_without_outlines_a_click_meets_the_nearest_centre(tmp_path):
    review = open_review(make_results(tmp_path))
    grid = SlideGrid(mpp=0.5, width=2000, height=2000, downsample_x=1.0, downsample_y=1.0, level=0)
    cells = CellView(review, no_outlines(len(review.cells)), [grid])
    x, y = cells.centres_px[5]
    assert cells.row_at(x + 1, y) == 5
    assert cells.row_at(-100.0, -100.0) is None
    assert not cells.has_outlines


def test_a_lasso_holds_the_centres_inside(scene):
    x, y = scene.cells.centres_px.T
    rows = scene.cells.rows_within(np.array([[0, 0], [100, 0], [100, 100], [0, 100]]))
    assert np.array_equal(rows, np.flatnonzero((x < 100) & (y < 100)))
    assert scene.cells.rows_within(np.array([[0, 0], [1, 1]])).size == 0


# --- scene -----------------------------------------------------------------------------------------------------------
def test_a_moved_slide_leaves_the_cells(phantom_run, tmp_path):
    out = shutil.copytree(phantom_run, tmp_path / "out")
    results = open_results(out)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    scene = open_scene(results, results.images[0], folder=moved)
    assert scene.slide is None
    assert any("give the folder it moved to" in note for note in scene.notes)
    assert (rows_of(np.asarray(scene.cells.levels[0])) >= 0).any()
    shutil.copy(results.sources[0] / "one.png", moved)
    found = open_scene(results, results.images[0], folder=moved)
    assert found.slide is not None
    found.close()


def test_another_image_in_the_place_of_the_slide_is_refused(phantom_run, tmp_path):
    results = open_results(phantom_run)
    Image.fromarray(np.zeros((192, 192, 3), np.uint8)).save(tmp_path / "one.png")
    with pytest.raises(ReviewError, match="hash differs"):
        find_image(results, results.images[0], folder=tmp_path)


def test_heat_follows_the_review(tmp_path):
    review = open_review(make_results(tmp_path, images=("a",), n=20_000))
    cells = review.ids(np.arange(len(review.cells)))
    review.edit(EditKind.CLASS, reviewer="A", cells=cells, to="tumour")
    review.edit(EditKind.POSITIVE, reviewer="A", cells=cells, to=True)
    assert heat_map(review).steps.max() == len(STEPS)
    review.edit(EditKind.DELETE, reviewer="A", cells=cells[MIN_CELLS - 1 :])
    assert heat_map(review).steps.max() == 0  # too few tumour cells


def test_a_map_ends_where_the_slide_does(scene):
    fine = heat_map(scene.review).fine_steps(4, 13)
    assert fine.shape == (4, 13)
    assert (fine[:, :10] == fine[0, 0]).all()
    assert (fine[:, 10:] == 0).all()


def test_artefacts_of_the_run_are_a_mask(phantom_run, tmp_path):
    out = shutil.copytree(phantom_run, tmp_path / "out")
    ring = [[0, 0], [32, 0], [32, 64], [0, 64], [0, 0]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "classification": {"name": "Ignore: pen"}},
    }
    (out / "artefacts").mkdir()
    (out / "artefacts" / "one.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    results = open_results(out)
    opened = open_scene(results, results.images[0])
    opened.close()
    expected = np.zeros((12, 12), bool)
    expected[:4, :2] = True
    assert np.array_equal(opened.artefacts, expected)


def test_windows_lie_within(scene):
    assert np.asarray(scene.cells.levels[0]).shape == (scene.grids[0].height, scene.grids[0].width)
    assert scene.slide.read(Rect(x0=0, y0=0, x1=1, y1=1), scene.grids[0]).rgb.shape == (1, 1, 3)
