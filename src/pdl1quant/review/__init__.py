"""Corrections over results: a ledger of edits, and counts, scores and labels from it. Knows no viewer."""

from __future__ import annotations

from pdl1quant.review.cases import CaseReview, open_case, review_case, say_of_case
from pdl1quant.review.corrections import Imported, import_corrections
from pdl1quant.review.drawn import (
    drawn_region,
    ellipse_ring,
    geometry_of,
    joined_cell,
    moved_region,
    rings_of,
    split_cells,
)
from pdl1quant.review.edits import Edit, EditKind, MadeCell, RoiRule, Standing
from pdl1quant.review.labels import labels_from_reviews, mpp_of_runs, write_review_labels
from pdl1quant.review.ledger import ledger_digest, ledger_path
from pdl1quant.review.places import find_image, find_roi, run_regions, spoilt_regions
from pdl1quant.review.recount import review_cells
from pdl1quant.review.rescore import Rescored, rescore
from pdl1quant.review.results import ImageResult, Results, open_results
from pdl1quant.review.session import Review
from pdl1quant.review.threshold import accept_threshold
from pdl1quant.review.uncertain import next_uncertain, reviewed_curve, uncertainty
from pdl1quant.review.wording import (
    Comparison,
    case_text,
    cell_text,
    compare,
    compare_region,
    densities_text,
    excluding_text,
    flags_text,
    has_own_score,
    undone_text,
)

__all__ = [
    "CaseReview",
    "Comparison",
    "Edit",
    "EditKind",
    "ImageResult",
    "Imported",
    "MadeCell",
    "Rescored",
    "Results",
    "Review",
    "RoiRule",
    "Standing",
    "accept_threshold",
    "case_text",
    "cell_text",
    "compare",
    "compare_region",
    "densities_text",
    "drawn_region",
    "ellipse_ring",
    "excluding_text",
    "find_image",
    "find_roi",
    "flags_text",
    "geometry_of",
    "has_own_score",
    "import_corrections",
    "joined_cell",
    "labels_from_reviews",
    "ledger_digest",
    "ledger_path",
    "moved_region",
    "mpp_of_runs",
    "next_uncertain",
    "open_case",
    "open_results",
    "rescore",
    "review_case",
    "review_cells",
    "reviewed_curve",
    "rings_of",
    "run_regions",
    "say_of_case",
    "split_cells",
    "spoilt_regions",
    "uncertainty",
    "undone_text",
    "write_review_labels",
]
