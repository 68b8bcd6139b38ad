"""Files that napari is asked to open: folders of results, and slides."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pdl1quant.errors import Pdl1QuantError, ReviewError
from pdl1quant.napari.layers import scene_layers, slide_layers
from pdl1quant.outputs.files import RUN_RECORD_NAME, SCORES_NAME
from pdl1quant.slides.opening import SLIDE_SUFFIXES, open_slide
from pdl1quant.views.levels import slide_grids

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdl1quant.napari.layers import LayerData
    from pdl1quant.review import ImageResult, Results

    Reader = Callable[[object], list[LayerData]]


def get_reader(path: str | list[str]) -> Reader | None:
    """The function that opens ``path``; None for what is neither a folder of results nor a slide."""
    if isinstance(path, list):
        if len(path) != 1:
            return None
        path = path[0]
    place = Path(path)
    if (folder := results_folder(place)) is not None:
        return partial(_read_results, folder)
    is_slide = place.suffix.lower() in SLIDE_SUFFIXES and place.exists()
    return partial(_read_slide, place) if is_slide else None


def results_folder(place: Path) -> Path | None:
    """The folder of results that a path means: itself, or that of its ``run.json`` or ``scores.csv``."""
    folder = place.parent if place.name in {RUN_RECORD_NAME, SCORES_NAME} else place
    return folder if (folder / RUN_RECORD_NAME).is_file() and (folder / SCORES_NAME).is_file() else None


def first_image(results: Results) -> ImageResult:
    """The first image of a run that was scored.

    Raises
    ------
    ReviewError
        None was.
    """
    scored = next((image for image in results.images if image.has_cells), None)
    if scored is None:
        raise ReviewError(f"{results.out}: no image of this run was scored; see the column error of {SCORES_NAME}")
    return scored


def _read_results(folder: Path, _: object = None) -> list[LayerData]:
    from napari.utils.notifications import show_warning  # noqa: PLC0415  the rest needs no application

    from pdl1quant.review import open_results  # noqa: PLC0415  slow to import
    from pdl1quant.views import open_scene  # noqa: PLC0415  slow to import

    results = open_results(folder)
    scene = open_scene(results, first_image(results))
    for note in scene.notes:
        show_warning(note)
    if len(results.images) > 1:
        show_warning(f"{folder.name}: shows the first of {len(results.images)} images; Plugins > Review opens others")
    return scene_layers(scene)


def _read_slide(place: Path, _: object = None) -> list[LayerData]:
    try:
        slide = open_slide(place)
    except Pdl1QuantError as error:
        raise type(error)(f"{error} (or open it with another reader of napari)") from error
    return slide_layers(slide, slide_grids(slide), name=place.name)
