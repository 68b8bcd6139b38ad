"""The command line: each command parses, calls one function and prints.

Heavy packages are imported where they are used, so that ``--help`` answers at once.
"""

from __future__ import annotations

import gc
import io
import json
import math
import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

from pdl1quant.cli_exports import OUTPUT_FOLDER, compare, export, figures
from pdl1quant.cli_review import report, rescore, review, review_case, review_import
from pdl1quant.errors import Pdl1QuantError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel

    from pdl1quant.config import Config

EXIT_OK = 0
EXIT_SOME_FAILED = 1
EXIT_WRONG_USAGE = 2
EXIT_INTERRUPTED = 130

FREQUENT_SETTINGS = (
    "positivity.dab_od",
    "stains.vectors",
    "nuclei.segmenter",
    "nuclei.min_area_um2",
    "cells.membrane_width_um",
)
"""Settings with an option of their own; ``--set`` reaches all."""

ORDER = (
    "score", "inspect", "report", "compare", "figures", "export", "review", "review-import", "review-case", "rescore",
    "train", "verify", "assays", "config",
)  # fmt: skip
"""Commands as ``pdl1quant --help`` lists them."""

WORKER_GB = 1.0
"""What a worker takes at most on slides, and on fields of 5 Mpx; larger fields take more."""
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Workers share the processor, and sums do not depend on how many threads made them."""

_EXISTING = click.Path(exists=True, path_type=Path)
_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 all scored, 1 some images not, 2 wrong usage, 130 interrupted."""
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what no encoding has
        sys.stdout.reconfigure(errors="replace")
    try:
        code = cli.main(args=arguments, prog_name="pdl1quant", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _complain(f"stopped by the keyboard; {_how_to_go_on(sys.argv[1:] if arguments is None else arguments)}")
        sys.exit(EXIT_INTERRUPTED)
    except UsageError as error:
        _complain(str(error))
        sys.exit(EXIT_WRONG_USAGE)
    except Pdl1QuantError as error:
        _complain(str(error))
        sys.exit(EXIT_SOME_FAILED)
    except OSError as error:
        _complain(f"{error.filename or 'input or output'}: {error.strerror or error}; mend it and run again")
        sys.exit(EXIT_SOME_FAILED)
    sys.exit(code if isinstance(code, int) else EXIT_OK)


def _how_to_go_on(arguments: Sequence[str]) -> str:
    """What to do after a stop: only `score` goes on where it was, and `verify` takes no folder that holds something."""
    if "verify" in arguments[:1] and any(each.startswith(("-o", "--output")) for each in arguments):
        return "no file is half-written: run it again with a new folder"
    if "score" not in arguments[:1]:
        return "no file is half-written: run the same command again"
    how = "in place of --overwrite " if "--overwrite" in arguments else ""
    return f"what is written is whole: run the same command with --resume {how}to go on"


def _complain(message: str) -> None:
    click.echo(f"pdl1quant: {' '.join(message.split())}", err=True)


# --- values ----------------------------------------------------------------------------------------------------------
def _parse_white(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, float, float] | None:
    if value is None:
        return None
    try:
        red, green, blue = (float(part) for part in value.split(","))
    except ValueError:
        message = f"{value!r}: write three numbers with commas between them, for example 243,241,238"
        raise click.BadParameter(message, ctx=ctx, param=param) from None
    if not all(128 <= level <= 255 for level in (red, green, blue)):
        message = f"{value!r}: the level of empty glass lies between 128 and 255 in each channel"
        raise click.BadParameter(message, ctx=ctx, param=param)
    return red, green, blue


def _parse_mpp(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        mpp = float(value)
    except ValueError:
        message = f"{value!r}: write a number with a decimal point, for example 0.5"
        raise click.BadParameter(message, ctx=ctx, param=param) from None
    if not (math.isfinite(mpp) and 0.1 <= mpp <= 2):
        raise click.BadParameter(f"{mpp:g} is not between 0.1 and 2 um per pixel", ctx=ctx, param=param)
    return mpp


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _usual_workers() -> int:
    """A process for each processor; fewer where memory would not do, beside 1 GB for the rest."""
    try:
        memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (AttributeError, OSError, ValueError):  # Windows, and systems that do not tell
        return _usable_cpus()
    return max(1, min(_usable_cpus(), int(memory_gb / WORKER_GB) - 1))


@cache
def _setting_options() -> tuple[click.Option, ...]:
    """An option for each frequent setting, from its type and description in the configuration."""
    from pdl1quant.config import Config  # noqa: PLC0415  pydantic is slow to import

    options = []
    for name in FREQUENT_SETTINGS:
        section, key = name.split(".")
        model: type[BaseModel] = type(getattr(Config(), section))
        info = model.model_fields[key]
        kind: click.ParamType[Any] = click.FLOAT
        if get_origin(info.annotation) is Literal:
            kind = click.Choice([str(choice) for choice in get_args(info.annotation)])
        meaning = " ".join((info.description or "").replace("``", "").split())
        flag = "--" + name.replace(".", "-").replace("_", "-")
        options.append(click.Option([flag, _parameter(name)], type=kind, help=f"{meaning}  [default: {info.default}]"))
    return tuple(options)


def _parameter(name: str) -> str:
    return name.replace(".", "__")


class _ScoreCommand(click.Command):
    """A command with an option for each frequent setting, made only when its options are asked for."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*self.params, *_setting_options(), *super().get_params(ctx)[len(self.params) :]]


def _with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--config`` and ``--set``."""
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Change one setting, for example nuclei.min_area_um2=20; may be given often.",
    )(command)
    return click.option("--config", "config_file", type=_EXISTING_FILE, help="Settings as TOML; see `config show`.")(
        command
    )


def _load(config_file: Path | None, overrides: Sequence[str]) -> Config:
    from pdl1quant.config import load_config  # noqa: PLC0415  pydantic is slow to import

    return load_config(config_file, overrides)


# --- commands --------------------------------------------------------------------------------------------------------
class _InOrderOfUse(click.Group):
    """Commands are listed in the order in which a person comes to need them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


@click.group(cls=_InOrderOfUse, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="pdl1quant", message="%(prog)s %(version)s")
def cli() -> None:
    """Measure PD-L1 on immunohistochemistry images. Research use only.

    Start with: pdl1quant score FOLDER -o RESULT --mpp 0.5
    """


@cli.command(cls=_ScoreCommand, short_help="Score images or folders of images.")
@click.argument("paths", nargs=-1, required=True, type=_EXISTING, metavar="PATH...")
@click.option("-o", "--output", required=True, type=OUTPUT_FOLDER, help="Folder for the results.")
@click.option(
    "--mpp",
    callback=_parse_mpp,
    metavar="UM",
    help="Pixel size in um per pixel, 0.1 to 2; overrides the files' own (20x is about 0.5).",
)
@click.option("--assay", default="28-8-cytoplasm", show_default=True, help="Rule pack; see `assays`.")
@click.option("--indication", help="Disease whose cut-offs are read; see `assays`.")
@click.option(
    "--white", callback=_parse_white, metavar="R,G,B", help="Level of empty glass, where the images show none."
)
@_with_config
@click.option(
    "--classifier",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder made by `train`: what says which cell is tumour.",
)
@click.option("--roi", type=_EXISTING, help="Drawn regions: a GeoJSON file, or a folder with <image>.geojson.")
@click.option("--tma", is_flag=True, help="Slides are tissue microarrays: find the cores, score each.")
@click.option("--tma-map", type=_EXISTING_FILE, help="CSV with columns core (A-1) and case: whose each core is.")
@click.option(
    "--negative-control",
    "negative_controls",
    multiple=True,
    type=_EXISTING,
    metavar="PATH",
    help="Negative-reagent images, slides or folders, of no case: their fields give the limit of blank; may be given "
    "often.",
)
@click.option("--cases", type=_EXISTING_FILE, help="CSV with columns image, case and any others to carry along.")
@click.option("--labels", is_flag=True, help="Write label images too.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=_usual_workers,
    show_default="processors, as far as there is 1 GB of memory for each",
    help="Images worked on at a time; does not change any number.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only print errors.")
@click.option("--overwrite", is_flag=True, help="Replace the earlier results in the output folder.")
@click.option("--resume", is_flag=True, help="Go on where an earlier run stopped.")
def score(paths: tuple[Path, ...], *, config_file: Path | None, overrides: tuple[str, ...], **options: Any) -> int:
    """Score images or folders of images; the images of one folder are one case."""
    if options["overwrite"] and options["resume"]:
        raise click.UsageError("--overwrite and --resume exclude each other.")
    frequent = [
        f"{name}={options[_parameter(name)]}" for name in FREQUENT_SETTINGS if options[_parameter(name)] is not None
    ]
    if options["classifier"] is not None:
        frequent.append(f"cells.classifier={json.dumps(str(options['classifier']))}")
    config = _load(config_file, [*frequent, *overrides])

    gc.disable()  # of what is imported nothing is garbage, and to look at all of it again and again takes time
    from pdl1quant import batch, console  # noqa: PLC0415  the science is slow to import

    gc.freeze()
    gc.enable()
    pack, indication = batch.find_rules(options["assay"], options["indication"])
    job = batch.Job(
        paths=paths,
        output=options["output"],
        config=config,
        pack=pack,
        indication=indication,
        mpp=options["mpp"],
        white=options["white"],
        roi=options["roi"],
        cases=options["cases"],
        keep_labels=options["labels"],
        is_array=options["tma"],
        core_map=options["tma_map"],
        negative_controls=options["negative_controls"],
        workers=options["workers"],
        overwrite=options["overwrite"],
        resume=options["resume"],
    )
    with console.Terminal(quiet=options["quiet"]) as terminal:
        summary = batch.run(job, listener=terminal)
    return EXIT_SOME_FAILED if summary.n_unscored else EXIT_OK


@cli.command(short_help="Fit a classifier on cells that a person named.")
@click.argument("results", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="[OUT]...")
@click.option(
    "--labels",
    "label_files",
    multiple=True,
    type=_EXISTING_FILE,
    help="CSV or Parquet with columns image, x_px, y_px, cell_class, and slide if known; may be given often.",
)
@click.option("-o", "--output", required=True, type=OUTPUT_FOLDER, help="Folder for the classifier; its name.")
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that labels name images from.  [default: that of the labels]",
)
@click.option(
    "--mpp", callback=_parse_mpp, metavar="UM", help="Pixel size of the images in um per pixel, as for `score`."
)
@click.option("--white", callback=_parse_white, metavar="R,G,B", help="Level of empty glass, as for `score`.")
@click.option("--licence", default="not stated", show_default=True, help="Licence of the classifier, for its card.")
@_with_config
@click.option("-q", "--quiet", is_flag=True, help="Only print errors.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier classifier in the output folder.")
def train(
    results: tuple[Path, ...],
    label_files: tuple[Path, ...],
    *,
    config_file: Path | None,
    overrides: tuple[str, ...],
    **options: Any,
) -> None:
    """Fit a classifier, for `score --classifier`, on what a review of results OUT called cells, or on --labels."""
    if not results and not label_files:
        raise click.UsageError("Give the folder of reviewed results, or --labels.")
    settings = _load(config_file, overrides)

    from pdl1quant import training  # noqa: PLC0415  the science is slow to import
    from pdl1quant.review import mpp_of_runs, write_review_labels  # noqa: PLC0415

    label_files += tuple(write_review_labels(out, images=options["images"]) for out in results)
    options["mpp"] = options["mpp"] or mpp_of_runs(results)

    quiet = options.pop("quiet")
    job = training.TrainingJob(labels=label_files, config=settings, **options)
    training.train(job, say=(lambda _: None) if quiet else click.echo)


cli.add_command(review)
cli.add_command(report)
cli.add_command(rescore)
cli.add_command(review_case)
cli.add_command(review_import)
cli.add_command(compare)
cli.add_command(figures)
cli.add_command(export)


@cli.group()
def config() -> None:
    """Look at the settings."""


@config.command()
@_with_config
def show(config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Print all settings as TOML, each with its meaning; save it and give it to --config."""
    settings = _load(config_file, overrides)

    from pdl1quant.config import config_toml  # noqa: PLC0415  pydantic is slow to import

    click.echo(config_toml(settings), nl=False)


@cli.command()
def assays() -> None:
    """List the rule packs and their indications."""
    from pdl1quant import console  # noqa: PLC0415  numpy is slow to import

    click.echo(console.assay_list())


@cli.command(short_help="Say what an image is and what scoring would take.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--mpp", callback=_parse_mpp, metavar="UM", help="Pixel size of level 0 in um, as for `score`.")
@_with_config
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of text.")
def inspect(
    paths: tuple[Path, ...],
    *,
    mpp: float | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Say what slides or images are: format, levels, pixel size, stains, tissue; what scoring would take."""
    settings = _load(config_file, overrides)

    from pdl1quant import console_inspect  # noqa: PLC0415  the science is slow to import

    n_unread = console_inspect.inspect_all(paths, config=settings, mpp=mpp, as_json=as_json)
    return EXIT_SOME_FAILED if n_unread else EXIT_OK


@cli.command(short_help="Check that this installation measures right.")
@click.option("-o", "--output", type=OUTPUT_FOLDER, help="New folder for the fields, their truth and a record.")
@_with_config
@click.option("-q", "--quiet", is_flag=True, help="Only print errors.")
def verify(output: Path | None, *, config_file: Path | None, overrides: tuple[str, ...], quiet: bool) -> int:
    """Check that this installation measures as it was released, on rendered fields of known truth (a minute)."""
    settings = _load(config_file, overrides)

    from pdl1quant.validation.installation import verify as verify_installation  # noqa: PLC0415  slow to import

    passed = verify_installation(settings, output=output, say=(lambda _: None) if quiet else click.echo)
    if not passed:
        how = "run it without --quiet to see which" if quiet else "see the lines above"
        _complain(f"not all fields are as they should be; {how}")
    return EXIT_OK if passed else EXIT_SOME_FAILED
