"""The ledger of a run: what is finished, so that a run that was stopped can go on.

One JSON object a line, appended as the work goes and flushed to the disk now and then: what a failure of the power
takes away is done again, a line cut off by a crash is ignored. Numbers survive the round trip exactly, so that a
resumed run writes the same bytes as one that was never stopped.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from pdl1quant.batch.rows import named
from pdl1quant.batch.work import Outcome
from pdl1quant.errors import OutputError, UsageError
from pdl1quant.model import StainEstimate
from pdl1quant.outputs.captions import plural
from pdl1quant.outputs.files import PROGRESS_NAME, RUN_RECORD_NAME, SCORES_NAME, replace_atomically, write_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_FLUSH_SECONDS = 1.0
_OPTIONS = ("assay", "indication", "mpp", "white", "labels", "tma")
"""What is given by an option of its own, not as a setting."""

_OUTCOME = TypeAdapter(Outcome)
_ESTIMATE = TypeAdapter(StainEstimate)


class Ledger:
    """Finished images and the stain estimates of their cases, on disk.

    ``settings`` is whatever has to be equal for two runs to agree, as JSON values.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._path = folder / PROGRESS_NAME
        self._flushed = 0.0
        self._settings = {"pdl1quant": "progress", **settings}
        self._earlier_estimates: dict[str, tuple[frozenset[str], StainEstimate]] = {}
        self._earlier_outcomes: dict[str, tuple[str, Outcome]] = {}
        self._estimates: dict[str, tuple[frozenset[str], StainEstimate]] = {}
        self._outcomes: dict[str, tuple[str, Outcome]] = {}
        self._controls: set[str] = set()
        self._earlier_controls: set[str] = set()
        self._outdated: set[str] = set()

    def begin(self) -> None:
        """Start an empty ledger in the place of any earlier one."""
        self._rewrite([self._settings])

    def resume(self, images: Iterable[str]) -> None:
        """Read what an earlier run finished, or start an empty ledger where none ran.

        Negative controls may have been others: they change calls, and no result of another image.

        Raises
        ------
        UsageError
            It ran with other settings, or had images, not controls, that are not among ``images``.
        """
        if not self._path.exists():
            if any((self._path.parent / name).exists() for name in (SCORES_NAME, RUN_RECORD_NAME)):
                raise UsageError(f"{self._path.parent}: holds results but no ledger to resume from; pass --overwrite")
            self.begin()
            return
        lines = self._read_lines()
        self._check_settings(lines[0])
        for line in lines[1:]:
            self._take_in(line)
        missing = sorted({*self._earlier_outcomes, *self._outdated} - self._earlier_controls - set(images))
        if missing:
            raise UsageError(
                f"{self._path.parent}: the earlier run had {plural(len(missing), 'more image')}: {named(missing)}; put "
                "back or give what is missing, or pass --overwrite in place of --resume to score all anew without"
            )
        self._rewrite(lines)

    def outdated(self, images: Iterable[str]) -> list[str]:
        """Those of ``images`` whose lines are not as this build writes them, as they lack what is new: done again."""
        return [image for image in images if image in self._outdated]

    def controls_but(self, images: Iterable[str]) -> list[str]:
        """The negative controls of the earlier run that are not among ``images``."""
        return sorted(self._earlier_controls - set(images))

    def knows(self, images: Iterable[str]) -> bool:
        """Whether an earlier run finished something of each of ``images``: then there may be nothing to do."""
        return self._earlier_outcomes.keys() >= set(images)

    def earlier_estimate(self, case: str) -> tuple[frozenset[str], StainEstimate] | None:
        """The hashes of the images that made the earlier run's estimate of ``case``, and the estimate."""
        return self._earlier_estimates.get(case)

    def earlier_outcome(self, image: str, *, key: str) -> Outcome | None:
        """How the earlier run's work on ``image`` ended, if it was the same work: ``key`` tells."""
        found = self._earlier_outcomes.get(image)
        return found[1] if found is not None and found[0] == key else None

    def add_estimate(self, case: str, hashes: frozenset[str], estimate: StainEstimate) -> None:
        """Record the stain estimate of a case in this run."""
        self._estimates[case] = (hashes, estimate)
        self._append(_estimate_line(case, hashes, estimate))

    def add_outcome(self, image: str, *, key: str, outcome: Outcome, is_control: bool = False) -> None:
        """Record an image that is finished in this run, its files written."""
        self._outcomes[image] = (key, outcome)
        if is_control:
            self._controls.add(image)
        self._append(self._outcome_line(image, key, outcome))

    def finish(self) -> None:
        """Rewrite the ledger in an order that does not depend on who finished first."""
        lines = [_estimate_line(case, *each) for case, each in sorted(self._estimates.items())]
        lines += [self._outcome_line(image, *each) for image, each in sorted(self._outcomes.items())]
        self._rewrite([self._settings, *lines])

    def _read_lines(self) -> list[dict[str, Any]]:
        lines = []
        try:
            text = self._path.read_bytes().decode(errors="replace")
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be read ({error.strerror}); pass --overwrite") from error
        for line in text.splitlines():
            with suppress(json.JSONDecodeError):  # the line that a crash cut off
                lines.append(json.loads(line))
        if not lines or not isinstance(lines[0], dict) or lines[0].get("pdl1quant") != "progress":
            raise UsageError(f"{self._path}: not a ledger of pdl1quant; pass --overwrite")
        return lines

    def _check_settings(self, earlier: Mapping[str, Any]) -> None:
        current, then = _flat(json.loads(json.dumps(self._settings))), _flat(earlier)
        for name in dict.fromkeys((*current, *then)):
            if current.get(name) != then.get(name):
                raise UsageError(
                    f"{self._path.parent}: was begun with{_change(name, then.get(name), current.get(name))}; "
                    "give the same settings, or pass --overwrite"
                )

    def _take_in(self, line: dict[str, Any]) -> None:
        with suppress(ValidationError, KeyError, TypeError):  # a line that cannot be used is work to be done again
            if "case" in line:
                hashes, estimate = frozenset(line["hashes"]), _ESTIMATE.validate_python(line["estimate"])
                if _estimate_line(line["case"], hashes, estimate) == line:
                    self._earlier_estimates[line["case"]] = (hashes, estimate)
                return
            image = line["image"]
            self._outdated.add(image)
            if line.get("control"):
                self._earlier_controls.add(image)
            outcome = _OUTCOME.validate_json(json.dumps(line["outcome"]))
            if _OUTCOME.dump_python(outcome, mode="json") == line["outcome"]:
                self._earlier_outcomes[image] = (line["key"], outcome)
                self._outdated.discard(image)

    def _outcome_line(self, image: str, key: str, outcome: Outcome) -> dict[str, Any]:
        line = {"image": image, "key": key, "outcome": _OUTCOME.dump_python(outcome, mode="json")}
        return {**line, "control": True} if image in self._controls else line

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(_encode(line))
                file.flush()
                if time.monotonic() - self._flushed > _FLUSH_SECONDS:
                    os.fsync(file.fileno())
                    self._flushed = time.monotonic()
        except OSError as error:
            raise write_error(self._path, error) from error

    def _rewrite(self, lines: Iterable[Mapping[str, Any]]) -> None:
        with replace_atomically(self._path) as partial:
            partial.write_bytes(b"".join(_encode(line) for line in lines))


def _encode(line: Mapping[str, Any]) -> bytes:
    return (json.dumps(line, allow_nan=False) + "\n").encode()


def _estimate_line(case: str, hashes: frozenset[str], estimate: StainEstimate) -> dict[str, Any]:
    return {"case": case, "hashes": sorted(hashes), "estimate": _ESTIMATE.dump_python(estimate, mode="json")}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; ``config.`` is left out as on the command line."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= _flat(value, "" if name == "config" else f"{name}.")
        else:
            flat[name] = value
    return flat


def _change(name: str, then: object, now: object) -> str:
    """`` nuclei.min_area_um2 = 10, now it is 20`` or ``out --tma, now it is with --tma``: as a person gave it."""
    if name not in _OPTIONS:
        return f" {name} = {_brief(then)}, now it is {_brief(now)}"
    was, given = (
        f" --{name}{'' if value is True else f' {_brief(value)}'}" if value else f"out --{name}"
        for value in (then, now)
    )
    return f"{was}, now it is with{given}"


def _brief(value: object) -> str:
    text = "none" if value is None else str(value)
    if isinstance(value, list):
        text = ",".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value)
    return text if len(text) <= 40 else text[:37] + "..."
