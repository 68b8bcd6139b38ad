from __future__ import annotations

import gzip
import json
import tracemalloc

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pdl1quant.errors import UnreadableError
from pdl1quant.slides import roi as rois_module
from pdl1quant.slides.roi import Roi, RoiKind, fill_region, near_in_core, of_kind, points_in_rois, roi_mask, why_nothing
from pdl1quant.slides.roi_file import class_doubt, read_geojson_rois, tumour_doubt


def feature(geometry, name=None, object_type="annotation"):
    properties = {"objectType": object_type}
    if name is not None:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    return {"type": "Feature", "geometry": json.loads(shapely.to_geojson(geometry)), "properties": properties}


def saved(tmp_path, tree):
    path = tmp_path / "rois.geojson"
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return path


def roi(geometry, kind=RoiKind.INCLUDE):
    return Roi(kind=kind, name="", geometry=geometry)


SQUARE = shapely.box(0, 0, 10, 10)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (None, "include"),
        ("Region*", "include"),
        ("Tumor", "tumour"),
        ("tumour", "tumour"),
        ("Tumor: core", "tumour"),
        ("Ignore*", "exclude"),
        ("Exclude", "exclude"),
        ("Necrosis", "exclude"),
        ("Necrotic", "exclude"),
        ("necrosis*", "exclude"),
        ("In situ", "exclude"),
        ("in-situ carcinoma", "exclude"),
        ("Carcinoma in situ", "exclude"),
        ("Tumor: Necrosis", "exclude"),
        ("Tumor: Ignore*", "exclude"),
        ("Normal", "exclude"),
        ("Normal mucosa: gland", "exclude"),
        ("Artefact", "exclude"),
        ("Artifact", "exclude"),
        ("Folds", "exclude"),
        ("Stroma", "include"),
        ("Abnormal", "include"),
    ],
)
def test_class_tells_the_kind(tmp_path, name, kind):
    path = saved(tmp_path, {"type": "FeatureCollection", "features": [feature(SQUARE, name)]})
    assert [found.kind for found in read_geojson_rois(path)] == [kind]


def test_classes_that_nobody_knows_are_told_with_what_they_were_taken_for(tmp_path):
    def doubt(*names):
        return class_doubt(read_geojson_rois(saved(tmp_path, [feature(SQUARE, name) for name in names])))

    assert doubt("Tumor", "Normal", "Region*", None) == ""
    assert doubt("Tumor", "Stroma", "Normal", "Stroma", "Tumour").startswith(
        "classes of the regions are taken so: 'Tumor', 'Tumour': tumour; 'Normal': left out; "
        "'Stroma': limits what is scored; "
    )


@pytest.mark.parametrize(
    "tree",
    [
        {"type": "FeatureCollection", "features": [feature(SQUARE)]},
        [feature(SQUARE)],
        feature(SQUARE),
        json.loads(shapely.to_geojson(SQUARE)),
        json.loads(shapely.to_geojson(shapely.MultiPolygon([SQUARE]))),
        [feature(SQUARE), feature(shapely.Point(1, 1)), feature(SQUARE, object_type="cell")],
        [feature(SQUARE), {"type": "Feature", "geometry": None, "properties": {"objectType": "annotation"}}],
    ],
)
def test_every_shape_of_geojson_gives_the_same_area(tmp_path, tree):
    (found,) = read_geojson_rois(saved(tmp_path, tree))
    assert found.geometry.equals(SQUARE)


@pytest.mark.parametrize(
    "older",
    [
        {"properties": {"object_type": "detection", "classification": {"name": "Tumor"}}},
        {"properties": {"object_type": "cell"}},
        {"id": "PathCellObject", "properties": {"classification": {"name": "Tumor"}}},
        {"id": "PathDetectionObject", "properties": {}},
    ],
)
def test_cells_of_older_qupath_are_no_regions(tmp_path, older):
    drawn = feature(SQUARE, "Tumor") | {"id": "PathAnnotationObject", "properties": {"object_type": "annotation"}}
    cell = feature(shapely.box(20, 20, 30, 30)) | older
    (found,) = read_geojson_rois(saved(tmp_path, [drawn, cell]))
    assert found.geometry.equals(SQUARE)


def test_what_is_said_to_be_an_annotation_is_a_region_whatever_its_id(tmp_path):
    assert len(read_geojson_rois(saved(tmp_path, [feature(SQUARE) | {"id": "PathCellObject"}]))) == 1


