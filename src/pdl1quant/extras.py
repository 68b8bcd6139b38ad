"""Packages of an extra of pdl1quant, imported when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pdl1quant.errors import UsageError


def import_extra(module: str, *, package: str, extra: str) -> Any:
    """A module of an optional package.

    Raises
    ------
    UsageError
        It is not installed; the message names the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"{extra}: needs {package} ({error}); run: pip install 'pdl1quant[{extra}]'") from error
