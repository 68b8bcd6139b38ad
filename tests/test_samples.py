"""The sample images are what their script makes and what their README says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage

from pdl1quant.slides.discover import discover
from pdl1quant.slides.images import read_image

FOLDER = Path(__file__).parents[1] / "sample_slides"
MAX_MEAN_DIFFERENCE = 1.0  # grey levels: libraries of other versions round, blur and fill polygons a little differently


def _script():
    spec = importlib.util.spec_from_file_location("make_samples", FOLDER / "make_samples.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()


def test_fhl2_has_the_pixels_of_scikit_image():
    read = read_image(FOLDER / "ihc" / "fhl2_colon.tif")
    assert np.array_equal(read.rgb, skimage.data.immunohistochemistry())
    assert read.mpp == pytest.approx(SCRIPT.FHL2_MPP_ASSUMED)


@pytest.mark.parametrize("name", SCRIPT.PHANTOMS)
def test_phantom_is_what_the_script_renders(name):
    rgb, mpp, truth = SCRIPT.phantom(name)
    read = read_image(FOLDER / "phantoms" / f"{name}.tif")
    assert read.mpp == pytest.approx(mpp)
    assert read.rgb.shape == rgb.shape
    assert np.abs(read.rgb.astype(float) - rgb).mean() < MAX_MEAN_DIFFERENCE
    written = pd.read_csv(FOLDER / "phantoms" / f"{name}_truth.csv")
    assert list(written.columns) == list(truth.columns)
    assert abs(_tps(written) - _tps(truth)) < 2.0  # one cell in a hundred, and rounding


@pytest.mark.parametrize("name", SCRIPT.PHANTOMS)
def test_readme_tells_the_truth_of_the_phantom(name):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{name}\.tif` \|.*\| (\d+) \| (\d+) \| ([\d.]+) \|$", text, re.MULTILINE)
    truth = pd.read_csv(FOLDER / "phantoms" / f"{name}_truth.csv")
    viable = truth[truth["viable"]]
    assert row is not None
    assert (int(row[1]), int(row[2])) == (len(viable), int(viable["positive"].sum()))
    assert float(row[3]) == pytest.approx(_tps(truth), abs=0.05)


def test_discovery_takes_the_images_and_no_truth():
    found, problems = discover([FOLDER / "ihc", FOLDER / "phantoms"])
    assert sorted(item.path.stem for item in found) == sorted(["fhl2_colon", *SCRIPT.PHANTOMS])
    assert not problems


def _tps(truth):
    return 100 * truth.loc[truth["viable"], "positive"].mean()
