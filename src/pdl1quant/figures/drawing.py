"""How figures look, and how they are written: PDF, SVG and PNG, the same bytes for the same content.

Colours of lines are those of Okabe & Ito (2008), which readers with any colour vision tell apart; those of cells are
`pdl1quant.outputs.palette`, as in overlays and reports.
"""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pdl1quant import __version__
from pdl1quant.extras import import_extra
from pdl1quant.outputs.claims import refuse_foreign
from pdl1quant.outputs.files import replace_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FORMATS = ("pdf", "svg", "png")
FULL_WIDTH_IN = 7.09
"""180 mm: both columns of a journal's page."""
PNG_DPI = 300

INK = "#1a1a1e"
GREY = "#6f6f76"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"

_SOFTWARE = f"pdl1quant {__version__}"
_METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"Creator": _SOFTWARE, "CreationDate": None},
    "svg": {"Creator": _SOFTWARE, "Date": None},
    "png": {"Software": _SOFTWARE},
}
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on each machine
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar in a case's name is a dollar
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "path",
    "svg.hashsalt": "pdl1quant",  # names inside the file are the same each time
    "image.interpolation": "bicubic",
}


def check_installed() -> None:
    """Make sure that figures can be drawn.

    Raises
    ------
    UsageError
        matplotlib is missing.
    """
    import_extra("matplotlib.figure", package="matplotlib", extra="figures")


@contextmanager
def figure(width_in: float, height_in: float) -> Iterator[Any]:
    """An empty matplotlib figure in the style of all; draw and write it within the block."""
    matplotlib = import_extra("matplotlib", package="matplotlib", extra="figures")
    figure_type = import_extra("matplotlib.figure", package="matplotlib", extra="figures").Figure
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield figure_type(figsize=(width_in, height_in), layout="constrained")


def panel_letter(axes: Any, letter: str) -> None:
    """The bold letter by which a caption speaks of a panel."""
    axes.set_title(letter, loc="left", fontweight="bold", pad=3)


def line_labels(axis: Any, values: Sequence[float]) -> None:
    """Numbers at the far end of reference lines; ``axis`` is a secondary axis of matplotlib without marks."""
    axis.set_ticks(list(values), [f"{value:g}" for value in values])
    axis.axes.tick_params(length=0, labelcolor=GREY, pad=1)
    axis.axes.spines[:].set_visible(False)


def write_figure(drawn: Any, stem: Path) -> tuple[Path, ...]:
    """Write ``stem.pdf``, ``.svg`` and ``.png``; call it inside the block of `figure`.

    Raises
    ------
    OutputError
        A file cannot be written, or pdl1quant did not write one that is there; then none is.
    """
    paths = tuple(stem.with_name(f"{stem.name}.{form}") for form in FORMATS)
    for path in paths:
        refuse_foreign(path)
    for form, path in zip(FORMATS, paths, strict=True):
        file = io.BytesIO()
        drawn.savefig(file, format=form, dpi=PNG_DPI, metadata=_METADATA[form])
        with replace_atomically(path) as partial:
            partial.write_bytes(file.getvalue())
    return paths
