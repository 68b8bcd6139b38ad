"""Does this installation measure as it was released? Rendered fields of known truth, scored and held against both.

Phantoms are no tissue: this shows that a machine computes what it should, not how well patients' slides are read.
"""

from __future__ import annotations

import math
import platform
import tomllib
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import tifffile

from pdl1quant.errors import UsageError
from pdl1quant.networks.chosen import pin_model
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.outputs.run_record import write_run_record
from pdl1quant.pipeline import score_image
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pdl1quant.config import Config
    from pdl1quant.validation.phantoms import Phantom

SIZE_PX = 1024
FIRST_SEED = 1_200_000
"""Far from the seeds of ``models/`` and ``benchmarks/``; nothing was chosen on these fields."""
LOW_PCT, MAX_ERROR_LOW, MAX_ERROR = 5.0, 1.0, 3.0
"""Up to this true TPS, and above it, how far the measured one may lie off the truth, in points. Working values: of 59
conditions (docs/accuracy.md), three such fields each, the worst is 2.3 off, but for lung where all tumour is brown."""
MAX_DRIFT = 0.5
"""How far it may lie off that of the release, in points: other processors may round otherwise."""
RELEASED = "released.toml"
"""Beside this module: what the release measured, written by ``benchmarks/released.py``."""

RECORD = "verification.json"
HEAD = f"{'field':<36}  {'cells/true':>11}  {'true %':>6}  {'measured % (interval)':>23}  {'release %':>9}"

_INFLAMED = {"lymphocyte_share": 0.7, "macrophage_share": 0.2, "positive_immune_share": 0.5}
FIELDS: dict[str, dict[str, Any]] = {
    "no brown": {"tps_pct": 0},
    "no brown tumour, brown immune cells": {"tps_pct": 0, **_INFLAMED},
    "1 % brown": {"tps_pct": 1},
    "5 % brown membranes": {"tps_pct": 5, "pattern": "membrane"},
    "10 % brown, black pigment": {"tps_pct": 10, "pigment_share": 0.04},
    "25 % brown": {"tps_pct": 25},
    "50 % brown membranes": {"tps_pct": 50, "pattern": "membrane"},
    "50 % brown cytoplasm": {"tps_pct": 50, "pattern": "cytoplasm"},
    "50 % weakly brown": {"tps_pct": 50, "dab_od": 0.35},
    "50 % brown, blurred": {"tps_pct": 50, "blur_px": 1.2},
    "80 % brown": {"tps_pct": 80},
    "all brown": {"tps_pct": 100},
}
"""Settings of the fields by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One field: true and measured TPS (per cent) and viable tumour cells, and what the release measured."""

    field: str
    true_pct: float
    found_pct: float
    low_pct: float
    high_pct: float
    true_cells: int
    found_cells: int
    released_pct: float | None
    """None with other settings or another model than the release's own."""

    @property
    def near_truth(self) -> bool:
        """Whether the measured TPS is as near the truth as it should be."""
        return abs(self.found_pct - self.true_pct) <= (MAX_ERROR_LOW if self.true_pct <= LOW_PCT else MAX_ERROR)

    @property
    def as_released(self) -> bool:
        """Whether it is that of the release; True where that is not known."""
        return self.released_pct is None or abs(self.found_pct - self.released_pct) <= MAX_DRIFT

    @property
    def passed(self) -> bool:
        """Both."""
        return self.near_truth and self.as_released


def fields() -> Iterator[tuple[str, Phantom]]:
    """The fields by name, rendered one by one; the same bytes each time."""
    for number, (name, settings) in enumerate(FIELDS.items()):
        yield name, render_phantom(PhantomSettings(size_px=SIZE_PX, **settings), seed=FIRST_SEED + number)


