"""How well found nuclei agree with known ones: points against points, label images against label images.

Points are matched one to one within a tolerance, labels by their overlap (intersection over union, IoU); the
aggregated Jaccard index (AJI) judges detection and outlines in one number.

References
----------
Kumar et al., "A dataset and a technique for generalized nuclear segmentation for computational pathology", IEEE
Trans. Med. Imaging 36 (2017) 1550-1560 (AJI).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from pdl1quant.model import Float64Array

IntpArray = NDArray[np.intp]
LabelArray = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Pairs of a true and a found object; nothing occurs in two pairs.

    ``truth`` and ``found`` are (n,) arrays that name the partners: rows of the points, or labels; sorted by ``truth``.
    ``distance`` (n,) is theirs: in the unit of the points, or 1 - IoU. ``n_truth`` and ``n_found`` count all objects,
    matched or not.
    """

    truth: IntpArray
    found: IntpArray
    distance: Float64Array
    n_truth: int
    n_found: int

    @property
    def n_matched(self) -> int:
        """Pairs: the true positives."""
        return len(self.truth)


def match_points(truth_xy: Float64Array, found_xy: Float64Array, *, max_distance: float) -> Matches:
    """Match points one to one: as many pairs as possible, and of those matchings the one of least total distance.

    Parameters
    ----------
    truth_xy, found_xy : (n, 2) and (m, 2) float
        Coordinates in any one unit; either may be empty.
    max_distance : float
        Partners lie at most this far apart (inclusive), in the same unit.

    Returns
    -------
    Matches
        Rows of ``truth_xy`` and ``found_xy``.

    Raises
    ------
    ValueError
        Not (n, 2), not finite, or a tolerance that is negative or not finite.
    """
    truth = _checked_points(truth_xy, name="truth_xy")
    found = _checked_points(found_xy, name="found_xy")
    if not (np.isfinite(max_distance) and max_distance >= 0):
        raise ValueError(f"max_distance is {max_distance}; pass a finite distance of at least 0")
    if not (len(truth) and len(found)):
        return _no_matches(n_truth=len(truth), n_found=len(found))
    near = cKDTree(truth).sparse_distance_matrix(cKDTree(found), max_distance, output_type="ndarray")
    chosen = _assign(near["i"], near["j"], near["v"], n_rows=len(truth), n_columns=len(found))
    return Matches(
        truth=near["i"][chosen].astype(np.intp),
        found=near["j"][chosen].astype(np.intp),
        distance=near["v"][chosen].astype(np.float64),
        n_truth=len(truth),
        n_found=len(found),
    )


def match_labels(truth_labels: LabelArray, found_labels: LabelArray, *, iou: float = 0.5) -> Matches:
    """Match objects of two label images one to one by overlap; `f1_score` of it at 0.5 is the usual "F1 at IoU 0.5".

    Parameters
    ----------
    truth_labels, found_labels : (H, W) int
        Labels on one grid, 0 is background, gaps in the numbers are allowed.
    iou : float, default 0.5
        Partners have at least this intersection over union, above 0 and at most 1.

    Returns
    -------
    Matches
        Labels of the two images; ``distance`` is 1 - IoU.

    Raises
    ------
    ValueError
        Different shapes, negative labels, labels that are no integers, or ``iou`` out of range.
    """
    if not 0 < iou <= 1:
        raise ValueError(f"iou is {iou}; pass a share above 0 and at most 1")
    overlap = _contingency(truth_labels, found_labels)
    share = overlap.intersection / overlap.union
    enough = share >= iou
    rows, columns, distance = overlap.row[enough], overlap.column[enough], 1.0 - share[enough]
    n_truth, n_found = len(overlap.truth_area), len(overlap.found_area)
    if not len(rows):
        return _no_matches(n_truth=n_truth, n_found=n_found)
    chosen = _assign(rows, columns, distance, n_rows=n_truth, n_columns=n_found)
    return Matches(
        truth=overlap.truth_label[rows[chosen]],
        found=overlap.found_label[columns[chosen]],
        distance=distance[chosen],
        n_truth=n_truth,
        n_found=n_found,
    )


def precision(matches: Matches) -> float | None:
    """Share of the found objects that are true, 0-1; None when nothing was found."""
    return matches.n_matched / matches.n_found if matches.n_found else None


def recall(matches: Matches) -> float | None:
    """Share of the true objects that were found, 0-1; None when there are none."""
    return matches.n_matched / matches.n_truth if matches.n_truth else None


def f1_score(matches: Matches) -> float | None:
    """Harmonic mean of precision and recall, 0-1; None when there are no objects at all on either side."""
    total = matches.n_truth + matches.n_found
    return 2 * matches.n_matched / total if total else None


