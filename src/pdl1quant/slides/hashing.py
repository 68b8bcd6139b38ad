"""What tells one input from another, wherever it lies: the hash of its bytes."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def hash_input(path: Path) -> str:
    """SHA-256 of the bytes of a file, in hexadecimal; of a folder that is a slide, of its files and their names."""
    if path.is_dir():
        whole = hashlib.sha256()
        for file in sorted(each for each in path.rglob("*") if each.is_file()):
            whole.update(f"{file.relative_to(path).as_posix()}\0{hash_input(file)}\n".encode())
        return whole.hexdigest()
    said = path.stat()
    return _hash_file(path, (said.st_dev, said.st_ino, said.st_size, said.st_mtime_ns, said.st_ctime_ns))


@lru_cache(maxsize=1024)
def _hash_file(path: Path, _: tuple[int, ...]) -> str:
    """A file is read once as long as the system says the same of it: it may be gigabytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
