"""What the command line shows: a progress bar, a line per case with its remarks below, and errors between them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pdl1quant.assays import load_pack, pack_names
from pdl1quant.batch.rows import UNSCORED
from pdl1quant.model import ResultFlag
from pdl1quant.outputs.captions import RESEARCH_USE_ONLY, called_cps, plural, score_text
from pdl1quant.outputs.files import REPORT_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import IO, Self

    from rich.progress import TaskID

    from pdl1quant.batch import CaseReport, Summary
    from pdl1quant.model import CutOff, RulePack, Score

REMARKS = {
    ResultFlag.WHITE_ASSUMED: "no empty glass seen, white level assumed: give --white R,G,B",
    ResultFlag.WHITE_DIFFERS: "--white is not the level of the glass that was seen, which was used: check both",
    ResultFlag.VECTORS_FIXED: "too little blue or brown to measure its colour: the textbook's is used",
    ResultFlag.NO_DAB_SEEN: "no cell is brown: check the stain against its control",
    ResultFlag.MPP_OVERRIDDEN: "--mpp contradicts the files' own pixel size: check it",
    ResultFlag.FIRST_IMAGE_ONLY: "only the first page of several was scored: export the others as files of their own",
    ResultFlag.REGION_OUTSIDE: "regions lie partly outside the image: were they drawn on this one, at this size?",
    ResultFlag.NUCLEUS_SIZE: "nuclei of unusual size: check --mpp",
    ResultFlag.NUCLEAR_STAIN: "brown lies in nuclei, not around them: another marker, or red and blue exchanged?",
    ResultFlag.BROWN_WITHOUT_CELLS: "much brown where no cell was found, so cells are missing: look at the overlays",
    ResultFlag.CORES_UNLIKE_MAP: "its cores may be those of another case: hold the overlay against the plan",
    ResultFlag.NO_CORE_MAP: "all cores together are no case: say whose each core is (--tma-map), or look at each core",
    ResultFlag.BELOW_BLANK: "below the limit of blank: as much is brown without the antibody, so nothing reads '>='",
    ResultFlag.FEW_BLOCKS: "little tissue: the interval rests on few blocks",
    ResultFlag.PARTIAL: "damaged, or many tumour cells left out (blur, pigment, dead): look at the overlays",
    ResultFlag.NO_TUMOUR_CELLS: "no tumour cells found: look at the overlays",
    ResultFlag.NO_NESTS: "no CPS: immune cells were found, but no nest of tumour cells: draw the tumour (--roi)",
    ResultFlag.TOO_FEW_CELLS: "not evaluable, too few tumour cells: add images of this case",
    ResultFlag.DUPLICATE: "the same as another image of the case, not counted again",
}
"""What a flag means for one case, and what to do."""

_OF_IMAGES = (
    ResultFlag.MPP_OVERRIDDEN,
    ResultFlag.FIRST_IMAGE_ONLY,
    ResultFlag.REGION_OUTSIDE,
    ResultFlag.NUCLEUS_SIZE,
    ResultFlag.NUCLEAR_STAIN,
    ResultFlag.BROWN_WITHOUT_CELLS,
    ResultFlag.PARTIAL,
    ResultFlag.DUPLICATE,
)
"""Flags that say how many images of the case they concern."""

_OF_REGIONS = (ResultFlag.BROWN_WITHOUT_CELLS,)
"""Those that drawn regions and cores have of their own, and that may be lost among all of an image."""
_REGIONS = {"roi": "region", "core": "core"}
"""What a region is called, by the level of its row."""

REMARKS_OF_RUNS = {
    ResultFlag.CONTROL_STAINED: "the negative control is brown: what is brown in a case may be no PD-L1",
    ResultFlag.CONTROL_UNUSABLE: "the negative control does not hold: mend what is wrong with it, or leave it out",
    ResultFlag.TUMOUR_UNCONFIRMED: "no person confirmed what is tumour (draw it and give --roi)",
    ResultFlag.SELECTED_FIELDS: "chosen fields stand for the section",
    ResultFlag.NO_MACROPHAGE_CLASS: "no CPS, as macrophages are not told apart",
    ResultFlag.UNCALIBRATED: "grades 1-3 are bins of optical density, not 1+/2+/3+",
}
"""What flags mean that cases of one run usually share; said once, at the end."""

_INDENT = "    "


class Terminal:
    """Listens to a run: results to standard output, progress and errors to standard error.

    The bar appears only where standard error is a terminal and ``quiet`` is off; ``quiet`` leaves the errors. Where
    nobody reads either any more (`_Stream`) the run goes on.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._output = _Stream("stdout")
        errors = cast("IO[str]", _Stream("stderr"))
        self._errors = Console(file=errors, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._errors,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=quiet or not self._errors.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, n_images: int) -> None:
        """The work on ``n_images`` begins."""
        self._task = self._progress.add_task("reading", total=n_images)

    def doing(self, what: str, case: str) -> None:
        """Say on the bar what is done to which case."""
        if self._task is not None:
            self._progress.update(self._task, description=escape(_plain(f"{what} {case}")[:40]))

    def advance(self, n_images: int = 1) -> None:
        """So many more images are done."""
        if self._task is not None:
            self._progress.advance(self._task, n_images)

    def complain(self, message: str) -> None:
        """Say in one line what is wrong with one input."""
        self._errors.print(_plain(message), soft_wrap=True)

    def case_done(self, report: CaseReport) -> None:
        """Say in one line how a case was scored, and below it what is special about it."""
        for line in case_lines(report):
            self._say(line)

    def control_done(self, lines: Sequence[str]) -> None:
        """Say what the negative controls gave."""
        for line in lines:
            self._say(line)

    def end(self, summary: Summary) -> None:
        """Say where to look."""
        self._progress.stop()
        for line in end_lines(summary):
            self._say(line)

    def _say(self, line: str) -> None:
        if self._quiet:
            return
        if self._output.isatty() and self._errors.is_terminal:  # on the bar's own terminal: let the bar step aside
            self._errors.print(_plain(line), soft_wrap=True)
        else:
            self._output.write(_encodable(_plain(line), self._output.encoding) + "\n")
            self._output.flush()


