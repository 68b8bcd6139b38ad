"""From labels to a classifier: what is refused, what is matched, how it is judged, and that it is used."""

import json
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PillowImage
from scipy.spatial import cKDTree
from threadpoolctl import threadpool_limits

from pdl1quant.cli import main
from pdl1quant.config import Config, load_config
from pdl1quant.errors import ModelError, UsageError
from pdl1quant.model import CLASS_PROBABILITIES
from pdl1quant.naming import with_classifier_hash
from pdl1quant.networks.card import CARD_FILE
from pdl1quant.networks.classifier import class_probabilities, load_classifier
from pdl1quant.outputs.tables import read_cells
from pdl1quant.pipeline import estimate_case, find_cells, sample_image, score_image, working_tile
from pdl1quant.stages import stains
from pdl1quant.training import TrainingJob, calibration_error, fit_classifier, train, write_classifier
from pdl1quant.training.collect import MATCH_UM, match_labels
from pdl1quant.training.figures import class_figures, confusion
from pdl1quant.training.fit import decision, softmax
from pdl1quant.training.labels import read_labels
from pdl1quant.training.write import claim_folder
from pdl1quant.validation.phantoms import PhantomSettings, render_phantom

SWAPPED = {"tumour": "lymphocyte", "lymphocyte": "tumour"}
ABOUT = {
    "name": "toy", "title": "toy", "licence": "none", "training_data": "none", "limits": "a toy",
    "segmenter": "watershed", "mpp": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def phantoms():
    return [render_phantom(PhantomSettings(size_px=320, stroma_spacing=1.0), seed=seed) for seed in (1, 2)]


def labels_of(phantom, image):
    """Tumour cells and lymphocytes of a phantom, each called the other."""
    cells = phantom.cells[phantom.cells["cell_class"].isin(SWAPPED)]
    names = cells["cell_class"].astype(str).map(SWAPPED)
    return pd.DataFrame({"image": image, "x_px": cells["x_px"], "y_px": cells["y_px"], "cell_class": names})


@pytest.fixture(scope="module")
def folder(tmp_path_factory, phantoms):
    """Two images with their labels."""
    folder = tmp_path_factory.mktemp("labelled")
    tables = []
    for number, phantom in enumerate(phantoms):
        PillowImage.fromarray(phantom.rgb).save(folder / f"field_{number}.png")
        tables.append(labels_of(phantom, f"field_{number}.png"))
    pd.concat(tables).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, folder):
    """A classifier that takes tumour for lymphocytes, and what was said while it was made."""
    said = []
    output = tmp_path_factory.mktemp("models") / "my-model"
    train(TrainingJob(labels=(folder / "labels.csv",), output=output, config=Config(), mpp=0.5), say=said.append)
    return output, said


def with_classifier(output, *more):
    return load_config(None, [f"cells.classifier={json.dumps(str(output))}", *more])


# --- end to end ------------------------------------------------------------------------------------------------------
def test_classifier_decides_what_is_tumour(trained, phantoms):
    def share_of_tumour(config):
        cells = score_image(phantoms[0].rgb, 0.5, config=config).cells
        truth = phantoms[0].cells
        is_tumour = truth.loc[truth["cell_class"] == "tumour", ["x_px", "y_px"]].to_numpy()
        apart = np.linalg.norm(cells[["x_px", "y_px"]].to_numpy()[:, None] - is_tumour, axis=2)
        return (cells["cell_class"] == "tumour")[apart.min(axis=1) < 4].mean()

    assert share_of_tumour(Config()) > 0.8
    assert share_of_tumour(with_classifier(trained[0])) < 0.2


def test_probabilities_of_the_classifier_stay_in_the_table(trained, phantoms):
    cells = score_image(phantoms[1].rgb, 0.5, config=with_classifier(trained[0])).cells
    both = cells[["tumour_probability", "lymphocyte_probability"]].to_numpy()
    assert np.allclose(both.sum(axis=1), 1, atol=1e-5)
    assert (cells["stroma_probability"] == 0).all()
    assert ((both[:, 0] > both[:, 1]) == (cells["cell_class"] == "tumour")).all()


