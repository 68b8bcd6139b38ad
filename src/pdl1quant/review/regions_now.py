"""The regions of a review that hold, kept up with its edits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pdl1quant.review.edits import EditKind, outlines_of_regions
from pdl1quant.review.regions import painted, region
from pdl1quant.slides.roi import Roi, RoiKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pdl1quant.model import Float64Array, IntpArray
    from pdl1quant.review.edits import Edit, RoiRule

OF_REGIONS = (EditKind.ROI, EditKind.REDRAW)


class RegionsNow:
    """The regions of a review that hold, and on which side of them the rows of its cells lie."""

    def __init__(self) -> None:
        self._drawn: dict[str, Roi] = {}
        self._held: Mapping[str, tuple[RoiRule, Edit]] = {}
        self.sides: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        """(n,) side of each row: `UNSAID`, `OUT`, `IN` or `CALLED_BACK`."""

    def draw(self, edit: Edit) -> None:
        """Take over the outline that an edit draws, or redraws; whether it holds is said by `hold`."""
        if edit.kind in OF_REGIONS and edit.geometry is not None:
            self._drawn[edit.id] = Roi(kind=RoiKind.INCLUDE, name=str(edit.to), geometry=region(edit.geometry))

    def append(self, places_px: Float64Array) -> None:
        """Add rows at some places (n, 2: x, y)."""
        self.sides = np.append(self.sides, self._sides_of(places_px))

    def hold(self, edits: Sequence[Edit], active: set[str], places_px: Float64Array) -> IntpArray:
        """Say anew which regions hold, of the ``active`` edits; the rows, at their places, whose side changed."""
        self._held = outlines_of_regions(edits, active)
        before, self.sides = self.sides, self._sides_of(places_px)
        return np.flatnonzero(self.sides != before)

    def outlines(self) -> dict[str, tuple[RoiRule, dict[str, Any]]]:
        """What each region that holds does, and its outline now, GeoJSON; by the id of the edit that drew it."""
        return {name: (rule, edit.geometry or {}) for name, (rule, edit) in self._held.items()}

    def over(self, area: Any, *, within_px: float = 0.0) -> frozenset[str]:
        """Ids of the edits that drew, or redrew, a region that holds and meets ``area`` (px, from the corner).

        With ``within_px`` also one that lies no farther from it.
        """
        met = [
            {name, edit.id}
            for name, (_, edit) in self._held.items()
            if self._drawn[edit.id].geometry.dwithin(area, within_px)
        ]
        return frozenset().union(*met)

    def _sides_of(self, places_px: Float64Array) -> NDArray[np.int8]:
        return painted(places_px, [(rule, self._drawn[edit.id]) for rule, edit in self._held.values()])
