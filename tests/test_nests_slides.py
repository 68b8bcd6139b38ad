"""Immune cells far from the nests found on a slide: the same for tiles of any size, in one piece, and recounted."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import shapely

import phantom_slides
from batch_runs import rows_of, run
from pdl1quant import pipeline
from pdl1quant.assays import load_pack
from pdl1quant.batch import slide_work
from pdl1quant.config import load_config
from pdl1quant.model import Counts, Flag
from pdl1quant.outputs.reviewed import read_reviewed
from pdl1quant.outputs.tables import read_cells
from pdl1quant.review import rescore
from pdl1quant.slides.roi import Roi, RoiKind
from pdl1quant.stages.score import count_cells
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from pdl1quant.whole_slides import judging
from slide_runs import analysed

PACK = load_pack("28-8-cytoplasm")
FAR = int(Flag.FAR_FROM_TUMOUR)
TUMOUR_PX = 640


@cache
def slide_image():
    """Tumour in a corner, and stroma with brown lymphocytes up to a millimetre beside and below it: 2240 x 2240 px."""
    tumour = PhantomSettings(size_px=TUMOUR_PX, tumour_share=0.7, positive_immune_share=0.5, glass_share=0.0)
    immune = PhantomSettings(
        size_px=800, tumour_share=0.0, single_cell_share=0.0, lymphocyte_share=0.8, positive_immune_share=0.5
    )
    fields = [render_phantom(immune, seed=seed).rgb for seed in (1, 2)]
    rgb = phantom_slides.glass(2240, 2240)
    rgb[:TUMOUR_PX, :TUMOUR_PX] = render_phantom(tumour, seed=3).rgb
    rgb[:800, TUMOUR_PX : TUMOUR_PX + 800] = fields[0]
    rgb[:800, 1440:] = fields[1]
    rgb[TUMOUR_PX : TUMOUR_PX + 800, :TUMOUR_PX] = fields[1][:, :TUMOUR_PX]
    rgb[1440:, :800] = fields[0]
    return rgb


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return phantom_slides.write_slide(tmp_path_factory.mktemp("nests") / "slide.tif", slide_image())


def config_of(segmenter="watershed", tile_px=512):
    return load_config(None, [f"nuclei.segmenter={segmenter}", f"tiling.tile_px={tile_px}", "tiling.outlines=false"])


@pytest.fixture(scope="module")
def found(path):
    return analysed(path, config_of())


def test_far_immune_cells_are_flagged_and_not_counted(found):
    outcome, cells, _ = found
    far = (cells["flags"].to_numpy() & FAR) > 0
    assert far.sum() > 100
    immune = cells["cell_class"].isin(["lymphocyte", "macrophage"])
    assert immune[far].all()
    assert not far[(cells["x_px"] < TUMOUR_PX) & (cells["y_px"] < TUMOUR_PX)].any()
    everywhere = count_cells(cells.assign(flags=cells["flags"] & ~FAR), config=config_of(), pack=PACK)
    assert outcome.counts.positive.immune < everywhere.positive.immune - 30
    assert outcome.counts.n_lymphocyte == everywhere.n_lymphocyte
    assert outcome.counts.positive.cytoplasm == everywhere.positive.cytoplasm


def test_the_flag_knows_nothing_of_tiles_and_bands(path, found, monkeypatch):
    """Bands of one row of tiles and of many: that of tiles of the same size in low bands is below."""
    monkeypatch.setattr(judging, "BAND_PX", 128)
    outcome, cells, _ = analysed(path, config_of(tile_px=2048), estimate=found[2])
    pd.testing.assert_frame_equal(cells, found[1], check_exact=True)
    assert (outcome.counts, outcome.blocks, outcome.score) == (found[0].counts, found[0].blocks, found[0].score)


def test_no_pixels_wait_for_the_nests_around_their_cells(path, found, monkeypatch):
    """Labels are held below the last judged band alone, which begins a band and its margin above the newest tile."""
    band_px, below_px = 128, []

    class Watched(slide_work.Painter):
        def hold(self, index, tile):
            super().hold(index, tile)
            newest = self._places[index].core.y0
            below_px.append(newest - min(self._places[each].core.y1 for each in self._packed))

    monkeypatch.setattr(judging, "BAND_PX", band_px)
    monkeypatch.setattr(slide_work, "Painter", Watched)
    _, cells, _ = analysed(path, config_of(), estimate=found[2], keep_labels=True)
    pd.testing.assert_frame_equal(cells, found[1], check_exact=True)
    assert max(below_px) < band_px + judging.MARGIN_UM / phantom_slides.MPP


def test_a_slide_counts_the_immune_cells_of_the_image_in_one_piece(found):
    """With the network, too: `test_whole_slides` holds cells and flags of both segmenters against one piece."""
    outcome, cells, estimate = found
    whole = pipeline.analyse_image(
        slide_image(), mpp=phantom_slides.MPP, estimate=estimate, config=config_of(), pack=PACK
    )
    both = whole.cells.merge(cells, on=["x_px", "y_px"], suffixes=("", "_slide"))
    assert len(both) == len(whole.cells) == len(cells)
    assert ((both["flags"] & FAR) > 0).sum() > 100
    clear = ((both["flags"] | both["flags_slide"]) & int(Flag.ARTEFACT)) == 0  # looked for on slides alone
    assert ((both["flags"] & FAR) == (both["flags_slide"] & FAR))[clear].all()
    if clear.all():
        assert outcome.counts.positive == whole.counts.positive


def test_where_tumour_is_drawn_nests_decide_nothing_and_a_region_has_its_own_row(path, found):
    drawn = Roi(kind=RoiKind.TUMOUR, name="Tumor", geometry=shapely.box(1500, 100, 2200, 700))
    _, cells, _ = analysed(path, config_of(), estimate=found[2], rois=(drawn,))
    assert not (cells["flags"] & FAR).any()
    include = Roi(kind=RoiKind.INCLUDE, name="Region", geometry=shapely.box(0, 0, 2240, 800))
    outcome, cells, _ = analysed(path, config_of(), estimate=found[2], rois=(include,))
    assert (cells["flags"] & FAR).any()
    (row,) = outcome.regions
    assert row.counts.positive == outcome.counts.positive == sum(outcome.blocks, Counts()).positive


def test_a_recount_without_edits_gives_the_cps_of_the_run(path, tmp_path):
    out = tmp_path / "out"
    run(path, out, config=config_of("network", 1024), mpp=None)
    (row,) = rows_of(out, "image")
    cells = read_cells(next((out / "cells").glob("*.parquet")))
    assert ((cells["flags"] & FAR) > 0).sum() > 100
    positive = cells["positive"] & cells["cell_class"].isin(["lymphocyte", "macrophage"])
    assert (positive & ((cells["flags"] & FAR) > 0)).sum() > 20
    rescore(out)
    reviewed = next(each for each in read_reviewed(out / "scores_reviewed.csv") if each.level == "image")
    assert np.isclose(reviewed.reviewed_cps, row.cps, atol=1e-4)
    assert (reviewed.reviewed_cps_low, reviewed.reviewed_cps_high) == (row.cps_low, row.cps_high)
