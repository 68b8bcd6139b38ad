"""Which exports there are, and from the folder of a run to their files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.errors import OutputError, Pdl1QuantError, ReviewError, UsageError
from pdl1quant.exports.dicom_seg import write_dicom_seg
from pdl1quant.exports.h5ad import write_h5ad
from pdl1quant.exports.ro_crate import write_ro_crate
from pdl1quant.exports.source import Source
from pdl1quant.exports.spreadsheet import write_cells_csv
from pdl1quant.outputs.claims import refuse_foreign
from pdl1quant.outputs.files import CRATE_NAME, EXPORTS_NAME, why_unwritable
from pdl1quant.review import Review, open_results
from pdl1quant.review.results import load_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pdl1quant.review import ImageResult, Results

PER_IMAGE: dict[str, tuple[Callable[[Source, Path], None], str]] = {
    "csv": (write_cells_csv, ".csv"),
    "anndata": (write_h5ad, ".h5ad"),
    "dicom-seg": (write_dicom_seg, ".seg.dcm"),
}
"""Exports that are a file for each image: what writes it, and its ending."""

EXPORTS = (*PER_IMAGE, "ro-crate")
REVIEWABLE = ("csv", "anndata")
"""Exports that can hold what a review made of the cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """What is asked for: of the results in ``out``, the images called so (none: all), as one of `EXPORTS`."""

    out: Path
    to: str
    names: Sequence[str] = ()
    folder: Path | None = None
    """Where the files go; None: ``exports`` in the results."""
    images: Path | None = None
    """Where the images are now; None: where the run read them."""
    reviewed: bool = False
    """Whether the columns of the review are to stand beside those of the run."""


def export_results(job: ExportJob, *, say: Callable[[str], None] = lambda _: None) -> tuple[list[Path], list[str]]:
    """Write an export: a file for each image, or a description of the whole folder.

    The same results give the same bytes. An image that cannot be exported, or at the place of whose
    file one of others lies, costs its own file only.

    Parameters
    ----------
    job
        What is asked for.
    say
        Is told of each file in a line.

    Returns
    -------
    tuple of list
        The files written, and a line for each image that could not be exported.

    Raises
    ------
    UsageError
        No folder of results, no such image or export, none that was scored, or a package is missing.
    OutputError
        A file cannot be written.
    """
    _check(job)
    results = open_results(job.out)
    if job.to == "ro-crate":
        path = write_ro_crate(results)
        say(str(path))
        return [path], []
    write, suffix = PER_IMAGE[job.to]
    folder = (job.folder or job.out / EXPORTS_NAME) / job.to
    chosen = results.scored_images(job.names)
    paths: list[Path] = []
    problems: list[str] = []
    for image in chosen:
        path = folder / f"{image.stem}{suffix}"
        try:
            refuse_foreign(path)
            write(_source(results, image, job), path)
        except Exception as error:  # decoders and DICOM have errors of their own; the others are to be written
            if isinstance(error, UsageError) and not isinstance(error, ReviewError):
                raise  # a package that is missing is missing for all
            if isinstance(error, OutputError) and why_unwritable(path.parent):
                raise  # so it will be of all
            known = isinstance(error, Pdl1QuantError)
            problems.append(str(error) if known else f"{image.name}: {_in_a_line(error)}")
            continue
        paths.append(path)
        say(str(path))
    return paths, problems


def _in_a_line(error: Exception) -> str:
    return " ".join(f"not exported ({type(error).__name__}: {error})".split())


def _check(job: ExportJob) -> None:
    if job.to not in EXPORTS:
        raise UsageError(f"{job.to!r}: no such export; there are {', '.join(EXPORTS)}")
    if job.reviewed and job.to not in REVIEWABLE:
        raise UsageError(f"--reviewed goes with {' and '.join(REVIEWABLE)}; {job.to} holds what the run said")
    if job.to == "ro-crate" and (job.names or job.folder):
        raise UsageError(f"ro-crate describes the whole folder of results, in its {CRATE_NAME}; leave the rest out")


def _source(results: Results, image: ImageResult, job: ExportJob) -> Source:
    loaded = Review(results, image) if job.reviewed else load_cells(results, image)
    cells = loaded.reviewed_cells() if isinstance(loaded, Review) else loaded.cells
    return Source(
        results=results, image=image, cells=cells, mpp=loaded.mpp, sides_um=loaded.sides_um, images=job.images
    )
