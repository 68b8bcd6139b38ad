"""Writes small slides of every format that can be written here, and a picture to write into them."""

import cv2
import numpy as np
import tifffile
from PIL import Image

from pdl1quant.slides.opening import open_slide
from pdl1quant.slides.openslide_source import OpenSlideSource
from pdl1quant.slides.pyramid import PyramidSlide

MPP = 0.25
APERIO = "Aperio Image Library v10.0.51\r\n{width}x{height} [0,0 {width}x{height}] (256x256)"


def picture(width=1037, height=773):
    """(H, W, 3) uint8: pale ground, blue and brown discs and a gradient, so that no two places look alike."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rgb = np.stack([225 - x / 40, 220 - y / 40, 228 - (x + y) / 60], axis=-1)
    rng = np.random.default_rng(5)
    for number in range(width * height // 2000):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = (90, 80, 160) if number % 2 else (140, 90, 50)
        cv2.circle(rgb, centre, int(rng.integers(4, 12)), colour, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(rgb, (0, 0), 1.2).astype(np.uint8)


def reduced(rgb, downsample):
    """A level as scanners make it: means of whole blocks, what is left over at the edge is cut off."""
    height, width = (side // downsample for side in rgb.shape[:2])
    whole = np.ascontiguousarray(rgb[: height * downsample, : width * downsample])
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def tiff_options(*, lossless=False, **more):
    compression, level = ("deflate", 1) if lossless else ("jpeg", 95)
    how = {"compression": compression, "compressionargs": {"level": level}}
    return {"tile": (256, 256), "photometric": "rgb", **how, **more}


def ome_metadata(mpp_x=MPP, mpp_y=None, axes="YXS"):
    return {
        "axes": axes,
        "PhysicalSizeX": mpp_x,
        "PhysicalSizeY": mpp_y or mpp_x,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
    }


def write_ome(path, rgb, *, metadata=None, downsamples=(2, 4), **options):
    options = tiff_options(**options)
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as tiff:
        tiff.write(rgb, subifds=len(downsamples), metadata=metadata or ome_metadata(), **options)
        for downsample in downsamples:
            tiff.write(reduced(rgb, downsample), subfiletype=1, **options)


def write_ome_lossless(path, rgb):
    write_ome(path, rgb, lossless=True)


def write_ome_planes(path, rgb):
    """Each colour a page of its own, as bioformats2raw writes them."""
    options = {**tiff_options(lossless=True), "photometric": "minisblack"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as tiff:
        tiff.write(rgb.transpose(2, 0, 1), subifds=1, metadata=ome_metadata(axes="CYX"), **options)
        tiff.write(reduced(rgb, 2).transpose(2, 0, 1), subfiletype=1, **options)


def write_pages(path, rgb, *, downsamples=(2, 4), resolution=10_000 / MPP, **options):
    """A pyramid in the pages of a plain TIFF, as libvips writes it."""
    options = tiff_options(metadata=None, resolutionunit="CENTIMETER", **options)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(rgb, resolution=(resolution, resolution), **options)
        for downsample in downsamples:
            level = resolution / downsample
            tiff.write(reduced(rgb, downsample), subfiletype=1, resolution=(level, level), **options)


def write_single(path, rgb):
    write_pages(path, rgb, downsamples=(), lossless=True)


def write_planar(path, rgb):
    """Tiles of one colour each within one page."""
    options = tiff_options(lossless=True, planarconfig="separate", metadata=None, resolutionunit="CENTIMETER")
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(rgb.transpose(2, 0, 1), resolution=(10_000 / MPP, 10_000 / MPP), **options)


def write_svs(path, rgb, *, mpp=MPP, downsamples=(4,)):
    """As Aperio's scanners do: level 0, a thumbnail in strips, then the other levels."""
    height, width = rgb.shape[:2]
    name = APERIO.format(width=width, height=height)
    stated = f"|MPP = {mpp}" if mpp else ""
    options = tiff_options(metadata=None)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(rgb, description=f"{name} JPEG/RGB Q=95|AppMag = 40{stated}", **options)
        tiff.write(reduced(rgb, 8), description=f"{name} -> thumbnail", photometric="rgb", metadata=None)
        for downsample in downsamples:
            level = reduced(rgb, downsample)
            tiff.write(level, description=f"{name} -> {level.shape[1]}x{level.shape[0]} JPEG/RGB Q=95", **options)


