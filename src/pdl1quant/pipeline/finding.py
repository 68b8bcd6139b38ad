"""A tile -> its cells, measured and not yet named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.networks import segmenter as network
from pdl1quant.networks.foreign import cellpose, instanseg, stardist
from pdl1quant.stages import cells as cell_stage
from pdl1quant.stages import measure, nuclei, stains

if TYPE_CHECKING:
    from pdl1quant.config import Config
    from pdl1quant.model import Compartments, Float32Array, Segmenter, StainEstimate, StainOD, Tile
    from pdl1quant.networks.maps import Maps
    from pdl1quant.stages.measure import Measured

SEGMENTERS: dict[str, Segmenter] = {
    "network": network.segment_nuclei,
    "watershed": nuclei.segment_nuclei,
    "stardist": stardist.segment_nuclei,
    "cellpose": cellpose.segment_nuclei,
    "instanseg": instanseg.segment_nuclei,
}
"""The segmenters by the name that ``nuclei.segmenter`` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCells:
    """Cells of a tile: their table with membranes, their label images, and their class scores if there are any."""

    measured: Measured
    parts: Compartments
    class_scores: Float32Array | None


def find_cells(
    tile: Tile,
    od: StainOD,
    *,
    estimate: StainEstimate,
    config: Config,
    with_neighbours: bool = True,
    maps: Maps | None = None,
) -> FoundCells:
    """Cells of one tile, measured and not yet named; arguments as in `analyse_tile`.

    Of a tile with an ``inner`` part the label images are those of this part. Without neighbours nothing is said of
    those of a cell: a tile of a slide does not know them all. ``maps`` are what the network said of the tile before.
    """
    if maps is None:
        seen = SEGMENTERS[config.nuclei.segmenter](tile, od, estimate=estimate, config=config.nuclei)
    else:
        seen = network.segment_maps(maps, mpp=tile.mpp, config=config.nuclei)
    parts = cell_stage.grow_cells(seen, od.cropped(tile.inner), mpp=tile.mpp, config=config.cells)
    black = stains.pigment_residual_od(estimate, config.quality.pigment_od)
    measured = measure.measure_cells(
        tile,
        od,
        parts,
        stains=config.stains,
        t1=config.positivity.dab_od,
        pigment_residual_od=black,
        with_neighbours=with_neighbours,
    )
    return FoundCells(measured=measured, parts=parts, class_scores=seen.class_scores)
