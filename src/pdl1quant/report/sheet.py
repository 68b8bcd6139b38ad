"""One case as the templates show it: texts, drawings, quality, origin."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.model import ArtefactKind, Flag, Status
from pdl1quant.outputs.flag_words import sorted_flags
from pdl1quant.report import plots, words
from pdl1quant.report.calls import CallPanel, calls_of, reviewed_calls_of
from pdl1quant.report.controls import blank_text
from pdl1quant.report.figures import Figures, figures_of
from pdl1quant.report.lines import ImageLine, RegionLine, area_text, image_line, interval_of, region_lines, tissue_text
from pdl1quant.report.method import how_vectors_were_got, how_white_was_got
from pdl1quant.slides.raster import Note
from pdl1quant.stages.score import cells_asked_for, format_tps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from pdl1quant.model import StainEstimate
    from pdl1quant.outputs.flag_words import FlagText
    from pdl1quant.outputs.reviewed import ReviewedRow
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.report.gather import ReportCase, ReportRun
    from pdl1quant.report.shown import Shown

_MUCH_SPOILT = 0.1
"""Share of the tissue; so many tumour cells left out make a result partial, too."""
_NOTES = {
    Note.ALPHA_ON_WHITE: "transparency laid on white",
    Note.CMYK_CONVERTED: "CMYK converted without its profile",
    Note.EXTRA_CHANNELS_IGNORED: "further channels ignored",
    Note.ICC_IGNORED: "colour profile not applied",
    Note.ORIENTATION_APPLIED: "turned or mirrored as the file asks",
    Note.REDUCED_TO_8_BIT: "16 bit reduced to 8",
}
"""What is said of the reading of a file; notes that are flags are said by these."""
_UNSCORED = (Status.REFUSED, Status.FAILED)
_TOLD = 3
"""Images of which a sheet says why they were not scored."""
_SWATCH_OD = 0.6
"""Density at which the colour of a stain is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the quality panel; ``share`` 0-1 where it is one, ``is_high`` where it should be looked at."""

    name: str
    text: str
    share: float | None = None
    is_high: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Swatch:
    """A colour of the staining: its hex code, and how it was got."""

    name: str
    colour: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What is shown of one case."""

    number: int
    name: str
    row: ScoreRow
    score: str
    interval: str
    bar: Markup
    small_bar: Markup
    status: str
    adequacy: str
    calls: CallPanel
    blank: str
    """The limit of blank that holds for it; empty without any."""
    cps: str
    areas: tuple[tuple[str, str], ...]
    """Areas and shares of them in words, by name."""
    flags: tuple[FlagText, ...]
    figures: Figures
    images: tuple[ImageLine, ...]
    unscored: tuple[str, ...]
    """Images that could not be scored, and why; of many the first."""
    regions: tuple[RegionLine, ...]
    checks: tuple[Check, ...]
    swatches: tuple[Swatch, ...]
    extra: tuple[tuple[str, str], ...]
    reviewed: ReviewedRow | None
    review_note: str
    """What of the review is not in the numbers; empty where all is."""
    reviewed_score: str
    reviewed_calls: CallPanel | None
    digests: tuple[tuple[str, str], ...]
    shown: Shown
    page: str = ""
    """Address of the case's own page, from the cohort's."""
    is_shared_out: bool = False
    """Whether it is a microarray whose cores a map shares out to cases, and no case itself."""
    slides: tuple[str, ...] = ()
    """Of a case that is pooled from cores, the slides that they are on."""
    array_pages: Mapping[str, str] = field(default_factory=dict)
    """Addresses of the pages of microarrays, from the pages of cases, by slide."""

    @property
    def is_judged(self) -> bool:
        """Whether a flag could have been raised."""
        return self.row.status not in _UNSCORED

    @property
    def is_scored(self) -> bool:
        """Whether there is a TPS."""
        return self.row.tps is not None

    def without_viewer(self) -> Sheet:
        """The sheet without the pictures of the case's own page: a cohort of them has to fit into memory."""
        shown = replace(self.shown, data={}, unsure=(), sure=(), companions=())
        return replace(self, shown=shown)


def _review_note(case: ReportCase) -> str:
    reviewed = case.reviewed
    if reviewed is not None and reviewed.status is Status.FAILED and case.row.status is not Status.FAILED:
        return f"the edits of this case cannot be applied: {reviewed.error}; pdl1quant rescore says more"
    if not case.is_edited_since:
        return ""
    since = "since this was counted" if reviewed is not None and reviewed.reviewers else "that are not counted"
    return f"edits were made {since}; run pdl1quant rescore, then pdl1quant report"


