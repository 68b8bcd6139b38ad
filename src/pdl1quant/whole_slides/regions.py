"""Scores of single regions: each drawn region, or each core of a microarray, counted for itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant import pipeline
from pdl1quant.model import Counts, RegionScore, ResultFlag, Status
from pdl1quant.slides.roi import CENTRE, RoiKind, of_kind
from pdl1quant.stages import score as scoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from pdl1quant.config import Config
    from pdl1quant.model import Rect, RulePack
    from pdl1quant.slides.roi import Roi

Blocks = dict[tuple[int, int], Counts]


def add_blocks(
    into: Blocks, cells: pd.DataFrame, *, block_um: float, mpp_x: float, mpp_y: float, config: Config, pack: RulePack
) -> None:
    """Add the counts of some cells to those of the blocks in which they lie."""
    counted = scoring.count_by_block(cells, block_um=block_um, mpp_x=mpp_x, mpp_y=mpp_y, config=config, pack=pack)
    for key, counts in counted.items():
        into[key] = into.get(key, Counts()) + counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What is scored for itself: its name, unlike that of any other, and its area without what is excluded.

    ``geometry`` and ``tumour`` (what of it was drawn as tumour) are in pixels of the input, from the corner.
    """

    level: str
    name: str
    geometry: Any
    tumour: Any


def regions_of(rois: Sequence[Roi]) -> tuple[Region, ...]:
    """The regions that are scored for themselves, in the order given: all but those to exclude."""
    unwanted = shapely.union_all([roi.geometry for roi in of_kind(rois, RoiKind.EXCLUDE)])
    tumour = shapely.union_all([roi.geometry for roi in of_kind(rois, RoiKind.TUMOUR)])
    wanted = [roi for roi in rois if roi.kind is not RoiKind.EXCLUDE]
    regions = []
    for roi, name in zip(wanted, _unlike([roi.title or roi.name or "roi" for roi in wanted]), strict=True):
        geometry = shapely.difference(roi.geometry, unwanted)
        level = "core" if roi.is_core else "roi"
        regions.append(Region(level=level, name=name, geometry=geometry, tumour=shapely.intersection(geometry, tumour)))
    return tuple(regions)


def _unlike(names: Sequence[str]) -> list[str]:
    """Names that occur more than once get a number each."""
    occurring, used = Counter(names), Counter[str]()
    unlike = []
    for name in names:
        used[name] += 1
        unlike.append(f"{name} {used[name]}" if occurring[name] > 1 else name)
    return unlike


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionTally:
    """Counts cells into the regions in which their centres lie; regions may overlap.

    ``mpp_x`` and ``mpp_y`` (um) are the sides of a pixel of the input.
    """

    regions: tuple[Region, ...]
    mpp_x: float
    mpp_y: float
    config: Config
    pack: RulePack
    blocks: tuple[Blocks, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple({} for _ in self.regions))

    def add(self, cells: pd.DataFrame) -> None:
        """Count some cells, flagged as they count for the whole image."""
        x, y = cells["x_px"].to_numpy() + CENTRE, cells["y_px"].to_numpy() + CENTRE
        for region, blocks in zip(self.regions, self.blocks, strict=True):
            x0, y0, x1, y1 = region.geometry.bounds if not region.geometry.is_empty else (0, 0, 0, 0)
            near = np.flatnonzero((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))
            inside = near[shapely.contains_xy(region.geometry, x[near], y[near])] if near.size else near
            if inside.size:
                chosen = cells.iloc[inside].reset_index(drop=True)
                how = {"block_um": self.config.score.block_um, "mpp_x": self.mpp_x, "mpp_y": self.mpp_y}
                add_blocks(blocks, chosen, **how, config=self.config, pack=self.pack)

    def scores(
        self, *, flags: Iterable[ResultFlag], has_tumour_roi: bool, damage: Sequence[Rect] = ()
    ) -> tuple[RegionScore, ...]:
        """The score of each region.

        Parameters
        ----------
        flags
            What is known of the whole image; ``partial`` and the like are found anew for each region.
        has_tumour_roi
            Whether a person said where tumour is.
        damage
            Boxes in pixels of the input: a region that one of them touches is partial.
        """
        known = {flag for flag in flags if flag in OF_THE_IMAGE}
        boxes = shapely.union_all([shapely.box(box.x0, box.y0, box.x1, box.y1) for box in damage])
        return tuple(
            self._score(
                region,
                [counted[key] for key in sorted(counted)],
                flags=known | ({ResultFlag.PARTIAL} if shapely.intersects(region.geometry, boxes) else set()),
                has_tumour_roi=has_tumour_roi,
            )
            for region, counted in zip(self.regions, self.blocks, strict=True)
        )

    def _score(
        self, region: Region, blocks: list[Counts], *, flags: set[ResultFlag], has_tumour_roi: bool
    ) -> RegionScore:
        if has_tumour_roi:
            blocks = [*blocks, Counts(tumour_area_um2=float(region.tumour.area) * self.mpp_x * self.mpp_y)]
        score = pipeline.score_blocks(
            blocks,
            config=self.config,
            pack=self.pack,
            indication=None,
            level="image",
            has_tumour_roi=has_tumour_roi,
            flags=flags,
        )
        counts = sum(blocks, Counts())
        status = Status.OK if counts.n_cells else Status.NO_TISSUE
        if status is Status.OK and ResultFlag.PARTIAL in score.flags:
            status = Status.PARTIAL
        return RegionScore(level=region.level, name=region.name, status=status, counts=counts, score=score)


OF_THE_IMAGE = frozenset(
    {
        ResultFlag.WHITE_ASSUMED,
        ResultFlag.WHITE_DIFFERS,
        ResultFlag.VECTORS_FIXED,
        ResultFlag.SELECTED_FIELDS,
        ResultFlag.MPP_OVERRIDDEN,
        ResultFlag.FIRST_IMAGE_ONLY,
        ResultFlag.REGION_OUTSIDE,
        ResultFlag.NUCLEUS_SIZE,
    }
)
"""Flags that a region has from its image."""
