"""The page that explains ``scores.csv`` and the cells table column by column, written from their schemas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdl1quant.model import CELL_COLUMNS, EXCLUDING_FLAGS, Flag
from pdl1quant.outputs.scores_table import DECIMALS, SCORE_COLUMNS
from pdl1quant.outputs.tables import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdl1quant.model import CellColumn
    from pdl1quant.outputs.scores_table import ScoreColumn

_SPREADSHEET = f"""\
**In a spreadsheet.** The file is UTF-8 with commas between cells and points in numbers. Where the language of your
spreadsheet writes decimals with a comma, do not double-click the file: use *Data > From text/CSV* and choose comma as
delimiter and English as language, or `42.5` becomes a date or a text. Then:

- Filter `level` = `case` first: images and their cases stand in one table, and a sum over both counts everything twice.
- A case's `tps` comes from all its cells. It is **not** the average of its images; do not average percentages.
- Percentages are 0 to 100, not 0 to 1, and carry {DECIMALS} decimals: more than may be reported (whole per cent, or
  `< 1`).
- **An empty cell is not zero**: the value is undefined or unknown, and `flags` or `error` says why.
- Several words in a cell (`flags`, `calls`) are joined by `;`. A text that a spreadsheet would run as a formula has a
  leading apostrophe.
- The free columns of your cases table, and of the map of a microarray, follow at the end, as you wrote them.

[How the numbers are made](how_numbers_are_made.md) explains every [flag](how_numbers_are_made.md#flags-of-a-result)
and [status](how_numbers_are_made.md#status-of-a-row). To read a row: *of `n_tumour` viable tumour cells
`n_tumour_positive` are positive where `score_compartment` says; that is `tps` %, and with what is uncertain
about it between `tps_low` and `tps_high` %.* The counts behind `cps` and `h_score` stand beside them: of `n_immune`
immune cells `n_immune_positive` are positive, and `n_grade_1` to `n_grade_3` tumour cells have these grades. Counts
may be summed where percentages may not."""

_CELLS = f"""\
Parquet keeps types and units; `pdl1quant export RESULT --to csv` makes one CSV for each image of it, with `image` and
`case` before these columns and `flag_names` (words) after `flags` ([exports](exports.md)). Lengths and areas are true
ones (um, um2), whatever the pixel size of the input. **OD** is apparent optical density, log10: 0 is glass, 0.2 passes
63 % of the light, 1 passes 10 %. The same texts are in the Parquet file, as metadata of each field.

**To count a score again**: a viable tumour cell is one whose `cell_class` is `tumour` and whose `flags` hold no number
that [leaves the score](#numbers-of-flags) (bitwise: `flags & {int(EXCLUDING_FLAGS)}` is 0). Which of them are positive
hangs on `score_compartment` of the row: `membrane_positive` for `membrane`, `positive` for `cytoplasm` (cytoplasm or
membrane), `cell_positive` for `cell`. **`positive` is the same under every rule pack**: under `28-8-label`, which reads
membranes, it is not the numerator of `tps`. Immune cells of the CPS are positive by `positive`, whatever the pack;
those with a number that leaves the score, or with `far_from_tumour`, are not counted."""


def columns_markdown() -> str:
    """Text of ``docs/columns.md``: every column of both tables with type, unit and meaning."""
    return "\n".join(
        [
            "# Columns",
            "",
            f"What each column of the results says. Schema {SCHEMA}; this page is written from it by `make pages`.",
            "",
            "## `scores.csv`: a row per image and per drawn region of it, then per case",
            "",
            _SPREADSHEET,
            "",
            *columns_table(SCORE_COLUMNS),
            "",
            "## `cells/*.parquet`: a row per cell, sorted by y, then x",
            "",
            _CELLS,
            "",
            *columns_table(CELL_COLUMNS),
            "",
            "### Numbers of `flags`",
            "",
            "A cell with several has their sum: 3 is 1 and 2.",
            "[What each means](how_numbers_are_made.md#7-which-cells-count).",
            "",
            *_flags_table(),
            "",
        ]
    )


def columns_table(columns: Iterable[ScoreColumn | CellColumn]) -> list[str]:
    """Columns as the lines of a table in Markdown."""
    rows = [f"| `{name}` | {dtype} | {unit} | {description} |" for name, dtype, unit, description in columns]
    return ["| column | type | unit | meaning |", "|---|---|---|---|", *rows]


def _flags_table() -> list[str]:
    leaves = {Flag.FAR_FROM_TUMOUR: "the CPS", **dict.fromkeys(EXCLUDING_FLAGS, "yes")}
    rows = [f"| {int(flag)} | `{str(flag.name).lower()}` | {leaves.get(flag, '')} |" for flag in Flag if flag]
    return ["| number | word | leaves the score |", "|---|---|---|", *rows]
