"""Whole slides from file to cells table: Mpx of tissue a second, share of decoding, peak memory, processes, peers.

A synthetic slide (scikit-image's field, mirrored, with a strip of empty glass) is written as a pyramid of JPEG tiles
at 0.5 um/px and scored as ``pdl1quant score`` does, each run in a process of its own. Decoding is the time of reading
every tile of tissue once, and nothing else: the floor. ``--peers`` runs the plain scikit-image pipeline, and
HistomicsTK's nuclei detection where it is installed, over windows of the same slide in this process.
"""

from __future__ import annotations

import os

# Before numpy and OpenCV load: they read it once.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import tifffile

from pdl1quant import batch
from pdl1quant.config import load_config
from pdl1quant.model import Rect
from pdl1quant.slides.opening import open_slide
from speed import mirror_tile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdl1quant.model import UInt8Array

MPP = 0.5
TILE_PX = 256
PERIOD_PX = 1024
DOWNSAMPLES = (1, 4, 16)
GLASS_SHARE = 0.25
GLASS_RGB = (243, 241, 240)
WINDOW_PX = 2048


class Deaf:
    """A listener that says nothing."""

    def begin(self, n_images: int) -> None:
        """Nothing."""

    def doing(self, what: str, case: str) -> None:
        """Nothing."""

    def advance(self, n_images: int = 1) -> None:
        """Nothing."""

    def complain(self, message: str) -> None:
        """To standard error."""
        sys.stderr.write(message + "\n")

    def case_done(self, report: batch.CaseReport) -> None:
        """Nothing."""

    def end(self, summary: batch.Summary) -> None:
        """Nothing."""


def tissue_columns(side_px: int) -> int:
    """Level-0 columns that hold tissue; those to the right of it are glass."""
    return int(side_px * (1 - GLASS_SHARE))


def tiles_of(block: UInt8Array, side_px: int, downsample: int) -> Iterator[UInt8Array]:
    """The tiles of one level, row by row."""
    period, side = PERIOD_PX // downsample, side_px // downsample
    small = cv2.resize(block, (period, period), interpolation=cv2.INTER_AREA)
    edge = tissue_columns(side_px) // downsample
    n = -(-side // TILE_PX)
    along = np.arange(TILE_PX)
    for row in range(n):
        for column in range(n):
            x = column * TILE_PX + along
            tile = small[np.ix_((row * TILE_PX + along) % period, x % period)]
            tile[:, x >= edge] = GLASS_RGB
            yield tile


def write_slide(path: Path, side_px: int) -> None:
    """A pyramid of JPEG tiles; no level is ever in memory."""
    block = mirror_tile(PERIOD_PX)
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for downsample in DOWNSAMPLES:
            side = side_px // downsample
            tiff.write(
                tiles_of(block, side_px, downsample),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 90},
                subfiletype=int(downsample > 1),
                resolution=(10_000 / MPP / downsample,) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
            )


def score(path: Path, output: Path, *, segmenter: str, workers: int, tile_px: int, outlines: bool) -> dict[str, float]:
    """Score the slide in this process and its workers: seconds, and peak memory (MB) of parent and worker."""
    tiling = [f"tiling.tile_px={tile_px}", f"tiling.outlines={str(outlines).lower()}"]
    config = load_config(None, [f"nuclei.segmenter={segmenter}", *tiling])
    pack, _ = batch.find_rules("28-8-cytoplasm", None)
    job = batch.Job(paths=(path,), output=output, config=config, pack=pack, workers=workers, overwrite=True)
    start = time.perf_counter()
    summary = batch.run(job, listener=Deaf())
    seconds = time.perf_counter() - start
    peaks = {
        who: resource.getrusage(getattr(resource, f"RUSAGE_{who}")).ru_maxrss / 1024 for who in ("SELF", "CHILDREN")
    }
    n_cells = sum(row.n_cells or 0 for row in summary.rows if row.level == "image")
    return {"seconds": seconds, "self_mb": peaks["SELF"], "child_mb": peaks["CHILDREN"], "n_cells": n_cells}


