"""Corrections that come back from QuPath as GeoJSON."""

from __future__ import annotations

import json
import shutil
import uuid

import numpy as np
import pytest

from pdl1quant.errors import ReviewError, UnreadableError
from pdl1quant.model import Flag
from pdl1quant.outputs.flag_words import CELL_FLAG_TEXTS
from pdl1quant.review import EditKind, excluding_text, import_corrections
from review_runs import open_review, run_of_two_phantoms

WRONG_USAGE = 2


@pytest.fixture(scope="module")
def phantom_run(tmp_path_factory):
    return run_of_two_phantoms(tmp_path_factory.mktemp("run"))


@pytest.fixture
def real(phantom_run, tmp_path):
    return shutil.copytree(phantom_run / "out", tmp_path / "out")


def edited_geojson(out, tmp_path, change, *, name="one"):
    """The run's cells as QuPath would give them back after ``change`` of the list of features."""
    tree = json.loads((out / "geojson" / f"{name}.geojson").read_text())
    tree["features"] = change(tree["features"])
    file = tmp_path / "corrected.geojson"
    file.write_text(json.dumps(tree))
    return file


def classed(feature, name):
    return {**feature, "properties": {**feature["properties"], "classification": {"name": name}}}


def name_of(feature):
    return feature["properties"]["classification"]["name"]


def test_what_qupath_gives_back_unchanged_is_no_edit(real, tmp_path):
    done = import_corrections(real, edited_geojson(real, tmp_path, lambda cells: cells), reviewer="Ada")
    assert (done.n_class, done.n_positive, done.n_deleted, done.n_added, done.notes) == (0, 0, 0, 0, ())
    assert not (real / "edits").exists() or not list((real / "edits").iterdir())


def test_corrections_in_qupath_come_back_as_edits_once(real, tmp_path):
    outline = {"type": "Polygon", "coordinates": [[[10, 20], [18, 20], [18, 28], [10, 28], [10, 20]]]}
    new = {"type": "Feature", "id": str(uuid.uuid4()), "geometry": outline}
    new["properties"] = {"objectType": "cell", "classification": {"name": "Tumour: Positive"}}
    note = {"type": "Feature", "geometry": outline, "properties": {"objectType": "annotation"}}

    def change(cells):
        inside = [each for each in cells if not name_of(each).endswith("Excluded")]
        ids = [each["id"] for each in inside]
        swap = {"Positive": "Negative", "Negative": "Positive"}
        kept = [each for each in cells if each["id"] != ids[0]]
        for number, each in enumerate(kept):
            kind, _, outcome = name_of(each).partition(": ")
            if each["id"] == ids[1]:
                kept[number] = classed(each, f"{'Stroma' if kind != 'Stroma' else 'Tumor'}: {outcome}")
            if each["id"] == ids[2]:
                kept[number] = classed(each, f"{kind}: {swap[outcome]}")
        return [*kept, new, note]

    file = edited_geojson(real, tmp_path, change)
    done = import_corrections(real, file, reviewer="Ada")
    assert (done.image, done.n_class, done.n_positive, done.n_deleted, done.n_added) == ("one.png", 1, 1, 1, 1)
    review = open_review(real, "one")
    kinds = [edit.kind for edit in review.ledger.edits]
    assert kinds == [EditKind.CLASS, EditKind.POSITIVE, EditKind.ADD, EditKind.DELETE]
    made = review.ledger.edits[2].made[0]
    assert (made.x_px, made.y_px) == (13.5, 23.5)  # from the corner of the first pixel to its centre
    assert made.id == new["id"]
    assert review.reviewed_cells().iloc[-1]["cell_area_um2"] == pytest.approx(64 * review.mpp**2)
    again = import_corrections(real, file, reviewer="Ada")
    assert (again.n_class, again.n_positive, again.n_deleted, again.n_added) == (0, 0, 0, 0)
    assert len(open_review(real, "one").ledger.edits) == len(kinds)


def test_an_import_leaves_edits_made_elsewhere_alone(real, tmp_path):
    file = edited_geojson(real, tmp_path, lambda cells: cells)
    review = open_review(real, "one")
    review.edit(EditKind.CLASS, reviewer="Bo", cells=review.ids(np.arange(5)), to="other")
    review.edit(EditKind.DELETE, reviewer="Bo", cells=review.ids(np.arange(5, 8)))
    import_corrections(real, file, reviewer="Ada")
    assert [edit.reviewer for edit in open_review(real, "one").ledger.edits] == ["Bo", "Bo"]


