"""Rule packs: how one assay is read, as data with citations.

Each ``<name>.toml`` beside this file is one pack: the compartment that is scored, the adequacy of a case, reference
lines, and per indication the published cut-offs with jurisdiction, drug, date and source. A laboratory's own pack is a
file of the same form, named by its path.
"""

from __future__ import annotations

import difflib
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pdl1quant.config import decode_toml
from pdl1quant.errors import AssayError
from pdl1quant.model import Compartment, CutOff, Indication, RulePack

__all__ = ["find_indication", "load_pack", "pack_names"]

_SUFFIX = ".toml"

_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
_Percent = Annotated[float, Field(gt=0, le=100)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _CutOffTable(_Table):
    score: Literal["tps", "cps"]
    value: _Percent
    jurisdiction: _Text
    drug: _Text
    date: _Text
    citation: _Text
    qualifies: Literal["at_least", "below"] = "at_least"


class _IndicationTable(_Table):
    name: _Name
    title: _Text
    cut_offs: tuple[_CutOffTable, ...] = Field(min_length=1)
    min_tumour_cells: int | None = Field(default=None, ge=1)


class _PackFile(_Table):
    name: _Name
    assay: _Text
    title: _Text
    score_name: _Text
    compartment: Compartment
    makes_calls: bool
    min_tumour_cells: int = Field(ge=1)
    reference_lines_pct: tuple[_Percent, ...] = ()
    citations: tuple[_Text, ...] = Field(min_length=1)
    without_cut_off: tuple[_Name, ...] = ()
    indications: tuple[_IndicationTable, ...] = ()


def pack_names() -> tuple[str, ...]:
    """Names of the rule packs that are part of the package, sorted."""
    names = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def load_pack(name_or_path: str | Path) -> RulePack:
    """Read a rule pack.

    Parameters
    ----------
    name_or_path
        One of `pack_names`, or the path of a file that ends in ``.toml``; UTF-8, or as Windows writes it.

    Returns
    -------
    RulePack
        Checked and frozen.

    Raises
    ------
    AssayError
        No such pack (the message names the nearest one), or a file that cannot be read, is not TOML, has an unknown
        key, lacks one, holds a value out of range, or goes by the name or the score name of a pack of the package
        without having its rules.
    """
    name = str(name_or_path)
    if name in pack_names():
        return _load_own(name)
    if not name.endswith(_SUFFIX):
        raise AssayError(f"no rule pack {name!r}{_hint(name, pack_names())}, or the path of a .toml file")
    try:
        text = decode_toml(Path(name).read_bytes())
    except OSError as error:
        raise AssayError(f"{name}: cannot read the rule pack ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise AssayError(f"{name}: not a TOML file in UTF-8: {error}") from error
    return _under_its_own_name(_parse(text, source=name), source=name)


def find_indication(pack: RulePack, name: str) -> Indication:
    """The indication of ``pack`` called ``name``; case, spaces and underscores do not matter.

    Raises
    ------
    AssayError
        Not in the pack. The message says so where a cut-off was looked for and none found (prostate, cervix and HCC
        under 28-8), else it names the nearest indication and lists all.
    """
    if not isinstance(name, str):
        raise AssayError(f"indication {name!r}: expected its name, got {type(name).__name__}; see `pdl1quant assays`")
    wanted = name.strip().lower().replace(" ", "-").replace("_", "-")
    choices = {indication.name: indication for indication in pack.indications}
    if wanted in choices:
        return choices[wanted]
    if {wanted, *wanted.split("-")} & set(pack.without_cut_off):
        raise AssayError(
            f"indication {name!r}: no {pack.assay} cut-off was found for it, so no call can be made; "
            "leave the indication out"
        )
    if not choices:
        raise AssayError(
            f"indication {name!r}: the rule pack {pack.name} has no indications and makes no calls; "
            "leave the indication out or choose another pack"
        )
    raise AssayError(f"{pack.name} has no indication {name!r}{_hint(wanted, tuple(choices))}")


@cache
def _load_own(name: str) -> RulePack:
    text = files(__name__).joinpath(name + _SUFFIX).read_text(encoding="utf-8")
    return _parse(text, source=name)


def _parse(text: str, *, source: str) -> RulePack:
    try:
        table = _PackFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise AssayError(f"{source}: not a TOML file: {error}") from error
    except ValidationError as error:
        raise AssayError(f"{source}: {_explain(error)}") from None
    names = [indication.name for indication in table.indications]
    if len(set(names)) < len(names):
        raise AssayError(f"{source}: two indications have the same name; rename one of {', '.join(sorted(names))}")
    values: dict[str, Any] = table.model_dump(exclude={"indications"})
    return RulePack(**values, indications=tuple(_indication(each) for each in table.indications))


def _under_its_own_name(pack: RulePack, *, source: str) -> RulePack:
    """The pack, unless it would pass for one of the package's with other rules."""
    shipped = [_load_own(name) for name in pack_names()]
    if pack in shipped:
        return pack
    for other in shipped:
        for key in ("name", "score_name"):
            mine, theirs = (" ".join(str(getattr(each, key)).split()) for each in (pack, other))
            if mine.casefold() == theirs.casefold():
                raise AssayError(
                    f"{source}: {key} = {mine!r}: that is the rule pack {other.name} of pdl1quant, which has other "
                    "rules; choose another"
                )
    return pack


def _indication(table: _IndicationTable) -> Indication:
    cut_offs = tuple(CutOff(**cut_off.model_dump()) for cut_off in table.cut_offs)
    return Indication(name=table.name, title=table.title, cut_offs=cut_offs, min_tumour_cells=table.min_tumour_cells)


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"the key {where!r} is missing"
    if first["type"] != "extra_forbidden":
        return f"{where} = {first['input']!r}: {first['msg'].lower()}"
    tables: dict[int, type[_Table]] = {1: _PackFile, 3: _IndicationTable, 5: _CutOffTable}
    known = tuple(tables[len(first["loc"])].model_fields)
    return f"unknown key {where!r}{_hint(str(first['loc'][-1]), known)}"


def _hint(name: str, choices: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(name, choices, n=1)
    return f"; {f'the nearest is {nearest[0]!r}, ' if nearest else ''}choose from {', '.join(choices)}"
