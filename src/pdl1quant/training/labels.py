"""What a person said of cells: tables of image, place and class."""

from __future__ import annotations

import io
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pdl1quant.errors import UsageError
from pdl1quant.model import CellClass

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PLACE = ("x_px", "y_px")
COLUMNS = ("image", *PLACE, "cell_class")
SLIDE = "slide"
"""Optional: cells of one slide (or case) are held out together, and its images share their staining."""
UNCERTAIN = "uncertain_first"
"""Of the labels of a review: whether the cell was offered because the run was unsure of it."""
_NO_TEXT = {b"PK": "a workbook or an archive", b"\x1f\x8b": "compressed", b"PAR1": "Parquet that is not named so"}
"""First bytes of what is mistaken for a CSV."""
MIN_CELLS = 20
"""Labelled cells needed of each class."""


def read_labels(files: Sequence[Path], *, images: Path | None = None) -> pd.DataFrame:
    """Read labelled cells.

    Parameters
    ----------
    files
        CSV (UTF-8 or UTF-16; ``,``, ``;`` or tabs, and with the last two decimals may have commas) or Parquet with the
        columns ``image``, ``x_px``, ``y_px``, ``cell_class`` and, if known, ``slide``; others are ignored.
    images
        Folder that the images are named from; by default that of each file.

    Returns
    -------
    DataFrame
        A row per label: ``path``, ``image``, ``slide``, ``x_px``, ``y_px``, ``cell_class``. Without a column ``slide``
        in every file each image is one of its own.

    Raises
    ------
    UsageError
        A file cannot be read, lacks a column, names an unknown class, no number, an image that is not there or no slide
        in some rows; an image is of two slides; fewer than two classes, no tumour, or a class of fewer than
        ``MIN_CELLS`` cells.
    """
    tables = [_checked(_read(file), file, images or file.parent) for file in files]
    if not all(SLIDE in table for table in tables):
        tables = [table.assign(**{SLIDE: table["path"].map(str)}) for table in tables]
    labels = pd.concat(tables, ignore_index=True)
    for path, slides in labels.groupby("path")[SLIDE].unique().items():
        if len(slides) > 1:
            raise UsageError(f"{path}: its labels name the slides {slides[0]!r} and {slides[1]!r}; an image is of one")
    check_classes(labels["cell_class"])
    return labels


def names_slides(labels: pd.DataFrame) -> bool:
    """Whether the labels name their slides; without that each image counts as one."""
    return bool((labels[SLIDE] != labels["path"].map(str)).any())


def review_note(labels: pd.DataFrame) -> str:
    """What figures on labels of a review are of; empty where no label is of one."""
    if UNCERTAIN not in labels:
        return ""
    of_review = labels[UNCERTAIN].dropna().astype(bool)
    return (
        f"{len(of_review):,} labels are of a review, {of_review.sum():,} of cells that it offered as uncertain: "
        "the figures are of cells that a person chose or was offered to correct, not of all cells"
    )


def check_classes(names: pd.Series[str], *, what: str = "labelled") -> None:
    """Refuse labels that no classifier can be fitted on.

    Raises
    ------
    UsageError
        Fewer than two classes, no tumour, or a class of fewer than ``MIN_CELLS`` cells.
    """
    counts = names.value_counts().sort_index()
    if not len(counts):
        raise UsageError(f"labels: no cell is {what}; the table has to hold a row for each cell")
    if len(counts) < 2:
        raise UsageError(
            f"labels: a classifier tells at least two classes apart, {what} are: {counts.index[0]}; label another"
        )
    if CellClass.TUMOUR not in counts:
        raise UsageError(f"labels: no cell of class tumour is {what}, and scores count those; label some")
    few = [f"{name} has {count}" for name, count in counts.items() if count < MIN_CELLS]
    if few:
        raise UsageError(
            f"labels: at least {MIN_CELLS} cells of each class have to be {what}, {', '.join(few)}; "
            "label more of them, or leave that class out"
        )


def _read(file: Path) -> pd.DataFrame:
    try:
        if file.suffix.lower() == ".parquet":
            return pd.read_parquet(file)
        content = file.read_bytes()
        for mark, what in _NO_TEXT.items():
            if content.startswith(mark):
                raise UsageError(f"{file}: {what}; save it as CSV UTF-8 or Parquet, and name it so")
        text = content.decode("utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
        if text.lower().startswith("sep="):  # a line that Excel writes and reads
            text = text.partition("\n")[2]
        separator = max(",;\t", key=text.partition("\n")[0].count)
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
        if separator == ",":
            return table
        places = [name for name in map(str, table.columns) if name.strip().lower() in PLACE]
        return table.assign(**{name: table[name].str.replace(",", ".", regex=False) for name in places})
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror or error}); check the path") from error
    except (ValueError, UnicodeDecodeError) as error:  # pandas' and pyarrow's own derive from it
        reason = str(error).partition("\n")[0]
        raise UsageError(f"{file}: not a table of labels ({reason}); save it as CSV UTF-8 or Parquet") from error


def _checked(table: pd.DataFrame, file: Path, folder: Path) -> pd.DataFrame:
    table = table.rename(columns=lambda name: str(name).strip().lower())
    twice = [name for name in (*COLUMNS, SLIDE, UNCERTAIN) if list(table.columns).count(name) > 1]
    if twice:
        raise UsageError(f"{file}: two columns {twice[0]!r}; keep one of them")
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise UsageError(f"{file}: no column {missing[0]!r}; labels need {', '.join(COLUMNS)}")
    classes = table["cell_class"].astype(str).str.strip().str.lower()
    _refuse(~classes.isin([str(each) for each in CellClass]), classes, file, f"is none of {', '.join(CellClass)}")
    numbers = {name: pd.to_numeric(table[name], errors="coerce").astype(float) for name in PLACE}
    for name, values in numbers.items():
        _refuse(~values.abs().lt(np.inf), table[name], file, f"is no number in column {name}; write it as 412.5")
    names = table["image"].astype(str).str.strip()
    paths = {name: (folder / name.replace("\\", "/")).resolve() for name in names.unique()}  # one image, one path
    lost = pd.Series({name: not name or not path.is_file() for name, path in paths.items()}, dtype=bool)
    _refuse(names.map(lost).astype(bool), names, file, f"is no image in {folder}; give --images FOLDER, or mend it")
    checked = pd.DataFrame({"path": names.map(paths), "image": names, **numbers, "cell_class": classes})
    if UNCERTAIN in table:
        checked[UNCERTAIN] = table[UNCERTAIN].astype(str).str.strip().str.lower() == "true"
    if SLIDE not in table:
        return checked
    slides = table[SLIDE].fillna("").astype(str).str.strip()
    if (slides == "").all():
        return checked
    _refuse(slides == "", slides, file, "is no slide; name one in each row, or leave the column out")
    return checked.assign(**{SLIDE: slides})


def _refuse(bad: pd.Series[bool], values: pd.Series[str], file: Path, what: str) -> None:
    """Name the first bad row; the header is line 1."""
    rows = np.flatnonzero(bad.to_numpy(dtype=bool))
    if len(rows):
        more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        raise UsageError(f"{file}, row {rows[0] + 2}: {str(values.iloc[rows[0]])!r} {what}{more}")
