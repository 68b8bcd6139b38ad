"""Fixtures of napari for the tests of the viewer, each module of which imports all of these.

Taken one by one: as a plugin napari would have every test of the suite import it.
"""

from gui import why_no_viewer

__all__ = []
if not why_no_viewer():
    from napari.utils._testsupport import (
        _clean_themes,
        _disable_qt_warnings,
        make_napari_viewer,
        mock_app_model,
    )

    __all__ = ["_clean_themes", "_disable_qt_warnings", "make_napari_viewer", "mock_app_model"]
