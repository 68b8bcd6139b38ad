"""Nuclei found against nuclei outlined by people, beside a plain scikit-image pipeline on the same images.

``PDL1QUANT_TUNING_DATA`` names a folder with ``index.csv`` (columns ``image``, ``mpp``), and for each image that has a
truth ``NAME_nuclei.png`` (labels on the image's grid, 0 is background) and ``NAME_nuclei.csv`` (columns ``label``,
``positive``). The fields are of nuclear markers: signal ``od_sum``, positive by the DAB in the nucleus.

Not every visible nucleus needs an outline: precision and F1 are then lower bounds, for all methods alike.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from overlays import Panel, save_overlay
from pdl1quant.config import Config, NucleiConfig
from pdl1quant.validation.detection import (
    Matches,
    aggregated_jaccard,
    f1_score,
    match_labels,
    match_points,
    precision,
    recall,
)
from peers import HED_PER_LOG10_OD, skimage_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pdl1quant.model import BoolArray, Float64Array, Int32Array, UInt8Array

VARIABLE = "PDL1QUANT_TUNING_DATA"
TOLERANCE_UM = 3.0
CONFIG = Config(nuclei=NucleiConfig(signal="od_sum"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nuclei:
    """One method's (or the truth's) nuclei on the image's own grid: a label image, and a row per nucleus."""

    labels: Int32Array
    label: Int32Array
    xy_px: Float64Array
    positive: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One image with its truth."""

    name: str
    rgb: UInt8Array
    mpp: float
    truth: Nuclei


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What one method reached on one field; None where undefined. Shares are 0-1."""

    field: str
    method: str
    n_truth: int
    n_found: int
    precision: float | None
    recall: float | None
    f1: float | None
    f1_iou50: float | None
    aji: float | None
    positive_truth: float | None
    positive_found: float | None
    positive_agreement: float | None
    """Share of the matched, truly positive nuclei that were called positive."""
    negative_agreement: float | None
    """Share of the matched, truly negative nuclei that were called negative."""


def ours(field: Field) -> Nuclei:
    """Nuclei as pdl1quant finds them."""
    from pdl1quant import score_image  # noqa: PLC0415 - the peers can be run without the pipeline

    result = score_image(field.rgb, mpp=field.mpp, config=CONFIG, keep_labels=True)
    assert result.compartments is not None
    cells = result.cells
    return Nuclei(
        labels=to_grid(result.compartments.nucleus, field.rgb.shape[:2]),
        label=cells["label"].to_numpy(),
        xy_px=cells[["x_px", "y_px"]].to_numpy(dtype=np.float64),
        positive=(cells["nucleus_dab_od_mean"] >= CONFIG.positivity.dab_od).to_numpy(),
    )


def peer(field: Field, *, keep_border: bool = False) -> Nuclei:
    """Nuclei as the scikit-image pipeline finds them."""
    labels, _, table = skimage_pipeline(field.rgb, field.mpp, keep_border=keep_border)
    height, width = field.rgb.shape[:2]
    scale = np.array([width / labels.shape[1], height / labels.shape[0]])
    centres = table[["centroid-1", "centroid-0"]].to_numpy(dtype=np.float64)
    return Nuclei(
        labels=to_grid(labels, (height, width)),
        label=table["label"].to_numpy(),
        xy_px=(centres + 0.5) * scale - 0.5,
        positive=(table["intensity_mean"] >= CONFIG.positivity.dab_od * HED_PER_LOG10_OD).to_numpy(),
    )


def peer_with_border(field: Field) -> Nuclei:
    """The same without its loss of the nuclei near the border: what a careful user would write."""
    return peer(field, keep_border=True)


METHODS: dict[str, Callable[[Field], Nuclei]] = {
    "pdl1quant": ours,
    "scikit-image": peer,
    "scikit-image+border": peer_with_border,
}


