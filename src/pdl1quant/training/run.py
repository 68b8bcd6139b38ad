"""The whole training: from files of labels to the folder of a classifier."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pdl1quant import __version__
from pdl1quant.extras import import_extra
from pdl1quant.naming import segmenter_name
from pdl1quant.outputs.captions import plural
from pdl1quant.training.collect import MATCH_UM, LabelledCells, collect_cells
from pdl1quant.training.fit import fit_classifier
from pdl1quant.training.labels import check_classes, names_slides, read_labels, review_note
from pdl1quant.training.write import claim_folder, write_classifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdl1quant.config import Config
    from pdl1quant.networks.classifier import Classifier

LIMITS = (
    "Research use only. It knows tissue, stain and scanner of its labels, and the eye of who labelled them; "
    "look at the overlays before it is believed on anything else."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What to learn from, how cells are found, and where to write the classifier."""

    labels: tuple[Path, ...]
    output: Path
    config: Config
    images: Path | None = None
    mpp: float | None = None
    white: tuple[float, float, float] | None = None
    licence: str = "not stated"
    overwrite: bool = False


def train(job: TrainingJob, *, say: Callable[[str], None] = lambda _: None) -> Classifier:
    """Fit a classifier on labelled cells and write its folder.

    Parameters
    ----------
    job
        What is asked for.
    say
        Is told what happens, in lines.

    Returns
    -------
    Classifier
        As written, ready for ``cells.classifier``.

    Raises
    ------
    UsageError
        The labels do not do, the folder is taken, or the extra ``train`` is not installed.
    InputError
        An image cannot be read.
    """
    for module, package in (("sklearn", "scikit-learn"), ("onnx", "onnx"), ("matplotlib", "matplotlib")):
        import_extra(module, package=package, extra="train")
    claim_folder(job.output, overwrite=job.overwrite)
    labels = read_labels(job.labels, images=job.images)
    cells = collect_cells(labels, config=job.config, mpp=job.mpp, white=job.white, say=say)
    notes = [_matched_line(cells), *filter(None, [review_note(labels)])]
    if not names_slides(labels):
        notes.append("no column slide: each image counts as a slide; images of one slide make the figures flatter")
    check_classes(pd.Series(cells.classes, dtype=str), what="matched to measured cells")
    fitted = fit_classifier(cells.features, cells.classes, cells.slides, names=cells.names)
    if not fitted.by_slide:
        notes.append(
            "whole slides could not be held out: cells were, at random; the figures flatter, label more slides"
        )
    notes += [
        f"{name}: {few} of its {int((fitted.truth == k).sum())} cells could not be judged, as no other slide has any, "
        "and count as not recognised; label the class on several slides"
        for k, (name, few) in enumerate(zip(fitted.classes, fitted.never_learnt.tolist(), strict=True))
        if few
    ]
    for note in notes:
        say(note)
    name = Path(os.path.realpath(job.output)).name
    classifier = write_classifier(
        job.output,
        fitted,
        features=cells.features,
        about={
            "name": name,
            "title": f"Tells {', '.join(fitted.classes[:-1])} and {fitted.classes[-1]} apart.",
            "licence": " ".join(job.licence.split()) or "not stated",
            "training_data": _origin(job, cells),
            "limits": LIMITS,
            "segmenter": segmenter_name(job.config),
            "mpp": job.config.working_mpp,
            "training": {"pdl1quant": __version__, "config_digest": job.config.digest, "labels": _hashes(job)},
        },
        notes=tuple(notes),
    )
    figures = classifier.card.figures
    for each in fitted.classes:
        of = figures[each]
        say(f"{each}: sensitivity {_text(of['sensitivity'])}, specificity {_text(of['specificity'])}")
    say(f"written to {job.output}; use it: pdl1quant score ... --classifier {job.output}")
    return classifier


def _matched_line(cells: LabelledCells) -> str:
    line = f"{cells.n_labels - cells.n_unmatched} of {cells.n_labels} labels lie on {len(cells.classes)} measured cells"
    if cells.n_unmatched:
        line += f"; {cells.n_unmatched} have no nucleus within {MATCH_UM:g} um and were not used"
    if cells.n_contradicted:
        line += f"; {cells.n_contradicted} contradict another label of the same cell and were not used"
    return line


def _origin(job: TrainingJob, cells: LabelledCells) -> str:
    n_slides = len(set(cells.slides))
    names = ", ".join(path.name for path in job.labels)
    images, slides = plural(cells.n_images, "image"), plural(n_slides, "slide")
    return f"{len(cells.classes)} cells in {images} of {slides}, labelled by a person ({names})."


def _hashes(job: TrainingJob) -> dict[str, str]:
    """A name alone does not tell which labels they were."""
    return {f"file_{n}": hashlib.sha256(path.read_bytes()).hexdigest() for n, path in enumerate(job.labels, start=1)}


def _text(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"
