"""What cannot be scored: each is a row and a line that says why, and the others are scored."""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from batch_runs import PINK, Deaf, draw_tile, draw_tiles, rows_of, run
from pdl1quant import batch
from pdl1quant.batch import case_work
from pdl1quant.batch.work import Image, Plan, Task, guarded
from pdl1quant.batch.workers import Workers
from pdl1quant.config import Config
from pdl1quant.console import case_lines
from pdl1quant.errors import OutputError, UsageError
from pdl1quant.model import ResultFlag, Status
from pdl1quant.outputs.files import case_file_name
from pdl1quant.outputs.scores_table import read_scores

BROKEN = Path(__file__).parents[1] / "sample_slides" / "broken"


@pytest.fixture
def tiles(tmp_path):
    return draw_tiles(tmp_path / "tiles")


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
    assert listener.complaints[1] == f"case A/tile 0.png: {broken.error}"
    assert "tile 0.png" not in broken.error
    assert "\n" not in broken.error
    assert broken.tps is None
    case = rows_of(tmp_path / "out", "case")[0]
    assert case.status is Status.PARTIAL
    assert case.error == "2 of 3 images could not be scored; see their rows"
    assert ResultFlag.PARTIAL in case.flags


def test_none_of_the_broken_samples_stops_a_run_or_talks_past_us(tmp_path, capfd):
    """The whole folder of the repository, a header among it that claims more pixels than any image has."""
    files = {path.name for path in BROKEN.iterdir() if path.suffix != ".md"}
    rows = run(BROKEN, tmp_path / "out", listener=Deaf(), mpp=None).rows
    assert {row.image for row in rows if row.level == "image"} == files
    assert all(row.error for row in rows if row.status in {Status.FAILED, Status.REFUSED})
    assert not any(row.error.count("Error:") for row in rows)
    assert capfd.readouterr() == ("", "")


def test_another_stain_is_refused_and_does_not_shape_the_case(tiles, tmp_path):
    run(tiles / "case A", tmp_path / "without")
    draw_tile(tiles / "case A" / "eosin.png", colours=(PINK, PINK))
    listener = Deaf()
    summary = run(tiles / "case A", tmp_path / "with", listener=listener)
    (pink,) = [row for row in summary.rows if row.image == "eosin.png"]
    assert pink.status is Status.REFUSED
    assert "not haematoxylin and DAB" in pink.error
    assert listener.complaints == [f"eosin.png: {pink.error}"]
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


def test_a_file_of_another_type_is_a_failed_row_among_the_scored(tiles, tmp_path):
    (tiles / "notes.txt").write_text("no image")
    listener = Deaf()
    summary = run([tiles / "case A", tiles / "notes.txt"], tmp_path / "out", listener=listener)
    assert summary.n_unscored == 1
    (row,) = [row for row in summary.rows if row.status is Status.FAILED]
    assert row.image == "notes.txt"
    assert row.error.startswith("not one of .png, ")
    assert listener.complaints == [f"notes.txt: {row.error}"]


def test_the_same_trouble_of_many_images_is_one_line(tmp_path):
    for number in range(5):
        draw_tile(tmp_path / "tiny" / f"{number}.png", seed=number, size=32)
    (tmp_path / "tiny" / "x.png").write_bytes(b"")
    listener = Deaf()
    run(tmp_path / "tiny", tmp_path / "out", mpp=None, listener=listener)
    many, one = listener.complaints
    assert many == "5 images (0.png, 1.png, 2.png and 2 others): no pixel size in the file; pass --mpp (um per pixel)"
    assert one.startswith("x.png: the file is empty")


def test_empty_files_are_no_copies_of_each_other(tmp_path):
    draw_glass(tmp_path / "case" / "glass.png")
    for name in ("a.png", "b.jpg", "c.tif"):
        (tmp_path / "case" / name).write_bytes(b"")
    listener = Deaf()
    run(tmp_path / "case", tmp_path / "out", listener=listener)
    assert listener.complaints == ["3 images (a.png, b.jpg, c.tif): the file is empty; copy or export it again"]
    (case,) = rows_of(tmp_path / "out", "case")
    assert case.error == "3 of 4 images could not be scored; see their rows"
    assert not any("duplicate" in row.flags for row in rows_of(tmp_path / "out", "image"))