def test_outline_that_crosses_itself_is_repaired(tmp_path):
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    (found,) = read_geojson_rois(saved(tmp_path, [feature(bow_tie)]))
    assert found.geometry.is_valid
    assert found.geometry.area == 50


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "3",
        '"text"',
        "[1, 2]",
        "{}",
        '{"type": "FeatureCollection"}',
        '{"type": "FeatureCollection", "features": []}',
        '{"type": "Feature"}',
        '{"type": "Feature", "geometry": null}',
        '{"type": "Feature", "geometry": {"type": "Polygon"}}',
        '{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}',
        '{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": "here"}}',
        '{"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}}',
        "[" * 100_000,
        "\x00\x01",
    ],
)
def test_what_holds_no_area_is_refused_in_one_line(tmp_path, text):
    path = saved(tmp_path, text)
    with pytest.raises(UnreadableError, match=r"rois\.geojson: ") as caught:
        read_geojson_rois(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "properties",
    [
        {"classification": {"name": "Tumor"}},
        {"classification": {"names": ["Tumor", "core"]}},
        {"classification": "Tumor"},
        {"class": "Tumor"},
        {"name": " tumour "},
        {"classification": None, "class": "Tumor", "name": "Ignore"},
    ],
)
def test_class_is_found_wherever_programs_write_it(tmp_path, properties):
    (found,) = read_geojson_rois(saved(tmp_path, [feature(SQUARE) | {"properties": properties}]))
    assert found.kind is RoiKind.TUMOUR


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon", "GeometryCollection"])
def test_open_outline_is_closed(tmp_path, kind):
    rings = [[[0, 0], [10, 0], [10, 10], [0, 10]]]
    polygon = {"type": "Polygon", "coordinates": rings}
    geometry = {
        "Polygon": polygon,
        "MultiPolygon": {"type": "MultiPolygon", "coordinates": [rings]},
        "GeometryCollection": {"type": "GeometryCollection", "geometries": [polygon]},
    }[kind]
    (found,) = read_geojson_rois(saved(tmp_path, geometry))
    assert found.geometry.equals(SQUARE)


@pytest.mark.parametrize(
    "ring", [[[0, 0], [1, 1]], [], [[0, 0], ["a", 1], [2, 2], [0, 0]], [[0, 0], [1, None], [2, 2]], "here", [3, 4, 5]]
)
def test_broken_outline_is_named_plainly(tmp_path, ring):
    geometry = {"type": "Polygon", "coordinates": [ring]}
    tree = feature(SQUARE, "Tumor") | {"geometry": geometry}
    with pytest.raises(UnreadableError, match=r"rois\.geojson: ") as caught:
        read_geojson_rois(saved(tmp_path, tree))
    assert "Exception" not in str(caught.value)
    assert "class 'Tumor' has a broken outline" in str(caught.value) or "holds no annotation with an area" in str(
        caught.value
    )


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: b"PK\3\4" + data])
def test_a_packed_file_is_to_be_unpacked(tmp_path, pack):
    path = saved(tmp_path, [feature(SQUARE)])
    path.write_bytes(pack(path.read_bytes()))
    with pytest.raises(UnreadableError, match="packed; unpack it"):
        read_geojson_rois(path)


@pytest.mark.parametrize("far", [1e10, -1e300])
def test_a_corner_that_lies_on_no_slide_is_a_broken_outline(tmp_path, far):
    geometry = {"type": "Polygon", "coordinates": [[[0, 0], [far, 0], [far, 10], [0, 0]]]}
    with pytest.raises(UnreadableError, match="has a broken outline"):
        read_geojson_rois(saved(tmp_path, feature(SQUARE) | {"geometry": geometry}))


def test_why_nothing_is_scored_is_told_by_what_was_drawn():
    whole, beside = shapely.box(0, 0, 100, 100), shapely.box(200, 0, 300, 100)

    def said(*drawn):
        return why_nothing([roi(geometry, kind) for kind, geometry in drawn], whole, what="slide")

    assert said((RoiKind.EXCLUDE, whole)) == "excludes the whole slide; leave the slide out of the run"
    assert said((RoiKind.TUMOUR, SQUARE), (RoiKind.EXCLUDE, whole)).startswith("excludes all that it has to be scored")
    assert said((RoiKind.TUMOUR, beside)).startswith("no region to be scored lies inside the slide")
    assert said((RoiKind.TUMOUR, beside), (RoiKind.EXCLUDE, whole)).startswith("no region to be scored lies inside")


def test_regions_that_name_no_tumour_are_told_with_their_classes():
    def named(name, kind=RoiKind.INCLUDE):
        return Roi(kind=kind, name=name, geometry=SQUARE)

    assert tumour_doubt([named("Tumor", RoiKind.TUMOUR), named("x")], "r.geojson") == ""
    assert tumour_doubt([named("Tumro")], "r.geojson").startswith(
        "r.geojson: 1 region of class 'Tumro', none of class Tumor: cells inside are scored, but nobody has said that "
        "they are tumour, so no call is made"
    )
    assert "2 regions without a class, 1 region of class 'x', none" in tumour_doubt(
        [named(""), named("x"), named("")], "r.geojson"
    )
    assert "all cells outside are scored" in tumour_doubt([named("Ignore*", RoiKind.EXCLUDE)], "r.geojson")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableError, match=r"none\.geojson: cannot be read"):
        read_geojson_rois(tmp_path / "none.geojson")


