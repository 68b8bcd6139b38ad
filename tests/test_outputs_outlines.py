from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pdl1quant.outputs.outlines import simple_rings, trace_outlines


def rings(labels):
    found = trace_outlines(labels)
    pieces = zip(found.starts[:-1], found.starts[1:], strict=True)
    return dict(
        zip(
            found.labels.tolist(),
            [np.column_stack([found.x_px[a:b], found.y_px[a:b]]).tolist() for a, b in pieces],
            strict=True,
        )
    )


def test_pixel_is_a_unit_square_from_corner_to_corner():
    labels = np.zeros((3, 4), np.int32)
    labels[0, 0] = 5
    labels[1, 2] = 2
    assert rings(labels) == {2: [[2, 1], [3, 1], [3, 2], [2, 2]], 5: [[0, 0], [1, 0], [1, 1], [0, 1]]}


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (5, 7)])
def test_blank_image_has_no_outlines(shape):
    assert rings(np.zeros(shape, np.int32)) == {}


def test_image_of_one_label_is_a_rectangle():
    assert rings(np.ones((5, 7), np.int32)) == {1: [[0, 0], [7, 0], [7, 5], [0, 5]]}


def test_hole_is_not_outlined():
    labels = np.ones((5, 5), np.int32)
    labels[2, 2] = 0
    assert rings(labels) == {1: [[0, 0], [5, 0], [5, 5], [0, 5]]}


@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)))
def test_area_inside_is_that_of_the_largest_part_with_its_holes(labels):
    found = rings(labels)
    assert sorted(found) == [label for label in np.unique(labels).tolist() if label]
    for label, corners in found.items():
        parts, _ = ndimage.label(labels == label)
        # A hole lets no background in by its sides, nor out by a corner.
        sizes = [
            ndimage.binary_fill_holes(parts == number, np.ones((3, 3))).sum() for number in range(1, parts.max() + 1)
        ]
        assert abs(shapely.Polygon(corners).area) == max(sizes)


def test_many_cells_at_once_keep_their_area():
    y, x = np.mgrid[:300, :300]
    labels = ((y // 10) * 30 + x // 10 + 1).astype(np.int32)
    labels[(y % 10 - 5) ** 2 + (x % 10 - 5) ** 2 > 20] = 0
    found = trace_outlines(labels)
    assert found.labels.tolist() == list(range(1, 901))
    areas = [shapely.Polygon(corners).area for corners in rings(labels).values()]
    assert areas == np.bincount(labels.ravel())[1:].tolist()


def simplified(labels):
    """Polygon of each label with few corners, and whether it may touch itself."""
    traced = trace_outlines(labels)
    found = simple_rings(traced)
    pieces = zip(found.starts[:-1], found.starts[1:], strict=True)
    polygons = [shapely.Polygon(np.column_stack([found.x_px[a:b], found.y_px[a:b]])) for a, b in pieces]
    return traced.labels.tolist(), polygons, found.doubtful.tolist()


@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 2)))
def test_simplified_outline_stays_within_a_pixel_and_is_valid_unless_said(labels):
    exact = rings(labels)
    for label, polygon, doubtful in zip(*simplified(labels), strict=True):
        assert polygon.is_valid or doubtful
        assert shapely.hausdorff_distance(polygon.exterior, shapely.Polygon(exact[label]).exterior) <= 1


def test_simplified_outlines_of_round_cells_keep_their_area_with_a_third_of_the_corners():
    y, x = np.mgrid[:300, :300]
    labels = ((y // 20) * 15 + x // 20 + 1).astype(np.int32)
    labels[np.hypot(y % 20 - 9.5, x % 20 - 9.5) > 8] = 0
    _, polygons, _ = simplified(labels)
    areas = np.array([polygon.area for polygon in polygons])
    assert areas == pytest.approx(np.bincount(labels.ravel())[1:], rel=0.03)
    n_corners = sum(len(corners) for corners in rings(labels).values())
    assert sum(len(polygon.exterior.coords) - 1 for polygon in polygons) <= n_corners / 3
