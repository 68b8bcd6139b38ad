"""Which picture of a file is read, and in which colours: stacks, scenes, channels, transparency, JPEG 2000, ground."""

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile

import slide_files
from pdl1quant.errors import InputError, NotColourError, UnreadableError
from pdl1quant.model import Rect
from pdl1quant.slides.images import read_image
from pdl1quant.slides.opening import open_slide
from pdl1quant.slides.raster import Note

WIDTH, HEIGHT = 300, 260
SHARP = slide_files.picture(WIDTH, HEIGHT)
BLURRED = cv2.GaussianBlur(SHARP, (0, 0), 5)


def write(path, pixels, *, axes, **options):
    options = {"photometric": "minisblack", "tile": (128, 128), "compression": "deflate", **options}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(pixels, metadata=slide_files.ome_metadata(axes=axes), **options)
    return path


def pixels_of(path):
    """The whole of level 0, and what is noted of it."""
    with open_slide(path) as slide:
        return slide.read_region(Rect(x0=0, y0=0, x1=slide.width, y1=slide.height)), slide.notes


@pytest.mark.parametrize("axes", ["ZYXS", "TYXS", "CZYX", "ZCYX", "TCYX"])
def test_of_a_stack_the_first_plane_is_read_in_its_colours_and_that_is_said(tmp_path, axes):
    stack = np.stack([SHARP, BLURRED, BLURRED])  # plane, row, column, colour
    order = {"ZYXS": (0, 1, 2, 3), "TYXS": (0, 1, 2, 3), "CZYX": (3, 0, 1, 2)}.get(axes, (0, 3, 1, 2))
    colours = "rgb" if axes.endswith("S") else "minisblack"
    path = write(tmp_path / "stack.ome.tif", stack.transpose(order), axes=axes, photometric=colours)
    rgb, notes = pixels_of(path)
    np.testing.assert_array_equal(rgb, SHARP)
    assert notes == (Note.FIRST_IMAGE_ONLY,)


def test_of_an_aperio_stack_the_first_plane_is_read_and_that_is_said(tmp_path):
    name = slide_files.APERIO.format(width=WIDTH, height=HEIGHT)
    options = slide_files.tiff_options(lossless=True, metadata=None)
    with tifffile.TiffWriter(tmp_path / "stack.svs") as tiff:
        for number, plane in enumerate((SHARP, BLURRED)):
            tiff.write(plane, description=f"{name} Q=95|AppMag = 40|MPP = 0.25|OffsetZ = {number}", **options)
            if not number:
                thumbnail = slide_files.reduced(SHARP, 8)
                tiff.write(thumbnail, description=f"{name} -> thumbnail", photometric="rgb", metadata=None)
    rgb, notes = pixels_of(tmp_path / "stack.svs")
    np.testing.assert_array_equal(rgb, SHARP)
    assert notes == (Note.FIRST_IMAGE_ONLY,)


def test_of_a_zarr_stack_the_first_plane_is_read_and_that_is_said(tmp_path):
    zarr = pytest.importorskip("zarr")
    root = zarr.create_group(store=str(tmp_path / "stack.zarr"), zarr_format=2)
    stack = np.stack([SHARP, BLURRED]).transpose(3, 0, 1, 2)
    array = root.create_array("0", shape=stack.shape, chunks=(1, 1, 128, 128), dtype="uint8", fill_value=0)
    array[...] = stack
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "unit": "micrometer"} for name in "zyx")]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 0.25, 0.25]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    rgb, notes = pixels_of(tmp_path / "stack.zarr")
    np.testing.assert_array_equal(rgb, SHARP)
    assert notes == (Note.FIRST_IMAGE_ONLY,)


def test_a_slide_whose_channels_are_in_files_of_their_own_is_refused(tmp_path):
    """Their pixels would be looked for in the one that was named."""
    ids = [f"urn:uuid:0000000{channel}-0000-0000-0000-000000000000" for channel in range(3)]
    places = "".join(
        f'<TiffData FirstC="{channel}" IFD="0"><UUID FileName="{channel}.ome.tif">{each}</UUID></TiffData>'
        for channel, each in enumerate(ids)
    )
    channels = "".join(f'<Channel ID="Channel:0:{channel}" SamplesPerPixel="1"/>' for channel in range(3))
    for channel, each in enumerate(ids):
        xml = f"""<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{each}">
            <Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="{WIDTH}"
            SizeY="{HEIGHT}" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="0.25" PhysicalSizeY="0.25">
            {channels}{places}</Pixels></Image></OME>"""
        with tifffile.TiffWriter(tmp_path / f"{channel}.ome.tif") as tiff:
            tiff.write(SHARP[..., channel], tile=(128, 128), description=xml, metadata=None)
    with pytest.raises(UnreadableError, match="pixels are in other files; export it as one file"):
        open_slide(tmp_path / "0.ome.tif")


@pytest.mark.parametrize("n_channels", [2, 4, 5])
def test_channels_that_are_not_three_are_no_colours(tmp_path, n_channels):
    channels = np.concatenate([SHARP, BLURRED], axis=2).transpose(2, 0, 1)[:n_channels]
    path = write(tmp_path / "stained.ome.tif", channels, axes="CYX")
    for reader in (open_slide, read_image):
        with pytest.raises(NotColourError, match=f"not a colour image .{n_channels} channels, not three"):
            reader(path)


@pytest.mark.parametrize(("share", "notes"), [(1, (Note.FIRST_IMAGE_ONLY,)), (4, ())])
def test_a_second_scan_is_said_and_a_label_is_not(tmp_path, share, notes):
    """A scene of the same slide, or a small picture of its label."""
    options = slide_files.tiff_options(lossless=True, metadata=slide_files.ome_metadata())
    with tifffile.TiffWriter(tmp_path / "scenes.ome.tif", ome=True) as tiff:
        tiff.write(SHARP, **options)
        tiff.write(slide_files.reduced(BLURRED, share), **options)
    assert pixels_of(tmp_path / "scenes.ome.tif")[1] == notes


