"""From ``Counts`` to a ``Score``: shares, CPS, areas, H-score, adequacy, calls, and why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pdl1quant.model import Call, CallResult, Compartment, Counts, CutOff, ResultFlag, Score
from pdl1quant.stages.score.intervals import cps_interval, has_few_blocks, tps_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pdl1quant.config import ScoreConfig
    from pdl1quant.model import BlankLimit, BrownArea, Indication, RulePack

_MAX_CPS = 100.0

_NO_CALL_WITH: dict[ResultFlag, str] = {
    ResultFlag.TUMOUR_UNCONFIRMED: "tumour is not confirmed on every image (draw it, --roi, or sign a review)",
    ResultFlag.WHITE_ASSUMED: "the white level was assumed (--white)",
    ResultFlag.PARTIAL: "part of the case could not be judged",
    ResultFlag.REGION_OUTSIDE: "what was drawn lies partly outside its image",
    ResultFlag.NUCLEUS_SIZE: "nuclei are of unusual size, so the pixel size may be wrong (--mpp)",
    ResultFlag.NUCLEAR_STAIN: "brown lies in nuclei, as of another marker",
    ResultFlag.BROWN_WITHOUT_CELLS: "much brown lies where no cell was found",
    ResultFlag.CORES_UNLIKE_MAP: "the cores on the slide are not where the map has them (--tma-map)",
    ResultFlag.NO_CORE_MAP: "the cores may be of several cases, and no map says whose each is (--tma-map)",
    ResultFlag.CONTROL_STAINED: "the negative control is brown: its limit of blank is above the lowest cut-off",
    ResultFlag.CONTROL_UNUSABLE: "the negative control does not hold (run.json and the report say why)",
}
"""Doubts with which there is no call, and how each is said."""

_NO_CPS_WITH: dict[ResultFlag, str] = {
    ResultFlag.NO_MACROPHAGE_CLASS: "macrophages were not told apart",
    ResultFlag.NO_NESTS: "no nest of tumour cells was found",
}
"""With what there is no CPS, and how each is said."""


def score(
    blocks: Sequence[Counts],
    *,
    pack: RulePack,
    config: ScoreConfig,
    indication: Indication | None,
    level: Literal["image", "case"],
    has_macrophage_class: bool,
    has_tumour_roi: bool,
    tumour_confirmed: bool,
    has_nests: bool = True,
    flags: Iterable[ResultFlag] = (),
    blank: BlankLimit | None = None,
    brown: BrownArea | None = None,
) -> Score:
    """Score one image or case from the counts of its blocks.

    Percentages are unrounded. Without viable tumour cells every score is None but the stained area of the tissue. CPS
    is None without a macrophage class, and where immune cells are seen and neither drawn tumour nor a nest to which
    they might belong; the areas of positive cells are None without that of a tumour ROI. The interval is the envelope
    of Wilson's, the block bootstrap's (not with fewer than ``min_blocks`` tumour blocks), Wilson's on the effective
    number of cells, that of blocks whose likeness is not known (`alike_interval`) and the scores at t1 plus and minus
    the margin; it does not depend on the order of the blocks. Adequacy is judged per case only.

    Calls are made only by a pack that makes them, with an indication, for an adequate case without any of the doubts
    that `why_no_call` names. The CPS has an interval of the same kind as the TPS, and its cut-offs are held against it;
    as the CPS is no share, bounds from those of its tumour part and of the odds of its immune part stand in for
    Wilson's and for `alike_interval` (`cps_interval`). No CPS, no call on it. A TPS below the
    limit of blank never calls "at least", be it on TPS or CPS; a case is then flagged ``below_blank``.

    Parameters
    ----------
    blocks
        Counts of disjoint blocks; of all images, for a case.
    pack, config, indication
        How the assay is read, how the interval is made, and the disease (None: no call).
    level
        ``image`` or ``case``.
    has_macrophage_class
        Whether the classifier can name a macrophage.
    has_tumour_roi
        Whether a person drew the tumour region; its area is expected in ``Counts.tumour_area_um2``.
    tumour_confirmed
        Whether a person confirmed that the tumour cells are tumour (ROI or review).
    has_nests
        Whether tumour was drawn or a nest of tumour cells found (`stages.nests`): of single cells that are called
        tumour nobody knows which immune cells are theirs.
    flags
        What is known already; returned with those found here, sorted, each once.
    blank
        What the negative controls say (`limit_of_blank`); its flags are those of a case. The limit is the larger of
        its own and ``limit_of_blank_pct`` of ``config``.
    brown
        Brown and tissue of what is scored; None where it is not known.
    """
    total = sum(blocks, Counts())
    noted = set(flags) | _circumstances(
        total,
        config=config,
        has_macrophage_class=has_macrophage_class,
        has_tumour_roi=has_tumour_roi,
        tumour_confirmed=tumour_confirmed,
        has_nests=has_nests,
    )
    evaluable = total.n_tumour >= cells_asked_for(pack, indication) if level == "case" else None
    if evaluable is False:
        noted.add(ResultFlag.TOO_FEW_CELLS)
    if level == "case" and blank is not None:
        noted |= set(blank.flags)
    tissue_mm2, dab_area_pct = (None, None) if brown is None else (brown.tissue_mm2, brown.dab_area_pct)
    tumour_cells_mm2 = None if tissue_mm2 is None else total.n_tumour / tissue_mm2
    if total.n_tumour == 0:
        return Score(
            score_compartment=pack.compartment,
            score_name=pack.score_name,
            tissue_mm2=tissue_mm2,
            tumour_cells_mm2=tumour_cells_mm2,
            dab_area_pct=dab_area_pct,
            evaluable=evaluable,
            flags=_sorted(noted),
        )
    noted.add(ResultFlag.UNCALIBRATED)
    if has_few_blocks(blocks, config):
        noted.add(ResultFlag.FEW_BLOCKS)
    is_blank = _is_blank(_tps(total, pack.compartment), highest_limit(config, blank))
    if level == "case" and is_blank:
        noted.add(ResultFlag.BELOW_BLANK)
    tps_low, tps_high = tps_interval(blocks, total, pack.compartment, config)
    intervals = {"tps": (tps_low, tps_high)}
    has_cps = not noted & {ResultFlag.NO_MACROPHAGE_CLASS, ResultFlag.NO_NESTS}
    if has_cps:
        intervals["cps"] = cps_interval(blocks, total, pack.compartment, config)
    cps_low, cps_high = intervals.get("cps", (None, None))
    calls: tuple[Call, ...] = ()
    if indication is not None and not why_no_call(noted, pack=pack, indication=indication, evaluable=evaluable):
        calls = _calls(indication, intervals, is_blank=is_blank)
    area_um2 = total.tumour_area_um2 if has_tumour_roi else 0.0
    return Score(
        score_compartment=pack.compartment,
        score_name=pack.score_name,
        tps=_tps(total, pack.compartment),
        tps_low=tps_low,
        tps_high=tps_high,
        tps_membrane=_tps(total, Compartment.MEMBRANE),
        tps_cytoplasm=_tps(total, Compartment.CYTOPLASM),
        tps_cytoplasm_only=_tps(total, Compartment.CYTOPLASM_ONLY),
        tps_cell=_tps(total, Compartment.CELL),
        cps=_cps(total, pack.compartment) if has_cps else None,
        cps_low=cps_low,
        cps_high=cps_high,
        n_immune=total.n_immune if has_cps else None,
        n_immune_positive=total.positive.immune if has_cps else None,
        ic_area_pct=_area_pct(total.immune_positive_area_um2, area_um2),
        tap_area_pct=_area_pct(total.tumour_positive_area_um2 + total.immune_positive_area_um2, area_um2),
        tissue_mm2=tissue_mm2,
        tumour_cells_mm2=tumour_cells_mm2,
        dab_area_pct=dab_area_pct,
        tumour_dab_area_pct=_area_pct(total.tumour_cells_dab_area_um2, total.tumour_cells_area_um2),
        h_score=100.0 * (total.grade_1 + 2 * total.grade_2 + 3 * total.grade_3) / total.n_tumour,
        n_grade_1=total.grade_1,
        n_grade_2=total.grade_2,
        n_grade_3=total.grade_3,
        evaluable=evaluable,
        calls=calls,
        flags=_sorted(noted),
    )


def why_no_call(
    flags: Iterable[str], *, pack: RulePack, indication: Indication | None, evaluable: bool | None
) -> tuple[str, ...]:
    """Every reason why a score makes no call; none where it makes one for each cut-off.

    Parameters
    ----------
    flags
        Those of the score; names of `ResultFlag` will do.
    pack, indication
        How the assay is read, and the disease (None: not given).
    evaluable
        Whether the case has enough viable tumour cells; None for an image, as calls are made per case.
    """
    if not pack.makes_calls:
        return ("this reading makes no calls",)
    noted = set(flags)
    reasons = [] if indication is not None else ["no indication was given (--indication)"]
    reasons += [text for flag, text in _NO_CALL_WITH.items() if flag in noted]
    if evaluable is None:
        reasons.append("calls are made per case")
    elif not evaluable:
        reasons.append("there are too few tumour cells")
    if indication is not None and {cut_off.score for cut_off in indication.cut_offs} == {"cps"}:
        reasons += [f"its cut-offs are of the CPS, and {text}" for flag, text in _NO_CPS_WITH.items() if flag in noted]
    return tuple(reasons)


def _circumstances(
    total: Counts,
    *,
    config: ScoreConfig,
    has_macrophage_class: bool,
    has_tumour_roi: bool,
    tumour_confirmed: bool,
    has_nests: bool,
) -> set[ResultFlag]:
    seen = total.n_tumour + total.n_excluded_tumour
    n_immune = total.n_lymphocyte + total.n_macrophage
    found = {
        ResultFlag.TUMOUR_UNCONFIRMED: not tumour_confirmed,
        ResultFlag.NO_MACROPHAGE_CLASS: not has_macrophage_class,
        ResultFlag.NO_NESTS: has_macrophage_class and not has_nests and total.n_tumour > 0 and n_immune > 0,
        ResultFlag.NO_TUMOUR_ROI: not has_tumour_roi or total.tumour_area_um2 <= 0,
        ResultFlag.NO_TUMOUR_CELLS: total.n_tumour == 0,
        ResultFlag.PARTIAL: total.n_excluded_tumour > config.max_excluded_share * seen,
    }
    return {flag for flag, holds in found.items() if holds}


def _sorted(flags: set[ResultFlag]) -> tuple[ResultFlag, ...]:
    return tuple(sorted(flags, key=lambda flag: flag.value))


def cells_asked_for(pack: RulePack, indication: Indication | None) -> int:
    """Viable tumour cells that a case needs: as the indication says, else as the pack does."""
    if indication is not None and indication.min_tumour_cells is not None:
        return indication.min_tumour_cells
    return pack.min_tumour_cells


def _tps(total: Counts, compartment: Compartment) -> float:
    return float(100.0 * getattr(total.positive, compartment) / total.n_tumour)


def _cps(total: Counts, compartment: Compartment) -> float:
    positive = getattr(total.positive, compartment) + total.positive.immune
    return float(min(100.0 * positive / total.n_tumour, _MAX_CPS))


def _area_pct(part_um2: float, whole_um2: float) -> float | None:
    # Cells belong to the region of their centroid, so their outlines can reach a little beyond it.
    return min(100.0 * part_um2 / whole_um2, 100.0) if whole_um2 > 0 else None


def highest_limit(config: ScoreConfig, blank: BlankLimit | None) -> float | None:
    """The limit of blank that holds: the larger of the setting and of what the controls say; None without either."""
    limits = (config.limit_of_blank_pct, None if blank is None else blank.limit_pct)
    return max((limit for limit in limits if limit is not None), default=None)


def _is_blank(tps: float, limit_pct: float | None) -> bool:
    return limit_pct is not None and tps < limit_pct


def _calls(indication: Indication, intervals: dict[str, tuple[float, float]], *, is_blank: bool) -> tuple[Call, ...]:
    return tuple(
        Call(cut_off=cut_off, result=_result(cut_off, *intervals[cut_off.score], is_blank=is_blank))
        for cut_off in indication.cut_offs
        if cut_off.score in intervals
    )


def _result(cut_off: CutOff, low: float, high: float, *, is_blank: bool) -> CallResult:
    if high < cut_off.value:
        return CallResult.BELOW
    if low >= cut_off.value and not is_blank:
        return CallResult.AT_LEAST
    return CallResult.INDETERMINATE


_READ_AT = (5, 10, 20, 25, 30, 50)
"""Where PD-L1 scores are cut, above 1: by the packs, by other assays and in other tumours (CPS 20, SP263 25 %, DLBCL 30
%). What lies below one of them is never printed as that number, or it would contradict its call."""


def format_tps(value: float | None) -> str:
    """A TPS (per cent) or CPS as it is printed: an integer, or ``< 1``.

    Halves are rounded up, but never to a cut-off that the value does not reach: 4.6 is ``4``, 49.97 is ``49`` (looked
    at are 5, 10, 20, 25, 30 and 50). ``0`` is printed only for exactly 0 (no positive cell at all); above 0 and below
    1 is ``< 1``. None, undefined, is a dash. For reading only: calls are made on unrounded values.
    """
    if value is None:
        return "\N{EN DASH}"
    if 0 < value < 1:
        return "< 1"
    rounded = int(value + 0.5)
    return str(int(value) if value < rounded in _READ_AT else rounded)


def format_interval(low: float | None, high: float | None, *, dash: str = "-") -> str:
    """The bounds of a TPS or CPS as they are printed (`format_tps`): ``37-52``, ``< 1-2``; nothing where undefined."""
    return "" if low is None or high is None else f"{format_tps(low)}{dash}{format_tps(high)}"
