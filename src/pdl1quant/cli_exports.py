"""Commands that make something of finished results: figures, exports, a comparison with readers.

Each parses, calls one function and prints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class _OutputFolder(click.Path):
    """A folder to write into; an empty name, as of a variable that is not set, would be the folder that one is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty name; give the folder for the results", param, ctx)
        return super().convert(value, param, ctx)


OUTPUT_FOLDER = _OutputFolder(path_type=Path)
_RESULTS = click.Path(exists=True, file_okay=False, path_type=Path)
_FOLDER = _OutputFolder(file_okay=False, path_type=Path)
_EXIT_SOME_FAILED = 1


@click.command(short_help="Draw figures for papers: PDF, SVG and PNG.")
@click.argument("out", type=_RESULTS, metavar="OUT")
@click.option("-o", "--output", "folder", type=_FOLDER, help="Folder for the figures.  [default: OUT/figures]")
@click.option("--image", "names", multiple=True, help="Draw this image and its case only; may be given often.")
@click.option("--images", type=_RESULTS, help="Folder the images moved to.  [default: where the run read them]")
@click.option(
    "--width-um",
    "side_um",
    type=click.FloatRange(20, 2000),
    default=150.0,
    show_default=True,
    help="Side of the square of tissue shown.",
)
@click.option(
    "--at",
    "at_px",
    nargs=2,
    type=float,
    metavar="X Y",
    help="Middle of that square in pixels of the image.  [default: where positive and negative cells lie together]",
)
@click.option("-q", "--quiet", is_flag=True, help="Only print errors.")
def figures(
    out: Path,
    *,
    folder: Path | None,
    names: tuple[str, ...],
    images: Path | None,
    side_um: float,
    at_px: tuple[float, float] | None,
    quiet: bool,
) -> int:
    """Draw figures for papers from results OUT, as PDF, SVG and PNG: scores, thresholds, tissue with its cells."""
    from pdl1quant.figures import FigureJob, draw_figures  # noqa: PLC0415  the science is slow to import

    job = FigureJob(out=out, names=names, folder=folder, images=images, side_um=side_um, at_px=at_px)
    _, problems = draw_figures(job, say=(lambda _: None) if quiet else click.echo)
    for problem in problems:
        click.echo(f"pdl1quant: {problem}", err=True)
    return _EXIT_SOME_FAILED if problems else 0


@click.command(short_help="Give the cells to spreadsheets, scanpy, DICOM viewers.")
@click.argument("out", type=_RESULTS, metavar="OUT")
@click.option("--to", required=True, type=click.Choice(["csv", "anndata", "dicom-seg", "ro-crate"]), help="Format.")
@click.option("-o", "--output", "folder", type=_FOLDER, help="Folder for the files.  [default: OUT/exports]")
@click.option("--image", "names", multiple=True, help="Export this image only; may be given often.")
@click.option("--images", type=_RESULTS, help="Folder the images moved to, for dicom-seg.")
@click.option("--reviewed", is_flag=True, help="Put what the review made of each cell beside it (csv, anndata).")
@click.option("-q", "--quiet", is_flag=True, help="Only print errors.")
def export(
    out: Path,
    *,
    to: str,
    folder: Path | None,
    names: tuple[str, ...],
    images: Path | None,
    reviewed: bool,
    quiet: bool,
) -> int:
    """Give the cells of results OUT to other programs: spreadsheets, scanpy, DICOM viewers, archives."""
    from pdl1quant.exports import ExportJob, export_results  # noqa: PLC0415  the science is slow to import

    job = ExportJob(out=out, to=to, names=names, folder=folder, images=images, reviewed=reviewed)
    _, problems = export_results(job, say=(lambda _: None) if quiet else click.echo)
    for problem in problems:
        click.echo(f"pdl1quant: {problem}", err=True)
    return _EXIT_SOME_FAILED if problems else 0


@click.command(short_help="Say how far scores and readers agree.")
@click.argument("out", type=_RESULTS, metavar="OUT")
@click.option(
    "--readers",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="CSV or Parquet: columns name, reader, score (and column: tps, cps, ...); or name and a column per reader.",
)
@click.option("-o", "--output", "folder", type=_FOLDER, help="Folder for page and tables.  [default: OUT/agreement]")
@click.option(
    "--level",
    type=click.Choice(["case", "image", "core", "roi"]),
    help="What the names are of.  [default: the one whose names fit]",
)
@click.option("--column", metavar="NAME", help="Score that was read, where FILE does not say: tps, cps, ic ...")
@click.option(
    "--cut-off",
    "cut_offs",
    multiple=True,
    type=float,
    metavar="VALUE",
    help="Compare at this value; may be given often.  [default: lines of the rule pack, cut-offs of the indication]",
)
@click.option(
    "--scores",
    type=click.Choice(["automated", "reviewed", "both"]),
    default="automated",
    show_default=True,
    help="As the program scored, as reviews made them (after rescore), or both on the same cases.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only print errors.")
def compare(
    out: Path,
    *,
    readers: Path,
    folder: Path | None,
    level: str | None,
    column: str | None,
    cut_offs: tuple[float, ...],
    scores: str,
    quiet: bool,
) -> None:
    """Say how far the scores of results OUT agree with those of readers, and the readers with one another."""
    from pdl1quant.agreement import AgreementJob, compare_readers  # noqa: PLC0415  the science is slow to import

    job = AgreementJob(
        out=out, readers=readers, folder=folder, level=level, column=column, cut_offs=cut_offs, scores=scores
    )
    compare_readers(job, say=(lambda _: None) if quiet else click.echo)
