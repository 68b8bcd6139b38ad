"""Speed of pdl1quant and of the scikit-image pipeline: the same tile, one thread, turn by turn in one process.

Timed is the whole way from pixels in memory to the table of cells. Turns alternate, so that a slow moment of the
machine falls on both; the ratio is taken within each pair, then its median.
"""

from __future__ import annotations

import os

# Before numpy, scipy and OpenCV load: they read it once.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import argparse
import cProfile
import pstats
import statistics
import sys
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np
from skimage.data import immunohistochemistry

from pdl1quant.config import Config
from pdl1quant.pipeline import SEGMENTERS
from peers import skimage_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pdl1quant.model import UInt8Array

MPP = 0.5
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
WANTED_MPX_PER_S, WANTED_RATIO = 6.0, 6.0


def mirror_tile(side_px: int) -> UInt8Array:
    """scikit-image's 512 x 512 immunohistochemistry image, mirrored over to (side, side, 3); taken as 0.5 um/px."""
    image = immunohistochemistry()
    grow = [(0, max(0, side_px - size)) for size in image.shape[:2]]
    return np.ascontiguousarray(np.pad(image, (*grow, (0, 0)), mode="symmetric")[:side_px, :side_px])


def phantom_tile(side_px: int) -> UInt8Array:
    """A rendered field of that size at 0.5 um/px."""
    from pdl1quant.validation.phantoms import PhantomSettings, render_phantom  # noqa: PLC0415 - only with --phantom

    return render_phantom(PhantomSettings(size_px=side_px, mpp=MPP), seed=1).rgb


def ours(segmenter: str, model: str = "") -> Callable[[UInt8Array], int]:
    """What scores a tile, with that segmenter, model and the other defaults, and tells the number of cells."""
    from pdl1quant import score_image  # noqa: PLC0415 - heavy names are resolved on first use

    config = Config(nuclei=Config().nuclei.model_copy(update={"segmenter": segmenter, "model": model}))
    return lambda tile: len(score_image(tile, mpp=MPP, config=config).cells)


def run_peer(tile: UInt8Array) -> int:
    """The same by scikit-image."""
    return len(skimage_pipeline(tile, MPP)[2])


def time_once(run: Callable[[UInt8Array], int], tile: UInt8Array, *, clock: str) -> tuple[float, int]:
    """Mpx/s and number of cells of one run."""
    start = CLOCKS[clock]()
    n_cells = run(tile)
    return tile.shape[0] * tile.shape[1] / 1e6 / (CLOCKS[clock]() - start), n_cells


def compare(tile: UInt8Array, run_ours: Callable[[UInt8Array], int], *, pairs: int, clock: str) -> None:
    """Print each pair of runs, the medians and the median ratio."""
    run_ours(tile)  # as in a batch: kernels loaded, memory in hand
    run_peer(tile[:512, :512])
    speeds: list[tuple[float, float]] = []
    print(f"{'pair':>4} {'pdl1quant':>12} {'scikit-image':>14} {'ratio':>7}   (Mpx/s)")
    for pair in range(1, pairs + 1):
        (mine, n_mine), (theirs, n_theirs) = (time_once(run, tile, clock=clock) for run in (run_ours, run_peer))
        speeds.append((mine, theirs))
        print(f"{pair:>4} {mine:>12.2f} {theirs:>14.2f} {mine / theirs:>7.2f}   {n_mine} and {n_theirs} cells")
    median_mine, median_theirs = (statistics.median(column) for column in zip(*speeds, strict=True))
    ratio = statistics.median(mine / theirs for mine, theirs in speeds)
    reached = median_mine >= WANTED_MPX_PER_S and ratio >= WANTED_RATIO
    print(f"median: pdl1quant {median_mine:.2f} Mpx/s, scikit-image {median_theirs:.2f} Mpx/s, ratio {ratio:.2f}")
    print(f"wanted: {WANTED_MPX_PER_S:g} Mpx/s and ratio {WANTED_RATIO:g}: {'reached' if reached else 'NOT reached'}")


def profile(tile: UInt8Array, run_ours: Callable[[UInt8Array], int]) -> None:
    """Print where one run of pdl1quant spends its time: by its own functions, then by any."""
    run_ours(tile)
    profiler = cProfile.Profile(CLOCKS["cpu"])
    profiler.runcall(run_ours, tile)
    stats = pstats.Stats(profiler)
    print("Time in pdl1quant's functions, with all they call:")
    stats.sort_stats("cumulative").print_stats(r"pdl1quant[/\\]", 40)
    print("Time in single functions, without what they call:")
    stats.sort_stats("tottime").print_stats(25)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison or the profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, metavar="N", help="pairs of runs (default 5)")
    parser.add_argument("--side", type=int, default=2048, metavar="PX", help="side of the tile in px (default 2048)")
    parser.add_argument("--phantom", action="store_true", help="a rendered phantom instead of the mirrored sample")
    parser.add_argument("--profile", action="store_true", help="show where pdl1quant spends its time, compare nothing")
    parser.add_argument("--peer-only", action="store_true", help="time the scikit-image pipeline alone")
    parser.add_argument(
        "--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time, where others use the machine too"
    )
    parser.add_argument("--segmenter", choices=list(SEGMENTERS), default=Config().nuclei.segmenter)
    parser.add_argument("--model", default="", help="as nuclei.model: another network, cells-1 for instance")
    options = parser.parse_args(arguments)
    if options.pairs < 1 or options.side < 1:
        parser.error("--pairs and --side must be at least 1")
    cv2.setNumThreads(1)
    tile = phantom_tile(options.side) if options.phantom else mirror_tile(options.side)
    kind = "phantom" if options.phantom else "mirrored sample"
    print(f"{kind}, {tile.shape[1]} x {tile.shape[0]} px at {MPP} um/px, {options.segmenter}, {options.clock} time")
    if options.profile:
        profile(tile, ours(options.segmenter, options.model))
    elif options.peer_only:
        speeds = [time_once(run_peer, tile, clock=options.clock)[0] for _ in range(options.pairs)]
        print(f"median: scikit-image {statistics.median(speeds):.2f} Mpx/s")
    else:
        compare(tile, ours(options.segmenter, options.model), pairs=options.pairs, clock=options.clock)
    return 0


if __name__ == "__main__":
    sys.exit(main())
