"""What flags, numbers and the method mean, in plain words for who reads a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdl1quant.model import Compartment, Flag, ResultFlag, Status
from pdl1quant.stages.score import format_interval, format_tps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import Indication, RulePack, StainEstimate
    from pdl1quant.outputs.reviewed import ReviewedRow
    from pdl1quant.outputs.scores_table import ScoreRow

_NAME_LENGTH = 120
_NAMED = 3
"""Images named in a line that is about many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagText:
    """A flag as a reader meets it; ``weight`` is ``doubt`` (may move the number) or ``note`` (how to read it)."""

    name: str
    short: str
    text: str
    weight: str = "note"


FLAG_TEXTS: dict[str, FlagText] = {
    each.name: each
    for each in (
        FlagText(
            name=ResultFlag.TUMOUR_UNCONFIRMED,
            short="tumour unconfirmed",
            text="No person has said where tumour is: the program believes that these are tumour cells. "
            "Draw the tumour and score with --roi, or review the cells.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.WHITE_ASSUMED,
            short="white assumed",
            text="No empty glass was seen and the white level was assumed; densities may be shifted. Give --white.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.WHITE_DIFFERS,
            short="white differs",
            text="The glass that was seen differs by more than 5 levels from the white level that was given; the glass "
            "was used. Check both: densities depend on it.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.VECTORS_FIXED,
            short="textbook stain colours",
            text="Too little of one stain, or of both, to measure its colour; the textbook's was used.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.NO_DAB_SEEN,
            short="no brown cell",
            text="No cell is brown: hold the staining against its positive control before reading this as negative.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.MPP_OVERRIDDEN,
            short="pixel size overridden",
            text="The pixel size that was given contradicts the file's own. Check it: all areas depend on it.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.FIRST_IMAGE_ONLY,
            short="first page only",
            text="A file holds several pages or images, and only its first was scored. Export the others as files of "
            "their own.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.REGION_OUTSIDE,
            short="region outside the image",
            text="More than a tenth of what was drawn lies outside its image. It may have been drawn on another image, "
            "or on one of another size: then what was scored is not what was meant.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.NUCLEUS_SIZE,
            short="unusual nucleus size",
            text="Nuclei are unusually large or small; most often the pixel size is wrong.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.BROWN_WITHOUT_CELLS,
            short="brown without cells",
            text="A quarter of the brown area or more lies where no cell was found: brown so dark that no nucleus "
            "shows, or brown that is no cell. If it is tumour, its cells are missing from the score.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.CORES_UNLIKE_MAP,
            short="cores unlike map",
            text="The cores of a microarray are not where its map has them: a row or column may be lost and the names "
            "of the others shifted, so that these are cores of another case. Hold the overlay against the plan.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.NO_CORE_MAP,
            short="no map of the cores",
            text="All cores of a microarray together, which may be of several patients: no map says whose each core is "
            "(--tma-map), so this is the score of no case. Each core has a score of its own.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.CONTROL_STAINED,
            short="control stained",
            text="The negative control is brown: its limit of blank is above the lowest cut-off, which a case may "
            "reach without any PD-L1. No call is made. Look for pigment, unspecific staining, or the wrong reagent.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.CONTROL_UNUSABLE,
            short="control unusable",
            text="The negative control that was given does not hold: what is brown without the antibody is not known. "
            "No call is made; the section on the negative control says why.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.BELOW_BLANK,
            short="below limit of blank",
            text="As many cells are brown in fields that had no antibody: this score cannot be told from none, and "
            "nothing reads “>=”.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.PARTIAL,
            short="partial",
            text="Part of the tissue or of the tumour cells could not be judged (blur, pigment, dead cells, unread "
            "images); what is left may not stand for the rest.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.NO_TUMOUR_CELLS,
            short="no tumour cells",
            text="No viable tumour cell was found, so there is no TPS.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.TOO_FEW_CELLS,
            short="too few cells",
            text="Fewer viable tumour cells than the assay asks for: not evaluable.",
            weight="doubt",
        ),
        FlagText(
            name=ResultFlag.FEW_BLOCKS,
            short="little tissue",
            text=(
                "Too few blocks of tissue to measure well how much the score varies over it; the interval is widened "
                "by how alike neighbours are taken to be."
            ),
        ),
        FlagText(
            name=ResultFlag.SELECTED_FIELDS,
            short="selected fields",
            text="Somebody chose these fields; the rest of the section may differ.",
        ),
        FlagText(
            name=ResultFlag.NO_MACROPHAGE_CLASS,
            short="no CPS",
            text="Macrophages were not told apart, so there is no CPS.",
        ),
        FlagText(
            name=ResultFlag.NO_NESTS,
            short="no nests, no CPS",
            text="Immune cells were seen, but no nest of tumour cells to which they might belong, and no tumour was "
            "drawn: so there is no CPS. Draw the tumour and score with --roi.",
        ),
        FlagText(
            name=ResultFlag.NO_TUMOUR_ROI,
            short="no tumour region",
            text="No tumour region was drawn, so there are no scores by area (IC, TAP).",
        ),
        FlagText(
            name=ResultFlag.UNCALIBRATED,
            short="grades uncalibrated",
            text="Grades 1 to 3 and the H-score are bins of optical density, not a pathologist's 1+, 2+, 3+.",
        ),
        FlagText(
            name=ResultFlag.DUPLICATE,
            short="duplicate image",
            text="The same file content was given twice; it is counted once.",
        ),
    )
}
"""Every flag of a result, the weightier first."""

