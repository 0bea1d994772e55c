"""Heat maps against objects: what each map is worth, and the numbers of a set."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from robustbench_ms.tasks.localisation.loops import met
from robustbench_ms.tasks.localisation.measures import SCORERS, Maps
from robustbench_ms.tasks.localisation.scoring import (
    CANDIDATES,
    LEVELS,
    levels_of,
    scored,
    thresholds_of,
)
from robustbench_ms.tasks.measure import cell_values, jackknife_weights
from robustbench_ms.tasks.outcomes import Items, Outcomes
from tests.oracles import localisation as oracle

MAPS = st.integers(0, 2**32)


@settings(max_examples=25, deadline=None)
@given(MAPS, st.integers(1, 4))
def test_numbers_are_those_of_the_oracle(seed, n):
    random = np.random.default_rng(seed)
    size = tuple(random.integers(5, 40, 2))
    levels = random.integers(0, 256, (n, *size))
    levels[:, 0, 0], levels[:, -1, -1] = 0, 255
    shapes = random.random((n, *size)) < random.uniform(0.02, 0.5)
    shapes[:, 1, 1] = True
    boxes = [random.uniform(0, 20, (2, 4)).cumsum(axis=1)[:, [0, 1, 2, 3]] for _ in range(n)]
    boxes = [np.stack([b[:, 0], b[:, 1], b[:, 0] + b[:, 2], b[:, 1] + b[:, 3]], axis=1) for b in boxes]
    thresholds = sorted(random.integers(0, 255, 3).tolist())
    maps = levels.astype(np.float32)
    found = scored(maps, shapes, boxes, None, thresholds)

    assert found["hit"].tolist() == [
        oracle.pointing(m, s, 0.03 * max(size)) for m, s in zip(levels, shapes, strict=True)
    ]
    assert found["energy"] == pytest.approx(
        [oracle.quantus_mass(m, s) for m, s in zip(levels.tolist(), shapes, strict=True)], rel=1e-6
    )
    told = {"label": np.zeros(n, np.uint16), "right": np.ones(n, bool), **found}
    values, absent, _ = cell_values(
        SCORERS,
        Outcomes({"sure": np.ones(n)}, {"pairs": Items(np.arange(n), told)}),
        None,
        np.arange(n),
        None,
    )
    assert absent == {}
    assert values["box_acc_v2"]["mean"] == pytest.approx(
        oracle.box_accuracy(levels.tolist(), [b.tolist() for b in boxes], thresholds), abs=1e-6
    )
    assert values["PxAP"]["mean"] == pytest.approx(
        oracle.pixel_ap(levels.tolist(), shapes.tolist()), rel=1e-9
    )
    for name in ("pointing", "energy", "box_acc_v2", "PxAP", "area_share"):
        assert values[f"{name}_right"] == pytest.approx(values[name], nan_ok=True)


def test_the_pointing_game_forgives_what_quantus_does_not():
    """Where Quantus is right, one largest value and an object that is there, it is this game without tolerance."""
    random = np.random.default_rng(1)
    apart = 0
    for _ in range(60):
        heat, shape = random.random((40, 40)), random.random((40, 40)) < 0.3
        found = bool(scored(heat[None].astype(np.float32), shape[None], [np.zeros((0, 4))])["hit"][0])
        strict = oracle.quantus_pointing(heat.tolist(), shape)
        assert found >= strict
        apart += found != strict
    assert apart


def test_the_disc_is_open_and_three_per_cent_of_the_longer_side():
    """Of 500 pixels 15: a pixel 14 away is a hit, one 15 away, straight or askew (9 and 12), is none."""
    heat = np.zeros((1, 300, 500), np.float32)
    heat[0, 100, 200] = 1
    for down, right, hit in ((0, 14, True), (0, 15, False), (9, 11, True), (9, 12, False)):
        shape = np.zeros((1, 300, 500), bool)
        shape[0, 100 + down, 200 + right] = True
        assert scored(heat, shape, [np.zeros((0, 4))])["hit"][0] == hit
    corner = np.zeros((1, 300, 500), np.float32)
    corner[0, 299, 499] = 1
    shape = np.zeros((1, 300, 500), bool)
    shape[0, 290, 490] = True
    assert scored(corner, shape, [np.zeros((0, 4))])["hit"][0]


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf])
def test_maps_that_are_even_or_no_numbers_are_misses(value):
    """An even one has the area's share as energy, as any even one; of the others nothing lies on the object."""
    maps = np.full((1, 20, 20), 0.5 if np.isfinite(value) else 0.7, np.float32)
    maps[:] = value if np.isfinite(value) else maps
    if not np.isfinite(value):
        maps[0, 3, 3] = value
    shape = np.zeros((1, 20, 20), bool)
    shape[0, :10] = True
    found = scored(maps, shape, [np.array([[0.0, 0.0, 20.0, 10.0]])], None, [10, 10, 10])

    assert not found["hit"][0]
    assert found["box"][0] == 0
    assert found["energy"][0] == (0.5 if value == 1 else 0)
    assert np.isfinite(np.concatenate([c.ravel().astype(float) for c in found.values()])).all()


def test_thresholds_are_those_that_meet_most_objects():
    """A bump that falls off: each IoU has the level at which its box fits best."""
    y, x = np.mgrid[:60, :60]
    maps = np.exp(-((y - 30) ** 2 + (x - 30) ** 2) / 200).astype(np.float32)[None]
    _, levels = levels_of(maps)
    box = np.array([[22.0, 22.0, 39.0, 39.0]])
    chosen = thresholds_of([levels[0]], [box])

    for threshold, iou in zip(chosen, (0.3, 0.5, 0.7), strict=True):
        lower = [t for t in CANDIDATES if t < threshold]
        found = met(levels, [threshold, *lower], [box])[0]
        assert found[0] >= iou
        assert (found[1:] < iou).all()
    assert chosen == sorted(chosen)
    assert CANDIDATES[-1] < LEVELS - 1


