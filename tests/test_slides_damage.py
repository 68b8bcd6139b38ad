"""Damaged slides: refused in one line, or read with the damaged boxes listed; never a silent white tile."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

import slide_files
from pdl1quant.errors import NotColourError, Pdl1QuantError, PixelSizeError, UnreadableError
from pdl1quant.model import Rect, SlideDamage
from pdl1quant.slides.images import read_image
from pdl1quant.slides.mosaic import boxes_of_tiles
from pdl1quant.slides.opening import is_whole_slide, open_slide
from pdl1quant.slides.source import LevelSize

WIDTH, HEIGHT = 1037, 773
BROKEN = Path(__file__).parents[1] / "sample_slides" / "broken"
TIFFS = (
    "ome_jpeg.ome.tif",
    "ome_lossless.ome.tif",
    "ome_planes.ome.tif",
    "pages.tif",
    "planar.tif",
    "aperio.svs",
    "openslide.svs",
)
SECOND_TILE = Rect(x0=256, y0=0, x1=512, y1=256)
N_COLUMNS = 5


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name, write in slide_files.WRITERS.items():
        write(folder / name, slide_files.picture(WIDTH, HEIGHT))
    return folder


@pytest.fixture
def copied(files, tmp_path):
    def copy(name):
        target = tmp_path / name
        if (files / name).is_dir():
            return Path(shutil.copytree(files / name, target))
        return Path(shutil.copy(files / name, target))

    return copy


def page_of(tiff, level):
    return tiff.series[0].levels[level].pages[0].aspage()


def overwrite(path, tag, change, *, level=0):
    """Change the value of a tag in place."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        found = page_of(tiff, level).tags[tag]
        found.overwrite(change(found.value))


def without_tile(path, index, *, level=0):
    def zero(values):
        return tuple(0 if number == index else value for number, value in enumerate(values))

    overwrite(path, "TileByteCounts", zero, level=level)


def spoil_tile(path, index, change):
    """Replace the bytes of a tile by others, as many."""
    with tifffile.TiffFile(path) as tiff:
        page = page_of(tiff, 0)
        offset, count = page.dataoffsets[index], page.databytecounts[index]
    with path.open("r+b") as stream:
        stream.seek(offset)
        data = stream.read(count)
        stream.seek(offset)
        stream.write(change(data)[:count].ljust(count, b"\0"))


def read_all(slide, mpp=None):
    grid = slide.grid(mpp)
    return slide.read(Rect(x0=0, y0=0, x1=grid.width, y1=grid.height), grid)


# --- tiles -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", TIFFS)
def test_tile_of_no_bytes_is_known_at_once_and_listed_where_it_is_read(copied, files, name):
    path = copied(name)
    without_tile(path, 1)
    with slide_files.open_with_its_reader(path) as slide, slide_files.open_with_its_reader(files / name) as sound:
        assert slide.damage == (SlideDamage(rect=SECOND_TILE, level=0, reason="tile not in the file"),)
        seen, wanted = read_all(slide), read_all(sound)
        assert seen.damage == slide.damage
        outside = np.ones((HEIGHT, WIDTH), bool)
        outside[:256, 256:512] = False
        assert np.array_equal(seen.rgb[outside], wanted.rgb[outside])
        with pytest.raises(
            UnreadableError, match=r"pixels from 256, 0 to 512, 256 are damaged \(tile not in the file\)"
        ):
            slide.read_region(Rect(x0=400, y0=100, x1=600, y1=200))
        beside = Rect(x0=520, y0=0, x1=700, y1=300)
        assert slide.read(beside, slide.grid()).damage == ()
        assert np.array_equal(slide.read_region(beside), sound.read_region(beside))


