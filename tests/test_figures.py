"""Figures: the same bytes each time, in every format, of what the results hold."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sys
import zipfile

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from PIL import Image

from batch_runs import claim, draw_phantom, job_for, run
from factories import make_cells, make_scored_cells
from pdl1quant.cli import cli
from pdl1quant.config import Config, PositivityConfig
from pdl1quant.errors import OutputError, UsageError
from pdl1quant.figures import FigureJob, draw_figures, drawing
from pdl1quant.figures.drawing import FORMATS
from pdl1quant.figures.overlay import round_length, smooth_rings
from pdl1quant.figures.scores import draw_scores_figure
from pdl1quant.figures.threshold import _bin_edges, _stacks, draw_threshold_figure
from pdl1quant.figures.window import busiest_place
from pdl1quant.model import Compartment, Status
from pdl1quant.outputs.scores_table import ScoreRow
from pdl1quant.outputs.tables import read_cells
from pdl1quant.outputs.written_outlines import read_outlines
from pdl1quant.stages.score import highest_positive_od, positive_at


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A run over one rendered field, and the folder of that field."""
    folder = tmp_path_factory.mktemp("run") / "fields"
    folder.mkdir()
    draw_phantom(folder / "a $x$.png")
    out = folder.parent / "out"
    run(folder, out)
    return out


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Half as fine as for a paper: drawing and packing pixels is what takes time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "PNG_DPI", 150)
        yield


@pytest.fixture(scope="module")
def drawn(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    paths, problems = draw_figures(FigureJob(out=results, folder=folder))
    assert problems == []
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def command(results):
    """What the command said of the same figures, which lie in the results now."""
    return CliRunner().invoke(cli, ["figures", str(results)], standalone_mode=False)


@pytest.fixture
def only_png(monkeypatch):
    """A format for what is the same in each: three take three times as long."""
    monkeypatch.setattr(drawing, "FORMATS", ("png",))


def test_each_figure_comes_in_all_formats(drawn):
    stems = {"scores", "threshold/fields", "overlay/a $x$"}
    assert drawn.keys() == {f"{stem}.{form}" for stem in stems for form in FORMATS}


def test_a_file_of_others_at_the_place_of_a_figure_is_named_and_stays(tmp_path):
    (tmp_path / "scores.svg").write_text("<svg>mine</svg>")
    row = ScoreRow(
        level="case", image="", case="a", status=Status.OK, tps=40.0, tps_low=30.0, tps_high=50.0, n_tumour=300
    )
    with pytest.raises(OutputError, match=r"scores\.svg: lies where a result goes, but pdl1quant did not write it"):
        draw_scores_figure([row], tmp_path / "scores", score_name="TPS", lines_pct=())
    assert [path.name for path in tmp_path.iterdir()] == ["scores.svg"]
    assert (tmp_path / "scores.svg").read_text() == "<svg>mine</svg>"


@pytest.mark.usefixtures("command")
def test_same_results_give_the_same_bytes_and_no_date(results, drawn):
    folder = results / "figures"
    again = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in again} == drawn
    for content in drawn.values():
        assert not re.search(rb"CreationDate|dc:date|20\d\d-\d\d-\d\d", content)


def test_default_folder_lies_in_the_results_and_the_command_names_what_it_wrote(results, command):
    assert command.return_value == 0
    assert "scores  (pdf, svg, png)" in command.output
    assert (results / "figures" / "scores.svg").is_file()


@pytest.mark.usefixtures("command")
def test_a_new_run_takes_earlier_figures_away(results, tmp_path):
    out = shutil.copytree(results, tmp_path / "out")
    assert (out / "figures" / "threshold" / "fields.pdf").is_file()
    (out / "figures" / "mine.svg").write_text("<svg/>")
    claim(out, overwrite=True)
    assert [path.name for path in (out / "figures").rglob("*") if path.is_file()] == ["mine.svg"]