@pytest.mark.parametrize("kernel", [1, 3, 9])
def test_boxes_lie_around_the_parts_that_opencv_finds(kernel):
    """Of noise and of smoothed noise, whose parts wind around and into each other."""
    random = np.random.default_rng(kernel)
    noise = random.integers(0, 256, (20, 37, 50), dtype=np.uint8)
    levels = np.stack([cv2.blur(one, (kernel, kernel)) for one in noise])
    corners = np.sort(random.uniform(0, 37, (20, 3, 2, 2)), axis=2).reshape(20, 3, 4)
    thresholds = (0, *np.quantile(levels, (0.3, 0.5, 0.7)).astype(int).tolist(), 255)
    found = met(levels, thresholds, list(corners))

    for one, boxes, row in zip(levels, corners, found, strict=True):
        for threshold, best in zip(thresholds, row, strict=True):
            count, _, stats, _ = cv2.connectedComponentsWithStats(
                (one > threshold).astype(np.uint8), connectivity=8
            )
            parts = torch.from_numpy(stats[1:, :4].astype(float))
            parts[:, 2:] += parts[:, :2]
            wanted = box_iou(parts, torch.from_numpy(boxes)).max() if count > 1 else 0
            assert best == pytest.approx(float(wanted), abs=1e-12)
    assert (found[:, -1] == 0).all()
    assert len(np.unique(found[:, 1:-1])) > 30
    assert not met(levels[:1], (100,), [np.zeros((0, 4))]).any()


def random_pairs(n=12, seed=0):
    random = np.random.default_rng(seed)
    owner = np.sort(random.integers(0, n, 2 * n))
    m = owner.size
    return Outcomes(
        {"sure": np.ones(n)},
        {
            "pairs": Items(
                owner,
                {
                    "label": random.integers(0, 3, m).astype(np.uint16), "hit": random.random(m) < 0.6,
                    "right": random.random(m) < 0.7, "energy": random.random(m).astype(np.float32),
                    "share": random.random(m).astype(np.float32),
                    "box": (random.integers(0, 4, m) / 3).astype(np.float32),
                    "inside": random.integers(0, 9, (m, 256)).astype(np.uint16),
                    "outside": random.integers(0, 9, (m, 256)).astype(np.uint16),
                },
            )
        },
    )  # fmt: skip


def part_of(outcomes, kept):
    pairs = outcomes.items["pairs"]
    at = np.isin(pairs.owner, kept)
    place = {int(row): i for i, row in enumerate(kept)}
    owner = np.array([place[int(o)] for o in pairs.owner[at]], dtype=np.int64)
    return Outcomes(
        {"sure": np.ones(len(kept))}, {"pairs": Items(owner, {k: v[at] for k, v in pairs.columns.items()})}
    )


@pytest.mark.parametrize("right", [False, True])
def test_replicates_are_the_numbers_without_an_image(right):
    outcomes, ids = random_pairs(), np.arange(100, 112)
    found = Maps(right).measure(outcomes, None, ids, None)

    for number, left in enumerate(jackknife_weights(ids)):
        kept = np.flatnonzero(left)
        one = Maps(right).measure(part_of(outcomes, kept), None, ids[kept], None)
        for name, measured in found.items():
            assert measured.replicates[number] == pytest.approx(one[name].mean, rel=1e-12), name
    assert found.keys() == set(Maps(right).names)


def test_pointing_is_a_mean_of_classes_and_the_rest_of_pairs():
    owner = np.arange(4)
    columns = {
        "label": np.array([0, 0, 0, 1], np.uint16), "hit": np.array([1, 1, 1, 0], bool),
        "right": np.array([1, 0, 0, 0], bool), "energy": np.array([0.2, 0.4, 0.6, 0.8], np.float32),
        "share": np.array([0.1, 0.1, 0.1, 0.5], np.float32), "inside": np.zeros((4, 256), np.uint16),
        "outside": np.ones((4, 256), np.uint16),
    }  # fmt: skip
    columns["inside"][:, 255] = 1
    outcomes = Outcomes({"sure": np.ones(4)}, {"pairs": Items(owner, columns)})
    values, absent, _ = cell_values(SCORERS, outcomes, None, owner, None)

    assert values["pointing"]["mean"] == 0.5
    assert values["pointing_right"]["mean"] == 1
    assert values["energy"]["mean"] == pytest.approx(0.5)
    assert values["energy_right"]["mean"] == pytest.approx(0.2)
    assert values["right"]["mean"] == 0.25
    assert values["area_share"]["mean"] == pytest.approx(0.2)
    assert set(absent) == {"box_acc_v2", "box_acc_v2_right"}
    assert absent["box_acc_v2"].startswith("the data set has no training pictures")


def test_what_is_not_there_is_absent_with_its_reason():
    wrong = random_pairs()
    wrong.items["pairs"].columns["right"][:] = False
    _, absent, _ = cell_values(SCORERS, wrong, None, np.arange(12), None)
    assert set(absent.values()) == {"no class is answered right"}
    assert set(absent) == {
        f"{name}_right" for name in ("pointing", "energy", "box_acc_v2", "PxAP", "area_share")
    }

    nothing = part_of(wrong, np.zeros(0, int))
    nothing = Outcomes({"sure": np.ones(2)}, nothing.items)
    values, absent, _ = cell_values(SCORERS, nothing, None, np.arange(2), None)
    assert values == {}
    assert absent["pointing"] == "no object of a class that is asked about"
