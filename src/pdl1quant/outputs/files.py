"""Where results lie, and how they get there whole: written beside, flushed, renamed into place."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from pdl1quant.errors import FullDiskError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path, PurePath

SCORES_NAME = "scores.csv"
REVIEWED_NAME = "scores_reviewed.csv"
RUN_RECORD_NAME = "run.json"
PROGRESS_NAME = ".pdl1quant-progress.jsonl"
"""What a run has done so far."""
REPORT_NAME = "report.html"
REPORTS_NAME = "report"
FIGURES_NAME = "figures"
EXPORTS_NAME = "exports"
AGREEMENT_NAME = "agreement"
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
    AGREEMENT_NAME: (".html", ".csv"),
}
"""Folders of results, and of what is made of them and goes with them -> endings of their files."""

_NOT_IN_NAMES = re.compile(r"[^\w.-]+")
_CASE_NAME_LENGTH = 60
PARTIAL_PREFIX = ".pdl1quant-"
PARTIAL_SUFFIX = ".partial"
_TOGETHER: ContextVar[list[tuple[Path, Path]] | None] = ContextVar("together", default=None)
"""Files that `replace_together` is going to rename, where it is at work."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROBE_BYTES = 1 << 16


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
    partial = partial_in(path.parent)
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
        error = why_unwritable(path.parent) or error
    if error.errno in _FULL:
        return FullDiskError(f"{path}: cannot be written ({reason_of(error)}); make room on its disk")
    return OutputError(f"{path}: cannot be written ({reason_of(error)}); check the place and its space")


def why_unwritable(folder: Path) -> OSError | None:
    """Why nothing can be written into a folder; None where it can."""
    probe = partial_in(folder)
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
    folder = partial_in(out)
    with _explained(folder):
        folder.mkdir()
    try:
        yield folder
    finally:
        with suppress(OSError):  # at once: a process that still works in it would make it anew while it is removed
            folder = folder.rename(partial_in(out))
        shutil.rmtree(folder, ignore_errors=True)


def partial_in(folder: Path) -> Path:
    """A new name for what is not yet, or no more, a result."""
    return folder / f"{PARTIAL_PREFIX}{secrets.token_hex(8)}{PARTIAL_SUFFIX}"


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reason_of(error: OSError) -> str:
    """Why a file system refused, in its own words."""
    return error.strerror or str(error) or type(error).__name__
