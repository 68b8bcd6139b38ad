"""From judged bands to the score of a slide: regions applied, counts summed per block, nothing kept of the cells."""

from __future__ import annotations

import math
from dataclasses import InitVar, dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import shapely

from pdl1quant import naming, pipeline
from pdl1quant.kernels.sums import N_AREAS
from pdl1quant.model import BrownArea, Counts, ResultFlag, SlideResult, Status
from pdl1quant.slides.roi import (
    DrawnRegion,
    DrawnTumour,
    Roi,
    RoiKind,
    limiting_rois,
    of_kind,
    scored_region,
    tumour_rois,
)
from pdl1quant.stages import measure, nests, quality
from pdl1quant.whole_slides.region_tally import Blocks, RegionTally, add_blocks
from pdl1quant.whole_slides.regions import Ground, regions_of
from pdl1quant.whole_slides.waiting import NestGround, nest_grounds

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from pdl1quant.config import Config
    from pdl1quant.model import (
        ArtefactMap,
        BoolArray,
        Indication,
        Int32Array,
        Int64Array,
        RulePack,
        Slide,
        SlideDamage,
        SlideGrid,
        StainEstimate,
    )
    from pdl1quant.whole_slides.judging import Band
    from pdl1quant.whole_slides.survey import Work

HEAT_UM = 250.0
"""Side of the squares of the map of TPS."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What is counted of a slide while its bands go by.

    ``tissue`` is a mask over the slide: of drawn tumour what is glass, or an artefact, is no area of tumour.
    """

    slide: Slide
    config: Config
    pack: RulePack
    rois: tuple[Roi, ...] = ()
    artefacts: ArtefactMap | None = None
    tissue: InitVar[BoolArray | None] = None
    blocks: Blocks = field(default_factory=dict)
    heat: Blocks = field(default_factory=dict)
    damage: dict[SlideDamage, None] = field(default_factory=dict)
    n_cells: int = 0
    areas_px: Int64Array = field(default_factory=lambda: np.zeros(N_AREAS, np.int64))
    """Pixels of the working grid: the areas of `BrownArea`, in their order."""
    saw_dab: bool = False
    brown_cells: Int64Array = field(default_factory=lambda: np.zeros(2, np.int64))
    """Cells that hold brown, and those of them that hold it in the nucleus."""
    tumour_area_um2: float = field(init=False)
    """Area of the tissue in drawn tumour regions, without what is excluded; 0 without any."""
    limits: DrawnRegion = field(init=False)
    """Outside of it nothing counts ..."""
    tumour: DrawnRegion = field(init=False)
    """... and outside of this one no tumour cell, where tumour was drawn."""
    drawn: DrawnTumour = field(init=False)
    """The drawn tumour, beside which immune cells count."""
    regions: RegionTally = field(init=False)
    grounds: tuple[NestGround, ...] = ()
    """Where nests are looked for; nowhere if tumour was drawn."""

    def __post_init__(self, tissue: BoolArray | None) -> None:
        whole = shapely.box(0, 0, self.slide.width, self.slide.height)
        ground = Ground(tissue=_unspoilt(tissue, self.artefacts), width=self.slide.width, height=self.slide.height)
        self.limits = DrawnRegion.of(limiting_rois(self.rois))
        self.tumour = DrawnRegion.of(tumour_rois(self.rois))
        if self.has_tumour_roi:
            self.drawn = DrawnTumour.of(self.rois)
        self.tumour_area_um2 = 0.0
        size = {"width": self.slide.width, "height": self.slide.height}
        squares = nests.Squares(**size, mpp_x=self.slide.mpp_x, mpp_y=self.slide.mpp_y)
        self.grounds = () if self.has_tumour_roi else nest_grounds(squares, self.rois)
        if self.has_tumour_roi:
            drawn = scored_region(tumour_rois(self.rois), whole)
            self.tumour_area_um2 = ground.area_px(drawn) * self.slide.mpp_x * self.slide.mpp_y
        self.regions = RegionTally(
            regions=regions_of(self.rois, ground),
            mpp_x=self.slide.mpp_x,
            mpp_y=self.slide.mpp_y,
            config=self.config,
            pack=self.pack,
        )

    @property
    def mpp(self) -> float:
        """Side of a level-0 pixel in um; of the square of the same area, where it is none."""
        return math.sqrt(self.slide.mpp_x * self.slide.mpp_y)

    @property
    def has_tumour_roi(self) -> bool:
        """Whether a person drew tumour: what counts is then said by that, and not by the nests that were found."""
        return bool(of_kind(self.rois, RoiKind.TUMOUR))

    def flagged(self, band: Band) -> Band:
        """The band with the cells in artefacts and outside the regions flagged."""
        return replace(band, cells=self._flagged(band.cells))

    def add(self, band: Band) -> None:
        """Count a band that has all flags."""
        cells = band.cells
        for into, block_um in ((self.blocks, self.config.score.block_um), (self.heat, HEAT_UM)):
            how = {"block_um": block_um, "mpp_x": self.slide.mpp_x, "mpp_y": self.slide.mpp_y}
            add_blocks(into, cells, **how, config=self.config, pack=self.pack)
        self.regions.add(cells)
        self.n_cells += len(cells)
        brown = cells["cell_dab_od_mean"] >= np.float32(self.config.positivity.dab_od)
        self.saw_dab |= bool(brown.any() or cells["positive"].any())
        self.brown_cells += quality.count_brown(cells, t1=self.config.positivity.dab_od)

    def add_brown(self, squares: Int32Array, grid: SlideGrid) -> None:
        """Count the squares of brown of the working grid (`TileCells.brown`) whose middle is scored and not spoilt."""
        x, y = quality.brown_middles(squares, width=grid.width, height=grid.height)
        counts = np.ones(len(squares), bool)
        if self.artefacts is not None:
            counts &= ~self.artefacts.at(x / grid.width, y / grid.height)
        x, y = x * grid.downsample_x, y * grid.downsample_y
        if self.rois:
            counts &= (self.tumour if self.has_tumour_roi else self.limits).holds(x, y)
        self.areas_px += squares[counts, 2:].sum(axis=0)
        self.regions.add_brown(squares[counts], x[counts], y[counts])

    def _flagged(self, cells: pd.DataFrame) -> pd.DataFrame:
        x, y = cells["x_px"].to_numpy(), cells["y_px"].to_numpy()
        if self.artefacts is not None:
            spoilt = self.artefacts.at((x + 0.5) / self.slide.width, (y + 0.5) / self.slide.height)
            cells = quality.flag_artefacts(cells, spoilt)
        if not self.rois:
            return cells
        scored = self.limits.holds(x, y)
        if not self.has_tumour_roi:
            return quality.flag_beyond(cells, scored=scored)
        sides = {"mpp_x": self.slide.mpp_x, "mpp_y": self.slide.mpp_y}
        near = self.drawn.is_near(x, y, reach_um=quality.STROMA_REACH_UM, **sides)
        return quality.flag_beyond(cells, scored=scored, tumour=self.tumour.holds(x, y), near=near)


