"""Runs over folders of tiles: cases, duplicates, broken files, resuming, the same bytes from any number of workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from pdl1quant import batch
from pdl1quant.batch.ledger import LEDGER_NAME
from pdl1quant.batch.work import Image, Plan, Task, _guarded, _write
from pdl1quant.batch.workers import Workers
from pdl1quant.config import Config
from pdl1quant.errors import UsageError
from pdl1quant.model import ResultFlag, Status
from pdl1quant.outputs.tables import read_scores
from pdl1quant.pipeline import score_image
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

BLUE = np.array([0.650, 0.704, 0.286])
BROWN = np.array([0.268, 0.570, 0.776])
PINK = np.array([0.072, 0.990, 0.105])


class Deaf:
    """A listener that notes what it is told, and may stop the run after so many images."""

    def __init__(self, stop_after=None):
        self.complaints, self.reports, self.n_images, self.stop_after = [], [], 0, stop_after

    def begin(self, n_images):
        pass

    def doing(self, what, case):
        pass

    def advance(self, n_images=1):
        self.n_images += n_images
        if self.n_images == self.stop_after:
            raise KeyboardInterrupt

    def complain(self, message):
        self.complaints.append(message)

    def case_done(self, report):
        self.reports.append(report)

    def end(self, summary):
        pass


def draw_tile(path, *, seed=0, size=128, colours=(BLUE, BROWN)):
    """Blue nuclei on glass, every second one ringed by brown."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    blue, brown = np.full((size, size), 0.02), np.zeros((size, size))
    for number, (row, column) in enumerate(np.argwhere(np.ones((size // 32, size // 32))) * 32 + 16):
        distance = np.hypot(y - row - rng.uniform(-3, 3), x - column - rng.uniform(-3, 3))
        blue += 0.6 * (distance < 7)
        brown += 0.5 * (distance >= 7) * (distance < 12) * (number % 2)
    od = blue[..., None] * colours[0] + brown[..., None] * colours[1]
    rgb = 243 * 10**-od + rng.normal(0, 1, od.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(rgb.clip(0, 255).astype(np.uint8)).save(path)
    return path


def draw_phantom(path):
    """Rendered tissue with tumour cells, half of them brown."""
    phantom = render_phantom(PhantomSettings(size_px=192), seed=1)
    PillowImage.fromarray(phantom.rgb).save(path)
    return path


@pytest.fixture
def tiles(tmp_path):
    """Two cases of two tiles, with a space and a letter beyond ASCII in their names."""
    for case in ("case A", "Fall ü"):
        for number in range(2):
            draw_tile(tmp_path / "tiles" / case / f"tile {number}.png", seed=len(case) * 10 + number)
    return tmp_path / "tiles"


def job_for(paths, output, **changes):
    pack, _ = batch.find_rules("28-8-cytoplasm", None)
    paths = (paths,) if isinstance(paths, Path) else tuple(paths)
    settings = {"config": Config(), "pack": pack, "mpp": 0.5, **changes}
    return batch.Job(paths=paths, output=output, **settings)


def run(paths, output, *, listener=None, **changes):
    return batch.run(job_for(paths, output, **changes), listener=listener or Deaf())


def tree(folder):
    """Every file's bytes, without what is documented to vary."""
    files = {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    record = json.loads(files.pop(Path("run.json")))
    record.pop("timings")
    return files, record


def rows_of(output, level):
    return [row for row in read_scores(output / "scores.csv") if row.level == level]


# --- cases and rows --------------------------------------------------------------------------------------------------
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
    summary = run(tmp_path / "tiny", tmp_path / "out")
    assert [row.image for row in summary.rows if row.level == "image"] == [f"{number}.png" for number in range(30)]


# --- what cannot be scored -------------------------------------------------------------------------------------------
def test_a_broken_file_does_not_stop_the_others(tiles, tmp_path):
    whole = (tiles / "case A" / "tile 0.png").read_bytes()
    (tiles / "case A" / "tile 0.png").write_bytes(whole[: len(whole) // 2])
    (tiles / "case A" / "empty.png").write_bytes(b"")
    listener = Deaf()
    summary = run(tiles, tmp_path / "out", listener=listener)
    assert summary.n_unscored == len(listener.complaints) == 2
    empty, broken, good, *_ = rows_of(tmp_path / "out", "image")
    assert (broken.status, empty.status) == (Status.FAILED, Status.FAILED)
    assert good.n_cells > 0
    assert broken.error.startswith("case A/tile 0.png: ")
    assert "\n" not in broken.error
    assert broken.tps is None
    case = rows_of(tmp_path / "out", "case")[0]
    assert case.status is Status.PARTIAL
    assert case.error.startswith("2 of 3 images could not be scored")
    assert ResultFlag.PARTIAL in case.flags


def test_another_stain_is_refused_and_does_not_shape_the_case(tiles, tmp_path):
    run(tiles / "case A", tmp_path / "without")
    draw_tile(tiles / "case A" / "eosin.png", colours=(PINK, PINK))
    listener = Deaf()
    summary = run(tiles / "case A", tmp_path / "with", listener=listener, workers=2)
    (pink,) = [row for row in summary.rows if row.image == "eosin.png"]
    assert pink.status is Status.REFUSED
    assert "not haematoxylin and DAB" in pink.error
    assert listener.complaints == [pink.error]
    numbers = [
        {row.image: (row.n_cells, row.tps) for row in rows_of(tmp_path / out, "image") if row.status is Status.OK}
        for out in ("without", "with")
    ]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) == 2
    estimates = [json.loads((tmp_path / out / "run.json").read_text())["estimates"] for out in ("without", "with")]
    assert estimates[0] == estimates[1]


def test_odd_names_links_and_sizes_are_rows_or_one_line_each(tmp_path):
    folder = tmp_path / "odd"
    for name in ("emoji \N{MICROSCOPE}.png", "two\nlines.png"):
        draw_tile(folder / name, seed=len(name), size=64)
    PillowImage.new("RGB", (1, 1), (120, 80, 60)).save(folder / "one pixel.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "folder.png").mkdir()
    (folder / "round").symlink_to(folder)
    (folder / "self.png").symlink_to(folder / "self.png")
    listener = Deaf()
    summary = run(folder, tmp_path / "out", listener=listener)
    unscored = {row.image for row in summary.rows if row.status in {Status.FAILED, Status.REFUSED}}
    assert unscored == {"empty.png", "self.png"}
    assert len(listener.complaints) == 2
    assert not any("\n" in complaint for complaint in listener.complaints)
    with pytest.raises(UsageError, match="lies inside the input"):
        run(folder, folder / "out")


def test_exports_show_the_compartment_that_is_scored(tmp_path):
    pack, _ = batch.find_rules("28-8-label", None)
    phantom = render_phantom(PhantomSettings(size_px=192), seed=1)
    result = score_image(phantom.rgb, mpp=0.5, assay=pack.name, keep_labels=True)
    blue_membranes = result.cells.assign(membrane_positive=False, cytoplasm_positive=True, positive=True)
    image = Image(path=tmp_path / "a.png", name="a.png", stem="a", case="")
    _write(replace(result, cells=blue_membranes), phantom.rgb, image, Plan(output=tmp_path, config=Config(), pack=pack))
    exported = json.loads((tmp_path / "geojson" / "a.geojson").read_text())
    names = {feature["properties"]["classification"]["name"] for feature in exported["features"]}
    assert "Tumour: Negative" in names
    assert "Tumour: Positive" not in names


def test_a_case_without_any_readable_image_is_a_row_without_numbers(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no image")
    listener = Deaf()
    run(tmp_path / "bad", tmp_path / "out", listener=listener)
    (case,) = rows_of(tmp_path / "out", "case")
    assert (case.status, case.n_cells, case.tps) == (Status.FAILED, None, None)
    assert listener.reports[0].score is None


def test_an_image_without_pixel_size_is_refused_with_what_to_do(tiles, tmp_path):
    summary = run(tiles / "case A" / "tile 0.png", tmp_path / "out", mpp=None)
    assert summary.rows[0].status is Status.REFUSED
    assert "--mpp" in summary.rows[0].error


def test_a_file_of_another_type_is_a_refused_row_among_the_scored(tiles, tmp_path):
    (tiles / "notes.txt").write_text("no image")
    summary = run([tiles / "case A", tiles / "notes.txt"], tmp_path / "out")
    assert summary.n_unscored == 1
    assert [row.image for row in summary.rows if row.status is Status.REFUSED] == ["notes.txt"]


def test_files_of_another_type_alone_are_wrong_usage(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UsageError, match=r"notes\.txt: not one of"):
        run(tmp_path / "notes.txt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_images_is_wrong_usage(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no images in it"):
        run(tmp_path / "empty", tmp_path / "out")


def test_glass_alone_is_no_failure(tmp_path):
    (tmp_path / "glass").mkdir()
    PillowImage.new("RGB", (96, 96), (243, 242, 241)).save(tmp_path / "glass" / "a.png")
    summary = run(tmp_path / "glass", tmp_path / "out")
    assert summary.n_unscored == 0
    assert {row.status for row in summary.rows} == {Status.NO_TISSUE}


def test_an_unexpected_error_becomes_a_failed_image_with_a_traceback(tmp_path):
    pack, _ = batch.find_rules("28-8-label", None)
    image = Image(path=tmp_path / "a.png", name="x/a.png", stem="x/a", case="x")
    task = Task(image=image, plan=Plan(output=tmp_path, config=Config(), pack=pack))
    done = _guarded(task, lambda _: 1 // 0)
    assert done.outcome.status is Status.FAILED
    assert done.outcome.error == "x/a.png: ZeroDivisionError: integer division or modulo by zero; see errors/x/a.txt"
    assert "Traceback" in done.trace


def test_a_worker_that_dies_loses_only_its_own_item():
    items = ["1 + 1", "__import__('os')._exit(1)", "2 + 2", "3 + 3"]
    with Workers(2) as workers:
        results = dict(workers.run(eval, items, crashed=lambda item: f"lost {item[:10]}"))
        again = dict(workers.run(eval, ["5 + 5"], crashed=str))
    assert results == {0: 2, 1: "lost __import__", 2: 4, 3: 6}
    assert again == {0: 10}


# --- the same bytes --------------------------------------------------------------------------------------------------
def test_the_number_of_workers_does_not_change_a_byte(tiles, tmp_path):
    run(tiles, tmp_path / "one", workers=1)
    run(tiles, tmp_path / "two", workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_resumed_run_writes_the_bytes_of_one_that_was_never_stopped(tiles, tmp_path):
    run(tiles, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tiles, tmp_path / "stopped", listener=Deaf(stop_after=3))
    assert len(rows_of(tmp_path / "stopped", "case")) == 1
    kept = tmp_path / "stopped" / "cells" / "case A" / "tile 1.parquet"
    written = kept.stat().st_mtime_ns
    run(tiles, tmp_path / "stopped", resume=True)
    assert kept.stat().st_mtime_ns == written
    assert tree(tmp_path / "whole") == tree(tmp_path / "stopped")


def test_a_killed_run_can_be_resumed(tiles, tmp_path):
    run(tiles, tmp_path / "whole")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "pdl1quant", "score", str(tiles), "-o", str(out), "--mpp", "0.5", "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if (out / LEDGER_NAME).exists() and (out / LEDGER_NAME).read_bytes().count(b'"image"') >= 2:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.005)
    process.wait()
    with (out / LEDGER_NAME).open("ab") as ledger:
        ledger.write(b'{"image": "case A/ti')
    run(tiles, out, resume=True)
    assert tree(tmp_path / "whole") == tree(out)


def test_resuming_does_again_what_changed_since(tiles, tmp_path):
    run(tiles, tmp_path / "out")
    draw_tile(tiles / "case A" / "tile 1.png", seed=99)
    draw_tile(tiles / "Fall ü" / "tile 2.png", seed=98)
    (tmp_path / "out" / "cells" / "Fall ü" / "tile 0.parquet").unlink()
    run(tiles, tmp_path / "out", resume=True)
    run(tiles, tmp_path / "fresh")
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_an_image_that_broke_since_leaves_no_results_behind(tiles, tmp_path):
    run(tiles, tmp_path / "out")
    (tiles / "case A" / "tile 1.png").write_bytes(b"")
    run(tiles, tmp_path / "out", resume=True)
    assert not list((tmp_path / "out").rglob("case A/tile 1.*"))


def test_resuming_with_another_setting_names_it(tiles, tmp_path):
    run(tiles, tmp_path / "out")
    before = tree(tmp_path / "out")
    other = Config().model_copy(update={"working_mpp": 0.6})
    with pytest.raises(UsageError, match=r"begun with working_mpp = 0\.5, now it is 0\.6"):
        run(tiles, tmp_path / "out", resume=True, config=other)
    with pytest.raises(UsageError, match=r"begun with mpp = 0\.5, now it is 0\.25"):
        run(tiles, tmp_path / "out", resume=True, mpp=0.25)
    with pytest.raises(UsageError, match="begun with assay = 28-8-cytoplasm, now it is 28-8-label"):
        run(tiles, tmp_path / "out", resume=True, pack=batch.find_rules("28-8-label", None)[0])
    with pytest.raises(UsageError, match="4 more image"):
        run(tiles / "case A", tmp_path / "out", resume=True)
    assert tree(tmp_path / "out") == before


def test_results_do_not_know_where_they_were_made(tiles, tmp_path):
    run(tiles, tmp_path / "out")
    files, record = tree(tmp_path / "out")
    here = str(tmp_path).encode()
    assert not [name for name, content in files.items() if here in content]
    assert here.decode() not in json.dumps(record)
    assert record["config_digest"] == Config().digest
    assert [len(image["sha256"]) for image in record["images"]] == [64] * 4
    assert set(record["estimates"]) == {"case A", "Fall ü"}


# --- regions ---------------------------------------------------------------------------------------------------------
def draw_region(path, kind, corners=((0, 0), (128, 0), (128, 64), (0, 64), (0, 0))):
    path.parent.mkdir(parents=True, exist_ok=True)
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"objectType": "annotation", "classification": {"name": kind}},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def test_a_tumour_region_confirms_and_limits_what_is_scored(tiles, tmp_path):
    draw_phantom(tiles / "case A" / "tile 0.png")
    draw_region(tmp_path / "regions" / "tile 0.geojson", "Tumor")
    run(tiles / "case A", tmp_path / "out", roi=tmp_path / "regions")
    run(tiles / "case A", tmp_path / "whole")
    with_region, without = rows_of(tmp_path / "out", "image")
    assert ResultFlag.TUMOUR_UNCONFIRMED not in with_region.flags
    assert ResultFlag.TUMOUR_UNCONFIRMED in without.flags
    assert with_region.n_tumour < rows_of(tmp_path / "whole", "image")[0].n_tumour
    assert ResultFlag.TUMOUR_UNCONFIRMED in rows_of(tmp_path / "out", "case")[0].flags


def test_one_region_for_several_images_is_refused_with_what_to_do(tiles, tmp_path):
    region = draw_region(tmp_path / "region.geojson", "Tumor")
    with pytest.raises(UsageError, match="give a folder"):
        run(tiles, tmp_path / "out", roi=region)
    run(tiles / "case A" / "tile 0.png", tmp_path / "out", roi=region)


def test_regions_that_fit_no_image_are_wrong_usage(tiles, tmp_path):
    draw_region(tmp_path / "regions" / "other.geojson", "Tumor")
    with pytest.raises(UsageError, match="no file in it fits"):
        run(tiles, tmp_path / "out", roi=tmp_path / "regions")


def test_a_misspelt_region_file_is_named_with_the_image_that_it_may_be_meant_for(tiles, tmp_path):
    draw_region(tmp_path / "regions" / "tile 0.geojson", "Tumor")
    draw_region(tmp_path / "regions" / "tlie 1.geojson", "Tumor")
    listener = Deaf()
    run(tiles / "case A", tmp_path / "out", roi=tmp_path / "regions", listener=listener)
    (message,) = listener.complaints
    assert message.startswith("1 image has no region file and counts as a whole: tile 1.png (tlie 1.geojson belongs to")
    assert message.endswith("if it is meant for tile 1.png, rename it)")


def test_images_without_regions_and_regions_without_tumour_are_one_line_each(tiles, tmp_path):
    draw_region(tmp_path / "regions" / "tile 0.geojson", "Tumro")
    listener = Deaf()
    run(tiles / "case A", tmp_path / "out", roi=tmp_path / "regions", listener=listener)
    whole, doubt = listener.complaints
    assert whole == "1 image has no region file and counts as a whole: tile 1.png"
    assert doubt.startswith("tile 0.geojson: 1 region of class 'Tumro', none of class Tumor")


def test_a_region_outside_the_image_is_refused(tiles, tmp_path):
    far = draw_region(tmp_path / "far.geojson", "Tumor", ((900, 900), (950, 900), (950, 950), (900, 900)))
    summary = run(tiles / "case A" / "tile 0.png", tmp_path / "out", roi=far)
    assert summary.rows[0].status is Status.REFUSED
    assert "no region inside the image" in summary.rows[0].error


def test_an_excluded_region_alone_leaves_the_rest_or_says_that_it_leaves_nothing(tiles, tmp_path):
    image = tiles / "case A" / "tile 0.png"
    region = draw_region(tmp_path / "region.geojson", "Ignore*")
    assert run(image, tmp_path / "half", roi=region).rows[0].status is Status.OK
    draw_region(region, "Ignore*", ((0, 0), (128, 0), (128, 128), (0, 128), (0, 0)))
    row = run(image, tmp_path / "none", roi=region).rows[0]
    assert row.status is Status.REFUSED
    assert "excludes the whole image" in row.error


def test_a_changed_region_is_worked_on_again(tiles, tmp_path):
    region = draw_region(tmp_path / "region.geojson", "Tumor")
    image = draw_phantom(tiles / "case A" / "tile 0.png")
    before = run(image, tmp_path / "out", roi=region).rows[0]
    draw_region(region, "Tumor", ((0, 0), (128, 0), (128, 128), (0, 128), (0, 0)))
    after = run(image, tmp_path / "out", roi=region, resume=True).rows[0]
    assert after.n_tumour > before.n_tumour
