"""Regions of an image -> their outlines in a picture, for a canvas in the page and for pictures that are printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant.errors import InputError, OutputError, ReviewError
from pdl1quant.outputs.captions import draw_names, names_apart
from pdl1quant.outputs.files import result_path
from pdl1quant.outputs.region_lines import TOLERANCE_PX, outline_regions, seen_outline
from pdl1quant.outputs.regions import CORE_CLASS, STYLES, OutlinedRegion
from pdl1quant.outputs.scores_table import as_written
from pdl1quant.report.words import EDITED_SINCE, region_score, reviewed_score, shortened
from pdl1quant.review.edits import RoiRule, active_ids, outlines_of_regions
from pdl1quant.review.ledger import ledger_path, read_edits
from pdl1quant.review.regions import region as area_of
from pdl1quant.slides.core_map import CoreKind, kind_of
from pdl1quant.slides.roi_file import read_geojson_rois

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.model import UInt8Array
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.report.gather import ReportRegion
    from pdl1quant.report.pixels import Picture
    from pdl1quant.review.results import ImageResult, Results

MAX_REGIONS = 5000
"""So many are outlined in one picture, the largest ones."""
MAX_CORNERS = 40_000
"""Corners of all outlines in one picture: some 300 kB of the page."""
_REVIEW_NAMES = {
    RoiRule.INCLUDE: ("include", "review: counts again"),
    RoiRule.EXCLUDE: ("exclude", "review: left out"),
    RoiRule.ONLY: ("include", "review: only this counts"),
}
_NAME_PX = 16
"""Letters on a sheet: it prints the picture at half its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRegion:
    """One region as it is shown.

    ``kind`` is a key of `STYLES`, ``note`` a few words beside the name (whose core it is), ``told`` what else is said
    of it, a line each. ``geometry`` is a (multi-)polygon in pixels of the input, from the corner.
    """

    kind: str
    name: str
    note: str
    told: tuple[str, ...]
    geometry: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRegions:
    """The regions of one image, and in a line each which could not be read."""

    shown: tuple[ShownRegion, ...] = ()
    lost: tuple[str, ...] = ()
    has_review: bool = False
    """Whether some of them were drawn in a review."""


def read_regions(results: Results, image: ImageResult, regions: Sequence[ReportRegion]) -> ImageRegions:
    """What was drawn for the run, the cores that it found, then what a review drew that holds.

    Parameters
    ----------
    results, image
        The run, and an image of it that was scored.
    regions
        Rows of the regions and cores of this image, and what a review makes of them.
    """
    shown: list[ShownRegion] = []
    lost = []
    if image.roi_sha256 or regions:
        path = result_path(results.out, "regions", image.stem)
        try:
            shown += _of_run(path, regions, image.case)
        except InputError:
            name = path.relative_to(results.out).as_posix()
            lost.append(f"its regions are not outlined: {name} is missing or damaged; score the image again.")
    reviewed: list[ShownRegion] = []
    try:
        reviewed = _of_review(results, image)
    except (ReviewError, OutputError):
        lost.append("the regions of its review are not outlined: pdl1quant rescore says why.")
    return ImageRegions(shown=(*shown, *reviewed), lost=tuple(lost), has_review=bool(reviewed))


def _of_run(path: Path, regions: Sequence[ReportRegion], case: str) -> list[ShownRegion]:
    by_name = {(each.row.level, each.row.region): each for each in regions}
    shown = []
    for roi in read_geojson_rois(path):
        kind = "core" if roi.name == CORE_CLASS else str(roi.kind)
        name = as_written(roi.title or roi.name)
        found = by_name.get(("core" if kind == "core" else "roi", name))
        note = "" if found is None else _note(found.row, case)
        told = _told(kind, found)
        shown.append(ShownRegion(kind=kind, name=shortened(name), note=note, told=told, geometry=roi.geometry))
    return shown


def _of_review(results: Results, image: ImageResult) -> list[ShownRegion]:
    path = ledger_path(results.out, image.stem)
    edits = read_edits(path, image_sha256=image.sha256, config_digest=results.config.digest)
    shown = []
    for rule, edit in outlines_of_regions(edits, active_ids(edits)).values():
        kind, name = _REVIEW_NAMES[rule]
        told = (
            "Drawn in a review; later regions of it paint over earlier ones",
            "The cells are shown as the run left them",
        )
        shown.append(ShownRegion(kind=kind, name=name, note="", told=told, geometry=area_of(edit.geometry)))
    return shown