def test_a_file_that_lacks_many_cells_asks_whether_they_were_deleted(real, tmp_path):
    file = edited_geojson(real, tmp_path, lambda cells: cells[:10])
    with pytest.raises(ReviewError, match="--keep-missing"):
        import_corrections(real, file, reviewer="Ada")
    assert import_corrections(real, file, reviewer="Ada", keep_missing=True).n_deleted == 0
    n = len(open_review(real, "one").cells)
    assert import_corrections(real, file, reviewer="Ada", delete_missing=True).n_deleted == n - 10
    assert open_review(real, "one").counts.n_cells == 10


@pytest.mark.parametrize(("shift_px", "n"), [(0.4, 0), (3.0, 1)])
def test_redrawn_outlines_are_counted_not_taken(real, tmp_path, shift_px, n):
    def change(cells):
        (ring,) = cells[0]["geometry"]["coordinates"]
        moved = [[x + shift_px, y] for x, y in ring]
        return [{**cells[0], "geometry": {"type": "Polygon", "coordinates": [moved]}}, *cells[1:]]

    done = import_corrections(real, edited_geojson(real, tmp_path, change), reviewer="Ada")
    assert [note for note in done.notes if "redrawn" in note] == (
        ["1 redrawn outlines: not read back, their cells keep their measurements"] * n
    )
    assert done.n_added == done.n_deleted == 0


def test_unknown_classes_are_named_and_ignore_deletes(real, tmp_path):
    def change(cells):
        return [classed(cells[0], "Plasma cell"), classed(cells[1], "Ignore*"), *cells[2:]]

    done = import_corrections(real, edited_geojson(real, tmp_path, change), reviewer="Ada")
    assert done.n_deleted == 1
    assert "plasma cell" in done.notes[0]


def test_cells_of_another_image_or_run_are_refused(real, tmp_path):
    file = edited_geojson(real, tmp_path, lambda cells: cells)
    with pytest.raises(ReviewError, match=r"no cell of two\.png"):
        import_corrections(real, file, reviewer="Ada", image="two.png")
    fresh = edited_geojson(real, tmp_path, lambda cells: [{**each, "id": str(uuid.uuid4())} for each in cells])
    with pytest.raises(ReviewError, match="holds no cell of any image"):
        import_corrections(real, fresh, reviewer="Ada")


@pytest.mark.parametrize("text", ["{", "[1]", '{"type": "FeatureCollection"}', "[]"])
def test_files_that_are_no_cells_are_refused(real, tmp_path, text):
    file = tmp_path / "bad.geojson"
    file.write_text(text)
    with pytest.raises((UnreadableError, ReviewError)) as error:
        import_corrections(real, file, reviewer="Ada")
    assert "\n" not in str(error.value)


def test_a_point_is_no_cell(real, tmp_path):
    point = {"type": "Feature", "id": str(uuid.uuid4()), "geometry": {"type": "Point", "coordinates": [9, 9]}}
    point["properties"] = {"objectType": "detection", "classification": {"name": "Tumour: Positive"}}
    with pytest.raises(UnreadableError, match="has no outline"):
        import_corrections(real, edited_geojson(real, tmp_path, lambda cells: [*cells, point]), reviewer="Ada")


def test_a_cell_added_in_an_artefact_leaves_the_score_as_one_found_there(real, tmp_path):
    outline = {"type": "Polygon", "coordinates": [[[10, 20], [18, 20], [18, 28], [10, 28], [10, 20]]]}
    new = {"type": "Feature", "id": str(uuid.uuid4()), "geometry": outline}
    new["properties"] = {"objectType": "cell", "classification": {"name": "Tumour: Positive"}}
    spoilt = {"type": "Polygon", "coordinates": [[[0, 0], [50, 0], [50, 50], [0, 50], [0, 0]]]}
    (real / "artefacts").mkdir()
    feature = {"type": "Feature", "geometry": spoilt, "properties": {"objectType": "annotation"}}
    (real / "artefacts" / "one.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    done = import_corrections(real, edited_geojson(real, tmp_path, lambda cells: [*cells, new]), reviewer="Ada")
    assert any("added cells are not measured" in note for note in done.notes)
    review = open_review(real, "one")
    assert excluding_text(review, -1) == CELL_FLAG_TEXTS[Flag.ARTEFACT]
    assert review.counts.n_tumour == review.automated_counts.n_tumour


def test_corrections_are_imported_from_the_command_line(pdl1quant, real, tmp_path):
    file = edited_geojson(real, tmp_path, lambda cells: cells[1:])
    code, printed, errors = pdl1quant("review-import", real, file, "--reviewer", "Ada")
    assert (code, errors) == (0, "")
    assert "1 deleted" in printed
    code, _, errors = pdl1quant("review-import", real, file, "--reviewer", "Ada", "--keep-missing", "--delete-missing")
    assert code == WRONG_USAGE
