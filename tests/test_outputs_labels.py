from __future__ import annotations

import numpy as np
import pytest
import tifffile

from pdl1quant.errors import OutputError
from pdl1quant.model import Compartments
from pdl1quant.outputs.claims import is_result
from pdl1quant.outputs.labels import CHANNELS, read_labels, write_labels


def make_compartments(shape):
    cell = np.arange(np.prod(shape), dtype=np.int32).reshape(shape) % 7
    nucleus = np.where(cell % 2 == 0, cell, 0)
    membrane = np.where(cell == 3, cell, 0)
    return Compartments(
        nucleus=nucleus, cell=cell, cytoplasm=cell - nucleus - membrane, membrane=membrane, n_cells=int(cell.max())
    )


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (513, 40)])
def test_labels_come_back_as_they_were(tmp_path, shape):
    parts = make_compartments(shape)
    write_labels(parts, tmp_path / "a.ome.tif", mpp=0.5)
    back = read_labels(tmp_path / "a.ome.tif")
    for name in CHANNELS:
        assert np.array_equal(getattr(back, name), getattr(parts, name))
        assert getattr(back, name).dtype == np.int32
    assert back.n_cells == parts.n_cells


def test_ome_tells_pixel_size_and_channels(tmp_path):
    write_labels(make_compartments((40, 50)), tmp_path / "a.ome.tif", mpp=0.25)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tif:
        assert tif.series[0].axes == "CYX"
        assert 'PhysicalSizeX="0.25"' in tif.ome_metadata
        assert [tif.ome_metadata.index(f'Name="{name}"') for name in CHANNELS]
        assert "DateTime" not in tif.pages[0].tags
    assert is_result(tmp_path / "a.ome.tif")


def test_same_labels_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_labels(make_compartments((300, 300)), tmp_path / name, mpp=0.5)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_foreign_and_cut_files_are_named(tmp_path):
    path = tmp_path / "a.ome.tif"
    write_labels(make_compartments((300, 300)), path, mpp=0.5)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(OutputError, match="labels"):
        read_labels(path)
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    with pytest.raises(OutputError, match="not the labels of pdl1quant"):
        read_labels(path)
    with pytest.raises(OutputError, match="no readable labels"):
        read_labels(tmp_path / "none.ome.tif")
