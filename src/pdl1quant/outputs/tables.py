"""The cells table as Parquet: its schema, written whole or in parts, checked when it is read."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pdl1quant import __version__
from pdl1quant.errors import OutputError
from pdl1quant.model import CELL_CLASS_DTYPE, CELL_COLUMNS, CellClass, CellColumn
from pdl1quant.outputs.files import replace_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd


SCHEMA = 2
"""Raised when a column of the cells or of the scores changes its name, unit or meaning."""

_CLASS_NAMES = [str(name) for name in CellClass]
_ROWS_OF_A_SLIDE = 100_000
"""Below, threads cost more than they give."""


def cells_schema(metadata: Mapping[str, str] | None = None) -> pa.Schema:
    """Arrow schema of the cells table: each field with its ``unit`` and ``description``, and the table's metadata."""
    entries = {**(metadata or {}), "pdl1quant": __version__, "schema": str(SCHEMA)}
    return pa.schema([_arrow_field(column) for column in CELL_COLUMNS], metadata=dict(sorted(entries.items())))


def write_cells(cells: pd.DataFrame, path: Path, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write a cells table as Parquet (zstd). The same table gives the same bytes.

    Parameters
    ----------
    cells
        Table with exactly ``CELL_COLUMNS``, in any order; no rows are fine. The index is not kept.
    path
        File to write; replaced as a whole.
    metadata
        What else the file is to say of itself, as ``config_digest`` and ``mpp``. ``pdl1quant`` (its version) and
        ``schema`` are added.

    Raises
    ------
    OutputError
        Columns are missing, unknown or of a type that does not fit; or the file cannot be written.
    """
    table = _as_table(cells, path, metadata)
    with replace_atomically(path) as partial, _native(partial, "wb") as file:
        pq.write_table(table, file, compression="zstd", write_statistics=True)


@contextmanager
def cells_writer(path: Path, *, metadata: Mapping[str, str] | None = None) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Write a cells table in parts, each a row group: gives a function that takes the next rows.

    `read_cells` reads the whole. Parts without rows are left out; the file appears when the block ends well.
    Arguments and errors as in `write_cells`.
    """
    with (
        replace_atomically(path) as partial,
        _native(partial, "wb") as native,
        pq.ParquetWriter(native, cells_schema(metadata), compression="zstd", write_statistics=True) as writer,
    ):

        def write(cells: pd.DataFrame) -> None:
            if len(cells):
                writer.write_table(_as_table(cells, path, metadata))

        yield write


def _native(path: Path, mode: str) -> pa.NativeFile:
    """The file, open. Arrow takes a path with a colon for an address, and none that is no UTF-8."""
    return pa.OSFile(os.fsencode(path), mode)


def _as_table(cells: pd.DataFrame, path: Path, metadata: Mapping[str, str] | None) -> pa.Table:
    wanted = [column.name for column in CELL_COLUMNS]
    if odd := sorted(set(wanted) ^ set(cells.columns)):
        raise OutputError(f"{path}: not a cells table; missing or unknown columns: {', '.join(odd)}")
    schema = cells_schema(metadata)
    try:
        arrays = [_as_array(cells[name], field) for name, field in zip(wanted, schema, strict=True)]
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise OutputError(f"{path}: not a cells table: {first_line(error)}") from error
    return pa.Table.from_arrays(arrays, schema=schema)


def _as_array(values: pd.Series, field: pa.Field) -> pa.Array:
    if pa.types.is_dictionary(field.type):
        return _encoded(values)
    array = pa.array(values, field.type, from_pandas=True)
    if array.null_count and not field.nullable:
        raise pa.ArrowInvalid(f"{field.name} is not known for {array.null_count} cells")
    return array


def _encoded(classes: pd.Series) -> pa.DictionaryArray:
    """All classes in one fixed order, whichever of them occur: the bytes must not depend on the first cell."""
    seen = classes.astype("category").cat
    number_of = {name: number for number, name in enumerate(_CLASS_NAMES)}
    numbers = np.array([*(number_of.get(str(name), -1) for name in seen.categories), -1], np.int8)[seen.codes]
    if (numbers < 0).any():
        raise pa.ArrowInvalid(f"cell_class holds a name that is none of {', '.join(CellClass)}")
    return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(_CLASS_NAMES))


def read_cells(path: Path) -> pd.DataFrame:
    """Read a cells table that `write_cells` wrote.

    Returns
    -------
    DataFrame
        Exactly ``CELL_COLUMNS`` with their types; ``cell_class`` has all classes as categories.

    Raises
    ------
    OutputError
        The file is missing, not Parquet, cut off, or not a cells table of this schema.
    """
    return read_cells_of(path)[0]


def read_cells_of(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Read a cells table and what its file says of itself; errors as in `read_cells`."""
    with open_table(path) as file:
        table = file.read(use_threads=file.metadata.num_rows >= _ROWS_OF_A_SLIDE)
    return as_pandas(table), said_of(table.schema)


def said_of(schema: pa.Schema) -> dict[str, str]:
    """What a file says of itself."""
    entries = schema.metadata or {}
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in entries.items()}


@contextmanager
def open_table(path: Path) -> Iterator[pq.ParquetFile]:
    """The file of a cells table, checked to be one, for a block that reads it.

    Raises
    ------
    OutputError
        As `read_cells`; also for what goes wrong when the block reads.
    """
    try:
        with _native(path, "rb") as native, pq.ParquetFile(native) as file:
            schema = file.schema_arrow
            found = said_of(schema).get("schema", "")
            if found != str(SCHEMA):
                got = f"schema {found}" if found else "no schema number"
                wanted = f"wanted is a cells table of schema {SCHEMA}"
                raise OutputError(f"{path}: holds {got}, {wanted}; score the image again")
            if schema.names != [column.name for column in CELL_COLUMNS]:
                raise OutputError(f"{path}: its columns are not those of a cells table; score the image again")
            yield file
    except FileNotFoundError as error:
        raise OutputError(
            f"{path}: the cells table is missing; open the results where they are now, or score the image again"
        ) from error
    except (OSError, pa.ArrowInvalid) as error:
        raise OutputError(f"{path}: no readable cells table ({first_line(error)}); score the image again") from error


def as_pandas(table: pa.Table) -> pd.DataFrame:
    """A cells table, or some of its columns, with the types of ``CELL_COLUMNS``."""
    import pandas as pd  # noqa: PLC0415  slow to import

    columns: dict[str, Any] = {}
    names = set(table.schema.names)
    for column in CELL_COLUMNS:
        if column.name not in names:
            continue
        values = table[column.name]
        if column.dtype == CELL_CLASS_DTYPE:
            columns[column.name] = pd.Categorical(values.to_pandas(), categories=_CLASS_NAMES)
        else:
            columns[column.name] = values.to_numpy().astype(column.dtype, copy=False)
    return pd.DataFrame(columns)


def _arrow_type(column: CellColumn) -> pa.DataType:
    if column.dtype == CELL_CLASS_DTYPE:
        return pa.dictionary(pa.int8(), pa.string())
    return pa.type_for_alias(column.dtype)


def _arrow_field(column: CellColumn) -> pa.Field:
    texts = {"unit": column.unit, "description": column.description}
    may_be_undefined = column.dtype.startswith("float")
    return pa.field(column.name, _arrow_type(column), nullable=may_be_undefined, metadata=texts)


def first_line(error: BaseException) -> str:
    """What an error says in one line, without its full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
