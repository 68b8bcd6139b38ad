"""What a run wrote down of drawn regions and of the cores of microarrays: each with its row, and whose a core is."""

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

LEVELS = {"cores": "core", "regions": "roi"}
"""Which rows belong to what of an entry of ``run.json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionResult:
    """A drawn region, or a core of a microarray; ``row`` is its row in ``scores.csv``.

    ``brown`` is its area that is brown, and that of it in no cell; ``tumour_area_um2`` that of tumour drawn in it;
    ``is_damaged``: some of it could not be read. Where an earlier version wrote down none of these, ``brown`` is None.
    """

    row: ScoreRow
    brown: BrownArea | None = None
    tumour_area_um2: float = 0.0
    is_damaged: bool = False

    @property
    def name(self) -> str:
        """Unlike that of any other of its level on its image."""
        return self.row.region

    @property
    def key(self) -> tuple[str, str]:
        """Level and name."""
        return self.row.level, self.row.region


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


def regions_of_entries(
    entries: Sequence[Mapping[str, Any]], rows: Sequence[ScoreRow]
) -> tuple[tuple[RegionResult, ...], ...]:
    """The drawn regions and cores of each image, in the order of the table.

    Parameters
    ----------
    entries
        Of the images, in ``run.json``.
    rows
        Those of ``scores.csv``. Of images of one name the first has the first row of each region.

    Raises
    ------
    ReviewError
        A region has no row.
    """
    waiting: dict[str, list[ScoreRow]] = {}
    for row in rows:
        if row.level in LEVELS.values():
            waiting.setdefault(row.image, []).append(row)
    found: list[tuple[RegionResult, ...]] = []
    for entry in entries:
        of_image = waiting.setdefault(as_written(entry["image"]), [])
        regions = [
            RegionResult(
                row=_taken(of_image, (level, as_written(told["name"])), entry),
                brown=BrownArea(**told["brown"]),
                tumour_area_um2=told["tumour_area_um2"],
                is_damaged=told["is_damaged"],
            )
            for kind, level in LEVELS.items()
            for told in entry.get(kind) or ()
        ]
        found.append(tuple(regions))
    for number, entry in enumerate(entries):  # what is left has no line in the record
        known = {each.row.level for each in found[number]}
        of_image = waiting[as_written(entry["image"])]
        old = [row for row in of_image if row.level not in known and _may_be_of(row, entry)]
        old = list({(row.level, row.region): row for row in reversed(old)}.values())[::-1]
        for row in old:
            of_image.remove(row)
        found[number] = _in_order((*found[number], *(RegionResult(row=row) for row in old)), rows)
    return tuple(found)


def _taken(rows: list[ScoreRow], key: tuple[str, str], entry: Mapping[str, Any]) -> ScoreRow:
    """The first row of a region, taken out of those of its image."""
    for number, row in enumerate(rows):
        if (row.level, row.region) == key and _may_be_of(row, entry):
            return rows.pop(number)
    raise ReviewError(f"{SCORES_NAME}: has no row for {key[1]} of {entry['image']}; {HOW_TO_RENEW}")


def _may_be_of(row: ScoreRow, entry: Mapping[str, Any]) -> bool:
    """Whether a row of its name may be of an image; a map gives its cores to other cases."""
    return row.level == "core" or row.case == as_written(entry["case"])


def _in_order(regions: Sequence[RegionResult], rows: Sequence[ScoreRow]) -> tuple[RegionResult, ...]:
    place = {id(row): number for number, row in enumerate(rows)}
    return tuple(sorted(regions, key=lambda each: place[id(each.row)]))


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
