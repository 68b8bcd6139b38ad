"""The regions of a review in a viewer: drawn, taken into the review, moved; what the layer shows is what counts."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from napari.utils.colormaps.standardize_color import transform_color

from pdl1quant.errors import ReviewError
from pdl1quant.napari.layers import (
    NOT_TAKEN,
    NOT_TAKEN_RGB,
    REGION,
    REGIONS,
    RULE,
    drawn_rings,
    from_layer,
    region_layer,
    region_rings,
)
from pdl1quant.review import EditKind, drawn_region, moved_region

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pdl1quant.model import Float64Array
    from pdl1quant.napari.desk import Desk
    from pdl1quant.review import RoiRule

LINE_PX = 3.0
"""On the screen."""
_SAME_WIDTH = 1.5
"""Lines that are no more than so much wider or thinner than they should be are left: each is cut anew."""
_SAME_PX = 0.05
"""Outlines in the ledger are rounded to a hundredth of a pixel."""


class Drawing:
    """The layer of regions of a desk. Shapes that were taken into the review are changed only together with it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._waiting: dict[str, list[Float64Array]] = {}
        """Rings that were drawn and not taken when their image was left, by the place of its results."""
        self._is_at_work = False

    def show(self, *, wanted: bool = False) -> None:
        """Show the regions of the review and what was drawn for it; an empty layer only if ``wanted``."""
        self._show(wanted=wanted)
        self._desk.naming.show()

    def _show(self, *, wanted: bool) -> None:
        scene = self._desk.scene
        if scene is None:
            return
        layer, regions = self._desk.layer(REGIONS), scene.review.state.regions()
        drawn = self._waiting.pop(scene.review.image.stem, [])
        if layer is None and not regions and not drawn and not wanted:
            return
        if layer is not None:
            if not drawn and layer.metadata["drawn"] == regions and _agrees(layer, layer.metadata["rings"]):
                return
            if not drawn and _agrees(layer, rings := region_rings(scene)):  # the reviewer moved it there
                layer.metadata.update(drawn=regions, rings=rings)
                return
            drawn += new_rings(layer)
            self._desk.viewer.layers.remove(layer)
        self._desk.add_layers([region_layer(scene, drawn)])
        layer = self._desk.layer(REGIONS)
        layer.current_edge_color = NOT_TAKEN_RGB  # else what is drawn next looks like the last region
        self.thicken()
        for happened in (layer.events.data, layer.events.features):  # what is pasted says the second alone
            happened.connect(self._touched)
        layer.bind_key("Escape", lambda _: self._desk.let_go(), overwrite=True)
        self._desk.to_cells()

    def thicken(self, _: object = None) -> None:
        """Let the lines be as wide on the screen at any zoom: on a whole slide those of a few pixels are not seen."""
        scene, layer = self._desk.scene, self._desk.layer(REGIONS)
        if scene is None or layer is None or str(layer.mode).startswith("add"):
            return
        width = LINE_PX / (self._desk.viewer.scene.camera.zoom * scene.grids[0].mpp)
        if not 1 / _SAME_WIDTH < width / layer.current_edge_width < _SAME_WIDTH:
            with self._unheard():
                layer.current_edge_width = width
                layer.edge_width = width

    def keep(self) -> None:
        """Remember what was drawn and not taken, before the layers of an image go."""
        scene, layer = self._desk.scene, self._desk.layer(REGIONS)
        if scene is not None and layer is not None and (drawn := new_rings(layer)):
            self._waiting[scene.review.image.stem] = drawn

    def forget(self) -> None:
        """Forget what was drawn on other images: other results are opened."""
        self._waiting.clear()

    @property
    def waiting(self) -> int:
        """How many drawn shapes of the open image count for nothing yet."""
        layer = self._desk.layer(REGIONS)
        return 0 if layer is None else len(new_rings(layer))

    def take(self, rule: RoiRule) -> None:
        """Take into the review what was drawn: ``include``, ``exclude`` or ``only``."""
        scene, layer = self._desk.scene, self._desk.layer(REGIONS)
        if scene is None:
            return
        new = [] if layer is None else new_rings(layer)
        if not new:
            self._desk.said.emit("draw a region first")
            return
        grid = scene.grids[0]
        for number, geometry in enumerate([drawn_region(from_layer(ring, grid)) for ring in new]):
            self._drop(new[number])
            if not self._desk.edit(EditKind.ROI, to=rule, geometry=geometry):
                self._waiting[scene.review.image.stem] = [new[number]]
                self.show()
                return
        self._desk.to_cells()

    def _drop(self, ring: Float64Array) -> None:
        """Take a shape off the layer that is about to be shown as a region of the review."""
        layer = self._desk.layer(REGIONS)
        if layer is not None:
            is_new = (layer.features[RULE] == NOT_TAKEN).tolist()
            rings = zip(drawn_rings(layer), is_new, strict=False)
            with self._unheard():
                layer.remove([k for k, (each, new) in enumerate(rings) if new and _equal(each, ring)])

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        """For what is no doing of the reviewer."""
        self._is_at_work = True
        try:
            yield
        finally:
            self._is_at_work = False

    def _touched(self, event: Any) -> None:
        """The reviewer did something to the layer: what it changed of the review is an edit, or is taken back."""
        desk, layer = self._desk, self._desk.layer(REGIONS)
        is_done = str(getattr(event, "action", "changed")) in {"added", "changed", "removed"}
        if self._is_at_work or desk.scene is None or layer is None or not is_done:
            return
        with self._unheard():
            _set_apart_copies(layer)
        expected = layer.metadata["rings"]
        shown = shown_rings(layer)
        moved = {name: shown.get(name, []) for name in expected if not _same(shown.get(name, []), expected[name])}
        if moved and len(layer.features) != len(layer.data):  # napari drops a shape of two corners without its features
            desk.said.emit("napari lost count of the shapes: they are shown anew; repeat this")
            self.show()
            return
        grid = desk.scene.grids[0]
        for name, rings in moved.items():
            try:
                geometry = moved_region([from_layer(ring, grid) for ring in rings]) if rings else None
            except ReviewError as error:
                desk.said.emit(str(error))
                self.show()
                return
            if not desk.edit(EditKind.REDRAW, to=name, geometry=geometry):
                self.show()
                return
            did = "was moved, and counts where it is now" if rings else "was taken away"
            desk.said.emit(f"the region {did}; Ctrl-Z takes that back")
        desk.naming.show()  # also of what is drawn and not taken


