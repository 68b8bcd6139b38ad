"""Runs that were stopped, killed or changed go on and write what they would have written."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from batch_runs import Deaf, claim, draw_tile, draw_tiles, rows_of, run, tree
from pdl1quant import batch
from pdl1quant.config import Config, load_config
from pdl1quant.errors import UsageError
from pdl1quant.outputs.files import PROGRESS_NAME


@pytest.fixture
def tiles(tmp_path):
    return draw_tiles(tmp_path / "tiles")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Tiles and the results of a run over them that was never stopped; neither is changed."""
    folder = tmp_path_factory.mktemp("whole")
    tiles = draw_tiles(folder / "tiles")
    run(tiles, folder / "out")
    return tiles, folder / "out"


def test_a_resumed_run_writes_the_bytes_of_one_that_was_never_stopped(whole, tmp_path):
    tiles, out = whole
    with pytest.raises(KeyboardInterrupt):
        run(tiles, tmp_path / "stopped", listener=Deaf(stop_after=3))
    assert len(rows_of(tmp_path / "stopped", "case")) == 1
    kept = tmp_path / "stopped" / "cells" / "case A" / "tile 1.parquet"
    written = kept.stat().st_mtime_ns
    run(tiles, tmp_path / "stopped", resume=True)
    assert kept.stat().st_mtime_ns == written
    assert tree(out) == tree(tmp_path / "stopped")


def test_a_killed_run_can_be_resumed(whole, tmp_path):
    tiles, out = whole[0], tmp_path / "killed"
    command = [sys.executable, "-m", "pdl1quant", "score", str(tiles), "-o", str(out), "--mpp", "0.5", "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if (out / PROGRESS_NAME).exists() and (out / PROGRESS_NAME).read_bytes().count(b'"image"') >= 2:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.005)
    process.wait()
    with (out / PROGRESS_NAME).open("ab") as ledger:
        ledger.write(b'{"image": "case A/ti')
    run(tiles, out, resume=True)
    assert tree(whole[1]) == tree(out)


class Census(Deaf):
    """Counts the worker processes that there are when an image is done."""

    def __init__(self):
        super().__init__()
        self.n_processes = 0

    def advance(self, n_images=1):
        super().advance(n_images)
        self.n_processes = max(self.n_processes, len(multiprocessing.active_children()))


def test_processes_start_only_when_there_is_work(tiles, tmp_path):
    first, nothing_to_do, one_to_do = Census(), Census(), Census()
    how = {"workers": 2, "config": load_config(None, ["nuclei.segmenter=watershed"])}  # starts sooner
    run(tiles, tmp_path / "out", **how, listener=first)
    whole = tree(tmp_path / "out")
    run(tiles, tmp_path / "out", **how, resume=True, listener=nothing_to_do)
    (tmp_path / "out" / "cells" / "case A" / "tile 1.parquet").unlink()
    run(tiles, tmp_path / "out", **how, resume=True, listener=one_to_do)
    assert (first.n_processes, nothing_to_do.n_processes, one_to_do.n_processes) == (2, 0, 1)
    assert tree(tmp_path / "out") == whole


def test_scores_of_all_finished_cases_are_there_after_a_stop(tmp_path):
    for number in range(6):
        draw_tile(tmp_path / "tiles" / f"case {number}" / "tile.png", seed=number)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "tiles", tmp_path / "out", listener=Deaf(stop_after=5))
    assert len(rows_of(tmp_path / "out", "case")) == 4


