"""GeoJSON of a million cells: seconds from label images to the file, and its size, by compression.

The cells are those of scikit-image's field, mirrored to 1536 x 1536 px and found by rules; they are outlined and
written again and again, each time at another place of a slide of 40,000 px, as the tiles of a slide would be.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path

import numpy as np

from pdl1quant.config import load_config
from pdl1quant.outputs.files import COMPRESSED
from pdl1quant.outputs.geojson import geojson_writer, outline_cells
from pdl1quant.pipeline import score_image
from speed import mirror_tile

SIDE_PX = 1536
SLIDE_PX = 40_000
MPP = 0.5


def main() -> None:
    """Print a line for each compression."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1_000_000)
    n_wanted = parser.parse_args().cells
    config = load_config(None, ["nuclei.segmenter=watershed"])
    result = score_image(mirror_tile(SIDE_PX), MPP, config=config, keep_labels=True)
    assert result.compartments is not None
    cells, labels = result.cells, result.cells["label"].to_numpy(np.int32)
    outline_cells(result.compartments, labels, simplified=True)  # compiles
    per_row = SLIDE_PX // SIDE_PX
    print(f"{'compression':<12} {'cells':>9} {'s':>6} {'s CPU':>6} {'of it outlines':>15} {'GB':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for compression, ending in COMPRESSED.items():
            path = Path(folder) / f"cells.geojson{ending}"
            start, start_cpu, outlining, n = time.perf_counter(), time.process_time(), 0.0, 0
            with geojson_writer(path, image_id="0" * 64) as write:
                for number in itertools.count():
                    if n >= n_wanted:
                        break
                    before = time.process_time()
                    place = {"x_px": number % per_row * SIDE_PX, "y_px": number // per_row * SIDE_PX}
                    outlines = outline_cells(result.compartments, labels, simplified=True, **place)
                    outlining += time.process_time() - before
                    write(cells, outlines)
                    n += len(cells)
            seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
            size = path.stat().st_size / 1e9
            print(f"{compression:<12} {n:>9} {seconds:>6.1f} {cpu:>6.1f} {outlining:>15.1f} {size:>6.2f}")
            path.unlink()


if __name__ == "__main__":
    main()
