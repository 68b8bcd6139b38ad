import re
from importlib.resources import files
from pathlib import Path

import pytest

from pdl1quant.assays import find_indication, load_pack, pack_names
from pdl1quant.errors import AssayError
from pdl1quant.model import Compartment

MINIMAL = """
name = "mine"
assay = "73-10"
title = "A laboratory's own pack"
score_name = "TPS (mine)"
compartment = "cell"
makes_calls = false
min_tumour_cells = 50
citations = ["our own protocol"]
"""
CUT_OFF = """
[[indications]]
name = "lung"
title = "Lung"
[[indications.cut_offs]]
score = "tps"
value = 1
jurisdiction = "US"
drug = "drug"
date = "2020"
citation = "label"
"""


@pytest.fixture
def write(tmp_path: Path):
    def _write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return _write


def cut_offs(indication):
    return [(c.score, c.value, c.jurisdiction, c.qualifies) for c in indication.cut_offs]


@pytest.mark.parametrize("name", pack_names())
def test_every_pack_parses_under_its_own_name(name):
    pack = load_pack(name)
    assert pack.name == name
    assert pack.citations
    assert pack.min_tumour_cells >= 100


@pytest.mark.parametrize("name", pack_names())
def test_every_cut_off_says_where_for_what_since_when_and_on_whose_word(name):
    for indication in load_pack(name).indications:
        for cut_off in indication.cut_offs:
            assert cut_off.jurisdiction in {"US", "EU"}
            assert cut_off.drug
            assert cut_off.citation
            assert re.fullmatch(r"20\d\d|date not verified", cut_off.date)


def test_cytoplasm_pack_makes_no_call():
    pack = load_pack("28-8-cytoplasm")
    assert pack.compartment is Compartment.CYTOPLASM
    assert pack.score_name == "TPS (cytoplasm)"
    assert not pack.makes_calls
    assert pack.indications == ()
    assert pack.reference_lines_pct == (1, 5, 10, 50)


def test_only_the_membrane_pack_carries_the_name_of_the_label():
    named = [name for name in pack_names() if load_pack(name).score_name == "TPS per 28-8 label"]
    assert named == ["28-8-label"]
    assert load_pack("28-8-label").compartment is Compartment.MEMBRANE


def test_label_pack_holds_exactly_the_published_cut_offs():
    pack = load_pack("28-8-label")
    assert {each.name: cut_offs(each) for each in pack.indications} == {
        "nsclc-nonsquamous": [("tps", value, "US", "at_least") for value in (1, 5, 10)],
        "nsclc": [("tps", 1, "US", "at_least")],
        "scchn": [("tps", 1, "US", "at_least")],
        "urothelial": [("tps", 1, "US", "at_least")],
        "melanoma": [("tps", 1, "US", "at_least"), ("tps", 1, "EU", "below")],
        "gastro-oesophageal-adenocarcinoma": [("cps", 5, "EU", "at_least"), ("cps", 1, "US", "at_least")],
        "oesophageal-squamous": [("tps", 1, "EU", "at_least")],
    }


def test_fifty_per_cent_is_no_cut_off():
    pack = load_pack("28-8-label")
    assert all(cut_off.value != 50 for each in pack.indications for cut_off in each.cut_offs)


@pytest.mark.parametrize("name", ["nsclc-nonsquamous", "NSCLC nonsquamous", " nsclc_nonsquamous "])
def test_indication_is_found_whatever_its_spelling(name):
    assert find_indication(load_pack("28-8-label"), name).name == "nsclc-nonsquamous"


def test_unknown_indication_names_the_nearest_and_all():
    with pytest.raises(AssayError, match=r"nearest is 'urothelial', choose from nsclc-nonsquamous, .*melanoma"):
        find_indication(load_pack("28-8-label"), "urothelal")


@pytest.mark.parametrize("pack", ["28-8-label", "28-8-cytoplasm"])
@pytest.mark.parametrize("name", ["prostate", "cervix", "HCC", "prostate cancer"])
def test_disease_without_cut_off_says_that_none_was_found(pack, name):
    with pytest.raises(AssayError, match="no 28-8 cut-off was found"):
        find_indication(load_pack(pack), name)


def test_indication_under_a_pack_without_calls_says_so():
    with pytest.raises(AssayError, match="makes no calls"):
        find_indication(load_pack("28-8-cytoplasm"), "melanoma")


def test_unknown_pack_names_the_nearest_and_all():
    with pytest.raises(AssayError, match="nearest is '28-8-label', choose from 28-8-cytoplasm, 28-8-label"):
        load_pack("28-8-lable")


def test_own_pack_is_read_from_its_path(write):
    pack = load_pack(write(MINIMAL + CUT_OFF))
    assert pack.assay == "73-10"
    assert cut_offs(find_indication(pack, "lung")) == [("tps", 1, "US", "at_least")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "compartmnt = 1", "unknown key 'compartmnt'; the nearest is 'compartment'"),
        (MINIMAL + CUT_OFF + "drugs = 1", "unknown key 'indications.0.cut_offs.0.drugs'; the nearest is 'drug'"),
        (MINIMAL + CUT_OFF.replace('title = "Lung"', 'title = "Lung"\nname_ = 1'), "the nearest is 'name'"),
        (MINIMAL + CUT_OFF.replace('citation = "label"', ""), "citation' is missing"),
        (MINIMAL + CUT_OFF.replace('citation = "label"', 'citation = " "'), "at least 1 character"),
        (MINIMAL + CUT_OFF.replace("value = 1", "value = 101"), "less than or equal to 100"),
        (MINIMAL + CUT_OFF + CUT_OFF, "two indications have the same name"),
        (MINIMAL.replace('"cell"', '"nucleus"'), "compartment = 'nucleus'"),
        ("name = ", "not a TOML file"),
    ],
)
def test_broken_pack_is_refused_in_one_line(write, text, message):
    with pytest.raises(AssayError) as caught:
        load_pack(write(text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shipped", ["28-8-label", "28-8-cytoplasm"])
def test_own_pack_does_not_pass_for_one_of_the_package(write, shipped):
    theirs = load_pack(shipped).score_name
    for text in (
        MINIMAL.replace('score_name = "TPS (mine)"', f'score_name = "{theirs.upper()}"'),
        re.sub(r'^name = ".*"$', f'name = "{shipped}"', MINIMAL, flags=re.MULTILINE),
    ):
        assert text != MINIMAL
        with pytest.raises(AssayError, match=f"that is the rule pack {shipped} of pdl1quant") as caught:
            load_pack(write(text))
        assert "\n" not in str(caught.value)


def test_a_copy_of_a_pack_of_the_package_is_that_pack(write):
    text = files("pdl1quant.assays").joinpath("28-8-label.toml").read_text(encoding="utf-8")
    assert load_pack(write(text)) == load_pack("28-8-label")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_pack_is_read_from_a_path_as_windows_writes_it(tmp_path, encoding):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL + CUT_OFF, encoding=encoding)
    assert load_pack(path) == load_pack(str(path))


def test_missing_pack_file_is_named(tmp_path):
    path = str(tmp_path / "none.toml")
    with pytest.raises(AssayError, match=r"none\.toml: cannot read"):
        load_pack(path)
