"""What a network says of a slide: window by window, each run once, kept in files until no tile needs it any more.

A tile asks for its part of all windows that it overlaps; what lies in none is no work, and holds nothing.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pdl1quant.errors import OutputError
from pdl1quant.model import Rect, Tile
from pdl1quant.networks.maps import ClassScores, Maps
from pdl1quant.networks.segmenter import map_tile
from pdl1quant.planes import plane

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pdl1quant.config import Config
    from pdl1quant.model import Slide, SlideGrid
    from pdl1quant.tiling import TilePlace, WindowPlace

_T = TypeVar("_T")

TOP = np.float32(65535)
"""A class score of 1, as it is kept: of a cell only the shares count."""
LATE_S = 600.0
"""A window that another process works on comes within seconds; later than this, it will not come."""
LOOK_S = 0.02
"""How often a tile looks whether it has come."""


def look_at(slide: Slide, grid: SlideGrid, window: WindowPlace, *, config: Config) -> Maps:
    """Read a window, and let the network say what it sees in its core."""
    x0, y0 = window.rect.x0, window.rect.y0
    core = window.core.moved(-x0, -y0)
    rgb = slide.read(window.rect, grid).rgb
    tile = Tile(rgb=rgb, mpp=grid.mpp, core=core, inner=core, x_px=float(x0), y_px=float(y0))
    return map_tile(tile, config=config.nuclei)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowStore:
    """Maps of windows in a ``folder``, a folder for each; small enough to be sent to a worker."""

    folder: Path

    def put(self, window: WindowPlace, maps: Maps) -> None:
        """Keep the maps of a window; they appear whole.

        Raises
        ------
        OutputError
            The file system refuses.
        """
        partial = self.folder / secrets.token_hex(8)
        try:
            partial.mkdir()
            np.save(partial / "hills.npy", maps.hills)
            if maps.cells is not None:
                np.save(partial / "cells.npy", maps.cells)
            for scores in maps.scores:
                np.save(partial / "scores.npy", (scores.planes * TOP + np.float32(0.5)).astype(np.uint16))
                np.save(partial / "rows.npy", scores.rows)
                np.save(partial / "columns.npy", scores.columns)
            partial.rename(self._place(window))
        except OSError as error:
            raise OutputError(
                f"{self.folder}: cannot be written ({error.strerror or error}); check its space"
            ) from error

    def has(self, window: WindowPlace) -> bool:
        """Whether the maps of a window are there."""
        return self._place(window).exists()

    def get(self, windows: Sequence[WindowPlace], inner: Rect) -> Maps | None:
        """The maps of a rectangle of the slide that these windows cover, as far as it is work; None without windows.

        Waits for those that another process is at.

        Raises
        ------
        OutputError
            One does not come.
        """
        if not windows:
            return None
        hills = plane((inner.height, inner.width), np.float32)
        hills[...] = 0
        cells, scores = None, []
        for window in windows:
            self._wait_for(window)
            core, shared = window.core, _overlap(window.core, inner)
            here, there = shared.moved(-inner.x0, -inner.y0), shared.moved(-core.x0, -core.y0)
            kept = self._read(window)
            here.of(hills)[...] = there.of(kept["hills"])
            if "cells" in kept:
                cells = np.zeros(hills.shape, np.uint8) if cells is None else cells
                here.of(cells)[...] = there.of(kept["cells"])
            if "scores" in kept:
                rows, columns = kept["rows"] + (core.y0 - inner.y0), kept["columns"] + (core.x0 - inner.x0)
                part = ClassScores(planes=kept["scores"], rows=rows, columns=columns)
                scores.append(part.within(inner.width, inner.height))
        return Maps(hills=hills, cells=cells, scores=tuple(scores))

    def drop(self, window: WindowPlace) -> None:
        """Remove a window that nobody needs any more."""
        shutil.rmtree(self._place(window), ignore_errors=True)

    def _place(self, window: WindowPlace) -> Path:
        return self.folder / f"{window.core.y0}_{window.core.x0}"

    def _wait_for(self, window: WindowPlace) -> None:
        until = time.monotonic() + LATE_S
        while not self.has(window):
            if not self.folder.exists() or time.monotonic() > until:
                raise self._lacks(window)
            time.sleep(LOOK_S)

    def _read(self, window: WindowPlace) -> dict[str, NDArray[Any]]:
        """The arrays of a window by their names; what is not asked for of them is not read."""
        try:
            found = {path.stem: np.load(path, mmap_mode="r") for path in self._place(window).iterdir()}
        except OSError as error:
            raise self._lacks(window) from error
        if not self.has(window):  # removed meanwhile: who knows what was found
            raise self._lacks(window)
        return {name: np.asarray(array) for name, array in found.items()}

    def _lacks(self, window: WindowPlace) -> OutputError:
        return OutputError(f"{self._place(window)}: what the network says is missing; run again, with fewer --workers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """The order of the work on a slide: ``steps`` are windows to look at, and numbers of tiles to measure.

    ``needs`` are the windows of each tile, which come before it; without any, a tile is looked at by itself.
    """

    steps: tuple[WindowPlace | int, ...]
    needs: tuple[tuple[WindowPlace, ...], ...]


def make_agenda(places: Sequence[TilePlace], windows: Sequence[WindowPlace], *, ahead: int = 0) -> Agenda:
    """Each window as late as its first tile allows, so that few are kept; without windows the `tile_order`.

    Parameters
    ----------
    places, windows
        Of a slide, row by row.
    ahead
        So many windows are looked at between those of a tile and the tile, while others may still be at the former:
        one for each worker.
    """
    if not windows:
        return Agenda(steps=tuple(tile_order(places, max(1, ahead))), needs=((),) * len(places))
    sides = np.array([(each.core.x0, each.core.y0, each.core.x1, each.core.y1) for each in windows]).reshape(-1, 4)
    needs, order, ready = [], [], []
    known: set[int] = set()
    for place in places:
        inner = place.inner
        x0, y0, x1, y1 = sides.T
        met = np.flatnonzero((x0 < inner.x1) & (x1 > inner.x0) & (y0 < inner.y1) & (y1 > inner.y0)).tolist()
        needs.append(tuple(windows[index] for index in met))
        order += [index for index in met if index not in known]
        known.update(met)
        ready.append(len(order))
    steps: list[WindowPlace | int] = []
    n_seen = 0
    for number, n_first in enumerate(ready):
        n_due = max(n_seen, min(n_first + ahead, len(order)))
        steps += [*(windows[index] for index in order[n_seen:n_due]), number]
        n_seen = n_due
    return Agenda(steps=tuple(steps), needs=tuple(needs))


def tile_order(places: Sequence[TilePlace], n_workers: int) -> list[int]:
    """Row by row, and of a row one from each of as many stretches as there are workers, in turn.

    A worker then mostly goes on beside the tile that it did before, and need not decode what both read.
    """
    if not places:
        return []
    x0 = np.array([place.core.x0 for place in places])
    rows = np.split(np.arange(len(places)), np.flatnonzero(np.diff(x0) <= 0) + 1)
    order: list[int] = []
    for row in rows:
        step = -(-len(row) // n_workers)
        order += [index for first in range(step) for index in row[first::step].tolist()]
    return order


def swept(measured: Iterable[tuple[int, _T]], agenda: Agenda, store: WindowStore) -> Iterator[tuple[int, _T]]:
    """The same tiles with their numbers; windows that none is left to need are dropped."""
    left = Counter(window for windows in agenda.needs for window in windows)
    for number, tile in measured:
        for window in agenda.needs[number]:
            left[window] -= 1
            if not left[window]:
                store.drop(window)
        yield number, tile


def _overlap(one: Rect, other: Rect) -> Rect:
    return Rect(x0=max(one.x0, other.x0), y0=max(one.y0, other.y0), x1=min(one.x1, other.x1), y1=min(one.y1, other.y1))
