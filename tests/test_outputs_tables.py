from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdl1quant.assays import load_pack
from pdl1quant.config import Config
from pdl1quant.errors import OutputError
from pdl1quant.model import (
    CELL_COLUMNS,
    CellClass,
    Compartment,
    Counts,
    Flag,
    PositiveCounts,
    ResultFlag,
    Score,
    Status,
)
from pdl1quant.outputs.cells_in_parts import open_cells
from pdl1quant.outputs.claims import is_result
from pdl1quant.outputs.columns_page import columns_markdown
from pdl1quant.outputs.scores_table import SCORE_COLUMNS, ScoreRow, read_scores, score_values, write_scores
from pdl1quant.outputs.tables import cells_writer, read_cells, write_cells
from pdl1quant.pipeline import score_image
from pdl1quant.stages.score import count_cells
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

ISSUE_ORDER = [
    "level",
    "image",
    "case",
    "status",
    "error",
    "region",
    "n_cells",
    "n_tumour",
    "n_tumour_positive",
    "tps",
    "score_compartment",
    "tps_low",
    "tps_high",
    "tps_membrane",
    "tps_cytoplasm",
    "tps_cytoplasm_only",
    "tps_cell",
    "cps",
    "cps_low",
    "cps_high",
    "n_immune",
    "n_immune_positive",
    "ic_area_pct",
    "tap_area_pct",
    "tissue_mm2",
    "tumour_cells_mm2",
    "dab_area_pct",
    "tumour_dab_area_pct",
    "h_score",
    "n_grade_1",
    "n_grade_2",
    "n_grade_3",
    "evaluable",
    "calls",
    "flags",
    "artefact_pct",
    "brown_without_cells_pct",
    "mpp",
    "assay",
    "schema",
    "version",
    "config_digest",
]
NAMES = [str(name) for name in CellClass]


def make_table(n, *, classes=NAMES, seed=0):
    random = np.random.default_rng(seed)
    columns = {}
    for column in CELL_COLUMNS:
        if column.name == "cell_class":
            columns[column.name] = pd.Categorical(random.choice(classes, n), categories=NAMES)
        else:
            columns[column.name] = (random.random(n) * 100).astype(column.dtype)
    return pd.DataFrame(columns)


def row(**changes):
    return ScoreRow(**({"level": "image", "image": "a.png", "case": "c", "status": Status.OK} | changes))


@pytest.mark.parametrize("n", [0, 1, 100])
def test_cells_come_back_as_they_were(tmp_path, n):
    cells = make_table(n)
    write_cells(cells, tmp_path / "a.parquet", metadata={"config_digest": "abc", "mpp": "0.5"})
    pd.testing.assert_frame_equal(read_cells(tmp_path / "a.parquet"), cells)


