"""Accuracy on rendered fields of known truth, by condition: TPS, cell count, detection, class, whole cells.

Run ``python benchmarks/phantoms.py``. The seeds were used for no fit and no training. A table per method: truth and
finding per condition (all fields of a condition pooled), then the means beside what has to be reached. Phantoms are
no tissue: this shows that the arithmetic holds and where it breaks, not how well patients' slides are read.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from skimage.segmentation import expand_labels

from annotated import to_grid
from chosen import add_options, chosen_configs
from pdl1quant import score_image
from pdl1quant.validation.detection import match_labels, match_points
from pdl1quant.validation.phantoms import Phantom, PhantomSettings, render_phantom
from peers import HED_PER_LOG10_OD, skimage_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import BoolArray, Float64Array, Int32Array

FIRST_SEED = 900_000
"""Far from the seeds of ``models/`` and of ``benchmarks/fit_classes.py``."""
MATCH_UM = 3.0
EXPANSION_UM = 5.0
"""How far plain expansion grows a nucleus: the growth that the rules allow a cell."""
BROWN_OD = 0.2
PIGMENTED, CLEAN = "anthracosis", "its clean twin"
LOW_PCT, MAX_ERROR_LOW, MAX_ERROR = 5.0, 1.0, 2.0
"""Up to this true TPS, and above it, the error (points) that is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a method found on a field: a row per cell, labels on the field's grid (their numbers name the rows)."""

    xy_px: Float64Array
    is_tumour: BoolArray
    is_positive: BoolArray
    nucleus: Int32Array
    cell: Int32Array
    n_tumour: int
    n_positive: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One condition under one method."""

    condition: str
    truth_pct: float
    found_pct: float
    n_truth: int
    n_found: int
    detection_f1: float
    tumour_f1: float
    cell_iou: float
    expansion_iou: float
    """The same for the method's nuclei, expanded."""
    recall_positive: float
    """Share of the viable, positive tumour cells whose nucleus was found."""
    recall_negative: float
    lost_positive: float
    """Share of those found that are called something else than tumour."""
    lost_negative: float
    turned_positive: float
    """Share of those found and called tumour that are called negative, ..."""
    turned_negative: float
    """... and of the negative ones that are called positive."""

    @property
    def error(self) -> float:
        """Found minus true TPS, in points."""
        return self.found_pct - self.truth_pct

    @property
    def within(self) -> bool:
        """Whether the error is allowed."""
        return abs(self.error) <= (MAX_ERROR_LOW if self.truth_pct <= LOW_PCT else MAX_ERROR)


def conditions() -> dict[str, dict[str, Any]]:
    """What is rendered: settings by name."""
    table: dict[str, dict[str, Any]] = {}
    patterns = ("membrane", "cytoplasm", "both")
    for tps in (0, 5, 25, 50, 80, 100):
        for pattern in patterns:
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
    for tps in (0.5, 2):  # last: the seeds of the conditions above stay
        for pattern in patterns:
            table[f"{pattern} {tps}"] = {"pattern": pattern, "tps_pct": tps}
    for tps in (0, 10, 50, 100):
        table[f"{CLEAN} {tps}"] = {"pattern": "both", "tps_pct": tps}
    later = {
        "reactive stroma": {
            "stroma_swell": 2.0, "macrophage_swell": 2.0, "macrophage_share": 0.2, "positive_immune_share": 0.5,
            "single_cell_share": 0.0,
        },
        "dark brown": {"dab_od": 1.7, "bleed_through": 0.8, "membrane_um": 1.6, "tumour_blue": 0.6},
        "lung": {
            "lung_share": 0.5, "pneumocyte_share": 0.5, "free_macrophage_share": 0.7, "bleeding_share": 0.3,
            "macrophage_swell": 1.5, "positive_immune_share": 0.5, "tumour_share": 0.35,
        },
    }  # fmt: skip
    for name, settings in later.items():
        for tps in (10, 50, 100) if name == "dark brown" else (0, 10, 50, 100):
            table[f"{name} {tps}"] = {"pattern": "both", "tps_pct": tps, **settings}
    return table


def seed_of(condition: str) -> int:
    """First seed of a condition; the clean fields are those of anthracosis, cell by cell, without the pigment."""
    names = list(conditions())
    return FIRST_SEED + 100 * names.index(condition.replace(CLEAN, PIGMENTED))


def ours(phantom: Phantom, *, config: Config) -> Seen:
    """Cells as pdl1quant finds and names them."""
    result = score_image(phantom.rgb, phantom.mpp, config=config, keep_labels=True)
    assert result.compartments is not None
    return Seen(
        xy_px=result.cells[["x_px", "y_px"]].to_numpy(dtype=np.float64),
        is_tumour=(result.cells["cell_class"] == "tumour").to_numpy(),
        is_positive=result.cells["positive"].to_numpy(),
        nucleus=to_grid(result.compartments.nucleus, phantom.cell.shape),
        cell=to_grid(result.compartments.cell, phantom.cell.shape),
        n_tumour=result.counts.n_tumour,
        n_positive=result.counts.positive.cytoplasm,
    )


