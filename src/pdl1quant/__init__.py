"""Measure PD-L1 on immunohistochemistry images. Research use only."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("pdl1quant")
