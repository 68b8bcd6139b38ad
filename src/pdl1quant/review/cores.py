"""Cores of a microarray under a review: each counted for itself, and pooled into the cases that a map names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant.model import Counts
from pdl1quant.review.brown import reviewed_brown
from pdl1quant.review.cases import CaseReview, Member, pool
from pdl1quant.review.state import LOOKED_AT
from pdl1quant.slides.core_map import CoreKind
from pdl1quant.slides.roi import CENTRE
from pdl1quant.stages.score import count_blocks
from pdl1quant.whole_slides.regions import core_regions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdl1quant.model import Float64Array, IntpArray
    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.review.core_results import CoreResult, MappedCore
    from pdl1quant.review.results import ImageResult, Results
    from pdl1quant.review.session import Review

_COUNTED = ("x_px", "y_px", "cell_area_um2", *LOOKED_AT)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreReview:
    """One core as reviewed: what it adds to its case, and the ids of the edits that concern its cells."""

    result: CoreResult
    member: Member
    edits: frozenset[str]


def review_cores(review: Review) -> tuple[CoreReview, ...]:
    """Count the cores of a slide as reviewed; none of one that is no microarray.

    None either where the results are of an earlier version, which did not write down what that takes. The cells of
    a core are those whose centre lies in it, as in the run: also those that were added there.
    """
    state, results = review.state, review.results
    x, y = state.places_px.T + CENTRE
    number, touched = state.touched_rows()
    ids = np.array([edit.id for edit in state.edits], dtype=object)
    results_of = {each.name: each for each in review.image.cores}
    if not results_of:
        return ()
    whole = Member.of(review)
    found = []
    for ground, (core, region) in enumerate(core_regions(review.rois)):
        known = results_of[core.title]
        rows = _inside(region, x, y)
        is_in = np.zeros(len(state), bool)
        is_in[rows] = True
        blocks = count_blocks(
            state.counted(rows, _COUNTED),
            block_um=results.config.score.block_um,
            **review.sides_um,
            config=results.config,
            pack=results.pack,
        )
        if known.tumour_area_um2 and not review.regions_changed:
            blocks = (*blocks, Counts(tumour_area_um2=known.tumour_area_um2))
        brown = None if review.regions_changed else reviewed_brown(known.brown, state, rows)
        member = replace(
            whole,
            blocks=blocks,
            has_nests=review.has_tumour_roi or state.holds_nest(ground),
            calls_back=state.calls_back(rows),
            brown=brown,
            is_damaged=known.is_damaged,
        )
        edits = frozenset(ids[np.unique(number[is_in[touched]])]) | state.regions_over(region)
        found.append(CoreReview(result=known, member=member, edits=edits))
    return tuple(found)


def _inside(region: Any, x: Float64Array, y: Float64Array) -> IntpArray:
    """Rows of points, counted from the corner, in a region."""
    left, top, right, bottom = region.bounds
    rows = np.flatnonzero((x >= left) & (x <= right) & (y >= top) & (y <= bottom))
    return np.asarray(rows[shapely.contains_xy(region, x[rows], y[rows])], np.intp)


def score_core(results: Results, core: CoreReview) -> CaseReview:
    """The score of a core by itself, whatever case it is of."""
    scored = pool([core.member], core.result.row, results=results, level="image", n_edits=len(core.edits))
    return replace(scored, own_scores=())


def review_core_case(results: Results, row: ScoreRow, cores: Mapping[str, Sequence[CoreReview]]) -> CaseReview | None:
    """Pool the cores of a case into its reviewed score, as the run pools them.

    Signing, locking and a moved threshold are those of the slides on which they lie; a TPS by eye is of a slide, and so
    of no case. Edits are those that concern cells of its cores.

    Parameters
    ----------
    results
        The run.
    row
        Row of the case in ``scores.csv``.
    cores
        What `review_cores` made of each slide that could be recounted, by the place of its results.

    Returns
    -------
    CaseReview or None
        None where not all of its cores that the run scored are among ``cores``.
    """
    wanted = _cores_of(results, row.case)
    counted = [(image, core) for image, core in wanted if image.is_scored and core.is_found]
    by_name = {(stem, each.result.name): each for stem, of_slide in cores.items() for each in of_slide}
    names = [(image.stem, core.name) for image, core in counted]
    if not names or not by_name.keys() >= set(names):
        return None
    found = [by_name[name] for name in names]
    pooled = pool(
        [each.member for each in found],
        row,
        results=results,
        level="case",
        is_partial=any(not image.is_scored for image, _ in wanted),
        n_edits=len(frozenset().union(*(each.edits for each in found))),
    )
    return replace(pooled, own_scores=())


def _cores_of(results: Results, case: str) -> list[tuple[ImageResult, MappedCore]]:
    """The cores that count for a case, each once, with the slide that has their results."""
    found: dict[tuple[str, str], tuple[ImageResult, MappedCore]] = {}
    for core in results.core_map:
        if core.case == case and core.kind is not CoreKind.CONTROL:
            image = next(each for each in results.images if each.stem == core.stem)
            found.setdefault((image.sha256 or image.stem, core.name), (results.original_of(image), core))
    return [(image, core) for image, core in found.values() if core.kind is CoreKind.TISSUE]


def slides_of_cores(results: Results, case: str) -> tuple[ImageResult, ...]:
    """The slides on which a case has cores that were counted; none of a case that has images of its own."""
    found = {image.stem: image for image, core in _cores_of(results, case) if core.is_found and image.has_cells}
    return tuple(found.values())