CELL_FLAG_TEXTS: dict[Flag, str] = {
    Flag.TOUCHES_EDGE: "cut by the edge of the image",
    Flag.PIGMENT: "covered by pigment (carbon, ink)",
    Flag.OUT_OF_FOCUS: "out of focus",
    Flag.PYKNOTIC: "shrunken or fragmented nucleus: not viable",
    Flag.OUTSIDE_ROI: "outside the region to be scored",
    Flag.ARTEFACT: "in a spoilt part of the slide: pen, fold, bubble, blur or pigment",
    Flag.OVERLAID: "under a brown immune cell",
    Flag.SATURATED: "too dark for the stain split (stays in the score)",
    Flag.NO_CYTOPLASM: "no cytoplasm seen (stays in the score)",
    Flag.SHARED_MEMBRANE: "brown line given to a neighbour (stays in the score)",
    Flag.BESIDE_TUMOUR: "beside the drawn tumour: only immune cells count, for the CPS",
    Flag.FAR_FROM_TUMOUR: "farther than 500 um from any nest of tumour cells found: not counted in the CPS",
    Flag.EDITED: "changed by a reviewer",
}
"""What is said of a cell, those that leave the score first."""

STATUS_TEXTS: dict[Status, str] = {
    Status.OK: "scored",
    Status.PARTIAL: "partly scored",
    Status.NO_TISSUE: "no tissue",
    Status.REFUSED: "refused",
    Status.FAILED: "failed",
}

RATE_NAMES: dict[Compartment, str] = {
    Compartment.MEMBRANE: "Membrane",
    Compartment.CYTOPLASM: "Cytoplasm or membrane",
    Compartment.CYTOPLASM_ONLY: "Cytoplasm, not membrane",
    Compartment.CELL: "Whole cell, on average",
}


def flag_text(name: str) -> FlagText:
    """The words for a flag; one that this version does not know is shown by its name."""
    return FLAG_TEXTS.get(name) or FlagText(name=name, short=name.replace("_", " "), text=name.replace("_", " "))


def sorted_flags(names: tuple[str, ...]) -> list[FlagText]:
    """The weightier first, each once."""
    known = [FLAG_TEXTS[name] for name in FLAG_TEXTS if name in names]
    return known + [flag_text(name) for name in sorted(set(names) - set(FLAG_TEXTS))]


