"""The only place that knows the order of the stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from pdl1quant import naming
from pdl1quant.assays import find_indication, load_pack
from pdl1quant.config import Config
from pdl1quant.errors import NotColourError, UsageError
from pdl1quant.model import (
    CLASS_PROBABILITIES,
    Compartments,
    Counts,
    Indication,
    ResultFlag,
    RoiMasks,
    RulePack,
    Score,
    Segmenter,
    SlideResult,
    StainEstimate,
    StainOD,
    Status,
    Tile,
    UInt8Array,
)
from pdl1quant.networks import segmenter as network
from pdl1quant.networks.foreign import cellpose, instanseg, stardist
from pdl1quant.stages import cells as cell_stage
from pdl1quant.stages import classify, measure, nuclei, positivity, quality, stains, tissue
from pdl1quant.stages import score as scoring
from pdl1quant.stages.stains import StainSample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from pdl1quant.model import Float32Array
    from pdl1quant.networks.maps import Maps
    from pdl1quant.stages.measure import Measured

__all__ = [
    "CaseMember",
    "StainSample",
    "analyse_image",
    "analyse_tile",
    "estimate_case",
    "find_cells",
    "sample_image",
    "score_case",
    "score_image",
]

SEGMENTERS: dict[str, Segmenter] = {
    "network": network.segment_nuclei,
    "watershed": nuclei.segment_nuclei,
    "stardist": stardist.segment_nuclei,
    "cellpose": cellpose.segment_nuclei,
    "instanseg": instanseg.segment_nuclei,
}
"""The segmenters by the name that ``nuclei.segmenter`` takes."""
MPP_RANGE = (0.1, 2.0)
"""Pixel sizes (um) of bright-field scans; others are mistakes."""
EMPTY_LEVEL = 200
"""An image that is nowhere darker is empty glass, which may be neutral."""
SAME_MPP = 0.01
"""Pixel sizes closer than this (relative) are not resampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMember:
    """What one image adds to its case."""

    blocks: tuple[Counts, ...]
    flags: tuple[ResultFlag, ...] = ()
    has_tumour_roi: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCells:
    """Cells of a tile: their table with membranes, their label images, and their class scores if there are any."""

    measured: Measured
    parts: Compartments
    class_scores: Float32Array | None


def sample_image(rgb: UInt8Array, *, mpp: float, config: Config) -> StainSample:
    """First look at one image of a case: a few thousand of its colours.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    mpp
        um per pixel of ``rgb``.
    config
        Settings.

    Raises
    ------
    NotHdabError
        Another stain, or no bright-field image.
    """
    sample = stains.sample_stains(working_tile(rgb, mpp=mpp, config=config).rgb)
    quality.check_hdab(sample.pixels, stains.white_level([sample], config=config.stains))
    return sample


def estimate_case(
    samples: Sequence[StainSample], *, config: Config, white: tuple[float, float, float] | None = None
) -> StainEstimate:
    """One `StainEstimate` for all images of a case.

    Parameters
    ----------
    samples
        At least one.
    config
        Settings.
    white
        RGB level (0-255) of empty glass, used where no glass is seen.
    """
    return stains.estimate_stains(samples, config=config.stains, signal=config.nuclei.signal, white=white)


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


def judge_cells(
    measured: Measured,
    class_scores: Float32Array | None,
    *,
    mpp: float,
    estimate: StainEstimate,
    config: Config,
    pack: RulePack,
) -> pd.DataFrame:
    """Name measured cells and say which are positive: all that needs no pixels any more.

    Parameters
    ----------
    measured
        Cells table with measurements and flags, and the membranes; of one tile, or put together from several.
    class_scores
        (n, classes) float32 of the segmenter, if it has any.
    mpp
        um per pixel of ``x_px``, ``y_px``.
    estimate, config, pack
        As in `analyse_tile`.
    """
    cells = naming.name_cells(measured.cells, class_scores, mpp=mpp, estimate=estimate, config=config)

    def judged(named: pd.DataFrame) -> pd.DataFrame:
        dense = quality.flag_pyknotic(named, estimate=estimate)
        flagged = named.assign(flags=named["flags"] | dense)
        return positivity.call_positive(
            flagged, measured.membrane, compartment=pack.compartment, config=config.positivity
        )

    first = judged(cells)
    if class_scores is None:
        return first
    weighed = classify.weigh_brown_company(classify.weigh_blue_company(first, mpp=mpp), mpp=mpp)
    if weighed["cell_class"].equals(first["cell_class"]):
        return weighed
    return judged(cells.assign(**weighed[["cell_class", *CLASS_PROBABILITIES]]))


