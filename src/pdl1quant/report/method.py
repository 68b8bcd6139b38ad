"""How the numbers of a report were made, and what they are not, in plain words for who reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdl1quant.model import Compartment

if TYPE_CHECKING:
    from pdl1quant.config import Config
    from pdl1quant.model import Indication, RulePack, StainEstimate


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