_OF_ONE = (
    ResultFlag.NUCLEUS_SIZE,
    ResultFlag.REGION_OUTSIDE,
    ResultFlag.BROWN_WITHOUT_CELLS,
    ResultFlag.NO_NESTS,
    ResultFlag.DUPLICATE,
)
"""What is said of a single image, region or core beside its status: their case may not have it."""


def own_doubts(names: Sequence[str]) -> str:
    """What a line about one image, region or core says of its flags, in a few words; empty without any."""
    return ", ".join(FLAG_TEXTS[name].short for name in _OF_ONE if name in names)


def shortened(name: str) -> str:
    """A name as it stands beside an outline."""
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "\N{HORIZONTAL ELLIPSIS}"


def region_score(row: ScoreRow) -> tuple[str, ...]:
    """What is said of a region or core beside its outline: TPS, interval and cells, then its doubts."""
    told = _tps_of(row.tps, row.tps_low, row.tps_high, n_tumour=row.n_tumour or 0)
    status = () if row.status is Status.OK else (STATUS_TEXTS[row.status],)
    return (told, *status, *filter(None, [own_doubts(row.flags)]))


EDITED_SINCE = "Edits are not counted: run pdl1quant rescore, then pdl1quant report"
"""What is said of a reviewed score that is not of all edits, or of none."""


def reviewed_score(row: ReviewedRow) -> tuple[str, ...]:
    """The same of what a review makes of it; nothing where nobody reviewed it."""
    if not row.reviewers:
        return ()
    if row.reviewed_n_tumour is None:
        return (f"Reviewed: {row.error}",)
    tps = _tps_of(row.reviewed_tps, row.reviewed_tps_low, row.reviewed_tps_high, n_tumour=row.reviewed_n_tumour)
    n = row.n_edits or 0
    return (f"Reviewed: {tps}; {n:,} edit{'' if n == 1 else 's'}",)


def _tps_of(tps: float | None, low: float | None, high: float | None, *, n_tumour: int) -> str:
    interval = format_interval(low, high, dash="\N{EN DASH}")
    text = f"TPS {format_tps(tps)} %" if tps is not None else "TPS not defined"
    return f"{text}{f' ({interval})' if interval else ''}; {n_tumour:,} tumour cell{'' if n_tumour == 1 else 's'}"


