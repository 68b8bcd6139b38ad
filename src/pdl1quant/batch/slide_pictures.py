"""The pictures of a slide that was scored: its overview with the map of the score, and the map as numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import shapely

from pdl1quant.batch.work import result_paths
from pdl1quant.outputs.captions import Caption, score_text
from pdl1quant.outputs.maps import write_map
from pdl1quant.outputs.overview import write_overview
from pdl1quant.slides.roi import RoiKind, of_kind, scored_region, tumour_rois
from pdl1quant.whole_slides.reading import OVERVIEW_MPP
from pdl1quant.whole_slides.regions import outlined_regions
from pdl1quant.whole_slides.scoring import HEAT_UM
from pdl1quant.whole_slides.survey import read_overview

if TYPE_CHECKING:
    from pdl1quant.batch.work import Image, Plan
    from pdl1quant.model import Slide, SlideResult
    from pdl1quant.whole_slides.scoring import Tally
    from pdl1quant.whole_slides.survey import Work

SIDE_PX = 1600
"""Longer side of the overview of a small slide; a large one has pixels of ``OVERVIEW_MPP``."""
FINEST_MPP = 2.0


def write_pictures(result: SlideResult, tally: Tally, work: Work, image: Image, plan: Plan) -> None:
    """Write both, where `result_paths` says."""
    paths, slide = result_paths(image, plan), tally.slide
    caption = Caption(
        title=image.name,
        score=score_text(result.score),
        rules=f"{plan.pack.title} ({plan.pack.name})",
        remarks=tuple(str(flag).replace("_", " ") for flag in result.score.flags),
    )
    shown = read_overview(slide, mpp=_picture_mpp(slide))

    def shrunk(geometry: Any) -> Any:
        return shapely.transform(geometry, lambda points: points / (shown.grid.downsample_x, shown.grid.downsample_y))

    # the colour is that of the TPS: of tumour cells, which count in drawn tumour alone where there is some
    rois = tumour_rois(tally.rois) if of_kind(tally.rois, RoiKind.TUMOUR) else tally.rois
    write_overview(
        shown.rgb,
        work.tissue,
        tally.heat,
        paths["overlays"],
        caption=caption,
        mpp=shown.grid.mpp,
        square_um=HEAT_UM,
        compartment=plan.pack.compartment,
        scored=shrunk(scored_region(rois, shapely.box(0, 0, slide.width, slide.height))),
        artefacts=work.artefacts,
        regions=[replace(each, geometry=shrunk(each.geometry)) for each in outlined_regions(tally.rois)],
    )
    write_map(
        tally.heat,
        paths["maps"],
        width_um=slide.width * slide.mpp_x,
        height_um=slide.height * slide.mpp_y,
        square_um=HEAT_UM,
        compartment=plan.pack.compartment,
    )


def _picture_mpp(slide: Slide) -> float:
    longer_um = max(slide.width * slide.mpp_x, slide.height * slide.mpp_y)
    return min(max(longer_um / SIDE_PX, FINEST_MPP), OVERVIEW_MPP)
