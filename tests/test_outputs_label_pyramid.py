"""Label pyramids: written block by block, read back as levels of one OME-TIFF."""

import numpy as np
import pytest
import tifffile

from pdl1quant.errors import OutputError
from pdl1quant.outputs.claims import is_result
from pdl1quant.outputs.label_pyramid import BLOCK_PX, PARTS, STEP, label_writer
from pdl1quant.outputs.labels import CHANNELS, read_labels

WIDTH, HEIGHT = 2700, 1300


def painted(row, column):
    """A block with a cell of each part; its label is far beyond 16 bits."""
    block = np.zeros((BLOCK_PX, BLOCK_PX), np.int32)
    label = 70_000 + 10 * row + column
    for part in (1, 2, 3):
        block[100 * part : 100 * part + 100, 50:200] = label * PARTS + part
    return block


def write(path, blocks):
    with label_writer(path, width=WIDTH, height=HEIGHT, mpp=0.5) as emit:
        for row, column in blocks:
            emit(row, column, painted(row, column))
    return path


def test_blocks_in_any_order_are_the_levels_of_an_ome_tiff(tmp_path):
    path = write(tmp_path / "a.ome.tif", [(2, 1), (0, 0), (0, 4)])
    whole = np.zeros((3 * BLOCK_PX, 6 * BLOCK_PX), np.int32)
    for row, column in [(2, 1), (0, 0), (0, 4)]:
        place = np.s_[row * BLOCK_PX : (row + 1) * BLOCK_PX, column * BLOCK_PX : (column + 1) * BLOCK_PX]
        whole[place] = painted(row, column)
    with tifffile.TiffFile(path) as tiff:
        (series,) = tiff.series
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        assert tiff.is_ome
        assert [level.shape for level in series.levels] == [(4, 1300, 2700), (4, 325, 675)]
        for number, level in enumerate(series.levels):
            expected = whole[:: STEP**number, :: STEP**number][: level.shape[1], : level.shape[2]]
            nucleus, cell, cytoplasm, membrane = level.asarray()
            np.testing.assert_array_equal(cell, expected // PARTS)
            for part, plane in enumerate((nucleus, cytoplasm, membrane), start=1):
                np.testing.assert_array_equal(plane, np.where(expected % PARTS == part, cell, 0))
    assert (pixels["PhysicalSizeX"], [channel["Name"] for channel in pixels["Channel"]]) == (0.5, list(CHANNELS))
    assert is_result(path)


def test_labels_are_read_back_and_the_same_blocks_give_the_same_bytes(tmp_path):
    one, other = (write(tmp_path / name, [(0, 0), (1, 1)]) for name in ("a.ome.tif", "b.ome.tif"))
    assert one.read_bytes() == other.read_bytes()
    parts = read_labels(one)
    assert parts.n_cells == 70_011
    assert parts.cell[600 + BLOCK_PX - 500, BLOCK_PX + 60] == 70_011


def test_without_blocks_all_is_empty_and_small(tmp_path):
    path = write(tmp_path / "a.ome.tif", [])
    assert not tifffile.imread(path).any()
    assert path.stat().st_size < 200_000


def test_what_stops_in_between_leaves_nothing(tmp_path):
    with pytest.raises(OutputError), label_writer(tmp_path / "a.ome.tif", width=10, height=10, mpp=0.5):
        raise OSError
    assert list(tmp_path.iterdir()) == []
