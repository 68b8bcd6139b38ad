"""Results of many cases, as a run leaves them, without the hours of one: small drawn images, tables of random cells."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import shapely
from PIL import Image as PillowImage

from batch_runs import draw_tile, job_for
from factories import make_scored_cells
from pdl1quant import batch
from pdl1quant.batch.record import settings_of
from pdl1quant.model import CellClass, Counts, Flag, ResultFlag, StainEstimate, Status
from pdl1quant.outputs.files import result_path
from pdl1quant.outputs.regions import OutlinedRegion, write_regions
from pdl1quant.outputs.run_record import write_run_record
from pdl1quant.outputs.scores_table import ScoreRow, read_scores, score_values, write_scores
from pdl1quant.outputs.tables import write_cells
from pdl1quant.review.recount import score_blocks
from pdl1quant.stages.score import count_blocks

SIDE_PX = 512
ESTIMATE = StainEstimate(
    white=(243.0, 241.0, 238.0),
    haematoxylin=(0.65, 0.704, 0.286),
    dab=(0.268, 0.57, 0.776),
    nucleus_od=0.1,
    white_source="glass",
    vectors_source="estimated",
)


def cohort_cells(seed, n, brown):
    """Cells of a field, of which about a share of ``brown`` is brown."""
    rng = np.random.default_rng(seed)
    od = np.where(rng.random(n) < brown, rng.normal(0.5, 0.15, n), rng.normal(0.05, 0.04, n)).clip(0)
    tumour = rng.beta(8, 1.5, n)
    cells = make_scored_cells(
        n,
        x_px=rng.uniform(4, SIDE_PX - 5, n),
        y_px=rng.uniform(4, SIDE_PX - 5, n),
        cell_class=rng.choice([each.value for each in CellClass], n, p=[0.7, 0.12, 0.05, 0.1, 0.03]),
        flags=rng.choice([0, 0, 0, 0, int(Flag.TOUCHES_EDGE), int(Flag.OUT_OF_FOCUS)], n),
        membrane_dab_od_run=od * rng.uniform(0.6, 1.3, n),
        cytoplasm_dab_od_mean=od,
        cell_dab_od_mean=0.8 * od,
        tumour_probability=tumour,
        lymphocyte_probability=1 - tumour,
    )
    return cells.sort_values(["y_px", "x_px"], ignore_index=True)


def make_cohort(tmp_path, names, *, n_cells=300, extra=None, **changes):
    """A folder of results of a case per name, each of one image; ``changes`` are of the job."""
    folder, out = tmp_path / "tiles", tmp_path / "out"
    job = job_for(folder, out, **changes)
    common = {"assay": job.pack.name, "config_digest": job.config.digest, "extra": extra or {}}
    scoring = {
        "config": job.config,
        "pack": job.pack,
        "indication": job.indication,
        "has_tumour_roi": job.indication is not None,
        "tumour_confirmed": job.indication is not None,
    }
    rows, entries, estimates = [], [], {}
    drawn = np.tile(np.asarray(PillowImage.open(draw_tile(tmp_path / "drawn.png", size=128))), (4, 4, 1))
    folder.mkdir()
    for number, case in enumerate(names):
        name = f"field_{number}"
        path = folder / f"{name}.png"
        PillowImage.fromarray(np.roll(drawn, 17 * number, axis=1)).save(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        brown = (number / max(1, len(names) - 1)) ** 2
        cells = cohort_cells(number, n_cells if number % 7 != 5 else 60, brown)
        metadata = {"image_sha256": sha256, "config_digest": job.config.digest, "mpp": "0.5"}
        write_cells(cells, result_path(out, "cells", name), metadata=metadata)
        blocks = count_blocks(
            cells, block_um=job.config.score.block_um, mpp_x=0.5, mpp_y=0.5, config=job.config, pack=job.pack
        )
        flags = (ResultFlag.SELECTED_FIELDS, *((ResultFlag.VECTORS_FIXED,) if number % 5 == 3 else ()))
        for level, image in (("image", f"{name}.png"), ("case", "")):
            score = score_blocks(blocks, level=level, flags=flags, **scoring)
            values = score_values(sum(blocks, Counts()), score)
            rows.append(ScoreRow(level=level, image=image, case=case, status=Status.OK, mpp=0.5, **values, **common))
        entries.append({"image": f"{name}.png", "results": name, "case": case, "sha256": sha256, "roi_sha256": None})
        estimates[case] = {
            **{key: list(getattr(ESTIMATE, key)) for key in ("white", "haematoxylin", "dab")},
            "nucleus_od": ESTIMATE.nucleus_od,
            "white_source": ESTIMATE.white_source,
            "vectors_source": ESTIMATE.vectors_source,
        }
    write_scores(rows, out / "scores.csv")
    record = {
        "settings": settings_of(job),
        "config_digest": job.config.digest,
        "images": entries,
        "estimates": estimates,
        "timings": {"paths": [str(folder)]},
    }
    write_run_record(out / "run.json", record)
    return out


def draw_on(out, regions, *, number=0, **columns):
    """Regions on an image of `make_cohort`, as a run writes them: their file, their rows, their hash in the record.

    ``columns`` are free ones of the rows of cores.
    """
    record, rows = json.loads((out / "run.json").read_text()), list(read_scores(out / "scores.csv"))
    entry = record["images"][number]
    write_regions(regions, result_path(out, "regions", entry["results"]), image_id=entry["sha256"])
    entry["roi_sha256"] = "of what was drawn"
    (image,) = [row for row in rows if row.level == "image" and row.image == entry["image"]]
    for region in regions:
        level = "core" if region.kind == "core" else "roi"
        if region.kind != "exclude":
            extra = columns if level == "core" else {}
            rows.append(replace(image, level=level, region=region.name, extra={**image.extra, **extra}))
    write_scores(rows, out / "scores.csv")
    (out / "run.json").write_text(json.dumps(record))


def array_of_cores(side, *, px=SIDE_PX):
    """``side`` x ``side`` cores that fill an image of ``px`` x ``px``."""
    step = px / side
    return [
        OutlinedRegion(
            kind="core",
            name=f"{chr(65 + row)}-{column + 1}",
            class_name="core",
            geometry=shapely.Point((column + 0.5) * step, (row + 0.5) * step).buffer(0.38 * step, quad_segs=16),
        )
        for row in range(side)
        for column in range(side)
    ]


def label_rules(indication):
    """The pack that makes calls, and an indication of it, as changes of a job."""
    pack, found = batch.find_rules("28-8-label", indication)
    return {"pack": pack, "indication": found}
