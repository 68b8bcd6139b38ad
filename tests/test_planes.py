"""Planes: memory is used again when, and only when, nobody holds it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from pdl1quant.planes import MAX_BYTES, MAX_KEPT_BYTES, give_back, like, plane

SHAPE = (300, 217)


def place(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_by_an_array_of_any_type_once_the_last_view_is_gone():
    first = plane(SHAPE, np.int32)
    held, where = first[3:7].ravel().view(np.float32), place(first)
    del first
    assert place(plane(SHAPE, np.float32)) != where
    del held
    assert place(plane(SHAPE, np.float32)) == where


def test_two_planes_at_a_time_share_nothing():
    planes = [plane(SHAPE, np.float32) for _ in range(4)]
    for number, each in enumerate(planes):
        each.fill(number)
    assert [each.max() for each in planes] == [each.min() for each in planes] == [0, 1, 2, 3]


def test_what_is_too_much_to_keep_takes_nothing_of_its_size_with_it():
    side_px = 2000
    n_kept = MAX_KEPT_BYTES // (side_px * side_px * 4) - 1  # sizes are rounded up
    held = [plane((side_px, side_px), np.float32) for _ in range(2 * n_kept)]
    while held:
        held.pop()
    tracemalloc.start()
    try:
        again = [plane((side_px, side_px), np.float32) for _ in range(n_kept)]
        n_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    del again
    give_back()
    assert n_bytes < side_px * side_px  # none was made anew


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), SHAPE, (MAX_BYTES + 1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float32])
def test_a_plane_is_a_plain_array(shape, dtype):
    array = plane(shape, dtype)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert like(array, np.int16).shape == shape
    assert like(array).dtype == array.dtype
