"""From what the user named to the images of a run, case by case, each with its region and its columns."""

from __future__ import annotations

import difflib
import os
import unicodedata
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pdl1quant.batch.rows import named
from pdl1quant.batch.work import Image
from pdl1quant.errors import UnreadableError, UsageError
from pdl1quant.outputs.scores_table import SCORE_COLUMNS
from pdl1quant.slides.cases import CaseRow, folded_case, read_cases
from pdl1quant.slides.core_map import MappedCore, read_core_map
from pdl1quant.slides.discover import SUFFIXES, Found, Problem, discover, output_names, passed_over
from pdl1quant.slides.opening import is_whole_slide
from pdl1quant.slides.raster import Note
from pdl1quant.slides.roi_file import class_doubt, read_geojson_rois, tumour_doubt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path, PurePath

    from pdl1quant.slides.roi import Roi

CONTROL_FOLDER = "negative_control"
"""Results of negative controls lie below it, in each folder of results."""
_ROI_SUFFIX = ".geojson"


def gather(
    paths: Sequence[Path],
    *,
    output: Path,
    cases: Path | None = None,
    core_map: Path | None = None,
    roi: Path | None = None,
    mpp: float | None = None,
    working_mpp: float | None = None,
    controls: Sequence[Image] = (),
) -> tuple[tuple[Image, ...], tuple[Problem, ...]]:
    """The images among ``paths`` in their order, and what was named but is no image.

    Parameters
    ----------
    paths
        Files and folders.
    output
        Folder of the results, left out of the search.
    cases
        Table of cases; images that it leaves out keep the case of their folder (`table_warnings` names them). It may
        name negative controls, wherever they lie.
    core_map
        Which core of a microarray belongs to which case.
    roi
        Region of the one image, or folder with ``<image>.geojson`` for some of them.
    mpp, working_mpp
        As for `is_whole_slide`.
    controls
        Negative controls, which are in no case though they lie in the folders.

    Raises
    ------
    UsageError
        There is nothing to score, or the tables or the regions do not fit the images.
    """
    everything, problems = discover(paths, exclude=output)
    if not everything:
        raise UsageError(problems[0].message if problems else "no images given")
    found = without_controls(everything, controls)
    stems = output_names(found)
    table = {} if cases is None else _case_table(cases, everything, controls)
    regions = _regions(roi, found, stems)
    images = [
        Image(
            path=item.path,
            name=str(item.relative),
            stem=str(stems[item.path]),
            case=table[item.path].case if item.path in table else item.case,
            extra=tuple(table[item.path].extra.items()) if item.path in table else (),
            is_in_table=item.path in table,
            roi=regions.get(item.path),
            is_slide=is_whole_slide(item.path, mpp=mpp, working_mpp=working_mpp),
        )
        for item in found
    ]
    if core_map is not None:
        cores = _core_table(core_map, found, images)
        images = [replace(image, cores=cores.get(image.path, ())) for image in images]
    return tuple(images), tuple(problems)


def without_controls(found: Sequence[Found], controls: Sequence[Image]) -> list[Found]:
    """The images that are no negative controls.

    Raises
    ------
    UsageError
        There are none, or results of one would lie where those of the controls go.
    """
    taken = {os.path.realpath(image.path) for image in controls}
    left = [item for item in found if os.path.realpath(item.path) not in taken]
    if not left:
        raise UsageError("all images are negative controls (--negative-control); give the images of cases, too")
    for item in left if controls else ():
        if item.relative.parts[0].casefold() == CONTROL_FOLDER:
            raise UsageError(
                f"{item.path}: lies in {CONTROL_FOLDER}, where results of --negative-control go; rename the folder, or "
                "give it as one, too"
            )
    return left


def controls_beside(found: Sequence[Found], controls: Sequence[Image]) -> list[Found]:
    """The negative controls that do not lie among the images found."""
    taken = {os.path.realpath(item.path) for item in found}
    return [
        Found(path=image.path, root=image.path.parent, relative=PurePosixPath(image.name), case="")
        for image in controls
        if os.path.realpath(image.path) not in taken
    ]


def skipped_warnings(paths: Sequence[Path], *, output: Path) -> tuple[str, ...]:
    """Which images in the folders are of a type that is not looked for, in one line; their case lacks them."""
    skipped = passed_over(paths, exclude=output)
    if not skipped:
        return ()
    which = "1 image is" if len(skipped) == 1 else f"{len(skipped)} images are"
    advice = f"export as one of {', '.join(SUFFIXES)}; slides of DICOM have to be named"
    return (f"{which} of a type that is passed over: {named([str(path) for path in skipped])}; {advice}",)


