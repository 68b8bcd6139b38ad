"""Damage that decodes: found where the overview shows something else, and never on a sound slide."""

import io
from functools import cache

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import phantom_slides
import slide_files
from pdl1quant.model import Rect
from pdl1quant.slides.opening import open_slide
from pdl1quant.whole_slides.disagreement import read_measured

SIDE, STEP = 1024, 16
LOST = Rect(x0=256, y0=512, x1=512, y1=768)


def blocks(random):
    """Sharp edges everywhere."""
    rgb = np.full((SIDE, SIDE, 3), 245, np.uint8)
    for _ in range(110):
        x, y, width, height = (*random.integers(0, SIDE, 2), *random.integers(3, 400, 2))
        rgb[y : y + height, x : x + width] = random.integers(0, 256, 3)
    return rgb


def discs(random):
    rgb = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for number in range(90):
        x, y, radius = (*random.integers(0, SIDE, 2), random.integers(3, 160))
        cv2.circle(rgb, (int(x), int(y)), int(radius), (255 * (number % 2),) * 3, -1)
    return rgb


def stripes(_):
    lines = np.indices((SIDE, SIDE)).sum(0)[..., None] // 2 % 2 * 255
    return np.repeat(lines.astype(np.uint8), 3, axis=2)


def grains(random):
    return np.repeat(random.integers(0, 2, (SIDE, SIDE, 1), np.uint8) * np.uint8(255), 3, axis=2)


@cache
def rendered():
    return phantom_slides.tissue(SIDE, SIDE)


def tissue(_):
    return rendered()