@pytest.mark.parametrize(
    ("n_bad", "n_good", "message"),
    [
        (0, 1, ""),
        (1, 0, "its image could not be scored; see its row"),
        (1, 1, "1 of 2 images could not be scored; see its row"),
        (2, 0, "none of its 2 images could be scored; see their rows"),
    ],
)
def test_a_case_counts_what_could_not_be_scored(tmp_path, n_bad, n_good, message):
    for number in range(n_good):
        draw_tile(tmp_path / "case" / f"{number}.png", seed=number, size=32)
    for number in range(n_bad):
        draw_tile(tmp_path / "case" / f"bad {number}.png").write_bytes(bytes([number]))
    run(tmp_path / "case", tmp_path / "out")
    (case,) = rows_of(tmp_path / "out", "case")
    assert case.error == message


def test_a_remark_says_how_many_images_it_concerns(tiles, tmp_path):
    for number in range(2):
        (tiles / "case A" / f"copy {number}.png").write_bytes((tiles / "case A" / "tile 0.png").read_bytes())
    (tiles / "case A" / "bad.png").write_bytes(b"")
    listener = Deaf()
    run(tiles / "case A", tmp_path / "out", listener=listener)
    line, *remarks = case_lines(listener.reports[0])
    assert line.endswith("4 of 5 images")
    assert remarks[0] == "    incomplete: 1 image not scored"
    assert remarks[-1] == "    2 images: the same as another image of the case, not counted again"


def test_an_image_of_several_pages_says_that_only_the_first_was_scored(tmp_path):
    folder = tmp_path / "case"
    tile = PillowImage.open(draw_tile(folder / "one.png"))
    tile.save(folder / "pages.tif", save_all=True, append_images=[tile.transpose(PillowImage.Transpose.ROTATE_90)])
    listener = Deaf()
    run(folder, tmp_path / "out", listener=listener)
    case, one, pages = sorted(read_scores(tmp_path / "out" / "scores.csv"), key=lambda row: row.image)
    assert ResultFlag.FIRST_IMAGE_ONLY in case.flags
    assert ResultFlag.FIRST_IMAGE_ONLY in pages.flags
    assert ResultFlag.FIRST_IMAGE_ONLY not in one.flags
    assert any("1 image: only the first page of several" in line for line in case_lines(listener.reports[0]))


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


def test_a_case_with_an_image_that_could_not_be_scored_makes_no_call_and_says_why(tmp_path):
    listener = Deaf()
    draw_tile(tmp_path / "case" / "a.png")
    (tmp_path / "case" / "b.png").write_bytes(b"")
    pack, indication = batch.find_rules("28-8-label", "melanoma")
    run(tmp_path / "case", tmp_path / "out", listener=listener, pack=pack, indication=indication)
    (report,) = listener.reports
    assert ResultFlag.PARTIAL in report.score.flags
    assert "part of the case could not be judged" in report.no_call