def find_cells(
    tile: Tile,
    od: StainOD,
    *,
    estimate: StainEstimate,
    config: Config,
    with_neighbours: bool = True,
    maps: Maps | None = None,
) -> FoundCells:
    """Cells of one tile, measured and not yet named; arguments as in `analyse_tile`.

    Of a tile with an ``inner`` part the label images are those of this part. Without neighbours nothing is said of
    those of a cell: a tile of a slide does not know them all. ``maps`` are what the network said of the tile before.
    """
    if maps is None:
        seen = SEGMENTERS[config.nuclei.segmenter](tile, od, estimate=estimate, config=config.nuclei)
    else:
        seen = network.segment_maps(maps, mpp=tile.mpp, config=config.nuclei)
    tile, od = tile.cropped(), od.cropped(tile.inner)
    parts = cell_stage.grow_cells(seen, od, mpp=tile.mpp, config=config.cells)
    black = stains.pigment_residual_od(estimate, config.quality.pigment_od)
    measured = measure.measure_cells(
        tile, od, parts, stains=config.stains, pigment_residual_od=black, with_neighbours=with_neighbours
    )
    return FoundCells(measured=measured, parts=parts, class_scores=seen.class_scores)


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
        What is known of the image beforehand; added to the result's flags.

    Raises
    ------
    UsageError
        ``mpp`` is outside 0.1-2 um, or the masks of ``roi`` have another shape.
    PixelSizeError
        The nuclei contradict ``mpp`` by more than a factor of 2.
    """
    if roi is not None and roi.scored.shape != rgb.shape[:2]:
        raise UsageError(f"roi: a mask of {roi.scored.shape} for an image of {rgb.shape[:2]}; draw it on this image")
    tile = working_tile(rgb, mpp=mpp, config=config)
    found_tissue = tissue.find_tissue(tile, estimate, config=config.tissue)
    od = stains.deconvolve(tile.rgb, estimate)
    cells, parts = analyse_tile(tile, od, estimate=estimate, config=config, pack=pack)
    stained_um = nuclei.stained_width_um(od, estimate=estimate, mpp=tile.mpp)
    grain_um = quality.blue_grain_um(od, mpp=tile.mpp)
    size_flags = quality.check_nucleus_size(cells, config=config.quality, stained_um=stained_um, grain_um=grain_um)
    result_flags = {*flags, *estimate_flags(estimate), *size_flags}
    if roi is not None:
        cells = quality.flag_outside(cells, roi, mpp=mpp)
    cells = cells.sort_values(["y_px", "x_px"], kind="stable", ignore_index=True)
    if not (cells["cell_dab_od_mean"] >= np.float32(config.positivity.dab_od)).any() and not cells["positive"].any():
        result_flags.add(ResultFlag.NO_DAB_SEEN)
    blocks = scoring.count_blocks(cells, block_um=config.score.block_um, mpp=mpp, config=config, pack=pack)
    if roi is not None and roi.tumour is not None:
        blocks = (*blocks, Counts(tumour_area_um2=float((roi.tumour & roi.scored).sum()) * mpp**2))
    score = score_blocks(
        blocks,
        config=config,
        pack=pack,
        indication=indication,
        level="image",
        has_tumour_roi=roi is not None and roi.tumour is not None,
        flags=result_flags,
    )
    status = Status.OK if found_tissue.any() or len(cells) else Status.NO_TISSUE
    if status is Status.OK and ResultFlag.PARTIAL in score.flags:
        status = Status.PARTIAL
    return SlideResult(
        status=status, cells=cells, counts=sum(blocks, Counts()), blocks=blocks, score=score, estimate=estimate,
        mpp=mpp, working_mpp=tile.mpp, shape_px=(rgb.shape[0], rgb.shape[1]),
        tissue_area_um2=tissue.tissue_area_um2(found_tissue, tile), flags=score.flags,
        compartments=parts if keep_labels else None,
    )  # fmt: skip


def score_case(
    members: Sequence[CaseMember],
    *,
    estimate: StainEstimate,
    config: Config,
    pack: RulePack,
    indication: Indication | None = None,
    flags: Iterable[ResultFlag] = (),
) -> Score:
    """Pool the blocks of a case's images into its score.

    With a tumour ROI in some images only, the cells of the others are not confirmed: no call is made.
    """
    blocks = [block for member in members for block in member.blocks]
    known = {*flags, *estimate_flags(estimate)}
    for member in members:
        known |= set(member.flags) & _INHERITED
    has_roi = bool(members) and all(member.has_tumour_roi for member in members)
    return score_blocks(
        blocks, config=config, pack=pack, indication=indication, level="case", has_tumour_roi=has_roi, flags=known
    )


_INHERITED = {ResultFlag.MPP_OVERRIDDEN, ResultFlag.NUCLEUS_SIZE}
"""Flags of one image that its case carries, too."""


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
        (H, W, 3) uint8: PD-L1 immunohistochemistry, haematoxylin and DAB, bright field.
    mpp
        um per pixel of ``rgb``, 0.1 to 2; never guessed.
    config
        Settings; the defaults when None.
    assay
        Name of a rule pack, or path of a TOML file.
    indication
        Name of an indication of a pack that makes calls.
    white
        RGB level (0-255) of empty glass, used where the image shows none.
    roi
        What a person drew.
    keep_labels
        Whether the result carries its label images.

    Returns
    -------
    SlideResult
        Cells table, counts, score with interval, stain estimate and flags. The score is that of an image: adequacy and
        calls belong to a case (`score_case`).

    Raises
    ------
    UsageError
        ``rgb`` is no (H, W, 3) uint8 array, or a name is unknown.
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
    _check_rgb(rgb)
    config = config or Config()
    pack = load_pack(assay)
    chosen = None if indication is None else find_indication(pack, indication)
    estimate = estimate_case([sample_image(rgb, mpp=mpp, config=config)], config=config, white=white)
    return analyse_image(
        rgb, mpp=mpp, estimate=estimate, config=config, pack=pack, indication=chosen, roi=roi, keep_labels=keep_labels
    )


def _check_rgb(rgb: UInt8Array) -> None:
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        got = f"{rgb.dtype} {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise UsageError(f"rgb: expected a (H, W, 3) uint8 array, got {got}; convert it first")
    step = max(1, rgb.shape[0] // 256), max(1, rgb.shape[1] // 256)
    few = rgb[:: step[0], :: step[1]].astype(np.int16)
    if few.min() < EMPTY_LEVEL and np.abs(few - few.mean(axis=2, keepdims=True)).max() < 2:
        raise NotColourError("rgb: not a colour image; stains cannot be told apart")


def working_tile(rgb: UInt8Array, *, mpp: float, config: Config) -> Tile:
    """The image at the working resolution: the same parameters then serve every objective.

    ``rgb`` is (H, W, 3) uint8 with ``mpp`` um per pixel; outside of 0.1-2 um that is a `UsageError`.
    """
    if not MPP_RANGE[0] <= mpp <= MPP_RANGE[1]:
        raise UsageError(f"mpp = {mpp:g}: a bright-field scan has 0.1 to 2 um per pixel; check the pixel size")
    scale = mpp / config.working_mpp
    if abs(scale - 1) < SAME_MPP:
        return Tile.whole(rgb, mpp)
    height, width = rgb.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    tile = Tile.whole(np.asarray(resized, dtype=np.uint8), config.working_mpp)
    return Tile(rgb=tile.rgb, mpp=tile.mpp, core=tile.core, downsample_x=width / size[0], downsample_y=height / size[1])


def estimate_flags(estimate: StainEstimate) -> set[ResultFlag]:
    """What a reader of a score has to know of its stain estimate."""
    flags = set()
    if estimate.white_source == "assumed":
        flags.add(ResultFlag.WHITE_ASSUMED)
    if estimate.vectors_source != "estimated":
        flags.add(ResultFlag.VECTORS_FIXED)
    return flags


def score_blocks(
    blocks: Sequence[Counts],
    *,
    config: Config,
    pack: RulePack,
    indication: Indication | None,
    level: Literal["image", "case"],
    has_tumour_roi: bool,
    flags: Iterable[ResultFlag],
) -> Score:
    """The score of blocks of one image or case, as its segmenter and classifier allow; see `stages.score.score`."""
    return scoring.score(
        blocks,
        pack=pack,
        config=config.score,
        indication=indication,
        level=level,
        has_macrophage_class=naming.tells_immune_cells(config),
        has_tumour_roi=has_tumour_roi,
        tumour_confirmed=has_tumour_roi,
        flags=flags,
    )
