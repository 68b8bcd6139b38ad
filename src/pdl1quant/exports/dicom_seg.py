"""The cells of an image as a DICOM segmentation: a segment for each class and outcome, over the slide's own pixels."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant import __version__
from pdl1quant.errors import OutputError, UnreadableError
from pdl1quant.exports.dicom_image import EXTRA, TILE_PX, dicom_file, make_image, read_header, uid
from pdl1quant.extras import import_extra
from pdl1quant.model import Rect, SlideGrid
from pdl1quant.outputs.captions import RESEARCH_USE_ONLY
from pdl1quant.outputs.claims import refuse_foreign
from pdl1quant.outputs.files import RUN_RECORD_NAME, replace_atomically
from pdl1quant.outputs.palette import classification, outcomes
from pdl1quant.outputs.run_record import TIMINGS, read_run_record
from pdl1quant.outputs.written_outlines import read_outlines
from pdl1quant.review import find_image
from pdl1quant.slides.opening import open_slide
from pdl1quant.slides.roi import fill_region

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from pdl1quant.exports.source import Source
    from pdl1quant.model import Slide, UInt8Array
    from pdl1quant.outputs.written_outlines import Geometries

MAX_PX = 400_000_000
"""Larger images are refused: the segmentation is put together in memory, a byte for each pixel and more."""

_SEGMENTATION_SERIES = 100
_BAND_PX = 1024


def write_dicom_seg(source: Source, path: Path) -> None:
    """Write a binary DICOM SEG, and for images that are not DICOM the image that it refers to, as ``*.image.dcm``.

    Segments are called as in QuPath (``Tumour: Positive``), in its colours; cells are filled as they were outlined.
    The same results give the same bytes. Patient and study are those of the slide: what names a patient there names
    them here.

    Raises
    ------
    UsageError
        highdicom is not installed.
    ReviewError
        The image moved.
    UnreadableError
        The image is damaged.
    OutputError
        No cell to write, the image is too large, outlines are missing, or a file cannot be written.
    """
    highdicom = import_extra("highdicom", package="highdicom", extra=EXTRA)
    image, results = source.image, source.results
    if source.cells.empty:
        raise OutputError(f"{image.name}: has no cells, and DICOM no segmentation without a segment; leave it out")
    started = _dicom_time(read_run_record(results.out / RUN_RECORD_NAME)[TIMINGS]["started"])
    file = find_image(results, image, folder=source.images)
    with open_slide(file, mpp=results.given_mpp) as slide:
        shape = slide.height, slide.width
        if shape[0] * shape[1] > MAX_PX:
            raise OutputError(f"{image.name}: {shape[1]} x {shape[0]} px is too large for dicom-seg; export a region")
        named = dicom_file(file)
        made = _made(slide, sha256=image.sha256, started=started) if named is None else None
    header = made if named is None else read_header(named, width=shape[1], height=shape[0])
    outlines, _ = read_outlines(
        results.out,
        image.stem,
        np.arange(len(source.cells)),
        labels=source.cells["label"].to_numpy(np.int32),
        image_id=image.sha256,
    )
    names, numbers = _segments(source.cells, results.pack.compartment)
    segmentation = highdicom.seg.Segmentation(
        source_images=[header],
        pixel_array=_painted(outlines, numbers, shape)[None],
        segmentation_type="BINARY",
        segment_descriptions=[_description(number, name) for number, name in enumerate(names, start=1)],
        series_instance_uid=uid("seg series", image.sha256, results.config.digest),
        series_number=_SEGMENTATION_SERIES,
        sop_instance_uid=uid("seg", image.sha256, results.config.digest, __version__),
        instance_number=1,
        manufacturer="pdl1quant",
        manufacturer_model_name="pdl1quant",
        software_versions=__version__,
        device_serial_number=results.config.digest,
        content_description=RESEARCH_USE_ONLY,
        content_label="CELLS",
        tile_pixel_array=True,
        tile_size=(TILE_PX, TILE_PX),
    )
    _settle(segmentation, started)
    if made is not None:
        of_image = path.with_name(path.name.replace(".seg.dcm", ".image.dcm"))
        refuse_foreign(of_image)
        _write(made, of_image)
    _write(segmentation, path)


def _settle(segmentation: Any, started: str) -> None:
    """Put what highdicom takes from the clock or from chance to what the results say."""
    for name in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        setattr(segmentation, name, started[:8])
    for name in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        setattr(segmentation, name, started[8:])
    for equipment in segmentation.ContributingEquipmentSequence:
        equipment.ContributionDateTime = started
    organisation = uid("dimensions", segmentation.SOPInstanceUID)
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation


def _made(slide: Slide, *, sha256: str, started: str) -> Any:
    """A DICOM image of the pixels as they are stored, square or not: the outlines count those."""
    sides = {"width": slide.width, "height": slide.height}
    stored = SlideGrid(mpp=slide.mpp_x, **sides, downsample_x=1.0, downsample_y=1.0, level=0)
    region = slide.read(Rect(x0=0, y0=0, x1=slide.width, y1=slide.height), stored)
    if region.damage:
        raise UnreadableError(f"{slide.path.name}: is damaged ({region.damage[0].reason}); copy or export it again")
    return make_image(region.rgb, mpp_x=slide.mpp_x, mpp_y=slide.mpp_y, sha256=sha256, started=started)


def _segments(cells: pd.DataFrame, compartment: Any) -> tuple[list[str], UInt8Array]:
    """Names of the segments that occur, and the number of each cell's, from 1."""
    texts = cells["cell_class"].astype(str).str.cat(outcomes(cells, compartment), sep=":")
    names, place = np.unique(texts.to_numpy(str), return_inverse=True)
    return names.tolist(), (place + 1).astype(np.uint8)


def _description(number: int, name: str) -> Any:
    highdicom = import_extra("highdicom", package="highdicom", extra=EXTRA)
    cell_class, _, outcome = name.partition(":")
    called: dict[str, Any] = classification(cell_class, outcome)
    label = str(called["name"])
    red, green, blue = called["color"]
    coded = highdicom.sr.CodedConcept
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=coded("4421005", "SCT", "Cell structure"),
        segmented_property_type=coded(label.replace(": ", "_").upper()[:16], "99PDL1QUANT", f"{label} cells"),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="pdl1quant",
            version=__version__,
            family=coded("123110", "DCM", "Artificial Intelligence"),
        ),
        tracking_uid=uid("segment", name),
        tracking_id=label,
        display_color=highdicom.color.CIELabColor.from_rgb(red, green, blue),
    )


def _painted(outlines: Geometries, numbers: UInt8Array, shape: tuple[int, int]) -> UInt8Array:
    """(H, W) uint8: the segment that each pixel's centre lies in, 0 outside of cells; band by band."""
    painted = np.zeros(shape, np.uint8)
    bounds = shapely.bounds(outlines)
    for top in range(0, shape[0], _BAND_PX):
        band = painted[top : top + _BAND_PX]
        touches = (bounds[:, 1] < top + len(band)) & (bounds[:, 3] > top)
        for number in np.unique(numbers[touches]):
            inside = shapely.MultiPolygon(list(outlines[touches & (numbers == number)]))
            moved = shapely.transform(inside, lambda points, top=top: points - (0, top))
            band[fill_region(moved, band.shape)] = number
    return painted


def _write(dataset: Any, path: Path) -> None:
    with replace_atomically(path) as partial:
        dataset.save_as(partial, enforce_file_format=True)


def _dicom_time(iso: str) -> str:
    return datetime.fromisoformat(iso).strftime("%Y%m%d%H%M%S")
