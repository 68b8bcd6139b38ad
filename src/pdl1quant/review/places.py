"""Where the files of an image of a run are now: its pixels, what was drawn, what was found spoilt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pdl1quant.errors import ReviewError
from pdl1quant.outputs.files import result_path
from pdl1quant.outputs.regions import CORE_CLASS
from pdl1quant.slides.hashing import hash_input
from pdl1quant.slides.roi import Roi, RoiKind
from pdl1quant.slides.roi_file import read_geojson_rois
from pdl1quant.whole_slides.regions import outlined_regions

if TYPE_CHECKING:
    from pdl1quant.outputs.regions import OutlinedRegion
    from pdl1quant.review.results import ImageResult, Results
    from pdl1quant.review.session import Review


def run_regions(review: Review) -> list[OutlinedRegion]:
    """What was drawn for the run, and the cores that it found, by the names of their rows.

    Where the cells table does not have them they are read from ``regions/`` of the results, else, for results of an
    earlier version, from the file that the run was given.

    Raises
    ------
    ReviewError
        They are in none of these.
    InputError
        The file cannot be read.
    """
    results, image = review.results, review.image
    if review.drawn.keys() >= {each.key for each in image.regions} and (review.rois or not image.roi_sha256):
        return outlined_regions(review.rois)
    path = result_path(results.out, "regions", image.stem)
    if path.is_file():
        return outlined_regions([replace(each, is_core=each.name == CORE_CLASS) for each in read_geojson_rois(path)])
    given = find_roi(results, image)
    drawn = () if given is None else read_geojson_rois(given)
    return outlined_regions([*drawn, *(roi for roi in review.rois if roi.is_core)])


def spoilt_regions(results: Results, image: ImageResult) -> tuple[Roi, ...]:
    """What the run found spoilt on a whole slide; nothing where it looked for none.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    path = result_path(results.out, "artefacts", image.stem)
    if not path.is_file() or b'"geometry"' not in path.read_bytes():
        return ()
    return tuple(replace(each, kind=RoiKind.INCLUDE) for each in read_geojson_rois(path))


def find_image(results: Results, image: ImageResult, *, folder: Path | None = None) -> Path:
    """Where the file of an image is now: in ``folder``, else where the run read it; known by its hash.

    Raises
    ------
    ReviewError
        It moved, or what lies in its place is another image.
    """
    roots = [folder] if folder is not None else list(results.sources)
    name = Path(image.name).name
    places = [path for root in roots for path in (root / image.name, root / name, root)]
    there = [path for path in dict.fromkeys(places) if path.exists() and path.name == name]
    for path in there:
        if hash_input(path) == image.sha256:
            return path
    if there:
        raise ReviewError(f"{there[0]}: is not the image that was scored (its hash differs); give the folder of that")
    where = folder or (roots[0] if roots else "unknown")
    raise ReviewError(f"{image.name}: is not in {where} any more; give the folder it moved to (--images FOLDER)")


def find_roi(results: Results, image: ImageResult) -> Path | None:
    """The file of the regions that were drawn for an image, known by its hash; None where none were.

    Raises
    ------
    ReviewError
        It moved, or was changed since.
    """
    if not image.roi_sha256:
        return None
    for source in results.roi_sources:
        places = [source]
        if source.is_dir():
            names = (Path(image.name), Path(image.name).with_suffix(""))
            places = [source / name.with_name(f"{name.name}.geojson") for name in names]
        for path in places:
            if path.is_file() and hash_input(path) == image.roi_sha256:
                return path
    where = results.roi_sources[0] if results.roi_sources else "unknown"
    raise ReviewError(
        f"{image.name}: the regions that were drawn for it are not in {where} any more, or were changed; "
        "the score is theirs all the same"
    )
