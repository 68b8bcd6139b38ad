"""Draw the figures of the pages from rendered cells with the code that scores: ``python docs/make_figures.py``.

Those of single cells show the tissue on the left and, on the right, what the stages made of the same pixels.
"""

# ruff: noqa: INP001 (a script, no package)
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from make_pictures import save_shrunk
from PIL import Image, ImageDraw, ImageFont

from pdl1quant import naming
from pdl1quant.assays import load_pack
from pdl1quant.config import Config
from pdl1quant.model import EXCLUDING_FLAGS, MEMBRANE_SECTORS, Flag, Tile
from pdl1quant.outputs.captions import Caption, score_text
from pdl1quant.outputs.overlays import draw_overlay
from pdl1quant.pipeline import estimate_case, find_cells, sample_image, score_image
from pdl1quant.stages import positivity, quality, stains
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.model import BoolArray, Compartments, Float32Array, Int32Array, MembraneProfile, UInt8Array

MPP = 0.5
ZOOM = 12
HALF_PX = 28
GAP_PX = 12
LINE_PX = 26
OPACITY = 0.6
COUNTED, LEFT_OUT, UNSTAINED, NUCLEUS = (254, 68, 18), (10, 70, 245), (150, 150, 150), (60, 60, 60)
CYTOPLASM = (247, 225, 58)
MIN_LEFT_OUT_SECTORS = 4
MIN_CYTOPLASM_UM2 = 60
FOLDER = Path(__file__).parent / "images"
LUNG = PhantomSettings(
    size_px=720, tps_pct=50, tumour_share=0.35, lung_share=0.5, pneumocyte_share=0.5, free_macrophage_share=0.7,
    macrophage_swell=1.5, positive_immune_share=0.5, bleeding_share=0.3,
)  # fmt: skip
LUNG_WIDTH_PX = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One rendered field and what was measured on it; ``own_od`` is what counts of ``membrane.dab_od``."""

    rgb: UInt8Array
    parts: Compartments
    cells: pd.DataFrame
    membrane: MembraneProfile
    own_od: Float32Array
    threshold_od: float


def measured(settings: PhantomSettings, *, seed: int) -> Field:
    """Render and measure a field, step by step as `pdl1quant.pipeline` does."""
    config, pack = Config(), load_pack("28-8-cytoplasm")
    rgb = render_phantom(settings, seed=seed).rgb
    estimate = estimate_case([sample_image(rgb, mpp=MPP, config=config)], config=config)
    found = find_cells(Tile.whole(rgb, MPP), stains.deconvolve(rgb, estimate), estimate=estimate, config=config)
    cells, membrane = found.measured.cells, found.measured.membrane
    cells["flags"] = quality.flag_cells(cells, found.parts, config=config.quality)
    cells = naming.name_cells(cells, found.class_scores, mpp=MPP, estimate=estimate, config=config)
    _, own_od = positivity._own_membrane(cells, membrane, config.positivity)  # noqa: SLF001  what is to be shown
    cells = positivity.call_positive(cells, membrane, compartment=pack.compartment, config=config.positivity)
    return Field(
        rgb=rgb,
        parts=found.parts,
        cells=cells,
        membrane=membrane,
        own_od=own_od,
        threshold_od=config.positivity.dab_od,
    )


def draw_compartments(path: Path) -> None:
    """One positive cell and its three disjoint parts."""
    field = measured(PhantomSettings(size_px=256, pattern="membrane", tps_pct=100.0), seed=4)
    row = _most_complete(field)
    cell = field.cells.iloc[row]
    label = int(cell["label"])
    parts = {"nucleus": NUCLEUS, "cytoplasm": CYTOPLASM, "membrane": COUNTED}
    window = _window(field.cells.iloc[[row]], field.rgb.shape)
    picture = _enlarged(field.rgb, window)
    painted = picture.copy()
    for name, colour in parts.items():
        painted = _painted(painted, getattr(field.parts, name)[window] == label, colour)
    legend = [
        (colour, f"{name}: {cell[f'{name}_area_um2']:.0f} um2, mean DAB OD {cell[f'{name}_dab_od_mean']:.2f}")
        for name, colour in parts.items()
    ]
    outside = [name for name in parts if name != "nucleus"]
    areas = [float(cell[f"{name}_area_um2"]) for name in outside]
    mixed = np.average([float(cell[f"{name}_dab_od_mean"]) for name in outside], weights=areas)
    texts = [f"{' and '.join(outside)} in one: mean DAB OD {mixed:.2f}"]
    _save(path, picture, painted, legend=legend, letters={}, texts=texts)


def draw_shared_line(path: Path) -> None:
    """Three cells: one explains a brown line, one loses it, one keeps its own."""
    field = measured(PhantomSettings(size_px=384, pattern="membrane", tps_pct=50.0), seed=8)
    loser, owner, third = _neighbours(field)
    window = _window(field.cells.iloc[[loser, owner, third]], field.rgb.shape)
    picture = _enlarged(field.rgb, window)
    kinds = {
        COUNTED: (field.own_od >= field.threshold_od),
        LEFT_OUT: (field.own_od < field.membrane.dab_od) & (field.membrane.dab_od >= field.threshold_od),
        UNSTAINED: field.membrane.dab_od < field.threshold_od,
    }
    sector = _sectors(field)
    rows = field.parts.membrane - 1
    painted = picture.copy()
    for colour, chosen in kinds.items():
        shown = chosen & np.isin(np.arange(len(field.cells)), (loser, owner, third))[:, None]
        painted = _painted(painted, ((rows >= 0) & shown[np.maximum(rows, 0), sector])[window], colour)
    names = {owner: "A", loser: "B", third: "C"}
    legend = [
        (COUNTED, "counts as the cell's own brown membrane"),
        (LEFT_OUT, "brown, but left out: the neighbour explains it"),
        (UNSTAINED, f"below the threshold (DAB OD {field.threshold_od:g})"),
    ]
    letters = {name: _place(field.cells.iloc[row], window) for row, name in names.items()}
    texts = [f"{name}: {_verdict(field, row)}" for row, name in names.items()]
    _save(path, picture, painted, legend=legend, letters=letters, texts=texts)


def draw_lung(path: Path) -> None:
    """Lung beside tumour: who is taken for what."""
    phantom = render_phantom(LUNG, seed=31)
    pack = load_pack("28-8-cytoplasm")
    result = score_image(phantom.rgb, MPP, keep_labels=True)
    assert result.compartments is not None
    caption = Caption(
        title=f"rendered, truth {phantom.tps_pct:.0f} %",
        score=score_text(result.score),
        rules=f"{pack.title} ({pack.name})",
    )
    drawn = draw_overlay(phantom.rgb, result.compartments, result.cells, caption=caption, mpp=MPP)
    save_shrunk(Image.fromarray(drawn), path, widest_px=LUNG_WIDTH_PX)


def _verdict(field: Field, row: int) -> str:
    cell = field.cells.iloc[row]
    around = float(np.average(field.membrane.dab_od[row] >= field.threshold_od, weights=field.membrane.weight[row]))
    verdict = "positive" if cell["membrane_positive"] else "negative"
    flag = ", SHARED_MEMBRANE" if int(cell["flags"]) & int(Flag.SHARED_MEMBRANE) else ""
    return f"brown on {100 * around:.0f} % of its perimeter, membrane {verdict}{flag}"


def _most_complete(field: Field) -> int:
    """The tumour cell with the most complete membrane among those with much cytoplasm, away from the border."""
    cells = field.cells
    fits = _inside(field) & (cells["cell_class"] == "tumour") & (cells["cytoplasm_area_um2"] > MIN_CYTOPLASM_UM2)
    return int(np.argmax(np.where(fits, cells["membrane_completeness"], -1)))


def _neighbours(field: Field) -> tuple[int, int, int]:
    """The cell that loses most to one positive tumour cell, that cell, and another neighbour of the first."""
    cells, membrane = field.cells, field.membrane
    is_tumour = (cells["cell_class"] == "tumour").to_numpy()
    positive = cells["membrane_positive"].to_numpy()
    lost = (field.own_od < membrane.dab_od) & (membrane.dab_od >= field.threshold_od)
    lost &= (membrane.neighbour >= 0) & (is_tumour & positive)[np.maximum(membrane.neighbour, 0)]
    lost &= (_inside(field) & is_tumour & ~positive)[:, None]
    for loser in np.argsort(-lost.sum(axis=1), kind="stable"):
        owner = int(np.bincount(membrane.neighbour[loser][lost[loser]]).argmax())
        others = [row for row in np.unique(membrane.neighbour[loser]) if row >= 0 and row != owner and is_tumour[row]]
        if others and lost[loser].sum() >= MIN_LEFT_OUT_SECTORS:
            return int(loser), owner, int(others[0])
    message = "no such three cells; choose another seed"
    raise SystemExit(message)


def _inside(field: Field) -> BoolArray:
    height, width = field.rgb.shape[:2]
    x, y = field.cells["x_px"].to_numpy(), field.cells["y_px"].to_numpy()
    away = (np.minimum(x, y) >= HALF_PX) & (x < width - HALF_PX) & (y < height - HALF_PX)
    return np.asarray(away & ((field.cells["flags"].to_numpy() & int(EXCLUDING_FLAGS)) == 0))


def _sectors(field: Field) -> Int32Array:
    """Sector of each pixel of the membrane about the middle of its nucleus, as `measure_cells` cuts it."""
    rows = np.maximum(field.parts.membrane - 1, 0)
    y, x = np.indices(rows.shape)
    away = [(axis - field.cells[name].to_numpy()[rows]).astype(np.float32) for axis, name in ((x, "x_px"), (y, "y_px"))]
    sector = (cv2.phase(*away) * (MEMBRANE_SECTORS / (2 * np.pi))).astype(np.int32)
    return np.minimum(sector, MEMBRANE_SECTORS - 1)


def _window(cells: pd.DataFrame, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The square about the middle of these cells."""
    top, left = (
        int(np.clip(round(float(cells[name].mean())) - HALF_PX, 0, side - 2 * HALF_PX))
        for name, side in (("y_px", shape[0]), ("x_px", shape[1]))
    )
    return slice(top, top + 2 * HALF_PX), slice(left, left + 2 * HALF_PX)


