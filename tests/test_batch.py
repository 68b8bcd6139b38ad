"""Runs over folders of tiles: cases, duplicates, the same bytes from any number of workers."""

from __future__ import annotations

import json
from dataclasses import replace

import PIL.Image
import pytest

from batch_runs import Deaf, draw_phantom, draw_tile, draw_tiles, rows_of, run, tree
from pdl1quant import batch
from pdl1quant.batch.inputs import gather, table_warnings
from pdl1quant.batch.work import Image, Plan, _write
from pdl1quant.config import Config, load_config
from pdl1quant.errors import UsageError
from pdl1quant.model import ResultFlag
from pdl1quant.networks.chosen import pin_model
from pdl1quant.pipeline import score_image
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

WATERSHED = load_config(None, ["nuclei.segmenter=watershed"])
"""Workers start sooner with it; `test_windows` has two that run the network."""


@pytest.fixture
def tiles(tmp_path):
    return draw_tiles(tmp_path / "tiles")


def test_each_folder_is_a_case_and_each_image_has_its_results(tiles, tmp_path):
    summary = run(tiles, tmp_path / "out")
    assert summary.n_unscored == 0
    assert {row.case for row in rows_of(tmp_path / "out", "case")} == {"case A", "Fall ü"}
    assert [row.image for row in rows_of(tmp_path / "out", "image")][:2] == [
        "case A/tile 0.png",
        "case A/tile 1.png",
    ]
    for kind, suffix in (("cells", ".parquet"), ("overlays", ".png"), ("geojson", ".geojson")):
        for case in ("case A", "Fall ü"):
            assert (tmp_path / "out" / kind / case / f"tile 1{suffix}").is_file()
    assert not (tmp_path / "out" / "labels").exists()
    assert not (tmp_path / "out" / "errors").exists()


def test_counts_of_a_case_are_the_sum_of_its_images(tiles, tmp_path):
    run(tiles / "case A", tmp_path / "out")
    images, (case,) = rows_of(tmp_path / "out", "image"), rows_of(tmp_path / "out", "case")
    for name in ("n_cells", "n_tumour", "n_tumour_positive"):
        assert getattr(case, name) == sum(getattr(row, name) for row in images)
    assert ResultFlag.SELECTED_FIELDS in case.flags
    assert all(row.evaluable is None for row in images)


def test_an_identical_file_is_counted_once_and_has_the_same_numbers(tiles, tmp_path):
    run(tiles / "case A", tmp_path / "once")
    (tiles / "case A" / "z copy.png").write_bytes((tiles / "case A" / "tile 1.png").read_bytes())
    run(tiles / "case A", tmp_path / "twice")
    assert rows_of(tmp_path / "once", "case") == rows_of(tmp_path / "twice", "case")
    _, original, copy = rows_of(tmp_path / "twice", "image")
    assert ResultFlag.DUPLICATE in copy.flags
    assert (copy.n_cells, copy.tps, copy.tps_low) == (original.n_cells, original.tps, original.tps_low)
    assert not (tmp_path / "twice" / "cells" / "z copy.parquet").exists()


def test_the_same_pixels_in_another_file_are_told(tmp_path):
    case, listener = tmp_path / "case", Deaf()
    case.mkdir()
    draw_phantom(case / "field.png")
    with PIL.Image.open(case / "field.png") as field:
        field.save(case / "second export.tif")
        field.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(case / "other.png")
    (case / "z copy.png").write_bytes((case / "field.png").read_bytes())  # counted once, and no word about it
    run(case, tmp_path / "out", listener=listener)
    (line,) = listener.complaints
    assert line.startswith("images that show the same field, by all that was measured: field.png = second export.tif; ")
    resumed = Deaf()
    run(case, tmp_path / "out", listener=resumed, resume=True)
    assert resumed.complaints == [line]
    blank = Deaf()
    controls = (case / "field.png", case / "second export.tif")
    run(case / "other.png", tmp_path / "controlled", listener=blank, negative_controls=controls)
    (told,) = (each for each in blank.complaints if "the same field" in each)
    assert "field.png = second export.tif; each was counted, so the limit of blank is of fewer fields than it" in told
    (case / "second export.tif").rename(case / "field.tif")
    by_name = Deaf()
    run(case, tmp_path / "out", listener=by_name, overwrite=True)
    (line,) = by_name.complaints
    assert "field.png = field.tif?; where they are one field, it counts twice and the interval is too narrow" in line
    (case / "field.tif").unlink()
    again = Deaf()
    run(case, tmp_path / "out", listener=again, overwrite=True)
    assert again.complaints == []


def test_empty_fields_that_agree_are_not_taken_for_one(tmp_path):
    (tmp_path / "glass").mkdir()
    for level in (1, 9):
        glass = PIL.Image.new("RGB", (64, 64), (240, 240, 240))
        glass.save(tmp_path / "glass" / f"{level}.png", compress_level=level)
    assert len({path.read_bytes() for path in (tmp_path / "glass").iterdir()}) == 2
    listener = Deaf()
    run(tmp_path / "glass", tmp_path / "out", listener=listener)
    assert listener.complaints == []


