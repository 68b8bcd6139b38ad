"""What numbers mean, in plain words for who reads a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdl1quant.model import Compartment, ResultFlag, Status
from pdl1quant.outputs.flag_words import FLAG_TEXTS
from pdl1quant.stages.score import format_interval, format_tps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdl1quant.outputs.reviewed import ReviewedRow
    from pdl1quant.outputs.scores_table import ScoreRow

_NAME_LENGTH = 120
_NAMED = 3
"""Images named in a line that is about many."""


STATUS_TEXTS: dict[Status, str] = {
    Status.OK: "scored",
    Status.PARTIAL: "partly scored",
    Status.NO_TISSUE: "no tissue",
    Status.REFUSED: "refused",
    Status.FAILED: "failed",
}

RATE_NAMES: dict[Compartment, str] = {
    Compartment.MEMBRANE: "Membrane",
    Compartment.CYTOPLASM: "Cytoplasm or membrane",
    Compartment.CYTOPLASM_ONLY: "Cytoplasm, not membrane",
    Compartment.CELL: "Whole cell, on average",
}


_OF_ONE = (
    ResultFlag.NUCLEUS_SIZE,
    ResultFlag.NUCLEAR_STAIN,
    ResultFlag.REGION_OUTSIDE,
    ResultFlag.BROWN_WITHOUT_CELLS,
    ResultFlag.NO_NESTS,
    ResultFlag.DUPLICATE,
)
"""What is said of a single image, region or core beside its status: their case may not have it."""


def own_doubts(names: Sequence[str]) -> str:
    """What a line about one image, region or core says of its flags, in a few words; empty without any."""
    return ", ".join(FLAG_TEXTS[name].short for name in _OF_ONE if name in names)


def shortened(name: str) -> str:
    """A name as it stands beside an outline."""
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"


def region_score(row: ScoreRow) -> tuple[str, ...]:
    """What is said of a region or core beside its outline: TPS, interval and cells, then its doubts."""
    told = _tps_of(row.tps, row.tps_low, row.tps_high, n_tumour=row.n_tumour or 0)
    status = () if row.status is Status.OK else (STATUS_TEXTS[row.status],)
    return (told, *status, *filter(None, [own_doubts(row.flags)]))


EDITED_SINCE = "Edits are not counted: run pdl1quant rescore, then pdl1quant report"
"""What is said of a reviewed score that is not of all edits, or of none."""


def reviewed_score(row: ReviewedRow) -> tuple[str, ...]:
    """The same of what a review makes of it; nothing where nobody reviewed it."""
    if not row.reviewers:
        return ()
    if row.reviewed_n_tumour is None:
        return (f"Reviewed: {row.error}",)
    tps = _tps_of(row.reviewed_tps, row.reviewed_tps_low, row.reviewed_tps_high, n_tumour=row.reviewed_n_tumour)
    n = row.n_edits or 0
    return (f"Reviewed: {tps}; {n:,} edit{'' if n == 1 else 's'}",)


def _tps_of(tps: float | None, low: float | None, high: float | None, *, n_tumour: int) -> str:
    interval = format_interval(low, high, dash="\N{EN DASH}")
    text = f"TPS {format_tps(tps)} %" if tps is not None else "TPS not defined"
    return f"{text}{f' ({interval})' if interval else ''}; {n_tumour:,} tumour cell{'' if n_tumour == 1 else 's'}"


def about_images(remarks: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each remark, with the names of the images that it is about; of many only the first."""
    return [f"{_images(names)}: {remark}" for remark, names in remarks.items()]


def _images(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    rest = len(names) - _NAMED
    others = f" and {rest:,} more" if rest > 0 else ""
    return f"{len(names):,} images ({', '.join(names[:_NAMED])}{others})"
