"""The pictures of a case with their cells, as the viewer in the page reads them."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.errors import InputError
from pdl1quant.outputs.files import result_path
from pdl1quant.outputs.region_lines import TOLERANCE_PX
from pdl1quant.outputs.regions import STYLES
from pdl1quant.report.entries import cells_entry, heat_entry, picture_entry, viewer_data
from pdl1quant.report.fields import IMAGE_FIELD_UM, MIN_FIELD_CELLS, SLIDE_FIELD_UM, Field, heat
from pdl1quant.report.outlines import Rings, draw_cells, read_rings, within
from pdl1quant.report.pixels import Picture, Source, jpeg_uri, plain_picture, shrunk
from pdl1quant.report.regions import draw_regions, fit_regions
from pdl1quant.report.shown import Crop, Shown, TilePlace
from pdl1quant.report.tiles import TILE_PX
from pdl1quant.report.words import about_images
from pdl1quant.review.uncertain import uncertainty
from pdl1quant.stages.score import format_tps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.model import BoolArray, IntpArray, UInt8Array
    from pdl1quant.outputs.regions import RegionStyle
    from pdl1quant.report.gather import ReportCase, ReportImage, ReportRun

MAX_CELLS = 20_000
"""Cells that can be clicked on in one page: some 4 MB of outlines, drawn in a few hundredths of a second."""
_MAX_SIDE_PX = 4096
_MAX_SIDE_OF_MANY_PX = 2048
_MANY = 8
_PAGE_PX = 150_000_000
"""Pixels of all images in one page: some 50 MB, where a rendered field has 0.33 bytes a pixel."""
_OVERVIEW_SIDE_PX = 2048
_QUALITY = 85
_SHEET_SIDE_PX = 560
_SHEET_STEPS = ((560, 76), (560, 66), (480, 62), (400, 58), (320, 54), (240, 50))
"""Longer side (px) and quality of the picture on a sheet: the first that fits into the room there is."""
MAX_SHEET_LENGTH = 140_000
"""Characters of the picture on the sheet of a case alone."""
_THUMB_SIDE_PX = 88
_THUMB_QUALITY = 65
_THUMB_THICKNESS = 3.0
"""Of lines that are to be seen where the picture of a sheet is shrunk to one of a table."""
_CROP_SIDE_PX = 256
_CROP_QUALITY = 78
_FIELD_MPP = 0.5
_OUTLINES_MPP = 1.6
"""Where pixels are larger, outlines of cells hide the tissue."""
_MARGIN_PX = 16
"""A picture of a field may begin so far outside it: on the grid of the level that it is read from."""
_N_FIELDS = 4
"""So many of the most, and of the least, certain fields are shown."""
_COMPANION_SIDE_PX = 1400


def show_case(
    run: ReportRun,
    case: ReportCase,
    *,
    max_cells: int | None = MAX_CELLS,
    max_sheet_length: int = MAX_SHEET_LENGTH,
    tiles: TilePlace | None = None,
) -> Shown:
    """Make the pictures of a case.

    Parameters
    ----------
    run, case
        The run, and one case of it.
    max_cells
        Cells that can be clicked on, None for all; of images beyond that only the pixels are shown.
    max_sheet_length
        Characters that the picture on the case's sheet may take.
    tiles
        Where whole slides are written as tiles, with all their cells; None: an overview and some fields are shown.
    """
    left = 10**12 if max_cells is None else max_cells
    making = _Making(run=run, case=case, left=left, max_sheet_length=max_sheet_length, tiles=tiles)
    with ExitStack() as files:
        for image in case.images:
            making.add(image, files=files)
        making.add_fields()
    companions, remarks = _companions(case)
    return Shown(
        data=viewer_data(making.pictures),
        thumb=making.thumb,
        sheet=making.sheet,
        sheet_image=making.sheet_image,
        styles=making.styles,
        has_cells=making.has_cells,
        unsure=tuple(making.unsure),
        sure=tuple(making.sure),
        companions=companions,
        remarks=(*about_images(making.remarks), *remarks),
    )


class _Making:
    """The pictures of a case while they are made, image by image."""

    def __init__(
        self, *, run: ReportRun, case: ReportCase, left: int, max_sheet_length: int, tiles: TilePlace | None
    ) -> None:
        self.run, self.case, self.left, self.tiles = run, case, left, tiles
        self.max_sheet_length = max_sheet_length
        self.pictures: list[dict[str, Any]] = []
        self.thumb = self.sheet = self.sheet_image = ""
        self.styles: tuple[RegionStyle, ...] = ()
        self.has_cells = False
        self.unsure: list[Crop] = []
        self.sure: list[Crop] = []
        self.remarks: dict[str, list[str]] = {}
        """What is to be said of images -> their names."""
        self._outlines: dict[str, tuple[IntpArray, Rings]] = {}
        self._ranked: list[tuple[Field, Source, ReportImage, int]] = []

    def add(self, image: ReportImage, *, files: ExitStack) -> None:
        """Take over one image, if it was scored."""
        if image.result is not None and image.result.is_duplicate:
            self._remark(image, "the same image as another one of the case; it is counted once.")
        if image.cells is None:
            return
        try:
            source = None if image.path is None else self._source(image.path, image.cells.mpp, files)
        except InputError:  # it could be read when it was scored: an extra, or memory, is missing here
            source = None
        if source is None:
            self._add_overlay(image)
            return
        for text in image.regions.lost:
            self._remark(image, text)
        if image.regions.has_review:
            self._remark(image, "regions of its review are outlined; the cells are shown as the run left them.")
        if not self.sheet:
            self._take_sheet(image, source)
        self._add_picture(image, source)
        source.forget()
        has_cores = any(
            region.row.level == "core" and region.row.image == image.row.image for region in self.case.regions
        )
        if has_cores and not any(region.kind == "core" for region in image.regions.shown):
            self._add_names(image)

    @property
    def _side_px(self) -> int:
        """Longer side of each image, so that all of them fit into a page."""
        n = len(self.case.images)
        return _MAX_SIDE_PX if n <= _MANY else min(_MAX_SIDE_OF_MANY_PX, math.isqrt(_PAGE_PX // n))

    def _source(self, path: Path, mpp: float, files: ExitStack) -> Source:
        return Source(path, mpp=mpp, given_mpp=self.run.results.given_mpp, files=files)

    def _remark(self, image: ReportImage, text: str) -> None:
        names = self.remarks.setdefault(text, [])
        if image.row.image not in names:
            names.append(image.row.image)

    def _add_overlay(self, image: ReportImage) -> None:
        """What was drawn when the image was scored, in its place."""
        assert image.result is not None
        name, overlay = image.row.image, result_path(self.run.results.out, "overlays", image.result.stem)
        if not overlay.is_file():
            self._remark(image, "neither the image nor its overlay is there any more.")
            return
        rgb = plain_picture(overlay, max_side_px=min(_MAX_SIDE_OF_MANY_PX, self._side_px))
        self._set_sheet(rgb, name)
        self._remark(image, "the image is not where it was scored; what was drawn then is shown.")
        entry = picture_entry(name, Picture(rgb=rgb, mpp=0.0), role="overlay")
        self.pictures.append({**entry, "uri": jpeg_uri(rgb, quality=_QUALITY)})

    def _add_names(self, image: ReportImage) -> None:
        """The overview of a microarray as it was drawn when it was scored: with the names of its cores."""
        assert image.result is not None
        overlay = result_path(self.run.results.out, "overlays", image.result.stem)
        if overlay.is_file():
            rgb = plain_picture(overlay, max_side_px=_OVERVIEW_SIDE_PX)
            entry = picture_entry(f"{image.row.image}: names of cores", Picture(rgb=rgb, mpp=0.0), role="overlay")
            self.pictures.append({**entry, "uri": jpeg_uri(rgb, quality=_QUALITY)})

    def _take_sheet(self, image: ReportImage, source: Source) -> None:
        assert image.cells is not None
        whole = source.whole(max_side_px=_SHEET_SIDE_PX)
        drawn = whole.rgb
        if not source.is_slide and image.cells.n_cells and whole.mpp < _OUTLINES_MPP:
            rows = np.arange(image.cells.n_cells)
            cells, rings = image.cells.rows(rows), self._rings(image, rows)
            self.has_cells = True
            drawn = draw_cells(whole, cells, rings, compartment=self.run.results.pack.compartment)
        whole = replace(whole, rgb=drawn)
        regions = image.regions.shown
        few = [each for each in regions if each.kind != "core"]  # circles of cores would hide them at that size
        thumb = draw_regions(whole, few, thickness=_THUMB_THICKNESS)
        self._set_sheet(draw_regions(whole, regions, has_names=True), image.row.image, thumb=thumb)
        self.styles = tuple(style for kind, style in STYLES.items() if any(each.kind == kind for each in regions))

    def _set_sheet(self, rgb: UInt8Array, name: str, *, thumb: UInt8Array | None = None) -> None:
        if not self.sheet:
            self.sheet_image = name
            for side_px, quality in _SHEET_STEPS:
                self.sheet = jpeg_uri(shrunk(rgb, side_px), quality=quality)
                if len(self.sheet) <= self.max_sheet_length:
                    break
            small = shrunk(rgb if thumb is None else thumb, _THUMB_SIDE_PX)
            self.thumb = jpeg_uri(small, quality=_THUMB_QUALITY)

    def _add_picture(self, image: ReportImage, source: Source) -> None:
        assert image.cells is not None
        if source.is_slide and self.tiles is not None:
            picture, entry = self._tiled(image, source, self.tiles)
        else:
            side = min(_OVERVIEW_SIDE_PX, self._side_px) if source.is_slide else self._side_px
            picture = source.whole(max_side_px=side)
            role = "slide" if source.is_slide else "image"
            entry = {
                **picture_entry(image.row.image, picture, role=role),
                "uri": jpeg_uri(picture.rgb, quality=_QUALITY),
            }
        entry["heat_um"] = SLIDE_FIELD_UM if source.is_slide else IMAGE_FIELD_UM
        squares = image.cells.fields(entry["heat_um"])
        self._add_regions(image, entry, picture)
        entry["heat"] = [heat_entry(field, scale=entry["scale"]) for field in heat(squares)]
        if not source.is_slide or self.tiles is not None:
            n = image.cells.n_cells
            if n <= self.left:
                self.left -= n
                entry["cells"] = self._cells(image, np.arange(n), picture)
            else:
                self._remark(image, "its cells are too many for one page; pdl1quant report --tiles shows them.")
        if image.is_counted:
            number = len(self.pictures)
            self._ranked += [(each, source, image, number) for each in squares if each.n_tumour >= MIN_FIELD_CELLS]
        self.pictures.append(entry)

    def _add_regions(self, image: ReportImage, entry: dict[str, Any], picture: Picture) -> None:
        """The outlines of the image's regions, and what is to be said of them."""
        fitted = fit_regions(image.regions.shown, picture, width=entry["width"], height=entry["height"])
        entry["regions"] = fitted.entries
        if entry["role"] == "field":
            return
        if fitted.n_outside:
            is_one = fitted.n_outside == 1
            lie = "one of its regions lies" if is_one else f"{fitted.n_outside:,} of its regions lie"
            self._remark(image, f"{lie} outside of it and {'is' if is_one else 'are'} not shown.")
        if fitted.n_small:
            self._remark(image, f"it has so many regions that {fitted.n_small:,} small ones are not outlined.")
        if fitted.tolerance_px > TOLERANCE_PX:
            about = f"about {fitted.tolerance_px:g} pixels of the picture"
            self._remark(image, f"its regions have so many corners that they are outlined to {about}.")

    def _tiled(self, image: ReportImage, source: Source, place: TilePlace) -> tuple[Picture, dict[str, Any]]:
        """The slide in tiles; the picture has no pixels, it says where they lie."""
        number = str(len(self.pictures))
        pyramid = source.write_tiles(place.folder / number, mpp=self.run.results.config.working_mpp)
        picture = Picture(
            rgb=np.zeros((1, 1, 3), np.uint8),
            mpp=pyramid.mpp,
            scale_x=pyramid.downsample_x,
            scale_y=pyramid.downsample_y,
        )
        entry = picture_entry(image.row.image, picture, role="slide") | {
            "width": pyramid.width,
            "height": pyramid.height,
            "tiles": f"{place.address}/{number}",
            "tile_px": TILE_PX,
            "max_level": pyramid.max_level,
        }
        return picture, entry

    def add_fields(self) -> None:
        """The least certain fields and the most certain ones, of all images together."""
        usual = np.median([each[0].n_tumour for each in self._ranked]) if self._ranked else 0
        full = [each for each in self._ranked if each[0].n_tumour >= usual / 2]  # edges of tissue show little
        ranked = sorted(full, key=lambda each: -each[0].unsure)
        n = min(_N_FIELDS, len(ranked) // 2)
        self._read_ahead([*ranked[:n], *ranked[len(ranked) - n :]])
        for chosen, crops, word in ((ranked[:n], self.unsure, "least"), (ranked[::-1][:n], self.sure, "most")):
            for place in chosen:
                crops.append(self._crop(*place, word=word))
                place[1].forget()

    def _crop(self, field: Field, source: Source, image: ReportImage, number: int, *, word: str) -> Crop:
        assert image.cells is not None
        part = source.part(field, mpp=_FIELD_MPP)
        rows = np.flatnonzero(within(image.cells.places_px, part))
        rings, cells = self._rings(image, rows), image.cells.rows(rows)
        drawn = draw_cells(part, cells, rings, compartment=self.run.results.pack.compartment)
        drawn = draw_regions(replace(part, rgb=drawn), image.regions.shown)
        name = image.row.image
        text = f"TPS {format_tps(field.tps)} % of {field.n_tumour} tumour cells; doubt {field.unsure:.2f}"
        x = field.x_px + field.width_px / 2
        y = field.y_px + field.height_px / 2
        if source.is_slide and self.tiles is None and len(rows) <= self.left:
            self.left -= len(rows)
            entry = picture_entry(f"{name}: {word} certain at {x:.0f}, {y:.0f}", part, role="field")
            entry["uri"] = jpeg_uri(part.rgb, quality=_QUALITY)
            entry["cells"] = self._cells(image, rows, part)
            self._add_regions(image, entry, part)
            number = len(self.pictures)
            self.pictures.append(entry)
        whole = self.pictures[number]
        return Crop(
            uri=jpeg_uri(shrunk(drawn, _CROP_SIDE_PX), quality=_CROP_QUALITY),
            image=name,
            text=text,
            picture=number,
            x=round((x - whole["x_px"]) / whole["scale"][0], 1),
            y=round((y - whole["y_px"]) / whole["scale"][1], 1),
        )

    def _read_ahead(self, ranked: Sequence[tuple[Field, Source, ReportImage, int]]) -> None:
        """The outlines of all fields of an image at once: those of a slide are in a file of a gigabyte."""
        wanted: dict[str, tuple[ReportImage, BoolArray]] = {}
        for field, _, image, _ in ranked:
            assert image.cells is not None
            assert image.result is not None
            _, rows = wanted.setdefault(image.result.stem, (image, np.zeros(image.cells.n_cells, bool)))
            x, y = image.cells.places_px
            rows |= (np.abs(x - field.x_px - field.width_px / 2) < field.width_px / 2 + _MARGIN_PX) & (
                np.abs(y - field.y_px - field.height_px / 2) < field.height_px / 2 + _MARGIN_PX
            )
        for image, rows in wanted.values():
            self._rings(image, np.flatnonzero(rows))

    def _rings(self, image: ReportImage, rows: IntpArray) -> Rings:
        """Outlines of some rows, from the file only where they were not read before."""
        assert image.cells is not None
        assert image.result is not None
        result = image.result
        if result.stem in self._outlines:
            known, rings = self._outlines[result.stem]
            if np.isin(rows, known).all():
                return rings.take(np.searchsorted(known, rows))
        cells, sides_um = image.cells.rows(rows), image.cells.sides_um
        rings = read_rings(self.run.results.out, result.stem, cells, rows, sides_um=sides_um, image_id=result.sha256)
        self._outlines[result.stem] = (rows, rings)
        if rings.are_circles:
            self._remark(image, "its outlines are missing or of other cells; circles of the cells' areas stand in.")
        return rings

    def _cells(self, image: ReportImage, rows: IntpArray, picture: Picture) -> dict[str, Any]:
        assert image.cells is not None
        results = self.run.results
        cells = image.cells.rows(rows)
        unsure = uncertainty(cells, config=results.config, pack=results.pack)
        return cells_entry(cells, picture, self._rings(image, rows), unsure, results.pack.compartment)


def _companions(case: ReportCase) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    shown, remarks = [], []
    for companion in case.companions:
        try:
            rgb = plain_picture(companion.path, max_side_px=_COMPANION_SIDE_PX)
        except Exception as error:  # noqa: BLE001  a broken neighbour must not cost the report
            remarks.append(f"{companion.title}: {' '.join(str(error).split())}")
            continue
        shown.append((companion.title, jpeg_uri(rgb, quality=_QUALITY)))
    return tuple(shown), tuple(remarks)
