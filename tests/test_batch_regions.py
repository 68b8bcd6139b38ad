"""Regions that a person drew: what they confirm, limit and exclude."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace

import pytest
from PIL import Image as PillowImage

from batch_runs import Deaf, draw_phantom, draw_tiles, rows_of, run
from pdl1quant.batch.inputs import gather, region_warnings
from pdl1quant.errors import UsageError
from pdl1quant.model import ResultFlag, Status


@pytest.fixture
def tiles(tmp_path):
    return draw_tiles(tmp_path / "tiles")


def draw_region(path, kind, corners=((0, 0), (128, 0), (128, 64), (0, 64), (0, 0))):
    path.parent.mkdir(parents=True, exist_ok=True)
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"objectType": "annotation", "classification": {"name": kind}},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def test_a_tumour_region_confirms_and_limits_what_is_scored(tiles, tmp_path):
    draw_phantom(tiles / "case A" / "tile 0.png")
    draw_region(tmp_path / "regions" / "tile 0.geojson", "Tumor")
    run(tiles / "case A", tmp_path / "out", roi=tmp_path / "regions")
    run(tiles / "case A", tmp_path / "whole")
    with_region, without = rows_of(tmp_path / "out", "image")
    assert ResultFlag.TUMOUR_UNCONFIRMED not in with_region.flags
    assert ResultFlag.TUMOUR_UNCONFIRMED in without.flags
    assert with_region.n_tumour < rows_of(tmp_path / "whole", "image")[0].n_tumour
    assert ResultFlag.TUMOUR_UNCONFIRMED in rows_of(tmp_path / "out", "case")[0].flags


def test_one_region_for_several_images_is_refused_with_what_to_do(tiles, tmp_path):
    region = draw_region(tmp_path / "region.geojson", "Tumor")
    with pytest.raises(UsageError, match="give a folder"):
        run(tiles, tmp_path / "out", roi=region)
    run(tiles / "case A" / "tile 0.png", tmp_path / "out", roi=region)


def test_regions_that_fit_no_image_are_wrong_usage(tiles, tmp_path):
    draw_region(tmp_path / "regions" / "other.geojson", "Tumor")
    with pytest.raises(UsageError, match="no file in it fits"):
        run(tiles, tmp_path / "out", roi=tmp_path / "regions")


def test_regions_that_are_not_there_are_told_as_such(tiles, tmp_path):
    with pytest.raises(UsageError, match=r"--roi .*none\.geojson: no such file or folder; check the path"):
        gather([tiles], output=tmp_path / "out", roi=tmp_path / "none.geojson")


def test_a_misspelt_region_file_is_named_with_the_image_that_it_may_be_meant_for(tiles, tmp_path):
    draw_region(tmp_path / "regions" / "tile 0.geojson", "Tumor")
    draw_region(tmp_path / "regions" / "tlie 1.geojson", "Tumor")
    listener = Deaf()
    run(tiles / "case A", tmp_path / "out", roi=tmp_path / "regions", listener=listener)
    (message,) = listener.complaints
    assert message.startswith("1 image has no region file and counts as a whole: tile 1.png (tlie 1.geojson belongs to")
    assert message.endswith("if it is meant for tile 1.png, rename it)")


def test_a_misspelt_region_in_a_folder_is_named_with_it(tiles, tmp_path):
    draw_region(tmp_path / "regions" / "case A" / "tile 0.geojson", "Tumor")
    draw_region(tmp_path / "regions" / "case A" / "tlie 1.geojson", "Tumor")
    images, _ = gather([tiles], output=tmp_path / "out", roi=tmp_path / "regions")
    (message,) = region_warnings(images, tmp_path / "regions")
    assert "(case A/tlie 1.geojson belongs to no image of the run; if it is meant for case A/tile 1.png" in message


def regions_of(paths, roi, tmp_path):
    images, _ = gather(paths, output=tmp_path / "out", roi=roi)
    return {image.stem: image.roi and image.roi.relative_to(roi).as_posix() for image in images}


def test_a_region_is_found_whatever_spells_its_letters(tiles, tmp_path):
    name = unicodedata.normalize("NFD", "Fall ü/tile 0.geojson")
    draw_region(tmp_path / "regions" / name, "Tumor")
    assert regions_of([tiles], tmp_path / "regions", tmp_path)["Fall ü/tile 0"] == name


def test_images_of_one_name_in_two_folders_have_regions_of_their_own(tiles, tmp_path):
    roi = tmp_path / "regions"
    folders = [tiles / "case A", tiles / "Fall ü"]
    for case in ("case A", "Fall ü"):
        draw_region(roi / case / "tile 0.geojson", "Tumor")
    own = {f"{case}/tile {n}": None if n else f"{case}/tile 0.geojson" for case in ("case A", "Fall ü") for n in (0, 1)}
    assert regions_of(folders, roi, tmp_path) == own
    assert regions_of([tile for folder in folders for tile in folder.iterdir()], roi, tmp_path) == own


@pytest.mark.parametrize("other", ["case A/tile 0.tif", "case B/tile 0.png"])
def test_a_region_that_fits_two_images_is_given_to_neither(tiles, tmp_path, other):
    second = tiles / other
    second.parent.mkdir(exist_ok=True)
    (tiles / "case A" / "tile 1.png").rename(second)
    roi = tmp_path / "regions"
    draw_region(roi / "tile 0.geojson", "Tumor")
    paths = {tiles / "case A", second.parent}
    with pytest.raises(UsageError, match=r"tile 0\.geojson fits .*tile 0.* and .*tile 0.*; call") as got:
        gather(sorted(paths), output=tmp_path / "out", roi=roi)
    first, last = str(got.value).rsplit("the two ", 1)[1].split(" and ")
    (roi / "tile 0.geojson").unlink()
    draw_region(roi / first, "Tumor")
    draw_region(roi / last, "Tumor")
    assert len(set(regions_of(sorted(paths), roi, tmp_path).values())) == 2


def test_of_identical_images_the_one_that_was_drawn_on_counts(tiles, tmp_path):
    folder, roi = tiles / "case A", tmp_path / "regions"
    draw_phantom(folder / "tile 0.png")
    (folder / "tile 1.png").write_bytes((folder / "tile 0.png").read_bytes())
    draw_region(roi / "tile 1.geojson", "Tumor")
    run(folder, tmp_path / "out", roi=roi)
    copy, drawn = rows_of(tmp_path / "out", "image")
    (case,) = rows_of(tmp_path / "out", "case")
    assert copy.flags == (*drawn.flags, ResultFlag.DUPLICATE)
    assert copy.n_tumour == drawn.n_tumour == case.n_tumour
    assert ResultFlag.TUMOUR_UNCONFIRMED not in case.flags


def test_identical_images_with_different_regions_are_not_told_apart_and_said(tiles, tmp_path):
    folder, roi = tiles / "case A", tmp_path / "regions"
    (folder / "tile 1.png").write_bytes((folder / "tile 0.png").read_bytes())
    draw_region(roi / "tile 0.geojson", "Tumor")
    draw_region(roi / "tile 1.geojson", "Tumor", ((0, 64), (128, 64), (128, 128), (0, 128), (0, 64)))
    run(folder, tmp_path / "out", roi=roi)
    first, second = rows_of(tmp_path / "out", "image")
    assert (first.status, second.status) == (Status.OK, Status.REFUSED)
    assert second.error == "the same image as tile 0.png, with other regions; leave one of the two out"


def test_images_without_regions_and_regions_without_tumour_are_one_line_each(tiles, tmp_path):
    draw_region(tmp_path / "regions" / "tile 0.geojson", "Tumro")
    listener = Deaf()
    run(tiles / "case A", tmp_path / "out", roi=tmp_path / "regions", listener=listener)
    whole, doubt = listener.complaints
    assert whole == "1 image has no region file and counts as a whole: tile 1.png"
    assert doubt.startswith("tile 0.geojson: 1 region of class 'Tumro', none of class Tumor")


def test_regions_of_an_image_that_is_turned_upright_are_doubted_in_a_line(tiles, tmp_path):
    for number, orientation in enumerate((6, 1)):
        path = tiles / "case A" / f"tile {number}.png"
        draw_region(tmp_path / "regions" / f"{path.stem}.geojson", "Tumor")
        exif = PillowImage.Exif()
        exif[274] = orientation
        with PillowImage.open(path) as image:
            image.save(path, exif=exif)
    listener = Deaf()
    run(tiles / "case A", tmp_path / "out", roi=tmp_path / "regions", listener=listener)
    (message,) = listener.complaints
    assert message.startswith("1 image is turned upright, as its file asks, and its regions have to be: tile 0.png; ")


def test_of_many_images_without_regions_a_few_are_named(tiles, tmp_path):
    draw_region(tmp_path / "regions" / "tile 0.geojson", "Tumor")
    (image, *_), _ = gather([tiles / "case A"], output=tmp_path / "out", roi=tmp_path / "regions")
    others = [replace(image, name=f"{number}.png", roi=None) for number in range(500)]
    (whole,) = region_warnings([image, *others], tmp_path / "regions")
    assert whole == "500 images have no region file and count as a whole: 0.png, 1.png, 2.png and 497 others"


def test_a_class_that_nobody_knows_is_told_once_for_all_files(tiles, tmp_path):
    for name in ("tile 0", "tile 1"):
        path = draw_region(tmp_path / "regions" / f"{name}.geojson", "Tumor")
        tree = json.loads(path.read_text())
        stroma = tree["features"][0] | {"properties": {"classification": {"name": "Stroma"}}}
        path.write_text(json.dumps([*tree["features"], stroma]))
    listener = Deaf()
    run(tiles / "case A", tmp_path / "out", roi=tmp_path / "regions", listener=listener)
    (message,) = listener.complaints
    assert "'Tumor': tumour; 'Stroma': limits what is scored;" in message


def test_a_region_outside_the_image_is_refused(tiles, tmp_path):
    far = draw_region(tmp_path / "far.geojson", "Tumor", ((900, 900), (950, 900), (950, 950), (900, 900)))
    summary = run(tiles / "case A" / "tile 0.png", tmp_path / "out", roi=far)
    assert summary.rows[0].status is Status.REFUSED
    assert "no region to be scored lies inside the image" in summary.rows[0].error


@pytest.mark.parametrize(("right", "is_outside"), [(135, False), (256, True)])
def test_a_region_that_lies_partly_outside_its_image_is_scored_and_doubted(tiles, tmp_path, right, is_outside):
    corners = ((0, 0), (right, 0), (right, 64), (0, 64), (0, 0))
    region = draw_region(tmp_path / "tile 0.geojson", "Tumor", corners)
    run(tiles / "case A" / "tile 0.png", tmp_path / "out", roi=region)
    for level in ("image", "roi", "case"):
        (row,) = rows_of(tmp_path / "out", level)
        assert row.status is Status.OK
        assert (ResultFlag.REGION_OUTSIDE in row.flags) is is_outside


def test_an_excluded_region_alone_leaves_the_rest_or_says_that_it_leaves_nothing(tiles, tmp_path):
    image = tiles / "case A" / "tile 0.png"
    region = draw_region(tmp_path / "region.geojson", "Ignore*")
    assert run(image, tmp_path / "half", roi=region).rows[0].status is Status.OK
    draw_region(region, "Ignore*", ((0, 0), (128, 0), (128, 128), (0, 128), (0, 0)))
    row = run(image, tmp_path / "none", roi=region).rows[0]
    assert row.status is Status.REFUSED
    assert "excludes the whole image" in row.error


def test_a_changed_region_is_worked_on_again(tiles, tmp_path):
    region = draw_region(tmp_path / "region.geojson", "Tumor")
    image = draw_phantom(tiles / "case A" / "tile 0.png")
    before = run(image, tmp_path / "out", roi=region).rows[0]
    draw_region(region, "Tumor", ((0, 0), (128, 0), (128, 128), (0, 128), (0, 0)))
    after = run(image, tmp_path / "out", roi=region, resume=True).rows[0]
    assert after.n_tumour > before.n_tumour
