"""The negative controls of a run as a report shows them: which images, how their fields spread, the limit of blank."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.model import ResultFlag
from pdl1quant.outputs.files import result_path
from pdl1quant.report import plots, words
from pdl1quant.report.pixels import jpeg_uri, plain_picture
from pdl1quant.stages.score import MIN_FIELDS, blank_of_case, highest_limit, lowest_cut_off

if TYPE_CHECKING:
    from markupsafe import Markup

    from pdl1quant.model import BlankLimit
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.report.gather import ReportRun


_SHOWN, _SIDE_PX, _QUALITY = 4, 640, 80
"""Pictures of controls: how many, and how they are written."""
_DASH = "\N{EN DASH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlImage:
    """A control as one line of a table; ``n_fields`` are those that made the limit."""

    name: str
    status: str
    rate: str
    n_tumour: int | None
    n_fields: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPanel:
    """What is shown of negative controls; ``below`` are the cases that are not told from blank."""

    case: str
    """Whose own they are; empty for all."""
    limit: str
    how: str
    n_fields: int
    problems: tuple[str, ...]
    below: tuple[str, ...]
    images: tuple[ControlImage, ...]
    plot: Markup | None
    plot_text: str
    pictures: tuple[tuple[str, str], ...]
    """Name and picture (data URI) of those with the brownest fields, with the outlines of their cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnControl:
    """The negative control that one case has of its own, as one line of a table."""

    case: str
    limit: str
    how: str
    problems: str


def control_panel(run: ReportRun, case: str = "") -> ControlPanel | None:
    """The panel of the controls that a case has of its own, or of those of all; None where there are none."""
    results = run.results
    blank = results.limits.get(case)
    if blank is None:
        return None
    lowest = lowest_cut_off(results.pack, results.indication)
    of_images = Counter(field.image for field in blank.fields)
    return ControlPanel(
        case=case,
        limit=_per_cent(blank.limit_pct),
        how=_how(run, blank),
        n_fields=len(blank.fields),
        problems=tuple(f"It does not hold: {problem}" for problem in _problems(blank, lowest)),
        below=() if case else tuple(_below(run, blank)),
        images=tuple(_image(row, of_images[row.image]) for row in run.control_rows if row.case == case),
        plot=plots.rates([field.rate_pct for field in blank.fields], limit=blank.limit_pct, cut_off=lowest)
        if blank.fields
        else None,
        plot_text="Brown line: limit of blank. Dashed: the lowest "
        + ("cut-off of the indication." if results.indication is not None else "reference line."),
        pictures=tuple(_pictures(run, blank, case)),
    )


def _below(run: ReportRun, blank: BlankLimit) -> list[str]:
    """Cases below this limit; others may be below one of their own, or that was set."""
    if blank.limit_pct is None:
        return []
    flagged = [row for row in run.case_rows if ResultFlag.BELOW_BLANK in row.flags]
    return [row.case or "(no name)" for row in flagged if row.tps is not None and row.tps <= blank.limit_pct]


def own_controls(run: ReportRun) -> tuple[OwnControl, ...]:
    """The cases that have controls of their own, a line each."""
    lowest = lowest_cut_off(run.results.pack, run.results.indication)
    return tuple(
        OwnControl(
            case=case,
            limit=_per_cent(blank.limit_pct),
            how=_made_of(len(blank.fields)) if blank.fields else "",
            problems="; ".join(_problems(blank, lowest)),
        )
        for case, blank in run.results.limits.items()
        if case
    )


def _problems(blank: BlankLimit, lowest: float | None) -> list[str]:
    is_stained = ResultFlag.CONTROL_STAINED in blank.flags
    stained = [f"it is brown, its limit is above the lowest cut-off, {lowest:g} %"] if is_stained else []
    return [*stained, *blank.problems]


def _pictures(run: ReportRun, blank: BlankLimit, case: str) -> list[tuple[str, str]]:
    """As they were drawn when they were scored."""
    rates: dict[str, float] = {}
    for field in blank.fields:
        rates[field.image] = max(field.rate_pct, rates.get(field.image, 0.0))
    entries = [entry for entry in run.record["negative_control"]["images"] if entry["case"] == case]
    entries.sort(key=lambda entry: -rates.get(entry["image"], -1.0))
    paths = {entry["results"]: result_path(run.results.out, "overlays", entry["results"]) for entry in entries}
    there = [(entry["image"], paths[entry["results"]]) for entry in entries if paths[entry["results"]].is_file()]
    return [
        (name, jpeg_uri(plain_picture(path, max_side_px=_SIDE_PX), quality=_QUALITY)) for name, path in there[:_SHOWN]
    ]


def blank_text(run: ReportRun, case: str) -> str:
    """The limit of a case: ``0.83 % (highest of 5 control fields)``; empty where nobody gave controls or a limit."""
    blank, config = blank_of_case(run.results.limits, case), run.results.config.score
    limit = highest_limit(config, blank)
    if limit is None:
        return "" if blank is None else "none: the negative control does not hold"
    if blank is None or blank.limit_pct is None or blank.limit_pct < limit:
        return f"{_per_cent(limit)} (as set)"
    return f"{_per_cent(limit)} ({_made_of(len(blank.fields))})"


def _how(run: ReportRun, blank: BlankLimit) -> str:
    if not blank.fields:
        told = f"No field with at least {blank.min_cells} viable tumour cells."
    else:
        told = (
            f"{run.results.pack.score_name}, {_made_of(len(blank.fields))} with at least {blank.min_cells} viable "
            "tumour cells each: of a slide its 500 µm blocks, else the image as a whole."
        )
    if blank.n_too_few:
        told += f" {blank.n_too_few:,} with fewer passed over."
    typed = run.results.config.score.limit_of_blank_pct
    if typed is not None and highest_limit(run.results.config.score, blank) == typed:
        told += f" The setting score.limit_of_blank_pct, {typed:g} %, is not below it, and holds."
    return told


def _made_of(n: int) -> str:
    fields = "1 control field" if n == 1 else f"{n:,} control fields"
    return f"highest of {fields}" if n < MIN_FIELDS else f"95th percentile of {fields}"


def _image(row: ScoreRow, n_fields: int) -> ControlImage:
    status = "; ".join(filter(None, (words.STATUS_TEXTS[row.status], row.error, words.own_doubts(row.flags))))
    return ControlImage(
        name=row.image,
        status=status,
        rate=_DASH if row.tps is None else f"{row.tps:.2f}",
        n_tumour=row.n_tumour,
        n_fields=n_fields,
    )


def _per_cent(value: float | None) -> str:
    return _DASH if value is None else f"{value:.2f} %"
