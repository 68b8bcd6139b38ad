"""Files and folders to images, cases and names of results."""

import itertools
import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdl1quant.batch.inputs import skipped_warnings, spelling_warnings, twin_warnings
from pdl1quant.batch.work import Image
from pdl1quant.errors import UnreadableError, UsageError
from pdl1quant.slides.cases import CaseRow, read_cases
from pdl1quant.slides.discover import Found, _unique_labels, discover, output_names
from pdl1quant.slides.opening import open_slide


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def relatives(found):
    return [str(item.relative) for item in found]


# --- discover -----------------------------------------------------------------------------------------------------
def test_folder_is_walked_in_natural_order_and_other_files_are_skipped(tmp_path):
    wanted = ["tile_1.png", "tile_2.JPG", "tile_10.tif", "zone/tile_1.TIFF", "zone/tile_3.jpeg"]
    other = ["notes.txt", "Thumbs.db", ".hidden.png", "._tile_1.png", ".cache/tile.png", "cells.parquet"]
    touch(*(tmp_path / name for name in wanted + other))
    found, problems = discover([tmp_path])
    assert relatives(found) == wanted
    assert problems == []
    assert {item.root for item in found} == {tmp_path}


def test_images_of_other_types_are_not_passed_over_without_a_word(tmp_path):
    touch(*(tmp_path / name for name in ("a.png", "P1/b.BMP", "P1/c.dcm", "P1/.d.bmp", "P1/notes.txt", "out/e.bmp")))
    (both,) = skipped_warnings([tmp_path], output=tmp_path / "out")
    assert both == (
        f"2 images are of a type that is passed over: {tmp_path / 'P1' / 'b.BMP'}, {tmp_path / 'P1' / 'c.dcm'}; "
        "export as one of .png, .jpg, .jpeg, .tif, .tiff; slides of DICOM have to be named"
    )
    assert skipped_warnings([tmp_path / "a.png"], output=tmp_path / "out") == ()
    (only,) = skipped_warnings([tmp_path, tmp_path / "P1" / "c.dcm"], output=tmp_path / "out")
    assert only.startswith("1 image is of a type that is passed over: ")
    assert "c.dcm" not in only


def test_case_is_the_folder_that_holds_the_image(tmp_path):
    touch(tmp_path / "P1" / "a.png", tmp_path / "P2" / "a.png", tmp_path / "alone.png")
    found, _ = discover([tmp_path / "P1", tmp_path / "P2" / "a.png", tmp_path])
    assert {item.case for item in found} == {"P1", "P2", tmp_path.name}


def test_folders_of_the_same_name_are_different_cases(tmp_path):
    touch(*(tmp_path / patient / "tiles" / "a.png" for patient in ("P1", "P2")), tmp_path / "P3" / "a.png")
    found, _ = discover([tmp_path / "P1" / "tiles", tmp_path / "P2" / "tiles", tmp_path / "P3"])
    assert [item.case for item in found] == ["P1/tiles", "P2/tiles", "P3"]


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (("/t/P1", "/t/p1"), ["P1", "p1"]),
        (("/t/P1", "/u/p1"), ["t/P1", "u/p1"]),
        (("/t/P1", "/T/P1"), ["t/P1", "T/P1"]),
        (("/t/P1", "/t/p1", "/u/P1"), ["t/P1", "t/p1", "u/P1"]),
    ],
)
def test_folders_that_differ_in_capitals_take_only_the_parents_that_tell_them_apart(folders, labels):
    assert list(_unique_labels(map(Path, folders)).values()) == labels


def test_cases_that_differ_in_capitals_or_spaces_are_named_in_one_line():
    def cases(*names):
        return [Image(path=Path(f"{k}.png"), name="", stem="", case=name) for k, name in enumerate(names)]

    assert spelling_warnings(cases("P1", "P1", "P2")) == ()
    (line,) = spelling_warnings(cases("P1", "p1", "P2", "Fall 3", "fall3", "P1"))
    assert line.startswith("names of cases that differ in capitals or spaces only: P1 = p1?, Fall 3 = fall3?; ")


def test_images_that_may_be_one_field_in_two_formats_are_named_in_one_line():
    def images(*names):
        return [Image(path=Path("P1", name), name=name, stem="", case="P1") for name in names]

    assert twin_warnings([*images("a.tif", "b.tif", "a_1.tif"), *images("sub/a.png")]) == ()
    (line,) = twin_warnings(images("a.tif", "A.JPG", "b.ome.tif", "b.png", "c.tif"))
    assert line.startswith("names of images that differ in their endings only: a.tif = A.JPG?, b.ome.tif = b.png?; ")


def test_single_file_has_its_own_folder_as_root(tmp_path):
    touch(tmp_path / "P1" / "a.png")
    found, _ = discover([tmp_path / "P1" / "a.png"])
    assert found == [
        Found(path=tmp_path / "P1" / "a.png", root=tmp_path / "P1", relative=PurePosixPath("a.png"), case="P1")
    ]


