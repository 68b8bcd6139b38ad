"""What a run is asked for, what it tells while it works, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pdl1quant.batch.work import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.batch.rows import CaseReport
    from pdl1quant.config import Config
    from pdl1quant.model import Indication, RulePack
    from pdl1quant.outputs.scores_table import ScoreRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to score, how, and where to write it."""

    paths: tuple[Path, ...]
    output: Path
    config: Config
    pack: RulePack
    indication: Indication | None = None
    mpp: float | None = None
    white: tuple[float, float, float] | None = None
    roi: Path | None = None
    cases: Path | None = None
    keep_labels: bool = False
    is_array: bool = False
    core_map: Path | None = None
    negative_controls: tuple[Path, ...] = ()
    """Files and folders of negative-reagent sections, whose fields make the limit of blank."""
    workers: int = 1
    overwrite: bool = False
    resume: bool = False

    @property
    def plan(self) -> Plan:
        """What a worker has to know of it."""
        return Plan(
            output=self.output,
            config=self.config,
            pack=self.pack,
            indication=self.indication,
            mpp=self.mpp,
            keep_labels=self.keep_labels,
            is_array=self.is_array,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a run ended; ``n_unscored`` counts the images that were refused or failed."""

    output: Path
    rows: tuple[ScoreRow, ...]
    n_unscored: int
    has_report: bool
    """Whether it wrote its report: one in the folder may be of an earlier run."""


class Listener(Protocol):
    """Is told how the work goes."""

    def begin(self, n_images: int) -> None: ...
    def doing(self, what: str, case: str) -> None: ...
    def advance(self, n_images: int = 1) -> None: ...
    def complain(self, message: str) -> None: ...
    def case_done(self, report: CaseReport) -> None: ...
    def control_done(self, lines: Sequence[str]) -> None: ...
    def end(self, summary: Summary) -> None: ...
