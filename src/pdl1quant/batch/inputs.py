"""From what the user named to the images of a run, case by case, each with its region and its columns."""

from __future__ import annotations

import difflib
from contextlib import suppress
from typing import TYPE_CHECKING

from pdl1quant.batch.work import Image
from pdl1quant.errors import UnreadableError, UsageError
from pdl1quant.outputs.scores_table import SCORE_COLUMNS
from pdl1quant.slides.cases import CaseRow, read_cases
from pdl1quant.slides.discover import Found, Problem, discover, output_names
from pdl1quant.slides.opening import is_whole_slide
from pdl1quant.slides.roi import class_doubt, read_geojson_rois, tumour_doubt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pdl1quant.slides.roi import Roi

_ROI_SUFFIX = ".geojson"


def gather(
    paths: Sequence[Path],
    *,
    output: Path,
    cases: Path | None = None,
    roi: Path | None = None,
    mpp: float | None = None,
    working_mpp: float | None = None,
) -> tuple[tuple[Image, ...], tuple[Problem, ...]]:
    """The images among ``paths`` in their order, and what was named but is no image.

    Parameters
    ----------
    paths
        Files and folders.
    output
        Folder of the results, left out of the search.
    cases
        Table of cases; images that it leaves out keep the case of their folder.
    roi
        Region of the one image, or folder with ``<image>.geojson`` for some of them.
    mpp, working_mpp
        As for `is_whole_slide`.

    Raises
    ------
    UsageError
        There is nothing to score, or the table or the regions do not fit the images.
    """
    found, problems = discover(paths, exclude=output)
    if not found:
        raise UsageError(problems[0].message if problems else "no images given")
    stems = output_names(found)
    table = {} if cases is None else _case_table(cases, found)
    regions = _regions(roi, found)
    images = [
        Image(
            path=item.path,
            name=str(item.relative),
            stem=str(stems[item.path]),
            case=table[item.path].case if item.path in table else item.case,
            extra=tuple(table[item.path].extra.items()) if item.path in table else (),
            roi=regions.get(item.path),
            is_slide=is_whole_slide(item.path, mpp=mpp, working_mpp=working_mpp),
        )
        for item in found
    ]
    return tuple(images), tuple(problems)


def region_warnings(images: Sequence[Image], roi: Path | None) -> tuple[str, ...]:
    """What a person has to know of the regions: images without any, files that do not say where tumour is, classes."""
    files = dict.fromkeys(image.roi for image in images if image.roi is not None)
    without = [image.name for image in images if image.roi is None]
    warnings = []
    if files and without:
        which = "1 image has no region file and counts"
        if len(without) > 1:
            which = f"{len(without)} images have no region file and count"
        warnings.append(f"{which} as a whole: {', '.join(without)}{_misspelt(roi, set(files), without)}")
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


def _misspelt(roi: Path | None, used: set[Path], without: Sequence[str]) -> str:
    """A region file of no image, where an image has none: most likely it is meant for that one."""
    strays = sorted(set(roi.glob(f"*{_ROI_SUFFIX}")) - used) if roi is not None and roi.is_dir() else []
    if not strays:
        return ""
    near = difflib.get_close_matches(strays[0].stem, without, n=1, cutoff=0.0)
    return f" ({strays[0].name} belongs to no image of the run; if it is meant for {near[0]}, rename it)"


def by_case(images: Sequence[Image]) -> dict[str, tuple[Image, ...]]:
    """The images of each case; cases in the order of their first image."""
    cases: dict[str, list[Image]] = {}
    for image in images:
        cases.setdefault(image.case, []).append(image)
    return {case: tuple(members) for case, members in cases.items()}


def _case_table(cases: Path, found: Sequence[Found]) -> dict[Path, CaseRow]:
    table = read_cases(cases, found)
    columns = {name for row in table.values() for name in row.extra}
    if taken := sorted(columns & {column.name for column in SCORE_COLUMNS}):
        raise UsageError(f"{cases.name}: a column of scores.csv is called {taken[0]!r} already; rename it")
    return table


def _regions(roi: Path | None, found: Sequence[Found]) -> dict[Path, Path]:
    if roi is None:
        return {}
    if not roi.is_dir():
        if len(found) > 1:
            raise UsageError(
                f"--roi {roi}: one file for {len(found)} images; give a folder with one <image>{_ROI_SUFFIX} for each"
            )
        return {item.path: roi for item in found}
    regions = {}
    for item in found:
        for relative in (item.relative, item.relative.with_suffix("")):
            file = roi / relative.with_name(relative.name + _ROI_SUFFIX)
            if file.is_file():
                regions[item.path] = file
                break
    if found and not regions:
        example = found[0].relative.with_suffix("")
        raise UsageError(f"--roi {roi}: no file in it fits an image; call them like {example}{_ROI_SUFFIX}")
    return regions
