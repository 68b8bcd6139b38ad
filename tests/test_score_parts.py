"""The counts that CPS and H-score are made of: each row of both tables of a run gives its scores again."""

import pytest
from PIL import Image as PillowImage

import phantom_slides
from batch_runs import run
from pdl1quant import batch
from pdl1quant.config import load_config
from pdl1quant.model import BrownArea, ResultFlag
from pdl1quant.outputs.scores_table import read_scores
from pdl1quant.review import EditKind, rescore
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from review_runs import open_review, viable
from test_region_scores import draw
from test_score import scored, tally

WATERSHED = load_config(None, ["nuclei.segmenter=watershed", "tiling.tile_px=512"])
SIZE_PX = 320
PARTS = ("n_immune", "n_immune_positive", "n_grade_1", "n_grade_2", "n_grade_3")
OF_CPS, OF_H_SCORE = PARTS[:2], PARTS[2:]
HALVES = (("left", "Region", (0, 0, 160, SIZE_PX)), ("right", "Region", (160, 0, SIZE_PX, SIZE_PX)))
WRITTEN = 5.1e-5
"""Half of the last of four decimals."""


def told(row, name, reviewed):
    return getattr(row, f"reviewed_{name}" if reviewed else name)


def assert_recounted(row, *, reviewed=False):
    """The scores of a row, to the last decimal that is written, from the counts beside them."""
    n_tumour, n_positive, cps, h_score, n_immune, n_brown, *grades = (
        told(row, name, reviewed) for name in ("n_tumour", "n_tumour_positive", "cps", "h_score", *PARTS)
    )
    if cps is None:
        assert n_immune is n_brown is None
    else:
        assert n_brown <= n_immune
        assert cps == pytest.approx(min(100, 100 * (n_positive + n_brown) / n_tumour), abs=WRITTEN)
    if h_score is None:
        assert grades == [None] * 3
    else:
        weighed = sum(grade * n for grade, n in enumerate(grades, start=1))
        assert h_score == pytest.approx(weighed / n_tumour * 100, abs=WRITTEN)
        assert sum(grades) == n_positive
    assert told(row, "tps", reviewed) == pytest.approx(100 * n_positive / n_tumour, abs=WRITTEN)


def assert_dense(row, density, n_tumour):
    """The density of a row, as far as the four decimals of its tissue tell."""
    assert density * (row.tissue_mm2 - WRITTEN) <= n_tumour <= density * (row.tissue_mm2 + WRITTEN)


@pytest.fixture(scope="module", params=["28-8-cytoplasm", "28-8-label"])
def out(request, tmp_path_factory):
    """Two fields of a case, both halves of one drawn, and a negative control; the network names macrophages."""
    folder = tmp_path_factory.mktemp(request.param)
    for name, seed, tps_pct in (("in/case/a", 1, 40), ("in/case/b", 2, 70), ("controls/n", 3, 0)):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        spread = {"positive_immune_share": 0.5, "dab_spread": 0.5}  # positive cells of all three grades
        settings = PhantomSettings(size_px=SIZE_PX, tps_pct=tps_pct, **spread)
        PillowImage.fromarray(render_phantom(settings, seed=seed).rgb).save(path)
    (folder / "rois" / "case").mkdir(parents=True)
    draw(folder / "rois" / "case" / "a.geojson", *HALVES)
    pack, _ = batch.find_rules(request.param, None)
    how = {"roi": folder / "rois", "negative_controls": (folder / "controls",), "pack": pack}
    run(folder / "in", folder / "out", **how)
    return folder / "out"


def test_each_row_of_a_run_gives_its_scores_again(out):
    rows = read_scores(out / "scores.csv")
    assert {row.level for row in rows} == {"image", "roi", "case", "control"}
    for row in rows:
        assert_recounted(row)
        assert_dense(row, row.tumour_cells_mm2, row.n_tumour)
    (case,) = (row for row in rows if row.level == "case")
    assert case.n_immune > case.n_immune_positive > 0
    assert min(case.n_grade_1, case.n_grade_2, case.n_grade_3) > 0
    for name in PARTS:
        parts = [getattr(row, name) for row in rows]
        levels = [row.level for row in rows]
        assert getattr(case, name) == sum(n for n, level in zip(parts, levels, strict=True) if level == "image")
        drawn = next(row for row in rows if row.image.endswith("a.png") and row.level == "image")
        assert getattr(drawn, name) == sum(n for n, level in zip(parts, levels, strict=True) if level == "roi")


