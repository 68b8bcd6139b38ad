"""Whose a folder of results is: kept for one run at a time, cleared of what an earlier one left and of nothing else.

Every file that pdl1quant writes carries its own mark (the word ``pdl1quant`` near its beginning or its end, as the
generator of GeoJSON, or the header of its tables in CSV). Files without it are of others, wherever they lie.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pdl1quant.errors import FullDiskError, OutputError, UsageError
from pdl1quant.outputs.files import (
    CRATE_NAME,
    ENDINGS,
    PARTIAL_PREFIX,
    PARTIAL_SUFFIX,
    REPORT_NAME,
    REVIEWED_NAME,
    RUN_RECORD_NAME,
    SCORES_NAME,
    SUFFIXES,
    partial_in,
    reason_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TOPS = (SCORES_NAME, REVIEWED_NAME, RUN_RECORD_NAME, CRATE_NAME, REPORT_NAME)
MARK = b"pdl1quant"
_GENERATOR = b'"generator":"pdl1quant'
_GENERATOR_WITHIN = 256
_SCORES_HEADER = b"level,image,case,status,error,"
_CELLS_HEADER = b"image,case,label,"
_LABELS_HEADER = b"image,x_px,y_px,cell_class,slide,uncertain_first\n"
PAIRS_HEADER = "column,level,image,case,region,reader,score"
STATISTICS_HEADER = "column,compared,first,second,measure"
"""What the tables of a comparison with readers begin with."""
_TABLE_HEADERS = (
    _SCORES_HEADER,
    _CELLS_HEADER,
    _LABELS_HEADER,
    PAIRS_HEADER.encode(),
    STATISTICS_HEADER.encode(),
)
_MARK_WITHIN = 1 << 16  # bytes from either end: above any Parquet footer or TIFF header written here


@contextmanager
def claim_output(
    out: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    inputs: Iterable[Path] = (),
    names: Iterable[PurePath | str] = (),
) -> Iterator[None]:
    """Make the folder ``out``, and in this block keep it for a run that may write into it.

    It is free again however the process ends. Where the system cannot lock folders (Windows, some shares), no other run
    is kept out.

    Parameters
    ----------
    out
        Folder for the results; made when missing.
    overwrite
        Remove the results that an earlier run of pdl1quant left in ``out``. Other files are never touched.
    resume
        Keep them.
    inputs
        Files and folders that are going to be read; ``out`` may be none of them, nor inside, nor above one.
    names
        Names of the images whose results are going to be written (`pdl1quant.outputs.files.result_path`).

    Raises
    ------
    UsageError
        ``out`` is a file, overlaps the inputs, another run holds it, or it is not empty and neither ``overwrite`` nor
        ``resume`` was said.
    OutputError
        ``out`` cannot be written to, or a file that pdl1quant did not write lies where a result of ``names``, or of
        the run as a whole, goes. Elsewhere it is left alone, also in the folders of results.
    """
    if overwrite and resume:
        raise UsageError("--overwrite and --resume exclude each other; give one of them")
    _refuse_overlap(out, inputs)
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; the results need a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        next(out.iterdir(), None)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made or read ({reason_of(error)}); choose another folder") from error
    with _locked(out):
        if not (overwrite or resume) and any(out.iterdir()):
            raise UsageError(f"{out}: is not empty; choose a new folder, or pass --overwrite or --resume")
        _probe(out)
        ours, foreign = _sorted_by_origin(out)
        ways = {PurePath(name).as_posix() for name in names}
        for path in foreign:
            if _is_in_the_way(path.relative_to(out), ways):
                raise foreign_error(path)
        _remove([path for path in ours if overwrite or path.name.endswith(PARTIAL_SUFFIX)], out)
        try:
            yield
        except FullDiskError:  # what workers that were stopped had begun takes room, and is of no use
            _remove([path for path in _at_result_places(out) if path.name.endswith(PARTIAL_SUFFIX)], out)
            raise


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep others out of a folder in this block, where the system can."""
    try:
        import fcntl  # noqa: PLC0415  not on every system
    except ImportError:
        yield
        return
    folder = os.open(out, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"{out}: another run is writing into it; wait until it has ended, or choose another folder"
                raise UsageError(message) from None
        yield
    finally:
        os.close(folder)


def refuse_foreign(path: Path) -> None:
    """Refuse to write to ``path`` where a file of others lies there.

    Raises
    ------
    OutputError
        There is something that pdl1quant did not write.
    """
    if (path.exists() or path.is_symlink()) and not is_result(path):
        raise foreign_error(path)


def foreign_error(path: Path) -> OutputError:
    """What to raise where a file of others lies at the place of a result: it is neither overwritten nor removed."""
    return OutputError(f"{path}: lies where a result goes, but pdl1quant did not write it; move or rename it")


def _is_in_the_way(path: PurePath, names: set[str]) -> bool:
    """Whether a file, relative to the folder of results, has the place of a result of ``names`` or of the run."""
    kind, *rest = path.parts
    if not rest:
        return True
    if kind not in SUFFIXES:  # what is made of results looks itself, or goes elsewhere
        return False
    inside = PurePath(*rest).as_posix()
    return any(inside.endswith(ending) and inside.removesuffix(ending) in names for ending in ENDINGS[kind])


def is_result(path: Path) -> bool:
    """Whether pdl1quant wrote the file at ``path``; decided by its mark, not by its name.

    The mark of GeoJSON is that it says so itself: a person may have written our name into an annotation.
    """
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_MARK_WITHIN)
        if path.suffix == ".csv":
            return start.startswith(_TABLE_HEADERS)
        if path.suffix == ".geojson":
            return _GENERATOR in start[:_GENERATOR_WITHIN]
        file.seek(max(0, path.stat().st_size - _MARK_WITHIN))
        return MARK in start or MARK in file.read()


