"""Exports: each is read back by the library of its format, and says what the run said."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner

from batch_runs import claim, draw_phantom, run
from pdl1quant import cli_exports
from pdl1quant.cli import cli
from pdl1quant.errors import OutputError, UsageError
from pdl1quant.exports import EXPORTS, ExportJob, export_results, ro_crate
from pdl1quant.exports.dicom_image import dicom_file, make_image
from pdl1quant.exports.h5ad import MEASURED
from pdl1quant.exports.ro_crate import MEANINGS
from pdl1quant.exports.run import PER_IMAGE
from pdl1quant.exports.source import flag_names
from pdl1quant.model import CELL_COLUMNS, Flag
from pdl1quant.outputs.files import ENDINGS
from pdl1quant.outputs.palette import outcomes
from pdl1quant.outputs.tables import read_cells, read_cells_of, write_cells
from pdl1quant.review import EditKind, Review, open_results
from pdl1quant.slides.images import read_image
from slide_files import write_dicom

PACKAGES = {"anndata": "anndata", "dicom-seg": "highdicom", "ro-crate": "rocrate"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run over a plain image with a name like a formula, and over a DICOM slide of the same pixels."""
    folder = tmp_path_factory.mktemp("run") / "=fields"
    folder.mkdir()
    plain = draw_phantom(folder / "-a+b.png")
    write_dicom(folder / "slide.dcm", read_image(plain, mpp=0.5).rgb)
    run([folder / "-a+b.png", folder / "slide.dcm"], folder.parent / "out", mpp=0.5)
    return folder.parent / "out"


@pytest.fixture
def out(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "out")


def cells_of(out, name="-a+b"):
    return read_cells(out / "cells" / f"{name}.parquet")


def exported(out, to, **more):
    paths, problems = export_results(ExportJob(out=out, to=to, **more))
    assert problems == []
    return {path.name: path for path in paths}


def test_csv_holds_the_numbers_of_the_table_and_no_formula(out):
    path = exported(out, "csv")["-a+b.csv"]
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    cells = cells_of(out)
    assert len(rows) == len(cells)
    assert {row["image"] for row in rows} == {"'-a+b.png"}
    assert {row["case"] for row in rows} == {"'=fields"}
    back = pd.read_csv(path, float_precision="round_trip")
    for name, dtype, *_ in CELL_COLUMNS:
        if "float" in dtype:
            assert np.array_equal(back[name].to_numpy(dtype), cells[name].to_numpy(), equal_nan=True), name
        else:
            assert back[name].astype(str).tolist() == cells[name].astype(str).tolist(), name
    assert back["flag_names"].fillna("").tolist() == flag_names(cells["flags"]).tolist()


def test_negative_numbers_are_left_as_they_are(out):
    path = exported(out, "csv", names=["-a+b"])["-a+b.csv"]
    assert cells_of(out)["cell_residual_od_mean"].min() < 0 or cells_of(out)["cytoplasm_dab_od_mean"].min() < 0
    assert ",'-0" not in path.read_text()


def test_flags_have_names():
    flags = pd.Series([0, int(Flag.SATURATED), int(Flag.TOUCHES_EDGE | Flag.PYKNOTIC)])
    assert flag_names(flags).tolist() == ["", "saturated", "touches_edge;pyknotic"]


def test_anndata_reads_cells_places_and_units(out):
    import anndata

    table = anndata.read_h5ad(exported(out, "anndata")["-a+b.h5ad"])
    cells = cells_of(out)
    assert table.shape == (len(cells), len(MEASURED))
    for name in MEASURED:
        assert np.array_equal(table[:, name].X.ravel(), cells[name].to_numpy(np.float32), equal_nan=True)
    assert np.array_equal(table.obsm["spatial"], cells[["x_px", "y_px"]].to_numpy())
    assert np.allclose(table.obsm["spatial_um"], 0.5 * table.obsm["spatial"])
    assert table.obs["cell_class"].tolist() == cells["cell_class"].tolist()
    assert table.obs["cytoplasm_positive"].tolist() == cells["cytoplasm_positive"].tolist()
    assert table.uns["units"]["nucleus_area_um2"] == table.var.loc["nucleus_area_um2", "unit"] == "um2"
    assert table.uns["pdl1quant"]["image"] == "-a+b.png"
    assert table.uns["pdl1quant"]["mpp"] == 0.5
    known = {column.name for column in CELL_COLUMNS} - {"x_px", "y_px"}
    assert known == {*table.var_names, *table.obs.columns} - {"flag_names"}