def test_an_image_that_counts_in_two_cases_is_told_once(tiles, tmp_path):
    for name in ("tile 0.png", "z copy.png"):
        (tiles / "Fall ü" / name).write_bytes((tiles / "case A" / "tile 1.png").read_bytes())
    (tiles / "case A" / "empty.png").touch()
    (tiles / "Fall ü" / "empty.png").touch()
    listener = Deaf()
    run(tiles, tmp_path / "out", listener=listener)
    assert listener.complaints[-1] == (
        "1 image counts in more than one case: case A/tile 1.png (case A) = Fall ü/tile 0.png (Fall ü); "
        "leave it in the one to which it belongs"
    )


def test_images_that_a_table_leaves_out_are_told(tiles, tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text("image,case\ncase A/tile 0.png,P1\nFall ü/tile 0.png,P1\nFall ü/tile 1.png,P2\n", encoding="utf-8")
    images, _ = gather([tiles], output=tmp_path / "out", cases=table)
    assert table_warnings(images, table) == (
        "cases.csv: 1 image is not in it and has its folder as case: case A/tile 1.png (case A)",
    )
    assert table_warnings(images, None) == ()


def test_a_table_of_cases_groups_the_images_and_its_columns_are_carried(tiles, tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text(
        "image,case,block,stain\ncase A/tile 0.png,P1,=1,x\ncase A/tile 1.png,P1,2,x\nFall ü/tile 0.png,P2,3,y\n",
        encoding="utf-8",
    )
    run(tiles, tmp_path / "out", cases=table)
    images = {row.image: row for row in rows_of(tmp_path / "out", "image")}
    assert images["case A/tile 0.png"].case == "P1"
    assert images["case A/tile 0.png"].extra == {"block": "=1", "stain": "x"}
    assert images["Fall ü/tile 1.png"].case == "Fall ü"
    cases = {row.case: row for row in rows_of(tmp_path / "out", "case")}
    assert cases["P1"].extra == {"block": "", "stain": "x"}


def test_a_column_of_the_table_may_not_hide_a_score(tiles, tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text("image,case,tps\ncase A/tile 0.png,P1,3\n", encoding="utf-8")
    with pytest.raises(UsageError, match="'tps' already; rename it"):
        run(tiles, tmp_path / "out", cases=table)
    assert not (tmp_path / "out").exists()


def test_thirty_tiny_tiles_are_thirty_rows(tmp_path):
    for number in range(30):
        draw_tile(tmp_path / "tiny" / f"{number}.png", seed=number, size=32)
    summary = run(tmp_path / "tiny", tmp_path / "out", config=WATERSHED)
    assert [row.image for row in summary.rows if row.level == "image"] == [f"{number}.png" for number in range(30)]


def test_exports_show_the_compartment_that_is_scored(tmp_path):
    pack, _ = batch.find_rules("28-8-label", None)
    phantom = render_phantom(PhantomSettings(size_px=192), seed=1)
    result = score_image(phantom.rgb, mpp=0.5, assay=pack.name, keep_labels=True)
    blue_membranes = result.cells.assign(membrane_positive=False, cytoplasm_positive=True, positive=True)
    image = Image(path=tmp_path / "a.png", name="a.png", stem="a", case="")
    plan = Plan(output=tmp_path, config=Config(), pack=pack)
    _write(replace(result, cells=blue_membranes), phantom.rgb, image, plan, rois=())
    exported = json.loads((tmp_path / "geojson" / "a.geojson").read_text())
    names = {feature["properties"]["classification"]["name"] for feature in exported["features"]}
    assert "Tumour: Negative" in names
    assert "Tumour: Positive" not in names


def test_the_number_of_workers_changes_neither_a_byte_nor_a_line(tiles, tmp_path):
    for number in range(6):
        (tiles / "broken").mkdir(exist_ok=True)
        (tiles / "broken" / f"{number}.png").write_bytes(b"no image" if number == 3 else b"")
    one, two = Deaf(), Deaf()
    run(tiles, tmp_path / "one", workers=1, listener=one, config=WATERSHED)
    run(tiles, tmp_path / "two", workers=2, listener=two, config=WATERSHED)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert two.complaints == one.complaints
    assert one.complaints[0].startswith("5 images (broken/0.png, broken/1.png, broken/2.png and 2 others)")


def test_results_do_not_know_where_they_were_made(tiles, tmp_path):
    run(tiles, tmp_path / "out")
    files, record = tree(tmp_path / "out")
    here = str(tmp_path).encode()
    assert not [name for name, content in files.items() if here in content]
    assert here.decode() not in json.dumps(record)
    assert record["config_digest"] == pin_model(Config()).digest
    assert [len(image["sha256"]) for image in record["images"]] == [64] * 4
    assert set(record["estimates"]) == {"case A", "Fall ü"}
