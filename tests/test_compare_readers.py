"""Scores of a run beside those of readers: what may stand in the table, whose it is, what is compared and said."""

from __future__ import annotations

import csv
import hashlib
import html
import re
from dataclasses import replace

import pandas as pd
import pytest

from batch_runs import job_for
from pdl1quant.agreement import AgreementJob, compare_readers
from pdl1quant.agreement.reader_scores import KINDS, PROGRAM, read_reader_scores, read_score
from pdl1quant.agreement.run import cut_offs_of
from pdl1quant.batch.record import settings_of
from pdl1quant.errors import OutputError, UsageError
from pdl1quant.model import Status
from pdl1quant.outputs.claims import is_result
from pdl1quant.outputs.run_record import write_run_record
from pdl1quant.outputs.scores_table import ScoreRow, read_scores, write_scores
from pdl1quant.review import open_results
from report_runs import label_rules

NAMES = [f"Case {letter}" for letter in "ABCDEFGHIJKLMN"]
NOT_EVALUABLE = ["Case F", "Case M"]
READERS = ["Dr. Ada", "Dr. Béla", "Dr. Chen"]


TPS = (0.0, 0.4, 3.2, 8.1, 12.5, 20.0, 24.9, 31.0, 47.7, 55.0, 68.2, 74.4, 80.0, 97.3)


@pytest.fixture
def out(tmp_path):
    """Tables of a run over a case for each of `NAMES`, of one image: nothing else of it is read."""
    folder = tmp_path / "out"
    job = job_for(tmp_path / "tiles", folder)
    common = {"status": Status.OK, "assay": job.pack.name, "config_digest": job.config.digest, "mpp": 0.5}
    rows, entries = [], []
    for number, (case, tps) in enumerate(zip(NAMES, TPS, strict=True)):
        image = f"field_{number}.png"
        flags = ("tumour_unconfirmed", *(["vectors_fixed"] if case == "Case D" else []), "selected_fields")
        common |= {"case": case, "tps": tps, "tps_low": tps / 2, "tps_high": (100 + tps) / 2, "flags": flags}
        rows.append(ScoreRow(level="image", image=image, **common))
        rows.append(ScoreRow(level="case", image="", evaluable=case not in NOT_EVALUABLE, h_score=2 * tps, **common))
        sha256 = hashlib.sha256(image.encode()).hexdigest()
        entries.append({"image": image, "results": f"field_{number}", "case": case, "sha256": sha256})
    write_scores(rows, folder / "scores.csv")
    record = {"settings": settings_of(job), "config_digest": job.config.digest, "images": entries, "timings": {}}
    write_run_record(folder / "run.json", record)
    return folder


def rows_of(out, level="case"):
    return [row for row in read_scores(out / "scores.csv") if row.level == level]


def said_of(out):
    """By case what three readers say: near to the run, each in a way of their own."""
    return {
        row.case: (
            str(round(row.tps)),
            f"{min(100, row.tps + 4):.1f}".replace(".", ","),
            f"{0.8 * row.tps // 5 * 5:g} %",
        )
        for row in rows_of(out)
    }


def write_wide(path, said, readers=READERS, *, named_by="name"):
    lines = [";".join([named_by, *readers]), *(";".join([name, *texts]) for name, texts in said.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def compare(out, readers, **how):
    return compare_readers(AgreementJob(out=out, readers=readers, **how))


def table(out, name, folder="agreement"):
    with (out / folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measure(out, name, first=PROGRAM, second="median of the readers", cut_off=""):
    (row,) = [
        row
        for row in table(out, "statistics.csv")
        if (row["measure"], row["first"], row["second"], row["cut_off"]) == (name, first, second, cut_off)
    ]
    return row


def page_of(out):
    return (out / "agreement" / "agreement.html").read_text(encoding="utf-8")


# --- what may stand in the table -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12.0), (" 12,5 ", 12.5), ("12.5 %", 12.5), ("0", 0.0), ("100\u202f%", 100.0), ("<1", 0.5),
        ("< 1 %", 0.5), ("<\u00a01", 0.5), ("<0,5", 0.25), ("", None), (" ", None), ("\N{EN DASH}", None),
        ("n/a", None), ("NaN", None), ("not evaluable", None),
    ],
)  # fmt: skip
def test_scores_are_read_as_a_pathologist_types_them(text, value):
    assert read_score(text, KINDS["tps"], where="here") == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("101", "'101' is no TPS, which lies between 0 and 100"), ("-1", "is no TPS"), ("many", "'many' is no score"),
        ("5-10", "'5-10' is no score"), (">50", "'>50' is no score"), ("<5", "may be any of many scores"),
        ("1e999", "is no TPS"), ("=1+1", "is no score"),
    ],
)  # fmt: skip
def test_what_is_no_score_is_refused_with_its_line(out, tmp_path, text, why):
    file = write_wide(tmp_path / "readers.csv", {"Case A": ["1"], "Case B": [text]}, ["Ada"])
    with pytest.raises(UsageError, match=f"readers.csv, line 3, column 'Ada': .*{re.escape(why)}"):
        compare(out, file)
    assert not (out / "agreement").exists()


