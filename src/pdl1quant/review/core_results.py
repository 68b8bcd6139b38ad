"""What a run wrote down of the cores of microarrays: each with its row, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pdl1quant.errors import ReviewError
from pdl1quant.model import BrownArea
from pdl1quant.outputs.files import SCORES_NAME
from pdl1quant.outputs.scores_table import HOW_TO_RENEW, ScoreRow, as_written
from pdl1quant.slides.core_map import CoreKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreResult:
    """One core of a microarray; ``row`` is its row in ``scores.csv``.

    ``brown`` is its area that is brown, and that of it in no cell; ``tumour_area_um2`` that of tumour drawn in it;
    ``is_damaged``: some of it could not be read.
    """

    name: str
    row: ScoreRow
    brown: BrownArea
    tumour_area_um2: float
    is_damaged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedCore:
    """A line of the map of a microarray: what a core is to which case, and whether it was found on its slide.

    ``stem`` is the place of the results of the slide.
    """

    stem: str
    name: str
    case: str
    kind: CoreKind
    is_found: bool


def cores_of_entry(entry: Mapping[str, Any], rows: Sequence[ScoreRow], *, n_before: int) -> tuple[CoreResult, ...]:
    """The cores of a slide, of its entry in ``run.json``, with their rows.

    Parameters
    ----------
    entry
        Of the slide; of one that is no microarray, or of an earlier version, it holds no cores.
    rows
        Those of ``scores.csv``.
    n_before
        So many slides of the same name stand before it.

    Raises
    ------
    ReviewError
        A core has no row.
    """
    of_name: dict[str, list[ScoreRow]] = {}
    for row in rows:
        if row.level == "core" and row.image == as_written(entry["image"]):
            of_name.setdefault(row.region, []).append(row)
    cores = []
    for core in entry.get("cores") or ():
        if len(of_name.get(core["name"], ())) <= n_before:
            raise ReviewError(f"{SCORES_NAME}: has no row for {core['name']} of {entry['image']}; {HOW_TO_RENEW}")
        brown = BrownArea(**core["brown"])
        known = {name: core[name] for name in ("name", "tumour_area_um2", "is_damaged")}
        cores.append(CoreResult(row=of_name[core["name"]][n_before], brown=brown, **known))
    return tuple(cores)


def core_map_of(record: Mapping[str, Any]) -> tuple[MappedCore, ...]:
    """What ``run.json`` says of the map of a microarray; nothing where none was given."""
    lines = (record.get("tma_map") or {}).get("cores", ())
    return tuple(
        MappedCore(
            stem=each["results"],
            name=each["core"],
            case=each["case"],
            kind=CoreKind(each["kind"]),
            is_found=each["found"],
        )
        for each in lines
    )