def test_anndata_places_in_um_know_pixels_that_are_not_square(out):
    import anndata

    path = out / "cells" / "slide.parquet"
    cells, said = read_cells_of(path)
    write_cells(cells, path, metadata={**said, "mpp_x": "0.5", "mpp_y": "0.4"})
    table = anndata.read_h5ad(exported(out, "anndata", names=["slide"])["slide.h5ad"])
    assert np.allclose(table.obsm["spatial_um"], table.obsm["spatial"] * [0.5, 0.4])


@pytest.mark.parametrize("to", ["csv", "anndata"])
def test_reviewed_exports_hold_what_a_person_said(out, to):
    review = Review(results := open_results(out), results.image("-a+b"))
    tumour = np.flatnonzero((review.cells["cell_class"] == "tumour").to_numpy())[:1]
    review.edit(EditKind.CLASS, reviewer="A", cells=review.ids(tumour), to="stroma")
    path = exported(out, to, names=["-a+b"], reviewed=True)[f"-a+b.{'csv' if to == 'csv' else 'h5ad'}"]
    if to == "csv":
        table = pd.read_csv(path)
    else:
        import anndata

        table = anndata.read_h5ad(path).obs
    assert (table["cell_class"].astype(str) != table["reviewed_class"].astype(str)).sum() == 1
    assert table["reviewed_class"].iloc[tumour[0]] == "stroma"
    if to == "csv":
        assert "edited" in table["reviewed_flag_names"].iloc[tumour[0]].split(";")


def read_segments(path):
    """A segmentation, the pixels of each segment by its label, and the label of each pixel, read by highdicom."""
    import highdicom

    segmentation = highdicom.seg.segread(path)
    height, width = segmentation.TotalPixelMatrixRows, segmentation.TotalPixelMatrixColumns
    pixels = segmentation.get_total_pixel_matrix(combine_segments=True)
    assert pixels.shape == (height, width)
    labels = {number: segmentation.get_segment_description(number).segment_label
              for number in segmentation.segment_numbers}  # fmt: skip
    areas = {name: int((pixels == number).sum()) for number, name in labels.items()}
    names = np.array(["", *(labels[number] for number in sorted(labels))], dtype=object)
    return segmentation, areas, names[pixels]


@pytest.mark.parametrize("name", ["-a+b", "slide"])
def test_dicom_segmentation_covers_the_pixels_of_its_cells(out, finished, name):
    import pydicom

    paths = exported(out, "dicom-seg")
    segmentation, areas, named = read_segments(paths[f"{name}.seg.dcm"])
    cells = cells_of(out, name)
    labels = (
        cells["cell_class"].astype(str).str.capitalize() + ": " + outcomes(cells, open_results(out).pack.compartment)
    )
    mpp = 0.5
    expected = (cells["cell_area_um2"] / mpp**2).groupby(labels.to_numpy()).sum()
    assert areas.keys() == set(expected.index)
    for label, area in areas.items():  # outlines fill holes, and leave out parts that touch by a corner
        assert area == pytest.approx(expected[label], rel=0.02)
    x, y = (np.rint(cells[column].to_numpy()).astype(int) for column in ("x_px", "y_px"))
    assert np.mean(named[y, x] == labels.to_numpy()) > 0.97  # a few centres lie outside of their bent nuclei
    made = paths[f"{name}.seg.dcm"].with_name(f"{name}.image.dcm")
    assert made.exists() == (name == "-a+b")
    image = pydicom.dcmread(made if made.exists() else finished.parent / "=fields" / "slide.dcm")
    for told in ("FrameOfReferenceUID", "StudyInstanceUID", "PatientID"):
        assert segmentation.get(told) == image.get(told)


def test_made_dicom_image_is_a_slide_with_the_pixels_of_the_field(out, finished):
    from pdl1quant.slides.opening import open_slide

    exported(out, "dicom-seg", names=["-a+b"])
    rgb = read_image(finished.parent / "=fields" / "-a+b.png", mpp=0.5).rgb
    with open_slide(out / "exports" / "dicom-seg" / "-a+b.image.dcm") as slide:
        assert (slide.width, slide.height, slide.mpp_x) == (rgb.shape[1], rgb.shape[0], 0.5)
        from pdl1quant.model import Rect

        read = slide.read_region(Rect(x0=0, y0=0, x1=slide.width, y1=slide.height), mpp=0.5)
    assert np.array_equal(read, rgb)


