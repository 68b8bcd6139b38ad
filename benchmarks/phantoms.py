"""Accuracy on rendered fields of known truth, by condition: TPS, cell count, detection, class, whole cells.

Run ``python benchmarks/phantoms.py``. The seeds were used for no fit and no training. A table per segmenter: truth and
finding per condition (all fields of a condition pooled), then the means. Phantoms are no tissue: this shows that the
arithmetic holds and where it breaks, not how well patients' slides are read.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pdl1quant import Config, score_image
from pdl1quant.config import load_config
from pdl1quant.validation.detection import f1_score, match_labels, match_points
from pdl1quant.validation.phantoms import Phantom, PhantomSettings, render_phantom

FIRST_SEED = 900_000
"""Far from the seeds of ``models/`` and of ``benchmarks/fit_classes.py``."""
MATCH_UM = 3.0


def conditions() -> dict[str, dict[str, Any]]:
    """What is rendered: settings by name."""
    table: dict[str, dict[str, Any]] = {}
    for tps in (0, 5, 25, 50, 80, 100):
        for pattern in ("membrane", "cytoplasm", "both"):
            table[f"{pattern} {tps}"] = {"pattern": pattern, "tps_pct": tps}
    inflamed = {"lymphocyte_share": 0.7, "macrophage_share": 0.2, "positive_immune_share": 0.5}
    variants = {
        "pale background": {"white": (225.0, 223.0, 215.0)},
        "weak DAB": {"dab_od": 0.35},
        "inflammation": {**inflamed, "intraepithelial_share": 0.15},
        "anthracosis": {"pigment_share": 0.04},
        "blur": {"blur_px": 1.2},
    }
    for name, settings in variants.items():
        for tps in (0, 10, 50, 100):
            table[f"{name} {tps}"] = {"pattern": "both", "tps_pct": tps, **settings}
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One condition under one segmenter."""

    condition: str
    truth_pct: float
    found_pct: float
    n_truth: int
    n_found: int
    detection_f1: float
    tumour_f1: float
    cell_iou: float

    @property
    def error(self) -> float:
        """Found minus true TPS, in points."""
        return self.found_pct - self.truth_pct


def measure(condition: str, phantoms: list[Phantom], config: Config) -> Line:
    """Pool the fields of one condition."""
    positive = viable = found_positive = found = 0
    f1, tumour, iou = [], np.zeros(3), []
    for phantom in phantoms:
        result = score_image(phantom.rgb, phantom.mpp, config=config, keep_labels=True)
        cells, truth = result.cells, phantom.cells
        matches = match_points(
            truth[["x_px", "y_px"]].to_numpy(),
            cells[["x_px", "y_px"]].to_numpy(),
            max_distance=MATCH_UM / phantom.mpp,
        )
        f1.append(f1_score(matches) or 0.0)
        is_tumour, called = (truth["cell_class"] == "tumour").to_numpy(), (cells["cell_class"] == "tumour").to_numpy()
        hit = int((is_tumour[matches.truth] & called[matches.found]).sum())
        tumour += (hit, int(is_tumour.sum()), int(called.sum()))
        assert result.compartments is not None
        grown = result.compartments.cell
        if grown.shape != phantom.cell.shape:
            grown = cv2.resize(grown, phantom.cell.shape[::-1], interpolation=cv2.INTER_NEAREST)
        overlap = match_labels(phantom.cell, grown, iou=0.01)
        whole = is_tumour[overlap.truth - 1]
        iou.append(float(np.mean(1 - overlap.distance[whole])) if whole.any() else np.nan)
        viable += phantom.n_viable
        positive += int((truth["viable"] & truth["positive"]).sum())
        found += result.counts.n_tumour
        found_positive += result.counts.positive.cytoplasm
    return Line(
        condition=condition,
        truth_pct=100 * positive / max(viable, 1),
        found_pct=100 * found_positive / max(found, 1),
        n_truth=viable,
        n_found=found,
        detection_f1=float(np.mean(f1)),
        tumour_f1=float(2 * tumour[0] / max(tumour[1] + tumour[2], 1)),
        cell_iou=float(np.nanmean(iou)),
    )


def print_table(name: str, lines: list[Line]) -> None:
    """Write one segmenter's lines and their summary."""
    print(f"\n{name}\n{'condition':24s}  true   found  error   cells       detection  tumour F1  cell IoU")
    for line in lines:
        print(
            f"{line.condition:24s} {line.truth_pct:6.2f} {line.found_pct:6.2f} {line.error:+6.2f}"
            f"   {line.n_found:5d}/{line.n_truth:5d}   {line.detection_f1:.3f}      {line.tumour_f1:.3f}"
            f"      {line.cell_iou:.3f}"
        )
    errors = np.abs([line.error for line in lines])
    counts = np.abs([line.n_found / max(line.n_truth, 1) - 1 for line in lines])
    detection, tumour = (np.mean([getattr(line, name) for line in lines]) for name in ("detection_f1", "tumour_f1"))
    print(
        f"mean |error| {errors.mean():.2f}, worst {errors.max():.2f} points; "
        f"tumour cells off by {100 * counts.mean():.1f} %, worst {100 * counts.max():.1f} %; "
        f"detection {detection:.3f}, tumour F1 {tumour:.3f}"
    )


def main() -> None:
    """Render, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=1, help="fields a condition")
    parser.add_argument("--size", type=int, default=1024, help="side of a field in px (0.5 um/px)")
    parser.add_argument("--only", default="", help="conditions that contain this text")
    parser.add_argument("--segmenter", action="append", help="network, watershed (default: both)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    chosen = {name: each for name, each in conditions().items() if options.only in name}
    segmenters = options.segmenter or ["network", "watershed"]
    configs = {name: load_config(None, [f"nuclei.segmenter={name}"]) for name in segmenters}
    lines: dict[str, list[Line]] = {name: [] for name in segmenters}
    began = time.perf_counter()
    for number, (condition, settings) in enumerate(chosen.items()):
        seeds = [FIRST_SEED + 100 * number + each for each in range(options.fields)]
        phantoms = [render_phantom(PhantomSettings(size_px=options.size, **settings), seed=seed) for seed in seeds]
        for name, config in configs.items():
            lines[name].append(measure(condition, phantoms, config))
    for name in segmenters:
        print_table(name, lines[name])
    print(f"{time.perf_counter() - began:.0f} s")
    if options.json:
        table = {name: [{f: getattr(line, f) for f in line.__slots__} for line in each] for name, each in lines.items()}
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
