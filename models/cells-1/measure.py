"""What a model reaches on rendered fields that training never saw, and on annotated fields, as a table and as JSON.

``PDL1QUANT_TUNING_DATA`` names the folder of the annotated fields (see ``benchmarks/accuracy.py``); without it only
the rendered ones are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from fields import CLASS_NAMES
from pdl1quant.config import NucleiConfig
from pdl1quant.model import Segmentation, Tile
from pdl1quant.networks.segmenter import segment_with
from pdl1quant.validation.detection import f1_score, match_labels, match_points, precision, recall
from pdl1quant.validation.phantoms import Phantom, random_settings, render_phantom

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))

MPP = 0.5
TOLERANCE_UM = 3.0
EXPANSION_UM = 5.0
CONFIG = NucleiConfig(signal="od_sum")
HELD_OUT_SEED = 990_000_000
"""Training draws its seeds far above this."""


def centres(labels: np.ndarray) -> np.ndarray:
    """Centroids (n, 2) as x, y of labels 1..n."""
    n = int(labels.max())
    rows, columns = np.nonzero(labels)
    found = labels[rows, columns]
    area = np.bincount(found, minlength=n + 1)[1:]
    sums = [np.bincount(found, weights=axis, minlength=n + 1)[1:] for axis in (columns, rows)]
    return np.stack(sums, axis=1) / area[:, None] if n else np.empty((0, 2))


def held_out(folder: Path, n_fields: int, *, images: Path | None = None) -> dict[str, float]:
    """Detection, classes and whole cells on rendered fields at the working resolution."""
    found_at, kinds, ious, trust = np.zeros(3), [], [], []
    for k in range(n_fields):
        rng = np.random.default_rng(HELD_OUT_SEED + k)
        phantom = render_phantom(random_settings(rng, mpp=MPP), seed=HELD_OUT_SEED + k)
        seen = segment_with(folder, Tile.whole(phantom.rgb, MPP), config=CONFIG)
        unfair = (phantom.cells["out_of_focus"] | phantom.cells["pigmented"]).to_numpy()
        truth, points = phantom.cells[["x_px", "y_px"]].to_numpy(), centres(seen.nuclei)
        matches = match_points(truth, points, max_distance=TOLERANCE_UM / MPP)
        fair = ~unfair[matches.truth]
        n_found = matches.n_found - (~fair).sum() - _among(phantom, unfair, points, matches.found)
        found_at += [fair.sum(), (~unfair).sum(), n_found]
        kinds.append(_classes(phantom, seen, matches.truth[fair], matches.found[fair]))
        trust.append(_confidence(phantom, seen, matches.truth[fair], matches.found[fair]))
        ious.append(_whole_cells(phantom, seen, matches.truth[fair] + 1, matches.found[fair] + 1))
        if images is not None and k < 12:
            show(images / f"phantom_{k:02d}.png", phantom.rgb, seen)
    table = np.sum(kinds, axis=0)
    hit, n_truth, n_found = found_at
    result = {"fields": n_fields, "nuclei": n_truth, "f1": 2 * hit / (n_truth + n_found)}
    result |= {"precision": hit / n_found, "recall": hit / n_truth}
    for i, name in enumerate(CLASS_NAMES):
        result[f"{name}_f1"] = 2 * table[i, i] / max(table[i].sum() + table[:, i].sum(), 1)
    result |= {"calibration_error": _calibration_error(*np.concatenate(trust, axis=1))}
    cell, expanded = np.concatenate(ious, axis=1).mean(axis=1)
    result |= {"cell_iou": cell, "cell_iou_by_expansion": expanded}
    print(pd.DataFrame(table, index=CLASS_NAMES, columns=CLASS_NAMES).to_string())
    return {name: round(float(value), 3) for name, value in result.items()}


def _among(phantom: Phantom, unfair: np.ndarray, points: np.ndarray, matched: np.ndarray) -> int:
    """Found nuclei without a partner that lie in cells nobody could judge."""
    left = np.rint(np.delete(points, matched, axis=0)).astype(int)
    return int(np.concatenate([[False], unfair])[phantom.cell[left[:, 1], left[:, 0]]].sum())


def _classes(phantom: Phantom, seen: Segmentation, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    assert seen.class_scores is not None
    table = np.zeros((len(CLASS_NAMES), len(CLASS_NAMES)), dtype=int)
    np.add.at(table, (phantom.cells["cell_class"].cat.codes.to_numpy()[truth], seen.class_scores.argmax(1)[found]), 1)
    return table


def _confidence(phantom: Phantom, seen: Segmentation, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Score of each nucleus' first class, and whether that is right."""
    assert seen.class_scores is not None
    scores, is_class = seen.class_scores[found], phantom.cells["cell_class"].cat.codes.to_numpy()[truth]
    return np.stack([scores.max(1), scores.argmax(1) == is_class])