def test_order_of_arguments_does_not_matter_and_a_file_is_taken_once(tmp_path):
    touch(tmp_path / "a" / "b" / "x.png", tmp_path / "a" / "y.png")
    (tmp_path / "a" / "link.png").symlink_to(tmp_path / "a" / "y.png")
    arguments = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "y.png", tmp_path / "a" / "b" / "x.png"]
    first = discover(arguments)
    assert len(first[0]) == 2
    assert first[1] == []
    for order in itertools.permutations(arguments):
        assert discover(order) == first


def test_links_in_circles_end(tmp_path):
    touch(tmp_path / "a" / "x.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "a" / "self.png").symlink_to(tmp_path / "a" / "self.png")
    found, _ = discover([tmp_path])
    assert relatives(found) == ["a/self.png", "a/x.png"]


def test_named_file_of_another_type_is_a_problem(tmp_path):
    touch(tmp_path / "slide.txt", tmp_path / "a.png")
    found, problems = discover([tmp_path / "slide.txt", tmp_path / "a.png"])
    assert relatives(found) == ["a.png"]
    assert [problem.message for problem in problems] == [
        "slide.txt: not one of .png, .jpg, .jpeg, .tif, .tiff; export it as one of these"
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "a.png").touch()
    found, problems = discover([tmp_path, tmp_path / "pipe.tif"])
    assert [item.path.name for item in found] == ["a.png"]
    assert [problem.message for problem in problems] == ["pipe.tif: not a file; save it as one"]
    with pytest.raises(UnreadableError, match="not a file"):
        open_slide(tmp_path / "pipe.tif")


def test_folder_without_images_is_a_problem(tmp_path):
    found, problems = discover([tmp_path])
    assert found == []
    assert "no images in it (.png, .jpg, .jpeg, .tif, .tiff, or a slide as .svs, " in problems[0].message


def test_missing_path_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere: no such file or folder"):
        discover([tmp_path, tmp_path / "nowhere"])


def test_results_of_runs_are_no_input(tmp_path):
    touch(tmp_path / "a.png", tmp_path / "out" / "overlays" / "a.png", tmp_path / "old" / "overlays" / "a.png")
    touch(tmp_path / "old" / "run.json", tmp_path / "old" / "scores.csv")
    found, _ = discover([tmp_path], exclude=tmp_path / "out")
    assert relatives(found) == ["a.png"]


# --- names of results ---------------------------------------------------------------------------------------------
def found_at(*places):
    return [
        Found(path=Path(root) / name, root=Path(root), relative=PurePosixPath(name), case="case")
        for root, name in places
    ]


def names_of(*places):
    found = found_at(*places)
    names = output_names(found)
    return [str(names[item.path]) for item in found]


def test_name_is_the_stem_path():
    assert names_of(("/t", "a.png"), ("/t", "sub/b.tif"), ("/t", "0.5um.png")) == ["a", "sub/b", "0.5um"]
    assert names_of(("/t", "...png")) == ["...png"]


def test_colliding_names_keep_their_ending():
    assert names_of(("/t", "a.png"), ("/t", "a.jpg"), ("/t", "b.png")) == ["a.png", "a.jpg", "b"]


def test_images_of_two_folders_carry_the_folders_name():
    assert names_of(("/t", "a.png"), ("/u", "a.png"), ("/u", "b.png")) == ["t/a", "u/a", "b"]
    assert names_of(("/p/t", "a.png"), ("/q/t", "a.png")) == ["p/t/a", "q/t/a"]


def test_names_differ_on_file_systems_that_ignore_case():
    first, second = names_of(("/t", "a.png"), ("/t", "A.png"))
    assert first.casefold() != second.casefold()


@pytest.mark.parametrize("letter", ["x", "ü", "組"])
def test_long_names_leave_room_for_the_endings_of_results_and_stay_apart(letter):
    long = letter * (250 // len(letter.encode()))
    first, second, third = names_of(("/t", f"{long}.png"), ("/t", f"{long[:-1]}z.png"), ("/t", f"{long}.jpg"))
    assert len({first, second, third}) == 3
    assert all(len(os.fsencode(f"{name}.geojson.gz")) <= 255 for name in (first, second, third))
    assert all(name.startswith(letter * 60) for name in (first, second, third))


def test_names_of_results_are_unicode_and_stay_apart():
    first, second = names_of(("/t", "gr\udcfcn.png"), ("/t", "gr\udcf6n.png"))
    assert first != second
    assert all(name.isprintable() for name in (first, second))


NAMES = st.lists(st.sampled_from(["a", "A", "a.png", "b", "ß", "SS", "e\u0301", "\u00e9"]), min_size=1, max_size=2)
PLACES = st.tuples(
    st.sampled_from(["/t", "/u", "/p/t", "/T", "/"]),
    st.builds(lambda parts, end: "/".join(parts) + end, NAMES, st.sampled_from([".png", ".jpg", ".PNG"])),
)


@given(places=st.lists(PLACES, unique_by=lambda place: str(Path(place[0]) / place[1]), max_size=12), data=st.data())
def test_names_are_unique_and_independent_of_the_order(places, data):
    found = found_at(*places)
    names = output_names(found)
    assert len({str(name).casefold() for name in names.values()}) == len(found)
    assert all(not name.is_absolute() and ".." not in name.parts for name in names.values())
    assert output_names(data.draw(st.permutations(found))) == names


# --- cases.csv ----------------------------------------------------------------------------------------------------
@pytest.fixture
def images():
    return found_at(("/t", "P1/a.png"), ("/t", "P2/a.png"), ("/t", "P2/b.png"))


def table(tmp_path, content):
    path = tmp_path / "cases.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "image,case,response\nP1/a.png,K1,CR\nb.png,K2,\n",
        "\ufeffImage;CASE;response\r\nP1\\a.png;K1;CR\r\n\r\n./P2/b.png;K2;\r\n",
        'response,case,image\nCR,"K1",P1/a.png\n,K2,b.png',
        "image\tcase\tresponse\nP1/a.png\tK1\tCR\nb.png\tK2\t\n",
        "image,case,response\nP1/a.png,K1,CR\nb.png,K2,\n".encode("utf-16"),
        "sep=;\r\nimage;case;response\r\nP1/a.png;K1;CR\r\nb.png;K2;\r\n",
        "image;case;response;;\nP1/a.png;K1;CR;;\nb.png;K2;;;;\n",
        ",image,case,response\n0,P1/a.png,K1,CR\n1,b.png,K2,\n",
        '"","image","case","response"\n"1","P1/a.png","K1","CR"\n"2","b.png","K2",""\n',
    ],
)
def test_cases_are_read_with_their_free_columns(tmp_path, images, content):
    assert read_cases(table(tmp_path, content), images) == {
        Path("/t/P1/a.png"): CaseRow(case="K1", extra={"response": "CR"}),
        Path("/t/P2/b.png"): CaseRow(case="K2", extra={"response": ""}),
    }


