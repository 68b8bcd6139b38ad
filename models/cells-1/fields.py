"""Rendered fields as arrays to train on, and the pool of files that a second process fills.

A field is (S, S, 6) uint8 at the network's pixel size: R, G, B; depth in the nucleus and depth in the cell (1-255,
relative to the deepest point of that nucleus or cell; 0 outside); class of the nucleus.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pdl1quant.model import CellClass
from pdl1quant.validation.phantom_noise import smooth_noise
from pdl1quant.validation.phantom_optics import expose, unit
from pdl1quant.validation.phantoms import Phantom, random_settings, render_phantom
from themes import CUFFED, THEMES, cuffed, dying

CLASS_NAMES = tuple(str(name) for name in CellClass)
BACKGROUND = 250
"""No nucleus."""
IGNORED = 251
"""A cell that nobody could judge: out of focus or under pigment."""
MAX_RENDERED_PX = 900
"""Larger fields would slow the renderer; finer pixels than that are not drawn at low magnification."""


def make_field(seed: int, settings: dict[str, Any]) -> np.ndarray:
    """One training field, (S, S, 6) uint8; ``settings`` is the section ``fields`` of the configuration."""
    rng = np.random.default_rng(seed)
    size, low, high = settings["size_px"], settings["min_scale"], settings["max_scale"]
    target_mpp = settings["mpp"] / float(np.exp(rng.uniform(np.log(low), np.log(high))))
    side_um = size * target_mpp
    mpp = max(float(rng.uniform(0.2, 0.6)), side_um / MAX_RENDERED_PX)
    tissue = random_settings(rng, size_px=round(side_um / mpp), mpp=mpp)
    shares = [settings[name] for name in THEMES]
    theme = rng.choice([*THEMES, ""], p=[*shares, 1 - sum(shares)])
    tissue = THEMES[theme](tissue, rng) if theme else dying(tissue, rng)
    tissue = cuffed(tissue, rng) if theme in CUFFED and rng.random() < settings["cuffed_share"] else tissue
    phantom = render_phantom(tissue, seed=int(rng.integers(2**31)))
    rgb = nuclear_stain(phantom, rng) if rng.random() < settings["nuclear_share"] else phantom.rgb
    how = cv2.INTER_AREA if rgb.shape[0] > size else cv2.INTER_CUBIC
    stretch = float(rng.uniform(1.0, settings["max_stretch"])) if rng.random() < settings["stretched_share"] else 1.0
    stretched = cv2.resize(rgb, (round(size * stretch), size), interpolation=how)[:, :size]
    field = pack(np.ascontiguousarray(stretched), phantom, size, stretch=stretch)
    return field if rng.random() < 0.5 else np.ascontiguousarray(field.swapaxes(0, 1))


def nuclear_stain(phantom: Phantom, rng: np.random.Generator) -> np.ndarray:
    """The same tissue stained for a marker of nuclei, as Ki-67 is: RGB (H, W, 3) uint8."""
    settings = dataclasses.replace(phantom.settings, flare=0.0)
    n, size = len(phantom.cells), settings.size_px
    level = rng.uniform(0.12, 1.2) * np.exp(rng.normal(0, rng.uniform(0.1, 0.6), n))
    level *= rng.random(n) < rng.uniform(0, 1)
    fine, clumps = (smooth_noise(rng, size, um / settings.mpp) for um in (0.9, 2.0))
    texture = np.clip(1 + rng.uniform(0.05, 0.4) * fine + rng.uniform(0, 0.45) * clumps, 0.1, 3)
    around = phantom.od.dab * rng.choice([0.0, rng.uniform(0, 0.4)]) + rng.choice([0.0, rng.uniform(0, 0.05)])
    dab = np.where(phantom.nucleus > 0, np.concatenate([[0.0], level])[phantom.nucleus] * texture, around)
    blue = np.where(phantom.nucleus > 0, rng.uniform(0.3, 1.0) ** (dab > 0.1), 1.0) * phantom.od.haematoxylin
    mixed = blue[:, :, None] * unit(settings.haematoxylin) + dab[:, :, None] * unit(settings.dab)
    lost = np.concatenate([[0.0], rng.random(n) ** 2 * settings.cell_defocus])[phantom.cell].astype(np.float32)
    lost = cv2.GaussianBlur(lost, (0, 0), 2.0 / settings.mpp)
    return expose(mixed.astype(np.float32), settings, rng, defocus=lost, fold=np.zeros_like(lost))


def pack(rgb: np.ndarray, phantom: Phantom, size: int, *, stretch: float = 1.0) -> np.ndarray:
    """Image and targets in one array; ``rgb`` has the wanted size, and is stretched along its rows, already."""
    nucleus, cell = (to_grid(labels, size, stretch=stretch) for labels in (phantom.nucleus, phantom.cell))
    table = phantom.cells
    code = np.concatenate([[BACKGROUND], table["cell_class"].cat.codes.to_numpy()]).astype(np.uint8)
    code[1:][(table["out_of_focus"] | table["pigmented"]).to_numpy()] = IGNORED
    depths = [relative_depth(labels) for labels in (nucleus, cell)]
    return np.dstack([rgb, *depths, code[nucleus]])


def to_grid(labels: np.ndarray, size: int, *, stretch: float = 1.0) -> np.ndarray:
    """Labels by nearest neighbour on a square grid over the same area, or over the part that a stretch leaves."""
    last = labels.shape[0] - 1
    down, across = (
        np.minimum(((np.arange(size) + 0.5) * labels.shape[0] / (size * each)).astype(int), last)
        for each in (1.0, stretch)
    )
    return labels[down[:, None], across]


def relative_depth(labels: np.ndarray) -> np.ndarray:
    """Distance to the edge of each label over its maximum, as uint8 1-255; 0 outside. The field's edge is none."""
    border = np.zeros(labels.shape, dtype=bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    distance = cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, 5) + np.float32(0.5)
    deepest = np.zeros(int(labels.max()) + 1, dtype=np.float32)
    np.maximum.at(deepest, labels.ravel(), distance.ravel())
    share = distance / np.maximum(deepest[labels], 1)
    return np.where(labels > 0, np.clip(np.rint(255 * share), 1, 255), 0).astype(np.uint8)


def fill_pool(folder: str, settings: dict[str, Any], seed: int, first: int) -> None:
    """Write fields ``first``, ``first + 1``, ... until the pool is full, or the parent process ends."""
    cv2.setNumThreads(1)
    os.nice(10)
    parent, number = os.getppid(), first
    while os.getppid() == parent and number < settings["pool"]:
        place = Path(folder) / f"{number:05d}.npy"
        partial = place.with_suffix(".part")
        with partial.open("wb") as file:
            np.save(file, make_field(seed + number, settings))
        partial.replace(place)
        count = Path(folder) / "count.part"
        count.write_text(str(number + 1), encoding="utf-8")
        count.replace(count.with_suffix(".txt"))
        number += 1
    sys.exit(0)
