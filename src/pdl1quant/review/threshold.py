"""Another DAB cut-off: looked at on a case, accepted for the next run only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdl1quant.config import config_from, config_toml
from pdl1quant.errors import ReviewError
from pdl1quant.outputs.files import replace_atomically
from pdl1quant.review.edits import EditKind

if TYPE_CHECKING:
    from pathlib import Path

    from pdl1quant.config import Config
    from pdl1quant.review.session import Review


def config_with_threshold(config: Config, dab_od: float) -> Config:
    """The settings with another t1.

    Raises
    ------
    ConfigError
        It is none.
    """
    tree = config.model_dump(mode="json")
    tree["positivity"]["dab_od"] = dab_od
    return config_from(tree, source="positivity.dab_od")


def accept_threshold(review: Review, dab_od: float, path: Path, *, reviewer: str) -> Config:
    """Write the settings of a next run with another t1, and note in the ledger that this case saw it.

    The calls of the case at hand are withdrawn: thresholds belong to a scanner and a lot, not to a case. Its numbers
    stay those of the run's own threshold.

    Parameters
    ----------
    review
        An image of the case.
    dab_od
        The new t1, log10 OD.
    path
        TOML file for ``--config``; must not exist.
    reviewer
        Who accepts it.

    Raises
    ------
    ReviewError
        The file exists, the case is locked, or there is no name; nothing was written.
    OutputError
        The file cannot be written.
    """
    if path.exists():
        raise ReviewError(f"{path}: is there already; choose another name")
    changed = config_with_threshold(review.results.config, dab_od)
    with replace_atomically(path) as partial:
        partial.write_text(config_toml(changed), encoding="utf-8")
        review.edit(EditKind.THRESHOLD, reviewer=reviewer, to={"dab_od": dab_od, "config": path.name})
    return changed
