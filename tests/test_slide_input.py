"""Bad and odd slides from file to row: named, refused, or scored as what they are; never a silent white tile."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as PillowImage

import phantom_slides
import slide_files
from batch_runs import rows_of, run
from pdl1quant.config import load_config
from pdl1quant.model import Status
from pdl1quant.outputs.reviewed import read_reviewed
from pdl1quant.outputs.tables import read_cells
from pdl1quant.review import rescore
from pdl1quant.slides import opening
from pdl1quant.slides.opening import is_whole_slide

CONFIG = load_config(None, ["nuclei.segmenter=watershed", "tiling.tile_px=512", "tiling.outlines=false"])


@pytest.fixture(scope="module")
def image():
    return phantom_slides.slide_image(1500, 1400)


def write_levels(path, *levels):
    """Each level as it is given."""
    options = slide_files.tiff_options(lossless=True, metadata=None, resolutionunit="CENTIMETER")
    with tifffile.TiffWriter(path) as tiff:
        for number, level in enumerate(levels):
            size = 20_000 * level.shape[1] / levels[0].shape[1]
            tiff.write(level, resolution=(size, size), subfiletype=int(number > 0), **options)
    return path


def row_of(path, out):
    run(path, out, config=CONFIG, mpp=None)
    (row,) = rows_of(out, "image")
    return row


@pytest.fixture(scope="module")
def sound(image, tmp_path_factory):
    """The row of the picture on a slide without damage."""
    folder = tmp_path_factory.mktemp("sound")
    return row_of(phantom_slides.write_slide(folder / "slide.tif", image), folder / "out")


def overwrite(path, tag, change, *, page):
    """Change the value of a tag in place."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        found = tiff.pages[page].aspage().tags[tag]
        found.overwrite(change(found.value))


@pytest.mark.parametrize("level", [1, 2])
def test_what_is_damaged_in_a_small_level_is_made_from_a_finer_one_and_said(image, sound, tmp_path, level):
    path = phantom_slides.write_slide(tmp_path / "slide.tif", image)
    overwrite(path, "TileByteCounts", lambda counts: np.zeros_like(counts).tolist(), page=level)
    row = row_of(path, tmp_path / "out")
    assert row.status is Status.PARTIAL
    assert f"level {level} is damaged (tile not in the file)" in row.error
    assert (row.n_cells, row.tps, row.artefact_pct) == (sound.n_cells, sound.tps, sound.artefact_pct)


def test_a_blank_slide_with_a_damaged_small_level_is_blank(tmp_path):
    path = phantom_slides.write_slide(tmp_path / "slide.tif", phantom_slides.glass(900, 800))
    overwrite(path, "TileByteCounts", lambda counts: 0 if isinstance(counts, int) else [0] * len(counts), page=1)
    assert row_of(path, tmp_path / "out").status is Status.NO_TISSUE


def test_a_slide_of_which_no_tile_decodes_has_no_cells_and_says_why(image, tmp_path):
    path = phantom_slides.write_slide(tmp_path / "slide.tif", image)
    with tifffile.TiffFile(path) as tiff:
        places = [each for page in tiff.pages for each in zip(page.dataoffsets, page.databytecounts, strict=True)]
    with path.open("r+b") as stream:
        for offset, count in places:
            stream.seek(offset)
            stream.write(bytes(count))
    row = row_of(path, tmp_path / "out")
    assert row.status in (Status.PARTIAL, Status.FAILED, Status.REFUSED)
    assert "does not decode" in row.error
    assert row.tps is None


def test_a_pyramid_with_an_empty_level_is_no_plain_image(image, tmp_path):
    path = phantom_slides.write_slide(tmp_path / "slide.tif", image)
    overwrite(path, "ImageWidth", lambda _: 0, page=1)
    row = row_of(path, tmp_path / "out")
    assert row.status is Status.FAILED
    assert "level 1 is 0 x 350 pixels" in row.error


def test_tiled_pages_of_one_size_are_no_levels(image, tmp_path):
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as tiff:
        for _ in range(3):
            tiff.write(image, tile=(256, 256), photometric="rgb", metadata=None)
    assert not is_whole_slide(path)
    assert is_whole_slide(phantom_slides.write_slide(tmp_path / "slide.tif", image))


@pytest.mark.parametrize("shown", ["white", "mirrored"])
def test_a_level_that_shows_another_picture_is_refused(image, tmp_path, shown):
    small = slide_files.reduced(image, 16)
    other = np.full_like(small, 243) if shown == "white" else np.ascontiguousarray(small[:, ::-1])
    row = row_of(write_levels(tmp_path / "slide.tif", image, slide_files.reduced(image, 4), other), tmp_path / "out")
    assert row.status is Status.FAILED
    assert "different pictures" in row.error
    assert row.tps is None


@pytest.mark.parametrize("segmenter", ["watershed", "network"])
@pytest.mark.parametrize("compare", [True, False])
def test_a_tile_of_which_the_overview_shows_something_else_is_left_out_where_it_is_asked_for(
    image, tmp_path, segmenter, compare
):
    wanted = [f"nuclei.segmenter={segmenter}", "tiling.outlines=false", f"tiling.compare_levels={compare}".lower()]
    config = load_config(None, wanted)
    spoilt = image.copy()
    spoilt[512:768, 512:768] = 128  # no data of any format say so
    levels = slide_files.reduced(image, 4), slide_files.reduced(image, 16)
    path = write_levels(tmp_path / "slide.tif", spoilt, *levels)
    run(path, tmp_path / "out", config=config, mpp=None)
    (row,) = rows_of(tmp_path / "out", "image")
    assert (row.status is Status.PARTIAL) is compare
    assert ("levels 0 and 2 show different pictures there" in row.error) is compare
    assert row.tps is not None


