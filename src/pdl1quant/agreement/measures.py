"""Scores of a program and of readers, case by case -> measures of agreement of each two of them, and of all readers."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pdl1quant.agreement.reader_scores import MEDIAN, OTHERS, PROGRAM, REVIEWED_PROGRAM
from pdl1quant.validation.agreement import (
    CrossTable,
    Estimate,
    Limits,
    absolute_icc,
    cohen_kappa,
    concordance,
    cross_table,
    fleiss_kappa,
    limits_of_agreement,
    negative_agreement,
    overall_agreement,
    positive_agreement,
    rank_correlation,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.agreement.reader_scores import ScoreKind
    from pdl1quant.model import Float64Array
    from pdl1quant.outputs.scores_table import ScoreRow

FEW_CASES = 10
"""With fewer cases every measure says so: its interval is wide, and may still be too narrow."""
_MIN_OTHERS = 3
"""Readers from which on each can be held against the median of the others: of two it would be the other."""


class Compared(StrEnum):
    """Who is held against whom."""

    WITH_MEDIAN = "program_median"
    WITH_READER = "program_reader"
    READERS = "readers"
    READER_PAIR = "reader_reader"
    READER_OTHERS = "reader_others"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCase:
    """One row that is compared: what the program says, and what readers do (nan: nothing), in their order."""

    row: ScoreRow
    score: float
    readers: tuple[float, ...]
    texts: tuple[str, ...]
    """As the readers typed them."""
    marks: tuple[str, ...]
    """Flags that may move the number."""
    is_reviewed: bool = False
    """Whether a person edited or signed it."""
    reviewers: tuple[str, ...] = ()
    """Who wrote to its ledger."""

    @property
    def n_read(self) -> int:
        """How many readers gave it a score."""
        return sum(not math.isnan(value) for value in self.readers)

    @property
    def median(self) -> float:
        """Median of the readers who read it; nan where fewer than two did, unless there is one reader only."""
        read = [value for value in self.readers if not math.isnan(value)]
        return statistics.median(read) if self.n_read >= min(2, len(self.readers)) else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class AtCutOff:
    """Two scores against one cut-off."""

    cut_off: float
    table: CrossTable
    overall: Estimate
    positive: Estimate
    negative: Estimate
    kappa: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """How far two scores agree; differences are ``first`` minus ``second``, and ``second`` is what is held against."""

    compared: Compared
    first: str
    second: str
    n: int
    icc: Estimate
    ccc: Estimate
    limits: Limits
    spearman: Estimate
    at: tuple[AtCutOff, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllReaders:
    """How far all readers agree with one another, on the cases that all of them read."""

    n: int
    icc: Estimate
    kappas: tuple[tuple[float, Estimate], ...]
    """Fleiss' kappa at each cut-off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindAgreement:
    """The agreement on one score; ``pairs`` begin with the program, against the median first."""

    kind: ScoreKind
    program: str
    """What the run is called: its scores may be automated or reviewed."""
    readers: tuple[str, ...]
    cases: tuple[ScoredCase, ...]
    cut_offs: tuple[float, ...]
    pairs: tuple[Pair, ...]
    all_readers: AllReaders | None
    """None with one reader."""

    @property
    def reference(self) -> str:
        """What the program is held against first: the median of the readers, or the only one."""
        return MEDIAN if len(self.readers) > 1 else self.readers[0]

    @property
    def main(self) -> Pair:
        """The program against the `reference`."""
        return self.pairs[0]

    @property
    def shared_marks(self) -> frozenset[str]:
        """Flags that may move the score and that every case carries: they tell none from the others."""
        return frozenset.intersection(*(frozenset(case.marks) for case in self.cases))

    @property
    def is_of_review(self) -> bool:
        """Whether the scores are those of a review."""
        return self.program == REVIEWED_PROGRAM

    @property
    def n_reviewed(self) -> int:
        """Cases that a person edited or signed, whichever score of them is compared."""
        return sum(case.is_reviewed for case in self.cases)

    @property
    def n_marked(self) -> int:
        """Cases whose score carries a flag that may move it."""
        return sum(bool(case.marks) for case in self.cases)


