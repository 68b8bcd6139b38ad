"""Regions of an image -> their outlines in a picture, for a canvas in the page and for pictures that are printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import shapely

from pdl1quant.errors import InputError, OutputError, ReviewError
from pdl1quant.outputs.captions import draw_names, names_apart
from pdl1quant.outputs.files import result_path
from pdl1quant.outputs.regions import CORE_CLASS, STYLES
from pdl1quant.outputs.scores_table import as_written
from pdl1quant.report.words import region_score, shortened
from pdl1quant.review.edits import RoiRule, active_ids, outlines_of_regions
from pdl1quant.review.ledger import ledger_path, read_edits
from pdl1quant.review.regions import region as area_of
from pdl1quant.slides.core_map import CoreKind, kind_of
from pdl1quant.slides.roi import areas_in, read_geojson_rois

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.model import Float64Array, UInt8Array
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.report.pixels import Picture
    from pdl1quant.review.results import ImageResult, Results

TOLERANCE_PX = 0.5
"""So far a simplified outline may lie from the drawn one, in pixels of the picture; more where there are too many."""
MAX_CORNERS = 40_000
"""Corners of all outlines in one picture: some 300 kB of the page."""
_REVIEW_NAMES = {
    RoiRule.INCLUDE: ("include", "review: counts again"),
    RoiRule.EXCLUDE: ("exclude", "review: left out"),
    RoiRule.ONLY: ("include", "review: only this counts"),
}
_CASING = (255, 255, 255)
_TICK_PX = (6.0, 7.0)
"""Length of ticks, and their distance along the line."""
_SUBPIXEL_BITS = 4
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


def read_regions(results: Results, image: ImageResult, rows: Sequence[ScoreRow]) -> ImageRegions:
    """What was drawn for the run, the cores that it found, then what a review drew that holds.

    Parameters
    ----------
    results, image
        The run, and an image of it that was scored.
    rows
        Rows of the regions and cores of this image.
    """
    shown: list[ShownRegion] = []
    lost = []
    if image.roi_sha256 or rows:
        path = result_path(results.out, "regions", image.stem)
        try:
            shown += _of_run(path, rows, image.case)
        except InputError:
            name = path.relative_to(results.out).as_posix()
            lost.append(f"its regions are not outlined: {name} is missing or damaged; score the image again.")
    try:
        shown += _of_review(results, image)
    except (ReviewError, OutputError):
        lost.append("the regions of its review are not outlined: pdl1quant rescore says why.")
    return ImageRegions(shown=tuple(shown), lost=tuple(lost))


def _of_run(path: Path, rows: Sequence[ScoreRow], case: str) -> list[ShownRegion]:
    by_name = {(row.level, row.region): row for row in rows}
    shown = []
    for roi in read_geojson_rois(path):
        kind = "core" if roi.name == CORE_CLASS else str(roi.kind)
        name = as_written(roi.title or roi.name)
        row = by_name.get(("core" if kind == "core" else "roi", name))
        shown.append(
            ShownRegion(
                kind=kind, name=shortened(name), note=_note(row, case), told=_told(kind, row), geometry=roi.geometry
            )
        )
    return shown


def _of_review(results: Results, image: ImageResult) -> list[ShownRegion]:
    path = ledger_path(results.out, image.stem)
    edits = read_edits(path, image_sha256=image.sha256, config_digest=results.config.digest)
    shown = []
    for rule, edit in outlines_of_regions(edits, active_ids(edits)).values():
        kind, name = _REVIEW_NAMES[rule]
        told = ("Drawn in a review; later regions of it paint over earlier ones",)
        shown.append(ShownRegion(kind=kind, name=name, note="", told=told, geometry=area_of(edit.geometry)))
    return shown


def _note(row: ScoreRow | None, case: str) -> str:
    """Whose core it is, where that is not the ``case`` of its slide, or that it counts for none."""
    if row is None or row.level != "core":
        return ""
    kind = kind_of(row.extra)
    if kind in (CoreKind.CONTROL, CoreKind.MISSING):
        return shortened(f"{row.case} ({kind})" if row.case else str(kind))
    return shortened(row.case) if row.case != case else ""


def _told(kind: str, row: ScoreRow | None) -> tuple[str, ...]:
    if kind == "exclude":
        return ("Cells in it are not counted",)
    return region_score(row) if row is not None else ()


# --- for the page ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class FittedRegions:
    """Outlines in a picture: ``entries`` as the viewer reads them; ``tolerance_px`` that they kept; ``n_outside``."""

    entries: list[dict[str, Any]]
    tolerance_px: float
    n_outside: int


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
    tolerance = TOLERANCE_PX
    fitted = [_fitted(geometry, outer, tolerance) for _, geometry in inside]
    while sum(map(_n_corners, fitted)) > max_corners and tolerance < max(width, height):
        tolerance *= 2
        fitted = [_fitted(geometry, outer, tolerance) for geometry in fitted]
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
    ]
    return FittedRegions(entries=entries, tolerance_px=tolerance, n_outside=len(regions) - len(inside))


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


def _fitted(geometry: Any, outer: Any, tolerance: float) -> Any:
    """Cut and simplified, without parts and holes that are too small to be seen; the largest part is kept."""
    simple = shapely.simplify(geometry, tolerance)
    if not shapely.covered_by(simple, outer):
        simple = areas_in(shapely.intersection(shapely.make_valid(simple), outer))
    parts = sorted(shapely.get_parts(simple), key=shapely.area, reverse=True)
    least = tolerance**2
    kept = [
        shapely.Polygon(part.exterior, [ring for ring in part.interiors if shapely.Polygon(ring).area >= least])
        for number, part in enumerate(parts)
        if number == 0 or part.area >= least
    ]
    return shapely.MultiPolygon(kept)


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
    drawn, names = picture.rgb.copy(), []
    inner = shapely.box(0, 0, picture.width, picture.height)
    outer = shapely.buffer(inner, 32, cap_style="square", join_style="mitre")
    for region in sorted(regions, key=lambda each: -list(STYLES).index(each.kind)):
        geometry = shapely.transform(region.geometry, picture.of_input)
        if not shapely.intersects(geometry, inner):
            continue
        geometry = _fitted(geometry, outer, TOLERANCE_PX)
        _draw_region(drawn, geometry, kind=region.kind, thickness=thickness)
        left, top, right, _ = shapely.intersection(geometry, inner).bounds
        names.append((region.name, (left + right) / 2, top))
    if not has_names:
        return drawn
    return draw_names(drawn, names_apart(drawn, names, size_px=_NAME_PX), size_px=_NAME_PX)


def _draw_region(drawn: UInt8Array, geometry: Any, *, kind: str, thickness: float) -> None:
    style = STYLES[kind]
    width = max(1, round(style.width_px * thickness))
    rings = [
        shapely.get_coordinates(ring)
        for ring in shapely.get_rings(shapely.get_parts(shapely.orient_polygons(geometry)))
    ]
    lines = [line for ring in rings for line in _dashes(ring, [each * thickness for each in style.dash_px])]
    ticks = [tick for ring in rings for tick in _ticks(ring, thickness)] if style.has_ticks else []
    _draw_lines(drawn, rings, _CASING, width + 2)
    _draw_lines(drawn, [*lines, *ticks], style.rgb, width)


def _draw_lines(drawn: UInt8Array, lines: Sequence[Float64Array], rgb: tuple[int, int, int], width: int) -> None:
    if not lines:
        return
    points = [np.rint((line - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32) for line in lines]
    cv2.polylines(drawn, points, False, rgb, width, cv2.LINE_AA, _SUBPIXEL_BITS)


def _dashes(ring: Float64Array, dash: Sequence[float]) -> list[Float64Array]:
    """A closed line (n, 2) cut into dashes (on, off); the whole of it without any."""
    if not dash:
        return [ring]
    at, along = _along(ring)
    on, off = dash
    starts = np.arange(0, at[-1], on + off)
    ends = np.minimum(starts + on, at[-1])
    return [
        np.vstack([along(start), ring[(at > start) & (at < end)], along(end)])
        for start, end in zip(starts, ends, strict=True)
    ]


def _ticks(ring: Float64Array, thickness: float) -> list[Float64Array]:
    """Short strokes from a closed line to its inside, which lies on the left of its way."""
    at, along = _along(ring)
    length, step = (each * thickness for each in _TICK_PX)
    places = np.arange(step / 2, at[-1], step)
    starts, way = along(places), along(places + 0.01) - along(places - 0.01)
    way /= np.maximum(np.hypot(*way.T)[:, None], 1e-9)
    inwards = np.column_stack([-way[:, 1], way[:, 0]])
    return list(np.stack([starts, starts + length * inwards], axis=1))


def _along(ring: Float64Array) -> tuple[Float64Array, Any]:
    """How far along a line (n, 2) its corners lie, and a function that gives the places (m, 2) at such distances."""
    at = np.append(0, np.cumsum(np.hypot(*np.diff(ring, axis=0).T)))

    def along(distance: Any) -> Float64Array:
        return np.column_stack([np.interp(distance, at, each) for each in ring.T])

    return at, along
