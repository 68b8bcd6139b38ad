"""Slides as a run scores them, for tests that look at the cells: the same work, in this process, read back."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import shapely

from pdl1quant import pipeline
from pdl1quant.assays import load_pack
from pdl1quant.batch.slide_work import analyse_slide, take_slide_sample
from pdl1quant.batch.work import Image, Plan, Task, result_paths
from pdl1quant.batch.workers import Workers
from pdl1quant.outputs.tables import read_cells


def analysed(path, config, *, estimate=None, rois=(), keep_labels=False):
    """The outcome of a slide, its cells as they were written (None where there is no table), and its staining."""
    with TemporaryDirectory(prefix="pdl1quant-") as name:
        folder = Path(name)
        pack = load_pack("28-8-cytoplasm")
        plan = Plan(output=folder / "out", config=config, pack=pack, keep_labels=keep_labels)
        image = Image(
            path=path, name=path.name, stem="slide", case="", is_slide=True, roi=_saved(rois, folder / "rois.geojson")
        )
        if estimate is None:
            sample = take_slide_sample(Task(image=image, plan=plan)).sample
            estimate = pipeline.estimate_case([sample], config=config)
        (folder / "out").mkdir()
        with Workers(1) as workers:
            task = Task(image=image, plan=plan, estimate=estimate)
            done = analyse_slide(task, workers=workers, scratch=folder, progress=lambda *_: None)
        assert not done.trace, done.trace
        table = result_paths(image, plan)["cells"]
        return done.outcome, read_cells(table) if table.exists() else None, estimate


def estimated(path, config):
    """The staining of a slide as a run estimates it, without scoring it."""
    image = Image(path=path, name=path.name, stem="slide", case="", is_slide=True)
    plan = Plan(output=path.parent, config=config, pack=load_pack("28-8-cytoplasm"))
    return pipeline.estimate_case([take_slide_sample(Task(image=image, plan=plan)).sample], config=config)


def _saved(rois, path):
    """The file of drawn regions; None without any."""
    features = [
        {
            "type": "Feature",
            "geometry": json.loads(shapely.to_geojson(roi.geometry)),
            "properties": {"objectType": "annotation", "classification": {"name": roi.name}},
        }
        for roi in rois
    ]
    if not features:
        return None
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path
