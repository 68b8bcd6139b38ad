"""Arrays, tiles, stain densities and label images.

Pixel convention: ``array[y, x]``; the centre of the first pixel is (0, 0). Optical density (OD) is
``-log10(intensity / white)``. Lengths carry their unit in the name: ``_px``, ``_um``, ``_um2``, ``_od``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from pdl1quant.model.cells import CellClass

UInt8Array: TypeAlias = NDArray[np.uint8]
Float32Array: TypeAlias = NDArray[np.float32]
Float64Array: TypeAlias = NDArray[np.float64]
Int32Array: TypeAlias = NDArray[np.int32]
Int64Array: TypeAlias = NDArray[np.int64]
IntpArray: TypeAlias = NDArray[np.intp]
BoolArray: TypeAlias = NDArray[np.bool_]

HELD_FROM = 0.5
"""Score of a class from which a cell is held for one of it while cells are grown."""

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rect:
    """A half-open rectangle of pixels: ``x0 <= x < x1``, ``y0 <= y < y1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Rows."""
        return self.y1 - self.y0

    def moved(self, x: int, y: int) -> Rect:
        """The same rectangle elsewhere."""
        return Rect(x0=self.x0 + x, y0=self.y0 + y, x1=self.x1 + x, y1=self.y1 + y)

    def of(self, image: NDArray[_T]) -> NDArray[_T]:
        """These pixels of an image (H, W, ...): a view."""
        return image[self.y0 : self.y1, self.x0 : self.x1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Pixels at the working resolution and where they come from.

    ``rgb`` is (H, W, 3) uint8 at ``mpp`` um per pixel. Its first pixel lies at (``x_px``, ``y_px``) of the input image
    and each of its pixels spans ``downsample_x`` by ``downsample_y`` input pixels. It owns the cells whose centroid
    lies in ``core`` (pixels of ``rgb``). Objects are looked for in ``inner`` (the same), all of it when None: what lies
    beyond is there to be seen by the segmenter alone.
    """

    rgb: UInt8Array
    mpp: float
    core: Rect
    x_px: float = 0.0
    y_px: float = 0.0
    downsample_x: float = 1.0
    downsample_y: float = 1.0
    inner: Rect | None = None

    @classmethod
    def whole(cls, rgb: UInt8Array, mpp: float) -> Tile:
        """The tile that owns all of its pixels: a plain image."""
        return cls(rgb=rgb, mpp=mpp, core=Rect(x0=0, y0=0, x1=rgb.shape[1], y1=rgb.shape[0]))

    @property
    def inner_place(self) -> tuple[int, int]:
        """Row and column at which the ``inner`` part begins."""
        return (0, 0) if self.inner is None else (self.inner.y0, self.inner.x0)

    def cropped(self) -> Tile:
        """The tile that is the ``inner`` part of this one; a view of its pixels."""
        inner = self.inner
        if inner is None:
            return self
        return Tile(
            rgb=inner.of(self.rgb),
            mpp=self.mpp,
            core=self.core.moved(-inner.x0, -inner.y0),
            x_px=self.x_px + inner.x0 * self.downsample_x,
            y_px=self.y_px + inner.y0 * self.downsample_y,
            downsample_x=self.downsample_x,
            downsample_y=self.downsample_y,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoiMasks:
    """What a person drew, each (H, W) bool in pixels of the input image.

    Cells outside ``scored`` leave the score. With a ``tumour`` region only the tumour cells inside it count, and the
    immune cells up to 500 um from it; where nothing else is to limit those, ``scored`` is the whole image.
    """

    scored: BoolArray
    tumour: BoolArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StainOD:
    """Optical densities after unmixing, each (H, W) float32, log10; signed ``residual``: > 0 greyer than both."""

    haematoxylin: Float32Array
    dab: Float32Array
    residual: Float32Array

    def cropped(self, rect: Rect | None) -> StainOD:
        """The part in a rectangle, as views; all of it when None."""
        if rect is None:
            return self
        haematoxylin, dab, residual = (rect.of(plane) for plane in (self.haematoxylin, self.dab, self.residual))
        return StainOD(haematoxylin=haematoxylin, dab=dab, residual=residual)


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueGround:
    """What of a rectangle of pixels (H, W) is tissue: a coarser mask, and where in it each pixel lies.

    ``tissue`` is (rows, columns) bool, ``row`` (H,) and ``column`` (W,) int32 are places in it. ``lost`` (k, 4) int32
    are boxes y0, x0, y1, x1 of pixels that could not be read, and are no tissue.
    """

    tissue: BoolArray
    row: Int32Array
    column: Int32Array
    lost: Int32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class StainEstimate:
    """What one case (slide, or folder of tiles) tells of its own staining; measured once, then used for all its tiles.

    ``white`` is the RGB level of empty glass (0-255). The stain vectors are unit OD vectors (R, G, B).
    ``nucleus_od`` is the level of the nucleus signal that separates nuclei from background. Each ``*_source`` says how
    the value was got: ``glass``, ``glass_not_given`` (another level was given), ``given`` or ``assumed`` (white);
    ``estimated``, ``haematoxylin_estimated`` (no DAB to estimate from: DAB fixed) or ``fixed`` (vectors).
    """

    white: tuple[float, float, float]
    haematoxylin: tuple[float, float, float]
    dab: tuple[float, float, float]
    nucleus_od: float
    white_source: str
    vectors_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """What a segmenter found: ``nuclei`` (H, W) int32, labels exactly 1..n; ``cells`` alike or None.

    ``class_scores`` is (n, n_classes) float32 in the order of ``CellClass``, or None.
    """

    nuclei: Int32Array
    cells: Int32Array | None = None
    class_scores: Float32Array | None = None

    def held_for(self, cell_class: CellClass, n: int) -> BoolArray:
        """(n + 1,) which labels are held for a class while cells are grown, by score alone; none without scores."""
        held = np.zeros(n + 1, bool)
        if self.class_scores is not None:
            held[1:] = self.class_scores[:, list(CellClass).index(cell_class)] >= HELD_FROM
        return held


@dataclass(frozen=True, slots=True, kw_only=True)
class Compartments:
    """Label images (H, W) int32 that share labels: label k is one cell in all of them.

    ``nucleus``, ``cytoplasm`` and ``membrane`` are disjoint and together make up ``cell``. ``n_cells`` is the highest
    label.
    """

    nucleus: Int32Array
    cell: Int32Array
    cytoplasm: Int32Array
    membrane: Int32Array
    n_cells: int


MEMBRANE_SECTORS = 32
"""Into how many sectors about its centroid the membrane of a cell is cut; 11 degrees, 1-2 px at the edge of a cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MembraneProfile:
    """The membrane band of each cell along its perimeter, each (n, ``MEMBRANE_SECTORS``), a row per row of the table.

    ``dab_od`` is the mean over a sector of the highest DAB OD within 1 px (the line is 1-2 px wide; 0 without band),
    ``weight`` its band pixels (its share of the perimeter), ``neighbour`` the row of the touching cell in
    the table, -1 for none.
    """

    dab_od: Float32Array
    weight: Float32Array
    neighbour: Int32Array
