"""The command line as a user meets it: what it prints where, and how it exits."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
import tomllib

import pytest

import pdl1quant.cli as cli_module
from batch_runs import draw_phantom
from pdl1quant import __version__, batch, console
from pdl1quant.cli import FREQUENT_SETTINGS
from pdl1quant.config import Config, config_from
from pdl1quant.model import ResultFlag
from pdl1quant.outputs.scores_table import read_scores

WRONG_USAGE = 2
INTERRUPTED = 130


@pytest.fixture
def tiles(tmp_path):
    """Three small rendered tiles."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    for number in range(3):
        draw_phantom(folder / f"tile_{number}.png", seed=number)
    return folder


def one_line(text):
    return text.count("\n") == 1 and text.endswith("\n")


# --- help and wrong usage --------------------------------------------------------------------------------------------
def test_help_lists_all_commands_whole_and_score_first(pdl1quant):
    _, output, _ = pdl1quant("--help")
    lines = output.split("Commands:\n")[1].splitlines()
    assert tuple(line.split()[0] for line in lines) == cli_module.ORDER
    assert set(cli_module.ORDER) == set(cli_module.cli.commands)
    assert [line for line in lines if line.endswith("...")] == []


def test_version(pdl1quant):
    assert pdl1quant("--version") == (0, f"pdl1quant {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["score", "TILES", "-o", "OUT", "--ovrwrite"], "--overwrite"),
        (["scor"], "No such command 'scor'"),
        (["score", "-o", "OUT"], "PATH"),
        (["score", "TILES"], "--output"),
        (["score", "NOWHERE", "-o", "OUT"], "does not exist"),
        (["score", "TILES", "-o", "OUT", "--mpp", "20"], "between 0.1 and 2"),
        (["score", "TILES", "-o", "OUT", "--mpp", "nan"], "between 0.1 and 2"),
        (["score", "TILES", "-o", "OUT", "--mpp", "0,5"], "decimal point"),
        (["score", "TILES", "-o", "OUT", "--white", "243,241"], "three numbers"),
        (["score", "TILES", "-o", "OUT", "--white", "nan,241,240"], "between 128 and 255"),
        (["score", "TILES", "-o", "OUT", "--workers", "0"], "--workers"),
        (["score", "TILES", "-o", "OUT", "--overwrite", "--resume"], "exclude each other"),
        (["score", "TILES", "-o", "OUT", "--set", "nuclei.min_aera_um2=20"], "nuclei.min_area_um2"),
        (["score", "TILES", "-o", "OUT", "--set", "nuclei.min_area_um2=500"], "nuclei.min_area_um2 = 500"),
        (["score", "TILES", "-o", "OUT", "--set", "stains.haematoxylin=[0,0,0]"], "not all 0"),
        (["score", "TILES", "-o", "OUT", "--set", "stains.dab=[-1,0.5,0.5]"], "none negative"),
        (["score", "TILES", "-o", "OUT", "--set", "stains.haematoxylin=[0.27,0.57,0.78]"], "another colour than"),
        (
            ["score", "TILES", "-o", "OUT", "--set", "stains.haematoxylin=[2.7e-200,5.7e-200,7.8e-200]"],
            "another colour",
        ),
        (["score", "TILES", "-o", "OUT", "--positivity-dab-od", "9"], "positivity.dab_od"),
        (["score", "TILES", "-o", "OUT", "--stains-vectors", "none"], "auto"),
        (["score", "TILES", "-o", "OUT", "--assay", "28-8-labl"], "'28-8-label'"),
        (["score", "TILES", "-o", "OUT", "--assay", "28-8-label", "--indication", "melanom"], "melanoma"),
        (["score", "TILES", "-o", "TILES", "--mpp", "0.5"], "is an input as well"),
        (["config", "show", "--set", "nuclei"], "section.key=value"),
    ],
)
def test_wrong_usage_says_what_to_do_and_touches_nothing(pdl1quant, tiles, tmp_path, arguments, hint):
    places = {"TILES": tiles, "OUT": tmp_path / "out", "NOWHERE": tmp_path / "nowhere"}
    code, output, errors = pdl1quant(*(places.get(argument, argument) for argument in arguments))
    assert (code, output) == (WRONG_USAGE, "")
    assert hint in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()