def test_without_a_class_of_macrophages_there_is_no_cps(trained, phantoms):
    assert score_image(phantoms[0].rgb, 0.5, config=with_classifier(trained[0])).score.cps is None


def test_training_says_how_many_labels_were_matched(trained, folder):
    n = len(pd.read_csv(folder / "labels.csv"))
    assert any(f"of {n} labels lie on" in line for line in trained[1])
    assert any("no column slide" in line for line in trained[1])


def test_folder_holds_card_weights_and_report(trained):
    output, _ = trained
    assert sorted(path.name for path in output.iterdir()) == [
        "card.toml", "classifier.onnx", "reliability.png", "report.md",
    ]  # fmt: skip
    card = load_classifier(output).card
    assert (card.kind, card.name, card.classes) == ("classifier", "my-model", ("tumour", "lymphocyte"))
    assert card.figures["held_out"] == "whole slides"
    assert 0.8 < card.figures["tumour"]["sensitivity"] <= 1
    report = (output / "report.md").read_text(encoding="utf-8")
    assert "| tumour |" in report
    with PillowImage.open(output / "reliability.png") as plot:
        assert plot.size[0] > 200


def test_training_again_gives_the_same_bytes(trained, folder, tmp_path):
    again = tmp_path / "my-model"
    train(TrainingJob(labels=(folder / "labels.csv",), output=again, config=Config(), mpp=0.5))
    for name in ("classifier.onnx", "card.toml", "report.md"):
        assert (again / name).read_bytes() == (trained[0] / name).read_bytes(), name


def test_hash_of_the_classifier_is_in_the_digest_and_its_place_is_not(trained, tmp_path):
    output, _ = trained
    moved = tmp_path / "my-model"
    moved.mkdir()
    for path in output.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    here, there = (with_classifier_hash(with_classifier(each)) for each in (output, moved))
    assert here.digest == there.digest
    assert here.digest != Config().digest
    assert here.cells.classifier_sha256 == load_classifier(output).sha256


# --- what is not used ------------------------------------------------------------------------------------------------
def refusal(config, rgb):
    load_classifier.cache_clear()
    with pytest.raises(ModelError) as caught:
        score_image(rgb, 0.5, config=config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def copy(trained, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in trained[0].iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def test_tampered_weights_are_refused(copy, phantoms):
    (copy / "classifier.onnx").write_bytes((copy / "classifier.onnx").read_bytes() + b"\0")
    assert "sha256" in refusal(with_classifier(copy), phantoms[0].rgb)


def test_classifier_without_a_card_is_refused(copy, phantoms):
    (copy / CARD_FILE).unlink()
    assert CARD_FILE in refusal(with_classifier(copy), phantoms[0].rgb)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('"nucleus_area_um2"', '"star_sign"', "star_sign"),
        ('kind = "classifier"', 'kind = "network"', "kind"),
        ('"tumour", "lymphocyte"', '"tumour", "cat"', "classes"),
        ('"tumour", "lymphocyte"', '"tumour", "tumour"', "twice"),
        ('"tumour", "lymphocyte"', '"stroma", "lymphocyte"', "without tumour"),
        ('"tumour", "lymphocyte"', '"tumour", "lymphocyte", "other"', "probabilities"),
        ('segmenter = "network', 'segmenter = "another network', "another network"),
        ("mpp = 0.5", "mpp = 0.25", "0.25"),
    ],
)
def test_card_that_does_not_fit_is_refused(copy, phantoms, before, after, says):
    text = (copy / CARD_FILE).read_text(encoding="utf-8")
    assert before in text
    (copy / CARD_FILE).write_text(text.replace(before, after, 1), encoding="utf-8")
    assert says in refusal(with_classifier(copy), phantoms[0].rgb)


