"""Where a report is written: ``report.html``, and for a cohort a page per case in ``report/`` beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdl1quant.outputs.claims import is_result, refuse_foreign
from pdl1quant.outputs.files import ENDINGS, REPORT_NAME, REPORTS_NAME, replace_atomically, replace_together
from pdl1quant.report.controls import control_panel
from pdl1quant.report.gather import load_case, open_run
from pdl1quant.report.page import case_page, cohort_page
from pdl1quant.report.sheet import sheet_of
from pdl1quant.report.shown import TilePlace
from pdl1quant.report.viewer import MAX_CELLS, MAX_SHEET_LENGTH, show_case

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.report.controls import ControlPanel
    from pdl1quant.report.gather import ReportRun

_PAGE = ".html"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LENGTH = 60
_PICTURES_LENGTH = 35_000_000
"""Characters of all pictures in the page of a cohort: 500 cases with their drawings stay below 60 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written: the report, and the pages of its cases (none for a case alone, which is in the report)."""

    report: Path
    pages: tuple[Path, ...]
    outdated: str = ""
    """What to say of a comparison with readers in the folder that is of other scores; empty without one."""


def write_report(out: Path, *, images: Path | None = None, tiles: bool = False) -> Written:
    """Write the report of a finished run into its folder; an earlier one is replaced, once the new one is whole.

    A case alone is one file. Of several cases ``report.html`` holds the table and a sheet per case, and each case has
    a page of its own in ``report/``. The same folder and images give the same bytes.

    Parameters
    ----------
    out
        The folder of the run.
    images
        Where the images are now, if they moved. Images that are not found are shown as the run drew them.
    tiles
        Whole slides at the pixel size that was measured, in tiles beside the pages; and every cell of the run can be
        clicked on, however large its page becomes.

    Raises
    ------
    UsageError
        ``out`` is no folder of results.
    ReviewError
        Another version of pdl1quant made them.
    OutputError
        A result is damaged, or the report cannot be written.
    """
    run = open_run(out, images=images)
    with replace_together():
        written = _write_all(run, out, tiles=tiles)
        _remove_pages(out)
    return replace(written, outdated=run.outdated)


def _write_all(run: ReportRun, out: Path, *, tiles: bool) -> Written:
    control = control_panel(run)
    max_cells = None if tiles else MAX_CELLS
    if len(run.case_rows) == 1:
        case = load_case(run, run.case_rows[0])
        place = TilePlace(folder=out / REPORTS_NAME / "0001", address=f"{REPORTS_NAME}/0001") if tiles else None
        sheet = sheet_of(run, case, show_case(run, case, max_cells=max_cells, tiles=place), number=1)
        return Written(
            report=_write(out / REPORT_NAME, case_page(run, sheet, controls=_of_case(run, case.row.case, control))),
            pages=(),
        )
    names = [page_name(row.case, number) for number, row in enumerate(run.case_rows, start=1)]
    array_pages = {
        image.image: name
        for row, name in zip(run.case_rows, names, strict=True)
        for image in run.image_rows
        if row.level == "array" and image.case == row.case
    }
    sheets, pages = [], []
    room = min(MAX_SHEET_LENGTH, _PICTURES_LENGTH // max(1, len(run.case_rows)))
    for number, (row, name) in enumerate(zip(run.case_rows, names, strict=True), start=1):
        case = load_case(run, row)
        stem = name.removesuffix(_PAGE)
        place = TilePlace(folder=out / REPORTS_NAME / stem, address=stem) if tiles else None
        shown = show_case(run, case, max_cells=max_cells, max_sheet_length=room, tiles=place)
        sheet = sheet_of(run, case, shown, number=number, page=f"{REPORTS_NAME}/{name}", array_pages=array_pages)
        pages.append(
            _write(
                out / REPORTS_NAME / name,
                case_page(run, sheet, controls=_of_case(run, row.case, control), home=f"../{REPORT_NAME}"),
            )
        )
        sheets.append(sheet.without_viewer())
    return Written(report=_write(out / REPORT_NAME, cohort_page(run, sheets, control=control)), pages=tuple(pages))


def _of_case(run: ReportRun, case: str, control: ControlPanel | None) -> list[ControlPanel]:
    """What the page of a case shows of negative controls: its own, and those of all."""
    own = control_panel(run, case) if case else None
    return [panel for panel in (own, control) if panel is not None]


def page_name(case: str, number: int) -> str:
    """File name of a case's page: its number, and of its name what is harmless in every file system."""
    plain = _UNSAFE.sub("_", case).strip("._")[:_NAME_LENGTH]
    return f"{number:04d}_{plain}{_PAGE}" if plain else f"{number:04d}{_PAGE}"


def _remove_pages(out: Path) -> None:
    """Pages and tiles of an earlier report: cases may have other names now."""
    folder = out / REPORTS_NAME
    for path in (*sorted(folder.rglob("*"), reverse=True), folder):  # a folder after what is in it
        if path.name.endswith(ENDINGS[REPORTS_NAME]) and is_result(path):
            path.unlink()
        elif path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()


def _write(path: Path, html: str) -> Path:
    refuse_foreign(path)
    with replace_atomically(path) as partial:
        partial.write_bytes(html.encode("utf-8", errors="backslashreplace"))
    return path