def reader_of_qupath(feature):
    """A cell as QuPath's GsonTools reads it from GeoJSON, or an error where QuPath would drop or refuse something."""
    assert feature["type"] == "Feature"
    identity = uuid.UUID(feature["id"])  # UUID.fromString; another id is replaced by a random one
    properties = feature["properties"]
    assert properties["objectType"] == "cell"  # else a detection without nucleus
    named = properties["classification"]
    assert named.keys() == {"name", "color"}
    assert named["name"].split(": ")[0] in {"Tumour", "Lymphocyte", "Macrophage", "Stroma", "Other"}
    assert len(named["color"]) == 3
    assert all(isinstance(level, int) and 0 <= level <= 255 for level in named["color"])
    assert all(isinstance(value, (int, float)) for value in properties["measurements"].values())
    assert "nucleusGeometry" not in properties  # read at the level of the feature only
    shapes = [shapely.from_geojson(json.dumps(feature[key])) for key in ("geometry", "nucleusGeometry")]
    for shape in shapes:
        assert shape.geom_type in {"Polygon", "MultiPolygon"}
        assert shape.is_valid
        assert shape.area > 0
    return identity, *shapes


def test_qupath_reads_every_cell_of_a_run(out, finished):
    rgb = read_image(finished.parent / "=fields" / "-a+b.png", mpp=0.5).rgb
    whole = shapely.box(0, 0, rgb.shape[1], rgb.shape[0])
    tree = json.loads((out / "geojson" / "-a+b.geojson").read_text())
    assert tree["type"] == "FeatureCollection"
    read = [reader_of_qupath(feature) for feature in tree["features"]]
    assert len({identity for identity, _, _ in read}) == len(read) == len(cells_of(out))
    for _, cell, nucleus in read:
        assert whole.covers(cell)
        assert cell.buffer(1e-6).covers(nucleus)


def test_ome_reads_the_labels_as_four_named_channels_of_true_size(finished, tmp_path):
    import ome_types
    import tifffile

    run(finished.parent / "=fields" / "-a+b.png", tmp_path / "out", keep_labels=True)
    path = tmp_path / "out" / "labels" / "-a+b.ome.tif"
    pixels = ome_types.from_tiff(path).images[0].pixels
    assert [channel.name for channel in pixels.channels] == ["nucleus", "cell", "cytoplasm", "membrane"]
    assert (pixels.type.value, pixels.size_c, pixels.size_z, pixels.size_t) == ("int32", 4, 1, 1)
    assert (pixels.physical_size_x, pixels.physical_size_x_unit.value) == (0.5, "µm")
    labels = tifffile.imread(path)
    assert labels.shape == (4, pixels.size_y, pixels.size_x)
    cells = cells_of(tmp_path / "out")
    areas = np.bincount(labels[1].ravel())[cells["label"].to_numpy()] * 0.25
    assert np.allclose(areas, cells["cell_area_um2"])


def test_ro_crate_names_every_result_and_its_inputs(out):
    from rocrate.rocrate import ROCrate

    exported(out, "csv")
    exported(out, "ro-crate")
    crate = ROCrate(out)
    named = {unquote(entity.id) for entity in crate.data_entities}
    assert {"scores.csv", "run.json", "exports/csv/-a+b.csv", "cells/slide.parquet"} <= named
    assert all((out / name).is_file() for name in named)
    action = crate.dereference("#run")
    digest = hashlib.sha256((Path(json.loads((out / "run.json").read_text())["timings"]["paths"][0])).read_bytes())
    assert f"urn:sha256:{digest.hexdigest()}" in {entity.id for entity in action["object"]}
    assert action["instrument"]["name"] == "pdl1quant"
    assert str(out.parent) not in (out / "ro-crate-metadata.json").read_text()


def test_ro_crate_has_words_for_every_kind_of_result():
    assert ENDINGS.keys() <= MEANINGS.keys()


def test_same_results_give_the_same_bytes(out):
    def written():
        return {to: {name: path.read_bytes() for name, path in exported(out, to).items()} for to in EXPORTS}

    first = written()
    time.sleep(1.01)  # a clock in a file would show
    second = written()
    assert [to for to in EXPORTS if second[to] != first[to]] == []


@pytest.mark.parametrize("to", PACKAGES)
def test_a_missing_package_is_named_with_the_command_that_installs_it(out, to, monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == PACKAGES[to]]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, PACKAGES[to], None)
    with pytest.raises(UsageError, match=rf"{to}: needs .* run: pip install 'pdl1quant\[{to}\]'"):
        export_results(ExportJob(out=out, to=to))


