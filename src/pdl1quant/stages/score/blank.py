"""From the fields of negative controls to the limit of blank: the rate up to which brown may be no PD-L1."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import BlankLimit, ControlField, ResultFlag
from pdl1quant.stages.score.scoring import cells_asked_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pdl1quant.model import Counts, Indication, RulePack

MIN_FIELDS = 20
"""With fewer fields none lies beyond the 95th percentile, and the highest rate is the limit."""
_PERCENTILE = 95


def limit_of_blank(
    fields: Iterable[tuple[str, Counts]],
    *,
    pack: RulePack,
    indication: Indication | None = None,
    problems: Iterable[str] = (),
) -> BlankLimit:
    """The limit of blank: the 95th percentile of the rates of the fields of negative controls.

    A rate is that of the pack's compartment. A field counts with as many viable tumour cells as are asked of a case:
    with fewer, a single brown cell would be more than the lowest cut-off. From 20 fields on the percentile lies at rank
    0.5 + 0.95 n of the rates, between two ranks on the line between them; with fewer it is the highest rate.

    The controls do not hold, and no call is made with them, when the limit is above the lowest cut-off of the
    indication (without one, the lowest reference line of the pack): ``control_stained``; and with any of ``problems``
    or without a field that counts: ``control_unusable``.

    Parameters
    ----------
    fields
        Name of the image and counts of each field: of a slide its blocks, else the image as a whole.
    pack, indication
        As for the cases; these say how many cells a field needs, and the lowest cut-off.
    problems
        Why the controls do not hold, as far as it is known already, a text each.
    """
    given = list(fields)
    min_cells = max(1, cells_asked_for(pack, indication))
    counted = tuple(
        ControlField(image=image, n_tumour=counts.n_tumour, n_positive=getattr(counts.positive, pack.compartment))
        for image, counts in given
        if counts.n_tumour >= min_cells
    )
    found = list(problems)
    if not counted:
        found.append(f"none of its fields has {min_cells} viable tumour cells")
    limit = _limit([field.rate_pct for field in counted])
    lowest = lowest_cut_off(pack, indication)
    flags = {
        ResultFlag.CONTROL_STAINED: limit is not None and lowest is not None and limit > lowest,
        ResultFlag.CONTROL_UNUSABLE: bool(found),
    }
    return BlankLimit(
        limit_pct=limit,
        fields=counted,
        n_too_few=sum(0 < counts.n_tumour < min_cells for _, counts in given),
        min_cells=min_cells,
        problems=tuple(found),
        flags=tuple(flag for flag, holds in flags.items() if holds),
    )


def blank_of_case(limits: Mapping[str, BlankLimit], case: str) -> BlankLimit | None:
    """What its own controls and those of all cases say of a case together; None without any.

    The highest limit holds, and every flag. Fields, problems and counts are those of the control with that limit.

    Parameters
    ----------
    limits
        By the case whose own they are; that of all cases under the empty name.
    case
        Its name.
    """
    found = [limits[key] for key in dict.fromkeys((case, "")) if key in limits]
    if not found:
        return None
    highest = max(found, key=lambda each: -1.0 if each.limit_pct is None else each.limit_pct)
    return replace(highest, flags=tuple(dict.fromkeys(flag for each in found for flag in each.flags)))


def lowest_cut_off(pack: RulePack, indication: Indication | None) -> float | None:
    """The lowest cut-off of the indication, else the lowest reference line of the pack; None without any."""
    lines = pack.reference_lines_pct if indication is None else [each.value for each in indication.cut_offs]
    return min(lines, default=None)


def _limit(rates_pct: Sequence[float]) -> float | None:
    if not rates_pct:
        return None
    if len(rates_pct) < MIN_FIELDS:
        return max(rates_pct)
    return float(np.percentile(rates_pct, _PERCENTILE, method="hazen"))
