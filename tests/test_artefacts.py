"""Artefacts: what is planted is masked, clean tissue is not, and what is masked leaves the score, drawn and said."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import phantom_slides
from batch_runs import rows_of, run
from pdl1quant.config import load_config
from pdl1quant.inspection import inspect_slide
from pdl1quant.model import ArtefactKind, ArtefactMap, Flag
from pdl1quant.outputs.tables import read_cells
from pdl1quant.slides.images import read_image
from pdl1quant.slides.roi import RoiKind
from pdl1quant.slides.roi_file import read_geojson_rois
from pdl1quant.stages import artefacts, stains
from pdl1quant.validation.artefacts import PEN_RGB, plant_blur, plant_bubble, plant_fold, plant_pen, plant_pigment
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from pdl1quant.whole_slides import masking
from slide_runs import estimated

CONFIG = load_config(None, ["nuclei.segmenter=watershed"])
SAMPLES = Path(__file__).parents[1] / "sample_slides"
TUNING = os.environ.get("PDL1QUANT_TUNING_DATA")
REAL = sorted(SAMPLES.glob("ihc/*.tif")) or [
    pytest.param(None, marks=pytest.mark.skip(reason="sample_slides/ihc holds no image"))
]
MPP = 1.0
FIELDS = {
    "nests": PhantomSettings(size_px=768, mpp=MPP),
    "brown membranes": PhantomSettings(
        size_px=768, mpp=MPP, tps_pct=90, pattern="membrane", dab_od=1.2, tumour_share=0.7
    ),
    "brown glands": PhantomSettings(size_px=768, mpp=MPP, tps_pct=90, dab_od=1.0, gland_share=1.0, tumour_share=0.6),
    "lymphoid": PhantomSettings(size_px=768, mpp=MPP, tumour_share=0.1, lymphocyte_share=0.9, stroma_spacing=0.9),
}
"""Each is laid beside its mirror images, as large again: rendering takes longer than all that looks at it."""
PLANTS = {
    **{
        f"{colour} pen": lambda rgb, seed, colour=colour: plant_pen(rgb, colour=colour, **how(seed))
        for colour in PEN_RGB
    },
    "wide fold": lambda rgb, seed: plant_fold(rgb, width_um=60, **how(seed)),
    "fold": lambda rgb, seed: plant_fold(rgb, **how(seed)),
    "narrow fold": lambda rgb, seed: plant_fold(rgb, width_um=30, **how(seed)),
    "narrowest fold": lambda rgb, seed: plant_fold(rgb, width_um=20, **how(seed)),
    "large bubble": lambda rgb, seed: plant_bubble(rgb, **how(seed)),
    "small bubble": lambda rgb, seed: plant_bubble(rgb, radius_um=150, **how(seed)),
    "blur": lambda rgb, seed: plant_blur(rgb, **how(seed)),
    "slight blur": lambda rgb, seed: plant_blur(rgb, blur_um=3.5, **how(seed)),
    "pigment": lambda rgb, seed: plant_pigment(rgb, **how(seed)),
}


def how(seed):
    return {"mpp": MPP, "white": (245, 245, 245), "seed": seed}


def estimate_of(rgb, mpp):
    """Staining as of an image: at 0.5 um per pixel or as it is."""
    scale = min(1.0, mpp / 0.5)
    rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return stains.estimate_stains([stains.sample_stains(rgb)], config=CONFIG.stains)


def found_in(rgb, mpp, estimate=None):
    estimate = estimate or estimate_of(rgb, mpp)
    scale = mpp / artefacts.DETAIL_MPP
    rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    detail = artefacts.measure_detail(rgb, stains.deconvolve(rgb, estimate), white=estimate.white)
    black = stains.pigment_residual_od(estimate, CONFIG.artefacts.black_od)
    numbers = artefacts.find_artefacts(detail, black_residual_od=black, config=CONFIG.artefacts)
    return ArtefactMap(numbers=numbers, columns=rgb.shape[1] / artefacts.STEP_PX, rows=rgb.shape[0] / artefacts.STEP_PX)


def mirrored(rgb):
    """The field nine times, each beside its mirror images."""
    height, width = rgb.shape[:2]
    return cv2.copyMakeBorder(rgb, height, height, width, width, cv2.BORDER_REFLECT)


@pytest.fixture(scope="module")
def fields():
    drawn = {name: render_phantom(settings, seed=7).rgb for name, settings in FIELDS.items()}
    return {name: cv2.copyMakeBorder(rgb, 0, len(rgb), 0, len(rgb), cv2.BORDER_REFLECT) for name, rgb in drawn.items()}


@pytest.fixture(scope="module")
def estimates(fields):
    return {name: estimate_of(rgb, MPP) for name, rgb in fields.items()}


# --- the masks -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PLANTS)
def test_what_is_planted_is_masked_and_little_else(fields, estimates, name):
    """Over four kinds of tissue together: IoU of 0.6 and more; around it at most 1 % is masked."""
    both = either = beyond = places = 0
    for seed, (field, rgb) in enumerate(fields.items()):
        planted = PLANTS[name](rgb, seed)
        found = found_in(planted.rgb, MPP, estimates[field])
        shape = found.numbers.shape
        truth = cv2.resize(planted.mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
        mask = found.mask(planted.kind)
        both, either = both + (truth & mask).sum(), either + (truth | mask).sum()
        around = cv2.dilate(truth.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        beyond, places = beyond + ((found.numbers > 0) & ~around).sum(), places + truth.size
    assert both / either >= 0.6
    assert beyond / places <= 0.01


@pytest.mark.parametrize("name", FIELDS)
def test_clean_rendered_tissue_is_not_masked(fields, estimates, name):
    assert (found_in(fields[name], MPP, estimates[name]).numbers > 0).mean() <= 0.01


@pytest.mark.parametrize(
    "path", sorted([*SAMPLES.glob("ihc/*.tif"), *SAMPLES.glob("phantoms/*.tif")]), ids=lambda path: path.stem
)
def test_samples_are_not_masked_but_for_pigment(path):
    read = read_image(path, mpp=None)
    found = found_in(read.rgb, read.mpp)
    assert ((found.numbers > 0) & ~found.mask(ArtefactKind.PIGMENT)).mean() <= 0.01


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem if path else "none")
def test_nothing_is_masked_where_the_real_sample_goes_on(path):
    read = read_image(path, mpp=None)
    assert not (found_in(mirrored(read.rgb), read.mpp).numbers > 0).any()


@pytest.mark.skipif(TUNING is None, reason="PDL1QUANT_TUNING_DATA names no folder of real fields")
def test_real_fields_are_not_masked_nor_where_they_go_on():
    """Fields are too short for folds; their mirror images around them are not."""
    index = pd.read_csv(Path(TUNING) / "index.csv")
    for name, mpp in zip(index["image"], index["mpp"], strict=True):
        rgb = np.ascontiguousarray(cv2.imread(str(Path(TUNING) / name))[:, :, ::-1])
        assert (found_in(rgb, mpp).numbers > 0).mean() <= 0.01, name
        estimate = estimate_of(rgb, mpp)
        assert not found_in(mirrored(rgb), mpp, estimate).mask(ArtefactKind.FOLD).any(), name


@pytest.mark.parametrize("side", [1, 2, 7, 60])
def test_tiny_and_blank_images_have_no_artefacts(side):
    rgb = np.full((side, side + 1, 3), 243, np.uint8)
    assert not found_in(rgb, 2.0, estimate_of(phantom_slides.fields()[0], 0.5)).numbers.any()


def test_a_field_all_out_of_focus_is_masked(fields, estimates):
    blurred = cv2.GaussianBlur(fields["nests"], (0, 0), 5.0 / MPP)
    assert found_in(blurred, MPP, estimates["nests"]).mask(ArtefactKind.BLUR).mean() >= 0.7


def test_a_band_that_fills_the_map_is_one_and_a_block_is_none():
    """Without any background a piece is still judged by its length and width."""
    with np.errstate(all="raise"):
        assert artefacts._long(np.ones((2, 40), bool), 200.0).all()
        assert not artefacts._long(np.ones((30, 40), bool), 200.0).any()
        assert not artefacts._long(np.zeros((30, 40), bool), 200.0).any()


def test_places_know_their_kind():
    numbers = np.zeros((3, 4), np.uint8)
    numbers[1, 2] = ArtefactKind.FOLD.number
    found = ArtefactMap(numbers=numbers, columns=3.5, rows=2.5)
    x, y = np.array([2.4, 2.6, 3.2, 1.9]) / 3.5, np.array([1.5, 1.1, 1.5, 1.5]) / 2.5
    assert found.at(x, y).tolist() == [True, True, False, False]
    tissue = np.ones((3, 4), bool)
    tissue[0] = False
    assert found.shares(tissue)[ArtefactKind.FOLD] == 1 / 8
    assert found.shares(np.zeros((3, 4), bool))[ArtefactKind.FOLD] == 0


# --- on a slide ------------------------------------------------------------------------------------------------------
PEN_PLACE = np.s_[300:1300, 500:1300]


@pytest.fixture(scope="module")
def clean():
    return phantom_slides.slide_image(2400, 2000)


@pytest.fixture(scope="module")
def planted(clean):
    rgb = clean.copy()
    white = (phantom_slides.WHITE,) * 3
    pen = plant_pen(rgb[PEN_PLACE], mpp=0.5, white=white, seed=4, width_um=120)
    rgb[PEN_PLACE] = pen.rgb
    mask = np.zeros(rgb.shape[:2], bool)
    mask[PEN_PLACE] = pen.mask
    return rgb, mask


@pytest.fixture(scope="module")
def path(planted, tmp_path_factory):
    return phantom_slides.write_slide(tmp_path_factory.mktemp("slides") / "slide.tif", planted[0])


@pytest.fixture(scope="module")
def scored(path, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "out"
    run(path, out, config=CONFIG, mpp=None)
    return out


def test_cells_below_the_pen_stay_in_the_table_and_leave_the_score(scored, planted):
    cells = read_cells(scored / "cells" / "slide.parquet")
    (row,) = rows_of(scored, "image")
    below = planted[1][cells["y_px"].round().astype(int), cells["x_px"].round().astype(int)]
    flagged = (cells["flags"] & int(Flag.ARTEFACT)) > 0
    assert below.sum() > 50
    assert flagged[below].mean() >= 0.9
    assert flagged[~below].mean() <= 0.02
    assert row.n_tumour <= ((cells["cell_class"] == "tumour") & ~flagged).sum()


def test_shares_are_said_in_row_record_and_inspection(scored, path, planted):
    (row,) = rows_of(scored, "image")
    (entry,) = json.loads((scored / "run.json").read_text())["images"]
    looked = inspect_slide(path, config=CONFIG)
    assert row.artefact_pct == pytest.approx(100 * sum(entry["artefacts"].values()), abs=1e-3)
    pen_px = planted[1].sum()
    tissue_px = (planted[0].max(axis=2) < 240).sum() + pen_px
    assert entry["artefacts"]["pen"] == pytest.approx(pen_px / tissue_px, rel=0.5)
    assert looked.artefacts["pen"] == pytest.approx(entry["artefacts"]["pen"], rel=0.05)


def test_the_outline_layer_leaves_the_pen_out_when_read_as_regions(scored, planted):
    rois = read_geojson_rois(scored / "artefacts" / "slide.geojson")
    assert {roi.kind for roi in rois} == {RoiKind.EXCLUDE}
    pen = [roi for roi in rois if roi.name == "Ignore*: pen"]
    assert sum(roi.geometry.area for roi in pen) == pytest.approx(planted[1].sum(), rel=0.25)  # soft edges
    assert all(roi.geometry.is_valid for roi in rois)


def test_the_picture_has_the_outline(scored):
    picture = cv2.imread(str(scored / "overlays" / "slide.png"))[:, :, ::-1]
    assert (np.abs(picture.astype(int) - (0, 60, 255)).max(axis=2) < 40).sum() > 50


def test_ink_does_not_move_the_stains(scored, clean, tmp_path):
    """Windows with ink are not sampled, or hold little of it: the vectors turn by less than 3 degrees."""
    other = estimated(phantom_slides.write_slide(tmp_path / "slide.tif", clean), CONFIG)
    (one,) = json.loads((scored / "run.json").read_text())["estimates"].values()
    for stain in ("haematoxylin", "dab"):
        assert np.dot(one[stain], getattr(other, stain)) >= np.cos(np.deg2rad(3))


def test_nobody_looks_when_told_so(path, tmp_path):
    run(
        path,
        tmp_path / "out",
        config=load_config(None, ["nuclei.segmenter=watershed", "artefacts.find=false", "tiling.outlines=false"]),
        mpp=None,
    )
    (row,) = rows_of(tmp_path / "out", "image")
    cells = read_cells(tmp_path / "out" / "cells" / "slide.parquet")
    assert row.artefact_pct is None
    assert not (cells["flags"] & int(Flag.ARTEFACT)).any()
    assert not (tmp_path / "out" / "artefacts").exists()


def test_strips_show_no_seam(path, monkeypatch):
    """The maps are the same whatever the height of the strips."""
    from pdl1quant.slides.opening import open_slide

    estimate = estimate_of(phantom_slides.fields()[0], 0.5)
    tissue = np.ones((10, 10), bool)
    with open_slide(path) as slide:
        whole, _ = masking.mask_artefacts(slide, tissue, estimate=estimate, config=CONFIG)
        monkeypatch.setattr(masking, "STRIP_PX", 128)
        strips, _ = masking.mask_artefacts(slide, tissue, estimate=estimate, config=CONFIG)
    assert (whole.numbers == strips.numbers).all()
