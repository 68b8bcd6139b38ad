"""What a report says beside the calls of a case, and instead of them."""

from __future__ import annotations

import re
from dataclasses import replace

from pdl1quant.assays import find_indication, load_pack
from pdl1quant.config import load_config
from pdl1quant.model import ResultFlag, Status
from pdl1quant.outputs.scores_table import ScoreRow
from pdl1quant.report import write_report
from pdl1quant.report.calls import calls_of
from pdl1quant.report.sheet import _adequacy
from pdl1quant.review import EditKind, Review, open_case, open_results, rescore, say_of_case
from pdl1quant.stages.score import cells_asked_for
from report_runs import label_rules, make_cohort
from review_runs import make_results, viable

PACK = load_pack("28-8-label")
MELANOMA = find_indication(PACK, "melanoma")
ROW = ScoreRow(level="case", image="", case="a", status=Status.OK, n_tumour=150, evaluable=True)


def test_a_call_has_its_drug_and_says_where_a_low_score_qualifies():
    row = replace(ROW, calls=("TPS < 1 % (US)", "TPS < 1 % (EU)"))
    american, european = calls_of(row, pack=PACK, indication=MELANOMA).calls
    assert american.detail == "nivolumab"
    assert european.detail == ("nivolumab + relatlimab (Opdualag); a score below the cut-off is what qualifies")


def test_a_call_without_any_brown_has_a_caveat():
    row = replace(ROW, calls=("TPS < 1 % (US)",), flags=("no_dab_seen",))
    assert "no cell is brown" in calls_of(row, pack=PACK, indication=MELANOMA).caveat
    assert calls_of(replace(row, flags=()), pack=PACK, indication=MELANOMA).caveat == ""


def test_every_reason_for_no_call_is_given():
    row = replace(ROW, evaluable=False, flags=(str(ResultFlag.NUCLEUS_SIZE), str(ResultFlag.PARTIAL)))
    panel = calls_of(row, pack=PACK, indication=None)
    assert panel.calls == ()
    assert len(panel.reasons) == 4
    failed = replace(ROW, status=Status.FAILED, evaluable=None)
    assert calls_of(failed, pack=PACK, indication=MELANOMA).reasons == ("the case was not scored",)


def test_the_indication_says_how_many_cells_are_asked_for():
    assert cells_asked_for(PACK, MELANOMA) == 100
    asked = cells_asked_for(PACK, replace(MELANOMA, min_tumour_cells=200))
    assert _adequacy(replace(ROW, evaluable=False), asked) == (
        "not evaluable: 150 viable tumour cells (200 are asked for)"
    )


def test_reviewed_calls_stand_beside_the_automated_ones(tmp_path):
    config = load_config(None, ["score.max_excluded_share=0.9"])
    results = open_results(make_results(tmp_path, n=400, config=config, **label_rules("melanoma")))
    say_of_case(open_case(results, "case"), EditKind.SIGN, reviewer="Ada")
    review = Review(results, results.images[0])
    review.edit(EditKind.CLASS, reviewer="Ada", cells=viable(review)[:1], to="stroma")
    say_of_case(open_case(results, "case"), EditKind.SIGN, reviewer="Ada")
    rescore(results.out)
    write_report(results.out)
    page = (results.out / "report.html").read_text()
    assert "<dd>none: tumour is not confirmed on every image (draw it, --roi, or sign a review)</dd>" in page
    assert re.search(r'signed by Ada\. Call: <span class="call">TPS &gt;= 1 % \(US\)</span> nivolumab, ', page)


def test_the_page_shows_calls_with_drugs_and_the_interval_of_the_cps(tmp_path):
    config = load_config(None, ["score.max_excluded_share=0.5"])
    out = make_cohort(tmp_path, ["a"], config=config, **label_rules("melanoma"))
    write_report(out)
    page = (out / "report.html").read_text()
    assert re.search(r'<span class="call">TPS (<|&lt;|>=|&gt;=|indeterminate at) 1 % \(EU\)</span> nivolumab', page)
    assert "a score below the cut-off is what qualifies" in page
    assert re.search(r"<dt>CPS</dt><dd>\d+ \(\d+\N{EN DASH}\d+\)</dd>", page)