def test_another_classifier_than_the_settings_pin_is_refused(copy, phantoms):
    config = with_classifier(copy, f"cells.classifier_sha256={'0' * 64}")
    assert "classifier_sha256" in refusal(config, phantoms[0].rgb)


def test_classifier_with_other_columns_is_another_classifier(copy):
    """The weights stay the same when the card exchanges two classes, and each cell is called the other."""
    before = with_classifier_hash(with_classifier(copy))
    text = (copy / CARD_FILE).read_text(encoding="utf-8")
    (copy / CARD_FILE).write_text(text.replace('"tumour", "lymphocyte"', '"lymphocyte", "tumour"', 1), encoding="utf-8")
    load_classifier.cache_clear()
    assert with_classifier_hash(with_classifier(copy)).digest != before.digest
    with pytest.raises(ModelError, match="classifier_sha256"):
        with_classifier_hash(before)


def test_cells_of_another_segmenter_are_refused(trained, phantoms):
    assert "watershed" in refusal(with_classifier(trained[0], "nuclei.segmenter=watershed"), phantoms[0].rgb)


# --- labels ----------------------------------------------------------------------------------------------------------
def write_labels(folder, **columns):
    table = {"image": ["field_0.png"] * 50, "x_px": 5.0, "y_px": 5.0, "cell_class": ["tumour"] * 25 + ["stroma"] * 25}
    table |= columns
    pd.DataFrame({name: each for name, each in table.items() if each is not None}).to_csv(folder / "l.csv", index=False)
    return (folder / "l.csv",)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"cell_class": None}, "cell_class"),
        ({"cell_class": ["tumour"] * 49 + ["tumor"]}, "row 51: 'tumor' is none of"),
        ({"cell_class": ["tumour"] * 50}, "two classes"),
        ({"cell_class": ["lymphocyte"] * 25 + ["stroma"] * 25}, "no cell of class tumour"),
        ({"cell_class": ["tumour"] * 45 + ["stroma"] * 5}, "stroma has 5"),
        ({"x_px": "left"}, "'left' is no number"),
        ({"y_px": "nan"}, "'nan' is no number"),
        ({"image": "field_7.png"}, "field_7.png"),
        ({"image": ""}, "no image"),
        ({"X_PX ": 1.0}, "two columns 'x_px'"),
        ({"uncertain_first": "", "Uncertain_first": ""}, "two columns 'uncertain_first'"),
        ({"x_px": "4,5"}, "write it as 412.5"),
        ({"slide": ["a"] * 49 + [""]}, "row 51: '' is no slide"),
        ({"slide": ["a", "b"] * 25}, "an image is of one"),
        ({"image": ["field_0.png", "./field_0.png"] * 25, "slide": ["a", "b"] * 25}, "an image is of one"),
        ({"image": [], "x_px": [], "y_px": [], "cell_class": []}, "no cell is labelled"),
    ],
)
def test_labels_that_do_not_do_are_refused(folder, columns, says):
    with pytest.raises(UsageError) as caught:
        read_labels(write_labels(folder, **columns))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"PAR1 no", b""])
@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_files_that_are_no_tables_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_labels((tmp_path / name,))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_csv_and_parquet_say_the_same(folder, tmp_path):
    table = pd.read_csv(folder / "labels.csv")
    table.to_parquet(tmp_path / "labels.parquet")
    table.to_csv(tmp_path / "semicolons.csv", index=False, sep=";", encoding="utf-8-sig")
    expected = read_labels((folder / "labels.csv",))
    for name in ("labels.parquet", "semicolons.csv"):
        got = read_labels((tmp_path / name,), images=folder)
        pd.testing.assert_frame_equal(got, expected, rtol=1e-14)  # pandas 2 reads the last bit of a text otherwise


