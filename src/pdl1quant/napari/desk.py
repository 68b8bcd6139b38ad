"""A review in a viewer: which image is open, which cells are selected, and what is done to them.

The desk knows layers, mouse and keys; the boxes of the widget show what it says. All counting is in `pdl1quant.review`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from pdl1quant.errors import Pdl1QuantError
from pdl1quant.model import CellClass
from pdl1quant.napari.drawing import Drawing
from pdl1quant.napari.layers import (
    CELLS,
    CENTRES,
    DOTS,
    DRAWN,
    HEAT,
    MACHINE_LAYERS,
    REGIONS,
    SELECTED,
    STALE,
    add_layers,
    fresh_centres,
    fresh_dots,
    fresh_heat,
    from_layer,
    look_at_cell,
    look_at_region,
    scene_layers,
    selected_layer,
    selected_looks,
    show_scale_bar,
    to_layer,
)
from pdl1quant.napari.making import Making
from pdl1quant.napari.naming import Naming
from pdl1quant.review import (
    EditKind,
    has_own_score,
    open_results,
    undone_text,
)
from pdl1quant.views import open_scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import napari
    from napari.layers import Layer

    from pdl1quant.model import Float64Array, IntpArray
    from pdl1quant.napari.layers import LayerData
    from pdl1quant.review import ImageResult, Results, Review, RoiRule
    from pdl1quant.views import Scene

HIDDEN = "hidden until you gave your own score (tab Case)"
NOTHING = np.zeros(0, np.intp)
MODE_HINTS = {
    "add": "click where a cell is missing; Esc ends adding",
    "split": "click into both parts of the selected cell; Esc leaves it whole",
}
"""What is said as long as a click does something else than select."""


class Desk(QObject):
    """The open review of a viewer.

    Signals: ``opened`` (another image, or none), ``selected``, ``edited`` (counts may differ), ``said`` (a line for
    the reviewer), ``mode_changed``, ``region_chosen``.
    """

    opened = Signal()
    selected = Signal()
    edited = Signal()
    said = Signal(str)
    mode_changed = Signal(str)
    region_chosen = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.scene: Scene | None = None
        self.results: Results | None = None
        self.reviewer = ""
        self.selection: IntpArray = NOTHING
        self.region: tuple[str, str] | None = None
        """Level and name of the region whose score is shown; None: that of the image is."""
        self.reads_blind = False
        """Whether images are read blind: each until the reviewer scored it."""
        self.is_blind = False
        self.mode = "select"
        """``select``, ``add`` or ``split``: what a click does."""
        self.added_class = CellClass.TUMOUR
        self._layers: dict[str, Layer] = {}
        self.making = Making(self)
        self._drawing = Drawing(self)
        self._offered: int | None = None
        self._passed_over: set[int] = set()
        self.naming = Naming(self)
        viewer.scene.camera.events.zoom.connect(self._drawing.thicken)

    @property
    def review(self) -> Review | None:
        """The image under review, if one is open."""
        return None if self.scene is None else self.scene.review

    # --- opening ---
    def open_folder(self, out: Path, *, image: str | None = None, folder: Path | None = None) -> None:
        """Open an image of a run: the first that was scored, unless its name is given."""
        with self.telling():
            results = open_results(out)
            scored = [each for each in results.images if each.has_cells]
            if image is None and not scored:
                self.said.emit(f"{out}: no image of this run was scored; see the column error of scores.csv")
                return
            self.open_image(results, results.image(image) if image is not None else scored[0], folder=folder)

    def open_image(self, results: Results, image: ImageResult, *, folder: Path | None = None) -> None:
        """Show an image of a run in the place of what was open; what cannot be opened leaves that as it is."""
        with self.telling():
            scene = open_scene(results, image, folder=folder)
            self.close()
            if self.results is None:  # later the reader has the say
                show_scale_bar(self.viewer)
            if self.results is None or self.results.out != results.out:
                self._drawing.forget()
            self.results, self.scene = results, scene
            self.is_blind = self.reads_blind and not has_own_score(scene.review, self.reviewer)
            hidden = MACHINE_LAYERS if self.is_blind else ()  # from the start: else their thumbnails are painted
            self.add_layers([*scene_layers(scene, hidden=hidden), selected_layer(scene)])
            for name in MACHINE_LAYERS:
                if (layer := self.layer(name)) is not None:
                    layer.events.visible.connect(self._eye_touched)
            self._drawing.show()
            self.naming.open()
            self.to_cells()
            self.viewer.reset_view()
            self.opened.emit()
            waiting = [f"{image.name}: {self._drawing.waiting} drawn: Include, Exclude or Only takes it"]
            told = [*scene.notes, *(waiting if self._drawing.waiting else []), MODE_HINTS.get(self.mode, "")]
            self.said.emit("\n".join(filter(None, told)))

    def close(self) -> None:
        """Take the open image off the viewer."""
        self._drawing.keep()
        scene, self.scene = self.scene, None
        self.selection, self._offered, self._passed_over, self.region = NOTHING, None, set(), None
        self.making.forget()
        if scene is not None:
            with self.viewer.layers.batched_update():  # else napari collects garbage after each
                for layer in [each for each in self.viewer.layers if each in self._layers.values()]:
                    self.viewer.layers.remove(layer)
            self._layers.clear()
            scene.close()
            self.opened.emit()

    def layer(self, name: str) -> Any:
        """A layer of the open image, whatever others are called; None where it has none (or the user removed it)."""
        found = self._layers.get(name)
        return found if found in self.viewer.layers else None

    def add_layers(self, layers: Iterable[LayerData]) -> None:
        """Add layers of the open image."""
        self._layers |= add_layers(self.viewer, layers)

    # --- blind ---
    def set_blind(self, *, is_blind: bool) -> None:
        """Hide what the machine says, or show it."""
        self.is_blind = is_blind
        self._show_machine(shown=not is_blind)
        self.select(NOTHING)
        self.edited.emit()

    def _eye_touched(self, event: Any) -> None:
        """Keep from a blind reader what they ask for in the list of layers."""
        if self.is_blind and event.source.visible:
            event.source.visible = False
            self.said.emit(HIDDEN)
        self._freshen()

    def _show_machine(self, *, shown: bool) -> None:
        for name in MACHINE_LAYERS:
            if (layer := self.layer(name)) is not None:
                layer.visible = shown and (name in (CELLS, DOTS) or (name == CENTRES and self.layer(CELLS) is None))

    # --- selecting ---
    def select(self, rows: IntpArray, *, offered: int | None = None) -> None:
        """Select cells by their rows."""
        self.selection, self._offered = rows, offered
        self.making.forget()
        layer = self.layer(SELECTED)
        if self.scene is not None and layer is not None:
            layer.data = to_layer(self.scene.cells.centres_px[rows], self.scene.grids[0])
            layer.selected_data = set()
            for name, value in selected_looks(self.scene, rows.size).items():
                setattr(layer, name, value)
        self.selected.emit()

    def let_go(self) -> None:
        """Select nothing; clicks select again, and draw no region."""
        if (layer := self.layer(REGIONS)) is not None:
            layer.mode = "pan_zoom"
        self.to_cells()
        self.set_mode("select")
        self.select(NOTHING)

    def click(self, at: Float64Array, *, adds: bool = False) -> None:
        """What a click at ``at`` (y, x in um) does, as `mode` says."""
        if self.scene is None or self.is_blind:
            return
        x, y = self._place(at)
        drawn = self.layer(DRAWN)
        if drawn is not None and self.viewer.layers.selection.active is drawn:
            self.choose_region(self.scene.regions.key_at(x, y))
        elif self.mode == "add":
            self.making.add(x, y)
        elif self.mode == "split":
            self.making.split(np.array([x, y]))
        else:
            row = self.scene.cells.row_at(x, y)
            new = NOTHING if row is None else np.array([row], np.intp)
            if adds:
                new = np.setxor1d(self.selection, new).astype(np.intp)
            self.select(new)

    def choose_region(self, key: tuple[str, str] | None, *, goes_there: bool = False) -> None:
        """Show the score of a drawn region or a core, by its level and name; None: that of the image."""
        self.region = key
        if goes_there and key is not None and self.scene is not None:
            look_at_region(self.viewer, self.scene, key)
        self.naming.place()
        self.region_chosen.emit()

    def lasso(self, points: Float64Array) -> None:
        """Select the cells inside a drawn line, (n, 2) y, x in um."""
        if self.scene is not None and not self.is_blind:
            grid = self.scene.grids[0]
            self.select(self.scene.cells.rows_within(from_layer(points / grid.mpp, grid)))

    def next_uncertain(self) -> None:
        """Select the cell that the machine was least sure of among those that nobody spoke of or passed over."""
        if self.scene is None or self.results is None or self.is_blind:
            return
        if self._offered is not None:
            self._passed_over.add(self._offered)
        row = next((row for row in self.scene.review.uncertain_rows() if row not in self._passed_over), None)
        if row is None:
            is_any = next(self.scene.review.uncertain_rows(), None) is not None
            self._passed_over.clear()
            self.said.emit("all were passed over; U begins again" if is_any else "no uncertain cell is left")
            return
        self.select(np.array([row], np.intp), offered=row)
        look_at_cell(self.viewer, self.scene, row)

    def _place(self, at: Float64Array) -> tuple[float, float]:
        assert self.scene is not None
        grid = self.scene.grids[0]
        x, y = from_layer(np.asarray(at, np.float64)[None, -2:] / grid.mpp, grid)[0]
        return float(x), float(y)

    # --- editing ---
    def edit(self, kind: EditKind, **said: Any) -> bool:
        """Write an edit as the reviewer; whether it was written."""
        if self.scene is None:
            return False
        if self.is_blind:
            self.said.emit(HIDDEN)
            self._drawing.show()
            return False
        with self.telling() as told:
            self.scene.review.edit(kind, reviewer=self.reviewer, **said)
        self.refresh()  # a refused edit has taken in those of others, too
        if not told:
            self.said.emit(MODE_HINTS.get(self.mode, ""))
        return not told

    def edit_selected(self, kind: EditKind, to: Any = None) -> None:
        """Write an edit about the selected cells."""
        if self.is_blind:
            self.said.emit(HIDDEN)
            return
        if self.scene is None or not self.selection.size:
            self.said.emit("select a cell first: click on it, or draw around several with Shift")
            return
        is_offered = self._offered is not None and self.selection.tolist() == [self._offered]
        cells = self.scene.review.ids(self.selection)
        if self.edit(kind, cells=cells, to=to, uncertain_first=is_offered) and kind is EditKind.DELETE:
            self.select(NOTHING)

    def mark_regions(self, rule: RoiRule) -> None:
        """Take the drawn shapes that are not of the review yet: ``include``, ``exclude`` or ``only``."""
        with self.telling():
            self._drawing.take(rule)

    def undo(self) -> None:
        """Undo the reviewer's last change."""
        self._again(redo=False)

    def redo(self) -> None:
        """Undo their last undo."""
        self._again(redo=True)

    def _again(self, *, redo: bool) -> None:
        if self.scene is None or self.is_blind:
            return
        review, named = self.scene.review, "redo" if redo else "undo"
        with self.telling() as told:
            done = (review.redo if redo else review.undo)(reviewer=self.reviewer.strip())
        self.refresh()
        if not told:
            did = undone_text(review, done) if done else f"{self.reviewer or 'nobody'} has nothing to {named}"
            self.said.emit("\n".join(filter(None, [did, MODE_HINTS.get(self.mode, "")])))

    def refresh(self) -> None:
        """Show what edits changed."""
        if self.scene is None:
            return
        review, cells = self.scene.review, self.scene.cells
        rows = review.changed_rows()
        if rows.size:
            cells.update(rows)
            self._colour(CENTRES, DOTS, HEAT)
        gone = self.selection[cells.kinds[self.selection] < 0]
        if gone.size:
            self.select(np.setdiff1d(self.selection, gone).astype(np.intp))
        self._drawing.show()
        self.edited.emit()

    def look_again(self) -> None:
        """Take in what other reviewers did to the open image, and show it."""
        if self.scene is not None:
            with self.telling():
                self.scene.review.look_again()
            self.refresh()

    def look_at(self, dab_od: float) -> None:
        """Colour the cells as they would count at another DAB cut-off; nothing that is counted changes."""
        if self.scene is not None and self.scene.cells.look_at(dab_od):
            self._colour(CENTRES, DOTS)

    def _colour(self, *others: str) -> None:
        """Show the kinds of the cells, also in other layers; those that are hidden when they are shown again."""
        if (layer := self.layer(CELLS)) is not None:
            layer.refresh(extent=False, thumbnail=False)
        for layer in map(self.layer, others):
            if layer is not None:
                layer.metadata[STALE] = True
        self._freshen()

    def _freshen(self) -> None:
        for name, bring in ((CENTRES, fresh_centres), (DOTS, fresh_dots), (HEAT, fresh_heat)):
            layer = self.layer(name)
            if self.scene is not None and layer is not None and layer.visible and layer.metadata.pop(STALE, False):
                bring(layer, self.scene)

    # --- modes ---
    def set_mode(self, mode: str) -> None:
        """Say what a click does."""
        self.mode = mode
        self.making.forget()
        self.said.emit(MODE_HINTS.get(mode, ""))
        self.mode_changed.emit(mode)

    def draw_region(self) -> None:
        """Let the mouse draw a region."""
        self._drawing.show(wanted=True)
        if (layer := self.layer(REGIONS)) is not None:
            self.viewer.layers.selection.active = layer
            layer.mode = "add_polygon_lasso"
            self.said.emit("draw around it, then Include, Exclude or Only; Esc goes back to the cells")

    def to_cells(self) -> None:
        """Give keys and mouse to the cells."""
        layer = self.layer(CELLS) or self.layer(CENTRES)
        if layer is not None:
            self.viewer.layers.selection.active = layer

    @contextmanager
    def telling(self) -> Iterator[list[str]]:
        """Say what goes wrong in a line instead of raising it; the block is given a list that then holds that line."""
        told: list[str] = []
        try:
            yield told
        except Pdl1QuantError as error:
            told.append(str(error))
            self.said.emit(str(error))
