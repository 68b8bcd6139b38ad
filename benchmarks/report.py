"""The report of a slide of a million cells: seconds of processor and peak memory.

A corner of tissue on a synthetic slide (`slides.py`) is scored by rules; its cells are then written again and again
into the table of the run, each time at another place of the slide, a row group each time, as the bands of a slide
would be. The report is written in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pdl1quant.outputs.files import result_path
from pdl1quant.outputs.tables import cells_writer, read_cells
from pdl1quant.report.write import write_report
from slides import Layout, score_apart, write_slide

SIDE_PX = 20_480
TISSUE_PX = 2048


def multiply(path: Path, n_wanted: int) -> int:
    """Write the cells of a table to many places of the slide; how many there are then."""
    cells, said = read_cells(path), pq.read_schema(path).metadata
    metadata = {key.decode(): value.decode() for key, value in said.items()}
    per_row, n = SIDE_PX // TISSUE_PX, 0
    with cells_writer(path, metadata=metadata) as write:
        for number in itertools.count():
            if n >= n_wanted:
                return n
            x, y = number % per_row * TISSUE_PX, number // per_row % per_row * TISSUE_PX
            labels = np.arange(n + 1, n + len(cells) + 1, dtype=np.int32)
            write(cells.assign(label=labels, x_px=cells["x_px"] + x, y_px=cells["y_px"] + y))
            n += len(cells)
    raise AssertionError


def main() -> None:
    """Print a line for each number of cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[100_000, 1_000_000, 2_000_000])
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        before = time.process_time()
        write_report(arguments.run)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{time.process_time() - before:>7.1f} {peak_mb:>8.0f}")
        return
    with tempfile.TemporaryDirectory() as folder:
        slide, out = Path(folder) / "slide.tif", Path(folder) / "out"
        write_slide(slide, Layout(side_px=SIDE_PX, tissue_px=(TISSUE_PX, TISSUE_PX)))
        settings = ["nuclei.segmenter=watershed", "tiling.outlines=false"]
        score_apart(slide, out, settings=settings, workers=1, labels=False)
        print(f"{'cells':>9} {'s CPU':>7} {'peak MB':>8}")
        table = result_path(out, "cells", slide.stem)
        whole = table.read_bytes()
        for n_wanted in arguments.cells:
            table.write_bytes(whole)
            n = multiply(table, n_wanted)
            command = [sys.executable, __file__, "--run", str(out)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  itself
            print(f"{n:>9} {done.stdout.rstrip()}", flush=True)


if __name__ == "__main__":
    main()
