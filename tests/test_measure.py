"""Measurements of all labels at once, against a plain loop over the labels."""

import cv2
import numpy as np
import pandas as pd
import pytest

from pdl1quant.config import CellsConfig, StainsConfig
from pdl1quant.model import CELL_COLUMNS, MEMBRANE_SECTORS, Rect, Segmentation, StainOD, Tile
from pdl1quant.stages.cells import grow_cells
from pdl1quant.stages.measure import empty_cells, measure_cells
from pdl1quant.stages.stains import deconvolve, estimate_stains, sample_stains
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from scenes import disc, ellipse, labels_of, paint_rgb, plain_od

PIGMENT_RESIDUAL_OD = 0.1
T1 = 0.2


def measured(tile, od, nuclei):
    parts = grow_cells(Segmentation(nuclei=nuclei), od, mpp=tile.mpp, config=CellsConfig())
    return measure_cells(tile, od, parts, stains=StainsConfig(), t1=T1, pigment_residual_od=PIGMENT_RESIDUAL_OD), parts


def painted(nuclei, *, mpp=0.5, rgb=None, **od):
    tile = Tile.whole(paint_rgb(shape=nuclei.shape) if rgb is None else rgb, mpp)
    return measured(tile, plain_od(**od, shape=nuclei.shape), nuclei)


@pytest.fixture(scope="module")
def field():
    phantom = render_phantom(PhantomSettings(size_px=160, pigment_share=0.03), seed=6)
    estimate = estimate_stains([sample_stains(phantom.rgb)], config=StainsConfig())
    tile = Tile.whole(phantom.rgb, 0.5)
    od = deconvolve(tile.rgb, estimate)
    table, parts = measured(tile, od, phantom.nucleus)
    return tile, od, parts, table.cells, table.membrane


def in_loop(tile, od, parts):
    """One cell after the other, as anyone would write it."""
    um2 = tile.mpp**2
    for k in range(1, parts.n_cells + 1):
        nucleus, cell = parts.nucleus == k, parts.cell == k
        cytoplasm, membrane = parts.cytoplasm == k, parts.membrane == k
        y, x = np.nonzero(nucleus)
        membrane_dab = float(od.dab[membrane].mean()) if membrane.any() else 0.0
        yield {
            "label": k,
            "x_px": x.mean(),
            "y_px": y.mean(),
            "nucleus_area_um2": nucleus.sum() * um2,
            "cell_area_um2": cell.sum() * um2,
            "cytoplasm_area_um2": cytoplasm.sum() * um2,
            "membrane_area_um2": membrane.sum() * um2,
            "dab_area_um2": ((od.dab >= np.float32(T1)) & (od.residual < PIGMENT_RESIDUAL_OD) & cell).sum() * um2,
            "nucleus_haematoxylin_od_mean": od.haematoxylin[nucleus].mean(),
            "nucleus_haematoxylin_od_sd": od.haematoxylin[nucleus].astype(float).std(),
            "nucleus_dab_od_mean": od.dab[nucleus].mean(),
            "cytoplasm_haematoxylin_od_mean": od.haematoxylin[cytoplasm].mean() if cytoplasm.any() else 0.0,
            "cytoplasm_dab_od_mean": od.dab[cytoplasm].mean() if cytoplasm.any() else membrane_dab,
            "membrane_dab_od_mean": membrane_dab,
            "cell_dab_od_mean": od.dab[cell].mean(),
            "cell_residual_od_mean": od.residual[cell].mean(),
            "saturated_share": (tile.rgb[cell].min(axis=1) <= StainsConfig().saturated_level).mean(),
            "pigment_share": (od.residual[cell] >= PIGMENT_RESIDUAL_OD).mean(),
        }


