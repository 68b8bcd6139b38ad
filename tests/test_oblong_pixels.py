"""A slide whose pixels are not square: what is drawn and written of it is as large in um as the tissue is."""

from __future__ import annotations

import io
import json
import re

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import phantom_slides
from batch_runs import run
from pdl1quant.batch import slide_pictures
from pdl1quant.config import load_config
from pdl1quant.exports import ExportJob, export_results
from pdl1quant.figures import FigureJob, draw_figures, drawing
from pdl1quant.outputs.tables import read_cells
from pdl1quant.report import write_report
from pdl1quant.report.pixels import plain_picture
from pdl1quant.review import open_results
from pdl1quant.views import open_scene
from slide_files import ome_metadata, write_ome

MPP_X, MPP_Y = 0.5, 0.35
WIDTH, HEIGHT = 900, 700
"""Of the slide with square pixels of 0.5 um; the other one has as many columns, and more rows."""
SHAPE_UM = np.array([HEIGHT, WIDTH]) * MPP_X


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """The folders of results of the same tissue in square and in oblong pixels."""
    folder = tmp_path_factory.mktemp("oblong")
    rgb = phantom_slides.glass(WIDTH, HEIGHT)
    rgb[40:-40, 60:-60] = phantom_slides.tissue(WIDTH - 120, HEIGHT - 80)
    high = cv2.resize(rgb, (WIDTH, round(HEIGHT * MPP_X / MPP_Y)), interpolation=cv2.INTER_CUBIC)
    config = load_config(None, ["nuclei.segmenter=watershed"])
    for name, pixels, mpp_y in (("square", rgb, MPP_X), ("oblong", high, MPP_Y)):
        path = folder / f"{name}.ome.tif"
        write_ome(path, pixels, metadata=ome_metadata(MPP_X, mpp_y), lossless=True)
        run(path, folder / name, config=config, mpp=None, keep_labels=True)
    return {name: folder / name for name in ("square", "oblong")}


@pytest.fixture(scope="module")
def out(slides):
    return slides["oblong"]


def table_of(out):
    return read_cells(next((out / "cells").glob("*.parquet")))


def pictures_of(out):
    page = (out / "report.html").read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["pictures"]


def check_shape(shape_px, mpp):
    """As high and wide as the tissue, within a pixel."""
    assert np.abs(np.array(shape_px[:2]) - SHAPE_UM / mpp).max() <= 1


def check_cells(picture, cells, *, enclosed=1.0):
    """Their outlines enclose this share of their areas around their centres, in um of the picture."""
    shown, mpp = picture["cells"], picture["mpp"]
    rows = np.searchsorted(cells["label"].to_numpy(), shown["label"])
    corners = [np.array(ring, float).reshape(-1, 2).cumsum(axis=0) / 10 for ring in shown["rings"]]
    areas_um2 = np.array([cv2.contourArea(ring.astype(np.float32)) for ring in corners]) * mpp**2
    share = areas_um2 / cells["cell_area_um2"].to_numpy()[rows]
    assert np.median(share) == pytest.approx(enclosed, abs=0.04)  # corners of outlines are cut
    sides_um = np.median([np.ptp(ring, axis=0) * mpp for ring in corners], axis=0)
    assert sides_um[0] / sides_um[1] == pytest.approx(1, abs=0.1)
    corner_um = np.array([picture["x_px"] * MPP_X, picture["y_px"] * MPP_Y])
    centres_um = np.stack([shown["x"], shown["y"]], axis=1) * mpp + corner_um
    expected_um = (cells[["x_px", "y_px"]].to_numpy()[rows] + 0.5) * (MPP_X, MPP_Y)
    np.testing.assert_allclose(centres_um, expected_um, atol=0.1)
    return len(rows)


def test_the_viewer_of_the_report_shows_slide_fields_and_cells_true_in_um(out):
    write_report(out)
    slide, *fields = pictures_of(out)
    assert f"{MPP_X} \N{MULTIPLICATION SIGN} {MPP_Y}" in (out / "report.html").read_text()
    check_shape((slide["height"], slide["width"]), slide["mpp"])
    for x, y, width, height, *_ in slide["heat"]:
        assert (width * slide["mpp"], height * slide["mpp"]) == pytest.approx((250, 250), abs=0.1)
        assert (x * slide["mpp"] % 250, y * slide["mpp"] % 250) == pytest.approx((0, 0), abs=0.1)
    assert fields
    cells = table_of(out)
    assert all(check_cells(field, cells) > 20 for field in fields)


