"""The files of a model, and the hash that says which they are."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

from pdl1quant.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CHUNK_BYTES = 1 << 20


def hash_files(files: Sequence[Path]) -> str:
    """Sha256 of a model.

    Parameters
    ----------
    files
        Of one, the hash is that of its bytes, as ``sha256sum`` prints it; of several, that of lines of hash and name
        in the order of the names, as ``sha256sum * | sha256sum`` in their folder.

    Raises
    ------
    ModelError
        A file cannot be read.
    """
    hashes = [(path.name, _hash_file(path)) for path in sorted(files, key=lambda path: path.name)]
    if len(hashes) == 1:
        return hashes[0][1]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in hashes).encode()).hexdigest()


def check_hash(files: Sequence[Path], expected: str) -> None:
    """Refuse other files than those that ``nuclei.model_sha256`` names; an empty hash names none.

    Raises
    ------
    ModelError
        Another hash.
    """
    if expected and (digest := hash_files(files)) != expected:
        where = files[0] if len(files) == 1 else files[0].parent
        raise ModelError(
            f"{where}: sha256 is {digest[:12]}..., nuclei.model_sha256 says {expected[:12]}...; "
            "give that model, or leave the hash out"
        )


def _hash_file(path: Path) -> str:
    try:
        stat = path.stat()
        return _hash_once(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise ModelError(f"{path}: cannot read the model ({error.strerror}); check nuclei.model") from error


@lru_cache(maxsize=64)
def _hash_once(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 - a changed file is hashed anew
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
