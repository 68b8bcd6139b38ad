"""Plain images: what is read, what is refused, and in which words."""

import hashlib
import io
import re
import runpy
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pdl1quant.errors import NotColourError, Pdl1QuantError, PixelSizeError, RefusedError, UnreadableError, UsageError
from pdl1quant.model import Rect
from pdl1quant.outputs.png import encode_png
from pdl1quant.slides.hashing import hash_input
from pdl1quant.slides.images import decode_image, read_image
from pdl1quant.slides.opening import open_slide
from pdl1quant.slides.pixel_size import StatedSize, resolve_pixel_size
from pdl1quant.slides.raster import Note, check_dimensions, check_expansion

SAMPLES = Path(__file__).parents[1] / "sample_slides"
BROKEN = SAMPLES / "broken"
HALF_UM = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


def documented(section):
    """(file, last column) of one table of the README beside the broken files."""
    text = (BROKEN / "README.md").read_text(encoding="utf-8").split(f"## {section}")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [(cells[0].strip("| `"), cells[-1].strip("| `")) for cells in rows]


@pytest.fixture(scope="module")
def rgb():
    pixels = np.random.default_rng(7).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


@pytest.fixture
def field():
    return runpy.run_path(str(SAMPLES / "make_broken.py"))["field"]()


# --- the sample of odd and broken files --------------------------------------------------------------------------
def test_a_file_that_changes_is_hashed_again(tmp_path):
    path, folder = tmp_path / "slide" / "a", tmp_path / "slide"
    folder.mkdir()
    path.write_bytes(b"one")
    before = hash_input(path), hash_input(folder)
    assert before[0] == hash_input(path) == hashlib.sha256(b"one").hexdigest()
    time.sleep(0.02)  # system clocks of files tick
    path.write_bytes(b"two")
    assert hash_input(path) == hashlib.sha256(b"two").hexdigest()
    assert hash_input(folder) != before[1]


def test_every_sample_file_is_documented_and_small():
    named = {name for section in ("Read", "Refused", "Broken") for name, _ in documented(section)}
    files = [path for path in BROKEN.iterdir() if path.name != "README.md"]
    assert named == {path.name for path in files}
    assert max(path.stat().st_size for path in files) < 5000


def test_the_script_writes_the_files_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make_broken.py", str(tmp_path)])
    runpy.run_path(str(SAMPLES / "make_broken.py"), run_name="__main__")
    names = {path.name for path in BROKEN.iterdir()} - {"README.md"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize(("name", "notes"), documented("Read"))
def test_odd_file_is_read_upright_in_its_colours(name, notes, field, capfd):
    image = read_image(BROKEN / name, mpp=0.5)
    assert image.rgb.dtype == np.uint8
    assert image.rgb.flags["C_CONTIGUOUS"]
    assert image.rgb.shape == field.shape
    assert ", ".join(image.notes) == notes
    assert image.sha256 == hashlib.sha256((BROKEN / name).read_bytes()).hexdigest()
    assert capfd.readouterr() == ("", "")
    expected = field.copy()
    if name == "transparent.png":
        expected[:, :2] = 255
    if name != "fluorescence.tif":
        lossy = name.endswith(".jpg")  # of quality 100: only rounding
        assert np.abs(image.rgb.astype(int) - expected).mean() <= (1 if lossy else 0)


def test_own_pictures_are_no_input(field, tmp_path):
    """An overlay shows outlines, dots and a legend; it would be scored as tissue."""
    path = tmp_path / "field.png"
    path.write_bytes(encode_png(field, texts={"Software": "pdl1quant 0.1.0"}))
    with pytest.raises(RefusedError, match=r"^field\.png: a picture that pdl1quant drew .*; give the image .*$"):
        read_image(path, mpp=0.5)
    with pytest.raises(RefusedError, match="drew"):
        open_slide(path)
    assert np.array_equal(decode_image(path).rgb, field)
    path.write_bytes(encode_png(field, texts={"Software": "paint 1.0"}))
    assert np.array_equal(read_image(path, mpp=0.5).rgb, field)


@pytest.mark.parametrize(("name", "message"), documented("Refused"))
def test_refused_file_says_why_in_one_line(name, message, capfd):
    with pytest.raises(RefusedError, match=f"^{re.escape(message)}$"):
        read_image(BROKEN / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "message"), documented("Broken"))
