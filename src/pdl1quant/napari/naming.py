"""The names of the regions of an open image: which there are, and where they are written as the view moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely.geometry import shape

from pdl1quant.napari.drawing import new_rings
from pdl1quant.napari.layers import (
    NAMES,
    NOT_TAKEN_RGB,
    REGIONS,
    RULE_RGB,
    named_regions,
    names_layer,
    run_names,
    to_outline,
)
from pdl1quant.napari.region_names import RegionName, write_names

if TYPE_CHECKING:
    from pdl1quant.napari.desk import Desk


class Naming:
    """The layer of names of a desk: of what was drawn for the run, of the review's regions, of what is not taken."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._of_run: list[RegionName] = []
        self._keys: list[tuple[str, str] | None] = []
        """Level and name of each of them."""
        self._of_review: list[RegionName] = []
        for moved in (desk.viewer.scene.camera.events.zoom, desk.viewer.scene.camera.events.center):
            moved.connect(self.place)
        desk.viewer.canvas.events.size.connect(self.place)

    def open(self) -> None:
        """Take the names of another image."""
        scene = self._desk.scene
        if scene is None:
            return
        self._of_run = run_names(scene.regions, scene.grids[0])
        self._keys = [scene.regions.key(number) for number in named_regions(scene.regions)]
        if self._desk.layer(NAMES) is None:
            self._desk.add_layers([names_layer((), scene.grids[0])])
        self._desk.layer(NAMES).events.visible.connect(self.place)
        self.show()

    def show(self) -> None:
        """Write the names of the regions that there are now."""
        scene, layer = self._desk.scene, self._desk.layer(REGIONS)
        if scene is None:
            return
        self._of_review = [
            RegionName(text=str(rule), ink=RULE_RGB[rule], outline=to_outline(shape(outline), scene.grids[0]))
            for rule, outline in scene.review.regions
        ]
        self._of_review += [
            RegionName(text="not taken", ink=NOT_TAKEN_RGB, outline=shapely.MultiPoint(ring[:, ::-1]).convex_hull)
            for ring in ([] if layer is None else new_rings(layer))
        ]
        self.place()

    def place(self, _: object = None) -> None:
        """Write those that are clear of each other where they are seen; that of the chosen region always."""
        scene, layer = self._desk.scene, self._desk.layer(NAMES)
        if scene is None or layer is None or not layer.visible:
            return
        names = [*self._of_review, *self._of_run]
        key = self._desk.region
        first = None if key is None or key not in self._keys else len(self._of_review) + self._keys.index(key)
        camera, size = self._desk.viewer.scene.camera, np.array(self._desk.viewer.canvas.size)
        pixel = 1 / (camera.zoom * scene.grids[0].mpp)
        middle = np.array(camera.center[-2:]) / scene.grids[0].mpp
        (top, left), (bottom, right) = middle - size / 2 * pixel, middle + size / 2 * pixel
        write_names(layer, names, view=np.array([left, top, right, bottom]), pixel=pixel, first=first)
