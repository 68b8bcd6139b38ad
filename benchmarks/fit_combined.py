"""Fit a classifier that combines the network's class scores with cell features and surroundings, on rendered fields.

Run ``python benchmarks/fit_combined.py -o FOLDER`` (needs the extra ``train``) whenever the network was trained anew:
its scores are features. Printed are the figures of network and combination on rendered fields that neither fit nor
training saw, and in the regions of the sample image. Rendered fields are no tissue: look at both.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from chosen import add_network_options, network_config
from pdl1quant import estimate_case, sample_image, score_image
from pdl1quant.errors import RefusedError
from pdl1quant.model import CellClass
from pdl1quant.naming import segmenter_name
from pdl1quant.networks.classifier import class_probabilities
from pdl1quant.pipeline import find_cells, working_tile
from pdl1quant.slides.roi_file import read_geojson_rois
from pdl1quant.stages import stains
from pdl1quant.stages.features import describe_cells, feature_names
from pdl1quant.training import calibration_error, fit_classifier, write_classifier
from pdl1quant.training.figures import class_figures, confusion
from pdl1quant.validation.detection import match_points
from pdl1quant.validation.phantoms import random_settings, render_phantom
from regions import REGIONS, lines_of, measure_regions, read_image

if TYPE_CHECKING:
    from pdl1quant.config import Config
    from pdl1quant.networks.classifier import Classifier

FIRST_SEED, FIRST_TEST_SEED = 400_000, 950_000
"""Far from those of ``models/``, ``fit_classes.py`` and ``phantoms.py``."""
MATCH_UM = 3.0
MPP_RANGE = (0.3, 0.55)
CLASSES = tuple(str(each) for each in CellClass)
SAMPLE = "fhl2_colon"
LIMITS = "Research use only. It knows rendered fields alone: what it gains there, real tissue has to show."


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Cells of one rendered field: features (n, k), network scores (n, classes), and the columns of their classes."""

    seed: int
    features: np.ndarray
    scores: np.ndarray
    truth: np.ndarray


def describe_field(seed: int, *, size_um: float, config: Config) -> Field | None:
    """Render a field at random and describe its judgeable cells; None where there are none, or no H-DAB."""
    rng = np.random.default_rng(seed)
    mpp = float(rng.uniform(*MPP_RANGE))
    phantom = render_phantom(random_settings(rng, size_px=round(size_um / mpp), mpp=mpp), seed=seed)
    try:
        estimate = estimate_case([sample_image(phantom.rgb, mpp=mpp, config=config)], config=config)
    except RefusedError:
        return None
    tile = working_tile(phantom.rgb, mpp=mpp, config=config)
    found = find_cells(tile, stains.deconvolve(tile.rgb, estimate), estimate=estimate, config=config)
    cells, known = found.measured.cells, phantom.cells
    if len(cells) == 0 or len(known) == 0 or found.class_scores is None:
        return None
    places = (known[["x_px", "y_px"]].to_numpy(), cells[["x_px", "y_px"]].to_numpy())
    matches = match_points(*places, max_distance=MATCH_UM / mpp)
    fair = ~known[["touches_edge", "pigmented", "out_of_focus"]].any(axis=1).to_numpy()[matches.truth]
    truth, row = matches.truth[fair], matches.found[fair]
    features = describe_cells(cells, found.class_scores, mpp=mpp, estimate=estimate)
    return Field(
        seed=seed,
        features=features[row],
        scores=found.class_scores[row],
        truth=known["cell_class"].cat.set_categories(list(CLASSES)).cat.codes.to_numpy()[truth].astype(np.intp),
    )


def describe_fields(first_seed: int, n: int, *, size_um: float, config: Config) -> list[Field]:
    """Those of ``n`` seeds that hold cells."""
    fields = (describe_field(first_seed + k, size_um=size_um, config=config) for k in range(n))
    return [field for field in fields if field is not None and len(field.truth)]


def fit(fields: list[Field], folder: Path, config: Config) -> Classifier:
    """Fit on these fields, held out field by field, and write the classifier."""
    features = np.concatenate([field.features for field in fields])
    classes = [CLASSES[k] for field in fields for k in field.truth]
    seeds = [str(field.seed) for field in fields for _ in field.truth]
    fitted = fit_classifier(features, classes, seeds, names=feature_names(with_scores=True))
    about = {
        "name": folder.resolve().name,
        "title": "Names cells by the network's scores, their nuclei and what lies around them.",
        "licence": "BSD-3-Clause",
        "training_data": f"{len(classes)} cells of {len(fields)} fields rendered by pdl1quant.validation.phantoms.",
        "limits": LIMITS,
        "segmenter": segmenter_name(config),
        "mpp": config.working_mpp,
        "training": {"code": "benchmarks/fit_combined.py", "first_seed": fields[0].seed, "fields": len(fields)},
    }
    return write_classifier(folder, fitted, features=features, about=about)


def combined_scores(classifier: Classifier, field: Field) -> np.ndarray:
    """(n, classes) in the order of `CellClass`."""
    found = class_probabilities(classifier, field.features, feature_names(with_scores=True))
    scores = np.zeros((len(found), len(CLASSES)))
    scores[:, [CLASSES.index(str(name)) for name in classifier.card.classes]] = found
    return scores


def print_figures(title: str, scores: np.ndarray, truth: np.ndarray) -> None:
    """Figures of each class, and how far the probabilities can be believed."""
    table = confusion(truth, scores.argmax(axis=1), len(CLASSES))
    error = calibration_error(scores, truth)
    print(f"\n{title}: {np.trace(table) / table.sum():.3f} of {len(truth)} cells right, calibration error {error:.3f}")
    for name, each in zip(CLASSES, class_figures(table), strict=True):
        shares = (each.sensitivity, each.specificity, each.f1)
        print(
            f"  {name:11s} {each.n:6d} " + "  ".join("  -  " if share is None else f"{share:.3f}" for share in shares)
        )


def print_sample(config: Config) -> None:
    """Shares of tumour calls in the regions of the sample image."""
    image = read_image(SAMPLE, None)
    assert image is not None
    rgb, mpp = image
    rois = read_geojson_rois(REGIONS / f"{SAMPLE}.geojson")
    print("\n".join(lines_of(measure_regions(score_image(rgb, mpp, config=config).cells, rois, image=SAMPLE, mpp=mpp))))


def main() -> int:
    """Fit, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the classifier")
    parser.add_argument("--fields", type=int, default=200, help="rendered fields to fit on")
    parser.add_argument("--test-fields", type=int, default=50, help="rendered fields to compare on")
    parser.add_argument("--size-um", type=float, default=256.0, help="side of a field")
    add_network_options(parser)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    config = network_config(options)
    classifier = fit(
        describe_fields(FIRST_SEED, options.fields, size_um=options.size_um, config=config), options.output, config
    )
    test = describe_fields(FIRST_TEST_SEED, options.test_fields, size_um=options.size_um, config=config)
    truth = np.concatenate([field.truth for field in test])
    print(f"{len(test)} rendered fields; cells, sensitivity, specificity, F1 by class")
    print_figures("network alone", np.concatenate([field.scores for field in test]), truth)
    print_figures("combined", np.concatenate([combined_scores(classifier, field) for field in test]), truth)
    cells = config.cells.model_copy(update={"classifier": str(options.output)})
    for title, each in (("network alone", config), ("combined", config.model_copy(update={"cells": cells}))):
        print(f"\nsample image, {title}")
        print_sample(each)
    return 0


if __name__ == "__main__":
    sys.exit(main())