def test_table_agrees_with_a_plain_loop(field):
    """Float32 columns, summed in double: a relative 1e-5, and 1e-3 OD for a standard deviation from squares."""
    tile, od, parts, cells, _ = field
    expected = pd.DataFrame(in_loop(tile, od, parts))
    assert len(cells) == len(expected) > 20
    for name in expected:
        tolerance = 1e-3 if name.endswith("_sd") else 1e-5
        assert np.allclose(cells[name], expected[name], rtol=1e-5, atol=tolerance), name


def test_neighbourhood_agrees_with_a_plain_loop(field):
    cells = field[3]
    xy = cells[["x_px", "y_px"]].to_numpy() * 0.5
    apart = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    assert np.allclose(cells["neighbour_distance_um"], apart.min(axis=1), rtol=1e-5)
    assert np.array_equal(cells["neighbours_25um"], (apart <= 25).sum(axis=1))


def test_table_follows_the_schema(field):
    for table in (field[3], empty_cells()):
        assert list(table.columns) == [column.name for column in CELL_COLUMNS]
        assert [str(dtype) for dtype in table.dtypes] == [column.dtype for column in CELL_COLUMNS]


def test_nothing_found_is_a_table_without_rows():
    table, _ = painted(np.zeros((9, 7), np.int32))
    pd.testing.assert_frame_equal(table.cells, empty_cells())
    assert table.membrane.dab_od.shape == (0, MEMBRANE_SECTORS)
    assert len(empty_cells()) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2), (5, 1)])
def test_tiny_tiles_are_measured(shape):
    table, _ = painted(np.ones(shape, np.int32), haematoxylin=0.4, dab=0.1)
    assert len(table.cells) == 1
    assert table.cells["nucleus_area_um2"][0] == shape[0] * shape[1] * 0.25
    assert table.cells["neighbours_25um"][0] == 0
    assert table.cells["cytoplasm_area_um2"][0] == 0


@pytest.mark.parametrize(("downsample", "x_px"), [(1.0, 100.0), (2.0, 100.0), (0.5, 7.0)])
def test_centroid_is_told_in_pixels_of_the_input(downsample, x_px):
    """The centre of the first tile pixel lies in the middle of the input pixels that it covers."""
    nuclei = labels_of(ellipse((40, 50), (20, 10), (5, 4)))
    tile = Tile(
        rgb=paint_rgb(shape=(40, 50)),
        mpp=0.5,
        core=Rect(x0=0, y0=0, x1=50, y1=40),
        x_px=x_px,
        y_px=3.0,
        downsample_x=downsample,
        downsample_y=downsample,
    )
    table, _ = measured(tile, plain_od(shape=(40, 50)), nuclei)
    assert table.cells["x_px"][0] == pytest.approx(x_px + 20.5 * downsample - 0.5)
    assert table.cells["y_px"][0] == pytest.approx(3.0 + 10.5 * downsample - 0.5)


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_axes_of_a_nucleus_are_in_um(mpp):
    nuclei = labels_of(ellipse((60, 80), (40, 30), (16, 8), angle_deg=25))
    table, _ = painted(nuclei, mpp=mpp)
    assert table.cells["nucleus_length_um"][0] == pytest.approx(32 * mpp, rel=0.03)
    assert table.cells["nucleus_width_um"][0] == pytest.approx(16 * mpp, rel=0.03)
    assert table.cells["nucleus_regularity"][0] > 0.97


def test_blurred_nucleus_is_less_sharp():
    mask = disc((60, 60), (30, 30), 9)
    sharpness = []
    for sigma in (0.7, 1.5, 3.0, 6.0):
        blue = cv2.GaussianBlur(mask.astype(np.float32) * 0.5, (0, 0), sigma)
        table, _ = painted(labels_of(mask), haematoxylin=blue)
        sharpness.append(float(table.cells["nucleus_sharpness_od"][0]))
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] > 3 * sharpness[-1]


