"""What a caller gives is refused in a line that says what to do, where it is not what the pipeline works on."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pdl1quant.config import Config
from pdl1quant.errors import UsageError
from pdl1quant.model import BlankLimit, Indication, RulePack, StainEstimate

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

MPP_RANGE = (0.1, 2.0)
"""Pixel sizes (um) of bright-field scans; others are mistakes."""
WHITE_RANGE = (128, 255)
"""Levels of empty glass in each channel; what is darker is no glass, or shares (0-1) are meant."""

_KINDS = {
    "config": (Config, "pdl1quant.Config() holds the defaults, load_config reads a file"),
    "pack": (RulePack, "load_pack('28-8-cytoplasm') reads one"),
    "estimate": (StainEstimate, "estimate_case makes it of the samples of a case"),
    "indication": (Indication, "take one of pack.indications"),
    "blank": (BlankLimit, "blank_limit makes it of negative controls"),
}
_MAY_BE_NONE = {"indication", "blank"}


def check_given(**given: object) -> None:
    """Refuse ``config``, ``pack``, ``estimate``, ``indication`` or ``blank`` of another type; the last two may be None.

    An ``indication`` of another rule pack is refused, too: its cut-offs are not for what this one reads.
    """
    for name, value in given.items():
        kind, advice = _KINDS[name]
        if not isinstance(value, kind) and not (name in _MAY_BE_NONE and value is None):
            raise UsageError(f"{name}: expected {kind.__name__}, got {type(value).__name__}; {advice}")
    pack, indication = given.get("pack"), given.get("indication")
    if isinstance(pack, RulePack) and isinstance(indication, Indication) and indication not in pack.indications:
        raise UsageError(
            f"indication: {indication.name!r} is of another rule pack, not of {pack.name}; find_indication(pack, name) "
            "finds those of a pack"
        )


def listed(values: Iterable[T], kind: type[T], *, name: str, advice: str) -> tuple[T, ...]:
    """The ``values`` of a list called ``name``; one alone, and anything but ``kind`` among them, is refused."""
    try:
        found = tuple(values)
    except TypeError:
        raise UsageError(f"{name}: expected a list, got {type(values).__name__}; {advice}") from None
    for value in found:
        if not isinstance(value, kind):
            raise UsageError(f"{name}: expected {kind.__name__}, got {type(value).__name__}; {advice}")
    return found


def check_pixels(rgb: object) -> None:
    """Refuse what is no (H, W, 3) uint8 array with a pixel, as a `UsageError`."""
    if not isinstance(rgb, np.ndarray):
        got, advice = type(rgb).__name__, "read the image first, or give numpy.asarray(image)"
    elif rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.dtype == np.uint8 and rgb.size:
        return
    else:
        got, advice = f"{rgb.dtype} {rgb.shape}", _advice(rgb)
    raise UsageError(f"rgb: expected a (H, W, 3) uint8 array, got {got}; {advice}")


def _advice(rgb: np.ndarray[Any, Any]) -> str:
    if rgb.size == 0:
        return "it has no pixel"
    if rgb.ndim == 2 or (rgb.ndim == 3 and rgb.shape[2] == 1):
        return "stains cannot be told apart in grey: give the image in colour"
    if rgb.ndim == 3 and rgb.shape[2] == 4:
        return "leave the fourth channel out: rgb[..., :3]"
    if rgb.ndim == 3 and rgb.shape[0] == 3 != rgb.shape[2]:
        return "channels come last: numpy.moveaxis(rgb, 0, -1)"
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        return "give one image of three channels"
    return "scale it so that white is 255, round, and give rgb.astype(numpy.uint8)"


def check_mpp(mpp: Any) -> None:
    """Refuse what is no pixel size of a bright-field scan."""
    low, high = MPP_RANGE
    if isinstance(mpp, bool) or not isinstance(mpp, Real):
        raise UsageError(f"mpp = {mpp!r}: expected a number, um per pixel; the scanner's software says it")
    if not low <= float(mpp) <= high:
        raise UsageError(f"mpp = {mpp}: a bright-field scan has {low:g} to {high:g} um per pixel; check the pixel size")


def check_white(white: object) -> None:
    """Refuse what is no level of empty glass."""
    low, high = WHITE_RANGE
    levels = np.asarray(white)
    if levels.shape != (3,) or levels.dtype.kind not in "iuf" or not ((levels >= low) & (levels <= high)).all():
        raise UsageError(f"white = {white}: give the level of empty glass, {low} to {high} in each channel (R, G, B)")
