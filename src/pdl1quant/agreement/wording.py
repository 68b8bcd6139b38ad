"""Measures of agreement in words: numbers with their intervals, lines for a terminal, what the page explains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pdl1quant.agreement.measures import FEW_CASES, Compared
from pdl1quant.agreement.reader_scores import MEDIAN
from pdl1quant.outputs.captions import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdl1quant.agreement.measures import AllReaders, KindAgreement, Pair
    from pdl1quant.agreement.run import Agreement
    from pdl1quant.validation.agreement import Estimate, Limits

IS_NO_VALIDATION: Final = "It measures agreement on these cases; it is no clinical validation."
MINUS: Final = "\N{MINUS SIGN}"
_NONE: Final = "\N{EN DASH}"
_SHOWN_NAMES: Final = 5
_PAIR: Final = 2


def coefficient(estimate: Estimate) -> str:
    """An ICC, CCC, correlation or kappa: ``0.91 (0.85-0.95)``; a dash where it is not defined."""
    return _with_interval(estimate, "{:.2f}")


def percentage(estimate: Estimate) -> str:
    """A share in per cent: ``92 % (81-97)``."""
    if estimate.value is None:
        return _NONE
    return f"{estimate.value:.0f} %" + _interval(estimate, "{:.0f}")


def difference(estimate: Estimate) -> str:
    """A difference in the unit of the scores, with its sign: ``+2.1 (-0.3 to +4.5)``."""
    if estimate.value is None:
        return _NONE
    return signed(estimate.value) + _interval(estimate, "{:+.1f}", between=" to ")


def signed(value: float) -> str:
    """A difference with one decimal and its sign, 0.0 without."""
    return _signed("{:+.1f}", value)


def limits_text(limits: Limits) -> str:
    """The 95 % limits of agreement: ``-12.4 to +16.6``."""
    if limits.lower.value is None or limits.upper.value is None:
        return _NONE
    return f"{signed(limits.lower.value)} to {signed(limits.upper.value)}"


def names_in_short(names: tuple[str, ...]) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def pair_name(pair: Pair) -> str:
    """Who is held against whom."""
    return f"{pair.first} with {_the(pair.second)}"


def title_of(agreement: KindAgreement, found: Agreement) -> str:
    """What is compared: ``CPS``, or ``CPS, reviewed`` and, beside it, ``CPS, automated``."""
    if agreement.is_of_review:
        return f"{agreement.kind.title}, reviewed"
    is_beside = any(each.is_of_review for each in found.agreements)
    return f"{agreement.kind.title}, automated" if is_beside else agreement.kind.title


def summary_lines(found: Agreement) -> Iterator[str]:
    """The result in a few lines for a terminal."""
    for agreement in found.agreements:
        main, n = agreement.main, len(agreement.cases)
        reviewed = f"{agreement.n_reviewed} of them reviewed, " if agreement.is_of_review else ""
        yield (
            f"{title_of(agreement, found)}: {plural(n, found.level)} compared, {reviewed}"
            f"{plural(len(agreement.readers), 'reader')}; {len(found.left_out_of(agreement))} left out, "
            f"{agreement.n_marked} marked by a flag"
        )
        if main.n < FEW_CASES:
            yield f"  only {main.n} with a score of both: fewer than {FEW_CASES} say little"
        n_alone = sum(case.n_read == 1 for case in agreement.cases) if len(agreement.readers) > 1 else 0
        if n_alone:
            yield f"  {plural(n_alone, found.level)} read by one reader alone: held against that reader, not the median"
        unit = " points" if agreement.kind.unit and main.limits.mean.value is not None else ""
        yield _plain(
            f"  {pair_name(main)}: ICC {coefficient(main.icc)}, CCC {coefficient(main.ccc)}, mean difference "
            f"{difference(main.limits.mean)}{unit}, 95 % limits {limits_text(main.limits)}"
        )
        everyone = agreement.all_readers
        if everyone is not None:
            yield _plain(f"  readers with one another: ICC {coefficient(everyone.icc)}, n = {everyone.n}")
        for number, at in enumerate(main.at):
            told = f"  at {at.cut_off:g}: same side {percentage(at.overall)}, kappa {coefficient(at.kappa)}"
            if everyone is not None:
                told += f"; readers with one another: {_readers_kappa(agreement, everyone, number)}"
            yield _plain(told)
    yield from found.notes
    if found.unmatched:
        yield f"{plural(len(found.unmatched), 'name')} not of this run: {names_in_short(found.unmatched)}"
    if found.unread:
        yield f"{plural(len(found.unread), found.level)} of the run that no reader scored"
    yield IS_NO_VALIDATION


def _readers_kappa(agreement: KindAgreement, everyone: AllReaders, number: int) -> str:
    """That of all at a cut-off; of two Cohen's, as beside it that of the program, for Fleiss' of two is another."""
    if len(agreement.readers) > _PAIR:
        return f"Fleiss' kappa {coefficient(everyone.kappas[number][1])}"
    (pair,) = (each for each in agreement.pairs if each.compared is Compared.READER_PAIR)
    return f"kappa {coefficient(pair.at[number].kappa)}"


COMPARED_TITLES: Final = {
    Compared.WITH_MEDIAN: "pdl1quant with the readers together",
    Compared.WITH_READER: "pdl1quant with each reader",
    Compared.READER_PAIR: "Readers with one another",
    Compared.READER_OTHERS: "Each reader with the others together",
}
"""Groups of pairs, in the order in which the page has them."""

METHOD: Final = (
    (
        "What it says, and what not",
        (
            f"{IS_NO_VALIDATION} Readers differ from each other, too: the question is whether the program differs "
            "from them more than they do. Agreement is not truth, and these cases need not stand for others."
        ),
    ),
    (
        "Who is held against whom",
        (
            "Every two on the cases that both scored; the readers, too, on those only that the program scored, so "
            "that their agreement stands beside its own. The median of several readers scatters less than any one "
            "of them: hold the program with the median against each reader with the median of the others, and the "
            "program with single readers against the readers with one another. A median is of two readers at "
            "least: what only one of several read is in no measure with it."
        ),
    ),
    (
        "ICC and CCC",
        (
            "ICC(2,1): two-way random, absolute agreement, single scores (Shrout & Fleiss 1979), interval by "
            "McGraw & Wong 1996. CCC: Lin's concordance correlation, interval by Fisher's z. Both are 1 for the "
            "same scores; scatter and bias make them fall. They grow with the spread of the cases: compare them "
            "within one set of cases."
        ),
    ),
    (
        "Differences",
        (
            "First minus second. The 95 % limits of agreement (Bland & Altman 1999) are where 19 of 20 "
            "differences are expected; shaded: their own intervals. They take differences to be alike at all "
            "scores, which those of shares near 0 and 100 are not: look at the drawing."
        ),
    ),
    (
        "At a cut-off",
        (
            "At or above it, or below, by unrounded scores; < 1 is read as 0.5. Positive agreement: of the cases "
            "that the second puts at or above the cut-off the share that the first does, too; negative agreement "
            "likewise; Wilson's intervals. Kappa (Cohen's; Fleiss' of all readers) is agreement beyond chance: it "
            "is low where nearly all cases lie on one side, however well both agree."
        ),
    ),
    (
        "Intervals",
        (
            "95 %. Those of Spearman's correlation and of kappas are percentiles of 2,000 samples of the cases "
            "with a fixed seed. A dash: not defined; statistics.csv has the reason. Scores that are mostly low make "
            f"intervals a little too narrow; fewer than {FEW_CASES} cases, which are said, much. Images or cores of "
            "one patient are not independent: theirs are too narrow, too."
        ),
    ),
    (
        "What is left out, what is marked",
        (
            "Cases that were not scored, or are not evaluable, and images that repeat another are left out and "
            "counted. Scores with a flag that may move them (tumour not confirmed by a person, partly judged, and "
            "others) are compared and marked. Of automated and reviewed scores that stand side by side what one leaves "
            "out the other does, too."
        ),
    ),
    (
        "Automated and reviewed",
        (
            "Automated is as the program scored. Reviewed is after the edits of a review that pdl1quant rescore "
            "counted; a case that nobody reviewed has its automated score there. Reviewed scores are a person's work, "
            "too: they say how program and reviewer together agree with the readers, and nothing of the program alone."
        ),
    ),
)
"""What the page explains: a heading and a few sentences each."""


def _with_interval(estimate: Estimate, form: str) -> str:
    if estimate.value is None:
        return _NONE
    return _signed(form, estimate.value) + _interval(estimate, form)


def _interval(estimate: Estimate, form: str, *, between: str = "\N{EN DASH}") -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    if estimate.low < 0:
        between = " to "
    return f" ({_signed(form, estimate.low)}{between}{_signed(form, estimate.high)})"


def _signed(form: str, value: float) -> str:
    text = form.format(value)
    is_zero = not any(digit in text for digit in "123456789")
    return text.lstrip("+-") if is_zero else text.replace("-", MINUS)


def _the(name: str) -> str:
    return f"the {name}" if name.startswith(MEDIAN[:6]) else name


def _plain(text: str) -> str:
    """For terminals of any encoding."""
    return text.replace(MINUS, "-").replace("\N{EN DASH}", "-")