@pytest.mark.usefixtures("only_png")
def test_an_image_that_moved_costs_its_own_figure_only(results, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    job = FigureJob(out=results, folder=tmp_path, images=tmp_path / "elsewhere")
    paths, problems = draw_figures(job)
    assert {path.stem for path in paths} == {"scores", "fields"}
    assert len(problems) == 1
    assert "give the folder it moved to" in problems[0]


@pytest.mark.usefixtures("only_png")
def test_a_place_outside_the_image_is_named_not_moved(results, tmp_path):
    paths, problems = draw_figures(FigureJob(out=results, folder=tmp_path, at_px=(-500.0, 99999.0)))
    assert not [path for path in paths if path.parent.name == "overlay"]
    assert all("-500 99999 lies outside its" in problem for problem in problems)
    assert problems


def test_without_matplotlib_the_command_to_install_it_is_named(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'pdl1quant\[figures\]'"):
        draw_figures(FigureJob(out=results))


def test_overlay_shows_the_tissue_left_and_outlines_right(results, drawn, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(drawn["overlay/a $x$.png"])
    picture = np.asarray(Image.open(path).convert("RGB"), np.int32)
    blue = (np.abs(picture - (10, 70, 245)).sum(axis=2) < 60)[: picture.shape[1] // 2]
    left, right = blue[:, : blue.shape[1] // 2], blue[:, blue.shape[1] // 2 :]
    assert left.sum() == 0
    assert right.sum() > 500
    assert len(read_cells(results / "cells" / "a $x$.parquet")) > 10


def packed(path, compression):
    """The GeoJSON file at ``path`` put into a compressed one beside it."""
    text = path.read_bytes()
    path.unlink()
    if compression == "gzip":
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(text))
    elif compression == "zip":
        with zipfile.ZipFile(path.with_name(path.name + ".zip"), "w") as archive:
            archive.writestr(path.name, text)
    else:
        path.write_bytes(text)


@pytest.mark.parametrize("compression", ["none", "gzip", "zip"])
def test_outlines_are_those_of_the_rows_asked_for(results, tmp_path, compression):
    results = shutil.copytree(results, tmp_path / "out")
    packed(results / "geojson" / "a $x$.geojson", compression)
    cells = read_cells(results / "cells" / "a $x$.parquet")
    image_id = json.loads((results / "run.json").read_text())["images"][0]["sha256"]
    rows = np.array([1, 4, len(cells) - 1])
    labels = cells["label"].to_numpy()[rows]
    outlines, nuclei = read_outlines(results, "a $x$", rows, labels=labels, image_id=image_id)
    x, y = (cells[name].to_numpy()[rows] + 0.5 for name in ("x_px", "y_px"))
    for outline, nucleus, at_x, at_y in zip(outlines, nuclei, x, y, strict=True):
        west, north, east, south = nucleus.bounds
        assert west <= at_x <= east
        assert north <= at_y <= south
        assert outline.intersection(nucleus).area == pytest.approx(nucleus.area)
    with pytest.raises(OutputError, match="other cells"):
        read_outlines(results, "a $x$", rows, labels=labels + 1, image_id=image_id)


def test_smoothed_outlines_round_corners_and_lie_inside():
    square = np.array([shapely.box(10, 10, 40, 40)])
    ring = smooth_rings(square, 0.5)[0]
    assert shapely.hausdorff_distance(shapely.LinearRing(ring), square[0].exterior) < 3
    assert shapely.box(10, 10, 40, 40).buffer(-0.4).covers(shapely.Polygon(ring))


def test_busiest_place_holds_positive_and_negative_tumour_cells():
    cells = make_cells(
        60,
        x_px=np.r_[np.full(40, 100.0), np.full(10, 900.0), np.full(10, 910.0)],
        y_px=np.r_[np.full(40, 100.0), np.full(20, 700.0)],
        positive=np.r_[np.zeros(50, bool), np.ones(10, bool)],
    )
    x, y = busiest_place(cells, (200.0, 200.0), compartment=Compartment.CYTOPLASM)
    assert abs(x - 905) < 100
    assert abs(y - 700) < 100


def test_busiest_place_without_cells_is_the_corner():
    assert busiest_place(make_cells(0), (10.0, 10.0), compartment=Compartment.CYTOPLASM) == (0.0, 0.0)


@pytest.mark.parametrize(("limit", "length"), [(45.0, 20.0), (50.0, 50.0), (99.0, 50.0), (7.0, 5.0)])
def test_scale_bar_has_a_round_length(limit, length):
    assert round_length(limit) == length


@pytest.mark.parametrize("n", [1, 7, 300])
@pytest.mark.usefixtures("only_png")
def test_scores_of_few_and_many_cases_are_drawn(tmp_path, n):
    rows = [
        ScoreRow(level="case", image="", case=f"case {k} ü $", status=Status.OK, tps=k % 101, tps_low=0, tps_high=100,
                 n_tumour=100) for k in range(n)
    ]  # fmt: skip
    paths = draw_scores_figure(rows, tmp_path / "scores", score_name="TPS", lines_pct=(1, 50))
    assert [path.name for path in paths] == ["scores.png"]
    with Image.open(paths[0]) as picture:
        assert picture.size[0] > 1000


@pytest.mark.parametrize("t1", [0.2, 0.21, 0.35, 0.1234567])
@pytest.mark.parametrize("compartment", list(Compartment))
def test_no_bin_of_the_threshold_figure_holds_cells_of_both_sides_of_the_threshold(t1, compartment):
    """Its colours are the grades of its cells, wherever the cuts lie between its edges."""
    config = PositivityConfig(dab_od=t1, grade_2_od=0.43, grade_3_od=0.61)
    rng = np.random.default_rng(1)
    run, cytoplasm = rng.uniform(0, 1.2, 400), rng.uniform(0, 1.2, 400)
    run[:40], cytoplasm[:40] = t1, t1  # positive, as the rule has it: in float32
    cytoplasm[40:50] = np.nan
    cells = make_scored_cells(
        400, config=config, membrane_dab_od_run=run, cytoplasm_dab_od_mean=cytoplasm, cell_dab_od_mean=run[::-1]
    )
    positive = positive_at(cells, t1, config).within(compartment)
    grade = np.where(positive, 1 + np.digitize(run, [0.43, 0.61]), 0).astype(np.int8)
    od = np.maximum(highest_positive_od(cells, config, compartment=compartment), 0)
    edges = _bin_edges(t1, 1.0)
    stacks = _stacks(od, grade, edges)
    assert stacks.sum(axis=1).tolist() == np.bincount(grade, minlength=4).tolist()
    below = edges[:-1] < t1
    assert t1 in edges
    assert stacks[1:, below].sum() == 0
    assert stacks[0, ~below].sum() == 0
    assert (np.diff(edges) > 0).all()
    assert edges[-1] == 1.0


def test_a_cell_of_cytoplasm_alone_lies_where_its_cytoplasm_does():
    """Not as far from the threshold as its membrane is."""
    cells = make_scored_cells(
        4,
        membrane_dab_od_run=[0.19, 0.25, 0.15, 0.05],
        cytoplasm_dab_od_mean=[0.5, 0.5, 0.1, 0.1],
    )
    od = highest_positive_od(cells, PositivityConfig(), compartment=Compartment.CYTOPLASM_ONLY)
    assert od.tolist() == [np.float32(0.5), -np.inf, -np.inf, np.float32(0.1)]


def test_nothing_to_draw_draws_nothing(tmp_path):
    rows = [ScoreRow(level="case", image="", case="a", status=Status.FAILED)]
    assert draw_scores_figure(rows, tmp_path / "scores", score_name="TPS", lines_pct=()) == ()
    pack = job_for(tmp_path, tmp_path).pack
    cells = make_scored_cells(5, cell_class="stroma")
    assert draw_threshold_figure(cells, tmp_path / "t", config=Config(), pack=pack, title="") == ()
    assert list(tmp_path.iterdir()) == []


def test_results_of_which_nothing_was_scored_give_no_figures(tmp_path):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    run(tmp_path / "cut.png", tmp_path / "out")
    with pytest.raises(UsageError, match=r"out: no image of these results was scored; scores\.csv says why"):
        draw_figures(FigureJob(out=tmp_path / "out"))
