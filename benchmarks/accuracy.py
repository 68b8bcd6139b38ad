"""Rules, network and a plain scikit-image pipeline side by side: on annotated fields, and on fresh rendered ones.

``PDL1QUANT_TUNING_DATA`` names the folder of the annotated fields (see ``benchmarks/annotated.py``); without it only
rendered fields are measured. The annotated fields are of a nuclear marker: signal ``od_sum``, positive by the DAB in
the nucleus, the same cut for all methods. ``--overlays`` writes what to look at: truth, rules, network, scikit-image.

Not every visible nucleus needs an outline: precision and F1 are then lower bounds, for all methods alike. Nuclear
markers and rendered fields stand in for PD-L1: nothing here is clinical accuracy.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

import phantoms as rendered
from annotated import (
    NUCLEAR_CUT_OD,
    TOLERANCE_UM,
    Field,
    Nuclei,
    as_record,
    curve_lines,
    match_centres,
    measure,
    read_fields,
    shift_px,
    table_lines,
    to_grid,
)
from chosen import add_options, chosen_configs
from overlays import Panel, save_overlay
from pdl1quant.validation.detection import match_points
from peers import HED_PER_LOG10_OD, skimage_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pdl1quant.config import Config
    from pdl1quant.validation.phantoms import Phantom

VARIABLE = "PDL1QUANT_TUNING_DATA"
CUTS_OD = (0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3)
N_PANELS = 8
"""Rendered fields that are drawn by ``--overlays``, spread over the conditions."""


def ours(field: Field, *, config: Config, cut_od: float) -> Nuclei:
    """Nuclei as pdl1quant finds them; positive from ``cut_od`` (log10 OD) of DAB in the nucleus."""
    from pdl1quant import score_image  # noqa: PLC0415 - the peers can be run without the pipeline

    result = score_image(field.rgb, mpp=field.mpp, config=config, keep_labels=True)
    assert result.compartments is not None
    cells = result.cells
    dab_od = {
        name: cells[f"{name}_dab_od_mean"].to_numpy(dtype=np.float64) for name in ("nucleus", "cytoplasm", "cell")
    }
    return Nuclei(
        labels=to_grid(result.compartments.nucleus, field.rgb.shape[:2]),
        label=cells["label"].to_numpy(),
        xy_px=cells[["x_px", "y_px"]].to_numpy(dtype=np.float64),
        positive=dab_od["nucleus"] >= cut_od,
        dab_od=dab_od,
    )


def peer(field: Field, *, cut_od: float, keep_border: bool = False) -> Nuclei:
    """Nuclei as the scikit-image pipeline finds them; ``keep_border`` is what a careful user would write."""
    labels, _, table = skimage_pipeline(field.rgb, field.mpp, keep_border=keep_border)
    height, width = field.rgb.shape[:2]
    scale = np.array([width / labels.shape[1], height / labels.shape[0]])
    centres = table[["centroid-1", "centroid-0"]].to_numpy(dtype=np.float64)
    dab_od = {
        "nucleus": table["intensity_mean"].to_numpy(dtype=np.float64) / HED_PER_LOG10_OD,
        "cell": table["cell_intensity_mean"].to_numpy(dtype=np.float64) / HED_PER_LOG10_OD,
    }
    return Nuclei(
        labels=to_grid(labels, (height, width)),
        label=table["label"].to_numpy(),
        xy_px=(centres + 0.5) * scale - 0.5,
        positive=dab_od["nucleus"] >= cut_od,
        dab_od=dab_od,
    )


def methods(configs: Mapping[str, Config], *, cut_od: float) -> dict[str, Callable[[Field], Nuclei]]:
    """What is compared, by name: ours by segmenter, then the peers."""
    return {
        **{name: functools.partial(ours, config=config, cut_od=cut_od) for name, config in configs.items()},
        "scikit-image": functools.partial(peer, cut_od=cut_od),
        "scikit-image+border": functools.partial(peer, cut_od=cut_od, keep_border=True),
    }


def run_annotated(folder: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measure all methods on the annotated fields and print the tables; the results as records."""
    fields = [field for field in read_fields(folder) if options.field in field.name]
    if not fields:
        print(f"{folder}: no image with a truth (NAME_nuclei.png) matches.")
        return []
    table = methods(chosen_configs(options, "nuclei.signal=od_sum"), cut_od=options.nuclear_cut)
    found = {name: [method(field) for field in fields] for name, method in table.items()}
    results = [
        measure(field, nuclei[i], method=name) for i, field in enumerate(fields) for name, nuclei in found.items()
    ]
    print(
        f"Annotated fields of a nuclear marker. Centres within {TOLERANCE_UM:g} um, one to one; outlines may be "
        f"incomplete: precision is a lower bound. A nucleus is positive from a DAB OD of {options.nuclear_cut:g}.\n"
    )
    for field in fields:
        dx, dy = shift_px(field)
        if off_um := float(np.hypot(dx, dy) * field.mpp):
            print(f"{field.name}: the outlines lie {off_um:.1f} um off the nuclei; laid.on: F1@IoU.5 without that.")
    print(*table_lines(results), sep="\n")
    for name in chosen_configs(options):
        print(f"\n{name}: agreement of matched nuclei, positive/negative, by cut and compartment, pooled")
        print(*curve_lines(fields, found[name], CUTS_OD), sep="\n")
    if options.overlays:
        for i, field in enumerate(fields):
            panels = [_panel(name, field, nuclei[i]) for name, nuclei in found.items() if name != "scikit-image+border"]
            save_overlay(options.overlays / f"{field.name}.png", field.rgb, truth=field.truth.labels, panels=panels)
    return [as_record(result) for result in results]


