"""Cores of microarrays: found where they are, and called by the row and column that they have on the slide."""

import cv2
import numpy as np
import pytest

from pdl1quant.config import load_config
from pdl1quant.errors import ConfigError, RefusedError
from pdl1quant.stages.tma import _apart, find_cores

CONFIG = load_config(None, []).tma
MPP = 8.0


def array_mask(
    rows,
    columns,
    *,
    core_um=1000.0,
    step_um=(1600.0, 1500.0),
    turn_deg=0.0,
    missing=(),
    jitter_um=60.0,
    torn=0.3,
    seed=0,
):
    """Mask (H, W), and the centres (um) by name: round-ish cores, some torn, on a turned grid."""
    rng = np.random.default_rng(seed)
    margin = 1.2 * core_um
    turn = np.deg2rad(turn_deg)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    place = np.array([[column * step_um[0], row * step_um[1]] for row in range(rows) for column in range(columns)])
    centres = place @ spin.T + rng.normal(0, jitter_um, place.shape)
    centres -= centres.min(axis=0) - margin
    width_um, height_um = centres.max(axis=0) + margin
    mask = np.zeros((round(height_um / MPP), round(width_um / MPP)), np.uint8)
    truth = {}
    for number, centre in enumerate(centres):
        name = f"{chr(65 + number // columns)}-{number % columns + 1}"
        if name in missing:
            continue
        truth[name] = centre
        x, y = centre / MPP
        size = core_um / MPP * rng.uniform(0.9, 1.05, 2)
        cv2.ellipse(mask, ((x, y), (size[0], size[1]), rng.uniform(0, 180)), 1, -1)
        if rng.random() < torn:  # a tear through it, or a bite out of it
            angle = rng.uniform(0, np.pi)
            away = np.array([np.cos(angle), np.sin(angle)]) * core_um / MPP
            first, second = (x, y) - 0.6 * away, (x, y) + 0.6 * away
            cv2.line(mask, np.rint(first).astype(int), np.rint(second).astype(int), 0, round(100 / MPP))
    return mask > 0, truth


def found_in(mask, config=CONFIG):
    height, width = mask.shape
    return find_cores(mask, width_um=width * MPP, height_um=height * MPP, config=config)


def check(mask, truth, config=CONFIG):
    cores = found_in(mask, config)
    assert sorted(core.name for core in cores) == sorted(truth)
    for core in cores:
        assert np.hypot(*(truth[core.name] - (core.x_um, core.y_um))) <= 150


@pytest.mark.parametrize("turn_deg", [-6, -3, 0, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_cores_have_the_names_of_their_places(turn_deg, seed):
    check(*array_mask(6, 9, turn_deg=turn_deg, seed=seed))


@pytest.mark.parametrize("seed", range(4))
def test_missing_cores_leave_the_names_of_the_others(seed):
    rng = np.random.default_rng(seed)
    names = [f"{chr(65 + row)}-{column}" for row in range(6) for column in range(1, 10)]
    missing = [str(name) for name in rng.choice(names, 16, replace=False)]
    held = [name for name in names if name not in missing]
    assert {name[0] for name in held} == set("ABCDEF")
    assert {name[2:] for name in held} >= {"1", "9"}
    check(*array_mask(6, 9, missing=missing, turn_deg=3, seed=seed))


def test_a_missing_row_and_column_inside_keep_their_place():
    gone = [f"C-{column}" for column in range(1, 8)] + [f"{row}-4" for row in "ABCDE"]
    check(*array_mask(5, 7, missing=gone, turn_deg=-2))


def test_a_first_row_and_column_that_are_lost_can_be_said():
    gone = [f"A-{column}" for column in range(1, 6)] + [f"{row}-1" for row in "ABCD"]
    mask, truth = array_mask(4, 5, missing=gone, turn_deg=3)
    check(mask, truth, load_config(None, ["tma.first=B-2"]).tma)
    far = load_config(None, ["tma.first=Z-99"]).tma
    assert [core.name for core in found_in(mask, far)][3:5] == ["Z-102", "AA-99"]


@pytest.mark.parametrize("first", ["B2", "2-B", "B-0", "b-1", ""])
def test_a_first_place_that_is_no_name_is_refused(first):
    with pytest.raises(ConfigError, match="should be a row and a column, as B-2"):
        load_config(None, [f"tma.first={first}"])


@pytest.mark.parametrize("core_um", [600, 1500, 2000])
def test_cores_of_other_sizes_close_together(core_um):
    check(*array_mask(5, 6, core_um=core_um, step_um=(1.3 * core_um, 1.25 * core_um), jitter_um=0.03 * core_um))


def test_cores_that_touch_are_two():
    mask, truth = array_mask(3, 4, core_um=1000, step_um=(1500, 1500), jitter_um=0)
    for name, other in (("A-1", "A-2"), ("B-3", "C-3")):
        ends = (np.rint(truth[each] / MPP).astype(int).tolist() for each in (name, other))
        painted = mask.astype(np.uint8)
        cv2.line(painted, *ends, 1, round(200 / MPP))
        mask = painted > 0
    check(mask, truth)


def test_more_than_26_rows_go_on_with_two_letters():
    mask, _ = array_mask(28, 2, core_um=600, step_um=(900, 900), jitter_um=20, torn=0)
    assert [core.name for core in found_in(mask)][-2:] == ["AB-1", "AB-2"]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (4, 1), (2, 2)])