def check_fields(config: Config, *, keep: Path | None = None) -> Iterator[Check]:
    """Score each field, and hold it against the truth and, with the settings of the release, against that.

    Parameters
    ----------
    config
        Settings.
    keep
        Folder for the fields (TIFF, which says its pixel size) and the truth about each cell of them (CSV).

    Yields
    ------
    Check
        One a field, as it is done.

    Raises
    ------
    ModelError
        The network of the settings cannot be run.
    OutputError
        A file cannot be written.
    """
    config = pin_model(config)
    known = released(config)
    for number, (name, phantom) in enumerate(fields(), start=1):
        if keep is not None:
            _keep(phantom, keep, f"{number:02d}_{name.replace(' %', '').replace(',', '').replace(' ', '_')}")
        result = score_image(phantom.rgb, phantom.mpp, config=config)
        score = result.score
        true_pct = phantom.tps_pct
        assert true_pct is not None
        yield Check(
            field=name,
            true_pct=true_pct,
            found_pct=_number(score.tps),
            low_pct=_number(score.tps_low),
            high_pct=_number(score.tps_high),
            true_cells=phantom.n_viable,
            found_cells=result.counts.n_tumour,
            released_pct=known.get(name),
        )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def released(config: Config) -> dict[str, float]:
    """TPS of the fields as the release measured it; empty with other settings, ``config`` being one with its hash."""
    text = files(__package__).joinpath(RELEASED).read_text(encoding="utf-8")
    record = tomllib.loads(text)
    return dict(record["tps_pct"]) if record["config_digest"] == config.digest else {}


def verify(config: Config, *, output: Path | None, say: Callable[[str], None]) -> bool:
    """Check all fields and say each; keep them, with a record, in a folder where one is given.

    Parameters
    ----------
    config
        Settings.
    output
        New or empty folder for ``fields/``, ``truth/`` and ``verification.json``; None keeps nothing.
    say
        Takes a line of text.

    Returns
    -------
    bool
        Whether every field passed.

    Raises
    ------
    UsageError
        The folder holds something already.
    """
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output}: is not a new or empty folder; choose another one for the fields")
    say(HEAD)
    checks = []
    for check in check_fields(config, keep=output):
        checks.append(check)
        say(line(check))
    for text in verdict(checks):
        say(text)
    passed = all(check.passed for check in checks)
    if output is not None:
        write_run_record(output / RECORD, _record(checks, config, passed=passed))
    return passed


def line(check: Check) -> str:
    """One field as a line of the table that ``HEAD`` begins."""
    measured = f"{check.found_pct:.1f} ({check.low_pct:.1f} to {check.high_pct:.1f})"
    then = "" if check.released_pct is None else f"{check.released_pct:.1f}"
    cells = f"{check.found_cells:,}/{check.true_cells:,}"
    wrong = [] if check.near_truth else ["far from the truth"]
    wrong += [] if check.as_released else ["not as released"]
    end = " and ".join(wrong).upper() or "ok"
    return f"{check.field:<36}  {cells:>11}  {check.true_pct:>6.1f}  {measured:>23}  {then:>9}  {end}"


def verdict(checks: Sequence[Check]) -> list[str]:
    """What the table says, in lines."""
    n_passed = sum(check.passed for check in checks)
    lines = [f"{n_passed} of {len(checks)} fields are as they should be."]
    if all(check.released_pct is None for check in checks):
        lines.append("With these settings nothing was measured for the release: held against the truth alone.")
    if not all(check.as_released for check in checks):
        lines.append("This machine computes something else than the release did: install anew; if that stays, tell us.")
    return [*lines, "Rendered fields are no tissue: this checks the installation, not how well slides are read."]


def _keep(phantom: Phantom, folder: Path, name: str) -> None:
    """Write a field and the truth about its cells."""
    with replace_atomically(folder / "fields" / f"{name}.tif") as partial:
        tifffile.imwrite(
            partial,
            phantom.rgb,
            photometric="rgb",
            compression="deflate",
            resolution=(10_000 / phantom.mpp,) * 2,
            resolutionunit="CENTIMETER",
            metadata=None,
        )
    with replace_atomically(folder / "truth" / f"{name}.csv") as partial:
        phantom.cells.to_csv(partial, index=False, lineterminator="\n")


def _record(checks: Sequence[Check], config: Config, *, passed: bool) -> dict[str, Any]:
    """For `write_run_record`."""
    return {
        "config_digest": pin_model(config).digest,
        "fields": [
            {**{name: _rounded(value) for name, value in asdict(check).items()}, "passed": check.passed}
            for check in checks
        ],
        "machine": {"processor": platform.machine(), "system": platform.system(), "python": platform.python_version()},
        "passed": passed,
    }


def _rounded(value: Any) -> Any:
    """A number that JSON has."""
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 4)
