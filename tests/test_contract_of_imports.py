"""What the import contracts cannot say: they know only packages that somebody imports already, and not when."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import pdl1quant

PACKAGE = Path(pdl1quant.__file__).parent
OF_A_VIEWER = re.compile(r"^\s*(?:import|from) (napari|npe2|qtpy|PySide|PyQt|magicgui|superqt|vispy)", re.MULTILINE)
STEPS = {
    "help": "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): cli.main(['--help'])",
    "open": "from pdl1quant.slides.opening import open_slide; open_slide(pathlib.Path(sys.argv[1]), mpp=0.5).close()",
    "score": "import pdl1quant.batch, pdl1quant.console, pdl1quant.pipeline, pdl1quant.networks.segmenter",
    "view": "import numpy, pdl1quant.views",
    "compute": "from pdl1quant.kernels import labels; labels.label_areas(numpy.zeros((2, 2), 'int32'), 0)",
}
"""One after the other in one process: it takes seconds to start."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The packages that have been imported by each step."""
    path = tmp_path_factory.mktemp("imports") / "tile.png"
    Image.new("RGB", (64, 48), "brown").save(path)
    lines = ["import contextlib, io, json, pathlib, sys", "from pdl1quant import cli"]
    for step in STEPS.values():
        lines += [step, "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"]
    command = [sys.executable, "-c", "\n".join(lines), str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {step: set(json.loads(line)) for step, line in zip(STEPS, done.stdout.splitlines(), strict=True)}


def test_only_the_plugin_imports_a_viewer():
    plugin = PACKAGE / "napari"
    found = {path for path in PACKAGE.rglob("*.py") if OF_A_VIEWER.search(path.read_text(encoding="utf-8"))}
    assert {path for path in found if plugin in path.parents}
    assert not {path for path in found if plugin not in path.parents}


def test_help_imports_nothing_heavy(imported):
    assert not imported["help"] & {"numpy", "pandas", "cv2", "pydantic", "rich", "scipy", "pyarrow"}


def test_opening_imports_only_the_reader_it_needs(imported):
    assert not imported["open"] & {"openslide", "zarr", "wsidicom", "pandas"}


def test_scoring_imports_no_package_that_it_does_not_need(imported):
    assert not imported["score"] & {"matplotlib", "onnxruntime", "dask", "napari", "torch", "stardist", "cellpose"}


def test_the_program_needs_no_viewer(imported):
    assert "napari" not in imported["view"]


def test_numba_is_imported_when_a_kernel_is_called(imported):
    assert "numba" not in imported["view"]
    assert "numba" in imported["compute"]