def table_warnings(images: Sequence[Image], cases: Path | None) -> tuple[str, ...]:
    """Which images a table of cases leaves out, in one line; they may be missing from their case."""
    left_out = [image for image in images if not image.is_in_table]
    if cases is None or not left_out:
        return ()
    which = "1 image is not in it and has its folder as case"
    if len(left_out) > 1:
        which = f"{len(left_out)} images are not in it and have their folders as cases"
    return (f"{cases.name}: {which}: {named([f'{image.name} ({image.case})' for image in left_out])}",)


def spelling_warnings(images: Sequence[Image]) -> tuple[str, ...]:
    """Which cases differ in capitals or spaces only, in one line; they may be one that was spelt in two ways."""
    spellings: dict[str, dict[str, None]] = {}
    for image in images:
        spellings.setdefault(folded_case(image.case), {})[image.case] = None
    alike = [" = ".join(names) + "?" for names in spellings.values() if len(names) > 1]
    if not alike:
        return ()
    advice = "where they are one, give them one name (rename the folder, or --cases)"
    return (f"names of cases that differ in capitals or spaces only: {named(alike)}; {advice}",)


def twin_warnings(images: Sequence[Image]) -> tuple[str, ...]:
    """Which images of a folder differ in their endings only, in one line; they may be one field, exported twice."""
    twins: dict[tuple[Path, str], list[str]] = {}
    for image in images:
        twins.setdefault(image.without_ending, []).append(image.name)
    alike = [" = ".join(names) + "?" for names in twins.values() if len(names) > 1]
    if not alike:
        return ()
    advice = "where they are one field, it counts twice and the interval is too narrow: take all but one away"
    return (f"names of images that differ in their endings only: {named(alike)}; {advice}",)


def shared_warnings(counted: Iterable[Image]) -> tuple[str, ...]:
    """Which images are the same, byte for byte, in several cases, in one line: one of the cases is not their own.

    Parameters
    ----------
    counted
        Images with their hashes.
    """
    by_hash: dict[str, dict[str, str]] = {}
    for image in counted:
        by_hash.setdefault(image.sha256, {}).setdefault(image.case, f"{image.name} ({image.case})")
    shared = [" = ".join(names.values()) for names in by_hash.values() if len(names) > 1]
    if not shared:
        return ()
    which = "1 image counts" if len(shared) == 1 else f"{len(shared)} images count"
    return (f"{which} in more than one case: {named(shared)}; leave it in the one to which it belongs",)


def region_warnings(images: Sequence[Image], roi: Path | None) -> tuple[str, ...]:
    """What a person has to know of the regions: images without any, files that do not say where tumour is, classes."""
    files = dict.fromkeys(image.roi for image in images if image.roi is not None)
    without = [image.name for image in images if image.roi is None]
    warnings = []
    if files and without:
        which = "1 image has no region file and counts"
        if len(without) > 1:
            which = f"{len(without)} images have no region file and count"
        warnings.append(f"{which} as a whole: {named(without)}{_misspelt(roi, set(files), without)}")
    without_doubt: list[Roi] = []
    for file in files:
        with suppress(UnreadableError):  # the row of the image will say it
            rois = read_geojson_rois(file)
            if doubt := tumour_doubt(rois, file.name):  # which names the classes
                warnings.append(doubt)
            else:
                without_doubt += rois
    if doubt := class_doubt(without_doubt):
        warnings.append(doubt)
    return tuple(warnings)