# --- settings and assays ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_config_show_can_be_given_back(pdl1quant, tmp_path, encoding):
    code, text, _ = pdl1quant("config", "show", "--set", "positivity.dab_od=0.3")
    assert code == 0
    (tmp_path / "mine.toml").write_text(text, encoding=encoding)
    _, again, _ = pdl1quant("config", "show", "--config", tmp_path / "mine.toml")
    assert again == text
    assert config_from(tomllib.loads(again)).positivity.dab_od == 0.3


def test_every_frequent_setting_exists_and_has_an_option(pdl1quant):
    _, text, _ = pdl1quant("score", "--help")
    for name in FREQUENT_SETTINGS:
        section, key = name.split(".")
        assert hasattr(getattr(Config(), section), key)
        assert "--" + name.replace(".", "-").replace("_", "-") in text


def test_assays_lists_packs_indications_and_cut_offs(pdl1quant):
    code, text, _ = pdl1quant("assays")
    assert code == 0
    assert "28-8-cytoplasm\n" in text
    assert "--indication melanoma: Melanoma\n    TPS >= 1 %, US" in text
    assert "    TPS < 1 %, EU" in text
    assert "no calls" in text


# --- scoring ---------------------------------------------------------------------------------------------------------
def test_score_prints_a_line_per_case_its_remarks_and_where_to_look(pdl1quant, tiles, tmp_path):
    code, output, errors = pdl1quant("score", tiles, "-o", tmp_path / "out", "--mpp", "0.5", "--workers", "1")
    assert (code, errors) == (0, "")
    case, *remarks, end = output.splitlines()
    assert re.match(r"tiles  TPS \(cytoplasm\) (< )?\d+ % \(\d+-\d+\)  ", case)
    assert case.endswith(" tumour cells  3 images")
    notes = remarks[remarks.index("Notes:") + 1 :]
    assert "    no person confirmed what is tumour (draw it and give --roi)" in notes
    assert end.startswith(f"Look at {tmp_path}/out/report.html, then at {tmp_path}/out/scores.csv. Research use only")
    rows = read_scores(tmp_path / "out" / "scores.csv")
    summary = batch.Summary(output=tmp_path / "out", rows=rows, n_unscored=0, has_report=False)
    assert console.end_lines(summary)[-1].startswith(f"Look at {tmp_path}/out/scores.csv. ")  # an earlier one is there
    assert not {"positive", "negative"} & set(output.lower().replace(",", " ").split())


def test_every_flag_is_explained_once():
    explained = [*console.REMARKS, *console.REMARKS_OF_RUNS]
    said_by_tumour_unconfirmed = ResultFlag.NO_TUMOUR_ROI
    assert sorted([*explained, said_by_tumour_unconfirmed]) == sorted(ResultFlag)


def test_an_image_that_is_not_scored_is_named_counted_and_says_what_to_do(pdl1quant, tiles, tmp_path):
    (tiles / "broken.png").write_bytes(b"")
    code, output, errors = pdl1quant("score", tiles, "-o", tmp_path / "out", "--mpp", "0.5", "--workers", "1")
    assert code == 1
    assert one_line(errors)
    assert f"1 image is not scored: {tmp_path}/out/scores.csv says why" in output
    assert "--resume" in output