def test_what_spreadsheets_write_is_read(folder, tmp_path):
    table = pd.read_csv(folder / "labels.csv")
    expected = read_labels((folder / "labels.csv",))
    path = tmp_path / "labels.csv"
    for head, separator, decimal, encoding in (
        ("", ";", ",", "utf-8-sig"), ("sep=;\n", ";", ".", "utf-8"), ("", "\t", ",", "utf-16"),
    ):  # fmt: skip
        text = table.to_csv(index=False, sep=separator, decimal=decimal)
        path.write_text(head + text, encoding=encoding, newline="")
        pd.testing.assert_frame_equal(read_labels((path,), images=folder), expected, rtol=1e-14)
    table.assign(**{"why; or not": "", "slide": ""}).to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_labels((path,), images=folder), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("start", "says"), [(b"PK\3\4", "workbook"), (b"\x1f\x8b", "compressed"), (b"PAR1", "Parquet")]
)
def test_what_is_mistaken_for_a_csv_is_named(tmp_path, start, says):
    (tmp_path / "labels.csv").write_bytes(start + b"\0" * 50)
    with pytest.raises(UsageError, match=says):
        read_labels((tmp_path / "labels.csv",))


def test_one_image_of_two_spellings_is_one(folder):
    """Held out as two, its cells would judge themselves."""
    names = [f"{folder.name}/field_0.png", f"../{folder.parent.name}/{folder.name}/field_0.png"] * 25
    labels = read_labels(write_labels(folder, image=names), images=folder.parent)
    assert labels["path"].nunique() == labels["slide"].nunique() == 1


def test_labels_off_every_cell_are_refused(folder, tmp_path):
    files = write_labels(folder, x_px=-500.0)
    with pytest.raises(UsageError, match="pixels of the image"):
        train(TrainingJob(labels=files, output=tmp_path / "new", config=Config(), mpp=0.5))
    assert not (tmp_path / "new").exists()


def test_labels_mean_the_nucleus_that_holds_them_else_the_nearest(phantoms):
    config = Config()
    tile = working_tile(phantoms[0].rgb, mpp=0.5, config=config)
    estimate = estimate_case([sample_image(phantoms[0].rgb, mpp=0.5, config=config)], config=config)
    found = find_cells(tile, stains.deconvolve(tile.rgb, estimate), estimate=estimate, config=config)
    cells = found.measured.cells
    centres = cells[["x_px", "y_px"]].to_numpy()
    lonely = int(np.argmax(cells["neighbour_distance_um"]))
    assert np.array_equal(match_labels(tile, found, centres)[lonely], lonely)
    edge = np.argwhere(found.parts.nucleus == lonely + 1)[0][::-1].astype(float)
    beside = centres[lonely] + [9.0, 0.0]
    corners = np.stack(np.meshgrid(*[np.arange(0.0, 320.0)] * 2), axis=-1).reshape(-1, 2)
    far = corners[np.argmax(cKDTree(centres).query(corners)[0])]
    outside = np.array([-1000.0, 0.0])
    rows = match_labels(tile, found, np.stack([edge, beside, far, outside]))
    assert np.linalg.norm(far - centres, axis=1).min() * 0.5 > MATCH_UM
    assert rows.tolist() == [lonely, lonely, -1, -1]