def measure_agreement(
    cases: Sequence[ScoredCase],
    *,
    kind: ScoreKind,
    readers: Sequence[str],
    cut_offs: Sequence[float],
    program: str = PROGRAM,
) -> KindAgreement:
    """Measure how far the program agrees with each reader and with their median, and the readers with one another.

    Every two are compared on the cases that both scored; the readers, too, on those alone that the program scored, so
    that their agreement stands beside its own.

    Parameters
    ----------
    cases
        What is compared, each with a reader at least.
    kind
        Which score it is.
    readers
        Their names, in the order of ``ScoredCase.readers``.
    cut_offs
        Values at which scores are held to be at or above, or below.
    program
        What the run is called.
    """
    scored = np.array([case.score for case in cases], np.float64)
    read = np.array([case.readers for case in cases], np.float64).reshape(len(cases), len(readers))
    pairs = []
    if len(readers) > 1:
        median = _median(read)
        pairs.append(_pair(Compared.WITH_MEDIAN, (program, MEDIAN), (scored, median), cut_offs))
    for name, scores in zip(readers, read.T, strict=True):
        pairs.append(_pair(Compared.WITH_READER, (program, name), (scored, scores), cut_offs))
    for one, other in combinations(range(len(readers)), 2):
        names = readers[one], readers[other]
        pairs.append(_pair(Compared.READER_PAIR, names, (read[:, one], read[:, other]), cut_offs))
    for number, name in enumerate(readers if len(readers) >= _MIN_OTHERS else ()):
        others = _median(np.delete(read, number, axis=1))
        pairs.append(_pair(Compared.READER_OTHERS, (name, OTHERS), (read[:, number], others), cut_offs))
    return KindAgreement(
        kind=kind,
        program=program,
        readers=tuple(readers),
        cases=tuple(cases),
        cut_offs=tuple(cut_offs),
        pairs=tuple(pairs),
        all_readers=_all_readers(read, cut_offs) if len(readers) > 1 else None,
    )


def _pair(
    compared: Compared, names: tuple[str, str], scores: tuple[Float64Array, Float64Array], cut_offs: Sequence[float]
) -> Pair:
    both = ~np.isnan(scores[0]) & ~np.isnan(scores[1])
    first, second = (each[both] for each in scores)
    return Pair(
        compared=compared,
        first=names[0],
        second=names[1],
        n=int(both.sum()),
        icc=absolute_icc(np.stack([first, second], axis=1)),
        ccc=concordance(first, second),
        limits=limits_of_agreement(first, second),
        spearman=rank_correlation(first, second),
        at=tuple(_at(cross_table(first, second, cut_off), cut_off) for cut_off in cut_offs),
    )


def _at(table: CrossTable, cut_off: float) -> AtCutOff:
    return AtCutOff(
        cut_off=cut_off,
        table=table,
        overall=overall_agreement(table),
        positive=positive_agreement(table),
        negative=negative_agreement(table),
        kappa=cohen_kappa(table),
    )


def _all_readers(read: Float64Array, cut_offs: Sequence[float]) -> AllReaders:
    whole = read[~np.isnan(read).any(axis=1)]
    kappas = []
    for cut_off in cut_offs:
        n_high = (whole >= cut_off).sum(axis=1)
        kappas.append((cut_off, fleiss_kappa(np.stack([n_high, whole.shape[1] - n_high], axis=1))))
    return AllReaders(n=len(whole), icc=absolute_icc(whole), kappas=tuple(kappas))


def _median(read: Float64Array) -> Float64Array:
    """(n, readers) -> (n,) median of those who read; nan where fewer than two did."""
    median = np.full(len(read), np.nan)
    enough = (~np.isnan(read)).sum(axis=1) >= 2
    if enough.any():
        median[enough] = np.nanmedian(read[enough], axis=1)
    return median
