"""What is written below a picture: the score with its interval, legend, scale bar, and what it may be used for."""

from __future__ import annotations

import bisect
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pdl1quant.stages.score import format_interval, format_tps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.model import Score, UInt8Array
    from pdl1quant.outputs.regions import RegionStyle

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

RESEARCH_USE_ONLY = "Research use only. Not for diagnosis."

_MIN_WIDTH_PX = 900
_INK = (25, 25, 30)
_GREY = (105, 105, 112)
_PAPER = (255, 255, 255)
_STAND_INS = {
    "\N{EN DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "≥": ">=",
    "≤": "<=",
    "µ": "u",
    "\N{GREEK SMALL LETTER MU}": "u",
}
_NO_GLYPH = "\uffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """Texts below a picture; ``title`` names the image, ``score`` comes from `score_text`, ``rules`` names the pack."""

    title: str
    score: str
    rules: str
    remarks: tuple[str, ...] = ()
    """What a reader of the score has to know, in a word or two each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendEntry:
    """One kind of cell, or of region: its name, colour (0-255), line and dot, and how many there are."""

    name: str
    rgb: tuple[int, int, int]
    n_cells: int
    unit: str = ""
    """What ``n_cells`` counts, where it is no cells."""
    has_dot: bool = False
    is_dashed: bool = False
    line: RegionStyle | None = None
    """How a region is drawn, where it is no kind of cells."""


