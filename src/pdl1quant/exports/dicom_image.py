"""The DICOM image that a segmentation refers to: the slide's own file, or one made from a plain image.

A made one is a whole slide microscopy image (VL Whole Slide Microscopy Image Storage) of one level, in tiles,
uncompressed. Its header names nobody: the identifiers of patient and slide are made from the hash of the image. What
stands in its pixels was not looked at, and the standard leaves no room to say so: it asks for yes or no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.errors import UnreadableError
from pdl1quant.extras import import_extra

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.model import UInt8Array

EXTRA = "dicom-seg"
TILE_PX = 512

_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Attributes that a file has to have and may leave empty; who took names out of it may have taken them whole."""
_THICKNESS_MM = 0.004  # a usual section; nothing is measured by it


def uid(*of: str) -> str:
    """A UID that is the same for the same texts."""
    return str(
        import_extra("pydicom.uid", package="highdicom", extra=EXTRA).generate_uid(entropy_srcs=["pdl1quant", *of])
    )


def dicom_file(path: Path) -> Path | None:
    """The file itself if it says that it is DICOM, the first that does in a folder (one slide), or None."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return next((each for each in files if each.is_file() and _is_dicom(each)), None)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_header(path: Path, *, width: int, height: int) -> Any:
    """The header of the file of a DICOM slide that holds its finest level: this one, or another of its series.

    Raises
    ------
    UnreadableError
        No file of the series in this folder has that many pixels.
    """
    pydicom = import_extra("pydicom", package="highdicom", extra=EXTRA)
    named = pydicom.dcmread(path, stop_before_pixels=True)
    others = (each for each in sorted(path.parent.iterdir()) if each != path and each.is_file() and _is_dicom(each))
    headers = (pydicom.dcmread(each, stop_before_pixels=True) for each in others)
    for header in (named, *headers):
        size = header.get("TotalPixelMatrixColumns"), header.get("TotalPixelMatrixRows")
        if size == (width, height) and header.SeriesInstanceUID == named.SeriesInstanceUID:
            for name in _MAY_BE_EMPTY:
                if name not in header:
                    setattr(header, name, "")
            return header
    raise UnreadableError(f"{path.name}: the file of its finest level ({width} x {height} px) is not beside it")


def make_image(rgb: UInt8Array, *, mpp_x: float, mpp_y: float, sha256: str, started: str) -> Any:
    """A DICOM slide from pixels.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    mpp_x, mpp_y
        Sides of a pixel in um.
    sha256
        Hash of the image; the UIDs and the identifiers of patient and slide are made from it.
    started
        When the run began, as ``YYYYMMDDHHMMSS``: the date of the study.
    """
    dataset = import_extra("pydicom.dataset", package="highdicom", extra=EXTRA)
    height, width = rgb.shape[:2]
    meta = dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = _WHOLE_SLIDE, uid("image", sha256)
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    image = dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = uid("study", sha256), uid("series", sha256)
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = uid("frame", sha256), "SLIDE_CORNER"
    image.Modality, image.ImageType = "SM", ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    image.PatientID, image.PatientName, image.PatientBirthDate, image.PatientSex = (
        f"pdl1quant-{sha256[:12]}",
        "",
        "",
        "",
    )
    image.StudyID, image.AccessionNumber, image.ReferringPhysicianName = "", "", ""
    image.StudyDate = image.ContentDate = started[:8]
    image.StudyTime = image.ContentTime = started[8:]
    image.AcquisitionDateTime = started
    image.Manufacturer, image.ManufacturerModelName = "pdl1quant", "made from a plain image"
    image.DeviceSerialNumber, image.SoftwareVersions = "none", "none"
    image.InstanceNumber, image.SeriesNumber = 1, 1
    image.ContainerIdentifier = f"pdl1quant-{sha256[:12]}"
    _describe_pixels(image, width=width, height=height, mpp_x=mpp_x, mpp_y=mpp_y)
    image.PixelData = _tiled(rgb).tobytes()
    return image


def _describe_pixels(image: Any, *, width: int, height: int, mpp_x: float, mpp_y: float) -> None:
    image.ImagedVolumeWidth, image.ImagedVolumeHeight = width * mpp_x / 1000, height * mpp_y / 1000
    image.ImagedVolumeDepth, image.FocusMethod, image.ExtendedDepthOfField = _THICKNESS_MM * 1000, "AUTO", "NO"
    image.TotalPixelMatrixColumns, image.TotalPixelMatrixRows, image.TotalPixelMatrixFocalPlanes = width, height, 1
    image.Rows = image.Columns = TILE_PX
    image.NumberOfFrames, image.NumberOfOpticalPaths = -(-height // TILE_PX) * -(-width // TILE_PX), 1
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.LossyImageCompression, image.BurnedInAnnotation, image.SpecimenLabelInImage = "00", "NO", "NO"
    image.VolumetricProperties, image.DimensionOrganizationType = "VOLUME", "TILED_FULL"
    image.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    image.TotalPixelMatrixOriginSequence = [
        _item(XOffsetInSlideCoordinateSystem=0.0, YOffsetInSlideCoordinateSystem=0.0)
    ]
    image.SpecimenDescriptionSequence, image.AcquisitionContextSequence = [], []
    image.ContainerTypeCodeSequence = [_code("433466003", "SCT", "Microscope slide")]
    image.IssuerOfTheContainerIdentifierSequence = []
    image.OpticalPathSequence = [
        _item(
            OpticalPathIdentifier="1",
            IlluminationTypeCodeSequence=[_code("111744", "DCM", "Brightfield illumination")],
            IlluminationColorCodeSequence=[_code("414298005", "SCT", "Full Spectrum")],
        )
    ]
    measures = _item(PixelSpacing=[mpp_y / 1000, mpp_x / 1000], SliceThickness=_THICKNESS_MM)
    frame_type = _item(FrameType=["DERIVED", "PRIMARY", "VOLUME", "NONE"])
    image.SharedFunctionalGroupsSequence = [
        _item(PixelMeasuresSequence=[measures], WholeSlideMicroscopyImageFrameTypeSequence=[frame_type])
    ]


def _item(**values: Any) -> Any:
    item = import_extra("pydicom.dataset", package="highdicom", extra=EXTRA).Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Any:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _tiled(rgb: UInt8Array) -> UInt8Array:
    """(tiles, TILE_PX, TILE_PX, 3): row by row, what lies beyond the border white."""
    height, width = rgb.shape[:2]
    rows, columns = -(-height // TILE_PX), -(-width // TILE_PX)
    beyond = ((0, rows * TILE_PX - height), (0, columns * TILE_PX - width), (0, 0))
    grown = np.pad(rgb, beyond, constant_values=255)
    return grown.reshape(rows, TILE_PX, columns, TILE_PX, 3).swapaxes(1, 2).reshape(-1, TILE_PX, TILE_PX, 3)
