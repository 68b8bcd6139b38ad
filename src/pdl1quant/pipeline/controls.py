"""Measured negative controls -> the limit of blank of the cases that were stained with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.model import ResultFlag, SlideResult
from pdl1quant.pipeline.checks import check_given, listed
from pdl1quant.stages import score as scoring

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdl1quant.model import BlankLimit, Counts, Indication, RulePack

_DOUBTS = {
    ResultFlag.WHITE_ASSUMED: "its white level was assumed (--white)",
    ResultFlag.NUCLEUS_SIZE: "its nuclei are of unusual size, so its pixel size may be wrong (--mpp)",
    ResultFlag.NUCLEAR_STAIN: "brown lies in its nuclei, as of another marker",
    ResultFlag.BROWN_WITHOUT_CELLS: "much brown lies where no cell was found",
}
"""Flags with which an image is no control, and how each is said: with them a case would have no call, either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlMember:
    """What one image of a negative control says; of a result `ControlMember.of` makes it."""

    name: str
    fields: tuple[Counts, ...] = ()
    """Counts of its fields: of a slide its blocks, else the image as a whole."""
    flags: tuple[ResultFlag, ...] = ()
    error: str = ""
    """Why it could not be scored."""

    @classmethod
    def of(cls, name: str, result: SlideResult) -> ControlMember:
        """What an image says whose result `analyse_image` or `score_image` gave; else a `UsageError`."""
        listed([result], SlideResult, name="result", advice="write ControlMember.of(name, result)")
        is_slide = result.tissue is None
        return cls(name=name, fields=result.blocks if is_slide else (result.counts,), flags=result.flags)


def blank_limit(
    members: Iterable[ControlMember], *, pack: RulePack, indication: Indication | None = None
) -> BlankLimit:
    """The limit of blank that images of negative controls make, as `pdl1quant score --negative-control` does.

    Every image that was given has to be fit for it: one that could not be scored, whose white level was assumed, whose
    nuclei are of unusual size, or with much brown outside its cells is a reason for no call
    (``control_unusable``), for it may be the one that was stained.

    Parameters
    ----------
    members
        All images of the controls, each content once, measured with the settings of the cases.
    pack, indication
        As for the cases.

    Returns
    -------
    BlankLimit
        For ``blank`` of `score_case`; see `stages.score.limit_of_blank` for how it is made.

    Raises
    ------
    UsageError
        Something that is no `ControlMember` is among ``members``, ``pack`` or ``indication`` is of another type, or the
        indication of another pack.
    """
    members = listed(members, ControlMember, name="members", advice="ControlMember.of makes one of the result of each")
    check_given(pack=pack, indication=indication)
    problems = [f"{each.name}: {each.error}" for each in members if each.error]
    problems += [f"{each.name}: {text}" for each in members for flag, text in _DOUBTS.items() if flag in each.flags]
    fields = [(each.name, counts) for each in members for counts in each.fields]
    return scoring.limit_of_blank(fields, pack=pack, indication=indication, problems=problems)