def test_an_image_may_be_named_by_its_whole_path(tmp_path, images):
    rows = read_cases(table(tmp_path, f"image,case\n{Path('/t/P1/a.png').absolute()},K\n"), images)
    assert rows == {Path("/t/P1/a.png"): CaseRow(case="K", extra={})}


def test_a_separator_in_the_name_of_a_column_separates_nothing(tmp_path, images):
    rows = read_cases(table(tmp_path, 'image,case,"size; mm"\nb.png,K,3\n'), images)
    assert rows == {Path("/t/P2/b.png"): CaseRow(case="K", extra={"size; mm": "3"})}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,case\nc.png,K", r"cases\.csv, line 2: no image c\.png in this run; the nearest is"),
        ("image,case\nb,K", r"line 2: no image b in this run; the nearest is b\.png"),
        ("image,case\nP2/B.PNG,K", r"line 2: no image P2/B\.PNG in this run; the nearest is P2/b\.png"),
        ("image,case\n.,K", r"line 2: no image \. in this run; remove the line or add the image"),
        ("image,case\n./,K", r"line 2: no image \./ in this run; remove the line or add the image"),
        ("image,case\nb.png,K\na.png,K", r"line 3: a\.png is the name of 2 images; give its path"),
        ("image,case\nb.png,K\n\nP2/b.png,L", r"line 4: P2/b\.png is in line 2 already"),
        ("image,case\nb.png,", "line 2: no case"),
        ("image,case\nb.png,P1\nP1/a.png,p 1", "line 3: case 'p 1' is spelt 'P1' above; spell it in one way"),
        ("image,case\n,K", "line 2: no image"),
        ("image,case\nb.png,K,x", "line 2: 3 columns, the header has 2"),
        ("image,case,\nb.png,K,x", "line 2: column 3 has no name in the header; name it or empty it"),
        ("image,,case\nb.png,K", "line 2: column 2 has no name"),
        (",image,case\nb.png,K", "line 2: 1 columns, the header has 2"),
        ("image,patient\nb.png,K", "line 1: no column 'case'"),
        ("image,case,x,x\n", "line 1: two columns 'x'"),
        ("", "empty"),
        ('image,case\n"b.png,K', "not CSV"),
        (b"image,case\nb.png,M\xfcller\n", "not UTF-8"),
    ],
)
def test_wrong_table_is_wrong_usage_and_names_the_line(tmp_path, images, content, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_cases(table(tmp_path, content), images)
    assert "\n" not in str(caught.value)


def test_a_name_with_a_point_is_likened_to_the_whole_of_it(tmp_path):
    images = found_at(("/t", "s.tif"), ("/t", "s.1.tif"), ("/t", "s.2.tif"))
    with pytest.raises(UsageError, match=r"no image s\.2 in this run; the nearest is s\.2\.tif"):
        read_cases(table(tmp_path, "image,case\ns.2,K\n"), images)


def test_a_column_called_as_a_workbook_begins_makes_none(tmp_path, images):
    rows = read_cases(table(tmp_path, "PK,image,case\n7,b.png,K\n"), images)
    assert rows == {Path("/t/P2/b.png"): CaseRow(case="K", extra={"PK": "7"})}


def test_missing_table_is_wrong_usage(tmp_path, images):
    with pytest.raises(UsageError, match=r"nowhere\.csv: cannot be read"):
        read_cases(tmp_path / "nowhere.csv", images)