def about_images(remarks: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each remark, with the names of the images that it is about; of many only the first."""
    return [f"{_images(names)}: {remark}" for remark, names in remarks.items()]


def _images(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    rest = len(names) - _NAMED
    others = f" and {rest:,} more" if rest > 0 else ""
    return f"{len(names):,} images ({', '.join(names[:_NAMED])}{others})"


def how_white_was_got(estimate: StainEstimate) -> str:
    """In a few words."""
    words = {
        "glass": "measured on empty glass",
        "glass_not_given": "measured on empty glass; the level that was given differs",
        "given": "given by the user",
        "assumed": "assumed: no glass was seen",
    }
    return words.get(estimate.white_source, estimate.white_source)


def how_vectors_were_got(estimate: StainEstimate) -> str:
    """In a few words."""
    words = {
        "estimated": "measured on this case",
        "haematoxylin_estimated": "haematoxylin measured; DAB from the textbook, as too little was seen",
        "fixed": "fixed, not measured",
    }
    return words.get(estimate.vectors_source, estimate.vectors_source)


_OF_CONTROL = (
    "Fields of negative-reagent sections, scored as the cases are. The limit of blank is the 95th percentile of their "
    "rates, of fewer than 20 fields the highest. A case below it never reads at least. With a control that is brown, "
    "or that could not be judged, no call is made."
)
_NO_CONTROL = (
    "None was given to this run (--negative-control): what is brown without the antibody, as pigment or unspecific "
    "staining, counts as PD-L1."
)


def method(
    pack: RulePack, config: Config, indication: Indication | None, *, has_control: bool = False
) -> list[tuple[str, str]]:
    """How the number was made: a heading and a sentence or two each."""
    positivity, score = config.positivity, config.score
    counted = {
        Compartment.MEMBRANE: "its membrane is brown",
        Compartment.CYTOPLASM: "its cytoplasm or its membrane is brown",
        Compartment.CYTOPLASM_ONLY: "its cytoplasm is brown and its membrane is not",
        Compartment.CELL: "the whole cell is brown on average",
    }[pack.compartment]
    reading = (
        "The interval is held against published cut-offs"
        + (f" of {indication.title}" if indication is not None else ", once an indication is given")
        + ": at least, below, or indeterminate."
        if pack.makes_calls
        else "This reading is not that of the label of the assay: it is compared with no cut-off, and no call is made. "
        "Reference lines are for orientation only."
    )
    return [
        (
            "What is counted",
            (
                f"{pack.score_name} = 100 x positive viable tumour cells / viable tumour cells. "
                f"A tumour cell is positive when {counted}. {reading}"
            ),
        ),
        (
            "When is it brown",
            (
                f"Cytoplasm: mean DAB at or above {positivity.dab_od:g} (apparent optical density, log10). "
                f"Membrane: one unbroken run at or above it over at least {100 * positivity.min_run:g} % of the "
                f"perimeter, standing out by {positivity.min_membrane_contrast_od:g} from the cell's own cytoplasm "
                "unless that is brown itself. At x200 both lie one or two pixels apart: diffuse brown up to the edge "
                "counts as both."
            ),
        ),
        (
            "The interval",
            (
                "The widest of three doubts: that only so many cells were seen (95 %), that neighbouring tissue is "
                f"alike, and that the threshold might lie {score.threshold_margin_od:g} higher or lower. It does not "
                "cover cells that are named wrongly."
            ),
        ),
        (
            "What was left out",
            (
                "Cells cut by the edge of the image, covered by pigment, out of focus, not viable, in a spoilt part "
                "of a slide, or outside the drawn region stay in the table and leave numerator and denominator. When "
                f"more than {100 * score.max_excluded_share:g} % of the tumour cells go, the result is called partial."
            ),
        ),
        (
            "Which immune cells count",
            (
                "For the CPS, brown lymphocytes and macrophages in the drawn tumour and up to 500 µm beside it. Where "
                "no tumour was drawn, those up to 500 µm from nests of tumour cells that were found; in a field of up "
                "to 600 µm that holds one, all of them; in a core of a microarray, those of its own nests."
            ),
        ),
        (
            "Other numbers",
            (
                "CPS = 100 x positive viable tumour cells, lymphocytes and macrophages / viable tumour cells, at most "
                "100. H-score, 0 to 300: per cent of tumour cells of grade 1 + 2 x grade 2 + 3 x grade 3. IC and TAP "
                "area, for research: per cent of the drawn tumour that positive immune cells cover, or these and "
                "positive tumour cells. Stained tissue (in tables: stained), for research and no TPS: per cent of the "
                f"analysed tissue at or above {positivity.dab_od:g}, cells or not; stained in tumour cells: the same "
                "of the area of viable tumour cells. A dash: not defined; the flags say why."
            ),
        ),
        (
            "Density is apparent",
            (
                "DAB scatters light and cameras encode it: densities compare on one scanner with one protocol and are "
                "not an amount of protein. Melanin and haemosiderin are brown, too: only a negative-reagent section "
                "tells."
            ),
        ),
        ("The negative control", _OF_CONTROL if has_control else _NO_CONTROL),
        (
            "Who says it is tumour",
            (
                "Cells are named by a program. The network that comes with it was trained on rendered fields, not on "
                "tissue. Without a region drawn by a person, or a review, it is a belief; above all in lymphoma, "
                "reactive or normal epithelium."
            ),
        ),
        (
            "What it is not",
            (
                "It measures stained sections. It was not tested on patients' outcomes, does not predict a response "
                "to treatment, and is not a medical device."
            ),
        ),
    ]