def peer(phantom: Phantom) -> Seen:
    """Cells as the scikit-image pipeline finds them; it names none, so that each counts as tumour."""
    nuclei, cells, table = skimage_pipeline(phantom.rgb, phantom.mpp, keep_border=True)
    scale = np.array(phantom.cell.shape[::-1]) / np.array(nuclei.shape[::-1])
    centres = table[["centroid-1", "centroid-0"]].to_numpy(dtype=np.float64)
    is_positive = table["cell_intensity_mean"].to_numpy() >= BROWN_OD * HED_PER_LOG10_OD
    return Seen(
        xy_px=(centres + 0.5) * scale - 0.5,
        is_tumour=np.ones(len(table), bool),
        is_positive=is_positive,
        nucleus=to_grid(nuclei, phantom.cell.shape),
        cell=to_grid(cells, phantom.cell.shape),
        n_tumour=len(table),
        n_positive=int(is_positive.sum()),
    )


def methods(configs: Mapping[str, Config], *, with_peer: bool) -> dict[str, Callable[[Phantom], Seen]]:
    """The methods by name."""
    table: dict[str, Callable[[Phantom], Seen]] = {
        name: functools.partial(ours, config=config) for name, config in configs.items()
    }
    return table | {"scikit-image+border": peer} if with_peer else table


def render(chosen: Sequence[str], *, n_fields: int, size_px: int) -> Iterator[tuple[str, list[Phantom]]]:
    """The fields of the chosen conditions; a condition has the same seeds in whatever company."""
    for condition, settings in conditions().items():
        if condition in chosen:
            seeds = [seed_of(condition) + each for each in range(n_fields)]
            yield condition, [render_phantom(PhantomSettings(size_px=size_px, **settings), seed=seed) for seed in seeds]


def measure(condition: str, phantoms: Sequence[Phantom], found: Sequence[Seen]) -> Line:
    """Pool the fields of one condition."""
    n = dict.fromkeys(("matched", "all", "hit", "named", "viable", "positive"), 0)
    fates, ious = np.zeros((2, 4)), []
    for phantom, seen in zip(phantoms, found, strict=True):
        truth = phantom.cells
        matches = match_points(truth[["x_px", "y_px"]].to_numpy(), seen.xy_px, max_distance=MATCH_UM / phantom.mpp)
        is_tumour, viable, positive = (
            flags.to_numpy() for flags in (truth["cell_class"] == "tumour", truth["viable"], truth["positive"])
        )
        for row, sign in enumerate((True, False)):
            kind = viable & (positive == sign)
            found_as = matches.found[kind[matches.truth]]
            named, right = seen.is_tumour[found_as], seen.is_positive[found_as] == sign
            fates[row] += kind.sum(), len(found_as), named.sum(), (named & right).sum()
        n["matched"] += 2 * matches.n_matched
        n["all"] += matches.n_truth + matches.n_found
        n["hit"] += 2 * int((is_tumour[matches.truth] & seen.is_tumour[matches.found]).sum())
        n["named"] += int(is_tumour.sum()) + int(seen.is_tumour.sum())
        n["viable"] += int(viable.sum())
        n["positive"] += int((viable & positive).sum())
        ious.append([_mean_iou(phantom, labels, is_tumour) for labels in (seen.cell, _expanded(seen, phantom.mpp))])
    n_found, found_positive = sum(seen.n_tumour for seen in found), sum(seen.n_positive for seen in found)
    with np.errstate(invalid="ignore"):
        recall, called, right = (fates[:, 1:] / fates[:, :-1]).T
    cell_iou, expansion_iou = np.mean(ious, axis=0)
    return Line(
        condition=condition,
        truth_pct=100 * n["positive"] / max(n["viable"], 1),
        found_pct=100 * found_positive / max(n_found, 1),
        n_truth=n["viable"],
        n_found=n_found,
        detection_f1=n["matched"] / max(n["all"], 1),
        tumour_f1=n["hit"] / max(n["named"], 1),
        cell_iou=float(cell_iou),
        expansion_iou=float(expansion_iou),
        recall_positive=float(recall[0]),
        recall_negative=float(recall[1]),
        lost_positive=float(1 - called[0]),
        lost_negative=float(1 - called[1]),
        turned_positive=float(1 - right[0]),
        turned_negative=float(1 - right[1]),
    )


def _expanded(seen: Seen, mpp: float) -> Int32Array:
    return np.asarray(expand_labels(seen.nucleus, distance=EXPANSION_UM / mpp))


def _mean_iou(phantom: Phantom, cells: Int32Array, is_tumour: BoolArray) -> float:
    """Of the true tumour cells that anything overlaps."""
    overlap = match_labels(phantom.cell, cells, iou=0.01)
    whole = is_tumour[overlap.truth - 1]
    return float(np.mean(1 - overlap.distance[whole])) if whole.any() else float("nan")


