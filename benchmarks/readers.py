"""Milliseconds for a window of 1024 x 1024 pixels: our readers beside the bare libraries, turn by turn.

A synthetic slide (a field of tissue, mirrored) is written in each format; every window is read once, at places that
share no tile with another, so no cache helps. ``as stored`` is level 0; ``1:2`` has a level of its own; ``1:1.98`` is
resampled from level 0, which a slide of 0.2525 um per pixel needs at 0.5.
"""

from __future__ import annotations

import os

# Before numpy and OpenCV load: they read it once.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import openslide
import tifffile
import zarr

from pdl1quant.model import Rect
from speed import mirror_tile

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import slide_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WINDOW_PX = 1024
TILE_PX = 256
MAX_WINDOWS = 9
FORMATS = ("aperio.svs", "openslide.svs", "pages.tif", "ome_jpeg.ome.tif", "ome_lossless.ome.tif", "v3.zarr")
GRIDS = {"as stored": 1.0, "1:2": 2.0, "1:1.98": 1.98}


def time_each(read: Callable[[int, int], Any], corners: Sequence[tuple[int, int]]) -> list[float]:
    """Milliseconds of each call with a corner of level 0."""
    times = []
    for x, y in corners:
        start = time.perf_counter()
        read(x, y)
        times.append(1000 * (time.perf_counter() - start))
    return times


def corners_of(side_px: int, downsample: float = 1.0) -> list[tuple[int, int]]:
    """Level-0 corners of windows that share no tile with another, at most ``MAX_WINDOWS``, spread over the slide."""
    covered = math.ceil(WINDOW_PX * downsample)
    pitch = (math.ceil(covered / TILE_PX) + 1) * TILE_PX
    places = range(0, side_px - covered, pitch)
    return [(x, y) for y in places for x in places][:MAX_WINDOWS]


def ours(path: Path, downsample: float, corners: Sequence[tuple[int, int]]) -> list[float]:
    """Windows on the grid of that downsample, from a slide freshly opened."""
    with slide_files.open_with_its_reader(path) as slide:
        grid = slide.grid(slide_files.MPP * downsample)

        def read(x: int, y: int) -> None:
            x0, y0 = int(x / downsample), int(y / downsample)
            slide.read(Rect(x0=x0, y0=y0, x1=x0 + WINDOW_PX, y1=y0 + WINDOW_PX), grid)

        return time_each(read, corners)


def bare_openslide(path: Path, corners: Sequence[tuple[int, int]]) -> list[float]:
    """OpenSlide's own level 0, as an RGB array."""
    with openslide.OpenSlide(path) as slide:
        return time_each(
            lambda x, y: np.asarray(slide.read_region((x, y), 0, (WINDOW_PX, WINDOW_PX)).convert("RGB")), corners
        )


def bare_tifffile(path: Path, corners: Sequence[tuple[int, int]]) -> list[float]:
    """The same by tifffile's view as a Zarr array."""
    with tifffile.TiffFile(path) as tiff:
        array = zarr.open(tiff.series[0].aszarr(level=0, maxworkers=1), mode="r")
        return time_each(lambda x, y: np.asarray(array[y : y + WINDOW_PX, x : x + WINDOW_PX]), corners)


def bare_zarr(path: Path, corners: Sequence[tuple[int, int]]) -> list[float]:
    """The same by zarr."""
    array: Any = zarr.open_group(str(path), mode="r")["0"]
    return time_each(lambda x, y: np.asarray(array[:, y : y + WINDOW_PX, x : x + WINDOW_PX]), corners)


def large_image(path: Path, corners: Sequence[tuple[int, int]]) -> list[float]:
    """The same by large-image, where it is installed and reads the file; else nothing."""
    try:
        import large_image as library  # noqa: PLC0415  # optional
    except ImportError:
        return []
    try:
        source = library.open(str(path))
    except library.exceptions.TileSourceError:
        return []
    size = {"width": WINDOW_PX, "height": WINDOW_PX}
    return time_each(lambda x, y: source.getRegion(region={"left": x, "top": y, **size}, format="numpy"), corners)


def peers_of(name: str) -> dict[str, Callable[[Path, Sequence[tuple[int, int]]], list[float]]]:
    """The bare libraries that read a format at its full resolution."""
    if name.endswith(".zarr"):
        return {"zarr": bare_zarr}
    return {"openslide": bare_openslide, "tifffile": bare_tifffile, "large-image": large_image}


def measure(path: Path, *, side_px: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of each way, in turns, so that a slow moment of the machine falls on all."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for label, downsample in GRIDS.items():
            times.setdefault(label, []).extend(ours(path, downsample, corners_of(side_px, downsample)))
        for label, read in peers_of(path.name).items():
            times.setdefault(label, []).extend(read(path, corners_of(side_px)))
    return {label: statistics.median(each) for label, each in times.items() if each}


def main() -> None:
    """Write the slides, time the reads, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=8192, help="side of the slides in px")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rgb = mirror_tile(arguments.side)
    labels = [*GRIDS, "openslide", "tifffile", "zarr", "large-image"]
    n_windows = MAX_WINDOWS * arguments.rounds
    print(f"median ms of at most {n_windows} windows of {WINDOW_PX} x {WINDOW_PX} px, one thread")
    print(f"{'':<22}" + "".join(f"{label:>12}" for label in labels))
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:
            path = Path(folder) / name
            slide_files.WRITERS[name](path, rgb)
            found = measure(path, side_px=arguments.side, rounds=arguments.rounds)
            cells = [f"{found[label]:.1f}" if label in found else "-" for label in labels]
            print(f"{name:<22}" + "".join(f"{cell:>12}" for cell in cells))


if __name__ == "__main__":
    main()
