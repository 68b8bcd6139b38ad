"""What was run: inputs by hash, versions, settings; and, apart from the rest, how long it took."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pdl1quant import __version__
from pdl1quant.errors import OutputError
from pdl1quant.outputs.files import replace_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMINGS = "timings"
"""The one key under which two runs of the same input may differ."""


def write_run_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write ``run.json``: keys sorted, two spaces of indent, UTF-8, a newline at the end.

    Parameters
    ----------
    path
        File to write; replaced as a whole.
    record
        JSON values by name; ``pdl1quant`` (the version) is added. Whatever differs between two runs of the same input
        (times, durations) belongs under ``timings``.

    Raises
    ------
    OutputError
        A value is none of JSON's (NaN and infinity are not), or the file cannot be written.
    """
    try:
        text = json.dumps({**record, "pdl1quant": __version__}, sort_keys=True, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OutputError(f"{path}: a value of the run's record does not fit into JSON ({error})") from error
    with replace_atomically(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8", newline="\n")


def read_run_record(path: Path) -> dict[str, Any]:
    """Read what `write_run_record` wrote.

    Raises
    ------
    OutputError
        The file is missing, cut off, or not a record of pdl1quant.
    """
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: no readable record of a run ({error}); run again with --overwrite") from error
    if not isinstance(record, dict) or "pdl1quant" not in record:
        raise OutputError(f"{path}: not a record of pdl1quant; choose another folder")
    return record
