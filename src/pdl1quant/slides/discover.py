"""From the files and folders a user names to the images in them, their cases, and the names of their results.

Neither the order of the arguments nor that of the file system changes the outcome.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from pdl1quant.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Endings of plain images, in any case."""

SLIDE_SUFFIXES: Final = (
    ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".czi", ".svslide", ".btf", ".tf8", ".zarr",
)  # fmt: skip
"""Endings of whole slides that are found in folders; files of DICOM slides, several a slide, have to be named."""

_NAMED_SUFFIXES: Final = (*SUFFIXES, *SLIDE_SUFFIXES, ".dcm")

_OTHER_SUFFIXES: Final = (
    ".bmp", ".gif", ".webp", ".jfif", ".jpe", ".jp2", ".j2k", ".heic", ".vsi", ".lif", ".nd2", ".lsm", ".qptiff",
    ".dcm",
)  # fmt: skip
"""Endings of images that are not looked for in folders."""

_FOLDER_SUFFIX: Final = ".zarr"
"""Folders that are slides."""

_RESULT_FILES: Final = frozenset({"run.json", "scores.csv"})
"""A folder that holds both is the result of a run: its overlays are no input."""

_MAX_NAME_BYTES: Final = 220
"""File systems take 255; results add up to 12 (``.geojson.gz``), and names that would collide 9 more."""

