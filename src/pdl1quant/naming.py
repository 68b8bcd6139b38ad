"""Who says what a cell is: a learned classifier, the segmenter's own class scores, or the rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pdl1quant.errors import ModelError
from pdl1quant.model import CellClass
from pdl1quant.networks.card import load_model, model_folder
from pdl1quant.networks.chosen import foreign_hash, names_classes
from pdl1quant.networks.classifier import Classifier, check_features, class_probabilities, load_classifier
from pdl1quant.stages import classify, features

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.config import Config
    from pdl1quant.model import Float32Array, StainEstimate

SAME_MPP = 0.01
"""Relative difference of working pixel sizes up to which features agree."""


def name_cells(
    cells: pd.DataFrame, scores: Float32Array | None, *, mpp: float, estimate: StainEstimate, config: Config
) -> pd.DataFrame:
    """Fill the classes and their probabilities.

    Parameters
    ----------
    cells
        Cells table with its measurements.
    scores : (n, classes) float32, or None
        Class scores of the segmenter, if it has any.
    mpp
        um per pixel of ``x_px``, ``y_px``.
    estimate
        Staining of the case.
    config
        ``cells.classifier`` names the folder of a learned classifier; without one, the scores, else the rules, decide.

    Returns
    -------
    DataFrame
        A new table.

    Raises
    ------
    ModelError
        The classifier cannot be used; see `chosen_classifier`.
    """
    classifier = chosen_classifier(config)
    if classifier is not None:
        described = features.describe_cells(cells, scores, mpp=mpp, estimate=estimate)
        names = features.feature_names(with_scores=scores is not None)
        found = class_probabilities(classifier, described, names)
        return classify.name_by_scores(cells, classify.scores_of(found, classifier.card.classes))
    if scores is not None:
        return classify.name_by_scores(cells, scores)
    return classify.classify_cells(cells, mpp=mpp, estimate=estimate)


def reach_um(config: Config) -> float:
    """How far around a cell `name_cells` looks at others, for a segmenter without class scores."""
    return features.REACH_UM if config.cells.classifier else classify.COMPANY_REACH_UM


def chosen_classifier(config: Config) -> Classifier | None:
    """The classifier that the settings name, checked; None without one.

    Raises
    ------
    ModelError
        It has no card, another hash than its card or the settings say, reads an unknown feature, or learnt from cells
        that another segmenter found, or at another pixel size.
    """
    if not config.cells.classifier:
        return None
    classifier = load_classifier(Path(config.cells.classifier))
    card, given = classifier.card, config.cells.classifier_sha256
    where = config.cells.classifier
    if given and given != classifier.sha256:
        raise ModelError(
            f"{where}: sha256 is {classifier.sha256[:12]}..., cells.classifier_sha256 says "
            f"{given[:12]}...; give that classifier, or leave the hash out"
        )
    check_features(classifier, features.feature_names(with_scores=True))
    finder = segmenter_name(config)
    if card.segmenter != finder:
        raise ModelError(
            f"{where}: learnt from cells that {card.segmenter!r} found, now {finder!r} finds them; train it anew"
        )
    if abs(config.working_mpp / card.mpp - 1) > SAME_MPP:
        raise ModelError(
            f"{where}: learnt at {card.mpp:g} um per pixel, working_mpp is {config.working_mpp:g}; train it anew"
        )
    return classifier


def with_classifier_hash(config: Config) -> Config:
    """The settings with the hash of their classifier, so that their digest tells one classifier from another.

    Raises
    ------
    ModelError
        As `chosen_classifier`.
    """
    classifier = chosen_classifier(config)
    if classifier is None:
        return config
    cells = config.cells.model_copy(update={"classifier_sha256": classifier.sha256})
    return config.model_copy(update={"cells": cells})


def tells_nuclei_from_brown(config: Config) -> bool:
    """Whether brown in nuclei is that of nuclei: rules take spots of brown for some."""
    return config.nuclei.segmenter != "watershed"


def segmenter_name(config: Config) -> str:
    """What finds the cells, with the hash of its weights if it has any."""
    if config.nuclei.segmenter == "watershed":
        return config.nuclei.segmenter
    if config.nuclei.segmenter != "network":
        return f"{config.nuclei.segmenter} {Path(config.nuclei.model).name} {foreign_hash(config.nuclei)[:12]}"
    card = load_model(model_folder(config.nuclei)).card
    return f"network {card.name} {card.sha256[:12]}"


def tells_immune_cells(config: Config) -> bool:
    """Whether lymphocytes and macrophages can be told apart from all else: CPS needs both."""
    classifier = chosen_classifier(config)
    if classifier is not None:
        return {CellClass.LYMPHOCYTE, CellClass.MACROPHAGE} <= set(classifier.card.classes)
    return names_classes(config.nuclei)