def test_an_unexpected_error_becomes_a_failed_image_with_a_traceback(tmp_path):
    pack, _ = batch.find_rules("28-8-label", None)
    image = Image(path=tmp_path / "a.png", name="x/a.png", stem="x/a", case="x")
    task = Task(image=image, plan=Plan(output=tmp_path, config=Config(), pack=pack))
    done = guarded(task, lambda _: 1 // 0)
    assert done.outcome.status is Status.FAILED
    assert done.outcome.error == "ZeroDivisionError: integer division or modulo by zero; see errors/x/a.txt"
    assert "Traceback" in done.trace


@pytest.fixture(scope="module")
def two_workers():
    """Processes for what is asked of workers themselves: each takes seconds to start."""
    with Workers(2) as workers:
        yield workers


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")
def test_workers_are_started_with_interruptions_held_back(two_workers):
    """Ctrl-C reaches them, too, and while they import a traceback would be all that they could say."""
    held = "(lambda s: s.SIGINT in s.pthread_sigmask(s.SIG_BLOCK, ()))(__import__('signal'))"
    assert dict(two_workers.run(eval, [held] * 4, crashed=str)) == dict.fromkeys(range(4), True)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_worker_that_dies_loses_only_its_own_item(two_workers):
    items = ["1 + 1", "__import__('os')._exit(1)", "2 + 2", "3 + 3"]
    results = dict(two_workers.run(eval, items, crashed=lambda item: f"lost {item[:10]}"))
    again = dict(two_workers.run(eval, ["5 + 5"], crashed=str))
    assert results == {0: 2, 1: "lost __import__", 2: 4, 3: 6}
    assert again == {0: 10}


def test_a_worker_that_dies_before_all_have_started_ends_no_run():
    others = multiprocessing.active_children()
    with Workers(2) as workers:
        workers.begin(eval, "__import__('os')._exit(1)")
        for child in {*multiprocessing.active_children()} - {*others}:
            child.join()
        workers.begin(eval, "1 + 1")
        assert dict(workers.run(eval, ["2 + 2"], crashed=str)) == {0: 4}


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that cannot be read, be it by root")
def test_a_file_of_regions_that_cannot_be_read_is_not_taken_for_its_image(tmp_path):
    draw_tile(tmp_path / "a.png")
    (tmp_path / "a.geojson").symlink_to("/proc/self/mem")
    run(tmp_path / "a.png", tmp_path / "out", roi=tmp_path / "a.geojson", listener=(listener := Deaf()))
    (line,) = listener.complaints
    assert line.startswith("a.png: a.geojson: cannot be read (")


def draw_glass(path, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = (243, 242, sum(path.as_posix().encode()) % 8 + 236)
    PillowImage.new(mode, (96, 96), (*colour, 128) if mode == "RGBA" else colour).save(path)
    return path


def test_a_case_that_cannot_be_scored_leaves_its_traceback_in_errors(tmp_path, monkeypatch):
    draw_glass(tmp_path / "images" / "a.png")
    (tmp_path / "cases.csv").write_text("image,case\na.png,../../outside\n")
    monkeypatch.setattr(case_work, "score_case", lambda *_, **__: 1 // 0)
    summary = run(tmp_path / "images", tmp_path / "folder" / "out", cases=tmp_path / "cases.csv")
    row = next(row for row in summary.rows if row.level == "case")
    assert row.status is Status.FAILED
    where = row.error.partition("; see ")[2]
    assert "Traceback" in (tmp_path / "folder" / "out" / where).read_text()
    assert sorted(path.parent.name for path in tmp_path.rglob("*outside*.txt")) == ["errors"]


@pytest.mark.parametrize("case", ["../x", "/x", "..", "a/b", "x" * 400, "\udcff", "a\0b"])
def test_files_of_a_case_have_names_without_folders(case, tmp_path):
    name = case_file_name(case)
    (tmp_path / f"{name}.txt").write_text("")
    assert [path.parent for path in tmp_path.rglob("*.txt")] == [tmp_path]
    assert name != case_file_name(f"{case}.")
    assert case_file_name("Fall ü") == case_file_name("Fall ü") != case_file_name("Fall_ü")


class FullDisk(Deaf):
    """Stands for a disk that is full after so many images."""

    def advance(self, n_images=1):
        self.n_images += n_images
        if self.n_images == 3:
            raise OutputError("cannot be written (No space left on device)")


def test_cases_that_are_done_keep_their_rows_when_a_run_cannot_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(case_work, "_SCORES_SHARE", 1e9)  # scores.csv is written after the first case, then at the end
    for case in "abc":
        draw_glass(tmp_path / "images" / case / f"{case}.png")
    with pytest.raises(OutputError, match="No space"):
        run(tmp_path / "images", tmp_path / "out", listener=FullDisk())
    assert [row.case for row in rows_of(tmp_path / "out", "case")] == ["a", "b"]


def test_what_was_done_on_reading_an_image_stands_in_the_record(tmp_path):
    draw_glass(tmp_path / "images" / "clear.png", mode="RGBA")
    draw_glass(tmp_path / "images" / "plain.png")
    run(tmp_path / "images", tmp_path / "out")
    notes = {each["image"]: each["notes"] for each in json.loads((tmp_path / "out" / "run.json").read_text())["images"]}
    assert notes == {"clear.png": ["alpha_on_white"], "plain.png": []}
    run(tmp_path / "images", tmp_path / "out", resume=True)
    again = json.loads((tmp_path / "out" / "run.json").read_text())["images"]
    assert {each["image"]: each["notes"] for each in again} == notes
