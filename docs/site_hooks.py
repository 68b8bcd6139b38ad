"""What the site has that does not lie in ``docs``: pages and files beside it, with their links turned.

The pages are written to be read in the repository, too, where they link to files beside ``docs``. Here these files
become pages (`PAGES`) or downloads (`DOWNLOADS`), and links to them lead there.
"""

# ruff: noqa: INP001 (loaded by mkdocs)
from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "about.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "notebooks/README.md": "notebooks.md",
    "sample_slides/README.md": "sample_images.md",
    "sample_slides/broken/README.md": "broken_files.md",
}
DOWNLOADS = {
    "CITATION.cff": "files/CITATION.cff",
    "LICENSE": "files/LICENSE.txt",
    "models/cells-1/card.toml": "files/card.toml",
    **{f"notebooks/{path.name}": f"files/{path.name}" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))},
}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_SOURCES = {uri: source for source, uri in PAGES.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies beside ``docs``."""
    for source, uri in {**PAGES, **DOWNLOADS}.items():
        files.append(File.generated(config, uri, content=(ROOT / source).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Turn links of the repository into links of the site."""
    source = _SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return _LINK.sub(lambda found: _turned(found, posixpath.dirname(source)), markdown)


def _turned(found: re.Match[str], folder: str) -> str:
    before, link, anchor, after = found.groups()
    if "://" in link:
        return found[0]
    target = posixpath.normpath(posixpath.join(folder, link))
    target = {**PAGES, **DOWNLOADS}.get(target, target.removeprefix("docs/"))
    return f"{before}{target}{anchor or ''}{after}"
