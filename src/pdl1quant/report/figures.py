"""The drawings of one case: its rates, its curve, its histogram, how it spreads over images or tissue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import Compartment
from pdl1quant.outputs.overview import MIN_CELLS
from pdl1quant.report import plots
from pdl1quant.report.fields import SLIDE_FIELD_UM
from pdl1quant.report.words import RATE_NAMES
from pdl1quant.stages.score import format_tps, wilson_interval

if TYPE_CHECKING:
    from markupsafe import Markup

    from pdl1quant.config import Config
    from pdl1quant.model import RulePack
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.report.digest import Digest
    from pdl1quant.report.gather import ReportCase

_SQUARES_UM = (SLIDE_FIELD_UM, 100.0, 50.0)
"""Sides of the squares of an image that is a case alone: the largest of which several lie side by side."""
_CURVES = (Compartment.CYTOPLASM, Compartment.MEMBRANE, Compartment.CELL)
_CURVE_NAMES = {
    Compartment.CYTOPLASM: "cytoplasm or membrane",
    Compartment.MEMBRANE: "membrane",
    Compartment.CELL: "whole cell",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One of the four rates of a case, as it is shown beside the others."""

    name: str
    text: str
    n: int | None
    bar: Markup
    is_scored: bool
    is_discordant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The drawings of a case; None where there is nothing to draw."""

    rates: tuple[Rate, ...]
    curve: Markup | None
    histogram: Markup | None
    spread: Markup | None
    spread_title: str


def rates_of(row: ScoreRow) -> tuple[Rate, ...]:
    """Membrane, cytoplasm or membrane, cytoplasm without membrane, whole cell: side by side."""
    rates = []
    for compartment in Compartment:
        value: float | None = getattr(row, f"tps_{compartment}")
        n = None if value is None or row.n_tumour is None else round(value * row.n_tumour / 100)
        rates.append(
            Rate(
                name=RATE_NAMES[compartment],
                text=format_tps(value),
                n=n,
                bar=plots.share_bar(value, css=f"fill {compartment}"),
                is_scored=row.score_compartment == compartment,
                is_discordant=compartment is Compartment.CYTOPLASM_ONLY,
            )
        )
    return tuple(rates)


def figures_of(case: ReportCase, *, config: Config, pack: RulePack) -> Figures:
    """All drawings of a case from its cells."""
    digest = case.digest
    rates = rates_of(case.row)
    if digest is None:
        spots, title = _cores(case), "TPS of each core"
        spread = plots.spread(spots, total=case.row.tps, title=title) if len(spots) > 1 else None
        return Figures(rates=rates, curve=None, histogram=None, spread=spread, spread_title=title)
    spots, title = _spots(case)
    return Figures(
        rates=rates,
        curve=_curve(digest, config=config, pack=pack) if digest.n_tumour else None,
        histogram=_histogram(digest, config=config) if digest.n_cells else None,
        spread=plots.spread(spots, total=case.row.tps, title=title) if len(spots) > 1 else None,
        spread_title=title,
    )


def _curve(digest: Digest, *, config: Config, pack: RulePack) -> Markup:
    lines = [
        plots.Line(
            css=str(compartment),
            name=_CURVE_NAMES[compartment],
            values=100.0 * digest.reaching[compartment] / digest.n_tumour,
        )
        for compartment in _CURVES
    ]
    return plots.threshold_curve(
        lines,
        t1=config.positivity.dab_od,
        margin=config.score.threshold_margin_od,
        references=pack.reference_lines_pct,
    )


def _histogram(digest: Digest, *, config: Config) -> Markup:
    positivity = config.positivity
    return plots.od_histogram(
        digest.tumour_bins,
        digest.other_bins,
        n_tumour=digest.n_tumour,
        n_others=digest.n_others,
        cuts=(positivity.dab_od, positivity.grade_2_od, positivity.grade_3_od),
    )


def _cores(case: ReportCase) -> list[plots.Spot]:
    """The cores of a case that is pooled from them."""
    several = len({region.row.image for region in case.regions}) > 1
    return [
        plots.Spot(
            name=f"{core.image} {core.region}" if several else core.region,
            tps=core.tps,
            low=core.tps_low,
            high=core.tps_high,
            n=core.n_tumour or 0,
        )
        for core in (region.row for region in case.regions)
        if case.is_of_cores and core.tps is not None
    ]


def _spots(case: ReportCase) -> tuple[list[plots.Spot], str]:
    """The images of the case, or, of one alone, its squares of tissue; and what they are called."""
    counted = [image for image in case.images if image.is_counted and image.row.tps is not None]
    if len(counted) != 1:
        return [
            plots.Spot(
                name=image.row.image.rpartition("/")[2],
                tps=image.row.tps or 0.0,
                low=image.row.tps_low,
                high=image.row.tps_high,
                n=image.row.n_tumour or 0,
            )
            for image in counted
        ], "TPS of each image"
    (image,) = counted
    assert image.cells is not None
    sides_um = image.cells.sides_um.values()
    extent_um = max(side * np.ptp(axis) for side, axis in zip(sides_um, image.cells.places_px, strict=True))
    side_um = next((each for each in _SQUARES_UM if extent_um >= 3 * each), _SQUARES_UM[-1])
    fields = image.cells.fields(side_um)
    least = MIN_CELLS if side_um >= SLIDE_FIELD_UM else MIN_CELLS // 4
    spots = []
    for number, field in enumerate(fields, start=1):
        if field.n_tumour >= least:
            low, high = wilson_interval(field.n_positive, field.n_tumour)
            spots.append(plots.Spot(name=f"square {number}", tps=field.tps, low=low, high=high, n=field.n_tumour))
    return spots, f"TPS of squares of {side_um:g} µm"