def test_when_nothing_is_scored_nothing_is_to_be_looked_at(pdl1quant, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    code, output, _ = pdl1quant("score", tmp_path / "broken.png", "-o", tmp_path / "out", "--workers", "1")
    assert code == 1
    assert "overlays" not in output
    assert "Nothing was scored." in output
    assert "mend it and" in output


def test_a_label_pack_says_why_no_call_is_made(pdl1quant, tiles, tmp_path):
    common = ("-o", tmp_path / "out", "--mpp", "0.5", "--workers", "1", "--assay", "28-8-label")
    _, output, _ = pdl1quant("score", tiles / "tile_0.png", *common)
    unconfirmed = "tumour is not confirmed on every image (draw it, --roi, or sign a review)"
    reasons = f"no indication was given (--indication); {unconfirmed}"
    assert f"\n    no call is made: {reasons}" in output


def test_quiet_leaves_only_the_errors(pdl1quant, tiles, tmp_path):
    (tiles / "broken.png").write_bytes(b"")
    code, output, errors = pdl1quant("score", tiles, "-o", tmp_path / "out", "--mpp", "0.5", "--workers", "1", "-q")
    assert (code, output) == (1, "")
    assert one_line(errors)
    assert errors.startswith("broken.png: ")


def test_an_option_of_a_frequent_setting_and_set_do_the_same(pdl1quant, tiles, tmp_path):
    common = ("--mpp", "0.5", "--workers", "1", "-q")
    tile = tiles / "tile_0.png"
    pdl1quant("score", tile, "-o", tmp_path / "a", "--positivity-dab-od", "0.3", *common)
    pdl1quant("score", tile, "-o", tmp_path / "b", "--set", "positivity.dab_od=0.3", *common)
    assert (tmp_path / "a" / "scores.csv").read_bytes() == (tmp_path / "b" / "scores.csv").read_bytes()


def test_labels_are_written_on_demand(pdl1quant, tiles, tmp_path):
    tile = tiles / "tile_0.png"
    pdl1quant("score", tile, "-o", tmp_path / "out", "--mpp", "0.5", "--labels", "--workers", "1", "-q")
    assert (tmp_path / "out" / "labels" / "tile_0.ome.tif").is_file()


def test_an_existing_output_is_refused_and_overwrite_spares_what_is_not_ours(pdl1quant, tiles, tmp_path):
    out = tmp_path / "out"
    common = ("score", tiles, "-o", out, "--mpp", "0.5", "--workers", "1", "-q")
    assert pdl1quant(*common)[0] == 0
    (out / "notes.txt").write_text("mine")
    code, _, errors = pdl1quant(*common)
    assert code == WRONG_USAGE
    assert one_line(errors)
    assert "--overwrite or --resume" in errors
    (tiles / "tile_2.png").unlink()
    assert pdl1quant(*common, "--overwrite")[0] == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "cells" / "tile_2.parquet").exists()
    assert pdl1quant(*common, "--resume")[0] == 0


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_is_one_line(pdl1quant, tiles, tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    code, _, errors = pdl1quant("score", tiles, "-o", tmp_path / "out", "--mpp", "0.5", "--workers", "1")
    assert code == 1
    assert one_line(errors)


def test_a_name_with_a_line_break_stays_one_line(pdl1quant, tiles, tmp_path):
    (tiles / "two\nlines [red].png").write_bytes(b"")
    _, _, errors = pdl1quant("score", tiles, "-o", tmp_path / "out", "--mpp", "0.5", "--workers", "1")
    assert one_line(errors)
    assert "lines [red].png" in errors


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="needs POSIX signals")
def test_an_interrupted_run_says_how_to_go_on(tiles, tmp_path):
    for number in range(3, 40):
        (tiles / f"tile_{number}.png").write_bytes((tiles / f"tile_{number % 3}.png").read_bytes() + bytes(number))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pdl1quant", "score", tiles, "-o", out, "--mpp", "0.5", "--workers", "2"]
    command += ["--set", "nuclei.segmenter=watershed"]  # starts sooner
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # tests in the background may ignore it: so would it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    while process.poll() is None and not list(out.rglob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, errors
    assert one_line(errors.removeprefix("\n"))  # click ends the line on which the terminal wrote ^C
    assert "--resume" in errors
    assert "Traceback" not in errors