def _refuse_overlap(out: Path, inputs: Iterable[Path]) -> None:
    resolved = Path(os.path.realpath(out))  # Path.resolve ends in a traceback at a link that points to itself
    for given in inputs:
        source = Path(os.path.realpath(given))
        if resolved == source:
            raise UsageError(f"{out}: is an input as well; choose another folder for the results")
        if source.is_dir() and resolved.is_relative_to(source):
            raise UsageError(f"{out}: lies inside the input {given}; choose a folder outside it")
        if source.is_relative_to(resolved):
            raise UsageError(f"{out}: holds the input {given}; choose a folder of its own")


def _probe(out: Path) -> None:
    probe = partial_in(out)
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{out}: cannot be written to ({reason_of(error)}); choose another folder") from error


def _sorted_by_origin(out: Path) -> tuple[list[Path], list[Path]]:
    """Files at the places of results: those of pdl1quant, and those of others."""
    ours: list[Path] = []
    foreign: list[Path] = []
    try:
        for path in _at_result_places(out):
            (ours if path.name.endswith(PARTIAL_SUFFIX) or is_result(path) else foreign).append(path)
    except OSError as error:
        raise OutputError(f"{out}: cannot be read ({reason_of(error)}); choose another folder") from error
    return ours, foreign


def _at_result_places(out: Path) -> Iterator[Path]:
    tops = [
        *(out / name for name in _TOPS),
        *sorted(out.glob(f"{PARTIAL_PREFIX}*{PARTIAL_SUFFIX}")),
    ]
    yield from (path for path in tops if path.exists() or path.is_symlink())
    for kind, endings in ENDINGS.items():
        if (out / kind).is_symlink():
            continue
        for folder, _, names in os.walk(out / kind):
            for name in sorted(names):
                is_partial = name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX)
                if is_partial or name.endswith(endings):
                    yield Path(folder, name)


def _remove(paths: Iterable[Path], out: Path) -> None:
    folders: set[Path] = set()
    try:
        for path in paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            folders |= {parent for parent in path.parents if parent.is_relative_to(out) and parent != out}
    except OSError as error:
        raise OutputError(f"{out}: an earlier result cannot be removed ({reason_of(error)})") from error
    for folder in sorted(folders, reverse=True):  # a folder sorts after its parent
        with suppress(OSError):  # still holds files of others
            folder.rmdir()
