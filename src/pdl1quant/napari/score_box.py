"""Score the image in the viewer, or a drawn part of it: the run of the command line, in a thread."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Shapes
from napari.qt.threading import thread_worker
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from pdl1quant import batch
from pdl1quant.assays import load_pack, pack_names
from pdl1quant.config import Config
from pdl1quant.errors import Pdl1QuantError, UsageError
from pdl1quant.napari.layers import DAB, HAEMATOXYLIN, REGIONS, drawn_rings, from_layer
from pdl1quant.napari.listening import Reporter, Stopped
from pdl1quant.napari.settings_form import SettingsForm
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.review import drawn_region

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdl1quant.model import Float64Array
    from pdl1quant.napari.desk import Desk

WHOLE, TUMOUR, PART = "the whole image", "drawn shapes are tumour", "drawn shapes are a part to score"
_CLASS = {TUMOUR: "Tumor", PART: "Region"}
NO_INDICATION = "none"
FROM_FILE = "as the file says"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended: the folder of its results, or why there is none; both empty where it was stopped."""

    output: Path | None = None
    error: str = ""


def write_regions(rings_px: list[Float64Array], path: Path, *, class_name: str) -> None:
    """Write drawn rings (n, 2: x, y, as in the cells table) as the regions that `score --roi` reads.

    Raises
    ------
    ReviewError
        A ring has no area.
    OutputError
        The file cannot be written.
    """
    features = [
        {
            "type": "Feature",
            "geometry": drawn_region(ring),
            "properties": {"objectType": "annotation", "classification": {"name": class_name}},
        }
        for ring in rings_px
    ]
    collection = {"type": "FeatureCollection", "generator": "pdl1quant", "features": features}
    with replace_atomically(path) as partial:
        partial.write_text(json.dumps(collection) + "\n", encoding="utf-8")


def run_job(job: batch.Job, listener: Reporter) -> Ended:
    """Run a job; what goes wrong on purpose becomes a line."""
    try:
        summary = batch.run(job, listener=listener)
    except Stopped:
        return Ended()
    except Pdl1QuantError as error:
        return Ended(error=str(error))
    if summary.n_unscored:
        return Ended(error=next(row.error for row in summary.rows if row.error))
    return Ended(output=job.output)


