"""`pdl1quant inspect`: what it finds, and how it says it."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

import slide_files
from pdl1quant import console_inspect, inspection, pipeline
from pdl1quant.cli import main
from pdl1quant.config import load_config
from pdl1quant.inspection import inspect_slide
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

CONFIG = load_config(None, ["nuclei.segmenter=watershed"])


@pytest.fixture(scope="module")
def tissue_rgb():
    return render_phantom(PhantomSettings(size_px=512, mpp=0.5), seed=3).rgb


@pytest.fixture(scope="module")
def half_glass(tissue_rgb, tmp_path_factory):
    """1024 x 512 px at 0.5 um: tissue on the left half, glass on the right."""
    rgb = np.full((512, 1024, 3), 243, np.uint8)
    rgb[:, :512] = tissue_rgb
    path = tmp_path_factory.mktemp("slides") / "half.ome.tif"
    slide_files.write_ome(path, rgb, metadata=slide_files.ome_metadata(mpp_x=0.5), lossless=True)
    return path


@pytest.fixture
def run(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["inspect", *(str(each) for each in arguments), "--set", "nuclei.segmenter=watershed"])
        output = capsys.readouterr()
        return exit_.value.code, output.out, output.err

    return call


# --- what it finds ---------------------------------------------------------------------------------------------------
def test_small_image_has_the_estimate_of_its_score(tissue_rgb, tmp_path):
    Image.fromarray(tissue_rgb).save(tmp_path / "tile.png")
    found = inspect_slide(tmp_path / "tile.png", config=CONFIG, mpp=0.5)
    sample = pipeline.sample_image(tissue_rgb, mpp=0.5, config=CONFIG)
    assert found.staining.estimate == pipeline.estimate_case([sample], config=CONFIG)
    assert 0.9 < found.tissue_share < 1  # some lumen
    assert (found.vendor, found.mpp_source, found.remarks) == ("png", "given", ())


def test_half_of_a_half_glass_slide_is_tissue(half_glass, tissue_rgb, tmp_path):
    Image.fromarray(tissue_rgb).save(tmp_path / "tile.png")
    share = inspect_slide(tmp_path / "tile.png", config=CONFIG, mpp=0.5).tissue_share / 2
    found = inspect_slide(half_glass, config=CONFIG)
    assert found.tissue_share == pytest.approx(share, abs=0.02)  # smoothing moves the edge by a few um
    assert found.tissue_mm2 == pytest.approx(found.tissue_share * 0.512 * 0.256)
    assert found.staining.estimate.white_source == "glass"
    assert found.staining.estimate.white == pytest.approx((243, 243, 243), abs=1)


def test_windows_of_a_large_slide_tell_its_stains(half_glass, monkeypatch):
    whole = inspect_slide(half_glass, config=CONFIG)
    monkeypatch.setattr(inspection, "SMALL_PX", 100_000)
    sampled = inspect_slide(half_glass, config=CONFIG)
    assert sampled.tissue_share == pytest.approx(whole.tissue_share, abs=0.03)
    for stain in ("haematoxylin", "dab"):
        one, other = (np.asarray(getattr(found.staining.estimate, stain)) for found in (whole, sampled))
        assert np.rad2deg(np.arccos(min(1.0, one @ other))) < 3
    assert sampled.staining.estimate.white == pytest.approx(whole.staining.estimate.white, abs=1)


def test_slide_without_small_levels_says_what_is_not_estimated(half_glass, monkeypatch):
    monkeypatch.setattr(inspection, "SMALL_PX", 100_000)
    monkeypatch.setattr(inspection, "MAX_DECODED_PX", 1000)
    found = inspect_slide(half_glass, config=CONFIG)
    assert (found.tissue_share, found.tissue_mm2, found.effort) == (None, None, None)
    assert found.staining is not None
    assert found.remarks == ("no level of low resolution: tissue share and time are not estimated",)


def test_swatches_are_blue_and_brown(half_glass):
    staining = inspect_slide(half_glass, config=CONFIG).staining
    red, _, blue = staining.haematoxylin_rgb
    assert blue > red
    red, _, blue = staining.dab_rgb
    assert red > blue


def test_memory_is_that_of_a_tile_where_the_slide_is_larger(half_glass, monkeypatch):
    whole = inspect_slide(half_glass, config=CONFIG).effort
    monkeypatch.setattr(inspection, "TILE_PX", {CONFIG.nuclei.segmenter: 100})
    in_tiles = inspect_slide(half_glass, config=CONFIG).effort
    assert in_tiles.memory_mb < whole.memory_mb


def test_a_thin_needle_core_is_inspected(tissue_rgb, tmp_path):
    rgb = np.full((2048, 4400, 3), 243, np.uint8)
    rgb[900:1020, :4096] = np.tile(tissue_rgb[:120], (1, 8, 1))
    slide_files.write_ome(tmp_path / "needle.ome.tif", rgb, metadata=slide_files.ome_metadata(0.5), downsamples=(16,))
    found = inspect_slide(tmp_path / "needle.ome.tif", config=CONFIG)
    assert found.staining.estimate.white_source == "glass"
    assert found.effort.seconds > 0
    assert found.remarks == ()


def test_a_slide_takes_its_start_and_an_image_its_pixels(half_glass, tissue_rgb, tmp_path):
    Image.fromarray(tissue_rgb).save(tmp_path / "tile.png")
    image = inspect_slide(tmp_path / "tile.png", config=CONFIG, mpp=0.5).effort
    slide = inspect_slide(half_glass, config=CONFIG).effort
    assert 0 < image.seconds < inspection.SLIDE_START_S < slide.seconds


def test_other_stains_are_named(tmp_path):
    pink = np.full((400, 400, 3), 240, np.uint8)
    pink[100:300, 100:300] = (230, 120, 190)
    Image.fromarray(pink).save(tmp_path / "he.png")
    found = inspect_slide(tmp_path / "he.png", config=CONFIG, mpp=0.5)
    assert found.staining is None
    assert "not haematoxylin and DAB" in found.remarks[0]


# --- how it says it --------------------------------------------------------------------------------------------------
def test_slide_is_told_in_lines(run, half_glass):
    code, output, errors = run(half_glass)
    assert (code, errors) == (0, "")
    for line in (
        r"format +ome-tiff",
        r"size +1,024 x 512 px, 0.512 x 0.256 mm",
        r"levels +1024 x 512 \(1:1\), 512 x 256 \(1:2\), 256 x 128 \(1:4\)",
        r"pixel size +0.5 um \(metadata\)",
        r"objective +not stated",
        r"white +243, 243, 243 \(glass\)",
        r"haematoxylin +0\.\d{3}, 0\.\d{3}, 0\.\d{3}  \(rgb ",
        r"tissue +\d\d % of the slide, .* \(estimate\)",
        r"time +about .* \(estimate\)",
        r"memory +about .* a worker \(estimate\)",
    ):
        assert re.search(line, output), line
    assert "\x1b" not in output  # no colours where no terminal is


def test_terminal_shows_the_stains_in_colour(half_glass):
    lines = "\n".join(console_inspect.text_lines(inspect_slide(half_glass, config=CONFIG)))
    assert len(re.findall(r"\x1b\[48;2;\d+;\d+;\d+m", lines)) == 2


def test_json_holds_a_row_for_each_file(run, half_glass, tmp_path):
    code, output, errors = run(half_glass, tmp_path / "none.svs", "--json")
    first, second = json.loads(output)
    assert code == 1
    assert errors == "pdl1quant: none.svs: no such file; check the path\n"
    assert (first["width"], first["height"], first["mpp_x"], first["error"]) == (1024, 512, 0.5, "")
    assert first["levels"][2] == {"width": 256, "height": 128, "downsample_x": 4.0, "downsample_y": 4.0}
    assert len(first["staining"]["estimate"]["dab"]) == 3
    assert second["error"] == "none.svs: no such file; check the path"


def test_a_name_that_is_no_text_is_printed(run, tmp_path):
    path = tmp_path / os.fsdecode(b"gr\xfcn.png")
    Image.fromarray(slide_files.picture(60, 40)).save(path)
    code, output, _ = run(path, "--mpp", 0.5)
    assert code == 0
    assert output.startswith(str(tmp_path))


def test_file_that_cannot_be_read_does_not_stop_the_others(run, half_glass, tmp_path):
    (tmp_path / "text.svs").write_text("no slide")
    code, output, errors = run(tmp_path / "text.svs", half_glass)
    assert code == 1
    assert errors.startswith("pdl1quant: text.svs: not a slide")
    assert "ome-tiff" in output


@pytest.mark.parametrize(
    ("downsamples", "mpp", "means"),
    [
        ((2, 4), 0.5, "the score will be partial"),
        ((2, 4), 0.25, "not needed for the score"),
        ((), 0.5, "it will not be scored"),
    ],
)
def test_damage_is_listed_with_what_it_does(run, tmp_path, downsamples, mpp, means):
    import tifffile

    rgb = slide_files.picture(600, 400)
    slide_files.write_pages(tmp_path / "slide.tif", rgb, downsamples=downsamples, resolution=10_000 / mpp)
    with tifffile.TiffFile(tmp_path / "slide.tif", mode="r+b") as tiff:
        tiff.pages.first.tags["TileByteCounts"].overwrite((0, *tiff.pages.first.databytecounts[1:]))
    _, output, _ = run(tmp_path / "slide.tif")
    assert f"1 box: {means}" in output
    assert "level 0, 0, 0 to 256, 256: tile not in the file" in output


def test_missing_pixel_size_is_refused_with_the_remedy(run, tmp_path):
    Image.fromarray(slide_files.picture(60, 40)).save(tmp_path / "tile.png")
    code, output, errors = run(tmp_path / "tile.png")
    assert (code, output) == (1, "")
    assert errors == "pdl1quant: tile.png: no pixel size in the file; pass --mpp (um per pixel)\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (3600, "60 min"), (9000, "2.5 h")]
)
def test_durations_are_round(seconds, text):
    assert console_inspect._duration(seconds) == text
