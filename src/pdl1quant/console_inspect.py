"""What ``pdl1quant inspect`` prints: lines with swatches of the stains, or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pdl1quant.errors import InputError
from pdl1quant.inspection import Inspection, inspect_slide

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.config import Config
    from pdl1quant.model import Level

MAX_BOXES = 5
"""Damaged boxes that are printed; JSON lists all."""
MIN_SHARE = 0.0005
"""Artefacts of a smaller share are not printed; JSON lists all."""


def inspect_all(paths: Sequence[Path], *, config: Config, mpp: float | None, as_json: bool) -> int:
    """Print what is found of each file; the number of those that cannot be read, each named in one line."""
    rows: list[dict[str, Any]] = []
    n_unread = 0
    for number, path in enumerate(paths):
        try:
            found = inspect_slide(path, config=config, mpp=mpp)
        except InputError as error:
            n_unread += 1
            rows.append({"path": str(path), "error": str(error)})
            click.echo(f"pdl1quant: {error}", err=True)
            continue
        rows.append({**asdict(found), "path": str(path), "error": ""})
        if not as_json:
            click.echo("\n" * (number > 0) + "\n".join(text_lines(found)))
    if as_json:
        click.echo(json.dumps(rows, indent=2, allow_nan=False))
    return n_unread


def text_lines(found: Inspection) -> list[str]:
    """One slide as text; the swatches are coloured on a terminal."""
    lines = [str(found.path)]
    size = f"{found.width:,} x {found.height:,} px, {_mm(found)}"
    lines += [_line("format", found.vendor), _line("size", size)]
    lines.append(_line("levels", ", ".join(_level(level) for level in found.levels)))
    sides = f"{found.mpp_x:.4g}" if found.mpp_x == found.mpp_y else f"{found.mpp_x:.4g} x {found.mpp_y:.4g}"
    lines.append(_line("pixel size", f"{sides} um ({found.mpp_source})"))
    lines.append(_line("objective", "not stated" if found.objective is None else f"{found.objective:g}x"))
    lines.append(_line("colour profile", f"{found.icc} (not applied)" if found.icc else "none"))
    if found.notes:
        lines.append(_line("notes", ", ".join(found.notes)))
    lines += _damage_lines(found)
    if found.staining is not None:
        estimate = found.staining.estimate
        white = ", ".join(f"{level:.0f}" for level in estimate.white)
        lines.append(_line("white", f"{white} ({estimate.white_source})"))
        lines.append(_line("haematoxylin", _stain(estimate.haematoxylin, found.staining.haematoxylin_rgb)))
        lines.append(_line("DAB", _stain(estimate.dab, found.staining.dab_rgb)))
        lines.append(_line("vectors", estimate.vectors_source.replace("_", " ")))
    if found.tissue_share is not None and found.tissue_mm2 is not None:
        share = f"{100 * found.tissue_share:.0f} % of the slide, {found.tissue_mm2:.3g} mm2 (estimate)"
        lines.append(_line("tissue", share))
    if found.artefacts is not None:
        shares = [f"{kind} {100 * share:.1f} %" for kind, share in found.artefacts.items() if share >= MIN_SHARE]
        lines.append(_line("artefacts", f"{', '.join(shares)} of the tissue" if shares else "none found"))
    if found.effort is not None:
        effort = f"about {_duration(found.effort.seconds)} on one core as busy as now (estimate)"
        lines.append(_line("time", effort))
        lines.append(_line("memory", f"about {found.effort.memory_mb / 1000:.1f} GB a worker (estimate)"))
    return lines + [_line("note", remark) for remark in found.remarks]


def _line(name: str, text: str) -> str:
    return f"  {name:<15} {text}"


def _mm(found: Inspection) -> str:
    return f"{found.width * found.mpp_x / 1000:.3g} x {found.height * found.mpp_y / 1000:.3g} mm"


def _level(level: Level) -> str:
    return f"{level.width} x {level.height} (1:{level.downsample_x:.4g})"


def _stain(vector: tuple[float, float, float], colour: tuple[int, int, int]) -> str:
    numbers = ", ".join(f"{part:.3f}" for part in vector)
    return f"{click.style('    ', bg=colour)} {numbers}  (rgb {colour[0]}, {colour[1]}, {colour[2]})"


def _damage_lines(found: Inspection) -> list[str]:
    if not found.damage:
        return []
    boxes = "1 box" if len(found.damage) == 1 else f"{len(found.damage)} boxes"
    lines = [_line("damaged", f"{boxes}: {found.damage_means}")]
    for each in found.damage[:MAX_BOXES]:
        box = f"{each.rect.x0}, {each.rect.y0} to {each.rect.x1}, {each.rect.y1}"
        lines.append(_line("", f"level {each.level}, {box}: {each.reason}"))
    if len(found.damage) > MAX_BOXES:
        lines.append(_line("", f"and {len(found.damage) - MAX_BOXES} more: --json lists all"))
    return lines


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
