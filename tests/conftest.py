"""How properties are tried, where the tests of the viewer run, and what Python keeps of what it compiled.

Properties: the same examples at each run, however busy the machine; ``pytest --hypothesis-profile=explore`` tries new
ones. The viewer: where there is a screen and what draws on it; else its tests are skipped with the reason, or the run
is refused where ``PDL1QUANT_GUI_TESTS=must`` (``.ci/run``). Byte code: kept, whatever the environment says; a hundred
processes start from these tests, and each would compile the package for itself. Garbage: what the libraries and the
tests themselves made on import stays, and is not searched for any again and again.
"""

import gc
import os
import sys
import warnings

import pytest
from hypothesis import settings

import gui
from pdl1quant.cli import main

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("steady")

LONGEST = (
    "report_browser",
    "windows",
    "napari_hands",
    "artefacts",
    "napari_drawn",
    "whole_slides",
    "batch_slides",
    "nests_slides",
    "batch_resume",
    "cli",
    "training",
    "slide_input",
    "tma_slides",
    "napari_review",
    "whole_slides_seams",
)
"""Files that are begun first, by the processor time that they take: with one begun last the other process waits."""

WHY_NO_VIEWER = gui.why_no_viewer()
pytest_plugins = [] if WHY_NO_VIEWER else ["pytestqt.plugin"]
if not WHY_NO_VIEWER:
    with warnings.catch_warnings(action="ignore"):  # napari and pydantic deprecate each other
        from napari.utils._testsupport import pytest_addoption, pytest_runtest_makereport  # noqa: F401


def pytest_configure(config):
    config.addinivalue_line("markers", "viewer: opens a window of napari")
    if WHY_NO_VIEWER and gui.must_run():
        raise pytest.UsageError(f"the tests of the viewer have to run here, and cannot: {WHY_NO_VIEWER}")


def pytest_collection_modifyitems(items):
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
    for item in items:
        if item.get_closest_marker("viewer"):
            item.add_marker(
                pytest.mark.filterwarnings("ignore::DeprecationWarning")
            )  # napari and pydantic deprecate each other
            if WHY_NO_VIEWER:
                item.add_marker(pytest.mark.skip(reason=WHY_NO_VIEWER))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def scored_field(tmp_path_factory):
    """Results of the rendered field of the viewer's samples, to be read or copied: scoring it takes seconds."""
    from pdl1quant.napari.samples import score_field

    return score_field(tmp_path_factory.mktemp("field"))


@pytest.fixture
def pdl1quant(capsys):
    """Run the command line in this process: exit code, standard output, standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        return (stopped.value.code, *capsys.readouterr())

    return call
