"""A small drawn field, measured before the first tile: what is compiled is loaded then, and a worker waits anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pdl1quant import pipeline
from pdl1quant.model import Rect, StainEstimate, StainOD, Tile, TissueGround
from pdl1quant.stages import quality, stains

if TYPE_CHECKING:
    from pdl1quant.config import Config
    from pdl1quant.model import UInt8Array

SEGMENTERS = ("watershed", "network")
"""Those whose loops are ours; the libraries of others take seconds to load, and load when they are used."""
SIDE_PX, MARGIN_PX = 128, 8
STEP_UM, RADIUS_UM = 12.0, 3.5
"""Nuclei in rows, in brown so dense that the network is asked twice about it (`networks.maps`)."""
NUCLEUS_OD, BROWN_OD, NOISE_OD = 0.5, 1.0, 0.04


def rehearse(config: Config) -> int:
    """Find and measure the cells of a drawn field as those of a tile, and forget them; how many were found."""
    if config.nuclei.segmenter not in SEGMENTERS:
        return 0
    estimate = StainEstimate(
        white=(config.stains.assumed_white,) * 3,
        haematoxylin=config.stains.haematoxylin,
        dab=config.stains.dab,
        nucleus_od=NUCLEUS_OD / 2,
        white_source="assumed",
        vectors_source="fixed",
    )
    inner = Rect(x0=MARGIN_PX, y0=MARGIN_PX, x1=SIDE_PX - MARGIN_PX, y1=SIDE_PX - MARGIN_PX)
    rgb = _drawn(estimate, mpp=config.working_mpp)
    tile = Tile(rgb=rgb, mpp=config.working_mpp, core=inner, inner=inner)
    od = stains.deconvolve(rgb, estimate)
    found = pipeline.find_cells(tile, od, estimate=estimate, config=config, with_neighbours=False)
    quality.find_brown(
        od,
        found.parts.cell,
        ground=TissueGround(
            tissue=np.ones((1, 1), bool),
            row=np.zeros(inner.height, np.int32),
            column=np.zeros(inner.width, np.int32),
            lost=np.zeros((0, 4), np.int32),
        ),
        t1=config.positivity.dab_od,
        pigment_residual_od=stains.pigment_residual_od(estimate, config.quality.pigment_od),
        places=((inner.y0, inner.x0), (0, 0), (inner.height, inner.width)),
    )
    return found.parts.n_cells


def _drawn(estimate: StainEstimate, *, mpp: float) -> UInt8Array:
    """Nuclei in brown, with noise: what is smooth has no borders to look at."""
    along = (np.arange(SIDE_PX) * mpp) % STEP_UM - STEP_UM / 2
    nucleus = np.hypot(along[:, None], along) < RADIUS_UM
    noise = np.random.default_rng(0).normal(0, NOISE_OD, (2, SIDE_PX, SIDE_PX))
    od = StainOD(
        haematoxylin=(NUCLEUS_OD * nucleus + noise[0]).astype(np.float32),
        dab=(BROWN_OD * ~nucleus + noise[1]).astype(np.float32),
        residual=np.zeros((SIDE_PX, SIDE_PX), np.float32),
    )
    return np.clip(np.rint(stains.compose(od, estimate)), 0, 255).astype(np.uint8)
