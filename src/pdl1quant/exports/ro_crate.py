"""The folder of a run as an RO-Crate 1.1: what each file is, and what made it, for machines and archives.

References
----------
Soiland-Reyes et al., "Packaging research artefacts with RO-Crate", Data Science 2022.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pdl1quant import __version__
from pdl1quant.extras import import_extra
from pdl1quant.outputs.captions import RESEARCH_USE_ONLY, plural
from pdl1quant.outputs.claims import refuse_foreign
from pdl1quant.outputs.files import (
    CRATE_NAME,
    ENDINGS,
    REPORT_NAME,
    REVIEWED_NAME,
    RUN_RECORD_NAME,
    SCORES_NAME,
    replace_atomically,
)
from pdl1quant.outputs.run_record import TIMINGS, read_run_record
from pdl1quant.review.ledger import FOLDER as EDITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pdl1quant.review import Results

EXTRA = "ro-crate"
EDITS_ENDING = ".jsonl"

_TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".geojson": "application/geo+json",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".pdf": "application/pdf",
    ".html": "text/html",
    ".jpg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".h5ad": "application/x-hdf5",
    ".gz": "application/gzip",
    ".zip": "application/zip",
    ".dcm": "application/dicom",
    ".jsonl": "application/x-ndjson",
}
MEANINGS = {
    SCORES_NAME: "Scores of images and cases, with intervals, flags and status",
    REVIEWED_NAME: "Scores after review, beside those of the run",
    RUN_RECORD_NAME: "Record of the run: settings, versions, hashes of the inputs",
    "artefacts": "What of one slide was left out as spoilt, outlined",
    "regions": "What was drawn on one image, and its cores, outlined",
    "cells": "Cells of one image: place, class, positivity, measurements",
    "overlays": "One image with the outlines of its cells",
    "geojson": "Cells of one image as objects of QuPath",
    "maps": "Map of the score over one slide",
    "labels": "Label images of nucleus, cell, cytoplasm and membrane",
    "figures": "Figure",
    REPORT_NAME: "Report of the run, for a browser",
    "report": "Report of one case, for a browser",
    "exports": "Cells of one image in the format of another program",
    "agreement": "How far the scores agree with those of readers",
    EDITS: "Corrections, scores and signatures of a review, in their order",
}


def write_ro_crate(results: Results) -> Path:
    """Write ``ro-crate-metadata.json`` into the folder of a run. The same folder gives the same bytes.

    Images are named by path and hash as the inputs of the run; they are not part of the crate. Paths of the machine
    are not told here; ``run.json``, which is listed, holds them under ``timings``. The licence of the results is for
    their owner to state.

    Raises
    ------
    UsageError
        rocrate is not installed.
    OutputError
        The file cannot be written, or pdl1quant did not write the one that is there.
    """
    out = results.out
    path = out / CRATE_NAME
    refuse_foreign(path)
    started = read_run_record(out / RUN_RECORD_NAME)[TIMINGS]["started"]
    crate = import_extra("rocrate.rocrate", package="rocrate", extra=EXTRA).ROCrate()
    crate.name = f"PD-L1 measurements: {results.pack.title}"
    crate.description = describe(results)
    crate.datePublished = started
    crate.license = "Not stated: to be chosen by the owner of the results"
    files = [
        crate.add_file(path, path.relative_to(out).as_posix(), properties=_about(path, out)) for path in _files(out)
    ]
    _add_run(crate, results, files=files, started=started)
    with replace_atomically(path) as partial:
        text = json.dumps(crate.metadata.generate(), indent=2, sort_keys=True, ensure_ascii=False)
        partial.write_text(text + "\n", encoding="utf-8", newline="\n")
    return path


def describe(results: Results) -> str:
    """What was measured, how often and how, in two sentences."""
    levels = [row.level for row in results.case_rows]
    n_arrays = levels.count("array")
    numbers = {"case": len(levels) - n_arrays, "microarray": n_arrays}
    what = " and ".join(plural(n, noun) for noun, n in numbers.items() if n)
    return (
        f"{results.pack.score_name} of {what or 'no case'} on {plural(len(results.images), 'image')}, measured by "
        f"pdl1quant {__version__} with rule pack {results.pack.name}, settings {results.config.digest}. "
        f"{RESEARCH_USE_ONLY}"
    )


def _add_run(crate: Any, results: Results, *, files: Sequence[Any], started: str) -> None:
    """What was done: by which program, from which images, with which files as result."""
    entity = import_extra("rocrate.model.contextentity", package="rocrate", extra=EXTRA).ContextEntity
    software = {"@type": "SoftwareApplication", "name": "pdl1quant", "version": __version__}
    images = {image.sha256: image for image in results.images if image.sha256}
    inputs = [
        crate.add(
            entity(
                crate,
                f"urn:sha256:{sha256}",
                {"@type": "CreativeWork", "name": image.name, "identifier": f"sha256:{sha256}"},
            )
        )
        for sha256, image in images.items()
    ]
    action = {
        "@type": "CreateAction",
        "name": "Scoring",
        "startTime": started,
        "instrument": _reference(crate.add(entity(crate, "#pdl1quant", software))),
        "object": [_reference(each) for each in inputs],
        "result": [_reference(each) for each in files],
    }
    crate.add(entity(crate, "#run", action))


def _reference(entity: Any) -> dict[str, str]:
    return {"@id": entity.id}


def _files(out: Path) -> Iterator[Path]:
    yield from (
        path for name in (SCORES_NAME, REVIEWED_NAME, RUN_RECORD_NAME, REPORT_NAME) if (path := out / name).is_file()
    )
    for kind, endings in (*ENDINGS.items(), (EDITS, (EDITS_ENDING,))):
        yield from sorted(path for path in (out / kind).rglob("*") if path.name.endswith(endings) and path.is_file())


def _about(path: Path, out: Path) -> dict[str, Any]:
    kind = path.relative_to(out).parts[0]
    about = {"name": path.name, "description": MEANINGS[kind], "contentSize": str(path.stat().st_size)}
    form = _TYPES.get(path.suffix)
    return about | ({"encodingFormat": form} if form else {})
