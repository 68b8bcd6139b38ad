"""Annotated fields, what a method found on them, and how well both agree.

The folder holds ``index.csv`` (columns ``image``, ``mpp``), and for each image that has a truth ``NAME_nuclei.png``
(labels on the image's grid, 0 is background) and ``NAME_nuclei.csv`` (columns ``label``, ``positive``). Not every
visible nucleus needs an outline: precision and F1 are then lower bounds, for all methods alike.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from itertools import product
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from pdl1quant.validation.detection import aggregated_jaccard, match_labels, match_points

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pdl1quant.model import BoolArray, Float64Array, Int32Array, UInt8Array
    from pdl1quant.validation.detection import Matches

TOLERANCE_UM = 3.0
MAX_SHIFT_UM = 2.0
"""Outlines that were drawn on another picture of the same tissue may lie so far off this one."""
RING_UM = 1.0
"""Width of the ring around the outlines that has to be paler than they are."""
NUCLEAR_CUT_OD = 0.1
"""DAB OD in the nucleus from which a nucleus is positive for a nuclear marker: any definite brown counts there.

Chosen once, on these fields: half of t1, and about twice what 95 % of the negative nuclei stay below. PD-L1 is judged
in the membrane and the cytoplasm at t1: this cut says nothing of it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nuclei:
    """One method's (or the truth's) nuclei on the image's own grid: a label image, and a row per nucleus."""

    labels: Int32Array
    label: Int32Array
    xy_px: Float64Array
    positive: BoolArray
    dab_od: Mapping[str, Float64Array] = field(default_factory=dict)
    """Mean DAB OD (log10) by compartment, where the method tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One image with its truth."""

    name: str
    rgb: UInt8Array
    mpp: float
    truth: Nuclei


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What one method reached on one field, as counts of nuclei; counts of several fields may be summed."""

    field: str
    method: str
    n_truth: int
    n_found: int
    n_matched: int
    n_overlapping: int
    """Pairs with an IoU of at least 0.5."""
    n_overlapping_laid: int
    """The same after the truth was laid on the image (`laid_on`)."""
    n_truth_positive: int
    n_found_positive: int
    n_matched_positive: int
    """Matched and truly positive."""
    n_called_positive: int
    """Of those, called positive."""
    n_matched_negative: int
    n_called_negative: int
    aji: float | None

    @property
    def shares(self) -> dict[str, float | None]:
        """The columns of the table, 0-1; None where undefined."""
        n_negative = self.n_truth - self.n_truth_positive
        return {
            "prec": _share(self.n_matched, self.n_found),
            "recall": _share(self.n_matched, self.n_truth),
            "F1": _share(2 * self.n_matched, self.n_truth + self.n_found),
            "F1@IoU.5": _share(2 * self.n_overlapping, self.n_truth + self.n_found),
            "laid.on": _share(2 * self.n_overlapping_laid, self.n_truth + self.n_found),
            "AJI": self.aji,
            "rec.pos": _share(self.n_matched_positive, self.n_truth_positive),
            "rec.neg": _share(self.n_matched_negative, n_negative),
            "pos.true": _share(self.n_truth_positive, self.n_truth),
            "pos.found": _share(self.n_found_positive, self.n_found),
            "pos.agr": _share(self.n_called_positive, self.n_matched_positive),
            "neg.agr": _share(self.n_called_negative, self.n_matched_negative),
        }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def read_fields(folder: Path) -> list[Field]:
    """All images of ``index.csv`` that have a truth, in its order."""
    found = []
    for row in pd.read_csv(folder / "index.csv").itertuples():
        image = folder / str(row.image)
        outlines = image.with_name(f"{image.stem}_nuclei.png")
        if outlines.exists():
            rgb = np.asarray(Image.open(image).convert("RGB"))
            found.append(Field(name=image.stem, rgb=rgb, mpp=float(row.mpp), truth=_read_truth(outlines)))
    return found


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


def to_grid(labels: Int32Array, shape: tuple[int, ...]) -> Int32Array:
    """Labels by nearest neighbour on another grid over the same area."""
    rows, columns = (
        np.minimum(((np.arange(size) + 0.5) * have / size).astype(np.intp), have - 1)
        for size, have in zip(shape, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def shift_px(seen: Field) -> tuple[int, int]:
    """How far (x, y) the truth has to be moved to lie on the nuclei of its image, whatever a method finds there.

    There its outlines hold most more stain than a ring around them does; of equals, the smallest shift.
    """
    od = -np.log10((seen.rgb.mean(axis=2, dtype=np.float32) + 1) / 256)
    inside = (seen.truth.labels > 0).astype(np.uint8)
    reach, width = (round(um / seen.mpp) for um in (MAX_SHIFT_UM, RING_UM))
    ring = cv2.dilate(inside, np.ones((2 * width + 1, 2 * width + 1), np.uint8)) > inside
    weight = inside / max(np.count_nonzero(inside), 1) - ring / max(np.count_nonzero(ring), 1)
    shifts = sorted(product(range(-reach, reach + 1), repeat=2), key=lambda shift: np.hypot(*shift))
    contrast = [float((_moved(weight, shift) * od).sum()) for shift in shifts]
    return shifts[int(np.argmax(contrast))]


def laid_on(seen: Field) -> Int32Array:
    """The labels of the truth, moved by `shift_px`."""
    return np.asarray(_moved(seen.truth.labels, shift_px(seen)))


def _moved(plane: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """``plane`` moved by (x, y) pixels; 0 comes in."""
    (height, width), (dx, dy) = plane.shape, shift
    moved = np.zeros_like(plane)
    moved[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = plane[
        max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)
    ]
    return moved


def match_centres(seen: Field, found: Nuclei) -> Matches:
    """Centres of truth and found nuclei, one to one within the tolerance."""
    return match_points(seen.truth.xy_px, found.xy_px, max_distance=TOLERANCE_UM / seen.mpp)


def measure(seen: Field, found: Nuclei, *, method: str) -> Agreement:
    """All measures of one method on one field."""
    truth = seen.truth
    matches = match_centres(seen, found)
    is_positive, called_positive = truth.positive[matches.truth], found.positive[matches.found]
    return Agreement(
        field=seen.name,
        method=method,
        n_truth=matches.n_truth,
        n_found=matches.n_found,
        n_matched=matches.n_matched,
        n_overlapping=match_labels(truth.labels, found.labels, iou=0.5).n_matched,
        n_overlapping_laid=match_labels(laid_on(seen), found.labels, iou=0.5).n_matched,
        n_truth_positive=int(truth.positive.sum()),
        n_found_positive=int(found.positive.sum()),
        n_matched_positive=int(is_positive.sum()),
        n_called_positive=int((called_positive & is_positive).sum()),
        n_matched_negative=int((~is_positive).sum()),
        n_called_negative=int((~called_positive & ~is_positive).sum()),
        aji=aggregated_jaccard(truth.labels, found.labels),
    )


def pool(results: Sequence[Agreement], *, method: str) -> Agreement:
    """One method's counts over all fields; each nucleus weighs the same, whatever field it lies in."""
    of_method = [result for result in results if result.method == method]
    counts = {
        each.name: sum(getattr(r, each.name) for r in of_method) for each in fields(Agreement) if "n_" in each.name
    }
    return Agreement(field="POOLED", method=method, aji=None, **counts)


