"""Large arrays whose memory is used again once nobody holds them.

The system hands out memory page by page and clears each: that costs more than most loops over the pixels of a tile.
"""

from __future__ import annotations

import ctypes
import math
import sys
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

MIN_BYTES, MAX_BYTES = 1 << 16, 1 << 25
"""Smaller arrays cost nothing, and larger ones (a plane of 2896 x 2896 px) are too much to keep."""
MAX_KEPT_BYTES = 1 << 26
"""What one process keeps at most, 4 planes of 2048 x 2048 px: four times as much was no faster."""
_FREE: dict[int, list[NDArray[np.uint8]]] = {}
"""Memory that nobody holds, by its size; a list loses and gains its last element in one step, so that threads agree."""


def plane(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array with any content, as ``np.empty`` gives it."""
    kind = np.dtype(dtype)
    count = math.prod(shape)
    n_bytes = _rounded(count * kind.itemsize)
    if not MIN_BYTES <= n_bytes <= MAX_BYTES:
        return np.empty(shape, kind)
    try:
        memory = _FREE[n_bytes].pop()
    except (KeyError, IndexError):
        memory = np.empty(n_bytes, np.uint8)
    # Behind a memoryview numpy sees a foreign owner: all views then hold this array, whose end is the end of all.
    whole = np.frombuffer(memory.data, dtype=kind, count=count)
    weakref.finalize(whole, _keep, memory).atexit = False
    return whole.reshape(shape)


def like(array: NDArray[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
    """A `plane` of the shape of an array, and of its dtype unless another is given."""
    return plane(array.shape, array.dtype if dtype is None else dtype)


def give_back() -> None:
    """Return to the system what nobody holds: after a survey, or a band of a slide, it would add to what tiles need."""
    _FREE.clear()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc, which keeps more than others
        if trim is not None:
            trim(0)


def _rounded(n_bytes: int) -> int:
    """The next size with three binary digits: tiles of nearly one size share their memory."""
    step = 1 << max(n_bytes.bit_length() - 3, 0)
    return -(-n_bytes // step) * step


def _keep(memory: NDArray[np.uint8]) -> None:
    mine = _FREE[memory.size] = _FREE.pop(memory.size, [])  # the last of the sizes: those before were not used lately
    while sum(size * len(kept) for size, kept in list(_FREE.items())) + memory.size > MAX_KEPT_BYTES:
        oldest = next(iter(list(_FREE)), memory.size)
        if oldest == memory.size:
            return
        _FREE.pop(oldest, None)
    mine.append(memory)
