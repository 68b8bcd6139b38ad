from __future__ import annotations

import json
import uuid

import numpy as np
import pandas as pd
import pytest
import shapely

from pdl1quant.errors import OutputError, UnreadableError
from pdl1quant.model import CELL_COLUMNS, CellClass, Compartments, Flag
from pdl1quant.outputs.claims import is_result
from pdl1quant.outputs.files import result_path
from pdl1quant.outputs.geojson import MEASUREMENTS, cell_id, geojson_writer, outline_cells, write_geojson
from pdl1quant.outputs.objects import read_cell_objects
from pdl1quant.outputs.written_outlines import read_outlines


def make_compartments(shape=(60, 80), *, step=20):
    """Round cells on a grid, each with a smaller nucleus."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    number = (y // step) * (shape[1] // step) + x // step + 1
    distance = np.hypot(y % step - (step - 1) / 2, x % step - (step - 1) / 2)
    cell = np.where(distance <= 0.45 * step, number, 0).astype(np.int32)
    nucleus = np.where(distance <= 0.25 * step, cell, 0)
    membrane = np.where(distance > 0.38 * step, cell, 0)
    return Compartments(
        nucleus=nucleus, cell=cell, cytoplasm=cell - nucleus - membrane, membrane=membrane, n_cells=int(cell.max())
    )


def make_table(labels, **changes):
    n = len(labels)
    columns = {column.name: np.full(n, 0.5 if "float" in column.dtype else 1) for column in CELL_COLUMNS}
    columns |= {
        "label": np.asarray(labels, np.int32),
        "cell_class": pd.Categorical(["tumour"] * n, categories=[str(name) for name in CellClass]),
        "positive": np.arange(n) % 2 == 0,
        "flags": np.zeros(n, np.int32),
    }
    return pd.DataFrame(columns | changes)


def written(tmp_path, cells, parts, **where):
    path = tmp_path / "a.geojson"
    write_geojson(cells, parts, path, image_id="abc", **where)
    return json.loads(path.read_text())


def test_area_is_the_pixel_count_times_the_scale_and_every_polygon_is_valid(tmp_path):
    parts = make_compartments()
    found = written(tmp_path, make_table(range(1, 13)), parts, x_px=100, y_px=7.5, downsample_x=2.0, downsample_y=0.5)
    counts = np.bincount(parts.cell.ravel()), np.bincount(parts.nucleus.ravel())
    for label, feature in enumerate(found["features"], start=1):
        cell = shapely.from_geojson(json.dumps(feature["geometry"]))
        nucleus = shapely.from_geojson(json.dumps(feature["nucleusGeometry"]))
        assert cell.is_valid
        assert nucleus.is_valid
        assert cell.contains(nucleus)
        assert (cell.area, nucleus.area) == (counts[0][label], counts[1][label])


def test_first_pixel_covers_zero_to_one(tmp_path):
    cell = np.zeros((5, 5), np.int32)
    cell[0, 0] = 1
    parts = Compartments(nucleus=cell, cell=cell, cytoplasm=cell * 0, membrane=cell * 0, n_cells=1)
    found = written(tmp_path, make_table([1]), parts)
    assert sorted(found["features"][0]["geometry"]["coordinates"][0][:4]) == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_feature_is_a_qupath_cell(tmp_path):
    feature = written(tmp_path, make_table([3]), make_compartments())["features"][0]
    assert feature["type"] == "Feature"
    assert uuid.UUID(feature["id"]).version == 5
    assert feature["properties"]["objectType"] == "cell"
    assert feature["properties"]["classification"]["name"] == "Tumour: Positive"
    assert len(feature["properties"]["classification"]["color"]) == 3
    assert feature["properties"]["measurements"].keys() == set(MEASUREMENTS)


def test_names_tell_positive_negative_and_excluded(tmp_path):
    cells = make_table([1, 2, 3], flags=np.array([0, Flag.SATURATED, Flag.PIGMENT], np.int32))
    features = written(tmp_path, cells, make_compartments())["features"]
    names = [feature["properties"]["classification"]["name"] for feature in features]
    assert names == ["Tumour: Positive", "Tumour: Negative", "Tumour: Excluded"]


def test_undefined_measurement_is_left_out(tmp_path):
    cells = make_table([1], neighbour_distance_um=np.array([np.inf]))
    measurements = written(tmp_path, cells, make_compartments())["features"][0]["properties"]["measurements"]
    assert "neighbour_distance_um" not in measurements


def test_self_touching_outline_is_made_valid(tmp_path):
    cell = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], np.int32)
    parts = Compartments(nucleus=cell, cell=cell, cytoplasm=cell * 0, membrane=cell * 0, n_cells=1)
    found = written(tmp_path, make_table([1]), parts)
    polygon = shapely.from_geojson(json.dumps(found["features"][0]["geometry"]))
    assert polygon.is_valid
    assert polygon.area == 7


def test_no_cells_give_an_empty_collection(tmp_path):
    assert written(tmp_path, make_table([]), make_compartments())["features"] == []
    blank = np.zeros((1, 1), np.int32)
    parts = Compartments(nucleus=blank, cell=blank, cytoplasm=blank, membrane=blank, n_cells=0)
    assert written(tmp_path, make_table([]), parts)["features"] == []


def test_same_cells_give_the_same_bytes_under_other_hashes_other_ids(tmp_path):
    cells, parts = make_table(range(1, 13)), make_compartments()
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, image_id in zip(paths, ("x", "x", "y"), strict=True):
        write_geojson(cells, parts, path, image_id=image_id)
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()
    assert is_result(paths[0])


def test_table_of_another_image_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text("old")
    with pytest.raises(OutputError, match="cell 99 has no pixels"):
        write_geojson(make_table([99]), make_compartments(), path, image_id="x")
    assert path.read_text() == "old"


@pytest.mark.parametrize("ending", [".geojson", ".geojson.gz", ".geojson.zip"])
def test_parts_of_any_compression_are_read_back_with_the_same_ids_and_bytes(tmp_path, ending):
    cells, parts = make_table(range(1, 13)), make_compartments()
    outlines = outline_cells(parts, np.arange(1, 13, dtype=np.int32))
    for name in ("a", "b"):
        with geojson_writer(tmp_path / f"{name}{ending}", image_id="abc") as write:
            write(cells[:5], outlines[:5])
            write(cells[5:], outlines[5:])
    write_geojson(cells, parts, tmp_path / "whole.geojson", image_id="abc")
    found, whole = (read_cell_objects(tmp_path / name) for name in (f"a{ending}", "whole.geojson"))
    assert found.ids == whole.ids
    assert shapely.equals(found.outlines, whole.outlines).all()
    assert is_result(tmp_path / f"a{ending}")
    if ending != ".geojson.zip":  # a zip holds the name of its member
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


def test_simplified_outlines_are_valid_and_much_shorter():
    parts = make_compartments()
    labels = np.arange(1, 13, dtype=np.int32)
    exact, short = (outline_cells(parts, labels, simplified=simplified) for simplified in (False, True))
    for (one, _), (other, _) in zip(exact, short, strict=True):
        assert shapely.from_geojson(other).is_valid
        assert shapely.from_geojson(other).area == pytest.approx(shapely.from_geojson(one).area, rel=0.03)
    assert sum(map(len, sum(short, ()))) < 0.6 * sum(map(len, sum(exact, ())))


def test_a_cell_has_the_uuid_of_its_image_and_label():
    space = uuid.uuid5(uuid.NAMESPACE_URL, "urn:pdl1quant:cell")
    for label in range(1, 50):
        assert cell_id("ab" * 32, label) == str(uuid.uuid5(space, f"{'ab' * 32}:{label}"))


def test_outlines_are_read_alike_from_a_file_that_another_program_wrote_anew(tmp_path):
    parts, cells = make_compartments(), make_table([1, 2])
    path = result_path(tmp_path, "geojson", "a")
    path.parent.mkdir()
    write_geojson(cells, parts, path, image_id="0")
    given = {"labels": cells["label"].to_numpy(np.int32), "image_id": "0"}
    before = read_outlines(tmp_path, "a", np.arange(2), **given)
    lines = path.read_text().splitlines()
    again = [json.dumps(json.loads(line.rstrip(",")), indent=None) for line in lines[1:3]]
    path.write_text("\n".join([lines[0], ",\n".join(again), *lines[3:]]))
    for one, other in zip(before, read_outlines(tmp_path, "a", np.arange(2), **given), strict=True):
        assert shapely.equals_exact(one, other).all()
    path.write_text("\n".join([lines[0], lines[1].replace("Polygon", "Nothing"), lines[2]]))
    with pytest.raises(OutputError, match="no readable outlines"):
        read_outlines(tmp_path, "a", np.arange(2), **given)


def test_an_id_of_two_cells_is_refused_by_name(tmp_path):
    box = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    cells = [
        {"type": "Feature", "id": f"{n:036d}", "geometry": box, "properties": {"objectType": "cell"}}
        for n in (0, 1, 2, 1)
    ]
    (tmp_path / "cells.geojson").write_text(json.dumps(cells))
    with pytest.raises(UnreadableError, match=r"two cells have the id 0*1;"):
        read_cell_objects(tmp_path / "cells.geojson")