def _place(cell: pd.Series, window: tuple[slice, slice]) -> tuple[float, float]:
    rows, columns = window
    return (cell["x_px"] - columns.start + 0.5) * ZOOM, (cell["y_px"] - rows.start + 0.5) * ZOOM


def _enlarged(rgb: UInt8Array, window: tuple[slice, slice]) -> UInt8Array:
    return np.asarray(cv2.resize(rgb[window], None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC), np.uint8)


def _painted(picture: UInt8Array, mask: BoolArray, colour: tuple[int, int, int]) -> UInt8Array:
    """The picture with the pixels of the mask tinted, and their outer edge drawn."""
    large = np.kron(mask, np.ones((ZOOM, ZOOM), bool)).astype(np.uint8)
    mixed = np.where(large[..., None] > 0, (1 - OPACITY) * picture + OPACITY * np.array(colour), picture)
    edge = large & (1 - cv2.erode(large, np.ones((3, 3), np.uint8)))
    return np.where(edge[..., None] > 0, np.uint8(colour), mixed.astype(np.uint8))


def _save(
    path: Path,
    left: UInt8Array,
    right: UInt8Array,
    *,
    legend: list[tuple[tuple[int, int, int], str]],
    letters: dict[str, tuple[float, float]],
    texts: list[str] | None = None,
) -> None:
    texts = texts or []
    height, width = left.shape[:2]
    canvas = Image.new("RGB", (2 * width + GAP_PX, height + LINE_PX * (len(legend) + len(texts)) + 2 * GAP_PX), "white")
    canvas.paste(Image.fromarray(left), (0, 0))
    canvas.paste(Image.fromarray(right), (width + GAP_PX, 0))
    draw, font, large = ImageDraw.Draw(canvas), ImageFont.load_default(19), ImageFont.load_default(44)
    for name, (x, y) in letters.items():
        for shift in (0, width + GAP_PX):
            draw.text((x + shift, y), name, fill="white", font=large, anchor="mm", stroke_width=3, stroke_fill="black")
    top = height + GAP_PX
    for colour, text in legend:
        draw.rectangle((GAP_PX, top + 5, GAP_PX + 18, top + 23), fill=colour)
        draw.text((GAP_PX + 28, top + 2), text, fill="black", font=font)
        top += LINE_PX
    for text in texts:
        draw.text((GAP_PX, top + 2), text, fill="black", font=font)
        top += LINE_PX
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Draw all."""
    draw_compartments(FOLDER / "compartments.png")
    draw_shared_line(FOLDER / "shared_line.png")
    draw_lung(FOLDER / "lung.png")


if __name__ == "__main__":
    main()
