"""A tile or an image -> its cells and its score, through all stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from pdl1quant import naming
from pdl1quant.assays import find_indication, load_pack
from pdl1quant.config import Config
from pdl1quant.errors import NotColourError, UsageError
from pdl1quant.model import BrownArea, Counts, ResultFlag, RoiMasks, SlideResult, Status
from pdl1quant.pipeline.checks import check_given, check_pixels
from pdl1quant.pipeline.finding import find_cells
from pdl1quant.pipeline.judging import judge_cells
from pdl1quant.pipeline.scores import score_blocks
from pdl1quant.pipeline.staining import estimate_case, estimate_flags, sample_image, working_tile
from pdl1quant.stages import nests, nuclei, quality, stains, tissue
from pdl1quant.stages import score as scoring

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from pdl1quant.model import (
        BoolArray,
        Compartments,
        Indication,
        Int32Array,
        RulePack,
        StainEstimate,
        StainOD,
        Tile,
        UInt8Array,
    )

_OF_FIELDS = (ResultFlag.SELECTED_FIELDS,)
"""What fits into an array is a field that somebody chose; whole slides are not."""


def analyse_tile(
    tile: Tile, od: StainOD, *, estimate: StainEstimate, config: Config, pack: RulePack
) -> tuple[pd.DataFrame, Compartments]:
    """Everything about the cells of one tile: the whole story.

    Parameters
    ----------
    tile
        At the working resolution.
    od
        Its stain densities, from `stains.deconvolve` with the ``estimate`` of its case.
    estimate, config, pack
        Stain estimate, settings and rule pack.

    Returns
    -------
    cells
        Rows of ``CELL_COLUMNS``, in the order of the labels.
    compartments
        Their label images, at the tile's resolution.
    """
    found = find_cells(tile, od, estimate=estimate, config=config)
    parts = found.parts
    if parts.n_cells == 0:
        return found.measured.cells, parts
    found.measured.cells["flags"] = quality.flag_cells(found.measured.cells, parts, config=config.quality)
    mpp = tile.mpp / tile.downsample_x
    return judge_cells(found.measured, found.class_scores, mpp=mpp, estimate=estimate, config=config, pack=pack), parts


def analyse_image(
    rgb: UInt8Array,
    *,
    mpp: float,
    estimate: StainEstimate,
    config: Config,
    pack: RulePack,
    indication: Indication | None = None,
    roi: RoiMasks | None = None,
    keep_labels: bool = False,
    flags: Iterable[ResultFlag] = (),
) -> SlideResult:
    """Measure one image with the estimate of its case.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    mpp
        um per pixel of ``rgb``.
    estimate
        From `estimate_case`.
    config, pack, indication
        Settings, rule pack and, for a label pack, the indication.
    roi
        What a person drew, in pixels of ``rgb``.
    keep_labels
        Whether the result carries its label images (at the working resolution).
    flags
        What is known of the image beforehand; added to the result's flags, as ``selected_fields`` is.

    Raises
    ------
    UsageError
        ``rgb`` is no (H, W, 3) uint8 array, ``mpp`` is outside 0.1-2 um, a mask of ``roi`` is not bool or has another
        shape, or ``estimate``, ``config``, ``pack`` or ``indication`` is of another type.
    PixelSizeError
        The nuclei contradict ``mpp`` by more than a factor of 2.
    """
    check_given(config=config, estimate=estimate, pack=pack, indication=indication)
    tile = working_tile(rgb, mpp=mpp, config=config)
    _check_roi(roi, (rgb.shape[0], rgb.shape[1]))
    found_tissue = tissue.find_tissue(tile, estimate, config=config.tissue)
    od = stains.deconvolve(tile.rgb, estimate)
    cells, parts = analyse_tile(tile, od, estimate=estimate, config=config, pack=pack)
    stained_um = nuclei.stained_width_um(od, estimate=estimate, mpp=tile.mpp)
    grain_um = quality.blue_grain_um(od, mpp=tile.mpp)
    size_flags = quality.check_nucleus_size(cells, config=config.quality, stained_um=stained_um, grain_um=grain_um)
    result_flags = {*_OF_FIELDS, *flags, *estimate_flags(estimate), *size_flags}
    cells, has_nests = _flagged(cells, roi, shape=rgb.shape[:2], mpp=mpp)
    cells = cells.sort_values(["y_px", "x_px"], kind="stable", ignore_index=True)
    if not (cells["cell_dab_od_mean"] >= np.float32(config.positivity.dab_od)).any() and not cells["positive"].any():
        result_flags.add(ResultFlag.NO_DAB_SEEN)
    if naming.tells_nuclei_from_brown(config):
        result_flags |= {*quality.check_where_brown_is(*quality.count_brown(cells, t1=config.positivity.dab_od))}
    squares = quality.find_brown(
        od,
        parts.cell,
        ground=tissue.ground_of(found_tissue, tile),
        t1=config.positivity.dab_od,
        pigment_residual_od=stains.pigment_residual_od(estimate, config.quality.pigment_od),
    )
    squares = _scored_squares(squares, roi, tile=tile)
    brown = BrownArea.of_px(squares[:, 2:].sum(axis=0), px_um2=tile.mpp**2)
    blocks = scoring.count_blocks(cells, block_um=config.score.block_um, mpp_x=mpp, mpp_y=mpp, config=config, pack=pack)
    if roi is not None and roi.tumour is not None:
        blocks = (*blocks, Counts(tumour_area_um2=_area_px(roi.tumour & roi.scored, found_tissue) * mpp**2))
    result_flags |= {*quality.check_brown(brown, n_tumour=sum(each.n_tumour for each in blocks))}
    score = score_blocks(
        blocks,
        config=config,
        pack=pack,
        indication=indication,
        level="image",
        has_tumour_roi=roi is not None and roi.tumour is not None,
        has_nests=has_nests,
        flags=result_flags,
        brown=brown,
    )
    status = Status.OK if found_tissue.any() or len(cells) else Status.NO_TISSUE
    if status is Status.OK and ResultFlag.PARTIAL in score.flags:
        status = Status.PARTIAL
    return SlideResult(
        status=status, cells=cells, counts=sum(blocks, Counts()), blocks=blocks, score=score, estimate=estimate,
        config_digest=config.digest, mpp=mpp, working_mpp=tile.mpp, shape_px=(rgb.shape[0], rgb.shape[1]),
        tissue_area_um2=tissue.tissue_area_um2(found_tissue, tile), flags=score.flags, tissue=found_tissue,
        compartments=parts if keep_labels else None, brown=brown, brown_squares=squares,
        has_nests=has_nests,
    )  # fmt: skip


def _check_roi(roi: RoiMasks | None, shape: tuple[int, int]) -> None:
    """Refuse what is no mask of the image: of whole numbers the opposite is no mask, and nothing would be tumour."""
    if roi is None:
        return
    if not isinstance(roi, RoiMasks):
        raise UsageError(f"roi: expected RoiMasks, got {type(roi).__name__}; write RoiMasks(scored=mask)")
    for name, mask in (("scored", roi.scored), ("tumour", roi.tumour)):
        if mask is None and name == "tumour":
            continue
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            got = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
            raise UsageError(f"roi.{name}: expected a mask of bool, got {got}; give mask > 0")
        if mask.shape != shape:
            raise UsageError(f"roi.{name}: a mask of {mask.shape} for an image of {shape}; draw it on this image")


def _flagged(
    cells: pd.DataFrame, roi: RoiMasks | None, *, shape: tuple[int, ...], mpp: float
) -> tuple[pd.DataFrame, bool]:
    """What does not count, or not for the CPS, for where it lies: in or beside what is drawn, else in or beside nests.

    ``shape`` is the height and width of the image in pixels. Also whether there is a nest, or tumour that was drawn.
    """
    if roi is not None:
        cells = quality.flag_outside(cells, roi, mpp=mpp)
    if roi is not None and roi.tumour is not None:
        return cells, True
    squares = nests.Squares(width=shape[1], height=shape[0], mpp_x=mpp, mpp_y=mpp)
    near = nests.near_nests(nests.count_squares(cells, squares), squares, reach_um=quality.STROMA_REACH_UM)
    return nests.flag_far(cells, nests.cells_near(cells, near, squares)), bool(near.any())


def _scored_squares(squares: Int32Array, roi: RoiMasks | None, *, tile: Tile) -> Int32Array:
    """Those squares of brown (`quality.find_brown`) whose middle is scored: in the tumour, where it was drawn."""
    if roi is None:
        return squares
    counts = roi.scored if roi.tumour is None else roi.scored & roi.tumour
    x, y = quality.brown_middles(squares, width=tile.rgb.shape[1], height=tile.rgb.shape[0])
    row, column = (
        np.rint(at * downsample).astype(np.intp).clip(max=side - 1)
        for at, downsample, side in zip((y, x), (tile.downsample_y, tile.downsample_x), counts.shape, strict=True)
    )
    return np.asarray(squares[counts[row, column]])


def _area_px(drawn: BoolArray, tissue: BoolArray) -> int:
    """Pixels of a mask that are tissue, which is a mask of any size; all where none is."""
    height, width = drawn.shape
    ground = cv2.resize(tissue.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return int((drawn & ground).sum()) or int(drawn.sum())


def score_image(
    rgb: UInt8Array,
    mpp: float,
    *,
    config: Config | None = None,
    assay: str = "28-8-cytoplasm",
    indication: str | None = None,
    white: tuple[float, float, float] | None = None,
    roi: RoiMasks | None = None,
    keep_labels: bool = False,
) -> SlideResult:
    """Measure one image that is a case of its own.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8, red first: PD-L1 immunohistochemistry, haematoxylin and DAB, bright field.
    mpp
        um per pixel of ``rgb``, 0.1 to 2; never guessed.
    config
        Settings; the defaults when None.
    assay
        Name of a rule pack, or path of a TOML file; see `load_pack`.
    indication
        Name of an indication of a pack that makes calls.
    white
        RGB level of empty glass, 128 to 255 in each channel, used where the image shows none.
    roi
        What a person drew.
    keep_labels
        Whether the result carries its label images.

    Returns
    -------
    SlideResult
        Cells table, counts, score with interval, stain estimate and flags. The score is that of an image: adequacy and
        calls belong to a case (`score_case`, with `CaseMember.of` this result).

    Raises
    ------
    UsageError
        ``rgb`` is no (H, W, 3) uint8 array, ``mpp``, ``white`` or ``roi`` is none, or a name is unknown.
    RefusedError
        Scoring the image would be a guess.

    Examples
    --------
    >>> import pdl1quant
    >>> from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
    >>> phantom = render_phantom(PhantomSettings(size_px=256), seed=1)
    >>> result = pdl1quant.score_image(phantom.rgb, mpp=0.5)
    >>> result.score.score_name
    'TPS (cytoplasm)'
    >>> 0 <= result.score.tps_low <= result.score.tps <= result.score.tps_high <= 100
    True
    """
    check_pixels(rgb)
    if quality.is_grey(rgb):
        raise NotColourError("rgb: not a colour image; stains cannot be told apart")
    config = Config() if config is None else config
    pack = load_pack(assay)
    chosen = None if indication is None else find_indication(pack, indication)
    estimate = estimate_case([sample_image(rgb, mpp=mpp, config=config)], config=config, white=white)
    return analyse_image(
        rgb, mpp=mpp, estimate=estimate, config=config, pack=pack, indication=chosen, roi=roi, keep_labels=keep_labels
    )