def _unspoilt(tissue: BoolArray | None, artefacts: ArtefactMap | None) -> BoolArray | None:
    if tissue is None or artefacts is None:
        return tissue
    spoilt = (artefacts.numbers > 0).view(np.uint8)
    clear = cv2.resize(spoilt, tissue.shape[::-1], interpolation=cv2.INTER_NEAREST) == 0
    return np.asarray(tissue & clear)


def finish(
    tally: Tally,
    work: Work,
    *,
    estimate: StainEstimate,
    indication: Indication | None,
    flags: Iterable[ResultFlag] = (),
) -> SlideResult:
    """The result of a slide whose bands were all counted; its ``cells`` hold no rows."""
    slide, config, pack = tally.slide, tally.config, tally.pack
    found = {*flags, *pipeline.estimate_flags(estimate)}
    if not tally.saw_dab:
        found.add(ResultFlag.NO_DAB_SEEN)
    if naming.tells_nuclei_from_brown(config):
        found |= {*quality.check_where_brown_is(*tally.brown_cells.tolist())}
    if tally.damage:
        found.add(ResultFlag.PARTIAL)
    blocks = tuple(tally.blocks[key] for key in sorted(tally.blocks))
    has_tumour_roi = tally.has_tumour_roi
    has_nest = [ground.has_nest for ground in tally.grounds]
    boxes = [each.rect for each in tally.damage]
    px_um2 = slide.mpp_x * work.grid.downsample_x * slide.mpp_y * work.grid.downsample_y
    brown = BrownArea.of_px(tally.areas_px, px_um2=px_um2)
    found |= {*quality.check_brown(brown, n_tumour=sum(each.n_tumour for each in blocks))}
    if has_tumour_roi:
        blocks = (*blocks, Counts(tumour_area_um2=tally.tumour_area_um2))
    score = pipeline.score_blocks(
        blocks,
        config=config,
        pack=pack,
        indication=indication,
        level="image",
        has_tumour_roi=has_tumour_roi,
        has_nests=has_tumour_roi or any(has_nest),
        flags=found,
        brown=brown,
    )
    lost = any(each.level <= work.grid.level for each in tally.damage)  # smaller levels were made from finer ones
    status = Status.OK if work.packed_tissue.any() or tally.n_cells or lost else Status.NO_TISSUE
    if status is Status.OK and ResultFlag.PARTIAL in score.flags:
        status = Status.PARTIAL
    return SlideResult(
        status=status, cells=measure.empty_cells(), counts=sum(blocks, Counts()), blocks=blocks, score=score,
        estimate=estimate, config_digest=config.digest,
        mpp=tally.mpp, working_mpp=work.grid.mpp, shape_px=(slide.height, slide.width),
        tissue_area_um2=work.tissue_area_um2, flags=score.flags, artefacts=work.spoilt,
        brown=brown,
        has_nests=has_tumour_roi or any(has_nest),
        regions=tally.regions.scores(
            flags=found, has_tumour_roi=has_tumour_roi, px_um2=px_um2, core_nests=has_nest, damage=boxes
        ),
    )  # fmt: skip


def known_damage(slide: Slide, work: Work) -> tuple[SlideDamage, ...]:
    """Damage that matters whether or not a tile meets it: of the level that is measured, and of smaller ones."""
    return tuple(dict.fromkeys([*(d for d in slide.damage if d.level >= work.grid.level), *work.overview_damage]))
