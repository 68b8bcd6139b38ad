"""What is scored for itself on a slide or image: drawn regions and cores of a microarray, and how they are shown."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from pdl1quant.outputs.regions import OutlinedRegion
from pdl1quant.slides.roi import RoiKind, areas_in, fill_region, of_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdl1quant.model import BoolArray
    from pdl1quant.slides.roi import Roi


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where an image of ``width`` x ``height`` pixels holds tissue: a mask over it of any size; None: everywhere."""

    tissue: BoolArray | None
    width: int
    height: int

    def area_px(self, region: Any) -> float:
        """Pixels of the image in a region (in pixels from the corner) that are tissue; all of them where none is."""
        return self.look(region)[0]

    def look(self, region: Any) -> tuple[float, bool]:
        """`area_px` of a region, and whether there is tissue in it."""
        inside = self._inside(region)
        n_inside, n_tissue = self._places(inside)
        return float(inside.area) * (n_tissue / n_inside if n_tissue else 1.0), n_tissue > 0

    def _inside(self, region: Any) -> Any:
        left, top, right, bottom = region.bounds
        is_inside = left >= 0 and top >= 0 and right <= self.width and bottom <= self.height
        if is_inside and region.geom_type in {"Polygon", "MultiPolygon"}:
            return region
        return areas_in(shapely.intersection(region, shapely.box(0, 0, self.width, self.height)))

    def _places(self, region: Any) -> tuple[int, int]:
        """How many places of the mask lie in a region inside the image, and how many of these are tissue."""
        if self.tissue is None or region.is_empty:
            return 1, int(not region.is_empty)
        rows, columns = self.tissue.shape
        on_mask = shapely.transform(region, lambda points: points * (columns / self.width, rows / self.height))
        left, top, right, bottom = (int(side) for side in on_mask.bounds)
        left, top, right, bottom = max(0, left), max(0, top), min(columns, right + 1), min(rows, bottom + 1)
        fine = max(1, math.ceil(math.sqrt(_MIN_PLACES / max(on_mask.area, _MIN_PLACES / _MAX_FINE**2))))
        n_inside = n_tissue = 0
        strip = max(1, _MAX_PLACES // (max(1, right - left) * fine**2))  # a slide is large
        for first in range(top, bottom, strip):
            mask = self.tissue[first : min(first + strip, bottom), left:right].repeat(fine, 0).repeat(fine, 1)
            moved = shapely.transform(on_mask, lambda points, y=first: (points - (left, y)) * fine)
            inside = fill_region(moved, (mask.shape[0], mask.shape[1]))
            n_inside += int(inside.sum())
            n_tissue += int((inside & mask).sum())
        if not n_inside:  # a sliver, as one drawn outline leaves of another
            return 1, int(self.tissue[top:bottom, left:right].any())
        return n_inside, n_tissue


_MIN_PLACES = 1000
"""So many places of a mask a small region is divided into, at least ..."""
_MAX_FINE = 64
"""... but none into more parts of its side: what is smaller holds no cell."""
_MAX_PLACES = 1 << 22
"""So many are looked at together, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What is scored for itself: its name, unlike any other of its level, and its area without what is excluded.

    ``geometry`` is in pixels of the input, from the corner. Immune cells beside the region count for it where it
    ``is_tumour``. ``tumour_px`` is how many of its pixels are tissue that was drawn as tumour, ``has_tissue`` says
    whether there is some in it, with cells or without; `cut_regions`, which knows of no tissue, says neither.
    """

    level: str
    name: str
    geometry: Any
    is_tumour: bool
    tumour_px: float = 0.0
    has_tissue: bool = False


def regions_of(rois: Sequence[Roi], ground: Ground) -> tuple[Region, ...]:
    """The regions that are scored for themselves, in the order given: all but those to exclude."""
    tumour = _United.of(of_kind(rois, RoiKind.TUMOUR))
    regions = []
    for region in cut_regions(rois):
        area_px, has_tissue = ground.look(region.geometry)
        tumour_px = area_px if region.is_tumour else ground.area_px(tumour.part_of(region.geometry))
        regions.append(replace(region, tumour_px=tumour_px, has_tissue=has_tissue))
    return tuple(regions)


def cut_regions(rois: Sequence[Roi]) -> tuple[Region, ...]:
    """Their outlines without what is excluded, and without what lies in no core of a microarray, if it is one."""
    unwanted, cores = _United.of(of_kind(rois, RoiKind.EXCLUDE)), _United.of(roi for roi in rois if roi.is_core)
    wanted = [roi for roi in rois if roi.kind is not RoiKind.EXCLUDE]
    regions = []
    for roi, name in zip(wanted, _names(wanted), strict=True):
        geometry = unwanted.cut_from(roi.geometry)
        if len(cores.parts) and not roi.is_core:
            geometry = areas_in(cores.part_of(geometry))
        level = "core" if roi.is_core else "roi"
        regions.append(Region(level=level, name=name, geometry=geometry, is_tumour=roi.kind is RoiKind.TUMOUR))
    return tuple(regions)


def outlined_regions(rois: Sequence[Roi]) -> list[OutlinedRegion]:
    """All regions as they are written and shown, in the order given; those that are scored by the names of their rows.

    Outlines are as they were drawn: a region to exclude is not cut out of the others.
    """
    names = iter(_names([roi for roi in rois if roi.kind is not RoiKind.EXCLUDE]))
    return [
        OutlinedRegion(
            kind="core" if roi.is_core else str(roi.kind),
            name=(roi.title or roi.name) if roi.kind is RoiKind.EXCLUDE else next(names),
            class_name=roi.name,
            geometry=roi.geometry,
        )
        for roi in rois
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _United:
    """Regions together, as parts that do not overlap: of hundreds, another region meets a few."""

    parts: Any
    tree: shapely.STRtree

    @classmethod
    def of(cls, rois: Iterable[Roi]) -> _United:
        parts = shapely.get_parts(shapely.union_all([roi.geometry for roi in rois]))
        return cls(parts=parts, tree=shapely.STRtree(parts))

    def cut_from(self, region: Any) -> Any:
        """What of a region lies in none of them."""
        met = self._met_by(region)
        return region if met is None else shapely.difference(region, met)

    def part_of(self, region: Any) -> Any:
        """What of a region lies in them."""
        met = self._met_by(region)
        return shapely.Polygon() if met is None else shapely.intersection(region, met)

    def _met_by(self, region: Any) -> Any:
        numbers = np.sort(self.tree.query(region, predicate="intersects"))
        return shapely.multipolygons(self.parts[numbers]) if numbers.size else None


def _names(rois: Sequence[Roi]) -> list[str]:
    """Names of drawn regions that occur more than once get a number each; cores keep theirs, whatever was drawn."""
    names = [roi.title or roi.name or "roi" for roi in rois]
    occurring, used = Counter((roi.is_core, name) for roi, name in zip(rois, names, strict=True)), Counter[str]()
    unlike = []
    for roi, name in zip(rois, names, strict=True):
        if roi.is_core or occurring[False, name] == 1:
            unlike.append(name)
            continue
        used[name] += 1
        while (False, f"{name} {used[name]}") in occurring:  # somebody called another one so
            used[name] += 1
        unlike.append(f"{name} {used[name]}")
    return unlike