def test_out_of_focus_part_of_a_phantom_is_less_sharp():
    phantom = render_phantom(PhantomSettings(size_px=256, out_of_focus_share=0.4, defocus_um=3.0), seed=2)
    tile = Tile.whole(phantom.rgb, 0.5)
    od = deconvolve(tile.rgb, estimate_stains([sample_stains(tile.rgb)], config=StainsConfig()))
    sharpness = measured(tile, od, phantom.nucleus)[0].cells["nucleus_sharpness_od"]
    lost = phantom.cells["out_of_focus"].to_numpy()
    assert lost.any()
    assert np.median(sharpness[lost]) < 0.6 * np.median(sharpness[~lost])


# --- membrane profile ------------------------------------------------------------------------------------------------
def test_profile_holds_the_whole_band(field):
    _, _, parts, _, membrane = field
    band = np.bincount(parts.membrane.ravel(), minlength=parts.n_cells + 1)[1:]
    assert np.array_equal(membrane.weight.sum(axis=1), band)
    assert membrane.dab_od[membrane.weight == 0].max(initial=0) == 0


def test_profile_tells_on_which_side_the_brown_lies():
    nuclei = labels_of(disc((60, 60), (30, 30), 9))
    dab = np.where(np.mgrid[:60, :60][1] > 30, 0.5, 0.0)
    _, parts = painted(nuclei)
    profile = measure_cells(
        Tile.whole(paint_rgb(shape=(60, 60)), 0.5), plain_od(0.0, dab), parts, stains=StainsConfig(),
        t1=T1, pigment_residual_od=PIGMENT_RESIDUAL_OD,
    ).membrane  # fmt: skip
    sectors = profile.dab_od[0]
    right = np.abs(np.arange(MEMBRANE_SECTORS) + 0.5 - MEMBRANE_SECTORS / 2) > MEMBRANE_SECTORS / 4 + 1
    left = np.abs(np.arange(MEMBRANE_SECTORS) + 0.5 - MEMBRANE_SECTORS / 2) < MEMBRANE_SECTORS / 4 - 1
    assert sectors[right].min() > 0.45
    assert sectors[left].max() < 0.05


def test_profile_names_the_touching_neighbour_only():
    shape = (60, 120)
    nuclei = labels_of(disc(shape, (25, 30), 8), disc(shape, (45, 30), 8), disc(shape, (105, 30), 8))
    table, _ = painted(nuclei)
    seen = [set(row[row >= 0].tolist()) for row in table.membrane.neighbour]
    assert seen == [{1}, {0}, set()]


def test_measuring_leaves_its_input(field):
    tile, od, parts, _, _ = field
    before = od.dab.copy(), od.haematoxylin.copy(), parts.cell.copy(), tile.rgb.copy()
    measure_cells(tile, od, parts, stains=StainsConfig(), t1=T1, pigment_residual_od=PIGMENT_RESIDUAL_OD)
    for old, new in zip(before, (od.dab, od.haematoxylin, parts.cell, tile.rgb), strict=True):
        assert np.array_equal(old, new)


def test_what_lies_inside_of_a_tile_is_measured_as_if_it_were_cut_out(field):
    """The pixels around it are neither measured nor taken along."""
    tile, od, parts, cells, membrane = field
    around = ((5, 3), (2, 7))
    larger = StainOD(**{name: np.pad(getattr(od, name), around, constant_values=2) for name in od.__slots__})
    height, width = parts.cell.shape
    inner = Rect(x0=2, y0=5, x1=2 + width, y1=5 + height)
    wide = Tile(rgb=np.pad(tile.rgb, (*around, (0, 0))), mpp=tile.mpp, core=inner, x_px=-2.0, y_px=-5.0, inner=inner)
    assert np.shares_memory(wide.cropped().rgb, wide.rgb)
    assert np.shares_memory(larger.cropped(inner).dab, larger.dab)
    found = measure_cells(wide, larger, parts, stains=StainsConfig(), t1=T1, pigment_residual_od=PIGMENT_RESIDUAL_OD)
    pd.testing.assert_frame_equal(found.cells, cells)
    assert np.array_equal(found.membrane.dab_od, membrane.dab_od)
