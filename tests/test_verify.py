"""`pdl1quant verify`: fields of known truth, the figures of the release, and what is said when they differ."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest
from click.testing import CliRunner

from pdl1quant.cli import cli, main
from pdl1quant.config import Config, load_config
from pdl1quant.slides.images import read_image
from pdl1quant.validation import installation
from pdl1quant.validation.installation import Check, check_fields, line, released, verdict

GOOD = Check(
    field="25 % brown",
    true_pct=25.0,
    found_pct=24.4,
    low_pct=19.0,
    high_pct=30.8,
    true_cells=571,
    found_cells=598,
    released_pct=24.4,
)


def only(monkeypatch, *names):
    chosen = {name: installation.FIELDS[name] for name in names}
    seeds = [list(installation.FIELDS).index(name) for name in names]
    assert seeds == list(range(len(names))), "the seeds of the fields are their places"
    monkeypatch.setattr(installation, "FIELDS", chosen)


def test_this_code_measures_what_the_record_of_the_release_says(monkeypatch):
    only(monkeypatch, "no brown", "no brown tumour, brown immune cells")
    for check in check_fields(Config()):
        assert check.released_pct is not None, "run benchmarks/released.py: settings or weights have changed"
        assert check.found_pct == pytest.approx(check.released_pct, abs=0.1)
        assert check.near_truth


def test_the_record_holds_every_field_and_only_for_the_settings_of_the_release():
    pinned = installation.pin_model(Config())
    assert set(released(pinned)) == set(installation.FIELDS)
    assert released(installation.pin_model(load_config(None, ["positivity.dab_od=0.3"]))) == {}


@pytest.mark.parametrize(
    ("changes", "passed", "words"),
    [
        ({}, True, "ok"),
        ({"found_pct": 28.1, "released_pct": None}, False, "FAR FROM THE TRUTH"),
        ({"true_pct": 5.0, "found_pct": 6.1, "released_pct": 6.1}, False, "FAR FROM THE TRUTH"),
        ({"released_pct": 25.0}, False, "NOT AS RELEASED"),
        ({"found_pct": float("nan")}, False, "FAR FROM THE TRUTH and NOT AS RELEASED"),
    ],
)
def test_a_field_passes_near_the_truth_and_near_the_release(changes, passed, words):
    check = dataclasses.replace(GOOD, **changes)
    assert check.passed is passed
    assert line(check).lower().endswith(words.lower())


def test_the_verdict_says_what_was_held_against_what():
    apart = dataclasses.replace(GOOD, released_pct=None)
    assert any("truth alone" in text for text in verdict([apart]))
    assert not any("truth alone" in text for text in verdict([GOOD, apart]))
    assert any("install anew" in text for text in verdict([dataclasses.replace(GOOD, released_pct=20.0)]))


def test_the_command_keeps_fields_that_it_can_read_their_truth_and_a_record(tmp_path, monkeypatch):
    only(monkeypatch, "no brown")
    monkeypatch.setattr(installation, "SIZE_PX", 256)
    out = tmp_path / "kit"
    done = CliRunner().invoke(cli, ["verify", "-o", str(out), "--nuclei-segmenter", "watershed"])
    assert done.exit_code == 2  # frequent settings are those of score; --set reaches all
    done = CliRunner().invoke(
        cli, ["verify", "-o", str(out), "--set", "nuclei.segmenter=watershed"], standalone_mode=False
    )
    record = json.loads((out / installation.RECORD).read_text())
    [field] = record["fields"]
    assert done.return_value == (0 if field["passed"] else 1)
    assert field["released_pct"] is None
    truth = pd.read_csv(out / "truth" / "01_no_brown.csv")
    assert truth["viable"].sum() == field["true_cells"] > 0
    image = read_image(out / "fields" / "01_no_brown.tif")
    assert image.mpp == pytest.approx(0.5)
    assert image.rgb.shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("options", "n_lines", "how"), [(["-q"], 0, "run it without --quiet"), ([], 5, "see the lines above")]
)
def test_a_machine_that_measures_otherwise_ends_with_one_line_and_exit_code_1(
    options, n_lines, how, monkeypatch, capsys
):
    monkeypatch.setattr(
        installation, "check_fields", lambda *_, **__: iter([dataclasses.replace(GOOD, found_pct=40.0)])
    )
    with pytest.raises(SystemExit) as end:
        main(["verify", *options])
    assert end.value.code == 1
    said = capsys.readouterr()
    assert said.out.count("\n") == n_lines
    assert said.err.count("\n") == 1
    assert how in said.err


def test_a_folder_with_files_is_refused_before_anything_is_rendered(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.setattr(installation, "check_fields", pytest.fail)
    with pytest.raises(SystemExit) as end:
        main(["verify", "-o", str(tmp_path)])
    assert end.value.code == 2
    assert "new or empty folder" in capsys.readouterr().err
