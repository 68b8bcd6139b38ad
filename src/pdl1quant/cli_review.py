"""Commands over results: each parses, calls one function and prints."""

from __future__ import annotations

from pathlib import Path

import click

from pdl1quant.errors import UsageError

_RESULTS = click.Path(exists=True, file_okay=False, path_type=Path)
_EXIT_SOME_FAILED = 1


@click.command(short_help="Look at results in napari and correct cells.")
@click.argument("out", type=_RESULTS, metavar="OUT")
@click.argument("image", required=False, metavar="[IMAGE]")
@click.option("--images", type=_RESULTS, help="Folder that the images moved to; they are known by their hash.")
@click.option("--reviewer", default="", help="Your name, as the ledger is to have it.")
@click.option("--blind", is_flag=True, help="Hide what the machine found until your own score is given.")
def review(out: Path, image: str | None, *, images: Path | None, reviewer: str, blind: bool) -> None:
    """Open results in napari, over their slide: look, correct, recount (extra `napari`)."""
    try:
        from pdl1quant.napari.opening import review_in_viewer  # noqa: PLC0415  slow to import, and an extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "pdl1quant":
            raise
        raise UsageError(f"review: needs {error.name}; run pip install 'pdl1quant[napari]'") from error

    review_in_viewer(out, image=image, folder=images, reviewer=reviewer, blind=blind)


@click.command(short_help="Recount after a review: scores_reviewed.csv.")
@click.argument("out", type=_RESULTS, metavar="OUT")
@click.option("-q", "--quiet", is_flag=True, help="Only print errors.")
def rescore(out: Path, *, quiet: bool) -> int:
    """Recount results from their edits: writes OUT/scores_reviewed.csv, automated and reviewed side by side."""
    from pdl1quant.review import rescore as recount  # noqa: PLC0415  the science is slow to import

    done = recount(out, say=(lambda _: None) if quiet else click.echo)
    for problem in done.problems:
        click.echo(f"pdl1quant: {problem}", err=True)
    return _EXIT_SOME_FAILED if done.n_failed else 0


@click.command(short_help="Write the report anew.")
@click.argument("out", type=_RESULTS, metavar="OUT")
@click.option("--images", type=_RESULTS, metavar="FOLDER", help="Where the images are now, if they moved.")
@click.option("--tiles", is_flag=True, help="Whole slides in full, in tiles beside the pages; every cell on them.")
def report(out: Path, *, images: Path | None, tiles: bool) -> None:
    """Write OUT/report.html anew: after a review, or when the images moved."""
    from pdl1quant.report import write_report  # noqa: PLC0415  the science is slow to import

    written = write_report(out, images=images, tiles=tiles)
    more = f" and {len(written.pages):,} pages of cases beside it" if written.pages else ""
    click.echo(f"{written.report}{more}")
    if written.outdated:
        click.echo(f"pdl1quant: {written.outdated}", err=True)


@click.command("review-case", short_help="Sign, lock or amend the review of a case.")
@click.argument("out", type=_RESULTS, metavar="OUT")
@click.argument("case", metavar="CASE")
@click.argument("act", type=click.Choice(["sign", "lock", "amend"]), metavar="sign|lock|amend")
@click.option("--reviewer", required=True, help="Who says so; stands in the ledger.")
@click.option("--reason", default="", help="Why a locked case is opened again; needed to amend.")
def review_case(out: Path, case: str, act: str, *, reviewer: str, reason: str) -> None:
    """Sign, lock or amend the review of a case: a line in the ledger of each of its images."""
    from pdl1quant import review as reviews  # noqa: PLC0415  the science is slow to import

    results = reviews.open_results(out)
    opened = reviews.open_case(results, case)
    row = results.case_row(case)
    reviews.say_of_case(opened, reviews.EditKind(act), reviewer=reviewer, reason=reason)
    click.echo(f"{case}  {reviews.case_text(reviews.review_case(opened, row))}")


@click.command("review-import", short_help="Take over what was corrected in QuPath.")
@click.argument("out", type=_RESULTS, metavar="OUT")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="CORRECTED.geojson")
@click.option("--reviewer", required=True, help="Who made the corrections; stands in the ledger.")
@click.option("--image", help="Image that the file is of, where its cells do not tell.")
@click.option("--keep-missing", is_flag=True, help="The file holds a selection: leave cells that it lacks as they are.")
@click.option("--delete-missing", is_flag=True, help="Cells that the file lacks were deleted, however many.")
def review_import(
    out: Path, file: Path, *, reviewer: str, image: str | None, keep_missing: bool, delete_missing: bool
) -> None:
    """Take over what was corrected in QuPath: other classes, deleted and added cells become edits."""
    if keep_missing and delete_missing:
        raise click.UsageError("--keep-missing and --delete-missing exclude each other.")

    from pdl1quant.review import import_corrections  # noqa: PLC0415  the science is slow to import

    done = import_corrections(
        out, file, reviewer=reviewer, image=image, keep_missing=keep_missing, delete_missing=delete_missing
    )
    for line in (done.line, *done.notes):
        click.echo(line)
    click.echo(f"Recount: pdl1quant rescore {out}")
