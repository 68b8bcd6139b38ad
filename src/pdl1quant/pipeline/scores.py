"""Counts of blocks -> the score of an image or a case."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pdl1quant import naming
from pdl1quant.model import BrownArea, Counts, ResultFlag
from pdl1quant.pipeline.staining import estimate_flags
from pdl1quant.stages import quality
from pdl1quant.stages import score as scoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import Indication, RulePack, Score, StainEstimate


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMember:
    """What one image adds to its case."""

    blocks: tuple[Counts, ...]
    flags: tuple[ResultFlag, ...] = ()
    has_tumour_roi: bool = False
    has_nests: bool = True
    """Whether tumour was drawn or a nest of tumour cells found."""
    brown: BrownArea = field(default_factory=BrownArea)


def score_case(
    members: Sequence[CaseMember],
    *,
    estimate: StainEstimate,
    config: Config,
    pack: RulePack,
    indication: Indication | None = None,
    flags: Iterable[ResultFlag] = (),
    level: Literal["image", "case"] = "case",
) -> Score:
    """Pool the blocks of a case's images into its score.

    What is no case though it has several images, as a microarray, is scored as an image: whether there are enough
    cells is not asked, and no call is made.

    With a tumour ROI in some images only, the cells of the others are not confirmed: no call is made. An image without
    any tumour or immune cell, as a field of empty glass, has nothing to confirm and is not asked for one.
    """
    blocks = [block for member in members for block in member.blocks]
    known = {*flags, *estimate_flags(estimate)}
    for member in members:
        known |= set(member.flags) & _INHERITED
    brown = sum((member.brown for member in members), BrownArea())
    known |= {*quality.check_brown(brown, n_tumour=sum(block.n_tumour for block in blocks))}
    asked = [member for member in members if holds_cells(member.blocks)] or members
    has_roi = bool(asked) and all(member.has_tumour_roi for member in asked)
    return score_blocks(
        blocks,
        config=config,
        pack=pack,
        indication=indication,
        level=level,
        has_tumour_roi=has_roi,
        has_nests=any(member.has_nests for member in members),
        flags=known,
    )


def holds_cells(blocks: Iterable[Counts]) -> bool:
    """Whether there are cells that enter a score, or would if they were not left out."""
    return any(each.n_tumour + each.n_excluded_tumour + each.n_lymphocyte + each.n_macrophage > 0 for each in blocks)


_INHERITED = {
    ResultFlag.MPP_OVERRIDDEN,
    ResultFlag.FIRST_IMAGE_ONLY,
    ResultFlag.REGION_OUTSIDE,
    ResultFlag.NUCLEUS_SIZE,
}
"""Flags of one image that its case carries, too."""


def score_blocks(
    blocks: Sequence[Counts],
    *,
    config: Config,
    pack: RulePack,
    indication: Indication | None,
    level: Literal["image", "case"],
    has_tumour_roi: bool,
    has_nests: bool = True,
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
        has_nests=has_nests,
        flags=flags,
    )
