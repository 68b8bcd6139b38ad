"""What ``run.json`` says of a run: all that makes its numbers; and under ``timings`` all that does not."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from pdl1quant import __version__
from pdl1quant.model import RulePack, StainEstimate
from pdl1quant.naming import chosen_classifier
from pdl1quant.outputs.run_record import TIMINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pdl1quant.batch.job import Job
    from pdl1quant.batch.work import Image, Outcome
    from pdl1quant.model import BrownArea, RegionScore

_LIBRARIES = ("imagecodecs", "numpy", "opencv-python-headless", "pandas", "pillow", "pyarrow", "scipy", "tifffile")
"""Those that a number, or a byte of a result, depends on."""
_SEGMENTER_LIBRARIES = {
    "network": ("onnxruntime",),
    "stardist": ("csbdeep", "stardist", "tensorflow"),
    "cellpose": ("cellpose", "torch"),
    "instanseg": ("torch",),
}
"""Those that run the chosen model."""

_PACK = TypeAdapter(RulePack)
_ESTIMATES = TypeAdapter(dict[str, StainEstimate])


def settings_of(job: Job) -> dict[str, Any]:
    """All settings that results depend on, as JSON values, named as on the command line where they have a name."""
    classifier = chosen_classifier(job.config)
    return {
        "version": __version__,
        "assay": job.pack.name,
        "indication": None if job.indication is None else job.indication.name,
        "mpp": job.mpp,
        "white": None if job.white is None else list(job.white),
        "labels": job.keep_labels,
        "tma": job.is_array,
        "config": job.config.model_dump(mode="json"),
        "classifier": None if classifier is None else {"name": classifier.card.name, "sha256": classifier.sha256},
        "rule_pack": _PACK.dump_python(job.pack, mode="json"),
    }


def record_of(
    job: Job,
    images: Iterable[Image],
    *,
    estimates: Mapping[str, StainEstimate],
    started: datetime,
    seconds: Mapping[str, float],
    artefacts: Mapping[str, Mapping[str, float]],
    brown: Mapping[str, BrownArea],
    regions: Mapping[str, Sequence[RegionScore]],
    arrays: Sequence[tuple[Image, Outcome]],
    notes: Mapping[str, Sequence[str]],
    controls: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The record of a finished run.

    Parameters
    ----------
    job
        What was asked for.
    images
        What was read, in the order of the rows.
    estimates
        Staining by case.
    started
        When the run began; goes under ``timings`` as do the paths, the machine and the number of workers.
    seconds
        Time spent on each image in this run, by the place of its results.
    artefacts
        Shares of the tissue that each kind covers, of the slides that were searched, by the same place.
    brown
        Area that is brown, and that of it in no cell, by the same place.
    regions
        Drawn regions, and cores of microarrays, by the same place.
    arrays
        The slides whose cores a map names.
    notes
        What was done to, or ignored in, the images on reading them (`slides.raster.Note`), by the same place.
    controls
        The limit of blank and the negative controls that made it (`control_entry`); None without any.
    """
    libraries = (*_LIBRARIES, *_SEGMENTER_LIBRARIES.get(job.config.nuclei.segmenter, ()))
    return {
        "settings": settings_of(job),
        "config_digest": job.config.digest,
        "libraries": {name: _version(name) for name in libraries},
        "images": [
            {
                **image_entry(image, artefacts.get(image.stem), brown.get(image.stem), notes.get(image.stem, ())),
                **_region_entries(regions.get(image.stem, ())),
            }
            for image in images
        ],
        "negative_control": controls,
        "tma_map": None if job.core_map is None else _map_entry(job.core_map, arrays),
        "estimates": _ESTIMATES.dump_python(dict(estimates), mode="json"),
        TIMINGS: {
            "started": started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(tz=UTC) - started).total_seconds(), 3),
            "seconds_by_image": {stem: round(value, 3) for stem, value in seconds.items()},
            "workers": job.workers,
            "paths": _absolute(job.paths),
            "roi": _absolute([job.roi] if job.roi else []),
            "negative_control": _absolute(job.negative_controls),
            "cases": _absolute([job.cases] if job.cases else []),
            "tma_map": _absolute([job.core_map] if job.core_map else []),
            "python": platform.python_version(),
            "platform": f"{sys.platform} {platform.machine()}",
        },
    }


@cache
def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:  # installed under another name, as opencv-python
        return None


def image_entry(
    image: Image, artefacts: Mapping[str, float] | None, brown: BrownArea | None, notes: Sequence[str]
) -> dict[str, Any]:
    """What the record says of an image, but of its regions."""
    return {
        "image": image.name,
        "results": image.stem,
        "case": image.case,
        "sha256": image.sha256 or None,
        "roi_sha256": image.roi_sha256 or None,
        "notes": [str(note) for note in notes],
        "artefacts": None if artefacts is None else {kind: round(share, 6) for kind, share in artefacts.items()},
        "brown": None if brown is None else asdict(brown),
    }


def _region_entries(regions: Sequence[RegionScore]) -> dict[str, Any]:
    """What a review of cores and drawn regions has to know beside their cells; nothing where there are none."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for region in regions:
        entries.setdefault("cores" if region.level == "core" else "regions", []).append(
            {
                "name": region.name,
                "brown": asdict(region.brown),
                "tumour_area_um2": region.counts.tumour_area_um2,
                "is_damaged": region.is_damaged,
            }
        )
    return entries


def _map_entry(core_map: Path, arrays: Sequence[tuple[Image, Outcome]]) -> dict[str, Any]:
    """What the map said of each core, and whether it was found."""
    entries = []
    for image, outcome in arrays:
        found = {region.name for region in outcome.regions if region.level == "core"}
        entries += [
            {
                "results": image.stem,
                "core": core.name,
                "case": core.case,
                "kind": str(core.kind),
                "found": core.name in found,
            }
            for core in image.cores
        ]
    return {"name": core_map.name, "cores": entries}


def _absolute(paths: Sequence[Path]) -> list[str]:
    return [str(path.absolute()).encode(errors="replace").decode() for path in paths]