def resized(how):
    return lambda rgb: cv2.resize(rgb, (SIDE // STEP,) * 2, interpolation=how)


def as_jpeg(rgb):
    stream = io.BytesIO()
    Image.fromarray(resized(cv2.INTER_AREA)(rgb)).save(stream, "JPEG", quality=40)
    return np.asarray(Image.open(stream))


def changed(change):
    def make(rgb):
        return np.clip(change(resized(cv2.INTER_AREA)(rgb).astype(np.float32)), 0, 255).astype(np.uint8)

    return make


def aside(by):
    return changed(lambda small: np.pad(small, ((by, 0), (by, 0), (0, 0)), mode="edge")[:-by, :-by])


WAYS = {
    "means": resized(cv2.INTER_AREA),
    "first of each block": lambda rgb: rgb[::STEP, ::STEP],
    "middle of each block": lambda rgb: rgb[STEP // 2 :: STEP, STEP // 2 :: STEP],
    "last of each block": lambda rgb: rgb[STEP - 1 :: STEP, STEP - 1 :: STEP],
    "linear": resized(cv2.INTER_LINEAR),
    "cubic": resized(cv2.INTER_CUBIC),
    "lanczos": resized(cv2.INTER_LANCZOS4),
    "jpeg": as_jpeg,
    "blurred": changed(lambda small: cv2.GaussianBlur(small, (0, 0), 1.5)),
    "sharpened": changed(lambda small: 1.8 * small - 0.8 * cv2.GaussianBlur(small, (0, 0), 1.5)),
    "brighter": changed(lambda small: 1.08 * small),
    "darker": changed(lambda small: 0.92 * small),
    "other gamma": changed(lambda small: 255 * (small / 255) ** 1.2),
    "brighter by a fifth": changed(lambda small: 1.2 * small),
    "darker by a fifth": changed(lambda small: 0.8 * small),
    "a pixel aside": aside(1),
    "four pixels aside": aside(4),
}


def write(path, rgb, small, *, lost=None):
    """A pyramid of three levels, of which the finest shows something else at ``LOST``."""
    fine = rgb.copy()
    if lost is not None:
        LOST.of(fine)[...] = lost
    options = slide_files.tiff_options(lossless=True, metadata=None, resolutionunit="CENTIMETER")
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(fine, resolution=(20_000, 20_000), **options)
        for level in (slide_files.reduced(rgb, 4), np.ascontiguousarray(small)):
            size = 20_000 * level.shape[1] / SIDE
            tiff.write(level, subfiletype=1, resolution=(size, size), **options)
    return path


def read_all(path):
    with open_slide(path) as slide:
        grid = slide.grid(0.5)
        assert slide.grid(8.0).level == len(slide.levels) - 1
        return read_measured(slide, Rect(x0=0, y0=0, x1=grid.width, y1=grid.height), grid, compare=True)


@pytest.mark.parametrize(
    ("picture", "way"),
    [*((tissue, way) for way in WAYS)]
    + [(picture, way) for picture in (blocks, discs, stripes, grains) for way in ("first of each block", "sharpened")],
)
def test_levels_of_sound_slides_agree_however_they_were_made(tmp_path, picture, way):
    rgb = picture(np.random.default_rng(3))
    region = read_all(write(tmp_path / "slide.tif", rgb, WAYS[way](rgb)))
    assert region.damage == ()
    assert np.array_equal(region.rgb, rgb)


@pytest.mark.parametrize("window", [Rect(x0=140, y0=300, x1=930, y1=911), Rect(x0=0, y0=0, x1=SIDE, y1=SIDE)])
@pytest.mark.parametrize("lost", [0, 128, 255, "elsewhere"])
def test_a_tile_that_shows_something_else_is_listed_and_white(tmp_path, window, lost):
    rgb = tissue(None)
    other = phantom_slides.glass(256, 256) if lost == "elsewhere" else lost
    path = write(tmp_path / "slide.tif", rgb, WAYS["middle of each block"](rgb), lost=other)
    with open_slide(path) as slide:
        region = read_measured(slide, window, slide.grid(0.5), compare=True)
    rgb, box = rgb.copy(), LOST
    box.of(rgb)[...] = other
    boxes = [each.rect for each in region.damage]
    assert {each.reason for each in region.damage} == {"levels 0 and 2 show different pictures there"}
    listed = np.zeros((SIDE, SIDE), bool)
    for box in boxes:
        box.of(listed)[...] = True
    assert LOST.of(listed).mean() > 0.85
    assert listed.sum() < 4 * LOST.width * LOST.height
    assert (region.rgb[window.of(listed)] == 255).all()
    assert np.array_equal(region.rgb[~window.of(listed)], window.of(rgb)[~window.of(listed)])


@pytest.mark.parametrize("fill", [(0, 255), (255, 0), (0, 243)])
def test_what_was_not_scanned_may_be_black_in_one_level_and_white_in_the_other(tmp_path, fill):
    rgb = tissue(None).copy()
    there = np.zeros((SIDE, SIDE), bool)
    there[:, 390:] = True
    there[700:, 600:] = False
    small = WAYS["means"](rgb)
    rgb[there], small[there[::STEP, ::STEP]] = fill
    assert read_all(write(tmp_path / "slide.tif", rgb, small)).damage == ()


@pytest.mark.parametrize("mpp", [0.5, 0.53])
def test_what_is_said_of_a_place_does_not_depend_on_the_window(tmp_path, mpp):
    rgb = tissue(None)
    path = write(tmp_path / "slide.tif", rgb, WAYS["means"](rgb), lost=0)
    with open_slide(path) as slide:
        grid = slide.grid(mpp)
        whole = read_measured(slide, Rect(x0=0, y0=0, x1=grid.width, y1=grid.height), grid, compare=True)
        assert whole.damage
        for side in (128, 200, 512):
            for y0 in range(0, grid.height, side):
                for x0 in range(0, grid.width, side):
                    window = Rect(x0=x0, y0=y0, x1=min(x0 + side, grid.width), y1=min(y0 + side, grid.height))
                    assert np.array_equal(read_measured(slide, window, grid, compare=True).rgb, window.of(whole.rgb))


def test_a_slide_of_one_level_is_read_as_it_is(tmp_path):
    rgb = tissue(None)
    slide_files.write_pages(tmp_path / "slide.tif", rgb, downsamples=(), resolution=20_000, lossless=True)
    assert read_all(tmp_path / "slide.tif").damage == ()


def test_damage_that_is_known_is_not_listed_twice(tmp_path):
    rgb = tissue(None)
    path = write(tmp_path / "slide.tif", rgb, WAYS["means"](rgb))
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = tiff.pages[0].tags["TileByteCounts"]
        counts.overwrite([0 if number == 9 else count for number, count in enumerate(counts.value)])
    assert {each.reason for each in read_all(path).damage} == {"tile not in the file"}
