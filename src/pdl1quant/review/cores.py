"""Cores of a microarray under a review, pooled into the cases that a map names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdl1quant.review.cases import CaseReview, pool
from pdl1quant.slides.core_map import CoreKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.review.region_results import MappedCore
    from pdl1quant.review.region_scores import RegionReview
    from pdl1quant.review.results import ImageResult, Results


def review_core_case(
    results: Results, row: ScoreRow, regions: Mapping[str, Sequence[RegionReview]]
) -> CaseReview | None:
    """Pool the cores of a case into its reviewed score, as the run pools them.

    Signing, locking and a moved threshold are those of the slides on which they lie; a TPS by eye is of a slide, and so
    of no case. Edits are those that concern cells of its cores.

    Parameters
    ----------
    results
        The run.
    row
        Row of the case in ``scores.csv``.
    regions
        What `review_regions` made of each slide that could be recounted, by the place of its results.

    Returns
    -------
    CaseReview or None
        None where not all of its cores that the run scored are among ``regions``.
    """
    wanted = _cores_of(results, row.case)
    counted = [(image, core) for image, core in wanted if image.is_scored and core.is_found]
    by_name = {(stem, each.result.key): each for stem, of_slide in regions.items() for each in of_slide}
    names = [(image.stem, ("core", core.name)) for image, core in counted]
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