def test_a_new_run_takes_exports_away(out):
    for to in EXPORTS:
        exported(out, to)
    claim(out, overwrite=True)
    assert not (out / "exports").exists()
    assert not (out / "ro-crate-metadata.json").exists()


def test_an_image_that_moved_costs_its_own_file_only(out, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "slide.dcm").write_bytes(b"other")
    paths, problems = export_results(ExportJob(out=out, to="dicom-seg", images=tmp_path / "elsewhere"))
    assert paths == []
    assert len(problems) == 2


@pytest.mark.parametrize("to", EXPORTS)
def test_a_file_of_others_at_the_place_of_an_export_is_named_and_stays(out, to):
    places = {
        "csv": "exports/csv/slide.csv",
        "anndata": "exports/anndata/slide.h5ad",
        "dicom-seg": "exports/dicom-seg/-a+b.image.dcm",
        "ro-crate": "ro-crate-metadata.json",
    }
    mine = out / places[to]
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    message = rf"{mine.name}: lies where a result goes, but pdl1quant did not write it; move or rename it"
    if to == "ro-crate":
        with pytest.raises(OutputError, match=message):
            exported(out, to)
    else:
        paths, problems = export_results(ExportJob(out=out, to=to))
        assert len(paths) == 1
        assert problems == [f"{mine.parent}/{message}"]
    assert mine.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_said_once(out, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        export_results(ExportJob(out=out, to="csv", folder=tmp_path / "file"))


def test_command_offers_what_there_is_and_refuses_what_does_not_go_together(out):
    option = next(each for each in cli_exports.export.params if each.name == "to")
    assert tuple(option.type.choices) == EXPORTS
    runner = CliRunner()
    done = runner.invoke(cli, ["export", str(out), "--to", "csv", "--image", "slide"], standalone_mode=False)
    assert done.return_value == 0
    assert done.output.strip().endswith("slide.csv")
    with pytest.raises(UsageError, match="--reviewed goes with csv and anndata"):
        exported(out, "dicom-seg", reviewed=True)
    with pytest.raises(UsageError, match="whole folder"):
        exported(out, "ro-crate", names=["slide"])


def test_an_image_that_raises_what_nobody_expects_costs_its_own_file_only(out, monkeypatch):
    write, ending = PER_IMAGE["csv"]

    def breaks_at_the_first(source, path):
        if source.image.name == "-a+b.png":
            raise IsADirectoryError(21, "Is a directory")
        write(source, path)

    monkeypatch.setitem(PER_IMAGE, "csv", (breaks_at_the_first, ending))
    paths, problems = export_results(ExportJob(out=out, to="csv"))
    assert [path.name for path in paths] == ["slide.csv"]
    assert problems == ["-a+b.png: not exported (IsADirectoryError: [Errno 21] Is a directory)"]


def test_a_folder_is_dicom_only_if_one_of_its_files_is(tmp_path):
    pytest.importorskip("highdicom")
    (tmp_path / "image.zarr" / "0").mkdir(parents=True)
    (tmp_path / "image.zarr" / ".zattrs").write_text("{}")
    assert dicom_file(tmp_path / "image.zarr") is None
    file = tmp_path / "slide" / "a.dcm"
    file.parent.mkdir()
    write_dicom(file, np.full((64, 64, 3), 240, np.uint8))
    assert dicom_file(file.parent) == dicom_file(file) == file


def test_header_of_a_made_image_comes_from_the_hash_alone():
    pytest.importorskip("highdicom")
    image = make_image(
        np.full((8, 8, 3), 240, np.uint8), mpp_x=0.5, mpp_y=0.5, sha256="0123456789abcdef", started="20260102030405"
    )
    assert image.ContainerIdentifier == image.PatientID == "pdl1quant-0123456789ab"


def test_ro_crate_lists_what_a_review_said(tmp_path):
    (tmp_path / "edits" / "case").mkdir(parents=True)
    ledger = tmp_path / "edits" / "case" / "field.jsonl"
    ledger.write_text("{}")
    assert list(ro_crate._files(tmp_path)) == [ledger]
    assert "edits" in MEANINGS


@pytest.mark.parametrize("to", ["csv", "anndata", "dicom-seg"])
def test_results_of_which_nothing_was_scored_are_no_empty_export(tmp_path, to):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    run(tmp_path / "cut.png", tmp_path / "out")
    with pytest.raises(UsageError, match=r"out: no image of these results was scored; scores\.csv says why"):
        export_results(ExportJob(out=tmp_path / "out", to=to))