def test_an_h_score_may_be_above_100(tmp_path):
    file = write_wide(tmp_path / "readers.csv", {"Case A": ["240"]}, ["Ada"])
    assert read_reader_scores(file, kind=KINDS["h_score"]).scores[0].value == 240
    with pytest.raises(UsageError, match="no TPS"):
        read_reader_scores(file)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("reader,score\nAda,1\n", "no column name or core or image or case"),
        ("name,reader\nCase A,Ada\n", "a column 'reader' and none 'score'"),
        ("name\nCase A\n", "no column of a reader"),
        ("name,reader,score\n,Ada,1\n", "line 2: no name"),
        ("name,reader,score\nCase A,,1\n", "line 2: no reader"),
        ("name,Ada\nCase A,\n", "holds no score"),
        ("name,reader,score\nCase A,Ada,1\nCase B,ADA,1\n", "line 3: reader 'ADA' is spelt 'Ada' above"),
        ("name,reader,score,column\nCase A,Ada,1,tpx\n", "line 2: no score 'tpx' to compare; the nearest is 'tps'"),
        ("name,pdl1quant\nCase A,1\n", "a reader cannot be called 'pdl1quant'"),
        ("name,Ada\nCase A,1\ncase a,2\n", "line 3: Ada scored case a in line 2 already, called 'Case A' there"),
        ("name,Ada\nCase Z,1\nCase Z,2\n", "no name in it (Case Z) is among the cases of this run; the nearest is"),
        ("name,Ada\nCase A,1\nCase Z,1\nCase Z,2\n", "line 4: Ada scored Case Z in line 3 already"),
    ],
)
def test_tables_that_do_not_say_whose_a_score_is_are_refused(out, tmp_path, text, why):
    (tmp_path / "readers.csv").write_text(text)
    with pytest.raises(UsageError, match=re.escape(why)):
        compare(out, tmp_path / "readers.csv")


def test_a_workbook_is_refused_with_what_to_do(out, tmp_path):
    (tmp_path / "readers.xlsx").write_bytes(b"PK\3\4 and more")
    with pytest.raises(UsageError, match="save it as CSV UTF-8"):
        compare(out, tmp_path / "readers.xlsx")


def test_wide_long_and_parquet_tables_say_the_same(out, tmp_path):
    said = said_of(out)
    compare(out, write_wide(tmp_path / "wide.csv", said), folder=out / "wide")
    long = pd.DataFrame(
        [(name, reader, text) for name, texts in said.items() for reader, text in zip(READERS, texts, strict=True)],
        columns=["Name", "Reader", "Score"],
    )
    long.to_csv(tmp_path / "long.csv", index=False, encoding="utf-16", sep="\t")
    long.to_parquet(tmp_path / "long.parquet")
    for name in ("long.csv", "long.parquet"):
        compare(out, tmp_path / name, folder=out / "long")
        for written in ("pairs.csv", "statistics.csv"):
            assert (out / "long" / written).read_bytes() == (out / "wide" / written).read_bytes()


def test_numbers_of_rows_that_pandas_keeps_are_no_reader(tmp_path):
    said = pd.DataFrame({"name": NAMES, "Ada": [str(number) for number in range(len(NAMES))]})
    said.sample(frac=1, random_state=0).to_parquet(tmp_path / "readers.parquet")
    assert read_reader_scores(tmp_path / "readers.parquet").readers == ("Ada",)