def _panel(title: str, field: Field, nuclei: Nuclei) -> Panel:
    matches = match_centres(field, nuclei)
    missed = np.delete(field.truth.label, matches.truth)
    return Panel(title=title, labels=nuclei.labels, hit=nuclei.label[matches.found], missed=missed)


def run_rendered(options: argparse.Namespace) -> dict[str, list[dict[str, object]]]:
    """Measure all methods on rendered fields and print the summary; the lines as records."""
    chosen = list(rendered.conditions())
    table = rendered.methods(chosen_configs(options), with_peer=True)
    lines: dict[str, list[rendered.Line]] = {name: [] for name in table}
    drawn = set(chosen[:: max(1, len(chosen) // N_PANELS)])
    for condition, fields in rendered.render(chosen, n_fields=options.fields, size_px=options.size):
        found = {name: [method(field) for field in fields] for name, method in table.items()}
        for name, seen in found.items():
            lines[name].append(rendered.measure(condition, fields, seen))
        if options.overlays and condition in drawn:
            path = options.overlays / f"phantom_{condition.replace(' ', '_')}.png"
            _save_rendered(path, fields[0], {name: seen[0] for name, seen in found.items()})
    print(*rendered.summary_lines(lines), sep="\n")
    print(
        f"{len(chosen)} conditions, {options.fields} field(s) of {options.size} px each; benchmarks/phantoms.py by one."
    )
    return {name: [asdict(line) for line in each] for name, each in lines.items()}


def _save_rendered(path: Path, phantom: Phantom, found: Mapping[str, rendered.Seen]) -> None:
    """Cells outlined; matched by their nuclei."""
    centres = phantom.cells[["x_px", "y_px"]].to_numpy()
    panels = []
    for name, seen in found.items():
        matches = match_points(centres, seen.xy_px, max_distance=rendered.MATCH_UM / phantom.mpp)
        columns, rows = np.clip(np.rint(seen.xy_px[matches.found]).astype(int), 0, phantom.cell.shape[0] - 1).T
        missed = np.delete(np.arange(1, len(centres) + 1), matches.truth)
        panels.append(Panel(title=name, labels=seen.cell, hit=seen.cell[rows, columns], missed=missed))
    save_overlay(path, phantom.rgb, truth=phantom.cell, panels=panels)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; 0 also when there are no annotated fields to run it on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--overlays", type=Path, metavar="DIR", help="write truth and all methods side by side as PNG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measures as JSON")
    parser.add_argument("--field", default="", help="annotated fields whose name contains this")
    parser.add_argument(
        "--nuclear-cut", type=float, default=NUCLEAR_CUT_OD, metavar="OD", help="DAB OD of a positive nucleus"
    )
    parser.add_argument("--fields", type=int, default=1, help="rendered fields a condition; 0 leaves them out")
    parser.add_argument("--size", type=int, default=512, help="side of a rendered field in px (0.5 um/px)")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    written: dict[str, object] = {}
    folder = os.environ.get(VARIABLE, "")
    if folder and (Path(folder) / "index.csv").is_file():
        written["annotated"] = run_annotated(Path(folder), options)
    else:
        where = f"{folder} holds no index.csv" if folder else "it is not set"
        print(
            f"No annotated fields: {VARIABLE} must name their folder, and {where}. Only rendered fields are measured."
        )
    if options.fields:
        written["rendered"] = run_rendered(options)
    if options.json:
        _write_beside(options.json, json.dumps(written, indent=2) + "\n")
    return 0


def _write_beside(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
