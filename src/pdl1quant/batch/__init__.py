"""Score many images, case by case: workers, ledger, resume."""

from __future__ import annotations

from pdl1quant.batch.job import Job, Listener, Summary
from pdl1quant.batch.rows import CaseReport
from pdl1quant.batch.run import find_rules, run

__all__ = ["CaseReport", "Job", "Listener", "Summary", "find_rules", "run"]
