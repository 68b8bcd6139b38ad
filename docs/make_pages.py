"""Write the pages that are made from the code: ``python docs/make_pages.py``."""

# ruff: noqa: INP001 (a script, no package)
from __future__ import annotations

from pathlib import Path

from pdl1quant.outputs.columns_page import columns_markdown
from pdl1quant.outputs.reviewed import reviewed_markdown
from pdl1quant.outputs.settings_page import settings_markdown

PAGES = {
    "columns.md": columns_markdown,
    "columns_reviewed.md": reviewed_markdown,
    "configuration.md": settings_markdown,
}


def main() -> None:
    """Write each page beside this script."""
    for name, text in PAGES.items():
        (Path(__file__).parent / name).write_text(text(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