def test_a_column_of_remarks_is_refused_as_no_reader(tmp_path):
    file = write_wide(tmp_path / "readers.csv", {"Case A": ["1", ""], "Case B": ["2", "folded"]}, ["Ada", "Remark"])
    with pytest.raises(UsageError, match=r"line 3, column 'Remark': 'folded' is no score.*take the column out"):
        read_reader_scores(file)


def test_a_line_of_a_column_per_reader_may_say_which_score_it_is(tmp_path):
    (tmp_path / "readers.csv").write_text("name,Ada,column\nCase A,1,cps\nCase A,2,\n")
    scores = read_reader_scores(tmp_path / "readers.csv").scores
    assert [(score.kind.name, score.value) for score in scores] == [("cps", 1), ("tps", 2)]
    (tmp_path / "readers.csv").write_text("name,Ada,column\nCase A,1,tpx\n")
    with pytest.raises(UsageError, match="line 2: no score 'tpx'"):
        read_reader_scores(tmp_path / "readers.csv")


# --- whose it is -----------------------------------------------------------------------------------------------------
def test_cases_are_known_whatever_their_capitals_and_spaces_and_unknown_names_are_listed(out, tmp_path):
    said = {"CASE  A": ["1"], "caseb": ["2"], "Case C": ["3"], "Nobody": ["4"]}
    lines = []
    found = compare_readers(
        AgreementJob(out=out, readers=write_wide(tmp_path / "readers.csv", said, ["Ada"])), say=lines.append
    )
    assert [case.row.case for case in found.agreements[0].cases] == ["Case A", "Case B", "Case C"]
    assert found.unmatched == ("Nobody",)
    assert "1 name not of this run: Nobody" in lines
    assert "not of this run: Nobody" in page_of(out)
    assert {row.case for row in found.unread} == set(NAMES) - {"Case A", "Case B", "Case C"}


@pytest.mark.parametrize("name", ["field_{}.png", "field_{}", "./field_{}.png"])
def test_images_are_known_by_path_file_name_or_either_without_its_ending(out, tmp_path, name):
    said = {name.format(number): ["5"] for number in range(4)}
    found = compare(out, write_wide(tmp_path / "readers.csv", said, ["Ada"]))
    assert found.level == "image"
    assert [case.row.image for case in found.agreements[0].cases] == [f"field_{number}.png" for number in range(4)]


def test_cores_are_known_by_their_slide_where_there_are_several(out, tmp_path):
    rows = list(read_scores(out / "scores.csv"))
    images = [row for row in rows if row.image in ("field_0.png", "field_1.png")]
    rows += [replace(row, level="core", region=name) for row in images for name in ("A-1", "B-2")]
    write_scores(rows, out / "scores.csv")
    with pytest.raises(UsageError, match="A-1 is the name of 2 cores; add a column image"):
        compare(out, write_wide(tmp_path / "readers.csv", {"A-1": ["5"]}, ["Ada"]))
    (tmp_path / "cores.csv").write_text("core,image,Ada\na-1,field_0,5\nB-2,field_1.png,7\n")
    found = compare(out, tmp_path / "cores.csv")
    assert found.level == "core"
    cases = found.agreements[0].cases
    assert [(case.row.image, case.row.region) for case in cases] == [("field_0.png", "A-1"), ("field_1.png", "B-2")]


# --- what is compared ------------------------------------------------------------------------------------------------
def test_cases_that_are_not_evaluable_or_not_scored_are_left_out_and_counted(out, tmp_path):
    rows = list(read_scores(out / "scores.csv"))
    write_scores(
        [
            replace(row, status=Status.FAILED, error="not a PNG", tps=None) if row.case == "Case B" else row
            for row in rows
        ],
        out / "scores.csv",
    )
    said = {name: ["5", "6", "7"] for name in NAMES}
    found = compare(out, write_wide(tmp_path / "readers.csv", said))
    assert {each.row.case: each.why.partition(":")[0] for each in found.left_out} == {
        "Case B": "not scored",
        **dict.fromkeys(NOT_EVALUABLE, "not evaluable"),
    }
    assert len(found.agreements[0].cases) == len(NAMES) - 3
    assert measure(out, "icc_2_1", "Dr. Ada", "Dr. Béla")["n"] == str(len(NAMES) - 3)  # readers, too, on those alone
    pairs = table(out, "pairs.csv")
    assert len(pairs) == 3 * len(NAMES)
    assert [row["case"] for row in pairs if row["left_out"]][::3] == ["Case B", *NOT_EVALUABLE]


