"""Side-by-side pictures of truth and found nuclei, to see what the numbers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pdl1quant.model import BoolArray, Float64Array, Int32Array, UInt8Array
    from pdl1quant.validation.detection import Matches

GREEN, CYAN, RED, YELLOW = (0, 160, 0), (0, 190, 255), (255, 0, 0), (255, 220, 0)
GAP_PX, TITLE_PX = 8, 16


def save_overlay(
    path: Path,
    rgb: UInt8Array,
    *,
    truth: Int32Array,
    panels: Mapping[str, tuple[Int32Array, Float64Array, Matches]],
) -> None:
    """Write the image with the true outlines (green), then one panel a method, as a PNG.

    A panel is (labels, centres x, y in px, matches of the centres) on the image's grid; ``truth`` has the labels 1..n.
    Matched nuclei are cyan, invented ones red, missed true ones yellow.
    """
    drawn = [_titled(_paint(rgb, {GREEN: outline(truth)}), "truth (green)")]
    for name, (labels, xy_px, matches) in panels.items():
        hit = np.zeros(labels.max(initial=0) + 1, dtype=bool)
        hit[_labels_at(labels, xy_px[matches.found])] = True
        missed = np.ones(truth.max(initial=0) + 1, dtype=bool)
        missed[_present(truth)[matches.truth]] = False
        edge = outline(labels)
        colours = {
            YELLOW: outline(truth) & missed[truth],
            RED: edge & ~hit[labels],
            CYAN: edge & hit[labels],
        }
        drawn.append(_titled(_paint(rgb, colours), f"{name}: matched cyan, invented red, missed yellow"))
    gap = np.full((drawn[0].shape[0], GAP_PX, 3), 255, dtype=np.uint8)
    row = [part for panel in drawn for part in (panel, gap)][:-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    Image.fromarray(np.concatenate(row, axis=1)).save(partial, format="PNG")
    partial.replace(path)


def outline(labels: Int32Array) -> BoolArray:
    """The pixels of objects that touch, right, left, above or below, another label or background."""
    edge = np.zeros(labels.shape, dtype=bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge & (labels > 0)


def _present(labels: Int32Array) -> Int32Array:
    return np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1


def _labels_at(labels: Int32Array, xy_px: Float64Array) -> Int32Array:
    """Labels under the centres; 0 where a centre lies outside its own nucleus, as in a crescent."""
    columns, rows = np.rint(xy_px).astype(np.intp).T
    under = labels[np.clip(rows, 0, labels.shape[0] - 1), np.clip(columns, 0, labels.shape[1] - 1)]
    return np.asarray(under)


def _paint(rgb: UInt8Array, masks: Mapping[tuple[int, int, int], BoolArray]) -> UInt8Array:
    painted = rgb.copy()
    for colour, mask in masks.items():
        painted[mask] = colour
    return painted


def _titled(panel: UInt8Array, title: str) -> UInt8Array:
    canvas = Image.new("RGB", (panel.shape[1], panel.shape[0] + TITLE_PX), "white")
    canvas.paste(Image.fromarray(panel), (0, TITLE_PX))
    ImageDraw.Draw(canvas).text((4, 2), title, fill="black")
    return np.asarray(canvas)
