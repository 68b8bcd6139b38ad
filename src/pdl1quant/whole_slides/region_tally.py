"""From cells to the scores of single regions: each drawn region, or each core of a microarray, counted for itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import shapely

from pdl1quant import pipeline
from pdl1quant.kernels.sums import N_AREAS
from pdl1quant.model import EXCLUDING_FLAGS, BrownArea, CellClass, Counts, Flag, RegionScore, ResultFlag, Status
from pdl1quant.slides.roi import CENTRE, near_in_core
from pdl1quant.stages import quality
from pdl1quant.stages import score as scoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

    from pdl1quant.config import Config
    from pdl1quant.model import BoolArray, Float64Array, Int32Array, Int64Array, IntpArray, Rect, RulePack
    from pdl1quant.whole_slides.regions import Region

Blocks = dict[tuple[int, int], Counts]


def add_blocks(
    into: Blocks, cells: pd.DataFrame, *, block_um: float, mpp_x: float, mpp_y: float, config: Config, pack: RulePack
) -> None:
    """Add the counts of some cells to those of the blocks in which they lie."""
    counted = scoring.count_by_block(cells, block_um=block_um, mpp_x=mpp_x, mpp_y=mpp_y, config=config, pack=pack)
    _add(into, counted)


def _add(into: Blocks, counted: Blocks) -> None:
    for key, counts in counted.items():
        into[key] = into[key] + counts if key in into else counts


_ROWS_AT_ONCE = 1 << 18
"""So many cells of regions are counted together (some 60 MB), or those of one that holds more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The rows of a table that count for the region of that number, rising, and which of them lie beside it."""

    number: int
    rows: IntpArray
    is_beside: BoolArray
    has_near: bool
    """Whether an immune cell in it is not far from tumour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Points:
    """Points of a band of a slide from left to right: a box looks at those in its columns only."""

    rows: IntpArray
    x: Float64Array
    y: Float64Array

    @classmethod
    def of(cls, x: Float64Array, y: Float64Array, rows: IntpArray | None = None) -> _Points:
        """Those of all rows, or of some."""
        rows = np.arange(x.size) if rows is None else rows
        rows = rows[np.argsort(x[rows], kind="stable")]
        return cls(rows=rows, x=x[rows], y=y[rows])

    def within(self, x0: float, y0: float, x1: float, y1: float) -> IntpArray:
        """Rows, rising, of the points in a box, its edges included."""
        columns = slice(*np.searchsorted(self.x, (x0, np.nextafter(x1, np.inf))).tolist())
        y = self.y[columns]
        return np.sort(self.rows[columns][(y >= y0) & (y <= y1)])


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionTally:
    """Counts cells into the regions in which their centres lie; regions may overlap.

    Into a tumour region those immune cells are counted, too, that would count were it the only one: at most
    ``STROMA_REACH_UM`` beside it, of a microarray in the same core.

    ``mpp_x`` and ``mpp_y`` (um) are the sides of a pixel of the input.
    """

    regions: tuple[Region, ...]
    mpp_x: float
    mpp_y: float
    config: Config
    pack: RulePack
    blocks: tuple[Blocks, ...] = field(init=False)
    areas_px: Int64Array = field(init=False)
    """(regions, 4) pixels of the working grid: the areas of `BrownArea`, in their order."""
    has_near: BoolArray = field(init=False)
    """(regions,): whether one of its immune cells is not far from tumour."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple({} for _ in self.regions))
        object.__setattr__(self, "areas_px", np.zeros((len(self.regions), N_AREAS), np.int64))
        object.__setattr__(self, "has_near", np.zeros(len(self.regions), bool))

    def add(self, cells: pd.DataFrame) -> None:
        """Count some cells, flagged as they count for the whole image."""
        self.add_held(cells, self.held(cells))

    def add_held(self, cells: pd.DataFrame, found: Iterable[Held]) -> None:
        """Count what was ``found`` (`held`) of some cells.

        Regions are counted many at a time, as far as ``_ROWS_AT_ONCE`` allows.
        """
        counted = cells[list(scoring.COUNTED_COLUMNS)]
        waiting: list[Held] = []
        n_rows = 0
        for held in found:
            self.has_near[held.number] |= held.has_near
            if waiting and n_rows + held.rows.size > _ROWS_AT_ONCE:
                self._count(counted, waiting)
                waiting, n_rows = [], 0
            waiting.append(held)
            n_rows += held.rows.size
        if waiting:
            self._count(counted, waiting)

    def held(self, cells: pd.DataFrame) -> Iterator[Held]:
        """What each region holds of some cells, if anything."""
        x, y = cells["x_px"].to_numpy() + CENTRE, cells["y_px"].to_numpy() + CENTRE
        immune = cells["cell_class"].isin([CellClass.LYMPHOCYTE, CellClass.MACROPHAGE]).to_numpy()
        may_be_beside = immune & ((cells["flags"].to_numpy() & int(Flag.OUTSIDE_ROI)) == 0)
        near = immune & ((cells["flags"].to_numpy() & int(EXCLUDING_FLAGS | Flag.FAR_FROM_TUMOUR)) == 0)
        cores = [region.geometry for region in self.regions if region.level == "core"]
        how = {"reach_um": quality.STROMA_REACH_UM, "mpp_x": self.mpp_x, "mpp_y": self.mpp_y}
        every, mobile = _Points.of(x, y), _Points.of(x, y, np.flatnonzero(may_be_beside))
        is_inside = np.zeros(x.size, bool)
        for number, region in enumerate(self.regions):
            if region.geometry.is_empty:
                continue
            inside = self._around(region, every, reach_um=0.0)
            inside = inside[shapely.contains_xy(region.geometry, x[inside], y[inside])]
            beside = np.zeros(0, np.intp)
            is_inside[inside] = True
            if region.is_tumour:
                beside = self._around(region, mobile, reach_um=quality.STROMA_REACH_UM)
                beside = beside[~is_inside[beside]]
                if beside.size:
                    beside = beside[near_in_core(region.geometry, cores, x[beside], y[beside], **how)]
            if inside.size or beside.size:
                rows = np.sort(np.concatenate([inside, beside]))
                has_near = bool(near[inside].any())
                yield Held(number=number, rows=rows, is_beside=~is_inside[rows], has_near=has_near)
            is_inside[inside] = False

    def _count(self, cells: pd.DataFrame, held: Sequence[Held]) -> None:
        chosen = cells.take(np.concatenate([each.rows for each in held])).reset_index(drop=True)
        beside = np.concatenate([each.is_beside for each in held])
        flags = chosen["flags"].to_numpy() | np.where(beside, int(Flag.BESIDE_TUMOUR), 0)
        numbers = np.repeat([each.number for each in held], [each.rows.size for each in held])
        counted = scoring.count_regions(
            chosen.assign(flags=flags.astype(np.int32)),
            numbers,
            block_um=self.config.score.block_um,
            mpp_x=self.mpp_x,
            mpp_y=self.mpp_y,
            config=self.config,
            pack=self.pack,
        )
        for number, blocks in counted.items():
            _add(self.blocks[number], blocks)

    def add_brown(self, squares: Int32Array, x_px: Float64Array, y_px: Float64Array) -> None:
        """Count the squares of brown (`quality.find_brown`) whose middles lie in each region.

        ``x_px`` and ``y_px`` are the middles in pixels of the input. What is given counts for the whole image.
        """
        x, y = x_px + CENTRE, y_px + CENTRE
        every = _Points.of(x, y)
        for number, region in enumerate(self.regions):
            if region.geometry.is_empty:
                continue
            inside = self._around(region, every, reach_um=0.0)
            inside = inside[shapely.contains_xy(region.geometry, x[inside], y[inside])]
            self.areas_px[number] += squares[inside, 2:].sum(axis=0)

    def _around(self, region: Region, points: _Points, *, reach_um: float) -> IntpArray:
        """Rows, rising, of points in the box of a region that is wider by ``reach_um``."""
        x0, y0, x1, y1 = region.geometry.bounds
        by_x, by_y = reach_um / self.mpp_x, reach_um / self.mpp_y
        return points.within(x0 - by_x, y0 - by_y, x1 + by_x, y1 + by_y)

    def scores(
        self,
        *,
        flags: Iterable[ResultFlag],
        has_tumour_roi: bool,
        px_um2: float,
        core_nests: Sequence[bool] = (),
        damage: Sequence[Rect] = (),
    ) -> tuple[RegionScore, ...]:
        """The score of each region.

        Parameters
        ----------
        flags
            What is known of the whole image; ``partial`` and the like are found anew for each region.
        has_tumour_roi
            Whether a person said where tumour is.
        px_um2
            Area of a pixel of the working grid.
        core_nests
            Where nobody did, whether there is a nest of tumour cells in each core, in their order.
        damage
            Boxes in pixels of the input: a region that one of them touches is partial.
        """
        known = {flag for flag in flags if flag in OF_THE_IMAGE}
        boxes = shapely.union_all([shapely.box(box.x0, box.y0, box.x1, box.y1) for box in damage])
        of_cores = iter(core_nests)
        return tuple(
            self._score(
                region,
                [counted[key] for key in sorted(counted)],
                has_nests=has_tumour_roi or (next(of_cores) if region.level == "core" else bool(has_near)),
                brown=BrownArea.of_px(areas_px, px_um2=px_um2),
                flags=known | ({ResultFlag.PARTIAL} if shapely.intersects(region.geometry, boxes) else set()),
                has_tumour_roi=has_tumour_roi,
            )
            for region, counted, areas_px, has_near in zip(
                self.regions, self.blocks, self.areas_px, self.has_near, strict=True
            )
        )

    def _score(
        self,
        region: Region,
        blocks: list[Counts],
        *,
        has_nests: bool,
        brown: BrownArea,
        flags: set[ResultFlag],
        has_tumour_roi: bool,
    ) -> RegionScore:
        if has_tumour_roi:
            blocks = [*blocks, Counts(tumour_area_um2=region.tumour_px * self.mpp_x * self.mpp_y)]
        counts = sum(blocks, Counts())
        score = pipeline.score_blocks(
            blocks,
            config=self.config,
            pack=self.pack,
            indication=None,
            level="image",
            has_tumour_roi=has_tumour_roi,
            has_nests=has_nests,
            flags={*flags, *quality.check_brown(brown, n_tumour=counts.n_tumour)},
            brown=brown,
        )
        status = Status.OK if counts.n_cells or region.has_tissue or ResultFlag.PARTIAL in flags else Status.NO_TISSUE
        if status is Status.OK and ResultFlag.PARTIAL in score.flags:
            status = Status.PARTIAL
        return RegionScore(
            level=region.level,
            name=region.name,
            status=status,
            counts=counts,
            score=score,
            blocks=tuple(blocks),
            is_damaged=ResultFlag.PARTIAL in flags,
            brown=brown,
            has_nests=has_nests,
        )


OF_THE_IMAGE = frozenset(
    {
        ResultFlag.WHITE_ASSUMED,
        ResultFlag.WHITE_DIFFERS,
        ResultFlag.VECTORS_FIXED,
        ResultFlag.NO_DAB_SEEN,
        ResultFlag.SELECTED_FIELDS,
        ResultFlag.MPP_OVERRIDDEN,
        ResultFlag.FIRST_IMAGE_ONLY,
        ResultFlag.REGION_OUTSIDE,
        ResultFlag.NUCLEUS_SIZE,
        ResultFlag.NUCLEAR_STAIN,
    }
)
"""Flags that a region has from its image."""