def test_levels_a_thumbnail_a_label_and_a_macro_are_no_second_scan(tmp_path):
    name = slide_files.APERIO.format(width=WIDTH, height=HEIGHT)
    options = slide_files.tiff_options(lossless=True, metadata=None)
    strips = {"photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "slide.svs") as tiff:
        tiff.write(SHARP, description=f"{name} Q=95|AppMag = 40|MPP = 0.25", **options)
        tiff.write(slide_files.reduced(SHARP, 8), description=f"{name} -> thumbnail", **strips)
        tiff.write(slide_files.reduced(SHARP, 2), description=f"{name} -> level", **options)
        tiff.write(BLURRED, description="Aperio\nlabel 300x260", subfiletype=1, **strips)
        tiff.write(BLURRED, description="Aperio\nmacro 300x260", subfiletype=9, **strips)
    assert pixels_of(tmp_path / "slide.svs")[1] == ()


@pytest.mark.parametrize("planar", [False, True])
def test_what_is_transparent_is_white_however_its_colours_are_stored(tmp_path, planar):
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[100:] = 0
    rgba = np.concatenate([SHARP, alpha], axis=2)
    layout = {"planarconfig": "separate"} if planar else {}
    options = slide_files.tiff_options(lossless=True, metadata=None, extrasamples=["unassalpha"], **layout)
    with tifffile.TiffWriter(tmp_path / "slide.tif") as tiff:
        pixels = rgba.transpose(2, 0, 1) if planar else rgba
        tiff.write(pixels, resolution=(40_000, 40_000), resolutionunit="CENTIMETER", **options)
    rgb, _ = pixels_of(tmp_path / "slide.tif")
    np.testing.assert_array_equal(rgb[:100], SHARP[:100])
    assert (rgb[100:] == 255).all()


@pytest.mark.parametrize("kind", ["16 bit", "CMYK", "turned"])
def test_one_level_in_tiles_is_looked_at_as_it_is_scored(tmp_path, kind):
    """As a plain image, whose samples become 8-bit RGB."""
    pixels, options = {
        "16 bit": (SHARP.astype(np.uint16) * 257, {}),
        "CMYK": (np.dstack([255 - SHARP, np.zeros_like(SHARP[..., :1])]), {"photometric": "separated"}),
        "turned": (SHARP[:, ::-1], {"extratags": [(274, 3, 1, 2, True)]}),
    }[kind]
    options = slide_files.tiff_options(lossless=True, metadata=None, **options)
    with tifffile.TiffWriter(tmp_path / "slide.tif") as tiff:
        tiff.write(pixels, resolution=(40_000, 40_000), resolutionunit="CENTIMETER", **options)
    np.testing.assert_array_equal(read_image(tmp_path / "slide.tif").rgb, SHARP)
    np.testing.assert_array_equal(pixels_of(tmp_path / "slide.tif")[0], SHARP)


def write_jpeg_2000(path, *, compression, has_luma, description):
    """Tiles of JPEG 2000 whose channels are red, green and blue, or luma and chroma."""
    pixels = cv2.cvtColor(SHARP, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]] if has_luma else SHARP
    grown = np.pad(pixels, ((0, 512 - HEIGHT), (0, 512 - WIDTH), (0, 0)))
    tiles = [grown[y : y + 128, x : x + 128] for y in range(0, HEIGHT, 128) for x in range(0, WIDTH, 128)]
    encoded = (imagecodecs.jpeg2k_encode(tile, level=0, codecformat="j2k", mct=False) for tile in tiles)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            encoded,
            shape=SHARP.shape,
            dtype=np.uint8,
            tile=(128, 128),
            photometric="ycbcr" if has_luma else "rgb",
            compression=compression,
            description=description,
            metadata=None,
            resolution=(40_000, 40_000),
            resolutionunit="CENTIMETER",
        )
    return path


@pytest.mark.parametrize(("compression", "has_luma"), [(33003, True), (33005, False)])
def test_jpeg_2000_of_aperio_has_the_colours_of_the_picture(tmp_path, compression, has_luma):
    path = write_jpeg_2000(
        tmp_path / "slide.svs",
        compression=compression,
        has_luma=has_luma,
        description=f"{slide_files.APERIO.format(width=WIDTH, height=HEIGHT)} J2K|AppMag = 40|MPP = 0.25",
    )
    rgb, _ = pixels_of(path)
    assert np.abs(rgb.astype(int) - SHARP).max() <= has_luma  # rounded on the way there and back


@pytest.mark.parametrize("reader", [open_slide, read_image])
def test_luma_that_no_decoder_turns_into_colours_is_refused(tmp_path, reader):
    path = write_jpeg_2000(tmp_path / "slide.tif", compression=34712, has_luma=True, description="a picture")
    with pytest.raises(InputError, match="colours stored as YCBCR"):
        reader(path)


@pytest.mark.parametrize("corner", [(302, 206), (1100, 40)])
def test_a_slide_on_a_larger_ground_begins_where_its_scan_does(tmp_path, corner):
    """As in QuPath, whose regions count from there."""
    slide_files.write_scn(tmp_path / "slide.scn", SHARP, corner=corner, downsamples=(1,))
    rgb, _ = pixels_of(tmp_path / "slide.scn")
    assert rgb.shape == SHARP.shape
    assert np.abs(rgb.astype(int) - SHARP).mean() < 3  # JPEG