@pytest.mark.parametrize("name", ["ome_jpeg.ome.tif", "pages.tif", "openslide.svs"])
@pytest.mark.parametrize(
    "change",
    [lambda data: b"\0" * len(data), lambda data: data[: len(data) // 2], lambda _: b"no JPEG" * 20],
    ids=["zeros", "ends_early", "other_bytes"],
)
def test_tile_that_does_not_decode_is_listed_and_the_rest_is_read(copied, files, name, change):
    path = copied(name)
    spoil_tile(path, 2 + N_COLUMNS, change)
    with slide_files.open_with_its_reader(path) as slide, slide_files.open_with_its_reader(files / name) as sound:
        seen, wanted = read_all(slide), read_all(sound)
        assert len(seen.damage) == 1
        box = seen.damage[0].rect
        assert (box.x0 <= 512, box.x1 >= 768, box.y0 <= 256, box.y1 >= 512) == (True,) * 4
        assert box.width * box.height <= 512 * 512
        outside = np.ones((HEIGHT, WIDTH), bool)
        outside[box.y0 : box.y1, box.x0 : box.x1] = False
        assert np.array_equal(seen.rgb[outside], wanted.rgb[outside])
        assert slide.damage == seen.damage
        assert read_all(slide).damage == seen.damage
        assert slide.damage == seen.damage


def closed(data, at):
    """JPEG data that were cut, and then closed by their end marker."""
    return (data[:at] + b"\xff\xd9").ljust(len(data), b"\0")


def zeroed(data):
    """JPEG data with zeros in their second half, and their end as it was."""
    half = len(data) // 2
    return data[:half] + bytes(len(data) - half - 2) + data[-2:]


@pytest.mark.parametrize("name", ["ome_jpeg.ome.tif", "pages.tif", "aperio.svs"])
@pytest.mark.parametrize("change", [lambda data: closed(data, len(data) // 2), zeroed], ids=["closed", "zeroed"])
def test_tile_that_decodes_to_a_grey_rest_is_listed(copied, files, name, change):
    path = copied(name)
    spoil_tile(path, 2 + N_COLUMNS, change)
    lost = Rect(x0=512, y0=256, x1=768, y1=512)
    with slide_files.open_with_its_reader(path) as slide, slide_files.open_with_its_reader(files / name) as sound:
        seen, wanted = read_all(slide), read_all(sound)
        assert seen.damage == (SlideDamage(rect=lost, level=0, reason="tile is damaged within"),)
        outside = np.ones((HEIGHT, WIDTH), bool)
        outside[lost.y0 : lost.y1, lost.x0 : lost.x1] = False
        assert np.array_equal(seen.rgb[outside], wanted.rgb[outside])
        assert wanted.damage == ()


def test_damage_of_a_level_is_told_in_level_0_pixels(copied):
    path = copied("pages.tif")
    without_tile(path, 1, level=1)
    with slide_files.open_with_its_reader(path) as slide:
        assert slide.damage == (
            SlideDamage(rect=Rect(x0=512, y0=0, x1=1024, y1=512), level=1, reason="tile not in the file"),
        )
        assert read_all(slide).damage == ()
        assert read_all(slide, mpp=0.5).damage == slide.damage
        assert read_all(slide, mpp=0.7).damage == slide.damage


def test_tile_of_another_size_than_the_header_says_is_damaged(copied):
    path = copied("ome_jpeg.ome.tif")
    spoil_tile(path, 1, lambda data: data.replace(b"\x08\x01\x00\x01\x00\x03", b"\x08\x00\x80\x01\x00\x03"))
    with slide_files.open_with_its_reader(path) as slide:
        assert [each.reason for each in read_all(slide).damage] == ["tile of another size than the header says"]


@pytest.mark.parametrize("name", ["v2.zarr", "v3.zarr", "shards.zarr"])
def test_chunk_that_is_not_stored_is_known_at_once(copied, files, name):
    path = copied(name)
    chunk = {"v2.zarr": "0/1.0.1", "v3.zarr": "0/c/1/0/1", "shards.zarr": "0/c/0/0/1"}[name]
    (path / chunk).unlink()
    lost = Rect(x0=512, y0=0, x1=1024, y1=512) if name == "shards.zarr" else SECOND_TILE
    with slide_files.open_with_its_reader(path) as slide, slide_files.open_with_its_reader(files / name) as sound:
        assert slide.damage == (SlideDamage(rect=lost, level=0, reason="tile not in the file"),)
        seen = read_all(slide)
        assert seen.damage
        assert np.array_equal(seen.rgb[:, : lost.x0], read_all(sound).rgb[:, : lost.x0])
        assert read_all(slide).damage == seen.damage


def test_chunk_of_white_need_not_be_stored(tmp_path):
    white = np.full((300, 600, 3), 255, np.uint8)
    slide_files.write_zarr(tmp_path / "white.zarr", white, fill_value=255)
    with slide_files.open_with_its_reader(tmp_path / "white.zarr") as slide:
        assert slide.damage == ()
        assert (slide.read_region(Rect(x0=0, y0=0, x1=600, y1=300)) == 255).all()


def test_chunk_that_does_not_decode_is_listed(copied):
    path = copied("v3.zarr")
    (path / "0/c/2/1/1").write_bytes(b"no chunk")
    with slide_files.open_with_its_reader(path) as slide:
        assert slide.damage == ()
        assert [each.rect for each in read_all(slide).damage] == [Rect(x0=256, y0=256, x1=512, y1=512)]


def test_runs_of_missing_tiles_are_one_box():
    missing = np.zeros((4, 5), bool)
    missing[1:3, 1:4] = True
    missing[3, 4] = True
    size, tile = LevelSize(width=49, height=38), LevelSize(width=10, height=10)
    boxes = [each.rect for each in boxes_of_tiles(missing, level=0, tile=tile, size=size, reason="lost")]
    assert boxes == [Rect(x0=10, y0=10, x1=40, y1=30), Rect(x0=40, y0=30, x1=49, y1=38)]


# --- whole files -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [*TIFFS, "single.tif", "dicom.dcm", "tile.png"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_truncated_file_is_refused_or_its_damage_is_listed(copied, name, share):
    path = copied(name)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    try:
        slide = slide_files.open_with_its_reader(path)
    except (UnreadableError, PixelSizeError) as error:
        assert re.fullmatch(rf"{re.escape(name)}: .*; .*", str(error))  # noqa: PT017  either way will do
        return
    with slide:
        seen = read_all(slide)
        lossless = name not in slide_files.LOSSY
        differs = np.abs(seen.rgb.astype(int) - slide_files.picture(WIDTH, HEIGHT)).max(axis=2) > (
            0 if lossless else 60
        )
        for each in seen.damage:
            differs[each.rect.y0 : each.rect.y1, each.rect.x0 : each.rect.x1] = False
        assert not differs.any()
        assert share > 0.9 or slide.damage


def test_slide_of_which_no_tile_is_left_is_refused(copied):
    path = copied("single.tif")
    overwrite(path, "TileByteCounts", lambda values: (0,) * len(values))
    with pytest.raises(UnreadableError, match="truncated or damaged; copy or export it again"):
        slide_files.open_with_its_reader(path)


@pytest.mark.parametrize("name", ["ome_lossless.ome.tif", "pages.tif"])
@pytest.mark.parametrize(
    ("tag", "value", "hint"),
    [
        ("ImageWidth", 40_000, "lists 20 tiles, which cannot fill it"),
        ("ImageLength", 500, "lists 20 tiles, which cannot fill it"),
        ("ImageWidth", 0, "level 0 is 0 x 773 pixels|truncated or damaged"),
        ("TileLength", 64, "lists 20 tiles, which cannot fill it"),
    ],
)
def test_header_that_lies_about_the_size_is_refused(copied, name, tag, value, hint):
    path = copied(name)
    overwrite(path, tag, lambda _: value)
    with pytest.raises(UnreadableError, match=hint):
        slide_files.open_with_its_reader(path)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("tile", [None, (256, 256)])
def test_pages_that_lead_in_a_circle_are_a_damaged_file(tmp_path, bigtiff, tile):
    path = tmp_path / "circle.tif"
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as tiff:
        for _ in range(3):
            tiff.write(slide_files.picture(512, 300), tile=tile, photometric="rgb", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        first, last, n_tags = tiff.pages[0].offset, tiff.pages[2].offset, len(tiff.pages[2].tags)
    with path.open("r+b") as stream:
        stream.seek(last + (8 + 20 * n_tags if bigtiff else 2 + 12 * n_tags))
        stream.write(first.to_bytes(8 if bigtiff else 4, "little"))
    assert not is_whole_slide(path)
    for read in (open_slide, read_image):
        with pytest.raises(UnreadableError, match="truncated or damaged; copy or export it again"):
            read(path, mpp=0.5)


def test_pyramid_that_begins_with_a_small_level_is_refused(tmp_path):
    path = tmp_path / "turned.tif"
    rgb = slide_files.picture(1024, 800)
    with tifffile.TiffWriter(path) as tiff:
        for downsample in (4, 1, 16):
            level = slide_files.reduced(rgb, downsample)
            tiff.write(level, subfiletype=int(downsample > 1), **slide_files.tiff_options(metadata=None))
    with pytest.raises(
        UnreadableError, match="page 1 of 1024 x 800 pixels is larger than the first of 256 x 200; its levels are in"
    ):
        open_slide(path, mpp=0.5)


def test_tile_of_a_slide_with_a_box_that_ends_behind_the_file_is_listed(copied):
    path = copied("leica.scn")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        found = tiff.pages[1].tags["TileOffsets"]
        found.overwrite([10**9 if number == 7 else offset for number, offset in enumerate(found.value)])
    with open_slide(path) as slide:
        box = Rect(x0=512, y0=256, x1=768, y1=512)
        assert slide.damage == (SlideDamage(rect=box, level=0, reason="file ends before the tile"),)


def test_ome_header_of_another_image_is_refused(copied):
    path = copied("ome_jpeg.ome.tif")
    data = path.read_bytes()
    path.write_bytes(data.replace(b'SizeX="1037"', b'SizeX="9999"'))
    with pytest.raises(UnreadableError, match=r"the OME header says 9999 x 773 pixels, the image has 1037 x 773"):
        slide_files.open_with_its_reader(path)


@pytest.mark.parametrize("name", ["ome_lossless.ome.tif", "leica.scn"])
def test_xml_that_is_broken_is_a_damaged_file_and_stops_no_run(copied, name):
    path = copied(name)
    path.write_bytes(path.read_bytes().replace(b"</Pixels>", b"<;Pixels>").replace(b"</pixels>", b"<;pixels>"))
    assert isinstance(is_whole_slide(path), bool)
    with pytest.raises(UnreadableError, match="truncated or damaged"):
        open_slide(path)


def test_level_of_no_pixels_is_refused(copied):
    path = copied("pages.tif")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[2].tags["ImageLength"].overwrite(0)
    with pytest.raises(UnreadableError, match="level 2 is 259 x 0 pixels"):
        slide_files.open_with_its_reader(path)


def test_level_of_other_proportions_is_refused(tmp_path):
    rgb = slide_files.picture(800, 600)
    options = slide_files.tiff_options()
    with tifffile.TiffWriter(tmp_path / "odd.ome.tif", ome=True) as tiff:
        tiff.write(rgb, subifds=1, metadata=slide_files.ome_metadata(), **options)
        tiff.write(rgb[::2, ::4], subfiletype=1, **options)
    with pytest.raises(
        UnreadableError, match="level 1 of 200 x 300 pixels does not fit 800 x 600; the pyramid is damaged"
    ):
        slide_files.open_with_its_reader(tmp_path / "odd.ome.tif")


# --- pixel size and kind ---------------------------------------------------------------------------------------------
def without_size(folder):
    rgb = slide_files.picture(300, 260)
    slide_files.write_svs(folder / "a.svs", rgb, mpp=None)
    slide_files.write_zarr(folder / "b.zarr", rgb, unit=None, downsamples=(1,))
    with tifffile.TiffWriter(folder / "c.tif") as tiff:
        tiff.write(rgb, **slide_files.tiff_options(metadata=None))
    return [folder / name for name in ("a.svs", "b.zarr", "c.tif")]


def test_slide_without_a_pixel_size_is_refused_with_the_remedy(tmp_path):
    for path in without_size(tmp_path):
        with pytest.raises(PixelSizeError, match=rf"^{path.name}: .*pass --mpp \(um per pixel\)$"):
            open_slide(path)
        with open_slide(path, mpp=0.5) as slide:
            assert (slide.mpp_x, slide.mpp_source) == (0.5, "given")


@pytest.mark.parametrize("mpp", [0.0001, 25.4, 1e9])
def test_absurd_pixel_size_is_refused(tmp_path, mpp):
    slide_files.write_svs(tmp_path / "slide.svs", slide_files.picture(300, 260), mpp=f"{mpp:.10f}")
    with pytest.raises(PixelSizeError, match=r"not one of a microscope \(0.1-2\); pass --mpp"):
        open_slide(tmp_path / "slide.svs")


def test_slide_of_other_samples_is_refused(tmp_path):
    deep = slide_files.picture(300, 260).astype(np.uint16)
    slide_files.write_ome(tmp_path / "deep.ome.tif", deep, downsamples=(2,), lossless=True)
    with pytest.raises(UnreadableError, match="samples of type uint16; export it as 8-bit RGB"):
        open_slide(tmp_path / "deep.ome.tif")


def test_grey_slide_is_refused(tmp_path):
    grey = slide_files.picture(300, 260)[..., 0]
    with tifffile.TiffWriter(tmp_path / "grey.tif") as tiff:
        tiff.write(grey, tile=(256, 256), resolution=(40_000, 40_000), resolutionunit="CENTIMETER")
    with pytest.raises(NotColourError, match="one grey channel"):
        open_slide(tmp_path / "grey.tif")


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("none.svs", None, "no such file; check the path"),
        ("empty.svs", b"", "the file is empty; copy or export it again"),
        ("text.svs", b"some text that is no slide at all\n" * 20, "not a slide or image of a known type"),
        ("cut.svs", b"II*\0\x08\0\0\0", "truncated or damaged; copy or export it again"),
        ("mark.dcm", b"\0" * 128 + b"DICM" + b"\0" * 50, "mark.dcm: "),
        ("folder", {}, "a folder that is no OME-Zarr image and no DICOM slide"),
        ("group.zarr", {".zgroup": b'{"zarr_format": 2}'}, "a Zarr group without multiscales"),
        ("broken.zarr", {"zarr.json": b"{"}, "truncated or damaged"),
    ],
)
def test_what_is_no_slide_is_said_in_one_line(tmp_path, name, content, hint):
    path = tmp_path / name
    if isinstance(content, dict):
        path.mkdir()
        for each, data in content.items():
            (path / each).write_bytes(data)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        open_slide(path)
    assert hint in str(caught.value)
    assert str(caught.value).startswith(f"{name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.*[!d]")), ids=lambda path: path.name)
def test_odd_and_broken_images_fare_as_they_do_as_tiles(path):
    try:
        wanted = read_image(path, mpp=0.5)
    except Pdl1QuantError as error:
        with pytest.raises(type(error)):
            open_slide(path, mpp=0.5)
        return
    with open_slide(path, mpp=0.5) as slide:
        assert np.array_equal(read_all(slide).rgb, wanted.rgb)


@settings(max_examples=80)
@given(data=st.data(), name=st.sampled_from(TIFFS))
def test_changed_bytes_end_in_one_line_or_in_pixels(files, tmp_path_factory, data, name):
    """Bytes of the headers, where changes do most."""
    path = tmp_path_factory.mktemp("changed") / name
    content = bytearray((files / name).read_bytes())
    with tifffile.TiffFile(files / name) as tiff:
        offsets = [page.offset for page in tiff.pages] + [0]
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.sampled_from(offsets))
        content[min(start + data.draw(st.integers(0, 400)), len(content) - 1)] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        with slide_files.open_with_its_reader(path) as slide:
            grid = slide.grid()
            region = slide.read(Rect(x0=0, y0=0, x1=min(grid.width, 300), y1=min(grid.height, 300)), grid)
            assert region.rgb.dtype == np.uint8
    except Pdl1QuantError as error:
        assert "\n" not in str(error)  # noqa: PT017  either way will do
