"""Images, drawn regions and cores of a case, each as a line of a table: as scored, and as reviewed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.report import words
from pdl1quant.slides.core_map import CoreKind, kind_of
from pdl1quant.slides.pyramid import SAME_MPP
from pdl1quant.stages.score import format_interval, format_tps

if TYPE_CHECKING:
    from pdl1quant.outputs.reviewed import ReviewedRow
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.report.gather import ReportCase, ReportImage, ReportRegion


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedCells:
    """The cells of a line that show a review; ``mark`` says in a few words what is doubtful, ``note`` more."""

    tps: str = ""
    interval: str = ""
    n_tumour: int | None = None
    n_edits: int | None = None
    mark: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLine:
    """An image as one line of a table; ``pixel`` is the size of its pixels (µm), one number where they are square."""

    name: str
    status: str
    error: str
    doubts: str
    tps: str
    interval: str
    n_tumour: int | None
    dab_area: str
    pixel: str
    reviewed: ReviewedCells


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionLine:
    """A drawn region or a core as one line of a table."""

    name: str
    image: str
    status: str
    doubts: str
    tps: str
    interval: str
    n_tumour: int
    dab_area: str
    case: str
    shown_name: str
    """As it stands beside its outline."""
    is_core: bool
    reviewed: ReviewedCells


def image_line(image: ReportImage) -> ImageLine:
    """The line of an image."""
    row = image.row
    return ImageLine(
        name=row.image,
        status=words.STATUS_TEXTS[row.status],
        error=row.error,
        doubts=words.own_doubts(row.flags),
        tps=format_tps(row.tps),
        interval=interval_of(row.tps_low, row.tps_high),
        n_tumour=row.n_tumour,
        dab_area=area_text(row.dab_area_pct),
        pixel=_pixel(image),
        reviewed=_reviewed(image.reviewed, is_edited_since=image.is_edited_since),
    )


def region_lines(case: ReportCase) -> tuple[RegionLine, ...]:
    """The lines of the drawn regions and cores of a case."""
    return tuple(map(_region, case.regions))


def interval_of(low: float | None, high: float | None) -> str:
    """As it is printed in a report; empty where there is none."""
    return format_interval(low, high, dash="\N{EN DASH}")


def area_text(value: float | None, *, unit: str = "") -> str:
    """A share of an area (per cent) as it is printed; a dash where there is none."""
    if value is None:
        return "\N{EN DASH}"
    return ("< 0.1" if 0 < value < 0.1 else f"{value:.1f}") + unit


def tissue_text(mm2: float | None) -> str:
    """An area of tissue as it is printed: three digits, whole mm2 from 100 on; a dash where there is none."""
    if mm2 is None:
        return "\N{EN DASH}"
    if mm2 < 0.001:
        return "< 0.001 mm²"
    return f"{mm2:,.0f} mm²" if mm2 >= 100 else f"{mm2:.3g} mm²"


def _region(region: ReportRegion) -> RegionLine:
    row = region.row
    return RegionLine(
        name=_name(row),
        image=row.image,
        status=words.STATUS_TEXTS[row.status],
        doubts=words.own_doubts(row.flags),
        tps=format_tps(row.tps),
        interval=interval_of(row.tps_low, row.tps_high),
        n_tumour=row.n_tumour or 0,
        dab_area=area_text(row.dab_area_pct),
        case=row.case,
        shown_name=words.shortened(row.region),
        is_core=row.level == "core",
        reviewed=_reviewed(region.reviewed, is_edited_since=region.is_edited_since),
    )


def _name(row: ScoreRow) -> str:
    kind = kind_of(row.extra) if row.level == "core" else None
    return row.region if kind in (None, CoreKind.TISSUE) else f"{row.region} ({kind})"


def _reviewed(row: ReviewedRow | None, *, is_edited_since: bool) -> ReviewedCells:
    mark, note = ("edits not counted", words.EDITED_SINCE) if is_edited_since else ("", "")
    if row is None or row.reviewed_n_tumour is None:
        error = "" if row is None else row.error
        return ReviewedCells(mark=mark or ("not recounted" if error else ""), note=note or error)
    return ReviewedCells(
        tps=format_tps(row.reviewed_tps),
        interval=interval_of(row.reviewed_tps_low, row.reviewed_tps_high),
        n_tumour=row.reviewed_n_tumour,
        n_edits=row.n_edits,
        mark=mark,
        note=note,
    )


def _pixel(image: ReportImage) -> str:
    if image.cells is not None:
        x_um, y_um = image.cells.sides_um.values()
        if abs(x_um / y_um - 1) > SAME_MPP:
            return f"{x_um:.4g} \N{MULTIPLICATION SIGN} {y_um:.4g}"
    return "" if image.row.mpp is None else f"{image.row.mpp:.4g}"