class ScoreBox(QWidget):
    """What to score, how, and how far it is."""

    progressed = Signal(str)
    complained = Signal(str)

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._stop = Event()
        self._worker: Any = None
        self.image, self.region, self.assay, self.indication = (QComboBox() for _ in range(4))
        self.region.addItems([WHOLE, TUMOUR, PART])
        self.assay.addItems(pack_names())
        self.assay.setCurrentText("28-8-cytoplasm")
        self.assay.currentTextChanged.connect(self._assay_chosen)
        self.mpp = QDoubleSpinBox()
        self.mpp.setRange(0, 2)
        self.mpp.setDecimals(4)
        self.mpp.setSingleStep(0.05)
        self.mpp.setSpecialValueText(FROM_FILE)
        self.output = QLineEdit()
        self.start, self.cancel = QPushButton("Score"), QPushButton("Cancel")
        self.start.clicked.connect(self.score)
        self.cancel.clicked.connect(self._stop.set)
        self.cancel.setEnabled(False)
        self.bar, self.doing = QProgressBar(), QLabel()
        self.doing.setWordWrap(True)
        self.bar.hide()
        self.settings = SettingsForm(Config())
        self.progressed.connect(self._show_progress)
        self.complained.connect(desk.said)
        desk.viewer.layers.events.inserted.connect(self._list_images)
        desk.viewer.layers.events.removed.connect(self._list_images)
        self.image.currentTextChanged.connect(self._image_chosen)
        self._lay_out()
        self._assay_chosen(self.assay.currentText())
        self._list_images()

    def _lay_out(self) -> None:
        form = QFormLayout()
        rows = (("Image", self.image), ("Score", self.region), ("Pixel size, um", self.mpp), ("Rules", self.assay))
        for words, widget in (*rows, ("Indication", self.indication), ("Results in", self.output)):
            form.addRow(words, widget)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.cancel)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addLayout(buttons)
        for widget in (self.bar, self.doing, QLabel("Settings (the tool tip says what each means):"), self.settings):
            column.addWidget(widget)
        self.settings.setMinimumHeight(420)
        column.addStretch()

    def let_go(self) -> None:
        """Stop the run, wait for its end, and leave the viewer's layers alone."""
        self._stop.set()
        if self._worker is not None:
            self._worker.await_workers(msecs=60_000)
        self._desk.viewer.layers.events.inserted.disconnect(self._list_images)
        self._desk.viewer.layers.events.removed.disconnect(self._list_images)

    # --- what the user chooses ---
    def _list_images(self, _: object = None) -> None:
        chosen = self.image.currentText()
        names = [each.name for each in self._desk.viewer.layers if isinstance(each, Image)]
        self.image.clear()
        self.image.addItems([name for name in names if name not in {HAEMATOXYLIN, DAB}])
        if chosen in names:
            self.image.setCurrentText(chosen)

    def _image_chosen(self, name: str) -> None:
        layer = self._layer(name)
        path = None if layer is None else _path_of(layer)
        if path is not None:
            self.output.setText(str(path.parent / f"{path.stem}-result"))

    def _layer(self, name: str) -> Any:
        """A layer of the viewer, of the open image or not; None where there is none of that name."""
        layers = self._desk.viewer.layers
        return layers[name] if name in layers else None  # noqa: SIM401  not a mapping

    def _assay_chosen(self, name: str) -> None:
        self.indication.clear()
        self.indication.addItem(NO_INDICATION)
        self.indication.addItems([each.name for each in load_pack(name).indications])

    def job(self) -> batch.Job:
        """What would be run now; the regions are written beside the results.

        Raises
        ------
        Pdl1QuantError
            Something is missing, or no value.
        """
        layer = self._layer(self.image.currentText())
        path = None if layer is None else _path_of(layer)
        if layer is None or path is None:
            raise UsageError("choose an image that was opened from a file; save others first (File > Save)")
        if not self.output.text().strip():
            raise UsageError("say where the results go")
        output = Path(self.output.text().strip())
        indication = None if self.indication.currentText() == NO_INDICATION else self.indication.currentText()
        pack, found = batch.find_rules(self.assay.currentText(), indication)
        return batch.Job(
            paths=(path,),
            output=output,
            config=self.settings.config,
            pack=pack,
            indication=found,
            mpp=self.mpp.value() or None,
            roi=self._regions(layer, output),
        )

    def _regions(self, image: Any, output: Path) -> Path | None:
        if self.region.currentText() == WHOLE:
            return None
        shapes = [each for each in self._desk.viewer.layers if isinstance(each, Shapes) and len(each.data)]
        if not shapes:
            raise UsageError("no shape is drawn; add a Shapes layer and draw a polygon on the image")
        active = self._desk.viewer.layers.selection.active
        drawn = [each for each in shapes if each.name != REGIONS] or shapes  # those of a review are no region to score
        layer = active if active in shapes else drawn[-1]
        rings = [
            np.array([image.world_to_data(layer.data_to_world(point)) for point in ring]) for ring in drawn_rings(layer)
        ]
        grid = image.metadata.get("grid")
        in_px = [ring[:, ::-1] if grid is None else from_layer(ring, grid) for ring in rings]
        path = output.with_name(f"{output.name}-regions.geojson")
        write_regions(in_px, path, class_name=_CLASS[self.region.currentText()])
        return path

    # --- the run ---
    def score(self) -> None:
        """Start the run."""
        try:
            job = self.job()
        except Pdl1QuantError as error:
            self._desk.said.emit(str(error))
            return
        self._stop.clear()
        listener = Reporter(say=self.progressed.emit, complain=self.complained.emit, is_stopped=self._stop.is_set)
        self._desk.said.emit("")
        self._set_running(is_running=True)
        self._worker = _in_thread(run_job)(job, listener)
        self._worker.returned.connect(self._ended)
        self._worker.errored.connect(self._failed)
        self._worker.start()

    def _show_progress(self, line: str) -> None:
        self.doing.setText(line)
        done, _, n = line.removeprefix("tile ").split(" ")[0].partition("/")
        if done.isdigit() and n.isdigit():
            self.bar.setRange(0, int(n))
            self.bar.setValue(int(done))

    def _ended(self, ended: Ended) -> None:
        self._set_running(is_running=False)
        if ended.error or ended.output is None:
            self._desk.said.emit(ended.error or "stopped; nothing was finished")
            return
        self.doing.setText(f"done: {ended.output}")
        self._desk.open_folder(ended.output)

    def _failed(self, error: Exception) -> None:
        self._set_running(is_running=False)
        self._desk.said.emit(f"{type(error).__name__}: {error}; please report it")

    def _set_running(self, *, is_running: bool) -> None:
        self.start.setEnabled(not is_running)
        self.cancel.setEnabled(is_running)
        self.bar.setRange(0, 0)
        self.bar.setVisible(is_running)
        self.doing.setText("")


def _in_thread(function: Callable[..., Ended]) -> Callable[..., Any]:
    wrapped: Callable[..., Any] = thread_worker(function)
    return wrapped


def _path_of(layer: Any) -> Path | None:
    """The file that an image was read from."""
    path = layer.metadata.get("path") or layer.source.path
    return None if path is None else Path(path)
