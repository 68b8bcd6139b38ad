"""Maps of the score over a slide."""

import numpy as np
import pytest
import tifffile

from pdl1quant.model import Compartment, Counts, PositiveCounts
from pdl1quant.outputs.claims import is_result
from pdl1quant.outputs.maps import CHANNELS, draw_map, write_map

SLIDE = {"width_um": 1100.0, "height_um": 500.0, "square_um": 250.0, "compartment": Compartment.CYTOPLASM}
SQUARES = {
    (0, 1): Counts(n_cells=100, n_tumour=40, positive=PositiveCounts(cytoplasm=10, membrane=3)),
    (1, 4): Counts(n_cells=30, n_tumour=19, positive=PositiveCounts(cytoplasm=19)),
}


def test_map_gives_the_tps_and_the_densities_of_each_square():
    planes = draw_map(SQUARES, **SLIDE)
    assert planes.shape == (4, 2, 5)
    assert planes[:, 0, 1].tolist() == [25, 40 * 16, 10 * 16, 100 * 16]  # 16 squares in a mm2
    assert planes[1:, 0, 0].tolist() == [0, 0, 0]


def test_squares_with_few_tumour_cells_have_no_tps_and_cut_ones_their_own_area():
    planes = draw_map(SQUARES, **SLIDE)
    assert np.isnan(planes[0, 1, 4])
    assert np.isnan(planes[0]).sum() == 9
    assert planes[3, 1, 4] == pytest.approx(30 / (0.1 * 0.25))


def test_map_is_an_ome_tiff_that_says_its_channels_and_the_size_of_a_square(tmp_path):
    for name in ("a.ome.tif", "b.ome.tif"):
        write_map(SQUARES, tmp_path / name, **SLIDE)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        np.testing.assert_array_equal(tiff.asarray(), draw_map(SQUARES, **SLIDE))
    assert (pixels["PhysicalSizeX"], pixels["SizeC"], pixels["SizeX"], pixels["SizeY"]) == (250.0, 4, 5, 2)
    assert [channel["Name"] for channel in pixels["Channel"]] == list(CHANNELS)
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()
    assert is_result(tmp_path / "a.ome.tif")
