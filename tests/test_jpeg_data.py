"""JPEG data that decode, but not to the picture that was stored, are told from those that do."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

import slide_files
from pdl1quant.errors import UnreadableError
from pdl1quant.slides.images import read_image
from pdl1quant.slides.jpeg_data import frame_size, holds_all, may_lack

END = b"\xff\xd9"
KINDS = ({}, {"optimize": True}, {"restart_marker_blocks": 7}, {"restart_marker_rows": 1})


def encoded(rgb, *, quality=85, subsampling=2, **how):
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality, subsampling=subsampling, **how)
    return stream.getvalue()


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def spoilt(data, how, place):
    """Data whose codes are lost from a place (0-1) on, or within a stretch there; closed by their end marker."""
    first = data.index(b"\xff\xda") + 14
    at = first + int(place * (len(data) - len(END) - first))
    if how == "cut":
        return data[:at] + END
    if how == "left out":
        return data[:at] + data[at + 300 :]
    end = len(data) - len(END) if how == "zeros to the end" else at + 400
    return data[:at] + bytes(end - at) + data[end:]


@pytest.fixture(scope="module")
def tile():
    return slide_files.picture(512, 512)[100:356, 60:316]


@given(
    seed=st.integers(0, 99),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    quality=st.sampled_from([20, 75, 95, 100]),
    subsampling=st.integers(0, 2),
    kind=st.sampled_from(KINDS),
    grain=st.sampled_from([0, 8, 90]),
)
def test_sound_data_of_any_kind_hold_all(seed, size, quality, subsampling, kind, grain):
    random = np.random.default_rng(seed)
    rgb = np.clip(random.normal(random.integers(0, 256, 3), grain, (*size, 3)), 0, 255).astype(np.uint8)
    ImageFile.MAXBLOCK = 1 << 20
    data = encoded(rgb, quality=quality, subsampling=subsampling, **kind)
    assert holds_all(data)
    assert frame_size(data) == size


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("how", ["cut", "left out", "zeros to the end", "zeros"])
@pytest.mark.parametrize("place", [0.1, 0.4, 0.8])
def test_data_that_are_spoilt_within_do_not(tile, kind, how, place):
    data = encoded(tile, **kind)
    worse = spoilt(data, how, place)
    assert np.abs(decoded(worse).astype(int) - decoded(data)).mean() > 1  # which decodes without a word
    assert not holds_all(worse)
    assert may_lack(worse, decoded(worse))


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("padding", [b"\0", b"\xff", b"\xff\0"], ids=["zeros", "fill bytes", "ones"])
def test_padding_of_any_length_before_the_end_marker_is_sound(tile, kind, padding):
    data = encoded(tile, **kind)
    for n_bytes in (33, 5000):
        padded = data[: -len(END)] + padding * n_bytes + END
        assert np.array_equal(decoded(padded), decoded(data))
        assert holds_all(padded)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_padding_in_place_of_the_last_units_is_not(tile, kind):
    data = encoded(tile, **kind)
    worse = spoilt(data, "zeros to the end", 0.98)[: -len(END)] + bytes(5000) + END
    assert np.abs(decoded(worse).astype(int) - decoded(data)).max() > 50
    assert not holds_all(worse)


def test_sound_tiles_need_no_second_look(tile):
    assert not may_lack(encoded(tile), decoded(encoded(tile)))


def test_tables_may_stand_elsewhere(tile):
    data = encoded(tile)
    first, after = data.index(b"\xff\xdb"), data.index(b"\xff\xc0")
    codes = data.index(b"\xff\xc4")
    scan = data.index(b"\xff\xda")
    tables = data[:2] + data[first:after] + data[codes:scan] + END
    without = data[:2] + data[after:codes] + data[scan:]
    assert holds_all(without, tables=tables)
    assert not holds_all(without)
    assert not holds_all(spoilt(without, "cut", 0.5), tables=tables)


def test_what_follows_the_last_component_is_not_read(tile):
    data = encoded(tile)
    scan = data[data.index(b"\xff\xda") :][:14]
    assert holds_all(data[:-2] + scan * 3 + END)
    assert holds_all(data + scan * 3)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4])
def test_a_scan_that_names_nothing_does_not_hold_all(tile, length):
    data = encoded(tile)
    scan = data.index(b"\xff\xda")
    assert not holds_all(data[: scan + 2] + length.to_bytes(2, "big") + b"\1" * max(0, length - 2) + data[scan + 14 :])


def test_units_that_restart_one_by_one_are_not_spared(tile):
    data = encoded(tile, restart_marker_blocks=1)
    first = data.index(b"\xff\xda") + 14
    marker = data.index(b"\xff\xd0", first)
    assert holds_all(data)
    assert not holds_all(data[:first] + data[marker:])


def test_what_is_not_counted_is_taken_as_it_is(tile):
    assert holds_all(encoded(tile, progressive=True))


@pytest.mark.parametrize("how", ["cut", "left out", "zeros to the end", "zeros"])
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_images_that_are_spoilt_within_are_refused(tmp_path, tile, how, suffix):
    import tifffile

    data = spoilt(encoded(tile), how, 0.5)
    path = tmp_path / f"field.{suffix}"
    if suffix == "jpg":
        path.write_bytes(data)
    else:
        with tifffile.TiffWriter(path) as tiff:
            strips = iter([data])
            tiff.write(
                strips, shape=tile.shape, dtype="uint8", photometric="ycbcr", compression="jpeg", rowsperstrip=256,
                subsampling=(2, 2),
            )  # fmt: skip
    with pytest.raises(UnreadableError, match="truncated or damaged; copy or export it again"):
        read_image(path, mpp=0.5)