def sheet_of(
    run: ReportRun,
    case: ReportCase,
    shown: Shown,
    *,
    number: int,
    page: str = "",
    array_pages: Mapping[str, str] | None = None,
) -> Sheet:
    """Put together what is shown of a case."""
    row, pack, indication = case.row, run.results.pack, run.results.indication
    lines = pack.reference_lines_pct
    reviewed = case.reviewed
    return Sheet(
        number=number,
        name=f"{row.case} (all cores)" if case.is_array else row.case or "(no name)",
        row=row,
        score=format_tps(row.tps),
        interval=interval_of(row.tps_low, row.tps_high),
        bar=plots.interval_bar(row.tps, row.tps_low, row.tps_high, lines=lines, large=True),
        small_bar=plots.interval_bar(row.tps, row.tps_low, row.tps_high, lines=lines),
        status=words.STATUS_TEXTS[row.status],
        adequacy=_adequacy(row, cells_asked_for(pack, indication), is_shared_out=_is_shared_out(run, case)),
        calls=calls_of(row, pack=pack, indication=indication),
        blank=blank_text(run, row.case),
        cps=_with_interval(row.cps, row.cps_low, row.cps_high, unit=""),
        areas=_areas(row),
        flags=tuple(sorted_flags(row.flags)),
        figures=figures_of(case, config=run.results.config, pack=pack),
        images=tuple(map(image_line, case.images)),
        unscored=tuple(_unscored(case)),
        regions=region_lines(case),
        checks=tuple(_checks(case, max_share=run.results.config.score.max_excluded_share)),
        swatches=tuple(_swatches(case.estimate)) if case.estimate is not None else (),
        extra=_extra(case),
        reviewed=reviewed if reviewed is not None and reviewed.reviewers else None,
        review_note=_review_note(case),
        reviewed_score=_with_interval(reviewed.reviewed_tps, reviewed.reviewed_tps_low, reviewed.reviewed_tps_high)
        if reviewed is not None
        else "",
        reviewed_calls=reviewed_calls_of(reviewed, pack=pack, indication=indication) if reviewed is not None else None,
        digests=tuple(
            (image.row.image, image.result.sha256) for image in case.images if image.result and image.result.sha256
        ),
        shown=shown,
        page=page,
        is_shared_out=_is_shared_out(run, case),
        slides=tuple(dict.fromkeys(core.row.image for core in case.regions)) if case.is_of_cores else (),
        array_pages=array_pages or {},
    )


def _with_interval(value: float | None, low: float | None, high: float | None, *, unit: str = " %") -> str:
    interval = interval_of(low, high)
    return format_tps(value) + (f"{unit} ({interval})" if interval else "" if value is None else unit)


def _areas(row: ScoreRow) -> tuple[tuple[str, str], ...]:
    found = {
        "IC area": row.ic_area_pct,
        "TAP area": row.tap_area_pct,
        "Stained tissue": row.dab_area_pct,
        "Stained in tumour cells": row.tumour_dab_area_pct,
    }
    shares = tuple((name, area_text(value, unit=" %")) for name, value in found.items())
    return (*shares, ("Tissue", tissue_text(row.tissue_mm2)))


def _is_shared_out(run: ReportRun, case: ReportCase) -> bool:
    """Whether the map names cores of it: of two microarrays it may name those of one."""
    mapped = {core.stem for core in run.results.core_map}
    return case.is_array and any(image.result is not None and image.result.stem in mapped for image in case.images)


def _adequacy(row: ScoreRow, least: int, *, is_shared_out: bool = False) -> str:
    if row.status in _UNSCORED:
        return ""
    n = row.n_tumour or 0
    if is_shared_out:
        return f"{n:,} viable tumour cells of several cases, each with a row and a page of its own"
    if row.level == "array":
        return f"{n:,} viable tumour cells of all cores; no map says whose each core is"
    verdict = "evaluable" if row.evaluable else "not evaluable"
    return f"{verdict}: {n:,} viable tumour cells ({least:,} are asked for)"


def _unscored(case: ReportCase) -> list[str]:
    """A line each; not what the row of the case says itself."""
    rows = [image.row for image in case.images if image.row.status in _UNSCORED]
    lines = [f"{row.image}: {row.error}" for row in rows if row.error != case.row.error]
    rest = len(lines) - _TOLD
    return lines if rest <= 1 else [*lines[:_TOLD], f"and {rest:,} more"]


def _extra(case: ReportCase) -> tuple[tuple[str, str], ...]:
    """Free columns: what all images of the case share, else what each says."""
    rows = [image.row for image in case.images] or [region.row for region in case.regions]
    names = dict.fromkeys(name for row in rows for name in row.extra)
    found = []
    for name in names:
        values = dict.fromkeys(row.extra.get(name, "") for row in rows)
        text = "; ".join(value for value in values if value)
        if text:
            found.append((name, text))
    return tuple(found)


