"""Corrections made in QuPath come back as edits: other classes, deleted cells, added cells.

Compared is with what the run wrote, not with the review so far: what QuPath did not change says nothing. What the
ledger says already is not said again, so that a file can be imported twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant.errors import InputError, OutputError, ReviewError, UnreadableError
from pdl1quant.model import CellClass, Flag
from pdl1quant.outputs.files import COMPRESSED, result_path
from pdl1quant.outputs.geojson import cell_id
from pdl1quant.outputs.objects import CellObjects, is_redrawn, read_cell_objects
from pdl1quant.outputs.palette import counts_as_positive, is_left_out
from pdl1quant.review.edits import EditKind, MadeCell
from pdl1quant.review.places import spoilt_regions
from pdl1quant.review.results import ImageResult, Results, load_cells, open_results
from pdl1quant.review.session import Review
from pdl1quant.slides.roi import points_in_rois

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from pdl1quant.model import BoolArray

MAX_MISSING = 0.1
"""A file that lacks a larger share of the cells was most likely exported from a selection."""
CLASS_NAMES = {
    **{str(each): each for each in CellClass},
    "tumor": CellClass.TUMOUR,
    "immune cells": CellClass.LYMPHOCYTE,
}
"""Classes by the names that they may have in QuPath, in lower case."""
_POSITIVE = {"positive": True, "negative": False}
_REASON = "QuPath"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came back: cells by kind of edit, and lines about what could not be taken over."""

    image: str
    n_class: int = 0
    n_positive: int = 0
    n_deleted: int = 0
    n_added: int = 0
    notes: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """In one line."""
        return (
            f"{self.image}: {self.n_class} classes, {self.n_positive} positive or negative, "
            f"{self.n_deleted} deleted, {self.n_added} added"
        )


def import_corrections(
    out: Path,
    file: Path,
    *,
    reviewer: str,
    image: str | None = None,
    keep_missing: bool = False,
    delete_missing: bool = False,
) -> Imported:
    """Write what was corrected in QuPath to the ledger of its image.

    Cells are known by their id. ``Tumour: Positive`` names class and outcome; a class without one leaves it as it is,
    ``Excluded`` (where the run did not exclude) and the class ``Ignore*`` delete the cell. Redrawn outlines of known
    cells are not read back, only counted in the notes: their densities would have to be measured again.

    Parameters
    ----------
    out
        Folder of the run.
    file
        GeoJSON that QuPath exported, all cells of one image.
    reviewer
        Who made the corrections.
    image
        Name of the image; needed only where the file does not tell.
    keep_missing
        Cells that the file lacks are left as they are: it holds a selection.
    delete_missing
        Cells that the file lacks were deleted, however many.

    Raises
    ------
    ReviewError
        The file is of another image, lacks more than ``MAX_MISSING`` of the cells and neither of the two was said,
        or the case is locked; nothing is written.
    UnreadableError
        The file cannot be read.
    """
    results = open_results(out)
    objects = read_cell_objects(file)
    review = Review(results, _image_of(results, objects, file, image))
    changes = _Changes(review, objects, file)
    changes.take_missing(keep=keep_missing, delete=delete_missing)
    return changes.write(reviewer)


