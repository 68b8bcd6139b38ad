"""How far class probabilities can be believed, on rendered fields of fresh seeds.

Run ``python benchmarks/reliability.py`` (needs the extra ``train``): the expected calibration error of the network's
scores and, with ``--classifier``, of a classifier; ``--plot`` draws the probability of tumour against the share of
cells that are tumour.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from chosen import add_network_options, network_config
from fit_combined import CLASSES, combined_scores, describe_fields, print_figures
from pdl1quant.naming import chosen_classifier
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.training.figures import reliability
from pdl1quant.training.report import plot_reliability

FIRST_SEED = 960_000
"""Of no fit and no training."""


def print_curve(title: str, probability: np.ndarray, is_so: np.ndarray) -> None:
    """Cells, mean probability and share that is so, bin by bin."""
    curve = reliability(probability, is_so)
    print(f"\n{title}: probability of tumour, share that is tumour, cells")
    for n, predicted, observed in zip(curve.n, curve.predicted, curve.observed, strict=True):
        if n:
            print(f"  {predicted:.3f}  {observed:.3f}  {n:6d}")


def main() -> int:
    """Render, measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--size-um", type=float, default=256.0, help="side of a field")
    parser.add_argument("--classifier", type=Path, metavar="FOLDER", help="as cells.classifier")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the plot as PNG")
    add_network_options(parser)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    config = network_config(options)
    fields = describe_fields(FIRST_SEED, options.fields, size_um=options.size_um, config=config)
    truth = np.concatenate([field.truth for field in fields])
    found = {"network": np.concatenate([field.scores for field in fields])}
    if options.classifier is not None:
        cells = config.cells.model_copy(update={"classifier": str(options.classifier)})
        classifier = chosen_classifier(config.model_copy(update={"cells": cells}))
        assert classifier is not None
        found[classifier.card.name] = np.concatenate([combined_scores(classifier, field) for field in fields])
    tumour = CLASSES.index("tumour")
    curves = {name: (scores[:, tumour], truth == tumour) for name, scores in found.items()}
    for name, scores in found.items():
        print_figures(name, scores, truth)
        print_curve(name, *curves[name])
    if options.plot is not None:
        with replace_atomically(options.plot) as partial:
            partial.write_bytes(plot_reliability(curves, title="probability of tumour, rendered fields"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
