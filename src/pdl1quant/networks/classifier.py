"""A learned classifier of cells: from their features to the probability of each class.

A folder like that of any model: ``card.toml`` and the ONNX file that it names. The card says which features the
classifier reads, in which order, and whose cells it learnt from.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from pdl1quant.errors import ModelError
from pdl1quant.model import CellClass
from pdl1quant.networks.card import CARD_FILE, Card, check_weights, read_card
from pdl1quant.networks.files import hash_files
from pdl1quant.networks.session import run_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.model import Float32Array


class ClassifierCard(Card):
    """The card of a classifier of cells."""

    kind: Literal["classifier"]
    """Tells it from the card of a network that finds nuclei."""
    features: tuple[str, ...] = Field(min_length=1)
    """Names of what it reads of each cell, in the order of the input's columns."""
    classes: tuple[CellClass, ...] = Field(min_length=2)
    """The classes it knows, in the order of the output's columns."""
    segmenter: str
    """What found the cells it learnt from; cells that another finds have other features and scores."""
    mpp: float = Field(gt=0)
    """Pixel size in um at which those were measured."""
    input: str = "features"
    """Name of the input, (n, features) float32."""
    output: str = "probabilities"
    """Name of the output, (n, classes) float32; rows sum to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classifier:
    """A card and the weights that belong to it."""

    card: ClassifierCard
    weights: Path

    @property
    def sha256(self) -> str:
        """Hash of card and weights: the order of features and classes, which the card says, makes results too."""
        return hash_files((self.weights.parent / CARD_FILE, self.weights))


@lru_cache(maxsize=8)
def load_classifier(folder: Path) -> Classifier:
    """Read and check the card, then the hash of the weights; once per process and folder.

    Raises
    ------
    ModelError
        No card, one of another kind, a broken one, no weights, or weights with another hash.
    """
    card = read_card(folder, ClassifierCard)
    for what in ("features", "classes"):
        names = [str(name) for name in getattr(card, what)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ModelError(f"{folder / CARD_FILE}: {what} names {twice[0]!r} twice; train it anew")
    if CellClass.TUMOUR not in card.classes:
        raise ModelError(f"{folder / CARD_FILE}: classes are without tumour, which scores count; train it anew")
    return Classifier(card=card, weights=check_weights(folder, card))


def check_features(classifier: Classifier, known: Sequence[str]) -> None:
    """Refuse a classifier that reads what nobody computes.

    Raises
    ------
    ModelError
        It names the first such feature.
    """
    unknown = [name for name in classifier.card.features if name not in known]
    if unknown:
        path = classifier.weights.parent / CARD_FILE
        raise ModelError(f"{path}: unknown feature {unknown[0]!r}; train the classifier with this version of pdl1quant")


def class_probabilities(classifier: Classifier, features: Float32Array, names: Sequence[str]) -> Float32Array:
    """How likely each cell is of each class.

    Parameters
    ----------
    classifier
        From `load_classifier`.
    features : (n, k) float32
        A row per cell.
    names
        What the k columns are.

    Returns
    -------
    (n, classes) float32
        Columns in the order of the card's ``classes``; rows sum to 1.

    Raises
    ------
    ModelError
        A feature is missing, or the file is not what its card says.
    """
    card = classifier.card
    check_features(classifier, names)
    if len(features) == 0:
        return np.empty((0, len(card.classes)), np.float32)
    place = {name: column for column, name in enumerate(names)}
    chosen = np.ascontiguousarray(features[:, [place[name] for name in card.features]])
    found = run_table(classifier.weights, card.sha256, output=card.output, feed={card.input: chosen})
    wanted = (len(features), len(card.classes))
    if found.shape != wanted or not np.allclose(found.sum(axis=1), 1, atol=1e-3):
        raise ModelError(
            f"{classifier.weights}: {card.output} has shape {found.shape}, not probabilities of shape {wanted}"
        )
    return found
