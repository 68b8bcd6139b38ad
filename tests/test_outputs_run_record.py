from __future__ import annotations

import json

import pytest

from pdl1quant.errors import OutputError
from pdl1quant.outputs.claims import is_result
from pdl1quant.outputs.run_record import TIMINGS, read_run_record, write_run_record


def test_record_is_sorted_and_comes_back(tmp_path):
    record = {"inputs": {"b.png": "2", "ä.png": "1"}, "config": {"working_mpp": 0.5}, TIMINGS: {"total_s": 1.5}}
    write_run_record(tmp_path / "run.json", record)
    back = read_run_record(tmp_path / "run.json")
    assert back.items() >= record.items()
    assert list(json.loads((tmp_path / "run.json").read_text())) == ["config", "inputs", "pdl1quant", "timings"]
    assert is_result(tmp_path / "run.json")


def test_order_of_the_keys_does_not_matter(tmp_path):
    write_run_record(tmp_path / "a", {"x": 1, "y": {"p": 1, "q": 2}})
    write_run_record(tmp_path / "b", {"y": {"q": 2, "p": 1}, "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_what_json_cannot_say_is_refused_and_the_old_file_stays(tmp_path, value):
    path = tmp_path / "run.json"
    path.write_text("old")
    with pytest.raises(OutputError, match="does not fit into JSON"):
        write_run_record(path, {"x": value})
    assert path.read_text() == "old"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}'])
def test_foreign_and_cut_records_are_named(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(OutputError, match=r"run\.json"):
        read_run_record(path)
