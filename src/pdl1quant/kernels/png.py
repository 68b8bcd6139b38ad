"""What a PNG file holds of pixels: rows less their prediction, and bytes as the symbols of DEFLATE (RFC 1951).

The only repeats that are looked for are zeros, by words of eight: of filtered pictures of tissue little else repeats,
and the search for it is what takes a general compressor its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.kernels.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pdl1quant.model import Int64Array, UInt8Array

N_SYMBOLS = 286
"""Bytes 0 to 255, the end of the block, and lengths of repeats."""
END = 256
_WORD_BYTES = 8
_PIXEL = 3
_FIRST_LENGTH, _LEAST, _LONGEST = 257, 3, 258


@compiled
def subtract_paeth(rows: UInt8Array, out: UInt8Array) -> None:
    """Each byte (H, W) less its prediction from the pixels to the left, above, and above to the left (filter "Paeth").

    Pixels are three bytes; beyond the picture all are 0.
    """
    zeros = np.zeros(rows.shape[1], np.uint8)
    for y in range(rows.shape[0]):
        above = rows[y - 1] if y else zeros
        out[y, :_PIXEL] = rows[y, :_PIXEL] - above[:_PIXEL]
        _subtract_paeth(rows[y, _PIXEL:], rows[y, :-_PIXEL], above[_PIXEL:], above[:-_PIXEL], out[y, _PIXEL:])


@compiled
def _subtract_paeth(row: UInt8Array, left: UInt8Array, above: UInt8Array, corner: UInt8Array, out: UInt8Array) -> None:
    for x in range(out.size):  # without a branch, so that it is done for many bytes at once
        a, b, c = np.int64(left[x]), np.int64(above[x]), np.int64(corner[x])
        from_left, from_above, from_corner = abs(b - c), abs(a - c), abs(a + b - 2 * c)
        other = b if from_above <= from_corner else c
        nearest = a if (from_left <= from_above) & (from_left <= from_corner) else other
        out[x] = np.uint8(row[x] - nearest)


@compiled
def count_symbols(data: UInt8Array) -> Int64Array:
    """How often `write_symbols` is going to write each symbol; (4, N_SYMBOLS), to be added up."""
    counts = np.zeros((4, N_SYMBOLS), np.int64)  # one would wait for the byte before
    counts[0, END] = 1
    words, tail = _in_words(data)
    for byte in tail:
        counts[0, byte] += 1
    at = 0
    while at < words.size:
        word = words[at]
        at += 1
        if word == 0:
            start = at - 1
            while at < words.size and words[at] == 0:
                at += 1
            n_long, rest = divmod(_WORD_BYTES * (at - start) - 1, _LONGEST)
            counts[0, 0] += 1 if rest >= _LEAST else 1 + rest
            counts[0, N_SYMBOLS - 1] += n_long
            if rest >= _LEAST:
                counts[0, _length_symbol(rest)[0]] += 1
        else:
            for pair in range(4):
                counts[pair, word & np.uint64(255)] += 1
                counts[pair, word >> np.uint64(8) & np.uint64(255)] += 1
                word >>= np.uint64(16)
    return counts


@compiled
def write_symbols(data: UInt8Array, codes: NDArray[np.uint64], out: NDArray[np.uint32], first: int) -> int:
    """Write all symbols and the end into zeroed words from bit ``first`` on; returns the bit behind them.

    Zeros that follow a zero are written as a repeat of it. ``codes`` (N_SYMBOLS, 2): the bits of each, the first one
    lowest, and how many. The bit behind a repeat is its distance, which is always one.
    """
    to, bits, n_bits = first >> 5, np.uint64(out[first >> 5]), np.uint64(first & 31)
    words, tail = _in_words(data)
    at = 0
    while at < words.size:
        word = words[at]
        at += 1
        if word == 0:
            start = at - 1
            while at < words.size and words[at] == 0:
                at += 1
            n_long, rest = divmod(_WORD_BYTES * (at - start) - 1, _LONGEST)
            for _ in range(1 if rest >= _LEAST else 1 + rest):
                to, bits, n_bits = _put(out, to, bits, n_bits, codes[0, 0], codes[0, 1])
            for _ in range(n_long):
                code, length = codes[N_SYMBOLS - 1, 0], codes[N_SYMBOLS - 1, 1] + np.uint64(1)
                to, bits, n_bits = _put(out, to, bits, n_bits, code, length)
            if rest >= _LEAST:
                symbol, extra, n_extra = _length_symbol(rest)
                code = codes[symbol, 0] | np.uint64(extra) << codes[symbol, 1]
                length = codes[symbol, 1] + np.uint64(n_extra + 1)
                to, bits, n_bits = _put(out, to, bits, n_bits, code, length)
        else:
            for _ in range(4):
                low, high = word & np.uint64(255), word >> np.uint64(8) & np.uint64(255)
                code, length = codes[low, 0] | codes[high, 0] << codes[low, 1], codes[low, 1] + codes[high, 1]
                to, bits, n_bits = _put(out, to, bits, n_bits, code, length)
                word >>= np.uint64(16)
    for byte in tail:
        to, bits, n_bits = _put(out, to, bits, n_bits, codes[byte, 0], codes[byte, 1])
    to, bits, n_bits = _put(out, to, bits, n_bits, codes[END, 0], codes[END, 1])
    out[to] = np.uint32(bits)
    return 32 * to + int(n_bits)


@compiled
def _in_words(data: UInt8Array) -> tuple[NDArray[np.uint64], UInt8Array]:
    """Whole words, and the bytes that are left behind them."""
    n = data.size // _WORD_BYTES * _WORD_BYTES
    return data[:n].view(np.uint64), data[n:]


@compiled
def _put(
    out: NDArray[np.uint32], to: int, bits: np.uint64, n_bits: np.uint64, code: np.uint64, length: np.uint64
) -> tuple[int, np.uint64, np.uint64]:
    """Add up to 32 bits to fewer than 32 that wait; the word that they fill is written."""
    bits |= code << n_bits
    n_bits += length
    out[to] = np.uint32(bits & np.uint64(0xFFFFFFFF))
    is_full = n_bits >> np.uint64(5)
    return to + int(is_full), bits >> (is_full << np.uint64(5)), n_bits & np.uint64(31)


@compiled
def _length_symbol(length: int) -> tuple[int, int, int]:
    """Symbol of a repeat of 3 to 257 bytes, what is added to it, and in how many bits."""
    short = length - _LEAST
    n_extra = 0
    while short >> (n_extra + 3):
        n_extra += 1
    return _FIRST_LENGTH + 4 * n_extra + (short >> n_extra), short & ((1 << n_extra) - 1), n_extra