# --- the model -------------------------------------------------------------------------------------------------------
def blobs(n_classes, n=400, seed=0):
    """Features of which the first tells the class, more or less; ten slides."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 6)).astype(np.float32)
    known = np.digitize(features[:, 0] + 0.7 * rng.normal(size=n), np.linspace(-0.6, 0.6, n_classes - 1))
    classes = np.array(["tumour", "lymphocyte", "stroma"])[known]
    return features, classes.tolist(), [f"slide {k}" for k in rng.integers(0, 10, n)]


NAMES = tuple(f"feature_{k}" for k in range(6))


@cache
def fitted_to(n_classes):
    """A classifier of the features of as many classes."""
    return fit_classifier(*blobs(n_classes), names=NAMES)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_onnx_says_what_scikit_learn_says(tmp_path, n_classes):
    features, fitted = blobs(n_classes)[0], fitted_to(n_classes)
    written = write_classifier(tmp_path / "toy", fitted, features=features, about=ABOUT)
    fresh = np.random.default_rng(1).normal(size=(5000, 6)).astype(np.float32)
    fresh[:400] = features
    expected = softmax(decision(fitted.model, fresh) / fitted.temperature)
    assert np.abs(class_probabilities(written, fresh, NAMES) - expected).max() < 1e-5
    order = [3, 0, 5, 1, 4, 2]
    shuffled = class_probabilities(written, fresh[:, order], [NAMES[k] for k in order])
    assert np.array_equal(shuffled, class_probabilities(written, fresh, NAMES))
    assert class_probabilities(written, fresh[:0], NAMES).shape == (0, n_classes)


def test_scikit_learn_itself_gives_the_uncalibrated_probabilities():
    features, fitted = blobs(3)[0], fitted_to(3)
    with threadpool_limits(1):
        expected = fitted.model.predict_proba(features)
    assert np.allclose(softmax(decision(fitted.model, features)), expected, atol=1e-12)


def test_whole_slides_are_held_out():
    """A feature that only names the slide, with a class a slide, tells nothing of a slide not seen."""
    rng = np.random.default_rng(0)
    slide = np.repeat(np.arange(40), 10)
    classes = np.array(["tumour", "stroma"])[rng.permutation(np.arange(40) % 2)[slide]]
    features = np.stack([slide, rng.normal(size=400)], axis=1).astype(np.float32)
    names = ("slide", "noise")
    honest = fit_classifier(features, classes, slide.astype(str), names=names)
    assert honest.by_slide
    assert (honest.held_out.argmax(axis=1) == honest.truth).mean() < 0.7
    flattering = fit_classifier(features, classes, ["one"] * 400, names=names)
    assert not flattering.by_slide
    assert (flattering.held_out.argmax(axis=1) == flattering.truth).mean() > 0.95


def apart(n, *, slides):
    """Two classes that nothing confuses."""
    classes = np.arange(n) % 2
    features = np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)
    features[:, 0] += 8 * classes
    names = np.array(["tumour", "lymphocyte"])[classes].tolist()
    return fit_classifier(features, names, [str(k) for k in np.arange(n) * slides // n], names=NAMES)


@pytest.mark.parametrize("slides", [1, 5])
@pytest.mark.parametrize("n", [40, 200])
def test_few_cells_without_an_error_are_not_certain(n, slides):
    """Of n / 2 cells of a class one more, at most, is of the other: Platt's target, reached by the surest ones."""
    fitted = apart(n, slides=slides)
    assert (fitted.held_out.argmax(axis=1) == fitted.truth).all()
    surest = fitted.held_out.max(axis=1)
    assert surest.mean() == pytest.approx(1 - 1 / (n / 2 + 2), abs=0.01)


def test_a_class_of_one_slide_is_told_not_to_be_judged():
    features, classes, slides = blobs(2, n=300)
    assert fit_classifier(features, classes, slides, names=NAMES).never_learnt.tolist() == [0, 0]
    of_one = np.flatnonzero(np.array(slides) == "slide 3")[::2]
    named = ["macrophage" if k in of_one else each for k, each in enumerate(classes)]
    fitted = fit_classifier(features, named, slides, names=NAMES)
    assert dict(zip(fitted.classes, fitted.never_learnt.tolist(), strict=True)) == {
        "tumour": 0, "lymphocyte": 0, "macrophage": len(of_one),
    }  # fmt: skip
    assert 0.2 < fitted.temperature < 10


def test_calibration_makes_probabilities_more_honest():
    features, classes, slides = blobs(2, n=2000)
    fitted = fit_classifier(features, classes, slides, names=NAMES)
    assert fitted.temperature > 1
    before, after = (calibration_error(each, fitted.truth) for each in (fitted.uncalibrated, fitted.held_out))
    assert after < before
    assert after < 0.05


