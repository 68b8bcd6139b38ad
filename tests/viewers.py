"""Fixtures of napari for the tests of the viewer, each module of which imports all of these.

Taken one by one: as a plugin napari would have every test of the suite import it.
"""

import gc
from unittest.mock import patch

import pytest

from gui import why_no_viewer
from review_bench import Desktop

__all__ = ["desktop", "open_window", "shapes_as_in_a_review", "viewer"]
if not why_no_viewer():
    from napari.utils._testsupport import (
        _clean_themes,
        _disable_qt_warnings,
        make_napari_viewer,
        mock_app_model,
    )

    __all__ += ["_clean_themes", "_disable_qt_warnings", "make_napari_viewer", "mock_app_model"]


@pytest.fixture(scope="module", autouse=True)
def shapes_as_in_a_review():
    """Cut into triangles as `pdl1quant review` has it, whatever napari's settings say; else numba compiles for long."""
    from napari.utils import triangulation_backend

    before = triangulation_backend.set_backend(triangulation_backend.TriangulationBackend.pure_python)
    with patch("napari.settings._experimental.set_triangulation_backend"):
        yield
    triangulation_backend.set_backend(before)


@pytest.fixture(scope="module")
def open_window(qapp):  # noqa: ARG001  Qt runs
    """A viewer with its window, which takes longer to open than most of what is done in one: one for all of a module.

    As `make_napari_viewer` opens it, which cannot be asked for beside it.
    """
    from napari import Viewer
    from napari._app_model._app import NapariApplication, _napari_names
    from napari._qt._qapp_model.qactions import init_qactions
    from napari._qt.qt_viewer import QtViewer
    from napari.plugins import _initialize_plugins
    from napari.settings import get_settings
    from qtpy.QtWidgets import QWidget

    def no_console(*_):
        widget = QWidget()
        widget._update_theme = lambda *_, **__: None
        return widget

    get_settings().reset()
    app = NapariApplication("test_window")
    app.injection_store.namespace = _napari_names
    _initialize_plugins.cache_clear()
    init_qactions.cache_clear()
    with (
        patch.object(NapariApplication, "get_app_model", return_value=app),
        patch("napari._qt.threads.status_checker.StatusChecker.start", lambda *_, **__: None),
        patch.object(QtViewer, "_get_console", no_console),
        patch("napari._qt.qt_main_window.SHOW_QT_WARNING", False),
    ):
        opened = Viewer(show=True, show_welcome_screen=False)
        yield opened
        get_settings().reset()
        with patch.object(opened.window._qt_window, "_save_current_window_settings"):
            opened.close()
        NapariApplication.destroy("test_window")
        _initialize_plugins.cache_clear()
        init_qactions.cache_clear()
    del opened
    gc.collect()
    left = len(QtViewer._instances)
    QtViewer._instances.clear()  # else every later window is refused, too
    assert left == 0


@pytest.fixture
def viewer(open_window):
    """The viewer of the module, given back as it was lent out: without layers and anyone's hands."""
    hands, keys = list(open_window.mouse_drag_callbacks), dict(open_window.keymap)
    yield open_window
    open_window.layers.clear()
    assert open_window.mouse_drag_callbacks == hands
    assert open_window.keymap == keys
    assert not open_window.window.dock_widgets


@pytest.fixture
def desktop(qtbot):
    """Opens results with the widget; without a window, which takes the longest to open."""
    from napari.components import ViewerModel

    desktops = []

    def start(out, **how):
        desktops.append(Desktop(ViewerModel(), qtbot, out, **how))
        return desktops[-1]

    yield start
    for each in desktops:
        each.close()
