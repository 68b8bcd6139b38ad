"""Shares of tumour calls in drawn regions, on a few drawn cells; the regions that come with the project can be read."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pdl1quant.slides.roi_file import read_geojson_rois

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
DRAWN = sorted((BENCHMARKS / "regions").glob("*.geojson"))


@pytest.fixture
def regions(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import regions

    return regions


@pytest.fixture
def dots(regions):
    assert regions
    import dots

    return dots


def cells(*rows):
    return pd.DataFrame(rows, columns=["x_px", "y_px", "cell_class", "positive"])


def square(name, left, right, *, hole=None):
    rings = [[[left, 0], [right, 0], [right, 10], [left, 10], [left, 0]]]
    if hole is not None:
        a, b = hole
        rings.append([[a, 2], [b, 2], [b, 8], [a, 8], [a, 2]])
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {"objectType": "annotation", "classification": {"name": name}},
    }


def drawn(tmp_path, *features):
    path = tmp_path / "image.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return read_geojson_rois(path)


def test_shares_count_the_cells_of_each_kind_of_region_alone(regions, tmp_path):
    rois = drawn(tmp_path, square("Stroma", 20, 30), square("Gland", 0, 10), square("Gland", 10, 20))
    table = cells((1, 5, "tumour", True), (12, 5, "lymphocyte", False), (25, 5, "stroma", False), (40, 5, "tumour", 1))
    gland, stroma = regions.measure_regions(table, rois, image="image", mpp=0.5)
    assert (gland.kind, gland.n_cells, gland.n_tumour, gland.n_positive) == ("gland", 2, 1, 1)
    assert (stroma.kind, stroma.n_cells, stroma.n_tumour, stroma.n_positive) == ("stroma", 1, 0, 0)
    assert gland.area_mm2 == pytest.approx(200 * 0.25e-6)


def test_the_hole_of_a_region_is_not_part_of_it(regions, tmp_path):
    rois = drawn(tmp_path, square("Gland", 0, 10, hole=(2, 8)))
    (gland,) = regions.measure_regions(cells((5, 5, "other", False)), rois, image="image", mpp=1.0)
    assert gland.n_cells == 0
    assert gland.area_mm2 == pytest.approx(64e-6)


def test_a_region_of_another_name_is_refused(regions, tmp_path):
    with pytest.raises(ValueError, match="'muscle'; name it one of gland"):
        regions.measure_regions(cells(), drawn(tmp_path, square("Muscle", 0, 10)), image="image", mpp=0.5)


@pytest.mark.parametrize(
    ("kind", "n_cells", "n_tumour", "reached"),
    [
        ("gland", 100, 95, True),
        ("gland", 100, 94, False),
        ("gland", 0, 0, False),
        ("tumour", 100, 94, False),
        ("stroma", 100, 5, True),
        ("lymphoid", 100, 6, False),
        ("lymphoid", 0, 0, True),
        ("lumen", 0, 0, True),
        ("glass", 1, 0, False),
    ],
)
def test_floors_are_those_of_the_kind(regions, kind, n_cells, n_tumour, reached):
    share = regions.Share(image="", mpp=0.5, kind=kind, n_cells=n_cells, n_tumour=n_tumour, n_positive=0, area_mm2=1.0)
    assert share.reached is reached


def test_pooling_sums_cells_and_not_shares(regions):
    few, many = (
        regions.Share(
            image=str(n), mpp=0.5, kind="gland", n_cells=n, n_tumour=0 if n == 1 else n, n_positive=0, area_mm2=1
        )
        for n in (1, 99)
    )
    (pooled,) = regions.pool([few, many], image="ALL")
    assert pooled.tumour == pytest.approx(0.99)
    assert pooled.area_mm2 == 2
    assert math.isnan(pooled.mpp)


def test_the_table_has_a_line_per_share_under_its_heading(regions, tmp_path):
    shares = regions.measure_regions(
        cells((5, 5, "tumour", True)),
        drawn(tmp_path, square("Gland", 0, 10), square("Lumen", 20, 30)),
        image="a",
        mpp=0.5,
    )
    heading, gland, lumen = regions.lines_of(shares)
    assert heading.split() == ["image", "um/px", "region", "cells", "per", "mm2", "tumour", "positive", "floor"]
    assert gland.split()[:7] == ["a", "0.5", "gland", "1", "40000", "1.000", "1.000"]
    assert lumen.endswith("no cell: reached")


def test_the_sample_image_has_regions_of_what_it_shows():
    names = {roi.name for roi in read_geojson_rois(BENCHMARKS / "regions" / "fhl2_colon.geojson")}
    assert names == {"Gland", "Stroma", "Lumen"}


@pytest.mark.parametrize("path", DRAWN, ids=lambda path: path.stem)
def test_regions_of_different_kinds_hardly_overlap(path):
    by_kind = {}
    for roi in read_geojson_rois(path):
        by_kind.setdefault(roi.name, []).append(roi.geometry)
    kinds = list(by_kind)
    shared = [
        one.intersection(other).area / min(one.area, other.area)
        for i, a in enumerate(kinds)
        for b in kinds[i + 1 :]
        for one in by_kind[a]
        for other in by_kind[b]
    ]
    assert np.max(shared, initial=0) < 0.02


def dotted(dots, tmp_path, *points):
    path = tmp_path / "image.geojson"
    point = {"type": "Feature", "geometry": {"type": "MultiPoint", "coordinates": list(points)}, "properties": {}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [square("Counted", 0, 30), point]}))
    return dots.read_dots(path)


def test_dots_count_from_the_corner_of_the_first_pixel(dots, tmp_path):
    assert np.array_equal(dotted(dots, tmp_path, [5, 5.5]).xy_px, [[4.5, 5.0]])


def test_what_is_found_outside_the_dotted_areas_is_not_held_against_a_method(dots, tmp_path):
    table = cells((4.5, 4.5, "tumour", True), (20, 4.5, "tumour", True), (80, 4.5, "tumour", True))
    matches = dots.match_dots(dotted(dots, tmp_path, [5, 5], [12, 5]), table, mpp=0.5)
    assert (matches.n_truth, matches.n_found, matches.n_matched) == (2, 2, 1)


def test_a_dot_is_matched_within_three_um(dots, tmp_path):
    table = cells((10.5, 4.5, "tumour", True))
    truth = dotted(dots, tmp_path, [5, 5])
    assert dots.match_dots(truth, table, mpp=0.5).n_matched == 1
    assert dots.match_dots(truth, table, mpp=0.51).n_matched == 0


@pytest.mark.parametrize(
    "path", sorted((BENCHMARKS / "regions" / "dots").glob("*.geojson")), ids=lambda path: path.stem
)
def test_all_dots_lie_in_the_areas_that_were_counted(dots, path):
    found = dots.read_dots(path)
    assert len(found.xy_px) > 5
    assert dots.points_in_rois(found.areas, *found.xy_px.T).all()
