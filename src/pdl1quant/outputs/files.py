"""Where results lie, and how they get there whole: written beside, flushed, renamed into place.

Every file that pdl1quant writes carries its own mark (the word ``pdl1quant`` near its beginning or its end, or the
header of its tables in CSV), so that a folder can be cleared of results without touching anything else in it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pdl1quant.errors import FullDiskError, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SCORES_NAME = "scores.csv"
REVIEWED_NAME = "scores_reviewed.csv"
RUN_RECORD_NAME = "run.json"
REPORT_NAME = "report.html"
REPORTS_NAME = "report"
FIGURES_NAME = "figures"
EXPORTS_NAME = "exports"
CRATE_NAME = "ro-crate-metadata.json"
SUFFIXES = {
    "cells": ".parquet",
    "overlays": ".png",
    "geojson": ".geojson",
    "labels": ".ome.tif",
    "maps": ".ome.tif",
    "artefacts": ".geojson",
    "regions": ".geojson",
}
"""Folder of each kind of result -> ending of its files."""
COMPRESSED = {"none": "", "gzip": ".gz", "zip": ".zip"}
"""Ways to compress ``geojson`` -> what is added to its ending."""
ENDINGS: dict[str, tuple[str, ...]] = {
    **{kind: (suffix,) for kind, suffix in SUFFIXES.items()},
    "geojson": tuple(SUFFIXES["geojson"] + added for added in COMPRESSED.values()),
    FIGURES_NAME: (".pdf", ".svg", ".png"),
    EXPORTS_NAME: (".csv", ".h5ad", ".dcm"),
    REPORTS_NAME: (".html", ".jpg"),
}
"""Folders of results, and of what is made of them and goes with them -> endings of their files."""

MARK = b"pdl1quant"
_SCORES_HEADER = b"level,image,case,status,error,"
_CELLS_HEADER = b"image,case,label,"
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")
_CASE_NAME_LENGTH = 60
_PARTIAL_PREFIX = ".pdl1quant-"
_PARTIAL_SUFFIX = ".partial"
_TOGETHER: ContextVar[list[tuple[Path, Path]] | None] = ContextVar("together", default=None)
"""Files that `replace_together` is going to rename, where it is at work."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROBE_BYTES = 1 << 16
_MARK_WITHIN = 1 << 16  # bytes from either end: above any Parquet footer or TIFF header written here


def result_path(out: Path, kind: str, name: PurePath | str, *, compression: str = "none") -> Path:
    """Path of one result: ``result_path(out, "cells", "case_1/tile_3")`` is ``out/cells/case_1/tile_3.parquet``.

    Parameters
    ----------
    out
        Folder of the run.
    kind
        A key of `SUFFIXES`.
    name
        Path of the image relative to the folder given, without its ending (or with it, where two would collide).
    compression
        A key of `COMPRESSED`.
    """
    path = out / kind / name
    return path.with_name(path.name + SUFFIXES[kind] + COMPRESSED[compression])