SCN = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="1"><collection name="slide" uuid="2" {whole}>
<barcode>phantom</barcode>{images}</collection></scn>"""
SCN_IMAGE = """<image name="image" uuid="3"><creationDate>2020-01-01T00:00:00Z</creationDate>
<device model="Leica SCN400" version="1"/><pixels sizeX="{width}" sizeY="{height}">{levels}</pixels>
<view {view} offsetX="{left}" offsetY="{top}" spacingZ="0"/><scanSettings><objectiveSettings>
<objective>{objective}</objective></objectiveSettings><illuminationSettings><numericalAperture>0.1</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"""


def write_scn(path, rgb, *, corner=(302, 206), ground=(2400, 1600), downsamples=(1, 4), mpp=MPP):
    """As Leica's scanners do: a picture of the whole slide, and the scan at a corner (x, y) of that ground."""
    nm = round(1000 * mpp)

    def image(levels, *, first, size, corner=(0, 0), objective=40):
        dimensions = "".join(
            f'<dimension sizeX="{level.shape[1]}" sizeY="{level.shape[0]}" r="{number}" ifd="{first + number}"/>'
            for number, level in enumerate(levels)
        )
        return SCN_IMAGE.format(
            width=levels[0].shape[1],
            height=levels[0].shape[0],
            levels=dimensions,
            view=f'sizeX="{size[0] * nm}" sizeY="{size[1] * nm}"',
            left=corner[0] * nm,
            top=corner[1] * nm,
            objective=objective,
        )

    macro = np.full((ground[1] // 8, ground[0] // 8, 3), 240, np.uint8)
    levels = [reduced(rgb, downsample) for downsample in downsamples]
    images = image([macro], first=0, size=ground, objective=0.6)
    images += image(levels, first=1, size=rgb.shape[1::-1], corner=corner)
    whole = f'sizeX="{ground[0] * nm}" sizeY="{ground[1] * nm}"'
    options = tiff_options(metadata=None, resolutionunit="CENTIMETER")
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(macro, description=SCN.format(whole=whole, images=images), **options)
        for level, downsample in zip(levels, downsamples, strict=True):
            tiff.write(level, resolution=(10_000 / mpp / downsample,) * 2, **options)


def write_zarr(path, rgb, *, version=2, downsamples=(1, 2, 4), unit="micrometer", fill_value=0, shards=None):
    """OME-Zarr 0.4 (Zarr 2) or 0.5 (Zarr 3)."""
    import zarr

    root = zarr.create_group(store=str(path), zarr_format=version)
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "type": "space", "unit": unit} for name in "yx")]
    datasets = []
    for number, downsample in enumerate(downsamples):
        planes = reduced(rgb, downsample).transpose(2, 0, 1)
        array = root.create_array(
            str(number), shape=planes.shape, chunks=(1, 256, 256), dtype="uint8", fill_value=fill_value, shards=shards
        )
        array[...] = planes
        scale = {"type": "scale", "scale": [1.0, MPP * downsample, MPP * downsample]}
        datasets.append({"path": str(number), "coordinateTransformations": [scale]})
    multiscales = [{"version": "0.4" if version == 2 else "0.5", "axes": axes, "datasets": datasets}]
    root.attrs.update({"multiscales": multiscales} if version == 2 else {"ome": {"multiscales": multiscales}})


def write_zarr_3(path, rgb):
    write_zarr(path, rgb, version=3)


def write_zarr_shards(path, rgb):
    write_zarr(path, rgb, version=3, shards=(3, 512, 512))


def write_png(path, rgb):
    Image.fromarray(rgb).save(path, dpi=(25_400 / MPP, 25_400 / MPP))


