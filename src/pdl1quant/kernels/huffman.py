"""How many units of a JPEG picture its compressed data hold: the codes are read, no pixel is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from pdl1quant.model import Int32Array, UInt8Array

LOOK_BITS = 10
"""Codes of up to so many bits are looked up; longer ones are rare."""
MAX_BITS = 16
"""No code is longer."""


BLOCK = 64
"""So many numbers a block has."""
TO_THE_END = 128
"""More steps than that: nothing follows in the block."""


@compiled
def _is_end(data: UInt8Array, at: int) -> bool:
    """Whether a marker begins there, or nothing is left."""
    return at >= data.size or (data[at] == 255 and (at + 1 >= data.size or data[at + 1] != 0))


@compiled
def _look_up(codes: tuple[Int32Array, Int32Array, Int32Array], table: int, next_bits: int) -> int:
    """Steps * 256 + bits of the code that the next 16 bits begin with; 0 for none."""
    looked, ends, steps = codes
    found = looked[table, next_bits >> (MAX_BITS - LOOK_BITS)]
    if found != 0:
        return int(found)
    length = LOOK_BITS + 1
    while length <= MAX_BITS and (next_bits >> (MAX_BITS - length)) >= ends[table, length, 0]:
        length += 1
    if length > MAX_BITS:
        return 0
    return int(steps[table, ((next_bits >> (MAX_BITS - length)) + ends[table, length, 1]) & 255])


@compiled
def count_units(
    data: UInt8Array, codes: tuple[Int32Array, Int32Array, Int32Array], blocks: Int32Array, start: int, most: int
) -> tuple[int, int, int]:
    """Read the codes of one stretch of data, up to its end or a marker, as far as they make sense.

    Parameters
    ----------
    data
        The bytes of the picture.
    codes
        Of each table: (tables, 1024) by the next bits, steps * 256 + bits that a code takes with what follows it, 0 for
        longer codes; (tables, 17, 2) the code after the last one of each length, and what leads from a code to its
        place in the next; (tables, 256) the same as the first, of each code.
    blocks
        (n, 2): the tables of the first and of the other numbers of each block of a unit.
    start
        Where the stretch begins.
    most
        So many units are to be read.

    Returns
    -------
    tuple of int
        How many units are whole, how many bytes lie between the last code and the marker, and where that is.
    """
    at, buffer, n_held, n_beyond = start, np.uint64(0), 0, 0
    n_whole, is_sound = 0, True
    while n_whole < most and is_sound:
        for block in range(blocks.shape[0]):
            table, k = blocks[block, 0], 0
            while k < BLOCK and is_sound:
                while n_held <= 32:  # a code and what follows it take 31 at most
                    byte = 0
                    if _is_end(data, at):
                        n_beyond += 8  # zeros follow the end
                    else:
                        byte = data[at]
                        at += 2 if byte == 255 else 1
                    buffer = (buffer << np.uint64(8)) | np.uint64(byte)
                    n_held += 8
                found = _look_up(codes, table, int((buffer >> np.uint64(n_held - MAX_BITS)) & np.uint64(0xFFFF)))
                is_sound = found != 0
                n_held -= found & 255
                k += found >> 8
                table = blocks[block, 1]
            is_sound = is_sound and (k == BLOCK or k >= TO_THE_END)
        is_sound = is_sound and n_beyond <= n_held
        n_whole += is_sound
    n_left = max(0, n_held - n_beyond) // 8
    first = at
    while not _is_end(data, at):
        at += 1
    return n_whole, n_left + at - first, at
