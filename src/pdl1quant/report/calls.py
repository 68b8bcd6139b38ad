"""The calls of a case as a report shows them: about which drug each is, and why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.model import Call, CallResult, ResultFlag, Status
from pdl1quant.stages.score import why_no_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import CutOff, Indication, RulePack
    from pdl1quant.outputs.reviewed import ReviewedRow
    from pdl1quant.outputs.scores_table import ScoreRow

_BELOW_QUALIFIES = "a score below the cut-off is what qualifies"
_CAVEATS = {
    ResultFlag.BELOW_BLANK: "below the limit of blank, so nothing reads '>='",
    ResultFlag.NO_DAB_SEEN: "no cell is brown: hold the staining against its positive control first",
}
"""What has to be read with the calls of a case, by its flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCall:
    """A call, and what it is about: ``nivolumab``, and where a score below the cut-off is what qualifies."""

    text: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPanel:
    """Calls of a case, or every reason why there are none; ``caveat`` is what has to be read with the calls."""

    calls: tuple[ShownCall, ...]
    reasons: tuple[str, ...]
    caveat: str = ""


def calls_of(row: ScoreRow, *, pack: RulePack, indication: Indication | None) -> CallPanel:
    """The automated calls of a case."""
    if row.calls:
        return _panel(row.calls, row.flags, indication)
    if row.status in (Status.REFUSED, Status.FAILED):
        return CallPanel(calls=(), reasons=("the case was not scored",))
    evaluable = None if row.level == "array" else bool(row.evaluable)
    reasons = why_no_call(row.flags, pack=pack, indication=indication, evaluable=evaluable)
    return CallPanel(calls=(), reasons=reasons)


def reviewed_calls_of(row: ReviewedRow, *, pack: RulePack, indication: Indication | None) -> CallPanel:
    """The calls of a case after its review."""
    if row.reviewed_calls:
        return _panel(row.reviewed_calls, row.reviewed_flags, indication)
    evaluable = None if row.level == "array" else bool(row.reviewed_evaluable)
    reasons = why_no_call(row.reviewed_flags, pack=pack, indication=indication, evaluable=evaluable)
    return CallPanel(calls=(), reasons=reasons or ("the threshold was moved on this case",))


def _panel(texts: Sequence[str], flags: Sequence[str], indication: Indication | None) -> CallPanel:
    left = list(indication.cut_offs) if indication is not None else []
    shown = []
    for text in texts:
        cut_off = next((each for each in left if text in _texts(each)), None)
        if cut_off is not None:
            left.remove(cut_off)
        shown.append(ShownCall(text=text, detail=_detail(cut_off)))
    return CallPanel(
        calls=tuple(shown), reasons=(), caveat="; ".join(text for flag, text in _CAVEATS.items() if flag in flags)
    )


def _texts(cut_off: CutOff) -> set[str]:
    return {str(Call(cut_off=cut_off, result=result)) for result in CallResult}


def _detail(cut_off: CutOff | None) -> str:
    if cut_off is None:
        return ""
    return f"{cut_off.drug}; {_BELOW_QUALIFIES}" if cut_off.qualifies == "below" else cut_off.drug
