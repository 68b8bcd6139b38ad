"""The page of all settings: names, types, defaults and ranges from the configuration itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from pdl1quant.config import Config

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_HEAD = """\
# Configuration

Written by `pdl1quant.outputs.settings_page.settings_markdown`; change the configuration, not this page.

Every default stands in one frozen tree of settings, `pdl1quant.Config`. Units are in the names. Change a setting

- in a file: `pdl1quant config show > settings.toml` prints all settings as TOML with their meaning; edit it, then
  `pdl1quant score ... --config settings.toml`. A file may hold just the settings that differ;
- on the command line: `--set positivity.dab_od=0.25`, as often as needed; it wins over the file. `none` takes back
  a setting that is none by default. The most frequent ones have an option of their own, see `pdl1quant score --help`;
- in Python: `load_config(path, ["positivity.dab_od=0.25"])`, given to `score_image(..., config=...)`.

An unknown name, a wrong type or a value out of range is refused, and the message names the nearest setting. All
settings are written to `run.json`; `config_digest` in `scores.csv` changes with any of them.
"""
_SYMBOLS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def settings_markdown() -> str:
    """Text of ``docs/configuration.md``: every setting with type, default, range and meaning."""
    fields = Config.model_fields
    plain = {name: info for name, info in fields.items() if not _is_section(info)}
    parts = [_HEAD, "## General\n", *_table(plain)]
    for name, info in fields.items():
        if _is_section(info):
            section: type[BaseModel] = type(info.default)
            parts += ["", f"## `{name}`\n", f"{(section.__doc__ or '').strip()}\n", *_table(section.model_fields, name)]
    return "\n".join(parts) + "\n"


def _is_section(info: FieldInfo) -> bool:
    return isinstance(info.default, BaseModel)


def _table(fields: dict[str, FieldInfo], section: str = "") -> list[str]:
    rows = [_row(f"{section}.{name}" if section else name, info) for name, info in fields.items()]
    return ["| setting | type | default | range | meaning |", "|---|---|---|---|---|", *rows]


def _row(name: str, info: FieldInfo) -> str:
    meaning = " ".join((info.description or "").replace("``", "`").split())
    return f"| `{name}` | {_type(info.annotation)} | {_default(info.default)} | {_range(info.metadata)} | {meaning} |"


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"{len(get_args(annotation))} numbers"
    choices = get_args(annotation) or (annotation,)
    names = {float: "number", int: "whole number", bool: "true or false", str: "text", type(None): "none"}
    return " or ".join(names[choice] for choice in choices)


def _default(value: Any) -> str:
    if value is None:
        return "none"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _range(constraints: list[Any]) -> str:
    limits = [
        f"{symbol} {getattr(constraint, key):g}"
        for constraint in constraints
        for key, symbol in _SYMBOLS.items()
        if getattr(constraint, key, None) is not None
    ]
    return ", ".join(limits)
