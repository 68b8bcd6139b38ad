"""From what a file says about its resolution, and what the user says, to one pixel size in um. Never guessed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pdl1quant.errors import PixelSizeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_MPP = 0.1
MAX_MPP = 2.0
"""Microscope images for cell scoring lie between 0.1 (100x oil) and 2 um per pixel (5x). A print resolution is far
outside: 72 dpi is 353 um per pixel, 300 dpi is 85."""

MAX_ANISOTROPY = 0.05
"""Sides of a pixel that differ by more than this share are not taken for square."""

MAX_RESAMPLED_ANISOTROPY = 2.0
"""Line scanners with unequal steps stay below this; sides that differ more are a lie of the header."""

OVERRIDE_TOLERANCE = 0.01
"""A given pixel size within this share of the file's is no contradiction."""

MppSource: TypeAlias = Literal["given", "metadata"]

_UM_PER_UNIT = {
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nanometer": 1e-3,
    "millimeter": 1e3,
    "nm": 1e-3,
    "å": 1e-4,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "in": 25_400.0,
    "inch": 25_400.0,
}
_MICRO_SIGNS = str.maketrans({"\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u"})
_APERIO_MPP = re.compile(r"\bMPP\s*=\s*([0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedSize:
    """Sides of a pixel as a file states them, in um; any positive numbers."""

    x_um: float
    y_um: float

    @property
    def mean_um(self) -> float:
        """Side of the square pixel of equal area."""
        return math.sqrt(self.x_um * self.y_um)

    @property
    def plausible(self) -> bool:
        """Whether both sides can be those of a microscope's pixel."""
        return all(MIN_MPP <= side <= MAX_MPP for side in (self.x_um, self.y_um))


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSize:
    """The pixel size that counts, where it is from, and what the file said (um per pixel).

    ``overridden``: the user contradicts the file, be it that its pixels are square.
    """

    mpp: float
    source: MppSource
    metadata_mpp: float | None
    overridden: bool


def resolve_pixel_size(name: str, stated: StatedSize | None, *, given: float | None) -> PixelSize:
    """Choose the given pixel size, else the file's.

    Parameters
    ----------
    name
        Name of the file, for the messages.
    stated
        What the file says, or None. Outside 0.1-2 um per pixel it counts as missing.
    given
        What the user says, um per pixel; wins over the file.

    Raises
    ------
    PixelSizeError
        Nothing is given and the file says nothing, something implausible, or that its pixels are not square.
    UsageError
        ``given`` is outside 0.1-2 um per pixel.
    """
    check_given(given)
    metadata = stated.mean_um if stated is not None and stated.plausible else None
    if given is not None:
        overridden = metadata is not None and abs(given - metadata) > OVERRIDE_TOLERANCE * metadata
        overridden |= metadata is not None and not _is_square(stated)
        return PixelSize(mpp=given, source="given", metadata_mpp=metadata, overridden=overridden)
    if stated is None:
        raise PixelSizeError(f"{name}: no pixel size in the file; pass --mpp (um per pixel)")
    if metadata is None:
        raise PixelSizeError(
            f"{name}: the file says {_pixel(stated)}, not one of a microscope ({MIN_MPP:g}-{MAX_MPP:g}); "
            "pass --mpp (um per pixel)"
        )
    if not _is_square(stated):
        raise PixelSizeError(
            f"{name}: pixels of {_pixel(stated)} are not square; export it with square pixels, or pass --mpp"
        )
    return PixelSize(mpp=metadata, source="metadata", metadata_mpp=metadata, overridden=False)


def _is_square(stated: StatedSize | None) -> bool:
    return stated is None or max(stated.x_um, stated.y_um) <= (1 + MAX_ANISOTROPY) * min(stated.x_um, stated.y_um)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSides:
    """Sides of a slide's pixel (um), where they are from, and whether the user contradicts the file."""

    x_um: float
    y_um: float
    source: MppSource
    overridden: bool


def resolve_sides(name: str, stated: StatedSize | None, *, given: float | None) -> PixelSides:
    """Like `resolve_pixel_size`, for slides, which are resampled to square pixels: sides may differ up to twofold.

    Raises
    ------
    PixelSizeError
        Nothing is given and the file says nothing, or something implausible.
    UsageError
        ``given`` is outside 0.1-2 um per pixel.
    """
    if given is None and stated is not None and stated.plausible:
        shorter, longer = sorted((stated.x_um, stated.y_um))
        if longer > MAX_RESAMPLED_ANISOTROPY * shorter:
            raise PixelSizeError(
                f"{name}: the file says {_pixel(stated)}, no shape of a pixel; pass --mpp (um per pixel)"
            )
        return PixelSides(x_um=stated.x_um, y_um=stated.y_um, source="metadata", overridden=False)
    size = resolve_pixel_size(name, stated, given=given)
    return PixelSides(x_um=size.mpp, y_um=size.mpp, source=size.source, overridden=size.overridden)


def check_given(mpp: float | None) -> None:
    """Refuse a pixel size from the user that is outside 0.1-2 um per pixel."""
    if mpp is not None and not MIN_MPP <= mpp <= MAX_MPP:
        raise UsageError(
            f"--mpp {mpp:g}: outside {MIN_MPP:g}-{MAX_MPP:g}; give um per pixel, about 0.5 at x200 and 0.25 at x400"
        )


def size_from_density(x: object, y: object, *, unit: str) -> StatedSize | None:
    """Pixels per unit of length, x and y; None for an unknown unit or a number without meaning."""
    um = _um_per(unit)
    per_x, per_y = _positive(x), _positive(y)
    if um is None or per_x is None or per_y is None:
        return None
    return _stated(um / per_x, um / per_y)


def size_from_ome(pixels: Mapping[str, Any]) -> StatedSize | None:
    """OME-XML's ``PhysicalSizeX`` and ``Y`` of ``Pixels``, with their units (um where none is named)."""
    sides = []
    for axis in "XY":
        length = _positive(pixels.get(f"PhysicalSize{axis}"))
        um = _um_per(str(pixels.get(f"PhysicalSize{axis}Unit", "um")))
        if length is None or um is None:
            return None
        sides.append(length * um)
    return _stated(sides[0], sides[1])


def size_from_scale(x: object, y: object, *, unit_x: object, unit_y: object) -> StatedSize | None:
    """OME-Zarr's scale along x and y with the units of the axes; None without a unit, as that may be pixels."""
    um_x, um_y = _um_per(str(unit_x)), _um_per(str(unit_y))
    side_x, side_y = _positive(x), _positive(y)
    if um_x is None or um_y is None or side_x is None or side_y is None:
        return None
    return _stated(side_x * um_x, side_y * um_y)


def size_from_aperio(description: str) -> StatedSize | None:
    """``MPP = 0.25`` in an Aperio image description."""
    found = _APERIO_MPP.search(description)
    side = _positive(found[1]) if found else None
    return None if side is None else _stated(side, side)


def _stated(x_um: float, y_um: float) -> StatedSize | None:
    if not all(math.isfinite(side) and side > 0 for side in (x_um, y_um)):
        return None
    return StatedSize(x_um=x_um, y_um=y_um)


def _um_per(unit: str) -> float | None:
    plain = unit.strip().replace("\\u00B5", "u").replace("\\u00b5", "u").translate(_MICRO_SIGNS)
    return _UM_PER_UNIT.get(plain.lower())


def _positive(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # rationals, strings, anything a file may hold
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _pixel(stated: StatedSize) -> str:
    x_um, y_um = f"{stated.x_um:.4g}", f"{stated.y_um:.4g}"
    return f"{x_um} um per pixel" if x_um == y_um else f"{x_um} x {y_um} um per pixel"