def test_the_same_image_twice_is_no_second_case(out, tmp_path):
    rows = [
        replace(row, flags=(*row.flags, "duplicate")) if row.image == "field_2.png" else row
        for row in read_scores(out / "scores.csv")
    ]
    write_scores(rows, out / "scores.csv")
    said = {f"field_{number}": ["5"] for number in range(4)}
    found = compare(out, write_wide(tmp_path / "readers.csv", said, ["Ada"]))
    assert [case.row.image for case in found.agreements[0].cases] == ["field_0.png", "field_1.png", "field_3.png"]
    assert [(each.row.image, each.why.partition(",")[0]) for each in found.left_out] == [
        ("field_2.png", "the same image as another of its case")
    ]


def test_doubtful_scores_are_compared_and_marked(out, tmp_path):
    found = compare(out, write_wide(tmp_path / "readers.csv", said_of(out)))
    marks = {case.row.case: case.marks for case in found.agreements[0].cases}
    assert all("tumour_unconfirmed" in each for each in marks.values())
    assert "vectors_fixed" in marks["Case D"]
    assert "vectors_fixed" not in marks["Case A"]
    (row,) = [row for row in table(out, "pairs.csv") if (row["case"], row["reader"]) == ("Case D", "Dr. Ada")]
    assert {"tumour_unconfirmed", "vectors_fixed"} <= set(row["marks"].split(";"))
    page = html.unescape(page_of(out))
    assert "All carry: tumour unconfirmed" in page
    assert "▲ textbook stain colours" in page


def test_a_reader_who_says_what_the_run_says_agrees_in_full(out, tmp_path):
    said = {row.case: [f"{row.tps:.4f}"] for row in rows_of(out)}
    compare(out, write_wide(tmp_path / "readers.csv", said, ["Ada"]))
    for name in ("icc_2_1", "ccc", "spearman"):
        assert measure(out, name, second="Ada")["estimate"] == "1.0000"
    assert measure(out, "mean_difference", second="Ada")["estimate"] == "0.0000"
    assert not re.search(">[-+\N{MINUS SIGN}]0[.]0<", page_of(out))  # no difference has no sign
    for cut_off in ("1", "5", "10", "50"):
        assert measure(out, "overall_agreement_pct", second="Ada", cut_off=cut_off)["estimate"] == "100.0000"


def test_numbers_of_the_tables_are_those_of_their_rows(out, tmp_path):
    found = compare(out, write_wide(tmp_path / "readers.csv", said_of(out)))
    pairs = pd.DataFrame(table(out, "pairs.csv"))
    pairs = pairs[pairs["left_out"] == ""].astype({"score": float, "reader_score": float, "readers_median": float})
    by_reader = pairs.pivot_table(index="case", columns="reader", values="reader_score")
    assert pairs.groupby("case")["readers_median"].first().to_dict() == pytest.approx(
        by_reader.median(axis=1).to_dict()
    )
    score = pairs.groupby("case")["score"].first()
    away = float((score - by_reader.median(axis=1)).mean())
    assert float(measure(out, "mean_difference")["estimate"]) == pytest.approx(away, abs=1e-3)
    both = int(((score >= 10) & (by_reader["Dr. Chen"] >= 10)).sum())
    assert measure(out, "n_at_least_both", second="Dr. Chen", cut_off="10")["estimate"] == str(both)
    compared = {(row["compared"], row["first"], row["second"]) for row in table(out, "statistics.csv")}
    assert len(compared) == 1 + 3 + 3 + 3 + 1  # median, each reader, each two, each with the others, all at once
    assert found.agreements[0].all_readers.n == len(score)


def test_one_reader_alone_works(out, tmp_path):
    found = compare(out, write_wide(tmp_path / "readers.csv", {name: ["5"] for name in NAMES}, ["Ada"]))
    assert found.agreements[0].all_readers is None
    assert {row["second"] for row in table(out, "statistics.csv")} == {"Ada"}
    assert not re.search("ICC, readers with one another|readers' own agreement", html.unescape(page_of(out)))


