"""An image of a run with all that can be seen of it; where a part is lost, the rest is there and a line says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.errors import InputError, OutputError, ReviewError
from pdl1quant.model import SlideGrid
from pdl1quant.outputs.written_outlines import find_outlines
from pdl1quant.review import Review, find_image, run_regions, spoilt_regions
from pdl1quant.slides.opening import open_slide
from pdl1quant.slides.roi import CENTRE, roi_mask
from pdl1quant.views.cells import CellView
from pdl1quant.views.levels import COARSEST_PX, slide_grids
from pdl1quant.views.outlines import Outlines, no_outlines, read_outlines
from pdl1quant.views.regions import RegionView

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.model import BoolArray, Slide, StainEstimate
    from pdl1quant.outputs.regions import OutlinedRegion
    from pdl1quant.review import ImageResult, Results

ARTEFACT_UM = 8.0
"""Places of the map of artefacts."""
_MARGIN_PX = 32
"""Around the cells, where the slide itself is not at hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One image under review: its slide (if it is where it was), its cells, its regions.

    ``notes`` says in a line each what is missing and what to do.
    """

    review: Review
    slide: Slide | None
    estimate: StainEstimate | None
    grids: tuple[SlideGrid, ...]
    cells: CellView
    regions: RegionView
    """What was drawn for the run, and the cores that it found."""
    artefacts: BoolArray | None
    """(H, W) mask over the slide, as coarse as it was found; None where the run looked for none."""
    notes: tuple[str, ...]

    def is_spoilt(self, x_px: float, y_px: float) -> bool:
        """Whether a place (as in the cells table) lies in what the run found spoilt."""
        if self.artefacts is None:
            return False
        down = [
            ARTEFACT_UM / self.grids[0].mpp * each for each in (self.grids[0].downsample_x, self.grids[0].downsample_y)
        ]
        column, row = ((at + CENTRE) / each for at, each in zip((x_px, y_px), down, strict=True))
        height, width = self.artefacts.shape
        return bool(self.artefacts[min(max(int(row), 0), height - 1), min(max(int(column), 0), width - 1)])

    def close(self) -> None:
        """Close the slide."""
        if self.slide is not None:
            self.slide.close()


def open_scene(results: Results, image: ImageResult, *, folder: Path | None = None) -> Scene:
    """Open an image of a run.

    Parameters
    ----------
    results, image
        The run, and one of its images.
    folder
        Where the image lies now, if it moved.

    Raises
    ------
    ReviewError
        The image was not scored, or its ledger is for other results.
    OutputError
        Cells or ledger cannot be read.
    """
    review = Review(results, image)
    notes = list(review.ledger.problems)
    slide: Slide | None = None
    try:
        slide = open_slide(find_image(results, image, folder=folder), mpp=results.given_mpp)
    except (ReviewError, InputError) as error:
        notes.append(str(error))
    try:
        outlines = _outlines(results, review)
        if len(review.cells) and not outlines.x_px.size:
            notes.append(f"{image.name}: the run wrote no outlines (tiling.outlines); its cells are points")
    except OutputError as error:
        outlines = no_outlines(len(review.cells))
        notes.append(str(error))
    regions: list[OutlinedRegion] = []
    try:
        regions = run_regions(review)
    except (ReviewError, InputError) as error:
        notes.append(str(error))
    grids = _bare_grids(review) if slide is None else slide_grids(slide)
    return Scene(
        review=review,
        slide=slide,
        estimate=results.estimates.get(image.case),
        grids=grids,
        cells=CellView(review, outlines, grids),
        regions=RegionView(regions, grids),
        artefacts=_artefacts(results, review, grids[0], notes),
        notes=tuple(notes),
    )


def _outlines(results: Results, review: Review) -> Outlines:
    path = find_outlines(results.out, review.image.stem)
    n = len(review.cells)
    if n == 0 or path is None:
        return no_outlines(n)
    return read_outlines(path, first_id=review.ids([0])[0], n=n)


def _artefacts(results: Results, review: Review, grid: SlideGrid, notes: list[str]) -> BoolArray | None:
    """What the run found spoilt; a file that cannot be read is noted."""
    try:
        spoilt = spoilt_regions(results, review.image)
    except InputError as error:
        notes.append(str(error))
        return None
    if not spoilt:
        return None
    down_x, down_y = (ARTEFACT_UM / grid.mpp * each for each in (grid.downsample_x, grid.downsample_y))
    shape = (-(-grid.height * grid.downsample_y // down_y), -(-grid.width * grid.downsample_x // down_x))
    return roi_mask(spoilt, (int(shape[0]), int(shape[1])), downsample_x=down_x, downsample_y=down_y)


def _bare_grids(review: Review) -> tuple[SlideGrid, ...]:
    """Grids of square pixels around the cells, for a slide that is not at hand."""
    places = review.cells[["x_px", "y_px"]].to_numpy(np.float64)
    mpp = max(review.sides_um.values())
    down_x, down_y = mpp / review.sides_um["mpp_x"], mpp / review.sides_um["mpp_y"]
    width, height = (np.ceil(places.max(axis=0, initial=0)).astype(int) + _MARGIN_PX).tolist()
    grids: list[SlideGrid] = []
    while not grids or max(grids[-1].width, grids[-1].height) > COARSEST_PX:
        scale = 2 ** len(grids)
        grids.append(
            SlideGrid(
                mpp=mpp * scale,
                width=max(1, round(width / (down_x * scale))),
                height=max(1, round(height / (down_y * scale))),
                downsample_x=down_x * scale,
                downsample_y=down_y * scale,
                level=0,
            )
        )
    return tuple(grids)