def _note(row: ScoreRow, case: str) -> str:
    """Whose core it is, where that is not the ``case`` of its slide, or that it counts for none."""
    if row.level != "core":
        return ""
    kind = kind_of(row.extra)
    if kind in (CoreKind.CONTROL, CoreKind.MISSING):
        return shortened(f"{row.case} ({kind})" if row.case else str(kind))
    return shortened(row.case) if row.case != case else ""


def _told(kind: str, region: ReportRegion | None) -> tuple[str, ...]:
    if kind == "exclude":
        return ("Cells in it are not counted",)
    if region is None:
        return ()
    reviewed = () if region.reviewed is None else reviewed_score(region.reviewed)
    return (*region_score(region.row), *reviewed, *([EDITED_SINCE] if region.is_edited_since else []))


# --- for the page ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRegions:
    """Outlines in a picture: ``entries`` as the viewer reads them, and the ``tolerance_px`` that they kept.

    ``n_outside`` regions do not lie in the picture, ``n_small`` were left out of very many.
    """

    entries: list[dict[str, Any]]
    tolerance_px: float
    n_outside: int
    n_small: int


def fit_regions(
    regions: Sequence[ShownRegion], picture: Picture, *, width: int, height: int, max_corners: int = MAX_CORNERS
) -> FittedRegions:
    """Outlines of those regions that lie in a picture, simplified.

    Parameters
    ----------
    regions
        Of the image.
    picture
        Its place and scale.
    width, height
        Its size.
    max_corners
        Of all outlines; the simplification is coarser where they would have more.
    """
    inner = shapely.box(0, 0, width, height)
    outer = shapely.box(-width, -height, 2 * width, 2 * height)  # nobody can pan farther
    inside = []
    for region in regions:
        geometry = shapely.transform(region.geometry, picture.of_input)
        if shapely.intersects(geometry, inner):
            inside.append((region, geometry))
    n_inside = len(inside)
    if n_inside > MAX_REGIONS:
        least = np.sort([geometry.area for _, geometry in inside])[-MAX_REGIONS]
        inside = [each for each in inside if each[1].area >= least][:MAX_REGIONS]
    tolerance = TOLERANCE_PX
    fitted = [seen_outline(geometry, outer, tolerance) for _, geometry in inside]
    while sum(map(_n_corners, fitted)) > max_corners and tolerance < max(width, height):
        tolerance *= 2
        fitted = [seen_outline(geometry, outer, tolerance) for geometry in fitted]
    kinds = list(STYLES)
    entries = [
        {
            "kind": kinds.index(region.kind),
            "name": region.name,
            "note": region.note,
            "told": list(region.told),
            "rings": [_packed(ring) for ring in shapely.get_rings(shapely.get_parts(geometry))],
        }
        for (region, _), geometry in zip(inside, fitted, strict=True)
        if not geometry.is_empty
    ]
    return FittedRegions(
        entries=entries,
        tolerance_px=tolerance,
        n_outside=len(regions) - n_inside,
        n_small=n_inside - len(inside),
    )


def styles_entry() -> list[dict[str, Any]]:
    """The kinds of regions, as the viewer reads them."""
    return [
        {
            "kind": kind,
            "name": style.name,
            "plural": style.plural,
            "rgb": list(style.rgb),
            "width": style.width_px,
            "dash": list(style.dash_px),
            "ticks": style.has_ticks,
        }
        for kind, style in STYLES.items()
    ]


def _n_corners(geometry: Any) -> int:
    return int(shapely.get_num_coordinates(geometry))


def _packed(ring: Any) -> list[int]:
    """In tenths of a pixel: the first corner, then steps from corner to corner."""
    points = np.rint(shapely.get_coordinates(ring)[:-1] * 10).astype(np.int64)
    points[1:] = np.diff(points, axis=0)
    found: list[int] = points.ravel().tolist()
    return found


# --- for pictures ----------------------------------------------------------------------------------------------------
def draw_regions(
    picture: Picture, regions: Sequence[ShownRegion], *, thickness: float = 1.0, has_names: bool = False
) -> UInt8Array:
    """The picture with the outline of each region in the line of its kind.

    Parameters
    ----------
    picture
        Is not changed.
    regions
        Of the image.
    thickness
        Of the lines, 1: as `STYLES` has them.
    has_names
        Whether names are written above them; those that would cover another are left out.
    """
    drawn = picture.rgb.copy()
    moved = [
        OutlinedRegion(
            kind=each.kind, name=each.name, class_name="", geometry=shapely.transform(each.geometry, picture.of_input)
        )
        for each in regions
    ]
    names = outline_regions(drawn, moved, thickness=thickness)
    if not has_names:
        return drawn
    return draw_names(drawn, names_apart(drawn, names, size_px=_NAME_PX), size_px=_NAME_PX)
