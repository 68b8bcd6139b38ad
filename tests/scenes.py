"""Painted scenes for tests: plain shapes in known stain densities, on white glass."""

import numpy as np

from pdl1quant.model import StainEstimate, StainOD

WHITE = (245.0, 245.0, 245.0)
HAEMATOXYLIN = np.array([0.650, 0.704, 0.286]) / np.linalg.norm([0.650, 0.704, 0.286])
DAB = np.array([0.268, 0.570, 0.776]) / np.linalg.norm([0.268, 0.570, 0.776])
ESTIMATE = StainEstimate(
    white=WHITE,
    haematoxylin=tuple(HAEMATOXYLIN),
    dab=tuple(DAB),
    nucleus_od=0.15,
    white_source="given",
    vectors_source="fixed",
)
"""The textbook stains."""


def paint_rgb(haematoxylin=0.0, dab=0.0, black=0.0, *, shape=None, estimate=ESTIMATE):
    """RGB (H, W, 3) uint8 of stain densities, each (H, W) or a number; ``black`` is the OD of every channel."""
    planes = np.broadcast_arrays(haematoxylin, dab, black, *([] if shape is None else [np.zeros(shape)]))
    od = planes[0][..., None] * np.asarray(estimate.haematoxylin) + planes[1][..., None] * np.asarray(estimate.dab)
    light = np.asarray(estimate.white) * 10.0 ** -(od + planes[2][..., None])
    return np.rint(np.clip(light, 0, 255)).astype(np.uint8)


def plain_od(haematoxylin=0.0, dab=0.0, residual=0.0, *, shape=None):
    """``StainOD`` float32 of densities, each (H, W) or a number."""
    planes = np.broadcast_arrays(haematoxylin, dab, residual, *([] if shape is None else [np.zeros(shape)]))
    return StainOD(
        **dict(zip(("haematoxylin", "dab", "residual"), (p.astype(np.float32) for p in planes[:3]), strict=True))
    )


def ellipse(shape, centre, radii, *, angle_deg=0.0):
    """(H, W) bool: the inside of an ellipse; ``centre`` and ``radii`` are (x, y) in px."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    turn = np.deg2rad(angle_deg)
    along = (x - centre[0]) * np.cos(turn) + (y - centre[1]) * np.sin(turn)
    across = (y - centre[1]) * np.cos(turn) - (x - centre[0]) * np.sin(turn)
    return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1


def disc(shape, centre, radius):
    """(H, W) bool: the inside of a circle."""
    return ellipse(shape, centre, (radius, radius))


def labels_of(*masks):
    """(H, W) int32: the first mask is label 1, and so on."""
    labels = np.zeros(masks[0].shape, np.int32)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    return labels


def check_labels(labels, shape):
    """(H, W) int32, labels exactly 1..n."""
    assert labels.shape == shape
    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, labels.max(initial=0) + 1))