def test_broken_file_says_so_in_one_line(name, message, capfd):
    with pytest.raises(UnreadableError, match=f"^{re.escape(message)}$"):
        read_image(BROKEN / name, mpp=0.5)
    assert capfd.readouterr() == ("", "")


def test_missing_file_and_folder_are_unreadable(tmp_path):
    with pytest.raises(UnreadableError, match=r"^nowhere\.png: no such file"):
        read_image(tmp_path / "nowhere.png", mpp=0.5)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UnreadableError, match=r"^folder\.png: not a file"):
        read_image(tmp_path / "folder.png", mpp=0.5)


# --- damage -------------------------------------------------------------------------------------------------------
def written(folder, rgb, name):
    path = folder / name
    if path.suffix == ".tif":
        tifffile.imwrite(path, rgb, photometric="rgb", compression=path.stem if path.stem != "none" else None)
    else:
        Image.fromarray(rgb).save(path, progressive=path.stem == "progressive")
    return path


KINDS = ("none.tif", "lzw.tif", "zlib.tif", "jpeg.tif", "baseline.jpg", "progressive.jpg", "deflate.png")


@pytest.mark.parametrize("name", KINDS)
def test_file_cut_anywhere_is_refused(tmp_path, rgb, name, capfd):
    whole = written(tmp_path, rgb, name).read_bytes()
    cut = tmp_path / f"cut{Path(name).suffix}"
    end = len(whole) - (4 if cut.suffix == ".png" else 0)  # only the check sum of an empty chunk is left
    for n_bytes in {*range(0, end, 37), end - 1}:
        cut.write_bytes(whole[:n_bytes])
        with pytest.raises(UnreadableError):
            read_image(cut, mpp=0.5)
    assert capfd.readouterr() == ("", "")


def with_thumbnail(thumbnail):
    """EXIF whose second directory holds a JPEG with an end of its own, as cameras write it."""
    first = struct.pack("<HHHIHHI", 1, 0x112, 3, 1, 1, 0, 8 + 18)
    at = 8 + len(first) + 30
    second = struct.pack("<HHHIIHHIII", 2, 513, 4, 1, at, 514, 4, 1, len(thumbnail), 0)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + second + thumbnail


def jpeg(rgb, **how):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", **how)
    return file.getvalue()


def read_upright(path):
    return read_image(path, mpp=0.5).rgb


def read_level(path):
    with open_slide(path, mpp=0.5) as slide:
        whole = Rect(x0=0, y0=0, x1=slide.width, y1=slide.height)
        return slide.read(whole, slide.grid(mpp=0.5)).rgb


READERS = pytest.mark.parametrize("read", [read_upright, read_level])
SCANS = pytest.mark.parametrize("how", [{}, {"progressive": True}, {"restart_marker_blocks": 2}], ids=str)


@READERS
@SCANS
def test_a_thumbnail_inside_a_jpeg_is_no_part_of_it(tmp_path, rgb, read, how):
    plain, whole = jpeg(rgb, **how), jpeg(rgb, **how, exif=with_thumbnail(jpeg(rgb[:8, :8])))
    assert whole.count(b"\xff\xd9") == 2
    (tmp_path / "plain.jpg").write_bytes(plain)
    for name, data in (("exif.jpg", whole), ("behind.jpg", whole + jpeg(rgb[:8, :8])), ("tail.jpg", whole + b"tail")):
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read(tmp_path / name), read(tmp_path / "plain.jpg"))