def plural(n: int, noun: str) -> str:
    """``1 image``, ``1,234 images``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def score_text(score: Score) -> str:
    """The score as it may be reported: ``TPS (cytoplasm) 42 % (35-50)``.

    Whole per cent, as `format_tps` rounds it; an undefined score is ``not defined``.
    """
    if score.tps is None:
        return f"{score.score_name}: not defined"
    interval = format_interval(score.tps_low, score.tps_high)
    return f"{score.score_name} {format_tps(score.tps)} %" + (f" ({interval})" if interval else "")


def called_cps(score: Score) -> str:
    """``CPS 12 (8-16)`` where a call is made on it; else nothing, for the TPS is what is reported."""
    if not any(call.cut_off.score == "cps" for call in score.calls):
        return ""
    return f"CPS {format_tps(score.cps)} ({format_interval(score.cps_low, score.cps_high)})"


def draw_caption(caption: Caption, legend: Sequence[LegendEntry], *, width: int, um_per_px: float) -> UInt8Array:
    """Draw the strip below a picture.

    Parameters
    ----------
    caption
        Its texts. A character that the built-in font lacks is written as ``?``.
    legend
        Kinds of cells in the order to be shown; those without cells are left out.
    width
        Width of the picture in pixels; the strip is at least wide enough to be read.
    um_per_px
        Pixel size of the picture.

    Returns
    -------
    ndarray of uint8
        (height, max(width, least width), 3).
    """
    width = max(width, _MIN_WIDTH_PX)
    size = int(np.clip(width / 62, 15, 64))
    margin, line = round(0.9 * size), round(1.55 * size)
    shown = [entry for entry in legend if entry.n_cells]
    rows = _legend_rows(shown, size=size, room=width - 2 * margin)
    height = round(2 * margin + 3.9 * size + line * (len(rows) + 1))
    strip = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(strip)
    bar_left = _draw_scale_bar(draw, right=width - margin, top=margin, size=size, um_per_px=um_per_px)
    room = bar_left - 2 * margin
    _draw_text(draw, (margin, margin), caption.score, size=round(1.5 * size), room=room)
    _draw_text(draw, (margin, margin + 2.0 * size), f"{caption.title}  ·  {caption.rules}", size=size, room=room)
    top = margin + 3.9 * size
    for row in rows:
        left = float(margin)
        for entry in row:
            left = _draw_entry(draw, entry, left=left, top=top, size=size)
        top += line
    note = "  ·  ".join([RESEARCH_USE_ONLY, *caption.remarks])
    _draw_text(draw, (margin, top), note, size=round(0.85 * size), room=width - 2 * margin, ink=_GREY)
    return np.asarray(strip, np.uint8)


def draw_names(
    picture: UInt8Array, names: Sequence[tuple[str, float, float]], *, size_px: int | None = None
) -> UInt8Array:
    """A copy of a picture with names written above places (x, y), each centred, dark with a light rim.

    Of names longer than a third of the picture the middle is cut out. ``size_px`` is that of the letters; None: one
    that fits the picture.
    """
    drawn = Image.fromarray(picture)
    draw = ImageDraw.Draw(drawn)
    size = size_px or _name_size(picture)
    font = _font(size)
    for name in names:
        text, (left, top, _, _) = _name_place(picture, name, size)
        draw.text((left, top), text, font=font, fill=_INK, stroke_width=2, stroke_fill=_PAPER)
    return np.asarray(drawn, np.uint8)


def names_apart(
    picture: UInt8Array, names: Sequence[tuple[str, float, float]], *, size_px: int
) -> list[tuple[str, float, float]]:
    """Those names that `draw_names` would write clear of each other, in letters of ``size_px``; the first of two."""
    kept, boxes = [], np.zeros((0, 4))
    for name in names:
        _, (left, top, right, bottom) = _name_place(picture, name, size_px)
        apart = (boxes[:, 0] > right) | (boxes[:, 2] < left) | (boxes[:, 1] > bottom) | (boxes[:, 3] < top)
        if apart.all():
            kept.append(name)
            boxes = np.vstack([boxes, (left, top, right, bottom)])
    return kept


def _name_size(picture: UInt8Array) -> int:
    return int(np.clip(max(picture.shape[:2]) / 90, 11, 22))


def _name_place(
    picture: UInt8Array, name: tuple[str, float, float], size: int
) -> tuple[str, tuple[float, float, float, float]]:
    """What is written for a name, and its box: left, top, right, bottom."""
    text, x, y = name
    width = picture.shape[1]
    font = _font(size)
    text = _fitted(_drawable(text), font, width / 3)
    length = float(font.getlength(text))
    left, top = float(np.clip(x - length / 2, 2, max(2, width - length - 2))), float(max(1, y - 1.2 * size))
    return text, (left, top, left + length, top + 1.2 * size)


def _entry_text(entry: LegendEntry) -> str:
    return f"{entry.name}  {entry.n_cells:,} {entry.unit}".rstrip()


def _legend_rows(entries: Sequence[LegendEntry], *, size: int, room: int) -> list[list[LegendEntry]]:
    rows: list[list[LegendEntry]] = []
    left = float(room)
    for entry in entries:
        needed = 1.5 * size + _font(size).getlength(_entry_text(entry))
        if left + needed > room:
            rows.append([])
            left = 0.0
        rows[-1].append(entry)
        left += needed + 1.6 * size
    return rows


def _draw_entry(draw: ImageDraw.ImageDraw, entry: LegendEntry, *, left: float, top: float, size: int) -> float:
    """One ring in the colour of the kind with its name; returns where the next one begins."""
    stroke = max(2, round(size / 7))
    box = (left, top + 0.12 * size, left + size, top + 1.12 * size)
    if entry.line is not None:
        _draw_line(draw, entry.line, left=left, middle=top + 0.62 * size, size=size)
    elif entry.is_dashed:
        for start in range(0, 360, 60):
            draw.arc(box, start, start + 34, fill=entry.rgb, width=stroke)
    else:
        draw.ellipse(box, outline=(110, 110, 110), width=stroke + 2)
        inner = (box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1)
        draw.ellipse(inner, outline=entry.rgb, width=stroke)
    if entry.has_dot:
        middle, radius = (left + size / 2, top + 0.62 * size), 0.16 * size
        draw.ellipse((middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius), fill=entry.rgb)
    text = _entry_text(entry)
    _draw_text(draw, (left + 1.5 * size, top), text, size=size)
    return left + 3.1 * size + float(_font(size).getlength(text))


def _draw_line(draw: ImageDraw.ImageDraw, style: RegionStyle, *, left: float, middle: float, size: int) -> None:
    """A piece of the line of a region, one letter wide."""
    width, length = max(1, round(style.width_px * size / 18)), float(size)
    on, off = (0.4 * length, 0.2 * length) if style.dash_px else (length, 0.0)
    for start in np.arange(0, length, on + off).tolist():
        end = min(start + on, length)
        draw.line((left + start, middle, left + end, middle), fill=style.rgb, width=width)
    for tick in np.linspace(0.1, 0.9, 4 if style.has_ticks else 0).tolist():
        draw.line(
            (left + tick * length, middle, left + tick * length, middle + 0.4 * size), fill=style.rgb, width=width
        )


def _draw_scale_bar(draw: ImageDraw.ImageDraw, *, right: float, top: float, size: int, um_per_px: float) -> float:
    """A bar of a round length; returns its left end."""
    wanted_um = 9 * size * um_per_px
    power = 10.0 ** np.floor(np.log10(wanted_um))
    length_um = max(step * power for step in (1, 2, 5) if step * power <= wanted_um)
    length_px = length_um / um_per_px
    left = right - length_px
    base, tick, stroke = top + 2.0 * size, 0.3 * size, max(2, round(size / 8))
    draw.line((left, base, right, base), fill=_INK, width=stroke)
    for end in (left, right - stroke + 1):
        draw.rectangle((end, base - tick, end + stroke - 1, base + tick), fill=_INK)
    number = f"{length_um:g} "
    text_width = _font(size).getlength(f"{number}um")
    _draw_micrometres(draw, ((left + right - text_width) / 2, top + 0.2 * size), number, size=size)
    return float(min(left, (left + right - text_width) / 2))


def _draw_micrometres(draw: ImageDraw.ImageDraw, at: tuple[float, float], number: str, *, size: int) -> None:
    """``50 µm``: the built-in font has no mu, so a u gets its descender."""
    font = _font(size)
    left, top = round(at[0]), round(at[1])
    draw.text((left, top), number, font=font, fill=_INK)
    left += round(font.getlength(number))
    draw.text((left, top), "um", font=font, fill=_INK)
    baseline = draw.textbbox((left, top), "u", font=font)[3]
    ink = font.getmask("u", mode="1").getbbox()
    left += ink[0] if ink else 0
    stem = max(1, round(size * 0.09))
    draw.rectangle((left, baseline - 0.3 * size, left + stem - 1, baseline + 0.22 * size), fill=_INK)


def _draw_text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    *,
    size: int,
    room: float = float("inf"),
    ink: tuple[int, int, int] = _INK,
) -> None:
    font = _font(size)
    draw.text(at, _fitted(_drawable(text), font, room), font=font, fill=ink)


def _drawable(text: str) -> str:
    """The text without what the font would show as an empty box."""
    return "".join(character if _has_glyph(character) else _stand_in(character) for character in text)


def _stand_in(character: str) -> str:
    """The letter without its accent, or ``?``."""
    bare = unicodedata.normalize("NFKD", character)[:1]
    return _STAND_INS.get(character) or (bare if _has_glyph(bare) else "?")


def _fitted(text: str, font: Font, room: float) -> str:
    """The text, its middle cut out when it is longer than the room."""
    if font.getlength(text) <= room:
        return text

    def cut(kept: int) -> str:
        return f"{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}"

    kept = bisect.bisect_left(range(len(text)), 1, key=lambda n: font.getlength(cut(n)) > room) - 1
    return cut(max(kept, 2))


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


@cache
def _has_glyph(character: str) -> bool:
    font = _font(20)
    return character == " " or bytes(font.getmask(character)) != bytes(font.getmask(_NO_GLYPH))