def _checks(case: ReportCase, *, max_share: float) -> list[Check]:
    digest = case.digest
    if digest is None or not digest.n_cells:
        return []

    def share(flag: Flag, name: str, *, of_all: bool = False) -> Check:
        n = digest.flags[flag]
        part = n / digest.n_cells
        return Check(
            name=name,
            text=f"{_per_cent(part)} of cells ({n:,})",
            share=part,
            is_high=part > max_share and not of_all,
        )

    sharpness, residual = (float(np.nanmedian(od)) for od in (digest.sharpness_od, digest.residual_od))
    return [
        share(Flag.OUT_OF_FOCUS, "Out of focus"),
        Check(name="Sharpness of nuclei", text=f"{sharpness:.3f} OD per µm (median)"),
        share(Flag.PIGMENT, "Covered by pigment"),
        share(Flag.PYKNOTIC, "Not viable (pyknotic)"),
        share(Flag.OVERLAID, "Under a brown immune cell"),
        share(Flag.SATURATED, "Too dark for the stain split"),
        share(Flag.TOUCHES_EDGE, "Cut by the edge", of_all=True),
        share(Flag.OUTSIDE_ROI, "Outside the drawn region", of_all=True),
        share(Flag.FAR_FROM_TUMOUR, "Immune cells far from tumour (not in the CPS)", of_all=True),
        Check(name="Colour neither stain explains", text=f"{round(residual, 3) + 0.0:.3f} OD (median of cells)"),
        *_spoilt(case),
        *_reading(case),
    ]


def _reading(case: ReportCase) -> list[Check]:
    """What was done to the images on reading them, or ignored; what has a flag is said by that."""
    counted = [image for image in case.images if image.is_counted]
    told = [
        f"{text} ({n} of {len(counted)} images)"
        for note, text in _NOTES.items()
        if (n := sum(note in image.notes for image in counted))
    ]
    return [Check(name="On reading", text="; ".join(told))] if told else []


def _spoilt(case: ReportCase) -> list[Check]:
    """What of the tissue of its slides is spoilt, by kind; plain images are not searched."""
    found = [image.artefacts for image in case.images if image.artefacts is not None]
    if not found:
        return [Check(name="Pen, folds, bubbles", text="not looked for on plain images")]
    shares = {kind: max(each.get(kind, 0.0) for each in found) for kind in ArtefactKind}
    of = "of the tissue" if len(found) == 1 else "of the tissue of one slide"
    told = [f"{kind} {_per_cent(share)}" for kind, share in shares.items() if share > 0]
    text = f"{', '.join(told)} {of}; left out" if told else "none found"
    return [Check(name="Pen, folds, bubbles, blur", text=text, is_high=sum(shares.values()) > _MUCH_SPOILT)]


def _per_cent(part: float) -> str:
    return "0 %" if part == 0 else "< 1 %" if part < 0.01 else f"{100 * part:.0f} %"


def _swatches(estimate: StainEstimate) -> list[Swatch]:
    white = np.asarray(estimate.white)

    def colour(vector: Sequence[float]) -> str:
        return _hex(white * 10 ** (-_SWATCH_OD * np.asarray(vector)))

    got = how_vectors_were_got(estimate)
    return [
        Swatch(
            name="Empty glass",
            colour=_hex(white),
            text=f"{', '.join(f'{level:.0f}' for level in estimate.white)} (RGB); {how_white_was_got(estimate)}",
        ),
        Swatch(
            name="Haematoxylin", colour=colour(estimate.haematoxylin), text=f"{_vector(estimate.haematoxylin)}; {got}"
        ),
        Swatch(name="DAB", colour=colour(estimate.dab), text=f"{_vector(estimate.dab)}; {got}"),
    ]


def _vector(vector: Sequence[float]) -> str:
    return ", ".join(f"{part:.3f}" for part in vector)


def _hex(rgb: Any) -> str:
    return "#" + "".join(f"{int(level):02x}" for level in np.clip(np.rint(rgb), 0, 255))


def shared_flags(sheets: Sequence[Sheet]) -> tuple[FlagText, ...]:
    """Flags that every scored case carries: said once, above the table."""
    scored = [sheet for sheet in sheets if sheet.is_scored]
    if len(scored) < 2:
        return ()
    common = set.intersection(*({flag.name for flag in sheet.flags} for sheet in scored))
    return tuple(sorted_flags(tuple(common)))
