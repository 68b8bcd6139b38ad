"""Nuclei by rules: one label a nucleus, blue, pale, vesicular or under brown; nothing in white."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

from pdl1quant.config import NucleiConfig, StainsConfig
from pdl1quant.model import Tile
from pdl1quant.stages.nuclei import nucleus_signal, segment_nuclei
from pdl1quant.stages.stains import deconvolve, estimate_stains, sample_stains
from pdl1quant.validation.detection import f1_score, match_points
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from scenes import ESTIMATE, check_labels, disc, ellipse, paint_rgb

CONFIG = NucleiConfig()
SHAPE = (96, 96)


def soft(mask, od, sigma_px=0.7):
    """A shape as a lens draws it."""
    return cv2.GaussianBlur(mask.astype(np.float32) * np.float32(od), (0, 0), sigma_px)


def find(rgb, *, mpp=0.5, config=CONFIG, estimate=ESTIMATE):
    tile = Tile.whole(rgb, mpp)
    return segment_nuclei(tile, deconvolve(tile.rgb, estimate), estimate=estimate, config=config).nuclei


def centres(labels):
    y, x = np.nonzero(labels)
    label = labels[y, x]
    n = labels.max()
    area = np.bincount(label, minlength=n + 1)[1:]
    return np.stack([np.bincount(label, weights=v, minlength=n + 1)[1:] / area for v in (x, y)], axis=1)


@pytest.fixture(scope="module")
def phantom():
    return render_phantom(PhantomSettings(size_px=256), seed=2)


# --- the contract ----------------------------------------------------------------------------------------------------
@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 70), st.integers(1, 70))
def test_any_size_has_labels_one_to_n(seed, height, width):
    rgb = np.random.default_rng(seed).integers(60, 256, (height, width, 3)).astype(np.uint8)
    check_labels(find(rgb), (height, width))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_plain_tile_has_no_nuclei(value):
    assert find(np.full((50, 60, 3), value, np.uint8)).max() == 0


def test_input_is_unchanged_and_the_output_repeats(phantom):
    tile = Tile.whole(phantom.rgb, 0.5)
    od = deconvolve(tile.rgb, ESTIMATE)
    before = [phantom.rgb.copy(), od.haematoxylin.copy(), od.dab.copy(), od.residual.copy()]
    one, other = (segment_nuclei(tile, od, estimate=ESTIMATE, config=CONFIG).nuclei for _ in range(2))
    assert np.array_equal(one, other)
    for old, new in zip(before, (phantom.rgb, od.haematoxylin, od.dab, od.residual), strict=True):
        assert np.array_equal(old, new)


def test_each_label_is_one_piece(phantom):
    labels = find(phantom.rgb)
    pieces = [label(labels == k, np.ones((3, 3)))[1] for k in range(1, labels.max() + 1)]
    assert max(pieces) == 1


def test_areas_lie_within_the_settings(phantom):
    config = NucleiConfig(min_area_um2=20, max_area_um2=60)
    area = np.bincount(find(phantom.rgb, config=config).ravel())[1:] * 0.25
    assert len(area) > 10
    assert area.min() >= 20
    assert area.max() <= 60


# --- one nucleus, one label ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("od", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("radius", [5, 8, 11])
def test_single_nucleus_is_found_in_place_and_size(od, radius):
    """The rim lies low on the edge of a dark nucleus, smoothed by 1.5 px: up to 1.75 px outside, never far inside."""
    mask = disc(SHAPE, (47, 50), radius)
    labels = find(paint_rgb(soft(mask, od)))
    assert labels.max() == 1
    assert np.abs(centres(labels)[0] - (47, 50)).max() < 0.6
    assert radius - 0.75 <= np.sqrt((labels > 0).sum() / np.pi) <= radius + 1.75


@pytest.mark.parametrize("angle", [0, 30, 45, 90])
def test_touching_discs_are_split(angle):
    step = 9 * np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    one, other = disc(SHAPE, 48 - step, 9), disc(SHAPE, 48 + step, 9)
    labels = find(paint_rgb(soft(one | other, 0.5)))
    assert labels.max() == 2
    assert np.abs(np.sort(centres(labels), axis=0) - np.sort([48 - step, 48 + step], axis=0)).max() < 2


@pytest.mark.parametrize("angle", [0, 20, 45, 70, 90])
@pytest.mark.parametrize("radii", [(14, 6), (16, 7), (20, 8)])
def test_elongated_ellipse_is_not_split(radii, angle):
    assert find(paint_rgb(soft(ellipse(SHAPE, (48, 48), radii, angle_deg=angle), 0.5))).max() == 1


def test_pale_vesicular_nucleus_is_one():
    """A dark rim and a nucleolus in an empty-looking nucleus."""
    nucleus, inner = disc(SHAPE, (48, 48), 10), disc(SHAPE, (48, 48), 8)
    chromatin = np.where(inner, 0.14, 0.35) * nucleus + 0.3 * disc(SHAPE, (50, 46), 2)
    labels = find(paint_rgb(soft(chromatin, 1.0) + 0.02))
    assert labels.max() == 1
    assert labels[48, 48] == 1
    assert (labels > 0).sum() > 0.7 * nucleus.sum()


def test_grainy_chromatin_does_not_split_a_nucleus():
    rng = np.random.default_rng(0)
    grain = soft(rng.random(SHAPE) < 0.1, 4.0, 1.2)
    labels = find(paint_rgb(soft(disc(SHAPE, (48, 48), 11), 0.3) * (0.7 + grain)))
    assert labels.max() == 1


@pytest.mark.parametrize("brown", [0.3, 0.6, 0.9])
def test_nucleus_in_a_brown_cell_is_found(brown):
    """Brown cytoplasm around it, and a quarter of that over it."""
    nucleus, cell = disc(SHAPE, (48, 48), 8), disc(SHAPE, (48, 48), 18)
    dab = soft(np.where(nucleus, 0.25, 1.0) * cell, brown)
    labels = find(paint_rgb(soft(nucleus, 0.4), dab))
    assert labels.max() == 1
    assert np.abs(centres(labels)[0] - 48).max() < 1.5


def test_brown_alone_is_no_nucleus():
    assert find(paint_rgb(0.0, soft(disc(SHAPE, (48, 48), 12), 0.8))).max() == 0


def test_white_lumen_has_no_nucleus(phantom):
    """A brown ring of cytoplasm about an empty lumen of the size of a nucleus, and the phantom's own glass."""
    ring = disc(SHAPE, (48, 48), 24) & ~disc(SHAPE, (48, 48), 10)
    assert find(paint_rgb(soft(0.04 * ring, 1.0), soft(ring, 0.6)))[38:59, 38:59].max() == 0
    labels = find(phantom.rgb)
    glass = phantom.od.haematoxylin + phantom.od.dab < 0.005
    xy = np.rint(centres(labels)).astype(int)
    assert not glass[xy[:, 1], xy[:, 0]].any()


