"""Whole slides put together from rendered tissue, for the tests of ``whole_slides`` and ``batch``."""

from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np

import slide_files
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

ROOT = Path(__file__).parents[1]
MPP = 0.5
WHITE = 243


DENSE = {"pattern": "both", "tps_pct": 50, "dab_od": 1.7, "bleed_through": 0.8, "membrane_um": 1.6}
"""Half of the cells so brown that the borders of the others are moved."""


GRAIN = np.array([WHITE + NormalDist().inv_cdf((n + 0.5) / 256) for n in range(256)]).astype(np.uint8)
"""Levels of glass with noise of a standard deviation of one, each as likely: quicker to draw than the noise itself."""


def fields(*, dense=False):
    """A few square fields of rendered tissue, one of them densely brown if wanted."""
    return _field(11), _field(12), _field(13, dense=dense)


@cache
def _field(seed, *, dense=False):
    return render_phantom(PhantomSettings(size_px=640, **(DENSE if dense else {})), seed=seed).rgb


def tissue(width, height, *, seed=0, patch=311, dense=False):
    """Pieces of fields side by side: (height, width, 3) uint8. At their seams cells are cut and run together."""
    rng = np.random.default_rng(seed)
    rgb = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, patch):
        for x in range(0, width, patch):
            field = fields(dense=dense)[rng.integers(3)]
            turned = np.rot90(field, rng.integers(4))
            top, left = rng.integers(0, field.shape[0] - patch, 2)
            place = rgb[y : y + patch, x : x + patch]
            place[...] = turned[top : top + place.shape[0], left : left + place.shape[1]]
    return rgb


def glass(width, height, *, seed=0):
    return GRAIN[np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)]


def slide_image(width=3000, height=2500, *, seed=0, dense=False):
    """Tissue with glass around it and a fissure of glass through it; a third of it densely brown if wanted."""
    rgb = glass(width, height, seed=seed)
    left, top, right, bottom = 480, 200, width - 100, height - 60
    rgb[top:bottom, left:right] = tissue(right - left, bottom - top, seed=seed, dense=dense)
    fissure = slice(width * 52 // 100, width * 77 // 100)
    rgb[:, fissure] = glass(fissure.stop - fissure.start, height, seed=seed + 1)
    return rgb


def write_slide(path, rgb, *, mpp=MPP, lossless=True, downsamples=(4, 16)):
    """A pyramid in tiles; lossless, so that the image in memory is what is read."""
    slide_files.write_pages(path, rgb, downsamples=downsamples, resolution=10_000 / mpp, lossless=lossless)
    return path