def table_lines(name: str, lines: Sequence[Line]) -> list[str]:
    """One method's lines."""
    heading = (
        f"{'condition':24s}  true   found  error   cells       detection  tumour F1  cell IoU (expanded)  recall +/-"
        "   lost +/-   turned +/-"
    )
    texts = [
        f"{line.condition:24s} {line.truth_pct:6.2f} {line.found_pct:6.2f} {line.error:+6.2f}"
        f"{' ' if line.within else '!'}"
        f"  {line.n_found:5d}/{line.n_truth:5d}   {line.detection_f1:.3f}      {line.tumour_f1:.3f}"
        f"      {line.cell_iou:.3f} ({line.expansion_iou:.3f})"
        f"      {line.recall_positive:.2f}/{line.recall_negative:.2f}"
        f"   {line.lost_positive:.2f}/{line.lost_negative:.2f}   {line.turned_positive:.2f}/{line.turned_negative:.2f}"
        for line in lines
    ]
    return [
        f"\n{name}   (! error above {MAX_ERROR_LOW:g} point up to {LOW_PCT:g} %, {MAX_ERROR:g} above)",
        "of viable tumour cells, positive / negative: lost = called something else, turned = called the reverse",
        heading,
        *texts,
    ]


def summary(lines: Sequence[Line]) -> dict[str, float]:
    """The figures that have floors, over all conditions; NaN where no condition tells."""
    errors = np.abs([line.error for line in lines])
    counts = np.abs([line.n_found / max(line.n_truth, 1) - 1 for line in lines])
    blank, half, two = (
        [line.found_pct for line in lines if low <= line.truth_pct < high]
        for low, high in ((0, 0.01), (0.01, 1), (1, 4))
    )
    error_of = {line.condition: line.error for line in lines}
    moved = [
        abs(error - error_of[twin])
        for name, error in error_of.items()
        if (twin := name.replace(PIGMENTED, CLEAN)) != name and twin in error_of
    ]
    gaps = [line.recall_positive - line.recall_negative for line in lines]
    return {
        "mean |TPS error|": float(errors.mean()),
        "worst |TPS error|": float(errors.max()),
        "conditions within the allowed error": float(np.mean([line.within for line in lines])),
        "true 0 reads at most": max(blank, default=np.nan),
        "true below 1 reads at most": max(half, default=np.nan),
        "true 1-4 reads at least": min(two, default=np.nan),
        "pigment moves the error by at most": max(moved, default=np.nan),
        "tumour cells off by": float(counts.mean()),
        "nuclei found once (F1)": float(np.mean([line.detection_f1 for line in lines])),
        "tumour or not (F1)": float(np.mean([line.tumour_f1 for line in lines])),
        "whole cells (IoU)": float(np.nanmean([line.cell_iou for line in lines])),
        "nuclei expanded (IoU)": float(np.nanmean([line.expansion_iou for line in lines])),
        "recall in positive minus negative cells": float(np.nanmean(gaps)) if not np.isnan(gaps).all() else np.nan,
    }


FLOORS = {
    "conditions within the allowed error": "1",
    "true 0 reads at most": "0.3",
    "true below 1 reads at most": "below 1",
    "true 1-4 reads at least": "1",
    "pigment moves the error by at most": "1",
    "tumour or not (F1)": ">= 0.95",
    "whole cells (IoU)": ">= 0.7, above the line below",
    "recall in positive minus negative cells": "within 0.03",
}
"""What has to be reached, as it is printed."""


def summary_lines(results: Mapping[str, Sequence[Line]]) -> list[str]:
    """The summaries side by side, a column a method, with what has to be reached."""
    columns = {name: summary(lines) for name, lines in results.items()}
    titles = next(iter(columns.values()), {})
    lines = [f"\n{'rendered fields':<40} " + " ".join(f"{name:>20}" for name in columns) + "   has to be"]
    lines += [
        f"{title:<40} " + " ".join(f"{each[title]:>20.3f}" for each in columns.values()) + f"   {FLOORS.get(title, '')}"
        for title in titles
    ]
    return lines


def main() -> None:
    """Render, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--fields", type=int, default=1, help="fields a condition")
    parser.add_argument("--size", type=int, default=1024, help="side of a field in px (0.5 um/px)")
    parser.add_argument("--only", default="", help="conditions that contain this text")
    parser.add_argument("--peer", action="store_true", help="run the scikit-image pipeline, too")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    chosen = [name for name in conditions() if options.only in name]
    table = methods(chosen_configs(options), with_peer=options.peer)
    lines: dict[str, list[Line]] = {name: [] for name in table}
    began = time.perf_counter()
    for condition, phantoms in render(chosen, n_fields=options.fields, size_px=options.size):
        for name, method in table.items():
            lines[name].append(measure(condition, phantoms, [method(phantom) for phantom in phantoms]))
    for name, each in lines.items():
        print(*table_lines(name, each), sep="\n")
    print(*summary_lines(lines), sep="\n")
    print(f"{time.perf_counter() - began:.0f} s")
    if options.json:
        text = json.dumps({name: [asdict(line) for line in each] for name, each in lines.items()}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