def test_each_reviewed_row_gives_its_scores_again(out):
    automated = {(row.level, row.image, row.region): row for row in read_scores(out / "scores.csv")}
    for row in rescore(out).rows:
        before = automated[row.level, row.image, row.region]
        for name in (*PARTS, "tumour_cells_mm2"):
            assert getattr(row, name) == getattr(before, name)
            assert told(row, name, reviewed=True) == pytest.approx(getattr(before, name), abs=WRITTEN)
    review = open_review(out, "case/a")
    tumour, immune = viable(review), viable(review, "lymphocyte")
    review.edit(EditKind.CLASS, reviewer="Ada", cells=tumour[::3], to="lymphocyte")
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=tumour[1::6], to=True)
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=tumour[4::6], to=False)
    review.edit(EditKind.POSITIVE, reviewer="Ada", cells=immune, to=True)
    rows = rescore(out).rows
    for row in rows:
        assert_recounted(row)
        assert_recounted(row, reviewed=True)
        before = automated[row.level, row.image, row.region]
        assert_dense(before, row.reviewed_tumour_cells_mm2, row.reviewed_n_tumour)
        if row.image.endswith("b.png"):
            continue
        assert row.reviewed_n_immune > row.n_immune
        assert row.reviewed_n_immune_positive > row.n_immune_positive
        assert row.reviewed_tumour_cells_mm2 < row.tumour_cells_mm2
    (case,) = (row for row in rows if row.level == "case")
    for name in PARTS:
        images = [told(row, name, reviewed=True) for row in rows if row.level == "image"]
        assert told(case, name, reviewed=True) == sum(images)


def test_without_a_macrophage_class_the_counts_of_the_cps_are_empty_and_those_of_grades_are_not(tmp_path):
    path = phantom_slides.write_slide(tmp_path / "slide.tif", phantom_slides.slide_image(1500, 1400))
    roi = draw(tmp_path / "two.geojson", ("n", "Tumor", (480, 200, 780, 700)), ("s", "Tumor", (480, 700, 780, 1300)))
    run(path, tmp_path / "out", config=WATERSHED, mpp=None, roi=roi)
    rows = read_scores(tmp_path / "out" / "scores.csv")
    assert [row.level for row in rows] == ["image", "roi", "roi", "case"]
    for row in rows:
        assert "no_macrophage_class" in row.flags
        assert [getattr(row, name) for name in OF_CPS] == [None, None]
        assert None not in [getattr(row, name) for name in OF_H_SCORE]
        assert_recounted(row)
        assert_dense(row, row.tumour_cells_mm2, row.n_tumour)
    for row in rescore(tmp_path / "out").rows:
        assert [told(row, name, reviewed=True) for name in OF_CPS] == [None, None]
        assert_recounted(row, reviewed=True)


def test_a_score_without_tumour_cells_or_tissue_has_no_counts_of_parts():
    brown = BrownArea(tissue_um2=5e5)
    none = scored([tally(0, immune=4)], brown=brown)
    assert [getattr(none, name) for name in PARTS] == [None] * 5
    assert none.tumour_cells_mm2 == 0
    assert scored([tally(50)], brown=brown).tumour_cells_mm2 == 100
    assert scored([tally(50)], brown=BrownArea()).tumour_cells_mm2 is None
    assert scored([tally(50)]).tumour_cells_mm2 is None
    alone = scored([tally(50, 10, immune=4)], has_nests=False)
    assert ResultFlag.NO_NESTS in alone.flags
    assert [getattr(alone, name) for name in PARTS] == [None, None, 10, 0, 0]
