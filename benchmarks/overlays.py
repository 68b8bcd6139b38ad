"""Side-by-side pictures of truth and found nuclei, to see what the numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pdl1quant.model import BoolArray, Int32Array, UInt8Array

GREEN, CYAN, RED, YELLOW = (0, 160, 0), (0, 190, 255), (255, 0, 0), (255, 220, 0)
GAP_PX, TITLE_PX = 8, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One method: its label image, which of its labels hit a true nucleus, and which true labels it missed."""

    title: str
    labels: Int32Array
    hit: Int32Array
    missed: Int32Array


def save_overlay(path: Path, rgb: UInt8Array, *, truth: Int32Array, panels: Sequence[Panel]) -> None:
    """Write the image with the true outlines (green), then one panel a method, as a PNG.

    All labels lie on the image's grid. Matched nuclei are cyan, invented ones red, missed true ones yellow.
    """
    true_edge = outline(truth)
    drawn = [_titled(_paint(rgb, {GREEN: true_edge}), "truth (green)")]
    for panel in panels:
        edge, hit = outline(panel.labels), np.isin(panel.labels, panel.hit)
        masks = {YELLOW: true_edge & np.isin(truth, panel.missed), RED: edge & ~hit, CYAN: edge & hit}
        drawn.append(_titled(_paint(rgb, masks), f"{panel.title}: matched cyan, invented red, missed yellow"))
    _save(path, drawn)


def save_regions(path: Path, rgb: UInt8Array, *, nucleus: Int32Array, tumour: Int32Array, regions: Int32Array) -> None:
    """Write the image beside itself with found nuclei and drawn regions, as a PNG.

    ``nucleus`` holds labels, ``regions`` the number of the region (0 outside), both on the image's grid. Nuclei whose
    label is among ``tumour`` are red, others cyan; regions have green edges.
    """
    edge, called = outline(nucleus), np.isin(nucleus, tumour)
    masks = {GREEN: outline(regions), CYAN: edge & ~called, RED: edge & called}
    _save(
        path, [_titled(rgb, "as it is"), _titled(_paint(rgb, masks), "called tumour red, others cyan; regions green")]
    )


def outline(labels: Int32Array) -> BoolArray:
    """The pixels of objects that touch, right, left, above or below, another label or background."""
    edge = np.zeros(labels.shape, dtype=bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge & (labels > 0)


def _paint(rgb: UInt8Array, masks: Mapping[tuple[int, int, int], BoolArray]) -> UInt8Array:
    painted = rgb.copy()
    for colour, mask in masks.items():
        painted[mask] = colour
    return painted


def _save(path: Path, drawn: Sequence[UInt8Array]) -> None:
    gap = np.full((drawn[0].shape[0], GAP_PX, 3), 255, dtype=np.uint8)
    row = [part for panel in drawn for part in (panel, gap)][:-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    Image.fromarray(np.concatenate(row, axis=1)).save(partial, format="PNG")
    partial.replace(path)


def _titled(panel: UInt8Array, title: str) -> UInt8Array:
    canvas = Image.new("RGB", (panel.shape[1], panel.shape[0] + TITLE_PX), "white")
    canvas.paste(Image.fromarray(panel), (0, TITLE_PX))
    ImageDraw.Draw(canvas).text((4, 2), title, fill="black")
    return np.asarray(canvas)