def test_features_that_tell_nothing_are_refused():
    features, classes, slides = blobs(2)
    with pytest.raises(UsageError, match="tells their classes apart"):
        fit_classifier(np.zeros_like(features), classes, slides, names=NAMES)


def test_figures_of_a_known_table():
    table = confusion(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0]), 2)
    assert table.tolist() == [[2, 1], [1, 1]]
    first = class_figures(table)[0]
    assert (first.n, first.sensitivity, first.specificity, first.f1) == (3, 2 / 3, 1 / 2, 2 / 3)
    assert class_figures(np.array([[0, 0], [0, 4]]))[0].sensitivity is None


def test_calibration_error_of_known_probabilities():
    sure = np.tile([1.0, 0.0], (10, 1))
    assert calibration_error(sure, np.zeros(10, int)) == 0
    assert calibration_error(sure, np.repeat([0, 1], 5)) == pytest.approx(0.5)
    assert calibration_error(sure[:0], np.zeros(0, int)) is None


# --- the folder ------------------------------------------------------------------------------------------------------
def test_classifier_is_replaced_only_when_said(copy, folder):
    job = TrainingJob(labels=(folder / "labels.csv",), output=copy, config=Config(), mpp=0.5)
    with pytest.raises(UsageError, match="--overwrite"):
        train(job)


@pytest.mark.parametrize("content", ['kind = "network"', "kind: classifier"])
def test_folders_of_others_are_never_overwritten(tmp_path, folder, content):
    (tmp_path / CARD_FILE).write_text(content, encoding="utf-8")
    job = TrainingJob(labels=(folder / "labels.csv",), output=tmp_path, config=Config(), mpp=0.5, overwrite=True)
    with pytest.raises(UsageError, match="something else"):
        train(job)
    assert (tmp_path / CARD_FILE).read_text(encoding="utf-8") == content


def test_missing_packages_are_named(tmp_path, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(UsageError, match=r"scikit-learn .*pdl1quant\[train\]"):
        train(TrainingJob(labels=(folder / "labels.csv",), output=tmp_path / "new", config=Config(), mpp=0.5))


def test_stopped_training_is_not_taken_for_the_work_of_others(tmp_path):
    (tmp_path / "classifier.onnx").touch()
    with pytest.raises(UsageError, match=r"stopped training .*--overwrite"):
        claim_folder(tmp_path, overwrite=False)
    claim_folder(tmp_path, overwrite=True)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="something else"):
        claim_folder(tmp_path, overwrite=True)


# --- the command line ------------------------------------------------------------------------------------------------
def test_command_line_trains_and_scores(folder, tmp_path, capsys):
    model, out = tmp_path / "my-model", tmp_path / "out"

    def pdl1quant(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        return (stopped.value.code, *capsys.readouterr())

    code, said, complaint = pdl1quant("train", "--labels", folder / "labels.csv", "-o", model, "--mpp", "0.5")
    assert (code, complaint) == (0, "")
    assert "tumour: sensitivity" in said
    code, _, complaint = pdl1quant("train", "--labels", folder / "labels.csv", "-o", model, "--mpp", "0.5")
    assert code == 2
    assert "--overwrite" in complaint
    scoring = ("score", folder / "field_0.png", "--mpp", "0.5", "--classifier", model, "-q")
    assert pdl1quant(*scoring, "-o", out)[0] == 0
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["classifier"] == {"name": "my-model", "sha256": load_classifier(model).sha256}
    cells = read_cells(next((out / "cells").glob("*.parquet")))
    assert np.allclose(cells[list(CLASS_PROBABILITIES)].sum(axis=1), 1, atol=1e-5)
    (model / "classifier.onnx").write_bytes(b"other weights")
    load_classifier.cache_clear()
    code, _, complaint = pdl1quant(*scoring, "-o", tmp_path / "again")
    assert code == 2
    assert "sha256" in complaint
    assert not (tmp_path / "again").exists()
