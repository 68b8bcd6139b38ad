"""The library and the command line say the same of the same images: numbers, flags and calls."""

import numpy as np
import pytest
from PIL import Image as PillowImage

from batch_runs import BLUE, Deaf, draw_phantom, draw_tile, rows_of, run
from pdl1quant import CaseMember, analyse_image, estimate_case, sample_image, score_case, score_image
from pdl1quant.batch import find_rules
from pdl1quant.config import load_config
from pdl1quant.errors import NotColourError, NotHdabError
from pdl1quant.model import Flag, ResultFlag, RoiMasks
from pdl1quant.outputs.tables import read_cells
from pdl1quant.slides.images import read_image

CONFIG = load_config(None, ["nuclei.segmenter=watershed"])
PACK, INDICATION = find_rules("28-8-label", "melanoma")
HOW = {"config": CONFIG, "pack": PACK, "indication": INDICATION}


def draw_glass(path):
    PillowImage.new("RGB", (96, 96), (243, 242, 241)).save(path)


def draw_blue(path, seed=0):
    draw_tile(path, seed=seed, size=192, colours=(BLUE, BLUE))


FIELDS = {
    "blue": (draw_blue, lambda path: draw_blue(path, seed=1)),
    "blue_and_glass": (draw_blue, draw_glass),
    "blue_and_brown": (draw_blue, draw_phantom),
    "glass": (draw_glass,),
    "brown": (draw_phantom,),
}


def pixels(folder):
    return [read_image(path, mpp=0.5).rgb for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module", params=FIELDS)
def case(request, tmp_path_factory):
    """Folder of the images, folder of the results, and what the batch said of the case."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "in").mkdir()
    for number, draw in enumerate(FIELDS[request.param]):
        draw(folder / "in" / f"{number}.png")
    listener = Deaf()
    run(folder / "in", folder / "out", listener=listener, **HOW)
    (report,) = listener.reports
    return folder / "in", folder / "out", report


def test_a_case_has_the_same_score(case):
    folder, _, report = case
    images = pixels(folder)
    estimate = estimate_case([sample_image(rgb, mpp=0.5, config=CONFIG) for rgb in images], config=CONFIG)
    results = [analyse_image(rgb, mpp=0.5, estimate=estimate, **HOW) for rgb in images]
    assert score_case([CaseMember.of(each) for each in results], estimate=estimate, **HOW) == report.score


def test_the_flags_are_those_that_the_case_has_by_its_images(case):
    """Else two that forget the same flag would agree."""
    folder, _, report = case
    assert ResultFlag.SELECTED_FIELDS in report.score.flags
    assert (ResultFlag.NO_DAB_SEEN in report.score.flags) == (
        folder.parent.name.startswith(("blue0", "blue_and_glass"))
    )


@pytest.mark.parametrize("case", ["glass", "brown"], indirect=True)
def test_one_image_has_the_flags_and_numbers_of_its_row(case):
    folder, out, _ = case
    (rgb,) = pixels(folder)
    result = score_image(rgb, mpp=0.5, config=CONFIG, assay="28-8-label")
    (row,) = rows_of(out, "image")
    assert set(row.flags) == set(result.flags)
    assert row.n_cells == len(result.cells)
    assert row.tps == (None if result.score.tps is None else pytest.approx(result.score.tps, abs=1e-4))
    assert (read_cells(out / "cells" / "0.parquet")["label"].to_numpy() == result.cells["label"].to_numpy()).all()


def test_tumour_that_was_drawn_confirms_a_member(tmp_path):
    draw_phantom(tmp_path / "a.png")
    (rgb,) = pixels(tmp_path)
    estimate = estimate_case([sample_image(rgb, mpp=0.5, config=CONFIG)], config=CONFIG)
    whole = np.ones(rgb.shape[:2], bool)
    for roi, is_drawn in ((None, False), (RoiMasks(scored=whole), False), (RoiMasks(scored=whole, tumour=whole), True)):
        result = analyse_image(rgb, mpp=0.5, estimate=estimate, roi=roi, **HOW)
        assert CaseMember.of(result).has_tumour_roi == is_drawn
        assert (result.cells["flags"] & int(Flag.OUTSIDE_ROI)).sum() == 0


@pytest.mark.parametrize(("difference", "is_grey"), [(3, True), (4, False)])
def test_both_take_the_same_for_grey(tmp_path, difference, is_grey):
    """A grey picture that went through JPEG has channels that differ by a little."""
    grey = np.random.default_rng(0).integers(60, 240, (64, 64), np.uint8)
    rgb = np.stack([grey, grey + np.uint8(difference), grey], axis=2)
    PillowImage.fromarray(rgb).save(tmp_path / "a.png")

    def refused(read):
        try:
            read()
        except NotColourError:
            return True
        except NotHdabError:  # what is not grey is judged by its hue
            return False
        return False

    assert refused(lambda: read_image(tmp_path / "a.png", mpp=0.5)) == is_grey
    assert refused(lambda: score_image(rgb, mpp=0.5, config=CONFIG)) == is_grey
