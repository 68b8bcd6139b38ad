"""The negative controls of a run as a report shows them: which images, how their fields spread, the limit of blank."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.model import ResultFlag
from pdl1quant.outputs.files import result_path
from pdl1quant.report import plots, words
from pdl1quant.report.pixels import jpeg_uri, plain_picture
from pdl1quant.stages.score import MIN_FIELDS, highest_limit, lowest_cut_off

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
    """What is shown of the negative controls; ``below`` are the cases that are not told from blank."""

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


def control_panel(run: ReportRun) -> ControlPanel | None:
    """The panel of a run; None where no control was given."""
    results = run.results
    blank = results.blank
    if blank is None:
        return None
    lowest = lowest_cut_off(results.pack, results.indication)
    of_images = Counter(field.image for field in blank.fields)
    problems = [f"No call is made. {problem}" for problem in blank.problems]
    if ResultFlag.CONTROL_STAINED in blank.flags:
        problems.append(f"No call is made. The control is brown: its limit is above the lowest cut-off, {lowest:g} %")
    return ControlPanel(
        limit=_DASH if blank.limit_pct is None else _per_cent(blank.limit_pct),
        how=_how(run, blank),
        n_fields=len(blank.fields),
        problems=tuple(problems),
        below=tuple(row.case or "(no name)" for row in run.case_rows if ResultFlag.BELOW_BLANK in row.flags),
        images=tuple(_image(row, of_images[row.image]) for row in run.control_rows),
        plot=plots.rates([field.rate_pct for field in blank.fields], limit=blank.limit_pct, cut_off=lowest)
        if blank.fields
        else None,
        plot_text="Brown line: limit of blank. Dashed: the lowest "
        + ("cut-off of the indication." if results.indication is not None else "reference line."),
        pictures=tuple(_pictures(run, blank)),
    )


def _pictures(run: ReportRun, blank: BlankLimit) -> list[tuple[str, str]]:
    """As they were drawn when they were scored."""
    rates: dict[str, float] = {}
    for field in blank.fields:
        rates[field.image] = max(field.rate_pct, rates.get(field.image, 0.0))
    entries = sorted(run.record["negative_control"]["images"], key=lambda entry: -rates.get(entry["image"], -1.0))
    paths = {entry["results"]: result_path(run.results.out, "overlays", entry["results"]) for entry in entries}
    there = [(entry["image"], paths[entry["results"]]) for entry in entries if paths[entry["results"]].is_file()]
    return [
        (name, jpeg_uri(plain_picture(path, max_side_px=_SIDE_PX), quality=_QUALITY)) for name, path in there[:_SHOWN]
    ]


def blank_text(run: ReportRun) -> str:
    """``0.83 % (highest of 5 control fields)``; empty where nobody gave controls or a limit."""
    blank, config = run.results.blank, run.results.config.score
    limit = highest_limit(config, blank)
    if limit is None:
        return "" if blank is None else "none: no field of the negative control has enough tumour cells"
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


def _per_cent(value: float) -> str:
    return f"{value:.2f} %"
