"""Fit the weights in ``stages/classify.py`` on rendered fields and print them.

Run ``python benchmarks/fit_classes.py`` (needs scikit-learn). Every third field has the default tissue, the others are
drawn at random; a quarter of the fields is held out for the figures, then all are used. The seeds are not those of
``benchmarks/phantoms.py``.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from pdl1quant import Config, estimate_case, sample_image
from pdl1quant.config import load_config
from pdl1quant.model import Tile
from pdl1quant.stages import cells as cell_stage
from pdl1quant.stages import classify, measure, nuclei, stains
from pdl1quant.validation.detection import match_points
from pdl1quant.validation.phantoms import PhantomSettings, random_settings, render_phantom

FIRST_SEED = 1000
MPP = 0.5
MATCH_PX = 6.0


def describe(seed: int, config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Features, company matrix and true classes of the cells found in one field; None for an empty field."""
    rng = np.random.default_rng(seed)
    pattern, tps = rng.choice(["membrane", "cytoplasm", "both"]), float(rng.uniform(0, 100))
    plain = PhantomSettings(pattern=pattern, tps_pct=tps)
    phantom = render_phantom(random_settings(rng, mpp=MPP) if seed % 3 else plain, seed=seed)
    tile = Tile.whole(phantom.rgb, MPP)
    estimate = estimate_case([sample_image(phantom.rgb, mpp=MPP, config=config)], config=config)
    od = stains.deconvolve(tile.rgb, estimate)
    seen = nuclei.segment_nuclei(tile, od, estimate=estimate, config=config.nuclei)
    parts = cell_stage.grow_cells(seen, od, mpp=MPP, config=config.cells)
    if parts.n_cells < 2:
        return None
    black = stains.pigment_residual_od(estimate, config.quality.pigment_od)
    t1 = config.positivity.dab_od
    cells = measure.measure_cells(tile, od, parts, stains=config.stains, t1=t1, pigment_residual_od=black).cells
    found, true = cells[["x_px", "y_px"]].to_numpy(), phantom.cells[["x_px", "y_px"]].to_numpy()
    matches = match_points(true, found, max_distance=MATCH_PX)
    names = np.full(len(cells), "none", dtype=object)
    names[matches.found] = phantom.cells["cell_class"].astype(str).to_numpy()[matches.truth]
    return classify.features_of(cells, estimate), classify.company_of(found * MPP), names


def main() -> None:
    """Render, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=45)
    options = parser.parse_args()
    config = load_config(None, ["nuclei.segmenter=watershed"])
    fields = [each for each in (describe(FIRST_SEED + n, config) for n in range(options.fields)) if each is not None]
    own = np.vstack([field[0] for field in fields])
    names = np.concatenate([field[2] for field in fields])
    group = np.repeat(np.arange(len(fields)), [len(field[0]) for field in fields])
    known = np.isin(names, [str(each) for each in classify.CLASSES])
    for title, train, test in (
        ("held out", known & (group % 4 != 0), known & (group % 4 == 0)),
        ("all", known, known),
    ):
        alone = LogisticRegression(max_iter=2000).fit(own[train], names[train])
        first = alone.predict_proba(own)
        around = np.vstack(
            [
                np.hstack([field[1] @ first[group == n][:, :2], field[1] @ field[0][:, :4]])
                for n, field in enumerate(fields)
            ]
        )
        both = np.hstack([own, around])
        company = LogisticRegression(max_iter=2000).fit(both[train], names[train])
        score = f1_score(names[test] == "tumour", company.predict(both[test]) == "tumour")
        print(f"{title}: {test.sum()} cells, tumour F1 {score:.3f}")
    print(pd.Series(alone.classes_).tolist())
    for name, model in (("ALONE", alone), ("WITH_COMPANY", company)):
        print(name, np.round(model.coef_, 3).tolist(), np.round(model.intercept_, 3).tolist())


if __name__ == "__main__":
    main()