def to_grid(labels: Int32Array, shape: tuple[int, ...]) -> Int32Array:
    """Labels by nearest neighbour on another grid over the same area."""
    rows, columns = (
        np.minimum(((np.arange(size) + 0.5) * have / size).astype(np.intp), have - 1)
        for size, have in zip(shape, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def read_fields(folder: Path) -> list[Field]:
    """All images of ``index.csv`` that have a truth, in its order."""
    fields = []
    for row in pd.read_csv(folder / "index.csv").itertuples():
        image = folder / str(row.image)
        outlines = image.with_name(f"{image.stem}_nuclei.png")
        if outlines.exists():
            rgb = np.asarray(Image.open(image).convert("RGB"))
            fields.append(Field(name=image.stem, rgb=rgb, mpp=float(row.mpp), truth=_read_truth(outlines)))
    return fields


def _read_truth(outlines: Path) -> Nuclei:
    labels = np.asarray(Image.open(outlines)).astype(np.int32)
    listed = pd.read_csv(outlines.with_suffix(".csv"))
    area = np.bincount(labels.ravel())
    names = np.flatnonzero(area[1:]) + 1
    rows, columns = np.nonzero(labels)
    sums = [np.bincount(labels[rows, columns], weights=axis, minlength=len(area)) for axis in (columns, rows)]
    positive = listed.set_index("label")["positive"].reindex(names, fill_value=0)
    return Nuclei(
        labels=labels,
        label=names,
        xy_px=np.stack([total[names] / area[names] for total in sums], axis=1),
        positive=positive.to_numpy().astype(bool),
    )


def match_centres(field: Field, found: Nuclei) -> Matches:
    """Centres of truth and found nuclei, one to one within the tolerance."""
    return match_points(field.truth.xy_px, found.xy_px, max_distance=TOLERANCE_UM / field.mpp)


def measure(field: Field, found: Nuclei, *, method: str) -> Agreement:
    """All measures of one method on one field."""
    truth = field.truth
    matches = match_centres(field, found)
    is_positive, called_positive = truth.positive[matches.truth], found.positive[matches.found]
    return Agreement(
        field=field.name,
        method=method,
        n_truth=matches.n_truth,
        n_found=matches.n_found,
        precision=precision(matches),
        recall=recall(matches),
        f1=f1_score(matches),
        f1_iou50=f1_score(match_labels(truth.labels, found.labels, iou=0.5)),
        aji=aggregated_jaccard(truth.labels, found.labels),
        positive_truth=_share(truth.positive),
        positive_found=_share(found.positive),
        positive_agreement=_share(called_positive[is_positive]),
        negative_agreement=_share(~called_positive[~is_positive]),
    )


def _share(flags: BoolArray) -> float | None:
    return float(flags.mean()) if len(flags) else None


def print_table(results: Sequence[Agreement]) -> None:
    """A line per field and method, then the means of each method."""
    table = pd.DataFrame([asdict(result) for result in results])
    numbers = table.columns[4:]
    table[numbers] = table[numbers].astype(float)
    means = table.groupby("method", sort=False)[list(numbers)].mean().reset_index()
    means.insert(0, "field", "MEAN")
    lines = pd.concat([table, means], ignore_index=True)
    titles = ["prec", "recall", "F1", "F1@IoU.5", "AJI", "pos.true", "pos.found", "pos.agr", "neg.agr"]
    print(f"{'field':<20} {'method':<20} {'truth':>6} {'found':>6} " + " ".join(f"{title:>9}" for title in titles))
    for line in lines.itertuples(index=False):
        counts = [f"{n:>6.0f}" if n == n else " " * 6 for n in line[2:4]]  # noqa: PLR0124 - NaN: a mean has no counts
        shares = [f"{share:>9.3f}" if share == share else f"{'-':>9}" for share in line[4:]]  # noqa: PLR0124 - NaN
        print(f"{line[0]:<20} {line[1]:<20} {' '.join(counts)} {' '.join(shares)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; 0 also when there is no data to run it on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overlays", type=Path, metavar="DIR", help="write truth, ours and peer side by side as PNG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measures as JSON")
    parser.add_argument("--only", choices=list(METHODS), help="run one method instead of all")
    parser.add_argument("--field", help="run the fields whose name contains this")
    options = parser.parse_args(arguments)
    folder = os.environ.get(VARIABLE, "")
    if not folder or not (Path(folder) / "index.csv").is_file():
        where = f"{folder} holds no index.csv" if folder else "it is not set"
        print(
            f"No tuning data: {VARIABLE} must name the folder of the annotated fields, and {where}. Nothing measured."
        )
        return 0
    fields = [field for field in read_fields(Path(folder)) if (options.field or "") in field.name]
    if not fields:
        print(f"{folder}: no image with a truth (NAME_nuclei.png) matches. Nothing measured.")
        return 0
    names = [options.only] if options.only else list(METHODS)
    results = []
    for field in fields:
        found = {name: METHODS[name](field) for name in names}
        results += [measure(field, nuclei, method=name) for name, nuclei in found.items()]
        if options.overlays:
            _save_panels(options.overlays / f"{field.name}.png", field, found)
    print(f"Centres within {TOLERANCE_UM:g} um, one to one; outlines may be incomplete: precision is a lower bound.\n")
    print_table(results)
    if options.json:
        text = json.dumps([asdict(result) for result in results], indent=2) + "\n"
        _write_beside(options.json, text)
    return 0


def _save_panels(path: Path, field: Field, found: Mapping[str, Nuclei]) -> None:
    panels = []
    for name, nuclei in found.items():
        matches = match_centres(field, nuclei)
        missed = np.delete(field.truth.label, matches.truth)
        panels.append(Panel(title=name, labels=nuclei.labels, hit=nuclei.label[matches.found], missed=missed))
    save_overlay(path, field.rgb, truth=field.truth.labels, panels=panels)


def _write_beside(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
