"""Whole slides: one contract for every format that can be written here."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageCms

import slide_files
from pdl1quant.errors import PixelSizeError, UnreadableError, UsageError
from pdl1quant.model import Rect
from pdl1quant.slides.levels import pyramid_levels
from pdl1quant.slides.opening import open_slide
from pdl1quant.slides.pixel_size import StatedSize, resolve_sides
from pdl1quant.slides.raster import Note
from pdl1quant.slides.source import LevelSize

NAMES = list(slide_files.WRITERS)
WIDTH, HEIGHT = 1037, 773
MPPS = (0.2, 0.25, 0.3, 0.37, 0.5, 0.55, 0.83, 1.0, 1.21, 2.6, 4.0, 7.3)
"""Enlarged, as stored, between levels, levels, and far below the coarsest."""


@pytest.fixture(scope="module")
def rgb():
    pixels = slide_files.picture(WIDTH, HEIGHT)
    pixels.setflags(write=False)
    return pixels


@pytest.fixture(scope="module")
def files(rgb, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for name, write in slide_files.WRITERS.items():
        write(folder / name, rgb)
    return folder


@pytest.fixture(scope="module")
def slides(files):
    opened = {name: slide_files.open_with_its_reader(files / name) for name in NAMES}
    yield opened
    for slide in opened.values():
        slide.close()


@pytest.fixture(params=NAMES)
def slide(request, files):
    with slide_files.open_with_its_reader(files / request.param) as opened:
        yield opened


def whole(grid):
    return Rect(x0=0, y0=0, x1=grid.width, y1=grid.height)


# --- what it says of itself ------------------------------------------------------------------------------------------
def test_slide_tells_its_size_and_pixel_size(slide):
    assert (slide.width, slide.height) == (WIDTH, HEIGHT)
    assert (slide.mpp_x, slide.mpp_y) == pytest.approx((slide_files.MPP, slide_files.MPP), rel=1e-5)
    assert slide.mpp_source == "metadata"
    assert slide.damage == ()
    assert slide.notes == ()
    assert slide.icc is None


def test_levels_begin_with_the_finest_and_shrink_by_whole_numbers(slide):
    assert (slide.levels[0].downsample_x, slide.levels[0].downsample_y) == (1, 1)
    for level in slide.levels:
        assert (level.width, level.height) == (WIDTH // level.downsample_x, HEIGHT // level.downsample_y)
        assert level.downsample_x == level.downsample_y


@pytest.mark.parametrize(
    ("name", "vendor", "n_levels", "objective"),
    [
        ("ome_jpeg.ome.tif", "ome-tiff", 3, None),
        ("ome_planes.ome.tif", "ome-tiff", 2, None),
        ("pages.tif", "tiff", 3, None),
        ("single.tif", "tiff", 1, None),
        ("aperio.svs", "aperio", 2, 40.0),
        ("openslide.svs", "aperio", 2, 40.0),
        ("leica.scn", "leica", 2, 40.0),
        ("v2.zarr", "ome-zarr", 3, None),
        ("v3.zarr", "ome-zarr", 3, None),
        ("dicom.dcm", "dicom", 1, 40.0),
        ("tile.png", "png", 1, None),
    ],
)
def test_format_is_told_by_its_bytes(slides, name, vendor, n_levels, objective):
    slide = slides[name]
    assert (slide.vendor, len(slide.levels), slide.objective) == (vendor, n_levels, objective)


def test_given_pixel_size_wins_and_is_noted(files):
    with open_slide(files / "pages.tif", mpp=0.5) as slide:
        assert (slide.mpp_x, slide.mpp_y, slide.mpp_source) == (0.5, 0.5, "given")
        assert slide.notes == (Note.MPP_OVERRIDDEN,)


def test_colour_profile_is_named_and_not_applied(tmp_path, rgb):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    slide_files.write_pages(tmp_path / "slide.tif", rgb, lossless=True, iccprofile=profile)
    with open_slide(tmp_path / "slide.tif") as slide:
        assert "sRGB" in slide.icc
        assert slide.notes == (Note.ICC_IGNORED,)
        assert np.array_equal(slide.read_region(Rect(x0=0, y0=0, x1=50, y1=40)), rgb[:40, :50])


# --- pixels ----------------------------------------------------------------------------------------------------------
def test_level_0_holds_the_picture(slide, rgb):
    seen = slide.read_region(Rect(x0=0, y0=0, x1=WIDTH, y1=HEIGHT))
    assert seen.dtype == np.uint8
    assert seen.shape == rgb.shape
    if slide.path.name in slide_files.LOSSY:
        assert np.abs(seen.astype(int) - rgb).mean() < 2  # JPEG of quality 95
    else:
        assert np.array_equal(seen, rgb)


def test_whole_downsample_is_the_mean_of_whole_pixels(slide, rgb):
    """As for a plain image: `INTER_AREA`; where a level is stored, it was made the same way."""
    seen = slide.read_region(Rect(x0=0, y0=0, x1=1036, y1=772), mpp=1.0)
    wanted = cv2.resize(rgb[:772, :1036], (259, 193), interpolation=cv2.INTER_AREA)
    if slide.path.name in slide_files.LOSSY:
        assert np.abs(seen.astype(int) - wanted).mean() < 3  # the level's own JPEG; discs are few pixels wide
    elif len(slide.levels) == 1:
        assert np.array_equal(seen, wanted)
    else:
        assert np.abs(seen.astype(int) - wanted).max() <= 1


@settings(max_examples=60)
@given(data=st.data(), name=st.sampled_from(NAMES), mpp=st.sampled_from(MPPS) | st.floats(0.15, 9))
def test_pixel_has_one_value_in_whatever_window_it_is_read(slides, data, name, mpp):
    slide = slides[name]
    grid = slide.grid(mpp)
    first, second = (data.draw(windows(grid)) for _ in range(2))
    both = Rect(
        x0=min(first.x0, second.x0),
        y0=min(first.y0, second.y0),
        x1=max(first.x1, second.x1),
        y1=max(first.y1, second.y1),
    )
    frame = slide.read(both, grid).rgb
    for window in (first, second):
        cut = frame[window.y0 - both.y0 : window.y1 - both.y0, window.x0 - both.x0 : window.x1 - both.x0]
        assert np.array_equal(slide.read(window, grid).rgb, cut)


@st.composite
def windows(draw, grid):
    x0, y0 = draw(st.integers(-20, grid.width + 5)), draw(st.integers(-20, grid.height + 5))
    return Rect(x0=x0, y0=y0, x1=x0 + draw(st.integers(1, 300)), y1=y0 + draw(st.integers(1, 300)))


@pytest.mark.parametrize("mpp", MPPS)
def test_a_disc_stays_in_its_place_on_every_grid(tmp_path, mpp):
    """Within 0.1 stored pixels: 1/32 px of rounding, and 8-bit grey levels."""
    y, x = np.mgrid[:600, :800]
    centre_x_um, centre_y_um = 100.125, 71.375  # from the slide's corner; pixel centres lie at (i + 0.5) * mpp
    away = np.hypot((x + 0.5) * 0.25 - centre_x_um, (y + 0.5) * 0.25 - centre_y_um)
    grey = np.rint(240 - 200 / (1 + np.exp((away - 30) / 2)))[..., None].repeat(3, axis=2)
    grey[..., 2] -= 20
    slide_files.write_ome(tmp_path / "disc.ome.tif", grey.astype(np.uint8), lossless=True)
    with open_slide(tmp_path / "disc.ome.tif") as slide:
        grid = slide.grid(mpp)
        ink = 240.0 - slide.read(whole(grid), grid).rgb[..., 0]
        stored_um = 0.25 * slide.levels[grid.level].downsample_x
    found_x_um = (ink.sum(axis=0) @ (np.arange(grid.width) + 0.5)) / ink.sum() * grid.downsample_x * 0.25
    found_y_um = (ink.sum(axis=1) @ (np.arange(grid.height) + 0.5)) / ink.sum() * grid.downsample_y * 0.25
    assert (found_x_um, found_y_um) == pytest.approx((centre_x_um, centre_y_um), abs=0.1 * stored_um)


def test_pixels_that_are_not_square_become_square(tmp_path, rgb):
    squeezed = cv2.resize(rgb, (WIDTH // 2, HEIGHT), interpolation=cv2.INTER_AREA)
    metadata = slide_files.ome_metadata(mpp_x=0.4, mpp_y=0.25)
    slide_files.write_ome(tmp_path / "slide.ome.tif", squeezed, metadata=metadata, lossless=True)
    with open_slide(tmp_path / "slide.ome.tif") as slide:
        assert (slide.mpp_x, slide.mpp_y) == (0.4, 0.25)
        grid = slide.grid(0.5)
        assert (grid.downsample_x, grid.downsample_y) == (1.25, 2.0)
        assert (grid.width, grid.height) == (round(518 / 1.25), round(773 / 2))
        full = slide.read(whole(grid), grid).rgb
        part = slide.read(Rect(x0=33, y0=20, x1=200, y1=151), grid).rgb
    assert np.array_equal(part, full[20:151, 33:200])


def test_beyond_the_border_is_white(slide):
    grid = slide.grid(0.5)
    region = slide.read(Rect(x0=-10, y0=-7, x1=grid.width + 4, y1=grid.height + 3), grid)
    inside = slide.read(whole(grid), grid).rgb
    assert np.array_equal(region.rgb[7:-3, 10:-4], inside)
    outside = region.rgb.copy()
    outside[7:-3, 10:-4] = 255
    assert (outside == 255).all()
    assert (slide.read(Rect(x0=-10, y0=0, x1=-2, y1=5), grid).rgb == 255).all()


def test_large_window_is_made_in_parts_of_the_same_values(slides, monkeypatch):
    slide = slides["ome_lossless.ome.tif"]
    grid = slide.grid(0.37)
    at_once = slide.read(whole(grid), grid).rgb
    monkeypatch.setattr("pdl1quant.slides.pyramid.BLOCK_PX", 100)
    assert np.array_equal(slide.read(whole(grid), grid).rgb, at_once)


def test_two_readers_of_one_file_see_the_same_pixels(slides):
    window = Rect(x0=200, y0=150, x1=900, y1=700)
    seen = [slides[name].read_region(window).astype(int) for name in ("aperio.svs", "openslide.svs")]
    assert np.abs(seen[0] - seen[1]).max() <= 1


def test_what_a_reader_does_to_its_window_stays_with_it(slide):
    window = Rect(x0=0, y0=0, x1=40, y1=30)
    first = slide.read_region(window)
    kept = first.copy()
    first[...] = 0
    assert np.array_equal(slide.read_region(window), kept)


def test_transparent_pixels_lie_on_white(tmp_path, rgb):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:, :300] = 0
    rgba = np.concatenate([rgb, alpha], axis=2)
    slide_files.write_pages(tmp_path / "slide.tif", rgba, downsamples=(), lossless=True, extrasamples=["unassalpha"])
    with open_slide(tmp_path / "slide.tif") as slide:
        seen = slide.read_region(Rect(x0=0, y0=0, x1=WIDTH, y1=HEIGHT))
    assert (seen[:, :300] == 255).all()
    assert np.array_equal(seen[:, 300:], rgb[:, 300:])


# --- grids -----------------------------------------------------------------------------------------------------------
def test_level_within_a_hundredth_is_taken_as_it_is(slides):
    grid = slides["pages.tif"].grid(0.504)
    assert (grid.level, grid.mpp, grid.downsample_x) == (1, pytest.approx(0.5), 2.0)


def test_coarsest_level_that_is_fine_enough_is_resampled(slides):
    slide = slides["pages.tif"]
    assert [slide.grid(mpp).level for mpp in (0.2, 0.4, 0.6, 0.9, 1.1, 50)] == [0, 0, 1, 1, 2, 2]


def test_grid_and_level_0_pixels_are_the_same_places(slides):
    grid = slides["single.tif"].grid(0.75)
    assert grid.to_level0(Rect(x0=1, y0=2, x1=4, y1=5)) == Rect(x0=3, y0=6, x1=12, y1=15)
    assert grid.covering(Rect(x0=3, y0=6, x1=12, y1=15)) == Rect(x0=1, y0=2, x1=4, y1=5)
    assert grid.covering(Rect(x0=4, y0=6, x1=13, y1=15)) == Rect(x0=1, y0=2, x1=5, y1=5)


@pytest.mark.parametrize("mpp", [0.0, -1.0, float("nan"), float("inf")])
def test_senseless_pixel_size_of_a_grid_is_refused(slides, mpp):
    with pytest.raises(UsageError, match="positive number"):
        slides["single.tif"].grid(mpp)


def test_empty_window_is_refused(slides):
    slide = slides["single.tif"]
    with pytest.raises(UsageError, match="at least one"):
        slide.read(Rect(x0=5, y0=5, x1=5, y1=9), slide.grid())


# --- threads, processes, closing -------------------------------------------------------------------------------------
def test_threads_read_what_one_thread_reads(slide):
    grid = slide.grid(0.6)
    rects = [Rect(x0=x, y0=y, x1=x + 90, y1=y + 80) for x in range(0, 300, 60) for y in range(0, 240, 60)]
    one_by_one = [slide.read(rect, grid).rgb for rect in rects]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda rect: slide.read(rect, grid).rgb, rects))
    assert all(np.array_equal(a, b) for a, b in zip(one_by_one, at_once, strict=True))


def test_slide_is_sent_as_its_path_and_opened_again(slide):
    copy = pickle.loads(pickle.dumps(slide))  # noqa: S301  our own bytes
    window = Rect(x0=100, y0=100, x1=160, y1=150)
    with copy:
        assert (copy.path, copy.mpp_x) == (slide.path, slide.mpp_x)
        assert np.array_equal(copy.read_region(window, mpp=0.4), slide.read_region(window, mpp=0.4))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", ["openslide.svs", "ome_jpeg.ome.tif"])
def test_forked_process_opens_the_file_for_itself(slides, name):
    slide = slides[name]
    window = Rect(x0=0, y0=0, x1=200, y1=150)
    here = slide.read_region(window, mpp=0.5)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        there = pool.map(_read_in_a_fork, [(slide, window)] * 4)
    assert all(np.array_equal(here, each) for each in there)


def _read_in_a_fork(task):
    slide, window = task
    return slide.read_region(window, mpp=0.5)


def test_closed_slide_says_so(files):
    slide = open_slide(files / "pages.tif")
    slide.close()
    slide.close()
    with pytest.raises(UsageError, match="closed"):
        slide.read_region(Rect(x0=0, y0=0, x1=5, y1=5))


def test_dicom_folder_is_read_by_wsidicom_alike(tmp_path, rgb):
    (tmp_path / "study").mkdir()
    slide_files.write_dicom(tmp_path / "study" / "level_0.dcm", rgb)
    with open_slide(tmp_path / "study") as slide:
        assert (slide.vendor, slide.objective, slide.mpp_x) == ("dicom", 40.0, pytest.approx(0.25))
        assert np.array_equal(slide.read_region(Rect(x0=0, y0=0, x1=WIDTH, y1=HEIGHT)), rgb)


# --- parts -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("full", "size", "downsample"),
    [
        ((1001, 801), (500, 400), (2, 2)),  # rounded down
        ((1001, 801), (501, 401), (2, 2)),  # rounded up
        ((46000, 32914), (11500, 8229), (4, 4)),  # 4.0000, 3.9998
        ((1000, 800), (667, 533), (1000 / 667, 800 / 533)),  # no whole number
        ((5, 7), (2, 4), (2, 2)),  # one down, one up
    ],
)
def test_downsample_is_the_whole_number_that_explains_the_size(full, size, downsample):
    sizes = [LevelSize(width=width, height=height) for width, height in (full, size)]
    level = pyramid_levels("slide.tif", sizes)[1]
    assert (level.downsample_x, level.downsample_y) == pytest.approx(downsample)


@pytest.mark.parametrize(
    ("sizes", "hint"),
    [
        ([], "no image in it"),
        ([(0, 100)], "level 0 is 0 x 100 pixels"),
        ([(400, 300), (200, 0)], "level 1 is 200 x 0 pixels"),
        ([(400, 300), (800, 600)], "level 1 of 800 x 600 pixels does not fit 400 x 300"),
        ([(400, 300), (200, 100)], "level 1 of 200 x 100 pixels does not fit 400 x 300"),
        ([(400, 300), (100, 75), (200, 150)], "level 2 of 200 x 150"),
    ],
)
def test_levels_that_are_not_one_picture_are_refused(sizes, hint):
    with pytest.raises(UnreadableError, match=hint):
        pyramid_levels("slide.tif", [LevelSize(width=width, height=height) for width, height in sizes])


def test_sides_may_differ_up_to_twofold():
    sides = resolve_sides("slide.tif", StatedSize(x_um=0.5, y_um=0.25), given=None)
    assert (sides.x_um, sides.y_um, sides.source) == (0.5, 0.25, "metadata")
    with pytest.raises(PixelSizeError, match="no shape of a pixel; pass --mpp"):
        resolve_sides("slide.tif", StatedSize(x_um=0.6, y_um=0.25), given=None)


@pytest.mark.parametrize(("y_um", "contradicts"), [(0.25, True), (0.5, False)])
def test_a_given_size_contradicts_pixels_that_are_not_square(y_um, contradicts):
    stated = StatedSize(x_um=0.5, y_um=y_um)
    sides = resolve_sides("slide.tif", stated, given=stated.mean_um)
    assert (sides.x_um, sides.y_um, sides.overridden) == (stated.mean_um, stated.mean_um, contradicts)


def test_level_of_fractional_downsample_is_seam_exact_in_openslide(tmp_path):
    """OpenSlide's own windows shift by parts of a pixel there: 4.0013 is no whole number."""
    rgb = slide_files.picture(1500, 770)
    slide_files.write_svs(tmp_path / "openslide.svs", rgb, downsamples=(4,))
    with slide_files.open_with_its_reader(tmp_path / "openslide.svs") as slide:
        source = slide._source()
        assert source._downsamples[1] != round(source._downsamples[1])
        grid = slide.grid(1.0)
        assert grid.level == 1
        full = slide.read(whole(grid), grid).rgb
        for x0 in range(0, 200, 37):
            window = Rect(x0=x0, y0=x0 // 2, x1=x0 + 90, y1=x0 // 2 + 80)
            cut = full[window.y0 : window.y1, window.x0 : window.x1]
            assert np.array_equal(slide.read(window, grid).rgb, cut)
    assert np.abs(full.astype(int) - slide_files.reduced(rgb, 4)).mean() < 3
