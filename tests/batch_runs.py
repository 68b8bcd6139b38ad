"""Small tiles and runs over them, for the tests of ``batch``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from pdl1quant import batch
from pdl1quant.config import Config
from pdl1quant.outputs.claims import claim_output
from pdl1quant.outputs.scores_table import read_scores
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

BLUE = np.array([0.650, 0.704, 0.286])
BROWN = np.array([0.268, 0.570, 0.776])
PINK = np.array([0.072, 0.990, 0.105])


def claim(out, **how):
    """Take a folder for a run, and leave it again."""
    with claim_output(out, **how):
        pass


class Deaf:
    """A listener that notes what it is told, and may stop the run after so many images."""

    def __init__(self, stop_after=None):
        self.complaints, self.reports, self.n_images, self.stop_after = [], [], 0, stop_after
        self.of_controls = []

    def begin(self, n_images):
        pass

    def doing(self, what, case):
        pass

    def advance(self, n_images=1):
        self.n_images += n_images
        if self.n_images == self.stop_after:
            raise KeyboardInterrupt

    def complain(self, message):
        self.complaints.append(message)

    def case_done(self, report):
        self.reports.append(report)

    def control_done(self, lines):
        self.of_controls += lines

    def end(self, summary):
        pass


def draw_tile(path, *, seed=0, size=128, colours=(BLUE, BROWN)):
    """Blue nuclei on glass, every second one ringed by brown."""
    rgb = _tile(seed, size, tuple(tuple(each.tolist()) for each in colours))
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(rgb).save(path)
    return path


@cache
def _tile(seed, size, colours):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    blue, brown = np.full((size, size), 0.02), np.zeros((size, size))
    for number, (row, column) in enumerate(np.argwhere(np.ones((size // 32, size // 32))) * 32 + 16):
        distance = np.hypot(y - row - rng.uniform(-3, 3), x - column - rng.uniform(-3, 3))
        blue += 0.6 * (distance < 7)
        brown += 0.5 * (distance >= 7) * (distance < 12) * (number % 2)
    od = blue[..., None] * np.array(colours[0]) + brown[..., None] * np.array(colours[1])
    rgb = 243 * 10**-od + rng.normal(0, 1, od.shape)
    return rgb.clip(0, 255).astype(np.uint8)


def draw_phantom(path, *, seed=1):
    """Rendered tissue with tumour cells, half of them brown."""
    PillowImage.fromarray(_phantom(seed)).save(path)
    return path


@cache
def _phantom(seed):
    return render_phantom(PhantomSettings(size_px=192), seed=seed).rgb


def draw_tiles(folder):
    """Two cases of two tiles, with a space and a letter beyond ASCII in their names."""
    for case, seed in (("case A", 60), ("Fall ü", 70)):
        for number in range(2):
            draw_tile(folder / case / f"tile {number}.png", seed=seed + number)
    return folder


def job_for(paths, output, **changes):
    pack, _ = batch.find_rules("28-8-cytoplasm", None)
    paths = (paths,) if isinstance(paths, Path) else tuple(paths)
    settings = {"config": Config(), "pack": pack, "mpp": 0.5, **changes}
    return batch.Job(paths=paths, output=output, **settings)


def run(paths, output, *, listener=None, **changes):
    return batch.run(job_for(paths, output, **changes), listener=listener or Deaf())


def tree(folder):
    """Every file's bytes, without what is documented to vary."""
    files = {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    record = json.loads(files.pop(Path("run.json")))
    record.pop("timings")
    return files, record


def rows_of(output, level):
    return [row for row in read_scores(output / "scores.csv") if row.level == level]