class _Changes:
    """Differences between a file and the cells of the run; arrays are by cell of the file."""

    def __init__(self, review: Review, objects: CellObjects, file: Path) -> None:
        state, compartment = review.state, review.results.pack.compartment
        self.review, self.objects, self.file = review, objects, file
        self.rows = state.rows_of(objects.ids)
        self.is_known = self.rows >= 0
        at = np.maximum(self.rows, 0)
        self.is_present = self.is_known & state.present[at]
        names = np.array(objects.class_names, dtype=object)
        self.said_class = np.array([str(CLASS_NAMES.get(name, "")) for name in objects.class_names], dtype=object)
        self.outcome = np.array(objects.outcomes, dtype=object)
        is_out = is_left_out(state.table)[at]
        self.is_dropped = np.array([name.startswith("ignore") for name in objects.class_names], dtype=bool)
        self.is_dropped |= (self.outcome == "excluded") & ~is_out
        self.says_outcome = np.isin(self.outcome, list(_POSITIVE)) & self.is_present & ~is_out
        self.was_positive = counts_as_positive(state.table, compartment)[at]
        now = state.now(at)["cell_class"].to_numpy()
        was = state.table["cell_class"].astype(str).to_numpy()[at]
        is_other = (self.said_class != "") & (self.said_class != was) & (self.said_class != now)
        self.is_renamed = self.is_present & ~self.is_dropped & is_other
        self.is_new = ~self.is_known & (self.said_class != "") & ~self.is_dropped
        self.deleted = [objects.ids[k] for k in np.flatnonzero(self.is_present & self.is_dropped)]
        self.notes: list[str] = []
        unknown = sorted(set(names[(self.said_class == "") & ~self.is_dropped]))
        if unknown:
            self.notes.append(f"unknown classes, left as they were: {', '.join(name or 'none' for name in unknown)}")
        n_plain = int((self.is_new & ~np.isin(self.outcome, list(_POSITIVE))).sum())
        if n_plain:
            self.notes.append(f"{n_plain} added cells have no Positive or Negative in their class: counted as negative")
        self.is_spoilt = self._look_at_artefacts()
        self._look_at_outlines()

    def take_missing(self, *, keep: bool, delete: bool) -> None:
        """Cells of the run that the file lacks were deleted, unless it holds a selection."""
        n = self.review.state.n_automated
        is_missing = np.ones(n, dtype=bool)
        is_missing[self.rows[(self.rows >= 0) & (self.rows < n)]] = False
        missing = np.flatnonzero(is_missing & self.review.state.present[:n])
        if keep or not missing.size:
            return
        if missing.size > MAX_MISSING * n and not delete:
            raise ReviewError(
                f"{self.file}: lacks {missing.size:,} of {n:,} cells of {self.review.image.name}; if it holds a "
                "selection pass --keep-missing, if they were deleted --delete-missing"
            )
        self.deleted += self.review.ids(missing)

    def write(self, reviewer: str) -> Imported:
        """Write the edits, one for each kind and value."""

        def edit(kind: EditKind, **values: Any) -> None:
            self.review.edit(kind, reviewer=reviewer, reason=f"{_REASON}: {self.file.name}", **values)

        for cell_class in CellClass:
            if chosen := self._ids(self.is_renamed & (self.said_class == str(cell_class))):
                edit(EditKind.CLASS, cells=chosen, to=cell_class)
        # After the classes: what counts as positive depends on them.
        said = self.outcome == "positive"
        now = self.review.state.now(np.maximum(self.rows, 0))["positive"].to_numpy(bool)
        is_turned = self.says_outcome & ~self.is_dropped & (said != now)
        is_turned &= (said != self.was_positive) | self.is_renamed
        for positive in (True, False):
            if chosen := self._ids(is_turned & (said == positive)):
                edit(EditKind.POSITIVE, cells=chosen, to=positive)
        if self.is_new.any():
            edit(EditKind.ADD, made=[self._new_cell(number) for number in np.flatnonzero(self.is_new).tolist()])
        if self.deleted:
            edit(EditKind.DELETE, cells=self.deleted)
        return Imported(
            image=self.review.image.name,
            n_class=int(self.is_renamed.sum()),
            n_positive=int(is_turned.sum()),
            n_deleted=len(self.deleted),
            n_added=int(self.is_new.sum()),
            notes=tuple(self.notes),
        )

    def _ids(self, chosen: BoolArray) -> list[str]:
        return [self.objects.ids[number] for number in np.flatnonzero(chosen).tolist()]

    def _new_cell(self, number: int) -> MadeCell:
        outline, nucleus = self.objects.outlines[number], self.objects.nuclei[number]
        um2 = self.review.mpp**2
        measured = {"cell_area_um2": float(outline.area) * um2}
        if nucleus is not None:
            measured["nucleus_area_um2"] = float(nucleus.area) * um2
        x, y = self.objects.centres_px[number].tolist()
        return MadeCell(
            id=self.objects.ids[number],
            x_px=x,
            y_px=y,
            cell_class=CellClass(self.said_class[number]),
            positive=_POSITIVE.get(self.outcome[number]),
            geometry=json.loads(shapely.to_geojson(outline)),
            measurements=measured,
            flags=int(Flag.ARTEFACT) if self.is_spoilt[number] else 0,
        )

    def _look_at_artefacts(self) -> BoolArray:
        """(n,) bool: cells in what the run found spoilt; what else is doubtful of a new cell only its pixels tell."""
        n_new = int(self.is_new.sum())
        if n_new:
            self.notes.append(
                f"{n_new} added cells are not measured: pigment on them, or a border that cuts them, is not seen"
            )
        try:
            spoilt = spoilt_regions(self.review.results, self.review.image)
        except InputError as error:
            self.notes.append(str(error))
            spoilt = ()
        x, y = self.objects.centres_px.T
        return points_in_rois(spoilt, x, y) if spoilt else np.zeros(x.size, dtype=bool)

    def _look_at_outlines(self) -> None:
        out, stem = self.review.results.out, self.review.image.stem
        paths = [result_path(out, "geojson", stem, compression=each) for each in COMPRESSED]
        try:
            earlier = read_cell_objects(next((path for path in paths if path.exists()), paths[0]))
        except UnreadableError:
            return  # without the run's own file nothing can be said of outlines
        place = {name: number for number, name in enumerate(earlier.ids)}
        both = [(number, place[name]) for number, name in enumerate(self.objects.ids) if name in place]
        if both:
            now, then = (np.array(each) for each in zip(*both, strict=True))
            n = int(is_redrawn(self.objects.outlines[now], earlier.outlines[then]).sum())
            if n:
                self.notes.append(f"{n} redrawn outlines: not read back, their cells keep their measurements")


def _image_of(results: Results, objects: CellObjects, file: Path, name: str | None) -> ImageResult:
    """The image that the cells are of, by their ids: these hold the hash of the image."""
    candidates = [each for each in results.images if each.has_cells]
    if name is not None:
        candidates = [results.image(name)]
    ids = set(objects.ids)
    found: list[ImageResult] = []
    for image in candidates:
        try:
            cells = load_cells(results, image).cells
        except OutputError:
            continue
        if not ids.isdisjoint(_ids(image, cells)):
            found.append(image)
    if len(found) == 1:
        return found[0]
    if found:
        raise ReviewError(f"{file}: fits {len(found)} images with the same content; name one with --image")
    whose = name or "any image of these results"
    raise ReviewError(
        f"{file}: holds no cell of {whose}; export the cells of geojson/ without new ids, all of one image"
    )


def _ids(image: ImageResult, cells: pd.DataFrame) -> set[str]:
    return {cell_id(image.sha256, label) for label in cells["label"].tolist()}
