from __future__ import annotations

import sys

import pytest

from batch_runs import claim
from pdl1quant.errors import OutputError, UsageError
from pdl1quant.outputs.claims import claim_output, is_result
from pdl1quant.outputs.files import replace_atomically, replace_together, result_path


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def earlier_run(out):
    for kind in ("cells", "overlays", "geojson", "labels"):
        path = result_path(out, kind, "case_1/tile")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"generator":"pdl1quant 0.1.0"} ...')
    (out / "run.json").write_text('{"pdl1quant": "0.1.0"}')
    (out / "scores.csv").write_text("level,image,case,status,error,n_cells\n")


def test_written_file_appears_whole_and_alone(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with replace_atomically(path) as partial:
        partial.write_text("new")
        assert not path.exists()
        assert partial.parent == path.parent
    assert path.read_text() == "new"
    assert names(tmp_path) == ["new/a.txt"]


def test_exception_half_way_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def break_off():
        with replace_atomically(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_file_where_a_folder_is_needed_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), replace_atomically(tmp_path / "file" / "a") as partial:
        partial.write_text("")


def test_folder_in_the_way_is_an_output_error_and_leaves_nothing(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match="cannot be written"), replace_atomically(tmp_path / "a.txt") as partial:
        partial.write_text("x")
    assert names(tmp_path) == []


def test_long_name_can_be_written(tmp_path):
    path = tmp_path / ("n" * 250 + ".png")
    with replace_atomically(path) as partial:
        partial.write_text("x")
    assert path.exists()


def write_two(folder):
    for name in ("a/1.txt", "b/2.txt"):
        with replace_atomically(folder / name) as partial:
            partial.write_text(name)


def test_files_of_a_group_appear_together_and_alone(tmp_path):
    with replace_together():
        write_two(tmp_path)
        assert not (tmp_path / "a" / "1.txt").exists()
    assert names(tmp_path) == ["a/1.txt", "b/2.txt"]
    assert (tmp_path / "b" / "2.txt").read_text() == "b/2.txt"
    with replace_atomically(tmp_path / "c.txt") as partial:
        partial.write_text("by itself")
    assert names(tmp_path) == ["a/1.txt", "b/2.txt", "c.txt"]


@pytest.mark.parametrize("is_inside", [True, False])
def test_nothing_of_a_group_appears_when_one_of_it_fails(tmp_path, is_inside):
    def break_off():
        with replace_together():
            write_two(tmp_path)
            with replace_atomically(tmp_path / "c.txt") as partial:
                partial.write_text("half")
                if is_inside:
                    raise KeyboardInterrupt
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert names(tmp_path) == []


def test_file_of_a_group_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "b" / "2.txt").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"2\.txt: cannot be written"), replace_together():
        write_two(tmp_path)
    assert [name for name in names(tmp_path) if name.endswith(".partial")] == []


def test_new_folder_is_made(tmp_path):
    claim(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_full_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty.*--overwrite or --resume"):
        claim(tmp_path)


def test_overwrite_removes_results_and_nothing_else(tmp_path):
    earlier_run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine: pdl1quant gave odd numbers")
    (tmp_path / "cells" / "notes.txt").write_text("mine")
    (tmp_path / "overlays" / ".pdl1quant-0123.partial").write_text("left by a crash")
    claim(tmp_path, overwrite=True)
    assert names(tmp_path) == ["cells/notes.txt", "notes.txt"]
    assert not (tmp_path / "overlays").exists()


def test_resume_removes_only_what_a_crash_left(tmp_path):
    earlier_run(tmp_path)
    kept = names(tmp_path)
    (tmp_path / "overlays" / ".pdl1quant-0123.partial").write_text("left by a crash")
    claim(tmp_path, resume=True)
    assert names(tmp_path) == kept


PLACES = ["scores.csv", "run.json", "overlays/case_1/tile.png", "regions/case_1/tile.geojson", "geojson/b.geojson.zip"]


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("how", ["overwrite", "resume"])
def test_foreign_file_at_a_results_place_is_refused_and_stays(tmp_path, name, how):
    earlier_run(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = names(tmp_path)
    with pytest.raises(OutputError, match=f"{name}: lies where a result goes, but pdl1quant did not write it"):
        claim(tmp_path, names=["case_1/tile", "b"], **{how: True})
    assert names(tmp_path) == before


@pytest.mark.parametrize("how", ["overwrite", "resume"])
def test_a_file_of_others_beside_results_is_left_alone(tmp_path, how):
    earlier_run(tmp_path)
    mine = ["figures/scores_edited.pdf", "overlays/photo.png", "regions/case_1/tile_drawn.geojson", "report/notes.html"]
    for name in mine:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('{"type":"FeatureCollection","features":[]}')
    claim(tmp_path, names=["case_1/tile"], **{how: True})
    assert set(mine) <= set(names(tmp_path))


def test_an_annotation_that_names_pdl1quant_is_of_the_person_who_drew_it(tmp_path):
    earlier_run(tmp_path)
    mine = tmp_path / "regions" / "drawn.geojson"
    mine.parent.mkdir()
    mine.write_text('{"type":"FeatureCollection","features":[{"properties":{"name":"missed by pdl1quant"}}]}')
    claim(tmp_path, overwrite=True)
    assert names(tmp_path) == ["regions/drawn.geojson"]


def test_linked_result_folder_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    earlier_run(elsewhere)
    out = tmp_path / "out"
    out.mkdir()
    (out / "cells").symlink_to(elsewhere / "cells")
    before = names(elsewhere)
    claim(out, overwrite=True)
    assert names(elsewhere) == before


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked")
@pytest.mark.parametrize("how", ["overwrite", "resume"])
def test_a_folder_that_another_run_writes_into_is_refused_and_left_alone(tmp_path, how):
    half = tmp_path / "cells" / ".pdl1quant-0123456789abcdef.partial"
    half.parent.mkdir()
    with claim_output(tmp_path, resume=True):
        half.touch()
        with pytest.raises(UsageError, match="another run is writing into it"):
            claim(tmp_path, **{how: True})
        assert half.exists()
    claim(tmp_path, **{how: True})
    assert not half.exists()


def test_overwrite_and_resume_exclude_each_other(tmp_path):
    with pytest.raises(UsageError, match="exclude"):
        claim(tmp_path, overwrite=True, resume=True)


def test_file_as_output_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        claim(tmp_path / "file", overwrite=True)
    with pytest.raises(OutputError, match="cannot be made"):
        claim(tmp_path / "file" / "below")


def test_output_that_overlaps_the_inputs_is_refused(tmp_path):
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    image = tiles / "a.png"
    image.write_bytes(b"")
    for out, inputs in [(tiles, [tiles]), (tiles / "out", [tiles]), (tmp_path, [tiles]), (tiles, [image])]:
        with pytest.raises(UsageError, match="input"):
            claim(out, inputs=inputs, overwrite=True)
    claim(tiles / "out", inputs=[image])


def test_mark_decides_not_the_name(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"x" * 100_000)
    assert not is_result(path)
    path.write_bytes(b"x" * 200_000 + b"pdl1quant" + b"x" * 100)
    assert is_result(path)
    assert not is_result(tmp_path / "missing")
