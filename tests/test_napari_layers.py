"""What napari shows of results and slides; windows are real, under a virtual screen at least."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pdl1quant
from pdl1quant.outputs.palette import KINDS
from review_runs import make_results
from viewers import *  # noqa: F403

pytestmark = pytest.mark.viewer
MANIFEST = Path(pdl1quant.__file__).parent / "napari" / "napari.yaml"


def read(path):
    from pdl1quant.napari.reader import get_reader

    return get_reader(str(path))(None)


def shown(viewer, path):
    from pdl1quant.napari.layers import add_layers

    add_layers(viewer, read(path))
    return {layer.name: layer for layer in viewer.layers}


def test_manifest_is_valid():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert manifest.name == "pdl1quant"


@pytest.fixture(scope="module")
def layers(scored_field):
    """Of results in a viewer without a window, which takes the longest to open."""
    from napari.components import ViewerModel

    return shown(ViewerModel(), scored_field)


def test_results_become_layers(layers):
    assert list(layers) == [
        "Slide", "Haematoxylin OD", "DAB OD", "Tissue", "Heat map", "Cells", "Centroids",
        "Positive immune cells",
    ]  # fmt: skip
    assert {name for name, layer in layers.items() if layer.visible} == {"Slide", "Cells", "Positive immune cells"}
    assert all(str(layer.units[0]) == "micrometer" for layer in layers.values())


def test_each_layer_can_be_shown_in_the_colours_of_the_pictures_and_no_thread_is_left(make_napari_viewer, scored_field):
    """One window for both: it takes longer to open than all that is looked at."""
    before = set(threading.enumerate())
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(800, 600)
    layers = shown(viewer, scored_field)
    for layer in layers.values():
        for other in viewer.layers:
            other.visible = other is layer
        seen = viewer.screenshot(canvas_only=True, flash=False)
        assert np.ptp(seen[..., :3]) > 40, layer.name
    for name, layer in layers.items():
        layer.visible = name == "Cells"
    layers["Cells"].contour, layers["Cells"].opacity = 0, 1.0
    seen = {tuple(colour) for colour in viewer.screenshot(canvas_only=True, flash=False)[..., :3].reshape(-1, 3)}
    assert {kind.rgb for kind in KINDS if kind.name in {"Tumour, negative", "Tumour, grade 3", "Stroma"}} <= seen
    viewer.close()
    assert set(threading.enumerate()) <= before


def test_centroids_are_where_cells_are(layers):
    labels = np.asarray(layers["Cells"].data)
    points = layers["Centroids"].data.round().astype(int)
    assert (labels[points[:, 0], points[:, 1]] > 0).mean() > 0.99


def test_a_slide_is_opened_alone(tmp_path):
    rgb = np.full((1200, 1500, 3), 200, np.uint8)
    rgb[..., 0] = 90
    Image.fromarray(rgb).save(tmp_path / "a.tif", resolution=20_000, resolution_unit=3)
    ((data, meta, kind),) = read(tmp_path / "a.tif")
    assert (kind, meta["name"], [level.shape for level in data]) == ("image", "a.tif", [(1200, 1500, 3), (600, 750, 3)])
    assert meta["scale"] == pytest.approx((0.5, 0.5))


def test_results_of_another_version_are_refused_in_a_line(tmp_path):
    out = make_results(tmp_path, version={"config_digest": "0" * 12, "pdl1quant": "0.0.1"})
    with pytest.raises(pdl1quant.errors.ReviewError, match=r"made by pdl1quant 0\.0\.1.*score again"):
        read(out)


@pytest.mark.parametrize("order", [1, -1])
def test_the_line_between_a_region_and_one_around_it_is_that_of_the_inner_one(order):
    import shapely
    from napari.layers.labels._labels_utils import get_contours

    from pdl1quant.model import SlideGrid
    from pdl1quant.napari.layers import DRAWN, OUTLINE_PX
    from pdl1quant.outputs.regions import OutlinedRegion
    from pdl1quant.views.regions import KINDS as REGION_KINDS
    from pdl1quant.views.regions import RegionView

    boxes = [("include", (5, 5, 95, 95)), ("exclude", (30, 30, 70, 70))]
    regions = [
        OutlinedRegion(kind=kind, name=kind, class_name="", geometry=shapely.box(*box)) for kind, box in boxes[::order]
    ]
    grid = SlideGrid(level=0, width=100, height=100, downsample_x=1, downsample_y=1, mpp=1)
    (level,) = RegionView(regions, [grid]).levels
    lines = get_contours(np.asarray(level[:, :]), OUTLINE_PX[DRAWN], 0)
    kinds = [REGION_KINDS[(label - 1) % len(REGION_KINDS)] for label in lines[50, 20:50] if label]
    assert kinds == ["include"] + ["exclude"] * OUTLINE_PX[DRAWN]


def test_other_files_are_left_to_other_readers(tmp_path):
    from pdl1quant.napari.reader import get_reader

    (tmp_path / "notes.txt").touch()
    assert get_reader(str(tmp_path / "notes.txt")) is None
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path), str(tmp_path)]) is None


def test_sample_image_is_the_size_it_says():
    from pdl1quant.napari.samples import colon

    ((rgb, meta, kind),) = colon()
    assert (rgb.shape, meta["scale"], kind) == ((512, 512, 3), (0.5, 0.5), "image")


def test_without_a_screen_or_such_an_image_review_says_so(scored_field, monkeypatch):
    from pdl1quant.errors import ReviewError, UsageError
    from pdl1quant.napari.opening import review_in_viewer

    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UsageError, match="no screen"):
        review_in_viewer(scored_field)
    with pytest.raises(ReviewError, match="no image 'nope' in these results"):  # before any window opens
        review_in_viewer(scored_field, image="nope")


def test_the_command_opens_a_window_in_which_a_region_is_drawn_without_compiling(scored_field, tmp_path):
    program = """
import sys
from pathlib import Path
import napari
import numpy as np
from napari.utils.triangulation_backend import get_backend
from pdl1quant.napari.opening import review_in_viewer

def run():
    viewer = napari.current_viewer()
    desk = viewer.window.dock_widgets["pdl1quant review"].desk
    desk.draw_region()
    desk.layer("Regions").add_polygons([np.array([[100, 100], [100, 300], [300, 300], [300, 100]])])
    desk.mark_regions("exclude")
    print(get_backend(), len(desk.review.regions), desk.review.image.name, desk.is_blind)
    viewer.close()

napari.run = run
review_in_viewer(Path(sys.argv[1]), reviewer="A. Reviewer")
"""
    out = shutil.copytree(scored_field, tmp_path / "result")
    env = os.environ | {"NAPARI_CONFIG": str(tmp_path / "settings.yaml")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(out)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=env,
    )
    assert done.stdout == "Pure python 1 rendered_field.png False\n", done.stderr
    assert done.returncode == 0
