"""The folder of a run as a review needs it: settings, rules, images, their rows and their cells, checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from pdl1quant.assays import find_indication
from pdl1quant.config import Config, config_from
from pdl1quant.errors import ConfigError, ReviewError, UsageError
from pdl1quant.model import (
    CELL_CLASS_DTYPE,
    CELL_COLUMNS,
    BlankLimit,
    BrownArea,
    Indication,
    ResultFlag,
    RulePack,
    StainEstimate,
    Status,
)
from pdl1quant.outputs.cells_in_parts import CellsFile, open_cells
from pdl1quant.outputs.files import PROGRESS_NAME, RUN_RECORD_NAME, SCORES_NAME, result_path
from pdl1quant.outputs.run_record import read_run_record
from pdl1quant.outputs.scores_table import HOW_TO_RENEW, ScoreRow, as_written, read_scores
from pdl1quant.outputs.tables import SCHEMA, read_cells_of
from pdl1quant.review.ledger import LedgerHead
from pdl1quant.review.region_results import MappedCore, RegionResult, core_map_of, regions_of_entries
from pdl1quant.stages.nests import Squares
from pdl1quant.whole_slides.kept_regions import regions_said
from pdl1quant.whole_slides.waiting import NestGround, nest_grounds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from pdl1quant.slides.roi import Roi

_PACK = TypeAdapter(RulePack)
_ESTIMATES = TypeAdapter(dict[str, StainEstimate])
_LIMITS = TypeAdapter(dict[str, BlankLimit])
_UNSCORED = (Status.REFUSED, Status.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """One image of a run; ``stem`` is the place of its results, ``row`` its row in ``scores.csv``."""

    name: str
    stem: str
    case: str
    sha256: str
    row: ScoreRow
    roi_sha256: str = ""
    """Hash of the regions that were drawn for it; empty without any."""
    brown: BrownArea | None = None
    """Area that is brown, that of it in no cell, and of the tissue; None where the run did not write it down."""
    regions: tuple[RegionResult, ...] = ()
    """What was drawn on it and has a score of its own, and the cores of a microarray."""

    @property
    def is_scored(self) -> bool:
        """Whether it was measured."""
        return self.row.status not in _UNSCORED

    @property
    def is_duplicate(self) -> bool:
        """Whether it was counted as another image of the case already."""
        return str(ResultFlag.DUPLICATE) in self.row.flags

    @property
    def is_damaged(self) -> bool:
        """Whether it was measured, but not all of it: its row says what was missing, and no review brings it back."""
        return self.is_scored and bool(self.row.error)

    @property
    def has_cells(self) -> bool:
        """Whether it has files of its own: those of a duplicate are the ones of the image that it repeats."""
        return self.is_scored and not self.is_duplicate


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The folder of a run, opened."""

    out: Path
    config: Config
    pack: RulePack
    indication: Indication | None
    images: tuple[ImageResult, ...]
    case_rows: tuple[ScoreRow, ...]
    """Rows of cases, and of all cores of microarrays together (``array``), with a map or without."""
    sources: tuple[Path, ...]
    """What the run was given; may have moved."""
    given_mpp: float | None = None
    """Pixel size (um) that overrode the images' own."""
    roi_sources: tuple[Path, ...] = ()
    """The regions that the run was given; may have moved."""
    estimates: Mapping[str, StainEstimate] = field(default_factory=dict)
    """Staining by case."""
    limits: Mapping[str, BlankLimit] = field(default_factory=dict)
    """What the negative controls of the run say, by the case whose own they are; empty for all."""
    core_map: tuple[MappedCore, ...] = ()
    """What the map of a microarray says of its cores, in the order of the slides."""

    def image(self, name: str) -> ImageResult:
        """The image whose results lie at ``name``, or that is called so: by its path, or its file name alone.

        Either may lack its ending; what fits the whole path goes before what fits the file name.

        Raises
        ------
        ReviewError
            There is none, or more than one.
        """
        ways: tuple[Callable[[ImageResult], str], ...] = (
            lambda image: image.stem,
            lambda image: image.name,
            lambda image: PurePosixPath(image.name).name,
            lambda image: PurePosixPath(image.name).stem,
        )
        found = next(filter(None, ([each for each in self.images if way(each) == name] for way in ways)), [])
        if len(found) == 1:
            return found[0]
        if found:
            stems = ", ".join(image.stem for image in found)
            raise ReviewError(f"{self.out}: {len(found)} images are called {name!r}; say which: {stems}")
        some = [image.stem for image in self.images[:3]]
        known = ", ".join([*some, "..."] if len(self.images) > len(some) else some) or "none"
        raise ReviewError(f"{self.out}: no image {name!r} in these results; they hold {known}")

    def scored_images(self, names: Sequence[str] = ()) -> list[ImageResult]:
        """The images called so; without names all that have cells.

        Raises
        ------
        ReviewError
            There is no such image, or none that was scored.
        """
        chosen = [self.image(name) for name in names] or [each for each in self.images if each.has_cells]
        if not chosen:
            raise ReviewError(f"{self.out}: no image of these results was scored; scores.csv says why")
        return chosen

    def case_row(self, case: str) -> ScoreRow:
        """The row of a case in ``scores.csv``.

        Raises
        ------
        ReviewError
            There is none.
        """
        found = next((row for row in self.case_rows if row.case == case), None)
        if found is None:
            raise ReviewError(f"{self.out / SCORES_NAME}: has no row for the case {case!r}; {HOW_TO_RENEW}")
        return found

    def original_of(self, image: ImageResult) -> ImageResult:
        """The image that has the results of a duplicate; any other is its own."""
        same = (each for each in self.images if each.has_cells and each.sha256 == image.sha256)
        return next(same, image) if image.is_duplicate else image

    def of_case(self, case: str) -> tuple[ImageResult, ...]:
        """The images of a case that count: measured, each content once."""
        return tuple(each for each in self.images if each.case == case and each.has_cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCells:
    """The cells of an image as the run left them.

    ``sides_um`` are those of a pixel (`pixel_sides`). ``tumour_area_um2`` is that of the tumour region drawn for the
    run; None without one, or where the results do not say it. ``rois`` are what was drawn, and the cores of a
    microarray. ``grounds`` are where nests of tumour cells are looked for, where no tumour was drawn; none where the
    results, of an earlier version, do not say how large the image is.
    """

    cells: pd.DataFrame
    mpp: float
    sides_um: Mapping[str, float]
    tumour_area_um2: float | None
    rois: tuple[Roi, ...]
    grounds: tuple[NestGround, ...]


def open_results(out: Path) -> Results:
    """Open the folder of a run; it may have been moved.

    Raises
    ------
    UsageError
        It is no folder of results, or its run has not ended.
    ReviewError
        Another version of pdl1quant made it, whose settings are not those of today.
    OutputError
        A file in it is damaged.
    """
    for name in (RUN_RECORD_NAME, SCORES_NAME):
        if not (out / name).is_file():
            if (out / PROGRESS_NAME).is_file():
                raise UsageError(
                    f"{out}: its run has not ended ({name} is missing); wait for it, or give the same score command "
                    "with --resume to go on where it was stopped"
                )
            raise UsageError(f"{out}: no results of a finished run ({name} is missing); give the folder after -o")
    record = read_run_record(out / RUN_RECORD_NAME)
    rows = read_scores(out / SCORES_NAME)
    try:
        settings = record["settings"]
        config = config_from(settings["config"], source=RUN_RECORD_NAME)
        pack = _PACK.validate_python(settings["rule_pack"])
        indication = find_indication(pack, settings["indication"]) if settings["indication"] else None
        images = _paired(record["images"], rows)
        core_map = core_map_of(record)
        controls = record.get("negative_control")
        limits = {} if controls is None else _LIMITS.validate_python(controls["limits"])
        timings = record.get("timings", {})
        sources, roi_sources = (tuple(Path(path) for path in timings.get(name, ())) for name in ("paths", "roi"))
        estimates = _ESTIMATES.validate_python(record.get("estimates", {}))
    except (KeyError, TypeError, ValidationError, ConfigError) as error:
        raise ReviewError(f"{_made_by(out, record)} ({' '.join(str(error).split())[:80]})") from error
    if config.digest != record.get("config_digest"):
        raise ReviewError(_made_by(out, record))
    return Results(
        out=out,
        config=config,
        pack=pack,
        indication=indication,
        images=images,
        case_rows=_case_rows(rows),
        sources=sources,
        given_mpp=settings.get("mpp"),
        roi_sources=roi_sources,
        estimates=estimates,
        core_map=core_map,
        limits=limits,
    )


def load_cells(results: Results, image: ImageResult) -> ImageCells:
    """The cells of an image, checked to be of this image and these settings.

    Raises
    ------
    ReviewError
        They are of another image or other settings, or the image was not measured.
    OutputError
        The file is missing, damaged or of another schema.
    """
    path = cells_path(results, image)
    cells, said = read_cells_of(path)
    _check(path, said, results=results, image=image)
    area = said.get("tumour_area_um2")
    sides_um, rois = pixel_sides(said), regions_said(said)
    grounds: tuple[NestGround, ...] = ()
    if "width_px" in said:
        width, height = int(said["width_px"]), int(said["height_px"])
        whole = Squares(width=width, height=height, mpp_x=sides_um["mpp_x"], mpp_y=sides_um["mpp_y"])
        grounds = nest_grounds(whole, rois)
    return ImageCells(
        cells=cells,
        mpp=float(said["mpp"]),
        sides_um=sides_um,
        tumour_area_um2=None if area is None else float(area),
        rois=rois,
        grounds=grounds,
    )


def pixel_sides(said: Mapping[str, str]) -> dict[str, float]:
    """``mpp_x`` and ``mpp_y`` (um) of what a cells table says of itself; earlier ones name one side."""
    return {name: float(said.get(name, said["mpp"])) for name in ("mpp_x", "mpp_y")}


def find_cells(results: Results, image: ImageResult) -> CellsFile:
    """The cells of an image, checked as by `load_cells`, which stay in their file."""
    file = open_cells(cells_path(results, image))
    _check(file.path, file.said, results=results, image=image)
    return file


def cells_path(results: Results, image: ImageResult) -> Path:
    """Where the cells table of an image lies.

    Raises
    ------
    ReviewError
        It has none of its own.
    """
    if not image.is_scored:
        raise ReviewError(f"{image.name}: was not scored ({image.row.error}); there is nothing to review")
    if image.is_duplicate:
        first = next(
            (each.name for each in results.images if each.has_cells and each.sha256 == image.sha256), "another"
        )
        raise ReviewError(f"{image.name}: the same image as {first}, which was counted; look at that one")
    return result_path(results.out, "cells", image.stem)


def _check(path: Path, said: Mapping[str, str], *, results: Results, image: ImageResult) -> None:
    """Compare what a table says of itself with what the run says of the image."""
    if said.get("image_sha256") != image.sha256:
        raise ReviewError(f"{path}: holds the cells of another image than {RUN_RECORD_NAME} says; score again")
    if said.get("config_digest") != results.config.digest:
        raise ReviewError(
            f"{path}: was made with settings {said.get('config_digest')}, the run with {results.config.digest}; "
            "score again"
        )


def head_of(results: Results, image: ImageResult, cells: pd.DataFrame) -> LedgerHead:
    """What a ledger of edits says of the cells that they are about."""
    return LedgerHead(
        image=image.name,
        image_sha256=image.sha256,
        config_digest=results.config.digest,
        cells_schema=SCHEMA,
        cells_sha256=digest_of(cells),
    )


def digest_of(cells: pd.DataFrame) -> str:
    """SHA-256 of what a cells table holds, whatever library wrote its file."""
    digest = hashlib.sha256()
    for column in CELL_COLUMNS:
        values = cells[column.name]
        digest.update(column.name.encode())
        raw = values.cat.codes if column.dtype == CELL_CLASS_DTYPE else values
        digest.update(raw.to_numpy().tobytes())
    return digest.hexdigest()


def _paired(entries: list[dict[str, Any]], rows: tuple[ScoreRow, ...]) -> tuple[ImageResult, ...]:
    """Images with their rows, in whatever order a spreadsheet left these; their order alone tells those of one name."""
    keys = [(as_written(entry["image"]), as_written(entry["case"])) for entry in entries]
    waiting: dict[tuple[str, str], list[ScoreRow]] = {key: [] for key in keys}
    met = []
    for row in rows:
        if row.level == "image" and (row.image, row.case) in waiting:
            met.append((row.image, row.case))
            waiting[met[-1]].append(row)
    images: list[ImageResult] = []
    for entry, key, regions in zip(entries, keys, regions_of_entries(entries, rows), strict=True):
        if not waiting[key]:
            raise ReviewError(f"{SCORES_NAME}: has no row for {key[0]}; {HOW_TO_RENEW}")
        row = waiting[key].pop(0)
        if met != keys and any(other != row for other in waiting[key]):
            raise ReviewError(f"{SCORES_NAME}: which row is of which {key[0]} cannot be told any more; {HOW_TO_RENEW}")
        images.append(
            ImageResult(
                name=row.image,
                stem=entry["results"],
                case=row.case,
                sha256=entry["sha256"] or "",
                row=row,
                roi_sha256=entry.get("roi_sha256") or "",
                brown=None if entry.get("brown") is None else BrownArea(**entry["brown"]),
                regions=regions,
            )
        )
    return tuple(images)


def _case_rows(rows: tuple[ScoreRow, ...]) -> tuple[ScoreRow, ...]:
    """Rows of cases and arrays; all cores without a map were one case to an earlier version, with calls."""
    images = {(row.image, row.case) for row in rows if row.level == "image"}
    unmapped = {row.case for row in rows if row.level == "core" and (row.image, row.case) in images}
    flag = str(ResultFlag.NO_CORE_MAP)
    return tuple(
        replace(row, level="array", flags=tuple(dict.fromkeys((*row.flags, flag)))) if row.case in unmapped else row
        for row in rows
        if row.level in ("case", "array")
    )


def _made_by(out: Path, record: dict[str, Any]) -> str:
    version = record.get("pdl1quant", "of unknown version")
    return f"{out}: made by pdl1quant {version}, whose settings this version does not read; score again, or use that"
