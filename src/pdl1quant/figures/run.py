"""The figures of a run: which there are, what they are called, where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from pdl1quant.errors import Pdl1QuantError
from pdl1quant.figures.drawing import check_installed
from pdl1quant.figures.overlay import caption_of, draw_overlay_figure
from pdl1quant.figures.scores import draw_scores_figure
from pdl1quant.figures.threshold import draw_threshold_figure
from pdl1quant.figures.window import open_window
from pdl1quant.outputs.files import FIGURES_NAME, case_file_name
from pdl1quant.review import find_image, open_results
from pdl1quant.review.results import load_cells
from pdl1quant.stages.score import format_tps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pdl1quant.outputs.scores_table import ScoreRow
    from pdl1quant.review import ImageResult, Results

WINDOW_UM = 150.0
"""Side of the square of tissue that an overlay figure shows: about 20 tumour cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureJob:
    """What is asked for: of the results in ``out``, the images called so (none: all), at a place or the busiest."""

    out: Path
    names: Sequence[str] = ()
    folder: Path | None = None
    """Where the figures go; None: ``figures`` in the results."""
    images: Path | None = None
    """Where the images are now; None: where the run read them."""
    side_um: float = WINDOW_UM
    at_px: tuple[float, float] | None = None


def draw_figures(job: FigureJob, *, say: Callable[[str], None] = lambda _: None) -> tuple[list[Path], list[str]]:
    """Draw ``scores``, ``threshold/CASE`` and ``overlay/IMAGE``, each as PDF, SVG and PNG.

    The same results give the same bytes. An image that cannot be read costs its own figure only.

    Parameters
    ----------
    job
        What is asked for.
    say
        Is told of each figure in a line.

    Returns
    -------
    tuple of list
        The files written, and a line for each figure that could not be drawn.

    Raises
    ------
    UsageError
        No folder of results, no such image, none that was scored, or matplotlib is missing.
    OutputError
        A file cannot be written.
    """
    check_installed()
    results = open_results(job.out)
    folder = job.folder or job.out / FIGURES_NAME
    chosen = results.scored_images(job.names)
    paths: list[Path] = []
    problems: list[str] = []

    def note(drawn: Sequence[Path]) -> None:
        if drawn:
            paths.extend(drawn)
            say(f"{drawn[0].with_suffix('')}  ({', '.join(path.suffix[1:] for path in drawn)})")

    lines = _lines_pct(results)
    rows = [row for row in results.case_rows if row.level == "case"]
    note(draw_scores_figure(rows, folder / "scores", score_name=results.pack.score_name, lines_pct=lines))
    cases = dict.fromkeys(image.case for image in chosen)
    for row in results.case_rows:
        if row.case in cases and row.tps is not None:
            note(_threshold(results, row, folder))
    for image in chosen:
        try:
            note(_overlay(results, image, job, folder))
        except Pdl1QuantError as error:
            problems.append(str(error))
    return paths, problems


def _overlay(results: Results, image: ImageResult, job: FigureJob, folder: Path) -> tuple[Path, ...]:
    loaded = load_cells(results, image)
    compartment = results.pack.compartment
    window = open_window(
        find_image(results, image, folder=job.images),
        loaded.cells,
        out=results.out,
        stem=image.stem,
        image_id=image.sha256,
        compartment=compartment,
        side_um=job.side_um,
        at_px=job.at_px,
        mpp=results.given_mpp,
    )
    caption = caption_of(image.name, _score_text(results, image.row))
    return draw_overlay_figure(window, folder / "overlay" / image.stem, compartment=compartment, caption=caption)


def _threshold(results: Results, row: ScoreRow, folder: Path) -> tuple[Path, ...]:
    cells = pd.concat([load_cells(results, image).cells for image in results.of_case(row.case)], ignore_index=True)
    stem = folder / "threshold" / case_file_name(row.case)
    title = f"{row.case or 'All images'}: {_score_text(results, row)}"
    return draw_threshold_figure(cells, stem, config=results.config, pack=results.pack, title=title)


def _score_text(results: Results, row: ScoreRow) -> str:
    name = results.pack.score_name
    if row.tps is None or row.tps_low is None or row.tps_high is None:
        return f"{name}: not defined"
    return f"{name} {format_tps(row.tps)} % ({format_tps(row.tps_low)}-{format_tps(row.tps_high)})"


def _lines_pct(results: Results) -> tuple[float, ...]:
    """The cut-offs that were read, else the pack's reference lines."""
    if results.indication is None:
        return results.pack.reference_lines_pct
    return tuple(sorted({each.value for each in results.indication.cut_offs if each.score == "tps"}))