STOPPED_WHILE_IMPORTING = """
import os, signal, sys

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

moment = sys.argv.pop()
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Stop())
from pdl1quant.__main__ import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize(
    ("moment", "what_to_do"),
    [
        ("pdl1quant.cli_exports", "stopped by the keyboard before anything was done: run the same command again"),
        ("numpy.exceptions", "run the same command with --resume to go on"),  # numpy would make an ImportError of it
        ("pdl1quant.batch.run", "run the same command with --resume to go on"),
    ],
)
def test_a_command_stopped_while_it_imports_says_so_in_one_line(tiles, tmp_path, moment, what_to_do):
    command = [sys.executable, "-c", STOPPED_WHILE_IMPORTING, "score", tiles, "-o", tmp_path / "out", "--mpp", "0.5"]
    ended = subprocess.run([*command, moment], capture_output=True, text=True, check=False)
    assert ended.returncode == INTERRUPTED, ended.stderr
    assert one_line(ended.stderr.removeprefix("\n"))
    assert ended.stderr.endswith(f"{what_to_do}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "what_to_do"),
    [
        (["score", "in", "-o", "out"], "run the same command with --resume to go on"),
        (["score", "in", "--overwrite"], "run the same command with --resume in place of --overwrite to go on"),
        (["report", "out"], "no file is half-written: run the same command again"),
        (["train", "out", "-o", "model", "--overwrite"], "no file is half-written: run the same command again"),
        (["verify"], "no file is half-written: run the same command again"),
        (["verify", "-o", "kit"], "no file is half-written: run it again with a new folder"),
    ],
)
def test_a_stopped_command_is_told_what_it_has_itself(arguments, what_to_do, monkeypatch, capsys):
    def stop(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_module.cli, "main", stop)
    with pytest.raises(SystemExit) as ended:
        cli_module.main(arguments)
    assert ended.value.code == INTERRUPTED
    assert capsys.readouterr().err.endswith(f"{what_to_do}\n")


@pytest.mark.parametrize(("memory_gb", "n"), [(0.5, 1), (4, 3), (64, 8)])
def test_there_are_no_more_workers_than_memory_has_gigabytes(memory_gb, n, monkeypatch):
    told = {"SC_PHYS_PAGES": int(memory_gb * 1e9) // 4096 + 1, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(cli_module.os, "sysconf", told.__getitem__)
    monkeypatch.setattr(cli_module, "_usable_cpus", lambda: 8)
    assert cli_module._usual_workers() == n


# --- names -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["score", "train", "figures"])
def test_an_empty_name_of_the_output_is_not_the_folder_one_is_in(pdl1quant, tmp_path, monkeypatch, command):
    """As that of a variable that is not set."""
    for name in ("in", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, output, errors = pdl1quant(command, tmp_path / "in", "-o", "")
    assert (code, output) == (WRONG_USAGE, "")
    assert "an empty name; give the folder" in errors
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--set", "foo=1"], "unknown setting 'foo'; `pdl1quant config show` lists all"),
        (["--set", "nuclei.segmeter=watershed"], "the nearest is 'nuclei.segmenter'"),
        (["--set", "dab_od=0.3"], "unknown setting 'dab_od'; the nearest is 'positivity.dab_od'"),
        (["--set", "cells.dab_od=0.3"], "unknown setting 'cells.dab_od'; the nearest is 'positivity.dab_od'"),
        (["--set", "min_area_um2=9"], "the nearest is 'tissue.min_area_um2' or 'nuclei.min_area_um2'"),
        (["--assay", "22c3"], "no rule pack '22c3'; choose from 28-8-cytoplasm, 28-8-label"),
        (["--assay", "28-8-lable"], "the nearest is '28-8-label', choose from"),
        (["--assay", "28-8-label", "--indication", "lung"], "no indication 'lung'; choose from nsclc-nonsquamous"),
    ],
)
def test_a_name_is_likened_only_to_one_that_is_near(pdl1quant, tmp_path, wrong, message):
    code, _, errors = pdl1quant("score", tmp_path, "-o", tmp_path.with_name("out"), *wrong)
    assert code == WRONG_USAGE
    assert message in errors


def test_settings_that_are_no_text_are_refused_in_plain_words(pdl1quant, tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\x89PNG")
    code, _, errors = pdl1quant("config", "show", "--config", tmp_path / "a.toml")
    assert code == WRONG_USAGE
    assert "a.toml: no text, so no settings; save those of `pdl1quant config show`" in errors


def test_a_link_that_points_to_itself_is_no_output(pdl1quant, tiles, tmp_path):
    (tmp_path / "self").symlink_to(tmp_path / "self")
    for out in ("self", "self/out"):
        code, _, errors = pdl1quant("score", tiles, "-o", tmp_path / out, "--mpp", "0.5")
        assert code == 1
        assert one_line(errors)
        assert "cannot be made or read" in errors


def test_results_are_shown_on_the_terminal_while_errors_go_to_a_file(monkeypatch):
    """``pdl1quant score ... 2> log``: the log holds what is wrong, and nothing else."""

    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", screen := Screen())
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    with console.Terminal() as terminal:
        terminal.complain("a.png: the file is empty; copy or export it again")
        terminal.control_done(["negative control"])
    assert screen.getvalue() == "negative control\n"
    assert log.getvalue() == "a.png: the file is empty; copy or export it again\n"


def test_a_run_goes_on_where_there_is_no_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with console.Terminal() as terminal:
        terminal.begin(1)
        terminal.complain("a.png: the file is empty; copy or export it again")
        terminal.control_done(["negative control"])


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_run_goes_on_when_the_reader_of_its_output_has_gone(name, monkeypatch):
    """As with ``| head``, or in a terminal that was closed; what waits in the stream fails no more when it ends."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, name, stream)
        with console.Terminal() as terminal:
            for _ in range(2):
                terminal.complain("a.png: the file is empty; copy or export it again")
                terminal.control_done(["negative control"])
