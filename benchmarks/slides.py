"""Whole slides from file to cells table: Mpx of tissue a second, share of decoding, peak memory, processes, peers.

A synthetic slide (scikit-image's field, mirrored, with empty glass around it) is written as a pyramid of JPEG tiles at
0.5 um/px, by repeating encoded tiles, and scored as ``pdl1quant score`` does, each run in a process of its own. Times
are those of the processors by default (``--clock wall`` where nothing else runs): of parent and workers together.
Decoding is the time of reading every tile of tissue once, and nothing else: the floor. ``--peers`` runs the plain
scikit-image pipeline, and HistomicsTK's nuclei detection where it is installed, over a window of the same slide between
the runs; ratios are taken within a round, then their median. Linux tells the peak of a worker only where it is above
that of the parent.
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
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import imagecodecs
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
TISSUE_SHARE = 0.75
"""Of the width of a slide, from its left border on; the rest is glass."""
GLASS_RGB = (243, 241, 240)
WINDOW_PX = 2048
PEER_PX = 1024


Clock: TypeAlias = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


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


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Sides of a slide and of its tissue, which begins in its first corner; level-0 px."""

    side_px: int
    tissue_px: tuple[int, int]

    @property
    def tissue_mpx(self) -> float:
        """Million pixels that hold tissue."""
        return self.tissue_px[0] * self.tissue_px[1] / 1e6


