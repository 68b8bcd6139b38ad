"""Sheets -> HTML: one file that needs nothing else, in which no text of a user becomes code.

Jinja2 escapes every value. Scripts and styles are our own files, named by their hash in the content security policy,
so that a browser runs nothing else; the policy allows no connection at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pdl1quant import __version__
from pdl1quant.outputs.captions import RESEARCH_USE_ONLY
from pdl1quant.outputs.flag_words import sorted_flags
from pdl1quant.outputs.palette import KINDS
from pdl1quant.outputs.regions import STYLES
from pdl1quant.report.controls import own_controls
from pdl1quant.report.method import method
from pdl1quant.report.sheet import shared_flags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdl1quant.report.controls import ControlPanel
    from pdl1quant.report.gather import ReportRun
    from pdl1quant.report.sheet import Sheet

_JSON_ESCAPES = {each: f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}
_NO_FILES = "data: blob:"
"""Pictures that are in the page itself. Pages with tiles beside them read those, too."""


def case_page(run: ReportRun, sheet: Sheet, *, controls: Sequence[ControlPanel] = (), home: str = "") -> str:
    """The page of one case, with its viewer; ``home`` is the address of the cohort's page, if there is one."""
    scripts = ("vendor/openseadragon.min.js", "regions.js", "region_panel.js", "viewer.js")
    return rendered_page(
        "case.html",
        run,
        scripts=scripts,
        title=f"{sheet.name}: PD-L1 report",
        sheet=sheet,
        controls=controls,
        home=home,
        data=_json(sheet.shown.data),
        images="'self' file: data: blob:"
        if any("tiles" in each for each in sheet.shown.data["pictures"])
        else _NO_FILES,
    )


def cohort_page(run: ReportRun, sheets: Sequence[Sheet], *, control: ControlPanel | None = None) -> str:
    """The page of many cases: a table, and a sheet for each; microarrays shared out to cases have a page each."""
    arrays = [each for each in sheets if each.is_shared_out]
    sheets = [each for each in sheets if not each.is_shared_out]
    shared = shared_flags(sheets)
    flags = sorted_flags(tuple({flag.name for sheet in sheets for flag in sheet.flags}))
    return rendered_page(
        "cohort.html",
        run,
        scripts=("cohort.js",),
        title="PD-L1 cohort report",
        sheets=sheets,
        control=control,
        own_controls=own_controls(run),
        arrays=arrays,
        shared=shared,
        shared_names={flag.name for flag in shared},
        flag_choices=flags,
        columns=_columns(sheets),
        images=_NO_FILES,
        n_cases=sum(sheet.row.level != "array" for sheet in sheets),
        n_arrays=len(arrays) + sum(sheet.row.level == "array" for sheet in sheets),
        n_images=len(run.image_rows),
        n_tumour=sum(sheet.row.n_tumour or 0 for sheet in sheets),
    )


def rendered_page(
    template: str, run: ReportRun, *, scripts: Sequence[str] = (), images: str = _NO_FILES, **values: Any
) -> str:
    """A page from a template of ours, with what all pages have; ``images`` are the sources that its policy allows."""
    style = _asset("report.css")
    texts = [_asset(name) for name in scripts]
    results = run.results
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            style=Markup(style),  # noqa: S704  our own file
            scripts=[Markup(text) for text in texts],  # noqa: S704  our own files
            policy=_policy(style, texts, images=images),
            version=__version__,
            pack=results.pack,
            indication=results.indication,
            digest=results.config.digest,
            outdated=run.outdated,
            libraries=run.record.get("libraries", {}),
            scored_by=run.record.get("pdl1quant", ""),
            network=str(results.config.nuclei.model_sha256),
            settings=run.record.get("settings", {}),
            method=method(results.pack, results.config, results.indication, has_control=bool(results.limits)),
            kinds=KINDS,
            styles=tuple(STYLES.values()),
            research_use_only=RESEARCH_USE_ONLY,
        )
    )


def _columns(sheets: Sequence[Sheet]) -> list[str]:
    """Free columns that are shown in the table: the first three; the sheets have all."""
    names = dict.fromkeys(name for sheet in sheets for name, _ in sheet.extra)
    return list(names)[:3]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pdl1quant.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment


@cache
def _asset(name: str) -> str:
    return files("pdl1quant.report").joinpath("assets", *name.split("/")).read_text(encoding="utf-8")


def _policy(style: str, scripts: Sequence[str], *, images: str) -> str:
    allowed = " ".join(_hash(text) for text in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src {images}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _json(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escaped in _JSON_ESCAPES.items():  # str.translate takes its time over each character
        text = text.replace(character, escaped)
    return Markup(text)  # noqa: S704  escaped above
