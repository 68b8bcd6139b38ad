"""What the import contracts cannot say: they know only packages that somebody imports already."""

import re
from pathlib import Path

import pdl1quant

PACKAGE = Path(pdl1quant.__file__).parent
OF_A_VIEWER = re.compile(r"^\s*(?:import|from) (napari|npe2|qtpy|PySide|PyQt|magicgui|superqt|vispy)", re.MULTILINE)


def test_only_the_plugin_imports_a_viewer():
    plugin = PACKAGE / "napari"
    found = {path for path in PACKAGE.rglob("*.py") if OF_A_VIEWER.search(path.read_text(encoding="utf-8"))}
    assert {path for path in found if plugin in path.parents}
    assert not {path for path in found if plugin not in path.parents}