def test_centre_of_the_first_pixel_is_half_a_pixel_from_the_corner():
    rois = [roi(shapely.box(0, 0, 1, 1))]
    x = np.array([0.0, 0.4, 0.6, -0.4, -0.6])
    assert points_in_rois(rois, x, np.zeros(5)).tolist() == [True, True, False, True, False]
    assert roi_mask(rois, (2, 2)).tolist() == [[True, False], [False, False]]


def test_excluded_region_is_cut_out_and_alone_leaves_the_rest():
    hole = roi(shapely.box(2, 2, 4, 4), RoiKind.EXCLUDE)
    assert roi_mask([roi(SQUARE), hole], (20, 20)).sum() == 96
    assert roi_mask([hole], (20, 20)).sum() == 396
    assert roi_mask([], (20, 20)).all()
    assert points_in_rois([], np.zeros(3), np.zeros(3)).all()


def test_tumour_counts_as_wanted_and_can_be_asked_for_alone():
    rois = [roi(SQUARE), roi(shapely.box(10, 0, 12, 10), RoiKind.TUMOUR)]
    assert roi_mask(rois, (20, 20)).sum() == 120
    assert roi_mask(of_kind(rois, RoiKind.TUMOUR), (20, 20)).sum() == 20


def test_of_many_cores_those_without_points_are_not_looked_at(monkeypatch):
    """A band of a microarray meets a few of some hundred cores, each with tumour drawn in it."""
    cores = [shapely.box(100 * k, 0, 100 * k + 80, 80) for k in range(50)]
    drawn = shapely.union_all([shapely.box(100 * k + 10, 10, 100 * k + 20, 20) for k in range(50)])
    looked_at, real = [], rois_module.within_reach
    monkeypatch.setattr(rois_module, "within_reach", lambda *region, **how: looked_at.append(0) or real(*region, **how))
    x, y = np.array([1030.0, 1060.0, 1090.0, 2075.0]), np.full(4, 15.0)
    near = near_in_core(drawn, cores, x, y, reach_um=15.0, mpp_x=1.0, mpp_y=1.0)
    assert near.tolist() == [True, False, False, False]
    assert len(looked_at) == 2


def test_mask_lies_where_the_tile_lies():
    mask = roi_mask([roi(SQUARE)], (10, 10), x_px=4, y_px=-2, downsample_x=2, downsample_y=1)
    expected = np.zeros((10, 10), bool)
    expected[2:10, 0:3] = True
    assert np.array_equal(mask, expected)


coordinates = st.floats(-5, 25, allow_nan=False).map(lambda value: round(value, 3) + 0.0001)


@settings(deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9))
def test_mask_and_points_agree(corners):
    polygon = shapely.make_valid(shapely.Polygon(corners))
    rois = [roi(polygon)] if polygon.geom_type in {"Polygon", "MultiPolygon"} else []
    y, x = np.mgrid[:20, :20]
    centres = shapely.points(x.ravel() + 0.5, y.ravel() + 0.5)
    is_clear = shapely.distance(polygon.boundary, centres) > 1e-9
    inside = points_in_rois(rois, x.ravel(), y.ravel())
    assert np.array_equal(roi_mask(rois, (20, 20)).ravel()[is_clear], inside[is_clear])


def test_filling_a_large_region_takes_a_few_bytes_a_pixel():
    tracemalloc.start()
    try:
        mask = roi_mask([roi(shapely.Point(500, 500).buffer(400))], (1000, 1000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert mask.sum() == pytest.approx(np.pi * 400**2, rel=0.01)
    assert peak <= 5 * mask.size  # one mask, its reverse, what one operation holds; 25 of them were fields of 1.6 GB


def test_sides_of_two_polygons_on_one_line_leave_no_gap():
    halves = shapely.MultiPolygon([shapely.box(0, 0, 5, 10), shapely.box(5, 0, 10, 10)])
    assert fill_region(halves, (10, 12)).sum() == 100


@pytest.mark.parametrize("n_regions", [1, 30])
def test_near_is_what_lies_within_reach_of_the_border_or_inside(n_regions):
    rng = np.random.default_rng(n_regions)
    drawn = shapely.union_all(
        [shapely.Point(*rng.uniform(0, 500, 2)).buffer(rng.uniform(5, 90), quad_segs=3) for _ in range(n_regions)]
    )
    x, y = rng.integers(-400, 1400, (2, 4000)) / 2
    how = {"mpp_x": 0.5, "mpp_y": 0.4}
    scaled = shapely.transform(drawn, lambda points: points * (how["mpp_x"], how["mpp_y"]))
    away_um = shapely.distance(scaled, shapely.points(x * how["mpp_x"], y * how["mpp_y"]))
    near = near_in_core(drawn, (), x, y, reach_um=60.0, **how)
    assert np.array_equal(near, away_um <= 60.0)
    assert 0 < near.sum() < near.size
    assert not near_in_core(shapely.Polygon(), (), x, y, reach_um=60.0, **how).any()