_NUMBERS: Final = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An image file: ``relative`` is its path below ``root``, the folder given (or the given file's own folder).

    ``case`` is the name of the folder that holds it, longer where two folders of one run share that name.
    """

    path: Path
    root: Path
    relative: PurePosixPath
    case: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that was named and cannot be read, and what to do."""

    path: Path
    message: str


def discover(paths: Sequence[Path], *, exclude: Path | None = None) -> tuple[list[Found], list[Problem]]:
    """Find the images among files and folders.

    Folders are walked with their subfolders, links followed once; hidden files, files of other types, and the results
    of earlier runs are skipped. A file reached twice is taken once.

    Parameters
    ----------
    paths
        Files and folders.
    exclude
        A folder to leave out although it lies in one of ``paths``: where the results go.

    Returns
    -------
    tuple
        The images in natural order (``tile_2`` before ``tile_10``), and what was named but is no image.

    Raises
    ------
    UsageError
        One of ``paths`` does not exist.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder; check the path")
    excluded = None if exclude is None else _real(exclude)
    folders = sorted({_real(path): path for path in reversed(paths) if _is_folder(path)}.items(), key=_outer_first)
    files = [path for path in paths if not _is_folder(path)]
    problems: list[Problem] = []
    places: dict[Path, tuple[Path, Path]] = {}  # the file itself -> the path to it, its root
    seen: set[Path] = set()
    for real, root in folders:
        n_before = len(places)
        visited = real in seen
        for path in _walk(root, excluded=excluded, seen=seen, problems=problems):
            places.setdefault(_real(path), (path, root))
        if len(places) == n_before and not visited:
            wanted = f"{', '.join(SUFFIXES)}, or a slide as .svs, .ndpi, .mrxs"
            problems.append(Problem(path=root, message=f"{root}: no images in it ({wanted})"))
    for path in sorted(files, key=_natural):
        if path.suffix.lower() not in _NAMED_SUFFIXES:
            message = f"{path.name}: not one of {', '.join(SUFFIXES)}; export it as one of these"
            problems.append(Problem(path=path, message=message))
        elif not path.is_file() and not path.is_dir():  # a pipe would be waited for, and read once only
            problems.append(Problem(path=path, message=f"{path.name}: not a file; save it as one"))
        else:
            places.setdefault(_real(path), (path, path.parent))
    cases = _unique_labels({path.parent for path, _ in places.values()})
    found = [
        Found(
            path=path,
            root=root,
            relative=PurePosixPath(path.relative_to(root).as_posix()),
            case=cases[path.parent],
        )
        for path, root in places.values()
    ]
    return sorted(found, key=lambda item: _natural(item.path)), sorted(problems, key=lambda item: _natural(item.path))


def passed_over(paths: Sequence[Path], *, exclude: Path | None = None) -> list[Path]:
    """Images in the folders among ``paths`` that `discover` does not take, for their type, in natural order."""
    excluded = None if exclude is None else _real(exclude)
    seen: set[Path] = set()
    folders = [path for path in paths if _is_folder(path)]
    named = {_real(path) for path in paths}
    found = [
        path
        for root in folders
        for path in _walk(root, excluded=excluded, seen=seen, problems=[], suffixes=_OTHER_SUFFIXES)
        if _real(path) not in named and path.suffix.lower() != _FOLDER_SUFFIX
    ]
    return sorted(found, key=_natural)


def _is_folder(path: Path) -> bool:
    """Whether to look for images in it: OME-Zarr slides are folders, too."""
    return path.is_dir() and path.suffix.lower() != _FOLDER_SUFFIX


def output_names(found: Sequence[Found]) -> dict[Path, PurePosixPath]:
    """Name the results of each image: its path below the folder given, without the ending.

    Names that would collide, also on file systems that take ``A`` for ``a``, get what tells them apart: their own
    ending (``a.png``, ``a.jpg``), then the name of the folder given, then a digest of the path.

    Returns
    -------
    dict
        By the image's path. Append the result's ending as text: ``with_suffix`` would cut ``tile_1.5um``.
    """
    roots = {root: _unicode(label) for root, label in _unique_labels({item.root for item in found}).items()}
    candidates = {item.path: _candidates(item, roots[item.root]) for item in found}
    choice = dict.fromkeys(candidates, 0)
    while True:
        holders: dict[str, list[Path]] = {}
        for path, level in choice.items():
            holders.setdefault(_folded(str(candidates[path][level])), []).append(path)
        clashing = [path for group in holders.values() if len(group) > 1 for path in group]
        movable = [path for path in clashing if choice[path] + 1 < len(candidates[path])]
        if not movable:
            assert not clashing, f"same path twice: {clashing}"
            return {path: candidates[path][level] for path, level in choice.items()}
        for path in movable:
            choice[path] += 1


def _candidates(item: Found, root: str) -> tuple[PurePosixPath, ...]:
    """Names from short to certainly unique."""
    folder = PurePosixPath(*map(_unicode, item.relative.parts[:-1]))
    whole = folder / _fitting(item.relative.name)
    name = item.relative.stem if item.relative.stem.strip(".") else item.relative.name  # ``..`` is another folder
    stem = folder / _fitting(name)
    told_apart = whole.with_name(f"{whole.name}~{_digest(str(item.relative))}")
    certain = whole.with_name(f"{whole.name}~{_digest(f'{root}/{item.relative}')}")
    return stem, whole, root / stem, root / whole, told_apart, root / certain


def _fitting(name: str) -> str:
    """The name, cut where endings of results would make it longer than file systems take; a digest tells it apart."""
    plain = _unicode(name).encode()
    if len(plain) <= _MAX_NAME_BYTES:
        return plain.decode()
    digest = _digest(name)
    return f"{plain[: _MAX_NAME_BYTES - len(digest) - 1].decode(errors='ignore')}~{digest}"


def _unicode(name: str) -> str:
    """The name without bytes that are no UTF-8, which many programs cannot open: the results' own names have none."""
    return _bytes(name).decode(errors="replace")


def _digest(text: str) -> str:
    return hashlib.sha256(_bytes(text)).hexdigest()[:8]


def _bytes(name: str) -> bytes:
    """The name as the file system holds it; those of Windows may hold halves of characters."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")


def _walk(
    root: Path,
    *,
    excluded: Path | None,
    seen: set[Path],
    problems: list[Problem],
    suffixes: tuple[str, ...] = (*SUFFIXES, *SLIDE_SUFFIXES),
) -> Iterator[Path]:
    """Image files below ``root``; ``seen`` holds the folders already walked, so that loops of links end."""

    def unreadable(error: OSError) -> None:
        where = Path(error.filename)
        problems.append(Problem(path=where, message=f"{where}: cannot be listed ({error.strerror}); check permissions"))

    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=unreadable):
        here = Path(folder)
        real = _real(here)
        is_root = here == root
        is_result = not is_root and (real == excluded or _RESULT_FILES.issubset(names))
        if real in seen or is_result:
            subfolders.clear()
            continue
        seen.add(real)
        zarrs = [name for name in subfolders if name.lower().endswith(_FOLDER_SUFFIX)]
        yield from (here / name for name in sorted(zarrs) if not name.startswith("."))
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name not in zarrs)
        for name in sorted(names):
            path = here / name
            if path.suffix.lower() in suffixes and not name.startswith(".") and (path.is_file() or path.is_symlink()):
                yield path


def _unique_labels(folders: Iterable[Path]) -> Mapping[Path, str]:
    """The name of each folder, with as many of its parents as tell it from the others.

    Where folders, and all above them, differ in capitals only, no parent helps, and they keep their names.
    """
    parts = {folder: Path(os.path.abspath(folder)).parts for folder in folders}  # noqa: PTH100  # links keep their name
    length = dict.fromkeys(parts, 1)
    while True:
        labels = {folder: _label(parts[folder], length[folder]) for folder in parts}
        same: dict[str, set[tuple[str, ...]]] = {}
        alike: dict[str, set[tuple[str, ...]]] = {}
        for folder, label in labels.items():
            same.setdefault(label, set()).add(parts[folder])
            alike.setdefault(_folded(label), set()).add(tuple(map(_folded, parts[folder])))
        longer = [
            folder
            for folder, label in labels.items()
            if len(same[label]) + len(alike[_folded(label)]) > 2 and length[folder] < len(parts[folder])
        ]
        if not longer:
            return labels
        for folder in longer:
            length[folder] += 1


def _label(parts: tuple[str, ...], length: int) -> str:
    chosen = [part for part in parts[-length:] if part != parts[0]]
    return "/".join(chosen) or "root"


def _real(path: Path) -> Path:
    """The path without links; unlike ``Path.resolve`` it bears a link that points to itself."""
    return Path(os.path.realpath(path))


def _outer_first(item: tuple[Path, Path]) -> tuple[int, str]:
    real, _ = item
    return len(real.parts), str(real)


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sorts by folder, then with numbers as numbers."""
    pieces = _NUMBERS.split(path.as_posix().casefold())
    # isascii: other digits match \d as well, and not all of them are numbers to int()
    return [
        (int(piece), "") if piece.isdigit() and piece.isascii() else (-1, piece) for piece in pieces
    ], path.as_posix()


def _folded(text: str) -> str:
    """What a file system that knows no case and one Unicode form would make of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
