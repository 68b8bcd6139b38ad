"""Results to review, without the minutes of a run: cells tables, scores and records as a run writes them."""

import hashlib
import json

import numpy as np

from batch_runs import draw_phantom, job_for, run
from factories import random_cells
from pdl1quant.batch.record import settings_of
from pdl1quant.model import Counts, ResultFlag, Status
from pdl1quant.outputs.files import result_path
from pdl1quant.outputs.run_record import write_run_record
from pdl1quant.outputs.scores_table import ScoreRow, score_values, write_scores
from pdl1quant.outputs.tables import write_cells
from pdl1quant.pipeline.images import _flagged
from pdl1quant.review import Review, open_results
from pdl1quant.review.recount import score_blocks
from pdl1quant.stages.score import count_blocks

FLAGS = (ResultFlag.SELECTED_FIELDS,)


def image_bytes(name):
    return f"image {name}".encode()


def make_results(
    tmp_path,
    *,
    images=("a", "b"),
    n=200,
    case="case",
    seed=0,
    version=None,
    has_nests=True,
    flags=FLAGS,
    tables=None,
    size_px=None,
    **changes,
):
    """A folder of results over one case; the images are files of a few bytes beside it. ``changes`` are of the job.

    ``tables`` are cells in the place of random ones. With ``size_px`` they are those of images of that size, in which
    nests were looked for; without it, of an earlier version that wrote down no size.
    """
    folder, out = tmp_path / "tiles", tmp_path / "out"
    folder.mkdir(exist_ok=True)
    job = job_for(folder, out, **changes)
    common = {"assay": job.pack.name, "config_digest": job.config.digest}
    scoring = {
        "config": job.config,
        "pack": job.pack,
        "indication": job.indication,
        "has_tumour_roi": False,
        "tumour_confirmed": False,
        "flags": flags,
    }
    rows, entries, all_blocks, nests = [], [], [], []
    for number, name in enumerate(images):
        (folder / f"{name}.png").write_bytes(image_bytes(name))
        sha256 = hashlib.sha256(image_bytes(name)).hexdigest()
        cells = random_cells(seed + number, n) if tables is None else tables[number]
        cells = cells.assign(**probabilities(seed + number, len(cells)))
        cells = cells.sort_values(["y_px", "x_px"], ignore_index=True)
        metadata = {"image_sha256": sha256, "config_digest": job.config.digest, "mpp": "0.5"}
        if size_px is not None:
            metadata |= {"width_px": str(size_px), "height_px": str(size_px)}
            cells, found = _flagged(cells, None, shape=(size_px, size_px), mpp=0.5)
        nests.append(has_nests if size_px is None else found)
        write_cells(cells, result_path(out, "cells", name), metadata=metadata)
        blocks = count_blocks(
            cells, block_um=job.config.score.block_um, mpp_x=0.5, mpp_y=0.5, config=job.config, pack=job.pack
        )
        all_blocks += blocks
        score = score_blocks(blocks, level="image", has_nests=nests[-1], **scoring)
        rows.append(
            ScoreRow(
                level="image", image=f"{name}.png", case=case, status=Status.OK, mpp=0.5,
                **score_values(sum(blocks, Counts()), score), **common,
            )
        )  # fmt: skip
        entries.append({"image": f"{name}.png", "results": name, "case": case, "sha256": sha256, "roi_sha256": None})
    score = score_blocks(all_blocks, level="case", has_nests=any(nests), **scoring)
    values = score_values(sum(all_blocks, Counts()), score)
    rows.append(ScoreRow(level="case", image="", case=case, status=Status.OK, mpp=0.5, **values, **common))
    write_scores(rows, out / "scores.csv")
    record = {
        "settings": settings_of(job),
        "config_digest": job.config.digest,
        "images": entries,
        "timings": {"paths": [str(folder)]},
    }
    write_run_record(out / "run.json", record)
    if version is not None:
        told = json.loads((out / "run.json").read_text()) | version
        (out / "run.json").write_text(json.dumps(told))
    return out


def probabilities(seed, n):
    """Probabilities of the classes, as a classifier gives them."""
    values = np.random.default_rng(seed).dirichlet(np.ones(5), n).astype(np.float32)
    names = ("tumour", "lymphocyte", "macrophage", "stroma", "other")
    return {f"{name}_probability": values[:, k] for k, name in enumerate(names)}


def open_review(out, name="a"):
    results = open_results(out)
    return Review(results, results.image(name))


def viable(review, cell_class="tumour"):
    """Ids of cells that count, of one class."""
    cells = review.cells
    rows = np.flatnonzero((cells["cell_class"] == cell_class).to_numpy() & (cells["flags"].to_numpy() == 0))
    return review.ids(rows)


def run_of_two_phantoms(folder):
    """A real run over two copies of one rendered tile that differ by a byte: ``folder/tiles``, ``folder/out``."""
    (folder / "tiles").mkdir()
    draw_phantom(folder / "tiles" / "one.png")
    second = folder / "tiles" / "two.png"
    second.write_bytes((folder / "tiles" / "one.png").read_bytes() + b" ")
    run(folder / "tiles", folder / "out")
    return folder
