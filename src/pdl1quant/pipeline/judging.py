"""Measured cells -> what each is, and which are positive: all that needs no pixels any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdl1quant import naming
from pdl1quant.model import CLASS_PROBABILITIES
from pdl1quant.stages import classify, positivity, quality

if TYPE_CHECKING:
    import pandas as pd

    from pdl1quant.config import Config
    from pdl1quant.model import Float32Array, RulePack, StainEstimate
    from pdl1quant.stages.measure import Measured


def judge_cells(
    measured: Measured,
    class_scores: Float32Array | None,
    *,
    mpp: float,
    estimate: StainEstimate,
    config: Config,
    pack: RulePack,
) -> pd.DataFrame:
    """Name measured cells and say which are positive: all that needs no pixels any more.

    Parameters
    ----------
    measured
        Cells table with measurements and flags, and the membranes; of one tile, or put together from several.
    class_scores
        (n, classes) float32 of the segmenter, if it has any.
    mpp
        um per pixel of ``x_px``, ``y_px``.
    estimate, config, pack
        As in `analyse_tile`.
    """
    cells = naming.name_cells(measured.cells, class_scores, mpp=mpp, estimate=estimate, config=config)

    def judged(named: pd.DataFrame) -> pd.DataFrame:
        dense = quality.flag_pyknotic(named, estimate=estimate)
        flagged = named.assign(flags=named["flags"] | dense)
        return positivity.call_positive(
            flagged, measured.membrane, compartment=pack.compartment, config=config.positivity
        )

    first = last = judged(cells)
    if class_scores is not None:
        last = classify.weigh_brown_company(classify.weigh_blue_company(first, mpp=mpp), mpp=mpp)
        if not last["cell_class"].equals(first["cell_class"]):
            last = judged(cells.assign(**last[["cell_class", *CLASS_PROBABILITIES]]))
    return positivity.keep_shared_lines(
        last, measured.membrane, around=first, mpp=mpp, compartment=pack.compartment, config=config.positivity
    )