def test_constant_scores_give_an_empty_cell_and_a_reason(out, tmp_path):
    compare(out, write_wide(tmp_path / "readers.csv", {name: ["5", "5", "5"] for name in NAMES}))
    for first, second, name, cut_off, why in (
        ("Dr. Ada", "Dr. Béla", "icc_2_1", "", "every case has the same score"),
        (PROGRAM, "Dr. Ada", "ccc", "", "one of the two gives every case the same score"),
        ("Dr. Ada", "Dr. Béla", "cohen_kappa", "5", "both put all cases on the same side"),
        ("all readers", "all readers", "fleiss_kappa", "5", "all readers put all cases into one category"),
    ):
        row = measure(out, name, first, second, cut_off)
        assert (row["estimate"], row["low"], row["high"]) == ("", "", "")
        assert why in row["note"]
    for name in ("pairs.csv", "statistics.csv", "agreement.html"):
        assert not re.search(r"\bnan\b", (out / "agreement" / name).read_text(encoding="utf-8"), re.IGNORECASE)


def test_few_cases_and_gaps_are_said(out, tmp_path):
    said = {name: ["5", "" if number % 2 else "9"] for number, name in enumerate(NAMES[:8])}
    lines = []
    compare_readers(
        AgreementJob(out=out, readers=write_wide(tmp_path / "readers.csv", said, READERS[:2])), say=lines.append
    )
    assert measure(out, "ccc", second="Dr. Ada")["n"] == "7"  # one is not evaluable
    assert measure(out, "ccc", second="Dr. Béla")["n"] == "4"
    assert "fewer than 10: says little" in measure(out, "ccc", second="Dr. Béla")["note"]
    assert any("fewer than 10 say little" in line for line in lines)
    assert any("4 places were left empty" in line for line in lines)
    (alone,) = (line.strip() for line in lines if "one reader alone" in line)  # the eighth is not evaluable
    assert alone == "3 cases read by one reader alone: held against that reader, not the median"
    assert measure(out, "ccc")["n"] == "4"
    assert "fewer than 10 say little" in page_of(out)
    assert lines.count("It measures agreement on these cases; it is no clinical validation.") == 1


@pytest.mark.parametrize(("texts", "note"), [(["<1"], "1 score written"), (["<1", "<0.5"], "2 scores written")])
def test_scores_below_a_bound_are_counted(out, tmp_path, texts, note):
    said = {name: [text] for name, text in zip(NAMES, [*texts, "5", "9"], strict=False)}
    (told,) = compare(out, write_wide(tmp_path / "readers.csv", said, ["Ada"])).notes
    assert told.startswith(note)
    assert told.endswith(f"count{'s' if len(texts) == 1 else ''} as half of the bound, < 1 as 0.5.")


def test_the_kappa_of_two_readers_is_of_the_kind_of_that_of_the_program(out, tmp_path):
    """Fleiss' of two readers is Scott's pi: another number than Cohen's, which the program is measured by."""
    said = {name: (str(9 * number), str(4 * number), "20") for number, name in enumerate(NAMES) if number < 12}
    for n, measured, pair in ((2, "cohen_kappa", ("Dr. Ada", "Dr. Béla")), (3, "fleiss_kappa", ("all readers",) * 2)):
        file = write_wide(tmp_path / "readers.csv", {name: texts[:n] for name, texts in said.items()}, READERS[:n])
        lines = []
        compare_readers(AgreementJob(out=out, readers=file, cut_offs=(25,)), say=lines.append)
        (line,) = [line for line in lines if line.startswith("  at 25")]
        told = line.partition("readers with one another: ")[2].partition("kappa ")
        value = float(measure(out, measured, *pair, cut_off="25")["estimate"])
        assert told[0] == ("" if n == 2 else "Fleiss' ")
        assert told[2].split(" ")[0] == f"{value:.2f}"


