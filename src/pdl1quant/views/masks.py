"""Where the run saw tissue, and the TPS of each square of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.model import Rect, Tile
from pdl1quant.outputs.overview import step_of
from pdl1quant.stages import score as scoring
from pdl1quant.stages import tissue
from pdl1quant.whole_slides.scoring import HEAT_UM
from pdl1quant.whole_slides.survey import read_overview

if TYPE_CHECKING:
    from pdl1quant.model import BoolArray, Int32Array, Slide, StainEstimate
    from pdl1quant.review import Review

WHOLE_PX = 16_000_000
"""Larger slides are looked at in the overview of 8 um, as the run does with whole slides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueMask:
    """Tissue over a whole slide: (H, W) bool, as coarse as it was found."""

    mask: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Squares of ``side_um``: (rows, columns) int32, 0 where too few tumour cells lie, else 1 + the step of the TPS."""

    steps: Int32Array
    side_um: float
    parts: int = 10
    """Into how many parts a side is cut by `fine_steps`."""

    def fine_steps(self, height: int, width: int) -> Int32Array:
        """(height, width) int32: the map in parts of squares, so that it ends where the slide does."""
        fine = np.zeros((height, width), np.int32)
        whole = self.steps.repeat(self.parts, axis=0).repeat(self.parts, axis=1)[:height, :width]
        fine[: whole.shape[0], : whole.shape[1]] = whole
        return fine


def tissue_mask(slide: Slide, estimate: StainEstimate, review: Review) -> TissueMask:
    """Find the tissue of a slide as the run did."""
    config = review.results.config
    grid = slide.grid(config.working_mpp)
    if grid.width * grid.height > WHOLE_PX:
        overview = read_overview(slide)
        tile = Tile.whole(overview.rgb, overview.grid.mpp)
    else:
        tile = Tile.whole(slide.read(Rect(x0=0, y0=0, x1=grid.width, y1=grid.height), grid).rgb, grid.mpp)
    return TissueMask(mask=tissue.find_tissue(tile, estimate, config=config.tissue))


def heat_map(review: Review) -> HeatMap:
    """TPS of squares of tissue, as reviewed."""
    results, cells = review.results, review.state.counted()
    counts = scoring.count_by_block(
        cells, block_um=HEAT_UM, **review.sides_um, config=results.config, pack=results.pack
    )
    places = np.array(list(counts), np.int64).reshape(-1, 2)
    places = places.clip(min=0)
    steps = np.zeros(places.max(axis=0, initial=0) + 1, np.int32)
    of_square = [step_of(each, results.pack.compartment) for each in counts.values()]
    steps[places[:, 0], places[:, 1]] = [0 if step is None else step + 1 for step in of_square]
    return HeatMap(steps=steps, side_um=HEAT_UM)
