"""Measure PD-L1 on immunohistochemistry images. Research use only.

Names are resolved on first use: importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdl1quant.assays import find_indication, load_pack, pack_names
    from pdl1quant.config import Config, load_config
    from pdl1quant.errors import Pdl1QuantError
    from pdl1quant.model import CELL_COLUMNS, Flag, RoiMasks, SlideResult
    from pdl1quant.pipeline import (
        CaseMember,
        ControlMember,
        analyse_image,
        blank_limit,
        estimate_case,
        sample_image,
        score_case,
        score_image,
    )

    __version__: str

_HOME = {
    "CELL_COLUMNS": "model",
    "CaseMember": "pipeline",
    "Config": "config",
    "ControlMember": "pipeline",
    "Flag": "model",
    "Pdl1QuantError": "errors",
    "RoiMasks": "model",
    "SlideResult": "model",
    "analyse_image": "pipeline",
    "blank_limit": "pipeline",
    "estimate_case": "pipeline",
    "find_indication": "assays",
    "load_config": "config",
    "load_pack": "assays",
    "pack_names": "assays",
    "sample_image": "pipeline",
    "score_case": "pipeline",
    "score_image": "pipeline",
}

__all__ = [
    "CELL_COLUMNS",
    "CaseMember",
    "Config",
    "ControlMember",
    "Flag",
    "Pdl1QuantError",
    "RoiMasks",
    "SlideResult",
    "__version__",
    "analyse_image",
    "blank_limit",
    "estimate_case",
    "find_indication",
    "load_config",
    "load_pack",
    "pack_names",
    "sample_image",
    "score_case",
    "score_image",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  takes longer than all the rest of a start

        return globals().setdefault(name, version("pdl1quant"))
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