def test_shares_in_place_of_per_cent_are_noticed(out, tmp_path):
    said = {name: ["0.35", "35"] for name in NAMES}
    found = compare(out, write_wide(tmp_path / "readers.csv", said, ["Ada", "Ben"]))
    assert [note for note in found.notes if "between 0 and 1" in note] == [
        "All scores of Ada lie between 0 and 1: if these are shares, write them in per cent."
    ]


def test_another_score_is_compared_where_the_table_names_it(out, tmp_path):
    lines = ["name,reader,score,column"]
    lines += [f"{name},Ada,{5 + number},{column}" for number, name in enumerate(NAMES) for column in ("tps", "h")]
    (tmp_path / "readers.csv").write_text("\n".join(lines))
    found = compare(out, tmp_path / "readers.csv")
    assert [(each.kind.name, each.cut_offs) for each in found.agreements] == [("tps", (1, 5, 10, 50)), ("h_score", ())]
    assert {row["column"] for row in table(out, "statistics.csv")} == {"tps", "h_score"}
    assert "H-score" in page_of(out)


def test_cut_offs_are_those_of_the_pack_and_indication_or_those_given(out, tmp_path):
    plain = open_results(out)
    assert cut_offs_of(KINDS["tps"], plain) == (1, 5, 10, 50)
    assert cut_offs_of(KINDS["cps"], plain) == ()
    rules = label_rules("gastro-oesophageal-adenocarcinoma")
    labelled = replace(plain, **rules)
    assert cut_offs_of(KINDS["tps"], labelled) == (1, 5, 10, 50)
    assert cut_offs_of(KINDS["cps"], labelled) == (1, 5)
    assert cut_offs_of(KINDS["tps"], plain, given=(20, 1)) == (1, 20)
    with pytest.raises(UsageError, match="cut-off 120: a TPS lies between 0 and 100"):
        compare(out, write_wide(tmp_path / "readers.csv", said_of(out)), cut_offs=(120,))


# --- what is written -------------------------------------------------------------------------------------------------
def test_no_text_of_a_reader_becomes_code_and_the_page_loads_nothing(out, tmp_path):
    hostile = "<script>alert(1)</script>&=cmd"
    file = write_wide(tmp_path / "readers.csv", {name: ["5", "6"] for name in (*NAMES, hostile)}, ["=Ada", hostile])
    compare(out, file)
    page = page_of(out)
    assert "<script" not in page
    assert html.escape(hostile) in page
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", page)
    assert "default-src 'none'" in html.unescape(page)
    assert {row["reader"] for row in table(out, "pairs.csv")} == {"'=Ada", hostile}


def test_the_same_input_gives_the_same_bytes_and_only_own_files_are_replaced(out, tmp_path):
    file = write_wide(tmp_path / "readers.csv", said_of(out))
    paths = compare(out, file).paths
    first = [path.read_bytes() for path in paths]
    assert compare(out, file).paths == paths
    assert [path.read_bytes() for path in paths] == first
    assert all(map(is_result, paths))  # so that --overwrite removes them with the scores that they are of
    paths[1].write_text("mine\n")
    with pytest.raises(OutputError, match=r"pairs\.csv: lies where a result goes"):
        compare(out, write_wide(file, {name: ["5"] for name in NAMES}, ["Ada"]))
    paths[1].unlink()
    paths[1].symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(OutputError, match=r"pairs\.csv: lies where a result goes"):
        compare(out, file)
    assert [paths[0].read_bytes(), paths[2].read_bytes()] == [first[0], first[2]]


def test_command_says_in_short_what_it_wrote(out, tmp_path, pdl1quant):
    file = write_wide(tmp_path / "readers.csv", said_of(out))
    code, output, errors = pdl1quant("compare", out, "--readers", file, "-o", tmp_path / "page", "--cut-off", "20")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "TPS (cytoplasm): 12 cases compared, 3 readers; 2 left out, 12 marked by a flag"
    assert lines[1].startswith("  pdl1quant with the median of the readers: ICC 1.00 (")
    assert "  at 20: same side " in lines[3]
    assert [line.rpartition("/")[2] for line in lines[-3:]] == ["agreement.html", "pairs.csv", "statistics.csv"]
    assert not (out / "agreement").exists()
    code, output, errors = pdl1quant("compare", tmp_path, "--readers", file, "-q")
    assert (code, output) == (2, "")
    assert "no results of a finished run" in errors
