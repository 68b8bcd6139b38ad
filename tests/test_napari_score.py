"""Scoring from the viewer: the settings' form, the thread, and the same numbers as the command line."""

import threading
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from batch_runs import tree
from pdl1quant.cli import main
from pdl1quant.config import Config, config_toml
from pdl1quant.slides.roi_file import read_geojson_rois
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom
from viewers import *  # noqa: F403

pytestmark = pytest.mark.viewer
RUN_MS = 120_000


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "field.png"
    Image.fromarray(render_phantom(PhantomSettings(size_px=256), seed=3).rgb).save(path)
    return path


@contextmanager
def scoring(viewer, image):
    """The widget beside an image that is open in a viewer."""
    from pdl1quant.napari.layers import add_layers, slide_layers
    from pdl1quant.napari.review_widget import ReviewWidget
    from pdl1quant.slides.opening import open_slide
    from pdl1quant.views.levels import slide_grids

    with open_slide(image, mpp=0.5) as slide:
        widget = ReviewWidget(viewer)
        add_layers(viewer, slide_layers(slide, slide_grids(slide), name="field"))
        widget.score.mpp.setValue(0.5)
        yield widget
        widget.close()


@pytest.fixture
def widget(qapp, image):  # noqa: ARG001  Qt runs
    """In a viewer without a window, which takes longer to open than what is claimed here takes to be seen."""
    from napari.components import ViewerModel

    with scoring(ViewerModel(), image) as opened:
        yield opened


@pytest.fixture
def in_window(make_napari_viewer, image):
    with scoring(make_napari_viewer(show=True), image) as opened:
        yield opened


def command_line(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(each) for each in arguments])
    assert stopped.value.code == 0


def run(widget, qtbot):
    from qtpy.QtCore import Qt

    with qtbot.waitSignal(widget.desk.opened, timeout=RUN_MS):
        qtbot.mouseClick(widget.score.start, Qt.LeftButton)


def test_the_form_holds_every_setting_with_its_default_and_what_it_holds_is_what_is_run(widget):
    form = widget.score.settings
    assert form.config == Config()
    shown = {line.split(" = ")[0].strip("# ") for line in config_toml(Config()).splitlines() if "=" in line}
    shown -= {"model_sha256", "classifier_sha256"}
    assert {name.split(".")[-1] for name in form.fields} >= {name for name in shown if name.isidentifier()}
    assert all(widget.tooltip for widget in form.fields.values())
    form.fields["positivity.dab_od"].value = 0.3
    form.fields["nuclei.segmenter"].value = "watershed"
    form.fields["stains.dab"].value = "0.3, 0.6, 0.7"
    config = widget.score.job().config
    assert (config.positivity.dab_od, config.nuclei.segmenter, config.stains.dab) == (0.3, "watershed", (0.3, 0.6, 0.7))


def test_scores_are_those_of_the_command_line(in_window, image, qtbot, tmp_path):
    before = set(threading.enumerate())
    in_window.score.settings.fields["nuclei.segmenter"].value = "watershed"
    run(in_window, qtbot)
    command_line("score", image, "-o", tmp_path / "by_hand", "--mpp", 0.5, "--nuclei-segmenter", "watershed", "-q")
    files, record = tree(tmp_path / "field-result")
    assert (files, record) == tree(tmp_path / "by_hand")
    assert in_window.desk.review.image.name == "field.png"
    qtbot.waitUntil(lambda: set(threading.enumerate()) <= before, timeout=5000)


def test_a_drawn_region_counts_as_it_does_on_the_command_line(widget, image, qtbot, tmp_path):
    viewer = widget.desk.viewer
    ring = np.array([[20, 20], [20, 100], [100, 100], [100, 20]], float)
    viewer.add_shapes([ring], shape_type="polygon", name="drawn", units=("um", "um"))
    widget.score.region.setCurrentIndex(1)
    widget.score.settings.fields["nuclei.segmenter"].value = "watershed"
    run(widget, qtbot)
    regions = tmp_path / "field-result-regions.geojson"
    command_line(
        "score", image, "-o", tmp_path / "by_hand", "--mpp", 0.5, "--roi", regions, "-q",
        "--nuclei-segmenter", "watershed",
    )  # fmt: skip
    assert tree(tmp_path / "field-result") == tree(tmp_path / "by_hand")
    assert "Drawn for the run" in viewer.layers
    shown = viewer.layers["Drawn for the run"]
    inside = np.argwhere(np.asarray(shown.data) > 0)
    first, last = (np.array(shown.data_to_world(place)) for place in (inside.min(axis=0), inside.max(axis=0)))
    assert (first, last) == (pytest.approx([20, 20], abs=0.6), pytest.approx([100, 100], abs=0.6))


def test_regions_of_a_review_are_not_what_is_scored(widget):
    from pdl1quant.napari.layers import REGIONS

    viewer = widget.desk.viewer
    ring = np.array([[20, 20], [20, 100], [100, 100], [100, 20]], float)
    for name, scale in (("drawn", 1), (REGIONS, 0.5)):
        viewer.add_shapes([ring * scale], shape_type="polygon", name=name, units=("um", "um"))
    viewer.layers.selection.active = viewer.layers[0]
    widget.score.region.setCurrentIndex(1)
    (roi,) = read_geojson_rois(widget.score.job().roi)
    assert roi.geometry.area == pytest.approx(160 * 160)


def test_a_stopped_run_ends_and_says_so(widget, qtbot):
    from qtpy.QtCore import Qt

    qtbot.mouseClick(widget.score.start, Qt.LeftButton)
    qtbot.mouseClick(widget.score.cancel, Qt.LeftButton)
    qtbot.waitUntil(widget.score.start.isEnabled, timeout=RUN_MS)
    assert "stopped" in widget.message.text()
    assert widget.desk.scene is None


def test_what_is_missing_is_said_in_a_line(widget):
    box = widget.score
    output, limit = box.output.text(), box.settings.fields["score.limit_of_blank_pct"]
    harms = [
        (lambda: box.output.setText(""), lambda: box.output.setText(output), "where the results go"),
        (lambda: box.region.setCurrentIndex(1), lambda: box.region.setCurrentIndex(0), "no shape is drawn"),
        (lambda: setattr(limit, "value", "many"), lambda: setattr(limit, "value", ""), "is no number"),
        (box.image.clear, lambda: None, "opened from a file"),
    ]
    for harm, mend, message in harms:
        harm()
        box.score()
        assert message in widget.message.text()
        assert box.start.isEnabled()
        mend()


def test_an_image_without_a_pixel_size_is_refused_in_a_line(widget, qtbot):
    widget.score.mpp.setValue(0)
    widget.score.score()
    qtbot.waitUntil(widget.score.start.isEnabled, timeout=RUN_MS)
    assert "no pixel size in the file" in widget.message.text()