@READERS
@SCANS
def test_a_jpeg_that_is_cut_is_damaged_whatever_ends_in_it(tmp_path, rgb, read, how):
    """A picture in front of it, or behind it, has an end of its own, which is not that of the image."""
    thumbnail = jpeg(rgb[:8, :8])
    whole = jpeg(rgb, **how, exif=with_thumbnail(thumbnail))
    scan = whole.rindex(b"\xff\xda") + 16
    for n_bytes in (scan, (scan + len(whole)) // 2, len(whole) - 2):
        for number, tail in enumerate((b"", thumbnail, bytes(64), b"\xff" * 64)):
            path = tmp_path / f"{n_bytes} {number}.jpg"
            path.write_bytes(whole[:n_bytes] + tail)
            with pytest.raises(UnreadableError, match="truncated or damaged"):
                read(path)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_never_shows_a_librarys_error(tmp_path_factory, rgb, name, changes):
    folder = tmp_path_factory.getbasetemp()
    data = bytearray(written(folder, rgb, name).read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    path = folder / f"damaged{Path(name).suffix}"
    path.write_bytes(data)
    message = ""
    try:
        assert read_image(path, mpp=0.5).rgb.ndim == 3
    except Pdl1QuantError as error:
        message = str(error)
    assert not message or (message.startswith(path.name) and "\n" not in message)


def test_limit_lets_a_field_of_20000_pixels_pass():
    check_dimensions("field.tif", 20_000, 20_000)
    check_expansion("blank.jpg", n_pixel_bytes=3 * 20_000**2, n_file_bytes=3 * 20_000**2 // 1100)


def test_pillows_own_limit_does_not_count(tmp_path, rgb, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert np.array_equal(read_image(written(tmp_path, rgb, "deflate.png"), mpp=0.5).rgb, rgb)


def test_tile_that_claims_more_than_the_file_holds_is_refused(tmp_path, rgb):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", compression="zlib", tile=(16, 16))
    with tifffile.TiffFile(path) as tiff:
        places = [tiff.pages.first.tags[name] for name in ("TileWidth", "TileLength")]
    data = bytearray(path.read_bytes())
    for tag in places:
        data[tag.offset + 2 : tag.offset + 12] = b"\4\0\1\0\0\0" + (16_384).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match="the header claims 805306368 bytes"):
        read_image(path, mpp=0.5)


# --- kinds of pixels ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lzw", "predictor": True},
        {"compression": "zlib", "tile": (16, 16)},
        {"bigtiff": True, "byteorder": ">"},
        {"rowsperstrip": 3},
    ],
    ids=str,
)
def test_tiff_is_read_exactly(tmp_path, rgb, options):
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", **HALF_UM, **options)
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.rgb, rgb)
    assert (image.mpp, image.mpp_source, image.metadata_mpp, image.notes) == (0.5, "metadata", 0.5, ())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_orientation_is_applied(tmp_path, rgb, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[274] = orientation
    if suffix == "tif":
        tifffile.imwrite(path, rgb, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    else:
        Image.fromarray(rgb).save(path, exif=exif)
    held = Image.fromarray(rgb)
    held.getexif()[274] = orientation
    assert np.array_equal(read_image(path, mpp=0.5).rgb, np.asarray(ImageOps.exif_transpose(held)))


@pytest.mark.parametrize(("kind", "level"), [("unassalpha", 205), ("assocalpha", 255)])
def test_alpha_is_composited_on_white(tmp_path, kind, level):
    rgba = np.full((4, 4, 4), (155, 100, 50, 128), np.uint8)  # 155 * 128 / 255 + 127 = 205; premultiplied: 282, capped
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=[kind])
    image = read_image(tmp_path / "a.tif", mpp=0.5)
    assert image.rgb[0, 0, 0] == level
    assert image.notes == (Note.ALPHA_ON_WHITE,)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_what_follows_the_end_of_a_picture_is_no_part_of_it(tmp_path, rgb, suffix):
    path = tmp_path / f"a.{suffix}"  # a program that saves over a longer file leaves the end of that
    Image.fromarray(rgb).save(path)
    before = read_image(path, mpp=0.5).rgb
    path.write_bytes(path.read_bytes() + bytes(3000))
    assert np.array_equal(read_image(path, mpp=0.5).rgb, before)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_picture_whose_alpha_hides_all_of_it_is_refused_and_a_blank_one_is_not(tmp_path, rgb, suffix):
    picture, blank = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    Image.fromarray(np.dstack([rgb, np.zeros(rgb.shape[:2], np.uint8)])).save(picture)
    Image.fromarray(np.zeros((4, 4, 4), np.uint8)).save(blank)
    with pytest.raises(RefusedError, match=rf"^a\.{suffix}: its alpha channel .*; export it as RGB without it$"):
        read_image(picture, mpp=0.5)
    assert read_image(blank, mpp=0.5).rgb.min() == 255


def test_cmyk_tiff_is_converted(tmp_path, rgb):
    cmyk = np.dstack([255 - rgb, np.zeros(rgb.shape[:2], np.uint8)])
    tifffile.imwrite(tmp_path / "a.tif", cmyk, photometric="separated")
    assert np.array_equal(read_image(tmp_path / "a.tif", mpp=0.5).rgb, rgb)


def test_palette_tiff_is_read(tmp_path, rgb):
    image = Image.fromarray(rgb).quantize(16)
    image.save(tmp_path / "a.tif")
    assert np.array_equal(read_image(tmp_path / "a.tif", mpp=0.5).rgb, np.asarray(image.convert("RGB")))


def test_12_bit_tiff_with_a_stated_white_is_read(tmp_path, rgb):
    samples = (rgb.astype(np.uint32) * 4095 // 255).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extratags=[(281, 3, 3, (4095,) * 3, True)])
    assert np.abs(read_image(tmp_path / "a.tif", mpp=0.5).rgb.astype(int) - rgb).max() <= 1


def test_first_of_several_pages_is_read(tmp_path, rgb):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(rgb, photometric="rgb", **HALF_UM)
        tiff.write(rgb[:5], photometric="rgb")
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.rgb, rgb)
    assert image.notes == (Note.FIRST_IMAGE_ONLY,)


def test_profile_is_noted_and_not_applied(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png", icc_profile=b"a profile of no meaning")
    image = read_image(tmp_path / "a.png", mpp=0.5)
    assert np.array_equal(image.rgb, rgb)
    assert image.notes == (Note.ICC_IGNORED,)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.bool_])