def test_a_slide_without_a_pixel_size_has_no_score(image, tmp_path):
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as tiff:
        for downsample in (1, 4):
            level = slide_files.reduced(image, downsample)
            tiff.write(level, subfiletype=int(downsample > 1), **slide_files.tiff_options(metadata=None))
    row = row_of(path, tmp_path / "out")
    assert row.status in (Status.REFUSED, Status.FAILED)
    assert "--mpp" in row.error


def test_a_region_of_qupath_lies_right_on_a_slide_with_a_larger_ground(image, tmp_path):
    """There it counts from the corner of the scan, which is the first pixel of the same picture as a TIFF."""
    slide_files.write_scn(tmp_path / "slide.scn", image, corner=(1000, 800), ground=(4000, 3200), mpp=0.5)
    slide_files.write_pages(tmp_path / "slide.tif", image, downsamples=(4,), resolution=20_000)
    ring = [[500, 250], [900, 250], [900, 900], [500, 900], [500, 250]]
    properties = {"objectType": "annotation", "classification": {"name": "Tumor"}}
    region = tmp_path / "region.geojson"
    geometry = {"type": "Polygon", "coordinates": [ring]}
    region.write_text(json.dumps({"type": "Feature", "geometry": geometry, "properties": properties}))
    tables = []
    for kind in ("scn", "tif"):
        run(tmp_path / f"slide.{kind}", tmp_path / kind, config=CONFIG, mpp=None, roi=region)
        tables.append(read_cells(tmp_path / kind / "cells" / "slide.parquet"))
    pd.testing.assert_frame_equal(*tables)
    (row,) = rows_of(tmp_path / "scn", "image")
    assert row.n_tumour > 100


def test_a_slide_that_ends_early_is_partial_or_has_no_score(image, tmp_path):
    path = phantom_slides.write_slide(tmp_path / "slide.tif", image)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    row = row_of(path, tmp_path / "out")
    assert row.status in (Status.PARTIAL, Status.REFUSED, Status.FAILED)
    assert row.error


def test_pixels_that_are_not_square_give_the_cells_of_square_ones(image, sound, tmp_path):
    """The same tissue, stored with rows of 0.4 um: within 3 % as many cells, and the TPS within 3 points."""
    tall = cv2.resize(image, (image.shape[1], image.shape[0] * 5 // 4), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / "tall.ome.tif"
    metadata = slide_files.ome_metadata(mpp_x=0.5, mpp_y=0.4)
    slide_files.write_ome(path, tall, metadata=metadata, downsamples=(4,), lossless=True)
    odd = row_of(path, tmp_path / "odd")
    assert odd.n_cells == pytest.approx(sound.n_cells, rel=0.03)
    assert odd.tps == pytest.approx(sound.tps, abs=3)
    cells = read_cells(tmp_path / "odd" / "cells" / "tall.ome.parquet")
    squares = np.zeros((3, 3), int)
    np.add.at(squares, ((cells["y_px"] * 0.4 // 250).astype(int), (cells["x_px"] * 0.5 // 250).astype(int)), 1)
    densities = tifffile.imread(tmp_path / "odd" / "maps" / "tall.ome.ome.tif")[3]
    sides_mm = [np.diff([0, 0.25, 0.5, length]) for length in (0.7, 0.75)]
    assert densities * np.outer(*sides_mm) == pytest.approx(squares, rel=1e-5)
    assert rescore(tmp_path / "odd").n_failed == 0
    (reviewed, _) = read_reviewed(tmp_path / "odd" / "scores_reviewed.csv")
    assert (reviewed.reviewed_tps_low, reviewed.reviewed_tps_high) == (odd.tps_low, odd.tps_high)


def saved_as(name, folder, rgb, mpp):
    """A plain file that states its pixel size."""
    per_cm = 1e4 / mpp
    if name.endswith(".tif"):
        tifffile.imwrite(
            folder / name, rgb, photometric="rgb", resolution=(per_cm, per_cm), resolutionunit="CENTIMETER"
        )
    else:
        PillowImage.fromarray(rgb).save(folder / name, dpi=(2.54 * per_cm, 2.54 * per_cm))
    return folder / name


@pytest.mark.parametrize("name", ["field.png", "field.jpg", "field.tif"])
def test_an_image_too_large_for_one_piece_at_the_working_resolution_is_read_in_tiles(tmp_path, name, monkeypatch):
    monkeypatch.setattr(opening, "MAX_PIECE_PX", 60_000)
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 10)  # Pillow's own limit does not count
    rgb = phantom_slides.glass(200, 150)
    coarse, fine = saved_as(name, tmp_path, rgb, 1.0), saved_as(f"fine_{name}", tmp_path, rgb, 0.5)
    assert is_whole_slide(coarse, working_mpp=0.5)  # 30,000 px as stored, 120,000 at work
    assert not is_whole_slide(coarse, working_mpp=1.0)
    assert not is_whole_slide(coarse)
    assert not is_whole_slide(fine, working_mpp=0.5)
    assert is_whole_slide(fine, mpp=1.0, working_mpp=0.5)
    assert not is_whole_slide(coarse, mpp=0.5, working_mpp=0.5)
    with opening.open_slide(coarse) as slide:
        assert (slide.grid(0.5).width, slide.grid(0.5).height) == (400, 300)


def test_an_image_without_pixel_size_is_no_slide(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MAX_PIECE_PX", 60_000)
    PillowImage.fromarray(phantom_slides.glass(200, 150)).save(tmp_path / "field.png")
    assert not is_whole_slide(tmp_path / "field.png", working_mpp=0.5)