def aggregated_jaccard(truth: LabelArray, found: LabelArray) -> float | None:
    """Aggregated Jaccard index, 0-1 (Kumar 2017).

    Each true object takes the found one of highest IoU (the lower label on a tie); their intersections are summed over
    their unions plus the area of all found objects that nobody took. A true object that nothing overlaps adds its area
    to the denominator. As published, one found object may be taken by several true ones.

    Parameters
    ----------
    truth, found : (H, W) int
        Labels on one grid, 0 is background.

    Returns
    -------
    float or None
        None when both images are empty.

    Raises
    ------
    ValueError
        Different shapes, negative labels, or labels that are no integers.
    """
    overlap = _contingency(truth, found)
    share = overlap.intersection / overlap.union
    order = np.lexsort((overlap.column, -share, overlap.row))
    rows, first = np.unique(overlap.row[order], return_index=True)
    best = order[first]
    alone = np.ones(len(overlap.truth_area), dtype=bool)
    alone[rows] = False
    unused = np.ones(len(overlap.found_area), dtype=bool)
    unused[overlap.column[best]] = False
    denominator = overlap.union[best].sum() + overlap.truth_area[alone].sum() + overlap.found_area[unused].sum()
    return float(overlap.intersection[best].sum() / denominator) if denominator else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Overlap:
    """Overlapping pairs: ``row`` and ``column`` point into the labels and areas of the truth and of the found."""

    truth_label: IntpArray
    found_label: IntpArray
    truth_area: IntpArray
    found_area: IntpArray
    row: IntpArray
    column: IntpArray
    intersection: IntpArray
    union: IntpArray


def _contingency(truth: LabelArray, found: LabelArray) -> _Overlap:
    """Areas and overlaps of all objects by one sort of the pairs of labels."""
    _check_labels(truth, found)
    stride = int(found.max(initial=0)) + 1
    codes, counts = np.unique(
        truth.astype(np.int64).ravel() * stride + found.astype(np.int64).ravel(), return_counts=True
    )
    truth_code, found_code = np.divmod(codes, stride)
    truth_label, truth_of = np.unique(truth_code, return_inverse=True)
    found_label, found_of = np.unique(found_code, return_inverse=True)
    truth_area = np.bincount(truth_of, weights=counts).astype(np.intp)
    found_area = np.bincount(found_of, weights=counts).astype(np.intp)
    both = (truth_code > 0) & (found_code > 0)
    row, column, intersection = truth_of[both], found_of[both], counts[both]
    union = truth_area[row] + found_area[column] - intersection
    first_truth, first_found = int(np.any(truth_label == 0)), int(np.any(found_label == 0))
    return _Overlap(
        truth_label=truth_label[first_truth:].astype(np.intp),
        found_label=found_label[first_found:].astype(np.intp),
        truth_area=truth_area[first_truth:],
        found_area=found_area[first_found:],
        row=row - first_truth,
        column=column - first_found,
        intersection=intersection,
        union=union,
    )


def _assign(rows: IntpArray, columns: IntpArray, cost: Float64Array, *, n_rows: int, n_columns: int) -> IntpArray:
    """The chosen edges of a sparse bipartite graph: most of them, then the least total cost; sorted by row.

    Each row may also take a column of its own at a price above any saving that a lost pair could bring, so that a full
    matching of the rows always exists. The constant added to all edges keeps explicit zeros out of the sparse array.
    """
    unit = float(cost.max(initial=0.0)) or 1.0
    price = 2.0 + min(n_rows, n_columns)
    own = np.arange(n_rows)
    weights = np.concatenate([1.0 + cost / unit, np.full(n_rows, 1.0 + price)])
    graph = csr_array(
        (weights, (np.concatenate([rows, own]), np.concatenate([columns, n_columns + own]))),
        shape=(n_rows, n_columns + n_rows),
    )
    partner = np.empty(n_rows, dtype=np.intp)
    matched_rows, matched_columns = min_weight_full_bipartite_matching(graph)
    partner[matched_rows] = matched_columns
    chosen = np.flatnonzero(partner[rows] == columns)
    return chosen[np.argsort(rows[chosen], kind="stable")]


def _no_matches(*, n_truth: int, n_found: int) -> Matches:
    none = np.empty(0, dtype=np.intp)
    return Matches(truth=none, found=none, distance=np.empty(0), n_truth=n_truth, n_found=n_found)


def _checked_points(points: Float64Array, *, name: str) -> Float64Array:
    checked = np.asarray(points, dtype=np.float64)
    if checked.size == 0:
        return np.empty((0, 2))
    if checked.ndim != 2 or checked.shape[1] != 2:
        raise ValueError(f"{name} has shape {checked.shape}; pass (n, 2)")
    if not np.isfinite(checked).all():
        raise ValueError(f"{name} holds values that are not finite; drop those points first")
    return checked


def _check_labels(truth: LabelArray, found: LabelArray) -> None:
    if truth.shape != found.shape:
        raise ValueError(f"label images of shapes {truth.shape} and {found.shape}; resample one to the other's grid")
    for labels in (truth, found):
        if labels.dtype.kind not in "iu":
            raise ValueError(f"labels of type {labels.dtype}; pass integers")
        if labels.min(initial=0) < 0:
            raise ValueError("negative labels; 0 is background and objects count up from 1")