def test_carbon_is_no_nucleus():
    assert find(paint_rgb(black=soft(disc(SHAPE, (48, 48), 9), 1.0))).max() == 0


@pytest.mark.parametrize("signal", ["haematoxylin", "od_sum"])
def test_brown_nuclei_count_with_the_summed_signal_only(signal):
    blue, brown = soft(disc(SHAPE, (25, 48), 8), 0.5), soft(disc(SHAPE, (70, 48), 8), 0.6)
    labels = find(paint_rgb(blue, brown), config=NucleiConfig(signal=signal))
    assert labels[48, 25] > 0
    assert (labels[48, 70] > 0) == (signal == "od_sum")


def test_signal_lies_between_zero_and_its_cap(phantom):
    od = deconvolve(phantom.rgb, ESTIMATE)
    for name in ("haematoxylin", "od_sum"):
        signal = nucleus_signal(od, name=name, mpp=0.5)
        assert signal.dtype == np.float32
        assert signal.min() >= 0
        assert signal.max() <= np.float32(0.4)


# --- fields ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("changes", [{}, {"pattern": "membrane"}, {"dab_od": 0.9}, {"haematoxylin_od": 0.3}])
def test_nuclei_of_phantoms_are_found(changes):
    phantom = render_phantom(PhantomSettings(size_px=256, **changes), seed=5)
    estimate = estimate_stains([sample_stains(phantom.rgb)], config=StainsConfig())
    found = centres(find(phantom.rgb, estimate=estimate))
    matches = match_points(phantom.cells[["x_px", "y_px"]].to_numpy(), found, max_distance=6.0)
    assert f1_score(matches) > 0.85


def test_finer_pixels_find_the_same_nuclei():
    one, other = disc(SHAPE, (30, 48), 9), ellipse(SHAPE, (66, 48), (12, 6), angle_deg=40)
    rgb = paint_rgb(soft(one | other, 0.5))
    fine = find(rgb.repeat(2, 0).repeat(2, 1), mpp=0.25)
    coarse = find(rgb)
    assert fine.max() == coarse.max() == 2
    assert np.abs(centres(fine) / 2 - 0.25 + 0.5 - centres(coarse) - 0.25).max() < 0.75