def shown_rings(layer: Any) -> dict[str, list[Float64Array]]:
    """The rings that a layer shows of each region of the review, by its id."""
    found: dict[str, list[Float64Array]] = {}
    for ring, name in zip(drawn_rings(layer), layer.features[REGION], strict=False):
        if name:
            found.setdefault(name, []).append(ring)
    return found


def _agrees(layer: Any, rings: Mapping[str, list[Float64Array]]) -> bool:
    """Whether a layer shows these regions of the review, and no others."""
    shown = shown_rings(layer)
    return shown.keys() == rings.keys() and all(_same(shown[name], rings[name]) for name in rings)


def _same(some: list[Float64Array], others: list[Float64Array]) -> bool:
    """Whether rings are the same lines, wherever and whichever way they begin."""
    return len(some) == len(others) and all(
        shapely.hausdorff_distance(shapely.LinearRing(one), shapely.LinearRing(other)) <= _SAME_PX
        for one, other in zip(some, others, strict=True)
    )


def _equal(some: Float64Array, other: Float64Array) -> bool:
    """Whether rings are the same points: napari keeps them as float32, and an ellipse as a polygon once shown anew."""
    return some.shape == other.shape and bool(np.abs(some - other).max() <= _SAME_PX)


def _set_apart_copies(layer: Any) -> None:
    """What was copied from a region of the review is drawn and not taken, and looks so."""
    left = {name: len(rings) for name, rings in layer.metadata["rings"].items()}
    features, is_copy = layer.features.copy(), []
    for name in features[REGION]:
        left[name] = left.get(name, 0) - 1
        is_copy.append(bool(name) and left[name] < 0)
    if any(is_copy):
        features.loc[is_copy, [RULE, REGION]] = NOT_TAKEN
        colours = layer.edge_color.copy()
        colours[is_copy] = transform_color(NOT_TAKEN_RGB)
        layer.features, layer.edge_color = features, colours
        layer.current_edge_color = NOT_TAKEN_RGB


def new_rings(layer: Any) -> list[Float64Array]:
    """Those that the reviewer drew and did not take over yet, wherever they are in the layer of regions."""
    rules = layer.features[RULE]
    return [ring for ring, rule in zip(drawn_rings(layer), rules, strict=False) if rule == NOT_TAKEN]
