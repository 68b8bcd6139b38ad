"""Counts of blocks -> the score of an image or a case."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pdl1quant import naming
from pdl1quant.errors import UsageError
from pdl1quant.model import BrownArea, Counts, ResultFlag, SlideResult, Status
from pdl1quant.pipeline.checks import check_given, listed
from pdl1quant.pipeline.staining import estimate_flags
from pdl1quant.stages import quality
from pdl1quant.stages import score as scoring

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import BlankLimit, Compartment, Indication, RulePack, Score, StainEstimate


_TELLING_CELLS = 10
"""Viable tumour cells from which two fields do not agree in all that was measured: their areas hardly ever do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMember:
    """What one image adds to its case; of a result `CaseMember.of` makes it."""

    blocks: tuple[Counts, ...]
    flags: tuple[ResultFlag, ...] = ()
    has_tumour_roi: bool = False
    has_nests: bool = True
    """Whether tumour was drawn or a nest of tumour cells found."""
    brown: BrownArea = field(default_factory=BrownArea)
    has_tissue: bool = True
    is_damaged: bool = False
    """Whether some of it could not be read: the case is then partial."""
    estimate: StainEstimate | None = None
    """Staining that it was measured with; None where it is known to be that of the case."""
    config_digest: str | None = None
    """That of the settings it was measured with; None where they are known to be those of the case."""
    compartment: Compartment | None = None
    """Where its grades were read; None where that is known to be as the rule pack of the case says."""

    @classmethod
    def of(cls, result: SlideResult) -> CaseMember:
        """What an image adds whose result `analyse_image` or `score_image` gave; else a `UsageError`."""
        listed([result], SlideResult, name="result", advice="analyse_image and score_image give one")
        return cls(
            blocks=result.blocks,
            flags=result.flags,
            has_tumour_roi=ResultFlag.TUMOUR_UNCONFIRMED not in result.flags,
            has_nests=result.has_nests,
            brown=result.brown,
            has_tissue=result.status is not Status.NO_TISSUE,
            estimate=result.estimate,
            config_digest=result.config_digest,
            compartment=result.score.score_compartment,
        )


def score_case(
    members: Sequence[CaseMember],
    *,
    estimate: StainEstimate,
    config: Config,
    pack: RulePack,
    indication: Indication | None = None,
    flags: Iterable[ResultFlag] = (),
    level: Literal["image", "case"] = "case",
    blank: BlankLimit | None = None,
) -> Score:
    """Pool the blocks of a case's images into its score, as `pdl1quant score` does.

    Give each image once, and say ``ResultFlag.PARTIAL`` in ``flags`` where one of the case could not be scored: what is
    not among ``members`` nobody knows of.

    What is no case though it has several images, as a microarray, is scored as an image: whether there are enough
    cells is not asked, and no call is made.

    With a tumour ROI in some images only, the cells of the others are not confirmed: no call is made. An image without
    any tumour or immune cell, as a field of empty glass, has nothing to confirm and is not asked for one.

    Parameters
    ----------
    members
        At least one (`CaseMember.of`), all analysed with the same ``estimate``, ``config`` and ``pack``.
    estimate, config, pack, indication
        Staining of the case, settings, rule pack and, for a label pack, the indication.
    flags
        What else is known of the case.
    level
        ``image`` for what is no case.
    blank
        What the negative controls say (`limit_of_blank`); None without any.

    Raises
    ------
    UsageError
        Something that is no `CaseMember` is among ``members``; one was analysed with another estimate, with other
        settings, or in another compartment; ``estimate``, ``config``, ``pack``, ``indication`` or ``blank`` is of
        another type, or the indication of another pack.

    Warns
    -----
    UserWarning
        Two members are of the same field, by all that was measured; both count.
    """
    members = listed(members, CaseMember, name="members", advice="CaseMember.of makes one of the result of each image")
    check_given(config=config, estimate=estimate, pack=pack, indication=indication, blank=blank)
    digest = config.digest
    for member in members:
        _check_measured_alike(member, estimate=estimate, digest=digest, pack=pack)
    if any(member.estimate is not None for member in members):  # of files it is known by their names
        _warn_of_repeats(members)
    blocks = [block for member in members for block in member.blocks]
    known = {*flags, *estimate_flags(estimate)}
    for member in members:
        known |= set(member.flags) & _INHERITED
    with_tissue = [member for member in members if member.has_tissue]
    if with_tissue and all(ResultFlag.NO_DAB_SEEN in member.flags for member in with_tissue):
        known.add(ResultFlag.NO_DAB_SEEN)
    if any(member.is_damaged for member in members):
        known.add(ResultFlag.PARTIAL)
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
        blank=blank,
        brown=brown,
    )


def _check_measured_alike(member: CaseMember, *, estimate: StainEstimate, digest: str, pack: RulePack) -> None:
    """Refuse what was measured otherwise than the case is scored: its sums would be of two kinds."""
    if member.estimate is not None and member.estimate != estimate:
        raise UsageError(
            "members: one was measured with another stain estimate; analyse all images of a case with the same one "
            "(estimate_case, analyse_image)"
        )
    if member.config_digest not in {None, digest}:
        raise UsageError(
            f"members: one was measured with other settings (digest {member.config_digest}, that of config is "
            f"{digest}); analyse all images of a case with the settings it is scored with"
        )
    if member.compartment not in {None, pack.compartment}:
        raise UsageError(
            f"members: one was graded by its {member.compartment}, the rule pack {pack.name} reads {pack.compartment}; "
            "analyse the images with this pack"
        )


def _warn_of_repeats(members: Sequence[CaseMember]) -> None:
    for group in repeated_members(members):
        which = " = ".join(f"members[{index}]" for index in group)
        warnings.warn(
            f"{which}: the same field, by all that was measured; each counts, and the interval is too narrow: give "
            "each image once",
            stacklevel=3,
        )


def repeated_members(members: Sequence[CaseMember]) -> list[list[int]]:
    """Groups of members (their places) in which all that was measured is the same, so that they are of one field.

    Those with few tumour cells or none may agree by chance, as two of lymphocytes without brown, and are in none.
    """
    alike: dict[tuple[object, ...], list[int]] = {}
    for index, member in enumerate(members):
        if sum(block.n_tumour for block in member.blocks) >= _TELLING_CELLS:
            alike.setdefault((member.blocks, member.brown), []).append(index)
    return [group for group in alike.values() if len(group) > 1]


def holds_cells(blocks: Iterable[Counts]) -> bool:
    """Whether there are cells that enter a score, or would if they were not left out."""
    return any(each.n_tumour + each.n_excluded_tumour + each.n_lymphocyte + each.n_macrophage > 0 for each in blocks)


_INHERITED = {
    ResultFlag.SELECTED_FIELDS,
    ResultFlag.MPP_OVERRIDDEN,
    ResultFlag.FIRST_IMAGE_ONLY,
    ResultFlag.REGION_OUTSIDE,
    ResultFlag.NUCLEUS_SIZE,
    ResultFlag.NUCLEAR_STAIN,
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
    blank: BlankLimit | None = None,
    brown: BrownArea | None = None,
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
        blank=blank,
        brown=brown,
    )
