"""Drawn regions, and cores of a microarray, under a review: each counted for itself, as the run counts them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import Counts
from pdl1quant.review.brown import reviewed_brown
from pdl1quant.review.cases import CaseReview, Member, pool
from pdl1quant.review.state import LOOKED_AT
from pdl1quant.slides.roi import CENTRE
from pdl1quant.stages import quality
from pdl1quant.stages.score import COUNTED_COLUMNS
from pdl1quant.whole_slides.region_tally import RegionTally

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, IntpArray
    from pdl1quant.review.region_results import RegionResult
    from pdl1quant.review.results import Results
    from pdl1quant.review.session import Review
    from pdl1quant.whole_slides.regions import Region

_COUNTED = tuple(dict.fromkeys((*COUNTED_COLUMNS, *LOOKED_AT)))
_HELD = ("x_px", "y_px", "cell_class", "flags")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionReview:
    """One region as reviewed: what it adds to its case (a core does), and the ids of the edits that concern it."""

    result: RegionResult
    member: Member
    edits: frozenset[str]


def review_regions(review: Review, *, only: tuple[str, str] | None = None) -> tuple[RegionReview, ...]:
    """Count the drawn regions and the cores of an image as reviewed, by the rules of the run.

    Cells of a region are those whose centre lies in it, also those that were added there; of a drawn tumour region
    also the immune cells around it. Where the results are of an earlier version, which did not write down what that
    takes, a region is not among them.

    Parameters
    ----------
    review
        Of the image.
    only
        Level and name of the one that is asked for.
    """
    known = {each.key: each for each in review.image.regions if each.brown is not None}
    found = {key: region for key, region in review.drawn.items() if key in known}
    cores = [key for key in found if key[0] == "core"]
    wanted = [key for key in found if only in (None, key)]
    if not wanted:
        return ()
    counted = list(wanted)
    if only is not None:  # immune cells count for it within its core
        counted += [key for key in cores if key != only and found[key].geometry.intersects(found[only].geometry)]
    results, state = review.results, review.state
    regions = tuple(found[key] for key in counted)
    tally = RegionTally(regions=regions, **review.sides_um, config=results.config, pack=results.pack)
    rows = np.flatnonzero(state.present if only is None else state.present & _around(review, found[only]))
    cells = state.counted(rows, _COUNTED)
    held = list(tally.held(cells))
    tally.add_held(cells, held)
    inside = {each.number: rows[each.rows[~each.is_beside]] for each in held}
    edits = _edits(review, tally)
    return tuple(
        RegionReview(
            result=known[key],
            member=_member(
                review,
                known[key],
                tally=tally,
                number=number,
                rows=inside.get(number, np.zeros(0, np.intp)),
                ground=cores.index(key) if key[0] == "core" else None,
            ),
            edits=edits[number],
        )
        for number, key in enumerate(wanted)
    )


def score_region(results: Results, region: RegionReview) -> CaseReview:
    """The score of a region by itself; of a core whatever case it is of. It makes no call."""
    scored = pool([region.member], region.result.row, results=results, level="image", n_edits=len(region.edits))
    return replace(scored, own_scores=())


def _around(review: Review, region: Region) -> BoolArray:
    """(n,) bool: rows that may count for a region, for where they lie."""
    x, y = review.state.places_px.T + CENTRE
    left, top, right, bottom = region.geometry.bounds
    reach = quality.STROMA_REACH_UM / min(review.sides_um.values())
    return np.asarray((x >= left - reach) & (x <= right + reach) & (y >= top - reach) & (y <= bottom + reach))


def _member(
    review: Review, known: RegionResult, *, tally: RegionTally, number: int, rows: IntpArray, ground: int | None
) -> Member:
    """A region as part of its case; ``rows`` lie in it, ``ground`` is the number of a core among all."""
    counted, state = tally.blocks[number], review.state
    blocks = tuple(counted[place] for place in sorted(counted))
    if known.tumour_area_um2 and not review.regions_changed:
        blocks = (*blocks, Counts(tumour_area_um2=known.tumour_area_um2))
    has_nests: bool | None = review.has_tumour_roi or bool(tally.has_near[number])
    if ground is not None and not review.has_tumour_roi:
        has_nests = None if state.has_nests is None else state.holds_nest(ground)
    assert known.brown is not None
    return replace(
        Member.of(review),
        blocks=blocks,
        has_nests=has_nests,
        calls_back=state.calls_back(rows),
        brown=None if review.regions_changed else reviewed_brown(known.brown, state, rows),
        is_damaged=known.is_damaged,
    )


def _edits(review: Review, tally: RegionTally) -> list[frozenset[str]]:
    """Ids of the edits that concern each region: of cells that it holds now or held, or regions that meet it.

    A region of the review that lies as near to drawn tumour as its immune cells do meets it, too.
    """
    state = review.state
    reach_px = quality.STROMA_REACH_UM / min(review.sides_um.values())
    found = [
        state.regions_over(region.geometry, within_px=reach_px if region.is_tumour else 0.0) for region in tally.regions
    ]
    number, touched = state.touched_rows()
    rows = np.unique(touched)
    if not rows.size:
        return found
    ids = np.array([edit.id for edit in state.edits], dtype=object)
    measured = state.measured(rows, _HELD)
    now = measured.assign(cell_class=state.now(rows)["cell_class"].to_numpy(), flags=state.flags_of(rows))
    for table in (measured, now):
        for held in tally.held(table):
            is_held = np.isin(touched, rows[held.rows])
            found[held.number] |= frozenset(ids[np.unique(number[is_held])])
    return found
