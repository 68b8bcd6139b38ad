"""The pages hold what they say: links resolve, examples run, generated pages are current."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import pdl1quant
from pdl1quant.cli import cli
from pdl1quant.model import Flag, ResultFlag, Status
from pdl1quant.outputs.settings_page import settings_markdown
from pdl1quant.pipeline import images
from pdl1quant.stages import stains

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("sample_slides/**/*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def _name(page):
    return page.relative_to(ROOT).as_posix()


def _anchors(page):
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_resolve(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{_name(page)}: {link}"
        assert not anchor or anchor in _anchors(target), f"{_name(page)}: {link}"


def test_library_snippet_of_the_readme_runs(capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})  # noqa: S102  the claim is that it runs
    assert "TPS (cytoplasm)" in capsys.readouterr().out


def test_page_on_python_has_every_public_name_and_runs(capsys):
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    rows = "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", rows)) == sorted(pdl1quant.__all__)
    names = {}
    for snippet in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(compile(snippet, "python.md", "exec"), names)  # noqa: S102  the claim is that it runs
    assert "UsageError: mpp = 50" in capsys.readouterr().out
    assert "tumour_unconfirmed" not in names["score"].flags
    assert names["case"].evaluable is False
    assert bool(names["limit"].problems) == ("control_unusable" in names["held"].flags)


@pytest.mark.parametrize("module", [images, stains], ids=lambda module: module.__name__)
def test_examples_of_docstrings_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_configuration_page_is_current():
    page = ROOT / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == settings_markdown(), "run: make pages"


def test_readme_names_options_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    known = {name for option in cli.commands["score"].params for name in option.opts}
    rows = re.findall(r"^\| (`-.*?) \|", text, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(--?[a-z-]+)", row)}
    assert named
    assert named <= known


def test_architecture_names_every_module():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "pdl1quant"
    modules = [path for folder in ("", "stages", "batch", "slides", "outputs") for path in (package / folder).glob("*")]
    names = {path.stem for path in modules if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__"}
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()


def test_every_flag_and_status_is_explained():
    text = (ROOT / "docs" / "how_numbers_are_made.md").read_text(encoding="utf-8")
    names = [*(flag.name for flag in Flag), *ResultFlag, *Status]
    assert [name for name in names if f"| `{name}` |" not in text] == []
