"""Notebooks: each pair says the same, and the .ipynb holds no outputs. nbmake runs them (`make test`)."""

from __future__ import annotations

from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


@pytest.mark.parametrize("script", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_its_script_without_outputs(script):
    written, made = jupytext.read(script.with_suffix(".ipynb")), jupytext.read(script)
    assert len(made.cells) > 5
    same = [(cell.cell_type, cell.source) for cell in made.cells]
    assert [(cell.cell_type, cell.source) for cell in written.cells] == same, "run: make notebooks"
    assert all(not cell.outputs and cell.execution_count is None for cell in written.cells if cell.cell_type == "code")
    assert written.metadata["kernelspec"]["name"] == "python3"
