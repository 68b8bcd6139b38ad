"""Mouse and keys of a review: clicks, lassos, and a key for each thing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.model import CellClass
from pdl1quant.napari.layers import ALL_NAMES, CELLS, REGIONS, name_cells
from pdl1quant.review import EditKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import napari

    from pdl1quant.model import Float64Array
    from pdl1quant.napari.desk import Desk

CLICK_PX = 4.0
"""Further than this on the screen the mouse was dragged."""
LASSO = "Lasso"
LASSO_PX = 4.0


def key_actions(desk: Desk) -> dict[str, tuple[str, Callable[[], object]]]:
    """What each key does, in words and as a call."""
    by_class = {
        str(number): (str(each), lambda each=each: desk.edit_selected(EditKind.CLASS, str(each)))
        for number, each in enumerate(CellClass, start=1)
    }
    return {
        **by_class,
        "P": ("positive", lambda: desk.edit_selected(EditKind.POSITIVE, to=True)),
        "N": ("negative", lambda: desk.edit_selected(EditKind.POSITIVE, to=False)),
        "Delete": ("no cell", lambda: desk.edit_selected(EditKind.DELETE)),
        "M": ("merge", desk.making.merge),
        "S": ("split", lambda: desk.set_mode("split")),
        "A": ("add", lambda: desk.set_mode("add")),
        "U": ("next unsure", desk.next_uncertain),
        "Control-Z": ("undo", desk.undo),
        "Control-Shift-Z": ("redo", desk.redo),
        "Escape": ("none", desk.let_go),
    }


class Hands:
    """Binds mouse and keys of a viewer to a desk; `let_go` takes them away again."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._viewer = desk.viewer
        self._viewer.mouse_drag_callbacks.append(self._drag)
        self._keys = {key: _bound(call) for key, (_, call) in key_actions(desk).items()}
        self._keys["Backspace"] = self._keys["Delete"]  # the key of that name on a Mac
        for key, call in self._keys.items():
            self._viewer.bind_key(key, call, overwrite=True)
        desk.opened.connect(self._bind_layers)

    def let_go(self) -> None:
        """Unbind all."""
        if self._drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._drag)
        for key in self._keys:
            self._viewer.bind_key(key, None, overwrite=True)

    def _bind_layers(self) -> None:
        """The active layer is asked for keys before the viewer; with the regions they belong to the tools of shapes."""
        if self._desk.scene is not None and (cells := self._desk.layer(CELLS)) is not None:
            name_cells(cells, self._desk.scene)
        for name in ALL_NAMES:
            if name == REGIONS:
                continue
            layer = self._desk.layer(name)
            for key, call in self._keys.items() if layer is not None else ():
                layer.bind_key(key, call, overwrite=True)

    def _drag(self, viewer: napari.Viewer, event: Any) -> Iterator[None]:
        """A click, a pan (left to napari), or with Shift a lasso."""
        active = viewer.layers.selection.active
        if self._desk.scene is None or event.button != 1 or (active is not None and str(active.mode) != "pan_zoom"):
            return
        points = [np.array(event.position[-2:], float)]
        is_shift = "Shift" in event.modifiers
        yield
        while event.type == "mouse_move":
            points.append(np.array(event.position[-2:], float))
            if is_shift and len(points) > 2:
                self._draw_lasso(np.array(points))
            yield
        if LASSO in viewer.layers:
            viewer.layers.remove(LASSO)
        if np.ptp(np.array(points), axis=0).max() * viewer.scene.camera.zoom <= CLICK_PX:
            self._desk.click(points[0], adds=is_shift)
        elif is_shift:
            self._desk.lasso(np.array(points))

    def _draw_lasso(self, points: Float64Array) -> None:
        """The line so far, as dots: napari compiles for seconds before its first shape."""
        viewer = self._viewer
        if LASSO not in viewer.layers:
            active = viewer.layers.selection.active
            looks = {"face_color": "#ffb000", "border_width": 0, "units": ("um", "um")}
            viewer.add_points(points, name=LASSO, size=LASSO_PX / viewer.scene.camera.zoom, **looks)
            viewer.layers.selection.active = active
        else:
            viewer.layers[LASSO].data = points


def _bound(call: Callable[[], object]) -> Callable[[object], None]:
    def pressed(_: object) -> None:
        call()

    return pressed
