"""Microarrays from file to rows: a row a core, named as it lies; what lies between the cores does not count."""

import json

import cv2
import numpy as np
import pytest

import phantom_slides
from batch_runs import rows_of, run
from pdl1quant.config import load_config
from pdl1quant.model import Flag, Status
from pdl1quant.outputs.tables import read_cells

CONFIG = load_config(None, ["nuclei.segmenter=watershed", "tiling.tile_px=1024"])
CORE_PX, STEP_PX = 760, 1050
CENTRES = {"A-1": (620, 600), "A-2": (1670, 640), "B-2": (1640, 1690), "B-3": (2690, 1730), "A-3": (2720, 680)}


@pytest.fixture(scope="module")
def image():
    """Two rows of three, turned by 2 degrees, the first core of the second row lost; a shred between them."""
    width, height = 3300, 2300
    rgb, tissue = phantom_slides.glass(width, height), phantom_slides.tissue(width, height)
    cores = np.zeros((height, width), np.uint8)
    for x, y in CENTRES.values():
        cv2.circle(cores, (x, y), CORE_PX // 2, 1, -1)
    cv2.circle(cores, (1150, 1150), 70, 1, -1)
    return np.where(cores[:, :, None] > 0, tissue, rgb)


@pytest.fixture(scope="module")
def path(image, tmp_path_factory):
    return phantom_slides.write_slide(tmp_path_factory.mktemp("slides") / "array.tif", image)


@pytest.fixture(scope="module")
def scored(path, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "out"
    run(path, out, config=CONFIG, mpp=None, is_array=True)
    return out


def test_each_core_has_a_row_with_its_cells(scored):
    rows = rows_of(scored, "core")
    cells = read_cells(scored / "cells" / "array.parquet")
    assert [row.region for row in rows] == ["A-1", "A-2", "A-3", "B-2", "B-3"]
    for row in rows:
        x, y = CENTRES[row.region]
        inside = np.hypot(cells["x_px"] - x, cells["y_px"] - y) <= CORE_PX / 2 + 10
        assert row.status in (Status.OK, Status.PARTIAL)
        assert row.n_cells == pytest.approx(inside.sum(), rel=0.01)
        assert row.n_cells > 200


def test_cores_add_up_to_the_slide_and_what_lies_between_is_outside(scored):
    (image,), rows = rows_of(scored, "image"), rows_of(scored, "core")
    cells = read_cells(scored / "cells" / "array.parquet")
    shred = np.hypot(cells["x_px"] - 1150, cells["y_px"] - 1150) <= 80
    assert sum(row.n_tumour for row in rows) == image.n_tumour
    assert ((cells["flags"][shred] & int(Flag.OUTSIDE_ROI)) > 0).all()


def test_the_picture_has_the_cores(scored):
    picture = cv2.imread(str(scored / "overlays" / "array.png"))[:, :, ::-1]
    assert (np.abs(picture.astype(int) - (0, 120, 90)).max(axis=2) < 40).sum() > 200


def test_a_region_leaves_its_part_out_of_a_core(path, scored, tmp_path):
    x, y = CENTRES["A-2"]
    ring = [[x, y - 500], [x + 500, y - 500], [x + 500, y + 500], [x, y + 500], [x, y - 500]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Ignore*"}},
    }
    (tmp_path / "array.geojson").write_text(json.dumps(feature))
    run(path, tmp_path / "out", config=CONFIG, mpp=None, is_array=True, roi=tmp_path / "array.geojson")
    before, after = ({row.region: row.n_tumour for row in rows_of(out, "core")} for out in (scored, tmp_path / "out"))
    assert 0 < after["A-2"] < 0.75 * before["A-2"]
    assert {name: after[name] for name in after if name != "A-2"} == {
        name: before[name] for name in before if name != "A-2"
    }


def test_a_slide_without_cores_is_refused_with_what_to_do(tmp_path):
    rgb = phantom_slides.glass(2000, 1200)
    rgb[300:600] = phantom_slides.tissue(2000, 300)
    path = phantom_slides.write_slide(tmp_path / "strip.tif", rgb)
    run(path, tmp_path / "out", config=CONFIG, mpp=None, is_array=True)
    (row,) = rows_of(tmp_path / "out", "image")
    assert row.status is Status.REFUSED
    assert "--tma" in row.error
