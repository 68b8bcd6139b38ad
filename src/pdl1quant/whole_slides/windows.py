"""What a slide shows and a network says of it, window by window, kept in files until no tile needs it any more.

Each window is read and run once. A tile asks for its part of all windows that it overlaps; what lies in none is no
work, and holds nothing.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pdl1quant.errors import OutputError
from pdl1quant.model import Rect, Region, SlideDamage, Tile
from pdl1quant.networks.maps import ClassScores, Maps
from pdl1quant.networks.segmenter import map_tile
from pdl1quant.outputs.files import write_error
from pdl1quant.planes import plane
from pdl1quant.slides.pyramid import BORDER_LEVEL
from pdl1quant.whole_slides.disagreement import read_measured

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
DAMAGE_FILE = "damage.json"
LATE_S = 600.0
"""A window that another process works on comes within seconds; later than this, it will not come."""
LOOK_S = 0.02
"""How often a tile looks whether it has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a window or a tile shows: its pixels, and what the network says of them."""

    region: Region
    maps: Maps


def look_at(slide: Slide, grid: SlideGrid, window: WindowPlace, *, config: Config) -> View:
    """Read a window, and let the network say what it sees in its core, of which the pixels are kept, too."""
    x0, y0 = window.rect.x0, window.rect.y0
    core = window.core.moved(-x0, -y0)
    region = read_measured(slide, window.rect, grid, compare=config.tiling.compare_levels)
    tile = Tile(rgb=region.rgb, mpp=grid.mpp, core=core, inner=core, x_px=float(x0), y_px=float(y0))
    maps = map_tile(tile, config=config.nuclei)
    rgb = np.ascontiguousarray(core.of(region.rgb))  # other arrays are written pixel by pixel
    return View(region=Region(rgb=rgb, damage=region.damage), maps=maps)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowStore:
    """Views of windows in a ``folder``, a folder for each; small enough to be sent to a worker."""

    folder: Path

    def put(self, window: WindowPlace, view: View) -> None:
        """Keep the view of a window; it appears whole.

        Raises
        ------
        OutputError
            The file system refuses.
        """
        partial, maps = self.folder / secrets.token_hex(8), view.maps
        try:
            partial.mkdir()
            np.save(partial / "rgb.npy", view.region.rgb)
            np.save(partial / "hills.npy", maps.hills)
            if maps.cells is not None:
                np.save(partial / "cells.npy", maps.cells)
            for scores in maps.scores:
                np.save(partial / "scores.npy", _as_kept(scores.planes))
                np.save(partial / "rows.npy", scores.rows)
                np.save(partial / "columns.npy", scores.columns)
            (partial / DAMAGE_FILE).write_text(_damage_lines(view.region.damage), encoding="utf-8")
            partial.rename(self._place(window))
        except OSError as error:
            raise write_error(partial, error) from error

    def has(self, window: WindowPlace) -> bool:
        """Whether the view of a window is there."""
        return self._place(window).exists()

    def get(self, windows: Sequence[WindowPlace], inner: Rect) -> View | None:
        """The view of a rectangle of the slide that these windows cover, as far as it is work; None without windows.

        Pixels elsewhere are white. Waits for windows that another process is at.

        Raises
        ------
        OutputError
            One does not come.
        """
        if not windows:
            return None
        shape = inner.height, inner.width
        rgb, hills = plane((*shape, 3), np.uint8), plane(shape, np.float32)
        rgb[...] = BORDER_LEVEL
        hills[...] = 0
        cells, scores, damage = None, [], dict[SlideDamage, None]()
        for window in windows:
            self._wait_for(window)
            core, shared = window.core, _overlap(window.core, inner)
            here, there = shared.moved(-inner.x0, -inner.y0), shared.moved(-core.x0, -core.y0)
            kept, damaged = self._read(window)
            here.of(rgb)[...] = there.of(kept["rgb"])
            here.of(hills)[...] = there.of(kept["hills"])
            if "cells" in kept:
                cells = np.zeros(shape, np.uint8) if cells is None else cells
                here.of(cells)[...] = there.of(kept["cells"])
            if "scores" in kept:
                rows, columns = kept["rows"] + (core.y0 - inner.y0), kept["columns"] + (core.x0 - inner.x0)
                part = ClassScores(planes=kept["scores"], rows=rows, columns=columns)
                scores.append(part.within(inner.width, inner.height))
            damage |= dict.fromkeys(damaged)
        maps = Maps(hills=hills, cells=cells, scores=tuple(scores))
        return View(region=Region(rgb=rgb, damage=tuple(damage)), maps=maps)

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

    def _read(self, window: WindowPlace) -> tuple[dict[str, NDArray[Any]], list[SlideDamage]]:
        """The arrays of a window by their names, and its damage; what is not asked for of the arrays is not read."""
        place = self._place(window)
        try:
            found = {path.stem: np.load(path, mmap_mode="r") for path in place.glob("*.npy")}
            damage = _damage_of((place / DAMAGE_FILE).read_text(encoding="utf-8"))
        except OSError as error:
            raise self._lacks(window) from error
        if not self.has(window):  # removed meanwhile: who knows what was found
            raise self._lacks(window)
        return {name: np.asarray(array) for name, array in found.items()}, damage

    def _lacks(self, window: WindowPlace) -> OutputError:
        return OutputError(f"{self._place(window)}: what the network says is missing; run again, with fewer --workers")


def _as_kept(planes: NDArray[Any]) -> NDArray[np.uint16]:
    """Class scores in half of their memory."""
    kept = plane(planes.shape, np.uint16)
    for into, scores in zip(kept, planes, strict=True):
        scaled = scores * TOP
        into[...] = np.add(scaled, np.float32(0.5), out=scaled)
    return kept


def _damage_lines(damage: Sequence[SlideDamage]) -> str:
    return json.dumps([[*astuple(each.rect), each.level, each.reason] for each in damage])


def _damage_of(lines: str) -> list[SlideDamage]:
    return [
        SlideDamage(rect=Rect(x0=x0, y0=y0, x1=x1, y1=y1), level=level, reason=reason)
        for x0, y0, x1, y1, level, reason in json.loads(lines)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agenda:
    """The order of the work on a slide: ``steps`` are windows to look at, and numbers of tiles to measure.

    ``needs`` are the windows of each tile, which come before it; without any, a tile is looked at by itself. ``turns``
    says of each step whether the next one of the same worker is of the other kind.
    """

    steps: tuple[WindowPlace | int, ...]
    needs: tuple[tuple[WindowPlace, ...], ...]
    turns: tuple[bool, ...]


def make_agenda(places: Sequence[TilePlace], windows: Sequence[WindowPlace], *, ahead: int = 0) -> Agenda:
    """Rows of windows, each as late as the first tile that needs one of it allows; without windows the `tile_order`.

    Few windows are kept then, and a worker seldom turns from windows to tiles and back, which need their memory for
    different things.

    Parameters
    ----------
    places, windows
        Of a slide, row by row.
    ahead
        So many windows are looked at between those of a tile and the tile, while others may still be at the former:
        one for each worker.
    """
    if not windows:
        steps = tuple(tile_order(places, max(1, ahead)))
        return Agenda(steps=steps, needs=((),) * len(places), turns=(False,) * len(steps))
    met = _met(places, windows)
    needed = sorted({index for each in met for index in each})
    row_ends = _row_starts([windows[index].core.x0 for index in needed])[1:]
    mixed: list[WindowPlace | int] = []
    n_seen = 0
    for number, indices in enumerate(met):
        n_first = bisect_right(needed, indices[-1]) if indices else 0
        n_due = min(n_first + ahead, len(needed))
        if n_due > n_seen:
            n_due = next(end for end in row_ends if end >= n_due)
            mixed += [windows[index] for index in needed[n_seen:n_due]]
            n_seen = n_due
        mixed.append(number)
    are_tiles = [isinstance(step, int) for step in mixed]
    after = are_tiles[max(1, ahead) :]
    turns = [mine != other for mine, other in zip(are_tiles, after, strict=False)]
    return Agenda(
        steps=tuple(mixed),
        needs=tuple(tuple(windows[index] for index in each) for each in met),
        turns=(*turns, *(False for _ in are_tiles[len(turns) :])),
    )


def _met(places: Sequence[TilePlace], windows: Sequence[WindowPlace]) -> list[list[int]]:
    """The windows that each tile overlaps, ascending."""
    x0, y0, x1, y1 = np.array([astuple(each.core) for each in windows]).T
    return [
        np.flatnonzero((x0 < each.x1) & (x1 > each.x0) & (y0 < each.y1) & (y1 > each.y0)).tolist()
        for each in (place.inner for place in places)
    ]


def _row_starts(x0: Sequence[int]) -> list[int]:
    """Where rows begin in a list that goes row by row, and its length."""
    return [0, *(np.flatnonzero(np.diff(x0) <= 0) + 1).tolist(), len(x0)]


def tile_order(places: Sequence[TilePlace], n_workers: int) -> list[int]:
    """Row by row, and of a row one from each of as many stretches as there are workers, in turn.

    A worker then mostly goes on beside the tile that it did before, and need not decode what both read.
    """
    if not places:
        return []
    order: list[int] = []
    for start, end in pairwise(_row_starts([place.core.x0 for place in places])):
        step = -(-(end - start) // n_workers)
        order += [index for first in range(start, start + step) for index in range(first, end, step)]
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