def test_resuming_does_again_what_changed_since(tiles, tmp_path):
    run(tiles, tmp_path / "out")
    draw_tile(tiles / "case A" / "tile 1.png", seed=99)
    draw_tile(tiles / "Fall ü" / "tile 2.png", seed=98)
    (tmp_path / "out" / "cells" / "Fall ü" / "tile 0.parquet").unlink()
    run(tiles, tmp_path / "out", resume=True)
    run(tiles, tmp_path / "fresh")
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_what_an_earlier_build_did_not_count_is_counted(whole, tmp_path):
    tiles, out = whole[0], tmp_path / "out"
    shutil.copytree(whole[1], out)
    settings, *lines = map(json.loads, (out / PROGRESS_NAME).read_text().splitlines())
    for line in lines:
        if line.get("image", "").startswith("case A"):
            line["outcome"]["counts"].pop("n_immune")
    (out / PROGRESS_NAME).write_text("".join(json.dumps(line) + "\n" for line in (settings, *lines)))
    with pytest.raises(UsageError, match="4 more images"):
        run(tiles / "Fall ü", out, resume=True)
    listener = Deaf()
    run(tiles, out, resume=True, listener=listener)
    (line,) = [each for each in listener.complaints if "anew" in each]
    assert line == (
        "2 images (case A/tile 0, case A/tile 1): scored anew, as the build that scored before did not count all that "
        "is counted now"
    )
    assert tree(out) == tree(whole[1])
    run(tiles, out, resume=True, listener=(again := Deaf()))
    assert "anew" not in " ".join(again.complaints)


def test_an_image_that_broke_since_leaves_no_results_behind(tiles, tmp_path):
    run(tiles, tmp_path / "out")
    (tiles / "case A" / "tile 1.png").write_bytes(b"")
    run(tiles, tmp_path / "out", resume=True)
    assert not list((tmp_path / "out").rglob("case A/tile 1.*"))


@pytest.mark.parametrize("is_broken", [False, True])
def test_regions_that_are_gone_leave_no_file_behind(tiles, tmp_path, is_broken):
    rois = tmp_path / "rois"
    rois.mkdir()
    square = {"type": "Polygon", "coordinates": [[[0, 0], [90, 0], [90, 90], [0, 90], [0, 0]]]}
    for name in ("tile 0", "tile 1"):
        (rois / f"{name}.geojson").write_text(json.dumps({"type": "Feature", "geometry": square, "properties": {}}))
    run(tiles / "case A", tmp_path / "out", roi=rois)
    (rois / "tile 1.geojson").unlink()
    if is_broken:
        (tiles / "case A" / "tile 1.png").write_bytes(b"")
    run(tiles / "case A", tmp_path / "out", roi=rois, resume=True)
    assert [file.stem for file in (tmp_path / "out" / "regions").iterdir()] == ["tile 0"]


def test_resuming_with_another_setting_names_it(whole):
    tiles, out = whole
    before = tree(out)
    other = Config().model_copy(update={"working_mpp": 0.6})
    with pytest.raises(UsageError, match=r"begun with working_mpp = 0\.5, now it is 0\.6"):
        run(tiles, out, resume=True, config=other)
    with pytest.raises(UsageError, match=r"begun with --mpp 0\.5, now it is with --mpp 0\.25"):
        run(tiles, out, resume=True, mpp=0.25)
    with pytest.raises(UsageError, match="begun with --assay 28-8-cytoplasm, now it is with --assay 28-8-label"):
        run(tiles, out, resume=True, pack=batch.find_rules("28-8-label", None)[0])
    with pytest.raises(UsageError, match=r"begun without --white, now it is with --white 243,241\.5,238"):
        run(tiles, out, resume=True, white=(243.0, 241.5, 238.0))
    with pytest.raises(UsageError, match="begun without --tma, now it is with --tma;"):
        run(tiles, out, resume=True, is_array=True)
    missing = (
        "Fall ü/tile 0, Fall ü/tile 1, case A/tile 0 and 1 other; put back or give what is missing, or pass --over"
    )
    with pytest.raises(UsageError, match=f"the earlier run had 4 more images: {missing}"):
        run(tiles / "case A", out, resume=True)
    assert tree(out) == before


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked")
def test_a_second_run_is_kept_out_of_the_folder_of_the_first(tmp_path):
    class Rival(Deaf):
        """Tries to take the folder over while the first run writes into it."""

        refused = ""

        def advance(self, n_images=1):
            super().advance(n_images)
            with pytest.raises(UsageError) as error:
                claim(tmp_path / "out", overwrite=True)
            self.refused = str(error.value)

    rival = Rival()
    run(draw_tile(tmp_path / "tile.png"), tmp_path / "out", listener=rival)
    assert "another run is writing into it" in rival.refused
    assert (tmp_path / "out" / "cells" / "tile.parquet").exists()