class _Stream:
    """Standard output or error, which may be missing or fail: a terminal that was closed, a pipe whose reader has gone.

    The results are in files, so what cannot be said is dropped, and no run ends for it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def encoding(self) -> str:
        """Of the stream, where there is one."""
        return getattr(getattr(sys, self._name), "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        with suppress(AttributeError, ValueError):  # missing, closed
            return bool(getattr(sys, self._name).isatty())
        return False

    def fileno(self) -> int:
        """Its number in the process."""
        return int(getattr(sys, self._name).fileno())

    def write(self, text: str) -> int:
        """Write, if it can be."""
        try:
            getattr(sys, self._name).write(text)
        except (AttributeError, ValueError, OSError):
            self._let_go()
        return len(text)

    def flush(self) -> None:
        """Send what was written, if it can be."""
        try:
            getattr(sys, self._name).flush()
        except (AttributeError, ValueError, OSError):
            self._let_go()

    def _let_go(self) -> None:
        """Have the rest go nowhere: what waits in the stream would fail once more when the program ends."""
        with suppress(AttributeError, ValueError, OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, self.fileno())
            finally:
                os.close(nowhere)


def case_lines(report: CaseReport) -> list[str]:
    """``case  TPS (cytoplasm) 42 % (35-50)  1,234 tumour cells  8 images``, and below it a line for each remark.

    The calls come last; the CPS stands behind the TPS where one is made on it.
    """
    score = report.score
    if score is None:
        parts = [report.case or ".", f"not scored ({report.status})", _images(report)]
        return ["  ".join(parts)]
    parts = [
        report.case or ".",
        score_text(score),
        *filter(None, [called_cps(score)]),
        plural(report.n_tumour, "tumour cell"),
        _images(report),
        *(str(call) for call in score.calls),
    ]
    return ["  ".join(parts), *(_INDENT + remark for remark in _remarks(report, score))]


def _remarks(report: CaseReport, score: Score) -> list[str]:
    n_missing = report.n_images - report.n_scored
    remarks = [f"incomplete: {plural(n_missing, report.noun)} not scored"] if n_missing else []
    for flag, text in REMARKS.items():
        if flag is ResultFlag.TOO_FEW_CELLS and ResultFlag.NO_TUMOUR_CELLS in score.flags:
            continue
        whom = _whom(report, flag)
        if whom:
            is_all = report.n_images == 1 and whom == [plural(1, report.noun)]
            remarks.append(text if is_all else f"{', '.join(whom)}: {text}")
        elif flag in score.flags and not (flag is ResultFlag.PARTIAL and n_missing):
            remarks.append(text)
    return [*remarks, report.no_call] if report.no_call else remarks


def _whom(report: CaseReport, flag: ResultFlag) -> list[str]:
    """How many images, regions and cores of a case a flag is about, where it is said of them."""
    n_images = report.images_by_flag.get(flag, 0) if flag in _OF_IMAGES else 0
    numbers = {"image": n_images}
    if flag in _OF_REGIONS:
        numbers |= {noun: report.regions_by_flag.get((level, flag), 0) for level, noun in _REGIONS.items()}
    return [plural(n, noun) for noun, n in numbers.items() if n]


def end_lines(summary: Summary) -> list[str]:
    """What holds for all cases, where to look, and what is missing."""
    flags = {flag for row in summary.rows if row.level in ("case", "array") for flag in row.flags}
    remarks = [text for flag, text in REMARKS_OF_RUNS.items() if str(flag) in flags]
    lines = ["Notes:", *(_INDENT + remark for remark in remarks)] if remarks else []
    if summary.n_unscored:
        which = "is" if summary.n_unscored == 1 else "are"
        lines.append(
            f"{plural(summary.n_unscored, 'image')} {which} not scored: {summary.output}/scores.csv says why in its "
            f"column error; mend {'it' if summary.n_unscored == 1 else 'them'} and run again with --resume, "
            "or with --overwrite if you change an option."
        )
    if any(row.level == "image" and row.status not in UNSCORED for row in summary.rows):
        report = f"{summary.output}/{REPORT_NAME}, then at " if summary.has_report else ""
        lines.append(f"Look at {report}{summary.output}/scores.csv. {RESEARCH_USE_ONLY}")
    else:
        lines.append(f"Nothing was scored. {RESEARCH_USE_ONLY}")
    return lines


def assay_list() -> str:
    """The rule packs with their indications and cut-offs, as text."""
    return "\n\n".join(_pack_text(load_pack(name)) for name in pack_names())


def _pack_text(pack: RulePack) -> str:
    lines = [
        pack.name,
        f"  {pack.title}",
        f"  prints {pack.score_name!r}; at least {pack.min_tumour_cells} viable tumour cells per case; "
        + ("calls with --indication" if pack.makes_calls else "no calls"),
    ]
    for indication in pack.indications:
        lines.append(f"  --indication {indication.name}: {indication.title}")
        lines += [f"    {_cut_off_text(cut_off)}" for cut_off in indication.cut_offs]
    return "\n".join(lines)


def _cut_off_text(cut_off: CutOff) -> str:
    sign = ">=" if cut_off.qualifies == "at_least" else "<"
    unit = " %" if cut_off.score == "tps" else ""
    limit = f"{cut_off.score.upper()} {sign} {cut_off.value:g}{unit}"
    return f"{limit}, {cut_off.jurisdiction}, {cut_off.drug}, {cut_off.date}"


def _images(report: CaseReport) -> str:
    if report.n_scored == report.n_images:
        return plural(report.n_images, report.noun)
    return f"{report.n_scored:,} of {plural(report.n_images, report.noun)}"


def _plain(line: str) -> str:
    """One line, without the control characters that a file name may hold."""
    return "".join(character if character.isprintable() else "?" for character in line)


def _encodable(line: str, encoding: str) -> str:
    return line.encode(encoding, errors="replace").decode(encoding)
