"""A full disk ends a run once, not image by image; what is whole stays, and the run goes on when there is room."""

import errno
import sys
from pathlib import Path

import numpy as np
import pytest

from batch_runs import Deaf, claim, draw_tile, rows_of, tree
from batch_runs import run as run_batch
from pdl1quant.batch.work import Image, Plan, Task, guarded
from pdl1quant.cli import EXIT_SOME_FAILED, main
from pdl1quant.config import Config, load_config
from pdl1quant.errors import FullDiskError, OutputError
from pdl1quant.outputs import files
from pdl1quant.outputs.claims import claim_output
from pdl1quant.outputs.files import replace_atomically, write_error

RULES = load_config(None, ["nuclei.segmenter=watershed"])
FULL = pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for case, n_images in (("a", 1), ("b", 2), ("c", 1)):
        for place in range(n_images):
            draw_tile(folder / case / f"{place}.png", seed=ord(case) + place, size=64)
    return folder


def run(images, out, **how):
    return run_batch(images, out, config=RULES, **how)


class Disk:
    """Takes the cells of so many images; then there is no room for cells any more."""

    def __init__(self, monkeypatch, *, n_images, number=errno.ENOSPC):
        self.flush, self.room, self.number, self.n_refused = files._flush, n_images, number, 0
        monkeypatch.setattr(files, "_flush", self)

    def __call__(self, path):
        if path.parent.parent.name == "cells":
            self.room -= 1
            if self.room < 0:
                self.n_refused += 1
                raise OSError(self.number, "no room")
        self.flush(path)


@FULL
def test_the_first_refusal_ends_the_run_and_the_cases_that_are_done_have_their_rows(
    images, tmp_path, monkeypatch, number
):
    listener, disk = Deaf(), Disk(monkeypatch, n_images=2, number=number)
    with pytest.raises(FullDiskError, match=r"is full.*with --resume to go on") as caught:
        run(images, tmp_path / "out", listener=listener)
    assert str(caught.value).startswith(f"{tmp_path / 'out'}: ")
    assert "\n" not in str(caught.value)
    assert disk.n_refused == 1
    assert listener.complaints == []
    assert [row.case for row in rows_of(tmp_path / "out", "case")] == ["a"]
    assert sorted(path.stem for path in (tmp_path / "out" / "cells").rglob("*.*")) == ["0", "0"]


def test_with_room_the_same_command_writes_what_it_would_have_written(images, tmp_path, monkeypatch):
    run(images, tmp_path / "whole")
    with monkeypatch.context() as patched:
        Disk(patched, n_images=2)
        with pytest.raises(FullDiskError):
            run(images, tmp_path / "out")
    run(images, tmp_path / "out", resume=True)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_finished_case_of_those_at_work_has_its_rows(images, tmp_path, monkeypatch):
    """With several workers small cases are worked on together."""
    monkeypatch.setattr(
        sys.modules["pdl1quant.batch.run"], "_waves", lambda cases, **_: [list(cases.items())] if cases else []
    )
    Disk(monkeypatch, n_images=2)
    with pytest.raises(FullDiskError):
        run(images, tmp_path / "out")
    assert [row.case for row in rows_of(tmp_path / "out", "case")] == ["a"]


def test_who_replaced_results_is_told_not_to_do_so_again(images, tmp_path, monkeypatch):
    Disk(monkeypatch, n_images=0)
    with pytest.raises(FullDiskError, match="with --resume in place of --overwrite"):
        run(images, tmp_path / "out", overwrite=True)


def test_the_command_line_says_one_line_and_fails(images, tmp_path, monkeypatch, capsys):
    Disk(monkeypatch, n_images=0)
    rules = ["--mpp", "0.5", "--set", "nuclei.segmenter=watershed", "--workers", "1"]
    with pytest.raises(SystemExit) as ended:
        main(["score", str(images), "-o", str(tmp_path / "out"), *rules])
    assert ended.value.code == EXIT_SOME_FAILED
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_a_full_disk_is_no_fault_of_an_image(tmp_path):
    def full(_):
        raise FullDiskError("no room")

    image = Image(path=tmp_path / "a.png", name="a.png", stem="a", case="x")
    task = Task(image=image, plan=Plan(output=tmp_path, config=Config(), pack=None))
    with pytest.raises(FullDiskError):
        guarded(task, full)


@FULL
def test_a_file_that_became_too_short_without_a_reason_is_tried_again(tmp_path, monkeypatch, number):
    """As numpy says it: 6750000 requested and 2097024 written."""
    silent = OSError("6750000 requested and 2097024 written")
    assert type(write_error(tmp_path / "a", silent)) is OutputError

    def refuse(*_):
        raise OSError(number, "no room")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert type(write_error(tmp_path / "a", silent)) is FullDiskError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_is_full_is_told_from_one_that_refuses(tmp_path):
    with pytest.raises(FullDiskError), replace_atomically(tmp_path / "a"), Path("/dev/full").open("wb") as file:
        file.write(np.zeros(1 << 20, np.uint8).tobytes())
    with pytest.raises(OutputError) as caught, replace_atomically(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "not allowed")
    assert type(caught.value) is OutputError


def test_what_stopped_workers_had_begun_does_not_stay_on_a_full_disk(tmp_path):
    half = tmp_path / "out" / "cells" / ".pdl1quant-0123456789abcdef.partial"

    def stopped():
        with claim_output(tmp_path / "out"):
            half.parent.mkdir()
            half.write_bytes(b"half")
            raise FullDiskError("no room")

    with pytest.raises(FullDiskError):
        stopped()
    assert not half.exists()
    claim(tmp_path / "out", resume=True)