def turned_warnings(images: Sequence[Image], notes: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Which images with regions were turned on reading, in one line: many viewers show them, and draw, as stored.

    Parameters
    ----------
    images
        Those of the run.
    notes
        What was done to each on reading, by its stem.
    """
    turned = [each.name for each in images if each.roi and Note.ORIENTATION_APPLIED in notes.get(each.stem, ())]
    if not turned:
        return ()
    which = "1 image is turned upright, as its file asks, and its regions have to be"
    if len(turned) > 1:
        which = f"{len(turned)} images are turned upright, as their files ask, and their regions have to be"
    advice = "many viewers show it as stored: look at the regions in overlays, or export it upright and draw anew"
    return (f"{which}: {named(turned)}; {advice}",)


def array_warnings(images: Sequence[Image], core_map: Path | None) -> tuple[str, ...]:
    """What a person has to know where slides are microarrays: images that are none, slides that the map leaves out."""
    warnings = []
    if not all(image.is_slide for image in images):
        warnings.append("--tma: cores are looked for on whole slides only; other images are scored as a whole")
    unmapped = [image.name for image in images if image.is_slide and not image.cores]
    if core_map is not None and unmapped:
        warnings.append(f"{core_map.name}: names no core of {', '.join(unmapped)}, which are in no case of the map")
    return tuple(warnings)


def _misspelt(roi: Path | None, used: set[Path], without: Sequence[str]) -> str:
    """A region file of no image, where an image has none: most likely it is meant for that one."""
    if roi is None or not roi.is_dir():
        return ""
    strays = sorted(set(roi.rglob(f"*{_ROI_SUFFIX}")) - used)
    if not strays:
        return ""
    stray = strays[0].relative_to(roi).as_posix()
    near = difflib.get_close_matches(stray.removesuffix(_ROI_SUFFIX), without, n=1, cutoff=0.0)
    return f" ({stray} belongs to no image of the run; if it is meant for {near[0]}, rename it)"


def by_case(images: Sequence[Image]) -> dict[str, tuple[Image, ...]]:
    """The images of each case; cases in the order of their first image."""
    cases: dict[str, list[Image]] = {}
    for image in images:
        cases.setdefault(image.case, []).append(image)
    return {case: tuple(members) for case, members in cases.items()}


def _case_table(cases: Path, found: Sequence[Found], controls: Sequence[Image]) -> dict[Path, CaseRow]:
    table = read_cases(cases, found, controls=controls_beside(found, controls))
    _check_columns(cases, {name for row in table.values() for name in row.extra})
    return table


def _core_table(core_map: Path, found: Sequence[Found], images: Sequence[Image]) -> dict[Path, tuple[MappedCore, ...]]:
    slides = [image.path for image in images if image.is_slide]
    table = read_core_map(core_map, found, slides=slides, cases={image.case: image.name for image in images})
    _check_columns(core_map, {name for cores in table.values() for core in cores for name, _ in core.extra})
    return table


def _check_columns(table: Path, free: set[str]) -> None:
    if taken := sorted(free & {column.name for column in SCORE_COLUMNS}):
        raise UsageError(f"{table.name}: a column of scores.csv is called {taken[0]!r} already; rename it")


def _regions(roi: Path | None, found: Sequence[Found], stems: Mapping[Path, PurePosixPath]) -> dict[Path, Path]:
    """The region file of each image that has one; none is the file of two images."""
    if roi is None:
        return {}
    if not roi.is_dir():
        if not roi.is_file():  # a pipe gives its regions once, and they are read by several
            wrong = "not a file; save the regions as one" if roi.exists() else "no such file or folder; check the path"
            raise UsageError(f"--roi {roi}: {wrong}")
        if len(found) > 1:
            raise UsageError(
                f"--roi {roi}: one file for {len(found)} images; give a folder with one <image>{_ROI_SUFFIX} for each"
            )
        return {item.path: roi for item in found}

    @cache
    def by_letters() -> dict[str, Path]:
        return {_composed(file.relative_to(roi)): file for file in sorted(roi.rglob(f"*{_ROI_SUFFIX}"))}

    owners: dict[Path, Found] = {}
    for item in found:
        bare = item.relative.with_name(f"{item.relative.stem}{_ROI_SUFFIX}")
        names = [f"{stems[item.path]}{_ROI_SUFFIX}", f"{item.relative}{_ROI_SUFFIX}", str(bare)]
        file = next((roi / name for name in names if (roi / name).is_file()), None)
        file = file or next((by_letters()[each] for each in map(_composed, names) if each in by_letters()), None)
        if file is None:
            continue
        if file in owners:
            pair = " and ".join(f"{stems[each.path]}{_ROI_SUFFIX}" for each in (owners[file], item))
            raise UsageError(
                f"--roi {roi}: {file.relative_to(roi)} fits {owners[file].path} and {item.path}; call those of the two "
                f"{pair}"
            )
        owners[file] = item
    if found and not owners:
        example = found[0].relative.with_suffix("")
        raise UsageError(f"--roi {roi}: no file in it fits an image; call them like {example}{_ROI_SUFFIX}")
    return {item.path: file for file, item in owners.items()}


def _composed(name: PurePath | str) -> str:
    """One spelling for names whose letters macOS takes apart."""
    return unicodedata.normalize("NFC", name if isinstance(name, str) else name.as_posix())