def score_apart(path: Path, **how: Any) -> dict[str, float]:
    """`score` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        task = json.dumps({"path": str(path), "output": str(Path(folder) / "out"), **how})
        done = subprocess.run(  # noqa: S603  itself
            [sys.executable, __file__, "--run", task], check=True, capture_output=True, text=True
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def decode_seconds(path: Path, side_px: int) -> float:
    """Reading all tissue once, in windows that share no tile."""
    start = time.perf_counter()
    with open_slide(path) as slide:
        grid = slide.grid(MPP)
        for y in range(0, side_px, WINDOW_PX):
            for x in range(0, tissue_columns(side_px), WINDOW_PX):
                right = min(x + WINDOW_PX, tissue_columns(side_px))
                slide.read(Rect(x0=x, y0=y, x1=right, y1=min(y + WINDOW_PX, side_px)), grid)
    return time.perf_counter() - start


def peer_speeds(path: Path) -> dict[str, float]:
    """Mpx/s of the peers over one window of tissue."""
    from peers import skimage_pipeline  # noqa: PLC0415  slow to import

    with open_slide(path) as slide:
        rgb = slide.read(Rect(x0=0, y0=0, x1=1024, y1=1024), slide.grid(MPP)).rgb
    start = time.perf_counter()
    skimage_pipeline(rgb, MPP)
    found = {"scikit-image pipeline": rgb.shape[0] * rgb.shape[1] / 1e6 / (time.perf_counter() - start)}
    try:
        from histomicstk.segmentation.nuclear import detect_nuclei_kofahi  # noqa: PLC0415  optional
    except ImportError:
        return found
    nuclear = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64)
    start = time.perf_counter()
    detect_nuclei_kofahi(nuclear, nuclear < 160, 60, 10, 30, 60, 80, 10)
    found["HistomicsTK nuclei"] = rgb.shape[0] * rgb.shape[1] / 1e6 / (time.perf_counter() - start)
    return found


def main() -> None:
    """Write the slides, score them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[10_000, 30_000], help="sides of the slides in px")
    parser.add_argument("--segmenters", nargs="+", default=["watershed", "network"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1, help="runs of each; the median is printed")
    parser.add_argument("--tile-px", type=int, default=1536)
    parser.add_argument("--outlines", action="store_true", help="write GeoJSON, too")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        task = json.loads(arguments.run)
        print(json.dumps(score(Path(task.pop("path")), Path(task.pop("output")), **task)))
        return
    with tempfile.TemporaryDirectory() as folder:
        header = f"{'side':>7} {'segmenter':<10} {'workers':>7} {'s':>7} {'Mpx/s':>7} {'cells':>9} {'decoding':>9}"
        print(f"{header} {'peak MB':>8} {'of worker':>9}")
        for side_px in arguments.sides:
            path = Path(folder) / f"{side_px}.tif"
            write_slide(path, side_px)
            floor = decode_seconds(path, side_px)
            mpx = tissue_columns(side_px) * side_px / 1e6
            for segmenter in arguments.segmenters:
                for workers in arguments.workers:
                    how = {"segmenter": segmenter, "workers": workers, "tile_px": arguments.tile_px}
                    how["outlines"] = arguments.outlines
                    runs = [score_apart(path, **how) for _ in range(arguments.rounds)]
                    seconds = statistics.median(run["seconds"] for run in runs)
                    print(
                        f"{side_px:>7} {segmenter:<10} {workers:>7} {seconds:>7.1f} {mpx / seconds:>7.2f} "
                        f"{runs[0]['n_cells']:>9.0f} {100 * floor / seconds / workers:>8.0f}% "
                        f"{max(run['self_mb'] for run in runs):>8.0f} {max(run['child_mb'] for run in runs):>9.0f}"
                    )
            if arguments.peers:
                for name, speed in peer_speeds(path).items():
                    print(f"{side_px:>7} {name:<26} {mpx / speed:>7.0f} {speed:>7.2f}   (from one window)")
            path.unlink()


if __name__ == "__main__":
    main()
