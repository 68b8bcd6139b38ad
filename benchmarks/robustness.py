"""How far a score moves when the same tissue is photographed otherwise: colour, focus, noise, compression, pixel size.

Each change is made to rendered fields of known truth and, where ``PDL1QUANT_TUNING_DATA`` names the folder of annotated
fields, to those. ``TPS`` is the mean and the worst difference, in points, from the score of the unchanged field;
``F1`` is that of the nuclei on the annotated fields. A stated pixel size that is wrong is a change, too: the tolerance
of 3 um is then that of the true size.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from accuracy import VARIABLE, ours
from annotated import NUCLEAR_CUT_OD, Field, measure, read_fields
from chosen import add_network_options, network_config
from pdl1quant import score_image
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from phantoms import conditions, seed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pdl1quant.config import Config
    from pdl1quant.model import UInt8Array

    Change = Callable[[UInt8Array], UInt8Array]

CONDITIONS = ("both 5", "both 50", "membrane 25", "cytoplasm 25", "weak DAB 50", "inflammation 10")
SIZES = (0.8, 0.9, 1.1, 1.25)
"""Stated over true pixel size."""


def in_range(values: np.ndarray) -> UInt8Array:
    """As bytes."""
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def gamma(exponent: float) -> Change:
    """Brighter below 1, darker above."""
    return lambda rgb: in_range(255 * (rgb / 255.0) ** exponent)


def tint(*factors: float) -> Change:
    """Channels scaled: another lamp, or another white balance."""
    return lambda rgb: in_range(rgb * np.array(factors))


def blur(sd_px: float) -> Change:
    """Out of focus."""
    return lambda rgb: np.asarray(cv2.GaussianBlur(rgb, (0, 0), sd_px), dtype=np.uint8)


def sharpen(amount: float) -> Change:
    """As scanners do."""
    return lambda rgb: in_range(rgb + amount * (rgb.astype(float) - cv2.GaussianBlur(rgb, (0, 0), 1.5)))


def noise(sd: float) -> Change:
    """Of the camera."""
    return lambda rgb: in_range(rgb + np.random.default_rng(0).normal(0, sd, rgb.shape))


def jpeg(quality: int) -> Change:
    """Compressed."""
    return lambda rgb: np.asarray(
        cv2.imdecode(cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)[:, :, ::-1]
    ).copy()


def saturate(factor: float) -> Change:
    """Colours paler or stronger, as a camera's profile makes them."""

    def changed(rgb: UInt8Array) -> UInt8Array:
        grey = rgb.mean(axis=2, keepdims=True)
        return in_range(grey + factor * (rgb - grey))

    return changed


CHANGES: dict[str, Change] = {
    "none": lambda rgb: rgb,
    "gamma 0.8": gamma(0.8),
    "gamma 1.25": gamma(1.25),
    "red 8 % less": tint(0.92, 1, 1),
    "blue 8 % less": tint(1, 1, 0.92),
    "colours 30 % paler": saturate(0.7),
    "colours 30 % stronger": saturate(1.3),
    "blur 1 px": blur(1.0),
    "blur 1.6 px": blur(1.6),
    "sharpened 1.5": sharpen(1.5),
    "noise 8": noise(8),
    "JPEG 40": jpeg(40),
}


def tps_of(rgb: UInt8Array, mpp: float, config: Config) -> float:
    """NaN without tumour cells."""
    tps = score_image(rgb, mpp, config=config).score.tps
    return float("nan") if tps is None else tps


def f1_of(field: Field, seen: Field, config: Config) -> float:
    """F1 of the nuclei found in ``seen``, a changed ``field``, at the field's own tolerance."""
    return measure(field, ours(seen, config=config, cut_od=NUCLEAR_CUT_OD), method="").shares["F1"] or 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a line per change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network_options(parser)
    parser.add_argument("--size", type=int, default=768, help="side of a rendered field in px (0.5 um/px)")
    options = parser.parse_args(arguments)
    config = network_config(options)
    rendered = [
        render_phantom(PhantomSettings(size_px=options.size, **conditions()[name]), seed=seed_of(name))
        for name in CONDITIONS
    ]
    usual = np.array([tps_of(each.rgb, each.mpp, config) for each in rendered])
    folder = os.environ.get(VARIABLE, "")
    fields = read_fields(Path(folder)) if folder else []
    print(f"{'change':<24} {'TPS: mean':>10} {'worst':>7} {'F1, mean of ' + str(len(fields)) + ' fields':>24}")
    for name, change in CHANGES.items():
        moved = np.array([tps_of(change(each.rgb), each.mpp, config) for each in rendered]) - usual
        found = [f1_of(each, replace(each, rgb=change(each.rgb)), config) for each in fields]
        print(line(name, moved, found), flush=True)
    for factor in SIZES:
        moved = np.array([tps_of(each.rgb, factor * each.mpp, config) for each in rendered]) - usual
        found = [f1_of(each, replace(each, mpp=factor * each.mpp), config) for each in fields]
        print(line(f"{factor:g} x pixel size", moved, found), flush=True)
    return 0


def line(name: str, moved: np.ndarray, found: Sequence[float]) -> str:
    """One row of the table."""
    f1 = f"{np.mean(found):.3f}" if found else "-"
    return f"{name:<24} {np.nanmean(np.abs(moved)):>10.2f} {moved[np.nanargmax(np.abs(moved))]:>+7.2f} {f1:>24}"


if __name__ == "__main__":
    sys.exit(main())
