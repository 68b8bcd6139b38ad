"""What flags of results and cells mean, in plain words for whoever shows them."""

from __future__ import annotations

from dataclasses import dataclass

from pdl1quant.model import Flag, ResultFlag


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
            name=ResultFlag.NUCLEAR_STAIN,
            short="brown nuclei",
            text="Most brown cells are brown in the nucleus and not around it. PD-L1 lies in membranes and cytoplasm: "
            "it may be another marker (Ki-67, p40, TTF-1), or red and blue of the image may be exchanged.",
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


def flag_text(name: str) -> FlagText:
    """The words for a flag; one that this version does not know is shown by its name."""
    return FLAG_TEXTS.get(name) or FlagText(name=name, short=name.replace("_", " "), text=name.replace("_", " "))


def sorted_flags(names: tuple[str, ...]) -> list[FlagText]:
    """The weightier first, each once."""
    known = [FLAG_TEXTS[name] for name in FLAG_TEXTS if name in names]
    return known + [flag_text(name) for name in sorted(set(names) - set(FLAG_TEXTS))]