def _calibration_error(score: np.ndarray, right: np.ndarray) -> float:
    """Mean distance between score and share of right calls, over ten bins of the score, weighted by nuclei."""
    place = np.minimum((score * 10).astype(int), 9)
    return float(np.abs(np.bincount(place, score, 10) - np.bincount(place, right, 10)).sum() / len(score))


def _whole_cells(phantom: Phantom, seen: Segmentation, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """IoU of each matched tumour cell that is whole: network, and plain expansion of its nuclei."""
    whole = (phantom.cells["viable"]).to_numpy()[truth - 1]
    truth, found = truth[whole], found[whole]
    assert seen.cells is not None
    return np.stack([_iou(phantom.cell, labels, truth, found) for labels in (seen.cells, _expanded(seen.nuclei))])


def _iou(truth: np.ndarray, labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    stride = int(labels.max()) + 1
    codes, counts = np.unique(truth.astype(np.int64) * stride + labels, return_counts=True)
    at = np.minimum(np.searchsorted(codes, a * stride + b), len(codes) - 1)
    common = np.where(codes[at] == a * stride + b, counts[at], 0)
    return common / (np.bincount(truth.ravel())[a] + np.bincount(labels.ravel(), minlength=stride)[b] - common)


def _expanded(nuclei: np.ndarray) -> np.ndarray:
    if not nuclei.any():
        return nuclei
    distance, nearest = cv2.distanceTransformWithLabels(
        (nuclei == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(nearest.max()) + 1, np.int32)
    owner[nearest[nuclei > 0]] = nuclei[nuclei > 0]
    return np.where(distance <= EXPANSION_UM / MPP, owner[nearest], 0)


def annotated(folder: Path, data: Path, *, images: Path | None = None) -> dict[str, dict[str, float]]:
    """F1 of centres within 3 um and of outlines at IoU 0.5 on each annotated field."""
    from accuracy import read_fields, to_grid  # noqa: PLC0415 - beside the benchmarks, and only with data
    from peers import to_working  # noqa: PLC0415

    results = {}
    for field in read_fields(data):
        rgb = to_working(field.rgb, field.mpp)
        seen = segment_with(folder, Tile.whole(rgb, MPP), config=CONFIG)
        scale = np.array([field.rgb.shape[1] / rgb.shape[1], field.rgb.shape[0] / rgb.shape[0]])
        points = (centres(seen.nuclei) + 0.5) * scale - 0.5
        matches = match_points(field.truth.xy_px, points, max_distance=TOLERANCE_UM / field.mpp)
        outlines = match_labels(field.truth.labels, to_grid(seen.nuclei, field.rgb.shape[:2]), iou=0.5)
        values = {"f1": f1_score(matches), "precision": precision(matches), "recall": recall(matches)}
        values["f1_iou50"] = f1_score(outlines)
        results[field.name] = {name: round(value or 0.0, 3) for name, value in values.items()}
        if images is not None:
            show(images / f"{field.name}.png", rgb, seen)
    frame = pd.DataFrame(results).T
    results["mean"] = {name: round(float(value), 3) for name, value in frame.mean().items()}
    return results


def show(path: Path, rgb: np.ndarray, seen: Segmentation) -> None:
    """The image, and beside it the nuclei in the colour of their class with the cells' outlines."""
    colours = np.array([(0, 0, 0), (230, 0, 0), (0, 60, 255), (255, 150, 0), (0, 170, 0), (190, 0, 190)], np.uint8)
    scores = seen.class_scores
    kind = np.zeros(int(seen.nuclei.max()) + 1, int)
    if scores is not None and len(scores):
        kind[1:] = scores.argmax(1) + 1
    factor = 2
    large = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    nuclei = np.kron(seen.nuclei, np.ones((factor, factor), np.int32))
    cells = nuclei if seen.cells is None else np.kron(seen.cells, np.ones((factor, factor), np.int32))
    drawn = large.copy()
    drawn[_edges(cells)] = (255, 230, 0)
    edge = _edges(nuclei) & (nuclei > 0)
    drawn[edge] = colours[kind[nuclei[edge]]]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.hstack([large, drawn])[:, :, ::-1])


def _edges(labels: np.ndarray) -> np.ndarray:
    eroded = cv2.erode(labels.astype(np.float32), np.ones((3, 3), np.uint8))
    return (labels > 0) & (eroded != labels)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=HERE)
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--images", type=Path, help="write overlays here")
    parser.add_argument("--json", type=Path, help="write the figures here, for export.py")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    figures = {"rendered_held_out": held_out(options.model, options.fields, images=options.images)}
    print(json.dumps(figures, indent=1))
    data = os.environ.get("PDL1QUANT_TUNING_DATA")
    if data:
        fields = annotated(options.model, Path(data), images=options.images)
        print(pd.DataFrame(fields).T.to_string())
        figures["annotated_ki67_mean"] = fields["mean"]
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