@pytest.mark.parametrize("folder", ["run:2", "a b#%20", os.fsdecode(b"caf\xe9")])
def test_a_folder_may_be_called_as_it_likes(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    path, parts = Path(folder) / "cells.parquet", Path(folder) / "parts.parquet"
    cells = make_table(5)
    write_cells(cells, path)
    with cells_writer(parts) as write:
        write(cells)
    pd.testing.assert_frame_equal(read_cells(path), cells)
    pd.testing.assert_frame_equal(read_cells(parts), cells)


def test_undefined_measurement_stays_undefined(tmp_path):
    cells = make_table(3)
    cells.loc[1, "neighbour_distance_um"] = np.nan
    write_cells(cells, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read_cells(tmp_path / "a.parquet"), cells)


def test_parquet_explains_itself_to_other_readers(tmp_path):
    write_cells(make_table(4), tmp_path / "a.parquet", metadata={"config_digest": "abc"})
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.names == [column.name for column in CELL_COLUMNS]
    for column in CELL_COLUMNS:
        texts = schema.field(column.name).metadata
        assert texts[b"unit"].decode() == column.unit
        assert texts[b"description"].decode() == column.description
    assert schema.metadata[b"config_digest"] == b"abc"
    assert schema.metadata[b"schema"] == b"2"
    assert pa.types.is_dictionary(schema.field("cell_class").type)


def test_same_cells_give_the_same_bytes(tmp_path):
    cells = make_table(500)
    shuffled_categories = cells.assign(cell_class=cells["cell_class"].cat.reorder_categories(NAMES[::-1]))
    as_text = cells.assign(cell_class=cells["cell_class"].astype(str))
    written = []
    for number, table in enumerate((cells, cells[::-1][::-1], shuffled_categories, as_text)):
        write_cells(table, tmp_path / f"{number}.parquet", metadata={"mpp": "0.5"})
        written.append((tmp_path / f"{number}.parquet").read_bytes())
    assert len(set(written)) == 1


@pytest.mark.parametrize(
    "broken",
    [
        make_table(2).drop(columns="label"),
        make_table(2).assign(extra=1),
        make_table(2).assign(cell_class="elephant"),
        make_table(2).assign(label="one"),
    ],
)
def test_other_tables_are_refused_and_the_old_file_stays(tmp_path, broken):
    path = tmp_path / "a.parquet"
    write_cells(make_table(3), path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="not a cells table"):
        write_cells(broken, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("lengths", [(), (40,), (7, 1, 30, 12)])
def test_parts_and_rows_of_a_file_are_those_of_the_whole(tmp_path, monkeypatch, lengths):
    monkeypatch.setattr("pdl1quant.outputs.cells_in_parts.PART_ROWS", 9)
    path, cells = tmp_path / "cells.parquet", make_table(sum(lengths))
    with cells_writer(path) as write:
        for end, length in zip(np.cumsum(lengths, dtype=int), lengths, strict=True):
            write(cells.iloc[end - length : end])
    file, columns = open_cells(path), ["cell_class", "flags", "x_px"]
    assert file.n_cells == len(cells)
    parts = list(file.parts(columns))
    assert all(len(part) <= 9 for part in parts)
    whole = pd.concat([cells[columns].iloc[:0], *parts], ignore_index=True)
    pd.testing.assert_frame_equal(whole[columns], cells[columns], check_exact=True)
    wanted = np.flatnonzero(np.random.default_rng(3).random(len(cells)) < 0.3)
    pd.testing.assert_frame_equal(file.rows(wanted), cells.iloc[wanted].reset_index(drop=True), check_exact=True)


def test_foreign_and_cut_files_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(OutputError, match="is missing") as caught:
        read_cells(path)
    assert str(caught.value).count(str(path)) == 1
    write_cells(make_table(50), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(OutputError, match="no readable cells table") as caught:
        read_cells(path)
    assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(OutputError, match="no schema number"):
        read_cells(path)


def test_score_columns_are_those_of_the_issue_and_of_the_row():
    assert [column.name for column in SCORE_COLUMNS] == ISSUE_ORDER
    assert [item.name for item in fields(ScoreRow)] == [*ISSUE_ORDER, "extra"]


def test_scores_come_back_to_four_decimals(tmp_path):
    rows = (
        row(tps=100 / 3, tps_low=0.0, n_cells=12, evaluable=True, flags=("white_assumed", "partial"), mpp=0.4545),
        row(level="case", image="", status=Status.NO_TISSUE, calls=(">= 1 %", "< 5 %"), evaluable=False),
        row(status=Status.FAILED, error='tile, "3".png: cut off\r\nhere'),
    )
    write_scores(rows, tmp_path / "scores.csv")
    back = read_scores(tmp_path / "scores.csv")
    assert back[0].tps == 33.3333
    assert [back[0].tps_low, back[0].tps_high, back[0].n_cells, back[0].evaluable] == [0.0, None, 12, True]
    assert back[1:] == rows[1:]
    write_scores(back, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "scores.csv").read_bytes()


def test_csv_is_plain_utf8_with_newlines_and_empty_cells(tmp_path):
    write_scores([row(image="Präparat.png")], tmp_path / "scores.csv")
    text = (tmp_path / "scores.csv").read_bytes().decode("utf-8")
    assert text.startswith(",".join(ISSUE_ORDER) + "\nimage,Präparat.png,c,ok,,,,")
    assert "\r" not in text
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 1
    assert is_result(tmp_path / "scores.csv")


def test_no_rows_give_a_header(tmp_path):
    write_scores([], tmp_path / "scores.csv")
    assert read_scores(tmp_path / "scores.csv") == ()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_formulas_are_neutralised_and_read_back(tmp_path, start):
    dangerous = f"{start}HYPERLINK(1)"
    rows = (row(image=dangerous, error=dangerous, extra={dangerous: dangerous, "delta": "-3.5"}),)
    write_scores(rows, tmp_path / "scores.csv")
    table = pd.read_csv(tmp_path / "scores.csv", dtype=str)
    assert table.loc[0, "image"] == f"'{dangerous}"
    assert table.columns[-2] == f"'{dangerous}"
    assert table.loc[0, "delta"] == "-3.5"
    assert read_scores(tmp_path / "scores.csv") == rows


@given(text=st.text(st.characters(exclude_categories=["Cs"])), name=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(tmp_path_factory, text, name):
    path = tmp_path_factory.mktemp("any") / "scores.csv"
    rows = (row(case=text, extra={} if name in ISSUE_ORDER else {name: text}),)
    write_scores(rows, path)
    assert read_scores(path) == rows


def test_free_columns_follow_in_order_of_appearance(tmp_path):
    write_scores([row(extra={"response": "CR"}), row(extra={"age": "61", "response": ""})], tmp_path / "scores.csv")
    header = (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert header.endswith("config_digest,response,age")
    with pytest.raises(OutputError, match="may not be called tps"):
        write_scores([row(extra={"tps": "1"})], tmp_path / "scores.csv")


@pytest.mark.parametrize(
    "change", [lambda text: text[:-40], lambda text: text.replace(",2,0", ",1,0"), lambda _: "a,b"]
)
def test_damaged_scores_are_named(tmp_path, change):
    path = tmp_path / "scores.csv"
    write_scores([row()], path)
    path.write_text(change(path.read_text()))
    with pytest.raises(OutputError, match=r"scores\.csv: "):
        read_scores(path)


def test_score_values_repeat_the_scored_compartment_and_each_flag_once():
    counts = Counts(n_cells=10, n_tumour=8, positive=PositiveCounts(membrane=2, cytoplasm=4))
    score = Score(
        score_compartment=Compartment.CYTOPLASM, score_name="TPS (cytoplasm)", tps=50.0, flags=(ResultFlag.FEW_BLOCKS,)
    )
    made = row(**score_values(counts, score, flags=(ResultFlag.WHITE_ASSUMED, ResultFlag.FEW_BLOCKS)))
    assert (made.n_cells, made.n_tumour, made.n_tumour_positive, made.tps) == (10, 8, 4, 50.0)
    assert made.score_compartment == "cytoplasm"
    assert made.flags == ("white_assumed", "few_blocks")


def test_scores_are_counted_again_by_what_the_page_of_columns_says():
    (mask,) = map(int, re.findall(r"`flags & (\d+)` is 0", columns_markdown()))
    rgb = render_phantom(PhantomSettings(size_px=256), seed=3).rgb
    cells = score_image(rgb, mpp=0.5).cells
    some = np.arange(len(cells))
    cells = cells.assign(  # so that the rules differ
        membrane_positive=cells["membrane_positive"] & (some % 2 == 0),
        cytoplasm_positive=cells["positive"],
        flags=cells["flags"] | np.where(some % 7 == 0, int(Flag.FAR_FROM_TUMOUR), 0).astype(np.int32),
    )
    counts = count_cells(cells, config=Config(), pack=load_pack("28-8-label"))
    viable = cells["flags"] & mask == 0
    tumour = cells[viable & (cells["cell_class"] == "tumour")]
    near = cells["flags"] & int(Flag.FAR_FROM_TUMOUR) == 0
    immune = cells[viable & near & cells["cell_class"].isin(["lymphocyte", "macrophage"])]
    assert counts.n_tumour == len(tumour)
    assert counts.positive.membrane == tumour["membrane_positive"].sum() < tumour["positive"].sum()
    assert counts.positive.cytoplasm == tumour["positive"].sum()
    assert counts.positive.cell == tumour["cell_positive"].sum()
    assert counts.n_immune == len(immune) < (viable & cells["cell_class"].isin(["lymphocyte", "macrophage"])).sum()
    assert counts.positive.immune == immune["positive"].sum()


def test_page_of_columns_is_up_to_date():
    page = Path(__file__).parent.parent / "docs" / "columns.md"
    assert page.read_text(encoding="utf-8") == columns_markdown(), "write columns_markdown() to docs/columns.md"
