"""Whether JPEG data hold the whole picture: decoders paint what is missing, or spoilt, without a word.

The codes are read as a decoder reads them (ITU-T T.81, annex F), and the units of the picture counted. Spoilt data soon
lead the codes astray: one that does not exist, units that are missing at the end, or data that are left over. Baseline
JPEG is counted, as slides are stored; progressive and arithmetic-coded data are taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pdl1quant.kernels.huffman import LOOK_BITS, MAX_BITS, TO_THE_END, count_units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdl1quant.model import Int32Array, UInt8Array

DAMAGED_WITHIN: Final = "tile is damaged within"
SPARE_UNITS: Final = 1
"""So many units may be missing: some writers drop the last byte."""
SPARE_BYTES: Final = 32
"""So many bytes may be left over, of any kind."""
PADDING: Final = b"\0\xff"
"""Some scanners pad the data with these, to any length."""
BYTES_OF_LAST_CODE: Final = 2
"""What looks like padding may be the end of the last code: a byte of zeros, or one of ones, which is stored as two."""
RUN_BYTES: Final = 32
"""So many zeros in a row are hardly codes."""
MIDDLE_LEVEL: Final = 128
"""What a block without data decodes to, in any colour space."""
_BLOCK_PX: Final = 8

_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COUNTED_FRAMES: Final = frozenset({0xC0, 0xC1})
_TABLES, _RESTART_INTERVAL, _START_OF_SCAN, _END_OF_IMAGE, _FILL = 0xC4, 0xDD, 0xDA, 0xD9, 0xFF
_RESTARTS: Final = frozenset(bytes([marker]) for marker in range(0xD0, 0xD8))
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers that nothing belongs to."""
_OTHERS: Final = 16
"""Added to the numbers of tables for all numbers of a block but the first."""
_SIXTEEN_ZEROS: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What the header says: size, and (across, down, number) of each component."""

    rows: int
    columns: int
    components: tuple[tuple[int, int, int], ...]
    is_counted: bool


@dataclass(slots=True, kw_only=True)
class _State:
    """What was read before a scan."""

    frame: _Frame | None = None
    tables: dict[int, bytes] = field(default_factory=dict)
    interval: int = 0


def frame_size(data: bytes) -> tuple[int, int] | None:
    """Rows and columns that the header states, if it does."""
    state = _State()
    for marker, body, _ in _segments(data):
        _note(state, marker, body)
        if state.frame is not None:
            return state.frame.rows, state.frame.columns
    return None


def may_lack(data: bytes, samples: UInt8Array) -> bool:
    """Whether something about JPEG data, or about the (H, W, S) samples that came of them, asks for `holds_all`.

    A decoder that runs out of data leaves whole blocks at the middle level; long runs of one byte are no codes. To read
    the codes of every tile would take a third of the time of decoding it.
    """
    if bytes(RUN_BYTES) in data:
        return True
    return bool((samples[_BLOCK_PX // 2 :: _BLOCK_PX, _BLOCK_PX // 2 :: _BLOCK_PX] == MIDDLE_LEVEL).all(axis=2).any())


def holds_all(data: bytes, *, tables: bytes | None = None) -> bool:
    """Whether the data decode to the last pixel; True, too, where that is not counted.

    Parameters
    ----------
    data
        From the first marker of a JPEG picture on.
    tables
        JPEG data with the tables that the picture leaves out (``JPEGTables`` of TIFF).
    """
    state = _State()
    for marker, body, _ in _segments(tables or b""):
        _note(state, marker, body)
    at: int | None = 2
    n_seen = 0
    while at is not None:
        scan = None
        for marker, body, after in _segments(data, at):
            if marker == _START_OF_SCAN:
                scan = body, after
            else:
                _note(state, marker, body)
        if scan is None:
            return False
        if state.frame is None:
            return False
        if not state.frame.is_counted:
            return True
        at = _count_scan(state, scan[0], data, scan[1])
        n_seen += len(_pairs(scan[0]))
        if at is not None and n_seen >= len(state.frame.components):  # each is coded once; decoders look no further
            return True
    return False


def _segments(data: bytes, at: int = 2) -> Iterator[tuple[int, bytes, int]]:
    """Each marker up to the first scan with what belongs to it, and where that ends."""
    while at + 4 <= len(data) and data[at] == _FILL:
        marker = data[at + 1]
        if marker == _FILL:
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker == _END_OF_IMAGE:
            return
        else:
            after = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield marker, data[at + 4 : after], after
            if marker == _START_OF_SCAN:
                return
            at = after


def _note(state: _State, marker: int, body: bytes) -> None:
    """Keep what the scans need."""
    if marker in _START_OF_FRAME:
        parts = tuple((body[at + 1] >> 4, body[at + 1] & 15, body[at]) for at in range(6, len(body) - 2, 3))
        is_sound = len(parts) > 0 and all(across and down for across, down, _ in parts)
        state.frame = _Frame(
            rows=int.from_bytes(body[1:3], "big"),
            columns=int.from_bytes(body[3:5], "big"),
            components=parts,
            is_counted=marker in _COUNTED_FRAMES and is_sound and body[1:3] != b"\0\0",
        )
    elif marker == _RESTART_INTERVAL:
        state.interval = int.from_bytes(body[:2], "big")
    elif marker == _TABLES:
        at = 0
        while at + 17 <= len(body):
            end = at + 17 + sum(body[at + 1 : at + 17])
            state.tables[body[at]] = body[at + 1 : end]
            at = end


def _count_scan(state: _State, header: bytes, data: bytes, start: int) -> int | None:
    """Where the data of a scan end; None where they do not hold its units, or more."""
    frame = state.frame
    assert frame is not None
    chosen = [(number, tables >> 4, (tables & 15) | _OTHERS) for number, tables in _pairs(header)]
    sides = {number: (across, down) for across, down, number in frame.components}
    if not chosen or any(
        number not in sides or first not in state.tables or others not in state.tables
        for number, first, others in chosen
    ):
        return None
    alone = sides[chosen[0][0]] if len(chosen) == 1 else None
    used = sorted({table for _, *both in chosen for table in both})
    codes = [_codes(state.tables[table], is_first=table < _OTHERS) for table in used]
    blocks = [
        (used.index(first), used.index(others))
        for number, first, others in chosen
        for _ in range(1 if alone else sides[number][0] * sides[number][1])
    ]
    n_units = _units(frame, alone)
    stacked = tuple(np.stack(each) for each in zip(*codes, strict=True))
    interval = state.interval or n_units
    return _count(data, start, stacked, np.array(blocks, np.int32), n_units=n_units, interval=interval)


def _pairs(header: bytes) -> list[tuple[int, int]]:
    """Number and tables of each component of a scan."""
    return list(zip(header[1::2], header[2::2], strict=False))[: header[0]] if header else []


def _units(frame: _Frame, alone: tuple[int, int] | None) -> int:
    """How many units a scan has: of one component alone, with so many samples across and down, its blocks."""
    across = max(each[0] for each in frame.components)
    down = max(each[1] for each in frame.components)
    if alone is None:
        return -(-frame.columns // (8 * across)) * -(-frame.rows // (8 * down))
    columns, rows = -(-frame.columns * alone[0] // across), -(-frame.rows * alone[1] // down)
    return -(-columns // 8) * -(-rows // 8)


def _count(data: bytes, start: int, codes: Any, blocks: Int32Array, *, n_units: int, interval: int) -> int | None:
    """Where a scan of so many units ends; None where it lacks some, or holds more."""
    plain = np.frombuffer(data, np.uint8)
    n_seen, at = 0, start
    spare = SPARE_UNITS if interval >= n_units else min(SPARE_UNITS, interval - 1)  # of one unit each, none is spare
    while n_seen < n_units:
        wanted = min(interval, n_units - n_seen)
        n_whole, n_left, end = count_units(plain, codes, blocks, at, wanted)
        if n_left > SPARE_BYTES:
            n_whole, n_left, _ = count_units(plain[: _end_of_codes(data, at, end)], codes, blocks, at, wanted)
        if n_whole < wanted - spare or n_left > SPARE_BYTES:
            return None
        at = end
        n_seen += wanted
        while at + 1 < len(data) and data[at + 1] == _FILL:
            at += 1
        if n_seen < n_units:
            if data[at + 1 : at + 2] not in _RESTARTS:
                return None
            at += 2
    return at


def _end_of_codes(data: bytes, start: int, end: int) -> int:
    """Where the padding of a stretch begins: the units before it are counted, as zeros in place of data are codes."""
    return min(end, start + len(data[start:end].rstrip(PADDING)) + BYTES_OF_LAST_CODE)


@lru_cache(maxsize=64)
def _codes(table: bytes, is_first: bool) -> tuple[Int32Array, Int32Array, Int32Array]:
    """A table of codes as `count_units` reads it: how many there are of each length (16 bytes), then the symbols.

    A code of the first number of a block says how many bits follow; one of the others also how many numbers are 0.
    """
    looked, steps = np.zeros(1 << LOOK_BITS, np.int32), np.zeros(256, np.int32)
    ends = np.zeros((MAX_BITS + 1, 2), np.int32)
    code = n_before = 0
    for length in range(1, MAX_BITS + 1):
        symbols = table[16 + n_before :][: table[length - 1]]
        ends[length] = code + len(symbols), n_before - code
        for symbol in symbols:
            n_more, n_zeros = symbol & 15, symbol >> 4
            is_last = not is_first and not n_more and n_zeros != _SIXTEEN_ZEROS
            n_steps = 1 if is_first else TO_THE_END if is_last else n_zeros + 1
            taken = (n_steps << 8) | (length + n_more)
            steps[n_before & 255] = taken
            if length <= LOOK_BITS:
                looked[code << (LOOK_BITS - length) : (code + 1) << (LOOK_BITS - length)] = taken
            code += 1
            n_before += 1
        code <<= 1
    return looked, ends, steps