def test_the_tiles_of_the_report_show_every_cell_true_in_um(out):
    write_report(out, tiles=True)
    (slide,) = pictures_of(out)
    check_shape((slide["height"], slide["width"]), slide["mpp"])
    cells = table_of(out)
    assert check_cells(slide, cells) == len(cells) > 200


def test_circles_stand_in_as_circles_where_outlines_are_gone(out, tmp_path):
    (path,) = (out / "geojson").iterdir()
    path.rename(tmp_path / path.name)
    try:
        write_report(out, tiles=True)
        (slide,) = pictures_of(out)
        twelve_corners = 12 / (2 * np.pi) * np.sin(2 * np.pi / 12)  # of a circle
        check_cells(slide, table_of(out), enclosed=twelve_corners)
    finally:
        (tmp_path / path.name).rename(path)


def test_overview_and_labels_have_square_pixels(out):
    overview = np.asarray(Image.open(next((out / "overlays").iterdir())))
    square = np.asarray(Image.open(next((out.parent / "square" / "overlays").iterdir())))
    assert overview.shape[1] == square.shape[1]
    assert abs(overview.shape[0] - square.shape[0]) <= 60  # lines of remarks below may differ
    rows = int(SHAPE_UM[0] / slide_pictures.FINEST_MPP)
    both = [each[:rows].astype(float).ravel() for each in (overview, square)]
    assert np.corrcoef(*both)[0, 1] > 0.7  # a square of the map may have another colour
    with tifffile.TiffFile(next((out / "labels").iterdir())) as tiff:
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        labels = tiff.asarray()
    assert pixels["PhysicalSizeX"] == pixels["PhysicalSizeY"]
    check_shape(labels.shape[1:], pixels["PhysicalSizeX"])


def test_a_figure_of_oblong_pixels_is_that_of_square_ones(slides, tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "FORMATS", ("png",))
    monkeypatch.setattr(drawing, "PNG_DPI", 150)
    drawn = {}
    for name, out in slides.items():
        at_px = 250 / MPP_X, 175 / (MPP_X if name == "square" else MPP_Y)
        job = FigureJob(out=out, folder=tmp_path / name, side_um=200, at_px=at_px)
        paths, problems = draw_figures(job)
        assert problems == []
        (path,) = (each for each in paths if each.parent.name == "overlay" and each.suffix == ".png")
        drawn[name] = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("L"), float)
    height, width = drawn["square"].shape
    assert abs(drawn["oblong"].shape[0] - height) <= 60  # a row of the legend may differ
    panels = np.s_[: width // 2 - 20]
    assert np.corrcoef(drawn["square"][panels].ravel(), drawn["oblong"][panels].ravel())[0, 1] > 0.8


def test_a_dicom_image_that_is_made_has_the_pixels_that_cells_are_painted_over(out, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    _, problems = export_results(ExportJob(out=out, to="dicom-seg", folder=tmp_path))
    assert problems == []
    image, cells = (pydicom.dcmread(next(tmp_path.rglob(f"*.{kind}.dcm"))) for kind in ("image", "seg"))
    sizes = [(each.TotalPixelMatrixRows, each.TotalPixelMatrixColumns) for each in (image, cells)]
    assert sizes == [(round(HEIGHT * MPP_X / MPP_Y), WIDTH)] * 2
    spacing = image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert [float(each) for each in spacing] == [MPP_Y / 1000, MPP_X / 1000]


def test_the_viewer_without_the_slide_has_square_pixels(out, tmp_path):
    results = open_results(out)
    scene = open_scene(results, results.images[0], folder=tmp_path)
    assert scene.slide is None
    for grid in scene.grids:
        assert (grid.mpp / grid.downsample_x, grid.mpp / grid.downsample_y) == pytest.approx((MPP_X, MPP_Y))


@pytest.mark.parametrize("says_its_size", [True, False])
def test_another_section_of_the_case_is_not_stretched(tmp_path, says_its_size):
    path = tmp_path / "he.ome.tif"
    stated = ome_metadata(MPP_X, MPP_Y) if says_its_size else {"axes": "YXS"}
    write_ome(path, np.full((800, 600, 3), 200, np.uint8), metadata=stated)
    height, width = plain_picture(path, max_side_px=300).shape[:2]
    expected = 800 * MPP_Y / (600 * MPP_X) if says_its_size else 800 / 600
    assert height / width == pytest.approx(expected, rel=0.01)
    assert max(height, width) == 300