def case_file_name(case: str) -> str:
    """A name for the files of a case, whatever it is called; two cases never share one."""
    plain = _NOT_IN_NAMES.sub("_", case).strip("._")[:_CASE_NAME_LENGTH]
    if plain == case:
        return plain or "all"
    return f"{plain or 'all'}-{hashlib.sha256(case.encode(errors='surrogatepass')).hexdigest()[:8]}"


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` when the block ends well.

    Missing folders are made. The file is flushed to the disk before it is renamed (in a block of `replace_together`
    both happen at the end of that). When the block raises, the
    temporary file is removed and what was at ``path`` stays as it was.

    Parameters
    ----------
    path
        File to write or to replace.

    Yields
    ------
    Path
        File to write to; it does not exist yet.

    Raises
    ------
    FullDiskError
        The disk is full.
    OutputError
        The file system refuses otherwise (read-only, a folder is in the way).
    """
    partial = _partial_in(path.parent)
    together = _TOGETHER.get()
    try:
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            if together is not None:
                together.append((partial, path))
                return
            _flush(partial)
            partial.replace(path)
            with suppress(OSError):  # some file systems cannot flush a folder
                _flush(path.parent)
    finally:
        if not together or together[-1] != (partial, path):
            _discard(partial)


@contextmanager
def replace_together() -> Iterator[None]:
    """Let the files that `replace_atomically` gives in this block appear at its end; none of them when it raises.

    Small files are written much faster so: the disk is waited for once, not twice for each. When the power fails soon
    after, the last ones may be missing; none is damaged.

    Raises
    ------
    OutputError
        As in `replace_atomically`.
    """
    written: list[tuple[Path, Path]] = []
    token = _TOGETHER.set(written)
    try:
        yield
        for partial, path in written:
            with _explained(path):
                _flush(partial)
        for partial, path in written:
            with _explained(path):
                partial.replace(path)
    finally:
        _TOGETHER.reset(token)
        for partial, _ in written:
            _discard(partial)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> OutputError:
    """What to raise where a file system refused to write ``path``: a `FullDiskError` where that is why.

    Call it before anything is removed: numpy and others do not say why a file became too short, and it is tried again.
    """
    if error.errno is None:
        error = _probed(path.parent) or error
    if error.errno in _FULL:
        return FullDiskError(f"{path}: cannot be written ({_reason(error)}); make room on its disk")
    return OutputError(f"{path}: cannot be written ({_reason(error)}); check the place and its space")


def _probed(folder: Path) -> OSError | None:
    """Why nothing can be written into a folder; None where it can."""
    probe = _partial_in(folder)
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
    except OSError as error:
        return error
    finally:
        _discard(probe)
    return None


def _discard(partial: Path) -> None:
    with suppress(OSError):
        partial.unlink(missing_ok=True)


@contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """A folder in ``out`` for what a run needs only while it works; it is removed in the end, whatever happens.

    Raises
    ------
    OutputError
        The file system refuses.
    """
    folder = _partial_in(out)
    with _explained(folder):
        folder.mkdir()
    try:
        yield folder
    finally:
        with suppress(OSError):  # at once: a process that still works in it would make it anew while it is removed
            folder = folder.rename(_partial_in(out))
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def claim_output(
    out: Path, *, overwrite: bool = False, resume: bool = False, inputs: Iterable[Path] = ()
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

    Raises
    ------
    UsageError
        ``out`` is a file, overlaps the inputs, another run holds it, or it is not empty and neither ``overwrite`` nor
        ``resume`` was said.
    OutputError
        ``out`` cannot be written to, or a file that pdl1quant did not write lies where a result would go.
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
        raise OutputError(f"{out}: cannot be made or read ({_reason(error)}); choose another folder") from error
    with _locked(out):
        if not (overwrite or resume) and any(out.iterdir()):
            raise UsageError(f"{out}: is not empty; choose a new folder, or pass --overwrite or --resume")
        _probe(out)
        ours, foreign = _sorted_by_origin(out)
        if foreign:
            raise OutputError(f"{foreign[0]}: lies where results go, but pdl1quant did not write it; move it away")
        _remove([path for path in ours if overwrite or path.name.endswith(_PARTIAL_SUFFIX)], out)
        try:
            yield
        except FullDiskError:  # what workers that were stopped had begun takes room, and is of no use
            _remove([path for path in _at_result_places(out) if path.name.endswith(_PARTIAL_SUFFIX)], out)
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


def is_result(path: Path) -> bool:
    """Whether pdl1quant wrote the file at ``path``; decided by its mark, not by its name."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_MARK_WITHIN)
        if path.suffix == ".csv":
            return start.startswith((_SCORES_HEADER, _CELLS_HEADER))
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


def _partial_in(folder: Path) -> Path:
    """A new name for what is not yet, or no more, a result."""
    return folder / f"{_PARTIAL_PREFIX}{secrets.token_hex(8)}{_PARTIAL_SUFFIX}"


def _probe(out: Path) -> None:
    probe = _partial_in(out)
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{out}: cannot be written to ({_reason(error)}); choose another folder") from error


def _sorted_by_origin(out: Path) -> tuple[list[Path], list[Path]]:
    """Files at the places of results: those of pdl1quant, and those of others."""
    ours: list[Path] = []
    foreign: list[Path] = []
    try:
        for path in _at_result_places(out):
            (ours if path.name.endswith(_PARTIAL_SUFFIX) or is_result(path) else foreign).append(path)
    except OSError as error:
        raise OutputError(f"{out}: cannot be read ({_reason(error)}); choose another folder") from error
    return ours, foreign


def _at_result_places(out: Path) -> Iterator[Path]:
    tops = [
        out / SCORES_NAME,
        out / REVIEWED_NAME,
        out / RUN_RECORD_NAME,
        out / CRATE_NAME,
        out / REPORT_NAME,
        *sorted(out.glob(f"{_PARTIAL_PREFIX}*{_PARTIAL_SUFFIX}")),
    ]
    yield from (path for path in tops if path.exists() or path.is_symlink())
    for kind, endings in ENDINGS.items():
        if (out / kind).is_symlink():
            continue
        for folder, _, names in os.walk(out / kind):
            for name in sorted(names):
                is_partial = name.startswith(_PARTIAL_PREFIX) and name.endswith(_PARTIAL_SUFFIX)
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
        raise OutputError(f"{out}: an earlier result cannot be removed ({_reason(error)})") from error
    for folder in sorted(folders, reverse=True):  # a folder sorts after its parent
        with suppress(OSError):  # still holds files of others
            folder.rmdir()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
