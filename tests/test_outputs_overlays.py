from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from pdl1quant.model import CELL_COLUMNS, CellClass, Compartment, Compartments, Flag, Score
from pdl1quant.outputs.captions import (
    RESEARCH_USE_ONLY,
    Caption,
    LegendEntry,
    _drawable,
    _fitted,
    _font,
    draw_caption,
    score_text,
)
from pdl1quant.outputs.claims import is_result
from pdl1quant.outputs.overlays import MAX_SIDE_PX, draw_overlay, write_overlay
from pdl1quant.outputs.palette import KINDS, classification, counts_as_positive, kinds_of
from pdl1quant.outputs.png import encode_png

SAMPLE = Path(__file__).parents[1] / "sample_slides" / "ihc" / "fhl2_colon.tif"
CAPTION = Caption(title="tile.png", score="TPS (cytoplasm) 42 % (35-50)", rules="28-8", remarks=("white assumed",))
NAMES = [str(name) for name in CellClass]


def make_compartments(shape=(60, 80)):
    """Round cells on a grid of 20 px, each with a smaller nucleus."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    number = (y // 20) * (shape[1] // 20) + x // 20 + 1
    distance = np.hypot(y % 20 - 9.5, x % 20 - 9.5)
    cell = np.where(distance <= 8, number, 0).astype(np.int32)
    nucleus = np.where(distance <= 4, cell, 0)
    blank = np.zeros_like(cell)
    return Compartments(nucleus=nucleus, cell=cell, cytoplasm=cell - nucleus, membrane=blank, n_cells=int(cell.max()))


def make_table(n, **changes):
    columns = {column.name: np.ones(n) for column in CELL_COLUMNS}
    columns |= {
        "label": np.arange(1, n + 1, dtype=np.int32),
        "cell_class": pd.Categorical(["tumour"] * n, categories=NAMES),
        "positive": np.zeros(n, bool),
        "dab_grade": np.zeros(n, np.int8),
        "flags": np.zeros(n, np.int32),
    }
    return pd.DataFrame(columns | changes)


def grey(height, width):
    return np.full((height, width, 3), 220, np.uint8)


def test_kind_is_class_then_grade_and_what_is_left_out_comes_first():
    cells = make_table(
        7,
        cell_class=pd.Categorical(["tumour", "tumour", "tumour", "lymphocyte", "stroma", "macrophage", "other"]),
        positive=np.array([False, True, True, True, True, False, False]),
        dab_grade=np.array([0, 0, 3, 3, 0, 0, 0], np.int8),
        flags=np.array([Flag.SATURATED, 0, 0, 0, Flag.PIGMENT, 0, 0], np.int32),
    )
    names = [KINDS[kind].name for kind in kinds_of(cells)]
    assert names == [
        "Tumour, negative",
        "Tumour, grade 1",
        "Tumour, grade 3",
        "Lymphocyte, positive",
        "Left out",
        "Macrophage, negative",
        "Other",
    ]
    assert kinds_of(make_table(0)).shape == (0,)


def test_positive_is_what_the_score_counts():
    cells = make_table(
        4,
        cell_class=pd.Categorical(["tumour", "tumour", "tumour", "lymphocyte"]),
        positive=np.array([True, True, False, True]),
        membrane_positive=np.array([True, False, False, False]),
        cytoplasm_positive=np.array([True, True, False, True]),
        cell_positive=np.array([False, False, True, False]),
    )
    wanted = {"membrane": "1000", "cytoplasm": "1100", "cytoplasm_only": "0100", "cell": "0010"}
    for compartment in Compartment:
        found = counts_as_positive(cells, compartment).astype(int)
        assert "".join(map(str, found)) == wanted[compartment][:3] + "1"
    names = [KINDS[kind].name for kind in kinds_of(cells, Compartment.MEMBRANE)]
    assert names == ["Tumour, grade 1", "Tumour, negative", "Tumour, negative", "Lymphocyte, positive"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (60, 80), (61, 83)])
@pytest.mark.parametrize("n", [0, 1])
def test_any_size_gives_a_picture_and_leaves_the_input_alone(shape, n):
    rgb = grey(*shape)
    cell = np.zeros(shape, np.int32)
    cell[0, 0] = n
    parts = Compartments(nucleus=cell, cell=cell, cytoplasm=cell * 0, membrane=cell * 0, n_cells=n)
    picture = draw_overlay(rgb, parts, make_table(n), caption=CAPTION, mpp=0.5)
    assert picture.dtype == np.uint8
    assert picture.shape[1] >= shape[1]
    assert picture.shape[0] > shape[0]
    assert (rgb == 220).all()


def test_huge_image_is_shrunk():
    cell = np.zeros((100, 5000), np.int32)
    cell[40:60, 1000:1020] = 1
    parts = Compartments(nucleus=cell, cell=cell, cytoplasm=cell * 0, membrane=cell * 0, n_cells=1)
    picture = draw_overlay(grey(100, 5000), parts, make_table(1), caption=CAPTION, mpp=0.5)
    assert picture.shape[1] == MAX_SIDE_PX


def test_tissue_is_untouched_away_from_the_lines():
    rgb = np.random.default_rng(0).integers(0, 255, (1500, 80, 3)).astype(np.uint8)
    parts = make_compartments()
    taller = {name: np.pad(getattr(parts, name), ((0, 1440), (0, 0))) for name in ("nucleus", "cell", "cytoplasm")}
    tall = Compartments(**taller, membrane=np.zeros((1500, 80), np.int32), n_cells=12)
    picture = draw_overlay(rgb, tall, make_table(12), caption=CAPTION, mpp=0.5)
    left = (picture.shape[1] - 80) // 2
    assert np.array_equal(picture[62:1500, left : left + 80], rgb[62:])
    assert not np.array_equal(picture[:62, left : left + 80], rgb[:62])


@pytest.mark.parametrize(("grade", "kind"), [(0, 0), (1, 1), (2, 2), (3, 3)])
def test_outline_has_the_colour_of_its_grade(grade, kind):
    parts = make_compartments((20, 20))
    cells = make_table(1, positive=np.array([grade > 0]), dab_grade=np.array([grade], np.int8))
    picture = draw_overlay(grey(20, 20), parts, cells, caption=CAPTION, mpp=0.5)
    field = picture[:80].reshape(-1, 3)
    assert (field == KINDS[kind].rgb).all(axis=1).sum() > 50
    others = [other.rgb for index, other in enumerate(KINDS) if index != kind]
    assert not any((field == rgb).all(axis=1).any() for rgb in others)


def test_labels_at_another_resolution_land_on_the_same_place():
    parts = make_compartments((60, 80))
    fine = {
        name: np.kron(getattr(parts, name), np.ones((2, 2), np.int32))
        for name in ("nucleus", "cell", "cytoplasm", "membrane")
    }
    coarse = draw_overlay(grey(60, 80), parts, make_table(12), caption=CAPTION, mpp=0.5)
    finer = draw_overlay(grey(60, 80), Compartments(**fine, n_cells=12), make_table(12), caption=CAPTION, mpp=0.5)
    assert np.mean(np.abs(coarse.astype(float) - finer)) < 3  # only the smoothing of the steps differs


def test_cell_without_a_row_is_not_drawn():
    blank = draw_overlay(grey(60, 80), make_compartments(), make_table(0), caption=CAPTION, mpp=0.5)
    assert (blank[:240, 400:600] == 220).all()


def test_same_cells_give_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        path = tmp_path / name
        write_overlay(grey(60, 80), make_compartments(), make_table(12), path, caption=CAPTION, mpp=0.5)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert is_result(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "RGB"


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (61, 83)])
def test_png_holds_the_pixels_and_the_texts(shape):
    rgb = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    content = encode_png(rgb, texts={"Software": "pdl1quant 1"})
    with Image.open(io.BytesIO(content)) as picture:
        picture.verify()
    with Image.open(io.BytesIO(content)) as picture:
        assert np.array_equal(np.asarray(picture), rgb)
        assert picture.text == {"Software": "pdl1quant 1"}


def test_tissue_is_packed_as_small_as_by_a_usual_writer():
    tissue = tifffile.imread(SAMPLE)
    enlarged = Image.fromarray(tissue).resize((1024, 1024), Image.Resampling.BICUBIC)
    usual = io.BytesIO()
    enlarged.save(usual, "PNG", compress_level=1)
    assert len(encode_png(np.asarray(enlarged), texts={})) < 1.02 * len(usual.getvalue())


@pytest.mark.parametrize(
    ("side", "mpp", "factor"),
    [(96, 0.5, 4), (96, 0.25, 4), (200, 0.5, 3), (512, 0.5, 2), (512, 0.25, 1), (1024, 0.5, 2), (2048, 0.5, 1)],
)
def test_picture_shows_a_quarter_of_a_micrometre_per_pixel_where_it_may(side, mpp, factor):
    blank = np.zeros((side, side), np.int32)
    parts = Compartments(nucleus=blank, cell=blank, cytoplasm=blank, membrane=blank, n_cells=0)
    picture = draw_overlay(grey(side, side), parts, make_table(0), caption=CAPTION, mpp=mpp)
    tissue = (picture == 220).all(axis=2)
    assert tissue.sum(axis=0).max() == side * factor


@pytest.mark.parametrize(
    ("tps", "low", "high", "text"),
    [
        (42.4, 34.6, 50.2, "TPS (cytoplasm) 42 % (35-50)"),
        (0.4, 0.0, 1.2, "TPS (cytoplasm) < 1 % (0-1)"),
        (2.5, 0.5, 4.5, "TPS (cytoplasm) 3 % (< 1-4)"),
        (100.0, None, None, "TPS (cytoplasm) 100 %"),
        (None, None, None, "TPS (cytoplasm): not defined"),
    ],
)
def test_score_is_said_in_whole_per_cent(tps, low, high, text):
    score = Score(
        score_compartment=Compartment.CYTOPLASM, score_name="TPS (cytoplasm)", tps=tps, tps_low=low, tps_high=high
    )
    assert score_text(score) == text


def test_caption_is_wide_enough_to_be_read_and_grows_with_its_legend():
    entries = [LegendEntry(name=f"Kind {number}", rgb=(0, 0, 255), n_cells=number) for number in range(20)]
    short = draw_caption(CAPTION, entries[:2], width=1, um_per_px=0.5)
    tall = draw_caption(CAPTION, entries, width=1, um_per_px=0.5)
    assert short.shape[1] == tall.shape[1] >= 900
    assert tall.shape[0] > short.shape[0]


@pytest.mark.parametrize("um_per_px", [0.001, 0.125, 0.5, 3.0, 1000.0])
def test_scale_bar_has_a_round_length(um_per_px):
    strip = draw_caption(CAPTION, [], width=1500, um_per_px=um_per_px)
    dark = strip[:, 900:].max(axis=2) < 60
    bar_px = int(dark.sum(axis=1).max())
    first_digit = float(f"{bar_px * um_per_px:.0e}".split("e", maxsplit=1)[0])
    assert first_digit in {1, 2, 5}
    assert bar_px < 300


def test_letters_that_the_font_lacks_are_replaced():
    assert _drawable("µm \N{EN DASH} ≥ é 病") == "um - >= e ?"
    assert _drawable(RESEARCH_USE_ONLY) == RESEARCH_USE_ONLY


def test_long_title_loses_its_middle():
    fitted = _fitted("start" + "x" * 500 + "end", _font(20), 300)
    assert fitted.startswith("start")
    assert fitted.endswith("end")
    assert _font(20).getlength(fitted) <= 300


def test_line_leaves_the_membrane_in_sight():
    parts = make_compartments((20, 20))
    y, x = np.mgrid[:20, :20]
    distance = np.hypot(y - 9.5, x - 9.5)
    membrane = np.where((distance > 6) & (distance <= 8), 1, 0).astype(np.int32)
    parts = replace(parts, membrane=membrane, cytoplasm=np.where(membrane > 0, 0, parts.cytoplasm))
    rgb = grey(20, 20)
    rgb[membrane > 0] = (120, 70, 30)
    picture = draw_overlay(rgb, parts, make_table(1), caption=CAPTION, mpp=0.5)
    left = (picture.shape[1] - 80) // 2
    is_line = (picture[:80, left : left + 80] == KINDS[0].rgb).all(axis=2)
    assert is_line.sum() > 50
    fine_y, fine_x = np.nonzero(is_line)
    assert np.hypot(fine_y - 39.5, fine_x - 39.5).max() / 4 <= 6.25


@pytest.mark.parametrize("cell_class", ["tumour", "lymphocyte", "macrophage", "stroma"])
@pytest.mark.parametrize("positive", [False, True])
def test_positive_cells_that_count_have_a_dot_in_the_middle(cell_class, positive):
    parts = make_compartments((20, 20))
    cells = make_table(
        1,
        cell_class=pd.Categorical([cell_class]),
        positive=np.array([positive]),
        x_px=np.array([9.5]),
        y_px=np.array([9.5]),
    )
    picture = draw_overlay(grey(20, 20), parts, cells, caption=CAPTION, mpp=0.5)
    middle = picture[39:41, picture.shape[1] // 2 - 1 : picture.shape[1] // 2 + 1]
    has_dot = bool((middle == KINDS[int(kinds_of(cells)[0])].rgb).all())
    assert has_dot == (positive and cell_class != "stroma")


SIGHTS = {  # Machado, Oliveira & Fernandes 2009, severity 1
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_of_lines_differ_for_all_eyes(sight):
    """CIELAB distances; 10 is seen at a glance, 23 is what small lines need."""
    colours = np.array(sorted({kind.rgb for kind in KINDS})) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(SIGHTS[sight]), 0, 1)
    seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1000 * np.eye(len(lab))
    assert distance.min() >= 23


def test_kinds_are_told_apart_by_colour_dot_or_dashes():
    assert len({(kind.rgb, kind.has_dot, kind.is_dashed) for kind in KINDS}) == len(KINDS)
    assert classification("tumour", "Positive")["color"] != classification("tumour", "Negative")["color"]