def write_dicom(path, rgb, *, tile_px=256):
    """One level of a DICOM slide, uncompressed, all tiles stored."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    def code(value, scheme, meaning):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
        return Sequence([item])

    height, width = rgb.shape[:2]
    rows, columns = -(-height // tile_px), -(-width // tile_px)
    grown = np.pad(rgb, ((0, rows * tile_px - height), (0, columns * tile_px - width), (0, 0)), mode="edge")
    tiles = grown.reshape(rows, tile_px, columns, tile_px, 3).transpose(0, 2, 1, 3, 4)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["slide"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slide = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    slide.SOPClassUID, slide.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(slide, name, generate_uid(entropy_srcs=[name]))
    slide.Modality, slide.ImageType = "SM", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    slide.PatientID = slide.PatientName = slide.StudyID = slide.AccessionNumber = ""
    slide.ContainerIdentifier, slide.PositionReferenceIndicator = "phantom", "SLIDE_CORNER"
    slide.SpecimenDescriptionSequence, slide.AcquisitionContextSequence = Sequence([]), Sequence([])
    slide.InstanceNumber, slide.SeriesNumber = 1, 1
    slide.ImagedVolumeWidth, slide.ImagedVolumeHeight = width * MPP / 1000, height * MPP / 1000
    slide.ImagedVolumeDepth, slide.FocusMethod, slide.ExtendedDepthOfField = 0.001, "AUTO", "NO"
    slide.TotalPixelMatrixColumns, slide.TotalPixelMatrixRows, slide.TotalPixelMatrixFocalPlanes = width, height, 1
    slide.Rows = slide.Columns = tile_px
    slide.NumberOfFrames, slide.NumberOfOpticalPaths = rows * columns, 1
    slide.SamplesPerPixel, slide.PhotometricInterpretation, slide.PlanarConfiguration = 3, "RGB", 0
    slide.BitsAllocated = slide.BitsStored = 8
    slide.HighBit, slide.PixelRepresentation = 7, 0
    slide.LossyImageCompression, slide.BurnedInAnnotation = "00", "NO"
    slide.SpecimenLabelInImage, slide.VolumetricProperties = "NO", "VOLUME"
    slide.DimensionOrganizationType = "TILED_FULL"
    slide.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin, optics, measures, shared = Dataset(), Dataset(), Dataset(), Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 10.0, 20.0
    slide.TotalPixelMatrixOriginSequence = Sequence([origin])
    optics.OpticalPathIdentifier, optics.ObjectiveLensPower = "0", 40.0
    optics.IlluminationTypeCodeSequence = code("111744", "DCM", "Brightfield illumination")
    optics.IlluminationColorCodeSequence = code("414298005", "SCT", "Full Spectrum")
    slide.OpticalPathSequence = Sequence([optics])
    measures.PixelSpacing, measures.SliceThickness = [MPP / 1000, MPP / 1000], 0.001
    shared.PixelMeasuresSequence = Sequence([measures])
    slide.SharedFunctionalGroupsSequence = Sequence([shared])
    slide.PixelData = tiles.tobytes()
    slide.save_as(path, enforce_file_format=True)


WRITERS = {
    "ome_jpeg.ome.tif": write_ome,
    "ome_lossless.ome.tif": write_ome_lossless,
    "ome_planes.ome.tif": write_ome_planes,
    "pages.tif": write_pages,
    "single.tif": write_single,
    "planar.tif": write_planar,
    "aperio.svs": write_svs,
    "openslide.svs": write_svs,
    "leica.scn": write_scn,
    "v2.zarr": write_zarr,
    "v3.zarr": write_zarr_3,
    "shards.zarr": write_zarr_shards,
    "dicom.dcm": write_dicom,
    "tile.png": write_png,
}
"""Each format by the name of its file."""

LOSSY = {"ome_jpeg.ome.tif", "pages.tif", "aperio.svs", "openslide.svs", "leica.scn"}


def open_with_its_reader(path, *, mpp=None):
    """`open_slide`, but files named after OpenSlide are read by it: what only it reads cannot be written here."""
    if path.name.startswith("openslide"):
        return PyramidSlide(path, OpenSlideSource, mpp=mpp)
    return open_slide(path, mpp=mpp)
