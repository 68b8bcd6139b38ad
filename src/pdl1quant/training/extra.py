"""Packages of the extra ``train``, imported when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pdl1quant.errors import UsageError


def import_extra(module: str, *, package: str) -> Any:
    """A module of an optional package.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"train: needs {package} ({error}); run: pip install 'pdl1quant[train]'") from error