def tiles_of(block: UInt8Array, layout: Layout, downsample: int) -> Iterator[bytes]:
    """The encoded tiles of one level, row by row; equal ones are encoded once."""
    period, side = PERIOD_PX // downsample, layout.side_px // downsample
    small = cv2.resize(block, (period, period), interpolation=cv2.INTER_AREA)
    width, height = (length // downsample for length in layout.tissue_px)
    encoded: dict[tuple[int, ...], bytes] = {}
    along = np.arange(TILE_PX)
    for y in range(0, side, TILE_PX):
        for x in range(0, side, TILE_PX):
            shown = [min(max(edge - at, 0), TILE_PX) for edge, at in ((height, y), (width, x))]
            if 0 in shown:
                shown = [0, 0]
            key = (y % period, x % period, *shown) if any(shown) else (0, 0, 0, 0)
            if key not in encoded:
                tile = np.full((TILE_PX, TILE_PX, 3), GLASS_RGB, np.uint8)
                tile[: shown[0], : shown[1]] = small[
                    np.ix_((y + along[: shown[0]]) % period, (x + along[: shown[1]]) % period)
                ]
                encoded[key] = imagecodecs.jpeg8_encode(tile, level=90, colorspace="RGB", outcolorspace="RGB")
            yield encoded[key]


def write_slide(path: Path, layout: Layout) -> None:
    """A pyramid of JPEG tiles; no level is ever in memory."""
    block = mirror_tile(PERIOD_PX)
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for downsample in DOWNSAMPLES:
            side = layout.side_px // downsample
            tiff.write(
                tiles_of(block, layout, downsample),
                shape=(side, side, 3),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric="rgb",
                compression="jpeg",
                subfiletype=int(downsample > 1),
                resolution=(10_000 / MPP / downsample,) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
            )


def score(path: Path, output: Path, *, settings: list[str], workers: int, labels: bool) -> dict[str, float]:
    """Score the slide in this process and its workers: seconds, and peak memory (MB) of parent and worker."""
    pack, _ = batch.find_rules("28-8-cytoplasm", None)
    job = batch.Job(
        paths=(path,),
        output=output,
        config=load_config(None, settings),
        pack=pack,
        workers=workers,
        keep_labels=labels,
        overwrite=True,
    )
    start, start_cpu = time.perf_counter(), time.process_time()
    summary = batch.run(job, listener=Deaf())
    found = {"wall": time.perf_counter() - start, "parent_cpu": time.process_time() - start_cpu}
    usage = {who: resource.getrusage(getattr(resource, f"RUSAGE_{who}")) for who in ("SELF", "CHILDREN")}
    found["workers_cpu"] = usage["CHILDREN"].ru_utime + usage["CHILDREN"].ru_stime
    found["cpu"] = found["parent_cpu"] + found["workers_cpu"]
    found |= {"self_mb": usage["SELF"].ru_maxrss / 1024, "child_mb": usage["CHILDREN"].ru_maxrss / 1024}
    return found | {"n_cells": sum(row.n_cells or 0 for row in summary.rows if row.level == "image")}


def score_apart(path: Path, output: Path, **how: Any) -> dict[str, float]:
    """`score` in a process of its own."""
    task = json.dumps({"path": str(path), "output": str(output), **how})
    done = subprocess.run(  # noqa: S603  itself
        [sys.executable, __file__, "--run", task], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def decode_seconds(path: Path, layout: Layout, clock: Clock) -> float:
    """Reading all tissue once, in windows that share no tile."""
    start = clock()
    width, height = layout.tissue_px
    with open_slide(path) as slide:
        grid = slide.grid(MPP)
        for y in range(0, height, WINDOW_PX):
            for x in range(0, width, WINDOW_PX):
                slide.read(Rect(x0=x, y0=y, x1=min(x + WINDOW_PX, width), y1=min(y + WINDOW_PX, height)), grid)
    return clock() - start


def peer_speeds(path: Path, clock: Clock) -> dict[str, float]:
    """Mpx/s of the peers over one window of tissue."""
    with open_slide(path) as slide:
        rgb = slide.read(Rect(x0=0, y0=0, x1=PEER_PX, y1=PEER_PX), slide.grid(MPP)).rgb
    found = {}
    for name, peer in (("scikit-image pipeline", _run_skimage), ("HistomicsTK nuclei", _run_histomicstk)):
        start = clock()
        try:
            peer(rgb)
        except ImportError:
            continue
        found[name] = rgb.shape[0] * rgb.shape[1] / 1e6 / (clock() - start)
    return found


def _run_skimage(rgb: UInt8Array) -> None:
    from peers import skimage_pipeline  # noqa: PLC0415  slow to import

    skimage_pipeline(rgb, MPP)


def _run_histomicstk(rgb: UInt8Array) -> None:
    """Deconvolution, then Kofahi's detection with the defaults of its command line; the threshold is Otsu's."""
    from histomicstk.preprocessing.color_deconvolution import (  # noqa: PLC0415  optional
        color_deconvolution,
        stain_color_map,
    )
    from histomicstk.segmentation.nuclear import detect_nuclei_kofahi  # noqa: PLC0415  optional
    from skimage.filters import threshold_otsu  # noqa: PLC0415

    vectors = np.array([stain_color_map[stain] for stain in ("hematoxylin", "dab", "null")]).T
    stain = color_deconvolution(rgb, vectors).Stains[:, :, 0].astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        detect_nuclei_kofahi(stain, stain < threshold_otsu(stain), 6, 20, 80, 10)


def measure(path: Path, layout: Layout, how: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Run one setting in rounds, the peers between them, and print its line."""
    clock = CLOCKS[arguments.clock]
    runs, ratios, peers = [], defaultdict(list), defaultdict(list)
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(score_apart(path, Path(folder) / "out", **how))
        if not arguments.peers or how["workers"] > 1:
            continue
        for name, speed in peer_speeds(path, clock).items():
            peers[name].append(speed)
            ratios[name].append(layout.tissue_mpx / runs[-1][arguments.clock] / speed)
    seconds = statistics.median(run[arguments.clock] for run in runs)
    last = runs[-1]
    floor = decode_seconds(path, layout, clock)
    print(
        f"{layout.side_px:>7} {layout.tissue_mpx:>7.0f} {' '.join(how['settings']):<40} {how['workers']:>7} "
        f"{seconds:>7.1f} {last['parent_cpu']:>7.1f} {layout.tissue_mpx / seconds:>7.2f} {last['n_cells']:>9.0f} "
        f"{100 * floor / seconds:>8.0f}% {max(run['self_mb'] for run in runs):>8.0f} "
        f"{max(run['child_mb'] for run in runs):>9.0f}",
        flush=True,
    )
    for name, speeds in peers.items():
        ratio = statistics.median(ratios[name])
        print(f"{'':>15} {name:<40} {'':>23} {statistics.median(speeds):>7.2f}   ratio {ratio:.1f}", flush=True)


def main() -> None:
    """Write the slides, score them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[10_000, 30_000], help="sides of the slides in px")
    parser.add_argument("--tissue", type=int, nargs=2, help="width and height of the tissue; else 3/4 of the slide")
    parser.add_argument("--segmenters", nargs="+", default=["watershed", "network"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1, help="runs of each; the median is printed")
    parser.add_argument("--tile-px", type=int, help="side of the tiles; else the one of the segmenter")
    parser.add_argument("--outlines", action="store_true", help="write GeoJSON, too")
    parser.add_argument("--labels", action="store_true", help="write label images, too")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="cpu")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        task = json.loads(arguments.run)
        print(json.dumps(score(Path(task.pop("path")), Path(task.pop("output")), **task)))
        return
    settings = [f"tiling.outlines={str(arguments.outlines).lower()}"]
    settings += [f"tiling.tile_px={arguments.tile_px}"] if arguments.tile_px else []
    with tempfile.TemporaryDirectory() as folder:
        print(
            f"{'side':>7} {'tissue':>7} {'settings':<40} {'workers':>7} {'s ' + arguments.clock:>7} {'parent':>7} "
            f"{'Mpx/s':>7} {'cells':>9} {'decoding':>9} {'peak MB':>8} {'of worker':>9}"
        )
        for side_px in arguments.sides:
            path = Path(folder) / f"{side_px}.tif"
            tissue_px = arguments.tissue or (int(side_px * TISSUE_SHARE), side_px)
            layout = Layout(side_px=side_px, tissue_px=tuple(tissue_px))
            write_slide(path, layout)
            for segmenter in arguments.segmenters:
                for workers in arguments.workers:
                    how = {"settings": [f"nuclei.segmenter={segmenter}", *settings], "workers": workers}
                    measure(path, layout, how | {"labels": arguments.labels}, arguments)
            path.unlink()


if __name__ == "__main__":
    main()
