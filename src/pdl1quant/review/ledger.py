"""The ledger of edits of one image: JSON lines, each appended and flushed to the disk as the edit happens.

The first line says which results the edits are for. A crash loses at most the last edit: a line without an end that is
no whole edit is set aside into a file beside the ledger when the next edit is written, and reported until then.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from pdl1quant import __version__
from pdl1quant.errors import OutputError, ReviewError
from pdl1quant.outputs.tables import SCHEMA as CELLS_SCHEMA
from pdl1quant.review.edits import Edit, decode_edit, encode_edit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path

FOLDER = "edits"
SCHEMA = 1
"""Raised when a line changes its meaning."""
TORN_SUFFIX = ".torn"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerHead:
    """Which results the edits are for; ``cells_sha256`` is of the table's content, not of its file.

    It is empty where the cells are not at hand: the edits are then read whatever cells they are for.
    """

    image: str
    image_sha256: str
    config_digest: str
    cells_schema: int
    cells_sha256: str
    pdl1quant: str = __version__
    edits_schema: int = SCHEMA


_HEAD = TypeAdapter(LedgerHead)
_CHECKED = {
    "edits_schema": "the edits are of schema {then}, this version reads {now}; use pdl1quant {version}",
    "image_sha256": "the edits are of another image ({then:.12}..., now {now:.12}...); move the ledger away",
    "config_digest": "the edits are of results with other settings ({then}, now {now}); score again with "
    "those, or move the ledger away",
    "cells_schema": "the edits are of cells of schema {then}, these are of {now}; score again with pdl1quant {version}",
    "cells_sha256": "the edits are of other cells of this image, found by pdl1quant {version}; score again with that "
    "version, or move the ledger away",
}


def ledger_path(out: Path, stem: str) -> Path:
    """Where the edits of the image with results at ``stem`` lie."""
    path = out / FOLDER / stem
    return path.with_name(path.name + ".jsonl")


def ledger_digest(path: Path) -> str:
    """SHA-256 of a ledger as it is; empty where nothing was ever written to it.

    Raises
    ------
    OutputError
        It cannot be read.
    """
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    return hashlib.sha256(data).hexdigest() if data else ""


def read_edits(path: Path, *, image_sha256: str, config_digest: str) -> tuple[Edit, ...]:
    """The edits in a ledger, without a look at the cells that they are for; none where nothing was written to it.

    Raises
    ------
    ReviewError
        The edits are for another image or other settings.
    OutputError
        The file cannot be read, or its first line is damaged.
    """
    head = LedgerHead(
        image="", image_sha256=image_sha256, config_digest=config_digest, cells_schema=CELLS_SCHEMA, cells_sha256=""
    )
    return tuple(EditLedger(path, head).edits)


class EditLedger:
    """The edits of one image on disk; ``edits`` holds those read so far, ``problems`` what could not be read.

    Parameters
    ----------
    path
        File of the ledger; made at the first edit.
    head
        The results at hand.

    Raises
    ------
    ReviewError
        The edits are for another image, other settings, or cells of another version.
    OutputError
        The file cannot be read, or its first line is damaged.
    """

    def __init__(self, path: Path, head: LedgerHead) -> None:
        self.path = path
        self.edits: list[Edit] = []
        self.head = head
        self._has_head = False
        self._damaged: list[str] = []
        self._torn = b""
        self._offset = 0
        self._n_lines = 0
        self._ids: set[str] = set()
        self._lacks_end = False
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
        self._take(data)

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for each part of the file that is not applied."""
        torn = (f"{self.path}: the last line is half-written ({len(self._torn)} bytes) and is not applied",)
        return (*self._damaged, *(torn if self._torn else ()))

    def is_behind(self, n_bytes: int) -> bool:
        """Whether others wrote to the file since it was read, as it is ``n_bytes`` long now."""
        return n_bytes > self._offset + len(self._torn)

    @contextmanager
    def writing(self) -> Iterator[Callable[[Edit], None]]:
        """Lock the file, take in what others wrote meanwhile, and give the function that appends an edit.

        Raises
        ------
        OutputError
            The file cannot be written, or became shorter since it was read.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b", buffering=0) as file, _locked(file):
                self._catch_up(file)

                def append(edit: Edit) -> None:
                    if not self._has_head:
                        self._write(file, (json.dumps({"pdl1quant_edits": True, **asdict(self.head)}) + "\n").encode())
                        self._has_head = True
                        _flush_folder(self.path)
                    self._write(file, encode_edit(edit))
                    self._add(edit)

                yield append
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(
                f"{self.path}: the edit cannot be written ({reason}); check the place and its space"
            ) from error

    def _write(self, file: FileIO, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):  # what was refused must not come back as an edit
                file.truncate(self._offset)
            raise
        self._offset += len(line)
        self._n_lines += 1

    def _catch_up(self, file: FileIO) -> None:
        file.seek(0, os.SEEK_END)
        if file.tell() < self._offset:
            raise OutputError(f"{self.path}: became shorter while it was open; open the review again")
        file.seek(self._offset)
        data = file.read()
        if self._lacks_end:
            if not data.startswith(b"\n"):
                file.write(b"\n")
            data = data.removeprefix(b"\n")
            self._offset += 1
            self._lacks_end = False
        self._take(data)
        if self._lacks_end:
            file.write(b"\n")
            self._offset += 1
            self._lacks_end = False
        if self._torn:
            self._set_aside(file)

    def _set_aside(self, file: FileIO) -> None:
        aside = self.path.with_name(self.path.name + TORN_SUFFIX)
        with aside.open("ab") as kept:
            kept.write(self._torn + b"\n")
            kept.flush()
            os.fsync(kept.fileno())
        file.truncate(self._offset)
        self._damaged.append(f"{self.path}: a half-written last line was set aside into {aside.name}")
        self._torn = b""

    def _take(self, data: bytes) -> None:
        """Read what lies behind what is known already."""
        *lines, tail = data.split(b"\n")
        for line in lines:
            self._take_line(line)
            self._offset += len(line) + 1
        self._torn = tail
        if tail and self._has_head:
            with suppress(ValueError):  # only the end of the line is missing
                self._add(decode_edit(tail))
                self._torn, self._lacks_end = b"", True
                self._offset += len(tail)
                self._n_lines += 1

    def _take_line(self, line: bytes) -> None:
        self._n_lines += 1
        if not self._has_head:
            self._check_head(line)
            self._has_head = True
            return
        if not line.strip():
            return
        try:
            edit = decode_edit(line)
            if edit.id in self._ids:
                raise ValueError("the same edit is there already")  # noqa: TRY301  one report for both
            self._add(edit)
        except ValueError as error:
            self._damaged.append(f"{self.path}: line {self._n_lines} cannot be read ({error}) and is not applied")

    def _add(self, edit: Edit) -> None:
        self.edits.append(edit)
        self._ids.add(edit.id)

    def _check_head(self, line: bytes) -> None:
        try:
            values = json.loads(line)
            then = _HEAD.validate_python(values)
            if not values.get("pdl1quant_edits"):
                raise ValueError("not a ledger of edits")  # noqa: TRY301  one message for all
        except (ValueError, ValidationError, AttributeError) as error:
            raise OutputError(
                f"{self.path}: its first line does not say which results the edits are for; mend it or move it away"
            ) from error
        for name, message in _CHECKED.items():
            was, now = getattr(then, name), getattr(self.head, name)
            if now not in (was, ""):
                text = message.format(then=was, now=now, version=then.pdl1quant)
                raise ReviewError(f"{self.path}: {text}")


@contextmanager
def _locked(file: FileIO) -> Iterator[None]:
    """Two reviewers may write at a time; where the system cannot lock files, appended lines stay whole all the same."""
    try:
        import fcntl  # noqa: PLC0415  not on every system
    except ImportError:
        yield
        return
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _flush_folder(path: Path) -> None:
    with suppress(OSError):  # some file systems cannot flush a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