def test_small_arrays(rows, columns):
    check(*array_mask(rows, columns, turn_deg=2))


def test_specks_and_shreds_are_no_cores():
    mask, truth = array_mask(4, 5)
    painted = mask.astype(np.uint8)
    for x, y in np.random.default_rng(1).uniform(0, 1, (30, 2)):
        cv2.circle(painted, (int(x * mask.shape[1]), int(y * mask.shape[0])), 12, 1, -1)
    check(painted > 0, truth)


def test_what_lies_between_the_places_is_off_the_grid():
    mask, truth = array_mask(4, 5, core_um=600, step_um=(1600, 1600), jitter_um=30)
    x, y = (truth["B-2"] + truth["C-3"]) / 2 / MPP
    painted = mask.astype(np.uint8)
    cv2.circle(painted, (round(x), round(y)), round(290 / MPP), 1, -1)
    names = [core.name for core in found_in(painted > 0)]
    assert names[-1] == "off-grid 1"
    assert sorted(names[:-1]) == sorted(truth)


def test_a_slide_without_round_tissue_has_no_cores():
    strip = np.zeros((300, 2000), bool)
    strip[100:140] = True
    assert found_in(strip) == ()
    assert found_in(np.zeros((300, 300), bool)) == ()
    assert found_in(np.zeros((1, 1), bool)) == ()


def test_a_given_diameter_wins():
    mask, truth = array_mask(3, 4, torn=1.0)
    check(mask, truth, load_config(None, ["tma.core_um=1000"]).tma)


@pytest.mark.parametrize("width_um", [1000, 6000])
def test_tissue_without_gaps_is_no_array_whatever_diameter_is_given(width_um):
    """Strips and sections: such a section took minutes, and had 92 cores."""
    section = np.zeros((1100, 900), bool)
    section[50:1050, 50 : 50 + round(width_um / MPP)] = True
    with pytest.raises(RefusedError, match=r"no gap separates them.*leave out --tma"):
        found_in(section, load_config(None, ["tma.core_um=1000"]).tma)


def test_a_diameter_that_is_too_small_is_refused_and_one_a_little_off_is_not():
    mask, truth = array_mask(4, 5, torn=0)
    with pytest.raises(RefusedError, match="discs of 400 um"):
        found_in(mask, load_config(None, ["tma.core_um=400"]).tma)
    for core_um in (850, 1200):
        check(mask, truth, load_config(None, [f"tma.core_um={core_um}"]).tma)


def test_of_a_plateau_one_place_is_kept_in_each_reach():
    rows, columns = (each.ravel() for each in np.mgrid[3:15, 2:20])
    order = np.random.default_rng(0).permutation(len(rows))
    rows, columns = rows[order], columns[order]
    kept = []
    for index in range(len(rows)):
        if all(np.hypot(rows[index] - rows[k], columns[index] - columns[k]) >= 4.5 for k in kept):
            kept.append(index)
    assert _apart(rows, columns, (18, 22), reach=4.5).tolist() == kept