def table_lines(results: Sequence[Agreement]) -> list[str]:
    """A line per field and method, then for each method the mean of the fields and the pooled nuclei."""
    methods = list(dict.fromkeys(result.method for result in results))
    columns = list(results[0].shares) if results else []
    lines = [
        f"{'field':<20} {'method':<20} {'truth':>6} {'found':>6} " + " ".join(f"{title:>9}" for title in columns),
        *(_line(result.field, result.method, result.n_truth, result.n_found, result.shares) for result in results),
    ]
    for method in methods:
        each = pd.DataFrame([result.shares for result in results if result.method == method], dtype=float).mean()
        lines.append(_line("MEAN", method, "", "", each.to_dict()))
    pooled = [pool(results, method=method) for method in methods]
    return lines + [_line(each.field, each.method, each.n_truth, each.n_found, each.shares) for each in pooled]


def _line(name: str, method: str, truth: object, found: object, shares: Mapping[str, float | None]) -> str:
    texts = ["-" if share is None or np.isnan(share) else f"{share:.3f}" for share in shares.values()]
    return f"{name:<20} {method:<20} {truth:>6} {found:>6} " + " ".join(f"{text:>9}" for text in texts)


def curve_lines(seen: Sequence[Field], found: Sequence[Nuclei], cuts: Sequence[float]) -> list[str]:
    """Pooled agreement in positive and in negative matched nuclei, by compartment (columns) and cut (lines)."""
    pairs = [match_centres(*pair) for pair in zip(seen, found, strict=True)]
    truth = np.concatenate([one.truth.positive[m.truth] for one, m in zip(seen, pairs, strict=True)])
    compartments = list(found[0].dab_od) if found else []
    od = {
        name: np.concatenate([one.dab_od[name][m.found] for one, m in zip(found, pairs, strict=True)])
        for name in compartments
    }
    lines = [f"{'DAB OD':<8}" + " ".join(f"{f'{name} +/-':>16}" for name in compartments)]
    for cut in cuts:
        shares = (
            f"{(od[name] >= cut)[truth].mean():.3f}/{(od[name] < cut)[~truth].mean():.3f}" for name in compartments
        )
        lines.append(f"{cut:<8g}" + " ".join(f"{share:>16}" for share in shares))
    return lines


def as_record(result: Agreement) -> dict[str, object]:
    """Counts and shares of one result, for JSON."""
    return asdict(result) | result.shares