def test_grey_tiff_is_no_colour_image(tmp_path, rgb, depth):
    tifffile.imwrite(tmp_path / "a.tif", rgb[..., 0].astype(depth))
    with pytest.raises(NotColourError, match="not a colour image"):
        read_image(tmp_path / "a.tif", mpp=0.5)


def test_neutral_empty_glass_is_a_colour_image(tmp_path):
    Image.new("RGB", (9, 9), (240, 240, 240)).save(tmp_path / "glass.png")
    assert read_image(tmp_path / "glass.png", mpp=0.5).rgb.min() == 240


def test_one_coloured_pixel_makes_a_colour_image(tmp_path):
    pixels = np.full((300, 9, 3), 90, np.uint8)
    pixels[299, 8] = (90, 90, 99)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", mpp=0.5).rgb[299, 8, 2] == 99


# --- pixel size ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "mpp"),
    [
        ({"resolution": (50_800, 50_800), "resolutionunit": "INCH"}, 0.5),
        ({"resolution": (4, 4), "imagej": True, "metadata": {"unit": "micron"}}, 0.25),
        ({"resolution": (4, 4), "imagej": True, "metadata": {"unit": "\\u00B5m"}}, 0.25),
        ({"description": "Aperio Image\r\n1x1 |AppMag = 20|MPP = 0.4990", "metadata": None}, 0.499),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}}, 0.25),
        ({"ome": True, "metadata": {"PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25}}, 0.25),
    ],
    ids=str,
)
def test_pixel_size_is_read_from_tiff(tmp_path, rgb, options, mpp):
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", **options)
    image = read_image(tmp_path / "a.tif")
    assert (image.mpp, image.mpp_source) == (pytest.approx(mpp), "metadata")


@pytest.mark.parametrize("axes", ["CYX", "ZCYX"])
def test_ome_tiff_with_a_plane_per_channel_is_one_rgb_image(tmp_path, rgb, axes):
    planes = np.moveaxis(rgb, -1, 0)
    data = planes if axes == "CYX" else np.stack([planes, 255 - planes])
    metadata = {"axes": axes, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(tmp_path / "a.ome.tif", data, photometric="minisblack", metadata=metadata)
    image = read_image(tmp_path / "a.ome.tif")
    assert np.array_equal(image.rgb, rgb)
    assert image.mpp == 0.25


@pytest.mark.parametrize("names", [("Blue", "Green", "Red"), ("g", "R", "b"), ("Red", "Green", "Blue")])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_planes_of_ome_tiff_are_the_colours_that_their_names_say(tmp_path, rgb, names, tile):
    planes = np.stack([rgb[..., "rgb".index(name[0].lower())] for name in names])
    metadata = {"axes": "CYX", "Channel": {"Name": list(names)}}
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, photometric="minisblack", tile=tile, metadata=metadata)
    assert np.array_equal(read_image(tmp_path / "a.ome.tif", mpp=0.5).rgb, rgb)
    with open_slide(tmp_path / "a.ome.tif", mpp=0.5) as slide:
        region = slide.read(Rect(x0=0, y0=0, x1=rgb.shape[1], y1=rgb.shape[0]), slide.grid(mpp=0.5))
    assert np.array_equal(region.rgb, rgb)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_plausible_density_of_png_and_jpeg_is_the_pixel_size(tmp_path, field, suffix):
    Image.fromarray(field).save(tmp_path / f"a.{suffix}", dpi=(50_800, 50_800))
    assert read_image(tmp_path / f"a.{suffix}").mpp == pytest.approx(0.5, rel=1e-3)
    Image.fromarray(field).save(tmp_path / f"b.{suffix}", dpi=(300, 300))
    with pytest.raises(PixelSizeError, match=r"the file says 84\.67 um per pixel"):
        read_image(tmp_path / f"b.{suffix}")


@pytest.mark.parametrize(("mpp", "notes"), [(0.5, ()), (0.504, ()), (0.25, (Note.MPP_OVERRIDDEN,))])
def test_given_pixel_size_wins_and_a_contradiction_is_noted(tmp_path, rgb, mpp, notes):
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", **HALF_UM)
    image = read_image(tmp_path / "a.tif", mpp=mpp)
    assert (image.mpp, image.mpp_source, image.metadata_mpp, image.notes) == (mpp, "given", 0.5, notes)


@pytest.mark.parametrize("mpp", [0.0, 0.05, 2.1, -0.5, float("nan"), float("inf")])
def test_implausible_given_pixel_size_is_wrong_usage(mpp):
    with pytest.raises(UsageError, match="--mpp"):
        read_image(BROKEN / "planar.tif", mpp=mpp)


@given(x_um=st.floats(1e-6, 1e6), y_um=st.floats(1e-6, 1e6))
def test_pixel_size_is_the_files_or_refused(x_um, y_um):
    try:
        size = resolve_pixel_size("a.tif", StatedSize(x_um=x_um, y_um=y_um), given=None)
    except PixelSizeError:
        assert not (min(x_um, y_um) >= 0.1 and max(x_um, y_um) <= 2 and max(x_um, y_um) <= 1.05 * min(x_um, y_um))
    else:
        assert min(x_um, y_um) * (1 - 1e-12) <= size.mpp <= max(x_um, y_um) * (1 + 1e-12)
